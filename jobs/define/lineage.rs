//! What comes from what: a graph of columns from source to table to feature to model.
//!
//! A [`Place`] is a column of a dataset, or the dataset's rows as such: which rows there are depends on other columns
//! (what is joined, filtered, grouped by) than their values do. So a column depends on two things, its own parents and
//! the rows of its dataset, and the latter are said once per dataset instead of once per column.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Serialize, Serializer};

use super::diagnostic::nearest;
use super::source::Pii;

/// How one place depends on another. Values and labels are computed from their parents; everything else is indirect,
/// as in OpenLineage's facet for column lineage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Through {
    Value,
    /// What a model learns to foresee.
    Label,
    /// Chooses between values: `case when … then`.
    Condition,
    Filter,
    Join,
    Group,
    Order,
    /// An event time: before which instant, in which window.
    Time,
    /// Whom a row describes.
    Entity,
    /// How much a row counts in training.
    Weight,
    Segment,
    /// Which rows a dataset has.
    Rows,
}

impl Through {
    pub fn is_direct(self) -> bool {
        matches!(self, Through::Value | Through::Label)
    }

    pub fn name(self) -> &'static str {
        match self {
            Through::Value => "value",
            Through::Label => "label",
            Through::Condition => "condition",
            Through::Filter => "filter",
            Through::Join => "join",
            Through::Group => "group",
            Through::Order => "order",
            Through::Time => "time",
            Through::Entity => "entity",
            Through::Weight => "weight",
            Through::Segment => "segment",
            Through::Rows => "rows",
        }
    }

    /// What a use inside of this one amounts to: the key of a join stays one, whatever it is computed from.
    pub fn over(self, inner: Through) -> Through {
        if self == Through::Value { inner } else { self }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Source,
    Table,
    Group,
    SqlFeatures,
    Sequence,
    Attributes,
    Model,
}

/// A column, or with `column: None` the rows of a dataset.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// As below the lake's root: `tables/payment`, `features/payments`, `sequences/…`, `models/…`; and `attributes/…`,
    /// which are not stored.
    pub dataset: String,
    pub column: Option<String>,
}

impl Place {
    pub fn rows(dataset: impl Into<String>) -> Place {
        Place { dataset: dataset.into(), column: None }
    }

    pub fn column(dataset: impl Into<String>, column: impl Into<String>) -> Place {
        Place { dataset: dataset.into(), column: Some(column.into()) }
    }

    /// As people write it: `payment.amount`, `credit`.
    pub fn name(&self) -> String {
        let dataset = self.dataset.split_once('/').map_or(self.dataset.as_str(), |(_, name)| name);
        self.column.as_ref().map_or(dataset.to_string(), |column| format!("{dataset}.{column}"))
    }
}

/// Unique in a project, unlike the name: a table and a group may share that.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.dataset)?;
        self.column.as_ref().map_or(Ok(()), |column| write!(f, ".{column}"))
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What is known of a place beside its edges.
#[derive(Debug, Clone, Serialize)]
pub struct Node {
    pub kind: Kind,
    pub doc: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pii: Option<Pii>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To where it comes from.
    Up,
    /// To what is made of it.
    Down,
}

type Edges = BTreeMap<Place, BTreeSet<(Through, Place)>>;

#[derive(Debug, Default)]
pub struct Graph {
    nodes: BTreeMap<Place, Node>,
    up: Edges,
    down: Edges,
}

impl Graph {
    /// A column comes with its dependence on the rows of its dataset.
    pub fn add(&mut self, place: Place, node: Node) {
        if place.column.is_some() {
            self.link(Place::rows(&place.dataset), &place, Through::Rows);
        }
        self.nodes.insert(place, node);
    }

    pub fn link(&mut self, from: Place, to: &Place, through: Through) {
        self.down.entry(from.clone()).or_default().insert((through, to.clone()));
        self.up.entry(to.clone()).or_default().insert((through, from));
    }

    /// In the order of names.
    pub fn nodes(&self) -> impl Iterator<Item = (&Place, &Node)> {
        self.nodes.iter()
    }

    pub fn node(&self, place: &Place) -> Option<&Node> {
        self.nodes.get(place)
    }

    pub fn columns<'a>(&'a self, dataset: &'a str) -> impl Iterator<Item = &'a Place> {
        self.nodes.keys().filter(move |place| place.dataset == dataset && place.column.is_some())
    }

    /// What is one step away.
    pub fn next(&self, place: &Place, direction: Direction) -> impl Iterator<Item = &(Through, Place)> {
        let edges = if direction == Direction::Up { &self.up } else { &self.down };
        edges.get(place).into_iter().flatten()
    }

    /// Every edge as (from, to, through).
    pub fn edges(&self) -> impl Iterator<Item = (&Place, &Place, Through)> {
        self.up.iter().flat_map(|(to, parents)| parents.iter().map(move |(through, from)| (from, to, *through)))
    }

    /// The places of that name or full name; of several kinds where they share it.
    pub fn find(&self, name: &str) -> Vec<&Place> {
        self.nodes.keys().filter(|place| place.name() == name || place.to_string() == name).collect()
    }

    pub fn nearest(&self, name: &str) -> Option<String> {
        let names: Vec<String> = self.nodes.keys().map(Place::name).collect();
        nearest(name, names.iter().map(String::as_str)).map(str::to_string)
    }

    /// The part of the graph that lies that way of some places; a dataset brings its columns along.
    pub fn reach(&self, start: &[&Place], directions: &[Direction]) -> Graph {
        let mut part = Graph::default();
        for &direction in directions {
            let mut open = start.to_vec();
            for dataset in start.iter().filter(|place| place.column.is_none()) {
                open.extend(self.columns(&dataset.dataset));
            }
            let mut seen: BTreeSet<&Place> = open.iter().copied().collect();
            while let Some(place) = open.pop() {
                part.nodes.extend(self.node(place).map(|node| (place.clone(), node.clone())));
                for (through, next) in self.next(place, direction) {
                    match direction {
                        Direction::Up => part.link(next.clone(), place, *through),
                        Direction::Down => part.link(place.clone(), next, *through),
                    }
                    if seen.insert(next) {
                        open.push(next);
                    }
                }
            }
        }
        part
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph() -> Graph {
        let mut graph = Graph::default();
        let node = |kind| Node { kind, doc: String::new(), pii: None };
        for column in ["a", "b", "c"] {
            graph.add(Place::column("tables/raw", column), node(Kind::Source));
        }
        graph.add(Place::rows("tables/raw"), node(Kind::Source));
        graph.add(Place::rows("tables/t"), node(Kind::Table));
        for column in ["x", "y"] {
            let place = Place::column("tables/t", column);
            graph.link(Place::column("tables/raw", "a"), &place, Through::Value);
            graph.add(place, node(Kind::Table));
        }
        graph.link(Place::column("tables/raw", "b"), &Place::rows("tables/t"), Through::Filter);
        graph
    }

    fn names(graph: &Graph) -> Vec<String> {
        graph.nodes().map(|(place, _)| place.name()).collect()
    }

    #[test]
    fn what_decides_on_rows_reaches_every_column() {
        let graph = graph();
        let up = graph.reach(&[&Place::column("tables/t", "x")], &[Direction::Up]);
        assert_eq!(names(&up), ["raw", "raw.a", "raw.b", "t", "t.x"]);
        let down = graph.reach(&[&Place::column("tables/raw", "b")], &[Direction::Down]);
        assert_eq!(names(&down), ["raw.b", "t", "t.x", "t.y"]);
        assert_eq!(names(&graph.reach(&[&Place::column("tables/raw", "c")], &[Direction::Down])), ["raw.c"]);
    }

    #[test]
    fn a_name_is_found_short_and_full_and_a_wrong_one_has_a_neighbour() {
        let graph = graph();
        assert_eq!(graph.find("t.x"), graph.find("tables/t.x"));
        assert_eq!(graph.find("t").len(), 1);
        assert_eq!(graph.nearest("raw.A").as_deref(), Some("raw.a"));
        assert!(graph.find("features/t").is_empty());
    }

    #[test]
    fn a_use_inside_an_indirect_one_is_as_indirect() {
        assert_eq!(Through::Join.over(Through::Value), Through::Join);
        assert_eq!(Through::Value.over(Through::Condition), Through::Condition);
        assert_eq!(Through::Join.over(Through::Order), Through::Join);
    }
}
