//! The rows of a table about an entity, each with the reason why it counts or does not.

use datafusion::prelude::DataFrame;
use serde::Serialize;

use super::text;
use crate::define::features::{Feature, History as Past, Visibility};
use crate::define::map::Map;
use crate::engine::naive::{History, OPEN, Row, Selection, Verdict};
use crate::error::Result;
use crate::pipeline::instants;
use crate::pipeline::job::Job;

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

/// What a feature counts of a history; without one, what can be seen of it.
pub async fn evidence(
    job: &Job,
    past: &Past,
    feature: Option<&Feature>,
    events: DataFrame,
    as_of: i64,
    limit: usize,
) -> Result<Evidence> {
    let (time, ties) = job.project.clocks(past)?;
    let key = job.project.key(&past.table).iter().filter(|column| !ties.contains(column));
    let shown: Vec<String> = ties.iter().chain(key).filter(|column| *column != time).cloned().collect();
    let (of, filter) = feature.map_or((&None, &None), |feature| (&feature.of, &feature.filter));
    let texts = of.iter().chain(filter).cloned().collect();
    let history = History::read(past, time, &shown, texts, events).await?;
    let selection = feature.map_or(Selection::default(), |feature| Selection::of(feature, &history));
    let name = |verdict| if feature.is_none() && verdict == Verdict::Counts { "visible" } else { name(verdict) };
    let mut judged: Vec<(Verdict, &Row)> =
        history.rows.iter().map(|row| (history.verdict(row, as_of, &selection), row)).collect();
    judged.sort_by_key(|(verdict, row)| (*verdict, std::cmp::Reverse((row.time, row.known_from))));
    let mut counts: Map<usize> = Map::default();
    let mut rows = Vec::new();
    for (verdict, row) in judged {
        let count = counts.entry(name(verdict).to_string()).or_insert(0);
        *count += 1;
        if *count <= limit {
            rows.push(line(name(verdict), row, &shown, &selection)?);
        }
    }
    Ok(Evidence {
        table: past.table.clone(),
        event_time: time.to_string(),
        from: selection.window.map(|window| instants::text(as_of.saturating_sub(window))),
        only_known: past.visibility == Visibility::Known,
        of: of.clone(),
        filter: match (&past.filter, filter) {
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

fn line(verdict: &'static str, row: &Row, shown: &[String], selection: &Selection) -> Result<Line> {
    let mut key = Map::default();
    for (name, value) in shown.iter().zip(&row.ties) {
        key.insert(name.clone(), text(value)?.unwrap_or_default());
    }
    let bound = |micros: i64| (micros != i64::MIN && micros != OPEN).then(|| instants::text(micros));
    Ok(Line {
        verdict,
        time: instants::text(row.time),
        value: selection.value.map_or(Ok(None), |index| text(&row.values[index]))?,
        key,
        known_from: bound(row.known_from),
        known_until: bound(row.known_until),
    })
}
