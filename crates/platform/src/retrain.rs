//! A pipeline that is judged on the last part of its rows, as `retrain --test-size` asks.

use std::path::Path;

use foretell_market::{Interval, Timestamp};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::PlatformError;
use crate::observer::Observer;
use crate::pipeline::Pipeline;
use crate::stations::StationInput;

/// The largest `folds` of a pipeline, which is more than there are.
const EVERY_FOLD: &str = "100000";

/// A pipeline with another `initial_train`, and what that means.
#[derive(Debug, Clone)]
pub struct Retrain {
    /// The pipeline; its text says what is run.
    pub pipeline: Pipeline,
    /// The first decision that is judged (UTC).
    pub judged_from: Timestamp,
    /// How many rows are judged.
    pub judged: usize,
    /// How many rows there are.
    pub rows: usize,
    /// The history before the first forecast.
    pub initial_train: Interval,
}

/// Reads a pipeline file and sets `initial_train` so that the last share of its rows is
/// judged; refits and the promotion rule stay what they are. Every one of these rows is judged:
/// `folds`, which would leave out the first of them, is set to more than there can be.
///
/// # Errors
/// When the share is none, the rows are too few, or a station before the evaluation fails.
pub async fn with_test_size(
    file: &Path,
    share: f64,
    observer: &dyn Observer,
) -> Result<Retrain, PlatformError> {
    if !(share > 0.0 && share < 1.0) {
        return Err(PlatformError::Usage {
            message: format!("a test size of {share} is no share of the rows"),
            hint: "give more than 0 and less than 1, such as --test-size 0.2".to_owned(),
        });
    }
    let input = StationInput::open(file, None)?;
    let made = input.materialised(observer).await?;
    let labels = made.allowed(input.pipeline.lock_box).labels;
    let rows = labels.len();
    let judged = (rows as f64 * share).round() as usize;
    let (Some(first), Some(from)) = (labels.first(), labels.get(rows.saturating_sub(judged)))
    else {
        return Err(PlatformError::Usage {
            message: format!("{rows} rows leave none to judge at a test size of {share}"),
            hint: "bring more history, or give a larger --test-size".to_owned(),
        });
    };
    let seconds = (from.start.micros() - first.start.micros()) / 1_000_000;
    let initial_train = Interval::from_secs(seconds).map_err(|e| PlatformError::Usage {
        message: format!("no history is left to learn from: {e}"),
        hint: "give a smaller --test-size".to_owned(),
    })?;
    let text = with_initial_train(&input.pipeline.text, initial_train)?;
    let text = with_every_fold(&text)?;
    let pipeline = Pipeline::parse(&text, file)?;
    Ok(Retrain { pipeline, judged_from: from.start, judged, rows, initial_train })
}

/// The text of a pipeline with another value of `initial_train`; all else, comments
/// included, stays.
fn with_initial_train(text: &str, length: Interval) -> Result<String, PlatformError> {
    with_value(text, "initial_train", &format!("\"{length}\""))?.ok_or_else(missing)
}

/// The text of a pipeline that judges all its folds.
fn with_every_fold(text: &str) -> Result<String, PlatformError> {
    let changed = with_value(text, "folds", EVERY_FOLD)?;
    Ok(changed.unwrap_or_else(|| text.to_owned()))
}

fn missing() -> PlatformError {
    PlatformError::Usage {
        message: "the pipeline has no `initial_train` in [evaluation]".to_owned(),
        hint: "add it: `foretell check` explains it".to_owned(),
    }
}

/// The text of a pipeline with another value of a key of [evaluation]; nothing where it has
/// none.
fn with_value(text: &str, key: &str, new: &str) -> Result<Option<String>, PlatformError> {
    let parsed = DeTable::parse(text).map_err(|_| missing())?;
    let evaluation = value(parsed.get_ref(), "evaluation").and_then(|v| v.get_ref().as_table());
    let span = evaluation.and_then(|table| value(table, key)).map(Spanned::span);
    Ok(span.map(|span| format!("{}{new}{}", &text[..span.start], &text[span.end..])))
}

/// The value of a key.
fn value<'a>(table: &'a DeTable<'a>, name: &str) -> Option<&'a Spanned<DeValue<'a>>> {
    table.iter().find(|(key, _)| key.get_ref() == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_value_changes() {
        let text = "# head\n[evaluation]\ninitial_train = \"400d\" # why\nrefit_every = \"30d\"\n";
        let changed = with_initial_train(text, Interval::DAY).unwrap();
        assert_eq!(changed, text.replace("400d", "1d"));
        let inline = "evaluation = { initial_train = '9d', refit_every = \"1d\" }";
        let changed = with_initial_train(inline, Interval::HOUR).unwrap();
        assert_eq!(changed, inline.replace("'9d'", "\"1h\""));
        assert_eq!(with_every_fold(text).unwrap(), text, "left out, it means all");
        let few = "[evaluation]\nfolds = 3 # quick\ninitial_train = \"9d\"\n";
        assert_eq!(with_every_fold(few).unwrap(), few.replace('3', "100000"));
        assert_eq!(with_every_fold("evaluation.folds = 2").unwrap(), "evaluation.folds = 100000");
        assert!(with_initial_train("[label]\nhorizon = \"1d\"", Interval::DAY).is_err());
    }
}
