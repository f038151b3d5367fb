//! Up or down: networks that learn classes, and every recipe judged as a classifier.

use crate::market::{Kind, Market};

#[test]
fn classes_are_learnt_judged_shown_and_reproduced() {
    let market = Market::new(Kind::Reverting, 900, 5);
    let more = r#"
[[models]]
name = "classes"
kind = "mlp"
objective = "classes"
units = [8]
learning_rate = 0.01
epochs = 20
"#;
    let text = market.read("pipeline.toml") + more;
    market.write("pipeline.toml", &text);
    let report = market.json(&["run", "pipeline.toml"]);
    let lines = report["table"].as_array().unwrap();
    let judged = |name: &str| {
        let line = lines.iter().find(|l| l["name"] == name);
        line.unwrap_or_else(|| panic!("no line of {name}"))["classifier"].clone()
    };
    let (walk, learnt) = (judged("random walk"), judged("classes"));
    assert!(walk["mcc"].is_null() && walk["p_holm"].is_null(), "it says nothing: {walk}");
    // Half of every return is taken back by the next.
    assert!(learnt["mcc"].as_f64().unwrap() > 0.1, "{learnt}");
    assert!(learnt["log_loss"].as_f64() < learnt["base_log_loss"].as_f64(), "{learnt}");
    let p = |of: &str| learnt[of].as_f64().unwrap();
    assert!(p("p_value") < 0.5 && p("p_holm") > p("p_value"), "ridge is judged too: {learnt}");
    let groups = learnt["curve"].as_array().unwrap();
    let rows: u64 = groups.iter().map(|g| g["rows"].as_u64().unwrap()).sum();
    assert_eq!(Some(rows), learnt["rows"].as_u64(), "every row is in one group");
    let page = market.read(&format!(".foretell/{}", report["report"].as_str().unwrap()));
    for part in ["Up or down", "base rate", "MCC", "How often a probability of a rise comes true"] {
        assert!(page.contains(part), "{part}");
    }
    let run = report["run"].as_str().unwrap();
    let metrics = market.json(&["runs", "show", run])["metrics"].clone();
    let kept = metrics.as_array().unwrap().iter().find(|m| m[0] == "classes/direction_log_loss");
    assert_eq!(kept.map(|m| m[1].clone()), Some(learnt["log_loss"].clone()));
    let proof = market.json(&["reproduce", run]);
    assert_eq!(proof["matches"], true, "{proof}");
    let words = market.ok(&["evaluate", "pipeline.toml"]);
    assert!(words.contains("up or down: lowest log loss "), "{words}");
    let told = market.ok(&["check", "pipeline.toml"]);
    assert!(told.contains("2 for falls and rises"), "{told}");
}

#[test]
fn classes_without_their_objective_are_refused_with_the_remedy() {
    let market = Market::new(Kind::Reverting, 100, 5);
    let text = market.read("pipeline.toml") + "\n[[models]]\nkind = \"mlp\"\nclasses = 5\n";
    market.write("pipeline.toml", &text);
    let words = market.fails(2, &["check", "pipeline.toml"]);
    assert!(words.contains("`classes` = 5 is refused: give `objective = \"classes\"`"), "{words}");
}
