//! From forecasts to judgement: all recipes on the same rows against the random walk.
//!
//! Calibration walks through the rows in time and takes in an outcome only when its
//! label has ended by the decision at hand. Nothing is fitted here but that.

use foretell_market::Timestamp;

use super::bootstrap::{optimal_block_length, percentile_interval, stationary_means};
use super::classifier::{DirectionSkill, direction_skill, probability_of_rise};
use super::conformal::{COVERAGE_WINDOW, CalibrationState, UNBOUNDED, base_interval};
use super::coverage::{coverage_tests, rolling_coverage};
use super::direction::direction;
use super::dm::diebold_mariano;
use super::failed::FailedRecipe;
use super::mcs::{ConfidenceSet, Loss, MostDifferent};
use super::metrics::{
    BASIS_POINTS, absolute_errors, crps, interval_score, mase, mean, pinball, r2_against_zero,
    rmsse,
};
use super::permutation::PermutationImportance;
use super::ranks::rank;
use super::report::{
    Comparison, EVALUATION_VERSION, Evaluation, FoldMetrics, IntervalReport, Metrics, Range,
    RecipeEvaluation,
};
use super::rolling::{RIVAL_WINDOW, rolling_quantile_intervals};
use super::seeds::{Deviation, SeedScore, SeedSummary};
use super::sharpe::SharpeEvidence;
use super::spread::{SpreadEvaluation, SpreadRows, judge_spread};
use super::volatility::qlike;
use super::walk::Walk;
use super::{EvaluationPlan, holm};
use crate::{EstimatorSpec, LEVELS, MEDIAN, ModelError, QUANTILE_LEVELS};

/// The coverage of bootstrap intervals around metrics.
const BOOTSTRAP_LEVEL: f64 = 0.9;

/// The confidence of the model confidence set.
const SET_LEVEL: f64 = 0.9;

/// The confidence of the critical difference of ranks.
const RANK_LEVEL: f64 = 0.95;

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
    /// Forecast of the row's variance proxy, scaled inside its fold, per row; absent for a
    /// recipe that is not judged on its spread.
    pub variance: Option<Vec<f64>>,
    /// The errors of further seeds, each on all rows.
    pub further_seeds: Vec<SeedScore>,
    /// What shuffling each feature did in the last fold.
    pub permutation: Vec<PermutationImportance>,
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
    judge_beside(walk, trials, Vec::new(), plan)
}

/// The same beside recipes that failed: they count as tries in every correction.
///
/// # Errors
/// As [`judge`].
pub(crate) fn judge_beside(
    walk: &Walk,
    trials: Vec<Trial>,
    failed: Vec<FailedRecipe>,
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
    let misfit = |t: &&Trial| t.variance.as_ref().is_some_and(|v| v.len() != rows);
    if let Some(trial) = trials.iter().find(misfit) {
        return fail(format!("`{}` has not one variance for each of {rows} rows", trial.name));
    }
    let Some(base) = trials.iter().position(|t| t.spec == EstimatorSpec::RandomWalk) else {
        return fail("the random walk is not among the recipes: add it".to_owned());
    };
    let bench = Bench::new(walk, plan);
    let parts: Vec<Part> = trials.into_iter().map(|t| bench.part(t)).collect::<Result<_, _>>()?;
    let block_length = plan.block_length.unwrap_or_else(|| bench.block_length(&parts, base));
    let (mut recipes, rival, confidence_sets) = bench.evaluations(parts, base, block_length);
    correct(&mut recipes, base, failed.len());
    correct_directions(&mut recipes, failed.len());
    let by_fold = |r: &RecipeEvaluation| r.folds.iter().map(|f| f.mae_bp).collect();
    let ranks = rank(&recipes.iter().map(by_fold).collect::<Vec<_>>(), RANK_LEVEL);
    let mut evaluation = Evaluation {
        version: EVALUATION_VERSION,
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
        rival,
        volatility: None,
        confidence_sets,
        ranks,
        failed,
    };
    evaluation.deflate(&[]);
    Ok(evaluation)
}

/// Holm over every test against the random walk of the run, of points and of spreads. A
/// recipe that failed was to be tested too: it stands in the family with a p-value of 1.
fn correct(recipes: &mut [RecipeEvaluation], base: usize, failed: usize) {
    // Whoever forecasts the random walk's own points is no candidate on point error.
    let points: Vec<usize> =
        (0..recipes.len()).filter(|&i| recipes[i].losses != recipes[base].losses).collect();
    let spreads: Vec<usize> =
        (0..recipes.len()).filter(|&i| i != base && recipes[i].spread.is_some()).collect();
    let of_point = points.iter().map(|&i| recipes[i].versus_random_walk.p_value);
    let of_spread = spreads.iter().filter_map(|&i| recipes[i].spread.as_ref()).map(|s| s.p_value);
    let of_failed = std::iter::repeat_n(1.0, failed);
    let adjusted = holm(&of_point.chain(of_spread).chain(of_failed).collect::<Vec<_>>());
    for (&i, p) in points.iter().zip(&adjusted) {
        recipes[i].versus_random_walk.p_holm = *p;
    }
    for (&i, p) in spreads.iter().zip(&adjusted[points.len()..]) {
        if let Some(spread) = &mut recipes[i].spread {
            spread.p_holm = *p;
        }
    }
}

/// Holm over the tests of direction of the table, a family of its own: it promotes nobody.
/// A recipe that failed stands in it with a p-value of 1.
fn correct_directions(recipes: &mut [RecipeEvaluation], failed: usize) {
    let mut judged: Vec<&mut DirectionSkill> =
        recipes.iter_mut().filter_map(|r| r.classifier.as_mut()).collect();
    judged.retain(|c| c.p_value.is_some());
    let of_failed = std::iter::repeat_n(1.0, failed);
    let family: Vec<f64> = judged.iter().filter_map(|c| c.p_value).chain(of_failed).collect();
    let adjusted = holm(&family);
    for (classifier, p) in judged.into_iter().zip(adjusted) {
        classifier.p_holm = Some(p);
    }
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
    /// The adaptive interval and the model's own, with their hits.
    adaptive: (IntervalReport, Vec<f64>),
    own: (IntervalReport, Vec<f64>),
}

/// How many series of a recipe are bootstrapped: losses, CRPS, hits of both intervals.
const SERIES: usize = 4;

/// The model confidence sets by each loss and statistic, from the bootstrap means of all
/// series.
fn confidence_sets(parts: &[Part], means: &[Vec<f64>]) -> Vec<ConfidenceSet> {
    let names: Vec<&str> = parts.iter().map(|p| &p.trial.name[..]).collect();
    let mut sets = Vec::new();
    for (series, loss) in [(0, Loss::AbsoluteError), (1, Loss::Crps)] {
        let of = |p: &Part| mean(if series == 0 { &p.losses } else { &p.crps });
        let own: Vec<f64> = parts.iter().map(of).collect();
        let draws: Vec<&[f64]> =
            (0..parts.len()).map(|i| &means[SERIES * i + series][..]).collect();
        for statistic in [MostDifferent::FromTheMean, MostDifferent::OfAPair] {
            sets.push(ConfidenceSet::of(&names, &own, &draws, (loss, statistic, SET_LEVEL)));
        }
    }
    sets
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
        let mut state = CalibrationState::for_horizon(self.plan.level, self.walk.steps())
            .map_err(|e| ModelError::Evaluation(e.to_string()))?;
        let (mut lower, mut upper) = (Vec::new(), Vec::new());
        // Outcomes count from when they are known: in the order of their decisions, but for
        // those whose price was corrected later.
        let mut by_known: Vec<usize> = (0..rows.len()).collect();
        by_known.sort_by_key(|&i| self.walk.known_at[i]);
        let mut open = by_known.into_iter().peekable();
        for (row, decision) in rows.iter().zip(&self.walk.times) {
            while let Some(i) = open.next_if(|&i| self.walk.known_at[i] <= *decision) {
                state.update(rows[i], outcomes[i]);
            }
            let (low, high) = state.interval(row);
            lower.push(low);
            upper.push(high);
        }
        open.for_each(|i| state.update(rows[i], outcomes[i]));
        let crps = rows.iter().zip(outcomes).map(|(q, y)| crps(*y, q)).collect();
        let losses = absolute_errors(outcomes, &median);
        let returns = self.sign_strategy(&median);
        let adaptive = self.interval_report(&lower, &upper);
        let (left, right) = base_interval(self.plan.level);
        let column = |j: usize| rows.iter().map(|q| q[j]).collect::<Vec<_>>();
        let own = self.interval_report(&column(left), &column(right));
        Ok(Part {
            median,
            lower,
            upper,
            losses,
            crps,
            returns,
            calibration: state,
            adaptive,
            own,
            trial,
        })
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

    /// The longest block that any of the averages asks for, at least the horizon and the
    /// cube root of the number of rows, the rate at which blocks must grow.
    fn block_length(&self, parts: &[Part], base: usize) -> f64 {
        let differences = parts.iter().map(|p| {
            let pairs = p.losses.iter().zip(&parts[base].losses);
            optimal_block_length(&pairs.map(|(a, b)| a - b).collect::<Vec<_>>())
        });
        let own = optimal_block_length(&parts[base].losses);
        let least = libm::cbrt(self.walk.outcomes.len() as f64).max(self.walk.steps() as f64);
        differences.fold(own, f64::max).max(least)
    }

    /// Every recipe with its metrics, comparison and bootstrap intervals, and the rival of
    /// all intervals. The same rows are drawn for all.
    fn evaluations(
        &self,
        parts: Vec<Part>,
        base: usize,
        block_length: f64,
    ) -> (Vec<RecipeEvaluation>, IntervalReport, Vec<ConfidenceSet>) {
        let (walk, plan) = (self.walk, self.plan);
        let rival =
            rolling_quantile_intervals(&walk.history, &walk.times, RIVAL_WINDOW, plan.level);
        let (lower, upper): (Vec<f64>, Vec<f64>) = rival.into_iter().unzip();
        let (mut rival, rival_hits) = self.interval_report(&lower, &upper);
        let mut series: Vec<&[f64]> =
            parts.iter().flat_map(|p| [&p.losses[..], &p.crps, &p.adaptive.1, &p.own.1]).collect();
        series.push(&rival_hits);
        let means = stationary_means(&series, block_length, plan.bootstrap_draws, plan.seed);
        let range =
            |i: usize| percentile_interval(means[i].iter().copied(), BOOTSTRAP_LEVEL).into();
        rival.coverage_interval = range(parts.len() * SERIES);
        let comparisons: Vec<Comparison> = (0..parts.len())
            .map(|i| {
                self.comparison((&parts, i), base, |of| {
                    let pairs = means[SERIES * i + of].iter().zip(&means[SERIES * base + of]);
                    percentile_interval(
                        pairs.map(|(own, rival)| 1.0 - own / rival),
                        BOOTSTRAP_LEVEL,
                    )
                    .into()
                })
            })
            .collect();
        let sets = match plan.bootstrap_draws {
            0 => Vec::new(),
            _ => confidence_sets(&parts, &means),
        };
        let folds: Vec<Vec<FoldMetrics>> =
            parts.iter().map(|p| self.fold_metrics(p, &parts[base])).collect();
        let spreads = self.spreads(&parts, base);
        let rival_mae = mean(&parts[base].losses);
        let evaluation =
            |(i, (((mut part, comparison), folds), spread)): (usize, (((Part, _), _), _))| {
                let comparison: Comparison = comparison;
                let of_loss: Range = range(SERIES * i);
                let mae = (of_loss.lower * BASIS_POINTS, of_loss.upper * BASIS_POINTS).into();
                part.adaptive.0.coverage_interval = range(SERIES * i + 2);
                part.own.0.coverage_interval = range(SERIES * i + 3);
                let seeds = self.seeds(&part, rival_mae);
                RecipeEvaluation {
                    seeds: Some(seeds),
                    classifier: self.classifier(&part),
                    metrics: self.metrics(&part, 1.0 - comparison.skill, mae),
                    sharpe: SharpeEvidence::of(&part.returns),
                    permutation: part.trial.permutation,
                    name: part.trial.name,
                    spec: part.trial.spec,
                    median: part.median,
                    quantiles: part.trial.quantiles,
                    lower: part.lower,
                    upper: part.upper,
                    losses: part.losses,
                    returns: part.returns,
                    versus_random_walk: comparison,
                    spread,
                    folds,
                    adaptive: part.adaptive.0,
                    own: part.own.0,
                    calibration: part.calibration,
                }
            };
        let all = parts.into_iter().zip(comparisons).zip(folds).zip(spreads).enumerate();
        (all.map(evaluation).collect(), rival, sets)
    }

    /// The recipe as a classifier of direction, from its own quantiles.
    fn classifier(&self, part: &Part) -> Option<DirectionSkill> {
        let rows = part.trial.quantiles.chunks_exact(LEVELS);
        let probabilities: Vec<f64> = rows.map(probability_of_rise).collect();
        let (walk, base) = (self.walk, self.walk.base_rates());
        direction_skill(&walk.outcomes, &probabilities, &base, walk.steps())
    }

    /// What all seeds of a recipe gave, the judged one first.
    fn seeds(&self, part: &Part, rival_mae: f64) -> SeedSummary {
        let first = SeedScore { mae: mean(&part.losses), crps: mean(&part.crps) };
        let all = || std::iter::once(&first).chain(&part.trial.further_seeds);
        let over =
            |of: &dyn Fn(&SeedScore) -> f64| Deviation::of(&all().map(of).collect::<Vec<_>>());
        SeedSummary {
            seeds: all().count(),
            folds: self.walk.folds.len(),
            draws: part.trial.spec.draws(),
            mae_bp: over(&|s| s.mae * BASIS_POINTS),
            skill: over(&|s| 1.0 - s.mae / rival_mae),
            crps: over(&|s| s.crps),
        }
    }

    /// The variance forecasts of each recipe that made some, against the random walk's. A
    /// fold in which one of them has no finite loss (training rows that never moved) is left
    /// out for all, so that all keep the same rows.
    fn spreads(&self, parts: &[Part], base: usize) -> Vec<Option<SpreadEvaluation>> {
        let finite = |i: &usize| {
            let mut variances = parts.iter().filter_map(|p| p.trial.variance.as_ref());
            variances.all(|v| qlike(self.walk.proxies[*i], v[*i]).is_finite())
        };
        let all = self.walk.apart();
        let of = |fold: &super::FoldSummary| -> Vec<usize> {
            let range = fold.first_row..fold.first_row + fold.rows;
            let rows: Vec<usize> = all.iter().copied().filter(|i| range.contains(i)).collect();
            if rows.iter().all(finite) { rows } else { Vec::new() }
        };
        let apart: Vec<usize> = self.walk.folds.iter().flat_map(of).collect();
        let at = |series: &[f64]| apart.iter().map(|&i| series[i]).collect::<Vec<f64>>();
        let proxies = at(&self.walk.proxies);
        let times: Vec<Timestamp> = apart.iter().map(|&i| self.walk.times[i]).collect();
        let rival = parts[base].trial.variance.as_deref().map(at);
        let previous = self.walk.previous.as_deref().map(at);
        let ewma = self.walk.ewma.as_deref().map(at);
        let judged = |part: &Part| {
            let own = at(part.trial.variance.as_deref()?);
            let (proxy, walk) = (self.walk.proxy, rival.as_deref()?);
            let (times, proxies, previous) = (&times[..], &proxies[..], previous.as_deref());
            // Who forecasts a spread by other means must beat the simplest that follows it.
            let rival = part.trial.spec.forecasts_spread()
                && part.trial.spec != EstimatorSpec::EwmaVolatility;
            let ewma = ewma.as_deref().filter(|_| rival);
            judge_spread(SpreadRows { proxy, times, proxies, walk, previous, ewma }, &own)
        };
        parts.iter().map(judged).collect()
    }

    /// One recipe against the random walk; `interval` gives the bootstrap interval of a
    /// skill, in losses (0) or CRPS (1).
    fn comparison(
        &self,
        (parts, i): (&[Part], usize),
        base: usize,
        interval: impl Fn(usize) -> Range,
    ) -> Comparison {
        let (own, rival) = (&parts[i], &parts[base]);
        let test = diebold_mariano(&own.losses, &rival.losses, self.walk.steps());
        let differences = own.losses.iter().zip(&rival.losses).map(|(a, b)| a - b);
        Comparison {
            mean_diff: differences.sum::<f64>() / own.losses.len() as f64,
            statistic: test.statistic(),
            p_value: test.p_value(),
            p_holm: 1.0,
            skill: 1.0 - mean(&own.losses) / mean(&rival.losses),
            skill_interval: interval(0),
            crps_skill: 1.0 - mean(&own.crps) / mean(&rival.crps),
            crps_skill_interval: interval(1),
            crps_p_value: diebold_mariano(&own.crps, &rival.crps, self.walk.steps()).p_value(),
            lag1_autocorrelation: test.lag1_autocorrelation(),
            test,
        }
    }

    fn metrics(&self, part: &Part, relative_mae: f64, mae_bp_interval: Range) -> Metrics {
        let (outcomes, adaptive) = (&self.walk.outcomes, &part.adaptive.0);
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

    /// What an interval did, its bootstrap interval left open, and its hits as 0 and 1.
    fn interval_report(&self, lower: &[f64], upper: &[f64]) -> (IntervalReport, Vec<f64>) {
        let (y, level) = (&self.walk.outcomes, self.plan.level);
        let rows = y.len();
        let covered: Vec<bool> = (0..rows).map(|i| lower[i] <= y[i] && y[i] <= upper[i]).collect();
        let hits: Vec<f64> = covered.iter().map(|c| f64::from(u8::from(*c))).collect();
        let widths = (0..rows).map(|i| upper[i] - lower[i]);
        let bounded: Vec<f64> = widths.filter(|w| *w < 2.0 * UNBOUNDED).collect();
        let scores = (0..rows).map(|i| interval_score(y[i], lower[i], upper[i], level));
        let report = IntervalReport {
            coverage: mean(&hits),
            coverage_interval: (f64::NAN, f64::NAN).into(),
            width_bp: mean(&bounded) * BASIS_POINTS,
            interval_score: scores.sum::<f64>() / rows as f64,
            unbounded_rows: rows - bounded.len(),
            rolling: rolling_coverage(&covered, COVERAGE_WINDOW, level, ROLLING_POINTS),
            tests: coverage_tests(&covered, level),
        };
        (report, hits)
    }
}
