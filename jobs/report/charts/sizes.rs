//! How far each input moves margins: mean sizes of SHAP values, coloured by which way they push on the whole. For
//! versions of which no single rows are there to be drawn.

use maud::{Markup, html};
use plotters::element::{Rectangle, Text};
use plotters::style::Color;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::importance::{ROW, shortened};
use super::{Axes, Figure, Hit, INK, ONE, POSITIVE, figure, largest, legend, plain, text, unlabelled};
use crate::error::Result;
use crate::report::format::{metric, signed};
use crate::report::page::Contributions;

pub fn sizes(shown: &Contributions) -> Result<Markup> {
    let features = &shown.features;
    let rows = features.len();
    let words: Vec<String> = features.iter().map(|f| format!("{} {}", f.feature, metric(f.mean_absolute))).collect();
    let desc = format!("Mean size of SHAP values on the raw margin, of {}: {}.", shown.rows, words.join(", "));
    let about = Figure { id: "shap", title: "SHAP summary", desc, size: (420, rows as u32 * ROW + 60) };
    let axes = Axes {
        x: (0.0, largest(features.iter().map(|f| f.mean_absolute), 1.0).max(1e-9) * 1.05),
        y: (0.0, rows.max(1) as f64),
        x_name: "Mean size of the contribution",
        y_name: "",
        x_text: &plain,
        y_text: &unlabelled,
        left: 200,
        rows: true,
        ticks: 5,
    };
    let svg = figure(&about, |area, hits| {
        let mut chart = axes.draw(area)?;
        for (index, feature) in features.iter().enumerate() {
            let at = rows as f64 - index as f64 - 0.5;
            let colour = if feature.mean > 0.0 { POSITIVE } else { ONE };
            let bar = [(0.0, at - 0.32), (feature.mean_absolute, at + 0.32)];
            chart.draw_series([Rectangle::new(bar, colour.filled())])?;
            let (left, middle) = chart.backend_coord(&(0.0, at));
            let label = text(11, INK).pos(Pos::new(HPos::Right, VPos::Center));
            area.draw(&Text::new(shortened(&feature.feature), (left - 8, middle), label))?;
            let (size, mean) = (metric(feature.mean_absolute), signed(feature.mean));
            let text = format!("{}: mean size {size}, mean {mean}", feature.feature);
            hits.push(Hit { x: 0, y: middle - ROW as i32 / 2, width: 420, height: ROW as i32, text });
        }
        Ok(())
    })?;
    let keys = [("positive", "raises the probability of these rows, on the whole", ""), ("one", "lowers it", "")];
    Ok(html! { (legend(keys)) (svg) })
}
