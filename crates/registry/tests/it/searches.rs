//! Trials of a search are kept once, to the bit, by whichever run makes them.

use foretell_registry::{RegistryError, SearchTrialRecord, Written};

use crate::sample::{hash, registry, run, search, search_trial};

#[tokio::test]
async fn the_same_search_of_another_run_adds_no_trial_and_more_trials_go_on_from_them() {
    let (_dir, registry) = registry().await;
    for (i, id) in ["run-1", "run-2"].into_iter().enumerate() {
        registry.insert_run(&run(id, i as i64)).await.unwrap();
    }
    let write = async |run: &str, number: u64| {
        registry.insert_search_trial(&search(run), &search_trial(number)).await.unwrap()
    };
    assert_eq!(write("run-1", 0).await, Written::New);
    assert_eq!(write("run-1", 0).await, Written::Same);
    assert_eq!(write("run-2", 0).await, Written::Same, "another run made it");
    assert_eq!(write("run-2", 1).await, Written::New);
    for id in ["run-1", "run-2"] {
        assert_eq!(registry.searches(id).await.unwrap(), [search(id)], "one search each");
    }
    let trials = registry.search_trials(&hash("study")).await.unwrap();
    assert_eq!(trials.iter().map(|t| t.number).collect::<Vec<_>>(), [0, 1]);
    let on = async |rows: &str, kind: Option<&str>| {
        registry.search_trials_on(&hash(rows), kind).await.unwrap().len()
    };
    assert_eq!(on("judged rows", None).await, 2);
    assert_eq!(on("judged rows", Some("gradient_boosting")).await, 2);
    assert_eq!(on("judged rows", Some("ridge")).await, 0);
    assert_eq!(on("other rows", None).await, 0);
    // The same trial with another result, of another machine, stands beside the first.
    let other = SearchTrialRecord { losses: vec![0.5], ..search_trial(0) };
    let written = registry.insert_search_trial(&search("run-2"), &other).await.unwrap();
    assert_eq!(written, Written::New);
    assert_eq!(registry.search_trials(&hash("study")).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_trial_without_its_run_or_of_another_search_is_refused() {
    let (_dir, registry) = registry().await;
    let error = registry.insert_search_trial(&search("run-9"), &search_trial(0)).await;
    assert!(matches!(error, Err(RegistryError::MissingReference { .. })), "{error:?}");
    registry.insert_run(&run("run-1", 0)).await.unwrap();
    let other = SearchTrialRecord { study: hash("other"), ..search_trial(0) };
    let error = registry.insert_search_trial(&search("run-1"), &other).await;
    assert!(matches!(error, Err(RegistryError::Invalid { .. })), "{error:?}");
}
