//! Notes: small files that say what is going on now, such as which runs are under way. They come and go; nothing that
//! is computed depends on one.

use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt, PutPayload};

use super::root::Lake;
use crate::error::{Context, Result};

impl Lake {
    /// Writes a note, or another text over it.
    pub async fn put_note(&self, name: &str, text: String) -> Result<()> {
        let path = self.path_of(name)?;
        self.store().put(&path, PutPayload::from(text)).await.with_context(|| format!("writing {path}"))?;
        Ok(())
    }

    /// The notes right below `dir` with their texts, by name; those that go while it looks are not among them.
    pub async fn notes(&self, dir: &str) -> Result<Vec<(String, String)>> {
        let listed = match self.store().list_with_delimiter(Some(&self.path_of(dir)?)).await {
            Err(StoreError::NotFound { .. }) => return Ok(Vec::new()),
            other => other.with_context(|| dir.to_string())?,
        };
        let mut notes = Vec::new();
        for object in listed.objects {
            let Some(name) = object.location.filename() else { continue };
            let found = match self.store().get(&object.location).await {
                Err(StoreError::NotFound { .. }) => continue,
                other => other.with_context(|| format!("reading {}", object.location))?,
            };
            let bytes = found.bytes().await.with_context(|| format!("reading {}", object.location))?;
            notes.push((format!("{dir}/{name}"), String::from_utf8_lossy(&bytes).into_owned()));
        }
        notes.sort();
        Ok(notes)
    }

    /// Removes a note; that it is gone already is no error.
    pub async fn remove_note(&self, name: &str) -> Result<()> {
        let path = self.path_of(name)?;
        match self.store().delete(&path).await {
            Ok(()) | Err(StoreError::NotFound { .. }) => Ok(()),
            Err(e) => Err(e).with_context(|| format!("removing {path}")),
        }
    }
}
