//! What turns records into records, and where it puts them.

use bytes::{Bytes, BytesMut};
use foretell_market::Timestamp;
use serde::Serialize;

use crate::codec::Refusal;
use crate::log::{Digest, LogError, Lost, Record, Stored, TopicName, partition_of};

/// Why a task stopped.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The log refused or failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// State that this version cannot read.
    #[error("the saved state of `{key}` cannot be read: {reason}; replay from the start")]
    State {
        /// Whose state.
        key: String,
        /// Why not.
        reason: String,
    },
    /// Features cannot be computed with these settings at all.
    #[error(transparent)]
    Feature(#[from] foretell_feature::FeatureError),
    /// What followed on feature rows failed.
    #[error("{0}")]
    Follow(String),
}

/// The names of the topics of one river, and how many partitions they have.
#[derive(Debug, Clone)]
pub struct Topics {
    /// Trades, heartbeats and gaps.
    pub trade: TopicName,
    /// Candles.
    pub ohlcv: TopicName,
    /// Feature rows.
    pub feature: TopicName,
    /// Forecasts.
    pub forecast: TopicName,
    /// Records that were not understood, with the reason.
    pub refused: TopicName,
    /// Partitions of each of them, so that an instrument has the same number in all.
    pub partitions: u32,
}

impl Topics {
    /// `trade`, `ohlcv`, `feature`, `forecast` and `refused`; with `_<job>` behind them for a
    /// back-fill that keeps to itself.
    pub fn new(partitions: u32, job: Option<&str>) -> Self {
        let name = |base: &str| -> TopicName {
            job.map_or_else(|| base.to_owned(), |job| format!("{base}_{job}")).into()
        };
        Self {
            trade: name("trade"),
            ohlcv: name("ohlcv"),
            feature: name("feature"),
            forecast: name("forecast"),
            refused: name("refused"),
            partitions,
        }
    }

    /// All of them.
    pub fn all(&self) -> [&TopicName; 5] {
        [&self.trade, &self.ohlcv, &self.feature, &self.forecast, &self.refused]
    }
}

/// What an operator writes, in order.
#[derive(Debug)]
pub struct Outbox {
    partitions: u32,
    refused_to: TopicName,
    written: Vec<(TopicName, u32, Record)>,
    refusals: u64,
    repeats: u64,
    /// Values that were put, one behind the other in one piece of memory.
    values: BytesMut,
    /// What was written since the state was saved. Of what is put aside the record counts and
    /// not what is said of it, which names an offset that another process may count differently.
    digest: Digest,
}

/// How much memory values share.
const SHARED: usize = 1 << 16;

#[derive(Serialize)]
struct RefusedRecord<'a> {
    offset: u64,
    key: std::borrow::Cow<'a, str>,
    reason: &'a str,
    /// The first bytes of the record, as text where it is text.
    value: std::borrow::Cow<'a, str>,
}

impl Outbox {
    /// An empty one.
    pub fn new(topics: &Topics) -> Self {
        Self {
            partitions: topics.partitions,
            refused_to: topics.refused.clone(),
            written: Vec::new(),
            refusals: 0,
            repeats: 0,
            values: BytesMut::new(),
            digest: Digest::default(),
        }
    }

    /// Writes a record; `time` is when its content became known, not when it is written, so
    /// that a replay writes the same.
    pub fn write(&mut self, topic: &TopicName, key: Bytes, value: Bytes, time: Timestamp) {
        let partition = partition_of(&key, self.partitions);
        let record = Record { key, value, time };
        if *topic != self.refused_to {
            self.digest.add(topic, &record);
        }
        self.written.push((topic.clone(), partition, record));
    }

    /// [`Outbox::write()`] of a copy of the value.
    pub fn put(&mut self, topic: &TopicName, key: Bytes, value: &[u8], time: Timestamp) {
        if self.values.capacity() < value.len() {
            self.values = BytesMut::with_capacity(SHARED.max(value.len()));
        }
        self.values.extend_from_slice(value);
        let value = self.values.split().freeze();
        self.write(topic, key, value, time);
    }

    /// Puts aside a record that was not understood, where an operator sees it.
    pub fn refuse(&mut self, record: &Stored, refusal: &Refusal) {
        self.refusals += 1;
        self.digest.add(&self.refused_to, &record.record);
        let Record { key, value, time } = &record.record;
        let shown = &value[..value.len().min(2048)];
        let wire = RefusedRecord {
            offset: record.offset,
            key: String::from_utf8_lossy(key),
            reason: &refusal.0,
            value: String::from_utf8_lossy(shown),
        };
        let bytes = serde_json::to_vec(&wire).expect("plain fields are written to memory");
        let topic = self.refused_to.clone();
        self.write(&topic, key.clone(), bytes.into(), *time);
    }

    /// Says where an operator sees it that records went before they were read; `time` is when
    /// the first record behind them was written.
    pub(crate) fn lost(
        &mut self,
        (topic, partition): (&str, u32),
        lost: &Lost,
        reason: &str,
        time: Timestamp,
    ) {
        let Lost { from, to } = *lost;
        let (key, value) = (Bytes::new(), Bytes::new());
        let record = Stored { offset: from, record: Record { key, value, time } };
        let text = format!(
            "{} offsets of {topic} {partition}, from {from} to before {to}, {reason}",
            to - from
        );
        self.refuse(&record, &Refusal(text));
    }

    /// Counts a record that says again what was processed before.
    pub(crate) fn repeated(&mut self) {
        self.repeats += 1;
    }

    /// How many records said again what was processed before, so far.
    pub fn repeats(&self) -> u64 {
        self.repeats
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.written.is_empty()
    }

    /// How many records were put aside so far.
    pub fn refusals(&self) -> u64 {
        self.refusals
    }

    /// What was written, taken out.
    pub fn take(&mut self) -> Vec<(TopicName, u32, Record)> {
        std::mem::take(&mut self.written)
    }

    /// What was written since it was asked to begin anew.
    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }

    /// Lets the digest begin anew.
    pub(crate) fn saved(&mut self) {
        self.digest = Digest::default();
    }

    /// What was written since the first `from` records.
    pub(crate) fn since(&self, from: usize) -> &[(TopicName, u32, Record)] {
        &self.written[from..]
    }

    pub(crate) fn len(&self) -> usize {
        self.written.len()
    }
}

/// Turns the records of one partition into records, with a memory per key.
///
/// What it writes about a key depends on the sequence of that key's records alone, not on how
/// it is cut into calls; between keys there is no order.
pub trait Operator: Send {
    /// Takes up a state that was saved.
    ///
    /// # Errors
    /// [`StreamError::State`].
    fn restore(&mut self, state: &[(Bytes, Bytes)]) -> Result<(), StreamError>;

    /// Is told once, before any record, which partition it works on, and how many there are.
    fn begin(&mut self, _partition: u32, _partitions: u32) {}

    /// Is told before the next records that some before them went unread; `until` is when the
    /// first of the next was written. That it happened is on record already.
    ///
    /// # Errors
    /// As [`Operator::process()`].
    fn lost(
        &mut self,
        _lost: &Lost,
        _until: Timestamp,
        _out: &mut Outbox,
    ) -> Result<(), StreamError> {
        Ok(())
    }

    /// Takes the next records.
    ///
    /// # Errors
    /// What makes every record fail; a record that is not understood is put aside instead.
    fn process(&mut self, records: &[Stored], out: &mut Outbox) -> Result<(), StreamError>;

    /// Says that the next record is of another arrival than the last one: what waited for more
    /// of one is written. Nobody has to say so; the next record of the key does.
    ///
    /// # Errors
    /// As [`Operator::process()`].
    fn complete(&mut self, _out: &mut Outbox) -> Result<(), StreamError> {
        Ok(())
    }

    /// The state of the keys that changed since it was saved last.
    fn save(&mut self) -> Vec<(Bytes, Option<Bytes>)>;

    /// Whether its state follows from its records alone, [`Operator::complete()`] aside. Then it
    /// is saved now and then, and whoever goes on processes the records since once more. One
    /// that also looks at something else has its state saved with every commit.
    fn repeats(&self) -> bool {
        false
    }
}

/// Two operators in one task: the second reads what the first writes to its topic. Both move
/// in the same commit.
pub struct Chain<A, B> {
    first: A,
    second: B,
    /// The topic between them.
    between: TopicName,
    /// How many records went between them, for what the second puts aside.
    offsets: u64,
    handed: Vec<Stored>,
}

/// What the keys of each one's state begin with.
const FIRST: u8 = b'1';
const SECOND: u8 = b'2';

impl<A: Operator, B: Operator> Chain<A, B> {
    /// `second` follows `first` over `between`.
    pub fn new(first: A, between: TopicName, second: B) -> Self {
        Self { first, second, between, offsets: 0, handed: Vec::new() }
    }

    /// Hands what the first wrote since `before` to the second: all that one arrival made.
    fn follow(&mut self, before: usize, out: &mut Outbox) -> Result<(), StreamError> {
        if out.len() == before {
            return Ok(());
        }
        for (topic, _, record) in out.since(before) {
            if *topic == self.between {
                self.handed.push(Stored { offset: self.offsets, record: record.clone() });
                self.offsets += 1;
            }
        }
        self.second.process(&self.handed, out)?;
        self.second.complete(out)?;
        self.handed.clear();
        Ok(())
    }
}

impl<A: Operator, B: Operator> Operator for Chain<A, B> {
    fn restore(&mut self, state: &[(Bytes, Bytes)]) -> Result<(), StreamError> {
        let of = |mark: u8| -> Vec<(Bytes, Bytes)> {
            let own = state.iter().filter(|(key, _)| key.first() == Some(&mark));
            own.map(|(key, value)| (key.slice(1..), value.clone())).collect()
        };
        self.first.restore(&of(FIRST))?;
        self.second.restore(&of(SECOND))
    }

    fn begin(&mut self, partition: u32, partitions: u32) {
        self.first.begin(partition, partitions);
        self.second.begin(partition, partitions);
    }

    fn lost(&mut self, lost: &Lost, until: Timestamp, out: &mut Outbox) -> Result<(), StreamError> {
        let before = out.len();
        self.first.lost(lost, until, out)?;
        self.follow(before, out)
    }

    fn process(&mut self, records: &[Stored], out: &mut Outbox) -> Result<(), StreamError> {
        // One by one: what follows from one record is all that its arrival made.
        for stored in records {
            let before = out.len();
            self.first.process(std::slice::from_ref(stored), out)?;
            self.follow(before, out)?;
        }
        Ok(())
    }

    fn save(&mut self) -> Vec<(Bytes, Option<Bytes>)> {
        let marked = |mark: u8, changes: Vec<(Bytes, Option<Bytes>)>| {
            changes
                .into_iter()
                .map(move |(key, value)| ([&[mark], &key[..]].concat().into(), value))
        };
        let mut all: Vec<_> = marked(FIRST, self.first.save()).collect();
        all.extend(marked(SECOND, self.second.save()));
        all
    }

    fn repeats(&self) -> bool {
        self.first.repeats() && self.second.repeats()
    }
}

impl<A, B> std::fmt::Debug for Chain<A, B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chain").field("between", &self.between).finish_non_exhaustive()
    }
}
