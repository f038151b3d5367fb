//! One run, one model version, and gaps on the wire.

use foretell_platform as platform;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Model, Run};

/// A station of a run; its latest attempt.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Step {
    name: String,
    /// `running`, `succeeded`, `failed`, `skipped`, `refused` or `cancelled`.
    status: String,
    /// Which attempt this is, from 1.
    attempt: u32,
    started_at: Option<String>,
    finished_at: Option<String>,
    error: Option<String>,
}

/// Something that a run left behind.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Artifact {
    name: String,
    /// Its path in the data directory, or its content hash in the lake.
    place: String,
}

/// A run with what is recorded of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RunDetail {
    #[serde(flatten)]
    run: Run,
    /// The pipeline file, as it was named.
    file: String,
    /// Its text.
    text: String,
    /// Its stations in their order.
    steps: Vec<Step>,
    /// What it left behind.
    artifacts: Vec<Artifact>,
    /// Parameters: name and value.
    params: Vec<(String, String)>,
    /// Metrics: name and value.
    metrics: Vec<(String, f64)>,
    /// The versions it registered.
    models: Vec<Model>,
}

impl From<platform::RunDetail> for RunDetail {
    fn from(v: platform::RunDetail) -> Self {
        let step = |s: platform::StepView| Step {
            name: s.name,
            status: s.status,
            attempt: s.attempt,
            started_at: s.started_at.map(|t| t.to_string()),
            finished_at: s.finished_at.map(|t| t.to_string()),
            error: s.error,
        };
        let artifact = |a: platform::ArtifactView| Artifact { name: a.name, place: a.place };
        Self {
            run: v.run.into(),
            file: v.file,
            text: v.text,
            steps: v.steps.into_iter().map(step).collect(),
            artifacts: v.artifacts.into_iter().map(artifact).collect(),
            params: v.params,
            metrics: v.metrics,
            models: v.models.into_iter().map(Into::into).collect(),
        }
    }
}

/// Since when a version was the champion.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Champion {
    version: u32,
    at: String,
}

/// A version of a model with its evidence.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ModelDetail {
    #[serde(flatten)]
    model: Model,
    /// The estimator's specification.
    #[schema(value_type = Object)]
    spec: serde_json::Value,
    /// Content hash of the feature set's definitions.
    feature_set: String,
    /// First decision time of its training rows.
    train_from: String,
    /// Last label end of its training rows.
    train_to: String,
    /// Whether it passed the promotion rule.
    passed: bool,
    /// Level of its intervals.
    level: Option<f64>,
    /// Its line of the closing table: what it scored out of sample.
    #[schema(value_type = Option<Object>)]
    evaluation: Option<serde_json::Value>,
    /// The champions of the model, the present one first.
    champions: Vec<Champion>,
    /// Mean absolute Shapley value by feature, basis points, the largest first.
    shap: Vec<(String, f64)>,
    /// What shuffling a feature does out of sample, the largest first.
    #[schema(value_type = Vec<Object>)]
    permutation: serde_json::Value,
}

impl From<platform::ModelDetail> for ModelDetail {
    fn from(v: platform::ModelDetail) -> Self {
        let champion =
            |c: platform::ChampionView| Champion { version: c.version, at: c.at.to_string() };
        Self {
            model: v.model.into(),
            spec: v.spec,
            feature_set: v.feature_set,
            train_from: v.train_from.to_string(),
            train_to: v.train_to.to_string(),
            passed: v.passed,
            level: v.level,
            evaluation: v.evaluation.map(|line| serde_json::json!(line)),
            champions: v.champions.into_iter().map(champion).collect(),
            shap: v.shap,
            permutation: serde_json::json!(v.permutation),
        }
    }
}

/// A stretch of missing intervals in the rows of a pipeline.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Gap {
    pipeline: String,
    instrument: String,
    /// Interval of the rows.
    interval: String,
    /// Start of the first missing interval.
    from: String,
    /// Start of the interval after the last missing one.
    to: String,
    /// How many intervals are missing.
    intervals: u64,
    /// The run that saw it first.
    first_seen_by: String,
    first_seen_at: String,
    /// The run that found rows there; `null` as long as the gap is open.
    closed_by: Option<String>,
    closed_at: Option<String>,
    /// Whether intervals in it were still missing then, which later records name.
    partly: bool,
}

impl From<platform::GapView> for Gap {
    fn from(v: platform::GapView) -> Self {
        Self {
            pipeline: v.pipeline,
            instrument: v.instrument.to_string(),
            interval: v.interval.to_string(),
            from: v.from.to_string(),
            to: v.to.to_string(),
            intervals: v.intervals,
            first_seen_by: v.first_seen_by,
            first_seen_at: v.first_seen_at.to_string(),
            closed_by: v.closed_by,
            closed_at: v.closed_at.map(|t| t.to_string()),
            partly: v.partly,
        }
    }
}
