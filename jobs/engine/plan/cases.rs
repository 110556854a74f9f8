//! A table's `given`/`expect` cases, run in memory: typed from the schemas, without storage and without a registry.
//!
//! A keyed table's case is run twice: over all given rows at once, and as two nights would, the second merged with what
//! the first had left. Both must give what is expected.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray, UInt64Array, new_null_array};
use arrow::compute::{cast, concat_batches, filter_record_batch, is_null, take_record_batch};
use arrow::datatypes::{DataType, Schema};
use datafusion::dataframe::DataFrame;
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::logical_expr::TableSource;

use super::catalog::Catalog;
use super::relation::{EVENT_DATE, KNOWN_FROM, KNOWN_UNTIL};
use super::scalars::{Row, column, equal, nullable, row_text};
use super::versions::Merge;
use crate::define::Table;
use crate::define::diagnostic::Diagnostic;
use crate::define::table::{Case, Materialized};
use crate::define::types::{DAY, timestamp};
use crate::engine::session::error;
use crate::error::{Error, Result};

/// So many cases of a table are merged: what a merge gets wrong it gets wrong in the first.
const MERGED: usize = 10;

/// Runs every case of a table. One that does not give what it expects is a diagnostic; a table that did not compile
/// has none, as its own diagnostics say why.
///
/// # Errors
/// None today: a case that cannot run is a diagnostic too.
pub async fn run(catalog: &Catalog, table: &Table) -> Result<Vec<Diagnostic>> {
    let mut out = Vec::new();
    if catalog.relation(&table.name).is_some() {
        for (index, case) in table.tests.iter().enumerate() {
            run_one(catalog, table, (index, case), &mut out).await;
        }
    }
    Ok(out)
}

async fn run_one(catalog: &Catalog, table: &Table, (index, case): (usize, &Case), out: &mut Vec<Diagnostic>) {
    let before = out.len();
    let given = given(catalog, table, (index, case), out);
    let Some((names, expected)) = expected(catalog, table, (index, case), out) else { return };
    if out.len() > before {
        return;
    }
    let failed = |failure: Error| {
        let d = table.origin.at(&format!("tests.{index}"), format!("case `{}` does not run", case.name));
        d.found(failure.to_string())
    };
    match found(catalog, table, &given, &names).await {
        Ok(found) => out.extend(compare(table, (index, case), &names, &found, &expected)),
        Err(failure) => out.push(failed(failure)),
    }
    if out.len() > before || table.key.is_empty() || index >= MERGED {
        return;
    }
    // As rows come night by night: what a merge leaves must be what the query makes of them all at once.
    match merged(catalog, table, &given, &names).await {
        Ok(found) => {
            let differs = compare(table, (index, case), &names, &found, &expected);
            let said = "every other given row came a night later, and the table was merged: ";
            out.extend(differs.map(|d| Diagnostic { message: format!("{said}{}", d.message), ..d }));
        }
        Err(failure) => out.push(failed(failure.context("merging with rows that came a night later"))),
    }
}

/// The inputs of a case by name; those it does not give are empty.
fn given(
    catalog: &Catalog,
    table: &Table,
    (index, case): (usize, &Case),
    out: &mut Vec<Diagnostic>,
) -> HashMap<String, RecordBatch> {
    let mut given = HashMap::new();
    for input in &table.inputs {
        let Some(relation) = catalog.relation(input) else { continue };
        let none = Vec::new();
        let rows = case.given.get(input).unwrap_or(&none);
        let path = format!("tests.{index}.given.{input}");
        let schema = Schema::new(nullable(relation.schema.fields().iter().cloned()));
        let Some(mut columns) = typed(table, &schema, rows, &path, out) else { continue };
        let says_date = rows.iter().any(|row| row.contains_key(EVENT_DATE));
        let time = relation.event_time.as_deref().filter(|_| !says_date).and_then(|time| schema.index_of(time).ok());
        if let (Some(time), Ok(date)) = (time, schema.index_of(EVENT_DATE))
            && let Ok(dates) = cast(&columns[time], &DataType::Date32)
        {
            columns[date] = dates;
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        if let Ok(batch) = RecordBatch::try_new_with_options(Arc::new(schema), columns, &options) {
            given.insert(input.clone(), batch);
        }
    }
    given
}

/// The names that a case compares, and the rows it expects; `None` after having said what is wrong.
fn expected(
    catalog: &Catalog,
    table: &Table,
    (index, case): (usize, &Case),
    out: &mut Vec<Diagnostic>,
) -> Option<(Vec<String>, Vec<ArrayRef>)> {
    let schema = catalog.relation_schema(&table.name)?;
    let mut names: Vec<String> = Vec::new();
    for name in case.expect.iter().flat_map(|row| row.keys()) {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    if names.is_empty() {
        names = schema.fields().iter().map(|field| field.name().clone()).collect();
    }
    let all = Schema::new(nullable(schema.fields().iter().cloned()));
    let columns = typed(table, &all, &case.expect, &format!("tests.{index}.expect"), out)?;
    let named = names.iter().filter_map(|name| all.index_of(name).ok()).map(|i| columns[i].clone());
    let columns = named.collect();
    Some((names, columns))
}

fn typed(table: &Table, schema: &Schema, rows: &[Row], path: &str, out: &mut Vec<Diagnostic>) -> Option<Vec<ArrayRef>> {
    let before = out.len();
    for (at, row) in rows.iter().enumerate() {
        for name in row.keys().filter(|name| schema.field_with_name(name).is_err()) {
            let relation = path.rsplit('.').next().filter(|last| *last != "expect").unwrap_or(&table.name);
            let d = table.origin.at(&format!("{path}.{at}.{name}"), format!("`{name}` is no column of {relation}"));
            out.push(d.expected_one_of(name, schema.fields().iter().map(|field| field.name().as_str())));
        }
    }
    let mut columns = Vec::new();
    for field in schema.fields() {
        match column(field, rows) {
            Ok(values) => columns.push(values),
            Err((at, message)) => {
                let path = format!("{path}.{at}.{}", field.name());
                out.push(table.origin.at(&path, format!("`{}`: {message}", field.name())));
            }
        }
    }
    (out.len() == before).then_some(columns)
}

/// What the query makes of the given rows: the columns named, in their stored types.
async fn found(
    catalog: &Catalog,
    table: &Table,
    given: &HashMap<String, RecordBatch>,
    names: &[String],
) -> Result<Vec<ArrayRef>> {
    let rows = rows(catalog, table, given).await?;
    Ok(names.iter().filter_map(|name| rows.column_by_name(name)).cloned().collect())
}

/// All columns of the table, as the query makes them of these rows.
async fn rows(catalog: &Catalog, table: &Table, given: &HashMap<String, RecordBatch>) -> Result<RecordBatch> {
    let mut sources: HashMap<String, Arc<dyn TableSource>> = HashMap::new();
    for (name, batch) in given {
        let rows = MemTable::try_new(batch.schema(), vec![vec![batch.clone()]]).map_err(error)?;
        sources.insert(name.clone(), provider_as_source(Arc::new(rows)));
    }
    let planner = catalog.planner.over(sources);
    // Planned anew rather than bound to the table's plan: here any column may be null, which plans rely on.
    let plan = planner.plan(&table.sql).map_err(error)?;
    let frame = DataFrame::new(planner.state().clone(), plan);
    let schema = Arc::new(frame.schema().as_arrow().clone());
    let rows = concat_batches(&schema, &frame.collect().await.map_err(error)?)?;
    let mut columns = Vec::new();
    for field in catalog.relation_schema(&table.name).iter().flat_map(|schema| schema.fields().iter()) {
        let ours = table.event_time.as_ref().filter(|_| field.name() == EVENT_DATE).unwrap_or(field.name());
        if let Some(values) = rows.column_by_name(ours) {
            columns.push((field.name().clone(), cast(values, field.data_type())?, true));
        }
    }
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}

/// What a table holds whose rows came in two nights, every other one in the second: what is current after the merge.
async fn merged(
    catalog: &Catalog,
    table: &Table,
    given: &HashMap<String, RecordBatch>,
    names: &[String],
) -> Result<Vec<ArrayRef>> {
    const NIGHTS: [i64; 2] = [DAY, 2 * DAY];
    let first = |batch: &RecordBatch| {
        let even = UInt64Array::from_iter_values((0..batch.num_rows() as u64).step_by(2));
        take_record_batch(batch, &even)
    };
    let early = given.iter().map(|(name, batch)| Ok((name.clone(), first(batch)?))).collect::<Result<_>>()?;
    let known = |batch: RecordBatch, night: i64| -> Result<RecordBatch> {
        let from = TimestampMicrosecondArray::from(vec![night; batch.num_rows()]).with_timezone("UTC");
        let until = new_null_array(&timestamp(), batch.num_rows());
        let names = batch.schema().fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
        let ours = [(KNOWN_FROM.to_string(), Arc::new(from) as ArrayRef), (KNOWN_UNTIL.to_string(), until)];
        let all = names.into_iter().zip(batch.columns().iter().cloned()).chain(ours);
        Ok(RecordBatch::try_from_iter_with_nullable(all.map(|(name, column)| (name, column, true)))?)
    };
    let held = known(rows(catalog, table, &early).await?, NIGHTS[0])?;
    let computed = known(rows(catalog, table, given).await?, NIGHTS[1])?;
    let by_day = table.materialized == Materialized::Incremental;
    let (schema, key, night) = (computed.schema(), table.key.as_slice(), NIGHTS[1]);
    let elsewhere = HashSet::new();
    let merge = Merge { schema: schema.clone(), key, elsewhere: &elsewhere, by_day, last: Some(NIGHTS[0]), night };
    let rows = concat_batches(&schema, &merge.merge(&[held], &[computed])?.rows)?;
    let until = rows.column_by_name(KNOWN_UNTIL).map(|until| is_null(until)).transpose()?;
    let current = until.map_or(Ok(rows.clone()), |current| filter_record_batch(&rows, &current))?;
    Ok(names.iter().filter_map(|name| current.column_by_name(name)).cloned().collect())
}

/// Both sides as multisets; what only one of them has, side by side.
fn compare(
    table: &Table,
    (index, case): (usize, &Case),
    names: &[String],
    found: &[ArrayRef],
    expected: &[ArrayRef],
) -> Option<Diagnostic> {
    let count = |columns: &[ArrayRef]| columns.first().map_or(0, |column| column.len());
    // Each row is compared in the columns that it names itself; rows that name more choose first.
    let named = |e: usize, c: usize| case.expect[e].contains_key(&names[c]);
    let same = |f: usize, e: usize| (0..names.len()).all(|c| !named(e, c) || equal(&found[c], &expected[c], (f, e)));
    let mut missing: Vec<usize> = (0..case.expect.len()).collect();
    missing.sort_by_key(|e| std::cmp::Reverse(case.expect[*e].len()));
    let mut surplus = Vec::new();
    for row in 0..count(found) {
        match missing.iter().position(|e| same(row, *e)) {
            Some(at) => {
                missing.remove(at);
            }
            None => surplus.push(row),
        }
    }
    if missing.is_empty() && surplus.is_empty() {
        return None;
    }
    let equal_rows = case.expect.len() - missing.len();
    let lines = |rows: &[usize], line: &dyn Fn(usize) -> String| match rows {
        [] => "no such row".to_string(),
        rows => rows.iter().map(|row| line(*row)).collect::<Vec<_>>().join("\n"),
    };
    let found_row = |row: usize| row_text(names.iter().zip(found), row);
    let expected_row = |row: usize| {
        let own = names.iter().zip(expected).filter(|(name, _)| case.expect[row].contains_key(*name));
        row_text(own, row)
    };
    let message = match equal_rows {
        0 => format!("case `{}` fails", case.name),
        n => format!("case `{}` fails ({n} other rows are as expected)", case.name),
    };
    let d = table.origin.at(&format!("tests.{index}"), message);
    Some(d.found(lines(&surplus, &found_row)).expected(lines(&missing, &expected_row)))
}
