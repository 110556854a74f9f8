//! A key in a haystack: in text, in bytes, in columns however nested.
//!
//! A key counts where it stands for itself, with no letter or digit before or after it: `u1` is in `"u1"` and in `user u1,`,
//! but not in `u12` or `u1ž`. Keys of others that have it in them, as `u1-2` has, are known and do not count. It is looked
//! for as it is and as JSON, HTML and CSV write it. A key that is a number is only looked for as the value of its column,
//! and as that of a field of JSON by its name: as a number alone it is everywhere.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, StringArray, StructArray};
use arrow::datatypes::DataType;

use crate::error::{Error, Result};
use crate::report;

/// What stands for a key that was taken out of a text.
pub const ERASED: &str = "[erased]";

#[derive(Debug, Clone)]
pub struct Needle {
    patterns: Vec<Vec<u8>>,
    /// Other keys, in which a pattern is.
    others: Vec<Vec<u8>>,
    column: String,
    /// Keys that are numbers.
    numbers: BTreeSet<String>,
}

impl Needle {
    pub fn new(column: &str, keys: &BTreeSet<String>) -> Needle {
        let mut patterns = Vec::new();
        for key in keys {
            if is_number(key) {
                patterns.extend([format!("\"{column}\":{key}"), format!("\"{column}\": {key}")]);
                patterns.extend([format!("\"{column}\":\"{key}\""), format!("{column}={key}")]);
            } else {
                patterns.extend(written(key));
            }
        }
        Needle {
            patterns: patterns.into_iter().map(String::into_bytes).collect(),
            others: Vec::new(),
            column: column.to_string(),
            numbers: keys.iter().filter(|key| is_number(key)).cloned().collect(),
        }
    }

    /// Keys of others do not count, although this one may be in them.
    pub fn but_not(mut self, others: &BTreeSet<String>) -> Needle {
        let others = others.iter().flat_map(|other| written(other)).map(String::into_bytes);
        self.others = others.filter(|other| self.is_in(other)).collect();
        self
    }

    /// How often it is there.
    pub fn count(&self, haystack: &[u8]) -> u64 {
        self.patterns.iter().map(|pattern| self.places(haystack, pattern).count() as u64).sum()
    }

    pub fn is_in(&self, haystack: &[u8]) -> bool {
        self.patterns.iter().any(|pattern| self.places(haystack, pattern).next().is_some())
    }

    /// Numbers in the column of a table of text, which its first line names.
    pub fn cells_of_csv(&self, bytes: &[u8]) -> u64 {
        let mut lines = bytes.split(|byte| *byte == b'\n').map(cells);
        let Some(head) = lines.next().filter(|_| !self.numbers.is_empty()) else { return 0 };
        let Some(at) = head.iter().position(|name| *name == self.column.as_bytes()) else { return 0 };
        let theirs = |line: &Vec<&[u8]>| {
            line.get(at).is_some_and(|cell| self.numbers.iter().any(|number| number.as_bytes() == *cell))
        };
        lines.filter(theirs).count() as u64
    }

    /// Numbers that are all of an element, in a page that names the column: whose they are no page says more exactly.
    pub fn cells_of_html(&self, bytes: &[u8]) -> u64 {
        let has = |word: &str| bytes.windows(word.len()).any(|window| window == word.as_bytes());
        if self.numbers.is_empty() || !has(&self.column) {
            return 0;
        }
        self.numbers.iter().filter(|number| has(&format!(">{number}<"))).count() as u64
    }

    /// The text without it.
    pub fn taken_out(&self, text: &str) -> String {
        let mut bytes = text.as_bytes().to_vec();
        for pattern in &self.patterns {
            let found: Vec<usize> = self.places(&bytes, pattern).collect();
            for at in found.into_iter().rev() {
                bytes.splice(at..at + pattern.len(), ERASED.bytes());
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn places<'a>(&'a self, haystack: &'a [u8], pattern: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
        places(haystack, pattern)
            .filter(move |at| !self.others.iter().any(|other| covers(haystack, other, pattern, *at)))
    }

    /// How many values of a column hold it, however deep they are nested.
    pub fn count_in(&self, column: &ArrayRef) -> u64 {
        let mut count = 0;
        each_text(column, &mut |text| count += u64::from(self.is_in(text)));
        count
    }
}

/// Every text and every string of bytes of a column, however deep they are nested.
pub fn each_text(column: &ArrayRef, each: &mut dyn FnMut(&[u8])) {
    match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().iter().flatten().for_each(|text| each(text.as_bytes())),
        DataType::LargeUtf8 => column.as_string::<i64>().iter().flatten().for_each(|text| each(text.as_bytes())),
        DataType::Utf8View => column.as_string_view().iter().flatten().for_each(|text| each(text.as_bytes())),
        DataType::Binary => column.as_binary::<i32>().iter().flatten().for_each(each),
        DataType::LargeBinary => column.as_binary::<i64>().iter().flatten().for_each(each),
        DataType::BinaryView => column.as_binary_view().iter().flatten().for_each(each),
        DataType::List(_) => each_text(column.as_list::<i32>().values(), each),
        DataType::LargeList(_) => each_text(column.as_list::<i64>().values(), each),
        DataType::Struct(_) => column.as_struct().columns().iter().for_each(|column| each_text(column, each)),
        DataType::Map(_, _) => {
            column.as_map().entries().columns().iter().for_each(|column| each_text(column, each));
        }
        DataType::Dictionary(_, _) => each_text(column.as_any_dictionary().values(), each),
        _ => {}
    }
}

/// A column in which each text is what `rename` says, however deep it is nested.
///
/// # Errors
/// `Internal` for a column of a type that has no texts of ours.
pub fn renamed(column: &ArrayRef, rename: &dyn Fn(&str) -> Option<String>) -> Result<ArrayRef> {
    Ok(match column.data_type() {
        DataType::Utf8 => {
            let texts = column.as_string::<i32>().iter();
            let renamed = texts.map(|text| text.map(|text| rename(text).unwrap_or_else(|| text.to_string())));
            Arc::new(renamed.collect::<StringArray>())
        }
        DataType::List(field) => {
            let lists = column.as_list::<i32>();
            let values = renamed(lists.values(), rename)?;
            let nulls = lists.nulls().cloned();
            Arc::new(ListArray::try_new(Arc::clone(field), lists.offsets().clone(), values, nulls)?)
        }
        DataType::Struct(fields) => {
            let parts = column.as_struct();
            let columns = parts.columns().iter().map(|column| renamed(column, rename)).collect::<Result<Vec<_>>>()?;
            Arc::new(StructArray::try_new(fields.clone(), columns, parts.nulls().cloned())?)
        }
        other if other.is_primitive() || *other == DataType::Boolean => Arc::clone(column),
        other => return Err(Error::internal(format!("a text was to be replaced in a column of type {other}"))),
    })
}

pub fn is_number(key: &str) -> bool {
    key.bytes().all(|byte| byte.is_ascii_digit())
}

/// The cells of a line of CSV, as long as none has a comma: a key does not, if it is a number.
fn cells(line: &[u8]) -> Vec<&[u8]> {
    let bare = |cell: &[u8]| -> std::ops::Range<usize> {
        let is_around = |byte: &u8| *byte == b'"' || byte.is_ascii_whitespace();
        let start = cell.iter().position(|byte| !is_around(byte)).unwrap_or(cell.len());
        start..cell.iter().rposition(|byte| !is_around(byte)).map_or(start, |last| last + 1)
    };
    line.split(|byte| *byte == b',').map(|cell| &cell[bare(cell)]).collect()
}

/// A key as texts of several kinds write it: as it is, in JSON, in JSON within JSON, in HTML, in CSV, and in the
/// pages of reports.
fn written(key: &str) -> BTreeSet<String> {
    let json = |text: &str| {
        let quoted = serde_json::Value::from(text).to_string();
        quoted.get(1..quoted.len() - 1).unwrap_or_default().to_string()
    };
    let ascii = |text: &str| -> String {
        let units = |c: char| c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect();
        text.chars().map(|c| if c.is_ascii() { c.to_string() } else { units(c) }).collect()
    };
    let html = key.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    let once = json(key);
    let csv = key.replace('"', "\"\"");
    let pages = report::spellings(key).unwrap_or_default();
    let all = [key.to_string(), json(&once), ascii(&once), once, html.replace('\'', "&#39;"), html, csv];
    all.into_iter().chain(pages).collect()
}

/// Where a pattern stands for itself.
fn places<'a>(haystack: &'a [u8], pattern: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let mut from = 0;
    std::iter::from_fn(move || {
        let first = *pattern.first()?;
        while let Some(step) = haystack.get(from..)?.iter().position(|byte| *byte == first) {
            let at = from + step;
            from = at + 1;
            if is_itself(haystack, pattern, at) {
                return Some(at);
            }
        }
        None
    })
}

/// Whether a pattern is there, and no letter or digit beside it.
fn is_itself(haystack: &[u8], pattern: &[u8], at: usize) -> bool {
    haystack.get(at..).is_some_and(|rest| rest.starts_with(pattern))
        && !before(haystack, at).is_some_and(char::is_alphanumeric)
        && !after(haystack, at + pattern.len()).is_some_and(char::is_alphanumeric)
}

/// Whether the pattern at a place is part of another key that is there.
fn covers(haystack: &[u8], other: &[u8], pattern: &[u8], at: usize) -> bool {
    let inside = (0..=other.len().saturating_sub(pattern.len())).filter(|k| other[*k..].starts_with(pattern));
    inside.filter_map(|k| at.checked_sub(k)).any(|start| is_itself(haystack, other, start))
}

/// The character that ends at a place; `None` where bytes are no text.
fn before(bytes: &[u8], at: usize) -> Option<char> {
    let start = (1..=4.min(at)).map(|n| at - n).find(|start| bytes[*start] & 0xc0 != 0x80)?;
    std::str::from_utf8(&bytes[start..at]).ok()?.chars().next()
}

/// The character that begins at a place.
fn after(bytes: &[u8], at: usize) -> Option<char> {
    let ends = (1..=4).map(|n| at + n).filter_map(|end| bytes.get(at..end));
    ends.filter_map(|part| std::str::from_utf8(part).ok()).next()?.chars().next()
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
        assert!(["u1ž", "žu1", "Жu1"].iter().all(|text| !u1.is_in(text.as_bytes())), "letters are not only ASCII");
        assert!(u1.is_in(&[0xff, b'u', b'1', 0xc5]), "bytes that are no text are no letters");
        assert_eq!(u1.taken_out("u1 pays u12 for u1"), "[erased] pays u12 for [erased]");
        let number = needle("42");
        assert!(
            number.is_in(b"{\"user_id\":42}") && !number.is_in(b"{\"rows\":42}") && !number.is_in(b"{\"user_id\":421}")
        );
    }

    #[test]
    fn keys_of_others_do_not_count() {
        let needle = needle("u1").but_not(&["u1-2".to_string(), "x.u1".into(), "u7".into()].into());
        assert_eq!(needle.taken_out("u1-2 x.u1 u1 u1-23 u1-2-3"), "u1-2 x.u1 [erased] [erased]-23 u1-2-3");
    }

    #[test]
    fn a_key_is_found_as_pages_write_it() {
        let key = needle("o'ne<i>l \"x\" & co");
        for text in [
            "<td>o'ne&lt;i&gt;l &quot;x&quot; &amp; co</td>",
            r#"[{"user_id":"o'ne\u003ci\u003el \"x\" \u0026 co"},0.1]"#,
        ] {
            assert!(key.is_in(text.as_bytes()), "{text}");
        }
        assert!(needle("42").is_in(br#"[[{"user_id":"42"},0.1]]"#), "a number, as the table of customers has it");
    }

    #[test]
    fn a_number_is_found_in_its_column_of_a_report() {
        let number = needle("42");
        assert_eq!(number.cells_of_csv(b"score,user_id\n1,42\n42,7\n2,\"42\"\r\n"), 2);
        assert_eq!(number.cells_of_csv(b"score,rows\n1,42\n"), 0);
        assert_eq!(number.cells_of_html(b"<th>user_id</th><td>42</td>"), 1);
        assert_eq!(number.cells_of_html(b"<th>user_id</th><td>142</td>"), 0);
        assert_eq!(needle("u1").cells_of_csv(b"user_id\nu1\n"), 0, "found as a text");
    }

    #[test]
    fn it_is_found_however_it_is_written() {
        let key = "o\"nž's & <co>";
        let needle = needle(key);
        let json = serde_json::json!({"u": key}).to_string();
        for text in [
            key,
            &json,
            &serde_json::json!({ "t": json }).to_string(),
            "{\"u\":\"o\\\"n\\u017e's & <co>\"}",
            "<td>o&quot;nž&#39;s &amp; &lt;co&gt;</td>",
            "<td>o&quot;nž's &amp; &lt;co&gt;</td>",
            "\"o\"\"nž's & <co>\",1",
        ] {
            assert_eq!(needle.count(text.as_bytes()), 1, "{text}");
        }
    }

    #[test]
    fn nothing_is_too_deep() {
        let mut lists = ListBuilder::new(StringBuilder::new());
        lists.append_value([Some("a"), None, Some("of u1")]);
        lists.append_null();
        let lists: ArrayRef = Arc::new(lists.finish());
        assert_eq!((needle("u1").count_in(&lists), needle("u2").count_in(&lists)), (1, 0));
        let renamed = renamed(&lists, &|text| Some(needle("u1").taken_out(text))).unwrap();
        assert_eq!((needle("u1").count_in(&renamed), renamed.len(), renamed.null_count()), (0, 2, 1));
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
