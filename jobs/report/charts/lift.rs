//! Lift by decile: how much more often the outcome happens among those with the highest probabilities.

use maud::Markup;
use plotters::element::{PathElement, Rectangle, Text};
use plotters::style::Color;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{Axes, Figure, Hit, INK, MUTED, ONE, SIZE, figure, largest, plain, text};
use crate::error::Result;
use crate::report::format::{count, percent};
use crate::report::page::Lift;

pub fn lift(shown: &Lift) -> Result<Markup> {
    let deciles = &shown.deciles;
    let top = largest(deciles.iter().map(|d| d.lift), 1.0).max(1.0) * 1.12;
    let words: Vec<String> = deciles.iter().enumerate().map(|(i, d)| format!("{}: {:.2}", i + 1, d.lift)).collect();
    let desc = format!(
        "Rate of the outcome over the base rate of {}, from the decile with the highest probabilities to the lowest. \
         {}.",
        percent(shown.base_rate),
        words.join(", ")
    );
    let about = Figure { id: "lift", title: "Lift by decile", desc, size: SIZE };
    let whole = |value: &f64| if value.fract() == 0.0 && *value >= 1.0 { plain(value) } else { String::new() };
    let axes = Axes {
        x: (0.4, deciles.len() as f64 + 0.6),
        y: (0.0, top),
        x_name: "Decile, highest probabilities first",
        y_name: "Lift",
        x_text: &whole,
        y_text: &plain,
        left: 50,
        rows: false,
        ticks: 11,
    };
    figure(&about, |area, hits| {
        let mut chart = axes.draw(area)?;
        for (index, decile) in deciles.iter().enumerate() {
            let at = index as f64 + 1.0;
            chart.draw_series([Rectangle::new([(at - 0.36, 0.0), (at + 0.36, decile.lift)], ONE.filled())])?;
            let label = text(12, INK).pos(Pos::new(HPos::Center, VPos::Bottom));
            chart.draw_series([Text::new(format!("{:.1}", decile.lift), (at, decile.lift + top * 0.01), label)])?;
            let ((left, highest), (right, bottom)) =
                (chart.backend_coord(&(at - 0.4, decile.lift)), chart.backend_coord(&(at + 0.4, 0.0)));
            let text = format!(
                "Decile {}: {} of {} rows positive, lift {:.2}; {} of all positives so far",
                index + 1,
                count(decile.positives),
                count(decile.rows),
                decile.lift,
                percent(decile.captured)
            );
            hits.push(Hit { x: left, y: highest, width: right - left, height: (bottom - highest).max(8), text });
        }
        let ends = vec![(0.4, 1.0), (deciles.len() as f64 + 0.6, 1.0)];
        chart.draw_series([PathElement::new(ends, MUTED.stroke_width(1))])?;
        Ok(())
    })
}
