//! Trades in JSON as nearly all of them are written: one flat object of known fields, without
//! escapes. Anything else is left to the general reader, which answers the same and takes
//! several times as long.

use foretell_market::{Arrival, FeedEvent, Side, Timestamp, Trade};

use super::{Instruments, Refusal};

/// The fields of a trade that were met.
#[derive(Default)]
struct Fields<'a> {
    product_id: Option<&'a [u8]>,
    price: Option<f64>,
    quantity: Option<f64>,
    timestamp_ms: Option<i64>,
    timestamp_us: Option<i64>,
    trade_id: Option<i64>,
    arrived_us: Option<i64>,
    side: Option<Side>,
    backfilled: Option<bool>,
}

/// What is left of a record.
struct Scanner<'a> {
    rest: &'a [u8],
}

/// The trade of a record, where it is written as most are. `None` says nothing: the general
/// reader knows.
pub(super) fn read(
    value: &[u8],
    written: Timestamp,
    instruments: &mut Instruments,
) -> Option<Result<Arrival, Refusal>> {
    let fields = fields(value)?;
    let (price, quantity) = (fields.price?, fields.quantity?);
    let time = match (fields.timestamp_us, fields.timestamp_ms) {
        (Some(micros), _) => Timestamp::from_micros(micros),
        (None, millis) => Timestamp::from_micros(millis?.checked_mul(1000)?),
    };
    let name = fields.product_id?;
    let instrument = match instruments.met(name) {
        Some(met) => met.clone(),
        None => match instruments.named(std::str::from_utf8(name).ok()?) {
            Ok(instrument) => instrument,
            Err(refusal) => return Some(Err(refusal)),
        },
    };
    let (id, side) = (fields.trade_id, fields.side);
    let event = FeedEvent::Trade(Trade { instrument, time, id, price, quantity, side });
    let at = fields.arrived_us.map_or(written, Timestamp::from_micros);
    Some(Ok(Arrival { event, at, backfilled: fields.backfilled.unwrap_or(false) }))
}

fn fields(value: &[u8]) -> Option<Fields<'_>> {
    let mut scanner = Scanner { rest: value };
    let mut fields = Fields::default();
    scanner.token(b'{')?;
    loop {
        scanner.token(b'"')?;
        match scanner.rest {
            [b'p', b'r', b'o', ..] => {
                scanner.name(b"product_id\"")?;
                once(&mut fields.product_id, scanner.text()?)?;
            }
            [b'p', ..] => {
                scanner.name(b"price\"")?;
                once(&mut fields.price, scanner.float()?)?;
            }
            [b'q', ..] => {
                scanner.name(b"quantity\"")?;
                once(&mut fields.quantity, scanner.float()?)?;
            }
            [b't', b'r', ..] => {
                scanner.name(b"trade_id\"")?;
                once(&mut fields.trade_id, scanner.integer()?)?;
            }
            [b't', ..] if scanner.rest.get(10) == Some(&b'u') => {
                scanner.name(b"timestamp_us\"")?;
                once(&mut fields.timestamp_us, scanner.integer()?)?;
            }
            [b't', ..] => {
                scanner.name(b"timestamp_ms\"")?;
                once(&mut fields.timestamp_ms, scanner.integer()?)?;
            }
            [b'a', ..] => {
                scanner.name(b"arrived_us\"")?;
                once(&mut fields.arrived_us, scanner.integer()?)?;
            }
            [b's', ..] => {
                scanner.name(b"side\"")?;
                let side = match scanner.text()? {
                    b"buy" => Side::Buy,
                    b"sell" => Side::Sell,
                    _ => return None,
                };
                once(&mut fields.side, side)?;
            }
            [b'b', ..] => {
                scanner.name(b"backfilled\"")?;
                once(&mut fields.backfilled, scanner.truth()?)?;
            }
            _ => return None,
        }
        match scanner.next()? {
            b',' => {}
            b'}' if scanner.rest.is_empty() => return Some(fields),
            _ => return None,
        }
    }
}

/// A field that comes twice is an error, which the general reader names.
fn once<T>(field: &mut Option<T>, value: T) -> Option<()> {
    field.replace(value).is_none().then_some(())
}

/// The number that eight digits are; `None` where they are not all digits. All eight at once,
/// as in `fast_float` (Lemire, "Number parsing at a gigabyte per second", 2021).
fn eight(text: [u8; 8]) -> Option<u64> {
    const PAIRS: u64 = 0x0000_00ff_0000_00ff;
    let word = u64::from_le_bytes(text);
    let values = word.wrapping_sub(0x3030_3030_3030_3030);
    let above = word.wrapping_add(0x4646_4646_4646_4646);
    if (values | above) & 0x8080_8080_8080_8080 != 0 {
        return None;
    }
    let twos = values.wrapping_mul(10).wrapping_add(values >> 8);
    let high = (twos & PAIRS).wrapping_mul(100 + (1_000_000 << 32));
    let low = ((twos >> 16) & PAIRS).wrapping_mul(1 + (10_000 << 32));
    Some(high.wrapping_add(low) >> 32)
}

/// Powers of ten that are exact.
const TENS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];
/// So many digits are always a number of 64 bits.
const MOST_DIGITS: usize = 19;

impl<'a> Scanner<'a> {
    fn spaces(&mut self) {
        while let [b' ', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }

    /// The next byte behind spaces.
    fn next(&mut self) -> Option<u8> {
        self.spaces();
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn token(&mut self, wanted: u8) -> Option<()> {
        (self.next()? == wanted).then_some(())
    }

    /// The rest of a field's name with its quote, and the colon.
    fn name<const N: usize>(&mut self, wanted: &[u8; N]) -> Option<()> {
        let (found, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        if found != wanted {
            return None;
        }
        self.token(b':')
    }

    /// A string without escapes.
    fn text(&mut self) -> Option<&'a [u8]> {
        self.token(b'"')?;
        let end = self.rest.iter().position(|b| *b == b'"' || *b == b'\\' || *b < 0x20)?;
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest;
        self.token(b'"')?;
        Some(text)
    }

    /// Digits behind those of `value`, and how many they are. More than [`MOST_DIGITS`] are no
    /// number here.
    fn digits(&mut self, mut value: u64) -> (u64, usize) {
        let before = self.rest.len();
        while let Some((text, rest)) = self.rest.split_first_chunk::<8>()
            && let Some(digits) = eight(*text)
        {
            value = value.wrapping_mul(100_000_000).wrapping_add(digits);
            self.rest = rest;
        }
        while let [digit @ b'0'..=b'9', rest @ ..] = self.rest {
            value = value.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
            self.rest = rest;
        }
        (value, before - self.rest.len())
    }

    fn minus(&mut self) -> bool {
        let [b'-', rest @ ..] = self.rest else { return false };
        self.rest = rest;
        true
    }

    /// The digits of a whole number, as JSON allows them, and how many they are.
    fn whole(&mut self) -> Option<(u64, usize)> {
        let zero = self.rest.first() == Some(&b'0');
        let (value, count) = self.digits(0);
        // No digit, or a zero in front of others.
        if count == 0 || (zero && count > 1) { None } else { Some((value, count)) }
    }

    /// The float that is nearest to a number.
    fn float(&mut self) -> Option<f64> {
        self.spaces();
        let text = self.rest;
        let negative = self.minus();
        let (mut digits, mut count) = self.whole()?;
        let mut power = 0;
        if let [b'.', rest @ ..] = self.rest {
            self.rest = rest;
            let behind;
            (digits, behind) = self.digits(digits);
            if behind == 0 {
                return None;
            }
            (count, power) = (count + behind, -(behind as i64));
        }
        if let [b'e' | b'E', rest @ ..] = self.rest {
            self.rest = rest;
            let negative = self.minus();
            if let (false, [b'+', rest @ ..]) = (negative, self.rest) {
                self.rest = rest;
            }
            let (exponent, count) = self.digits(0);
            if count == 0 || count > MOST_DIGITS {
                return None;
            }
            let exponent = i64::try_from(exponent).ok()?;
            power = power.checked_add(if negative { -exponent } else { exponent })?;
        }
        // Digits below 2^53 and these powers are exact floats, so their product or quotient is
        // rounded once (Clinger, "How to read floating point numbers accurately", 1990).
        let ten = TENS.get(power.unsigned_abs() as usize);
        if let (Some(ten), true) = (ten, count <= MOST_DIGITS && digits <= 1 << 53) {
            let digits = digits as f64;
            let value = if power < 0 { digits / ten } else { digits * ten };
            return Some(if negative { -value } else { value });
        }
        let text = &text[..text.len() - self.rest.len()];
        let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
        value.is_finite().then_some(value)
    }

    fn integer(&mut self) -> Option<i64> {
        self.spaces();
        let negative = self.minus();
        let (value, count) = self.whole()?;
        if count > MOST_DIGITS || matches!(self.rest, [b'.' | b'e' | b'E', ..]) {
            return None;
        }
        match (negative, value) {
            // A negative zero is no integer to the general reader.
            (true, 0) => None,
            (true, _) => 0i64.checked_sub_unsigned(value),
            (false, _) => i64::try_from(value).ok(),
        }
    }

    fn truth(&mut self) -> Option<bool> {
        self.spaces();
        for (text, value) in [(&b"true"[..], true), (&b"false"[..], false)] {
            if let Some(rest) = self.rest.strip_prefix(text) {
                self.rest = rest;
                return Some(value);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::json;
    use super::*;

    /// What both readers say of a record.
    fn both(value: &[u8]) -> (Option<Result<Arrival, Refusal>>, Result<Arrival, Refusal>) {
        let written = Timestamp::from_secs(1_718_616_960);
        let mut instruments = Instruments::default();
        let quick = read(value, written, &mut instruments);
        (quick, json::read_any(value, written, &mut instruments))
    }

    #[test]
    fn trades_of_ours_and_of_others_are_read_here() {
        for text in [
            r#"{"product_id":"BTC/USD","quantity":0.25,"price":64000.5,"timestamp_ms":1718616960123}"#,
            r#"{"product_id": "BTC/USD", "price": 1, "quantity": -1e-3, "timestamp_ms": -5}"#,
            r#"{"product_id":"BTC/USD","price":1E5,"quantity":0,"timestamp_us":7,"trade_id":9,"side":"sell","arrived_us":8,"backfilled":true}"#,
        ] {
            let (quick, general) = both(text.as_bytes());
            assert_eq!(quick, Some(general.clone()), "{text}");
            assert!(general.is_ok(), "{text}");
        }
    }

    /// A float as the scanner reads it, and what it leaves.
    fn float(text: &str) -> (Option<f64>, &[u8]) {
        let mut scanner = Scanner { rest: text.as_bytes() };
        (scanner.float(), scanner.rest)
    }

    #[test]
    fn hard_floats_are_read_to_the_bit() {
        for text in [
            "0",
            "-0",
            "0.0",
            "1",
            "9007199254740992",
            "9007199254740993",
            "9007199254740995",
            "1e22",
            "1e23",
            "1e-22",
            "1e-23",
            "8.5e-5",
            "123456789012345678",
            "0.1",
            "2.5e+3",
            "9007199254740993.0",
            "5e-324",
            "2.4703282292062327e-324",
            "2.4703282292062328e-324",
            "1.7976931348623157e308",
            "2.2250738585072011e-308",
            "0.000001",
            "6929495644600919.5",
            "3.7455744005952583e15",
            "7.2057594037927933e16",
            "100000000000000000000",
            "1.00000000000000011102230246251565404236316680908203125",
            "1.00000000000000011102230246251565404236316680908203126",
        ] {
            let expected: f64 = text.parse().unwrap();
            let (found, rest) = float(text);
            assert_eq!(found.map(f64::to_bits), Some(expected.to_bits()), "{text}");
            assert!(rest.is_empty(), "{text}");
        }
        for text in ["", "-", "01", ".5", "1.", "1.e5", "1e", "1e+", "1e999", "+1", "NaN"] {
            assert_eq!(float(text).0, None, "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        #[test]
        fn every_float_is_the_nearest(
            whole in 0u64.., behind in prop::option::of("[0-9]{1,24}"), negative in any::<bool>(),
            shift in 0u32..64, power in prop::option::of(-330i32..310), bits in any::<u64>(),
        ) {
            let mut text = if negative { "-".to_owned() } else { String::new() };
            text += &(whole >> shift).to_string();
            if let Some(behind) = behind {
                text = text + "." + &behind;
            }
            if let Some(power) = power {
                text = format!("{text}e{power}");
            }
            let shown = f64::from_bits(bits);
            for text in [text, shown.to_string(), format!("{shown:e}")] {
                let expected = text.parse::<f64>().ok().filter(|v| v.is_finite());
                prop_assert_eq!(float(&text).0.map(f64::to_bits), expected.map(f64::to_bits), "{}", text);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn what_is_answered_here_is_what_the_general_reader_answers(
            price in any::<f64>(), quantity in -1e6f64..1e6, time in any::<i64>(),
            id in any::<i64>(), spaced in any::<bool>(),
            edits in prop::collection::vec(
                (any::<prop::sample::Index>(), prop::sample::select(&b"0123456789+-.eE\"\\ ,:{}abtn\x07\xff"[..]), 0u8..3),
                0..4),
        ) {
            let gap = if spaced { " " } else { "" };
            let mut value = format!(
                "{{\"product_id\":{gap}\"BTC/USD\",{gap}\"price\":{gap}{price},\"quantity\":{quantity:e},\
                 \"timestamp_ms\":{time},\"trade_id\":{id},\"side\":\"buy\",\"backfilled\":{gap}false}}"
            ).into_bytes();
            for (at, byte, edit) in edits {
                let at = at.index(value.len());
                match edit {
                    0 => value[at] = byte,
                    1 => value.insert(at, byte),
                    _ => {
                        value.remove(at);
                    }
                }
            }
            let (quick, general) = both(&value);
            if let Some(quick) = quick {
                prop_assert_eq!(quick, general, "{}", String::from_utf8_lossy(&value));
            }
        }
    }
}
