//! One instrument's trades in the order of their numbers: what came twice, what came in
//! disorder, what is missing.
//!
//! Pure: told what came and what time it is, it says what to hand on and what to ask for.
//!
//! - A trade with the next number is handed on. One with an older number came twice, but
//!   for those that are owed. One with a later number is held back: there is a *hole*.
//! - A hole is asked for after a moment (`reorder`). When no progress was made for `hold`,
//!   it becomes a gap: an event says so, newer trades go on, and its numbers are *owed*:
//!   they are asked for until `repair` is over, and handed on late.
//! - After a (re)connection it is not known whether trades were missed, until the venue's
//!   HTTP interface says so or a trade with the very next number comes: the line is in
//!   *doubt*, and gives no heartbeat.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use foretell_market::{FeedEvent, Instrument, Timestamp, Trade};
use serde::{Deserialize, Serialize};

use super::finding::{FindingKind, Trouble};
use super::ranges::Ranges;
use super::settings::LiveSettings;

/// A jump of so many numbers at once is believed at any time, and so many more a second.
const JUMP: i64 = 1_000_000;
const JUMP_A_SECOND: i64 = 10_000;
/// An older number on a trade that is so much later is not a repetition.
const LATER_SECS: i64 = 1;
/// So many strange numbers in a row are a new numbering.
const NEW_NUMBERING: u32 = 5;
/// The longest wait between two attempts at a declared gap.
const LONGEST_RETRY: Duration = Duration::from_secs(60);
/// Declared gaps that are still tried at once.
const OWED: usize = 64;

/// A place in an instrument's trades: the number and time of one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The venue's number of the trade.
    pub id: i64,
    /// When it happened (UTC).
    pub time: Timestamp,
}

/// What time it is: by our clock, for records, and since some instant, for waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) wall: Timestamp,
    pub(super) since: Duration,
}

/// What a line says.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Out {
    /// Hand this on; whether it was fetched after the fact.
    Event(FeedEvent, bool),
    /// Tell the operator.
    Trouble(Trouble),
    /// A trade that had been handed on came again.
    Duplicate,
    /// A trade was let go, to be fetched again.
    LetGo,
}

/// What a line wants fetched: the trades behind one, up to a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) after: Mark,
    /// `None` is everything there is.
    pub(super) to: Option<i64>,
    /// When it was wanted: what happened later it cannot answer for.
    pub(super) since: Duration,
}

/// A trade that waits for those before it.
#[derive(Debug)]
struct Held {
    trade: Trade,
    backfilled: bool,
    came: Duration,
}

/// Numbers are missing before what is held or known to exist.
#[derive(Debug)]
struct Hole {
    /// From the last trade before it.
    from: Timestamp,
    /// When it was seen first or became smaller.
    progress: Duration,
    /// Whether fetched trades went into it.
    filled: bool,
}

/// It is not known whether there were trades between two connections.
#[derive(Debug)]
struct Doubt {
    from: Timestamp,
    to: Timestamp,
    /// When it arose or something was fetched for it.
    progress: Duration,
    arose: Duration,
    filled: bool,
    /// Whether it was said to be a gap.
    declared: bool,
    /// The gaps that were declared for it, and for those that it follows.
    spans: Vec<(Timestamp, Timestamp)>,
}

/// Numbers whose gap has been declared.
#[derive(Debug)]
struct Owed {
    missing: Ranges,
    /// The gaps as they were declared.
    spans: Vec<(Timestamp, Timestamp)>,
    until: Duration,
    next: Duration,
    wait: Duration,
}

/// One instrument's trades.
#[derive(Debug)]
pub(super) struct Line {
    instrument: Instrument,
    mark: Option<Mark>,
    /// Event time has come this far.
    floor: Option<Timestamp>,
    held: BTreeMap<i64, Held>,
    /// The latest trade that the venue spoke of without sending it.
    known: Option<Mark>,
    hole: Option<Hole>,
    doubt: Option<Doubt>,
    owed: VecDeque<Owed>,
    live: bool,
    /// When a trade or heartbeat was handed on last.
    said: Duration,
    strange: u32,
    asking: bool,
    next_ask: Duration,
    problem: Option<String>,
}

/// The first microsecond behind an instant.
fn behind(time: Timestamp) -> Timestamp {
    Timestamp::from_micros(time.micros().saturating_add(1))
}

impl Line {
    /// A line that goes on behind a trade, or begins with the first one that comes.
    pub(super) fn new(instrument: Instrument, mark: Option<Mark>) -> Self {
        Self {
            instrument,
            mark,
            floor: mark.map(|mark| mark.time),
            held: BTreeMap::new(),
            known: None,
            hole: None,
            doubt: None,
            owed: VecDeque::new(),
            live: false,
            said: Duration::ZERO,
            strange: 0,
            asking: false,
            next_ask: Duration::ZERO,
            problem: None,
        }
    }

    pub(super) fn instrument(&self) -> &Instrument {
        &self.instrument
    }

    /// Whether it has a trade to go on from.
    pub(super) fn has_begun(&self) -> bool {
        self.mark.is_some()
    }

    pub(super) fn is_live(&self) -> bool {
        self.live
    }

    /// The venue sends it from now on: what happened before is in doubt.
    pub(super) fn acknowledged(&mut self, now: Now) {
        if self.live {
            return;
        }
        self.live = true;
        self.said = now.since;
        self.unsure(now);
        if self.mark.is_none() {
            self.floor = self.floor.max(Some(now.wall));
        }
    }

    /// Something may have been missed until now.
    pub(super) fn unsure(&mut self, now: Now) {
        let (Some(mark), true) = (self.mark, self.live) else { return };
        let floor = self.floor.unwrap_or(mark.time);
        // A doubt that was not settled goes on in the next one.
        let before = self.doubt.take();
        let from = before.as_ref().map_or(floor, |doubt| doubt.from.min(floor));
        self.doubt = Some(Doubt {
            from,
            to: now.wall.max(behind(from)),
            progress: now.since,
            arose: now.since,
            filled: before.as_ref().is_some_and(|doubt| doubt.filled),
            declared: false,
            spans: before.map(|doubt| doubt.spans).unwrap_or_default(),
        });
        self.next_ask = self.next_ask.min(now.since);
    }

    /// Nothing is sent any more.
    pub(super) fn interrupted(&mut self) {
        self.live = false;
    }

    /// The venue's latest trade is this one, whether or not it was sent.
    pub(super) fn latest(&mut self, mark: Mark, now: Now) {
        match self.mark {
            None => {
                self.mark = Some(mark);
                self.floor = self.floor.max(Some(mark.time));
            }
            Some(last) if mark.id > last.id => {
                if self.known.is_none_or(|known| known.id < mark.id) {
                    self.known = Some(mark);
                }
                self.look_for_hole(now);
            }
            Some(_) => {}
        }
    }

    /// A trade came: over the socket, or fetched.
    pub(super) fn trade(
        &mut self,
        trade: Trade,
        backfilled: bool,
        now: Now,
        settings: &LiveSettings,
        out: &mut Vec<Out>,
    ) {
        // The protocols number every trade.
        let Some(id) = trade.id else { return };
        let Some(mark) = self.mark else {
            if !backfilled {
                self.hand_on(id, trade, false, now, out);
            }
            return;
        };
        if id <= mark.id {
            if self.pay(id, &trade, backfilled, now, out) {
                return;
            }
            if trade.time <= mark.time.plus_secs(LATER_SECS) || backfilled {
                out.push(Out::Duplicate);
                return;
            }
            self.strange(id, trade, now, out);
            return;
        }
        let secs = (trade.time.secs() - mark.time.secs()).max(0);
        if id - mark.id > JUMP.saturating_add(JUMP_A_SECOND.saturating_mul(secs)) {
            self.strange(id, trade, now, out);
            return;
        }
        self.strange = 0;
        if self.held.contains_key(&id) {
            out.push(Out::Duplicate);
            return;
        }
        if id > mark.id + 1 && self.held.len() >= settings.max_held.max(1) {
            // The latest is let go: the way to it leads over those before it. That it is
            // there is not forgotten, or nobody would fetch it again.
            out.push(Out::LetGo);
            let last = self.held.last_key_value().map(|(last, held)| (*last, held.trade.time));
            let (gone, time) = last.map_or((id, trade.time), |last| last.max((id, trade.time)));
            if self.known.is_none_or(|known| known.id < gone) {
                self.known = Some(Mark { id: gone, time });
            }
            if gone == id {
                return;
            }
            self.held.pop_last();
        }
        self.held.insert(id, Held { trade, backfilled, came: now.since });
        self.drain(now, out);
        self.look_for_hole(now);
    }

    /// Hands on what is held and next in number.
    fn drain(&mut self, now: Now, out: &mut Vec<Out>) {
        while let (Some(mark), Some(first)) = (self.mark, self.held.first_entry()) {
            if *first.key() > mark.id + 1 {
                break;
            }
            let (id, held) = first.remove_entry();
            if id <= mark.id {
                out.push(Out::Duplicate);
                continue;
            }
            if let Some(hole) = &mut self.hole {
                hole.progress = now.since;
                hole.filled |= held.backfilled;
            }
            if let Some(doubt) = &mut self.doubt {
                doubt.progress = now.since;
                doubt.filled |= held.backfilled;
                // A trade of this connection with nothing missing before it.
                if !held.backfilled && held.came >= doubt.arose && self.live {
                    self.certain(out);
                }
            }
            self.hand_on(id, held.trade, held.backfilled, now, out);
        }
        let closed = self.held.is_empty() && self.known_missing().is_none();
        if let (true, Some(hole), Some(mark)) = (closed, &self.hole, self.mark) {
            let (from, to, filled) = (hole.from, behind(mark.time), hole.filled);
            self.hole = None;
            if filled && self.doubt.is_none() {
                self.repaired(from, to.max(behind(from)), out);
            }
        }
    }

    /// The number of the latest trade that is known to be missing behind all that is here.
    fn known_missing(&self) -> Option<Mark> {
        let last = self.mark?.id;
        self.known.filter(|known| known.id > last)
    }

    fn look_for_hole(&mut self, now: Now) {
        let Some(mark) = self.mark else { return };
        let open = !self.held.is_empty() || self.known_missing().is_some();
        if open && self.hole.is_none() {
            let came = self.held.first_key_value().map_or(now.since, |(_, held)| held.came);
            self.hole = Some(Hole { from: mark.time, progress: came, filled: false });
        }
    }

    fn hand_on(&mut self, id: i64, trade: Trade, backfilled: bool, now: Now, out: &mut Vec<Out>) {
        self.mark = Some(Mark { id, time: trade.time });
        self.floor = self.floor.max(Some(trade.time));
        self.said = now.since;
        out.push(Out::Event(FeedEvent::Trade(trade), backfilled));
    }

    /// A number out of place: refused, and after some in a row the venue counts anew.
    fn strange(&mut self, id: i64, trade: Trade, now: Now, out: &mut Vec<Out>) {
        self.strange += 1;
        let last = self.mark.map_or(0, |mark| mark.id);
        if self.strange < NEW_NUMBERING {
            let detail = format!("trade {id} at {} cannot follow trade {last}", trade.time);
            let trouble = Trouble::new(FindingKind::StrangeNumber, detail).of(&self.instrument);
            out.push(Out::Trouble(trouble));
            return;
        }
        self.strange = 0;
        let from = self.mark.map_or(trade.time, |mark| mark.time);
        let reason = format!("the venue numbers its trades anew: {id} came after {last}");
        self.gap(from, behind(trade.time.max(from)), reason.clone(), out);
        for (_, held) in std::mem::take(&mut self.held) {
            // They were missing something before them, and still are.
            out.push(Out::Event(FeedEvent::Trade(held.trade), held.backfilled));
        }
        (self.hole, self.doubt, self.known) = (None, None, None);
        // Old numbers name other trades now: what is still missing of them stays missing.
        self.owed.clear();
        let (instrument, time) = (self.instrument.clone(), trade.time);
        out.push(Out::Event(FeedEvent::Renumbered { instrument, time, reason }, false));
        self.hand_on(id, trade, false, now, out);
    }

    /// A trade that is owed was found.
    fn pay(
        &mut self,
        id: i64,
        trade: &Trade,
        backfilled: bool,
        now: Now,
        out: &mut Vec<Out>,
    ) -> bool {
        let Some(place) = self.owed.iter_mut().position(|owed| owed.missing.remove(id)) else {
            return false;
        };
        out.push(Out::Event(FeedEvent::Trade(trade.clone()), backfilled));
        let owed = &mut self.owed[place];
        owed.until = owed.until.max(now.since + owed.wait);
        if owed.missing.is_empty() {
            let spans = std::mem::take(&mut owed.spans);
            self.owed.remove(place);
            for (from, to) in spans {
                self.repaired(from, to, out);
            }
        }
        true
    }

    fn repaired(&self, from: Timestamp, to: Timestamp, out: &mut Vec<Out>) {
        let instrument = self.instrument.clone();
        out.push(Out::Event(FeedEvent::Repaired { instrument, from, to }, false));
    }

    fn gap(&self, from: Timestamp, to: Timestamp, reason: String, out: &mut Vec<Out>) {
        let instrument = self.instrument.clone();
        out.push(Out::Event(FeedEvent::Gap { instrument, from, to, reason }, false));
    }

    /// Nothing was missed between the connections, or all of it has come.
    fn certain(&mut self, out: &mut Vec<Out>) {
        let Some(doubt) = self.doubt.take() else { return };
        for (from, to) in &doubt.spans {
            self.repaired(*from, *to, out);
        }
        if doubt.filled && !doubt.declared {
            self.repaired(doubt.from, doubt.to, out);
        }
        if let (true, Some(hole)) = (doubt.filled, &mut self.hole) {
            // What was fetched has been spoken of.
            hole.filled = false;
        }
    }

    /// What should be fetched now, if anything; at most one thing at a time.
    pub(super) fn ask(&mut self, now: Now, settings: &LiveSettings) -> Option<Wanted> {
        let mark = self.mark.filter(|_| !self.asking)?;
        let reorder = Duration::from_millis(settings.reorder_millis);
        if now.since >= self.next_ask {
            // In doubt everything is fetched, the hole with it.
            let doubtful = self.doubt.is_some() && self.live;
            let hole = self.hole.as_ref().is_some_and(|h| now.since >= h.progress + reorder);
            if doubtful || hole {
                let first = self.held.first_key_value().map(|(id, _)| id - 1);
                let to = first.or(self.known_missing().map(|known| known.id));
                self.asking = true;
                let to = if doubtful { None } else { to };
                return Some(Wanted { after: mark, to, since: now.since });
            }
        }
        let owed = self.owed.iter_mut().find(|owed| now.since >= owed.next)?;
        let (first, last) = owed.missing.bounds()?;
        owed.wait = (owed.wait * 2).min(LONGEST_RETRY);
        owed.next = now.since + owed.wait;
        let time = owed.spans.first().map_or(mark.time, |(from, _)| *from);
        self.asking = true;
        Some(Wanted { after: Mark { id: first - 1, time }, to: Some(last), since: now.since })
    }

    /// A fetch ended; its trades have come before. An error says why it gave nothing.
    pub(super) fn asked(
        &mut self,
        wanted: Wanted,
        problem: Option<String>,
        now: Now,
        settings: &LiveSettings,
        out: &mut Vec<Out>,
    ) {
        self.asking = false;
        let settles = self.doubt.as_ref().is_some_and(|doubt| doubt.arose <= wanted.since);
        if problem.is_none() && wanted.to.is_none() && self.live && settles {
            self.certain(out);
            self.drain(now, out);
        }
        let more = self.hole.is_some() || self.doubt.is_some();
        let wait = if more { settings.retry_millis } else { 0 };
        self.next_ask = now.since + Duration::from_millis(wait);
        self.problem = problem;
    }

    /// Time has passed: declares what was waited for long enough, gives a sign of life.
    /// `alive` is when the venue was last heard, where it is connected.
    pub(super) fn tick(
        &mut self,
        alive: Option<Timestamp>,
        now: Now,
        settings: &LiveSettings,
        out: &mut Vec<Out>,
    ) {
        let hold = Duration::from_millis(settings.hold_millis);
        if self.hole.as_ref().is_some_and(|hole| now.since >= hole.progress + hold) {
            self.give_up_hole(now, settings, out);
        }
        let why = self.why();
        let doubted = self.doubt.as_mut().filter(|_| self.live && self.hole.is_none());
        if let Some(doubt) = doubted {
            if !doubt.declared && now.since >= doubt.progress + hold {
                doubt.declared = true;
                let (from, to) = (doubt.from, doubt.to);
                doubt.spans.push((from, to));
                let reason = format!("the connection was down, and {why}");
                self.gap(from, to, reason, out);
            } else if doubt.declared
                && now.since >= doubt.progress + Duration::from_millis(settings.repair_millis)
            {
                self.doubt = None;
            }
        }
        self.owed.retain(|owed| now.since < owed.until);
        self.heartbeat(alive, now, settings, out);
    }

    /// Why nothing came of fetching, in words.
    fn why(&self) -> String {
        match &self.problem {
            Some(problem) => format!("fetching failed: {problem}"),
            None if self.asking => "the venue's HTTP interface has not answered yet".to_owned(),
            None => "the venue's HTTP interface does not have them".to_owned(),
        }
    }

    /// Declares the first hole a gap and goes on behind it.
    fn give_up_hole(&mut self, now: Now, settings: &LiveSettings, out: &mut Vec<Out>) {
        let (Some(hole), Some(mark)) = (self.hole.take(), self.mark) else { return };
        let (last, until) = match (self.held.first_key_value(), self.known_missing()) {
            (Some((id, held)), _) => (id - 1, behind(held.trade.time)),
            (None, Some(known)) => (known.id, behind(known.time)),
            (None, None) => return,
        };
        let (mut from, mut to) = (hole.from, until.max(behind(hole.from)));
        let mut spans = Vec::new();
        // All that the doubt was about lies in the hole: the numbers say so.
        if let Some(doubt) = self.doubt.take_if(|_| !self.held.is_empty()) {
            spans.extend(&doubt.spans);
            (from, to) = (from.min(doubt.from), to.max(doubt.to));
        }
        spans.push((from, to));
        let missing = Ranges::of(mark.id + 1, last);
        self.gap(from, to, format!("{missing} did not come, and {}", self.why()), out);
        let retry = Duration::from_millis(settings.retry_millis.max(1));
        self.owed.push_back(Owed {
            missing,
            spans,
            until: now.since + Duration::from_millis(settings.repair_millis),
            next: now.since + retry,
            wait: retry,
        });
        if self.owed.len() > OWED {
            self.owed.pop_front();
        }
        self.mark = Some(Mark { id: last, time: mark.time });
        self.drain(now, out);
        self.look_for_hole(now);
    }

    fn heartbeat(
        &mut self,
        alive: Option<Timestamp>,
        now: Now,
        settings: &LiveSettings,
        out: &mut Vec<Out>,
    ) {
        let every = Duration::from_millis(settings.heartbeat_millis);
        let doubtful = self.doubt.as_ref().is_some_and(|doubt| !doubt.declared);
        let sure = self.live && self.hole.is_none() && !doubtful && !every.is_zero();
        let Some(alive) = alive.filter(|_| sure && now.since >= self.said + every) else { return };
        let delay = i64::try_from(settings.delay_millis).unwrap_or(i64::MAX).saturating_mul(1_000);
        let time = Timestamp::from_micros(alive.micros().saturating_sub(delay));
        // Never back, and never before the last trade.
        if self.floor.is_some_and(|floor| time <= floor) {
            return;
        }
        self.floor = Some(time);
        self.said = now.since;
        let instrument = self.instrument.clone();
        out.push(Out::Event(FeedEvent::Heartbeat { instrument, time }, false));
    }
}

#[cfg(test)]
mod tests;
