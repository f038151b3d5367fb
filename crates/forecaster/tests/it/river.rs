//! From seeded candles through features and a fit to a forecast that can be verified.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use foretell_feature::{
    ContextSpec, FeatureSet, LabelSpec, Params, ReturnWindows, assemble, compute, context,
    feature_row,
};
use foretell_forecaster::{FeatureRange, ServedVersion, Skill, Terms, differences, forecast};
use foretell_market::Interval;
use foretell_model::evaluate::CalibrationState;
use foretell_model::{EstimatorSpec, FitContext, SavedModel};
use foretell_testkit::random_walk;

#[test]
fn a_forecast_from_stored_parts_is_verified_to_the_bit() {
    let frame = random_walk(900, Interval::HOUR, 0.004, 11);
    let set = FeatureSet::named("kraken-62", &Params::new()).unwrap();
    let season = Interval::DAY;
    let spec = ContextSpec {
        horizon: Interval::HOUR,
        season,
        ewma_lambda: 0.94,
        returns: ReturnWindows::default(),
    };
    let label = LabelSpec { horizon: Interval::HOUR, price_column: "close".to_owned() };
    let features = compute(&set, &frame).unwrap();
    let context = context(&frame, "close", &spec).unwrap();
    let dataset = assemble(&frame, &features, &context, &label, &set).unwrap();
    let as_of = dataset.labels.last().unwrap().start;
    let train = dataset.filter(|l| l.value.is_finite() && l.end <= as_of);
    let row = feature_row(&set, &frame, &spec, &label, as_of).unwrap();

    for kind in ["random_walk", "ewma_volatility", "gradient_boosting"] {
        let estimator = EstimatorSpec::named(kind).unwrap();
        let stop = AtomicBool::new(false);
        let fit = FitContext {
            seed: 7,
            threads: 2,
            stop: &stop,
            progress: &(),
            checkpoints: None,
            accelerator: None,
        };
        let fitted = estimator.build().unwrap().fit(&train, &fit).unwrap();
        let saved = SavedModel::new(&*fitted, &estimator, &train, 7, "any");
        let mut calibration = CalibrationState::new(0.9).unwrap();
        let quantiles = fitted.predict_dataset(&train).unwrap();
        for (i, label) in train.labels.iter().enumerate() {
            calibration.update(quantiles.row(i), label.value);
        }
        let served = |saved: &SavedModel| ServedVersion {
            name: "seeded".to_owned(),
            version: 1,
            alias: "champion".to_owned(),
            hash: saved.hash(),
            model: Arc::from(saved.model().unwrap()),
            instrument: frame.instrument().clone(),
            interval: Interval::HOUR,
            horizon: Interval::HOUR,
            feature_set: saved.feature_set,
            dataset: train.fingerprint(),
            fitted_as_of: as_of,
            train_to: saved.train_to,
            refit_every: Interval::DAY,
            train_rows: saved.rows,
            includes_lock_box: false,
            ranges: FeatureRange::of(&train),
            skill: Skill::random_walk(Some(0.5)),
        };
        let terms = Terms { time_to_live: Interval::HOUR, historical_demo: true };
        let once = forecast(&served(&saved), &calibration, &row, as_of, &terms).unwrap();
        assert_eq!(once.abstained, None, "{kind}");
        let interval = once.interval.clone().unwrap();
        // Hourly returns of 0.4 %: 90 % of a normal distribution is ±1.645 of them.
        let half = 0.5 * (interval.upper / interval.lower).ln() / 0.004;
        assert!((1.2..2.2).contains(&half), "{kind}: half width {half} of sigma");
        assert_eq!(interval.over, 500);
        let realised = interval.realised_coverage.unwrap();
        assert!((0.85..=0.95).contains(&realised), "{kind}: {realised}");

        // Everything comes back from storage, in another process as it were.
        let saved = SavedModel::from_bytes(&saved.to_bytes()).unwrap();
        let stored = serde_json::to_string(&calibration).unwrap();
        let calibration: CalibrationState = serde_json::from_str(&stored).unwrap();
        let row = feature_row(&set, &frame, &spec, &label, as_of).unwrap();
        let again = forecast(&served(&saved), &calibration, &row, as_of, &terms).unwrap();
        assert_eq!(differences(&once, &again), [], "{kind}");
        assert_eq!(once.hash(), again.hash());
    }
}
