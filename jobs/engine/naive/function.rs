//! What each function makes of the rows that count. Semantics: docs/reference/definitions.md.

use std::sync::Arc;

use arrow::array::builder::{Float64Builder, MapBuilder, StringBuilder};
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use num_bigint::BigInt;
use sha2::{Digest, Sha256};

use super::exact::{FLOAT_PLACES, rounded, units};
use super::order;
use crate::define::features::Function;
use crate::error::{Error, Result};

/// The type of a function over values of type `of`.
pub fn result_type(function: &Function, of: &DataType) -> DataType {
    use Function::*;
    match (function, of) {
        (Count | CountDistinct | ApproxCountDistinct { .. }, _) => DataType::Int64,
        (Sum, DataType::Decimal128(_, scale)) => DataType::Decimal128(38, *scale),
        (Sum, DataType::Int32 | DataType::Int64) => DataType::Int64,
        (Min | Max | First | Last | Top { .. }, _) => of.clone(),
        (Shares { .. }, _) => shares(&[]).data_type(),
        _ => DataType::Float64,
    }
}

/// The value over rows (time, value), oldest first. Values are null only where the function has none to look at.
pub fn apply(function: &Function, rows: &[(i64, ScalarValue)], as_of: i64, of: &DataType) -> Result<ScalarValue> {
    use Function::*;
    let values: Vec<ScalarValue> = rows.iter().map(|(_, value)| value.clone()).collect();
    let n = rows.len();
    let pick = |value: Option<&ScalarValue>| value.cloned().map_or_else(|| ScalarValue::try_from(of), Ok);
    let float = |value: Option<f64>| Ok(ScalarValue::Float64(value));
    let int = |value: u64| Ok(ScalarValue::Int64(Some(value as i64)));
    let span = |from: Option<i64>, to: Option<i64>| Some((i128::from(to?) - i128::from(from?)) as f64);
    let (oldest, newest) = (rows.first().map(|row| row.0), rows.last().map(|row| row.0));
    match function {
        Count => int(n as u64),
        CountDistinct => int(frequencies(&values).len() as u64),
        ApproxCountDistinct { sample } => int(approximate(&values, u64::from(*sample))?),
        Sum => sum(&values, of),
        Mean if n == 0 => float(None),
        Mean => float(Some(rounded_sum(&total(&values), of)? / (n as f64 * ten_to(scale(of))))),
        Stddev | Variance if n < 2 => float(None),
        Variance => float(Some(squared_spread(&values, of)? / ten_to(2 * scale(of)))),
        Stddev => float(Some(squared_spread(&values, of)?.sqrt() / ten_to(scale(of)))),
        Min => Ok(pick(values.iter().min_by(|a, b| order(a, b)))?),
        Max => Ok(pick(values.iter().max_by(|a, b| order(a, b)))?),
        First => Ok(pick(values.first())?),
        Last => Ok(pick(values.last())?),
        Share { value } => {
            let category = ScalarValue::Utf8(Some(value.clone())).cast_to(of)?;
            let equal = values.iter().filter(|value| **value == category).count();
            float((n > 0).then(|| equal as f64 / n as f64))
        }
        Shares { .. } => Ok(shares(&values)),
        Top { rank } => {
            let mut ranked = frequencies(&values);
            ranked.sort_by(|(a, often), (b, oftener)| oftener.cmp(often).then(order(a, b)));
            Ok(pick(ranked.get(*rank as usize - 1).map(|(value, _)| value))?)
        }
        Entropy => float(entropy(&values)),
        ExpWeightedMean { half_life } => float(weighted(rows, half_life.micros())?),
        Percentile { at } => float(percentile(&values, *at)),
        MeanGap { .. } if n < 2 => float(None),
        MeanGap { unit } => float(span(oldest, newest).map(|s| s / unit.micros() as f64 / (n - 1) as f64)),
        TimeSinceFirst { unit } => float(span(oldest, Some(as_of)).map(|s| s / unit.micros() as f64)),
        TimeSinceLast { unit } => float(span(newest, Some(as_of)).map(|s| s / unit.micros() as f64)),
    }
}

// ---- sums: whole numbers of 10^-scale, or of 2^-1074 for floats ----------------------------------------------------

fn whole(value: &ScalarValue) -> BigInt {
    match value {
        ScalarValue::Int32(Some(value)) => BigInt::from(*value),
        ScalarValue::Int64(Some(value)) => BigInt::from(*value),
        ScalarValue::Decimal128(Some(value), ..) => BigInt::from(*value),
        ScalarValue::Float64(Some(value)) => units(*value),
        _ => BigInt::ZERO,
    }
}

fn total(values: &[ScalarValue]) -> BigInt {
    values.iter().map(whole).sum()
}

/// Binary places of [`whole`].
fn places(of: &DataType) -> u32 {
    if *of == DataType::Float64 { FLOAT_PLACES } else { 0 }
}

fn scale(of: &DataType) -> i32 {
    if let DataType::Decimal128(_, scale) = of { i32::from(*scale) } else { 0 }
}

fn ten_to(scale: i32) -> f64 {
    10.0_f64.powi(scale)
}

fn rounded_sum(sum: &BigInt, of: &DataType) -> Result<f64> {
    rounded(sum, places(of)).ok_or_else(|| overflow("float64"))
}

fn overflow(what: &str) -> Error {
    Error::data(format!("the sum overflows {what}"))
}

fn sum(values: &[ScalarValue], of: &DataType) -> Result<ScalarValue> {
    let result = result_type(&Function::Sum, of);
    if values.is_empty() {
        return Ok(ScalarValue::try_from(&result)?);
    }
    let sum = total(values);
    match result {
        DataType::Float64 => Ok(ScalarValue::Float64(Some(rounded_sum(&sum, of)?))),
        DataType::Decimal128(precision, scale) => {
            let fits = i128::try_from(&sum).ok().filter(|sum| sum.unsigned_abs() < 10_u128.pow(38));
            let sum = fits.ok_or_else(|| overflow(&format!("decimal({precision},{scale})")))?;
            Ok(ScalarValue::Decimal128(Some(sum), precision, scale))
        }
        _ => Ok(ScalarValue::Int64(Some(i64::try_from(&sum).map_err(|_| overflow("int64"))?))),
    }
}

/// (n·Σx² − (Σx)²) / (n·(n−1)), in units of the square of [`whole`]'s decimal scale.
fn squared_spread(values: &[ScalarValue], of: &DataType) -> Result<f64> {
    let n = values.len();
    let squares: BigInt = values.iter().map(|value| whole(value).pow(2)).sum();
    let spread = squares * BigInt::from(n) - total(values).pow(2);
    let spread = rounded(&spread, 2 * places(of)).ok_or_else(|| overflow("float64"))?;
    Ok(spread / (n as f64 * (n - 1) as f64))
}

// ---- categories ---------------------------------------------------------------------------------------------------

/// Distinct values ascending, with how often each occurs. All NaN are one value, both zeros are one.
fn frequencies(values: &[ScalarValue]) -> Vec<(ScalarValue, usize)> {
    let one = |value: &ScalarValue| match value {
        ScalarValue::Float64(Some(f)) if f.is_nan() => ScalarValue::Float64(Some(f64::NAN)),
        ScalarValue::Float64(Some(0.0)) => ScalarValue::Float64(Some(0.0)),
        other => other.clone(),
    };
    let mut sorted: Vec<ScalarValue> = values.iter().map(one).collect();
    sorted.sort_by(order);
    let equal = sorted.chunk_by(|a, b| order(a, b).is_eq());
    equal.map(|values| (values[0].clone(), values.len())).collect()
}

fn text(value: &ScalarValue) -> Result<String> {
    match value.cast_to(&DataType::Utf8)? {
        ScalarValue::Utf8(Some(text)) => Ok(text),
        other => Err(Error::internal(format!("{other:?} is no text"))),
    }
}

/// Distinct values of which the hash of the text falls into one part of `sample`, times `sample`.
fn approximate(values: &[ScalarValue], sample: u64) -> Result<u64> {
    let mut sampled = 0;
    for (value, _) in frequencies(values) {
        let hash = Sha256::digest(text(&value)?);
        let head = hash.iter().take(8).fold(0_u64, |head, byte| head << 8 | u64::from(*byte));
        sampled += u64::from(head % sample == 0);
    }
    Ok(sampled * sample)
}

fn entropy(values: &[ScalarValue]) -> Option<f64> {
    let mut entropy = 0.0;
    for (_, often) in frequencies(values) {
        let p = often as f64 / values.len() as f64;
        entropy -= p * p.ln();
    }
    (!values.is_empty()).then_some(entropy)
}

/// A map of one row: value as text → share of the rows, values ascending.
fn shares(values: &[ScalarValue]) -> ScalarValue {
    let mut map = MapBuilder::new(None, StringBuilder::new(), Float64Builder::new());
    for (value, often) in frequencies(values) {
        map.keys().append_value(text(&value).unwrap_or_default());
        map.values().append_value(often as f64 / values.len() as f64);
    }
    // Keys and values are appended in pairs, which is all that can go wrong.
    let _ = map.append(!values.is_empty());
    ScalarValue::Map(Arc::new(map.finish()))
}

// ---- numbers as floats ----------------------------------------------------------------------------------------------

fn as_float(value: &ScalarValue) -> f64 {
    match value {
        ScalarValue::Float64(Some(value)) => *value,
        ScalarValue::Int32(Some(value)) => f64::from(*value),
        ScalarValue::Int64(Some(value)) => *value as f64,
        ScalarValue::Decimal128(Some(value), _, scale) => *value as f64 / ten_to(i32::from(*scale)),
        _ => f64::NAN,
    }
}

/// Hyndman & Fan (1996), type 7: between neighbours by linear interpolation.
fn percentile(values: &[ScalarValue], at: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(order);
    let position = sorted.len().checked_sub(1)? as f64 * at / 100.0;
    let low = position.floor();
    let value = as_float(&sorted[low as usize]);
    Some(match sorted.get(low as usize + 1) {
        Some(next) => value + (as_float(next) - value) * (position - low),
        None => value,
    })
}

/// Weights halve with every half-life before the newest row.
fn weighted(rows: &[(i64, ScalarValue)], half_life: i64) -> Result<Option<f64>> {
    let Some((newest, _)) = rows.last() else { return Ok(None) };
    let (mut above, mut below) = (BigInt::ZERO, BigInt::ZERO);
    for (time, value) in rows {
        let weight = (-((newest - time) as f64) / half_life as f64).exp2();
        above += units(weight * as_float(value));
        below += units(weight);
    }
    let float = |sum: &BigInt| rounded(sum, FLOAT_PLACES).ok_or_else(|| overflow("float64"));
    Ok(Some(float(&above)? / float(&below)?))
}
