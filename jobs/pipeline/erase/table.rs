//! Taking an entity out of one table, its history included.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::RecordBatch;
use arrow::compute::{filter_record_batch, not};
use futures::StreamExt;
use serde_json::{Map, Value, json};

use super::scan::Rule;
use super::subject::Subject;
use super::{Erased, Scanned, needle};
use crate::clock;
use crate::engine::session::{Session, SessionOptions};
use crate::error::{Context, Error, Result};
use crate::lake::{Replace, Snapshot, Unit};
use crate::pipeline::job::{Job, fingerprint};

/// Versions of a table before and after it was rewritten, by the table's name as an input.
pub type Versions = BTreeMap<String, (u64, u64)>;

/// What of a table belongs to the entity.
pub fn rule(job: &Job, subject: &Subject, snapshot: &Snapshot) -> Rule {
    let columns: BTreeSet<String> = snapshot.schema().fields().iter().map(|field| field.name().clone()).collect();
    let column = subject.column_of(&job.project, snapshot.table(), &columns).map(str::to_string);
    let values = column.as_deref().and_then(|column| subject.values_of(column)).cloned();
    let (fields, listed) = match snapshot.table().starts_with("quarantine/") {
        true => (subject.suppressed(), subject.listed.clone()),
        false => (BTreeMap::new(), None),
    };
    Rule { needle: needle(subject), of_table: true, column: column.zip(values), fields, listed }
}

/// Takes the entity out of a table; `None` if it never was in it.
pub async fn erase(
    job: &Job,
    subject: &Subject,
    table: &str,
    held: &[&Scanned],
    versions: &mut Versions,
    dry_run: bool,
) -> Result<Option<Erased>> {
    let doing = || format!("table {table}");
    let Some(snapshot) = job.lake.snapshot(table).await? else { return Ok(None) };
    let rule = rule(job, subject, &snapshot);
    let mut said = snapshot.said().await?;
    // Rows that belong to the entity are gone from here as they are from the inputs. Of what was computed from them
    // otherwise the next night finds that the versions it was made of are gone, and computes it anew.
    let follows = rule.column.is_some() && follow(&mut said, versions);
    if held.is_empty() && !follows {
        return Ok(None);
    }
    let live: BTreeMap<String, String> = snapshot.objects()?;
    let mut erased = Erased { table: table.to_string(), rows: 0, texts: 0, history: 0, first_version: None };
    let mut paths = BTreeSet::new();
    for scanned in held {
        match live.get(&scanned.object.name) {
            Some(path) => {
                erased.rows += scanned.found.rows;
                erased.texts += scanned.found.texts;
                paths.insert(path.clone());
            }
            None => erased.history += 1,
        }
    }
    if dry_run {
        return Ok((!held.is_empty()).then_some(erased));
    }
    let states = held.iter().any(|scanned| scanned.found.states > 0 && live.contains_key(&scanned.object.name));
    let version = match states {
        true => drop_states(job, &snapshot).await.with_context(doing)?,
        false => rewrite(job, &snapshot, &rule, paths, said).await.with_context(doing)?,
    };
    if let Some(name) = table.strip_prefix("tables/") {
        versions.insert(name.to_string(), (snapshot.version(), version));
    }
    if !held.is_empty() {
        forget(job, table, version).await.with_context(doing)?;
        erased.first_version = Some(version);
    }
    Ok((!held.is_empty()).then_some(erased))
}

/// One commit without the entity: the rows of these files that are not its own, and no text that names it.
async fn rewrite(
    job: &Job,
    snapshot: &Snapshot,
    rule: &Rule,
    paths: BTreeSet<String>,
    said: Map<String, Value>,
) -> Result<u64> {
    let mut writer = snapshot.rewriter(false).await?;
    // By one thread: rows stay in their order.
    let session = Session::new(&SessionOptions::default())?;
    for path in &paths {
        let rows = session.context().read_table(snapshot.provider_of_files(&[path.clone()].into())?)?;
        let mut stream = rows.execute_stream().await?;
        while let Some(batch) = stream.next().await {
            writer.write(&without(rule, &batch?)?).await?;
        }
    }
    let said: Value = serde_json::from_str(&rule.needle.taken_out(&Value::Object(said).to_string()))?;
    let mut said = said.as_object().cloned().unwrap_or_default();
    said.insert("erased".into(), json!({"files": paths.len(), "run_id": job.run_id}));
    let outcome = writer.commit(Replace::Files { paths, rows_stay: false }, &unit(job, snapshot), said).await?;
    Ok(outcome.version())
}

/// States of others that quote the entity: bytes in which nothing can be replaced. Without rows, and not saying of which
/// night they are, they have the next night compute from all rows and leave new ones.
async fn drop_states(job: &Job, snapshot: &Snapshot) -> Result<u64> {
    let writer = snapshot.rewriter(false).await?;
    let said = Map::from_iter([("erased".to_string(), json!({"run_id": job.run_id}))]);
    Ok(writer.commit(Replace::All, &unit(job, snapshot), said).await?.version())
}

fn unit(job: &Job, snapshot: &Snapshot) -> Unit {
    Unit { key: format!("erase:{}", snapshot.table()), fingerprint: fingerprint(&[&job.run_id]) }
}

/// Nothing but this version can be read afterwards, and nothing else is there: no other job is under way whose files these
/// could be.
pub async fn forget(job: &Job, table: &str, version: u64) -> Result<()> {
    let snapshot = job.lake.snapshot_at(table, version).await?;
    let snapshot = snapshot.ok_or_else(|| Error::temporary(format!("version {version} went away: run this again")))?;
    snapshot.checkpoint().await?;
    let obsolete = job.lake.history(table).await?.obsolete(version, clock::now() + chrono::TimeDelta::days(1)).await?;
    obsolete.remove(&job.lake).await
}

/// Where a commit says that it was made from the version before an erasure, it is now made from the one after.
pub fn follow(said: &mut Map<String, Value>, versions: &Versions) -> bool {
    let Some(inputs) = said.get_mut("inputs").and_then(Value::as_object_mut) else { return false };
    let mut follows = false;
    for (name, version) in inputs {
        if let Some((before, after)) = versions.get(name)
            && version.as_u64() == Some(*before)
        {
            *version = json!(after);
            follows = true;
        }
    }
    follows
}

fn without(rule: &Rule, batch: &RecordBatch) -> Result<RecordBatch> {
    let kept = filter_record_batch(batch, &not(&rule.rows(batch)?)?)?;
    let columns = kept.columns().iter().map(|column| rule.taken_out(column));
    Ok(RecordBatch::try_new(kept.schema(), columns.collect::<Result<_>>()?)?)
}
