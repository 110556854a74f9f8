//! What the monitoring measured: the night's measures, and the ones of the whole model over the nights.

use std::collections::BTreeMap;

use super::judged::status;
use super::rows::{Rows, literal, register};
use crate::engine::session::Session;
use crate::error::Result;
use crate::pipeline::job::Job;
use crate::report::page::{Measure, Monitoring, Section, Series, Status};

/// Nights of a series.
const NIGHTS: usize = 90;
/// Series shown.
const SERIES: usize = 12;

pub async fn monitoring(job: &Job, session: &Session, model: &str) -> Result<Section<Monitoring>> {
    let Some(_) = register(job, session, &format!("monitoring/{model}"), "monitoring").await? else {
        return Ok(Section::absent("Nothing has been monitored yet."));
    };
    let night = literal(&job.date.to_string());
    let sql = format!("select * from monitoring where logical_date = date {night}");
    let mut measures = measures(&Rows::of(session, &sql).await?)?;
    if measures.is_empty() {
        return Ok(Section::absent("Nothing was monitored in this night."));
    }
    let rank =
        |status: Status| [Status::Fail, Status::Warn, Status::Pass, Status::Skipped].iter().position(|s| *s == status);
    measures.sort_by(|a, b| {
        // What is of the whole model, then what moved most.
        let key = |m: &Measure| (rank(m.status), is_feature(m), m.what != "psi");
        let moved = |m: &Measure| m.change.map_or(f64::NEG_INFINITY, f64::abs);
        let names = |m: &Measure| (m.what.clone(), m.subject.clone());
        key(a).cmp(&key(b)).then(moved(b).total_cmp(&moved(a))).then(names(a).cmp(&names(b)))
    });
    // Features are many: their series are drawn where the night has something to say about them.
    let loud = |m: &&Measure| !is_feature(m) || matches!(m.status, Status::Warn | Status::Fail);
    let wanted: Vec<&Measure> = measures.iter().filter(loud).take(SERIES).collect();
    let series = series(job, session, &wanted).await?;
    Ok(Section::Shown(Monitoring { measures, series }))
}

/// Features are named `group.feature`.
fn is_feature(measure: &Measure) -> bool {
    measure.subject.contains('.')
}

fn measures(rows: &Rows) -> Result<Vec<Measure>> {
    let (whats, subjects, statuses) = (rows.texts("what")?, rows.texts("subject")?, rows.texts("status")?);
    let (values, baselines) = (rows.numbers("value")?, rows.numbers("baseline")?);
    let (changes, notes) = (rows.numbers("change")?, rows.texts("note")?);
    let (warns, fails) = (rows.numbers("warn")?, rows.numbers("fail")?);
    let measure = |row: usize| Measure {
        what: whats[row].clone().unwrap_or_default(),
        subject: subjects[row].clone().unwrap_or_default(),
        value: values[row],
        baseline: baselines[row],
        change: changes[row],
        warn: warns[row],
        fail: fails[row],
        status: status(statuses[row].as_deref().unwrap_or_default()),
        note: notes[row].clone().unwrap_or_default(),
    };
    Ok((0..rows.len()).map(measure).collect())
}

async fn series(job: &Job, session: &Session, wanted: &[&Measure]) -> Result<Vec<Series>> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let pairs: Vec<String> =
        wanted.iter().map(|m| format!("({}, {})", literal(&m.what), literal(&m.subject))).collect();
    let sql = format!(
        "select cast(logical_date as varchar) as night, m.what, m.subject, m.value from monitoring m join (values {}) \
         as w(what, subject) on m.what = w.what and m.subject = w.subject where m.logical_date <= date {} and m.value is \
         not null order by night",
        pairs.join(", "),
        literal(&job.date.to_string())
    );
    let rows = Rows::of(session, &sql).await?;
    let (nights, whats, subjects) = (rows.texts("night")?, rows.texts("what")?, rows.texts("subject")?);
    let values = rows.numbers("value")?;
    let mut points: BTreeMap<(String, String), Vec<(String, f64)>> = BTreeMap::new();
    for (((night, what), subject), value) in nights.into_iter().zip(whats).zip(subjects).zip(values) {
        if let (Some(night), Some(what), Some(subject), Some(value)) = (night, what, subject, value) {
            points.entry((what, subject)).or_default().push((night, value));
        }
    }
    let series = |measure: &&Measure| {
        let mut points = points.remove(&(measure.what.clone(), measure.subject.clone())).unwrap_or_default();
        let points = points.split_off(points.len().saturating_sub(NIGHTS));
        let (what, subject) = (measure.what.clone(), measure.subject.clone());
        // Where there is a baseline, thresholds are held to the change and not to what is drawn.
        let bound = |bound: Option<f64>| bound.filter(|_| measure.baseline.is_none());
        Series { what, subject, warn: bound(measure.warn), fail: bound(measure.fail), points }
    };
    Ok(wanted.iter().map(series).collect())
}
