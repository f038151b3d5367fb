//! Where the log is: in the data directory, or on a Kafka cluster.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use foretell_stream::{EmbeddedLog, EmbeddedOptions, KafkaLog, KafkaOptions, KafkaSecurity, Log};

use crate::error::PlatformError;

/// How often the embedded log is forced to the disk: what a power cut may take. A process
/// that is killed loses nothing.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// What the address of a cluster begins with.
const SCHEMES: [&str; 2] = ["kafka://", "kafka+ssl://"];

/// The log of a river.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum LogAddress {
    /// In the data directory, for one process.
    #[default]
    Embedded,
    /// On a Kafka cluster: `kafka://host:9092[,host:9092]`, or `kafka+ssl://` by TLS. No name
    /// and no password: those are in the environment.
    Kafka(String),
}

impl FromStr for LogAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "embedded" => Ok(Self::Embedded),
            kafka
                if SCHEMES.iter().any(|s| kafka.strip_prefix(s).is_some_and(|h| !h.is_empty())) =>
            {
                // Whoever refuses it, in words, must not repeat a password.
                let (scheme, list) = kafka.split_once("//").unwrap_or(("kafka:", kafka));
                let (hidden, list) = match list.rsplit_once('@') {
                    Some((_, list)) => ("…@", list),
                    None => ("", list),
                };
                Ok(Self::Kafka(format!("{scheme}//{hidden}{list}")))
            }
            _ => Err("write kafka://host:9092, more brokers behind commas, or `embedded`".into()),
        }
    }
}

impl fmt::Display for LogAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded => f.write_str("embedded"),
            Self::Kafka(url) => f.write_str(url),
        }
    }
}

/// A log that is open.
#[derive(Debug)]
pub struct OpenLog {
    /// The log.
    pub log: Arc<dyn Log>,
    /// The same, when it is in a folder of this process.
    pub embedded: Option<EmbeddedLog>,
}

impl LogAddress {
    /// Refuses a log that other processes cannot share.
    ///
    /// # Errors
    /// When it is embedded, with the remedy.
    pub fn must_be_shared(&self) -> Result<(), PlatformError> {
        match self {
            Self::Kafka(_) => Ok(()),
            Self::Embedded => Err(PlatformError::Usage {
                message: "the embedded log is for one process".to_owned(),
                hint: "name a cluster with --log kafka://host:9092, or run everything in one \
                       process with `foretell up`"
                    .to_owned(),
            }),
        }
    }

    /// Opens it. `instance` names this process on a cluster; `budget` are the bytes that an
    /// embedded log may hold.
    ///
    /// # Errors
    /// When another process has it, it is damaged, or the cluster does not answer.
    pub async fn open(
        &self,
        data_dir: &Path,
        instance: &str,
        budget: Option<u64>,
    ) -> Result<OpenLog, PlatformError> {
        Ok(match self {
            Self::Embedded => {
                let path = data_dir.join("log");
                let options = EmbeddedOptions { path, budget, sync_every: Some(SYNC_EVERY) };
                let log = EmbeddedLog::open(options)?;
                OpenLog { log: Arc::new(log.clone()), embedded: Some(log) }
            }
            Self::Kafka(url) => {
                let security = KafkaSecurity::from_env()?;
                let options = KafkaOptions { security, ..KafkaOptions::new(instance) };
                let log = KafkaLog::connect(url, options).await?;
                OpenLog { log: Arc::new(log), embedded: None }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_it_is_written() {
        for text in ["embedded", "kafka://one:9092,two:9092", "kafka+ssl://one:9093"] {
            assert_eq!(text.parse::<LogAddress>().unwrap().to_string(), text);
        }
        for wrong in ["", "kafka://", "kafka+ssl://", "localhost:9092"] {
            assert!(wrong.parse::<LogAddress>().unwrap_err().contains("kafka://host:9092"));
        }
    }

    #[tokio::test]
    async fn a_password_in_an_address_is_refused_and_not_repeated() {
        let address: LogAddress = "kafka+ssl://me:h@ush@one:9093".parse().unwrap();
        let opened = address.open(Path::new(""), "one", None).await.map(|_| ());
        let error = opened.unwrap_err().chain();
        assert!(error.contains("FORETELL_KAFKA_PASSWORD_FILE"), "{error}");
        assert!(!format!("{address} {address:?} {error}").contains("ush"), "{error}");
    }
}
