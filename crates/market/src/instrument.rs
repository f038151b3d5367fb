//! What is traded: a base asset priced in a quote currency.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An instrument such as `BTC-USD`: base and quote in capitals, joined by a dash.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instrument {
    /// Shared: a stream carries it with every trade.
    name: Arc<str>,
    dash: usize,
}

/// The text names no instrument.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an instrument: write BASE-QUOTE, such as BTC-USD (letters and digits)")]
pub struct InstrumentError(pub String);

impl Instrument {
    /// What is bought or sold: the `BTC` of `BTC-USD`.
    pub fn base(&self) -> &str {
        &self.name[..self.dash]
    }

    /// The currency of the price: the `USD` of `BTC-USD`.
    pub fn quote(&self) -> &str {
        &self.name[self.dash + 1..]
    }

    /// The whole name, `BTC-USD`.
    pub fn as_str(&self) -> &str {
        &self.name
    }
}

/// Reads `BTC-USD`, `btc/usd` and `BTC_USD`; capitals and the dash are the written form.
impl FromStr for Instrument {
    type Err = InstrumentError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = text.to_ascii_uppercase().replace(['/', '_'], "-");
        let valid = |part: &str| {
            (1..=20).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric())
        };
        match name.split_once('-') {
            Some((base, quote)) if valid(base) && valid(quote) => {
                let dash = base.len();
                Ok(Self { name: name.into(), dash })
            }
            _ => Err(InstrumentError(text.to_owned())),
        }
    }
}

/// Writes `BTC-USD`.
impl fmt::Display for Instrument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name)
    }
}

impl fmt::Debug for Instrument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Serialize for Instrument {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name)
    }
}

impl<'de> Deserialize<'de> for Instrument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_for_all() {
        for text in ["BTC-USD", "btc/usd", "Btc_Usd"] {
            let instrument: Instrument = text.parse().unwrap();
            assert_eq!(instrument.to_string(), "BTC-USD");
            assert_eq!((instrument.base(), instrument.quote()), ("BTC", "USD"));
        }
        for text in ["", "BTC", "BTC-", "-USD", "BTC-USD-X", "B C-USD", "../x-y"] {
            assert!(text.parse::<Instrument>().is_err(), "{text}");
        }
    }
}
