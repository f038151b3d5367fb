//! What rows must satisfy, declared as data: severity and threshold per check.
//!
//! Holds no rows and decides nothing; `gate` does.

use serde::{Deserialize, Deserializer, Serialize};

/// What a broken expectation does to the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The run stops; nothing is written downstream.
    Block,
    /// The run goes on and says so. Bad rows are quarantined all the same.
    Warn,
    /// Not looked at.
    Off,
}

/// One expectation with a number to hold against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check<T> {
    /// What happens when it is broken.
    pub severity: Severity,
    /// The limit; each field of [`Expectations`] says in which unit.
    pub threshold: T,
}

impl<T> Check<T> {
    /// A check that stops the run.
    pub const fn block(threshold: T) -> Self {
        Self { severity: Severity::Block, threshold }
    }

    /// A check that warns.
    pub const fn warn(threshold: T) -> Self {
        Self { severity: Severity::Warn, threshold }
    }

    /// A check that is not made.
    pub const fn off(threshold: T) -> Self {
        Self { severity: Severity::Off, threshold }
    }
}

/// What to do with rows of one time whose values differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Duplicates {
    /// Refuse the table: nobody said which row is right.
    Refuse,
    /// Keep the row that carries the most significant digits over all columns; rows
    /// that carry equally many are refused.
    KeepMostPrecise,
    /// Keep the row that came first in the origin.
    #[serde(alias = "first")]
    KeepFirst,
    /// Keep the row that came last in the origin.
    #[serde(alias = "last")]
    KeepLast,
}

/// What to do with missing intervals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fill {
    /// Leave them missing: a gap is a record.
    None,
    /// Carry the last price on with no volume, each such row marked
    /// [`foretell_market::RowFlags::FILLED`].
    Previous,
}

/// What a table must satisfy. Deserialises from any subset of its keys over the
/// defaults of `kind` (`candles` unless it says `snapshots`); see
/// [`ExpectationSettings`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Expectations {
    /// Columns that must be there (candles: open, high, low, close, volume; snapshots:
    /// price, market_cap, total_volume).
    pub required_columns: Vec<String>,
    /// Columns that hold prices (candles: open, high, low, close; snapshots: price).
    pub price_columns: Vec<String>,
    /// The column whose moves are judged and which is carried on when filling
    /// (candles: close; snapshots: price).
    pub price_column: String,
    /// Columns that hold amounts, where they exist (candles: volume, quote_volume,
    /// trades; snapshots: total_volume, market_cap).
    pub volume_columns: Vec<String>,
    /// Required columns are there, each name once, each as long as the rows.
    /// Default: block.
    pub schema: Severity,
    /// Every cell is empty or a finite number; rows with another are quarantined.
    /// Default: block.
    pub types: Severity,
    /// Largest share of empty cells in a column, 0 to 1. Columns that are not required
    /// never do more than warn. Default: block over 0.01.
    pub max_null_share: Check<f64>,
    /// Fewest rows left after quarantine. Default: block under 10.
    pub min_rows: Check<usize>,
    /// Rows that repeat another of the same time value for value; they are quarantined
    /// whatever this says. Default: warn.
    pub exact_duplicates: Severity,
    /// Rows of one time with different values. Default: refuse.
    pub duplicates: Duplicates,
    /// Times between two grid points; such rows are quarantined whatever this says.
    /// Default: warn.
    pub off_grid: Severity,
    /// Rows whose interval ends after the as-of time (a forming bar, a wrong clock);
    /// they are quarantined. Default: warn.
    pub unfinished: Severity,
    /// Longest run of missing intervals that goes unmentioned. Default: warn over 0.
    pub max_gap: Check<usize>,
    /// `low ≤ open, close ≤ high`, to within this share of the price; rows that break
    /// it are quarantined. Default: block over 0.
    pub ohlc: Check<f64>,
    /// Prices are above this; other rows are quarantined. Default: block at 0.
    pub min_price: Check<f64>,
    /// Amounts are at least this; other rows are quarantined. Default: block under 0.
    pub min_volume: Check<f64>,
    /// Largest relative move from one row's price to the next, either way.
    /// Default: warn over 0.5.
    pub max_move: Check<f64>,
    /// Largest age of the last row's close at the as-of time, in intervals.
    /// Default: warn over 2.
    pub max_staleness: Check<f64>,
    /// Smallest share of the intervals from first to last row that have a row, 0 to 1.
    /// Default: warn under 0.9.
    pub min_completeness: Check<f64>,
    /// What to do with missing intervals. Default: none.
    pub fill: Fill,
    /// Longest run of missing intervals that is filled, at most 1,000; longer ones stay
    /// gaps. Default: 3.
    pub fill_limit: usize,
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}

impl Expectations {
    /// The defaults for candles: open, high, low, close, volume.
    pub fn candles() -> Self {
        Self {
            required_columns: names(&["open", "high", "low", "close", "volume"]),
            price_columns: names(&["open", "high", "low", "close"]),
            price_column: "close".to_owned(),
            volume_columns: names(&["volume", "quote_volume", "trades"]),
            schema: Severity::Block,
            types: Severity::Block,
            max_null_share: Check::block(0.01),
            min_rows: Check::block(10),
            exact_duplicates: Severity::Warn,
            duplicates: Duplicates::Refuse,
            off_grid: Severity::Warn,
            unfinished: Severity::Warn,
            max_gap: Check::warn(0),
            ohlc: Check::block(0.0),
            min_price: Check::block(0.0),
            min_volume: Check::block(0.0),
            max_move: Check::warn(0.5),
            max_staleness: Check::warn(2.0),
            min_completeness: Check::warn(0.9),
            fill: Fill::None,
            fill_limit: 3,
        }
    }

    /// The defaults for snapshots: price, market_cap, total_volume.
    pub fn snapshots() -> Self {
        Self {
            required_columns: names(&["price", "market_cap", "total_volume"]),
            price_columns: names(&["price"]),
            price_column: "price".to_owned(),
            volume_columns: names(&["total_volume", "market_cap"]),
            ohlc: Check::off(0.0),
            ..Self::candles()
        }
    }

    /// Checks that the limits make sense themselves.
    ///
    /// # Errors
    /// The first limit that is not a number or outside its range.
    pub fn validate(&self) -> Result<(), ExpectationError> {
        let shares = [
            ("max_null_share", self.max_null_share.threshold),
            ("min_completeness", self.min_completeness.threshold),
            ("ohlc", self.ohlc.threshold),
        ];
        for (key, value) in shares {
            if !(0.0..=1.0).contains(&value) {
                return Err(ExpectationError { key, value, range: "from 0 to 1" });
            }
        }
        for (key, value) in
            [("max_move", self.max_move.threshold), ("max_staleness", self.max_staleness.threshold)]
        {
            if !(value.is_finite() && value >= 0.0) {
                return Err(ExpectationError { key, value, range: "of zero or more" });
            }
        }
        for (key, value) in
            [("min_price", self.min_price.threshold), ("min_volume", self.min_volume.threshold)]
        {
            if !value.is_finite() {
                return Err(ExpectationError { key, value, range: "that is finite" });
            }
        }
        if self.fill_limit > crate::gate::MAX_FILL {
            let (key, value) = ("fill_limit", self.fill_limit as f64);
            return Err(ExpectationError { key, value, range: "of at most 1000" });
        }
        Ok(())
    }
}

impl Default for Expectations {
    fn default() -> Self {
        Self::candles()
    }
}

/// A limit that cannot be meant.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("`{key}` is {value}: give a number {range}")]
pub struct ExpectationError {
    /// The key in the settings.
    pub key: &'static str,
    /// What stood there.
    pub value: f64,
    /// What is allowed.
    pub range: &'static str,
}

/// Which defaults settings start from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExpectationKind {
    /// [`Expectations::candles`].
    #[default]
    Candles,
    /// [`Expectations::snapshots`].
    Snapshots,
}

/// One check as written: what is left out keeps its default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckSetting<T> {
    /// Replaces the severity.
    #[serde(default = "absent", skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// Replaces the threshold.
    #[serde(default = "absent", skip_serializing_if = "Option::is_none")]
    pub threshold: Option<T>,
}

fn absent<T>() -> Option<T> {
    None
}

impl<T> CheckSetting<T> {
    fn over(self, check: &mut Check<T>) {
        if let Some(severity) = self.severity {
            check.severity = severity;
        }
        if let Some(threshold) = self.threshold {
            check.threshold = threshold;
        }
    }
}

/// Declares the settings twice over: as optional fields, and as their application.
macro_rules! settings {
    (plain: $($plain:ident: $plain_type:ty),*; checks: $($check:ident: $check_type:ty),*;) => {
        /// Expectations as written in a file: every key may be left out, unknown keys
        /// are refused. The keys are the fields of [`Expectations`], with `kind`.
        #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct ExpectationSettings {
            /// The defaults to start from.
            pub kind: Option<ExpectationKind>,
            $(
                #[doc = concat!("Replaces [`Expectations::", stringify!($plain), "`].")]
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $plain: Option<$plain_type>,
            )*
            $(
                #[doc = concat!("Replaces [`Expectations::", stringify!($check), "`].")]
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $check: Option<CheckSetting<$check_type>>,
            )*
        }

        impl ExpectationSettings {
            /// These settings over the defaults of their `kind`, or of another one when
            /// they name none.
            pub fn over(self, otherwise: ExpectationKind) -> Expectations {
                let mut resolved = match self.kind.unwrap_or(otherwise) {
                    ExpectationKind::Candles => Expectations::candles(),
                    ExpectationKind::Snapshots => Expectations::snapshots(),
                };
                $(
                    if let Some(value) = self.$plain {
                        resolved.$plain = value;
                    }
                )*
                $(
                    if let Some(setting) = self.$check {
                        setting.over(&mut resolved.$check);
                    }
                )*
                resolved
            }
        }
    };
}

settings! {
    plain: required_columns: Vec<String>, price_columns: Vec<String>, price_column: String,
        volume_columns: Vec<String>, schema: Severity, types: Severity,
        exact_duplicates: Severity, duplicates: Duplicates, off_grid: Severity,
        unfinished: Severity, fill: Fill, fill_limit: usize;
    checks: max_null_share: f64, min_rows: usize, max_gap: usize, ohlc: f64, min_price: f64,
        min_volume: f64, max_move: f64, max_staleness: f64, min_completeness: f64;
}

impl<'de> Deserialize<'de> for Expectations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let settings = ExpectationSettings::deserialize(deserializer)?;
        let resolved = settings.over(ExpectationKind::Candles);
        resolved.validate().map_err(serde::de::Error::custom)?;
        Ok(resolved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_replace_only_what_they_name() {
        let read = |text: &str| serde_json::from_str::<Expectations>(text);
        assert_eq!(read("{}").unwrap(), Expectations::candles());
        assert_eq!(read(r#"{"kind": "snapshots"}"#).unwrap(), Expectations::snapshots());
        let some = read(
            r#"{"max_move": {"threshold": 0.2}, "ohlc": {"severity": "warn"}, "duplicates": "first",
                "fill": "previous"}"#,
        )
        .unwrap();
        assert_eq!(some.max_move, Check::warn(0.2));
        assert_eq!(some.ohlc, Check::warn(0.0));
        assert_eq!((some.duplicates, some.fill), (Duplicates::KeepFirst, Fill::Previous));
        let back = serde_json::to_string(&some).unwrap();
        assert_eq!(read(&back).unwrap(), some);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (text, expected) in [
            (r#"{"max_moves": {"threshold": 0.2}}"#, "unknown field `max_moves`"),
            (r#"{"max_move": {"limit": 0.2}}"#, "unknown field `limit`"),
            (r#"{"ohlc": {"severity": "fatal"}}"#, "unknown variant `fatal`"),
            (r#"{"max_null_share": {"threshold": 1.5}}"#, "`max_null_share` is 1.5"),
            (r#"{"max_staleness": {"threshold": -1}}"#, "a number of zero or more"),
            (r#"{"fill_limit": 1001}"#, "`fill_limit` is 1001"),
        ] {
            let error = serde_json::from_str::<Expectations>(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
