//! Arguments of `simulate`.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use foretell_market::{Instrument, Interval};
use foretell_simulator::{Fault, Venue};

pub(super) const SIMULATE_HELP: &str = "\
Examples:
  Two markets by chance, 50 trades a second each, ten times as fast as that:
    foretell simulate kraken --symbols BTC-USD,ETH-USD --rate 50 --speed 10 --port 9300
  Trades of a file (time,id,price,quantity,side; `instrument` for several markets):
    foretell simulate binance --trades trades.csv --symbols BTC-USDT
  A bad day: every connection ends after half a minute, one trade in a thousand breaks it,
  one in a hundred comes twice, and from trade 500 on three are sent to nobody:
    foretell simulate coinbase --drop-every 30s --fault drop=0.001 --fault duplicate=0.01 \\
      --at 500:skip:3

Faults (after the colon what their amount is, and its usual value):
  drop:3 close:3 mid-frame:3   the connection ends (with --speed max so many trades pass)
  duplicate:1 reorder:2        sent so often again; sent behind so many later ones
  delay:20 silence:1000        milliseconds; in silence pings are not answered either
  malformed bad-number bad-time unknown-symbol
  skip:2                       so many trades are not sent; HTTP has them
  lose:2                       so many trades are neither sent nor has HTTP them
  http-down:2                  the next so many questions over HTTP fail

Equal seeds, trades and faults are equal sessions. It listens on this machine alone.";

/// Whose protocols are spoken.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum VenueArgument {
    /// WebSocket v2, channel `trade`; /0/public/Trades.
    Kraken,
    /// Combined streams <symbol>@trade; /api/v3/historicalTrades.
    Binance,
    /// market_trades and matches; /products/<product>/trades.
    Coinbase,
}

impl VenueArgument {
    pub(crate) fn venue(self) -> Venue {
        match self {
            Self::Kraken => Venue::Kraken,
            Self::Binance => Venue::Binance,
            Self::Coinbase => Venue::Coinbase,
        }
    }
}

/// How fast the tape is played.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Speed {
    /// So many times as fast as the tape says.
    Times(f64),
    /// As fast as it is taken.
    Max,
}

impl FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Self::Max);
        }
        let times = text.parse::<f64>().ok().filter(|times| times.is_finite() && *times > 0.0);
        times
            .map(Self::Times)
            .ok_or_else(|| "write a number above 0, such as 10, or max".to_owned())
    }
}

/// A fault with its probability: `drop=0.001`, `skip:5=0.01`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ByChance {
    pub(crate) fault: Fault,
    pub(crate) probability: f64,
}

impl FromStr for ByChance {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (fault, probability) = text
            .split_once('=')
            .ok_or("write a fault and its probability per trade, such as drop=0.001")?;
        let fault = fault.parse().map_err(|error| format!("{error}"))?;
        let probability = probability.parse::<f64>().ok().filter(|p| (0.0..=1.0).contains(p));
        let probability = probability.ok_or("the probability is a number from 0 to 1")?;
        Ok(Self { fault, probability })
    }
}

/// A fault at a trade of the tape: `500:drop`, `500:skip:3`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AtTrade {
    pub(crate) trade: usize,
    pub(crate) fault: Fault,
}

impl FromStr for AtTrade {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (trade, fault) = text
            .split_once(':')
            .ok_or("write a trade's place on the tape and a fault, such as 500:drop")?;
        let trade = trade.parse().ok().filter(|trade| *trade > 0);
        let trade = trade.ok_or("the first trade is number 1")?;
        let fault = fault.parse().map_err(|error| format!("{error}"))?;
        Ok(Self { trade, fault })
    }
}

/// Arguments of `simulate`.
#[derive(Debug, Args)]
pub(crate) struct SimulateArguments {
    /// Whose protocols are spoken.
    #[arg(value_enum)]
    pub(crate) venue: VenueArgument,
    /// Trades of this CSV file instead of chance.
    #[arg(long, value_name = "FILE")]
    pub(crate) trades: Option<PathBuf>,
    /// What is traded; with --trades the market of rows that do not name one.
    #[arg(long, value_delimiter = ',', default_value = "BTC-USD")]
    pub(crate) symbols: Vec<Instrument>,
    /// Seed of the trades and of the faults.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Trades a second of each market.
    #[arg(long, default_value_t = 10.0, conflicts_with = "trades")]
    pub(crate) rate: f64,
    /// How long the tape is, in its own time.
    #[arg(long, default_value = "1h", conflicts_with = "trades")]
    pub(crate) length: Interval,
    /// Seconds of the tape in one of ours, or `max`: as fast as it is taken.
    #[arg(long, default_value = "1")]
    pub(crate) speed: Speed,
    /// Keep the times of the tape instead of moving them to the present.
    #[arg(long)]
    pub(crate) keep_times: bool,
    /// The port on 127.0.0.1; 0 is any free one.
    #[arg(long, default_value_t = 0)]
    pub(crate) port: u16,
    /// End every connection after so long.
    #[arg(long, value_name = "TIME")]
    pub(crate) drop_every: Option<Interval>,
    /// A fault with its probability per trade, such as drop=0.001 (repeat it for more).
    #[arg(long, value_name = "FAULT=P")]
    pub(crate) fault: Vec<ByChance>,
    /// A fault at one trade of the tape, such as 500:skip:3 (repeat it for more).
    #[arg(long, value_name = "TRADE:FAULT")]
    pub(crate) at: Vec<AtTrade>,
}
