//! Several commands on one data directory: questions are answered while a command is at
//! work, work waits its turn or is done by the process that serves.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::market::{Kind, Market, signal};

/// A market whose `slow.toml` trains for minutes, after a first run of `pipeline.toml`.
fn market(seed: u64) -> (Market, serde_json::Value) {
    let market = Market::new(Kind::Noise, 900, seed);
    let slow = market.read("pipeline.toml")
        + "\n[[models]]\nkind = \"gradient_boosting\"\nrounds = 20000\n";
    market.write("slow.toml", &slow.replace("seeded-daily", "seeded-slow"));
    let report = market.json(&["run", "pipeline.toml"]);
    (market, report)
}

fn until(what: &str, mut there: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !there() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::yield_now();
    }
}

/// Starts the slow run and waits until it trains.
fn slow_run(market: &Market) -> Child {
    let mut command = market.command(&["run", "slow.toml"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.expect("the binary starts");
    until("the run did not begin", || {
        market.file(".foretell/lake/datasets/").exists() && {
            let tables = std::fs::read_dir(market.file(".foretell/lake/datasets"));
            let tables = tables.expect("the folder is there");
            tables.flatten().any(|t| t.file_name().to_string_lossy().starts_with("seeded-slow"))
        }
    });
    child
}

/// Interrupts a command and answers with its exit code and standard error.
fn interrupted(child: Child) -> (Option<i32>, String) {
    signal(child.id(), "INT");
    let output = child.wait_with_output().expect("it ends");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn questions_are_answered_while_a_run_is_at_work() {
    let (market, report) = market(1);
    let id = report["forecast"]["id"].as_str().unwrap();
    let run = slow_run(&market);
    let owner: serde_json::Value =
        serde_json::from_str(&market.read(".foretell/owner.json")).unwrap();
    assert_eq!((&owner["command"], &owner["lasting"]), (&"foretell run".into(), &false.into()));
    std::thread::scope(|scope| {
        let asked: Vec<_> = (0..8)
            .map(|i| {
                let market = &market;
                scope.spawn(move || match i % 4 {
                    0 => market.json(&["models", "list"]).as_array().unwrap().len() == 3,
                    1 => market.json(&["runs", "list"])[0]["status"] == "running",
                    2 => {
                        let pipeline = ["--pipeline", "seeded-daily"];
                        let asked = [&["forecast", "AAA-USD"][..], &pipeline].concat();
                        market.json(&asked)["id"] == id
                    }
                    _ => market.json(&["verify", id])["matches"] == true,
                })
            })
            .collect();
        for (i, answer) in asked.into_iter().enumerate() {
            assert!(answer.join().unwrap(), "question {i}");
        }
    });
    assert_eq!(market.json(&["gaps"]), serde_json::json!([]));
    let shown = market.ok(&["runs", "show", report["run"].as_str().unwrap()]);
    assert!(shown.contains("succeeded"), "{shown}");
    assert_eq!(interrupted(run).0, Some(130));
    assert!(!market.file(".foretell/owner.json").exists(), "the directory is free");
}

#[tokio::test]
async fn the_api_of_a_run_answers_nobody_without_the_secret_of_the_directory() {
    let (market, _) = market(2);
    let run = slow_run(&market);
    let owner: serde_json::Value =
        serde_json::from_str(&market.read(".foretell/owner.json")).unwrap();
    let asked = format!("{}/api/v1/models", owner["api"].as_str().unwrap());
    assert_eq!(reqwest::get(&asked).await.unwrap().status().as_u16(), 403);
    let secret = owner["secret"].as_str().unwrap();
    let client = reqwest::Client::new();
    let answer = client.get(&asked).header("x-foretell-secret", secret).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    interrupted(run);
}

#[test]
fn work_waits_for_a_run_to_end_and_says_for_which() {
    let (market, _) = market(3);
    let run = slow_run(&market);
    let mut command = market.command(&["advance", "pipeline.toml", "--json"]);
    let waiting = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // One that gives up waiting ends at once, and leaves the run alone.
    let mut command = market.command(&["backfill", "pipeline.toml"]);
    let mut given_up = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut words = [0; 10];
    std::io::Read::read_exact(given_up.stderr.as_mut().unwrap(), &mut words).unwrap();
    let (code, rest) = interrupted(given_up);
    assert_eq!(code, Some(130), "{rest}");
    assert_eq!(market.json(&["runs", "list"])[0]["status"], "running");
    interrupted(run);
    let output = waiting.wait_with_output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{words}");
    assert!(words.contains("waiting for `foretell run` (process "), "{words}");
    assert!(words.contains(", since 2"), "{words}");
    let done: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(done["gained"], 0);
}

/// The open time of the latest candle that a server has.
async fn latest_candle(url: &str) -> serde_json::Value {
    let answer = reqwest::get(format!("{url}/api/v1/candles/AAA-USD?limit=1")).await;
    let answer = answer.expect("an answer");
    let candles: serde_json::Value = answer.json().await.expect("JSON");
    candles["candles"][0]["open_time"].clone()
}

#[tokio::test]
async fn a_server_advances_back_fills_and_evaluates_for_others() {
    let (market, report) = market(4);
    let all = market.read("candles.csv");
    let more = crate::market::candles(Kind::Noise, 905, 4);
    assert!(more.starts_with(all.trim_end()), "the same market, five days longer");
    let serving = market.serve(&[]);
    assert_eq!(latest_candle(&serving.url).await, "2022-06-18T00:00:00Z");
    let nothing = market.json(&["advance", "pipeline.toml"]);
    assert_eq!(nothing["run"], serde_json::Value::Null);
    market.write("candles.csv", &more);
    let done = market.json(&["advance", "pipeline.toml"]);
    assert_eq!(done["gained"], 5, "{done}");
    assert_eq!(latest_candle(&serving.url).await, "2022-06-23T00:00:00Z", "the rows moved on");
    assert_ne!(done["forecast"], report["forecast"]["id"]);
    assert_eq!(market.json(&["forecast", "AAA-USD"])["id"], done["forecast"]);
    let words = market.ok(&["backfill", "pipeline.toml"]);
    assert!(words.ends_with("is complete\n"), "{words}");
    let run = market.ok(&["run", "pipeline.toml"]);
    for station in ["extract", "gate", "train", "promote", "forecast"] {
        assert!(run.contains(&format!(" ✔ {station}")), "{run}");
    }
    let boxed = "\n[lock_box]\nfrom = \"2022-04-01\"\nto = \"2022-06-18\"\n";
    market.write("boxed.toml", &(market.read("pipeline.toml") + boxed));
    let opened = market.json(&["evaluate", "boxed.toml", "--lock-box"]);
    assert!(opened["lock_box"].as_str().unwrap().ends_with("opened 3 times"), "{opened}");
    let proof = market.json(&["reproduce", report["run"].as_str().unwrap()]);
    assert_eq!(proof["matches"], true);
    let kinds = market.json(&["runs", "list"]);
    let kinds: Vec<&str> =
        kinds.as_array().unwrap().iter().filter_map(|r| r["kind"].as_str()).collect();
    assert_eq!(kinds, ["evaluate", "run", "backfill", "advance", "run"]);
}

#[test]
fn work_queues_behind_other_work_of_a_server_and_ctrl_c_stops_it_there() {
    let (market, _) = market(5);
    let _serving = market.serve(&[]);
    let run = slow_run(&market);
    let mut command = market.command(&["advance", "pipeline.toml", "--json"]);
    let mut waiting = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    assert!(waiting.try_wait().unwrap().is_none());
    assert_eq!(market.json(&["models", "list"]).as_array().unwrap().len(), 3);
    let (code, _) = interrupted(run);
    assert_eq!(code, Some(130));
    let output = waiting.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    until("the run was not stopped over there", || {
        market.json(&["runs", "list"])[0]["status"] == "cancelled"
    });
}

#[test]
fn a_question_is_asked_again_when_the_process_that_would_answer_ends() {
    use std::io::{Read as _, Write as _};
    let (market, _) = market(6);
    // An owner that gives a sign of life and ends before it answers.
    let lock = std::fs::OpenOptions::new().write(true).open(market.file(".foretell/lock"));
    let lock = lock.unwrap();
    lock.try_lock().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let api = format!("http://{}", listener.local_addr().unwrap());
    let note = serde_json::json!({
        "pid": 1, "command": "foretell run", "api": api, "secret": "s", "lasting": false,
    });
    market.write(".foretell/owner.json", &note.to_string());
    let passing = std::thread::spawn(move || {
        let mut asked = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 4096];
            let length = stream.read(&mut head).unwrap();
            let head = String::from_utf8_lossy(&head[..length]).into_owned();
            asked.push(head.split(' ').nth(1).unwrap().to_owned());
            if asked.last().is_none_or(|path| path != "/health") {
                drop(lock);
                return asked;
            }
            let alive = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
            stream.write_all(alive.as_bytes()).unwrap();
        }
    });
    let models = market.json(&["models", "list"]);
    assert_eq!(models.as_array().unwrap().len(), 3);
    assert_eq!(passing.join().unwrap(), ["/health", "/api/v1/models"]);
}
