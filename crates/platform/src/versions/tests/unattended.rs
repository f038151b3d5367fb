//! What happens when nobody looks: feeds that freeze, bars that stay bad, rows that come
//! late.

use foretell_registry::{ModelFilter, RunFilter};

use super::*;
use crate::PlatformError;
use crate::advance::Advance;
use crate::forecasting::CHAMPION;
use crate::observer::{Event, Observer};
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

#[tokio::test(flavor = "multi_thread")]
async fn a_mended_row_replaces_the_refused_one_and_stays_mended() {
    let world = World::live().await;
    world.set(at(700, 20));
    world.run().await;
    let right = world.closes.lock().unwrap()[700];
    world.correct(700, -1.0);
    world.set(at(701, 20));
    let Err(PlatformError::Gate(refusal)) = world.try_advance().await else {
        panic!("a negative price is refused")
    };
    let mut mended = crate::stations::read_quarantine(&refusal.quarantine.unwrap()).unwrap();
    assert_eq!(mended.len(), 1);
    for cell in &mut mended[0].values {
        match cell.column.as_str() {
            "close" => cell.value = Some(right),
            "low" => cell.value = Some(right * 0.5),
            "high" => cell.value = Some(right * 2.0),
            _ => {}
        }
    }
    // The run asks for everything, so that places count from another beginning.
    world.set(at(701, 600));
    let options = RunOptions { mended: Some(mended), ..RunOptions::default() };
    let pipeline = world.pipeline.clone();
    let stop = Arc::new(Stop::default());
    let report = world.service.run(pipeline, options, Arc::new(()), stop).await.unwrap();
    let forecast = world.stored(report.forecast["id"].as_str().unwrap()).await;
    assert_eq!((forecast.as_of, forecast.base_price), (at(701, 0), right));
    let rows = world.rows_of(700).await;
    assert_eq!(rows.len(), 2, "the refused row stays beneath the mended one");
    assert!(rows[1].flags.contains(RowFlags::MENDED | RowFlags::CORRECTED));
    let all = world.versions(KnownAt::EVER).await.rows;
    let marked = all.iter().filter(|r| r.flags.contains(RowFlags::MENDED)).count();
    assert_eq!(marked, 1, "no healthy row was touched");
    world.proves(&forecast).await;
    // The vendor still sends what was refused: that is no correction.
    world.set(at(702, 20));
    let next = world.advance().await.unwrap();
    assert_eq!(next.as_of, at(702, 0));
    assert_eq!(world.rows_of(700).await.len(), 2);
    assert_eq!(world.clean(at(702, 20)).await.column("close").unwrap()[700], right);
    // It sends the true value at last, which it may.
    world.correct(700, -1.0);
    world.set(at(702, 600));
    world.advance().await;
    assert_eq!(world.rows_of(700).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bar_that_was_published_late_is_asked_for_and_makes_another_forecast() {
    let world = World::live().await;
    world.closes.lock().unwrap()[695] += UNPUBLISHED;
    world.set(at(700, 20));
    let first = world.run().await;
    assert!(first.abstained.is_some() && world.rows_of(695).await.is_empty());
    world.closes.lock().unwrap()[695] -= UNPUBLISHED;
    let found = at(700, 600);
    world.set(found);
    let second = world.advance().await.unwrap();
    // Its known-at is declared, so that nothing but its ingest tells that it is new.
    let late = world.rows_of(695).await;
    assert_eq!((late.len(), late[0].known_at, late[0].ingested_at), (1, at(696, 0), found));
    assert_ne!(second.id, first.id);
    assert_eq!(
        (second.as_of, second.known_at, second.abstained.as_ref()),
        (at(700, 0), found, None)
    );
    for forecast in [&first, &second] {
        world.proves(forecast).await;
    }
    // A bar before the last one is corrected.
    world.correct(698, 1.001);
    world.set(at(700, 900));
    let third = world.advance().await.unwrap();
    assert_eq!((third.as_of, third.known_at), (at(700, 0), at(700, 900)));
    world.proves(&third).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retracted_row_changes_what_is_behind_a_decision() {
    let world = of_files().await;
    let store = &world.service.store;
    world.set(at(10, 0));
    let rows = [(1, 1.0), (2, 2.0), (3, 3.0)];
    store.put_raw(&world.pipeline, &file(&rows, at(10, 0)), true, "one").await.unwrap();
    let changed = async |at: Timestamp| world.versions(KnownAt::instant(at)).await;
    let versions = changed(at(10, 1)).await;
    assert_eq!(versions.changed_behind(&world.pipeline, at(4, 0)), None);
    world.set(at(11, 0));
    let fewer = [(1, 1.0), (3, 3.0)];
    store.put_raw(&world.pipeline, &file(&fewer, at(11, 0)), true, "two").await.unwrap();
    let versions = changed(at(11, 1)).await;
    assert_eq!(versions.changed_behind(&world.pipeline, at(4, 0)), Some(at(11, 0)));
    assert_eq!(versions.changed_behind(&world.pipeline, at(2, 0)), None, "it lies ahead");
    let before = changed(at(10, 1)).await;
    assert_eq!(before.changed_behind(&world.pipeline, at(4, 0)), None, "as it was known then");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_cannot_forecast_is_not_made_champion() {
    let world = World::live().await;
    world.set(at(700, 20));
    world.run().await;
    let (registry, name) = (&world.service.store.registry, &world.pipeline.name);
    let champion = async || registry.aliased(name, CHAMPION).await.unwrap().unwrap().version;
    let reigning = champion().await;
    let all = registry.model_versions(&ModelFilter::default()).await.unwrap();
    let other = all.iter().find(|v| v.version != reigning).unwrap().version;
    world.correct(700, -1.0);
    world.set(at(701, 20));
    world.try_advance().await.unwrap_err();
    let refused = world.service.promote(name, Some(other)).await;
    assert!(matches!(refused, Err(PlatformError::Gate(_))), "{refused:?}");
    assert_eq!(champion().await, reigning);
    world.correct(700, -1.0);
    world.set(at(701, 600));
    world.advance().await.unwrap();
    world.service.promote(name, Some(other)).await.unwrap();
    assert_eq!(champion().await, other);
    let served = world.service.board.get(&world.pipeline.instrument, None, None).unwrap();
    assert_eq!((served.model.version, served.as_of), (other, at(701, 0)));
    world.proves(&served).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_begins_with_a_clock_that_stepped_back_stamps_behind_what_is_stored() {
    let world = World::live().await;
    world.set(at(700, 20));
    world.run().await;
    let World { _folder: folder, clock, service, .. } = world;
    drop(service);
    clock.0.store(at(600, 0).micros(), Ordering::Relaxed);
    let Ownership::Mine(dir) = DataDir::take(&folder.path().join("data"), "test").unwrap() else {
        panic!("nobody owns the folder any more")
    };
    let service = Service::open(dir, None, "test", clock).await.unwrap();
    assert_eq!(service.store.clock.now(), at(600, 0));
    assert!(service.store.clock.stamp() > at(700, 20));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_advance_exports_its_own_forecast_beside_those_before() {
    let world = World::live().await;
    world.set(at(700, 20));
    world.run().await;
    for hour in 701..704 {
        world.set(at(hour, 20));
        world.advance().await.unwrap();
    }
    // One decision is forecast again: the newer forecast stands in the export.
    world.correct(702, 1.001);
    world.set(at(703, 900));
    let again = world.advance().await.unwrap();
    let table = world.service.store.lake.table(Layer::Forecasts, &world.pipeline.name);
    let rows = table.read(AsOf::Latest, None).await.unwrap();
    let rows = Frame::from_record_batch(&rows, Interval::HOUR).unwrap();
    let times: Vec<Timestamp> = rows.rows().iter().map(|r| r.time).collect();
    assert_eq!(times, (699..703).map(|h| at(h, 0)).collect::<Vec<_>>());
    assert_eq!(rows.column("base_price").unwrap()[3], again.base_price);
}

/// Hears what happens.
#[derive(Default)]
struct Heard(Mutex<Vec<Event>>);

impl Observer for Heard {
    fn event(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_back_fill_fetches_while_other_work_goes_on_and_takes_its_turn_to_store() {
    let world = World::live().await;
    world.set(at(700, 20));
    let (service, pipeline, heard) = (&world.service, &world.pipeline, Arc::new(Heard::default()));
    let (clock, stop) = (&*service.store.clock, Arc::new(Stop::default()));
    let turn = service.turns.take("run", "another", clock, &(), &stop).await.unwrap();
    let filled = service.backfill(pipeline, heard.clone(), Arc::clone(&stop));
    let other = async {
        // It has fetched a piece and waits for its turn to store it.
        while !heard.0.lock().unwrap().iter().any(|e| matches!(e, Event::Warning { .. })) {
            tokio::task::yield_now().await;
        }
        let first = heard.0.lock().unwrap()[0].clone();
        assert!(matches!(first, Event::Started { .. }), "{first:?}");
        let known = KnownAt::EVER;
        let stored = service.store.versions(pipeline, AsOf::Latest, known).await.unwrap();
        assert!(stored.is_none(), "nothing is stored out of turn");
        drop(turn);
    };
    let (filled, ()) = tokio::join!(filled, other);
    assert_eq!(filled.unwrap().rows, 700);
}
