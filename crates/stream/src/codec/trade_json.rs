//! Trades in JSON as nearly all of them are written: one flat object of known fields, without
//! escapes. Anything else is left to the general reader, which answers the same and takes
//! several times as long.

use foretell_market::{Arrival, FeedEvent, Side, Timestamp, Trade};

use super::{Instruments, Refusal};

/// The fields of a trade that were met.
#[derive(Default)]
struct Fields<'a> {
    product_id: Option<&'a str>,
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
    let instrument = match instruments.named(fields.product_id?) {
        Ok(instrument) => instrument,
        Err(refusal) => return Some(Err(refusal)),
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
        let key = scanner.text()?;
        scanner.token(b':')?;
        match key {
            b"product_id" => {
                let text = std::str::from_utf8(scanner.text()?).ok()?;
                once(&mut fields.product_id, text)?;
            }
            b"price" => once(&mut fields.price, scanner.float()?)?,
            b"quantity" => once(&mut fields.quantity, scanner.float()?)?,
            b"timestamp_ms" => once(&mut fields.timestamp_ms, scanner.integer()?)?,
            b"timestamp_us" => once(&mut fields.timestamp_us, scanner.integer()?)?,
            b"trade_id" => once(&mut fields.trade_id, scanner.integer()?)?,
            b"arrived_us" => once(&mut fields.arrived_us, scanner.integer()?)?,
            b"side" => {
                let side = match scanner.text()? {
                    b"buy" => Side::Buy,
                    b"sell" => Side::Sell,
                    _ => return None,
                };
                once(&mut fields.side, side)?;
            }
            b"backfilled" => once(&mut fields.backfilled, scanner.truth()?)?,
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

impl<'a> Scanner<'a> {
    /// The next byte behind spaces.
    fn next(&mut self) -> Option<u8> {
        loop {
            let (first, rest) = self.rest.split_first()?;
            self.rest = rest;
            if *first != b' ' {
                return Some(*first);
            }
        }
    }

    fn token(&mut self, wanted: u8) -> Option<()> {
        (self.next()? == wanted).then_some(())
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

    /// A number as JSON allows it, and whether it is whole.
    fn number(&mut self) -> Option<(&'a str, bool)> {
        while let [b' ', rest @ ..] = self.rest {
            self.rest = rest;
        }
        let digits = |from: usize| {
            let count = self.rest[from..].iter().take_while(|b| b.is_ascii_digit()).count();
            from + count
        };
        let begin = usize::from(self.rest.first() == Some(&b'-'));
        let mut end = digits(begin);
        // No digit, or a zero in front of others.
        if end == begin || (self.rest[begin] == b'0' && end > begin + 1) {
            return None;
        }
        let mut whole = true;
        if self.rest.get(end) == Some(&b'.') {
            let behind = digits(end + 1);
            if behind == end + 1 {
                return None;
            }
            (end, whole) = (behind, false);
        }
        if matches!(self.rest.get(end), Some(b'e' | b'E')) {
            let signed = matches!(self.rest.get(end + 1), Some(b'+' | b'-'));
            let begin = end + 1 + usize::from(signed);
            let behind = digits(begin.min(self.rest.len()));
            if behind <= begin {
                return None;
            }
            (end, whole) = (behind, false);
        }
        let (number, rest) = self.rest.split_at(end);
        self.rest = rest;
        // Digits, points, signs and an e.
        Some((std::str::from_utf8(number).ok()?, whole))
    }

    fn float(&mut self) -> Option<f64> {
        let value: f64 = self.number()?.0.parse().ok()?;
        value.is_finite().then_some(value)
    }

    fn integer(&mut self) -> Option<i64> {
        let (text, whole) = self.number()?;
        // A negative zero is no integer to the general reader.
        if whole && text != "-0" { text.parse().ok() } else { None }
    }

    fn truth(&mut self) -> Option<bool> {
        while let [b' ', rest @ ..] = self.rest {
            self.rest = rest;
        }
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
