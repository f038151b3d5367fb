//! The rows of a stream are the rows of a batch over what was known, to the bit.

use std::collections::BTreeMap;

use foretell_feature::feature_row_as_known;
use foretell_market::{Bar, CandleVersion, FeedEvent, Interval, Tumbling};
use foretell_panel::{Column, Frame, RowMeta};
use foretell_stream::codec::{Encoding, decode_features};
use proptest::prelude::*;

use crate::market::{FAULTS, Faults, arrivals, instruments, records};
use crate::river::{LATENESS, feature_settings, reference};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]
    #[test]
    fn a_streamed_row_is_the_row_of_a_batch(seed in any::<u64>(), late in 0u64..60) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let arrived = arrivals(seed, 500, Faults { late, ..FAULTS });
        let written =
            runtime.block_on(reference(&records(&arrived, Encoding::Avro, 2), Encoding::Avro));
        let settings = feature_settings(Encoding::Avro);
        let mut compared = 0;
        for (n, instrument) in instruments().into_iter().enumerate() {
            // The batch: all versions of all candles, from the raw arrivals, each trade once.
            let mut ids = std::collections::HashSet::new();
            let mut versions: Vec<CandleVersion> = Vec::new();
            let mut bars = Tumbling::new(Interval::MINUTE, LATENESS);
            for arrival in arrived.iter().filter(|a| *a.event.instrument() == instrument) {
                if let FeedEvent::Trade(trade) = &arrival.event
                    && !ids.insert(trade.id)
                {
                    continue;
                }
                bars.feed(arrival, |bar| {
                    if let Bar::Candle(version) = bar {
                        versions.push(version);
                    }
                });
            }
            let rows = &written[3 + n];
            for record in rows {
                let streamed = decode_features(&record.value).unwrap();
                // What was known when the row was: the latest version of each candle.
                let mut known: BTreeMap<_, CandleVersion> = BTreeMap::new();
                for version in &versions {
                    if version.known_at <= streamed.row.known_at {
                        known.insert(version.candle.open_time, *version);
                    }
                }
                let meta = known.values().map(|v| RowMeta {
                    time: v.candle.open_time, known_at: v.known_at, ingested_at: v.known_at,
                    flags: v.flags,
                }).collect();
                let column = |name: &str, value: fn(&CandleVersion) -> f64| {
                    Column::new(name, known.values().map(value).collect())
                };
                let columns = vec![
                    column("open", |v| v.candle.open),
                    column("high", |v| v.candle.high),
                    column("low", |v| v.candle.low),
                    column("close", |v| v.candle.close),
                    column("volume", |v| v.candle.volume),
                ];
                let frame = Frame::new(instrument.clone(), Interval::MINUTE, meta, columns).unwrap();
                let batch = feature_row_as_known(
                    &settings.set, &frame, &settings.context, &settings.label,
                    streamed.row.as_of, streamed.row.known_at,
                ).unwrap();
                prop_assert_eq!(batch.hash(), streamed.hash);
                compared += 1;
            }
        }
        prop_assert!(compared > 20, "{compared}");
    }
}
