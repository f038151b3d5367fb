//! Conformal intervals: split calibration, and adaptive calibration that follows drift.
//!
//! The score is that of conformalised quantile regression, divided by the width of the
//! model's own interval: how many widths the outcome lies outside (negative: inside).
//! Sources: Y. Romano, E. Patterson and E. Candès (NeurIPS 2019); M. Sesia and
//! E. Candès, *Stat* 9 (2020), for the division; I. Gibbs and E. Candès (NeurIPS 2021,
//! arXiv 2106.00170) for the adaptive level. This module knows no model and no clock:
//! whoever drives it must hand over an outcome only once it is known.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::QUANTILE_LEVELS;

/// The interval of an adaptive state whose level has left no room: any log return a
/// price could show (a factor of about 22,000 either way). It is finite so that it can
/// be stored and multiplied.
pub const UNBOUNDED: f64 = 10.0;

/// The step of the adaptive level, as in the paper's experiments.
pub const ADAPTIVE_STEP: f64 = 0.005;

/// How many of the latest scores the adaptive quantile is taken from.
pub const SCORE_WINDOW: usize = 500;

/// The most scores kept, however far ahead the forecasts look.
pub const LONGEST_SCORE_WINDOW: usize = 1_000;

/// How many of the latest outcomes the realised coverage counts.
pub const COVERAGE_WINDOW: usize = 500;

/// The version of the stored form of [`CalibrationState`].
pub const CALIBRATION_VERSION: u32 = 1;

/// A width that no real interval goes below, so that a degenerate one can be scored.
const NARROWEST: f64 = 1e-12;

/// The positions in [`QUANTILE_LEVELS`] of the model's own interval that is nearest to
/// `level`.
pub fn base_interval(level: f64) -> (usize, usize) {
    let tail = (1.0 - level) / 2.0;
    let half = QUANTILE_LEVELS.len() / 2;
    let distance = |i: usize| (QUANTILE_LEVELS[i] - tail).abs();
    let lower = (1..half).fold(0, |best, i| if distance(i) < distance(best) { i } else { best });
    (lower, QUANTILE_LEVELS.len() - 1 - lower)
}

/// How many widths of its own interval the outcome lies outside; at least −½.
pub fn score(lower: f64, upper: f64, outcome: f64) -> f64 {
    (lower - outcome).max(outcome - upper) / (upper - lower).max(NARROWEST)
}

/// The interval widened on both sides by `widths` of its own width.
pub fn widened(lower: f64, upper: f64, widths: f64) -> (f64, f64) {
    let by = widths * (upper - lower).max(NARROWEST);
    let (low, high) = (lower - by, upper + by);
    // A score is never below −½, where both ends meet in the middle.
    if low <= high { (low, high) } else { (f64::midpoint(low, high), f64::midpoint(low, high)) }
}

/// Split conformal calibration: the score that `level` of exchangeable outcomes stay
/// under, `⌈(n + 1) level⌉`-th smallest of `n`. Infinite when `n` is too small.
/// Source: V. Vovk, A. Gammerman and G. Shafer, *Algorithmic Learning in a Random
/// World* (2005); the finite-sample form as in Romano et al.
pub fn split_conformal(scores: &[f64], level: f64) -> f64 {
    let mut sorted = scores.to_vec();
    sorted.sort_by(f64::total_cmp);
    // The product is nudged so that 0.9 × 10 counts as nine, not ten.
    let rank = ((sorted.len() + 1) as f64 * level - 1e-9).ceil().max(1.0) as usize;
    sorted.get(rank - 1).copied().unwrap_or(f64::INFINITY)
}

/// Adaptive conformal calibration: recent scores, and an error level that moves with
/// every outcome so that the long-run share of misses is the nominal one for *any*
/// sequence, however it was made. Version-tagged when stored.
///
/// After `T` outcomes the share of misses differs from the nominal rate by at most
/// `(max(α, 1 − α) + γ) / (γ T)` (proposition 4.1 of Gibbs and Candès).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct CalibrationState {
    level: f64,
    step: f64,
    window: usize,
    error_level: f64,
    /// Scores in order of arrival, and the same in order of size.
    scores: VecDeque<f64>,
    sorted: Vec<f64>,
    covered: VecDeque<bool>,
    outcomes: u64,
    misses: u64,
}

/// The stored form.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    level: f64,
    step: f64,
    window: usize,
    error_level: f64,
    scores: VecDeque<f64>,
    covered: VecDeque<bool>,
    outcomes: u64,
    misses: u64,
}

/// Why a stored calibration cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CalibrationError {
    /// Written by another version of this program.
    #[error(
        "calibration state has version {found}, this program reads {CALIBRATION_VERSION}: evaluate again"
    )]
    Version {
        /// The version found.
        found: u32,
    },
    /// A number outside its range.
    #[error("calibration state: `{field}` is {value}: evaluate again")]
    Field {
        /// The field.
        field: &'static str,
        /// Its value.
        value: f64,
    },
}

impl CalibrationState {
    /// A state that has seen nothing: the model's own interval is taken as it is.
    /// `level` is the coverage aimed at, between 0 and 1.
    ///
    /// # Errors
    /// When the level is not between 0 and 1.
    pub fn new(level: f64) -> Result<Self, CalibrationError> {
        Self::with(level, ADAPTIVE_STEP, SCORE_WINDOW)
    }

    /// For forecasts that look `steps` rows ahead, one made at every row: their spans
    /// overlap, so that `steps` outcomes in a row say little more than one. The adaptive
    /// step is divided by `steps`, and scores reach further back (up to
    /// [`LONGEST_SCORE_WINDOW`]).
    ///
    /// # Errors
    /// When the level is not between 0 and 1.
    pub fn for_horizon(level: f64, steps: usize) -> Result<Self, CalibrationError> {
        let steps = steps.max(1);
        let window = (SCORE_WINDOW * steps).min(LONGEST_SCORE_WINDOW);
        Self::with(level, ADAPTIVE_STEP / steps as f64, window)
    }

    /// As [`CalibrationState::new`] with another step (γ) and number of scores.
    ///
    /// # Errors
    /// When a number is outside its range.
    pub fn with(level: f64, step: f64, window: usize) -> Result<Self, CalibrationError> {
        let check = |field, value: f64, fits: bool| {
            if fits { Ok(()) } else { Err(CalibrationError::Field { field, value }) }
        };
        check("level", level, level > 0.0 && level < 1.0)?;
        check("step", step, step > 0.0 && step <= 1.0)?;
        check("window", window as f64, window >= 1)?;
        Ok(Self {
            level,
            step,
            window,
            error_level: 1.0 - level,
            scores: VecDeque::new(),
            sorted: Vec::new(),
            covered: VecDeque::new(),
            outcomes: 0,
            misses: 0,
        })
    }

    /// The coverage aimed at.
    pub fn level(&self) -> f64 {
        self.level
    }

    /// The error level in use now (α of the paper); the nominal rate at the start.
    pub fn error_level(&self) -> f64 {
        self.error_level
    }

    /// The calibrated interval of log returns for a row of nine quantiles.
    pub fn interval(&self, quantiles: &[f64]) -> (f64, f64) {
        if self.covers_all() {
            return (-UNBOUNDED, UNBOUNDED);
        }
        let (lower, upper) = self.base(quantiles);
        widened(lower, upper, self.threshold())
    }

    /// Whether the error level has left no room, so that the interval is
    /// [`UNBOUNDED`]: a forecast made now has no honest bound.
    pub fn covers_all(&self) -> bool {
        self.error_level <= 0.0
    }

    /// Takes in the outcome of a forecast that was made with these quantiles.
    pub fn update(&mut self, quantiles: &[f64], outcome: f64) {
        let (lower, upper) = self.base(quantiles);
        let score = score(lower, upper, outcome);
        let missed = if self.covers_all() {
            false
        } else {
            // At a level of one or more the set is empty and nothing lies in it.
            self.error_level >= 1.0 || score > self.threshold()
        };
        self.outcomes += 1;
        self.misses += u64::from(missed);
        self.error_level += self.step * (1.0 - self.level - f64::from(u8::from(missed)));
        push_within(&mut self.covered, !missed, COVERAGE_WINDOW);
        if let Some(old) = push_within(&mut self.scores, score, self.window) {
            let at = self.sorted.partition_point(|s| s.total_cmp(&old).is_lt());
            self.sorted.remove(at);
        }
        let at = self.sorted.partition_point(|s| s.total_cmp(&score).is_lt());
        self.sorted.insert(at, score);
    }

    /// The share covered of the latest outcomes (500 at most), and how many they are;
    /// NaN of none.
    pub fn realised_coverage(&self) -> (f64, usize) {
        let hits = self.covered.iter().filter(|c| **c).count();
        (hits as f64 / self.covered.len() as f64, self.covered.len())
    }

    /// The share missed of all outcomes ever, and how many they are; NaN of none.
    pub fn long_run_misses(&self) -> (f64, u64) {
        (self.misses as f64 / self.outcomes as f64, self.outcomes)
    }

    fn base(&self, quantiles: &[f64]) -> (f64, f64) {
        let (lower, upper) = base_interval(self.level);
        (quantiles[lower], quantiles[upper])
    }

    /// The `1 − α` quantile of the scores (the smallest with at least that share at or
    /// below it); zero before the first.
    fn threshold(&self) -> f64 {
        let count = self.sorted.len();
        if count == 0 {
            return 0.0;
        }
        let share = (1.0 - self.error_level).clamp(0.0, 1.0);
        let rank = (share * count as f64 - 1e-9).ceil().max(1.0) as usize;
        self.sorted[rank.min(count) - 1]
    }
}

fn push_within<T>(values: &mut VecDeque<T>, value: T, most: usize) -> Option<T> {
    values.push_back(value);
    if values.len() > most { values.pop_front() } else { None }
}

impl From<CalibrationState> for Stored {
    fn from(state: CalibrationState) -> Self {
        Self {
            version: CALIBRATION_VERSION,
            level: state.level,
            step: state.step,
            window: state.window,
            error_level: state.error_level,
            scores: state.scores,
            covered: state.covered,
            outcomes: state.outcomes,
            misses: state.misses,
        }
    }
}

impl TryFrom<Stored> for CalibrationState {
    type Error = CalibrationError;

    fn try_from(stored: Stored) -> Result<Self, Self::Error> {
        if stored.version != CALIBRATION_VERSION {
            return Err(CalibrationError::Version { found: stored.version });
        }
        let mut state = Self::with(stored.level, stored.step, stored.window)?;
        let finite = |field, value: f64| {
            if value.is_finite() { Ok(()) } else { Err(CalibrationError::Field { field, value }) }
        };
        finite("error_level", stored.error_level)?;
        stored.scores.iter().try_for_each(|s| finite("scores", *s))?;
        state.error_level = stored.error_level;
        state.sorted = stored.scores.iter().copied().collect();
        state.sorted.sort_by(f64::total_cmp);
        state.scores = stored.scores;
        state.covered = stored.covered;
        state.outcomes = stored.outcomes;
        state.misses = stored.misses;
        Ok(state)
    }
}

#[cfg(test)]
mod tests;
