//! Rows are corrected once per arrival, however the candles are cut.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use foretell_stream::codec::{Encoding, decode_features, product_id};
use foretell_stream::{CandleOperator, FeatureOperator, Operator, Outbox, Record, Stored};
use proptest::prelude::*;

use crate::market::{FAULTS, Faults, arrivals, instruments, records};
use crate::river::{candle_settings, feature_settings, reference, topics};

/// The records of a topic that an operator wrote, with offsets.
fn taken(out: &mut Outbox, topic: &str) -> Vec<Stored> {
    let own = out.take().into_iter().filter(|(to, ..)| **to == *topic);
    own.enumerate().map(|(n, (.., record))| Stored { offset: n as u64, record }).collect()
}

/// The rows of candles that come in pieces; behind each piece with an odd number the operator
/// is saved and another one goes on.
fn rows(candles: &[Stored], cuts: &[usize]) -> Vec<Stored> {
    let made = || FeatureOperator::new(feature_settings(Encoding::Avro), topics()).unwrap();
    let (mut operator, mut out) = (made(), Outbox::new(&topics()));
    let mut state: BTreeMap<Bytes, Bytes> = BTreeMap::new();
    for (n, pair) in cuts.windows(2).enumerate() {
        operator.process(&candles[pair[0]..pair[1]], &mut out).unwrap();
        if n % 2 == 1 {
            for (key, value) in operator.save() {
                match value {
                    Some(value) => state.insert(key, value),
                    None => state.remove(&key),
                };
            }
            operator = made();
            let saved: Vec<(Bytes, Bytes)> = state.clone().into_iter().collect();
            operator.restore(&saved).unwrap();
        }
    }
    operator.complete(&mut out).unwrap();
    taken(&mut out, "feature")
}

/// The records of each instrument, in order.
fn by_key(stored: &[Stored]) -> HashMap<Bytes, Vec<Record>> {
    let mut out: HashMap<Bytes, Vec<Record>> = HashMap::new();
    for Stored { record, .. } in stored {
        out.entry(record.key.clone()).or_default().push(record.clone());
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn a_row_is_written_once_per_arrival_however_its_candles_are_cut(
        seed in any::<u64>(), late in 0u64..60, gaps in 0u64..40,
        cuts in prop::collection::vec(0usize..2000, 0..40),
    ) {
        let arrived = arrivals(seed, 600, Faults { late, gaps, ..FAULTS });
        let trades = records(&arrived, Encoding::Avro, 2);
        let stored: Vec<Stored> = trades.iter().enumerate()
            .map(|(n, (_, record))| Stored { offset: n as u64, record: record.clone() }).collect();
        let mut out = Outbox::new(&topics());
        let mut operator = CandleOperator::new(candle_settings(Encoding::Avro), topics());
        operator.process(&stored, &mut out).unwrap();
        let candles = taken(&mut out, "ohlcv");

        let whole = rows(&candles, &[0, candles.len()]);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(candles.len())).collect();
        cuts.extend([0, candles.len()]);
        cuts.sort_unstable();
        prop_assert_eq!(by_key(&rows(&candles, &cuts)), by_key(&whole));
        // Behind the candles in one task the same comes out.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let chained = runtime.block_on(reference(&trades, Encoding::Avro));
        for (n, instrument) in instruments().into_iter().enumerate() {
            let key = Bytes::from(product_id(&instrument));
            let own = by_key(&whole).remove(&key).unwrap_or_default();
            prop_assert_eq!(&own, &chained[3 + n]);

            let mut versions: HashMap<_, u32> = HashMap::new();
            let mut known = HashSet::new();
            for record in &own {
                let decoded = decode_features(&record.value).unwrap();
                let row = &decoded.row;
                let version = versions.entry(row.as_of).or_default();
                *version += 1;
                prop_assert_eq!(decoded.version, *version);
                prop_assert!(known.insert((row.as_of, row.known_at)), "{} twice", row.as_of);
            }
        }
    }
}
