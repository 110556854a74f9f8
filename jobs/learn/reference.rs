//! What Python says of the same numbers, for tests: cases written by tests/interop/learn/measures.py.

use serde::de::DeserializeOwned;
use serde_json::Value;

const MEASURES: &str = include_str!("../../tests/interop/learn/measures.json");

/// The cases of one section.
pub fn cases<T: DeserializeOwned>(section: &str) -> Vec<T> {
    let all: Value = serde_json::from_str(MEASURES).unwrap();
    let cases: Vec<T> = serde_json::from_value(all[section].clone()).unwrap();
    assert!(cases.len() >= 3, "{section} has {} cases", cases.len());
    cases
}

/// Equal but for rounding.
pub fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-12 * (1.0 + b.abs())
}
