//! From prices to a forecast that can be trusted, moved, recomputed and refused.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::market::{Kind, Market, candles, signal};

#[test]
fn noise_ends_in_a_random_walk_with_intervals_and_says_so() {
    let market = Market::new(Kind::Noise, 900, 1);
    let report = market.json(&["run", "pipeline.toml"]);
    assert_eq!(report["champion"], "random walk");
    assert_eq!(report["skilled"], false);
    let words = market.ok(&["run", "pipeline.toml"]);
    assert!(words.contains("no better than a random walk (p = "), "{words}");
    assert!(words.contains("historical demo: the data ends"), "{words}");
    let forecast = market.json(&["forecast", "AAA-USD", "--horizon", "1d"]);
    assert_eq!(forecast["skill"]["verdict"], "no better than a random walk");
    let price =
        |pointer: &str| forecast.pointer(pointer).and_then(serde_json::Value::as_f64).unwrap();
    assert!(price("/interval/lower") < price("/point"));
    assert!(price("/point") < price("/interval/upper"));
    // The median of a random walk is the last close.
    let last = market.read("candles.csv");
    let last = last.lines().last().unwrap().split(',').nth(4).unwrap().to_owned();
    assert_eq!(price("/point"), last.parse::<f64>().unwrap());
    assert_eq!(market.run(&["run", "pipeline.toml", "--require-skill"]).status.code(), Some(4));
}

#[test]
fn planted_skill_is_promoted_and_every_proof_holds() {
    let market = Market::new(Kind::Reverting, 900, 2);
    let report = market.json(&["run", "pipeline.toml", "--require-skill"]);
    assert_eq!(report["champion"], "ridge");
    assert_eq!(report["promoted"], true);
    let id = report["forecast"]["id"].as_str().unwrap();
    let proof = market.json(&["verify", id]);
    assert_eq!(proof["matches"], true, "{proof}");
    let run = report["run"].as_str().unwrap();
    let proof = market.json(&["reproduce", run]);
    assert_eq!(proof["matches"], true, "{proof}");
    assert!(proof["checks"].as_array().unwrap().len() >= 5, "dataset, CPU and three models");
    let models = market.json(&["models", "list"]);
    let champion = |m: &&serde_json::Value| m["aliases"] == serde_json::json!(["champion"]);
    let models = models.as_array().unwrap();
    assert_eq!(models.iter().find(champion).unwrap()["recipe"], "ridge");
    assert_eq!(models.len(), 3, "every recipe is registered");
    let page = market.read(&format!(".foretell/{}", report["report"].as_str().unwrap()));
    for part in ["<svg", "Models against the random walk", "Calibration", "Residuals"] {
        assert!(page.contains(part), "{part}");
    }
    for part in ["<script", "src=", "href=\"http", "url(", "@import"] {
        assert!(!page.contains(part), "the page needs no network, but has {part}");
    }
}

#[test]
fn the_same_run_twice_makes_the_same_forecast_and_no_second_version() {
    let market = Market::new(Kind::Noise, 900, 3);
    let first = market.json(&["run", "pipeline.toml"]);
    let second = market.json(&["run", "pipeline.toml"]);
    assert_eq!(first["dataset"], second["dataset"]);
    assert_eq!(first["table"], second["table"]);
    assert_eq!(first["forecast"]["id"], second["forecast"]["id"]);
    assert_eq!(first["forecast"]["made_at"], second["forecast"]["made_at"]);
    assert_eq!(market.json(&["models", "list"]).as_array().unwrap().len(), 3);
    assert_eq!(market.json(&["runs", "list"]).as_array().unwrap().len(), 2);
}

#[test]
fn a_copied_data_directory_still_works() {
    let market = Market::new(Kind::Noise, 900, 4);
    let report = market.json(&["run", "pipeline.toml"]);
    let copied = std::process::Command::new("cp")
        .args(["-r", ".foretell", "elsewhere"])
        .current_dir(market.path())
        .status();
    assert!(copied.unwrap().success());
    std::fs::remove_dir_all(market.file(".foretell")).unwrap();
    let there = ["--data-dir", "elsewhere"];
    let forecast = market.json(&[&there[..], &["forecast", "AAA-USD"]].concat());
    assert_eq!(forecast["id"], report["forecast"]["id"]);
    let id = forecast["id"].as_str().unwrap();
    let proof = market.json(&[&there[..], &["verify", id]].concat());
    assert_eq!(proof["matches"], true, "{proof}");
}

#[test]
fn a_run_never_reads_the_lock_box_and_opening_it_counts_once() {
    let market = Market::new(Kind::Noise, 900, 5);
    let boxed = format!(
        "{}\n[lock_box]\nfrom = \"2022-04-01\"\nto = \"2022-06-18\"\n",
        market.read("pipeline.toml")
    );
    market.write("pipeline.toml", &boxed);
    let before = market.json(&["--data-dir", "a", "run", "pipeline.toml"]);
    // Other prices in the box, the same before it.
    let text = market.read("candles.csv");
    let other = candles(Kind::Reverting, 900, 99);
    let keep = text.lines().take_while(|l| !l.starts_with("2022-04-01"));
    let replace = other.lines().skip_while(|l| !l.starts_with("2022-04-01"));
    let mixed: Vec<&str> = keep.chain(replace).collect();
    market.write("candles.csv", &(mixed.join("\n") + "\n"));
    let mut off = boxed.clone();
    off.push_str("\n[gate]\noff = [\"max_move\"]\n");
    market.write("pipeline.toml", &off);
    let after = market.json(&["--data-dir", "b", "run", "pipeline.toml"]);
    assert_eq!(before["dataset"], after["dataset"]);
    assert_eq!(before["table"], after["table"]);
    let opened = market.json(&["--data-dir", "b", "evaluate", "pipeline.toml", "--lock-box"]);
    assert!(opened["lock_box"].as_str().unwrap().ends_with("opened 3 times"), "{opened}");
    let again = market.json(&["--data-dir", "b", "evaluate", "pipeline.toml", "--lock-box"]);
    assert_eq!(opened["table"], again["table"]);
    assert_eq!(opened["lock_box"], again["lock_box"]);
    assert!(again["reason"].as_str().unwrap().contains("its stored result is shown"));
}

#[test]
fn ctrl_c_loses_nothing_and_the_next_run_succeeds() {
    let market = Market::new(Kind::Noise, 900, 6);
    let slow = market.read("pipeline.toml")
        + "\n[[models]]\nkind = \"gradient_boosting\"\nrounds = 5000\n";
    market.write("slow.toml", &slow.replace("seeded-daily", "seeded-slow"));
    let child = market.command(&["run", "slow.toml"]).stdout(Stdio::piped()).spawn().unwrap();
    // Interrupted once the clean rows are committed, which a status line on disk tells.
    let committed = market.file(".foretell/lake/datasets");
    let begun = Instant::now();
    while !committed.exists() && begun.elapsed() < Duration::from_secs(60) {
        std::thread::yield_now();
    }
    signal(child.id(), "INT");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let runs = market.json(&["runs", "list"]);
    assert_eq!(runs[0]["status"], "cancelled", "{runs}");
    let report = market.json(&["run", "pipeline.toml"]);
    assert_eq!(report["champion"], "random walk");
}

#[test]
fn a_champion_changed_by_hand_serves_and_can_be_rolled_back() {
    let market = Market::new(Kind::Noise, 900, 7);
    market.ok(&["run", "pipeline.toml"]);
    let version = |m: &Market| m.json(&["forecast", "AAA-USD"])["model"]["version"].clone();
    let before = version(&market);
    let models = market.json(&["models", "list"]);
    let ridge = models.as_array().unwrap().iter().find(|m| m["recipe"] == "ridge").unwrap();
    let number = ridge["version"].to_string();
    market.ok(&["models", "promote", "seeded-daily", &number]);
    assert_eq!(version(&market), ridge["version"]);
    let forecast = market.json(&["forecast", "AAA-USD"]);
    assert_eq!(forecast["skill"]["verdict"], "no better than a random walk");
    market.ok(&["models", "rollback", "seeded-daily"]);
    assert_eq!(version(&market), before);
    let refused = market.fails(1, &["models", "promote", "seeded-daily", "99"]);
    assert!(refused.contains("there is no version 99 of `seeded-daily`"), "{refused}");
}

#[test]
fn new_rows_make_a_new_forecast_and_judge_the_old_one() {
    let market = Market::new(Kind::Noise, 900, 8);
    let all = market.read("candles.csv");
    let part: Vec<&str> = all.lines().take(895).collect();
    market.write("candles.csv", &(part.join("\n") + "\n"));
    let first = market.json(&["run", "pipeline.toml"]);
    let nothing = market.json(&["advance", "pipeline.toml"]);
    assert_eq!((&nothing["gained"], &nothing["forecast"]), (&0.into(), &serde_json::Value::Null));
    market.write("candles.csv", &all);
    let advance = market.json(&["advance", "pipeline.toml"]);
    assert_eq!(advance["gained"], 6);
    assert_eq!(advance["judged"], 1, "the forecast of the first run has its outcome");
    assert_ne!(advance["forecast"], first["forecast"]["id"]);
    let id = advance["forecast"].as_str().unwrap();
    assert_eq!(market.json(&["verify", id])["matches"], true);
    // The first forecast is proved from the rows as they were then.
    let id = first["forecast"]["id"].as_str().unwrap();
    assert_eq!(market.json(&["verify", id])["matches"], true);
}

#[test]
fn a_live_forecast_past_its_time_abstains() {
    let market = Market::new(Kind::Noise, 900, 9);
    let live = market.read("pipeline.toml").replace("end-of-data", "now");
    market.write("pipeline.toml", &live);
    let forecast = market.json(&["run", "pipeline.toml"])["forecast"].clone();
    assert!(forecast["point"].is_null(), "{forecast}");
    assert!(forecast["abstained"].as_str().unwrap().len() > 10);
    let words = market.ok(&["forecast", "AAA-USD"]);
    assert!(words.contains("abstains"), "{words}");
}

/// The market's candles with some rows changed or left out.
fn edit(market: &Market, change: impl Fn(&str) -> Option<String>) {
    let text = market.read("candles.csv");
    let lines: Vec<String> = text.lines().filter_map(change).collect();
    market.write("candles.csv", &(lines.join("\n") + "\n"));
}

#[test]
fn a_champion_that_keeps_its_place_keeps_its_skill_in_every_output() {
    let market = Market::new(Kind::Reverting, 960, 10);
    let all = market.read("candles.csv");
    edit(&market, |line| (line < "2022-06" || line.starts_with("time")).then(|| line.to_owned()));
    assert_eq!(market.json(&["run", "pipeline.toml"])["champion"], "ridge");
    market.write("candles.csv", &all);
    let second = market.json(&["run", "pipeline.toml", "--require-skill"]);
    assert_eq!((&second["champion"], &second["promoted"]), (&"ridge".into(), &false.into()));
    let forecast = market.json(&["forecast", "AAA-USD"]);
    assert_eq!(forecast["skill"]["verdict"], "better than a random walk");
    assert_eq!(forecast["model"]["alias"], "champion");
}

#[test]
fn an_edited_recipe_inherits_nothing_from_its_name() {
    let market = Market::new(Kind::Reverting, 900, 11);
    assert_eq!(market.json(&["run", "pipeline.toml"])["champion"], "ridge");
    let text = market.read("pipeline.toml").replace("alpha = 10.0", "alpha = 20.0");
    market.write("pipeline.toml", &text);
    let second = market.json(&["run", "pipeline.toml"]);
    assert_eq!(second["promoted"], true, "the edited recipe had to win anew: {second}");
}

#[test]
fn a_corrected_last_price_makes_another_forecast_and_both_can_be_proved() {
    let market = Market::new(Kind::Noise, 900, 12);
    let first = market.json(&["run", "pipeline.toml"]);
    let last = market.read("candles.csv").lines().last().unwrap().to_owned();
    edit(&market, |line| {
        let mut cells: Vec<String> = line.split(',').map(str::to_owned).collect();
        if line == last {
            let close: f64 = cells[4].parse().unwrap();
            cells[4] = format!("{:.6}", close * 1.0005);
            cells[2] = format!("{:.6}", close * 1.5);
        }
        Some(cells.join(","))
    });
    let second = market.json(&["run", "pipeline.toml"]);
    assert_ne!(first["forecast"]["id"], second["forecast"]["id"]);
    assert_ne!(first["forecast"]["point"], second["forecast"]["point"]);
    assert_eq!(second["forecast"]["inputs"]["late_corrections"], 1);
    for report in [&first, &second] {
        let id = report["forecast"]["id"].as_str().unwrap();
        let proof = market.json(&["verify", id]);
        assert_eq!(proof["matches"], true, "{proof}");
    }
    // Without a change there is no third forecast.
    let third = market.json(&["run", "pipeline.toml"]);
    assert_eq!(third["forecast"]["id"], second["forecast"]["id"]);
}

#[test]
fn a_file_cannot_take_back_its_lock_box() {
    let market = Market::new(Kind::Noise, 900, 13);
    let plain = market.read("pipeline.toml");
    let boxed = format!("{plain}\n[lock_box]\nfrom = \"2022-04-01\"\nto = \"2022-06-18\"\n");
    market.write("pipeline.toml", &boxed);
    let first = market.json(&["run", "pipeline.toml"]);
    market.write("pipeline.toml", &plain);
    let second = market.json(&["run", "pipeline.toml"]);
    assert_eq!(first["dataset"], second["dataset"], "the registered box still holds");
    assert_eq!(first["lock_box"], second["lock_box"]);
    market.write("pipeline.toml", &boxed.replace("2022-04-01", "2022-05-01"));
    let error = market.fails(2, &["run", "pipeline.toml"]);
    assert!(error.contains("is registered as 2022-04-01"), "{error}");
}

#[test]
fn a_gap_in_the_last_window_abstains_and_says_why() {
    let market = Market::new(Kind::Noise, 900, 14);
    edit(&market, |line| (!line.starts_with("2022-06-10")).then(|| line.to_owned()));
    let report = market.json(&["run", "pipeline.toml"]);
    let forecast = &report["forecast"];
    assert!(forecast["point"].is_null(), "{forecast}");
    assert!(forecast["abstained"].as_str().unwrap().contains("missing intervals"), "{forecast}");
    assert_eq!(forecast["inputs"]["gaps_in_window"], 1);
    let proof = market.json(&["verify", forecast["id"].as_str().unwrap()]);
    assert_eq!(proof["matches"], true, "{proof}");
}

#[test]
fn every_run_reproduces_with_its_own_settings() {
    let market = Market::new(Kind::Noise, 900, 15);
    let text = market.read("pipeline.toml")
        + "\n[[models]]\nkind = \"gradient_boosting\"\nrounds = 10\ndepth = 2\n";
    market.write("pipeline.toml", &text);
    let first = market.json(&["run", "pipeline.toml"]);
    market.write("pipeline.toml", &format!("seed = 7\n{text}"));
    let second = market.json(&["run", "pipeline.toml"]);
    for report in [first, second] {
        let proof = market.json(&["reproduce", report["run"].as_str().unwrap()]);
        assert_eq!(proof["matches"], true, "{proof}");
    }
}

#[test]
fn another_market_under_the_same_name_is_refused_and_a_mended_file_replaces_its_rows() {
    let market = Market::new(Kind::Noise, 900, 16);
    let good = market.read("candles.csv");
    edit(&market, |line| Some(line.replace("2020-01-01,", "2002-01-01,")));
    market.ok(&["run", "pipeline.toml"]);
    market.write("candles.csv", &good);
    market.ok(&["run", "pipeline.toml"]);
    let serving = market.serve(&[]);
    let rows = market.json(&["forecast", "AAA-USD"]);
    assert_eq!(rows["inputs"]["gaps_in_window"], 0);
    drop(serving);
    let other = market.read("pipeline.toml").replace("AAA-USD", "BBB-USD");
    market.write("pipeline.toml", &other);
    let error = market.fails(2, &["run", "pipeline.toml"]);
    assert!(error.contains("another `name`"), "{error}");
}

#[test]
fn the_lake_can_lie_at_a_url() {
    let market = Market::new(Kind::Noise, 900, 17);
    std::fs::create_dir(market.file("elsewhere")).unwrap();
    let url = format!("file://{}/", market.file("elsewhere").display());
    let there = ["--lake", &url];
    let report = market.json(&[&there[..], &["run", "pipeline.toml"]].concat());
    assert!(market.file("elsewhere/raw/seeded-daily/_delta_log").is_dir());
    assert!(!market.file(".foretell/lake/raw").exists());
    let id = report["forecast"]["id"].as_str().unwrap();
    let proof = market.json(&[&there[..], &["verify", id]].concat());
    assert_eq!(proof["matches"], true, "{proof}");
}

#[test]
fn rows_of_a_refused_advance_are_not_forgotten() {
    let market = Market::new(Kind::Noise, 900, 18);
    let all = market.read("candles.csv");
    edit(&market, |line| {
        (line < "2022-06-10" || line.starts_with("time")).then(|| line.to_owned())
    });
    let first = market.json(&["run", "pipeline.toml"]);
    let mut lines: Vec<String> = all.lines().map(str::to_owned).collect();
    let last = lines.len() - 1;
    let mut cells: Vec<&str> = lines[last].split(',').collect();
    cells[2] = "0.5";
    lines[last] = cells.join(",");
    market.write("candles.csv", &(lines.join("\n") + "\n"));
    market.fails(3, &["advance", "pipeline.toml"]);
    let lenient = market.read("pipeline.toml") + "\n[gate]\nwarn = [\"ohlc\"]\n";
    market.write("pipeline.toml", &lenient);
    let advance = market.json(&["advance", "pipeline.toml"]);
    assert!(advance["gained"].as_u64().unwrap() >= 7, "{advance}");
    assert_ne!(advance["forecast"], first["forecast"]["id"]);
    let again = market.json(&["advance", "pipeline.toml"]);
    assert_eq!(again["run"], serde_json::Value::Null, "there is nothing left to do");
}

#[test]
fn the_lake_holds_an_export_of_the_forecasts() {
    let market = Market::new(Kind::Noise, 900, 19);
    market.ok(&["run", "pipeline.toml"]);
    assert!(market.file(".foretell/lake/forecasts/seeded-daily/_delta_log").is_dir());
}
