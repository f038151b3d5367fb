//! Every key of a pipeline file, in one place: the reader, `foretell check`,
//! `foretell init` and the JSON schema are all made from these tables.

mod models;
mod sources;

pub use models::SEARCH;
pub(super) use models::SPACE_DOC;

/// What a key's value must be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Any text.
    Text,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A whole number in a range.
    Whole(i64, i64),
    /// A number in a range (bounds included).
    Number(f64, f64),
    /// `true` or `false`.
    Boolean,
    /// A length of time: `90s`, `15m`, `1h`, `30d`.
    Interval,
    /// An instant: RFC 3339, or a date (UTC).
    Time,
    /// `BASE-QUOTE`.
    Instrument,
    /// A list of texts.
    Texts,
    /// A list of whole numbers in a range.
    Wholes(i64, i64),
    /// A list of lengths of time.
    Intervals,
    /// A list of bars by count: `tick-100`, `volume-12.5`, `dollar-1000000`.
    Bars,
    /// A table of names to texts.
    TextTable,
    /// A table of names to numbers.
    NumberTable,
}

/// One key: its type, its default and what it means.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The name as written.
    pub name: &'static str,
    /// What it must be.
    pub kind: Kind,
    /// The default as it would be written; `None` when the key must be given;
    /// `Some("")` when leaving it out means "not set".
    pub default: Option<&'static str>,
    /// What it means, one sentence or two.
    pub doc: &'static str,
}

const fn key(
    name: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    doc: &'static str,
) -> Key {
    Key { name, kind, default, doc }
}

/// A table of the file: its name and its keys; several when a `kind` chooses.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// The name as written in brackets; empty for the head of the file.
    pub name: &'static str,
    /// Whether it is an array of tables (`[[models]]`).
    pub repeated: bool,
    /// Whether it may be left out.
    pub optional: bool,
    /// What it is for.
    pub doc: &'static str,
    /// Keys that every kind has.
    pub keys: &'static [Key],
    /// The kinds, when a `kind` key chooses further keys.
    pub kinds: &'static [Variant],
}

/// Further keys of one kind.
#[derive(Debug, Clone, Copy)]
pub struct Variant {
    /// The value of `kind`.
    pub name: &'static str,
    /// What it is.
    pub doc: &'static str,
    /// The keys that only this kind has.
    pub keys: &'static [Key],
}

const HEAD: &[Key] = &[
    key("version", Kind::Whole(1, 1), Some("1"), "Version of this file's format."),
    key("name", Kind::Text, None, "Name of the pipeline: letters, digits and dashes."),
    key("instrument", Kind::Instrument, None, "What is forecast, such as BTC-USD."),
    key("interval", Kind::Interval, None, "Length of one candle or sample, such as 1h or 1d."),
    key(
        "as_of",
        Kind::OneOf(&["now", "end-of-data"]),
        Some("\"now\""),
        "The present of this pipeline. `end-of-data` takes the close of the last row as the \
         present and marks everything as a historical demo.",
    ),
    key("seed", Kind::Whole(0, i64::MAX), Some("1"), "Seed of everything random."),
];

/// The checks of the gate that `block`, `warn` and `off` of [gate] may name.
pub(super) const CHECKS: [&str; 14] = [
    "schema",
    "types",
    "max_null_share",
    "min_rows",
    "exact_duplicates",
    "off_grid",
    "unfinished",
    "max_gap",
    "ohlc",
    "min_price",
    "min_volume",
    "max_move",
    "max_staleness",
    "min_completeness",
];

const GATE: &[Key] = &[
    key(
        "expect",
        Kind::OneOf(&["candles", "snapshots"]),
        Some("\"candles\""),
        "Which set of checks: candles (open, high, low, close, volume) or snapshots (price).",
    ),
    key("min_rows", Kind::Whole(1, 1_000_000_000), Some("10"), "Fewest rows."),
    key(
        "max_null_share",
        Kind::Number(0.0, 1.0),
        Some("0.01"),
        "Largest share of missing values in a required column.",
    ),
    key("max_move", Kind::Number(0.0, 1e9), Some("0.5"), "Largest relative move between two rows."),
    key(
        "stale_after",
        Kind::Whole(1, 1_000_000),
        Some("2"),
        "Intervals after which the data is stale.",
    ),
    key(
        "min_completeness",
        Kind::Number(0.0, 1.0),
        Some("0.9"),
        "Smallest share of the intervals that must be there.",
    ),
    key(
        "duplicates",
        Kind::OneOf(&["refuse", "first", "last", "most-precise"]),
        Some("\"refuse\""),
        "Which of two different rows of one time is kept.",
    ),
    key(
        "fill",
        Kind::OneOf(&["none", "previous"]),
        Some("\"none\""),
        "Whether missing intervals are filled from the row before (and flagged) or stay gaps.",
    ),
    key("block", Kind::Texts, Some("[]"), "Checks that stop the run instead of their default."),
    key("warn", Kind::Texts, Some("[]"), "Checks that only warn instead of their default."),
    key("off", Kind::Texts, Some("[]"), "Checks that are not made."),
];

const FEATURES: &[Key] = &[
    key(
        "set",
        Kind::OneOf(&["candle-base", "coingecko-62", "kraken-62"]),
        Some("\"candle-base\""),
        "The feature set.",
    ),
    key("params", Kind::NumberTable, Some(""), "Parameters of the set, such as { rsi = 14 }."),
    key(
        "only",
        Kind::Texts,
        Some("[]"),
        "Which features of the set are taken, in this order; all of them when left out.",
    ),
    key(
        "window",
        Kind::Whole(1, 500),
        Some("1"),
        "Steps of every feature that a row holds, this one included: what networks read as a sequence.",
    ),
    key(
        "season",
        Kind::Interval,
        Some("\"1d\""),
        "The season of the seasonal baseline; at least the horizon.",
    ),
    key(
        "ewma_lambda",
        Kind::Number(0.0, 1.0),
        Some("0.94"),
        "Decay of the exponentially weighted variance (RiskMetrics 1996).",
    ),
];

const LABEL: &[Key] = &[
    key("horizon", Kind::Interval, None, "How far ahead is forecast: a multiple of the interval."),
    key(
        "price",
        Kind::Text,
        Some("\"close\""),
        "The column that is forecast, as a log return turned back into a price.",
    ),
];

const EVALUATION: &[Key] = &[
    key("initial_train", Kind::Interval, None, "History before the first forecast."),
    key(
        "refit_every",
        Kind::Interval,
        None,
        "Refit cadence, the same in evaluation and in live use; serving refuses a model older than this.",
    ),
    key(
        "window",
        Kind::Text,
        Some("\"expanding\""),
        "`expanding`, or a length such as `365d`: the history of each fit.",
    ),
    key("coverage", Kind::Number(0.5, 0.99), Some("0.9"), "Level of the intervals."),
    key(
        "bootstrap_draws",
        Kind::Whole(100, 100_000),
        Some("1000"),
        "Draws of the stationary block bootstrap.",
    ),
    key(
        "cost_bp",
        Kind::Number(0.0, 1_000.0),
        Some("5.0"),
        "Cost of a turn, in basis points, of the sign strategy kept in the ledger.",
    ),
    key(
        "min_refits",
        Kind::Whole(1, 100_000),
        Some("12"),
        "Floor of refits; a shorter evaluation is refused.",
    ),
    key(
        "seeds",
        Kind::Whole(1, 1_000),
        Some("1"),
        "With how many seeds a model that draws is judged in every fold. The first is tested and \
         served, the others give the deviations; `--full` takes 20.",
    ),
    key(
        "folds",
        Kind::Whole(1, 100_000),
        Some(""),
        "Judge the last so many refits alone; all when left out, and with `--full`.",
    ),
    key(
        "epochs",
        Kind::Whole(1, 1_000_000),
        Some(""),
        "Upper bound of every network's `epochs`, judged and served alike; none when left out.",
    ),
    key(
        "time_budget",
        Kind::Interval,
        Some(""),
        "After so long no further seed is begun; the first one always goes through every fold. \
         None when left out, and with `--full`.",
    ),
];

const VOLATILITY: &[Key] = &[key(
    "horizon",
    Kind::Interval,
    Some(""),
    "Length of the spans whose realised variance is forecast, at least two intervals; the \
     season when left out.",
)];

const LOCK_BOX: &[Key] = &[
    key("from", Kind::Time, None, "First instant of the span that `run` never reads."),
    key("to", Kind::Time, None, "First instant after it."),
    key(
        "refit_includes",
        Kind::Boolean,
        Some("false"),
        "Whether the final refit of a recipe that has opened the box learns from it too; its \
         evaluation never does, and every output says so.",
    ),
];

const PROMOTION: &[Key] = &[key(
    "alpha",
    Kind::Number(0.0001, 0.5),
    Some("0.1"),
    "Family-wise rate of false promotions over all candidates and all retrains.",
)];

const LIVE: &[Key] = &[
    key(
        "venue",
        Kind::OneOf(&["kraken", "binance", "coinbase"]),
        None,
        "The exchange whose trades of the instrument are followed.",
    ),
    key(
        "lateness",
        Kind::Interval,
        Some("\"30s\""),
        "For how long after its close a candle still takes late trades and corrections.",
    ),
    key(
        "intervals",
        Kind::Intervals,
        Some("[]"),
        "Further lengths of candles that are made of the trades in the same pass, such as \
         [\"5m\", \"1h\"].",
    ),
    key(
        "bars",
        Kind::Bars,
        Some("[]"),
        "Bars by count that are made in the same pass, each closed by so many trades, so much \
         of the base asset or so much of the quote currency: [\"tick-100\", \"volume-12.5\", \
         \"dollar-1000000\"].",
    ),
];

const SERVE: &[Key] = &[key(
    "time_to_live",
    Kind::Interval,
    Some(""),
    "Age after which a forecast abstains; two horizons when left out.",
)];

/// Every table of the file, in the order in which people write them.
pub const TABLES: &[Table] = &[
    Table {
        name: "",
        repeated: false,
        optional: false,
        doc: "What is forecast.",
        keys: HEAD,
        kinds: &[],
    },
    sources::SOURCE,
    Table {
        name: "gate",
        repeated: false,
        optional: true,
        doc: "What the rows must satisfy before anything is built on them.",
        keys: GATE,
        kinds: &[],
    },
    Table {
        name: "features",
        repeated: false,
        optional: true,
        doc: "What the models may know at each decision.",
        keys: FEATURES,
        kinds: &[],
    },
    Table {
        name: "label",
        repeated: false,
        optional: false,
        doc: "What is forecast.",
        keys: LABEL,
        kinds: &[],
    },
    Table {
        name: "evaluation",
        repeated: false,
        optional: false,
        doc: "The walk-forward evaluation.",
        keys: EVALUATION,
        kinds: &[],
    },
    Table {
        name: "volatility",
        repeated: false,
        optional: true,
        doc: "What the forecast of volatility is judged on.",
        keys: VOLATILITY,
        kinds: &[],
    },
    Table {
        name: "lock_box",
        repeated: false,
        optional: true,
        doc: "A span kept aside, opened once per recipe with `evaluate --lock-box`.",
        keys: LOCK_BOX,
        kinds: &[],
    },
    models::MODELS,
    Table {
        name: "promotion",
        repeated: false,
        optional: true,
        doc: "When a candidate becomes champion.",
        keys: PROMOTION,
        kinds: &[],
    },
    Table {
        name: "serve",
        repeated: false,
        optional: true,
        doc: "How forecasts are served.",
        keys: SERVE,
        kinds: &[],
    },
    Table {
        name: "live",
        repeated: false,
        optional: true,
        doc: "Whose trades are followed live, by `foretell up`.",
        keys: LIVE,
        kinds: &[],
    },
];

/// The table of a name.
pub(crate) fn table(name: &str) -> &'static Table {
    TABLES.iter().find(|t| t.name == name).expect("only names of the list are asked for")
}
