//! Why a step failed, whose matter it is, and whether trying again can help.
//!
//! The runner decides from these fields, never from the words.

use serde::{Deserialize, Serialize};

/// Whose matter a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ErrorDomain {
    /// The user's settings or data; they can mend it.
    User,
    /// A vendor, a network, a disk.
    External,
    /// A bug of ours.
    Internal,
}

/// Whether trying again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RetryHint {
    /// The same would happen again.
    No,
    /// It may pass: try again later, as the step's policy says.
    Backoff,
}

/// A step's failure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct StepError {
    /// Whose matter it is.
    pub domain: ErrorDomain,
    /// Whether trying again can help.
    pub retry: RetryHint,
    /// What happened and what to do, in words.
    pub message: String,
}

impl StepError {
    /// A mistake of the user, not tried again.
    pub fn user(message: impl Into<String>) -> Self {
        Self { domain: ErrorDomain::User, retry: RetryHint::No, message: message.into() }
    }

    /// A failure outside that may pass, tried again.
    pub fn external(message: impl Into<String>) -> Self {
        Self { domain: ErrorDomain::External, retry: RetryHint::Backoff, message: message.into() }
    }

    /// A bug of ours, not tried again.
    pub fn internal(message: impl Into<String>) -> Self {
        Self { domain: ErrorDomain::Internal, retry: RetryHint::No, message: message.into() }
    }
}
