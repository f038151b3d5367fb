//! Collects cells into rows: times, numbers, faults and the choice of one symbol.
//!
//! Shared by every file format, so that a cell is read the same way in all of them.

use foretell_market::RowFlags;
use foretell_panel::{CellFault, Column};

use super::FileSpec;
use super::columns::Layout;
use super::time::{TimeFormat, TimeReader};
use crate::error::{Malformed, excerpt};
use crate::rows::Rows;

/// How positions of this origin are called in messages.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Counting {
    Lines,
    Elements,
}

impl Counting {
    fn at(self, position: u64, malformed: Malformed) -> Malformed {
        match self {
            Counting::Lines => malformed.line(position),
            Counting::Elements => malformed.row(position),
        }
    }
}

/// A number, or why there is none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Number {
    Value(f64),
    /// An empty cell or a word for nothing.
    Missing,
    Unreadable,
}

/// Reads a cell: a finite decimal number, or one of the words for a missing one.
pub(crate) fn number(text: &str) -> Number {
    let text = text.trim();
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Number::Value(value),
        _ => {
            let words = ["", "null", "none", "nan", "na", "n/a", "-", "--", "<na>"];
            let missing = words.iter().any(|word| text.eq_ignore_ascii_case(word));
            if missing { Number::Missing } else { Number::Unreadable }
        }
    }
}

/// Marks as our own tables write them: their bits, or their names in any list.
fn marks(text: &str) -> Option<RowFlags> {
    if let Ok(bits) = text.trim().parse::<u32>() {
        return Some(RowFlags::from_bits(bits));
    }
    let words = text.split(|c: char| !c.is_ascii_alphabetic() && c != '-');
    words.filter(|word| !word.is_empty()).try_fold(RowFlags::NONE, |marks, word| {
        let mark = (0..32).map(|i| RowFlags::from_bits(1 << i)).find(|m| m.names() == [word])?;
        Some(marks | mark)
    })
}

/// Rows under construction.
#[derive(Debug)]
pub(crate) struct Collector<'a> {
    origin: &'a str,
    counting: Counting,
    layout: Layout,
    time_name: String,
    times: TimeReader,
    /// Known-at times and marks of a table that this house wrote.
    known_at: TimeReader,
    flags: Vec<RowFlags>,
    positions: Vec<u64>,
    numbers: Vec<Vec<f64>>,
    faults: Vec<CellFault>,
    wanted_symbol: Option<&'a str>,
    first_symbol: Option<String>,
    skipped: u64,
    /// Per column: role and name in the file.
    names: Vec<(String, String)>,
}

impl<'a> Collector<'a> {
    pub(crate) fn new(
        origin: &'a str,
        counting: Counting,
        header: &[String],
        spec: &'a FileSpec,
    ) -> Result<Self, Malformed> {
        let layout = spec
            .columns
            .layout(header)
            .map_err(|f| Malformed::new(origin, f.problem, f.remedy).field(f.field))?;
        let unknown_zone = |name: String| {
            let remedy = "write an IANA name such as UTC or America/New_York";
            Malformed::new(origin, format!("`{name}` is not a time zone"), remedy).field("zone")
        };
        let times = TimeReader::new(spec.time_format.as_ref(), spec.zone.as_deref());
        Ok(Self {
            origin,
            counting,
            time_name: header[layout.time].trim().to_owned(),
            times: times.map_err(unknown_zone)?,
            known_at: TimeReader::new(None, None).map_err(unknown_zone)?,
            flags: Vec::new(),
            positions: Vec::new(),
            numbers: vec![Vec::new(); layout.numbers.len()],
            faults: Vec::new(),
            wanted_symbol: spec.symbol.as_deref(),
            first_symbol: None,
            skipped: 0,
            names: layout
                .numbers
                .iter()
                .map(|(role, index)| (role.clone(), header[*index].trim().to_owned()))
                .collect(),
            layout,
        })
    }

    /// Adds a row; `cell` gives a cell's text by its index in the header, `None`
    /// where the row has none.
    pub(crate) fn push<'c>(
        &mut self,
        position: u64,
        cell: impl Fn(usize) -> Option<&'c str>,
    ) -> Result<(), Malformed> {
        if let Some(index) = self.layout.symbol {
            let symbol = cell(index).unwrap_or("").trim();
            match (self.wanted_symbol, &self.first_symbol) {
                (Some(wanted), _) if wanted != symbol => {
                    self.skipped += 1;
                    return Ok(());
                }
                (Some(_), _) => {}
                (None, None) => self.first_symbol = Some(symbol.to_owned()),
                (None, Some(first)) if first != symbol => {
                    let problem = format!(
                        "the file holds several symbols (`{}` and `{}`)",
                        excerpt(first, 40),
                        excerpt(symbol, 40)
                    );
                    let remedy = "say which one is wanted in `symbol`";
                    let malformed = Malformed::new(self.origin, problem, remedy).field("symbol");
                    return Err(self.counting.at(position, malformed));
                }
                (None, Some(_)) => {}
            }
        }
        let time = cell(self.layout.time).unwrap_or("");
        if let Err(fault) = self.times.push(time) {
            let malformed = Malformed::new(self.origin, fault.problem, fault.remedy);
            return Err(self.counting.at(position, malformed.field(&self.time_name)));
        }
        if let Some((known_at, flags)) = self.layout.own {
            let refuse = |field: &str, problem: String, remedy: String| {
                let malformed = Malformed::new(self.origin, problem, remedy).field(field);
                self.counting.at(position, malformed)
            };
            let fault = self.known_at.push(cell(known_at).unwrap_or(""));
            fault.map_err(|fault| refuse("known_at", fault.problem, fault.remedy))?;
            let text = cell(flags).unwrap_or("");
            self.flags.push(marks(text).ok_or_else(|| {
                let problem = format!("`{}` are not marks of a row", excerpt(text, 40));
                refuse("flags", problem, "write names such as filled, or nothing".to_owned())
            })?);
        }
        self.positions.push(position);
        for (values, (role, index)) in self.numbers.iter_mut().zip(&self.layout.numbers) {
            let read = cell(*index).map_or(Number::Unreadable, number);
            values.push(if let Number::Value(value) = read { value } else { f64::NAN });
            if read == Number::Unreadable {
                let text = cell(*index).map_or_else(|| "(no cell)".to_owned(), |t| excerpt(t, 79));
                self.faults.push(CellFault { position, column: role.clone(), text });
            }
        }
        Ok(())
    }

    /// The rows, once all are in.
    pub(crate) fn finish(self) -> Result<(Rows, Found), Malformed> {
        if self.positions.is_empty() {
            let (problem, remedy) = match self.wanted_symbol {
                Some(symbol) if self.skipped > 0 => (
                    format!("none of {} rows has the symbol `{symbol}`", self.skipped),
                    "write one of the file's symbols in `symbol`",
                ),
                _ => ("there is no row below the header".to_owned(), "give a file with data"),
            };
            return Err(Malformed::new(self.origin, problem, remedy));
        }
        let (times, time_format) = self.times.finish().map_err(|fault| {
            let malformed = Malformed::new(self.origin, fault.problem, fault.remedy);
            let malformed = malformed.field(&self.time_name);
            match fault.row.and_then(|row| self.positions.get(row)) {
                Some(&position) => self.counting.at(position, malformed),
                None => malformed,
            }
        })?;
        let known_at = match self.layout.own {
            Some(_) => {
                let read = self.known_at.finish().map_err(|fault| {
                    Malformed::new(self.origin, fault.problem, fault.remedy).field("known_at")
                })?;
                read.0
            }
            None => Vec::new(),
        };
        let names = self.layout.numbers.iter().map(|(name, _)| name.clone());
        let columns = names.zip(self.numbers).map(|(name, values)| Column::new(name, values));
        let rows = Rows {
            positions: self.positions,
            times,
            known_at,
            flags: self.flags,
            columns: columns.collect(),
            faults: self.faults,
        };
        Ok((
            rows,
            Found {
                time_column: self.time_name,
                time_format,
                symbol: self.wanted_symbol.map(str::to_owned).or(self.first_symbol),
                columns: self.names,
            },
        ))
    }
}

/// What detection decided, for people to check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The column that the times were read from.
    pub time_column: String,
    /// How they are written.
    pub time_format: TimeFormat,
    /// What the rows are about, where the file says so.
    pub symbol: Option<String>,
    /// Per column of the table: its name there and in the file.
    pub columns: Vec<(String, String)>,
}
