//! What is known about the quality of one row, carried as far as the forecast.

use std::fmt;
use std::ops::{BitOr, BitOrAssign};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A set of marks on a row. Nothing is filled, back-filled or late without one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct RowFlags(u32);

impl RowFlags {
    /// No mark.
    pub const NONE: RowFlags = RowFlags(0);
    /// Imported after the fact: known-at is a declared lag, not an observation.
    pub const BACKFILLED: RowFlags = RowFlags(1);
    /// At least one value was filled in, not observed.
    pub const FILLED: RowFlags = RowFlags(1 << 1);
    /// Arrived after its interval had been closed.
    pub const LATE: RowFlags = RowFlags(1 << 2);
    /// A correction of an earlier version of the same row.
    pub const CORRECTED: RowFlags = RowFlags(1 << 3);
    /// The interval saw no trade (which is not the same as a missing feed).
    pub const NO_TRADE: RowFlags = RowFlags(1 << 4);
    /// Sampled as-of from an irregular snapshot older than half an interval.
    pub const STALE_SAMPLE: RowFlags = RowFlags(1 << 5);
    /// A gap in the feed that has not been repaired touches this row.
    pub const TAINTED: RowFlags = RowFlags(1 << 6);
    /// A version without values: the row is gone from the origin that had sent it.
    pub const RETRACTED: RowFlags = RowFlags(1 << 7);

    /// Set right by hand: holds in place of what the origin sends, until that changes.
    pub const MENDED: RowFlags = RowFlags(1 << 8);

    const NAMES: [(RowFlags, &'static str); 9] = [
        (Self::BACKFILLED, "backfilled"),
        (Self::FILLED, "filled"),
        (Self::LATE, "late"),
        (Self::CORRECTED, "corrected"),
        (Self::NO_TRADE, "no-trade"),
        (Self::STALE_SAMPLE, "stale-sample"),
        (Self::TAINTED, "tainted"),
        (Self::RETRACTED, "retracted"),
        (Self::MENDED, "mended"),
    ];

    /// The stored form; unknown bits of later versions are kept.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// From the stored form.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// Whether every mark of `other` is set.
    pub const fn contains(self, other: RowFlags) -> bool {
        self.0 & other.0 == other.0
    }

    /// These marks but for those of `other`.
    pub const fn without(self, other: RowFlags) -> Self {
        Self(self.0 & !other.0)
    }

    /// The mark of a name, as [`RowFlags::names()`] writes it.
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, known)| *known == name).map(|(flag, _)| *flag)
    }

    /// The names of the marks that are set.
    pub fn names(self) -> Vec<&'static str> {
        Self::NAMES.iter().filter(|(flag, _)| self.contains(*flag)).map(|(_, name)| *name).collect()
    }
}

impl BitOr for RowFlags {
    type Output = RowFlags;

    fn bitor(self, other: RowFlags) -> RowFlags {
        RowFlags(self.0 | other.0)
    }
}

impl BitOrAssign for RowFlags {
    fn bitor_assign(&mut self, other: RowFlags) {
        self.0 |= other.0;
    }
}

/// As the stored bits.
impl Serialize for RowFlags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(self.0)
    }
}

impl<'de> Deserialize<'de> for RowFlags {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u32::deserialize(deserializer).map(Self)
    }
}

impl fmt::Debug for RowFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}]", self.names().join(" "))
    }
}
