//! The raw root as a whole: whether it already holds what is asked for, and what in it is left from before.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::deliver::write_whole;
use super::{Config, SOURCES, Summary};
use crate::error::{Context, Result};

/// Says what was generated; absent while a generation is under way.
const MARKER: &str = "_generated.json";
/// Goes up whenever the same configuration gives other bytes.
const VERSION: u32 = 1;
const OUR_NAMES: [&str; 4] = ["part-", "late-", "redelivered-", "corrected-"];

/// A configuration as far as the result depends on it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Asked {
    version: u32,
    users: u64,
    days: u32,
    start: String,
    seed: u64,
    late_share: f64,
    redelivered_share: f64,
    corrected_share: f64,
}

#[derive(Serialize, Deserialize)]
struct Marker {
    asked: Asked,
    summary: Summary,
}

fn asked(config: &Config) -> Asked {
    Asked {
        version: VERSION,
        users: config.users,
        days: config.days,
        start: config.start.to_string(),
        seed: config.seed,
        late_share: config.late_share,
        redelivered_share: config.redelivered_share,
        corrected_share: config.corrected_share,
    }
}

/// What is there, if it is what the configuration asks for and no file has gone.
pub fn already_done(config: &Config) -> Result<Option<Summary>> {
    let Ok(text) = fs::read_to_string(config.raw.join(MARKER)) else {
        return Ok(None);
    };
    // A marker that cannot be read is one of another version.
    let Ok(marker) = serde_json::from_str::<Marker>(&text) else {
        return Ok(None);
    };
    if marker.asked != asked(config) || ours(&config.raw)?.len() as u64 != marker.summary.files {
        return Ok(None);
    }
    Ok(Some(Summary { unchanged: true, ..marker.summary }))
}

/// Makes the root and takes the marker away.
pub fn begin(config: &Config) -> Result<()> {
    let doing = || format!("preparing {} for generated events", config.raw.display());
    fs::create_dir_all(&config.raw).with_context(doing)?;
    match fs::remove_file(config.raw.join(MARKER)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).with_context(doing),
        _ => Ok(()),
    }
}

/// Removes what an earlier generation left over and writes the marker.
pub fn finish(config: &Config, summary: &Summary, written: &[PathBuf]) -> Result<()> {
    let written: HashSet<&Path> = written.iter().map(PathBuf::as_path).collect();
    for path in ours(&config.raw)? {
        if !written.contains(path.as_path()) {
            fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
            if let Some(day) = path.parent() {
                // Fails, as it should, where other files are left.
                let _ = fs::remove_dir(day);
            }
        }
    }
    let marker = Marker { asked: asked(config), summary: summary.clone() };
    write_whole(&config.raw.join(MARKER), serde_json::to_string_pretty(&marker)?.as_bytes())
}

/// Every file below the root that a generation may have written.
fn ours(raw: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for (source, _) in SOURCES {
        for day in children(&raw.join(source))? {
            if !name(&day).starts_with("day=") {
                continue;
            }
            let files = children(&day)?.into_iter();
            found.extend(files.filter(|file| OUR_NAMES.iter().any(|prefix| name(file).starts_with(prefix))));
        }
    }
    Ok(found)
}

fn children(directory: &Path) -> Result<Vec<PathBuf>> {
    let doing = || format!("listing {}", directory.display());
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.with_context(doing)?,
    };
    entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>().with_context(doing)
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|n| n.to_str()).unwrap_or_default()
}
