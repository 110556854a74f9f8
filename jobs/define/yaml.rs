//! YAML text → raw types, with the place of every key.
//!
//! `serde_yaml` parses and `serde` shapes the value, but neither remembers where a key stood. A second, marked parse of
//! the same text maps every path (`aggregations.2.over`) to its line and column, so that later checks, which know
//! paths only, can point at the text. Unknown keys are removed and parsing goes on, so that all of them are reported.

use std::collections::HashMap;
use std::sync::Arc;

use marked_yaml::types::Node;
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;
use serde_yaml::Value;

use super::diagnostic::Diagnostic;

/// Where a definition was written: its file, and the line and column of every path in it.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    pub file: String,
    marks: Arc<HashMap<String, (usize, usize)>>,
}

impl Origin {
    /// A diagnostic at a path; at its nearest parent where the path itself is not written.
    pub fn at(&self, path: &str, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(self.file.clone(), self.position(path), message)
    }

    /// What is written at a path, as a document of its own: paths begin there.
    pub fn below(&self, path: &str) -> Origin {
        let inside = |(name, place): (&String, &(usize, usize))| {
            let rest = name.strip_prefix(path)?.strip_prefix('.')?;
            Some((rest.to_string(), *place))
        };
        let mut marks: HashMap<String, (usize, usize)> = self.marks.iter().filter_map(inside).collect();
        marks.insert(String::new(), self.position(path));
        Origin { file: self.file.clone(), marks: Arc::new(marks) }
    }

    fn position(&self, path: &str) -> (usize, usize) {
        let mut path = path;
        loop {
            if let Some(position) = self.marks.get(path) {
                return *position;
            }
            match path.rfind('.') {
                Some(dot) => path = &path[..dot],
                None => return self.marks.get("").copied().unwrap_or((1, 1)),
            }
        }
    }
}

/// Parses one document. Everything that is wrong with its shape goes to `diagnostics`; `None` if nothing can be built.
pub fn parse<T: DeserializeOwned>(file: &str, text: &str, diagnostics: &mut Vec<Diagnostic>) -> Option<(T, Origin)> {
    let value: Value = match serde_yaml::from_str(text) {
        Ok(value) => value,
        Err(error) => {
            let position = error.location().map_or((1, 1), |l| (l.line(), l.column()));
            diagnostics.push(Diagnostic::new(file, position, format!("not valid YAML: {error}")));
            return None;
        }
    };
    let origin = Origin { file: file.to_string(), marks: Arc::new(marks(text)) };
    shape(value, &origin, diagnostics).map(|raw| (raw, origin))
}

/// A value that was read already, as what it should be.
pub fn shape<T: DeserializeOwned>(mut value: Value, origin: &Origin, diagnostics: &mut Vec<Diagnostic>) -> Option<T> {
    let mut sound = true;
    loop {
        let error = match serde_path_to_error::deserialize::<_, T>(value.clone()) {
            Ok(raw) => return sound.then_some(raw),
            Err(error) => error,
        };
        let path: Vec<String> = error.path().iter().filter_map(segment).collect();
        let message = error.inner().to_string();
        let unknown = message.starts_with("unknown field") && remove(&mut value, &path);
        diagnostics.push(shape_error(origin, &path, &message));
        if !unknown {
            return None;
        }
        sound = false;
    }
}

fn segment(segment: &Segment) -> Option<String> {
    match segment {
        Segment::Seq { index } => Some(index.to_string()),
        Segment::Map { key } => Some(key.clone()),
        Segment::Enum { variant } => Some(variant.clone()),
        Segment::Unknown => None,
    }
}

/// Words serde's message as ours: what was found, what was expected, the nearest name.
fn shape_error(origin: &Origin, path: &[String], message: &str) -> Diagnostic {
    let at = path.join(".");
    let place = if at.is_empty() { "the document".to_string() } else { format!("`{at}`") };
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    if message.starts_with("unknown field") || message.starts_with("unknown variant") {
        let what = if message.starts_with("unknown field") { "unknown key" } else { "unknown value" };
        let found = quoted.first().copied().unwrap_or_default();
        return origin.at(&at, format!("{what} `{found}`")).expected_one_of(found, quoted.into_iter().skip(1));
    }
    if let Some(field) = message.strip_prefix("missing field ") {
        return origin.at(&at, format!("{place} lacks the key {field}")).expected(format!("a value for {field}"));
    }
    let Some((wrong, expected)) = message.split_once(", expected ") else {
        return origin.at(&at, format!("{place}: {message}"));
    };
    let serde = |kind: &str| wrong.strip_prefix(kind).map(|found| (found, plain_word(expected)));
    if let Some((found, expected)) = serde("invalid type: ").or_else(|| serde("invalid value: ")) {
        return origin.at(&at, format!("{place} is of the wrong type")).found(found).expected(expected);
    }
    // Our own: `invalid duration `7`, expected …; did you mean …`.
    let (expected, help) = expected.split_once("; ").map_or((expected, None), |(e, help)| (e, Some(help.to_string())));
    let found = quoted.first().copied().unwrap_or_default();
    Diagnostic { help, ..origin.at(&at, format!("{place}: {wrong}")).found(found).expected(expected) }
}

/// What Rust calls a type, as people do.
fn plain_word(expected: &str) -> &str {
    match expected {
        "u32" | "u64" | "usize" => "a whole number, 0 or more",
        "i32" | "i64" => "a whole number",
        "f64" => "a number",
        "a sequence" => "a list",
        "a boolean" => "true or false",
        other => other,
    }
}

/// Removes the key at `path`; false if there is none.
fn remove(value: &mut Value, path: &[String]) -> bool {
    let Some((last, parents)) = path.split_last() else { return false };
    let mut at = value;
    for key in parents {
        let next = match at {
            Value::Mapping(map) => map.get_mut(key.as_str()),
            Value::Sequence(list) => key.parse::<usize>().ok().and_then(|i| list.get_mut(i)),
            _ => None,
        };
        match next {
            Some(next) => at = next,
            None => return false,
        }
    }
    at.as_mapping_mut().is_some_and(|map| map.remove(last.as_str()).is_some())
}

fn marks(text: &str) -> HashMap<String, (usize, usize)> {
    let mut marks = HashMap::new();
    if let Ok(node) = marked_yaml::parse_yaml(0, text) {
        mark(&node, String::new(), &mut marks);
    }
    marks
}

fn mark(node: &Node, path: String, marks: &mut HashMap<String, (usize, usize)>) {
    let child = |key: &str| if path.is_empty() { key.to_string() } else { format!("{path}.{key}") };
    if let Some(start) = node.span().start() {
        marks.entry(path.clone()).or_insert((start.line(), start.column()));
    }
    match node {
        Node::Scalar(_) => {}
        Node::Mapping(map) => {
            for (key, value) in map.iter() {
                if let Some(start) = key.span().start() {
                    marks.insert(child(key.as_str()), (start.line(), start.column()));
                }
                mark(value, child(key.as_str()), marks);
            }
        }
        Node::Sequence(list) => {
            for (index, value) in list.iter().enumerate() {
                mark(value, child(&index.to_string()), marks);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        name: String,
        list: Vec<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        window: u32,
    }

    fn diagnostics(text: &str) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        parse::<Outer>("f.yaml", text, &mut found);
        found
    }

    #[test]
    fn a_sound_document_gives_its_value_and_places() {
        let mut found = Vec::new();
        let (outer, origin) = parse::<Outer>("f.yaml", "name: a\nlist:\n  - window: 7\n", &mut found).unwrap();
        assert_eq!((outer.name.as_str(), outer.list[0].window), ("a", 7));
        let place = origin.at("list.0.window.nothing_here", "x");
        assert_eq!((place.line, place.column), (3, 5), "the nearest parent");
        assert_eq!(found, []);
    }

    #[test]
    fn every_unknown_key_is_reported_with_its_place_and_nearest_name() {
        let found = diagnostics("name: a\nlist:\n  - {window: 1, widnow: 2}\n  - window: 1\n    other: 3\n");
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].line, found[0].column), (3, 17));
        assert_eq!((found[1].line, found[1].column), (5, 5));
        assert_eq!(diagnostics("nmae: a\nname: b\nlist: []")[0].help.as_deref(), Some("did you mean `name`?"));
    }

    #[test]
    fn a_wrong_type_says_what_was_found_and_expected() {
        let found = diagnostics("name: a\nlist:\n  - window: [1]\n");
        assert_eq!((found[0].line, found[0].found.as_deref()), (3, Some("sequence")));
        assert_eq!(found[0].expected.as_deref(), Some("a whole number, 0 or more"));
    }

    #[test]
    fn a_missing_key_and_broken_yaml_are_placed() {
        assert!(diagnostics("name: a\nlist:\n  - {}\n")[0].message.contains("lacks the key `window`"));
        assert_eq!(diagnostics("name: a\nlist: [\n")[0].file, "f.yaml");
    }
}
