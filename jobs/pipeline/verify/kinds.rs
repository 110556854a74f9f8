//! The kinds of definitions as subjects of the proof: histories (groups and sequences), queries, attributes.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::Schema;
use async_trait::async_trait;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::prelude::DataFrame;

use super::sample;
use super::subject::{Read, Subject};
use crate::define::attributes::Lookup;
use crate::define::diagnostic::into_error;
use crate::define::features::{History, Visibility};
use crate::define::{Attributes, Diagnostic, Project, SqlFeatures};
use crate::engine::pit::ROW;
use crate::engine::session::Session;
use crate::engine::{attributes, sql_features};
use crate::error::{Error, Result};
use crate::pipeline::features::definition::{Definition, Ready};
use crate::pipeline::job::Job;
use crate::pipeline::{load, sql_features as queries};

/// Every selected definition of the project.
pub fn subjects(job: &Job) -> Result<Vec<Box<dyn Subject + '_>>> {
    let session = job.session()?;
    let project = &job.project;
    let mut subjects: Vec<Box<dyn Subject + '_>> = Vec::new();
    for definition in Definition::all(job) {
        subjects.push(Box::new(Past { definition, ready: definition.compile(job, &session)? }));
    }
    for definition in project.sql_features.values().filter(|features| job.selected(&features.name)) {
        subjects.push(Box::new(Query { project, definition, people: queries::population(definition) }));
    }
    for definition in project.attributes.values().filter(|attributes| job.selected(&attributes.name)) {
        let compiled = load::attributes(&session, project, &job.catalog, definition);
        let compiled = compiled.ok_or_else(|| Error::internal(format!("no schema of {}", definition.spine)))?;
        let people = decisions(project, definition);
        subjects.push(Box::new(Asked { project, definition, compiled: compiled.map_err(into_error)?, people }));
    }
    Ok(subjects)
}

/// A group or a sequence.
struct Past<'a> {
    definition: Definition<'a>,
    ready: Ready,
}

/// SQL-defined features.
struct Query<'a> {
    project: &'a Project,
    definition: &'a SqlFeatures,
    people: History,
}

/// Attributes of decisions; those who are described are the decisions.
struct Asked<'a> {
    project: &'a Project,
    definition: &'a Attributes,
    compiled: attributes::Compiled,
    people: History,
}

#[async_trait]
impl Subject for Past<'_> {
    fn name(&self) -> String {
        format!("{} {}", self.definition.kind(), self.definition.name())
    }

    fn people(&self) -> &History {
        self.definition.history()
    }

    fn reads(&self) -> Vec<Read> {
        let History { entity, visibility, .. } = self.definition.history();
        let read =
            |(table, times): (&str, Vec<&str>)| Read { visibility: *visibility, ..Read::new(table, &times, entity) };
        self.ready.tables().into_iter().map(read).collect()
    }

    async fn compute(
        &self,
        _: &Session,
        tables: HashMap<String, DataFrame>,
        spine: DataFrame,
    ) -> Result<SendableRecordBatchStream> {
        let rows = |table: &str| tables.get(table).cloned().ok_or_else(|| absent(table));
        self.ready.compiled.history(self.ready.events(rows)?, spine).await
    }

    fn at(&self, column: &str, message: String) -> Diagnostic {
        self.definition.at(column, message)
    }
}

#[async_trait]
impl Subject for Query<'_> {
    fn name(&self) -> String {
        format!("SQL features {}", self.definition.name)
    }

    fn people(&self) -> &History {
        &self.people
    }

    fn reads(&self) -> Vec<Read> {
        let times = |table: &str| self.project.event_time(table).into_iter().collect::<Vec<_>>();
        let inputs = self.definition.inputs.iter();
        inputs.map(|table| Read::new(table, &times(table), &self.definition.entity)).collect()
    }

    async fn compute(
        &self,
        session: &Session,
        tables: HashMap<String, DataFrame>,
        spine: DataFrame,
    ) -> Result<SendableRecordBatchStream> {
        sql_features::compute(session, self.definition, tables, spine).await
    }

    fn at(&self, column: &str, message: String) -> Diagnostic {
        self.definition.at(column, message)
    }
}

#[async_trait]
impl Subject for Asked<'_> {
    fn name(&self) -> String {
        format!("attributes {}", self.definition.name)
    }

    fn people(&self) -> &History {
        &self.people
    }

    fn reads_spine(&self) -> bool {
        true
    }

    fn reads(&self) -> Vec<Read> {
        let lookups = self.definition.lookups.iter();
        let read = |(alias, lookup): (&String, &Lookup)| {
            let time = lookup.event_time.as_deref().or_else(|| self.project.event_time(&lookup.table));
            let times: Vec<&str> = time.into_iter().collect();
            Read { name: alias.clone(), on: lookup.on.clone(), ..Read::new(&lookup.table, &times, &[]) }
        };
        lookups.map(read).collect()
    }

    async fn compute(
        &self,
        session: &Session,
        tables: HashMap<String, DataFrame>,
        spine: DataFrame,
    ) -> Result<SendableRecordBatchStream> {
        let spine = sample::collect(spine).await?;
        let features = attributes::compute(session, &self.compiled, tables, &spine).await?;
        let mut fields = vec![Arc::new(spine.schema().field_with_name(ROW)?.clone())];
        fields.extend(features.schema().fields().iter().cloned());
        let rows = spine.column_by_name(ROW).cloned();
        let columns: Vec<ArrayRef> = rows.into_iter().chain(features.columns().iter().cloned()).collect();
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
        Ok(session.context().read_batch(batch)?.execute_stream().await?)
    }

    fn at(&self, column: &str, message: String) -> Diagnostic {
        self.definition.origin.at(&format!("features.{column}"), message)
    }
}

/// Those who are described by attributes: rows of the spine, by their key or else as a whole.
fn decisions(project: &Project, definition: &Attributes) -> History {
    let key = project.key(&definition.spine);
    let all = || project.columns(&definition.spine).into_iter().map(str::to_string).collect();
    History {
        entity: if key.is_empty() { all() } else { key.to_vec() },
        entities: definition.spine.clone(),
        table: definition.spine.clone(),
        event_time: None,
        visibility: Visibility::Known,
        filter: None,
    }
}

fn absent(table: &str) -> Error {
    Error::internal(format!("table {table} is not there"))
}
