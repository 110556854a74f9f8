//! The `lineage` job: every column of a project and what it comes from. No storage is touched.

mod features;

use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};

use super::load;
use crate::define::lineage::{Graph, Kind, Node, Place, Through};
use crate::define::model::{Anchor, Label, Scoring, SpineKind};
use crate::define::personal::Class;
use crate::define::source::Pii;
use crate::define::{Model, Project, Source, Table, diagnostic, inputs};
use crate::engine::plan::lineage::{Uses, column, rows};
use crate::engine::plan::{Catalog, EVENT_DATE};
use crate::error::Result;

/// The graph of a project that is sound.
pub fn run(root: &Path) -> Result<Graph> {
    let loaded = load::load(root)?;
    graph(&loaded.project, &loaded.catalog)
}

/// The graph of what has been compiled.
pub fn graph(project: &Project, catalog: &Catalog) -> Result<Graph> {
    let mut build = Build { project, catalog, graph: Graph::default() };
    project.sources.values().try_for_each(|source| build.source(source))?;
    project.tables.values().try_for_each(|table| build.table(table))?;
    project.groups.values().try_for_each(|group| build.group(group))?;
    project.sequences.values().try_for_each(|sequence| build.sequence(sequence))?;
    project.sql_features.values().try_for_each(|features| build.query(features))?;
    project.attributes.values().try_for_each(|attributes| build.attributes(attributes))?;
    project.models.values().try_for_each(|model| build.model(model))?;
    Ok(build.graph)
}

struct Build<'a> {
    project: &'a Project,
    catalog: &'a Catalog,
    graph: Graph,
}

impl Build<'_> {
    fn add(&mut self, place: Place, kind: Kind, doc: &str, pii: Option<Pii>) {
        let declared = self.project.personal.get(&place.dataset);
        let class = declared.and_then(|declared| declared.classes.get(place.column.as_ref()?));
        let pii = pii.or((class == Some(&Class::Keep)).then_some(Pii::Keep));
        self.graph.add(place, Node { kind, doc: doc.to_string(), pii });
    }

    fn link(&mut self, to: &Place, uses: Uses) {
        for (through, from) in uses {
            self.graph.link(from, to, through);
        }
    }

    /// All the places that an expression over a row of a relation names are used through one thing.
    fn over(&self, relation: &str, text: &str, through: Through) -> Result<Uses> {
        let schema = self.catalog.relation_schema(relation).unwrap_or_else(|| Arc::new(Schema::empty()));
        let uses = self.catalog.uses(text, &schema, |name| column(relation, name))?;
        Ok(uses.into_iter().map(|(inner, place)| (through.over(inner), place)).collect())
    }

    fn source(&mut self, source: &Source) -> Result<()> {
        self.add(rows(&source.name), Kind::Source, &source.description, None);
        let fields = source.columns.iter().map(|(name, column)| Field::new(name, column.data_type.arrow(), true));
        let schema = Schema::new(fields.collect::<Vec<_>>());
        for (name, declared) in &source.columns {
            let place = column(&source.name, name);
            if let Some(derive) = &declared.derive {
                let uses = self.catalog.uses(derive, &schema, |name| column(&source.name, name))?;
                self.link(&place, uses);
            }
            self.add(place, Kind::Source, declared.doc.as_deref().unwrap_or_default(), declared.pii);
        }
        if let Some(time) = &source.event_time {
            let place = column(&source.name, EVENT_DATE);
            self.graph.link(column(&source.name, time), &place, Through::Value);
            self.add(place, Kind::Source, &format!("Date (UTC) of {time}."), None);
        }
        Ok(())
    }

    fn table(&mut self, table: &Table) -> Result<()> {
        let lineage = self.catalog.lineage(table)?;
        let schema = self.catalog.relation_schema(&table.name);
        self.add(rows(&table.name), Kind::Table, &table.description, None);
        self.link(&rows(&table.name), lineage.rows);
        for (name, uses) in lineage.columns {
            let place = column(&table.name, &name);
            self.link(&place, uses);
            self.add(place, Kind::Table, &comment(&schema, &name), None);
        }
        Ok(())
    }

    fn model(&mut self, model: &Model) -> Result<()> {
        let place = Place::rows(format!("models/{}", model.name));
        self.add(place.clone(), Kind::Model, &model.description, None);
        let project = self.project;
        let mut uses = Uses::new();
        let (spine, time) = match &model.spine.kind {
            SpineKind::Events { table, as_of, .. } => (table, as_of.as_deref().or_else(|| project.event_time(table))),
            SpineKind::Grid { population, .. } => (population, project.event_time(population)),
        };
        let feature = |input: &inputs::Input| match input.group.as_str() {
            "spine" => column(spine, &input.feature),
            group if project.attributes.contains_key(group) => {
                Place::column(format!("attributes/{group}"), &input.feature)
            }
            group => Place::column(format!("features/{group}"), &input.feature),
        };
        for input in inputs::resolve(project, model).map_err(diagnostic::into_error)? {
            uses.insert((Through::Value, feature(&input)));
            uses.insert((Through::Rows, Place::rows(feature(&input).dataset)));
        }
        let groups = model.fairness.iter().flat_map(|fairness| fairness.groups.values());
        for segment in model.segments.values().chain(groups) {
            let mentioned = inputs::mentioned(project, model, segment);
            uses.extend(mentioned.iter().map(|input| (Through::Segment, feature(input))));
        }
        uses.insert((Through::Rows, rows(spine)));
        uses.extend(model.entity.iter().map(|key| (Through::Entity, column(spine, key))));
        uses.extend(time.map(|time| (Through::Time, column(spine, time))));
        if let Some(filter) = &model.spine.filter {
            uses.extend(self.over(spine, filter, Through::Filter)?);
        }
        if let Some(weight) = &model.weight {
            uses.extend(self.over(spine, &weight.column, Through::Weight)?);
        }
        if let Some(reject) = &model.reject_inference {
            uses.extend(self.over(spine, &reject.accepted, Through::Filter)?);
        }
        if let Scoring::Population(table) = &model.scoring {
            uses.insert((Through::Rows, rows(table)));
        }
        uses.extend(self.label(model, spine)?);
        self.link(&place, uses);
        Ok(())
    }

    fn label(&self, model: &Model, spine: &str) -> Result<Uses> {
        let mut uses = Uses::new();
        match &model.label {
            Label::Column { column: label, .. } => {
                uses.insert((Through::Label, column(spine, label)));
            }
            Label::Outcome { table, event_time, filter, matching, eligible, anchor, .. } => {
                let time = event_time.as_deref().or_else(|| self.project.event_time(table));
                let keys = model.entity.iter().chain(matching).map(String::as_str);
                uses.extend(keys.chain(time).map(|name| (Through::Label, column(table, name))));
                uses.insert((Through::Rows, rows(table)));
                if let Some(filter) = filter {
                    uses.extend(self.over(table, filter, Through::Label)?);
                }
                if let Some(eligible) = eligible {
                    uses.extend(self.over(spine, eligible, Through::Filter)?);
                }
                if let Some(anchor) = anchor {
                    uses.extend(self.anchor(model, anchor)?);
                }
            }
        }
        Ok(uses)
    }

    fn anchor(&self, model: &Model, anchor: &Anchor) -> Result<Uses> {
        let table = &anchor.table;
        let time = anchor.event_time.as_deref().or_else(|| self.project.event_time(table));
        let keys = model.entity.iter().chain(&anchor.matching.0).map(String::as_str);
        let mut uses: Uses = keys.chain(time).map(|name| (Through::Label, column(table, name))).collect();
        if let Some(filter) = &anchor.filter {
            uses.extend(self.over(table, filter, Through::Label)?);
        }
        Ok(uses)
    }
}

fn comment(schema: &Option<SchemaRef>, name: &str) -> String {
    let field = schema.as_ref().and_then(|schema| schema.field_with_name(name).ok());
    field.and_then(|field| field.metadata().get("comment")).cloned().unwrap_or_default()
}
