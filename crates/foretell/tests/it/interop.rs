//! Models of other programs: taken in, asked, judged, exported.

use std::path::Path;

use serde_json::{Value, json};

use crate::market::{Kind, Market, Serving};

fn data(name: &str) -> String {
    format!("{}/../../tests/data/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Takes the network of the Amazon system in.
fn import_amazon(market: &Market, more: &[&str]) -> Value {
    let [weights, hyper, x, y] =
        ["lstm_model.pth", "lstm_model_hyper_param.json", "X_scaler.pkl", "y_scaler.pkl"]
            .map(|file| data(&format!("amazon_lstm/{file}")));
    let scalers = ["--hyper", &hyper, "--x-scaler", &x, "--y-scaler", &y];
    let named = ["import", "torch", &weights, "--name", "amazon-lstm"];
    market.json(&[&named[..], &scalers, more].concat())
}

const GOLDEN: &str = "120,121.4,126.9,128.0,127.8,129.1,130.1";
const REVERSED: &str = "130.1,129.1,127.8,128.0,126.9,121.4,120";

#[test]
fn the_amazon_network_is_imported_and_says_where_the_price_goes() {
    let market = Market::new(Kind::Noise, 10, 1);
    let error = market.fails(1, &["predict", "--prices", GOLDEN]);
    assert!(error.contains("no imported model") && error.contains("foretell import"), "{error}");
    let done = import_amazon(&market, &[]);
    assert_eq!((&done["newest_first"], &done["order_found"]), (&json!(true), &json!(true)));
    assert_eq!((&done["answers"], &done["columns"][6]), (&json!("price"), &json!("close[-6]")));
    // The values of the shipped network, whose first price is the newest.
    let cases = [
        (&["--prices", GOLDEN, "--newest-first"][..], "price decreases to 119.99357"),
        (&["--prices", REVERSED], "price decreases to 119.99357"),
        (&["--prices", REVERSED, "--newest-first"], "price increases to 134.43745"),
        (&["--prices", GOLDEN, "--model", "amazon-lstm"], "price increases to 134.43745"),
        (
            &["--prices", "1.1,2.2,3.3,4.4,5.5,6.6,7.7", "--newest-first"],
            "price increases to 1.84917",
        ),
        (&["--prices", "50,50,50,50,50,50,50"], "price increases to 50.55819"),
        (&["--prices", "100,100,100,100,100,100,100"], "price decreases to 99.63855"),
        (&["--prices", "1000,1000,1000,1000,1000,1000,1000"], "price decreases to 159.26953"),
    ];
    for (arguments, line) in cases {
        let said = market.ok(&[&["predict"], arguments].concat());
        let (words, price) = said.trim_end().rsplit_once(' ').unwrap();
        let (expected_words, expected) = line.rsplit_once(' ').unwrap();
        let (price, expected): (f64, f64) = (price.parse().unwrap(), expected.parse().unwrap());
        assert_eq!(words, expected_words, "{arguments:?}");
        assert!((price - expected).abs() < 1e-4, "{arguments:?}: {said}");
    }
    let predicted = market.json(&["predict", "--prices", REVERSED]);
    assert_eq!(
        (&predicted["direction"], &predicted["latest"]),
        (&json!("decreases"), &json!(120.0))
    );
    assert_eq!(predicted["hash"], done["hash"]);
    // Six, eight, words, and numbers that are no prices.
    for (prices, says) in [
        ("1,2,3,4,5,6", "Exactly 7 prices are required."),
        ("1,2,3,4,5,6,7,8", "Exactly 7 prices are required."),
        ("1,2,3,4,5,6,seven", "Prices should be a list of floats."),
        ("", "Prices should be a list of floats."),
        ("1,2,3,4,5,6,NaN", "Price 7 is NaN: prices are finite numbers above 0."),
        ("-1,2,3,4,5,6,7", "Price 1 is -1: prices are finite numbers above 0."),
        ("1,0,3,4,5,6,7", "Price 2 is 0: prices are finite numbers above 0."),
        ("1,2,3,4,5,6,inf", "Price 7 is inf: prices are finite numbers above 0."),
    ] {
        let error = market.fails(2, &["predict", "--prices", prices]);
        assert_eq!(error.trim_end(), format!("error: {says}"), "{prices}");
    }
    // Nobody is there to be asked.
    assert!(market.fails(2, &["predict"]).contains("--prices"));
    // A line on the standard input, and a model by its file.
    let file = done["file"].as_str().unwrap();
    let mut command = market.command(&["predict", "--newest-first", "--model", file]);
    std::fs::write(market.file("line.txt"), format!("{GOLDEN}\n")).unwrap();
    command.stdin(std::fs::File::open(market.file("line.txt")).unwrap());
    let said = String::from_utf8(command.output().unwrap().stdout).unwrap();
    assert!(said.starts_with("price decreases to 119.99"), "{said}");
    let error = market.fails(1, &["predict", "--prices", GOLDEN, "--model", "amazon-lsmt"]);
    assert!(error.contains("did you mean `amazon-lstm`"), "{error}");
    let error = market.fails(1, &["predict", "--prices", GOLDEN, "--model", "../amazon-lstm"]);
    assert!(error.contains("no imported model"), "{error}");
}

#[test]
fn another_model_is_not_written_over_and_a_guessed_order_is_called_so() {
    let market = Market::new(Kind::Noise, 10, 6);
    let first = import_amazon(&market, &[]);
    assert_eq!(import_amazon(&market, &[])["hash"], first["hash"], "the same one again");
    let gru = data("interop/gru.pt");
    let other = ["import", "torch", &gru, "--name", "amazon-lstm", "--window", "5"];
    let error = market.fails(2, &other);
    assert!(error.contains(first["hash"].as_str().unwrap()) && error.contains("--replace"));
    let predicted = market.json(&["predict", "--prices", GOLDEN]);
    assert_eq!(predicted["hash"], first["hash"], "nothing was written");
    let said = market.ok(&[&other[..], &["--replace"]].concat());
    assert!(said.contains("assumed: the oldest price first"), "{said}");
    let told = market.json(&[&other[..], &["--replace", "--oldest-first"]].concat());
    assert_eq!((&told["order_assumed"], &told["newest_first"]), (&json!(false), &json!(false)));
}

#[test]
fn what_would_run_something_is_refused_by_the_command() {
    let market = Market::new(Kind::Noise, 10, 2);
    let (weights, evil) = (data("amazon_lstm/lstm_model.pth"), data("interop/evil-4.pkl"));
    let error = market.fails(1, &["import", "torch", &weights, "--x-scaler", &evil]);
    assert!(error.contains("asks to run `posix.system`"), "{error}");
    assert!(error.contains("refused, nothing was run"), "{error}");
    assert!(!market.file("executed").exists() && !Path::new("executed").exists());
    let error = market.fails(1, &["import", "torch", &data("interop/whole-model.pt")]);
    assert!(error.contains("torch.save(model.state_dict(), path)"), "{error}");
    let error = market.fails(1, &["import", "torch", &weights]);
    assert!(error.contains("--window"), "{error}");
    assert!(!market.file(".foretell/imported").exists(), "nothing was written");
}

async fn post(serving: &Serving, path: &str, body: &Value) -> (u16, Value) {
    let request = reqwest::Client::new().post(format!("{}{path}", serving.url)).json(body);
    let response = request.send().await.expect("an answer");
    let status = response.status().as_u16();
    (status, response.json().await.unwrap_or_default())
}

#[tokio::test]
async fn a_server_predicts_and_refuses_as_the_command_does() {
    let market = Market::new(Kind::Noise, 10, 3);
    import_amazon(&market, &[]);
    let serving = market.serve(&[]);
    let host = serving.url.clone();
    for host in [host.clone(), format!("{host}/predict_next_price")] {
        let said = market.ok(&["predict", "--prices", GOLDEN, "--newest-first", "--host", &host]);
        // The last digit is that of 32-bit sums, whose order is the processor's.
        let price = said.trim_end().strip_prefix("price decreases to ").unwrap();
        assert!((price.parse::<f64>().unwrap() - 119.99357).abs() < 1e-4, "{said}");
    }
    for (prices, says) in [
        ("1,2,3,4,5,6", "Exactly 7 prices are required."),
        ("1,2,x", "Prices should be a list of floats."),
    ] {
        let error = market.fails(2, &["predict", "--prices", prices, "--host", &host]);
        assert!(error.contains(says), "{error}");
    }
    let same = json!({ "prices": [100, 100, 100, 100, 100, 100, 100] });
    let (status, answer) = post(&serving, "/predict_next_price", &same).await;
    assert_eq!((status, answer.as_object().unwrap().len()), (200, 1));
    assert!((answer["result"].as_f64().unwrap() - 99.63855).abs() < 1e-4, "{answer}");
    for (body, says) in [
        (json!({ "prices": [1.0, 2.0] }), "Exactly 7 prices are required."),
        (json!({ "prices": ["a", 2, 3, 4, 5, 6, 7] }), "Prices should be a list of floats."),
        (json!({}), "Prices should be a list of floats."),
        (json!({ "prices": [0, 2, 3, 4, 5, 6, 7] }), "Price 1 is 0"),
    ] {
        for path in ["/predict_next_price", "/api/v1/predict"] {
            let (status, answer) = post(&serving, path, &body).await;
            assert_eq!(status, 422, "{path} {body}: {answer}");
            assert!(answer["detail"].as_str().unwrap().starts_with(says), "{answer}");
        }
    }
    let body =
        json!({ "prices": [120, 121.4, 126.9, 128.0, 127.8, 129.1, 130.1], "newest_first": true });
    let (status, answer) = post(&serving, "/api/v1/predict", &body).await;
    assert_eq!((status, &answer["direction"]), (200, &json!("decreases")));
    assert_eq!((&answer["model"], &answer["latest"]), (&json!("amazon-lstm"), &json!(120.0)));
    let error = market.fails(1, &["predict", "--prices", GOLDEN, "--host", "http://127.0.0.1:9"]);
    assert!(error.contains("Request failed"), "{error}");
}

/// The seeded market with the imported network among its models.
fn with_imported(market: &Market) {
    let text = market.read("pipeline.toml");
    let text = text.replace("set = \"candle-base\"", "set = \"kraken-62\"\nwindow = 7");
    let text = text.replace(
        "kind = \"historical_mean\"",
        "kind = \"imported\"\nmodel = \"amazon.safetensors\"\nname = \"amazon\"",
    );
    market.write("pipeline.toml", &text);
}

#[test]
fn an_imported_model_is_judged_and_registered_and_never_promoted_on_what_it_may_know() {
    let market = Market::new(Kind::Noise, 900, 4);
    with_imported(&market);
    let error = market.fails(2, &["run", "pipeline.toml"]);
    assert!(error.contains("amazon.safetensors, which is not there"), "{error}");
    let output = market.file("amazon.safetensors").display().to_string();
    import_amazon(&market, &["--output", &output]);
    let report = market.json(&["run", "pipeline.toml"]);
    // Again from what the version itself keeps: the file may be gone.
    std::fs::remove_file(&output).unwrap();
    let proof = market.json(&["reproduce", report["run"].as_str().unwrap()]);
    assert_eq!(proof["matches"], true, "{proof}");
    assert!(proof.to_string().contains("amazon, imported model"), "{proof}");
    import_amazon(&market, &["--output", &output]);
    let names: Vec<&str> =
        report["table"].as_array().unwrap().iter().map(|l| l["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"amazon"), "{names:?}");
    let reason = report["reason"].as_str().unwrap();
    assert!(reason.contains("`amazon` was trained elsewhere and cannot be promoted"), "{reason}");
    assert!(reason.contains("what it learnt from is not known"), "{reason}");
    // It is a version like the others: shown, promoted by hand, and then it forecasts.
    let models = market.json(&["models", "list"]);
    let version = models.as_array().unwrap().iter().find(|m| m["recipe"] == "amazon").unwrap();
    assert_eq!(version["kind"], "imported");
    let number = version["version"].to_string();
    market.ok(&["models", "promote", "seeded-daily", &number]);
    let forecast = market.json(&["forecast", "AAA-USD"]);
    assert_eq!(forecast["model"]["version"].to_string(), number);
    let verified = market.json(&["verify", forecast["id"].as_str().unwrap()]);
    assert_eq!(verified["matches"], true);
    let file = market.file("net.safetensors").display().to_string();
    market.ok(&[
        "models",
        "export",
        "seeded-daily",
        &number,
        "--format",
        "safetensors",
        "--output",
        &file,
    ]);
    let bytes = std::fs::read(&file).unwrap();
    assert!(bytes.windows(18).any(|w| w == b"lstm.weight_ih_l9\""), "PyTorch's names");
    let error = market.fails(
        2,
        &["models", "export", "seeded-daily", &number, "--format", "ubj", "--output", &file],
    );
    assert!(error.contains("--format safetensors or json"), "{error}");
    // Rows after what it was trained on are no reason to bar it.
    let until = ["--trained-until", "2020-06-01"];
    import_amazon(&market, &[&["--output", &output, "--replace"], &until[..]].concat());
    let report = market.json(&["run", "pipeline.toml"]);
    let reason = report["reason"].as_str().unwrap();
    assert!(!reason.contains("trained elsewhere"), "{reason}");
    let until = ["--trained-until", "2022-06-01"];
    import_amazon(&market, &[&["--output", &output, "--replace"], &until[..]].concat());
    let evaluated = market.json(&["evaluate", "pipeline.toml"]);
    let reason = evaluated["reason"].as_str().unwrap();
    assert!(reason.contains("it learnt from rows until 2022-06-01"), "{reason}");
    // A window that is too short does not hold its columns.
    market
        .write("pipeline.toml", &market.read("pipeline.toml").replace("window = 7", "window = 5"));
    let error = market.fails(1, &["evaluate", "pipeline.toml"]);
    assert!(error.contains("reads the column `close[-5]`") && error.contains("window"), "{error}");
}

#[test]
fn retrain_judges_on_the_last_part_of_the_rows() {
    let market = Market::new(Kind::Noise, 900, 5);
    let said = market.ok(&["retrain", "pipeline.toml", "--test-size", "0.3"]);
    assert!(said.contains("judged on the last 30 %"), "{said}");
    assert!(said.contains("random walk"), "{said}");
    let report = market.json(&["runs", "list"]);
    let run = market.json(&["runs", "show", report[0]["id"].as_str().unwrap()]);
    let text = run["text"].as_str().unwrap();
    assert!(!text.contains("initial_train = \"400d\""), "{text}");
    assert!(text.contains("refit_every = \"30d\""), "{text}");
    // The shipped floor of refits holds here as well.
    let error = market.fails(2, &["retrain", "pipeline.toml", "--test-size", "0.05"]);
    assert!(error.contains("min_refits"), "{error}");
    let error = market.fails(2, &["retrain", "pipeline.toml", "--test-size", "1"]);
    assert!(error.contains("--test-size 0.2"), "{error}");
}
