//! ROC and precision-recall: lines in the unit square, beside the line that chance would give.

use maud::{Markup, html};
use plotters::element::PathElement;
use plotters::series::LineSeries;
use plotters::style::Color;

use super::{Axes, Figure, Hit, MUTED, ONE, SIZE, TWO, figure, in_words, legend, plain, share};
use crate::error::Result;
use crate::report::page::Line;

/// True positive rate over false positive rate.
pub fn roc(lines: &[Line]) -> Result<Markup> {
    let chance = [(0.0, 0.0), (1.0, 1.0)];
    unit_square("roc", "ROC curve", ["False positive rate", "True positive rate"], lines, chance, 1.0)
}

/// Precision over recall. The axis ends a little above the best precision that many rows stand for.
pub fn precision_recall(lines: &[Line], base_rate: f64) -> Result<Markup> {
    let chance = [(0.0, base_rate), (1.0, base_rate)];
    let names = ["Recall: share of all positives found", "Precision"];
    unit_square("precision-recall", "Precision and recall", names, lines, chance, 1.0)
}

fn unit_square(
    id: &str,
    title: &str,
    [x_name, y_name]: [&str; 2],
    lines: &[Line],
    chance: [(f64, f64); 2],
    top: f64,
) -> Result<Markup> {
    let words: Vec<String> =
        lines.iter().map(|line| format!("{} ({}): {}.", line.name, line.note, in_words(&line.points))).collect();
    let desc = format!("{y_name} over {x_name}. {} The thin line is chance.", words.join(" "));
    let about = Figure { id, title, desc, size: SIZE };
    let axes = Axes {
        x: (0.0, 1.0),
        y: (0.0, top),
        x_name,
        y_name,
        x_text: &share,
        y_text: &share,
        left: 56,
        rows: false,
        ticks: 6,
    };
    let svg = figure(&about, |area, hits| {
        let mut chart = axes.draw(area)?;
        chart.draw_series([PathElement::new(chance.to_vec(), MUTED.stroke_width(1))])?;
        for (line, colour) in lines.iter().zip([ONE, TWO]).rev() {
            chart.draw_series(LineSeries::new(line.points.iter().copied(), colour.stroke_width(2)))?;
        }
        let step = lines.first().map_or(1, |line| line.points.len().div_ceil(40).max(1));
        for (x, y) in lines.iter().take(1).flat_map(|line| line.points.iter().step_by(step)) {
            hits.push(Hit::around(
                chart.backend_coord(&(*x, *y)),
                format!("{x_name} {}, {y_name} {}", share(&round(*x)), share(&round(*y))),
            ));
        }
        Ok(())
    })?;
    let keys = lines.iter().zip(["one", "two"]).map(|(line, class)| (class, line.name.as_str(), line.note.as_str()));
    let note = if chance[0].1 > 0.0 { format!("base rate {}", plain(&chance[0].1)) } else { String::new() };
    let keys: Vec<_> = keys.chain([("thin", "Chance", note.as_str())]).collect();
    Ok(html! { (legend(keys)) (svg) })
}

fn round(share: f64) -> f64 {
    (share * 1000.0).round() / 1000.0
}
