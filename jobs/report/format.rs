//! Numbers as people read them. What is not there is a dash, which screen readers are told to read as "none".

/// What stands where a value is missing.
pub const NONE: &str = "–";

/// `1234567` as `1,234,567`.
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A share as a percentage with one digit, or as many as a small one needs.
pub fn percent(share: f64) -> String {
    let value = share * 100.0;
    match value.abs() {
        v if v >= 0.95 || v == 0.0 => format!("{value:.1}%"),
        v if v >= 0.095 => format!("{value:.2}%"),
        _ => format!("{value:.3}%"),
    }
}

/// A metric, with four digits; large numbers with fewer.
pub fn metric(value: f64) -> String {
    let text = match value.abs() {
        v if v >= 1000.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    };
    minus(&text)
}

/// With the sign that is as wide as a plus.
pub fn minus(text: &str) -> String {
    text.replace('-', "−")
}

/// With its sign, for differences.
pub fn signed(value: f64) -> String {
    let text = metric(value.abs());
    match value {
        v if v > 0.0 => format!("+{text}"),
        v if v < 0.0 => format!("−{text}"),
        _ => text,
    }
}

/// A share of rows in percent, none of none.
pub fn share_of(part: u64, whole: u64) -> String {
    if whole == 0 { NONE.to_string() } else { percent(part as f64 / whole as f64) }
}

pub fn optional(value: Option<f64>, format: fn(f64) -> String) -> String {
    value.filter(|v| v.is_finite()).map_or_else(|| NONE.to_string(), format)
}

/// `low – high`; empty where either is missing.
pub fn interval(low: Option<f64>, high: Option<f64>) -> String {
    match (low, high) {
        (Some(low), Some(high)) => format!("{} – {}", metric(low), metric(high)),
        _ => String::new(),
    }
}

/// `average_precision` as people write it, and what it is; `floor.roc_auc` and `demographic_parity.country` too.
pub fn name(metric: &str) -> (String, &'static str) {
    match metric.split_once('.') {
        None => plain_name(metric),
        Some(("floor", of)) => (format!("Floor: {}", plain_name(of).0), "What a first version is held to"),
        Some(("assert", of)) => (format!("Assert: {of}"), "Cases that must get a declared action"),
        Some((of, what)) => {
            let (name, meaning) = plain_name(of);
            (format!("{name}: {what}"), meaning)
        }
    }
}

fn plain_name(metric: &str) -> (String, &'static str) {
    let (name, meaning) = match metric {
        "roc_auc" => ("ROC AUC", "Probability that a random positive scores above a random negative; 0.5 is chance"),
        "average_precision" => ("Average precision", "Area below the precision-recall curve; chance is the base rate"),
        "ks" => ("KS", "Kolmogorov–Smirnov: largest distance between the score distributions of the two classes"),
        "brier" => ("Brier score", "Mean squared difference between probability and outcome; smaller is better"),
        "log_loss" => ("Log loss", "Mean negative log likelihood; smaller is better"),
        "f1" => ("F1", "Harmonic mean of precision and recall at the first decision's bound"),
        "base_rate" => ("Base rate", "Share of positive outcomes"),
        "mean_probability" => ("Mean probability", "Beside the base rate it shows bias"),
        "calibration_error" => {
            ("Calibration error", "Mean distance between predicted and observed rate over equal bins")
        }
        "lift_10" => ("Lift, top 10%", "Rate among the tenth with the highest probability, over the base rate"),
        "default_rate" => {
            ("Default rate", "Share of positives among the accepted, those with the lowest risk; smaller is better")
        }
        "rank_agreement" => ("Rank agreement", "Spearman correlation of the two versions' feature importances"),
        "action_changes" => ("Action changes", "Share of customers who would get another action"),
        "psi" => ("PSI", "Population stability index: below 0.1 stable, above 0.25 another population"),
        "coverage" => ("Coverage", "Share of entities that get a score"),
        "demographic_parity" => ("Demographic parity", "Largest difference in the share of favourable actions"),
        "equal_opportunity" => ("Equal opportunity", "The same, among those whose outcome was good"),
        "anchor" => ("Against the anchor", "Difference to a frozen earlier champion: guards against slow decline"),
        "missing" => ("Missing values", "Share of rows without a value"),
        "population" => ("Population", "How many are scored, against the baseline"),
        "auc_drop" => ("ROC AUC", "Of past scores whose outcome is known by now; the change is the loss"),
        "distinct_scores" => ("Distinct scores", "A model that says the same of everybody has one"),
        _ => return (metric.replace('_', " "), ""),
    };
    (name.to_string(), meaning)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_people_read_them() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0.0, 0.123, 0.0012, 0.00004, 1.0].map(percent), ["0.0%", "12.3%", "0.12%", "0.004%", "100.0%"]);
        assert_eq!([0.71234, 12.3456, 4321.9, -0.5].map(metric), ["0.7123", "12.35", "4322", "−0.5000"]);
        assert_eq!([0.01, -0.01, 0.0].map(signed), ["+0.0100", "−0.0100", "0.0000"]);
        assert_eq!(optional(Some(f64::NAN), metric), NONE);
        assert_eq!(share_of(1, 0), NONE);
        assert_eq!(interval(Some(0.1), None), "");
    }

    #[test]
    fn unknown_metrics_keep_their_name() {
        assert_eq!(name("roc_auc").0, "ROC AUC");
        assert_eq!(name("my_new_metric"), ("my new metric".to_string(), ""));
        assert_eq!(name("floor.roc_auc").0, "Floor: ROC AUC");
        assert_eq!(name("assert.who <paid> late").0, "Assert: who <paid> late");
        assert_eq!(name("demographic_parity.country").0, "Demographic parity: country");
    }
}
