//! A small safe wrapper over LightGBM's C API, for training.
//!
//! The safe crate `lightgbm3` ignores dataset parameters (categorical features among them), reads short label slices
//! out of bounds and stops early on the wrong metric without a word, so training goes through `lightgbm3-sys` here:
//! lengths are checked, features have names and classes, early stopping is ours, and parameters come checked from
//! [`super::params`]. Scoring is in [`super::predict`].
//!
//! **Memory.** LightGBM gets a sample of rows to find its bins, then rows in small blocks (`LGBM_DatasetPushRows`,
//! the way of Python's `lightgbm.Sequence`). There is never a dense copy of the feature matrix: beside the caller's
//! Arrow batches live the sample (at most `bin_construct_sample_cnt` rows), one block, and LightGBM's own bins.
//!
//! **Threads.** LightGBM keeps its thread count in a process-wide variable and sizes buffers by it, so two trainings
//! at once with different counts could write out of bounds. A [`Session`] is a process-wide lock; every call needs one.
//!
//! **Determinism.** Histograms are built by column: one thread adds up one column in the order of the rows, so the sums do
//! not depend on how many threads there are. By row, each thread would add up some rows of all columns; of 200 columns it
//! also takes twice as long.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::marker::PhantomData;
use std::ptr::null_mut;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lightgbm3_sys as sys;
use rayon::ThreadPool;
use rayon::prelude::*;

use super::matrix::View;
use super::shares::breaks_names;
use super::threads;
use crate::error::{Context, Error, Result};

/// The version of the C++ library inside `lightgbm3-sys`.
pub const VERSION: &str = "4.7.0";

/// Numbers in one block that is handed over to LightGBM: 8 MiB.
pub const BLOCK_CELLS: usize = 1 << 20;

static IN_USE: Mutex<()> = Mutex::new(());

/// The right to call LightGBM, held by one thread at a time. Opening a second one on the same thread deadlocks.
pub struct Session {
    _in_use: MutexGuard<'static, ()>,
}

impl Session {
    /// Waits until no other thread is in LightGBM, and sends this thread's messages to the log instead of stdout.
    pub fn open() -> Result<Session> {
        // The lock guards no data of ours: a panic elsewhere leaves nothing half-done.
        let in_use = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the callback is a function, valid for ever, with the expected signature.
        check(unsafe { sys::LGBM_RegisterLogCallback(Some(log)) })?;
        Ok(Session { _in_use: in_use })
    }
}

extern "C" fn log(message: *const c_char) {
    if message.is_null() {
        return;
    }
    // SAFETY: LightGBM passes a zero-terminated buffer that lives during the call.
    let text = unsafe { CStr::from_ptr(message) }.to_string_lossy();
    let text = text.trim();
    if !text.is_empty() && !text.ends_with(']') {
        tracing::debug!(target: "lightgbm", "{text}");
    }
}

pub(super) fn check(code: c_int) -> Result<()> {
    if code == 0 {
        return Ok(());
    }
    // SAFETY: LightGBM keeps a zero-terminated message per thread.
    let text = unsafe { CStr::from_ptr(sys::LGBM_GetLastError()) }.to_string_lossy();
    Err(Error::internal(format!("LightGBM: {text}")))
}

pub(super) fn c_string(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::definition(format!("a zero byte in {text:?}")))
}

pub(super) fn c_len(length: usize, of: &str) -> Result<i32> {
    i32::try_from(length).map_err(|_| Error::data(format!("{length} {of}: LightGBM takes at most {}", i32::MAX)))
}

/// Text that a C function writes into a buffer, called once for the length and once for the text.
fn text_from(write: impl Fn(i64, &mut i64, *mut c_char) -> c_int) -> Result<String> {
    let mut length = 0;
    check(write(0, &mut length, null_mut()))?;
    let mut buffer = vec![0u8; usize::try_from(length).unwrap_or(0)];
    check(write(length, &mut length, buffer.as_mut_ptr().cast()))?;
    let text = CStr::from_bytes_until_nul(&buffer).map_err(|e| Error::internal(format!("LightGBM: {e}")))?;
    Ok(text.to_str().map_err(|e| Error::internal(format!("LightGBM: {e}")))?.to_string())
}

/// Every parameter's canonical name with its aliases.
pub fn parameter_aliases() -> Result<BTreeMap<String, Vec<String>>> {
    // SAFETY: the buffer has the length that is passed.
    let text = text_from(|length, out, buffer| unsafe { sys::LGBM_DumpParamAliases(length, out, buffer) })?;
    serde_json::from_str(&text).context("LightGBM's parameter names")
}

/// What is fixed for a training beside the tuning parameters.
#[derive(Debug, Clone)]
pub struct Settings<'a> {
    pub params: &'a BTreeMap<String, String>,
    pub seed: i32,
    /// 0 takes as many as OpenMP offers.
    pub threads: i32,
    pub rounds: u32,
}

impl Settings<'_> {
    fn config(&self, categorical: &[usize]) -> Result<CString> {
        let mut text = format!(
            "objective=binary metric={METRIC} deterministic=true force_col_wise=true verbosity=-1 seed={} \
             num_threads={} num_iterations={}",
            self.seed, self.threads, self.rounds
        );
        if !categorical.is_empty() {
            let columns: Vec<String> = categorical.iter().map(ToString::to_string).collect();
            text = format!("{text} categorical_feature={}", columns.join(","));
        }
        for (name, value) in self.params {
            text = format!("{text} {name}={value}");
        }
        c_string(&text)
    }
}

/// The metric that stops training; lower is better.
const METRIC: &str = "binary_logloss";

/// Binned rows with labels and weights, owned by LightGBM.
pub struct Dataset<'s> {
    handle: sys::DatasetHandle,
    config: CString,
    width: usize,
    /// They read the rows.
    pool: Arc<ThreadPool>,
    /// LightGBM is only called while the session lasts, and the handle stays on its thread.
    _session: PhantomData<(&'s Session, *const ())>,
}

impl<'s> Dataset<'s> {
    /// Training rows. Bins are found on a sample of these rows.
    ///
    /// Errors: `Internal` where lengths differ; `Definition` for feature names LightGBM cannot store.
    pub fn train(session: &'s Session, view: &View, rows: &Rows, settings: &Settings) -> Result<Dataset<'s>> {
        rows.check(view)?;
        let names = check_names(view)?;
        let categorical: Vec<usize> = (0..names.len()).filter(|i| view.features()[*i].is_category()).collect();
        let config = settings.config(&categorical)?;
        let total = c_len(view.len(), "rows")?;
        let pool = Arc::new(threads::pool(usize::try_from(settings.threads).unwrap_or(0))?);
        let mut sample = Sample::of(view, total, &config, &pool)?;
        let mut handle = null_mut();
        // SAFETY: one pointer and one length per column, each pointing at that many values; all outlive the call.
        check(unsafe {
            sys::LGBM_DatasetCreateFromSampledColumn(
                sample.values.iter_mut().map(Vec::as_mut_ptr).collect::<Vec<_>>().as_mut_ptr(),
                sample.positions().as_mut_ptr(),
                c_len(names.len(), "features")?,
                sample.lengths()?.as_ptr(),
                c_len(sample.rows, "rows")?,
                total,
                i64::from(total),
                config.as_ptr(),
                &mut handle,
            )
        })?;
        drop(sample);
        let dataset = Dataset { handle, config, width: names.len(), pool, _session: PhantomData };
        let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
        // SAFETY: as many zero-terminated names as are said.
        check(unsafe {
            sys::LGBM_DatasetSetFeatureNames(dataset.handle, pointers.as_mut_ptr(), c_len(pointers.len(), "features")?)
        })?;
        dataset.load(session, view, rows)?;
        Ok(dataset)
    }

    /// Validation rows, binned as `self` is.
    pub fn valid(&self, session: &'s Session, view: &View, rows: &Rows) -> Result<Dataset<'s>> {
        rows.check(view)?;
        if view.features().len() != self.width {
            return Err(Error::internal(format!("{} features, trained on {}", view.features().len(), self.width)));
        }
        let mut handle = null_mut();
        // SAFETY: the reference is a live dataset.
        check(unsafe {
            sys::LGBM_DatasetCreateByReference(self.handle, i64::from(c_len(view.len(), "rows")?), &mut handle)
        })?;
        let (config, pool) = (self.config.clone(), Arc::clone(&self.pool));
        let dataset = Dataset { handle, config, width: self.width, pool, _session: PhantomData };
        dataset.load(session, view, rows)?;
        Ok(dataset)
    }

    fn load(&self, _session: &Session, view: &View, rows: &Rows) -> Result<()> {
        let width = c_len(self.width, "features")?;
        view.for_each_block_by(&self.pool, BLOCK_CELLS, |first, block| {
            let count = c_len(block.len() / self.width, "rows")?;
            // SAFETY: the block holds count × width numbers, and the dataset has room for first + count rows.
            check(unsafe {
                sys::LGBM_DatasetPushRows(
                    self.handle,
                    block.as_ptr().cast(),
                    sys::C_API_DTYPE_FLOAT64 as c_int,
                    count,
                    width,
                    c_len(first, "rows")?,
                )
            })
        })?;
        let labels: Vec<f32> = rows.labels.iter().map(|label| f32::from(u8::from(*label))).collect();
        self.set(c"label", &labels)?;
        match rows.weights {
            Some(weights) => self.set(c"weight", weights),
            None => Ok(()),
        }
    }

    fn set(&self, field: &CStr, values: &[f32]) -> Result<()> {
        // SAFETY: LightGBM copies `values.len()` floats; the length was checked against the rows.
        check(unsafe {
            sys::LGBM_DatasetSetField(
                self.handle,
                field.as_ptr(),
                values.as_ptr().cast::<c_void>(),
                c_len(values.len(), "rows")?,
                sys::C_API_DTYPE_FLOAT32 as c_int,
            )
        })
    }
}

impl Drop for Dataset<'_> {
    fn drop(&mut self) {
        // SAFETY: the handle is ours and not used again. There is nothing to do about an error.
        let _ = unsafe { sys::LGBM_DatasetFree(self.handle) };
    }
}

/// Labels and weights of a view's rows, in their order.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    pub labels: &'a [bool],
    pub weights: Option<&'a [f32]>,
}

impl Rows<'_> {
    fn check(&self, view: &View) -> Result<()> {
        let weights = self.weights.map_or(view.len(), <[f32]>::len);
        if view.is_empty() || view.features().is_empty() {
            return Err(Error::data(format!("{} rows of {} features", view.len(), view.features().len())));
        }
        if self.labels.len() != view.len() || weights != view.len() {
            return Err(Error::internal(format!(
                "{} rows, {} labels, {weights} weights",
                view.len(),
                self.labels.len()
            )));
        }
        match self.weights.and_then(|w| w.iter().position(|w| !w.is_finite() || *w < 0.0)) {
            Some(row) => Err(Error::data(format!("the weight of row {row} is not a finite number of at least 0"))),
            None => Ok(()),
        }
    }
}

fn check_names(view: &View) -> Result<Vec<CString>> {
    view.features()
        .iter()
        .map(|feature| match feature.name.chars().find(|c| breaks_names(*c)) {
            Some(c) => Err(Error::definition(format!(
                "feature name {:?} holds {c:?}, which LightGBM cannot store",
                feature.name
            ))),
            None => c_string(&feature.name),
        })
        .collect()
}

/// Values that differ from zero, column by column, of the rows on which LightGBM finds its bins.
struct Sample {
    /// Of a column with numbers in most rows smallest first, missing ones last: LightGBM sorts them where they lie
    /// (`BinMapper::FindBin`), by a merge sort that takes long unless they are sorted already. Emptier columns may be
    /// bundled, and what LightGBM looks at for that (`FixSampleIndices`) depends on the order, so they keep theirs.
    values: Vec<Vec<f64>>,
    /// `None` for a column that differs from zero in all rows: many do, and they share `all`.
    positions: Vec<Option<Vec<c_int>>>,
    all: Vec<c_int>,
    rows: usize,
}

impl Sample {
    fn of(view: &View, total: i32, config: &CStr, pool: &ThreadPool) -> Result<Sample> {
        let mut count = 0;
        // SAFETY: plain numbers and a zero-terminated text.
        check(unsafe { sys::LGBM_GetSampleCount(total, config.as_ptr(), &mut count) })?;
        let mut indices = vec![0i32; usize::try_from(count).unwrap_or(0)];
        let mut written = 0;
        // SAFETY: the buffer has the length that LightGBM just asked for.
        check(unsafe { sys::LGBM_SampleIndices(total, config.as_ptr(), indices.as_mut_ptr().cast(), &mut written) })?;
        indices.truncate(usize::try_from(written).unwrap_or(0));
        let rows = view.rows_at(indices.iter().filter_map(|i| usize::try_from(*i).ok()));
        let view = view.with_rows(&rows);
        let columns = pool.install(|| {
            let columns = (0..view.features().len()).into_par_iter();
            let sorted = |column| {
                let (mut values, positions) = nonzero(&view.column(column))?;
                let numbers = values.iter().filter(|value| !value.is_nan()).count();
                if 2 * numbers > rows.len() {
                    values.sort_unstable_by(f64::total_cmp);
                }
                Ok((values, positions))
            };
            columns.map(sorted).collect::<Result<Vec<_>>>()
        })?;
        let (values, positions) = columns.into_iter().unzip();
        let all = (0..c_len(rows.len(), "rows")?).collect();
        Ok(Sample { values, positions, all, rows: rows.len() })
    }

    /// Where each column's positions lie. LightGBM reads them only.
    fn positions(&mut self) -> Vec<*mut c_int> {
        let all = self.all.as_mut_ptr();
        self.positions.iter_mut().map(|some| some.as_mut().map_or(all, |some| some.as_mut_ptr())).collect()
    }

    fn lengths(&self) -> Result<Vec<c_int>> {
        self.values.iter().map(|values| c_len(values.len(), "rows")).collect()
    }
}

/// The numbers of a single column that are not zero, and their positions; `None` for all positions.
fn nonzero(column: &View) -> Result<(Vec<f64>, Option<Vec<c_int>>)> {
    let mut found = (Vec::new(), None);
    column.for_each_block(usize::MAX, |_, numbers| {
        let is_nonzero = |number: &f64| number.abs() > ZERO || number.is_nan();
        let count = numbers.iter().filter(|number| is_nonzero(number)).count();
        if count == numbers.len() {
            found.0 = numbers.to_vec();
            return Ok(());
        }
        let (mut values, mut positions) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for (position, number) in (0..).zip(numbers).filter(|(_, number)| is_nonzero(number)) {
            values.push(*number);
            positions.push(position);
        }
        found = (values, Some(positions));
        Ok(())
    })?;
    Ok(found)
}

/// LightGBM's kZeroThreshold: what lies within is zero.
const ZERO: f64 = 1e-35_f32 as f64;

/// A trained model, cut at its best round.
#[derive(Debug, Clone, PartialEq)]
pub struct Trained {
    /// LightGBM's text format; the same for any number of threads.
    pub model: String,
    /// Trees in the model: the round with the best validation loss, or all rounds without validation rows.
    pub best_iteration: u32,
    /// Per feature, in their order: total gain of its splits, and their number.
    pub gain: Vec<f64>,
    pub split: Vec<f64>,
}

/// Trains `settings.rounds` trees, or until `watch`, which is told every round's loss on `valid`, says false, or that
/// loss has not improved for as many rounds as stand beside it. Without such a number all trees are kept.
pub fn train(
    _session: &Session,
    data: &Dataset,
    valid: Option<(&Dataset, Option<u32>)>,
    settings: &Settings,
    watch: &mut dyn FnMut(u32, f64) -> bool,
) -> Result<Trained> {
    let booster = Booster::new(data, valid.map(|(v, _)| v))?;
    let (mut best, mut least) = (0, f64::INFINITY);
    for round in 1..=settings.rounds.max(1) {
        let finished = booster.update()?;
        let Some((_, patience)) = valid else {
            best = round;
            if finished {
                break;
            }
            continue;
        };
        let loss = booster.valid_loss()?;
        if patience.is_none() || best == 0 || loss < least {
            (best, least) = (round, loss);
        }
        let tired = patience.is_some_and(|patience| round - best >= patience.max(1));
        if !watch(round, loss) || tired || finished {
            break;
        }
    }
    // A round that could not split leaves no tree behind.
    let best_iteration = best.min(booster.trees()?);
    let cut = c_len(best_iteration as usize, "rounds")?;
    Ok(Trained {
        model: portable(&booster.text(cut)?),
        best_iteration,
        gain: booster.importance(cut, sys::C_API_FEATURE_IMPORTANCE_GAIN as c_int, data.width)?,
        split: booster.importance(cut, sys::C_API_FEATURE_IMPORTANCE_SPLIT as c_int, data.width)?,
    })
}

/// The model text with the one line that names the machine's thread count made neutral. Trees are the same for any
/// number of threads; LightGBM reads this part back only to continue training.
fn portable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        out.push_str(if line.starts_with("[num_threads:") { "[num_threads: 0]\n" } else { line });
    }
    out
}

/// Borrows its datasets: LightGBM keeps pointers to them.
struct Booster<'d> {
    handle: sys::BoosterHandle,
    _datasets: PhantomData<&'d Dataset<'d>>,
}

impl<'d> Booster<'d> {
    fn new(data: &'d Dataset, valid: Option<&'d Dataset>) -> Result<Booster<'d>> {
        let mut handle = null_mut();
        // SAFETY: the dataset is live, and outlives the booster by its lifetime.
        check(unsafe { sys::LGBM_BoosterCreate(data.handle, data.config.as_ptr(), &mut handle) })?;
        let booster = Booster { handle, _datasets: PhantomData };
        if let Some(valid) = valid {
            // SAFETY: as above.
            check(unsafe { sys::LGBM_BoosterAddValidData(booster.handle, valid.handle) })?;
        }
        Ok(booster)
    }

    /// One more tree; true when no further split is possible.
    fn update(&self) -> Result<bool> {
        let mut finished = 0;
        // SAFETY: the handle is live.
        check(unsafe { sys::LGBM_BoosterUpdateOneIter(self.handle, &mut finished) })?;
        Ok(finished != 0)
    }

    fn valid_loss(&self) -> Result<f64> {
        let mut metrics = 0;
        // SAFETY: the handle is live.
        check(unsafe { sys::LGBM_BoosterGetEvalCounts(self.handle, &mut metrics) })?;
        let mut values = vec![f64::NAN; usize::try_from(metrics).unwrap_or(0)];
        let mut written = 0;
        // SAFETY: LightGBM writes one number per metric; data 1 is the first validation set.
        check(unsafe { sys::LGBM_BoosterGetEval(self.handle, 1, &mut written, values.as_mut_ptr()) })?;
        match values[..] {
            [loss] if written == 1 => Ok(loss),
            _ => Err(Error::internal(format!("LightGBM gave {written} metrics where {METRIC} was asked for"))),
        }
    }

    fn trees(&self) -> Result<u32> {
        let mut trees = 0;
        // SAFETY: the handle is live.
        check(unsafe { sys::LGBM_BoosterGetCurrentIteration(self.handle, &mut trees) })?;
        Ok(u32::try_from(trees).unwrap_or(0))
    }

    fn text(&self, iterations: i32) -> Result<String> {
        let gain = sys::C_API_FEATURE_IMPORTANCE_GAIN as c_int;
        // SAFETY: the buffer has the length that is passed.
        text_from(|length, out, buffer| unsafe {
            sys::LGBM_BoosterSaveModelToString(self.handle, 0, iterations, gain, length, out, buffer)
        })
    }

    fn importance(&self, iterations: i32, kind: c_int, width: usize) -> Result<Vec<f64>> {
        let mut values = vec![0.0; width];
        // SAFETY: LightGBM writes one number per feature of the training data.
        check(unsafe { sys::LGBM_BoosterFeatureImportance(self.handle, iterations, kind, values.as_mut_ptr()) })?;
        Ok(values)
    }
}

impl Drop for Booster<'_> {
    fn drop(&mut self) {
        // SAFETY: the handle is ours and not used again.
        let _ = unsafe { sys::LGBM_BoosterFree(self.handle) };
    }
}
