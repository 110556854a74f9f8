//! Old pseudonyms and what stands for each from now on, and where they are in texts.
//!
//! A pseudonym is 64 hexadecimal digits that nothing else has, so it is found wherever it stands: as a value, in a list,
//! in JSON, in the middle of a longer text. What stands for it is as long, so nothing around it has to move.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::ArrayRef;
use bytes::Bytes;

use crate::error::Result;
use crate::pipeline::erase::{each_text, look_through, renamed};

const DIGITS: usize = 64;

type Digest = [u8; DIGITS / 2];

#[derive(Debug, Default)]
pub struct Words {
    pairs: HashMap<Digest, Digest>,
    /// Fingerprints of the keys themselves, as the manifest has them.
    keys: Option<(String, String)>,
}

impl Words {
    pub fn new(old_key: &str, new_key: &str) -> Words {
        Words { pairs: HashMap::new(), keys: Some((old_key.into(), new_key.into())) }
    }

    pub fn add(&mut self, old: &str, new: &str) {
        if let (Some(old), Some(new)) = (digest(old.as_bytes()), digest(new.as_bytes())) {
            self.pairs.insert(old, new);
        }
    }

    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether a value is an old pseudonym.
    pub fn knows(&self, value: &str) -> bool {
        digest(value.as_bytes()).is_some_and(|old| self.pairs.contains_key(&old))
    }

    /// How many old pseudonyms are there.
    pub fn count(&self, text: &[u8]) -> u64 {
        let mut count = 0;
        self.each(text, |_, _| count += 1);
        count + u64::from(self.key_in(text).is_some())
    }

    pub fn count_in(&self, column: &ArrayRef) -> u64 {
        let mut count = 0;
        each_text(column, &mut |text| count += self.count(text));
        count
    }

    /// How many are anywhere in an object, and how many of them in columns of bytes. Blocks: for a blocking thread.
    pub fn scan(&self, name: &str, bytes: &Bytes) -> Result<(u64, u64)> {
        let (mut around, mut within, mut binary) = (0, 0, 0);
        look_through(name, bytes, &mut |rest| around += self.count(rest), &mut |batch| {
            for column in batch.columns() {
                let count = self.count_in(column);
                within += count;
                binary += if column.data_type().is_binary() { count } else { 0 };
            }
            Ok(())
        })?;
        Ok((around + within, binary))
    }

    /// The text with the new ones; `None` if it has no old one.
    pub fn renamed(&self, text: &str) -> Option<String> {
        let mut out = text.as_bytes().to_vec();
        let mut any = false;
        self.each(text.as_bytes(), |at, new| {
            any = true;
            out[at..at + DIGITS].copy_from_slice(&hex(new));
        });
        // Digits for digits: what was text is text.
        let mut out = String::from_utf8(out).ok()?;
        if let (Some(_), Some((old, new))) = (self.key_in(text.as_bytes()), &self.keys) {
            any = true;
            out = out.replace(old, new);
        }
        any.then_some(out)
    }

    /// A column with the new ones, however deep they are nested.
    ///
    /// # Errors
    /// `Internal` if one is in a column of a type that has no texts of ours.
    pub fn renamed_column(&self, column: &ArrayRef) -> Result<ArrayRef> {
        if self.count_in(column) == 0 {
            return Ok(Arc::clone(column));
        }
        renamed(column, &|text| self.renamed(text))
    }

    fn key_in(&self, text: &[u8]) -> Option<usize> {
        let (old, _) = self.keys.as_ref()?;
        text.windows(old.len()).position(|window| window == old.as_bytes())
    }

    /// Where old pseudonyms begin, and what stands for each.
    fn each(&self, text: &[u8], mut found: impl FnMut(usize, &Digest)) {
        let mut start = 0;
        while start + DIGITS <= text.len() {
            // From the right: the first byte that is no digit ends all places before it at once.
            match text[start..start + DIGITS].iter().rposition(|byte| !is_digit(*byte)) {
                Some(at) => start += at + 1,
                None => match digest(&text[start..start + DIGITS]).and_then(|old| self.pairs.get(&old)) {
                    Some(new) => {
                        found(start, new);
                        start += DIGITS;
                    }
                    None => start += 1,
                },
            }
        }
    }
}

fn is_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

fn digest(text: &[u8]) -> Option<Digest> {
    if text.len() != DIGITS || !text.iter().all(|byte| is_digit(*byte)) {
        return None;
    }
    let value = |byte: u8| if byte <= b'9' { byte - b'0' } else { byte - b'a' + 10 };
    let mut out = [0; DIGITS / 2];
    for (out, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        *out = value(pair[0]) << 4 | value(pair[1]);
    }
    Some(out)
}

fn hex(digest: &Digest) -> [u8; DIGITS] {
    let digit = |value: u8| if value < 10 { b'0' + value } else { b'a' + value - 10 };
    let mut out = [0; DIGITS];
    for (pair, byte) in out.chunks_exact_mut(2).zip(digest) {
        (pair[0], pair[1]) = (digit(byte >> 4), digit(byte & 15));
    }
    out
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray, ListBuilder, StringBuilder};
    use proptest::prelude::*;

    use super::*;

    fn words(pairs: &[(String, String)]) -> Words {
        let mut words = Words::new("salt:0ld", "salt:new");
        pairs.iter().for_each(|(old, new)| words.add(old, new));
        words
    }

    fn of(letter: &str) -> String {
        letter.repeat(DIGITS)
    }

    #[test]
    fn a_pseudonym_is_found_wherever_it_stands() {
        let words = words(&[(of("a"), of("1")), (format!("{}b", "a".repeat(63)), of("2"))]);
        let (a, new) = (of("a"), of("1"));
        for (text, expected) in [
            (a.clone(), new.clone()),
            (format!("{{\"u\":\"{a}\"}}"), format!("{{\"u\":\"{new}\"}}")),
            (format!("ž{a}{a}-x"), format!("ž{new}{new}-x")),
            (format!("{a}b"), format!("{new}b")),
            (format!("0{a}"), format!("0{new}")),
            ("key salt:0ld".into(), "key salt:new".into()),
        ] {
            assert_eq!(words.renamed(&text), Some(expected), "{text}");
            assert!(words.count(text.as_bytes()) > 0);
        }
        for text in ["", "aaaa", &of("c"), &a.to_uppercase(), &a[1..]] {
            assert_eq!((words.renamed(text), words.count(text.as_bytes())), (None, 0), "{text}");
        }
    }

    #[test]
    fn nothing_is_too_deep() {
        let words = words(&[(of("a"), of("1"))]);
        let mut lists = ListBuilder::new(StringBuilder::new());
        lists.append_value([Some("x".to_string()), None, Some(of("a"))]);
        lists.append_null();
        let lists: ArrayRef = Arc::new(lists.finish());
        let renamed = words.renamed_column(&lists).unwrap();
        assert_eq!((words.count_in(&lists), words.count_in(&renamed)), (1, 0));
        assert_eq!(renamed.null_count(), 1);
        let first = renamed.as_list::<i32>().value(0);
        assert_eq!(first.as_string::<i32>().iter().collect::<Vec<_>>(), [Some("x"), None, Some(of("1").as_str())]);
    }

    proptest! {
        /// Against looking at every place, one after the other.
        #[test]
        fn every_place_is_found(before in "[a0 g]{0,70}", after in "[a0 g]{0,70}", key in "[a0]{64}") {
            let text = format!("{before}{key}{after}");
            let words = words(&[(key.clone(), of("1"))]);
            let mut expected = text.clone();
            let mut at = 0;
            while at + DIGITS <= expected.len() {
                match expected[at..].starts_with(&key) {
                    true => { expected.replace_range(at..at + DIGITS, &of("1")); at += DIGITS; }
                    false => at += 1,
                }
            }
            prop_assert_eq!(words.renamed(&text), Some(expected));
        }
    }
}
