//! What is told of a version: parameters, metrics, plots, and the file by which MLflow loads the model.

use serde_json::Value;

use crate::define::Model;
use crate::define::model::HeadKind;
use crate::error::{Error, Result};
use crate::learn::artifact::Artifact;
use crate::learn::heads;
use crate::learn::metrics::Metrics;
use crate::pipeline::gate::Verdict;
use crate::pipeline::report::measured::bins;
use crate::report::page::{Calibration, Curves, Line, Reliability};
use crate::report::plots;

/// By which `mlflow.lightgbm.load_model` and `mlflow.pyfunc.load_model` load a directory.
pub const MLMODEL: &str = "MLmodel";
const REQUIREMENTS: &str = "requirements.txt";

/// A version, in MLflow's terms.
pub struct Described {
    pub model: String,
    pub version: String,
    pub parameters: Vec<(String, String)>,
    pub metrics: Vec<(String, f64)>,
    /// A page with curves and reliability.
    pub plots: String,
}

impl Described {
    pub fn of(model: &Model, version: &str, artifact: &Artifact) -> Result<Described> {
        let (ranking, probabilities) = drawn(artifact);
        Ok(Described {
            model: model.name.clone(),
            version: version.to_string(),
            parameters: parameters(artifact)?,
            metrics: metrics(artifact),
            plots: plots(&format!("{} {version}", model.name), &ranking, &probabilities)?,
        })
    }
}

/// A linear model, for Python.
const LINEAR: (&str, &str) = ("scorehouse_linear.py", include_str!("scorehouse_linear.py"));

/// `MLmodel` and what it names, for a model of trees, which LightGBM reads, or a logistic regression; the same for the
/// same model.
pub fn files(artifact: &Artifact) -> Vec<(String, Vec<u8>)> {
    match artifact.head {
        head if head.is_trees() => of_trees(artifact),
        HeadKind::Logistic => {
            let text = format!(
                "flavors:\n  python_function:\n    code: .\n    data: {}\n    loader_module: scorehouse_linear\n",
                heads::file(false)
            );
            let (name, code) = LINEAR;
            vec![
                (MLMODEL.into(), text.into_bytes()),
                (REQUIREMENTS.into(), b"numpy\npandas\n".to_vec()),
                (name.into(), code.into()),
            ]
        }
        _ => Vec::new(),
    }
}

fn of_trees(artifact: &Artifact) -> Vec<(String, Vec<u8>)> {
    let (data, lightgbm) = (heads::file(true), &artifact.environment.lightgbm);
    let text = format!(
        "flavors:\n  lightgbm:\n    data: {data}\n    lgb_version: {lightgbm}\n    model_class: lightgbm.basic.Booster\n  \
         python_function:\n    data: {data}\n    loader_module: mlflow.lightgbm\n"
    );
    let requirements = format!("lightgbm=={lightgbm}\n");
    vec![(MLMODEL.into(), text.into_bytes()), (REQUIREMENTS.into(), requirements.into_bytes())]
}

/// The keys of the definition that training follows from, as `head.params.num_leaves`.
fn parameters(artifact: &Artifact) -> Result<Vec<(String, String)>> {
    const TOLD: [&str; 9] =
        ["label", "spine", "head", "validation", "calibration", "encode", "weights", "search", "monotone"];
    let definition: Value = serde_yaml::from_str(&artifact.definition)
        .map_err(|e| Error::internal(format!("the definition that the artifact holds cannot be read: {e}")))?;
    let mut found = vec![
        ("head".to_string(), artifact.head.name().to_string()),
        ("best_iteration".to_string(), artifact.best_iteration.to_string()),
        ("features".to_string(), artifact.features.len().to_string()),
        ("feature_fingerprint".to_string(), artifact.feature_fingerprint.clone()),
    ];
    for key in TOLD {
        flatten(key, &definition[key], &mut found);
    }
    Ok(found)
}

fn flatten(key: &str, value: &Value, found: &mut Vec<(String, String)>) {
    match value {
        Value::Null => {}
        Value::Object(entries) => {
            for (name, value) in entries {
                flatten(&format!("{key}.{name}"), value, found);
            }
        }
        Value::String(text) => found.push((key.to_string(), text.clone())),
        other => found.push((key.to_string(), other.to_string())),
    }
}

/// `test.roc_auc`, `test.high_activity.roc_auc`, with the ends of its interval as `….low` and `….high`.
fn metrics(artifact: &Artifact) -> Vec<(String, f64)> {
    let mut found = Vec::new();
    for evaluation in &artifact.report.evaluations {
        let place = match evaluation.segment.as_str() {
            "all" => evaluation.part.clone(),
            segment => format!("{}.{segment}", evaluation.part),
        };
        found.push((format!("{place}.rows"), evaluation.rows as f64));
        let mut add = |metrics: &Metrics, ending: &str| {
            let of = |(name, value): (&str, Option<f64>)| Some((format!("{place}.{name}{ending}"), value?));
            found.extend(metrics.entries().into_iter().filter_map(of).filter(|(_, value)| value.is_finite()));
        };
        add(&evaluation.metrics, "");
        evaluation.low.iter().for_each(|low| add(low, ".low"));
        evaluation.high.iter().for_each(|high| add(high, ".high"));
    }
    found
}

/// What the gate held a version to, as `gate.average_precision`.
pub fn checks(verdict: &Verdict) -> Vec<(String, f64)> {
    let mut found: Vec<(String, f64)> = Vec::new();
    for check in &verdict.checks {
        let values = [("", check.candidate), (".champion", check.champion), (".threshold", check.threshold)];
        for (ending, value) in values {
            let key = format!("gate.{}{ending}", name(&check.metric));
            if let Some(value) = value.filter(|value| value.is_finite())
                && found.iter().all(|(known, _)| *known != key)
            {
                found.push((key, value));
            }
        }
    }
    found
}

/// As MLflow takes it: letters, digits, `_`, `-`, `.`, ` `, `:` and `/`.
fn name(text: &str) -> String {
    let taken = |c: char| c.is_ascii_alphanumeric() || "_-. :/".contains(c);
    text.chars().map(|c| if taken(c) { c } else { '_' }).collect()
}

fn drawn(artifact: &Artifact) -> (Curves, Calibration) {
    let ours = &artifact.curves;
    let found = artifact.report.out_of_sample();
    let metric = |of: fn(&Metrics) -> Option<f64>| found.and_then(|e| of(&e.metrics));
    let note = |name: &str, value: Option<f64>| value.map_or_else(String::new, |value| format!("{name} {value:.4}"));
    let line = |note: String, points: Vec<(f64, f64)>| vec![Line { name: "This version".into(), note, points }];
    let rows = found.map_or_else(String::new, |e| format!("{} rows, {}", e.rows, e.part));
    let base_rate = found.map_or(0.0, |e| e.positives as f64 / e.rows.max(1) as f64);
    let roc = ours.roc.iter().map(|p| (p.false_positive_rate, p.true_positive_rate)).collect();
    let precision = ours.precision_recall.iter().map(|p| (p.recall, p.precision)).collect();
    let reliability = Reliability { name: "This version".into(), error: None, bins: bins(&ours.reliability) };
    let curves = Curves {
        rows: rows.clone(),
        roc: line(note("AUC", metric(|m| m.roc_auc)), roc),
        precision_recall: line(note("AP", metric(|m| m.average_precision)), precision),
        base_rate,
    };
    (
        curves,
        Calibration {
            rows,
            kind: format!("{:?}", artifact.calibrator.kind()).to_lowercase(),
            lines: vec![reliability],
        },
    )
}
