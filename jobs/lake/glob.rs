//! Location patterns: `payment/day={date}/*.parquet`. Matching is by path segment; nothing is read here.

use chrono::NaiveDate;

use super::snapshot::NULL_PARTITION;

/// A location pattern. `*` and `?` match within a segment and not a leading dot, `**` any number of segments,
/// `{date}` a date as YYYY-MM-DD or Hive's name of no date.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    segments: Vec<String>,
}

/// What a matched path says of its date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Match {
    pub date: Option<NaiveDate>,
}

impl Pattern {
    pub(super) fn new(pattern: &str) -> Self {
        Pattern { segments: pattern.split('/').filter(|s| !s.is_empty()).map(String::from).collect() }
    }

    /// The leading segments without any wildcard; the last segment of all is never among them.
    pub(super) fn prefix(&self) -> Vec<&str> {
        let directories = self.segments.split_last().map_or(&[][..], |(_, rest)| rest);
        directories.iter().take_while(|s| !s.contains(['*', '?', '{'])).map(String::as_str).collect()
    }

    /// How many directory levels a match can have below the prefix; `None` for any.
    pub(super) fn depth(&self) -> Option<usize> {
        (!self.segments.iter().any(|s| s == "**")).then(|| self.segments.len() - self.prefix().len())
    }

    pub(super) fn matches(&self, path: &str) -> Option<Match> {
        let segments: Vec<&str> = path.split('/').collect();
        match_segments(&self.segments, &segments, None)
    }
}

fn match_segments(patterns: &[String], segments: &[&str], date: Option<NaiveDate>) -> Option<Match> {
    match (patterns.split_first(), segments.split_first()) {
        (None, None) => Some(Match { date }),
        (None, Some(_)) => None,
        (Some((pattern, rest)), _) if pattern == "**" => {
            (0..=segments.len()).find_map(|skipped| match_segments(rest, &segments[skipped..], date))
        }
        (Some(_), None) => None,
        (Some((pattern, patterns)), Some((segment, segments))) => {
            let pattern: Vec<char> = pattern.chars().collect();
            let text: Vec<char> = segment.chars().collect();
            if text.first() == Some(&'.') && pattern.first() != Some(&'.') {
                return None;
            }
            let found = match_chars(&pattern, &text)?;
            match_segments(patterns, segments, found.or(date))
        }
    }
}

/// `Some(date)` if the text matches; the date is that of `{date}`.
fn match_chars(pattern: &[char], text: &[char]) -> Option<Option<NaiveDate>> {
    const DATE: &[char] = &['{', 'd', 'a', 't', 'e', '}'];
    if let Some(rest) = pattern.strip_prefix(DATE) {
        let null: Vec<char> = NULL_PARTITION.chars().collect();
        if let Some(after) = text.strip_prefix(null.as_slice())
            && let Some(found) = match_chars(rest, after)
        {
            return Some(found);
        }
        let (head, after) = text.split_at_checked(10)?;
        let date = parse_date(head)?;
        return match_chars(rest, after).map(|found| found.or(Some(date)));
    }
    match (pattern.split_first(), text.split_first()) {
        (None, None) => Some(None),
        (Some(('*', rest)), _) => (0..=text.len()).find_map(|skipped| match_chars(rest, &text[skipped..])),
        (Some(('?', rest)), Some((_, text))) => match_chars(rest, text),
        (Some((p, rest)), Some((t, text))) if p == t => match_chars(rest, text),
        _ => None,
    }
}

fn parse_date(text: &[char]) -> Option<NaiveDate> {
    let text: String = text.iter().collect();
    let date = NaiveDate::parse_from_str(&text, "%Y-%m-%d").ok()?;
    (date.to_string() == text).then_some(date)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::define::overlap::overlap;

    proptest! {
        /// Whether definitions are apart is decided without files; it is what files would show.
        #[test]
        fn patterns_overlap_where_a_path_matches_both(
            a in PATTERN, b in PATTERN, paths in prop::collection::vec("[ab.x/]{1,5}|a?2024-0[12]-(29|30)/?[ab]?", 200)
        ) {
            prop_assume!(a.matches("{date}").count() < 2 && b.matches("{date}").count() < 2);
            let (first, second) = (Pattern::new(&a), Pattern::new(&b));
            let of_both = |path: &str| first.matches(path).is_some() && second.matches(path).is_some();
            match overlap(&a, &b) {
                Some(path) => prop_assert!(of_both(&path), "{} {}: {}", a, b, path),
                None => {
                    let found = paths.iter().filter(|path| !path.split('/').any(str::is_empty)).find(|path| of_both(path));
                    prop_assert_eq!(found, None, "{} {}", a, b);
                }
            }
        }
    }

    /// Segments of a few letters and wildcards.
    const PATTERN: &str =
        "([ab.*?]{1,3}|\\*\\*|[ab*?]?\\{date\\}[ab*?]?|2024-0[12]-(29|30)a?)(/([ab.*?]{1,3}|\\*\\*)){0,2}";

    fn date(pattern: &str, path: &str) -> Option<Option<String>> {
        Pattern::new(pattern).matches(path).map(|m| m.date.map(|d| d.to_string()))
    }

    #[test]
    fn a_date_is_found_in_its_place() {
        let pattern = "payment/day={date}/*.parquet";
        assert_eq!(date(pattern, "payment/day=2024-02-29/a b%20č.parquet"), Some(Some("2024-02-29".into())));
        assert_eq!(date(pattern, "payment/day=__HIVE_DEFAULT_PARTITION__/a.parquet"), Some(None));
        assert_eq!(date(pattern, "payment/day=2024-02-30/a.parquet"), None);
        assert_eq!(date(pattern, "payment/day=2024-2-9/a.parquet"), None);
        assert_eq!(date(pattern, "payment/day=2024-02-29/x/a.parquet"), None);
        assert_eq!(date(pattern, "payment/day=2024-02-29/a.csv"), None);
    }

    #[test]
    fn wildcards_stay_within_their_segments() {
        assert_eq!(date("demographics.parquet", "demographics.parquet"), Some(None));
        assert_eq!(date("x/**/*.parquet", "x/a.parquet"), Some(None));
        assert_eq!(date("x/**/*.parquet", "x/y/z/a.parquet"), Some(None));
        assert_eq!(date("x/**/*.parquet", "y/a.parquet"), None);
        assert_eq!(date("x/*.parquet", "x/.hidden.parquet"), None);
        assert_eq!(date("x/e_{date}_?.parquet", "x/e_2024-01-02_7.parquet"), Some(Some("2024-01-02".into())));
        assert_eq!(date("x/*{date}*", "x/žluť2024-01-02.parquet"), Some(Some("2024-01-02".into())));
    }

    #[test]
    fn the_prefix_is_what_has_no_wildcard() {
        assert_eq!(Pattern::new("a/b/day={date}/*.parquet").prefix(), ["a", "b"]);
        assert_eq!(Pattern::new("a/b.parquet").prefix(), ["a"]);
        assert_eq!(Pattern::new("a/**/b.parquet").depth(), None);
        assert_eq!(Pattern::new("a/*/b.parquet").depth(), Some(2));
    }
}
