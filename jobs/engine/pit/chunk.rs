//! Sorted events of one partition, a chunk of whole entities at a time.
//!
//! A chunk is at least a batch, so that columns are decoded once per some thousand rows and not once per entity. An
//! entity that spans batches is gathered until it is complete; what is held counts against the session's memory.

use std::cmp::Ordering;
use std::ops::Range;

use arrow::array::ArrayRef;
use arrow::compute::concat_batches;
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use arrow::row::{OwnedRow, Row, RowConverter, Rows, SortField};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::MemoryReservation;
use futures::StreamExt;

use crate::engine::session;
use crate::error::{Error, Result};

/// Consecutive events of whole entities.
pub struct Chunk {
    pub batch: RecordBatch,
    /// First rows of the entities, then the number of rows.
    pub starts: Vec<usize>,
    keys: Rows,
}

/// Entity keys as bytes that compare as the sort does.
pub struct Keys(RowConverter);

impl Keys {
    pub fn new(types: impl IntoIterator<Item = DataType>) -> Result<Keys> {
        Ok(Keys(RowConverter::new(types.into_iter().map(SortField::new).collect())?))
    }

    pub fn rows(&self, columns: &[ArrayRef]) -> Result<Rows> {
        Ok(self.0.convert_columns(columns)?)
    }
}

/// A cursor over the entities of a sorted stream. The keys are its first columns.
pub struct Events {
    stream: SendableRecordBatchStream,
    keys: Keys,
    key_count: usize,
    /// Batches of an entity that may go on, and perhaps of others before it.
    pending: Vec<RecordBatch>,
    pending_key: Option<OwnedRow>,
    chunk: Option<Chunk>,
    /// Index into the chunk's entities.
    position: usize,
    ended: bool,
    memory: MemoryReservation,
    /// Never given back, so that what is usual cannot be taken away by the sorts below.
    reserved: usize,
}

impl Events {
    /// `memory` is what chunks may take without asking; for more they ask its pool.
    pub fn new(stream: SendableRecordBatchStream, keys: Keys, key_count: usize, memory: MemoryReservation) -> Self {
        Events {
            reserved: memory.size(),
            stream,
            keys,
            key_count,
            pending: Vec::new(),
            pending_key: None,
            chunk: None,
            position: 0,
            ended: false,
            memory,
        }
    }

    pub fn chunk(&self) -> Option<&Chunk> {
        self.chunk.as_ref()
    }

    /// Moves forward to an entity: its rows in the chunk, or `None` if it has no events; and whether the chunk is
    /// another one than before. Entities must be asked for in ascending order.
    pub async fn seek(&mut self, key: Row<'_>) -> Result<(Option<Range<usize>>, bool)> {
        let mut moved = false;
        loop {
            if let Some(chunk) = &self.chunk {
                while self.position + 1 < chunk.starts.len() {
                    let start = chunk.starts[self.position];
                    match chunk.keys.row(start).cmp(&key) {
                        Ordering::Less => self.position += 1,
                        Ordering::Equal => return Ok((Some(start..chunk.starts[self.position + 1]), moved)),
                        Ordering::Greater => return Ok((None, moved)),
                    }
                }
            }
            match self.next_chunk().await? {
                Some(chunk) => self.chunk = Some(chunk),
                None => return Ok((None, moved)),
            }
            self.position = 0;
            moved = true;
        }
    }

    async fn next_chunk(&mut self) -> Result<Option<Chunk>> {
        while !self.ended {
            let Some(batch) = self.stream.next().await.transpose().map_err(session::error)? else {
                self.ended = true;
                break;
            };
            if batch.num_rows() == 0 {
                continue;
            }
            let keys = self.keys.rows(&batch.columns()[..self.key_count])?;
            let last = keys.row(batch.num_rows() - 1);
            // Where the batch's last entity starts; it may go on in the next batch.
            let start = (0..batch.num_rows()).rev().take_while(|&row| keys.row(row) == last).last().unwrap_or(0);
            let goes_on = start == 0 && self.pending_key.as_ref().is_none_or(|key| key.row() == last);
            self.pending_key = Some(last.owned());
            if goes_on {
                self.pending.push(batch);
                self.account()?;
                continue;
            }
            let mut complete = std::mem::take(&mut self.pending);
            if start > 0 {
                complete.push(batch.slice(0, start));
            }
            self.pending.push(batch.slice(start, batch.num_rows() - start));
            return self.assemble(complete).map(Some);
        }
        match std::mem::take(&mut self.pending) {
            rest if rest.is_empty() => Ok(None),
            rest => self.assemble(rest).map(Some),
        }
    }

    fn assemble(&mut self, batches: Vec<RecordBatch>) -> Result<Chunk> {
        let schema =
            batches.first().map(RecordBatch::schema).ok_or_else(|| Error::internal("a chunk of no batches"))?;
        let batch = match batches.as_slice() {
            [single] => single.clone(),
            several => concat_batches(&schema, several)?,
        };
        let keys = self.keys.rows(&batch.columns()[..self.key_count])?;
        let rows = batch.num_rows();
        let mut starts: Vec<usize> = (0..rows).filter(|&row| row == 0 || keys.row(row) != keys.row(row - 1)).collect();
        starts.push(rows);
        let chunk = Chunk { batch, starts, keys };
        self.account_with(size(&chunk))?;
        Ok(chunk)
    }

    fn account(&self) -> Result<()> {
        self.account_with(self.chunk.as_ref().map_or(0, size))
    }

    fn account_with(&self, chunk: usize) -> Result<()> {
        let pending: usize = self.pending.iter().map(RecordBatch::get_array_memory_size).sum();
        self.memory
            .try_resize((pending + chunk).max(self.reserved))
            .map_err(|e| session::error(e).context("an entity's history does not fit the memory limit"))
    }
}

fn size(chunk: &Chunk) -> usize {
    chunk.batch.get_array_memory_size() + chunk.keys.size()
}
