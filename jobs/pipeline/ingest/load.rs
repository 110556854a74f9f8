//! Loading one source: its new files, a range of days at a time, into one commit.

mod account;
mod moved;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch, new_null_array};
use arrow::compute::partition;
use arrow::datatypes::Date32Type;
use bytes::Bytes;
use chrono::NaiveDate;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::json;

use self::moved::Arrived;
use super::chunks::chunks;
use super::form::guarded;
use super::inspect::{self, Inspected};
use super::manifest::{Entry, INFO, Manifest, Seen};
use super::quarantine::{self, Bad, BadRows};
use super::rows::{RowReader, Rows};
use super::versions::{Counts, Incoming, Layout, Merged, Stopped, merge};
use super::{Known, KnownFrom, Night, SourceReport};
use crate::define::Source;
use crate::define::identity::is_identifier;
use crate::define::source::Unreadable;
use crate::engine::plan::EVENT_DATE;
use crate::error::{Error, Kind, Result};
use crate::lake::{Outcome, RawFile, Replace, Snapshot, TableSpec, Unit, Writer};
use crate::pipeline::job::{definition_text, fingerprint};
use crate::pipeline::suppression::Suppressions;

/// An error, and what is to be recorded of the files nevertheless.
type Failure = (Error, Vec<Entry>);

/// Files that cannot be read: with their checksums, and why.
type Refused = Vec<(RawFile, String, Error)>;

/// Why files could not be loaded.
enum Halted {
    Unreadable(Refused),
    Failed(Error),
}

impl From<Error> for Halted {
    fn from(error: Error) -> Halted {
        Halted::Failed(error)
    }
}

/// Loads the files of one source.
pub(super) struct Loader<'a> {
    night: &'a Night<'a>,
    source: &'a Source,
    known: KnownFrom,
    reader: Arc<RowReader>,
    layout: Arc<Layout>,
    threads: usize,
    /// Fingerprint of the key of pseudonyms.
    pii_key: Option<String>,
}

/// A file that is to be read.
#[derive(Debug, Clone)]
struct File {
    raw: RawFile,
    checksum: String,
    known: Known,
    inspected: Inspected,
    /// False for a file that was ingested before and is read again, because loads of its source are complete.
    is_new: bool,
    read: u64,
    written: u64,
    duplicate: u64,
    suppressed: u64,
    bad: Vec<Bad>,
}

/// What a first look made of the listed files.
#[derive(Default)]
struct Sorted {
    /// To be read, by path.
    files: Vec<File>,
    /// To be recorded without being read.
    redelivered: Vec<File>,
    unreadable: Refused,
}

impl<'a> Loader<'a> {
    pub(super) fn new(
        night: &'a Night<'a>,
        source: &'a Source,
        known: KnownFrom,
        pii_key: Option<String>,
        suppressed: &Suppressions,
    ) -> Result<Loader<'a>> {
        let reader = RowReader::new(night, source)?.suppressing(suppressed);
        let schema = Arc::clone(&reader.schema);
        let stored =
            |names: &[String]| -> Vec<usize> { names.iter().filter_map(|n| schema.index_of(n).ok()).collect() };
        let mut key = stored(&source.key);
        if key.len() < source.key.len() {
            return Err(Error::definition("a key column is personal data that is dropped\n  help: pseudonymise it"));
        }
        let is_static = source.event_time.is_none();
        if key.is_empty() && is_static {
            key = stored(&source.table_columns().map(|(name, _)| name.clone()).collect::<Vec<_>>());
        }
        let mut order = stored(source.event_time.as_slice());
        order.extend(stored(&source.tie_breaker));
        order.extend(&key);
        let complete = is_static && !source.location.contains("{date}");
        let layout = Arc::new(Layout { schema, key, order, complete, rule: source.duplicates });
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
        Ok(Loader { night, source, known, reader: Arc::new(reader), layout, threads, pii_key })
    }

    /// Loads what is new among the listed files, and says what to record of them.
    pub(super) async fn load(
        &self,
        manifest: &Manifest,
        listed: Vec<RawFile>,
        report: &mut SourceReport,
    ) -> Result<Vec<Entry>, Failure> {
        let plain = |error: Error| (error, Vec::new());
        let mut writer = self.writer(manifest).await.map_err(plain)?;
        report.version = Some(writer.base().version());
        let sorted = self.sort(manifest, listed).await.map_err(plain)?;
        self.note_undeclared(&sorted.files, report);
        let Sorted { mut files, mut redelivered, mut unreadable } = sorted;
        let replaced = loop {
            if !unreadable.is_empty() && self.source.unreadable == Unreadable::Fail {
                return Err(self.refuse(manifest, unreadable));
            }
            if !files.iter().any(|file| file.is_new) {
                break None;
            }
            match self.write(&mut writer, &mut files).await {
                Ok(replaced) => break Some(replaced),
                Err(Halted::Failed(error)) => return Err(plain(error)),
                // Found out late: once more from the beginning, without them and whatever has the same content.
                Err(Halted::Unreadable(more)) => {
                    let gone = |checksum: &str| more.iter().any(|(_, other, _)| other == checksum);
                    files.retain(|file| !gone(&file.checksum));
                    let copies = redelivered.extract_if(.., |file| gone(&file.checksum));
                    unreadable.extend(copies.map(|file| (file.raw, file.checksum, same())));
                    files.iter_mut().for_each(|file| (file.written, file.duplicate) = (0, 0));
                    unreadable.extend(more);
                    writer = self.writer(manifest).await.map_err(plain)?;
                }
            }
        };
        let mut entries = self.skip(manifest, unreadable, report);
        entries.extend(redelivered.iter().map(|file| self.redelivered(file)));
        if let Some(replaced) = replaced {
            let nights: BTreeSet<NaiveDate> = files.iter().map(|file| self.night_of(&file.raw)).collect();
            nights.into_iter().try_for_each(|night| self.check_share(&files, night)).map_err(plain)?;
            let read = files.iter().filter(|file| file.is_new).map(|file| self.entry(file));
            entries.extend(read.collect::<Result<Vec<_>>>().map_err(plain)?);
            self.commit(writer, replaced, &files, &entries, report).await.map_err(plain)?;
        }
        for entry in entries.iter().filter(|entry| entry.is_ingested()) {
            report.files += 1;
            report.read += entry.rows_read as u64;
            report.written += entry.rows_written as u64;
            report.duplicate += entry.duplicates as u64;
            report.quarantined += entry.quarantined as u64;
            report.suppressed += entry.suppressed as u64;
        }
        Ok(entries)
    }

    /// On a version whose files the manifest all knows: those of another run, between the two, would be read again.
    async fn writer(&self, manifest: &Manifest) -> Result<Writer> {
        let writer = self.night.lake.writer(&self.spec()).await?;
        match manifest.unknown(writer.base(), &self.source.name).await?.is_empty() {
            true => Ok(writer),
            false => Err(Error::temporary("somebody else ingested it at the same time: run this job again")),
        }
    }

    fn spec(&self) -> TableSpec {
        let private = self.source.columns.iter().filter(|(name, column)| {
            let is_key = self.source.key.contains(name) || self.night.entities.contains(*name);
            column.pii.is_some() || is_identifier(name) || is_key
        });
        TableSpec {
            name: format!("tables/{}", self.source.name),
            description: self.source.description.clone(),
            schema: Arc::clone(&self.layout.schema),
            partition_by: self.source.event_time.as_ref().map(|_| EVENT_DATE.to_string()),
            no_statistics: private.map(|(name, _)| name.clone()).collect(),
        }
    }

    /// Tells new files from known ones: first by size and stamp, then by content.
    async fn sort(&self, manifest: &Manifest, listed: Vec<RawFile>) -> Result<Sorted> {
        let name = &self.source.name;
        let (known, new): (Vec<RawFile>, Vec<RawFile>) =
            listed.into_iter().partition(|file| manifest.seen(name, file) == Seen::Ingested);
        if new.is_empty() {
            return Ok(Sorted::default());
        }
        let again = if self.layout.complete { known } else { Vec::new() };
        let largest = new.iter().chain(&again).map(|file| file.size).max().unwrap_or_default();
        let looked =
            stream::iter(new.into_iter().map(|file| (file, true)).chain(again.into_iter().map(|f| (f, false))))
                .map(|(file, is_new)| async move { self.look(file, is_new).await })
                .buffered(self.night.raw.at_once(self.threads, largest))
                .try_collect::<Vec<_>>()
                .await?;
        let mut sorted = Sorted::default();
        let mut contents = manifest.contents(name);
        let mut readable = Vec::new();
        for (raw, checksum, is_new, inspected) in looked {
            match inspected {
                Ok(inspected) => {
                    let known = self.known.of(raw.date);
                    readable.push(File {
                        raw,
                        checksum,
                        known,
                        inspected,
                        is_new,
                        read: 0,
                        written: 0,
                        duplicate: 0,
                        suppressed: 0,
                        bad: Vec::new(),
                    });
                }
                Err(error) => sorted.unreadable.push((raw, checksum, error)),
            }
        }
        readable.sort_by(|a, b| (order_of(a.known), &a.raw.path).cmp(&(order_of(b.known), &b.raw.path)));
        for file in readable {
            let paths = contents.entry(file.checksum.clone()).or_default();
            let last = manifest.last(name, &file.raw.path).filter(|last| last.is_ingested());
            let unchanged = last.is_some_and(|last| last.checksum == file.checksum);
            let elsewhere = !paths.is_empty() && !paths.contains(&file.raw.path);
            if file.is_new && !self.layout.complete && (unchanged || elsewhere) {
                sorted.redelivered.push(file);
            } else {
                paths.insert(file.raw.path.clone());
                sorted.files.push(file);
            }
        }
        // The order of delivery.
        sorted.files.sort_by(|a, b| (a.raw.date, &a.raw.path).cmp(&(b.raw.date, &b.raw.path)));
        Ok(sorted)
    }

    async fn look(&self, raw: RawFile, is_new: bool) -> Result<(RawFile, String, bool, Result<Inspected>)> {
        let bytes = match self.night.raw.read(&raw.path).await {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == Kind::Data => return Ok((raw, String::new(), is_new, Err(e))),
            Err(e) => return Err(e),
        };
        let (source, path) = (self.source.clone(), raw.path.clone());
        let checksum = inspect::checksum(&bytes);
        let inspected = guarded(move || inspect::inspect(&source, &path, bytes)).await;
        Ok((raw, checksum, is_new, inspected))
    }

    fn note_undeclared(&self, files: &[File], report: &mut SourceReport) {
        let names: BTreeSet<&str> =
            files.iter().flat_map(|file| file.inspected.undeclared.iter().map(String::as_str)).collect();
        if !names.is_empty() {
            let names = names.into_iter().collect::<Vec<_>>().join(", ");
            let warning = format!("columns not declared: {names}");
            tracing::warn!(source = self.source.name, "{warning}: ignored until sql/sources.yaml declares them");
            report.warnings.push(warning);
        }
    }

    /// Reads, merges and writes, a range of days at a time. The partitions that are replaced.
    async fn write(&self, writer: &mut Writer, files: &mut [File]) -> Result<Replace, Halted> {
        let base = writer.base().clone();
        let spans: Vec<_> = files.iter().map(|file| (file.inspected.days, file.inspected.rows)).collect();
        let present = if self.layout.key.is_empty() { BTreeMap::new() } else { present(&base) };
        let chunks = chunks(&spans, &present, self.night.rows_at_once);
        let mut replaced = BTreeSet::new();
        let mut arrived = Arrived::default();
        for days in &chunks {
            let first = days.start == i32::MIN;
            let incoming = self.read(files, days, first).await?;
            let wanted = incoming.keys().copied().collect();
            let existing = self.existing(&base, &present, wanted).await?;
            let changed = self.merge(writer, files, incoming, existing, &mut arrived).await?;
            replaced.extend(changed);
        }
        replaced.extend(self.settle(writer, files, &base, &chunks, arrived).await?);
        Ok(match (self.source.event_time.is_some(), self.layout.key.is_empty()) {
            (false, _) if replaced.is_empty() => Replace::Nothing,
            (false, _) => Replace::All,
            (true, true) => Replace::Nothing,
            (true, false) => Replace::Partitions(replaced.into_iter().map(partition_name).collect()),
        })
    }

    /// The rows of a range of days, by day, in the order of the files.
    async fn read(
        &self,
        files: &mut [File],
        days: &Range<i32>,
        first: bool,
    ) -> Result<BTreeMap<i32, Vec<Incoming>>, Halted> {
        let touches = |file: &File| match file.inspected.days {
            Some((low, high)) => low < days.end && high >= days.start,
            // Rows without any event time, or without a source of one, come with the first range.
            None => first,
        };
        let chosen: Vec<usize> = (0..files.len()).filter(|i| touches(&files[*i])).collect();
        let largest = chosen.iter().map(|i| files[*i].raw.size).max().unwrap_or_default();
        let read = stream::iter(chosen.into_iter().map(|i| (i, files[i].clone())))
            .map(|(i, file)| async move { (i, self.rows(&file, days.clone()).await) })
            .buffered(self.night.raw.at_once(self.threads, largest))
            .collect::<Vec<_>>()
            .await;
        let mut incoming: BTreeMap<i32, Vec<Incoming>> = BTreeMap::new();
        let mut unreadable = Vec::new();
        for (i, rows) in read {
            let file = &mut files[i];
            match rows {
                Ok(rows) => {
                    (file.read, file.bad, file.suppressed) = (rows.read, rows.bad, rows.suppressed);
                    for (day, batches) in rows.by_day {
                        let counted = file.is_new;
                        let batches = batches.into_iter().map(|batch| Incoming { file: i, counted, batch });
                        incoming.entry(day).or_default().extend(batches);
                    }
                }
                Err(e) if e.kind() == Kind::Data => unreadable.push((file.raw.clone(), file.checksum.clone(), e)),
                Err(e) => return Err(e.context(file.raw.path.clone()).into()),
            }
        }
        if unreadable.is_empty() { Ok(incoming) } else { Err(Halted::Unreadable(unreadable)) }
    }

    async fn rows(&self, file: &File, days: Range<i32>) -> Result<Rows> {
        let known = file.known;
        self.opened(file, move |reader, path, bytes| reader.read(path, bytes, known, &days)).await
    }

    /// Reads a file, if it is still what it was.
    async fn opened<T: Send + 'static>(
        &self,
        file: &File,
        read: impl FnOnce(&RowReader, &str, Bytes) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let bytes = self.night.raw.read(&file.raw.path).await?;
        let (reader, checksum, path) = (Arc::clone(&self.reader), file.checksum.clone(), file.raw.path.clone());
        guarded(move || {
            if inspect::checksum(&bytes) != checksum {
                return Err(Error::temporary("the file changed while it was read: run this job again"));
            }
            read(&reader, &path, bytes)
        })
        .await
    }

    /// What the table has of some days.
    async fn existing(
        &self,
        base: &Snapshot,
        present: &BTreeMap<i32, u64>,
        mut days: BTreeSet<i32>,
    ) -> Result<BTreeMap<i32, Vec<RecordBatch>>> {
        let mut existing: BTreeMap<i32, Vec<RecordBatch>> = BTreeMap::new();
        let is_static = self.source.event_time.is_none();
        days.retain(|day| present.contains_key(day));
        if days.is_empty() && !(is_static && !self.layout.key.is_empty() && base.files() > 0) {
            return Ok(existing);
        }
        let provider = match is_static {
            true => base.provider()?,
            false => base.provider_of(&days.into_iter().map(partition_name).collect())?,
        };
        for batch in self.night.session.context().read_table(provider)?.collect().await? {
            let batch = self.conform(&batch)?;
            if is_static {
                existing.entry(0).or_default().push(batch);
                continue;
            }
            let index = batch.schema().index_of(EVENT_DATE)?;
            let dates = Arc::clone(batch.column(index));
            for range in partition(&[Arc::clone(&dates)])?.ranges() {
                let day = dates.as_primitive::<Date32Type>().value(range.start);
                existing.entry(day).or_default().push(batch.slice(range.start, range.len()));
            }
        }
        Ok(existing)
    }

    /// Rows of the table with the columns it is declared with now; those declared since are null.
    fn conform(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let columns = self.layout.schema.fields().iter().map(|field| match batch.column_by_name(field.name()) {
            Some(column) => Arc::clone(column),
            None => new_null_array(field.data_type(), batch.num_rows()),
        });
        Ok(RecordBatch::try_new(Arc::clone(&self.layout.schema), columns.collect())?)
    }

    /// Merges day by day, writes what changed, counts. The days that changed.
    async fn merge(
        &self,
        writer: &mut Writer,
        files: &mut [File],
        incoming: BTreeMap<i32, Vec<Incoming>>,
        mut existing: BTreeMap<i32, Vec<RecordBatch>>,
        arrived: &mut Arrived,
    ) -> Result<Vec<i32>> {
        let work: Vec<_> =
            incoming.into_iter().map(|(day, new)| (day, new, existing.remove(&day).unwrap_or_default())).collect();
        let mut merged = stream::iter(work)
            .map(|(day, new, old)| {
                let layout = Arc::clone(&self.layout);
                async move { Ok::<_, Error>((day, blocking(move || Ok(merge(&layout, &old, &new))).await?)) }
            })
            .buffered(self.threads);
        let mut changed = Vec::new();
        while let Some((day, merged)) = merged.try_next().await? {
            let Merged { rows, counts, arrived: keys } = merged.map_err(|stopped| conflict(stopped, files))?;
            arrived.note(day, keys);
            count(files, &counts);
            if let Some(rows) = rows {
                writer.write(&rows).await?;
                changed.push(day);
            }
        }
        Ok(changed)
    }

    /// The night that ingests a file: where several are ingested at once, that of its day.
    fn night_of(&self, raw: &RawFile) -> NaiveDate {
        raw.date.map_or(self.night.date, |date| date.max(self.night.date))
    }

    /// # Errors
    /// `Data` if more rows of a night are bad than the source allows, with the first of them.
    fn check_share(&self, files: &[File], night: NaiveDate) -> Result<()> {
        let new = || files.iter().filter(|file| file.is_new && self.night_of(&file.raw) == night);
        let read: u64 = new().map(|file| file.read).sum();
        let bad: usize = new().map(|file| file.bad.iter().filter(|bad| bad.counts).count()).sum();
        let share = bad as f64 / read.max(1) as f64;
        if share <= self.source.max_bad_share {
            return Ok(());
        }
        let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
        new().flat_map(|file| &file.bad).filter(|b| b.counts).for_each(|b| *reasons.entry(&b.reason).or_default() += 1);
        let reasons: Vec<String> = reasons.iter().map(|(reason, n)| format!("{reason} ({n})")).collect();
        let first = new().find_map(|file| Some((&file.raw.path, file.bad.iter().find(|bad| bad.counts)?)));
        let first = first.map(|(path, bad)| format!("{path}, {}: {}", bad.place, bad.data)).unwrap_or_default();
        Err(Error::data(format!(
            "{bad} of {read} rows are bad: {}\n  found: a share of {share:.4}\n  expected: at most {} (max_bad_share)\n  \
             first: {first}\n  help: correct the files, or declare more; nothing of this source was loaded",
            reasons.join(", "),
            self.source.max_bad_share
        )))
    }

    /// The quarantine first: rows that are not in the table must be somewhere.
    async fn commit(
        &self,
        writer: Writer,
        replace: Replace,
        files: &[File],
        entries: &[Entry],
        report: &mut SourceReport,
    ) -> Result<()> {
        let name = &self.source.name;
        let mut texts = vec![definition_text(self.source)?];
        texts.extend(files.iter().map(|f| format!("{}\0{}\0{:?}", f.raw.path, f.checksum, f.known)));
        let fingerprint = fingerprint(&texts.iter().map(String::as_str).collect::<Vec<_>>());
        let new = files.iter().filter(|file| file.is_new);
        let bad: Vec<BadRows> =
            new.map(|file| BadRows { path: &file.raw.path, checksum: &file.checksum, rows: &file.bad }).collect();
        quarantine::add(self.night, name, fingerprint, &bad).await?;
        if entries.iter().all(|entry| entry.rows_written == 0) && !self.closes(&replace) {
            return Ok(());
        }
        let info = json!({
            "job": "ingest", "logical_date": self.night.date.to_string(), "run_id": self.night.run_id, INFO: entries,
        });
        let info = info.as_object().cloned().unwrap_or_default();
        let unit = Unit { key: format!("ingest:{name}"), fingerprint };
        let outcome = writer.commit(replace, &unit, info).await?;
        report.version = Some(outcome.version());
        if let Outcome::Committed { bytes, .. } = outcome {
            report.bytes = bytes;
            report.committed = true;
        }
        Ok(())
    }

    /// Whether versions are closed although none is opened.
    fn closes(&self, replace: &Replace) -> bool {
        match replace {
            Replace::Nothing => false,
            Replace::Partitions(partitions) => !partitions.is_empty(),
            Replace::All | Replace::Files { .. } | Replace::Renamed { .. } => true,
        }
    }
}

/// Days that the table has, with their rows.
fn present(base: &Snapshot) -> BTreeMap<i32, u64> {
    let rows: HashMap<String, u64> = base.partition_rows().into_iter().collect();
    let days = rows
        .into_iter()
        .filter_map(|(partition, rows)| Some((partition.parse::<NaiveDate>().ok()?.to_epoch_days(), rows)));
    days.collect()
}

/// Adds to what each file brought.
fn count(files: &mut [File], counts: &[Counts]) {
    for (file, counts) in files.iter_mut().zip(counts) {
        file.written += counts.written;
        file.duplicate += counts.duplicate;
    }
}

fn partition_name(day: i32) -> String {
    NaiveDate::from_epoch_days(day).map(|date| date.to_string()).unwrap_or_default()
}

/// Instants first, in order; then files whose rows each have their own.
fn order_of(known: Known) -> i64 {
    match known {
        Known::At(instant) => instant,
        Known::OwnDay => i64::MAX,
    }
}

/// Of a file whose content came under another name, too.
fn same() -> Error {
    Error::data("the content is that of another file, which cannot be read")
}

/// Two rows of one key that differ are the data's fault.
fn conflict(stopped: Stopped, files: &[File]) -> Error {
    match stopped {
        Stopped::Failed(error) => error,
        Stopped::Conflict { key, files: of } => {
            let file =
                |of: Option<usize>| of.map_or("an earlier run of the night", |file| files[file].raw.path.as_str());
            let between = of.map(file).join(" and ");
            Error::data(format!(
                "two different rows have one key in one night: {key}\n  found: in {between}\n  expected: one \
                 (`duplicates: fail`)\n  help: correct the files, or say which one counts: `duplicates: last` or \
                 `first`"
            ))
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Error::internal(format!("a worker ended: {e}")))?
}
