//! A Kafka cluster for tests: the broker of `krafka`, and what happens to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use foretell_stream::{KafkaLog, KafkaOptions};
use krafka::testing::{ApiKey, Control, FakeBroker};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

pub(crate) struct Cluster {
    pub(crate) broker: Arc<FakeBroker>,
    forget: tokio::task::JoinHandle<()>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.forget.abort();
    }
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        let broker = Arc::new(FakeBroker::start().await.unwrap());
        // The broker compares the epoch of a committing member with the generation of
        // groups of the older protocol; here that is the newest epoch of the group.
        let weak = Arc::downgrade(&broker);
        broker.on(ApiKey::TxnOffsetCommit, move |_| {
            if let Some(broker) = weak.upgrade() {
                broker.with_state(|cluster| {
                    for group in cluster.groups.values_mut() {
                        let newest = group.consumer_members.values().map(|m| m.member_epoch).max();
                        if let Some(epoch) = newest {
                            group.generation_id = epoch;
                        }
                    }
                });
            }
            Control::Pass
        });
        // It remembers every request, and looks at all of them for each.
        let weak = Arc::downgrade(&broker);
        let forget = tokio::spawn(async move {
            while let Some(broker) = weak.upgrade() {
                broker.clear_requests();
                drop(broker);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        Self { broker, forget }
    }

    pub(crate) fn url(&self) -> String {
        format!("kafka://{}", self.broker.bootstrap_servers())
    }

    pub(crate) async fn log(&self, instance: &str) -> Arc<KafkaLog> {
        Arc::new(KafkaLog::connect(&self.url(), options(instance)).await.unwrap())
    }

    /// What the timers of a coordinator do about a process that died: its membership and
    /// its transaction end.
    pub(crate) fn forget(&self, group: &str, member: &str, instance: &str) {
        self.broker.with_state(|cluster| {
            let group = cluster.groups.get_mut(group).unwrap();
            group.consumer_members.remove(member).unwrap();
            group.group_epoch += 1;
        });
        self.broker.abort_transaction(&format!("{group}-{instance}"));
    }
}

pub(crate) fn options(instance: &str) -> KafkaOptions {
    KafkaOptions {
        session_timeout: Duration::from_secs(6),
        transaction_timeout: Duration::from_secs(6),
        patience: Duration::from_secs(60),
        ..KafkaOptions::new(instance)
    }
}

/// A network between clients and a cluster that can go away.
pub(crate) struct Network {
    away: Arc<AtomicBool>,
    cut: tokio::sync::watch::Sender<u32>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Network {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Network {
    /// Puts itself between a cluster and whoever asks it where it is from now on.
    pub(crate) async fn before(cluster: &Cluster) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let behind = cluster.broker.broker_addr(0).or_else(|| cluster.broker.broker_addr(1));
        let behind = behind.unwrap();
        cluster.broker.with_state(|state| {
            for node in &mut state.brokers {
                node.host = "127.0.0.1".to_owned();
                node.port = port.into();
            }
        });
        let away = Arc::new(AtomicBool::new(false));
        let (cut, watch) = tokio::sync::watch::channel(0);
        let closed = Arc::clone(&away);
        let serving = tokio::spawn(async move {
            let mut open = JoinSet::new();
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                if closed.load(Ordering::Acquire) {
                    continue;
                }
                let mut watch = watch.clone();
                watch.mark_unchanged();
                open.spawn(async move {
                    let Ok(mut server) = TcpStream::connect(behind).await else { return };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                        _ = watch.changed() => {}
                    }
                });
                while open.try_join_next().is_some() {}
            }
        });
        Self { away, cut, serving }
    }

    /// Drops every connection; new ones are refused until it is back.
    pub(crate) fn go_away(&self) {
        self.away.store(true, Ordering::Release);
        self.cut.send_modify(|n| *n += 1);
    }

    pub(crate) fn come_back(&self) {
        self.away.store(false, Ordering::Release);
    }
}
