//! Floating-point numbers in JSON, written as text, so that reading gives back every bit.
//!
//! JSON's own numbers are parsed fast here and may lose the last digit, which is enough for a score to differ between
//! the night that trained a model and the one that loads it. Rust prints the shortest text that parses to the same
//! number: what is stored of a model goes through this module, with `#[serde(with = "exact::one")]` or `many`.

/// One number.
pub mod one {
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        super::parse(&String::deserialize(deserializer)?)
    }
}

/// A list of numbers.
pub mod many {
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(values: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(values.iter().map(f64::to_string))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
        Vec::<String>::deserialize(deserializer)?.iter().map(|text| super::parse(text)).collect()
    }
}

fn parse<E: serde::de::Error>(text: &str) -> Result<f64, E> {
    text.parse().map_err(|_| E::custom(format!("`{text}` is not a number")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Kept {
        #[serde(with = "super::one")]
        one: f64,
        #[serde(with = "super::many")]
        many: Vec<f64>,
    }

    #[test]
    fn what_is_no_number_says_so() {
        let error = serde_json::from_str::<Kept>(r#"{"one": "12x", "many": []}"#).unwrap_err().to_string();
        assert!(error.starts_with("`12x` is not a number"), "{error}");
    }

    proptest! {
        #[test]
        fn every_bit_comes_back(bits in any::<u64>(), more in proptest::collection::vec(any::<f64>(), 0..4)) {
            let kept = Kept { one: f64::from_bits(bits), many: more };
            let back: Kept = serde_json::from_str(&serde_json::to_string(&kept).unwrap()).unwrap();
            prop_assert!(back.one.to_bits() == bits || kept.one.is_nan() && back.one.is_nan());
            prop_assert_eq!(back.many, kept.many);
        }
    }
}
