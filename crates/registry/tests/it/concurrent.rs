//! Eight tasks write and read at once; nothing is lost, nobody is turned away.

use std::collections::BTreeSet;
use std::task::Poll;

use foretell_registry::{
    ForecastFilter, Metric, ModelFilter, RunFilter, Status, TrialFilter, Written,
};

use crate::sample::{at, audit, dataset, forecast, run, trial, version, with_version};

const TASKS: i64 = 8;
const ROUNDS: i64 = 25;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn eight_tasks_that_write_and_read_at_once_lose_nothing() {
    let (_dir, registry) = with_version().await;
    let tasks = (0..TASKS).map(|task| {
        let registry = registry.clone();
        tokio::spawn(async move {
            let mut numbers = Vec::new();
            for round in 0..ROUNDS {
                let id = format!("run-{task}-{round}");
                registry.insert_run(&run(&id, task * ROUNDS + round)).await.unwrap();
                let metric = Metric { name: "n".to_owned(), value: round as f64, step: round };
                registry
                    .put_metrics("run-1", &[Metric { step: task * 100 + round, ..metric }])
                    .await
                    .unwrap();
                let made = registry.insert_model_version(&version(&id, "model")).await.unwrap();
                numbers.push(made.version);
                registry.insert_trials(&[trial(&id, "ridge")]).await.unwrap();
                registry
                    .promote(&made.name, made.version, "champion", &audit("promote", round))
                    .await
                    .unwrap();
                // Everyone writes this one: it is new to exactly one of them.
                let shared = registry
                    .insert_forecast(&forecast(&format!("f_{round}"), round))
                    .await
                    .unwrap();
                if shared == Written::New {
                    numbers.push(0);
                }
                // What was written is read at once, and lists are whole while others write.
                assert_eq!(registry.run(&id).await.unwrap().id, id);
                let runs = registry.runs(&RunFilter::default()).await.unwrap();
                assert!(runs.is_sorted_by_key(|r| std::cmp::Reverse((r.started_at, r.id.clone()))));
                assert!(registry.aliased(&made.name, "champion").await.unwrap().is_some());
                assert_eq!(registry.insert_dataset(&dataset()).await.unwrap(), Written::Same);
                registry
                    .set_run_status(&id, Status::Succeeded, Some(at(round)), None)
                    .await
                    .unwrap();
            }
            numbers
        })
    });
    let mut numbers = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        numbers.extend(task.await.unwrap());
    }
    let all = (TASKS * ROUNDS) as usize;
    let firsts = numbers.iter().filter(|n| **n == 0).count();
    assert_eq!(firsts, ROUNDS as usize, "each shared forecast was new once");
    let versions: BTreeSet<u32> = numbers.into_iter().filter(|n| *n > 0).collect();
    assert_eq!(versions, (2..all as u32 + 2).collect(), "every number was given once");
    let done = RunFilter { status: Some(Status::Succeeded), ..RunFilter::default() };
    assert_eq!(registry.runs(&done).await.unwrap().len(), all);
    assert_eq!(registry.metrics("run-1").await.unwrap().len(), all);
    assert_eq!(registry.trials(&TrialFilter::default()).await.unwrap().len(), all);
    assert_eq!(registry.model_versions(&ModelFilter::default()).await.unwrap().len(), all + 1);
    let forecasts = registry.forecasts(&ForecastFilter::default()).await.unwrap();
    assert_eq!(forecasts.len(), ROUNDS as usize);
    let history = registry.alias_history("btc-usd-hourly", "champion").await.unwrap();
    assert_eq!(history.len(), all);
    let champion = registry.aliased("btc-usd-hourly", "champion").await.unwrap().unwrap();
    assert_eq!(history[0].version, Some(champion.version), "the history ends at the present");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_write_that_is_given_up_halfway_leaves_nothing_and_blocks_nobody() {
    let (_dir, registry) = with_version().await;
    for polls in 1..80 {
        let id = format!("gone-{polls}");
        let mut writing = Box::pin(async {
            registry.insert_run(&run(&id, 0)).await.unwrap();
            let trials: Vec<_> = (0..10).map(|r| trial(&id, &format!("recipe-{r}"))).collect();
            registry.insert_trials(&trials).await.unwrap();
        });
        // Dropped after so many polls: at every place where it can wait.
        let mut left = polls;
        std::future::poll_fn(|context| {
            left -= 1;
            if left == 0 { Poll::Ready(()) } else { writing.as_mut().poll(context) }
        })
        .await;
    }
    registry.insert_run(&run("after", 1)).await.unwrap();
    let trials = registry.trials(&TrialFilter::default()).await.unwrap();
    let mut runs: Vec<_> = trials.iter().map(|t| t.run_id.as_str()).collect();
    runs.dedup();
    assert!(runs.len() < 79, "some were given up");
    assert_eq!(trials.len(), 10 * runs.len(), "a family of trials is whole or absent");
}
