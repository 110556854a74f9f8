//! A feature of a group: the rows that count, or what a derived one is computed from.

use arrow::array::RecordBatch;
use datafusion::common::DFSchema;
use datafusion::prelude::DataFrame;
use futures::TryStreamExt;

use super::evidence::evidence;
use super::{Answer, Because, Input, Keys, Question, about, keys, named, spine, unknown, value};
use crate::define::FeatureGroup;
use crate::define::features::{Derived, Feature};
use crate::engine::pit;
use crate::engine::session::Session;
use crate::error::Result;
use crate::pipeline::instants;
use crate::pipeline::job::Job;

pub async fn explain(job: &Job, question: Question<'_>, group: &FeatureGroup, feature: &str) -> Result<Answer> {
    let asked = find(question.name, group, feature)?;
    let as_of = question.as_of.unwrap_or(job.as_of());
    let session = job.session()?;
    let history = &group.history;
    let pins = job.pin([history.table.as_str()]).await?;
    let table = pins.frame(&session, &history.table, job.as_of())?;
    let keys = keys(&table, &history.entity, question.entity)?;
    let events = about(table, &keys)?;
    let one = operator(job, &session, group, asked, &events, &keys, as_of).await?;
    let because = match asked {
        Asked::Feature(feature) => {
            Because::Evidence(evidence(job, history, Some(feature), events, as_of, question.limit).await?)
        }
        Asked::Derived(derived) => {
            let inputs = inputs(&session, group, derived, &one)?;
            Because::Derived { expression: derived.expression.clone(), inputs, lookups: Vec::new() }
        }
    };
    Ok(Answer {
        feature: question.name.to_string(),
        doc: asked.doc().to_string(),
        entity: named(&keys)?,
        as_of: instants::text(as_of),
        value: value(&one, asked.name())?,
        because,
    })
}

#[derive(Clone, Copy)]
enum Asked<'a> {
    Feature(&'a Feature),
    Derived(&'a Derived),
}

impl Asked<'_> {
    fn name(&self) -> &str {
        match self {
            Asked::Feature(feature) => &feature.name,
            Asked::Derived(derived) => &derived.name,
        }
    }

    fn doc(&self) -> &str {
        match self {
            Asked::Feature(feature) => &feature.doc,
            Asked::Derived(derived) => &derived.doc,
        }
    }
}

fn find<'a>(asked: &str, group: &'a FeatureGroup, name: &str) -> Result<Asked<'a>> {
    let plain = group.features.iter().find(|feature| feature.name == name).map(Asked::Feature);
    let derived = group.derived.iter().find(|derived| derived.name == name).map(Asked::Derived);
    let message = format!("group {} has no feature `{name}`", group.name);
    plain.or(derived).ok_or_else(|| unknown(asked, message, name, group.names()))
}

/// The operator's result for the entity: one row, hidden columns too.
async fn operator(
    job: &Job,
    session: &Session,
    group: &FeatureGroup,
    asked: Asked<'_>,
    events: &DataFrame,
    keys: &Keys,
    as_of: i64,
) -> Result<RecordBatch> {
    let mut group = group.clone();
    if let Asked::Feature(feature) = asked {
        group.features.retain(|other| other.name == feature.name);
        group.derived.clear();
    }
    group.features.iter_mut().for_each(|feature| feature.hidden = false);
    let spine = spine(session, keys, as_of)?;
    let (time, ties) = job.project.clocks(&group.history)?;
    let stream = pit::features(session, &group, time, ties, events.clone(), spine).await?;
    let schema = stream.schema();
    Ok(arrow::compute::concat_batches(&schema, &stream.try_collect::<Vec<_>>().await?)?)
}

/// The columns that an expression mentions, with their values.
fn inputs(session: &Session, group: &FeatureGroup, derived: &Derived, one: &RecordBatch) -> Result<Vec<Input>> {
    let schema = DFSchema::try_from(one.schema())?;
    let expression = session.context().parse_sql_expr(&derived.expression, &schema)?;
    let mentioned = expression.column_refs();
    let plain = group.features.iter().map(|feature| (&feature.name, &feature.doc));
    let derived = group.derived.iter().map(|derived| (&derived.name, &derived.doc));
    let mut inputs = Vec::new();
    for (name, doc) in plain.chain(derived).filter(|(name, _)| mentioned.iter().any(|column| column.name == **name)) {
        inputs.push(Input { name: name.clone(), value: value(one, name)?, doc: doc.clone() });
    }
    Ok(inputs)
}
