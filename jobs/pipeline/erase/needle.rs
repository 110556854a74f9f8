//! A key in a haystack: in text, in bytes, in columns however nested.
//!
//! A key counts where it stands for itself, with no letter or digit before or after it: `u1` is in `"u1"` and in `user u1,`,
//! but not in `u12`. A key that is a number is only looked for as the value of its column, and as that of a field of
//! JSON by its name: as a number alone it is everywhere.

use std::collections::BTreeSet;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::DataType;

use crate::report;

/// What stands for a key that was taken out of a text.
pub const ERASED: &str = "[erased]";

#[derive(Debug, Clone)]
pub struct Needle {
    patterns: Vec<Vec<u8>>,
}

impl Needle {
    pub fn new(column: &str, keys: &BTreeSet<String>) -> Needle {
        let mut patterns = Vec::new();
        for key in keys {
            if key.bytes().all(|byte| byte.is_ascii_digit()) {
                patterns.extend([format!("\"{column}\":{key}"), format!("\"{column}\": {key}")]);
                patterns.extend([format!("\"{column}\":\"{key}\""), format!("{column}={key}")]);
            } else {
                patterns.extend(spellings(key));
            }
        }
        Needle { patterns: patterns.into_iter().map(String::into_bytes).collect() }
    }

    /// How often it is there.
    pub fn count(&self, haystack: &[u8]) -> u64 {
        self.patterns.iter().map(|pattern| places(haystack, pattern).count() as u64).sum()
    }

    pub fn is_in(&self, haystack: &[u8]) -> bool {
        self.patterns.iter().any(|pattern| places(haystack, pattern).next().is_some())
    }

    /// The text without it.
    pub fn taken_out(&self, text: &str) -> String {
        let mut bytes = text.as_bytes().to_vec();
        for pattern in &self.patterns {
            let found: Vec<usize> = places(&bytes, pattern).collect();
            for at in found.into_iter().rev() {
                bytes.splice(at..at + pattern.len(), ERASED.bytes());
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// How many values of a column hold it, however deep they are nested.
    pub fn count_in(&self, column: &ArrayRef) -> u64 {
        let texts = |values: &mut dyn Iterator<Item = Option<&[u8]>>| {
            values.flatten().map(|value| u64::from(self.is_in(value))).sum()
        };
        match column.data_type() {
            DataType::Utf8 => texts(&mut column.as_string::<i32>().iter().map(|v| v.map(str::as_bytes))),
            DataType::LargeUtf8 => texts(&mut column.as_string::<i64>().iter().map(|v| v.map(str::as_bytes))),
            DataType::Utf8View => texts(&mut column.as_string_view().iter().map(|v| v.map(str::as_bytes))),
            DataType::Binary => texts(&mut column.as_binary::<i32>().iter()),
            DataType::LargeBinary => texts(&mut column.as_binary::<i64>().iter()),
            DataType::BinaryView => texts(&mut column.as_binary_view().iter()),
            DataType::List(_) => self.count_in(column.as_list::<i32>().values()),
            DataType::LargeList(_) => self.count_in(column.as_list::<i64>().values()),
            DataType::Struct(_) => column.as_struct().columns().iter().map(|column| self.count_in(column)).sum(),
            DataType::Map(_, _) => column.as_map().entries().columns().iter().map(|column| self.count_in(column)).sum(),
            DataType::Dictionary(_, _) => self.count_in(column.as_any_dictionary().values()),
            _ => 0,
        }
    }
}

/// A key as it is, and as pages, JSON and CSV write it: most keys are the same everywhere.
fn spellings(key: &str) -> BTreeSet<String> {
    let csv = key.replace('"', "\"\"");
    let pages = report::spellings(key).unwrap_or_default();
    [key.to_string(), csv].into_iter().chain(pages).collect()
}

/// Where a pattern stands for itself.
fn places<'a>(haystack: &'a [u8], pattern: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let is_word = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let mut from = 0;
    std::iter::from_fn(move || {
        let first = *pattern.first()?;
        while let Some(step) = haystack.get(from..)?.iter().position(|byte| *byte == first) {
            let at = from + step;
            from = at + 1;
            if haystack[at..].starts_with(pattern)
                && !is_word(at.checked_sub(1).and_then(|before| haystack.get(before)))
                && !is_word(haystack.get(at + pattern.len()))
            {
                return Some(at);
            }
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ListBuilder, StringBuilder};
    use proptest::prelude::*;

    use super::*;

    fn needle(key: &str) -> Needle {
        Needle::new("user_id", &[key.to_string()].into())
    }

    #[test]
    fn a_key_counts_where_it_stands_for_itself() {
        let u1 = needle("u1");
        assert!(["u1", "\"u1\"", "user u1, who", "x-u1_", "u12 u1"].iter().all(|text| u1.is_in(text.as_bytes())));
        assert!(["u12", "xu1", "1u1", "U1", "", "u"].iter().all(|text| !u1.is_in(text.as_bytes())));
        assert_eq!(u1.taken_out("u1 pays u12 for u1"), "[erased] pays u12 for [erased]");
        let number = needle("42");
        assert!(
            number.is_in(b"{\"user_id\":42}") && !number.is_in(b"{\"rows\":42}") && !number.is_in(b"{\"user_id\":421}")
        );
    }

    #[test]
    fn a_key_is_found_however_it_is_written() {
        let key = needle("o'ne<i>l \"x\" & co");
        for text in [
            "o'ne<i>l \"x\" & co",
            "<td>o'ne&lt;i&gt;l &quot;x&quot; &amp; co</td>",
            r#"{"user_id":"o'ne<i>l \"x\" & co"}"#,
            r#"[{"user_id":"o'ne\u003ci\u003el \"x\" \u0026 co"}]"#,
            r#""o'ne<i>l ""x"" & co",1"#,
        ] {
            assert!(key.is_in(text.as_bytes()), "{text}");
        }
        assert!(needle("42").is_in(br#"[[{"user_id":"42"},0.1]]"#), "as a report has it");
    }

    #[test]
    fn nothing_is_too_deep() {
        let mut lists = ListBuilder::new(StringBuilder::new());
        lists.append_value([Some("a"), None, Some("of u1")]);
        lists.append_null();
        let lists: ArrayRef = Arc::new(lists.finish());
        assert_eq!((needle("u1").count_in(&lists), needle("u2").count_in(&lists)), (1, 0));
    }

    proptest! {
        /// Against looking at every place, one after the other.
        #[test]
        fn every_place_is_found(text in "[ab1 ]{0,30}", key in "[ab][ab1]{0,2}") {
            let word = |at: usize| text.as_bytes().get(at).is_some_and(u8::is_ascii_alphanumeric);
            let is_at = |at: usize| text[at..].starts_with(&key) && !(at > 0 && word(at - 1)) && !word(at + key.len());
            let expected = (0..text.len()).filter(|at| is_at(*at)).count() as u64;
            prop_assert_eq!(needle(&key).count(text.as_bytes()), expected);
            prop_assert_eq!(needle(&key).is_in(needle(&key).taken_out(&text).as_bytes()), false);
        }
    }
}
