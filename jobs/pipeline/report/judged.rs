//! What the gate made of the night's candidate: its checks, and who would get another action.

use super::rows::{Rows, literal, register};
use crate::engine::session::Session;
use crate::error::Result;
use crate::pipeline::job::Job;
use crate::report::page::{ActionChanges, Check, Gate, Section, Status};

/// The checks of one version in one night.
pub async fn checks(job: &Job, session: &Session, model: &str, version: Option<&str>) -> Result<Section<Gate>> {
    let Some(version) = version else {
        return Ok(Section::absent("Nothing was trained in this night, so nothing was held to the gate."));
    };
    let none = || Ok(Section::absent("The gate kept no checks of this version."));
    let Some(_) = register(job, session, &format!("gates/{model}"), "gates").await? else { return none() };
    let night = literal(&job.date.to_string());
    let sql = format!("select * from gates where logical_date = date {night} and candidate = {}", literal(version));
    let rows = Rows::of(session, &sql).await?;
    if rows.is_empty() {
        return none();
    }
    let texts = |name: &str| -> Result<Vec<String>> {
        Ok(rows.texts(name)?.into_iter().map(Option::unwrap_or_default).collect())
    };
    let (metrics, directions, statuses, notes) =
        (texts("metric")?, texts("direction")?, texts("status")?, texts("note")?);
    let (candidates, champions) = (rows.numbers("candidate_value")?, rows.numbers("champion_value")?);
    let (thresholds, lows, highs) = (rows.numbers("threshold")?, rows.numbers("low")?, rows.numbers("high")?);
    let check = |row: usize| Check {
        metric: metrics[row].clone(),
        candidate: candidates[row],
        champion: champions[row],
        threshold: thresholds[row],
        direction: directions[row].replace('_', " "),
        low: lows[row],
        high: highs[row],
        status: status(&statuses[row]),
        note: notes[row].clone(),
    };
    Ok(Section::Shown(Gate { checks: (0..rows.len()).map(check).collect() }))
}

/// A status as tables write it; what is unknown was not checked.
pub fn status(text: &str) -> Status {
    match text {
        "pass" | "ok" => Status::Pass,
        "warn" => Status::Warn,
        "fail" => Status::Fail,
        _ => Status::Skipped,
    }
}

/// Live action by candidate's action. `actions` are the declared ones, in their order.
pub async fn action_changes(session: &Session, actions: &[String]) -> Result<Section<ActionChanges>> {
    let sql = "select live_action, action, count(*) as customers from differences group by live_action, action";
    let rows = Rows::of(session, sql).await?;
    let mut actions = actions.to_vec();
    let named = |text: Option<String>| text.unwrap_or_else(|| "none".to_string());
    let pairs: Vec<(String, String)> =
        rows.texts("live_action")?.into_iter().zip(rows.texts("action")?).map(|(l, c)| (named(l), named(c))).collect();
    // Actions of another definition, or of nobody, come last.
    let mut others: Vec<&String> = pairs.iter().flat_map(|(live, candidate)| [live, candidate]).collect();
    others.sort();
    others.dedup();
    let others: Vec<String> = others.into_iter().filter(|action| !actions.contains(action)).cloned().collect();
    actions.extend(others);
    let mut counts = vec![vec![0; actions.len()]; actions.len()];
    for ((live, candidate), customers) in pairs.iter().zip(rows.counts("customers")?) {
        let at = |action: &String| actions.iter().position(|a| a == action).unwrap_or_default();
        counts[at(live)][at(candidate)] += customers;
    }
    Ok(Section::Shown(ActionChanges { actions, counts }))
}
