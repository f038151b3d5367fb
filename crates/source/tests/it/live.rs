//! Live feeds against simulated exchanges over real sockets: whatever goes wrong, every
//! trade is yielded once, or a gap says which are missing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use foretell_market::{Arrival, Clock as _, FeedEvent, Instrument, Timestamp, Trade};
use foretell_simulator as simulator;
use foretell_simulator::{
    Exchange, ExchangeSettings, Fault, FaultKind, FaultPlan, Pace, Seeded, Tape,
};
use foretell_source::live::{
    CoinbaseChannel, FeedCounts, FeedItem, FeedSpec, FeedTally, Finding, FindingKind, LiveSettings,
    Mark, Venue, follow,
};
use foretell_source::{HttpSettings, RateBudget};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc::{Receiver, channel};
use tokio::task::JoinSet;

/// Longer than any test may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// The four ways of speaking, by name.
const SPEAKERS: [&str; 4] = ["kraken", "binance", "coinbase", "matches"];

fn simulated(speaker: &str) -> simulator::Venue {
    match speaker {
        "kraken" => simulator::Venue::Kraken,
        "binance" => simulator::Venue::Binance,
        _ => simulator::Venue::Coinbase,
    }
}

/// The feed of a speaker at an exchange, asking as often as it likes.
fn feed_at(speaker: &str, exchange: &Exchange) -> Venue {
    let name = if speaker == "matches" { "coinbase" } else { speaker };
    let mut venue = Venue::named(name).unwrap().at(exchange.socket_url()).unwrap();
    let unlimited = RateBudget { requests: 1_000_000, per_millis: 1_000 };
    match &mut venue {
        Venue::Kraken(feed) => feed.budget = unlimited,
        Venue::Binance(feed) => feed.budget = unlimited,
        Venue::Coinbase(feed) => {
            feed.budget = unlimited;
            if speaker == "matches" {
                feed.channel = CoinbaseChannel::Matches;
            }
        }
    }
    venue
}

/// Settings for a network without distances: what takes seconds outside takes
/// milliseconds here.
fn hasty() -> LiveSettings {
    LiveSettings {
        heartbeat_millis: 20,
        delay_millis: 0,
        stale_millis: 400,
        ack_millis: 300,
        backoff_millis: 1,
        max_backoff_millis: 20,
        reorder_millis: 5,
        hold_millis: 20_000,
        retry_millis: 10,
        repair_millis: 60_000,
        http: HttpSettings { max_attempts: 1, ..HttpSettings::default() },
        ..LiveSettings::default()
    }
}

fn instruments() -> Vec<Instrument> {
    vec!["BTC-USD".parse().unwrap(), "ETH-USD".parse().unwrap()]
}

fn tape(seed: u64, seconds: u32) -> Tape {
    let start = Timestamp::from_secs(1_718_616_999);
    Tape::seeded(&Seeded { seed, instruments: instruments(), rate: 25.0, start, seconds })
}

async fn exchange(speaker: &str, tape: Tape, faults: FaultPlan) -> Exchange {
    let heartbeat = Duration::from_millis(20);
    let settings =
        ExchangeSettings { pace: Pace::Lockstep, faults, heartbeat, ..ExchangeSettings::default() };
    Exchange::open(simulated(speaker), tape, settings).await.unwrap()
}

/// The places just before an exchange's first trades.
fn beginning(exchange: &Exchange) -> BTreeMap<Instrument, Mark> {
    let mut marks = BTreeMap::new();
    for trade in exchange.trades() {
        let mark = Mark { id: trade.id.unwrap() - 1, time: trade.time };
        marks.entry(trade.instrument.clone()).or_insert(mark);
    }
    marks
}

/// A feed at work and what it has yielded.
struct Follower {
    items: Receiver<FeedItem>,
    tally: FeedTally,
    arrivals: Vec<Arrival>,
    findings: Vec<Finding>,
    _task: JoinSet<()>,
}

impl Follower {
    fn start(spec: FeedSpec, settings: LiveSettings, exchange: &Exchange) -> Self {
        Self::with_room(spec, settings, exchange, 64)
    }

    fn with_room(spec: FeedSpec, settings: LiveSettings, exchange: &Exchange, room: usize) -> Self {
        let (sender, items) = channel(room);
        let (tally, clock) = (FeedTally::default(), exchange.clock());
        let counted = tally.clone();
        let mut task = JoinSet::new();
        task.spawn(async move {
            follow(&spec, &settings, &clock, &counted, sender).await.unwrap();
        });
        Self { items, tally, arrivals: Vec::new(), findings: Vec::new(), _task: task }
    }

    /// From the beginning of an exchange.
    fn whole(speaker: &str, exchange: &Exchange, settings: LiveSettings) -> Self {
        let venue = feed_at(speaker, exchange);
        let spec = FeedSpec { venue, instruments: instruments(), after: beginning(exchange) };
        Self::start(spec, settings, exchange)
    }

    /// Takes what comes until it is enough.
    async fn until(&mut self, what: &str, enough: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !enough(self) {
                match self.items.recv().await {
                    Some(FeedItem::Arrival(arrival)) => self.arrivals.push(arrival),
                    Some(FeedItem::Finding(finding)) => self.findings.push(finding),
                    None => panic!("the feed ended"),
                }
            }
        };
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        let last = self.findings.iter().rev().take(5).collect::<Vec<_>>();
        assert!(
            waited.is_ok(),
            "{what}: {:?}, {:?}, {last:#?}",
            self.trades().len(),
            self.counts()
        );
    }

    fn counts(&self) -> FeedCounts {
        self.tally.counts()
    }

    fn trades(&self) -> Vec<&Trade> {
        let events = self.arrivals.iter().map(|arrival| &arrival.event);
        events
            .filter_map(|e| if let FeedEvent::Trade(trade) = e { Some(trade) } else { None })
            .collect()
    }

    fn gaps(&self) -> Vec<(&Instrument, Timestamp, Timestamp, &str)> {
        let mut gaps = Vec::new();
        for arrival in &self.arrivals {
            if let FeedEvent::Gap { instrument, from, to, reason } = &arrival.event {
                gaps.push((instrument, *from, *to, reason.as_str()));
            }
        }
        gaps
    }

    fn repairs(&self) -> Vec<(&Instrument, Timestamp, Timestamp)> {
        let mut repairs = Vec::new();
        for arrival in &self.arrivals {
            if let FeedEvent::Repaired { instrument, from, to } = &arrival.event {
                repairs.push((instrument, *from, *to));
            }
        }
        repairs
    }

    fn found(&self, kind: FindingKind) -> Vec<&Finding> {
        self.findings.iter().filter(|finding| finding.kind == kind).collect()
    }

    /// Every one of these trades came once and no other did, and those of an instrument
    /// came in order.
    fn has_exactly(&self, expected: &[Trade], what: &str) {
        for instrument in instruments() {
            let of = |trade: &&Trade| trade.instrument == instrument;
            let got: Vec<&Trade> = self.trades().into_iter().filter(of).collect();
            let wanted: Vec<&Trade> = expected.iter().filter(of).collect();
            assert_eq!(got.len(), wanted.len(), "{what}: {instrument}: {:#?}", self.findings);
            assert_eq!(got, wanted, "{what}: {instrument}");
        }
    }
}

/// What follows from any list of events: event time of heartbeats and arrival go forward.
fn is_orderly(arrivals: &[Arrival]) {
    assert!(arrivals.windows(2).all(|pair| pair[0].at <= pair[1].at));
    let mut reached: BTreeMap<&Instrument, Timestamp> = BTreeMap::new();
    for arrival in arrivals {
        match &arrival.event {
            FeedEvent::Heartbeat { instrument, time } => {
                let before = reached.insert(instrument, *time);
                assert!(
                    before.is_none_or(|before| before < *time),
                    "{instrument}: {before:?} {time}"
                );
            }
            FeedEvent::Trade(trade) if !arrival.backfilled => {
                let before = reached.entry(&trade.instrument).or_insert(trade.time);
                *before = trade.time.max(*before);
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn every_fault_of_every_venue_is_survived_without_losing_or_doubling_a_trade() {
    for speaker in SPEAKERS {
        let kinds = FaultKind::all().filter(|kind| *kind != FaultKind::Lose);
        for kind in kinds {
            let what = format!("{speaker}, {}", kind.name());
            let fault = match kind {
                FaultKind::Silence => Fault { kind, amount: 600 },
                _ => kind.usual(),
            };
            let mut plan = FaultPlan::new(0);
            // Silence takes its time: once is enough.
            let places: &[usize] =
                if kind == FaultKind::Silence { &[40] } else { &[1, 20, 21, 60, 149] };
            for place in places {
                plan = plan.at(*place, fault);
            }
            // Without a hole nothing would be asked for over HTTP.
            if kind == FaultKind::HttpDown {
                plan = plan.at(22, FaultKind::Skip.usual()).at(61, FaultKind::Drop.usual());
            }
            let exchange = exchange(speaker, tape(3, 4), plan).await;
            let mut follower = Follower::whole(speaker, &exchange, hasty());
            let all = exchange.trades().len();
            assert!(all > 150, "the tape is too short");
            follower.until(&what, |f| f.trades().len() >= all).await;
            follower.has_exactly(exchange.trades(), &what);
            is_orderly(&follower.arrivals);
            assert_eq!(follower.gaps(), [], "{what}");
            // The fault happened, and was told where it is one to tell.
            let expected = match kind {
                FaultKind::Drop | FaultKind::Close | FaultKind::MidFrame | FaultKind::Silence => {
                    Some(FindingKind::Disconnected)
                }
                FaultKind::Malformed => Some(FindingKind::Malformed),
                FaultKind::BadNumber => Some(FindingKind::BadNumber),
                FaultKind::BadTime => Some(FindingKind::BadTime),
                FaultKind::UnknownSymbol => Some(FindingKind::UnknownSymbol),
                FaultKind::HttpDown => Some(FindingKind::RepairFailed),
                _ => None,
            };
            if let Some(expected) = expected {
                let found = follower.found(expected);
                assert!(!found.is_empty(), "{what}: {:#?}", follower.findings);
                assert!(found.iter().all(|finding| !finding.detail.is_empty()));
            }
            let counts = follower.counts();
            match kind {
                FaultKind::Duplicate => assert!(counts.duplicates >= 1, "{what}: {counts:?}"),
                FaultKind::Skip | FaultKind::Drop => {
                    assert!(counts.backfilled >= 1, "{what}: {counts:?}");
                    assert!(!follower.repairs().is_empty(), "{what}");
                }
                _ => {}
            }
        }
    }
}

#[tokio::test]
async fn what_cannot_be_had_is_a_gap_that_names_it() {
    for speaker in SPEAKERS {
        let lose = |amount| Fault { kind: FaultKind::Lose, amount };
        let plan = FaultPlan::new(0).at(50, lose(1)).at(90, lose(5));
        let exchange = exchange(speaker, tape(4, 4), plan).await;
        let settings = LiveSettings { hold_millis: 100, ..hasty() };
        let mut follower = Follower::whole(speaker, &exchange, settings);
        let lost = exchange.lost();
        assert_eq!(lost.len(), 6);
        let rest = exchange.trades().len() - lost.len();
        follower.until(speaker, |f| f.trades().len() >= rest).await;
        let expected: Vec<Trade> =
            exchange.trades().iter().filter(|t| !lost.contains(t)).cloned().collect();
        follower.has_exactly(&expected, speaker);
        is_missing(&follower, &lost, &lost, speaker);
        assert_eq!(follower.repairs(), [], "{speaker}");
    }
}

/// Every trade of `told` lies in a gap of its instrument, and the gaps name the numbers of
/// these and of no trades but `lost` ones.
fn is_missing(follower: &Follower, told: &[Trade], lost: &[Trade], what: &str) {
    let gaps = follower.gaps();
    for trade in told {
        let within = |gap: &&(&Instrument, Timestamp, Timestamp, &str)| {
            *gap.0 == trade.instrument && (gap.1..gap.2).contains(&trade.time)
        };
        assert!(gaps.iter().any(|gap| within(&gap)), "{what}: {trade:?} is in none of {gaps:#?}");
    }
    // "trade 5 did not come", "trades 5 to 9 did not come", "3 of trades 5 to 9 …"
    let mut named: BTreeSet<(Instrument, i64)> = BTreeSet::new();
    for (instrument, .., reason) in &gaps {
        let words: Vec<&str> = reason.split(' ').collect();
        let number = |place: usize| words[place].parse::<i64>().unwrap();
        match words[0] {
            "trade" => {
                named.insert(((*instrument).clone(), number(1)));
            }
            "trades" => named.extend((number(1)..=number(3)).map(|id| ((*instrument).clone(), id))),
            _ => panic!("{what}: a gap that names nothing: {reason}"),
        }
    }
    let numbers = |trades: &[Trade]| -> BTreeSet<(Instrument, i64)> {
        trades.iter().map(|trade| (trade.instrument.clone(), trade.id.unwrap())).collect()
    };
    let (told, lost) = (numbers(told), numbers(lost));
    assert!(told.is_subset(&named) && named.is_subset(&lost), "{what}: {lost:?}: {gaps:#?}");
}

#[tokio::test]
async fn a_gap_that_is_repaired_later_says_so() {
    for speaker in SPEAKERS {
        let down = Fault { kind: FaultKind::HttpDown, amount: 12 };
        let plan = FaultPlan::new(0).at(70, down).at(71, FaultKind::Skip.usual());
        let exchange = exchange(speaker, tape(5, 4), plan).await;
        let settings = LiveSettings { hold_millis: 100, ..hasty() };
        let mut follower = Follower::whole(speaker, &exchange, settings);
        let all = exchange.trades().len();
        follower.until(speaker, |f| f.trades().len() >= all && !f.repairs().is_empty()).await;
        let (gaps, repairs) = (follower.gaps(), follower.repairs());
        assert!(!gaps.is_empty(), "{speaker}");
        for (instrument, from, to, reason) in &gaps {
            let same = repairs.iter().any(|repair| repair == &(*instrument, *from, *to));
            assert!(same, "{speaker}: {reason}: {repairs:?}");
            assert!(reason.contains("503"), "{reason}");
        }
        // Late, but once each.
        let mut got: Vec<&Trade> = follower.trades();
        got.sort_by_key(|trade| (trade.instrument.clone(), trade.id));
        let mut wanted: Vec<&Trade> = exchange.trades().iter().collect();
        wanted.sort_by_key(|trade| (trade.instrument.clone(), trade.id));
        assert_eq!(got, wanted, "{speaker}");
    }
}

#[tokio::test]
async fn a_long_outage_is_fetched_page_by_page() {
    for speaker in SPEAKERS {
        let away = Fault { kind: FaultKind::Drop, amount: 5_000 };
        let exchange = exchange(speaker, tape(6, 110), FaultPlan::new(0).at(100, away)).await;
        let mut follower = Follower::whole(speaker, &exchange, hasty());
        let all = exchange.trades().len();
        assert!(all > 5_200);
        follower.until(speaker, |f| f.trades().len() >= all).await;
        follower.has_exactly(exchange.trades(), speaker);
        assert!(follower.counts().backfilled >= 5_000, "{:?}", follower.counts());
        assert_eq!(follower.gaps(), [], "{speaker}");
    }
}

#[tokio::test]
async fn a_feed_goes_on_behind_what_is_stored() {
    for speaker in SPEAKERS {
        let exchange = exchange(speaker, tape(7, 8), FaultPlan::new(0)).await;
        let mut first = Follower::whole(speaker, &exchange, hasty());
        first.until(speaker, |f| f.trades().len() >= 100).await;
        let mut stored: Vec<Trade> = first.trades().into_iter().cloned().collect();
        let mut after = beginning(&exchange);
        for trade in &stored {
            let mark = Mark { id: trade.id.unwrap(), time: trade.time };
            after.insert(trade.instrument.clone(), mark);
        }
        // The process ends; meanwhile the world goes on.
        drop(first);
        exchange.play(40);
        let venue = feed_at(speaker, &exchange);
        let spec = FeedSpec { venue, instruments: instruments(), after };
        let mut second = Follower::start(spec, hasty(), &exchange);
        let rest = exchange.trades().len() - stored.len();
        second.until(speaker, |f| f.trades().len() >= rest).await;
        stored.extend(second.trades().into_iter().cloned());
        stored.sort_by_key(|trade| (trade.instrument.clone(), trade.id));
        let mut wanted = exchange.trades().to_vec();
        wanted.sort_by_key(|trade| (trade.instrument.clone(), trade.id));
        assert_eq!(stored, wanted, "{speaker}");
        assert_eq!(second.gaps(), [], "{speaker}");
        let from = second.repairs().iter().map(|(_, from, _)| *from).min();
        assert!(from.is_some(), "{speaker}: what was fetched is said to be whole");
    }
}

#[tokio::test]
async fn a_market_that_is_not_there_is_refused_by_name_and_the_others_go_on() {
    for speaker in SPEAKERS {
        let exchange = exchange(speaker, tape(8, 4), FaultPlan::new(0)).await;
        let nowhere: Instrument = "NO-WHERE".parse().unwrap();
        let mut all = instruments();
        all.insert(0, nowhere.clone());
        let venue = feed_at(speaker, &exchange);
        let spec = FeedSpec { venue, instruments: all, after: beginning(&exchange) };
        let mut follower = Follower::start(spec, hasty(), &exchange);
        let count = exchange.trades().len();
        follower
            .until(speaker, |f| {
                f.trades().len() >= count && !f.found(FindingKind::Refused).is_empty()
            })
            .await;
        follower.has_exactly(exchange.trades(), speaker);
        let refused = follower.found(FindingKind::Refused);
        assert!(refused.iter().all(|f| f.instrument.as_ref() == Some(&nowhere)), "{refused:#?}");
        // Nothing is claimed of it.
        let spoken = follower.arrivals.iter().any(|a| *a.event.instrument() == nowhere);
        assert!(!spoken, "{speaker}");
    }
}

#[tokio::test]
async fn a_consumer_that_does_not_take_loses_nothing() {
    for speaker in SPEAKERS {
        let plan = FaultPlan::new(0).at(300, FaultKind::Drop.usual());
        let exchange = exchange(speaker, tape(9, 20), plan).await;
        let venue = feed_at(speaker, &exchange);
        let spec = FeedSpec { venue, instruments: instruments(), after: beginning(&exchange) };
        // Room for one thing at a time, and little may be held back.
        let settings = LiveSettings { max_held: 8, ..hasty() };
        let mut follower = Follower::with_room(spec, settings, &exchange, 1);
        let all = exchange.trades().len();
        follower.until(speaker, |f| f.trades().len() >= all).await;
        follower.has_exactly(exchange.trades(), speaker);
    }
}

#[tokio::test]
async fn quiet_markets_are_kept_alive_by_heartbeats_and_silence_is_not() {
    let mut all = JoinSet::new();
    for speaker in SPEAKERS {
        all.spawn(quiet_market(speaker));
    }
    all.join_all().await;
}

/// ETH trades once while BTC goes on, by the machine's clock; for 700 ms nobody speaks.
async fn quiet_market(speaker: &'static str) {
    let mut trades = tape(10, 3).trades().to_vec();
    let eth = instruments()[1].clone();
    let only = trades.iter().find(|trade| trade.instrument == eth).unwrap().clone();
    trades.retain(|trade| trade.instrument != eth || *trade == only);
    let silence = Fault { kind: FaultKind::Silence, amount: 700 };
    let settings = ExchangeSettings {
        pace: Pace::Times(1.0),
        present: true,
        heartbeat: Duration::from_millis(20),
        faults: FaultPlan::new(0).at(30, silence),
        ..ExchangeSettings::default()
    };
    let exchange = Exchange::open(simulated(speaker), Tape::new(trades), settings).await.unwrap();
    let venue = feed_at(speaker, &exchange);
    let spec = FeedSpec { venue, instruments: instruments(), after: BTreeMap::new() };
    let settings = LiveSettings { delay_millis: 100, ..hasty() };
    let mut follower = Follower::start(spec, settings, &exchange);
    let clock = exchange.clock();
    let until = clock.now().plus_secs(4);
    follower.until(speaker, |_| clock.now() >= until).await;
    is_orderly(&follower.arrivals);
    let mut beats = Vec::new();
    for arrival in &follower.arrivals {
        let FeedEvent::Heartbeat { instrument, time } = &arrival.event else { continue };
        // Never ahead of what was heard, less the delay.
        assert!(time.micros() + 100_000 <= arrival.at.micros(), "{speaker}: {arrival:?}");
        if *instrument == eth {
            beats.push(arrival.at.micros());
        }
    }
    assert!(beats.len() >= 20, "{speaker}: {} heartbeats in three seconds", beats.len());
    // The connection was made anew, and no heartbeat was made up in the silence.
    assert!(!follower.found(FindingKind::Disconnected).is_empty(), "{speaker}");
    let longest = beats.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    assert!(longest >= 300_000, "{speaker}: heartbeats all through the silence ({longest} µs)");
}

#[tokio::test]
async fn an_address_where_nobody_is_is_tried_again_and_told() {
    let exchange = exchange("kraken", tape(1, 1), FaultPlan::new(0)).await;
    let venue = feed_at("kraken", &exchange);
    let spec = FeedSpec { venue, instruments: instruments(), after: BTreeMap::new() };
    let clock_of = &exchange;
    let mut follower = Follower::start(spec, hasty(), clock_of);
    drop(exchange);
    follower.until("closed", |f| f.found(FindingKind::Disconnected).len() >= 4).await;
    let told = follower.found(FindingKind::Disconnected);
    assert!(told.iter().all(|finding| finding.detail.contains("connecting again in")), "{told:#?}");
}

/// The one provider of cryptography is there, and what speaks no TLS is told.
#[tokio::test]
async fn a_secure_address_is_spoken_to_securely_or_not_at_all() {
    let exchange = exchange("kraken", tape(1, 1), FaultPlan::new(0)).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("wss://{}", listener.local_addr().unwrap()).parse().unwrap();
    let hello = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut first = [0u8; 3];
        stream.read_exact(&mut first).await.unwrap();
        stream.write_all(b"HTTP/1.1 400 No TLS here\r\n\r\n").await.unwrap();
        first
    });
    let venue = Venue::named("kraken").unwrap().at(url).unwrap();
    let spec = FeedSpec { venue, instruments: instruments(), after: BTreeMap::new() };
    let mut follower = Follower::start(spec, hasty(), &exchange);
    follower.until("no TLS", |f| !f.found(FindingKind::Disconnected).is_empty()).await;
    // A record of a TLS handshake, not a request in the open.
    assert_eq!(hello.await.unwrap()[..2], [0x16, 0x03]);
}

/// Scripts of anything that can go wrong, at any place.
fn scripts() -> impl Strategy<Value = Vec<(usize, Fault)>> {
    let kinds: Vec<FaultKind> = FaultKind::all().collect();
    let fault =
        (1usize..200, prop::sample::select(kinds), 0u64..6).prop_map(|(at, kind, amount)| {
            let amount = match kind {
                FaultKind::Silence => 450,
                FaultKind::Delay => amount * 10,
                FaultKind::HttpDown => amount,
                _ => amount + 1,
            };
            (at, Fault { kind, amount })
        });
    prop::collection::vec(fault, 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_script_of_faults_loses_and_doubles_nothing(
        speaker in prop::sample::select(SPEAKERS.to_vec()),
        script in scripts(),
        seed in 0u64..1_000,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let what = format!("{speaker}, {script:?}");
            let plan = script.iter().fold(FaultPlan::new(0), |plan, (at, fault)| plan.at(*at, *fault));
            let exchange = exchange(speaker, tape(seed, 5), plan).await;
            // Long enough for what can be had, short enough to wait for what cannot.
            let settings = LiveSettings { hold_millis: 1_500, ..hasty() };
            let mut follower = Follower::whole(speaker, &exchange, settings);
            let lost = exchange.lost();
            // The last trades of the tape: no number behind them says that they are missing.
            let unseen = |trade: &Trade| {
                let later = |t: &Trade| t.instrument == trade.instrument && t.id > trade.id;
                !exchange.trades().iter().any(|t| later(t) && !lost.contains(t))
            };
            let expected: Vec<Trade> =
                exchange.trades().iter().filter(|t| !lost.contains(t)).cloned().collect();
            follower.until(&what, |f| f.trades().len() >= expected.len()).await;
            follower.has_exactly(&expected, &what);
            let told: Vec<Trade> = lost.iter().filter(|trade| !unseen(trade)).cloned().collect();
            is_missing(&follower, &told, &lost, &what);
            is_orderly(&follower.arrivals);
        });
    }
}
