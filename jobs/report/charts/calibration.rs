//! Reliability: what was predicted beside what happened, before and after calibration.

use maud::{Markup, html};
use plotters::element::{Circle, PathElement};
use plotters::series::LineSeries;
use plotters::style::Color;

use super::{Axes, Figure, Hit, MUTED, ONE, SIZE, TWO, figure, largest, legend, share};
use crate::error::Result;
use crate::report::format::{count, metric, percent};
use crate::report::page::Reliability;

/// The last line is the one that decides; it is drawn on top.
pub fn calibration(lines: &[Reliability]) -> Result<Markup> {
    let bins = || lines.iter().flat_map(|line| &line.bins);
    let top = largest(bins().flat_map(|bin| [bin.predicted, bin.observed]), 1.0).max(1e-6) * 1.05;
    let top = top.min(1.0);
    let words: Vec<String> = lines
        .iter()
        .map(|line| {
            format!(
                "{}: {} bins{}.",
                line.name,
                line.bins.len(),
                line.error.map_or(String::new(), |e| format!(", calibration error {}", metric(e)))
            )
        })
        .collect();
    let desc = format!("Observed rate over predicted probability. {} On the diagonal both are equal.", words.join(" "));
    let about = Figure { id: "reliability", title: "Reliability diagram", desc, size: SIZE };
    let axes = Axes {
        x: (0.0, top),
        y: (0.0, top),
        x_name: "Predicted probability",
        y_name: "Observed rate",
        x_text: &share,
        y_text: &share,
        left: 56,
        rows: false,
        ticks: 6,
    };
    let last = lines.len().saturating_sub(1);
    let colour = |index: usize| if index == last { ONE } else { TWO };
    let svg = figure(&about, |area, hits| {
        let mut chart = axes.draw(area)?;
        chart.draw_series([PathElement::new(vec![(0.0, 0.0), (top, top)], MUTED.stroke_width(1))])?;
        for (index, line) in lines.iter().enumerate() {
            let points = line.bins.iter().map(|bin| (bin.predicted, bin.observed));
            chart.draw_series(LineSeries::new(points.clone(), colour(index).stroke_width(2)))?;
            chart.draw_series(points.map(|point| Circle::new(point, 4, colour(index).filled())))?;
            if index == last {
                let bars =
                    line.bins.iter().map(|bin| vec![(bin.predicted, bin.low), (bin.predicted, bin.high.min(top))]);
                chart.draw_series(bars.map(|bar| PathElement::new(bar, colour(index).stroke_width(1))))?;
            }
        }
        for (line, bin) in lines.iter().flat_map(|line| line.bins.iter().map(move |bin| (line, bin))) {
            let (predicted, observed) = (percent(bin.predicted), percent(bin.observed));
            let interval = format!("({} – {})", percent(bin.low), percent(bin.high));
            let text = format!(
                "{}: predicted {predicted}, observed {observed} {interval}, {} rows",
                line.name,
                count(bin.rows)
            );
            hits.push(Hit::around(chart.backend_coord(&(bin.predicted, bin.observed)), text));
        }
        Ok(())
    })?;
    let notes: Vec<String> =
        lines.iter().map(|l| l.error.map_or(String::new(), |e| format!("error {}", metric(e)))).collect();
    let keys =
        lines.iter().zip(&notes).enumerate().map(|(index, (line, note))| {
            (if index == last { "one" } else { "two" }, line.name.as_str(), note.as_str())
        });
    let keys: Vec<_> = keys.chain([("thin", "Perfect", "")]).collect();
    Ok(html! { (legend(keys)) (svg) })
}
