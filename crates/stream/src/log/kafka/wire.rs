//! Records as Kafka has them.
//!
//! Kafka's timestamps are milliseconds. A time of ours that is not whole milliseconds after
//! 1970 stands in the header `us`: microseconds, eight bytes, the highest first. Records of
//! others have no such header; theirs is the timestamp. A record without a key or a value
//! reads as one with an empty one: it is refused where it is not understood.

use bytes::Bytes;
use foretell_market::Timestamp;
use krafka::consumer::ConsumerRecord;

use crate::log::{Record, Stored};

const MICROS: &str = "us";

/// For a producer.
pub(super) fn outgoing(topic: &str, partition: u32, record: Record) -> krafka::Record {
    let micros = record.time.micros();
    let out = krafka::Record::new(topic, record.value)
        .key(record.key)
        .partition(partition as i32)
        .timestamp(micros.div_euclid(1000).max(0));
    if micros >= 0 && micros % 1000 == 0 {
        return out;
    }
    out.header(MICROS, Bytes::copy_from_slice(&micros.to_be_bytes()))
}

/// From a consumer.
pub(super) fn incoming(record: ConsumerRecord) -> Stored {
    let header = record.header(MICROS).flatten();
    let exact = header.and_then(|bytes| <[u8; 8]>::try_from(&bytes[..]).ok());
    let time = match exact {
        Some(bytes) => Timestamp::from_micros(i64::from_be_bytes(bytes)),
        None => Timestamp::from_micros(record.timestamp.saturating_mul(1000)),
    };
    let (key, value) = (record.key.unwrap_or_default(), record.value.unwrap_or_default());
    Stored { offset: record.offset.max(0) as u64, record: Record { key, value, time } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_time_survives_to_the_microsecond(micros in any::<i64>(), whole in any::<bool>()) {
            let micros = if whole { micros / 1000 * 1000 } else { micros };
            let time = Timestamp::from_micros(micros);
            let record = Record { key: "k".into(), value: "v".into(), time };
            let sent = outgoing("t", 3, record.clone());
            let mut read = ConsumerRecord::new("t", 3, 7, sent.key, sent.value);
            read.timestamp = sent.timestamp.unwrap();
            read.headers = sent.headers;
            prop_assert_eq!(incoming(read), Stored { offset: 7, record });
        }
    }

    #[test]
    fn records_of_others_have_their_timestamp_and_may_lack_key_and_value() {
        let mut other = ConsumerRecord::new("t", 0, 1, None, None);
        other.timestamp = 1_718_616_960_123;
        let time = Timestamp::from_millis(1_718_616_960_123);
        let record = Record { key: Bytes::new(), value: Bytes::new(), time };
        assert_eq!(incoming(other), Stored { offset: 1, record });
    }
}
