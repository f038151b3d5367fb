//! Kaggle: a dataset's archive, and one file in it read like any other file.

use bytes::Bytes;
use foretell_panel::RawTable;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use crate::error::{Malformed, excerpt};
use crate::file::{Archive, FileSpec, read_off_thread};
use crate::http::{Ask, Client, Verdict, by_status, endpoint};
use crate::{ExtractRequest, HttpSettings, RateBudget, Secret, SourceError};

const VENDOR: &str = "kaggle";

/// A dataset on Kaggle, as declared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KaggleSpec {
    /// Where it lives.
    #[serde(default = "public_url")]
    pub base_url: Url,
    /// `owner/name` of the dataset.
    pub dataset: String,
    /// Its version; `None` is the newest, which changes under a pipeline's feet.
    #[serde(default)]
    pub version: Option<u32>,
    /// The user whose key it is.
    #[serde(default)]
    pub username: Option<String>,
    /// The API key.
    #[serde(default)]
    pub key: Option<Secret>,
    /// How the file is read; its path is the name inside the archive (an empty one
    /// takes the only file there is).
    pub file: FileSpec,
    /// How often we may ask.
    #[serde(default = "public_budget")]
    pub budget: RateBudget,
}

fn public_url() -> Url {
    Url::parse("https://www.kaggle.com").expect("a constant URL")
}

fn public_budget() -> RateBudget {
    RateBudget { requests: 10, per_millis: 60_000 }
}

/// What Kaggle's answer means.
fn judge(status: u16, body: &[u8]) -> Verdict {
    let document = serde_json::from_slice::<Value>(body).unwrap_or_default();
    let said = document.get("message").and_then(Value::as_str).map(str::to_owned);
    match by_status(status, said) {
        Verdict::Refused { message, .. } if matches!(status, 401 | 403) => {
            let remedy = "name the variables that hold a Kaggle user name and API key in \
                          `user_env` and `key_env`, and accept the dataset's licence on its page";
            Verdict::Refused { message, remedy: remedy.to_owned() }
        }
        other => other,
    }
}

/// Refuses what is no name of a dataset.
pub(crate) fn check(spec: &KaggleSpec) -> Result<(), SourceError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let valid = |part: &str| !part.is_empty() && part.chars().all(plain) && part != "..";
    if !spec.dataset.split_once('/').is_some_and(|(owner, name)| valid(owner) && valid(name)) {
        return Err(SourceError::Setting {
            field: "dataset",
            problem: format!("`{}` names no dataset", spec.dataset),
            remedy: "write owner/name as in the address of its page".to_owned(),
        });
    }
    Ok(())
}

/// Downloads the archive and reads the declared file.
///
/// # Errors
/// When Kaggle cannot be reached, the archive is damaged or the file cannot be read.
pub(crate) async fn load(
    spec: &KaggleSpec,
    request: &ExtractRequest<'_>,
    http: &HttpSettings,
) -> Result<RawTable, SourceError> {
    check(spec)?;
    let path = format!("/api/v1/datasets/download/{}", spec.dataset);
    let mut url = endpoint(&spec.base_url, &path);
    if let Some(version) = spec.version {
        url.query_pairs_mut().append_pair("datasetVersionNumber", &version.to_string());
    }
    let mut ask = Ask::new(url);
    ask.download = true;
    if let (Some(user), Some(key)) = (&spec.username, &spec.key) {
        ask.basic = Some((user.clone(), key.clone()));
    }
    let client = Client::new(VENDOR, http, spec.budget)?;
    let body = client.get(&ask, judge).await?.body;
    let origin = client.origin(&ask);
    let wanted = spec.file.path.to_string_lossy();
    let (name, bytes) = member(&origin, body, &wanted)?;
    let file = FileSpec { path: format!("{origin} {name}").into(), ..spec.file.clone() };
    read_off_thread(bytes, file, request).await
}

/// The named file of an archive, or its only one when no name is given.
fn member(origin: &str, archive: Bytes, wanted: &str) -> Result<(String, Bytes), SourceError> {
    if !archive.starts_with(b"PK") {
        let start = String::from_utf8_lossy(&archive[..archive.len().min(80)]).into_owned();
        let problem = format!("not a zip archive: it starts with `{}`", excerpt(&start, 40));
        let remedy = "name the variables that hold a Kaggle user name and API key in `user_env` \
                      and `key_env`; without them a login page comes";
        return Err(Malformed::new(origin, problem, remedy).into());
    }
    let mut archive = Archive::open(origin, archive)?;
    let shown = excerpt(&archive.names().join(", "), 200);
    let name = match (wanted, archive.names()) {
        ("", [only]) => only.clone(),
        ("", names) => {
            let problem = format!("the archive holds {} files", names.len());
            let remedy = format!("name one in `file`: {shown}");
            return Err(Malformed::new(origin, problem, remedy).field("file").into());
        }
        (wanted, names) if names.iter().any(|name| name == wanted) => wanted.to_owned(),
        (wanted, _) => {
            let problem = format!("the archive holds no `{wanted}`");
            let remedy = format!("write one of {shown}");
            return Err(Malformed::new(origin, problem, remedy).field("file").into());
        }
    };
    let bytes = archive.read(&name)?;
    Ok((name, bytes))
}
