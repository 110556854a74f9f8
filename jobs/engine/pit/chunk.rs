//! Sorted events of one partition, a chunk of whole entities at a time.
//!
//! A chunk is at least a batch, so that columns are decoded once per some thousand rows and not once per entity. An
//! entity that spans batches is gathered until it is complete; what is held counts against the session's memory.

use std::ops::Range;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::{concat_batches, partition, take};
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use arrow::row::{OwnedRow, Row, RowConverter, Rows, SortField};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::MemoryReservation;
use futures::StreamExt;
use futures::stream::Fuse;

use crate::engine::session;
use crate::error::{Error, Result};

use super::packed;

/// Consecutive events of whole entities.
pub struct Chunk {
    pub batch: RecordBatch,
    entities: Vec<Range<usize>>,
    /// One per entity.
    keys: Rows,
}

impl Chunk {
    /// Sorted rows whose first columns are the entity's.
    pub fn new(batch: RecordBatch, keys: &Keys, key_count: usize) -> Result<Chunk> {
        let columns = &batch.columns()[..key_count];
        let entities = partition(columns)?.ranges();
        let firsts: UInt32Array = entities.iter().map(|entity| entity.start as u32).collect();
        let firsts: Vec<ArrayRef> =
            columns.iter().map(|column| take(column, &firsts, None)).collect::<Result<_, _>>()?;
        let keys = keys.rows(&firsts)?;
        Ok(Chunk { batch, entities, keys })
    }

    pub fn entities(&self) -> &[Range<usize>] {
        &self.entities
    }

    pub fn key(&self, entity: usize) -> Row<'_> {
        self.keys.row(entity)
    }

    fn size(&self) -> usize {
        self.batch.get_array_memory_size() + self.keys.size()
    }
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
    stream: Fuse<SendableRecordBatchStream>,
    packed: bool,
    keys: Keys,
    key_count: usize,
    /// Rows of an entity that may go on in the next batch.
    pending: Vec<RecordBatch>,
    pending_key: Option<OwnedRow>,
    /// The whole entities between the pending one and the one before it.
    whole: Option<RecordBatch>,
    chunk: Option<Chunk>,
    /// How many chunks there were.
    pub chunks: usize,
    /// Index into the chunk's entities.
    position: usize,
    memory: MemoryReservation,
    /// Never given back, so that what is usual cannot be taken away by the sorts below.
    reserved: usize,
}

impl Events {
    /// `memory` is what chunks may take without asking; for more they ask its pool.
    /// Batches come `packed` or in the layout's columns.
    pub fn new(
        stream: SendableRecordBatchStream,
        packed: bool,
        keys: Keys,
        key_count: usize,
        memory: MemoryReservation,
    ) -> Self {
        Events {
            reserved: memory.size(),
            stream: stream.fuse(),
            packed,
            keys,
            key_count,
            pending: Vec::new(),
            pending_key: None,
            whole: None,
            chunk: None,
            chunks: 0,
            position: 0,
            memory,
        }
    }

    pub fn chunk(&self) -> Option<&Chunk> {
        self.chunk.as_ref()
    }

    /// The entity the cursor stands at, an index into the chunk; `None` at the end.
    pub async fn entity(&mut self) -> Result<Option<usize>> {
        while self.chunk.as_ref().is_none_or(|chunk| self.position >= chunk.entities.len()) {
            match self.next_chunk().await? {
                Some(chunk) => self.chunk = Some(chunk),
                None => return Ok(None),
            }
            self.position = 0;
            self.chunks += 1;
        }
        Ok(Some(self.position))
    }

    /// Moves on to the next entity.
    pub fn advance(&mut self) {
        self.position += 1;
    }

    async fn next_chunk(&mut self) -> Result<Option<Chunk>> {
        loop {
            if let Some(batch) = self.whole.take() {
                return self.assemble(vec![batch]).map(Some);
            }
            let Some(batch) = self.stream.next().await.transpose().map_err(session::error)? else { break };
            let complete = self.divide(batch)?;
            if !complete.is_empty() {
                return self.assemble(complete).map(Some);
            }
        }
        match std::mem::take(&mut self.pending) {
            rest if rest.is_empty() => Ok(None),
            rest => self.assemble(rest).map(Some),
        }
    }

    /// A batch's first rows may belong to the pending entity, and its last entity may go on; those between are whole
    /// and stay where they are. Returns the pending entity's rows once they are complete.
    fn divide(&mut self, batch: RecordBatch) -> Result<Vec<RecordBatch>> {
        let batch = if self.packed { packed::unpack(&batch).map_err(session::error)? } else { batch };
        let columns = &batch.columns()[..self.key_count];
        let entities = partition(columns)?.ranges();
        let (Some(first), Some(last)) = (entities.first(), entities.last()) else { return Ok(Vec::new()) };
        let ends = UInt32Array::from(vec![first.start as u32, last.start as u32]);
        let ends: Vec<ArrayRef> = columns.iter().map(|c| take(c, &ends, None)).collect::<Result<_, _>>()?;
        let ends = self.keys.rows(&ends)?;
        let goes_on = self.pending_key.as_ref().is_some_and(|key| key.row() == ends.row(0));
        let head = if goes_on { first.end } else { 0 };
        if goes_on {
            self.pending.push(batch.slice(0, head));
        }
        if goes_on && entities.len() == 1 {
            self.account(0)?;
            return Ok(Vec::new());
        }
        self.pending_key = Some(ends.row(1).owned());
        self.whole = Some(batch.slice(head, last.start - head)).filter(|whole| whole.num_rows() > 0);
        Ok(std::mem::replace(&mut self.pending, vec![batch.slice(last.start, last.len())]))
    }

    fn assemble(&mut self, batches: Vec<RecordBatch>) -> Result<Chunk> {
        let schema =
            batches.first().map(RecordBatch::schema).ok_or_else(|| Error::internal("a chunk of no batches"))?;
        let batch = match batches.as_slice() {
            [single] => single.clone(),
            several => concat_batches(&schema, several)?,
        };
        // The chunk before is not needed any more.
        self.chunk = None;
        let chunk = Chunk::new(batch, &self.keys, self.key_count)?;
        self.account(chunk.size())?;
        Ok(chunk)
    }

    fn account(&self, assembled: usize) -> Result<()> {
        let pending: usize = self.pending.iter().map(RecordBatch::get_array_memory_size).sum();
        let chunk = self.chunk.as_ref().map_or(0, Chunk::size);
        self.memory
            .try_resize((pending + chunk + assembled).max(self.reserved))
            .map_err(|e| session::error(e).context("an entity's history does not fit the memory limit"))
    }
}
