//! Raw input files: listed by location pattern, read, never modified.

use std::collections::HashMap;
use std::path::{Path as FsPath, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use chrono::NaiveDate;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use url::Url;

use super::cloud;
use super::glob::Pattern;
use super::root::root_url;
use crate::error::{Context, Error, Result};

/// A file is read as a whole, so it must fit.
const MOST_BYTES: u64 = 8 << 30;

/// The root of the raw input.
#[derive(Debug, Clone)]
pub struct Raw {
    root: String,
    storage: Storage,
}

#[derive(Debug, Clone)]
enum Storage {
    /// Read by `std::fs`: an object store's paths cannot name every file that a directory can have.
    Local(PathBuf),
    Remote {
        store: Arc<dyn ObjectStore>,
        prefix: Path,
        held: Arc<Held>,
    },
}

/// Files that were read once: an ingest looks at a file to tell whether it is new, and then reads its rows.
#[derive(Debug, Default)]
struct Held {
    files: Mutex<HashMap<Path, Bytes>>,
}

/// What is held at most, and what is on its way at once.
const ROOM: u64 = 128 << 20;
/// Requests at once; more do not help.
const AT_ONCE: u64 = 16;

impl Held {
    /// Keeps a file until it is read again, if there is room.
    fn keep(&self, path: &Path, bytes: &Bytes) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let held: u64 = files.values().map(|bytes| bytes.len() as u64).sum();
        if held + bytes.len() as u64 <= ROOM {
            files.insert(path.clone(), bytes.clone());
        }
    }

    fn take(&self, path: &Path) -> Option<Bytes> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).remove(path)
    }
}

/// A raw file that matched a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawFile {
    /// Below the root, segments separated by `/`.
    pub path: String,
    /// What stood for `{date}`; `None` without one, and for Hive's name of no date.
    pub date: Option<NaiveDate>,
    /// Bytes.
    pub size: u64,
    /// Entity tag, or time of modification: together with the size it says that a file has not changed.
    pub stamp: String,
}

impl Raw {
    /// `root` is a directory or a URL. It need not exist: then it has no files.
    pub fn open(root: &str, options: &HashMap<String, String>) -> Result<Raw> {
        let url = root_url(root)?;
        let storage = match url.to_file_path() {
            Ok(path) if url.scheme() == "file" => Storage::Local(path),
            _ => {
                let prefix = Path::from_url_path(url.path()).map_err(|e| Error::definition(format!("{url}: {e}")))?;
                Storage::Remote { store: cloud::store(&url, options)?, prefix, held: Arc::default() }
            }
        };
        Ok(Raw { root: root.to_string(), storage })
    }

    /// The root as a URL that ends in a slash.
    pub fn url(&self) -> Result<Url> {
        root_url(&self.root)
    }

    /// Where this is, for messages.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// The files that match a location pattern, by path. A directory that is not there has none.
    ///
    /// # Errors
    /// `Temporary` if a directory cannot be listed; `Data` if a name is not Unicode.
    pub async fn list(&self, pattern: &str) -> Result<Vec<RawFile>> {
        let matcher = Pattern::new(pattern);
        let listed = match &self.storage {
            Storage::Local(root) => {
                let (root, matcher) = (root.clone(), matcher.clone());
                blocking(move || list_local(&root, &matcher)).await?
            }
            Storage::Remote { store, prefix, .. } => list_remote(store.as_ref(), prefix, &matcher).await?,
        };
        let mut files: Vec<RawFile> = listed
            .into_iter()
            .filter_map(|(path, size, stamp)| {
                let date = matcher.matches(&path)?.date;
                Some(RawFile { path, date, size, stamp })
            })
            .collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    /// How many files of up to so many bytes to read at once: one per thread from a disk, more from far away.
    pub fn at_once(&self, threads: usize, largest: u64) -> usize {
        match &self.storage {
            Storage::Local(_) => threads,
            Storage::Remote { .. } => threads.max((ROOM / largest.max(1)).min(AT_ONCE) as usize),
        }
    }

    /// The content of a file. From far away it is fetched at every other time: the second reader gets what the first
    /// one got.
    ///
    /// # Errors
    /// `Data` if it is nothing that can be held as a whole: a pipe, a device, or too large; `Temporary` if it is gone.
    pub async fn read(&self, path: &str) -> Result<Bytes> {
        let reading = || format!("reading {}/{path}", self.root.trim_end_matches('/'));
        match &self.storage {
            Storage::Local(root) => {
                let full = root.join(path);
                blocking(move || read_local(&full)).await.with_context(reading)
            }
            Storage::Remote { store, prefix, held } => {
                let full = below(prefix, path)?;
                if let Some(bytes) = held.take(&full) {
                    return Ok(bytes);
                }
                let found = store.get(&full).await.with_context(reading)?;
                holdable(found.meta.size).with_context(reading)?;
                let bytes = found.bytes().await.with_context(reading)?;
                held.keep(&full, &bytes);
                Ok(bytes)
            }
        }
    }
}

/// Not by opening it: to open a pipe is to wait for whoever writes into it.
fn read_local(path: &FsPath) -> Result<Bytes> {
    let meta = std::fs::metadata(path)?;
    if !meta.is_file() {
        return Err(Error::data("a pipe or device where a file was expected\n  help: remove it, or narrow `location`"));
    }
    holdable(meta.len())?;
    Ok(Bytes::from(std::fs::read(path)?))
}

fn holdable(size: u64) -> Result<()> {
    if size <= MOST_BYTES {
        return Ok(());
    }
    Err(Error::data(format!(
        "a file of {size} bytes\n  expected: at most {MOST_BYTES}, for files are read as a whole\n  help: deliver it in \
         parts"
    )))
}

/// Path, size and stamp of every file that may match.
type Listed = Vec<(String, u64, String)>;

fn list_local(root: &FsPath, pattern: &Pattern) -> Result<Listed> {
    let prefix = pattern.prefix().join("/");
    let mut found = Vec::new();
    let mut waiting = vec![Waiting { below: prefix, level: 1, jumps: Vec::new() }];
    while let Some(Waiting { below, level, jumps }) = waiting.pop() {
        let directory = root.join(&below);
        let entries = match std::fs::read_dir(&directory) {
            Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => continue,
            other => other.with_context(|| format!("listing {}", directory.display()))?,
        };
        for entry in entries {
            let entry = entry.with_context(|| format!("listing {}", directory.display()))?;
            let name = entry.file_name().into_string().map_err(|name| {
                Error::data(format!("the name of {} is not Unicode: rename it", directory.join(&name).display()))
            })?;
            let path = if below.is_empty() { name } else { format!("{below}/{name}") };
            // Follows links, as whoever linked a file here expects.
            let meta = match std::fs::metadata(entry.path()) {
                // A link to nowhere, or to itself.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound || e.raw_os_error() == Some(libc::ELOOP) => continue,
                other => other.with_context(|| entry.path().display().to_string())?,
            };
            if meta.is_dir() {
                let deeper = pattern.depth().is_none_or(|depth| level < depth);
                if deeper && let Some(jumps) = followed(&directory, &entry, &jumps)? {
                    waiting.push(Waiting { below: path, level: level + 1, jumps });
                }
            } else {
                found.push((path, meta.len(), stamp(&meta)));
            }
        }
    }
    Ok(found)
}

/// A directory to be listed, and the real directories from which links led there.
struct Waiting {
    below: String,
    level: usize,
    jumps: Vec<PathBuf>,
}

/// The jumps after a directory's entry has been entered; `None` where that would only lead back.
fn followed(directory: &FsPath, entry: &std::fs::DirEntry, jumps: &[PathBuf]) -> Result<Option<Vec<PathBuf>>> {
    let kind = entry.file_type().with_context(|| entry.path().display().to_string())?;
    if !kind.is_symlink() {
        return Ok(Some(jumps.to_vec()));
    }
    let real = |path: &FsPath| path.canonicalize().with_context(|| path.display().to_string());
    let (here, target) = (real(directory)?, real(&entry.path())?);
    if jumps.iter().chain([&here]).any(|from| from.starts_with(&target)) {
        tracing::warn!(link = %entry.path().display(), "a link that leads back to where it is: not followed");
        return Ok(None);
    }
    Ok(Some(jumps.iter().cloned().chain([here]).collect()))
}

fn stamp(meta: &std::fs::Metadata) -> String {
    let since = meta.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    since.map_or_else(String::new, |since| format!("{}.{:09}", since.as_secs(), since.subsec_nanos()))
}

async fn list_remote(store: &dyn ObjectStore, root: &Path, pattern: &Pattern) -> Result<Listed> {
    let start = below(root, &pattern.prefix().join("/"))?;
    let objects: Vec<_> = store.list(Some(&start)).try_collect().await.with_context(|| format!("listing {start}"))?;
    let listed = objects.into_iter().filter_map(|object| {
        let parts: Vec<_> = object.location.prefix_match(root)?.map(|part| part.as_ref().to_string()).collect();
        let stamp = object.e_tag.unwrap_or_else(|| object.last_modified.to_rfc3339());
        Some((parts.join("/"), object.size, stamp))
    });
    Ok(listed.collect())
}

fn below(root: &Path, path: &str) -> Result<Path> {
    let full = format!("{root}/{path}");
    Path::parse(full.trim_matches('/')).map_err(|e| Error::data(format!("{full}: {e}")))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Error::internal(format!("a reader ended: {e}")))?
}
