//! Behaviour of pipeline files: what is read, and what is refused in which words.

use std::path::Path;

use super::*;

const GOOD: &str = r#"
name = "btc-usd-hourly"
instrument = "BTC-USD"
interval = "1h"
as_of = "end-of-data"

[source]
kind = "file"
path = "../data/btc-usd-hourly.csv.gz"

[label]
horizon = "1h"

[evaluation]
initial_train = "180d"
refit_every = "30d"

[[models]]
kind = "ridge"
alpha = 10.0

[[models]]
kind = "seasonal_naive"
"#;

fn parse(text: &str) -> Result<Pipeline, Box<Diagnostics>> {
    Pipeline::parse(text, Path::new("pipelines/btc.toml"))
}

fn refusal(text: &str) -> String {
    parse(text).expect_err("the file must be refused").to_string()
}

#[test]
fn a_file_is_read_with_its_defaults() {
    let pipeline = parse(GOOD).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(pipeline.as_of, Present::EndOfData);
    assert_eq!(pipeline.models[0].name, "ridge");
    assert_eq!(pipeline.models[0].spec.kind(), "ridge");
    assert_eq!(pipeline.time_to_live.to_string(), "2h");
    assert_eq!(pipeline.gate.max_null_share, 0.01);
    let SourceKind::File { path, form } = &pipeline.source.kind else { panic!("a file") };
    assert_eq!(path, Path::new("data/btc-usd-hourly.csv.gz"));
    assert_eq!(form.zone, "UTC");
}

#[test]
fn a_misspelt_key_is_shown_in_its_line_with_the_nearest_key() {
    let text = GOOD.replace("horizon = ", "horizn = ");
    expect_test::expect![[r#"
        pipelines/btc.toml:11: [label] needs the key `horizon`
          11 │ [label]
             │ ^ How far ahead is forecast: a multiple of the interval.
        pipelines/btc.toml:12: unknown key `horizn` in [label]
          12 │ horizn = "1h"
             │ ^^^^^^ did you mean `horizon`?
        help: `foretell check pipelines/btc.toml` lists every key with its meaning"#]]
    .assert_eq(&refusal(&text));
}

#[test]
fn the_volatility_span_is_the_season_unless_it_is_given() {
    let span = |text: &str| parse(text).unwrap_or_else(|e| panic!("{e}")).volatility_span;
    assert_eq!(span(GOOD), Interval::DAY);
    let given = format!("{GOOD}\n[volatility]\nhorizon = \"12h\"\n");
    assert_eq!(span(&given).to_string(), "12h");
    for bad in ["1h", "90m"] {
        let message = refusal(&given.replace("12h", bad));
        assert!(message.contains("must be two or more intervals (1h)"), "{message}");
    }
}

#[test]
fn the_final_refit_leaves_the_lock_box_out_unless_it_is_asked_for() {
    let boxed = format!("{GOOD}\n[lock_box]\nfrom = \"2019-01-01\"\nto = \"2020-01-01\"\n");
    let plain = parse(&boxed).unwrap_or_else(|e| panic!("{e}"));
    assert!(plain.lock_box.is_some() && !plain.refit_includes_lock_box);
    let asked = parse(&format!("{boxed}refit_includes = true\n"));
    let asked = asked.unwrap_or_else(|e| panic!("{e}"));
    assert!(asked.refit_includes_lock_box);
    let hash = |p: &Pipeline| p.recipe_hash(&p.models[0]);
    assert_eq!(hash(&plain), hash(&asked), "what is judged is the same recipe");
    let wrong = refusal(&format!("{boxed}refit_includes = \"yes\"\n"));
    assert!(wrong.contains("`refit_includes` in [lock_box] must be true or false"), "{wrong}");
}

#[test]
fn every_fault_is_reported_at_once() {
    let text = GOOD
        .replace("interval = \"1h\"", "interval = \"1 year\"")
        .replace("\"ridge\"", "\"rigde\"")
        .replace("refit_every", "refit")
        .replace("as_of = \"end-of-data\"", "as_of = \"yesterday\"");
    let message = refusal(&text);
    for part in [
        "`interval` in the head of the file must be a length of time",
        "unknown kind `rigde` in [models]",
        "did you mean `ridge`?",
        "[evaluation] needs the key `refit_every`",
        "`as_of` in the head of the file must be one of now, end-of-data",
    ] {
        assert!(message.contains(part), "{part} is not in\n{message}");
    }
}

#[test]
fn faults_across_keys_are_seen() {
    let horizon = refusal(&GOOD.replace("horizon = \"1h\"", "horizon = \"90m\""));
    assert!(horizon.contains("`horizon` must be a multiple of the interval (1h)"), "{horizon}");
    let season = GOOD.replace("[label]", "[features]\nseason = \"30m\"\n\n[label]");
    assert!(refusal(&season).contains("a shorter one would look ahead"));
    let boxed = format!("{GOOD}\n[lock_box]\nfrom = \"2020-01-01\"\nto = \"2019-01-01\"\n");
    assert!(refusal(&boxed).contains("the lock-box ends before it begins"));
    let twice = format!("{GOOD}\n[[models]]\nkind = \"ridge\"\n");
    assert!(refusal(&twice).contains("two models are named `ridge`"));
    let ridge = |name: &str, rest: &str| {
        format!("\n[[models]]\nkind = \"ridge\"\nname = \"{name}\"\nalpha = 3.0{rest}\n")
    };
    let copy = refusal(&format!("{GOOD}{}{}", ridge("a", ""), ridge("b", "")));
    assert!(copy.contains("`a` and `b` are the same model: change a setting"), "{copy}");
    let line = format!("{GOOD}{}", ridge("a", "")).lines().count() + 2;
    assert!(copy.contains(&format!(":{line}: ")), "the second one, line {line}: {copy}");
    let scaled = ridge("b", "\nvolatility_scaled = true");
    Pipeline::parse(&format!("{GOOD}{}{scaled}", ridge("a", "")), Path::new("p.toml")).unwrap();
}

/// The good file with another source and, where given, other keys of the head.
fn with_source(source: &str, head: &[(&str, &str)]) -> String {
    let (before, after) = GOOD.split_once("[source]").unwrap();
    let (_, after) = after.split_once("[label]").unwrap();
    let mut text = format!("{before}[source]\n{source}\n[label]{after}");
    for (from, to) in head {
        assert!(text.contains(from));
        text = text.replace(from, to);
    }
    text
}

#[test]
fn a_source_that_cannot_be_asked_is_refused_with_its_place() {
    let three = [("\"1h\"", "\"3h\"")];
    let two = [("\"1h\"", "\"2h\"")];
    let half = [("\"1h\"", "\"30m\"")];
    let file = "kind = \"file\"\npath = \"a.csv\"\n";
    let trades = "kind = \"kraken\"\nfeed = \"trades\"\n";
    let gecko = "kind = \"coingecko\"\nkey_env = \"COINGECKO_KEY\"\n";
    for (source, head, place, part) in [
        ("kind = \"kraken\"\nbase_url = \"ftp://x.org\"", &[][..], 9, "no http or https address"),
        ("kind = \"kraken\"\nbase_url = \"api.kraken.com\"", &[], 9, "is no URL"),
        ("kind = \"binance\"\nbase_url = \"https://me:pw@api.binance.com\"", &[], 9, "no user"),
        ("kind = \"binance\"\nbase_url = \"https://x.org/?key=1\"", &[], 9, "no query"),
        (&format!("{gecko}base_url = \"https://x.org\""), &[], 10, "may not be sent there"),
        (&format!("{gecko}base_url = \"http://api.coingecko.com\""), &[], 10, "with https"),
        (
            "kind = \"kaggle\"\ndataset = \"a/b\"\nbase_url = \"http://x.org\"",
            &[],
            10,
            "sent there",
        ),
        ("kind = \"kaggle\"\ndataset = \"a\"", &[], 9, "names no dataset"),
        ("kind = \"coingecko\"\ncoin = \"../bitcoin\"", &[], 9, "not a name of a coin"),
        ("kind = \"coingecko\"", &half, 4, "its points come hourly"),
        ("kind = \"kraken\"", &two, 4, "no bars of 2h"),
        ("kind = \"binance\"", &three, 4, "no bars of 3h"),
        (trades, &[], 7, "needs a beginning"),
        (&format!("{trades}from = \"1600-01-01\""), &[], 10, "is before 1970"),
        (
            &format!("{file}from = \"2024-01-02\"\nto = \"2024-01-02\""),
            &[],
            10,
            "does not lie before",
        ),
        (&format!("{file}zone = \"Berlin\""), &[], 10, "not a time zone"),
        (&format!("{file}time_format = \"soon\""), &[], 10, "leave it out"),
    ] {
        let message = refusal(&with_source(source, head));
        assert!(message.starts_with(&format!("pipelines/btc.toml:{place}: ")), "{message}");
        assert!(message.contains(part), "`{part}` is not in\n{message}");
    }
    for source in [
        &format!("{gecko}base_url = \"https://pro-api.coingecko.com\""),
        &format!("{gecko}base_url = \"http://127.0.0.1:8080\""),
        &format!("{trades}from = \"2013-10-06\""),
    ] {
        parse(&with_source(source, &[])).unwrap_or_else(|e| panic!("{e}"));
    }
    // What a run has stored stays readable: its rows are there.
    let stored = with_source("kind = \"coingecko\"", &half);
    assert!(Pipeline::parse_stored(&stored, Path::new("old.toml")).is_ok());
}

#[test]
fn what_is_not_toml_is_refused_with_its_line() {
    assert!(refusal("name = \n").starts_with("pipelines/btc.toml:1: "));
    assert!(refusal("source = 3\n").contains("`source` must be a table: write [source]"));
    assert!(refusal("models = 3\n").contains("must be written as [[models]]"));
}

#[test]
fn the_template_is_a_valid_pipeline() {
    let text = template("my-btc", "BTC-USD", "btc.csv");
    let pipeline = parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    assert_eq!(pipeline.models.len(), 3);
}

#[test]
fn the_schema_names_every_key() {
    let schema = json_schema();
    assert_eq!(schema["properties"]["label"]["required"], serde_json::json!(["horizon"]));
    let kinds = schema["properties"]["models"]["items"]["oneOf"].as_array().unwrap();
    assert!(kinds.iter().any(|k| k["properties"]["kind"]["const"] == "gradient_boosting"));
    assert_eq!(schema["additionalProperties"], false);
}

#[test]
fn the_schema_beside_the_pipelines_is_the_one_of_this_version() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../pipelines/pipeline.schema.json");
    let stored = std::fs::read_to_string(path).expect("pipelines/pipeline.schema.json is there");
    let stored: serde_json::Value = serde_json::from_str(&stored).unwrap();
    let remedy = "write it anew: `foretell check --schema > pipelines/pipeline.schema.json`";
    assert!(stored == json_schema(), "{remedy}");
}

#[test]
fn every_shipped_pipeline_is_valid() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../pipelines");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "toml") {
            let text = std::fs::read_to_string(&path).unwrap();
            let pipeline = Pipeline::parse(&text, &path).unwrap_or_else(|e| panic!("{e}"));
            names.push(pipeline.name);
        }
    }
    names.sort();
    for name in [
        "binance-btc-usdt",
        "btc-usd-daily",
        "btc-usd-hourly",
        "btc-usd-hourly-kraken62",
        "coingecko-hourly",
        "coingecko-live",
        "kraken-btc-usd",
    ] {
        assert!(names.iter().any(|n| n == name), "{name} is not shipped: {names:?}");
    }
}

#[test]
fn every_shipped_pipeline_is_listed_for_its_readers() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let readme = std::fs::read_to_string(format!("{root}/README.md")).unwrap();
    for entry in std::fs::read_dir(format!("{root}/pipelines")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".toml") {
            assert!(readme.contains(&format!("pipelines/{name}")), "{name} is not in the README");
        }
    }
}

/// The keys that a `[source]` may have, with those at the head of the file.
fn keys_of_sources() -> Vec<&'static Key> {
    let source = keys::table("source");
    let kinds = source.kinds.iter().flat_map(|kind| kind.keys);
    keys::table("").keys.iter().chain(source.keys).chain(kinds).collect()
}

/// What stands between back-quotes in the texts of a source file, comments and tests
/// aside.
fn quoted(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    let code: Vec<&str> = text.lines().filter(|l| !l.trim_start().starts_with("//")).collect();
    let code = code.join("\n");
    assert_eq!(code.matches('`').count() % 2, 0, "an odd back-quote in {}", path.display());
    code.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => rust_files(&path, found),
            false => found.push(path),
        }
    }
}

/// What a connector's error tells a user to write must be something that a pipeline file
/// knows. The connectors do not know the list of keys, so this reads their texts.
#[test]
fn every_key_that_an_error_of_a_source_names_exists() {
    let mut files = Vec::new();
    rust_files(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../source/src")), &mut files);
    // Live feeds speak of wire messages, and have no keys in a pipeline yet.
    files.retain(|file| !file.components().any(|part| part.as_os_str() == "live"));
    let known = keys_of_sources();
    let roles = serde_json::to_value(foretell_source::ColumnMap::default()).unwrap();
    // Values of Kraken's wire format, not keys.
    let wire = ["b", "s"];
    let mut named = Vec::new();
    for file in &files {
        for words in quoted(file) {
            // A column of a file: `columns.close`.
            let key = words.split([' ', '.', '=']).next().unwrap_or_default().to_owned();
            if !key.starts_with(|c: char| c.is_ascii_lowercase()) || wire.contains(&key.as_str()) {
                continue;
            }
            let found = known.iter().find(|k| k.name == key);
            let place = file.display();
            let found =
                found.unwrap_or_else(|| panic!("{place} names `{words}`: there is no such key"));
            if let Some(role) = words.strip_prefix("columns.")
                && !role.starts_with('{')
            {
                assert!(roles.get(role).is_some(), "{place} names `{words}`");
            }
            if let (Kind::OneOf(choices), Some((_, value))) = (found.kind, words.split_once(" = "))
            {
                let value = value.trim_matches(['\\', '"']);
                assert!(choices.contains(&value), "{place} names `{words}`");
            }
            named.push(key);
        }
        // The keys that settings are refused by.
        let text = std::fs::read_to_string(file).unwrap();
        for part in text.split("SourceError::Setting {").skip(1) {
            let field = part.split("field: \"").nth(1).and_then(|f| f.split('"').next());
            if let Some(field) = field {
                assert!(known.iter().any(|k| k.name == field), "{}: `{field}`", file.display());
                named.push(field.to_owned());
            }
        }
    }
    // The search finds what is known to be there.
    for key in ["feed", "columns", "header", "pair", "coin", "lag", "requests_per_minute"] {
        assert!(named.iter().any(|n| n == key), "`{key}` was not found in {named:?}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        let _ = parse(&text);
    }

    #[test]
    fn no_damage_to_a_good_file_panics(at in 0usize..GOOD.len(), put in "[\\[\\]\"=a-z0-9\n.]{0,6}") {
        let mut text = GOOD.to_owned();
        text.replace_range(at..(at + put.len()).min(GOOD.len()), &put);
        let _ = parse(&text);
    }
}

#[test]
fn ensembles_hold_the_settings_of_the_models_that_they_name() {
    let text = format!(
        "{GOOD}\n[[models]]\nkind = \"stacking\"\nmembers = [\"seasonal naive\", \"ridge\"]\n"
    );
    let pipeline = parse(&text).unwrap_or_else(|e| panic!("{e}"));
    let ensemble = &pipeline.models[2];
    assert_eq!((ensemble.name.as_str(), ensemble.spec.kind()), ("stacking", "stacking"));
    let ridge = &pipeline.models[0].spec;
    assert_eq!(ensemble.spec.members(), [EstimatorSpec::SeasonalNaive, ridge.clone()]);
    // Another setting of a member is another ensemble.
    let other = parse(&text.replace("alpha = 10.0", "alpha = 11.0")).unwrap();
    assert_ne!(other.recipe_hash(&other.models[2]), pipeline.recipe_hash(ensemble));
    for (members, says) in [
        (r#"["rigde", "seasonal naive"]"#, "did you mean `ridge`?"),
        (
            r#"["ridge", "nonsense-of-any-kind"]"#,
            "the models of this file are ridge, seasonal naive",
        ),
        (r#"["ridge"]"#, "two or more models, each once"),
        (r#"["ridge", "ridge"]"#, "two or more models, each once"),
        (r#"["ridge", "stacking"]"#, "`stacking`, which is an ensemble itself"),
    ] {
        let bad = text.replace(r#"["seasonal naive", "ridge"]"#, members);
        let message = refusal(&bad);
        assert!(message.contains(says), "{members}: {message}");
    }
    assert!(refusal(&text.replace("members", "membres")).contains("did you mean `members`?"));
}

#[test]
fn seeds_folds_epochs_and_time_are_bounded_where_the_file_says_so() {
    let plain = parse(GOOD).unwrap().evaluation;
    assert_eq!((plain.seeds, plain.folds, plain.epochs, plain.time_budget), (1, None, None, None));
    let bounds = "refit_every = \"30d\"\nseeds = 3\nfolds = 12\nepochs = 7\ntime_budget = \"15m\"";
    let more = "\n[[models]]\nkind = \"mlp\"\nepochs = 90\n\n[[models]]\nkind = \"mean\"\n\
                members = [\"ridge\", \"mlp\"]\n";
    let text = GOOD.replace("refit_every = \"30d\"", bounds) + more;
    let pipeline = parse(&text).unwrap_or_else(|e| panic!("{e}"));
    let of = &pipeline.evaluation;
    assert_eq!((of.seeds, of.folds, of.epochs), (3, Some(12), Some(7)));
    assert_eq!(of.time_budget.map(|t| t.to_string()).as_deref(), Some("15m"));
    assert_eq!(pipeline.models[2].spec.steps(), 7, "a bound of epochs is one of the recipe");
    assert_eq!(pipeline.models[3].spec.members()[1], pipeline.models[2].spec);
    let full = pipeline.in_full().evaluation;
    assert_eq!((full.seeds, full.folds, full.time_budget), (20, None, None));
    assert_eq!(full.epochs, Some(7), "what is judged is what is served");
    let few = refusal(&text.replace("folds = 12", "folds = 5"));
    assert!(few.contains("`folds` (5) is below `min_refits` (12)"), "{few}");
}

#[test]
fn a_device_is_accepted_only_where_the_program_can_train_on_it() {
    let with =
        |device: &str| format!("{GOOD}\n[[models]]\nkind = \"lstm\"\ndevice = \"{device}\"\n");
    let pipeline = parse(&with("cpu")).unwrap_or_else(|e| panic!("{e}"));
    assert!(pipeline.models.iter().any(|model| model.spec.kind() == "lstm"));
    for device in ["cuda", "wgpu"] {
        if cfg!(feature = "gpu") {
            parse(&with(device)).unwrap_or_else(|e| panic!("{e}"));
            continue;
        }
        let refused = refusal(&with(device));
        let said = format!(
            "`device = \"{device}\"` in [models]: this program was built without the feature `gpu`"
        );
        assert!(refused.contains(&said), "{refused}");
        assert!(refused.contains("--features gpu"), "{refused}");
    }
    assert!(refusal(&with("tpu")).contains("cuda"), "the devices are named");
}

#[test]
fn a_search_cannot_choose_the_device() {
    let search =
        "[models.search]\n[models.search.space]\ndevice = { one_of = [\"cpu\", \"cuda\"] }\n";
    let refused = refusal(&format!("{GOOD}\n[[models]]\nkind = \"lstm\"\n{search}"));
    assert!(
        refused.contains("`device` in [models.search.space] is no setting of lstm"),
        "{refused}"
    );
}

const LIVE: &str = "\n[live]\nvenue = \"kraken\"\n";

#[test]
fn a_live_pipeline_says_what_is_made_of_its_trades() {
    let text = format!(
        "{GOOD}{LIVE}intervals = [\"5m\", \"1d\"]\n\
         bars = [\"tick-100\", \"volume-12.50\", \"dollar-1000000\"]\n"
    );
    let pipeline = parse(&text).unwrap_or_else(|e| panic!("{e}"));
    let live = pipeline.live.unwrap();
    let intervals: Vec<String> = live.intervals.iter().map(ToString::to_string).collect();
    assert_eq!(intervals, ["5m", "1d"]);
    let bars: Vec<String> = live.bars.iter().map(ToString::to_string).collect();
    assert_eq!(bars, ["tick-100", "volume-12.5", "dollar-1000000"]);
    let plain = parse(&format!("{GOOD}{LIVE}")).unwrap_or_else(|e| panic!("{e}"));
    let told = serde_json::to_value(plain.live.unwrap()).unwrap();
    assert_eq!(told, serde_json::json!({ "venue": "kraken", "lateness": "30s" }));
}

#[test]
fn what_is_no_bar_is_refused_in_its_line_with_the_remedy() {
    let lines = GOOD.lines().count() + LIVE.lines().count();
    for wrong in ["tick-0", "dollar--1", "foo-3", "volume-1e-300", "tick-1.5", "1m", "volume-nan"] {
        let text = format!("{GOOD}{LIVE}bars = [\n  \"tick-100\",\n  \"{wrong}\",\n]\n");
        let said = refusal(&text);
        let place = format!("pipelines/btc.toml:{}: `bars` in [live]", lines + 3);
        assert!(said.starts_with(&place), "{said}");
        assert!(said.contains(&format!("`{wrong}` is none: write tick-<trades>")), "{said}");
    }
    let said = refusal(&format!("{GOOD}{LIVE}bars = \"tick-100\"\n"));
    assert!(said.contains("`bars` in [live] must be a list of texts"), "{said}");
    let said = refusal(&format!("{GOOD}{LIVE}intervals = [\"5m\", \"5\"]\n"));
    assert!(said.contains("such as \"5m\" or \"1h\", and `5` is none"), "{said}");
    for (lists, why) in [
        ("intervals = [\"5m\", \"60m\"]", "`60m` in `intervals` of [live] is the pipeline's own"),
        ("intervals = [\"5m\", \"300s\"]", "`300s` stands twice in `intervals`"),
        ("bars = [\"volume-1\", \"volume-1.0\"]", "`volume-1.0` stands twice in `bars`"),
    ] {
        let said = refusal(&format!("{GOOD}{LIVE}{lists}\n"));
        assert!(said.contains(why) && said.contains("leave it out"), "{said}");
    }
}
