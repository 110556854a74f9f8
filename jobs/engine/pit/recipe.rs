//! What the operator was compiled from, so that another process can compile it again.
//!
//! A kernel is code and tables of one process; the definition behind it is text. An executor of a cluster is sent the
//! definition, the schema of its table and what was asked for, and compiles them by the same code: there is no second
//! description of a kernel that could say something else. Both sides must be of one build, and [`Parcel`] says which.

use std::io::Cursor;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::define::diagnostic;
use crate::define::{FeatureGroup, Sequence};
use crate::engine::session::Session;
use crate::error::{Error, Result};

use super::Compiled;
use super::exec::Plan;
use super::step::Night;

/// A definition that is one history of one table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Definition {
    Group(FeatureGroup),
    Sequence(Sequence),
}

/// All that compiling takes.
#[derive(Debug, Clone)]
pub struct Recipe {
    pub definition: Definition,
    pub event_time: String,
    pub tie_breaker: Vec<String>,
    pub table: SchemaRef,
    /// Where only these states are kept.
    pub only: Option<Vec<String>>,
}

impl Recipe {
    fn compile(&self, session: &Session) -> Result<Compiled> {
        let (time, ties) = (&self.event_time, &self.tie_breaker);
        let compiled = match &self.definition {
            Definition::Group(group) => Compiled::group(session, group, time, ties, &self.table),
            Definition::Sequence(sequence) => Compiled::sequence(session, sequence, time, ties, &self.table),
        };
        let compiled = compiled.map_err(diagnostic::into_error)?;
        match &self.only {
            None => Ok(compiled),
            Some(states) => {
                compiled.only(states).ok_or_else(|| Error::internal("an operator that keeps none of its states"))
            }
        }
    }
}

/// An operator, as it travels.
#[derive(Debug, Serialize, Deserialize)]
struct Parcel {
    /// Of the build that packed it.
    build: String,
    definition: Definition,
    event_time: String,
    tie_breaker: Vec<String>,
    table: String,
    only: Option<Vec<String>>,
    /// Of the result.
    schema: String,
    everyone: Option<i64>,
    /// `before` and `as_of` of an incremental night.
    night: Option<(i64, i64)>,
}

/// Version and commit of this build.
fn build() -> String {
    format!("{} ({})", env!("CARGO_PKG_VERSION"), env!("SCOREHOUSE_COMMIT"))
}

/// An operator as bytes.
///
/// # Errors
/// Internal: it cannot be written down.
pub fn pack(plan: &Plan, night: Option<Night>) -> Result<Vec<u8>> {
    let recipe = plan.recipe.as_ref().clone();
    let parcel = Parcel {
        build: build(),
        definition: recipe.definition,
        event_time: recipe.event_time,
        tie_breaker: recipe.tie_breaker,
        table: schema_to_text(&recipe.table)?,
        only: recipe.only,
        schema: schema_to_text(&plan.schema)?,
        everyone: plan.everyone,
        night: night.map(|night| (night.before, night.as_of)),
    };
    // YAML and not JSON: serde_json reads some floats a bit off unless a feature of it is on.
    let text = serde_yaml::to_string(&parcel).map_err(|e| Error::internal(format!("an operator as text: {e}")))?;
    Ok(text.into_bytes())
}

/// The operator that [`pack`] wrote.
///
/// # Errors
/// Definition: another build wrote it. Internal: it cannot be read.
pub fn unpack(bytes: &[u8], session: &Session) -> Result<(Plan, Option<Night>)> {
    #[derive(Deserialize)]
    struct Builder {
        build: String,
    }
    let unreadable = |e: serde_yaml::Error| Error::internal(format!("an operator from another process: {e}"));
    let theirs: Builder = serde_yaml::from_slice(bytes).map_err(unreadable)?;
    if theirs.build != build() {
        let (theirs, ours) = (theirs.build, build());
        let message = format!("the job is of scorehouse {theirs}, this process of the cluster is scorehouse {ours}");
        return Err(Error::definition(format!("{message}; run the same build everywhere")));
    }
    let parcel: Parcel = serde_yaml::from_slice(bytes).map_err(unreadable)?;
    let recipe = Recipe {
        definition: parcel.definition,
        event_time: parcel.event_time,
        tie_breaker: parcel.tie_breaker,
        table: schema_of_text(&parcel.table)?,
        only: parcel.only,
    };
    let plan = recipe.compile(session)?.plan(schema_of_text(&parcel.schema)?, parcel.everyone);
    Ok((plan, parcel.night.map(|(before, as_of)| Night { before, as_of })))
}

fn schema_to_text(schema: &Schema) -> Result<String> {
    let mut bytes = Vec::new();
    StreamWriter::try_new(&mut bytes, schema)?.finish()?;
    Ok(STANDARD.encode(bytes))
}

fn schema_of_text(text: &str) -> Result<SchemaRef> {
    let bytes = STANDARD.decode(text).map_err(|e| Error::internal(format!("a schema from another process: {e}")))?;
    Ok(Arc::clone(&StreamReader::try_new(Cursor::new(bytes), None)?.schema()))
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field};

    use crate::define::features::RawGroup;
    use crate::define::sequence::RawSequence;
    use crate::define::types::timestamp;
    use crate::define::yaml;
    use crate::engine::session::SessionOptions;

    use super::*;

    const GROUP: &str = "
group: g
entity: user_id
entities: users
table: payments
aggregations:
  - {of: amount, fn: [sum, mean, max, stddev, first], over: [7d, 30d]}
  - {of: amount, fn: percentile, at: 33.3, over: [30d]}
  - {of: amount, fn: exp_weighted_mean, half_life: 36h, over: [30d]}
  - {fn: count, where: \"kind = 'zwykła \\\"ż\\\"'\", as: odd, over: [30d]}
  - {of: kind, fn: share, top: 3, over: [90d]}
  - {of: paid_at, fn: time_since_last, as: hours, unit: hours}
derived:
  odd_per_sum: odd_30d / nullif(amount_sum_7d, 0)
";

    const SEQUENCE: &str = "
sequence: s
entity: user_id
entities: users
table: payments
length: 20
fields:
  - amount
  - {of: upper(kind), as: kind}
  - {fn: since_previous, as: gap, unit: hours}
";

    fn definitions() -> [Definition; 2] {
        let mut out = Vec::new();
        let (raw, origin) = yaml::parse::<RawGroup>("g.yaml", GROUP, &mut out).unwrap();
        let group = FeatureGroup::validate(raw, &origin, &mut out);
        let (raw, origin) = yaml::parse::<RawSequence>("s.yaml", SEQUENCE, &mut out).unwrap();
        let sequence = Sequence::validate(raw, &origin, &mut out);
        assert_eq!(out, []);
        [Definition::Group(group), Definition::Sequence(sequence)]
    }

    fn compiled(definition: Definition, session: &Session) -> Compiled {
        let table = Arc::new(Schema::new(vec![
            Field::new("user_id", DataType::Int64, true),
            Field::new("payment_id", DataType::Int64, true),
            Field::new("paid_at", timestamp(), true),
            Field::new("amount", DataType::Decimal128(12, 2), true),
            Field::new("kind", DataType::Utf8, true),
        ]));
        let tie_breaker = vec!["payment_id".to_string()];
        let recipe = Recipe { definition, event_time: "paid_at".into(), tie_breaker, table, only: None };
        recipe.compile(session).unwrap()
    }

    /// All that an operator does with rows, as text.
    fn does(plan: &Plan) -> String {
        format!("{:?} {:?} {} {:?}", plan.kernel, plan.layout, plan.packed, plan.everyone)
    }

    #[test]
    fn an_operator_arrives_as_it_left() {
        let session = Session::new(&SessionOptions::default()).unwrap();
        for definition in definitions() {
            let whole = compiled(definition, &session);
            let states = &whole.states()[..whole.states().len().min(2)];
            for compiled in [Some(&whole), whole.only(states).as_ref()].into_iter().flatten() {
                let (schema, night) = (compiled.schema(), Night { before: 1, as_of: -2 });
                for (everyone, night) in [(None, None), (Some(7), None), (None, Some(night))] {
                    let plan = compiled.plan(schema.clone(), everyone);
                    let (arrived, when) = unpack(&pack(&plan, night).unwrap(), &session).unwrap();
                    assert_eq!(does(&arrived), does(&plan));
                    assert_eq!(arrived.schema, plan.schema);
                    assert_eq!(when, night);
                }
            }
        }
    }

    #[test]
    fn another_build_is_refused_by_both_names() {
        let session = Session::new(&SessionOptions::default()).unwrap();
        let [group, _] = definitions();
        let packed = pack(&compiled(group, &session).plan(Arc::new(Schema::empty()), None), None).unwrap();
        let other = String::from_utf8(packed).unwrap().replacen(env!("CARGO_PKG_VERSION"), "9.9.9", 1);
        let error = unpack(other.as_bytes(), &session).unwrap_err();
        assert_eq!(error.kind(), crate::error::Kind::Definition);
        let said = error.to_string();
        assert!(said.contains("9.9.9") && said.contains(env!("CARGO_PKG_VERSION")), "{said}");
    }
}
