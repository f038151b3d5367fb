//! What goes wrong, and when: by the number of a trade on the tape, or by chance.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;

/// One kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// The connection breaks before the trade; in lockstep `amount` more trades happen at
    /// once, so that nobody is sent them.
    Drop,
    /// The exchange says goodbye first; otherwise as `Drop`.
    Close,
    /// The connection breaks in the middle of the trade's frame; otherwise as `Drop`.
    MidFrame,
    /// The trade is sent `amount` times more.
    Duplicate,
    /// The trade is sent after `amount` later ones.
    Reorder,
    /// Everything waits for `amount` milliseconds.
    Delay,
    /// Nothing is sent for `amount` milliseconds, answers to pings included.
    Silence,
    /// The trade's message is cut: no JSON.
    Malformed,
    /// The trade is sent with a price or quantity that is none.
    BadNumber,
    /// The trade is sent with a time of 1970 or far ahead.
    BadTime,
    /// A trade of a symbol that nobody asked for is sent as well.
    UnknownSymbol,
    /// `amount` trades from this one on are not sent; the HTTP interface has them.
    Skip,
    /// `amount` trades from this one on are neither sent nor does the HTTP interface
    /// have them.
    Lose,
    /// The next `amount` questions over HTTP are answered with an error.
    HttpDown,
}

/// Every kind with the name by which it is asked for and its amount when none is given.
const KINDS: [(FaultKind, &str, u64); 14] = [
    (FaultKind::Drop, "drop", 3),
    (FaultKind::Close, "close", 3),
    (FaultKind::MidFrame, "mid-frame", 3),
    (FaultKind::Duplicate, "duplicate", 1),
    (FaultKind::Reorder, "reorder", 2),
    (FaultKind::Delay, "delay", 20),
    (FaultKind::Silence, "silence", 1_000),
    (FaultKind::Malformed, "malformed", 1),
    (FaultKind::BadNumber, "bad-number", 1),
    (FaultKind::BadTime, "bad-time", 1),
    (FaultKind::UnknownSymbol, "unknown-symbol", 1),
    (FaultKind::Skip, "skip", 2),
    (FaultKind::Lose, "lose", 2),
    (FaultKind::HttpDown, "http-down", 2),
];

/// One fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// How much of it; what that means, the kind says.
    pub amount: u64,
}

/// A fault that is not known, or a number that makes no sense with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}`: {problem}; the faults are {}", names())]
pub struct FaultError {
    /// What was written.
    pub text: String,
    /// What is wrong with it.
    pub problem: String,
}

fn names() -> String {
    KINDS.map(|(_, name, _)| name).join(", ")
}

impl FaultKind {
    /// Every kind.
    pub fn all() -> impl Iterator<Item = FaultKind> {
        KINDS.into_iter().map(|(kind, ..)| kind)
    }

    /// The name by which it is asked for.
    pub fn name(self) -> &'static str {
        KINDS.into_iter().find(|(kind, ..)| *kind == self).map_or("", |(_, name, _)| name)
    }

    /// The fault with its usual amount.
    pub fn usual(self) -> Fault {
        let usual = KINDS.into_iter().find(|(kind, ..)| *kind == self);
        Fault { kind: self, amount: usual.map_or(1, |(.., amount)| amount) }
    }
}

impl FromStr for FaultKind {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        let found = KINDS.into_iter().find(|(_, name, _)| *name == text);
        let problem = || "there is no such fault".to_owned();
        found
            .map(|(kind, ..)| kind)
            .ok_or_else(|| FaultError { text: text.to_owned(), problem: problem() })
    }
}

/// Reads `skip` and `skip:5`.
impl FromStr for Fault {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        let Some((name, amount)) = text.split_once(':') else {
            return Ok(text.parse::<FaultKind>()?.usual());
        };
        let kind = name.parse()?;
        let problem = || format!("`{amount}` is not a whole number");
        let amount =
            amount.parse().map_err(|_| FaultError { text: text.to_owned(), problem: problem() })?;
        Ok(Fault { kind, amount })
    }
}

/// Which faults befall which trade of the tape (the first is number 1).
#[derive(Debug, Clone, Default)]
pub struct FaultPlan {
    script: BTreeMap<usize, Vec<Fault>>,
    rates: Vec<(Fault, f64)>,
    seed: u64,
}

impl FaultPlan {
    /// No faults; chances are drawn by this seed.
    pub fn new(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    /// A fault at a trade.
    pub fn at(mut self, trade: usize, fault: Fault) -> Self {
        self.script.entry(trade).or_default().push(fault);
        self
    }

    /// A fault at any trade with a probability.
    pub fn by_chance(mut self, fault: Fault, probability: f64) -> Self {
        self.rates.push((fault, probability));
        self
    }

    /// The faults of a trade; the same whenever they are asked for.
    pub fn of(&self, trade: usize) -> Vec<Fault> {
        let mut faults = self.script.get(&trade).cloned().unwrap_or_default();
        let seed = self.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(trade as u64);
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        for (fault, probability) in &self.rates {
            if rng.random::<f64>() < *probability {
                faults.push(*fault);
            }
        }
        faults
    }

    /// The trades of a tape of so many that nobody will ever get.
    pub(crate) fn lost(&self, trades: usize) -> BTreeSet<usize> {
        let mut lost = BTreeSet::new();
        for trade in 1..=trades {
            for fault in self.of(trade).iter().filter(|fault| fault.kind == FaultKind::Lose) {
                let last =
                    trade.saturating_add(usize::try_from(fault.amount).unwrap_or(usize::MAX));
                lost.extend(trade..last.min(trades + 1));
            }
        }
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_by_their_names() {
        for kind in FaultKind::all() {
            assert_eq!(kind.name().parse::<Fault>(), Ok(kind.usual()));
            let text = format!("{}:7", kind.name());
            assert_eq!(text.parse::<Fault>(), Ok(Fault { kind, amount: 7 }));
        }
        let error = "dorp".parse::<Fault>().unwrap_err().to_string();
        assert!(error.contains("dorp") && error.contains("mid-frame"), "{error}");
        assert!("drop:x".parse::<Fault>().is_err());
    }

    #[test]
    fn a_plan_is_the_same_whenever_it_is_asked() {
        let plan = FaultPlan::new(3)
            .at(10, FaultKind::Drop.usual())
            .by_chance(FaultKind::Duplicate.usual(), 0.25);
        let all = |plan: &FaultPlan| (1..=4_000).map(|n| plan.of(n)).collect::<Vec<_>>();
        assert_eq!(all(&plan), all(&plan.clone()));
        let of = |kind| all(&plan).concat().iter().filter(|fault| fault.kind == kind).count();
        assert_eq!(of(FaultKind::Drop), 1);
        // 4,000 draws at 0.25: six standard deviations are 164.
        assert!((836..1_164).contains(&of(FaultKind::Duplicate)));
    }
}
