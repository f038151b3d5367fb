//! Fitted models as versioned data files. Data, never code.
//!
//! Most are JSON with every number written so that it reads back to the same bits. What has
//! weights, or holds a model in the format of another program, is safetensors: the same
//! versioned JSON, without the numbers, stands among its metadata under `foretell`.

use foretell_market::{Fingerprint, Timestamp};
use foretell_panel::Dataset;
use serde::{Deserialize, Serialize};

use crate::search::{Found, SearchRecord};
use crate::state::damaged;
use crate::{EstimatorSpec, Fitted, ModelError, ModelState, Schema, tensors};

/// The format version that this program writes.
pub const SAVED_MODEL_VERSION: u64 = 1;

/// A fitted model with its provenance, as stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedModel {
    /// The format version, [`SAVED_MODEL_VERSION`] when written by this program.
    pub version: u64,
    /// The estimator's settings.
    pub spec: EstimatorSpec,
    /// Names of the columns it learnt from, in order.
    pub feature_names: Vec<String>,
    /// Names of the context columns, in order.
    pub context_names: Vec<String>,
    /// Content hash of the feature definitions.
    pub feature_set: Fingerprint,
    /// The first training decision (UTC).
    pub train_from: Timestamp,
    /// The end of the last training label (UTC).
    pub train_to: Timestamp,
    /// How many rows it learnt from.
    pub rows: usize,
    /// The seed of the fit.
    pub seed: u64,
    /// The vector instructions of the machine that fitted it (see [`cpu_features`]):
    /// model hashes are comparable between equal ones.
    pub cpu_features: String,
    /// What was learnt.
    pub state: ModelState,
    /// What a search found, when the settings were searched for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<Found>,
}

impl SavedModel {
    /// A fitted model with the provenance of its training rows.
    pub fn new(
        fitted: &dyn Fitted,
        spec: &EstimatorSpec,
        train: &Dataset,
        seed: u64,
        cpu_features: &str,
    ) -> Self {
        let schema = fitted.schema();
        let first = train.labels.iter().map(|l| l.start).min();
        let last = train.labels.iter().map(|l| l.end).max();
        Self {
            version: SAVED_MODEL_VERSION,
            spec: spec.clone(),
            feature_names: schema.feature_names.clone(),
            context_names: schema.context_names.clone(),
            feature_set: train.feature_set,
            train_from: first.unwrap_or_default(),
            train_to: last.unwrap_or_default(),
            rows: train.len(),
            seed,
            cpu_features: cpu_features.to_owned(),
            state: fitted.state(),
            found: fitted.search().map(SearchRecord::found),
        }
    }

    /// The bytes to store: safetensors of a model with tensors, one line of JSON of others.
    pub fn to_bytes(&self) -> Vec<u8> {
        let json = |of: &Self| serde_json::to_string(of).expect("a model is plain data");
        match self.state.detached() {
            None => json(self).into_bytes(),
            Some((state, tensors)) => {
                let described = Self { state, ..self.clone() };
                tensors::write(&json(&described), &tensors)
            }
        }
    }

    /// How the name of a file with [`Self::to_bytes`] should end.
    pub fn extension(&self) -> &'static str {
        if self.state.has_tensors() { "safetensors" } else { "json" }
    }

    /// Reads stored bytes and checks that the model in them can be used.
    ///
    /// # Errors
    /// [`ModelError::NewerVersion`] when a newer program wrote them,
    /// [`ModelError::Damaged`] when they are cut off, are no model, or hold numbers that
    /// are not finite.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ModelError> {
        if !tensors::begins(bytes) {
            let saved = Self::described(bytes)?;
            if saved.state.has_tensors() {
                let message = "a model with tensors is stored as safetensors, not as JSON";
                return Err(damaged("state", message));
            }
            saved.model()?;
            return Ok(saved);
        }
        let (metadata, tensors) = tensors::read(bytes)?;
        let mut saved = Self::described(metadata.as_bytes())?;
        saved.state.attach(tensors)?;
        saved.model()?;
        Ok(saved)
    }

    /// Reads the JSON.
    fn described(bytes: &[u8]) -> Result<Self, ModelError> {
        let unreadable = |e: serde_json::Error| {
            let place = format!("line {}, column {}", e.line(), e.column());
            damaged(&place, &e.to_string())
        };
        /// Only the version, so that a newer file is recognised whatever else it holds.
        #[derive(Deserialize)]
        struct Version {
            version: u64,
        }
        let found = serde_json::from_slice::<Version>(bytes).map_err(unreadable)?.version;
        match found {
            SAVED_MODEL_VERSION => {}
            0 => return Err(damaged("version", "there is no version 0")),
            _ => {
                let (what, known) = ("model", SAVED_MODEL_VERSION);
                return Err(ModelError::NewerVersion { what, found, known });
            }
        }
        let saved: Self = serde_json::from_slice(bytes).map_err(unreadable)?;
        let kind = saved.spec.learnt().kind();
        if kind != saved.state.kind() {
            let message = format!("a {kind} cannot know a {}", saved.state.kind());
            return Err(damaged("state.kind", &message));
        }
        let learnt = saved.state.members().iter().map(ModelState::kind);
        if !saved.spec.members().iter().map(EstimatorSpec::kind).eq(learnt) {
            return Err(damaged("state.members", "they are not those of the settings"));
        }
        Ok(saved)
    }

    /// The model, ready to forecast.
    ///
    /// # Errors
    /// [`ModelError::Damaged`] when the parts do not hold together.
    pub fn model(&self) -> Result<Box<dyn Fitted>, ModelError> {
        self.state.clone().into_fitted(self.schema())
    }

    /// The names of its columns.
    pub fn schema(&self) -> Schema {
        Schema {
            feature_names: self.feature_names.clone(),
            context_names: self.context_names.clone(),
        }
    }

    /// The hash of everything stored.
    pub fn hash(&self) -> Fingerprint {
        Fingerprint::of_bytes(&self.to_bytes())
    }
}

/// The vector instructions of this machine that change how sums are rounded, for
/// [`SavedModel::cpu_features`].
pub fn cpu_features() -> String {
    #[cfg(target_arch = "x86_64")]
    let found = {
        let mut found = vec!["x86_64"];
        if std::arch::is_x86_feature_detected!("avx2") {
            found.push("avx2");
        }
        if std::arch::is_x86_feature_detected!("fma") {
            found.push("fma");
        }
        if std::arch::is_x86_feature_detected!("avx512f") {
            found.push("avx512f");
        }
        found
    };
    #[cfg(not(target_arch = "x86_64"))]
    let found = [std::env::consts::ARCH];
    found.join("+")
}
