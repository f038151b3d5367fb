//! The one suite that every estimator passes, and the seeded rows it runs on. For tests
//! and benches alone; it panics with a sentence where a promise is broken.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use foretell_market::{Fingerprint, Interval, RowFlags, Timestamp};
use foretell_panel::{Dataset, Label, Matrix};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::{
    EstimatorSpec, FitContext, FitProgress, Fitted, LEVELS, ModelError, ModelState, Quantiles,
    SavedModel,
};

/// How many rows the suite learns from.
const TRAIN: usize = 600;

/// Hourly rows with a planted link: the label rises with `rising`, jumps with `step`,
/// and its spread follows `ewma_variance`; `copy` repeats `rising`, `constant` never
/// moves and `noise` means nothing. Labels are of the size of hourly log returns.
pub fn planted(rows: usize, seed: u64) -> Dataset {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    // The sum of twelve uniform draws, centred, is normal enough for a test.
    let mut normal = move || (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
    let names = ["rising", "step", "constant", "noise", "copy", "coarse"];
    let start = Timestamp::from_secs(1_704_067_200);
    let (mut features, mut context) = (Vec::new(), Vec::new());
    let (mut labels, mut base_prices) = (Vec::new(), Vec::new());
    let (mut price, mut heat) = (100.0, 0.0);
    for i in 0..rows {
        let (rising, step, noise) = (normal(), normal(), normal());
        heat = 0.95 * heat + 0.2 * normal();
        let sigma = 0.004 * libm::exp(heat);
        let jump = if step > 0.5 { 0.004 } else { 0.0 };
        let value = 0.003 * rising + jump + sigma * normal();
        features.extend([rising, step, 3.0, noise, rising, libm::floor(noise * 2.0)]);
        context.extend([0.001 * normal(), sigma * sigma]);
        let start = start.plus_secs(3600 * i as i64);
        labels.push(Label { value, start, end: start + Interval::HOUR });
        base_prices.push(price);
        price *= libm::exp(value);
    }
    Dataset {
        instrument: "BTC-USD".parse().expect("a valid name"),
        interval: Interval::HOUR,
        horizon: Interval::HOUR,
        feature_set: Fingerprint::of_bytes(b"planted"),
        feature_names: names.map(str::to_owned).to_vec(),
        features: Matrix::new(rows, names.len(), features),
        context_names: vec!["seasonal_log_return".to_owned(), "ewma_variance".to_owned()],
        context: Matrix::new(rows, 2, context),
        labels,
        base_prices,
        flags: vec![RowFlags::default(); rows],
    }
}

/// [`planted`] rows with the past returns that an estimator reads, as context behind the
/// others: the label of each row is the return of the next, and the last gap lies at row 3,
/// so that early windows are short. The mean squares follow the squared returns.
pub fn planted_for(spec: &EstimatorSpec, rows: usize, seed: u64) -> Dataset {
    let mut data = planted(rows, seed);
    let (lags, cascade) = (spec.return_lags(), spec.reads_cascade());
    if lags == 0 && !cascade {
        return data;
    }
    const GAP: usize = 3;
    let closed = |i: usize| if i == 0 { 0.002 } else { data.labels[i - 1].value };
    let widths = [1, 24, 168, 720];
    let mut context = Vec::new();
    for i in 0..rows {
        context.extend_from_slice(data.context.row(i));
        let known = i + 1 - if i < GAP { 0 } else { GAP };
        if lags > 0 {
            context.push(known.min(lags) as f64);
            context.extend((0..lags).map(|k| if k < known { closed(i - k) } else { 0.0 }));
        }
        let mean = |width: usize| {
            let n = width.min(known);
            (0..n).map(|k| closed(i - k) * closed(i - k)).sum::<f64>() / n as f64
        };
        context.extend(widths.into_iter().filter(|_| cascade).map(mean));
    }
    let names = &mut data.context_names;
    if lags > 0 {
        names.push("known_returns".to_owned());
        names.extend((0..lags).map(|k| format!("log_return_lag_{k}")));
    }
    let parts = ["horizon", "day", "week", "month"];
    names.extend(parts.iter().filter(|_| cascade).map(|p| format!("mean_square_{p}")));
    data.context = Matrix::new(rows, names.len(), context);
    data
}

/// Holds an estimator to every promise of [`crate::Estimator`], [`Fitted`] and
/// [`SavedModel`].
///
/// # Panics
/// With a sentence, where a promise is broken.
pub fn check_estimator(spec: &EstimatorSpec) {
    let estimator = spec.build().expect("the settings are valid");
    assert_eq!(estimator.spec(), spec, "an estimator knows its settings");
    let (train, test) = (planted_for(spec, TRAIN, 1), planted_for(spec, 50, 2));
    let fitted = fit(spec, &train, 7, 2).expect("the planted rows can be learnt");
    let forecast = fitted.predict_dataset(&test).expect("the planted rows can be forecast");
    check_shape(&forecast, test.len());
    if spec.forecasts_spread() {
        let still = forecast.medians().iter().all(|m| *m == 0.0);
        assert!(still, "who forecasts a spread has the random walk's point");
    }
    check_determinism(spec, &train);
    check_saving(spec, &train, &test, &*fitted, &forecast);
    check_rows_stand_alone(&*fitted, &test, &forecast);
    check_bad_rows(&*fitted, &test);
    check_bad_training(spec, &train);
    check_degenerate_training(spec, &train, &test);
    check_stop_and_progress(spec, &train);
    check_importance(spec, &*fitted);
    check_explanation(spec, &*fitted, &test);
}

fn fit(
    spec: &EstimatorSpec,
    train: &Dataset,
    seed: u64,
    threads: usize,
) -> Result<Box<dyn Fitted>, ModelError> {
    let stop = AtomicBool::new(false);
    spec.build()?.fit(
        train,
        &FitContext {
            seed,
            threads,
            stop: &stop,
            progress: &(),
            checkpoints: None,
            accelerator: None,
        },
    )
}

fn hash(spec: &EstimatorSpec, train: &Dataset, seed: u64, threads: usize) -> Fingerprint {
    let fitted = fit(spec, train, seed, threads).expect("the planted rows can be learnt");
    SavedModel::new(&*fitted, spec, train, seed, "test").hash()
}

fn state(spec: &EstimatorSpec, train: &Dataset, seed: u64) -> ModelState {
    fit(spec, train, seed, 1).expect("the planted rows can be learnt").state()
}

fn check_shape(forecast: &Quantiles, rows: usize) {
    assert_eq!(forecast.rows(), rows, "there is one answer per row");
    for i in 0..rows {
        let row = forecast.row(i);
        assert_eq!(row.len(), LEVELS, "an answer has nine quantiles");
        assert!(row.is_sorted(), "quantiles of row {i} cross: {row:?}");
        assert!(row.iter().all(|q| q.is_finite()), "row {i} is not finite: {row:?}");
        assert_eq!(forecast.median(i), row[4], "the median is the fifth of nine");
        assert!(row[0] < row[8], "row {i} has no spread: {row:?}");
    }
}

fn check_determinism(spec: &EstimatorSpec, train: &Dataset) {
    let one = hash(spec, train, 7, 1);
    for threads in [1, 2, 4] {
        let again = hash(spec, train, 7, threads);
        assert_eq!(again, one, "{threads} threads learnt another model than one");
    }
    let other = hash(spec, train, 8, 1);
    match spec.draws() {
        true => assert_ne!(other, one, "the seed has no effect"),
        // The seed itself stands in the record.
        false => assert_eq!(state(spec, train, 8), state(spec, train, 7), "the seed has an effect"),
    }
}

fn check_saving(
    spec: &EstimatorSpec,
    train: &Dataset,
    test: &Dataset,
    fitted: &dyn Fitted,
    forecast: &Quantiles,
) {
    let saved = SavedModel::new(fitted, spec, train, 7, "test");
    assert_eq!((saved.rows, saved.train_from), (TRAIN, train.labels[0].start));
    assert_eq!(saved.train_to, train.labels[TRAIN - 1].end, "training ends with a label");
    let bytes = saved.to_bytes();
    let back = SavedModel::from_bytes(&bytes).expect("what was written is read");
    assert_eq!(back, saved, "reading changes nothing");
    assert_eq!(back.hash(), saved.hash(), "reading changes no bit");
    let again = back.model().and_then(|m| m.predict_dataset(test)).expect("a read model works");
    let bits = |q: &Quantiles| q.as_slice().iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&again), bits(forecast), "a read model answers as the fitted one");
    for cut in [0, 1, bytes.len() / 3, bytes.len() - 1] {
        let error = SavedModel::from_bytes(&bytes[..cut]).expect_err("a file that is cut off");
        assert!(matches!(error, ModelError::Damaged { .. }), "cut at {cut}: {error}");
    }
}

fn check_rows_stand_alone(fitted: &dyn Fitted, test: &Dataset, forecast: &Quantiles) {
    let reversed: Vec<usize> = (0..test.len()).rev().collect();
    let backwards = fitted.predict_dataset(&test.select(&reversed)).expect("any order is served");
    for i in 0..test.len() {
        let alone = fitted.predict_dataset(&test.slice(i..i + 1)).expect("one row is served");
        assert_eq!(alone.row(0), forecast.row(i), "row {i} depends on its company");
        let there = backwards.row(test.len() - 1 - i);
        assert_eq!(there, forecast.row(i), "row {i} depends on the order");
    }
    let none = fitted.predict_dataset(&test.slice(0..0)).expect("no rows are no fault");
    assert_eq!(none.rows(), 0, "no rows, no answers");
}

/// The same rows with one feature changed.
fn with_feature(data: &Dataset, row: usize, column: usize, value: f64) -> Dataset {
    let mut changed = data.clone();
    changed.features = with_value(&data.features, row, column, value);
    changed
}

fn with_value(matrix: &Matrix, row: usize, column: usize, value: f64) -> Matrix {
    let mut numbers = matrix.as_slice().to_vec();
    numbers[row * matrix.cols() + column] = value;
    Matrix::new(matrix.rows(), matrix.cols(), numbers)
}

fn check_bad_rows(fitted: &dyn Fitted, test: &Dataset) {
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let error = fitted.predict_dataset(&with_feature(test, 3, 1, value));
        let error = error.expect_err("a feature that is not finite is refused");
        let named =
            matches!(&error, ModelError::NotFinite { row: 3, column, .. } if column == "step");
        assert!(named, "{error}");
        let mut changed = test.clone();
        changed.context = with_value(&test.context, 2, 1, value);
        let error = fitted.predict_dataset(&changed).expect_err("and so is context");
        assert!(matches!(error, ModelError::NotFinite { row: 2, .. }), "{error}");
    }
    let mut renamed = test.clone();
    renamed.feature_names.swap(0, 1);
    let error = fitted.predict_dataset(&renamed).expect_err("columns in another order");
    let named =
        matches!(&error, ModelError::Schema { difference } if difference.contains("rising"));
    assert!(named, "{error}");
    let narrow = Matrix::new(test.len(), 1, test.features.column(0));
    let error = fitted.predict(&narrow, &test.context).expect_err("too few columns");
    assert!(matches!(error, ModelError::Schema { .. }), "{error}");
    let error = fitted.predict(&test.features, &test.context.slice(0..3));
    assert!(matches!(error, Err(ModelError::Schema { .. })), "rows without their context");
    // Far outside of the training an answer is a number or a refusal, never a NaN.
    for value in [1e30, -1e30, 1e300] {
        match fitted.predict_dataset(&with_feature(test, 0, 0, value)) {
            Ok(answer) => assert!(answer.row(0).iter().all(|q| q.is_finite())),
            Err(error) => {
                let refused = matches!(
                    error,
                    ModelError::NotFinite { .. } | ModelError::ImpossibleAnswer { .. }
                );
                assert!(refused, "{error}");
            }
        }
    }
}

fn check_bad_training(spec: &EstimatorSpec, train: &Dataset) {
    let need = spec.build().expect("the settings are valid").min_rows();
    for have in [0, 1, need - 1] {
        let error = fit(spec, &train.slice(0..have), 7, 1).expect_err("too few rows");
        assert!(matches!(error, ModelError::TooFewRows { have: h, .. } if h == have), "{error}");
    }
    fit(spec, &train.slice(0..need), 7, 1).expect("the fewest rows are enough");
    let error = fit(spec, &with_feature(train, 9, 3, f64::NAN), 7, 1);
    let error = error.expect_err("a missing feature is refused");
    let named = matches!(&error, ModelError::NotFinite { row: 9, column, .. } if column == "noise");
    assert!(named, "{error}");
    let mut unlabelled = train.clone();
    unlabelled.labels[4].value = f64::NAN;
    let error = fit(spec, &unlabelled, 7, 1).expect_err("a row without label is refused");
    assert!(matches!(error, ModelError::NotFinite { row: 4, .. }), "{error}");
    if let Some(name) = spec.context_column() {
        let mut bare = train.clone();
        bare.context_names.iter_mut().for_each(|n| n.push('?'));
        let error = fit(spec, &bare, 7, 1).expect_err("the context column is needed");
        let named = matches!(&error, ModelError::MissingContext { column, .. } if column == name);
        assert!(named, "{error}");
    }
}

/// Whether it cuts outcomes into classes, which takes outcomes that differ.
fn learns_classes(spec: &EstimatorSpec) -> bool {
    let settings = serde_json::to_value(spec.learnt()).expect("settings are plain data");
    settings["objective"] == "classes"
}

/// A market that never moves and a table without information are learnt, not feared.
fn check_degenerate_training(spec: &EstimatorSpec, train: &Dataset, test: &Dataset) {
    let mut flat = train.clone();
    flat.labels.iter_mut().for_each(|l| l.value = 0.0);
    let forecast = fit(spec, &flat, 7, 1).and_then(|m| m.predict_dataset(test));
    if learns_classes(spec) {
        let error = forecast.expect_err("outcomes that are all equal are no classes");
        let named =
            matches!(&error, ModelError::Numerical { message, .. } if message.contains("classes"));
        assert!(named, "{error}");
    } else {
        let forecast = forecast.expect("a market that never moved can be learnt");
        assert!(forecast.as_slice().iter().all(|q| q.is_finite()), "the answers are numbers");
    }
    let mut empty = train.clone();
    empty.features =
        Matrix::new(TRAIN, train.features.cols(), vec![1.0; train.features.as_slice().len()]);
    let forecast = fit(spec, &empty, 7, 1).and_then(|m| m.predict_dataset(test));
    let forecast = forecast.expect("columns without information are ignored");
    if spec.context_column().is_none() {
        assert_eq!(forecast.row(0), forecast.row(1), "nothing tells the rows apart");
    }
}

/// Writes down what it hears and raises the flag after some steps.
struct Listener<'a> {
    heard: Mutex<Vec<(u64, u64)>>,
    stop: &'a AtomicBool,
    after: u64,
}

impl FitProgress for Listener<'_> {
    fn steps(&self, done: u64, total: u64) {
        self.heard.lock().expect("no listener panics").push((done, total));
        if done >= self.after {
            self.stop.store(true, Ordering::Relaxed);
        }
    }
}

fn check_stop_and_progress(spec: &EstimatorSpec, train: &Dataset) {
    let total = spec.steps();
    let run = |raised: bool, after: u64, threads: usize| {
        let stop = AtomicBool::new(raised);
        let listener = Listener { heard: Mutex::new(Vec::new()), stop: &stop, after };
        let context = FitContext {
            seed: 7,
            threads,
            stop: &stop,
            progress: &listener,
            checkpoints: None,
            accelerator: None,
        };
        let outcome = spec.build().and_then(|e| e.fit(train, &context)).map(|_| ());
        (outcome, listener.heard.into_inner().expect("no listener panics"))
    };
    for threads in [1, 2] {
        let (outcome, heard) = run(false, u64::MAX, threads);
        outcome.expect("a fit that nobody stops ends");
        assert!(heard.is_sorted(), "the count never falls: {heard:?}");
        assert_eq!(heard.last(), Some(&(total, total)), "the last step is heard");
        let (outcome, heard) = run(true, u64::MAX, threads);
        assert!(matches!(outcome, Err(ModelError::Stopped { done: 0, .. })), "{outcome:?}");
        assert!(heard.is_empty(), "nothing is done once stopped");
        if total > 4 {
            let (outcome, heard) = run(false, 2, threads);
            assert!(matches!(outcome, Err(ModelError::Stopped { .. })), "{outcome:?}");
            let most = 2 + threads;
            assert!(heard.len() <= most, "stops within one step per thread: {heard:?}");
        }
    }
}

fn check_importance(spec: &EstimatorSpec, fitted: &dyn Fitted) {
    let importance = fitted.importance();
    if !spec.reads_features() {
        assert!(importance.is_empty(), "who reads no features ranks none");
        return;
    }
    let names: Vec<&String> = importance.iter().map(|(name, _)| name).collect();
    assert!(names.iter().copied().eq(&fitted.schema().feature_names), "in schema order");
    let share = |name: &str| {
        let found = importance.iter().find(|(n, _)| n == name);
        found.map_or(f64::NAN, |(_, share)| *share)
    };
    let sum: f64 = importance.iter().map(|(_, share)| share).sum();
    assert!((sum - 1.0).abs() < 1e-9, "shares sum to 1: {importance:?}");
    assert!(importance.iter().all(|(_, share)| *share >= 0.0), "{importance:?}");
    assert_eq!(share("constant"), 0.0, "a constant column cannot matter");
    let found = share("rising") + share("copy");
    assert!(found > share("noise") && found > 0.2, "the planted link: {importance:?}");
}

/// The parts of a forecast sum to it, whoever made it and whatever stands beside it.
fn check_explanation(spec: &EstimatorSpec, fitted: &dyn Fitted, test: &Dataset) {
    let rows = test.slice(0..8);
    let said = fitted.predict_dataset(&rows).expect("the planted rows can be forecast");
    let told = fitted.explain(&rows.features, &rows.context).expect("and explained");
    assert_eq!(told.rows.len(), rows.len(), "one explanation per row");
    for (i, row) in told.rows.iter().enumerate() {
        assert_eq!(row.forecast, said.median(i), "what is explained is the point forecast");
        assert_eq!(row.features.len(), told.names.len(), "one part per feature");
        let sum = row.base + row.features.iter().sum::<f64>() + row.rest;
        assert!((sum - row.forecast).abs() < 1e-12, "row {i}: {sum} is not {}", row.forecast);
        let alone = test.slice(i..i + 1);
        let alone = fitted.explain(&alone.features, &alone.context).expect("one row is explained");
        for (a, b) in alone.rows[0].features.iter().zip(&row.features) {
            assert!((a - b).abs() < 1e-9, "row {i} depends on its company");
        }
    }
    if !spec.reads_features() {
        assert!(told.names.is_empty(), "who reads no features gives them no part");
        return;
    }
    let sizes = told.mean_absolute();
    let of = |name: &str| sizes.iter().find(|(n, _)| n == name).map_or(f64::NAN, |(_, v)| *v);
    assert!(of("constant").abs() < 1e-9, "a constant column adds nothing: {sizes:?}");
    assert!(of("rising") + of("copy") > of("noise"), "the planted link: {sizes:?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(json: &str) -> EstimatorSpec {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn baselines_conform() {
        for kind in ["random_walk", "drift", "seasonal_naive", "historical_mean", "ewma_volatility"]
        {
            check_estimator(&EstimatorSpec::named(kind).unwrap());
        }
    }

    #[test]
    fn classical_models_conform() {
        for kind in ["theta", "ets", "arima", "garch", "har"] {
            check_estimator(&EstimatorSpec::named(kind).unwrap());
        }
        for json in [
            r#"{"kind":"ets","trend":"none"}"#,
            r#"{"kind":"ets","trend":"additive"}"#,
            r#"{"kind":"ets","trend":"damped"}"#,
            r#"{"kind":"arima","order":[2,1,1]}"#,
            r#"{"kind":"arima","order":[0,1,0]}"#,
            r#"{"kind":"garch","distribution":"student_t"}"#,
            r#"{"kind":"har","weighted":false}"#,
        ] {
            check_estimator(&spec(json));
        }
    }

    #[test]
    fn ridge_conforms() {
        check_estimator(&spec(r#"{"kind":"ridge"}"#));
        check_estimator(&spec(r#"{"kind":"ridge","alpha":10.0,"volatility_scaled":true}"#));
    }

    #[test]
    fn forest_conforms() {
        check_estimator(&spec(r#"{"kind":"random_forest","trees":20}"#));
        let small = r#"{"kind":"random_forest","trees":5,"depth":3,"column_share":1.0}"#;
        check_estimator(&spec(small));
    }

    #[test]
    fn networks_conform() {
        for json in [
            r#"{"kind":"lstm","units":[12],"epochs":8,"learning_rate":0.01}"#,
            r#"{"kind":"lstm","units":[6,5],"activation":"relu","dropout":0.2,"epochs":6,"batch":40}"#,
            r#"{"kind":"gru","units":[18],"epochs":8,"objective":"squared","learning_rate":0.01}"#,
            r#"{"kind":"mlp","units":[20,9],"epochs":8,"weight_decay":0.01,"learning_rate":0.01}"#,
            r#"{"kind":"dlinear","epochs":8,"kernel":3,"learning_rate":0.01}"#,
            r#"{"kind":"mlp","units":[16],"epochs":8,"objective":"classes","learning_rate":0.01}"#,
            r#"{"kind":"gru","units":[8],"epochs":8,"objective":"classes","classes":21,"learning_rate":0.01}"#,
            r#"{"kind":"dlinear","epochs":8,"kernel":3,"objective":"classes","classes":5,"learning_rate":0.01}"#,
        ] {
            check_estimator(&spec(json));
        }
    }

    #[test]
    fn ensembles_conform() {
        for json in [
            r#"{"kind":"mean","members":[{"kind":"ridge"},{"kind":"random_forest","trees":5}]}"#,
            r#"{"kind":"mean","members":[{"kind":"random_walk"},{"kind":"ewma_volatility"}]}"#,
            r#"{"kind":"stacking","inner_folds":2,"members":[{"kind":"ridge","volatility_scaled":true},
                {"kind":"historical_mean"},{"kind":"gradient_boosting","rounds":10,"eta":0.2,
                "min_child_weight":10.0}]}"#,
            r#"{"kind":"stacking","members":[{"kind":"drift"},{"kind":"mlp","units":[20],"epochs":8,
                "learning_rate":0.01}]}"#,
        ] {
            check_estimator(&spec(json));
        }
    }

    #[test]
    fn boosting_conforms() {
        let small = r#"{"kind":"gradient_boosting","rounds":30,"depth":3,"min_child_weight":10.0,"eta":0.1}"#;
        check_estimator(&spec(small));
        let whole = r#"{"kind":"gradient_boosting","rounds":20,"depth":2,"min_child_weight":5.0,
            "subsample":1.0,"column_sample":1.0}"#;
        check_estimator(&spec(whole));
    }
}
