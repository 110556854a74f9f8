//! What the night decided: actions, reasons, where the probabilities lie, and the table of customers.
//!
//! Everything is counted by the engine, and no more rows come out of it than a page can hold.

use std::collections::BTreeMap;

use super::rows::{Rows, quoted};
use crate::define::Model;
use crate::engine::session::Session;
use crate::error::Result;
use crate::pipeline::progress::thousands;
use crate::report::page::{Action, Bound, Customer, Customers, Decisions, Distribution, Layer, Reason, Section};

/// Customers in the table of a page.
pub const CUSTOMERS: usize = 20_000;
/// Bins of a histogram.
const BINS: usize = 40;

/// Tables as a page of one night sees them: `scores` is the night's; `differences`, where the gate compared.
pub struct Night<'a> {
    pub session: &'a Session,
    pub model: &'a Model,
    pub scores: Vec<String>,
    pub differences: Option<Vec<String>>,
}

impl Night<'_> {
    pub async fn decisions(&self) -> Result<Section<Decisions>> {
        let sql = "select decision, count(*) as customers, avg(probability) as probability, avg(score) as score, \
            min(model_version) as version from scores group by decision";
        let rows = Rows::of(self.session, sql).await?;
        let texts = rows.texts("decision")?;
        let (counts, probabilities, scores) =
            (rows.counts("customers")?, rows.numbers("probability")?, rows.numbers("score")?);
        let mut actions: Vec<Action> = (0..rows.len())
            .map(|row| Action {
                action: texts[row].clone().unwrap_or_default(),
                count: counts[row],
                mean_probability: probabilities[row],
                mean_score: scores[row],
            })
            .collect();
        let declared = |action: &Action| self.model.decisions.iter().position(|d| d.action == action.action);
        actions.sort_by_key(|action| (declared(action).unwrap_or(usize::MAX), action.action.clone()));
        let version = rows.texts("version")?.into_iter().flatten().next().unwrap_or_default();
        Ok(Section::Shown(Decisions { version, actions, reasons: self.reasons().await? }))
    }

    async fn reasons(&self) -> Result<Vec<Reason>> {
        if !self.scores.iter().any(|column| column == "reason_codes") {
            return Ok(Vec::new());
        }
        let sentences = if self.scores.iter().any(|column| column == "reasons") { "reasons" } else { "reason_codes" };
        let sql = format!(
            "select code, min(sentence) as sentence, count(*) as customers from (select unnest(reason_codes) as code, \
             unnest({sentences}) as sentence from scores) group by code order by customers desc, code limit 50"
        );
        let rows = Rows::of(self.session, &sql).await?;
        let (codes, sentences, counts) = (rows.texts("code")?, rows.texts("sentence")?, rows.counts("customers")?);
        let rows = codes.into_iter().zip(sentences).zip(counts);
        Ok(rows
            .filter_map(|((code, sentence), count)| {
                Some(Reason { code: code?, sentence: sentence.unwrap_or_default(), count })
            })
            .collect())
    }

    /// Where the night's probabilities lie.
    pub async fn distribution(&self) -> Result<Option<Distribution>> {
        let highest = Rows::of(self.session, "select max(probability) as highest from scores").await?;
        let Some(highest) = highest.numbers("highest")?.first().copied().flatten() else { return Ok(None) };
        let to = self.upper(highest);
        let width = to / BINS as f64;
        let sql = format!(
            "select cast(least(floor(probability / {width:e}), {}) as bigint) as bin, count(*) as customers from scores \
             where probability is not null group by 1",
            BINS - 1
        );
        let rows = Rows::of(self.session, &sql).await?;
        let mut counts = vec![0; BINS];
        for (bin, customers) in rows.counts("bin")?.into_iter().zip(rows.counts("customers")?) {
            counts[(bin as usize).min(BINS - 1)] += customers;
        }
        Ok(Some(Distribution {
            rows: "Scores of the night".into(),
            edges: (0..=BINS).map(|edge| width * edge as f64).collect(),
            layers: vec![Layer { name: "Customers".into(), counts }],
            bounds: bounds(self.model),
        }))
    }

    /// The end of an axis of probabilities: round, and not below a bound between actions.
    pub fn upper(&self, highest: f64) -> f64 {
        upper(self.model, highest)
    }

    /// The customers who matter most: those whose action would change, then by how much their score does; without a
    /// comparison those with the highest probabilities.
    pub async fn customers(&self, compared: &str, file: String) -> Result<Section<Customers>> {
        let order: Vec<String> = (0..self.model.entity.len()).map(|at| format!("entity_{at}")).collect();
        let tie = order.join(", ");
        let (sql, order, note) = match &self.differences {
            Some(columns) => (self.compared(columns), "changed actions first, then the largest differences", compared),
            None => (self.alone(), "the highest probabilities first", ""),
        };
        let total = if self.differences.is_some() { "differences" } else { "scores" };
        let total = Rows::of(self.session, &format!("select count(*) as customers from {total}")).await?;
        let total = total.counts("customers")?.first().copied().unwrap_or_default();
        let rows = Rows::of(self.session, &format!("{sql}, {tie} limit {CUSTOMERS}")).await?;
        if rows.is_empty() {
            return Ok(Section::absent("Nobody was scored in this night."));
        }
        let order = match total as usize > CUSTOMERS {
            true => format!("{order}; all {} are in the lake", thousands(total)),
            false => order.to_string(),
        };
        Ok(Section::Shown(Customers {
            rows: self.shown(&rows)?,
            total,
            order,
            note: note.to_string(),
            file: self.differences.as_ref().map(|_| file),
        }))
    }

    fn alone(&self) -> String {
        let optional = self.optional("scores", "");
        let (entity, key) = (self.entity("scores"), self.key());
        format!(
            "select {entity}, {key} as key, probability, score, decision as action{optional} from scores order by \
             probability desc nulls last, key"
        )
    }

    fn compared(&self, columns: &[String]) -> String {
        let join: Vec<String> = self.model.entity.iter().map(|c| format!("d.{0} = s.{0}", quoted(c))).collect();
        let difference = if columns.iter().any(|c| c == "absolute_difference") {
            "d.absolute_difference"
        } else {
            "abs(d.score - d.live_score)"
        };
        // A night of applications has several scores of one customer, and none of them is the one that was compared.
        let one = matches!(self.model.scoring, crate::define::model::Scoring::Population(_));
        let (join, optional) = match one {
            true => (format!(" left join scores s on {}", join.join(" and ")), self.optional("s", ", s.probability")),
            false => (String::new(), String::new()),
        };
        let entity = self.entity("d");
        format!(
            "select * from (select {entity}, d.score, d.live_score, {difference} as difference, d.action, \
             d.live_action{optional} from differences d{join}) order by (action is distinct from live_action) desc, \
             difference desc nulls last"
        )
    }

    /// Columns of scores that newer lakes have.
    fn optional(&self, from: &str, more: &str) -> String {
        let mut sql = more.to_string();
        for (column, name) in [("limit", "limit"), ("reason_codes", "reasons"), ("missing_inputs", "missing")] {
            if self.scores.iter().any(|c| c == column) {
                sql.push_str(&format!(", {from}.{} as {}", quoted(column), quoted(name)));
            }
        }
        sql
    }

    /// The entity's columns as texts.
    fn entity(&self, from: &str) -> String {
        let cast =
            |(at, column): (usize, &String)| format!("cast({from}.{} as varchar) as entity_{at}", quoted(column));
        self.model.entity.iter().enumerate().map(cast).collect::<Vec<_>>().join(", ")
    }

    /// What else names a decision.
    fn key(&self) -> String {
        let key: Vec<String> = self.model.spine_key().iter().filter(|c| self.scores.contains(c)).cloned().collect();
        let parts: Vec<String> = key.iter().map(|c| format!("cast(scores.{} as varchar)", quoted(c))).collect();
        if parts.is_empty() { "cast(null as varchar)".into() } else { format!("concat_ws(', ', {})", parts.join(", ")) }
    }

    fn shown(&self, rows: &Rows) -> Result<Vec<Customer>> {
        let keys = rows.texts("key")?;
        let mut entities = Vec::new();
        for (at, column) in self.model.entity.iter().enumerate() {
            entities.push((column, rows.texts(&format!("entity_{at}"))?));
        }
        let (actions, live_actions) = (rows.texts("action")?, rows.texts("live_action")?);
        let numbers = |name: &str| rows.numbers(name);
        let (probabilities, scores, live) = (numbers("probability")?, numbers("score")?, numbers("live_score")?);
        let (differences, limits, missing) = (numbers("difference")?, numbers("limit")?, missing(rows)?);
        let reasons = rows.lists("reasons")?;
        Ok((0..rows.len())
            .map(|row| Customer {
                entity: entities.iter().map(|(c, v)| ((*c).clone(), v[row].clone().unwrap_or_default())).collect(),
                key: keys[row].clone(),
                probability: probabilities[row],
                score: scores[row],
                live_score: live[row],
                difference: differences[row],
                action: actions[row].clone().unwrap_or_default(),
                live_action: live_actions[row].clone(),
                limit: limits[row],
                reasons: reasons[row].clone(),
                missing: missing[row],
            })
            .collect())
    }
}

/// How many inputs were missing: a count, or a list of their names.
fn missing(rows: &Rows) -> Result<Vec<Option<u64>>> {
    match rows.lists("missing") {
        Ok(lists) if rows.has("missing") => Ok(lists.into_iter().map(|list| Some(list.len() as u64)).collect()),
        _ => Ok(rows.numbers("missing")?.into_iter().map(|n| n.map(|n| n as u64)).collect()),
    }
}

/// Where one action ends and the next begins.
pub fn bounds(model: &Model) -> Vec<Bound> {
    let bound = |decision: &crate::define::model::Decision| {
        decision.below.map(|at| Bound { at, action: decision.action.clone() })
    };
    model.decisions.iter().filter_map(bound).collect()
}

/// The end of an axis of probabilities.
pub fn upper(model: &Model, highest: f64) -> f64 {
    let last = bounds(model).last().map_or(0.0, |bound| bound.at * 1.25);
    let wanted = highest.max(last).clamp(1e-6, 1.0);
    // The next of 1, 2, 4, 5, 8 times a power of ten, in which forty bins have readable borders.
    let power = 10f64.powf(wanted.log10().floor());
    let round = [1.0, 2.0, 4.0, 5.0, 8.0, 10.0].into_iter().map(|step| step * power).find(|end| *end >= wanted);
    round.unwrap_or(1.0).min(1.0)
}

/// Counts by action of a model, in its order.
pub fn actions(model: &Model) -> Vec<String> {
    let mut seen = BTreeMap::new();
    let fresh = |action: &&String| seen.insert((*action).clone(), ()).is_none();
    model.decisions.iter().map(|decision| &decision.action).filter(fresh).cloned().collect()
}
