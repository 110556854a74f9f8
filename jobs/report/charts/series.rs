//! A measure over the nights, with the values at which it warns and fails.

use maud::Markup;
use plotters::element::{Circle, PathElement};
use plotters::series::LineSeries;
use plotters::style::Color;

use super::{Axes, FAIL, Figure, Hit, ONE, WARN, figure, largest, plain};
use crate::error::Result;
use crate::report::format::metric;
use crate::report::page::Series;

pub fn series(id: &str, title: &str, shown: &Series) -> Result<Markup> {
    let values = || shown.points.iter().map(|(_, value)| *value);
    let bounds: Vec<(f64, _)> =
        [(shown.warn, WARN), (shown.fail, FAIL)].into_iter().filter_map(|(at, colour)| Some((at?, colour))).collect();
    let all = || values().chain(bounds.iter().map(|(at, _)| *at));
    let (low, high) = (-largest(all().map(|v| -v), 0.0), largest(all(), 1.0));
    let low = low.min(if low > 0.0 && low < high * 0.5 { 0.0 } else { low });
    let margin = ((high - low) * 0.1).max(1e-6);
    let (first, last) = (shown.points.first(), shown.points.last());
    let desc = match (first, last) {
        (Some((from, a)), Some((to, b))) => {
            format!("{} nights from {from} ({}) to {to} ({}).", shown.points.len(), metric(*a), metric(*b))
        }
        _ => "No nights yet.".to_string(),
    };
    let about = Figure { id, title, desc, size: (360, 180) };
    let count = shown.points.len();
    // Nights lie side by side, so that a gap of a week does not squeeze the others.
    let date = |at: &f64| {
        let index = at.round();
        let whole = (at - index).abs() < 1e-9 && index >= 0.0;
        let point = whole.then(|| shown.points.get(index as usize)).flatten();
        point.map_or(String::new(), |(date, _)| date.get(5..).unwrap_or(date).to_string())
    };
    let axes = Axes {
        x: (-0.5, count.max(1) as f64 - 0.5),
        y: (low - margin * if low == 0.0 { 0.0 } else { 1.0 }, high + margin),
        x_name: "",
        y_name: "",
        x_text: &date,
        y_text: &plain,
        left: 58,
        rows: false,
        ticks: 6,
    };
    figure(&about, |area, hits| {
        let mut chart = axes.draw(area)?;
        for (at, colour) in &bounds {
            let line = vec![(axes.x.0, *at), (axes.x.1, *at)];
            chart.draw_series([PathElement::new(line, colour.stroke_width(1))])?;
        }
        let points: Vec<(f64, f64)> = values().enumerate().map(|(index, value)| (index as f64, value)).collect();
        chart.draw_series(LineSeries::new(points.iter().copied(), ONE.stroke_width(2)))?;
        chart.draw_series(points.iter().map(|point| Circle::new(*point, 3, ONE.filled())))?;
        for ((date, value), point) in shown.points.iter().zip(&points) {
            hits.push(Hit::around(chart.backend_coord(point), format!("{date}: {}", metric(*value))));
        }
        Ok(())
    })
}
