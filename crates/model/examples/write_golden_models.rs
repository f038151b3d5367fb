//! Writes one small stored model per kind, with what it must answer, for the test that
//! later versions of this program still read them: `tests/data/models/v1-<kind>.json`, or `.safetensors`.
//! Run once per format version and new kind, never to make a failing test pass:
//! `cargo run --release -p foretell-model --example write_golden_models -- tests/data/models KIND…`.

#![allow(clippy::disallowed_methods, reason = "it writes the golden files")]

use std::error::Error;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use foretell_model::conformance::planted_for;
use foretell_model::{EstimatorSpec, FitContext, SAVED_MODEL_VERSION, SavedModel};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("name the folder to write to")?);
    let small = [
        r#"{"kind":"random_walk"}"#,
        r#"{"kind":"drift"}"#,
        r#"{"kind":"seasonal_naive"}"#,
        r#"{"kind":"historical_mean"}"#,
        r#"{"kind":"ewma_volatility"}"#,
        r#"{"kind":"ridge","alpha":2.0,"volatility_scaled":true}"#,
        r#"{"kind":"random_forest","trees":3,"depth":4,"min_split":20,"min_leaf":10}"#,
        r#"{"kind":"gradient_boosting","rounds":3,"depth":2,"min_child_weight":5.0}"#,
        r#"{"kind":"lstm","units":[3,2],"dropout":0.1,"epochs":3}"#,
        r#"{"kind":"gru","units":[3],"activation":"relu","epochs":3}"#,
        r#"{"kind":"mlp","units":[4],"objective":"squared","epochs":3}"#,
        r#"{"kind":"mlp","units":[4],"objective":"classes","classes":3,"epochs":3}"#,
        r#"{"kind":"dlinear","kernel":3,"epochs":3}"#,
        r#"{"kind":"theta"}"#,
        r#"{"kind":"ets","trend":"additive"}"#,
        r#"{"kind":"arima","order":[1,1,1]}"#,
        r#"{"kind":"garch","distribution":"student_t"}"#,
        r#"{"kind":"har"}"#,
        r#"{"kind":"mean","members":[{"kind":"ridge"},{"kind":"historical_mean"}]}"#,
        r#"{"kind":"stacking","inner_folds":2,"members":[{"kind":"ridge"},{"kind":"drift"}]}"#,
    ];
    let stop = AtomicBool::new(false);
    let context = FitContext {
        seed: 7,
        threads: 1,
        stop: &stop,
        progress: &(),
        checkpoints: None,
        accelerator: None,
    };
    let kinds: Vec<String> = std::env::args().skip(2).collect();
    for json in small {
        let spec: EstimatorSpec = serde_json::from_str(json)?;
        let label = match json.contains("classes") {
            true => format!("{}-classes", spec.kind()),
            false => spec.kind().to_owned(),
        };
        if !kinds.contains(&label) {
            continue;
        }
        let (train, test) = (planted_for(&spec, 150, 1), planted_for(&spec, 5, 2));
        let fitted = spec.build()?.fit(&train, &context)?;
        let saved = SavedModel::new(&*fitted, &spec, &train, context.seed, "golden");
        let name = format!("v{SAVED_MODEL_VERSION}-{label}");
        std::fs::write(folder.join(format!("{name}.{}", saved.extension())), saved.to_bytes())?;
        let answer = fitted.predict_dataset(&test)?;
        let text = serde_json::to_string(answer.as_slice())?;
        std::fs::write(folder.join(format!("{name}.answer.json")), text + "\n")?;
    }
    Ok(())
}
