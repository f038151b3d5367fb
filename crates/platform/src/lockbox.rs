//! The lock-box: a span that ordinary runs never read, opened once per recipe.

use std::sync::Arc;

use foretell_market::{Fingerprint, Interval};
use foretell_model::evaluate::{Evaluation, Recipe, RecipeEvaluation, SpreadSkill};
use foretell_panel::{LockBox, WalkForward};
use foretell_registry::{LockBoxOpening, Written};
use serde::{Deserialize, Serialize};

use crate::error::PlatformError;
use crate::keeper::Keeper;
use crate::materialise::Materialised;
use crate::observer::{Observer, Stop};
use crate::pipeline::Pipeline;
use crate::store::Store;
use crate::views::{FailedLine, RecipeLine};
use crate::{overfitting, training};

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
    /// Recipes that failed in the box: their looks stay open and are finished another time.
    pub(crate) failed: Vec<FailedLine>,
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
    keeper: Arc<Keeper>,
) -> Result<Opened, PlatformError> {
    let Some(span) = effective(store, pipeline).await? else {
        return Err(PlatformError::Usage {
            message: format!("pipeline `{}` has no lock-box", pipeline.name),
            hint: "add [lock_box] with `from` and `to` before looking at any result".to_owned(),
        });
    };
    let horizon = pipeline.label.horizon;
    let mut fresh: Vec<Recipe> = Vec::new();
    let recipes = training::recipes(pipeline)?;
    for recipe in &recipes {
        let opening = LockBoxOpening {
            instrument: pipeline.instrument.clone(),
            horizon,
            recipe_hash: pipeline.recipe_hash(recipe),
            opened_at: store.clock.now(),
            result_json: None,
        };
        let (written, found) = store.registry.open_lock_box(&opening).await?;
        // A look that was never finished is finished now; it counts once all the same.
        if written == Written::New || found.result_json.is_none() {
            fresh.push(recipe.clone());
        }
    }
    let mut opened =
        Opened { table: Vec::new(), failed: Vec::new(), looked: fresh.len(), rows: 0, refits: 0 };
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
        // The box is short: all of it is judged, and no feature is shuffled in it.
        (plan.folds, plan.shuffles) = (None, 0);
        let plan = (plan, training::Effort::default());
        let (dataset, returns) = (Arc::new(dataset), Some(materialised.returns.clone()));
        let looking = fresh.clone();
        let mut evaluation =
            training::judge(dataset, returns, looking, plan, observer, stop, keeper).await?;
        overfitting::deflate(store, pipeline, &mut evaluation).await?;
        if fresh.len() == recipes.len() {
            let left = evaluation.recipes.iter().map(|r| &r.spec);
            training::check_some_left(left, &evaluation.failed)?;
        }
        opened.failed = training::failed(&evaluation);
        (opened.rows, opened.refits) = (evaluation.times.len(), evaluation.folds.len());
        let lines = training::table(&evaluation);
        for recipe in &fresh {
            let line = lines.iter().find(|l| l.name == recipe.name);
            let judged = evaluation.recipe(&recipe.name);
            let Some(look) = line.zip(judged).map(|(line, r)| Look::of(line, r, &evaluation))
            else {
                continue;
            };
            let json = serde_json::to_string(&look).unwrap_or_default();
            let hash = pipeline.recipe_hash(recipe);
            let registry = &store.registry;
            registry.finish_lock_box(&pipeline.instrument, horizon, &hash, &json).await?;
        }
    }
    let openings = store.registry.lock_box_openings(&pipeline.instrument, horizon).await?;
    let seen = |o: &LockBoxOpening| serde_json::from_str(o.result_json.as_deref()?).ok();
    let looks: Vec<(Fingerprint, Look)> =
        openings.iter().filter_map(|o| Some((o.recipe_hash, seen(o)?))).collect();
    // Who looked and has no result yet has proved nothing, and is counted.
    let unfinished = openings.iter().filter(|o| o.result_json.is_none()).count();
    let lines = corrected(looks, unfinished);
    let line_of = |recipe: &Recipe| {
        let hash = pipeline.recipe_hash(recipe);
        let (_, line) = lines.iter().find(|(seen, _)| *seen == hash)?;
        Some(RecipeLine { name: recipe.name.clone(), ..line.clone() })
    };
    opened.table = recipes.iter().filter_map(line_of).collect();
    Ok(opened)
}

/// What one recipe saw, as stored: its line, and its p-values before any correction.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Look {
    line: RecipeLine,
    /// Of its point; `None` for a recipe whose point is the random walk's.
    p_raw: Option<f64>,
    /// Of its spread; `None` for a recipe that promises a point, and in looks that were
    /// stored before it was kept.
    #[serde(default)]
    spread_p_raw: Option<f64>,
}

impl Look {
    fn of(line: &RecipeLine, judged: &RecipeEvaluation, evaluation: &Evaluation) -> Self {
        let walk = &evaluation.random_walk().losses;
        let point = (judged.losses != *walk).then_some(judged.versus_random_walk.p_value);
        let spread = judged.spread.as_ref().filter(|_| judged.spec.forecasts_spread());
        Self { line: line.clone(), p_raw: point, spread_p_raw: spread.map(|s| s.p_value) }
    }

    /// The p-value of its point, when a point is what it promises.
    fn point(&self) -> Option<f64> {
        self.p_raw.filter(|_| self.line.spread_p.is_none())
    }

    /// The p-value of its spread; an early look kept only the corrected one of its own
    /// table, which is no smaller.
    fn spread(&self) -> Option<f64> {
        self.spread_p_raw.or(self.line.spread_p)
    }
}

/// The lines of all looks ever taken into a box, their p-values corrected together: one
/// family of points and spreads, so that looking one recipe at a time buys nothing. Looks
/// that are `unfinished` stand in it with a p-value of 1.
fn corrected(looks: Vec<(Fingerprint, Look)>, unfinished: usize) -> Vec<(Fingerprint, RecipeLine)> {
    let points = looks.iter().filter_map(|(_, l)| l.point());
    let spreads = looks.iter().filter_map(|(_, l)| l.spread());
    let open = std::iter::repeat_n(1.0, unfinished);
    let family: Vec<f64> = points.chain(spreads).chain(open).collect();
    let adjusted = foretell_model::evaluate::holm(&family);
    let (points, spreads) =
        adjusted.split_at(looks.iter().filter(|(_, l)| l.point().is_some()).count());
    let (mut points, mut spreads) = (points.iter().copied(), spreads.iter().copied());
    // Direction is a family of its own, as in the table of a run.
    let directions = looks.iter().filter_map(|(_, l)| l.line.classifier.as_ref()?.p_value);
    let open = std::iter::repeat_n(1.0, unfinished);
    let family: Vec<f64> = directions.chain(open).collect();
    let mut directions = foretell_model::evaluate::holm(&family).into_iter();
    let line = |(hash, mut look): (Fingerprint, Look)| {
        if let Some(classifier) = &mut look.line.classifier {
            classifier.p_holm = classifier.p_value.and_then(|_| directions.next());
        }
        // Of what was not tested nothing is claimed.
        let untested = look.line.p_value.map(|_| 1.0);
        let p_value = look.point().and_then(|_| points.next()).or(untested);
        let spread_p = look.spread().and_then(|_| spreads.next());
        (hash, RecipeLine { p_value, spread_p, ..look.line })
    };
    looks.into_iter().map(line).collect()
}

/// What opening the box says in words, and the best spread that holds in it. A point or a
/// spread beats the random walk when its corrected p-value is below the rate.
pub(crate) fn verdict(
    table: &[RecipeLine],
    alpha: f64,
) -> (Vec<&str>, Option<SpreadSkill>, String) {
    let better = table.iter().filter(|l| l.p_value.is_some_and(|p| p < alpha));
    let points: Vec<&str> = better.map(|l| l.name.as_str()).collect();
    let spread = |l: &RecipeLine| {
        let p_value = l.spread_p.filter(|p| *p < alpha)?;
        let (recipe, qlike_skill) = (l.name.clone(), l.qlike_skill);
        Some(SpreadSkill { recipe, qlike_skill, p_value, better: true, own_test: false })
    };
    let spreads: Vec<SpreadSkill> = table.iter().filter_map(spread).collect();
    let mut words = match (points.is_empty(), spreads.is_empty()) {
        (true, true) => "in the lock-box nothing beats the random walk".to_owned(),
        (true, false) => "in the lock-box no point beats the random walk".to_owned(),
        (false, _) => format!("in the lock-box {} beat the random walk", points.join(", ")),
    };
    spreads.iter().for_each(|s| words.push_str(&format!("; {}", s.sentence())));
    let gain = |s: &SpreadSkill| s.qlike_skill.unwrap_or(f64::NEG_INFINITY);
    let best = spreads.into_iter().max_by(|a, b| gain(a).total_cmp(&gain(b)));
    (points, best, words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(name: &str, point: Option<f64>, spread: Option<f64>) -> (Fingerprint, Look) {
        let line = serde_json::json!({
            "name": name, "mae_bp": 1.0, "crps_bp": 1.0, "coverage": 0.9, "width_bp": 1.0,
            "p_value": point.or(spread.map(|_| 1.0)), "spread_p": spread,
            "qlike_skill": spread.map(|_| 0.1),
        });
        let line: RecipeLine = serde_json::from_value(line).unwrap();
        let look = Look { line, p_raw: point, spread_p_raw: spread };
        (Fingerprint::of_bytes(name.as_bytes()), look)
    }

    fn lines(looks: Vec<(Fingerprint, Look)>) -> Vec<RecipeLine> {
        corrected(looks, 0).into_iter().map(|(_, line)| line).collect()
    }

    #[test]
    fn points_and_spreads_of_all_looks_are_one_family() {
        // Holm by hand: 0.01 × 3, then the running maximum of 0.02 × 2 and 0.5.
        let looks = vec![
            look("walk", None, None),
            look("ridge", Some(0.02), None),
            look("ewma", None, Some(0.01)),
            look("forest", Some(0.5), None),
        ];
        let lines = lines(looks);
        let p: Vec<_> = lines.iter().map(|l| (l.p_value, l.spread_p)).collect();
        let expected =
            [(None, None), (Some(0.04), None), (Some(1.0), Some(0.03)), (Some(0.5), None)];
        assert_eq!(p, expected);
        let (points, spread, words) = verdict(&lines, 0.035);
        assert!(points.is_empty());
        assert_eq!(spread.as_ref().map(|s| (s.recipe.as_str(), s.p_value)), Some(("ewma", 0.03)));
        assert_eq!(
            words,
            "in the lock-box no point beats the random walk; spread by `ewma`: QLIKE 10.0 % \
             lower than the random walk's, p = 0.030"
        );
        let (points, _, words) = verdict(&lines, 0.1);
        assert_eq!(points, ["ridge"]);
        assert!(words.starts_with("in the lock-box ridge beat the random walk; spread by "));
        assert_eq!(verdict(&lines, 0.02).2, "in the lock-box nothing beats the random walk");
    }

    /// The stored form before spreads had their own p-value: the meaningless one of the
    /// point was counted, and of the spread only the corrected one was kept.
    #[test]
    fn an_early_look_of_a_spread_counts_with_what_it_kept() {
        let (hash, early) = look("ewma", Some(1.0), Some(0.03));
        let mut json = serde_json::to_value(&early).unwrap();
        json.as_object_mut().unwrap().remove("spread_p_raw");
        let early: Look = serde_json::from_value(json).unwrap();
        assert_eq!((early.point(), early.spread()), (None, Some(0.03)));
        let lines = lines(vec![(hash, early), look("ridge", Some(0.02), None)]);
        assert_eq!((lines[0].spread_p, lines[1].p_value), (Some(0.04), Some(0.04)));
    }
}
