//! Reads a project's files and compiles them: the only I/O before a job starts.

use std::collections::HashMap;
use std::path::Path;

use arrow::datatypes::SchemaRef;

use super::personal;
use crate::define::sequence::Strand;
use crate::define::yaml::Origin;
use crate::define::{Attributes, Diagnostic, FeatureGroup, Project, Sequence, TextFile, diagnostic};
use crate::engine::pit::{self, interleave};
use crate::engine::plan::Catalog;
use crate::engine::session::{Session, SessionOptions};
use crate::engine::{attributes, sql_features};
use crate::error::{Error, Result};

mod models;

/// A project that is sound, with the schema of each of its tables.
#[derive(Debug)]
pub struct Loaded {
    pub project: Project,
    pub catalog: Catalog,
}

/// Reads and compiles; an error lists everything that is wrong.
pub fn load(root: &Path) -> Result<Loaded> {
    let (loaded, diagnostics) = compile(&read(root)?)?;
    if diagnostics.is_empty() { Ok(loaded) } else { Err(diagnostic::into_error(diagnostics)) }
}

/// Parses, resolves and type-checks.
pub fn compile(files: &[TextFile]) -> Result<(Loaded, Vec<Diagnostic>)> {
    let (project, mut out) = Project::parse(files);
    let (catalog, types) = Catalog::compile(&project);
    out.extend(types);
    let session = Session::new(&SessionOptions::default())?;
    let mut features: Vec<(String, SchemaRef)> = Vec::new();
    for group in project.groups.values() {
        out.extend(entities(&catalog, (&group.history.entities, &group.history.entity), &group.origin));
        match group_schema(&session, &project, &catalog, group) {
            Some(Ok(schema)) => features.push((group.name.clone(), schema)),
            Some(Err(diagnostics)) => out.extend(diagnostics),
            None => {}
        }
    }
    for sequence in project.sequences.values() {
        out.extend(entities(&catalog, (&sequence.history.entities, &sequence.history.entity), &sequence.origin));
        if let Some(Err(diagnostics)) = sequence_schema(&session, &project, &catalog, sequence) {
            out.extend(diagnostics);
        }
    }
    for definition in project.sql_features.values() {
        out.extend(entities(&catalog, (&definition.entities, &definition.entity), &definition.origin));
        match sql_features::schema(&catalog, definition) {
            Some(Ok(_)) if features.iter().any(|(name, _)| *name == definition.name) => {}
            Some(Ok(schema)) => features.push((definition.name.clone(), schema)),
            Some(Err(diagnostics)) => out.extend(diagnostics),
            None => {}
        }
    }
    for definition in project.attributes.values() {
        match attributes(&session, &project, &catalog, definition) {
            Some(Ok(compiled)) => features.push((definition.name.clone(), compiled.schema)),
            Some(Err(diagnostics)) => out.extend(diagnostics),
            None => {}
        }
    }
    for model in project.models.values() {
        out.extend(models::check(&session, &project, &catalog, &features, model)?);
    }
    for variant in project.experiments.values().flat_map(|experiment| experiment.variants.values()) {
        out.extend(models::check(&session, &project, &catalog, &features, variant)?);
    }
    let loaded = Loaded { project, catalog };
    if out.is_empty() {
        out = personal::check(&loaded)?;
    }
    out.sort();
    out.dedup();
    Ok((loaded, out))
}

/// Output columns of a group; `None` if its table has none to go by, which its own diagnostics say.
pub fn group_schema(
    session: &Session,
    project: &Project,
    catalog: &Catalog,
    group: &FeatureGroup,
) -> Option<Result<SchemaRef, Vec<Diagnostic>>> {
    let history = &group.history;
    let table = catalog.relation_schema(&history.table)?;
    let time = history.event_time.as_deref().or_else(|| project.event_time(&history.table))?;
    Some(pit::schema(session, group, time, project.tie_breaker(&history.table), &table))
}

/// As [`group_schema`], for a sequence.
pub fn sequence_schema(
    session: &Session,
    project: &Project,
    catalog: &Catalog,
    sequence: &Sequence,
) -> Option<Result<SchemaRef, Vec<Diagnostic>>> {
    let history = &sequence.history;
    let Some(interleaved) = &sequence.interleaved else {
        let table = catalog.relation_schema(&history.table)?;
        let time = history.event_time.as_deref().or_else(|| project.event_time(&history.table))?;
        return Some(pit::sequence_schema(session, sequence, time, project.tie_breaker(&history.table), &table));
    };
    let schemas = interleaved
        .strands
        .iter()
        .map(|strand| strand_source(project, strand, catalog.relation_schema(&strand.table)?));
    let sources: Vec<interleave::Source> = schemas.collect::<Option<_>>()?;
    Some(interleave::lower(session, sequence, interleaved, &sources).and_then(|union| {
        pit::sequence_schema(session, &union.sequence, &union.event_time, &union.tie_breaker, &union.schema)
    }))
}

/// A table to interleave, with this schema; `None` if it has no event time, which its own diagnostics say.
pub fn strand_source(project: &Project, strand: &Strand, schema: SchemaRef) -> Option<interleave::Source> {
    let event_time = strand.event_time.as_deref().or_else(|| project.event_time(&strand.table))?.to_string();
    Some(interleave::Source { event_time, tie_breaker: project.tie_breaker(&strand.table).to_vec(), schema })
}

/// Attributes with types; `None` if a table of theirs has no schema to go by, which its own diagnostics say.
pub fn attributes(
    session: &Session,
    project: &Project,
    catalog: &Catalog,
    definition: &Attributes,
) -> Option<Result<attributes::Compiled, Vec<Diagnostic>>> {
    let spine = catalog.relation_schema(&definition.spine)?;
    let mut sources = HashMap::new();
    for (alias, lookup) in &definition.lookups {
        let event_time = lookup.event_time.as_deref().or_else(|| project.event_time(&lookup.table));
        let source = attributes::Source {
            event_time: event_time.map(str::to_string),
            tie_breaker: project.tie_breaker(&lookup.table).to_vec(),
            schema: catalog.relation_schema(&lookup.table)?,
        };
        sources.insert(alias.clone(), source);
    }
    Some(attributes::compile(session, definition, &spine, &sources))
}

/// The table that says who exists must have the entity's columns.
fn entities(catalog: &Catalog, (table, entity): (&str, &[String]), origin: &Origin) -> Vec<Diagnostic> {
    let Some(schema) = catalog.relation_schema(table) else { return Vec::new() };
    let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
    let missing = entity.iter().filter(|column| schema.field_with_name(column).is_err());
    missing
        .map(|column| {
            let message = format!("table {table} does not name the entity");
            origin.at("entities", message).expected_one_of(column, names.iter().copied())
        })
        .collect()
}

/// Every definition file below the root, in a fixed order.
pub fn read(root: &Path) -> Result<Vec<TextFile>> {
    if !root.is_dir() {
        let message = format!("there is no project directory {}", root.display());
        return Err(Error::definition(format!(
            "{message}\n  help: --project names the directory with sql/, features/ and models/"
        )));
    }
    let mut files = Vec::new();
    for folder in ["sql", "features", "models"] {
        walk(root, &root.join(folder), &mut files)?;
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn walk(root: &Path, folder: &Path, files: &mut Vec<TextFile>) -> Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let kind = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
        if path.is_dir() {
            walk(root, &path, files)?;
        } else if kind == "sql" || kind == "yaml" {
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
            let text = std::fs::read_to_string(&path)
                .map_err(|e| Error::definition(format!("{name}: cannot be read: {e}")))?;
            files.push(TextFile { path: name, text });
        } else if kind == "yml" {
            let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
            return Err(Error::definition(format!("{name}: definitions end in .yaml\n  help: rename the file")));
        }
    }
    Ok(())
}
