//! What the gate made of the night's candidate: its checks, and who would get another action.

use super::rows::{Rows, literal, register};
use crate::define::Model;
use crate::engine::session::Session;
use crate::error::Result;
use crate::pipeline::job::Job;
use crate::report::page::{ActionChanges, Attribute, Check, Fairness, Gate, Group, Section, Status};

/// The checks of one version in one night.
pub async fn checks(job: &Job, session: &Session, model: &str, version: Option<&str>) -> Result<Section<Gate>> {
    let Some(version) = version else {
        return Ok(Section::absent("Nothing was trained in this night, so nothing was held to the gate."));
    };
    let none = || Ok(Section::absent("The gate kept no checks of this version."));
    let Some(_) = register(job, session, &format!("gates/{model}"), "gates").await? else { return none() };
    let night = literal(&job.date.to_string());
    let sql = format!(
        "select * from gates where logical_date = date {night} and candidate = {} order by place",
        literal(version)
    );
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
        direction: direction(&directions[row]).to_string(),
        low: lows[row],
        high: highs[row],
        status: status(&statuses[row]),
        note: notes[row].clone(),
    };
    Ok(Section::Shown(Gate { checks: (0..rows.len()).map(check).collect() }))
}

/// What a threshold bounds, in words.
fn direction(name: &str) -> &str {
    match name {
        "min" => "at least",
        "max" => "at most",
        "min_change" => "change at least",
        "max_change" => "change at most",
        other => other,
    }
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

/// How the gate found groups of people to be treated by a version.
pub async fn fairness(job: &Job, session: &Session, model: &Model, version: Option<&str>) -> Result<Section<Fairness>> {
    let Some(declared) = &model.fairness else {
        return Ok(Section::absent("The model declares no groups to compare."));
    };
    let none = || Ok(Section::absent("The gate has not compared the declared groups for this version."));
    let Some(version) = version else { return none() };
    let Some(_) = register(job, session, &format!("fairness/{}", model.name), "fairness").await? else { return none() };
    // A version may have been judged as a candidate, and be a later candidate's champion.
    let version = literal(version);
    let sql = format!(
        "select groups, \"group\", rows, favoured, good, good_favoured from fairness where model_version = {version} and \
         logical_date = (select max(logical_date) from fairness where model_version = {version} and logical_date <= date \
         {}) order by groups, \"group\"",
        literal(&job.date.to_string())
    );
    let rows = Rows::of(session, &sql).await?;
    let (sets, names) = (rows.texts("groups")?, rows.texts("group")?);
    let (counts, favoured) = (rows.counts("rows")?, rows.counts("favoured")?);
    let (good, good_favoured) = (rows.counts("good")?, rows.counts("good_favoured")?);
    let share = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
    let mut attributes: Vec<Attribute> = Vec::new();
    for row in 0..rows.len() {
        let set = sets[row].clone().unwrap_or_default();
        if attributes.last().is_none_or(|attribute| attribute.name != set) {
            attributes.push(Attribute { name: set, differences: Vec::new(), groups: Vec::new() });
        }
        let group = Group {
            name: names[row].clone().unwrap_or_default(),
            rows: counts[row],
            compared: counts[row] >= declared.min_rows as u64,
            favourable: share(favoured[row], counts[row]),
            good: good[row],
            favourable_among_good: share(good_favoured[row], good[row]),
        };
        if let Some(attribute) = attributes.last_mut() {
            attribute.groups.push(group);
        }
    }
    for attribute in &mut attributes {
        let gap = |of: fn(&Group) -> Option<f64>, enough: fn(&Group) -> u64| {
            let compared = attribute.groups.iter().filter(|group| enough(group) >= declared.min_rows as u64);
            let shares: Vec<f64> = compared.filter_map(of).collect();
            let (low, high) =
                shares.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), s| (l.min(*s), h.max(*s)));
            (shares.len() > 1).then_some(high - low)
        };
        let differences = vec![
            ("demographic_parity".to_string(), gap(|group| group.favourable, |group| group.rows)),
            ("equal_opportunity".to_string(), gap(|group| group.favourable_among_good, |group| group.good)),
        ];
        attribute.differences = differences;
    }
    if attributes.is_empty() { none() } else { Ok(Section::Shown(Fairness { attributes })) }
}
