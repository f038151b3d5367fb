//! The lock-box: a span that ordinary runs never read, opened once per recipe.

use std::sync::Arc;

use foretell_market::Interval;
use foretell_model::evaluate::Recipe;
use foretell_panel::{LockBox, WalkForward};
use foretell_registry::{LockBoxOpening, Written};

use crate::error::PlatformError;
use crate::materialise::Materialised;
use crate::observer::{Observer, Stop};
use crate::pipeline::Pipeline;
use crate::store::Store;
use crate::training;
use crate::views::RecipeLine;

/// What stands under every table of a pipeline with a lock-box.
pub(crate) async fn line(
    store: &Store,
    pipeline: &Pipeline,
) -> Result<Option<String>, PlatformError> {
    let Some(span) = pipeline.lock_box else { return Ok(None) };
    let horizon = pipeline.label.horizon;
    let opened = store.registry.lock_box_openings(&pipeline.instrument, horizon).await?.len();
    let times = if opened == 1 { "once".to_owned() } else { format!("{opened} times") };
    let (from, to) = (span.from.date_string(), span.to.date_string());
    Ok(Some(format!("lock-box {from} … {to} opened {times}")))
}

/// What opening the box showed.
pub(crate) struct Opened {
    /// One line per recipe, the random walk first.
    pub(crate) table: Vec<RecipeLine>,
    /// How many of them looked for the first time.
    pub(crate) looked: usize,
    /// Out-of-sample rows in the box; 0 when every line was replayed.
    pub(crate) rows: usize,
    /// Refits in the box.
    pub(crate) refits: usize,
}

/// Judges every recipe that has not looked yet on the rows of the box, and replays
/// what the others saw.
pub(crate) async fn open(
    store: &Store,
    pipeline: &Pipeline,
    materialised: &Materialised,
    observer: Arc<dyn Observer>,
    stop: Arc<Stop>,
) -> Result<Opened, PlatformError> {
    let Some(span) = pipeline.lock_box else {
        return Err(PlatformError::Usage {
            message: format!("pipeline `{}` has no lock-box", pipeline.name),
            hint: "add [lock_box] with `from` and `to` before looking at any result".to_owned(),
        });
    };
    declared(store, pipeline, span).await?;
    let horizon = pipeline.label.horizon;
    let mut stored: Vec<(String, Option<RecipeLine>)> = Vec::new();
    let mut fresh: Vec<Recipe> = Vec::new();
    let recipes = training::recipes(pipeline);
    for recipe in &recipes {
        let opening = LockBoxOpening {
            instrument: pipeline.instrument.clone(),
            horizon,
            recipe_hash: pipeline.recipe_hash(recipe),
            opened_at: store.clock.now(),
            result_json: None,
        };
        let (written, found) = store.registry.open_lock_box(&opening).await?;
        let seen = found.result_json.as_deref().and_then(|json| serde_json::from_str(json).ok());
        // A look that was never finished is finished now; it counts once all the same.
        if written == Written::New || seen.is_none() {
            fresh.push(recipe.clone());
        }
        stored.push((recipe.name.clone(), seen));
    }
    let mut opened = Opened { table: Vec::new(), looked: fresh.len(), rows: 0, refits: 0 };
    let mut lines = Vec::new();
    if !fresh.is_empty() {
        let dataset = materialised.unlocked(span.to);
        let Some(first) = dataset.labels.first().map(|l| l.start) else {
            return Err(PlatformError::not_found("row before the lock-box", "bring more history"));
        };
        // The first fit happens where the box begins; from there the usual cadence goes on.
        let history = (span.from.micros() - first.micros()) / 1_000_000;
        let initial_train = Interval::from_secs(history).map_err(|e| PlatformError::Usage {
            message: format!("the lock-box leaves no history before it: {e}"),
            hint: "begin the lock-box later".to_owned(),
        })?;
        let mut plan = training::plan(pipeline);
        plan.walk_forward = WalkForward { initial_train, ..plan.walk_forward };
        let evaluation = training::judge(Arc::new(dataset), fresh, plan, observer, stop).await?;
        (opened.rows, opened.refits) = (evaluation.times.len(), evaluation.folds.len());
        lines = training::table(&evaluation);
    }
    for (recipe, (name, seen)) in recipes.iter().zip(stored) {
        if let Some(line) = seen {
            opened.table.push(line);
        } else if let Some(line) = lines.iter().find(|l| l.name == name) {
            let json = serde_json::to_string(line).unwrap_or_default();
            let hash = pipeline.recipe_hash(recipe);
            let registry = &store.registry;
            registry.finish_lock_box(&pipeline.instrument, horizon, &hash, &json).await?;
            opened.table.push(line.clone());
        }
    }
    Ok(opened)
}

/// The dates of a box are fixed once: a file that names others is refused.
async fn declared(store: &Store, pipeline: &Pipeline, span: LockBox) -> Result<(), PlatformError> {
    let horizon = pipeline.label.horizon;
    let known = store.registry.lock_box(&pipeline.instrument, horizon).await?;
    match known {
        Some(known) if (known.from, known.to) != (span.from, span.to) => {
            Err(PlatformError::Usage {
                message: format!(
                    "the lock-box of {} {horizon} is registered as {} to {}",
                    pipeline.instrument, known.from, known.to
                ),
                hint: "a lock-box keeps its dates: write the registered ones into [lock_box]"
                    .to_owned(),
            })
        }
        _ => Ok(()),
    }
}
