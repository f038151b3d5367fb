//! The back-fill: a long history, piece by piece, that a stop or a failure cannot lose.
//!
//! Each piece is committed to the lake before the place to go on from is stored. A place
//! is good for its own request alone; what a finished back-fill brought is not fetched
//! again by the runs after it.

use std::path::PathBuf;
use std::sync::Arc;

use foretell_lake::AsOf;
use foretell_market::{Interval, Timestamp};
use foretell_panel::{KnownAt, RawTable};
use foretell_source::{Backfill, BackfillCursor, BackfillRequest, Beginning, ExtractRequest};
use serde::{Deserialize, Serialize};

use crate::data_dir::write_atomically;
use crate::error::PlatformError;
use crate::observer::{Event, Observer, Station, Stop};
use crate::pipeline::{Pipeline, SourceKind};
use crate::service::Service;
use crate::store::Store;
use crate::{extract, wording};

/// What a back-fill did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackfillDone {
    /// Rows taken in this time.
    pub rows: usize,
    /// Pieces fetched this time.
    pub pieces: usize,
    /// Whether everything that was wanted is there.
    pub done: bool,
    /// Open time of the first row taken this time.
    pub from: Option<Timestamp>,
    /// Up to where the history has been asked for.
    pub reached: Option<Timestamp>,
    /// Why it began anew instead of going on, where it did.
    pub anew: Option<String>,
}

impl BackfillDone {
    /// The line for people.
    pub fn summary(&self) -> String {
        let until = self.reached.map_or_else(String::new, |t| format!(" up to {}", t.human()));
        if self.pieces == 0 {
            return format!("nothing new: the history{until} is complete");
        }
        let rows = wording::thousands(self.rows as u64);
        let from = self.from.map_or_else(String::new, |t| format!(" from {} on", t.human()));
        let pieces = if self.pieces == 1 { "piece" } else { "pieces" };
        format!("{rows} rows{from} in {} {pieces}: the history{until} is complete", self.pieces)
    }
}

/// How much of the span that is wanted has been fetched.
struct Reach<'a> {
    observer: &'a dyn Observer,
    interval: Interval,
    /// First open time wanted, or the first there is.
    from: Option<Timestamp>,
}

impl Reach<'_> {
    /// Tells rows, span and, where both ends are known, the share in intervals.
    fn tell(&mut self, rows: usize, cursor: &BackfillCursor, first: Option<Timestamp>) {
        self.from = self.from.or(first);
        let reached = if cursor.done { Some(cursor.to) } else { cursor.next };
        let counted = wording::thousands(rows as u64);
        let (Some(from), Some(reached)) = (self.from, reached) else {
            let (station, done) = (Station::Extract, rows as u64);
            let doing = "rows".to_owned();
            return self.observer.event(Event::Progress { station, doing, done, total: None });
        };
        let steps = |until| self.interval.steps(from, until).max(0) as u64;
        self.observer.event(Event::Progress {
            station: Station::Extract,
            doing: format!("{counted} rows, reached {}", reached.human()),
            done: steps(reached),
            total: Some(steps(cursor.to).max(1)),
        });
    }
}

fn place_of(store: &Store, pipeline: &Pipeline) -> PathBuf {
    store.dir.file("backfill", &format!("{}.json", pipeline.name))
}

/// The stored place, if there is one, or why it cannot be used.
fn stored_place(store: &Store, pipeline: &Pipeline) -> Result<Option<BackfillCursor>, String> {
    match std::fs::read(place_of(store, pipeline)) {
        Ok(bytes) => BackfillCursor::read(&bytes).map(Some).map_err(|e| e.to_string()),
        Err(_) => Ok(None),
    }
}

/// What the pipeline asks for now. A beginning that is counted back from the present
/// stays where it was when the back-fill began, unless more is wanted.
fn asked<'p>(
    pipeline: &'p Pipeline,
    stored: Option<&BackfillCursor>,
    now: Timestamp,
) -> ExtractRequest<'p> {
    let mut request = extract::request(pipeline, None, now);
    let counted_back = pipeline.source.from.is_none()
        && matches!(pipeline.source.kind, SourceKind::CoinGecko { .. });
    let before = stored.and_then(|cursor| cursor.request.from);
    if counted_back && before <= request.from {
        request.from = before.or(request.from);
    }
    request
}

/// From where on a run takes in rows: everything, unless a back-fill of this very
/// request has brought the history; then the last row and what comes after it.
///
/// # Errors
/// When the stored rows cannot be read.
pub(crate) async fn since(
    store: &Store,
    pipeline: &Pipeline,
) -> Result<Option<Timestamp>, PlatformError> {
    let Some(cursor) = stored_place(store, pipeline).ok().flatten().filter(|c| c.done) else {
        return Ok(None);
    };
    let spec = extract::source_spec(&pipeline.source)?;
    let request = asked(pipeline, Some(&cursor), store.clock.now());
    // Kraken's latest candles come in one answer, and no older ones can be asked for.
    let latest_only = cursor.request.feed.as_deref() == Some("ohlc");
    let other = BackfillRequest::of(&spec, &request) != cursor.request;
    if spec.is_whole() || latest_only || other {
        return Ok(None);
    }
    let known = KnownAt::instant(store.clock.now());
    let there = store.versions(pipeline, AsOf::Latest, known).await?;
    Ok(there.and_then(|versions| versions.rows.iter().map(|r| r.time).max()))
}

impl Service {
    /// Fetches the history of a pipeline's source piece by piece. Each piece is
    /// committed to the lake with the place to go on from, so that a stop or a failure
    /// loses nothing and the same call continues. A changed request begins anew, with a
    /// warning; rows of another market are replaced, not joined.
    ///
    /// # Errors
    /// When the source fails for good or the user stopped it; what was committed stays.
    pub async fn backfill(
        &self,
        pipeline: &Pipeline,
        observer: Arc<dyn Observer>,
        stop: Arc<Stop>,
    ) -> Result<BackfillDone, PlatformError> {
        let (clock, name) = (&*self.store.clock, &pipeline.name);
        // One back-fill at a time; other work comes between its pieces.
        let _turn = self.backfills.take("backfill", name, clock, &*observer, &stop).await?;
        let record = self.begin(pipeline, "backfill").await?;
        let outcome = self.pieces(&record.id, pipeline, &*observer, &stop).await;
        self.end(&record.id, outcome.as_ref().err()).await?;
        outcome
    }

    async fn pieces(
        &self,
        run: &str,
        pipeline: &Pipeline,
        observer: &dyn Observer,
        stop: &Stop,
    ) -> Result<BackfillDone, PlatformError> {
        let store = &self.store;
        observer.event(Event::Started { station: Station::Extract });
        let (mut stored, mut anew) = match stored_place(store, pipeline) {
            Ok(stored) => (stored, None),
            Err(why) => (None, Some(why)),
        };
        // Without its rows (another lake, say) a place is worth nothing.
        let known = KnownAt::instant(store.clock.now());
        if store.versions(pipeline, AsOf::Latest, known).await?.is_none() {
            stored = None;
        }
        let spec = extract::source_spec(&pipeline.source)?;
        let request = asked(pipeline, stored.as_ref(), store.clock.now());
        let mut backfill = Backfill::open(&spec, request, &store.http, stored)?;
        let mut replace = spec.is_whole();
        if let Beginning::Anew(changed) = backfill.beginning() {
            let rows = match changed.other_market {
                true => "the rows of the request before it are replaced",
                false => "rows that are there already stay where it does not reach",
            };
            anew = Some(format!("{changed}: the back-fill begins anew, and {rows}"));
            replace |= changed.other_market;
        }
        if let Some(message) = &anew {
            observer.event(Event::Warning { message: message.clone() });
        }
        let mut done =
            BackfillDone { rows: 0, pieces: 0, done: false, from: None, reached: None, anew };
        let (interval, from) = (pipeline.interval, backfill.cursor().request.from);
        let mut reach = Reach { observer, interval, from };
        reach.tell(0, backfill.cursor(), None);
        loop {
            let step = async { Ok(backfill.step().await?) };
            let Some(rows) = stop.or_stopped(step).await? else { break };
            let (name, clock) = (&pipeline.name, &*store.clock);
            let _turn = self.turns.take("backfill", name, clock, observer, stop).await?;
            if !rows.is_empty() {
                store.put_raw(pipeline, &rows, replace, run).await?;
                replace = spec.is_whole();
            }
            // The rows first, the place after them: a kill in between fetches them again.
            let cursor = backfill.cursor();
            let bytes = serde_json::to_vec(cursor).unwrap_or_default();
            write_atomically(&place_of(store, pipeline), &bytes)?;
            done.rows += rows.len();
            done.pieces += 1;
            done.from = done.from.or_else(|| first_of(&rows));
            reach.tell(done.rows, cursor, done.from);
        }
        done.done = true;
        done.reached = Some(backfill.cursor().to);
        Ok(done)
    }
}

fn first_of(rows: &RawTable) -> Option<Timestamp> {
    rows.rows.iter().map(|r| r.time).min()
}
