//! A night's features as analysts find them: documented columns, a partition per night.

use std::sync::Arc;

use arrow::array::{Date32Array, RecordBatch, new_null_array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use chrono::NaiveDate;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{col, lit};
use datafusion::prelude::DataFrame;

use crate::define::types::timestamp;
use crate::engine::session::Session;
use crate::error::Result;
use crate::lake::{COMMENT, Snapshot, documented};

/// entity…, as_of, the computed columns, those that only earlier nights have, logical_date. `unit` is a column's, if
/// its name and documentation may not say.
pub fn schema<'a>(
    computed: &Schema,
    entity: &[String],
    existing: Option<&Snapshot>,
    unit: impl Fn(&str) -> Option<&'a str>,
) -> SchemaRef {
    let mut fields: Vec<Field> = Vec::new();
    for field in computed.fields().iter().filter(|f| entity.contains(f.name())) {
        fields.push(documented(field.name(), field.data_type().clone(), false, "The entity."));
    }
    fields.push(documented("as_of", timestamp(), false, "The instant at which the row is what was known."));
    let ours = |name: &String| entity.contains(name) || name == "as_of" || name == "_row";
    let computed = computed.fields().iter().filter(|field| !ours(field.name()));
    fields.extend(computed.map(|field| in_unit(field, unit(field.name()))));
    if let Some(existing) = existing {
        let gone = |field: &&Arc<Field>| field.is_nullable() && fields.iter().all(|f| f.name() != field.name());
        let gone: Vec<Field> = existing.schema().fields().iter().filter(gone).map(|field| retired(field)).collect();
        fields.extend(gone);
    }
    fields.push(documented("logical_date", DataType::Date32, false, "The night that computed the row."));
    Arc::new(Schema::new(fields))
}

/// A column whose documentation names its unit.
fn in_unit(field: &Field, unit: Option<&str>) -> Field {
    let doc = field.metadata().get(COMMENT).map_or("", String::as_str);
    match unit.filter(|unit| !doc.contains(unit)) {
        Some(unit) => {
            documented(field.name(), field.data_type().clone(), field.is_nullable(), &format!("{doc} [{unit}]"))
        }
        None => field.clone(),
    }
}

/// A column that the definition has no longer: it stays for the nights that have it, and is null from now on.
fn retired(field: &Field) -> Field {
    const SAYS: &str = "No longer computed";
    let doc = field.metadata().get(COMMENT).map_or("", String::as_str);
    let doc = if doc.starts_with(SAYS) { doc.to_string() } else { format!("{SAYS}. {doc}") };
    documented(field.name(), field.data_type().clone(), true, &doc)
}

/// The stored columns of a computed batch, with the night's date; null where nothing was computed.
pub fn dated(batch: &RecordBatch, schema: &SchemaRef, date: NaiveDate) -> Result<RecordBatch> {
    let mut columns = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        columns.push(match batch.column_by_name(field.name()) {
            Some(column) => column.clone(),
            None if field.is_nullable() => new_null_array(field.data_type(), batch.num_rows()),
            None => Arc::new(Date32Array::from_value(date.to_epoch_days(), batch.num_rows())),
        });
    }
    Ok(RecordBatch::try_new(schema.clone(), columns)?)
}

/// The stored rows of a night, with every column.
pub fn stored(session: &Session, snapshot: &Snapshot, date: NaiveDate) -> Result<DataFrame> {
    let night = snapshot.provider_of(&[date.to_string()].into())?;
    let day = ScalarValue::Date32(Some(date.to_epoch_days()));
    Ok(session.context().read_table(night)?.filter(col("logical_date").eq(lit(day)))?)
}
