//! What a run says of its champion: point and spread apart, trials counted, lock-box told.

use crate::market::{Kind, Market};

/// The seeded market's pipeline with the recipe that forecasts a spread.
fn with_volatility(market: &Market) {
    let text = market.read("pipeline.toml") + "\n[[models]]\nkind = \"ewma_volatility\"\n";
    market.write("pipeline.toml", &text);
}

#[test]
fn clustered_volatility_promotes_a_spread_and_claims_nothing_of_the_price() {
    let market = Market::new(Kind::Clustered, 4_000, 21);
    // Eleven years, which would end in the future: they begin twelve years earlier.
    let text = market.read("candles.csv");
    let (head, rows) = text.split_once('\n').unwrap();
    let earlier = |row: &str| {
        let (year, rest) = row.split_at(4);
        format!("{}{rest}", year.parse::<u32>().unwrap() - 12)
    };
    let rows: Vec<String> = rows.lines().map(earlier).collect();
    market.write("candles.csv", &format!("{head}\n{}\n", rows.join("\n")));
    with_volatility(&market);
    let report = market.json(&["run", "pipeline.toml"]);
    assert_eq!(report["champion"], "ewma volatility", "{}", report["reason"]);
    assert_eq!((&report["skilled"], &report["promoted"]), (&false.into(), &true.into()));
    assert_eq!(report["spread"]["better"], true);
    assert!(report["spread"]["qlike_skill"].as_f64().unwrap() > 0.0);
    assert_eq!(report["volatility"]["span"], "7d", "the season is the default");
    let said = "; spread by `ewma volatility`: QLIKE ";
    let claim = |text: &str| {
        assert!(text.contains("no better than a random walk (p = "), "{text}");
        assert!(text.contains(said), "{text}");
    };
    claim(report["reason"].as_str().unwrap());
    claim(&market.ok(&["forecast", "AAA-USD"]));
    let page = market.read(&format!(".foretell/{}", report["report"].as_str().unwrap()));
    claim(&page);
    assert!(page.contains("Realised variance of ") && page.contains("spans of 7d"));
    // The price is the random walk's, and the passport says so.
    let forecast = market.json(&["forecast", "AAA-USD"]);
    assert_eq!(forecast["skill"]["verdict"], "no better than a random walk");
    assert_eq!(forecast["skill"]["mae_skill"], 0.0);
    assert_eq!(forecast["skill"]["spread"], report["spread"]);
    let last = market.read("candles.csv");
    let last = last.lines().last().unwrap().split(',').nth(4).unwrap().to_owned();
    assert_eq!(forecast["point"].as_f64().unwrap(), last.parse::<f64>().unwrap());
    // Both proofs hold, and skill means the point's.
    let proof = market.json(&["verify", forecast["id"].as_str().unwrap()]);
    assert_eq!(proof["matches"], true, "{proof}");
    let proof = market.json(&["reproduce", report["run"].as_str().unwrap()]);
    assert_eq!(proof["matches"], true, "{proof}");
    assert_eq!(market.run(&["run", "pipeline.toml", "--require-skill"]).status.code(), Some(4));
    // Judged again on the same rows it keeps its place.
    let again = market.json(&["run", "pipeline.toml"]);
    assert_eq!(
        (&again["champion"], &again["promoted"]),
        (&"ewma volatility".into(), &false.into())
    );
    let words = market.ok(&["run", "pipeline.toml"]);
    claim(&words);
    // Two p-values of one champion, each with its name.
    assert!(words.contains(" (own test, uncorrected)"), "{words}");
    let head = words.lines().find(|l| l.contains("MAE bp")).unwrap();
    assert!(head.contains("QLIKE lower   p (QLIKE)"), "{head}");
    let line = words.lines().find(|l| l.starts_with(" ewma volatility")).unwrap();
    assert!(line.contains('%') && !line.contains("0.0 %"), "{line}");
    let widest = words.lines().skip_while(|l| *l != head).take(4).map(|l| l.chars().count()).max();
    assert!(widest.unwrap() <= 120, "{words}");
}

#[test]
fn constant_volatility_promotes_no_spread() {
    let market = Market::new(Kind::Noise, 900, 22);
    with_volatility(&market);
    let report = market.json(&["run", "pipeline.toml"]);
    assert_eq!((&report["champion"], &report["spread"]), (&"random walk".into(), &().into()));
}

#[test]
fn other_recipes_on_the_same_rows_raise_the_number_of_trials() {
    let market = Market::new(Kind::Noise, 900, 23);
    let first = market.json(&["run", "pipeline.toml"]);
    assert_eq!(first["overfitting"]["trials"], 3, "random walk, mean and ridge");
    assert_eq!(first["overfitting"]["recipes"], 2, "the random walk trades nothing");
    let text = market.read("pipeline.toml");
    let other = text.replace("alpha = 10.0", "alpha = 1000.0").replace("seeded-daily", "renamed");
    market.write("other.toml", &other);
    let second = market.json(&["run", "other.toml"]);
    assert_eq!(second["overfitting"]["trials"], 4, "the ridge of the first run counts");
    assert_eq!(second["overfitting"]["recipes"], 3);
    let deflated = |report: &serde_json::Value| {
        let lines = report["table"].as_array().unwrap();
        let mean = lines.iter().find(|l| l["name"] == "historical mean").unwrap();
        mean["deflated_sharpe"].as_f64().unwrap()
    };
    assert_ne!(deflated(&first), deflated(&second), "the same recipe among more trials");
    // Another seed gives recipes that draw nothing another hash, and nothing else.
    let seeded = format!("seed = 7\n{}", text.replace("seeded-daily", "seeded"));
    market.write("seeded.toml", &seeded);
    let copies = market.json(&["run", "seeded.toml"]);
    assert_eq!(copies["overfitting"], second["overfitting"], "copies are no trials");
    // What another cost was paid for cannot be compared.
    let dearer = text.replace("min_refits", "cost_bp = 9.0\nmin_refits");
    market.write("dearer.toml", &dearer.replace("seeded-daily", "dearer"));
    let apart = market.json(&["run", "dearer.toml"]);
    assert_eq!(apart["overfitting"]["recipes"], 2);
    assert_eq!(apart["overfitting"]["trials"], 4, "errors have no cost");
    let words = market.ok(&["run", "other.toml"]);
    assert!(words.contains("overfitting: PBO "), "{words}");
    let run = second["run"].as_str().unwrap();
    let metrics = market.json(&["runs", "show", run])["metrics"].clone();
    let metrics = metrics.as_array().unwrap();
    assert!(metrics.contains(&serde_json::json!(["overfitting/trials", 4.0])), "{metrics:?}");
    let page = market.read(&format!(".foretell/{}", second["report"].as_str().unwrap()));
    assert!(page.contains("probability of backtest overfitting"));
}

#[test]
fn the_rate_of_promotions_cannot_be_raised_after_a_result() {
    let market = Market::new(Kind::Noise, 900, 26);
    market.ok(&["run", "pipeline.toml"]);
    let text = market.read("pipeline.toml");
    let raised = format!("{}\n[promotion]\nalpha = 0.2\n", text.replace("seeded-daily", "raised"));
    market.write("raised.toml", &raised);
    let error = market.fails(2, &["run", "raised.toml"]);
    assert!(error.contains("`alpha` of AAA-USD 1d is registered as 0.1"), "{error}");
    assert!(error.contains("write `alpha = 0.1` into [promotion]"), "{error}");
    market.write("raised.toml", &raised.replace("0.2", "0.1"));
    market.ok(&["run", "raised.toml"]);
}

#[test]
fn what_else_was_judged_in_between_is_no_part_of_a_version() {
    let market = Market::new(Kind::Noise, 900, 27);
    let first = market.json(&["run", "pipeline.toml"]);
    let text = market.read("pipeline.toml");
    market.write("other.toml", &text.replace("alpha = 10.0", "alpha = 1000.0"));
    let versions = |report: &serde_json::Value| {
        let run = market.json(&["runs", "show", report["run"].as_str().unwrap()]);
        let params = run["params"].as_array().unwrap().clone();
        params.into_iter().find(|p| p[0] == "versions").unwrap()
    };
    let before = versions(&first);
    let other = market.json(&["run", "other.toml"]);
    let again = market.json(&["run", "pipeline.toml"]);
    let deflated = |r: &serde_json::Value| r["table"][1]["deflated_sharpe"].clone();
    assert_ne!(deflated(&first), deflated(&again), "the ledger has grown");
    assert_ne!(versions(&other), before);
    assert_eq!(versions(&again), before);
    assert_eq!(again["forecast"]["id"], first["forecast"]["id"]);
}

#[test]
fn a_champion_made_by_hand_has_to_pass_like_any_other() {
    let market = Market::new(Kind::Noise, 900, 24);
    market.ok(&["run", "pipeline.toml"]);
    let models = market.json(&["models", "list"]);
    let ridge = models.as_array().unwrap().iter().find(|m| m["recipe"] == "ridge").unwrap();
    market.ok(&["models", "promote", "seeded-daily", &ridge["version"].to_string()]);
    let report = market.json(&["run", "pipeline.toml"]);
    assert_eq!((&report["champion"], &report["promoted"]), (&"random walk".into(), &true.into()));
    let reason = report["reason"].as_str().unwrap();
    assert!(reason.contains("`ridge` was made champion by hand"), "{reason}");
}

/// The recipes whose latest version has learnt from the lock-box.
fn with_lock_box(market: &Market) -> Vec<String> {
    let models = market.json(&["models", "list"]);
    let mut seen: Vec<(String, bool)> = Vec::new();
    for model in models.as_array().expect("a list") {
        let recipe = model["recipe"].as_str().expect("a name").to_owned();
        if !seen.iter().any(|(name, _)| *name == recipe) {
            seen.push((recipe, model["includes_lock_box"] == true));
        }
    }
    let mut names: Vec<String> = seen.into_iter().filter(|(_, w)| *w).map(|(n, _)| n).collect();
    names.sort();
    names
}

#[test]
fn the_final_refit_learns_from_an_opened_lock_box_where_the_file_asks_so() {
    let market = Market::new(Kind::Noise, 900, 25);
    let plain = market.read("pipeline.toml");
    let boxed = format!(
        "{plain}\n[lock_box]\nfrom = \"2022-03-01\"\nto = \"2022-05-01\"\nrefit_includes = true\n"
    );
    market.write("pipeline.toml", &boxed);
    // Nobody has opened the box: nobody may learn from it.
    let closed = market.json(&["run", "pipeline.toml"]);
    assert_eq!(closed["refit_includes_lock_box"], serde_json::json!([]));
    assert_eq!(with_lock_box(&market), [""; 0]);
    let of = |report: &serde_json::Value| report["forecast"]["train_to"].clone();
    market.ok(&["evaluate", "pipeline.toml", "--lock-box"]);
    let opened = market.json(&["run", "pipeline.toml"]);
    let all = ["historical mean", "random walk", "ridge"];
    assert_eq!(with_lock_box(&market), all);
    assert_eq!(opened["refit_includes_lock_box"].as_array().unwrap().len(), 3);
    // What is judged is what was judged before.
    assert_eq!((&closed["dataset"], &closed["table"]), (&opened["dataset"], &opened["table"]));
    // The box and the windows that reach into it take the latest months: without them the
    // model is too old to be served.
    assert_eq!(of(&closed), "2022-03-01T00:00:00Z");
    assert!(of(&opened).as_str() > of(&closed).as_str());
    assert!(closed["forecast"]["point"].is_null() && opened["forecast"]["point"].is_number());
    let forecast = market.json(&["forecast", "AAA-USD"]);
    assert_eq!(forecast["includes_lock_box"], true);
    assert_ne!(forecast["dataset"], closed["dataset"]);
    assert!(forecast["refitted_note"].as_str().unwrap().contains("the opened lock-box included"));
    let page = market.read(&format!(".foretell/{}", opened["report"].as_str().unwrap()));
    assert!(page.contains("which have opened it, include it"), "{page}");
    assert!(market.ok(&["models", "list"]).contains("lock-box included"));
    for report in [&closed, &opened] {
        let proof = market.json(&["reproduce", report["run"].as_str().unwrap()]);
        assert_eq!(proof["matches"], true, "{proof}");
        let proof = market.json(&["verify", report["forecast"]["id"].as_str().unwrap()]);
        assert_eq!(proof["matches"], true, "{proof}");
    }
    // An edited recipe has not looked, and where the file does not ask nobody learns.
    market.write("pipeline.toml", &boxed.replace("alpha = 10.0", "alpha = 20.0"));
    let edited = market.json(&["run", "pipeline.toml"]);
    let names = serde_json::json!(["random walk", "historical mean"]);
    assert_eq!(edited["refit_includes_lock_box"], names);
    market.write("pipeline.toml", &boxed.replace("= true", "= false"));
    let without = market.json(&["run", "pipeline.toml"]);
    assert_eq!(without["refit_includes_lock_box"], serde_json::json!([]));
    let forecast = market.json(&["forecast", "AAA-USD"]);
    assert_ne!(forecast["includes_lock_box"], true);
}
