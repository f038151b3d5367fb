//! From forecasts to judgement: all recipes on the same rows against the random walk.
//!
//! Calibration walks through the rows in time and takes in an outcome only when its
//! label has ended by the decision at hand. Nothing is fitted here but that.

use foretell_market::Timestamp;

use super::bootstrap::{optimal_block_length, percentile_interval, stationary_means};
use super::conformal::{COVERAGE_WINDOW, CalibrationState, UNBOUNDED, base_interval};
use super::coverage::{coverage_tests, rolling_coverage};
use super::direction::direction;
use super::dm::diebold_mariano;
use super::metrics::{
    BASIS_POINTS, absolute_errors, crps, interval_score, mase, mean, pinball, r2_against_zero,
    rmsse,
};
use super::report::{
    Comparison, Evaluation, FoldMetrics, IntervalReport, Metrics, Range, RecipeEvaluation,
};
use super::rolling::{RIVAL_WINDOW, rolling_quantile_intervals};
use super::sharpe::{SharpeEvidence, deflated_sharpe};
use super::walk::Walk;
use super::{EvaluationPlan, holm};
use crate::{EstimatorSpec, LEVELS, MEDIAN, ModelError, QUANTILE_LEVELS};

/// The coverage of bootstrap intervals around metrics.
const BOOTSTRAP_LEVEL: f64 = 0.9;

/// How many points of a rolling coverage are kept.
const ROLLING_POINTS: usize = 200;

/// The forecasts of one recipe on the rows of a walk.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// The recipe's name.
    pub name: String,
    /// What was fitted.
    pub spec: EstimatorSpec,
    /// Nine quantiles of the log return per row, row by row.
    pub quantiles: Vec<f64>,
}

/// Judges forecasts on the rows of a walk. One of the trials must be the random walk.
///
/// # Errors
/// When no trial is the random walk, there is no row, or forecasts do not fit the rows.
pub fn judge(
    walk: &Walk,
    trials: Vec<Trial>,
    plan: &EvaluationPlan,
) -> Result<Evaluation, ModelError> {
    plan.check()?;
    let fail = |message: String| Err(ModelError::Evaluation(message));
    let rows = walk.outcomes.len();
    if rows == 0 {
        return fail("there is no out-of-sample row: bring more data".to_owned());
    }
    if let Some(trial) = trials.iter().find(|t| t.quantiles.len() != rows * LEVELS) {
        let (name, have) = (&trial.name, trial.quantiles.len());
        return fail(format!("`{name}` has {have} quantiles for {rows} rows of {LEVELS}"));
    }
    let Some(base) = trials.iter().position(|t| t.spec == EstimatorSpec::RandomWalk) else {
        return fail("the random walk is not among the recipes: add it".to_owned());
    };
    let bench = Bench::new(walk, plan);
    let parts: Vec<Part> = trials.into_iter().map(|t| bench.part(t)).collect::<Result<_, _>>()?;
    let block_length = plan.block_length.unwrap_or_else(|| bench.block_length(&parts, base));
    let judged = bench.bootstrap(&parts, base, block_length);
    let mut recipes: Vec<RecipeEvaluation> = judged
        .into_iter()
        .zip(parts)
        .map(|(evaluation, part)| RecipeEvaluation {
            median: part.median,
            quantiles: part.trial.quantiles,
            lower: part.lower,
            upper: part.upper,
            losses: part.losses,
            returns: part.returns,
            ..evaluation
        })
        .collect();
    // Whoever forecasts the random walk's own points is no candidate on point error.
    let candidates: Vec<usize> =
        (0..recipes.len()).filter(|&i| recipes[i].losses != recipes[base].losses).collect();
    let raw: Vec<f64> = candidates.iter().map(|&i| recipes[i].versus_random_walk.p_value).collect();
    for (&i, adjusted) in candidates.iter().zip(holm(&raw)) {
        recipes[i].versus_random_walk.p_holm = adjusted;
    }
    let ratios: Vec<f64> = recipes.iter().map(|r| r.sharpe.sharpe).collect();
    for recipe in &mut recipes {
        recipe.sharpe.deflated = deflated_sharpe(&recipe.sharpe, &ratios).unwrap_or(f64::NAN);
    }
    let rival = rolling_quantile_intervals(&walk.history, &walk.times, RIVAL_WINDOW, plan.level);
    let (lower, upper): (Vec<f64>, Vec<f64>) = rival.into_iter().unzip();
    Ok(Evaluation {
        interval: walk.interval,
        horizon: walk.horizon,
        steps: walk.steps(),
        level: plan.level,
        cost_bp: plan.cost_bp,
        block_length,
        folds: walk.folds.clone(),
        times: walk.times.clone(),
        outcomes: walk.outcomes.clone(),
        recipes,
        rival: bench.interval_report(&lower, &upper, block_length),
        volatility: None,
    })
}

/// One recipe, judged alone.
struct Part {
    trial: Trial,
    median: Vec<f64>,
    lower: Vec<f64>,
    upper: Vec<f64>,
    losses: Vec<f64>,
    crps: Vec<f64>,
    returns: Vec<f64>,
    calibration: CalibrationState,
}

/// What all recipes are judged with.
struct Bench<'a> {
    walk: &'a Walk,
    plan: &'a EvaluationPlan,
    /// Per row: the row decided one step earlier, and the one decided a horizon earlier.
    earlier: Vec<(Option<usize>, Option<usize>)>,
}

impl<'a> Bench<'a> {
    fn new(walk: &'a Walk, plan: &'a EvaluationPlan) -> Self {
        let find = |t: Timestamp| walk.times.binary_search(&t).ok();
        let earlier =
            walk.times.iter().map(|&t| (find(t - walk.interval), find(t - walk.horizon))).collect();
        Self { walk, plan, earlier }
    }

    fn part(&self, trial: Trial) -> Result<Part, ModelError> {
        let outcomes = &self.walk.outcomes;
        let rows: Vec<&[f64]> = trial.quantiles.chunks_exact(LEVELS).collect();
        let median: Vec<f64> = rows.iter().map(|q| q[MEDIAN]).collect();
        let mut state = CalibrationState::new(self.plan.level)
            .map_err(|e| ModelError::Evaluation(e.to_string()))?;
        let (mut lower, mut upper) = (Vec::new(), Vec::new());
        let mut known = 0;
        for (row, decision) in rows.iter().zip(&self.walk.times) {
            while self.walk.known_at[known] <= *decision {
                state.update(rows[known], outcomes[known]);
                known += 1;
            }
            let (low, high) = state.interval(row);
            lower.push(low);
            upper.push(high);
        }
        (known..rows.len()).for_each(|i| state.update(rows[i], outcomes[i]));
        let crps = rows.iter().zip(outcomes).map(|(q, y)| crps(*y, q)).collect();
        let losses = absolute_errors(outcomes, &median);
        let returns = self.sign_strategy(&median);
        Ok(Part { median, lower, upper, losses, crps, returns, calibration: state, trial })
    }

    /// Return per row of the sign strategy with lag one. At each decision a tranche of
    /// `1 / steps` of the capital takes the sign of the forecast made one step earlier
    /// (the price at which the forecast was made is gone) and holds it over the horizon;
    /// turning it over from the tranche that ends now is paid at the stated cost. A
    /// missing earlier row means no position.
    fn sign_strategy(&self, median: &[f64]) -> Vec<f64> {
        let steps = self.walk.steps() as f64;
        let cost = self.plan.cost_bp / BASIS_POINTS;
        let sign = |m: f64| if m == 0.0 { 0.0 } else { m.signum() };
        let position: Vec<f64> =
            self.earlier.iter().map(|(step, _)| step.map_or(0.0, |i| sign(median[i]))).collect();
        let at = |i: usize| {
            let before = self.earlier[i].1.map_or(0.0, |j| position[j]);
            let gain = position[i] * libm::expm1(self.walk.outcomes[i]);
            (gain - cost * (position[i] - before).abs()) / steps
        };
        (0..median.len()).map(at).collect()
    }

    /// The longest block that any of the averages asks for, at least the horizon.
    fn block_length(&self, parts: &[Part], base: usize) -> f64 {
        let differences = parts.iter().map(|p| {
            let pairs = p.losses.iter().zip(&parts[base].losses);
            optimal_block_length(&pairs.map(|(a, b)| a - b).collect::<Vec<_>>())
        });
        let own = optimal_block_length(&parts[base].losses);
        differences.fold(own, f64::max).max(self.walk.steps() as f64)
    }

    /// Metrics and comparisons with their bootstrap intervals, the series left empty.
    fn bootstrap(&self, parts: &[Part], base: usize, block_length: f64) -> Vec<RecipeEvaluation> {
        let series: Vec<&[f64]> =
            parts.iter().flat_map(|p| [p.losses.as_slice(), p.crps.as_slice()]).collect();
        let (draws, seed) = (self.plan.bootstrap_draws, self.plan.seed);
        let means = stationary_means(&series, block_length, draws, seed);
        let judged = |(i, part): (usize, &Part)| {
            let base_part = &parts[base];
            let adaptive = self.interval_report(&part.lower, &part.upper, block_length);
            let skill = |of: usize| {
                let pairs = means[2 * i + of].iter().zip(&means[2 * base + of]);
                percentile_interval(pairs.map(|(own, rival)| 1.0 - own / rival), BOOTSTRAP_LEVEL)
            };
            let mae = means[2 * i].iter().map(|m| m * BASIS_POINTS);
            let test = diebold_mariano(&part.losses, &base_part.losses, self.walk.steps());
            let relative = mean(&part.losses) / mean(&base_part.losses);
            let differences = part.losses.iter().zip(&base_part.losses).map(|(a, b)| a - b);
            let comparison = Comparison {
                mean_diff: differences.sum::<f64>() / part.losses.len() as f64,
                statistic: test.statistic(),
                p_value: test.p_value(),
                p_holm: 1.0,
                skill: 1.0 - relative,
                skill_interval: skill(0).into(),
                crps_skill: 1.0 - mean(&part.crps) / mean(&base_part.crps),
                crps_skill_interval: skill(1).into(),
                lag1_autocorrelation: test.lag1_autocorrelation(),
                test,
            };
            let interval = percentile_interval(mae, BOOTSTRAP_LEVEL).into();
            RecipeEvaluation {
                name: part.trial.name.clone(),
                spec: part.trial.spec.clone(),
                median: Vec::new(),
                quantiles: Vec::new(),
                lower: Vec::new(),
                upper: Vec::new(),
                losses: Vec::new(),
                returns: Vec::new(),
                metrics: self.metrics(part, relative, interval, &adaptive),
                versus_random_walk: comparison,
                folds: self.fold_metrics(part, base_part),
                adaptive,
                own: self.own_report(part, block_length),
                sharpe: SharpeEvidence::of(&part.returns),
                calibration: part.calibration.clone(),
            }
        };
        parts.iter().enumerate().map(judged).collect()
    }

    fn metrics(
        &self,
        part: &Part,
        relative_mae: f64,
        mae_bp_interval: Range,
        adaptive: &IntervalReport,
    ) -> Metrics {
        let outcomes = &self.walk.outcomes;
        let scales = self.walk.scales();
        let errors: Vec<f64> = outcomes.iter().zip(&part.median).map(|(y, m)| y - m).collect();
        let squares = errors.iter().map(|e| e * e).sum::<f64>() / errors.len() as f64;
        let direction = direction(outcomes, &part.median);
        let rows = || part.trial.quantiles.chunks_exact(LEVELS).zip(outcomes);
        let pinball_at = |(i, level): (usize, &f64)| {
            rows().map(|(q, y)| pinball(*y, q[i], *level)).sum::<f64>() / outcomes.len() as f64
        };
        Metrics {
            rows: outcomes.len(),
            mae_bp: mean(&part.losses) * BASIS_POINTS,
            mae_bp_interval,
            relative_mae,
            rmse_bp: squares.sqrt() * BASIS_POINTS,
            mase: mase(&errors, &scales),
            rmsse: rmsse(&errors, &scales),
            r2_zero: r2_against_zero(outcomes, &part.median),
            directional_accuracy: direction.accuracy,
            directional_p: direction.binomial_p,
            direction,
            crps: mean(&part.crps),
            pinball: QUANTILE_LEVELS.iter().enumerate().map(pinball_at).collect(),
            coverage: adaptive.coverage,
            width_bp: adaptive.width_bp,
            interval_score: adaptive.interval_score,
        }
    }

    fn fold_metrics(&self, part: &Part, base: &Part) -> Vec<FoldMetrics> {
        let level = self.plan.level;
        let judged = |fold: &super::FoldSummary| {
            let rows = fold.first_row..fold.first_row + fold.rows;
            let over =
                |of: &dyn Fn(usize) -> f64| rows.clone().map(of).sum::<f64>() / fold.rows as f64;
            let (y, low, high) = (&self.walk.outcomes, &part.lower, &part.upper);
            let mae = over(&|i| part.losses[i]);
            FoldMetrics {
                mae_bp: mae * BASIS_POINTS,
                relative_mae: mae / over(&|i| base.losses[i]),
                crps: over(&|i| part.crps[i]),
                coverage: over(&|i| f64::from(u8::from(low[i] <= y[i] && y[i] <= high[i]))),
                width_bp: over(&|i| high[i] - low[i]) * BASIS_POINTS,
                interval_score: over(&|i| interval_score(y[i], low[i], high[i], level)),
            }
        };
        self.walk.folds.iter().map(judged).collect()
    }

    /// The model's own interval at the levels nearest to the one aimed at.
    fn own_report(&self, part: &Part, block_length: f64) -> IntervalReport {
        let (lower, upper) = base_interval(self.plan.level);
        let column = |j: usize| -> Vec<f64> {
            part.trial.quantiles.chunks_exact(LEVELS).map(|q| q[j]).collect()
        };
        self.interval_report(&column(lower), &column(upper), block_length)
    }

    fn interval_report(&self, lower: &[f64], upper: &[f64], block_length: f64) -> IntervalReport {
        let (y, level) = (&self.walk.outcomes, self.plan.level);
        let rows = y.len();
        let covered: Vec<bool> = (0..rows).map(|i| lower[i] <= y[i] && y[i] <= upper[i]).collect();
        let hits: Vec<f64> = covered.iter().map(|c| f64::from(u8::from(*c))).collect();
        let bounded: Vec<f64> =
            (0..rows).map(|i| upper[i] - lower[i]).filter(|w| *w < 2.0 * UNBOUNDED).collect();
        let scores = (0..rows).map(|i| interval_score(y[i], lower[i], upper[i], level));
        let (draws, seed) = (self.plan.bootstrap_draws, self.plan.seed);
        let means = stationary_means(&[&hits], block_length, draws, seed);
        IntervalReport {
            coverage: mean(&hits),
            coverage_interval: percentile_interval(means[0].iter().copied(), BOOTSTRAP_LEVEL)
                .into(),
            width_bp: mean(&bounded) * BASIS_POINTS,
            interval_score: scores.sum::<f64>() / rows as f64,
            unbounded_rows: rows - bounded.len(),
            rolling: rolling_coverage(&covered, COVERAGE_WINDOW, level, ROLLING_POINTS),
            tests: coverage_tests(&covered, level),
        }
    }
}
