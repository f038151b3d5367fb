//! Commits as transactions: all of one, or nothing.

use std::sync::Arc;
use std::time::Duration;

use krafka::Kafka;
use krafka::consumer::ConsumerGroupMetadata;
use krafka::error::KrafkaError;
use krafka::producer::{TopicPartitionOffset, TransactionState, TransactionalProducer};
use tokio::time::Instant;

use super::outage::{Outage, failed, fenced, of_the_group, passes};
use super::{Shared, at_once, changelog, wire};
use crate::log::{Commit, LogError};

/// How long the coordinator is asked before somebody hears of it.
const ASK_FOR: Duration = Duration::from_secs(2);

/// How a transaction ended.
pub(super) enum Verdict {
    /// Committed.
    Done,
    /// Not committed, or not known: what is committed says where to go on.
    Void {
        /// What happened.
        reason: String,
        /// Whether the group refused it.
        by_group: bool,
    },
    /// Certainly not committed, by a cluster that did not answer: the same once more.
    Again(KrafkaError),
}

/// The transactional producer of a member, `<group>-<instance>`.
pub(super) struct Transactions {
    shared: Arc<Shared>,
    kafka: Kafka,
    group: String,
    producer: Option<TransactionalProducer>,
}

impl Transactions {
    pub(super) fn new(shared: &Arc<Shared>, kafka: Kafka, group: &str) -> Self {
        Self { shared: Arc::clone(shared), kafka, group: group.to_owned(), producer: None }
    }

    /// Makes the producer, where there is none that works: a transaction of the same name
    /// that is open ends.
    ///
    /// # Errors
    /// The outer one passes, the inner one does not.
    pub(super) async fn ready(&mut self) -> krafka::Result<Result<(), LogError>> {
        let state = self.producer.as_ref().map(TransactionalProducer::state);
        if state == Some(TransactionState::Ready) {
            return Ok(Ok(()));
        }
        self.producer = None;
        let options = &self.shared.options;
        let limit = options.transaction_timeout;
        let builder = self.kafka.producer().metrics_push(false);
        let built = builder
            .transaction_timeout(limit)
            .delivery_timeout(limit / 2)
            .max_block(limit.min(ASK_FOR))
            .build_transactional(format!("{}-{}", self.group, options.instance));
        match built.await {
            Ok(producer) => {
                self.producer = Some(producer);
                Ok(Ok(()))
            }
            Err(error) if error.is_retriable() => Err(error),
            Err(error) if fenced(&error) => Ok(Err(LogError::Fenced(self.group.clone()))),
            Err(error) => Ok(Err(failed(&error))),
        }
    }

    /// Outputs, state and offset in one transaction. `place` is the topic that was read,
    /// the partition, and the changelog.
    ///
    /// # Errors
    /// [`LogError::Fenced`], or what no repetition mends; nothing is committed then.
    pub(super) async fn commit(
        &mut self,
        place: (&str, u32, &str),
        commit: &Commit,
        member: &ConsumerGroupMetadata,
    ) -> Result<Verdict, LogError> {
        match self.ready().await {
            Ok(ready) => ready?,
            Err(error) => return Ok(Verdict::Again(error)),
        }
        let Some(producer) = &self.producer else {
            let reason = "there is no producer".to_owned();
            return Ok(Verdict::Void { reason, by_group: false });
        };
        let began = Instant::now();
        let result = async {
            producer.begin()?;
            stage(producer, place, commit, member).await?;
            producer.commit().await
        };
        let Err(error) = result.await else { return Ok(Verdict::Done) };
        let error = match self.end(producer, error).await? {
            Ended::Committed => return Ok(Verdict::Done),
            Ended::Dead(error) => error,
            Ended::Aborted(error) if fenced(&error) => {
                return Err(LogError::Fenced(self.group.clone()));
            }
            Ended::Aborted(error) if of_the_group(&error) => {
                return Ok(Verdict::Void { reason: error.to_string(), by_group: true });
            }
            Ended::Aborted(error) if passes(&error) => return Ok(Verdict::Again(error)),
            Ended::Aborted(error) => return Err(failed(&error)),
        };
        self.producer = None;
        // A cluster that was away ends a transaction by its timeout, which looks the same as
        // another process under this name.
        let in_time = began.elapsed() < self.shared.options.transaction_timeout / 2;
        if fenced(&error) && in_time {
            return Err(LogError::Fenced(self.group.clone()));
        }
        Ok(Verdict::Void { reason: error.to_string(), by_group: false })
    }

    /// Ends a transaction that failed, one way or the other.
    async fn end(
        &self,
        producer: &TransactionalProducer,
        mut error: KrafkaError,
    ) -> Result<Ended, LogError> {
        let mut outage = Outage::new(self.shared.options.patience);
        loop {
            let answer = match producer.state() {
                // Whether it was committed is not known: the same question again answers it.
                TransactionState::CommitUnknown => match producer.commit().await {
                    Ok(()) => return Ok(Ended::Committed),
                    Err(error) => error,
                },
                TransactionState::Open => match producer.abort().await {
                    Ok(()) => return Ok(Ended::Aborted(error)),
                    Err(error) => error,
                },
                TransactionState::Ready => return Ok(Ended::Aborted(error)),
                _ => return Ok(Ended::Dead(error)),
            };
            if !answer.is_retriable() {
                return Ok(Ended::Dead(answer));
            }
            outage.bear("a transaction is ended", &answer).await?;
            if matches!(producer.state(), TransactionState::CommitUnknown) {
                error = answer;
            }
        }
    }

    pub(super) async fn close(&self) {
        if let Some(producer) = &self.producer {
            // Nothing depends on it: nothing is open.
            let _ = producer.close_with(at_once()).await;
        }
    }
}

enum Ended {
    Committed,
    Aborted(KrafkaError),
    /// The producer cannot go on; a new one finds out.
    Dead(KrafkaError),
}

async fn stage(
    producer: &TransactionalProducer,
    (topic, partition, log): (&str, u32, &str),
    commit: &Commit,
    member: &ConsumerGroupMetadata,
) -> krafka::Result<()> {
    for (to, to_partition, record) in &commit.outputs {
        // Its outcome is asked for by the commit.
        drop(producer.enqueue(wire::outgoing(to, *to_partition, record.clone())).await?);
    }
    for record in changelog::records(log, partition, commit) {
        drop(producer.enqueue(record).await?);
    }
    let offset = TopicPartitionOffset::new(topic, partition as i32, commit.next as i64);
    producer.send_offsets(&[offset], member).await
}
