//! Comma-, semicolon-, tab- or bar-separated text with a header line.
//!
//! A row that is too short keeps its place with faults for its missing cells; a row
//! that is too long, a quote that is never closed or text that is not UTF-8 means
//! that columns can no longer be told apart, and is refused with its line.

use csv::{ByteRecord, ReaderBuilder};

use super::cells::{Collector, Counting, Found};
use super::{FileSpec, text_of};
use crate::SourceError;
use crate::error::{Malformed, excerpt};
use crate::rows::Rows;

/// Lines of preamble (a URL, a title) that may stand above the header.
const PREAMBLE: usize = 5;

/// Reads a CSV file's bytes (already unpacked) as the spec says or as detection finds.
///
/// # Errors
/// [`SourceError::Malformed`] naming file, line, field and remedy when there is no
/// header or no time column, the text is not UTF-8, a time cannot be read, or columns
/// cannot be told apart.
pub fn read_csv(bytes: &[u8], spec: &FileSpec) -> Result<(Rows, Found), SourceError> {
    let origin = spec.path.display().to_string();
    let text = text_of(bytes, &origin)?;
    let delimiter = delimiter_of(text);
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter)
        .from_reader(text.as_bytes());
    let mut record = ByteRecord::new();
    let mut lines = Lines { read: 0, line: 1 };
    let mut next = |record: &mut ByteRecord| match reader.read_byte_record(record) {
        Ok(true) => {
            let start = record.position().map_or(0, csv::Position::byte);
            Ok(Some(lines.of(text.as_bytes(), start as usize)))
        }
        Ok(false) => Ok(None),
        Err(error) => {
            let remedy = "save the file as plain CSV";
            Err(Malformed::new(&origin, error.to_string(), remedy))
        }
    };
    let header: Vec<String> = match &spec.header {
        Some(names) => names.clone(),
        None => header_of(&origin, &mut record, &mut next)?,
    };
    let mut collector = Collector::new(&origin, Counting::Lines, &header, spec)?;
    while let Some(line) = next(&mut record)? {
        if record.as_slice().iter().any(|b| matches!(b, b'\n' | b'\r')) {
            let remedy = "close the quote: rows cannot be told apart behind it";
            let problem = "a quoted cell runs over several lines";
            return Err(Malformed::new(&origin, problem, remedy).line(line).into());
        }
        let surplus = (header.len()..record.len()).find(|&i| !record[i].trim_ascii().is_empty());
        if surplus.is_some() {
            let problem = format!("{} cells under {} columns", record.len(), header.len());
            let remedy = "quote cells that hold the separator, or mend the row";
            return Err(Malformed::new(&origin, problem, remedy).line(line).into());
        }
        let cell = |i: usize| record.get(i).and_then(|cell| std::str::from_utf8(cell).ok());
        collector.push(line, cell)?;
    }
    Ok(collector.finish()?)
}

/// Counts lines up to a record. The reader's own count is one short behind CRLF,
/// because it leaves the line feed to the next record.
struct Lines {
    read: usize,
    line: u64,
}

impl Lines {
    /// The 1-based line of the record that starts at or right behind a byte.
    fn of(&mut self, text: &[u8], start: usize) -> u64 {
        while let Some(byte) = text.get(self.read) {
            let ends = match byte {
                b'\n' => true,
                b'\r' => text.get(self.read + 1) != Some(&b'\n'),
                _ => false,
            };
            if self.read >= start && !matches!(byte, b'\n' | b'\r') {
                break;
            }
            self.line += u64::from(ends);
            self.read += 1;
        }
        self.line
    }
}

/// The first line with more than one cell, which must hold names.
fn header_of(
    origin: &str,
    record: &mut ByteRecord,
    next: &mut impl FnMut(&mut ByteRecord) -> Result<Option<u64>, Malformed>,
) -> Result<Vec<String>, Malformed> {
    for _ in 0..PREAMBLE {
        let Some(line) = next(record)? else { break };
        if record.len() < 2 {
            continue;
        }
        let cells = record.iter().map(|cell| String::from_utf8_lossy(cell).into_owned());
        let cells: Vec<String> = cells.collect();
        let is_number = |cell: &&String| cell.trim().parse::<f64>().is_ok();
        if cells.iter().filter(is_number).count() * 2 > cells.len() {
            return Err(Malformed::new(
                origin,
                format!(
                    "there is no header line: `{}` holds numbers, not names",
                    excerpt(&cells.join(","), 60)
                ),
                "add a first line of column names, or give them in `header`",
            )
            .line(line)
            .field("header"));
        }
        return Ok(cells);
    }
    Err(Malformed::new(
        origin,
        "there is no header line of two or more columns",
        "give a file separated by comma, semicolon, tab or | with column names in its first line",
    )
    .line(1)
    .field("header"))
}

/// The separator that the first lines use most.
fn delimiter_of(text: &str) -> u8 {
    let mut best = (0, b',');
    for line in text.lines().take(PREAMBLE) {
        for delimiter in [b',', b';', b'\t', b'|'] {
            let mut quoted = false;
            let count = line.bytes().filter(|&b| {
                quoted ^= b == b'"';
                !quoted && b == delimiter
            });
            let count = count.count();
            if count > best.0 {
                best = (count, delimiter);
            }
        }
    }
    best.1
}
