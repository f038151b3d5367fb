//! What came of forecasts: prices at their target times, and corrections of those.

use foretell_forecaster::observe;
use foretell_market::{RowFlags, Timestamp};
use foretell_panel::Frame;
use foretell_registry::{Calibration, ForecastFilter, ModelVersion, Outcome};

use crate::error::PlatformError;
use crate::forecasting::{CHAMPION, StoredForecast};
use crate::pipeline::Pipeline;
use crate::store::Store;

impl Store {
    /// Takes outcomes that are known by now into the record and, in the order of their
    /// target times, into the calibration of the champion; answers with how many forecasts
    /// were judged.
    ///
    /// A price that was corrected since is another outcome, known later (`read_at`, when
    /// its row does not say so itself). The calibration took the forecast in at the price
    /// that was known first and keeps that: its states are what later forecasts were made
    /// with. Nor does it take in a forecast that was due before its latest state: its
    /// order is that of time.
    pub(crate) async fn judge_outcomes(
        &self,
        pipeline: &Pipeline,
        clean: &Frame,
        present: Timestamp,
        read_at: Timestamp,
    ) -> Result<usize, PlatformError> {
        let registry = &self.registry;
        let filter = ForecastFilter {
            instrument: Some(pipeline.instrument.clone()),
            horizon: Some(pipeline.label.horizon),
            model: Some(pipeline.name.clone()),
            ..Default::default()
        };
        let mut outcomes = Vec::new();
        for (target, stored) in registry.latest_outcomes(&filter).await? {
            outcomes.extend(corrected(&stored, price_at(pipeline, clean, target), read_at));
        }
        let mut open = registry.unjudged_forecasts(present, &filter).await?;
        open.sort_by_key(|f| (f.target_time, f.as_of));
        let champion = registry.aliased(&pipeline.name, CHAMPION).await?;
        let (mut calibration, mut taken_in_to) = (None, None);
        if let Some(record) = &champion {
            let stored = registry.calibration(&record.name, record.version, present).await?;
            taken_in_to = stored.map(|c| c.as_of);
            calibration = Some(self.calibration(record, present).await?);
        }
        let (mut judged, mut moved) = (0, false);
        for record in open {
            let Some((price, known_at)) = price_at(pipeline, clean, record.target_time) else {
                continue;
            };
            judged += 1;
            outcomes.push(Outcome { forecast_id: record.id.clone(), value: price, known_at });
            let is_champion =
                |v: &ModelVersion| v.version == record.version && v.name == record.model;
            if let (Some(version), Some(state)) = (&champion, &mut calibration)
                && is_champion(version)
                && taken_in_to.is_none_or(|at| at < record.target_time)
            {
                let forecast = StoredForecast::read(&record)?.forecast;
                match observe(state, &forecast, price) {
                    Ok(_) => moved = true,
                    // A forecast that abstained may hold nothing to calibrate with.
                    Err(error) => {
                        tracing::debug!(forecast = record.id, %error, "left out of the calibration");
                    }
                }
            }
        }
        if outcomes.is_empty() {
            return Ok(0);
        }
        let calibration = champion.zip(calibration).filter(|_| moved);
        let calibration = calibration.map(|(version, state)| Calibration {
            model: version.name,
            version: version.version,
            as_of: present,
            state_json: serde_json::to_string(&state).unwrap_or_default(),
        });
        // One transaction: an outcome is counted once or not at all.
        registry.insert_outcomes(&outcomes, calibration.as_ref()).await?;
        Ok(judged)
    }
}

/// The outcome that replaces a stored one, when the price at the target time is another
/// by now: known when its row became known, and always after the stored one.
fn corrected(
    stored: &Outcome,
    now: Option<(f64, Timestamp)>,
    read_at: Timestamp,
) -> Option<Outcome> {
    let (value, known_at) = now?;
    if value.to_bits() == stored.value.to_bits() {
        return None;
    }
    let later = Timestamp::from_micros(stored.known_at.micros() + 1);
    // An imported row is declared to be known since its close, corrected or not.
    let known_at = if known_at > stored.known_at { known_at } else { read_at.max(later) };
    Some(Outcome { forecast_id: stored.forecast_id.clone(), value, known_at })
}

/// The price that a forecast's target time brought, and when it was known. A row that was
/// filled from the one before is no price: a return of zero that nobody saw.
fn price_at(pipeline: &Pipeline, clean: &Frame, at: Timestamp) -> Option<(f64, Timestamp)> {
    let rows = clean.rows();
    let found = rows.binary_search_by_key(&(at - pipeline.interval), |r| r.time).ok()?;
    if rows[found].flags.contains(RowFlags::FILLED) {
        return None;
    }
    let price = clean.column(&pipeline.label.price)?[found];
    price.is_finite().then_some((price, rows[found].known_at))
}

#[cfg(test)]
mod tests {
    use foretell_panel::{Column, RowMeta};

    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    #[test]
    fn a_filled_row_is_no_price() {
        let text = "name = \"p\"\ninstrument = \"BTC-USDT\"\ninterval = \"1h\"\n\
             as_of = \"now\"\n[source]\nkind = \"binance\"\nfrom = \"2024-01-01\"\n\
             [features]\nset = \"candle-base\"\nseason = \"24h\"\n[label]\n\
             horizon = \"1h\"\n[evaluation]\ninitial_train = \"300h\"\n\
             refit_every = \"100h\"\nbootstrap_draws = 100\nmin_refits = 2\n\
             [[models]]\nkind = \"historical_mean\"\n";
        let pipeline = Pipeline::parse(text, std::path::Path::new("p.toml")).unwrap();
        let hour = |h: i64| at(h * 3_600);
        let row = |h: i64, flags| {
            let known_at = hour(h + 1);
            RowMeta { time: hour(h), known_at, ingested_at: known_at, flags }
        };
        let rows = vec![row(0, RowFlags::NONE), row(1, RowFlags::FILLED), row(2, RowFlags::NONE)];
        let close = vec![Column::new("close", vec![100.0, 100.0, 102.0])];
        let instrument = pipeline.instrument.clone();
        let clean = Frame::new(instrument, pipeline.interval, rows, close).unwrap();
        let prices: Vec<_> = (1..=4).map(|h| price_at(&pipeline, &clean, hour(h))).collect();
        assert_eq!(prices, [Some((100.0, hour(1))), None, Some((102.0, hour(3))), None]);
    }

    #[test]
    fn a_corrected_price_is_another_outcome_known_later() {
        let stored = Outcome { forecast_id: "f_1".to_owned(), value: 100.0, known_at: at(50) };
        let of = |value, known_at| {
            let found = corrected(&stored, Some((value, at(known_at))), at(90));
            found.map(|o| (o.value, o.known_at))
        };
        assert_eq!(of(100.0, 70), None, "the same price is no correction");
        assert_eq!(of(101.0, 70), Some((101.0, at(70))), "seen live");
        assert_eq!(of(101.0, 50), Some((101.0, at(90))), "declared since the close: as read");
        assert_eq!(corrected(&stored, None, at(90)), None);
        let early = corrected(&stored, Some((101.0, at(50))), at(10)).unwrap();
        assert!(early.known_at > stored.known_at);
    }
}
