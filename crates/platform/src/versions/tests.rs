//! A vendor that lives, corrects itself and is asked at known instants.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use foretell_lake::{AsOf, CommitInfo, Layer};
use foretell_market::{Clock, Interval, RowFlags};
use foretell_testkit::{normal, rng};
use tempfile::TempDir;

use super::*;
use crate::data_dir::{DataDir, Ownership};
use crate::service::{RunOptions, Service};
use crate::{Forecast, Stop, gate};

mod unattended;

/// The beginning of the market, 2024-01-01 UTC, in seconds.
const START: i64 = 1_704_067_200;

/// So many seconds after so many hours of the market.
fn at(hours: i64, secs: i64) -> Timestamp {
    Timestamp::from_secs(START + hours * 3_600 + secs)
}

/// A clock that the test sets.
struct Hand(AtomicI64);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::Relaxed))
    }
}

/// Closes by hour, as the vendor has them at present.
type Closes = Arc<Mutex<Vec<f64>>>;

/// Serves hourly klines of Binance's form on a port of its own until the process ends.
fn vendor(closes: Closes) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let (mut head, mut buffer) = (Vec::new(), [0u8; 4096]);
            while !head.windows(4).any(|w| w == b"\r\n\r\n") {
                match stream.read(&mut buffer) {
                    Ok(n) if n > 0 => head.extend_from_slice(&buffer[..n]),
                    _ => break,
                }
            }
            let head = String::from_utf8_lossy(&head).into_owned();
            let number = |name: &str| -> i64 {
                let rest = head.split(&format!("{name}=")).nth(1).unwrap_or("0");
                let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
                digits.parse().unwrap_or(0)
            };
            let body = klines(&closes.lock().unwrap(), number("startTime"), number("endTime"));
            let length = body.len();
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    url
}

/// What a close holds that is not published yet, added to it.
const UNPUBLISHED: f64 = 1e9;

fn klines(closes: &[f64], from: i64, to: i64) -> String {
    let rows = closes.iter().enumerate().filter(|(_, c)| **c < UNPUBLISHED / 2.0);
    let rows = rows.filter_map(|(i, close)| {
        let open_time = (START + i as i64 * 3_600) * 1_000;
        let open = if i == 0 { *close } else { closes[i - 1].abs() % UNPUBLISHED };
        let (high, low) = (open.max(*close) * 1.01, open.min(*close) * 0.99);
        let close_time = open_time + 3_599_999;
        let row = serde_json::json!([
            open_time,
            open.to_string(),
            high.to_string(),
            low.to_string(),
            close.to_string(),
            "2",
            close_time,
            "3",
            4,
            "1",
            "1",
            "0"
        ]);
        (from..=to).contains(&open_time).then(|| row.to_string())
    });
    let rows: Vec<String> = rows.take(1_000).collect();
    format!("[{}]", rows.join(","))
}

struct World {
    _folder: TempDir,
    clock: Arc<Hand>,
    closes: Closes,
    pipeline: Pipeline,
    service: Service,
}

impl World {
    async fn new(source: impl FnOnce(&Path, &Closes) -> String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut rng = rng(7);
        let step = |price: &mut f64, _| {
            *price *= (0.01 * normal(&mut rng)).exp();
            Some(*price)
        };
        let closes: Vec<f64> = (0..900).scan(100.0, step).collect();
        let closes = Arc::new(Mutex::new(closes));
        let source = source(folder.path(), &closes);
        let text = format!(
            "name = \"two-clocks\"\ninstrument = \"BTC-USDT\"\ninterval = \"1h\"\n\
             as_of = \"now\"\n[source]\n{source}\n[features]\nset = \"candle-base\"\n\
             season = \"24h\"\n[label]\nhorizon = \"1h\"\n[evaluation]\n\
             initial_train = \"300h\"\nrefit_every = \"100h\"\nbootstrap_draws = 100\n\
             min_refits = 2\n[[models]]\nkind = \"historical_mean\"\n"
        );
        let pipeline = Pipeline::parse(&text, &folder.path().join("p.toml")).unwrap();
        let Ownership::Mine(dir) = DataDir::take(&folder.path().join("data"), "test").unwrap()
        else {
            panic!("the folder is new")
        };
        let clock = Arc::new(Hand(AtomicI64::new(0)));
        let own: Arc<dyn Clock> = clock.clone();
        let service = Service::open(dir, None, "test", own).await.unwrap();
        Self { _folder: folder, clock, closes, pipeline, service }
    }

    async fn live() -> Self {
        Self::new(|_, closes| {
            let url = vendor(Arc::clone(closes));
            format!("kind = \"binance\"\nbase_url = \"{url}\"\nfrom = \"2024-01-01\"")
        })
        .await
    }

    fn set(&self, now: Timestamp) {
        self.clock.0.store(now.micros(), Ordering::Relaxed);
    }

    fn correct(&self, hour: usize, factor: f64) {
        self.closes.lock().unwrap()[hour] *= factor;
    }

    async fn run(&self) -> Forecast {
        let (options, stop) = (RunOptions::default(), Arc::new(Stop::default()));
        let pipeline = self.pipeline.clone();
        let report = self.service.run(pipeline, options, Arc::new(()), stop).await.unwrap();
        self.stored(report.forecast["id"].as_str().unwrap()).await
    }

    async fn advance(&self) -> Option<Forecast> {
        let done =
            self.service.advance(&self.pipeline, Arc::new(()), &Stop::default()).await.unwrap();
        match done.forecast {
            Some(id) => Some(self.stored(&id).await),
            None => None,
        }
    }

    async fn stored(&self, id: &str) -> Forecast {
        let record = self.service.store.registry.forecast(id).await.unwrap();
        crate::forecasting::StoredForecast::read(&record).unwrap().forecast
    }

    async fn versions(&self, known: KnownAt) -> Versions {
        let store = &self.service.store;
        store.versions(&self.pipeline, AsOf::Latest, known).await.unwrap().unwrap()
    }

    /// What models would learn from, had they been trained at an instant.
    async fn learnt(&self, at: Timestamp) -> Materialised {
        let clean = self.clean(at).await;
        let versions = self.versions(KnownAt::instant(at)).await;
        versions.materialise(&self.pipeline, &clean, at).unwrap()
    }

    /// The clean rows as known at an instant.
    async fn clean(&self, at: Timestamp) -> Frame {
        let versions = self.versions(KnownAt::instant(at)).await;
        let raw = versions.latest(&self.pipeline).unwrap();
        gate::gate(&self.pipeline, &raw, at).unwrap().clean.unwrap()
    }

    /// All versions of an hour's row in their order: times and marks.
    async fn rows_of(&self, hour: i64) -> Vec<RowMeta> {
        let versions = self.versions(KnownAt::EVER).await;
        let mut rows: Vec<RowMeta> =
            versions.rows.into_iter().filter(|r| r.time == at(hour, 0)).collect();
        rows.sort_by_key(|r| (r.known_at, r.ingested_at));
        rows
    }

    async fn proves(&self, forecast: &Forecast) {
        let proof = self.service.store.verify(&forecast.id).await.unwrap();
        assert!(proof.matches, "{proof:?}");
        assert!(proof.checks.iter().any(|c| c.what.contains("as known then")));
    }
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|v| v.to_bits()).collect()
}

/// Features, context and base prices of the decisions before an instant.
fn seen(made: &Materialised, before: Timestamp) -> Vec<(Timestamp, Vec<u64>, Vec<u64>, u64)> {
    let d = &made.dataset;
    let row = |i: usize| {
        let (features, context) = (bits(d.features.row(i)), bits(d.context.row(i)));
        (d.labels[i].start, features, context, d.base_prices[i].to_bits())
    };
    (0..d.len()).filter(|&i| d.labels[i].start < before).map(row).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_row_is_observed_and_a_correction_is_a_version_that_nothing_before_it_saw() {
    let world = World::live().await;
    let first_seen = at(700, 20);
    world.set(first_seen);
    let first = world.run().await;
    // The newest bar was seen as it appeared, older ones were not.
    let live = world.rows_of(699).await;
    assert_eq!((live[0].known_at, live[0].ingested_at), (first_seen, first_seen));
    assert!(!live[0].flags.contains(RowFlags::BACKFILLED));
    let older = world.rows_of(698).await;
    assert_eq!((older[0].known_at, older[0].ingested_at), (at(699, 0), first_seen));
    assert!(older[0].flags.contains(RowFlags::BACKFILLED));
    assert_eq!((first.as_of, first.known_at), (at(700, 0), first_seen));

    let second_seen = at(701, 20);
    world.set(second_seen);
    let second = world.advance().await.unwrap();
    assert_eq!((second.as_of, second.known_at), (at(701, 0), second_seen));
    let before = world.learnt(second_seen).await;

    // The vendor corrects the newest bar ten minutes after its close.
    let corrected = at(701, 600);
    world.correct(700, 1.001);
    world.set(corrected);
    let third = world.advance().await.unwrap();
    let rows = world.rows_of(700).await;
    assert_eq!(rows.len(), 2, "nothing is overwritten");
    assert_eq!((rows[1].known_at, rows[1].ingested_at), (corrected, corrected));
    assert_eq!(rows[1].flags, RowFlags::CORRECTED);
    assert_ne!(third.id, second.id);
    assert_eq!((third.as_of, third.known_at), (second.as_of, corrected));
    assert_eq!((second.inputs.late_corrections, third.inputs.late_corrections), (0, 1));
    assert_eq!(world.advance().await, None, "the same correction is no second one");
    for forecast in [&first, &second, &third] {
        world.proves(forecast).await;
    }

    // Whoever learns later still sees what each decision saw.
    let after = world.learnt(at(702, 0)).await;
    assert_eq!(seen(&before, Timestamp::MAX), seen(&after, Timestamp::MAX));
    let d = &after.dataset;
    let decision = d.labels.iter().position(|l| l.start == second.as_of).unwrap();
    assert_eq!(d.base_prices[decision], second.base_price);
    assert_ne!(d.base_prices[decision], third.base_price);
    // The label that ends with the corrected bar has its latest value, and is known from
    // the correction on.
    let label = d.labels.iter().find(|l| l.start == at(700, 0)).unwrap();
    let closes = world.closes.lock().unwrap().clone();
    assert!((label.value - (closes[700] / closes[699]).ln()).abs() < 1e-12);
    assert_eq!(label.end, at(701, 0), "the newest decision was made anew with it");
    let on_time = d.labels.iter().find(|l| l.start == at(699, 0)).unwrap();
    assert_eq!(on_time.end, at(700, 0));
    // The next decision is the first that saw it in its turn.
    world.set(at(702, 20));
    let fourth = world.advance().await.unwrap();
    let learnt = world.learnt(at(702, 20)).await.dataset;
    let label = learnt.labels.iter().find(|l| l.start == at(700, 0)).unwrap();
    assert_eq!(label.end, at(702, 0));
    // A run may find a correction after its newest decision, and forecasts all the same.
    world.correct(650, 1.001);
    world.set(at(702, 900));
    let fifth = world.run().await;
    assert_eq!((fifth.as_of, fifth.known_at), (fourth.as_of, at(702, 900)));
    assert_eq!(fifth.abstained, None);
    for forecast in [&first, &second, &third, &fourth, &fifth] {
        world.proves(forecast).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrected_price_is_another_outcome_and_the_calibration_keeps_the_first() {
    let world = World::live().await;
    world.set(at(700, 20));
    let first = world.run().await;
    let registry = &world.service.store.registry;
    let outcomes = async || {
        let found = registry.outcomes(&first.id).await.unwrap();
        found.into_iter().map(|o| (o.value, o.known_at)).collect::<Vec<_>>()
    };
    let closed_at = || world.closes.lock().unwrap()[700];
    assert_eq!(outcomes().await, []);
    world.set(at(701, 20));
    world.advance().await.unwrap();
    let seen = outcomes().await;
    assert_eq!(seen.len(), 1);
    assert!((seen[0].0 - closed_at()).abs() < 1e-9);
    assert_eq!(seen[0].1, at(701, 20));
    let (name, version) = (&first.model.name, first.model.version);
    let state = async || registry.calibration(name, version, at(800, 0)).await.unwrap();
    let calibrated = state().await;
    assert!(calibrated.is_some(), "the outcome was taken in");

    world.correct(700, 1.001);
    world.set(at(701, 600));
    world.advance().await.unwrap();
    let corrected = outcomes().await;
    assert_eq!(corrected.len(), 2);
    assert!((corrected[0].0 - closed_at()).abs() < 1e-9, "the last known first");
    assert_eq!((corrected[0].1, corrected[1]), (at(701, 600), seen[0]));
    assert_eq!(state().await, calibrated);

    // Nothing is corrected twice, and the next outcome moves the calibration on.
    world.set(at(702, 20));
    world.advance().await.unwrap();
    assert_eq!(outcomes().await, corrected);
    assert_ne!(state().await, calibrated);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_instrument_is_refused_before_anything_is_written() {
    let world = of_files().await;
    let store = &world.service.store;
    world.set(at(10, 0));
    store.put_raw(&world.pipeline, &file(&[(1, 1.0)], at(10, 0)), false, "a run").await.unwrap();
    let mut other = world.pipeline.clone();
    other.instrument = "ETH-USDT".parse().unwrap();
    let mut rows = file(&[(7, 1.0)], at(10, 0));
    rows.instrument = other.instrument.clone();
    let refused = store.put_raw(&other, &rows, false, "a run").await.unwrap_err();
    assert!(refused.to_string().contains("are others"), "{refused}");
    assert_eq!(world.versions(KnownAt::EVER).await.rows.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_correction_of_an_older_bar_changes_later_decisions_only() {
    let world = World::live().await;
    world.set(at(700, 20));
    let first = world.run().await;
    let before = world.learnt(at(700, 20)).await;
    let corrected = at(702, 20);
    world.correct(690, 1.002);
    world.set(corrected);
    let second = world.run().await;
    let after = world.learnt(corrected).await;
    assert_eq!(seen(&before, at(701, 0)), seen(&after, at(701, 0)));
    // Bar 691 opened at another price as well, in this vendor's form.
    for hour in [690, 691] {
        let rows = world.rows_of(hour).await;
        assert_eq!((rows.len(), rows[1].known_at), (2, corrected), "{hour}");
    }
    let then = after.rows.iter().filter(|r| r.known_at == corrected).count();
    assert_eq!(then, 1, "the decision of the newest bar");
    // The decision at 702 was taken when the correction was known: it sees it, as the
    // forecast made then did.
    let clean = world.clean(corrected).await;
    let plain = materialise(&world.pipeline, &clean).unwrap();
    let last = |made: &Materialised| seen(made, Timestamp::MAX).pop().unwrap();
    let schema = foretell_model::Schema::of(&after.dataset);
    let row = crate::forecasting::row_at(&world.pipeline, &schema, &clean, at(702, 0)).unwrap();
    assert_eq!(last(&after).0, at(702, 0));
    assert_eq!(last(&after).1, bits(&row.features));
    assert_eq!(last(&after).2, bits(&row.context));
    // Features of the corrected rows as if they had always been so are others.
    assert_ne!(seen(&plain, at(700, 0)), seen(&after, at(700, 0)));
    // A label with a price that was corrected is known from the first decision that saw it.
    let ends: Vec<Timestamp> = after
        .dataset
        .labels
        .iter()
        .filter(|l| l.end != l.start + Interval::HOUR)
        .map(|l| l.end)
        .collect();
    assert_eq!(ends, [at(702, 0); 3], "the labels that touch bars 690 and 691");
    for forecast in [&first, &second] {
        world.proves(forecast).await;
    }
    let runs = world.service.store.registry.runs(&foretell_registry::RunFilter::default()).await;
    for run in runs.unwrap() {
        let stop = Arc::new(Stop::default());
        let proof = world.service.store.reproduce(&run.id, Arc::new(()), stop).await.unwrap();
        assert!(proof.matches, "{proof:?}");
    }
}

/// A raw table of closes by hour, as a file gives it.
fn file(rows: &[(i64, f64)], now: Timestamp) -> RawTable {
    let meta = |&(hour, _): &(i64, f64)| RowMeta {
        time: at(hour, 0),
        known_at: at(hour + 1, 0),
        ingested_at: now,
        flags: RowFlags::BACKFILLED,
    };
    RawTable {
        instrument: "BTC-USDT".parse().unwrap(),
        interval: Interval::HOUR,
        origin: "a file".to_owned(),
        positions: (2..2 + rows.len() as u64).collect(),
        rows: rows.iter().map(meta).collect(),
        columns: vec![Column::new("close", rows.iter().map(|(_, close)| *close).collect())],
        faults: Vec::new(),
    }
}

async fn of_files() -> World {
    World::new(|folder, _| {
        let path = folder.join("closes.csv");
        format!("kind = \"file\"\npath = \"{}\"", path.display())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mended_file_adds_versions_and_a_row_that_is_gone_is_retracted() {
    let world = of_files().await;
    let store = &world.service.store;
    let put = async |rows: &[(i64, f64)], now: Timestamp| {
        world.set(now);
        store.put_raw(&world.pipeline, &file(rows, now), true, "a run").await.unwrap()
    };
    // Hour 3 is there twice, with different values: for the gate to see.
    let first = [(1, 1.0), (2, 2.0), (3, 3.0), (3, 3.5), (4, 4.0)];
    assert_eq!(put(&first, at(10, 0)).await, 0);
    assert_eq!(put(&first, at(11, 0)).await, 0, "equal rows make no version");
    // Mended: hour 2 changed, hour 3 settled, hour 4 gone.
    let second = [(1, 1.0), (2, 2.5), (3, 3.0)];
    assert_eq!(put(&second, at(12, 0)).await, 1);
    assert_eq!(put(&second, at(13, 0)).await, 1);
    let closes = async |known: KnownAt| {
        let known = world.versions(known).await.latest(&world.pipeline).unwrap();
        known.column("close").unwrap().to_vec()
    };
    assert_eq!(closes(KnownAt::EVER).await, [1.0, 2.5, 3.0]);
    assert_eq!(closes(KnownAt::instant(at(11, 0))).await, [1.0, 2.0, 3.0, 3.5, 4.0]);
    let mended = world.rows_of(2).await[1];
    assert_eq!((mended.known_at, mended.ingested_at), (at(3, 0), at(12, 0)));
    assert_eq!(mended.flags, RowFlags::BACKFILLED | RowFlags::CORRECTED);
    let gone = world.rows_of(4).await[1];
    assert_eq!(gone.flags, RowFlags::BACKFILLED | RowFlags::RETRACTED);
    // Compaction keeps every version.
    let table = store.lake.table(Layer::Raw, &world.pipeline.name);
    let before = table.fingerprint(AsOf::Latest).await.unwrap();
    table.compact(&CommitInfo::new("upkeep", at(14, 0))).await.unwrap();
    assert_eq!(table.fingerprint(AsOf::Latest).await.unwrap(), before);
    // And the row can come back.
    put(&first[..3], at(15, 0)).await;
    put(&first, at(16, 0)).await;
    assert_eq!(closes(KnownAt::EVER).await, [1.0, 2.0, 3.0, 3.5, 4.0]);
    // A mended file is an import of the import: its rows count as always known.
    assert!(world.versions(KnownAt::EVER).await.history.corrections().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lake_from_before_rows_had_versions_takes_corrections_in() {
    let world = of_files().await;
    let store = &world.service.store;
    // One row per time; a correction had overwritten hour 2.
    let mut old = file(&[(1, 1.0), (2, 2.5), (3, 3.0)], at(10, 0));
    old.rows[1].flags |= RowFlags::CORRECTED;
    old.rows[1].ingested_at = at(12, 0);
    let table = store.lake.table(Layer::Raw, &world.pipeline.name);
    let (span, info) = (Timestamp::MIN..Timestamp::MAX, CommitInfo::new("old", at(12, 0)));
    table.replace(span, &raw_to_record_batch(&old), &info).await.unwrap();
    world.set(at(20, 0));
    let same = file(&[(1, 1.0), (2, 2.5), (3, 3.0)], at(20, 0));
    assert_eq!(store.changes(&world.pipeline, &same).await.unwrap(), 0);
    let other = file(&[(1, 1.0), (2, 2.6), (3, 3.0)], at(20, 0));
    assert_eq!(store.changes(&world.pipeline, &other).await.unwrap(), 1);
    store.put_raw(&world.pipeline, &other, true, "a run").await.unwrap();
    let known = world.versions(KnownAt::EVER).await.latest(&world.pipeline).unwrap();
    assert_eq!(known.column("close").unwrap(), [1.0, 2.6, 3.0]);
    let before = world.versions(KnownAt::instant(at(19, 0))).await;
    let before = before.latest(&world.pipeline).unwrap();
    assert_eq!(before.column("close").unwrap(), [1.0, 2.5, 3.0]);
}
