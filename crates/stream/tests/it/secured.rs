//! Clusters that ask who comes, and are spoken to by TLS: that of the tests behind OpenSSL.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use foretell_stream::{
    KafkaLog, KafkaLogin, KafkaOptions, KafkaSecurity, Log, LogError, SaslMechanism,
};

use crate::cluster::{Cluster, options};
use crate::foreign::{python, repository};
use crate::log_suite::{record, spec, values};

const PASSWORD: &str = "hush-hush";

/// Certificates that are signed by an authority of their own.
struct Certificates(tempfile::TempDir);

impl Certificates {
    fn make() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let openssl = |arguments: &str| {
            let ran = Command::new("openssl")
                .args(arguments.split(' '))
                .current_dir(folder.path())
                .output()
                .expect("openssl is installed");
            let said = String::from_utf8_lossy(&ran.stderr);
            assert!(ran.status.success(), "openssl {arguments}: {said}");
        };
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
        openssl(&format!("req -x509 {key} -keyout ca.key -out ca.pem -subj /CN=authority"));
        for name in ["server", "client"] {
            openssl(&format!(
                "req -x509 {key} -CA ca.pem -CAkey ca.key -keyout {name}.key -out {name}.pem \
                 -subj /CN={name} -addext subjectAltName=IP:127.0.0.1,DNS:localhost \
                 -addext basicConstraints=critical,CA:FALSE"
            ));
        }
        openssl(&format!("req -x509 {key} -keyout other.key -out other.pem -subj /CN=other"));
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// OpenSSL between clients and a cluster, which ends with the test.
struct Front {
    child: Child,
    port: i32,
}

impl Drop for Front {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Front {
    /// From now on clients are told to come here.
    fn before(cluster: &Cluster, certificates: &Path, asks: bool) -> Self {
        let mut child = Command::new(python())
            .arg(repository().join("tests/reference/tls_front.py"))
            .arg(cluster.broker.bootstrap_servers())
            .arg(certificates)
            .args(asks.then_some("ask"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python runs: `make python`");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port: i32 = line.trim().parse().unwrap();
        cluster.broker.with_state(|state| {
            for node in &mut state.brokers {
                (node.host, node.port) = ("127.0.0.1".to_owned(), port);
            }
        });
        Self { child, port }
    }

    fn url(&self) -> String {
        format!("kafka+ssl://127.0.0.1:{}", self.port)
    }
}

fn login(password: &str, mechanism: Option<SaslMechanism>) -> Option<KafkaLogin> {
    Some(KafkaLogin { username: "river".to_owned(), password: password.to_owned(), mechanism })
}

async fn connect(url: &str, security: &KafkaSecurity) -> Result<KafkaLog, LogError> {
    let options = KafkaOptions { security: security.clone(), ..options("one") };
    KafkaLog::connect(url, options).await
}

/// Writes, reads and commits.
async fn works(log: KafkaLog) {
    let log: Arc<dyn Log> = Arc::new(log);
    log.create(&spec("a", 1)).await.unwrap();
    log.append("a", 0, vec![record("k", "1"), record("k", "2")]).await.unwrap();
    assert_eq!(values(&*log, "a", 0).await, ["1", "2"]);
    let mut member = log.join("g", "a").await.unwrap();
    loop {
        let wait = std::time::Duration::from_secs(20);
        if let foretell_stream::Polled::Records(..) = member.poll(1 << 20, wait).await.unwrap() {
            break;
        }
    }
    let commit = foretell_stream::Commit { next: 2, ..foretell_stream::Commit::default() };
    member.commit(0, commit).await.unwrap();
    assert_eq!(log.committed("g", "a", 0).await.unwrap(), Some(2));
    member.leave().await.unwrap();
}

/// That it is refused, without a password in what is said.
fn refused(found: Result<KafkaLog, LogError>) -> String {
    let error = found.map(|log| format!("{log:?}")).unwrap_err();
    assert!(matches!(error, LogError::Access(_)), "{error:?}");
    let said = format!("{error} {error:?}");
    assert!(!said.contains(PASSWORD), "{said}");
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_asks_for_a_password_gets_it_and_nobody_else() {
    let cluster = Cluster::start().await;
    cluster.broker.require_sasl_plain("river", PASSWORD);
    let url = cluster.url();
    let plain = Some(SaslMechanism::Plain);
    let security = KafkaSecurity { login: login(PASSWORD, plain), ..KafkaSecurity::default() };
    let log = connect(&url, &security).await.unwrap();
    let shown = format!("{log:?}");
    assert!(shown.contains("river") && !shown.contains(PASSWORD), "{shown}");
    works(log).await;
    let other = format!("not-{PASSWORD}");
    let wrong = KafkaSecurity { login: login(&other, plain), ..KafkaSecurity::default() };
    refused(connect(&url, &wrong).await);
    // Without a word on how, a password is not sent in the open.
    let unsaid = KafkaSecurity { login: login(PASSWORD, None), ..KafkaSecurity::default() };
    assert!(refused(connect(&url, &unsaid).await).contains("kafka+ssl://"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_behind_tls_is_spoken_to_when_its_certificate_is_trusted() {
    let certificates = Certificates::make();
    let cluster = Cluster::start().await;
    cluster.broker.require_sasl_plain("river", PASSWORD);
    let front = Front::before(&cluster, certificates.0.path(), false);
    let trusting = |name: &str| KafkaSecurity {
        login: login(PASSWORD, None),
        authorities: Some(certificates.path(name)),
        ..KafkaSecurity::default()
    };
    works(connect(&front.url(), &trusting("ca.pem")).await.unwrap()).await;
    // Another authority's, or none of the world's.
    refused(connect(&front.url(), &trusting("other.pem")).await);
    let mozilla = KafkaSecurity { authorities: None, ..trusting("ca.pem") };
    refused(connect(&front.url(), &mozilla).await);
    let missing = refused(connect(&front.url(), &trusting("none.pem")).await);
    assert!(missing.contains("none.pem"), "{missing}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_asks_for_a_certificate_gets_one() {
    let certificates = Certificates::make();
    let cluster = Cluster::start().await;
    let front = Front::before(&cluster, certificates.0.path(), true);
    let path = |name: &str| certificates.path(name);
    let nameless = KafkaSecurity { authorities: Some(path("ca.pem")), ..KafkaSecurity::default() };
    let named = KafkaSecurity {
        certificate: Some((path("client.pem"), path("client.key"))),
        ..nameless.clone()
    };
    works(connect(&front.url(), &named).await.unwrap()).await;
    let stranger = KafkaSecurity {
        certificate: Some((path("other.pem"), path("other.key"))),
        ..nameless.clone()
    };
    for security in [nameless, stranger] {
        assert!(connect(&front.url(), &security).await.is_err());
    }
}
