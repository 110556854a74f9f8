//! How inputs become numbers, and which way they may push the probability.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::head::HeadKind;
use crate::define::diagnostic::Diagnostic;
use crate::define::map::Map;
use crate::define::yaml::Origin;

/// How texts become numbers: a default, and exceptions by feature.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Encodings {
    /// For every text; without it, `native` for heads of trees and `one_hot` for the others.
    pub default: Option<EncodingKind>,
    /// `group.feature` → how that one is encoded.
    #[serde(default)]
    pub features: Map<Encoding>,
}

/// How one text becomes numbers.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Encoding {
    /// How its values become numbers.
    pub kind: EncodingKind,
    /// Of target encoding: how many rows the prior counts for.
    #[schemars(extend("default" = 20))]
    pub smoothing: Option<f64>,
    /// Values kept, the most frequent first; without it, 50 by `one_hot`, else 1000.
    pub max: Option<usize>,
}

/// A way in which texts become numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EncodingKind {
    /// The head's own way of taking categories.
    Native,
    /// The smoothed mean of the labels that were known by then.
    Target,
    /// A column of 0 and 1 for each of the most frequent values.
    OneHot,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    Increasing,
    Decreasing,
}

pub(super) fn check(
    encodings: &Encodings,
    monotone: &Map<Direction>,
    head: HeadKind,
    origin: &Origin,
    out: &mut Vec<Diagnostic>,
) {
    let of = encodings.features.iter().map(|(name, encoding)| (format!("encode.features.{name}"), encoding.kind));
    for (path, kind) in of.chain(encodings.default.map(|kind| ("encode.default".to_string(), kind))) {
        if kind == EncodingKind::Native && !head.is_trees() {
            let d = origin.at(&path, format!("a {} head has no categories of its own", head.name()));
            out.push(d.found("native").expected("target or one_hot"));
        }
    }
    for (name, encoding) in &encodings.features {
        let path = |key: &str| format!("encode.features.{name}.{key}");
        if let Some(smoothing) = encoding.smoothing {
            if encoding.kind != EncodingKind::Target {
                out.push(origin.at(&path("smoothing"), "only target encoding is smoothed").expected("kind: target"));
            } else if !(smoothing > 0.0 && smoothing.is_finite()) {
                let d = origin.at(&path("smoothing"), "how many rows the prior counts for");
                out.push(d.found(smoothing.to_string()).expected("a number above 0, such as 20"));
            }
        }
        if encoding.max == Some(0) {
            out.push(origin.at(&path("max"), "no value is kept").found("0").expected("a positive number"));
        }
    }
    if !monotone.is_empty() && head != HeadKind::Lightgbm && head != HeadKind::Tree {
        let d = origin.at("monotone", format!("a {} head takes no monotone constraints", head.name()));
        out.push(d.expected("head: {kind: lightgbm} or {kind: tree}"));
    }
}
