//! A metric with its interval, by segment or by variant: whether two differ by more than noise.

use maud::Markup;
use plotters::element::{Circle, PathElement, Text};
use plotters::style::Color;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::importance::shortened;
use super::{Axes, Figure, Hit, INK, ONE, figure, largest, plain, text, unlabelled};
use crate::error::Result;
use crate::report::format::{self, interval, metric};
use crate::report::page::Measured;

const ROW: u32 = 30;

/// Names with what was measured; those without a value are left out.
pub fn intervals(id: &str, what: &str, by: &str, rows: &[(&str, Measured)]) -> Result<Markup> {
    let rows: Vec<(&str, f64, Measured)> =
        rows.iter().filter_map(|(name, measured)| Some((*name, measured.value?, *measured))).collect();
    let ends = || rows.iter().flat_map(|(_, value, m)| [m.low.unwrap_or(*value), m.high.unwrap_or(*value)]);
    let (low, high) = (-largest(ends().map(|v| -v), 0.0), largest(ends(), 1.0));
    let margin = ((high - low) * 0.15).max(0.005);
    let (what, _) = format::name(what);
    let words: Vec<String> =
        rows.iter().map(|(name, v, m)| format!("{name} {} ({})", metric(*v), interval(m.low, m.high))).collect();
    let title = format!("{what} by {by}");
    let desc = format!("{what} with its interval: {}.", words.join(", "));
    let about = Figure { id, title: &title, desc, size: (480, rows.len() as u32 * ROW + 56) };
    let axes = Axes {
        x: (low - margin, high + margin),
        y: (0.0, rows.len().max(1) as f64),
        x_name: &what,
        y_name: "",
        x_text: &plain,
        y_text: &unlabelled,
        left: 130,
        rows: true,
        ticks: 5,
    };
    figure(&about, |area, hits| {
        let mut chart = axes.draw(area)?;
        for (index, (name, value, measured)) in rows.iter().enumerate() {
            let at = rows.len() as f64 - index as f64 - 0.5;
            if let (Some(low), Some(high)) = (measured.low, measured.high) {
                chart.draw_series([PathElement::new(vec![(low, at), (high, at)], ONE.stroke_width(2))])?;
                for end in [low, high] {
                    chart.draw_series([PathElement::new(
                        vec![(end, at - 0.15), (end, at + 0.15)],
                        ONE.stroke_width(2),
                    )])?;
                }
            }
            chart.draw_series([Circle::new((*value, at), 5, ONE.filled())])?;
            let (left, middle) = chart.backend_coord(&(low - margin, at));
            let label = text(13, INK).pos(Pos::new(HPos::Right, VPos::Center));
            area.draw(&Text::new(shortened(name), (left - 8, middle), label))?;
            let text = format!("{name}: {} ({})", metric(*value), interval(measured.low, measured.high));
            hits.push(Hit { x: 0, y: middle - ROW as i32 / 2, width: 480, height: ROW as i32, text });
        }
        Ok(())
    })
}
