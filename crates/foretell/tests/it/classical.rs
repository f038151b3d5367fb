//! Classical models from the pipeline file to a served, verified forecast.

use std::fmt::Write as _;

use foretell_market::Timestamp;
use foretell_testkit::{normal, rng};

use crate::market::{Kind, Market};

/// Daily candles from 2008-01-01 whose variance follows a GARCH(1,1) that forgets fast.
fn clustered(rows: usize, seed: u64) -> String {
    let mut rng = rng(seed);
    let mut text = String::from("time,open,high,low,close,volume\n");
    let start = Timestamp::from_secs(1_199_145_600);
    let (base, alpha, beta) = (1e-4f64, 0.35, 0.4);
    let (mut price, mut variance) = (100.0f64, base);
    for i in 0..rows {
        let change = variance.sqrt() * normal(&mut rng);
        let (open, close) = (price, price * change.exp());
        let (high, low) = (open.max(close) * 1.001, open.min(close) * 0.999);
        let day = start.plus_secs(i as i64 * 86_400).date_string();
        let _ = writeln!(text, "{day},{open:.6},{high:.6},{low:.6},{close:.6},10.0");
        (price, variance) =
            (close, base * (1.0 - alpha - beta) + alpha * change * change + beta * variance);
    }
    text
}

/// The seeded market's pipeline with these kinds behind its own.
fn with(market: &Market, kinds: &[&str]) {
    let mut text = market.read("pipeline.toml");
    kinds.iter().for_each(|kind| text.push_str(&format!("\n[[models]]\nkind = \"{kind}\"\n")));
    market.write("pipeline.toml", &text);
}

#[test]
fn a_planted_garch_serves_its_own_intervals_around_the_last_price() {
    let market = Market::new(Kind::Noise, 10, 1);
    market.write("candles.csv", &clustered(5_000, 31));
    let plain = market.read("pipeline.toml");
    with(&market, &["ewma_volatility", "garch", "har"]);
    let words = market.ok(&["run", "pipeline.toml"]);
    // The skill stands behind the interval.
    let line = words.lines().find(|l| l.contains("✔ forecast")).unwrap();
    assert!(line.contains("(volatility: garch, skill "), "{line}");
    let forecast = market.json(&["forecast", "AAA-USD"]);
    let spread = &forecast["skill"]["spread"];
    assert_eq!((&spread["recipe"], &spread["better"]), (&"garch".into(), &true.into()));
    assert_eq!(forecast["skill"]["verdict"], "no better than a random walk");
    let last = market.read("candles.csv");
    let last: f64 = last.lines().last().unwrap().split(',').nth(4).unwrap().parse().unwrap();
    assert_eq!(forecast["point"].as_f64().unwrap(), last);
    // Both proofs hold, after the models of the file have changed too.
    let id = forecast["id"].as_str().unwrap().to_owned();
    assert_eq!(market.json(&["verify", &id])["matches"], true);
    market.write("pipeline.toml", &plain);
    with(&market, &["har"]);
    let other = market.json(&["run", "pipeline.toml"]);
    assert_eq!(market.json(&["verify", &id])["matches"], true);
    let proof = market.json(&["reproduce", other["run"].as_str().unwrap()]);
    assert_eq!(proof["matches"], true, "{proof}");
    // Only those of the file are fitted, and nothing of the future moves their rows.
    let page = market.read(&format!(".foretell/{}", other["report"].as_str().unwrap()));
    assert!(page.contains("p of HAR against it") && !page.contains("p of GARCH against it"));
    let audit = market.ok(&["audit", "pipeline.toml"]);
    assert!(audit.contains("none moved"), "{audit}");
}

#[test]
fn settings_of_classical_models_are_read_and_refused_in_the_file() {
    let market = Market::new(Kind::Noise, 700, 32);
    let text = market.read("pipeline.toml");
    let models = "\n[[models]]\nkind = \"arima\"\norder = [1, 1, 1]\n\n[[models]]\nkind = \"ets\"\n\
                  trend = \"damped\"\n\n[[models]]\nkind = \"garch\"\n\
                  distribution = \"student_t\"\n\n[[models]]\nkind = \"har\"\nweighted = false\n";
    market.write("pipeline.toml", &format!("{text}{models}"));
    let report = market.json(&["run", "pipeline.toml"]);
    let names: Vec<&str> =
        report["table"].as_array().unwrap().iter().filter_map(|l| l["name"].as_str()).collect();
    assert_eq!(names[3..], ["arima", "ets", "garch", "har"]);
    assert_eq!(report["champion"], "random walk", "nothing was planted: {}", report["reason"]);
    for (wrong, says) in [
        ("trend = \"dampened\"", "did you mean `damped`?"),
        ("order = [4, 1, 0]", "a list of whole numbers from 0 to 3"),
        ("order = [1, 2, 0]", "give [p, 1, q] with p and q from 0 to 3"),
        ("distribution = \"t\"", "one of normal, student_t"),
    ] {
        let key = wrong.split(' ').next().unwrap();
        let changed = models.lines().map(|l| if l.starts_with(key) { wrong } else { l });
        let changed = changed.collect::<Vec<_>>().join("\n");
        market.write("wrong.toml", &format!("{text}{changed}\n"));
        let out = market.run(&["check", "wrong.toml"]);
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(!out.status.success() && said.contains(says), "{wrong}: {said}");
    }
}
