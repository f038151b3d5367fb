//! The forecasts that are served now, in memory: a read touches no disk.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use foretell_forecaster::Forecast;
use foretell_market::{Instrument, Interval};

/// The latest forecast of each instrument and horizon.
#[derive(Debug, Default)]
pub(crate) struct Board(RwLock<BTreeMap<(Instrument, Interval), Arc<Forecast>>>);

impl Board {
    /// Serves a forecast, unless one of a later decision is served already. Of one
    /// decision the newest forecast is served.
    pub(crate) fn put(&self, forecast: Forecast) {
        let mut board = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let key = (forecast.instrument.clone(), forecast.horizon);
        if board.get(&key).is_none_or(|served| served.as_of <= forecast.as_of) {
            board.insert(key, Arc::new(forecast));
        }
    }

    /// The forecast of an instrument; without a horizon that of the shortest.
    pub(crate) fn get(
        &self,
        instrument: &Instrument,
        horizon: Option<Interval>,
    ) -> Option<Arc<Forecast>> {
        let board = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut of = board.iter().filter(|((name, _), _)| name == instrument);
        of.find(|((_, h), _)| horizon.is_none_or(|wanted| wanted == *h)).map(|(_, f)| Arc::clone(f))
    }

    /// Every forecast that is served.
    pub(crate) fn all(&self) -> Vec<Arc<Forecast>> {
        let board = self.0.read().unwrap_or_else(PoisonError::into_inner);
        board.values().cloned().collect()
    }
}
