//! Content-addressed artifacts: written once, verified on every read.

use bytes::Bytes;
use foretell_market::Fingerprint;
use object_store::path::Path;
use object_store::{Error, ObjectStoreExt as _, PutMode};

use crate::{Lake, LakeError};

impl Lake {
    /// Stores bytes under their fingerprint. Storing the same bytes again changes
    /// nothing.
    ///
    /// # Errors
    /// When the store fails, or holds other bytes under that fingerprint.
    pub async fn put_artifact(&self, bytes: impl Into<Bytes>) -> Result<Fingerprint, LakeError> {
        let bytes = bytes.into();
        let fingerprint = Fingerprint::of_bytes(&bytes);
        let path = Path::from(relative(&fingerprint));
        match self.store.put_opts(&path, bytes.into(), PutMode::Create.into()).await {
            Ok(_) => Ok(fingerprint),
            Err(Error::AlreadyExists { .. }) => {
                self.artifact(&fingerprint).await.map(|_| fingerprint)
            }
            Err(source) => {
                let action = format!("writing artifact {}", fingerprint.short());
                Err(LakeError::Store { action, source })
            }
        }
    }

    /// The bytes that were stored under a fingerprint.
    ///
    /// # Errors
    /// When there are none, or they no longer hash to the fingerprint.
    pub async fn artifact(&self, fingerprint: &Fingerprint) -> Result<Bytes, LakeError> {
        let path = Path::from(relative(fingerprint));
        let read = async { self.store.get(&path).await?.bytes().await };
        let bytes = read.await.map_err(|source| match source {
            Error::NotFound { .. } => LakeError::NoArtifact(*fingerprint),
            source => {
                let action = format!("reading artifact {}", fingerprint.short());
                LakeError::Store { action, source }
            }
        })?;
        let found = Fingerprint::of_bytes(&bytes);
        if found == *fingerprint {
            return Ok(bytes);
        }
        let path = relative(fingerprint);
        Err(LakeError::DamagedArtifact { asked: *fingerprint, found, path })
    }
}

fn relative(fingerprint: &Fingerprint) -> String {
    let hex = fingerprint.to_string();
    format!("artifacts/{}/{hex}", &hex[..2])
}
