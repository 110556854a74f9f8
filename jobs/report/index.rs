//! The index: what became of each model, and every page there is.

use maud::{Markup, html};

use super::format::{count, metric, optional};
use super::html::{document, head, none, note, number, scroll, theme_button};
use super::model::outcome;
use super::page::{Index, Summary};

/// One self-contained HTML document.
pub fn index(page: &Index) -> String {
    let body = html! {
        header.top {
            div.title {
                div { h1 { "Models" } p.description { "The last report of each model, and all earlier ones." } }
                (theme_button())
            }
        }
        main #main tabindex="-1" {
            @if page.models.is_empty() && page.nights.is_empty() {
                p.absent { "There is no report yet: run scorehouse report." }
            }
            @if !page.models.is_empty() {
                section aria-labelledby="models-heading" {
                    h2 #models-heading { "Last reports" }
                    (scroll("Models", &models(&page.models)))
                }
            }
            // Experiments have pages before there is any of a model.
            @if !page.nights.is_empty() {
                section aria-labelledby="nights-heading" {
                    h2 #nights-heading { "All reports" }
                    @for (model, dates) in &page.nights {
                        h3 { (model) }
                        ul.nights { @for date in dates { li { a href=(link(model, date)) { (date) } } } }
                    }
                }
            }
        }
        footer { p { "Written by Scorehouse from the lake." } }
    };
    document("Models · Scorehouse", &body)
}

fn link(model: &str, date: &str) -> String {
    format!("{model}/{date}.html")
}

fn models(models: &[Summary]) -> Markup {
    html! {
        table {
            caption { (models.len()) " " @if models.len() == 1 { "model" } @else { "models" } }
            (head(
                &["Model", "Night", "Verdict", "Champion"],
                &["ROC AUC", "Average precision", "Failed checks", "Warnings", "Scored"],
            ))
            tbody { @for model in models { (row(model)) } }
        }
    }
}

fn row(summary: &Summary) -> Markup {
    let (class, word) = outcome(summary.outcome);
    html! {
        tr {
            th scope="row" {
                a href=(link(&summary.model, &summary.date)) { (summary.model) }
                (note(&summary.description))
            }
            td { (summary.date) }
            td { span class=(format!("pill {class}")) { (word) } (note(&summary.note)) }
            td { @match &summary.champion { Some(champion) => code { (champion) }, None => (none()) } }
            (number(&optional(summary.roc_auc, metric))) (number(&optional(summary.average_precision, metric)))
            td.number {
                @if summary.checks == 0 { (none()) } @else { (count(summary.failed)) " of " (count(summary.checks)) }
            }
            (number(&count(summary.warnings))) (number(&count(summary.scored)))
        }
    }
}
