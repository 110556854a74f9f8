//! What the gate leaves behind: every check, and every customer's score and action by both versions.
//!
//! | table | a row per |
//! |---|---|
//! | `gates/<model>` | check of a candidate |
//! | `differences/<model>` | customer at the gate's as_of; where the action changes first, then by how far the scores are apart |
//! | `fairness/<model>` | version, set of groups and group |
//!
//! Each is partitioned by candidate: a candidate that is judged again, because a night was killed, replaces its own rows.
//! The differences lie as CSV (RFC 4180) under `reports/<model>/<date>/` too.

use std::cmp::Reverse;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray,
    UInt64Array,
};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Field, Float64Type, Schema};
use datafusion::prelude::{col, lit};

use super::check::Direction;
use super::{Check, Judging, Status, Verdict, fairness};
use crate::define::Model;
use crate::error::Result;
use crate::lake::{Replace, TableSpec, Unit, documented};
use crate::pipeline::job::{Job, Written, definition_text, fingerprint};
use crate::pipeline::score::rows::{self, Policy};

/// A column with its documentation and values.
type Column = (Field, ArrayRef);
/// A version, an attribute, a group of it, and its rows: all, favoured, good, good and favoured.
type Count = (String, String, String, [u64; 4]);

/// Writes all of it; the lines of the job's result.
pub(super) async fn write(judging: &Judging<'_>, verdict: &Verdict) -> Result<Vec<Written>> {
    let mut lines = Vec::new();
    if let Some(batch) = differences(judging)? {
        let text = super::super::csv::text(&batch, &["logical_date", "candidate", "champion"])?;
        let path = format!("reports/{}/{}/differences.csv", judging.model.name, judging.job.date);
        lines.push(
            commit(judging, "differences", "What each customer would get by candidate and champion.", batch).await?,
        );
        judging.job.lake.put_note(&path, text).await?;
    }
    if let Some(batch) = treatment(judging)? {
        lines.push(
            commit(judging, "fairness", "How groups of people are treated by candidate and champion.", batch).await?,
        );
    }
    let mut line = commit(judging, "gates", "Every check of every candidate.", checks(judging, verdict)?).await?;
    line.status = format!("{}: {}", line.status, if verdict.passed { "promoted" } else { "refused" });
    lines.push(line.detail("candidate", verdict.candidate.clone()).detail("passed", verdict.passed));
    Ok(lines)
}

async fn commit(judging: &Judging<'_>, table: &str, description: &str, batch: RecordBatch) -> Result<Written> {
    let (job, model, candidate) = (judging.job, judging.model, &judging.candidate.name);
    let name = format!("{table}/{}", model.name);
    let spec = TableSpec {
        name: name.clone(),
        description: description.to_string(),
        schema: batch.schema(),
        partition_by: Some("candidate".into()),
        no_statistics: job.project.identifying(&name, &batch.schema()),
    };
    let champion = judging.champion.as_ref().map_or("", |champion| champion.name.as_str());
    let definition = definition_text(model)?;
    let pins = &judging.tonight.pins;
    let unit = Unit {
        key: format!("gate:{}:{candidate}", model.name),
        fingerprint: fingerprint(&[&definition, champion, &pins.contents(), &job.date.to_string()]),
    };
    let mut writer = job.lake.writer(&spec).await?;
    writer.write(&batch).await?;
    let info = job.commit_info("gate", &definition, pins);
    let outcome = writer.commit(Replace::Partitions([candidate.clone()].into()), &unit, info).await?;
    Ok(Written::new(name, &outcome, 0.0))
}

/// The night, the candidate and the champion, for every row.
fn versions(judging: &Judging<'_>, rows: usize) -> [Column; 3] {
    let champion = judging.champion.as_ref().map(|champion| champion.name.as_str());
    let date = judging.job.date.to_epoch_days();
    [
        (
            documented("logical_date", DataType::Date32, false, "The night of the gate."),
            Arc::new(Date32Array::from_value(date, rows)),
        ),
        (
            documented("candidate", DataType::Utf8, false, "The version that was judged."),
            Arc::new(StringArray::from(vec![judging.candidate.name.as_str(); rows])),
        ),
        (
            documented("champion", DataType::Utf8, true, "The version that was live; null before there is one."),
            Arc::new(StringArray::from(vec![champion; rows])),
        ),
    ]
}

fn batch(columns: Vec<Column>) -> Result<RecordBatch> {
    let (fields, columns): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

fn checks(judging: &Judging<'_>, verdict: &Verdict) -> Result<RecordBatch> {
    let all = &verdict.checks;
    let text = |name: &str, doc: &str, get: &dyn Fn(&Check) -> &str| -> Column {
        let values: StringArray = all.iter().map(|check| Some(get(check))).collect();
        (documented(name, DataType::Utf8, false, doc), Arc::new(values))
    };
    let number = |name: &str, doc: &str, get: &dyn Fn(&Check) -> Option<f64>| -> Column {
        let values: Float64Array = all.iter().map(get).collect();
        (documented(name, DataType::Float64, true, doc), Arc::new(values))
    };
    let places = Int64Array::from_iter_values(0..all.len() as i64);
    let mut columns = Vec::from(versions(judging, all.len()));
    columns.extend([
        (
            documented("place", DataType::Int64, false, "In the order in which checks are shown."),
            Arc::new(places) as ArrayRef,
        ),
        text("metric", "What is measured.", &|check| &check.metric),
        number("candidate_value", "Of the candidate.", &|check| check.candidate),
        number("champion_value", "Of the champion; of the anchor, for `anchor`.", &|check| check.champion),
        number("threshold", "What it is held to.", &|check| check.threshold),
        text("direction", "min, max, min_change or max_change.", &|check| check.direction.name()),
        number("low", "Lower end of the interval of the difference.", &|check| check.low),
        number("high", "Upper end of the interval of the difference.", &|check| check.high),
        text("status", "pass, fail or skipped.", &|check| check.status.name()),
        text("note", "What else is to be said.", &|check| &check.note),
    ]);
    batch(columns)
}

/// The verdict on a candidate as it was stored; `None` where it is not.
pub async fn read(job: &Job, model: &Model, candidate: &str) -> Result<Option<Verdict>> {
    let Some(snapshot) = job.lake.snapshot(&format!("gates/{}", model.name)).await? else { return Ok(None) };
    let session = job.session()?;
    let frame = session.context().read_table(snapshot.provider_of(&[candidate.to_string()].into())?)?;
    let frame = frame.filter(col("candidate").eq(lit(candidate)))?.sort(vec![col("place").sort(true, true)])?;
    let mut verdict = Verdict {
        model: model.name.clone(),
        candidate: candidate.to_string(),
        champion: None,
        passed: true,
        earlier: true,
        checks: Vec::new(),
    };
    for batch in frame.collect().await? {
        for row in 0..batch.num_rows() {
            let text = |name: &str| {
                let column = batch.column_by_name(name)?.as_string_opt::<i32>()?;
                column.is_valid(row).then(|| column.value(row).to_string())
            };
            let number = |name: &str| {
                let column = batch.column_by_name(name)?.as_primitive_opt::<Float64Type>()?;
                column.is_valid(row).then(|| column.value(row))
            };
            verdict.champion = text("champion");
            verdict.checks.push(Check {
                metric: text("metric").unwrap_or_default(),
                candidate: number("candidate_value"),
                champion: number("champion_value"),
                threshold: number("threshold"),
                direction: Direction::named(&text("direction").unwrap_or_default()),
                low: number("low"),
                high: number("high"),
                status: Status::named(&text("status").unwrap_or_default()),
                note: text("note").unwrap_or_default(),
            });
        }
    }
    verdict.passed = verdict.checks.iter().all(|check| check.status != Status::Fail);
    Ok((!verdict.checks.is_empty()).then_some(verdict))
}

/// Everybody of tonight by both versions; `None` before there is a champion.
fn differences(judging: &Judging<'_>) -> Result<Option<RecordBatch>> {
    let Some(live) = &judging.tonight.champion else { return Ok(None) };
    let (ours, policy) = (&judging.tonight.candidate, Policy::of(judging.model)?);
    let count = ours.probability.len();
    let number = |name: &str, doc: &str, get: &dyn Fn(usize) -> f64| -> Column {
        let values: Float64Array = (0..count).map(|row| Some(get(row))).collect();
        (documented(name, DataType::Float64, false, doc), Arc::new(values))
    };
    let text = |name: &str, doc: &str, of: &[f64]| -> Column {
        let values: StringArray = of.iter().map(|p| Some(policy.action(*p))).collect();
        (documented(name, DataType::Utf8, false, doc), Arc::new(values))
    };
    let score = |of: &[f64], row: usize| policy.score(of[row]);
    let (a, b) = (&ours.probability, &live.probability);
    let apart = |row: usize| (score(a, row) - score(b, row)).abs();
    let (fields, arrays) = rows::identity(judging.model, &judging.tonight.rows)?;
    let mut columns: Vec<Column> = fields.into_iter().zip(arrays).collect();
    let differs: BooleanArray = a.iter().zip(b).map(|(a, b)| Some(policy.action(*a) != policy.action(*b))).collect();
    columns.extend([
        number("score", "By the candidate.", &|row| score(a, row)),
        number("live_score", "By the champion.", &|row| score(b, row)),
        number("absolute_difference", "Of the two scores.", &apart),
        text("action", "By the candidate.", a),
        text("live_action", "By the champion.", b),
        (
            documented("action_changes", DataType::Boolean, false, "Whether the actions differ."),
            Arc::new(differs.clone()) as ArrayRef,
        ),
    ]);
    columns.extend(versions(judging, count));
    let mut order: Vec<u64> = (0..count as u64).collect();
    let distance: Vec<f64> = (0..count).map(apart).collect();
    // Rows come sorted by entity, and a stable sort keeps them so.
    order.sort_by(|x, y| {
        let (x, y) = (*x as usize, *y as usize);
        Reverse(differs.value(x)).cmp(&Reverse(differs.value(y))).then(distance[y].total_cmp(&distance[x]))
    });
    Ok(Some(take_record_batch(&batch(columns)?, &UInt64Array::from(order))?))
}

/// How groups of people are treated; `None` where none are declared.
fn treatment(judging: &Judging<'_>) -> Result<Option<RecordBatch>> {
    let policy = Policy::of(judging.model)?;
    let mut counts: Vec<Count> = Vec::new();
    for (champion, version) in [(false, Some(&judging.candidate)), (true, judging.champion.as_ref())] {
        let Some(version) = version else { continue };
        for treated in fairness::treated(judging, &policy, champion)? {
            for group in &treated.tonight.groups {
                let known = treated.known.iter().flat_map(|known| &known.groups).find(|other| other.name == group.name);
                let good = known.map_or((0, 0), |known| (known.good, known.good_favoured));
                let numbers = [group.rows, group.favoured, good.0, good.1];
                counts.push((version.name.clone(), treated.name.clone(), group.name.clone(), numbers));
            }
        }
    }
    if counts.is_empty() {
        return Ok(None);
    }
    let text = |name: &str, doc: &str, get: &dyn Fn(&Count) -> &str| -> Column {
        let values: StringArray = counts.iter().map(|row| Some(get(row))).collect();
        (documented(name, DataType::Utf8, false, doc), Arc::new(values))
    };
    let number = |name: &str, doc: &str, index: usize| -> Column {
        let values = Int64Array::from_iter_values(counts.iter().map(|row| row.3[index] as i64));
        (documented(name, DataType::Int64, false, doc), Arc::new(values))
    };
    let mut columns = Vec::from(versions(judging, counts.len()));
    columns.extend([
        text("model_version", "The version whose actions are counted.", &|row| &row.0),
        text("groups", "The declared set of groups.", &|row| &row.1),
        text("group", "The group; `null` of who is in none.", &|row| &row.2),
        number("rows", "People tonight.", 0),
        number("favoured", "Of whom so many get the favourable action.", 1),
        number("good", "Test rows whose outcome was good.", 2),
        number("good_favoured", "Of which so many would have got the favourable action.", 3),
    ]);
    Ok(Some(batch(columns)?))
}
