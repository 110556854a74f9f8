//! The root URL of a lake: its object store and the address of each table.

use std::collections::HashMap;
use std::path::{Component, Path as FsPath, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::execution::runtime_env::RuntimeEnv;
use deltalake::logstore::{LogStoreRef, StorageConfig, commit_uri_from_version, default_logstore};
use deltalake::table::state::DeltaTableState;
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt};
use url::Url;

use super::cloud;
use super::durable::{DurableFileSystem, create_directory};
use super::failpoint;
use super::schema::TableSpec;
use super::snapshot::Snapshot;
use super::writer::Writer;
use crate::error::{Context, Error, Result};

/// Everything Scorehouse writes, below one root. Cheap to clone.
#[derive(Clone)]
pub struct Lake {
    inner: Arc<Inner>,
}

struct Inner {
    /// Ends in a slash.
    root: Url,
    /// From the root of the storage, not of the lake.
    store: Arc<dyn ObjectStore>,
    /// The newest version of each table that this job has seen; only of a lake far away, where it saves round trips.
    newest: Option<Mutex<HashMap<String, DeltaTableState>>>,
}

impl Lake {
    /// Opens the lake at a directory or URL. A local directory is created; `options` are the object store's.
    ///
    /// # Errors
    /// `Temporary` if the directory cannot be created or written to; `Definition` if there is no storage of that kind,
    /// or the path has a `%`.
    pub fn open(root: &str, options: HashMap<String, String>) -> Result<Lake> {
        failpoint::check()?;
        let root = root_url(root)?;
        if root.path().contains("%25") {
            // deltalake's kernel decodes a table's path twice.
            return Err(Error::definition(format!("the lake {root} has a % in its path: name another directory")));
        }
        let (store, newest): (Arc<dyn ObjectStore>, _) = match root.to_file_path() {
            Ok(path) if root.scheme() == "file" => {
                make_writable(&path)?;
                (Arc::new(DurableFileSystem::new()), None)
            }
            _ => (cloud::store(&root, &options)?, Some(Mutex::default())),
        };
        Ok(Lake { inner: Arc::new(Inner { root, store, newest }) })
    }

    /// Makes the storage known to a runtime that reads files of the lake by their URLs. Local files need no telling.
    pub fn register(&self, runtime: &RuntimeEnv) {
        if self.is_remote() {
            runtime.register_object_store(self.url(), Arc::clone(self.store()));
        }
    }

    /// The root, as a URL that ends in a slash.
    pub fn url(&self) -> &Url {
        &self.inner.root
    }

    /// The path of a root as it is, and not as URLs write it.
    pub fn decoded(root: &Url) -> String {
        let path = Path::from_url_path(root.path());
        path.map_or_else(|_| root.path().trim_matches('/').to_string(), |path| path.to_string())
    }

    /// The newest version of a table; `None` where there is no table.
    pub async fn snapshot(&self, table: &str) -> Result<Option<Snapshot>> {
        if let Some(known) = self.known(table)
            && self.is_newest(table, &known).await?
        {
            return Ok(Some(Snapshot::new(self, table, self.log_store(table)?, known)?));
        }
        let loaded = Snapshot::load(self, table, None).await?;
        if let Some(snapshot) = &loaded {
            self.remember(table, snapshot.state());
        }
        Ok(loaded)
    }

    /// A version of a table; `None` where there is no table, or where its history does not reach back to it.
    ///
    /// # Errors
    /// If the table does not have that version yet.
    pub async fn snapshot_at(&self, table: &str, version: u64) -> Result<Option<Snapshot>> {
        match Snapshot::load(self, table, Some(version)).await {
            Err(_) if version < self.history(table).await?.first() => Ok(None),
            loaded => loaded,
        }
    }

    /// A writer on top of the newest version of the table, which is created empty if it is missing.
    ///
    /// # Errors
    /// `Definition` if the table has another partition column, `Temporary` if storage fails.
    pub async fn writer(&self, spec: &TableSpec) -> Result<Writer> {
        Writer::open(self, spec, super::encode::PART, false).await
    }

    /// As [`Self::writer`]; a table that is created now gets a change feed, which [`Writer::changed`] fills.
    pub async fn feed_writer(&self, spec: &TableSpec) -> Result<Writer> {
        Writer::open(self, spec, super::encode::PART, true).await
    }

    pub(super) fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.inner.store
    }

    /// The URL of something below the root; the name's segments are percent-encoded.
    pub(super) fn url_of(&self, name: &str) -> Result<Url> {
        let mut url = self.inner.root.clone();
        let segments: Vec<&str> = name.split('/').filter(|s| !s.is_empty()).collect();
        if segments.is_empty() || segments.iter().any(|s| *s == "." || *s == "..") {
            return Err(Error::definition(format!("{name:?} is not a name inside the lake")));
        }
        url.path_segments_mut()
            .map_err(|()| Error::internal(format!("the lake {} cannot have tables", self.inner.root)))?
            .pop_if_empty()
            .extend(segments);
        Ok(url)
    }

    /// Where something below the root lies in the object store.
    pub(super) fn path_of(&self, name: &str) -> Result<Path> {
        let url = self.url_of(name)?;
        Path::from_url_path(url.path()).map_err(|e| Error::internal(format!("{url}: {e}")))
    }

    pub(super) fn log_store(&self, table: &str) -> Result<LogStoreRef> {
        // Built here rather than looked up by its scheme: deltalake knows of no other than local ones by itself, and
        // it need not know the options, which have secrets.
        let (url, config) = (self.url_of(table)?, StorageConfig::default());
        let below_table = Arc::new(config.decorate_store(Arc::clone(&self.inner.store), &url)?);
        Ok(default_logstore(below_table, Arc::clone(&self.inner.store), &url, &config))
    }

    /// Whether a request to its storage is a round trip through a network.
    pub(super) fn is_remote(&self) -> bool {
        self.inner.newest.is_some()
    }

    /// Notes the newest version of a table, as it was read or committed.
    pub(super) fn remember(&self, table: &str, state: &DeltaTableState) {
        if let Some(newest) = &self.inner.newest {
            newest.lock().unwrap_or_else(PoisonError::into_inner).insert(table.to_string(), state.clone());
        }
    }

    fn known(&self, table: &str) -> Option<DeltaTableState> {
        let newest = self.inner.newest.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        newest.get(table).cloned()
    }

    /// Versions have no gaps: without the next one a version is the newest.
    async fn is_newest(&self, table: &str, known: &DeltaTableState) -> Result<bool> {
        let next = commit_uri_from_version(Some(known.version() + 1));
        let next =
            Path::parse(format!("{}/{next}", self.path_of(table)?)).map_err(|e| Error::internal(e.to_string()))?;
        match self.inner.store.head(&next).await {
            Ok(_) => Ok(false),
            Err(StoreError::NotFound { .. }) => Ok(true),
            Err(e) => Err(Error::from(e).context(format!("looking for a newer version of {table}"))),
        }
    }

    /// Removes objects, as far as it can: what stays is invisible, and `maintain` finds it.
    pub(super) async fn forget(&self, paths: &[Path]) {
        for path in paths {
            if let Err(error) = self.inner.store.delete(path).await {
                tracing::debug!(%path, %error, "an uncommitted file stays behind");
            }
        }
    }
}

impl std::fmt::Debug for Lake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not the options: they hold secrets.
        f.debug_struct("Lake").field("root", &self.inner.root.as_str()).finish()
    }
}

/// A URL that ends in a slash, of a URL or a path.
pub(super) fn root_url(root: &str) -> Result<Url> {
    let url = match Url::parse(root) {
        Ok(url) if url.scheme().len() > 1 => url,
        _ => {
            let path = without_parents(&std::path::absolute(root).with_context(|| format!("the path {root:?}"))?);
            Url::from_directory_path(&path)
                .map_err(|()| Error::definition(format!("{} cannot be written as a URL", path.display())))?
        }
    };
    let mut url = url;
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

/// An absolute path without `..`, which no path of an object store may have. What stands before one is resolved if it is
/// a link, as the system would.
fn without_parents(path: &FsPath) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        if part == Component::ParentDir {
            plain = std::fs::canonicalize(&plain).unwrap_or(plain);
            plain.pop();
        } else {
            plain.push(part);
        }
    }
    plain
}

fn make_writable(path: &FsPath) -> Result<()> {
    let probe = path.join(format!(".probe-{}", uuid::Uuid::new_v4()));
    let tried =
        create_directory(path).and_then(|()| std::fs::write(&probe, b"").and_then(|()| std::fs::remove_file(&probe)));
    tried.map_err(|e| {
        Error::temporary(format!(
            "the lake {} cannot be written to ({e}): give this user write access and space there, \
             or name another directory with --lake",
            path.display()
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lake_may_be_named_from_another_directory() {
        let dir = tempfile::tempdir().unwrap();
        let base = std::fs::canonicalize(dir.path()).unwrap();
        std::fs::create_dir_all(base.join("a/b")).unwrap();
        let beside = format!("{}/", base.join("a/lake").display());
        let to = |text: &str| root_url(base.join(text).to_str().unwrap()).unwrap().path().to_string();
        assert_eq!(to("a/b/../lake"), beside);
        assert_eq!(to("a/./lake/"), beside);
        assert_eq!(to("gone/../a/lake"), beside);
        assert_eq!(root_url("/../..").unwrap().path(), "/");
    }

    #[cfg(unix)]
    #[test]
    fn what_stands_before_the_parent_is_followed_where_it_is_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let base = std::fs::canonicalize(dir.path()).unwrap();
        std::fs::create_dir_all(base.join("far/away")).unwrap();
        std::os::unix::fs::symlink(base.join("far/away"), base.join("near")).unwrap();
        let url = root_url(base.join("near/../lake").to_str().unwrap()).unwrap();
        assert_eq!(url.path(), format!("{}/", base.join("far/lake").display()));
    }
}
