//! The members of an ensemble, which a file names and a recipe holds.

use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeArray, DeValue};

use super::diagnostic::Diagnostic;
use super::keys;
use super::section::{Section, nearest};

/// Every model of a file that may be a member: its name and its settings.
pub(super) struct Members {
    known: Vec<(String, Value)>,
    /// Names of models that may be members of none, and why.
    barred: Vec<(String, &'static str)>,
}

impl Members {
    /// The models of a file. What is wrong in one is told where it is read itself.
    pub(super) fn of(items: &DeArray<'_>) -> Self {
        let (mut known, mut barred, mut unheard) = (Vec::new(), Vec::new(), Vec::new());
        let tables = items.iter().filter_map(|item: &Spanned<DeValue<'_>>| {
            Some((item.get_ref().as_table()?, item.span()))
        });
        for place in tables {
            let searched = place.0.iter().any(|(key, _)| key.get_ref() == "search");
            let section = Section::open(keys::table("models"), Some(place), &[], &mut unheard);
            let Some(kind) = section.kind() else { continue };
            let name = section.optional_text("name", &mut unheard);
            let plain = kind.replace('_', " ");
            let plain = if searched { format!("{plain}, searched") } else { plain };
            let name = name.unwrap_or(plain);
            if section.has("members") {
                barred.push((name, "is an ensemble itself: name its members instead"));
            } else if searched {
                barred.push((
                    name,
                    "searches for its settings: name a model without [models.search]",
                ));
            } else if kind == "imported" {
                barred.push((name, "was trained elsewhere: name models that learn here"));
            } else {
                known.push((name, section.variant_object(&mut unheard).into()));
            }
        }
        Self { known, barred }
    }

    /// Puts settings in the place of names; `false` when one cannot be found, which is told.
    pub(super) fn resolve(
        &self,
        section: &Section<'_>,
        object: &mut Map<String, Value>,
        faults: &mut Vec<Diagnostic>,
    ) -> bool {
        let names = object.get("members").and_then(Value::as_array).cloned().unwrap_or_default();
        let (mut members, before) = (Vec::new(), faults.len());
        let mut refuse = |message: String, label: String| {
            faults.push(Diagnostic { message, span: section.span_of("members"), label });
        };
        for name in names.iter().filter_map(Value::as_str) {
            if let Some((_, settings)) = self.known.iter().find(|(known, _)| known == name) {
                members.push(settings.clone());
            } else if let Some((_, why)) = self.barred.iter().find(|(barred, _)| barred == name) {
                let (why, remedy) = why.split_once(": ").unwrap_or((why, ""));
                let message = format!("`members` names `{name}`, which {why}");
                refuse(message, remedy.to_owned());
            } else {
                let known: Vec<&str> = self.known.iter().map(|(name, _)| &name[..]).collect();
                let label = nearest(name, &known).map_or_else(
                    || format!("the models of this file are {}", known.join(", ")),
                    |near| format!("did you mean `{near}`?"),
                );
                refuse(format!("`members` names the unknown model `{name}`"), label);
            }
        }
        let twice = (0..names.len()).any(|i| names[..i].contains(&names[i]));
        if names.len() < 2 || twice {
            let message = "`members` must name two or more models, each once".to_owned();
            refuse(message, "such as members = [\"ridge\", \"gradient boosting\"]".to_owned());
        }
        object.insert("members".to_owned(), members.into());
        faults.len() == before
    }
}
