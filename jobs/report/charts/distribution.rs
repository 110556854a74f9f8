//! How probabilities lie, by outcome, with the bounds between actions.
//!
//! Each layer is drawn as shares of its own rows, since defaults are few beside the rest.

use maud::{Markup, html};
use plotters::element::{PathElement, Polygon, Text};
use plotters::series::LineSeries;
use plotters::style::{Color, RGBColor};

use super::{Axes, Figure, Hit, INK, MUTED, ONE, POSITIVE, SIZE, figure, largest, legend, share, text};
use crate::error::Result;
use crate::report::format::{count, percent, share_of};
use crate::report::page::Distribution;

const COLOURS: [(RGBColor, &str); 2] = [(ONE, "one"), (POSITIVE, "positive")];

pub fn distribution(id: &str, shown: &Distribution) -> Result<Markup> {
    let (from, to) = (shown.edges.first().copied().unwrap_or(0.0), shown.edges.last().copied().unwrap_or(1.0));
    let of = |counts: &[u64]| -> Vec<f64> {
        let all = counts.iter().sum::<u64>().max(1) as f64;
        counts.iter().map(|count| *count as f64 / all).collect()
    };
    let shares: Vec<Vec<f64>> = shown.layers.iter().map(|layer| of(&layer.counts)).collect();
    let top = largest(shares.iter().flatten().copied(), 1.0).max(1e-6) * 1.12;
    let about = Figure { id, title: "Distribution of probabilities", desc: desc(shown), size: SIZE };
    let axes = Axes {
        x: (from, to),
        y: (0.0, top),
        x_name: "Probability",
        y_name: "Share of rows",
        x_text: &share,
        y_text: &share,
        left: 56,
        rows: false,
        ticks: 6,
    };
    let svg = figure(&about, |area, hits| {
        let mut chart = axes.draw(area)?;
        for (shares, (colour, _)) in shares.iter().zip(COLOURS) {
            let line = outline(&shown.edges, shares);
            chart.draw_series([Polygon::new(line.clone(), colour.mix(0.22))])?;
            chart.draw_series(LineSeries::new(line, colour.stroke_width(2)))?;
        }
        for (index, bound) in shown.bounds.iter().filter(|b| b.at > from && b.at < to).enumerate() {
            chart.draw_series([PathElement::new(vec![(bound.at, 0.0), (bound.at, top)], INK.stroke_width(1))])?;
            let at = (bound.at, top * (0.99 - 0.07 * (index % 3) as f64));
            chart.draw_series([Text::new(
                format!(" {} below {}", bound.action, share(&bound.at)),
                at,
                text(12, MUTED),
            )])?;
        }
        let (_, bottom) = chart.backend_coord(&(from, 0.0));
        let (_, highest) = chart.backend_coord(&(from, top));
        for (bin, edges) in shown.edges.windows(2).enumerate() {
            let ((left, _), (right, _)) =
                (chart.backend_coord(&(edges[0], 0.0)), chart.backend_coord(&(edges[1], 0.0)));
            let rows: Vec<String> = shown
                .layers
                .iter()
                .map(|layer| {
                    let (here, all) = (layer.counts.get(bin).copied().unwrap_or(0), layer.counts.iter().sum());
                    format!("{}: {} rows ({})", layer.name, count(here), share_of(here, all))
                })
                .collect();
            let text = format!("{} to {}: {}", percent(edges[0]), percent(edges[1]), rows.join(", "));
            hits.push(Hit { x: left, y: highest, width: right - left, height: bottom - highest, text });
        }
        Ok(())
    })?;
    let notes: Vec<String> =
        shown.layers.iter().map(|layer| format!("{} rows", count(layer.counts.iter().sum()))).collect();
    let keys: Vec<_> = shown
        .layers
        .iter()
        .zip(&notes)
        .zip(COLOURS)
        .map(|((layer, note), (_, class))| (class, layer.name.as_str(), note.as_str()))
        .collect();
    Ok(html! { (legend(keys)) (svg) })
}

/// A histogram's outline, closed at the bottom.
fn outline(edges: &[f64], shares: &[f64]) -> Vec<(f64, f64)> {
    let mut line = Vec::with_capacity(2 * shares.len() + 2);
    line.extend(edges.first().map(|edge| (*edge, 0.0)));
    for (edges, share) in edges.windows(2).zip(shares) {
        line.extend([(edges[0], *share), (edges[1], *share)]);
    }
    line.extend(edges.last().map(|edge| (*edge, 0.0)));
    line
}

fn desc(shown: &Distribution) -> String {
    let layers: Vec<String> = shown
        .layers
        .iter()
        .map(|layer| format!("{} ({} rows)", layer.name, count(layer.counts.iter().sum())))
        .collect();
    let bounds: Vec<String> = shown.bounds.iter().map(|b| format!("{} below {}", b.action, percent(b.at))).collect();
    let bounds = if bounds.is_empty() { String::new() } else { format!(" Actions: {}.", bounds.join(", ")) };
    format!("Share of rows by probability, of {}: {}.{bounds}", shown.rows, layers.join(" and "))
}
