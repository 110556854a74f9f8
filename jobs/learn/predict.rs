//! Scoring rows with a trained LightGBM model, in blocks of bounded size: margins, and what each input contributes to
//! them (TreeSHAP: S. Lundberg et al., "From local explanations to global understanding with explainable AI for trees",
//! Nature Machine Intelligence, 2020).
//!
//! Through the C API, as training: the safe crate takes no thread count where it explains.

use std::ffi::{CString, c_int};
use std::ptr::null_mut;
use std::sync::{Mutex, PoisonError};

use lightgbm3_sys as sys;

use super::heads::Margins;
use super::lightgbm::{BLOCK_CELLS, Session, c_len, c_string, check};
use super::matrix::View;
use crate::error::{Error, Result};

/// A model loaded from LightGBM's text format. May be used from any thread. Every call waits for a [`Session`].
pub struct Model {
    booster: Mutex<Handle>,
    width: usize,
    trees: u32,
    /// What its trees say is averaged rather than added up.
    averages: bool,
    params: CString,
}

struct Handle(sys::BoosterHandle);

// SAFETY: LightGBM's boosters have no tie to the thread that made them; the mutex around this one lets only one
// thread at a time use it.
unsafe impl Send for Handle {}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the handle is ours and not used again.
        let _ = unsafe { sys::LGBM_BoosterFree(self.0) };
    }
}

impl Model {
    /// Loads a model; `threads` 0 takes as many as OpenMP offers. `Data` error where the text is no model.
    pub fn load(text: &str, threads: i32) -> Result<Model> {
        if !is_complete(text) {
            return Err(Error::data("the model text is no complete LightGBM model; restore it or train again"));
        }
        let _session = Session::open()?;
        let (mut handle, mut trees) = (null_mut(), 0);
        let text_c = c_string(text)?;
        // SAFETY: a zero-terminated text, and two places to write to.
        check(unsafe { sys::LGBM_BoosterLoadModelFromString(text_c.as_ptr(), &mut trees, &mut handle) })
            .map_err(|e| Error::data("LightGBM cannot read the model text; restore it or train again").caused_by(e))?;
        let booster = Handle(handle);
        let (mut width, mut outputs) = (0, 0);
        // SAFETY: the handle is live.
        check(unsafe { sys::LGBM_BoosterGetNumFeature(booster.0, &mut width) })?;
        // SAFETY: as above.
        check(unsafe { sys::LGBM_BoosterGetNumClasses(booster.0, &mut outputs) })?;
        if outputs != 1 {
            return Err(Error::data(format!("expected a model of one output, found {outputs}")));
        }
        Ok(Model {
            booster: Mutex::new(booster),
            width: usize::try_from(width).unwrap_or(0),
            trees: u32::try_from(trees).unwrap_or(0),
            averages: text.contains("\naverage_output\n"),
            params: c_string(&format!("num_threads={threads} verbosity=-1"))?,
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
        what: u32,
        f: &mut dyn FnMut(usize, &[f64]) -> Result<()>,
    ) -> Result<()> {
        let width = view.features().len();
        if width != self.width || width == 0 {
            return Err(Error::definition(format!("the model has {} features, the rows have {width}", self.width)));
        }
        let _session = Session::open()?;
        let booster = self.booster.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = Vec::new();
        view.for_each_block(cells, |first, block| {
            let rows = c_len(block.len() / width, "rows")?;
            let (mut room, mut written) = (0, 0);
            // SAFETY: the handle is live.
            check(unsafe { sys::LGBM_BoosterCalcNumPredict(booster.0, rows, what as c_int, 0, -1, &mut room) })?;
            out.clear();
            out.resize(usize::try_from(room).unwrap_or(0), 0.0);
            // SAFETY: the block holds rows × width numbers, and the result has the room that LightGBM asked for.
            check(unsafe {
                sys::LGBM_BoosterPredictForMat(
                    booster.0,
                    block.as_ptr().cast(),
                    sys::C_API_DTYPE_FLOAT64 as c_int,
                    rows,
                    c_len(width, "features")?,
                    1,
                    what as c_int,
                    0,
                    -1,
                    self.params.as_ptr(),
                    &mut written,
                    out.as_mut_ptr(),
                )
            })?;
            let per_row = if what == sys::C_API_PREDICT_CONTRIB { width + 1 } else { 1 };
            if written != room || out.len() != block.len() / width * per_row {
                return Err(Error::internal(format!("LightGBM gave {written} numbers for {rows} rows")));
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
        self.blocks(view, BLOCK_CELLS, sys::C_API_PREDICT_RAW_SCORE, &mut |_, block| {
            out.extend_from_slice(block);
            Ok(())
        })?;
        Ok(out)
    }

    fn contributions(&self, view: &View, f: &mut dyn FnMut(usize, &[f64]) -> Result<()>) -> Result<()> {
        self.blocks(view, CONTRIBUTION_CELLS, sys::C_API_PREDICT_CONTRIB, f)
    }
}

/// LightGBM crashes on some cut texts instead of refusing them.
fn is_complete(text: &str) -> bool {
    text.starts_with("tree\n") && text.contains("\nend of trees\n") && !text.contains('\0')
}
