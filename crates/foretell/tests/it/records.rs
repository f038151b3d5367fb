//! What is kept and shown of it: gaps, historical demos, models, runs, near ids.

use crate::market::{Kind, Market};

/// Leaves out the rows of some days, or puts all back.
fn without(market: &Market, all: &str, days: &[&str]) {
    let kept = all.lines().filter(|line| !days.iter().any(|day| line.starts_with(day)));
    market.write("candles.csv", &(kept.collect::<Vec<_>>().join("\n") + "\n"));
}

#[tokio::test]
async fn a_gap_is_a_record_from_the_run_that_saw_it_to_the_run_that_found_it_filled() {
    let market = Market::new(Kind::Noise, 900, 1);
    let all = market.read("candles.csv");
    without(&market, &all, &["2021-03-01", "2021-03-02", "2021-07-01"]);
    let first = market.json(&["run", "pipeline.toml"]);
    let gaps = market.json(&["gaps", "seeded-daily"]);
    assert_eq!(gaps.as_array().unwrap().len(), 2);
    let two_days = &gaps[0];
    assert_eq!(two_days["from"], "2021-03-01T00:00:00Z");
    assert_eq!(
        (&two_days["to"], &two_days["intervals"]),
        (&"2021-03-03T00:00:00Z".into(), &2.into())
    );
    assert_eq!((&two_days["instrument"], &two_days["interval"]), (&"AAA-USD".into(), &"1d".into()));
    assert_eq!((&two_days["first_seen_by"], &two_days["closed_by"]), (&first["run"], &().into()));
    let page = market.read(&format!(".foretell/{}", first["report"].as_str().unwrap()));
    assert!(page.contains("foretell gaps seeded-daily"), "the report names the records");
    assert!(page.contains("href=\"/api/v1/gaps/AAA-USD\""), "and links them");
    // Seen again, it is the same record.
    market.ok(&["run", "pipeline.toml"]);
    assert_eq!(market.json(&["gaps", "pipeline.toml"]), gaps);
    without(&market, &all, &["2021-07-01"]);
    let third = market.json(&["run", "pipeline.toml"]);
    let after = market.json(&["gaps"]);
    assert_eq!(after[0]["closed_by"], third["run"]);
    assert!(after[0]["closed_at"].is_string());
    assert_eq!(after[1], gaps[1], "the other is untouched");
    let open = market.json(&["gaps", "--open"]);
    assert_eq!(open, serde_json::json!([gaps[1]]));
    let words = market.ok(&["gaps"]);
    assert!(words.contains("2 × 1d") && words.contains("1 open, 1 intervals missing"), "{words}");
    let error = market.fails(1, &["gaps", "seeded-dayly"]);
    assert!(error.contains("did you mean `seeded-daily`?"), "{error}");

    let serving = market.serve(&[]);
    let get = async |path: &str| {
        let answer = reqwest::get(format!("{}{path}", serving.url)).await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json::<serde_json::Value>().await.unwrap())
    };
    assert_eq!(get("/api/v1/gaps/AAA-USD").await, (200, after.clone()));
    assert_eq!(get("/api/v1/gaps/AAA-USD?open=true").await, (200, open));
    assert_eq!(get("/api/v1/gaps?limit=1").await, (200, serde_json::json!([after[1]])));
    assert_eq!(get("/api/v1/gaps/ZZZ-USD").await.0, 404);
    assert_eq!(get("/api/v1/gaps/AAA-USD?limit=0").await.0, 400);
    let (_, openapi) = get("/api/openapi.json").await;
    assert!(openapi["paths"].get("/api/v1/gaps/{instrument}").is_some());
    assert_eq!(market.json(&["gaps"]), after, "the same through the API");
}

#[tokio::test]
async fn a_historical_demo_is_called_one_wherever_models_and_runs_are_shown() {
    let market = Market::new(Kind::Noise, 900, 2);
    let report = market.json(&["run", "pipeline.toml"]);
    let end = &report["historical_demo"];
    assert_eq!(end, "2022-06-19T00:00:00Z");
    let run = report["run"].as_str().unwrap();
    let lines = |words: String| words.lines().filter(|l| l.contains("historical demo")).count();
    let shown: [&[&str]; 4] = [
        &["models", "list"],
        &["models", "show", "seeded-daily"],
        &["runs", "list"],
        &["runs", "show", run],
    ];
    for asked in shown {
        let words = market.ok(asked);
        assert!(lines(words.clone()) >= 1, "{asked:?}: {words}");
        assert!(words.contains("ends 2022-06-19 00:00 UTC"), "{asked:?}: {words}");
        let json = market.json(asked);
        let one = if json.is_array() { &json[0] } else { &json };
        assert_eq!(&one["historical_demo"], end, "{asked:?}");
    }
    let serving = market.serve(&[]);
    for path in ["models", "runs"] {
        let answer = reqwest::get(format!("{}/api/v1/{path}", serving.url)).await.unwrap();
        let json: serde_json::Value = answer.json().await.unwrap();
        assert_eq!(&json[0]["historical_demo"], end, "{path}");
    }
    drop(serving);
    let live = market.read("pipeline.toml").replace("end-of-data", "now");
    let live = live.replace("seeded-daily", "live-daily") + "\n[gate]\noff = [\"max_staleness\"]\n";
    market.write("live.toml", &live);
    market.ok(&["run", "live.toml"]);
    assert_eq!(market.json(&["runs", "list"])[0]["historical_demo"], serde_json::Value::Null);
    let model = market.json(&["models", "show", "live-daily"]);
    assert_eq!(model["historical_demo"], serde_json::Value::Null);
}

#[test]
fn a_run_and_a_model_are_shown_with_what_people_look_for() {
    let market = Market::new(Kind::Reverting, 900, 3);
    let report = market.json(&["run", "pipeline.toml"]);
    let run = report["run"].as_str().unwrap();
    // The beginning of an id stands for it, in either case.
    let shown = market.json(&["runs", "show", &run[..20].to_lowercase()]);
    assert_eq!(shown["id"], run);
    assert_eq!((&shown["kind"], &shown["file"]), (&"run".into(), &"pipeline.toml".into()));
    let steps = shown["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 8);
    assert!(steps.iter().all(|s| s["status"] == "succeeded"));
    assert_eq!(shown["artifacts"][0]["place"], report["report"]);
    let model = market.json(&["models", "show", "seeded-daily"]);
    assert_eq!((&model["recipe"], &model["passed"]), (&"ridge".into(), &true.into()));
    assert_eq!(model["aliases"], serde_json::json!(["champion"]));
    assert_eq!(model["spec"]["kind"], "ridge");
    let line = report["table"].as_array().unwrap().iter().find(|l| l["name"] == "ridge");
    assert_eq!(&model["evaluation"], line.unwrap());
    assert_eq!(model["champions"][0]["version"], model["version"]);
    let first = market.json(&["models", "show", "seeded-daily", "1"]);
    assert_eq!(first["version"], 1);
    for (asked, words) in [
        (&["models", "show", "seeded-dayly"][..], "did you mean `seeded-daily`?"),
        (&["models", "promote", "seeded-dayly", "1"], "did you mean `seeded-daily`?"),
        (&["models", "promote", "seeded-daily", "9"], "it has the versions 1 to 3"),
        (&["models", "rollback", "seeded-dayly"], "did you mean `seeded-daily`?"),
        (&["runs", "show", "01AAAA"], "there is no run `01AAAA`"),
        (&["report", "none"], "there is no run `none`"),
    ] {
        let error = market.fails(1, asked);
        assert!(error.contains(words), "{asked:?}: {error}");
    }
    let mut wrong = run.to_owned();
    wrong.replace_range(5..6, "!");
    let error = market.fails(1, &["runs", "show", &wrong]);
    assert!(error.contains(&format!("did you mean `{run}`?")), "{error}");
    let id = report["forecast"]["id"].as_str().unwrap();
    assert_eq!(market.json(&["verify", &id[..12]])["matches"], true);
}

#[test]
fn the_forecast_that_knows_the_correction_is_served_after_a_restart() {
    let market = Market::new(Kind::Noise, 900, 61);
    market.ok(&["run", "pipeline.toml"]);
    let all = market.read("candles.csv");
    let (before, last) = all.trim_end().rsplit_once('\n').expect("lines");
    let cells: Vec<&str> = last.split(',').collect();
    // Ids are hashes: served by id, one of the four would be right by chance.
    for nudge in [1.001, 1.002, 1.003] {
        let close = cells[4].parse::<f64>().unwrap() * nudge;
        let high = cells[2].parse::<f64>().unwrap() * 1.01;
        let (day, open, low, volume) = (cells[0], cells[1], cells[3], cells[5]);
        market.write(
            "candles.csv",
            &format!("{before}\n{day},{open},{high:.6},{low},{close:.6},{volume}\n"),
        );
        let corrected = market.json(&["advance", "pipeline.toml"])["forecast"].clone();
        // Every command opens the directory anew.
        assert_eq!(market.json(&["forecast", "AAA-USD"])["id"], corrected);
    }
}
