//! The log on a Kafka cluster, spoken to by `krafka`.
//!
//! Topics are Kafka's, records its records: the key is the instrument, the value ours, the
//! timestamp the time of the record in milliseconds. A time that is not whole milliseconds
//! stands in a header ([`wire`]). A [`Member`](super::Member) is a member of a consumer
//! group with a transactional producer: a [`Commit`](super::Commit) is one transaction over
//! outputs, offset and state, and the state lives in a compacted changelog topic beside the
//! topic that is read ([`changelog`]). Readers see committed records only.
//!
//! A cluster that does not answer is waited for ([`outage`]), at most
//! [`KafkaOptions::patience`].

mod changelog;
mod member;
mod outage;
mod reader;
mod security;
mod transaction;
mod wire;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use krafka::admin::{
    AdminClient, CreateTopicsOptions, DeleteTopicsOptions, DescribeTopicsOptions,
    ListConsumerGroupOffsetsOptions, ListOffsetsOptions, ListTopicsOptions, NewTopic, OffsetSpec,
};
use krafka::consumer::TopicPartition;
use krafka::error::{ErrorCode, KrafkaError};
use krafka::producer::Producer;
use krafka::{CloseOptions, Kafka};
use tokio::sync::OnceCell;

use super::{Log, LogError, Member, Record, Stored, TopicSpec};
use outage::{Outage, failed, patiently};
use reader::Reader;

pub use security::{KafkaLogin, KafkaSecurity, SaslMechanism};

/// What an address begins with, and one of brokers that are spoken to by TLS.
const SCHEME: &str = "kafka://";
const ENCRYPTED: &str = "kafka+ssl://";
/// The most readers that are kept for the next read.
const IDLE_READERS: usize = 32;

/// Who keeps the members of a group and gives them partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GroupProtocol {
    /// The members themselves, led by one of them: every broker can do it. A process that
    /// comes back under its name goes on with its partitions at once.
    #[default]
    Classic,
    /// The broker (KIP-848): Kafka 4.0 and later. A rebalance stops nobody but those whose
    /// partitions move.
    Broker,
}

/// How this process takes part in a cluster.
#[derive(Debug, Clone)]
pub struct KafkaOptions {
    /// The name of this process, of its own among those of a group and the same after a
    /// restart: with it a successor ends what its predecessor left open. Two processes with
    /// one name fence each other.
    pub instance: String,
    /// Copies of each topic that is created; without it, what the cluster does by itself.
    pub replication: Option<u16>,
    /// Who gives out partitions.
    pub groups: GroupProtocol,
    /// After how long without a sign of life others take over its partitions
    /// ([`GroupProtocol::Classic`]; the broker decides otherwise).
    pub session_timeout: Duration,
    /// After how long the cluster ends a transaction that is left open. Until then readers
    /// do not see past it.
    pub transaction_timeout: Duration,
    /// How long a cluster that does not answer is waited for, with a warning; then the call
    /// fails.
    pub patience: Duration,
    /// What a secured cluster asks for.
    pub security: KafkaSecurity,
}

impl KafkaOptions {
    /// What is usual, for a process of this name: sessions of 10 s, transactions of 60 s,
    /// five minutes of patience.
    pub fn new(instance: impl Into<String>) -> Self {
        Self {
            instance: instance.into(),
            replication: None,
            groups: GroupProtocol::default(),
            session_timeout: Duration::from_secs(10),
            transaction_timeout: Duration::from_secs(60),
            patience: Duration::from_secs(300),
            security: KafkaSecurity::default(),
        }
    }

    /// How long one request may take: a transaction has time for two.
    fn request_timeout(&self) -> Duration {
        (self.transaction_timeout / 3).min(Duration::from_secs(30))
    }
}

/// A log on a Kafka cluster.
#[derive(Clone)]
pub struct KafkaLog {
    shared: Arc<Shared>,
}

struct Shared {
    url: String,
    options: KafkaOptions,
    kafka: Kafka,
    admin: AdminClient,
    /// Writes what is appended.
    producer: OnceCell<Producer>,
    /// Partitions of the topics that were met; their number never changes.
    topics: Mutex<HashMap<String, u32>>,
    /// Readers that wait for the next read.
    idle: Mutex<Vec<Reader>>,
}

impl fmt::Debug for KafkaLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaLog")
            .field("url", &self.shared.url)
            .field("options", &self.shared.options)
            .finish_non_exhaustive()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The brokers of an address such as `kafka://one:9092,two:9092`, and whether they are spoken
/// to by TLS.
fn brokers(url: &str) -> Result<(String, bool), LogError> {
    // Without what may be a password: before an @, or where a port should be.
    let shown = || {
        let list = url.rsplit_once('@').map_or(url, |(_, list)| list);
        let port = |text: &str| text.trim_end_matches('/').parse::<u16>().is_ok();
        let broker = |broker: &str| match broker.rsplit_once(':') {
            Some((host, text)) if !text.starts_with("//") && !port(text) => format!("{host}:…"),
            _ => broker.to_owned(),
        };
        list.split(',').map(broker).collect::<Vec<_>>().join(",")
    };
    let wrong = |reason: &str| LogError::Address { url: shown(), reason: reason.to_owned() };
    let (list, encrypted) = match (url.strip_prefix(SCHEME), url.strip_prefix(ENCRYPTED)) {
        (Some(list), _) => (list, false),
        (None, Some(list)) => (list, true),
        (None, None) => return Err(wrong("it does not begin with kafka:// or kafka+ssl://")),
    };
    if list.contains('@') {
        return Err(wrong(
            "addresses are logged and shown, so a name and a password do not belong there: set \
             FORETELL_KAFKA_USERNAME and FORETELL_KAFKA_PASSWORD_FILE",
        ));
    }
    let list = list.trim_end_matches('/');
    for broker in list.split(',') {
        let (host, port) = broker.rsplit_once(':').ok_or_else(|| wrong("a broker has no port"))?;
        if host.is_empty() || host.contains('/') {
            return Err(wrong("a broker has no host"));
        }
        if port.parse::<u16>().is_err() {
            return Err(wrong("a port is no number up to 65535"));
        }
    }
    Ok((list.to_owned(), encrypted))
}

/// A client with connections of its own. A cluster answers the requests of a connection one
/// after the other, so whoever waits for records holds up all others there. The inner error is
/// the network's.
async fn client(url: &str, options: &KafkaOptions) -> Result<krafka::Result<Kafka>, LogError> {
    let request = options.request_timeout();
    let (brokers, encrypted) = brokers(url)?;
    let mut kafka = Kafka::builder(brokers)
        .client_id(format!("foretell-{}", options.instance))
        .request_timeout(request)
        .connect_timeout(request.min(Duration::from_secs(10)));
    if let Some(auth) = options.security.auth(encrypted)? {
        kafka = kafka.security(auth);
    }
    match kafka.connect().await {
        Err(error @ (KrafkaError::Auth { .. } | KrafkaError::Config { .. })) => {
            Err(LogError::Access(format!("{url}: {error}")))
        }
        connected => Ok(connected),
    }
}

impl KafkaLog {
    /// Connects to the cluster of an address such as `kafka://one:9092,two:9092`, or
    /// `kafka+ssl://one:9093` where it is spoken to by TLS.
    ///
    /// # Errors
    /// [`LogError::Address`], [`LogError::Access`] when the cluster or its certificate is
    /// refused, or refuses this process; [`LogError::Storage`] when no broker answers.
    pub async fn connect(url: &str, options: KafkaOptions) -> Result<Self, LogError> {
        keep_memory();
        let connected = client(url, &options).await?;
        let kafka = connected
            .map_err(|error| LogError::Storage(format!("no broker answers at {url}: {error}")))?;
        let shared = Shared {
            url: url.to_owned(),
            admin: kafka.admin().default_api_timeout(options.request_timeout()),
            options,
            kafka,
            producer: OnceCell::new(),
            topics: Mutex::default(),
            idle: Mutex::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }
}

impl Shared {
    /// Creates a topic, or finds that it is there alike.
    async fn create(&self, topic: NewTopic, partitions: u32) -> Result<(), LogError> {
        let name = topic.name.clone();
        let made = patiently(self.options.patience, "a topic is created", || async {
            let options = CreateTopicsOptions::default();
            let mut made = self.admin.create_topics([topic.clone()], options).await?;
            made.remove(&name).unwrap_or(Ok(()))
        });
        match made.await? {
            Ok(()) => {
                locked(&self.topics).insert(name, partitions);
                return Ok(());
            }
            Err(KrafkaError::Broker { code: ErrorCode::TopicAlreadyExists, .. }) => {}
            Err(error) => return Err(failed(&error)),
        }
        let found = self.partitions(&name).await?;
        if found == partitions {
            return Ok(());
        }
        Err(LogError::Partitions { name, found, wanted: partitions })
    }

    fn new_topic(&self, name: &str, partitions: u32) -> Result<NewTopic, LogError> {
        let copies = self.options.replication.map_or(-1, |n| n as i16);
        NewTopic::new(name, partitions as i32, copies).map_err(|e| failed(&e))
    }

    async fn partitions(&self, topic: &str) -> Result<u32, LogError> {
        if let Some(known) = locked(&self.topics).get(topic) {
            return Ok(*known);
        }
        let none = || LogError::NoTopic(topic.to_owned());
        let found = patiently(self.options.patience, "a topic is looked up", || async {
            let options = DescribeTopicsOptions::default();
            let mut found = self.admin.describe_topics([topic], options).await?;
            found.remove(topic).unwrap_or_else(|| Err(KrafkaError::unknown_topic(topic)))
        });
        match found.await? {
            Ok(description) => {
                let partitions = description.partitions.len() as u32;
                locked(&self.topics).insert(topic.to_owned(), partitions);
                Ok(partitions)
            }
            Err(error) if outage::no_topic(&error) => Err(none()),
            Err(error) => Err(failed(&error)),
        }
    }

    async fn check(&self, topic: &str, partition: u32) -> Result<(), LogError> {
        if partition < self.partitions(topic).await? {
            return Ok(());
        }
        Err(LogError::NoPartition { topic: topic.to_owned(), partition })
    }

    async fn producer(&self) -> Result<&Producer, LogError> {
        let patience = self.options.patience;
        let build = || async {
            let request = self.options.request_timeout();
            let producer = self.kafka.producer().metrics_push(false).max_block(patience);
            let budget = patience.max(request + Duration::from_secs(1));
            producer.delivery_timeout(budget).build().await
        };
        let made = self.producer.get_or_try_init(|| async {
            let built = patiently(patience, "a producer is made", build).await?;
            built.map_err(|e| failed(&e))
        });
        made.await
    }

    /// Offsets of partitions, `-1` where there is none.
    async fn offsets(
        &self,
        topic: &str,
        partitions: &[u32],
        which: OffsetSpec,
        committed: bool,
    ) -> krafka::Result<BTreeMap<u32, i64>> {
        let asked = partitions.iter().map(|p| (TopicPartition::new(topic, *p as i32), which));
        let options = ListOffsetsOptions::default().read_committed(committed);
        let found = self.admin.list_offsets(asked, options).await?;
        let one =
            |(place, found): (TopicPartition, krafka::Result<krafka::admin::ListedOffset>)| {
                found.map(|listed| (place.partition as u32, listed.offset))
            };
        found.into_iter().map(one).collect()
    }

    /// The first offset kept, and the one that the next record gets.
    async fn bounds(&self, topic: &str, partition: u32) -> Result<Range<u64>, LogError> {
        let found = patiently(self.options.patience, "the ends of a topic are read", || async {
            let one = [partition];
            let (first, end) = tokio::try_join!(
                self.offsets(topic, &one, OffsetSpec::Earliest, false),
                self.offsets(topic, &one, OffsetSpec::Latest, false),
            )?;
            let of = |found: &BTreeMap<u32, i64>| found.get(&partition).copied().unwrap_or(0);
            Ok(of(&first).max(0) as u64..of(&end).max(0) as u64)
        });
        found.await?.map_err(|e| failed(&e))
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let readers = std::mem::take(&mut *locked(&self.idle));
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        for reader in readers {
            runtime.spawn(reader.close());
        }
    }
}

#[async_trait]
impl Log for KafkaLog {
    /// A topic that waits for groups ([`TopicSpec::kept_for`]) is never shortened by the
    /// cluster, which does not know what they have read.
    async fn create(&self, spec: &TopicSpec) -> Result<(), LogError> {
        let kept = spec.retention_secs.filter(|_| spec.kept_for.is_empty());
        let retention = kept.map_or(-1, |seconds| seconds.saturating_mul(1000));
        let topic = self.shared.new_topic(&spec.name, spec.partitions)?;
        let topic = topic
            .with_config("cleanup.policy", "delete")
            .with_config("retention.ms", retention.to_string())
            .with_config("message.timestamp.type", "CreateTime");
        self.shared.create(topic, spec.partitions).await
    }

    async fn partitions(&self, topic: &str) -> Result<u32, LogError> {
        self.shared.partitions(topic).await
    }

    /// The producer is idempotent: a cluster that goes away and comes back has each record
    /// once, in order. Records of one call are not there at once: a process that dies in it
    /// leaves the first of them.
    async fn append(
        &self,
        topic: &str,
        partition: u32,
        records: Vec<Record>,
    ) -> Result<u64, LogError> {
        self.shared.check(topic, partition).await?;
        if records.is_empty() {
            return Ok(self.shared.bounds(topic, partition).await?.end);
        }
        let producer = self.shared.producer().await?;
        let append = async {
            let mut handles = Vec::with_capacity(records.len());
            for record in records {
                handles.push(producer.enqueue(wire::outgoing(topic, partition, record)).await?);
            }
            let mut first = None;
            for handle in handles {
                first.get_or_insert(handle.await?.offset);
            }
            Ok(first.unwrap_or(0).max(0) as u64)
        };
        outage::told("records are appended", append).await.map_err(|e: KrafkaError| failed(&e))
    }

    async fn read(
        &self,
        topic: &str,
        partition: u32,
        from: u64,
        bytes: usize,
        wait: Duration,
    ) -> Result<Vec<Stored>, LogError> {
        self.shared.check(topic, partition).await?;
        let deadline = tokio::time::Instant::now() + wait;
        let mut outage = Outage::new(self.shared.options.patience);
        loop {
            let read = async {
                let mut reader = reader::lend(&self.shared, topic, partition, from).await?;
                reader.read(&self.shared, from, bytes, deadline).await
            };
            match read.await {
                Ok(records) => return Ok(records),
                Err(error) => outage.bear("records are read", &error).await?,
            }
        }
    }

    async fn bounds(&self, topic: &str, partition: u32) -> Result<Range<u64>, LogError> {
        self.shared.check(topic, partition).await?;
        self.shared.bounds(topic, partition).await
    }

    async fn committed(
        &self,
        group: &str,
        topic: &str,
        partition: u32,
    ) -> Result<Option<u64>, LogError> {
        self.shared.check(topic, partition).await?;
        let place = TopicPartition::new(topic, partition as i32);
        let found = patiently(self.shared.options.patience, "an offset is read", || async {
            let options = ListConsumerGroupOffsetsOptions::default()
                .require_stable(true)
                .partitions(vec![place.clone()]);
            let mut found = self.shared.admin.list_consumer_group_offsets(group, options).await?;
            found.remove(&place).transpose()
        });
        let found = found.await?.map_err(|e| failed(&e))?;
        Ok(found.and_then(|offset| offset.offset).and_then(|offset| u64::try_from(offset).ok()))
    }

    async fn join(&self, group: &str, topic: &str) -> Result<Box<dyn Member>, LogError> {
        Ok(Box::new(member::KafkaMember::join(&self.shared, group, topic).await?))
    }

    /// A compacted topic: it is not shortened by age.
    async fn create_latest(&self, spec: &TopicSpec) -> Result<bool, LogError> {
        let topic = self.shared.new_topic(&spec.name, spec.partitions)?;
        let topic = topic
            .with_config("cleanup.policy", "compact")
            .with_config("message.timestamp.type", "CreateTime");
        self.shared.create(topic, spec.partitions).await?;
        Ok(true)
    }

    async fn remove(&self, topic: &str) -> Result<(), LogError> {
        let shared = &self.shared;
        let changelog = format!("-{topic}-changelog");
        let all = patiently(shared.options.patience, "topics are listed", || {
            shared.admin.list_topics(ListTopicsOptions::default())
        });
        let all = all.await?.map_err(|e| failed(&e))?;
        let gone: Vec<String> =
            all.into_iter().filter(|t| t == topic || t.ends_with(&changelog)).collect();
        let removed = patiently(shared.options.patience, "a topic is removed", || {
            shared.admin.delete_topics(gone.clone(), DeleteTopicsOptions::default())
        });
        for (name, outcome) in removed.await?.map_err(|e| failed(&e))? {
            locked(&shared.topics).remove(&name);
            match outcome {
                Ok(())
                | Err(KrafkaError::Broker { code: ErrorCode::UnknownTopicOrPartition, .. }) => {}
                Err(error) => return Err(failed(&error)),
            }
        }
        Ok(())
    }
}

/// Has glibc keep memory that was freed for what is fetched next. By itself it gives what is
/// free above 128 KiB back to the operating system, and every fetch begins with pages that are
/// cleared for it: half of the time that reading takes. It learns from a large piece that goes
/// that large pieces come and go (`M_MMAP_THRESHOLD` of mallopt(3)); from then on it keeps up
/// to twice its size. Another allocator does not mind.
fn keep_memory() {
    const PIECE: usize = 16 << 20;
    drop(std::hint::black_box(Vec::<u8>::with_capacity(PIECE)));
}

/// Closes at once: nothing waits for it.
fn at_once() -> CloseOptions {
    CloseOptions::new().timeout(Duration::from_secs(5))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_brokers_with_ports() {
        let plain = brokers("kafka://one:9092,[::1]:9093/").unwrap();
        assert_eq!(plain, ("one:9092,[::1]:9093".to_owned(), false));
        assert_eq!(brokers("kafka+ssl://one:9093").unwrap(), ("one:9093".to_owned(), true));
        for wrong in ["one:9092", "kafka://", "kafka://one", "kafka://one:x", "kafka://:9092"] {
            let refused = brokers(wrong).unwrap_err().to_string();
            assert!(refused.contains("kafka://host:9092"), "{refused}");
        }
    }

    #[test]
    fn an_address_with_a_password_is_refused_and_not_repeated() {
        for url in ["kafka://me:hush@one:9092", "kafka+ssl://me:h@ush@one:9093", "me:hush@one"] {
            let refused = brokers(url).unwrap_err();
            let text = format!("{refused} {refused:?}");
            assert!(!text.contains("ush"), "{text}");
        }
        let refused = brokers("kafka://me:hush@one:9092").unwrap_err().to_string();
        assert!(refused.contains("FORETELL_KAFKA_PASSWORD_FILE"), "{refused}");
    }
}
