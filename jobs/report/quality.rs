//! How good the model is: segments, curves, calibration, distribution, lift.

use maud::{Markup, html};

use super::charts;
use super::format::{count, interval, metric, optional, percent, share_of};
use super::html::{head, metric_name, none, note, number, scroll};
use super::page::{Calibration, Curves, Distribution, Lift, Measured, Quality, Reliability};
use crate::error::Result;

/// Metrics shown as a chart: what ranks, where an interval says most.
const DRAWN: [&str; 2] = ["roc_auc", "average_precision"];

pub fn segments(quality: &Quality) -> Result<Markup> {
    let mut drawn = Vec::new();
    for name in DRAWN {
        let Some(index) = quality.metrics.iter().position(|metric| metric == name) else { continue };
        let rows: Vec<(&str, Measured)> = quality
            .segments
            .iter()
            .filter_map(|segment| Some((segment.name.as_str(), *segment.values.get(index)?)))
            .filter(|(_, measured)| measured.value.is_some())
            .collect();
        if rows.len() > 1 {
            drawn.push(charts::intervals(&format!("segments-{}", name.replace('_', "-")), name, "segment", &rows)?);
        }
    }
    Ok(html! {
        (scroll("Metrics by segment", &table(quality)))
        @if !quality.intervals.is_empty() { p.note { "Intervals: " (quality.intervals) "." } }
        @if !drawn.is_empty() { div.grid { @for chart in &drawn { figure { (chart) } } } }
        @if !quality.parts.is_empty() { (scroll("Parts of the split", &parts(quality))) }
    })
}

fn table(quality: &Quality) -> Markup {
    html! {
        table {
            caption { "Out of sample (" (quality.part) ") by segment" }
            thead { tr {
                th scope="col" { "Segment" }
                th.number scope="col" { "Rows" }
                th.number scope="col" { "Positive" }
                @for metric in &quality.metrics { th.number scope="col" { (metric_name(metric)) } }
            } }
            tbody {
                @for segment in &quality.segments {
                    tr {
                        th scope="row" { (segment.name) }
                        (number(&count(segment.rows)))
                        td.number { (count(segment.positives)) (note(&share_of(segment.positives, segment.rows))) }
                        @for measured in &segment.values { (value(measured)) }
                    }
                }
            }
        }
    }
}

fn value(measured: &Measured) -> Markup {
    let between = interval(measured.low, measured.high);
    html! {
        td.number {
            @match measured.value {
                Some(value) => (metric(value)),
                None => (none()),
            }
            (note(&between))
        }
    }
}

fn parts(quality: &Quality) -> Markup {
    html! {
        table.narrow {
            caption { "The parts of the split" }
            thead { tr {
                th scope="col" { "Part" }
                th.number scope="col" { "Rows" }
                th.number scope="col" { "Positive" }
                th scope="col" { "From" }
                th scope="col" { "To" }
            } }
            tbody {
                @for part in &quality.parts {
                    tr {
                        th scope="row" { (part.name) }
                        (number(&count(part.rows)))
                        td.number { (count(part.positives)) (note(&share_of(part.positives, part.rows))) }
                        td { (part.from) }
                        td { (part.to) }
                    }
                }
            }
        }
    }
}

/// A page of its own with the curves of a version and how reliable its probabilities are.
pub fn plots(title: &str, of_ranking: &Curves, of_probabilities: &Calibration) -> Result<String> {
    let body = html! {
        main #main {
            h1 { (title) }
            section { h2 { "Ranking" } (curves(of_ranking)?) }
            section { h2 { "Calibration" } (calibration(of_probabilities)?) }
        }
    };
    Ok(super::html::document(title, &body))
}

pub fn curves(curves: &Curves) -> Result<Markup> {
    Ok(html! {
        p.note { "Of " (curves.rows) ". Base rate " (percent(curves.base_rate)) "." }
        div.grid {
            figure { figcaption { "ROC" } (charts::roc(&curves.roc)?) }
            figure {
                figcaption { "Precision and recall" }
                (charts::precision_recall(&curves.precision_recall, curves.base_rate)?)
            }
        }
    })
}

pub fn calibration(calibration: &Calibration) -> Result<Markup> {
    Ok(html! {
        p.note { "Of " (calibration.rows) ". Method: " (calibration.kind) "." }
        div.grid {
            figure { figcaption { "Reliability" } (charts::calibration(&calibration.lines)?) }
            div {
                @for (index, line) in calibration.lines.iter().enumerate().rev() {
                    details open[index + 1 == calibration.lines.len()] {
                        summary { (line.name) ", as a table" }
                        (scroll(&format!("Reliability, {}", line.name), &bins(line)))
                    }
                }
            }
        }
    })
}

fn bins(line: &Reliability) -> Markup {
    html! {
        table.narrow {
            caption { "Calibration error " (optional(line.error, metric)) }
            (head(&[], &["Predicted", "Observed", "Interval, 95%", "Rows"]))
            tbody {
                @for bin in &line.bins {
                    tr {
                        (number(&percent(bin.predicted)))
                        (number(&percent(bin.observed)))
                        (number(&format!("{} – {}", percent(bin.low), percent(bin.high))))
                        (number(&count(bin.rows)))
                    }
                }
            }
        }
    }
}

pub fn distributions(distributions: &[Distribution]) -> Result<Markup> {
    Ok(html! {
        p.note { "Each outline is a share of its own rows." }
        div.grid {
            @for (index, distribution) in distributions.iter().enumerate() {
                figure {
                    figcaption { (distribution.rows) }
                    (charts::distribution(&format!("distribution-{index}"), distribution)?)
                }
            }
        }
    })
}

pub fn lift(lift: &Lift) -> Result<Markup> {
    Ok(html! {
        p.note { "Of " (lift.rows) ". The line is a lift of 1: no better than chance." }
        div.grid {
            figure { figcaption { "Lift by decile" } (charts::lift(lift)?) }
            (scroll("Lift by decile", &html! {
                table.narrow {
                    caption { "Deciles, highest probabilities first; base rate " (percent(lift.base_rate)) }
                    (head(&[], &["Decile", "Rows", "Positive", "Rate", "Lift", "Found so far"]))
                    tbody { @for (index, decile) in lift.deciles.iter().enumerate() { tr {
                        th.number scope="row" { (index + 1) }
                        (number(&count(decile.rows))) (number(&count(decile.positives)))
                        (number(&percent(decile.rate)))
                        (number(&format!("{:.2}", decile.lift))) (number(&percent(decile.captured)))
                    } } }
                }
            }))
        }
    })
}
