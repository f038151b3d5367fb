//! Networks as estimators: windows, scaling, interruption, and training that fails.

mod tables;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use foretell_model::{
    Checkpoints, EstimatorSpec, FitContext, FitProgress, MEDIAN, ModelError, ModelState,
};
use foretell_panel::{Dataset, Matrix};
use tables::{dataset, fit, spec};

const KINDS: [&str; 4] = ["lstm", "gru", "mlp", "dlinear"];

/// Rows of `y[t] = f(x[t-2])` as a window of three steps of `x` and of a constant.
fn windows(rows: usize) -> Dataset {
    let mut state = 7u64;
    let mut draw = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as f64 / f64::from(1u32 << 31) * 2.0 - 1.0
    };
    let x: Vec<f64> = (0..rows + 2).map(|_| 5.0 + draw()).collect();
    let features = (0..rows).flat_map(|i| [x[i], 3.0, x[i + 1], 3.0, x[i + 2], 3.0]).collect();
    let labels: Vec<f64> = (0..rows).map(|i| 0.01 * (x[i] - 5.0) + 0.0005 * draw()).collect();
    let mut data = dataset(features, &labels, &[], vec![100.0; rows]);
    data.feature_names = ["x[-2]", "c[-2]", "x[-1]", "c[-1]", "x", "c"].map(str::to_owned).to_vec();
    data
}

fn median_error(model: &dyn foretell_model::Fitted, data: &Dataset) -> f64 {
    let answers = model.predict_dataset(data).expect("the columns are those of the training");
    let error = |i: usize| (answers.row(i)[MEDIAN] - data.labels[i].value).abs();
    (0..data.len()).map(error).sum::<f64>() / data.len() as f64
}

#[test]
fn the_oldest_step_of_a_window_is_found_where_it_decides() {
    let all = windows(900);
    let (train, test) = (all.slice(0..700), all.slice(700..900));
    let zero = test.labels.iter().map(|l| l.value.abs()).sum::<f64>() / test.len() as f64;
    for kind in KINDS {
        let json = format!(r#"{{"kind":"{kind}","learning_rate":0.01,"batch":16,"epochs":60}}"#);
        let model = fit(&spec(&json), &train, 1).unwrap();
        let error = median_error(&*model, &test);
        assert!(error < 0.35 * zero, "{kind}: {error} against {zero} of a forecast of zero");
    }
}

/// The answer is `centre + spread × output`, so that labels on another scale give the same
/// answers on that scale.
#[test]
fn scaling_goes_in_and_comes_out_again() {
    let data = windows(300);
    let mut scaled = data.clone();
    scaled.features =
        Matrix::new(data.len(), 6, data.features.as_slice().iter().map(|v| v * 1024.0).collect());
    scaled.labels.iter_mut().for_each(|l| l.value *= 8.0);
    for kind in KINDS {
        let spec = spec(&format!(r#"{{"kind":"{kind}","epochs":3}}"#));
        let (one, other) = (fit(&spec, &data, 1).unwrap(), fit(&spec, &scaled, 1).unwrap());
        let answers = one.predict_dataset(&data).unwrap();
        let larger = other.predict_dataset(&scaled).unwrap();
        // Powers of two leave every bit of the scaled numbers as it was.
        for (a, b) in answers.as_slice().iter().zip(larger.as_slice()) {
            assert!((a * 8.0 - b).abs() <= 1e-15 + 1e-12 * b.abs(), "{kind}: {a} and {b}");
        }
    }
}

#[test]
fn rows_that_end_after_validation_begins_are_learnt_from_by_nobody() {
    let mut data = windows(200);
    // The last training row before the validation part overlaps it.
    let hour = foretell_market::Interval::HOUR;
    data.labels[169].end = data.labels[171].end + hour;
    let mut other = data.clone();
    other.labels[169].value = 0.5;
    let spec = spec(r#"{"kind":"mlp","epochs":3,"validation":0.15}"#);
    let models = [data, other].map(|d| fit(&spec, &d, 1).unwrap().state());
    assert!(models[0] == models[1], "the label of a purged row moved something");
}

#[test]
fn a_device_that_nobody_brought_is_refused_with_the_remedy() {
    let data = windows(300);
    for kind in KINDS {
        let spec = spec(&format!(r#"{{"kind":"{kind}","device":"wgpu"}}"#));
        let Err(refused) = fit(&spec, &data, 1) else { panic!("{kind} learnt on nothing") };
        let text = refused.to_string();
        assert!(matches!(refused, ModelError::Device { .. }), "{text}");
        assert!(text.contains("wgpu") && text.contains("--features gpu"), "{text}");
    }
}

/// Recipes of before there was a choice keep their ids, and another device is another recipe.
#[test]
fn only_a_device_other_than_the_processor_is_written_down() {
    for kind in KINDS {
        let text = |more: &str| {
            let spec = spec(&format!(r#"{{"kind":"{kind}"{more}}}"#));
            serde_json::to_string(&spec).unwrap()
        };
        assert_eq!(text(""), text(r#","device":"cpu""#));
        assert!(!text("").contains("device"), "{kind}");
        assert!(text(r#","device":"cuda""#).contains(r#""device":"cuda""#), "{kind}");
    }
}

#[derive(Default)]
struct Kept(Mutex<BTreeMap<String, Vec<u8>>>);

impl Checkpoints for Kept {
    fn load(&self, key: &str) -> Option<Vec<u8>> {
        self.0.lock().ok()?.get(key).cloned()
    }

    fn save(&self, key: &str, state: &dyn Fn() -> Vec<u8>) {
        self.0.lock().expect("nobody panics while it is held").insert(key.to_owned(), state());
    }
}

/// Raises the flag after some epochs, and counts them.
struct StopAfter<'a> {
    epochs: u64,
    seen: Mutex<Vec<u64>>,
    stop: &'a AtomicBool,
}

impl FitProgress for StopAfter<'_> {
    fn steps(&self, _done: u64, _total: u64) {}

    fn epoch(&self, number: u64, total: u64, loss: f64, _validation: f64) {
        assert!(number <= total && loss.is_finite());
        let mut seen = self.seen.lock().expect("nobody panics while it is held");
        seen.push(number);
        if number == self.epochs {
            self.stop.store(true, Ordering::Relaxed);
        }
    }
}

#[test]
fn a_fit_that_was_interrupted_goes_on_and_ends_in_the_same_model() {
    let data = windows(300);
    for kind in KINDS {
        let spec = spec(&format!(r#"{{"kind":"{kind}","epochs":9,"patience":0}}"#));
        let expected = fit(&spec, &data, 4).unwrap().state();
        let kept = Kept::default();
        let run = |after: u64| {
            let stop = AtomicBool::new(false);
            let listener = StopAfter { epochs: after, seen: Mutex::default(), stop: &stop };
            let context = FitContext {
                seed: 4,
                threads: 1,
                stop: &stop,
                progress: &listener,
                checkpoints: Some(&kept),
                accelerator: None,
            };
            let model = spec.build().unwrap().fit(&data, &context);
            (model.map(|m| m.state()), listener.seen.into_inner().unwrap())
        };
        let (stopped, seen) = run(4);
        assert!(matches!(stopped, Err(ModelError::Stopped { done: 4, total: 9 })), "{kind}");
        assert_eq!(seen, [1, 2, 3, 4]);
        let (model, seen) = run(u64::MAX);
        assert_eq!(seen, [5, 6, 7, 8, 9], "{kind}: it goes on where it was");
        assert!(model.unwrap() == expected, "{kind}: the same model");
        // Another seed is another fit and finds nothing to go on from.
        assert_eq!(kept.0.into_inner().unwrap().len(), 1);
    }
}

/// Behind ReLU a state grows without bound over a long window, and steps of 1 take it there.
#[test]
fn training_that_diverges_is_stopped_with_a_remedy() {
    let short = windows(340);
    let x = |i: usize| short.features.row(i)[0];
    let features = (0..300).flat_map(|i| (0..40).map(move |t| i + t)).map(x).collect();
    let labels: Vec<f64> = short.labels[..300].iter().map(|l| l.value).collect();
    let mut data = dataset(features, &labels, &[], vec![100.0; 300]);
    let name = |t: usize| if t == 39 { "x".to_owned() } else { format!("x[-{}]", 39 - t) };
    data.feature_names = (0..40).map(name).collect();
    let spec = spec(
        r#"{"kind":"lstm","units":[8],"activation":"relu","objective":"squared","batch":16,
            "learning_rate":1.0,"clip":0.0,"epochs":200,"patience":0,"plateau":0}"#,
    );
    let error = fit(&spec, &data, 1).map(|_| ()).expect_err("it diverges");
    assert!(matches!(error, ModelError::Numerical { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("diverged in epoch"), "{text}");
    assert!(text.contains("lower `learning_rate`"), "{text}");
}

#[test]
fn columns_that_are_no_window_are_refused() {
    let mut data = windows(150);
    data.feature_names.swap(0, 2);
    for kind in ["lstm", "gru", "dlinear"] {
        let error = fit(&EstimatorSpec::named(kind).unwrap(), &data, 1).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("breaks the window of 3 steps"), "{kind}: {text}");
        assert!(text.contains("`window` in [features]"), "{kind}: {text}");
    }
}

#[test]
fn a_constant_column_says_nothing_even_when_it_moves_later() {
    let train = windows(300);
    let mut moved = train.slice(0..1);
    let values: Vec<f64> =
        train.features.row(0).iter().map(|v| if *v == 3.0 { 900.0 } else { *v }).collect();
    moved.features = Matrix::new(1, 6, values);
    for kind in KINDS {
        let spec = spec(&format!(r#"{{"kind":"{kind}","epochs":4}}"#));
        let model = fit(&spec, &train, 1).unwrap();
        let before = model.predict_dataset(&train.slice(0..1)).unwrap();
        let after = model.predict_dataset(&moved).unwrap();
        assert_eq!(before.as_slice(), after.as_slice(), "{kind}");
    }
}

#[test]
fn fewer_rows_than_a_network_learns_from_are_refused() {
    let data = windows(60);
    for kind in KINDS {
        let error = fit(&EstimatorSpec::named(kind).unwrap(), &data, 1).unwrap_err();
        assert!(matches!(error, ModelError::TooFewRows { need: 100, have: 60, .. }), "{kind}");
    }
}

/// A state is read by whoever holds it: what it says is what it answers by.
#[test]
fn the_state_names_its_windows_and_scalers() {
    let data = windows(300);
    let model = fit(&spec(r#"{"kind":"gru","epochs":2,"validation":0.2}"#), &data, 1).unwrap();
    let ModelState::Neural(state) = model.state() else {
        panic!("a network has a network's state")
    };
    assert_eq!((state.window, state.architecture.inputs, state.epochs), (3, 2, 2));
    // Mean and deviation of the last step over the rows that were learnt from.
    let learnt: Vec<f64> = (0..240).map(|i| data.features.row(i)[4]).collect();
    let mean = learnt.iter().sum::<f64>() / 240.0;
    let variance = learnt.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 240.0;
    assert!((state.means[0] - mean).abs() < 1e-12);
    assert!((state.scales[0] - variance.sqrt()).abs() < 1e-12);
    assert_eq!((state.means[1], state.scales[1]), (3.0, 1.0), "a constant column keeps its scale");
}
