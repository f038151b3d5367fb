//! What the key tables say, for people and editors: reference, template, schema.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::keys::{Key, Kind, SEARCH, SPACE_DOC, TABLES, Table};
use super::section::default_value;

impl Kind {
    /// The kind in a few words.
    pub fn describe(self) -> String {
        match self {
            Kind::Text => "text".to_owned(),
            Kind::OneOf(words) => words.join(" | "),
            Kind::Whole(low, i64::MAX) => format!("whole number ≥ {low}"),
            Kind::Whole(low, high) if low == high => format!("{low}"),
            Kind::Whole(low, high) => format!("whole number {low}…{high}"),
            Kind::Number(low, high) => format!("number {low}…{high}"),
            Kind::Boolean => "true | false".to_owned(),
            Kind::Interval => "length of time".to_owned(),
            Kind::Time => "time".to_owned(),
            Kind::Instrument => "instrument".to_owned(),
            Kind::Texts => "list of texts".to_owned(),
            Kind::Wholes(low, high) => format!("list of whole numbers {low}…{high}"),
            Kind::Intervals => "list of lengths of time".to_owned(),
            Kind::Bars => "list of bars by count".to_owned(),
            Kind::TextTable => "table of texts".to_owned(),
            Kind::NumberTable => "table of numbers".to_owned(),
        }
    }
}

fn heading(table: &Table) -> String {
    match (table.name, table.repeated) {
        ("", _) => "head of the file".to_owned(),
        (name, true) => format!("[[{name}]]"),
        (name, false) => format!("[{name}]"),
    }
}

/// Every key with its type, default and meaning, as plain text.
pub fn reference() -> String {
    let mut out = String::new();
    let list = |out: &mut String, keys: &[Key], indent: &str| {
        for key in keys {
            let default = match key.default {
                None => "required".to_owned(),
                Some("") => "optional".to_owned(),
                Some(text) => format!("default {text}"),
            };
            let _ = writeln!(out, "{indent}{:<16} {} ({default})", key.name, key.kind.describe());
            let _ = writeln!(out, "{indent}{:<16} {}", "", key.doc);
        }
    };
    for table in TABLES {
        let optional = if table.optional { " (optional)" } else { "" };
        let _ = writeln!(out, "{}{optional}: {}", heading(table), table.doc);
        list(&mut out, table.keys, "  ");
        for variant in table.kinds {
            let _ = writeln!(out, "  kind = \"{}\": {}", variant.name, variant.doc);
            list(&mut out, variant.keys, "    ");
        }
        if table.name == "models" {
            let _ = writeln!(out, "  [models.search] (optional): {}", SEARCH.doc);
            list(&mut out, SEARCH.keys, "    ");
            let _ = writeln!(out, "    [models.search.space] (required)");
            let _ = writeln!(out, "    {:<16} {SPACE_DOC}", "");
        }
        out.push('\n');
    }
    out
}

/// A commented pipeline file for an instrument, ready to be edited.
pub fn template(name: &str, instrument: &str, path: &str) -> String {
    let given = |table: &str, key: &str| -> Option<String> {
        let text = match (table, key) {
            ("", "name") => format!("\"{name}\""),
            ("", "instrument") => format!("\"{instrument}\""),
            ("", "interval") => "\"1h\"".to_owned(),
            ("source", "path") => format!("\"{path}\""),
            ("label", "horizon") => "\"1h\"".to_owned(),
            ("evaluation", "initial_train") => "\"180d\"".to_owned(),
            ("evaluation", "refit_every") => "\"30d\"".to_owned(),
            _ => return None,
        };
        Some(text)
    };
    let mut out = String::from(
        "# A Foretell pipeline. Keys that are commented out show their defaults;\n\
         # `foretell check <this file>` explains every key.\n",
    );
    let write_keys = |out: &mut String, table: &Table, keys: &[Key]| {
        for key in keys {
            let _ = writeln!(out, "\n# {}", key.doc);
            match (given(table.name, key.name), key.default) {
                (Some(value), _) => {
                    let _ = writeln!(out, "{} = {value}", key.name);
                }
                (None, Some("") | None) => {
                    let _ = writeln!(out, "# {} = …  ({})", key.name, key.kind.describe());
                }
                (None, Some(default)) => {
                    let _ = writeln!(out, "# {} = {default}", key.name);
                }
            }
        }
    };
    for table in TABLES {
        match table.name {
            "" => {}
            "lock_box" => {
                out.push_str(
                    "\n# A span that `run` never reads; opened with `evaluate --lock-box`.\n",
                );
                out.push_str("# [lock_box]\n# from = \"2025-09-01\"\n# to = \"2025-11-01\"\n");
                continue;
            }
            "live" => {
                out.push_str("\n# Whose trades `foretell up` follows.\n");
                out.push_str("# [live]\n# venue = \"kraken\"\n# lateness = \"30s\"\n");
                out.push_str("# intervals = [\"5m\"]\n# bars = [\"tick-100\"]\n");
                continue;
            }
            "models" => {
                for kind in ["seasonal_naive", "ridge", "gradient_boosting"] {
                    let _ = writeln!(out, "\n[[models]]\nkind = \"{kind}\"");
                }
                continue;
            }
            name => {
                let _ = writeln!(out, "\n# {}\n[{name}]", table.doc);
            }
        }
        if let Some(first) = table.kinds.first() {
            let names: Vec<_> = table.kinds.iter().map(|v| v.name).collect();
            let _ = writeln!(out, "# One of {}.", names.join(", "));
            let _ = writeln!(out, "kind = \"{}\"", first.name);
            write_keys(&mut out, table, first.keys);
        }
        write_keys(&mut out, table, table.keys);
    }
    out
}

fn key_schema(key: &Key) -> Value {
    let mut schema = match key.kind {
        Kind::Text => json!({ "type": "string" }),
        Kind::OneOf(words) => json!({ "type": "string", "enum": words }),
        Kind::Whole(low, i64::MAX) => json!({ "type": "integer", "minimum": low }),
        Kind::Whole(low, high) => json!({ "type": "integer", "minimum": low, "maximum": high }),
        Kind::Number(low, high) => json!({ "type": "number", "minimum": low, "maximum": high }),
        Kind::Boolean => json!({ "type": "boolean" }),
        Kind::Interval => json!({ "type": "string", "pattern": "^[0-9]+ *(s|m|min|h|d|w)$" }),
        Kind::Time => json!({ "type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}" }),
        Kind::Instrument => {
            json!({ "type": "string", "pattern": "^[A-Za-z0-9]{1,20}[-/_][A-Za-z0-9]{1,20}$" })
        }
        Kind::Texts => json!({ "type": "array", "items": { "type": "string" } }),
        Kind::Wholes(low, high) => json!({
            "type": "array",
            "items": { "type": "integer", "minimum": low, "maximum": high },
        }),
        Kind::Intervals => json!({
            "type": "array", "uniqueItems": true,
            "items": { "type": "string", "pattern": "^[0-9]+ *(s|m|min|h|d|w)$" },
        }),
        Kind::Bars => json!({
            "type": "array", "uniqueItems": true,
            "items": {
                "type": "string",
                "pattern": "^(tick-[0-9]+|(volume|dollar)-[0-9]+(\\.[0-9]+)?)$",
            },
        }),
        Kind::TextTable => {
            json!({ "type": "object", "additionalProperties": { "type": "string" } })
        }
        Kind::NumberTable => {
            json!({ "type": "object", "additionalProperties": { "type": "number" } })
        }
    };
    schema["description"] = key.doc.into();
    if let Some(default) = default_value(key) {
        schema["default"] = default;
    }
    schema
}

fn object_schema(doc: &str, keys: &[&[Key]], kind: Option<&str>) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    if let Some(kind) = kind {
        properties.insert("kind".to_owned(), json!({ "const": kind }));
        required.push("kind");
    }
    for key in keys.iter().copied().flatten() {
        properties.insert(key.name.to_owned(), key_schema(key));
        if key.default.is_none() {
            required.push(key.name);
        }
    }
    json!({
        "type": "object", "description": doc, "properties": properties,
        "required": required, "additionalProperties": false,
    })
}

/// The search for settings of a kind of model.
fn search_schema(settings: &[Key]) -> Value {
    let range = |key: &Key| {
        let mut value = key_schema(key);
        if let Some(value) = value.as_object_mut() {
            value.remove("default");
            value.remove("description");
        }
        let one_of = json!({
            "type": "object", "properties": { "one_of": { "type": "array", "items": value } },
            "required": ["one_of"], "additionalProperties": false,
        });
        let forms = match key.kind {
            Kind::Whole(..) | Kind::Number(..) => json!([
                { "type": "array", "items": value, "minItems": 2, "maxItems": 2 },
                {
                    "type": "object",
                    "properties": { "from": value, "to": value, "log": { "type": "boolean" } },
                    "required": ["from", "to"], "additionalProperties": false,
                },
                one_of,
            ]),
            _ => json!([{ "type": "array", "items": value }, one_of]),
        };
        (key.name.to_owned(), json!({ "oneOf": forms }))
    };
    let ranges: Map<String, Value> = settings.iter().map(range).collect();
    let mut schema = object_schema(SEARCH.doc, &[SEARCH.keys], None);
    schema["properties"]["space"] = json!({
        "type": "object", "description": SPACE_DOC, "properties": ranges,
        "minProperties": 1, "additionalProperties": false,
    });
    schema["required"] = json!(["space"]);
    schema
}

fn table_schema(table: &Table) -> Value {
    let one = if table.kinds.is_empty() {
        object_schema(table.doc, &[table.keys], None)
    } else {
        let kinds = table.kinds.iter();
        let kinds = kinds.map(|v| {
            let mut kind = object_schema(v.doc, &[table.keys, v.keys], Some(v.name));
            if table.name == "models" && !v.keys.is_empty() {
                kind["properties"]["search"] = search_schema(v.keys);
            }
            kind
        });
        json!({ "description": table.doc, "oneOf": kinds.collect::<Vec<_>>() })
    };
    if table.repeated { json!({ "type": "array", "items": one }) } else { one }
}

/// The JSON schema (draft 2020-12) of pipeline files, for editors.
pub fn json_schema() -> Value {
    let head = TABLES.iter().find(|t| t.name.is_empty()).expect("the head is listed");
    let mut schema = object_schema("A Foretell pipeline.", &[head.keys], None);
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema["title"] = "Foretell pipeline".into();
    let mut required: Vec<Value> = schema["required"].as_array().cloned().unwrap_or_default();
    for table in TABLES.iter().filter(|t| !t.name.is_empty()) {
        schema["properties"][table.name] = table_schema(table);
        if !table.optional {
            required.push(table.name.into());
        }
    }
    schema["required"] = required.into();
    schema
}
