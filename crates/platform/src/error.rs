//! The one error of the use cases: what happened, what was kept, what to do.

use std::path::PathBuf;

use foretell_source::SourceError;

use crate::gate::GateRefusal;
use crate::pipeline::Diagnostics;

/// Why a use case did not finish.
#[derive(Debug, thiserror::Error)]
pub enum PlatformError {
    /// A pipeline file cannot be used.
    #[error("{0}")]
    Pipeline(Box<Diagnostics>),
    /// A file cannot be read.
    #[error("failed to read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error("failed to write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A table cannot be written or read in the format that was asked for.
    #[error("{path}: {message}")]
    Table {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// Rows could not be taken in.
    #[error("extract failed")]
    Source(#[source] Box<SourceError>),
    /// A question about a vendor's markets was not answered.
    #[error("asking the vendor failed")]
    Vendor(#[source] Box<SourceError>),
    /// The gate refused the rows; nothing was written downstream.
    #[error("{0}")]
    Gate(Box<GateRefusal>),
    /// Features could not be computed.
    #[error("features failed")]
    Feature(#[source] foretell_feature::FeatureError),
    /// A model could not be fitted, evaluated or loaded.
    #[error("{what} failed")]
    Model {
        /// Which step.
        what: String,
        /// The cause.
        #[source]
        source: Box<foretell_model::ModelError>,
    },
    /// A model of another program was not taken.
    #[error("{what}")]
    Interop {
        /// The file.
        what: String,
        /// The cause.
        #[source]
        source: Box<foretell_interop::InteropError>,
    },
    /// Prices from which no forecast is made.
    #[error("{0}")]
    Prices(String),
    /// The lake refused.
    #[error("{what} failed in the lake")]
    Lake {
        /// Which step.
        what: String,
        /// The cause.
        #[source]
        source: Box<foretell_lake::LakeError>,
    },
    /// The registry refused.
    #[error("the registry failed")]
    Registry(#[source] Box<foretell_registry::RegistryError>),
    /// A forecast could not be made.
    #[error("forecast failed")]
    Forecast(#[source] Box<foretell_forecaster::ForecastError>),
    /// Another process owns the data directory.
    #[error("{path} is in use by {owner}")]
    InUse {
        /// The data directory.
        path: PathBuf,
        /// Who owns it, for people.
        owner: String,
    },
    /// The process that owns the data directory answered with an error.
    #[error("{0}")]
    Remote(String),
    /// The process that owned the data directory ended before it had answered.
    #[error("{0}")]
    Gone(String),
    /// Work that another process did for this one failed there.
    #[error("{message}")]
    RemoteFailed {
        /// What happened.
        message: String,
        /// What to do.
        hint: Option<String>,
        /// The exit code it stands for.
        exit_code: u8,
    },
    /// What was asked for does not exist.
    #[error("there is no {what}")]
    NotFound {
        /// What was asked for.
        what: String,
        /// What there is, or how to make it.
        hint: String,
    },
    /// What was asked for makes no sense.
    #[error("{message}")]
    Usage {
        /// What is wrong.
        message: String,
        /// What to do.
        hint: String,
    },
    /// A stored result does not recompute.
    #[error("{0}")]
    Mismatch(String),
    /// The same work is going on and there is room for one.
    #[error("{0}")]
    Busy(String),
    /// No candidate beats the random walk, and the caller asked that one must.
    #[error("{0}")]
    NoSkill(String),
    /// The live river stopped.
    #[error("the live river stopped")]
    Stream(#[source] Box<foretell_stream::StreamError>),
    /// The user stopped it; what was committed is kept.
    #[error("interrupted: what was committed is kept, and the same command goes on from there")]
    Interrupted,
}

impl PlatformError {
    /// The process exit code: 1 failed, 2 wrong usage, 3 gate refused, 4 no skill,
    /// 130 interrupted.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Pipeline(_) | Self::Usage { .. } | Self::Prices(_) => 2,
            Self::Gate(_) => 3,
            Self::NoSkill(_) => 4,
            Self::Interrupted => 130,
            Self::RemoteFailed { exit_code, .. } => *exit_code,
            _ => 1,
        }
    }

    /// What the user can do about it, where the message does not say.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Usage { hint, .. } | Self::NotFound { hint, .. } if !hint.is_empty() => {
                Some(hint.clone())
            }
            Self::Gate(refusal) => Some(refusal.hint()),
            Self::RemoteFailed { hint, .. } => hint.clone(),
            Self::Vendor(source) if is_unknown_pair(source) => {
                Some("`foretell sources pairs kraken` lists Kraken's pairs".to_owned())
            }
            Self::InUse { .. } => {
                Some("wait for it to end, stop it, or name another --data-dir".to_owned())
            }
            Self::Lake { source, .. } => source.remedy().map(str::to_owned),
            Self::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                Some("check the path; relative paths start at the current folder".to_owned())
            }
            _ => None,
        }
    }

    /// This error with the chain of its causes, one sentence. A cause that an error above
    /// it has told already is not told again.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            let told = cause.to_string();
            if !text.contains(&told) {
                text.push_str(": ");
                text.push_str(&told);
            }
            source = cause.source();
        }
        text
    }

    pub(crate) fn lake(what: &str) -> impl FnOnce(foretell_lake::LakeError) -> Self {
        let what = what.to_owned();
        move |source| Self::Lake { what, source: Box::new(source) }
    }

    pub(crate) fn model(
        what: impl Into<String>,
    ) -> impl FnOnce(foretell_model::ModelError) -> Self {
        let what = what.into();
        move |source| match source {
            foretell_model::ModelError::Stopped { .. } => Self::Interrupted,
            source => Self::Model { what, source: Box::new(source) },
        }
    }

    pub(crate) fn not_found(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::NotFound { what: what.into(), hint: hint.into() }
    }
}

/// Whether Kraken says that it has no such pair.
fn is_unknown_pair(source: &SourceError) -> bool {
    let SourceError::Refused { vendor: "kraken", message, .. } = source else { return false };
    message.contains("Unknown asset pair")
}

impl From<Box<Diagnostics>> for PlatformError {
    fn from(diagnostics: Box<Diagnostics>) -> Self {
        Self::Pipeline(diagnostics)
    }
}

impl From<SourceError> for PlatformError {
    fn from(source: SourceError) -> Self {
        Self::Source(Box::new(source))
    }
}

impl From<foretell_feature::FeatureError> for PlatformError {
    fn from(source: foretell_feature::FeatureError) -> Self {
        Self::Feature(source)
    }
}

impl From<foretell_registry::RegistryError> for PlatformError {
    fn from(source: foretell_registry::RegistryError) -> Self {
        Self::Registry(Box::new(source))
    }
}

impl From<foretell_forecaster::ForecastError> for PlatformError {
    fn from(source: foretell_forecaster::ForecastError) -> Self {
        Self::Forecast(Box::new(source))
    }
}

impl From<foretell_stream::StreamError> for PlatformError {
    fn from(source: foretell_stream::StreamError) -> Self {
        Self::Stream(Box::new(source))
    }
}

impl From<foretell_stream::LogError> for PlatformError {
    fn from(source: foretell_stream::LogError) -> Self {
        Self::from(foretell_stream::StreamError::from(source))
    }
}
