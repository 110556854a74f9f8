//! `scorehouse maintain --rotate-key`: every pseudonym of the lake under another key.

use clap::Args;
use serde_json::json;

use super::output;
use crate::define::lineage::Graph;
use crate::error::{Error, Result};
use crate::pipeline::job::{Job, Written};
use crate::pipeline::progress::{bytes, thousands};
use crate::pipeline::rotation::{self, Rekeyed, Report, Request};
use crate::pipeline::runs::recorded;

#[derive(Debug, Clone, Args)]
pub struct Rotate {
    /// Rename every pseudonym: from those of one key to those of another. Nothing else is done.
    #[arg(long)]
    rotate_key: bool,
    /// Environment variable with the key from now on.
    #[arg(long, value_name = "VARIABLE", requires = "rotate_key")]
    new_key: Option<String>,
    /// Environment variable with the key until now (default: that of the profile).
    #[arg(long, value_name = "VARIABLE", requires = "rotate_key")]
    old_key: Option<String>,
    /// Also where raw values are lost, or values were computed from pseudonyms.
    #[arg(long, requires = "rotate_key")]
    accept_loss: bool,
}

impl Rotate {
    pub fn is_asked(&self) -> bool {
        self.rotate_key
    }

    fn request(&self, job: &Job) -> Result<Request> {
        let new_key = self.new_key.clone().ok_or_else(|| {
            Error::definition("--rotate-key was given without --new-key VARIABLE, which names the key from now on")
        })?;
        let old_key = self.old_key.clone().unwrap_or_else(|| job.profile.pii_key.clone());
        Ok(Request { old_key, new_key, accept_loss: self.accept_loss })
    }
}

pub async fn run(job: &Job, graph: &Graph, arguments: &Rotate, dry_run: bool, as_json: bool) -> Result<()> {
    let request = arguments.request(job)?;
    let mut report = Report::default();
    if dry_run {
        report = rotation::run(job, graph, &request, true).await?;
    } else {
        recorded(job, rotation::JOB, async {
            report = rotation::run(job, graph, &request, false).await?;
            let written = |done: &Rekeyed| Written::unchanged(&done.table, "written", done.first_version);
            Ok(report.tables.iter().map(written).collect())
        })
        .await?;
    }
    if as_json {
        let mut value = json!({"job": rotation::JOB, "run_id": job.run_id, "dry_run": dry_run});
        if let (Some(value), serde_json::Value::Object(report)) = (value.as_object_mut(), json!(report)) {
            value.extend(report);
        }
        return output::print(&format!("{}\n", serde_json::to_string_pretty(&value)?));
    }
    output::print(&text(job, &report, &request, dry_run))
}

fn text(job: &Job, report: &Report, request: &Request, dry_run: bool) -> String {
    if report.nothing_to_do {
        return "Nothing to do: the lake has this key already, or no pseudonyms.\n".into();
    }
    let row = |done: &Rekeyed| {
        let first = done.first_version.map_or_else(String::new, |version| version.to_string());
        vec![done.table.clone(), thousands(done.files), thousands(done.history), first]
    };
    let head = ["table", "files", "old files and log entries", "readable from version"];
    let mut text = output::columns(&head, report.tables.iter().map(row), &[1, 2, 3]);
    let mut list = |title: &str, names: Vec<String>| {
        if !names.is_empty() {
            text.push_str(&format!("\n{title}\n"));
            names.iter().for_each(|name| text.push_str(&format!("  {name}\n")));
        }
    };
    let counted = |counts: &std::collections::BTreeMap<String, u64>| -> Vec<String> {
        counts.iter().map(|(name, n)| format!("{name}: {} values", thousands(*n))).collect()
    };
    list("States that the next night makes anew:", report.states.clone());
    list("Objects of no table:", report.objects.clone());
    list("Raw files that are gone or changed since they were ingested:", report.gone.clone());
    list("Raw files that cannot be read:", report.unreadable.clone());
    list("Pseudonyms whose values no raw file has; they join within this lake only:", counted(&report.lost));
    list("Values computed from pseudonyms, which stay as they are:", counted(&report.computed));
    let (pseudonyms, files) = (thousands(report.pseudonyms), thousands(report.raw_files));
    let (objects, size) = (thousands(report.proof.objects), bytes(report.proof.bytes));
    let found = thousands(report.proof.found);
    text.push_str(&format!("\n{pseudonyms} pseudonyms, from {files} raw files.\n"));
    match dry_run {
        true => text.push_str(&format!("Found {found} times in {objects} objects, {size}. Nothing was changed.\n")),
        false => text.push_str(&format!(
            "Proof: {objects} objects, {size}, every byte looked through; {found} old pseudonyms.\nFrom now on \
             {} must hold the key that is in {}.\n",
            job.profile.pii_key, request.new_key
        )),
    }
    text
}
