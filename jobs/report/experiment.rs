//! The page of an experiment: a table per segment, a chart per metric.

use maud::{Markup, html};

use super::charts::intervals;
use super::format::{count, interval, metric};
use super::html::{document, facts, metric_name, none, scroll, theme_button};
use super::page::{Compared, Experiment, Mark, Measured, Variant};
use crate::error::Result;

/// One self-contained HTML document.
///
/// # Errors
/// `Internal` if a chart cannot be drawn.
pub fn experiment(page: &Experiment) -> Result<String> {
    let sections: Vec<Markup> = page.segments.iter().map(segment).collect::<Result<_>>()?;
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
            (facts(&page.facts))
        }
        main #main tabindex="-1" {
            p.lead {
                "Every variant was trained and validated on the same rows. Values are of rows that none of them saw; intervals "
                "are the bootstrap's, drawn by entity. "
                span.pill.pass { "best" } " leads the second by more than noise: the paired interval of the difference leaves "
                "out zero. " span.pill.skipped { "best" } " leads by no more than noise."
            }
            @for section in &sections { (section) }
        }
        footer { p { "Written by Scorehouse from the lake, for the night of " (page.date) "." } }
    };
    Ok(document(&format!("{} · {} · Scorehouse", page.name, page.date), &body))
}

fn segment(compared: &Compared) -> Result<Markup> {
    let id = format!("segment-{}", compared.segment);
    let heading = format!("{id}-heading");
    let charts: Vec<Markup> =
        (0..compared.metrics.len()).map(|index| chart(compared, &id, index)).collect::<Result<_>>()?;
    Ok(html! {
        section id=(id) aria-labelledby=(heading) {
            h2 id=(heading) { "Segment " (compared.segment) }
            (scroll(&format!("Variants on segment {}", compared.segment), &table(compared)))
            div.grid { @for chart in &charts { figure { (chart) } } }
        }
    })
}

fn table(compared: &Compared) -> Markup {
    html! {
        table {
            caption { (count(compared.rows)) " rows out of sample, " (count(compared.positives)) " of them positive" }
            thead { tr {
                th scope="col" { "Variant" } th scope="col" { "Head" } th.number scope="col" { "Inputs" }
                @for metric in &compared.metrics { th.number scope="col" { (metric_name(metric)) } }
            } }
            tbody { @for variant in &compared.variants { (row(variant)) } }
        }
    }
}

fn row(variant: &Variant) -> Markup {
    html! {
        tr {
            th scope="row" { (variant.name) }
            td { (variant.head) }
            td.number { (count(variant.inputs)) }
            @for (measured, mark) in &variant.cells { td.number { (cell(measured, mark)) } }
        }
    }
}

fn cell(measured: &Measured, mark: &Mark) -> Markup {
    let Some(value) = measured.value else { return none() };
    html! {
        @match mark {
            Mark::None => {},
            Mark::Best(_) => { span.pill.skipped { "best" } " " },
            Mark::BestByMoreThanNoise(_) => { span.pill.pass { "best" } " " },
        }
        (metric(value))
        span.note { (interval(measured.low, measured.high)) }
        @if let Mark::Best(lead) | Mark::BestByMoreThanNoise(lead) = mark { span.note { (lead) } }
    }
}

fn chart(compared: &Compared, id: &str, index: usize) -> Result<Markup> {
    let metric = &compared.metrics[index];
    let of = |variant: &'_ Variant| variant.cells.get(index).map(|(measured, _)| *measured).unwrap_or_default();
    let rows: Vec<(&str, Measured)> =
        compared.variants.iter().map(|variant| (variant.name.as_str(), of(variant))).collect();
    intervals(&format!("{id}-{}", metric.replace('_', "-")), metric, "variant", &rows)
}
