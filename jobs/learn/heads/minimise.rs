//! L-BFGS from argmin (D. Liu and J. Nocedal, "On the limited memory BFGS method", 1989), with Moré and Thuente's line
//! search, on a function of ours that gives value and gradient in one pass.

use std::cell::RefCell;

use argmin::core::{CostFunction, Executor, Gradient, State};
use argmin::solver::linesearch::MoreThuenteLineSearch;
use argmin::solver::quasinewton::LBFGS;

use crate::error::{Error, Result};

/// A function with a gradient.
pub trait Smooth {
    fn value_and_gradient(&self, at: &[f64]) -> (f64, Vec<f64>);
}

/// Steps that the curvature is remembered of.
const MEMORY: usize = 10;

/// A gradient this short is a minimum where the line search finds nothing lower in floating point.
const SHORT: f64 = 1e-5;

/// The minimum from `start`, and the steps it took: where the gradient is shorter than `tolerance`, at most `steps`.
///
/// `Data` error where there is no minimum to be found.
pub fn lbfgs(function: &dyn Smooth, start: Vec<f64>, steps: u32, tolerance: f64) -> Result<(Vec<f64>, u32)> {
    let problem = Problem { function, last: RefCell::default(), best: RefCell::default() };
    let search = MoreThuenteLineSearch::new();
    let wrong = |e: argmin::core::Error| Error::internal(format!("L-BFGS: {e}"));
    let solver = LBFGS::new(search, MEMORY).with_tolerance_grad(tolerance).map_err(wrong)?;
    let run = Executor::new(&problem, solver)
        .configure(|state| state.param(start).max_iters(u64::from(steps)))
        .timer(false)
        .run();
    let taken = match run {
        Ok(result) => u32::try_from(result.state().get_iter()).unwrap_or(u32::MAX),
        Err(error) => {
            tracing::debug!("L-BFGS: {error}");
            0
        }
    };
    match problem.best.into_inner() {
        Some(best) if taken > 0 || length(&best.gradient) < SHORT => Ok((best.at, taken.max(1))),
        found => {
            let length = found.map_or(f64::NAN, |best| length(&best.gradient));
            Err(Error::data(format!("the loss has no minimum that can be found (its gradient is {length:e} long)")))
        }
    }
}

fn length(vector: &[f64]) -> f64 {
    vector.iter().map(|x| x * x).sum::<f64>().sqrt()
}

#[derive(Clone)]
struct Point {
    at: Vec<f64>,
    value: f64,
    gradient: Vec<f64>,
}

/// argmin asks for value and gradient apart, as a rule of one point right after the other.
struct Problem<'a> {
    function: &'a dyn Smooth,
    last: RefCell<Option<Point>>,
    best: RefCell<Option<Point>>,
}

impl Problem<'_> {
    fn with<T>(&self, at: &[f64], f: impl Fn(&Point) -> T) -> T {
        if let Some(last) = self.last.borrow().as_ref().filter(|last| last.at == at) {
            return f(last);
        }
        let (value, gradient) = self.function.value_and_gradient(at);
        let point = Point { at: at.to_vec(), value, gradient };
        let lower = self.best.borrow().as_ref().is_none_or(|best| point.value < best.value);
        if lower && point.value.is_finite() {
            *self.best.borrow_mut() = Some(point.clone());
        }
        let out = f(&point);
        *self.last.borrow_mut() = Some(point);
        out
    }
}

impl CostFunction for &Problem<'_> {
    type Param = Vec<f64>;
    type Output = f64;

    fn cost(&self, at: &Vec<f64>) -> Result<f64, argmin::core::Error> {
        Ok(self.with(at, |point| point.value))
    }
}

impl Gradient for &Problem<'_> {
    type Param = Vec<f64>;
    type Gradient = Vec<f64>;

    fn gradient(&self, at: &Vec<f64>) -> Result<Vec<f64>, argmin::core::Error> {
        Ok(self.with(at, |point| point.gradient.clone()))
    }
}
