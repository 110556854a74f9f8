//! `docs/guarantees.md` promises nothing without a test that holds it: every test it names exists.

use std::fs;

use crate::support::root;

/// What stands between backticks and has a path: `torture::kills::a_night…`, `lake::tests::the_same…`.
fn named(line: &str) -> Vec<&str> {
    let is_path =
        |text: &&str| text.contains("::") && text.chars().all(|c| c.is_ascii_alphanumeric() || "_:".contains(c));
    line.split('`').skip(1).step_by(2).filter(is_path).collect()
}

/// Whether the file of such a module has such a test.
fn exists(path: &str) -> bool {
    let mut module: Vec<&str> = path.split("::").collect();
    let name = module.pop().unwrap_or_default();
    let found = |folder: &str, module: &[&str]| {
        let file = format!("{folder}/{}", module.join("/"));
        let texts = [format!("{file}.rs"), format!("{file}/mod.rs")].map(|file| fs::read_to_string(root().join(file)));
        texts.into_iter().flatten().any(|text| is_test(&text, name))
    };
    // The tests of a module are in its own file, or in one beside it.
    let outer = &module[..module.len() - usize::from(module.last() == Some(&"tests"))];
    found("tests/it", &module) || found("jobs", &module) || found("jobs", outer)
}

/// A function of that name with an attribute that makes it a test, or within `proptest!`.
fn is_test(text: &str, name: &str) -> bool {
    let Some(at) = text.find(&format!("fn {name}(")) else { return false };
    let above: Vec<&str> = text[..at].lines().rev().take(4).collect();
    above.iter().any(|line| line.contains("#[test]") || line.contains("#[tokio::test"))
}

#[test]
fn every_promise_names_tests_that_exist() {
    let text = fs::read_to_string(root().join("docs/guarantees.md")).unwrap();
    let promises: Vec<&str> =
        text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| Promise")).collect();
    assert!(promises.len() > 15, "{promises:#?}");
    for promise in promises {
        let tests = named(promise);
        assert!(!tests.is_empty(), "a promise that no test holds: {promise}");
        let gone: Vec<&str> = tests.into_iter().filter(|test| !exists(test)).collect();
        assert!(gone.is_empty(), "there is no such test: {gone:?}");
    }
}

#[test]
fn a_test_that_is_not_there_is_noticed() {
    assert!(exists("guarantees::a_test_that_is_not_there_is_noticed"));
    assert!(exists("lake::tests::the_same_work_is_not_committed_twice"));
    for wrong in ["guarantees::named", "guarantees::nothing", "lake::the_same_work", "nowhere::at_all"] {
        assert!(!exists(wrong), "{wrong}");
    }
}
