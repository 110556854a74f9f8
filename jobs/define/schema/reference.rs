//! Every key of every file on one page, for people: `scorehouse schema --markdown`.
//!
//! The page is written from the same schemas that editors read, hence from the types that parse the files. A kind of
//! file has a section, and so has every map inside it, with a row per key; what two kinds share comes once, at the end.
//! Short forms (a list of names, a choice of a few words) are said where they are used.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::{KINDS, Kind, generator};

const HEAD: &str = "\
# Every key of every file

Made by `scorehouse schema --markdown` from the types that parse the files; do not edit it here. What the keys mean
together, with examples, is told in [definitions](definitions.md), and each function of a feature group on
[a page of its own](functions.md). [An editor](../howto/editor.md) shows the same as you type.

A key that is not **required** may be left out. Its default is what that means; – is nothing, an empty text, list or map,
or what its description says. A key that is not on this page is an error, with its line and the nearest one that is.
";

const SHARED: &str = "\
## Of several kinds

What more than one kind of file has.
";

/// Lists of words no longer than this stand where they are used.
const FEW_WORDS: usize = 6;

/// The page.
pub fn page() -> String {
    let reference = Reference::new();
    let mut page = format!("{HEAD}\n| file | kind | what |\n|---|---|---|\n");
    for kind in &KINDS {
        let _ = writeln!(page, "| `{}` | [{}](#{}) | {} |", kind.files, kind.name, kind.name, kind.what);
    }
    for (kind, root) in &reference.roots {
        reference.kind(&mut page, kind, root);
    }
    let _ = write!(page, "\n{SHARED}");
    for name in reference.sections.iter().filter(|name| reference.owners[*name].len() > 1) {
        reference.section(&mut page, name);
    }
    page
}

struct Reference {
    definitions: Map<String, Value>,
    /// Kinds, each with the name of its definition.
    roots: Vec<(&'static Kind, String)>,
    /// Definitions that have a section, in the order in which a reader comes to them.
    sections: Vec<String>,
    /// Definition → the kinds that have it.
    owners: BTreeMap<String, BTreeSet<&'static str>>,
    /// Definition → keys that hold it, by the definition that has these.
    holders: BTreeMap<String, Vec<(String, String)>>,
}

impl Reference {
    fn new() -> Reference {
        let mut generator = generator();
        let named = |kind: &'static Kind| {
            let part = kind.part(&mut generator);
            (kind, target(&part).unwrap_or(kind.name).to_string())
        };
        let roots: Vec<(&'static Kind, String)> = KINDS.iter().map(named).collect();
        let mut reference = Reference {
            definitions: generator.take_definitions(true),
            roots,
            sections: Vec::new(),
            owners: BTreeMap::new(),
            holders: BTreeMap::new(),
        };
        for (kind, root) in reference.roots.clone() {
            reference.visit(&root, kind.name);
        }
        reference
    }

    /// Notes a definition as one of a kind, and what is inside it.
    fn visit(&mut self, name: &str, kind: &'static str) {
        if !self.owners.entry(name.to_string()).or_default().insert(kind) {
            return;
        }
        let schema = self.definition(name).clone();
        if !self.is_root(name) && has_section(&schema) && !self.sections.iter().any(|section| section == name) {
            self.sections.push(name.to_string());
        }
        for (key, value) in keys(&schema) {
            let mut inside = BTreeSet::new();
            self.targets(value, &mut inside);
            for inner in inside {
                let holders = self.holders.entry(inner.clone()).or_default();
                if !holders.iter().any(|(holder, held)| holder == name && held == key) {
                    holders.push((name.to_string(), key.to_string()));
                }
                self.visit(&inner, kind);
            }
        }
    }

    /// The definitions that a value of a key may be, in its lists and maps too.
    fn targets(&self, schema: &Value, found: &mut BTreeSet<String>) {
        if let Some(name) = target(schema) {
            if has_section(self.definition(name)) {
                found.insert(name.to_string());
            } else {
                self.targets(self.definition(name), found);
            }
        }
        for part in ["anyOf", "oneOf", "items", "additionalProperties"].iter().filter_map(|key| schema.get(key)) {
            match part {
                Value::Array(parts) => parts.iter().for_each(|part| self.targets(part, found)),
                part => self.targets(part, found),
            }
        }
    }

    fn definition(&self, name: &str) -> &Value {
        self.definitions.get(name).unwrap_or(&Value::Null)
    }

    fn is_root(&self, name: &str) -> bool {
        self.roots.iter().any(|(_, root)| root == name)
    }

    fn kind(&self, page: &mut String, kind: &Kind, root: &str) {
        let schema = self.definition(root);
        let told = match text(schema, "description") {
            "" => String::new(),
            told => format!(" {told}"),
        };
        let _ = writeln!(page, "\n## {}\n\n`{}`.{}\n", kind.name, kind.files, one_line(&told));
        self.table(page, schema);
        let own = |name: &&String| self.owners[*name].iter().eq([&kind.name]);
        for name in self.sections.iter().filter(own) {
            self.section(page, name);
        }
    }

    fn section(&self, page: &mut String, name: &str) {
        let schema = self.definition(name);
        let words = super::words(schema);
        let is_map = schema.get("properties").is_some();
        let _ = write!(page, "\n### {}\n\n", title(name));
        if is_map || !words.is_empty() {
            let _ = writeln!(page, "{}", self.place(name));
        }
        let told = one_line(text(schema, "description"));
        if !told.is_empty() {
            let _ = writeln!(page, "{told}");
        }
        if is_map {
            page.push('\n');
            self.table(page, schema);
        } else if words.iter().any(|(_, what)| !what.is_empty()) {
            page.push_str("\n| word | what |\n|---|---|\n");
            for (word, what) in words {
                let _ = writeln!(page, "| `{word}` | {} |", one_line(&what));
            }
        } else if !words.is_empty() {
            let _ = writeln!(page, "It is {}.", self.takes(schema));
        } else {
            let examples = schema.get("examples").and_then(Value::as_array).into_iter().flatten();
            let examples: Vec<String> = examples.map(written).collect();
            if !examples.is_empty() {
                let _ = writeln!(page, "Such as {}.", either(&examples));
            }
        }
    }

    /// Where it stands: the keys that hold it, by who has them.
    fn place(&self, name: &str) -> String {
        let mut holders: Vec<(&str, Vec<String>)> = Vec::new();
        for (holder, key) in self.holders.get(name).into_iter().flatten() {
            let key = format!("`{key}`");
            match holders.iter_mut().find(|(known, _)| known == holder) {
                Some((_, keys)) => keys.push(key),
                None => holders.push((holder, vec![key])),
            }
        }
        let of = |(holder, keys): (&str, Vec<String>)| format!("{} of {}", keys.join(", "), self.link(holder));
        let places: Vec<String> = holders.into_iter().map(of).collect();
        format!("*{}.*", places.join("; "))
    }

    fn link(&self, name: &str) -> String {
        match self.roots.iter().find(|(_, root)| root == name) {
            Some((kind, _)) => format!("[{}](#{})", kind.name, kind.name),
            None => format!("[{}](#{})", in_a_sentence(&title(name)), anchor(name)),
        }
    }

    fn table(&self, page: &mut String, schema: &Value) {
        page.push_str("| key | what it takes | default | what it is |\n|---|---|---|---|\n");
        for (key, value) in keys(schema) {
            let required = required(schema).any(|name| name == key);
            let default = if required { "**required**".to_string() } else { self.default(value) };
            let told = one_line(text(value, "description"));
            let _ = writeln!(page, "| `{key}` | {} | {default} | {told} |", self.takes(value));
        }
    }

    /// What a value may be.
    fn takes(&self, schema: &Value) -> String {
        if let Some(name) = target(schema) {
            return self.takes_definition(name);
        }
        if let Some(forms) = schema.get("anyOf").and_then(Value::as_array) {
            let forms: Vec<String> =
                forms.iter().filter(|form| text(form, "type") != "null").map(|form| self.takes(form)).collect();
            return either(&forms);
        }
        let words = super::words(schema);
        if !words.is_empty() {
            return either(&words.iter().map(|(word, _)| format!("`{word}`")).collect::<Vec<_>>());
        }
        let types: Vec<String> = match schema.get("type") {
            Some(Value::String(name)) => vec![self.takes_type(name, schema)],
            Some(Value::Array(names)) => {
                let names = names.iter().filter_map(Value::as_str).filter(|name| *name != "null");
                names.map(|name| self.takes_type(name, schema)).collect()
            }
            _ => vec!["anything".to_string()],
        };
        either(&types)
    }

    /// What an item of a list or map may be.
    fn takes_inside(&self, schema: &Value) -> String {
        let forms = schema.get("anyOf").or(schema.get("type")).and_then(Value::as_array).map_or(1, Vec::len);
        let takes = self.takes(schema);
        if forms > 1 && takes.contains(" or ") { format!("({takes})") } else { takes }
    }

    fn takes_definition(&self, name: &str) -> String {
        let schema = self.definition(name);
        let words = super::words(schema);
        match (has_section(schema), words.len()) {
            (true, 1..=FEW_WORDS) => {
                let words: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
                format!("[{}](#{})", either(&words), anchor(name))
            }
            (true, _) => self.link(name),
            (false, _) => self.takes(schema),
        }
    }

    fn takes_type(&self, name: &str, schema: &Value) -> String {
        match name {
            "string" if text(schema, "format") == "date" => "date, such as `2025-06-30`".to_string(),
            "string" if schema.get("maxLength").and_then(Value::as_u64) == Some(1) => "one character".to_string(),
            "string" => "text".to_string(),
            "boolean" if schema.get("type").is_some_and(Value::is_array) => "truth value".to_string(),
            "boolean" => "`true` or `false`".to_string(),
            "integer" => format!("whole number{}", bounds(schema)),
            "number" => format!("number{}", bounds(schema)),
            "array" => {
                let item = schema.get("items").map_or("anything".to_string(), |items| self.takes_inside(items));
                format!("list of {item}")
            }
            "object" => match schema.get("additionalProperties") {
                Some(values @ Value::Object(_)) => format!("map of name to {}", self.takes_inside(values)),
                _ => "map of name to anything".to_string(),
            },
            other => other.to_string(),
        }
    }

    fn default(&self, schema: &Value) -> String {
        let default = without_nulls(schema.get("default").unwrap_or(&Value::Null));
        let nothing = match &default {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty(),
            _ => false,
        };
        let mut inside = BTreeSet::new();
        self.targets(schema, &mut inside);
        let own = |name: &String| self.is_default(name, &default);
        match (&default, inside.iter().next()) {
            _ if nothing => "–".to_string(),
            (Value::Object(_), Some(name)) if inside.len() == 1 && own(name) => "that of each of its keys".to_string(),
            _ => written(&default),
        }
    }

    /// Whether a value is what the keys of a definition say by default themselves.
    fn is_default(&self, name: &str, value: &Value) -> bool {
        let own = keys(self.definition(name)).into_iter();
        let own = own.filter_map(|(key, schema)| Some((key.to_string(), schema.get("default")?.clone())));
        let own = without_nulls(&Value::Object(own.collect()));
        without_nothings(&own) == without_nothings(value)
    }
}

/// The name of the definition that a schema is.
fn target(schema: &Value) -> Option<&str> {
    schema.get("$ref")?.as_str()?.strip_prefix("#/$defs/")
}

/// Whether there is more to say of a definition than fits where it is used.
fn has_section(schema: &Value) -> bool {
    let words = super::words(schema);
    let told = words.iter().any(|(_, what)| !what.is_empty()) || words.len() > FEW_WORDS;
    let form = words.is_empty() && schema.get("description").is_some();
    schema.get("properties").is_some() || told || form
}

/// Required keys in the order of their declaration, then the others by name.
fn keys(schema: &Value) -> Vec<(&str, &Value)> {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return Vec::new() };
    let first = required(schema).filter_map(|name| properties.get(name).map(|value| (name, value)));
    let mut found: Vec<(&str, &Value)> = first.collect();
    let rest = properties.iter().filter(|(name, _)| !required(schema).any(|first| first == *name));
    found.extend(rest.map(|(name, value)| (name.as_str(), value)));
    found
}

fn required(schema: &Value) -> impl Iterator<Item = &str> {
    schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn text<'a>(schema: &'a Value, key: &str) -> &'a str {
    schema.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn bounds(schema: &Value) -> String {
    let bound = |key: &str| schema.get(key).and_then(Value::as_f64);
    match (bound("minimum"), bound("maximum")) {
        (Some(least), Some(most)) => format!(" from {least} to {most}"),
        (Some(least), None) => format!(", {least} or more"),
        (None, Some(most)) => format!(", at most {most}"),
        (None, None) => String::new(),
    }
}

/// As it stands in YAML, on one line.
fn written(value: &Value) -> String {
    fn flow(value: &Value) -> String {
        match value {
            Value::String(text) if !text.starts_with(|first: char| first.is_alphanumeric() || first == '/') => {
                format!("{text:?}")
            }
            Value::String(text) => text.clone(),
            Value::Array(list) => format!("[{}]", list.iter().map(flow).collect::<Vec<_>>().join(", ")),
            Value::Object(map) => {
                let entries = map.iter().map(|(key, value)| format!("{key}: {}", flow(value)));
                format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
            }
            other => other.as_f64().map_or_else(|| other.to_string(), |number| number.to_string()),
        }
    }
    format!("`{}`", flow(value))
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(key, value)| (key.clone(), without_nulls(value))).collect())
        }
        other => other.clone(),
    }
}

/// Without keys that are empty, whether somebody says so or not.
fn without_nothings(value: &Value) -> Value {
    let Value::Object(map) = value else { return value.clone() };
    let nothing = |value: &Value| match value {
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    };
    let kept = map.iter().map(|(key, value)| (key.clone(), without_nothings(value)));
    Value::Object(kept.filter(|(_, value)| !nothing(value)).collect())
}

/// `a`, `b` or `c`.
fn either(forms: &[String]) -> String {
    match forms {
        [] => "nothing".to_string(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// `RejectInference` → Reject inference.
fn title(name: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    for letter in name.chars() {
        match words.last_mut() {
            Some(word) if !letter.is_uppercase() => word.push(letter),
            Some(_) => words.push(letter.to_lowercase().collect()),
            None => words.push(letter.to_string()),
        }
    }
    let word = |word: &String| match ["csv", "pii", "url"].contains(&word.to_lowercase().as_str()) {
        true => word.to_uppercase(),
        false => word.clone(),
    };
    words.iter().map(word).collect::<Vec<_>>().join(" ")
}

fn in_a_sentence(title: &str) -> String {
    match title.chars().nth(1).is_some_and(char::is_uppercase) {
        true => title.to_string(),
        false => title.chars().take(1).flat_map(char::to_lowercase).chain(title.chars().skip(1)).collect(),
    }
}

fn anchor(name: &str) -> String {
    title(name).to_lowercase().replace(' ', "-")
}

/// In a cell of a table.
fn one_line(text: &str) -> String {
    text.replace('\n', " ").replace('|', "\\|")
}
