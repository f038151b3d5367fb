//! The trades that a simulated exchange makes happen, in their order.

use std::collections::BTreeMap;
use std::io::Read;

use foretell_market::{Instrument, Side, Timestamp, Trade};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;

/// Trades in order of time, numbered one by one within each instrument.
#[derive(Debug, Clone, PartialEq)]
pub struct Tape(Vec<Trade>);

/// Trades by chance: prices walk, arrivals are a Poisson process, sizes are exponential.
#[derive(Debug, Clone, PartialEq)]
pub struct Seeded {
    /// Equal seeds are equal trades.
    pub seed: u64,
    /// What is traded.
    pub instruments: Vec<Instrument>,
    /// Trades a second of each instrument.
    pub rate: f64,
    /// When it begins (UTC).
    pub start: Timestamp,
    /// How long it lasts, in seconds.
    pub seconds: u32,
}

/// A file of trades that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "line {line} of the trades: {problem}; write time,id,price,quantity,side and, for several markets, instrument"
)]
pub struct TapeError {
    /// Its line, 1-based, header included.
    pub line: u64,
    /// What is wrong.
    pub problem: String,
}

impl Tape {
    /// Trades as they are given, in order of time; within an instrument they are numbered
    /// one by one from the first one's number, as venues do.
    pub fn new(mut trades: Vec<Trade>) -> Self {
        trades.sort_by_key(|trade| (trade.time, trade.id));
        let mut numbers: BTreeMap<Instrument, i64> = BTreeMap::new();
        for trade in &mut trades {
            let next = numbers.entry(trade.instrument.clone()).or_insert(trade.id.unwrap_or(1));
            trade.id = Some(*next);
            *next += 1;
        }
        Self(trades)
    }

    /// Trades by chance.
    pub fn seeded(seeded: &Seeded) -> Self {
        let mut trades = Vec::new();
        for (place, instrument) in (0u64..).zip(&seeded.instruments) {
            let mut rng = ChaCha12Rng::seed_from_u64(seeded.seed.wrapping_add(place << 32));
            let mut uniform = || 1.0 - rng.random::<f64>();
            let mut price = 100.0 * 10f64.powf(uniform() * 3.0);
            let mut seconds = 0.0;
            let mut id = 1_000 + (uniform() * 1e6) as i64;
            loop {
                seconds -= uniform().ln() / seeded.rate.max(1e-9);
                if seconds >= f64::from(seeded.seconds) {
                    break;
                }
                // Box and Muller: a step of a hundredth of a percent.
                let normal =
                    (-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos();
                price *= (1e-4 * normal).exp();
                let side = if normal > 0.0 { Side::Buy } else { Side::Sell };
                let quantity = ((-uniform().ln() * 5e6).round() + 1.0) / 1e8;
                let micros = (seconds * 1e6) as i64;
                trades.push(Trade {
                    instrument: instrument.clone(),
                    time: Timestamp::from_micros(seeded.start.micros() + micros),
                    id: Some(id),
                    price: (price * 100.0).round().max(1.0) / 100.0,
                    quantity,
                    side: Some(side),
                });
                id += 1;
            }
        }
        Self::new(trades)
    }

    /// Trades of a CSV file: `time` (RFC 3339, or seconds, milliseconds or microseconds
    /// since 1970), `price`, `quantity` and, where there are any, `id`, `side` and
    /// `instrument`; without the last all are of `instrument`.
    ///
    /// # Errors
    /// [`TapeError`] with the line and what is wrong in it.
    pub fn read_csv(reader: impl Read, instrument: &Instrument) -> Result<Self, TapeError> {
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(reader);
        let fail = |line, problem: String| TapeError { line, problem };
        let headers = reader.headers().map_err(|error| fail(1, error.to_string()))?.clone();
        let place = |names: &[&str]| {
            headers.iter().position(|header| names.contains(&header.to_ascii_lowercase().as_str()))
        };
        let needed = |names: &[&str]| {
            place(names).ok_or_else(|| fail(1, format!("there is no column `{}`", names[0])))
        };
        let (time, price) = (needed(&["time", "timestamp"])?, needed(&["price"])?);
        let quantity = needed(&["quantity", "qty", "size", "amount", "volume"])?;
        let id = place(&["id", "trade_id"]);
        let side = place(&["side"]);
        let named = place(&["instrument", "symbol", "product_id"]);
        let mut trades = Vec::new();
        for (line, record) in (2u64..).zip(reader.records()) {
            let record = record.map_err(|error| fail(line, error.to_string()))?;
            let cell = |place: usize| record.get(place).unwrap_or_default();
            let number = |place: usize, name: &str| {
                let value = cell(place).parse::<f64>().ok().filter(|v| v.is_finite() && *v > 0.0);
                value.ok_or_else(|| {
                    fail(line, format!("{name} `{}` is not a positive number", cell(place)))
                })
            };
            let instrument = match named.map(cell) {
                Some(text) if !text.is_empty() => {
                    text.parse().map_err(|error| fail(line, format!("{error}")))?
                }
                _ => instrument.clone(),
            };
            let id = match id.map(cell) {
                Some(text) if !text.is_empty() => Some(
                    text.parse()
                        .map_err(|_| fail(line, format!("id `{text}` is not a whole number")))?,
                ),
                _ => None,
            };
            let side = match side.map(|place| cell(place).to_ascii_lowercase()).as_deref() {
                None | Some("") => None,
                Some("buy" | "b") => Some(Side::Buy),
                Some("sell" | "s") => Some(Side::Sell),
                Some(other) => {
                    return Err(fail(line, format!("side `{other}` is not buy or sell")));
                }
            };
            trades.push(Trade {
                instrument,
                time: time_of(cell(time))
                    .ok_or_else(|| fail(line, format!("time `{}` is not a time", cell(time))))?,
                id,
                price: number(price, "price")?,
                quantity: number(quantity, "quantity")?,
                side,
            });
        }
        Ok(Self::new(trades))
    }

    /// The trades.
    pub fn trades(&self) -> &[Trade] {
        &self.0
    }

    /// Which instruments are traded.
    pub fn instruments(&self) -> Vec<Instrument> {
        let mut all: Vec<Instrument> = Vec::new();
        for trade in &self.0 {
            if !all.contains(&trade.instrument) {
                all.push(trade.instrument.clone());
            }
        }
        all
    }

    /// The same trades with times moved and pressed together: the first happens at
    /// `start`, and what took `speed` seconds takes one.
    pub fn retimed(mut self, start: Timestamp, speed: f64) -> Self {
        let first = self.0.first().map_or(start, |trade| trade.time);
        for trade in &mut self.0 {
            let micros = (trade.time.micros() - first.micros()) as f64 / speed;
            trade.time = Timestamp::from_micros(start.micros() + micros as i64);
        }
        self
    }

    /// The same trades with times rounded down to so many microseconds.
    pub(crate) fn rounded(mut self, micros: i64) -> Self {
        for trade in &mut self.0 {
            let whole = trade.time.micros().div_euclid(micros) * micros;
            trade.time = Timestamp::from_micros(whole);
        }
        self
    }

    pub(crate) fn into_trades(self) -> Vec<Trade> {
        self.0
    }
}

/// RFC 3339, or a number since 1970 whose size tells its unit.
fn time_of(text: &str) -> Option<Timestamp> {
    if let Ok(time) = text.parse() {
        return Some(time);
    }
    let value: f64 = text.parse().ok().filter(|v: &f64| v.is_finite() && *v >= 0.0)?;
    let micros = match value {
        v if v < 1e11 => v * 1e6,
        v if v < 1e14 => v * 1e3,
        v => v,
    };
    Some(Timestamp::from_micros(micros.floor() as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> Seeded {
        Seeded {
            seed: 7,
            instruments: vec!["BTC-USD".parse().unwrap(), "ETH-USD".parse().unwrap()],
            rate: 50.0,
            start: Timestamp::from_secs(1_700_000_000),
            seconds: 60,
        }
    }

    #[test]
    fn a_seed_is_a_tape_and_its_trades_are_plausible() {
        let tape = Tape::seeded(&two());
        assert_eq!(tape, Tape::seeded(&two()));
        assert_ne!(tape, Tape::seeded(&Seeded { seed: 8, ..two() }));
        // 2 × 50 × 60 arrivals, give or take six standard deviations of a Poisson count.
        assert!((5_535..6_465).contains(&tape.trades().len()), "{}", tape.trades().len());
        for instrument in tape.instruments() {
            let of = || tape.trades().iter().filter(|t| t.instrument == instrument);
            let ids: Vec<i64> = of().filter_map(|trade| trade.id).collect();
            assert!(ids.windows(2).all(|pair| pair[1] == pair[0] + 1));
            assert!(of().all(|trade| trade.price > 0.0 && trade.quantity > 0.0));
        }
        assert!(tape.trades().windows(2).all(|pair| pair[0].time <= pair[1].time));
    }

    #[test]
    fn a_file_of_trades_is_read_with_any_of_its_times() {
        let csv = "time,id,price,quantity,side\n2024-06-17T09:36:39.467866Z,5,65000.1,0.5,buy\n\
                   1718617000,6,65001,1e-3,s\n1718617000500,7,65002,2,\n";
        let tape = Tape::read_csv(csv.as_bytes(), &"BTC-USD".parse().unwrap()).unwrap();
        let times: Vec<i64> = tape.trades().iter().map(|t| t.time.micros()).collect();
        assert_eq!(times, [1_718_616_999_467_866, 1_718_617_000_000_000, 1_718_617_000_500_000]);
        let sides: Vec<_> = tape.trades().iter().map(|t| t.side).collect();
        assert_eq!(sides, [Some(Side::Buy), Some(Side::Sell), None]);

        for (csv, line, word) in [
            ("price,quantity\n1,2\n", 1, "time"),
            ("time,price,quantity\n2024-01-01,NaN,1\n", 2, "price"),
            ("time,price,quantity\n2024-01-01,1,-1\n", 2, "quantity"),
            ("time,price,quantity,side\n2024-01-01,1,1,up\n", 2, "side"),
            ("time,price,quantity\nsoon,1,1\n", 2, "soon"),
        ] {
            let error = Tape::read_csv(csv.as_bytes(), &"BTC-USD".parse().unwrap()).unwrap_err();
            assert_eq!(error.line, line, "{csv}");
            assert!(error.to_string().contains(word), "{error}");
        }
    }

    #[test]
    fn a_tape_is_pressed_together() {
        let tape = Tape::seeded(&two());
        let start = Timestamp::from_secs(1_800_000_000);
        let fast = tape.clone().retimed(start, 10.0);
        let length = |tape: &Tape| {
            let trades = tape.trades();
            trades[trades.len() - 1].time.micros() - trades[0].time.micros()
        };
        assert_eq!(fast.trades()[0].time, start);
        assert!((length(&tape) / 10 - length(&fast)).abs() <= 1);
    }
}
