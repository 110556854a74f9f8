//! The leakage proof of one definition: another future must not move a single bit of a feature.
//!
//! The rows of another future come in another order, and each instant is asked about alone. So a query is found out,
//! too, whose result depends on the order of rows (a sum of floats, a choice among rows of equal time) or on the rest of
//! the spine. It has seen no future, but nobody will compute the same again; it is told apart by computing it once more
//! of the very same rows, in that other order.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, TimestampMicrosecondArray, UInt64Array};
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
use crate::define::Diagnostic;
use crate::define::types::timestamp;
use crate::engine::pit::{AS_OF, ROW};
use crate::engine::plan::KNOWN_FROM;
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

/// A feature that moved, though its decision could see nothing of what changed.
#[derive(Debug, Clone, Serialize)]
pub struct Leak {
    pub cause: Cause,
    pub entity: String,
    pub as_of: String,
    #[serde(flatten)]
    pub difference: Difference,
    /// What to say of it, at its place.
    #[serde(skip)]
    pub diagnostic: Diagnostic,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// It saw what it must not see.
    Future,
    /// It is another for the same rows, too.
    Unstable,
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
    let names = sample::names(people, &subject.people().entity)?;
    let spines = spines(people, &moments)?;
    let whole = concat_batches(&spines[0].schema(), &spines)?;
    let truth = compute(session, subject, tables, &whole).await?;
    let is_feature = |field: &&Arc<Field>| whole.schema().field_with_name(field.name()).is_err();
    let mut proof = Proof {
        definition: subject.name(),
        spine_rows: whole.num_rows(),
        features: truth.schema().fields().iter().filter(is_feature).count(),
        perturbed: 0,
        leaks: Vec::new(),
    };
    for (index, (spine, as_of)) in spines.iter().zip(moments).enumerate() {
        let (mut others, mut reordered) = (BTreeMap::new(), BTreeMap::new());
        for read in subject.reads() {
            let rows = table(tables, &read.name)?;
            let other = perturb(rows, &read, as_of, &mut rng)?;
            proof.perturbed += other.changed;
            reordered.insert(read.name.clone(), in_order(rows, other.stayed)?);
            others.insert(read.name, other.rows);
        }
        let before = truth.slice(index * people.num_rows(), people.num_rows());
        let differences = moved(session, subject, &others, (spine, &before)).await?;
        let mut unstable = BTreeSet::new();
        if !differences.is_empty() {
            let again = moved(session, subject, &reordered, (spine, &before)).await?;
            unstable.extend(again.into_iter().map(|difference| difference.column));
        }
        for difference in differences {
            let cause = if unstable.contains(&difference.column) { Cause::Unstable } else { Cause::Future };
            let (entity, as_of) = (names[difference.row].clone(), instants::text(as_of));
            let diagnostic = diagnosis(subject, cause, &difference, &format!("{entity} at {as_of}"));
            proof.leaks.push(Leak { cause, entity, as_of, difference, diagnostic });
        }
    }
    Ok(proof)
}

/// What leaked, where it is defined.
fn diagnosis(subject: &dyn Subject, cause: Cause, difference: &Difference, whose: &str) -> Diagnostic {
    let Difference { column, expected, found, .. } = difference;
    let (does, always, other, help) = match cause {
        Cause::Future => (
            "sees more than was known of",
            "whatever those rows are",
            "with other rows that a decision then could not see",
            "a row counts only if event_time < as_of and _known_from <= as_of, and until _known_until",
        ),
        Cause::Unstable => (
            "is not always the same for",
            "in whatever order rows come, and whoever else is asked about",
            "of the same rows in another order, or without the rest of the spine",
            "sum decimals instead of floats, order by a key where times are equal, and look at no other row of the spine",
        ),
    };
    let diagnostic = subject.at(column, format!("{column} of {} {does} {whose}", subject.name()));
    diagnostic.found(format!("{found} {other}")).expected(format!("{expected}, {always}")).help(help)
}

fn failure(error: &Error) -> Difference {
    let (expected, found) = ("values".to_string(), format!("an error: {error}"));
    Difference { row: 0, column: "every feature".into(), expected, found }
}

/// The columns that are not what they were, computed from other tables.
async fn moved(
    session: &Session,
    subject: &dyn Subject,
    tables: &BTreeMap<String, RecordBatch>,
    (spine, before): (&RecordBatch, &RecordBatch),
) -> Result<Vec<Difference>> {
    match compute(session, subject, tables, spine).await {
        Ok(after) => differences(before, &after),
        // What fails because of rows that it must not see has seen them.
        Err(error) if error.kind() == Kind::Data => Ok(vec![failure(&error)]),
        Err(error) => Err(error),
    }
}

/// All rows, some of them first.
fn in_order(rows: &RecordBatch, first: Vec<u64>) -> Result<RecordBatch> {
    let told: BTreeSet<u64> = first.iter().copied().collect();
    let rest = (0..rows.num_rows() as u64).filter(|row| !told.contains(row));
    let order: Vec<u64> = first.iter().copied().chain(rest).collect();
    Ok(take_record_batch(rows, &UInt64Array::from(order))?)
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
        // Where nothing happens, something becomes known.
        let versions = [KNOWN_FROM.to_string()];
        let clocks = if read.event_times.is_empty() { &versions[..] } else { &read.event_times };
        let rows = table(tables, &read.name)?;
        for column in clocks.iter().filter_map(|name| rows.column_by_name(name)) {
            times.extend(cast(column, &timestamp())?.as_primitive::<TimestampMicrosecondType>().iter().flatten());
        }
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
pub fn spines(people: &RecordBatch, moments: &[i64]) -> Result<Vec<RecordBatch>> {
    let count = people.num_rows();
    let kept: Vec<usize> = (0..people.num_columns()).filter(|&i| people.schema().field(i).name() != AS_OF).collect();
    let people = people.project(&kept)?;
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
