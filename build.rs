//! What the binary says of itself: the commit it was built from, and the versions of the libraries in it.
//!
//! Cargo runs this again only when the checkout stands at another commit or the lock file changes; then our own crate is
//! built again, incrementally, and no dependency. Without git, or outside of a checkout, the commit is "unknown".

// The house rule on the environment is about the jobs; a build script has nothing else to go by.
#![allow(clippy::disallowed_methods)]

use std::path::Path;
use std::process::Command;

/// Package in the lock file → what its version is called here.
const LIBRARIES: [(&str, &str); 5] = [
    ("datafusion", "SCOREHOUSE_DATAFUSION"),
    ("arrow", "SCOREHOUSE_ARROW"),
    ("parquet", "SCOREHOUSE_PARQUET"),
    ("deltalake", "SCOREHOUSE_DELTALAKE"),
    ("lightgbm3", "SCOREHOUSE_LIGHTGBM3"),
];

/// Who builds from an archive can say what it was made of.
const COMMIT: &str = "SCOREHOUSE_COMMIT";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=Cargo.lock");
    println!("cargo:rerun-if-env-changed={COMMIT}");
    let told = std::env::var(COMMIT).ok().filter(|commit| !commit.trim().is_empty());
    let commit = told.or_else(commit).unwrap_or_else(|| "unknown".into());
    println!("cargo:rustc-env={COMMIT}={}", commit.trim());
    let lock = std::fs::read_to_string("Cargo.lock").unwrap_or_default();
    for (package, variable) in LIBRARIES {
        let version = locked(&lock, package).unwrap_or("unknown");
        println!("cargo:rustc-env={variable}={version}");
    }
}

/// The commit of the checkout that is this package, and not of one that this package was unpacked into.
fn commit() -> Option<String> {
    let here = std::env::var("CARGO_MANIFEST_DIR").ok()?;
    let top = git(&["rev-parse", "--show-toplevel"])?;
    if Path::new(&here).canonicalize().ok()? != Path::new(&top).canonicalize().ok()? {
        return None;
    }
    watch("HEAD");
    watch("packed-refs");
    // The branch alone: commits to others are none of ours. Where it has no file of its own yet, it will get one.
    if let Some(branch) = git(&["symbolic-ref", "-q", "HEAD"])
        && !watch(&branch)
    {
        watch("refs/heads");
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}

/// Makes cargo look at a file of git's; one that is not there would make it run this every time.
fn watch(name: &str) -> bool {
    let Some(path) = git(&["rev-parse", "--git-path", name]) else { return false };
    let is_there = Path::new(&path).exists();
    if is_there {
        println!("cargo:rerun-if-changed={path}");
    }
    is_there
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_string();
    (!text.is_empty()).then_some(text)
}

/// The version of a package in a lock file.
fn locked<'a>(lock: &'a str, package: &str) -> Option<&'a str> {
    let (_, after) = lock.split_once(&format!("name = \"{package}\"\nversion = \""))?;
    after.split('"').next()
}
