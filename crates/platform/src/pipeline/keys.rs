//! Every key of a pipeline file, in one place: the reader, `foretell check`,
//! `foretell init` and the JSON schema are all made from these tables.

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

const SECRET_DOC: &str = "Name of the environment variable that holds the key (COINGECKO_…, KAGGLE_… or FORETELL_KEY_…); \
     the key itself never stands in a file.";

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

const SOURCE_COMMON: &[Key] = &[
    key(
        "lag",
        Kind::Interval,
        Some(""),
        "How long after its close a back-filled row counts as known; none by default.",
    ),
    key("from", Kind::Time, Some(""), "Take rows from this instant on."),
    key("to", Kind::Time, Some(""), "Take rows before this instant."),
];

/// How rows are written in a file, wherever the file comes from.
const FORM: [Key; 7] = [
    key(
        "format",
        Kind::OneOf(&["csv", "parquet", "json", "coingecko"]),
        Some(""),
        "The file's format; found from its name and content when left out.",
    ),
    key(
        "columns",
        Kind::TextTable,
        Some(""),
        "The file's name of each column, such as { time = \"dtutc\" }; found when left out.",
    ),
    key(
        "header",
        Kind::Texts,
        Some("[]"),
        "Names of the columns, for a file without a header line.",
    ),
    key(
        "time_format",
        Kind::Text,
        Some(""),
        "unix, unix-s, unix-ms, unix-us, unix-ns, iso, day-first, month-first or a pattern such \
         as %d/%m/%Y; found when left out.",
    ),
    key("symbol", Kind::Text, Some(""), "Whose rows are meant, in a file of many instruments."),
    key("zone", Kind::Text, Some("\"UTC\""), "IANA time zone of times without an offset."),
    key(
        "time_is",
        Kind::OneOf(&["open", "close"]),
        Some("\"open\""),
        "Whether a row's time is the start or the end of its interval.",
    ),
];

/// One list of keys behind another.
const fn joined<const A: usize, const B: usize, const ALL: usize>(
    first: [Key; A],
    then: [Key; B],
) -> [Key; ALL] {
    assert!(A + B == ALL && A > 0);
    let mut all = [first[0]; ALL];
    let mut i = 0;
    while i < ALL {
        all[i] = if i < A { first[i] } else { then[i - A] };
        i += 1;
    }
    all
}

const FILE_KEYS: [Key; 1 + FORM.len()] = joined(
    [key(
        "path",
        Kind::Text,
        None,
        "The file, relative to this pipeline file; plain, gzip or a zip archive of one file.",
    )],
    FORM,
);

/// How often a vendor is asked.
const RATE: Key = key(
    "requests_per_minute",
    Kind::Whole(1, 100_000),
    Some(""),
    "How often the vendor may be asked, at equal distances; its public limit when left out.",
);

const KRAKEN_KEYS: &[Key] = &[
    key(
        "pair",
        Kind::Text,
        Some(""),
        "Kraken's name of the pair; derived from the instrument when left out.",
    ),
    key(
        "feed",
        Kind::OneOf(&["ohlc", "trades"]),
        Some("\"ohlc\""),
        "`ohlc` is the latest 720 candles; `trades` reaches back to the beginning, more slowly.",
    ),
    key(
        "base_url",
        Kind::Text,
        Some("\"https://api.kraken.com\""),
        "Where Kraken's REST interface is.",
    ),
    RATE,
];

const BINANCE_KEYS: &[Key] = &[
    key(
        "symbol",
        Kind::Text,
        Some(""),
        "Binance's symbol; derived from the instrument when left out.",
    ),
    key(
        "base_url",
        Kind::Text,
        Some("\"https://api.binance.com\""),
        "Where Binance's REST interface is.",
    ),
    RATE,
];

const COINGECKO_KEYS: &[Key] = &[
    key("coin", Kind::Text, Some("\"bitcoin\""), "CoinGecko's id of the coin."),
    key("days", Kind::Whole(1, 365), Some("30"), "How many days back; 2 to 90 come hourly."),
    key(
        "base_url",
        Kind::Text,
        Some("\"https://api.coingecko.com\""),
        "Where CoinGecko's interface is.",
    ),
    key("key_env", Kind::Text, Some(""), SECRET_DOC),
    RATE,
];

const KAGGLE_KEYS: [Key; 6 + FORM.len()] = joined(
    [
        key("dataset", Kind::Text, None, "Owner and name of the dataset: `owner/name`."),
        key(
            "file",
            Kind::Text,
            Some(""),
            "The file inside the archive; the only one when left out.",
        ),
        key(
            "base_url",
            Kind::Text,
            Some("\"https://www.kaggle.com\""),
            "Where Kaggle's interface is.",
        ),
        key("key_env", Kind::Text, Some("\"KAGGLE_KEY\""), SECRET_DOC),
        key(
            "user_env",
            Kind::Text,
            Some("\"KAGGLE_USERNAME\""),
            "Name of the environment variable that holds the user name.",
        ),
        RATE,
    ],
    FORM,
);

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

const MODEL_COMMON: &[Key] =
    &[key("name", Kind::Text, Some(""), "Name in tables; the kind when left out.")];

const RIDGE: &[Key] = &[
    key(
        "alpha",
        Kind::Number(0.0, 1e12),
        Some("1.0"),
        "Strength of the L2 penalty on standardised columns.",
    ),
    key(
        "volatility_scaled",
        Kind::Boolean,
        Some("false"),
        "Whether the spread of its quantiles follows the exponentially weighted volatility.",
    ),
];

const FOREST: &[Key] = &[
    key("trees", Kind::Whole(1, 10_000), Some("100"), "Number of trees."),
    key("depth", Kind::Whole(1, 30), Some("10"), "Deepest level of a tree."),
    key("min_split", Kind::Whole(2, 1_000_000), Some("5"), "Fewest rows to split."),
    key("min_leaf", Kind::Whole(1, 1_000_000), Some("2"), "Fewest rows of a leaf."),
    key(
        "column_share",
        Kind::Number(0.01, 1.0),
        Some("0.3333333333333333"),
        "Share of columns tried at each split.",
    ),
];

const UNITS: Key =
    key("units", Kind::Wholes(1, 4_096), Some("[32]"), "Units of each layer, the first one first.");
const DROPOUT: Key =
    key("dropout", Kind::Number(0.0, 0.5), Some("0.0"), "Share of outputs dropped between layers.");
const OBJECTIVE: Key = key(
    "objective",
    Kind::OneOf(&["pinball", "squared", "classes"]),
    Some("\"pinball\""),
    "Nine quantiles by pinball loss, the mean by squared error, or classes of outcomes by \
     cross-entropy.",
);
const CLASSES: Key = key(
    "classes",
    Kind::Whole(2, 21),
    Some("2"),
    "With `objective = \"classes\"`: 2 for falls and rises, more for as many equally frequent \
     ranges of outcomes.",
);
const EPOCHS: Key =
    key("epochs", Kind::Whole(1, 1_000_000), Some("50"), "Passes over the training rows, at most.");
const BATCH: Key = key("batch", Kind::Whole(1, 1_000_000), Some("64"), "Rows of one step.");
const LEARNING_RATE: Key =
    key("learning_rate", Kind::Number(1e-9, 1.0), Some("0.001"), "Step size of Adam.");
const WEIGHT_DECAY: Key =
    key("weight_decay", Kind::Number(0.0, 1e6), Some("0.0"), "Decoupled weight decay (AdamW).");
const CLIP: Key =
    key("clip", Kind::Number(0.0, 1e9), Some("1.0"), "Largest norm of the gradient; 0 for none.");
const VALIDATION: Key = key(
    "validation",
    Kind::Number(0.0, 0.5),
    Some("0.15"),
    "Share of the training rows, the last ones, that decide when to stop.",
);
const PATIENCE: Key = key(
    "patience",
    Kind::Whole(0, 1_000_000),
    Some("5"),
    "Epochs without a better validation loss before training ends; 0 for never.",
);

const PLATEAU: Key = key(
    "plateau",
    Kind::Whole(0, 1_000_000),
    Some("3"),
    "Epochs without a better validation loss before the step size falls; 0 for never.",
);
const PLATEAU_FACTOR: Key = key(
    "plateau_factor",
    Kind::Number(1e-9, 1.0),
    Some("0.5"),
    "What the step size is multiplied by then.",
);

const DEVICE: Key = key(
    "device",
    Kind::OneOf(&["cpu", "cuda", "wgpu"]),
    Some("\"cpu\""),
    "Where it is trained: cuda and wgpu (Vulkan, Metal, Direct3D) are for large networks and \
     need a program built with the feature `gpu`; forecasts are computed on the processor.",
);

const fn activation(default: &'static str) -> Key {
    let doc = "What the layers pass through; relu is Keras' activation=\"relu\".";
    key("activation", Kind::OneOf(&["tanh", "relu"]), Some(default), doc)
}

const RECURRENT: &[Key] = &[
    UNITS,
    activation("\"tanh\""),
    DROPOUT,
    OBJECTIVE,
    CLASSES,
    EPOCHS,
    BATCH,
    LEARNING_RATE,
    WEIGHT_DECAY,
    CLIP,
    VALIDATION,
    PATIENCE,
    PLATEAU,
    PLATEAU_FACTOR,
    DEVICE,
];

const PERCEPTRON: &[Key] = &[
    UNITS,
    activation("\"relu\""),
    OBJECTIVE,
    CLASSES,
    EPOCHS,
    BATCH,
    LEARNING_RATE,
    WEIGHT_DECAY,
    CLIP,
    VALIDATION,
    PATIENCE,
    PLATEAU,
    PLATEAU_FACTOR,
    DEVICE,
];

const DECOMPOSITION: &[Key] = &[
    key("kernel", Kind::Whole(1, 1_000), Some("25"), "Steps of the moving average, the trend."),
    OBJECTIVE,
    CLASSES,
    EPOCHS,
    BATCH,
    LEARNING_RATE,
    WEIGHT_DECAY,
    CLIP,
    VALIDATION,
    PATIENCE,
    PLATEAU,
    PLATEAU_FACTOR,
    DEVICE,
];

const IMPORTED: &[Key] = &[key(
    "model",
    Kind::Text,
    None,
    "The file that `foretell import` wrote, relative to this pipeline file. Its columns must be \
     among those of [features]; it cannot be promoted on rows that it may have learnt from.",
)];

const BOOSTING: &[Key] = &[
    key("rounds", Kind::Whole(1, 100_000), Some("200"), "Boosting rounds."),
    key("depth", Kind::Whole(1, 16), Some("4"), "Deepest level of a tree."),
    key("eta", Kind::Number(0.0001, 1.0), Some("0.03"), "Learning rate."),
    key(
        "min_child_weight",
        Kind::Number(0.0, 1e9),
        Some("100.0"),
        "Smallest sum of hessians of a leaf; a row counts about 0.5.",
    ),
    key("subsample", Kind::Number(0.01, 1.0), Some("0.8"), "Share of rows drawn for each round."),
    key("column_sample", Kind::Number(0.01, 1.0), Some("0.5"), "Share of columns of each tree."),
    key("lambda", Kind::Number(0.0, 1e9), Some("1.0"), "Squared penalty on leaf values."),
    key("max_bin", Kind::Whole(2, 65_535), Some("64"), "Most bins of a column."),
];

const ETS: &[Key] = &[key(
    "trend",
    Kind::OneOf(&["auto", "none", "additive", "damped"]),
    Some("\"auto\""),
    "Which trend; that of the lowest AICc by default.",
)];

const ARIMA: &[Key] = &[key(
    "order",
    Kind::Wholes(0, 3),
    Some("[]"),
    "[p, 1, q] of the log price; p and q up to 3 of the lowest AICc when left out.",
)];

const GARCH: &[Key] = &[key(
    "distribution",
    Kind::OneOf(&["normal", "student_t"]),
    Some("\"normal\""),
    "What the likelihood takes the shocks for; quantiles come from the residuals.",
)];

const HAR: &[Key] = &[key(
    "weighted",
    Kind::Boolean,
    Some("true"),
    "Least squares weighted by the inverse square of a first fit, or plain.",
)];

/// How the settings of a model are searched for; `space` beside them has a range per setting.
pub const SEARCH: Table = Table {
    name: "models.search",
    repeated: false,
    optional: true,
    doc: "Searches for settings of the model above it, inside every fit.",
    keys: &[
        key(
            "sampler",
            Kind::OneOf(&["tpe", "random", "grid", "cma_es"]),
            Some("\"tpe\""),
            "How the next trial is chosen.",
        ),
        key(
            "pruner",
            Kind::OneOf(&["none", "median", "hyperband"]),
            Some("\"median\""),
            "What ends a trial before its last split.",
        ),
        key(
            "objective",
            Kind::OneOf(&["pinball", "mae"]),
            Some("\"pinball\""),
            "What trials are judged by: the mean pinball loss of nine quantiles, or the absolute \
             error of the median.",
        ),
        key("trials", Kind::Whole(1, 10_000), Some("50"), "Trials of a search, at most."),
        key(
            "time_budget",
            Kind::Interval,
            Some(""),
            "How long a search may begin new trials; `reproduce` repeats their number, not the time.",
        ),
        key(
            "splits",
            Kind::Whole(1, 50),
            Some("3"),
            "Parts of the training rows that trials are judged on, each after the rows before it.",
        ),
        key(
            "every",
            Kind::Whole(1, 1_000_000),
            Some("1"),
            "Folds from one search to the next; those in between use what was found before them.",
        ),
        key(
            "batch",
            Kind::Whole(1, 64),
            Some("1"),
            "Trials that are chosen before any of them has ended, and run side by side; part of \
             what decides the result.",
        ),
        key("points", Kind::Whole(2, 1_000), Some("5"), "Points per number of a grid."),
    ],
    kinds: &[],
};

/// What `space` of a search is.
pub(super) const SPACE_DOC: &str = "A range per setting of the model: [low, high], { from = low, to = high, log = true } or \
     { one_of = [a, b] }.";

const MEMBERS: Key = key(
    "members",
    Kind::Texts,
    None,
    "Names of two or more other models of this file, none of them an ensemble.",
);

const STACKING: &[Key] = &[
    MEMBERS,
    key(
        "inner_folds",
        Kind::Whole(1, 20),
        Some("3"),
        "Blocks of the second half of the training rows that are forecast to learn the weights.",
    ),
];

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
    Table {
        name: "source",
        repeated: false,
        optional: false,
        doc: "Where the rows come from.",
        keys: SOURCE_COMMON,
        kinds: &[
            Variant {
                name: "file",
                doc: "A CSV, Parquet or JSON file, also gzip or zip.",
                keys: &FILE_KEYS,
            },
            Variant { name: "kraken", doc: "Kraken's public REST interface.", keys: KRAKEN_KEYS },
            Variant { name: "binance", doc: "Binance's public klines.", keys: BINANCE_KEYS },
            Variant { name: "coingecko", doc: "CoinGecko's market_chart.", keys: COINGECKO_KEYS },
            Variant {
                name: "kaggle",
                doc: "A file of a Kaggle dataset, read like any file.",
                keys: &KAGGLE_KEYS,
            },
        ],
    },
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
    Table {
        name: "models",
        repeated: true,
        optional: true,
        doc: "The candidates; the random walk always stands beside them.",
        keys: MODEL_COMMON,
        kinds: &[
            Variant { name: "random_walk", doc: "Tomorrow is today.", keys: &[] },
            Variant {
                name: "drift",
                doc: "The average step of the training rows goes on.",
                keys: &[],
            },
            Variant {
                name: "seasonal_naive",
                doc: "The price of the same time in the season before.",
                keys: &[],
            },
            Variant {
                name: "historical_mean",
                doc: "The mean log return of the training rows.",
                keys: &[],
            },
            Variant {
                name: "ewma_volatility",
                doc: "Random walk with intervals from exponentially weighted volatility.",
                keys: &[],
            },
            Variant { name: "ridge", doc: "Linear regression with an L2 penalty.", keys: RIDGE },
            Variant { name: "random_forest", doc: "Averaged randomised trees.", keys: FOREST },
            Variant {
                name: "gradient_boosting",
                doc: "Boosted trees, one model per quantile.",
                keys: BOOSTING,
            },
            Variant {
                name: "lstm",
                doc: "Long short-term memory over the `window` of [features].",
                keys: RECURRENT,
            },
            Variant {
                name: "gru",
                doc: "Gated recurrent units over the `window` of [features].",
                keys: RECURRENT,
            },
            Variant {
                name: "mlp",
                doc: "A multilayer perceptron over all columns.",
                keys: PERCEPTRON,
            },
            Variant {
                name: "dlinear",
                doc: "A linear forecaster on trend and rest of the `window` of [features].",
                keys: DECOMPOSITION,
            },
            Variant {
                name: "imported",
                doc: "A model that was trained elsewhere (`foretell import`); the spread of its \
                      errors alone is learnt here.",
                keys: IMPORTED,
            },
            Variant {
                name: "theta",
                doc: "Exponential smoothing of the log price with half the slope of its trend.",
                keys: &[],
            },
            Variant {
                name: "ets",
                doc: "Exponential smoothing of the log price with additive errors.",
                keys: ETS,
            },
            Variant {
                name: "arima",
                doc: "ARIMA(p, 1, q) with drift on the log price.",
                keys: ARIMA,
            },
            Variant {
                name: "garch",
                doc: "Random walk with intervals from a GARCH(1,1) variance.",
                keys: GARCH,
            },
            Variant {
                name: "har",
                doc: "Random walk with intervals from the realised variance of horizon, day, week and month (HAR-RV).",
                keys: HAR,
            },
            Variant { name: "mean", doc: "The mean of other models' quantiles.", keys: &[MEMBERS] },
            Variant {
                name: "stacking",
                doc: "Other models' quantiles with weights learnt inside each fold.",
                keys: STACKING,
            },
        ],
    },
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
