//! Networks as estimators: windows, scaling and validation inside the fit.
//!
//! A row carries its own window: columns named `x[-3]`, `x[-2]`, `x[-1]`, `x` are the last
//! four steps of `x`, the oldest first. So a row's answer depends on that row alone, and
//! a network is judged, served and proved like any other estimator. Columns are
//! standardised with mean and deviation of the training rows; what is kept for validation
//! follows the training rows in time, with the labels between them purged.
//!
//! Sources: A. Zeng et al., *Are Transformers Effective for Time Series Forecasting?*,
//! AAAI 2023, for the decomposition (DLinear); Koenker & Bassett (1978) for the pinball
//! loss. Crossing quantiles are re-ordered (see [`Quantiles::rearranged`]). Classes of
//! outcomes and their sources: [`Classes`].

mod classes;
pub(crate) mod layout;
mod settings;

use foretell_market::FingerprintHasher;
use foretell_neural::{
    Architecture, BadWeights, Checkpoint, Device, DeviceFailed, Examples, Layer, Loss, Plan,
    Trained, Training,
};
use foretell_panel::{Dataset, Matrix};
use serde::{Deserialize, Serialize};

pub use classes::Classes;
pub use settings::{DecompositionSettings, Objective, PerceptronSettings, RecurrentSettings};

use settings::FALL_OR_RISE;

use crate::estimator::{check_training, shares};
use crate::explain::{Explanations, sampled};
use crate::quantiles::{centred_quantiles, empirical_quantile};
use crate::state::{check_finite, check_offsets, damaged};
use crate::{
    Estimator, EstimatorSpec, FitContext, Fitted, LEVELS, ModelError, ModelState, QUANTILE_LEVELS,
    Quantiles, Schema, cpu_features,
};

/// Nine quantiles and a validation part need some rows.
const MIN_ROWS: usize = 100;

/// The most steps of a decomposition's moving average.
const MOST_STEPS: usize = 1_000;

/// The fewest rows that are left to learn from after validation and purge, and the fewest
/// residuals that nine quantiles are taken from.
const LEAST_LEARNT: usize = 40;
const LEAST_KEPT: usize = 10;

/// What a network learnt. Weights stand in PyTorch's layout, layer by layer: of a
/// recurrent one input, recurrent and both biases, of a dense one input and bias.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NeuralState {
    /// What goes in and what stands in a row.
    pub architecture: Architecture,
    /// Steps of a window in the columns; 1 when they are no window.
    pub window: usize,
    /// Steps of the moving average of a decomposition.
    pub kernel: Option<usize>,
    /// The weights; in a file they stand beside this, as tensors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub weights: Vec<Vec<f32>>,
    /// The mean of each column of a step.
    pub means: Vec<f64>,
    /// The standard deviation of each; 1 for a constant one.
    pub scales: Vec<f64>,
    /// The mean training label, log return.
    pub centre: f64,
    /// The standard deviation of the training labels, log return.
    pub spread: f64,
    /// Quantiles of the validation residuals around the answer, log return, where the
    /// network answers the mean alone.
    pub offsets: Option<[f64; LEVELS]>,
    /// The classes whose probabilities the network answers, where it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<Classes>,
    /// How many epochs it was trained.
    pub epochs: usize,
}

/// The settings that all networks share.
struct Common {
    objective: Objective,
    classes: usize,
    epochs: usize,
    batch: usize,
    learning_rate: f64,
    weight_decay: f64,
    clip: f64,
    dropout: f64,
    validation: f64,
    patience: usize,
    plateau: usize,
    plateau_factor: f64,
    device: Device,
}

fn common(spec: &EstimatorSpec) -> Common {
    macro_rules! of {
        ($s:expr, $dropout:expr) => {
            Common {
                objective: $s.objective,
                classes: $s.classes,
                epochs: $s.epochs,
                batch: $s.batch,
                learning_rate: $s.learning_rate,
                weight_decay: $s.weight_decay,
                clip: $s.clip,
                dropout: $dropout,
                validation: $s.validation,
                patience: $s.patience,
                plateau: $s.plateau,
                plateau_factor: $s.plateau_factor,
                device: $s.device,
            }
        };
    }
    match spec {
        EstimatorSpec::Lstm(s) | EstimatorSpec::Gru(s) => of!(s, s.dropout),
        EstimatorSpec::Mlp(s) => of!(s, 0.0),
        EstimatorSpec::Dlinear(s) => of!(s, 0.0),
        _ => of!(settings::PerceptronSettings::default(), 0.0),
    }
}

/// Checks the settings of a network.
///
/// # Errors
/// The field, its value and what would be accepted.
pub(crate) fn check(spec: &EstimatorSpec) -> Result<(), (&'static str, String, &'static str)> {
    let units = match spec {
        EstimatorSpec::Lstm(s) | EstimatorSpec::Gru(s) => &s.units[..],
        EstimatorSpec::Mlp(s) => &s.units,
        EstimatorSpec::Dlinear(s) if s.kernel == 0 => {
            return Err(("kernel", "0".to_owned(), "give 1 or more steps"));
        }
        _ => &[1],
    };
    if units.is_empty() || units.len() > 20 || units.iter().any(|u| !(1..=4_096).contains(u)) {
        return Err(("units", format!("{units:?}"), "give 1 to 20 layers of 1 to 4,096 units"));
    }
    let c = common(spec);
    let whole = [("epochs", c.epochs), ("batch", c.batch)];
    for (field, value) in whole {
        if !(1..=1_000_000).contains(&value) {
            return Err((field, value.to_string(), "give 1 to 1,000,000"));
        }
    }
    for (field, value) in [("learning_rate", c.learning_rate), ("plateau_factor", c.plateau_factor)]
    {
        if !(value > 0.0 && value <= 1.0) {
            return Err((field, value.to_string(), "give more than 0, up to 1"));
        }
    }
    for (field, value) in [("weight_decay", c.weight_decay), ("clip", c.clip)] {
        if !(value >= 0.0 && value.is_finite()) {
            return Err((field, value.to_string(), "give 0 or more"));
        }
    }
    for (field, value) in [("dropout", c.dropout), ("validation", c.validation)] {
        if !(0.0..=0.5).contains(&value) {
            return Err((field, value.to_string(), "give 0 to 0.5"));
        }
    }
    if c.objective == Objective::Squared && c.validation == 0.0 {
        let remedy = "give more than 0: the quantiles of a squared objective come from there";
        return Err(("validation", "0".to_owned(), remedy));
    }
    let remedy = match c.objective {
        Objective::Classes => "give 2 to 21",
        _ => "give `objective = \"classes\"` with it, or leave it out",
    };
    let most = if c.objective == Objective::Classes { classes::MOST } else { FALL_OR_RISE };
    if !(FALL_OR_RISE..=most).contains(&c.classes) {
        return Err(("classes", c.classes.to_string(), remedy));
    }
    Ok(())
}

/// What a setting is that is not told at its default.
pub(crate) fn untold(name: &str) -> Option<serde_json::Value> {
    (name == "classes").then(|| FALL_OR_RISE.into())
}

/// Learns a network.
#[derive(Debug)]
pub(crate) struct NeuralEstimator {
    spec: EstimatorSpec,
}

impl NeuralEstimator {
    pub(crate) fn new(spec: EstimatorSpec) -> Self {
        Self { spec }
    }

    /// Why training was stopped after so many epochs.
    fn diverged(&self, epochs: usize) -> ModelError {
        let message = format!(
            "training diverged in epoch {epochs}: lower `learning_rate`, or bound the gradient with \
             `clip`"
        );
        ModelError::Numerical { kind: self.spec.kind().to_owned(), message }
    }

    /// What decides a fit: settings, seed and rows.
    fn key(&self, train: &Dataset, seed: u64) -> String {
        let mut hasher = FingerprintHasher::new("fit/1");
        let spec = serde_json::to_string(&self.spec).expect("settings are plain data");
        hasher.text(&spec).u64(seed).fingerprint(&train.fingerprint());
        hasher.text(&cpu_features()).text(env!("CARGO_PKG_VERSION"));
        hasher.finish().to_string()
    }

    fn architecture(&self, inputs: usize, window: usize, outputs: usize) -> Architecture {
        let last = Layer::Dense { units: outputs, activation: None };
        let recurrent = |layer: &dyn Fn(usize) -> Layer, units: &[usize]| {
            let layers = units.iter().map(|u| layer(*u)).chain([last]).collect();
            Architecture { inputs, steps: window, layers }
        };
        let flat = |inputs: usize, layers: Vec<Layer>| Architecture { inputs, steps: 1, layers };
        match &self.spec {
            EstimatorSpec::Lstm(s) => {
                recurrent(&|units| Layer::Lstm { units, activation: s.activation }, &s.units)
            }
            EstimatorSpec::Gru(s) => {
                recurrent(&|units| Layer::Gru { units, activation: s.activation }, &s.units)
            }
            EstimatorSpec::Mlp(s) => {
                let hidden = s
                    .units
                    .iter()
                    .map(|u| Layer::Dense { units: *u, activation: Some(s.activation) });
                flat(inputs * window, hidden.chain([last]).collect())
            }
            _ => flat(2 * inputs * window, vec![last]),
        }
    }
}

impl Estimator for NeuralEstimator {
    fn spec(&self) -> &EstimatorSpec {
        &self.spec
    }

    /// Classes need their share each in what is left after validation.
    fn min_rows(&self) -> usize {
        let settings = common(&self.spec);
        let learnt = match settings.objective {
            Objective::Classes => (settings.classes * classes::LEAST_OF_A_CLASS) as f64,
            _ => 0.0,
        };
        MIN_ROWS.max((learnt / (1.0 - settings.validation)) as usize + 2)
    }

    fn fit(
        &self,
        train: &Dataset,
        context: &FitContext<'_>,
    ) -> Result<Box<dyn Fitted>, ModelError> {
        let settings = common(&self.spec);
        let total = settings.epochs as u64;
        context.go_on(0, total)?;
        check_training(self, train)?;
        let (window, inputs) = window_of(&train.feature_names)?;
        let (learnt, kept) = split(train, settings.validation);
        // The purge of long horizons may leave less than the rows that came in.
        let of_mean = settings.objective == Objective::Squared;
        let (need, have) = match learnt.len() < LEAST_LEARNT {
            true => (LEAST_LEARNT, learnt.len()),
            false if of_mean => (LEAST_KEPT, kept.len()),
            false => (0, 0),
        };
        if have < need {
            let kind = format!("{} (rows to learn from or to validate on)", self.spec.kind());
            return Err(ModelError::TooFewRows { kind, need, have });
        }
        let mut state = NeuralState {
            architecture: self.architecture(
                inputs,
                window,
                match settings.objective {
                    Objective::Pinball => LEVELS,
                    Objective::Squared => 1,
                    Objective::Classes => settings.classes,
                },
            ),
            window,
            kernel: match &self.spec {
                EstimatorSpec::Dlinear(s) => Some(s.kernel),
                _ => None,
            },
            weights: Vec::new(),
            means: vec![0.0; inputs],
            scales: vec![1.0; inputs],
            centre: 0.0,
            spread: 1.0,
            offsets: None,
            classes: None,
            epochs: 0,
        };
        let constant = state.scale(train, &learnt);
        if settings.objective == Objective::Classes {
            let outcomes: Vec<f64> = learnt.iter().map(|i| train.labels[*i].value).collect();
            // The outcomes of this fold refuse it: the recipe's own fault, not the file's.
            let cut = Classes::cut(&outcomes, settings.classes).map_err(|remedy| {
                let message = format!("classes = {}: {remedy}", settings.classes);
                ModelError::Numerical { kind: self.spec.kind().to_owned(), message }
            })?;
            state.classes = Some(cut);
        }
        let target = |outcome: f64| match &state.classes {
            Some(classes) => classes.of(outcome) as f32,
            None => ((outcome - state.centre) / state.spread) as f32,
        };
        let examples = |rows: &[usize]| Examples {
            inputs: rows.iter().flat_map(|i| state.window_of_row(train.features.row(*i))).collect(),
            targets: rows.iter().map(|i| target(train.labels[*i].value)).collect(),
            len: rows.len(),
        };
        let (taught, asked) = (examples(&learnt), examples(&kept));
        let plan = Plan {
            loss: match settings.objective {
                Objective::Pinball => Loss::Pinball(QUANTILE_LEVELS.to_vec()),
                Objective::Squared => Loss::Squared,
                Objective::Classes => Loss::CrossEntropy,
            },
            epochs: settings.epochs,
            batch: settings.batch,
            learning_rate: settings.learning_rate,
            weight_decay: settings.weight_decay,
            clip: settings.clip,
            dropout: settings.dropout,
            shuffle: true,
            patience: settings.patience,
            plateau: settings.plateau,
            plateau_factor: settings.plateau_factor,
            lowest_rate: 0.0,
            least_gain: 0.0,
            seed: context.seed,
            threads: context.threads,
        };
        state.architecture.lengths().map_err(|remedy| {
            let kind = self.spec.kind().to_owned();
            let layers = state.architecture.layers.iter().map(|l| l.units()).collect::<Vec<_>>();
            ModelError::Setting {
                kind,
                field: "units".to_owned(),
                value: format!("{layers:?}"),
                remedy,
            }
        })?;
        let device = |failed: DeviceFailed| ModelError::Device {
            kind: self.spec.kind().to_owned(),
            device: settings.device.to_string(),
            message: failed.to_string(),
        };
        let mut training = match settings.device {
            Device::Cpu => Training::new(&state.architecture, plan, &taught, &asked),
            other => {
                let cards = context.accelerator.ok_or_else(no_card).map_err(device)?;
                let start = Trained::random(&state.architecture, plan.seed);
                let engine = cards.engine(other, &start, &plan, &taught, &asked);
                let engine = engine.map_err(device)?;
                Training::on(engine, &state.architecture, plan, &taught, &asked)
            }
        };
        if settings.objective == Objective::Pinball {
            let mut labels: Vec<f64> = taught.targets.iter().map(|y| f64::from(*y)).collect();
            labels.sort_by(f64::total_cmp);
            let begin = QUANTILE_LEVELS.map(|level| empirical_quantile(&labels, level) as f32);
            training.begin_at(&begin).map_err(device)?;
        }
        if let Some(classes) = &state.classes {
            training.begin_at(&classes.log_shares(&taught.targets)).map_err(device)?;
        }
        let kept_under = context.checkpoints.map(|all| (all, self.key(train, context.seed)));
        if let Some((all, key)) = &kept_under {
            // What cannot be read any more is no reason not to learn.
            let saved = all.load(key).and_then(|bytes| serde_json::from_slice(&bytes).ok());
            let _ = saved.map(|checkpoint: Checkpoint| training.resume(&checkpoint));
        }
        while training.goes_on() {
            let Some(epoch) = training.epoch(context.stop).map_err(device)? else {
                let done = training.epochs_done() as u64;
                return Err(ModelError::Stopped { done, total });
            };
            let judged = asked.len == 0 || epoch.validation.is_finite();
            if !epoch.loss.is_finite() || !judged {
                return Err(self.diverged(training.epochs_done()));
            }
            let done = training.epochs_done() as u64;
            context.progress.epoch(done, total, epoch.loss, epoch.validation);
            context.progress.steps(done, total);
            if let Some((all, key)) = &kept_under {
                // A device that cannot tell where it stands fails in the next epoch.
                all.save(key, &|| match training.checkpoint() {
                    Ok(checkpoint) => {
                        serde_json::to_vec(&checkpoint).expect("a checkpoint is plain numbers")
                    }
                    Err(_) => Vec::new(),
                });
            }
        }
        state.epochs = training.epochs_done();
        let network = training.into_best().map_err(device)?;
        state.weights = network.weights();
        // The last step of an epoch can leave the range of 32 bits with no loss to show it.
        if state.weights.iter().flatten().any(|weight| !weight.is_finite()) {
            return Err(self.diverged(state.epochs));
        }
        // What never moved while training is not to matter when it does.
        let seen = state.architecture.inputs;
        for (i, weight) in state.weights[0].iter_mut().enumerate() {
            if constant[i % seen % inputs] {
                *weight = 0.0;
            }
        }
        if settings.objective == Objective::Squared {
            // Of the network that is stored, without those columns.
            let stored = Trained::new(&state.architecture, &state.weights).map_err(|bad| {
                let (kind, message) = (self.spec.kind().to_owned(), bad.to_string());
                ModelError::Numerical { kind, message }
            })?;
            let answers = stored.answers(asked.inputs);
            let residual = |(i, row): (usize, &usize)| {
                train.labels[*row].value - (state.centre + state.spread * f64::from(answers[i]))
            };
            let residuals: Vec<f64> = kept.iter().enumerate().map(residual).collect();
            state.offsets = Some(centred_quantiles(&residuals));
        }
        // An early stop is the end of the fit.
        context.progress.steps(total, total);
        Ok(Box::new(Neural::new(state, Schema::of(train))?))
    }
}

/// What a fit is told that nobody gave a device.
fn no_card() -> DeviceFailed {
    DeviceFailed::new(
        "this program was built without the feature `gpu`: build it with `cargo build --release \
         --features gpu`, or leave `device` out",
    )
}

/// How many steps the columns hold, and how many columns a step has: `x[-2], y[-2],
/// x[-1], y[-1], x, y` are three steps of two columns.
///
/// # Errors
/// When columns of earlier steps are there and do not form whole windows in that order.
fn window_of(names: &[String]) -> Result<(usize, usize), ModelError> {
    let behind = |name: &String| -> Option<usize> {
        let (_, number) = name.strip_suffix(']')?.rsplit_once("[-")?;
        number.parse().ok()
    };
    let window = names.iter().filter_map(behind).max().map_or(1, |most| most + 1);
    let inputs = names.len() / window;
    let base = &names[names.len() - inputs..];
    let expected = |i: usize| match window - 1 - i / inputs {
        0 => base[i % inputs].clone(),
        behind => format!("{}[-{behind}]", base[i % inputs]),
    };
    let whole = inputs > 0 && inputs * window == names.len();
    match (0..names.len()).find(|i| !whole || names[*i] != expected(*i)) {
        None => Ok((window, inputs)),
        Some(i) => Err(ModelError::Schema {
            difference: format!(
                "column {i} `{}` breaks the window of {window} steps: take columns from a \
                 pipeline with `window` in [features]",
                names[i]
            ),
        }),
    }
}

/// The rows to learn from and those kept for validation, which follow in time; labels
/// that end after the first of these began are left out of both.
fn split(train: &Dataset, share: f64) -> (Vec<usize>, Vec<usize>) {
    let kept = (train.len() as f64 * share).round() as usize;
    let first = train.len() - kept;
    let Some(begins) = train.labels.get(first).map(|l| l.start) else {
        return ((0..train.len()).collect(), Vec::new());
    };
    let learnt = (0..first).filter(|i| train.labels[*i].end <= begins).collect();
    (learnt, (first..train.len()).collect())
}

impl NeuralState {
    /// The kind of estimator that learnt it.
    pub(crate) fn kind(&self) -> &'static str {
        match (self.kernel, self.architecture.layers.first()) {
            (Some(_), _) => "dlinear",
            (None, Some(Layer::Lstm { .. })) => "lstm",
            (None, Some(Layer::Gru { .. })) => "gru",
            (None, _) => "mlp",
        }
    }

    /// Takes means and deviations from some rows, and says which columns are constant.
    fn scale(&mut self, train: &Dataset, rows: &[usize]) -> Vec<bool> {
        let moments = |of: &dyn Fn(usize) -> f64| {
            let n = rows.len() as f64;
            let mean = rows.iter().map(|i| of(*i)).sum::<f64>() / n;
            let variance = rows.iter().map(|i| (of(*i) - mean).powi(2)).sum::<f64>() / n;
            let deviation = libm::sqrt(variance);
            // A constant column is not blown up to noise.
            (mean, if deviation > 1e-12 * mean.abs() { deviation } else { 1.0 }, deviation)
        };
        let mut constant = Vec::with_capacity(self.means.len());
        let inputs = self.means.len();
        let last = (self.window - 1) * inputs;
        for j in 0..inputs {
            let (mean, scale, deviation) = moments(&|i| train.features.row(i)[last + j]);
            (self.means[j], self.scales[j]) = (mean, scale);
            constant.push(deviation <= 1e-12 * mean.abs());
        }
        (self.centre, self.spread, _) = moments(&|i| train.labels[i].value);
        constant
    }

    /// What the network sees of a row.
    fn window_of_row(&self, row: &[f64]) -> Vec<f32> {
        let inputs = self.means.len();
        let scaled = |i: usize| (row[i] - self.means[i % inputs]) / self.scales[i % inputs];
        let Some(kernel) = self.kernel else {
            return (0..row.len()).map(|i| scaled(i) as f32).collect();
        };
        // The trend is the moving average, its ends repeated (Zeng et al.); what is left
        // comes first.
        let (before, after) = ((kernel - 1) / 2, kernel / 2);
        let trend = |t: usize, j: usize| {
            let at = |k: usize| {
                let step = (t + k).saturating_sub(before).min(self.window - 1);
                scaled(step * inputs + j)
            };
            (0..=before + after).map(at).sum::<f64>() / kernel as f64
        };
        let places = || (0..self.window).flat_map(|t| (0..inputs).map(move |j| (t, j)));
        let trends: Vec<f64> = places().map(|(t, j)| trend(t, j)).collect();
        let rests = trends.iter().enumerate().map(|(i, trend)| scaled(i) - trend);
        rests.chain(trends.iter().copied()).map(|v| v as f32).collect()
    }
}

/// A trained network.
#[derive(Debug)]
pub(crate) struct Neural {
    state: NeuralState,
    schema: Schema,
    network: Trained,
}

impl Neural {
    /// From what was learnt.
    ///
    /// # Errors
    /// When the parts do not form a model of these columns.
    pub(crate) fn new(state: NeuralState, schema: Schema) -> Result<Self, ModelError> {
        let columns = schema.feature_names.len();
        let architecture = &state.architecture;
        let inputs = state.means.len();
        let flat = architecture.layers.first().is_some_and(|l| !l.is_recurrent());
        let seen = columns * if state.kernel.is_some() { 2 } else { 1 };
        let fits = state.window > 0
            && inputs.checked_mul(state.window) == Some(columns)
            && state.scales.len() == inputs
            && match flat {
                true => architecture.steps == 1 && architecture.inputs == seen,
                false => architecture.steps == state.window && architecture.inputs == inputs,
            };
        if !fits {
            return Err(damaged("architecture", &format!("the model has {columns} columns")));
        }
        let answered = match (&state.offsets, &state.classes) {
            (None, None) => LEVELS,
            (Some(_), None) => 1,
            (None, Some(classes)) => classes.count(),
            (Some(_), Some(_)) => {
                return Err(damaged("classes", "a network answers classes or a mean, not both"));
            }
        };
        if architecture.outputs() != answered {
            return Err(damaged("architecture.layers", "the last layer has other outputs"));
        }
        if state.kernel.is_some_and(|steps| !(1..=MOST_STEPS).contains(&steps)) {
            return Err(damaged("kernel", "it has no step, or over a thousand"));
        }
        check_finite("means", &state.means)?;
        check_finite("scales", &state.scales)?;
        check_finite("centre", &[state.centre, state.spread])?;
        if let Some(j) = state.scales.iter().position(|s| *s <= 0.0) {
            return Err(damaged(&format!("scales[{j}]"), "the scale is not over 0"));
        }
        if let Some(offsets) = &state.offsets {
            check_offsets(offsets)?;
        }
        if let Some(classes) = &state.classes {
            classes.check()?;
        }
        let network = Trained::new(architecture, &state.weights).map_err(|bad| match bad {
            BadWeights::Layers(_) => damaged("architecture.layers", &bad.to_string()),
            _ => damaged("weights", &bad.to_string()),
        })?;
        Ok(Self { state, schema, network })
    }

    /// The answers for rows, one per output.
    fn answers(&self, features: &Matrix) -> impl Iterator<Item = f64> {
        let rows = 0..features.rows();
        let windows = rows.flat_map(|i| self.state.window_of_row(features.row(i))).collect();
        self.network.answers(windows).into_iter().map(f64::from)
    }
}

impl Fitted for Neural {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn predict(&self, features: &Matrix, context: &Matrix) -> Result<Quantiles, ModelError> {
        self.schema.check_rows(features, context)?;
        if let Some(classes) = &self.state.classes {
            let logits: Vec<f64> = self.answers(features).collect();
            let rows = logits.chunks_exact(classes.count());
            let answer = |row: &[f64]| classes.quantiles(&Classes::probabilities(row));
            return Quantiles::rearranged(rows.flat_map(answer).collect());
        }
        let answer = |v: f64| self.state.centre + self.state.spread * v;
        let answers = self.answers(features).map(answer);
        match &self.state.offsets {
            Some(offsets) => Quantiles::located(answers.map(|centre| (centre, 1.0)), offsets),
            None => Quantiles::rearranged(answers.collect()),
        }
    }

    fn state(&self) -> ModelState {
        ModelState::Neural(self.state.clone())
    }

    /// Against the training means; the steps of a window are one feature.
    fn explain(&self, features: &Matrix, context: &Matrix) -> Result<Explanations, ModelError> {
        let reference: Vec<f64> =
            (0..self.state.window).flat_map(|_| self.state.means.iter().copied()).collect();
        sampled::against(self, &reference, features, context)
    }

    /// The share of each standardised column in the sum of absolute weights of the first
    /// layer; the steps of a recurrent one share theirs equally.
    fn importance(&self) -> Vec<(String, f64)> {
        let first = &self.state.weights[0];
        let inputs = self.state.architecture.inputs;
        let mut sums = vec![0.0; inputs];
        for (i, weight) in first.iter().enumerate() {
            sums[i % inputs] += f64::from(weight.abs());
        }
        let columns = self.schema.feature_names.len();
        let sizes: Vec<f64> = (0..columns)
            .map(|i| match self.state.kernel {
                Some(_) => sums[i] + sums[columns + i],
                None => sums[i % inputs],
            })
            .collect();
        shares(&self.schema, &sizes)
    }
}
