//! The same on a Kafka cluster: each part a consumer group with transactions.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use foretell_stream::{KafkaLog, KafkaOptions};
use krafka::testing::{ApiKey, Control, FakeBroker};

use super::*;

/// Name the folder of the river and its cluster in the process that is to be killed.
const FOLDER: &str = "FORETELL_TEST_UP";
const CLUSTER: &str = "FORETELL_TEST_UP_KAFKA";
const KILLS: usize = 20;
/// One instrument: each part is a member of a group, and joining takes its time.
const NAME: [&str; 1] = ["BTC-USD"];

/// The broker of `krafka` compares the epoch of a committing member with the generation of
/// groups of the older protocol; here that is the newest epoch of the group.
/// And it remembers every request, and looks at all of them for each, unless it is told to forget.
async fn cluster() -> Arc<FakeBroker> {
    let broker = Arc::new(FakeBroker::start().await.unwrap());
    let weak = Arc::downgrade(&broker);
    tokio::spawn(async move {
        while let Some(broker) = weak.upgrade() {
            broker.clear_requests();
            drop(broker);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let weak = Arc::downgrade(&broker);
    broker.on(ApiKey::TxnOffsetCommit, move |_| {
        if let Some(broker) = weak.upgrade() {
            broker.with_state(|cluster| {
                for group in cluster.groups.values_mut() {
                    let newest = group.consumer_members.values().map(|m| m.member_epoch).max();
                    group.generation_id = newest.unwrap_or(group.generation_id);
                }
            });
        }
        Control::Pass
    });
    broker
}

async fn connect(url: &str, instance: &str) -> Arc<dyn Log> {
    let options = KafkaOptions {
        session_timeout: Duration::from_secs(6),
        transaction_timeout: Duration::from_secs(6),
        patience: Duration::from_secs(60),
        ..KafkaOptions::new(instance)
    };
    Arc::new(KafkaLog::connect(url, options).await.unwrap())
}

/// Each part with a connection of its own, as where they run apart: a broker answers one request
/// of a connection after the other, so that one who waits for records keeps others waiting.
async fn connections(url: &str) -> Logs {
    Logs {
        candles: connect(url, "one").await,
        rows: connect(url, "one").await,
        forecasts: connect(url, "one").await,
        registry: connect(url, "one").await,
    }
}

/// What the killed process does. Without the variables there is nothing to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_river_on_kafka_that_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let Ok(url) = std::env::var(CLUSTER) else { return };
    let folder = PathBuf::from(folder);
    let plan = plan(&folder, &NAME);
    let service = open(&folder.join("data")).await;
    let logs = connections(&url).await;
    println!("ready");
    work(&service, logs, &plan, 4_000).await;
    println!("done");
    loop {
        std::thread::park();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_twenty_times_on_kafka_it_forecasts_what_it_would_have_forecast() {
    let world = World::new(&NAME).await;
    let arrivals = arrivals(&NAME, 600, 4);
    let (whole, kept) = {
        let (service, log) = (world.service("whole").await, embedded(&world.path("whole")));
        world.seed(&service, &log).await;
        append(&*log, &world.plan, &arrivals).await;
        work(&service, Logs::of(&log), &world.plan, 1 << 20).await;
        (written(&*log, &world.plan).await, registered(&service).await)
    };
    let made = counts(&whole);
    assert!(made["forecast"] > 120 && made["outcome"] > 50, "{made:?}");
    let broker = cluster().await;
    let url = format!("kafka://{}", broker.bootstrap_servers());
    let log = connect(&url, "writer").await;
    {
        let service = world.service("data").await;
        world.seed(&service, &log).await;
    }
    let mut numbers = Numbers(std::process::id().into());
    let mut unfinished = 0;
    // To join a group takes a time of its own: as long as nothing was forecast, each lives longer.
    let mut least = Duration::ZERO;
    for piece in arrivals.chunks(arrivals.len().div_ceil(KILLS)) {
        append(&*log, &world.plan, piece).await;
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "river::tests::kafka::a_river_on_kafka_that_is_killed",
                "--nocapture",
            ])
            .env(FOLDER, world.folder.path())
            .env(CLUSTER, &url)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let moment = least + Duration::from_micros(numbers.below(2_000_000));
        // The cluster is in this process: nothing may stand in its way.
        let died = tokio::task::spawn_blocking(move || {
            let mut lines = BufReader::new(stdout).lines();
            while !lines.next().unwrap().unwrap().ends_with("ready") {}
            // The moment of the kill is what is random here; nothing waits for it.
            std::thread::sleep(moment);
            child.kill().unwrap();
            child.wait().unwrap();
            !lines.any(|line| line.unwrap().ends_with("done"))
        });
        unfinished += usize::from(died.await.unwrap());
        if !counts(&written(&*log, &world.plan).await).contains_key("forecast") {
            least += Duration::from_millis(400);
        }
    }
    let before = written(&*log, &world.plan).await;
    assert!(counts(&before).contains_key("forecast"), "none was made by those that were killed");
    let (service, logs) = (world.service("data").await, connections(&url).await);
    work(&service, logs, &world.plan, 1 << 16).await;
    let after = written(&*log, &world.plan).await;
    assert_eq!(counts(&after), made);
    assert_eq!(after, whole);
    assert_eq!(registered(&service).await, kept);
    assert!(unfinished > KILLS / 4, "{unfinished} of {KILLS} died at work");
}
