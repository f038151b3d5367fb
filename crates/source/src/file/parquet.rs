//! Parquet tables: any column types that can be written as text.
//!
//! Values pass through the same cell reader as CSV, so that a column means the same
//! in either format; finite numbers survive the detour to the bit.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit};
use bytes::Bytes;

use super::FileSpec;
use super::cells::{Collector, Counting, Found};
use crate::SourceError;
use crate::error::Malformed;
use crate::rows::Rows;

/// Reads a Parquet file's bytes.
///
/// # Errors
/// [`SourceError::Malformed`] naming file, row, field and remedy when the bytes are no
/// Parquet table, a column cannot be written as text, or a time cannot be read.
pub fn read_parquet(bytes: Bytes, spec: &FileSpec) -> Result<(Rows, Found), SourceError> {
    // The decoder panics on some damaged files; it shares nothing with us but the bytes.
    let decode = AssertUnwindSafe(|| decode(bytes, spec));
    std::panic::catch_unwind(decode).unwrap_or_else(|_| {
        let origin = spec.path.display().to_string();
        let problem = "not a Parquet table: the file is damaged".to_owned();
        Err(Malformed::new(&origin, problem, "write the file again").into())
    })
}

fn decode(bytes: Bytes, spec: &FileSpec) -> Result<(Rows, Found), SourceError> {
    let origin = spec.path.display().to_string();
    let refuse = |problem: String| {
        Malformed::new(&origin, format!("not a Parquet table: {problem}"), "write the file again")
    };
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes)
        .map_err(|error| refuse(error.to_string()))?;
    let header: Vec<String> =
        builder.schema().fields().iter().map(|field| field.name().clone()).collect();
    let mut collector = Collector::new(&origin, Counting::Elements, &header, spec)?;
    let batches = builder.build().map_err(|error| refuse(error.to_string()))?;
    let mut position = 0u64;
    for batch in batches {
        let batch = batch.map_err(|error| refuse(error.to_string()))?;
        let texts = texts_of(&batch, &origin)?;
        for row in 0..batch.num_rows() {
            position += 1;
            let cell = |i: usize| {
                let column = texts.get(i)?.as_ref()?;
                Some(if column.is_null(row) { "" } else { column.value(row) })
            };
            collector.push(position, cell)?;
        }
    }
    Ok(collector.finish()?)
}

/// Every column as text; nested columns, which no role can use, as `None`.
fn texts_of(batch: &RecordBatch, origin: &str) -> Result<Vec<Option<StringArray>>, Malformed> {
    let mut texts = Vec::with_capacity(batch.num_columns());
    for (field, array) in batch.schema().fields().iter().zip(batch.columns()) {
        if field.data_type().is_nested() {
            texts.push(None);
            continue;
        }
        // An offset of zero prints without a time zone database; instants stay the same.
        let array = match field.data_type() {
            DataType::Timestamp(_, zone) => {
                let zone = zone.as_ref().map(|_| Arc::from("+00:00"));
                cast(array, &DataType::Timestamp(TimeUnit::Microsecond, zone))
            }
            _ => Ok(Arc::clone(array)),
        };
        let text = array.and_then(|array| cast(&array, &DataType::Utf8)).map_err(|error| {
            Malformed::new(origin, error.to_string(), "store the column as numbers or text")
                .field(field.name().clone())
        })?;
        texts.push(Some(text.as_string::<i32>().clone()));
    }
    Ok(texts)
}
