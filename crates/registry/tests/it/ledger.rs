//! Trials are counted and kept to the bit; a lock-box is looked into once.

use foretell_market::{Instrument, Interval};
use foretell_registry::{
    JudgedTogether, LockBox, LockBoxOpening, RegistryError, Trial, TrialFilter, Written,
};

use crate::sample::{at, failed_trial, hash, lock_box, opening, registry, run, trial};

#[tokio::test]
async fn series_are_kept_to_the_bit_and_a_repeated_step_writes_nothing_new() {
    let (_dir, registry) = registry().await;
    registry.insert_run(&run("run-1", 0)).await.unwrap();
    let odd = f64::from_bits(0x7ff8_0000_dead_beef);
    let written = Trial { losses: vec![odd, -0.0, f64::NEG_INFINITY], ..trial("run-1", "ridge") };
    assert_eq!(registry.insert_trials(std::slice::from_ref(&written)).await.unwrap(), Written::New);
    assert_eq!(
        registry.insert_trials(std::slice::from_ref(&written)).await.unwrap(),
        Written::Same
    );
    let stored = registry.trials(&TrialFilter::default()).await.unwrap();
    let bits = |t: &Trial| t.losses.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&stored[0]), bits(&written));
    let better = Trial { p_value: Some(0.001), ..written.clone() };
    let error = registry.insert_trials(&[better]).await.unwrap_err();
    assert!(matches!(error, RegistryError::Conflict { kind: "trial", .. }), "{error}");
    let nan = Trial { p_value: Some(f64::NAN), ..trial("run-1", "forest") };
    let error = registry.insert_trials(&[nan]).await.unwrap_err();
    assert!(matches!(error, RegistryError::Invalid { .. }), "{error}");
    let orphan = trial("run-9", "ridge");
    let error = registry.insert_trials(&[trial("run-1", "forest"), orphan.clone()]).await;
    assert!(matches!(error, Err(RegistryError::Invalid { .. })), "one family is of one run");
    let error = registry.insert_trials(&[orphan]).await.unwrap_err();
    assert!(matches!(error, RegistryError::MissingReference { .. }), "{error}");
    let both = [trial("run-1", "forest"), Trial { p_value: Some(0.5), ..written.clone() }];
    let error = registry.insert_trials(&both).await.unwrap_err();
    assert!(matches!(error, RegistryError::Conflict { .. }), "{error}");
    assert_eq!(registry.insert_trials(&[]).await.unwrap(), Written::Same);
    let stored = registry.trials(&TrialFilter::default()).await.unwrap();
    assert_eq!(stored.len(), 1, "all or none");
}

#[tokio::test]
async fn a_run_of_many_recipes_is_one_test_whatever_its_pipeline_is_called() {
    let (_dir, registry) = registry().await;
    let instrument = "BTC-USD".parse().unwrap();
    let count = async || registry.count_tests(&instrument, Interval::HOUR).await.unwrap();
    assert_eq!(count().await, 0);
    for i in 1..=3 {
        let id = format!("run-{i}");
        registry.insert_run(&run(&id, i)).await.unwrap();
        let walk = Trial { p_value: None, ..trial(&id, "random-walk") };
        let mut recipes = vec![walk, trial(&id, "ridge"), trial(&id, "boosting")];
        recipes.iter_mut().for_each(|t| t.pipeline = format!("renamed-{i}"));
        // More rows than before: a retrain, not the same test again.
        recipes.iter_mut().for_each(|t| t.losses.extend(vec![0.001; i as usize]));
        registry.insert_trials(&recipes).await.unwrap();
        assert_eq!(count().await, i as u64);
    }
    // Only baselines: nothing was tested. Another horizon: another family.
    registry.insert_run(&run("run-4", 4)).await.unwrap();
    let walk = Trial { p_value: None, ..trial("run-4", "random-walk") };
    let daily = Trial { horizon: Interval::DAY, ..trial("run-4", "ridge") };
    registry.insert_trials(&[walk]).await.unwrap();
    registry.insert_trials(&[daily]).await.unwrap();
    assert_eq!(count().await, 3);
    assert_eq!(registry.count_tests(&instrument, Interval::DAY).await.unwrap(), 1);
    let before = async |run: &str| {
        registry.count_tests_before(&instrument, Interval::HOUR, Some(run)).await.unwrap()
    };
    assert_eq!((before("run-1").await, before("run-3").await, before("new").await), (0, 2, 3));
    let of = TrialFilter { run_id: Some("run-2".to_owned()), ..TrialFilter::default() };
    let names: Vec<_> =
        registry.trials(&of).await.unwrap().into_iter().map(|t| t.recipe_name).collect();
    assert_eq!(names, ["boosting", "ridge", "random-walk"]);
}

#[tokio::test]
async fn the_same_test_again_spends_nothing_and_another_recipe_on_the_same_rows_does() {
    let (_dir, registry) = registry().await;
    let instrument: Instrument = "BTC-USD".parse().unwrap();
    let earlier = async |trials: &[Trial]| {
        let judged: Vec<_> = trials
            .iter()
            .map(|t| JudgedTogether {
                recipe: t.recipe_hash,
                losses: &t.losses,
                spread: t.spread.as_ref().map(|s| &s.losses[..]),
            })
            .collect();
        let terms = trials[0].terms.as_ref();
        registry.earlier_tests(&instrument, Interval::HOUR, terms, &judged).await.unwrap()
    };
    let mut runs = 0;
    let mut write = async |recipes: &[&str], loss: f64, change: fn(&mut Trial)| {
        runs += 1;
        let id = format!("run-{runs}");
        registry.insert_run(&run(&id, runs)).await.unwrap();
        let trial = |recipe: &&str| Trial { losses: vec![loss, 0.002], ..trial(&id, recipe) };
        let mut trials: Vec<Trial> = recipes.iter().map(trial).collect();
        trials.iter_mut().for_each(change);
        let before = earlier(&trials).await;
        registry.insert_trials(&trials).await.unwrap();
        assert_eq!(earlier(&trials).await, before, "writing a test does not change its price");
        before
    };
    let as_is: fn(&mut Trial) = |_| {};
    assert_eq!(write(&["ridge", "boosting"], 0.001, as_is).await, 0);
    assert_eq!(write(&["boosting", "ridge"], 0.001, as_is).await, 0, "the same in another order");
    assert_eq!(write(&["ridge", "boosting", "forest"], 0.001, as_is).await, 1, "one recipe more");
    assert_eq!(write(&["ridge", "boosting"], 0.001f64.next_up(), as_is).await, 2, "other losses");
    assert_eq!(write(&["ridge", "boosting"], 0.001, as_is).await, 0, "the first test, once more");
    assert_eq!(write(&["ridge"], 0.001, as_is).await, 3, "one recipe fewer");
    let terms = |t: &mut Trial| t.terms.as_mut().unwrap().coverage = 0.8;
    assert_eq!(write(&["ridge"], 0.001, terms).await, 4, "interval scores of another coverage");
    let terms = |t: &mut Trial| t.terms.as_mut().unwrap().alpha = 0.2;
    assert_eq!(write(&["ridge"], 0.001, terms).await, 5, "another rate");
    let spread = |t: &mut Trial| t.spread.as_mut().unwrap().losses[0] = 1.0;
    assert_eq!(write(&["ridge"], 0.001, spread).await, 6, "other losses of the variance");
    let cost = |t: &mut Trial| t.terms.as_mut().unwrap().cost_bp = 9.0;
    assert_eq!(write(&["ridge"], 0.001, cost).await, 3, "a cost decides nothing");
    assert_eq!(registry.count_tests(&instrument, Interval::HOUR).await.unwrap(), 7);
}

#[tokio::test]
async fn the_rate_of_promotions_is_fixed_by_its_first_use() {
    let (_dir, registry) = registry().await;
    let instrument: Instrument = "BTC-USD".parse().unwrap();
    let fix =
        async |horizon, alpha| registry.insert_promotion_rate(&instrument, horizon, alpha).await;
    assert_eq!(registry.promotion_rate(&instrument, Interval::HOUR).await.unwrap(), None);
    assert_eq!(fix(Interval::HOUR, 0.1).await.unwrap(), Written::New);
    assert_eq!(fix(Interval::HOUR, 0.1).await.unwrap(), Written::Same);
    let error = fix(Interval::HOUR, 0.2).await.unwrap_err();
    assert!(matches!(error, RegistryError::Conflict { kind: "promotion rate", .. }), "{error}");
    assert_eq!(registry.promotion_rate(&instrument, Interval::HOUR).await.unwrap(), Some(0.1));
    assert_eq!(fix(Interval::DAY, 0.2).await.unwrap(), Written::New, "each horizon has its own");
    let error = fix(Interval::from_secs(60).unwrap(), 1.5).await.unwrap_err();
    assert!(matches!(error, RegistryError::Invalid { .. }), "{error}");
}

#[tokio::test]
async fn every_distinct_recipe_counts_once_whatever_the_run_and_the_pipeline() {
    let (_dir, registry) = registry().await;
    let instrument: Instrument = "BTC-USD".parse().unwrap();
    let mut runs = 0;
    let mut write = async |recipes: &[&str], rows: Option<&str>| {
        runs += 1;
        let id = format!("run-{runs}");
        registry.insert_run(&run(&id, runs)).await.unwrap();
        let of = |recipe: &&str| Trial {
            rows: rows.map(hash),
            losses: vec![runs as f64],
            pipeline: id.clone(),
            ..trial(&id, recipe)
        };
        registry.insert_trials(&recipes.iter().map(of).collect::<Vec<_>>()).await.unwrap();
    };
    write(&["ridge", "forest"], None).await;
    write(&["ridge", "boosting"], Some("rows")).await;
    write(&["ridge", "drift"], Some("more rows")).await;
    write(&["boosting"], Some("rows")).await;
    let found = async |rows: Option<&str>| {
        let rows = rows.map(hash);
        let trials = registry.distinct_trials(&instrument, Interval::HOUR, rows.as_ref()).await;
        let mut found: Vec<(String, f64)> =
            trials.unwrap().into_iter().map(|t| (t.recipe_name, t.losses[0])).collect();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        found
    };
    let named = |pairs: &[(&str, f64)]| -> Vec<(String, f64)> {
        pairs.iter().map(|(name, run)| ((*name).to_owned(), *run)).collect()
    };
    let all = named(&[("boosting", 4.0), ("drift", 3.0), ("forest", 1.0), ("ridge", 3.0)]);
    assert_eq!(found(None).await, all);
    assert_eq!(found(Some("rows")).await, named(&[("boosting", 4.0), ("ridge", 2.0)]));
    assert_eq!(found(Some("other rows")).await, []);
    let spreads = async |rows: &str| {
        let rows = hash(rows);
        let trials = registry.distinct_spreads(&instrument, Interval::HOUR, &rows).await;
        trials.unwrap().len()
    };
    assert_eq!((spreads("spread rows").await, spreads("rows").await), (4, 0));
    let daily = registry.distinct_trials(&instrument, Interval::DAY, None).await.unwrap();
    assert_eq!(daily, []);
}

#[tokio::test]
async fn the_dates_of_a_lock_box_are_fixed() {
    let (_dir, registry) = registry().await;
    assert_eq!(registry.insert_lock_box(&lock_box()).await.unwrap(), Written::New);
    assert_eq!(registry.insert_lock_box(&lock_box()).await.unwrap(), Written::Same);
    let later = LockBox { to: at(99), ..lock_box() };
    let error = registry.insert_lock_box(&later).await.unwrap_err().to_string();
    assert!(error.contains("`BTC-USD 1h` is already registered with another span"), "{error}");
    let daily = LockBox { horizon: Interval::DAY, from: at(5), to: at(5), ..lock_box() };
    let error = registry.insert_lock_box(&daily).await.unwrap_err();
    assert!(matches!(error, RegistryError::Invalid { .. }), "{error}");
    assert_eq!(registry.lock_box(&daily.instrument, Interval::DAY).await.unwrap(), None);
}

#[tokio::test]
async fn a_recipe_looks_into_a_lock_box_once_even_when_it_dies_looking() {
    let (_dir, registry) = registry().await;
    let look = LockBoxOpening { result_json: None, ..opening() };
    let error = registry.open_lock_box(&look).await.unwrap_err();
    assert!(matches!(error, RegistryError::MissingReference { .. }), "{error}");
    registry.insert_lock_box(&lock_box()).await.unwrap();
    assert_eq!(registry.open_lock_box(&look).await.unwrap(), (Written::New, look.clone()));
    // The process dies here; the next one is told that the look was taken.
    let again = LockBoxOpening { opened_at: at(77), ..look.clone() };
    assert_eq!(registry.open_lock_box(&again).await.unwrap(), (Written::Same, look.clone()));
    let (instrument, hour) = (&look.instrument, look.horizon);
    let finish = async |result: &str| {
        registry.finish_lock_box(instrument, hour, &hash("recipe"), result).await
    };
    assert_eq!(finish("{\"mae_bp\":39.0}").await.unwrap(), Written::New);
    assert_eq!(finish("{\"mae_bp\":39.0}").await.unwrap(), Written::Same);
    let error = finish("{\"mae_bp\":1.0}").await.unwrap_err();
    assert!(matches!(error, RegistryError::Conflict { .. }), "{error}");
    assert_eq!(registry.open_lock_box(&again).await.unwrap(), (Written::Same, opening()));
    let other = LockBoxOpening { recipe_hash: hash("other"), opened_at: at(99), ..opening() };
    assert_eq!(registry.open_lock_box(&other).await.unwrap().0, Written::New);
    let looks = registry.lock_box_openings(instrument, hour).await.unwrap();
    assert_eq!(looks, [other, opening()]);
    let error = registry.finish_lock_box(instrument, hour, &hash("never"), "{}").await.unwrap_err();
    assert!(matches!(error, RegistryError::NotFound { .. }), "{error}");
}

#[tokio::test]
async fn a_recipe_that_failed_is_a_try_until_it_is_judged() {
    let (_dir, registry) = registry().await;
    registry.insert_run(&run("run-1", 0)).await.unwrap();
    registry.insert_run(&run("run-2", 60)).await.unwrap();
    let (instrument, hour) = (trial("run-1", "ridge").instrument, Interval::HOUR);
    let failed = failed_trial("run-1", "lstm");
    let both = [trial("run-1", "ridge"), failed.clone()];
    registry.insert_trials(&both).await.unwrap();
    assert_eq!(registry.insert_trials(&both).await.unwrap(), Written::Same);
    let other = Trial { failure: Some("another reason".to_owned()), ..failed.clone() };
    let error = registry.insert_trials(&[other]).await.unwrap_err();
    assert!(matches!(error, RegistryError::Conflict { .. }), "{error}");
    let judged = registry.distinct_trials(&instrument, hour, None).await.unwrap();
    assert_eq!(judged, [trial("run-1", "ridge")]);
    let tries = registry.failed_recipes(&instrument, hour).await.unwrap();
    assert_eq!(tries, [failed.recipe_hash]);
    // Judged in a later run it has a result, and a later failure does not take it back.
    registry.insert_trials(&[trial("run-2", "lstm")]).await.unwrap();
    registry.insert_run(&run("run-3", 120)).await.unwrap();
    registry.insert_trials(&[failed_trial("run-3", "lstm")]).await.unwrap();
    assert_eq!(registry.failed_recipes(&instrument, hour).await.unwrap(), []);
    let judged = registry.distinct_trials(&instrument, hour, None).await.unwrap();
    assert_eq!(judged.len(), 2);
    assert!(judged.iter().all(|t| t.failure.is_none()));
    // With and without the one that failed are two families, and two tests.
    registry.insert_run(&run("run-4", 180)).await.unwrap();
    let before = registry.count_tests(&instrument, hour).await.unwrap();
    registry.insert_trials(&[trial("run-4", "ridge")]).await.unwrap();
    assert_eq!(registry.count_tests(&instrument, hour).await.unwrap(), before + 1);
}
