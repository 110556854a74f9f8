//! What is told of a training: metrics with intervals, curves, importances, contributions, and what deserves a look.

use rand::SeedableRng;
use rand::seq::index::sample;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::super::baseline::Baseline;
use super::super::bootstrap::{self, Clusters, Plan};
use super::super::calibrate::{self, Calibrator};
use super::super::curves::{self, HistogramBin, LiftBin, PrecisionRecallPoint, ReliabilityBin, RocPoint};
use super::super::evaluate::{self, ALL, Evaluation};
use super::super::heads::stops;
use super::super::metrics::Metrics;
use super::super::ranked::Ranked;
use super::super::search::Found;
use super::super::split::PartSummary;
use super::super::stability::{BINS, Reference};
use super::one::{One, Said};
use super::{Fitted, Fitter, OutOfSample, Part};
use crate::define::model::HeadKind;
use crate::error::Result;

/// What a feature contributes to the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Importance {
    pub feature: String,
    /// Of trees: the sum of the loss reductions of its splits. Of linear heads: the sum of the sizes of its weights on
    /// standardised columns. Of a perceptron: by how much the loss rises when it is shuffled.
    pub gain: f64,
    /// Of trees: the number of its splits; of others 1 where it is used.
    pub split: f64,
}

/// How much an input moves margins, on rows out of sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Contribution {
    pub feature: String,
    /// Mean of the size of its contributions.
    pub mean_absolute: f64,
    /// Mean of its contributions: which way it pushes these rows against those of training.
    pub mean: f64,
}

/// What calibration did to rows out of sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CalibrationReport {
    pub kind: calibrate::Kind,
    pub error_before: Option<f64>,
    pub error_after: Option<f64>,
    pub before: Vec<ReliabilityBin>,
    pub after: Vec<ReliabilityBin>,
}

/// What a training reports, as stored beside the model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub parts: Vec<PartSummary>,
    /// How the intervals were drawn.
    pub bootstrap: Option<Plan>,
    pub evaluations: Vec<Evaluation>,
    pub calibration: Option<CalibrationReport>,
    /// By gain, largest first.
    pub importances: Vec<Importance>,
    /// By mean size, largest first; none for heads that do not explain.
    #[serde(default)]
    pub contributions: Vec<Contribution>,
    /// Things worth a look that did not stop the training.
    pub warnings: Vec<String>,
    /// Of a definition that looks for parameters: what was found, and is trained with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<Found>,
}

/// Curves of all rows out of sample.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Curves {
    pub roc: Vec<RocPoint>,
    pub precision_recall: Vec<PrecisionRecallPoint>,
    pub reliability: Vec<ReliabilityBin>,
    pub lift: Vec<LiftBin>,
    pub histogram: Vec<HistogramBin>,
}

impl Report {
    /// Metrics of all rows out of sample.
    pub fn out_of_sample(&self) -> Option<&Evaluation> {
        let named = |e: &&Evaluation| [Part::Test, Part::OutOfFold].iter().any(|part| e.part == part.name());
        self.evaluations.iter().filter(named).find(|e| e.segment == ALL)
    }
}

/// Repetitions of the bootstrap, and how sure its intervals are.
const REPETITIONS: u32 = 500;
const CONFIDENCE: f64 = 0.95;

/// Rows that trained whose metrics are told: enough to see a model that learned them by heart.
const MEASURED: usize = 20_000;

/// Rows that trained whose inputs later nights are compared with.
const DESCRIBED: usize = 50_000;

/// Rows whose contributions are summarised.
const EXPLAINED: usize = 1000;

const HISTOGRAM_BINS: usize = 50;

/// What a training found, growing part by part.
pub(super) struct Findings<'a, 'b> {
    fitter: &'a Fitter<'b>,
    plan: Plan,
    trained: Vec<usize>,
    pub report: Report,
    predictions: Vec<OutOfSample>,
}

impl<'a, 'b> Findings<'a, 'b> {
    /// `trained`: the rows of the model that ships.
    pub fn new(fitter: &'a Fitter<'b>, trained: &[usize]) -> Findings<'a, 'b> {
        let plan = Plan { repetitions: REPETITIONS, seed: u64::from(fitter.request.seed), confidence: CONFIDENCE };
        let report = Report { bootstrap: Some(plan), ..Report::default() };
        Findings { fitter, plan, trained: trained.to_vec(), report, predictions: Vec::new() }
    }

    /// What a model says of the rows that trained it.
    pub fn trained(&mut self, one: &One, calibrator: &Calibrator) -> Result<()> {
        self.report.parts.push(self.summary(Part::Train.name(), &self.trained));
        let rows = self.some_of(&self.trained, MEASURED);
        let said = self.fitter.said(one, &rows)?;
        let evaluations = self.evaluate(Part::Train, &rows, &said.calibrated(calibrator))?;
        self.report.evaluations.extend(evaluations);
        Ok(())
    }

    /// What was said of the rows of another part.
    pub fn part(&mut self, part: Part, rows: &[usize], said: &Said, probabilities: &[f64]) -> Result<()> {
        self.report.parts.push(self.summary(part.name(), rows));
        let evaluations = self.evaluate(part, rows, probabilities)?;
        self.report.evaluations.extend(evaluations);
        self.predictions.extend(rows.iter().enumerate().map(|(at, &row)| OutOfSample {
            row,
            part,
            margin: said.margins[at],
            uncalibrated: said.probabilities[at],
            probability: probabilities[at],
        }));
        Ok(())
    }

    /// Out-of-fold predictions, averaged over seeds, with the evaluations of each seed.
    pub fn out_of_fold(&mut self, predictions: Vec<OutOfSample>, seeded: &[Vec<Evaluation>]) -> Result<()> {
        let rows: Vec<usize> = predictions.iter().map(|p| p.row).collect();
        self.report.parts.push(self.summary(Part::OutOfFold.name(), &rows));
        self.report.evaluations = evaluate::over_seeds(seeded);
        self.predictions = predictions;
        Ok(())
    }

    pub fn dropped(&mut self, rows: &[usize]) {
        self.report.parts.push(self.summary("dropped", rows));
    }

    fn summary(&self, part: &str, rows: &[usize]) -> PartSummary {
        PartSummary::of(part, rows, self.fitter.request.labels, self.fitter.request.as_of)
    }

    /// Metrics by segment, with intervals where the rows are out of sample.
    pub fn evaluate(&self, part: Part, rows: &[usize], probabilities: &[f64]) -> Result<Vec<Evaluation>> {
        let request = self.fitter.request;
        let (labels, threshold) = (request.labels, request.threshold);
        let mut all = evaluate::evaluate(part.name(), rows, probabilities, labels, request.segments, threshold)?;
        if !part.is_out_of_sample() {
            return Ok(all);
        }
        for evaluation in &mut all {
            let flags = request.segments.iter().find(|(name, _)| *name == evaluation.segment).map(|(_, flags)| flags);
            let inside = |at: &usize| flags.is_none_or(|flags| flags[rows[*at]]);
            let chosen: Vec<usize> = (0..rows.len()).filter(inside).collect();
            if chosen.is_empty() {
                continue;
            }
            let labels: Vec<bool> = chosen.iter().map(|at| labels[rows[*at]]).collect();
            let scores: Vec<f64> = chosen.iter().map(|at| probabilities[*at]).collect();
            let entities: Vec<&str> = chosen.iter().map(|at| request.entities[rows[*at]].as_str()).collect();
            let clusters = Clusters::of(&entities);
            let sample = bootstrap::Sample { labels: &labels, weights: None, clusters: &clusters, threshold };
            let intervals = bootstrap::intervals(&sample, &scores, self.plan, request.threads)?;
            evaluation.low = Some(intervals.low);
            evaluation.high = Some(intervals.high);
        }
        Ok(all)
    }

    /// At most so many of `rows`, in order: the same for the same seed.
    fn some_of(&self, rows: &[usize], most: usize) -> Vec<usize> {
        let mut rng = ChaCha8Rng::seed_from_u64(u64::from(self.fitter.request.seed));
        let drawn = sample(&mut rng, rows.len(), most.min(rows.len()));
        let mut chosen: Vec<usize> = drawn.into_iter().map(|at| rows[at]).collect();
        chosen.sort_unstable();
        chosen
    }

    /// What the inputs of a model contribute to a sample of `rows`.
    pub fn explain(&mut self, one: &One, rows: &[usize]) -> Result<()> {
        let request = self.fitter.request;
        if !request.head.explains() {
            return Ok(());
        }
        let chosen = self.some_of(rows, EXPLAINED);
        let names: Vec<&str> = one.inputs.features.iter().map(|feature| feature.column()).collect();
        let mut columns: Vec<&str> = names.clone();
        columns.dedup();
        let mut sums: Vec<[f64; 2]> = vec![[0.0; 2]; columns.len()];
        one.model.contributions(&one.inputs.view(request.matrix, &chosen)?, &mut |_, block| {
            for row in block.chunks_exact(names.len() + 1) {
                let mut of = vec![0.0; columns.len()];
                let mut column = 0;
                for (name, number) in names.iter().zip(row) {
                    column += usize::from(*name != columns[column]);
                    of[column] += number;
                }
                sums.iter_mut().zip(of).for_each(|(sum, x)| {
                    sum[0] += x.abs();
                    sum[1] += x;
                });
            }
            Ok(())
        })?;
        let count = chosen.len().max(1) as f64;
        let of = |(name, [absolute, sum]): (&&str, [f64; 2])| Contribution {
            feature: name.to_string(),
            mean_absolute: absolute / count,
            mean: sum / count,
        };
        self.report.contributions = columns.iter().zip(sums).map(of).collect();
        let by_size = |a: &Contribution, b: &Contribution| {
            b.mean_absolute.total_cmp(&a.mean_absolute).then_with(|| a.feature.cmp(&b.feature))
        };
        self.report.contributions.sort_by(by_size);
        Ok(())
    }

    /// The model that ships, with all that was found.
    pub fn finish(mut self, one: One, calibrator: Calibrator) -> Result<Fitted> {
        let request = self.fitter.request;
        self.predictions.sort_by_key(|p| p.row);
        let out: Vec<&OutOfSample> = self.predictions.iter().filter(|p| p.part.is_out_of_sample()).collect();
        let labels: Vec<bool> = out.iter().map(|p| request.labels[p.row]).collect();
        let probabilities: Vec<f64> = out.iter().map(|p| p.probability).collect();
        let uncalibrated: Vec<f64> = out.iter().map(|p| p.uncalibrated).collect();
        let ranked = Ranked::new(&labels, &probabilities, None)?;
        let curves = Curves {
            roc: curves::roc(&ranked),
            precision_recall: curves::precision_recall(&ranked),
            reliability: curves::reliability(&ranked),
            lift: curves::lift(&ranked),
            histogram: curves::histogram(&labels, &probabilities, None, HISTOGRAM_BINS, Some((0.0, 1.0)))?,
        };
        if calibrator.kind() != calibrate::Kind::None {
            let error = |scores: &[f64]| {
                Ok::<_, crate::error::Error>(Metrics::of(&labels, scores, request.threshold)?.calibration_error)
            };
            self.report.calibration = Some(CalibrationReport {
                kind: calibrator.kind(),
                error_before: error(&uncalibrated)?,
                error_after: error(&probabilities)?,
                before: curves::reliability(&Ranked::new(&labels, &uncalibrated, None)?),
                after: curves.reliability.clone(),
            });
        }
        let positives = self.trained.iter().filter(|row| request.labels[**row]).count();
        let base_rate = positives as f64 / self.trained.len().max(1) as f64;
        let described = self.some_of(&self.trained, DESCRIBED);
        let mut baseline = Baseline::of(request.matrix, &one.inputs.features, &described, base_rate, request.threads)?;
        baseline.probabilities = Some(Reference::numeric(&probabilities, BINS)?);
        let constant = probabilities.windows(2).all(|pair| pair[0] == pair[1]);
        self.report.importances = importances(&one);
        self.report.warnings = self.warnings(&one, &baseline, constant);
        Ok(Fitted {
            head: request.head,
            body: one.learned.body,
            best_iteration: one.learned.rounds,
            features: one.inputs.features,
            prior: one.prior,
            calibrator,
            report: self.report,
            curves,
            baseline,
            predictions: self.predictions,
        })
    }

    fn warnings(&self, one: &One, baseline: &Baseline, constant: bool) -> Vec<String> {
        let request = self.fitter.request;
        let mut warnings = Vec::new();
        let used = self.report.importances.iter().any(|importance| importance.split != 0.0);
        if !used && request.head.is_trees() {
            warnings.push(
                "the model splits on no feature and gives every row the same probability: its inputs are constant or \
                 tell nothing about the label, or there are too few rows for `min_data_in_leaf` (20 by default)"
                    .to_string(),
            );
        } else if constant {
            warnings.push("the model gives every row out of sample the same probability".to_string());
        } else if one.learned.rounds == request.rounds {
            let all = format!("all {} rounds were used before the loss stopped falling; allow more", request.rounds);
            match request.head {
                HeadKind::Logistic | HeadKind::LinearSvm => warnings.push(all + ", or a larger `tol`"),
                head if stops(head) && request.early_stopping.is_some() => warnings.push(all),
                _ => {}
            }
        }
        let still: Vec<&str> = baseline.inputs.iter().filter(|i| i.is_constant()).map(|i| i.feature.as_str()).collect();
        if !still.is_empty() {
            warnings.push(format!(
                "inputs that have one value or none in {} training rows tell nothing: {}; they stay inputs, and a \
                 value they take later is scored unlearned",
                baseline.rows,
                still.join(", ")
            ));
        }
        for (name, _) in request.segments {
            let empty = |e: &Evaluation| e.segment == *name && e.rows == 0 && e.part != Part::Train.name();
            if self.report.evaluations.iter().any(empty) {
                warnings.push(format!("segment `{name}` has no rows in some part, and no metrics there"));
            }
        }
        if request.head == HeadKind::LinearSvm
            && request.calibration.kind == crate::define::model::CalibrationKind::None
        {
            warnings.push("the probabilities of a linear_svm head mean nothing without calibration".to_string());
        }
        warnings
    }
}

fn importances(one: &One) -> Vec<Importance> {
    let each = one.inputs.features.iter().zip(&one.learned.importances);
    let of =
        each.map(|(feature, (gain, split))| Importance { feature: feature.name.clone(), gain: *gain, split: *split });
    let mut all: Vec<Importance> = of.collect();
    all.sort_by(|a, b| b.gain.total_cmp(&a.gain).then_with(|| a.feature.cmp(&b.feature)));
    all
}
