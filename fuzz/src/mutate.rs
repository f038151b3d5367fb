//! Changes to inputs: bytes, numbers, words, lines, and pieces of other inputs.
//!
//! Everything comes from one seed; the same seed makes the same inputs.

/// A small seeded generator (SplitMix64, Steele, Lea and Flood 2014).
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// A generator from its seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 for a bound of 0.
    pub fn below(&mut self, bound: usize) -> usize {
        if bound == 0 { 0 } else { (self.roll() % bound as u64) as usize }
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> Option<&'a T> {
        from.get(self.below(from.len())).copied()
    }
}

/// Numbers that break things.
const NUMBERS: [&str; 22] = [
    "0",
    "-1",
    "-0",
    "1e999",
    "-1e-999",
    "NaN",
    "inf",
    "1e308",
    "9007199254740993",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551616",
    "253402300800000",
    "0.1",
    ".5",
    "5.",
    "1,5",
    "1_000",
    "+7",
    "0x10",
    "١٢",
    "99999999999999999999999999",
];

/// Longer inputs find nothing that shorter ones do not.
pub const MAX_LENGTH: usize = 1 << 16;

/// A changed copy of `input`: one to eight changes.
pub fn mutate(dice: &mut Dice, input: &[u8], other: &[u8], words: &[&str]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=dice.below(3) + dice.below(3) + dice.below(3) {
        change(dice, &mut bytes, other, words);
        bytes.truncate(MAX_LENGTH);
    }
    bytes
}

fn change(dice: &mut Dice, bytes: &mut Vec<u8>, other: &[u8], words: &[&str]) {
    let at = dice.below(bytes.len() + 1);
    match dice.below(14) {
        0 => flip(dice, bytes),
        1 => overwrite(dice, bytes),
        2 => bytes.insert(at, dice.roll() as u8),
        3 => {
            let end = (at + 1 + dice.below(16)).min(bytes.len());
            bytes.drain(at.min(end)..end);
        }
        4 => bytes.truncate(at),
        5 | 6 => {
            let word = dice.pick(words).unwrap_or("").as_bytes();
            bytes.splice(at..at, word.iter().copied());
        }
        7 | 8 => {
            if let Some((start, end)) = number_near(bytes, at) {
                let number = dice.pick(&NUMBERS).unwrap_or("0").as_bytes();
                bytes.splice(start..end, number.iter().copied());
            }
        }
        9 => {
            if let Some((start, end)) = number_near(bytes, at) {
                let digit = start + dice.below(end - start);
                bytes[digit] = b'0' + dice.below(10) as u8;
            }
        }
        10 => {
            // A line again, somewhere else.
            let (start, end) = line_around(bytes, at);
            let line = bytes[start..end].to_vec();
            let (to, _) = line_around(bytes, dice.below(bytes.len() + 1));
            bytes.splice(to..to, line);
        }
        11 => {
            let (start, end) = line_around(bytes, at);
            bytes.drain(start..end);
        }
        12 => {
            // The tail of another input.
            bytes.truncate(at);
            bytes.extend_from_slice(&other[dice.below(other.len() + 1)..]);
        }
        _ => {
            // A piece of this input again, at once after itself.
            let end = (at + 1 + dice.below(64)).min(bytes.len());
            let piece = bytes[at.min(end)..end].to_vec();
            let times = 1 + dice.below(4);
            bytes.splice(end..end, piece.repeat(times));
        }
    }
}

fn flip(dice: &mut Dice, bytes: &mut [u8]) {
    let at = dice.below(bytes.len());
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << dice.below(8);
    }
}

fn overwrite(dice: &mut Dice, bytes: &mut [u8]) {
    const BYTES: [u8; 18] = *b"\0\n\r\t \"',;:[]{}-.=\xff";
    let at = dice.below(bytes.len());
    if let Some(byte) = bytes.get_mut(at) {
        *byte = BYTES[dice.below(BYTES.len())];
    }
}

/// The next run of number characters at or after `at`.
fn number_near(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let is_number = |b: &u8| b.is_ascii_digit() || *b == b'.' || *b == b'-';
    let start = at + bytes[at..].iter().position(is_number)?;
    let length = bytes[start..].iter().take_while(|b| is_number(b)).count();
    Some((start, start + length))
}

/// The line that holds byte `at`, its line end included.
fn line_around(bytes: &[u8], at: usize) -> (usize, usize) {
    let start = bytes[..at].iter().rposition(|&b| b == b'\n').map_or(0, |i| i + 1);
    let end = bytes[at..].iter().position(|&b| b == b'\n').map_or(bytes.len(), |i| at + i + 1);
    (start, end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_inputs() {
        let inputs = |seed| {
            let mut dice = Dice::new(seed);
            let mut bytes = b"time,close\n1,2.5\n2,3.5\n".to_vec();
            let mut all = Vec::new();
            for _ in 0..500 {
                bytes = mutate(&mut dice, &bytes, b"other,bytes\n", &["close", "\u{feff}"]);
                all.push(bytes.clone());
            }
            all
        };
        assert_eq!(inputs(7), inputs(7));
        assert_ne!(inputs(7), inputs(8));
    }

    #[test]
    fn empty_and_full_inputs_are_changed_safely() {
        let mut dice = Dice::new(1);
        let full = vec![b'9'; MAX_LENGTH];
        for _ in 0..2000 {
            mutate(&mut dice, b"", b"", &[]);
        }
        for _ in 0..50 {
            assert!(mutate(&mut dice, &full, &full, &["x"]).len() <= MAX_LENGTH);
        }
    }
}
