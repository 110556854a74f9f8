//! The minimum of a smooth convex function: L-BFGS (D. Liu and J. Nocedal, "On the limited memory BFGS method for large
//! scale optimization", 1989; the two-loop recursion of J. Nocedal, 1980), with the bisecting line search for the weak
//! Wolfe conditions of A. Lewis and M. Overton ("Nonsmooth optimization via quasi-Newton methods", 2013).

use std::collections::VecDeque;

use crate::error::{Error, Result};

/// A function with a gradient.
pub trait Smooth {
    fn value_and_gradient(&self, at: &[f64]) -> (f64, Vec<f64>);
}

/// Steps whose curvature is remembered.
const MEMORY: usize = 10;

/// A gradient this short is a minimum where no step is lower in floating point.
const SHORT: f64 = 1e-5;

/// Bisections of one line search.
const BISECTIONS: u32 = 60;

/// The minimum from `start`, and the steps it took: where the gradient is shorter than `tolerance`, at most `steps`.
///
/// `Data` error where the function has no minimum that can be found.
pub fn lbfgs(function: &dyn Smooth, start: Vec<f64>, steps: u32, tolerance: f64) -> Result<(Vec<f64>, u32)> {
    let (value, gradient) = function.value_and_gradient(&start);
    let mut now = Point { at: start, value, gradient };
    let mut curvature: VecDeque<Curvature> = VecDeque::with_capacity(MEMORY);
    for step in 0..steps.max(1) {
        let length = dot(&now.gradient, &now.gradient).sqrt();
        if length <= tolerance {
            return Ok((now.at, step.max(1)));
        }
        // The first step knows no scale; the others have one that is as a rule taken as it is.
        let first = if curvature.is_empty() { 1.0 / length.max(1.0) } else { 1.0 };
        let direction = direction(&now.gradient, &curvature);
        let Some(next) = line_search(function, &now, &direction, first) else {
            if length < SHORT {
                return Ok((now.at, step.max(1)));
            }
            return Err(Error::data(format!(
                "the loss has no minimum that can be found (its gradient is {length:e} long after {step} steps)"
            )));
        };
        let moved: Vec<f64> = next.at.iter().zip(&now.at).map(|(a, b)| a - b).collect();
        let turned: Vec<f64> = next.gradient.iter().zip(&now.gradient).map(|(a, b)| a - b).collect();
        let product = dot(&moved, &turned);
        if product > 0.0 {
            if curvature.len() == MEMORY {
                curvature.pop_front();
            }
            curvature.push_back(Curvature { moved, turned, product });
        }
        now = next;
    }
    Ok((now.at, steps.max(1)))
}

struct Point {
    at: Vec<f64>,
    value: f64,
    gradient: Vec<f64>,
}

/// How the gradient turned along a step.
struct Curvature {
    moved: Vec<f64>,
    turned: Vec<f64>,
    product: f64,
}

/// Minus the gradient, times the inverse of the curvature as far as it is known.
fn direction(gradient: &[f64], curvature: &VecDeque<Curvature>) -> Vec<f64> {
    let mut direction: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let mut factors = Vec::with_capacity(curvature.len());
    for step in curvature.iter().rev() {
        let factor = dot(&step.moved, &direction) / step.product;
        add(&mut direction, -factor, &step.turned);
        factors.push(factor);
    }
    if let Some(last) = curvature.back() {
        let scale = last.product / dot(&last.turned, &last.turned);
        direction.iter_mut().for_each(|d| *d *= scale);
    }
    for (step, factor) in curvature.iter().zip(factors.into_iter().rev()) {
        let back = dot(&step.turned, &direction) / step.product;
        add(&mut direction, factor - back, &step.moved);
    }
    direction
}

/// A point along the direction that is enough lower and enough flatter; none where floating point has none.
fn line_search(function: &dyn Smooth, from: &Point, direction: &[f64], first: f64) -> Option<Point> {
    let slope = dot(&from.gradient, direction);
    let (mut low, mut high, mut length) = (0.0, f64::INFINITY, first);
    for _ in 0..BISECTIONS {
        let mut at = from.at.clone();
        add(&mut at, length, direction);
        let (value, gradient) = function.value_and_gradient(&at);
        if !value.is_finite() || value > from.value + 1e-4 * length * slope {
            high = length;
        } else if dot(&gradient, direction) < 0.9 * slope {
            low = length;
        } else {
            return (value < from.value || gradient != from.gradient).then_some(Point { at, value, gradient });
        }
        length = if high.is_finite() { (low + high) / 2.0 } else { 2.0 * low };
    }
    None
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(to: &mut [f64], factor: f64, of: &[f64]) {
    to.iter_mut().zip(of).for_each(|(to, of)| *to += factor * of);
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
        let error = lbfgs(&Slope, vec![0.0], 100, 1e-9).unwrap_err();
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
            let (found, _) = lbfgs(&bowl, vec![0.0; each.len()], 2000, 1e-10).unwrap();
            for (x, (a, c)) in found.iter().zip(&each) {
                prop_assert!((x - (c - b * sum / a)).abs() < 1e-5, "{x} {}", c - b * sum / a);
            }
        }
    }
}
