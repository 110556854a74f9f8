//! Tables of the lake as a report reads them: columns by name, and a column that is not there has no values.
//!
//! A lake may be older than this binary, or a job that fills a table may not have run yet: a report then shows less.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};

use crate::engine::session::Session;
use crate::error::{Error, Result};
use crate::pipeline::job::Job;

/// The rows of a query.
#[derive(Debug, Default)]
pub struct Rows {
    batches: Vec<RecordBatch>,
}

impl Rows {
    pub async fn of(session: &Session, sql: &str) -> Result<Rows> {
        let frame = session.sql(sql).await?;
        Ok(Rows { batches: session.collect(frame).await? })
    }

    pub fn len(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn has(&self, name: &str) -> bool {
        self.batches.iter().any(|batch| batch.column_by_name(name).is_some())
    }

    /// A column as numbers; what is none is null.
    pub fn numbers(&self, name: &str) -> Result<Vec<Option<f64>>> {
        let of = |column: &ArrayRef| -> Result<Vec<Option<f64>>> {
            Ok(cast(column, &DataType::Float64)?.as_primitive::<Float64Type>().iter().collect())
        };
        self.column(name, of)
    }

    /// A column of counts.
    pub fn counts(&self, name: &str) -> Result<Vec<u64>> {
        Ok(self.numbers(name)?.into_iter().map(|number| number.map_or(0, |n| n.max(0.0) as u64)).collect())
    }

    /// A column as texts.
    pub fn texts(&self, name: &str) -> Result<Vec<Option<String>>> {
        let of = |column: &ArrayRef| -> Result<Vec<Option<String>>> {
            let column = cast(column, &DataType::Utf8)?;
            Ok(column.as_string::<i32>().iter().map(|text| text.map(str::to_string)).collect())
        };
        self.column(name, of)
    }

    /// A column of lists of texts.
    pub fn lists(&self, name: &str) -> Result<Vec<Vec<String>>> {
        let of = |column: &ArrayRef| -> Result<Vec<Option<Vec<String>>>> {
            let lists = column.as_list_opt::<i32>();
            let lists =
                lists.ok_or_else(|| Error::internal(format!("{name} is no list but {}", column.data_type())))?;
            let texts = |list: ArrayRef| -> Result<Vec<String>> {
                let list = cast(&list, &DataType::Utf8)?;
                Ok(list.as_string::<i32>().iter().flatten().map(str::to_string).collect())
            };
            lists.iter().map(|list| list.map(texts).transpose()).collect()
        };
        Ok(self.column(name, of)?.into_iter().map(Option::unwrap_or_default).collect())
    }

    fn column<T: Clone>(&self, name: &str, of: impl Fn(&ArrayRef) -> Result<Vec<Option<T>>>) -> Result<Vec<Option<T>>> {
        let mut all = Vec::with_capacity(self.len());
        for batch in &self.batches {
            match batch.column_by_name(name) {
                Some(column) if !column.is_empty() => all.extend(of(column)?),
                _ => all.extend(vec![None; batch.num_rows()]),
            }
        }
        Ok(all)
    }
}

/// Registers a table of the lake under an alias; its columns, or `None` where there is no such table.
pub async fn register(job: &Job, session: &Session, path: &str, alias: &str) -> Result<Option<Vec<String>>> {
    let Some(snapshot) = job.lake.snapshot(path).await? else { return Ok(None) };
    job.ledger.read(path, snapshot.version());
    session.register(alias, snapshot.provider()?)?;
    Ok(Some(snapshot.schema().fields().iter().map(|field| field.name().clone()).collect()))
}

/// A column's name as SQL has it.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as SQL has it.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
