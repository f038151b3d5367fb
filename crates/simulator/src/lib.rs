//! A simulated exchange: the live protocols of three venues and the HTTP routes that
//! repair them, from given or seeded trades, with faults on demand.
//!
//! It listens on this machine alone and speaks as the venues do: what a feed cannot tell
//! from a venue, a test and a demonstration can rest on. It shares no code with the feed,
//! so that a misreading of a protocol would have to be made twice. Everything it does
//! follows from its trades, its faults and a seed.

mod binance;
mod coinbase;
mod connection;
mod exchange;
mod fault;
mod http;
mod kraken;
mod market;
mod protocol;
mod tape;

pub use exchange::{Exchange, ExchangeClock, ExchangeSettings, Pace, SimulatorError};
pub use fault::{Fault, FaultError, FaultKind, FaultPlan};
pub use protocol::Venue;
pub use tape::{Seeded, Tape, TapeError};
