//! Records that are not counted: they went before they were read, or stand in another's place.

use std::collections::BTreeMap;

use foretell_market::{Arrival, Bar, FeedEvent, RowFlags, Silence, Timestamp};
use foretell_stream::codec::{Encoding, Instruments, decode_ohlcv, product_id};
use foretell_stream::{EmbeddedLog, Log, Ohlcv, Record, Stored, TopicSpec, partition_of};

use crate::market::{Faults, arrivals, records};
use crate::river::{all, append, create, open, river};

pub(crate) const TIDY: Faults = Faults { late: 0, twice: 0, quiet: 0, gaps: 0 };

pub(crate) fn reasons(refused: &[Stored]) -> Vec<String> {
    let reason = |stored: &Stored| {
        let value: serde_json::Value = serde_json::from_slice(&stored.record.value).unwrap();
        value["reason"].as_str().unwrap().to_owned()
    };
    refused.iter().map(reason).collect()
}

/// Whether the last answer of each minute claims to know it, by product and its start.
pub(crate) async fn known(log: &EmbeddedLog) -> BTreeMap<(String, i64), bool> {
    let mut names = Instruments::default();
    let mut out = BTreeMap::new();
    for stored in all(log, "ohlcv").await {
        let Record { value, time, .. } = &stored.record;
        let Ohlcv::Closed(closed) = decode_ohlcv(value, *time, &mut names).unwrap() else {
            continue;
        };
        if closed.interval.secs() != 60 {
            continue;
        }
        let name = product_id(&closed.instrument);
        match closed.bar {
            Bar::Candle(v) => {
                let known = !v.flags.contains(RowFlags::TAINTED);
                out.insert((name, v.candle.open_time.secs()), known);
            }
            Bar::Silent { from, to, reason, .. } => {
                for start in (from.secs()..to.secs()).step_by(60) {
                    out.insert((name.clone(), start), reason == Silence::NoTrade);
                }
            }
            Bar::TooLate { .. } => {}
        }
    }
    out
}

#[tokio::test]
async fn what_went_unread_taints_all_that_it_may_change_up_to_the_first_whole_window() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    create(&*log).await;
    let all_arrivals = arrivals(3, 300, TIDY);
    let thirds: Vec<&[Arrival]> = all_arrivals.chunks(all_arrivals.len() / 3).collect();
    let write = async |part: &[Arrival]| append(&*log, &records(part, Encoding::Avro, 2)).await;
    write(thirds[0]).await;
    river(log.clone(), Encoding::Avro, 1 << 16).drain().await.unwrap();
    write(thirds[1]).await;
    write(thirds[2]).await;
    // The second third goes before anybody reads it.
    let spec = TopicSpec {
        name: "trade".to_owned(),
        partitions: 2,
        retention_secs: Some(0),
        kept_for: Vec::new(),
    };
    log.create(&spec).await.unwrap();
    let behind = Timestamp::from_micros(thirds[1].last().unwrap().at.micros() + 1);
    assert_eq!(log.expire(behind).unwrap(), 4, "two chunks of two partitions");
    river(log.clone(), Encoding::Avro, 1 << 16).drain().await.unwrap();

    let reasons = reasons(&all(&*log, "refused").await);
    assert_eq!(reasons.len(), 2, "one per partition: {reasons:#?}");
    assert!(reasons.iter().all(|r| r.contains("went before they were read")), "{reasons:#?}");
    let known = known(&log).await;
    let mut checked = 0;
    for arrival in thirds[1] {
        let FeedEvent::Trade(trade) = &arrival.event else { panic!("it is a tidy feed") };
        let start = trade.time.secs().div_euclid(60) * 60;
        let place = (product_id(&trade.instrument), start);
        assert_eq!(known.get(&place), Some(&false), "{place:?} lacks a trade");
        checked += 1;
    }
    assert!(checked > 100);
    // Behind the minute in which the first record that was read arrived, all is known.
    let whole = thirds[2][0].at.secs().div_euclid(60) * 60 + 120;
    let later: Vec<bool> =
        known.iter().filter(|((_, start), _)| *start >= whole).map(|(_, known)| *known).collect();
    assert!(later.len() > 10 && later.iter().all(|known| *known), "{later:?}");
    assert!(known.values().filter(|known| **known).count() > later.len(), "final ones stay");
}

#[tokio::test]
async fn an_instrument_is_counted_in_its_own_partition_whatever_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    create(&*log).await;
    let mut mixed = records(&arrivals(8, 100, TIDY), Encoding::Avro, 2);
    let whole = crate::river::reference(&mixed, Encoding::Avro).await;
    // Without a key, in the right place.
    for (_, record) in mixed.iter_mut().step_by(7) {
        record.key = bytes::Bytes::new();
    }
    // With the right key, in the wrong place.
    let strays: Vec<(u32, Record)> =
        mixed.iter().skip(3).step_by(50).map(|(p, r)| (1 - p, r.clone())).collect();
    let count = strays.len();
    mixed.extend(strays);
    append(&*log, &mixed).await;
    river(log.clone(), Encoding::Avro, 1 << 16).drain().await.unwrap();
    let found = crate::river::written(&*log).await;
    assert_eq!(found[..6], whole[..6], "candles and rows are the same");
    let reasons = reasons(&all(&*log, "refused").await);
    assert_eq!(reasons.len(), count);
    let here = partition_of(b"BTC/USD", 2);
    let says = format!("BTC/USD belongs to partition {here} of 2, not to {}", 1 - here);
    assert!(reasons.iter().any(|r| r.contains(&says)), "{reasons:#?}");
    assert!(reasons.iter().all(|r| r.contains("murmur2_random")), "{reasons:#?}");
}
