//! The `why` job: where a feature's value comes from, row by row.
//!
//! The value is the operator's. Which rows count, and why the others do not, is the naive evaluator's word, which tests
//! hold to be the same.

use arrow::array::RecordBatch;
use arrow::util::display::array_value_to_string;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::{Expr, lit};
use datafusion::prelude::DataFrame;
use futures::TryStreamExt;
use serde::Serialize;

use super::instants;
use super::job::{Job, instant, quoted};
use crate::define::features::{Derived, Feature, FeatureGroup, Visibility};
use crate::define::map::Map;
use crate::define::{Diagnostic, Project};
use crate::engine::naive::{History, OPEN, Row, Selection, Verdict};
use crate::engine::pit;
use crate::engine::session::Session;
use crate::error::{Error, Result};

/// A feature's value, and what it is made of.
#[derive(Debug, Serialize)]
pub struct Answer {
    /// `group.feature`
    pub feature: String,
    pub doc: String,
    pub entity: Map<String>,
    pub as_of: String,
    /// As text; `None` is null.
    pub value: Option<String>,
    #[serde(flatten)]
    pub because: Because,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Because {
    Evidence(Evidence),
    Derived { expression: String, inputs: Vec<Input> },
}

/// The rows of the entity, counted by verdict; of each verdict some, the newest first.
#[derive(Debug, Serialize)]
pub struct Evidence {
    pub table: String,
    pub event_time: String,
    /// From which instant on rows count; `None`: all before as_of.
    pub from: Option<String>,
    pub only_known: bool,
    pub of: Option<String>,
    pub filter: Option<String>,
    pub counts: Map<usize>,
    pub rows: Vec<Line>,
}

#[derive(Debug, Serialize)]
pub struct Line {
    pub verdict: &'static str,
    pub time: String,
    pub value: Option<String>,
    /// Columns that identify the row.
    pub key: Map<String>,
    pub known_from: Option<String>,
    pub known_until: Option<String>,
}

/// A column that a derived one is computed from.
#[derive(Debug, Serialize)]
pub struct Input {
    pub name: String,
    pub value: Option<String>,
    pub doc: String,
}

/// Explains `group.feature` of an entity (one value per key column) at an instant, with what the night knew.
///
/// # Errors
/// Definition: an unknown feature, an entity of other keys, an instant after the night.
pub async fn run(job: &Job, name: &str, entity: &[String], as_of: Option<i64>, limit: usize) -> Result<Answer> {
    let (group, feature) = find(&job.project, name)?;
    let as_of = as_of.unwrap_or(job.as_of());
    if as_of > job.as_of() {
        let (asked, night) = (instants::text(as_of), instants::text(job.as_of()));
        let help = "give a later --date: what is known later is not known tonight";
        return Err(Error::definition(format!("{asked} lies after the night, which ends at {night}\n  help: {help}")));
    }
    let session = job.session()?;
    let pins = job.pin([group.history.table.as_str()]).await?;
    let table = pins.frame(&session, &group.history.table, job.as_of())?;
    let keys = keys(&table, &group.history.entity, entity)?;
    let condition = keys.iter().map(|(name, value)| Expr::from(quoted(name)).eq(lit(value.clone())));
    let events = table.filter(condition.reduce(Expr::and).unwrap_or(lit(true)))?;
    let one = operator(job, &session, group, feature, &events, &keys, as_of).await?;
    let because = match feature {
        Asked::Feature(feature) => Because::Evidence(evidence(job, group, feature, events, as_of, limit).await?),
        Asked::Derived(derived) => {
            let inputs = inputs(&session, group, derived, &one)?;
            Because::Derived { expression: derived.expression.clone(), inputs }
        }
    };
    let mut entity = Map::default();
    for (name, value) in &keys {
        entity.insert(name.clone(), text(value)?.unwrap_or_default());
    }
    let (feature, doc, value) = (name.to_string(), feature.doc().to_string(), value(&one, feature.name())?);
    Ok(Answer { feature, doc, entity, as_of: instants::text(as_of), value, because })
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

fn find<'a>(project: &'a Project, name: &str) -> Result<(&'a FeatureGroup, Asked<'a>)> {
    let unknown = |message: String, found: &str, names: Vec<&str>| {
        Error::definition(Diagnostic::new(name, (0, 0), message).expected_one_of(found, names).to_string())
    };
    let Some((group, feature)) = name.split_once('.') else {
        return Err(Error::definition(format!("`{name}` names no feature\n  expected: GROUP.FEATURE")));
    };
    let Some(found) = project.groups.get(group) else {
        let groups = project.groups.keys().map(String::as_str).collect();
        return Err(unknown(format!("there is no feature group `{group}`"), group, groups));
    };
    let plain = found.features.iter().find(|f| f.name == feature).map(Asked::Feature);
    let derived = found.derived.iter().find(|d| d.name == feature).map(Asked::Derived);
    match plain.or(derived) {
        Some(asked) => Ok((found, asked)),
        None => Err(unknown(format!("group {group} has no feature `{feature}`"), feature, found.names().collect())),
    }
}

/// The entity's key columns with the given values, in the table's types.
fn keys(table: &DataFrame, entity: &[String], values: &[String]) -> Result<Vec<(String, ScalarValue)>> {
    let values: Vec<&str> = match values {
        [together] if entity.len() > 1 => together.split(',').map(str::trim).collect(),
        values => values.iter().map(String::as_str).collect(),
    };
    if values.len() != entity.len() {
        let (given, keys) = (values.len(), entity.join(", "));
        return Err(Error::definition(format!("{given} values for the entity\n  expected: --entity with {keys}")));
    }
    let mut keys = Vec::new();
    for (name, value) in entity.iter().zip(values) {
        let data_type = table.schema().field_with_unqualified_name(name)?.data_type().clone();
        let key = ScalarValue::Utf8(Some(value.to_string())).cast_to(&data_type).ok().filter(|key| !key.is_null());
        let wrong = || Error::definition(format!("`{value}` is no {name}\n  expected: {data_type}"));
        keys.push((name.clone(), key.ok_or_else(wrong)?));
    }
    Ok(keys)
}

/// The operator's result for the entity: one row, hidden columns too.
async fn operator(
    job: &Job,
    session: &Session,
    group: &FeatureGroup,
    asked: Asked<'_>,
    events: &DataFrame,
    keys: &[(String, ScalarValue)],
    as_of: i64,
) -> Result<RecordBatch> {
    let mut group = group.clone();
    if let Asked::Feature(feature) = asked {
        group.features.retain(|other| other.name == feature.name);
        group.derived.clear();
    }
    group.features.iter_mut().for_each(|feature| feature.hidden = false);
    let mut spine: Vec<Expr> = keys.iter().map(|(name, value)| lit(value.clone()).alias(name)).collect();
    spine.extend([instant(as_of).alias(pit::AS_OF), lit(0_i64).alias(pit::ROW)]);
    let spine = session.context().read_empty()?.select(spine)?;
    let (time, ties) = job.project.clocks(&group.history)?;
    let stream = pit::features(session, &group, time, ties, events.clone(), spine).await?;
    let schema = stream.schema();
    Ok(arrow::compute::concat_batches(&schema, &stream.try_collect::<Vec<_>>().await?)?)
}

async fn evidence(
    job: &Job,
    group: &FeatureGroup,
    feature: &Feature,
    events: DataFrame,
    as_of: i64,
    limit: usize,
) -> Result<Evidence> {
    let (time, ties) = job.project.clocks(&group.history)?;
    let mut shown: Vec<String> = ties.to_vec();
    shown.extend(job.project.key(&group.history.table).iter().filter(|column| !ties.contains(column)).cloned());
    let texts = feature.of.iter().chain(&feature.filter).cloned().collect();
    let history = History::read(&group.history, time, &shown, texts, events).await?;
    let selection = Selection::of(feature, &history);
    let mut judged: Vec<(Verdict, &Row)> =
        history.rows.iter().map(|row| (history.verdict(row, as_of, &selection), row)).collect();
    judged.sort_by_key(|(verdict, row)| (*verdict, std::cmp::Reverse((row.time, row.known_from))));
    let mut counts: Map<usize> = Map::default();
    let mut rows = Vec::new();
    for (verdict, row) in judged {
        let count = counts.entry(name(verdict).to_string()).or_insert(0);
        *count += 1;
        if *count <= limit {
            rows.push(line(verdict, row, &shown, &selection)?);
        }
    }
    Ok(Evidence {
        table: group.history.table.clone(),
        event_time: time.to_string(),
        from: selection.window.map(|window| instants::text(as_of.saturating_sub(window))),
        only_known: group.history.visibility == Visibility::Known,
        of: feature.of.clone(),
        filter: match (&group.history.filter, &feature.filter) {
            (Some(all), Some(own)) => Some(format!("({all}) and ({own})")),
            (one, other) => one.as_ref().or(other.as_ref()).cloned(),
        },
        counts,
        rows,
    })
}

fn name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Counts => "counted",
        Verdict::After => "after as_of",
        Verdict::NotYetKnown => "not yet known",
        Verdict::Superseded => "superseded",
        Verdict::BeforeWindow => "before the window",
        Verdict::Filtered => "filtered out",
        Verdict::Null => "null",
        Verdict::NotFinite => "not finite",
    }
}

fn line(verdict: Verdict, row: &Row, shown: &[String], selection: &Selection) -> Result<Line> {
    let mut key = Map::default();
    for (name, value) in shown.iter().zip(&row.ties) {
        key.insert(name.clone(), text(value)?.unwrap_or_default());
    }
    let bound = |micros: i64| (micros != i64::MIN && micros != OPEN).then(|| instants::text(micros));
    Ok(Line {
        verdict: name(verdict),
        time: instants::text(row.time),
        value: selection.value.map_or(Ok(None), |index| text(&row.values[index]))?,
        key,
        known_from: bound(row.known_from),
        known_until: bound(row.known_until),
    })
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

fn value(one: &RecordBatch, column: &str) -> Result<Option<String>> {
    let array = one.column_by_name(column).ok_or_else(|| Error::internal(format!("no column {column}")))?;
    text(&ScalarValue::try_from_array(array, 0)?)
}

fn text(value: &ScalarValue) -> Result<Option<String>> {
    if value.is_null() {
        return Ok(None);
    }
    Ok(Some(array_value_to_string(&value.to_array()?, 0)?))
}
