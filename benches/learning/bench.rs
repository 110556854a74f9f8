//! Training and scoring from Parquet to Parquet, for comparison with Python LightGBM (see ../README.md).
//!
//! `train` does what the job of that name does once the rows are there: learns from the first 320 days, measures on the
//! others, writes the artifact. `score` reads a file batch by batch, and writes what the artifact says of each row.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use clap::Args;
use parquet::arrow::ArrowWriter;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use scorehouse::define::map::Map;
use scorehouse::define::model::{Calibration, Encodings, HeadKind};
use scorehouse::learn::artifact::Artifact;
use scorehouse::learn::matrix::Matrix;
use scorehouse::learn::prior::ClassWeight;
use scorehouse::learn::scorer::Scorer;
use scorehouse::learn::split::{DAY, TestStart, Validation};
use scorehouse::learn::train::{FitRequest, fit};
use serde_json::json;

use crate::Failure;

const BATCH: usize = 16 << 10;

#[derive(Debug, Args)]
pub struct Learning {
    #[arg(long)]
    rows: PathBuf,
    /// The directory of the artifact.
    #[arg(long)]
    model: PathBuf,
    #[arg(long)]
    out: PathBuf,
    #[arg(long, default_value_t = 200)]
    rounds: u32,
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

pub fn train(asked: &Learning) -> Result<(), Failure> {
    let began = scorehouse::clock::instant();
    let batches = read(&asked.rows, asked.threads)?;
    let schema = batches.first().ok_or("no rows")?.schema();
    let names: Vec<String> =
        schema.fields().iter().map(|field| field.name().clone()).filter(|name| is_feature(name)).collect();
    let matrix = Matrix::from_batches(&schema, &batches, &names)?;
    let other: Vec<usize> = (0..schema.fields().len()).filter(|at| !is_feature(schema.field(*at).name())).collect();
    let others = batches.iter().map(|batch| batch.project(&other)).collect::<Result<Vec<_>, _>>()?;
    let rows = concat_batches(&others[0].schema(), &others)?;
    let column = |name: &str| rows.column_by_name(name).ok_or(format!("no column {name}"));
    let labels: Vec<bool> = column("label")?.as_boolean().values().iter().collect();
    let as_of = column("as_of")?.as_primitive::<TimestampMicrosecondType>().values().to_vec();
    let entities: Vec<String> = column("entity")?.as_string::<i32>().iter().flatten().map(String::from).collect();
    let params = BTreeMap::from([
        ("learning_rate".to_string(), json!(0.05)),
        ("num_leaves".to_string(), json!(31)),
        ("min_data_in_leaf".to_string(), json!(100)),
        ("feature_fraction".to_string(), json!(0.4)),
        ("bagging_fraction".to_string(), json!(0.8)),
        ("bagging_freq".to_string(), json!(1)),
        ("lambda_l2".to_string(), json!(10)),
    ]);
    let fitted = fit(&FitRequest {
        matrix: &matrix,
        labels: &labels,
        entities: &entities,
        as_of: &as_of,
        weights: None,
        accepted: None,
        reject: None,
        validation: Validation::Time { test: TestStart::From(320 * DAY), valid: None },
        embargo: 0,
        head: HeadKind::Lightgbm,
        params: &params,
        class_weight: ClassWeight::None,
        rounds: asked.rounds,
        early_stopping: None,
        seed: 1,
        threads: asked.threads,
        encode: &Encodings::default(),
        monotone: &Map::default(),
        calibration: &Calibration::default(),
        segments: &[],
        threshold: 0.5,
    })?;
    std::fs::create_dir_all(&asked.model)?;
    for (name, bytes) in Artifact::new(&fitted, "model: bench\n", "").to_files()? {
        std::fs::write(asked.model.join(name), bytes)?;
    }
    let numbers = column("_row")?.as_primitive::<Int64Type>();
    let tested = fitted.predictions.iter().filter(|said| said.part.is_out_of_sample());
    let (row, probability): (Vec<i64>, _) = tested.map(|said| (numbers.value(said.row), said.probability)).unzip();
    let out = answer(Arc::new(Int64Array::from(row)), probability)?;
    let mut writer = ArrowWriter::try_new(File::create(&asked.out)?, out.schema(), None)?;
    writer.write(&out)?;
    writer.close()?;
    done(began)
}

pub fn score(asked: &Learning) -> Result<(), Failure> {
    let began = scorehouse::clock::instant();
    let files = std::fs::read_dir(&asked.model)?
        .map(|entry| {
            let entry = entry?;
            Ok((entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path())?))
        })
        .collect::<Result<Vec<_>, std::io::Error>>()?;
    let scorer = Scorer::new(&Artifact::from_files(&files)?, asked.threads)?;
    let reader = open(&asked.rows, |name| name == "_row" || is_feature(name))?.build()?;
    let mut writer = None;
    std::thread::scope(|scope| -> Result<(), Failure> {
        // The next batch is read while one is scored, as the job's stream does it.
        let (read, batches) = std::sync::mpsc::sync_channel(1);
        scope.spawn(move || reader.map(|batch| read.send(batch)).find(Result::is_err));
        for batch in batches {
            let batch = batch?;
            let row = batch.column_by_name("_row").ok_or("no column _row")?.clone();
            let out = answer(row, scorer.score(&batch)?)?;
            let writer = match &mut writer {
                Some(writer) => writer,
                empty => empty.insert(ArrowWriter::try_new(File::create(&asked.out)?, out.schema(), None)?),
            };
            writer.write(&out)?;
        }
        Ok(())
    })?;
    writer.ok_or("no rows")?.close()?;
    done(began)
}

fn is_feature(name: &str) -> bool {
    name.starts_with('f')
}

/// A whole file, its row groups read by several threads, as the job's reader does.
fn read(path: &Path, threads: usize) -> Result<Vec<RecordBatch>, Failure> {
    let groups: Vec<usize> = (0..open(path, |_| true)?.metadata().num_row_groups()).collect();
    let share = |groups: &[usize]| -> Result<Vec<RecordBatch>, String> {
        let builder = open(path, |_| true).map_err(|e| e.to_string())?.with_row_groups(groups.to_vec());
        builder
            .build()
            .and_then(|reader| reader.collect::<Result<_, _>>().map_err(Into::into))
            .map_err(|e| e.to_string())
    };
    let shares = std::thread::scope(|scope| {
        let reading: Vec<_> = groups
            .chunks(groups.len().div_ceil(threads.max(1)).max(1))
            .map(|groups| scope.spawn(move || share(groups)))
            .collect();
        reading
            .into_iter()
            .map(|read| read.join().map_err(|_| "a reader panicked".to_string())?)
            .collect::<Result<Vec<_>, _>>()
    })?;
    Ok(shares.into_iter().flatten().collect())
}

fn open(path: &Path, wanted: impl Fn(&str) -> bool) -> Result<ParquetRecordBatchReaderBuilder<File>, Failure> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?;
    let schema = builder.schema().clone();
    let columns = (0..schema.fields().len()).filter(|at| wanted(schema.field(*at).name()));
    let mask = ProjectionMask::roots(builder.parquet_schema(), columns);
    Ok(builder.with_projection(mask).with_batch_size(BATCH))
}

fn answer(row: ArrayRef, probability: Vec<f64>) -> Result<RecordBatch, Failure> {
    let probability: ArrayRef = Arc::new(Float64Array::from(probability));
    Ok(RecordBatch::try_from_iter([("_row", row), ("probability", probability)])?)
}

fn done(began: Instant) -> Result<(), Failure> {
    println!("{}", json!({ "seconds": began.elapsed().as_secs_f64() }));
    Ok(())
}
