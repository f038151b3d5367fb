//! Windows of past returns in the context: they end at a gap, and mean what they say.

use foretell_feature::{
    ContextSpec, FeatureSet, FeatureSpec, LabelSpec, ReturnWindows, assemble, compute, context,
    cut_returns,
};
use foretell_market::Interval;
use foretell_panel::Frame;

fn hours(hours: i64) -> Interval {
    Interval::from_secs(3_600 * hours).expect("some hours")
}

/// Hourly prices without the rows of these numbers.
fn snapshots(rows: usize, holes: &[usize], seed: u64) -> Frame {
    let all = foretell_testkit::random_walk(rows, Interval::HOUR, 0.005, seed);
    all.filter(|i, _| !holes.contains(&i))
}

fn spec(returns: ReturnWindows) -> ContextSpec {
    ContextSpec { horizon: hours(2), season: hours(24), ewma_lambda: 0.94, returns }
}

/// The returns up to a row, the newest first, as far as prices follow each other.
fn known(frame: &Frame, row: usize) -> Vec<f64> {
    let (rows, price) = (frame.rows(), frame.column("close").expect("a close"));
    let adjacent = |i: usize| rows[i - 1].time + Interval::HOUR == rows[i].time;
    let back = (1..=row).rev().take_while(|&i| adjacent(i));
    back.map(|i| libm::log(price[i] / price[i - 1])).collect()
}

#[test]
fn windows_hold_the_returns_since_the_last_gap() {
    let frame = snapshots(900, &[30, 31, 200], 5);
    let windows = ReturnWindows { lags: 6, cascade: true };
    let found = context(&frame, "close", &spec(windows)).unwrap();
    let column = |name: &str| found.column(name).unwrap();
    let close = |a: f64, b: f64| (a - b).abs() <= 1e-12 * b.abs().max(1e-12);
    for row in 1..frame.len() {
        let returns = known(&frame, row);
        let count = column("known_returns")[row];
        if returns.is_empty() {
            assert!(count.is_nan(), "row {row} follows a gap: nothing is known");
            continue;
        }
        assert_eq!(count, returns.len().min(720) as f64, "row {row}");
        for age in 0..6 {
            let expected = returns.get(age).copied().unwrap_or(0.0);
            let value = column(&format!("log_return_lag_{age}"))[row];
            assert!(close(value, expected), "row {row}, age {age}: {value} is not {expected}");
        }
        for (name, width) in [("horizon", 2), ("day", 24), ("week", 168), ("month", 720)] {
            let part = &returns[..returns.len().min(width)];
            let expected = part.iter().map(|r| r * r).sum::<f64>() / part.len() as f64;
            let value = column(&format!("mean_square_{name}"))[row];
            assert!(close(value, expected), "row {row}, {name}: {value} is not {expected}");
        }
    }
}

#[test]
fn windows_are_there_when_they_are_asked_for() {
    let frame = snapshots(100, &[], 5);
    let names = |returns| -> Vec<String> {
        let found = context(&frame, "close", &spec(returns)).unwrap();
        found.columns().iter().map(|c| c.name.clone()).collect()
    };
    let none = ReturnWindows::default();
    assert_eq!(names(none), ContextSpec::NAMES);
    for windows in [
        ReturnWindows { lags: 3, cascade: false },
        ReturnWindows { lags: 0, cascade: true },
        ReturnWindows { lags: 3, cascade: true },
    ] {
        let names = names(windows);
        assert_eq!(names.len(), 5 + windows.lags + if windows.cascade { 4 } else { 0 });
        // What a stored model read is asked for again, whatever else is asked for today.
        assert_eq!(spec(none).reading(&names).returns, windows);
        assert_eq!(spec(windows).reading(&names[..4]).returns, none);
        assert_eq!(none.join(windows), windows);
    }
    // Windows are cut behind a lock-box, so that nothing behind it is left out for them.
    let memory = |returns| spec(returns).memory(Interval::HOUR);
    assert_eq!(memory(none), 112, "exponential weights below a thousandth");
    assert_eq!(memory(ReturnWindows { lags: 256, cascade: true }), 112);
}

#[test]
fn cut_windows_know_nothing_of_what_is_before_the_cut() {
    let windows = ReturnWindows { lags: 10, cascade: true };
    let spec = spec(windows);
    let label = LabelSpec { horizon: hours(2), price_column: "close".to_owned() };
    let mean = FeatureSpec::new("m", "rolling_mean").with("column", "close");
    let set = FeatureSet::custom("one", &[mean]).unwrap();
    let frame = snapshots(900, &[300], 6);
    let rows = |frame: &Frame| {
        let features = compute(&set, frame).unwrap();
        let context = context(frame, "close", &spec).unwrap();
        assemble(frame, &features, &context, &label, &set).unwrap()
    };
    let end = frame.rows()[400].time + Interval::HOUR;
    let (all, cut) = (rows(&frame), cut_returns(&rows(&frame), end));
    assert_eq!((all.len(), &all.base_prices), (cut.len(), &cut.base_prices), "no row is lost");
    // The same as if the history began with the price at the cut, where that is known there.
    let later = rows(&frame.filter(|_, row| row.time + Interval::HOUR >= end));
    let offset = all.len() - later.len();
    let mut compared = 0;
    for (i, label) in all.labels.iter().enumerate() {
        let (before, after) = (all.context.row(i), cut.context.row(i));
        if label.start <= end {
            assert_eq!(before, after, "what was decided by then is as it was");
            continue;
        }
        assert_eq!(before[..4], after[..4], "nothing but windows is cut");
        let Some(row) = i.checked_sub(offset) else { continue };
        for (name, (a, b)) in
            all.context_names[4..].iter().zip(after[4..].iter().zip(&later.context.row(row)[4..]))
        {
            assert!((a - b).abs() <= 1e-9 * b.abs(), "{name} of {}: {a}, {b}", label.start);
        }
        compared += 1;
    }
    assert!(compared > 400, "{compared}");
    let bare = cut_returns(&cut, frame.rows()[0].time);
    assert_eq!(bare.context, cut.context, "an early cut takes nothing");
}
