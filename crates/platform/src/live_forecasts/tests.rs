//! Forecasts of the river against the batch functions, however the records are cut.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use foretell_feature::{
    ContextSpec, FeatureSet, LabelSpec, Params, ReturnWindows, assemble, compute, context,
    feature_row,
};
use foretell_forecaster::{FeatureRange, Forecast, Skill, Terms, forecast, judge, observe};
use foretell_model::{EstimatorSpec, FitContext, SavedModel};
use foretell_stream::codec::{Encoding, encode_features, product_id};
use foretell_stream::{FeatureRecord, Operator, Outbox, Record, Stored, Topics};
use foretell_testkit::{assert_close, random_walk};
use proptest::prelude::*;

use super::*;

mod golden;
mod sink;

/// Hours ahead that are forecast.
const AHEAD: i64 = 3;
/// How long candles may come late, in hours.
const ALLOWED: i64 = 2;
const HOUR: i64 = 3_600_000_000;

fn settings() -> ForecastSettings {
    ForecastSettings { allowed: ALLOWED * HOUR, topics: Topics::new(1, None) }
}

/// A model that was fitted on some hours, and the rows of the hours behind them.
struct Sample {
    champion: LiveChampion,
    rows: Vec<FeatureRow>,
}

fn fitted(kind: &str) -> Sample {
    let frame = random_walk(420, Interval::HOUR, 0.004, 11);
    let set = FeatureSet::named("candle-base", &Params::new()).unwrap();
    let horizon = Interval::from_secs(AHEAD * 3_600).unwrap();
    let returns = ReturnWindows::default();
    let spec = ContextSpec { horizon, season: Interval::DAY, ewma_lambda: 0.94, returns };
    let label = LabelSpec { horizon, price_column: "close".to_owned() };
    let features = compute(&set, &frame).unwrap();
    let context = context(&frame, "close", &spec).unwrap();
    let dataset = assemble(&frame, &features, &context, &label, &set).unwrap();
    let as_of = dataset.labels[dataset.len() - 60].start;
    let train = dataset.filter(|l| l.value.is_finite() && l.end <= as_of);
    let estimator = EstimatorSpec::named(kind).unwrap();
    let stop = AtomicBool::new(false);
    let fit = FitContext {
        seed: 7,
        threads: 1,
        stop: &stop,
        progress: &(),
        checkpoints: None,
        accelerator: None,
    };
    let fit = estimator.build().unwrap().fit(&train, &fit).unwrap();
    let saved = SavedModel::new(&*fit, &estimator, &train, 7, "any");
    let served = ServedVersion {
        name: "hours".to_owned(),
        version: 4,
        alias: CHAMPION.to_owned(),
        hash: saved.hash(),
        model: Arc::from(saved.model().unwrap()),
        instrument: frame.instrument().clone(),
        interval: Interval::HOUR,
        horizon,
        feature_set: saved.feature_set,
        dataset: train.fingerprint(),
        fitted_as_of: as_of,
        train_to: saved.train_to,
        refit_every: Interval::from_secs(30 * 86_400).unwrap(),
        train_rows: saved.rows,
        includes_lock_box: false,
        ranges: FeatureRange::of(&train),
        skill: Skill::random_walk(None),
    };
    let rows = (0..60).map(|hour| {
        let at = Timestamp::from_micros(as_of.micros() + hour * HOUR);
        let mut row = feature_row(&set, &frame, &spec, &label, at).unwrap();
        row.known_at = at.plus_secs(2);
        row
    });
    let rows = rows.collect();
    let terms = Terms { time_to_live: horizon, historical_demo: false };
    let calibration = CalibrationState::new(0.9).unwrap();
    let champion = LiveChampion { served, calibration, terms, run: "run-1".to_owned() };
    Sample { champion, rows }
}

fn sample() -> &'static Sample {
    static SAMPLE: OnceLock<Sample> = OnceLock::new();
    SAMPLE.get_or_init(|| fitted("ewma_volatility"))
}

fn stored(offset: u64, row: &FeatureRow, version: u32) -> Stored {
    let mut value = Vec::new();
    let record = FeatureRecord { hash: row.hash(), version, row: row.clone() };
    encode_features(&record, Encoding::Json, &mut value);
    let key = product_id(&row.instrument).into();
    let record = Record { key, value: value.into(), time: row.known_at };
    Stored { offset, record }
}

fn with_price(row: &FeatureRow, price: f64, known_after: i64) -> FeatureRow {
    let known_at = row.known_at.plus_secs(known_after);
    FeatureRow { base_price: price, known_at, ..row.clone() }
}

type Written = Vec<(foretell_stream::TopicName, u32, Record)>;

/// Works through records in pieces that end at `cuts`, and after each of them goes on in
/// another operator, made of what was saved, where `restart` says so.
fn work(
    records: &[Stored],
    cuts: &[usize],
    restart: bool,
    make: &dyn Fn(usize) -> ForecastOperator,
) -> Written {
    let (mut operator, mut written) = (make(0), Vec::new());
    let mut out = Outbox::new(&settings().topics);
    let mut state: BTreeMap<Bytes, Bytes> = BTreeMap::new();
    let mut ends: Vec<usize> = cuts.iter().map(|cut| (*cut).min(records.len())).collect();
    ends.push(records.len());
    ends.sort_unstable();
    let mut from = 0;
    for end in ends {
        operator.process(&records[from..end], &mut out).unwrap();
        from = end;
        written.extend(out.take());
        for (key, value) in operator.save() {
            match value {
                Some(value) => drop(state.insert(key, value)),
                None => drop(state.remove(&key)),
            }
        }
        if restart {
            operator = make(from);
            let saved: Vec<_> = state.clone().into_iter().collect();
            operator.restore(&saved).unwrap();
        }
    }
    written
}

fn in_one_piece(records: &[Stored]) -> Written {
    work(records, &[], false, &|_| champion_at_work())
}

fn champion_at_work() -> ForecastOperator {
    ForecastOperator::new(vec![sample().champion.clone()], settings())
}

/// The forecasts and outcomes among what was written, and how many records were refused.
fn told(written: &Written) -> (Vec<LiveRecord>, usize) {
    let topics = settings().topics;
    let forecasts = written.iter().filter(|(topic, ..)| *topic == topics.forecast);
    let read = forecasts.map(|(.., record)| decode(&record.value).unwrap().unwrap());
    (read.collect(), written.iter().filter(|(topic, ..)| *topic == topics.refused).count())
}

/// What the batch functions say of the same rows, with everything kept for ever.
fn reference(champion: &LiveChampion, rows: &[FeatureRow]) -> Vec<LiveRecord> {
    struct Known {
        forecast: Forecast,
        outcome: Option<(f64, Timestamp)>,
        over: bool,
    }
    let mut all: Vec<Known> = Vec::new();
    let (mut calibration, mut calibrated_at) = (champion.calibration.clone(), None);
    let (mut taken_in_to, mut newest) = (None::<Timestamp>, None::<&FeatureRow>);
    let (mut passed_over, mut records) = (0, Vec::new());
    // Of each judged forecast: error, error of the random walk, whether it was inside.
    let mut judged: Vec<(f64, f64, Option<bool>)> = Vec::new();
    for row in rows {
        let fresh = newest.is_none_or(|n| {
            row.as_of > n.as_of || (row.as_of == n.as_of && row.known_at > n.known_at)
        });
        passed_over += u64::from(newest.is_some_and(|n| row.as_of < n.as_of));
        if fresh {
            newest = Some(row);
        }
        all.sort_by_key(|k| (k.forecast.target_time, k.forecast.as_of, k.forecast.known_at));
        let (mut moved, in_order) = (false, taken_in_to.is_none_or(|to| to < row.as_of));
        for known in all.iter_mut().filter(|k| k.forecast.target_time == row.as_of && !k.over) {
            let (forecast, price) = (&known.forecast, row.base_price);
            let corrects = known.outcome.is_some();
            let known_at = match known.outcome {
                Some((before, _)) if before.to_bits() == price.to_bits() => continue,
                Some((_, at)) => row.known_at.max(Timestamp::from_micros(at.micros() + 1)),
                None => row.known_at,
            };
            known.outcome = Some((price, known_at));
            let judgement = judge(forecast, price).unwrap();
            if !corrects {
                let (error, walk) = (judgement.error, judgement.random_walk_error);
                judged.push((error, walk, judgement.covered));
                if in_order {
                    observe(&mut calibration, forecast, price).unwrap();
                    moved = true;
                }
            }
            let share = |part: f64, of: f64| (of > 0.0).then(|| part / of);
            let intervals: Vec<bool> = judged.iter().filter_map(|j| j.2).collect();
            let inside = intervals.iter().filter(|i| **i).count();
            let live = LiveSkill {
                n: judged.len() as u64,
                relative_mae: share(
                    judged.iter().map(|j| j.0).sum(),
                    judged.iter().map(|j| j.1).sum(),
                ),
                coverage: share(inside as f64, intervals.len() as f64),
                intervals: intervals.len() as u64,
            };
            records.push(LiveRecord::Outcome(Box::new(LiveOutcome {
                forecast_id: forecast.id.clone(),
                instrument: forecast.instrument.clone(),
                model: forecast.model.name.clone(),
                version: forecast.model.version,
                as_of: forecast.as_of,
                target_time: forecast.target_time,
                price,
                known_at,
                inside: judgement.covered,
                corrects,
                live,
            })));
        }
        if moved {
            taken_in_to = Some(row.as_of);
            let later = |at: Timestamp| row.known_at.max(Timestamp::from_micros(at.micros() + 1));
            calibrated_at = Some(calibrated_at.map_or(row.known_at, later));
        }
        let through = newest.map_or(0, |n| n.as_of.micros() - (ALLOWED + 1) * HOUR);
        for known in all.iter_mut().filter(|k| !k.over) {
            known.over = known.forecast.target_time.micros() <= through;
            if known.over && known.outcome.is_none() {
                let forecast = &known.forecast;
                records.push(LiveRecord::Unresolved(Unresolved {
                    forecast_id: forecast.id.clone(),
                    instrument: forecast.instrument.clone(),
                    model: forecast.model.name.clone(),
                    version: forecast.model.version,
                    as_of: forecast.as_of,
                    target_time: forecast.target_time,
                    known_at: row.known_at,
                }));
            }
        }
        if fresh {
            let LiveChampion { served, terms, run, .. } = champion;
            let forecast = forecast(served, &calibration, row, row.known_at, terms).unwrap();
            records.push(LiveRecord::Forecast(Box::new(LiveForecast {
                forecast: forecast.clone(),
                run: run.clone(),
                calibration: Calibrated { as_of: calibrated_at, state: calibration.clone() },
                row: row.clone(),
                passed_over,
            })));
            all.push(Known { forecast, outcome: None, over: false });
        }
    }
    records
}

/// What comes next in a market.
#[derive(Debug, Clone)]
enum Step {
    Next,
    Gap,
    /// The row so many hours behind the newest with another price; in a gap the first one.
    Late(usize, f64),
    Again,
    Garbage,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => Just(Step::Next),
        1 => Just(Step::Gap),
        3 => (0usize..4, 0.98f64..1.02).prop_map(|(back, factor)| Step::Late(back, factor)),
        1 => Just(Step::Again),
        1 => Just(Step::Garbage),
    ];
    proptest::collection::vec(step, 1..70)
}

/// The records of some steps, and the rows among them without what is refused or said again.
fn played(steps: &[Step]) -> (Vec<Stored>, Vec<FeatureRow>, usize) {
    let all = &sample().rows;
    let (mut records, mut rows, mut garbage): (Vec<Stored>, Vec<FeatureRow>, _) =
        (Vec::new(), Vec::new(), 0);
    let (mut hour, mut seconds) = (0, 0);
    for step in steps {
        let offset = records.len() as u64;
        seconds += 3;
        let row = match step {
            Step::Next if hour < all.len() => {
                hour += 1;
                with_price(&all[hour - 1], all[hour - 1].base_price, seconds)
            }
            Step::Gap if hour < all.len() => {
                hour += 1;
                continue;
            }
            Step::Late(back, factor) if *back < hour => {
                let late = &all[hour - 1 - back];
                with_price(late, late.base_price * factor, seconds + 3_600 * *back as i64)
            }
            Step::Again => {
                let Some(last) = records.last().cloned() else { continue };
                records.push(Stored { offset, ..last });
                // Of the newest decision it is the same row; behind it one more is counted.
                if let Some(row) = rows.last().cloned() {
                    rows.push(row);
                }
                continue;
            }
            Step::Garbage => {
                let record = Record {
                    key: "BTC/USD".into(),
                    value: "{\"price\": 1}".into(),
                    time: all[0].known_at,
                };
                records.push(Stored { offset, record });
                garbage += 1;
                continue;
            }
            _ => continue,
        };
        records.push(stored(offset, &row, 1));
        rows.push(row);
    }
    (records, rows, garbage)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_is_written_depends_on_the_records_alone(
        steps in steps(),
        cuts in proptest::collection::vec(0usize..70, 0..12),
    ) {
        let (records, ..) = played(&steps);
        let whole = in_one_piece(&records);
        let cut = work(&records, &cuts, false, &|_| champion_at_work());
        prop_assert_eq!(&whole, &cut);
        let restarted = work(&records, &cuts, true, &|_| champion_at_work());
        prop_assert_eq!(&whole, &restarted);
    }

    #[test]
    fn forecasts_outcomes_and_calibration_are_those_of_the_batch_functions(steps in steps()) {
        // Repeated garbage is garbage, not a row again.
        let steps: Vec<Step> =
            steps.into_iter().filter(|s| !matches!(s, Step::Garbage)).collect();
        let (records, rows, _) = played(&steps);
        let (found, refused) = told(&in_one_piece(&records));
        let expected = reference(&sample().champion, &rows);
        prop_assert_eq!(found, expected);
        prop_assert_eq!(refused, 0);
    }
}

#[test]
fn a_champion_that_changes_leaves_its_forecasts_to_be_judged() {
    let sample = sample();
    let mut second = sample.champion.clone();
    second.served.hash = Fingerprint::of_bytes(b"another model");
    second.served.version = 5;
    second.calibration = CalibrationState::new(0.8).unwrap();
    let records: Vec<Stored> =
        sample.rows[..12].iter().enumerate().map(|(i, r)| stored(i as u64, r, 1)).collect();
    let written = work(&records, &[6], true, &|from| match from {
        0 => champion_at_work(),
        _ => ForecastOperator::new(vec![second.clone()], settings()),
    });
    let (records, _) = told(&written);
    let made = |v: u32| {
        let made = records.iter().filter_map(|r| match r {
            LiveRecord::Forecast(f) if f.forecast.model.version == v => Some(&**f),
            _ => None,
        });
        made.collect::<Vec<_>>()
    };
    assert_eq!((made(4).len(), made(5).len()), (6, 6));
    assert_eq!(made(5)[0].calibration.state, second.calibration, "it begins with its own");
    assert_eq!(made(5)[0].calibration.as_of, None);
    let judged = |v: u32| {
        let of = |r: &&LiveRecord| matches!(r, LiveRecord::Outcome(o) if o.version == v);
        records.iter().filter(of).count()
    };
    // Of the first three forecasts of the second version the time has come as well.
    assert_eq!((judged(4), judged(5)), (6, 3));
    for record in &records {
        if let LiveRecord::Outcome(outcome) = record {
            assert_eq!(outcome.live.n as usize, {
                let first = if outcome.version == 4 { 0 } else { 6 };
                let hour = (outcome.as_of.micros() - sample.rows[0].as_of.micros()) / HOUR;
                hour as usize - first + 1
            });
        }
    }
}

#[test]
fn what_cannot_be_believed_is_put_aside_with_its_reason_and_stops_nobody() {
    let rows = &sample().rows;
    let early = FeatureRow { known_at: rows[0].as_of.plus_secs(-1), ..rows[0].clone() };
    let mut future = stored(1, &with_price(&rows[0], 100.0, 500), 1);
    future.record.time = rows[0].known_at;
    let negative = with_price(&rows[0], -1.0, 0);
    let unlike = FeatureRow { names: vec!["x".to_owned(); 3].into(), ..rows[1].clone() };
    let twice = FeatureRow { base_price: 1.0, ..rows[2].clone() };
    let records = [
        stored(0, &early, 1),
        future,
        stored(2, &negative, 1),
        stored(3, &unlike, 1),
        stored(4, &rows[2], 1),
        stored(5, &twice, 2),
    ];
    let written = in_one_piece(&records);
    let refused = written.iter().filter(|(topic, ..)| &**topic == "refused").map(|(.., record)| {
        let value: serde_json::Value = serde_json::from_slice(&record.value).unwrap();
        value["reason"].as_str().unwrap().to_owned()
    });
    let refused: Vec<String> = refused.collect();
    let parts = ["before its decision", "after it was written", "positive number"];
    let parts = parts.into_iter().chain(["makes no forecast of it", "at the same instant"]);
    assert_eq!(refused.len(), 5, "{refused:?}");
    for (reason, part) in refused.iter().zip(parts) {
        assert!(reason.contains(part), "{reason}");
    }
    let (told, _) = told(&written);
    assert_eq!(told.len(), 1, "the one good row has its forecast");
}

#[test]
fn rows_of_others_are_left_alone() {
    let row = &sample().rows[0];
    let other = FeatureRow { instrument: "ETH-USD".parse().unwrap(), ..row.clone() };
    let slower = FeatureRow { interval: Interval::DAY, ..row.clone() };
    let set = Fingerprint::of_bytes(b"another set");
    let unlike = FeatureRow { feature_set: set, ..row.clone() };
    let records = [stored(0, &other, 1), stored(1, &slower, 1), stored(2, &unlike, 1)];
    assert_eq!(in_one_piece(&records), []);
}

/// Numbers by hand, with the price moving by 1 %, 2 %, -3 % over three hours: the median m of
/// the drift is what the record says, and everything else follows from the definitions.
#[test]
fn live_skill_is_the_ratio_of_mean_absolute_errors() {
    let drift = fitted("drift");
    let prices = [100.0, 100.0, 100.0, 101.0, 102.0, 97.0];
    let records = prices.iter().zip(&drift.rows).enumerate();
    let records: Vec<Stored> =
        records.map(|(i, (price, row))| stored(i as u64, &with_price(row, *price, 0), 1)).collect();
    let make = |_| ForecastOperator::new(vec![drift.champion.clone()], settings());
    let (records, _) = told(&work(&records, &[], false, &make));
    let outcomes: Vec<&LiveOutcome> = records
        .iter()
        .filter_map(|r| match r {
            LiveRecord::Outcome(outcome) => Some(&**outcome),
            _ => None,
        })
        .collect();
    let LiveRecord::Forecast(first) = &records[0] else { panic!("{records:?}") };
    let m = first.forecast.quantiles[4].log_return;
    assert!(m != 0.0);
    // ln 1.01, ln 1.02, ln 0.97.
    let returns =
        [0.009_950_330_853_168_083, 0.019_802_627_296_179_712, -0.030_459_207_484_708_574];
    let (mut error, mut walk) = (0.0, 0.0);
    for (i, (outcome, came)) in outcomes.iter().zip(returns).enumerate() {
        error += (m - came).abs();
        walk += came.abs();
        assert_eq!(outcome.live.n as usize, i + 1);
        assert_close(outcome.live.relative_mae.unwrap(), error / walk, 1e-12);
        assert_eq!(outcome.live.intervals as usize, i + 1);
    }
    let inside = outcomes.iter().filter(|o| o.inside == Some(true)).count();
    assert_eq!(outcomes[2].live.coverage, Some(inside as f64 / 3.0));
    assert_eq!(outcomes.len(), 3);
}

#[test]
fn a_record_is_plain_json_that_others_read() {
    let records: Vec<Stored> = (0..4).map(|i| stored(i, &sample().rows[i as usize], 1)).collect();
    let written = in_one_piece(&records);
    let json =
        |i: usize| -> serde_json::Value { serde_json::from_slice(&written[i].2.value).unwrap() };
    let (first, outcome) = (json(0), json(3));
    let row = &sample().rows[0];
    assert_eq!((&first["kind"], &first["product_id"]), (&"forecast".into(), &"BTC/USD".into()));
    assert_eq!(first["timestamp_ms"], row.as_of.millis());
    assert_eq!(first["made_at"], first["known_at"], "no clock but the market's");
    assert_eq!(first["row"]["base_price"], row.base_price);
    assert_eq!((&outcome["kind"], &outcome["forecast_id"]), (&"outcome".into(), &first["id"]));
    assert_eq!(outcome["timestamp_ms"], sample().rows[3].as_of.millis());
    assert_eq!(outcome["live"]["n"], 1);
    assert_eq!(written[3].2.time, sample().rows[3].known_at);
    // What others add is skipped.
    assert_eq!(decode(br#"{"kind":"advice","buy":true}"#).unwrap(), None);
    let newer = br#"{"kind":"forecast","format":9}"#;
    assert!(decode(newer).unwrap_err().0.contains("format 9"));
}
