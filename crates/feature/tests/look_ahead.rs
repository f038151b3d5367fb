//! The audit catches every kind of leak by name, and the shipped sets pass it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(
    clippy::disallowed_methods,
    reason = "a planted leak need not have the same bits anywhere"
)]

mod market;

use foretell_feature::{
    ContextSpec, FeatureError, FeatureSet, LabelSpec, Params, ReturnWindows, assemble, audit,
    compute, context, labels,
};
use foretell_market::Interval;
use foretell_panel::{Aggregation, Column, Frame, Grid, resample};
use market::{data, frame};

fn candles() -> Frame {
    frame(data!("features/bitfinex_btcusd_1h_2016.csv"))
}

fn snapshots() -> Frame {
    frame(data!("features/coingecko_btc_1h_2021.csv"))
}

fn hours(h: i64) -> Interval {
    Interval::from_secs(h * 3600).unwrap()
}

/// The rows of a frame with an honest column (the last change) and a suspect.
fn beside_honest(frame: &Frame, suspect: Vec<f64>) -> Result<Frame, FeatureError> {
    let close = frame.require("close")?;
    let honest = (0..close.len()).map(|i| if i == 0 { 0.0 } else { close[i] - close[i - 1] });
    let columns = vec![Column::new("honest", honest.collect()), Column::new("leak", suspect)];
    let (instrument, rows) = (frame.instrument().clone(), frame.rows().to_vec());
    Ok(Frame::new(instrument, frame.interval(), rows, columns)?)
}

/// Audits a planted leak and fails unless it, and nothing else, is named.
#[track_caller]
fn assert_caught(suspect: impl Fn(&Frame) -> Vec<f64>) {
    let pipeline = |frame: &Frame| beside_honest(frame, suspect(frame));
    let report = audit(&candles(), &pipeline, 7);
    let named: Vec<&str> = report.offenders.iter().map(|o| o.column.as_str()).collect();
    assert_eq!(named, ["leak"], "{:?}", report.failures);
    assert!(!report.passed());
    let evidence = &report.offenders[0];
    assert!(evidence.row + Interval::HOUR <= evidence.cut);
    assert_ne!(evidence.before, evidence.after);
}

fn close(frame: &Frame) -> Vec<f64> {
    frame.column("close").unwrap().to_vec()
}

fn mean(values: &[f64]) -> f64 {
    let known = values.iter().filter(|v| v.is_finite());
    known.clone().sum::<f64>() / known.count() as f64
}

#[test]
fn a_centred_window_is_caught() {
    assert_caught(|frame| {
        let x = close(frame);
        (0..x.len()).map(|i| mean(&x[i.saturating_sub(2)..(i + 3).min(x.len())])).collect()
    });
}

#[test]
fn scaling_by_the_whole_frame_is_caught() {
    assert_caught(|frame| {
        let x = close(frame);
        let m = mean(&x);
        let std = mean(&x.iter().map(|v| (v - m).powi(2)).collect::<Vec<_>>()).sqrt();
        x.iter().map(|v| (v - m) / std).collect()
    });
}

#[test]
fn a_shift_from_the_future_is_caught() {
    assert_caught(|frame| {
        let x = close(frame);
        (0..x.len()).map(|i| x.get(i + 1).copied().unwrap_or(f64::NAN)).collect()
    });
}

#[test]
fn a_back_fill_is_caught() {
    assert_caught(|frame| {
        let mut x = close(frame);
        for i in (0..x.len().saturating_sub(1)).rev() {
            if x[i].is_nan() {
                x[i] = x[i + 1];
            }
        }
        x
    });
}

#[test]
fn a_back_fill_of_absent_rows_is_caught() {
    // The hours since the last candle are looked up on a grid whose holes were filled
    // from the next candle.
    assert_caught(|frame| {
        let grid = Grid::of(frame);
        let mut filled = grid.column("close").unwrap().to_vec();
        for i in (0..filled.len().saturating_sub(1)).rev() {
            if filled[i].is_nan() {
                filled[i] = filled[i + 1];
            }
        }
        let cells = (0..grid.len()).filter(|&c| grid.row(c).is_some());
        cells.map(|c| filled[(c + 1).min(grid.len() - 1)]).collect()
    });
}

#[test]
fn target_encoding_is_caught() {
    // The mean future return of each hour of the day, over all rows.
    assert_caught(|frame| {
        let x = close(frame);
        let after = |i: usize| x.get(i + 1).map_or(f64::NAN, |v| v / x[i] - 1.0);
        let of_hour = |h: u32| {
            let rows = (0..x.len()).filter(|&i| frame.rows()[i].time.hour() == h);
            mean(&rows.map(after).collect::<Vec<_>>())
        };
        let means: Vec<f64> = (0..24).map(of_hour).collect();
        frame.rows().iter().map(|r| means[r.time.hour() as usize]).collect()
    });
}

#[test]
fn components_fitted_before_the_split_are_caught() {
    // The first principal component of high and low, fitted on all rows.
    assert_caught(|frame| {
        let (a, b) = (frame.column("high").unwrap(), frame.column("low").unwrap());
        let (ma, mb) = (mean(a), mean(b));
        let moment = |x: &[f64], mx: f64, y: &[f64], my: f64| {
            mean(&x.iter().zip(y).map(|(u, v)| (u - mx) * (v - my)).collect::<Vec<_>>())
        };
        let (saa, sab, sbb) = (moment(a, ma, a, ma), moment(a, ma, b, mb), moment(b, mb, b, mb));
        let angle = 0.5 * (2.0 * sab).atan2(saa - sbb);
        a.iter().zip(b).map(|(u, v)| (u - ma) * angle.cos() + (v - mb) * angle.sin()).collect()
    });
}

#[test]
fn the_label_of_a_resampled_bar_is_caught() {
    // Each hour is given the close of its four-hour bar, which ends up to three later.
    assert_caught(|frame| {
        let bars = resample(frame, hours(4), Aggregation::for_candle_column).unwrap();
        let close = bars.column("close").unwrap();
        let bar = |row: &foretell_panel::RowMeta| {
            let start = hours(4).floor(row.time);
            let found = bars.rows().binary_search_by_key(&start, |r| r.time);
            found.map_or(f64::NAN, |i| close[i])
        };
        frame.rows().iter().map(bar).collect()
    });
}

#[test]
fn a_row_that_depends_on_the_future_is_caught() {
    // Rows are dropped when the next close is lower: survivorship.
    let pipeline = |frame: &Frame| -> Result<Frame, FeatureError> {
        let x = close(frame);
        let whole = beside_honest(frame, vec![0.0; x.len()])?;
        Ok(whole.filter(|i, _| x.get(i + 1).is_none_or(|next| next >= &x[i])))
    };
    let report = audit(&candles(), &pipeline, 7);
    assert!(report.offenders.iter().any(|o| o.column == "(rows)"), "{report:?}");
}

#[test]
fn a_pipeline_that_fails_on_another_future_does_not_pass() {
    let pipeline = |frame: &Frame| -> Result<Frame, FeatureError> {
        if close(frame).iter().any(|v| *v <= 0.0) {
            return Err(FeatureError::Pipeline("a price is not positive".into()));
        }
        beside_honest(frame, vec![0.0; frame.len()])
    };
    let report = audit(&candles(), &pipeline, 7);
    assert!(report.offenders.is_empty() && !report.failures.is_empty() && !report.passed());
}

#[test]
fn an_audit_that_compares_nothing_does_not_pass() {
    let report = audit(&candles().slice(0..2), &|f| beside_honest(f, vec![0.0; f.len()]), 7);
    assert_eq!(report.comparisons, 0);
    assert!(!report.passed());
}

#[test]
fn the_shipped_sets_pass() {
    for (name, frame) in
        [("coingecko-62", snapshots()), ("kraken-62", candles()), ("candle-base", candles())]
    {
        let set = FeatureSet::named(name, &Params::new()).unwrap();
        let report = audit(&frame, &|frame| compute(&set, frame), 11);
        assert!(report.passed(), "{name}: {:?} {:?}", report.offenders, report.failures);
        assert_eq!(report.columns, set.names());
        assert_eq!(report.comparisons, report.cuts.len() * 3 * 6);
    }
}

#[test]
fn the_context_and_the_rows_of_a_dataset_pass() {
    let set = FeatureSet::named("coingecko-62", &Params::new()).unwrap();
    let spec = ContextSpec {
        horizon: hours(2),
        season: hours(24),
        ewma_lambda: 0.94,
        returns: ReturnWindows { lags: 5, cascade: true },
    };
    let label = LabelSpec { horizon: hours(2), price_column: "price".into() };
    let pipeline = |frame: &Frame| -> Result<Frame, FeatureError> {
        let features = compute(&set, frame)?;
        let context = context(frame, "price", &spec)?;
        let dataset = assemble(frame, &features, &context, &label, &set)?;
        // Which rows the dataset keeps must not depend on the future either.
        let kept = |time| dataset.labels.iter().any(|l| l.start == time);
        let used = context.rows().iter().map(|r| f64::from(kept(r.time + Interval::HOUR)));
        let used = used.collect();
        Ok(context.with_column(Column::new("in_dataset", used))?)
    };
    let report = audit(&snapshots(), &pipeline, 3);
    assert!(report.passed(), "{:?} {:?}", report.offenders, report.failures);
}

#[test]
fn a_label_taken_for_a_feature_is_caught() {
    let label = LabelSpec { horizon: hours(1), price_column: "close".into() };
    assert_caught(|frame| labels(frame, &label).unwrap().iter().map(|l| l.value).collect());
}
