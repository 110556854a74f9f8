//! A feature over a decision's own attributes: its inputs, and the rows among which those looked up were found.

use std::collections::HashMap;

use arrow::array::RecordBatch;
use datafusion::common::ScalarValue;

use super::evidence::{Evidence, evidence};
use super::{Answer, Because, Input, Question, about, keys, named, unknown, value};
use crate::define::attributes::{Attributes, Lookup};
use crate::define::diagnostic::into_error;
use crate::define::features::{History, Visibility};
use crate::define::sql_features::SPINE;
use crate::engine::attributes::{self, Compiled};
use crate::engine::session::Session;
use crate::error::{Error, Result};
use crate::pipeline::job::{Job, Pins};
use crate::pipeline::verify::{proof, sample};
use crate::pipeline::{instants, load, spine};

pub async fn explain(job: &Job, question: Question<'_>, asked: &Attributes, feature: &str) -> Result<Answer> {
    let Some(found) = asked.features.iter().find(|found| found.name == feature) else {
        let names = asked.features.iter().map(|feature| feature.name.as_str());
        return Err(unknown(question.name, format!("{} has no feature `{feature}`", asked.name), feature, names));
    };
    let session = job.session()?;
    let pins = job.pin(asked.tables().chain([asked.spine.as_str()])).await?;
    let decisions = pins.current(&session, &asked.spine, job.as_of())?;
    let keys = keys(&decisions, job.project.key(&asked.spine), question.entity)?;
    let decision = sample::collect(about(decisions, &keys)?).await?;
    let as_of = as_of(job, asked, question, &decision)?;
    let decision = proof::spines(&decision, &[as_of])?.remove(0);
    let compiled = load::attributes(&session, &job.project, &job.catalog, asked);
    let compiled = compiled.ok_or_else(|| Error::internal(format!("no schema of {}", asked.spine)))?;
    let compiled = compiled.map_err(into_error)?;
    let mut tables = HashMap::new();
    for (alias, lookup) in &asked.lookups {
        tables.insert(alias.clone(), pins.frame(&session, &lookup.table, job.as_of())?);
    }
    let reach = attributes::reach(&session, &compiled, tables, &decision).await?;
    let inputs = inputs(&session, &compiled, &found.expression, &reach)?;
    let mut lookups = Vec::new();
    for (alias, lookup) in &asked.lookups {
        if inputs.iter().any(|input| input.name.starts_with(&format!("{alias}."))) {
            lookups.extend(candidates(job, &session, &pins, lookup, &decision, as_of, question.limit).await?);
        }
    }
    Ok(Answer {
        feature: question.name.to_string(),
        doc: found.doc.clone(),
        entity: named(&keys)?,
        as_of: instants::text(as_of),
        value: value(&attributes::evaluate(&compiled, &reach)?, feature)?,
        because: Because::Derived { expression: found.expression.clone(), inputs, lookups },
    })
}

/// The instant asked for, or that of the one decision.
fn as_of(job: &Job, asked: &Attributes, question: Question<'_>, decision: &RecordBatch) -> Result<i64> {
    if decision.num_rows() != 1 {
        let (key, rows) = (question.entity.join(", "), decision.num_rows());
        let message = format!("{rows} rows of {} are called {key}", asked.spine);
        return Err(Error::definition(format!("{message}\n  expected: a decision that was known by the night")));
    }
    match (question.as_of, job.project.event_time(&asked.spine)) {
        (Some(as_of), _) => Ok(as_of),
        (None, Some(time)) => spine::instants(decision, time)?.pop().ok_or_else(|| Error::internal("no decision")),
        (None, None) => Ok(job.as_of()),
    }
}

/// The columns that an expression mentions, with their values.
fn inputs(session: &Session, compiled: &Compiled, expression: &str, reach: &RecordBatch) -> Result<Vec<Input>> {
    let parsed = session.context().parse_sql_expr(expression, compiled.scope())?;
    let mentioned = parsed.column_refs();
    let mut inputs = Vec::new();
    for (index, (relation, field)) in compiled.scope().iter().enumerate() {
        let relation = relation.map_or("", |relation| relation.table());
        if !mentioned
            .iter()
            .any(|c| c.name == *field.name() && c.relation.as_ref().is_some_and(|r| r.table() == relation))
        {
            continue;
        }
        let name = if relation == SPINE { field.name().clone() } else { format!("{relation}.{}", field.name()) };
        let value = super::text(&ScalarValue::try_from_array(reach.column(index), 0)?)?;
        inputs.push(Input { name, value, doc: field.metadata().get("comment").cloned().unwrap_or_default() });
    }
    Ok(inputs)
}

/// The rows that the decision's key finds; the newest that is visible is the one. A table without event time has
/// nothing to choose by but its versions.
async fn candidates(
    job: &Job,
    session: &Session,
    pins: &Pins,
    lookup: &Lookup,
    decision: &RecordBatch,
    as_of: i64,
    limit: usize,
) -> Result<Option<Evidence>> {
    let past = History {
        entity: lookup.on.iter().map(|(theirs, _)| theirs.clone()).collect(),
        entities: lookup.table.clone(),
        table: lookup.table.clone(),
        event_time: lookup.event_time.clone(),
        visibility: Visibility::Known,
        filter: None,
    };
    if job.project.time_of(&past).is_none() {
        return Ok(None);
    }
    let mut keys = Vec::new();
    for (theirs, ours) in &lookup.on {
        let column = decision.column_by_name(ours).ok_or_else(|| Error::internal(format!("no column {ours}")))?;
        keys.push((theirs.clone(), ScalarValue::try_from_array(column, 0)?));
    }
    let rows = about(pins.frame(session, &lookup.table, job.as_of())?, &keys)?;
    Ok(Some(evidence(job, &past, None, rows, as_of, limit).await?))
}
