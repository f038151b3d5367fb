//! Candles, and the one builder that makes them from trades.

use serde::{Deserialize, Serialize};

use crate::{Interval, Timestamp, Trade};

/// Open, high, low, close and volume over one interval; keyed by its open time,
/// known at its close.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Candle {
    /// Start of the interval (UTC).
    pub open_time: Timestamp,
    /// First price, quote currency.
    pub open: f64,
    /// Highest price, quote currency.
    pub high: f64,
    /// Lowest price, quote currency.
    pub low: f64,
    /// Last price, quote currency.
    pub close: f64,
    /// Traded amount, base asset.
    pub volume: f64,
    /// Number of trades, where known.
    pub trades: Option<u64>,
}

/// Which rule of a candle is broken, in words for people.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CandleError {
    /// A price is NaN, infinite, zero or negative.
    #[error("{0} is not a positive number: {1}")]
    Price(&'static str, f64),
    /// Volume is NaN, infinite or negative.
    #[error("volume is not a number of zero or more: {0}")]
    Volume(f64),
    /// The high is below another price.
    #[error("high {high} < {name} {value}")]
    High {
        /// The high.
        high: f64,
        /// Which price exceeds it.
        name: &'static str,
        /// That price.
        value: f64,
    },
    /// The low is above another price.
    #[error("low {low} > {name} {value}")]
    Low {
        /// The low.
        low: f64,
        /// Which price is below it.
        name: &'static str,
        /// That price.
        value: f64,
    },
}

impl Candle {
    /// Checks the invariants: positive finite prices, `low ≤ open, close ≤ high`,
    /// finite volume of zero or more.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn check(&self) -> Result<(), CandleError> {
        let prices =
            [("open", self.open), ("high", self.high), ("low", self.low), ("close", self.close)];
        for (name, value) in prices {
            if !(value.is_finite() && value > 0.0) {
                return Err(CandleError::Price(name, value));
            }
        }
        if !(self.volume.is_finite() && self.volume >= 0.0) {
            return Err(CandleError::Volume(self.volume));
        }
        for (name, value) in [("low", self.low), ("open", self.open), ("close", self.close)] {
            if self.high < value {
                return Err(CandleError::High { high: self.high, name, value });
            }
        }
        for (name, value) in [("open", self.open), ("close", self.close)] {
            if self.low > value {
                return Err(CandleError::Low { low: self.low, name, value });
            }
        }
        Ok(())
    }
}

/// Builds the candles of one instrument from trades in event-time order.
///
/// Intervals without a trade yield no candle: a gap stays a gap.
#[derive(Debug, Clone)]
pub struct CandleBuilder {
    interval: Interval,
    forming: Option<Candle>,
}

impl CandleBuilder {
    /// A builder of candles of one length.
    pub fn new(interval: Interval) -> Self {
        Self { interval, forming: None }
    }

    /// Adds a trade; returns the candle that it closed, if it opened a new one.
    /// A trade of an interval already left behind is handed back as `Err`.
    ///
    /// # Errors
    /// The late trade's interval start.
    pub fn push(&mut self, trade: &Trade) -> Result<Option<Candle>, Timestamp> {
        let open_time = self.interval.floor(trade.time);
        match &mut self.forming {
            Some(candle) if candle.open_time == open_time => {
                candle.high = candle.high.max(trade.price);
                candle.low = candle.low.min(trade.price);
                candle.close = trade.price;
                candle.volume += trade.quantity;
                candle.trades = candle.trades.map(|n| n + 1);
                Ok(None)
            }
            Some(candle) if open_time < candle.open_time => Err(open_time),
            forming => Ok(forming.replace(Candle {
                open_time,
                open: trade.price,
                high: trade.price,
                low: trade.price,
                close: trade.price,
                volume: trade.quantity,
                trades: Some(1),
            })),
        }
    }

    /// Closes the forming candle if its interval has ended at `now`.
    pub fn close_until(&mut self, now: Timestamp) -> Option<Candle> {
        match &self.forming {
            Some(candle) if candle.open_time + self.interval <= now => self.forming.take(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn trade(secs: i64, price: f64, quantity: f64) -> Trade {
        Trade {
            instrument: "BTC-USD".parse().unwrap(),
            time: Timestamp::from_secs(secs),
            id: None,
            price,
            quantity,
            side: None,
        }
    }

    #[test]
    fn an_interval_without_a_trade_has_no_candle() {
        let mut builder = CandleBuilder::new(Interval::MINUTE);
        assert_eq!(builder.push(&trade(1, 10.0, 1.0)), Ok(None));
        assert_eq!(builder.push(&trade(59, 9.0, 2.0)), Ok(None));
        let closed = builder.push(&trade(180, 11.0, 1.0)).unwrap().unwrap();
        assert_eq!((closed.open, closed.high, closed.low, closed.close), (10.0, 10.0, 9.0, 9.0));
        assert_eq!((closed.volume, closed.trades), (3.0, Some(2)));
        assert_eq!(builder.push(&trade(100, 1.0, 1.0)), Err(Timestamp::from_secs(60)));
        assert_eq!(builder.close_until(Timestamp::from_secs(239)), None);
        assert!(builder.close_until(Timestamp::from_secs(240)).is_some());
    }

    #[test]
    fn names_the_broken_rule() {
        let good = Candle {
            open_time: Timestamp::from_secs(0),
            open: 2.0,
            high: 3.0,
            low: 1.0,
            close: 2.5,
            volume: 0.0,
            trades: None,
        };
        assert_eq!(good.check(), Ok(()));
        let message = |c: Candle| c.check().unwrap_err().to_string();
        assert_eq!(message(Candle { high: 2.2, ..good }), "high 2.2 < close 2.5");
        assert_eq!(message(Candle { low: 2.1, ..good }), "low 2.1 > open 2");
        assert_eq!(
            message(Candle { close: f64::NAN, ..good }),
            "close is not a positive number: NaN"
        );
        assert_eq!(
            message(Candle { volume: -1.0, ..good }),
            "volume is not a number of zero or more: -1"
        );
    }

    proptest! {
        #[test]
        fn candles_conserve_volume_and_hold_the_invariants(
            steps in prop::collection::vec((0i64..200, 1.0f64..100.0, 0u32..1000), 1..200)
        ) {
            let mut builder = CandleBuilder::new(Interval::MINUTE);
            let (mut t, mut sum, mut volume) = (0, 0.0, 0.0);
            let mut candles = Vec::new();
            for (step, price, quantity) in steps {
                t += step;
                sum += f64::from(quantity);
                candles.extend(builder.push(&trade(t, price, f64::from(quantity))).unwrap());
            }
            candles.extend(builder.close_until(Timestamp::from_secs(t + 60)));
            for candle in &candles {
                prop_assert_eq!(candle.check(), Ok(()));
                volume += candle.volume;
            }
            prop_assert_eq!(volume, sum);
        }
    }
}
