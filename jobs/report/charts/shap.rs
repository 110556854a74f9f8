//! SHAP summary: each dot is a row's contribution of one feature, coloured by where its value lies.
//!
//! Dots that would cover each other are put side by side (a beeswarm), by their order within bins of a pixel or two, so
//! that the same rows always give the same picture.

use std::collections::BTreeMap;

use maud::{Markup, html};
use plotters::element::{Circle, PathElement, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, RGBColor};

use super::importance::shortened;
use super::{Axes, Figure, Hit, INK, MUTED, SHADES, figure, largest, legend, plain, text, unlabelled};
use crate::error::Result;
use crate::report::format::metric;
use crate::report::page::Contributions;

const ROW: u32 = 30;
const BINS: f64 = 90.0;

pub fn shap(shown: &Contributions) -> Result<Markup> {
    let features = &shown.features;
    let points = || features.iter().flat_map(|f| f.points.iter().map(|(contribution, _)| *contribution));
    let reach = largest(points().map(f64::abs), 1.0).max(1e-9) * 1.05;
    let (low, high) =
        (-largest(points().map(|p| -p), reach).max(reach * 0.1), largest(points(), reach).max(reach * 0.1));
    let (low, high) = (low * 1.05, high * 1.05);
    let words: Vec<String> = features.iter().map(|f| format!("{} {}", f.feature, metric(f.mean_absolute))).collect();
    let desc = format!(
        "SHAP values on the raw margin of {}; right of zero raises the probability. Mean absolute values: {}.",
        shown.rows,
        words.join(", ")
    );
    let rows = features.len();
    let about = Figure { id: "shap", title: "SHAP summary", desc, size: (420, rows as u32 * ROW + 60) };
    let axes = Axes {
        x: (low, high),
        y: (0.0, rows.max(1) as f64),
        x_name: "Contribution to the margin (log odds)",
        y_name: "",
        x_text: &plain,
        y_text: &unlabelled,
        left: 200,
        rows: true,
        ticks: 5,
    };
    let svg = figure(&about, |area, hits| {
        let mut chart = axes.draw(area)?;
        chart.draw_series([PathElement::new(vec![(0.0, 0.0), (0.0, rows as f64)], MUTED.stroke_width(1))])?;
        for (index, feature) in features.iter().enumerate() {
            let at = rows as f64 - index as f64 - 0.5;
            let dots = swarm(&feature.points, high - low);
            chart.draw_series(
                dots.into_iter().map(|(x, offset, colour)| Circle::new((x, at + offset), 2, colour.filled())),
            )?;
            let (left, middle) = chart.backend_coord(&(low, at));
            let label = text(11, INK).pos(Pos::new(HPos::Right, VPos::Center));
            area.draw(&Text::new(shortened(&feature.feature), (left - 8, middle), label))?;
            let text = format!("{}: mean absolute contribution {}", feature.feature, metric(feature.mean_absolute));
            hits.push(Hit { x: 0, y: middle - ROW as i32 / 2, width: 420, height: ROW as i32, text });
        }
        Ok(())
    })?;
    let keys =
        [("shade-0 dot", "low value", ""), ("shade-4 dot", "high value", ""), ("muted dot", "category or missing", "")];
    Ok(html! { (legend(keys)) (svg) })
}

/// Contribution, offset from the middle of the row, colour.
fn swarm(points: &[(f64, Option<f64>)], width: f64) -> Vec<(f64, f64, RGBColor)> {
    let mut seen: BTreeMap<i64, u32> = BTreeMap::new();
    let shade = |rank: f64| SHADES[((rank * SHADES.len() as f64) as usize).min(SHADES.len() - 1)];
    points
        .iter()
        .map(|(contribution, rank)| {
            let before = seen.entry((contribution / width * BINS).floor() as i64).or_insert(0);
            let step = f64::from(before.div_ceil(2)) * 0.07;
            let offset = if before.is_multiple_of(2) { step } else { -step };
            *before += 1;
            (*contribution, offset.clamp(-0.42, 0.42), rank.map_or(MUTED, shade))
        })
        .collect()
}
