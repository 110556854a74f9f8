//! Reads a project's files and compiles them: the only I/O before a job starts.

use std::path::Path;

use crate::define::{Diagnostic, Project, TextFile, diagnostic};
use crate::engine::plan::catalog::Catalog;
use crate::engine::pit;
use crate::error::{Error, Result};

/// A project that is sound, with the schema of each of its tables.
#[derive(Debug)]
pub struct Loaded {
    pub project: Project,
    pub catalog: Catalog,
}

/// Reads and compiles; an error lists everything that is wrong.
pub fn load(root: &Path) -> Result<Loaded> {
    let (loaded, diagnostics) = compile(&read(root)?);
    if diagnostics.is_empty() { Ok(loaded) } else { Err(diagnostic::into_error(diagnostics)) }
}

/// Parses, resolves and type-checks.
pub fn compile(files: &[TextFile]) -> (Loaded, Vec<Diagnostic>) {
    let (project, mut out) = Project::parse(files);
    let (catalog, types) = Catalog::compile(&project);
    out.extend(types);
    for group in project.groups.values() {
        if let Some(schema) = catalog.relation_schema(&group.history.table) {
            let ties = project.tie_breaker(&group.history.table);
            out.extend(pit::check_group(group, project.event_time(&group.history.table), ties, &schema));
            out.extend(entities(&catalog, &group.history, &group.origin));
        }
    }
    for sequence in project.sequences.values() {
        if let Some(schema) = catalog.relation_schema(&sequence.history.table) {
            let ties = project.tie_breaker(&sequence.history.table);
            out.extend(pit::check_sequence(sequence, project.event_time(&sequence.history.table), ties, &schema));
            out.extend(entities(&catalog, &sequence.history, &sequence.origin));
        }
    }
    out.sort();
    out.dedup();
    (Loaded { project, catalog }, out)
}

/// The table that says who exists must have the entity's columns, of the same type.
fn entities(
    catalog: &Catalog,
    history: &crate::define::features::History,
    origin: &crate::define::yaml::Origin,
) -> Vec<Diagnostic> {
    let Some(schema) = catalog.relation_schema(&history.entities) else { return Vec::new() };
    let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
    let missing = history.entity.iter().filter(|column| schema.field_with_name(column).is_err());
    missing
        .map(|column| {
            let message = format!("table {} does not name the entity", history.entities);
            origin.at("entities", message).expected_one_of(column, names.iter().copied())
        })
        .collect()
}

/// Every definition file below the root, in a fixed order.
pub fn read(root: &Path) -> Result<Vec<TextFile>> {
    if !root.is_dir() {
        let message = format!("there is no project directory {}", root.display());
        return Err(Error::definition(format!("{message}\n  help: --project names the directory with sql/, features/ and models/")));
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
