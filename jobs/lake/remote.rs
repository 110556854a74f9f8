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
use futures::stream::BoxStream;
use futures::{StreamExt, TryFutureExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error as StoreError, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::failpoint::{self, Point};
use super::recent::{self, Recent};
use crate::error::{Error, STORAGE_FAILED, STORAGE_REFUSED};

/// How often a create is tried that left nothing behind; each of them is retried by the client besides.
const CREATES: u32 = 4;
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// How often a question is asked whose answer breaks off, and how soon such an answer comes.
const TURNS: u32 = 4;
const AT_ONCE: Duration = Duration::from_secs(1);

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
    let generic = |ours: Error| StoreError::Generic { store: "object", source: Box::new(ours) };
    // A job that took the lake for empty because its bucket is missing would not be told so.
    if text.contains("NoSuchBucket") || text.contains("ContainerNotFound") {
        let help = "create it, or name another one with --lake or --raw";
        let what = format!("{STORAGE_REFUSED}the bucket {bucket} does not exist\n  help: {help}");
        return generic(Error::definition(what));
    }
    match error {
        StoreError::PermissionDenied { path, .. } | StoreError::Unauthenticated { path, .. } => {
            generic(refused(&text, bucket, &path))
        }
        // Lists say it in their own way, and some storages answer 400 to a key that they do not know.
        StoreError::Generic { .. } if REFUSALS.iter().any(|words| text.contains(words)) => {
            generic(refused(&text, bucket, ""))
        }
        StoreError::Generic { store, source } => {
            let ours = Error::temporary(format!("{STORAGE_FAILED}{bucket}: {source}"));
            StoreError::Generic { store, source: Box::new(ours) }
        }
        other => other,
    }
}

/// How an answer says that it is about the keys.
const REFUSALS: [&str; 4] =
    ["status code: 401", "status code: 403", "<Code>InvalidAccessKeyId", "<Code>AuthorizationHeaderMalformed"];

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
        "{STORAGE_REFUSED}access to {what} ({why})\n  expected: credentials that may read, write, list and delete \
         there\n  help: look at the environment variables that the profile names under storage_secrets, and at what \
         their user may do"
    ))
}

/// Asks again for what may be asked for again, where the client does not: it gives up at once when an answer breaks off
/// that is no file. What failed slowly it has tried often enough.
async fn again<T, F: Future<Output = Result<T>>>(ask: impl Fn() -> F) -> Result<T> {
    let (mut turn, mut wait) = (1, FIRST_WAIT);
    loop {
        let began = crate::clock::instant();
        match ask().await {
            Err(StoreError::Generic { .. }) if turn < TURNS && began.elapsed() < AT_ONCE => {
                tokio::time::sleep(wait).await;
                (turn, wait) = (turn + 1, wait * 2);
            }
            done => return done,
        }
    }
}

/// A list, whole: there is no going on in the middle of one.
fn listed(
    list: impl Fn() -> BoxStream<'static, Result<ObjectMeta>> + Send + Sync + 'static,
    bucket: String,
) -> BoxStream<'static, Result<ObjectMeta>> {
    let whole = async move {
        let all = again(|| list().try_collect::<Vec<ObjectMeta>>()).await.map_err(|e| told(e, &bucket))?;
        Ok::<_, StoreError>(futures::stream::iter(all.into_iter().map(Ok)))
    };
    whole.try_flatten_stream().boxed()
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
        let mut found = again(|| self.inner.get_opts(location, options.clone())).await.map_err(|e| self.told(e))?;
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
        let (inner, prefix) = (Arc::clone(&self.inner), prefix.cloned());
        listed(move || inner.list(prefix.as_ref()), self.bucket.clone())
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        let (inner, prefix, offset) = (Arc::clone(&self.inner), prefix.cloned(), offset.clone());
        listed(move || inner.list_with_offset(prefix.as_ref(), &offset), self.bucket.clone())
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        again(|| self.inner.list_with_delimiter(prefix)).await.map_err(|e| self.told(e))
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await.map_err(|e| self.told(e))
    }
}
