//! One model on given rows: inputs fitted, rows weighed, a head that learns, and what it then says of any row.

use super::super::calibrate::{Calibrator, HoldOut, Kind};
use super::super::heads::dense::sigmoid;
use super::super::heads::{self, Learned, Margins, Sample, Task, Watch};
use super::super::inputs::{Inputs, Texts};
use super::super::matrix::Class;
use super::super::prior::Prior;
use super::super::split;
use super::{Fitter, two_classes};
use crate::define::model::{CalibrationKind, Direction};
use crate::error::{Error, Result};

/// Of the entities of a training fold, one in so many stops the training.
pub(super) const STOP_EVERY: u32 = 5;

/// A model with how to read its inputs and its output.
pub(super) struct One {
    pub inputs: Inputs,
    pub learned: Learned,
    pub prior: Prior,
    pub model: Box<dyn Margins>,
}

/// What a model says of some rows, in their order.
#[derive(Debug, Clone, Default)]
pub(super) struct Said {
    pub margins: Vec<f64>,
    /// Before calibration.
    pub probabilities: Vec<f64>,
}

impl Said {
    pub fn calibrated(&self, calibrator: &Calibrator) -> Vec<f64> {
        let pairs = self.margins.iter().zip(&self.probabilities);
        pairs.map(|(margin, probability)| calibrator.apply(*margin, *probability)).collect()
    }
}

impl Fitter<'_> {
    /// A model on `rows`, its number of rounds found on entities among them that were held out first.
    pub(super) fn train_fold(&self, rows: &[usize], salt: &str) -> Result<One> {
        let labels = self.request.labels;
        two_classes("the training fold", labels, &self.told(rows))?;
        if !self.stops() {
            return self.train(rows, &[], self.request.rounds, &mut |_, _| true);
        }
        let (stop, train) = split::hold_out(self.request.entities, rows, STOP_EVERY, salt);
        let stop = self.told(&stop);
        two_classes("the part of the training fold that stops early", labels, &stop)?;
        two_classes("the part of the training fold that trains", labels, &self.told(&train))?;
        let found = self.train(&train, &stop, self.request.rounds, &mut |_, _| true)?.learned.rounds;
        self.train(rows, &[], found.max(1), &mut |_, _| true)
    }

    /// Whether the number of rounds is to be found: it is, unless the definition or the head has one already.
    pub(super) fn stops(&self) -> bool {
        self.request.early_stopping.is_some() && heads::stops(self.request.head)
    }

    /// A model on `rows`; with rows in `stop`, and early stopping asked for, cut where the loss on them is least.
    pub(super) fn train(&self, rows: &[usize], stop: &[usize], rounds: u32, watch: &mut Watch) -> Result<One> {
        let request = self.request;
        let texts = Texts { encodings: request.encode, native: request.head.is_trees() };
        let inputs = Inputs::fit(request.matrix, &self.told(rows), texts, self.outcomes())?;
        if inputs.features.is_empty() {
            return Err(Error::data("no input has a value in the training rows"));
        }
        let monotone = self.monotone(&inputs)?;
        let learnable = self.learnable(rows)?;
        let prior = Prior::of(request.class_weight, &learnable.labels);
        let weights = weighed(learnable.weights, &learnable.labels, &prior);
        let train = Sample {
            view: inputs.view(request.matrix, &learnable.rows)?,
            labels: &learnable.labels,
            weights: weights.as_deref(),
        };
        let stop_labels = self.labels(stop);
        // The training part's class weights: the loss must be the one that training lowers.
        let own = request.weights.map(|weights| stop.iter().map(|row| weights[*row]).collect());
        let stop_weights = weighed(own, &stop_labels, &prior);
        let view = inputs.view(request.matrix, stop)?;
        let stop =
            (!stop.is_empty()).then_some(Sample { view, labels: &stop_labels, weights: stop_weights.as_deref() });
        let patience = request.early_stopping;
        let (seed, threads) = (request.seed, request.threads);
        let task = Task { train, stop, rounds, patience, seed, threads, monotone: &monotone };
        let learned = heads::head(request.head, &self.params).learn(&task, watch)?;
        let model = learned.body.load(&inputs.features, learned.rounds, request.threads)?;
        Ok(One { inputs, learned, prior, model })
    }

    fn labels(&self, rows: &[usize]) -> Vec<bool> {
        rows.iter().map(|row| self.request.labels[*row]).collect()
    }

    /// Per feature, the direction its column may push.
    fn monotone(&self, inputs: &Inputs) -> Result<Vec<i8>> {
        for name in self.request.monotone.keys() {
            let of = || inputs.features.iter().filter(|feature| feature.column() == name);
            if let Some(feature) = of().find(|f| f.class == Class::Share || f.value.is_some() || f.is_category()) {
                return Err(Error::definition(format!(
                    "`monotone: {name}`: its values have no order (`{}`); expected a number, an instant, or a text with \
                     `kind: target`",
                    feature.arrow_type
                )));
            }
            if of().next().is_none() {
                return Err(Error::definition(format!("`monotone: {name}` is no input of the model")));
            }
        }
        let direction = |column: &str| match self.request.monotone.get(column) {
            Some(Direction::Increasing) => 1,
            Some(Direction::Decreasing) => -1,
            None => 0,
        };
        Ok(inputs.features.iter().map(|feature| direction(feature.column())).collect())
    }

    /// What a model says of `rows`, each at its own as_of.
    pub(super) fn said(&self, one: &One, rows: &[usize]) -> Result<Said> {
        let margins = one.model.margins(&one.inputs.view(self.request.matrix, rows)?)?;
        let probabilities = margins.iter().map(|margin| one.prior.correct(sigmoid(*margin))).collect();
        Ok(Said { margins, probabilities })
    }

    /// A calibrator fitted on rows that the model has not seen.
    pub(super) fn calibrator(&self, said: &Said, rows: &[usize]) -> Result<Calibrator> {
        let kind = match self.request.calibration.kind {
            CalibrationKind::None => return Ok(Calibrator::None),
            CalibrationKind::Platt => Kind::Platt,
            CalibrationKind::Isotonic => Kind::Isotonic,
        };
        let labels = self.labels(rows);
        two_classes("the part that calibrates", self.request.labels, rows)?;
        let weights: Option<Vec<f64>> = self.request.weights.map(|w| rows.iter().map(|row| w[*row]).collect());
        Calibrator::fit(
            kind,
            &HoldOut {
                margins: &said.margins,
                probabilities: &said.probabilities,
                labels: &labels,
                weights: weights.as_deref(),
            },
        )
    }
}

/// A row's own weight times its class's; `None` where all are 1.
fn weighed(own: Option<Vec<f64>>, labels: &[bool], prior: &Prior) -> Option<Vec<f32>> {
    let classes = prior.weights(labels);
    match (own, classes) {
        (None, classes) => classes,
        (Some(own), None) => Some(own.into_iter().map(|own| own as f32).collect()),
        (Some(own), Some(classes)) => {
            Some(own.into_iter().zip(classes).map(|(own, class)| own as f32 * class).collect())
        }
    }
}
