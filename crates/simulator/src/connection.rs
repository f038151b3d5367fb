//! One socket: what was agreed on is sent in the order of the tape, but for its faults.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, sleep_until};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, frame::coding::CloseCode};

use foretell_market::{Clock as _, Timestamp, Trade};

use crate::exchange::{Pace, Shared};
use crate::fault::FaultKind;
use crate::protocol::{Agreed, Question};

type Socket = WebSocketStream<TcpStream>;

/// The connection is over.
struct Over;

/// One connection's state.
struct Talk<'a> {
    socket: Socket,
    shared: &'a Shared,
    agreed: Agreed,
    /// The place on the tape that is sent next.
    next: usize,
    /// Trades before this place are not sent.
    skip_to: usize,
    /// Messages that wait for a place on the tape.
    late: Vec<(usize, String)>,
}

/// Talks until the connection ends.
pub(crate) async fn converse(stream: TcpStream, target: &Question, shared: &Shared) {
    // Small messages at once, as exchanges send them.
    let _ = stream.set_nodelay(true);
    let socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
    let next = shared.market().played();
    let agreed = Agreed::default();
    let mut talk = Talk { socket, shared, agreed, next, skip_to: 0, late: Vec::new() };
    // Whoever went away is not told.
    let _ = talk.run(target).await;
}

impl Talk<'_> {
    async fn run(&mut self, target: &Question) -> Result<(), Over> {
        let (market, protocol) = (self.shared.market(), self.shared.protocol);
        for message in protocol.greet(target, &mut self.agreed, market) {
            self.send(message).await?;
        }
        self.begin();
        let settings = &self.shared.settings;
        let every = settings.heartbeat.max(Duration::from_millis(1));
        let mut beat = interval_at(Instant::now() + every, every);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // A century is never.
        let patience = settings.drop_every.unwrap_or(Duration::from_secs(3_200_000_000));
        let end = Instant::now() + patience;
        let mut played = market.listen();
        loop {
            let (next, may_play) = (self.next, self.may_play());
            tokio::select! {
                biased;
                () = sleep_until(end), if settings.drop_every.is_some() => return Err(Over),
                message = self.socket.next() => match message {
                    Some(Ok(Message::Text(text))) => self.hear(text.as_str()).await?,
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return Err(Over),
                    Some(Ok(_)) => self.socket.flush().await.map_err(|_| Over)?,
                },
                _ = beat.tick() => {
                    self.send_late(usize::MAX).await?;
                    let now = self.shared.clock.now();
                    let market = self.shared.market();
                    for message in protocol.beat(&mut self.agreed, market, self.next, now) {
                        self.send(message).await?;
                    }
                }
                // Always ready when there is something to send.
                changed = wait_for_trade(&mut played, next, may_play) => {
                    if !changed {
                        return Err(Over);
                    }
                    if self.next >= market.played() {
                        market.play_to(self.next + 1);
                    }
                    self.trade().await?;
                }
            }
        }
    }

    /// Whether this connection makes the next trade happen.
    fn may_play(&self) -> bool {
        let more = self.next < self.shared.market().trades().len();
        self.shared.settings.pace == Pace::Lockstep && more && !self.agreed.subscribed.is_empty()
    }

    /// What was said before anything was agreed on is not sent.
    fn begin(&mut self) {
        if !self.agreed.subscribed.is_empty() {
            self.next = self.shared.market().played();
            self.shared.subscribed();
        }
    }

    async fn hear(&mut self, text: &str) -> Result<(), Over> {
        let first = self.agreed.subscribed.is_empty();
        let (market, now) = (self.shared.market(), self.shared.clock.now());
        let answers = self.shared.protocol.hear(text, &mut self.agreed, market, now);
        if first {
            self.begin();
        }
        for message in answers {
            self.send(message).await?;
        }
        Ok(())
    }

    async fn send(&mut self, message: String) -> Result<(), Over> {
        self.socket.send(Message::text(message)).await.map_err(|_| Over)
    }

    async fn send_late(&mut self, upto: usize) -> Result<(), Over> {
        while let Some(due) = self.late.iter().position(|(place, _)| *place <= upto) {
            let (_, message) = self.late.remove(due);
            self.send(message).await?;
        }
        Ok(())
    }

    /// Sends the next trade of the tape, or what its faults make of it.
    async fn trade(&mut self) -> Result<(), Over> {
        let place = self.next;
        self.next += 1;
        let market = self.shared.market();
        let trade = &market.trades()[place];
        if !self.agreed.subscribed.contains(&trade.instrument) {
            return Ok(());
        }
        let mut copies = 1u64;
        let mut wait_for = None;
        let mut message = self.shared.protocol.trade(trade, &mut self.agreed);
        for fault in market.befall(place) {
            let amount = usize::try_from(fault.amount).unwrap_or(usize::MAX);
            let pause = Duration::from_millis(fault.amount);
            match fault.kind {
                FaultKind::Drop => {
                    self.away(fault.amount);
                    return Err(Over);
                }
                FaultKind::Close => {
                    self.away(fault.amount);
                    let reason = "simulated".into();
                    let frame = CloseFrame { code: CloseCode::Restart, reason };
                    let _ = self.socket.close(Some(frame)).await;
                    return Err(Over);
                }
                FaultKind::MidFrame => {
                    self.away(fault.amount);
                    self.half(&message).await;
                    return Err(Over);
                }
                FaultKind::Duplicate => copies += fault.amount,
                FaultKind::Reorder => wait_for = Some(place.saturating_add(amount)),
                FaultKind::Delay => sleep(pause).await,
                // Nothing is read meanwhile, so no ping is answered.
                FaultKind::Silence => sleep(pause).await,
                FaultKind::Malformed => message.truncate(message.len() / 2),
                FaultKind::BadNumber => message = self.bad_number(trade, place),
                FaultKind::BadTime => message = self.bad_time(trade, place),
                FaultKind::UnknownSymbol => {
                    let instrument = "NOBODY-ASKED".parse().map_err(|_| Over)?;
                    let stranger = Trade { instrument, ..trade.clone() };
                    let message = self.shared.protocol.trade(&stranger, &mut self.agreed);
                    self.send(message).await?;
                }
                FaultKind::Skip | FaultKind::Lose => {
                    self.skip_to = self.skip_to.max(place.saturating_add(amount));
                }
                FaultKind::HttpDown => {
                    let down = &market.http_down;
                    down.fetch_add(fault.amount, std::sync::atomic::Ordering::SeqCst);
                }
            }
        }
        if place < self.skip_to || market.is_lost(place) {
            return Ok(());
        }
        match wait_for {
            Some(until) => self.late.push((until, message)),
            None => {
                for _ in 0..copies {
                    self.send(message.clone()).await?;
                }
            }
        }
        self.send_late(place).await
    }

    /// So many trades happen while nobody is connected; where the tape has its own time,
    /// that decides.
    fn away(&self, trades: u64) {
        if self.shared.settings.pace == Pace::Lockstep {
            self.shared.market().play(trades);
        }
    }

    /// The header of a whole frame and half of what it announces.
    async fn half(&mut self, message: &str) {
        let _ = self.socket.flush().await;
        let bytes = message.as_bytes();
        let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        let mut frame = vec![0x81];
        match length {
            0..=125 => frame.push(length as u8),
            _ => {
                frame.push(126);
                frame.extend(length.to_be_bytes());
            }
        }
        frame.extend(&bytes[..bytes.len() / 2]);
        let _ = self.socket.get_mut().write_all(&frame).await;
    }

    fn bad_number(&mut self, trade: &Trade, place: usize) -> String {
        const PRICES: [&str; 4] = ["NaN", "-1", "0", "1e999"];
        self.shared.protocol.trade_with_price(trade, PRICES[place % 4], &mut self.agreed)
    }

    fn bad_time(&mut self, trade: &Trade, place: usize) -> String {
        let time = match place % 2 {
            0 => Timestamp::from_secs(0),
            _ => trade.time.plus_secs(400 * 86_400),
        };
        let trade = Trade { time, ..trade.clone() };
        self.shared.protocol.trade(&trade, &mut self.agreed)
    }
}

/// Waits until the tape has come past a place, or does not wait at all; false when the
/// exchange is closed.
async fn wait_for_trade(
    played: &mut tokio::sync::watch::Receiver<usize>,
    place: usize,
    at_once: bool,
) -> bool {
    at_once || played.wait_for(|played| *played > place).await.is_ok()
}
