//! The manifest: which raw files have been ingested, and what became of their rows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::TimestampMicrosecondArray;
use arrow::array::{Array, ArrayRef, AsArray, Date32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Date32Type, Int64Type, Schema, SchemaRef, TimestampMicrosecondType};
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use serde_json::Map;

use crate::define::types::timestamp;
use crate::engine::session::Session;
use crate::error::{Context, Error, Kind, Result};
use crate::lake::{Lake, RawFile, Replace, Snapshot, TableSpec, Unit, documented};
use crate::pipeline::job::fingerprint;

const TABLE: &str = "manifest";
/// The key of a data commit's information under which it lists its files.
pub(super) const INFO: &str = "ingested";
/// Others record in the manifest, too, if they ingest other sources at the same time.
const ATTEMPTS: usize = 10;

/// A file that was ingested, or could not be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub source: String,
    pub path: String,
    /// SHA-256 of the content; empty if it could not be read.
    pub checksum: String,
    pub size: i64,
    pub stamp: String,
    /// The night that ingested it.
    pub night: NaiveDate,
    /// `None` if each row's own day is.
    pub known_from: Option<i64>,
    pub rows_read: i64,
    pub rows_written: i64,
    pub duplicates: i64,
    pub quarantined: i64,
    /// Rows of erased entities.
    #[serde(default)]
    pub suppressed: i64,
    /// `ok`, `redelivered` (content that was ingested before, not read again) or `unreadable`.
    pub status: String,
    pub error: Option<String>,
    pub run_id: String,
    /// Fingerprint of the key of pseudonyms; `None` where nothing was pseudonymised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pii_key: Option<String>,
}

/// What has been ingested, and what this run adds.
#[derive(Debug, Default)]
pub(crate) struct Manifest {
    /// In the order in which they were recorded.
    entries: Vec<Entry>,
    recorded: usize,
    /// The version of the table that was loaded.
    version: Option<u64>,
}

/// What the manifest says of a listed file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Ingested, and not changed since as far as size and stamp tell.
    Ingested,
    /// Anything else.
    No,
}

impl Manifest {
    pub(super) async fn load(lake: &Lake, session: &Session) -> Result<Manifest> {
        let Some(snapshot) = lake.snapshot(TABLE).await? else { return Ok(Manifest::default()) };
        Manifest::of_version(&snapshot, session).await
    }

    async fn of_version(snapshot: &Snapshot, session: &Session) -> Result<Manifest> {
        let batches = session.context().read_table(snapshot.provider()?)?.collect().await?;
        let mut numbered = Vec::new();
        for batch in &batches {
            read(batch, &mut numbered).context("reading the manifest")?;
        }
        numbered.sort_by_key(|(sequence, _)| *sequence);
        let entries: Vec<Entry> = numbered.into_iter().map(|(_, entry)| entry).collect();
        Ok(Manifest { recorded: entries.len(), entries, version: Some(snapshot.version()) })
    }

    /// Adds what the last ingest into a source's table committed, if a crash kept it out of the manifest.
    pub(super) async fn recover(&mut self, lake: &Lake, source: &str) -> Result<()> {
        let Some(table) = lake.snapshot(&format!("tables/{source}")).await? else { return Ok(()) };
        let lost = self.unknown(&table, source).await?;
        if !lost.is_empty() {
            tracing::warn!(source, files = lost.len(), "completing the manifest of a run that did not end");
            self.entries.extend(lost);
        }
        Ok(())
    }

    /// What the last ingest into this version of a source's table said of its files, and the manifest does not know.
    pub(super) async fn unknown(&self, table: &Snapshot, source: &str) -> Result<Vec<Entry>> {
        // Others may have committed to the table since, as a compaction does.
        let last = table.commit_where(|info| info.contains_key(INFO)).await?;
        let Some(listed) = last.and_then(|(_, mut info)| info.remove(INFO)) else { return Ok(Vec::new()) };
        let listed: Vec<Entry> = serde_json::from_value(listed).context("the commit of an earlier ingest")?;
        let known: BTreeSet<(&str, &str)> =
            self.of(source).map(|entry| (entry.path.as_str(), entry.checksum.as_str())).collect();
        Ok(listed.into_iter().filter(|e| !known.contains(&(e.path.as_str(), e.checksum.as_str()))).collect())
    }

    pub(super) fn add(&mut self, entries: Vec<Entry>) {
        self.entries.extend(entries);
    }

    /// The latest night ingested, but for those of runs whose ids begin with `unfinished`, if it is not empty.
    pub(super) fn latest_night(&self, unfinished: &str) -> Option<NaiveDate> {
        let counts = |e: &&Entry| e.is_ingested() && (unfinished.is_empty() || !e.run_id.starts_with(unfinished));
        self.entries.iter().filter(counts).map(|e| e.night).max()
    }

    /// The last entry that says with which key its rows were pseudonymised.
    pub(super) fn keyed(&self) -> Option<&Entry> {
        self.entries.iter().rev().find(|entry| entry.pii_key.is_some())
    }

    pub(super) fn is_first_load(&self, source: &str) -> bool {
        !self.of(source).any(Entry::is_ingested)
    }

    pub(super) fn seen(&self, source: &str, file: &RawFile) -> Seen {
        match self.last(source, &file.path) {
            Some(entry) if entry.is_ingested() && entry.is_of(file) => Seen::Ingested,
            _ => Seen::No,
        }
    }

    /// Rows that a byte of the source's files stands for; `None` if there were none yet.
    pub(super) fn rows_per_byte(&self, source: &str) -> Option<f64> {
        let ingested = self.of(source).filter(|entry| entry.is_ingested());
        let (rows, bytes) = ingested.fold((0, 0), |(rows, bytes), e| (rows + e.rows_read, bytes + e.size));
        (bytes > 0).then(|| rows as f64 / bytes as f64)
    }

    /// The last record of a path.
    pub(super) fn last(&self, source: &str, path: &str) -> Option<&Entry> {
        self.entries.iter().rev().find(|entry| entry.source == source && entry.path == path)
    }

    /// The contents of a source that were ingested, with the paths they came under.
    pub(super) fn contents(&self, source: &str) -> BTreeMap<String, BTreeSet<String>> {
        let mut contents: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for entry in self.of(source).filter(|entry| entry.is_ingested()) {
            contents.entry(entry.checksum.clone()).or_default().insert(entry.path.clone());
        }
        contents
    }

    /// What was ingested of a source.
    pub(super) fn ingested<'a>(&'a self, source: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.of(source).filter(|entry| entry.is_ingested())
    }

    fn of<'a>(&'a self, source: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.entries.iter().filter(move |entry| entry.source == source)
    }

    /// Records what this run added; nothing if it added nothing, or if another run recorded the same in the meantime.
    pub(super) async fn commit(&mut self, lake: &Lake, session: &Session) -> Result<()> {
        for _ in 1..ATTEMPTS {
            match self.record(lake, session).await {
                Err(e) if e.kind() == Kind::Temporary && self.is_overtaken(lake).await? => {
                    tracing::warn!("recording in the manifest once more: {e}");
                }
                ended => return ended,
            }
        }
        self.record(lake, session).await
    }

    /// Whether somebody committed since it was read.
    async fn is_overtaken(&self, lake: &Lake) -> Result<bool> {
        Ok(lake.snapshot(TABLE).await?.map(|snapshot| snapshot.version()) != self.version)
    }

    async fn record(&mut self, lake: &Lake, session: &Session) -> Result<()> {
        if self.entries.len() == self.recorded {
            return Ok(());
        }
        let mut writer = lake.writer(&spec()).await?;
        if self.version != Some(writer.base().version()) {
            let mut now = Manifest::of_version(writer.base(), session).await?;
            let since: BTreeSet<String> = now.entries.iter().skip(self.recorded).map(Entry::identity).collect();
            let new = self.entries.drain(self.recorded..).filter(|entry| !since.contains(&entry.identity()));
            now.entries.extend(new);
            *self = now;
        }
        let new = &self.entries[self.recorded..];
        if new.is_empty() {
            return Ok(());
        }
        let texts: Vec<String> = new.iter().map(Entry::identity).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let unit = Unit { key: TABLE.into(), fingerprint: fingerprint(&texts) };
        writer.write(&batch(self.recorded, new)?).await?;
        // Onto the version that was read, and no other.
        let none = Replace::Files { paths: BTreeSet::new(), rows_stay: false };
        let outcome = writer.commit(none, &unit, Map::new()).await?;
        (self.recorded, self.version) = (self.entries.len(), Some(outcome.version()));
        Ok(())
    }
}

impl Entry {
    pub(super) fn is_ingested(&self) -> bool {
        self.status != "unreadable"
    }

    /// Whether size and stamp say that this is the file, unchanged.
    pub(super) fn is_of(&self, file: &RawFile) -> bool {
        u64::try_from(self.size).ok() == Some(file.size) && self.stamp == file.stamp
    }

    /// Without what differs between two runs that do the same.
    fn identity(&self) -> String {
        format!("{}\0{}\0{}\0{}\0{}\0{}", self.source, self.path, self.checksum, self.stamp, self.night, self.status)
    }
}

fn spec() -> TableSpec {
    TableSpec {
        name: TABLE.into(),
        description: "The raw files that were ingested, and what became of their rows.".into(),
        schema: schema(),
        partition_by: None,
        // Errors may quote rows.
        no_statistics: vec!["error".into()],
    }
}

fn schema() -> SchemaRef {
    let field = |name: &str, data_type: DataType, doc: &str| {
        let nullable = ["known_from", "error", "pii_key", "suppressed"].contains(&name);
        documented(name, data_type, nullable, doc)
    };
    Arc::new(Schema::new(vec![
        field("sequence", DataType::Int64, "Order of recording."),
        field("source", DataType::Utf8, "The source."),
        field("path", DataType::Utf8, "Below the raw root."),
        field("checksum", DataType::Utf8, "SHA-256 of the content; empty if it could not be read."),
        field("size", DataType::Int64, "Bytes."),
        field("stamp", DataType::Utf8, "Entity tag or time of modification when it was read."),
        field("night", DataType::Date32, "The logical date of the run that ingested it."),
        field("known_from", timestamp(), "From when its rows were known; null: each from the end of its own day."),
        field("rows_read", DataType::Int64, "written + duplicates + quarantined + suppressed."),
        field("rows_written", DataType::Int64, "Rows that became versions of the table."),
        field(
            "duplicates",
            DataType::Int64,
            "Rows that the table had already, or that a later one of the night replaced.",
        ),
        field("quarantined", DataType::Int64, "Rows that broke the contract."),
        field("status", DataType::Utf8, "ok, redelivered (content ingested before; not read again) or unreadable."),
        field("error", DataType::Utf8, "Why it could not be read."),
        field("run_id", DataType::Utf8, "The run, as in runs."),
        field("pii_key", DataType::Utf8, "Salted fingerprint of the key of pseudonyms; null where none was needed."),
        field("suppressed", DataType::Int64, "Rows of erased entities, which were left out."),
    ]))
}

fn batch(first: usize, entries: &[Entry]) -> Result<RecordBatch> {
    let text = |of: fn(&Entry) -> &str| Arc::new(StringArray::from_iter_values(entries.iter().map(of))) as ArrayRef;
    let number = |of: fn(&Entry) -> i64| Arc::new(Int64Array::from_iter_values(entries.iter().map(of))) as ArrayRef;
    let known = TimestampMicrosecondArray::from_iter(entries.iter().map(|e| e.known_from)).with_timezone("UTC");
    let columns = vec![
        Arc::new(Int64Array::from_iter_values((first..first + entries.len()).map(|i| i as i64))) as ArrayRef,
        text(|e| &e.source),
        text(|e| &e.path),
        text(|e| &e.checksum),
        number(|e| e.size),
        text(|e| &e.stamp),
        Arc::new(Date32Array::from_iter_values(entries.iter().map(|e| e.night.to_epoch_days()))),
        Arc::new(known),
        number(|e| e.rows_read),
        number(|e| e.rows_written),
        number(|e| e.duplicates),
        number(|e| e.quarantined),
        text(|e| &e.status),
        Arc::new(StringArray::from_iter(entries.iter().map(|e| e.error.as_deref()))),
        text(|e| &e.run_id),
        Arc::new(StringArray::from_iter(entries.iter().map(|e| e.pii_key.as_deref()))),
        number(|e| e.suppressed),
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}

fn read(batch: &RecordBatch, entries: &mut Vec<(i64, Entry)>) -> Result<()> {
    let column = |name: &str| {
        batch.column_by_name(name).ok_or_else(|| Error::internal(format!("the manifest has no column {name}")))
    };
    let text = |name: &str| Ok::<_, Error>(column(name)?.as_string::<i32>());
    let number = |name: &str| Ok::<_, Error>(column(name)?.as_primitive::<Int64Type>());
    let nights = column("night")?.as_primitive::<Date32Type>();
    let known = column("known_from")?.as_primitive::<TimestampMicrosecondType>();
    let errors = text("error")?;
    // Added later than the rest.
    let keys = batch.column_by_name("pii_key").map(|column| column.as_string::<i32>());
    // Manifests of earlier versions do not have it.
    let suppressed = batch.column_by_name("suppressed").map(|column| column.as_primitive::<Int64Type>());
    for row in 0..batch.num_rows() {
        let night = NaiveDate::from_epoch_days(nights.value(row));
        let entry = Entry {
            source: text("source")?.value(row).into(),
            path: text("path")?.value(row).into(),
            checksum: text("checksum")?.value(row).into(),
            size: number("size")?.value(row),
            stamp: text("stamp")?.value(row).into(),
            night: night.ok_or_else(|| Error::internal("the manifest has a night out of range"))?,
            known_from: known.is_valid(row).then(|| known.value(row)),
            rows_read: number("rows_read")?.value(row),
            rows_written: number("rows_written")?.value(row),
            duplicates: number("duplicates")?.value(row),
            quarantined: number("quarantined")?.value(row),
            status: text("status")?.value(row).into(),
            error: errors.is_valid(row).then(|| errors.value(row).into()),
            run_id: text("run_id")?.value(row).into(),
            pii_key: keys.filter(|keys| keys.is_valid(row)).map(|keys| keys.value(row).into()),
            suppressed: suppressed.filter(|s| s.is_valid(row)).map_or(0, |s| s.value(row)),
        };
        entries.push((number("sequence")?.value(row), entry));
    }
    Ok(())
}
