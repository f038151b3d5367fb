//! The promote station: refits, the rule, and what is recorded of both.

use std::sync::Arc;

use foretell_market::Fingerprint;
use foretell_model::evaluate::{
    Aspect, Evaluation, FailedRecipe, Promotion, Recipe, RecipeEvaluation, decide_promotion,
};
use foretell_registry::{
    AuditEvent, JudgedTogether, Metric, ModelFilter, ModelVersion, Param, SpreadLosses, Trial,
};

use super::{Run, needs, table_name};
use crate::error::PlatformError;
use crate::forecasting::{CHALLENGER, CHAMPION};
use crate::pipeline::Pipeline;
use crate::training::{self, Evidence, Learning, Refit};
use crate::{lockbox, overfitting, rate};

impl Run<'_> {
    pub(super) async fn promote(&mut self) -> Result<String, PlatformError> {
        let (store, pipeline) = (self.store, self.pipeline);
        let (observer, stop) = (Arc::clone(&self.observer), Arc::clone(&self.stop));
        let keeper = Arc::clone(&self.keeper);
        // Who failed in the evaluation has nothing to be fitted for.
        let judged = needs(&self.made.evaluation, "the evaluation")?;
        let (recipes, lost): (Vec<_>, Vec<_>) =
            self.learning().await?.into_iter().partition(|(r, _)| judged.recipe(&r.name).is_some());
        let fits = recipes.iter().map(|(r, l)| (r.clone(), Arc::clone(&l.rows))).collect();
        let refits = training::refit(fits, pipeline.seed, observer, stop, keeper).await?;
        if let Some(evaluation) = &mut self.made.evaluation {
            // The station may be at work a second time.
            evaluation.failed.retain(|f| !f.was_judged());
            evaluation.failed.extend(refits.failed);
        }
        let refits = refits.done;
        let evaluation = needs(&self.made.evaluation, "the evaluation")?;
        let left = refits.iter().map(|r| &r.recipe.spec);
        let nothing_left = training::check_some_left(left, &evaluation.failed).err();
        let served = store.registry.aliased(&pipeline.name, CHAMPION).await?;
        let reigning = served.as_ref().map(evidence_of).transpose()?;
        // Recipes are compared, not names: an edited recipe inherits nothing.
        let same = |r: &Recipe, e: &Evidence| {
            r.name == e.recipe && pipeline.recipe_hash(r) == e.recipe_hash
        };
        let reigning = reigning.filter(|e| recipes.iter().chain(&lost).any(|(r, _)| same(r, e)));
        // Only what passed the rule keeps its place by its own test; a champion that was
        // made one by hand has to pass like any other.
        let is_walk = |e: &Evidence| evaluation.random_walk().name == e.recipe;
        // One that could not be judged keeps its place, whoever gave it that.
        let is_lost = |e: &Evidence| lost.iter().any(|(r, _)| r.name == e.recipe);
        let by_hand = reigning.as_ref().filter(|e| !e.passed && !is_walk(e) && !is_lost(e));
        let by_hand = by_hand.map(|e| e.recipe.clone());
        let champion = reigning.map(|e| e.recipe).filter(|name| by_hand.as_ref() != Some(name));
        rate::fix(store, pipeline).await?;
        let earlier = self.earlier_tests().await?;
        let mut promotion =
            decide_promotion(evaluation, champion.as_deref(), pipeline.alpha, earlier);
        if let Some(name) = by_hand {
            let note = format!("; `{name}` was made champion by hand and is judged like any other");
            promotion.reason.push_str(&note);
        }
        if let Some(error) = nothing_left {
            // They were tested, and that is on record before the run ends.
            self.write_ledger(&promotion).await?;
            self.store.registry.put_params(self.id, &failures(evaluation)).await?;
            return Err(error);
        }
        let mut versions = Vec::new();
        for refit in &refits {
            let learning = recipes.iter().find(|(r, _)| r.name == refit.recipe.name);
            let Some((_, learning)) = learning else { continue };
            versions.push(self.register(refit, &promotion, learning).await?);
        }
        let with_lock_box = recipes.iter().filter(|(_, l)| l.includes_lock_box);
        let with_lock_box = with_lock_box.map(|(r, _)| r.name.clone()).collect();
        self.write_ledger(&promotion).await?;
        self.write_metrics(&versions).await?;
        let now = store.clock.now();
        let winner = versions.iter().find(|v| v.0 == promotion.winner).map(|(_, version)| version);
        // A champion that could not be fitted anew is served as it was.
        let stays = served.as_ref().filter(|_| champion.as_ref() == Some(&promotion.winner));
        let Some(serves) = winner.or(stays) else {
            let message = format!("`{}` won and was not fitted", promotion.winner);
            return Err(PlatformError::Mismatch(message));
        };
        let event = |action: &str, version: &ModelVersion| AuditEvent {
            at: now,
            actor: format!("run {}", self.id),
            action: action.to_owned(),
            subject: format!("{} version {}", version.name, version.version),
            detail_json: serde_json::json!({ "reason": promotion.reason }).to_string(),
        };
        if let Some(winner) = winner {
            let action = if promotion.promoted { "promote" } else { "refit" };
            let audit = event(action, winner);
            store.registry.promote(&pipeline.name, winner.version, CHAMPION, &audit).await?;
        }
        let fitted = |r: &&RecipeEvaluation| versions.iter().any(|v| v.0 == r.name);
        let best = evaluation.recipes.iter().filter(|r| r.name != promotion.winner);
        let best = best.filter(fitted);
        let best = best.min_by(|a, b| a.metrics.mae_bp.total_cmp(&b.metrics.mae_bp));
        if let Some((_, version)) = best.and_then(|b| versions.iter().find(|v| v.0 == b.name)) {
            let audit = event("challenge", version);
            store.registry.promote(&pipeline.name, version.version, CHALLENGER, &audit).await?;
        }
        let line = promotion.reason.clone();
        let searched = refits
            .iter()
            .filter_map(|r| Some((r.recipe.name.clone(), &r.recipe.spec, r.search.as_ref()?)));
        self.made.searches = store.refit_searches(&searched.collect::<Vec<_>>()).await?;
        self.made.with_lock_box = with_lock_box;
        self.made.champion = Some(serves.clone());
        self.made.refits = refits;
        self.made.promotion = Some(promotion);
        Ok(line)
    }

    /// The recipes with the rows of their final refit: the judged ones, and the lock-box as
    /// well for a recipe that has opened it and shown its result, where the file asks so.
    async fn learning(&self) -> Result<Vec<(Recipe, Learning)>, PlatformError> {
        let (store, pipeline) = (self.store, self.pipeline);
        let plain = Learning {
            rows: Arc::clone(needs(&self.made.dataset, "the dataset")?),
            fingerprint: *needs(&self.made.fingerprint, "the dataset's fingerprint")?,
            includes_lock_box: false,
        };
        let opened = match pipeline.refit_includes_lock_box {
            true => lockbox::opened_by(store, pipeline).await?,
            false => Vec::new(),
        };
        let recipes = training::recipes(pipeline)?;
        let looked = |r: &Recipe| opened.contains(&pipeline.recipe_hash(r));
        let mut whole = None;
        if recipes.iter().any(looked) {
            let made = needs(&self.made.materialised, "the features")?;
            let rows = Arc::new(made.allowed(None));
            let name = format!("{}.with-lock-box", table_name(pipeline, made));
            let fingerprint = self.register_dataset(&rows, &name).await?;
            whole = Some(Learning { rows, fingerprint, includes_lock_box: true });
        }
        let learning = |recipe: Recipe| {
            let rows = whole.as_ref().filter(|_| looked(&recipe)).unwrap_or(&plain).clone();
            (recipe, rows)
        };
        Ok(recipes.into_iter().map(learning).collect())
    }

    /// How many promotion tests came before: judging the very same recipes with the very
    /// same losses, rate and coverage again is the same test and spends nothing, anything
    /// else does.
    async fn earlier_tests(&self) -> Result<u64, PlatformError> {
        let (registry, pipeline) = (&self.store.registry, self.pipeline);
        let evaluation = needs(&self.made.evaluation, "the evaluation")?;
        let judged = |r: &'_ RecipeEvaluation| {
            pipeline.recipe_hash(&Recipe { name: r.name.clone(), spec: r.spec.clone() })
        };
        let judged: Vec<JudgedTogether<'_>> = evaluation
            .recipes
            .iter()
            .map(|r| JudgedTogether {
                recipe: judged(r),
                losses: &r.losses,
                spread: r.spread.as_ref().filter(|s| s.rows_hash.is_some()).map(|s| &s.losses[..]),
            })
            .chain(evaluation.unjudged().map(|f| JudgedTogether {
                recipe: hash_of(pipeline, f),
                losses: &[],
                spread: None,
            }))
            .collect();
        let (horizon, terms) = (pipeline.label.horizon, overfitting::terms(pipeline));
        let instrument = &pipeline.instrument;
        Ok(registry.earlier_tests(instrument, horizon, Some(&terms), &judged).await?)
    }

    /// Registers a refit, or finds the same model of the same dataset from before.
    async fn register(
        &self,
        refit: &Refit,
        promotion: &Promotion,
        learning: &Learning,
    ) -> Result<(String, ModelVersion), PlatformError> {
        let (store, pipeline) = (self.store, self.pipeline);
        let evaluation = needs(&self.made.evaluation, "the evaluation")?;
        let dataset = learning.fingerprint;
        let name = refit.recipe.name.clone();
        let judged = evaluation.recipe(&name).ok_or_else(|| {
            PlatformError::Mismatch(format!("`{name}` was fitted and not judged: a bug"))
        })?;
        let line = training::table(evaluation).into_iter().find(|l| l.name == name);
        let line = line.ok_or_else(|| PlatformError::Mismatch(format!("no line for {name}")))?;
        let candidate = promotion.candidates.iter().any(|c| c.name == name);
        let mut line = line;
        // A champion that keeps its place rests on its own test, not on Holm's, and says so.
        let own_test = promotion.skilled && promotion.winner == name && !candidate;
        if own_test {
            line.p_value = Some(judged.versus_random_walk.p_value);
        }
        let rivals = promotion.candidates.iter().any(|c| c.aspect == Aspect::Point);
        let serves = promotion.skilled || promotion.spread.is_some();
        let evidence = Evidence {
            recipe: name.clone(),
            recipe_hash: pipeline.recipe_hash(&refit.recipe),
            line,
            // A champion that keeps its place is no candidate, and has its skill all the same.
            passed: (serves && promotion.winner == name)
                || promotion.candidates.iter().any(|c| c.name == name && c.passed),
            best_p: rivals.then_some(promotion.best_p),
            withheld: promotion.withheld.clone(),
            own_test,
            level: evaluation.level,
            feature_ranges: training::feature_ranges(&learning.rows),
            spread: training::spread_skill(judged, promotion),
            includes_lock_box: learning.includes_lock_box,
            searched: refit.search.as_ref().map(|s| (s.study.key, s.trials.len())),
            shap: training::kept(&refit.shap),
            permutation: training::kept(&judged.permutation),
        };
        let evaluation_json = serde_json::to_string(&evidence).unwrap_or_default();
        let artifact = store.lake.put_artifact(refit.bytes.clone()).await;
        let artifact = artifact.map_err(PlatformError::lake("storing a model"))?;
        let filter = ModelFilter { name: Some(pipeline.name.clone()), ..Default::default() };
        let known = store.registry.model_versions(&filter).await?;
        let evidence = identity(&evaluation_json);
        let same = |v: &ModelVersion| {
            (v.hash, v.dataset) == (refit.hash, dataset) && identity(&v.evaluation_json) == evidence
        };
        if let Some(version) = known.into_iter().find(same) {
            return Ok((name, version));
        }
        let version = ModelVersion {
            name: pipeline.name.clone(),
            version: 0,
            run_id: self.id.to_owned(),
            spec_json: serde_json::to_string(&refit.recipe.spec).unwrap_or_default(),
            hash: refit.hash,
            artifact,
            dataset,
            feature_set: refit.model.feature_set,
            // Age counts from what the model knows, not from when the fit ran: a lock-box
            // at the end of the data makes a model old, and it says so.
            fitted_as_of: refit.model.train_to,
            train_from: refit.model.train_from,
            train_to: refit.model.train_to,
            calibration_json: serde_json::to_string(&judged.calibration).unwrap_or_default(),
            evaluation_json,
            created_at: store.clock.now(),
        };
        Ok((name, store.registry.insert_model_version(&version).await?))
    }

    async fn write_ledger(&self, promotion: &Promotion) -> Result<(), PlatformError> {
        let evaluation = needs(&self.made.evaluation, "the evaluation")?;
        let pipeline = self.pipeline;
        let mut trials = Vec::new();
        for judged in &evaluation.recipes {
            let recipe = Recipe { name: judged.name.clone(), spec: judged.spec.clone() };
            let recipe_hash = pipeline.recipe_hash(&recipe);
            let verdict = promotion.candidates.iter().find(|c| c.name == judged.name);
            trials.push(Trial {
                id: Trial::id_of(self.id, &recipe_hash),
                run_id: self.id.to_owned(),
                pipeline: pipeline.name.clone(),
                instrument: pipeline.instrument.clone(),
                horizon: pipeline.label.horizon,
                recipe_name: judged.name.clone(),
                recipe_hash,
                p_value: verdict.map(|v| v.p_holm),
                alpha_spent: verdict.map_or(0.0, |_| promotion.alpha_spent),
                rows: Some(evaluation.rows_fingerprint()),
                losses: judged.losses.clone(),
                returns: judged.returns.clone(),
                terms: Some(overfitting::terms(pipeline)),
                spread: judged.spread.as_ref().and_then(|s| {
                    Some(SpreadLosses { rows: s.rows_hash?, losses: s.losses.clone() })
                }),
                failure: None,
                created_at: self.store.clock.now(),
            });
        }
        // Who failed stood in the family with a p-value of 1.
        let failed = self.failed_trials(evaluation);
        trials.extend(failed.map(|t| Trial {
            p_value: Some(1.0),
            alpha_spent: promotion.alpha_spent,
            ..t
        }));
        self.store.registry.insert_trials(&trials).await?;
        Ok(())
    }

    /// The trials of the recipes that failed, untested.
    fn failed_trials<'e>(&'e self, evaluation: &'e Evaluation) -> impl Iterator<Item = Trial> + 'e {
        let pipeline = self.pipeline;
        evaluation.unjudged().map(move |failed| {
            let recipe_hash = hash_of(pipeline, failed);
            Trial {
                id: Trial::id_of(self.id, &recipe_hash),
                run_id: self.id.to_owned(),
                pipeline: pipeline.name.clone(),
                instrument: pipeline.instrument.clone(),
                horizon: pipeline.label.horizon,
                recipe_name: failed.name.clone(),
                recipe_hash,
                p_value: None,
                alpha_spent: 0.0,
                rows: None,
                losses: Vec::new(),
                returns: Vec::new(),
                terms: Some(overfitting::terms(pipeline)),
                spread: None,
                failure: Some(failed.to_string()),
                created_at: self.store.clock.now(),
            }
        })
    }

    /// Writes down the tries of a run in which nothing was left to judge.
    pub(super) async fn write_failed(&self) -> Result<(), PlatformError> {
        let evaluation = needs(&self.made.evaluation, "the evaluation")?;
        let trials: Vec<Trial> = self.failed_trials(evaluation).collect();
        self.store.registry.insert_trials(&trials).await?;
        self.store.registry.put_params(self.id, &failures(evaluation)).await?;
        Ok(())
    }

    async fn write_metrics(
        &self,
        versions: &[(String, ModelVersion)],
    ) -> Result<(), PlatformError> {
        let evaluation = needs(&self.made.evaluation, "the evaluation")?;
        let mut metrics = Vec::new();
        for line in training::table(evaluation) {
            let mut put = |what: &str, value: Option<f64>| {
                if let Some(value) = value.filter(|v| v.is_finite()) {
                    let name = format!("{}/{what}", line.name);
                    metrics.push(Metric { name, value, step: 0 });
                }
            };
            put("mae_bp", Some(line.mae_bp));
            put("relative_mae", line.relative_mae);
            put("mase", line.mase);
            put("rmsse", line.rmsse);
            put("r2_zero", line.r2_zero);
            put("directional_accuracy", line.directional_accuracy);
            put("crps_bp", Some(line.crps_bp));
            put("coverage", Some(line.coverage));
            put("width_bp", Some(line.width_bp));
            put("skill", line.skill);
            put("p_value", line.p_value);
            put("qlike_skill", line.qlike_skill);
            put("spread_p_value", line.spread_p);
            put("lag1_autocorrelation", line.lag1);
            put("spread_lag1_autocorrelation", line.spread_lag1);
            if let Some(c) = &line.classifier {
                put("direction_log_loss", Some(c.log_loss));
                put("direction_log_loss_skill", Some(c.log_loss_skill));
                put("direction_brier", Some(c.brier));
                put("direction_mcc", c.mcc);
                put("direction_p_value", c.p_holm);
            }
            if let Some(seeds) = &line.seeds {
                put("seeds", Some(seeds.seeds as f64));
                put("folds", Some(seeds.folds as f64));
                put("mae_bp_seeds_mean", seeds.mae_bp.1.map(|_| seeds.mae_bp.0));
                put("mae_bp_seeds_deviation", seeds.mae_bp.1);
            }
        }
        let spoilt = needs(&self.made.overfitting, "the overfitting")?;
        let mut put = |what: &str, value: f64| {
            metrics.push(Metric { name: format!("overfitting/{what}"), value, step: 0 });
        };
        spoilt.probability.into_iter().for_each(|p| put("pbo", p));
        put("trials", spoilt.trials as f64);
        spoilt.spread_probability.into_iter().for_each(|p| put("spread_pbo", p));
        put("spread_trials", spoilt.spread_trials as f64);
        put("recipes", spoilt.recipes as f64);
        metrics.push(Metric {
            name: "failed_recipes".to_owned(),
            value: evaluation.failed.len() as f64,
            step: 0,
        });
        let param = |name: &str, value: String| Param { name: name.to_owned(), value };
        let raw_version = needs(&self.made.raw, "the raw table")?.0;
        let numbers: Vec<u32> = versions.iter().map(|(_, v)| v.version).collect();
        let lock_box = crate::lockbox::effective(self.store, self.pipeline).await?;
        let params = [
            param("versions", serde_json::json!(numbers).to_string()),
            param("lock_box", serde_json::json!(lock_box).to_string()),
            param("raw_version", raw_version.to_string()),
            param("present", self.made.present.to_string()),
            param("read_at", self.made.read_at.to_string()),
            param("dataset", needs(&self.made.fingerprint, "the fingerprint")?.to_string()),
            param("feature_set", self.pipeline.features.set.clone()),
            param("seed", self.pipeline.seed.to_string()),
            param("cpu_features", foretell_model::cpu_features()),
            param("product_version", env!("CARGO_PKG_VERSION").to_owned()),
        ];
        let registry = &self.store.registry;
        registry.put_params(self.id, &params).await?;
        registry.put_params(self.id, &failures(evaluation)).await?;
        registry.put_metrics(self.id, &metrics).await?;
        Ok(())
    }
}

/// What stands in the ledger for a recipe that failed.
fn hash_of(pipeline: &Pipeline, failed: &FailedRecipe) -> Fingerprint {
    pipeline.recipe_hash(&Recipe { name: failed.name.clone(), spec: failed.spec.clone() })
}

/// Every failure of a run as a parameter of it.
fn failures(evaluation: &Evaluation) -> Vec<Param> {
    let param =
        |f: &FailedRecipe| Param { name: format!("failed/{}", f.name), value: f.to_string() };
    evaluation.failed.iter().map(param).collect()
}

/// What of stored evidence belongs to a version: all but the deflated Sharpe ratio, which
/// hangs on what else the ledger holds, and what only tells more of the same model: further
/// seeds and the parts of features.
fn identity(evidence: &str) -> Option<serde_json::Value> {
    let mut evidence: serde_json::Value = serde_json::from_str(evidence).ok()?;
    let line = evidence.get_mut("line")?.as_object_mut()?;
    line.remove("deflated_sharpe");
    line.remove("seeds");
    let whole = evidence.as_object_mut()?;
    whole.remove("shap");
    whole.remove("permutation");
    Some(evidence)
}

/// Why a version may be trusted, as it was stored.
pub(crate) fn evidence_of(version: &ModelVersion) -> Result<Evidence, PlatformError> {
    serde_json::from_str(&version.evaluation_json).map_err(|e| {
        let what = format!("{} version {}", version.name, version.version);
        PlatformError::Mismatch(format!("the evidence of {what} cannot be read: {e}"))
    })
}
