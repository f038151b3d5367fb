//! What [source] cannot mean although each of its keys is well formed: found when the
//! file is read, and not by a run that fails or a key that travels to a stranger.

use std::ops::Range;
use std::str::FromStr as _;

use foretell_source::file::is_zone;
use foretell_source::http::may_hold_keys;
use foretell_source::{SourceError, TimeFormat};
use toml::de::{DeTable, DeValue};
use url::Url;

use super::diagnostic::Diagnostic;
use super::{FileForm, Pipeline, SourceKind};
use crate::extract;

/// A fault of one key: what is wrong, and what to write.
struct Fault {
    key: &'static str,
    problem: String,
    remedy: String,
}

impl Fault {
    fn new(key: &'static str, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { key, problem: problem.into(), remedy: remedy.into() }
    }
}

/// Adds what is wrong with the source of a pipeline whose keys were read without a fault.
pub(super) fn check(root: &DeTable<'_>, pipeline: &Pipeline, faults: &mut Vec<Diagnostic>) {
    let found = faults_of(pipeline);
    faults.extend(found.into_iter().map(|fault| {
        let (span, place) = match fault.key {
            "interval" => (span_of(root, fault.key), "the head of the file"),
            key => (span_in_source(root, key), "[source]"),
        };
        let message = format!("`{}` in {place}: {}", fault.key, fault.problem);
        Diagnostic { message, span: span.unwrap_or(0..0), label: fault.remedy }
    }));
}

fn faults_of(pipeline: &Pipeline) -> Vec<Fault> {
    let source = &pipeline.source;
    let mut faults = Vec::new();
    if let Some((from, to)) = source.from.zip(source.to).filter(|(from, to)| from >= to) {
        let problem = format!("{} does not lie before `to`, {}", from.human(), to.human());
        faults.push(Fault::new("from", problem, "rows are taken from `from` on, before `to`"));
    }
    match &source.kind {
        SourceKind::File { form, .. } => faults.extend(faults_of_form(form)),
        SourceKind::Kaggle { form, base_url, .. } => {
            faults.extend(faults_of_form(form));
            faults.extend(fault_of_address("kaggle", base_url, true));
        }
        SourceKind::Kraken { base_url, .. } => {
            faults.extend(fault_of_address("kraken", base_url, false));
        }
        SourceKind::Binance { base_url, .. } => {
            faults.extend(fault_of_address("binance", base_url, false));
        }
        SourceKind::CoinGecko { base_url, key_env, .. } => {
            faults.extend(fault_of_address("coingecko", base_url, key_env.is_some()));
        }
    }
    if !faults.is_empty() {
        return faults;
    }
    if let Ok(spec) = extract::declared_spec(source)
        && let Err(SourceError::Setting { field, problem, remedy }) =
            spec.check(pipeline.interval, source.from)
    {
        faults.push(Fault { key: field, problem, remedy });
    }
    faults
}

fn faults_of_form(form: &FileForm) -> Vec<Fault> {
    let mut faults = Vec::new();
    if !is_zone(&form.zone) {
        let problem = format!("`{}` is not a time zone", form.zone);
        faults.push(Fault::new("zone", problem, "write an IANA name such as Europe/Berlin"));
    }
    if let Some(Err(error)) = form.time_format.as_deref().map(TimeFormat::from_str) {
        let remedy = "leave it out to have it found";
        faults.push(Fault::new("time_format", error.to_string(), remedy));
    }
    faults
}

/// What is wrong with the address of a vendor. A run stores the text of its file, so no
/// secret may stand in it.
fn fault_of_address(vendor: &str, address: &str, has_key: bool) -> Option<Fault> {
    let fault = |problem: String, remedy: &str| Some(Fault::new("base_url", problem, remedy));
    let scheme = "write it with its scheme, such as https://api.kraken.com";
    let url = match Url::parse(address) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => url,
        Ok(_) => return fault("is no http or https address".to_owned(), scheme),
        Err(error) => return fault(format!("is no URL ({error})"), scheme),
    };
    if !url.username().is_empty() || url.password().is_some() {
        let remedy = "a key stands in an environment variable, which `key_env` names";
        return fault("may hold no user and no password".to_owned(), remedy);
    }
    if url.query().is_some() || url.fragment().is_some() {
        let remedy = "end it before the `?` or `#`; a key stands in an environment variable";
        return fault("may hold no query".to_owned(), remedy);
    }
    if has_key && !may_hold_keys(vendor, &url) {
        let remedy = "name the vendor's own host, with https";
        return fault(format!("a key of {vendor} may not be sent there"), remedy);
    }
    None
}

fn span_of(table: &DeTable<'_>, key: &str) -> Option<Range<usize>> {
    table.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value.span())
}

/// The place of a key's value, or of the table where the key is left out.
fn span_in_source(root: &DeTable<'_>, key: &str) -> Option<Range<usize>> {
    let (_, source) = root.iter().find(|(name, _)| name.get_ref() == "source")?;
    let inside = match source.get_ref() {
        DeValue::Table(table) => span_of(table, key),
        _ => None,
    };
    let start = source.span().start;
    Some(inside.unwrap_or(start..start + 1))
}
