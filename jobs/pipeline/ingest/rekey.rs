//! What a rotation of the key of pseudonyms asks of ingest: which key the lake has, the values behind its pseudonyms,
//! and which of the files that had them are there no more.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use super::Night;
use super::form::{Opened, guarded};
use super::key;
use super::manifest::Manifest;
use super::rows::{RowReader, pseudonyms};
use crate::clock;
use crate::define::Source;
use crate::define::source::Pii;
use crate::error::{Error, Kind, Result};
use crate::lake::RawFile;
use crate::pipeline::job::Job;

/// The key until now, and the key from now on.
#[derive(Clone)]
pub struct Keys {
    pub old: Vec<u8>,
    pub new: Vec<u8>,
}

/// The files of a source that could not be read, and those that are gone or changed since they were ingested.
#[derive(Debug, Default)]
pub struct Files {
    pub read: u64,
    pub unreadable: Vec<String>,
    pub gone: BTreeSet<String>,
}

/// The key in an environment variable.
///
/// # Errors
/// `Definition` if there is none, or a short one.
pub fn key_in(variable: &str) -> Result<Vec<u8>> {
    let key = clock::env(variable).filter(|key| !key.is_empty()).ok_or_else(|| {
        Error::definition(format!("the environment variable {variable} is not set; a key of pseudonyms was expected"))
    })?;
    if key.len() < key::LEAST_BYTES {
        let (found, least) = (key.len(), key::LEAST_BYTES);
        let message = format!("the key of pseudonyms in {variable} is too short\n  found: {found} bytes");
        return Err(Error::definition(format!("{message}\n  expected: {least} or more")));
    }
    Ok(key.into_bytes())
}

/// The columns of a source that are pseudonymised.
pub fn columns(source: &Source) -> impl Iterator<Item = &str> {
    let all = source.columns.iter().filter(|(_, column)| column.pii == Some(Pii::Pseudonymise));
    all.map(|(name, _)| name.as_str())
}

/// The fingerprint of the lake's key; `None` if no row was pseudonymised yet.
pub async fn recorded(job: &Job) -> Result<Option<String>> {
    Ok(manifest(job).await?.keyed().and_then(|entry| entry.pii_key.clone()))
}

/// Completes the manifest of runs that did not end.
pub async fn complete(job: &Job) -> Result<()> {
    manifest(job).await?.commit(&job.lake, &job.session()?).await
}

/// Whether a fingerprint is that of a key.
pub fn is_of(fingerprint: &str, key: &[u8]) -> Result<bool> {
    let salt = fingerprint.split_once(':').map_or("", |(salt, _)| salt);
    Ok(key::salted(key, salt)? == fingerprint)
}

/// A fingerprint of a key that the lake does not have yet.
pub fn fingerprint_of(key: &[u8]) -> Result<String> {
    key::salted(key, &uuid::Uuid::new_v4().simple().to_string())
}

/// Gives every pseudonym of a source's raw files, as the old key makes it and as the new one does.
pub async fn pairs(job: &Job, source: &Source, keys: &Keys, mut each: impl FnMut(&str, &str)) -> Result<Files> {
    let session = job.session()?;
    let night = Night {
        lake: &job.lake,
        raw: &job.raw,
        session: &session,
        date: job.date,
        run_id: &job.run_id,
        // Nothing is written.
        entities: BTreeSet::new(),
        pii_key: None,
        pii_variable: &job.profile.pii_key,
        rows_at_once: 0,
    };
    let reader = Arc::new(RowReader::new(&night, source)?);
    let listed = job.raw.list(&source.location).await?;
    let mut files = Files { gone: gone(&manifest(job).await?, source, &listed), ..Files::default() };
    let work = listed.into_iter().map(|file| {
        let (reader, keys) = (Arc::clone(&reader), keys.clone());
        async move {
            let bytes = match job.raw.read(&file.path).await {
                Ok(bytes) => bytes,
                Err(e) if e.kind() == Kind::Data => return Ok((file.path, Err(e))),
                Err(e) => return Err(e),
            };
            let path = file.path.clone();
            let read = guarded(move || of_file(&reader, &path, bytes, &keys)).await;
            Ok::<_, Error>((file.path, read))
        }
    });
    let mut results = stream::iter(work).buffered(job.threads());
    while let Some((path, read)) = results.try_next().await? {
        match read {
            Ok(columns) => {
                files.read += 1;
                for (old, new) in columns {
                    let (old, new) = (old.as_string::<i32>(), new.as_string::<i32>());
                    old.iter().zip(new).filter_map(|(old, new)| old.zip(new)).for_each(|(old, new)| each(old, new));
                }
            }
            Err(error) if error.kind() == Kind::Data => files.unreadable.push(path),
            Err(error) => return Err(error.context(path)),
        }
    }
    Ok(files)
}

/// The pseudonyms of a file's columns by both keys. Blocks.
fn of_file(reader: &RowReader, path: &str, bytes: Bytes, keys: &Keys) -> Result<Vec<(ArrayRef, ArrayRef)>> {
    let names: Vec<&str> = columns(&reader.source).collect();
    let wanted: Vec<&str> = reader.source.raw_columns().map(|(name, _)| name.as_str()).collect();
    let mut pairs = Vec::new();
    for piece in Opened::new(&reader.source, path, bytes)?.read(&wanted)? {
        let (batch, _) = reader.whole(&piece?.batch)?;
        for name in &names {
            let column = batch.column_by_name(name).ok_or_else(|| Error::internal(format!("no column {name}")))?;
            pairs.push((pseudonyms(column, &keys.old)?, pseudonyms(column, &keys.new)?));
        }
    }
    Ok(pairs)
}

async fn manifest(job: &Job) -> Result<Manifest> {
    let mut manifest = Manifest::load(&job.lake, &job.session()?).await?;
    for source in job.project.sources.values() {
        manifest.recover(&job.lake, &source.name).await?;
    }
    Ok(manifest)
}

/// Where contents lay that were ingested, and lie nowhere now.
fn gone(manifest: &Manifest, source: &Source, listed: &[RawFile]) -> BTreeSet<String> {
    let entries: Vec<_> = manifest.ingested(&source.name).collect();
    let there = |path: &str| listed.iter().find(|file| file.path == path);
    let kept: BTreeSet<&str> = entries
        .iter()
        .filter(|entry| there(&entry.path).is_some_and(|file| entry.is_of(file)))
        .map(|entry| entry.checksum.as_str())
        .collect();
    entries.iter().filter(|entry| !kept.contains(entry.checksum.as_str())).map(|entry| entry.path.clone()).collect()
}
