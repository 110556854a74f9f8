//! A function over a window → the state that has to be kept for it and how that is read, and the type of the result.

use arrow::array::Array;
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType};
use datafusion::common::ScalarValue;

use crate::define::features::{Feature, Function};
use crate::define::types::type_name;
use crate::define::yaml::Origin;

use super::expression::Checked;
use super::output::shares_type;
use super::state::moments::{self, Level};
use super::state::value::{Kind, scale_of};
use super::state::{Accumulator, Reading, categories, ends, extremes, log};

/// What a lane keeps.
#[derive(Debug, Clone, PartialEq)]
pub enum Spec {
    Moments(Level),
    Extreme {
        greatest: bool,
    },
    Categories {
        declared: Vec<String>,
        sample: Option<u32>,
    },
    /// With its value, or only its time.
    Newest {
        value: bool,
    },
    Oldest {
        value: bool,
    },
    Span,
    /// The rows, with values and in total order.
    Log {
        value: bool,
        ordered: bool,
    },
}

impl Spec {
    /// `data_type` is the lane's value's.
    pub fn build(&self, data_type: Option<&DataType>, rings: usize) -> Box<dyn Accumulator> {
        let kind = |value: bool| data_type.filter(|_| value).map(Kind::of);
        let any = data_type.cloned().unwrap_or(DataType::Int64);
        match self {
            Spec::Moments(level) => moments::new(*level, data_type, rings),
            Spec::Extreme { greatest } => extremes::new(*greatest, Kind::of(&any)),
            Spec::Categories { declared, sample } => categories::new(&any, rings, declared, *sample),
            Spec::Newest { value } => ends::new(true, kind(*value)),
            Spec::Oldest { value } => ends::new(false, kind(*value)),
            Spec::Span => ends::span(),
            Spec::Log { value, ordered } => log::new(kind(*value), *ordered, scale_of(&any)),
        }
    }

    /// True if it wants to know the order of rows with equal event time.
    pub fn is_ordered(&self) -> bool {
        match self {
            Spec::Newest { value } | Spec::Oldest { value } => *value,
            Spec::Log { ordered, .. } => *ordered,
            _ => false,
        }
    }
}

/// The state of a feature, by itself.
pub fn of(feature: &Feature, value: Option<&DataType>, origin: &Origin) -> Checked<(Spec, Reading)> {
    let whole = feature.window.is_none();
    let categories = |sample: Option<u32>| Spec::Categories { declared: Vec::new(), sample };
    let rows = Spec::Log { value: true, ordered: false };
    let times = Spec::Log { value: false, ordered: false };
    Ok(match &feature.function {
        Function::Count => (Spec::Moments(Level::Count), Reading::Count),
        Function::Sum => (Spec::Moments(Level::Sum), Reading::Sum),
        Function::Mean => (Spec::Moments(Level::Sum), Reading::Mean),
        Function::Stddev => (Spec::Moments(Level::Squares), Reading::Stddev),
        Function::Variance => (Spec::Moments(Level::Squares), Reading::Variance),
        Function::Min => (Spec::Extreme { greatest: false }, Reading::Value),
        Function::Max => (Spec::Extreme { greatest: true }, Reading::Value),
        Function::CountDistinct => (categories(None), Reading::Distinct),
        Function::ApproxCountDistinct { sample } => (categories(Some(*sample)), Reading::DistinctSampled(*sample)),
        Function::Share { value: category } => {
            can_be(feature, category, value, origin)?;
            (Spec::Categories { declared: vec![category.clone()], sample: None }, Reading::Share(0))
        }
        Function::Shares { .. } => (categories(None), Reading::Shares),
        Function::Top { rank } => (categories(None), Reading::Top(*rank)),
        Function::Entropy => (categories(None), Reading::Entropy),
        Function::Last => (Spec::Newest { value: true }, Reading::Value),
        Function::First if whole => (Spec::Oldest { value: true }, Reading::Value),
        Function::First => (Spec::Log { value: true, ordered: true }, Reading::Value),
        Function::TimeSinceLast { unit } => (Spec::Newest { value: false }, Reading::Since(unit.micros())),
        Function::TimeSinceFirst { unit } if whole => (Spec::Oldest { value: false }, Reading::Since(unit.micros())),
        Function::TimeSinceFirst { unit } => (times, Reading::Since(unit.micros())),
        Function::MeanGap { unit } if whole => (Spec::Span, Reading::MeanGap(unit.micros())),
        Function::MeanGap { unit } => (times, Reading::MeanGap(unit.micros())),
        Function::Percentile { at } => (rows, Reading::Percentile(*at)),
        Function::ExpWeightedMean { half_life } => (rows, Reading::ExpWeightedMean(half_life.micros())),
    })
}

/// Joins a state with one that the lane keeps already; its index, and how to read it there.
pub fn join(wanted: Spec, reading: Reading, have: &mut Vec<Spec>) -> (usize, Reading) {
    for (index, spec) in have.iter_mut().enumerate() {
        match (spec, &wanted) {
            (Spec::Moments(level), Spec::Moments(more)) => *level = (*level).max(*more),
            (Spec::Categories { declared, sample }, Spec::Categories { declared: new, sample: other })
                if sample == other =>
            {
                let Some(category) = new.first() else { return (index, reading) };
                let at = declared.iter().position(|have| have == category).unwrap_or(declared.len());
                if at == declared.len() {
                    declared.push(category.clone());
                }
                return (index, Reading::Share(at));
            }
            (spec, wanted) if *spec == *wanted => {}
            _ => continue,
        }
        return (index, reading);
    }
    have.push(wanted);
    (have.len() - 1, reading)
}

pub fn result_type(feature: &Feature, of: &DataType, origin: &Origin) -> Checked<DataType> {
    use Function::*;
    let numeric = matches!(of, DataType::Int32 | DataType::Int64 | DataType::Float64 | DataType::Decimal128(..));
    let function = &feature.function;
    let needs_number = matches!(function, Sum | Mean | Stddev | Variance | ExpWeightedMean { .. } | Percentile { .. });
    if needs_number && !numeric {
        let of_text = feature.of.as_deref().unwrap_or_default();
        let d = origin.at(&format!("{}.of", feature.path), format!("`{of_text}` of {} is no number", feature.name));
        return Err(Box::new(d.found(type_name(of)).expected("int32, int64, float64 or decimal(p,s)")));
    }
    Ok(match function {
        Count | CountDistinct | ApproxCountDistinct { .. } => DataType::Int64,
        Sum => match of {
            DataType::Decimal128(_, scale) => DataType::Decimal128(DECIMAL128_MAX_PRECISION, *scale),
            DataType::Float64 => DataType::Float64,
            _ => DataType::Int64,
        },
        Min | Max | First | Last | Top { .. } => of.clone(),
        Shares { .. } => shares_type(),
        Mean | Stddev | Variance | Share { .. } | Entropy | ExpWeightedMean { .. } | Percentile { .. } => {
            DataType::Float64
        }
        MeanGap { .. } | TimeSinceFirst { .. } | TimeSinceLast { .. } => DataType::Float64,
    })
}

/// A declared category must be a value of the type.
fn can_be(feature: &Feature, category: &str, of: Option<&DataType>, origin: &Origin) -> Checked<()> {
    let of = of.unwrap_or(&DataType::Null);
    let value = ScalarValue::Utf8(Some(category.to_string())).cast_to(of).and_then(|v| v.to_array()).ok();
    match value.filter(|array| array.null_count() == 0) {
        Some(_) => Ok(()),
        None => {
            let d = origin.at(&format!("{}.values", feature.path), format!("`{category}` can never be equal to `of`"));
            let expected = format!("a value of type {}", type_name(of));
            Err(Box::new(d.found(category.to_string()).expected(expected)))
        }
    }
}
