//! A multilayer perceptron, trained by Adam with decoupled weight decay (D. Kingma and J. Ba, "Adam", 2015; I.
//! Loshchilov and F. Hutter, "Decoupled Weight Decay Regularization", 2019) on small batches in an order drawn by the
//! seed. The pass with the least loss on the rows to stop by is the one that is kept.
//!
//! What its inputs contribute is not a sum, so it gives no reasons. Its importances are permutation importances: by how
//! much the loss on training rows rises when an input is shuffled among them (L. Breiman, "Random Forests", 2001).

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::super::matrix::View;
use super::dense::{Dense, Shape, Standard, softplus};
use super::network::{Batch, Network, Trainee};
use super::{Body, Head, Learned, Margins, Params, Task, Watch};
use crate::error::{Error, Result};

/// A network over standardised columns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mlp {
    inputs: Standard,
    network: Network,
}

impl Mlp {
    /// Number of features, or what is wrong with what was read.
    pub fn check(&self) -> Result<usize, String> {
        let features = self.inputs.check()?;
        self.network.check(self.inputs.width())?;
        Ok(features)
    }
}

impl Margins for Mlp {
    fn margins(&self, view: &View) -> Result<Vec<f64>> {
        let mut out = Vec::with_capacity(view.len());
        let mut buffers = Default::default();
        self.inputs.for_each_block(view, |_, block| {
            let rows = block.chunks_exact(self.inputs.width().max(1));
            out.extend(rows.map(|row| self.network.margin(row, &mut buffers)));
            Ok(())
        })?;
        Ok(out)
    }

    fn contributions(&self, _: &View, _: &mut dyn FnMut(usize, &[f64]) -> Result<()>) -> Result<()> {
        Err(Error::definition("an mlp head does not say what its inputs contribute; use another head, or no reasons"))
    }
}

pub(super) struct Learner<'a> {
    pub params: &'a Params,
}

impl Head for Learner<'_> {
    fn learn(&self, task: &Task, watch: &mut Watch) -> Result<Learned> {
        let inputs = Standard::fit(&task.train.view, Shape::of(self.params))?;
        let rows = Dense::of(&task.train, &inputs)?;
        let stop = task.stop.as_ref().map(|stop| Dense::of(stop, &inputs)).transpose()?;
        let mut rng = ChaCha8Rng::seed_from_u64(u64::from(task.seed));
        let hidden = self.params.list("hidden").unwrap_or_else(|| vec![64, 32]);
        let widths: Vec<usize> = [rows.width].into_iter().chain(hidden).collect();
        let mut network = Network::random(&widths, &mut rng);
        let (rate, decay) = (self.params.number("learning_rate"), self.params.number("weight_decay"));
        let mut trainee = Trainee::new(&network, rate.unwrap_or(1e-3), decay.unwrap_or(1e-4))?;
        let size = self.params.number("batch_size").map_or(256, |size| size as usize).max(1);
        let mut order: Vec<usize> = (0..rows.rows()).collect();
        let mut best: Option<(f64, u32, Network)> = None;
        let mut last = 0;
        for round in 1..=task.rounds.max(1) {
            order.shuffle(&mut rng);
            pass(&mut trainee, &rows, &order, size)?;
            network = trainee.network()?;
            last = round;
            let Some(stop) = &stop else { continue };
            let loss = mean_loss(&network, stop);
            if best.as_ref().is_none_or(|(least, ..)| loss < *least) {
                best = Some((loss, round, network.clone()));
            }
            let behind = round - best.as_ref().map_or(round, |(_, at, _)| *at);
            if !watch(round, loss) || task.patience.is_some_and(|patience| behind >= patience) {
                break;
            }
        }
        let (rounds, network) = match best {
            Some((_, round, network)) if task.patience.is_some() => (round, network),
            _ => (last, network),
        };
        network
            .check(rows.width)
            .map_err(|what| Error::data(format!("the network {what}; lower its learning_rate")))?;
        let importances = importances(&network, &inputs, &rows, task.seed);
        Ok(Learned { body: Body::Mlp(Mlp { inputs, network }), rounds, importances })
    }
}

/// One pass over the rows.
fn pass(trainee: &mut Trainee, rows: &Dense, order: &[usize], size: usize) -> Result<()> {
    let (mut numbers, mut labels, mut weights) = (Vec::new(), Vec::new(), Vec::new());
    for chosen in order.chunks(size) {
        numbers.clear();
        chosen.iter().for_each(|row| numbers.extend_from_slice(rows.row(*row)));
        labels.clear();
        labels.extend(chosen.iter().map(|row| rows.labels[*row]));
        weights.clear();
        weights.extend(chosen.iter().map(|row| rows.weights[*row]));
        trainee.step(&Batch { numbers: &numbers, labels: &labels, weights: &weights })?;
    }
    Ok(())
}

fn mean_loss(network: &Network, rows: &Dense) -> f64 {
    loss_of(network, rows, (0..rows.rows()).map(|row| (row, rows.row(row))))
}

fn loss_of<R: AsRef<[f64]>>(network: &Network, rows: &Dense, of: impl Iterator<Item = (usize, R)>) -> f64 {
    let mut buffers = Default::default();
    let (mut sum, mut total) = (0.0, 0.0);
    for (row, numbers) in of {
        let z = network.margin(numbers.as_ref(), &mut buffers);
        sum += rows.weights[row] * (softplus(z) - rows.labels[row] * z);
        total += rows.weights[row];
    }
    sum / total.max(f64::MIN_POSITIVE)
}

/// Rows that importances are measured on.
const MEASURED: usize = 2000;

fn importances(network: &Network, inputs: &Standard, rows: &Dense, seed: u32) -> Vec<(f64, f64)> {
    let mut rng = ChaCha8Rng::seed_from_u64(u64::from(seed) ^ 0x1090_27A9);
    let mut chosen: Vec<usize> = (0..rows.rows()).collect();
    chosen.shuffle(&mut rng);
    chosen.truncate(MEASURED);
    let base = loss_of(network, rows, chosen.iter().map(|row| (*row, rows.row(*row))));
    let mut other = chosen.clone();
    let features = inputs.check().unwrap_or(0);
    let importance = |feature: usize| {
        other.shuffle(&mut rng);
        let swapped = chosen.iter().zip(&other).map(|(row, other)| {
            let mut numbers = rows.row(*row).to_vec();
            let columns = (0..rows.width).filter(|column| inputs.feature(*column) == feature);
            columns.for_each(|column| numbers[column] = rows.row(*other)[column]);
            (*row, numbers)
        });
        (loss_of(network, rows, swapped) - base, 1.0)
    };
    (0..features).map(importance).collect()
}
