//! The river's end: a real pipeline's champion, a real log, a real registry.

use std::path::Path;
use std::time::Duration;

use foretell_market::{Clock, FixedClock};
use foretell_panel::Frame;
use foretell_registry::{ForecastFilter, ForecastRecord};
use foretell_stream::{EmbeddedLog, EmbeddedOptions, Log, Task, TaskSettings, TopicSpec};
use tokio::sync::watch;

use super::*;
use crate::data_dir::{DataDir, Ownership};
use crate::observer::Stop;
use crate::pipeline::Pipeline;
use crate::service::RunOptions;
use crate::telling::{Listener, Told};

const LEARNT: usize = 700;
const LIVE: usize = 14;

fn csv(frame: &Frame) -> String {
    let mut text = String::from("time,open,high,low,close,volume\n");
    for (i, row) in frame.rows()[..LEARNT].iter().enumerate() {
        let values = frame.columns().iter().map(|c| c.values[i].to_string());
        let line: Vec<String> = std::iter::once(row.time.to_string()).chain(values).collect();
        text.push_str(&line.join(","));
        text.push('\n');
    }
    text
}

struct World {
    folder: tempfile::TempDir,
    service: Arc<Service>,
    /// The rows of the hours behind those that were learnt from.
    rows: Vec<FeatureRow>,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let frame = random_walk(LEARNT + LIVE, Interval::HOUR, 0.01, 5);
        std::fs::write(folder.path().join("candles.csv"), csv(&frame)).unwrap();
        let text = "name = \"hours\"\ninstrument = \"BTC-USD\"\ninterval = \"1h\"\n\
             as_of = \"now\"\n[source]\nkind = \"file\"\npath = \"candles.csv\"\n[features]\n\
             set = \"candle-base\"\nseason = \"24h\"\n[label]\nhorizon = \"2h\"\n[evaluation]\n\
             initial_train = \"300h\"\nrefit_every = \"100h\"\nbootstrap_draws = 100\n\
             min_refits = 2\n[[models]]\nkind = \"historical_mean\"\n";
        let pipeline = Pipeline::parse(text, &folder.path().join("p.toml")).unwrap();
        let end = frame.rows()[LEARNT - 1].time + Interval::HOUR;
        let rows = (1..=LIVE as i64).map(|hour| {
            let at = Timestamp::from_micros(end.micros() + hour * HOUR);
            let (set, label) = (pipeline.features.feature_set().unwrap(), pipeline.label_spec());
            let spec = pipeline.context_spec();
            let mut row = feature_row(&set, &frame, &spec, &label, at).unwrap();
            row.known_at = at.plus_secs(1);
            row
        });
        let rows = rows.collect();
        let service = open(folder.path(), end.plus_secs(60)).await;
        let (options, stop) = (RunOptions::default(), Arc::new(Stop::default()));
        service.run(pipeline, options, Arc::new(()), stop).await.unwrap();
        Self { folder, service: Arc::new(service), rows }
    }

    /// A log with what a task made of the rows.
    async fn river(&self, name: &str, rows: &[(FeatureRow, u32)]) -> Arc<dyn Log> {
        let path = self.folder.path().join(name);
        let options = EmbeddedOptions { path, budget: None, sync_every: None };
        let log: Arc<dyn Log> = Arc::new(EmbeddedLog::open(options).unwrap());
        let topics = settings().topics;
        for topic in topics.all() {
            let (name, partitions) = (topic.to_string(), topics.partitions);
            let spec = TopicSpec { name, partitions, retention_secs: None, kept_for: Vec::new() };
            log.create(&spec).await.unwrap();
        }
        self.flow(&*log, rows).await;
        let champion = self.champion().await;
        let settings = ForecastSettings { allowed: ALLOWED * HOUR, topics: topics.clone() };
        let make = move || -> Result<Box<dyn Operator>, _> {
            Ok(Box::new(ForecastOperator::new(vec![champion.clone()], settings.clone())))
        };
        let of = TaskSettings {
            group: "forecasts".to_owned(),
            topic: topics.feature.clone(),
            commit_every: Duration::ZERO,
            save_every: Duration::ZERO,
            poll_bytes: 1,
        };
        Task::new(Arc::clone(&log), topics, of, Box::new(make)).drain().await.unwrap();
        log
    }

    async fn champion(&self) -> LiveChampion {
        let begun = self.rows[0].as_of;
        self.service.live_champion("hours", begun).await.unwrap().unwrap()
    }

    async fn flow(&self, log: &dyn Log, rows: &[(FeatureRow, u32)]) {
        let records = rows.iter().map(|(row, version)| stored(0, row, *version).record);
        log.append("feature", 0, records.collect()).await.unwrap();
    }

    fn sink(&self, log: &Arc<dyn Log>) -> ForecastSink {
        ForecastSink::new(Arc::clone(&self.service), Arc::clone(log), &settings().topics)
    }

    /// The forecasts of the river, the oldest first.
    async fn live(&self) -> Vec<ForecastRecord> {
        let from = Some(self.rows[0].as_of);
        let filter = ForecastFilter { from, ..ForecastFilter::default() };
        let mut found = self.service.store.registry.forecasts(&filter).await.unwrap();
        found.reverse();
        found
    }
}

async fn open(folder: &Path, now: Timestamp) -> Service {
    let Ownership::Mine(dir) = DataDir::take(&folder.join("data"), "test").unwrap() else {
        panic!("nobody else has it")
    };
    let clock: Arc<dyn Clock> = Arc::new(FixedClock(now));
    Service::open(dir, None, "test", clock).await.unwrap()
}

fn heard(listener: &mut Listener) -> (usize, usize, usize) {
    let mut counts = (0, 0, 0);
    while let Ok(told) = listener.try_recv() {
        match &*told {
            Told::Forecast(_) => counts.0 += 1,
            Told::Outcome(_) => counts.1 += 1,
            Told::Unresolved(_) => counts.2 += 1,
            other => panic!("{other:?}"),
        }
    }
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_committed_is_in_the_registry_once_and_proves_itself() {
    let world = World::new().await;
    let mut rows: Vec<(FeatureRow, u32)> = world.rows.iter().map(|r| (r.clone(), 1)).collect();
    // The newest row of the sixth hour is corrected, and with it the outcome of the fourth's.
    rows.insert(6, (with_price(&world.rows[5], world.rows[5].base_price * 1.001, 30), 2));
    // The tenth never comes.
    rows.remove(10);
    let log = world.river("log", &rows).await;
    let mut listener = world.service.listen();
    let mut sink = world.sink(&log);
    sink.drain().await.unwrap();
    let live = world.live().await;
    // Fourteen hours without one and with one twice. The last two have no outcome yet, and that
    // of the eighth nobody will know.
    assert_eq!(live.len(), 14);
    let of_these = ForecastFilter { from: Some(world.rows[0].as_of), ..Default::default() };
    let registry = &world.service.store.registry;
    let judged = registry.judged_forecasts(Timestamp::MAX, &of_these);
    let judged = judged.await.unwrap();
    let fourth = judged.iter().find(|j| j.forecast.as_of == world.rows[3].as_of).unwrap();
    assert_eq!(fourth.outcome.value, world.rows[5].base_price * 1.001);
    let outcomes = registry.outcomes(&fourth.forecast.id).await.unwrap();
    assert_eq!(outcomes.len(), 2, "nothing is overwritten");
    let sunk = sink.sunk();
    assert_eq!((sunk.forecasts, sunk.outcomes), (14, judged.len() as u64 + 1));
    assert_eq!((sunk.again, sunk.refused), (0, 0));
    assert_eq!(heard(&mut listener), (14, judged.len() + 1, 1));
    for forecast in &live {
        let proof = world.service.verify(&forecast.id).await.unwrap();
        assert!(proof.matches, "{proof:?}");
    }
    // A read serves the newest, and a batch goes on with the calibration that moved.
    let served = world.service.forecast(&live[0].instrument, None, None).unwrap();
    assert_eq!(served.forecast.id, live[13].id);
    let champion = world.champion().await;
    let moved = registry.calibration("hours", champion.served.version, Timestamp::MAX).await;
    let moved: CalibrationState =
        serde_json::from_str(&moved.unwrap().unwrap().state_json).unwrap();
    let first = crate::forecasting::StoredForecast::read(&live[0]).unwrap().calibration;
    let mut expected = first;
    for judged in judged.iter().rev() {
        let stored = crate::forecasting::StoredForecast::read(&judged.forecast).unwrap();
        let first = registry.outcomes(&judged.forecast.id).await.unwrap().pop().unwrap();
        observe(&mut expected, &stored.forecast, first.value).unwrap();
    }
    assert_eq!(moved, expected, "as the batch takes outcomes in");

    // The same river once more, from its beginning: a process that died before it moved on.
    let again = world.river("again", &rows).await;
    let mut sink = world.sink(&again);
    sink.drain().await.unwrap();
    assert_eq!(sink.sunk(), Sunk { again: 14 + judged.len() as u64 + 1, ..Sunk::default() });
    assert_eq!(heard(&mut listener), (0, 0, 1), "of forecasts and outcomes clients are told once");
    assert_eq!(world.live().await, live);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_goes_on_where_it_was_and_stops_when_asked() {
    let world = World::new().await;
    let rows: Vec<(FeatureRow, u32)> = world.rows.iter().map(|r| (r.clone(), 1)).collect();
    let log = world.river("log", &rows[..5]).await;
    world.sink(&log).drain().await.unwrap();
    assert_eq!(world.live().await.len(), 5);
    let last = world.live().await[4].id.clone();
    drop(log);
    // Another process, as it were, while nobody was there.
    let log = world.river("log", &rows[5..]).await;
    let mut listener = world.service.listen();
    let mut sink = world.sink(&log);
    let (stop, stopped) = watch::channel(false);
    let working = tokio::spawn(async move {
        sink.run(stopped).await.unwrap();
        sink.sunk()
    });
    let mut forecasts = 0;
    while forecasts < LIVE - 5 {
        forecasts += usize::from(matches!(*listener.recv().await.unwrap(), Told::Forecast(_)));
    }
    stop.send(true).unwrap();
    let sunk = working.await.unwrap();
    assert_eq!((sunk.forecasts, sunk.again, sunk.refused), (LIVE as u64 - 5, 0, 0));
    // Whoever comes back is told what was recorded since.
    let missed = world.service.forecasts_after(&last, None, Some("hours")).await.unwrap();
    let ids: Vec<&str> = missed.forecasts.iter().map(|v| v.forecast.id.as_str()).collect();
    let live = world.live().await;
    let expected: Vec<&str> = live[5..].iter().map(|r| r.id.as_str()).collect();
    assert_eq!((ids, missed.more), (expected, false));
    let nothing = world.service.forecasts_after(&last, None, Some("other")).await.unwrap();
    assert_eq!(nothing.forecasts, []);
    let unknown = world.service.forecasts_after("f_none", None, None).await.unwrap();
    assert!(unknown.more && unknown.forecasts.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_the_registry_will_never_take_is_passed_over() {
    let world = World::new().await;
    let rows: Vec<(FeatureRow, u32)> = world.rows.iter().map(|r| (r.clone(), 1)).collect();
    let log = world.river("log", &rows[..2]).await;
    let records = log.read("forecast", 0, 0, 1 << 20, Duration::ZERO).await.unwrap();
    let Some(LiveRecord::Forecast(made)) = decode(&records[0].record.value).unwrap() else {
        panic!("{records:?}")
    };
    // The same id with another body, a version that nobody registered, and no forecast at all.
    let mut other = made.clone();
    other.run = "another".to_owned();
    let mut unknown = made.clone();
    unknown.forecast.id = "f_unknown".to_owned();
    unknown.forecast.model.version = 99;
    let bodies = [&other, &unknown].map(|f| encode(&LiveRecord::Forecast(f.clone())));
    let [other, unknown] = bodies;
    for value in [other, unknown, b"no forecast".to_vec()] {
        let record = Record { value: value.into(), ..records[0].record.clone() };
        log.append("forecast", 0, vec![record]).await.unwrap();
    }
    world.flow(&*log, &rows[2..4]).await;
    drop(log);
    let log = world.river("log", &[]).await;
    let mut sink = world.sink(&log);
    sink.drain().await.unwrap();
    assert_eq!((sink.sunk().refused, sink.sunk().forecasts), (3, 4));
    assert_eq!(world.live().await.len(), 4);
}
