//! Why a file of another program was not taken: what, where, and what to do.

use foretell_model::ModelError;

/// Everything that can go wrong in this crate.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InteropError {
    /// A pickle names something that is not data.
    #[error("this file asks to run `{name}` (byte {at}): refused, nothing was run; {remedy}")]
    Runs {
        /// What it names, as Python would import it.
        name: String,
        /// Where in the pickle.
        at: usize,
        /// What to do.
        remedy: &'static str,
    },
    /// A pickle has an instruction that data does not need.
    #[error(
        "this file has the pickle instruction {code} (byte {at}), which is not needed for \
         data: refused, nothing was run; save it again from Python {remedy}"
    )]
    Instruction {
        /// Its name, or its number.
        code: String,
        /// Where in the pickle.
        at: usize,
        /// How to save it.
        remedy: &'static str,
    },
    /// The file is cut off or does not hold together.
    #[error("the {what} is damaged at {place}: {message}; get it again from where it came")]
    Damaged {
        /// What was read.
        what: &'static str,
        /// Where.
        place: String,
        /// What is wrong there.
        message: String,
    },
    /// The file is larger than what is read.
    #[error("the {what} has {found}, over {most} are not read: {remedy}")]
    TooLarge {
        /// What was read.
        what: &'static str,
        /// How much there is.
        found: String,
        /// How much is read.
        most: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The file is something else than what it should be, or in a form that is not read.
    #[error("{message}: {remedy}")]
    Unsupported {
        /// What it is.
        message: String,
        /// What to do.
        remedy: String,
    },
    /// What was read makes no model that answers.
    #[error(transparent)]
    Model(#[from] ModelError),
}

pub(crate) fn damaged(what: &'static str, place: impl Into<String>, message: &str) -> InteropError {
    InteropError::Damaged { what, place: shown(&place.into()), message: shown(message) }
}

pub(crate) fn unsupported(message: impl Into<String>, remedy: impl Into<String>) -> InteropError {
    InteropError::Unsupported { message: shown(&message.into()), remedy: remedy.into() }
}

/// Words of a foreign file as they are shown: without what a terminal would obey.
pub(crate) fn shown(words: &str) -> String {
    words.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
