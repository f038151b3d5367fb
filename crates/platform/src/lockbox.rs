//! The lock-box: a span that ordinary runs never read, opened once per recipe.

use std::sync::Arc;

use foretell_market::{Fingerprint, Interval};
use foretell_model::evaluate::Recipe;
use foretell_panel::{LockBox, WalkForward};
use foretell_registry::{LockBoxOpening, Written};
use serde::{Deserialize, Serialize};

use crate::error::PlatformError;
use crate::materialise::Materialised;
use crate::observer::{Observer, Stop};
use crate::pipeline::Pipeline;
use crate::store::Store;
use crate::training;
use crate::views::RecipeLine;

/// The box that a run must not read: the registered one, which the file cannot take back;
/// a box that the file declares for the first time is registered.
pub(crate) async fn effective(
    store: &Store,
    pipeline: &Pipeline,
) -> Result<Option<LockBox>, PlatformError> {
    let (instrument, horizon) = (&pipeline.instrument, pipeline.label.horizon);
    let known = store.registry.lock_box(instrument, horizon).await?;
    let known = known.map(|b| LockBox { from: b.from, to: b.to });
    match (known, pipeline.lock_box) {
        (Some(known), Some(declared)) if known != declared => Err(PlatformError::Usage {
            message: format!(
                "the lock-box of {instrument} {horizon} is registered as {} to {}",
                known.from, known.to
            ),
            hint: "a lock-box keeps its dates: write the registered ones into [lock_box]".into(),
        }),
        (None, Some(declared)) => {
            let (from, to) = (declared.from, declared.to);
            let instrument = instrument.clone();
            let record = foretell_registry::LockBox { instrument, horizon, from, to };
            store.registry.insert_lock_box(&record).await?;
            Ok(Some(declared))
        }
        (known, _) => Ok(known),
    }
}

/// The hashes of the recipes that have opened the box and have their result: what they
/// could learn from it they have shown already.
pub(crate) async fn opened_by(
    store: &Store,
    pipeline: &Pipeline,
) -> Result<Vec<Fingerprint>, PlatformError> {
    let horizon = pipeline.label.horizon;
    let openings = store.registry.lock_box_openings(&pipeline.instrument, horizon).await?;
    let finished = openings.into_iter().filter(|o| o.result_json.is_some());
    Ok(finished.map(|o| o.recipe_hash).collect())
}

/// What stands under every table of an instrument and horizon with a lock-box.
pub(crate) async fn line(
    store: &Store,
    pipeline: &Pipeline,
) -> Result<Option<String>, PlatformError> {
    let Some(span) = effective(store, pipeline).await? else { return Ok(None) };
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
    let Some(span) = effective(store, pipeline).await? else {
        return Err(PlatformError::Usage {
            message: format!("pipeline `{}` has no lock-box", pipeline.name),
            hint: "add [lock_box] with `from` and `to` before looking at any result".to_owned(),
        });
    };
    let horizon = pipeline.label.horizon;
    let mut stored: Vec<(String, Option<Look>)> = Vec::new();
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
    let mut looks = Vec::new();
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
        let (dataset, returns) = (Arc::new(dataset), Some(materialised.returns.clone()));
        let evaluation = training::judge(dataset, returns, fresh, plan, observer, stop).await?;
        (opened.rows, opened.refits) = (evaluation.times.len(), evaluation.folds.len());
        for line in training::table(&evaluation) {
            let judged = evaluation.recipe(&line.name);
            let rival = judged.filter(|r| !r.is_random_walk());
            let p_raw = rival.map(|r| r.versus_random_walk.p_value);
            looks.push(Look { line, p_raw });
        }
    }
    for (recipe, (name, seen)) in recipes.iter().zip(stored) {
        if let Some(look) = seen {
            opened.table.push(look.line);
        } else if let Some(look) = looks.iter().find(|l| l.line.name == name) {
            let json = serde_json::to_string(look).unwrap_or_default();
            let hash = pipeline.recipe_hash(recipe);
            let registry = &store.registry;
            registry.finish_lock_box(&pipeline.instrument, horizon, &hash, &json).await?;
            opened.table.push(look.line.clone());
        }
    }
    correct(store, pipeline, &mut opened.table).await?;
    Ok(opened)
}

/// What one recipe saw, as stored: its line, and its p-value before any correction.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Look {
    line: RecipeLine,
    p_raw: Option<f64>,
}

/// Corrects the p-values for every look that was ever taken into the box, not only for
/// those of this table: looking one recipe at a time buys nothing.
async fn correct(
    store: &Store,
    pipeline: &Pipeline,
    table: &mut [RecipeLine],
) -> Result<(), PlatformError> {
    let horizon = pipeline.label.horizon;
    let openings = store.registry.lock_box_openings(&pipeline.instrument, horizon).await?;
    let looks = openings.iter().filter_map(|o| {
        let look: Look = serde_json::from_str(o.result_json.as_deref()?).ok()?;
        Some((look.line, look.p_raw?))
    });
    let looks: Vec<(RecipeLine, f64)> = looks.collect();
    let raw: Vec<f64> = looks.iter().map(|(_, p)| *p).collect();
    let corrected = foretell_model::evaluate::holm(&raw);
    for line in table {
        if let Some(k) = looks.iter().position(|(seen, _)| seen == line) {
            line.p_value = Some(corrected[k]);
        }
    }
    Ok(())
}
