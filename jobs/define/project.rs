//! All definitions of a project together: names resolved, dependencies ordered.
//!
//! The files come in as text and a [`Project`] goes out, or every diagnostic there is. What needs types (columns,
//! expressions) is checked after this, by the engine, against plans.

use std::collections::BTreeMap;

use super::attributes::{Attributes, RawAttributes};
use super::diagnostic::Diagnostic;
use super::experiment::{Experiment, RawExperiment};
use super::features::{FeatureGroup, History, RawGroup};
use super::graph;
use super::map::Map;
use super::model::{Label, Model, RawModel, Scoring, SpineKind};
use super::overlap::overlap;
use super::personal::{Class, Declared};
use super::sequence::{RawSequence, Sequence};
use super::source::{RawSources, Source};
use super::sql_features::{RawSqlFeatures, SPINE, SqlFeatures};
use super::table::{RawTable, Table};
use super::types::{is_name, reserved};
use super::yaml::{self, Origin};
use crate::error::{Error, Result};

/// A file of the project: its path below the project's root, with `/`, and its text.
#[derive(Debug, Clone)]
pub struct TextFile {
    pub path: String,
    pub text: String,
}

#[derive(Debug, Clone, Default)]
pub struct Project {
    pub sources: Map<Source>,
    /// In dependency order: inputs first.
    pub tables: Map<Table>,
    pub groups: Map<FeatureGroup>,
    pub sequences: Map<Sequence>,
    pub sql_features: Map<SqlFeatures>,
    pub attributes: Map<Attributes>,
    pub models: Map<Model>,
    pub experiments: Map<Experiment>,
    /// What definitions say of personal data, by dataset: `tables/…`, `features/…`.
    pub personal: BTreeMap<String, Declared>,
}

impl Project {
    /// Parses and resolves; the diagnostics are empty if and only if the project is sound so far.
    pub fn parse(files: &[TextFile]) -> (Project, Vec<Diagnostic>) {
        let mut out = Vec::new();
        let mut project = Project::default();
        for file in files {
            match (file.path.split('/').next(), file.path.as_str()) {
                (_, "sql/sources.yaml") => project.parse_sources(file, &mut out),
                (Some("sql"), path) if path.ends_with(".yaml") => project.parse_table(file, files, &mut out),
                (Some("sql"), path) if path.ends_with(".sql") => twin(file, files, &mut out),
                (Some("features"), path) if path.ends_with(".yaml") => project.parse_features(file, files, &mut out),
                (Some("features"), path) if path.ends_with(".sql") => feature_query(file, files, &mut out),
                (Some("models"), path) if path.ends_with(".yaml") && !is_experiment(file) => {
                    project.parse_model(file, &mut out);
                }
                _ => {}
            }
        }
        // They vary models, wherever these stand.
        for file in files.iter().filter(|file| is_experiment(file)) {
            project.parse_experiment(file, &mut out);
        }
        if !files.iter().any(|f| f.path == "sql/sources.yaml") {
            let d = Diagnostic::new("sql/sources.yaml", (0, 0), "the project declares no sources");
            out.push(d.help("is this the project's directory? --project names it"));
        }
        project.resolve(&mut out);
        graph::order(&mut project.tables, &mut out);
        (project, out)
    }

    /// Names of everything that can be read as a relation.
    pub fn relations(&self) -> impl Iterator<Item = &str> {
        self.sources.keys().chain(self.tables.keys()).map(String::as_str)
    }

    /// The event time of a source or table, if it has one.
    pub fn event_time(&self, relation: &str) -> Option<&str> {
        let source = self.sources.get(relation).and_then(|s| s.event_time.as_deref());
        source.or_else(|| self.tables.get(relation).and_then(|t| t.event_time.as_deref()))
    }

    /// The unit of a column, if it is said.
    pub fn unit(&self, relation: &str, column: &str) -> Option<&str> {
        let source = self.sources.get(relation).and_then(|s| s.columns.get(column)).and_then(|c| c.unit.as_deref());
        let table = self.tables.get(relation).and_then(|t| t.columns.get(column)).and_then(|c| c.unit.as_deref());
        source.or(table)
    }

    /// The event time of a history: its own, or its table's.
    pub fn time_of<'a>(&'a self, history: &'a History) -> Option<&'a str> {
        history.event_time.as_deref().or_else(|| self.event_time(&history.table))
    }

    /// Event time and tie breaker of a history, which has both in a project that is sound.
    pub fn clocks<'a>(&'a self, history: &'a History) -> Result<(&'a str, &'a [String])> {
        let time = self.time_of(history);
        let time = time.ok_or_else(|| Error::internal(format!("{} has no event time", history.table)))?;
        Ok((time, self.tie_breaker(&history.table)))
    }

    /// Columns that order rows of equal event time.
    pub fn tie_breaker(&self, relation: &str) -> &[String] {
        let source = self.sources.get(relation).map(|s| s.tie_breaker.as_slice());
        source.or_else(|| self.tables.get(relation).map(|t| t.tie_breaker.as_slice())).unwrap_or_default()
    }

    /// Columns that identify a row.
    pub fn key(&self, relation: &str) -> &[String] {
        let source = self.sources.get(relation).map(|s| s.key.as_slice());
        source.or_else(|| self.tables.get(relation).map(|t| t.key.as_slice())).unwrap_or_default()
    }

    /// The columns of a source or table, as declared or documented.
    pub fn columns(&self, relation: &str) -> Vec<&str> {
        match (self.sources.get(relation), self.tables.get(relation)) {
            (Some(source), _) => source.table_columns().map(|(name, _)| name.as_str()).collect(),
            (None, Some(table)) => table.columns.keys().map(String::as_str).collect(),
            (None, None) => Vec::new(),
        }
    }

    /// Whom the features of a group, or of a query, describe.
    pub fn entity(&self, features: &str) -> Option<&[String]> {
        let group = self.groups.get(features).map(|group| group.history.entity.as_slice());
        group.or_else(|| self.sql_features.get(features).map(|features| features.entity.as_slice()))
    }

    fn parse_sources(&mut self, file: &TextFile, out: &mut Vec<Diagnostic>) {
        let Some((raw, origin)) = yaml::parse::<RawSources>(&file.path, &file.text, out) else { return };
        for (name, source) in raw.sources {
            self.sources.insert(name.clone(), Source::validate(&name, source, &origin, out));
        }
        self.check_claims(&origin, out);
    }

    /// A file is of one source: two whose locations overlap would each load it.
    fn check_claims(&self, origin: &Origin, out: &mut Vec<Diagnostic>) {
        let sources: Vec<&Source> = self.sources.values().filter(|source| source.has_location()).collect();
        for (index, source) in sources.iter().enumerate() {
            for other in &sources[..index] {
                let Some(path) = overlap(&other.location, &source.location) else { continue };
                let place = |source: &Source| format!("sources.{}.location", source.name);
                let first = origin.at(&place(other), "");
                let message = format!("sources {} and {} claim the same files", other.name, source.name);
                let found = format!(
                    "{} and, at {}:{}, {}: {path} would be of both",
                    source.location, first.file, first.line, other.location
                );
                let help = "one file is of one source: narrow a location, or read the file once and divide it in SQL";
                out.push(origin.at(&place(source), message).found(found).help(help));
            }
        }
    }

    fn parse_table(&mut self, file: &TextFile, files: &[TextFile], out: &mut Vec<Diagnostic>) {
        let sql_path = format!("{}.sql", file.path.trim_end_matches(".yaml"));
        let name = stem(&file.path);
        let Some((mut raw, origin)) = yaml::parse::<RawTable>(&file.path, &file.text, out) else { return };
        let Some(sql) = files.iter().find(|f| f.path == sql_path) else {
            out.push(origin.at("", format!("table {name} has no query")).expected(format!("a file {sql_path}")));
            return;
        };
        if !is_name(name) {
            out.push(origin.at("", format!("`{name}` is not a name")).expected("a file [a-z][a-z0-9_]*.yaml"));
        }
        reserved(name, &origin, "", out);
        if let Some(other) = self.tables.get(name) {
            out.push(origin.at("", format!("table {name} is defined twice")).found(other.origin.file.clone()));
        }
        self.declare("tables", name, std::mem::take(&mut raw.pii), &origin);
        if let Some(table) = Table::validate(name, &sql_path, &sql.text, raw, &origin, out) {
            self.tables.insert(name.to_string(), table);
        }
    }

    fn parse_features(&mut self, file: &TextFile, files: &[TextFile], out: &mut Vec<Diagnostic>) {
        if has_key(&file.text, "sql_features") {
            self.parse_sql_features(file, files, out);
        } else if has_key(&file.text, "attributes") {
            let Some((mut raw, origin)) = yaml::parse::<RawAttributes>(&file.path, &file.text, out) else { return };
            let pii = std::mem::take(&mut raw.pii);
            let attributes = Attributes::validate(raw, &origin, out);
            self.declare("attributes", &attributes.name, pii, &origin);
            twice(&self.attributes, &attributes.name, &origin, "attributes", out);
            self.attributes.insert(attributes.name.clone(), attributes);
        } else if has_key(&file.text, "sequence") {
            let Some((mut raw, origin)) = yaml::parse::<RawSequence>(&file.path, &file.text, out) else { return };
            let pii = std::mem::take(&mut raw.pii);
            let sequence = Sequence::validate(raw, &origin, out);
            self.declare("sequences", &sequence.name, pii, &origin);
            twice(&self.sequences, &sequence.name, &origin, "sequence", out);
            self.sequences.insert(sequence.name.clone(), sequence);
        } else {
            let Some((mut raw, origin)) = yaml::parse::<RawGroup>(&file.path, &file.text, out) else { return };
            let pii = std::mem::take(&mut raw.pii);
            let group = FeatureGroup::validate(raw, &origin, out);
            self.declare("features", &group.name, pii, &origin);
            twice(&self.groups, &group.name, &origin, "group", out);
            self.groups.insert(group.name.clone(), group);
        }
    }

    fn parse_sql_features(&mut self, file: &TextFile, files: &[TextFile], out: &mut Vec<Diagnostic>) {
        let sql_path = format!("{}.sql", file.path.trim_end_matches(".yaml"));
        let Some((mut raw, origin)) = yaml::parse::<RawSqlFeatures>(&file.path, &file.text, out) else { return };
        let Some(sql) = files.iter().find(|f| f.path == sql_path) else {
            out.push(origin.at("", "SQL features without a query").expected(format!("a file {sql_path}")));
            return;
        };
        let pii = std::mem::take(&mut raw.pii);
        if let Some(features) = SqlFeatures::validate(raw, &sql_path, &sql.text, &origin, out) {
            self.declare("features", &features.name, pii, &origin);
            twice(&self.sql_features, &features.name, &origin, "sql_features", out);
            self.sql_features.insert(features.name.clone(), features);
        }
    }

    fn parse_model(&mut self, file: &TextFile, out: &mut Vec<Diagnostic>) {
        let Some((mut raw, origin)) = yaml::parse::<RawModel>(&file.path, &file.text, out) else { return };
        let pii = std::mem::take(&mut raw.pii);
        self.declare("models", &raw.model, pii, &origin);
        twice(&self.models, &raw.model, &origin, "model", out);
        if let Some(model) = Model::validate(raw, &file.text, &origin, out) {
            self.models.insert(model.name.clone(), model);
        }
    }

    fn parse_experiment(&mut self, file: &TextFile, out: &mut Vec<Diagnostic>) {
        let Some((raw, origin)) = yaml::parse::<RawExperiment>(&file.path, &file.text, out) else { return };
        twice(&self.experiments, &raw.experiment, &origin, "experiment", out);
        if let Some(experiment) = Experiment::validate(raw, &self.models, &origin, out) {
            self.experiments.insert(experiment.name.clone(), experiment);
        }
    }

    fn declare(&mut self, kind: &str, name: &str, classes: Map<Class>, origin: &Origin) {
        let declared = Declared { classes, origin: origin.clone() };
        self.personal.insert(format!("{kind}/{name}"), declared);
    }

    /// Every name that one definition gives another must exist.
    fn resolve(&self, out: &mut Vec<Diagnostic>) {
        for name in self.tables.keys().filter(|name| self.sources.contains_key(*name)) {
            let origin = &self.tables[name].origin;
            let source = self.sources[name].origin.at(&format!("sources.{name}"), "");
            let d = origin.at("", format!("`{name}` is a source and a table"));
            out.push(d.found(format!("the source at {}:{}", source.file, source.line)).help("rename one of them"));
        }
        for table in self.tables.values() {
            let query = (table.sql_file.as_str(), table.sql.as_str());
            self.resolve_inputs(&format!("table {}", table.name), query, &table.inputs, out);
        }
        for group in self.groups.values() {
            self.resolve_history(&group.history, &group.origin, out);
        }
        for sequence in self.sequences.values() {
            match &sequence.interleaved {
                Some(interleaved) => {
                    self.known(&sequence.history.entities, "entities", &sequence.origin, out);
                    for (index, strand) in interleaved.strands.iter().enumerate() {
                        let path = format!("events.{index}.table");
                        self.resolve_events(&strand.table, &strand.event_time, &path, &sequence.origin, out);
                    }
                }
                None => self.resolve_history(&sequence.history, &sequence.origin, out),
            }
        }
        for features in self.sql_features.values() {
            self.known(&features.entities, "entities", &features.origin, out);
            let query = (features.sql_file.as_str(), features.sql.as_str());
            self.resolve_inputs(&features.name, query, &features.inputs, out);
        }
        for attributes in self.attributes.values() {
            self.known(&attributes.spine, "spine", &attributes.origin, out);
            for (alias, lookup) in &attributes.lookups {
                self.known(&lookup.table, &format!("lookups.{alias}.table"), &attributes.origin, out);
            }
        }
        self.resolve_feature_names(out);
        for model in self.models.values() {
            self.resolve_model(model, out);
        }
        for variant in self.experiments.values().flat_map(|experiment| experiment.variants.values()) {
            self.resolve_model(variant, out);
        }
    }

    fn resolve_inputs(&self, reader: &str, (file, sql): (&str, &str), inputs: &[String], out: &mut Vec<Diagnostic>) {
        for input in inputs.iter().filter(|input| !self.is_relation(input)) {
            let d = Diagnostic::new(file, position_of(sql, input), format!("{reader} reads an unknown table"));
            out.push(d.expected_one_of(input, self.relations()));
        }
    }

    /// Whatever gives a model inputs `NAME.feature` shares one set of names; `spine` is that of the spine itself.
    fn resolve_feature_names(&self, out: &mut Vec<Diagnostic>) {
        let groups = self.groups.values().map(|group| (&group.name, "group", &group.origin));
        let sql = self.sql_features.values().map(|features| (&features.name, "sql_features", &features.origin));
        let own = self.attributes.values().map(|attributes| (&attributes.name, "attributes", &attributes.origin));
        let mut seen: Vec<&str> = Vec::new();
        for (name, key, origin) in groups.chain(sql).chain(own) {
            if name == SPINE {
                let d = origin.at(key, format!("`{SPINE}.…` are the attributes of a model's spine"));
                out.push(d.help("give the features another name"));
            }
            if seen.contains(&name.as_str()) {
                let d = origin.at(key, format!("there are other features called {name}"));
                out.push(d.help("rename one of them: models and the lake know both by this name"));
            }
            seen.push(name);
        }
        if self.is_relation(SPINE) && !self.sql_features.is_empty() {
            let origin = &self.sql_features[0].origin;
            out.push(
                origin
                    .at("sql_features", "a table called `spine` hides the spine of this query")
                    .help("rename the table"),
            );
        }
    }

    fn is_relation(&self, name: &str) -> bool {
        self.sources.contains_key(name) || self.tables.contains_key(name)
    }

    fn known(&self, name: &str, path: &str, origin: &Origin, out: &mut Vec<Diagnostic>) -> bool {
        let known = self.is_relation(name);
        if !known {
            out.push(origin.at(path, format!("there is no table `{name}`")).expected_one_of(name, self.relations()));
        }
        known
    }

    fn resolve_history(&self, history: &History, origin: &Origin, out: &mut Vec<Diagnostic>) {
        self.known(&history.entities, "entities", origin, out);
        self.resolve_events(&history.table, &history.event_time, "table", origin, out);
    }

    /// A table whose rows are events.
    fn resolve_events(
        &self,
        table: &str,
        event_time: &Option<String>,
        path: &str,
        origin: &Origin,
        out: &mut Vec<Diagnostic>,
    ) {
        if self.known(table, path, origin, out) && event_time.is_none() && self.event_time(table).is_none() {
            let d = origin.at(path, format!("table {table} has no event time"));
            let help = "features look back in time; join a static table in SQL, as attributes of a spine or of events";
            out.push(d.expected("a table with `event_time`").help(help));
        }
    }

    fn resolve_model(&self, model: &Model, out: &mut Vec<Diagnostic>) {
        let origin = &model.origin;
        match &model.spine.kind {
            SpineKind::Events { table, as_of, .. } => {
                if self.known(table, "spine.table", origin, out) && as_of.is_none() && self.event_time(table).is_none()
                {
                    out.push(
                        origin.at("spine", format!("table {table} has no event time")).expected("`as_of: <column>`"),
                    );
                }
            }
            SpineKind::Grid { population, .. } => {
                self.known(population, "spine.population", origin, out);
            }
        }
        if let Label::Outcome { anchor: Some(anchor), .. } = &model.label {
            let known = self.known(&anchor.table, "label.anchor.table", origin, out);
            if known && anchor.event_time.is_none() && self.event_time(&anchor.table).is_none() {
                let d = origin.at("label.anchor", format!("table {} has no event time", anchor.table));
                out.push(d.expected("`event_time: <column>`"));
            }
            for column in anchor.matching.0.iter().filter(|column| !model.spine_key().contains(column)) {
                let d = origin.at("label.anchor.match", "`match` names no key column of the spine");
                out.push(d.expected_one_of(column, model.spine_key().iter().map(String::as_str)));
            }
        }
        if let Label::Outcome { table, event_time, matching, .. } = &model.label {
            if self.known(table, "label.table", origin, out) && event_time.is_none() && self.event_time(table).is_none()
            {
                out.push(
                    origin.at("label", format!("table {table} has no event time")).expected("`event_time: <column>`"),
                );
            }
            for column in matching.iter().filter(|column| !model.spine_key().contains(column)) {
                let d = origin.at("label.match", "`match` names no key column of the spine");
                out.push(d.expected_one_of(column, model.spine_key().iter().map(String::as_str)));
            }
        }
        if let Scoring::Population(table) = &model.scoring {
            self.known(table, "scoring.population", origin, out);
        }
        if let Err(diagnostics) = super::inputs::resolve(self, model) {
            out.extend(diagnostics);
        }
    }
}

fn twice<T>(map: &Map<T>, name: &str, origin: &Origin, what: &str, out: &mut Vec<Diagnostic>) {
    if map.contains_key(name) {
        out.push(origin.at(what, format!("{what} {name} is defined twice")).help("rename one of them"));
    }
}

/// Models and experiments stand side by side.
fn is_experiment(file: &TextFile) -> bool {
    let yaml = file.path.starts_with("models/") && file.path.ends_with(".yaml");
    yaml && (file.path.starts_with("models/experiments/") || has_key(&file.text, "experiment"))
}

/// A query without its twin has no grain, no docs, no event time.
fn twin(file: &TextFile, files: &[TextFile], out: &mut Vec<Diagnostic>) {
    let yaml = format!("{}.yaml", file.path.trim_end_matches(".sql"));
    if !files.iter().any(|f| f.path == yaml) {
        let d = Diagnostic::new(&file.path, (0, 0), "a query without its twin");
        out.push(d.expected(format!("a file {yaml} that says what it gives")));
    }
}

/// As [`twin`]; and a group beside a query would leave the query unread.
fn feature_query(file: &TextFile, files: &[TextFile], out: &mut Vec<Diagnostic>) {
    twin(file, files, out);
    let yaml = format!("{}.yaml", file.path.trim_end_matches(".sql"));
    if files.iter().any(|f| f.path == yaml && !has_key(&f.text, "sql_features")) {
        let d = Diagnostic::new(&file.path, (0, 0), format!("a query that {yaml} does not name"));
        out.push(d.expected(format!("`sql_features: <name>` in {yaml}")));
    }
}

/// The kind of a file of features is told by one of its keys.
fn has_key(text: &str, key: &str) -> bool {
    text.lines().any(|line| line.strip_prefix(key).is_some_and(|rest| rest.starts_with(':')))
}

fn stem(path: &str) -> &str {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.rsplit_once('.').map_or(file, |(stem, _)| stem)
}

/// Where a word stands in a text; its beginning where it does not.
pub fn position_of(text: &str, word: &str) -> (usize, usize) {
    find_word(text, word).unwrap_or((1, 1))
}

/// The line and column, from 1, of the first place where `word` stands as a word, outside of SQL comments.
pub fn find_word(text: &str, word: &str) -> Option<(usize, usize)> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    for (index, line) in text.lines().enumerate() {
        let code = line.split("--").next().unwrap_or_default();
        for (column, _) in code.match_indices(word) {
            let before = code[..column].chars().next_back().is_some_and(is_word);
            let after = code[column + word.len()..].chars().next().is_some_and(is_word);
            if !before && !after {
                return Some((index + 1, column + 1));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(pairs: &[(&str, &str)]) -> Vec<TextFile> {
        pairs.iter().map(|(path, text)| TextFile { path: path.to_string(), text: text.to_string() }).collect()
    }

    const SOURCES: &str = "sources:\n  pay:\n    location: pay/*.parquet\n    event_time: at\n    key: [id]\n    columns: {id: string, user_id: string, at: timestamp}\n";

    #[test]
    fn unknown_names_are_found_wherever_they_are_given() {
        let (_, out) = Project::parse(&files(&[
            ("sql/sources.yaml", SOURCES),
            ("sql/marts/a.sql", "select *\nfrom payy"),
            ("sql/marts/a.yaml", "materialized: full\n"),
            ("features/g.yaml", "group: g\nentity: user_id\nentities: pay\ntable: b\naggregations: []\n"),
        ]));
        let found: Vec<_> = out.iter().map(|d| (d.file.as_str(), d.line, d.help.as_deref())).collect();
        assert!(found.contains(&("sql/marts/a.sql", 2, Some("did you mean `pay`?"))), "{found:?}");
        assert!(found.contains(&("features/g.yaml", 4, None)), "{found:?}");
    }

    #[test]
    fn tables_come_in_dependency_order_and_cycles_are_named() {
        let a = ("sql/a.sql", "select * from b");
        let (project, out) = Project::parse(&files(&[
            ("sql/sources.yaml", SOURCES),
            a,
            ("sql/a.yaml", "materialized: full"),
            ("sql/b.sql", "select * from pay"),
            ("sql/b.yaml", "materialized: full"),
        ]));
        assert_eq!(out, []);
        assert_eq!(project.tables.keys().collect::<Vec<_>>(), ["b", "a"]);
        let (_, out) = Project::parse(&files(&[
            ("sql/sources.yaml", SOURCES),
            a,
            ("sql/a.yaml", "materialized: full"),
            ("sql/b.sql", "select * from a"),
            ("sql/b.yaml", "materialized: full"),
        ]));
        assert!(out[0].message.contains("a → b → a"), "{}", out[0]);
    }

    #[test]
    fn queries_and_twins_come_in_pairs() {
        let (_, out) = Project::parse(&files(&[
            ("sql/sources.yaml", SOURCES),
            ("sql/a.sql", "select * from pay"),
            ("sql/b.yaml", "materialized: full"),
        ]));
        assert_eq!(out.len(), 2, "{out:#?}");
    }
}
