//! Documents: files that people read, each replaced as a whole. What a reader opens is the old one or the new one.

use object_store::{Error as StoreError, ObjectStoreExt, PutPayload};

use super::root::Lake;
use crate::error::{Context, Result};

impl Lake {
    /// Writes a document over what was there, in one step; whether it is another than before. The same content again
    /// writes nothing.
    pub async fn put_document(&self, name: &str, content: Vec<u8>) -> Result<bool> {
        let path = self.path_of(name)?;
        let before = match self.store().get(&path).await {
            Err(StoreError::NotFound { .. }) => None,
            found => {
                let reading = || format!("reading {path}");
                Some(found.with_context(reading)?.bytes().await.with_context(reading)?)
            }
        };
        if before.is_some_and(|before| before == content) {
            return Ok(false);
        }
        self.store().put(&path, PutPayload::from(content)).await.with_context(|| format!("writing {path}"))?;
        Ok(true)
    }
}
