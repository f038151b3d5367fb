//! Reads `[models.search]`: which settings of a model are searched for, and how.

use foretell_model::search::{Range, SearchSettings, Space};
use foretell_model::{EstimatorSpec, ModelError};
use toml::de::{DeTable, DeValue};

use super::diagnostic::Diagnostic;
use super::keys::{self, Key, Kind};
use super::section::{Section, nearest, read_value};

/// What a range of a setting is written as.
const FORMS: &str = "[low, high], { from = low, to = high, log = true } or { one_of = [a, b] }";

/// Wraps a model into the search that its table asks for; without such a table it stays as
/// it is.
pub(super) fn wrap(
    base: EstimatorSpec,
    model: &DeTable<'_>,
    variant: &'static [Key],
    faults: &mut Vec<Diagnostic>,
) -> EstimatorSpec {
    let Some((key, value)) = model.iter().find(|(k, _)| k.get_ref() == "search") else {
        return base;
    };
    let mut refuse = |message: &str, label: &str, span| {
        let (message, label) = (message.to_owned(), label.to_owned());
        faults.push(Diagnostic { message, span, label });
    };
    let Some(table) = value.get_ref().as_table() else {
        refuse("`search` of a model must be a table", "write [models.search]", key.span());
        return base;
    };
    let place = Some((table, value.span()));
    let Some((space_key, found)) = table.iter().find(|(k, _)| k.get_ref() == "space") else {
        let label = "write [models.search.space] with a range per setting, such as depth = [3, 10]";
        refuse("[models.search] has no `space`", label, key.span());
        return base;
    };
    let Some(ranges) = found.get_ref().as_table() else {
        refuse("`space` in [models.search] must be a table", FORMS, space_key.span());
        return base;
    };
    let section = Section::open(&keys::SEARCH, place, &["space"], faults);
    let before = faults.len();
    let space = read_space(ranges, base.kind(), variant, faults);
    let count = |name: &str, faults: &mut Vec<Diagnostic>| {
        usize::try_from(section.whole(name, faults)).unwrap_or(1)
    };
    let word = |name: &str, faults: &mut Vec<Diagnostic>| {
        serde_json::Value::from(section.text(name, faults))
    };
    let settings = SearchSettings {
        sampler: serde_json::from_value(word("sampler", faults)).unwrap_or_default(),
        pruner: serde_json::from_value(word("pruner", faults)).unwrap_or_default(),
        objective: serde_json::from_value(word("objective", faults)).unwrap_or_default(),
        trials: count("trials", faults),
        time_budget: section.interval("time_budget", faults),
        splits: count("splits", faults),
        batch: count("batch", faults),
        points: count("points", faults),
        every: count("every", faults),
        ..SearchSettings::new(base.clone(), space)
    };
    let spec = EstimatorSpec::Search(Box::new(settings));
    if faults.len() > before {
        return base;
    }
    match spec.build() {
        Ok(_) => spec,
        Err(error) => {
            let span = place_of(&error, table, ranges).unwrap_or_else(|| value.span());
            let message = format!("[models.search]: {error}");
            faults.push(Diagnostic { message, span, label: String::new() });
            base
        }
    }
}

/// Where the setting stands that an error names.
fn place_of(
    error: &ModelError,
    search: &DeTable<'_>,
    ranges: &DeTable<'_>,
) -> Option<std::ops::Range<usize>> {
    let ModelError::Setting { field, .. } = error else { return None };
    let of = |table: &DeTable<'_>| {
        table.iter().find(|(k, _)| k.get_ref() == field.as_str()).map(|(_, v)| v.span())
    };
    of(ranges).or_else(|| of(search))
}

fn read_space(
    ranges: &DeTable<'_>,
    kind: &str,
    variant: &'static [Key],
    faults: &mut Vec<Diagnostic>,
) -> Space {
    // Where a model is computed is no setting of it that could be better.
    let variant = || variant.iter().filter(|k| k.name != "device");
    let known: Vec<&str> = variant().map(|k| k.name).collect();
    let mut space = Space::default();
    for (name, value) in ranges {
        let text: &str = name.get_ref();
        let Some(key) = variant().find(|k| k.name == text) else {
            let label = match (nearest(text, &known), known.is_empty()) {
                (Some(near), _) => format!("did you mean `{near}`?"),
                (None, true) => format!("{kind} has no setting to search for"),
                (None, false) => format!(
                    "its settings are {}; rows are made before a model is fitted, so parameters of \
                     other tables are compared by a pipeline file for each value",
                    known.join(", ")
                ),
            };
            let message = format!("`{text}` in [models.search.space] is no setting of {kind}");
            faults.push(Diagnostic { message, span: name.span(), label });
            continue;
        };
        match read_range(key, value.get_ref()) {
            Ok(range) => {
                space.0.insert(text.to_owned(), range);
            }
            Err(problem) => faults.push(Diagnostic {
                message: format!("`{text}` in [models.search.space] {problem}"),
                span: value.span(),
                label: key.doc.to_owned(),
            }),
        }
    }
    space
}

/// A range of values that the key itself would take.
fn read_range(key: &Key, value: &DeValue<'_>) -> Result<Range, String> {
    let numbers = matches!(key.kind, Kind::Whole(..) | Kind::Number(..));
    let one = |v: &DeValue<'_>| {
        read_value(key.kind, v).map_err(|expected| format!("must hold {expected}"))
    };
    let choices = |items: &toml::de::DeArray<'_>| {
        items.iter().map(|v| one(v.get_ref())).collect::<Result<Vec<_>, _>>().map(Range::OneOf)
    };
    let between = |from: &DeValue<'_>, to: &DeValue<'_>, log: bool| {
        let (from, to) = (one(from)?, one(to)?);
        match (key.kind, from.as_i64(), to.as_i64()) {
            (Kind::Whole(..), Some(from), Some(to)) => Ok(Range::Whole { from, to, log }),
            _ => match (from.as_f64(), to.as_f64()) {
                (Some(from), Some(to)) => Ok(Range::Number { from, to, log }),
                _ => Err(format!("must be written as {FORMS}")),
            },
        }
    };
    if let Some(items) = value.as_array() {
        return match (numbers, items.len()) {
            (true, 2) => between(items[0].get_ref(), items[1].get_ref(), false),
            (true, _) => Err(format!("must be written as {FORMS}")),
            (false, _) => choices(items),
        };
    }
    let table = value.as_table().ok_or_else(|| format!("must be written as {FORMS}"))?;
    let get =
        |name: &str| table.iter().find(|(k, _)| k.get_ref() == name).map(|(_, v)| v.get_ref());
    if let Some((unknown, _)) =
        table.iter().find(|(k, _)| !["from", "to", "log", "one_of"].contains(&&**k.get_ref()))
    {
        return Err(format!("has the unknown key `{}`: write {FORMS}", unknown.get_ref()));
    }
    match (get("one_of"), get("from"), get("to")) {
        (Some(items), None, None) if get("log").is_none() => {
            choices(items.as_array().ok_or("must give `one_of` a list")?)
        }
        (None, Some(from), Some(to)) if numbers => {
            let log = match get("log") {
                None => false,
                Some(v) => v.as_bool().ok_or("must give `log` true or false")?,
            };
            between(from, to, log)
        }
        _ => Err(format!("must be written as {FORMS}")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use foretell_model::search::{Objective, Pruner, Sampler};

    use super::*;
    use crate::pipeline::{Diagnostics, Pipeline, json_schema};

    const HEAD: &str = r#"
name = "btc"
instrument = "BTC-USD"
interval = "1h"
[source]
kind = "file"
path = "btc.csv"
[label]
horizon = "1h"
[evaluation]
initial_train = "180d"
refit_every = "30d"
cost_bp = 2.5
"#;

    fn parse(models: &str) -> Result<Pipeline, Box<Diagnostics>> {
        Pipeline::parse(&format!("{HEAD}{models}"), Path::new("btc.toml"))
    }

    #[test]
    fn a_model_with_a_search_is_that_search() {
        let pipeline = parse(
            r#"
[[models]]
kind = "gradient_boosting"
rounds = 300
[models.search]
sampler = "cma_es"
pruner = "hyperband"
objective = "mae"
trials = 80
time_budget = "10m"
splits = 9
every = 3
batch = 4
[models.search.space]
rounds = [100, 1000]
depth = { from = 3, to = 10 }
eta = { from = 0.01, to = 0.3, log = true }
subsample = { one_of = [0.5, 1] }
[[models]]
kind = "lstm"
name = "net"
[models.search.space]
units = [[32], [64, 32]]
activation = ["tanh", "relu"]
[[models]]
kind = "gradient_boosting"
"#,
        )
        .unwrap_or_else(|e| panic!("{e}"));
        let names: Vec<&str> = pipeline.models.iter().map(|r| r.name.as_str()).collect();
        assert_eq!(names, ["gradient boosting, searched", "net", "gradient boosting"]);
        let search = pipeline.models[0].spec.search().unwrap();
        assert_eq!(search.sampler, Sampler::CmaEs);
        assert_eq!((search.pruner, search.objective), (Pruner::Hyperband, Objective::Mae));
        assert_eq!((search.trials, search.splits, search.every, search.batch), (80, 9, 3, 4));
        assert_eq!(search.time_budget.unwrap().to_string(), "10m");
        assert_eq!(search.cost_bp, 2.5, "the evaluation's");
        let range = |name: &str| search.space.0[name].clone();
        assert_eq!(range("rounds"), Range::Whole { from: 100, to: 1_000, log: false });
        assert_eq!(range("depth"), Range::Whole { from: 3, to: 10, log: false });
        assert_eq!(range("eta"), Range::Number { from: 0.01, to: 0.3, log: true });
        assert_eq!(range("subsample"), Range::OneOf(vec![0.5.into(), 1.0.into()]));
        let EstimatorSpec::GradientBoosting { rounds, .. } = search.base else {
            panic!("boosting")
        };
        assert_eq!(rounds, 300);
        let net = pipeline.models[1].spec.search().unwrap();
        assert_eq!(net.space.0["units"], Range::OneOf(vec![vec![32].into(), vec![64, 32].into()]));
        assert_eq!((net.trials, net.splits, net.every), (50, 3, 1), "the defaults");
        let plain = &pipeline.models[2];
        assert_ne!(pipeline.recipe_hash(&pipeline.models[0]), pipeline.recipe_hash(plain));
    }

    #[test]
    fn what_cannot_be_searched_is_shown_in_its_line() {
        let refused = |search: &str| {
            let text = format!("[[models]]\nkind = \"ridge\"\n{search}");
            parse(&text).expect_err("the file must be refused").to_string()
        };
        let space = |line: &str| refused(&format!("[models.search.space]\n{line}"));
        assert!(space("alfa = [1, 2]").contains("did you mean `alpha`?"));
        let window = space("window = [1, 9]");
        assert!(window.contains("a pipeline file for each value"), "{window}");
        assert!(space("alpha = [1, 2, 3]").contains("[low, high]"));
        assert!(space("alpha = [-1, 2]").contains("must hold a number from 0 to"));
        assert!(space("alpha = { from = 0, to = 2, log = true }").contains("logarithmic"));
        assert!(space("alpha = { from = 2, to = 1 }").contains("begins above its end"));
        assert!(space("alpha = { form = 2, to = 1 }").contains("unknown key `form`"));
        assert!(space("volatility_scaled = { from = true, to = false }").contains("one_of"));
        assert!(refused("[models.search]\ntrials = 5").contains("has no `space`"));
        assert!(refused("search = 5").contains("write [models.search]"));
        let trials = refused("[models.search]\ntrials = 0\n[models.search.space]\nalpha = [1, 2]");
        assert!(trials.contains("btc.toml:17: `trials` in [models.search] must be"), "{trials}");
        let twice = "[models.search.space]\nalpha = [1, 2]\n";
        let same = parse(&format!(
            "[[models]]\nkind = \"ridge\"\n{twice}[[models]]\nkind = \"ridge\"\nname = \"b\"\n{twice}"
        ));
        assert!(same.expect_err("twice the same").to_string().contains("are the same model"));
    }

    #[test]
    fn the_schema_knows_the_ranges_of_every_setting() {
        let schema = json_schema();
        let kinds = schema["properties"]["models"]["items"]["oneOf"].as_array().unwrap();
        let of = |kind: &str| {
            kinds.iter().find(|k| k["properties"]["kind"]["const"] == kind).unwrap()["properties"]
                ["search"]
                .clone()
        };
        let ranges = &of("ridge")["properties"]["space"]["properties"];
        assert_eq!(ranges["alpha"]["oneOf"][0]["items"]["type"], "number");
        assert!(of("drift").is_null(), "there is nothing to search for");
    }
}
