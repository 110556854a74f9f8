//! Do two models rank the same things alike? Spearman's rank correlation, for importances and scores.
//!
//! ρ is Pearson's correlation of the ranks, tied values sharing the mean of theirs (C. Spearman, "The Proof and
//! Measurement of Association between Two Things", 1904). Equals `scipy.stats.spearmanr`.

use crate::error::{Error, Result};

/// Spearman's ρ of two equally long lists, in [−1, 1]; `None` below two values or where one side is constant.
///
/// `Internal` error where lengths differ or a value is NaN.
pub fn spearman(a: &[f64], b: &[f64]) -> Result<Option<f64>> {
    if a.len() != b.len() {
        return Err(Error::internal(format!("rank agreement of {} and {} values", a.len(), b.len())));
    }
    if a.iter().chain(b).any(|value| value.is_nan()) {
        return Err(Error::internal("rank agreement: a value is NaN"));
    }
    let (a, b) = (mid_ranks(a), mid_ranks(b));
    // Ranks from 1 have this mean, whatever the ties.
    let mean = (a.len() as f64 + 1.0) / 2.0;
    let product = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| (x - mean) * (y - mean)).sum::<f64>();
    let spread = (product(&a, &a) * product(&b, &b)).sqrt();
    Ok((spread > 0.0).then(|| (product(&a, &b) / spread).clamp(-1.0, 1.0)))
}

/// Ranks from 1; tied values share the mean of the ranks that they take up together.
pub fn mid_ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    let key = |at: usize| values[at] + 0.0;
    order.sort_unstable_by(|a, b| key(*a).total_cmp(&key(*b)));
    let mut ranks = vec![0.0; values.len()];
    let mut before = 0;
    for tied in order.chunk_by(|a, b| key(*a) == key(*b)) {
        let rank = before as f64 + (tied.len() as f64 + 1.0) / 2.0;
        for at in tied {
            ranks[*at] = rank;
        }
        before += tied.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::super::reference::{cases, close};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn by_hand() {
        assert_eq!(mid_ranks(&[0.3, 0.1, 0.3, 0.2]), [3.5, 1.0, 3.5, 2.0]);
        assert_eq!(mid_ranks(&[0.0, -0.0]), [1.5, 1.5]);
        assert_eq!(spearman(&[1.0, 2.0, 3.0], &[10.0, 100.0, 1000.0]).unwrap(), Some(1.0));
        assert_eq!(spearman(&[1.0, 2.0, 3.0], &[3.0, 2.0, 1.0]).unwrap(), Some(-1.0));
        // Without ties ρ = 1 − 6 Σd² / (n (n² − 1)): one swap of neighbours among four.
        assert!((spearman(&[1.0, 2.0, 3.0, 4.0], &[2.0, 1.0, 3.0, 4.0]).unwrap().unwrap() - 0.8).abs() < 1e-15);
    }

    #[test]
    fn what_has_no_order_has_no_agreement() {
        assert_eq!(spearman(&[], &[]).unwrap(), None);
        assert_eq!(spearman(&[1.0], &[2.0]).unwrap(), None);
        assert_eq!(spearman(&[1.0, 1.0], &[1.0, 2.0]).unwrap(), None);
        assert!(spearman(&[1.0], &[]).is_err());
        assert!(spearman(&[f64::NAN, 1.0], &[1.0, 2.0]).is_err());
    }

    #[derive(serde::Deserialize)]
    struct Case {
        a: Vec<f64>,
        b: Vec<f64>,
        rho: f64,
    }

    #[test]
    fn equal_scipy() {
        for case in cases::<Case>("spearman") {
            let got = spearman(&case.a, &case.b).unwrap().unwrap();
            assert!(close(got, case.rho), "{got}, SciPy says {}", case.rho);
        }
    }

    proptest! {
        #[test]
        fn ranks_count_who_is_below(values in proptest::collection::vec(0u8..9, 1..50)) {
            let values: Vec<f64> = values.iter().map(|v| f64::from(*v)).collect();
            for (value, rank) in values.iter().zip(mid_ranks(&values)) {
                let below = values.iter().filter(|v| *v < value).count() as f64;
                let alike = values.iter().filter(|v| *v == value).count() as f64;
                prop_assert_eq!(rank, below + (alike + 1.0) / 2.0);
            }
        }

        #[test]
        fn agreement_is_symmetric_and_minds_only_order(pairs in proptest::collection::vec((0u8..9, 0u8..9), 2..50)) {
            let (a, b): (Vec<f64>, Vec<f64>) = pairs.iter().map(|p| (f64::from(p.0), f64::from(p.1))).unzip();
            let curved: Vec<f64> = a.iter().map(|x| x.exp()).collect();
            prop_assert_eq!(spearman(&a, &b).unwrap(), spearman(&b, &curved).unwrap());
        }
    }
}
