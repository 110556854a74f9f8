//! A feed-forward network with rectified hidden layers and one output, the log odds; and its gradient.
//!
//! Scoring goes row by row in one fixed order of additions, so that a row's margin is the same alone and in any block.
//! Training multiplies whole blocks with `matrixmultiply`. The gradient is held to finite differences by a test.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::super::exact;
use super::dense::{sigmoid, softplus};

/// From one layer's outputs to the next one's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layer {
    /// Inputs × outputs, row-major.
    #[serde(with = "exact::many")]
    pub weights: Vec<f64>,
    /// Per output.
    #[serde(with = "exact::many")]
    pub biases: Vec<f64>,
}

impl Layer {
    fn outputs(&self) -> usize {
        self.biases.len()
    }

    fn inputs(&self) -> usize {
        self.weights.len() / self.outputs().max(1)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Network {
    pub layers: Vec<Layer>,
}

impl Network {
    /// Layers of these widths, the first being the inputs', before one output; drawn as X. Glorot and Y. Bengio do
    /// ("Understanding the difficulty of training deep feedforward neural networks", 2010).
    pub fn random(widths: &[usize], rng: &mut ChaCha8Rng) -> Network {
        let outputs = widths[1..].iter().chain([&1]);
        let layer = |(inputs, outputs): (&usize, &usize)| {
            let bound = (6.0 / (inputs + outputs) as f64).sqrt();
            let weights = (0..inputs * outputs).map(|_| rng.random_range(-bound..bound)).collect();
            Layer { weights, biases: vec![0.0; *outputs] }
        };
        Network { layers: widths.iter().zip(outputs).map(layer).collect() }
    }

    /// Whether the layers fit each other and `width` inputs, and all numbers are some.
    pub fn check(&self, width: usize) -> Result<(), String> {
        let mut inputs = width;
        for layer in &self.layers {
            if layer.weights.len() != inputs * layer.outputs() || layer.outputs() == 0 {
                return Err(format!("has a layer that does not fit {inputs} inputs"));
            }
            if layer.weights.iter().chain(&layer.biases).any(|w| !w.is_finite()) {
                return Err("holds weights that are no numbers".into());
            }
            inputs = layer.outputs();
        }
        if inputs == 1 && !self.layers.is_empty() { Ok(()) } else { Err("has no single output".into()) }
    }

    /// The margin of one row.
    pub fn margin(&self, row: &[f64], buffers: &mut [Vec<f64>; 2]) -> f64 {
        let [now, next] = buffers;
        now.clear();
        now.extend_from_slice(row);
        for (number, layer) in self.layers.iter().enumerate() {
            next.clear();
            next.extend_from_slice(&layer.biases);
            for (input, weights) in now.iter().zip(layer.weights.chunks_exact(layer.outputs())) {
                next.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += input * weight);
            }
            if number + 1 < self.layers.len() {
                next.iter_mut().for_each(|output| *output = output.max(0.0));
            }
            std::mem::swap(now, next);
        }
        now[0]
    }

    /// The weighted mean of the log loss of some rows, and its gradient, in the shape of the network.
    pub fn loss_and_gradient(&self, rows: &Batch) -> (f64, Vec<Layer>) {
        let count = rows.labels.len();
        let mut outputs: Vec<Vec<f64>> = Vec::with_capacity(self.layers.len());
        for (number, layer) in self.layers.iter().enumerate() {
            let input = number.checked_sub(1).map_or(rows.numbers, |before| outputs[before].as_slice());
            let mut output: Vec<f64> = layer.biases.iter().copied().cycle().take(count * layer.outputs()).collect();
            multiply((count, layer.inputs(), layer.outputs()), (input, false), (&layer.weights, false), &mut output);
            if number + 1 < self.layers.len() {
                output.iter_mut().for_each(|x| *x = x.max(0.0));
            }
            outputs.push(output);
        }
        let total: f64 = rows.weights.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        let margins = outputs.last().map(Vec::as_slice).unwrap_or_default();
        let mut loss = 0.0;
        let mut back = Vec::with_capacity(count);
        for ((z, y), s) in margins.iter().zip(rows.labels).zip(rows.weights) {
            loss += s * (softplus(*z) - y * z) / total;
            back.push(s * (sigmoid(*z) - y) / total);
        }
        (loss, self.backward(rows, &outputs, back))
    }

    fn backward(&self, rows: &Batch, outputs: &[Vec<f64>], mut back: Vec<f64>) -> Vec<Layer> {
        let count = rows.labels.len();
        let mut gradient = Vec::with_capacity(self.layers.len());
        for (number, layer) in self.layers.iter().enumerate().rev() {
            let (ins, outs) = (layer.inputs(), layer.outputs());
            let input = number.checked_sub(1).map_or(rows.numbers, |before| outputs[before].as_slice());
            let mut weights = vec![0.0; ins * outs];
            multiply((ins, count, outs), (input, true), (&back, false), &mut weights);
            let mut biases = vec![0.0; outs];
            for row in back.chunks_exact(outs) {
                biases.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
            }
            if number > 0 {
                let mut before = vec![0.0; count * ins];
                multiply((count, outs, ins), (&back, false), (&layer.weights, true), &mut before);
                // The slope of the rectifier: 0 where it gave 0.
                before.iter_mut().zip(input).filter(|(_, output)| **output <= 0.0).for_each(|(x, _)| *x = 0.0);
                back = before;
            }
            gradient.push(Layer { weights, biases });
        }
        gradient.reverse();
        gradient
    }
}

/// Rows to learn from at once.
pub struct Batch<'a> {
    /// Row-major.
    pub numbers: &'a [f64],
    pub labels: &'a [f64],
    pub weights: &'a [f64],
}

/// `out += a · b`, m × k times k × n, all row-major; a factor whose flag is set is stored transposed.
fn multiply((m, k, n): (usize, usize, usize), a: (&[f64], bool), b: (&[f64], bool), out: &mut [f64]) {
    debug_assert!(a.0.len() == m * k && b.0.len() == k * n && out.len() == m * n);
    if a.0.len() < m * k || b.0.len() < k * n || out.len() < m * n {
        return;
    }
    let strides = |transposed: bool, rows: usize, columns: usize| match transposed {
        true => (1, rows as isize),
        false => (columns as isize, 1),
    };
    let ((ar, ac), (br, bc)) = (strides(a.1, m, k), strides(b.1, k, n));
    // SAFETY: the lengths were checked, and the strides reach no further than they do.
    unsafe {
        matrixmultiply::dgemm(
            m,
            k,
            n,
            1.0,
            a.0.as_ptr(),
            ar,
            ac,
            b.0.as_ptr(),
            br,
            bc,
            1.0,
            out.as_mut_ptr(),
            n as isize,
            1,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{ProptestConfig, prop_assert, proptest};
    use rand::SeedableRng;

    struct Rows {
        numbers: Vec<f64>,
        labels: Vec<f64>,
        weights: Vec<f64>,
    }

    fn rows(count: usize, width: usize, rng: &mut ChaCha8Rng) -> Rows {
        Rows {
            numbers: (0..count * width).map(|_| rng.random_range(-2.0..2.0)).collect(),
            labels: (0..count).map(|_| f64::from(u8::from(rng.random_bool(0.4)))).collect(),
            weights: (0..count).map(|_| rng.random_range(0.0..3.0)).collect(),
        }
    }

    impl Rows {
        fn batch(&self) -> Batch<'_> {
            Batch { numbers: &self.numbers, labels: &self.labels, weights: &self.weights }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn the_gradient_is_what_small_steps_say(seed in 0u64..10_000, count in 1usize..20, width in 1usize..5) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let rows = rows(count, width, &mut rng);
            let mut network = Network::random(&[width, 4, 3], &mut rng);
            // Where a layer gives 0 throughout, a bias of 0 would lie right where the rectifier bends.
            network.layers.iter_mut().flat_map(|layer| &mut layer.biases).for_each(|b| *b = rng.random_range(-1.0..1.0));
            let (_, gradient) = network.loss_and_gradient(&rows.batch());
            let step = 1e-6;
            for (layer, expected) in gradient.iter().enumerate() {
                for weight in 0..network.layers[layer].weights.len() {
                    let loss = |by: f64| {
                        let mut moved = network.clone();
                        moved.layers[layer].weights[weight] += by;
                        moved.loss_and_gradient(&rows.batch()).0
                    };
                    let slope = (loss(step) - loss(-step)) / 2.0 / step;
                    prop_assert!((slope - expected.weights[weight]).abs() < 1e-4, "{slope}");
                }
                for bias in 0..network.layers[layer].biases.len() {
                    let loss = |by: f64| {
                        let mut moved = network.clone();
                        moved.layers[layer].biases[bias] += by;
                        moved.loss_and_gradient(&rows.batch()).0
                    };
                    let slope = (loss(step) - loss(-step)) / 2.0 / step;
                    prop_assert!((slope - expected.biases[bias]).abs() < 1e-4, "{slope}");
                }
            }
        }

        #[test]
        fn training_and_scoring_see_the_same_network(seed in 0u64..10_000, width in 1usize..6) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let rows = rows(9, width, &mut rng);
            let network = Network::random(&[width, 5], &mut rng);
            let mut buffers = Default::default();
            let total: f64 = rows.weights.iter().sum();
            let by_row: f64 = rows.numbers.chunks_exact(width).enumerate().map(|(row, numbers)| {
                let z = network.margin(numbers, &mut buffers);
                rows.weights[row] * (softplus(z) - rows.labels[row] * z) / total
            }).sum();
            prop_assert!((by_row - network.loss_and_gradient(&rows.batch()).0).abs() < 1e-12);
        }
    }
}
