//! Rust source as tokens, for the house rules: identifiers, numbers and punctuation with their lines. Comments are
//! gone, and strings and characters are empty: what they say is not code.

/// A word, a number, `::`, or a single punctuation character; `"` and `'` stand for any string and any character.
#[derive(Debug, PartialEq)]
pub struct Token {
    pub text: String,
    pub line: usize,
}

/// The tokens of a file. Good enough for code that compiles; on other text it is only guaranteed to end.
pub fn tokens(source: &str) -> Vec<Token> {
    let source: Vec<char> = source.chars().collect();
    let mut found = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < source.len() {
        let (text, end) = token(&source, at);
        if let Some(text) = text {
            found.push(Token { text, line });
        }
        line += source[at..end].iter().filter(|c| **c == '\n').count();
        at = end;
    }
    found
}

/// The token that begins at `at` (none for space and comments), and where the next one does.
fn token(source: &[char], at: usize) -> (Option<String>, usize) {
    let next = |n: usize| source.get(at + n).copied().unwrap_or('\0');
    let c = source[at];
    if c == '/' && next(1) == '/' {
        return (None, source[at..].iter().position(|c| *c == '\n').map_or(source.len(), |n| at + n));
    }
    if c == '/' && next(1) == '*' {
        return (None, after_comment(source, at));
    }
    if c.is_whitespace() {
        return (None, at + 1);
    }
    if c == '"' {
        return (Some("\"".into()), after_quoted(source, at, '"'));
    }
    if c == '\'' {
        // A character unless it is a lifetime: 'a', '\n' and '\'' close, 'a does not.
        let character = next(1) == '\\' || next(2) == '\'';
        return if character { (Some("'".into()), after_quoted(source, at, '\'')) } else { (None, at + 1) };
    }
    if c == ':' && next(1) == ':' {
        return (Some("::".into()), at + 2);
    }
    if !(c.is_alphanumeric() || c == '_') {
        return (Some(c.into()), at + 1);
    }
    let end = (at..source.len()).find(|i| !(source[*i].is_alphanumeric() || source[*i] == '_')).unwrap_or(source.len());
    let word: String = source[at..end].iter().collect();
    let after = source.get(end).copied().unwrap_or('\0');
    match (word.as_str(), after) {
        ("b" | "c", '"') => (Some("\"".into()), after_quoted(source, end, '"')),
        ("b", '\'') => (Some("'".into()), after_quoted(source, end, '\'')),
        ("r" | "br" | "cr", '"' | '#') => match after_raw(source, end) {
            Some(end) => (Some("\"".into()), end),
            None => token(source, end + 1), // A raw identifier: r#type.
        },
        _ => (Some(word), end),
    }
}

/// Past a block comment, which may hold others.
fn after_comment(source: &[char], start: usize) -> usize {
    let (mut depth, mut at) = (0, start);
    while at < source.len() {
        match (source[at], source.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at.min(source.len())
}

/// Past a string or character that opens at `start`.
fn after_quoted(source: &[char], start: usize, quote: char) -> usize {
    let mut at = start + 1;
    while at < source.len() && source[at] != quote {
        at += if source[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(source.len())
}

/// Past a raw string whose first `#` or `"` is at `start`; none where it is not one.
fn after_raw(source: &[char], start: usize) -> Option<usize> {
    let hashes = source[start..].iter().take_while(|c| **c == '#').count();
    if source.get(start + hashes) != Some(&'"') {
        return None;
    }
    let mut at = start + hashes + 1;
    while at < source.len() {
        if source[at] == '"' && source[at + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes {
            return Some(at + 1 + hashes);
        }
        at += 1;
    }
    Some(source.len())
}

#[test]
fn strings_characters_and_comments_are_not_code() {
    let source = "let a = \"x // y\"; // z\nlet b = r#\"q\"w\"#; /* c\n */ f::<'a>('\"', b'\\'', r#type)";
    let words: Vec<String> = tokens(source).into_iter().map(|t| format!("{}{}", t.line, t.text)).collect();
    let expected = "1let 1a 1= 1\" 1; 2let 2b 2= 2\" 2; 3f 3:: 3< 3a 3> 3( 3' 3, 3' 3, 3type 3)";
    assert_eq!(words.join(" "), expected);
}
