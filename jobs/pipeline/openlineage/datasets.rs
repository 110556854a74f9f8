//! Inputs and outputs: names by OpenLineage's rules, versions, columns with comments, rows, and what columns come from.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use url::Url;

use super::facet;
use crate::define::Source;
use crate::define::lineage::{Direction, Graph, Place, Through};
use crate::define::types::type_name;
use crate::lake::{COMMENT, Lake, Snapshot};
use crate::pipeline::job::{Job, Written};
use crate::pipeline::ledger::Entries;
use crate::pipeline::lineage;

/// What a run read and wrote.
pub async fn of(job: &Job, name: &str, done: &Entries) -> (Vec<Value>, Vec<Value>) {
    // The definitions are sound by now; should they not be, columns come from nothing.
    let graph = lineage::graph(&job.project, &job.catalog).unwrap_or_default();
    let mut inputs = if name == "ingest" { raw(job, &done.outputs) } else { Vec::new() };
    for (name, version) in &done.inputs {
        let table = if name.contains('/') { name.clone() } else { format!("tables/{name}") };
        inputs.push(input(job, &table, *version).await);
    }
    let mut outputs = Vec::new();
    for (table, (version, rows, bytes)) in written(&done.outputs) {
        outputs.push(output(job, &graph, table, version, rows, bytes).await);
    }
    (inputs, outputs)
}

/// Tables that were written, with their newest version, and rows and bytes of all lines together.
fn written(lines: &[Written]) -> BTreeMap<&str, (u64, u64, u64)> {
    let mut tables = BTreeMap::new();
    for line in lines {
        let Some(version) = line.version else { continue };
        let (newest, rows, bytes) = tables.entry(line.table.as_str()).or_insert((version, 0, 0));
        *newest = version.max(*newest);
        *rows += line.rows;
        *bytes += line.bytes;
    }
    tables
}

/// The folders of raw files of the sources that were looked at.
fn raw(job: &Job, lines: &[Written]) -> Vec<Value> {
    let Ok(root) = job.raw.url() else { return Vec::new() };
    let sources = lines.iter().filter_map(|line| job.project.sources.get(line.table.strip_prefix("tables/")?));
    let folders = sources.map(|source| {
        let (namespace, name) = named(&root, folder(source));
        json!({ "namespace": namespace, "name": name, "facets": { "dataSource": data_source(&root) } })
    });
    folders.collect()
}

/// What of a source's location is the same for all of its files.
fn folder(source: &Source) -> &str {
    let fixed = source.location.split(['{', '*', '?', '[']).next().unwrap_or_default();
    fixed.rsplit_once('/').map_or("", |(folder, _)| folder)
}

async fn input(job: &Job, table: &str, version: u64) -> Value {
    let (namespace, name) = named(job.lake.url(), table);
    let snapshot = job.lake.snapshot_at(table, version).await.ok().flatten();
    let mut said = json!({ "namespace": namespace, "name": name, "facets": facets(job, snapshot.as_ref(), version) });
    if let Some(snapshot) = snapshot {
        let schema = "1-0-0/InputStatisticsInputDatasetFacet.json#/$defs/InputStatisticsInputDatasetFacet";
        let size = json!({ "rowCount": snapshot.rows(), "size": snapshot.bytes(), "fileCount": snapshot.files() });
        said["inputFacets"] = json!({ "inputStatistics": facet(schema, size) });
    }
    said
}

async fn output(job: &Job, graph: &Graph, table: &str, version: u64, rows: u64, bytes: u64) -> Value {
    let (namespace, name) = named(job.lake.url(), table);
    let snapshot = job.lake.snapshot_at(table, version).await.ok().flatten();
    let mut facets = facets(job, snapshot.as_ref(), version);
    if let Some(columns) = columns(job, graph, table) {
        facets["columnLineage"] = columns;
    }
    let schema = "1-0-2/OutputStatisticsOutputDatasetFacet.json#/$defs/OutputStatisticsOutputDatasetFacet";
    let size = facet(schema, json!({ "rowCount": rows, "size": bytes }));
    let statistics = json!({ "outputStatistics": size });
    json!({ "namespace": namespace, "name": name, "facets": facets, "outputFacets": statistics })
}

/// Namespace and name of what lies in a folder below a root (<https://openlineage.io/docs/spec/naming>).
fn named(root: &Url, below: &str) -> (String, String) {
    let decoded = Lake::decoded(root);
    let path = [decoded.as_str(), below].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
    match root.scheme() {
        "file" => ("file".into(), format!("/{path}")),
        scheme => (format!("{scheme}://{}", root.authority()), path),
    }
}

fn data_source(root: &Url) -> Value {
    let schema = "1-0-1/DatasourceDatasetFacet.json#/$defs/DatasourceDatasetFacet";
    facet(schema, json!({ "name": root.as_str().trim_end_matches('/'), "uri": root.as_str() }))
}

fn facets(job: &Job, snapshot: Option<&Snapshot>, version: u64) -> Value {
    let of_version = "1-0-1/DatasetVersionDatasetFacet.json#/$defs/DatasetVersionDatasetFacet";
    let mut facets = json!({
        "dataSource": data_source(job.lake.url()),
        "version": facet(of_version, json!({ "datasetVersion": version.to_string() })),
    });
    if let Some(snapshot) = snapshot {
        let schema = snapshot.schema();
        let fields = schema.fields().iter().map(|field| {
            let mut said = json!({ "name": field.name(), "type": type_name(field.data_type()) });
            if let Some(comment) = field.metadata().get(COMMENT) {
                said["description"] = json!(comment);
            }
            said
        });
        let fields: Vec<Value> = fields.collect();
        let of_schema = "1-2-0/SchemaDatasetFacet.json#/$defs/SchemaDatasetFacet";
        facets["schema"] = facet(of_schema, json!({ "fields": fields }));
    }
    facets
}

/// What the columns of a table come from, and what decides on its rows.
fn columns(job: &Job, graph: &Graph, table: &str) -> Option<Value> {
    let mut fields = Map::new();
    for place in graph.columns(table) {
        let name = place.column.clone().unwrap_or_default();
        fields.insert(name, json!({ "inputFields": fields_of(job, graph, place) }));
    }
    // What a model reads decides on all that its scores say.
    let model = table.strip_prefix("scores/").or_else(|| table.strip_prefix("scores_current/"));
    let rows = model.map_or_else(|| Place::rows(table), |model| Place::rows(format!("models/{model}")));
    let of_rows = fields_of(job, graph, &rows);
    if fields.is_empty() && of_rows.is_empty() {
        return None;
    }
    let schema = "1-2-0/ColumnLineageDatasetFacet.json#/$defs/ColumnLineageDatasetFacet";
    Some(facet(schema, json!({ "fields": fields, "dataset": of_rows })))
}

/// The stored columns that a place is made of, with what becomes of each.
fn fields_of(job: &Job, graph: &Graph, place: &Place) -> Vec<Value> {
    let mut found: BTreeMap<(String, String), Vec<Through>> = BTreeMap::new();
    let mut open = vec![(place, None)];
    while let Some((place, over)) = open.pop() {
        for (through, from) in graph.next(place, Direction::Up) {
            let through = over.map_or(*through, |over: Through| over.over(*through));
            match &from.column {
                // Attributes are not stored: what they are made of counts.
                Some(_) if from.dataset.starts_with("attributes/") => open.push((from, Some(through))),
                Some(column) => {
                    let uses = found.entry((from.dataset.clone(), column.clone())).or_default();
                    if !uses.contains(&through) {
                        uses.push(through);
                    }
                }
                None => {}
            }
        }
    }
    let raw = job.raw.url().ok();
    let said = found.into_iter().map(|((dataset, column), uses)| {
        // What a source's column is derived from is read from its files, and need not be in its table.
        let source = dataset.strip_prefix("tables/").filter(|_| dataset == place.dataset);
        let source = source.and_then(|name| job.project.sources.get(name)).zip(raw.as_ref());
        let (namespace, name) = match source {
            Some((source, raw)) => named(raw, folder(source)),
            None => named(job.lake.url(), &dataset),
        };
        let uses: Vec<Value> = uses.into_iter().map(transformation).collect();
        json!({ "namespace": namespace, "name": name, "field": column, "transformations": uses })
    });
    said.collect()
}

/// A use in the terms of OpenLineage's facet.
fn transformation(through: Through) -> Value {
    let subtype = match through {
        Through::Value | Through::Label => "TRANSFORMATION",
        Through::Condition => "CONDITIONAL",
        Through::Filter | Through::Segment | Through::Rows => "FILTER",
        Through::Join | Through::Entity => "JOIN",
        Through::Group => "GROUP_BY",
        Through::Order => "SORT",
        Through::Time | Through::Weight => "WINDOW",
    };
    let kind = if through.is_direct() { "DIRECT" } else { "INDIRECT" };
    json!({ "type": kind, "subtype": subtype, "description": through.name() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_named_as_the_specification_says() {
        let named = |root: &str, below| named(&Url::parse(root).unwrap(), below);
        assert_eq!(named("file:///data/lake/", "tables/a"), ("file".into(), "/data/lake/tables/a".into()));
        assert_eq!(named("s3://bucket/x/lake/", "runs"), ("s3://bucket".into(), "x/lake/runs".into()));
        assert_eq!(named("s3://bucket/", ""), ("s3://bucket".into(), String::new()));
        assert_eq!(named("file:///my%20data/%C5%82/", "pay"), ("file".into(), "/my data/ł/pay".into()));
    }

    #[test]
    fn lines_of_one_table_are_one_output() {
        let line = |table: &str, version, rows| Written { rows, ..Written::unchanged(table, "written", version) };
        let lines = [line("scores/a", Some(3), 5), line("scores/a", Some(4), 7), line("reports", None, 0)];
        assert_eq!(Vec::from_iter(written(&lines)), [("scores/a", (4, 12, 0))]);
    }
}
