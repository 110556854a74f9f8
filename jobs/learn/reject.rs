//! Learning from whom we accepted about everybody who applied: reject inference.
//!
//! Outcomes are known of accepted applications only, so a model trained on them describes the accepted. Four ways to
//! correct that, each a pure function from applications to training rows:
//!
//! - **Augmentation**, or re-weighting: in each band of the acceptance score, the accepted stand for all who applied
//!   (D. Hsia, "Credit Scoring and the Equal Credit Opportunity Act", Hastings Law Journal 30, 1978).
//! - **Inverse propensity weighting**: the same without bands, each accepted row weighing 1 / P(accepted)
//!   (D. Horvitz and D. Thompson, JASA 1952; P. Rosenbaum and D. Rubin, Biometrika 1983), cut at a largest weight
//!   (E. Ionides, "Truncated Importance Sampling", 2008), which trades a little bias for much variance.
//! - **Parcelling**: the rejected of a band of the risk score get outcomes at random, bad as often as the accepted of
//!   the band, times a prudence factor (N. Siddiqi, "Credit Risk Scorecards", 2006, chapter 6).
//! - **Fuzzy augmentation**: a rejected application enters twice, as bad with its probability of being bad (times the
//!   prudence factor) and as good with the rest (ibid.).
//!
//! The first two are unbiased where acceptance depends on nothing but what the acceptance model sees, and everybody had
//! a chance. The last two extrapolate the model of the accepted: they bring no information of their own (J. Crook and
//! J. Banasik, "Does Reject Inference Really Improve the Performance of Application Scoring Models?", 2004), so compare
//! on AUC and on [`default_rate`] before trusting them.

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::ranked::check_weights;
use crate::error::{Error, Result};

/// Applications: who was accepted, and how it went.
#[derive(Debug, Clone, Copy)]
pub struct Applications<'a> {
    pub accepted: &'a [bool],
    /// Whether the outcome was bad; not read of rejected ones.
    pub bad: &'a [bool],
}

/// A training row made of an application.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Inferred {
    /// Number of the application.
    pub row: usize,
    /// The outcome, observed or inferred.
    pub bad: bool,
    pub weight: f64,
}

/// Accepted rows, each weighing all applications over the accepted ones of its band. `acceptance` is a score that
/// orders applications by their chance of acceptance; bands hold equal numbers of applications, ties together. A band
/// of which nobody was accepted joins the next more acceptable one.
///
/// Errors of all four: `Internal` where lengths differ or a score is NaN, `Data` where nobody was accepted.
pub fn augmentation(applications: &Applications<'_>, acceptance: &[f64], bands: usize) -> Result<Vec<Inferred>> {
    applications.check(acceptance)?;
    let borders = borders(acceptance.to_vec(), bands);
    let band = |row: usize| borders.partition_point(|border| *border < acceptance[row]);
    let mut counts = vec![(0u64, 0u64); borders.len() + 1]; // applications, accepted
    for row in 0..acceptance.len() {
        let count = &mut counts[band(row)];
        count.0 += 1;
        count.1 += u64::from(applications.accepted[row]);
    }
    // Whom nobody of the band speaks for is spoken for by the next band with somebody in it, or by the last one.
    let mut waiting = 0;
    let mut last = None;
    for (at, count) in counts.iter_mut().enumerate() {
        if count.1 == 0 {
            waiting += count.0;
        } else {
            count.0 += std::mem::take(&mut waiting);
            last = Some(at);
        }
    }
    if let Some(last) = last {
        counts[last].0 += waiting;
    }
    let weight = |row: usize| {
        let (all, accepted) = counts[band(row)];
        all as f64 / accepted as f64
    };
    Ok(applications.accepted_rows().map(|row| applications.observed(row, weight(row))).collect())
}

/// Accepted rows, each weighing 1 / P(accepted), at most `max`. `acceptance` is that probability, in (0, 1] for the
/// accepted (`Data` error).
pub fn inverse_propensity(applications: &Applications<'_>, acceptance: &[f64], max: f64) -> Result<Vec<Inferred>> {
    applications.check(acceptance)?;
    if let Some(row) = applications.accepted_rows().find(|row| !(acceptance[*row] > 0.0 && acceptance[*row] <= 1.0)) {
        return Err(Error::data(format!(
            "application {row} was accepted with a probability of {}; expected one in (0, 1]",
            acceptance[row]
        )));
    }
    let weight = |row: usize| (1.0 / acceptance[row]).min(max);
    Ok(applications.accepted_rows().map(|row| applications.observed(row, weight(row))).collect())
}

/// The accepted as they are, and the rejected with outcomes drawn by band: of a band's rejected, the share of bad that
/// its accepted have, times `prudence`, rounded to whole rows; which ones is up to the seed. `risk` is the good-bad
/// model's score; bands hold equal numbers of accepted, ties together.
pub fn parcelling(
    applications: &Applications<'_>,
    risk: &[f64],
    bands: usize,
    prudence: f64,
    seed: u64,
) -> Result<Vec<Inferred>> {
    applications.check(risk)?;
    check_prudence(prudence)?;
    let borders = borders(applications.accepted_rows().map(|row| risk[row]).collect(), bands);
    let mut rejected: Vec<Vec<usize>> = vec![Vec::new(); borders.len() + 1];
    let mut counts = vec![(0u64, 0u64); borders.len() + 1]; // accepted, bad
    let mut out = Vec::with_capacity(risk.len());
    for (row, risk) in risk.iter().enumerate() {
        let band = borders.partition_point(|border| border < risk);
        if applications.accepted[row] {
            counts[band].0 += 1;
            counts[band].1 += u64::from(applications.bad[row]);
            out.push(applications.observed(row, 1.0));
        } else {
            rejected[band].push(row);
        }
    }
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    for (mut rows, (accepted, bad)) in rejected.into_iter().zip(counts) {
        let rate = (bad as f64 / accepted.max(1) as f64 * prudence).min(1.0);
        let bad = (rate * rows.len() as f64).round() as usize;
        rows.sort_by_cached_key(|_| random.next_u64());
        out.extend(rows.into_iter().enumerate().map(|(at, row)| Inferred { row, bad: at < bad, weight: 1.0 }));
    }
    out.sort_unstable_by_key(|inferred| inferred.row);
    Ok(out)
}

/// The accepted as they are, and each rejected one twice: as bad with weight p = min(1, `prudence` · its probability of
/// being bad), as good with 1 − p. Rows of weight 0 are left out. `risk` is that probability, in [0, 1] (`Internal`).
pub fn fuzzy(applications: &Applications<'_>, risk: &[f64], prudence: f64) -> Result<Vec<Inferred>> {
    applications.check(risk)?;
    check_prudence(prudence)?;
    if let Some(row) = risk.iter().position(|p| !(0.0..=1.0).contains(p)) {
        return Err(Error::internal(format!("the probability of row {row} is {}", risk[row])));
    }
    let mut out = Vec::with_capacity(2 * risk.len());
    for (row, risk) in risk.iter().enumerate() {
        if applications.accepted[row] {
            out.push(applications.observed(row, 1.0));
            continue;
        }
        let p = (risk * prudence).min(1.0);
        let both = [Inferred { row, bad: true, weight: p }, Inferred { row, bad: false, weight: 1.0 - p }];
        out.extend(both.into_iter().filter(|inferred| inferred.weight > 0.0));
    }
    Ok(out)
}

/// The share of bad among the accepted when the `rate` (in (0, 1]) of the weight with the lowest risk is accepted; of
/// rows tied at the border, the part that fits. What reject inference is for, beside the AUC.
///
/// `None` where no row has weight. `Internal` error where lengths differ or a risk is NaN, `Definition` error for
/// another rate, `Data` error for a weight that is none.
pub fn default_rate(risk: &[f64], bad: &[bool], weights: Option<&[f64]>, rate: f64) -> Result<Option<f64>> {
    if !(rate > 0.0 && rate <= 1.0) {
        return Err(Error::definition(format!("an acceptance rate of {rate}; expected one in (0, 1]")));
    }
    if risk.len() != bad.len() || risk.iter().any(|risk| risk.is_nan()) {
        return Err(Error::internal(format!("a default rate of {} risks and {} outcomes", risk.len(), bad.len())));
    }
    if let Some(weights) = weights {
        check_weights(weights, risk.len())?;
    }
    let weight = |row: usize| weights.map_or(1.0, |weights| weights[row]);
    let mut order: Vec<usize> = (0..risk.len()).collect();
    order.sort_unstable_by(|a, b| (risk[*a] + 0.0).total_cmp(&(risk[*b] + 0.0)).then(a.cmp(b)));
    let room = order.iter().map(|row| weight(*row)).sum::<f64>() * rate;
    let (mut taken, mut defaults) = (0.0, 0.0);
    for tied in order.chunk_by(|a, b| risk[*a] == risk[*b]) {
        let (all, bads) = tied.iter().fold((0.0, 0.0), |(all, bads), row| {
            (all + weight(*row), bads + weight(*row) * f64::from(u8::from(bad[*row])))
        });
        if all > 0.0 && taken < room {
            let share = ((room - taken) / all).min(1.0);
            taken += share * all;
            defaults += share * bads;
        }
    }
    Ok((taken > 0.0).then(|| defaults / taken))
}

impl Applications<'_> {
    fn check(&self, scores: &[f64]) -> Result<()> {
        let rows = self.accepted.len();
        if self.bad.len() != rows || scores.len() != rows || scores.iter().any(|score| score.is_nan()) {
            return Err(Error::internal(format!(
                "reject inference of {rows} applications, {} outcomes and {} scores",
                self.bad.len(),
                scores.len()
            )));
        }
        if !self.accepted.contains(&true) {
            return Err(Error::data(format!(
                "none of {rows} applications was accepted: there is no outcome to infer others from; see \
                 `reject_inference.accepted`"
            )));
        }
        Ok(())
    }

    fn accepted_rows(&self) -> impl Iterator<Item = usize> {
        (0..self.accepted.len()).filter(|row| self.accepted[*row])
    }

    fn observed(&self, row: usize, weight: f64) -> Inferred {
        Inferred { row, bad: self.bad[row], weight }
    }
}

fn check_prudence(prudence: f64) -> Result<()> {
    if prudence >= 0.0 && prudence.is_finite() {
        return Ok(());
    }
    Err(Error::definition(format!("a prudence factor of {prudence}; expected a number of at least 0, such as 1.2")))
}

/// Borders between bands of about equal numbers, a band holding what is above its lower border and at most its upper
/// one. None lies at the largest value, so that every band has a value of its own.
fn borders(mut values: Vec<f64>, bands: usize) -> Vec<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let n = values.len();
    let mut borders: Vec<f64> = (1..bands.max(1)).map(|k| values[(k * n).div_ceil(bands).max(1) - 1]).collect();
    borders.dedup();
    borders.retain(|border| *border < values[n - 1]);
    borders
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::Rng;

    fn applications<'a>(accepted: &'a [bool], bad: &'a [bool]) -> Applications<'a> {
        Applications { accepted, bad }
    }

    #[test]
    fn augmentation_by_hand() {
        // Two bands of three; of the lower, one is accepted and speaks for three; of the upper, two for three.
        let accepted = [false, true, false, true, false, true];
        let bad = [false, true, false, false, false, true];
        let got = augmentation(&applications(&accepted, &bad), &[0.1, 0.2, 0.3, 0.6, 0.7, 0.8], 2).unwrap();
        let expected = [(1, true, 3.0), (3, false, 1.5), (5, true, 1.5)];
        assert_eq!(got, expected.map(|(row, bad, weight)| Inferred { row, bad, weight }));
        // Nobody of the lowest band and nobody of the highest is accepted: their neighbours stand for them.
        let accepted = [false, false, true, true, false, false];
        let got = augmentation(&applications(&accepted, &bad), &[0.1, 0.2, 0.3, 0.6, 0.7, 0.8], 3).unwrap();
        assert_eq!(got.iter().map(|i| i.weight).collect::<Vec<_>>(), [3.0, 3.0]);
    }

    #[test]
    fn inverse_propensities_are_cut() {
        let got =
            inverse_propensity(&applications(&[true, true, false], &[true, false, true]), &[0.5, 0.01, 0.0], 20.0);
        assert_eq!(
            got.unwrap().iter().map(|i| (i.row, i.bad, i.weight)).collect::<Vec<_>>(),
            [(0, true, 2.0), (1, false, 20.0)]
        );
        let error = inverse_propensity(&applications(&[true], &[true]), &[0.0], 20.0).unwrap_err();
        assert_eq!(error.kind().code(), 3);
    }

    #[test]
    fn parcelling_by_hand() {
        // Band one: accepted 0 bad of 2, band two: 1 bad of 2. Four rejected in each.
        let risk = [0.1, 0.2, 0.7, 0.8, 0.1, 0.1, 0.1, 0.1, 0.9, 0.9, 0.9, 0.9];
        let accepted: Vec<bool> = (0..12).map(|row| row < 4).collect();
        let bad: Vec<bool> = (0..12).map(|row| row >= 3).collect();
        let of = |prudence, seed| parcelling(&applications(&accepted, &bad), &risk, 2, prudence, seed).unwrap();
        let bads = |rows: &[Inferred], from, to| rows.iter().filter(|i| (from..to).contains(&i.row) && i.bad).count();
        let got = of(1.0, 1);
        assert_eq!((got.len(), bads(&got, 0, 4), bads(&got, 4, 8), bads(&got, 8, 12)), (12, 1, 0, 2));
        assert_eq!(bads(&of(1.5, 1), 8, 12), 3);
        assert_eq!(bads(&of(9.0, 1), 8, 12), 4);
        assert_eq!(of(1.0, 1), got);
        assert!((2..20).any(|seed| of(1.0, seed) != got), "the seed chooses");
    }

    #[test]
    fn fuzzy_rows_weigh_one_together() {
        let got = fuzzy(&applications(&[true, false, false], &[true, false, false]), &[0.5, 0.3, 0.9], 1.2).unwrap();
        let rows: Vec<_> = got.iter().map(|i| (i.row, i.bad)).collect();
        assert_eq!(rows, [(0, true), (1, true), (1, false), (2, true)]);
        assert!((got[1].weight - 0.36).abs() < 1e-15 && (got[2].weight - 0.64).abs() < 1e-15);
        assert_eq!(got[3].weight, 1.0, "cut at 1: no good copy is left");
    }

    #[test]
    fn default_rate_by_hand() {
        let risk = [0.1, 0.2, 0.2, 0.2, 0.9];
        let bad = [false, true, false, true, true];
        assert_eq!(default_rate(&risk, &bad, None, 0.2).unwrap(), Some(0.0));
        // One row, and one of the three that tie: 2/3 of a bad in two rows.
        assert!((default_rate(&risk, &bad, None, 0.4).unwrap().unwrap() - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!(default_rate(&risk, &bad, None, 1.0).unwrap(), Some(0.6));
        assert_eq!(default_rate(&risk, &bad, Some(&[1.0, 0.0, 0.0, 0.0, 3.0]), 1.0).unwrap(), Some(0.75));
        assert_eq!(default_rate(&[], &[], None, 0.5).unwrap(), None);
        assert!(default_rate(&risk, &bad, None, 0.0).is_err() && default_rate(&risk, &[], None, 0.5).is_err());
    }

    #[test]
    fn wrong_calls_are_errors() {
        let nobody = applications(&[false, false], &[false, false]);
        for error in [
            augmentation(&nobody, &[0.1, 0.2], 5).unwrap_err(),
            parcelling(&nobody, &[0.1, 0.2], 5, 1.0, 1).unwrap_err(),
            fuzzy(&nobody, &[0.1, 0.2], 1.0).unwrap_err(),
            inverse_propensity(&nobody, &[0.1, 0.2], 5.0).unwrap_err(),
        ] {
            assert!(error.kind().code() == 3 && error.to_string().contains("none of 2 applications"), "{error}");
        }
        let one = applications(&[true, false], &[true, false]);
        assert!(augmentation(&one, &[0.1], 5).is_err());
        assert!(fuzzy(&one, &[0.1, 1.2], 1.0).is_err());
        assert_eq!(fuzzy(&one, &[0.1, 0.2], f64::NAN).unwrap_err().kind().code(), 2);
    }

    /// Applicants whose risk is curved in x, accepted the likelier the lower x is. The outcome of everybody is known
    /// here, and used only to say what is true.
    struct World {
        x: Vec<f64>,
        bad: Vec<bool>,
        acceptance: Vec<f64>,
        accepted: Vec<bool>,
    }

    fn sigmoid(z: f64) -> f64 {
        1.0 / (1.0 + (-z).exp())
    }

    fn world(rows: usize, seed: u64) -> World {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut world = World { x: vec![], bad: vec![], acceptance: vec![], accepted: vec![] };
        for _ in 0..rows {
            let x: f64 = random.random_range(-2.0..2.0);
            let acceptance = sigmoid(-1.5 * x);
            world.x.push(x);
            world.bad.push(random.random_bool(sigmoid(-1.5 + 0.5 * x + 0.8 * x * x)));
            world.acceptance.push(acceptance);
            world.accepted.push(random.random_bool(acceptance));
        }
        world
    }

    /// Logistic regression on x by Newton's method: intercept and slope.
    fn logistic(rows: impl Iterator<Item = (f64, bool, f64)>) -> [f64; 2] {
        let rows: Vec<_> = rows.collect();
        let (mut a, mut b) = (0.0, 0.0);
        for _ in 0..30 {
            let (mut g0, mut g1, mut h00, mut h01, mut h11) = (0.0, 0.0, 0.0, 0.0, 0.0);
            for &(x, bad, weight) in &rows {
                let p = sigmoid(a + b * x);
                let slope = weight * (f64::from(u8::from(bad)) - p);
                let curve = weight * p * (1.0 - p);
                g0 += slope;
                g1 += slope * x;
                h00 += curve;
                h01 += curve * x;
                h11 += curve * x * x;
            }
            let determinant = h00 * h11 - h01 * h01;
            a += (h11 * g0 - h01 * g1) / determinant;
            b += (h00 * g1 - h01 * g0) / determinant;
        }
        [a, b]
    }

    #[test]
    fn weighting_recovers_the_model_of_everybody_where_acceptance_is_explained() {
        // A straight line through a curved risk: where the rows lie decides what the line is, so the line of the
        // accepted is another one. (Were the line the truth, the accepted would give it unweighted.)
        let world = world(60_000, 11);
        let all = || 0..world.x.len();
        let truth = logistic(all().map(|row| (world.x[row], world.bad[row], 1.0)));
        let given = applications(&world.accepted, &world.bad);
        let fit = |rows: Vec<Inferred>| logistic(rows.into_iter().map(|i| (world.x[i.row], i.bad, i.weight)));
        let off = |got: [f64; 2]| (got[0] - truth[0]).abs().max((got[1] - truth[1]).abs());
        let accepted_only = logistic(all().filter(|r| world.accepted[*r]).map(|r| (world.x[r], world.bad[r], 1.0)));
        let weighted = fit(inverse_propensity(&given, &world.acceptance, 1000.0).unwrap());
        let banded = fit(augmentation(&given, &world.acceptance, 50).unwrap());
        assert!(off(accepted_only) > 0.4, "{accepted_only:?} {truth:?}");
        assert!(off(weighted) < 0.08, "{weighted:?} {truth:?}");
        assert!(off(banded) < 0.08, "{banded:?} {truth:?}");
        // And so is the share of bad among everybody who would be accepted by the model of everybody.
        let risk: Vec<f64> = world.x.iter().map(|x| sigmoid(truth[0] + truth[1] * x)).collect();
        let rows = inverse_propensity(&given, &world.acceptance, 1000.0).unwrap();
        let (seen, outcome): (Vec<f64>, Vec<bool>) = rows.iter().map(|i| (risk[i.row], i.bad)).unzip();
        let weights: Vec<f64> = rows.iter().map(|i| i.weight).collect();
        let known = default_rate(&risk, &world.bad, None, 0.5).unwrap().unwrap();
        let from_accepted = default_rate(&seen, &outcome, Some(&weights), 0.5).unwrap().unwrap();
        let naive = default_rate(&seen, &outcome, None, 0.5).unwrap().unwrap();
        assert!(
            (from_accepted - known).abs() < 0.02 && (naive - known).abs() > 0.05,
            "{known} {from_accepted} {naive}"
        );
    }

    proptest! {
        #[test]
        fn everybody_is_stood_for(
            rows in proptest::collection::vec((any::<bool>(), any::<bool>(), 0u8..10), 1..80),
            bands in 1usize..8, seed in any::<u64>(),
        ) {
            let accepted: Vec<bool> = rows.iter().map(|r| r.0).collect();
            let bad: Vec<bool> = rows.iter().map(|r| r.1).collect();
            let scores: Vec<f64> = rows.iter().map(|r| f64::from(r.2) / 9.0).collect();
            prop_assume!(accepted.contains(&true));
            let given = applications(&accepted, &bad);
            for got in [
                augmentation(&given, &scores, bands).unwrap(),
                parcelling(&given, &scores, bands, 1.2, seed).unwrap(),
                fuzzy(&given, &scores, 1.2).unwrap(),
            ] {
                prop_assert!((got.iter().map(|i| i.weight).sum::<f64>() - rows.len() as f64).abs() < 1e-9);
                prop_assert!(got.iter().all(|i| i.weight > 0.0 && (!accepted[i.row] || i.bad == bad[i.row])));
                prop_assert!(got.is_sorted_by_key(|i| i.row));
            }
            // Outcomes of the rejected are not read.
            let hidden: Vec<bool> = rows.iter().map(|r| r.1 == r.0).collect();
            let told = applications(&accepted, &hidden);
            let parcelled = |of: &Applications<'_>| parcelling(of, &scores, bands, 1.0, seed).unwrap();
            prop_assert_eq!(parcelled(&given), parcelled(&told));
        }
    }
}
