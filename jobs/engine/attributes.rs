//! Features over a decision's own attributes: expressions over the spine's row and rows looked up as of it.
//!
//! A lookup is a sequence of length one over the table, by the columns that a row is found by: its latest row before
//! as_of that was known at as_of. (`last` would not do: it skips nulls column by column, and so may mix two rows.)

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{cast, concat_batches, sort_to_indices, take, take_record_batch};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ScalarValue, TableReference};
use datafusion::dataframe::DataFrame;
use datafusion::logical_expr::{Expr, lit};
use datafusion::physical_plan::PhysicalExpr;
use futures::TryStreamExt;

use super::physical;
use super::pit::expression::{Scope, Typed};
use super::pit::{self, AS_OF, ROW};
use super::session::{self, Session};
use crate::define::attributes::{Attributes, Lookup};
use crate::define::features::{History, Visibility};
use crate::define::sequence::{self, FieldValue};
use crate::define::sql_features::SPINE;
use crate::define::types::{timestamp, type_name};
use crate::define::{Diagnostic, Sequence};
use crate::error::{Context, Error, Result};

/// The time of rows that have none, before every other. No column of a table can be called so.
const ALWAYS: &str = "since always";

/// What the project knows of a table that rows are looked up in.
#[derive(Debug, Clone)]
pub struct Source {
    /// `None`: the rows have none, and a version is looked up by when it was known.
    pub event_time: Option<String>,
    pub tie_breaker: Vec<String>,
    pub schema: SchemaRef,
}

/// Attributes with types, ready to compute.
#[derive(Debug)]
pub struct Compiled {
    /// The features, documented by their metadata `comment`.
    pub schema: SchemaRef,
    lookups: Vec<AsOf>,
    features: Vec<Arc<dyn PhysicalExpr>>,
    scope: DFSchema,
}

impl Compiled {
    /// What expressions see: the decision's columns, then those that are looked up.
    pub fn scope(&self) -> &DFSchema {
        &self.scope
    }
}

/// One lookup.
#[derive(Debug)]
struct AsOf {
    alias: String,
    on: Vec<(String, String)>,
    sequence: Sequence,
    source: Source,
}

/// Types every feature against the spine's table and the tables of its lookups, which come by their alias.
pub fn compile(
    session: &Session,
    attributes: &Attributes,
    spine: &Schema,
    sources: &HashMap<String, Source>,
) -> Result<Compiled, Vec<Diagnostic>> {
    let mut out = Vec::new();
    let of_spine = spine.fields().iter().filter(|field| field.name() != AS_OF).cloned();
    let as_of = Arc::new(Field::new(AS_OF, timestamp(), false));
    let own: Vec<Seen> = of_spine.chain([as_of]).map(|field| (TableReference::bare(SPINE), field)).collect();
    let mut everything = own.clone();
    for (alias, lookup) in &attributes.lookups {
        let Some(source) = sources.get(alias) else { continue };
        keys(attributes, (alias, lookup), &own, source, &mut out);
        // Columns that rows are found by are the spine's own.
        let told = |field: &&FieldRef| !lookup.on.iter().any(|(theirs, ours)| theirs == field.name() && ours == theirs);
        let fields = source.schema.fields().iter().filter(told);
        everything.extend(fields.map(|field| (TableReference::bare(alias.as_str()), field.clone())));
    }
    let typed = typed(session, attributes, &everything, &mut out);
    let used = |(relation, field): &&Seen| {
        let column = Column::new(Some(relation.clone()), field.name());
        relation.table() == SPINE || typed.iter().any(|(_, typed)| mentions(&typed.expr, &column))
    };
    let seen: Vec<_> = everything.iter().filter(used).cloned().collect();
    // Where a feature failed, what it reads is not known.
    let mut lookups = Vec::new();
    for (alias, lookup) in attributes.lookups.iter().filter(|_| out.is_empty()) {
        let Some(source) = sources.get(alias) else { continue };
        let here = seen.iter().filter(|(relation, _)| relation.table() == alias);
        let columns: Vec<&str> = here.map(|(_, field)| field.name().as_str()).collect();
        lookups.push((alias, as_of_join(attributes, (alias, lookup), source, &columns)));
    }
    for (alias, lookup) in &lookups {
        lookup.check(session, &format!("lookups.{alias}"), &mut out);
    }
    if !out.is_empty() {
        return Err(out);
    }
    let lookups = lookups.into_iter().map(|(_, lookup)| lookup).collect();
    finish(session, attributes, seen, typed, lookups)
        .map_err(|error| vec![attributes.origin.at("features", error.to_string())])
}

/// The features of every row of a spine batch, row for row.
///
/// `tables` are the tables of the lookups by alias, with all versions of their rows; `spine` has the columns of the
/// spine's table and `as_of`.
pub async fn compute(
    session: &Session,
    compiled: &Compiled,
    tables: HashMap<String, DataFrame>,
    spine: &RecordBatch,
) -> Result<RecordBatch> {
    evaluate(compiled, &reach(session, compiled, tables, spine).await?)
}

/// What expressions see of every row of a spine, in the order of [`Compiled::scope`].
pub async fn reach(
    session: &Session,
    compiled: &Compiled,
    mut tables: HashMap<String, DataFrame>,
    spine: &RecordBatch,
) -> Result<RecordBatch> {
    let mut found: HashMap<&str, RecordBatch> = HashMap::new();
    for lookup in &compiled.lookups {
        let table = tables.remove(&lookup.alias);
        let table = table.ok_or_else(|| Error::internal(format!("no table for the lookup {}", lookup.alias)))?;
        found.insert(&lookup.alias, lookup.rows(session, table, spine).await.with_context(|| lookup.alias.clone())?);
    }
    let mut columns: Vec<ArrayRef> = Vec::new();
    found.insert(SPINE, spine.clone());
    for (relation, field) in compiled.scope.iter() {
        let batch = relation.and_then(|relation| found.get(relation.table()));
        let column = batch.and_then(|batch| batch.column_by_name(field.name()));
        let column = column.ok_or_else(|| Error::internal(format!("the spine has no column {}", field.name())))?;
        columns.push(cast(column, field.data_type())?);
    }
    let fields: Vec<Field> =
        compiled.scope.iter().map(|(_, field)| field.as_ref().clone().with_nullable(true)).collect();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// The features of rows that hold what expressions see.
pub fn evaluate(compiled: &Compiled, row: &RecordBatch) -> Result<RecordBatch> {
    let mut features = Vec::new();
    for (field, feature) in compiled.schema.fields().iter().zip(&compiled.features) {
        let value = feature.evaluate(row).and_then(|value| value.into_array(row.num_rows()));
        features.push(value.map_err(session::error).with_context(|| field.name().clone())?);
    }
    Ok(RecordBatch::try_new(compiled.schema.clone(), features)?)
}

/// A column that expressions see, and whose it is.
type Seen = (TableReference, FieldRef);

fn schema_of(seen: &[Seen]) -> datafusion::error::Result<DFSchema> {
    let fields = seen.iter().map(|(relation, field)| (Some(relation.clone()), field.clone()));
    DFSchema::new_with_metadata(fields.collect(), HashMap::new())
}

/// A row is found by columns that both sides have, of one type.
fn keys(
    attributes: &Attributes,
    (alias, lookup): (&str, &Lookup),
    spine: &[Seen],
    source: &Source,
    out: &mut Vec<Diagnostic>,
) {
    if spine.iter().any(|(_, field)| field.name() == alias) {
        let d = attributes.origin.at(&format!("lookups.{alias}"), format!("`{alias}` is a column of the spine too"));
        out.push(d.help("give the lookup another name, so that `name.column` can mean one thing only"));
    }
    let path = format!("lookups.{alias}.on");
    let names = |fields: &mut dyn Iterator<Item = &FieldRef>| fields.map(|f| f.name().clone()).collect::<Vec<_>>();
    for (theirs, ours) in &lookup.on {
        let there = source.schema.field_with_name(theirs).ok();
        let here = spine.iter().map(|(_, field)| field).find(|field| field.name() == ours);
        if there.is_none() {
            let d = attributes.origin.at(&path, format!("table {} has no column `{theirs}`", lookup.table));
            let names = names(&mut source.schema.fields().iter());
            out.push(d.expected_one_of(theirs, names.iter().map(String::as_str)));
        }
        if here.is_none() {
            let d = attributes.origin.at(&path, format!("the spine {} has no column `{ours}`", attributes.spine));
            let names = names(&mut spine.iter().map(|(_, field)| field));
            out.push(d.expected_one_of(ours, names.iter().map(String::as_str)));
        }
        if let (Some(there), Some(here)) = (there, here)
            && there.data_type() != here.data_type()
        {
            let message = format!("`{theirs}` of {} and `{ours}` of the spine are of different types", lookup.table);
            let d = attributes.origin.at(&path, message).found(type_name(there.data_type()));
            out.push(d.expected(type_name(here.data_type())));
        }
    }
    if let Some(time) = &lookup.event_time {
        let origin = &attributes.origin;
        let path = format!("lookups.{alias}.event_time");
        match source.schema.field_with_name(time).map(Field::data_type) {
            Ok(DataType::Timestamp(..) | DataType::Date32) => {}
            Ok(other) => {
                let d = origin.at(&path, format!("`{time}` is no time")).found(type_name(other));
                out.push(d.expected("timestamp or date"));
            }
            Err(_) => {
                let names = names(&mut source.schema.fields().iter());
                let d = origin.at(&path, "the lookup's event time is no column");
                out.push(d.expected_one_of(time, names.iter().map(String::as_str)));
            }
        }
    }
    if source.tie_breaker.is_empty() {
        out.push(pit::no_order(&attributes.origin, &path, alias, &lookup.table));
    }
}

/// Each feature as an expression over everything in reach.
fn typed(
    session: &Session,
    attributes: &Attributes,
    everything: &[Seen],
    out: &mut Vec<Diagnostic>,
) -> Vec<(String, Typed)> {
    let what = format!("the spine {} with its lookups", attributes.spine);
    let scope = match schema_of(everything) {
        Ok(schema) => Scope::over(session, what, schema, &attributes.origin),
        Err(error) => {
            out.push(attributes.origin.at("lookups", error.strip_backtrace()));
            return Vec::new();
        }
    };
    let mut features = Vec::new();
    for feature in &attributes.features {
        match scope.compile_with_ratios(&feature.expression, &feature.path) {
            Ok(typed) => features.push((feature.name.clone(), typed)),
            Err(diagnostic) => out.push(*diagnostic),
        }
    }
    features
}

fn mentions(expr: &Expr, wanted: &Column) -> bool {
    let mut found = false;
    // The walk itself cannot fail: the closure returns no error.
    let _ = expr.apply(|e| {
        found |= matches!(e, Expr::Column(column) if column == wanted);
        Ok(TreeNodeRecursion::Continue)
    });
    found
}

/// The sequence of one event that a lookup is.
fn as_of_join(attributes: &Attributes, (alias, lookup): (&str, &Lookup), source: &Source, columns: &[&str]) -> AsOf {
    let field = |name: &&str| sequence::Field {
        name: name.to_string(),
        value: FieldValue::Of(format!("\"{name}\"")),
        path: format!("lookups.{alias}"),
    };
    let sequence = Sequence {
        name: alias.to_string(),
        description: String::new(),
        history: History {
            entity: lookup.on.iter().map(|(theirs, _)| theirs.clone()).collect(),
            entities: lookup.table.clone(),
            table: lookup.table.clone(),
            event_time: lookup.event_time.clone(),
            visibility: Visibility::Known,
            filter: None,
        },
        interleaved: None,
        length: 1,
        window: None,
        fields: columns.iter().map(field).collect(),
        origin: attributes.origin.clone(),
    };
    AsOf { alias: alias.to_string(), on: lookup.on.clone(), sequence, source: source.clone() }
}

fn finish(
    session: &Session,
    attributes: &Attributes,
    seen: Vec<Seen>,
    typed: Vec<(String, Typed)>,
    lookups: Vec<AsOf>,
) -> Result<Compiled> {
    let scope = schema_of(&seen)?;
    let mut fields = Vec::new();
    let mut features = Vec::new();
    for (definition, (name, typed)) in attributes.features.iter().zip(typed) {
        let comment = HashMap::from([("comment".to_string(), definition.doc.clone())]);
        fields.push(Field::new(name, typed.data_type, true).with_metadata(comment));
        features.push(physical::compile(session.context(), typed.expr, &scope)?);
    }
    Ok(Compiled { schema: Arc::new(Schema::new(fields)), lookups, features, scope })
}

impl AsOf {
    fn check(&self, session: &Session, path: &str, out: &mut Vec<Diagnostic>) {
        if self.sequence.fields.is_empty() {
            let d = self.sequence.origin.at(path, format!("no feature reads the lookup `{}`", self.alias));
            out.push(d.expected(format!("`{}.<column>` in one of `features`", self.alias)));
        }
        let mut fields: Vec<FieldRef> = self.source.schema.fields().iter().cloned().collect();
        fields.push(Arc::new(Field::new(ALWAYS, timestamp(), false)));
        let (time, ties) = (self.event_time(), &self.source.tie_breaker);
        if let Err(faults) = pit::sequence_schema(session, &self.sequence, time, ties, &Schema::new(fields)) {
            out.extend(faults);
        }
    }

    fn event_time(&self) -> &str {
        self.source.event_time.as_deref().unwrap_or(ALWAYS)
    }

    /// The row found for each row of the spine, null where there is none.
    async fn rows(&self, session: &Session, table: DataFrame, spine: &RecordBatch) -> Result<RecordBatch> {
        let first = ScalarValue::TimestampMicrosecond(Some(i64::MIN), Some("UTC".into()));
        let table = table.with_column(ALWAYS, lit(first)).map_err(session::error)?;
        let keys = session.context().read_batch(self.keys(spine)?).map_err(session::error)?;
        let stream =
            pit::sequences(session, &self.sequence, self.event_time(), &self.source.tie_breaker, table, keys).await?;
        let schema = stream.schema();
        let batches: Vec<RecordBatch> = stream.try_collect().await.map_err(session::error)?;
        let found = concat_batches(&schema, &batches)?;
        let rows = found.column_by_name(ROW).ok_or_else(|| Error::internal("a lookup came back without _row"))?;
        let found = take_record_batch(&found, &sort_to_indices(rows, None, None)?)?;
        let mut columns: Vec<(&str, ArrayRef)> = vec![(ROW, Arc::new(numbers(spine.num_rows())))];
        for field in &self.sequence.fields {
            let lists = found.column_by_name(&field.name).ok_or_else(|| Error::internal("a lookup lost a column"))?;
            columns.push((&field.name, first_items(lists)?));
        }
        Ok(RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)))?)
    }

    /// The spine's columns by the names that the table has for them.
    fn keys(&self, spine: &RecordBatch) -> Result<RecordBatch> {
        let mut columns: Vec<(&str, ArrayRef)> = Vec::new();
        let as_of = (AS_OF.to_string(), AS_OF.to_string());
        for (theirs, ours) in self.on.iter().chain([&as_of]) {
            let column = spine.column_by_name(ours);
            let column = column.ok_or_else(|| Error::internal(format!("the spine has no column {ours}")))?;
            columns.push((theirs, column.clone()));
        }
        columns.push((ROW, Arc::new(numbers(spine.num_rows()))));
        Ok(RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)))?)
    }
}

fn numbers(rows: usize) -> Int64Array {
    Int64Array::from_iter_values(0..rows as i64)
}

/// The one item of each list, null where it is empty.
fn first_items(lists: &ArrayRef) -> Result<ArrayRef> {
    let lists = lists.as_list_opt::<i32>().ok_or_else(|| Error::internal("a lookup that is no sequence"))?;
    let first = |row: usize| (lists.value_length(row) > 0).then(|| lists.value_offsets()[row] as u32);
    let positions: UInt32Array = (0..lists.len()).map(first).collect();
    Ok(take(lists.values(), &positions, None)?)
}
