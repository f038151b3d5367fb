//! The map of the house, read from the tables of `docs/architecture.md`.
//!
//! The document is the rule: an edge is allowed when its table lists it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, ensure};

/// One crate as the document describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Room {
    /// The floor; `None` for crates that ship nothing.
    pub(crate) floor: Option<u32>,
    /// Whether it belongs to the pure floor.
    pub(crate) pure: bool,
    /// The crates of the house that it may use.
    pub(crate) may_use: BTreeSet<String>,
}

/// The crates and the lists of dependencies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Map {
    /// By short name (`market`, not `foretell-market`).
    pub(crate) rooms: BTreeMap<String, Room>,
    /// For a dependency: the only crates that may use it.
    pub(crate) only_in: BTreeMap<String, BTreeSet<String>>,
    /// What the pure floor may use from outside.
    pub(crate) pure_may_use: BTreeSet<String>,
}

impl Map {
    /// Reads the three tables by their headings.
    ///
    /// # Errors
    /// When a table or a column is missing or a floor cannot be read.
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        let mut rooms = BTreeMap::new();
        let mut all_below = Vec::new();
        for row in table(text, &["floor", "crate", "pure", "may also use"])? {
            let [floor, name, pure, may_use] = &row[..] else { continue };
            let name = ticked(name).into_iter().next().context("a crate without a name")?;
            let floor = match floor.as_str() {
                "dev" | "tool" => None,
                number => Some(
                    number.parse().with_context(|| format!("`{number}` is no floor of {name}"))?,
                ),
            };
            if may_use == "all below" {
                all_below.push(name.clone());
            }
            let mut allowed: BTreeSet<String> = ticked(may_use).into_iter().collect();
            if name != "market" {
                allowed.insert("market".to_owned());
            }
            let room = Room { floor, pure: pure == "yes", may_use: allowed };
            ensure!(rooms.insert(name.clone(), room).is_none(), "crate {name} stands there twice");
        }
        for name in all_below {
            let floor = rooms[&name].floor;
            let below: Vec<String> = rooms
                .iter()
                .filter(|(_, room)| room.floor.is_some() && room.floor < floor)
                .map(|(name, _)| name.clone())
                .collect();
            if let Some(room) = rooms.get_mut(&name) {
                room.may_use.extend(below);
            }
        }
        let mut only_in = BTreeMap::new();
        for row in table(text, &["dependency", "only in"])? {
            let [names, crates] = &row[..] else { continue };
            for name in ticked(names) {
                only_in.insert(name, ticked(crates).into_iter().collect());
            }
        }
        let mut pure_may_use = BTreeSet::new();
        for row in table(text, &["the pure floor may use"])? {
            pure_may_use.extend(row.iter().flat_map(|cell| ticked(cell)));
        }
        Ok(Self { rooms, only_in, pure_may_use })
    }
}

/// The named columns of every table that has them all, row by row.
fn table(text: &str, columns: &[&str]) -> anyhow::Result<Vec<Vec<String>>> {
    /// Where the reader stands.
    enum Place {
        Outside,
        /// In a table without the columns.
        Elsewhere,
        /// In one that has them, at these positions.
        Inside(Vec<usize>),
    }
    let mut rows = Vec::new();
    let mut place = Place::Outside;
    let mut found = false;
    for line in text.lines() {
        let Some(inner) = line.trim().strip_prefix('|').and_then(|l| l.strip_suffix('|')) else {
            place = Place::Outside;
            continue;
        };
        let cells: Vec<&str> = inner.split('|').map(str::trim).collect();
        match &place {
            Place::Outside => {
                let positions: Option<Vec<usize>> =
                    columns.iter().map(|c| cells.iter().position(|cell| cell == c)).collect();
                found |= positions.is_some();
                place = positions.map_or(Place::Elsewhere, Place::Inside);
            }
            Place::Elsewhere => {}
            Place::Inside(_) if cells.iter().all(|c| c.trim_matches([':', '-']).is_empty()) => {}
            Place::Inside(positions) => {
                let cell = |&i: &usize| cells.get(i).copied().unwrap_or("").to_owned();
                rows.push(positions.iter().map(cell).collect());
            }
        }
    }
    ensure!(found, "no table with the columns {columns:?} in {}", super::MAP);
    Ok(rows)
}

/// The words between backticks.
fn ticked(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "
# Map
| a | b |
|---|---|
| `x` | `y` |

| floor | crate | pure | what it is | may also use |
|---|---|---|---|---|
| 0 | `market` | yes | words | – |
| 1 | `panel` | yes | the table | – |
| 2 | `lake` | – | files | `panel` |
| 3 | `platform` | – | joins | all below |
| dev | `testkit` | – | tests | `panel` |

| dependency | only in | why |
|---|---|---|
| `tokio`, `bytes` | `lake`, `platform` | async |

| the pure floor may use |
|---|
| `serde`, `libm` |
";

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|&n| n.to_owned()).collect()
    }

    #[test]
    fn reads_the_tables() {
        let map = Map::parse(TEXT).unwrap();
        assert_eq!(map.rooms.len(), 5);
        assert_eq!(map.rooms["platform"].may_use, set(&["lake", "market", "panel"]));
        assert_eq!(map.rooms["lake"].may_use, set(&["market", "panel"]));
        assert!(map.rooms["market"].may_use.is_empty());
        assert!(map.rooms["panel"].pure && !map.rooms["lake"].pure);
        assert_eq!(map.rooms["testkit"].floor, None);
        assert_eq!(map.only_in["bytes"], set(&["lake", "platform"]));
        assert_eq!(map.pure_may_use, set(&["libm", "serde"]));
    }

    #[test]
    fn a_missing_table_is_an_error() {
        let error = Map::parse("# nothing").unwrap_err().to_string();
        assert!(error.contains("no table with the columns"), "{error}");
    }
}
