//! `scorehouse why`: a feature's value, and the rows it comes from.

use std::path::PathBuf;

use chrono::NaiveDate;
use clap::Args;

use super::{common, output};
use crate::error::Result;
use crate::pipeline::progress::thousands;
use crate::pipeline::why::{Answer, Because, Evidence, Question};
use crate::pipeline::{instants, open, why};

#[derive(Debug, Args)]
pub struct Arguments {
    /// The feature, as models name it.
    #[arg(value_name = "GROUP.FEATURE")]
    feature: String,
    /// The entity, or for attributes the decision; one of several keys as `a,b`, or given several times.
    #[arg(long, required = true, value_name = "E")]
    entity: Vec<String>,
    /// The instant of the decision (default: the end of the date; for attributes, when the decision was made).
    #[arg(long, value_parser = instants::parse, value_name = "T")]
    as_of: Option<i64>,
    /// Logical date D: the job sees the world as of D+1 00:00 UTC.
    #[arg(long, value_parser = common::date, value_name = "YYYY-MM-DD")]
    date: NaiveDate,
    /// Rows shown of each kind, the newest first.
    #[arg(long, default_value_t = 10, value_name = "N")]
    limit: usize,
    /// Directory with sql/, features/ and models/.
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
    let Arguments { feature: name, entity, as_of, limit, .. } = &arguments;
    let answer = why::run(&job, Question { name, entity, as_of: *as_of, limit: *limit }).await?;
    if arguments.json {
        return output::print(&format!("{}\n", serde_json::to_string_pretty(&answer)?));
    }
    output::print(&text(&answer))
}

fn text(answer: &Answer) -> String {
    let entity: Vec<String> = answer.entity.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    let (entity, value) = (entity.join(", "), shown(&answer.value));
    let head = format!("{} of {entity} at {} is {value}\n{}\n\n", answer.feature, answer.as_of, answer.doc);
    head + &match &answer.because {
        Because::Evidence(evidence) => evidence_text(evidence, &answer.as_of),
        Because::Derived { expression, inputs, lookups } => {
            let line = |input: &why::Input| vec![input.name.clone(), shown(&input.value), input.doc.clone()];
            let inputs = output::columns(&["input", "value", ""], inputs.iter().map(line), &[]);
            let found = lookups
                .iter()
                .map(|rows| format!("\nThe newest visible row is looked up.\n{}", evidence_text(rows, &answer.as_of)));
            format!("= {expression}\n\n{inputs}{}", found.collect::<String>())
        }
        Because::Query { file, tables, others } => {
            let seen = tables.iter().map(|rows| format!("\n{}", evidence_text(rows, &answer.as_of)));
            let mut text = format!("{file} computes it. What it could see of {entity}, and what not:\n");
            text.extend(seen);
            if !others.is_empty() {
                text += &format!(
                    "\nIt reads {} too, whose rows are not events of one {}.\n",
                    others.join(", "),
                    keys(answer)
                );
            }
            text
        }
    }
}

fn keys(answer: &Answer) -> String {
    answer.entity.keys().cloned().collect::<Vec<_>>().join(", ")
}

fn evidence_text(evidence: &Evidence, as_of: &str) -> String {
    let Evidence { table, event_time, from, filter, of, .. } = evidence;
    let window = from.as_ref().map_or(format!("before {as_of}"), |from| format!("in [{from}, {as_of})"));
    let filter = filter.as_ref().map(|filter| format!(" where {filter}")).unwrap_or_default();
    let versions = if evidence.only_known { "as known then" } else { "whenever they became known" };
    let mut text = format!("Rows of {table}{filter} with {event_time} {window}, {versions}:\n\n");
    let mut head = vec!["", event_time, of.as_deref().unwrap_or("")];
    if let Some(line) = evidence.rows.first() {
        head.extend(line.key.keys().map(String::as_str));
    }
    head.extend(["known from", "known until"]);
    text += &output::columns(
        &head,
        evidence.rows.iter().map(|line| {
            let mut cells = vec![line.verdict.to_string(), line.time.clone()];
            cells.push(if of.is_some() { shown(&line.value) } else { String::new() });
            cells.extend(line.key.values().cloned());
            cells.extend([&line.known_from, &line.known_until].map(|bound| bound.clone().unwrap_or_default()));
            cells
        }),
        &[],
    );
    let count = |n: &usize| thousands(*n as u64);
    let counts: Vec<String> = evidence.counts.iter().map(|(verdict, n)| format!("{} {verdict}", count(n))).collect();
    text + &match counts.is_empty() {
        true => format!("There is no row of {table} about this entity.\n"),
        false => format!("\n{}; {} in all\n", counts.join(", "), count(&evidence.counts.values().sum())),
    }
}

fn shown(value: &Option<String>) -> String {
    value.clone().unwrap_or_else(|| "null".to_string())
}
