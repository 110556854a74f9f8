//! A default that a schema tells is the one that a parser has: written out, it changes nothing.
//!
//! Every file of every project here is taken, each key with a default that some map of it leaves out is put in, one at
//! a time, and the project must come to the same.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_yaml::Value as Yaml;

use super::*;
use crate::define::project::{Project, TextFile};
use crate::define::yaml::Origin;

/// Keys that stay unsaid in a definition, and are decided by whoever computes with it.
const LATER: [(&str, &str); 3] = [
    ("Encoding", "smoothing"),     // learn::inputs::SMOOTHING
    ("Limit", "confidence"),       // pipeline::gate::compare
    ("RejectInference", "factor"), // learn::train::refused
];

/// A key that a map leaves out.
struct Absent {
    way: Vec<String>,
    map: String,
    key: String,
    default: Value,
}

fn absent(value: &Yaml, schema: &Value, definitions: &Value, (name, way): (&str, &[String]), found: &mut Vec<Absent>) {
    if let Some(target) = schema["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/")) {
        absent(value, &definitions[target], definitions, (target, way), found);
    }
    for form in schema["anyOf"].as_array().into_iter().flatten() {
        absent(value, form, definitions, (name, way), found);
    }
    let onward = |step: &str| [way, &[step.to_string()]].concat();
    for (index, item) in value.as_sequence().into_iter().flatten().enumerate() {
        absent(item, &schema["items"], definitions, (name, &onward(&index.to_string())), found);
    }
    for (key, inner) in value.as_mapping().into_iter().flatten().filter(|_| schema["additionalProperties"].is_object())
    {
        absent(inner, &schema["additionalProperties"], definitions, (name, &onward(key.as_str().unwrap())), found);
    }
    for (key, part) in schema["properties"].as_object().into_iter().flatten().filter(|_| value.is_mapping()) {
        match value.get(key.as_str()) {
            Some(inner) => absent(inner, part, definitions, (name, &onward(key)), found),
            None if part["default"].is_null() => {}
            None => {
                let (map, key, default) = (name.to_string(), key.clone(), part["default"].clone());
                found.push(Absent { way: way.to_vec(), map, key, default });
            }
        }
    }
}

fn with(document: &Yaml, absent: &Absent) -> String {
    let mut document = document.clone();
    let mut at = &mut document;
    for step in &absent.way {
        at = match at {
            Yaml::Sequence(list) => &mut list[step.parse::<usize>().unwrap()],
            map => map.get_mut(step.as_str()).unwrap(),
        };
    }
    let default = serde_yaml::to_value(&absent.default).unwrap();
    at.as_mapping_mut().unwrap().insert(absent.key.as_str().into(), default);
    serde_yaml::to_string(&document).unwrap()
}

fn files_of(root: &Path) -> Vec<TextFile> {
    fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { walk(&path, found) } else { found.push(path) }
        }
    }
    let mut found = Vec::new();
    ["sql", "features", "models"].iter().for_each(|folder| walk(&root.join(folder), &mut found));
    found.sort();
    let named = |path: &PathBuf| path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
    let read = |path: PathBuf| TextFile { path: named(&path), text: std::fs::read_to_string(&path).unwrap() };
    found.into_iter().filter(|path| path.extension().is_some_and(|ending| ending != "md")).map(read).collect()
}

fn kind_of(path: &str, document: &Yaml) -> &'static Kind {
    let folder = path.split('/').next().unwrap();
    let Of::First(names) = Kind::find(folder).unwrap().of else { panic!("{folder} is no folder") };
    let name = names.iter().find(|name| document.get(**name).is_some()).or(names.last());
    Kind::find(name.unwrap()).unwrap()
}

/// All that a project says, but for where it says so.
fn meaning(files: &[TextFile]) -> Result<String, String> {
    let (mut project, diagnostics) = Project::parse(files);
    if let Some(first) = diagnostics.first() {
        return Err(format!("{first:?}"));
    }
    project.sources.values_mut().for_each(|source| source.origin = Origin::default());
    project.tables.values_mut().for_each(|table| table.origin = Origin::default());
    project.groups.values_mut().for_each(|group| group.origin = Origin::default());
    project.sequences.values_mut().for_each(|sequence| sequence.origin = Origin::default());
    project.sql_features.values_mut().for_each(|features| features.origin = Origin::default());
    project.attributes.values_mut().for_each(|attributes| attributes.origin = Origin::default());
    let variants = project.experiments.values_mut().flat_map(|experiment| {
        experiment.origin = Origin::default();
        experiment.variants.values_mut().chain([&mut experiment.rows])
    });
    for model in project.models.values_mut().chain(variants) {
        (model.origin, model.text) = (Origin::default(), String::new());
    }
    project.personal.values_mut().for_each(|declared| declared.origin = Origin::default());
    Ok(format!("{project:?}"))
}

/// Notes which defaults of a project's files change nothing.
fn confirm(files: &[TextFile], confirmed: &mut BTreeSet<(String, String)>) {
    for index in (0..files.len()).filter(|index| files[*index].path.ends_with(".yaml")) {
        let mut files = files.to_vec();
        let document: Yaml = serde_yaml::from_str(&files[index].text).unwrap();
        let kind = kind_of(&files[index].path, &document);
        let schema = kind.schema();
        let mut left_out = Vec::new();
        absent(&document, &schema, &schema["$defs"], (kind.name, &[]), &mut left_out);
        files[index].text = serde_yaml::to_string(&document).unwrap();
        let before = meaning(&files).unwrap();
        for absent in left_out {
            let what = (absent.map.clone(), absent.key.clone());
            if confirmed.contains(&what) || LATER.contains(&(&absent.map, &absent.key)) {
                continue;
            }
            files[index].text = with(&document, &absent);
            // What does not go together (a `unit` of a sum) says nothing of the default.
            let Ok(after) = meaning(&files) else { continue };
            let (map, key) = &what;
            assert!(before == after, "{key} of {map} is not {} by default: {}", absent.default, files[index].path);
            confirmed.insert(what);
        }
    }
}

#[test]
fn a_default_that_is_written_out_changes_nothing() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut confirmed = BTreeSet::new();
    confirm(&files_of(root), &mut confirmed);
    for project in ["lender", "online_retail", "superlender"] {
        confirm(&files_of(&root.join("tests/projects").join(project)), &mut confirmed);
    }
    confirm(&rare(), &mut confirmed);
    let mut unsaid = BTreeSet::new();
    for kind in KINDS.iter().filter(|kind| kind.name != "profile") {
        let schema = kind.schema();
        let named = schema["$defs"].as_object().unwrap().iter().map(|(name, map)| (name.as_str(), map));
        for (name, map) in named.chain([(kind.name, &schema)]) {
            let keys = map["properties"].as_object().into_iter().flatten();
            let keys = keys.filter(|(_, key)| !key["default"].is_null()).map(|(key, _)| key);
            unsaid.extend(keys.map(|key| (name.to_string(), key.clone())).filter(|what| !confirmed.contains(what)));
        }
    }
    unsaid.retain(|(map, key)| !LATER.contains(&(map, key)));
    assert!(unsaid.is_empty(), "no file here leaves these out, so that nobody knows: {unsaid:?}");
}

#[test]
fn the_defaults_of_a_profile_are_what_it_has_without_them() {
    let text = "lake: l\nraw: r\n";
    let document: Yaml = serde_yaml::from_str(text).unwrap();
    let schema = Kind::find("profile").unwrap().schema();
    let mut left_out = Vec::new();
    absent(&document, &schema, &schema["$defs"], ("profile", &[]), &mut left_out);
    assert!(left_out.len() >= 5, "{}", left_out.len());
    let meaning = |text: &str| format!("{:?}", Profile::parse("p.yaml", text).unwrap());
    for absent in left_out {
        assert_eq!(meaning(&with(&document, &absent)), meaning(text), "{}", absent.key);
    }
}

/// What no other project here has.
fn rare() -> Vec<TextFile> {
    let file = |path: &str, text: &str| TextFile { path: path.to_string(), text: text.to_string() };
    vec![
        file(
            "sql/sources.yaml",
            "sources:\n\
             \x20 user: {location: 'user/*.parquet', static: true, key: id, columns: {id: string}}\n\
             \x20 visit:\n\
             \x20   location: 'visit/*.csv'\n\
             \x20   format: csv\n\
             \x20   csv: {}\n\
             \x20   event_time: at\n\
             \x20   key: id\n\
             \x20   freshness: {within: 2d}\n\
             \x20   volume: {}\n\
             \x20   columns: {id: {type: string}, user_id: string, at: timestamp, amount: float64}\n",
        ),
        file("sql/visits.sql", "select id, user_id, at, amount from visit"),
        file(
            "sql/visits.yaml",
            "key: id\nevent_time: at\nmaterialized: full\ncolumns: {id: {}, user_id: {}, at: {}, amount: {}}\n\
             audits:\n- row_count: {}\n- trend: {measure: rows, within: 50%}\n",
        ),
        file(
            "features/visits.yaml",
            "group: visits\nentity: user_id\nentities: user\ntable: visits\n\
             aggregations:\n- {of: id, fn: approx_count_distinct}\n- {fn: time_since_last}\n",
        ),
        file(
            "features/trail.yaml",
            "sequence: trail\nentity: user_id\nentities: user\ntable: visits\nlength: 4\n\
             fields: [{fn: since_previous, as: gap}]\n",
        ),
        file(
            "models/m.yaml",
            "model: m\nentity: user_id\n\
             spine: {table: visits, key: [id]}\n\
             label: {table: visits, horizon: 7d, anchor: {table: visits, within: 3d}}\n\
             inputs: [visits.*]\nencode: {}\n\
             head: {kind: logistic}\n\
             search: {trials: 3, space: {C: {from: 0.1, to: 1}, penalty: {choices: [l1, l2]}}}\n\
             validation: {kind: cross_validation}\n\
             calibration: {kind: platt}\n\
             decisions: [{action: yes}, ]\n\
             reasons: {groups: {all: {code: R1, sentence: All., inputs: ['*']}}}\n\
             fairness: {groups: {who: user_id}}\n\
             gate: {asserts: [{name: a, where: 'true', action: yes}]}\n\
             monitoring: {}\n",
        ),
        file(
            "models/n.yaml",
            "model: n\nentity: user_id\nspine: {table: visits}\nlabel: {table: visits, horizon: 7d}\n\
             inputs: [visits.*]\nhead: {kind: lightgbm}\nvalidation: {test: 7d}\ndecisions: [{action: yes}]\ngate: {checks: {}}\n",
        ),
        file("sql/plain.sql", "select id from visit"),
        file("sql/plain.yaml", "materialized: full\n"),
        file("features/asked.yaml", "attributes: asked\nspine: visits\nfeatures: {amount: amount}\n"),
        file("features/rows.sql", "select _row, count(*) as n from spine group by _row"),
        file("features/rows.yaml", "sql_features: rows\nentity: user_id\nentities: user\ncolumns: {n: {doc: N.}}\n"),
        file("models/experiments/e.yaml", "experiment: e\nmodel: n\nvariants: {a: , b: {head: {kind: tree}}}\n"),
    ]
}
