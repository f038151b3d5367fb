//! A state that is saved less often than its outputs are written.

use std::panic::resume_unwind;
use std::time::Duration;

use foretell_stream::codec::Encoding;
use foretell_stream::{Log as _, Task};
use proptest::prelude::*;

use crate::market::{FAULTS, Faults, arrivals, records};
use crate::river::{all, append, create, open, reference, river, river_saving, written};
use crate::unread::{TIDY, known, reasons};

const NEVER: Duration = Duration::from_secs(3600);

/// Works until it has made so many commits and dies behind the last one, or ends.
async fn dies_behind(task: Task, commits: usize) -> bool {
    let mut left = commits;
    let mut task = task.on_commit(Box::new(move |_| {
        left -= 1;
        if left == 0 {
            resume_unwind(Box::new("dies"));
        }
    }));
    match tokio::spawn(async move { task.drain().await }).await {
        Ok(ended) => {
            ended.unwrap();
            false
        }
        Err(died) => died.is_panic(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn who_goes_on_writes_what_was_not_written_yet_and_nothing_twice(
        seed in any::<u64>(), poll in 200usize..9000, late in 0u64..60,
        deaths in prop::collection::vec((1usize..60, any::<bool>()), 0..9),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let faults = Faults { late, ..FAULTS };
            let all = records(&arrivals(seed, 700, faults), Encoding::Avro, 2);
            let whole = reference(&all, Encoding::Avro).await;
            let folder = tempfile::tempdir().unwrap();
            let log = open(folder.path());
            create(&*log).await;
            // A poll gives whole chunks, and an append makes one.
            for some in all.chunks(25) {
                append(&*log, some).await;
            }
            for (commits, saves) in deaths {
                let every = if saves { Duration::ZERO } else { NEVER };
                let task = river_saving(log.clone(), Encoding::Avro, poll, every);
                if !dies_behind(task, commits).await {
                    break;
                }
            }
            river(log.clone(), Encoding::Avro, poll).drain().await.unwrap();
            assert_eq!(written(&*log).await, whole);
        });
    }
}

#[tokio::test]
async fn a_state_that_cannot_be_made_again_is_on_record_and_taints_what_it_may_change() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    create(&*log).await;
    let all_arrivals = arrivals(4, 300, TIDY);
    for some in records(&all_arrivals, Encoding::Avro, 2).chunks(25) {
        append(&*log, some).await;
    }
    let task = river_saving(log.clone(), Encoding::Avro, 1, NEVER);
    assert!(dies_behind(task, 9).await);
    let mut read = Vec::new();
    for partition in 0..2 {
        read.push(log.committed("river", "trade", partition).await.unwrap().unwrap());
    }
    let candles = all(&*log, "ohlcv").await.len();
    // Another encoding writes other bytes.
    river(log.clone(), Encoding::Json, 3000).drain().await.unwrap();

    let reasons = reasons(&all(&*log, "refused").await);
    assert_eq!(reasons.len(), 2, "one per partition: {reasons:#?}");
    for (partition, reason) in reasons.iter().enumerate() {
        let expected = format!("of trade {partition}, from 0 to before {}, were", read[partition]);
        assert!(reason.contains(&expected), "{reason} has no {expected}");
        assert!(reason.contains("with other settings"), "{reason}");
    }
    let kept = all(&*log, "ohlcv").await;
    assert!(kept.len() > candles + 100, "the rest went on");
    let known = known(&log).await;
    let tainted = known.values().filter(|known| !**known).count();
    assert!(tainted > 0 && tainted < known.len() / 2, "{tainted} of {}", known.len());
}
