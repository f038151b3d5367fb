//! The columns of a table: which Arrow types can be stored, how Delta writes them,
//! and the check of incoming rows against what the table holds.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Float64Type, Schema, SchemaRef, TimeUnit};
use serde_json::json;

use crate::{LakeError, Layer};

/// The type of every time column.
pub(crate) fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// How Delta names a type; `None` when it cannot be stored.
fn delta_type(data_type: &DataType) -> Option<&'static str> {
    Some(match data_type {
        DataType::Utf8 => "string",
        DataType::Boolean => "boolean",
        DataType::Int32 => "integer",
        DataType::Int64 => "long",
        DataType::Float32 => "float",
        DataType::Float64 => "double",
        DataType::Date32 => "date",
        DataType::Binary => "binary",
        time if *time == time_type() => "timestamp",
        _ => return None,
    })
}

/// The schema as Delta writes it into `metaData.schemaString`.
///
/// # Errors
/// [`LakeError::Unsupported`] names the first column that cannot be stored.
pub(crate) fn to_delta(schema: &Schema) -> Result<String, LakeError> {
    let mut fields = Vec::new();
    for field in schema.fields() {
        let (name, nullable) = (field.name(), field.is_nullable());
        let Some(kind) = delta_type(field.data_type()) else {
            let found = field.data_type().clone();
            return Err(LakeError::Unsupported { column: name.clone(), found });
        };
        fields.push(json!({"name": name, "type": kind, "nullable": nullable, "metadata": {}}));
    }
    Ok(json!({"type": "struct", "fields": fields}).to_string())
}

/// Checks that rows bring the columns which their layer is keyed by.
///
/// # Errors
/// [`LakeError::Key`] names the column and both types.
pub(crate) fn check_layer(layer: Layer, schema: &Schema) -> Result<(), LakeError> {
    let mut needed = vec![("time", time_type())];
    if layer == Layer::Raw {
        needed.push(("position", DataType::Int64));
    }
    if layer.is_keyed() {
        needed.extend([("instrument", DataType::Utf8), ("known_at", time_type())]);
    }
    for (column, expected) in needed {
        let found = schema.field_with_name(column).ok().map(Field::data_type);
        if found != Some(&expected) {
            let found = found.map_or("absent".to_owned(), ToString::to_string);
            return Err(LakeError::Key { layer: layer.as_str(), column, expected, found });
        }
    }
    Ok(())
}

/// The schema of a new table: the batch's, where a time has no null. Metadata of the
/// batch is left out.
///
/// # Errors
/// [`LakeError::Unsupported`] names the first column that cannot be stored.
pub(crate) fn of_new_table(batch: &RecordBatch) -> Result<SchemaRef, LakeError> {
    let schema = batch.schema();
    to_delta(&schema)?;
    let fields = schema.fields().iter().map(|f| {
        let nullable = f.is_nullable() && f.name() != "time";
        Field::new(f.name(), f.data_type().clone(), nullable)
    });
    Ok(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
}

/// The rows of a batch in the columns of the table: reordered by name, NaN as null.
///
/// # Errors
/// When a column is missing, unknown, of another type, or null where it must not be.
pub(crate) fn align(
    table: &str,
    schema: &SchemaRef,
    batch: &RecordBatch,
) -> Result<RecordBatch, LakeError> {
    let incoming = batch.schema();
    let differ = |column: &str, expected: String, found: String| LakeError::Schema {
        table: table.to_owned(),
        column: column.to_owned(),
        expected,
        found,
    };
    for field in incoming.fields() {
        if schema.field_with_name(field.name()).is_err() {
            let found = field.data_type().to_string();
            return Err(differ(field.name(), "absent".to_owned(), found));
        }
    }
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let (name, expected) = (field.name(), field.data_type());
        let Some(column) = batch.column_by_name(name) else {
            return Err(differ(name, expected.to_string(), "absent".to_owned()));
        };
        if column.data_type() != expected {
            return Err(differ(name, expected.to_string(), column.data_type().to_string()));
        }
        let column = without_nan(column);
        if !field.is_nullable() && column.null_count() > 0 {
            let row = (0..column.len()).find(|&i| column.is_null(i)).unwrap_or_default();
            return Err(LakeError::Null { table: table.to_owned(), column: name.clone(), row });
        }
        columns.push(column);
    }
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

/// NaN means missing in memory; in a table missing is null.
fn without_nan(column: &ArrayRef) -> ArrayRef {
    match column.as_primitive_opt::<Float64Type>() {
        Some(numbers) if numbers.values().iter().any(|v| v.is_nan()) => {
            let present = numbers.iter().map(|v| v.filter(|v| !v.is_nan()));
            Arc::new(present.collect::<Float64Array>())
        }
        _ => Arc::clone(column),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(fields: &[(&str, DataType)]) -> RecordBatch {
        let fields: Vec<Field> =
            fields.iter().map(|(n, t)| Field::new(*n, t.clone(), true)).collect();
        RecordBatch::new_empty(Arc::new(Schema::new(fields)))
    }

    #[test]
    fn a_mismatch_names_the_column_and_both_types() {
        let held = batch(&[("time", time_type()), ("close", DataType::Float64)]);
        let schema = of_new_table(&held).unwrap();
        let brought = batch(&[("close", DataType::Int64), ("time", time_type())]);
        let message = align("raw/x", &schema, &brought).unwrap_err().to_string();
        assert!(
            message.contains("column `close` of table `raw/x` is Float64 but the rows bring Int64"),
            "{message}"
        );
        let message = align("raw/x", &schema, &batch(&[("time", time_type())])).unwrap_err();
        assert!(message.to_string().contains("is Float64 but the rows bring absent"), "{message}");
        let more = batch(&[
            ("time", time_type()),
            ("close", DataType::Float64),
            ("open", DataType::Float64),
        ]);
        let message = align("raw/x", &schema, &more).unwrap_err().to_string();
        assert!(message.contains("`open` of table `raw/x` is absent"), "{message}");
    }

    #[test]
    fn a_type_that_cannot_be_stored_is_named() {
        let local = DataType::Timestamp(TimeUnit::Microsecond, None);
        let error = of_new_table(&batch(&[("time", local)])).unwrap_err().to_string();
        assert!(error.contains("column `time` is of type"), "{error}");
    }

    #[test]
    fn every_layer_demands_its_key() {
        let bare = batch(&[("time", time_type())]);
        assert!(check_layer(Layer::Datasets, &bare.schema()).is_ok());
        let message = check_layer(Layer::Raw, &bare.schema()).unwrap_err().to_string();
        assert!(message.contains("raw need a column `position` of type Int64, not absent"));
        assert!(check_layer(Layer::Clean, &bare.schema()).is_err());
    }
}
