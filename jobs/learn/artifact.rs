//! A trained model as a set of files that needs nothing else to score: no training code, no data, no definition.
//!
//! | file | content |
//! |---|---|
//! | `model.txt` | of trees: LightGBM's text format; `lightgbm.Booster(model_file="model.txt")` reads it |
//! | `weights.json` | of other heads: how inputs are standardised, and the weights |
//! | `schema.json` | format version, head, features in order with class, Arrow type and encoder, class weights, calibrator, fingerprint of the features' definitions, checksums |
//! | `metrics.json` | rows per part, metrics with intervals per part and segment, calibration, importances, contributions, warnings |
//! | `curves.json` | ROC, precision and recall, reliability, lift, histogram of the rows out of sample |
//! | `baseline.json` | distribution of every input in the training rows, and of the probabilities |
//! | `environment.json` | versions and architecture that made it |
//! | `definition.yaml` | the model's definition as it was |
//!
//! `schema.json` holds length and SHA-256 of every other file, so a cut or changed file is an error, never a score.
//! The same model gives the same bytes. Artifacts of format 1, LightGBM without encoders, calibrator, curves and
//! baseline, are still read.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::baseline::Baseline;
use super::calibrate::Calibrator;
use super::heads::{self, Body};
use super::lightgbm;
use super::matrix::Feature;
use super::prior::Prior;
use super::train::{Curves, Fitted, Report};
use crate::define::model::HeadKind;
use crate::error::{Error, Result};

/// The newest format that this version reads, and the one that it writes.
pub const FORMAT: u32 = 2;

const SCHEMA: &str = "schema.json";
const METRICS: &str = "metrics.json";
const CURVES: &str = "curves.json";
const BASELINE: &str = "baseline.json";
const ENVIRONMENT: &str = "environment.json";
const DEFINITION: &str = "definition.yaml";

/// A model with all that belongs to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Artifact {
    pub head: HeadKind,
    pub body: Body,
    /// Trees, or passes over the rows.
    pub best_iteration: u32,
    /// In the model's order.
    pub features: Vec<Feature>,
    pub prior: Prior,
    pub calibrator: Calibrator,
    /// Of the definitions that the inputs were computed by; empty where nobody said.
    pub feature_fingerprint: String,
    pub report: Report,
    pub curves: Curves,
    pub baseline: Baseline,
    pub environment: Environment,
    /// The text of the model's definition.
    pub definition: String,
}

/// What made an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    pub scorehouse: String,
    pub lightgbm: String,
    pub os: String,
    pub arch: String,
}

impl Environment {
    /// This binary's.
    pub fn current() -> Environment {
        Environment {
            scorehouse: env!("CARGO_PKG_VERSION").to_string(),
            lightgbm: lightgbm::VERSION.to_string(),
            os: std::env::consts::OS.to_string(),
            arch: std::env::consts::ARCH.to_string(),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SchemaFile {
    format: u32,
    kind: HeadKind,
    best_iteration: u32,
    prior: Prior,
    #[serde(default)]
    calibrator: Calibrator,
    #[serde(default)]
    feature_fingerprint: String,
    features: Vec<Feature>,
    files: BTreeMap<String, Checksum>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Checksum {
    bytes: u64,
    sha256: String,
}

impl Checksum {
    fn of(bytes: &[u8]) -> Checksum {
        let sha256 = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        Checksum { bytes: bytes.len() as u64, sha256 }
    }
}

impl Artifact {
    /// The artifact of a trained model, the text of its definition, and the fingerprint of its inputs' definitions.
    pub fn new(fitted: &Fitted, definition: &str, feature_fingerprint: &str) -> Artifact {
        Artifact {
            head: fitted.head,
            body: fitted.body.clone(),
            best_iteration: fitted.best_iteration,
            features: fitted.features.clone(),
            prior: fitted.prior,
            calibrator: fitted.calibrator.clone(),
            feature_fingerprint: feature_fingerprint.to_string(),
            report: fitted.report.clone(),
            curves: fitted.curves.clone(),
            baseline: fitted.baseline.clone(),
            environment: Environment::current(),
            definition: definition.to_string(),
        }
    }

    /// Name and content of every file. Write `schema.json` last: without it the others are no artifact.
    pub fn to_files(&self) -> Result<Vec<(String, Vec<u8>)>> {
        let (name, body) = self.body.to_file()?;
        let mut files = vec![
            (name.to_string(), body),
            (METRICS.to_string(), json(&self.report)?),
            (CURVES.to_string(), json(&self.curves)?),
            (BASELINE.to_string(), json(&self.baseline)?),
            (ENVIRONMENT.to_string(), json(&self.environment)?),
            (DEFINITION.to_string(), self.definition.clone().into_bytes()),
        ];
        let schema = SchemaFile {
            format: FORMAT,
            kind: self.head,
            best_iteration: self.best_iteration,
            prior: self.prior,
            calibrator: self.calibrator.clone(),
            feature_fingerprint: self.feature_fingerprint.clone(),
            features: self.features.clone(),
            files: files.iter().map(|(name, bytes)| (name.clone(), Checksum::of(bytes))).collect(),
        };
        files.push((SCHEMA.to_string(), json(&schema)?));
        Ok(files)
    }

    /// Reads an artifact back; files that it does not know are ignored.
    ///
    /// Errors: `Data` where a file is missing, cut or changed; `Definition` where a newer Scorehouse wrote it.
    pub fn from_files<N: AsRef<str>, B: AsRef<[u8]>>(files: &[(N, B)]) -> Result<Artifact> {
        let find = |wanted: &str| {
            files.iter().find(|(name, _)| name.as_ref() == wanted).map(|(_, bytes)| bytes.as_ref()).ok_or_else(|| {
                let found: Vec<&str> = files.iter().map(|(name, _)| name.as_ref()).collect();
                let found = if found.is_empty() { "no files".to_string() } else { found.join(", ") };
                broken(format!("`{wanted}` is missing; found {found}"))
            })
        };
        let schema = read_schema(find(SCHEMA)?)?;
        let verified = |name: &str| {
            let bytes = find(name)?;
            let found = Checksum::of(bytes);
            match schema.files.get(name) {
                Some(expected) if *expected == found => Ok(bytes),
                Some(expected) if expected.bytes != found.bytes => {
                    Err(broken(format!("`{name}` has {} bytes, expected {}", found.bytes, expected.bytes)))
                }
                Some(_) => Err(broken(format!("`{name}` was changed after it was written (its SHA-256 differs)"))),
                None => Err(broken(format!("`{SCHEMA}` has no checksum of `{name}`"))),
            }
        };
        let model = heads::file(schema.kind.is_trees());
        let body = Body::from_file(schema.kind, verified(model)?);
        // Format 1 had neither curves nor a baseline.
        let first = schema.format == 1;
        Ok(Artifact {
            head: schema.kind,
            body: body.map_err(|e| broken(format!("`{model}` cannot be read ({e})")))?,
            calibrator: schema.calibrator.clone(),
            feature_fingerprint: schema.feature_fingerprint.clone(),
            report: parse(METRICS, verified(METRICS)?)?,
            curves: if first { Curves::default() } else { parse(CURVES, verified(CURVES)?)? },
            baseline: if first { Baseline::default() } else { parse(BASELINE, verified(BASELINE)?)? },
            environment: parse(ENVIRONMENT, verified(ENVIRONMENT)?)?,
            definition: text(DEFINITION, verified(DEFINITION)?)?,
            best_iteration: schema.best_iteration,
            prior: schema.prior,
            features: schema.features,
        })
    }
}

fn read_schema(bytes: &[u8]) -> Result<SchemaFile> {
    // The version first: a newer format may hold anything else.
    #[derive(Deserialize)]
    struct Version {
        format: u32,
    }
    let Version { format } = parse(SCHEMA, bytes)?;
    if format > FORMAT {
        return Err(Error::definition(format!(
            "the model artifact has format {format}, written by a newer Scorehouse; this one ({}) reads up to \
             {FORMAT}: upgrade it, or train the model again with this version",
            env!("CARGO_PKG_VERSION")
        )));
    }
    parse(SCHEMA, bytes)
}

fn json<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value)?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn parse<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|e| broken(format!("`{name}` cannot be read ({e})")).caused_by(e))
}

fn text(name: &str, bytes: &[u8]) -> Result<String> {
    String::from_utf8(bytes.to_vec()).map_err(|e| broken(format!("`{name}` is not UTF-8 ({e})")))
}

fn broken(what: String) -> Error {
    Error::data(format!("the model artifact is incomplete or damaged: {what}; restore it or train again"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use crate::learn::encode::Vocabulary;
    use crate::learn::matrix::Class;
    use crate::learn::prior::ClassWeight;

    fn artifact() -> Artifact {
        let feature = |name: &str, class, vocabulary| Feature {
            name: name.to_string(),
            class,
            arrow_type: "Utf8".to_string(),
            vocabulary,
            value: None,
            target: None,
        };
        let share = Feature { value: Some("blue sky".into()), ..feature("g.c=blue%20sky", Class::Share, None) };
        Artifact {
            head: HeadKind::Lightgbm,
            body: Body::Trees("tree\n…".to_string()),
            calibrator: Calibrator::Platt { a: -1.25, b: 0.1 + 0.2 },
            feature_fingerprint: "f00".to_string(),
            curves: Curves::default(),
            baseline: Baseline::default(),
            best_iteration: 7,
            features: vec![
                feature("g.a", Class::Numeric, None),
                feature("g.b", Class::Categorical, Some(Vocabulary::fit(["x", "y", "y"], 10))),
                share,
            ],
            prior: Prior { class_weight: ClassWeight::Balanced, positives: 3, negatives: 9 },
            report: Report { warnings: vec!["one".to_string()], ..Report::default() },
            environment: Environment::current(),
            definition: "model: credit\n".to_string(),
        }
    }

    fn changed(name: &str, change: impl Fn(&mut Vec<u8>)) -> Error {
        let mut files = artifact().to_files().unwrap();
        let (_, bytes) = files.iter_mut().find(|(n, _)| n == name).unwrap();
        change(bytes);
        Artifact::from_files(&files).unwrap_err()
    }

    #[test]
    fn files_hold_everything_and_are_stable() {
        let files = artifact().to_files().unwrap();
        assert_eq!(Artifact::from_files(&files).unwrap(), artifact());
        assert_eq!(artifact().to_files().unwrap(), files);
        assert_eq!(files.last().unwrap().0, SCHEMA, "written last");
    }

    #[test]
    fn every_missing_file_is_named() {
        for (name, _) in artifact().to_files().unwrap() {
            let mut files = artifact().to_files().unwrap();
            files.retain(|(n, _)| *n != name);
            let error = Artifact::from_files(&files).unwrap_err();
            assert_eq!(error.kind(), Kind::Data);
            assert!(error.to_string().contains(&format!("`{name}` is missing")), "{error}");
        }
        let none: [(String, Vec<u8>); 0] = [];
        assert!(Artifact::from_files(&none).unwrap_err().to_string().contains("found no files"));
    }

    #[test]
    fn every_cut_or_changed_file_is_an_error() {
        for (name, bytes) in artifact().to_files().unwrap() {
            for keep in 0..bytes.len() - 1 {
                let error = changed(&name, |b| b.truncate(keep));
                assert_eq!(error.kind(), Kind::Data, "{name} cut to {keep}");
                assert!(error.to_string().contains(&name), "{error}");
            }
        }
        assert!(changed("model.txt", |b| b[0] ^= 1).to_string().contains("was changed after it was written"));
    }

    #[test]
    fn a_newer_format_is_said_to_be_newer() {
        let error = changed(SCHEMA, |b| *b = br#"{"format": 3, "shape": "unknown"}"#.to_vec());
        assert_eq!(error.kind(), Kind::Definition);
        assert!(error.to_string().contains("format 3, written by a newer Scorehouse"), "{error}");
    }

    #[test]
    fn what_an_older_version_wrote_is_read() {
        let report = br#"{"parts": [], "evaluations": [], "importances": [], "warnings": ["one"]}"#;
        let environment = br#"{"scorehouse": "0", "lightgbm": "4", "os": "o", "arch": "a"}"#;
        let contents: [(&str, &[u8]); 4] =
            [("model.txt", b"tree"), (METRICS, report), (ENVIRONMENT, environment), (DEFINITION, b"model: credit\n")];
        let checksums: BTreeMap<&str, Checksum> = contents.iter().map(|(n, b)| (*n, Checksum::of(b))).collect();
        let schema = serde_json::json!({
            "format": 1, "kind": "lightgbm", "best_iteration": 7,
            "prior": {"class_weight": "none", "positives": 3, "negatives": 9},
            "features": [{"name": "g.b", "class": "categorical", "arrow_type": "Utf8", "vocabulary": ["x"]}],
            "files": checksums,
        });
        let schema = serde_json::to_vec(&schema).unwrap();
        let files: Vec<(&str, &[u8])> = contents.into_iter().chain([(SCHEMA, schema.as_slice())]).collect();
        let read = Artifact::from_files(&files).unwrap();
        assert_eq!((read.head, read.body), (HeadKind::Lightgbm, Body::Trees("tree".into())));
        assert_eq!((read.calibrator, read.report.warnings), (Calibrator::None, vec!["one".to_string()]));
        assert_eq!(read.features[0].vocabulary.as_ref().unwrap().values(), ["x"]);
    }

    #[test]
    fn the_stated_lightgbm_is_the_one_that_is_linked() {
        // lightgbm3-sys 1.0.11 contains LightGBM 4.7.0; a new version of it must come with a new constant.
        let lock = include_str!("../../Cargo.lock");
        assert!(lock.contains("name = \"lightgbm3-sys\"\nversion = \"1.0.11\""));
        assert_eq!(lightgbm::VERSION, "4.7.0");
    }
}
