//! Candles that went before features read them: every row that they may have changed is tainted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use foretell_feature::{ContextSpec, FeatureRow, FeatureSet, Params};
use foretell_market::{Arrival, Interval, RowFlags, Timestamp};
use foretell_stream::codec::{Encoding, decode_features, product_id};
use foretell_stream::{
    CandleOperator, EmbeddedLog, FeatureOperator, FeatureSettings, Log, Lost, Operator, Outbox,
    Record, Stored, Task, TaskSettings, TopicName, TopicSpec,
};
use proptest::prelude::*;

use crate::market::{FAULTS, Faults, arrivals, instruments, records};
use crate::river::{all, append, candle_settings, create, feature_settings, open, topics};

const TIDY: Faults = Faults { late: 0, twice: 0, quiet: 0, gaps: 0 };

/// Features that look back at six minutes at most: nothing of them is older than the window.
fn settings() -> FeatureSettings {
    let only = ["log_return_1", "log_return_3", "realized_volatility_6", "log_range"];
    let only: Vec<String> = only.iter().map(|name| (*name).to_owned()).collect();
    let minutes = |n: i64| Interval::from_secs(60 * n).unwrap();
    let given = feature_settings(Encoding::Json);
    FeatureSettings {
        set: FeatureSet::chosen("candle-base", &Params::new(), &only).unwrap(),
        context: ContextSpec { horizon: minutes(1), season: minutes(5), ..given.context },
        ..given
    }
}

fn features() -> FeatureOperator {
    FeatureOperator::new(settings(), topics()).unwrap()
}

/// The candles of a feed as one partition.
fn candles(arrived: &[Arrival]) -> Vec<Stored> {
    let trades = records(arrived, Encoding::Avro, 2).into_iter().enumerate();
    let trades: Vec<Stored> =
        trades.map(|(n, (_, record))| Stored { offset: n as u64, record }).collect();
    let (mut out, mut operator) =
        (Outbox::new(&topics()), CandleOperator::new(candle_settings(Encoding::Avro), topics()));
    operator.process(&trades, &mut out).unwrap();
    let ohlcv = out.take().into_iter().filter(|(to, ..)| **to == *topics().ohlcv).enumerate();
    ohlcv.map(|(n, (.., record))| Stored { offset: n as u64, record }).collect()
}

/// By product and decision time the row that stands.
type Rows = BTreeMap<(String, Timestamp), FeatureRow>;

fn standing(written: impl IntoIterator<Item = Record>) -> Rows {
    let mut rows = Rows::new();
    for record in written {
        let found = decode_features(&record.value).unwrap();
        rows.insert((product_id(&found.row.instrument), found.row.as_of), found.row);
    }
    rows
}

fn taken(out: &mut Outbox) -> Vec<Record> {
    let rows = out.take().into_iter().filter(|(to, ..)| **to == *topics().feature);
    rows.map(|(.., record)| record).collect()
}

/// Goes on in another operator, from what was saved.
fn restarted(mut operator: FeatureOperator, state: &mut BTreeMap<Bytes, Bytes>) -> FeatureOperator {
    for (key, value) in operator.save() {
        match value {
            Some(value) => state.insert(key, value),
            None => state.remove(&key),
        };
    }
    let saved: Vec<(Bytes, Bytes)> = state.clone().into_iter().collect();
    let mut next = features();
    next.restore(&saved).unwrap();
    next
}

fn is_tainted(row: &FeatureRow) -> bool {
    row.flags.contains(RowFlags::TAINTED)
}

fn numbers(row: &FeatureRow) -> (Vec<u64>, u64, RowFlags) {
    let bits = row.features.iter().map(|value| value.to_bits()).collect();
    (bits, row.base_price.to_bits(), row.flags)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn a_row_without_the_mark_is_what_it_would_be_if_every_candle_had_been_read(
        seed in any::<u64>(), late in 0u64..80, gaps in 0u64..30,
        from in 0.0f64..1.0, share in 0.0f64..0.4, restart in any::<bool>(),
    ) {
        let candles = candles(&arrivals(seed, 400, Faults { late, gaps, ..FAULTS }));
        let (mut whole, mut out) = (features(), Outbox::new(&topics()));
        whole.process(&candles, &mut out).unwrap();
        whole.complete(&mut out).unwrap();
        let whole = standing(taken(&mut out));

        let count = candles.len();
        let from = (from * (count - 2) as f64) as usize;
        let to = (from + 1 + (share * count as f64) as usize).min(count - 1);
        let (mut lossy, mut state) = (features(), BTreeMap::new());
        lossy.process(&candles[..from], &mut out).unwrap();
        if restart {
            lossy = restarted(lossy, &mut state);
        }
        let lost = Lost { from: from as u64, to: to as u64 };
        lossy.lost(&lost, candles[to].record.time, &mut out).unwrap();
        if restart {
            lossy = restarted(lossy, &mut state);
        }
        lossy.process(&candles[to..], &mut out).unwrap();
        lossy.complete(&mut out).unwrap();
        let found = standing(taken(&mut out));
        for (place, row) in found.iter().filter(|(_, row)| !is_tainted(row)) {
            let wanted = whole.get(place).map(numbers);
            prop_assert_eq!(Some(numbers(row)), wanted, "{:?}", place);
        }
    }
}

/// A task of one step of the river.
fn task(
    log: Arc<EmbeddedLog>,
    group: &str,
    topic: &TopicName,
    make: fn() -> Box<dyn Operator>,
) -> Task {
    let settings = TaskSettings {
        group: group.to_owned(),
        topic: topic.clone(),
        commit_every: Duration::ZERO,
        save_every: Duration::from_millis(2),
        poll_bytes: 1 << 16,
    };
    Task::new(log, topics(), settings, Box::new(move || Ok(make())))
}

#[tokio::test]
async fn rows_behind_candles_that_went_unread_are_tainted_until_their_windows_are_whole() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    create(&*log).await;
    let arrived = arrivals(3, 300, TIDY);
    let thirds: Vec<&[Arrival]> = arrived.chunks(arrived.len() / 3).collect();
    let candles = async |part: &[Arrival]| {
        append(&*log, &records(part, Encoding::Avro, 2)).await;
        let make =
            || Box::new(CandleOperator::new(candle_settings(Encoding::Avro), topics())) as Box<_>;
        task(log.clone(), "candles", &topics().trade, make).drain().await.unwrap();
    };
    let rows = async || {
        let make = || Box::new(features()) as Box<_>;
        task(log.clone(), "features", &topics().ohlcv, make).drain().await.unwrap();
        all(&*log, "feature").await
    };
    candles(thirds[0]).await;
    let before = rows().await;
    candles(thirds[1]).await;
    candles(thirds[2]).await;
    // Those of the second third go before features read them.
    let spec = TopicSpec {
        name: topics().ohlcv.to_string(),
        partitions: 2,
        retention_secs: Some(0),
        kept_for: Vec::new(),
    };
    log.create(&spec).await.unwrap();
    let behind = Timestamp::from_micros(thirds[1].last().unwrap().at.micros() + 1);
    assert!(log.expire(behind).unwrap() >= 4);
    let after = rows().await;

    let refused = all(&*log, "refused").await;
    assert_eq!(refused.len(), 2, "one per partition");
    for stored in &refused {
        let said = String::from_utf8_lossy(&stored.record.value).into_owned();
        assert!(said.contains("of ohlcv") && said.contains("went before they were read"), "{said}");
    }
    let before = standing(before.into_iter().map(|stored| stored.record));
    let after = standing(after.into_iter().map(|stored| stored.record));
    let first_behind = thirds[2][0].at;
    for instrument in instruments() {
        let name = product_id(&instrument);
        let of = |rows: &Rows| -> Vec<FeatureRow> {
            let own = rows.iter().filter(|((of, _), _)| *of == name);
            own.map(|(_, row)| row.clone()).collect()
        };
        // The last minute before could still have been corrected; what was final stands.
        let known = of(&before);
        let (last, settled) = known.split_last().unwrap();
        assert!(!is_tainted(last), "{name}");
        let now = &after[&(name.clone(), last.as_of)];
        assert!(is_tainted(now) && now.known_at >= first_behind, "{name}");
        for row in settled {
            assert_eq!(after[&(name.clone(), row.as_of)], *row, "{name}");
        }
        // Behind the hole all are tainted as long as it is in their window, and then none.
        let behind: Vec<FeatureRow> =
            of(&after).into_iter().filter(|row| row.as_of > first_behind).collect();
        let marks: Vec<bool> = behind.iter().map(is_tainted).collect();
        let healed = marks.iter().position(|tainted| !tainted).expect("it heals");
        assert!(healed > 0 && healed < 20, "{name}: {marks:?}");
        assert!(marks[healed..].iter().all(|tainted| !tainted), "{name}: {marks:?}");
    }
}
