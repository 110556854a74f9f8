//! Personal data are followed through the lineage of columns: what comes of them has to be declared
//! ([`crate::define::personal`] says how), or it does not compile.

use std::collections::BTreeMap;

use super::lineage;
use super::load::Loaded;
use crate::define::Diagnostic;
use crate::define::lineage::{Direction, Graph, Kind, Place, Through};
use crate::define::personal::{Class, Declared};
use crate::define::source::Pii;
use crate::error::Result;

/// The column of a model.
const SCORE: &str = "score";

/// What is wrong in a project that is sound otherwise.
pub fn check(loaded: &Loaded) -> Result<Vec<Diagnostic>> {
    let project = &loaded.project;
    let kept = project.sources.values().any(|source| source.columns.values().any(|c| c.pii == Some(Pii::Keep)));
    if !kept && project.personal.values().all(|declared| declared.classes.is_empty()) {
        return Ok(Vec::new());
    }
    let graph = lineage::graph(&loaded.project, &loaded.catalog)?;
    let mut check = Check { graph: &graph, declared: &project.personal, roots: BTreeMap::new(), out: Vec::new() };
    check.names();
    for (place, _) in graph.nodes() {
        check.root(place);
    }
    Ok(check.out)
}

struct Check<'a> {
    graph: &'a Graph,
    declared: &'a BTreeMap<String, Declared>,
    /// Of each place: the column that makes it personal, if one does.
    roots: BTreeMap<Place, Option<Place>>,
    out: Vec<Diagnostic>,
}

impl Check<'_> {
    /// Columns that are declared must be there.
    fn names(&mut self) {
        for (dataset, declared) in self.declared {
            let columns = self.graph.columns(dataset).filter_map(|place| place.column.as_deref());
            let score = dataset.starts_with("models/").then_some(SCORE);
            let names: Vec<&str> = columns.chain(score).collect();
            for name in declared.classes.keys().filter(|name| !names.contains(&name.as_str())) {
                let d = declared.origin.at(&format!("pii.{name}"), "`pii` names no column");
                self.out.push(d.expected_one_of(name, names.iter().copied()));
            }
        }
    }

    /// What makes a place personal; said once, where it is not declared.
    fn root(&mut self, place: &Place) -> Option<Place> {
        if let Some(known) = self.roots.get(place) {
            return known.clone();
        }
        // Nothing comes from itself, but better safe than without end.
        self.roots.insert(place.clone(), None);
        let node = self.graph.node(place)?;
        let root = match (node.kind, self.class(place, node.kind)) {
            (Kind::Source, _) => (node.pii == Some(Pii::Keep)).then(|| place.clone()),
            (_, Some(Class::Keep)) => Some(place.clone()),
            (_, Some(Class::None)) => None,
            (kind, None) => {
                let flows = [Through::Value, Through::Label, Through::Condition];
                let graph = self.graph;
                let parents = graph.next(place, Direction::Up).filter(|(through, _)| flows.contains(through));
                let root = parents.filter_map(|(_, parent)| self.root(parent)).next();
                if let Some(root) = root {
                    self.undeclared(place, kind, &root);
                }
                None
            }
        };
        self.roots.insert(place.clone(), root.clone());
        root
    }

    fn class(&self, place: &Place, kind: Kind) -> Option<Class> {
        let name = if kind == Kind::Model { Some(SCORE) } else { place.column.as_deref() };
        self.declared.get(&place.dataset)?.classes.get(name?).copied()
    }

    fn undeclared(&mut self, place: &Place, kind: Kind, root: &Place) {
        let Some(declared) = self.declared.get(&place.dataset) else { return };
        let name = place.column.as_deref().unwrap_or(SCORE);
        let path = match kind {
            Kind::Attributes => format!("features.{name}"),
            Kind::Group => "aggregations".to_string(),
            Kind::Sequence => "fields".to_string(),
            Kind::Model => "inputs".to_string(),
            Kind::Source | Kind::Table | Kind::SqlFeatures => format!("columns.{name}"),
        };
        let what = if kind == Kind::Model { "the score".to_string() } else { format!("`{name}`") };
        let d = declared.origin.at(&path, format!("{what} comes from personal data and does not say what it is"));
        let expected = format!("`pii: {{{name}: keep}}`, still personal, or `pii: {{{name}: none}}`, no longer");
        self.out.push(d.found(format!("{}, which is `pii: keep`", root.name())).expected(expected));
    }
}

#[cfg(test)]
mod tests {
    use crate::define::TextFile;

    const SOURCES: &str = "\
sources:
  pay:
    location: pay/day={date}/*.parquet
    event_time: at
    key: [id]
    columns:
      id: string
      user_id: string
      at: timestamp
      email: {type: string, pii: keep}
      phone: {type: string, pii: pseudonymise}
      digits: {type: int32, derive: \"length(email)\"}
";
    const TABLE: &str = "select id, user_id, at, phone, digits, lower(email) as mail, \
        case when email like '%@x' then 1 else 0 end as own from pay where email is not null";
    const YAML: &str = "materialized: full\nkey: [id]\nevent_time: at\ncolumns:\n  id: {doc: i}\n  user_id: {doc: u}\n  \
        at: {doc: a}\n  phone: {doc: p}\n  digits: {doc: d}\n  mail: {doc: m}\n  own: {doc: o}\n";
    const GROUP: &str = "group: g\nentity: user_id\nentities: t\ntable: t\naggregations:\n  \
        - {of: mail, fn: last}\n  - {fn: count, where: \"mail is not null\", as: mails}\n  - {of: digits, fn: max}\n";
    const MODEL: &str = "model: m\nentity: user_id\nspine: {population: t, every: 7d, history: 30d}\n\
        label: {table: t, horizon: 7d}\ninputs: [g.*]\nhead: {kind: lightgbm}\n\
        validation: {kind: time, test: 7d, valid: 7d}\ndecisions: [{action: a}]\n";

    fn wrong(table: &str, group: &str, model: &str) -> Vec<String> {
        let file = |path: &str, text: &str| TextFile { path: path.into(), text: text.into() };
        let mut files = vec![
            file("sql/sources.yaml", SOURCES),
            file("sql/t.sql", TABLE),
            file("sql/t.yaml", &format!("{YAML}{table}")),
            file("features/g.yaml", &format!("{GROUP}{group}")),
        ];
        if !model.is_empty() {
            files.push(file("models/m.yaml", model));
        }
        let (_, out) = crate::pipeline::load::compile(&files).unwrap();
        out.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_comes_of_personal_data_says_what_it_is() {
        let out = wrong("", "", "");
        assert_eq!(out.len(), 2, "{out:#?}");
        for (text, name, line) in [(&out[0], "mail", 10), (&out[1], "own", 11)] {
            let says = format!("sql/t.yaml:{line}:3: `{name}` comes from personal data and does not say what it is");
            assert!(text.starts_with(&says), "{text}");
            assert!(text.contains("found: pay.email, which is `pii: keep`"), "{text}");
            assert!(text.contains(&format!("`pii: {{{name}: none}}`, no longer")), "{text}");
        }
        assert_eq!(wrong("pii: {mail: none, own: none}\n", "", ""), Vec::<String>::new());
    }

    #[test]
    fn the_class_flows_on_to_features_and_scores() {
        let table = "pii: {mail: keep, own: none}\n";
        let out = wrong(table, "", "");
        assert_eq!(out.len(), 1, "{out:#?}");
        assert!(out[0].contains("features/g.yaml:5:1: `mail_last` comes") && out[0].contains("t.mail"), "{}", out[0]);
        let kept = "pii: {mail_last: keep}\n";
        assert_eq!(wrong(table, kept, ""), Vec::<String>::new());
        let out = wrong(table, kept, MODEL);
        assert!(out.len() == 1 && out[0].contains("models/m.yaml:5:1: the score comes"), "{out:#?}");
        assert_eq!(wrong(table, kept, &format!("{MODEL}pii: {{score: none}}\n")), Vec::<String>::new());
    }

    #[test]
    fn a_declaration_names_a_column() {
        let out = wrong("pii: {mial: none, mail: none, own: none}\n", "pii: {mail_last: often}\n", "");
        assert!(out.iter().any(|d| d.contains("unknown value `often`")), "{out:#?}");
        let out = wrong("pii: {mial: none, mail: none, own: none}\n", "", "");
        assert!(out[0].contains("sql/t.yaml:12:7") && out[0].contains("did you mean `mail`?"), "{out:#?}");
    }
}
