//! The minimum of a smooth convex function by argmin's L-BFGS (D. Liu and J. Nocedal, "On the limited memory BFGS method
//! for large scale optimization", 1989) with the line search of J. Moré and D. Thuente ("Line search algorithms with
//! guaranteed sufficient decrease", 1994). With a penalty λ·‖x‖₁ on top it is OWL-QN (G. Andrew and J. Gao, "Scalable
//! training of L1-regularized log-linear models", 2007) with backtracking to Armijo's condition, as there.
//!
//! argmin asks for value and gradient of a point one after the other; here they cost one pass over the rows together,
//! so the last point's are remembered. A value that is no finite number ends the search: argmin's would go on for ever.

use std::cell::RefCell;

use argmin::core::{
    CostFunction, Error as Stopped, Executor, Gradient, IterState, Solver, State, TerminationReason, TerminationStatus,
};
use argmin::solver::linesearch::condition::ArmijoCondition;
use argmin::solver::linesearch::{BacktrackingLineSearch, MoreThuenteLineSearch};
use argmin::solver::quasinewton::LBFGS;

use crate::error::{Error, Result};

/// A function with a gradient.
pub trait Smooth {
    fn value_and_gradient(&self, at: &[f64]) -> (f64, Vec<f64>);
}

/// Steps whose curvature is remembered.
const MEMORY: usize = 10;

/// A gradient this short, in units of the value at the start, is a minimum where no step is lower in floating point.
const SHORT: f64 = 1e-5;

/// The shortest and the longest step of a line search, in lengths of its direction.
const STEP: (f64, f64) = (1e-20, 1e20);

/// The decrease that Armijo's condition asks for, as a share of what the slope promises.
const DECREASE: f64 = 1e-4;

/// The minimum of the function plus `l1` times the sum of absolute values, from `start`, and the steps it took: where
/// the gradient is shorter than `tolerance`, at most `steps`.
///
/// `Data` error where the function has no minimum that can be found.
pub fn lbfgs(function: &dyn Smooth, start: Vec<f64>, l1: f64, steps: u32, tolerance: f64) -> Result<(Vec<f64>, u32)> {
    let problem = Remembered { function, last: RefCell::default() };
    let short = SHORT * (1.0 + problem.with(&start, |point| point.value.abs()).map_err(failed)?);
    let steps = u64::from(steps.max(1));
    let result = if l1 > 0.0 {
        let solver = LBFGS::new(backtracking()?, MEMORY).with_l1_regularization(l1);
        solver.and_then(|solver| solver.with_tolerance_grad(tolerance)).and_then(|s| run(&problem, s, start, steps))
    } else {
        let solver = LBFGS::new(line_search()?, MEMORY).with_tolerance_grad(tolerance);
        solver.and_then(|solver| run(&problem, solver, start, steps))
    };
    let (found, taken, out_of_steps) = result.map_err(failed)?;
    let length = problem.with(&found, |point| slope(point, l1)).map_err(failed)?;
    if !out_of_steps && length > short.max(tolerance) {
        return Err(Error::data(format!(
            "the loss has no minimum that can be found (its gradient is {length:e} long after {taken} steps)"
        )));
    }
    Ok((found, taken))
}

fn failed(why: Stopped) -> Error {
    Error::data(format!("the loss cannot be minimised: {why}"))
}

type Steps = IterState<Vec<f64>, Vec<f64>, (), (), (), f64>;

/// The best point, the steps taken, and whether there were no more.
fn run<'a, S: Solver<&'a Remembered<'a>, Steps>>(
    problem: &'a Remembered<'a>,
    solver: S,
    start: Vec<f64>,
    steps: u64,
) -> Result<(Vec<f64>, u32, bool), Stopped> {
    let state = |state: Steps| state.param(start).max_iters(steps);
    let result = Executor::new(problem, solver).configure(state).ctrlc(false).run()?;
    let taken = u32::try_from(result.state.get_iter()).unwrap_or(u32::MAX).max(1);
    let found = result.state.get_best_param().cloned().unwrap_or_default();
    let out_of_steps = matches!(
        result.state.get_termination_status(),
        TerminationStatus::Terminated(TerminationReason::MaxItersReached)
    );
    Ok((found, taken, out_of_steps))
}

/// The length of the gradient, or with a penalty that of the steepest of its subgradients at a kink.
fn slope(point: &Point, l1: f64) -> f64 {
    let steepest = |(at, slope): (&f64, &f64)| match *at {
        at if at > 0.0 => slope + l1,
        at if at < 0.0 => slope - l1,
        _ => (slope.abs() - l1).max(0.0),
    };
    point.at.iter().zip(&point.gradient).map(|pair| steepest(pair).powi(2)).sum::<f64>().sqrt()
}

type Backtracking = BacktrackingLineSearch<Vec<f64>, Vec<f64>, ArmijoCondition<f64>, f64>;

fn backtracking() -> Result<Backtracking> {
    let armijo = ArmijoCondition::new(DECREASE).map_err(|why| Error::internal(why.to_string()))?;
    BacktrackingLineSearch::new(armijo).rho(0.5).map_err(|why| Error::internal(why.to_string()))
}

fn line_search() -> Result<MoreThuenteLineSearch<Vec<f64>, Vec<f64>, f64>> {
    MoreThuenteLineSearch::new().with_bounds(STEP.0, STEP.1).map_err(|why| Error::internal(why.to_string()))
}

/// A function that knows its last point's value and gradient.
struct Remembered<'a> {
    function: &'a dyn Smooth,
    last: RefCell<Option<Point>>,
}

struct Point {
    at: Vec<f64>,
    value: f64,
    gradient: Vec<f64>,
}

impl Remembered<'_> {
    fn with<T>(&self, at: &[f64], f: impl FnOnce(&Point) -> T) -> Result<T, Stopped> {
        let mut last = self.last.borrow_mut();
        if let Some(point) = last.as_ref().filter(|point| point.at == at) {
            return Ok(f(point));
        }
        let (value, gradient) = self.function.value_and_gradient(at);
        if !value.is_finite() || gradient.iter().any(|g| !g.is_finite()) {
            return Err(Stopped::msg(format!("its value is {value}")));
        }
        Ok(f(last.insert(Point { at: at.to_vec(), value, gradient })))
    }
}

impl CostFunction for &Remembered<'_> {
    type Param = Vec<f64>;
    type Output = f64;

    fn cost(&self, at: &Vec<f64>) -> Result<f64, Stopped> {
        self.with(at, |point| point.value)
    }
}

impl Gradient for &Remembered<'_> {
    type Param = Vec<f64>;
    type Gradient = Vec<f64>;

    fn gradient(&self, at: &Vec<f64>) -> Result<Vec<f64>, Stopped> {
        self.with(at, |point| point.gradient.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Σ aᵢ (xᵢ − cᵢ)² + b (Σ xᵢ)², whose minimum solves a small linear system.
    struct Bowl {
        a: Vec<f64>,
        c: Vec<f64>,
        b: f64,
    }

    impl Smooth for Bowl {
        fn value_and_gradient(&self, at: &[f64]) -> (f64, Vec<f64>) {
            let sum: f64 = at.iter().sum();
            let each = || at.iter().zip(&self.a).zip(&self.c);
            let value = each().map(|((x, a), c)| a * (x - c).powi(2)).sum::<f64>() + self.b * sum * sum;
            (value, each().map(|((x, a), c)| 2.0 * a * (x - c) + 2.0 * self.b * sum).collect())
        }
    }

    /// Without a lowest point.
    struct Slope;

    impl Smooth for Slope {
        fn value_and_gradient(&self, at: &[f64]) -> (f64, Vec<f64>) {
            (-at[0], vec![-1.0])
        }
    }

    #[test]
    fn a_slope_without_end_is_an_error() {
        let error = lbfgs(&Slope, vec![0.0], 0.0, 100, 1e-9).unwrap_err();
        assert!(error.to_string().contains("no minimum"), "{error}");
    }

    proptest! {
        #[test]
        fn the_minimum_of_a_bowl_is_found(
            each in proptest::collection::vec((0.001f64..100.0, -10.0f64..10.0), 1..12), b in 0.0f64..5.0,
        ) {
            let bowl = Bowl { a: each.iter().map(|e| e.0).collect(), c: each.iter().map(|e| e.1).collect(), b };
            // a (x − c) + b s = 0 with s = Σ x: s = Σ c − b s Σ 1/a.
            let (c, inverse): (f64, f64) = each.iter().fold((0.0, 0.0), |(c, i), e| (c + e.1, i + 1.0 / e.0));
            let sum = c / (1.0 + b * inverse);
            let (found, _) = lbfgs(&bowl, vec![0.0; each.len()], 0.0, 2000, 1e-10).unwrap();
            let best: Vec<f64> = each.iter().map(|(a, c)| c - b * sum / a).collect();
            let [value, least] = [&found, &best].map(|at| bowl.value_and_gradient(at).0);
            prop_assert!(value <= least + 1e-12 * (1.0 + least.abs()), "{value} {least}");
            for (x, expected) in found.iter().zip(&best) {
                prop_assert!((x - expected).abs() < 1e-3, "{x} {expected}");
            }
        }

        /// Apart from each other, the minimum is a step towards 0 by λ / 2a, and 0 for whatever is nearer than that.
        #[test]
        fn a_penalty_on_absolute_values_shrinks_and_leaves_out(
            each in prop::collection::vec((0.1..10.0f64, -5.0..5.0f64), 1..30),
            l1 in 0.01..5.0f64,
        ) {
            let (a, c): (Vec<f64>, Vec<f64>) = each.iter().copied().unzip();
            let bowl = Bowl { a, c, b: 0.0 };
            let (found, _) = lbfgs(&bowl, vec![0.0; each.len()], l1, 2000, 1e-10).unwrap();
            for (found, (a, c)) in found.iter().zip(&each) {
                let expected = c.signum() * (c.abs() - l1 / (2.0 * a)).max(0.0);
                prop_assert!((found - expected).abs() < 1e-4, "{found} and {expected}");
                prop_assert!(expected != 0.0 || *found == 0.0, "{found} is left out");
            }
        }
    }
}
