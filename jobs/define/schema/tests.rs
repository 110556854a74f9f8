//! Schemas say what parsers take, and the page says what schemas do.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;

use super::*;

mod defaults;

fn undescribed(schema: &Value, path: &str, found: &mut Vec<String>) {
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        let without = |(_, key): &(&String, &Value)| key.get("description").is_none();
        found.extend(properties.iter().filter(without).map(|(name, _)| format!("{path}: {name}")));
    }
    if let Some(parts) = schema.as_object() {
        parts.iter().for_each(|(name, part)| undescribed(part, &format!("{path}.{name}"), found));
    }
    schema.as_array().into_iter().flatten().for_each(|part| undescribed(part, path, found));
}

#[test]
fn every_key_of_every_kind_says_what_it_is() {
    let mut found = Vec::new();
    for kind in &KINDS {
        let schema = kind.schema();
        assert!(schema["properties"].as_object().is_some_and(|keys| !keys.is_empty()), "{}", kind.name);
        undescribed(&schema, kind.name, &mut found);
    }
    assert!(found.is_empty(), "keys without a documentation comment:\n{}", found.join("\n"));
}

#[test]
fn of_a_choice_every_word_says_what_it_is_or_none_does() {
    for kind in &KINDS {
        for (name, definition) in kind.schema()["$defs"].as_object().unwrap() {
            let silent = words(definition).iter().filter(|(_, what)| what.is_empty()).count();
            assert!(silent == 0 || silent == words(definition).len(), "{name} of {}: {definition}", kind.name);
        }
    }
}

#[test]
fn a_folder_is_of_each_of_its_kinds_by_its_key() {
    let schema = Kind::find("features").unwrap().schema();
    let chosen = |schema: &Value| schema["then"]["$ref"].as_str().unwrap().to_string();
    assert_eq!(schema["if"], json!({ "required": ["sql_features"] }));
    assert_eq!(chosen(&schema), "#/$defs/SqlFeatures");
    assert_eq!(chosen(&schema["else"]), "#/$defs/Attributes");
    assert_eq!(chosen(&schema["else"]["else"]), "#/$defs/Sequence");
    assert_eq!(schema["else"]["else"]["else"]["$ref"], "#/$defs/Group");
    for folder in &FOLDERS {
        let Of::First(names) = folder.of else { panic!("{} is of one kind", folder.name) };
        let schema = folder.schema();
        let mut definitions = BTreeSet::new();
        for name in names {
            let kind = Kind::find(name).unwrap();
            assert!(kind.files.starts_with(&format!("{}/", folder.name)), "{name} lies in {}", kind.files);
            definitions.extend(kind.schema()["$defs"].as_object().unwrap().keys().cloned());
            definitions.insert(kind.schema()["title"].as_str().unwrap().to_string());
        }
        let have: BTreeSet<String> = schema["$defs"].as_object().unwrap().keys().cloned().collect();
        assert_eq!(have, definitions, "{}", folder.name);
    }
}

#[test]
fn an_unknown_kind_is_refused_with_the_nearest() {
    let error = Kind::find("modle").err().unwrap().to_string();
    assert!(error.contains("did you mean `model`") && error.contains("features"), "{error}");
}

/// How a part of a document is reached.
#[derive(Clone)]
enum Step {
    Key(String),
    Item,
    Entry,
}

/// Every map of a schema that has keys of its own, once, with the way to it.
fn maps(
    schema: &Value,
    definitions: &Value,
    way: &[Step],
    seen: &mut Vec<String>,
    found: &mut Vec<(Vec<Step>, Value)>,
) {
    let onward = |step: Step| [way, &[step]].concat();
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/"))
        && !seen.iter().any(|known| known == name)
    {
        seen.push(name.to_string());
        maps(&definitions[name], definitions, way, seen, found);
    }
    for form in schema["anyOf"].as_array().into_iter().flatten() {
        maps(form, definitions, way, seen, found);
    }
    maps_inside(&schema["items"], definitions, onward(Step::Item), seen, found);
    maps_inside(&schema["additionalProperties"], definitions, onward(Step::Entry), seen, found);
    if let Some(properties) = schema["properties"].as_object() {
        found.push((way.to_vec(), schema.clone()));
        for (key, value) in properties {
            maps(value, definitions, &onward(Step::Key(key.clone())), seen, found);
        }
    }
}

fn maps_inside(
    schema: &Value,
    definitions: &Value,
    way: Vec<Step>,
    seen: &mut Vec<String>,
    found: &mut Vec<(Vec<Step>, Value)>,
) {
    if schema.is_object() {
        maps(schema, definitions, &way, seen, found);
    }
}

/// A document that has nothing but a value at the end of a way.
fn document(way: &[Step], value: Value) -> Value {
    way.iter().rev().fold(value, |value, step| match step {
        Step::Key(key) => json!({ key: value }),
        Step::Item => json!([value]),
        Step::Entry => json!({ "entry": value }),
    })
}

/// Where and why a parser refuses a document.
fn refusal<T: DeserializeOwned>(document: Value) -> (String, String) {
    match serde_path_to_error::deserialize::<_, T>(serde_yaml::to_value(document).unwrap()) {
        Ok(_) => (String::new(), "taken".to_string()),
        Err(error) => (error.path().to_string(), error.inner().to_string()),
    }
}

/// As a parser writes it.
fn place(way: &[Step]) -> String {
    let step = |step: &Step| match step {
        Step::Key(key) => format!(".{key}"),
        Step::Item => "[0]".to_string(),
        Step::Entry => ".entry".to_string(),
    };
    let place: String = way.iter().map(step).collect();
    if place.is_empty() { ".".to_string() } else { place.trim_start_matches('.').to_string() }
}

fn refusal_of(kind: &str, document: Value) -> (String, String) {
    match kind {
        "profile" => refusal::<Profile>(document),
        "sources" => refusal::<RawSources>(document),
        "table" => refusal::<RawTable>(document),
        "group" => refusal::<RawGroup>(document),
        "sequence" => refusal::<RawSequence>(document),
        "sql_features" => refusal::<RawSqlFeatures>(document),
        "attributes" => refusal::<RawAttributes>(document),
        "model" => refusal::<RawModel>(document),
        "experiment" => refusal::<RawExperiment>(document),
        other => panic!("which type parses {other}?"),
    }
}

/// Asked for a key that there is not, a parser lists those that there are.
#[test]
fn a_schema_has_the_keys_that_the_parser_takes() {
    let mut seen = Vec::new();
    let mut asked = 0;
    // What variants of an experiment replace is read as a part of the model that comes of it: `model` comes first.
    for kind in &KINDS {
        let schema = kind.schema();
        let mut found = Vec::new();
        maps(&schema, &schema["$defs"], &[], &mut seen, &mut found);
        for (way, map) in found {
            let (_, said) = refusal_of(kind.name, document(&way, json!({ "no_such_key": 1 })));
            let at = format!("of {}, at {}", kind.name, place(&way));
            let listed = said.split_once("unknown field `no_such_key`, expected").map(|(_, listed)| listed);
            let listed = listed.unwrap_or_else(|| panic!("{at}: {said}"));
            let taken: BTreeSet<&str> = listed.split('`').skip(1).step_by(2).collect();
            let described: BTreeSet<&str> = map["properties"].as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(described, taken, "{at}");
            assert_eq!(map["additionalProperties"], false, "{at}");
            asked += 1;
        }
    }
    assert!(asked > 50, "only {asked} maps were asked");
}

/// Of a map without keys, a parser names the first that it requires, at its place.
#[test]
fn a_schema_requires_a_key_where_the_parser_does() {
    let mut seen = Vec::new();
    for kind in &KINDS {
        let schema = kind.schema();
        let mut found = Vec::new();
        maps(&schema, &schema["$defs"], &[], &mut seen, &mut found);
        for (way, map) in found {
            let (path, said) = refusal_of(kind.name, document(&way, json!({})));
            let missing = said.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
            let here = missing.filter(|_| path == place(&way));
            let first = map["required"].as_array().and_then(|names| names.first()).and_then(Value::as_str);
            assert_eq!(first, here, "of {}, at {}: {path}: {said}", kind.name, place(&way));
        }
    }
}

#[test]
fn the_page_of_keys_is_what_the_types_say() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/yaml.md");
    let stored = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        stored == reference::page(),
        "docs/reference/yaml.md is stale; renew it by: scorehouse schema --markdown > docs/reference/yaml.md"
    );
}

#[test]
fn the_page_has_every_key_and_no_link_that_leads_nowhere() {
    let page = reference::page();
    let anchors: Vec<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("### ").or_else(|| line.strip_prefix("## ")))
        .map(|heading| heading.to_lowercase().replace(' ', "-"))
        .collect();
    let different: BTreeSet<&String> = anchors.iter().collect();
    assert_eq!(different.len(), anchors.len(), "two headings are alike: {anchors:?}");
    for target in page.split("](#").skip(1).filter_map(|rest| rest.split(')').next()) {
        assert!(anchors.iter().any(|anchor| anchor == target), "there is no #{target}");
    }
    for kind in &KINDS {
        let schema = kind.schema();
        let mut found = Vec::new();
        maps(&schema, &schema["$defs"], &[], &mut Vec::new(), &mut found);
        for key in found.iter().flat_map(|(_, map)| map["properties"].as_object().unwrap().keys()) {
            assert!(page.contains(&format!("\n| `{key}` | ")), "{key} of {} is not on the page", kind.name);
        }
    }
    for jargon in ["$ref", "$defs", "anyOf", "oneOf", "uint", "null |"] {
        assert!(!page.contains(jargon), "{jargon} is no word for readers");
    }
}
