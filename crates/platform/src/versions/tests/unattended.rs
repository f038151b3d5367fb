//! What happens when nobody looks: feeds that freeze, bars that stay bad, rows that come
//! late.

use foretell_registry::RunFilter;

use super::*;
use crate::PlatformError;
use crate::advance::Advance;
use crate::watch::Patience;

impl World {
    /// How many runs of a kind were begun.
    async fn begun(&self, kind: &str) -> usize {
        let filter = RunFilter { kind: Some(kind.to_owned()), ..RunFilter::default() };
        self.service.store.registry.runs(&filter).await.unwrap().len()
    }

    async fn try_advance(&self) -> Result<Advance, PlatformError> {
        self.service.advance(&self.pipeline, Arc::new(()), &Stop::default()).await
    }

    async fn look(&self, patience: &mut Patience) -> u64 {
        self.service.look(&self.pipeline, patience).await.unwrap().as_secs()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_feed_is_not_learnt_again_and_again() {
    let world = World::live().await;
    let later = world.closes.lock().unwrap().split_off(700);
    world.set(at(700, 20));
    world.run().await;
    let mut patience = Patience::default();
    // The champion is older than its cadence of 100 hours, and nothing came.
    for minute in 0..5 {
        world.set(at(820, 60 * minute));
        assert_eq!(world.look(&mut patience).await, 60, "the vendor is asked again after a rest");
    }
    assert_eq!((world.begun("run").await, world.begun("advance").await), (1, 0));
    // Rows come again: first they are taken in, then, an interval later, learnt.
    world.closes.lock().unwrap().extend(later);
    world.set(at(821, 20));
    world.look(&mut patience).await;
    assert_eq!((world.begun("run").await, world.begun("advance").await), (1, 1));
    world.set(at(822, 20));
    let rest = world.look(&mut patience).await;
    assert_eq!((world.begun("run").await, world.begun("advance").await), (2, 1));
    assert_eq!(rest, 3_585, "until five seconds after the next close");
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_rows_are_judged_once_until_something_comes() {
    let world = World::live().await;
    world.set(at(700, 20));
    world.run().await;
    world.correct(700, -1.0);
    world.set(at(701, 20));
    assert!(matches!(world.try_advance().await, Err(PlatformError::Gate(_))));
    for minute in 1..4 {
        world.set(at(701, 60 * minute));
        let again = world.try_advance().await.unwrap();
        assert!(again.run.is_none() && again.refused.is_some(), "{again:?}");
        assert!(again.summary().contains("refused"), "{}", again.summary());
    }
    assert_eq!(world.begun("advance").await, 1);
    let folder = world.service.store.dir.file("quarantine", "");
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 1);
    // Other rules may judge otherwise.
    let mut tolerant = world.pipeline.clone();
    tolerant.text.push_str("# other rules\n");
    let judged = world.service.advance(&tolerant, Arc::new(()), &Stop::default()).await;
    assert!(matches!(judged, Err(PlatformError::Gate(_))));
    // The vendor mends the bar.
    world.correct(700, -1.0);
    world.set(at(701, 600));
    assert_eq!(world.advance().await.unwrap().as_of, at(701, 0));
}
