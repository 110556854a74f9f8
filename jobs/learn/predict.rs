//! Scoring rows with a trained LightGBM model, in blocks of bounded size: margins, and what each input contributes to
//! them (TreeSHAP: S. Lundberg et al., "From local explanations to global understanding with explainable AI for trees",
//! Nature Machine Intelligence, 2020).
//!
//! Through the safe crate, which checks lengths and shapes where a model of one output is asked.

use std::sync::{Mutex, PoisonError};

use rayon::ThreadPool;

use super::heads::Margins;
use super::lightgbm::{BLOCK_CELLS, Session};
use super::matrix::View;
use super::threads;
use crate::error::{Error, Result};

/// A model loaded from LightGBM's text format. May be used from any thread. Every call waits for a [`Session`].
pub struct Model {
    booster: Mutex<Handle>,
    width: usize,
    trees: u32,
    /// What its trees say is averaged rather than added up.
    averages: bool,
    params: String,
    /// They read the rows.
    pool: ThreadPool,
}

/// The safe crate's handle is a raw pointer, so it is not `Send` by itself.
struct Handle(lightgbm3::Booster);

// SAFETY: LightGBM's boosters have no tie to the thread that made them; the mutex around this one lets only one
// thread at a time use it.
unsafe impl Send for Handle {}

/// What is asked of LightGBM.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Margins,
    /// A number per feature and one for the base, per row.
    Contributions,
}

impl Model {
    /// Loads a model; `threads` 0 takes as many as OpenMP offers. `Data` error where the text is no model.
    pub fn load(text: &str, threads: i32) -> Result<Model> {
        if !is_complete(text) {
            return Err(Error::data("the model text is no complete LightGBM model; restore it or train again"));
        }
        let _session = Session::open()?;
        let booster = lightgbm3::Booster::from_string(text)
            .map_err(|e| Error::data("LightGBM cannot read the model text; restore it or train again").caused_by(e))?;
        if booster.num_classes() != 1 {
            return Err(Error::data(format!("expected a model of one output, found {}", booster.num_classes())));
        }
        Ok(Model {
            width: usize::try_from(booster.num_features()).unwrap_or(0),
            trees: u32::try_from(booster.num_iterations()).unwrap_or(0),
            booster: Mutex::new(Handle(booster)),
            averages: text.contains("\naverage_output\n"),
            params: format!("num_threads={threads} verbosity=-1"),
            pool: threads::pool(usize::try_from(threads).unwrap_or(0))?,
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

    /// Hands `f` what LightGBM gives for each block of rows of at most `cells` numbers.
    fn blocks(
        &self,
        view: &View,
        cells: usize,
        asked: Asked,
        f: &mut dyn FnMut(usize, &[f64]) -> Result<()>,
    ) -> Result<()> {
        let width = view.features().len();
        if width != self.width || width == 0 {
            return Err(Error::definition(format!("the model has {} features, the rows have {width}", self.width)));
        }
        let columns = i32::try_from(width).map_err(|_| Error::internal(format!("{width} features")))?;
        let _session = Session::open()?;
        let booster = &self.booster.lock().unwrap_or_else(PoisonError::into_inner).0;
        view.for_each_block_by(&self.pool, cells, |first, block| {
            let (answer, per_row) = match asked {
                Asked::Margins => (booster.raw_scores_with_params(block, columns, true, &self.params), 1),
                Asked::Contributions => (booster.predict_contrib(block, columns, true), width + 1),
            };
            let mut out = answer.map_err(|e| Error::internal(e.to_string()).caused_by(e))?;
            if out.len() != block.len() / width * per_row {
                return Err(Error::internal(format!("LightGBM gave {} numbers for {per_row} a row", out.len())));
            }
            // LightGBM averages a forest's trees for a probability, and forgets to for raw scores and contributions.
            if self.averages {
                let trees = f64::from(self.trees.max(1));
                out.iter_mut().for_each(|number| *number /= trees);
            }
            f(first, &out)
        })
    }
}

/// Contributions take as much room again, and much longer: smaller blocks.
const CONTRIBUTION_CELLS: usize = BLOCK_CELLS / 8;

impl Margins for Model {
    fn margins(&self, view: &View) -> Result<Vec<f64>> {
        let mut out = Vec::with_capacity(view.len());
        self.blocks(view, BLOCK_CELLS, Asked::Margins, &mut |_, block| {
            out.extend_from_slice(block);
            Ok(())
        })?;
        Ok(out)
    }

    fn contributions(&self, view: &View, f: &mut dyn FnMut(usize, &[f64]) -> Result<()>) -> Result<()> {
        self.blocks(view, CONTRIBUTION_CELLS, Asked::Contributions, f)
    }
}

/// LightGBM crashes on some cut texts instead of refusing them.
fn is_complete(text: &str) -> bool {
    text.starts_with("tree\n") && text.contains("\nend of trees\n") && !text.contains('\0')
}
