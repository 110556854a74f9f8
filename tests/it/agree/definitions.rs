//! Definitions over the random histories: by hand, and everything there is.

use scorehouse::define::features::RawGroup;
use scorehouse::define::sequence::RawSequence;
use scorehouse::define::{FeatureGroup, Sequence, yaml};

pub fn group(text: &str) -> FeatureGroup {
    let mut out = Vec::new();
    let text = format!("group: g\nentity: user_id\nentities: users\ntable: pay\n{text}");
    let (raw, origin) = yaml::parse::<RawGroup>("features/g.yaml", &text, &mut out).unwrap();
    let group = FeatureGroup::validate(raw, &origin, &mut out);
    assert_eq!(out, []);
    group
}

pub fn sequence(text: &str) -> Sequence {
    let mut out = Vec::new();
    let text = format!("sequence: s\nentity: user_id\nentities: users\ntable: pay\n{text}");
    let (raw, origin) = yaml::parse::<RawSequence>("features/s.yaml", &text, &mut out).unwrap();
    let sequence = Sequence::validate(raw, &origin, &mut out);
    assert_eq!(out, []);
    sequence
}

/// Every function over every type it takes, with and without condition, three windows and all history.
pub fn everything(visibility: &str, filter: &str) -> FeatureGroup {
    let mut text = format!("visibility: {visibility}\n{filter}aggregations:\n");
    for of in ["amount", "items", "rating", "method", "gift", "paid_at"] {
        let functions = functions(of);
        text += &format!("- {{of: {of}, fn: [{functions}], over: [12h, 1d, 3d]}}\n");
        text += &format!("- {{of: {of}, fn: [{functions}], as: all_{of}}}\n");
        text += &format!("- {{of: {of}, fn: [{functions}], as: gift_{of}, where: gift, over: [1d, 3d]}}\n");
        text += &arguments(of);
    }
    text += "- {of: method, fn: share, values: [blik, cash on delivery, nothing], over: [1d, 3d]}\n";
    text += "- {of: items, fn: share, values: [1, 2], over: [3d]}\n";
    text += "- {fn: count, over: [1d, 3d]}\n- {fn: count, as: gifts, where: gift, over: [3d]}\n";
    text += "- {fn: time_since_last, unit: hours}\n- {fn: time_since_first, unit: minutes, over: [1d]}\n";
    text += "- {of: rating, fn: time_since_last, as: since_rating, unit: days, over: [3d]}\n";
    text += "- {fn: mean_gap, unit: hours, over: [1d, 3d]}\n- {of: rating, fn: mean_gap, as: rating_gap}\n";
    text += "- {of: amount, to: items, fn: ratio, over: [1d, 3d]}\n";
    text += "- {of: rating, to: amount, fn: ratio, as: rate, where: gift}\n";
    text += "- {of: amount, fn: [sum, count], over: [3d], as: by, by: {of: method, values: [blik, card]}}\n";
    text += "derived:\n  per_item_3d: amount_sum_3d / items_sum_3d\n  by_rating_1d: count_1d / rating_min_1d\n";
    text += "  half: per_item_3d / 2 + coalesce(by_rating_1d, 0)\n";
    group(&text)
}

fn functions(of: &str) -> String {
    let mut functions = vec!["count", "count_distinct", "min", "max", "first", "last", "entropy"];
    if ["amount", "items", "rating"].contains(&of) {
        functions.extend(["sum", "mean", "stddev", "variance"]);
    }
    functions.join(", ")
}

/// Functions that take arguments.
fn arguments(of: &str) -> String {
    let mut text = format!("- {{of: {of}, fn: top_k, top: 3, over: [1d, 3d]}}\n");
    text += &format!("- {{of: {of}, fn: share, top: 2, over: [1d, 3d]}}\n");
    text += &format!("- {{of: {of}, fn: approx_count_distinct, sample: 2, over: [1d, 3d]}}\n");
    if ["amount", "items", "rating"].contains(&of) {
        text += &format!("- {{of: {of}, fn: percentile, at: [0, 25, 50, 99.9, 100], over: [12h, 3d]}}\n");
        text += &format!("- {{of: {of}, fn: percentile, at: 12.5, as: all_{of}}}\n");
        text += &format!("- {{of: {of}, fn: exp_weighted_mean, half_life: 1d, over: [1d, 3d]}}\n");
    }
    text += &format!("- {{of: {of}, fn: mean_gap, unit: hours, over: [1d], as: {of}_gap}}\n");
    text += &format!("- {{of: {of}, fn: top_k, top: 2, as: all_{of}}}\n");
    text += &format!("- {{of: {of}, fn: time_since_first, where: gift, over: [3d], as: {of}_since}}\n");
    text
}

pub fn lists() -> Sequence {
    sequence(
        "length: 3\nover: 2d\nfields:\n- amount\n- method\n- {of: \"items + 1\", as: more}\n\
         - {fn: since_previous, as: hours_since_previous, unit: hours}\n- {fn: time_since, as: days_before}\n",
    )
}
