//! Why the model says what it says: importances and SHAP values; and whether it treats groups alike.

use maud::{Markup, html};

use super::charts;
use super::format::{count, optional, percent};
use super::html::{head, metric_name, note, number, scroll};
use super::page::{Attribute, Contributions, Fairness, Importances};
use crate::error::Result;

pub fn importances(importances: &Importances) -> Result<Markup> {
    Ok(html! {
        figure.single { (charts::importance(importances)?) }
        @if importances.more > 0 {
            p.note { (count(importances.more)) " more features with smaller shares are not shown." }
        }
    })
}

pub fn contributions(contributions: &Contributions) -> Result<Markup> {
    let dots = contributions.features.iter().any(|feature| !feature.points.is_empty());
    let chart = if dots { charts::shap(contributions)? } else { charts::sizes(contributions)? };
    Ok(html! {
        p.note { "Of " (contributions.rows) @if dots { "; a dot is a row" } "." }
        figure.single { (chart) }
    })
}

pub fn fairness(fairness: &Fairness) -> Markup {
    html! {
        @for attribute in &fairness.attributes {
            (scroll(&format!("Fairness by {}", attribute.name), &groups(attribute)))
        }
    }
}

fn groups(attribute: &Attribute) -> Markup {
    html! {
        table {
            caption {
                "By " (attribute.name)
                @for (measure, difference) in &attribute.differences {
                    " · " (metric_name(measure)) ": largest difference " (optional(*difference, percent))
                }
            }
            (head(&["Group"], &["People", "Favourable action", "Good outcomes", "Favourable among them"]))
            tbody {
                @for group in &attribute.groups {
                    tr {
                        th scope="row" { (group.name) @if !group.compared { (note("too few to be compared")) } }
                        (number(&count(group.rows)))
                        (number(&optional(group.favourable, percent)))
                        (number(&count(group.good)))
                        (number(&optional(group.favourable_among_good, percent)))
                    }
                }
            }
        }
    }
}
