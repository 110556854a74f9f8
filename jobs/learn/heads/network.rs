//! A feed-forward network with rectified hidden layers and one output, the log odds.
//!
//! Scoring goes row by row in one fixed order of additions, so that a row's margin is the same alone and in any block.
//! Training has the same network as candle's variables ([`Trainee`]): whole batches are multiplied, the loss is
//! differentiated and the steps are taken there. Tests hold its loss to that of scoring and its steps to finite
//! differences.

use candle_core::{Device, Tensor, Var};
use candle_nn::optim::{AdamW, Optimizer, ParamsAdamW};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::super::exact;
use crate::error::{Error, Result};

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
}

/// Rows to learn from at once.
pub struct Batch<'a> {
    /// Row-major.
    pub numbers: &'a [f64],
    pub labels: &'a [f64],
    pub weights: &'a [f64],
}

/// A network in training: Adam with weight decay on weights, without on biases.
pub struct Trainee {
    layers: Vec<(Var, Var)>,
    optimisers: [AdamW; 2],
}

impl Trainee {
    pub fn new(network: &Network, rate: f64, decay: f64) -> Result<Trainee> {
        let layer = |layer: &Layer| {
            let weights = Var::from_slice(&layer.weights, (layer.inputs(), layer.outputs()), &Device::Cpu)?;
            Ok((weights, Var::from_slice(&layer.biases, layer.outputs(), &Device::Cpu)?))
        };
        let layers = network.layers.iter().map(layer).collect::<candle_core::Result<Vec<_>>>().map_err(failed)?;
        let optimiser = |vars: Vec<Var>, weight_decay| {
            AdamW::new(vars, ParamsAdamW { lr: rate, weight_decay, ..ParamsAdamW::default() }).map_err(failed)
        };
        let (weights, biases) = layers.iter().cloned().unzip();
        Ok(Trainee { layers, optimisers: [optimiser(weights, decay)?, optimiser(biases, 0.0)?] })
    }

    /// A step against the gradient of the loss on some rows.
    pub fn step(&mut self, rows: &Batch) -> Result<()> {
        let gradient = self.loss(rows).and_then(|loss| loss.backward()).map_err(failed)?;
        self.optimisers.iter_mut().try_for_each(|optimiser| optimiser.step(&gradient)).map_err(failed)
    }

    /// The weighted mean of the log loss.
    fn loss(&self, rows: &Batch) -> candle_core::Result<Tensor> {
        let count = rows.labels.len();
        let mut outputs = Tensor::from_slice(rows.numbers, (count, rows.numbers.len() / count.max(1)), &Device::Cpu)?;
        for (number, (weights, biases)) in self.layers.iter().enumerate() {
            outputs = outputs.matmul(weights)?.broadcast_add(biases)?;
            if number + 1 < self.layers.len() {
                outputs = outputs.relu()?;
            }
        }
        let z = outputs.flatten_all()?;
        let y = Tensor::from_slice(rows.labels, count, &Device::Cpu)?;
        let s = Tensor::from_slice(rows.weights, count, &Device::Cpu)?;
        // ln(1 + exp(z)) − y z, without overflow.
        let softplus = (z.relu()? + (z.abs()?.neg()?.exp()? + 1.0)?.log()?)?;
        let loss = (softplus - (y * z)?)?;
        (loss * s)?.sum_all()? / rows.weights.iter().sum::<f64>().max(f64::MIN_POSITIVE)
    }

    /// As it is now.
    pub fn network(&self) -> Result<Network> {
        let numbers = |var: &Var| var.flatten_all()?.to_vec1::<f64>();
        let layer = |(weights, biases): &(Var, Var)| Ok(Layer { weights: numbers(weights)?, biases: numbers(biases)? });
        let layers = self.layers.iter().map(layer).collect::<candle_core::Result<_>>().map_err(failed)?;
        Ok(Network { layers })
    }
}

fn failed(error: candle_core::Error) -> Error {
    Error::internal(format!("the network cannot be trained: {error}"))
}

#[cfg(test)]
mod tests {
    use super::super::dense::softplus;
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

    /// The weighted mean of the log loss, by scoring.
    fn loss(network: &Network, rows: &Rows, width: usize) -> f64 {
        let (mut buffers, mut sum) = (Default::default(), 0.0);
        for (row, numbers) in rows.numbers.chunks_exact(width).enumerate() {
            let z = network.margin(numbers, &mut buffers);
            sum += rows.weights[row] * (softplus(z) - rows.labels[row] * z);
        }
        sum / rows.weights.iter().sum::<f64>()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// The first step of Adam goes by its rate against the sign of each slope, whatever its size.
        #[test]
        fn the_first_step_goes_where_small_steps_say(seed in 0u64..10_000, count in 1usize..20, width in 1usize..5) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let rows = rows(count, width, &mut rng);
            let mut network = Network::random(&[width, 4, 3], &mut rng);
            // Where a layer gives 0 throughout, a bias of 0 would lie right where the rectifier bends.
            network.layers.iter_mut().flat_map(|layer| &mut layer.biases).for_each(|b| *b = rng.random_range(-1.0..1.0));
            let (rate, decay, small) = (1e-3, 0.1, 1e-6);
            let mut trainee = Trainee::new(&network, rate, decay).unwrap();
            trainee.step(&rows.batch()).unwrap();
            let after = trainee.network().unwrap();
            let slope = |change: &dyn Fn(&mut Network, f64)| {
                let moved = |by: f64| {
                    let mut moved = network.clone();
                    change(&mut moved, by);
                    loss(&moved, &rows, width)
                };
                (moved(small) - moved(-small)) / 2.0 / small
            };
            let step = |was: f64, decay: f64, slope: f64| was * (1.0 - rate * decay) - rate * slope.signum();
            for (l, layer) in network.layers.iter().enumerate() {
                for (w, was) in layer.weights.iter().enumerate() {
                    let slope = slope(&|network, by| network.layers[l].weights[w] += by);
                    let expected = if slope.abs() < 1e-4 { continue } else { step(*was, decay, slope) };
                    prop_assert!((after.layers[l].weights[w] - expected).abs() < 1e-6, "{slope}");
                }
                for (b, was) in layer.biases.iter().enumerate() {
                    let slope = slope(&|network, by| network.layers[l].biases[b] += by);
                    let expected = if slope.abs() < 1e-4 { continue } else { step(*was, 0.0, slope) };
                    prop_assert!((after.layers[l].biases[b] - expected).abs() < 1e-6, "{slope}");
                }
            }
        }

        #[test]
        fn training_and_scoring_see_the_same_network(seed in 0u64..10_000, width in 1usize..6) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let rows = rows(9, width, &mut rng);
            let network = Network::random(&[width, 5], &mut rng);
            let trainee = Trainee::new(&network, 0.0, 0.0).unwrap();
            let in_training = trainee.loss(&rows.batch()).unwrap().to_scalar::<f64>().unwrap();
            prop_assert!((loss(&network, &rows, width) - in_training).abs() < 1e-12);
            prop_assert!(trainee.network().unwrap() == network);
        }
    }
}
