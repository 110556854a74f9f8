//! What every job is given: the compiled project, the lake, the raw events, the night, and who is watching.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::NaiveDate;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, col, lit, when};
use datafusion::prelude::DataFrame;
use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::ledger::Ledger;
use super::open;
use super::progress::Progress;
use crate::define::Project;
use crate::define::profile::Profile;
use crate::define::types::DAY;
use crate::engine::plan::Catalog;
use crate::engine::session::Session;
use crate::error::{Error, Result};
use crate::lake::{Lake, Outcome, Raw, Snapshot, Unit};

const PINS_AT_ONCE: usize = 8;

/// One job for one logical date.
#[derive(Debug, Clone)]
pub struct Job {
    pub project: Project,
    pub catalog: Arc<Catalog>,
    pub profile: Profile,
    pub lake: Lake,
    pub raw: Raw,
    /// D: the night covers [D 00:00Z, D+1 00:00Z).
    pub date: NaiveDate,
    pub run_id: String,
    /// The job that this one is a part of.
    pub within: Option<String>,
    pub progress: Progress,
    /// Names to work on; empty: all.
    pub select: Vec<String>,
    /// Compute from all rows, even where less would do.
    pub full: bool,
    /// What was read and written so far.
    pub ledger: Ledger,
}

/// What a job wrote, or found unchanged: one line of its result.
#[derive(Debug, Clone, Serialize)]
pub struct Written {
    pub table: String,
    /// `written`, `unchanged`, or what else is to be said.
    pub status: String,
    pub rows: u64,
    pub bytes: u64,
    pub version: Option<u64>,
    pub seconds: f64,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub details: Map<String, Value>,
}

impl Written {
    pub fn new(table: impl Into<String>, outcome: &Outcome, seconds: f64) -> Self {
        let (status, rows, bytes, version) = match outcome {
            Outcome::Committed { version, rows, bytes, .. } => ("written", *rows, *bytes, *version),
            Outcome::AlreadyDone { version } => ("unchanged", 0, 0, *version),
        };
        let seconds = (seconds * 1000.0).round() / 1000.0;
        Written {
            table: table.into(),
            status: status.into(),
            rows,
            bytes,
            version: Some(version),
            seconds,
            details: Map::new(),
        }
    }

    pub fn unchanged(table: impl Into<String>, status: impl Into<String>, version: Option<u64>) -> Self {
        Written {
            table: table.into(),
            status: status.into(),
            rows: 0,
            bytes: 0,
            version,
            seconds: 0.0,
            details: Map::new(),
        }
    }

    pub fn detail(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.details.insert(key.into(), value.into());
        self
    }
}

impl Job {
    /// The night's as_of, D+1 00:00Z, in microseconds.
    pub fn as_of(&self) -> i64 {
        end_of(self.date)
    }

    pub fn selected(&self, name: &str) -> bool {
        self.select.is_empty() || self.select.iter().any(|s| crate::define::inputs::glob(s, name))
    }

    pub fn session(&self) -> Result<Session> {
        open::session(&self.profile)
    }

    pub fn threads(&self) -> usize {
        open::threads(&self.profile)
    }

    /// The current snapshot of a source's or SQL table's Delta table.
    pub async fn relation(&self, name: &str) -> Result<Snapshot> {
        let path = format!("tables/{name}");
        self.lake.snapshot(&path).await?.ok_or_else(|| {
            let job = if self.project.sources.contains_key(name) { "ingest" } else { "tables" };
            let message = format!("table {name} is not in the lake yet");
            Error::data(format!("{message}\n  help: run `scorehouse {job} --date {}` first", self.date))
        })
    }

    /// Pins the versions of several relations at once.
    pub async fn pin(&self, names: impl IntoIterator<Item = &str>) -> Result<Pins> {
        let names: BTreeSet<&str> = names.into_iter().collect();
        // Far away a look at a log is a round trip or two, and none waits for another.
        let looks =
            names.into_iter().map(|name| async move { Ok::<_, Error>((name.to_string(), self.relation(name).await?)) });
        let pins: BTreeMap<String, Snapshot> = stream::iter(looks).buffered(PINS_AT_ONCE).try_collect().await?;
        let pins = Pins(pins);
        pins.enter(&self.ledger);
        Ok(pins)
    }

    /// What goes into the commit beside the data.
    pub fn commit_info(&self, job: &str, definition: &str, pins: &Pins) -> Map<String, Value> {
        let mut info = Map::new();
        info.insert("job".into(), json!(job));
        info.insert("logical_date".into(), json!(self.date.to_string()));
        info.insert("run_id".into(), json!(self.run_id));
        info.insert("definition".into(), json!(definition));
        info.insert("inputs".into(), pins.versions());
        info
    }

    /// A unit of work: the same key and fingerprint are committed once.
    pub fn unit(&self, job: &str, name: &str, definition: &str, pins: &Pins) -> Unit {
        let inputs = pins.contents();
        Unit { key: format!("{job}:{name}:{}", self.date), fingerprint: fingerprint(&[definition, &inputs]) }
    }
}

/// Versions of inputs, fixed at a job's start: tables by their names, others by where they lie in the lake.
#[derive(Debug, Default)]
pub struct Pins(pub BTreeMap<String, Snapshot>);

impl Pins {
    /// Enters what is pinned as read.
    pub fn enter(&self, ledger: &Ledger) {
        self.0.iter().for_each(|(name, snapshot)| ledger.read(name, snapshot.version()));
    }

    pub fn get(&self, name: &str) -> Result<&Snapshot> {
        self.0.get(name).ok_or_else(|| Error::internal(format!("{name} was not pinned")))
    }

    pub fn versions(&self) -> Value {
        self.0.iter().map(|(name, snapshot)| (name.clone(), json!(snapshot.version()))).collect::<Map<_, _>>().into()
    }

    /// What the inputs hold: it stays the same when files are packed.
    pub fn contents(&self) -> String {
        let all = self.0.iter().map(|(name, snapshot)| (name.clone(), json!(snapshot.content())));
        Value::from(all.collect::<Map<_, _>>()).to_string()
    }

    /// A frame over all row versions, as night `as_of` knew them.
    pub fn frame(&self, session: &Session, name: &str, as_of: i64) -> Result<DataFrame> {
        let frame = session.context().read_table(self.get(name)?.provider()?)?;
        versions_as_of(frame, as_of)
    }

    /// A frame over the rows that were current at night `as_of`.
    pub fn current(&self, session: &Session, name: &str, as_of: i64) -> Result<DataFrame> {
        let frame = self.frame(session, name, as_of)?;
        let open = frame.schema().has_column_with_unqualified_name("_known_until");
        Ok(if open { frame.filter(col("_known_until").is_null())? } else { frame })
    }
}

/// Row versions opened by `as_of`; a version closed later is still open.
pub fn versions_as_of(frame: DataFrame, as_of: i64) -> Result<DataFrame> {
    if !frame.schema().has_column_with_unqualified_name("_known_from") {
        return Ok(frame);
    }
    let frame = frame.filter(col("_known_from").lt_eq(instant(as_of)))?;
    let columns: Vec<Expr> = frame
        .schema()
        .fields()
        .iter()
        .map(|field| match field.name().as_str() {
            "_known_until" => {
                let null = lit(ScalarValue::TimestampMicrosecond(None, Some("UTC".into())));
                let closed = when(col("_known_until").gt(instant(as_of)), null).otherwise(col("_known_until"))?;
                Ok(closed.alias("_known_until"))
            }
            name => Ok(col(quoted(name))),
        })
        .collect::<Result<_>>()?;
    Ok(frame.select(columns)?)
}

/// A column reference that keeps its case.
pub fn quoted(name: &str) -> datafusion::common::Column {
    datafusion::common::Column::from_name(name)
}

/// An instant in microseconds as a literal.
pub fn instant(micros: i64) -> Expr {
    lit(ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into())))
}

/// The end of a date, D+1 00:00Z, in microseconds.
pub fn end_of(date: NaiveDate) -> i64 {
    (i64::from(date.to_epoch_days()) + 1) * DAY
}

/// A stable 63-bit fingerprint of texts.
pub fn fingerprint(parts: &[&str]) -> i64 {
    let hash = digest(parts);
    let mut bytes = [0u8; 8];
    bytes.copy_from_slice(&hash[..8]);
    i64::from_be_bytes(bytes) & i64::MAX
}

/// SHA-256 over length-prefixed texts.
pub fn digest(parts: &[&str]) -> Vec<u8> {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().to_vec()
}

/// The definition of anything as one text, for fingerprints.
pub fn definition_text<T: Serialize>(definition: &T) -> Result<String> {
    Ok(hex(&digest(&[&serde_json::to_string(definition)?])))
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
