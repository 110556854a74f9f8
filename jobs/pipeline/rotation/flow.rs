//! Where pseudonyms flow, by the lineage of columns: which columns have values of them, and which states were made of
//! their values.

use std::collections::BTreeSet;

use crate::define::lineage::{Direction, Graph, Place, Through};
use crate::define::source::Pii;
use crate::pipeline::features::definition::Definition;
use crate::pipeline::job::Job;

/// Columns whose values are pseudonyms or computed from some.
#[derive(Debug, Default)]
pub struct Flow(BTreeSet<Place>);

impl Flow {
    pub fn of(graph: &Graph) -> Flow {
        let roots = graph.nodes().filter(|(_, node)| node.pii == Some(Pii::Pseudonymise)).map(|(place, _)| place);
        let mut open: Vec<&Place> = roots.collect();
        let mut seen: BTreeSet<Place> = open.iter().map(|place| (*place).clone()).collect();
        while let Some(place) = open.pop() {
            for (through, next) in graph.next(place, Direction::Down) {
                if *through == Through::Value && seen.insert(next.clone()) {
                    open.push(next);
                }
            }
        }
        Flow(seen)
    }

    /// Of a table, by its name below the lake's root.
    pub fn columns(&self, table: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |place| place.dataset == table).filter_map(|place| place.column.as_deref())
    }

    /// Tables of features whose states depend on what pseudonyms are, and not only on which are equal: their texts, or
    /// their order.
    pub fn states(&self, job: &Job, graph: &Graph) -> BTreeSet<String> {
        let order = |table: &str| {
            let ties = job.project.tie_breaker(table);
            ties.iter().any(|column| self.0.contains(&Place::column(format!("tables/{table}"), column)))
        };
        let by_value = |path: &str| {
            let uses = graph.columns(path).flat_map(|column| graph.next(column, Direction::Up));
            let mut uses = uses.filter(|(through, _)| ![Through::Entity, Through::Rows].contains(through));
            uses.any(|(_, from)| self.0.contains(from))
        };
        let ordered = |definition: &Definition<'_>| {
            let mut events = definition.tables();
            // The last is who exists: that table has no order.
            events.pop();
            events.into_iter().any(order)
        };
        let all = Definition::all(job).map(|definition| (definition.path(), ordered(&definition)));
        all.filter(|(path, ordered)| *ordered || by_value(path)).map(|(path, _)| path).collect()
    }
}
