//! How far a metric could be off by chance: the cluster bootstrap, for one model and for the difference of two.
//!
//! Rows of one entity are not independent, so entities are drawn, not rows: with replacement, as many as there are,
//! each bringing all of its rows (A. Davison and D. Hinkley, "Bootstrap Methods and their Application", 1997, §3.8).
//! Intervals are percentiles of the repetitions (B. Efron and R. Tibshirani, "An Introduction to the Bootstrap", 1993,
//! §13.3), by linear interpolation between order statistics. The difference of two models is drawn with the same
//! entities for both, so that what both find hard cancels.
//!
//! A draw is a whole-number weight per entity. Scores are sorted once; a repetition draws the weights, O(entities),
//! and passes over the sorted rows, O(rows): a thousand repetitions of 100,000 rows take two to three seconds.
//! Repetition r uses stream r of a ChaCha8 generator with the given seed, and entities are numbered in their order: the
//! same rows and seed give the same numbers whatever the machine, the number of threads or the order of the rows. (The
//! log loss takes logarithms from the machine's library, and row weights that are no whole numbers are summed in the
//! order of the rows where scores tie.)

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::metrics::{Metric, Metrics};
use super::ranked::{Ranked, check_weights};
use crate::error::{Error, Result};

/// How often to draw, from which seed, and how sure an interval is to be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    pub repetitions: u32,
    pub seed: u64,
    /// Two-sided, inside (0, 1): at 0.95 a bound is passed by chance once in forty.
    pub confidence: f64,
}

impl Default for Plan {
    fn default() -> Self {
        Plan { repetitions: 1000, seed: 1, confidence: 0.95 }
    }
}

/// Rows that metrics are taken of, without their scores.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'a> {
    pub labels: &'a [bool],
    /// Row weights beside the bootstrap's; `None` weighs every row 1.
    pub weights: Option<&'a [f64]>,
    /// Which rows are drawn together.
    pub clusters: &'a Clusters,
    /// What counts as called positive in F1.
    pub threshold: f64,
}

/// The cluster of each row, as numbers below `count`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clusters {
    of_row: Vec<u32>,
    count: u32,
}

impl Clusters {
    /// One cluster per distinct entity, numbered in the entities' order.
    pub fn of<E: Ord>(entities: &[E]) -> Clusters {
        let mut rows: Vec<u32> = (0..entities.len() as u32).collect();
        rows.sort_unstable_by(|a, b| entities[*a as usize].cmp(&entities[*b as usize]));
        let mut of_row = vec![0; entities.len()];
        let mut count = 0;
        for same in rows.chunk_by(|a, b| entities[*a as usize] == entities[*b as usize]) {
            for row in same {
                of_row[*row as usize] = count;
            }
            count += 1;
        }
        Clusters { of_row, count }
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        self.count
    }
}

/// The percentile interval of one metric.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    pub low: f64,
    pub high: f64,
}

/// Intervals of every metric that the rows define.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Intervals {
    pub plan: Plan,
    pub low: Metrics,
    pub high: Metrics,
}

impl Intervals {
    pub fn of(&self, metric: Metric) -> Option<Interval> {
        Some(Interval { low: self.low.get(metric)?, high: self.high.get(metric)? })
    }
}

/// How much more one model has of a metric than another, on the same rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// On the rows themselves.
    pub difference: f64,
    pub low: f64,
    pub high: f64,
}

impl Difference {
    /// Whether the interval leaves out zero: the models differ by more than noise.
    pub fn is_more_than_noise(&self) -> bool {
        self.low > 0.0 || self.high < 0.0
    }
}

/// Differences of every metric that the rows define.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Differences {
    pub plan: Plan,
    pub difference: Metrics,
    pub low: Metrics,
    pub high: Metrics,
}

impl Differences {
    pub fn of(&self, metric: Metric) -> Option<Difference> {
        Some(Difference {
            difference: self.difference.get(metric)?,
            low: self.low.get(metric)?,
            high: self.high.get(metric)?,
        })
    }
}

/// Percentile intervals of all metrics of `scores`.
///
/// A metric that the rows do not define has none; repetitions that do not define it (no positive was drawn) are left
/// out of its percentiles. Errors as [`Metrics::weighted`]; `Definition` error where the plan is none.
pub fn intervals(sample: &Sample<'_>, scores: &[f64], plan: Plan, threads: usize) -> Result<Intervals> {
    check(sample, plan)?;
    let (mut model, threshold) = (Scored::new(sample, scores)?, sample.threshold);
    let whole = model.metrics(threshold, None);
    let drawn = repeat(sample.clusters, plan, threads, move |counts| model.metrics(threshold, Some(counts)))?;
    let (low, high) = percentiles(&whole, &drawn, plan.confidence);
    Ok(Intervals { plan, low, high })
}

/// Candidate minus champion for all metrics, with percentile intervals, each repetition drawing the same entities for
/// both. Where less is better (Brier, losses, calibration error) a better candidate has a difference below zero.
pub fn paired_differences(
    sample: &Sample<'_>,
    candidate: &[f64],
    champion: &[f64],
    plan: Plan,
    threads: usize,
) -> Result<Differences> {
    check(sample, plan)?;
    let (mut one, mut other) = (Scored::new(sample, candidate)?, Scored::new(sample, champion)?);
    let threshold = sample.threshold;
    let mut of = move |counts: Option<&[u32]>| {
        let (a, b) = (one.metrics(threshold, counts), other.metrics(threshold, counts));
        Metrics::from_fn(|metric| Some(a.get(metric)? - b.get(metric)?))
    };
    let difference = of(None);
    let drawn = repeat(sample.clusters, plan, threads, move |counts| of(Some(counts)))?;
    let (low, high) = percentiles(&difference, &drawn, plan.confidence);
    Ok(Differences { plan, difference, low, high })
}

/// [`paired_differences`] of one metric; `None` where the rows do not define it.
pub fn paired_difference(
    metric: Metric,
    sample: &Sample<'_>,
    candidate: &[f64],
    champion: &[f64],
    plan: Plan,
    threads: usize,
) -> Result<Option<Difference>> {
    Ok(paired_differences(sample, candidate, champion, plan, threads)?.of(metric))
}

/// The percentile interval of any other statistic: `f` makes it of how much each row weighs in a repetition, the same
/// repetitions that the metrics are drawn by. `None` where no repetition defines it.
pub fn statistic(clusters: &Clusters, plan: Plan, mut f: impl FnMut(&[f64]) -> Option<f64>) -> Option<Interval> {
    let mut counts = vec![0u32; clusters.count as usize];
    let mut weights = vec![0.0; clusters.of_row.len()];
    let mut one = |repetition: u32| {
        draw(plan.seed, repetition, &mut counts);
        weights.iter_mut().zip(&clusters.of_row).for_each(|(w, cluster)| *w = f64::from(counts[*cluster as usize]));
        f(&weights)
    };
    let mut drawn: Vec<f64> = (0..plan.repetitions).filter_map(&mut one).collect();
    drawn.sort_unstable_by(f64::total_cmp);
    let tail = (1.0 - plan.confidence) / 2.0;
    Some(Interval { low: quantile(&drawn, tail)?, high: quantile(&drawn, 1.0 - tail)? })
}

fn check(sample: &Sample<'_>, plan: Plan) -> Result<()> {
    let rows = sample.labels.len();
    if sample.clusters.of_row.len() != rows {
        return Err(Error::internal(format!("bootstrap: {} entities for {rows} rows", sample.clusters.of_row.len())));
    }
    if let Some(weights) = sample.weights {
        check_weights(weights, rows)?;
    }
    if plan.repetitions == 0 || !(plan.confidence > 0.0 && plan.confidence < 1.0) {
        return Err(Error::definition(format!(
            "a bootstrap of {} repetitions at confidence {}; expected at least one repetition and a confidence \
             inside (0, 1)",
            plan.repetitions, plan.confidence
        )));
    }
    Ok(())
}

/// One model's rows in the order of its scores, each with its cluster and its own weight.
#[derive(Clone)]
struct Scored {
    ranked: Ranked,
    clusters: Vec<u32>,
    weights: Option<Vec<f64>>,
}

impl Scored {
    fn new(sample: &Sample<'_>, scores: &[f64]) -> Result<Scored> {
        let ranked = Ranked::new(sample.labels, scores, None)?;
        let clusters = ranked.order().iter().map(|row| sample.clusters.of_row[*row as usize]).collect();
        let weights = sample.weights.map(|w| ranked.order().iter().map(|row| w[*row as usize]).collect());
        Ok(Scored { ranked, clusters, weights })
    }

    /// Metrics with each cluster taken as often as `counts` says, or once.
    fn metrics(&mut self, threshold: f64, counts: Option<&[u32]>) -> Metrics {
        let clusters = &self.clusters;
        match (&self.weights, counts) {
            (None, None) => self.ranked.weigh(|_| 1.0),
            (Some(weights), None) => self.ranked.weigh(|at| weights[at]),
            (None, Some(counts)) => self.ranked.weigh(|at| f64::from(counts[clusters[at] as usize])),
            (Some(weights), Some(counts)) => {
                self.ranked.weigh(|at| weights[at] * f64::from(counts[clusters[at] as usize]));
            }
        }
        Metrics::of_ranked(&self.ranked, threshold)
    }
}

/// What `f` makes of how often each cluster was drawn, once per repetition. Each thread has an `f` of its own.
fn repeat(
    clusters: &Clusters,
    plan: Plan,
    threads: usize,
    f: impl FnMut(&[u32]) -> Metrics + Clone + Send + Sync,
) -> Result<Vec<Metrics>> {
    let own = || (f.clone(), vec![0u32; clusters.count as usize]);
    super::threads::on(threads, || {
        let repetitions = (0..plan.repetitions).into_par_iter();
        let drawn = repetitions.map_init(own, |(f, counts), repetition| {
            draw(plan.seed, repetition, counts);
            f(counts)
        });
        drawn.collect()
    })
}

/// Draws as many clusters as there are, with replacement: a multinomial number for each.
fn draw(seed: u64, repetition: u32, counts: &mut [u32]) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(u64::from(repetition));
    counts.fill(0);
    let n = counts.len() as u32;
    for _ in 0..n {
        counts[below(&mut random, n) as usize] += 1;
    }
}

/// A number below `n`, all equally likely (D. Lemire, "Fast Random Integer Generation in an Interval", 2019). Written
/// out because a library may change how it draws.
fn below(random: &mut ChaCha8Rng, n: u32) -> u32 {
    let mut product = u64::from(random.next_u32()) * u64::from(n);
    if (product as u32) < n {
        let unfair = n.wrapping_neg() % n;
        while (product as u32) < unfair {
            product = u64::from(random.next_u32()) * u64::from(n);
        }
    }
    (product >> 32) as u32
}

fn percentiles(whole: &Metrics, drawn: &[Metrics], confidence: f64) -> (Metrics, Metrics) {
    let tail = (1.0 - confidence) / 2.0;
    let bound = |share: f64| {
        Metrics::from_fn(|metric| {
            whole.get(metric)?;
            let mut values: Vec<f64> = drawn.iter().filter_map(|set| set.get(metric)).collect();
            values.sort_unstable_by(f64::total_cmp);
            quantile(&values, share)
        })
    };
    (bound(tail), bound(1.0 - tail))
}

/// Of sorted values, by linear interpolation between neighbours (`numpy.quantile`'s default).
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let at = share * last as f64;
    let lower = (at.floor() as usize).min(last);
    let upper = (lower + 1).min(last);
    Some(sorted[lower] + (at - lower as f64) * (sorted[upper] - sorted[lower]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::Rng;

    struct Rows {
        labels: Vec<bool>,
        good: Vec<f64>,
        poor: Vec<f64>,
        entities: Vec<String>,
    }

    /// `entities` entities of `each` rows; the rows of an entity share most of what makes them positive.
    fn rows(entities: usize, each: usize, seed: u64) -> Rows {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut rows = Rows { labels: vec![], good: vec![], poor: vec![], entities: vec![] };
        for entity in 0..entities {
            let own: f64 = random.random_range(0.0..0.6);
            for _ in 0..each {
                let p = own + random.random_range(0.0..0.1);
                rows.labels.push(random.random_bool(p));
                rows.good.push(p);
                rows.poor.push((p + random.random_range(0.0..0.5)) / 1.5);
                rows.entities.push(format!("u{entity}"));
            }
        }
        rows
    }

    fn sample<'a>(rows: &'a Rows, clusters: &'a Clusters) -> Sample<'a> {
        Sample { labels: &rows.labels, weights: None, clusters, threshold: 0.4 }
    }

    const PLAN: Plan = Plan { repetitions: 200, seed: 7, confidence: 0.9 };

    #[test]
    fn a_statistic_is_drawn_as_the_metrics_are() {
        let rows = rows(40, 2, 3);
        let clusters = Clusters::of(&rows.entities);
        let metrics = intervals(&sample(&rows, &clusters), &rows.good, PLAN, 2).unwrap();
        let base_rate = |weights: &[f64]| {
            let mass: f64 = weights.iter().sum();
            let positive: f64 =
                weights.iter().zip(&rows.labels).map(|(w, label)| w * f64::from(u8::from(*label))).sum();
            (mass > 0.0).then(|| positive / mass)
        };
        let (got, expected) = (statistic(&clusters, PLAN, base_rate).unwrap(), metrics.of(Metric::BaseRate).unwrap());
        assert!((got.low - expected.low).abs() < 1e-12 && (got.high - expected.high).abs() < 1e-12);
        assert_eq!(statistic(&clusters, PLAN, |_| None), None);
    }

    #[test]
    fn a_repetition_is_the_metrics_of_the_drawn_rows() {
        let rows = rows(30, 3, 1);
        let clusters = Clusters::of(&rows.entities);
        let mut model = Scored::new(&sample(&rows, &clusters), &rows.good).unwrap();
        for repetition in 0..20 {
            let mut counts = vec![0; 30];
            draw(9, repetition, &mut counts);
            assert_eq!(counts.iter().sum::<u32>(), 30);
            let (mut labels, mut scores) = (Vec::new(), Vec::new());
            for row in 0..rows.labels.len() {
                for _ in 0..counts[clusters.of_row[row] as usize] {
                    labels.push(rows.labels[row]);
                    scores.push(rows.good[row]);
                }
            }
            let slow = Metrics::of(&labels, &scores, 0.4).unwrap();
            let fast = model.metrics(0.4, Some(&counts));
            for metric in Metric::ALL {
                let (fast, slow) = (fast.get(metric).unwrap(), slow.get(metric).unwrap());
                assert!((fast - slow).abs() < 1e-12, "{}: {fast} {slow}", metric.name());
            }
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes_and_these_ones() {
        let mut counts = [0; 6];
        draw(1, 0, &mut counts);
        let first = counts;
        draw(1, 1, &mut counts);
        assert_ne!(first, counts);
        draw(1, 0, &mut counts);
        assert_eq!(first, counts);
        // Held here, so that a new version of a library cannot change what an old report said.
        assert_eq!((first, below(&mut ChaCha8Rng::seed_from_u64(3), 1000)), PINNED);
    }

    const PINNED: ([u32; 6], u32) = ([1, 1, 1, 2, 0, 1], 108);

    #[test]
    fn the_number_of_threads_does_not_matter() {
        let rows = rows(40, 2, 3);
        let clusters = Clusters::of(&rows.entities);
        let with = |threads| intervals(&sample(&rows, &clusters), &rows.good, PLAN, threads).unwrap();
        let one = with(1);
        assert!([0, 2, 7, 1000].into_iter().all(|threads| with(threads) == one));
    }

    #[test]
    fn the_order_of_rows_does_not_matter() {
        let one = rows(40, 2, 3);
        let mut order: Vec<usize> = (0..one.labels.len()).collect();
        order.sort_by_key(|row| (row * 37) % 80);
        let other = Rows {
            labels: order.iter().map(|row| one.labels[*row]).collect(),
            good: order.iter().map(|row| one.good[*row]).collect(),
            poor: order.iter().map(|row| one.poor[*row]).collect(),
            entities: order.iter().map(|row| one.entities[*row].clone()).collect(),
        };
        let of = |rows: &Rows| {
            let clusters = Clusters::of(&rows.entities);
            intervals(&sample(rows, &clusters), &rows.good, PLAN, 2).unwrap()
        };
        assert_eq!(of(&one), of(&other));
    }

    #[test]
    fn a_mean_has_the_interval_that_theory_gives() {
        // The base rate of independent rows: its standard error is √(p (1 − p) / n).
        let rows = rows(2000, 1, 5);
        let clusters = Clusters::of(&rows.entities);
        let plan = Plan { repetitions: 2000, seed: 2, confidence: 0.95 };
        let got = intervals(&sample(&rows, &clusters), &rows.good, plan, 2).unwrap().of(Metric::BaseRate).unwrap();
        let p = rows.labels.iter().filter(|l| **l).count() as f64 / 2000.0;
        let half = 1.96 * (p * (1.0 - p) / 2000.0).sqrt();
        assert!((got.low - (p - half)).abs() < 0.1 * half, "{got:?} {p} {half}");
        assert!((got.high - (p + half)).abs() < 0.1 * half, "{got:?} {p} {half}");
    }

    #[test]
    fn rows_that_repeat_do_not_make_us_surer() {
        let once = rows(100, 1, 4);
        let clusters = Clusters::of(&once.entities);
        let five = |v: &[f64]| -> Vec<f64> { v.iter().flat_map(|x| [*x; 5]).collect() };
        let often = Rows {
            labels: once.labels.iter().flat_map(|l| [*l; 5]).collect(),
            good: five(&once.good),
            poor: five(&once.poor),
            entities: once.entities.iter().flat_map(|e| std::iter::repeat_n(e.clone(), 5)).collect(),
        };
        let by_entity = Clusters::of(&often.entities);
        let (a, b) = (
            intervals(&sample(&once, &clusters), &once.good, PLAN, 2).unwrap().of(Metric::RocAuc).unwrap(),
            intervals(&sample(&often, &by_entity), &often.good, PLAN, 2).unwrap().of(Metric::RocAuc).unwrap(),
        );
        assert!((a.low - b.low).abs() < 1e-12 && (a.high - b.high).abs() < 1e-12);
        let row_numbers: Vec<u32> = (0..500).collect();
        let by_row = Clusters::of(&row_numbers);
        let c = intervals(&sample(&often, &by_row), &often.good, PLAN, 2).unwrap().of(Metric::RocAuc).unwrap();
        assert!(c.high - c.low < 0.6 * (a.high - a.low), "{c:?} {a:?}");
    }

    #[test]
    fn pairing_sees_what_intervals_alone_do_not() {
        let rows = rows(1500, 1, 6);
        let clusters = Clusters::of(&rows.entities);
        let sample = sample(&rows, &clusters);
        let got = paired_difference(Metric::RocAuc, &sample, &rows.good, &rows.poor, PLAN, 2).unwrap().unwrap();
        assert!(got.low > 0.0 && got.is_more_than_noise(), "{got:?}");
        let swapped = paired_difference(Metric::RocAuc, &sample, &rows.poor, &rows.good, PLAN, 2).unwrap().unwrap();
        assert!((swapped.difference + got.difference).abs() < 1e-15 && (swapped.high + got.low).abs() < 1e-12);
        let itself = paired_differences(&sample, &rows.good, &rows.good, PLAN, 2).unwrap();
        for metric in Metric::ALL {
            let none = Difference { difference: 0.0, low: 0.0, high: 0.0 };
            assert_eq!(itself.of(metric), Some(none));
        }
        assert!(!itself.of(Metric::Brier).unwrap().is_more_than_noise());
    }

    #[test]
    fn what_is_not_defined_has_no_interval() {
        let clusters = Clusters::of(&["a", "b", "c"]);
        let one_class = Sample { labels: &[false; 3], weights: None, clusters: &clusters, threshold: 0.5 };
        let got = intervals(&one_class, &[0.1, 0.2, 0.3], PLAN, 2).unwrap();
        assert_eq!(got.of(Metric::RocAuc), None);
        assert_eq!(got.of(Metric::BaseRate), Some(Interval { low: 0.0, high: 0.0 }));
        // One positive of three is missed by (2/3)³ of the draws; the others still give an interval.
        let rare = Sample { labels: &[true, false, false], ..one_class };
        assert!(intervals(&rare, &[0.1, 0.2, 0.3], PLAN, 2).unwrap().of(Metric::AveragePrecision).is_some());
        let none = Clusters::of::<u8>(&[]);
        let empty = Sample { labels: &[], clusters: &none, ..one_class };
        assert_eq!(intervals(&empty, &[], PLAN, 2).unwrap().low, Metrics::default());
    }

    #[test]
    fn wrong_calls_are_errors() {
        let clusters = Clusters::of(&["a", "b"]);
        let two = Sample { labels: &[true, false], weights: None, clusters: &clusters, threshold: 0.5 };
        assert!(intervals(&two, &[0.1], PLAN, 2).is_err());
        assert!(intervals(&Sample { labels: &[true], ..two }, &[0.1], PLAN, 2).is_err());
        let nan = Sample { weights: Some(&[1.0, f64::NAN]), ..two };
        assert_eq!(intervals(&nan, &[0.1, 0.2], PLAN, 2).unwrap_err().kind().code(), 3);
        for plan in [Plan { repetitions: 0, ..PLAN }, Plan { confidence: 1.0, ..PLAN }] {
            assert_eq!(intervals(&two, &[0.1, 0.2], plan, 2).unwrap_err().kind().code(), 2);
        }
    }

    proptest! {
        #[test]
        fn draws_are_fair(n in 1u32..2000, seed in any::<u64>()) {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            let mean = (0..4000).map(|_| f64::from(below(&mut random, n))).sum::<f64>() / 4000.0;
            let deviation = (f64::from(n).powi(2) / 12.0 / 4000.0).sqrt();
            prop_assert!((mean - f64::from(n - 1) / 2.0).abs() <= 6.0 * deviation);
        }

        #[test]
        fn intervals_hold_their_order(seed in any::<u64>(), cut in 0.1f64..0.9) {
            let rows = rows(20, 2, seed);
            let clusters = Clusters::of(&rows.entities);
            let weights: Vec<f64> = rows.poor.iter().map(|p| f64::from(u8::from(*p > cut)) + 0.5).collect();
            let sample = Sample { weights: Some(&weights), ..sample(&rows, &clusters) };
            let got = intervals(&sample, &rows.good, Plan { repetitions: 30, seed, confidence: 0.8 }, 3).unwrap();
            for metric in Metric::ALL {
                if let Some(interval) = got.of(metric) {
                    prop_assert!(interval.low <= interval.high);
                }
            }
        }
    }
}
