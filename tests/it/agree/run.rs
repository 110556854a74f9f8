//! Groups and sequences over events and a spine in memory: by the operator, and naively.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use datafusion::common::ScalarValue;
use datafusion::dataframe::DataFrame;
use futures::TryStreamExt;
use scorehouse::define::{FeatureGroup, Sequence};
use scorehouse::engine::session::{self, Session, SessionOptions};
use scorehouse::engine::{naive, pit};
use scorehouse::error::Error;

pub fn open(threads: usize, memory_limit: Option<usize>) -> Session {
    Session::new(&SessionOptions { threads, memory_limit, ..SessionOptions::default() }).unwrap()
}

/// Small batches, so that entities span them.
pub fn frame(session: &Session, batch: &RecordBatch, rows: usize) -> DataFrame {
    let pieces = (0..batch.num_rows()).step_by(rows).map(|at| batch.slice(at, rows.min(batch.num_rows() - at)));
    // A slice would be counted with the memory of the whole.
    let own = |piece: RecordBatch| {
        let rows = arrow::array::UInt32Array::from_iter_values(0..piece.num_rows() as u32);
        arrow::compute::take_record_batch(&piece, &rows).unwrap()
    };
    let pieces: Vec<RecordBatch> = pieces.map(own).collect();
    let table = datafusion::datasource::MemTable::try_new(batch.schema(), vec![pieces]).unwrap();
    session.context().read_table(Arc::new(table)).unwrap()
}

pub fn ties() -> Vec<String> {
    vec!["pay_id".into()]
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(future)
}

pub fn compute(
    group: &FeatureGroup,
    events: &RecordBatch,
    asks: &RecordBatch,
    threads: usize,
) -> Result<RecordBatch, Error> {
    let session = open(threads, None);
    block_on(async {
        let (events, asks) = (frame(&session, events, 7), frame(&session, asks, 5));
        let stream = pit::features(&session, group, "paid_at", &ties(), events, asks).await?;
        let schema = stream.schema();
        let batches: Vec<RecordBatch> = stream.try_collect().await.map_err(session::error)?;
        Ok(concat_batches(&schema, &batches)?)
    })
}

pub fn compute_lists(sequence: &Sequence, events: &RecordBatch, asks: &RecordBatch, threads: usize) -> RecordBatch {
    let session = open(threads, None);
    block_on(async {
        let (events, asks) = (frame(&session, events, 7), frame(&session, asks, 5));
        let stream = pit::sequences(&session, sequence, "paid_at", &ties(), events, asks).await.unwrap();
        let schema = stream.schema();
        let batches: Vec<RecordBatch> = stream.try_collect().await.unwrap();
        concat_batches(&schema, &batches).unwrap()
    })
}

pub fn naively(group: &FeatureGroup, events: &RecordBatch, asks: &RecordBatch) -> Result<RecordBatch, Error> {
    let session = open(1, None);
    let (events, asks) = (frame(&session, events, 1000), frame(&session, asks, 1000));
    block_on(naive::features(&session, group, "paid_at", &ties(), events, asks))
}

pub fn lists_naively(sequence: &Sequence, events: &RecordBatch, asks: &RecordBatch) -> RecordBatch {
    let session = open(1, None);
    let (events, asks) = (frame(&session, events, 1000), frame(&session, asks, 1000));
    block_on(naive::sequences(sequence, "paid_at", &ties(), events, asks)).unwrap()
}

pub fn cell(batch: &RecordBatch, column: &str, row: usize) -> ScalarValue {
    ScalarValue::try_from_array(batch.column_by_name(column).unwrap(), row).unwrap()
}

pub fn same(a: &RecordBatch, b: &RecordBatch) -> bool {
    // As text, NaN is equal to itself; a few rows at a time, since long arrays are shown in part.
    let rows =
        |batch: &RecordBatch, at: usize| format!("{:?}", batch.slice(at, 10.min(batch.num_rows() - at)).columns());
    let alike = |at: usize| rows(a, at) == rows(b, at);
    a.schema() == b.schema() && a.num_rows() == b.num_rows() && (0..a.num_rows()).step_by(10).all(alike)
}
