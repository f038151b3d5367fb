//! What a run judged: which rows, read when, so that the same rows are not judged again.

use std::sync::PoisonError;

use foretell_lake::{AsOf, Layer, Version};
use foretell_market::Timestamp;
use foretell_panel::KnownAt;
use foretell_registry::{Param, RunFilter, Status};

use crate::error::PlatformError;
use crate::pipeline::Pipeline;
use crate::prove::config_json;
use crate::service::Service;
use crate::store::Store;

/// How many of a pipeline's latest runs are asked for what they judged.
const LOOKED_AT: u32 = 8;

/// What a run judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Judged {
    /// The run.
    pub(crate) run: String,
    /// The version of the raw table.
    pub(crate) version: Version,
    /// When it was read; unknown of runs from before rows had versions.
    pub(crate) read_at: Option<Timestamp>,
    /// Whether the gate refused.
    pub(crate) refused: bool,
}

impl Store {
    /// Writes down which rows a run judges.
    pub(crate) async fn keep_judged(
        &self,
        run: &str,
        version: Version,
        read_at: Timestamp,
    ) -> Result<(), PlatformError> {
        let param = |name: &str, value: String| Param { name: name.to_owned(), value };
        let judged =
            [param("raw_version", version.to_string()), param("read_at", read_at.to_string())];
        Ok(self.registry.put_params(run, &judged).await?)
    }

    /// Whether the raw table holds what a run did not see: rows that came after it, or
    /// that were there and are known only since then.
    pub(crate) async fn unjudged(
        &self,
        pipeline: &Pipeline,
        judged: Option<&Judged>,
    ) -> Result<bool, PlatformError> {
        let table = self.lake.table(Layer::Raw, &pipeline.name);
        let failed = PlatformError::lake("looking for new raw rows");
        let Some(judged) = judged else { return table.exists().await.map_err(failed) };
        if !table.is_latest(judged.version).await.map_err(failed)? {
            return Ok(true);
        }
        let head = {
            let heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
            heads.get(&pipeline.name).copied()
        };
        // Nothing of that version can become known any more: no need to read it.
        if let (Some((version, known)), Some(read_at)) = (head, judged.read_at)
            && version == judged.version
            && known <= read_at
        {
            return Ok(false);
        }
        let now = KnownAt::instant(self.clock.now());
        let Some(latest) = self.versions(pipeline, AsOf::Latest, now).await? else {
            return Ok(true);
        };
        let gained = |at| latest.gained(at, now.known_by);
        Ok(latest.version != judged.version || judged.read_at.is_some_and(gained))
    }
}

impl Service {
    /// What the latest run or advance of a pipeline judged, or the latest of one kind. A
    /// refusal counts as long as the pipeline is the same: other rules may judge otherwise.
    pub(crate) async fn judged(
        &self,
        pipeline: &Pipeline,
        kind: Option<&str>,
    ) -> Result<Option<Judged>, PlatformError> {
        let registry = &self.store.registry;
        let mut runs = Vec::new();
        for status in [Status::Succeeded, Status::Refused] {
            let filter = RunFilter {
                pipeline: Some(pipeline.name.clone()),
                status: Some(status),
                kind: kind.map(str::to_owned),
                limit: Some(LOOKED_AT),
                ..Default::default()
            };
            runs.extend(registry.runs(&filter).await?);
        }
        // Opening a lock-box forecasts nothing, so its rows are still to be judged.
        let config = config_json(pipeline);
        runs.retain(|r| r.kind == "run" || r.kind == "advance");
        runs.retain(|r| r.status == Status::Succeeded || r.config_json == config);
        runs.sort_by(|a, b| (b.started_at, &b.id).cmp(&(a.started_at, &a.id)));
        for run in runs {
            let params = registry.params(&run.id).await?;
            let param = |name: &str| params.iter().find(|p| p.name == name).map(|p| &p.value);
            if let Some(version) = param("raw_version").and_then(|value| value.parse().ok()) {
                let read_at = param("read_at").and_then(|value| value.parse().ok());
                let refused = run.status == Status::Refused;
                return Ok(Some(Judged { run: run.id, version, read_at, refused }));
            }
        }
        Ok(None)
    }
}
