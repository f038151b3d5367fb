//! Random histories of a table against a map from hour to price: every version stays
//! what it was, whatever comes after it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::TimestampMicrosecondType;
use foretell_lake::{AsOf, Lake, Layer, Table};
use foretell_market::Timestamp;
use object_store::memory::InMemory;
use proptest::prelude::*;
use support::{candles, closes, hour, hours, info};

/// What is done to the table.
#[derive(Debug, Clone)]
enum Step {
    /// Rows of one price for some hours of an interval.
    Replace {
        from: i64,
        length: i64,
        kept: Vec<bool>,
        price: u8,
    },
    /// Rows after the last.
    Append {
        gap: i64,
        length: i64,
        price: u8,
    },
    Compact,
    Checkpoint,
    Vacuum,
}

fn step() -> impl Strategy<Value = Step> {
    let kept = prop::collection::vec(prop::bool::weighted(0.8), 12);
    prop_oneof![
        4 => (0i64..40, 1i64..12, kept, any::<u8>()).prop_map(|(from, length, kept, price)| {
            Step::Replace { from, length, kept, price }
        }),
        3 => (0i64..3, 1i64..8, any::<u8>())
            .prop_map(|(gap, length, price)| Step::Append { gap, length, price }),
        1 => Just(Step::Compact),
        1 => Just(Step::Checkpoint),
        1 => Just(Step::Vacuum),
    ]
}

type Model = BTreeMap<i64, f64>;

fn rows(hours: impl Iterator<Item = i64>, price: f64) -> RecordBatch {
    let rows: Vec<RecordBatch> = hours.map(|h| candles(h, h + 1, price)).collect();
    concat_batches(&candles(0, 0, 0.0).schema(), &rows).unwrap()
}

/// Does a step to the table and to the model; answers the version it left.
async fn apply(table: &Table, model: &mut Model, step: &Step, second: i64) -> u64 {
    let info = info(second);
    match step {
        Step::Replace { from, length, kept, price } => {
            let span = *from..from + length;
            let chosen = span.clone().zip(kept).filter(|(_, kept)| **kept).map(|(h, _)| h);
            let chosen: Vec<i64> = chosen.collect();
            let price = f64::from(*price);
            model.retain(|h, _| !span.contains(h));
            model.extend(chosen.iter().map(|h| (*h, price)));
            let batch = rows(chosen.into_iter(), price);
            table.replace(hours(span.start, span.end), &batch, &info).await.unwrap()
        }
        Step::Append { gap, length, price } => {
            let from = model.keys().last().map_or(0, |h| h + 1) + gap;
            model.extend((from..from + length).map(|h| (h, f64::from(*price))));
            let batch = rows(from..from + length, f64::from(*price));
            table.append(&batch, &info).await.unwrap()
        }
        Step::Compact => table.compact(&info).await.unwrap().version,
        Step::Checkpoint => {
            table.checkpoint().await.unwrap();
            table.resolve(AsOf::Latest).await.unwrap()
        }
        Step::Vacuum => {
            let keep: Vec<u64> =
                table.versions().await.unwrap().iter().map(|v| v.version).collect();
            let report = table.vacuum(&keep, Timestamp::MAX, Duration::ZERO).await.unwrap();
            assert!(report.removed.is_empty(), "every version is referenced: {report:?}");
            table.resolve(AsOf::Latest).await.unwrap()
        }
    }
}

fn check(batch: &RecordBatch, model: &Model) {
    let times = batch.column_by_name("time").unwrap().as_primitive::<TimestampMicrosecondType>();
    let expected: Vec<i64> = model.keys().map(|h| hour(*h).micros()).collect();
    assert_eq!(times.values().to_vec(), expected);
    assert_eq!(closes(batch), model.values().copied().collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn every_version_is_what_the_model_was(steps in prop::collection::vec(step(), 1..14)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        runtime.block_on(async {
            let lake = Lake::with_store(Arc::new(InMemory::new()), "lake".into());
            let table = lake.table(Layer::Clean, "t");
            let mut model = Model::new();
            table.append(&rows(0..2, 1.0), &info(-1)).await.unwrap();
            model.extend([(0, 1.0), (1, 1.0)]);
            let mut history = BTreeMap::from([(0, model.clone())]);
            for (second, step) in steps.iter().enumerate() {
                let version = apply(&table, &mut model, step, second as i64).await;
                history.insert(version, model.clone());
            }
            for (version, model) in &history {
                check(&table.read(AsOf::Version(*version), None).await.unwrap(), model);
                let part = table.read(AsOf::Version(*version), Some(hours(3, 17))).await.unwrap();
                check(&part, &model.range(3..17).map(|(h, p)| (*h, *p)).collect());
            }
            check(&table.read(AsOf::Latest, None).await.unwrap(), &model);
        });
    }
}
