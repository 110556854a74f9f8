//! What the binary says of itself, and what is handed out beside it.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::support::{root, said, scorehouse};

const SHELLS: [&str; 5] = ["bash", "zsh", "fish", "powershell", "elvish"];

fn run(arguments: &[&str]) -> String {
    said(scorehouse(arguments).output().unwrap()).ok().stdout
}

/// The jobs that `--help` lists.
fn jobs() -> Vec<String> {
    let help = run(&["--help"]);
    let list = help.split_once("Commands:").unwrap().1.split_once("Options:").unwrap().0.to_string();
    let name = |line: &str| {
        let name = line.strip_prefix("  ")?.split_whitespace().next()?;
        (!line.starts_with("   ") && name != "help").then(|| name.to_string())
    };
    let jobs: Vec<String> = list.lines().filter_map(name).collect();
    assert!(jobs.len() > 20, "{help}");
    jobs
}

#[test]
fn a_version_names_commit_and_libraries() {
    let short = run(&["-V"]);
    let commit = short.trim().strip_prefix(concat!("scorehouse ", env!("CARGO_PKG_VERSION"), " (")).unwrap();
    let commit = commit.strip_suffix(')').unwrap();
    assert_eq!(short.lines().count(), 1);
    assert!(commit == "unknown" || commit.len() >= 12 && commit.chars().all(|c| c.is_ascii_hexdigit()), "{short}");
    let long = run(&["--version"]);
    assert!(long.contains(&format!("commit {commit}\n")), "{long}");
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).unwrap();
    for library in ["datafusion", "arrow", "parquet", "deltalake"] {
        let line = long.lines().find(|line| line.starts_with(&format!("{library} "))).expect(library);
        let version = line.split_whitespace().last().unwrap();
        assert!(lock.contains(&format!("name = \"{library}\"\nversion = \"{version}\"\n")), "{line}");
    }
    assert!(long.contains("LightGBM 4."), "{long}");
}

#[test]
fn completions_and_manual_pages_know_every_job() {
    let jobs = jobs();
    for shell in SHELLS {
        let text = run(&["completions", shell]);
        for job in &jobs {
            assert!(text.contains(job.as_str()), "{job} for {shell}");
        }
        assert!(text.contains("metrics-dir"), "{shell}");
    }
    let bash = Command::new("bash").args(["-n", "-c", &run(&["completions", "bash"])]).output().unwrap();
    assert!(bash.status.success(), "{bash:?}");
    said(scorehouse(&["completions", "cmd"]).output().unwrap()).refuses(2, &["cmd", "bash"]);
    assert!(run(&["man"]).contains(".TH"));
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(run(&["man", &dir.path().join("pages").display().to_string()]), "");
    let page = |name: &str| std::fs::read_to_string(dir.path().join("pages").join(name)).expect(name);
    assert!(page("scorehouse.1").contains("nightly"));
    for job in &jobs {
        assert!(page(&format!("scorehouse-{job}.1")).contains(".TH"), "{job}");
    }
    assert!(page("scorehouse-models-promote.1").contains("force"));
}

/// `orchestration/dist.sh` as `make dist` calls it.
#[test]
fn a_release_is_complete() {
    let dir = tempfile::tempdir().unwrap();
    let dist = dir.path().join("dist");
    let mut command = Command::new(root().join("orchestration/dist.sh"));
    let output = command.arg(env!("CARGO_BIN_EXE_scorehouse")).arg(&dist).output().unwrap();
    let told = said(output).ok().stdout;
    assert!(told.contains("datafusion "), "the stripped binary runs: {told}");
    let read = |name: &str| std::fs::read(dist.join(name)).expect(name);
    let built = std::fs::metadata(env!("CARGO_BIN_EXE_scorehouse")).unwrap().len();
    assert!((read("scorehouse").len() as u64) < built);
    for name in ["scorehouse.bash", "_scorehouse", "scorehouse.fish", "_scorehouse.ps1", "scorehouse.elv"] {
        assert!(read(&format!("completions/{name}")).len() > 1000, "{name}");
    }
    assert!(!read("man/scorehouse-nightly.1").is_empty());
    let sums = String::from_utf8(read("SHA256SUMS")).unwrap();
    let sum = |name: &str| Sha256::digest(read(name)).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let lines: Vec<(&str, &str)> = sums.lines().map(|line| line.split_once("  ").unwrap()).collect();
    assert_eq!(lines.iter().map(|(_, name)| *name).collect::<Vec<_>>(), ["scorehouse", "scorehouse.cdx.json"]);
    lines.iter().for_each(|(digest, name)| assert_eq!(*digest, sum(name), "{name}"));
    bill(&serde_json::from_slice(&read("scorehouse.cdx.json")).unwrap(), &sum("scorehouse"), &root());
}

/// The shape that CycloneDX 1.5 gives a bill, and what is in ours.
fn bill(bill: &Value, binary: &str, root: &Path) {
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_string();
    assert_eq!((text(&bill["bomFormat"]), text(&bill["specVersion"])), ("CycloneDX".into(), "1.5".into()));
    assert_eq!(bill["version"], 1);
    let serial = text(&bill["serialNumber"]);
    assert!(serial.strip_prefix("urn:uuid:").is_some_and(|id| id.len() == 36), "{serial}");
    let own = &bill["metadata"]["component"];
    assert_eq!((text(&own["type"]), text(&own["name"])), ("application".into(), "scorehouse".into()));
    assert_eq!(own["hashes"][0]["content"], binary);
    let lock = std::fs::read_to_string(root.join("Cargo.lock")).unwrap();
    let components = bill["components"].as_array().unwrap();
    assert!(components.len() > 200, "{}", components.len());
    let mut refs = BTreeSet::from([text(&own["bom-ref"])]);
    for part in components {
        let (name, version) = (text(&part["name"]), text(&part["version"]));
        assert_eq!(text(&part["type"]), "library", "{name}");
        assert!(["required", "excluded"].contains(&text(&part["scope"]).as_str()), "{name}");
        assert!(text(&part["purl"]).starts_with("pkg:"), "{name}");
        let license = &part["licenses"][0];
        assert!(license["expression"].is_string() || license["license"]["name"].is_string(), "{name}");
        assert!(!license["expression"].as_str().unwrap_or_default().contains('/'), "{name}: {license}");
        assert!(refs.insert(text(&part["bom-ref"])), "{name} {version} twice");
        if name != "LightGBM" {
            let block = format!("name = \"{name}\"\nversion = \"{version}\"\n");
            let (_, locked) = lock.split_once(&block).unwrap_or_else(|| panic!("{name} {version} is not locked"));
            let hash = &part["hashes"][0];
            assert_eq!(hash["alg"], "SHA-256", "{name}");
            let checksum = format!("checksum = \"{}\"", text(&hash["content"]));
            assert!(locked.split("[[package]]").next().unwrap().contains(&checksum), "{name} {version}");
        }
    }
    for name in ["datafusion", "arrow", "parquet", "deltalake", "lightgbm3-sys", "LightGBM"] {
        let part = components.iter().find(|part| part["name"] == name).expect(name);
        assert_eq!(part["scope"], "required", "{name}");
    }
    assert!(components.iter().all(|part| part["name"] != "proptest"), "what only tests need is not handed out");
    let depends = bill["dependencies"].as_array().unwrap();
    assert_eq!(depends.iter().map(|of| text(&of["ref"])).collect::<BTreeSet<_>>(), refs);
    for other in depends.iter().flat_map(|of| of["dependsOn"].as_array().unwrap()) {
        assert!(refs.contains(other.as_str().unwrap()), "{other}");
    }
}
