//! The rule on simulated runs: noise is not promoted beyond the stated rate, planted
//! skill is, ties keep the champion.

use foretell_market::{Interval, Timestamp};
use foretell_panel::{TrainWindow, WalkForward};
use foretell_testkit::{normal, rng};
use rand_chacha::ChaCha12Rng;

use super::super::special::{binomial_quantile, normal_quantile};
use super::super::{EvaluationPlan, FoldSummary, RANDOM_WALK, Trial, Walk, judge};
use super::*;
use crate::{EstimatorSpec, QUANTILE_LEVELS};

/// Spread of the simulated outcomes.
const SIGMA: f64 = 0.01;

/// One recipe of a simulated run.
struct Entry {
    name: &'static str,
    spec: EstimatorSpec,
    medians: Vec<f64>,
    /// Standard deviation of its quantiles per row.
    spreads: Vec<f64>,
    /// Its variance forecasts, for one that promises a spread.
    variance: Option<Vec<f64>>,
}

/// Forecasts points, with a constant spread of so many times the truth.
fn point(name: &'static str, medians: Vec<f64>, spread: f64) -> Entry {
    let spreads = vec![spread * SIGMA; medians.len()];
    Entry { name, spec: EstimatorSpec::Drift, medians, spreads, variance: None }
}

/// Forecasts these variances; its quantiles have these spreads.
fn spread(name: &'static str, variance: Vec<f64>, spreads: Vec<f64>) -> Entry {
    let (spec, medians) = (EstimatorSpec::EwmaVolatility, vec![0.0; variance.len()]);
    Entry { name, spec, medians, spreads, variance: Some(variance) }
}

/// A run over these outcomes; the random walk forecasts their unconditional variance.
fn judged(outcomes: Vec<f64>, unconditional: f64, entries: Vec<Entry>) -> Evaluation {
    let proxies = outcomes.iter().map(|y| y * y).collect();
    judged_by(proxies, outcomes, unconditional, entries)
}

/// The same with the proxy of each row's variance.
fn judged_by(
    proxies: Vec<f64>,
    outcomes: Vec<f64>,
    unconditional: f64,
    entries: Vec<Entry>,
) -> Evaluation {
    let rows = outcomes.len();
    let at = |i: usize| Timestamp::from_secs(i as i64 * 3600);
    let fold = |first_row, rows| FoldSummary {
        fit_at: at(0),
        train_from: at(0),
        train_to: at(0),
        train_rows: 100,
        purged: 0,
        first_row,
        rows,
        naive_mae: SIGMA,
        naive_mse: SIGMA * SIGMA,
        base_rate: 0.5,
    };
    let folds = vec![fold(0, rows / 2), fold(rows / 2, rows - rows / 2)];
    let times: Vec<Timestamp> = (0..rows).map(at).collect();
    let known: Vec<Timestamp> = (1..=rows).map(at).collect();
    let hour = Interval::HOUR;
    let mut walk = Walk::on_rows(hour, hour, folds, times, known, outcomes);
    walk.proxies = proxies;
    let own = Entry {
        name: RANDOM_WALK,
        spec: EstimatorSpec::RandomWalk,
        medians: vec![0.0; rows],
        spreads: vec![unconditional.sqrt(); rows],
        variance: Some(vec![unconditional; rows]),
    };
    let trial = |entry: Entry| Trial {
        name: entry.name.to_owned(),
        further_seeds: Vec::new(),
        permutation: Vec::new(),
        spec: entry.spec,
        quantiles: entry
            .medians
            .iter()
            .zip(&entry.spreads)
            .flat_map(|(m, s)| QUANTILE_LEVELS.map(|p| m + s * normal_quantile(p)))
            .collect(),
        variance: entry.variance,
    };
    let trials = std::iter::once(own).chain(entries).map(trial).collect();
    let plan = WalkForward {
        initial_train: Interval::DAY,
        refit_every: Interval::DAY,
        window: TrainWindow::Expanding,
    };
    let plan =
        EvaluationPlan { bootstrap_draws: 0, block_length: Some(1.0), ..EvaluationPlan::new(plan) };
    judge(&walk, trials, &plan).unwrap()
}

/// A run of candidates for their point: (name, medians, factor on the spread).
fn run(outcomes: Vec<f64>, candidates: &[(&'static str, Vec<f64>, f64)]) -> Evaluation {
    let entries = candidates.iter().map(|(n, m, s)| point(n, m.clone(), *s)).collect();
    judged(outcomes, SIGMA * SIGMA, entries)
}

/// Rows on which nobody has skill, and how they come about.
#[derive(Debug, Clone, Copy)]
struct Null {
    /// The losses of the first point and of the first spread have the random walk's mean
    /// (what they know they exaggerate by two), the hardest case of "no better"; all else
    /// is independent noise.
    fair: bool,
    /// How far the spreads spread: the deviation of their log variance.
    deviation: f64,
    /// First-order autocorrelation of the log variances.
    persistence: f64,
    /// Returns inside a horizon: the proxy is the sum of so many squares.
    squares: usize,
}

/// Independent rows, each with its squared return.
const INDEPENDENT: Null = Null { fair: true, deviation: 0.4, persistence: 0.0, squares: 1 };

/// Four candidates for their point, two for their spread.
struct Noise {
    null: Null,
    state: [f64; 2],
    outcomes: Vec<f64>,
    proxies: Vec<f64>,
    medians: [Vec<f64>; 4],
    variances: [Vec<f64>; 2],
}

impl Noise {
    fn new(null: Null, random: &mut ChaCha12Rng) -> Self {
        Self {
            null,
            state: std::array::from_fn(|_| normal(random)),
            outcomes: Vec::new(),
            proxies: Vec::new(),
            medians: Default::default(),
            variances: Default::default(),
        }
    }

    fn grow(&mut self, rows: usize, random: &mut ChaCha12Rng) {
        // For a log variance forecast s·z + constant, unbiased in the mean, of a true log
        // variance a·z, the expected QLIKE exceeds the constant's by
        // exp(s² − a·s) − 1 − s²/2, which is zero for this a, however z depends on its past.
        let Null { fair, deviation: s, persistence, squares } = self.null;
        let a = if fair { s - (1.0 + s * s / 2.0).ln() / s } else { 0.0 };
        let news = (1.0 - persistence * persistence).sqrt();
        for _ in 0..rows {
            let calls: [f64; 4] = std::array::from_fn(|_| 0.2 * SIGMA * normal(random));
            self.state.iter_mut().for_each(|z| *z = persistence * *z + news * normal(random));
            let z = self.state;
            let shift = if fair { calls[0] / 2.0 } else { 0.0 };
            let variance = SIGMA * SIGMA * (a * z[0] - a * a / 2.0).exp();
            let k = squares as f64;
            let parts: Vec<f64> =
                (0..squares).map(|_| shift / k + (variance / k).sqrt() * normal(random)).collect();
            self.outcomes.push(parts.iter().sum());
            self.proxies.push(parts.iter().map(|r| r * r).sum());
            self.medians.iter_mut().zip(calls).for_each(|(m, c)| m.push(c));
            for (forecasts, z) in self.variances.iter_mut().zip(z) {
                forecasts.push(SIGMA * SIGMA * (s * z - s * s / 2.0).exp());
            }
        }
    }

    /// The quantiles of all spreads are the random walk's, so that no score of the whole
    /// distribution saves the rule. Without points only the spreads contend.
    fn evaluation(&self, points: bool) -> Evaluation {
        let rows = self.outcomes.len();
        let names = ["a", "b", "c", "d"].into_iter().zip(&self.medians).filter(|_| points);
        let mut entries: Vec<Entry> = names.map(|(n, m)| point(n, m.clone(), 1.0)).collect();
        for (name, variance) in ["v", "w"].into_iter().zip(&self.variances) {
            entries.push(spread(name, variance.clone(), vec![SIGMA; rows]));
        }
        judged_by(self.proxies.clone(), self.outcomes.clone(), SIGMA * SIGMA, entries)
    }
}

/// Some rows of noise, judged.
fn noise(rows: usize, fair: bool, random: &mut ChaCha12Rng) -> Evaluation {
    let mut noise = Noise::new(Null { fair, ..INDEPENDENT }, random);
    noise.grow(rows, random);
    noise.evaluation(true)
}

/// How many of 100 instruments ever promoted noise in ten retrains, and how many kept it
/// through a later one.
#[derive(Debug)]
struct Rates {
    ever: u64,
    kept: u64,
}

/// How often and on what an instrument is retrained.
#[derive(Debug, Clone, Copy)]
struct Retrains {
    /// Rows of the first retrain.
    rows: usize,
    /// Rows that each later one adds; `None` where all rows are new each time.
    more: Option<usize>,
    /// Whether points contend as well.
    points: bool,
}

/// 1,000 retrains: 100 instruments with ten retrains each, every one with the champion that
/// the one before it left.
fn retrain_on_noise(null: Null, retrains: Retrains, seed: u64) -> Rates {
    let mut random = rng(seed);
    let mut rates = Rates { ever: 0, kept: 0 };
    for _ in 0..100 {
        let (mut champion, mut rows) = (RANDOM_WALK.to_owned(), Noise::new(null, &mut random));
        let (mut ever, mut kept) = (false, false);
        for earlier in 0..10 {
            if retrains.more.is_none() {
                rows = Noise::new(null, &mut random);
            }
            let more = retrains.more.filter(|_| earlier > 0).unwrap_or(retrains.rows);
            rows.grow(more, &mut random);
            let evaluation = rows.evaluation(retrains.points);
            let decision = decide_promotion(&evaluation, Some(&champion), 0.1, earlier);
            let walk = decision.winner == RANDOM_WALK;
            ever |= decision.promoted && !walk;
            kept |= !decision.promoted && !walk;
            assert_eq!(walk, !decision.skilled && decision.spread.is_none());
            let said = "no better than a random walk (p = ";
            let withheld = decision.withheld.is_some();
            assert_eq!(decision.reason.starts_with(said), !decision.skilled && !withheld);
            champion = decision.winner;
        }
        rates.ever += u64::from(ever);
        rates.kept += u64::from(kept);
    }
    rates
}

/// The stated rate is per instrument, over all its retrains and all candidates: 0.1.
#[track_caller]
fn assert_rate(null: Null, retrains: Retrains, seed: u64) {
    let most = binomial_quantile(0.999, 100, 0.1);
    let rates = retrain_on_noise(null, retrains, seed);
    println!("{null:?}, {retrains:?}: {rates:?} of 100 instruments, at most {most}");
    assert!(rates.ever <= most, "{rates:?}, at most {most}: {null:?}, {retrains:?}");
    assert!(rates.kept <= rates.ever, "only what was promoted can be kept: {rates:?}");
}

#[test]
fn noise_is_not_promoted_in_1000_retrains_beyond_the_stated_rate_nor_kept() {
    for (seed, fair, more) in
        [(70, false, None), (71, true, None), (72, false, Some(50)), (73, true, Some(50))]
    {
        let retrains = Retrains { rows: 250, more, points: true };
        assert_rate(Null { fair, ..INDEPENDENT }, retrains, seed);
    }
}

/// Spreads that know what they exaggerate, on variances as persistent as those of markets:
/// the differences of their losses are persistent too.
#[test]
fn persistent_noise_is_not_promoted_beyond_the_stated_rate() {
    for (seed, deviation, persistence, squares, rows) in [
        (80, 0.4, 0.9, 24, 500),
        (81, 0.4, 0.97, 24, 1_500),
        (82, 0.8, 0.97, 24, 1_500),
        (83, 0.8, 0.97, 1, 1_500),
    ] {
        let null = Null { fair: true, deviation, persistence, squares };
        let retrains = Retrains { rows, more: Some(rows / 10), points: false };
        assert_rate(null, retrains, seed);
    }
}

#[test]
fn without_the_corrections_noise_would_be_promoted() {
    // The same hardest case by the naive rule "p < 0.1": the test above has teeth.
    let mut random = rng(72);
    let (mut points, mut spreads) = (0, 0);
    for _ in 0..400 {
        let evaluation = noise(250, true, &mut random);
        let any = |p: fn(&RecipeEvaluation) -> f64| evaluation.recipes.iter().any(|r| p(r) < 0.1);
        points += u64::from(any(|r| r.versus_random_walk.p_value));
        spreads += u64::from(any(|r| r.spread.as_ref().map_or(1.0, |s| s.p_value)));
    }
    // One fair candidate of each kind at a level of 0.1: about 40 of 400.
    println!("by the naive rule: {points} points and {spreads} spreads of 400");
    assert!(points >= 24 && spreads >= 24, "{points} points and {spreads} spreads");
}

/// Outcomes of which `share` of the spread is known in advance, and that knowledge.
fn planted(rows: usize, share: f64, seed: u64) -> (Vec<f64>, Vec<f64>) {
    let mut random = rng(seed);
    let signal: Vec<f64> = (0..rows).map(|_| share * SIGMA * normal(&mut random)).collect();
    let outcomes = signal.iter().map(|s| s + SIGMA * normal(&mut random)).collect();
    (outcomes, signal)
}

#[test]
fn planted_skill_is_promoted_and_says_so() {
    for seed in 0..20 {
        let (outcomes, signal) = planted(4_000, 0.25, seed);
        let noisy = signal.iter().rev().copied().collect();
        let evaluation = run(outcomes, &[("noise", noisy, 1.0), ("skill", signal, 1.0)]);
        let decision = decide_promotion(&evaluation, Some(RANDOM_WALK), 0.1, 0);
        assert_eq!(decision.winner, "skill", "{decision:?}");
        assert!(decision.promoted && decision.skilled && decision.best_p < 0.05);
        assert!(decision.reason.contains("more accurate than a random walk"));
        // The verdict survives storing.
        let text = serde_json::to_string(&decision).unwrap();
        assert_eq!(serde_json::from_str::<Promotion>(&text).unwrap(), decision);
    }
}

#[test]
fn ties_keep_the_champion() {
    let (outcomes, signal) = planted(4_000, 0.25, 3);
    let copy = signal.clone();
    let evaluation = run(outcomes, &[("champion", signal, 1.0), ("copy", copy, 1.0)]);
    let decision = decide_promotion(&evaluation, Some("champion"), 0.1, 0);
    assert_eq!((decision.winner.as_str(), decision.promoted), ("champion", false));
    assert!(decision.skilled);
    assert_eq!(decision.candidates.len(), 1);
    assert_eq!(decision.candidates[0].p_champion, Some(1.0));
}

#[test]
fn a_better_challenger_replaces_the_champion() {
    let (outcomes, signal) = planted(6_000, 0.4, 4);
    let weaker = signal.iter().map(|s| 0.2 * s).collect();
    let evaluation = run(outcomes, &[("old", weaker, 1.0), ("new", signal, 1.0)]);
    let decision = decide_promotion(&evaluation, Some("old"), 0.1, 3);
    assert_eq!((decision.winner.as_str(), decision.promoted), ("new", true), "{decision:?}");
    assert!(decision.reason.contains("the champion `old`"));
}

#[test]
fn a_champion_that_lost_its_lead_gives_way_to_the_random_walk() {
    let (outcomes, signal) = planted(2_000, 0.25, 5);
    let stale: Vec<f64> = signal.iter().rev().copied().collect();
    let evaluation = run(outcomes, &[("old", stale, 1.0)]);
    let decision = decide_promotion(&evaluation, Some("old"), 0.1, 0);
    assert_eq!((decision.winner.as_str(), decision.promoted), (RANDOM_WALK, true));
    assert!(!decision.skilled && decision.reason.contains("`old` has lost its lead"));
}

#[test]
fn a_good_point_with_a_bad_spread_is_not_promoted() {
    let (outcomes, signal) = planted(4_000, 0.25, 6);
    let evaluation = run(outcomes, &[("sure", signal, 0.2)]);
    let decision = decide_promotion(&evaluation, Some(RANDOM_WALK), 0.1, 0);
    assert_eq!(decision.winner, RANDOM_WALK);
    assert_eq!(decision.candidates[0].aspect, Aspect::Point);
    assert!(decision.candidates[0].p_holm < 0.01 && !decision.candidates[0].distribution_holds);
    assert!(decision.candidates[0].reason.contains("CRPS"));
    // No contradiction: a p-value below the level never stands behind "no better".
    let said = "`sure` is more accurate than a random walk (p < 0.001), but its distribution is \
                worse: not promoted";
    assert_eq!((decision.withheld.as_deref(), decision.reason.as_str()), (Some(said), said));
}

#[test]
fn a_point_that_does_not_beat_the_reigning_spread_says_whom_it_does_not_beat() {
    // The reigning recipe promises a spread; its point is as good as the candidate's.
    let (outcomes, signal) = planted(4_000, 0.25, 6);
    let narrow = vec![SIGMA * SIGMA; 4_000];
    let reigning = Entry { medians: signal.clone(), ..knowing("reigning", &narrow) };
    let entries = vec![point("same", signal, 1.0), reigning];
    let evaluation = judged(outcomes, SIGMA * SIGMA, entries);
    let decision = decide_promotion(&evaluation, Some("reigning"), 0.1, 0);
    assert!(!decision.skilled, "{decision:?}");
    let said = decision.withheld.unwrap();
    assert!(said.ends_with("but not more accurate than the champion `reigning`: not promoted"));
    assert!(decision.reason.starts_with(&said));
}

#[test]
fn the_first_champion_is_the_random_walk_unless_a_recipe_passes() {
    let evaluation = noise(250, false, &mut rng(8));
    let first = decide_promotion(&evaluation, None, 0.1, 0);
    assert_eq!((first.winner.as_str(), first.promoted, first.skilled), (RANDOM_WALK, true, false));
    let gone = decide_promotion(&evaluation, Some("gone"), 0.1, 1);
    assert_eq!(gone.winner, RANDOM_WALK);
    assert!(gone.reason.contains("the champion `gone` was not evaluated"));
    assert!(gone.alpha_spent < first.alpha_spent);
}

#[test]
fn a_recipe_that_repeats_the_random_walk_is_no_candidate() {
    let (outcomes, _) = planted(300, 0.25, 9);
    let evaluation = run(outcomes, &[("wider", vec![0.0; 300], 2.0)]);
    let decision = decide_promotion(&evaluation, Some(RANDOM_WALK), 0.1, 0);
    assert!(decision.candidates.is_empty());
    assert_eq!(decision.best_p, 1.0);
}

/// Outcomes of a GARCH(1,1) market and the variance it has at each row.
fn garch(rows: usize, alpha: f64, beta: f64, seed: u64) -> (Vec<f64>, Vec<f64>) {
    let mut random = rng(seed);
    let base = SIGMA * SIGMA;
    let (mut variance, mut outcomes, mut variances) = (base, Vec::new(), Vec::new());
    for _ in 0..rows {
        variances.push(variance);
        let y = variance.sqrt() * normal(&mut random);
        outcomes.push(y);
        variance = base * (1.0 - alpha - beta) + alpha * y * y + beta * variance;
    }
    (outcomes, variances)
}

/// A recipe that knows the variance of each row.
fn knowing(name: &'static str, variances: &[f64]) -> Entry {
    spread(name, variances.to_vec(), variances.iter().map(|v| v.sqrt()).collect())
}

#[test]
fn a_planted_garch_is_promoted_for_its_spread_and_claims_no_point() {
    for seed in 0..20 {
        let (outcomes, variances) = garch(6_000, 0.1, 0.85, seed);
        let noise = outcomes.iter().rev().map(|y| 0.2 * y).collect();
        let entries = vec![point("noise", noise, 1.0), knowing("garch", &variances)];
        let evaluation = judged(outcomes, SIGMA * SIGMA, entries);
        let decision = decide_promotion(&evaluation, Some(RANDOM_WALK), 0.1, 0);
        assert_eq!((decision.winner.as_str(), decision.promoted), ("garch", true), "{decision:?}");
        assert!(!decision.skilled, "a spread is no point");
        assert!(decision.reason.starts_with("no better than a random walk (p = "), "{decision:?}");
        assert!(decision.reason.contains("; spread by `garch`: QLIKE "), "{decision:?}");
        let spread = decision.spread.clone().unwrap();
        assert!(spread.better && spread.p_value < 0.05 && spread.qlike_skill > Some(0.0));
        // The family is one: two candidates, so the smaller p-value is doubled.
        let verdict = decision.candidates.iter().find(|c| c.name == "garch").unwrap();
        assert_eq!(verdict.aspect, Aspect::Spread);
        let doubled = (2.0 * verdict.p_random_walk).min(1.0);
        foretell_testkit::assert_close(verdict.p_holm, doubled, 1e-15);
        let text = serde_json::to_string(&decision).unwrap();
        assert_eq!(serde_json::from_str::<Promotion>(&text).unwrap(), decision);
        // The next retrain keeps it, and says the same.
        let kept = decide_promotion(&evaluation, Some("garch"), 0.1, 1);
        assert_eq!((kept.winner.as_str(), kept.promoted, kept.skilled), ("garch", false, false));
        let own = kept.spread.filter(|s| s.better && s.own_test);
        assert!(own.is_some(), "it keeps its place by its own test");
        assert!(kept.reason.ends_with(" (own test, uncorrected)"), "{}", kept.reason);
    }
}

#[test]
fn a_degenerate_fold_is_left_out_and_a_spread_without_a_test_says_so() {
    let (outcomes, mut variances) = garch(4_000, 0.1, 0.85, 4);
    variances[..2_000].fill(0.0);
    let run = |variances: &[f64]| {
        let entries = vec![spread("garch", variances.to_vec(), vec![SIGMA; 4_000])];
        judged(outcomes.clone(), SIGMA * SIGMA, entries)
    };
    let half = run(&variances);
    for recipe in &half.recipes {
        assert_eq!(recipe.spread.as_ref().unwrap().rows, 2_000, "the second fold, for both sides");
    }
    let decision = decide_promotion(&half, None, 0.1, 0);
    assert_eq!(decision.candidates.len(), 1);
    assert!(!decision.reason.contains("could not be judged"), "{}", decision.reason);
    let none = run(&vec![0.0; 4_000]);
    let decision = decide_promotion(&none, None, 0.1, 0);
    assert_eq!((decision.winner.as_str(), decision.candidates.len()), (RANDOM_WALK, 0));
    assert!(decision.reason.ends_with("; the spread of `garch` could not be judged"));
}

#[test]
fn constant_variance_promotes_no_spread() {
    // The forecaster of clusters where there are none: an exponential mean of squares.
    let promoted = (0..40).filter(|seed| {
        let (outcomes, _) = garch(2_000, 0.0, 0.0, *seed);
        let mut mean = SIGMA * SIGMA;
        let mut ewma = Vec::new();
        for y in &outcomes {
            ewma.push(mean);
            mean = 0.94 * mean + 0.06 * y * y;
        }
        let evaluation = judged(outcomes, SIGMA * SIGMA, vec![knowing("ewma", &ewma)]);
        decide_promotion(&evaluation, None, 0.1, 0).winner != RANDOM_WALK
    });
    assert_eq!(promoted.count(), 0);
}

#[test]
fn a_point_that_passes_goes_before_a_spread_that_passes() {
    let (mut outcomes, variances) = garch(4_000, 0.1, 0.85, 3);
    let mut random = rng(30);
    let signal: Vec<f64> = outcomes.iter().map(|_| 0.5 * SIGMA * normal(&mut random)).collect();
    outcomes.iter_mut().zip(&signal).for_each(|(y, s)| *y += s);
    let skill = || Entry {
        spreads: variances.iter().map(|v| v.sqrt()).collect(),
        ..point("skill", signal.clone(), 1.0)
    };
    let entries = vec![skill(), knowing("garch", &variances)];
    let evaluation = judged(outcomes.clone(), SIGMA * SIGMA, entries);
    for champion in [RANDOM_WALK, "garch", "skill"] {
        let decision = decide_promotion(&evaluation, Some(champion), 0.1, 0);
        assert_eq!((decision.winner.as_str(), decision.skilled), ("skill", true), "{decision:?}");
        assert_eq!(decision.spread, None);
        let contends = decision.candidates.iter().any(|c| c.aspect == Aspect::Spread);
        assert_eq!(contends, champion == RANDOM_WALK, "{champion}");
    }
    // A point with a worse distribution than the reigning spread does not replace it.
    let entries = vec![point("skill", signal, 1.0), knowing("garch", &variances)];
    let evaluation = judged(outcomes, SIGMA * SIGMA, entries);
    let worse = evaluation.recipe("skill").unwrap().metrics.crps;
    assert_eq!(
        decide_promotion(&evaluation, Some("garch"), 0.1, 0).winner == "garch",
        worse > evaluation.recipe("garch").unwrap().metrics.crps
    );
}

#[test]
fn a_better_spread_replaces_the_reigning_one_and_a_tie_does_not() {
    let (outcomes, variances) = garch(6_000, 0.1, 0.88, 5);
    let base = SIGMA * SIGMA;
    let half: Vec<f64> = variances.iter().map(|v| (v * base).sqrt()).collect();
    let entries = || vec![knowing("half", &half), knowing("whole", &variances)];
    let evaluation = judged(outcomes.clone(), base, entries());
    let better = decide_promotion(&evaluation, Some("half"), 0.1, 2);
    assert_eq!((better.winner.as_str(), better.promoted), ("whole", true), "{better:?}");
    let entries = vec![knowing("one", &variances), knowing("other", &variances)];
    let evaluation = judged(outcomes, base, entries);
    let tie = decide_promotion(&evaluation, Some("one"), 0.1, 2);
    assert_eq!((tie.winner.as_str(), tie.promoted), ("one", false), "{tie:?}");
    assert_eq!(tie.candidates[0].p_champion, Some(1.0));
}

#[test]
fn a_spread_that_lost_its_lead_gives_way_to_the_random_walk() {
    let (outcomes, variances) = garch(2_000, 0.1, 0.85, 6);
    let stale: Vec<f64> = variances.iter().rev().copied().collect();
    let evaluation = judged(outcomes, SIGMA * SIGMA, vec![knowing("old", &stale)]);
    let decision = decide_promotion(&evaluation, Some("old"), 0.1, 0);
    assert_eq!((decision.winner.as_str(), decision.promoted), (RANDOM_WALK, true));
    assert!(decision.reason.contains("the spread of the champion `old` has lost its lead"));
    assert_eq!(decision.spread, None);
}

#[test]
fn a_good_variance_with_bad_quantiles_is_not_promoted() {
    let (outcomes, variances) = garch(3_000, 0.1, 0.85, 7);
    let narrow = variances.iter().map(|v| 0.2 * v.sqrt()).collect();
    let entries = vec![spread("narrow", variances, narrow)];
    let evaluation = judged(outcomes, SIGMA * SIGMA, entries);
    let decision = decide_promotion(&evaluation, Some(RANDOM_WALK), 0.1, 0);
    assert_eq!(decision.winner, RANDOM_WALK);
    assert!(decision.candidates[0].p_holm < 0.05 && !decision.candidates[0].distribution_holds);
    assert!(decision.candidates[0].reason.contains("CRPS"));
}
