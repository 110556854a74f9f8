//! What a query may see of a source or table, and what is stored of it.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::logical_expr::LogicalPlan;

use crate::define::source::Pii;
use crate::define::types::timestamp;
use crate::define::{Source, Table};

/// The date of a row's event time: the partition column of every relation that has one.
pub const EVENT_DATE: &str = "event_date";
/// The instant from which this version of a row was known.
pub const KNOWN_FROM: &str = "_known_from";
/// The instant from which it no longer was; null for what still is.
pub const KNOWN_UNTIL: &str = "_known_until";

/// A source or table as its readers see it.
#[derive(Debug, Clone)]
pub struct Relation {
    /// Declared or output columns, then `event_date` where there is an event time. Docs are the metadata `comment`.
    pub schema: SchemaRef,
    pub event_time: Option<String>,
    /// The analysed query of a SQL table, over the schemas of its inputs.
    pub plan: Option<LogicalPlan>,
}

impl Relation {
    pub fn of_source(source: &Source) -> Self {
        let mut fields: Vec<Field> = source
            .table_columns()
            .map(|(name, column)| {
                let data_type = match column.pii {
                    Some(Pii::Pseudonymise) => DataType::Utf8,
                    _ => column.data_type.arrow(),
                };
                documented(Field::new(name, data_type, column.nullable), column.doc.as_deref(), column.unit.as_deref())
            })
            .collect();
        fields.extend(source.event_time.as_deref().map(event_date));
        Relation { schema: Arc::new(Schema::new(fields)), event_time: source.event_time.clone(), plan: None }
    }

    /// From the fields of the query's output, types normalised. An `event_date` of the query's own gives way to ours.
    pub fn of_table(table: &Table, plan: LogicalPlan, output: Vec<Field>) -> Self {
        let ours = table.event_time.as_deref();
        let mut fields: Vec<Field> = output
            .into_iter()
            .filter(|field| ours.is_none() || field.name() != EVENT_DATE)
            .map(|field| {
                let doc = table.columns.get(field.name());
                let field = field.with_metadata(HashMap::new());
                documented(field, doc.map(|d| d.doc.as_str()), doc.and_then(|d| d.unit.as_deref()))
            })
            .collect();
        fields.extend(ours.map(event_date));
        Relation { schema: Arc::new(Schema::new(fields)), event_time: table.event_time.clone(), plan: Some(plan) }
    }

    /// True if rows have a day, so that they are partitioned by `event_date`.
    pub fn dated(&self) -> bool {
        self.event_time.is_some()
    }

    /// The schema on disk: what queries see, and the instants between which each version of a row was known.
    pub fn storage_schema(&self) -> SchemaRef {
        let mut fields: Vec<_> = self.schema.fields().iter().cloned().collect();
        let from = Field::new(KNOWN_FROM, timestamp(), false);
        let until = Field::new(KNOWN_UNTIL, timestamp(), true);
        fields.push(Arc::new(documented(from, Some("From when on this version of the row was known."), None)));
        fields.push(Arc::new(documented(until, Some("From when on it no longer was; null for what still is."), None)));
        Arc::new(Schema::new(fields))
    }
}

fn event_date(event_time: &str) -> Field {
    documented(Field::new(EVENT_DATE, DataType::Date32, true), Some(&format!("Date (UTC) of {event_time}.")), None)
}

fn documented(field: Field, doc: Option<&str>, unit: Option<&str>) -> Field {
    let doc = doc.filter(|doc| !doc.is_empty());
    let comment = match (doc, unit) {
        (Some(doc), Some(unit)) => format!("{doc} [{unit}]"),
        (Some(doc), None) => doc.to_string(),
        (None, Some(unit)) => format!("[{unit}]"),
        (None, None) => return field,
    };
    field.with_metadata(HashMap::from([("comment".to_string(), comment)]))
}

/// The type in which a column of this type is stored; the error says why there is none.
pub fn normalise(data_type: &DataType) -> Result<DataType, String> {
    Ok(match data_type {
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary => DataType::Binary,
        DataType::Int8 | DataType::Int16 | DataType::UInt8 | DataType::UInt16 => DataType::Int32,
        DataType::UInt32 | DataType::UInt64 => DataType::Int64,
        DataType::Float16 | DataType::Float32 => DataType::Float64,
        DataType::Timestamp(_, _) | DataType::Date64 => timestamp(),
        DataType::Decimal32(p, s) | DataType::Decimal64(p, s) => DataType::Decimal128(*p, *s),
        DataType::Decimal256(p, s) if *p <= 38 => DataType::Decimal128(*p, *s),
        DataType::Dictionary(_, value) => normalise(value)?,
        DataType::List(item) | DataType::LargeList(item) | DataType::ListView(item) => {
            DataType::List(Arc::new(Field::new("item", normalise(item.data_type())?, true)))
        }
        DataType::Utf8
        | DataType::Binary
        | DataType::Boolean
        | DataType::Int32
        | DataType::Int64
        | DataType::Float64
        | DataType::Date32
        | DataType::Decimal128(_, _) => data_type.clone(),
        DataType::Null => return Err("it is always null: give it a type, such as cast(null as varchar)".into()),
        DataType::Interval(_) | DataType::Duration(_) | DataType::Time32(_) | DataType::Time64(_) => {
            return Err("it is a length or time of day: give a number, such as extract(epoch from …)".into());
        }
        _ => return Err("cast it to string, bigint, double, boolean, date, timestamp or decimal".into()),
    })
}
