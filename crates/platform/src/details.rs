//! What is recorded of one run or one model version, and the lists of them.

use foretell_registry::{
    Alias, ArtifactPlace, ModelFilter, ModelVersion, Run as RunRecord, RunFilter, Step,
};

use crate::demo::Demos;
use crate::error::PlatformError;
use crate::forecasting::CHAMPION;
use crate::service::Service;
use crate::training::Evidence;
use crate::views::{
    ArtifactView, ChampionView, ModelDetail, ModelView, RunDetail, RunView, StepView,
};

/// How many runs a list shows.
const LISTED: u32 = 200;

impl Service {
    /// Every model version, newest first.
    ///
    /// # Errors
    /// When the registry cannot be read.
    pub async fn models(&self) -> Result<Vec<ModelView>, PlatformError> {
        self.model_views(&ModelFilter::default()).await
    }

    pub(crate) async fn model_views(
        &self,
        filter: &ModelFilter,
    ) -> Result<Vec<ModelView>, PlatformError> {
        let registry = &self.store.registry;
        let aliases = registry.aliases(None).await?;
        let demos = self.demos().await?;
        let mut views = Vec::new();
        for version in registry.model_versions(filter).await? {
            views.push(model_view(version, &aliases, &demos).await?);
        }
        Ok(views)
    }

    /// One version of a model with its evidence; without a number the champion.
    ///
    /// # Errors
    /// When there is no such model or version.
    pub async fn model_detail(
        &self,
        name: &str,
        version: Option<u32>,
    ) -> Result<ModelDetail, PlatformError> {
        let registry = &self.store.registry;
        let found = self.store.model_named(name, version).await?;
        let history = registry.alias_history(name, CHAMPION).await?;
        let changes = history
            .iter()
            .filter_map(|change| Some(ChampionView { version: change.version?, at: change.at }));
        let evidence: Option<Evidence> = serde_json::from_str(&found.evaluation_json).ok();
        let aliases = registry.aliases(Some(name)).await?;
        Ok(ModelDetail {
            spec: serde_json::from_str(&found.spec_json).unwrap_or_default(),
            feature_set: found.feature_set.to_string(),
            train_from: found.train_from,
            train_to: found.train_to,
            passed: evidence.as_ref().is_some_and(|e| e.passed),
            level: evidence.as_ref().map(|e| e.level),
            shap: evidence.as_ref().map(|e| e.shap.clone()).unwrap_or_default(),
            permutation: evidence.as_ref().map(|e| e.permutation.clone()).unwrap_or_default(),
            evaluation: evidence.map(|e| e.line),
            champions: changes.collect(),
            model: model_view(found, &aliases, &self.demos().await?).await?,
        })
    }

    /// The latest runs, newest first.
    ///
    /// # Errors
    /// When the registry cannot be read.
    pub async fn runs(&self) -> Result<Vec<RunView>, PlatformError> {
        let filter = RunFilter { limit: Some(LISTED), ..Default::default() };
        let demos = self.demos().await?;
        let mut views = Vec::new();
        for run in self.store.registry.runs(&filter).await? {
            views.push(run_view(run, &demos).await?);
        }
        Ok(views)
    }

    /// One run with what is recorded of it, by its id or the beginning of it.
    ///
    /// # Errors
    /// When there is no such run.
    pub async fn run_detail(&self, id: &str) -> Result<RunDetail, PlatformError> {
        let registry = &self.store.registry;
        let run = self.store.run_named(id).await?;
        let id = run.id.clone();
        let params = registry.params(&id).await?.into_iter().map(|p| (p.name, p.value)).collect();
        let metrics = registry.metrics(&id).await?.into_iter().map(|m| (m.name, m.value)).collect();
        let steps = registry.steps(&id).await?.into_iter().map(step_view).collect();
        let artifacts = registry.artifacts(&id).await?.into_iter();
        let artifacts = artifacts.map(|artifact| ArtifactView {
            name: artifact.name,
            place: match artifact.place {
                ArtifactPlace::Path(path) => path,
                ArtifactPlace::Content(hash) => hash.to_string(),
            },
        });
        let filter = ModelFilter { run_id: Some(id), ..Default::default() };
        let models = self.model_views(&filter).await?;
        let config: serde_json::Value = serde_json::from_str(&run.config_json).unwrap_or_default();
        let text = |name: &str| config[name].as_str().unwrap_or_default().to_owned();
        Ok(RunDetail {
            file: text("file"),
            text: text("text"),
            artifacts: artifacts.collect(),
            run: run_view(run, &self.demos().await?).await?,
            steps,
            params,
            metrics,
            models,
        })
    }
}

async fn model_view(
    v: ModelVersion,
    aliases: &[Alias],
    demos: &Demos<'_>,
) -> Result<ModelView, PlatformError> {
    let evidence: Option<Evidence> = serde_json::from_str(&v.evaluation_json).ok();
    let spec: serde_json::Value = serde_json::from_str(&v.spec_json).unwrap_or_default();
    let of = |a: &&Alias| a.model == v.name && a.version == v.version;
    Ok(ModelView {
        aliases: aliases.iter().filter(of).map(|a| a.alias.clone()).collect(),
        recipe: evidence.as_ref().map_or_else(String::new, |e| e.recipe.clone()),
        kind: spec["kind"].as_str().unwrap_or_default().to_owned(),
        hash: v.hash.to_string(),
        historical_demo: demos.end_of(&v.run_id).await?,
        run: v.run_id,
        dataset: v.dataset.to_string(),
        fitted_as_of: v.fitted_as_of,
        skill: evidence.as_ref().and_then(|e| e.line.skill),
        p_value: evidence.as_ref().and_then(|e| e.line.p_value),
        spread: evidence.as_ref().and_then(|e| e.spread.clone()),
        includes_lock_box: evidence.as_ref().is_some_and(|e| e.includes_lock_box),
        created_at: v.created_at,
        name: v.name,
        version: v.version,
    })
}

async fn run_view(run: RunRecord, demos: &Demos<'_>) -> Result<RunView, PlatformError> {
    Ok(RunView {
        historical_demo: demos.end(&run).await?,
        id: run.id,
        pipeline: run.pipeline,
        kind: run.kind,
        status: run.status.as_str().to_owned(),
        started_at: run.started_at,
        finished_at: run.finished_at,
        error: run.error,
    })
}

fn step_view(step: Step) -> StepView {
    let detail: serde_json::Value = serde_json::from_str(&step.detail_json).unwrap_or_default();
    StepView {
        name: step.name,
        status: step.status.as_str().to_owned(),
        attempt: step.attempt,
        started_at: step.started_at,
        finished_at: step.finished_at,
        error: detail["error"].as_str().map(str::to_owned),
    }
}
