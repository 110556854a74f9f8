//! `scorehouse verify`: no feature sees the future, and what is stored is what the definitions say.

use std::path::PathBuf;

use chrono::NaiveDate;
use clap::Args;
use serde_json::json;

use super::{common, output};
use crate::error::{Error, Result};
use crate::pipeline::job::Job;
use crate::pipeline::progress::thousands;
use crate::pipeline::verify::proof::{Cause, Proof};
use crate::pipeline::verify::stored::{self, Against, Compared};
use crate::pipeline::{open, verify};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Logical date D: the job sees the world as of D+1 00:00 UTC.
    #[arg(long, value_parser = common::date, value_name = "YYYY-MM-DD")]
    date: NaiveDate,
    /// Compare the stored features of so many entities with a naive evaluation, instead of proving that none leaks.
    #[arg(long, value_name = "N")]
    sample: Option<usize>,
    /// Entities whose features the leakage proof computes, at five instants each.
    #[arg(long, default_value_t = 25, value_name = "N")]
    entities: usize,
    /// Chooses entities, instants and other futures.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Directory with sql/, features/ and models/.
    #[arg(long, default_value = ".", value_name = "DIR")]
    project: PathBuf,
    /// Work on these only (names or globs; may be given several times).
    #[arg(long, value_name = "NAME")]
    select: Vec<String>,
    /// Results as JSON on stdout.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: common::Place,
}

pub async fn run(arguments: Arguments) -> Result<()> {
    let profile = arguments.place.resolve()?;
    let job = open::job(profile, &arguments.project, arguments.date, arguments.select.clone())?;
    match arguments.sample {
        Some(entities) => {
            let compared = stored::compare(&job, entities.max(1), arguments.seed).await?;
            print(&job, &arguments, "tables", &compared, compared_text(&compared))?;
            stored::error(&job, &compared).map_or(Ok(()), Err)
        }
        None => {
            let proofs = verify::leakage(&job, arguments.entities.max(1), arguments.seed).await?;
            print(&job, &arguments, "definitions", &proofs, proofs_text(&proofs))?;
            verify::leakage_error(&proofs).map_or(Ok(()), Err)
        }
    }
}

fn print(job: &Job, arguments: &Arguments, what: &str, lines: &impl serde::Serialize, text: String) -> Result<()> {
    if !arguments.json {
        return output::print(&text);
    }
    let mut value = json!({ "job": "verify", "date": job.date.to_string(), "seed": arguments.seed });
    value[what] = serde_json::to_value(lines).map_err(Error::from)?;
    output::print(&format!("{}\n", serde_json::to_string_pretty(&value)?))
}

fn proofs_text(proofs: &[Proof]) -> String {
    let width = proofs.iter().map(|proof| proof.definition.chars().count()).max().unwrap_or(0).max(10);
    let head = ("definition", "spine rows", "features", "rows perturbed");
    let mut text = format!("{:<width$}  {:>10}  {:>8}  {:>14}  result\n", head.0, head.1, head.2, head.3);
    for proof in proofs {
        let leaks = proof.leaks.iter().filter(|leak| leak.cause == Cause::Future).count();
        let result = match (leaks, proof.leaks.len()) {
            (0, 0) => "holds".to_string(),
            (0, n) => format!("UNSTABLE: {n} differences"),
            (n, _) => format!("LEAKS: {n} differences"),
        };
        let (rows, perturbed) = (thousands(proof.spine_rows as u64), thousands(proof.perturbed as u64));
        text +=
            &format!("{:<width$}  {rows:>10}  {:>8}  {perturbed:>14}  {result}\n", proof.definition, proof.features);
    }
    if proofs.iter().all(|proof| proof.leaks.is_empty()) {
        text +=
            "\nWhat was not known at as_of, because it happened or became known later, moves no feature by a bit.\n";
    }
    text
}

fn compared_text(compared: &[Compared]) -> String {
    let width = compared.iter().map(|table| table.table.chars().count()).max().unwrap_or(0).max(5);
    let head = ("table", "entities", "columns", "against");
    let mut text = format!("{:<width$}  {:>8}  {:>7}  {:<16}  result\n", head.0, head.1, head.2, head.3);
    for table in compared {
        let result = match table.mismatches.len() {
            0 => "agrees".to_string(),
            n => format!("{n} columns DIFFER"),
        };
        let against = match table.against {
            Against::NaiveEvaluation => "naive evaluation",
            Against::QueryAgain => "the query again",
        };
        let Compared { table: name, entities, columns, .. } = table;
        text += &format!("{name:<width$}  {entities:>8}  {columns:>7}  {against:<16}  {result}\n");
    }
    if compared.iter().all(|table| table.mismatches.is_empty()) {
        text += "\nWhat is stored is what the definitions give when they are computed in another way, bit for bit.\n";
    }
    text
}
