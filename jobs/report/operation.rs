//! What the model does night by night: decisions and their reasons, drift, and what it was made of.

use maud::{Markup, html};

use super::charts;
use super::format::{self, count, metric, optional, percent, share_of};
use super::html::{facts, metric_name, number, pill, scroll};
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
                thead { tr {
                    th scope="col" { "Action" } th.number scope="col" { "Decisions" } th.number scope="col" { "Share" }
                    th.number scope="col" { "Mean probability" } th.number scope="col" { "Mean score" }
                } }
                tbody { @for action in &decisions.actions { tr {
                    th scope="row" { (action.action) }
                    (number(&count(action.count))) (number(&share_of(action.count, all)))
                    (number(&optional(action.mean_probability, percent))) (number(&optional(action.mean_score, |v| format!("{v:.1}"))))
                } } }
            }
        }))
        @if !decisions.reasons.is_empty() {
            (scroll("Reasons", &html! {
                table.narrow {
                    caption { "Reasons given, most frequent first" }
                    thead { tr {
                        th scope="col" { "Code" } th scope="col" { "Sentence" } th.number scope="col" { "Scores" } th.number scope="col" { "Share" }
                    } }
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
    let (first, rest) = monitoring.measures.split_at(monitoring.measures.len().min(loud.max(SHOWN)));
    let mut drawn = Vec::new();
    for (index, series) in monitoring.series.iter().enumerate().filter(|(_, series)| series.points.len() > 1) {
        let (name, _) = format::name(&series.what);
        let title = if series.subject.is_empty() { name } else { format!("{name} · {}", series.subject) };
        drawn.push((title.clone(), charts::series(&format!("series-{index}"), &title, series)?));
    }
    Ok(html! {
        (scroll("Measures of the night", &measures(first, &format!("{loud} of {} measures warn or fail", monitoring.measures.len()))))
        @if !rest.is_empty() {
            details { summary { "The other " (rest.len()) " measures" } (scroll("Other measures", &measures(rest, "Measures that hold"))) }
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
            thead { tr {
                th scope="col" { "What" } th scope="col" { "Of" } th scope="col" { "Status" } th.number scope="col" { "Value" } th.number scope="col" { "Baseline" }
                th.number scope="col" { "Change" } th.number scope="col" { "Warns above" } th.number scope="col" { "Fails above" }
            } }
            tbody { @for measure in measures { tr class=[(measure.status == Status::Fail).then_some("failed")] {
                th scope="row" { (metric_name(&measure.what)) } td { (measure.subject) @if !measure.note.is_empty() { span.note { (measure.note) } } } td { (pill(measure.status)) }
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
                        thead { tr { th scope="col" { "Night" } th scope="col" { "Version" } th scope="col" { "Event" } th scope="col" { "Note" } } }
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
