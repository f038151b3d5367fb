//! Frames as files that other tools read: Parquet, CSV or JSON, by the file's ending.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use foretell_panel::arrow::record_batch::RecordBatch;
use foretell_panel::{Column, Frame, RawTable, RowMeta};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use crate::data_dir::write_atomically;
use crate::error::PlatformError;

/// The endings that can be written.
const ENDINGS: &str = ".parquet, .csv or .json";

/// Writes a frame to a file whose ending names the format. A missing value is null
/// in Parquet and JSON and an empty cell in CSV; times are RFC 3339 in UTC.
///
/// # Errors
/// When the ending is none of the known ones, or the file cannot be written.
pub(crate) fn write_frame(frame: &Frame, path: &Path) -> Result<(), PlatformError> {
    let name = frame.instrument().as_str();
    write(&Rows { name, rows: frame.rows(), columns: frame.columns() }, path, || {
        frame.to_record_batch()
    })
}

/// Writes raw rows as they came, in their order; see [`write_frame`].
///
/// # Errors
/// As [`write_frame`].
pub(crate) fn write_raw(raw: &RawTable, path: &Path) -> Result<(), PlatformError> {
    let name = raw.instrument.as_str();
    write(&Rows { name, rows: &raw.rows, columns: &raw.columns }, path, || {
        foretell_lake::raw_to_record_batch(raw)
    })
}

/// What both kinds of table have.
struct Rows<'a> {
    name: &'a str,
    rows: &'a [RowMeta],
    columns: &'a [Column],
}

fn write(
    table: &Rows<'_>,
    path: &Path,
    batch: impl FnOnce() -> RecordBatch,
) -> Result<(), PlatformError> {
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    let bytes = match ending.as_str() {
        "parquet" => parquet_bytes(&batch()).map_err(|error| PlatformError::Table {
            path: path.to_owned(),
            message: error.to_string(),
        })?,
        "csv" => csv_text(table).into_bytes(),
        "json" => json_text(table).into_bytes(),
        other => {
            return Err(PlatformError::Usage {
                message: format!("`{}` cannot be written: `.{other}` is no table", path.display()),
                hint: format!("give --output a name that ends in {ENDINGS}"),
            });
        }
    };
    write_atomically(path, &bytes)
}

fn parquet_bytes(batch: &RecordBatch) -> Result<Vec<u8>, parquet::errors::ParquetError> {
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut bytes = Vec::new();
    let mut writer =
        ArrowWriter::try_new(&mut bytes, Arc::clone(&batch.schema()), Some(properties))?;
    writer.write(batch)?;
    writer.close()?;
    Ok(bytes)
}

fn csv_text(table: &Rows<'_>) -> String {
    let mut out = String::from("instrument,time,known_at,flags");
    for column in table.columns {
        out.push(',');
        out.push_str(&column.name);
    }
    out.push('\n');
    for (i, row) in table.rows.iter().enumerate() {
        let flags = row.flags.names().join(" ");
        let _ = write!(out, "{},{},{},{flags}", table.name, row.time, row.known_at);
        for column in table.columns {
            out.push(',');
            let value = column.values[i];
            if !value.is_nan() {
                let _ = write!(out, "{value}");
            }
        }
        out.push('\n');
    }
    out
}

fn json_text(table: &Rows<'_>) -> String {
    let rows = table.rows.iter().enumerate().map(|(i, row)| {
        let mut object = serde_json::Map::new();
        object.insert("instrument".to_owned(), table.name.into());
        object.insert("time".to_owned(), row.time.to_string().into());
        object.insert("known_at".to_owned(), row.known_at.to_string().into());
        object.insert("flags".to_owned(), row.flags.names().into());
        for column in table.columns {
            // NaN has no JSON number: it becomes null.
            object.insert(column.name.clone(), column.values[i].into());
        }
        serde_json::Value::Object(object)
    });
    let rows: Vec<String> = rows.map(|row| row.to_string()).collect();
    format!("[\n{}\n]\n", rows.join(",\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use foretell_market::{Interval, Timestamp};

    fn frame() -> Frame {
        let at = |h: i64| RowMeta::at_close(Timestamp::from_secs(h * 3600), Interval::HOUR);
        let close = Column::new("close", vec![1.5, f64::NAN]);
        let instrument = "BTC-USD".parse().unwrap();
        Frame::new(instrument, Interval::HOUR, vec![at(0), at(1)], vec![close]).unwrap()
    }

    #[test]
    fn each_ending_is_its_format_and_missing_values_stay_missing() {
        let folder = tempfile::tempdir().unwrap();
        let text = |name: &str| {
            let path = folder.path().join(name);
            write_frame(&frame(), &path).unwrap();
            std::fs::read(path).unwrap()
        };
        assert_eq!(
            String::from_utf8(text("a.csv")).unwrap(),
            "instrument,time,known_at,flags,close\n\
             BTC-USD,1970-01-01T00:00:00Z,1970-01-01T01:00:00Z,,1.5\n\
             BTC-USD,1970-01-01T01:00:00Z,1970-01-01T02:00:00Z,,\n"
        );
        let json: serde_json::Value = serde_json::from_slice(&text("a.json")).unwrap();
        assert_eq!(json[0]["close"], 1.5);
        assert!(json[1]["close"].is_null());
        assert_eq!(&text("a.parquet")[..4], b"PAR1");
        let refused = write_frame(&frame(), &folder.path().join("a.xlsx")).unwrap_err();
        assert_eq!(refused.exit_code(), 2);
    }
}
