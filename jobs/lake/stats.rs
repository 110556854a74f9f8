//! A data file's statistics for the Delta log, from its Parquet footer.

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, Schema, TimeUnit};
use chrono::{DateTime, NaiveDate, SecondsFormat, TimeDelta};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::statistics::Statistics;
use serde_json::{Map, Value, json};

/// What is known of one column over the row groups seen so far.
#[derive(Default)]
struct Column {
    nulls: Option<u64>,
    bounds: Option<(i64, i64)>,
    /// Some row group that has values says nothing about them.
    unbounded: bool,
}

/// `numRecords`, and `nullCount`, `minValues`, `maxValues` of the columns that the footer has statistics for. Bounds
/// are given for integers, dates and timestamps, which files are skipped by.
pub(super) fn delta_statistics(footer: &ParquetMetaData, schema: &Schema) -> String {
    let mut columns: BTreeMap<String, Column> = BTreeMap::new();
    for (i, group) in footer.row_groups().iter().enumerate() {
        for chunk in group.columns() {
            let [name] = chunk.column_path().parts() else { continue };
            let Some(statistics) = chunk.statistics() else { continue };
            let column = columns.entry(name.clone()).or_default();
            let nulls = statistics.null_count_opt();
            column.nulls = match (i, column.nulls, nulls) {
                (0, _, nulls) => nulls,
                (_, Some(sum), Some(nulls)) => Some(sum + nulls),
                _ => None,
            };
            match bounds(statistics) {
                Some((low, high)) => {
                    let (a, b) = column.bounds.unwrap_or((low, high));
                    column.bounds = Some((a.min(low), b.max(high)));
                }
                None => column.unbounded |= nulls != u64::try_from(group.num_rows()).ok(),
            }
        }
    }
    let (mut null_count, mut low, mut high) = (Map::new(), Map::new(), Map::new());
    for (name, column) in columns {
        let Ok(field) = schema.field_with_name(&name) else { continue };
        if let Some((a, b)) = column.bounds.filter(|_| !column.unbounded)
            && let (Some(a), Some(b)) = (value(a, field.data_type()), value(b, field.data_type()))
        {
            low.insert(name.clone(), a);
            high.insert(name.clone(), b);
        }
        if let Some(nulls) = column.nulls {
            null_count.insert(name, nulls.into());
        }
    }
    let rows = footer.file_metadata().num_rows();
    json!({"numRecords": rows, "minValues": low, "maxValues": high, "nullCount": null_count}).to_string()
}

fn bounds(statistics: &Statistics) -> Option<(i64, i64)> {
    match statistics {
        Statistics::Int32(s) => Some((i64::from(*s.min_opt()?), i64::from(*s.max_opt()?))),
        Statistics::Int64(s) => Some((*s.min_opt()?, *s.max_opt()?)),
        _ => None,
    }
}

fn value(raw: i64, data_type: &DataType) -> Option<Value> {
    match data_type {
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => Some(raw.into()),
        DataType::Date32 => {
            let date = NaiveDate::default().checked_add_signed(TimeDelta::try_days(raw)?)?;
            Some(date.to_string().into())
        }
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => {
            Some(DateTime::from_timestamp_micros(raw)?.to_rfc3339_opts(SecondsFormat::Micros, true).into())
        }
        _ => None,
    }
}
