//! What the model looks at: shares of gain, with the champion's beside them.

use maud::{Markup, html};
use plotters::element::{Circle, Rectangle, Text};
use plotters::style::Color;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{Axes, Figure, Hit, INK, ONE, TWO, figure, largest, legend, share, text, unlabelled};
use crate::error::Result;
use crate::report::format::percent;
use crate::report::page::Importances;

/// Height of a row.
pub const ROW: u32 = 22;

pub fn importance(shown: &Importances) -> Result<Markup> {
    let features = &shown.features;
    let both = || features.iter().flat_map(|f| [Some(f.share), f.champion]).flatten();
    let right = largest(both(), 1.0).max(1e-6) * 1.05;
    let words: Vec<String> = features.iter().map(|f| format!("{} {}", f.feature, percent(f.share))).collect();
    let desc = format!("Share of the loss reduction by feature, largest first: {}.", words.join(", "));
    let rows = features.len();
    let about = Figure { id: "importance", title: "Feature importances", desc, size: (420, rows as u32 * ROW + 60) };
    let axes = Axes {
        x: (0.0, right),
        y: (0.0, rows.max(1) as f64),
        x_name: "Share of gain",
        y_name: "",
        x_text: &share,
        y_text: &unlabelled,
        left: 200,
        rows: true,
        ticks: 5,
    };
    let svg = figure(&about, |area, hits| {
        let mut chart = axes.draw(area)?;
        for (index, feature) in features.iter().enumerate() {
            let at = rows as f64 - index as f64 - 0.5;
            chart.draw_series([Rectangle::new([(0.0, at - 0.32), (feature.share, at + 0.32)], ONE.filled())])?;
            if let Some(champion) = feature.champion {
                chart.draw_series([Circle::new((champion, at), 4, TWO.filled())])?;
            }
            let (left, middle) = chart.backend_coord(&(0.0, at));
            let label = text(11, INK).pos(Pos::new(HPos::Right, VPos::Center));
            area.draw(&Text::new(shortened(&feature.feature), (left - 8, middle), label))?;
            let champion = feature.champion.map_or(String::new(), |c| format!(", champion {}", percent(c)));
            let text = format!(
                "{}: {} of gain, {:.0} splits{champion}",
                feature.feature,
                percent(feature.share),
                feature.splits
            );
            hits.push(Hit { x: 0, y: middle - ROW as i32 / 2, width: 420, height: ROW as i32, text });
        }
        Ok(())
    })?;
    let has_champion = features.iter().any(|f| f.champion.is_some());
    let keys: Vec<_> =
        [("one", "This version", "")].into_iter().chain(has_champion.then_some(("two dot", "Champion", ""))).collect();
    Ok(html! { (legend(keys)) (svg) })
}

/// As much of a long name as there is room for: its end says more than its beginning.
pub fn shortened(name: &str) -> String {
    const ROOM: usize = 32;
    let length = name.chars().count();
    if length <= ROOM {
        name.to_string()
    } else {
        format!("…{}", name.chars().skip(length + 1 - ROOM).collect::<String>())
    }
}
