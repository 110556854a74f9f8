//! Where a statement ends: at a `;` that stands in no string, name or comment.

/// What somebody has typed: the statements that are complete, and what is left.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Typed<'a> {
    pub complete: Vec<&'a str>,
    /// Blank where nothing is begun.
    pub rest: &'a str,
}

/// Cuts a text at its statements' ends.
pub fn split(text: &str) -> Typed<'_> {
    let mut typed = Typed::default();
    let (mut begin, mut at) = (0, 0);
    while let Some(c) = text[at..].chars().next() {
        if c == ';' {
            if !is_blank(&text[begin..at]) {
                typed.complete.push(text[begin..at].trim());
            }
            begin = at + 1;
        }
        at = after(text, at, c);
    }
    typed.rest = &text[begin..];
    typed
}

/// Whether there is nothing but space and comments.
pub fn is_blank(text: &str) -> bool {
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let next = after(text, at, c);
        if !c.is_whitespace() && !text[at..].starts_with("--") && !text[at..].starts_with("/*") {
            return false;
        }
        at = next;
    }
    true
}

/// Past whatever begins with `c`: a string, a name, a comment, or a character. Past the end where it is not closed.
fn after(text: &str, at: usize, c: char) -> usize {
    let rest = &text[at..];
    let end = |found: Option<usize>, width: usize| found.map_or(text.len(), |found| at + found + width);
    match c {
        // A doubled quote is one string after another here, which ends at the same place.
        '\'' | '"' => end(rest[1..].find(c).map(|found| found + 1), 1),
        '-' if rest.starts_with("--") => end(rest.find('\n'), 1),
        '/' if rest.starts_with("/*") => after_comment(rest).map_or(text.len(), |found| at + found),
        '$' => match tag(rest) {
            Some(tag) => end(rest[tag.len()..].find(tag).map(|found| found + tag.len()), tag.len()),
            None => at + 1,
        },
        c => at + c.len_utf8(),
    }
}

/// Comments hold comments.
fn after_comment(rest: &str) -> Option<usize> {
    let (mut depth, mut at) = (0, 0);
    loop {
        let open = rest[at..].find("/*").map(|found| at + found);
        let close = rest[at..].find("*/").map(|found| at + found)?;
        match open {
            Some(open) if open < close => (depth, at) = (depth + 1, open + 2),
            _ => (depth, at) = (depth - 1, close + 2),
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

/// `$$` or `$tag$`.
fn tag(rest: &str) -> Option<&str> {
    let name = rest[1..].find('$')?;
    let is_name = rest[1..=name].chars().all(|c| c.is_alphanumeric() || c == '_');
    let begins = rest[1..].starts_with(|c: char| !c.is_ascii_digit());
    (is_name && begins).then(|| &rest[..name + 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, complete: &[&str], rest: &str) {
        assert_eq!(split(text), Typed { complete: complete.to_vec(), rest }, "{text}");
    }

    #[test]
    fn a_statement_ends_at_its_semicolon() {
        check("select 1;", &["select 1"], "");
        check("select 1; select\n2 ;", &["select 1", "select\n2"], "");
        check("select 1; select 2", &["select 1"], " select 2");
        check(";; ;", &[], "");
        check("", &[], "");
    }

    #[test]
    fn a_semicolon_within_is_no_end() {
        for text in [
            "select ';'",
            "select 'it''s;'",
            "select \"a;b\"",
            "select 1 -- ;",
            "select 1 /* ; /* ; */ ; */",
            "select $$;$$",
            "select $a$ ; $$ ; $a$",
            "select 'open ;",
            "select /* open ;",
            "select 'ü;'",
        ] {
            check(text, &[], text);
        }
        check("select ';' -- ;\n;", &["select ';' -- ;"], "");
        check("select $1;", &["select $1"], "");
        check("select 'ü';", &["select 'ü'"], "");
    }

    #[test]
    fn comments_alone_are_blank() {
        assert!(is_blank(" \n-- nothing\n/* at all */ "));
        assert!(!is_blank("-- something\n1"));
        check("-- a comment;\n;", &[], "");
    }
}
