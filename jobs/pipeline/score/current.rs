//! `scores_current/<model>`: the newest score of everybody, one row each, with a change feed.
//!
//! A night is merged into it: only rows whose values moved are written anew, in the files that hold them, and the feed
//! says of each whether it came, went or changed. When a row was scored is no value: a row that every night scores alike
//! keeps the `as_of` and `logical_date` from which it is so. Where applications are scored, a row is the entity's last
//! one, and stays when there is no newer; where a population is, who is no longer in it goes.
//!
//! Rows are compared by digests of their values, so memory holds some dozens of bytes per row.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, new_null_array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Field, SchemaRef, TimestampMicrosecondType};
use arrow::row::{RowConverter, SortField};
use datafusion::physical_plan::SendableRecordBatchStream as Stream;
use futures::StreamExt;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::of_night;
use crate::define::Model;
use crate::define::model::Scoring;
use crate::engine::session::Session;
use crate::error::{Error, Result};
use crate::lake::{Change, Replace, Snapshot, TableSpec, Unit, Writer};
use crate::pipeline::features;
use crate::pipeline::job::{Job, Written, fingerprint};
use crate::pipeline::progress::thousands;

/// Columns that say when a row was scored, and by which night.
const WHEN: [&str; 2] = ["as_of", "logical_date"];

/// Merges tonight's scores; `None` where there are none.
pub async fn merge(job: &Job, model: &Model) -> Result<Option<Written>> {
    let Some((scores, later)) = of_night(job, model).await? else { return Ok(None) };
    let path = format!("scores_current/{}", model.name);
    if later {
        return Ok(Some(Written::unchanged(path, "of a later night", None)));
    }
    let tonight = job.date.to_string();
    let content: Vec<String> = scores.partitions().remove(&tonight).into_iter().flatten().collect();
    let mut parts: Vec<&str> = content.iter().map(String::as_str).collect();
    parts.push(&tonight);
    let unit = Unit { key: format!("current:{}", model.name), fingerprint: fingerprint(&parts) };
    if let Some(existing) = job.lake.snapshot(&path).await?
        && existing.committed(&unit.key).await? == Some(unit.fingerprint)
    {
        return Ok(Some(Written::unchanged(path, "unchanged", Some(existing.version()))));
    }
    let step = job.progress.step(&path);
    let spec = TableSpec {
        name: path.clone(),
        description: format!("The newest score of everybody by model {}; its change feed says what moved.", model.name),
        schema: scores.schema(),
        partition_by: None,
        no_statistics: job.project.identifying(&path, &scores.schema()),
    };
    let mut writer = job.lake.feed_writer(&spec).await?;
    let merge = Merge::new(job, model, &scores)?;
    let moved = merge.run(&mut writer).await?;
    if moved.is_nothing() {
        step.done("nothing moved");
        return Ok(Some(Written::unchanged(path, "unchanged", Some(writer.base().version()))));
    }
    let mut info = serde_json::Map::new();
    info.insert("job".into(), json!("score"));
    info.insert("logical_date".into(), json!(tonight));
    info.insert("run_id".into(), json!(job.run_id));
    info.insert("inputs".into(), json!({ scores.table(): scores.version() }));
    let files = Replace::Files { paths: moved.files.clone(), rows_stay: false };
    let outcome = writer.commit(files, &unit, info).await?;
    let counts = (thousands(moved.inserted), thousands(moved.changed), thousands(moved.deleted));
    step.done(&format!("{} new, {} changed, {} gone", counts.0, counts.1, counts.2));
    let line = Written::new(path, &outcome, 0.0).detail("inserted", moved.inserted);
    Ok(Some(line.detail("changed", moved.changed).detail("deleted", moved.deleted)))
}

/// What a merge does.
#[derive(Debug, Default)]
struct Moved {
    inserted: u64,
    changed: u64,
    deleted: u64,
    /// The files that hold what changed or goes.
    files: BTreeSet<String>,
}

impl Moved {
    fn is_nothing(&self) -> bool {
        self.inserted + self.changed + self.deleted == 0
    }
}

/// What is known of a row of tonight.
struct Row {
    values: u128,
    /// The newest of an entity counts; which of two at the same instant is of no matter, but always the same.
    rank: (i64, u128),
    fate: Fate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    New,
    Same,
    Changed,
}

struct Merge<'a> {
    job: &'a Job,
    scores: &'a Snapshot,
    session: Session,
    schema: SchemaRef,
    entity: Vec<usize>,
    values: Vec<usize>,
    as_of: usize,
    /// Who is not scored tonight is gone.
    whole: bool,
}

impl<'a> Merge<'a> {
    fn new(job: &'a Job, model: &Model, scores: &'a Snapshot) -> Result<Merge<'a>> {
        let session = job.session()?;
        let schema = Arc::new(features::stored(&session, scores, job.date)?.schema().as_arrow().clone());
        let whole = matches!(model.scoring, Scoring::Population(_));
        let entity = model.entity.iter().map(|name| schema.index_of(name)).collect::<Result<Vec<_>, _>>()?;
        // An application is another one if it is of another instant.
        let when = if whole { &WHEN[..] } else { &WHEN[1..] };
        let is_value = |index: &usize| !when.contains(&schema.field(*index).name().as_str());
        let values = (0..schema.fields().len()).filter(is_value).collect();
        let as_of = schema.index_of("as_of")?;
        Ok(Merge { job, scores, session, entity, values, as_of, whole, schema })
    }

    async fn run(&self, writer: &mut Writer) -> Result<Moved> {
        let mut tonight = self.tonight().await?;
        let mut moved = Moved::default();
        let base = writer.base().clone();
        let files: Vec<String> = base.objects()?.into_values().collect();
        for file in &files {
            let before = moved.changed + moved.deleted;
            let mut stream = self.file(&base, file).await?;
            while let Some(batch) = stream.next().await {
                for (key, row) in self.rows(&self.aligned(&batch?)?)? {
                    match tonight.get_mut(&key) {
                        None if self.whole => moved.deleted += 1,
                        None => {}
                        Some(new) if new.values == row.values || new.rank < row.rank => new.fate = Fate::Same,
                        Some(new) => {
                            new.fate = Fate::Changed;
                            moved.changed += 1;
                        }
                    }
                }
            }
            if moved.changed + moved.deleted > before {
                moved.files.insert(file.clone());
            }
        }
        moved.inserted = tonight.values().filter(|row| row.fate == Fate::New).count() as u64;
        let told = !moved.files.is_empty();
        for file in &moved.files {
            self.rewrite(writer, &tonight, self.file(&base, file).await?).await?;
        }
        self.insert(writer, &tonight, told).await?;
        Ok(moved)
    }

    /// The rows of a file that stay, written anew; of the others, how they were.
    async fn rewrite(&self, writer: &mut Writer, tonight: &HashMap<u128, Row>, mut stream: Stream) -> Result<()> {
        while let Some(batch) = stream.next().await {
            let batch = self.aligned(&batch?)?;
            let rows = self.rows(&batch)?;
            let fate = |key: &u128| match tonight.get(key) {
                Some(row) if row.fate == Fate::Changed => Some(Change::Before),
                None if self.whole => Some(Change::Delete),
                _ => None,
            };
            let fates: Vec<Option<Change>> = rows.iter().map(|(key, _)| fate(key)).collect();
            for change in [Change::Before, Change::Delete] {
                let mask = fates.iter().map(|fate| Some(*fate == Some(change))).collect();
                writer.changed(change, &filter_record_batch(&batch, &mask)?).await?;
            }
            let stays: BooleanArray = fates.iter().map(|fate| Some(fate.is_none())).collect();
            writer.write(&filter_record_batch(&batch, &stays)?).await?;
        }
        Ok(())
    }

    /// Tonight's rows that are new or changed. A commit that takes no file away tells its readers by its files alone.
    async fn insert(&self, writer: &mut Writer, tonight: &HashMap<u128, Row>, told: bool) -> Result<()> {
        let mut stream = self.stream_of_tonight().await?;
        while let Some(batch) = stream.next().await {
            let batch = batch?;
            let rows = self.rows(&batch)?;
            let chosen = |(key, row): &(u128, Row)| {
                tonight.get(key).filter(|chosen| chosen.rank == row.rank && chosen.fate != Fate::Same).map(|c| c.fate)
            };
            let fates: Vec<Option<Fate>> = rows.iter().map(chosen).collect();
            for (fate, change) in [(Fate::New, Change::Insert), (Fate::Changed, Change::After)] {
                let mask = fates.iter().map(|of| Some(*of == Some(fate))).collect();
                let rows = filter_record_batch(&batch, &mask)?;
                if told {
                    writer.changed(change, &rows).await?;
                }
                writer.write(&rows).await?;
            }
        }
        Ok(())
    }

    async fn tonight(&self) -> Result<HashMap<u128, Row>> {
        let mut tonight: HashMap<u128, Row> = HashMap::new();
        let mut twice = 0;
        let mut stream = self.stream_of_tonight().await?;
        while let Some(batch) = stream.next().await {
            for (key, row) in self.rows(&batch?)? {
                match tonight.get_mut(&key) {
                    None => drop(tonight.insert(key, row)),
                    Some(other) => {
                        twice += 1;
                        if other.rank < row.rank {
                            *other = row;
                        }
                    }
                }
            }
        }
        if twice > 0 && self.whole {
            return Err(Error::internal(format!("{twice} entities of {} are scored twice", self.scores.table())));
        }
        Ok(tonight)
    }

    async fn stream_of_tonight(&self) -> Result<Stream> {
        Ok(features::stored(&self.session, self.scores, self.job.date)?.execute_stream().await?)
    }

    async fn file(&self, base: &Snapshot, file: &str) -> Result<Stream> {
        let rows = base.provider_of_files(&[file.to_string()].into())?;
        Ok(self.session.context().read_table(rows)?.execute_stream().await?)
    }

    /// Rows of an earlier night with the columns of tonight.
    fn aligned(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let column = |field: &Arc<Field>| match batch.column_by_name(field.name()) {
            Some(column) => Ok(arrow::compute::cast(column, field.data_type())?),
            None => Ok(new_null_array(field.data_type(), batch.num_rows())),
        };
        let columns = self.schema.fields().iter().map(column).collect::<Result<Vec<ArrayRef>>>()?;
        Ok(RecordBatch::try_new(self.schema.clone(), columns)?)
    }

    /// Key and digest of every row.
    fn rows(&self, batch: &RecordBatch) -> Result<Vec<(u128, Row)>> {
        let (keys, values) = (digests(batch, &self.entity)?, digests(batch, &self.values)?);
        let as_of = batch.column(self.as_of).as_primitive::<TimestampMicrosecondType>();
        let row = |at: usize| Row { values: values[at], rank: (as_of.value(at), values[at]), fate: Fate::New };
        Ok(keys.into_iter().enumerate().map(|(at, key)| (key, row(at))).collect())
    }
}

/// A digest per row of some columns, by their bits.
fn digests(batch: &RecordBatch, columns: &[usize]) -> Result<Vec<u128>> {
    let fields = columns.iter().map(|index| SortField::new(batch.column(*index).data_type().clone())).collect();
    let chosen: Vec<ArrayRef> = columns.iter().map(|index| batch.column(*index).clone()).collect();
    let rows = RowConverter::new(fields)?.convert_columns(&chosen)?;
    let digest = |row: &[u8]| {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&Sha256::digest(row)[..16]);
        u128::from_be_bytes(bytes)
    };
    Ok(rows.iter().map(|row| digest(row.as_ref())).collect())
}
