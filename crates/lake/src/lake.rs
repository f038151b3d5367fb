//! The lake: where it lies, its layers and its tables.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{DynObjectStore, ObjectStoreScheme};
use url::Url;

use crate::{LakeError, Table, name};

/// A layer of the lake: a directory of tables of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layer {
    /// Rows as they came; a column `position` (Int64), several rows per time allowed.
    Raw,
    /// Rows that passed the gate; one per (instrument, time, known_at).
    Clean,
    /// Features; one row per (instrument, time, known_at).
    Features,
    /// Rows that models learn from; `time` is the decision.
    Datasets,
    /// The export of the registry's forecasts.
    Forecasts,
}

impl Layer {
    /// All layers, from raw to forecasts.
    pub const ALL: [Layer; 5] =
        [Self::Raw, Self::Clean, Self::Features, Self::Datasets, Self::Forecasts];

    /// The layer's directory.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Clean => "clean",
            Self::Features => "features",
            Self::Datasets => "datasets",
            Self::Forecasts => "forecasts",
        }
    }

    /// Whether (instrument, time, known_at) names at most one row.
    pub(crate) const fn is_keyed(self) -> bool {
        matches!(self, Self::Clean | Self::Features)
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Versioned tables and artifacts under one address. Cloning shares the store.
#[derive(Clone)]
pub struct Lake {
    /// The store, its root at the lake: nothing else of the bucket or disk is seen.
    pub(crate) store: Arc<DynObjectStore>,
    /// The lake's address without secrets.
    address: String,
}

impl fmt::Debug for Lake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lake({})", self.address)
    }
}

/// An address without user name, password and query, fit for errors and logs.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // Both fail only for addresses that can hold no credentials.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.to_string()
}

impl Lake {
    /// A lake on a local directory (`file:///dir`, made when absent) or a bucket
    /// (`s3://`, `az://`, `gs://`). `options` are the store's settings by the names of
    /// the `object_store` crate, such as `aws_region` or `aws_endpoint`. Local commits
    /// are flushed to the disk before they count.
    ///
    /// # Errors
    /// [`LakeError::Url`] when the address or an option is not understood, or the
    /// directory cannot be made.
    pub fn open(url: &Url, options: &BTreeMap<String, String>) -> Result<Self, LakeError> {
        let refuse = |reason: String| LakeError::Url { url: shown(url), reason };
        let (scheme, path) = ObjectStoreScheme::parse(url).map_err(|e| refuse(format!("{e}")))?;
        if scheme == ObjectStoreScheme::Local {
            let directory =
                url.to_file_path().map_err(|()| refuse("it names no local directory".into()))?;
            std::fs::create_dir_all(&directory).map_err(|e| refuse(format!("{e}")))?;
            let store = LocalFileSystem::new_with_prefix(directory);
            let store = store.map_err(|e| refuse(format!("{e}")))?.with_fsync(true);
            return Ok(Self { store: Arc::new(store), address: shown(url) });
        }
        let in_url = Path::from_url_path(url.path()).map_err(|e| refuse(format!("{e}")))?;
        if path != in_url || scheme == ObjectStoreScheme::Http {
            return Err(refuse("the form of the address is not supported".into()));
        }
        let options = options.iter().map(|(k, v)| (k.as_str(), v.as_str()));
        let (store, _) =
            object_store::parse_url_opts(url, options).map_err(|e| refuse(format!("{e}")))?;
        Ok(Self { store: Arc::new(PrefixStore::new(store, path)), address: shown(url) })
    }

    /// A lake on a store that is already open, at a path in it. The store must support
    /// `PutMode::Create`.
    pub fn with_store(store: Arc<DynObjectStore>, path: Path) -> Self {
        let address = format!("{store}/{path}");
        Self { store: Arc::new(PrefixStore::new(store, path)), address }
    }

    /// The table of a layer; nothing is read or made yet. A name is one path segment:
    /// letters, digits, dots, dashes and underscores (checked at first use).
    pub fn table(&self, layer: Layer, name: &str) -> Table {
        Table::new(self.clone(), layer, name)
    }

    /// The names of a layer's tables, sorted.
    ///
    /// # Errors
    /// When the store cannot be listed.
    pub async fn tables(&self, layer: Layer) -> Result<Vec<String>, LakeError> {
        let prefix = Path::from(layer.as_str());
        let listed =
            self.store.list_with_delimiter(Some(&prefix)).await.map_err(|source| {
                LakeError::Store { action: format!("listing `{layer}`"), source }
            })?;
        let mut names = Vec::new();
        for name in listed.common_prefixes.iter().filter_map(Path::filename) {
            if name::check(name).is_ok() && self.table(layer, name).exists().await? {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_addresses_that_hold_no_lake_and_hides_secrets() {
        for text in ["https://user:secret@example.com/x?token=secret", "ftp://h/x"] {
            let error = Lake::open(&Url::parse(text).unwrap(), &BTreeMap::new()).unwrap_err();
            let message = error.to_string();
            assert!(matches!(error, LakeError::Url { .. }), "{message}");
            assert!(!message.contains("secret"), "{message}");
        }
    }

    #[test]
    fn opens_buckets_from_the_url_alone() {
        let options: BTreeMap<String, String> = [
            ("aws_region", "eu-west-1"),
            ("aws_access_key_id", "k"),
            ("aws_secret_access_key", "s"),
            ("azure_storage_account_name", "a"),
        ]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .into();
        for text in ["s3://bucket/some/prefix", "az://container/p", "gs://bucket/p/"] {
            let lake = Lake::open(&Url::parse(text).unwrap(), &options).unwrap();
            assert_eq!(format!("{lake:?}"), format!("Lake({text})"));
        }
    }
}
