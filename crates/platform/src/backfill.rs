//! The back-fill: a long history, piece by piece, that a stop or a failure cannot lose.
//!
//! Each piece is committed to the lake before the place to go on from is stored. A place
//! is good for its own request alone; what a finished back-fill brought is not fetched
//! again by the runs after it. A run goes through the same pieces, so that one that was
//! stopped half-way, or follows a back-fill that was, goes on from there.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use foretell_lake::AsOf;
use foretell_market::{Interval, Timestamp};
use foretell_panel::{KnownAt, RawTable};
use foretell_source::{
    Backfill, BackfillCursor, BackfillRequest, Beginning, ExtractRequest, SourceError, SourceSpec,
};
use serde::{Deserialize, Serialize};

use crate::data_dir::write_atomically;
use crate::error::PlatformError;
use crate::observer::{Event, Observer, Station, Stop};
use crate::pipeline::{Pipeline, SourceKind};
use crate::service::Service;
use crate::store::Store;
use crate::turn::Turns;
use crate::versions::Versions;
use crate::{extract, market, wording};

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
pub(crate) fn stored_place(
    store: &Store,
    pipeline: &Pipeline,
) -> Result<Option<BackfillCursor>, String> {
    match std::fs::read(place_of(store, pipeline)) {
        Ok(bytes) => BackfillCursor::read(&bytes).map(Some).map_err(|e| e.to_string()),
        Err(_) => Ok(None),
    }
}

/// What the pipeline asks for now. A beginning that is counted back from the present
/// stays where it was when the back-fill began, unless more is wanted.
fn asked<'p>(
    pipeline: &'p Pipeline,
    spec: &SourceSpec,
    stored: Option<&BackfillCursor>,
    now: Timestamp,
) -> ExtractRequest<'p> {
    let request = extract::request(pipeline, None, now);
    let counted_back = pipeline.source.from.is_none()
        && matches!(pipeline.source.kind, SourceKind::CoinGecko { .. });
    let before = stored.map(|cursor| &cursor.request);
    if let Some(before) = before.filter(|before| counted_back && before.from <= request.from) {
        let same = ExtractRequest { from: before.from, ..request };
        if BackfillRequest::of(spec, &same) == *before {
            return same;
        }
    }
    request
}

/// How long a back-fill that failed waits before it asks again: as long as the vendor says,
/// and else a minute, doubling up to a quarter of an hour. `None` when waiting is no help:
/// the vendor was never reached, refuses, or was waited for often enough.
fn patience(error: &SourceError, pieces: usize, waits: u32) -> Option<Duration> {
    const FIRST_SECS: u64 = 60;
    const LONGEST_SECS: u64 = 900;
    const LONGEST_ASKED_SECS: u64 = 3_600;
    const WAITS: u32 = 12;
    let own = FIRST_SECS.saturating_mul(1 << waits.min(10)).min(LONGEST_SECS);
    let secs = match error {
        SourceError::RateLimited { retry_after, .. } => retry_after.map_or(own, |s| s.max(1)),
        // A first request that fails may have the wrong address.
        SourceError::Unavailable { .. } if pieces > 0 => own,
        _ => return None,
    };
    (waits < WAITS && secs <= LONGEST_ASKED_SECS).then(|| Duration::from_secs(secs))
}

fn in_words(wait: Duration) -> String {
    match wait.as_secs() {
        secs @ 0..120 => format!("{secs} seconds"),
        secs => format!("{} minutes", secs / 60),
    }
}

/// Who asks for pieces, which decides what happens when the vendor has no time.
#[derive(Clone, Copy)]
pub(crate) enum Patience<'t> {
    /// A back-fill waits, for hours if need be; it takes its turn for each piece, so that
    /// other work comes between them.
    Long(&'t Turns),
    /// A run fails, and the next one goes on.
    Short,
}

/// What a fetch in pieces brought.
pub(crate) struct Taken {
    pub(crate) done: BackfillDone,
    /// Where the rows of this time came from, if there were any.
    pub(crate) origin: Option<String>,
}

/// Fetches what is still missing of a pipeline's rows, or all of a source that sends
/// everything each time, and commits it piece by piece.
///
/// # Errors
/// When the source fails for good, its rows cannot be stored, or the stop was asked for.
pub(crate) async fn pieces(
    store: &Store,
    run: &str,
    pipeline: &Pipeline,
    patient: Patience<'_>,
    (observer, stop): (&dyn Observer, &Stop),
) -> Result<Taken, PlatformError> {
    let (mut stored, mut anew) = match stored_place(store, pipeline) {
        Ok(stored) => (stored, None),
        Err(why) => (None, Some(why)),
    };
    let known = KnownAt::instant(store.clock.now());
    let there = store.versions(pipeline, AsOf::Latest, known).await?;
    let last = there.and_then(|versions| versions.rows.iter().map(|r| r.time).max());
    // Without its rows (another lake, say) a place is worth nothing.
    if last.is_none() {
        stored = None;
    }
    let begun = stored.is_some();
    let ended = stored.as_ref().is_some_and(|cursor| cursor.done);
    let spec = extract::source_spec(&pipeline.source)?;
    let request = asked(pipeline, &spec, stored.as_ref(), store.clock.now());
    let mut backfill = Backfill::open(&spec, request, &store.http, stored)?;
    if let Beginning::Anew(changed) = backfill.beginning() {
        anew = Some(format!(
            "{changed}: the back-fill begins anew, and rows that are there already stay where it \
             does not reach"
        ));
    }
    if let Some(message) = &anew {
        observer.event(Event::Warning { message: message.clone() });
    }
    if let Some(last) = last {
        // Behind its end `advance` has gone on; the last row may have been corrected.
        if ended && *backfill.beginning() == Beginning::GoesOn {
            backfill.skip_to(last);
        }
        if let Some(oldest) = backfill.skip_lost() {
            warn_of_lost(pipeline, last, oldest, observer);
        }
    }
    let mut done =
        BackfillDone { rows: 0, pieces: 0, done: false, from: None, reached: None, anew };
    let (interval, from) = (pipeline.interval, backfill.cursor().request.from);
    let mut reach = Reach { observer, interval, from };
    reach.tell(0, backfill.cursor(), None);
    let (mut origin, mut waits) = (None, 0);
    loop {
        let step = async { Ok(backfill.step().await) };
        let rows = match stop.or_stopped(step).await? {
            Ok(Some(rows)) => rows,
            Ok(None) => break,
            Err(error) => {
                let wait = patience(&error, done.pieces, waits);
                let Some(wait) = wait.filter(|_| matches!(patient, Patience::Long(_))) else {
                    return Err(error.into());
                };
                observer.event(Event::Warning {
                    message: format!(
                        "{error}: the back-fill waits {} and goes on; Ctrl-C loses nothing",
                        in_words(wait)
                    ),
                });
                let pause = async {
                    store.http.pause.wait(wait).await;
                    Ok(())
                };
                stop.or_stopped(pause).await?;
                waits += 1;
                continue;
            }
        };
        waits = 0;
        let _turn = match patient {
            Patience::Long(turns) => {
                let clock = &*store.clock;
                Some(turns.take("backfill", &pipeline.name, clock, observer, stop).await?)
            }
            Patience::Short => None,
        };
        if !rows.is_empty() {
            store.put_raw(pipeline, &rows, spec.is_whole(), run).await?;
            origin.get_or_insert_with(|| rows.origin.clone());
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
    // Where a whole history is soon there, runs that follow no back-fill ask for all of it
    // again: it may have been corrected.
    let slow = backfill.cursor().request.feed.as_deref() == Some("trades");
    if matches!(patient, Patience::Short) && !begun && !slow {
        let path = place_of(store, pipeline);
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(PlatformError::Write { path, source });
            }
            _ => {}
        }
    }
    Ok(Taken { done, origin })
}

/// The rows of a pipeline after its pieces were taken in.
///
/// # Errors
/// When there are none.
pub(crate) async fn stored(store: &Store, pipeline: &Pipeline) -> Result<Versions, PlatformError> {
    let known = KnownAt::instant(store.clock.now());
    let there = store.versions(pipeline, AsOf::Latest, known).await?;
    let vendor = extract::declared_spec(&pipeline.source)?.kind();
    there.ok_or_else(|| {
        PlatformError::not_found(
            format!("row at {vendor}"),
            "check `from` and `to` of [source], and the market's name",
        )
    })
}

/// Says which candles a vendor that keeps the latest ones alone has dropped since `last`.
pub(crate) fn warn_of_lost(
    pipeline: &Pipeline,
    last: Timestamp,
    oldest: Timestamp,
    observer: &dyn Observer,
) {
    let missing = last + pipeline.interval;
    if missing < oldest {
        observer.event(Event::Warning {
            message: format!(
                "the candles from {} to {} are missing: Kraken's `ohlc` keeps the latest 720 \
                 alone; `feed = \"trades\"` and `from` in [source] fetch them",
                missing.human(),
                oldest.human()
            ),
        });
    }
}

impl Service {
    /// Fetches the history of a pipeline's source piece by piece. Each piece is
    /// committed to the lake with the place to go on from, so that a stop or a failure
    /// loses nothing and the same call continues. A changed request begins anew, with a
    /// warning.
    ///
    /// # Errors
    /// When the file asks for another market than the stored rows are of, the source fails for good or the user stopped it; what was committed stays.
    pub async fn backfill(
        &self,
        pipeline: &Pipeline,
        observer: Arc<dyn Observer>,
        stop: Arc<Stop>,
    ) -> Result<BackfillDone, PlatformError> {
        let (clock, name) = (&*self.store.clock, &pipeline.name);
        // One back-fill at a time; other work comes between its pieces.
        let _turn = self.backfills.take("backfill", name, clock, &*observer, &stop).await?;
        market::check(&self.store, pipeline).await?;
        let record = self.begin(pipeline, "backfill").await?;
        observer.event(Event::Started { station: Station::Extract });
        let heard = (&*observer, &*stop);
        let taken =
            pieces(&self.store, &record.id, pipeline, Patience::Long(&self.turns), heard).await;
        self.end(&record.id, taken.as_ref().err()).await?;
        taken.map(|taken| taken.done)
    }
}

fn first_of(rows: &RawTable) -> Option<Timestamp> {
    rows.rows.iter().map(|r| r.time).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_passes_is_waited_for() {
        let (vendor, url) = ("kraken", String::new());
        let limited = |retry_after| SourceError::RateLimited {
            vendor,
            url: url.clone(),
            message: String::new(),
            attempts: 5,
            retry_after,
        };
        let secs = |error: &SourceError, pieces, waits| {
            patience(error, pieces, waits).map(|wait| wait.as_secs())
        };
        assert_eq!(secs(&limited(Some(900)), 0, 3), Some(900));
        assert_eq!(secs(&limited(Some(86_400)), 0, 0), None, "a day is told, not waited for");
        let waits: Vec<_> = (0..6).filter_map(|n| secs(&limited(None), 0, n)).collect();
        assert_eq!(waits, [60, 120, 240, 480, 900, 900]);
        assert_eq!(secs(&limited(None), 0, 12), None);
        let down = SourceError::Unavailable {
            vendor,
            url: url.clone(),
            problem: String::new(),
            attempts: 5,
            remedy: String::new(),
        };
        assert_eq!((secs(&down, 0, 0), secs(&down, 1, 0)), (None, Some(60)));
        let (message, remedy) = (String::new(), String::new());
        let refused = SourceError::Refused { vendor, url, status: 400, message, remedy };
        assert_eq!(secs(&refused, 3, 0), None);
    }
}
