//! Data files: Parquet bytes from rows and back, with what the log says of them.

use arrow::array::{Array as _, RecordBatch};
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use serde_json::json;

use crate::rows;

/// How many bytes of plain values one data file should hold. A file is what a
/// replacement rewrites and what is put in one request.
const FILE_BYTES: usize = 32 << 20;

/// How many rows of a schema go into one file.
pub(crate) fn rows_per_file(schema: &SchemaRef) -> usize {
    (FILE_BYTES / (8 * schema.fields().len().max(1))).clamp(16_384, 1 << 20)
}

/// Rows cut into pieces of one file each.
pub(crate) fn pieces(batch: &RecordBatch) -> Vec<RecordBatch> {
    let (n, most) = (batch.num_rows(), rows_per_file(&batch.schema()));
    (0..n).step_by(most).map(|from| batch.slice(from, most.min(n - from))).collect()
}

/// The Parquet bytes of rows.
pub(crate) fn encode(batch: &RecordBatch) -> Result<Bytes, ParquetError> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_created_by(format!("foretell {}", env!("CARGO_PKG_VERSION")))
        .set_dictionary_enabled(false)
        .set_column_dictionary_enabled("instrument".into(), true)
        .set_column_dictionary_enabled("flags".into(), true)
        .build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties))?;
    writer.write(batch)?;
    writer.close()?;
    Ok(bytes.into())
}

/// The rows of Parquet bytes.
pub(crate) fn decode(bytes: Bytes) -> Result<Vec<RecordBatch>, ParquetError> {
    let reader =
        ParquetRecordBatchReaderBuilder::try_new(bytes)?.with_batch_size(65_536).build()?;
    reader.collect::<Result<Vec<_>, _>>().map_err(ParquetError::from)
}

/// The statistics of a file as the log stores them: the number of rows, and the span
/// of the time columns in whole milliseconds around it (as the protocol demands).
pub(crate) fn statistics(batch: &RecordBatch) -> String {
    let mut stats = json!({"numRecords": batch.num_rows()});
    for column in ["time", "known_at"] {
        let whole = batch.column_by_name(column).is_some_and(|c| c.null_count() == 0);
        let times = rows::micros(batch, column).filter(|_| whole).unwrap_or_default();
        let (Some(min), Some(max)) = (times.iter().min(), times.iter().max()) else { continue };
        stats["minValues"][column] = millis(min.div_euclid(1_000)).into();
        stats["maxValues"][column] =
            millis(max.div_euclid(1_000) + i64::from(max % 1_000 != 0)).into();
        stats["nullCount"][column] = 0.into();
    }
    stats.to_string()
}

/// RFC 3339 with milliseconds.
fn millis(millis: i64) -> String {
    let time = foretell_market::Timestamp::from_millis(millis).to_string();
    let seconds = time.split(['.', 'Z']).next().unwrap_or_default();
    format!("{seconds}.{:03}Z", millis.rem_euclid(1_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use foretell_market::Interval;

    #[test]
    fn rows_survive_a_file_and_its_statistics_bound_them() {
        let frame = foretell_testkit::random_walk(500, Interval::HOUR, 0.01, 7);
        let batch = frame.to_record_batch();
        let back = decode(encode(&batch).unwrap()).unwrap();
        let back = rows::merge(&batch.schema(), back).unwrap();
        assert_eq!(rows::rows_fingerprint(&back).unwrap(), rows::rows_fingerprint(&batch).unwrap());
        let stats: serde_json::Value = serde_json::from_str(&statistics(&batch)).unwrap();
        assert_eq!(stats["numRecords"], 500);
        assert_eq!(stats["minValues"]["time"], "2024-01-01T00:00:00.000Z");
        assert_eq!(stats["maxValues"]["time"], "2024-01-21T19:00:00.000Z");
    }

    #[test]
    fn a_large_table_is_cut_into_files_of_bounded_size() {
        let batch = foretell_testkit::random_walk(100, Interval::HOUR, 0.01, 7).to_record_batch();
        assert_eq!(pieces(&batch).len(), 1);
        assert!(pieces(&batch.slice(0, 0)).is_empty());
        assert!(rows_per_file(&batch.schema()) > 26_280);
    }

    #[test]
    fn milliseconds_round_outwards() {
        assert_eq!(millis(1_704_067_200_001), "2024-01-01T00:00:00.001Z");
        assert_eq!(millis(-1), "1969-12-31T23:59:59.999Z");
    }
}
