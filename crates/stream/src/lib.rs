//! The live river: trades to candles to feature rows, in event time, exactly once.
//!
//! A [`Log`] keeps topics of records; a [`Task`] reads one topic as a member of a consumer
//! group, hands its records to an [`Operator`] and commits what it changed and wrote together
//! with the offset. What an operator writes depends on the sequence of its records alone, so
//! that a replay writes the same, to the bit, however it was cut or interrupted.
//!
//! Candles are those of [`foretell_market::Tumbling`], rows those of
//! [`foretell_feature::RowState`]: the kernels of a batch.

mod candles;
pub mod codec;
mod features;
mod ids;
mod lane;
mod log;
mod operator;
mod rows;
mod saved;
mod task;
mod view;

pub use candles::{CandleOperator, CandleSettings};
pub use features::{FeatureOperator, FeatureSettings};
pub use log::{
    Ahead, Assignment, Commit, Digest, EmbeddedLog, EmbeddedOptions, GroupProtocol, KafkaLog,
    KafkaLogin, KafkaOptions, KafkaSecurity, Log, LogError, Lost, Member, Polled, Record,
    SaslMechanism, Stored, TopicName, TopicSpec, partition_of,
};
pub use operator::{Chain, Operator, Outbox, StreamError, Topics};
pub use rows::{Closed, Counted, FeatureRecord, Ohlcv};
pub use saved::{restore as restore_state, save as save_state};
pub use task::{MakeOperator, OnCommit, Task, TaskSettings};
pub use view::{View, Wanted};
