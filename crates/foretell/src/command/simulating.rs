//! `simulate`: an exchange on this machine.

use std::fs::File;
use std::io::BufReader;
use std::time::Duration;

use foretell_market::{Instrument, Timestamp};
use foretell_platform::{PlatformError, wording};
use foretell_simulator::{
    Exchange, ExchangeSettings, FaultPlan, Pace, Seeded, SimulatorError, Tape, Venue,
};

use super::Session;
use super::serving::until_stopped;
use crate::arguments::{SimulateArguments, Speed};
use crate::output::{say, say_json};

/// When a tape by chance begins that keeps its times.
const BEGINNING: Timestamp = Timestamp::from_secs(1_704_067_200);

pub(super) async fn simulate(s: &Session, args: SimulateArguments) -> Result<(), PlatformError> {
    let venue = args.venue.venue();
    let tape = tape(&args)?;
    let plan = args
        .fault
        .iter()
        .fold(FaultPlan::new(args.seed), |plan, rate| plan.by_chance(rate.fault, rate.probability));
    let faults = args.at.iter().fold(plan, |plan, at| plan.at(at.trade, at.fault));
    let (pace, present) = match args.speed {
        Speed::Times(times) => (Pace::Times(times), !args.keep_times),
        // What happens as fast as it is taken has no time of its own.
        Speed::Max => (Pace::Lockstep, false),
    };
    let seconds = |interval: foretell_market::Interval| {
        Duration::from_secs(u64::try_from(interval.secs()).unwrap_or(u64::MAX))
    };
    let settings = ExchangeSettings {
        port: args.port,
        pace,
        present,
        faults,
        drop_every: args.drop_every.map(seconds),
        ..ExchangeSettings::default()
    };
    let (count, instruments) = (tape.trades().len(), tape.instruments());
    let exchange = Exchange::open(venue, tape, settings).await.map_err(|error| {
        let hint = match &error {
            SimulatorError::Empty => "raise --rate or --length, or name a file with trades",
            SimulatorError::Port { .. } => "",
        };
        PlatformError::Usage { message: error.to_string(), hint: hint.to_owned() }
    })?;
    tell(s, &args, venue, &exchange, count, &instruments);
    until_stopped(s).await;
    if !s.json {
        let (played, sockets) = (exchange.played() as u64, exchange.connections());
        let (played, asked) = (wording::thousands(played), exchange.requests());
        say(&format!(
            " ended      {played} trades played, {sockets} sockets, {asked} questions over HTTP"
        ));
    }
    Ok(())
}

fn tape(args: &SimulateArguments) -> Result<Tape, PlatformError> {
    let Some(path) = &args.trades else {
        let (seed, instruments) = (args.seed, args.symbols.clone());
        let seconds = u32::try_from(args.length.secs()).unwrap_or(u32::MAX);
        if !(args.rate > 0.0 && args.rate * f64::from(seconds) <= 1e7) {
            return Err(PlatformError::Usage {
                message: format!("--rate {} for {} is no tape", args.rate, args.length),
                hint: "a tape holds up to ten million trades of a market".to_owned(),
            });
        }
        let start = BEGINNING;
        return Ok(Tape::seeded(&Seeded { seed, instruments, rate: args.rate, start, seconds }));
    };
    let file =
        File::open(path).map_err(|source| PlatformError::Read { path: path.clone(), source })?;
    let Some(market) = args.symbols.first() else {
        return Ok(Tape::new(Vec::new()));
    };
    Tape::read_csv(BufReader::new(file), market)
        .map_err(|error| PlatformError::Table { path: path.clone(), message: error.to_string() })
}

fn tell(
    s: &Session,
    args: &SimulateArguments,
    venue: Venue,
    exchange: &Exchange,
    count: usize,
    instruments: &[Instrument],
) {
    let (socket, http) = (exchange.socket_url(), exchange.http_url());
    if s.json {
        say_json(&serde_json::json!({
            "venue": venue.name(),
            "socket_url": socket.as_str(),
            "http_url": http.as_str(),
            "trades": count,
            "instruments": instruments,
        }));
        return;
    }
    let names: Vec<String> = instruments.iter().map(ToString::to_string).collect();
    let count = wording::thousands(count as u64);
    say(&format!(" simulating {}; the tape starts with the first subscription", venue.name()));
    say(&format!(" socket     {socket}"));
    say(&format!(" http       {http}"));
    say(&format!(" trades     {count} of {}", names.join(", ")));
    let time = match (args.speed, args.keep_times) {
        (Speed::Max, _) => "as fast as they are taken, with the times of the tape".to_owned(),
        (Speed::Times(times), true) => format!("{times} times as fast, with the times of the tape"),
        (Speed::Times(times), false) => {
            format!("{times} times as fast, with the times of the present")
        }
    };
    say(&format!(" played     {time}"));
    let faults = args.fault.len() + args.at.len() + usize::from(args.drop_every.is_some());
    if faults > 0 {
        say(&format!(" faults     {faults} kinds, as declared"));
    }
    let mut question = http;
    let name = names.first().map_or("", String::as_str).replace('-', "");
    match venue {
        Venue::Kraken => {
            question.set_path("/0/public/Trades");
            let pair = name.replace("BTC", "XBT").replace("DOGE", "XDG");
            question.set_query(Some(&format!("pair={pair}&since=0")));
        }
        Venue::Binance => {
            question.set_path("/api/v3/trades");
            question.set_query(Some(&format!("symbol={name}")));
        }
        Venue::Coinbase => {
            question.set_path(&format!(
                "/products/{}/trades",
                names.first().map_or("", String::as_str)
            ));
        }
    }
    say(&format!(" ask        curl '{question}'"));
    say("            Ctrl-C ends it");
}
