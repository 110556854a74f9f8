//! A column of shares per value (a map such as `{card: 0.7, blik: 0.3}`) as numeric columns, one per value a model knows.
//!
//! Training chooses the values: those that occur in most of its rows, as many as the field's metadata `top` says. The
//! choice is part of the model, as features of their own: `payments.method_share=card`. A value that a row lacks has a
//! share of zero there; where there is no map at all, every share is missing.

use arrow::array::{Array, AsArray, Float64Array, MapArray};
use arrow::datatypes::{DataType, Field, Float64Type};

use super::encode::Vocabulary;
use super::matrix::Texts;

/// The key of a field's metadata that says how many values to choose.
pub const TOP: &str = "top";

/// True for maps of texts to 64-bit floats.
pub fn is_shares(arrow: &DataType) -> bool {
    let DataType::Map(entries, _) = arrow else { return false };
    match entries.data_type() {
        DataType::Struct(fields) => {
            let types: Vec<&DataType> = fields.iter().map(|field| field.data_type()).collect();
            matches!(types[..], [DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View, DataType::Float64])
        }
        _ => false,
    }
}

/// How many values a field asks for, if it says so.
pub fn top(field: &Field) -> Option<usize> {
    field.metadata().get(TOP)?.parse().ok()
}

/// The values to make columns of: in most rows first, ties in value order.
pub fn choose<'a>(rows: impl Iterator<Item = (Shares<'a>, usize)>, top: usize) -> Vec<String> {
    let occurring = rows.flat_map(|(shares, row)| {
        let range = shares.entries(row);
        range.filter_map(move |entry| shares.texts.get(entry).filter(|_| shares.share(entry) > 0.0))
    });
    Vocabulary::fit(occurring, top).into()
}

/// The name of the feature that is the share of one value. What LightGBM cannot store in a name is percent-encoded, so
/// that different values keep different names.
pub fn name(column: &str, value: &str) -> String {
    let mut name = format!("{column}=");
    let mut buffer = [0; 4];
    for c in value.chars() {
        if c == '%' || breaks_names(c) {
            c.encode_utf8(&mut buffer).bytes().for_each(|byte| name.push_str(&format!("%{byte:02X}")));
        } else {
            name.push(c);
        }
    }
    name
}

/// LightGBM writes names into JSON unescaped and cuts its model file at white space.
pub fn breaks_names(c: char) -> bool {
    c.is_whitespace() || c.is_control() || "\",:[]{}".contains(c)
}

/// A chunk of maps.
#[derive(Clone, Copy)]
pub struct Shares<'a> {
    maps: &'a MapArray,
    texts: Texts<'a>,
    values: &'a Float64Array,
}

impl<'a> Shares<'a> {
    /// `None` for another type, such as a column that is null throughout.
    pub fn of(array: &'a dyn Array) -> Option<Shares<'a>> {
        let maps = array.as_map_opt()?;
        let values = maps.values().as_primitive_opt::<Float64Type>()?;
        Some(Shares { maps, texts: Texts::of(maps.keys().as_ref()), values })
    }

    /// The share of a value in a row: zero where the map lacks it, NaN where there is no map.
    pub fn get(&self, row: usize, value: &str) -> f64 {
        if self.maps.is_null(row) {
            return f64::NAN;
        }
        let entry = self.entries(row).find(|entry| self.texts.get(*entry) == Some(value));
        entry.map_or(0.0, |entry| self.share(entry))
    }

    /// Positions of a row's entries.
    fn entries(&self, row: usize) -> std::ops::Range<usize> {
        match self.maps.is_null(row) {
            true => 0..0,
            false => {
                let offsets = self.maps.value_offsets();
                offsets[row] as usize..offsets[row + 1] as usize
            }
        }
    }

    fn share(&self, entry: usize) -> f64 {
        if self.values.is_null(entry) { f64::NAN } else { self.values.value(entry) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int32Array, MapBuilder, NullArray, RecordBatch, StringBuilder};
    use arrow::array::{Float64Builder, MapFieldNames};
    use arrow::datatypes::Schema;
    use proptest::prelude::*;

    use super::super::fixture::features as fit;
    use super::super::matrix::{Class, Feature, Matrix};
    use super::*;

    type Row = Option<Vec<(&'static str, Option<f64>)>>;

    const NAME: &str = "g.method_share";

    fn maps(rows: &[Row]) -> ArrayRef {
        let names = MapFieldNames { entry: "entries".into(), key: "key".into(), value: "value".into() };
        let mut builder = MapBuilder::new(Some(names), StringBuilder::new(), Float64Builder::new());
        for row in rows {
            for (key, share) in row.iter().flatten() {
                builder.keys().append_value(key);
                builder.values().append_option(*share);
            }
            builder.append(row.is_some()).unwrap();
        }
        Arc::new(builder.finish())
    }

    fn batch(rows: &[Row], top: Option<&str>) -> RecordBatch {
        let array = maps(rows);
        let metadata = top.map(|top| (TOP.to_string(), top.to_string())).into_iter().collect();
        let field = Field::new(NAME, array.data_type().clone(), true).with_metadata(metadata);
        let other: ArrayRef = Arc::new((0..rows.len() as i32).collect::<Int32Array>());
        let schema = Schema::new(vec![field, Field::new("g.n", DataType::Int32, true)]);
        RecordBatch::try_new(Arc::new(schema), vec![array, other]).unwrap()
    }

    fn matrix(batches: &[RecordBatch]) -> Matrix {
        Matrix::from_batches(&batches[0].schema(), batches, &[NAME, "g.n"]).unwrap()
    }

    fn read(matrix: &Matrix, features: &[Feature], rows: &[usize]) -> Vec<f64> {
        let mut out = Vec::new();
        let view = matrix.view(features, rows).unwrap();
        view.for_each_block(5, |_, block| {
            out.extend_from_slice(block);
            Ok(())
        })
        .unwrap();
        out
    }

    fn names(features: &[Feature]) -> Vec<&str> {
        features.iter().map(|feature| feature.name.as_str()).collect()
    }

    fn some(entries: &[(&'static str, f64)]) -> Row {
        Some(entries.iter().map(|(key, share)| (*key, Some(*share))).collect())
    }

    #[test]
    fn the_values_of_most_training_rows_become_columns() {
        let rows = [
            some(&[("card", 0.9), ("blik", 0.1)]),
            some(&[("blik", 1.0)]),
            some(&[("cash", 0.5), ("card", 0.5)]),
            // Seen in many rows, but in none of them really, or not in training.
            some(&[("cheque", 0.0), ("cash", 1.0)]),
            Some(vec![("cheque", None), ("blik", Some(1.0))]),
            some(&[("cheque", 1.0)]),
            None,
        ];
        let matrix = matrix(&[batch(&rows, Some("2"))]);
        let features = fit(&matrix, &[0, 1, 2, 3, 4, 6]);
        // blik is in three rows; card and cash are in two each, and card comes first by name.
        assert_eq!(names(&features), ["g.method_share=blik", "g.method_share=card", "g.n"]);
        assert!(features[..2].iter().all(|f| f.class == Class::Share && f.column() == NAME));
        let got = read(&matrix, &features, &[0, 5, 6]);
        assert_eq!(got[..6], [0.1, 0.9, 0.0, 0.0, 0.0, 5.0], "an unseen value is in no column");
        assert!(got[6].is_nan() && got[7].is_nan() && got[8] == 6.0, "without a map every share is missing");
    }

    #[test]
    fn what_was_chosen_reads_any_later_rows() {
        let trained = matrix(&[batch(&[some(&[("a b", 0.5), ("złoty, 5%", 0.5)])], Some("9"))]);
        let features = fit(&trained, &[0]);
        assert_eq!(names(&features)[..2], ["g.method_share=a%20b", "g.method_share=złoty%2C%205%25"]);
        let stored = serde_json::to_string(&features).unwrap();
        let features: Vec<Feature> = serde_json::from_str(&stored).unwrap();
        // Without metadata, in another order of keys, in two batches of which one is a slice.
        let later = batch(&[None, some(&[("new", 0.2), ("złoty, 5%", 0.7), ("a b", 0.1)])], None);
        let later = matrix(&[later.slice(1, 1), later]);
        assert_eq!(read(&later, &features, &[0, 2]), [0.1, 0.7, 1.0, 0.1, 0.7, 1.0]);
        let nulls: ArrayRef = Arc::new(NullArray::new(1));
        let number: ArrayRef = Arc::new(Int32Array::from(vec![1]));
        let nothing = matrix(&[RecordBatch::try_from_iter([(NAME, nulls), ("g.n", number)]).unwrap()]);
        assert!(read(&nothing, &features, &[0])[..2].iter().all(|share| share.is_nan()));
        let numbers = RecordBatch::try_from_iter([NAME, "g.n"].map(|n| (n, nothing_of(1)))).unwrap();
        let error = matrix(&[numbers]).view(&features, &[0]).err().unwrap().to_string();
        assert!(error.contains("expected feature `g.method_share=a%20b`"), "{error}");
    }

    fn nothing_of(number: i32) -> ArrayRef {
        Arc::new(Int32Array::from(vec![number]))
    }

    #[test]
    fn maps_of_anything_else_are_no_feature() {
        assert!(is_shares(maps(&[None]).data_type()));
        assert!(!is_shares(&DataType::Float64));
        let mut builder = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
        builder.append(false).unwrap();
        assert!(!is_shares(arrow::array::Array::data_type(&builder.finish())));
    }

    proptest! {
        #[test]
        fn names_tell_values_apart(one in ".{0,6}", other in ".{0,6}") {
            prop_assert_eq!(name("g.f", &one) == name("g.f", &other), one == other);
            prop_assert!(!name("g.f", &one).chars().any(breaks_names));
        }
    }
}
