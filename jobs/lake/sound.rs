//! Whether a table can be read and written as it is. Others can write to a lake, too, and storage loses things: what
//! cannot be read right is refused with the table, the version and what to do, and never read half.

use std::collections::{BTreeMap, BTreeSet};

use deltalake::kernel::Protocol;
use futures::TryStreamExt;
use object_store::{Error as StoreError, ObjectMeta, ObjectStore};

use super::root::Lake;
use crate::error::{Context, Error, Result};

/// What our tables need of a reader and of a writer.
const READER: i32 = 1;
const WRITER: i32 = 2;
/// What a table with a change feed needs.
const FEED_WRITER: i32 = 4;

const HELP: &str = "help: restore the table's `_delta_log` from a backup, or move the table away and build it anew; where \
                    only a checkpoint is broken and no entry is missing, removing it and `_last_checkpoint` will do";

/// Looks at the names and sizes of a table's log. False if there is no table.
///
/// # Errors
/// `Data` if an entry up to `version`, or up to the newest, is missing or empty.
pub(super) async fn log(lake: &Lake, table: &str, version: Option<u64>) -> Result<bool> {
    let prefix = lake.path_of(&format!("{table}/_delta_log"))?;
    let listed: Result<Vec<ObjectMeta>, StoreError> = lake.store().list(Some(&prefix)).try_collect().await;
    let listed = match listed {
        Err(StoreError::NotFound { .. }) => return Ok(false),
        listed => listed.with_context(|| format!("table {table}: listing its log"))?,
    };
    let mut entries: BTreeMap<u64, u64> = BTreeMap::new();
    let mut checkpoints: BTreeSet<u64> = BTreeSet::new();
    for object in &listed {
        let Some(name) = object.location.filename() else { continue };
        let Some(number) = name.get(..20).and_then(|digits| digits.parse::<u64>().ok()) else { continue };
        match name.get(20..) {
            Some(".json") => drop(entries.insert(number, object.size)),
            Some(rest) if rest.starts_with(".checkpoint.") && object.size > 0 => drop(checkpoints.insert(number)),
            _ => {}
        }
    }
    let newest = entries.keys().chain(&checkpoints).max().copied();
    let Some(last) = newest.map(|newest| version.map_or(newest, |version| version.min(newest))) else {
        return Ok(false);
    };
    let first = checkpoints.range(..=last).next_back().map_or(0, |checkpoint| checkpoint + 1);
    let broken = |number: u64, what: &str| {
        let text = format!("table {table}: entry {number} of its log {what}\n  expected: {first} to {last}\n  {HELP}");
        Err(Error::data(text))
    };
    for number in first..=last {
        match entries.get(&number) {
            None if version.is_some() && first == 0 && !entries.contains_key(&0) => return Ok(true),
            None => return broken(number, "is missing"),
            Some(0) => return broken(number, "is empty (0 bytes)"),
            Some(_) => {}
        }
    }
    Ok(true)
}

/// What loading a table's state failed with. Storage and conflicts may do better later; a log that says what nobody
/// understands will not.
pub(super) fn explained(table: &str, version: Option<u64>, error: Error) -> Error {
    let table = match version {
        Some(version) => format!("table {table}, version {version}"),
        None => format!("table {table}"),
    };
    match error.kind() {
        crate::error::Kind::Internal => Error::data(format!("{table}: its log cannot be read: {error}\n  {HELP}")),
        _ => error.context(table),
    }
}

/// # Errors
/// `Data` if somebody gave the table features that a reader must know.
pub(super) fn readable(table: &str, version: u64, protocol: &Protocol) -> Result<()> {
    if protocol.min_reader_version() <= READER {
        return Ok(());
    }
    let features = named(protocol.reader_features().map(|features| features.iter().map(ToString::to_string).collect()));
    Err(Error::data(format!(
        "table {table}, version {version}, needs a Delta reader of version {}{features}: another writer changed it\n  \
         expected: version {READER}\n  help: write it again without these (a copy by that writer, say), or move it away \
         and build it anew",
        protocol.min_reader_version()
    )))
}

/// A table with a change feed needs a writer of a later version, which ours is for such a table.
///
/// # Errors
/// `Data` if somebody gave the table features that a writer must heed.
pub(super) fn writable(
    table: &str,
    version: u64,
    protocol: &Protocol,
    is_append_only: bool,
    has_feed: bool,
) -> Result<()> {
    let known = if has_feed { FEED_WRITER } else { WRITER };
    if protocol.min_writer_version() <= known && !is_append_only {
        return Ok(());
    }
    let what = if is_append_only {
        "is append-only (`delta.appendOnly`)".to_string()
    } else {
        let features = protocol.writer_features().map(|features| features.iter().map(ToString::to_string).collect());
        format!("needs a Delta writer of version {}{}", protocol.min_writer_version(), named(features))
    };
    Err(Error::data(format!(
        "table {table}, version {version}, {what}: another writer changed it\n  expected: version {known}\n  help: write \
         it again without these (a copy by that writer, say), or move it away and build it anew"
    )))
}

fn named(features: Option<Vec<String>>) -> String {
    let mut features = features.unwrap_or_default();
    features.sort();
    if features.is_empty() { String::new() } else { format!(" with {}", features.join(", ")) }
}

/// # Errors
/// `Data` if a file lies outside of its table.
pub(super) fn inside(table: &str, version: u64, path: &str) -> Result<()> {
    let is_inside = !path.starts_with('/')
        && !path.contains("://")
        && !path.split('/').any(|part| matches!(part, "" | "." | ".."))
        && !path.starts_with("file:");
    if is_inside {
        return Ok(());
    }
    Err(Error::data(format!(
        "table {table}, version {version}, names a data file outside of it: {path}\n  expected: a path below the table\n  \
         help: nothing outside of a table is read; write the table again as a copy of its own"
    )))
}
