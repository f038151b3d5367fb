//! The shipped live pipelines against vendors that play recorded answers, and what the
//! command line says about vendors.

use std::io::Write as _;

use serde_json::Value;

use crate::market::{Kind, Market};
use crate::vendor::{self, BINANCE_HOURS, Vendor, number};

const PIPELINES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../pipelines");

/// A shipped pipeline at a vendor of this machine, with further edits.
fn shipped(market: &Market, name: &str, vendor: &Vendor, edits: &[(&str, &str)]) -> String {
    let file = format!("{name}.toml");
    let text = std::fs::read_to_string(format!("{PIPELINES}/{file}")).expect("it is shipped");
    let addressed = text.lines().filter(|line| !line.starts_with("base_url = "));
    let mut text = addressed.collect::<Vec<_>>().join("\n");
    let here = format!("base_url = \"{}\"\nrequests_per_minute = 60000\n\n[gate]", vendor.url);
    for (from, to) in [&[("[gate]", here.as_str())], edits].concat() {
        assert!(text.contains(from), "{file} has no `{from}`");
        text = text.replace(from, to);
    }
    market.write(&file, &text);
    file
}

/// Runs the pipeline and expects a forecast of the present that is stored and served.
fn forecasts_live(market: &Market, file: &str, instrument: &str) -> Value {
    let report = market.json(&["run", file]);
    let forecast = &report["forecast"];
    assert_eq!(forecast["abstained"], Value::Null, "{forecast}");
    assert_eq!(report["historical_demo"], Value::Null);
    let made = forecast["as_of"].as_str().expect("a time");
    let hours = [vendor::now() / 3_600, vendor::now() / 3_600 - 1];
    let hours = hours.map(|h| foretell_market::Timestamp::from_secs(h * 3_600).to_string());
    assert!(hours.iter().any(|h| h == made), "{made} is none of {hours:?}");
    assert!(forecast["interval"]["lower"].as_f64() < forecast["point"].as_f64());
    assert_eq!(market.json(&["forecast", instrument])["id"], forecast["id"], "it is stored");
    let id = forecast["id"].as_str().expect("an id");
    assert_eq!(market.json(&["verify", id])["matches"], true);
    report
}

#[test]
fn the_shipped_kraken_pipeline_forecasts_the_next_hour() {
    let market = Market::new(Kind::Noise, 1, 1);
    let kraken = vendor::kraken();
    let file = shipped(&market, "kraken-btc-usd", &kraken, &[]);
    forecasts_live(&market, &file, "BTC-USD");
    let asked = &kraken.asked()[0];
    assert_eq!(asked.query(), Some("pair=XBTUSD&interval=60"));
}

#[test]
fn the_shipped_coingecko_pipeline_forecasts_the_next_hour() {
    let market = Market::new(Kind::Noise, 1, 2);
    let gecko = vendor::coingecko();
    // The recording is one month of the three that the file asks for.
    let edits = [("\"30d\"", "\"14d\""), ("\"4d\"", "\"1d\"")];
    let file = shipped(&market, "coingecko-live", &gecko, &edits);
    forecasts_live(&market, &file, "BTC-USD");
}

#[test]
fn the_shipped_binance_pipeline_goes_on_from_its_back_fill() {
    let market = Market::new(Kind::Noise, 1, 3);
    let binance = vendor::binance();
    // The recording is two months of the years that the file asks for.
    let edits = [("\"180d\"", "\"21d\""), ("\"30d\"", "\"3d\"")];
    let file = shipped(&market, "binance-btc-usdt", &binance, &edits);
    let output = market.run(&["backfill", &file]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let progress = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{progress}");
    assert!(said.contains("1,467 rows from ") && said.contains("in 2 pieces"), "{said}");
    assert!(progress.contains("rows, reached ") && progress.contains("100 %"), "{progress}");
    let pages = binance.asked().len();
    assert_eq!(pages, 2);
    forecasts_live(&market, &file, "BTC-USDT");
    // One row is asked for again, because it may have been corrected, and what is new.
    let last = binance.asked().last().cloned().expect("a request");
    let start = number(&last, "startTime").expect("a number") / 1_000;
    assert!(vendor::now() - start < 3 * 3_600, "the run fetched the history again: {last}");
    assert_eq!(binance.asked().len(), pages + 1);
    let again = market.json(&["backfill", &file]);
    assert!(again["rows"].as_u64() < Some(3) && again["anew"].is_null(), "{again}");
}

/// Hourly candles of Binance without models: only the back-fill is of interest.
fn binance_file(market: &Market, vendor: &Vendor, source: &str) {
    let text = format!(
        "name = \"filled\"\ninstrument = \"BTC-USDT\"\ninterval = \"1h\"\n\n[source]\n\
         kind = \"binance\"\nbase_url = \"{}\"\n{source}\n\n[label]\nhorizon = \"1h\"\n\n\
         [evaluation]\ninitial_train = \"20d\"\nrefit_every = \"10d\"\n",
        vendor.url
    );
    market.write("filled.toml", &text);
}

/// How many runs were recorded.
fn recorded_runs(market: &Market) -> usize {
    let runs = market.json(&["runs", "list"]);
    runs.as_array().expect("runs").len()
}

#[test]
fn another_market_under_a_pipelines_name_is_refused_before_anything_is_written() {
    let market = Market::new(Kind::Noise, 1, 4);
    let binance = vendor::binance();
    binance_file(&market, &binance, "");
    let first = market.json(&["backfill", "filled.toml"]);
    assert_eq!((&first["rows"], &first["anew"]), (&(BINANCE_HOURS - 1).into(), &Value::Null));
    let (asked, runs) = (binance.asked().len(), recorded_runs(&market));
    let place = market.read(".foretell/backfill/filled.json");
    let refused = |edits: &[(&str, &str)], is: &str| {
        binance_file(&market, &binance, "");
        let mut text = market.read("filled.toml");
        for (from, to) in edits {
            assert!(text.contains(from), "{text}");
            text = text.replace(from, to);
        }
        market.write("filled.toml", &text);
        for command in ["backfill", "run", "advance"] {
            let error = market.fails(2, &[command, "filled.toml"]);
            let expected = format!("the rows of pipeline `filled` are of Binance BTCUSDT{is}");
            assert!(error.contains(&expected), "{command}: `{expected}` is not in `{error}`");
            assert!(error.contains("another `name`") && error.contains("--data-dir"), "{error}");
        }
    };
    let other = ("[source]", "[source]\nsymbol = \"BTCFDUSD\"");
    refused(&[other], ", the file now asks for BTCFDUSD");
    let longer = ("interval = \"1h\"\n\n[source]", "interval = \"4h\"\n\n[source]");
    let label = ("horizon = \"1h\"", "horizon = \"4h\"");
    refused(&[longer, label], " every 1h, the file now asks for BTCUSDT every 4h");
    let elsewhere = ("127.0.0.1", "localhost");
    refused(&[elsewhere], " at 127.0.0.1, the file now asks for BTCUSDT at localhost");
    let kraken = ("kind = \"binance\"", "kind = \"kraken\"");
    refused(&[kraken], ", the file now asks for Kraken XBTUSDT");
    // A directory of before kept no more than the place of the back-fill.
    std::fs::remove_file(market.file(".foretell/markets/filled.json")).expect("the note");
    refused(&[other], ", the file now asks for BTCFDUSD");
    assert_eq!((binance.asked().len(), recorded_runs(&market)), (asked, runs), "nothing happened");
    assert_eq!(market.read(".foretell/backfill/filled.json"), place);
    // The file as it was goes on, and so does a directory that says nothing at all.
    binance_file(&market, &binance, "");
    assert_eq!(market.json(&["backfill", "filled.toml"])["anew"], Value::Null);
    std::fs::remove_file(market.file(".foretell/backfill/filled.json")).expect("the place");
    let again = market.json(&["backfill", "filled.toml"]);
    assert_eq!(again["rows"], BINANCE_HOURS - 1);
    market.read(".foretell/markets/filled.json");
}

#[test]
fn a_back_fill_from_another_time_begins_anew_and_says_so() {
    let market = Market::new(Kind::Noise, 1, 10);
    let binance = vendor::binance();
    let hundred = vendor::now() / 3_600 - 100;
    let from = foretell_market::Timestamp::from_secs(hundred * 3_600).to_string();
    binance_file(&market, &binance, &format!("from = \"{from}\""));
    let first = market.json(&["backfill", "filled.toml"]);
    assert!([100.into(), 101.into()].contains(&first["rows"]), "{first}");
    binance_file(&market, &binance, "from = \"2001-01-01\"");
    let output = market.run(&["backfill", "filled.toml"]);
    let warned = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{warned}");
    for part in ["is 2001-01-01 00:00 UTC", "begins anew", "stay"] {
        assert!(warned.contains(part), "`{part}` is not in `{warned}`");
    }
    // The form of the place before this version: not gone on from, and said so.
    let old = r#"{"version":1,"source":"binance","instrument":"BTC-USDT","interval":"1h",
        "next":null,"to":"2025-01-01T00:00:00Z","received":5,"done":false}"#;
    market.write(".foretell/backfill/filled.json", old);
    let again = market.json(&["backfill", "filled.toml"]);
    assert!(again["anew"].as_str().expect("a reason").contains("version 1"), "{again}");
    assert_eq!(again["rows"], BINANCE_HOURS - 1);
}

#[test]
fn a_back_fill_that_failed_goes_on_behind_its_last_piece() {
    let market = Market::new(Kind::Noise, 1, 9);
    let binance = vendor::binance();
    binance_file(&market, &binance, "");
    binance.refuse(1);
    let output = market.run(&["backfill", "filled.toml"]);
    assert_eq!(output.status.code(), Some(1));
    let rest = market.json(&["backfill", "filled.toml"]);
    assert_eq!((&rest["done"], &rest["anew"]), (&true.into(), &Value::Null));
    // A thousand came with the first piece; the bar that is forming is not taken.
    assert_eq!((&rest["rows"], &rest["pieces"]), (&(BINANCE_HOURS - 1_001).into(), &1.into()));
    let starts: Vec<_> = binance.asked().iter().map(|u| number(u, "startTime")).collect();
    assert_eq!((starts.len(), starts[1]), (3, starts[2]), "the refused piece alone is repeated");
}

#[test]
fn a_run_that_failed_goes_on_behind_its_last_piece() {
    let market = Market::new(Kind::Noise, 1, 11);
    let binance = vendor::binance();
    binance_file(&market, &binance, "");
    market.write("filled.toml", &(market.read("filled.toml") + "min_refits = 2\n"));
    binance.refuse(1);
    market.fails(1, &["run", "filled.toml"]);
    market.ok(&["run", "filled.toml"]);
    let starts: Vec<_> = binance.asked().iter().map(|u| number(u, "startTime")).collect();
    assert_eq!((starts.len(), starts[1]), (3, starts[2]), "the refused piece alone is repeated");
}

#[test]
fn a_kaggle_file_is_declared_like_any_file() {
    let market = Market::new(Kind::Noise, 1, 5);
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, text) in [
        ("readme.txt", "hello"),
        (
            "eu/prices.csv",
            "ETH;02/01/2020 01:00;1;2;0,5;9\nBTC;02/01/2020 01:00;7000;7100;6900;7050\nBTC;02/01/2020 02:00;7050;7060;7000;7010\n",
        ),
    ] {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).expect("an entry");
        zip.write_all(text.as_bytes()).expect("written");
    }
    let archive = zip.finish().expect("an archive").into_inner();
    let kaggle = Vendor::start(move |url| match url.path() {
        "/api/v1/datasets/download/someone/prices" => (200, archive.clone()),
        _ => (404, Vec::new()),
    });
    let pipeline =
        crate::market::PIPELINE.replace("AAA-USD", "BTC-USD").replace("\"1d\"", "\"1h\"").replace(
            "kind = \"file\"\npath = \"candles.csv\"",
            &format!(
                "kind = \"kaggle\"\ndataset = \"someone/prices\"\nfile = \"eu/prices.csv\"\n\
                 base_url = \"{}\"\nheader = [\"what\", \"when\", \"o\", \"h\", \"l\", \"last\"]\n\
                 columns = {{ time = \"when\", symbol = \"what\", close = \"last\" }}\n\
                 time_format = \"day-first\"\nzone = \"Europe/Paris\"\nsymbol = \"BTC\"\n\
                 time_is = \"close\"\nformat = \"csv\"",
                kaggle.url
            ),
        );
    market.write("kaggle.toml", &pipeline);
    let mut command = market.command(&["extract", "kaggle.toml", "--output", "raw.csv"]);
    let output = command.env("KAGGLE_USERNAME", "someone").env("KAGGLE_KEY", "k").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // 01:00 in Paris in winter is midnight UTC, and it is the end of its hour.
    let raw = market.read("raw.csv");
    let rows: Vec<&str> = raw.lines().skip(1).collect();
    assert_eq!(rows.len(), 2, "{raw}");
    assert!(rows[0].starts_with("BTC-USD,2020-01-01T23:00:00Z,2020-01-02T00:00:00Z"), "{raw}");
    assert!(rows[0].ends_with(",7000,7100,6900,7050"), "{raw}");
    let faulty = pipeline.replace("zone =", "zome =");
    market.write("kaggle.toml", &faulty);
    let error = market.fails(2, &["check", "kaggle.toml"]);
    assert!(error.contains("did you mean `zone`?"), "{error}");
}

#[test]
fn krakens_pairs_and_prices_are_told() {
    let market = Market::new(Kind::Noise, 1, 6);
    let kraken = vendor::kraken();
    let file = shipped(&market, "kraken-btc-usd", &kraken, &[]);
    let pairs = market.json(&["sources", "pairs", "kraken", "--base-url", &kraken.url]);
    let bitcoin = pairs.as_array().unwrap().iter().find(|p| p["pair"] == "XBTUSD").unwrap();
    assert_eq!((&bitcoin["instrument"], &bitcoin["key"]), (&"BTC-USD".into(), &"XXBTZUSD".into()));
    let table = market.ok(&["sources", "pairs", &file]);
    assert!(table.contains("DOGE-USD") && table.contains("XDGUSD"), "{table}");
    // The recorded answer of Ticker.
    let ticker = market.json(&["sources", "ticker", &file]);
    for (key, value) in
        [("last", 30_303.2), ("bid", 30_300.0), ("ask", 30_300.1), ("volume_24h", 4_412.736_017_99)]
    {
        assert_eq!(ticker[key], value, "{key}");
    }
    assert_eq!(ticker["instrument"], "BTC-USD");
    let line = market.ok(&["sources", "ticker", &file]);
    assert!(line.contains("last 30,303") && line.contains("volume 4,412.74"), "{line}");
    let error = market.fails(1, &["sources", "ticker", &file, "--pair", "NOPE"]);
    assert!(error.contains("Unknown asset pair") && error.contains("sources pairs"), "{error}");
    let error = market.fails(2, &["sources", "ticker", "kraken"]);
    assert!(error.contains("--pair"), "{error}");
    let error = market.fails(2, &["sources", "pairs", "pipeline.toml"]);
    assert!(error.contains("kind = \"file\"") && error.contains("kind = \"kraken\""), "{error}");
}

#[test]
fn a_vendor_that_cannot_be_reached_is_said_so_without_colours() {
    let market = Market::new(Kind::Noise, 1, 8);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let nobody = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    let output = market.run(&["sources", "pairs", "kraken", "--base-url", &nobody]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in ["error: asking the vendor failed", "/0/public/AssetPairs", "after 2 attempts"] {
        assert!(said.contains(part), "`{part}` is not in `{said}`");
    }
    assert!(!said.contains('\u{1b}'), "colour in a pipe: {said}");
}

#[test]
fn a_pair_that_does_not_exist_is_found_out_before_a_run() {
    let market = Market::new(Kind::Noise, 1, 7);
    let kraken = vendor::kraken();
    let file = shipped(&market, "kraken-btc-usd", &kraken, &[]);
    let said = market.ok(&["check", &file, "--online"]);
    assert!(said.contains("online: Kraken trades pair XBTUSD"), "{said}");
    for (pair, near) in [("XBTUSDD", "XBTUSD"), ("BTCUSD", "XBTUSD"), ("DOGEUSD", "XDGUSD")] {
        let line = ("feed = \"ohlc\"", format!("pair = \"{pair}\""));
        shipped(&market, "kraken-btc-usd", &kraken, &[(line.0, &line.1)]);
        let error = market.fails(1, &["check", &file, "--online"]);
        let expected = format!("there is no pair `{pair}` at Kraken");
        assert!(error.contains(&expected), "{error}");
        let remedy = format!("did you mean `pair = \"{near}\"`?");
        assert!(error.contains(&remedy), "{error}");
        let findings = market.json(&["doctor", &file]);
        let finding = findings.as_array().unwrap().last().unwrap();
        assert_eq!((&finding["ok"], &finding["remedy"]), (&false.into(), &remedy.into()));
    }
    market.ok(&["check", &file]);
    let gecko = vendor::coingecko();
    let file = shipped(&market, "coingecko-live", &gecko, &[]);
    assert!(market.ok(&["check", &file, "--online"]).contains("coingecko has rows up to"));
    shipped(&market, "coingecko-live", &gecko, &[("\"bitcoin\"", "\"bitconi\"")]);
    let error = market.fails(1, &["check", &file, "--online"]);
    assert!(error.contains("coin not found"), "{error}");
    // A key that was read from a file brings the end of its line along.
    let keyed = [("# key_env", "key_env")];
    let file = shipped(&market, "coingecko-live", &gecko, &keyed);
    let mut check = market.command(&["check", &file, "--online"]);
    let output = check.env("COINGECKO_API_KEY", "CG-secret\n").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut check = market.command(&["check", &file, "--online"]);
    let output = check.env("COINGECKO_API_KEY", "\n").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("COINGECKO_API_KEY is empty"), "{said}");
    // No key is in use, and Kraken's pairs are no help.
    assert!(!error.contains("kraken"), "{error}");
    let wall = Vendor::start(|_| (403, Vec::new()));
    for name in ["kraken-btc-usd", "binance-btc-usdt"] {
        let file = shipped(&market, name, &wall, &[]);
        let error = market.fails(1, &["check", &file, "--online"]);
        assert!(error.contains("firewall") && !error.contains("key"), "{error}");
        assert!(!error.contains("sources pairs"), "{error}");
    }
}
