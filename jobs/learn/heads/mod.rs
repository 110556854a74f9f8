//! What learns: one small trait, seven heads.
//!
//! | head | made by | takes |
//! |---|---|---|
//! | `lightgbm` | LightGBM, gradient boosting | inputs as they are |
//! | `random_forest`, `extra_trees` | LightGBM's `boosting=rf`, the latter with random thresholds | inputs as they are |
//! | `tree` | LightGBM, one round at full learning rate | inputs as they are |
//! | `logistic`, `linear_svm` | argmin's L-BFGS on the penalised loss | inputs standardised, see [`dense`] |
//! | `mlp` | candle's AdamW on its gradients | inputs standardised |
//!
//! A head gets rows as a [`View`] and gives a [`Body`], which is what an artifact keeps; a body gives margins, and for
//! all but the perceptron what each input contributes to them. A margin is the log odds of the positive class for trees,
//! logistic regression and perceptron, and the signed distance for the linear SVM, whose probabilities come from its
//! calibrator. A row's margin does not depend on the rows beside it, nor on the number of threads.

pub mod dense;
pub mod linear;
mod minimise;
pub mod mlp;
mod network;
mod trees;

use serde::{Deserialize, Serialize};

use super::matrix::{Feature, View};
use super::params::Params;
use super::predict;
use crate::define::model::HeadKind;
use crate::error::{Error, Result};

/// Rows to learn from, or to stop by.
pub struct Sample<'a> {
    pub view: View<'a>,
    pub labels: &'a [bool],
    /// Finite and at least 0; `None` weighs every row 1.
    pub weights: Option<&'a [f32]>,
}

impl Sample<'_> {
    fn weight(&self, row: usize) -> f64 {
        self.weights.map_or(1.0, |weights| f64::from(weights[row]))
    }
}

/// Everything that learning depends on beside the head and its parameters.
pub struct Task<'a> {
    pub train: Sample<'a>,
    /// Rows whose loss is watched, and after which learning stops where `patience` says so.
    pub stop: Option<Sample<'a>>,
    /// Trees, or passes over the rows, at most.
    pub rounds: u32,
    /// Rounds without improvement before learning stops; `None` takes all rounds.
    pub patience: Option<u32>,
    pub seed: u32,
    pub threads: usize,
    /// Per feature: 1 where the margin may only rise with it, −1 where it may only fall.
    pub monotone: &'a [i8],
}

/// Is told the round and the loss on the rows to stop by; learning ends where it says false.
pub type Watch<'a> = dyn FnMut(u32, f64) -> bool + 'a;

/// What was learned.
pub struct Learned {
    pub body: Body,
    /// Rounds in the body: up to the one with the least loss on the rows to stop by, or all.
    pub rounds: u32,
    /// Per feature: how much it matters, in the head's own measure, and how often or whether it is used.
    pub importances: Vec<(f64, f64)>,
}

pub trait Head {
    /// Errors: `Data` where the rows cannot be learned from; `Definition` for parameters that do not fit them.
    fn learn(&self, task: &Task, watch: &mut Watch) -> Result<Learned>;
}

/// The head of a kind with checked parameters.
pub fn head(kind: HeadKind, params: &Params) -> Box<dyn Head + '_> {
    match kind {
        HeadKind::Logistic => Box::new(linear::Learner { loss: linear::Loss::Logistic, params }),
        HeadKind::LinearSvm => Box::new(linear::Learner { loss: linear::Loss::SquaredHinge, params }),
        HeadKind::Mlp => Box::new(mlp::Learner { params }),
        trees => Box::new(trees::Learner { kind: trees, params }),
    }
}

/// Whether a head of this kind is stopped early: a single tree and a convex loss have nothing to stop.
pub fn stops(kind: HeadKind) -> bool {
    !matches!(kind, HeadKind::Tree | HeadKind::Logistic | HeadKind::LinearSvm)
}

/// What an artifact keeps of a head.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// LightGBM's text format.
    Trees(String),
    Linear(linear::Linear),
    Mlp(mlp::Mlp),
}

/// Bodies other than trees, as `weights.json` holds them.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Weights {
    Linear(linear::Linear),
    Mlp(mlp::Mlp),
}

impl Body {
    /// The name and content of its file.
    pub fn to_file(&self) -> Result<(&'static str, Vec<u8>)> {
        let weights = match self {
            Body::Trees(text) => return Ok((file(true), text.clone().into_bytes())),
            Body::Linear(linear) => Weights::Linear(linear.clone()),
            Body::Mlp(mlp) => Weights::Mlp(mlp.clone()),
        };
        let mut bytes = serde_json::to_vec_pretty(&weights)?;
        bytes.push(b'\n');
        Ok((file(false), bytes))
    }

    /// Reads the content of its file.
    pub fn from_file(kind: HeadKind, bytes: &[u8]) -> Result<Body, String> {
        if kind.is_trees() {
            return String::from_utf8(bytes.to_vec()).map(Body::Trees).map_err(|e| e.to_string());
        }
        match serde_json::from_slice(bytes).map_err(|e| e.to_string())? {
            Weights::Linear(linear) if kind != HeadKind::Mlp => Ok(Body::Linear(linear)),
            Weights::Mlp(mlp) if kind == HeadKind::Mlp => Ok(Body::Mlp(mlp)),
            _ => Err(format!("it does not hold the weights of a {} head", kind.name())),
        }
    }

    /// Ready to score rows of these features. `Data` error where the body is damaged or of other features.
    pub fn load(&self, features: &[Feature], rounds: u32, threads: usize) -> Result<Box<dyn Margins>> {
        let (width, model): (usize, Box<dyn Margins>) = match self {
            Body::Trees(text) => {
                let threads = i32::try_from(threads).map_err(|_| Error::definition(format!("{threads} threads")))?;
                let model = predict::Model::load(text, threads)?;
                if model.trees() != rounds {
                    return Err(inconsistent(&format!("has {} trees, `schema.json` says {rounds}", model.trees())));
                }
                (model.width(), Box::new(model))
            }
            Body::Linear(linear) => (linear.check().map_err(|e| inconsistent(&e))?, Box::new(linear.clone())),
            Body::Mlp(mlp) => (mlp.check().map_err(|e| inconsistent(&e))?, Box::new(mlp.clone())),
        };
        match width == features.len() {
            true => Ok(model),
            false => Err(inconsistent(&format!("has {width} features, `schema.json` says {}", features.len()))),
        }
    }
}

/// The file that holds a body.
pub fn file(trees: bool) -> &'static str {
    if trees { "model.txt" } else { "weights.json" }
}

fn inconsistent(what: &str) -> Error {
    Error::data(format!("the model artifact is inconsistent: its model {what}; restore it or train again"))
}

/// A body that is ready to score. May be shared by threads.
pub trait Margins: Send + Sync {
    /// One number per row of the view, in its order.
    fn margins(&self, view: &View) -> Result<Vec<f64>>;

    /// How a margin comes about: per row one number per feature, and last what every row starts from. They add up to
    /// the margin. `f` gets blocks of at most some megabytes, with the position of their first row.
    ///
    /// `Definition` error for a head that does not say.
    fn contributions(&self, view: &View, f: &mut dyn FnMut(usize, &[f64]) -> Result<()>) -> Result<()>;
}
