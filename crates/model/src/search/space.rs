//! What a search may choose: a range per setting, and the unit cube behind them.
//!
//! A point holds one number per range, in the order of the names: where a value lies
//! between its bounds (0 to 1, on the scale of the range), or the place of a choice in its
//! list. Samplers know points only.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The values that one setting may take; bounds are included.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Range {
    /// Whole numbers.
    Whole {
        /// The smallest.
        from: i64,
        /// The largest.
        to: i64,
        /// Whether ratios count, not differences.
        #[serde(default)]
        log: bool,
    },
    /// Numbers.
    Number {
        /// The smallest.
        from: f64,
        /// The largest.
        to: f64,
        /// Whether ratios count, not differences.
        #[serde(default)]
        log: bool,
    },
    /// These values, without an order.
    OneOf(Vec<Value>),
}

/// A range per setting, by name.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Space(pub BTreeMap<String, Range>);

/// The values of one trial, by name.
pub type Settings = BTreeMap<String, Value>;

impl Range {
    /// Keeps whole numbers from going over a bound.
    pub(crate) fn bound(&mut self, most: usize) {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        match self {
            Self::Whole { from, to, .. } => (*from, *to) = ((*from).min(most), (*to).min(most)),
            Self::OneOf(values) => {
                for value in values.iter_mut().filter(|v| v.as_i64().is_some_and(|v| v > most)) {
                    *value = most.into();
                }
                values.dedup();
            }
            Self::Number { .. } => {}
        }
    }

    /// What is wrong with it, if anything.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        match self {
            Self::Whole { from, to, .. } if from > to => Some("begins above its end"),
            Self::Whole { from, log: true, .. } if *from < 1 => {
                Some("is logarithmic and begins below 1")
            }
            Self::Number { from, to, .. } if !(from.is_finite() && to.is_finite()) => {
                Some("has a bound that is not finite")
            }
            Self::Number { from, to, .. } if from > to => Some("begins above its end"),
            Self::Number { from, log: true, .. } if *from <= 0.0 => {
                Some("is logarithmic and begins at 0 or below")
            }
            Self::OneOf(values) if values.is_empty() => Some("has no value"),
            _ => None,
        }
    }

    /// How many choices there are without an order; `None` for numbers.
    pub(crate) fn choices(&self) -> Option<usize> {
        match self {
            Self::OneOf(values) => Some(values.len()),
            _ => None,
        }
    }

    /// The scale of the range: bounds between which points lie. Every whole number has a
    /// cell around it, half a step to both sides.
    fn ends(&self) -> (f64, f64) {
        match *self {
            Self::Whole { from, to, log } => {
                (scale(from as f64 - 0.5, log), scale(to as f64 + 0.5, log))
            }
            Self::Number { from, to, log } => (scale(from, log), scale(to, log)),
            Self::OneOf(_) => (0.0, 1.0),
        }
    }

    fn unit(&self, value: f64, log: bool) -> f64 {
        let (low, high) = self.ends();
        if high > low { ((scale(value, log) - low) / (high - low)).clamp(0.0, 1.0) } else { 0.5 }
    }

    /// The cell of the value at a point: what is drawn inside means that value. `None`
    /// where each point is a value of its own.
    pub(crate) fn cell(&self, at: f64) -> Option<(f64, f64)> {
        let Self::Whole { log, .. } = *self else { return None };
        let value = self.whole(at)? as f64;
        Some((self.unit(value - 0.5, log), self.unit(value + 0.5, log)))
    }

    fn whole(&self, at: f64) -> Option<i64> {
        let Self::Whole { from, to, log } = *self else { return None };
        let (low, high) = self.ends();
        let value = unscale(low + at * (high - low), log);
        Some((libm::round(value) as i64).clamp(from, to))
    }

    /// The value at a point.
    pub(crate) fn value(&self, at: f64) -> Value {
        match self {
            Self::Whole { .. } => self.whole(at).unwrap_or_default().into(),
            Self::Number { from, to, log } => {
                let (low, high) = self.ends();
                unscale(low + at * (high - low), *log).clamp(*from, *to).into()
            }
            Self::OneOf(values) => {
                values.get(at as usize).or(values.last()).cloned().unwrap_or_default()
            }
        }
    }

    /// The point of a value: the middle of its cell. `None` for what the range does not
    /// hold.
    pub(crate) fn point(&self, value: &Value) -> Option<f64> {
        match self {
            Self::Whole { from, to, log } => {
                let value = value.as_i64().filter(|v| (from..=to).contains(&v))?;
                Some(self.unit(value as f64, *log))
            }
            Self::Number { from, to, log } => {
                let value = value.as_f64().filter(|v| (from..=to).contains(&v))?;
                Some(self.unit(value, *log))
            }
            Self::OneOf(values) => values.iter().position(|v| v == value).map(|i| i as f64),
        }
    }

    /// The points of a grid: every value where there are at most `points`, else as many at
    /// equal distances, both ends included.
    pub(crate) fn grid(&self, points: usize) -> Vec<f64> {
        let even = |n: usize| -> Vec<f64> {
            let step = |i: usize| if n > 1 { i as f64 / (n - 1) as f64 } else { 0.5 };
            (0..n).map(step).collect()
        };
        match *self {
            Self::OneOf(ref values) => (0..values.len()).map(|i| i as f64).collect(),
            Self::Whole { from, to, log } => {
                let count = usize::try_from(to - from + 1).unwrap_or(usize::MAX);
                let mut values: Vec<i64> = if count <= points {
                    (from..=to).collect()
                } else {
                    let (low, high) = (scale(from as f64, log), scale(to as f64, log));
                    let at = |u: f64| libm::round(unscale(low + u * (high - low), log)) as i64;
                    even(points).into_iter().map(at).collect()
                };
                values.dedup();
                values.into_iter().map(|v| self.unit(v as f64, log)).collect()
            }
            Self::Number { from, to, .. } if from == to => vec![0.5],
            Self::Number { .. } => even(points),
        }
    }
}

fn scale(value: f64, log: bool) -> f64 {
    if log { libm::log(value) } else { value }
}

fn unscale(value: f64, log: bool) -> f64 {
    if log { libm::exp(value) } else { value }
}

impl Space {
    /// The ranges in the order of their names.
    pub(crate) fn ranges(&self) -> impl ExactSizeIterator<Item = &Range> {
        self.0.values()
    }

    /// The values at a point.
    pub fn settings(&self, point: &[f64]) -> Settings {
        let value =
            |((name, range), at): ((&String, &Range), &f64)| (name.clone(), range.value(*at));
        self.0.iter().zip(point).map(value).collect()
    }

    /// The point of some values; `None` when one is absent or no value of its range.
    pub fn point(&self, settings: &Settings) -> Option<Vec<f64>> {
        self.0.iter().map(|(name, range)| range.point(settings.get(name)?)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ranges() -> Vec<Range> {
        vec![
            Range::Whole { from: 1, to: 9, log: false },
            Range::Whole { from: 3, to: 3_000, log: true },
            Range::Number { from: -2.0, to: 7.0, log: false },
            Range::Number { from: 1e-4, to: 1.0, log: true },
            Range::OneOf(vec!["a".into(), 4.into(), vec![1, 2].into()]),
        ]
    }

    #[test]
    fn every_whole_number_has_the_same_share_of_a_linear_range() {
        let range = Range::Whole { from: 1, to: 4, log: false };
        let values: Vec<Value> = [0.0, 0.24, 0.26, 0.51, 0.76, 1.0].map(|u| range.value(u)).into();
        assert_eq!(values, [1, 1, 2, 3, 4, 4].map(Value::from));
        assert_eq!(range.cell(0.3), Some((0.25, 0.5)));
    }

    #[test]
    fn a_logarithmic_range_has_its_geometric_mean_in_the_middle() {
        let range = Range::Number { from: 0.01, to: 1.0, log: true };
        foretell_testkit::assert_close(range.value(0.5).as_f64().unwrap(), 0.1, 1e-12);
        let grid: Vec<Value> = range.grid(3).into_iter().map(|u| range.value(u)).collect();
        assert_eq!((grid[0].as_f64(), grid[2].as_f64()), (Some(0.01), Some(1.0)));
    }

    #[test]
    fn a_grid_has_no_value_twice() {
        let range = Range::Whole { from: 2, to: 4, log: false };
        assert_eq!(range.grid(9).len(), 3);
        let narrow = Range::Whole { from: 1, to: 12, log: true };
        let values: Vec<Value> = narrow.grid(9).into_iter().map(|u| narrow.value(u)).collect();
        assert!(values.windows(2).all(|w| w[0] != w[1]), "{values:?}");
        assert_eq!((values[0].as_i64(), values.last().unwrap().as_i64()), (Some(1), Some(12)));
    }

    proptest! {
        #[test]
        fn a_value_keeps_its_place(u in 0.0f64..=1.0) {
            for range in ranges() {
                let at = range.choices().map_or(u, |n| (u * n as f64).floor().min(n as f64 - 1.0));
                let value = range.value(at);
                let back = range.point(&value).unwrap();
                prop_assert_eq!(range.value(back), value.clone(), "{:?}", range);
                if let Some((low, high)) = range.cell(at) {
                    prop_assert!(low - 1e-9 <= at && at <= high + 1e-9);
                    prop_assert!(low < back && back < high);
                }
            }
        }
    }
}
