//! One table under the new pseudonyms, its history cut off.

use std::collections::BTreeSet;

use arrow::array::RecordBatch;
use futures::StreamExt;
use serde_json::{Map, Value, json};

use super::words::Words;
use super::{Rekeyed, Scanned};
use crate::engine::session::{Session, SessionOptions};
use crate::error::{Context, Result};
use crate::lake::{Replace, Snapshot, Unit};
use crate::pipeline::erase::{Versions, follow, forget};
use crate::pipeline::features::state;
use crate::pipeline::job::{Job, fingerprint};

/// What a commit says of a rotation, beside what the commit before it said.
const INFO: &str = "rotated";

/// A rotation as tables are given it.
pub struct Rotation<'a> {
    pub job: &'a Job,
    pub id: &'a str,
    pub words: &'a Words,
    /// Tables of features whose states are made of pseudonyms' values.
    pub states: &'a BTreeSet<String>,
}

impl Rotation<'_> {
    fn unit(&self, table: &str) -> Unit {
        Unit { key: format!("rotate:{table}"), fingerprint: fingerprint(&[self.id]) }
    }

    /// Whether this rotation has a table behind it.
    pub async fn is_done(&self, snapshot: &Snapshot) -> Result<bool> {
        let unit = self.unit(snapshot.table());
        Ok(snapshot.committed(&unit.key).await? == Some(unit.fingerprint))
    }

    /// A table of states that are no use under other pseudonyms: of their texts, or of their order.
    pub fn drops(&self, table: &str, held: &[&Scanned]) -> bool {
        let of = table.strip_suffix(state::SUFFIX);
        of.is_some_and(|of| self.states.contains(of) || held.iter().any(|scanned| scanned.binary > 0))
    }

    /// Renames what a table has, and cuts off its history; `None` if it never had any pseudonym.
    pub async fn table(&self, table: &str, held: &[&Scanned], versions: &mut Versions) -> Result<Option<Rekeyed>> {
        let doing = || format!("table {table}");
        let Some(snapshot) = self.job.lake.snapshot(table).await? else { return Ok(None) };
        let mut said = snapshot.said().await?;
        let (before, after, files) = if self.is_done(&snapshot).await? {
            let before = said.get(INFO).and_then(|info| info["from"].as_u64());
            (before.unwrap_or_default(), snapshot.version(), 0)
        } else {
            let follows = follow(&mut said, versions);
            let drops = self.drops(table, held);
            if held.is_empty() && !follows && !drops {
                return Ok(None);
            }
            let live = snapshot.objects()?;
            let paths: BTreeSet<String> =
                held.iter().filter_map(|scanned| live.get(&scanned.object.name).cloned()).collect();
            let files = paths.len() as u64;
            let version = match drops {
                true => self.drop_states(&snapshot).await.with_context(doing)?,
                false => self.rename(&snapshot, paths, said).await.with_context(doing)?,
            };
            (snapshot.version(), version, files)
        };
        versions.insert(table.to_string(), (before, after));
        versions.extend(table.strip_prefix("tables/").map(|name| (name.to_string(), (before, after))));
        if !held.is_empty() {
            forget(self.job, table, after).await.with_context(doing)?;
        }
        let first_version = (!held.is_empty()).then_some(after);
        Ok(Some(Rekeyed { table: table.to_string(), files, history: held.len() as u64 - files, first_version }))
    }

    /// One commit: the rows of these files under the new names. Whoever asks whether the table changed is told no.
    async fn rename(&self, snapshot: &Snapshot, paths: BTreeSet<String>, said: Map<String, Value>) -> Result<u64> {
        let mut writer = snapshot.rewriter(true).await?;
        // By one thread: rows stay in their order. Partition by partition, as files are written.
        let session = Session::new(&SessionOptions::default())?;
        for path in snapshot.in_order(&paths) {
            let rows = session.context().read_table(snapshot.provider_of_files(&[path].into())?)?;
            let mut stream = rows.execute_stream().await?;
            while let Some(batch) = stream.next().await {
                let batch = batch?;
                let columns = batch.columns().iter().map(|column| self.words.renamed_column(column));
                let columns = columns.collect::<Result<Vec<_>>>()?;
                writer.write(&RecordBatch::try_new(batch.schema(), columns)?).await?;
            }
        }
        let text = Value::Object(said).to_string();
        let said: Value = serde_json::from_str(&self.words.renamed(&text).unwrap_or(text))?;
        let mut said = said.as_object().cloned().unwrap_or_default();
        said.insert(INFO.into(), self.info(snapshot));
        let outcome = writer.commit(Replace::Renamed { paths }, &self.unit(snapshot.table()), said).await?;
        Ok(outcome.version())
    }

    /// States without rows that do not say of which night they are: the next night computes from all rows, and leaves new
    /// ones.
    async fn drop_states(&self, snapshot: &Snapshot) -> Result<u64> {
        let writer = snapshot.rewriter(true).await?;
        let said = Map::from_iter([(INFO.to_string(), self.info(snapshot))]);
        let outcome = writer.commit(Replace::All, &self.unit(snapshot.table()), said).await?;
        Ok(outcome.version())
    }

    fn info(&self, snapshot: &Snapshot) -> Value {
        json!({"run_id": self.job.run_id, "from": snapshot.version()})
    }
}
