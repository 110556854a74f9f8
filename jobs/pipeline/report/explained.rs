//! SHAP values of some of the rows that a version was measured on, with where each value lies among the others'.
//!
//! A training keeps how far each input moves margins on the whole, and not row by row: that is computed here, by the
//! code that gives scores their reasons.

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};

use super::measured::out_of_sample;
use crate::define::Model;
use crate::error::{Error, Result};
use crate::learn::artifact::Artifact;
use crate::learn::scorer::{self, Scorer};
use crate::pipeline::artifacts;
use crate::pipeline::job::Job;
use crate::pipeline::training_set::TrainingSet;
use crate::report::page::{Contribution, Contributions};

/// Rows drawn.
const ROWS: usize = 250;
/// Features shown.
const FEATURES: usize = 15;

/// `None` where the rows lack an input of the version, or its artifact is gone.
pub async fn contributions(
    job: &Job,
    model: &Model,
    version: &str,
    set: &TrainingSet,
) -> Result<Option<Contributions>> {
    let Some(files) = artifacts::files(job, &model.name, version).await? else { return Ok(None) };
    let artifact = Artifact::from_files(&files)?;
    let chosen = spread(&out_of_sample(set));
    let rows = chosen.iter().filter(|chosen| **chosen).count();
    let Some(vectors) = set.vectors(&artifacts::inputs(&artifact), &chosen)? else { return Ok(None) };
    if rows == 0 {
        return Ok(None);
    }
    let threads = job.threads();
    let task = tokio::task::spawn_blocking(move || {
        let said = Scorer::new(&artifact, threads)?.contributions(&vectors)?;
        Ok::<_, Error>((said, vectors))
    });
    let (said, vectors) = task.await.map_err(|e| Error::internal(format!("explaining did not end: {e}")))??;
    Ok(Some(shown(&said, &vectors, rows)?))
}

/// Some of the rows, evenly spread over all of them: the same ones every time.
fn spread(candidates: &[bool]) -> Vec<bool> {
    let all = candidates.iter().filter(|candidate| **candidate).count();
    let mut seen = 0;
    let keep = |candidate: &bool| {
        let taken = *candidate && (seen * ROWS) / all.max(ROWS) != ((seen + 1) * ROWS) / all.max(ROWS);
        seen += usize::from(*candidate);
        taken
    };
    candidates.iter().map(keep).collect()
}

fn shown(said: &scorer::Contributions, vectors: &RecordBatch, rows: usize) -> Result<Contributions> {
    let columns = said.features.len();
    let mut features = Vec::new();
    for (index, feature) in said.features.iter().enumerate() {
        let values: Vec<f64> = (0..rows).map(|row| said.values[row * columns + index]).collect();
        let mean = |of: fn(f64) -> f64| values.iter().copied().map(of).sum::<f64>() / rows as f64;
        let (mean_absolute, mean) = (mean(f64::abs), mean(|value| value));
        let ranks = vectors.column_by_name(feature).map_or_else(|| Ok(vec![None; rows]), ranks)?;
        let points = values.into_iter().zip(ranks).collect();
        features.push(Contribution { feature: feature.clone(), mean_absolute, mean, points });
    }
    features.retain(|feature| feature.mean_absolute > 0.0);
    features.sort_by(|a, b| b.mean_absolute.total_cmp(&a.mean_absolute).then(a.feature.cmp(&b.feature)));
    features.truncate(FEATURES);
    Ok(Contributions { rows: format!("{rows} rows that the version was measured on"), features })
}

/// Where each value lies among the others: 0 the lowest, 1 the highest, equal values alike. None of what is no number.
fn ranks(column: &ArrayRef) -> Result<Vec<Option<f64>>> {
    let is_number = |of: &DataType| of.is_numeric() || matches!(of, DataType::Boolean | DataType::Timestamp(..));
    if !is_number(column.data_type()) {
        return Ok(vec![None; column.len()]);
    }
    let cast = match column.data_type() {
        DataType::Timestamp(..) => cast(&cast(column, &DataType::Int64)?, &DataType::Float64)?,
        _ => cast(column, &DataType::Float64)?,
    };
    let values: Vec<Option<f64>> =
        cast.as_primitive::<Float64Type>().iter().map(|value| value.filter(|v| !v.is_nan())).collect();
    let mut sorted: Vec<f64> = values.iter().flatten().copied().collect();
    sorted.sort_by(f64::total_cmp);
    let rank = |value: f64| {
        let (below, upto) = (sorted.partition_point(|v| *v < value), sorted.partition_point(|v| *v <= value));
        (below + upto) as f64 / (2 * sorted.len()) as f64
    };
    Ok(values.into_iter().map(|value| value.map(rank)).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray};

    use super::*;

    #[test]
    fn rows_are_spread_evenly_and_always_the_same() {
        let few: Vec<bool> = (0..10).map(|row| row % 2 == 0).collect();
        assert_eq!(spread(&few), few, "all of few");
        let many = spread(&vec![true; 10_000]);
        assert_eq!(many.iter().filter(|chosen| **chosen).count(), ROWS);
        let first_half = many[..5000].iter().filter(|chosen| **chosen).count();
        assert_eq!(first_half, ROWS / 2);
        assert_eq!(spread(&[]), Vec::<bool>::new());
    }

    #[test]
    fn ranks_are_those_of_numbers() {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(5), None, Some(1), Some(5), Some(9)]));
        assert_eq!(ranks(&numbers).unwrap(), [Some(0.5), None, Some(0.125), Some(0.5), Some(0.875)]);
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
        assert_eq!(ranks(&texts).unwrap(), [None, None]);
    }

    #[test]
    fn the_weightiest_come_first_and_what_moves_nothing_is_left_out() {
        let said = scorer::Contributions {
            features: ["a.x", "a.y", "a.z"].map(String::from).to_vec(),
            values: vec![0.1, -1.0, 0.0, -0.1, -2.0, 0.0],
            base: vec![0.0, 0.0],
        };
        let values: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        let vectors = RecordBatch::try_from_iter([("a.y", values)]).unwrap();
        let found = shown(&said, &vectors, 2).unwrap();
        let names: Vec<&str> = found.features.iter().map(|f| f.feature.as_str()).collect();
        assert_eq!(names, ["a.y", "a.x"]);
        assert_eq!((found.features[0].mean_absolute, found.features[0].mean), (1.5, -1.5));
        assert_eq!(found.features[0].points, [(-1.0, Some(0.25)), (-2.0, Some(0.75))]);
        assert_eq!(found.features[1].points, [(0.1, None), (-0.1, None)]);
    }
}
