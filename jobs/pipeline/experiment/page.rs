//! `reports/experiments/<name>.html`: the last comparison as a page, listed in the index of all reports.

use super::{Comparison, Row};
use crate::error::Result;
use crate::pipeline::job::{Job, Written};
use crate::pipeline::report::pages;
use crate::report::{self, page};

/// Writes the page, and the index beside it.
pub async fn put(job: &Job, comparison: &Comparison) -> Result<Vec<Written>> {
    let html = report::experiment(&page(comparison))?;
    let name = format!("reports/experiments/{}.html", comparison.experiment);
    Ok(vec![pages::write(job, name, html.into_bytes(), 0.0).await?, pages::put_index(job).await?])
}

fn page(comparison: &Comparison) -> page::Experiment {
    let fact = |label: &str, value: String, note: &str| page::Fact { label: label.into(), value, note: note.into() };
    let seeds: Vec<String> = comparison.seeds.iter().map(ToString::to_string).collect();
    let sure = format!("{} % sure, {} repetitions", comparison.confidence * 100.0, comparison.repetitions);
    let mut facts = vec![
        fact("Model", comparison.model.clone(), "whose rows and label"),
        fact("Seeds", seeds.join(", "), "each variant is trained with each; values are means"),
        fact("Bootstrap", sure, "drawn by entity"),
        fact("F1", format!("from {}", comparison.threshold), "a probability from which on a row is called positive"),
    ];
    if let Some(rate) = comparison.acceptance_rate {
        facts.push(fact("Accepted", format!("{} %", rate * 100.0), "those with the lowest risk"));
    }
    page::Experiment {
        name: comparison.experiment.clone(),
        description: comparison.description.clone(),
        date: comparison.date.clone(),
        facts,
        segments: comparison.rows.chunk_by(|a, b| a.segment == b.segment).filter_map(segment).collect(),
    }
}

fn segment(rows: &[Row]) -> Option<page::Compared> {
    let first = rows.first()?;
    let variants: Vec<&[Row]> = rows.chunk_by(|a, b| a.variant == b.variant).collect();
    Some(page::Compared {
        segment: first.segment.clone(),
        rows: first.rows,
        positives: first.positives,
        metrics: variants.first()?.iter().map(|row| row.metric.clone()).collect(),
        variants: variants.into_iter().filter_map(variant).collect(),
    })
}

fn variant(rows: &[Row]) -> Option<page::Variant> {
    let first = rows.first()?;
    let cell = |row: &Row| {
        let measured = page::Measured { value: row.value, low: row.low, high: row.high };
        (measured, mark(row))
    };
    Some(page::Variant {
        name: first.variant.clone(),
        head: first.head.clone(),
        inputs: u64::from(first.inputs),
        cells: rows.iter().map(cell).collect(),
    })
}

fn mark(row: &Row) -> page::Mark {
    let (Some(second), Some(difference)) = (&row.second, row.difference) else { return page::Mark::None };
    let (low, high) = (row.difference_low.unwrap_or(f64::NAN), row.difference_high.unwrap_or(f64::NAN));
    let lead = format!("{difference:+.4} ({low:+.4} to {high:+.4}) against {second}");
    match row.more_than_noise {
        true => page::Mark::BestByMoreThanNoise(lead),
        false => page::Mark::Best(lead),
    }
}
