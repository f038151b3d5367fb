//! Records that were written together, as one value of the store.
//!
//! Form, version 1: `u8` version, `u32` count, then per record `u32` key length, `u32` value
//! length, `i64` time in microseconds, key, value. Numbers are little-endian. The store has a
//! checksum over each value.

use bytes::Bytes;
use foretell_market::Timestamp;

use super::{LogError, Record, Stored};

const VERSION: u8 = 1;
const HEADER: usize = 4 + 4 + 8;

/// Records in parts of about so many bytes, at least one record each.
pub(super) fn parts(mut records: &[Record], bytes: usize) -> impl Iterator<Item = &[Record]> {
    std::iter::from_fn(move || {
        let mut size = 0;
        let fits = |record: &&Record| {
            let before = size;
            size += HEADER + record.key.len() + record.value.len();
            before == 0 || before < bytes
        };
        let count = records.iter().take_while(fits).count();
        let (some, rest) = records.split_at(count);
        records = rest;
        (!some.is_empty()).then_some(some)
    })
}

/// The bytes of some records.
pub(super) fn encode(records: &[Record]) -> Vec<u8> {
    let size: usize = records.iter().map(|r| HEADER + r.key.len() + r.value.len()).sum();
    let mut out = Vec::with_capacity(5 + size);
    out.push(VERSION);
    out.extend_from_slice(&(records.len() as u32).to_le_bytes());
    for record in records {
        out.extend_from_slice(&(record.key.len() as u32).to_le_bytes());
        out.extend_from_slice(&(record.value.len() as u32).to_le_bytes());
        out.extend_from_slice(&record.time.micros().to_le_bytes());
        out.extend_from_slice(&record.key);
        out.extend_from_slice(&record.value);
    }
    out
}

/// How many records a chunk has.
pub(super) fn count(chunk: &[u8]) -> Result<u64, LogError> {
    match chunk {
        [VERSION, a, b, c, d, ..] => Ok(u64::from(u32::from_le_bytes([*a, *b, *c, *d]))),
        [VERSION, ..] | [] => Err(damaged("a chunk is cut short")),
        [other, ..] => Err(damaged(&format!("a chunk has version {other}, {VERSION} is known"))),
    }
}

/// Adds the records of a chunk from an offset on.
pub(super) fn decode(
    chunk: &Bytes,
    base: u64,
    from: u64,
    out: &mut Vec<Stored>,
) -> Result<(), LogError> {
    let count = count(chunk)?;
    let mut at = 5;
    for offset in base..base + count {
        let cut = || damaged("a record is cut short");
        let header = chunk.get(at..at + HEADER).ok_or_else(cut)?;
        let number = |i: usize| {
            u32::from_le_bytes([header[i], header[i + 1], header[i + 2], header[i + 3]]) as usize
        };
        let (key, value) = (number(0), number(4));
        let time = i64::from_le_bytes(header[8..16].try_into().map_err(|_| cut())?);
        let (start, end) = (at + HEADER, at + HEADER + key + value);
        if end > chunk.len() {
            return Err(cut());
        }
        if offset >= from {
            out.push(Stored {
                offset,
                record: Record {
                    key: chunk.slice(start..start + key),
                    value: chunk.slice(start + key..end),
                    time: Timestamp::from_micros(time),
                },
            });
        }
        at = end;
    }
    Ok(())
}

/// When the last record of a chunk was written.
pub(super) fn newest(chunk: &Bytes) -> Result<Timestamp, LogError> {
    let mut records = Vec::new();
    decode(chunk, 0, 0, &mut records)?;
    let newest = records.iter().map(|s| s.record.time).max();
    newest.ok_or_else(|| damaged("a chunk has no records"))
}

fn damaged(text: &str) -> LogError {
    LogError::Damaged(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_and_a_cut_is_noticed(
            records in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..9),
                prop::collection::vec(any::<u8>(), 0..40), any::<i64>()), 1..9),
            from in 0u64..12, cut in 0usize..500,
        ) {
            let records: Vec<Record> = records.into_iter().map(|(key, value, time)| Record {
                key: key.into(), value: value.into(), time: Timestamp::from_micros(time),
            }).collect();
            let chunk = Bytes::from(encode(&records));
            let mut read = Vec::new();
            decode(&chunk, 2, from, &mut read).unwrap();
            let skipped = (from.saturating_sub(2) as usize).min(records.len());
            let expected: Vec<Stored> = records.iter().cloned().enumerate().skip(skipped)
                .map(|(i, record)| Stored { offset: 2 + i as u64, record }).collect();
            prop_assert_eq!(read, expected);
            let cut_up: Vec<&[Record]> = parts(&records, from as usize * 9).collect();
            prop_assert!(cut_up.iter().all(|part| !part.is_empty()));
            prop_assert_eq!(cut_up.concat(), records.clone());
            let short = chunk.slice(0..cut.min(chunk.len() - 1));
            prop_assert!(decode(&short, 0, 0, &mut Vec::new()).is_err());
        }
    }
}
