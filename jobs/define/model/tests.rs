//! Whole definitions, sound and contradictory.

use super::*;
use crate::define::yaml;

const GOOD: &str = "model: credit\nentity: user_id\nspine: {table: loans, key: [loan_id]}\n\
    label: {table: outcomes, horizon: 90d, match: [loan_id]}\ninputs: ['p.*']\nhead: {kind: lightgbm}\n\
    validation: {kind: time, test: 60d, valid: 30d}\nscoring: {population: users}\n\
    decisions: [{action: emi, below: 0.1}, {action: none}]\n";

fn check(text: &str) -> Vec<Diagnostic> {
    let mut out = Vec::new();
    if let Some((raw, origin)) = yaml::parse::<RawModel>("m.yaml", text, &mut out) {
        Model::validate(raw, text, &origin, &mut out);
    }
    out
}

#[test]
fn a_complete_model_is_accepted() {
    assert_eq!(check(GOOD), []);
}

/// Every key there is.
const FULL: &str = "model: credit
description: Default on a loan.
entity: user_id
spine: {table: loans, as_of: opened_at, key: [loan_id], where: 'amount > 0', max_rows: 1000, seed: 7}
label:
  table: outcomes
  event_time: at
  where: bad
  match: [loan_id]
  horizon: 90d
  delay: 1d
  eligible: granted
  anchor: {table: deliveries, match: [loan_id], where: done, within: 30d}
weight: {column: '1 / propensity', max: 20}
inputs: ['p.*']
exclude: [p.first]
encode:
  default: native
  features: {p.bank: {kind: target, smoothing: 20, max: 1000}}
monotone: {p.late: increasing}
head: {kind: lightgbm, params: {num_leaves: 7}, class_weight: balanced, rounds: 10, early_stopping: 5, seed: 1}
search:
  trials: 20
  metric: roc_auc
  space: {learning_rate: {from: 0.01, to: 0.2, scale: log}, extra_trees: {choices: [true, false]}}
validation: {kind: rolling_origin, folds: 4, test: 30d}
calibration: {kind: isotonic, hold_out: 5}
segments: {active: p.n > 3}
score: {points: 600, at_odds: 50, double_odds: 20}
decisions: [{action: allow, below: 0.1, limit: 500}, {action: review, below: 0.3}, {action: prevent}]
reasons:
  count: 3
  groups: {paid: {code: R01, sentence: Late payments., inputs: ['p.late*']}}
  protected: [p.age]
fairness: {groups: {country: p.country}, favourable: allow, min_rows: 50}
reject_inference: {kind: parcelling, accepted: granted, factor: 1.5}
scoring: {population: users}
gate:
  floors: {roc_auc: 0.6}
  checks: {psi: {max: 0.2}, equal_opportunity: {max: 0.1}, anchor: {min_change: -0.02, confidence: 0.9}}
  asserts:
    - {name: known fraud, entity: u1, action: prevent}
    - {name: newcomers, where: p.n = 0, share: 0.9, action: review}
monitoring: {psi: {warn: 0.1, fail: 0.25}}
max_size: 8MiB
retrain: 7d
";

fn whole(text: &str) -> Model {
    let mut out = Vec::new();
    let (raw, origin) = yaml::parse::<RawModel>("m.yaml", text, &mut out).unwrap();
    let model = Model::validate(raw, text, &origin, &mut out);
    assert_eq!(out, []);
    model.unwrap()
}

#[test]
fn every_key_is_read() {
    let model = whole(FULL);
    assert_eq!(model.label.known_after(), 121 * crate::define::types::DAY);
    assert_eq!(model.max_size, 8 << 20);
    assert_eq!(model.gate.asserts[1].case, AssertCase::Rows { condition: "p.n = 0".into(), share: 0.9 });
    assert_eq!(model.gate.checks.psi.max, Some(0.2));
    assert_eq!(model.gate.checks.coverage, Checks::default().coverage, "what is left out has its default");
    assert_eq!(model.score, ScoreScale::Points { points: 600.0, at_odds: 50.0, double_odds: 20.0 });
}

#[test]
fn each_key_that_cannot_be_met_is_refused_at_its_line() {
    let cases = [
        ("within: 30d", "within: 0d", "no event lies within no time"),
        ("max: 20}", "max: -1}", "bound of weights"),
        ("smoothing: 20", "smoothing: -1", "the prior counts for"),
        ("kind: lightgbm", "kind: logistic", "no categories of its own"),
        ("kind: lightgbm", "kind: random_forest", "takes no monotone constraints"),
        ("kind: lightgbm", "kind: mlp", "does not say what its inputs contribute"),
        ("from: 0.01, to: 0.2", "from: 0.2, to: 0.01", "where to look"),
        ("params: {num_leaves: 7}", "params: {learning_rate: 0.1}", "both fixed and looked for"),
        ("trials: 20", "trials: 0", "a search is bounded"),
        ("hold_out: 5", "hold_out: 1", "calibrates"),
        ("folds: 4", "folds: 1", "not complete"),
        ("double_odds: 20", "double_odds: 0", "no scale"),
        ("below: 0.3", "below: 0.05", "bounds of decisions rise"),
        ("limit: 500", "limit: -5", "limit of a band"),
        ("entity: u1, action: prevent", "entity: u1, action: forbid", "never taken"),
        ("share: 0.9", "share: 1.9", "must get the action"),
        ("{name: known fraud, entity: u1", "{name: known fraud", "names nobody"),
        ("psi: {max: 0.2}", "psi: {}", "without a threshold"),
        ("warn: 0.1, fail: 0.25", "warn: 0.3, fail: 0.25", "fails before it warns"),
        ("factor: 1.5", "factor: 0", "likelier"),
        ("confidence: 0.9", "confidence: 1.0", "a confidence"),
    ];
    for (from, to, said) in cases {
        let text = FULL.replace(from, to);
        assert_ne!(text, FULL, "{from}");
        let out = check(&text);
        assert!(out.iter().any(|d| d.line > 1 && d.to_string().contains(said)), "{to}: {out:#?}");
    }
}

#[test]
fn what_contradicts_itself_is_refused_with_its_line() {
    let cases = [
        ("spine: {table: loans, key: [loan_id]}", "spine: {table: loans, population: users}", 3),
        ("horizon: 90d, ", "", 4),
        ("test: 60d, valid: 30d", "valid: 30d", 7),
        ("kind: lightgbm", "kind: lightgmb", 6),
        ("below: 0.1", "below: 1.5", 9),
        ("{action: none}", "{action: none, below: 0.5}", 9),
        ("key: [loan_id]", "attributes: [amount]", 8),
    ];
    for (from, to, line) in cases {
        let out = check(&GOOD.replace(from, to));
        assert!(out.iter().any(|d| d.line == line), "{to}: {out:#?}");
    }
}
