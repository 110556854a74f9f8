//! The document around a page, and the pieces that all sections are made of.
//!
//! maud escapes everything that is written into markup. What it cannot do is done here: JSON inside a script element,
//! and a content security policy that names the page's one style and one script by their hashes and allows nothing
//! else. So that a page fetches nothing, whatever got into it.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::format::{self, NONE};
use super::page::{Fact, Section, Status};
use crate::error::Result;

pub const STYLE: &str = include_str!("style.css");
pub const SCRIPT: &str = include_str!("script.js");

/// A part of a page that is there or says why not.
pub struct Part<'a> {
    pub id: &'a str,
    pub title: &'a str,
    /// What is seen here and how to read it.
    pub lead: &'a str,
}

/// The whole page. `body` has the `main` element.
pub fn document(title: &str, body: &Markup) -> String {
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; img-src data:; base-uri 'none'; \
         form-action 'none'",
        hash(STYLE),
        hash(SCRIPT)
    );
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="generator" content="Scorehouse";
                title { (title) }
                link rel="icon" href="data:,";
                style { (PreEscaped(STYLE)) }
                script { (PreEscaped(SCRIPT)) }
            }
            body {
                a.skip href="#main" { "Skip to the content" }
                (body)
            }
        }
    };
    let mut text = page.into_string();
    text.push('\n');
    text
}

fn hash(text: &str) -> String {
    BASE64_STANDARD.encode(Sha256::digest(text.as_bytes()))
}

/// The button that changes between light and dark; without a script it is not shown.
pub fn theme_button() -> Markup {
    html! { button #theme type="button" hidden aria-pressed="false" { "Dark theme" } }
}

/// A section with its content, or with the sentence that says why there is none.
pub fn section<T>(part: &Part, content: &Section<T>, render: impl FnOnce(&T) -> Result<Markup>) -> Result<Markup> {
    let content = match content {
        Section::Shown(content) => html! { p.lead { (part.lead) } (render(content)?) },
        Section::Absent(why) => html! { p.absent { (why) } },
    };
    let heading = format!("{}-heading", part.id);
    Ok(html! {
        section id=(part.id) aria-labelledby=(heading) {
            h2 id=(heading) { (part.title) }
            (content)
        }
    })
}

/// Wide tables scroll inside their own box, which the keyboard reaches.
pub fn scroll(label: &str, table: &Markup) -> Markup {
    html! { div.scroll role="region" aria-label=(label) tabindex="0" { (table) } }
}

/// The head of a table: columns of texts, then columns of numbers.
pub fn head(texts: &[&str], numbers: &[&str]) -> Markup {
    html! {
        thead {
            tr {
                @for name in texts { th scope="col" { (name) } }
                @for name in numbers { th.number scope="col" { (name) } }
            }
        }
    }
}

/// A small text below a value; nothing where there is none.
pub fn note(text: &str) -> Markup {
    html! { @if !text.is_empty() { span.note { (text) } } }
}

/// A cell with a number, to the right.
pub fn number(text: &str) -> Markup {
    html! { td.number { @if text == NONE { (none()) } @else { (text) } } }
}

pub fn none() -> Markup {
    html! { span.none aria-label="none" role="img" { (NONE) } }
}

/// A metric's name with its meaning as a tooltip.
pub fn metric_name(metric: &str) -> Markup {
    let (name, meaning) = format::name(metric);
    if meaning.is_empty() {
        html! { (name) }
    } else {
        html! { span.term title=(meaning) { (name) } }
    }
}

/// A status as a sign and a word, never as a colour alone.
pub fn pill(status: Status) -> Markup {
    let (class, sign, word) = match status {
        Status::Pass => ("pass", "✓", "pass"),
        Status::Warn => ("warn", "!", "warn"),
        Status::Fail => ("fail", "✕", "fail"),
        Status::Skipped => ("skipped", "○", "skipped"),
    };
    html! { span class=(format!("pill {class}")) { span aria-hidden="true" { (sign) } " " (word) } }
}

/// Labels and values side by side.
pub fn facts(facts: &[Fact]) -> Markup {
    html! {
        dl.facts {
            @for fact in facts {
                div {
                    dt { (fact.label) }
                    dd { (fact.value) @if !fact.note.is_empty() { span.note { (fact.note) } } }
                }
            }
        }
    }
}

/// Data for the page's script. JSON may hold `</script>`, `<!--` and line separators: they are written as escapes,
/// which JSON reads back as what they were.
pub fn data<T: Serialize>(id: &str, value: &T) -> Result<Markup> {
    Ok(html! { script type="application/json" id=(id) { (PreEscaped(in_script(&serde_json::to_string(value)?))) } })
}

fn in_script(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' => safe.push_str("\\u003c"),
            '>' => safe.push_str("\\u003e"),
            '&' => safe.push_str("\\u0026"),
            '\u{2028}' => safe.push_str("\\u2028"),
            '\u{2029}' => safe.push_str("\\u2029"),
            c => safe.push(c),
        }
    }
    safe
}

/// The ways in which a page writes a text: whoever looks for one in a page has to look for each.
pub fn spellings(text: &str) -> Result<Vec<String>> {
    let json = serde_json::to_string(text)?;
    let json = json.trim_start_matches('"').strip_suffix('"').unwrap_or_default();
    Ok(vec![text.to_string(), html! { (text) }.into_string(), json.to_string(), in_script(json)])
}
