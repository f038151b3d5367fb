//! Reads one table of a pipeline file with its spans, against its list of keys.

use std::collections::BTreeMap;
use std::ops::Range;

use foretell_market::{BarSpecError, CountSpec, Instrument, Interval, Timestamp};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::Diagnostic;
use super::keys::{Key, Kind, Table, Variant};

/// A table being read. Faults are collected, so that all are reported together;
/// a faulty key yields its default.
#[derive(Debug)]
pub(super) struct Section<'a> {
    table: Option<&'a DeTable<'a>>,
    span: Range<usize>,
    name: String,
    keys: Vec<&'static Key>,
    kind: Option<&'static Variant>,
}

/// The value of a key with its place in the file.
pub(super) struct Found<'a> {
    value: &'a DeValue<'a>,
    span: Range<usize>,
}

fn unknown_key(name: &str, place: &str, known: &[&str], span: Range<usize>) -> Diagnostic {
    let label = nearest(name, known).map_or_else(
        || format!("known keys: {}", known.join(", ")),
        |near| format!("did you mean `{near}`?"),
    );
    Diagnostic { message: format!("unknown key `{name}` in {place}"), span, label }
}

/// The known word nearest to a misspelt one, when it is near enough to be meant.
pub(crate) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let near = known.iter().map(|k| (strsim::damerau_levenshtein(word, k), *k)).min()?;
    (near.0 <= 2.max(word.len() / 3)).then_some(near.1)
}

fn place(name: &str) -> String {
    if name.is_empty() { "the head of the file".to_owned() } else { format!("[{name}]") }
}

impl<'a> Section<'a> {
    /// Starts reading: finds the kind, and refuses keys that are not on the list.
    /// `also` names sub-tables that the caller reads itself.
    pub(super) fn open(
        spec: &'static Table,
        value: Option<(&'a DeTable<'a>, Range<usize>)>,
        also: &[&str],
        faults: &mut Vec<Diagnostic>,
    ) -> Self {
        let (table, span) = value.map_or((None, 0..0), |(t, s)| (Some(t), s));
        let mut section = Self {
            table,
            span,
            name: spec.name.to_owned(),
            keys: spec.keys.iter().collect(),
            kind: None,
        };
        if !spec.kinds.is_empty() && table.is_some() {
            section.read_kind(spec, faults);
            let further = section.kind.map_or(&[][..], |v| v.keys);
            section.keys.extend(further);
            if section.kind.is_none() {
                // Without a kind any key of any kind may be meant: name the one fault only.
                return section;
            }
        }
        if let Some(table) = table {
            let mut known: Vec<&str> = section.keys.iter().map(|k| k.name).collect();
            known.extend(also);
            if section.kind.is_some() {
                known.push("kind");
            }
            for (name, _) in table {
                let text: &str = name.get_ref();
                if !known.contains(&text) {
                    faults.push(unknown_key(text, &place(spec.name), &known, name.span()));
                }
            }
        }
        section
    }

    fn read_kind(&mut self, spec: &'static Table, faults: &mut Vec<Diagnostic>) {
        let names: Vec<&str> = spec.kinds.iter().map(|v| v.name).collect();
        let choices = format!("one of {}", names.join(", "));
        let Some(found) = self.find("kind") else {
            let message = format!("[{}] needs the key `kind`", self.name);
            faults.push(Diagnostic { message, span: self.span.clone(), label: choices });
            return;
        };
        let text = found.value.as_str().unwrap_or_default();
        self.kind = spec.kinds.iter().find(|v| v.name == text);
        if self.kind.is_none() {
            let label = nearest(text, &names).map_or(choices, |n| format!("did you mean `{n}`?"));
            let message = format!("unknown kind `{text}` in [{}]", self.name);
            faults.push(Diagnostic { message, span: found.span, label });
        }
    }

    /// The kind that the file names, when the table has kinds.
    pub(super) fn kind(&self) -> Option<&'static str> {
        self.kind.map(|v| v.name)
    }

    /// Whether the table's kind knows a key.
    pub(super) fn has(&self, name: &str) -> bool {
        self.keys.iter().any(|k| k.name == name)
    }

    /// The keys that only the table's kind has.
    pub(super) fn variant_keys(&self) -> &'static [Key] {
        self.kind.map_or(&[][..], |v| v.keys)
    }

    /// The bytes of the whole table.
    pub(super) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// The bytes of a key's value, or of the table when it is left out.
    pub(super) fn span_of(&self, name: &str) -> Range<usize> {
        self.find(name).map_or_else(|| self.span(), |f| f.span)
    }

    fn find(&self, name: &str) -> Option<Found<'a>> {
        let (_, value) = self.table?.iter().find(|(key, _)| key.get_ref() == name)?;
        Some(Found { value: value.get_ref(), span: value.span() })
    }

    fn key(&self, name: &str) -> &'static Key {
        let found = self.keys.iter().find(|k| k.name == name);
        found.unwrap_or_else(|| panic!("`{name}` is not a key of [{}]: a bug", self.name))
    }

    /// The value of a key as a JSON value: what the file says, or the default.
    fn value(&self, name: &str, faults: &mut Vec<Diagnostic>) -> Option<serde_json::Value> {
        let key = self.key(name);
        if let Some(found) = self.find(name) {
            match read(key.kind, &found) {
                Ok(value) => return Some(value),
                Err(expected) => faults.push(Diagnostic {
                    message: format!("`{name}` in {} must be {expected}", place(&self.name)),
                    span: fault_span(key.kind, &found),
                    label: key.doc.to_owned(),
                }),
            }
        } else if key.default.is_none() {
            let message = format!("{} needs the key `{name}`", place(&self.name));
            let span = self.span.start..self.span.start.saturating_add(1);
            faults.push(Diagnostic { message, span, label: key.doc.to_owned() });
        }
        default_value(key)
    }

    pub(super) fn text(&self, name: &str, faults: &mut Vec<Diagnostic>) -> String {
        self.optional_text(name, faults).unwrap_or_default()
    }

    pub(super) fn optional_text(&self, name: &str, faults: &mut Vec<Diagnostic>) -> Option<String> {
        self.value(name, faults)?.as_str().map(str::to_owned)
    }

    pub(super) fn whole(&self, name: &str, faults: &mut Vec<Diagnostic>) -> i64 {
        self.value(name, faults).and_then(|v| v.as_i64()).unwrap_or_default()
    }

    /// A whole number that may be left out.
    pub(super) fn optional_count(&self, name: &str, faults: &mut Vec<Diagnostic>) -> Option<usize> {
        let whole = self.value(name, faults)?.as_i64()?;
        usize::try_from(whole).ok()
    }

    pub(super) fn number(&self, name: &str, faults: &mut Vec<Diagnostic>) -> f64 {
        self.value(name, faults).and_then(|v| v.as_f64()).unwrap_or_default()
    }

    pub(super) fn boolean(&self, name: &str, faults: &mut Vec<Diagnostic>) -> bool {
        self.value(name, faults).and_then(|v| v.as_bool()).unwrap_or_default()
    }

    pub(super) fn interval(&self, name: &str, faults: &mut Vec<Diagnostic>) -> Option<Interval> {
        self.optional_text(name, faults)?.parse().ok()
    }

    pub(super) fn time(&self, name: &str, faults: &mut Vec<Diagnostic>) -> Option<Timestamp> {
        self.optional_text(name, faults)?.parse().ok()
    }

    pub(super) fn texts(&self, name: &str, faults: &mut Vec<Diagnostic>) -> Vec<String> {
        let value = self.value(name, faults).unwrap_or_default();
        let texts = value.as_array().into_iter().flatten();
        texts.filter_map(|v| v.as_str().map(str::to_owned)).collect()
    }

    /// The elements of a list of texts with their bytes in the file; none when it is left out.
    pub(super) fn elements(&self, name: &str) -> Vec<(String, Range<usize>)> {
        let found = self.find(name);
        let items = found.as_ref().and_then(|found| found.value.as_array());
        let text =
            |item: &Spanned<DeValue<'_>>| Some((item.get_ref().as_str()?.to_owned(), item.span()));
        items.into_iter().flatten().filter_map(text).collect()
    }

    pub(super) fn text_table(
        &self,
        name: &str,
        faults: &mut Vec<Diagnostic>,
    ) -> BTreeMap<String, String> {
        let value = self.value(name, faults).unwrap_or_default();
        let entries = value.as_object().into_iter().flatten();
        entries.filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))).collect()
    }

    pub(super) fn number_table(
        &self,
        name: &str,
        faults: &mut Vec<Diagnostic>,
    ) -> BTreeMap<String, f64> {
        let value = self.value(name, faults).unwrap_or_default();
        let entries = value.as_object().into_iter().flatten();
        entries.filter_map(|(k, v)| Some((k.clone(), v.as_f64()?))).collect()
    }

    /// All keys that only this kind has, with `kind` itself, as a JSON object.
    pub(super) fn variant_object(
        &self,
        faults: &mut Vec<Diagnostic>,
    ) -> serde_json::Map<String, serde_json::Value> {
        let mut object = serde_json::Map::new();
        if let Some(variant) = self.kind {
            object.insert("kind".to_owned(), variant.name.into());
            for key in variant.keys {
                let value = self.value(key.name, faults).unwrap_or_default();
                object.insert(key.name.to_owned(), value);
            }
        }
        object
    }
}

/// A key's default as a JSON value; `None` when leaving it out means "not set".
pub(super) fn default_value(key: &Key) -> Option<serde_json::Value> {
    let text = key.default.filter(|d| !d.is_empty())?;
    let parsed = DeValue::parse(text).expect("defaults are valid TOML");
    let found = Found { value: parsed.get_ref(), span: 0..0 };
    Some(read(key.kind, &found).expect("defaults are of their own kind"))
}

fn number_of(value: &DeValue<'_>) -> Option<f64> {
    if let Some(whole) = value.as_integer() {
        return i64::from_str_radix(whole.as_str(), whole.radix()).ok().map(|n| n as f64);
    }
    value.as_float()?.as_str().parse().ok()
}

/// A value as a key of some kind would take it, or what it must be, in words.
pub(super) fn read_value(kind: Kind, value: &DeValue<'_>) -> Result<serde_json::Value, String> {
    read(kind, &Found { value, span: 0..0 })
}

/// The value as JSON, or what it must be, in words.
fn read(kind: Kind, found: &Found<'_>) -> Result<serde_json::Value, String> {
    let value = found.value;
    let text = || value.as_str();
    match kind {
        Kind::Text => text().map(Into::into).ok_or_else(|| "a text in quotes".to_owned()),
        Kind::OneOf(words) => {
            let known = || {
                let near = text().and_then(|t| nearest(t, words));
                near.map_or(format!("one of {}", words.join(", ")), |n| {
                    format!("one of {} (did you mean `{n}`?)", words.join(", "))
                })
            };
            text().filter(|t| words.contains(t)).map(Into::into).ok_or_else(known)
        }
        Kind::Whole(low, high) => {
            let whole = value.as_integer();
            let whole = whole.and_then(|w| i64::from_str_radix(w.as_str(), w.radix()).ok());
            let inside = whole.filter(|n| (low..=high).contains(n));
            inside.map(Into::into).ok_or_else(|| match high {
                i64::MAX => format!("a whole number of {low} or more"),
                _ => format!("a whole number from {low} to {high}"),
            })
        }
        Kind::Number(low, high) => {
            let inside = number_of(value).filter(|n| (low..=high).contains(n));
            inside.map(Into::into).ok_or_else(|| format!("a number from {low} to {high}"))
        }
        Kind::Boolean => value.as_bool().map(Into::into).ok_or_else(|| "true or false".to_owned()),
        Kind::Interval => {
            let parsed = text().ok_or_else(|| "a length of time such as \"1h\"".to_owned())?;
            let parsed: Interval = parsed
                .parse()
                .map_err(|_| "a length of time such as \"15m\", \"1h\" or \"30d\"".to_owned())?;
            Ok(parsed.to_string().into())
        }
        Kind::Time => {
            let form = "a time such as \"2025-10-31\" or \"2025-10-31T23:00:00Z\"";
            let written = match value {
                DeValue::Datetime(t) => t.to_string(),
                _ => text().ok_or(form)?.to_owned(),
            };
            let parsed: Timestamp = written.parse().map_err(|_| form.to_owned())?;
            Ok(parsed.to_string().into())
        }
        Kind::Instrument => {
            let parsed = text().and_then(|t| t.parse::<Instrument>().ok());
            let parsed = parsed.ok_or("an instrument such as \"BTC-USD\"")?;
            Ok(parsed.as_str().into())
        }
        Kind::Texts => {
            let items = value.as_array().ok_or("a list of texts")?;
            let texts = items.iter().map(|i| i.get_ref().as_str().map(serde_json::Value::from));
            texts.collect::<Option<Vec<_>>>().map(Into::into).ok_or("a list of texts".into())
        }
        Kind::Wholes(low, high) => {
            let form = || format!("a list of whole numbers from {low} to {high}");
            let items = value.as_array().ok_or_else(form)?;
            let whole = |n: f64| n.fract() == 0.0 && (low as f64..=high as f64).contains(&n);
            let number = |v: &DeValue<'_>| number_of(v).filter(|n| whole(*n)).map(|n| n as i64);
            let numbers = items.iter().map(|i| number(i.get_ref()).map(serde_json::Value::from));
            numbers.collect::<Option<Vec<_>>>().map(Into::into).ok_or_else(form)
        }
        Kind::Intervals | Kind::Bars => {
            let items = value.as_array().ok_or("a list of texts")?;
            let all = items.iter().map(|item| element(kind, item.get_ref()));
            all.collect::<Result<Vec<_>, _>>().map(Into::into)
        }
        Kind::TextTable => {
            let entry = |v: &DeValue<'_>| v.as_str().map(Into::into);
            entries(value, entry).ok_or_else(|| "a table of names to texts".to_owned())
        }
        Kind::NumberTable => {
            let entry = |v: &DeValue<'_>| number_of(v).map(Into::into);
            entries(value, entry).ok_or_else(|| "a table of names to numbers".to_owned())
        }
    }
}

/// One element of a list of intervals or bars as it is written in full, or why it is none.
fn element(kind: Kind, value: &DeValue<'_>) -> Result<serde_json::Value, String> {
    let shown = |value: &DeValue<'_>| {
        value.as_str().map_or_else(|| "an element".to_owned(), |text| format!("`{text}`"))
    };
    let text = value.as_str().unwrap_or_default();
    if kind == Kind::Bars {
        let spec = text.parse::<CountSpec>().map_err(|_: BarSpecError| {
            format!(
                "a list of bars by count, and {} is none: write tick-<trades> of 1 or more, \
                 volume-<base amount> or dollar-<quote amount> of 1e-12 to 1e18",
                shown(value)
            )
        })?;
        return Ok(spec.to_string().into());
    }
    let interval = text.parse::<Interval>().map_err(|_| {
        format!("a list of lengths of time such as \"5m\" or \"1h\", and {} is none", shown(value))
    })?;
    Ok(interval.to_string().into())
}

/// The bytes of what is wrong: of a list its first element that is, of anything else all.
fn fault_span(kind: Kind, found: &Found<'_>) -> Range<usize> {
    let is_wrong = |item: &&Spanned<DeValue<'_>>| match kind {
        Kind::Intervals | Kind::Bars => element(kind, item.get_ref()).is_err(),
        _ => false,
    };
    let wrong = found.value.as_array().and_then(|items| items.iter().find(is_wrong));
    wrong.map_or_else(|| found.span.clone(), Spanned::span)
}

fn entries(
    value: &DeValue<'_>,
    entry: impl Fn(&DeValue<'_>) -> Option<serde_json::Value>,
) -> Option<serde_json::Value> {
    let table = value.as_table()?;
    let pair = |(k, v): (&Spanned<std::borrow::Cow<'_, str>>, &Spanned<DeValue<'_>>)| {
        Some((k.get_ref().to_string(), entry(v.get_ref())?))
    };
    table.iter().map(pair).collect::<Option<serde_json::Map<_, _>>>().map(Into::into)
}
