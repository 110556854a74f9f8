//! Keys that come to another day than the one they are on.
//!
//! A table lies by the day of its events, and a load is merged day by day. But a correction may give an event another
//! day, and the version that it corrects then lies where the merge of the new day does not look: both would be current,
//! and every sum over the table would count the event twice. So keys that are new to their day are looked for on all
//! others, among the current rows of the table, of which only the columns of the key are read, and among what came just
//! now. Hardly any is found. Those that are found are merged once more, over all their days at once and in the order in
//! which they were delivered, and those days are written anew.
//!
//! Keys are told apart by hashes of 64 bits here. Two keys of one hash are merged together, and stay two keys.

use arrow::array::BooleanArray;
use arrow::compute::{filter_record_batch, not};
use datafusion::common::HashSet;
use datafusion::logical_expr::{Expr, col};

use super::super::versions::in_order;
use super::*;
use crate::engine::plan::KNOWN_UNTIL;
use crate::engine::plan::versions::hashes;
use crate::pipeline::job::quoted;

/// Hashes that are sorted at a time.
const PASS: usize = 4 << 20;

/// By day, the hashes of keys that were new to it.
#[derive(Debug, Default)]
pub(super) struct Arrived(BTreeMap<i32, Vec<u64>>);

/// Keys that are on several days, and those days.
#[derive(Debug)]
struct Moved {
    layout: Arc<Layout>,
    keys: HashSet<u64>,
    days: BTreeSet<i32>,
}

/// Versions of moved keys by day, and what became of the new rows, by file: day by day, and of all days at once.
struct Settled {
    by_day: BTreeMap<i32, Vec<RecordBatch>>,
    before: Vec<Counts>,
    after: Vec<Counts>,
}

impl Arrived {
    pub(super) fn note(&mut self, day: i32, keys: Vec<u64>) {
        if !keys.is_empty() {
            self.0.entry(day).or_default().extend(keys);
        }
    }

    fn keys(&self) -> impl Iterator<Item = u64> {
        self.0.values().flatten().copied()
    }

    /// Those that came to several days; a part of them at a time, so that they are not all held twice.
    fn twice(&self) -> HashSet<u64> {
        let mut twice = HashSet::new();
        if self.0.len() < 2 {
            return twice;
        }
        let passes = 1 + (self.keys().count() / PASS) as u64;
        for pass in 0..passes {
            let mut keys: Vec<u64> = self.keys().filter(|key| key % passes == pass).collect();
            keys.sort_unstable();
            twice.extend(keys.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]));
        }
        twice
    }
}

impl Moved {
    fn rows(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        let hashes = hashes(&self.layout.key_of(batch))?;
        Ok(hashes.iter().map(|hash| Some(self.keys.contains(hash))).collect())
    }

    fn without(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        Ok(filter_record_batch(batch, &not(&self.rows(batch)?)?)?)
    }

    fn within(&self, days: &Range<i32>) -> BTreeSet<i32> {
        self.days.range(days.clone()).copied().collect()
    }
}

impl Loader<'_> {
    /// Merges the keys that came to another day over all their days, and writes these anew. The days.
    pub(super) async fn settle(
        &self,
        writer: &mut Writer,
        files: &mut [File],
        base: &Snapshot,
        chunks: &[Range<i32>],
        arrived: Arrived,
    ) -> Result<BTreeSet<i32>, Halted> {
        let Some(moved) = self.moved(base, arrived).await? else { return Ok(BTreeSet::new()) };
        let (moved, present) = (Arc::new(moved), present(base));
        let mut held = BTreeMap::new();
        for days in chunks {
            for (day, rows) in self.existing(base, &present, moved.within(days)).await? {
                let rows = rows.iter().map(|rows| Ok(filter_record_batch(rows, &moved.rows(rows)?)?));
                held.insert(day, rows.collect::<Result<Vec<_>>>()?);
            }
        }
        let arriving = self.arriving(files, &moved).await?;
        let layout = Arc::clone(&self.layout);
        let settled = blocking(move || Ok(settled(&layout, &held, &arriving))).await?;
        let mut settled = settled.map_err(|stopped| conflict(stopped, files))?;
        for (file, counts) in settled.before.iter().enumerate() {
            files[file].written -= counts.written;
            files[file].duplicate -= counts.duplicate;
        }
        count(files, &settled.after);
        writer.take_back(&moved.days.iter().copied().map(partition_name).collect()).await?;
        for days in chunks.iter().filter(|days| !moved.within(days).is_empty()) {
            let mut incoming = self.read(files, days, false).await?;
            let mut existing = self.existing(base, &present, moved.within(days)).await?;
            for day in moved.within(days) {
                let old = existing.remove(&day).unwrap_or_default();
                let new = incoming.remove(&day).unwrap_or_default();
                let own = settled.by_day.remove(&day).unwrap_or_default();
                let moved = Arc::clone(&moved);
                let rows = blocking(move || Ok(whole_day(&moved, &old, &new, own))).await?;
                writer.write(&rows.map_err(|stopped| conflict(stopped, files))?).await?;
            }
        }
        Ok(moved.days.clone())
    }

    /// Looks for keys that are new to their day on the others.
    async fn moved(&self, base: &Snapshot, arrived: Arrived) -> Result<Option<Moved>> {
        let mut keys = arrived.twice();
        let mut days = BTreeSet::new();
        let names: Vec<&str> = self.layout.key.iter().map(|i| self.layout.schema.field(*i).name().as_str()).collect();
        let schema = base.schema();
        // Of a column that was declared since, the table has no value.
        let has_key = names.iter().all(|name| schema.field_with_name(name).is_ok());
        if !arrived.0.is_empty() && base.files() > 0 && has_key {
            let new: HashSet<u64> = arrived.keys().collect();
            let read = names.iter().copied().chain([EVENT_DATE]).map(|name| Expr::from(quoted(name)));
            let rows = self.night.session.context().read_table(base.provider()?)?;
            let rows = rows.filter(col(KNOWN_UNTIL).is_null())?.select(read.collect::<Vec<_>>())?;
            let mut rows = rows.execute_stream().await?;
            while let Some(batch) = rows.try_next().await? {
                let (dates, key) = (batch.column(names.len()), &batch.columns()[..names.len()]);
                let dates = dates.as_primitive::<Date32Type>();
                for (row, hash) in hashes(key)?.into_iter().enumerate() {
                    if new.contains(&hash) {
                        keys.insert(hash);
                        days.insert(dates.value(row));
                    }
                }
            }
        }
        if keys.is_empty() {
            return Ok(None);
        }
        days.extend(arrived.0.iter().filter(|(_, new)| new.iter().any(|key| keys.contains(key))).map(|(day, _)| *day));
        Ok(Some(Moved { layout: Arc::clone(&self.layout), keys, days }))
    }

    /// What came of moved keys, in the order of delivery.
    async fn arriving(&self, files: &[File], moved: &Arc<Moved>) -> Result<Vec<Incoming>, Halted> {
        let touches = |file: &File| {
            let days = file.inspected.days;
            days.is_some_and(|(low, high)| moved.days.range(low..=high).next().is_some())
        };
        let chosen: Vec<usize> = (0..files.len()).filter(|i| touches(&files[*i])).collect();
        let largest = chosen.iter().map(|i| files[*i].raw.size).max().unwrap_or_default();
        let read = stream::iter(chosen.into_iter().map(|i| (i, files[i].clone(), Arc::clone(moved))))
            .map(|(i, file, moved)| async move { (i, self.rows_of(&file, moved).await) })
            .buffered(self.night.raw.at_once(self.threads, largest))
            .collect::<Vec<_>>()
            .await;
        let mut arriving = Vec::new();
        for (i, rows) in read {
            let file = &files[i];
            match rows {
                Ok(rows) => {
                    let counted = file.is_new;
                    arriving.extend(rows.into_iter().map(|batch| Incoming { file: i, counted, batch }));
                }
                Err(e) if e.kind() == Kind::Data => {
                    return Err(Halted::Unreadable(vec![(file.raw.clone(), file.checksum.clone(), e)]));
                }
                Err(e) => return Err(e.context(file.raw.path.clone()).into()),
            }
        }
        Ok(arriving)
    }

    async fn rows_of(&self, file: &File, moved: Arc<Moved>) -> Result<Vec<RecordBatch>> {
        let known = file.known;
        self.opened(file, move |reader, path, bytes| reader.choose(path, bytes, known, |rows| moved.rows(rows))).await
    }
}

/// The versions of keys over all their days.
fn settled(layout: &Layout, held: &BTreeMap<i32, Vec<RecordBatch>>, arriving: &[Incoming]) -> Result<Settled, Stopped> {
    let mut new: BTreeMap<i32, Vec<Incoming>> = BTreeMap::new();
    for incoming in arriving {
        for (day, batch) in sorted_by_day(&incoming.batch)? {
            new.entry(day).or_default().push(Incoming { batch, ..incoming.clone() });
        }
    }
    let none = Vec::new();
    let mut before: Vec<Counts> = Vec::new();
    for (day, new) in &new {
        let counts = merge(layout, held.get(day).unwrap_or(&none), new)?.counts;
        before.resize(before.len().max(counts.len()), Counts::default());
        for (sum, counts) in before.iter_mut().zip(counts) {
            sum.written += counts.written;
            sum.duplicate += counts.duplicate;
        }
    }
    let held: Vec<RecordBatch> = held.values().flatten().cloned().collect();
    let merged = merge(layout, &held, arriving)?;
    let mut by_day: BTreeMap<i32, Vec<RecordBatch>> = BTreeMap::new();
    for batch in merged.rows.map_or(held, |rows| vec![rows]) {
        for (day, rows) in sorted_by_day(&batch)? {
            by_day.entry(day).or_default().push(rows);
        }
    }
    Ok(Settled { by_day, before, after: merged.counts })
}

/// All versions of a day: of keys that are on no other day, and those of moved ones.
fn whole_day(
    moved: &Moved,
    old: &[RecordBatch],
    new: &[Incoming],
    own: Vec<RecordBatch>,
) -> Result<RecordBatch, Stopped> {
    let old = old.iter().map(|rows| moved.without(rows)).collect::<Result<Vec<_>>>()?;
    let stays = |incoming: &Incoming| {
        let Incoming { file, counted, batch } = incoming;
        Ok(Incoming { file: *file, counted: *counted, batch: moved.without(batch)? })
    };
    let new = new.iter().map(stays).collect::<Result<Vec<_>>>()?;
    let mut rows = merge(&moved.layout, &old, &new)?.rows.map_or(old, |rows| vec![rows]);
    rows.extend(own);
    Ok(in_order(&moved.layout, &rows)?)
}

/// Rows by their day, those of one in their order.
fn sorted_by_day(batch: &RecordBatch) -> Result<BTreeMap<i32, RecordBatch>> {
    let dates = batch.column_by_name(EVENT_DATE).map(|dates| dates.as_primitive::<Date32Type>());
    let dates = dates.ok_or_else(|| Error::internal(format!("rows without {EVENT_DATE}")))?;
    let days: BTreeSet<i32> = dates.values().iter().copied().collect();
    let of = |day: i32| -> Result<RecordBatch> {
        let rows: BooleanArray = dates.values().iter().map(|date| Some(*date == day)).collect();
        Ok(filter_record_batch(batch, &rows)?)
    };
    days.into_iter().map(|day| Ok((day, of(day)?))).collect()
}
