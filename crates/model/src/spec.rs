//! Which estimator with which settings: plain data, the same in pipeline files,
//! stored models and the registry.

use foretell_market::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

use crate::baseline::BaselineEstimator;
use crate::boosting::BoostingEstimator;
use crate::classical::{ClassicalEstimator, EtsTrend, LAGS, Shocks, arima};
use crate::ensemble::{self, EnsembleEstimator, MeanSettings, StackingSettings};
use crate::forest::ForestEstimator;
use crate::imported::{ImportedEstimator, ImportedSettings};
use crate::neural::{
    self, DecompositionSettings, NeuralEstimator, PerceptronSettings, RecurrentSettings,
};
use crate::ridge::RidgeEstimator;
use crate::search::{SearchEstimator, SearchSettings};
use crate::{Estimator, ModelError};

/// An estimator and its settings. In a file: `kind = "ridge"`, `alpha = 1.0`; settings
/// that are left out take the defaults named here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum EstimatorSpec {
    /// The next price is the last: median 0, quantiles of the training labels moved to
    /// median 0. The rival that everything else must beat.
    #[serde(deserialize_with = "no_settings")]
    RandomWalk,
    /// The line from the first to the last training price goes on (Hyndman &
    /// Athanasopoulos, *Forecasting: Principles and Practice*, 3rd ed., ch. 5.2).
    #[serde(deserialize_with = "no_settings")]
    Drift,
    /// The return of the same span one season ago: context `seasonal_log_return`.
    #[serde(deserialize_with = "no_settings")]
    SeasonalNaive,
    /// The mean training label.
    #[serde(deserialize_with = "no_settings")]
    HistoricalMean,
    /// Median 0, quantiles of the standardised training labels times the volatility of
    /// context `ewma_variance` (RiskMetrics, 1996; filtered historical simulation of
    /// Barone-Adesi, Giannopoulos & Vosper, 1999).
    #[serde(deserialize_with = "no_settings")]
    EwmaVolatility,
    /// Linear regression with a squared penalty on standardised columns.
    Ridge {
        /// The penalty, as in scikit-learn's `Ridge` (0 or more, default 1).
        #[serde(default = "default_alpha")]
        alpha: f64,
        /// Whether the spread follows context `ewma_variance` (default no).
        #[serde(default)]
        volatility_scaled: bool,
    },
    /// Bagged regression trees; quantiles from the training labels that share leaves
    /// (Breiman, 2001; Meinshausen, *Quantile Regression Forests*, JMLR 7, 2006).
    RandomForest {
        /// How many trees (default 100).
        #[serde(default = "default_trees")]
        trees: usize,
        /// The most splits from root to leaf (1 to 30, default 10).
        #[serde(default = "default_forest_depth")]
        depth: usize,
        /// The fewest rows a node needs to be split (default 5).
        #[serde(default = "default_min_split")]
        min_split: usize,
        /// The fewest rows of a leaf (default 2).
        #[serde(default = "default_min_leaf")]
        min_leaf: usize,
        /// The share of columns tried at each split (over 0 to 1, default 1/3).
        #[serde(default = "default_column_share")]
        column_share: f64,
    },
    /// Boosted regression trees on the pinball loss of each level (Friedman, 2001; Chen
    /// & Guestrin, *XGBoost*, 2016).
    GradientBoosting {
        /// How many rounds (default 200).
        #[serde(default = "default_rounds")]
        rounds: usize,
        /// The most splits from root to leaf (1 to 16, default 4).
        #[serde(default = "default_depth")]
        depth: usize,
        /// The step of each round (over 0 to 1, default 0.03).
        #[serde(default = "default_eta")]
        eta: f64,
        /// The smallest sum of hessians of a leaf (0 or more, default 100). A row counts
        /// about 0.5, more the nearer it lies to the quantile.
        #[serde(default = "default_min_child_weight")]
        min_child_weight: f64,
        /// The share of rows each round draws (over 0 to 1, default 0.8).
        #[serde(default = "default_subsample")]
        subsample: f64,
        /// The share of columns each tree may use (over 0 to 1, default 0.5).
        #[serde(default = "default_column_sample")]
        column_sample: f64,
        /// The squared penalty on leaf values (0 or more, default 1).
        #[serde(default = "default_lambda")]
        lambda: f64,
        /// The most bins of a column (2 to 65,535, default 64).
        #[serde(default = "default_max_bin")]
        max_bin: usize,
    },
    /// Long short-term memory over the window of each row (Hochreiter & Schmidhuber,
    /// 1997).
    Lstm(RecurrentSettings),
    /// Gated recurrent units over the window of each row (Cho et al., 2014).
    Gru(RecurrentSettings),
    /// A multilayer perceptron over all columns.
    Mlp(PerceptronSettings),
    /// A linear forecaster on trend and rest of the window (DLinear, Zeng et al., 2023).
    Dlinear(DecompositionSettings),
    /// A model that was trained elsewhere; only the spread of its errors is learnt here.
    Imported(ImportedSettings),
    /// Simple exponential smoothing of the log price with half the slope of its trend
    /// (Assimakopoulos & Nikolopoulos, 2000; Hyndman & Billah, 2003).
    #[serde(deserialize_with = "no_settings")]
    Theta,
    /// Exponential smoothing of the log price with additive errors: level alone, trend or
    /// damped trend (Hyndman, Koehler, Snyder & Grose, 2002).
    Ets {
        /// Which trend; that of the lowest AICc when left to the data (default).
        #[serde(default)]
        trend: EtsTrend,
    },
    /// ARMA with a mean on one-interval log returns, so ARIMA(p, 1, q) with drift on the log
    /// price (Box & Jenkins, 1970).
    Arima {
        /// `[p, 1, q]`, p and q up to 3; chosen by AICc when empty (default).
        #[serde(default)]
        order: Vec<usize>,
    },
    /// Median 0, spread by GARCH(1,1) on one-interval log returns without a mean, summed
    /// over the horizon (Bollerslev, 1986).
    Garch {
        /// What the likelihood takes the shocks for (default normal).
        #[serde(default)]
        distribution: Shocks,
    },
    /// Median 0, spread by the heterogeneous autoregression of realised variance on that of
    /// the horizon, a day, a week and a month (Corsi, 2009).
    Har {
        /// Least squares weighted by the inverse square of the fit (default yes), or plain.
        #[serde(default = "default_weighted")]
        weighted: bool,
    },
    /// A model of another kind whose settings are searched for inside the fit.
    Search(Box<SearchSettings>),
    /// The quantiles of other estimators, averaged level by level.
    Mean(MeanSettings),
    /// The same with weights learnt inside the training rows (Wolpert, 1992; Breiman, 1996).
    Stacking(StackingSettings),
}

/// Refuses settings on a kind that has none, which serde alone lets pass.
fn no_settings<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct NoSettings {}
    NoSettings::deserialize(deserializer).map(|NoSettings {}| ())
}

fn default_weighted() -> bool {
    true
}
fn default_alpha() -> f64 {
    1.0
}
fn default_trees() -> usize {
    100
}
fn default_forest_depth() -> usize {
    10
}
fn default_min_split() -> usize {
    5
}
fn default_min_leaf() -> usize {
    2
}
fn default_column_share() -> f64 {
    1.0 / 3.0
}
fn default_rounds() -> usize {
    200
}
fn default_depth() -> usize {
    4
}
fn default_eta() -> f64 {
    0.03
}
fn default_min_child_weight() -> f64 {
    100.0
}
fn default_subsample() -> f64 {
    0.8
}
fn default_column_sample() -> f64 {
    0.5
}
fn default_lambda() -> f64 {
    1.0
}
fn default_max_bin() -> usize {
    64
}

impl EstimatorSpec {
    /// Every kind that learns here, as files write it: `imported` needs a model as well.
    pub const KINDS: [&str; 19] = [
        "random_walk",
        "drift",
        "seasonal_naive",
        "historical_mean",
        "ewma_volatility",
        "ridge",
        "random_forest",
        "gradient_boosting",
        "lstm",
        "gru",
        "mlp",
        "dlinear",
        "theta",
        "ets",
        "arima",
        "garch",
        "har",
        "mean",
        "stacking",
    ];

    /// The kind as files write it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::RandomWalk => "random_walk",
            Self::Drift => "drift",
            Self::SeasonalNaive => "seasonal_naive",
            Self::HistoricalMean => "historical_mean",
            Self::EwmaVolatility => "ewma_volatility",
            Self::Ridge { .. } => "ridge",
            Self::RandomForest { .. } => "random_forest",
            Self::GradientBoosting { .. } => "gradient_boosting",
            Self::Lstm(_) => "lstm",
            Self::Gru(_) => "gru",
            Self::Mlp(_) => "mlp",
            Self::Dlinear(_) => "dlinear",
            Self::Imported(_) => "imported",
            Self::Theta => "theta",
            Self::Ets { .. } => "ets",
            Self::Arima { .. } => "arima",
            Self::Garch { .. } => "garch",
            Self::Har { .. } => "har",
            Self::Mean(_) => "mean",
            Self::Stacking(_) => "stacking",
            Self::Search(_) => "search",
        }
    }

    /// What is fitted in the end: this, or the model whose settings are searched for.
    pub fn learnt(&self) -> &Self {
        match self {
            Self::Search(settings) => settings.base.learnt(),
            other => other,
        }
    }

    /// The search for its settings, if it is one.
    pub fn search(&self) -> Option<&SearchSettings> {
        match self {
            Self::Search(settings) => Some(settings),
            _ => None,
        }
    }

    /// This kind with all its defaults.
    pub fn named(kind: &str) -> Option<Self> {
        serde_json::from_value(serde_json::json!({ "kind": kind })).ok()
    }

    /// Whether it is one of the rivals without settings that read no more than labels and
    /// prices: they cannot diverge, and what fails them fails everything.
    pub fn is_baseline(&self) -> bool {
        matches!(
            self,
            Self::RandomWalk
                | Self::Drift
                | Self::SeasonalNaive
                | Self::HistoricalMean
                | Self::EwmaVolatility
        )
    }

    /// What an ensemble is made of; empty for every other kind.
    pub fn members(&self) -> &[Self] {
        match self.learnt() {
            Self::Mean(s) => &s.members,
            Self::Stacking(s) => &s.members,
            _ => &[],
        }
    }

    /// Whether another seed learns another model.
    pub fn draws(&self) -> bool {
        match self {
            Self::RandomForest { .. }
            | Self::Lstm(_)
            | Self::Gru(_)
            | Self::Mlp(_)
            | Self::Dlinear(_) => true,
            Self::GradientBoosting { subsample, column_sample, .. } => {
                *subsample < 1.0 || *column_sample < 1.0
            }
            Self::Search(_) => true,
            _ => self.members().iter().any(Self::draws),
        }
    }

    /// Whether another seed learns another model although the search is not repeated.
    pub fn refit_draws(&self) -> bool {
        let Some(search) = self.search() else { return self.draws() };
        let draws = |name: &String| name == "subsample" || name == "column_sample";
        search.base.refit_draws() || search.space.0.keys().any(draws)
    }

    /// The same with at most so many epochs, its members included.
    #[must_use]
    pub fn with_epochs_at_most(mut self, most: usize) -> Self {
        match &mut self {
            Self::Lstm(s) | Self::Gru(s) => s.epochs = s.epochs.min(most),
            Self::Mlp(s) => s.epochs = s.epochs.min(most),
            Self::Dlinear(s) => s.epochs = s.epochs.min(most),
            Self::Mean(MeanSettings { members })
            | Self::Stacking(StackingSettings { members, .. }) => {
                let bounded = |m: Self| m.with_epochs_at_most(most);
                *members = std::mem::take(members).into_iter().map(bounded).collect();
            }
            Self::Search(s) => {
                s.base = s.base.clone().with_epochs_at_most(most);
                if let Some(range) = s.space.0.get_mut("epochs") {
                    range.bound(most);
                }
            }
            _ => {}
        }
        self
    }

    /// Whether it reads feature columns, and so can explain itself by them.
    pub fn reads_features(&self) -> bool {
        if self.members().iter().any(Self::reads_features) {
            return true;
        }
        matches!(
            self.learnt(),
            Self::Ridge { .. }
                | Self::RandomForest { .. }
                | Self::GradientBoosting { .. }
                | Self::Lstm(_)
                | Self::Gru(_)
                | Self::Mlp(_)
                | Self::Dlinear(_)
        )
    }

    /// Whether what it promises is the spread alone: its point is the random walk's in
    /// every row, so it is judged by the QLIKE of its variance and not by its point.
    pub fn forecasts_spread(&self) -> bool {
        let walks = |m: &Self| *m == Self::RandomWalk || m.forecasts_spread();
        let spec = self.learnt();
        matches!(spec, Self::EwmaVolatility | Self::Garch { .. } | Self::Har { .. })
            || spec.members().iter().any(Self::forecasts_spread) && spec.members().iter().all(walks)
    }

    /// How many past one-interval returns of a row it filters: context `log_return_lag_0`
    /// and on, as far as `known_returns` says.
    pub fn return_lags(&self) -> usize {
        match self.learnt() {
            Self::Theta | Self::Ets { .. } | Self::Arima { .. } | Self::Garch { .. } => LAGS,
            other => other.members().iter().map(Self::return_lags).max().unwrap_or(0),
        }
    }

    /// Whether it reads the mean squared returns of horizon, day, week and month.
    pub fn reads_cascade(&self) -> bool {
        let spec = self.learnt();
        matches!(spec, Self::Har { .. }) || spec.members().iter().any(Self::reads_cascade)
    }

    /// Why it may not be promoted by what it does on rows from `first` on, whatever that is:
    /// a model that was trained elsewhere may have learnt from them.
    pub fn barred(&self, first: Option<Timestamp>) -> Option<String> {
        match self.learnt() {
            Self::Imported(settings) => settings.barred(first),
            other => other.members().iter().find_map(|member| member.barred(first)),
        }
    }

    /// How many steps a fit reports to its progress.
    pub fn steps(&self) -> u64 {
        match self {
            Self::RandomForest { trees, .. } => *trees as u64,
            Self::GradientBoosting { rounds, .. } => *rounds as u64,
            Self::Lstm(s) | Self::Gru(s) => s.epochs as u64,
            Self::Mlp(s) => s.epochs as u64,
            Self::Dlinear(s) => s.epochs as u64,
            // Its trials, and the fit with what they found.
            Self::Search(s) => s.planned() as u64 + 1,
            Self::Mean(s) => s.members.iter().map(Self::steps).sum(),
            Self::Stacking(s) => {
                (s.inner_folds as u64 + 1) * s.members.iter().map(Self::steps).sum::<u64>()
            }
            _ => 1,
        }
    }

    /// The context column it reads, if any; the first where it reads several.
    pub fn context_column(&self) -> Option<&'static str> {
        match self.learnt() {
            Self::SeasonalNaive => Some("seasonal_log_return"),
            Self::EwmaVolatility | Self::Ridge { volatility_scaled: true, .. } => {
                Some("ewma_variance")
            }
            Self::Theta | Self::Ets { .. } | Self::Arima { .. } | Self::Garch { .. } => {
                Some("known_returns")
            }
            Self::Har { .. } => Some("mean_square_horizon"),
            _ => self.members().iter().find_map(Self::context_column),
        }
    }

    /// The estimator with these settings.
    ///
    /// # Errors
    /// [`ModelError::Setting`] naming the field that is out of range.
    pub fn build(&self) -> Result<Box<dyn Estimator>, ModelError> {
        self.check()?;
        let spec = self.clone();
        Ok(match self {
            Self::Ridge { .. } => Box::new(RidgeEstimator::new(spec)),
            Self::RandomForest { .. } => Box::new(ForestEstimator::new(spec)),
            Self::GradientBoosting { .. } => Box::new(BoostingEstimator::new(spec)),
            Self::Lstm(_) | Self::Gru(_) | Self::Mlp(_) | Self::Dlinear(_) => {
                Box::new(NeuralEstimator::new(spec))
            }
            Self::Imported(settings) => Box::new(ImportedEstimator::new(settings.clone())),
            Self::Theta
            | Self::Ets { .. }
            | Self::Arima { .. }
            | Self::Garch { .. }
            | Self::Har { .. } => Box::new(ClassicalEstimator::new(spec)),
            Self::Search(_) => Box::new(SearchEstimator::new(spec)),
            Self::Mean(_) | Self::Stacking(_) => Box::new(EnsembleEstimator::new(spec)?),
            _ => Box::new(BaselineEstimator::new(spec)),
        })
    }

    pub(crate) fn check(&self) -> Result<(), ModelError> {
        let refuse = |field: &str, value: &dyn ToString, remedy: &str| {
            Err(ModelError::Setting {
                kind: self.kind().to_owned(),
                field: field.to_owned(),
                value: value.to_string(),
                remedy: remedy.to_owned(),
            })
        };
        let share = |field: &str, v: f64| {
            if v > 0.0 && v <= 1.0 {
                Ok(())
            } else {
                refuse(field, &v, "give more than 0, up to 1")
            }
        };
        let not_negative = |field: &str, v: f64| {
            if v >= 0.0 && v.is_finite() { Ok(()) } else { refuse(field, &v, "give 0 or more") }
        };
        let within = |field: &str, v: usize, low: usize, high: usize| {
            if (low..=high).contains(&v) {
                Ok(())
            } else {
                refuse(field, &v, &format!("give {low} to {high}"))
            }
        };
        match *self {
            Self::Arima { ref order } if !arima::is_order(order) => {
                let remedy = "give [p, 1, q] with p and q from 0 to 3, or leave it out";
                refuse("order", &format!("{order:?}"), remedy)
            }
            Self::Ridge { alpha, .. } => not_negative("alpha", alpha),
            Self::RandomForest { trees, depth, min_split, min_leaf, column_share } => {
                within("trees", trees, 1, 100_000)?;
                within("depth", depth, 1, 30)?;
                within("min_split", min_split, 2, usize::MAX)?;
                within("min_leaf", min_leaf, 1, usize::MAX)?;
                share("column_share", column_share)
            }
            Self::GradientBoosting {
                rounds,
                depth,
                eta,
                min_child_weight,
                subsample,
                column_sample,
                lambda,
                max_bin,
            } => {
                within("rounds", rounds, 1, 100_000)?;
                within("depth", depth, 1, 16)?;
                share("eta", eta)?;
                not_negative("min_child_weight", min_child_weight)?;
                share("subsample", subsample)?;
                share("column_sample", column_sample)?;
                not_negative("lambda", lambda)?;
                within("max_bin", max_bin, 2, 65_535)
            }
            Self::Lstm(_) | Self::Gru(_) | Self::Mlp(_) | Self::Dlinear(_) => {
                neural::check(self).or_else(|(field, value, remedy)| refuse(field, &value, remedy))
            }
            Self::Search(ref settings) => settings.check(),
            Self::Mean(_) | Self::Stacking(_) => ensemble::check(self)
                .or_else(|(field, value, remedy)| refuse(field, &value, remedy)),
            _ => Ok(()),
        }
    }
}
