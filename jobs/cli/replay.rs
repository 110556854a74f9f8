//! `scorehouse replay`: a score of an earlier night once more, and where it came from.

use std::path::PathBuf;

use chrono::NaiveDate;
use clap::Args;

use super::{common, output};
use crate::error::Result;
use crate::pipeline::open;
use crate::pipeline::replay::{self, Answer, Question};

#[derive(Debug, Args)]
pub struct Arguments {
    /// The model that scored.
    #[arg(long, value_name = "NAME")]
    model: String,
    /// Whom it scored; one of several keys as `a,b`, or given several times.
    #[arg(long, required = true, value_name = "E")]
    entity: Vec<String>,
    /// The night of the score.
    #[arg(long, value_parser = common::date, value_name = "YYYY-MM-DD")]
    date: NaiveDate,
    /// The run that scored (default: the last that scored this night).
    #[arg(long, value_name = "RUN_ID")]
    run: Option<String>,
    /// Directory with sql/, features/ and models/, as they were in that night.
    #[arg(long, default_value = ".", value_name = "DIR")]
    project: PathBuf,
    /// Results as JSON on stdout.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: common::Place,
}

pub async fn run(arguments: Arguments) -> Result<()> {
    let profile = arguments.place.resolve()?;
    let job = open::job(profile, &arguments.project, arguments.date, Vec::new())?;
    let Arguments { model, entity, run, .. } = &arguments;
    let answer = replay::run(&job, Question { model, entity, run: run.as_deref() }).await?;
    match arguments.json {
        true => output::print(&format!("{}\n", serde_json::to_string_pretty(&answer)?))?,
        false => output::print(&text(&answer))?,
    }
    answer.verdict()
}

fn text(answer: &Answer) -> String {
    let entity: Vec<String> = answer.entity.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    let (entity, version) = (entity.join(", "), &answer.model_version);
    let mut text = String::new();
    let number = |value: Option<f64>| value.map_or("null".to_string(), |value| value.to_string());
    for decided in &answer.decisions {
        let (as_of, decision) = (&decided.as_of, &decided.decision);
        let (probability, score) = (number(decided.probability), number(decided.score));
        text += &format!(
            "{entity} at {as_of} by {} {version}: {decision}, probability {probability}, score {score}\n",
            answer.model
        );
    }
    text += match answer.reproduced {
        true => "Computed again: the same, bit for bit.\n\n",
        false => "Computed again: not the same, or not in full.\n\n",
    };
    let line = |step: &replay::Step| {
        let from: Vec<String> = step.made_from.iter().map(|(name, version)| format!("{name} {version}")).collect();
        let run = step.run_id.clone().unwrap_or_default();
        vec![step.table.clone(), step.version.to_string(), step.files.to_string(), run, from.join(", ")]
    };
    text +=
        &output::columns(&["table", "version", "files", "run", "made from"], answer.trail.iter().map(line), &[1, 2]);
    text
}
