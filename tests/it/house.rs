//! The house rules that no compiler knows: which folder may import which, who may use the storage and model libraries,
//! who may read the clock, that every module says what it is, and how long files and functions may get.
//!
//! The sources are read as tokens, not as text: a comment, a string or a documentation link is not an import. `super`
//! and `self` are resolved, so that no arrow hides behind a relative path. What stands under `#[cfg(test)]` is held to
//! the import rules too; it may read the clock, and its lines do not count.

#![allow(clippy::unwrap_used)] // Helpers of tests are not recognised as tests.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use tokens::{Token, tokens};

mod tokens;

/// For each top-level module, the ones it may import besides itself.
const ARROWS: &[(&str, &[&str])] = &[
    ("allocator", &[]),
    ("error", &[]),
    ("panics", &[]),
    ("clock", &["error"]),
    ("define", &["error"]),
    ("engine", &["define", "error", "clock"]),
    ("lake", &["define", "error", "clock"]),
    ("learn", &["define", "error", "clock"]),
    ("generate", &["define", "error", "clock"]),
    ("report", &["define", "error", "clock"]),
    ("pipeline", &["engine", "lake", "learn", "generate", "report", "define", "error", "panics", "clock"]),
    ("cli", &["pipeline", "define", "error", "panics", "clock"]),
    ("main", &["allocator", "cli", "error", "clock"]),
];

/// Libraries that only one folder may name, so that replacing one is the work of one folder.
const OWNERS: &[(&str, &str)] = &[
    ("object_store", "lake"),
    ("deltalake", "lake"),
    ("deltalake_core", "lake"),
    ("lightgbm3", "learn"),
    ("lightgbm3_sys", "learn"),
    ("schemars", "define"),
    ("maud", "report"),
    ("plotters", "report"),
    ("mimalloc", "allocator"),
    ("libmimalloc_sys", "allocator"),
];

/// What reads the clock, the environment or the machine's settings. jobs/clock.rs is for that.
const AMBIENT: &[(&str, &[&str])] = &[
    ("SystemTime", &["now"]),
    ("Instant", &["now"]),
    ("Utc", &["now"]),
    ("Local", &["now"]),
    ("OffsetDateTime", &["now_utc", "now_local"]),
    ("env", &["var", "var_os", "vars", "vars_os", "set_var", "remove_var", "current_dir", "home_dir", "temp_dir"]),
];

const FILE_LINES: usize = 600;
const MEDIAN_LINES: usize = 200;
const FUNCTION_LINES: usize = 70;

#[test]
fn imports_point_one_way() {
    report(&sources("jobs"), "a forbidden import", import_faults);
}

#[test]
fn storage_and_models_are_known_to_one_folder_each() {
    report(&sources("jobs"), "a library used outside its folder", owner_faults);
}

#[test]
fn only_the_clock_reads_clock_and_environment() {
    report(&sources("jobs"), "a hidden input", ambient_faults);
}

#[test]
fn every_module_says_what_it_is() {
    let mut files = sources("jobs");
    files.extend(sources("tests/it"));
    report(&files, "a module without its opening words", |file| {
        if file.text.trim_start().starts_with("//!") {
            return Vec::new();
        }
        vec![(1, "the file must open with `//!`: what the module is and why it is there".into())]
    });
}

#[test]
fn files_and_functions_stay_short() {
    let files = sources("jobs");
    report(&files, "a file or function that is too long", length_faults);
    let mut lengths: Vec<usize> = files.iter().filter(|f| !f.is_test()).map(|f| code_lines(&f.text)).collect();
    lengths.sort_unstable();
    let median = lengths[lengths.len() / 2];
    assert!(median <= MEDIAN_LINES, "the median file has {median} lines without its tests; at most {MEDIAN_LINES}");
}

#[test]
fn every_top_folder_says_what_lives_where() {
    for folder in ["jobs", "sql", "features", "models", "orchestration", "tests", "benches", "docs"] {
        let readme = root().join(folder).join("README.md");
        assert!(readme.is_file(), "{} is missing: one paragraph on what lives in {folder}/", readme.display());
    }
}

/// A Rust file: its path from the repository root, its text, and the module path that it is (empty for lib.rs).
struct Source {
    path: String,
    text: String,
    module: Vec<String>,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        let mut module: Vec<String> = path.trim_end_matches(".rs").split('/').skip(1).map(str::to_owned).collect();
        if module.last().is_some_and(|name| name == "mod" || name == "lib") {
            module.pop();
        }
        Source { path: path.into(), text: text.into(), module }
    }

    /// The top-level module that the file belongs to: `define`, `lake`, …, or `lib`.
    fn top(&self) -> &str {
        self.module.first().map_or("lib", String::as_str)
    }

    /// A file that is compiled for tests only, by the name it has.
    fn is_test(&self) -> bool {
        self.module.iter().any(|name| name == "tests" || name.ends_with("_tests"))
    }
}

/// A line number and what is wrong with it.
type Fault = (usize, String);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below a folder of the repository, in the order of their paths.
fn sources(folder: &str) -> Vec<Source> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(folder), &mut found);
    found.sort();
    assert!(!found.is_empty(), "no Rust file below {folder}/");
    found
        .iter()
        .map(|path| {
            let name = path.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/");
            Source::new(&name, &fs::read_to_string(path).unwrap())
        })
        .collect()
}

/// Fails with every fault of every file at once.
fn report(files: &[Source], title: &str, faults: impl Fn(&Source) -> Vec<Fault>) {
    let mut found = String::new();
    for file in files {
        for (line, what) in faults(file) {
            let _ = write!(found, "\n  {}:{line}: {what}", file.path);
        }
    }
    assert!(found.is_empty(), "{title}:{found}");
}

fn import_faults(file: &Source) -> Vec<Fault> {
    let from = file.top();
    if from == "lib" {
        return Vec::new(); // The module list.
    }
    let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == from) else {
        return vec![(
            1,
            format!("module `{from}` has no place in ARROWS (tests/it/house.rs): say what it may import"),
        )];
    };
    imports(file)
        .into_iter()
        .filter(|(_, to)| to != from && ARROWS.iter().any(|(name, _)| name == to) && !allowed.contains(&to.as_str()))
        .map(|(line, to)| (line, format!("`{from}` imports `{to}`; it may import {}", list(allowed))))
        .collect()
}

fn list(names: &[&str]) -> String {
    if names.is_empty() { "nothing of this crate".into() } else { format!("only {}", names.join(", ")) }
}

/// The top-level modules that a file names, with the line of each.
fn imports(file: &Source) -> Vec<(usize, String)> {
    let code = tokens(&file.text);
    let mut inline: Vec<(String, usize)> = Vec::new(); // `mod name {` that is open, and the depth of its brace
    let mut depth = 0;
    let mut found = Vec::new();
    let mut at = 0;
    while at < code.len() {
        match code[at].text.as_str() {
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                inline.pop_if(|(_, opened)| *opened == depth);
            }
            "mod" if text(&code, at + 2) == "{" => inline.push((code[at + 1].text.clone(), depth)),
            "crate" | "super" | "self" | "scorehouse"
                if text(&code, at + 1) == "::" && text_before(&code, at) != "::" =>
            {
                let mut module: Vec<&str> = file.module.iter().map(String::as_str).collect();
                module.extend(inline.iter().map(|(name, _)| name.as_str()));
                at = follow(&code, at, module, &mut found);
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Follows a path that starts at `crate`, `super` or `self` to the names it reaches, `{a, b::c}` included, and returns
/// where to read on.
fn follow(code: &[Token], mut at: usize, mut module: Vec<&str>, found: &mut Vec<(usize, String)>) -> usize {
    loop {
        match text(code, at) {
            "crate" | "scorehouse" => module.clear(),
            "super" => {
                module.pop();
            }
            "self" => {}
            _ => break,
        }
        if text(code, at + 1) != "::" {
            break;
        }
        at += 2;
    }
    if let Some(top) = module.first() {
        found.push((code[at.min(code.len() - 1)].line, (*top).to_owned()));
        return at;
    }
    if text(code, at) != "{" {
        found.push((code[at].line, code[at].text.clone()));
        return at;
    }
    let mut depth = 0;
    let mut first = true; // whether the next name begins an entry of the outermost braces
    loop {
        match text(code, at) {
            "" => return at,
            "{" => {
                first = depth == 0;
                depth += 1;
            }
            "}" => depth -= 1,
            "," => first = depth == 1,
            name if first => {
                found.push((code[at].line, name.to_owned()));
                first = false;
            }
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return at;
        }
    }
}

fn owner_faults(file: &Source) -> Vec<Fault> {
    let code = tokens(&file.text);
    let mut found = Vec::new();
    for (at, token) in code.iter().enumerate() {
        let Some((library, owner)) = OWNERS.iter().find(|(library, _)| token.text == *library) else { continue };
        let begins_path = text_before(&code, at) != "::" && text(&code, at + 1) == "::";
        let named = matches!(text_before(&code, at), "use" | "crate");
        if file.top() != *owner && (begins_path || named) {
            found.push((token.line, format!("`{library}` may be named only below jobs/{owner}/")));
        }
    }
    found
}

fn ambient_faults(file: &Source) -> Vec<Fault> {
    if file.path == "jobs/clock.rs" || file.is_test() {
        return Vec::new();
    }
    let code = tokens(before_tests(&file.text));
    let mut found = Vec::new();
    for (at, token) in code.iter().enumerate() {
        let Some((_, functions)) = AMBIENT.iter().find(|(name, _)| token.text == *name) else { continue };
        let function = text(&code, at + 2);
        if text(&code, at + 1) == "::" && functions.contains(&function) {
            found.push((token.line, format!("`{}::{function}`; only jobs/clock.rs may: use crate::clock", token.text)));
        }
    }
    if file.top() == "define" {
        let pure = |name: &str| !matches!(name, "fs" | "net" | "process" | "tokio");
        for (at, token) in code.iter().enumerate() {
            if !pure(&token.text) && text(&code, at + 1) == "::" {
                found.push((token.line, format!("`{}` in define/, which does no input or output", token.text)));
            }
        }
    }
    found
}

fn length_faults(file: &Source) -> Vec<Fault> {
    if file.is_test() {
        return Vec::new();
    }
    let mut found = Vec::new();
    let lines = code_lines(&file.text);
    if lines > FILE_LINES {
        found.push((lines, format!("{lines} lines before the tests; at most {FILE_LINES}: split it by concept")));
    }
    for (name, line, lines) in functions(before_tests(&file.text)) {
        if lines > FUNCTION_LINES {
            found.push((line, format!("`{name}` has {lines} lines; at most {FUNCTION_LINES}: name its parts")));
        }
    }
    found
}

/// Name, first line and length of every function, from `fn` to its closing brace.
fn functions(source: &str) -> Vec<(String, usize, usize)> {
    let code = tokens(source);
    let mut open: Vec<(usize, usize)> = Vec::new(); // index of `fn`, depth of its body
    let mut pending: Option<usize> = None; // a `fn` whose body has not begun
    let mut parentheses = 0;
    let mut depth = 0;
    let mut found = Vec::new();
    for (at, token) in code.iter().enumerate() {
        match token.text.as_str() {
            "fn" if text(&code, at + 1) != "(" => (pending, parentheses) = (Some(at), 0),
            "(" | "[" => parentheses += 1,
            ")" | "]" => parentheses -= 1,
            ";" if parentheses == 0 => pending = None,
            "{" => {
                if let Some(start) = pending.take() {
                    open.push((start, depth));
                }
                depth += 1;
            }
            "}" => {
                depth -= 1;
                if let Some((start, _)) = open.pop_if(|(_, body)| *body == depth) {
                    let first = &code[start];
                    found.push((code[start + 1].text.clone(), first.line, token.line - first.line + 1));
                }
            }
            _ => {}
        }
    }
    found
}

/// The text before the tests of a file: before the first `#[cfg(test)]` that stands at the beginning of a line.
fn before_tests(text: &str) -> &str {
    if text.starts_with("#[cfg(test)]") {
        return "";
    }
    text.find("\n#[cfg(test)]\nmod ").map_or(text, |end| &text[..=end])
}

fn code_lines(text: &str) -> usize {
    before_tests(text).lines().count()
}

fn text(code: &[Token], at: usize) -> &str {
    code.get(at).map_or("", |token| token.text.as_str())
}

fn text_before(code: &[Token], at: usize) -> &str {
    at.checked_sub(1).map_or("", |before| text(code, before))
}

// The rules are tested too: a rule that cannot fail holds nothing.

fn faults(path: &str, text: &str) -> BTreeMap<usize, String> {
    let file = Source::new(path, text);
    [import_faults(&file), owner_faults(&file), ambient_faults(&file), length_faults(&file)]
        .concat()
        .into_iter()
        .collect()
}

#[test]
fn a_forbidden_arrow_is_found_however_it_is_written() {
    for import in [
        "use crate::lake::Table;",
        "use crate::{error::Error, lake};",
        "use crate::{define::{Model, Table}, lake::{self, Table}};",
        "use super::super::lake::Table;",
        "mod inner { use super::super::super::lake::Table; }",
        "fn f() { $crate::lake::open() }",
        "pub(crate) use crate::lake::open;",
    ] {
        let found = faults("jobs/engine/window.rs", &format!("//! Windows.\n{import}"));
        assert_eq!(
            found.get(&2).map(String::as_str),
            Some("`engine` imports `lake`; it may import only define, error, clock"),
            "{import}"
        );
    }
}

#[test]
fn what_only_looks_like_an_arrow_is_none() {
    for innocent in [
        "// crate::lake::Table",
        "/* /* crate::lake */ crate::lake */",
        "const S: &str = \"crate::lake\"; const R: &str = r#\"\"crate::lake\"\"#;",
        "fn f<'a>(c: char) -> bool { c == '\"' || crate::define::lake(c) }",
        "use super::lake::Table;", // jobs/engine/lake.rs
        "mod inner { use super::super::lake; }",
        "use crate::{define::{lake, Model}, error::Error};",
    ] {
        let found = faults("jobs/engine/window.rs", &format!("//! See [`crate::lake`].\n{innocent}"));
        assert!(found.is_empty(), "{innocent}: {found:?}");
    }
}

#[test]
fn a_module_without_a_place_is_refused() {
    assert!(faults("jobs/misc/mod.rs", "//! Things.")[&1].contains("has no place"));
    assert!(faults("jobs/error.rs", "use crate::define::Table;")[&1].contains("nothing of this crate"));
    assert!(faults("jobs/main.rs", "use scorehouse::lake;")[&1].contains("`main` imports `lake`"));
    assert!(faults("jobs/lib.rs", "pub use crate::lake::Table;").is_empty());
}

#[test]
fn libraries_have_owners() {
    assert!(faults("jobs/learn/fit.rs", "use deltalake::DeltaTable;")[&1].contains("only below jobs/lake/"));
    assert!(faults("jobs/cli/mod.rs", "fn f() { lightgbm3::Booster::new() }")[&1].contains("only below jobs/learn/"));
    assert!(faults("jobs/lake/raw.rs", "use object_store::path::Path;").is_empty());
    assert!(faults("jobs/learn/fit.rs", "let object_store = 1; self.object_store.get();").is_empty());
}

#[test]
fn hidden_inputs_are_found_outside_tests() {
    assert!(faults("jobs/lake/raw.rs", "let t = std::time::Instant::now();")[&1].contains("use crate::clock"));
    assert!(faults("jobs/cli/mod.rs", "\nlet t = env::temp_dir();")[&2].contains("env::temp_dir"));
    assert!(faults("jobs/define/mod.rs", "use std::fs::File;")[&1].contains("no input or output"));
    assert!(faults("jobs/lake/raw.rs", "let v = env!(\"CARGO_PKG_VERSION\"); crate::clock::env(v);").is_empty());
    assert!(faults("jobs/lake/raw.rs", "//! Raw.\n#[cfg(test)]\nmod tests { fn f() { Utc::now() } }").is_empty());
}

#[test]
fn long_functions_and_files_are_found() {
    let long =
        format!("//! Long.\nfn long(a: [u8; 2]) {{\n{}}}\nfn short();\n", "    step();\n".repeat(FUNCTION_LINES - 1));
    assert_eq!(faults("jobs/lake/raw.rs", &long)[&2], "`long` has 71 lines; at most 70: name its parts");
    let just = long.replacen("    step();\n", "", 1);
    assert!(faults("jobs/lake/raw.rs", &just).is_empty());
    let file = "// line\n".repeat(FILE_LINES + 1);
    assert!(faults("jobs/lake/raw.rs", &file)[&(FILE_LINES + 1)].starts_with("601 lines"));
    assert!(faults("jobs/lake/tests.rs", &file).is_empty());
}
