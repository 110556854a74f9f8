//! What a query can name: the tables of the lake, and their columns with types and comments.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::define::diagnostic::did_you_mean;
use crate::define::types::{OWN_TABLES, type_name};
use crate::error::{Error, Result};
use crate::lake::{COMMENT, Lake, Snapshot};
use crate::pipeline::features::state::SUFFIX;

/// Folders of the lake that hold tables by name.
const FOLDERS: [&str; 14] = [
    "tables",
    "features",
    "sequences",
    "scores",
    "scores_current",
    "gates",
    "differences",
    "fairness",
    "monitoring",
    "quarantine",
    "training_sets",
    "labels",
    "experiments",
    "searches",
];

/// What a name stands for.
pub(super) enum Found {
    /// A table as it is stored.
    Stored(Snapshot),
    /// The current rows of a source or SQL table, without bookkeeping.
    Current(Snapshot),
}

/// The table that `folder.name`, or `name` alone, stands for.
pub(super) async fn find(lake: &Lake, folder: Option<&str>, name: &str) -> Result<Option<Found>> {
    let path = folder.map_or(name.to_string(), |folder| format!("{folder}/{name}"));
    if let Some(snapshot) = lake.snapshot(&path).await? {
        return Ok(Some(Found::Stored(snapshot)));
    }
    if folder.is_some() {
        return Ok(None);
    }
    Ok(lake.snapshot(&format!("tables/{name}")).await?.map(Found::Current))
}

/// A column whose name is ours and which says when a row was known, and the like.
pub(super) fn is_bookkeeping(column: &str) -> bool {
    column.starts_with('_')
}

/// The error for a table that is not there.
pub(super) async fn unknown(lake: &Lake, table: &str) -> Result<Error> {
    let names = names(lake).await?;
    let help = did_you_mean(table, names.iter().map(String::as_str));
    let there = if names.is_empty() { "nothing yet: run `scorehouse nightly`".to_string() } else { names.join(", ") };
    Ok(Error::definition(format!("there is no table `{table}` in the lake\n  expected: one of {there}{help}")))
}

/// Everything a query can name, but for what is internal.
pub async fn names(lake: &Lake) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for folder in FOLDERS {
        for name in lake.directories(folder).await?.into_iter().filter(|name| !name.ends_with(SUFFIX)) {
            names.push(if folder == "tables" { name } else { format!("{folder}.{name}") });
        }
    }
    for name in OWN_TABLES {
        if lake.snapshot(name).await?.is_some() {
            names.push(name.to_string());
        }
    }
    Ok(names)
}

/// A column as a person reads of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    pub name: String,
    pub data_type: String,
    pub nullable: bool,
    pub comment: String,
}

/// The columns of a table, by a name as queries have it.
///
/// # Errors
/// `Definition` where there is none of that name.
pub async fn describe(lake: &Lake, table: &str) -> Result<Vec<Described>> {
    let bare = table.replace('"', "");
    let (folder, name) = bare.split_once('.').map_or((None, bare.as_str()), |(folder, name)| (Some(folder), name));
    let (snapshot, hidden) = match find(lake, folder, name).await? {
        Some(Found::Stored(snapshot)) => (snapshot, false),
        Some(Found::Current(snapshot)) => (snapshot, true),
        None => return Err(unknown(lake, &bare).await?),
    };
    let schema = snapshot.schema();
    let fields = schema.fields().iter().filter(|field| !(hidden && is_bookkeeping(field.name())));
    let described = |field: &arrow::datatypes::FieldRef| Described {
        name: field.name().clone(),
        data_type: type_name(field.data_type()),
        nullable: field.is_nullable(),
        comment: field.metadata().get(COMMENT).cloned().unwrap_or_default(),
    };
    Ok(fields.map(described).collect())
}

/// Names of tables and of their columns, as far as they are known by now: to complete what somebody types.
#[derive(Debug, Clone, Default)]
pub struct Catalogue(Arc<Mutex<BTreeMap<String, Vec<String>>>>);

impl Catalogue {
    /// Learns the names; what cannot be read is not offered.
    pub async fn learn(self, lake: Lake) {
        let Ok(tables) = names(&lake).await else { return };
        *self.entries() = tables.iter().map(|table| (table.clone(), Vec::new())).collect();
        for table in tables {
            if let Ok(columns) = describe(&lake, &table).await {
                self.entries().insert(table, columns.into_iter().map(|column| column.name).collect());
            }
        }
    }

    /// Table → columns.
    pub fn known(&self) -> BTreeMap<String, Vec<String>> {
        self.entries().clone()
    }

    /// A catalogue of these tables.
    pub fn of(tables: impl IntoIterator<Item = (String, Vec<String>)>) -> Catalogue {
        Catalogue(Arc::new(Mutex::new(tables.into_iter().collect())))
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<String, Vec<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
