//! The page of one model in one night.

use maud::{Markup, html};

use super::html::{Part, document, facts, section, theme_button};
use super::page::{Model, Outcome, Verdict};
use super::{customers, explanation, gate, operation, quality};
use crate::error::Result;

/// One self-contained HTML document.
///
/// # Errors
/// `Internal` if a chart cannot be drawn.
pub fn model(page: &Model) -> Result<String> {
    let sections = sections(page)?;
    let body = html! {
        header.top {
            p.crumbs { a href="../index.html" { "All models" } }
            div.title {
                div {
                    h1 { (page.name) }
                    p.description { (page.description) }
                    p.night { "Night of " time datetime=(page.date) { (page.date) } }
                }
                (theme_button())
            }
            (verdict(&page.verdict))
            (facts(&page.facts))
        }
        div.columns {
            nav.contents aria-label="Contents" {
                details open {
                    summary { "Contents" }
                    ol { @for (part, _) in &sections { li { a href=(format!("#{}", part.id)) { (part.title) } } }
                         li { a href="#provenance" { "How it was made" } } }
                }
            }
            main #main tabindex="-1" {
                @for (_, content) in &sections { (content) }
                (operation::provenance(&page.provenance))
            }
        }
        footer { p { "Written by Scorehouse from the lake, for the night of " (page.date) "." } }
    };
    Ok(document(&format!("{} · {} · Scorehouse", page.name, page.date), &body))
}

/// What became of the version, as words and a colour.
pub fn outcome(outcome: Outcome) -> (&'static str, &'static str) {
    match outcome {
        Outcome::Promoted => ("pass", "Promoted"),
        Outcome::Refused => ("fail", "Refused"),
        Outcome::Forced => ("warn", "Forced"),
        Outcome::Kept => ("skipped", "Champion kept"),
        Outcome::NoChampion => ("fail", "No champion"),
    }
}

fn verdict(verdict: &Verdict) -> Markup {
    let (class, word) = outcome(verdict.outcome);
    html! {
        div class=(format!("verdict {class}")) {
            p.word { (word) }
            div {
                @if !verdict.note.is_empty() { p { (verdict.note) } }
                p.versions {
                    @if let Some(candidate) = &verdict.candidate { span { "Candidate " code { (candidate) } } }
                    @match &verdict.champion {
                        Some(champion) => span { "Champion " code { (champion) } },
                        None => span { "No champion: scores decide nothing" },
                    }
                }
            }
        }
    }
}

type Sections<'a> = Vec<(Part<'a>, Markup)>;

fn sections(page: &Model) -> Result<Sections<'static>> {
    let mut all: Sections = Vec::new();
    let mut push = |part: Part<'static>, render: &dyn Fn(&Part) -> Result<Markup>| -> Result<()> {
        let content = render(&part)?;
        all.push((part, content));
        Ok(())
    };
    let part = |id, title, lead| Part { id, title, lead };
    push(
        part("gate", "Gate", "Candidate and champion on the same rows. One failed check refuses the candidate."),
        &|part| section(part, &page.gate, |gate| Ok(gate::checks(gate))),
    )?;
    push(
        part("actions", "Action changes", "Whom the candidate would treat otherwise than the live champion."),
        &|part| section(part, &page.actions, |changes| Ok(gate::action_matrix(changes))),
    )?;
    push(part("quality", "Quality by segment", "Measured on rows that the model did not train on."), &|part| {
        section(part, &page.quality, quality::segments)
    })?;
    push(part("curves", "ROC and precision", "Further from the thin line is better."), &|part| {
        section(part, &page.curves, quality::curves)
    })?;
    push(part("calibration", "Calibration", "Whether 10% means one in ten. On the diagonal it does."), &|part| {
        section(part, &page.calibration, quality::calibration)
    })?;
    push(part("distribution", "Distributions", "How probabilities lie, and where actions begin and end."), &|part| {
        section(part, &page.distributions, |all| quality::distributions(all))
    })?;
    push(part("lift", "Lift", "How much of what is looked for lies among the highest probabilities."), &|part| {
        section(part, &page.lift, quality::lift)
    })?;
    sections_of_use(page, &mut push)?;
    Ok(all)
}

type Push<'p> = dyn FnMut(Part<'static>, &dyn Fn(&Part) -> Result<Markup>) -> Result<()> + 'p;

/// The sections about how the model explains itself and what it does.
fn sections_of_use(page: &Model, push: &mut Push) -> Result<()> {
    let part = |id, title, lead| Part { id, title, lead };
    push(
        part("importances", "Importances", "By how much splits on a feature reduced the loss in training."),
        &|part| section(part, &page.importances, explanation::importances),
    )?;
    push(
        part("contributions", "SHAP summary", "By how much each feature moves the margin of a row (SHAP values)."),
        &|part| section(part, &page.contributions, explanation::contributions),
    )?;
    push(part("fairness", "Fairness", "Whether groups get the favourable action alike."), &|part| {
        section(part, &page.fairness, |fairness| Ok(explanation::fairness(fairness)))
    })?;
    push(
        part("decisions", "Decisions of the night", "What was decided for whom, and the reasons that were given."),
        &|part| section(part, &page.decisions, |decisions| Ok(operation::decisions(decisions))),
    )?;
    push(
        part("monitoring", "Monitoring", "Whether the world is still the one that the model was trained on."),
        &|part| section(part, &page.monitoring, operation::monitoring),
    )?;
    push(
        part("customers", "Customers", "Each customer's score and action. Click or press Enter on a heading to sort."),
        &|part| section(part, &page.customers, customers::customers),
    )
}
