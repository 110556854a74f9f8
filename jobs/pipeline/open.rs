//! From a profile to an opened job: the lake, the raw events, the compiled project.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::NaiveDate;

use super::job::Job;
use super::load;
use super::progress::Progress;
use super::run_id;
use crate::clock;
use crate::define::profile::Profile;
use crate::engine::session::{Session, SessionOptions};
use crate::error::{Error, Result};
use crate::lake::{Lake, Raw};

/// Everything a job needs. Definitions come first: nothing is opened for a project that is wrong.
pub fn job(profile: Profile, project: &Path, date: NaiveDate, select: Vec<String>) -> Result<Job> {
    let loaded = load::load(project)?;
    let options = storage_options(&profile)?;
    Ok(Job {
        lake: Lake::open(&profile.lake, options.clone())?,
        raw: Raw::open(&profile.raw, &options)?,
        project: loaded.project,
        catalog: Arc::new(loaded.catalog),
        profile,
        date,
        run_id: run_id::of_job(),
        progress: Progress::new(),
        select,
        full: false,
        ledger: Default::default(),
    })
}

/// The lake of a profile.
pub fn lake(profile: &Profile) -> Result<Lake> {
    Lake::open(&profile.lake, storage_options(profile)?)
}

/// A query session with the resources of a profile.
pub fn session(profile: &Profile) -> Result<Session> {
    Session::new(&SessionOptions {
        threads: threads(profile),
        memory_limit: profile.memory_limit.map(|bytes| bytes.0),
        spill_dir: profile.spill_dir.as_ref().map(PathBuf::from),
        scheduler: profile.scheduler.as_ref().map(ToString::to_string),
    })
}

/// As declared, or all cores.
pub fn threads(profile: &Profile) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    profile.threads.unwrap_or(cores).max(1)
}

/// Storage options with secrets from the environment; a missing one is an error that names the variable only.
fn storage_options(profile: &Profile) -> Result<HashMap<String, String>> {
    let mut options: HashMap<String, String> = profile.storage_options.clone().into_iter().collect();
    for (option, variable) in &profile.storage_secrets {
        let value = clock::env(variable).ok_or_else(|| {
            let wanted = format!("the profile wants {option} from the environment variable {variable}");
            Error::definition(format!("{wanted}, which is not set"))
        })?;
        options.insert(option.clone(), value);
    }
    Ok(options)
}
