//! Where the data of a historical demo ends: written down by each run, shown everywhere.

use std::collections::BTreeMap;

use foretell_market::Timestamp;
use foretell_registry::{Param, Run as RunRecord};

use crate::error::PlatformError;
use crate::pipeline::{Pipeline, Present};
use crate::prove::pipeline_of;
use crate::service::Service;
use crate::store::Store;

/// The parameter of a run that holds the instant, or [`LIVE`].
const PARAM: &str = "historical_demo";
/// The value for a run on live data.
const LIVE: &str = "no";

impl Store {
    /// Writes down whether a run works on a historical demo, and where its data ends.
    pub(crate) async fn keep_demo(
        &self,
        pipeline: &Pipeline,
        present: Timestamp,
        run: &str,
    ) -> Result<(), PlatformError> {
        let value = match pipeline.as_of {
            Present::EndOfData => present.to_string(),
            Present::Now => LIVE.to_owned(),
        };
        let param = Param { name: PARAM.to_owned(), value };
        Ok(self.registry.put_params(run, &[param]).await?)
    }
}

/// Where the data of runs ends that worked on a historical demo.
pub(crate) struct Demos<'a> {
    store: &'a Store,
    told: BTreeMap<String, String>,
}

impl Demos<'_> {
    /// Of a run; `None` for live data, and as long as the run has not seen its rows.
    pub(crate) async fn end(&self, run: &RunRecord) -> Result<Option<Timestamp>, PlatformError> {
        if let Some(told) = self.told.get(&run.id) {
            return Ok(told.parse().ok());
        }
        // Runs of earlier versions wrote down their present alone.
        if !pipeline_of(run).is_ok_and(|p| p.as_of == Present::EndOfData) {
            return Ok(None);
        }
        let params = self.store.registry.params(&run.id).await?;
        let present = params.iter().find(|p| p.name == "present");
        Ok(present.and_then(|p| p.value.parse().ok()))
    }

    /// Of the run that made something, by its id.
    pub(crate) async fn end_of(&self, run: &str) -> Result<Option<Timestamp>, PlatformError> {
        match self.told.get(run) {
            Some(told) => Ok(told.parse().ok()),
            None => self.end(&self.store.registry.run(run).await?).await,
        }
    }
}

impl Service {
    /// What runs wrote down of historical demos.
    pub(crate) async fn demos(&self) -> Result<Demos<'_>, PlatformError> {
        let told = self.store.registry.params_named(PARAM).await?;
        Ok(Demos { store: &self.store, told })
    }
}
