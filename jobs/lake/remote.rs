//! Storage in the cloud as the lake needs it: commits that are ours are known as ours, failures say what to do about
//! them, and what never changes is fetched once.
//!
//! A log entry is created by a conditional put (`If-None-Match: *`), and of two writers one wins. But a put whose answer
//! is lost may have been made: tried again, it meets itself, and the storage says that somebody else was faster. So a
//! create that fails in any way looks at what is there. Log entries name files that no other commit names, hence the
//! same bytes are the same commit; other bytes are another writer's; and where there is nothing, it is tried again.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error as StoreError, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::failpoint::{self, Point};
use super::recent::{self, Recent};
use crate::error::Error;

/// How often a create is tried that left nothing behind; each of them is retried by the client besides.
const CREATES: u32 = 4;
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// An object store of one bucket.
#[derive(Clone)]
pub(super) struct Remote {
    inner: Arc<dyn ObjectStore>,
    bucket: String,
    recent: Recent,
}

impl Remote {
    /// `bucket` is its URL, for messages.
    pub(super) fn new(inner: Arc<dyn ObjectStore>, bucket: &str) -> Remote {
        Remote { inner, bucket: bucket.to_string(), recent: Recent::default() }
    }

    async fn create(&self, location: &Path, payload: &PutPayload, opts: PutOptions) -> Result<PutResult> {
        let (mut turn, mut wait) = (1, FIRST_WAIT);
        loop {
            let failed = match self.inner.put_opts(location, payload.clone(), opts.clone()).await {
                Ok(done) => return Ok(done),
                Err(error) if is_certain(&error) => return Err(error),
                Err(error) => error,
            };
            match self.inner.get(location).await {
                Ok(found) => {
                    let meta = found.meta.clone();
                    if found.bytes().await? == Bytes::from(payload.clone()) {
                        tracing::debug!(%location, "a put that was reported as failed had been made");
                        return Ok(PutResult { e_tag: meta.e_tag, version: meta.version });
                    }
                    return Err(StoreError::AlreadyExists { path: location.to_string(), source: Box::new(failed) });
                }
                Err(StoreError::NotFound { .. }) if turn < CREATES => {
                    tokio::time::sleep(wait).await;
                    (turn, wait) = (turn + 1, wait * 2);
                }
                Err(_) => return Err(failed),
            }
        }
    }

    fn told(&self, error: StoreError) -> StoreError {
        told(error, &self.bucket)
    }

    /// An object out of [`Recent`], or the part of it that is asked for.
    fn answer(&self, meta: ObjectMeta, bytes: &Bytes, options: &GetOptions) -> Result<GetResult> {
        let whole = 0..bytes.len() as u64;
        let range = match &options.range {
            None => whole,
            Some(range) => range
                .as_range(whole.end)
                .map_err(|e| StoreError::Generic { store: "recent objects", source: Box::new(e) })?,
        };
        let part = bytes.slice(range.start as usize..range.end as usize);
        let payload = GetResultPayload::Stream(futures::stream::once(async move { Ok(part) }).boxed());
        Ok(GetResult { payload, meta, range, attributes: Default::default() })
    }
}

/// Whether a put that failed so was not made, and would not be the next time.
fn is_certain(error: &StoreError) -> bool {
    use StoreError as E;
    matches!(error, E::PermissionDenied { .. } | E::Unauthenticated { .. } | E::NotImplemented { .. })
        || matches!(error, E::NotFound { .. } | E::InvalidPath { .. } | E::NotSupported { .. })
}

/// The same error, with what it means to whoever started the job.
fn told(error: StoreError, bucket: &str) -> StoreError {
    let text = error.to_string();
    let store = "object";
    match error {
        // A job that took the lake for empty because its bucket is missing would not be told so.
        _ if text.contains("NoSuchBucket") || text.contains("ContainerNotFound") => {
            let help = "create it, or name another one with --lake or --raw";
            let ours = Error::definition(format!("the bucket {bucket} does not exist\n  help: {help}"));
            StoreError::Generic { store, source: Box::new(ours) }
        }
        StoreError::PermissionDenied { path, .. } => {
            let source = Box::new(refused(&text, bucket, &path));
            StoreError::PermissionDenied { path, source }
        }
        StoreError::Unauthenticated { path, .. } => {
            let source = Box::new(refused(&text, bucket, &path));
            StoreError::Unauthenticated { path, source }
        }
        // A request that the storage refuses for what it says of its credentials: some answer 400 to an unknown key.
        StoreError::Generic { .. }
            if text.contains("<Code>InvalidAccessKeyId") || text.contains("<Code>AuthorizationHeaderMalformed") =>
        {
            StoreError::Generic { store, source: Box::new(refused(&text, bucket, "")) }
        }
        StoreError::Generic { store, source } => {
            let ours = Error::temporary(format!("the storage {bucket} failed: {source}"));
            StoreError::Generic { store, source: Box::new(ours) }
        }
        other => other,
    }
}

/// Of the answer only code and message are told: the rest of it may repeat the credentials.
fn refused(answer: &str, bucket: &str, path: &str) -> Error {
    let told = |tag: &str| {
        let (_, rest) = answer.split_once(&format!("<{tag}>"))?;
        Some(rest.split_once("</")?.0.to_string())
    };
    let why: Vec<String> = ["Code", "Message"].into_iter().filter_map(told).collect();
    let why = if why.is_empty() { "no reason was given".to_string() } else { why.join(": ") };
    let what = if path.is_empty() { bucket.to_string() } else { format!("{bucket}/{path}") };
    Error::definition(format!(
        "the storage refused access to {what} ({why})\n  expected: credentials that may read, write, list and delete \
         there\n  help: look at the environment variables that the profile names under storage_secrets, and at what \
         their user may do"
    ))
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the inner store: it holds credentials.
        f.debug_struct("Remote").field("bucket", &self.bucket).finish()
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.bucket)
    }
}

fn reach(point: Point, location: &Path) -> Result<()> {
    let failed = |e| StoreError::Generic { store: "fail point", source: Box::new(e) };
    failpoint::reach(point, location.as_ref()).map_err(failed)
}

#[async_trait]
impl ObjectStore for Remote {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        reach(Point::BeforeWrite, location)?;
        let put = match opts.mode {
            PutMode::Create => self.create(location, &payload, opts).await,
            _ => self.inner.put_opts(location, payload.clone(), opts).await,
        };
        let done = put.map_err(|e| self.told(e))?;
        if recent::is_final(location) && payload.content_length() as u64 <= recent::LARGEST {
            let meta = ObjectMeta {
                location: location.clone(),
                last_modified: crate::clock::now(),
                size: payload.content_length() as u64,
                e_tag: done.e_tag.clone(),
                version: done.version.clone(),
            };
            self.recent.keep(meta, &Bytes::from(payload));
        }
        reach(Point::AfterWrite, location)?;
        Ok(done)
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await.map_err(|e| self.told(e))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let conditions = [&options.if_match, &options.if_none_match, &options.version];
        let dated = options.if_modified_since.or(options.if_unmodified_since);
        if conditions.iter().all(|c| c.is_none())
            && dated.is_none()
            && let Some((meta, bytes)) = self.recent.get(location)
        {
            return self.answer(meta, &bytes, &options);
        }
        let is_head = options.head;
        let mut found = self.inner.get_opts(location, options).await.map_err(|e| self.told(e))?;
        let is_whole = !is_head && found.range == (0..found.meta.size) && found.meta.size <= recent::LARGEST;
        if is_whole && recent::is_final(location) {
            let (meta, range, attributes) = (found.meta.clone(), found.range.clone(), found.attributes.clone());
            let bytes = found.bytes().await.map_err(|e| self.told(e))?;
            self.recent.keep(meta.clone(), &bytes);
            let payload = GetResultPayload::Stream(futures::stream::once(async move { Ok(bytes) }).boxed());
            return Ok(GetResult { payload, meta, range, attributes });
        }
        if let GetResultPayload::Stream(stream) = found.payload {
            let bucket = self.bucket.clone();
            let stream = stream.map(move |part| part.map_err(|e| told(e, &bucket))).boxed();
            found.payload = GetResultPayload::Stream(stream);
        }
        Ok(found)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (bucket, recent) = (self.bucket.clone(), self.recent.clone());
        let locations = locations.inspect(move |location| {
            location.iter().for_each(|location| recent.forget(location));
        });
        self.inner.delete_stream(locations.boxed()).map(move |gone| gone.map_err(|e| told(e, &bucket))).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let bucket = self.bucket.clone();
        self.inner.list(prefix).map(move |listed| listed.map_err(|e| told(e, &bucket))).boxed()
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        let bucket = self.bucket.clone();
        self.inner.list_with_offset(prefix, offset).map(move |listed| listed.map_err(|e| told(e, &bucket))).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await.map_err(|e| self.told(e))
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await.map_err(|e| self.told(e))
    }
}
