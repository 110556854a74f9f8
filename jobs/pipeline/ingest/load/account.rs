//! What became of each file, as the manifest's entries: read = written + duplicate + quarantined + suppressed.

use super::*;

impl Loader<'_> {
    /// Nothing of the source is loaded while a file of it cannot be read; that it cannot be read is recorded once.
    pub(super) fn refuse(&self, manifest: &Manifest, unreadable: Refused) -> Failure {
        let (entries, texts) = self.recorded(manifest, unreadable);
        (Error::data(format!("{}\n  nothing of this source was loaded", texts.join("\n"))), entries)
    }

    /// The others are loaded; that these were not is recorded, once, and said every time.
    pub(super) fn skip(&self, manifest: &Manifest, unreadable: Refused, report: &mut SourceReport) -> Vec<Entry> {
        let (entries, texts) = self.recorded(manifest, unreadable);
        report.unreadable = texts.len() as u64;
        for text in texts {
            let warning = format!("skipped {}", text.lines().next().unwrap_or_default());
            tracing::warn!(source = self.source.name, "{warning}");
            report.warnings.push(warning);
        }
        entries
    }

    /// Entries for what has not been recorded, and what is wrong with each.
    fn recorded(&self, manifest: &Manifest, unreadable: Refused) -> (Vec<Entry>, Vec<String>) {
        let mut entries = Vec::new();
        let mut texts = Vec::new();
        for (raw, checksum, error) in unreadable {
            let path = format!("{}/{}", self.night.raw.root().trim_end_matches('/'), raw.path);
            let recorded =
                manifest.last(&self.source.name, &raw.path).is_some_and(|e| !e.is_ingested() && e.is_of(&raw));
            if !recorded {
                let mut entry = self.blank(&raw, checksum, "unreadable");
                entry.error = Some(error.to_string());
                entries.push(entry);
            }
            texts.push(format!("{path}: {error}"));
        }
        (entries, texts)
    }

    pub(super) fn entry(&self, file: &File) -> Result<Entry> {
        let mut entry = self.blank(&file.raw, file.checksum.clone(), "ok");
        entry.rows_read = file.read as i64;
        entry.rows_written = file.written as i64;
        entry.duplicates = file.duplicate as i64;
        entry.quarantined = file.bad.len() as i64;
        entry.suppressed = file.suppressed as i64;
        let became = file.written + file.duplicate + file.bad.len() as u64 + file.suppressed;
        if file.read != became || file.read != file.inspected.rows {
            return Err(Error::internal(format!(
                "{}: {} rows seen, {} read, {} written, {} duplicate, {} quarantined do not add up",
                file.raw.path, file.inspected.rows, file.read, file.written, file.duplicate, entry.quarantined
            )));
        }
        Ok(entry)
    }

    pub(super) fn redelivered(&self, file: &File) -> Entry {
        let mut entry = self.blank(&file.raw, file.checksum.clone(), "redelivered");
        entry.rows_read = file.inspected.rows as i64;
        entry.duplicates = entry.rows_read;
        entry
    }

    fn blank(&self, raw: &RawFile, checksum: String, status: &str) -> Entry {
        let known_from = match self.known.of(raw.date) {
            Known::At(instant) => Some(instant),
            Known::OwnDay => None,
        };
        Entry {
            source: self.source.name.clone(),
            path: raw.path.clone(),
            checksum,
            size: raw.size as i64,
            stamp: raw.stamp.clone(),
            night: self.night_of(raw),
            known_from,
            rows_read: 0,
            rows_written: 0,
            duplicates: 0,
            quarantined: 0,
            suppressed: 0,
            status: status.into(),
            error: None,
            run_id: self.night.run_id.into(),
            pii_key: self.pii_key.clone(),
        }
    }
}
