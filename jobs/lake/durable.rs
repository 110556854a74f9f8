//! A local object store whose writes survive a power cut.
//!
//! `object_store`'s local store writes a file and links it into place, but syncs nothing: after a power cut the log
//! entry may be there and empty, or name data files that are. Here every put syncs the file before it gets its name,
//! and the directories after. Reads, lists and deletes are the local store's own.

use std::fmt;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};

use super::failpoint::{self, Point};

const STORE: &str = "DurableFileSystem";

/// The file system from `/`, with puts that are on disk when they return.
#[derive(Debug, Clone)]
pub(super) struct DurableFileSystem {
    inner: Arc<LocalFileSystem>,
}

impl DurableFileSystem {
    pub(super) fn new() -> Self {
        DurableFileSystem { inner: Arc::new(LocalFileSystem::new()) }
    }

    async fn put_durably(&self, location: &Path, payload: PutPayload, mode: PutMode) -> Result<PutResult> {
        let target = self.inner.path_to_filesystem(location)?;
        let create = match mode {
            PutMode::Create => true,
            PutMode::Overwrite => false,
            PutMode::Update(_) => {
                return Err(Error::NotImplemented {
                    operation: "put with PutMode::Update".into(),
                    implementer: STORE.into(),
                });
            }
        };
        let place = location.to_string();
        tokio::task::spawn_blocking(move || put(&target, &payload, create).map_err(|e| place_error(place, e)))
            .await
            .map_err(|e| Error::Generic { store: STORE, source: Box::new(e) })??;
        Ok(PutResult { e_tag: None, version: None })
    }
}

/// Writes beside the target, syncs, gives it its name, syncs the directory.
fn put(target: &FsPath, payload: &PutPayload, create: bool) -> std::io::Result<()> {
    let name = target.to_string_lossy();
    failpoint::reach(Point::BeforeWrite, &name)?;
    let parent = target.parent().unwrap_or(FsPath::new("/"));
    create_directory(parent)?;
    // The local store hides names that end in `#` and digits from its lists.
    let staged = PathBuf::from(format!("{}#{}", target.display(), uuid::Uuid::new_v4().as_u128() as u64));
    let written = (|| {
        let mut file = File::create_new(&staged)?;
        payload.iter().try_for_each(|part| file.write_all(part))?;
        file.sync_all()?;
        if create { fs::hard_link(&staged, target) } else { fs::rename(&staged, target) }
    })();
    if create || written.is_err() {
        let _ = fs::remove_file(&staged);
    }
    written?;
    failpoint::reach(Point::AfterWrite, &name)?;
    sync_directory(parent)
}

/// Removes files that were being written, and have no name of their own, if they are older than `settled`; how many.
pub(super) fn sweep(root: &FsPath, settled: SystemTime) -> std::io::Result<u64> {
    let mut swept = 0;
    let entries = match fs::read_dir(root) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            swept += sweep(&entry.path(), settled)?;
        } else if is_staged(&entry.file_name().to_string_lossy()) && entry.metadata()?.modified()? < settled {
            match fs::remove_file(entry.path()) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
                _ => swept += 1,
            }
        }
    }
    Ok(swept)
}

/// As [`put`] calls a file that it has not finished.
fn is_staged(name: &str) -> bool {
    let digits = name.rsplit_once('#').map(|(_, digits)| digits);
    digits.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// `mkdir -p` whose new directories are on disk when it returns.
pub(super) fn create_directory(path: &FsPath) -> std::io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        create_directory(parent)?;
        match fs::create_dir(path) {
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists && path.is_dir() => {}
            other => other?,
        }
        sync_directory(parent)?;
    }
    Ok(())
}

fn sync_directory(path: &FsPath) -> std::io::Result<()> {
    File::open(path)?.sync_all()
}

fn place_error(path: String, source: std::io::Error) -> Error {
    let kind = source.kind();
    let source = Box::new(source);
    match kind {
        std::io::ErrorKind::AlreadyExists => Error::AlreadyExists { path, source },
        std::io::ErrorKind::PermissionDenied => Error::PermissionDenied { path, source },
        _ => Error::Generic { store: STORE, source },
    }
}

impl fmt::Display for DurableFileSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(STORE)
    }
}

#[async_trait]
impl ObjectStore for DurableFileSystem {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.put_durably(location, payload, opts.mode).await
    }

    /// Parts are collected in memory: only checkpoints come this way, and they are small.
    async fn put_multipart_opts(&self, location: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Ok(Box::new(Upload { store: self.clone(), location: location.clone(), parts: Vec::new() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[std::ops::Range<u64>]) -> Result<Vec<bytes::Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[derive(Debug)]
struct Upload {
    store: DurableFileSystem,
    location: Path,
    parts: Vec<PutPayload>,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.parts.push(data);
        Box::pin(async { Ok(()) })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let whole: PutPayload = self.parts.drain(..).flatten().collect();
        self.store.put_durably(&self.location, whole, PutMode::Overwrite).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.parts.clear();
        Ok(())
    }
}
