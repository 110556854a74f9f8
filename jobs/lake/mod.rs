//! Delta tables, raw files and commits. The only user of `object_store` and `deltalake`.
//!
//! A [`Lake`] is one root URL. A [`Snapshot`] is one version of one table, pinned: what a job read at its start it
//! still reads at its end. A [`Writer`] writes files nobody sees until its one commit, which removes what it replaces,
//! adds what it wrote and notes the unit of work, so that the same work is never committed twice.
//!
//! | file | what |
//! |---|---|
//! | `root` | the root URL, its object store, the address of a table |
//! | `cloud`, `remote`, `recent` | storage in the cloud: from options; commits that know themselves; what never changes, kept |
//! | `durable` | a local object store whose writes survive a power cut |
//! | `schema` | Arrow schema and documentation ⇄ Delta metadata |
//! | `snapshot`, `sound` | reading: files, partitions, units; what of a foreign table can be read |
//! | `provider`, `reader` | a DataFusion table, and its files by name |
//! | `writer`, `encode`, `stats`, `commit` | writing |
//! | `feed` | what a commit changed, row by row, for readers of a change feed |
//! | `files`, `documents` | directories of plain files: model artifacts; files that people read: reports |
//! | `notes` | files that come and go: runs under way |
//! | `history`, `rewrite` | upkeep: what no version needs any longer; files written anew |
//! | `failpoint` | places where tests end, fail or hold the process |
//! | `raw` | raw input files by location pattern, `glob` the pattern |

mod bounds;
mod broken;
mod cloud;
mod commit;
mod documents;
mod durable;
mod encode;
mod error;
mod failpoint;
mod feed;
mod files;
mod glob;
mod history;
mod notes;
mod provider;
mod raw;
mod reader;
mod recent;
mod remote;
mod rewrite;
mod root;
mod schema;
mod snapshot;
mod sound;
mod stats;
#[cfg(test)]
mod tests;
mod writer;

pub use bounds::{Bounds, FileBounds};
pub use commit::{Outcome, Replace, Unit};
pub use feed::Change;
pub use history::{History, Obsolete, Stored};
pub use raw::{Raw, RawFile};
pub use root::Lake;
pub use schema::{COMMENT, TableSpec, documented};
pub use snapshot::{NULL_PARTITION, Snapshot};
pub use writer::Writer;
