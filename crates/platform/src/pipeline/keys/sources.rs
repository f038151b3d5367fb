//! The keys of `[source]`: where rows come from, and how they are written there.

use super::{Key, Kind, Table, Variant, key};

/// Where rows come from.
pub(super) const SOURCE: Table = Table {
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
};

const SECRET_DOC: &str = "Name of the environment variable that holds the key (COINGECKO_…, KAGGLE_… or FORETELL_KEY_…); \
     the key itself never stands in a file.";

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
