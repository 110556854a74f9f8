//! Sequences interleaved from several tables, made into a sequence of one: their rows as one relation, and over it a
//! plain sequence, so that the kernel knows nothing of this.
//!
//! A row of the relation is a row of one of the tables: the entity, the event time, the type of the event, every field
//! that any table gives (null where this one does not), and what orders rows of equal event time: the position of the
//! table in the list, then the tie breaker of the table itself, in columns of its own.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{Column, ScalarValue};
use datafusion::dataframe::DataFrame;
use datafusion::logical_expr::{Expr, cast, lit};

use crate::define::sequence::{Interleaved, Strand};
use crate::define::types::{timestamp, type_name};
use crate::define::{Diagnostic, Sequence};
use crate::engine::session::{self, Session};
use crate::error::{Error, Result};

use super::expression::{Scope, Typed};
use super::history::{documented, no_order, time};
use super::{KNOWN_FROM, KNOWN_UNTIL};

/// Columns of the relation that no field can be called.
const TIME: &str = "event time";
const POSITION: &str = "event table";

/// What the project knows of a table whose rows are interleaved.
#[derive(Debug, Clone)]
pub struct Source {
    pub event_time: String,
    pub tie_breaker: Vec<String>,
    pub schema: SchemaRef,
}

/// A plain sequence over one relation, and how the relation is made.
#[derive(Debug)]
pub struct Union {
    /// Read as a sequence over the relation; what it is interleaved from only names its state.
    pub sequence: Sequence,
    pub event_time: String,
    pub tie_breaker: Vec<String>,
    pub schema: SchemaRef,
    parts: Vec<Part>,
}

/// What is read of one table.
#[derive(Debug)]
struct Part {
    filter: Option<Expr>,
    columns: Vec<Expr>,
}

impl Union {
    /// The rows of all tables, given in the order of the definition.
    pub fn rows(&self, tables: Vec<DataFrame>) -> Result<DataFrame> {
        let mut union: Option<DataFrame> = None;
        for (part, table) in self.parts.iter().zip(tables) {
            let table = match &part.filter {
                Some(filter) => table.filter(filter.clone()).map_err(session::error)?,
                None => table,
            };
            let rows = table.select(part.columns.clone()).map_err(session::error)?;
            union = Some(match union {
                Some(union) => union.union(rows).map_err(session::error)?,
                None => rows,
            });
        }
        union.ok_or_else(|| Error::internal("nothing to interleave"))
    }
}

/// Types the tables' parts and makes one relation of them; `sources` in the order of the definition.
pub fn lower(
    session: &Session,
    sequence: &Sequence,
    interleaved: &Interleaved,
    sources: &[Source],
) -> Result<Union, Vec<Diagnostic>> {
    let mut out = Vec::new();
    let strands: Vec<Typing> = interleaved
        .strands
        .iter()
        .zip(sources)
        .enumerate()
        .map(|(index, (strand, source))| typed(session, sequence, (index, strand), source, &mut out))
        .collect();
    let fields = agreed(&strands, |typing| &typing.fields, sequence, &mut out);
    agreed(&strands, |typing| &typing.entity, sequence, &mut out);
    out.sort();
    out.dedup();
    if !out.is_empty() {
        return Err(out);
    }
    let layout = Layout::new(interleaved, &strands, &fields);
    Ok(Union {
        sequence: sequence.clone(),
        event_time: TIME.to_string(),
        tie_breaker: layout.order(),
        parts: strands.iter().enumerate().map(|(index, strand)| layout.part(index, strand)).collect(),
        schema: Arc::new(Schema::new(layout.columns)),
    })
}

/// One table's part with types: a name, an expression, and where it was written.
struct Typing {
    entity: Vec<(String, Typed, String)>,
    fields: Vec<(String, Typed, String)>,
    time: Option<Typed>,
    ties: Vec<Typed>,
    filter: Option<Expr>,
    kind: String,
    schema: SchemaRef,
}

fn typed(
    session: &Session,
    sequence: &Sequence,
    (index, strand): (usize, &Strand),
    source: &Source,
    out: &mut Vec<Diagnostic>,
) -> Typing {
    let origin = &sequence.origin;
    let path = |key: &str| format!("events.{index}.{key}");
    let mut typing = Typing {
        entity: Vec::new(),
        fields: Vec::new(),
        time: None,
        ties: Vec::new(),
        filter: None,
        kind: strand.kind.clone(),
        schema: source.schema.clone(),
    };
    let scope = match Scope::new(session, format!("table {}", strand.table), &source.schema, origin) {
        Ok(scope) => scope,
        Err(diagnostic) => {
            out.push(*diagnostic);
            return typing;
        }
    };
    let mut keep = |found: Result<Typed, Box<Diagnostic>>| found.map_err(|diagnostic| out.push(*diagnostic)).ok();
    for name in &sequence.history.entity {
        typing.entity.extend(keep(scope.column(name, &path("table"))).map(|key| (name.clone(), key, path("table"))));
    }
    for (name, sql) in &strand.fields {
        let place = path(&format!("fields.{name}"));
        typing.fields.extend(keep(scope.compile(sql, &place)).map(|field| (name.clone(), field, place)));
    }
    typing.time = keep(time(&scope, &source.event_time, &path("event_time"), origin));
    typing.ties = source.tie_breaker.iter().filter_map(|name| keep(scope.column(name, &path("table")))).collect();
    if let Some(filter) = &strand.filter {
        typing.filter = scope.predicate(filter, &path("where")).map_err(|diagnostic| out.push(*diagnostic)).ok();
    }
    if source.tie_breaker.is_empty() {
        out.push(no_order(origin, &path("table"), &sequence.name, &strand.table));
    }
    typing
}

/// Every name with its one type, in the order in which the tables give them; two types of one name are reported.
fn agreed<'a>(
    strands: &'a [Typing],
    of: impl Fn(&'a Typing) -> &'a Vec<(String, Typed, String)>,
    sequence: &Sequence,
    out: &mut Vec<Diagnostic>,
) -> Vec<(&'a str, DataType)> {
    let mut types: Vec<(&str, DataType)> = Vec::new();
    for (name, typed, path) in strands.iter().flat_map(of) {
        match types.iter().find(|(known, _)| known == name) {
            Some((_, first)) if *first != typed.data_type => {
                let message = format!("`{name}` is of one type in one table and of another in this one");
                let d = sequence.origin.at(path, message).found(type_name(&typed.data_type));
                out.push(d.expected(type_name(first)).help("cast one of them"));
            }
            Some(_) => {}
            None => types.push((name, typed.data_type.clone())),
        }
    }
    types
}

/// The columns of the relation.
struct Layout {
    columns: Vec<Field>,
    types: Vec<String>,
    /// The columns of each table's tie breaker.
    ties: Vec<Vec<String>>,
}

impl Layout {
    fn new(interleaved: &Interleaved, strands: &[Typing], fields: &[(&str, DataType)]) -> Layout {
        let mut columns: Vec<Field> = Vec::new();
        let entity = strands.first().map(|strand| strand.entity.as_slice()).unwrap_or_default();
        columns.extend(entity.iter().map(|(name, key, _)| documented(name, key.data_type.clone(), "The entity.")));
        columns.extend(fields.iter().map(|(name, data_type)| field(name, data_type, strands)));
        let kinds: Vec<&str> = strands.iter().map(|strand| strand.kind.as_str()).collect();
        let doc = format!("Type of the event: {}.", kinds.join(" or "));
        columns.extend(interleaved.types.iter().map(|name| documented(name, DataType::Utf8, &doc)));
        columns.push(documented(TIME, timestamp(), "When it happened."));
        columns.push(documented(POSITION, DataType::Int32, "Which of the tables it is of."));
        let mut ties = Vec::new();
        for (index, strand) in strands.iter().enumerate() {
            let names: Vec<String> = (0..strand.ties.len()).map(|tie| format!("tie {index} {tie}")).collect();
            let typed = names.iter().zip(&strand.ties);
            columns.extend(typed.map(|(name, tie)| documented(name, tie.data_type.clone(), "")));
            ties.push(names);
        }
        for clock in [KNOWN_FROM, KNOWN_UNTIL] {
            if strands.iter().any(|strand| strand.schema.field_with_name(clock).is_ok()) {
                columns.push(documented(clock, timestamp(), ""));
            }
        }
        Layout { columns, types: interleaved.types.clone(), ties }
    }

    /// What orders rows of equal event time.
    fn order(&self) -> Vec<String> {
        std::iter::once(POSITION.to_string()).chain(self.ties.iter().flatten().cloned()).collect()
    }

    /// Every column from the row of one table; null what it does not have.
    fn part(&self, index: usize, strand: &Typing) -> Part {
        let mut known: HashMap<&str, Expr> = HashMap::new();
        for (name, typed, _) in strand.entity.iter().chain(&strand.fields) {
            known.insert(name, typed.expr.clone());
        }
        for name in &self.types {
            known.insert(name, lit(strand.kind.as_str()));
        }
        known.extend(strand.time.iter().map(|time| (TIME, time.expr.clone())));
        known.insert(POSITION, lit(index as i32));
        let ties = self.ties[index].iter().zip(&strand.ties);
        known.extend(ties.map(|(name, tie)| (name.as_str(), tie.expr.clone())));
        // A row of a table without versions was always known.
        known.insert(KNOWN_FROM, lit(ScalarValue::TimestampMicrosecond(Some(i64::MIN), Some("UTC".into()))));
        for clock in [KNOWN_FROM, KNOWN_UNTIL] {
            if strand.schema.field_with_name(clock).is_ok() {
                known.insert(clock, Expr::Column(Column::new_unqualified(clock)));
            }
        }
        let column = |field: &Field| {
            let expr = known.get(field.name().as_str()).cloned().unwrap_or_else(|| lit(ScalarValue::Null));
            cast(expr, field.data_type().clone()).alias(field.name())
        };
        Part { filter: strand.filter.clone(), columns: self.columns.iter().map(column).collect() }
    }
}

/// A field with the documentation of the first column that it is.
fn field(name: &str, data_type: &DataType, strands: &[Typing]) -> Field {
    let givers = strands.iter().flat_map(|strand| strand.fields.iter().map(move |field| (strand, field)));
    let docs = givers.filter(|(_, (known, _, _))| known == name).filter_map(|(strand, (_, typed, _))| {
        let Expr::Column(column) = &typed.expr else { return None };
        strand.schema.field_with_name(&column.name).ok()?.metadata().get("comment")
    });
    let doc = docs.map(String::as_str).find(|doc| !doc.is_empty());
    documented(name, data_type.clone(), doc.unwrap_or_default())
}
