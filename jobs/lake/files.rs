//! Directories of plain files, such as a model's artifact: written once, complete or not there.
//!
//! The last file written is the list of the others with their checksums. A directory without it does not exist as far
//! as a reader is concerned, so a crash on the way leaves nothing half-written to be seen, on any object store.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt, PutPayload};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::root::Lake;
use crate::error::{Context, Error, Result};

const LIST: &str = "_files.json";

#[derive(Serialize, Deserialize, PartialEq)]
struct Listed {
    bytes: u64,
    sha256: String,
}

impl Lake {
    /// Writes a directory of files. The same files again are a no-op.
    ///
    /// # Errors
    /// `Internal` if the directory is complete with other content: artifacts never change.
    pub async fn put_files(&self, dir: &str, files: Vec<(String, Vec<u8>)>) -> Result<()> {
        let list: BTreeMap<String, Listed> = files.iter().map(|(name, bytes)| (name.clone(), listed(bytes))).collect();
        if list.len() != files.len() || list.contains_key(LIST) {
            return Err(Error::internal(format!("{dir}: two files of one name, or one named {LIST}")));
        }
        if let Some(found) = self.list_of(dir).await? {
            if found == list {
                return Ok(());
            }
            return Err(Error::internal(format!(
                "{dir} has other content already and is never overwritten; write another version"
            )));
        }
        for (name, bytes) in files {
            self.put_file(dir, &name, bytes).await?;
        }
        self.put_file(dir, LIST, serde_json::to_vec_pretty(&list)?).await
    }

    /// The files of a directory, by name; `None` where there is no complete one.
    ///
    /// # Errors
    /// `Data` if a file is not what was written.
    pub async fn get_files(&self, dir: &str) -> Result<Option<BTreeMap<String, Vec<u8>>>> {
        let Some(list) = self.list_of(dir).await? else { return Ok(None) };
        let mut files = BTreeMap::new();
        for (name, expected) in list {
            let bytes = self.get_file(dir, &name).await?;
            let Some(bytes) = bytes.filter(|bytes| listed(bytes) == expected) else {
                return Err(Error::data(format!(
                    "{dir}/{name} is not what was written (its checksum differs, or it is gone): restore it"
                )));
            };
            files.insert(name, bytes);
        }
        Ok(Some(files))
    }

    /// Writes files of a directory anew that `rename` gives another text. The list comes first: until the last file is
    /// written the directory cannot be read, and is renamed once more by a run that goes on.
    pub async fn rewrite_files(&self, dir: &str, rename: impl Fn(&str) -> Option<String>) -> Result<()> {
        let Some(mut list) = self.list_of(dir).await? else { return Ok(()) };
        let mut changed = Vec::new();
        for (name, listed_as) in &mut list {
            let Some(bytes) = self.get_file(dir, name).await? else { continue };
            let text = String::from_utf8(bytes).ok().and_then(|text| rename(&text));
            if let Some(text) = text {
                *listed_as = listed(text.as_bytes());
                changed.push((name.clone(), text.into_bytes()));
            }
        }
        self.put_file(dir, LIST, serde_json::to_vec_pretty(&list)?).await?;
        for (name, bytes) in changed {
            self.put_file(dir, &name, bytes).await?;
        }
        Ok(())
    }

    /// The names of the directories right below `dir`, sorted.
    pub async fn directories(&self, dir: &str) -> Result<Vec<String>> {
        let listed = self.store().list_with_delimiter(Some(&self.path_of(dir)?)).await;
        let listed = match listed {
            Err(StoreError::NotFound { .. }) => return Ok(Vec::new()),
            other => other.with_context(|| dir.to_string())?,
        };
        let mut names: Vec<String> =
            listed.common_prefixes.iter().filter_map(|p| p.filename().map(String::from)).collect();
        names.sort();
        Ok(names)
    }

    async fn list_of(&self, dir: &str) -> Result<Option<BTreeMap<String, Listed>>> {
        match self.get_file(dir, LIST).await? {
            Some(bytes) => Ok(Some(serde_json::from_slice(&bytes).with_context(|| format!("{dir}/{LIST}"))?)),
            None => Ok(None),
        }
    }

    async fn get_file(&self, dir: &str, name: &str) -> Result<Option<Vec<u8>>> {
        let path = self.file(dir, name)?;
        match self.store().get(&path).await {
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(e) => Err(Error::from(e).context(format!("reading {path}"))),
            Ok(found) => {
                let parts: Vec<bytes::Bytes> =
                    found.into_stream().try_collect().await.with_context(|| format!("reading {path}"))?;
                Ok(Some(parts.concat()))
            }
        }
    }

    async fn put_file(&self, dir: &str, name: &str, bytes: Vec<u8>) -> Result<()> {
        let path = self.file(dir, name)?;
        self.store().put(&path, PutPayload::from(bytes)).await.with_context(|| format!("writing {path}"))?;
        Ok(())
    }

    fn file(&self, dir: &str, name: &str) -> Result<Path> {
        self.path_of(&format!("{dir}/{name}"))
    }
}

fn listed(bytes: &[u8]) -> Listed {
    let sha256 = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    Listed { bytes: bytes.len() as u64, sha256 }
}
