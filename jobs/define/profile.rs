//! A profile: where a project runs and with what. `orchestration/local.yaml` is the default; flags override it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::diagnostic::{self, Diagnostic};
use super::schema::text;
use super::types::Duration;
use super::yaml;
use crate::error::{Error, Result};

/// Where a project runs and with what. Paths are relative to the directory in which the job is started.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Root URL of everything that is written.
    pub lake: String,
    /// Root URL of the raw events, never written but by `generate`.
    pub raw: String,
    /// What computes.
    #[serde(default)]
    pub engine: EngineKind,
    /// Where the scheduler of `engine: ballista` listens, such as `http://127.0.0.1:50050`.
    pub scheduler: Option<SchedulerUrl>,
    /// Memory for queries, such as `4GiB`; without it, as much as they want.
    pub memory_limit: Option<Bytes>,
    /// Where queries spill; without it, the system's temporary directory.
    pub spill_dir: Option<String>,
    /// How many threads; without it, one per core.
    pub threads: Option<usize>,
    /// The directory in which each run leaves a file of metrics for Prometheus; without it, nowhere.
    pub metrics_dir: Option<LocalDir>,
    /// Options of the object store, passed on as they are; no secrets here.
    #[serde(default)]
    pub storage_options: BTreeMap<String, String>,
    /// Option → name of the environment variable that holds it.
    #[serde(default)]
    pub storage_secrets: BTreeMap<String, String>,
    /// Name of the environment variable with the key of pseudonyms.
    #[serde(default = "default_pii_key")]
    pub pii_key: String,
    /// For how long what a night read can be read again: `maintain` keeps files and log entries at least so long.
    #[serde(default = "default_replay_retention")]
    pub replay_retention: Duration,
}

fn default_pii_key() -> String {
    "SCOREHOUSE_PII_KEY".into()
}

fn default_replay_retention() -> Duration {
    Duration::days(400)
}

/// What computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// The process of the job.
    #[default]
    Embedded,
    /// A cluster of Apache DataFusion Ballista.
    Ballista,
}

/// Where a scheduler listens: `http://HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct SchedulerUrl {
    host: String,
    port: u16,
}

impl SchedulerUrl {
    pub fn host_and_port(&self) -> (String, u16) {
        (self.host.clone(), self.port)
    }
}

impl TryFrom<String> for SchedulerUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no scheduler, expected a URL such as http://127.0.0.1:50050");
        let (host, port) = text.strip_prefix("http://").and_then(|rest| rest.rsplit_once(':')).ok_or_else(wrong)?;
        let port = port.trim_end_matches('/').parse().map_err(|_| wrong())?;
        let plain = !host.is_empty() && !host.contains(['/', '@', ' ']);
        plain.then(|| SchedulerUrl { host: host.to_string(), port }).ok_or_else(wrong)
    }
}

impl std::fmt::Display for SchedulerUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "http://{}:{}", self.host, self.port)
    }
}

/// A size such as `512MiB` or `4GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Bytes(pub usize);

impl Bytes {
    /// The part of each of `n` that share it.
    pub fn shared(self, n: usize) -> Bytes {
        Bytes((self.0 / n.max(1)).max(1))
    }
}

impl TryFrom<String> for Bytes {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
        units
            .iter()
            .find_map(|(unit, size)| text.strip_suffix(unit)?.trim().parse::<usize>().ok()?.checked_mul(*size))
            .filter(|bytes| *bytes > 0)
            .map(Bytes)
            .ok_or_else(|| format!("invalid size `{text}`, expected a number and KiB, MiB or GiB, such as 4GiB"))
    }
}

/// A directory of this machine, whether it is there or not.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct LocalDir(pub String);

impl TryFrom<String> for LocalDir {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        match text.trim().is_empty() || text.contains("://") {
            true => {
                Err(format!("invalid directory `{text}`, expected a path on this machine, such as /var/lib/metrics"))
            }
            false => Ok(LocalDir(text)),
        }
    }
}

impl Profile {
    pub fn parse(file: &str, text: &str) -> Result<Profile, Error> {
        let mut out: Vec<Diagnostic> = Vec::new();
        match yaml::parse::<Profile>(file, text, &mut out) {
            Some((profile, origin)) => match (profile.engine, &profile.scheduler) {
                (EngineKind::Embedded, None) | (EngineKind::Ballista, Some(_)) => Ok(profile),
                (EngineKind::Ballista, None) => {
                    let message = "a cluster without `scheduler`, such as http://127.0.0.1:50050";
                    Err(diagnostic::into_error(vec![origin.at("engine", message)]))
                }
                (EngineKind::Embedded, Some(_)) => {
                    let message = "a scheduler without `engine: ballista`";
                    Err(diagnostic::into_error(vec![origin.at("scheduler", message)]))
                }
            },
            None => Err(diagnostic::into_error(out)),
        }
    }
}

text!(
    SchedulerUrl,
    "SchedulerUrl",
    json!({
        "description": "Host and port of a scheduler, such as `http://127.0.0.1:50050`.",
        "type": "string",
        "pattern": "^http://[^/@ ]+:[0-9]+/?$",
    })
);

text!(
    Bytes,
    "Size",
    json!({
        "type": "string",
        "pattern": "^ *0*[1-9][0-9]* *(KiB|MiB|GiB)$",
        "description": "A number above 0 and KiB, MiB or GiB.",
        "examples": ["4GiB"],
    })
);

text!(
    LocalDir,
    "LocalDirectory",
    json!({
        "type": "string",
        "pattern": "^(?!.*://).*[^ ]",
        "description": "A directory of this machine.",
        "examples": ["/var/lib/metrics"],
    })
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_binary() {
        assert_eq!(Bytes::try_from("2GiB".to_string()), Ok(Bytes(2 << 30)));
        assert!(Bytes::try_from("2GB".to_string()).is_err());
        assert!(Bytes::try_from("0MiB".to_string()).is_err());
    }

    #[test]
    fn a_directory_is_one_of_this_machine() {
        assert_eq!(LocalDir::try_from("metrics".to_string()), Ok(LocalDir("metrics".into())));
        assert!(LocalDir::try_from(" ".to_string()).is_err());
        let error = Profile::parse("p.yaml", "lake: l\nraw: r\nmetrics_dir: s3://b/m\n").unwrap_err().to_string();
        assert!(error.contains("p.yaml:3") && error.contains("a path on this machine"), "{error}");
    }

    #[test]
    fn a_cluster_has_a_scheduler() {
        let parse = |rest: &str| Profile::parse("p.yaml", &format!("lake: l\nraw: r\n{rest}"));
        let profile = parse("engine: ballista\nscheduler: http://h:50050\n").unwrap();
        assert_eq!(profile.scheduler.unwrap().host_and_port(), ("h".to_string(), 50050));
        for (rest, said) in [
            ("engine: ballista\n", "p.yaml:3"),
            ("scheduler: http://h:50050\n", "without `engine: ballista`"),
            ("engine: ballista\nscheduler: h:50050\n", "p.yaml:4"),
            ("engine: ballista\nscheduler: http://h\n", "a URL such as"),
            ("engine: balista\n", "ballista"),
        ] {
            let error = parse(rest).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn an_unknown_key_is_placed() {
        let error = Profile::parse("p.yaml", "lake: l\nraw: r\nmemory_limt: 1GiB\n").unwrap_err().to_string();
        assert!(error.contains("p.yaml:3:1") && error.contains("did you mean `memory_limit`"), "{error}");
    }
}
