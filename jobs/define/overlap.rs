//! Whether two location patterns can match one path, decided exactly, with such a path as the witness.
//!
//! A file belongs to one source: two that claim it would each load it. Both patterns are read as automata, one over
//! segments and, within a segment, one over characters; a pair of states that both can end in is reached or it is not.
//! `{date}` accepts the dates of the calendar and no others, so that `day={date}` and `day=2024-02-30` are apart.

use std::collections::{HashSet, VecDeque};

use super::source::NULL_DATE;

/// What a segment is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Char(char),
    /// `?`
    One,
    /// `*`
    Many,
    /// `{date}`
    Date,
}

/// Where in a segment's tokens a reader is, and how far in the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct At {
    token: usize,
    date: InDate,
}

/// How far a date is read, and what of it still matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum InDate {
    Begin,
    /// Characters of the name of no date.
    Null(usize),
    /// First digits of the year: their number so far, modulo 400.
    Year {
        digits: u8,
        number: u16,
    },
    Month {
        leap: bool,
        first: Option<u8>,
    },
    /// With the dash before it, and its first digit.
    Day {
        last: u8,
        dash: bool,
        first: Option<u8>,
    },
    /// After the year, before its dash.
    Dash {
        leap: bool,
    },
}

/// A path that both patterns match; `None` where there is none.
pub fn overlap(a: &str, b: &str) -> Option<String> {
    let split = |pattern: &str| -> Vec<String> { pattern.split('/').map(String::from).collect() };
    let (a, b) = (split(a), split(b));
    let mut dead = HashSet::new();
    let found = segments(&a, &b, &mut dead)?;
    // `**` is anything, so a name as well.
    Some(if found.is_empty() { "x".into() } else { found.join("/") })
}

/// `dead` are the pairs of remainders that are known to have no path in common.
fn segments(a: &[String], b: &[String], dead: &mut HashSet<(usize, usize)>) -> Option<Vec<String>> {
    if dead.contains(&(a.len(), b.len())) {
        return None;
    }
    let found = match (a.split_first(), b.split_first()) {
        (None, None) => Some(Vec::new()),
        (Some((any, rest)), _) if any == "**" => through((rest, a), b, dead, false),
        (_, Some((any, rest))) if any == "**" => through((rest, b), a, dead, true),
        (Some((first, a)), Some((second, b))) => segment(&tokens(first), &tokens(second))
            .and_then(|common| segments(a, b, dead).map(|rest| [vec![common], rest].concat())),
        _ => None,
    };
    if found.is_none() {
        dead.insert((a.len(), b.len()));
    }
    found
}

/// `**` stands for no segment, or for the first of the other's. `flipped`: it is the second pattern's.
fn through(
    (rest, all): (&[String], &[String]),
    other: &[String],
    dead: &mut HashSet<(usize, usize)>,
    flipped: bool,
) -> Option<Vec<String>> {
    let mut common = |one, other| if flipped { segments(other, one, dead) } else { segments(one, other, dead) };
    if let Some(found) = common(rest, other) {
        return Some(found);
    }
    let (first, after) = other.split_first()?;
    let found = common(all, after)?;
    if first == "**" {
        return Some(found);
    }
    let one = segment(&tokens(first), &tokens(first))?;
    Some([vec![one], found].concat())
}

fn tokens(segment: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = segment;
    while let Some(c) = rest.chars().next() {
        let (token, length) = match c {
            _ if rest.starts_with("{date}") => (Token::Date, "{date}".len()),
            '?' => (Token::One, 1),
            '*' => (Token::Many, 1),
            c => (Token::Char(c), c.len_utf8()),
        };
        tokens.push(token);
        rest = &rest[length..];
    }
    tokens
}

/// A name, not empty, that both match: the shortest.
fn segment(a: &[Token], b: &[Token]) -> Option<String> {
    let letters = alphabet(a, b);
    let begin = At { token: 0, date: InDate::Begin };
    // The beginning is a place of its own: there, a dot is hidden.
    let mut seen = HashSet::new();
    let mut waiting = VecDeque::from([(begin, begin, String::new())]);
    while let Some((at_a, at_b, text)) = waiting.pop_front() {
        if !text.is_empty() && ends(a, at_a) && ends(b, at_b) {
            return Some(text);
        }
        for &letter in &letters {
            let hidden = text.is_empty() && letter == '.';
            if hidden && (a.first() != Some(&Token::Char('.')) || b.first() != Some(&Token::Char('.'))) {
                continue;
            }
            for next_a in step(a, at_a, letter) {
                for next_b in step(b, at_b, letter) {
                    if seen.insert((next_a, next_b)) {
                        waiting.push_back((next_a, next_b, format!("{text}{letter}")));
                    }
                }
            }
        }
    }
    None
}

/// The characters that make a difference, and one that makes none.
fn alphabet(a: &[Token], b: &[Token]) -> Vec<char> {
    let mut letters = vec!['x'];
    let mut add = |c: char| {
        if !letters.contains(&c) {
            letters.push(c);
        }
    };
    for token in a.iter().chain(b) {
        match token {
            Token::Char(c) => add(*c),
            Token::Date => "0123456789-".chars().chain(NULL_DATE.chars()).for_each(&mut add),
            Token::One | Token::Many => {}
        }
    }
    letters
}

/// Whether nothing more is needed.
fn ends(tokens: &[Token], at: At) -> bool {
    at.date == InDate::Begin && tokens[at.token..].iter().all(|token| *token == Token::Many)
}

/// Where a reader may be after one more character.
fn step(tokens: &[Token], at: At, letter: char) -> Vec<At> {
    let next = |token: usize| At { token, date: InDate::Begin };
    match tokens.get(at.token) {
        None => Vec::new(),
        Some(Token::Char(c)) => {
            if *c == letter {
                vec![next(at.token + 1)]
            } else {
                Vec::new()
            }
        }
        Some(Token::One) => vec![next(at.token + 1)],
        // One more of it; or it has ended, and the character is the following token's.
        Some(Token::Many) => [vec![at], step(tokens, next(at.token + 1), letter)].concat(),
        Some(Token::Date) => {
            let inside = in_date(at.date, letter);
            inside.into_iter().map(|date| date.map_or(next(at.token + 1), |date| At { date, ..at })).collect()
        }
    }
}

/// How far a date is read after one more character, in each way to read it; `Some(None)` at its end.
fn in_date(date: InDate, letter: char) -> Vec<Option<InDate>> {
    let digit = letter.to_digit(10).and_then(|digit| u8::try_from(digit).ok());
    let mut ways = Vec::new();
    let read = match (date, digit) {
        (InDate::Begin, Some(digit)) => Some(InDate::Year { digits: 1, number: u16::from(digit) }),
        (InDate::Year { digits, number }, Some(digit)) if digits < 4 => {
            let number = (number * 10 + u16::from(digit)) % 400;
            let leap = number == 0 || (number % 4 == 0 && number % 100 != 0);
            Some(if digits == 3 { InDate::Dash { leap } } else { InDate::Year { digits: digits + 1, number } })
        }
        (InDate::Dash { leap }, None) if letter == '-' => Some(InDate::Month { leap, first: None }),
        (InDate::Month { leap, first: None }, Some(first @ 0..=1)) => Some(InDate::Month { leap, first: Some(first) }),
        (InDate::Month { leap, first: Some(first) }, Some(second)) => {
            days(first * 10 + second, leap).map(|last| InDate::Day { last, dash: false, first: None })
        }
        (InDate::Day { last, dash: false, .. }, None) if letter == '-' => {
            Some(InDate::Day { last, dash: true, first: None })
        }
        (InDate::Day { last, dash: true, first: None }, Some(first @ 0..=3)) => {
            Some(InDate::Day { last, dash: true, first: Some(first) })
        }
        (InDate::Day { last, dash: true, first: Some(first) }, Some(second)) => {
            if (1..=last).contains(&(first * 10 + second)) {
                ways.push(None);
            }
            None
        }
        _ => None,
    };
    ways.extend(read.map(Some));
    let null = match date {
        InDate::Begin => 0,
        InDate::Null(read) => read,
        _ => return ways,
    };
    if NULL_DATE.chars().nth(null) == Some(letter) {
        ways.push((null + 1 < NULL_DATE.chars().count()).then_some(InDate::Null(null + 1)));
    }
    ways
}

fn days(month: u8, leap: bool) -> Option<u8> {
    match month {
        2 => Some(if leap { 29 } else { 28 }),
        4 | 6 | 9 | 11 => Some(30),
        1..=12 => Some(31),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_that_share_a_path_are_told_by_it() {
        for (a, b, witness) in [
            ("pay/*.parquet", "pay/*.parquet", "pay/x.parquet"),
            ("pay/day={date}/*.parquet", "pay/**/*.parquet", "pay/day=0000-01-01/x.parquet"),
            ("**/a.csv", "pay/**", "pay/a.csv"),
            ("pay/a?c", "pay/*b*", "pay/abc"),
            ("e_{date}_*", "e_*_7", "e_0000-01-01_7"),
            ("pay/day={date}/*", "pay/day=2024-02-29/*", "pay/day=2024-02-29/x"),
            ("pay/day={date}/*", "pay/day=__HIVE_DEFAULT_PARTITION__/*", "pay/day=__HIVE_DEFAULT_PARTITION__/x"),
            ("x{date}", "*2000-02-3?", ""),
            ("x{date}", "?2000-02-2?", "x2000-02-20"),
            (".a/*", ".a/?", ".a/x"),
        ] {
            let found = overlap(a, b);
            assert_eq!(found.as_deref().unwrap_or_default(), witness, "{a} {b}");
            assert_eq!(overlap(b, a).is_some(), found.is_some(), "{b} {a}");
        }
    }

    #[test]
    fn patterns_that_share_none_are_apart() {
        for (a, b) in [
            ("pay/*.parquet", "pay/*.csv"),
            ("pay/*.parquet", "pay/*/*.parquet"),
            ("pay/day={date}/*", "pay/day=2023-02-29/*"),
            ("pay/day={date}/*", "pay/day=2024-13-01/*"),
            ("pay/day={date}/*", "pay/day=2024-1-1/*"),
            ("pay/day={date}/*", "pay/day=1900-02-29/*"),
            ("a{date}a", "a*b"),
            ("*", ".hidden"),
            ("**/a", "**/b"),
            ("a/**/b/c", "a/b/d"),
        ] {
            assert_eq!(overlap(a, b), None, "{a} {b}");
            assert_eq!(overlap(b, a), None, "{b} {a}");
        }
        assert!(overlap("a{date}", "a2000-02-29").is_some() && overlap("a{date}", "a2000-02-30").is_none());
    }
}
