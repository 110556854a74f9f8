//! What can be held to the leakage proof: anything that computes features for a spine from tables.

use std::collections::HashMap;

use async_trait::async_trait;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::prelude::DataFrame;

use crate::define::features::{History, Visibility};
use crate::define::{Diagnostic, FeatureGroup, Project, Sequence};
use crate::engine::pit;
use crate::engine::session::Session;
use crate::error::{Error, Result};

/// A definition as the proof sees it: tables in, features out.
#[async_trait]
pub trait Subject: Send + Sync {
    /// As people call it: `group payments`.
    fn name(&self) -> String;

    /// Who is described.
    fn people(&self) -> &History;

    fn reads(&self) -> Vec<Read>;

    /// The features for a spine of (entity…, as_of, _row), with `_row` among them, from tables with all row versions.
    async fn compute(
        &self,
        session: &Session,
        tables: HashMap<String, DataFrame>,
        spine: DataFrame,
    ) -> Result<SendableRecordBatchStream>;

    /// Where a column is defined, with a message about it.
    fn at(&self, column: &str, message: String) -> Diagnostic;
}

/// A table that a definition reads, and what of its rows a decision may see.
#[derive(Debug, Clone)]
pub struct Read {
    pub table: String,
    /// `None`: its rows have no time, only versions.
    pub event_time: Option<String>,
    pub visibility: Visibility,
}

/// Every selected definition of the project that has something to prove.
pub fn subjects<'a>(project: &'a Project, selected: impl Fn(&str) -> bool) -> Vec<Box<dyn Subject + 'a>> {
    let mut subjects: Vec<Box<dyn Subject + 'a>> = Vec::new();
    for group in project.groups.values().filter(|group| selected(&group.name)) {
        subjects.push(Box::new(Group { project, group }));
    }
    for sequence in project.sequences.values().filter(|sequence| selected(&sequence.name)) {
        subjects.push(Box::new(Trail { project, sequence }));
    }
    subjects
}

struct Group<'a> {
    project: &'a Project,
    group: &'a FeatureGroup,
}

struct Trail<'a> {
    project: &'a Project,
    sequence: &'a Sequence,
}

#[async_trait]
impl Subject for Group<'_> {
    fn name(&self) -> String {
        format!("group {}", self.group.name)
    }

    fn people(&self) -> &History {
        &self.group.history
    }

    fn reads(&self) -> Vec<Read> {
        vec![read(self.project, &self.group.history)]
    }

    async fn compute(
        &self,
        session: &Session,
        mut tables: HashMap<String, DataFrame>,
        spine: DataFrame,
    ) -> Result<SendableRecordBatchStream> {
        let (time, ties) = clocks(self.project, &self.group.history)?;
        let events = events(&mut tables, &self.group.history)?;
        pit::features(session, self.group, time, ties, events, spine).await
    }

    fn at(&self, column: &str, message: String) -> Diagnostic {
        let feature = self.group.features.iter().find(|feature| feature.name == column).map(|f| f.path.as_str());
        let derived = self.group.derived.iter().find(|derived| derived.name == column).map(|d| d.path.as_str());
        self.group.origin.at(feature.or(derived).unwrap_or_default(), message)
    }
}

#[async_trait]
impl Subject for Trail<'_> {
    fn name(&self) -> String {
        format!("sequence {}", self.sequence.name)
    }

    fn people(&self) -> &History {
        &self.sequence.history
    }

    fn reads(&self) -> Vec<Read> {
        vec![read(self.project, &self.sequence.history)]
    }

    async fn compute(
        &self,
        session: &Session,
        mut tables: HashMap<String, DataFrame>,
        spine: DataFrame,
    ) -> Result<SendableRecordBatchStream> {
        let (time, ties) = clocks(self.project, &self.sequence.history)?;
        let events = events(&mut tables, &self.sequence.history)?;
        pit::sequences(session, self.sequence, time, ties, events, spine).await
    }

    fn at(&self, column: &str, message: String) -> Diagnostic {
        let field = self.sequence.fields.iter().find(|field| field.name == column);
        self.sequence.origin.at(field.map_or("", |field| &field.path), message)
    }
}

/// Event time and tie breaker of a history.
pub fn clocks<'a>(project: &'a Project, history: &'a History) -> Result<(&'a str, &'a [String])> {
    let time = history.event_time.as_deref().or_else(|| project.event_time(&history.table));
    let time = time.ok_or_else(|| Error::internal(format!("{} has no event time", history.table)))?;
    Ok((time, project.tie_breaker(&history.table)))
}

fn read(project: &Project, history: &History) -> Read {
    let time = history.event_time.as_deref().or_else(|| project.event_time(&history.table));
    Read { table: history.table.clone(), event_time: time.map(str::to_string), visibility: history.visibility }
}

fn events(tables: &mut HashMap<String, DataFrame>, history: &History) -> Result<DataFrame> {
    tables.remove(&history.table).ok_or_else(|| Error::internal(format!("table {} is not there", history.table)))
}
