//! Feature columns as numbers, without a copy: Arrow batches stay as they are, and rows are read into small
//! row-major blocks of `f64` where LightGBM wants them.
//!
//! | Arrow type | class | number |
//! |---|---|---|
//! | integers, floats, decimals | numeric | its value, rounded to the nearest `f64` |
//! | boolean | numeric | 0 or 1 |
//! | date, timestamp | time | days since 1970-01-01T00:00Z, fractions included |
//! | duration | numeric | days |
//! | strings, dictionaries of strings | categorical | see below |
//! | map of strings to floats | share | a column per chosen value, see [`super::shares`] |
//! | null type | numeric | missing |
//!
//! What becomes of strings is the definition's choice, kept in each [`Feature`]: the code of a [`Vocabulary`], a column
//! of 0 and 1 per chosen value, or a smoothed mean of labels (see [`super::inputs`]). Null is NaN throughout, and so is
//! an unknown category's code.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::*;
use rayon::ThreadPool;
use rayon::prelude::*;

use super::encode::Vocabulary;
pub use super::feature::{Class, Feature};
use super::shares::{self, Shares};
use crate::error::{Context, Error, Result};

/// Named columns over any number of batches. Memory: the batches', plus a copy of columns of rare types.
#[derive(Debug, Clone)]
pub struct Matrix {
    columns: Vec<Column>,
    /// First row of each chunk, and the number of rows.
    starts: Vec<usize>,
}

#[derive(Debug, Clone)]
struct Column {
    name: String,
    class: Class,
    arrow_type: DataType,
    /// Of shares: how many values to choose.
    top: Option<usize>,
    chunks: Vec<ArrayRef>,
}

impl Matrix {
    /// The columns `names`, in this order, of batches of one schema.
    ///
    /// `Definition` error for a missing column, a type that is no feature, or a name given twice.
    pub fn from_batches<S: AsRef<str>>(schema: &Schema, batches: &[RecordBatch], names: &[S]) -> Result<Matrix> {
        let mut starts = vec![0];
        for batch in batches {
            starts.push(starts[starts.len() - 1] + batch.num_rows());
        }
        let mut columns: Vec<Column> = Vec::with_capacity(names.len());
        for name in names.iter().map(AsRef::as_ref) {
            if columns.iter().any(|column| column.name == name) {
                return Err(Error::definition(format!("feature `{name}` is listed twice")));
            }
            columns.push(column(schema, batches, name)?);
        }
        Ok(Matrix { columns, starts })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.starts[self.starts.len() - 1]
    }

    /// Number of columns.
    pub fn width(&self) -> usize {
        self.columns.len()
    }

    /// The names of the columns with their classes, in order.
    pub fn columns(&self) -> impl Iterator<Item = (&str, Class)> {
        self.columns.iter().map(|column| (column.name.as_str(), column.class))
    }

    /// A feature that reads a column as it is.
    pub fn plain(&self, column: usize) -> Feature {
        let column = &self.columns[column];
        Feature {
            name: column.name.clone(),
            class: column.class,
            arrow_type: column.arrow_type.to_string(),
            vocabulary: None,
            value: None,
            target: None,
        }
    }

    /// The most frequent texts of a column in `rows`, `max` of them at most.
    pub fn vocabulary(&self, column: usize, rows: &[usize], max: usize) -> Vocabulary {
        let column = &self.columns[column];
        let values = self.runs(rows).flat_map(|(chunk, rows)| {
            let texts = Texts::of(column.chunks[chunk].as_ref());
            rows.iter().filter_map(move |row| texts.get(row - self.starts[chunk]))
        });
        Vocabulary::fit(values, max)
    }

    /// The values of a column of shares that occur in most of `rows`: as many as the column asks for, else `max`.
    pub fn share_values(&self, column: usize, rows: &[usize], max: usize) -> Vec<String> {
        let column = &self.columns[column];
        let rows = self.runs(rows).flat_map(|(chunk, rows)| {
            let shares = Shares::of(column.chunks[chunk].as_ref());
            rows.iter().filter_map(move |row| Some((shares?, row - self.starts[chunk])))
        });
        shares::choose(rows, column.top.unwrap_or(max))
    }

    /// Every text of a column, in row order.
    pub fn texts(&self, column: usize) -> impl Iterator<Item = Option<&str>> {
        self.columns[column].chunks.iter().flat_map(|chunk| {
            let texts = Texts::of(chunk.as_ref());
            (0..chunk.len()).map(move |row| texts.get(row))
        })
    }

    /// Per row, how many columns it lacks: null, or no number.
    pub fn missing(&self) -> Vec<u32> {
        let mut counts = vec![0; self.rows()];
        for column in &self.columns {
            for (chunk, start) in column.chunks.iter().zip(&self.starts) {
                let counts = &mut counts[*start..*start + chunk.len()];
                if let Some(nulls) = chunk.logical_nulls().filter(|nulls| nulls.null_count() > 0) {
                    counts.iter_mut().zip(nulls.iter()).for_each(|(count, valid)| *count += u32::from(!valid));
                }
                if let Some(numbers) = chunk.as_primitive_opt::<Float64Type>() {
                    let nan = |row: &usize| numbers.is_valid(*row) && numbers.value(*row).is_nan();
                    (0..numbers.len()).filter(nan).for_each(|row| counts[row] += 1);
                }
            }
        }
        counts
    }

    /// Rows of this matrix read as `features` say.
    ///
    /// `Definition` error where a feature has no column here, or one of another class.
    pub fn view<'a>(&'a self, features: &'a [Feature], rows: &'a [usize]) -> Result<View<'a>> {
        self.view_known(features, &[], rows)
    }

    /// As [`Matrix::view`], but where `known` holds numbers for a feature, one per row of the matrix, these are taken.
    pub fn view_known<'a>(
        &'a self,
        features: &'a [Feature],
        known: &'a [Option<Vec<f64>>],
        rows: &'a [usize],
    ) -> Result<View<'a>> {
        let columns = features.iter().map(|feature| self.source(feature)).collect::<Result<Vec<_>>>()?;
        if let Some(row) = rows.iter().find(|row| **row >= self.rows()) {
            return Err(Error::internal(format!("row {row} of a matrix of {} rows", self.rows())));
        }
        if let Some(known) = known.iter().flatten().find(|known| known.len() != self.rows()) {
            return Err(Error::internal(format!("{} numbers for a matrix of {} rows", known.len(), self.rows())));
        }
        Ok(View { matrix: self, features, known, columns, rows })
    }

    /// The position of the column that a feature is read from.
    fn source(&self, feature: &Feature) -> Result<usize> {
        let index = self.columns.iter().position(|column| column.name == feature.column());
        let index =
            index.ok_or_else(|| Error::definition(format!("expected feature `{}`, found none", feature.name)))?;
        let column = &self.columns[index];
        if column.class != feature.class && column.arrow_type != DataType::Null {
            return Err(Error::definition(format!(
                "expected feature `{}` of type {} ({:?}), found `{}` of type {} ({:?}); the model must be trained \
                 again after a feature changes its type",
                feature.name, feature.arrow_type, feature.class, column.name, column.arrow_type, column.class
            )));
        }
        Ok(index)
    }

    /// `rows` cut into runs that lie in one chunk each.
    fn runs<'a>(&'a self, rows: &'a [usize]) -> impl Iterator<Item = (usize, &'a [usize])> {
        let mut rest = rows;
        std::iter::from_fn(move || {
            let first = *rest.first()?;
            let chunk = self.starts.partition_point(|start| *start <= first) - 1;
            let inside = self.starts[chunk]..self.starts[chunk + 1];
            let length = rest.iter().position(|row| !inside.contains(row)).unwrap_or(rest.len());
            let (run, after) = rest.split_at(length);
            rest = after;
            Some((chunk, run))
        })
    }
}

fn column(schema: &Schema, batches: &[RecordBatch], name: &str) -> Result<Column> {
    let index = schema.index_of(name).map_err(|_| {
        let near = schema.fields().iter().map(|f| (strsim::jaro_winkler(name, f.name()), f.name()));
        let near = near.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(similarity, _)| *similarity > 0.8);
        let hint = near.map_or(String::new(), |(_, near)| format!("; the nearest is `{near}`"));
        Error::definition(format!("feature `{name}` is missing from {} columns{hint}", schema.fields().len()))
    })?;
    let arrow_type = schema.field(index).data_type().clone();
    let class = Class::of(&arrow_type).ok_or_else(|| {
        Error::definition(format!(
            "`{name}` of type {arrow_type} cannot be a feature; expected a number, boolean, date, timestamp or string"
        ))
    })?;
    let chunks = batches
        .iter()
        .map(|batch| match readable(&arrow_type) {
            None => Ok(batch.column(index).clone()),
            Some(target) => cast(batch.column(index), &target).with_context(|| format!("feature `{name}`")),
        })
        .collect::<Result<Vec<_>>>()?;
    let top = (class == Class::Share).then(|| shares::top(schema.field(index))).flatten();
    Ok(Column { name: name.to_string(), class, arrow_type, top, chunks })
}

/// The type to cast a column of a rare type to; `None` where it is read as it is.
fn readable(arrow: &DataType) -> Option<DataType> {
    use DataType::*;
    match arrow {
        Float16 | Decimal32(_, _) | Decimal64(_, _) | Decimal256(_, _) => Some(Float64),
        Dictionary(_, values) => Some(readable(values).unwrap_or_else(|| values.as_ref().clone())),
        _ => None,
    }
}

/// Some rows of a matrix as the numbers a model sees.
#[derive(Clone)]
pub struct View<'a> {
    matrix: &'a Matrix,
    features: &'a [Feature],
    /// Per feature, its numbers by row of the matrix, where they are not those that the column gives.
    known: &'a [Option<Vec<f64>>],
    /// Per feature, the column it is read from.
    columns: Vec<usize>,
    rows: &'a [usize],
}

impl<'a> View<'a> {
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub fn features(&self) -> &'a [Feature] {
        self.features
    }

    /// The rows in blocks of at most `cells` numbers (one row at least): the position of the block's first row, and
    /// its numbers, row-major. One buffer serves all blocks.
    pub fn for_each_block(&self, cells: usize, f: impl FnMut(usize, &[f64]) -> Result<()>) -> Result<()> {
        self.blocks(cells, |rows, block| self.fill(rows, block), f)
    }

    /// As [`View::for_each_block`], but each block is read by all threads of `pool`, some rows by each.
    pub fn for_each_block_by(
        &self,
        pool: &ThreadPool,
        cells: usize,
        f: impl FnMut(usize, &[f64]) -> Result<()>,
    ) -> Result<()> {
        let width = self.features.len().max(1);
        let fill = |rows: &[usize], block: &mut [f64]| {
            let share = rows.len().div_ceil(pool.current_num_threads()).max(1);
            let shares = rows.par_chunks(share).zip(block.par_chunks_mut(share * width));
            pool.install(|| shares.for_each(|(rows, block)| self.fill(rows, block)));
        };
        self.blocks(cells, fill, f)
    }

    fn blocks(
        &self,
        cells: usize,
        fill: impl Fn(&[usize], &mut [f64]),
        mut f: impl FnMut(usize, &[f64]) -> Result<()>,
    ) -> Result<()> {
        let per_block = (cells / self.features.len().max(1)).max(1);
        let mut block = Vec::new();
        for (number, rows) in self.rows.chunks(per_block).enumerate() {
            block.resize(rows.len() * self.features.len(), f64::NAN);
            fill(rows, &mut block);
            f(number * per_block, &block)?;
        }
        Ok(())
    }

    /// Part of this view: the rows at `positions` of it.
    pub fn rows_at(&self, positions: impl Iterator<Item = usize>) -> Vec<usize> {
        positions.filter_map(|position| self.rows.get(position).copied()).collect()
    }

    /// The same matrix and features, other rows.
    pub fn with_rows<'b>(&self, rows: &'b [usize]) -> View<'b>
    where
        'a: 'b,
    {
        View { columns: self.columns.clone(), rows, ..*self }
    }

    /// One column of it.
    pub fn column(&self, index: usize) -> View<'a> {
        let one = index..index + 1;
        let known = self.known.get(one.clone()).unwrap_or_default();
        View { features: &self.features[one.clone()], known, columns: self.columns[one].to_vec(), ..*self }
    }

    fn fill(&self, rows: &[usize], block: &mut [f64]) {
        block.fill(f64::NAN);
        let width = self.features.len();
        let mut done = 0;
        for (chunk, run) in self.matrix.runs(rows) {
            let out = &mut block[done * width..(done + run.len()) * width];
            for (index, (column, feature)) in self.columns.iter().zip(self.features).enumerate() {
                let target = Target { rows: run, start: self.matrix.starts[chunk], out: &mut *out, index, width };
                match self.known.get(index).and_then(Option::as_ref) {
                    Some(known) => target.set(|row| known[self.matrix.starts[chunk] + row]),
                    None => target.read(self.matrix.columns[*column].chunks[chunk].as_ref(), feature),
                }
            }
            done += run.len();
        }
    }
}

/// One column of a block, to be filled from one chunk.
struct Target<'a> {
    rows: &'a [usize],
    start: usize,
    out: &'a mut [f64],
    index: usize,
    width: usize,
}

/// Microseconds and the like in one day.
fn per_day(unit: &TimeUnit) -> f64 {
    match unit {
        TimeUnit::Second => 86_400.0,
        TimeUnit::Millisecond => 86_400e3,
        TimeUnit::Microsecond => 86_400e6,
        TimeUnit::Nanosecond => 86_400e9,
    }
}

impl Target<'_> {
    fn read(self, array: &dyn Array, feature: &Feature) {
        use DataType::*;
        match (&feature.value, feature.class) {
            (Some(value), Class::Share) => {
                let shares = Shares::of(array);
                return self.set(|row| shares.map_or(f64::NAN, |shares| shares.get(row, value)));
            }
            (Some(value), _) => {
                let texts = Texts::of(array);
                return self.set(|row| texts.get(row).map_or(f64::NAN, |text| f64::from(u8::from(text == value))));
            }
            (None, _) => {}
        }
        if let Some(table) = &feature.target {
            let texts = Texts::of(array);
            return self.set(|row| table.encode(texts.get(row)));
        }
        if let Some(vocabulary) = &feature.vocabulary {
            let texts = Texts::of(array);
            return self.set(|row| texts.get(row).and_then(|text| vocabulary.code(text)).map_or(f64::NAN, f64::from));
        }
        match array.data_type() {
            Int8 => self.primitive::<Int8Type>(array, f64::from),
            Int16 => self.primitive::<Int16Type>(array, f64::from),
            Int32 => self.primitive::<Int32Type>(array, f64::from),
            Int64 => self.primitive::<Int64Type>(array, |v| v as f64),
            UInt8 => self.primitive::<UInt8Type>(array, f64::from),
            UInt16 => self.primitive::<UInt16Type>(array, f64::from),
            UInt32 => self.primitive::<UInt32Type>(array, f64::from),
            UInt64 => self.primitive::<UInt64Type>(array, |v| v as f64),
            Float32 => self.primitive::<Float32Type>(array, f64::from),
            Float64 => self.primitive::<Float64Type>(array, |v| v),
            Decimal128(_, scale) => {
                let unit = 10f64.powi(i32::from(*scale));
                self.primitive::<Decimal128Type>(array, |v| v as f64 / unit);
            }
            Date32 => self.primitive::<Date32Type>(array, f64::from),
            Date64 => self.primitive::<Date64Type>(array, |v| v as f64 / 86_400e3),
            Timestamp(unit, _) => {
                let day = per_day(unit);
                match unit {
                    TimeUnit::Second => self.primitive::<TimestampSecondType>(array, |v| v as f64 / day),
                    TimeUnit::Millisecond => self.primitive::<TimestampMillisecondType>(array, |v| v as f64 / day),
                    TimeUnit::Microsecond => self.primitive::<TimestampMicrosecondType>(array, |v| v as f64 / day),
                    TimeUnit::Nanosecond => self.primitive::<TimestampNanosecondType>(array, |v| v as f64 / day),
                }
            }
            Duration(unit) => {
                let day = per_day(unit);
                match unit {
                    TimeUnit::Second => self.primitive::<DurationSecondType>(array, |v| v as f64 / day),
                    TimeUnit::Millisecond => self.primitive::<DurationMillisecondType>(array, |v| v as f64 / day),
                    TimeUnit::Microsecond => self.primitive::<DurationMicrosecondType>(array, |v| v as f64 / day),
                    TimeUnit::Nanosecond => self.primitive::<DurationNanosecondType>(array, |v| v as f64 / day),
                }
            }
            Boolean => {
                let values = array.as_boolean();
                self.set(|row| if values.is_null(row) { f64::NAN } else { f64::from(u8::from(values.value(row))) });
            }
            // The null type; the block is NaN already. No other type gets here: see `column`.
            _ => {}
        }
    }

    fn primitive<T: ArrowPrimitiveType>(self, array: &dyn Array, number: impl Fn(T::Native) -> f64) {
        let Some(values) = array.as_primitive_opt::<T>() else { return };
        match values.nulls() {
            Some(nulls) => self.set(|row| if nulls.is_null(row) { f64::NAN } else { number(values.value(row)) }),
            None => self.set(|row| number(values.value(row))),
        }
    }

    fn set(self, number: impl Fn(usize) -> f64) {
        for (row, out) in self.rows.iter().zip(self.out.chunks_exact_mut(self.width)) {
            out[self.index] = number(row - self.start);
        }
    }
}

/// The three layouts of strings as one.
#[derive(Clone, Copy)]
pub(super) enum Texts<'a> {
    Utf8(&'a arrow::array::StringArray),
    Large(&'a arrow::array::LargeStringArray),
    View(&'a arrow::array::StringViewArray),
    /// The null type.
    None,
}

impl<'a> Texts<'a> {
    pub(super) fn of(array: &'a dyn Array) -> Texts<'a> {
        match array.data_type() {
            DataType::Utf8 => Texts::Utf8(array.as_string::<i32>()),
            DataType::LargeUtf8 => Texts::Large(array.as_string::<i64>()),
            DataType::Utf8View => Texts::View(array.as_string_view()),
            _ => Texts::None,
        }
    }

    pub(super) fn get(&self, row: usize) -> Option<&'a str> {
        match self {
            Texts::Utf8(a) => a.is_valid(row).then(|| a.value(row)),
            Texts::Large(a) => a.is_valid(row).then(|| a.value(row)),
            Texts::View(a) => a.is_valid(row).then(|| a.value(row)),
            Texts::None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::features as fit;
    use super::*;
    use arrow::array::*;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn matrix(columns: Vec<(&str, ArrayRef)>) -> Result<Matrix> {
        let names: Vec<String> = columns.iter().map(|(name, _)| name.to_string()).collect();
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        Matrix::from_batches(&batch.schema(), &[batch], &names)
    }

    fn read(matrix: &Matrix, features: &[Feature], rows: &[usize], cells: usize) -> Vec<f64> {
        let mut out = Vec::new();
        let view = matrix.view(features, rows).unwrap();
        view.for_each_block(cells, |first, block| {
            assert_eq!(first * features.len(), out.len());
            out.extend_from_slice(block);
            Ok(())
        })
        .unwrap();
        out
    }

    #[test]
    fn every_type_gives_its_number_and_null_is_nan() {
        let day = 86_400_000_000;
        let dictionary: DictionaryArray<Int32Type> = vec![Some("b"), None].into_iter().collect();
        let decimal = Decimal128Array::from(vec![Some(12_345), None]).with_precision_and_scale(18, 2).unwrap();
        let small = Decimal64Array::from(vec![Some(-150), None]).with_precision_and_scale(9, 2).unwrap();
        let columns: Vec<(&str, ArrayRef, f64)> = vec![
            ("i64", Arc::new(Int64Array::from(vec![Some(-7), None])), -7.0),
            ("u8", Arc::new(UInt8Array::from(vec![Some(200), None])), 200.0),
            ("f32", Arc::new(Float32Array::from(vec![Some(0.5), None])), 0.5),
            ("f64", Arc::new(Float64Array::from(vec![Some(1e300), None])), 1e300),
            ("decimal", Arc::new(decimal), 123.45),
            ("decimal64", Arc::new(small), -1.5),
            ("bool", Arc::new(BooleanArray::from(vec![Some(true), None])), 1.0),
            ("date", Arc::new(Date32Array::from(vec![Some(19_723), None])), 19_723.0),
            ("at", Arc::new(TimestampMicrosecondArray::from(vec![Some(3 * day / 2), None])), 1.5),
            ("at_s", Arc::new(TimestampSecondArray::from(vec![Some(43_200), None]).with_timezone("UTC")), 0.5),
            ("lasts", Arc::new(DurationMillisecondArray::from(vec![Some(-86_400_000), None])), -1.0),
            ("text", Arc::new(StringArray::from(vec![Some("a"), None])), 0.0),
            ("view", Arc::new(StringViewArray::from(vec![Some("a"), None])), 0.0),
            ("large", Arc::new(LargeStringArray::from(vec![Some("a"), None])), 0.0),
            ("dictionary", Arc::new(dictionary), 0.0),
        ];
        let expected: Vec<f64> = columns.iter().map(|c| c.2).collect();
        let matrix = matrix(columns.into_iter().map(|(name, array, _)| (name, array)).collect()).unwrap();
        let features = fit(&matrix, &[0, 1]);
        assert_eq!(read(&matrix, &features, &[0], 1), expected);
        assert!(read(&matrix, &features, &[1], 1).iter().all(|v| v.is_nan()));
    }

    #[test]
    fn vocabularies_know_training_rows_only() {
        let matrix = matrix(vec![("c", Arc::new(StringArray::from(vec!["x", "y", "y", "z"])))]).unwrap();
        let features = fit(&matrix, &[0, 1, 2]);
        assert_eq!(features[0].vocabulary.as_ref().unwrap().values(), ["y", "x"]);
        let codes = read(&matrix, &features, &[0, 1, 3], 8);
        assert_eq!(codes[..2], [1.0, 0.0]);
        assert!(codes[2].is_nan(), "`z` was not in training");
    }

    #[test]
    fn bad_columns_are_named() {
        let numbers: ArrayRef = Arc::new(Int32Array::from(vec![1]));
        let batch = RecordBatch::try_from_iter([("payments.sum_7d", numbers.clone())]).unwrap();
        let of = |batch: &RecordBatch, names: &[&str]| {
            let error = Matrix::from_batches(&batch.schema(), std::slice::from_ref(batch), names).unwrap_err();
            assert_eq!(error.kind(), crate::error::Kind::Definition);
            error.to_string()
        };
        let text = of(&batch, &["payments.sum_8d"]);
        assert!(
            text.contains("`payments.sum_8d` is missing from 1 columns; the nearest is `payments.sum_7d`"),
            "{text}"
        );
        assert!(of(&batch, &["payments.sum_7d", "payments.sum_7d"]).contains("listed twice"));
        let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1)])]));
        let lists = RecordBatch::try_from_iter([("l", lists)]).unwrap();
        assert!(of(&lists, &["l"]).contains("cannot be a feature"));
    }

    #[test]
    fn a_feature_that_changed_its_class_is_refused_and_its_width_is_not() {
        let trained = matrix(vec![("a", Arc::new(Int32Array::from(vec![1])))]).unwrap();
        let features = fit(&trained, &[0]);
        let wider = matrix(vec![("a", Arc::new(Float64Array::from(vec![1.5])))]).unwrap();
        assert_eq!(read(&wider, &features, &[0], 1), [1.5]);
        let text = matrix(vec![("a", Arc::new(StringArray::from(vec!["1"])))]).unwrap();
        let error = text.view(&features, &[0]).err().unwrap().to_string();
        assert!(error.contains("expected feature `a` of type Int32 (Numeric), found `a` of type Utf8"), "{error}");
        let nulls = matrix(vec![("a", Arc::new(NullArray::new(1)))]).unwrap();
        assert!(read(&nulls, &features, &[0], 1)[0].is_nan());
        let texts = fit(&text, &[0]);
        let nulls = matrix(vec![("a", Arc::new(NullArray::new(1)))]).unwrap();
        assert!(read(&nulls, &texts, &[0], 1)[0].is_nan());
    }

    proptest! {
        #[test]
        fn any_rows_in_any_batches_and_blocks_are_the_rows(
            values in proptest::collection::vec(proptest::option::of(-1000i32..1000), 1..60),
            cuts in proptest::collection::vec(0usize..60, 0..5),
            picks in proptest::collection::vec(0usize..60, 0..80),
            cells in 1usize..40,
        ) {
            let whole: ArrayRef = Arc::new(Int32Array::from(values.clone()));
            let doubled: ArrayRef = Arc::new(Float64Array::from_iter(values.iter().map(|v| v.map(|v| f64::from(v) * 2.0))));
            let batch = RecordBatch::try_from_iter([("a", whole), ("b", doubled)]).unwrap();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c % values.len()).collect();
            cuts.extend([0, values.len()]);
            cuts.sort_unstable();
            let batches: Vec<RecordBatch> = cuts.windows(2).map(|w| batch.slice(w[0], w[1] - w[0])).collect();
            let matrix = Matrix::from_batches(&batch.schema(), &batches, &["b", "a"]).unwrap();
            let rows: Vec<usize> = picks.into_iter().map(|p| p % values.len()).collect();
            let features = fit(&matrix, &rows);
            let pool = super::super::threads::pool(3).unwrap();
            let got = read(&matrix, &features, &rows, cells);
            let expected: Vec<f64> = rows.iter().flat_map(|r| {
                let v = values[*r].map_or(f64::NAN, f64::from);
                [v * 2.0, v]
            }).collect();
            prop_assert_eq!(got.len(), expected.len());
            prop_assert!(got.iter().zip(&expected).all(|(g, e)| g == e || (g.is_nan() && e.is_nan())));
            let view = matrix.view(&features, &rows).unwrap();
            let mut by_many = Vec::new();
            view.for_each_block_by(&pool, cells, |first, block| {
                assert_eq!(first * 2, by_many.len());
                by_many.extend(block.iter().map(|number| number.to_bits()));
                Ok(())
            })
            .unwrap();
            prop_assert!(by_many.into_iter().eq(got.iter().map(|number| number.to_bits())));
            for column in 0..2 {
                let mut alone = Vec::new();
                let mut keep = |_, block: &[f64]| {
                    alone.extend_from_slice(block);
                    Ok(())
                };
                view.column(column).for_each_block(cells, &mut keep).unwrap();
                let of_all = expected.iter().skip(column).step_by(2);
                prop_assert!(alone.len() == rows.len());
                prop_assert!(alone.iter().zip(of_all).all(|(a, e)| a == e || (a.is_nan() && e.is_nan())));
            }
        }
    }
}
