//! Which column of a file plays which role: declared by name, or known by a name
//! that vendors use. Looks at names only, never at values.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The columns of a file by role; what is not declared is found by its name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ColumnMap {
    /// The time of a row.
    pub time: Option<String>,
    /// What the row is about, in files of many instruments.
    pub symbol: Option<String>,
    /// First price.
    pub open: Option<String>,
    /// Highest price.
    pub high: Option<String>,
    /// Lowest price.
    pub low: Option<String>,
    /// Last price.
    pub close: Option<String>,
    /// Traded amount in the base asset.
    pub volume: Option<String>,
    /// Traded amount in the quote currency.
    pub quote_volume: Option<String>,
    /// Number of trades.
    pub trades: Option<String>,
    /// Price of a snapshot.
    pub price: Option<String>,
    /// Market capitalisation of a snapshot.
    pub market_cap: Option<String>,
    /// Traded amount of a snapshot (of the last 24 hours, at most vendors).
    pub total_volume: Option<String>,
    /// Further numeric columns: name in the table to name in the file.
    pub extra: BTreeMap<String, String>,
}

/// Names of time columns, the most trustworthy first: a number cannot be misread.
const TIME: [&str; 14] = [
    "unix",
    "unix_timestamp",
    "timestamp",
    "open_time",
    "opentime",
    "time",
    "datetime",
    "date_time",
    "dtutc",
    "date",
    "ts",
    "t",
    "",
    "unnamed:_0",
];
const SYMBOL: [&str; 6] = ["symbol", "asset", "ticker", "pair", "instrument", "name"];
/// Role and the names it goes by, all in the normal form of [`normal`].
const NUMBERS: [(&str, &[&str]); 10] = [
    ("open", &["open", "o", "open_price"]),
    ("high", &["high", "h", "high_price", "max"]),
    ("low", &["low", "l", "low_price", "min"]),
    ("close", &["close", "c", "close_price", "last"]),
    ("volume", &["volume", "vol", "v", "base_volume", "volume_base"]),
    ("quote_volume", &["quote_volume", "quote_asset_volume", "volume_quote", "turnover"]),
    ("trades", &["trades", "tradecount", "trade_count", "count", "number_of_trades", "num_trades"]),
    ("price", &["price", "prices"]),
    ("market_cap", &["market_cap", "market_caps", "marketcap"]),
    ("total_volume", &["total_volume", "total_volumes"]),
];

/// What was found: indices into the header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) time: usize,
    pub(crate) symbol: Option<usize>,
    /// Known-at time and flags, in files that this house wrote.
    pub(crate) own: Option<(usize, usize)>,
    /// Role (the column's name in the table) and index.
    pub(crate) numbers: Vec<(String, usize)>,
}

/// Why there is no layout: the setting at fault, what is wrong, what to do.
#[derive(Debug)]
pub(crate) struct LayoutFault {
    pub(crate) field: String,
    pub(crate) problem: String,
    pub(crate) remedy: String,
}

/// Lower case, trimmed, with one `_` for every run of spaces, dashes and dots.
fn normal(name: &str) -> String {
    let parts = name.trim().split([' ', '-', '_', '.']).filter(|part| !part.is_empty());
    parts.map(str::to_lowercase).collect::<Vec<_>>().join("_")
}

impl ColumnMap {
    fn declared(&self, role: &str) -> Option<&String> {
        match role {
            "open" => self.open.as_ref(),
            "high" => self.high.as_ref(),
            "low" => self.low.as_ref(),
            "close" => self.close.as_ref(),
            "volume" => self.volume.as_ref(),
            "quote_volume" => self.quote_volume.as_ref(),
            "trades" => self.trades.as_ref(),
            "price" => self.price.as_ref(),
            "market_cap" => self.market_cap.as_ref(),
            "total_volume" => self.total_volume.as_ref(),
            _ => None,
        }
    }

    /// Finds the roles in a header.
    pub(crate) fn layout(&self, header: &[String]) -> Result<Layout, LayoutFault> {
        let names: Vec<String> = header.iter().map(|name| normal(name)).collect();
        let shown = || {
            let quoted: Vec<_> =
                header.iter().take(40).map(|n| format!("`{}`", n.trim())).collect();
            crate::error::excerpt(&quoted.join(", "), 300)
        };
        let declared = |role: &str, name: &String| {
            let mut found = (0..header.len()).filter(|&i| header[i].trim() == name.trim());
            let field = format!("columns.{role}");
            match (found.next(), found.next()) {
                (Some(index), None) => Ok(index),
                (Some(_), Some(_)) => Err(LayoutFault {
                    field,
                    problem: format!("the header names `{name}` more than once"),
                    remedy: "rename one of the columns".to_owned(),
                }),
                (None, _) => Err(LayoutFault {
                    field,
                    problem: format!("there is no column `{name}`"),
                    remedy: format!("write one of {}", shown()),
                }),
            }
        };
        let known = |aliases: &[&str]| {
            aliases.iter().find_map(|alias| names.iter().position(|name| name == alias))
        };
        let time = match &self.time {
            Some(name) => declared("time", name)?,
            None => known(&TIME).ok_or_else(|| LayoutFault {
                field: "columns.time".to_owned(),
                problem: format!("no column has the name of a time column (columns: {})", shown()),
                remedy: "name the time column in `columns.time`, or give the names of a file \
                         without a header line in `header`"
                    .to_owned(),
            })?,
        };
        let symbol = match &self.symbol {
            Some(name) => Some(declared("symbol", name)?),
            None => known(&SYMBOL),
        };
        let mut numbers = Vec::new();
        for (role, aliases) in NUMBERS {
            let found = match self.declared(role) {
                Some(name) => Some(declared(role, name)?),
                None => known(aliases),
            };
            numbers.extend(found.filter(|&i| i != time).map(|index| (role.to_owned(), index)));
        }
        // Exchanges' dumps write `Volume BTC, Volume USDT`: base first, then quote.
        let mut per_currency = (0..names.len()).filter(|&i| {
            names[i].strip_prefix("volume_").is_some_and(|rest| rest != "quote" && rest != "base")
        });
        for role in ["volume", "quote_volume"] {
            if !numbers.iter().any(|(name, _)| name == role) {
                numbers.extend(per_currency.next().map(|index| (role.to_owned(), index)));
            }
        }
        // Some sites call the close of their candles the price.
        let has = |numbers: &[(String, usize)], role| numbers.iter().any(|(name, _)| name == role);
        if self.price.is_none() && has(&numbers, "open") && !has(&numbers, "close") {
            for (name, _) in numbers.iter_mut().filter(|(name, _)| name == "price") {
                "close".clone_into(name);
            }
        }
        numbers.sort_by_key(|(name, _)| NUMBERS.iter().position(|(role, _)| role == name));
        for (role, name) in &self.extra {
            if numbers.iter().any(|(known, _)| known == role) {
                return Err(LayoutFault {
                    field: format!("columns.extra.{role}"),
                    problem: "the name is that of a known role".to_owned(),
                    remedy: format!("declare `columns.{role}` instead, or choose another name"),
                });
            }
            numbers.push((role.clone(), declared(&format!("extra.{role}"), name)?));
        }
        let place = |name: &str| names.iter().position(|n| n == name);
        let own = place("known_at").zip(place("flags"));
        if own.is_some() {
            // Our own tables hold nothing but numbers beside these.
            let used = |i: &usize| numbers.iter().any(|(_, index)| index == i);
            let meta =
                ["instrument", "time", "known_at", "ingested_at", "flags", "position", "faults"];
            let rest: Vec<usize> = (0..names.len())
                .filter(|i| !used(i) && *i != time && !meta.contains(&names[*i].as_str()))
                .collect();
            numbers.extend(rest.into_iter().map(|i| (header[i].trim().to_owned(), i)));
        }
        if !numbers.iter().any(|(role, _)| role == "close" || role == "price") {
            return Err(LayoutFault {
                field: "columns.close".to_owned(),
                problem: format!("no column has the name of a price column (columns: {})", shown()),
                remedy: "name it in `columns.close` (candles) or `columns.price` (snapshots)"
                    .to_owned(),
            });
        }
        Ok(Layout { time, symbol, own, numbers })
    }
}
