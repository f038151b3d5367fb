//! A long fetch in pieces that can be interrupted: after every piece there is a cursor
//! to store, and a later process goes on from it.
//!
//! A piece is complete or it is not there at all: the cursor moves only behind rows
//! that were handed out, so nothing is skipped and nothing is fetched twice.

use foretell_market::Timestamp;
use foretell_panel::RawTable;

use crate::cursor::{BackfillCursor, Beginning};
use crate::rows::Rows;
use crate::{
    ExtractRequest, HttpSettings, SourceError, SourceSpec, binance, coingecko, file, kaggle, kraken,
};

/// What is still to be fetched.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    /// First open time wanted; `None` is the beginning of what the vendor has.
    pub(crate) next: Option<Timestamp>,
    /// Open times wanted lie before it.
    pub(crate) to: Timestamp,
}

/// One piece of a window.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) rows: Rows,
    /// Elements that the vendor sent.
    pub(crate) received: u64,
    /// Where the next piece starts; `None` when there is none.
    pub(crate) next: Option<Timestamp>,
    pub(crate) origin: String,
    /// When the vendor answered, by its own clock, where it says: a bar that is forming
    /// there is not final because a clock here runs fast.
    pub(crate) at: Option<Timestamp>,
    /// Where the vendor has nothing more although more was wanted.
    pub(crate) reached: Option<Timestamp>,
}

/// Whom we are talking to.
#[derive(Debug)]
enum Session<'a> {
    File(&'a file::FileSpec),
    Kaggle(&'a kaggle::KaggleSpec, &'a HttpSettings),
    Kraken(kraken::Session<'a>),
    Binance(binance::Session<'a>),
    CoinGecko(coingecko::Session<'a>),
}

/// A fetch in pieces.
#[derive(Debug)]
pub struct Backfill<'a> {
    session: Session<'a>,
    request: ExtractRequest<'a>,
    cursor: BackfillCursor,
    beginning: Beginning,
    /// The oldest open time that the vendor still has, where it drops rows.
    oldest: Option<Timestamp>,
}

impl<'a> Backfill<'a> {
    /// Begins a request, or goes on from the stored place of the same request; see
    /// [`Backfill::beginning`] for which it was.
    ///
    /// # Errors
    /// When a setting makes no sense.
    pub fn open(
        spec: &'a SourceSpec,
        request: ExtractRequest<'a>,
        http: &'a HttpSettings,
        stored: Option<BackfillCursor>,
    ) -> Result<Self, SourceError> {
        let (cursor, beginning) = BackfillCursor::begin(stored, spec, &request);
        let session = match spec {
            SourceSpec::File(spec) => Session::File(spec),
            SourceSpec::Kaggle(spec) => Session::Kaggle(spec, http),
            SourceSpec::Kraken(spec) => Session::Kraken(kraken::Session::new(spec, http)?),
            SourceSpec::Binance(spec) => Session::Binance(binance::Session::new(spec, http)?),
            SourceSpec::CoinGecko(spec) => Session::CoinGecko(coingecko::Session::new(spec, http)?),
        };
        let oldest = spec.oldest(request.interval, request.now);
        Ok(Self { session, request, cursor, beginning, oldest })
    }

    /// How it began.
    pub fn beginning(&self) -> &Beginning {
        &self.beginning
    }

    /// How far it has come.
    pub fn cursor(&self) -> &BackfillCursor {
        &self.cursor
    }

    /// Goes on from an open time, when that is later than where it stands: what lies before
    /// it came another way. A fetch that begins where the vendor's rows begin stays so.
    pub fn skip_to(&mut self, time: Timestamp) {
        if let Some(next) = self.cursor.next.filter(|next| *next < time) {
            self.cursor.next = Some(next.max(time));
            self.cursor.done |= time >= self.cursor.to;
        }
    }

    /// Goes on from the oldest row that the vendor still has, for a history that is stored
    /// in part and whose next rows it has dropped. Answers with that open time, where the
    /// vendor drops rows at all.
    pub fn skip_lost(&mut self) -> Option<Timestamp> {
        let oldest = self.oldest?;
        self.skip_to(oldest);
        Some(oldest)
    }

    /// The next piece, or `None` when everything is there. After an error the cursor
    /// stands where it stood, so the same piece is asked for again.
    ///
    /// # Errors
    /// When the source cannot be reached or understood.
    pub async fn step(&mut self) -> Result<Option<RawTable>, SourceError> {
        if self.cursor.done {
            return Ok(None);
        }
        let window = Window { next: self.cursor.next, to: self.cursor.to };
        let request = ExtractRequest { to: Some(self.cursor.to), ..self.request };
        let mut page = match &self.session {
            Session::File(spec) => {
                let table = file::load(spec, &request).await?;
                return Ok(Some(self.whole(table)));
            }
            Session::Kaggle(spec, http) => {
                let table = kaggle::load(spec, &request, http).await?;
                return Ok(Some(self.whole(table)));
            }
            Session::Kraken(session) => session.page(&request, &window).await?,
            Session::Binance(session) => session.page(&request, &window).await?,
            Session::CoinGecko(session) => session.page(&request, &window).await?,
        };
        // Positions count on through the pieces, so that they stay unique.
        for position in &mut page.rows.positions {
            *position += self.cursor.received;
        }
        let closed_by = page.at.map_or(request.now, |at| at.min(request.now));
        let table = page.rows.into_live_table(page.origin, closed_by, &request)?;
        self.cursor.received += page.received;
        // What had not closed there, or was not there, has not been fetched.
        let reached = page.reached.map_or(closed_by, |reached| reached.min(closed_by));
        self.cursor.to = self.cursor.to.min(reached);
        self.cursor.done = page.next.is_none();
        if page.next.is_some() {
            self.cursor.next = page.next;
        }
        Ok(Some(table))
    }

    /// A source that gives everything in one piece.
    fn whole(&mut self, table: RawTable) -> RawTable {
        self.cursor.received = table.len() as u64;
        self.cursor.done = true;
        table
    }
}

/// One table of the pieces of a request, in their order.
pub(crate) fn joined(pieces: Vec<RawTable>) -> Option<RawTable> {
    let mut pieces = pieces.into_iter();
    let mut whole = pieces.next()?;
    let rest: Vec<RawTable> = pieces.collect();
    for (i, column) in whole.columns.iter_mut().enumerate() {
        if rest.is_empty() {
            break;
        }
        let mut values = column.values.to_vec();
        for piece in &rest {
            values.extend_from_slice(&piece.columns[i].values);
        }
        column.values = values.into();
    }
    for piece in rest {
        whole.positions.extend(piece.positions);
        whole.rows.extend(piece.rows);
        whole.faults.extend(piece.faults);
    }
    Some(whole)
}
