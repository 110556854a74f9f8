//! Scoring rows with a trained LightGBM model, in blocks of bounded size.

use std::sync::{Mutex, PoisonError};

use super::lightgbm::{BLOCK_CELLS, Session};
use super::matrix::View;
use crate::error::{Error, Result};

/// What a prediction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// The model's probability, before any correction of the prior.
    Probability,
    /// The margin: its log odds.
    Raw,
}

/// A model loaded from LightGBM's text format. May be used from any thread.
pub struct Model {
    booster: Mutex<Handle>,
    width: usize,
    trees: u32,
    params: String,
}

/// The safe crate's handle is a raw pointer, so it is not `Send` by itself.
struct Handle(lightgbm3::Booster);

// SAFETY: LightGBM's boosters have no tie to the thread that made them; the mutex around this one lets only one
// thread at a time use it.
unsafe impl Send for Handle {}

impl Model {
    /// Loads a model; `threads` 0 takes as many as OpenMP offers. `Data` error where the text is no model.
    pub fn load(_session: &Session, text: &str, threads: i32) -> Result<Model> {
        if !is_complete(text) {
            return Err(Error::data("the model text is no complete LightGBM model; restore it or train again"));
        }
        let booster = lightgbm3::Booster::from_string(text)
            .map_err(|e| Error::data("LightGBM cannot read the model text; restore it or train again").caused_by(e))?;
        if booster.num_classes() != 1 {
            return Err(Error::data(format!("expected a model of one output, found {}", booster.num_classes())));
        }
        Ok(Model {
            width: usize::try_from(booster.num_features()).unwrap_or(0),
            trees: u32::try_from(booster.num_iterations()).unwrap_or(0),
            booster: Mutex::new(Handle(booster)),
            params: format!("num_threads={threads} verbosity=-1"),
        })
    }

    /// Number of features.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Number of trees.
    pub fn trees(&self) -> u32 {
        self.trees
    }

    /// One number per row of the view, in its order.
    pub fn predict(&self, _session: &Session, view: &View, output: Output) -> Result<Vec<f64>> {
        let width = view.features().len();
        if width != self.width {
            return Err(Error::definition(format!("the model has {} features, the rows have {width}", self.width)));
        }
        let columns = i32::try_from(width).map_err(|_| Error::internal(format!("{width} features")))?;
        let booster = &self.booster.lock().unwrap_or_else(PoisonError::into_inner).0;
        let mut predictions = Vec::with_capacity(view.len());
        view.for_each_block(BLOCK_CELLS, |_, block| {
            let block = match output {
                Output::Probability => booster.predict_with_params(block, columns, true, &self.params),
                Output::Raw => booster.raw_scores_with_params(block, columns, true, &self.params),
            };
            predictions.extend(block.map_err(|e| Error::internal(e.to_string()).caused_by(e))?);
            Ok(())
        })?;
        Ok(predictions)
    }
}

/// LightGBM crashes on some cut texts instead of refusing them.
fn is_complete(text: &str) -> bool {
    text.starts_with("tree\n") && text.contains("\nend of trees\n") && !text.contains('\0')
}
