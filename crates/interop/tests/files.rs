//! Files that PyTorch, scikit-learn and joblib wrote, with what these programs answer.

#![allow(clippy::disallowed_methods, reason = "tests read fixtures")]

use std::path::PathBuf;

use foretell_interop::{
    Described, Hyper, InteropError, Order, Scaler, StateDict, StateNetwork, torch_network,
};
use foretell_model::{ImportedEngine, ImportedModel, PriceWindow};
use serde_json::Value;

fn file(name: &str) -> Vec<u8> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data")).join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn json(name: &str) -> Value {
    serde_json::from_slice(&file(name)).expect("JSON")
}

fn numbers(value: &Value) -> Vec<f64> {
    serde_json::from_value(value.clone()).expect("numbers")
}

fn close(found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() < tolerance, "{found} against {expected}");
}

fn described(name: &str) -> Described {
    Described { name: name.to_owned(), price: Some("close".to_owned()), ..Default::default() }
}

fn amazon(wish: &Described) -> (ImportedModel, Option<Order>) {
    let (x, y) = (file("amazon_lstm/X_scaler.pkl"), file("amazon_lstm/y_scaler.pkl"));
    let weights = file("amazon_lstm/lstm_model.pth");
    let hyper = file("amazon_lstm/lstm_model_hyper_param.json");
    torch_network(&weights, Some(&hyper), (Some(&x), Some(&y)), wish).expect("it is read")
}

/// Computed from the stored weights by an independent forward pass.
#[test]
fn the_amazon_network_answers_its_golden_values() {
    let (model, order) = amazon(&described("amazon-lstm"));
    assert_eq!(order, Some(Order::NewestFirst), "seen from the scalers");
    assert_eq!(model.columns[0], "close");
    assert_eq!(model.columns[6], "close[-6]");
    let window = PriceWindow { length: 7, newest_first: true };
    assert_eq!(model.price_window(), Some(window));
    let engine = ImportedEngine::new(&model).unwrap();
    let up = [120.0, 121.4, 126.9, 128.0, 127.8, 129.1, 130.1];
    let down: Vec<f64> = up.iter().rev().copied().collect();
    let same = |price: f64| vec![price; 7];
    for (prices, expected) in [
        (vec![1.1, 2.2, 3.3, 4.4, 5.5, 6.6, 7.7], 1.849_174_1),
        (up.to_vec(), 119.993_57),
        (down, 134.437_45),
        (same(1.0), 1.239_81),
        (same(50.0), 50.558_19),
        (same(100.0), 99.638_55),
        (same(150.0), 155.971_74),
        (same(180.0), 158.896_07),
        (same(200.0), 159.082_08),
        (same(1000.0), 159.269_53),
    ] {
        close(engine.answer(&prices).unwrap(), expected, 1e-4);
    }
    for case in json("amazon_lstm/reference_outputs.json")["cases"].as_array().unwrap() {
        let answer = engine.answer(&numbers(&case["prices"])).unwrap();
        close(answer, case["predicted_price"].as_f64().unwrap(), 1e-4);
    }
    let back = ImportedModel::from_bytes(&model.to_bytes()).unwrap();
    assert_eq!(back, model);
    assert_eq!(back.to_bytes(), model.to_bytes());
    assert!(engine.answer(&[1.0; 6]).unwrap_err().to_string().contains("7 columns then, 6 now"));
    for bad in [f64::NAN, f64::INFINITY] {
        assert!(engine.answer(&[1.0, bad, 1.0, 1.0, 1.0, 1.0, 1.0]).is_err());
    }
}

#[test]
fn networks_of_pytorch_answer_as_there() {
    let expected = json("interop/torch.json");
    let wish = Described { window: Some(5), ..described("net") };
    let rows: Vec<Vec<f64>> = serde_json::from_value(expected["rows"].clone()).unwrap();
    for (name, path) in [("gru", "interop/gru.pt"), ("half", "interop/half.pt")] {
        let (model, order) = torch_network(&file(path), None, (None, None), &wish).unwrap();
        assert_eq!(order, None, "without scalers nothing shows it");
        assert_eq!(model.columns[4], "close", "as time goes when nothing says otherwise");
        let engine = ImportedEngine::new(&model).unwrap();
        for (row, expected) in rows.iter().zip(numbers(&expected[name])) {
            close(engine.answer(row).unwrap(), expected, 1e-6);
        }
    }
}

#[test]
fn views_and_types_of_tensors_are_read() {
    let state = StateDict::read(&file("interop/views.pt")).unwrap();
    for (name, values) in json("interop/torch.json")["views"].as_object().unwrap() {
        let tensor = state.tensor(name).unwrap_or_else(|| panic!("{name}"));
        assert_eq!(tensor.numbers, numbers(values), "{name}");
    }
    assert_eq!(state.tensor("transposed").unwrap().shape, [3, 2]);
    assert!(state.tensor("scalar").unwrap().shape.is_empty());
}

#[test]
fn what_is_no_state_dict_is_refused_with_a_remedy() {
    let error = |name: &str| StateDict::read(&file(name)).unwrap_err().to_string();
    let whole = error("interop/whole-model.pt");
    assert!(whole.contains("asks to run `__main__.Network`"), "{whole}");
    assert!(whole.contains("torch.save(model.state_dict(), path)"), "{whole}");
    let legacy = error("interop/legacy.pt");
    assert!(legacy.contains("before 1.6") && legacy.contains("save it again"), "{legacy}");
    assert!(error("interop/standard.pkl").contains("no PyTorch file"));
    assert!(error("models/v1-ridge.json").contains("no PyTorch file"));
    let state = StateDict::read(&file("interop/views.pt")).unwrap();
    let none = StateNetwork::of(&state, &Hyper::default()).unwrap_err().to_string();
    assert!(none.contains("no recurrent layer") && none.contains("ONNX"), "{none}");
    let gru = StateDict::read(&file("interop/gru.pt")).unwrap();
    let hyper = Hyper::read(br#"{"hidden_size": 5, "num_layers": 2, "other": 1}"#).unwrap();
    let other = StateNetwork::of(&gru, &hyper).unwrap_err().to_string();
    assert!(other.contains("`hidden_size` = 5, the weights 3"), "{other}");
}

#[test]
fn scalers_scale_as_scikit_learn_does() {
    let expected = json("interop/scalers.json");
    let rows: Vec<Vec<f64>> = serde_json::from_value(expected["rows"].clone()).unwrap();
    let files = [
        ("standard", "standard"),
        ("standard", "standard-2"),
        ("standard", "standard-4"),
        ("standard", "standard-5"),
        ("min-max", "min-max"),
        ("no-mean", "no-mean"),
    ];
    for (name, path) in files {
        let scaler = Scaler::read(&file(&format!("interop/{path}.pkl"))).unwrap();
        let scaled: Vec<Vec<f64>> = serde_json::from_value(expected[name].clone()).unwrap();
        for (row, expected) in rows.iter().zip(scaled) {
            for (j, expected) in expected.iter().enumerate() {
                close((row[j] - scaler.shifts[j]) / scaler.scales[j], *expected, 1e-14);
            }
        }
    }
    let error = |name: &str| Scaler::read(&file(&format!("interop/{name}.pkl"))).unwrap_err();
    let robust = error("robust").to_string();
    assert!(robust.contains("RobustScaler") && robust.contains("StandardScaler"), "{robust}");
    let compressed = error("compressed").to_string();
    assert!(compressed.contains("compress=0"), "{compressed}");
    // Written by Python from an object whose __reduce__ is os.system.
    for name in ["evil-2", "evil-4"] {
        let error = error(name);
        assert!(
            matches!(&error, InteropError::Runs { name, .. } if name == "posix.system"),
            "{error}"
        );
        assert!(error.to_string().contains("nothing was run"), "{error}");
    }
}

#[test]
fn files_that_are_cut_off_or_changed_are_refused_and_never_panic() {
    for name in ["amazon_lstm/X_scaler.pkl", "interop/standard-4.pkl", "interop/min-max.pkl"] {
        let bytes = file(name);
        for cut in 0..bytes.len() {
            assert!(Scaler::read(&bytes[..cut]).is_err(), "{name} cut at {cut}");
        }
        for at in 0..bytes.len() {
            for value in [0, 0xff, b'R', b'c', bytes[at] ^ 1] {
                let mut changed = bytes.clone();
                changed[at] = value;
                // Whatever is read, its numbers can be used.
                if let Ok(scaler) = Scaler::read(&changed) {
                    assert!(scaler.shifts.iter().all(|s| s.is_finite()));
                    assert!(scaler.scales.iter().all(|s| s.is_finite() && *s > 0.0));
                }
            }
        }
    }
    let bytes = file("interop/gru.pt");
    for cut in 0..bytes.len() {
        assert!(StateDict::read(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    // Every byte of the contents is under a checksum.
    for at in (0..bytes.len()).step_by(7) {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        if let Ok(state) = StateDict::read(&changed) {
            assert_eq!(state, StateDict::read(&bytes).unwrap(), "byte {at}");
        }
    }
}

/// A file whose bytes would grow a thousandfold is never unpacked.
#[test]
fn compressed_archives_are_refused() {
    let mut bytes = file("interop/gru.pt");
    // The method of the first file in the list at the end: 8 is deflate.
    let list = bytes.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
    bytes[list + 10] = 8;
    let error = StateDict::read(&bytes).unwrap_err().to_string();
    assert!(error.contains("compressed or encrypted"), "{error}");
    assert!(error.contains("torch.save"), "{error}");
}

#[test]
fn files_that_do_not_belong_together_are_refused() {
    let weights = file("amazon_lstm/lstm_model.pth");
    let y = file("amazon_lstm/y_scaler.pkl");
    let error = |x: Option<&[u8]>, answer: Option<&[u8]>, wish: &Described| {
        torch_network(&weights, None, (x, answer), wish).unwrap_err().to_string()
    };
    let wish = described("a");
    assert!(error(None, None, &wish).contains("--window"));
    let other = Described { window: Some(5), ..described("a") };
    let x = file("amazon_lstm/X_scaler.pkl");
    assert!(error(Some(&x), Some(&y), &other).contains("the scaler has 7 columns, the window 5"));
    assert!(error(Some(&x), Some(&x), &wish).contains("instead of one"));
    let told = Described { order: Some(Order::OldestFirst), ..described("a") };
    let (model, seen) = amazon(&told);
    assert_eq!((seen, model.columns[6].as_str()), (Some(Order::NewestFirst), "close"));
}
