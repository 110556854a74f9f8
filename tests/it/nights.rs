//! Night by night from saved states, against each night from all rows: the same, bit for bit.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{AsArray, Int8Array, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::{Field, Schema};
use datafusion::logical_expr::{col, lit};
use futures::TryStreamExt;
use proptest::prelude::*;
use scorehouse::define::FeatureGroup;
use scorehouse::engine::pit::{Compiled, Night, REBUILD, SIDE, Side};
use scorehouse::engine::session::Session;

use crate::agree::data::{Ask, DAY, Event, START, YEAR_END, events, some_event, spine, table};
use crate::agree::definitions::{everything, group, lists};
use crate::agree::run::{block_on, frame, open, same, ties};

/// The table after a night: what was known by then, in files.
fn known_by(events: &[Event], as_of: i64, files: usize) -> BTreeMap<usize, Vec<Event>> {
    let mut written: BTreeMap<usize, Vec<Event>> = BTreeMap::new();
    for event in events.iter().filter(|e| e.from <= as_of) {
        let until = event.until.filter(|until| *until <= as_of);
        written.entry(event.id as usize % files).or_default().push(Event { until, ..event.clone() });
    }
    written
}

/// The rows of one side, marked.
fn side(events: &[Event], side: Side) -> RecordBatch {
    let batch = table(events);
    let mut fields: Vec<Field> = batch.schema().fields().iter().map(|f| f.as_ref().clone()).collect();
    fields.push(Field::new(SIDE, arrow::datatypes::DataType::Int8, false));
    let mut columns = batch.columns().to_vec();
    columns.push(Arc::new(Int8Array::from_value(side as i8, batch.num_rows())));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

/// What changed between two nights' files.
fn difference(before: &BTreeMap<usize, Vec<Event>>, now: &BTreeMap<usize, Vec<Event>>) -> RecordBatch {
    let mut pieces = vec![side(&[], Side::Both)];
    for file in before.keys().chain(now.keys()).collect::<std::collections::BTreeSet<_>>() {
        match (before.get(file), now.get(file)) {
            (Some(before), Some(now)) if before == now => pieces.push(side(now, Side::Both)),
            (before, now) => {
                pieces.push(side(before.map_or(&[], Vec::as_slice), Side::Gone));
                pieces.push(side(now.map_or(&[], Vec::as_slice), Side::New));
            }
        }
    }
    concat_batches(&pieces[0].schema(), &pieces).unwrap()
}

async fn collected(stream: datafusion::execution::SendableRecordBatchStream) -> RecordBatch {
    let schema = stream.schema();
    let batches: Vec<RecordBatch> = stream.try_collect().await.unwrap();
    concat_batches(&schema, &batches).unwrap()
}

/// Rows of the spine, in its order, without states.
fn answers(result: &RecordBatch, columns: usize) -> RecordBatch {
    let asked = arrow::compute::is_not_null(result.column_by_name("_row").unwrap()).unwrap();
    let result = filter_record_batch(result, &asked).unwrap();
    let order = arrow::compute::sort_to_indices(result.column_by_name("_row").unwrap(), None, None).unwrap();
    let result = arrow::compute::take_record_batch(&result, &order).unwrap();
    result.project(&(0..columns).collect::<Vec<_>>()).unwrap()
}

/// Runs the nights and compares each with all ways to compute it; returns how many entities had to be rebuilt.
async fn nights(session: &Session, compiled: &Compiled, events: &[Event], as_ofs: &[i64], files: usize) -> usize {
    let width = compiled.schema().fields().len();
    let mut rebuilt = 0;
    let mut last: Option<(i64, BTreeMap<usize, Vec<Event>>, RecordBatch)> = None;
    for &as_of in as_ofs {
        let written = known_by(events, as_of, files);
        let rows = table(&written.values().flatten().cloned().collect::<Vec<_>>());
        // One entity never exists, although it has events.
        let asks: Vec<Ask> = (0..3).map(|user| Ask { user: Some(user), as_of }).collect();
        let spine = || frame(session, &spine(&asks), 2);
        let history =
            answers(&collected(compiled.history(frame(session, &rows, 7), spine()).await.unwrap()).await, width);
        let snapshot = collected(compiled.snapshot(frame(session, &rows, 7), spine(), as_of).await.unwrap()).await;
        assert!(same(&history, &answers(&snapshot, width)), "history {history:?}\nsnapshot {snapshot:?}");
        let mut states = snapshot.clone();
        if let Some((before, held, saved)) = &last {
            let difference = difference(held, &written);
            let night = Night { before: *before, as_of };
            let stream = compiled.step(frame(session, saved, 2), spine(), frame(session, &difference, 7), night);
            let stepped = collected(stream.await.unwrap()).await;
            let rebuild = stepped.column_by_name(REBUILD).unwrap().as_boolean().clone();
            rebuilt += rebuild.true_count();
            let kept = filter_record_batch(&stepped, &arrow::compute::not(&rebuild).unwrap()).unwrap();
            let kept = kept.project(&(0..snapshot.num_columns()).collect::<Vec<_>>()).unwrap();
            let lost = filter_record_batch(&stepped, &rebuild).unwrap();
            let lost: Vec<i64> = lost.column(0).as_primitive::<arrow::datatypes::Int64Type>().values().to_vec();
            let lost = frame(session, &snapshot, 9)
                .filter(col("user_id").in_list(lost.iter().map(|user| lit(*user)).collect(), false))
                .unwrap();
            let lost = concat_batches(&snapshot.schema(), &lost.collect().await.unwrap()).unwrap();
            states = concat_batches(&snapshot.schema(), &[kept, lost]).unwrap();
            let incremental = answers(&states, width);
            assert!(same(&history, &incremental), "history {history:#?}\nincremental {incremental:#?}");
        }
        last = Some((as_of, written, states));
    }
    rebuilt
}

fn compiled(session: &Session, group: &FeatureGroup) -> Compiled {
    Compiled::group(session, group, "paid_at", &ties(), table(&[]).schema().as_ref()).ok().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nights_agree(
        (start, events) in prop_oneof![3 => Just(START), 1 => Just(YEAR_END)]
            .prop_flat_map(|start| (Just(start), events(start))),
        gaps in prop::collection::vec(0..3_i64, 1..9),
        files in 1..6_usize,
        by_event_time in any::<bool>(),
    ) {
        let night = |at: &mut i64, gap: i64| { *at += gap * DAY; Some(*at) };
        let as_ofs: Vec<i64> = gaps.into_iter().scan(start + DAY, night).collect();
        let session = open(2, None);
        let group = everything(if by_event_time { "event_time" } else { "known" }, "");
        block_on(nights(&session, &compiled(&session, &group), &events, &as_ofs, files));
        let schema = table(&[]).schema();
        let lists = Compiled::sequence(&session, &lists(), "paid_at", &ties(), &schema).ok().unwrap();
        block_on(nights(&session, &lists, &events, &as_ofs, files));
    }
}

#[test]
fn a_corrected_extreme_is_rebuilt() {
    let event = |id, amount, until| Event {
        user: Some(1),
        time: Some(START + id),
        id,
        from: START + DAY,
        until,
        amount,
        ..some_event()
    };
    let events = [event(1, Some(500), Some(START + 2 * DAY)), event(2, Some(300), None), event(3, Some(400), None)];
    let session = open(1, None);
    let group = group("aggregations:\n- {of: amount, fn: [max, sum], over: [3d]}\n");
    let as_ofs = [START + DAY, START + 2 * DAY, START + 3 * DAY];
    assert_eq!(block_on(nights(&session, &compiled(&session, &group), &events, &as_ofs, 1)), 1);
}
