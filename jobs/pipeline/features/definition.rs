//! A group or a sequence: both are computed for a spine and stored per night.

use datafusion::prelude::DataFrame;

use crate::define::Project;
use crate::define::diagnostic::{Diagnostic, into_error};
use crate::define::features::{FeatureGroup, History};
use crate::define::sequence::Sequence;
use crate::engine::pit::Compiled;
use crate::engine::pit::interleave::{self, Union};
use crate::engine::session::Session;
use crate::error::{Error, Result};
use crate::pipeline::job::{Job, definition_text};
use crate::pipeline::load;

#[derive(Debug, Clone, Copy)]
pub enum Definition<'a> {
    Group(&'a FeatureGroup),
    Sequence(&'a Sequence),
}

impl<'a> Definition<'a> {
    /// Every group and sequence of the job that is selected.
    pub fn all(job: &'a Job) -> impl Iterator<Item = Definition<'a>> {
        let groups = job.project.groups.values().map(Definition::Group);
        let all = groups.chain(job.project.sequences.values().map(Definition::Sequence));
        all.filter(|definition| job.selected(definition.name()))
    }

    pub fn name(&self) -> &'a str {
        match self {
            Definition::Group(group) => &group.name,
            Definition::Sequence(sequence) => &sequence.name,
        }
    }

    pub fn kind(&self) -> &'static str {
        match self {
            Definition::Group(_) => "group",
            Definition::Sequence(_) => "sequence",
        }
    }

    pub fn history(&self) -> &'a History {
        match self {
            Definition::Group(group) => &group.history,
            Definition::Sequence(sequence) => &sequence.history,
        }
    }

    /// What it is computed from.
    pub fn tables(&self) -> Vec<&'a str> {
        let entities = self.history().entities.as_str();
        match self {
            Definition::Group(group) => vec![&group.history.table, entities],
            Definition::Sequence(sequence) => sequence.tables().into_iter().chain([entities]).collect(),
        }
    }

    /// Of its table, below the lake's root.
    pub fn path(&self) -> String {
        match self {
            Definition::Group(group) => format!("features/{}", group.name),
            Definition::Sequence(sequence) => format!("sequences/{}", sequence.name),
        }
    }

    pub fn description(&self) -> &'a str {
        match self {
            Definition::Group(group) => &group.description,
            Definition::Sequence(sequence) => &sequence.description,
        }
    }

    /// How many events a list has at most; `None` of a group, which has no lists.
    pub fn length(&self) -> Option<u64> {
        match self {
            Definition::Group(_) => None,
            Definition::Sequence(sequence) => Some(sequence.length as u64),
        }
    }

    /// The unit of a feature that has that of the column it is computed from. Lists say it in their documentation.
    pub fn unit<'p>(&self, project: &'p Project, column: &str) -> Option<&'p str> {
        let Definition::Group(group) = self else { return None };
        let feature = group.features.iter().find(|feature| feature.name == column)?;
        let of = feature.of.as_deref().filter(|_| feature.function.keeps_unit())?;
        project.unit(&group.history.table, of)
    }

    pub fn text(&self) -> Result<String> {
        match self {
            Definition::Group(group) => definition_text(group),
            Definition::Sequence(sequence) => definition_text(sequence),
        }
    }

    /// Where a column is defined, with a message about it.
    pub fn at(&self, column: &str, message: String) -> Diagnostic {
        let (origin, path) = match self {
            Definition::Group(group) => {
                let feature = group.features.iter().find(|feature| feature.name == column).map(|f| &f.path);
                let derived = group.derived.iter().find(|derived| derived.name == column).map(|d| &d.path);
                (&group.origin, feature.or(derived))
            }
            Definition::Sequence(sequence) => {
                let field = sequence.fields.iter().find(|field| field.name == column);
                (&sequence.origin, field.map(|field| &field.path))
            }
        };
        origin.at(path.map_or("", String::as_str), message)
    }

    /// Ready to be computed from the project's tables as they are defined.
    pub fn compile(&self, job: &Job, session: &Session) -> Result<Ready> {
        let history = self.history();
        if let Definition::Sequence(sequence) = self
            && let Some(interleaved) = &sequence.interleaved
        {
            let mut sources = Vec::new();
            let mut tables = Vec::new();
            for strand in &interleaved.strands {
                let schema = job.catalog.storage_schema(&strand.table);
                let source = schema.and_then(|schema| load::strand_source(&job.project, strand, schema));
                let source = source.ok_or_else(|| unreadable(&strand.table))?;
                tables.push((strand.table.clone(), source.event_time.clone()));
                sources.push(source);
            }
            let union = interleave::lower(session, sequence, interleaved, &sources).map_err(into_error)?;
            let (time, ties) = (&union.event_time, &union.tie_breaker);
            let compiled = Compiled::sequence(session, &union.sequence, time, ties, &union.schema);
            return Ok(Ready { compiled: compiled.map_err(into_error)?, union: Some(union), tables });
        }
        let table = job.catalog.storage_schema(&history.table).ok_or_else(|| unreadable(&history.table))?;
        let time = job.project.time_of(history).ok_or_else(|| unreadable(&history.table))?;
        let ties = job.project.tie_breaker(&history.table);
        let compiled = match self {
            Definition::Group(group) => Compiled::group(session, group, time, ties, &table),
            Definition::Sequence(sequence) => Compiled::sequence(session, sequence, time, ties, &table),
        };
        let tables = vec![(history.table.clone(), time.to_string())];
        Ok(Ready { compiled: compiled.map_err(into_error)?, union: None, tables })
    }
}

/// A compiled definition, and where its events come from.
pub struct Ready {
    pub compiled: Compiled,
    union: Option<Union>,
    /// Tables and the columns of their event times.
    tables: Vec<(String, String)>,
}

impl Ready {
    /// The events, from rows of their tables.
    pub fn events(&self, rows: impl Fn(&str) -> Result<DataFrame>) -> Result<DataFrame> {
        let mut tables = self.tables.iter().map(|(table, _)| rows(table)).collect::<Result<Vec<_>>>()?;
        match (&self.union, tables.pop()) {
            (None, Some(table)) => Ok(table),
            (Some(union), Some(last)) => union.rows(tables.into_iter().chain([last]).collect()),
            (_, None) => Err(Error::internal("a history of no table")),
        }
    }

    /// Where several tables are interleaved: the sequence of one that they become.
    pub fn union(&self) -> Option<&Union> {
        self.union.as_ref()
    }

    /// The tables of events, each once, with the columns of their event times.
    pub fn tables(&self) -> Vec<(&str, Vec<&str>)> {
        let mut tables: Vec<(&str, Vec<&str>)> = Vec::new();
        for (table, time) in &self.tables {
            match tables.iter_mut().find(|(name, _)| name == table) {
                Some((_, times)) => times.push(time),
                None => tables.push((table, vec![time])),
            }
        }
        tables
    }
}

fn unreadable(table: &str) -> Error {
    Error::internal(format!("{table} cannot be read as events"))
}
