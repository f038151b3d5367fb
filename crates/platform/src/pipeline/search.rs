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
    let known: Vec<&str> = variant.iter().map(|k| k.name).collect();
    let mut space = Space::default();
    for (name, value) in ranges {
        let text: &str = name.get_ref();
        let Some(key) = variant.iter().find(|k| k.name == text) else {
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
