//! One feed's life: connect, subscribe, read, repair, connect again.
//!
//! Nothing here decides about trades: [`Line`] does. While missing trades are fetched, or
//! a connection is being made, everything else goes on. All that is yielded goes through
//! one bounded channel; when it is full the feed waits, reads nothing meanwhile, and what
//! the venue then drops is noticed and fetched like any other hole.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use foretell_market::{Arrival, Clock, FeedEvent, Instrument, Timestamp};
use futures::{SinkExt as _, StreamExt as _};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::USER_AGENT;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};
use url::Url;

use super::finding::{FeedItem, FindingKind, Trouble};
use super::line::{Line, Mark, Now, Out};
use super::protocol::{Limits, Said, Symbols, TradeFeed};
use super::repair::{Answer, Task, work};
use super::settings::{FeedSpec, LiveSettings};
use super::tally::FeedTally;
use crate::SourceError;
use crate::error::excerpt;
use crate::http::shown;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Answers of the HTTP side that may wait to be read.
const ANSWERS: usize = 4;

/// Nobody listens to the feed any more.
struct Unheard;

/// Follows live trades until nobody takes what it yields, for as long as that takes:
/// broken connections are made again and what was missed is fetched.
///
/// `items` is bounded by whoever made it. Give `spec.after` the last stored trade of each
/// instrument, and a feed that was stopped goes on without a hole.
///
/// # Errors
/// [`SourceError::Setting`] when there is nothing to follow or a setting makes no sense.
/// Troubles of venues and networks are findings instead.
pub async fn follow(
    spec: &FeedSpec,
    settings: &LiveSettings,
    clock: &dyn Clock,
    tally: &FeedTally,
    items: Sender<FeedItem>,
) -> Result<(), SourceError> {
    settings.check()?;
    let symbols = Symbols::of(spec.venue.feed(), &spec.instruments)?;
    // A line asks for one thing at a time, and is probed once a connection.
    let (tasks, work_on) = channel(spec.instruments.len() * 2 + 1);
    let (answer, answers) = channel(ANSWERS);
    // Ends with this function, whatever it is doing.
    let mut worker = JoinSet::new();
    worker.spawn(work(spec.venue.clone(), settings.http.clone(), work_on, answer));
    let lines = spec.instruments.iter().map(|instrument| {
        let mark = spec.after.get(instrument).copied();
        (instrument.clone(), Line::new(instrument.clone(), mark))
    });
    let mut session = Session {
        feed: spec.venue.feed(),
        symbols,
        settings,
        clock,
        tally,
        items,
        tasks,
        answers,
        lines: lines.collect(),
        out: Vec::new(),
        jitter: ChaCha12Rng::seed_from_u64(settings.jitter_seed),
        connected: false,
    };
    // Ends only when nobody listens, which is how it is asked to.
    let Unheard = session.live().await;
    Ok(())
}

struct Session<'a> {
    feed: &'a dyn TradeFeed,
    symbols: Symbols,
    settings: &'a LiveSettings,
    clock: &'a dyn Clock,
    tally: &'a FeedTally,
    items: Sender<FeedItem>,
    tasks: Sender<Task>,
    answers: Receiver<Answer>,
    lines: BTreeMap<Instrument, Line>,
    /// What the lines have said and nobody was told yet.
    out: Vec<Out>,
    jitter: ChaCha12Rng,
    /// Whether there is a connection.
    connected: bool,
}

/// What a connection knows of itself.
struct Connection {
    /// When anything came last; and the same by our clock.
    heard: Duration,
    alive: Timestamp,
    pinged: Duration,
    /// The number of the last message, where they are numbered.
    sequence: Option<u64>,
    /// Symbols that are neither acknowledged nor refused.
    pending: Vec<String>,
    /// When they were asked for.
    asked: Duration,
    /// Messages to send.
    to_send: Vec<String>,
}

impl Session<'_> {
    async fn live(&mut self) -> Unheard {
        let mut failures = 0u32;
        loop {
            let names: Vec<String> = self.symbols.iter().map(|(s, _)| s.to_owned()).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let url = self.feed.socket_url(&names);
            let connecting = connect(url.clone(), self.settings);
            let started = self.now().since;
            let end = match self.meanwhile(connecting).await {
                Ok(Ok(socket)) => {
                    self.tally.add(|c| &c.connections, 1);
                    self.connected = true;
                    match self.converse(socket, &names).await {
                        Ok(end) => end,
                        Err(unheard) => return unheard,
                    }
                }
                Ok(Err(problem)) => problem,
                Err(unheard) => return unheard,
            };
            self.connected = false;
            for line in self.lines.values_mut() {
                line.interrupted();
            }
            let lived = self.now().since.saturating_sub(started);
            if lived >= Duration::from_millis(self.settings.stable_millis) {
                failures = 0;
            }
            let wait = self.backoff(failures);
            failures = failures.saturating_add(1);
            let again = wait.as_millis();
            let detail = format!("{}: {end}; connecting again in {again} ms", shown(&url));
            self.out.push(Out::Trouble(Trouble::new(FindingKind::Disconnected, detail)));
            let pause = self.settings.http.pause.clone();
            if let Err(unheard) = self.meanwhile(pause.wait(wait)).await {
                return unheard;
            }
        }
    }

    fn now(&self) -> Now {
        Now { wall: self.clock.now(), since: self.settings.http.pause.now() }
    }

    fn limits(&self, now: Now) -> Limits {
        let future = i64::try_from(self.settings.future_millis).unwrap_or(i64::MAX);
        let latest = now.wall.micros().saturating_add(future.saturating_mul(1_000));
        Limits { earliest: self.settings.earliest, latest: Timestamp::from_micros(latest) }
    }

    /// Doubling from the first, between half and all of it by chance, so that many clients
    /// do not come back together.
    fn backoff(&mut self, failures: u32) -> Duration {
        let doubled = self
            .settings
            .backoff_millis
            .saturating_mul(1u64.checked_shl(failures).unwrap_or(u64::MAX));
        let longest = doubled.min(self.settings.max_backoff_millis) as f64;
        Duration::from_micros((longest * 1e3 * (0.5 + 0.5 * self.jitter.random::<f64>())) as u64)
    }

    /// Waits for something while repairs and deadlines go on without a connection.
    async fn meanwhile<T>(&mut self, what: impl Future<Output = T>) -> Result<T, Unheard> {
        let mut what = pin!(what);
        let pause = self.settings.http.pause.clone();
        loop {
            self.flush().await?;
            let listener = self.items.clone();
            tokio::select! {
                done = &mut what => return Ok(done),
                answer = self.answers.recv() => self.answered(answer),
                () = listener.closed() => return Err(Unheard),
                () = pause.wait(self.settings.tick()) => self.tick(None),
            }
        }
    }

    /// Talks until the connection ends, and says why it did.
    async fn converse(&mut self, socket: Socket, names: &[&str]) -> Result<String, Unheard> {
        let (mut to_venue, mut from_venue) = socket.split();
        let now = self.now();
        let mut connection = Connection {
            heard: now.since,
            alive: now.wall,
            pinged: now.since,
            sequence: None,
            pending: names.iter().map(|name| (*name).to_owned()).collect(),
            asked: now.since,
            to_send: self.feed.subscribe(names),
        };
        if connection.to_send.is_empty() {
            // The address was the request, and the handshake its acknowledgement, but for
            // markets of which we have seen nothing yet and which there may not be.
            connection.pending.clear();
            for line in self.lines.values_mut().filter(|line| line.has_begun()) {
                line.acknowledged(now);
            }
            self.probe();
        }
        let pause = self.settings.http.pause.clone();
        let mut tick = pause.wait(self.settings.tick());
        loop {
            // A slow consumer is not the venue's silence.
            let before = self.now().since;
            self.flush().await?;
            connection.heard += self.now().since.saturating_sub(before);
            for message in std::mem::take(&mut connection.to_send) {
                if let Err(error) = to_venue.send(Message::text(message)).await {
                    return Ok(in_words(&error));
                }
            }
            let listener = self.items.clone();
            tokio::select! {
                message = from_venue.next() => match message {
                    Some(Ok(message)) => {
                        if let Some(end) = self.heard(&message, &mut connection) {
                            return Ok(end);
                        }
                    }
                    Some(Err(error)) => return Ok(in_words(&error)),
                    None => return Ok("the connection was closed".to_owned()),
                },
                answer = self.answers.recv() => self.answered(answer),
                () = listener.closed() => return Err(Unheard),
                () = &mut tick => {
                    tick = pause.wait(self.settings.tick());
                    let now = self.now();
                    let silent = now.since.saturating_sub(connection.heard);
                    if silent >= Duration::from_millis(self.settings.stale_millis) {
                        return Ok(format!("nothing came for {} ms", silent.as_millis()));
                    }
                    self.tick(Some(connection.alive));
                    self.resubscribe(&mut connection, now);
                    // Silence is no sign of life, an answer to a ping is one.
                    let quiet = Duration::from_millis(self.settings.heartbeat_millis.max(1_000) / 2);
                    if silent >= quiet && now.since >= connection.pinged + quiet {
                        connection.pinged = now.since;
                        let ping = Message::Ping(bytes::Bytes::new());
                        if let Err(error) = to_venue.send(ping).await {
                            return Ok(in_words(&error));
                        }
                    }
                }
            }
        }
    }

    /// A message came; a text when the connection is over.
    fn heard(&mut self, message: &Message, connection: &mut Connection) -> Option<String> {
        self.tally.add(|c| &c.messages, 1);
        let now = self.now();
        let said = match message {
            Message::Text(text) => Some(text.as_bytes()),
            Message::Binary(bytes) => Some(bytes.as_ref()),
            Message::Close(frame) => {
                let why = frame.as_ref().map_or_else(String::new, |frame| {
                    format!(" ({} {})", frame.code, excerpt(&frame.reason, 80))
                });
                return Some(format!("the venue closed the connection{why}"));
            }
            _ => None,
        };
        // Where the venue talks by itself, a pong may come from something in front of it.
        if said.is_some() || !self.feed.keeps_talking() {
            (connection.heard, connection.alive) = (now.since, now.wall);
        }
        let bytes = said?;
        let limits = self.limits(now);
        // Trades of one message that are older than the subscription, by instrument.
        let mut before: BTreeMap<Instrument, Vec<foretell_market::Trade>> = BTreeMap::new();
        for said in self.feed.read(bytes, &self.symbols, &limits) {
            match said {
                Ok(Said::Trade(trade)) => {
                    if let Some(line) = self.lines.get_mut(&trade.instrument) {
                        // What is sent was subscribed to, whatever was said about it.
                        line.acknowledged(now);
                        line.trade(trade, false, now, self.settings, &mut self.out);
                    }
                }
                Ok(Said::Before(trade)) => {
                    before.entry(trade.instrument.clone()).or_default().push(trade);
                }
                Ok(Said::Latest(instrument, mark)) => {
                    if let Some(line) = self.lines.get_mut(&instrument) {
                        line.latest(mark, now);
                    }
                }
                Ok(Said::Acknowledged(instrument)) => {
                    let symbol = self.feed.symbol(&instrument);
                    connection.pending.retain(|pending| *pending != symbol);
                    if let Some(line) = self.lines.get_mut(&instrument) {
                        line.acknowledged(now);
                    }
                }
                Ok(Said::Refused(instrument, why)) => self.refused(&instrument, why, connection),
                Ok(Said::RefusedAll(why)) => {
                    let detail = format!("the exchange says: {why}");
                    self.out.push(Out::Trouble(Trouble::new(FindingKind::Notice, detail)));
                    // One by one, so that the others are not refused for one.
                    if connection.pending.len() > 1 {
                        let each = connection.pending.iter();
                        connection.to_send = each
                            .flat_map(|symbol| self.feed.subscribe(&[symbol.as_str()]))
                            .collect();
                        connection.asked = now.since;
                    }
                }
                Ok(Said::Sequence(number)) => self.numbered(number, connection, now),
                Ok(Said::Alive) => {}
                Err(trouble) => self.out.push(Out::Trouble(trouble)),
            }
        }
        for (instrument, trades) in before {
            let Some(line) = self.lines.get_mut(&instrument) else { continue };
            let mark = |t: &foretell_market::Trade| Some(Mark { id: t.id?, time: t.time });
            if line.has_begun() {
                for trade in trades {
                    line.trade(trade, true, now, self.settings, &mut self.out);
                }
            } else if let Some(latest) = trades.iter().filter_map(mark).max_by_key(|mark| mark.id) {
                line.latest(latest, now);
            }
        }
        None
    }

    /// The venue does not send an instrument; the others go on.
    fn refused(&mut self, instrument: &Instrument, why: String, connection: &mut Connection) {
        let symbol = self.feed.symbol(instrument);
        connection.pending.retain(|pending| *pending != symbol);
        self.out.push(Out::Trouble(Trouble::new(FindingKind::Refused, why).of(instrument)));
        if self.feed.all_or_nothing() && !connection.pending.is_empty() {
            let rest: Vec<&str> = connection.pending.iter().map(String::as_str).collect();
            connection.to_send = self.feed.subscribe(&rest);
            connection.asked = self.now().since;
        }
    }

    /// Messages are numbered: one that is missing may have held trades of any instrument.
    fn numbered(&mut self, number: u64, connection: &mut Connection, now: Now) {
        let last = connection.sequence;
        connection.sequence = last.max(Some(number));
        let Some(last) = last.filter(|last| number > last.saturating_add(1)) else { return };
        let detail = format!("messages {} to {} did not come", last + 1, number - 1);
        self.out.push(Out::Trouble(Trouble::new(FindingKind::Notice, detail)));
        for line in self.lines.values_mut() {
            line.unsure(now);
        }
    }

    /// Asks again for what was neither acknowledged nor refused.
    fn resubscribe(&mut self, connection: &mut Connection, now: Now) {
        let patience = Duration::from_millis(self.settings.ack_millis);
        if connection.pending.is_empty() || now.since < connection.asked + patience {
            return;
        }
        connection.asked = now.since;
        for symbol in &connection.pending {
            if let Ok(instrument) = self.symbols.instrument(symbol) {
                let detail = format!("`{symbol}` was not acknowledged; asking again");
                let trouble = Trouble::new(FindingKind::Refused, detail).of(instrument);
                self.out.push(Out::Trouble(trouble));
            }
        }
        let each = connection.pending.iter();
        connection.to_send =
            each.flat_map(|symbol| self.feed.subscribe(&[symbol.as_str()])).collect();
    }

    /// Where the socket does not say that there is no such market, asks over HTTP.
    fn probe(&mut self) {
        for line in self.lines.values().filter(|line| !line.has_begun()) {
            if self.feed.probe_url(line.instrument()).is_some() {
                // A full queue has this very question in it from the connection before.
                let _ = self.tasks.try_send(Task::Probe(line.instrument().clone()));
            }
        }
    }

    /// The HTTP side found something out.
    fn answered(&mut self, answer: Option<Answer>) {
        let now = self.now();
        let limits = self.limits(now);
        match answer {
            Some(Answer::Trades(instrument, trades)) => {
                let Some(line) = self.lines.get_mut(&instrument) else { return };
                for raw in trades {
                    match raw.believed(&instrument, &limits) {
                        Ok(trade) => {
                            line.trade(trade, true, now, self.settings, &mut self.out);
                        }
                        Err(trouble) => self.out.push(Out::Trouble(trouble)),
                    }
                }
            }
            Some(Answer::Ended(instrument, wanted, problem)) => {
                if let Some(problem) = &problem {
                    let trouble = Trouble::new(FindingKind::RepairFailed, problem);
                    self.out.push(Out::Trouble(trouble.of(&instrument)));
                }
                if let Some(line) = self.lines.get_mut(&instrument) {
                    line.asked(wanted, problem, now, self.settings, &mut self.out);
                }
            }
            Some(Answer::Market(instrument)) => {
                if let (true, Some(line)) = (self.connected, self.lines.get_mut(&instrument)) {
                    line.acknowledged(now);
                }
            }
            Some(Answer::Unanswered(instrument, why)) => {
                let detail = format!("whether there is such a market is not known: {why}");
                let trouble = Trouble::new(FindingKind::RepairFailed, detail).of(&instrument);
                self.out.push(Out::Trouble(trouble));
            }
            Some(Answer::NoMarket(instrument, why)) => {
                self.out
                    .push(Out::Trouble(Trouble::new(FindingKind::Refused, why).of(&instrument)));
                if let Some(line) = self.lines.get_mut(&instrument) {
                    line.interrupted();
                }
            }
            // The worker lives as long as its tasks can be sent.
            None => {}
        }
        self.ask();
    }

    fn tick(&mut self, alive: Option<Timestamp>) {
        let now = self.now();
        for line in self.lines.values_mut() {
            line.tick(alive.filter(|_| line.is_live()), now, self.settings, &mut self.out);
        }
        self.ask();
    }

    /// Hands the lines' questions to the HTTP side.
    fn ask(&mut self) {
        let now = self.now();
        for (instrument, line) in &mut self.lines {
            if self.tasks.capacity() == 0 {
                return;
            }
            if let Some(wanted) = line.ask(now, self.settings) {
                self.tally.add(|c| &c.requests, 1);
                // There is room: nobody else sends.
                let _ = self.tasks.try_send(Task::Fetch(instrument.clone(), wanted));
            }
        }
    }

    /// Tells whoever listens what there is to tell, and waits if they are slow.
    async fn flush(&mut self) -> Result<(), Unheard> {
        for out in std::mem::take(&mut self.out) {
            let item = match out {
                Out::Event(event, backfilled) => {
                    self.count(&event, backfilled);
                    FeedItem::Arrival(Arrival { event, at: self.clock.now(), backfilled })
                }
                Out::Trouble(trouble) => {
                    self.tally.add(|c| &c.findings, 1);
                    let finding = trouble.found(self.clock.now(), self.feed.venue());
                    tracing::warn!(kind = finding.kind.name(), "{finding}");
                    FeedItem::Finding(finding)
                }
                Out::Duplicate => {
                    self.tally.add(|c| &c.duplicates, 1);
                    continue;
                }
                Out::LetGo => {
                    self.tally.add(|c| &c.let_go, 1);
                    continue;
                }
            };
            self.items.send(item).await.map_err(|_| Unheard)?;
        }
        Ok(())
    }

    fn count(&self, event: &FeedEvent, backfilled: bool) {
        match event {
            FeedEvent::Trade(_) => {
                self.tally.add(|c| &c.trades, 1);
                self.tally.add(|c| &c.backfilled, u64::from(backfilled));
            }
            FeedEvent::Heartbeat { .. } => self.tally.add(|c| &c.heartbeats, 1),
            FeedEvent::Gap { .. } => self.tally.add(|c| &c.gaps, 1),
            FeedEvent::Repaired { .. } => self.tally.add(|c| &c.repaired, 1),
            FeedEvent::Renumbered { .. } => self.tally.add(|c| &c.renumbered, 1),
        }
    }
}

/// A socket at an address, TLS and handshake done; or why there is none.
async fn connect(url: Url, settings: &LiveSettings) -> Result<Socket, String> {
    let mut request =
        url.as_str().into_client_request().map_err(|error| format!("no address: {error}"))?;
    if let Ok(agent) = HeaderValue::from_str(&settings.http.user_agent) {
        request.headers_mut().insert(USER_AGENT, agent);
    }
    let limit = Some(settings.max_message_bytes);
    let config = WebSocketConfig::default().max_message_size(limit).max_frame_size(limit);
    let patience = Duration::from_millis(settings.connect_millis.max(1));
    let connecting = connect_async_with_config(request, Some(config), true);
    match tokio::time::timeout(patience, connecting).await {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(error)) => Err(format!("cannot connect ({})", in_words(&error))),
        Err(_) => Err(format!("no connection within {} ms", patience.as_millis())),
    }
}

/// What broke, on one short line.
fn in_words(error: &tungstenite::Error) -> String {
    excerpt(&error.to_string(), 120)
}
