//! One input of a model as the model knows it: where its number comes from, and how.

use arrow::datatypes::DataType;
use serde::{Deserialize, Serialize};

use super::encode::Vocabulary;
use super::ordered_target::Table;
use super::shares::is_shares;

/// What kind of number a column gives. A model trained on one kind does not score another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    Numeric,
    Time,
    Categorical,
    /// The share of one value.
    Share,
}

impl Class {
    /// The class of an Arrow type; `None` for types that are no feature (lists, structs, binary, other maps).
    pub fn of(arrow: &DataType) -> Option<Class> {
        use DataType::*;
        match arrow {
            Null | Boolean | Duration(_) => Some(Class::Numeric),
            other if other.is_numeric() => Some(Class::Numeric),
            Date32 | Date64 | Timestamp(_, _) => Some(Class::Time),
            Utf8 | LargeUtf8 | Utf8View => Some(Class::Categorical),
            Dictionary(_, values) => Class::of(values),
            maps if is_shares(maps) => Some(Class::Share),
            _ => None,
        }
    }
}

/// One feature as a model knows it. Of a text, exactly one of `vocabulary`, `value` and `target` is there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feature {
    pub name: String,
    /// Of the column.
    pub class: Class,
    /// The Arrow type in training, for the reader; any type of the same class scores.
    pub arrow_type: String,
    /// Of a text that is given as a category.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vocabulary: Option<Vocabulary>,
    /// The value whose share it is, or that it tells from all others; the name is then the column's, `=` and the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Of a text that is given as a mean of labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Table>,
}

impl Feature {
    /// The column it is read from.
    pub fn column(&self) -> &str {
        match &self.value {
            Some(_) => self.name.split_once('=').map_or(&self.name, |(column, _)| column),
            None => &self.name,
        }
    }

    /// Whether its number is a code without an order.
    pub fn is_category(&self) -> bool {
        self.vocabulary.is_some()
    }
}
