//! The `check` job: is every definition right? No storage is touched.

use std::path::Path;

use serde::Serialize;

use super::load;
use crate::define::Diagnostic;
use crate::engine::plan::cases;
use crate::error::Result;

/// What was checked, and everything that is wrong.
#[derive(Debug, Serialize)]
pub struct Checked {
    pub sources: usize,
    pub tables: usize,
    pub feature_groups: usize,
    pub features: usize,
    pub sequences: usize,
    pub models: usize,
    pub experiments: usize,
    pub cases: usize,
    pub errors: Vec<Diagnostic>,
}

/// Parses, resolves and type-checks all definitions, then runs every `given`/`expect` case that can run.
pub async fn run(root: &Path) -> Result<Checked> {
    let files = load::read(root)?;
    let (loaded, mut errors) = load::compile(&files)?;
    let project = &loaded.project;
    for table in project.tables.values() {
        errors.extend(cases::run(&loaded.catalog, table).await?);
    }
    errors.sort();
    errors.dedup();
    Ok(Checked {
        sources: project.sources.len(),
        tables: project.tables.len(),
        feature_groups: project.groups.len() + project.sql_features.len() + project.attributes.len(),
        features: project.groups.values().map(|group| group.names().count()).sum::<usize>()
            + project.sql_features.values().map(|features| features.columns.len()).sum::<usize>()
            + project.attributes.values().map(|attributes| attributes.features.len()).sum::<usize>(),
        sequences: project.sequences.len(),
        models: project.models.len(),
        experiments: project.experiments.len(),
        cases: project.tables.values().map(|table| table.tests.len()).sum(),
        errors,
    })
}
