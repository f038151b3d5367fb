//! Proofs: a forecast recomputed from raw rows, a run retrained to the same hashes.

use std::path::Path;
use std::sync::Arc;

use foretell_feature::FeatureRow;
use foretell_forecaster::{Forecast, ServedVersion, differences, forecast};
use foretell_lake::AsOf;
use foretell_market::Timestamp;
use foretell_model::evaluate::Recipe;
use foretell_model::{EstimatorSpec, ImportedSettings, ModelState, SavedModel};
use foretell_panel::{Frame, KnownAt, LockBox};
use foretell_registry::{ModelFilter, ModelVersion, Run as RunRecord};

use crate::error::PlatformError;
use crate::forecasting::{StoredForecast, make, terms};
use crate::keeper::Keeper;
use crate::materialise::materialise;
use crate::observer::{Event, Observer, Station, Stop};
use crate::pipeline::Pipeline;
use crate::run::evidence_of;
use crate::store::Store;
use crate::versions::Versions;
use crate::views::{Proof, ProofCheck};
use crate::{gate, training};

/// The pipeline of a run, from the text that the run stored.
pub(crate) fn pipeline_of(run: &RunRecord) -> Result<Pipeline, PlatformError> {
    let config: serde_json::Value = serde_json::from_str(&run.config_json).unwrap_or_default();
    let text = |name: &str| config[name].as_str().unwrap_or_default().to_owned();
    Ok(Pipeline::parse_stored(&text("text"), Path::new(&text("file")))?)
}

/// What a run stores of its pipeline.
pub(crate) fn config_json(pipeline: &Pipeline) -> String {
    serde_json::json!({ "file": pipeline.file, "text": pipeline.text }).to_string()
}

/// A forecast of the live river made again from the row that is stored with it. That the
/// row follows from the trades is shown by recomputing those.
fn remade_live(
    pipeline: &Pipeline,
    stored: &StoredForecast,
    served: &ServedVersion,
    row: &FeatureRow,
) -> Result<Forecast, PlatformError> {
    let made_at = stored.forecast.made_at;
    Ok(forecast(served, &stored.calibration, row, made_at, &terms(pipeline))?)
}

impl Store {
    /// The clean rows of a pipeline as they were judged, from a version of its raw table
    /// and as they were known when they were read. Without that instant the table is from
    /// before rows had versions: all its rows were read.
    async fn clean_from_raw(
        &self,
        pipeline: &Pipeline,
        at: AsOf,
        present: Timestamp,
        read_at: Option<Timestamp>,
    ) -> Result<(Frame, Versions), PlatformError> {
        let known = read_at.map_or(KnownAt::EVER, KnownAt::instant);
        let Some(versions) = self.versions(pipeline, at, known).await? else {
            return Err(PlatformError::not_found(
                format!("raw table of `{}`", pipeline.name),
                "the lake of this data directory is incomplete: restore it from a copy",
            ));
        };
        let raw = match read_at {
            Some(_) => versions.latest(pipeline)?,
            None => versions.stored(pipeline)?,
        };
        let outcome = gate::gate(pipeline, &raw, present)?;
        let subject = format!("raw version {}", versions.version);
        Ok((gate::admit(outcome, &raw, &subject, None)?.0, versions))
    }

    /// A stored forecast made again from a version of the raw table.
    async fn remade(
        &self,
        pipeline: &Pipeline,
        stored: &StoredForecast,
        served: &ServedVersion,
        at: AsOf,
    ) -> Result<Forecast, PlatformError> {
        let of = &stored.forecast;
        let (clean, changed_at) = self.rows_behind(pipeline, stored, at).await?;
        make(pipeline, served, &stored.calibration, &clean, of.as_of, changed_at, of.made_at)
    }

    /// The clean rows that a stored forecast was made from, and when one behind its last row
    /// came or went after it.
    pub(crate) async fn rows_behind(
        &self,
        pipeline: &Pipeline,
        stored: &StoredForecast,
        at: AsOf,
    ) -> Result<(Frame, Option<Timestamp>), PlatformError> {
        let (present, read_at) = (stored.present, stored.read_at);
        let (clean, versions) = self.clean_from_raw(pipeline, at, present, read_at).await?;
        let of = &stored.forecast;
        let counts = stored.late_rows_count();
        let changed_at = if counts { versions.changed_behind(pipeline, of.as_of) } else { None };
        let clean = match read_at {
            Some(_) => clean.filter(|_, row| row.time < of.as_of),
            // Forecasts from before rows had versions used what their last row could see.
            None => {
                let last = clean.rows().iter().rfind(|r| r.time < of.as_of);
                let cutoff = last.map_or(of.known_at, |r| r.known_at);
                clean.filter(|_, row| row.known_at <= cutoff && row.time < of.as_of)
            }
        };
        Ok((clean, changed_at))
    }

    /// Recomputes a forecast from the raw rows.
    pub(crate) async fn verify(&self, id: &str) -> Result<Proof, PlatformError> {
        let record = self.forecast_named(id).await?;
        let id = record.id.as_str();
        let stored = StoredForecast::read(&record)?;
        let pipeline = pipeline_of(&self.run_named(&stored.run).await?)?;
        let of = &stored.forecast;
        let version = self.registry.model_version(&of.model.name, of.model.version).await?;
        let served = self.served_version(&pipeline, &version, &of.model.alias).await?;
        let remade = match &stored.row {
            Some(row) => remade_live(&pipeline, &stored, &served, row)?,
            None => {
                let pinned = AsOf::Version(stored.raw_version);
                self.remade(&pipeline, &stored, &served, pinned).await?
            }
        };
        let (was, is) = (of.features, remade.features);
        let mut checks = vec![
            ProofCheck::of("feature row", was.row.to_string(), is.row.to_string()),
            ProofCheck::of("feature set", was.set.to_string(), is.set.to_string()),
            ProofCheck::of("model", of.model.hash.to_string(), served.hash.to_string()),
            ProofCheck::of("forecast id", of.id.clone(), remade.id.clone()),
            ProofCheck::of("forecast", of.hash().to_string(), remade.hash().to_string()),
        ];
        // Nothing is overwritten: the latest table still tells what was known then.
        if stored.read_at.is_some() && stored.row.is_none() {
            let again = self.remade(&pipeline, &stored, &served, AsOf::Latest).await?;
            let what = "forecast, from the latest rows as known then";
            checks.push(ProofCheck::of(what, of.hash().to_string(), again.hash().to_string()));
        }
        for d in differences(of, &remade) {
            checks.push(ProofCheck::of(d.field, d.stored.to_string(), d.remade.to_string()));
        }
        Ok(Proof::of(id, checks))
    }

    /// A look into the lock-box is taken once: its stored result is shown again, not
    /// made again.
    async fn replay_lock_box(&self, id: &str, pipeline: &Pipeline) -> Result<Proof, PlatformError> {
        let (instrument, horizon) = (&pipeline.instrument, pipeline.label.horizon);
        let openings = self.registry.lock_box_openings(instrument, horizon).await?;
        let mut checks = Vec::new();
        for recipe in training::recipes(pipeline)? {
            let hash = pipeline.recipe_hash(&recipe);
            let look = openings.iter().find(|o| o.recipe_hash == hash);
            let Some(result) = look.and_then(|o| o.result_json.clone()) else { continue };
            let what = format!("{}: replayed, not recomputed", recipe.name);
            checks.push(ProofCheck::of(what, result.clone(), result));
        }
        if checks.is_empty() {
            return Err(PlatformError::not_found(
                format!("finished look of run `{id}`"),
                "`foretell evaluate --lock-box` takes it",
            ));
        }
        Ok(Proof::of(id, checks))
    }

    /// The model that a version imported, as the version itself keeps it: the file that it
    /// came from may be another by now.
    async fn imported_within(
        &self,
        version: &ModelVersion,
    ) -> Result<ImportedSettings, PlatformError> {
        let what = format!("{} version {}", version.name, version.version);
        let bytes = self.lake.artifact(&version.artifact).await;
        let bytes = bytes.map_err(PlatformError::lake("reading a model"))?;
        let saved = SavedModel::from_bytes(&bytes).map_err(PlatformError::model(what.clone()))?;
        match saved.state {
            ModelState::Imported(state) => Ok(ImportedSettings::with(state.model)),
            _ => Err(PlatformError::Mismatch(format!("{what} holds no imported model"))),
        }
    }

    /// Rebuilds the dataset of a run from its raw rows and retrains its models.
    pub(crate) async fn reproduce(
        &self,
        id: &str,
        observer: Arc<dyn Observer>,
        stop: Arc<Stop>,
    ) -> Result<Proof, PlatformError> {
        let record = self.run_named(id).await?;
        let id = record.id.as_str();
        if record.kind == "evaluate" {
            return self.replay_lock_box(id, &pipeline_of(&record)?).await;
        }
        let params = self.registry.params(id).await?;
        let param = |name: &str| {
            let found = params.iter().find(|p| p.name == name).map(|p| p.value.clone());
            found.ok_or_else(|| PlatformError::Usage {
                message: format!("run `{id}` ({}) did not get as far as a model", record.kind),
                hint: "`foretell runs list` shows runs that succeeded".to_owned(),
            })
        };
        let pipeline = pipeline_of(&record)?;
        let version: u64 = param("raw_version")?.parse().unwrap_or_default();
        let present: Timestamp = param("present")?.parse().unwrap_or_default();
        let read_at: Option<Timestamp> = param("read_at").ok().and_then(|at| at.parse().ok());
        let at = AsOf::Version(version);
        let (clean, versions) = self.clean_from_raw(&pipeline, at, present, read_at).await?;
        let (name, p) = (pipeline.name.clone(), pipeline.clone());
        let work = move || match read_at {
            Some(_) => versions.materialise(&p, &clean, present),
            None => materialise(&p, &clean),
        };
        let made = training::run_cpu(work).await??;
        let lock_box: Option<LockBox> =
            serde_json::from_str(&param("lock_box")?).unwrap_or_default();
        let dataset = Arc::new(made.allowed(lock_box));
        let fingerprint = dataset.fingerprint();
        let mut checks = vec![
            ProofCheck::of("dataset", param("dataset")?, fingerprint.to_string()),
            ProofCheck::of("CPU features", param("cpu_features")?, foretell_model::cpu_features()),
        ];
        let filter = ModelFilter { name: Some(name), ..Default::default() };
        let versions = self.registry.model_versions(&filter).await?;
        let numbers: Vec<u32> = serde_json::from_str(&param("versions")?).unwrap_or_default();
        let versions: Vec<_> =
            versions.into_iter().filter(|v| numbers.contains(&v.version)).collect();
        if numbers.is_empty() || versions.len() != numbers.len() {
            let (found, wanted) = (versions.len(), numbers.len());
            return Err(PlatformError::Mismatch(format!(
                "run {id} registered {wanted} models and {found} of them are there"
            )));
        }
        let total = Some(versions.len() as u64);
        for (i, version) in versions.iter().enumerate() {
            let mut spec = serde_json::from_str(&version.spec_json).map_err(|e| {
                PlatformError::Mismatch(format!("version {}: {e}", version.version))
            })?;
            let evidence = evidence_of(version)?;
            if let EstimatorSpec::Imported(settings) = &mut spec {
                let what = format!("{}, imported model", evidence.recipe);
                let was = settings.hash.map(|hash| hash.to_string()).unwrap_or_default();
                *settings = self.imported_within(version).await?;
                let is = settings.hash.map(|hash| hash.to_string()).unwrap_or_default();
                checks.push(ProofCheck::of(what, was, is));
            }
            let recipe = Recipe { name: evidence.recipe, spec };
            let doing = recipe.name.clone();
            let (station, done) = (Station::Train, i as u64);
            observer.event(Event::Progress { station, doing, done, total });
            let what = format!("{} version {}", recipe.name, version.version);
            // What learnt from the opened lock-box learnt from another dataset.
            let dataset = match evidence.includes_lock_box {
                true => Arc::new(made.allowed(None)),
                false => Arc::clone(&dataset),
            };
            let rows = dataset.fingerprint().to_string();
            if evidence.includes_lock_box {
                let what = format!("{what}, rows with the lock-box");
                checks.push(ProofCheck::of(what, version.dataset.to_string(), rows));
            }
            let stop = Arc::clone(&stop);
            let seed = pipeline.seed;
            // A search that ended by the clock is run again by the number of its trials.
            let keeper = Keeper::replaying(evidence.searched.into_iter().collect());
            let fit = move || training::fit(&recipe, &dataset, seed, &stop, &(), &keeper);
            let refit = training::run_cpu(fit).await??;
            checks.push(ProofCheck::of(what, version.hash.to_string(), refit.hash.to_string()));
        }
        Ok(Proof::of(id, checks))
    }
}
