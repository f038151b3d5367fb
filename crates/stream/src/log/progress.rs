//! How far a group has come: where it goes on, and as of where its state is.
//!
//! To save what changed in hundreds of keys takes longer than to write what a few records
//! came to, so outputs and offset may be committed without the state. Whoever goes on begins
//! with the saved state and processes the records since once more, without writing: the same
//! records make the same state. That they do is checked by what they would have written.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::{LogError, Lost, Record};

/// How far outputs are ahead of the state that is saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ahead {
    /// As of which offset the state is.
    pub of: u64,
    /// What was written since.
    pub digest: Digest,
}

/// What was written, as a number: equal for the same records in any order, because between
/// keys there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Digest(u64);

impl Digest {
    /// Adds a record of a topic.
    pub fn add(&mut self, topic: &str, record: &Record) {
        let seed = xxh3_64_with_seed(&record.key, xxh3_64(topic.as_bytes()));
        let seed = seed.wrapping_add(record.time.micros().cast_unsigned());
        self.0 = self.0.wrapping_add(xxh3_64_with_seed(&record.value, seed));
    }
}

/// Where a group goes on in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Progress {
    /// The offset of the first record that nothing was written of.
    pub(super) next: u64,
    pub(super) ahead: Option<Ahead>,
}

impl Progress {
    /// The first record that is still needed.
    pub(super) fn needs(&self) -> u64 {
        self.ahead.map_or(self.next, |ahead| ahead.of)
    }

    /// Where it goes on in a topic whose first record is `first`, and what it has lost.
    pub(super) fn since(self, first: u64) -> (Self, Option<Lost>) {
        let needs = self.needs();
        if first <= needs {
            return (self, None);
        }
        // Without all records since, the state cannot be brought on: it does without them.
        let next = self.next.max(first);
        (Self { next, ahead: None }, Some(Lost { from: needs, to: next }))
    }

    /// `next`, then what is ahead, each number with its highest byte first.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let ahead = self.ahead.map(|Ahead { of, digest }| [of, digest.0]);
        let numbers = std::iter::once(self.next).chain(ahead.into_iter().flatten());
        numbers.flat_map(u64::to_be_bytes).collect()
    }

    /// # Errors
    /// [`LogError::Damaged`] when there are not one or three numbers.
    pub(super) fn of_bytes(bytes: &[u8]) -> Result<Self, LogError> {
        let (numbers, rest) = bytes.as_chunks::<8>();
        let number = |at: usize| u64::from_be_bytes(numbers[at]);
        match (numbers.len(), rest) {
            (1, []) => Ok(Self { next: number(0), ahead: None }),
            (3, []) => {
                let ahead = Ahead { of: number(1), digest: Digest(number(2)) };
                Ok(Self { next: number(0), ahead: Some(ahead) })
            }
            _ => Err(LogError::Damaged(format!(
                "an offset has {} bytes, not 8 or 24: written by others, or by a newer version?",
                bytes.len()
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use foretell_market::Timestamp;

    #[test]
    fn progress_is_written_and_read_and_nothing_else_is() {
        let next = Progress { next: 7, ahead: None };
        let behind =
            Progress { next: 9, ahead: Some(Ahead { of: 4, digest: Digest(u64::MAX - 1) }) };
        for progress in [next, behind] {
            assert_eq!(Progress::of_bytes(&progress.to_bytes()).unwrap(), progress);
        }
        // As it was written before states were saved apart.
        assert_eq!(Progress::of_bytes(&7u64.to_be_bytes()).unwrap(), next);
        for length in [0, 7, 9, 16, 32] {
            assert!(Progress::of_bytes(&vec![0; length]).is_err(), "{length}");
        }
    }

    #[test]
    fn records_that_the_state_needs_and_are_gone_are_lost() {
        let ahead = Some(Ahead { of: 4, digest: Digest(1) });
        let progress = Progress { next: 9, ahead };
        assert_eq!(progress.since(4), (progress, None));
        let without = |next, to| (Progress { next, ahead: None }, Some(Lost { from: 4, to }));
        assert_eq!(progress.since(6), without(9, 9));
        assert_eq!(progress.since(12), without(12, 12));
        let saved = Progress { next: 4, ahead: None };
        assert_eq!(saved.since(4), (saved, None));
        assert_eq!(saved.since(6), without(6, 6));
    }

    #[test]
    fn a_digest_tells_records_apart_and_not_their_order() {
        let record = |key: &'static str, value: &'static str, time: i64| Record {
            key: key.into(),
            value: value.into(),
            time: Timestamp::from_micros(time),
        };
        let digest = |records: &[(&str, Record)]| {
            let mut digest = Digest::default();
            records.iter().for_each(|(topic, record)| digest.add(topic, record));
            digest
        };
        let (a, b) = (("t", record("k", "a", 1)), ("t", record("k", "b", 1)));
        let both = digest(&[a.clone(), b.clone()]);
        assert_eq!(both, digest(&[b.clone(), a.clone()]));
        let others = [
            ("u", record("k", "a", 1)),
            ("t", record("l", "a", 1)),
            ("t", record("k", "c", 1)),
            ("t", record("k", "a", 2)),
        ];
        for other in others {
            assert_ne!(digest(&[other, b.clone()]), both);
        }
        assert_ne!(digest(&[a]), both);
    }
}
