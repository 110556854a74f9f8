//! Rows for tests: a label that depends on numbers, missing ones and categories, in a known way.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::inputs::{Inputs, Outcomes, Texts};
use super::matrix::{Feature, Matrix};
use super::split::DAY;
use crate::define::map::Map;
use crate::define::model::{Calibration, Direction, Encodings};

pub struct Fixture {
    pub batch: RecordBatch,
    pub labels: Vec<bool>,
    pub entities: Vec<String>,
    pub as_of: Vec<i64>,
    /// The probability from which each label was drawn.
    pub truth: Vec<f64>,
}

/// What a definition that says nothing of them has.
pub struct Defaults {
    pub encode: Encodings,
    pub monotone: Map<Direction>,
    pub calibration: Calibration,
}

pub static DEFAULTS: LazyLock<Defaults> = LazyLock::new(|| Defaults {
    encode: Encodings::default(),
    monotone: Map::default(),
    calibration: Calibration::default(),
});

/// The features that a head of trees takes, fitted on some rows.
pub fn features(matrix: &Matrix, rows: &[usize]) -> Vec<Feature> {
    let nobody = Outcomes { labels: &[], as_of: &[], known_after: 0, weights: None };
    Inputs::fit(matrix, rows, Texts { encodings: &DEFAULTS.encode, native: true }, nobody).unwrap().features
}

pub const NAMES: [&str; 4] = ["g.x", "g.n", "g.kind", "g.noise"];

/// `rows` rows of `rows / 4` entities over 400 days.
pub fn rows(rows: usize, seed: u64) -> Fixture {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let (mut x, mut n, mut kind, mut noise) = (vec![], vec![], vec![], vec![]);
    let (mut labels, mut entities, mut as_of, mut truth) = (vec![], vec![], vec![], vec![]);
    for row in 0..rows {
        let missing = random.random_bool(0.1);
        let value: f64 = random.random_range(-2.0..2.0);
        let count: i64 = random.random_range(0..20);
        let category = ["card", "blik", "cash", "cheque"][random.random_range(0..4)];
        let odds =
            -2.0 + if missing { 1.0 } else { value } + if category == "cash" { 1.5 } else { 0.0 } - 0.05 * count as f64;
        let p = 1.0 / (1.0 + (-odds).exp());
        x.push((!missing).then_some(value));
        n.push(count);
        kind.push((category != "cheque").then_some(category));
        noise.push(random.random_range(-1.0..1.0));
        labels.push(random.random_bool(p));
        entities.push(format!("u{}", row % (rows / 4).max(1)));
        as_of.push(random.random_range(0..400) * DAY);
        truth.push(p);
    }
    let columns: [(&str, ArrayRef); 4] = [
        (NAMES[0], Arc::new(Float64Array::from(x))),
        (NAMES[1], Arc::new(Int64Array::from(n))),
        (NAMES[2], Arc::new(StringArray::from(kind))),
        (NAMES[3], Arc::new(Float64Array::from(noise))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    Fixture { batch, labels, entities, as_of, truth }
}
