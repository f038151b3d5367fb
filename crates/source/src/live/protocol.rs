//! What the venues' protocols have in common: the one seam between a feed and a venue.
//!
//! A protocol is pure: it says which address to connect to, which messages to send, what a
//! message means and which question fetches missing trades. Sockets, time and order are
//! the session's.

use std::collections::BTreeMap;
use std::fmt;

use foretell_market::{Instrument, Side, Timestamp, Trade};
use serde_json::Value;
use url::Url;

use super::finding::{FindingKind, Trouble};
use super::line::Mark;
use crate::error::excerpt;
use crate::http::Verdict;
use crate::{RateBudget, SourceError};

/// What a venue's message says about the trades that we follow.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Said {
    /// A trade that has just happened.
    Trade(Trade),
    /// A trade from before the subscription.
    Before(Trade),
    /// The venue's latest trade of an instrument, without the trade itself.
    Latest(Instrument, Mark),
    /// An instrument is being sent from now on.
    Acknowledged(Instrument),
    /// An instrument is not given to us, and why.
    Refused(Instrument, String),
    /// The request was refused without saying which instrument is at fault.
    RefusedAll(String),
    /// The number of this message on its connection, where each is one more than the last.
    Sequence(u64),
    /// A sign of life.
    Alive,
}

/// What is asked of the HTTP interface next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TradesCursor {
    /// The trade behind which trades are wanted.
    pub(crate) after: Mark,
    /// Where the venue said that its next page starts.
    pub(crate) token: Option<i64>,
}

/// One answer of the HTTP interface.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TradesPage {
    /// Its trades in any order, also ones that are known already.
    pub(crate) trades: Vec<RawTrade>,
    /// Where the next page starts, in the venue's own measure.
    pub(crate) token: Option<i64>,
    /// Whether there may be more behind it.
    pub(crate) full: bool,
}

/// A venue's live trades.
pub(crate) trait TradeFeed: Send + Sync + fmt::Debug {
    /// The venue's name, which is also that of its rate budget.
    fn venue(&self) -> &'static str;

    /// The venue's name of an instrument on its socket.
    fn symbol(&self, instrument: &Instrument) -> String;

    /// Where to connect for these symbols.
    fn socket_url(&self, symbols: &[&str]) -> Url;

    /// What to send once connected; nothing where the address says it all.
    fn subscribe(&self, symbols: &[&str]) -> Vec<String>;

    /// What a message says. What is not understood is a trouble in its place.
    fn read(&self, message: &[u8], symbols: &Symbols, limits: &Limits) -> Heard;

    /// Whether the venue says something every second or so even when nobody trades, so
    /// that silence is death although the connection stands.
    fn keeps_talking(&self) -> bool;

    /// Whether one symbol that is not known makes the venue refuse the others of a request.
    fn all_or_nothing(&self) -> bool {
        false
    }

    /// How often its HTTP interface may be asked.
    fn budget(&self) -> RateBudget;

    /// What its HTTP answers mean.
    fn judge(&self) -> fn(u16, &[u8]) -> Verdict;

    /// The question for the trades behind a cursor.
    fn page_url(&self, instrument: &Instrument, cursor: &TradesCursor) -> Url;

    /// The answer to it.
    fn page(&self, cursor: &TradesCursor, body: &[u8]) -> Result<TradesPage, SourceError>;

    /// A question whose refusal says that there is no such market, for venues whose
    /// socket does not say it.
    fn probe_url(&self, _instrument: &Instrument) -> Option<Url> {
        None
    }
}

/// What was heard in one message, in its order.
pub(crate) type Heard = Vec<Result<Said, Trouble>>;

/// Which times a trade may have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// The first that is believed.
    pub(crate) earliest: Timestamp,
    /// The last that is believed.
    pub(crate) latest: Timestamp,
}

/// The instruments that are followed, by the venue's names.
#[derive(Debug, Clone)]
pub(crate) struct Symbols(BTreeMap<String, Instrument>);

impl Symbols {
    /// Names every instrument.
    ///
    /// # Errors
    /// [`SourceError::Setting`] when there is none, or two share a name.
    pub(crate) fn of(
        feed: &dyn TradeFeed,
        instruments: &[Instrument],
    ) -> Result<Self, SourceError> {
        let refuse = |problem: String| SourceError::Setting {
            field: "instruments",
            problem,
            remedy: "name each market once, such as BTC-USD".to_owned(),
        };
        let mut names = BTreeMap::new();
        for instrument in instruments {
            let symbol = feed.symbol(instrument);
            if let Some(other) = names.insert(symbol.clone(), instrument.clone()) {
                return Err(refuse(format!("{other} and {instrument} are both `{symbol}`")));
            }
        }
        if names.is_empty() {
            return Err(refuse("there is nothing to follow".to_owned()));
        }
        Ok(Self(names))
    }

    pub(crate) fn instrument(&self, symbol: &str) -> Result<&Instrument, Trouble> {
        let unknown = || {
            let shown = excerpt(symbol, 40);
            Trouble::new(FindingKind::UnknownSymbol, format!("`{shown}` was not asked for"))
        };
        self.0.get(symbol).ok_or_else(unknown)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Instrument)> {
        self.0.iter().map(|(symbol, instrument)| (symbol.as_str(), instrument))
    }
}

/// A trade as it is written on the wire, not yet believed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct RawTrade {
    pub(crate) id: i64,
    pub(crate) time: Timestamp,
    pub(crate) price: f64,
    pub(crate) quantity: f64,
    pub(crate) side: Side,
}

impl RawTrade {
    /// The largest number of a trade: half of what there is, so that one more and one less, and
    /// a page more, are numbers as well.
    pub(crate) const LARGEST_ID: i64 = i64::MAX / 2;

    /// The trade, if its numbers and its time can be those of one.
    pub(crate) fn believed(
        self,
        instrument: &Instrument,
        limits: &Limits,
    ) -> Result<Trade, Trouble> {
        let Self { id, time, price, quantity, side } = self;
        if !(0..=Self::LARGEST_ID).contains(&id) {
            let detail = format!("trade {id}: this is no number of a trade");
            return Err(Trouble::new(FindingKind::StrangeNumber, detail).of(instrument));
        }
        for (name, value) in [("price", price), ("quantity", quantity)] {
            if !(value.is_finite() && value > 0.0) {
                let detail = format!("trade {id}: {name} {value} is not a positive number");
                return Err(Trouble::new(FindingKind::BadNumber, detail).of(instrument));
            }
        }
        if time < limits.earliest || time > limits.latest {
            let detail = format!(
                "trade {id}: {time} is not between {} and {}",
                limits.earliest, limits.latest
            );
            return Err(Trouble::new(FindingKind::BadTime, detail).of(instrument));
        }
        let (instrument, id, side) = (instrument.clone(), Some(id), Some(side));
        Ok(Trade { instrument, time, id, price, quantity, side })
    }
}

/// One JSON object of a message, with what to say when a field is not what it should be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields<'a>(pub(crate) &'a Value);

impl<'a> Fields<'a> {
    fn wrong(self, field: &str, expected: &str) -> Trouble {
        let value = self.0.get(field).map_or_else(|| "missing".to_owned(), Value::to_string);
        let problem = format!("`{field}` is not {expected} ({})", excerpt(&value, 40));
        Trouble::malformed(&problem, self.0.to_string().as_bytes())
    }

    pub(crate) fn get(self, field: &str) -> Option<&'a Value> {
        self.0.get(field)
    }

    pub(crate) fn text(self, field: &str) -> Result<&'a str, Trouble> {
        self.get(field).and_then(Value::as_str).ok_or_else(|| self.wrong(field, "a text"))
    }

    /// A whole number, written as a number or as a text.
    pub(crate) fn whole(self, field: &str) -> Result<i64, Trouble> {
        let value = match self.get(field) {
            Some(Value::String(text)) => text.parse().ok(),
            other => other.and_then(Value::as_i64),
        };
        value.ok_or_else(|| self.wrong(field, "a whole number"))
    }

    /// A trade's number: whole and not negative.
    pub(crate) fn number(self, field: &str) -> Result<i64, Trouble> {
        let id = self.whole(field)?;
        let fits = (0..=RawTrade::LARGEST_ID).contains(&id);
        fits.then_some(id).ok_or_else(|| self.wrong(field, "a trade's number"))
    }

    /// An amount, written as a number or as a text; what is no number at all is NaN, for
    /// whoever judges it.
    pub(crate) fn amount(self, field: &str) -> Result<f64, Trouble> {
        match self.get(field) {
            Some(Value::String(text)) => Ok(text.parse().unwrap_or(f64::NAN)),
            Some(Value::Number(number)) => Ok(number.as_f64().unwrap_or(f64::NAN)),
            Some(Value::Null) => Ok(f64::NAN),
            _ => Err(self.wrong(field, "an amount")),
        }
    }

    /// RFC 3339.
    pub(crate) fn time(self, field: &str) -> Result<Timestamp, Trouble> {
        let parsed = self.text(field)?.parse();
        parsed.map_err(|_| self.wrong(field, "a time"))
    }

    /// Milliseconds since 1970.
    pub(crate) fn millis(self, field: &str) -> Result<Timestamp, Trouble> {
        let millis = self.whole(field)?;
        let fits = (Timestamp::MIN.millis()..Timestamp::MAX.millis()).contains(&millis);
        let time = fits.then(|| Timestamp::from_millis(millis));
        time.ok_or_else(|| self.wrong(field, "a time in milliseconds"))
    }

    /// `buy` or `sell`, in any letters.
    pub(crate) fn side(self, field: &str) -> Result<Side, Trouble> {
        match self.text(field)? {
            "buy" | "BUY" => Ok(Side::Buy),
            "sell" | "SELL" => Ok(Side::Sell),
            _ => Err(self.wrong(field, "`buy` or `sell`")),
        }
    }

    /// An array.
    pub(crate) fn list(self, field: &str) -> Result<&'a [Value], Trouble> {
        let list = self.get(field).and_then(Value::as_array);
        list.map(Vec::as_slice).ok_or_else(|| self.wrong(field, "an array"))
    }
}

/// The other side: venues that name the maker's mean the taker's opposite.
pub(crate) fn opposite(side: Side) -> Side {
    match side {
        Side::Buy => Side::Sell,
        Side::Sell => Side::Buy,
    }
}

/// A message as JSON.
pub(crate) fn message_of(message: &[u8]) -> Result<Value, Trouble> {
    serde_json::from_slice(message).map_err(|error| {
        let place = format!("not JSON at byte {}", error.column());
        Trouble::malformed(&place, message)
    })
}

/// A list of texts as JSON, `["BTC/USD","ETH/USD"]`.
pub(crate) fn texts(list: &[&str]) -> String {
    let quoted: Vec<String> = list.iter().map(|text| Value::from(*text).to_string()).collect();
    format!("[{}]", quoted.join(","))
}
