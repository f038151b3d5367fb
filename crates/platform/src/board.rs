//! The forecasts that are served now, in memory: a read touches no disk.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use foretell_forecaster::Forecast;
use foretell_market::{Instrument, Interval, Timestamp};

use crate::pipeline::Pipeline;

/// The alias of a forecast that is served only until its run has judged.
pub(crate) const PROVISIONAL: &str = "provisional";

/// Instrument, horizon and the pipeline that forecasts it.
type Place = (Instrument, Interval, String);

/// The latest forecast of each pipeline.
#[derive(Debug, Default)]
pub(crate) struct Board(RwLock<BTreeMap<Place, Arc<Forecast>>>);

impl Board {
    /// Serves a forecast, unless one of a later decision is served already. Of one
    /// decision the newest forecast is served.
    pub(crate) fn put(&self, forecast: Forecast) {
        let mut board = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let name = forecast.model.name.clone();
        let key = (forecast.instrument.clone(), forecast.horizon, name);
        if board.get(&key).is_none_or(|served| served.as_of <= forecast.as_of) {
            board.insert(key, Arc::new(forecast));
        }
    }

    /// Serves the forecast that a finished run ended with, whatever was served before.
    pub(crate) fn replace(&self, forecast: Forecast) {
        let mut board = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let name = forecast.model.name.clone();
        let key = (forecast.instrument.clone(), forecast.horizon, name);
        board.insert(key, Arc::new(forecast));
    }

    /// Takes back what was served only until a run had judged.
    pub(crate) fn drop_provisional(&self, pipeline: &str) {
        let mut board = self.0.write().unwrap_or_else(PoisonError::into_inner);
        board.retain(|(_, _, name), f| name != pipeline || f.model.alias != PROVISIONAL);
    }

    /// The forecast of an instrument. Without a horizon that of the shortest; without a
    /// pipeline that of the latest decision.
    pub(crate) fn get(
        &self,
        instrument: &Instrument,
        horizon: Option<Interval>,
        pipeline: Option<&str>,
    ) -> Option<Arc<Forecast>> {
        self.best(instrument, horizon, |name| pipeline.is_none_or(|p| p == name))
    }

    /// [`Board::get`] among some pipelines.
    pub(crate) fn best(
        &self,
        instrument: &Instrument,
        horizon: Option<Interval>,
        among: impl Fn(&str) -> bool,
    ) -> Option<Arc<Forecast>> {
        let board = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let fits = |(name, ahead, of): &Place| {
            name == instrument && horizon.is_none_or(|h| h == *ahead) && among(of)
        };
        let found: Vec<&Arc<Forecast>> =
            board.iter().filter(|(key, _)| fits(key)).map(|(_, f)| f).collect();
        let shortest = found.iter().map(|f| f.horizon).min()?;
        let of_shortest = found.into_iter().filter(|f| f.horizon == shortest);
        of_shortest.max_by_key(|f| f.as_of).cloned()
    }

    /// Whether the forecast of a decision is served.
    pub(crate) fn is_made(&self, pipeline: &Pipeline, as_of: Timestamp) -> bool {
        let (instrument, horizon) = (&pipeline.instrument, pipeline.label.horizon);
        let served = self.get(instrument, Some(horizon), Some(&pipeline.name));
        served.is_some_and(|f| f.as_of >= as_of)
    }

    /// Every forecast that is served.
    pub(crate) fn all(&self) -> Vec<Arc<Forecast>> {
        let board = self.0.read().unwrap_or_else(PoisonError::into_inner);
        board.values().cloned().collect()
    }
}
