//! The leakage proof of one definition: another future must not move a single bit of a feature.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::compute::{cast, concat_batches, sort_to_indices, take_record_batch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimestampMicrosecondType};
use futures::TryStreamExt;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::difference::{Difference, differences};
use super::perturb::perturb;
use super::sample;
use super::subject::Subject;
use crate::define::types::timestamp;
use crate::engine::pit::{AS_OF, ROW};
use crate::engine::session::Session;
use crate::error::{Error, Kind, Result};
use crate::pipeline::instants;

/// Instants beside tonight's: so many at random, and so many exactly at events.
const INSTANTS: usize = 2;

/// What was tried, and every feature that moved.
#[derive(Debug, Serialize)]
pub struct Proof {
    pub definition: String,
    pub spine_rows: usize,
    pub features: usize,
    /// Rows that were changed, deleted or invented, over all instants.
    pub perturbed: usize,
    pub leaks: Vec<Leak>,
}

/// A feature that saw what it must not see.
#[derive(Debug, Clone, Serialize)]
pub struct Leak {
    pub entity: String,
    pub as_of: String,
    #[serde(flatten)]
    pub difference: Difference,
}

/// Computes the features of `people` at some instants, then at each instant again with another future. `tables` are
/// those that the subject reads, with all row versions; `tonight` is the last of the instants, in microseconds.
pub async fn prove(
    session: &Session,
    subject: &dyn Subject,
    tables: &BTreeMap<String, RecordBatch>,
    people: &RecordBatch,
    tonight: i64,
    seed: u64,
) -> Result<Proof> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let moments = moments(subject, tables, tonight, &mut rng)?;
    let entity = &subject.people().entity;
    let names = sample::names(people, entity)?;
    let spines = spines(people, &moments)?;
    let whole = concat_batches(&spines[0].schema(), &spines)?;
    let truth = compute(session, subject, tables, &whole).await?;
    let mut proof = Proof {
        definition: subject.name(),
        spine_rows: whole.num_rows(),
        features: truth.num_columns() - entity.len() - 2,
        perturbed: 0,
        leaks: Vec::new(),
    };
    for (index, (spine, as_of)) in spines.iter().zip(moments).enumerate() {
        let mut others = BTreeMap::new();
        for read in subject.reads() {
            let (other, changed) = perturb(table(tables, &read.table)?, &read, as_of, &mut rng)?;
            proof.perturbed += changed;
            others.insert(read.table, other);
        }
        let before = truth.slice(index * people.num_rows(), people.num_rows());
        let moved = match compute(session, subject, &others, spine).await {
            Ok(after) => differences(&before, &after)?,
            // What fails because of rows that it must not see has seen them.
            Err(error) if error.kind() == Kind::Data => vec![failure(&error)],
            Err(error) => return Err(error),
        };
        for difference in moved {
            let entity = names[difference.row].clone();
            proof.leaks.push(Leak { entity, as_of: instants::text(as_of), difference });
        }
    }
    Ok(proof)
}

fn failure(error: &Error) -> Difference {
    let (expected, found) = ("values".to_string(), format!("an error: {error}"));
    Difference { row: 0, column: "every feature".into(), expected, found }
}

/// Tonight, some instants of the history, and some at which something happens.
fn moments(
    subject: &dyn Subject,
    tables: &BTreeMap<String, RecordBatch>,
    tonight: i64,
    rng: &mut ChaCha8Rng,
) -> Result<Vec<i64>> {
    let mut times: Vec<i64> = Vec::new();
    for read in subject.reads() {
        let Some(name) = &read.event_time else { continue };
        let Some(column) = table(tables, &read.table)?.column_by_name(name) else { continue };
        times.extend(cast(column, &timestamp())?.as_primitive::<TimestampMicrosecondType>().iter().flatten());
    }
    times.retain(|time| *time < tonight);
    let mut moments = Vec::new();
    if let (Some(first), Some(last)) = (times.iter().min(), times.iter().max()) {
        for _ in 0..INSTANTS {
            moments.push(rng.random_range(*first..=*last));
            moments.push(times[rng.random_range(0..times.len())]);
        }
    }
    moments.push(tonight);
    Ok(moments)
}

/// Everybody at each instant; `_row` counts through all of them.
fn spines(people: &RecordBatch, moments: &[i64]) -> Result<Vec<RecordBatch>> {
    let count = people.num_rows();
    let mut fields: Vec<Arc<Field>> = people.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(AS_OF, timestamp(), false)));
    fields.push(Arc::new(Field::new(ROW, DataType::Int64, false)));
    let schema = Arc::new(Schema::new(fields));
    let mut spines = Vec::new();
    for (index, as_of) in moments.iter().enumerate() {
        let mut columns: Vec<ArrayRef> = people.columns().to_vec();
        columns.push(Arc::new(TimestampMicrosecondArray::from_value(*as_of, count).with_timezone("UTC")));
        columns.push(Arc::new(Int64Array::from_iter_values((index * count) as i64..((index + 1) * count) as i64)));
        spines.push(RecordBatch::try_new(schema.clone(), columns)?);
    }
    Ok(spines)
}

/// One row per spine row, in the order of `_row`.
async fn compute(
    session: &Session,
    subject: &dyn Subject,
    tables: &BTreeMap<String, RecordBatch>,
    spine: &RecordBatch,
) -> Result<RecordBatch> {
    let mut frames = HashMap::new();
    for (name, rows) in tables {
        frames.insert(name.clone(), session.context().read_batch(rows.clone())?);
    }
    let stream = subject.compute(session, frames, session.context().read_batch(spine.clone())?).await?;
    let schema = stream.schema();
    let batches: Vec<RecordBatch> = stream.try_collect().await?;
    let result = concat_batches(&schema, &batches)?;
    let rows = result.column_by_name(ROW).ok_or_else(|| Error::internal("features came back without _row"))?;
    let rows = cast(rows, &DataType::Int64)?;
    let sorted = take_record_batch(&result, &sort_to_indices(&rows, None, None)?)?;
    let found = rows.as_primitive::<Int64Type>().values().len();
    if found != spine.num_rows() {
        return Err(Error::data(format!("{found} rows for {} spine rows", spine.num_rows())));
    }
    Ok(sorted)
}

fn table<'a>(tables: &'a BTreeMap<String, RecordBatch>, name: &str) -> Result<&'a RecordBatch> {
    tables.get(name).ok_or_else(|| Error::internal(format!("table {name} is not there")))
}
