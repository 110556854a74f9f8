//! Writing a table's files anew without making it another table: packing small files, taking rows out, setting how
//! long history is kept.
//!
//! The last commit of a table says what it was made from, and the next night reads that. So a commit of upkeep carries
//! on what the commit before it said. A packed file has a tag that names the files it was made of: their rows are its
//! rows, and whoever asks whether a table's content changed is answered by those names.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use deltalake::kernel::transaction::{CommitBuilder, CommitProperties, TableReference};
use deltalake::kernel::{Action, Add, MetadataExt};
use deltalake::logstore::LogStoreRef;
use deltalake::protocol::DeltaOperation;
use serde_json::{Map, Value};

use super::schema::{RETENTION_KEYS, TableSpec};
use super::snapshot::Snapshot;
use super::writer::Writer;
use crate::error::{Context, Result};

/// How names of packed files begin.
pub(super) const PACKED: &str = "packed";
/// The tag of a packed file that names what it was made of, as a JSON list.
pub(super) const MADE_OF: &str = "scorehouse.madeOf";
/// What the library writes into every commit by itself.
const ENGINE_INFO: [&str; 4] = ["clientVersion", "operationMetrics", "engineInfo", "inCommitTimestamp"];

impl Snapshot {
    /// The small files of each partition, where there are several: those below `bytes`.
    pub fn small_files(&self, bytes: u64) -> BTreeMap<String, BTreeSet<String>> {
        let mut small: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for file in self.data_files().iter().filter(|file| file.bytes < bytes) {
            small.entry(self.partition_of(file)).or_default().insert(file.path.clone());
        }
        small.retain(|_, files| files.len() > 1);
        small
    }

    /// These of its files, those of one partition together: the writer would otherwise begin a file at each.
    pub fn in_order(&self, paths: &BTreeSet<String>) -> Vec<String> {
        // Files are kept in the order of partitions.
        self.data_files().iter().filter(|file| paths.contains(&file.path)).map(|file| file.path.clone()).collect()
    }

    /// What the last commit said of itself, to be said again by one that changes nothing it was about.
    pub async fn said(&self) -> Result<Map<String, Value>> {
        let mut info = self.commit_info().await?;
        info.retain(|key, _| !ENGINE_INFO.contains(&key.as_str()));
        Ok(info)
    }

    /// A writer on top of this table as it is declared in the lake. `packs` if its files hold rows of others.
    pub async fn rewriter(&self, packs: bool) -> Result<Writer> {
        Writer::open(self.lake(), &self.spec(), if packs { PACKED } else { super::encode::PART }, false).await
    }

    /// Sets for how many days history is kept; `false` if that is what the table says already.
    pub async fn keep_history(&self, days: i64) -> Result<bool> {
        let wanted = format!("interval {days} days");
        let mut metadata = self.state().metadata().clone();
        if RETENTION_KEYS.iter().all(|key| metadata.configuration().get(*key) == Some(&wanted)) {
            return Ok(false);
        }
        let mut properties = HashMap::new();
        for key in RETENTION_KEYS {
            metadata = metadata.add_config_key(key.to_string(), wanted.clone())?;
            properties.insert(key.to_string(), wanted.clone());
        }
        let commit = CommitProperties::default()
            .with_metadata(self.said().await?)
            .with_cleanup_expired_logs(Some(false))
            .with_max_retries(0);
        CommitBuilder::from(commit)
            .with_actions(vec![Action::Metadata(metadata)])
            .build(
                Some(self.state() as &dyn TableReference),
                LogStoreRef::clone(self.log()),
                DeltaOperation::SetTableProperties { properties },
            )
            .await
            .with_context(|| format!("the retention of table {}", self.table()))?;
        Ok(true)
    }

    /// The table as it is declared in the lake.
    fn spec(&self) -> TableSpec {
        let metadata = self.state().metadata();
        let counted = metadata.configuration().get("delta.dataSkippingStatsColumns").cloned().unwrap_or_default();
        let counted: BTreeSet<&str> = counted.split(',').collect();
        let schema = self.schema();
        let names = schema.fields().iter().map(|field| field.name().clone());
        let silent = names.filter(|name| !counted.contains(name.as_str())).collect();
        TableSpec {
            name: self.table().to_string(),
            description: metadata.description().unwrap_or_default().to_string(),
            schema: self.schema(),
            partition_by: self.partition_by().map(str::to_string),
            no_statistics: silent,
        }
    }
}

/// Tags packed files with the names of what they were made of, partition by partition; `is_change` if readers of changes
/// are to see it.
pub(super) fn tag(base: &Snapshot, replaced: &BTreeSet<String>, adds: &mut [Add], is_change: bool) -> Result<()> {
    let mut origins: BTreeMap<Option<&String>, BTreeSet<&String>> = BTreeMap::new();
    for file in base.data_files().iter().filter(|file| replaced.contains(&file.path)) {
        origins.entry(file.partition.as_ref()).or_default().extend(&file.made_of);
    }
    for add in adds {
        let partition = add.partition_values.values().next().and_then(Option::as_ref);
        let made_of = serde_json::to_string(&origins.get(&partition).cloned().unwrap_or_default())?;
        add.data_change = is_change;
        add.tags = Some(HashMap::from([(MADE_OF.to_string(), Some(made_of))]));
    }
    Ok(())
}
