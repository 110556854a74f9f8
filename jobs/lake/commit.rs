//! One commit: what is removed, what is added, which unit of work it was, and what to make of a concurrent one.

use std::collections::BTreeSet;

use deltalake::DeltaTableError;
use deltalake::kernel::transaction::{CommitBuilder, CommitProperties, TableReference, TransactionError};
use deltalake::kernel::{Action, Add, AddCDCFile, Transaction};
use deltalake::protocol::{DeltaOperation, SaveMode};
use object_store::path::Path;
use serde_json::{Map, Value};

use super::failpoint::{self, Point};
use super::rewrite::tag;
use super::root::Lake;
use super::schema::{TableSpec, extends};
use super::snapshot::Snapshot;
use super::writer::removals;
use crate::error::{Error, Result};

/// Which rows of the version it was written on a commit takes away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replace {
    /// None: the commit appends, beside other appends.
    Nothing,
    /// All rows of these partitions; [`super::NULL_PARTITION`] names the rows without a partition value.
    Partitions(BTreeSet<String>),
    /// These files. With `rows_stay` what is added has the rows of what is removed, packed otherwise.
    Files { paths: BTreeSet<String>, rows_stay: bool },
    /// These files; what is added has their rows, in which values go by other names than before. Who asks whether the
    /// table changed is told no: everything that was made of these rows goes by the new names as well.
    Renamed { paths: BTreeSet<String> },
    /// All rows. The table may get any other schema; otherwise it may only get further nullable columns.
    All,
}

/// A unit of work and the fingerprint of its inputs and definition. A commit whose unit has the same fingerprint
/// already is not made again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    pub key: String,
    pub fingerprint: i64,
}

/// What became of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Committed {
        version: u64,
        rows: u64,
        bytes: u64,
        files: usize,
    },
    /// This unit was committed with this fingerprint before, by an earlier run or a concurrent one.
    AlreadyDone {
        version: u64,
    },
}

impl Outcome {
    pub fn version(&self) -> u64 {
        match self {
            Outcome::Committed { version, .. } | Outcome::AlreadyDone { version } => *version,
        }
    }
}

pub(super) async fn commit(
    lake: &Lake,
    spec: &TableSpec,
    base: &Snapshot,
    (mut adds, changes): (Vec<Add>, Vec<AddCDCFile>),
    replace: Replace,
    units: &[Unit],
    info: Map<String, Value>,
) -> Result<Outcome> {
    let unit = units.first().ok_or_else(|| Error::internal(format!("a commit to {} without a unit", spec.name)))?;
    let files = adds.iter().map(|add| &add.path).chain(changes.iter().map(|change| &change.path));
    let paths = files.map(|path| Snapshot::path_of(lake, &spec.name, path)).collect::<Result<Vec<_>>>()?;
    if base.committed(&unit.key).await? == Some(unit.fingerprint) {
        lake.forget(&paths).await;
        return Ok(Outcome::AlreadyDone { version: base.version() });
    }
    match &replace {
        Replace::Files { paths, rows_stay: true } => tag(base, paths, &mut adds, false)?,
        Replace::Renamed { paths } => tag(base, paths, &mut adds, true)?,
        _ => {}
    }
    let actions = match actions(spec, base, &adds, &replace) {
        Ok(actions) => [actions, changes.into_iter().map(Action::Cdc).collect()].concat(),
        Err(e) => {
            lake.forget(&paths).await;
            return Err(e);
        }
    };
    let operation = match replace {
        Replace::Files { rows_stay: true, .. } => DeltaOperation::Optimize { predicate: None, target_size: 0 },
        _ => DeltaOperation::Write {
            mode: if replace == Replace::Nothing { SaveMode::Append } else { SaveMode::Overwrite },
            partition_by: spec.partition_by.clone().map(|column| vec![column]),
            predicate: None,
        },
    };
    let now = Some(crate::clock::now().timestamp_millis());
    let txn = |unit: &Unit| Transaction::new_with_last_update(&unit.key, unit.fingerprint, now);
    let properties = CommitProperties::default()
        .with_metadata(info)
        .with_application_transactions(units.iter().map(txn).collect())
        .with_create_checkpoint(true)
        .with_cleanup_expired_logs(Some(false))
        // What replaces was computed from the base, so it may only follow the base. Appends may follow appends.
        .with_max_retries(if replace == Replace::Nothing { 15 } else { 0 });
    failpoint::reach(Point::BeforeCommit, &spec.name)?;
    let committed = CommitBuilder::from(properties)
        .with_actions(actions)
        .build(Some(base.state() as &dyn TableReference), base.log().clone(), operation)
        .await;
    failpoint::reach(Point::AfterCommit, &spec.name)?;
    match committed {
        Ok(commit) => {
            lake.remember(&spec.name, &commit.snapshot());
            Ok(outcome(commit.version(), &adds))
        }
        Err(e) => settle(lake, spec, &adds, &paths, unit, e).await,
    }
}

fn actions(spec: &TableSpec, base: &Snapshot, adds: &[Add], replace: &Replace) -> Result<Vec<Action>> {
    if *replace != Replace::All && !extends(spec.canonical()?.as_ref(), &base.schema()) {
        return Err(Error::definition(format!(
            "table {} has columns that its definition has no longer, or has otherwise\n  found: {}\n  expected: {}\n  \
             help: only nullable columns may be added; for anything else move the table away, and it is built anew",
            spec.name,
            columns(&base.schema()),
            columns(&spec.schema),
        )));
    }
    let replaced = base.data_files().iter().filter(|file| match replace {
        Replace::Nothing => false,
        Replace::Partitions(partitions) => partitions.contains(&base.partition_of(file)),
        Replace::Files { paths, .. } | Replace::Renamed { paths } => paths.contains(&file.path),
        Replace::All => true,
    });
    let mut actions: Vec<Action> =
        spec.metadata_change(base.state().metadata())?.map(Action::Metadata).into_iter().collect();
    let is_change = !matches!(replace, Replace::Files { rows_stay: true, .. });
    actions.extend(removals(replaced, is_change));
    actions.extend(adds.iter().cloned().map(Action::Add));
    Ok(actions)
}

/// After a commit that failed: was it made after all, did another writer make it, or is it to be tried again?
async fn settle(
    lake: &Lake,
    spec: &TableSpec,
    adds: &[Add],
    paths: &[Path],
    unit: &Unit,
    failed: DeltaTableError,
) -> Result<Outcome> {
    let is_lost = is_lost(&failed);
    let error = Error::from(failed);
    let Some(now) = lake.snapshot(&spec.name).await? else { return Err(error) };
    let same_unit = now.committed(&unit.key).await? == Some(unit.fingerprint);
    let visible: BTreeSet<&str> = now.data_files().iter().map(|f| f.path.as_str()).collect();
    // A checkpoint may fail after the commit was made; a later commit may already have replaced our files, but hardly.
    if same_unit && !adds.is_empty() && adds.iter().all(|add| visible.contains(add.path.as_str())) {
        return Ok(outcome(now.version(), adds));
    }
    // Where storage failed, a log entry that names these files may still arrive: then they must be there.
    if is_lost || same_unit {
        lake.forget(paths).await;
    }
    if same_unit {
        return Ok(Outcome::AlreadyDone { version: now.version() });
    }
    let message = format!("table {} was written by somebody else at the same time: run this job again", spec.name);
    Err(if error.kind() == crate::error::Kind::Temporary { Error::temporary(message).caused_by(error) } else { error })
}

/// Whether another writer was faster, and this commit was not and will not be made.
fn is_lost(error: &DeltaTableError) -> bool {
    use TransactionError as T;
    match error {
        DeltaTableError::Transaction { source } => matches!(source, T::CommitConflict(_) | T::MaxCommitAttempts(_)),
        other => matches!(other, DeltaTableError::VersionAlreadyExists(_)),
    }
}

fn outcome(version: u64, adds: &[Add]) -> Outcome {
    let count = |add: &Add| {
        let statistics: Value = serde_json::from_str(add.stats.as_deref().unwrap_or_default()).unwrap_or_default();
        statistics["numRecords"].as_u64().unwrap_or_default()
    };
    Outcome::Committed {
        version,
        rows: adds.iter().map(count).sum(),
        bytes: adds.iter().map(|add| u64::try_from(add.size).unwrap_or_default()).sum(),
        files: adds.len(),
    }
}

fn columns(schema: &arrow::datatypes::Schema) -> String {
    let columns = schema
        .fields()
        .iter()
        .map(|f| format!("{} {}{}", f.name(), f.data_type(), if f.is_nullable() { "" } else { " not null" }));
    columns.collect::<Vec<_>>().join(", ")
}
