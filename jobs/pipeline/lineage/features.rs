//! What features come from: groups and sequences, queries, attributes of decisions.

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::{Column, DFSchema};

use super::{Build, comment};
use crate::define::features::{Feature, Function, History};
use crate::define::lineage::{Kind, Place, Through};
use crate::define::sequence::{FieldValue, Interleaved};
use crate::define::sql_features::SPINE;
use crate::define::{Attributes, FeatureGroup, Sequence, SqlFeatures};
use crate::engine::pit::AS_OF;
use crate::engine::plan::lineage::{Uses, column, rows};
use crate::error::Result;
use crate::pipeline::vectors;

impl Build<'_> {
    /// What the rows of one table's history depend on.
    fn past(&self, table: &str, time: Option<&str>, entity: &[String], filter: Option<&str>) -> Result<Uses> {
        let mut uses = Uses::from([(Through::Rows, rows(table))]);
        uses.extend(entity.iter().map(|key| (Through::Entity, column(table, key))));
        uses.extend(time.map(|time| (Through::Time, column(table, time))));
        if let Some(filter) = filter {
            uses.extend(self.over(table, filter, Through::Filter)?);
        }
        Ok(uses)
    }

    fn everybody(entities: &str, entity: &[String]) -> Uses {
        let keys = entity.iter().map(|key| (Through::Entity, column(entities, key)));
        keys.chain([(Through::Rows, rows(entities))]).collect()
    }

    /// What the rows of a group or sequence of one table depend on, and every column with them.
    fn history(&mut self, of: &Place, history: &History) -> Result<()> {
        let mut uses = Self::everybody(&history.entities, &history.entity);
        let filter = history.filter.as_deref();
        uses.extend(self.past(&history.table, self.time(history), &history.entity, filter)?);
        self.link(of, uses);
        Ok(())
    }

    fn time<'a>(&'a self, history: &'a History) -> Option<&'a str> {
        self.project.time_of(history)
    }

    fn ties(&self, table: &str) -> Uses {
        self.project.tie_breaker(table).iter().map(|tie| (Through::Order, column(table, tie))).collect()
    }

    pub(super) fn group(&mut self, group: &FeatureGroup) -> Result<()> {
        let dataset = format!("features/{}", group.name);
        self.add(Place::rows(&dataset), Kind::Group, &group.description, None);
        self.history(&Place::rows(&dataset), &group.history)?;
        // By name: what a derived column comes from that mentions it. Hidden features are looked through.
        let mut columns: BTreeMap<&str, Uses> = BTreeMap::new();
        for feature in &group.features {
            let place = Place::column(&dataset, &feature.name);
            let uses = self.feature(&group.history, feature)?;
            if feature.hidden {
                columns.insert(&feature.name, uses);
                continue;
            }
            columns.insert(&feature.name, [(Through::Value, place.clone())].into());
            self.link(&place, uses);
            self.add(place, Kind::Group, &feature.doc, None);
        }
        for derived in &group.derived {
            let place = Place::column(&dataset, &derived.name);
            // Names are all that matters here; that the types fit has been checked.
            let fields: Vec<Field> = columns.keys().map(|name| Field::new(*name, DataType::Float64, true)).collect();
            let named = self.catalog.uses(&derived.expression, &Schema::new(fields), |name| Place::rows(name))?;
            for (through, name) in named {
                let uses = columns.get(name.dataset.as_str()).cloned().unwrap_or_default();
                self.link(&place, uses.into_iter().map(|(inner, from)| (through.over(inner), from)).collect());
            }
            columns.insert(&derived.name, [(Through::Value, place.clone())].into());
            self.add(place, Kind::Group, &derived.doc, None);
        }
        Ok(())
    }

    fn feature(&self, history: &History, feature: &Feature) -> Result<Uses> {
        use Function::{Count, MeanGap, TimeSinceFirst, TimeSinceLast};
        let table = history.table.as_str();
        let of_time = matches!(feature.function, MeanGap { .. } | TimeSinceFirst { .. } | TimeSinceLast { .. });
        let mut uses = Uses::new();
        if of_time {
            uses.extend(self.time(history).map(|time| (Through::Value, column(table, time))));
        } else if feature.function == Count {
            uses.insert((Through::Value, rows(table)));
        }
        if let Some(of) = &feature.of {
            // To those two, `of` only says which rows have it.
            let through = if of_time || feature.function == Count { Through::Filter } else { Through::Value };
            uses.extend(self.over(table, of, through)?);
        }
        if let Some(filter) = &feature.filter {
            uses.extend(self.over(table, filter, Through::Filter)?);
        }
        if feature.function.needs_order() {
            uses.extend(self.ties(table));
        }
        Ok(uses)
    }

    pub(super) fn sequence(&mut self, sequence: &Sequence) -> Result<()> {
        let dataset = Place::rows(format!("sequences/{}", sequence.name));
        let history = &sequence.history;
        self.add(dataset.clone(), Kind::Sequence, &sequence.description, None);
        if let Some(interleaved) = &sequence.interleaved {
            return self.interleaved(&dataset, sequence, interleaved);
        }
        self.history(&dataset, history)?;
        self.link(&dataset, self.ties(&history.table));
        let schema = self.catalog.relation_schema(&history.table);
        for field in &sequence.fields {
            let (uses, doc) = match &field.value {
                FieldValue::Of(of) => (self.over(&history.table, of, Through::Value)?, comment(&schema, of)),
                FieldValue::SincePrevious(_) | FieldValue::TimeSince(_) => {
                    let time = self.time(history).map(|time| (Through::Value, column(&history.table, time)));
                    (time.into_iter().collect(), String::new())
                }
            };
            self.feature_of(&dataset, &field.name, uses, Kind::Sequence, &doc);
        }
        Ok(())
    }

    /// The tables' rows are one history; its columns are what any of the tables gives for them.
    fn interleaved(&mut self, dataset: &Place, sequence: &Sequence, interleaved: &Interleaved) -> Result<()> {
        let entity = &sequence.history.entity;
        let mut uses = Self::everybody(&sequence.history.entities, entity);
        let mut known: BTreeMap<&str, Uses> = BTreeMap::new();
        let mut times = Uses::new();
        for strand in &interleaved.strands {
            let table = strand.table.as_str();
            let time = strand.event_time.as_deref().or_else(|| self.project.event_time(table));
            uses.extend(self.past(table, time, entity, strand.filter.as_deref())?);
            uses.extend(self.ties(table));
            times.extend(time.map(|time| (Through::Value, column(table, time))));
            for key in entity {
                known.entry(key).or_default().insert((Through::Value, column(table, key)));
            }
            for name in &interleaved.types {
                known.entry(name).or_default().insert((Through::Value, rows(table)));
            }
            for (name, of) in &strand.fields {
                known.entry(name).or_default().extend(self.over(table, of, Through::Value)?);
            }
        }
        if let Some(filter) = &sequence.history.filter {
            let filtered = self.named(filter, &known)?;
            uses.extend(filtered.into_iter().map(|(inner, place)| (Through::Filter.over(inner), place)));
        }
        self.link(dataset, uses);
        for field in &sequence.fields {
            let uses = match &field.value {
                FieldValue::Of(of) => self.named(of, &known)?,
                FieldValue::SincePrevious(_) | FieldValue::TimeSince(_) => times.clone(),
            };
            self.feature_of(dataset, &field.name, uses, Kind::Sequence, "");
        }
        Ok(())
    }

    /// What an expression over columns that are known by name comes from. Their types have been checked.
    fn named(&self, text: &str, known: &BTreeMap<&str, Uses>) -> Result<Uses> {
        let fields: Vec<Field> = known.keys().map(|name| Field::new(*name, DataType::Float64, true)).collect();
        let find = |column: &Column| known.get(column.name.as_str()).cloned().unwrap_or_default();
        self.catalog.uses_of(text, &DFSchema::try_from(Schema::new(fields))?, find)
    }

    pub(super) fn query(&mut self, features: &SqlFeatures) -> Result<()> {
        let dataset = Place::rows(format!("features/{}", features.name));
        self.add(dataset.clone(), Kind::SqlFeatures, &features.description, None);
        let lineage = self.catalog.query_lineage(features)?;
        self.link(&dataset, Self::everybody(&features.entities, &features.entity));
        self.link(&dataset, lineage.rows);
        for (name, uses) in lineage.columns {
            let doc = features.columns.get(&name).map_or("", |column| column.doc.as_str());
            self.feature_of(&dataset, &name, uses, Kind::SqlFeatures, doc);
        }
        Ok(())
    }

    /// A column that is looked up also depends on how its row is found.
    pub(super) fn attributes(&mut self, attributes: &Attributes) -> Result<()> {
        let dataset = Place::rows(format!("attributes/{}", attributes.name));
        self.add(dataset.clone(), Kind::Attributes, &attributes.description, None);
        let (project, spine) = (self.project, attributes.spine.as_str());
        let mut known: BTreeMap<String, Uses> = BTreeMap::new();
        let as_of = project.event_time(spine).map(|time| (Through::Value, column(spine, time)));
        known.insert(format!("{SPINE}.{AS_OF}"), as_of.into_iter().collect());
        for name in self.columns(spine).filter(|name| name != AS_OF) {
            known.insert(format!("{SPINE}.{name}"), [(Through::Value, column(spine, &name))].into());
        }
        let mut found = Uses::from([(Through::Rows, rows(spine))]);
        for (alias, lookup) in &attributes.lookups {
            let table = lookup.table.as_str();
            let mut way = self.ties(table);
            let time = lookup.event_time.as_deref().or_else(|| project.event_time(table));
            way.extend(time.map(|time| (Through::Time, column(table, time))));
            for (theirs, ours) in &lookup.on {
                way.extend([(Through::Join, column(table, theirs)), (Through::Join, column(spine, ours))]);
            }
            let own = |name: &String| !lookup.on.iter().any(|(theirs, ours)| theirs == name && ours == name);
            for name in self.columns(table).filter(own) {
                let uses = known.entry(format!("{alias}.{name}")).or_default();
                uses.insert((Through::Value, column(table, &name)));
                uses.extend(way.iter().cloned());
            }
            found.insert((Through::Rows, rows(table)));
        }
        self.link(&dataset, found);
        let fields: Vec<Field> = known.keys().map(|name| Field::new(name, DataType::Float64, true)).collect();
        let schema = vectors::qualified(&Schema::new(fields))?;
        for feature in &attributes.features {
            let find = |column: &Column| known.get(&column.flat_name()).cloned().unwrap_or_default();
            let uses = self.catalog.uses_of(&feature.expression, &schema, find)?;
            self.feature_of(&dataset, &feature.name, uses, Kind::Attributes, &feature.doc);
        }
        Ok(())
    }

    fn feature_of(&mut self, dataset: &Place, name: &str, uses: Uses, kind: Kind, doc: &str) {
        let place = Place::column(&dataset.dataset, name);
        self.link(&place, uses);
        self.add(place, kind, doc, None);
    }

    fn columns(&self, relation: &str) -> impl Iterator<Item = String> + use<> {
        let schema = self.catalog.relation_schema(relation);
        schema.into_iter().flat_map(|schema| schema.fields().iter().map(|f| f.name().clone()).collect::<Vec<_>>())
    }
}
