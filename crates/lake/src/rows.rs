//! Logical rows: their canonical order, their fingerprint, their keys, and what was
//! known of them at an instant. Nothing here touches a store.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{
    SortColumn, concat_batches, filter_record_batch, lexsort_to_indices, take_record_batch,
};
use arrow::datatypes::{
    DataType, Date32Type, Float32Type, Float64Type, Int32Type, Int64Type, SchemaRef,
    TimestampMicrosecondType,
};
use foretell_market::{Fingerprint, FingerprintHasher, Timestamp};

use crate::LakeError;

/// The columns that order rows, most significant first; the others break ties.
const ORDER: [&str; 4] = ["time", "instrument", "known_at", "position"];

/// The times of the rows in microseconds, if there is such a column of times.
pub(crate) fn micros<'a>(batch: &'a RecordBatch, column: &str) -> Option<&'a [i64]> {
    let times = batch.column_by_name(column)?.as_primitive_opt::<TimestampMicrosecondType>()?;
    Some(times.values())
}

/// One batch of all the rows, in canonical order.
pub(crate) fn merge(
    schema: &SchemaRef,
    mut batches: Vec<RecordBatch>,
) -> Result<RecordBatch, LakeError> {
    batches.retain(|b| b.num_rows() > 0);
    // Files mostly follow each other in time: ordering them first often saves the sort.
    batches.sort_by_key(|b| micros(b, "time").and_then(|t| t.first().copied()));
    let whole = match batches.len() {
        1 if batches[0].schema() == *schema => batches.remove(0),
        _ => concat_batches(schema, &batches)?,
    };
    sort(&whole)
}

/// The rows in canonical order: by time, instrument, known_at, position, and then by
/// every other column, so that equal tables have equal order.
pub(crate) fn sort(batch: &RecordBatch) -> Result<RecordBatch, LakeError> {
    let strictly = |t: &[i64]| t.is_sorted_by(|a, b| a < b);
    if batch.num_rows() < 2 || micros(batch, "time").is_some_and(strictly) {
        return Ok(batch.clone());
    }
    let schema = batch.schema();
    let first = ORDER.iter().filter_map(|name| schema.index_of(name).ok());
    let rest =
        (0..batch.num_columns()).filter(|&i| !ORDER.contains(&schema.field(i).name().as_str()));
    let columns: Vec<SortColumn> = first
        .chain(rest)
        .map(|i| SortColumn { values: Arc::clone(batch.column(i)), options: None })
        .collect();
    let order = lexsort_to_indices(&columns, None)?;
    Ok(take_record_batch(batch, &order)?)
}

/// The rows of an interval, its end excluded; rows must be in time order.
pub(crate) fn between(batch: &RecordBatch, interval: &Range<Timestamp>) -> RecordBatch {
    let Some(times) = micros(batch, "time") else { return batch.clone() };
    let from = times.partition_point(|t| *t < interval.start.micros());
    let to = times.partition_point(|t| *t < interval.end.micros()).max(from);
    batch.slice(from, to - from)
}

/// The rows outside an interval.
pub(crate) fn outside(
    batch: &RecordBatch,
    interval: &Range<Timestamp>,
) -> Result<RecordBatch, LakeError> {
    let Some(times) = micros(batch, "time") else { return Ok(batch.clone()) };
    let range = interval.start.micros()..interval.end.micros();
    let keep: BooleanArray = times.iter().map(|t| Some(!range.contains(t))).collect();
    Ok(filter_record_batch(batch, &keep)?)
}

/// The first key (instrument, time, known_at) that two rows share; rows must be in
/// canonical order.
pub(crate) fn duplicate(batch: &RecordBatch) -> Option<String> {
    let (time, known_at) = (micros(batch, "time")?, micros(batch, "known_at")?);
    let instrument = batch.column_by_name("instrument")?.as_string_opt::<i32>()?;
    let same = |i: usize| {
        time[i] == time[i + 1]
            && known_at[i] == known_at[i + 1]
            && instrument.value(i) == instrument.value(i + 1)
    };
    let row = (0..batch.num_rows().saturating_sub(1)).find(|&i| same(i))?;
    let at = Timestamp::from_micros;
    Some(format!("({}, {}, {})", instrument.value(row), at(time[row]), at(known_at[row])))
}

/// For each (instrument, time) the row with the latest `known_at` at or before an
/// instant: what a decision then could have seen. The result is in time order with
/// one row per (instrument, time). For keyed tables; versions of raw rows also have an
/// ingest time and retractions: [`foretell_panel::as_known`] selects those.
///
/// # Errors
/// [`LakeError::Key`] when the rows have no instrument, time and known_at.
pub fn as_known_at(batch: &RecordBatch, instant: Timestamp) -> Result<RecordBatch, LakeError> {
    crate::schema::check_layer(crate::Layer::Clean, &batch.schema())?;
    let sorted = sort(batch)?;
    let n = sorted.num_rows();
    let mut rows: Vec<u32> = Vec::with_capacity(n);
    if let (Some(time), Some(known_at)) = (micros(&sorted, "time"), micros(&sorted, "known_at")) {
        let names = sorted.column_by_name("instrument").map(AsArray::as_string::<i32>);
        let name = |i: u32| names.map(|n| n.value(i as usize));
        for i in 0..n as u32 {
            if known_at[i as usize] > instant.micros() {
                continue;
            }
            let newer =
                |last: &u32| time[*last as usize] == time[i as usize] && name(*last) == name(i);
            // Rows of one key come in the order of known_at, so the later one wins.
            if rows.last().is_some_and(newer) {
                rows.pop();
            }
            rows.push(i);
        }
    }
    Ok(take_record_batch(&sorted, &UInt32Array::from(rows))?)
}

/// The hash of logical rows in canonical order: names, types and values of every
/// column but `ingested_at`, so that taking the same rows in again changes nothing.
/// NaN and null are the same missing value; files, row order and compression do not
/// matter.
///
/// # Errors
/// [`LakeError::Unsupported`] names a column of a type that tables do not hold.
pub fn rows_fingerprint(batch: &RecordBatch) -> Result<Fingerprint, LakeError> {
    let batch = sort(batch)?;
    let mut hasher = FingerprintHasher::new("rows/1");
    hasher.u64(batch.num_rows() as u64);
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        if field.name() == "ingested_at" {
            continue;
        }
        hasher.text(field.name());
        column_into(&mut hasher, field.name(), column)?;
    }
    Ok(hasher.finish())
}

/// Adds a column: its type, one byte per row that tells missing from present, and the
/// little-endian bytes of the present values.
fn column_into(
    hasher: &mut FingerprintHasher,
    name: &str,
    column: &ArrayRef,
) -> Result<(), LakeError> {
    macro_rules! fixed {
        ($kind:literal, $type:ty) => {{
            let array = column.as_primitive::<$type>();
            let bytes: Vec<u8> =
                array.iter().flat_map(|v| v.map(|v| v.to_le_bytes())).flatten().collect();
            ($kind, bytes)
        }};
    }
    let mut missing: Vec<u8> = (0..column.len()).map(|i| u8::from(column.is_null(i))).collect();
    let (kind, bytes) = match column.data_type() {
        DataType::Utf8 => {
            let texts = column.as_string::<i32>().iter().flatten();
            let bytes = texts.flat_map(|t| {
                (t.len() as u64).to_le_bytes().into_iter().chain(t.bytes()).collect::<Vec<_>>()
            });
            ("utf8", bytes.collect())
        }
        DataType::Binary => {
            let values = column.as_binary::<i32>().iter().flatten();
            let bytes = values.flat_map(|b| {
                (b.len() as u64)
                    .to_le_bytes()
                    .into_iter()
                    .chain(b.iter().copied())
                    .collect::<Vec<_>>()
            });
            ("binary", bytes.collect())
        }
        DataType::Boolean => {
            let bytes = column.as_boolean().iter().flatten().map(u8::from).collect();
            ("boolean", bytes)
        }
        DataType::Int32 => fixed!("i32", Int32Type),
        DataType::Int64 => fixed!("i64", Int64Type),
        DataType::Float32 => fixed!("f32", Float32Type),
        DataType::Date32 => fixed!("date", Date32Type),
        DataType::Float64 => {
            let numbers = column.as_primitive::<Float64Type>();
            let mut bytes = Vec::with_capacity(8 * numbers.len());
            for (row, value) in numbers.iter().enumerate() {
                match value.filter(|v| !v.is_nan()) {
                    Some(v) => bytes.extend_from_slice(&v.to_bits().to_le_bytes()),
                    None => missing[row] = 1,
                }
            }
            ("f64", bytes)
        }
        time if *time == crate::schema::time_type() => fixed!("time", TimestampMicrosecondType),
        other => {
            let (column, found) = (name.to_owned(), other.clone());
            return Err(LakeError::Unsupported { column, found });
        }
    };
    hasher.text(kind).bytes(&missing).bytes(&bytes);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Float64Array, StringArray, TimestampMicrosecondArray};
    use arrow::datatypes::{Field, Schema};
    use proptest::prelude::*;

    fn batch(rows: &[(i64, i64, f64)]) -> RecordBatch {
        let time = crate::schema::time_type();
        let schema = Schema::new(vec![
            Field::new("instrument", DataType::Utf8, false),
            Field::new("time", time.clone(), false),
            Field::new("known_at", time, false),
            Field::new("close", DataType::Float64, true),
        ]);
        let times = |of: fn(&(i64, i64, f64)) -> i64| -> ArrayRef {
            let times = rows.iter().map(|r| of(r) * 1_000_000);
            Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"))
        };
        let arrays: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(rows.iter().map(|_| "BTC-USD"))),
            times(|r| r.0),
            times(|r| r.1),
            Arc::new(Float64Array::from_iter_values(rows.iter().map(|r| r.2))),
        ];
        RecordBatch::try_new(Arc::new(schema), arrays).unwrap()
    }

    #[test]
    fn the_latest_row_that_was_known_wins() {
        let rows = batch(&[(1, 2, 1.0), (1, 9, 1.5), (2, 3, 2.0), (3, 20, 3.0)]);
        let close = |at: i64| -> Vec<f64> {
            let known = as_known_at(&rows, Timestamp::from_secs(at)).unwrap();
            known.column_by_name("close").unwrap().as_primitive::<Float64Type>().values().to_vec()
        };
        assert_eq!(close(1), Vec::<f64>::new());
        assert_eq!(close(3), vec![1.0, 2.0]);
        assert_eq!(close(9), vec![1.5, 2.0]);
        assert_eq!(close(20), vec![1.5, 2.0, 3.0]);
    }

    #[test]
    fn a_shared_key_is_named() {
        let rows = sort(&batch(&[(5, 6, 1.0), (1, 2, 1.0), (5, 6, 2.0)])).unwrap();
        let key = "(BTC-USD, 1970-01-01T00:00:05Z, 1970-01-01T00:00:06Z)";
        assert_eq!(duplicate(&rows).as_deref(), Some(key));
        assert_eq!(duplicate(&batch(&[(5, 6, 1.0), (5, 7, 2.0)])), None);
    }

    #[test]
    fn missing_is_missing_and_a_shift_is_seen() {
        let nan = batch(&[(1, 2, f64::NAN), (2, 3, 7.0)]);
        let mut columns = nan.columns().to_vec();
        columns[3] = Arc::new(Float64Array::from(vec![None, Some(7.0)]));
        let null = RecordBatch::try_new(nan.schema(), columns).unwrap();
        let shifted = batch(&[(1, 2, 7.0), (2, 3, f64::NAN)]);
        assert_eq!(rows_fingerprint(&nan).unwrap(), rows_fingerprint(&null).unwrap());
        assert_ne!(rows_fingerprint(&nan).unwrap(), rows_fingerprint(&shifted).unwrap());
    }

    proptest! {
        #[test]
        fn the_fingerprint_is_of_rows_not_of_their_order_or_pieces(
            rows in prop::collection::vec((0i64..20, 0i64..5, -3i32..3), 0..40),
            seed in any::<u64>(), cut in 0usize..40,
        ) {
            let rows: Vec<(i64, i64, f64)> =
                rows.into_iter().map(|(t, k, v)| (t, k, f64::from(v))).collect();
            let mut shuffled = rows.clone();
            let mut state = seed | 1;
            for i in (1..shuffled.len()).rev() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                shuffled.swap(i, (state >> 33) as usize % (i + 1));
            }
            let whole = batch(&rows);
            let cut = cut.min(rows.len());
            let pieces = vec![batch(&shuffled[..cut]), batch(&shuffled[cut..])];
            let merged = merge(&whole.schema(), pieces).unwrap();
            prop_assert_eq!(rows_fingerprint(&whole).unwrap(), rows_fingerprint(&merged).unwrap());
            if !rows.is_empty() {
                let fewer = batch(&rows[1..]);
                prop_assert_ne!(
                    rows_fingerprint(&whole).unwrap(), rows_fingerprint(&fewer).unwrap());
            }
        }

        #[test]
        fn inside_and_outside_share_the_rows(
            mut times in prop::collection::vec(0i64..100, 0..60), from in 0i64..100, length in 1i64..50,
        ) {
            times.sort_unstable();
            let rows: Vec<_> = times.iter().map(|t| (*t, *t, 1.0)).collect();
            let interval = Timestamp::from_secs(from)..Timestamp::from_secs(from + length);
            let all = batch(&rows);
            let (a, b) = (between(&all, &interval), outside(&all, &interval).unwrap());
            prop_assert_eq!(a.num_rows() + b.num_rows(), times.len());
            let inside = times.iter().filter(|t| (from..from + length).contains(t)).count();
            prop_assert_eq!(a.num_rows(), inside);
        }
    }
}
