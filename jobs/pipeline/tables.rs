//! The `tables` job: SQL tables from sources and from each other, in dependency order.
//!
//! What changed decides what is recomputed. A table's last commit names the versions of its inputs; the difference of
//! their file lists, partition by partition, gives the days that changed, and `lookback`/`lookahead` widen them. A table
//! that was never built, whose definition changed, or that is not incremental is computed whole. The computed rows are
//! merged with the versions the table holds, audited, and committed in one commit.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::NaiveDate;
use datafusion::prelude::DataFrame;
use futures::StreamExt;

use super::audits::Ledger;
use super::job::{Job, Pins, Written, definition_text};
use super::progress::thousands;
use crate::define::Table;
use crate::define::table::{AuditCheck, Materialized};
use crate::engine::plan::audits::Audited;
use crate::engine::plan::known::Days;
use crate::engine::plan::{audits, known, measures, versions};
use crate::engine::session::Session;
use crate::error::{Context, Error, Result};
use crate::lake::{Replace, Snapshot, TableSpec, Unit, Writer};

pub async fn run(job: &Job) -> Result<Vec<Written>> {
    let mut written = Vec::new();
    let mut ledger = Ledger::open(job).await?;
    for table in job.project.tables.values().filter(|t| job.selected(&t.name)) {
        let line = refresh(job, table, &mut ledger).await.with_context(|| format!("table {}", table.name))?;
        job.ledger.wrote(&line);
        written.push(line);
    }
    Ok(written)
}

/// What is said of a table whose inputs and definition are what they were.
pub(super) const UNCHANGED: &str = "unchanged";

/// Which days of a table to compute, and why.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// None; what is to be said of the table.
    Nothing(String),
    Days(BTreeSet<NaiveDate>),
    All(&'static str),
}

/// What is to be done for a table, found from the logs of its inputs.
pub(super) struct Decision {
    pub scope: Scope,
    pub existing: Option<Snapshot>,
    /// Whether the rows of `existing` are of this definition; those of another are no earlier versions.
    same: bool,
    definition: String,
    unit: Unit,
}

impl Decision {
    /// Earlier versions of the rows to compute.
    fn held(&self) -> Option<&Snapshot> {
        self.existing.as_ref().filter(|_| self.same)
    }
}

pub(super) async fn decide(job: &Job, table: &Table, pins: &Pins) -> Result<Decision> {
    let definition = definition_text(table)?;
    let unit = job.unit("tables", &table.name, &definition, pins);
    let existing = job.lake.snapshot(&format!("tables/{}", table.name)).await?;
    let (scope, same) = match &existing {
        None => (Scope::All("it is not in the lake yet"), false),
        Some(existing) if existing.committed(&unit.key).await? == Some(unit.fingerprint) => {
            (Scope::Nothing(UNCHANGED.into()), true)
        }
        Some(existing) => changes(job, table, pins, &definition, existing).await?,
    };
    Ok(Decision { scope, existing, same, definition, unit })
}

/// Against a table as it was built before, perhaps by another definition: then it is not the same.
async fn changes(
    job: &Job,
    table: &Table,
    pins: &Pins,
    definition: &str,
    existing: &Snapshot,
) -> Result<(Scope, bool)> {
    let last = existing.commit_info().await?;
    if last.get("definition").and_then(|d| d.as_str()) != Some(definition) {
        return Ok((Scope::All("its definition changed"), false));
    }
    let night = last.get("logical_date").and_then(|d| d.as_str()).and_then(|d| d.parse::<NaiveDate>().ok());
    if let Some(night) = night.filter(|night| *night > job.date) {
        return Ok((Scope::Nothing(format!("unchanged: built through {night}")), true));
    }
    if table.materialized != Materialized::Incremental {
        return Ok((Scope::All("it is materialized in full"), true));
    }
    let scope = match changed_days(job, table, pins, &last).await? {
        Scope::Days(days) if days.is_empty() => Scope::Nothing(UNCHANGED.into()),
        scope => scope,
    };
    Ok((scope, true))
}

async fn refresh(job: &Job, table: &Table, ledger: &mut Ledger<'_>) -> Result<Written> {
    let path = format!("tables/{}", table.name);
    let step = job.progress.step(&path);
    let pins = job.pin(table.inputs.iter().map(String::as_str)).await?;
    let decision = decide(job, table, &pins).await?;
    if let Scope::Nothing(status) = &decision.scope {
        step.done(status);
        return Ok(Written::unchanged(path, status, decision.existing.map(|existing| existing.version())));
    }
    let mut writer = job.lake.writer(&spec(job, table)?).await?;
    let audited = write_all(job, table, &pins, &decision, (&mut writer, ledger)).await;
    let warnings = ledger.warnings(table);
    let noted = ledger.commit(&decision.unit).await;
    audited.and(noted)?;
    let replace = match &decision.scope {
        Scope::Days(days) => Replace::Partitions(days.iter().map(ToString::to_string).collect()),
        Scope::All(_) | Scope::Nothing(_) => Replace::All,
    };
    let info = job.commit_info("tables", &decision.definition, &pins);
    let outcome = writer.commit(replace, &decision.unit, info).await?;
    let mut written = Written::new(path, &outcome, step.seconds());
    if !warnings.is_empty() {
        written.status += &format!("; warns: {}", warnings.join(", "));
        written = written.detail("warnings", warnings);
    }
    step.done(&format!("{} rows", thousands(written.rows)));
    Ok(written)
}

/// Computes, audits and writes what is in scope.
async fn write_all(
    job: &Job,
    table: &Table,
    pins: &Pins,
    decision: &Decision,
    (writer, ledger): (&mut Writer, &mut Ledger<'_>),
) -> Result<()> {
    let mut measured = Measured::default();
    let ranges = ranges(&decision.scope);
    let held = match decision.held() {
        None => None,
        Some(held) => Some((held, elsewhere(job, table, held, &ranges).await?)),
    };
    for range in ranges {
        write_range(job, table, pins, held.as_ref(), range, (writer, ledger, &mut measured)).await?;
    }
    measured.judge(job, table, decision.held(), ledger).await
}

/// Keys that were current on one of several runs of days: a row may have moved from one of them to another, and each is
/// merged by itself.
async fn elsewhere(job: &Job, table: &Table, held: &Snapshot, ranges: &[Option<Days>]) -> Result<HashSet<u64>> {
    let mut keys = HashSet::new();
    if ranges.len() < 2 || table.key.is_empty() {
        return Ok(keys);
    }
    let session = job.session()?;
    for range in ranges {
        keys.extend(versions::current(held_rows(&session, held, *range)?, &table.key, job.as_of()).await?);
    }
    Ok(keys)
}

/// Computes, merges, audits and writes a run of days, or all of them.
async fn write_range(
    job: &Job,
    table: &Table,
    pins: &Pins,
    held: Option<&(&Snapshot, HashSet<u64>)>,
    range: Option<Days>,
    (writer, ledger, measured): (&mut Writer, &mut Ledger<'_>, &mut Measured),
) -> Result<()> {
    let session = job.session()?;
    let mut inputs = HashMap::new();
    for name in &table.inputs {
        inputs.insert(name.clone(), pins.get(name)?.provider()?);
    }
    let computed = known::build(session.context(), &job.catalog, table, &inputs, job.as_of(), range)?;
    let rows = match held {
        Some((held, elsewhere)) => {
            let held = held_rows(&session, held, range)?;
            versions::merge(held, computed, (table.key.as_slice(), elsewhere), job.as_of()).await?
        }
        None => versions::first(computed)?,
    };
    ledger.note(table, audit(job, &session, table, rows.clone()).await?)?;
    measured.rows(job, &session, table, &rows, range).await?;
    let mut stream = sorted(rows, table)?.execute_stream().await?;
    while let Some(batch) = stream.next().await {
        writer.write(&batch?).await?;
    }
    Ok(())
}

/// The rows of a table that a computation will replace, with all their versions.
fn held_rows(session: &Session, existing: &Snapshot, range: Option<Days>) -> Result<DataFrame> {
    let frame = session.context().read_table(existing.provider()?)?;
    Ok(match range {
        None => frame,
        Some((from, to)) => frame.filter(known::day_filter(from, to))?,
    })
}

/// Runs the table's audits over the rows that would be current.
async fn audit(job: &Job, session: &Session, table: &Table, rows: DataFrame) -> Result<Vec<Audited>> {
    let mut others = HashMap::new();
    for name in table.audited_against() {
        let pins = job.pin([name.as_str()]).await?;
        others.insert(name.clone(), pins.current(session, &name, job.as_of())?);
    }
    audits::run(session.context(), table, rows, &others).await
}

/// What the audits of a table measure, over the runs of days that are computed.
#[derive(Default)]
struct Measured {
    values: Vec<Option<f64>>,
}

impl Measured {
    async fn rows(
        &mut self,
        job: &Job,
        session: &Session,
        table: &Table,
        rows: &DataFrame,
        range: Option<Days>,
    ) -> Result<()> {
        let is_night = range.is_none_or(|(from, to)| (from..=to).contains(&job.date));
        let values = measures::measure(session.context(), table, rows, job.date).await?;
        self.values.resize(values.len(), None);
        for ((audit, value), kept) in measures::measured(table).iter().zip(values).zip(&mut self.values) {
            match audit.check {
                AuditCheck::Freshness(_) => *kept = newest(*kept, value),
                // A trend says nothing of other days.
                _ if is_night => *kept = value,
                _ => {}
            }
        }
        Ok(())
    }

    /// A table is also as fresh as the rows that stay in it.
    async fn judge(mut self, job: &Job, table: &Table, held: Option<&Snapshot>, ledger: &mut Ledger<'_>) -> Result<()> {
        let fresh = measures::measured(table).iter().any(|audit| matches!(audit.check, AuditCheck::Freshness(_)));
        if let Some(held) = held.filter(|_| fresh && table.materialized == Materialized::Incremental) {
            let session = job.session()?;
            let rows = session.context().read_table(held.provider()?)?;
            let values = measures::measure(session.context(), table, &rows, job.date).await?;
            for ((audit, value), kept) in measures::measured(table).iter().zip(values).zip(&mut self.values) {
                if matches!(audit.check, AuditCheck::Freshness(_)) {
                    *kept = newest(*kept, value);
                }
            }
        }
        ledger.judge(table, &self.values)
    }
}

fn newest(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    a.into_iter().chain(b).reduce(f64::max)
}

/// Rows of a day together, and in event order within it, which is how features read them.
fn sorted(rows: DataFrame, table: &Table) -> Result<DataFrame> {
    let mut order = Vec::new();
    if table.event_time.is_some() {
        order.push("event_date");
    }
    order.extend(table.event_time.iter().map(String::as_str));
    order.extend(table.key.iter().map(String::as_str));
    let order: Vec<_> = order
        .into_iter()
        .map(|name| datafusion::logical_expr::Expr::from(super::job::quoted(name)).sort(true, true))
        .collect();
    Ok(if order.is_empty() { rows } else { rows.sort(order)? })
}

fn spec(job: &Job, table: &Table) -> Result<TableSpec> {
    let schema = job
        .catalog
        .storage_schema(&table.name)
        .ok_or_else(|| Error::internal(format!("table {} has no schema", table.name)))?;
    Ok(TableSpec {
        no_statistics: job.project.identifying(&format!("tables/{}", table.name), &schema),
        name: format!("tables/{}", table.name),
        description: table.description.clone(),
        schema,
        partition_by: table.event_time.as_ref().map(|_| "event_date".to_string()),
    })
}

/// The days whose inputs changed since the last commit, widened by lookback and lookahead: they have other files, or
/// rows that an earlier night knew otherwise, where several nights were ingested at once.
async fn changed_days(
    job: &Job,
    table: &Table,
    pins: &Pins,
    last: &serde_json::Map<String, serde_json::Value>,
) -> Result<Scope> {
    let mut changed = BTreeSet::new();
    let night = last.get("logical_date").and_then(|d| d.as_str()).and_then(|d| d.parse::<NaiveDate>().ok());
    let Some(night) = night else { return Ok(Scope::All("it does not say of which night it is")) };
    for (name, now) in &pins.0 {
        if night < job.date {
            let moved = now.partitions_within(&["_known_from", "_known_until"], super::job::end_of(night), job.as_of());
            if now.partition_by().is_none() && !moved.is_empty() {
                return Ok(Scope::All("an input that has no days changed"));
            }
            changed.extend(days(moved.iter())?);
        }
        let version = last.get("inputs").and_then(|i| i.get(name)).and_then(|v| v.as_u64());
        let Some(version) = version else { return Ok(Scope::All("it was not made of these inputs")) };
        if version == now.version() {
            continue;
        }
        let Some(before) = job.lake.snapshot_at(&format!("tables/{name}"), version).await? else {
            return Ok(Scope::All("the version of an input that it was made of is gone"));
        };
        if now.partition_by().is_none() {
            return Ok(Scope::All("an input that has no days changed"));
        }
        changed.extend(different(&before.partitions(), &now.partitions())?);
    }
    Ok(Scope::Days(widened(table, &changed, job.date)))
}

/// The days of a table that rows of these days of its inputs may be in.
pub(super) fn widened(table: &Table, changed: &BTreeSet<NaiveDate>, last: NaiveDate) -> BTreeSet<NaiveDate> {
    let (back, ahead) = (table.lookback.ceil_days() as u64, table.lookahead.ceil_days() as u64);
    let mut days = BTreeSet::new();
    for day in changed {
        let mut at = day.checked_sub_days(chrono::Days::new(ahead)).unwrap_or(*day);
        let end = day.checked_add_days(chrono::Days::new(back)).unwrap_or(*day).min(last);
        while at <= end {
            days.insert(at);
            at = at.succ_opt().unwrap_or(NaiveDate::MAX);
        }
    }
    days
}

/// Partitions whose files are not the same.
fn different(
    before: &BTreeMap<String, BTreeSet<String>>,
    now: &BTreeMap<String, BTreeSet<String>>,
) -> Result<Vec<NaiveDate>> {
    let all: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    days(all.into_iter().filter(|day| before.get(*day) != now.get(*day)))
}

fn days<'a>(partitions: impl Iterator<Item = &'a String>) -> Result<Vec<NaiveDate>> {
    partitions.map(|day| day.parse().map_err(|_| Error::internal(format!("partition {day} is no date")))).collect()
}

/// Runs of consecutive days; `None` is all days.
fn ranges(scope: &Scope) -> Vec<Option<Days>> {
    let Scope::Days(days) = scope else { return vec![None] };
    let mut ranges: Vec<Days> = Vec::new();
    for day in days {
        match ranges.last_mut() {
            Some((_, to)) if to.succ_opt() == Some(*day) => *to = *day,
            _ => ranges.push((*day, *day)),
        }
    }
    ranges.into_iter().map(Some).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consecutive_days_are_one_range() {
        let day = |d| NaiveDate::from_ymd_opt(2024, 2, d).unwrap();
        let scope = Scope::Days([day(27), day(28), day(29), day(10)].into());
        assert_eq!(ranges(&scope), [Some((day(10), day(10))), Some((day(27), day(29)))]);
        assert_eq!(ranges(&Scope::All("")), [None]);
    }
}
