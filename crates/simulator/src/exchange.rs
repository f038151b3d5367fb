//! The exchange as a whole: a port, a tape that is played, and connections.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use foretell_market::{Clock, Timestamp, Trade};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;
use url::Url;

use crate::connection::converse;
use crate::fault::FaultPlan;
use crate::http::{accept, answer, read_head};
use crate::market::Market;
use crate::protocol::{Protocol, Venue};
use crate::tape::Tape;

/// How fast the tape is played.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// So many seconds of the tape in one of ours.
    Times(f64),
    /// As fast as the connections take it: the next trade happens when everybody who is
    /// connected has the one before. While nobody is, nothing happens but what a fault
    /// says. What is sent then depends on the tape and the faults alone.
    Lockstep,
}

/// How an exchange behaves.
#[derive(Debug, Clone)]
pub struct ExchangeSettings {
    /// Its port on the loopback; 0 is any free one.
    pub port: u16,
    /// How fast the tape is played. It starts with the first subscription.
    pub pace: Pace,
    /// Whether times are moved so that trades happen as they are played, by the machine's
    /// clock. Without it, and in lockstep, they keep the times of the tape.
    pub present: bool,
    /// What goes wrong.
    pub faults: FaultPlan,
    /// Every connection is dropped after so long.
    pub drop_every: Option<Duration>,
    /// How often signs of life are sent.
    pub heartbeat: Duration,
}

impl Default for ExchangeSettings {
    fn default() -> Self {
        Self {
            port: 0,
            pace: Pace::Times(1.0),
            present: false,
            faults: FaultPlan::default(),
            drop_every: None,
            heartbeat: Duration::from_secs(1),
        }
    }
}

/// Why an exchange does not open.
#[derive(Debug, thiserror::Error)]
pub enum SimulatorError {
    /// There is nothing to play.
    #[error("the tape has no trades")]
    Empty,
    /// The port cannot be listened on.
    #[error("cannot listen on 127.0.0.1:{port}: {error}; choose another port, or 0 for any")]
    Port {
        /// The port that was asked for.
        port: u16,
        /// What the system said.
        error: std::io::Error,
    },
}

/// Tells an exchange's own time.
#[derive(Debug, Clone)]
pub struct ExchangeClock {
    market: Arc<Market>,
    start: Arc<std::sync::OnceLock<Instant>>,
    pace: Pace,
    present: bool,
}

impl Clock for ExchangeClock {
    fn now(&self) -> Timestamp {
        if self.present && self.pace != Pace::Lockstep {
            return machine_time();
        }
        let first = self.market.trades().first().map_or(Timestamp::from_secs(0), |t| t.time);
        match (self.pace, self.start.get()) {
            (Pace::Times(speed), Some(start)) => {
                let micros = start.elapsed().as_micros() as f64 * speed;
                Timestamp::from_micros(first.micros() + micros as i64)
            }
            (Pace::Times(_), None) => first,
            (Pace::Lockstep, _) => self.market.time(),
        }
    }
}

fn machine_time() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// An exchange that is open until it is dropped.
#[derive(Debug)]
pub struct Exchange {
    venue: Venue,
    address: SocketAddr,
    market: Arc<Market>,
    clock: ExchangeClock,
    // Ends with the exchange.
    _listening: JoinSet<()>,
}

impl Exchange {
    /// Opens on the loopback.
    ///
    /// # Errors
    /// When there are no trades or the port is taken.
    pub async fn open(
        venue: Venue,
        tape: Tape,
        settings: ExchangeSettings,
    ) -> Result<Self, SimulatorError> {
        if tape.trades().is_empty() {
            return Err(SimulatorError::Empty);
        }
        let port = settings.port;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
        let bound = listener.and_then(|listener| Ok((listener.local_addr()?, listener)));
        let (address, listener) = bound.map_err(|error| SimulatorError::Port { port, error })?;
        let market =
            Market::new(tape.rounded(venue.protocol().resolution()), settings.faults.clone());
        let market = Arc::new(market);
        let (pace, present) = (settings.pace, settings.present);
        let start = Arc::new(std::sync::OnceLock::new());
        let clock = ExchangeClock { market: Arc::clone(&market), start, pace, present };
        let mut listening = JoinSet::new();
        if let Pace::Times(speed) = pace {
            // Trades that were moved to the present are played by their own times.
            listening.spawn(play(clock.clone(), if present { 1.0 } else { speed }));
        }
        let shared =
            Arc::new(Shared { settings, clock: clock.clone(), protocol: venue.protocol() });
        listening.spawn(listen(listener, shared));
        Ok(Self { venue, address, market, clock, _listening: listening })
    }

    /// Where its sockets are (`ws://`).
    pub fn socket_url(&self) -> Url {
        let text = format!("ws://{}{}", self.address, self.venue.socket_path());
        Url::parse(&text).expect("an address and a constant path")
    }

    /// Where its HTTP interface is.
    pub fn http_url(&self) -> Url {
        Url::parse(&format!("http://{}", self.address)).expect("an address")
    }

    /// Its own time: that of a feed in front of it.
    pub fn clock(&self) -> ExchangeClock {
        self.clock.clone()
    }

    /// Every trade that happens, as the venue tells it; moved to the present only once the
    /// tape has started.
    pub fn trades(&self) -> &[Trade] {
        self.market.trades()
    }

    /// The trades that it neither sends nor has over HTTP.
    pub fn lost(&self) -> Vec<Trade> {
        let trades = self.market.trades().iter().enumerate();
        trades.filter(|(place, _)| self.market.is_lost(*place)).map(|(_, t)| t.clone()).collect()
    }

    /// How many trades have happened.
    pub fn played(&self) -> usize {
        self.market.played()
    }

    /// So many more happen, whoever is there.
    pub fn play(&self, more: u64) {
        self.market.play(more);
    }

    /// How many sockets were opened so far.
    pub fn connections(&self) -> u64 {
        self.market.connections.load(Ordering::SeqCst)
    }

    /// How many questions were asked over HTTP so far.
    pub fn requests(&self) -> u64 {
        self.market.requests.load(Ordering::SeqCst)
    }
}

/// What every connection is given.
pub(crate) struct Shared {
    pub(crate) settings: ExchangeSettings,
    pub(crate) clock: ExchangeClock,
    pub(crate) protocol: &'static dyn Protocol,
}

impl Shared {
    pub(crate) fn market(&self) -> &Market {
        &self.clock.market
    }

    /// Somebody is there: the tape starts.
    pub(crate) fn subscribed(&self) {
        if let (true, Pace::Times(speed)) = (self.settings.present, self.settings.pace) {
            self.market().begin(machine_time(), speed, self.protocol.resolution());
        }
        self.clock.start.get_or_init(Instant::now);
        // Wakes the player.
        self.market().play(0);
    }
}

async fn listen(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((mut stream, _)) = accepted else { continue };
                let shared = Arc::clone(&shared);
                connections.spawn(async move {
                    let Some(head) = read_head(&mut stream).await else { return };
                    let market = shared.market();
                    if head.is_socket() {
                        market.connections.fetch_add(1, Ordering::SeqCst);
                        if accept(&mut stream, &head).await.is_ok() {
                            converse(stream, &head.question, &shared).await;
                        }
                    } else {
                        market.requests.fetch_add(1, Ordering::SeqCst);
                        // Whoever does not wait for the answer does not need it.
                        let _ = answer(&mut stream, &head, market, shared.protocol).await;
                    }
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Plays the tape by its own times.
async fn play(clock: ExchangeClock, speed: f64) {
    let market = &clock.market;
    let mut changed = market.listen();
    while clock.start.get().is_none() {
        if changed.changed().await.is_err() {
            return;
        }
    }
    let Some(start) = clock.start.get().copied() else { return };
    let trades = market.trades();
    let first = trades[0].time.micros();
    let due = |place: usize| {
        let micros = (trades[place].time.micros() - first) as f64 / speed;
        start + Duration::from_micros(micros.max(0.0) as u64)
    };
    let mut next = 0;
    while next < trades.len() {
        tokio::time::sleep_until(due(next)).await;
        let now = Instant::now();
        while next < trades.len() && due(next) <= now {
            next += 1;
        }
        market.play_to(next);
    }
}
