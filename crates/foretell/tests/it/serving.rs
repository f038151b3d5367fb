//! The API, and other commands beside the process that serves it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::market::{Kind, Market, Serving};

async fn get(serving: &Serving, path: &str) -> (u16, serde_json::Value) {
    let response = reqwest::get(format!("{}{path}", serving.url)).await.expect("an answer");
    let status = response.status().as_u16();
    (status, response.json().await.unwrap_or_default())
}

#[tokio::test]
async fn the_api_serves_what_the_run_made() {
    let market = Market::new(Kind::Noise, 900, 1);
    let report = market.json(&["run", "pipeline.toml"]);
    let serving = market.serve(&[]);
    let (status, forecast) = get(&serving, "/api/v1/forecasts/AAA-USD?horizon=1d").await;
    assert_eq!(status, 200);
    assert_eq!(forecast["id"], report["forecast"]["id"]);
    for key in [
        "made_at",
        "as_of",
        "target_time",
        "point",
        "interval",
        "skill",
        "age_seconds",
        "inputs",
        "model",
        "dataset",
        "features",
        "abstained",
    ] {
        assert!(forecast.get(key).is_some(), "{key} is not in the passport");
    }
    assert_eq!(forecast["historical_demo"], true);
    let (_, candles) = get(&serving, "/api/v1/candles/AAA-USD?limit=3").await;
    assert_eq!(candles["candles"].as_array().unwrap().len(), 3);
    let (_, instruments) = get(&serving, "/api/v1/instruments").await;
    assert_eq!(instruments[0]["instrument"], "AAA-USD");
    let (_, models) = get(&serving, "/api/v1/models").await;
    assert_eq!(models.as_array().unwrap().len(), 3);
    let (_, runs) = get(&serving, "/api/v1/runs").await;
    assert_eq!(runs[0]["id"], report["run"]);
    let (status, health) = get(&serving, "/health").await;
    assert_eq!((status, &health["status"]), (200, &"ok".into()));
    let (_, openapi) = get(&serving, "/api/openapi.json").await;
    assert!(openapi["paths"].get("/api/v1/forecasts/{instrument}").is_some());
    let metrics = reqwest::get(format!("{}/metrics", serving.url)).await.unwrap();
    let metrics = metrics.text().await.unwrap();
    assert!(metrics.contains("api_requests_total"), "{metrics}");
    let page = reqwest::get(&serving.url).await.unwrap();
    assert!(page.headers()["content-security-policy"].to_str().unwrap().contains("default-src"));
    assert!(page.text().await.unwrap().contains("Models against the random walk"));
}

#[tokio::test]
async fn wrong_questions_get_a_problem_with_a_remedy() {
    let market = Market::new(Kind::Noise, 900, 2);
    market.ok(&["run", "pipeline.toml"]);
    let serving = market.serve(&[]);
    for (path, status) in [
        ("/api/v1/forecasts/ZZZ-USD", 404),
        ("/api/v1/forecasts/nonsense", 400),
        ("/api/v1/forecasts/AAA-USD?horizon=soon", 400),
        ("/api/v1/forecasts/AAA-USD?horizn=1d", 400),
        ("/api/v1/candles/AAA-USD?limit=0", 400),
        ("/api/v1/runs/none", 404),
        ("/api/v1/forecast/f_none", 404),
        ("/nothing", 404),
    ] {
        let response = reqwest::get(format!("{}{path}", serving.url)).await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{path}");
        assert_eq!(response.headers()["content-type"], "application/problem+json", "{path}");
        let problem: serde_json::Value = response.json().await.unwrap();
        assert_eq!(problem["status"], status);
        assert!(problem["detail"].as_str().is_some_and(|d| !d.is_empty()), "{problem}");
    }
}

#[tokio::test]
async fn two_pipelines_of_one_instrument_are_kept_apart() {
    let market = Market::new(Kind::Noise, 900, 8);
    market.ok(&["run", "pipeline.toml"]);
    // Another source of the same instrument and interval, ten days further, named so that
    // it comes last in every order of names.
    market.write("other.csv", &crate::market::candles(Kind::Noise, 910, 9));
    let other = market.read("pipeline.toml").replace("candles.csv", "other.csv");
    market.write("other.toml", &other.replace("seeded-daily", "zz-other"));
    let report = market.json(&["run", "other.toml"]);
    let serving = market.serve(&[]);
    let (_, forecast) = get(&serving, "/api/v1/forecasts/AAA-USD").await;
    assert_eq!(forecast["id"], report["forecast"]["id"], "the later decision is served");
    let first = "2022-06-18T00:00:00Z";
    let second = "2022-06-28T00:00:00Z";
    let mut seen = Vec::new();
    for asked in ["", "&pipeline=zz-other", "&pipeline=seeded-daily"] {
        let path = format!("/api/v1/candles/AAA-USD?limit=1{asked}");
        let (_, candles) = get(&serving, &path).await;
        let open = candles["candles"][0]["open_time"].as_str().unwrap().to_owned();
        seen.push((candles["pipeline"].as_str().unwrap().to_owned(), open));
    }
    let of = |name: &str, open: &str| (name.to_owned(), open.to_owned());
    let other = of("zz-other", second);
    assert_eq!(seen, [other.clone(), other, of("seeded-daily", first)]);
    let (status, problem) = get(&serving, "/api/v1/candles/AAA-USD?pipeline=none").await;
    assert_eq!(status, 404, "{problem}");
    assert!(problem["hint"].as_str().unwrap().contains("zz-other"), "{problem}");
    let (_, instruments) = get(&serving, "/api/v1/instruments").await;
    let of = |i: usize| {
        let entry = &instruments[i];
        (entry["pipeline"].clone(), entry["rows"].clone(), entry["to"].clone())
    };
    assert_eq!(of(0), ("seeded-daily".into(), 900.into(), first.into()));
    assert_eq!(of(1), ("zz-other".into(), 910.into(), second.into()));
    assert_eq!(instruments[1]["pipelines"], serde_json::json!(["zz-other"]));
    let metrics = reqwest::get(format!("{}/metrics", serving.url)).await.unwrap();
    let metrics = metrics.text().await.unwrap();
    let ages: Vec<&str> =
        metrics.lines().filter(|l| l.starts_with("forecast_age_seconds{")).collect();
    assert_eq!(ages.len(), 2, "{ages:?}");
    assert!(ages.iter().any(|l| l.contains("pipeline=\"zz-other\"")), "{ages:?}");
}

#[test]
fn other_commands_work_at_once_through_the_api() {
    let market = Market::new(Kind::Noise, 900, 3);
    let report = market.json(&["run", "pipeline.toml"]);
    let _serving = market.serve(&[]);
    let id = report["forecast"]["id"].as_str().unwrap();
    std::thread::scope(|scope| {
        let asked: Vec<_> = (0..6)
            .map(|i| {
                let market = &market;
                scope.spawn(move || match i % 3 {
                    0 => market.json(&["forecast", "AAA-USD"])["id"] == id,
                    1 => market.json(&["models", "list"]).as_array().unwrap().len() == 3,
                    _ => market.json(&["verify", id])["matches"] == true,
                })
            })
            .collect();
        for answer in asked {
            assert!(answer.join().unwrap());
        }
    });
    let run = report["run"].as_str().unwrap();
    assert_eq!(market.json(&["reproduce", run])["matches"], true);
    let again = market.json(&["run", "pipeline.toml"]);
    assert_eq!(again["forecast"]["id"], id);
    assert_eq!(market.json(&["runs", "show", run])["status"], "succeeded");
    let error = market.fails(1, &["serve", "--listen", "127.0.0.1:0"]);
    assert!(error.contains("is in use by"), "{error}");
}

#[tokio::test]
async fn a_token_guards_everything_but_the_health_check() {
    let market = Market::new(Kind::Noise, 900, 4);
    market.ok(&["run", "pipeline.toml"]);
    market.write("token", "0123456789abcdef0123456789abcdef\n");
    let serving = market.serve(&["--token-file", "token"]);
    let (status, _) = get(&serving, "/health").await;
    assert_eq!(status, 200);
    let (status, problem) = get(&serving, "/api/v1/forecasts/AAA-USD").await;
    assert_eq!((status, &problem["status"]), (401, &401.into()));
    let client = reqwest::Client::new();
    let request = client.get(format!("{}/api/v1/forecasts/AAA-USD", serving.url));
    let answer = request.bearer_auth("0123456789abcdef0123456789abcdef").send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    let mut command = market.command(&["forecast", "AAA-USD", "--json"]);
    let output = command.env("FORETELL_TOKEN_FILE", "token").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn serving_ends_cleanly_on_a_signal_and_frees_the_directory() {
    let market = Market::new(Kind::Noise, 900, 5);
    market.ok(&["run", "pipeline.toml"]);
    let serving = market.serve(&[]);
    crate::market::signal(serving.id(), "TERM");
    let begun = Instant::now();
    let free = loop {
        let output = market.run(&["forecast", "AAA-USD", "--json"]);
        if output.status.success() && !market.file(".foretell/owner.json").exists() {
            break true;
        }
        if begun.elapsed() > Duration::from_secs(20) {
            break false;
        }
    };
    assert!(free, "the directory was not freed");
}

/// A client that has asked for work and then says nothing more.
fn silent_client(market: &Market, serving: &Serving) -> std::net::TcpStream {
    let owner: serde_json::Value =
        serde_json::from_str(&market.read(".foretell/owner.json")).expect("it is there");
    let host = serving.url.trim_start_matches("http://");
    let mut stream = std::net::TcpStream::connect(host).expect("it is there");
    let head = format!(
        "POST /api/v1/runs HTTP/1.1\r\nhost: {host}\r\nx-foretell-secret: {}\r\n\
         content-type: application/json\r\ncontent-length: 100\r\n\r\n{{",
        owner["secret"].as_str().expect("it is there")
    );
    std::io::Write::write_all(&mut stream, head.as_bytes()).expect("it is there");
    stream
}

/// Waits until the request of a silent client is being answered.
async fn until_asked(serving: &Serving) {
    let begun = Instant::now();
    loop {
        let text = reqwest::get(format!("{}/metrics", serving.url)).await.expect("it is there");
        // This request is the other one.
        if text.text().await.expect("it is there").contains("api_active_requests 2") {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "the request did not come in");
    }
}

#[tokio::test]
async fn a_client_that_says_nothing_more_does_not_hold_the_server() {
    let market = Market::new(Kind::Noise, 900, 9);
    market.ok(&["run", "pipeline.toml"]);
    let mut serving = market.serve(&[]);
    let client = silent_client(&market, &serving);
    until_asked(&serving).await;
    crate::market::signal(serving.id(), "TERM");
    let begun = Instant::now();
    let code = loop {
        if let Some(code) = serving.ended() {
            break code;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "it did not end");
        std::thread::yield_now();
    };
    assert_eq!(code, 0);
    drop(client);
}

#[tokio::test]
async fn a_second_termination_signal_ends_the_server_at_once() {
    let market = Market::new(Kind::Noise, 900, 10);
    market.ok(&["run", "pipeline.toml"]);
    let mut serving = market.serve(&[]);
    let client = silent_client(&market, &serving);
    until_asked(&serving).await;
    let begun = Instant::now();
    // Signals that come close together are one.
    let code = loop {
        crate::market::signal(serving.id(), "TERM");
        if let Some(code) = serving.ended() {
            break code;
        }
        assert!(begun.elapsed() < Duration::from_secs(8), "only its patience ended it");
    };
    assert_eq!(code, 143);
    drop(client);
}

#[test]
fn a_signal_ends_the_server_even_while_it_runs_a_pipeline() {
    let market = Market::new(Kind::Noise, 900, 6);
    market.ok(&["run", "pipeline.toml"]);
    let slow = market.read("pipeline.toml")
        + "\n[[models]]\nkind = \"gradient_boosting\"\nrounds = 20000\n";
    market.write("slow.toml", &slow.replace("seeded-daily", "seeded-slow"));
    let serving = market.serve(&[]);
    let client = market.command(&["run", "slow.toml"]).spawn().unwrap();
    let begun = Instant::now();
    while !market.file(".foretell/lake/raw/seeded-slow").exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "the run did not begin");
        std::thread::yield_now();
    }
    crate::market::signal(serving.id(), "TERM");
    let output = client.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "the run was cancelled");
    let begun = Instant::now();
    while market.file(".foretell/owner.json").exists() {
        assert!(begun.elapsed() < Duration::from_secs(20), "the server did not end");
        std::thread::yield_now();
    }
}

/// Candles of two seconds that end now, as CSV, with the last `hold_back` left out.
fn recent(hold_back: usize) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let last = now.as_secs() as i64 / 2 * 2 - 2;
    let market = crate::market::candles(Kind::Noise, 900, 21);
    let mut text = String::from("time,open,high,low,close,volume\n");
    for (i, line) in market.lines().skip(1).take(900 - hold_back).enumerate() {
        let (_, values) = line.split_once(',').expect("a line of cells");
        text.push_str(&format!("{},{values}\n", last - 2 * (899 - i as i64)));
    }
    text
}

#[tokio::test]
async fn a_live_pipeline_forecasts_when_a_row_comes_in_and_not_when_it_is_read() {
    let market = Market::new(Kind::Noise, 10, 7);
    let live = market
        .read("pipeline.toml")
        .replace("end-of-data", "now")
        .replace("interval = \"1d\"", "interval = \"2s\"")
        .replace("\"7d\"", "\"14s\"")
        .replace("horizon = \"1d\"", "horizon = \"2s\"")
        .replace("\"400d\"", "\"800s\"")
        .replace("\"30d\"", "\"100s\"")
        + "\n[serve]\ntime_to_live = \"1h\"\n";
    market.write("pipeline.toml", &live);
    let all = recent(0);
    let part: Vec<&str> = all.lines().take(880).collect();
    market.write("candles.csv", &(part.join("\n") + "\n"));
    let first = market.json(&["run", "pipeline.toml"])["forecast"].clone();
    // The rows are there before anyone asks; the server takes them in by itself.
    market.write("candles.csv", &all);
    let serving = market.serve(&[]);
    let begun = Instant::now();
    let second = loop {
        let (_, forecast) = get(&serving, "/api/v1/forecasts/AAA-USD").await;
        if forecast["id"] != first["id"] {
            break forecast;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "no forecast was made");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(second["as_of"].as_str() > first["as_of"].as_str());
    let made = |runs: &serde_json::Value| {
        runs.as_array().unwrap().iter().filter(|r| r["kind"] == "advance").count()
    };
    let (_, runs) = get(&serving, "/api/v1/runs").await;
    assert_eq!(made(&runs), 1, "reads made no further run: {runs}");
}
