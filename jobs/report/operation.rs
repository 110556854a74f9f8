//! What the model does night by night: decisions and their reasons, drift, and what it was made of.

use maud::{Markup, html};

use super::charts;
use super::format::{self, count, metric, optional, percent, share_of};
use super::html::{facts, head, metric_name, note, number, pill, scroll};
use super::page::{Decisions, Measure, Monitoring, Provenance, Status};
use crate::error::Result;

/// Measures shown at once; what holds is folded away.
const SHOWN: usize = 12;

pub fn decisions(decisions: &Decisions) -> Markup {
    let all: u64 = decisions.actions.iter().map(|action| action.count).sum();
    html! {
        (scroll("Decisions of the night", &html! {
            table.narrow {
                caption { (count(all)) " decisions by " (decisions.version) }
                (head(&["Action"], &["Decisions", "Share", "Mean probability", "Mean score"]))
                tbody { @for action in &decisions.actions { tr {
                    th scope="row" { (action.action) }
                    (number(&count(action.count))) (number(&share_of(action.count, all)))
                    (number(&optional(action.mean_probability, percent)))
                    (number(&optional(action.mean_score, |v| format!("{v:.1}"))))
                } } }
            }
        }))
        @if !decisions.reasons.is_empty() {
            (scroll("Reasons", &html! {
                table.narrow {
                    caption { "Reasons given, most frequent first" }
                    (head(&["Code", "Sentence"], &["Scores", "Share"]))
                    tbody { @for reason in &decisions.reasons { tr {
                        th scope="row" { (reason.code) } td.text { (reason.sentence) }
                        (number(&count(reason.count))) (number(&share_of(reason.count, all)))
                    } } }
                }
            }))
        }
    }
}

pub fn monitoring(monitoring: &Monitoring) -> Result<Markup> {
    let loud = monitoring.measures.iter().filter(|m| matches!(m.status, Status::Warn | Status::Fail)).count();
    let caption = format!("{loud} of {} measures warn or fail", monitoring.measures.len());
    let (first, rest) = monitoring.measures.split_at(monitoring.measures.len().min(loud.max(SHOWN)));
    let mut drawn = Vec::new();
    for (index, series) in monitoring.series.iter().enumerate().filter(|(_, series)| series.points.len() > 1) {
        let (name, _) = format::name(&series.what);
        let title = if series.subject.is_empty() { name } else { format!("{name} · {}", series.subject) };
        drawn.push((title.clone(), charts::series(&format!("series-{index}"), &title, series)?));
    }
    Ok(html! {
        (scroll("Measures of the night", &measures(first, &caption)))
        @if !rest.is_empty() {
            details {
                summary { "The other " (rest.len()) " measures" }
                (scroll("Other measures", &measures(rest, "Measures that hold")))
            }
        }
        @if !drawn.is_empty() {
            h3 { "Over the nights" }
            div.grid.small { @for (title, chart) in &drawn { figure { figcaption { (title) } (chart) } } }
        }
    })
}

fn measures(measures: &[Measure], caption: &str) -> Markup {
    html! {
        table {
            caption { (caption) }
            (head(
                &["What", "Of", "Status"],
                &["Value", "Baseline", "Change", "Warns above", "Fails above"],
            ))
            tbody { @for measure in measures { tr class=[(measure.status == Status::Fail).then_some("failed")] {
                th scope="row" { (metric_name(&measure.what)) }
                td { (measure.subject) (note(&measure.note)) }
                td { (pill(measure.status)) }
                (number(&optional(measure.value, metric))) (number(&optional(measure.baseline, metric)))
                (number(&optional(measure.change, metric)))
                (number(&optional(measure.warn, metric))) (number(&optional(measure.fail, metric)))
            } } }
        }
    }
}

pub fn provenance(provenance: &Provenance) -> Markup {
    html! {
        section #provenance aria-labelledby="provenance-heading" {
            h2 #provenance-heading { "How it was made" }
            (facts(&provenance.facts))
            @if !provenance.warnings.is_empty() {
                h3 { "Warnings of the training" }
                ul { @for warning in &provenance.warnings { li { (warning) } } }
            }
            @if !provenance.history.is_empty() {
                (scroll("History of versions", &html! {
                    table.narrow {
                        caption { "Versions and what became of them, newest first" }
                        (head(&["Night", "Version", "Event", "Note"], &[]))
                        tbody { @for [date, version, event, note] in &provenance.history {
                            tr { td { (date) } th scope="row" { code { (version) } } td { (event) } td.text { (note) } }
                        } }
                    }
                }))
            }
            @if let Some(definition) = &provenance.definition {
                details { summary { "The definition it was trained from" } pre tabindex="0" { code { (definition) } } }
            }
        }
    }
}
