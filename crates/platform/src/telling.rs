//! What clients are told as it happens: forecasts, what came of them, rows and gaps.
//!
//! Whoever listens is told what is said from then on. What is said is kept for nobody: a
//! listener that does not keep up misses the oldest of it and is told how much that is.

use std::sync::{Arc, PoisonError};

use foretell_feature::FeatureRow;
use foretell_forecaster::{ForecastView, view};
use foretell_market::{Fingerprint, Instrument, Interval, Timestamp};
use foretell_registry::{ForecastFilter, RegistryError};
use foretell_stream::codec::{Encoding, decode_features, encode_features};
use foretell_stream::{OnCommit, Topics, View, Wanted};
use tokio::sync::broadcast;

use crate::error::PlatformError;
use crate::forecasting::StoredForecast;
use crate::live_forecasts::{LiveOutcome, Unresolved};
use crate::service::Service;

/// How many messages a listener may be behind.
const KEPT: usize = 1_024;
/// How many forecasts somebody who comes back is told at most.
const TOLD_AGAIN: u32 = 1_000;

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// A forecast was made; as it read then.
    Forecast(Box<ForecastView>),
    /// What came of a forecast.
    Outcome(Box<LiveOutcome>),
    /// Nobody will know what came of a forecast.
    Unresolved(Unresolved),
    /// A feature row was committed.
    Row {
        /// Its instrument.
        instrument: Instrument,
        /// The step of its grid.
        interval: Interval,
        /// Its decision time (UTC).
        as_of: Timestamp,
        /// Its content hash.
        hash: Fingerprint,
    },
    /// A stretch of a feed is missing.
    Gap {
        /// Whose.
        instrument: Instrument,
        /// From when (UTC).
        from: Timestamp,
        /// Until when (UTC).
        to: Timestamp,
        /// Why, where it is known.
        reason: String,
    },
}

impl Told {
    /// The instrument that it is about.
    pub fn instrument(&self) -> &Instrument {
        match self {
            Self::Forecast(view) => &view.forecast.instrument,
            Self::Outcome(of) => &of.instrument,
            Self::Unresolved(of) => &of.instrument,
            Self::Row { instrument, .. } | Self::Gap { instrument, .. } => instrument,
        }
    }

    /// The pipeline that it is of, for forecasts and what came of them.
    pub fn pipeline(&self) -> Option<&str> {
        match self {
            Self::Forecast(view) => Some(&view.forecast.model.name),
            Self::Outcome(of) => Some(&of.model),
            Self::Unresolved(of) => Some(&of.model),
            Self::Row { .. } | Self::Gap { .. } => None,
        }
    }
}

/// Hears what is said from now on.
pub type Listener = broadcast::Receiver<Arc<Told>>;

/// The one that speaks.
#[derive(Debug)]
pub(crate) struct Teller(broadcast::Sender<Arc<Told>>);

impl Default for Teller {
    fn default() -> Self {
        Self(broadcast::channel(KEPT).0)
    }
}

/// Which feature row of an instrument is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LiveRowQuery {
    /// The step of its grid; the shortest that has a row without it.
    pub interval: Option<Interval>,
    /// As of when (UTC): the newest row that was known then. The present without it.
    pub at: Option<Timestamp>,
    /// Of a pipeline of the river; of the newest decision without it.
    pub pipeline: Option<String>,
}

/// Forecasts that somebody missed.
#[derive(Debug, Clone, PartialEq)]
pub struct Missed {
    /// The latest of them, the oldest first; as they read now.
    pub forecasts: Vec<ForecastView>,
    /// Whether there are, or may be, more than these.
    pub more: bool,
}

impl Service {
    /// Tells everybody who listens. Nobody is waited for.
    pub fn tell(&self, told: Told) {
        // Nobody listens: nothing is said.
        let _ = self.teller.0.send(Arc::new(told));
    }

    /// Listens from now on.
    pub fn listen(&self) -> Listener {
        self.teller.0.subscribe()
    }

    /// The stored forecasts that were recorded after one, by its id: at most the latest 1,000.
    /// After an id that is not known there may be any number.
    ///
    /// # Errors
    /// When the registry fails.
    pub async fn forecasts_after(
        &self,
        id: &str,
        instrument: Option<&Instrument>,
        pipeline: Option<&str>,
    ) -> Result<Missed, PlatformError> {
        let registry = &self.store.registry;
        match registry.forecast(id).await {
            Ok(_) => {}
            Err(RegistryError::NotFound { .. }) => {
                return Ok(Missed { forecasts: Vec::new(), more: true });
            }
            Err(error) => return Err(error.into()),
        }
        let filter = ForecastFilter {
            instrument: instrument.cloned(),
            model: pipeline.map(str::to_owned),
            limit: Some(TOLD_AGAIN + 1),
            ..Default::default()
        };
        let mut found = registry.forecasts_after(id, &filter).await?;
        let more = found.len() > TOLD_AGAIN as usize;
        found.truncate(TOLD_AGAIN as usize);
        found.reverse();
        let now = self.store.clock.now();
        let read = |record| Ok(view(&StoredForecast::read(record)?.forecast, now));
        let forecasts = found.iter().map(read).collect::<Result<_, PlatformError>>()?;
        Ok(Missed { forecasts, more })
    }

    /// What a task that writes feature rows does after each commit: they go into the view, and
    /// whoever listens is told.
    pub fn on_rows(self: &Arc<Self>, topics: &Topics) -> OnCommit {
        let (service, topic) = (Arc::clone(self), topics.feature.clone());
        Box::new(move |written| {
            let view = service.rows();
            if view.is_none() && service.teller.0.receiver_count() == 0 {
                return;
            }
            for (_, _, record) in written.iter().filter(|(of, ..)| *of == topic) {
                let found = match decode_features(&record.value) {
                    Ok(found) => found,
                    Err(refusal) => {
                        tracing::error!(%refusal, "a row that was just written cannot be read");
                        continue;
                    }
                };
                let FeatureRow { instrument, interval, as_of, .. } = &found.row;
                let (interval, as_of, hash) = (*interval, *as_of, found.hash);
                let instrument = instrument.clone();
                if let Some(view) = &view {
                    view.take(found);
                }
                service.tell(Told::Row { instrument, interval, as_of, hash });
            }
        })
    }

    /// Answers questions about feature rows from a view from now on.
    pub fn show_rows(&self, rows: Arc<View>) {
        let mut shown = self.rows.write().unwrap_or_else(PoisonError::into_inner);
        *shown = Some(rows);
    }

    /// The view that questions about feature rows are answered from; `None` where no river
    /// runs.
    pub fn rows(&self) -> Option<Arc<View>> {
        self.rows.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The newest feature row in memory that was known at an instant, at present without one:
    /// the bytes of its record of the topic `feature`, JSON. Without an interval of the shortest
    /// that has one, without a set of the newest decision.
    ///
    /// # Errors
    /// When no river runs here, or it keeps no such row in memory.
    pub(crate) fn feature_row(
        &self,
        instrument: &Instrument,
        interval: Option<Interval>,
        set: Option<Fingerprint>,
        at: Option<Timestamp>,
    ) -> Result<Vec<u8>, PlatformError> {
        let Some(rows) = self.rows() else {
            return Err(PlatformError::not_found(
                format!("live feature row of {instrument}"),
                "no live river runs in this process: start one with `foretell up`",
            ));
        };
        let now = self.store.clock.now();
        let wanted = Wanted { instrument, interval, set, at: at.unwrap_or(now) };
        let found = rows.record(wanted).ok_or_else(|| {
            let of = interval.map_or_else(String::new, |i| format!(" {i}"));
            let known = at.map_or_else(String::new, |t| format!(" that was known at {t}"));
            PlatformError::not_found(
                format!("live feature row of {instrument}{of}{known}"),
                "neither memory nor the lake has one: ask for a later instant, another interval, \
                 or an instrument of the river's pipelines",
            )
        })?;
        let mut bytes = Vec::new();
        encode_features(&found, Encoding::Json, &mut bytes);
        Ok(bytes)
    }
}
