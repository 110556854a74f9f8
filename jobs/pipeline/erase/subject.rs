//! Whom to erase: the entity's column, its keys as raw files and as tables have them, and the keys of its rows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::functions::expr_fn::strpos;
use datafusion::logical_expr::{Expr, lit};

use super::needle::is_number;
use crate::clock;
use crate::define::source::Pii;
use crate::define::{Project, Source};
use crate::error::{Error, Result};
use crate::pipeline::ingest::pseudonym;
use crate::pipeline::job::{Job, quoted};
use crate::pipeline::suppression::Suppressions;

/// An entity.
#[derive(Debug, Clone)]
pub struct Subject {
    pub column: String,
    /// As it was given; what raw files have.
    pub key: String,
    /// As tables have it: itself, and its pseudonym where a source has one.
    pub keys: BTreeSet<String>,
    /// Keys of its rows in sources that name it, by column.
    pub linked: BTreeMap<String, BTreeSet<String>>,
    /// Which sources those are.
    pub sources: BTreeSet<String>,
    /// Keys of other entities that have this one in them.
    pub others: BTreeSet<String>,
    /// The suppression list, if the entity is on it: an earlier run has begun, and the rows that lead to its keys may be
    /// gone already.
    pub listed: Option<Arc<Suppressions>>,
}

impl Subject {
    /// From `E`, or `column=E` where several columns name entities.
    ///
    /// # Errors
    /// `Definition` if no column, or no single one, names entities, or the key of pseudonyms is not set.
    pub async fn find(job: &Job, given: &str) -> Result<Subject> {
        let columns = entity_columns(&job.project);
        let list = || columns.iter().cloned().collect::<Vec<_>>().join(", ");
        let (column, key) = match given.split_once('=').filter(|(column, _)| columns.contains(*column)) {
            Some((column, key)) => (column.to_string(), key.to_string()),
            None => match (columns.first(), columns.len()) {
                (Some(column), 1) => (column.clone(), given.to_string()),
                (None, _) => return Err(Error::definition("no definition names an entity of one column")),
                _ => {
                    let message = format!("several columns name entities: {}", list());
                    return Err(Error::definition(format!("{message}\n  expected: --entity COLUMN=KEY")));
                }
            },
        };
        if key.is_empty() {
            return Err(Error::definition("--entity is empty; the key of an entity was expected"));
        }
        let mut keys = BTreeSet::from([key.clone()]);
        if job.project.sources.values().any(|source| is_pseudonym(source, &column)) {
            let secret = clock::env(&job.profile.pii_key).filter(|secret| !secret.is_empty()).ok_or_else(|| {
                let variable = &job.profile.pii_key;
                Error::definition(format!("{column} is pseudonymised, and the variable {variable} is not set"))
            })?;
            keys.insert(pseudonym(&key, secret.as_bytes())?);
        }
        let mut subject = Subject {
            column,
            key,
            keys,
            linked: BTreeMap::new(),
            sources: BTreeSet::new(),
            others: BTreeSet::new(),
            listed: None,
        };
        subject.link(job).await?;
        subject.link_again(job).await?;
        subject.look_alikes(job).await?;
        Ok(subject)
    }

    /// What ingest must not let in again: the key and the keys of its rows, as raw files have them.
    pub fn suppressed(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut all = self.linked.clone();
        all.insert(self.column.clone(), [self.key.clone()].into());
        all
    }

    /// The column by which a table's rows belong to the entity, if there is one: the entity's own, or, in a table made
    /// from them, the key of source rows that name it.
    pub fn column_of(&self, project: &Project, table: &str, columns: &BTreeSet<String>) -> Option<&str> {
        if columns.contains(&self.column) {
            return Some(&self.column);
        }
        let linked = self.linked.keys().find(|column| columns.contains(*column))?;
        let name = table.rsplit('/').next()?;
        let belongs = match (project.sources.get(name), project.tables.get(name)) {
            // What has a key of that name of its own is something else.
            (Some(source), _) => source.key != [linked.clone()],
            (None, Some(_)) => reaches(project, name, &self.sources),
            (None, None) => false,
        };
        belongs.then_some(linked)
    }

    /// The values of that column which are the entity's.
    pub fn values_of(&self, column: &str) -> Option<&BTreeSet<String>> {
        if column == self.column { Some(&self.keys) } else { self.linked.get(column) }
    }

    async fn link(&mut self, job: &Job) -> Result<()> {
        let session = job.session()?;
        for source in job.project.sources.values() {
            let [key] = source.key.as_slice() else { continue };
            if *key == self.column || !source.columns.contains_key(&self.column) || is_pseudonym(source, key) {
                continue;
            }
            let Some(snapshot) = job.lake.snapshot(&format!("tables/{}", source.name)).await? else { continue };
            self.sources.insert(source.name.clone());
            let has = |name: &str| snapshot.schema().field_with_name(name).is_ok();
            if !has(key) || !has(&self.column) {
                continue;
            }
            let keys: Vec<Expr> = self.keys.iter().map(|key| lit(key.clone())).collect();
            let named = datafusion::logical_expr::cast(Expr::from(quoted(&self.column)), DataType::Utf8);
            let rows = session.context().read_table(snapshot.provider()?)?.filter(named.in_list(keys, false))?;
            for batch in rows.select(vec![Expr::from(quoted(key))])?.collect().await? {
                let values = cast(batch.column(0), &DataType::Utf8)?;
                let values = values.as_string::<i32>().iter().flatten().map(String::from);
                self.linked.entry(key.clone()).or_default().extend(values);
            }
        }
        Ok(())
    }

    /// Keys of its rows that an earlier run found, and listed.
    async fn link_again(&mut self, job: &Job) -> Result<()> {
        let session = job.session()?;
        let list = Suppressions::load(&job.lake, &session).await?;
        if !list.holds(&self.column, &self.key)? {
            return Ok(());
        }
        for name in job.project.relations() {
            let Some(snapshot) = job.lake.snapshot(&format!("tables/{name}")).await? else { continue };
            for column in list.columns().filter(|column| *column != self.column) {
                if snapshot.schema().field_with_name(column).is_err() {
                    continue;
                }
                let text = datafusion::logical_expr::cast(Expr::from(quoted(column)), DataType::Utf8);
                let rows = session.context().read_table(snapshot.provider()?)?;
                for batch in rows.select(vec![text.alias("key")])?.distinct()?.collect().await? {
                    for value in batch.column(0).as_string::<i32>().iter().flatten() {
                        if list.holds(column, value)? {
                            self.linked.entry(column.to_string()).or_default().insert(value.to_string());
                        }
                    }
                }
            }
        }
        self.listed = Some(Arc::new(list));
        Ok(())
    }

    /// Keys that only look like this one, such as `u1-2` beside `u1`.
    async fn look_alikes(&mut self, job: &Job) -> Result<()> {
        // A number is only looked for as the value of its column.
        let keys: Vec<&String> = self.keys.iter().filter(|key| !is_number(key)).collect();
        let session = job.session()?;
        for name in job.project.relations().filter(|_| !keys.is_empty()) {
            let Some(snapshot) = job.lake.snapshot(&format!("tables/{name}")).await? else { continue };
            if snapshot.schema().field_with_name(&self.column).is_err() {
                continue;
            }
            let text = datafusion::logical_expr::cast(Expr::from(quoted(&self.column)), DataType::Utf8);
            let holds = keys.iter().map(|key| strpos(text.clone(), lit((*key).clone())).gt(lit(0)));
            let holds = holds.reduce(Expr::or).unwrap_or_else(|| lit(false));
            let rows = session.context().read_table(snapshot.provider()?)?.filter(holds)?;
            for batch in rows.select(vec![text.alias("key")])?.distinct()?.collect().await? {
                self.others.extend(batch.column(0).as_string::<i32>().iter().flatten().map(String::from));
            }
        }
        self.others.retain(|other| !self.keys.contains(other));
        Ok(())
    }
}

/// Columns that alone name an entity, in any definition.
fn entity_columns(project: &Project) -> BTreeSet<String> {
    let histories = project.groups.values().map(|group| &group.history);
    let histories = histories.chain(project.sequences.values().map(|sequence| &sequence.history));
    let all = histories.map(|history| &history.entity);
    let all = all.chain(project.sql_features.values().map(|features| &features.entity));
    let all = all.chain(project.models.values().map(|model| &model.entity));
    all.filter_map(|entity| entity.as_slice().first().filter(|_| entity.len() == 1)).cloned().collect()
}

fn is_pseudonym(source: &Source, column: &str) -> bool {
    source.columns.get(column).is_some_and(|column| column.pii == Some(Pii::Pseudonymise))
}

/// Whether a table is made, directly or not, from one of these sources.
fn reaches(project: &Project, table: &str, sources: &BTreeSet<String>) -> bool {
    let Some(table) = project.tables.get(table) else { return false };
    table.inputs.iter().any(|input| sources.contains(input) || reaches(project, input, sources))
}
