//! `scorehouse lineage`: what a column, feature or model comes from, and what is made of it.
//!
//! As a tree: a line is a place; before it stands through what it is used, unless its value is. What has been shown is
//! not shown again (`…`), and what has nothing below it stands beside others on one line.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::output;
use crate::define::lineage::{Direction, Graph, Kind, Node, Place, Through};
use crate::error::{Error, Result};
use crate::pipeline::lineage;

#[derive(Debug, Args)]
pub struct Arguments {
    /// `source.column`, `table.column`, `group.feature`, `sequence.field`, or one of these as a whole, or a model;
    /// without it the whole project, a line each.
    name: Option<String>,
    /// Only what it comes from.
    #[arg(long, conflicts_with = "downstream")]
    upstream: bool,
    /// Only what is made of it.
    #[arg(long)]
    downstream: bool,
    /// Directory with sql/, features/ and models/.
    #[arg(long, default_value = ".", value_name = "DIR")]
    project: PathBuf,
    /// Nodes and edges as JSON on stdout.
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: Arguments) -> Result<()> {
    let graph = lineage::run(&arguments.project)?;
    let directions: &[Direction] = match (arguments.upstream, arguments.downstream) {
        (true, _) => &[Direction::Up],
        (_, true) => &[Direction::Down],
        _ => &[Direction::Up, Direction::Down],
    };
    let Some(name) = &arguments.name else {
        let text = if arguments.json { pretty(&as_json(&graph))? } else { summary(&graph) };
        return output::print(&text);
    };
    let found = graph.find(name);
    if found.is_empty() {
        let help = match graph.nearest(name) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "`scorehouse lineage` lists sources, tables, groups, sequences and models".to_string(),
        };
        return Err(Error::definition(format!("there is nothing called `{name}`\n  help: {help}")));
    }
    if arguments.json {
        return output::print(&pretty(&as_json(&graph.reach(&found, directions)))?);
    }
    let trees: Vec<String> = found.iter().map(|place| tree(&graph, place, directions)).collect();
    output::print(&trees.join("\n"))
}

fn pretty(value: &Value) -> Result<String> {
    Ok(format!("{}\n", serde_json::to_string_pretty(value)?))
}

fn as_json(graph: &Graph) -> Value {
    let node = |(place, node): (&Place, &Node)| {
        let mut value = json!(node);
        value["id"] = json!(place);
        value["name"] = json!(place.name());
        value
    };
    let edge = |(from, to, through): (&Place, &Place, Through)| json!({"from": from, "to": to, "through": through, "direct": through.is_direct()});
    json!({
        "nodes": graph.nodes().map(node).collect::<Vec<_>>(),
        "edges": graph.edges().map(edge).collect::<Vec<_>>(),
    })
}

/// In the order in which data flow.
const KINDS: [Kind; 7] =
    [Kind::Source, Kind::Table, Kind::Group, Kind::SqlFeatures, Kind::Sequence, Kind::Attributes, Kind::Model];

/// A line for each dataset.
fn summary(graph: &Graph) -> String {
    let mut text = String::new();
    for kind in KINDS {
        for (place, _) in graph.nodes().filter(|(place, node)| node.kind == kind && place.column.is_none()) {
            let what = json!(kind).as_str().unwrap_or_default().replace("sql_features", "query");
            let columns = match graph.columns(&place.dataset).count() {
                0 => String::new(),
                n => format!("{n} columns"),
            };
            let row = format!("{what:<10}  {:<24}  {columns:>12}", place.name());
            text.push_str(row.trim_end());
            for (arrow, direction) in [('←', Direction::Up), ('→', Direction::Down)] {
                let names: BTreeSet<String> = graph
                    .next(place, direction)
                    .filter(|(through, next)| *through == Through::Rows && next.column.is_none())
                    .map(|(_, next)| next.name())
                    .collect();
                if !names.is_empty() {
                    text.push_str(&format!("  {arrow} {}", list(names)));
                }
            }
            text.push('\n');
        }
    }
    text
}

fn tree(graph: &Graph, place: &Place, directions: &[Direction]) -> String {
    let doc = graph.node(place).map(|node| node.doc.as_str()).filter(|doc| !doc.is_empty());
    let mut text = format!("{}{}\n", label(graph, place), doc.map(|doc| format!(": {doc}")).unwrap_or_default());
    for &direction in directions {
        text.push_str(if direction == Direction::Up { "\ncomes from\n" } else { "\ngoes into\n" });
        let mut tree = Tree { graph, direction, seen: BTreeSet::from([place]), text: &mut text };
        let below = tree.of_root(place);
        if below.is_empty() {
            tree.text.push_str("└─ nothing else\n");
        }
        tree.branch(below, "");
    }
    text
}

struct Tree<'a> {
    graph: &'a Graph,
    direction: Direction,
    seen: BTreeSet<&'a Place>,
    text: &'a mut String,
}

/// Places by what they are used through.
type Below<'a> = BTreeMap<Through, Vec<&'a Place>>;

impl<'a> Tree<'a> {
    /// A dataset shows its columns; a column, once, what decides on its rows.
    fn of_root(&self, place: &'a Place) -> Below<'a> {
        let mut below = self.below(place);
        match (&place.column, self.direction) {
            (None, _) => below.entry(Through::Value).or_default().extend(self.graph.columns(&place.dataset)),
            (Some(_), Direction::Up) => {
                let own = self.graph.next(place, Direction::Up).filter(|(_, next)| is_own(place, next));
                own.for_each(|(through, rows)| below.entry(*through).or_default().push(rows));
            }
            (Some(_), Direction::Down) => {}
        }
        // The rows of a source depend on nothing.
        below.retain(|through, places| *through != Through::Rows || places.iter().any(|p| !self.is_leaf(p)));
        below.retain(|_, places| !places.is_empty());
        below
    }

    /// That a column depends on the rows of its own dataset goes without saying below the root.
    fn below(&self, place: &'a Place) -> Below<'a> {
        let mut below = Below::new();
        for (through, next) in self.graph.next(place, self.direction).filter(|(_, next)| !is_own(place, next)) {
            below.entry(*through).or_default().push(next);
        }
        below
    }

    fn is_leaf(&self, place: &'a Place) -> bool {
        self.below(place).is_empty()
    }

    fn branch(&mut self, below: Below<'a>, indent: &str) {
        let mut lines: Vec<(Through, Vec<&'a Place>)> = Vec::new();
        for (through, places) in below {
            let (leaves, branches): (Vec<_>, Vec<_>) = places.into_iter().partition(|place| self.is_leaf(place));
            lines.extend(branches.into_iter().map(|place| (through, vec![place])));
            lines.extend((!leaves.is_empty()).then_some((through, leaves)));
        }
        let count = lines.len();
        for (index, (through, places)) in lines.into_iter().enumerate() {
            let (tee, bar) = if index + 1 == count { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            self.text.push_str(&format!("{indent}{tee}{}{}", word(through), self.names(&places)));
            let deeper = match places.as_slice() {
                [place] => self.go_on(place),
                _ => None,
            };
            self.text.push('\n');
            if let Some(below) = deeper {
                self.branch(below, &format!("{indent}{bar}"));
            }
        }
    }

    /// Finishes a place's line; what is left to show below it.
    fn go_on(&mut self, place: &'a Place) -> Option<Below<'a>> {
        let below = self.below(place);
        if below.is_empty() {
            return None;
        }
        if !self.seen.insert(place) {
            self.text.push_str(" …");
            return None;
        }
        // A single thread of values goes on in the same line.
        let arrow = if self.direction == Direction::Up { '←' } else { '→' };
        match below.get(&Through::Value).filter(|_| below.len() == 1).map(Vec::as_slice) {
            Some(places) if places.len() == 1 || places.iter().all(|place| self.is_leaf(place)) => {
                let line = format!(" {arrow} {}", self.names(places));
                self.text.push_str(&line);
                if let [place] = places { self.go_on(place) } else { None }
            }
            _ => Some(below),
        }
    }

    fn names(&self, places: &[&Place]) -> String {
        list(places.iter().map(|place| label(self.graph, place)))
    }
}

fn is_own(place: &Place, next: &Place) -> bool {
    place.dataset == next.dataset && place.column.is_none() != next.column.is_none()
}

fn label(graph: &Graph, place: &Place) -> String {
    match graph.node(place).and_then(|node| node.pii) {
        Some(pii) => format!("{} [personal: {}]", place.name(), json!(pii).as_str().unwrap_or_default()),
        None => place.name(),
    }
}

fn word(through: Through) -> String {
    if through == Through::Value { String::new() } else { format!("{}: ", through.name()) }
}

fn list(names: impl IntoIterator<Item = String>) -> String {
    names.into_iter().collect::<Vec<_>>().join(", ")
}
