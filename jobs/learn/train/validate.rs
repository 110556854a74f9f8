//! Which rows train, stop, calibrate and test, and what the models made of the ones say of the others.

use super::super::calibrate::Calibrator;
use super::super::split::{self, PartSummary, TestStart, TimeSplit};
use super::one::{One, Said};
use super::report::Findings;
use super::{Fitted, Fitter, OutOfSample, Part, two_classes};
use crate::define::model::CalibrationKind;
use crate::error::{Context, Error, Result};

/// A model with its calibrator.
struct Made {
    one: One,
    calibrator: Calibrator,
    calibrating: Vec<usize>,
    /// Of the rows that calibrate.
    said: Said,
    trained: Vec<usize>,
    stopped: Vec<usize>,
}

impl Fitter<'_> {
    pub(super) fn by_time(&self, test: TestStart, valid: Option<i64>) -> Result<Fitted> {
        let request = self.request;
        let parts = split::by_time(request.as_of, test, valid, request.embargo)?;
        let made = self.make(&parts, "time")?;
        let (told, tested) = (self.told(&made.trained), self.told(&parts.test));
        let mut findings = Findings::new(self, &told);
        findings.trained(&made.one, &made.calibrator)?;
        let parts_said = [
            (Part::Valid, &made.stopped, self.said(&made.one, &made.stopped)?),
            (Part::Calibration, &made.calibrating, made.said),
            (Part::Test, &tested, self.said(&made.one, &tested)?),
        ];
        for (part, rows, said) in parts_said {
            if !rows.is_empty() {
                findings.part(part, rows, &said, &said.calibrated(&made.calibrator))?;
            }
        }
        findings.dropped(&parts.dropped);
        findings.explain(&made.one, &tested)?;
        findings.finish(made.one, made.calibrator)
    }

    /// Every test part by a model of what was known before it; the last model ships.
    pub(super) fn rolling_origin(&self, folds: u32, test: i64) -> Result<Fitted> {
        let request = self.request;
        let splits = split::rolling(request.as_of, folds, test, request.embargo)?;
        let (mut tested, mut all, mut probabilities) = (Vec::new(), Said::default(), Vec::new());
        let mut last: Option<(Made, Vec<usize>)> = None;
        let mut folds = Vec::new();
        for (number, parts) in splits.iter().enumerate() {
            let context = || format!("fold {} of {}", number + 1, splits.len());
            let made = self.make(parts, &format!("origin/{number}")).with_context(context)?;
            let test = self.told(&parts.test);
            let said = self.said(&made.one, &test).with_context(context)?;
            probabilities.extend(said.calibrated(&made.calibrator));
            folds.push(PartSummary::of(&format!("fold_{}", number + 1), &test, request.labels, request.as_of));
            all.margins.extend(said.margins);
            all.probabilities.extend(said.probabilities);
            tested.extend_from_slice(&test);
            last = Some((made, test));
        }
        let (made, test) = last.ok_or_else(|| Error::internal("a rolling origin without folds"))?;
        let told = self.told(&made.trained);
        let mut findings = Findings::new(self, &told);
        findings.trained(&made.one, &made.calibrator)?;
        if !made.calibrating.is_empty() {
            let calibrated = made.said.calibrated(&made.calibrator);
            findings.part(Part::Calibration, &made.calibrating, &made.said, &calibrated)?;
        }
        findings.part(Part::Test, &tested, &all, &probabilities)?;
        findings.report.parts.extend(folds);
        findings.explain(&made.one, &test)?;
        findings.finish(made.one, made.calibrator)
    }

    /// A model of the training part of a split, stopped and calibrated as the definition says.
    fn make(&self, parts: &TimeSplit, salt: &str) -> Result<Made> {
        let request = self.request;
        two_classes("the training part", request.labels, &self.told(&parts.train))?;
        let (calibrating, trained) = self.hold_out(&parts.train, salt);
        let (more, stopped) = self.hold_out(&parts.valid, salt);
        let (mut calibrating, stopped) = (self.told(&calibrating), self.told(&stopped));
        calibrating.extend(self.told(&more));
        let one = match stopped.is_empty() || !self.stops() {
            false => {
                two_classes("the validation part", request.labels, &stopped)?;
                self.train(&trained, &stopped, request.rounds, &mut |_, _| true)?
            }
            true if parts.valid.is_empty() => self.train_fold(&trained, salt)?,
            true => self.train(&trained, &[], request.rounds, &mut |_, _| true)?,
        };
        let said = self.said(&one, &calibrating)?;
        let calibrator = match calibrating.is_empty() {
            true => Calibrator::None,
            false => self.calibrator(&said, &calibrating)?,
        };
        Ok(Made { one, calibrator, calibrating, said, trained, stopped })
    }

    /// Rows of entities that calibrate, and the rest; none where nothing is calibrated.
    pub(super) fn hold_out(&self, rows: &[usize], salt: &str) -> (Vec<usize>, Vec<usize>) {
        let calibration = self.request.calibration;
        match calibration.kind {
            CalibrationKind::None => (Vec::new(), rows.to_vec()),
            _ => split::hold_out(self.request.entities, rows, calibration.hold_out, &format!("calibrate/{salt}")),
        }
    }

    pub(super) fn cross_validate(&self, folds: u32, seeds: &[u64]) -> Result<Fitted> {
        let request = self.request;
        if seeds.is_empty() {
            return Err(Error::definition("cross-validation: expected at least one seed"));
        }
        let all: Vec<usize> = (0..request.matrix.rows()).collect();
        let told = self.told(&all);
        let mut findings = Findings::new(self, &told);
        let mut sums: Vec<[f64; 3]> = vec![[0.0; 3]; all.len()];
        let (mut rounds, mut pooled, mut seeded) = (Vec::new(), Said::default(), Vec::new());
        let mut every: Vec<usize> = Vec::new();
        for &seed in seeds {
            let assigned = split::by_entity(request.entities, folds, seed)?;
            let mut said = Said { margins: vec![0.0; all.len()], probabilities: vec![0.0; all.len()] };
            for fold in 0..folds {
                let (inside, outside): (Vec<usize>, Vec<usize>) = all.iter().partition(|row| assigned[**row] == fold);
                let context = || format!("fold {} of {folds}, seed {seed}", fold + 1);
                let one = self.train_fold(&outside, &format!("{seed}/{fold}")).with_context(context)?;
                rounds.push(one.learned.rounds);
                let of = self.said(&one, &inside).with_context(context)?;
                for ((row, margin), probability) in inside.iter().zip(of.margins).zip(of.probabilities) {
                    said.margins[*row] = margin;
                    said.probabilities[*row] = probability;
                }
            }
            let probabilities = self.cross_fitted(&said, &assigned, folds)?;
            let of_told: Vec<f64> = told.iter().map(|row| probabilities[*row]).collect();
            seeded.push(findings.evaluate(Part::OutOfFold, &told, &of_told)?);
            for (row, sum) in sums.iter_mut().enumerate() {
                let of = [said.margins[row], said.probabilities[row], probabilities[row]];
                sum.iter_mut().zip(of).for_each(|(sum, x)| *sum += x / seeds.len() as f64);
            }
            every.extend_from_slice(&told);
            pooled.margins.extend(told.iter().map(|row| said.margins[*row]));
            pooled.probabilities.extend(told.iter().map(|row| said.probabilities[*row]));
        }
        let mean_rounds = rounds.iter().map(|r| f64::from(*r)).sum::<f64>() / rounds.len() as f64;
        let one = self.train(&all, &[], (mean_rounds.round() as u32).max(1), &mut |_, _| true)?;
        let calibrator = self.calibrator(&pooled, &every)?;
        let mean = |(row, [margin, uncalibrated, probability]): (usize, [f64; 3])| OutOfSample {
            row,
            part: Part::OutOfFold,
            margin,
            uncalibrated,
            probability,
        };
        findings.out_of_fold(told.iter().map(|row| mean((*row, sums[*row]))).collect(), &seeded)?;
        findings.explain(&one, &told)?;
        findings.finish(one, calibrator)
    }

    /// The probabilities of each fold by a calibrator of the others.
    fn cross_fitted(&self, said: &Said, assigned: &[u32], folds: u32) -> Result<Vec<f64>> {
        if self.request.calibration.kind == CalibrationKind::None {
            return Ok(said.probabilities.clone());
        }
        let mut out = said.probabilities.clone();
        for fold in 0..folds {
            let others: Vec<usize> = (0..assigned.len()).filter(|row| assigned[*row] != fold).collect();
            let others = self.told(&others);
            let of = |values: &[f64]| others.iter().map(|row| values[*row]).collect();
            let others_said = Said { margins: of(&said.margins), probabilities: of(&said.probabilities) };
            let calibrator = self.calibrator(&others_said, &others)?;
            for row in (0..assigned.len()).filter(|row| assigned[*row] == fold) {
                out[row] = calibrator.apply(said.margins[row], said.probabilities[row]);
            }
        }
        Ok(out)
    }
}
