//! The key of pseudonyms: long enough, and the same every night.
//!
//! Pseudonyms of two keys do not join, and nothing about them shows it. So each entry of the manifest keeps a
//! fingerprint of the key that its rows were pseudonymised with, from which the key cannot be told, and a night with
//! another key is refused.

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::Night;
use super::manifest::Manifest;
use crate::define::Source;
use crate::define::source::Pii;
use crate::error::{Error, Result};
use crate::pipeline::job::hex;

/// Shorter keys can be found by trying.
pub(super) const LEAST_BYTES: usize = 16;

/// What to record of the key with the rows of a source; `None` where nothing is pseudonymised.
///
/// # Errors
/// `Definition` if there is no key, or a short one, or another one than before.
pub(super) fn fingerprint(night: &Night<'_>, source: &Source, manifest: &Manifest) -> Result<Option<String>> {
    if !source.columns.values().any(|column| column.pii == Some(Pii::Pseudonymise)) {
        return Ok(None);
    }
    let variable = night.pii_variable;
    let help = "help: use the same key every night, or pseudonyms will not join; `maintain --rotate-key` changes it";
    let Some(key) = &night.pii_key else {
        return Err(Error::definition(format!(
            "columns are to be pseudonymised and there is no key\n  expected: one in the environment variable \
             {variable}, UTF-8 text of {LEAST_BYTES} bytes or more\n  {help}"
        )));
    };
    // Blanks around it are easily lost, and no secret.
    if key.trim_ascii().len() < LEAST_BYTES {
        return Err(Error::definition(format!(
            "the key of pseudonyms in {variable} is too short\n  found: {} bytes\n  expected: {LEAST_BYTES} or more\n  \
             {help}",
            key.trim_ascii().len()
        )));
    }
    let Some(earlier) = manifest.keyed() else {
        return Ok(Some(salted(key, &uuid::Uuid::new_v4().simple().to_string())?));
    };
    let recorded = earlier.pii_key.as_deref().unwrap_or_default();
    let salt = recorded.split_once(':').map_or("", |(salt, _)| salt);
    if salted(key, salt)? != recorded {
        return Err(Error::definition(format!(
            "the key of pseudonyms in {variable} is not the key of the nights before\n  found: another key\n  \
             expected: that of {}, night {}\n  {help}",
            earlier.source, earlier.night
        )));
    }
    Ok(Some(recorded.to_string()))
}

/// A fingerprint, from which the key cannot be told.
pub(super) fn salted(key: &[u8], salt: &str) -> Result<String> {
    let mac = Hmac::<Sha256>::new_from_slice(key);
    let mut mac = mac.map_err(|e| Error::definition(format!("the key of pseudonyms: {e}")))?;
    mac.update(b"scorehouse: fingerprint of the key of pseudonyms\0");
    mac.update(salt.as_bytes());
    Ok(format!("{salt}:{}", &hex(&mac.finalize().into_bytes())[..32]))
}
