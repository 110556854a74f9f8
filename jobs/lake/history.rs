//! What lies on storage for a table, and what of it no version needs any longer.
//!
//! A version can be read while the log reaches back to it: from its first entry, or from a checkpoint at or before it.
//! Therefore the log is cut at a checkpoint first, and files go after it: a version whose files may be gone has no log
//! entry either, and is said to be gone rather than found to be broken.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use deltalake::DeltaTable;
use deltalake::kernel::Action;
use deltalake::logstore::get_actions;
use deltalake::protocol::checkpoints::create_checkpoint;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectMeta, ObjectStore, ObjectStoreExt};

use super::durable;
use super::failpoint::{self, Point};
use super::root::Lake;
use super::snapshot::Snapshot;
use crate::error::{Context, Error, Result};

/// An object below the lake's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Below the root.
    pub name: String,
    pub bytes: u64,
    /// When it was written, by the storage's clock.
    pub written: DateTime<Utc>,
    path: Path,
}

/// The objects of one table.
#[derive(Debug, Clone)]
pub struct History {
    table: String,
    lake: Lake,
    entries: BTreeMap<u64, Stored>,
    checkpoints: BTreeMap<u64, Vec<Stored>>,
    files: Vec<Stored>,
}

/// What may be removed, in the order in which it must be.
#[derive(Debug, Clone, Default)]
pub struct Obsolete {
    pub log: Vec<Stored>,
    pub files: Vec<Stored>,
}

impl Lake {
    /// Everything below a name, or below the root where it is empty; in order.
    pub async fn stored(&self, below: &str) -> Result<Vec<Stored>> {
        let root = Path::from_url_path(self.url().path()).map_err(|e| Error::internal(e.to_string()))?;
        let prefix = if below.is_empty() { root.clone() } else { self.path_of(below)? };
        let listing = || format!("listing {prefix}");
        let listed: Result<Vec<ObjectMeta>, StoreError> = self.store().list(Some(&prefix)).try_collect().await;
        let objects = match listed {
            Err(StoreError::NotFound { .. }) => Vec::new(),
            other => other.with_context(listing)?,
        };
        let mut stored: Vec<Stored> = objects.into_iter().filter_map(|object| of_object(&root, object)).collect();
        stored.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(stored)
    }

    /// The names of all Delta tables.
    pub async fn tables(&self) -> Result<Vec<String>> {
        let stored = self.stored("").await?;
        let logs = stored.iter().filter_map(|object| Some(object.name.split_once("/_delta_log/")?.0.to_string()));
        let mut tables: Vec<String> = logs.collect::<BTreeSet<_>>().into_iter().collect();
        tables.sort();
        Ok(tables)
    }

    /// The content of an object; `None` if it is gone.
    pub async fn content(&self, object: &Stored) -> Result<Option<Bytes>> {
        let reading = || format!("reading {}", object.name);
        match self.store().get(&object.path).await {
            Err(StoreError::NotFound { .. }) => Ok(None),
            found => Ok(Some(found.with_context(reading)?.bytes().await.with_context(reading)?)),
        }
    }

    /// Removes objects one after the other; those that are gone already are no error.
    pub async fn remove(&self, objects: &[Stored]) -> Result<()> {
        for object in objects {
            failpoint::reach(Point::BeforeRemove, &object.name)?;
            match self.store().delete(&object.path).await {
                Ok(()) | Err(StoreError::NotFound { .. }) => {}
                Err(e) => return Err(Error::from(e).context(format!("removing {}", object.name))),
            }
        }
        Ok(())
    }

    /// Removes what was being written when a process ended: files beside their names, which no listing shows (local disk).
    /// Those written after `settled` may still be. How many there were.
    ///
    /// # Errors
    /// `Temporary` if a directory or file cannot be looked at.
    pub async fn sweep(&self, settled: DateTime<Utc>) -> Result<u64> {
        match self.url().to_file_path() {
            Ok(root) if self.url().scheme() == "file" => {
                let swept = tokio::task::spawn_blocking(move || durable::sweep(&root, settled.into())).await;
                swept.map_err(|e| Error::internal(e.to_string()))?.context("sweeping what was being written")
            }
            _ => Ok(0),
        }
    }

    pub async fn history(&self, table: &str) -> Result<History> {
        let mut history = History {
            table: table.to_string(),
            lake: self.clone(),
            entries: BTreeMap::new(),
            checkpoints: BTreeMap::new(),
            files: Vec::new(),
        };
        for object in self.stored(table).await? {
            let Some((_, name)) = object.name.split_once("/_delta_log/") else {
                history.files.push(object);
                continue;
            };
            let version = name.get(..20).and_then(|digits| digits.parse::<u64>().ok());
            match version {
                Some(version) if name.get(20..) == Some(".json") => {
                    history.entries.insert(version, object);
                }
                Some(version) if name.contains(".checkpoint.") => {
                    history.checkpoints.entry(version).or_default().push(object);
                }
                _ => {}
            }
        }
        Ok(history)
    }
}

impl History {
    /// Log entries, checkpoints not among them.
    pub fn entries(&self) -> usize {
        self.entries.len()
    }

    /// Files and bytes of data, whether a version names them or not.
    pub fn held(&self) -> (usize, u64) {
        (self.files.len(), self.files.iter().map(|file| file.bytes).sum())
    }

    /// The first version that can be read.
    pub fn first(&self) -> u64 {
        match self.entries.contains_key(&0) {
            true => 0,
            false => self.checkpoints.keys().next().copied().unwrap_or_default(),
        }
    }

    pub fn last_checkpoint(&self) -> Option<u64> {
        self.checkpoints.keys().next_back().copied()
    }

    /// The version that was the newest at an instant; the first that there is, if all are younger.
    pub fn at(&self, instant: DateTime<Utc>) -> u64 {
        let before = self.entries.iter().rev().find(|(_, entry)| entry.written <= instant);
        before.map_or_else(|| self.first(), |(version, _)| *version)
    }

    /// The first version to keep so that `oldest` can be read: the log can only be cut at a checkpoint.
    pub fn cut(&self, oldest: u64) -> u64 {
        self.checkpoints.range(..=oldest).next_back().map_or(self.first(), |(version, _)| *version)
    }

    /// What no version from `cut` on needs. A file that no log entry names may be one that somebody is about to commit:
    /// it counts only if it was written before `settled`.
    pub async fn obsolete(&self, cut: u64, settled: DateTime<Utc>) -> Result<Obsolete> {
        let mut needed = BTreeSet::new();
        if let Some(snapshot) = self.lake.snapshot_at(&self.table, cut).await? {
            for file in snapshot.data_files() {
                needed.insert(Snapshot::path_of(&self.lake, &self.table, &file.path)?);
            }
        }
        let mut named = needed.clone();
        for (version, entry) in &self.entries {
            let Some(content) = self.lake.content(entry).await? else { continue };
            for action in get_actions(*version, &content)? {
                let (path, is_read) = match action {
                    Action::Add(add) => (add.path, *version > cut),
                    // What a version changed is read with that version, never with one after it.
                    Action::Cdc(change) => (change.path, *version >= cut),
                    Action::Remove(remove) => (remove.path, false),
                    _ => continue,
                };
                let path = Snapshot::path_of(&self.lake, &self.table, &path)?;
                if is_read {
                    needed.insert(path.clone());
                }
                named.insert(path);
            }
        }
        let older = self.checkpoints.range(..cut).flat_map(|(_, parts)| parts);
        let mut log: Vec<Stored> = older.cloned().collect();
        log.extend(self.entries.range(..cut).map(|(_, entry)| entry.clone()));
        let gone =
            |file: &&Stored| !needed.contains(&file.path) && (named.contains(&file.path) || file.written < settled);
        Ok(Obsolete { log, files: self.files.iter().filter(gone).cloned().collect() })
    }
}

impl Obsolete {
    pub fn is_empty(&self) -> bool {
        self.log.is_empty() && self.files.is_empty()
    }

    /// The log first: see the head of this module.
    pub async fn remove(&self, lake: &Lake) -> Result<()> {
        lake.remove(&self.log).await?;
        lake.remove(&self.files).await
    }
}

impl Snapshot {
    /// Its files: names below the lake's root, and below the table.
    pub fn objects(&self) -> Result<BTreeMap<String, String>> {
        let root = Path::from_url_path(self.lake().url().path()).map_err(|e| Error::internal(e.to_string()))?;
        let mut objects = BTreeMap::new();
        for file in self.data_files() {
            let path = Snapshot::path_of(self.lake(), self.table(), &file.path)?;
            objects.extend(below(&root, &path).map(|name| (name, file.path.clone())));
        }
        Ok(objects)
    }

    /// Writes a checkpoint of this version, from which it can be read without earlier log entries.
    pub async fn checkpoint(&self) -> Result<()> {
        let mut table = DeltaTable::new(self.log().clone());
        let writing = || format!("a checkpoint of {}", self.table());
        table.load_version(self.version()).await.with_context(writing)?;
        create_checkpoint(&table, None).await.with_context(writing)
    }
}

fn of_object(root: &Path, object: ObjectMeta) -> Option<Stored> {
    Some(Stored {
        name: below(root, &object.location)?,
        bytes: object.size,
        written: object.last_modified,
        path: object.location,
    })
}

fn below(root: &Path, path: &Path) -> Option<String> {
    let parts: Vec<String> = path.prefix_match(root)?.map(|part| part.as_ref().to_string()).collect();
    Some(parts.join("/"))
}
