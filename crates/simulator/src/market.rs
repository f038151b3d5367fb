//! How far the tape has been played, and what may be known of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{OnceLock, PoisonError};

use foretell_market::{Instrument, Timestamp, Trade};
use tokio::sync::watch;

use crate::fault::{Fault, FaultPlan};
use crate::tape::Tape;

/// The trades of an exchange, those that have happened apart from those to come.
#[derive(Debug)]
pub(crate) struct Market {
    /// With the times of the tape.
    tape: Tape,
    /// With the times of the present, once it has begun to be played there.
    present: OnceLock<Vec<Trade>>,
    /// Places on the tape per instrument.
    by_instrument: BTreeMap<Instrument, Vec<usize>>,
    played: watch::Sender<usize>,
    plan: FaultPlan,
    lost: BTreeSet<usize>,
    /// Trades whose faults have happened.
    befallen: Mutex<BTreeSet<usize>>,
    /// Questions over HTTP that will fail.
    pub(crate) http_down: AtomicU64,
    pub(crate) connections: AtomicU64,
    pub(crate) requests: AtomicU64,
}

impl Market {
    pub(crate) fn new(tape: Tape, plan: FaultPlan) -> Self {
        let trades = tape.trades();
        let mut by_instrument: BTreeMap<Instrument, Vec<usize>> = BTreeMap::new();
        for (place, trade) in trades.iter().enumerate() {
            by_instrument.entry(trade.instrument.clone()).or_default().push(place);
        }
        let lost = plan.lost(trades.len()).into_iter().map(|number| number - 1).collect();
        Self {
            tape,
            present: OnceLock::new(),
            by_instrument,
            played: watch::Sender::new(0),
            plan,
            lost,
            befallen: Mutex::default(),
            http_down: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            requests: AtomicU64::new(0),
        }
    }

    pub(crate) fn trades(&self) -> &[Trade] {
        self.present.get().map_or(self.tape.trades(), Vec::as_slice)
    }

    /// Moves the tape to the present: it begins now, if it has not begun.
    pub(crate) fn begin(&self, now: Timestamp, speed: f64, resolution: i64) {
        let moved = || self.tape.clone().retimed(now, speed).rounded(resolution).into_trades();
        self.present.get_or_init(moved);
    }

    pub(crate) fn instruments(&self) -> impl Iterator<Item = &Instrument> {
        self.by_instrument.keys()
    }

    pub(crate) fn has(&self, instrument: &Instrument) -> bool {
        self.by_instrument.contains_key(instrument)
    }

    /// How many trades have happened.
    pub(crate) fn played(&self) -> usize {
        *self.played.borrow()
    }

    /// Hears when more have happened.
    pub(crate) fn listen(&self) -> watch::Receiver<usize> {
        self.played.subscribe()
    }

    /// So many more happen.
    pub(crate) fn play(&self, more: u64) {
        let more = usize::try_from(more).unwrap_or(usize::MAX);
        self.played.send_modify(|played| {
            *played = played.saturating_add(more).min(self.trades().len());
        });
    }

    /// At least so many have happened.
    pub(crate) fn play_to(&self, count: usize) {
        self.played.send_modify(|played| *played = (*played).max(count).min(self.trades().len()));
    }

    /// Whether nobody will ever get the trade at a place.
    pub(crate) fn is_lost(&self, place: usize) -> bool {
        self.lost.contains(&place)
    }

    /// What befalls the trade at a place, once.
    pub(crate) fn befall(&self, place: usize) -> Vec<Fault> {
        let mut befallen = self.befallen.lock().unwrap_or_else(PoisonError::into_inner);
        if befallen.insert(place) { self.plan.of(place + 1) } else { Vec::new() }
    }

    /// The trades of an instrument that have happened and that the HTTP interface has.
    pub(crate) fn known(&self, instrument: &Instrument) -> impl DoubleEndedIterator<Item = &Trade> {
        let played = self.played();
        let places = self.by_instrument.get(instrument).map(Vec::as_slice).unwrap_or_default();
        let happened = &places[..places.partition_point(|place| *place < played)];
        happened.iter().filter(|place| !self.is_lost(**place)).map(|place| &self.trades()[*place])
    }

    /// The number of an instrument's last trade before a place on the tape; of the one
    /// before the tape where there is none.
    pub(crate) fn last_number(&self, instrument: &Instrument, place: usize) -> i64 {
        let Some(places) = self.by_instrument.get(instrument) else { return 0 };
        let number = |index: usize| self.trades()[places[index]].id.unwrap_or_default();
        match places.partition_point(|p| *p < place) {
            0 => number(0) - 1,
            end => number(end - 1),
        }
    }

    /// The time of the last trade that has happened, or of the first.
    pub(crate) fn time(&self) -> Timestamp {
        let last = self.played().saturating_sub(1);
        self.trades().get(last).map_or(Timestamp::from_secs(0), |trade| trade.time)
    }

    /// Whether the next question over HTTP fails.
    pub(crate) fn http_fails(&self) -> bool {
        let fewer = |left: u64| left.checked_sub(1);
        self.http_down.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fewer).is_ok()
    }
}
