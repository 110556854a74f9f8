//! The note of a rotation under way, `rotation/under-way.json`: which keys, and what else a run that goes on must know.
//! While it is there every other job refuses to run, because pseudonyms of two keys do not join.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::error::{Context, Error, Result};
use crate::lake::Lake;
use crate::pipeline::ingest::rekey::{Keys, fingerprint_of, is_of};

pub const FOLDER: &str = "rotation";
const NOTE: &str = "rotation/under-way.json";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Marker {
    /// Names the rotation, however many runs it takes.
    pub id: String,
    pub started_at: DateTime<Utc>,
    /// Fingerprints of the keys.
    pub old_key: String,
    pub new_key: String,
    /// Old pseudonyms whose raw values are lost, and that are pseudonymised once more themselves.
    pub lost: Vec<String>,
}

impl Marker {
    pub fn new(run_id: &str, old_key: &str, keys: &Keys) -> Result<Marker> {
        Ok(Marker {
            id: run_id.to_string(),
            started_at: clock::now(),
            old_key: old_key.to_string(),
            new_key: fingerprint_of(&keys.new)?,
            lost: Vec::new(),
        })
    }

    pub async fn read(lake: &Lake) -> Result<Option<Marker>> {
        let notes = lake.notes(FOLDER).await?;
        let Some((_, text)) = notes.into_iter().find(|(name, _)| name == NOTE) else { return Ok(None) };
        Ok(Some(serde_json::from_str(&text).with_context(|| format!("the note {NOTE}"))?))
    }

    pub async fn write(&self, lake: &Lake) -> Result<()> {
        lake.put_note(NOTE, serde_json::to_string(self)?).await
    }

    pub async fn remove(lake: &Lake) -> Result<()> {
        lake.remove_note(NOTE).await
    }

    /// # Errors
    /// `Definition` if these are not the keys that it was begun with.
    pub fn check(&self, keys: &Keys, (old, new): (&str, &str)) -> Result<()> {
        let wrong = match (is_of(&self.old_key, &keys.old)?, is_of(&self.new_key, &keys.new)?) {
            (true, true) => return Ok(()),
            (false, _) => old,
            (true, false) => new,
        };
        Err(Error::definition(format!(
            "the rotation begun at {} was begun with other keys\n  found: another one in {wrong}\n  expected: the same \
             two keys, so that it can be completed",
            self.started_at.format("%Y-%m-%d %H:%M:%SZ")
        )))
    }
}

/// Every job but a rotation asks this when it begins.
///
/// # Errors
/// `Temporary` while a rotation of the key of pseudonyms is under way.
pub async fn refuse(lake: &Lake) -> Result<()> {
    match Marker::read(lake).await? {
        None => Ok(()),
        Some(marker) => Err(Error::temporary(format!(
            "the key of pseudonyms is being rotated since {}\n  help: wait for it; if it was killed, run `scorehouse \
             maintain --rotate-key` again with the same keys, and it is completed",
            marker.started_at.format("%Y-%m-%d %H:%M:%SZ")
        ))),
    }
}
