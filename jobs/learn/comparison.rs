//! Which of several models is best, on the same rows, and whether by more than noise.
//!
//! Every model has said something of every row, once per seed it was trained with; what is said of it is the mean over
//! its seeds, as in [`super::evaluate::over_seeds`]. Intervals are the bootstrap's by entity. The best by a metric is
//! compared with the second by a paired bootstrap, which draws the same entities for both: where its interval leaves out
//! zero, the best is better by more than noise. With many models and metrics some such interval leaves out zero by
//! chance; the confidence is that of one comparison.
//!
//! Beside the metrics stands the default rate among the accepted, where a share of the rows with the lowest risk is
//! accepted: what a lender changes a model for (see [`super::reject`]).

use super::bootstrap::{self, Clusters, Interval, Plan, Sample};
use super::evaluate::{ALL, Segment};
use super::metrics::{Metric, Metrics};
use super::reject::default_rate;
use crate::error::{Error, Result};

/// The name of the default rate among the accepted.
pub const DEFAULT_RATE: &str = "default_rate";

/// The rows that models are compared on.
pub struct Rows<'a> {
    pub labels: &'a [bool],
    pub entities: &'a [String],
    /// Beside `all`, which comes first.
    pub segments: &'a [Segment],
    pub metrics: &'a [Metric],
    /// What counts as called positive in F1.
    pub threshold: f64,
    /// Where the default rate is compared: the share that is accepted.
    pub acceptance_rate: Option<f64>,
    pub plan: Plan,
    /// How many draw; what is drawn does not depend on it.
    pub threads: usize,
}

/// A model, and what it says of the rows, once per seed.
pub struct Contender {
    pub name: String,
    pub scores: Vec<Vec<f64>>,
}

/// One model by one metric on one segment.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    pub contender: usize,
    pub segment: String,
    pub metric: &'static str,
    pub rows: u64,
    pub positives: u64,
    /// None where the rows do not define it.
    pub value: Option<f64>,
    pub interval: Option<Interval>,
    /// Of the best of its segment and metric: how it compares with the second.
    pub lead: Option<Lead>,
}

/// By how much the best leads.
#[derive(Debug, Clone, PartialEq)]
pub struct Lead {
    /// The second best.
    pub over: usize,
    /// Of the metric itself, so below zero where less is better.
    pub difference: f64,
    pub low: f64,
    pub high: f64,
}

impl Lead {
    pub fn is_more_than_noise(&self) -> bool {
        self.low > 0.0 || self.high < 0.0
    }
}

/// All models by all metrics on all segments: segment by segment, model by model, metric by metric.
///
/// Errors as [`bootstrap::intervals`]'s; `Internal` where a model has not said something of every row.
pub fn compare(rows: &Rows, contenders: &[Contender]) -> Result<Vec<Cell>> {
    let count = rows.labels.len();
    for contender in contenders {
        if contender.scores.is_empty() || contender.scores.iter().any(|scores| scores.len() != count) {
            return Err(Error::internal(format!("{} has not said something of each of {count} rows", contender.name)));
        }
    }
    let everywhere = (ALL.to_string(), vec![true; count]);
    let mut cells = Vec::new();
    for (name, flags) in [&everywhere].into_iter().chain(rows.segments.iter().filter(|(name, _)| name != ALL)) {
        cells.extend(Part::new(rows, name, flags).cells(contenders)?);
    }
    Ok(cells)
}

/// The rows of one segment.
struct Part<'a> {
    rows: &'a Rows<'a>,
    segment: &'a str,
    chosen: Vec<usize>,
    labels: Vec<bool>,
    clusters: Clusters,
}

impl<'a> Part<'a> {
    fn new(rows: &'a Rows<'a>, segment: &'a str, flags: &[bool]) -> Part<'a> {
        let chosen: Vec<usize> = (0..rows.labels.len()).filter(|row| flags[*row]).collect();
        let labels = chosen.iter().map(|row| rows.labels[*row]).collect();
        let entities: Vec<&str> = chosen.iter().map(|row| rows.entities[*row].as_str()).collect();
        Part { rows, segment, chosen, labels, clusters: Clusters::of(&entities) }
    }

    fn cells(&self, contenders: &[Contender]) -> Result<Vec<Cell>> {
        let scores: Vec<Vec<Vec<f64>>> = contenders.iter().map(|contender| self.scores(contender)).collect();
        let mut cells: Vec<Cell> = Vec::new();
        for (contender, seeds) in scores.iter().enumerate() {
            cells.extend(self.measured(contender, seeds)?);
        }
        let metrics: Vec<&'static str> = cells.iter().filter(|cell| cell.contender == 0).map(|c| c.metric).collect();
        for metric in metrics {
            let Some((best, second)) = ahead(&cells, metric) else { continue };
            let lead = self.lead(metric, &scores[best], (second, &scores[second][..]))?;
            if let Some(cell) = cells.iter_mut().find(|cell| cell.contender == best && cell.metric == metric) {
                cell.lead = lead;
            }
        }
        Ok(cells)
    }

    fn scores(&self, contender: &Contender) -> Vec<Vec<f64>> {
        let of = |scores: &Vec<f64>| self.chosen.iter().map(|row| scores[*row]).collect();
        contender.scores.iter().map(of).collect()
    }

    fn sample(&self) -> Sample<'_> {
        Sample { labels: &self.labels, weights: None, clusters: &self.clusters, threshold: self.rows.threshold }
    }

    /// What one model reaches, with intervals.
    fn measured(&self, contender: usize, seeds: &[Vec<f64>]) -> Result<Vec<Cell>> {
        let (mut values, mut lows, mut highs) = (Vec::new(), Vec::new(), Vec::new());
        let (mut rates, mut spans) = (Vec::new(), Vec::new());
        for scores in seeds {
            values.push(Metrics::of(&self.labels, scores, self.rows.threshold)?);
            if !self.labels.is_empty() {
                let intervals = bootstrap::intervals(&self.sample(), scores, self.rows.plan, self.rows.threads)?;
                lows.push(intervals.low);
                highs.push(intervals.high);
            }
            if let Some(rate) = self.rows.acceptance_rate {
                rates.push(default_rate(scores, &self.labels, None, rate)?);
                let drawn = |weights: &[f64]| default_rate(scores, &self.labels, Some(weights), rate).ok().flatten();
                spans.push(bootstrap::statistic(&self.clusters, self.rows.plan, drawn));
            }
        }
        let cell = |metric: &'static str, value: Option<f64>, interval: Option<Interval>| Cell {
            contender,
            segment: self.segment.to_string(),
            metric,
            rows: self.labels.len() as u64,
            positives: self.labels.iter().filter(|label| **label).count() as u64,
            value,
            interval: value.and(interval),
            lead: None,
        };
        let of = |sets: &[Metrics], metric: Metric| mean(sets.iter().map(|set| set.get(metric)));
        let both = |low: Option<f64>, high: Option<f64>| Some(Interval { low: low?, high: high? });
        let each = self
            .rows
            .metrics
            .iter()
            .map(|metric| cell(metric.name(), of(&values, *metric), both(of(&lows, *metric), of(&highs, *metric))));
        let mut cells: Vec<Cell> = each.collect();
        if self.rows.acceptance_rate.is_some() {
            let low = mean(spans.iter().map(|span| span.map(|span| span.low)));
            let high = mean(spans.iter().map(|span| span.map(|span| span.high)));
            cells.push(cell(DEFAULT_RATE, mean(rates.into_iter()), both(low, high)));
        }
        Ok(cells)
    }

    /// The paired difference of the best and the second, the mean over their seeds.
    fn lead(&self, metric: &str, best: &[Vec<f64>], (over, second): (usize, &[Vec<f64>])) -> Result<Option<Lead>> {
        let mut found = Vec::new();
        for (one, other) in best.iter().zip(second) {
            found.push(match (Metric::named(metric), self.rows.acceptance_rate) {
                (Some(metric), _) => {
                    bootstrap::paired_difference(metric, &self.sample(), one, other, self.rows.plan, self.rows.threads)?
                        .map(|d| [d.difference, d.low, d.high])
                }
                (None, Some(rate)) => self.rate_difference(one, other, rate)?,
                (None, None) => None,
            });
        }
        let of = |index: usize| mean(found.iter().map(|three| three.map(|three| three[index])));
        let lead = |difference, low, high| Lead { over, difference, low, high };
        Ok(of(0).zip(of(1)).zip(of(2)).map(|((difference, low), high)| lead(difference, low, high)))
    }

    fn rate_difference(&self, one: &[f64], other: &[f64], rate: f64) -> Result<Option<[f64; 3]>> {
        let of =
            |scores: &[f64], weights: &[f64]| default_rate(scores, &self.labels, Some(weights), rate).ok().flatten();
        let gap = |weights: &[f64]| Some(of(one, weights)? - of(other, weights)?);
        let interval = bootstrap::statistic(&self.clusters, self.rows.plan, gap);
        let whole = |scores: &[f64]| default_rate(scores, &self.labels, None, rate);
        let difference = whole(one)?.zip(whole(other)?).map(|(a, b)| a - b);
        Ok(difference.zip(interval).map(|(difference, interval)| [difference, interval.low, interval.high]))
    }
}

/// The best and the second by a metric; the first of equals comes first.
fn ahead(cells: &[Cell], metric: &str) -> Option<(usize, usize)> {
    let higher = Metric::named(metric).map_or(Some(false), Metric::higher_is_better)?;
    let mut order: Vec<(f64, usize)> = cells
        .iter()
        .filter(|cell| cell.metric == metric)
        .filter_map(|cell| Some((cell.value?, cell.contender)))
        .map(|(value, contender)| (if higher { -value } else { value }, contender))
        .collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    match order[..] {
        [(_, best), (_, second), ..] => Some((best, second)),
        _ => None,
    }
}

/// None where any is none, or there are none.
fn mean(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let values: Vec<f64> = values.collect::<Option<_>>()?;
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const METRICS: [Metric; 3] = [Metric::RocAuc, Metric::AveragePrecision, Metric::Brier];

    struct World {
        labels: Vec<bool>,
        entities: Vec<String>,
        truth: Vec<f64>,
        noisy: Vec<f64>,
        segments: Vec<Segment>,
    }

    fn world() -> World {
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let truth: Vec<f64> = (0..2000).map(|_| random.random_range(0.02..0.6)).collect();
        World {
            labels: truth.iter().map(|p| random.random_bool(*p)).collect(),
            entities: (0..2000).map(|row| format!("u{}", row / 2)).collect(),
            noisy: truth.iter().map(|p| p + random.random_range(-0.3..0.3)).collect(),
            segments: vec![("odd".into(), (0..2000).map(|r| r % 2 == 1).collect()), ("none".into(), vec![false; 2000])],
            truth,
        }
    }

    fn rows(world: &World) -> Rows<'_> {
        Rows {
            labels: &world.labels,
            entities: &world.entities,
            segments: &world.segments,
            metrics: &METRICS,
            threshold: 0.3,
            acceptance_rate: Some(0.5),
            plan: Plan { repetitions: 200, seed: 1, confidence: 0.95 },
            threads: 2,
        }
    }

    fn contender(name: &str, scores: &[&[f64]]) -> Contender {
        Contender { name: name.into(), scores: scores.iter().map(|scores| scores.to_vec()).collect() }
    }

    fn find<'a>(cells: &'a [Cell], contender: usize, segment: &str, metric: &str) -> &'a Cell {
        cells.iter().find(|c| c.contender == contender && c.segment == segment && c.metric == metric).unwrap()
    }

    #[test]
    fn who_knows_more_is_best_by_more_than_noise() {
        let world = world();
        let all = [contender("noisy", &[&world.noisy]), contender("truth", &[&world.truth])];
        let cells = compare(&rows(&world), &all).unwrap();
        assert_eq!(cells.len(), 3 * 2 * 4);
        for (metric, sign) in [("roc_auc", 1.0), ("average_precision", 1.0), ("brier", -1.0), (DEFAULT_RATE, -1.0)] {
            let lead = find(&cells, 1, "all", metric).lead.clone().unwrap();
            assert!(lead.over == 0 && lead.is_more_than_noise() && lead.difference * sign > 0.0, "{metric}: {lead:?}");
            assert_eq!(find(&cells, 0, "all", metric).lead, None);
        }
        let cell = find(&cells, 1, "odd", "roc_auc");
        let interval = cell.interval.unwrap();
        assert!(cell.rows == 1000 && interval.low < cell.value.unwrap() && cell.value.unwrap() < interval.high);
        let empty = find(&cells, 1, "none", "roc_auc");
        assert_eq!((empty.rows, empty.value, &empty.lead), (0, None, &None));
    }

    #[test]
    fn equals_differ_by_more_than_noise_as_rarely_as_the_confidence_says() {
        let world = world();
        let mut marked = 0;
        for draw in 0..20 {
            // Both know the truth but for an error of their own.
            let mut random = ChaCha8Rng::seed_from_u64(draw);
            let mut shaken = || world.truth.iter().map(|p| p + random.random_range(-0.2..0.2)).collect::<Vec<f64>>();
            let (one, other) = (shaken(), shaken());
            let all = [contender("one", &[&one]), contender("other", &[&other]), contender("same", &[&other])];
            let metrics = [Metric::RocAuc];
            let rows = Rows { metrics: &metrics, segments: &[], acceptance_rate: None, ..rows(&world) };
            let cells = compare(&rows, &all).unwrap();
            let leads: Vec<&Lead> = cells.iter().filter_map(|cell| cell.lead.as_ref()).collect();
            assert_eq!(leads.len(), 1);
            if leads[0].difference == 0.0 {
                assert!(!leads[0].is_more_than_noise(), "the same scores: {leads:?}");
            } else {
                marked += u32::from(leads[0].is_more_than_noise());
            }
        }
        assert!(marked <= 4, "{marked} of 20 leads of equals are marked");
    }

    #[test]
    fn seeds_are_averaged() {
        let world = world();
        let one = |scores: &[&[f64]]| {
            let all = [contender("x", scores), contender("y", &[&world.noisy[..], &world.noisy[..]][..scores.len()])];
            compare(&rows(&world), &all).unwrap()
        };
        let value = |cells: &[Cell]| find(cells, 0, "all", "roc_auc").value.unwrap();
        let (a, b) = (value(&one(&[&world.truth])), value(&one(&[&world.noisy])));
        let both = value(&one(&[&world.truth, &world.noisy]));
        assert!((both - (a + b) / 2.0).abs() < 1e-12 && a > b);
        let missing = [contender("x", &[&world.truth[1..]]), contender("y", &[&world.noisy])];
        assert!(compare(&rows(&world), &missing).is_err());
    }
}
