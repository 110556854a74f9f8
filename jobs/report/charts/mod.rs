//! Charts as inline SVG: plotters draws, the page's style colours.
//!
//! plotters writes colours as fixed hexadecimal numbers. Here each role of a colour has a number of its own, and what
//! was drawn has the numbers replaced by CSS variables, so that one drawing serves the light and the dark page. Every
//! chart says in words what it shows (`title`, `desc`), and marks have a tooltip: an invisible rectangle with a
//! `title`, since plotters draws none.

mod calibration;
mod curve;
mod distribution;
mod importance;
mod intervals;
mod lift;
mod series;
mod shap;
mod sizes;

use std::fmt::Write as _;

use maud::{Markup, PreEscaped, html};
use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea};
use plotters::prelude::{Cartesian2d, SVGBackend};
use plotters::style::{Color, IntoFont, RGBColor, TRANSPARENT};

use super::format::minus;
use crate::error::{Error, Result};

pub use calibration::calibration;
pub use curve::{precision_recall, roc};
pub use distribution::distribution;
pub use importance::importance;
pub use intervals::intervals;
pub use lift::lift;
pub use series::series;
pub use shap::shap;
pub use sizes::sizes;

/// A colour's role: its number in the drawing, its variable in the page.
macro_rules! palette {
    ($($role:ident $number:literal $variable:literal),* $(,)?) => {
        $(pub const $role: RGBColor = RGBColor($number, $number, $number);)*
        const PALETTE: &[(u8, &str)] = &[$(($number, $variable)),*];
    };
}

palette! {
    INK 1 "--ink", MUTED 2 "--muted", GRID 3 "--grid", ONE 4 "--one", TWO 5 "--two", POSITIVE 6 "--positive",
    WARN 7 "--warn", FAIL 8 "--fail",
    SHADE_0 20 "--shade-0", SHADE_1 21 "--shade-1", SHADE_2 22 "--shade-2", SHADE_3 23 "--shade-3",
    SHADE_4 24 "--shade-4",
}

/// Colours of a value's rank, lowest to highest.
pub const SHADES: [RGBColor; 5] = [SHADE_0, SHADE_1, SHADE_2, SHADE_3, SHADE_4];

type Backend<'a> = SVGBackend<'a>;
pub type Area<'a> = DrawingArea<Backend<'a>, Shift>;
pub type Plot<'a, 'b> = ChartContext<'a, Backend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;
pub type Drawn<T = ()> = std::result::Result<T, DrawingAreaErrorKind<std::io::Error>>;

/// What a chart is, and what it says in words.
pub struct Figure<'a> {
    /// Unique in the page.
    pub id: &'a str,
    pub title: &'a str,
    pub desc: String,
    /// In units that the page scales to its width.
    pub size: (u32, u32),
}

/// Where the pointer finds a text, in pixels of the drawing.
pub struct Hit {
    pub x: i32,
    pub y: i32,
    pub width: i32,
    pub height: i32,
    pub text: String,
}

impl Hit {
    /// Around a mark.
    pub fn around((x, y): (i32, i32), text: String) -> Hit {
        Hit { x: x - 6, y: y - 6, width: 12, height: 12, text }
    }
}

/// The size of most charts.
pub const SIZE: (u32, u32) = (480, 320);

/// Draws a chart.
pub fn figure(figure: &Figure, draw: impl for<'a> FnOnce(&Area<'a>, &mut Vec<Hit>) -> Drawn) -> Result<Markup> {
    let mut svg = String::new();
    let mut hits = Vec::new();
    {
        let area = SVGBackend::with_string(&mut svg, figure.size).into_drawing_area();
        let drawn = draw(&area, &mut hits).and_then(|()| area.present());
        drawn.map_err(|e| Error::internal(format!("the chart `{}` cannot be drawn: {e}", figure.title)))?;
    }
    let body = svg.find('>').zip(svg.rfind("</svg>")).map_or("", |(start, end)| &svg[start + 1..end]);
    let (width, height) = figure.size;
    let (title, desc) = (format!("{}-title", figure.id), format!("{}-desc", figure.id));
    Ok(html! {
        svg.chart viewBox=(format!("0 0 {width} {height}")) role="img" aria-labelledby=(format!("{title} {desc}")) {
            title id=(title) { (figure.title) }
            desc id=(desc) { (figure.desc) }
            (PreEscaped(themed(body)))
            @for hit in &hits {
                rect.hit x=(hit.x) y=(hit.y) width=(hit.width) height=(hit.height) { title { (hit.text) } }
            }
        }
    })
}

/// Fixed colours as the page's variables.
fn themed(body: &str) -> String {
    let mut text = body.trim().to_string();
    for (number, variable) in PALETTE {
        let fixed = format!("\"#{number:02X}{number:02X}{number:02X}\"");
        text = text.replace(&fixed, &format!("\"var({variable})\""));
    }
    text
}

/// Two axes of numbers with their grid.
pub struct Axes<'f> {
    pub x: (f64, f64),
    pub y: (f64, f64),
    pub x_name: &'f str,
    pub y_name: &'f str,
    pub x_text: &'f dyn Fn(&f64) -> String,
    pub y_text: &'f dyn Fn(&f64) -> String,
    /// Width of the names at the left.
    pub left: u32,
    /// Whether names stand at the left, which the chart writes itself, and no numbers.
    pub rows: bool,
    /// Labels along x, at most.
    pub ticks: usize,
}

impl Axes<'_> {
    pub fn draw<'a, 'b>(&self, area: &'a Area<'b>) -> Drawn<Plot<'a, 'b>> {
        let mut chart = ChartBuilder::on(area)
            .margin(6)
            .margin_right(14)
            .x_label_area_size(if self.x_name.is_empty() { 26 } else { 42 })
            .y_label_area_size(self.left)
            .build_cartesian_2d(self.x.0..self.x.1, self.y.0..self.y.1)?;
        let mut mesh = chart.configure_mesh();
        mesh.light_line_style(TRANSPARENT)
            .bold_line_style(GRID.stroke_width(1))
            .axis_style(MUTED.stroke_width(1))
            .set_all_tick_mark_size(3)
            .label_style(text(13, MUTED))
            .axis_desc_style(text(13, INK))
            .x_labels(self.ticks)
            .y_labels(6)
            .x_label_formatter(self.x_text)
            .y_label_formatter(self.y_text);
        if !self.x_name.is_empty() {
            mesh.x_desc(self.x_name);
        }
        if !self.y_name.is_empty() {
            mesh.y_desc(self.y_name);
        }
        if self.rows {
            mesh.disable_y_mesh().disable_y_axis();
        }
        mesh.draw()?;
        Ok(chart)
    }
}

/// A text of a size and colour.
pub fn text<'a>(size: u32, colour: RGBColor) -> plotters::style::TextStyle<'a> {
    ("sans-serif", size).into_font().color(&colour)
}

/// Labels of an axis of shares.
pub fn share(value: &f64) -> String {
    // Steps of an axis are sums of fractions: 0.30000000000000004.
    let percent = (value * 100_000.0).round() / 1000.0;
    format!("{percent}%")
}

/// Labels of an axis of numbers.
pub fn plain(value: &f64) -> String {
    let text = format!("{value:.4}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    if text == "-0" { "0".to_string() } else { minus(text) }
}

/// Labels of an axis that has names instead: none.
pub fn unlabelled(_: &f64) -> String {
    String::new()
}

/// The names of lines beside their colours.
pub fn legend<'a>(entries: impl IntoIterator<Item = (&'a str, &'a str, &'a str)>) -> Markup {
    html! {
        ul.legend {
            @for (class, name, note) in entries {
                li {
                    span class=(format!("key {class}")) aria-hidden="true" {}
                    (name)
                    @if !note.is_empty() { " " span.note { (note) } }
                }
            }
        }
    }
}

/// Largest finite value, or the alternative where there is none.
pub fn largest(values: impl Iterator<Item = f64>, or: f64) -> f64 {
    values.filter(|v| v.is_finite()).fold(None, |max: Option<f64>, v| Some(max.map_or(v, |m| m.max(v)))).unwrap_or(or)
}

/// Points of a line as words: how many, from where to where.
pub fn in_words(points: &[(f64, f64)]) -> String {
    let mut text = String::new();
    if let (Some(first), Some(last)) = (points.first(), points.last()) {
        let _ = write!(
            text,
            "{} points from ({:.3}, {:.3}) to ({:.3}, {:.3})",
            points.len(),
            first.0,
            first.1,
            last.0,
            last.1
        );
    }
    text
}
