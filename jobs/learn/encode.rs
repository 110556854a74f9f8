//! Categories as small integers: a vocabulary fitted on training rows, kept with the model, replayed when scoring.

use std::cmp::Reverse;
use std::collections::HashMap;

use serde::{Deserialize, Serialize};

/// The categories a model knows, each with its code: the position in this list, most frequent first.
///
/// Only what training rows contain gets a code; anything else, when training or scoring, is missing. Serialised as the
/// list of values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Vocabulary {
    values: Vec<String>,
    codes: HashMap<String, u32>,
}

impl Vocabulary {
    /// The `max_size` most frequent of `values`, ties in value order, so that the order of the rows does not matter.
    pub fn fit<'a>(values: impl IntoIterator<Item = &'a str>, max_size: usize) -> Self {
        let mut counts: HashMap<&str, u64> = HashMap::new();
        for value in values {
            *counts.entry(value).or_default() += 1;
        }
        let mut ranked: Vec<(&str, u64)> = counts.into_iter().collect();
        ranked.sort_unstable_by_key(|&(value, count)| (Reverse(count), value));
        ranked.truncate(max_size);
        Self::from_distinct(ranked.into_iter().map(|(value, _)| value.to_string()).collect())
    }

    /// The code of a value; `None` where training did not see it often enough.
    pub fn code(&self, value: &str) -> Option<u32> {
        self.codes.get(value).copied()
    }

    /// The values in code order.
    pub fn values(&self) -> &[String] {
        &self.values
    }

    fn from_distinct(values: Vec<String>) -> Self {
        let codes = values.iter().cloned().zip(0..).collect();
        Vocabulary { values, codes }
    }
}

impl TryFrom<Vec<String>> for Vocabulary {
    type Error = String;

    fn try_from(values: Vec<String>) -> Result<Self, String> {
        let vocabulary = Self::from_distinct(values);
        if vocabulary.codes.len() == vocabulary.values.len() {
            Ok(vocabulary)
        } else {
            Err("a vocabulary lists one value twice".to_string())
        }
    }
}

impl From<Vocabulary> for Vec<String> {
    fn from(vocabulary: Vocabulary) -> Self {
        vocabulary.values
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn most_frequent_first_ties_in_value_order_bounded() {
        let vocabulary = Vocabulary::fit(["b", "c", "a", "c", "b", "d"], 3);
        assert_eq!(vocabulary.values(), ["b", "c", "a"]);
        assert_eq!(vocabulary.code("c"), Some(1));
        assert_eq!(vocabulary.code("d"), None, "beyond the bound");
        assert_eq!(vocabulary.code("never seen"), None);
    }

    #[test]
    fn json_is_the_list_and_repeats_are_refused() {
        let vocabulary = Vocabulary::fit(["x", "y", "x"], 10);
        let json = serde_json::to_string(&vocabulary).unwrap();
        assert_eq!(json, r#"["x","y"]"#);
        assert_eq!(serde_json::from_str::<Vocabulary>(&json).unwrap(), vocabulary);
        assert!(serde_json::from_str::<Vocabulary>(r#"["x","x"]"#).is_err());
    }

    proptest! {
        #[test]
        fn row_order_does_not_matter(mut values in proptest::collection::vec("[a-d]{1,2}", 0..60), max in 0usize..12) {
            let one = Vocabulary::fit(values.iter().map(String::as_str), max);
            values.sort();
            values.reverse();
            prop_assert_eq!(&Vocabulary::fit(values.iter().map(String::as_str), max), &one);
            prop_assert!(one.values().len() <= max);
            for (code, value) in one.values().iter().enumerate() {
                prop_assert_eq!(one.code(value), Some(code as u32));
            }
        }
    }
}
