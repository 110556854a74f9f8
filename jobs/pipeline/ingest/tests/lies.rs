//! Parquet files that lie: each is named with what is wrong with it, or its rows are read as they are; none takes memory
//! or time that it does not have bytes for. The shapes are those of the corpora that Parquet readers are tested with.

use arrow::array::{AsArray, DictionaryArray, Int32Array, ListArray};
use arrow::datatypes::{Int32Type, TimestampMicrosecondType};
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type, Int96, Int96Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::structure::{Parts, Thrift};
use super::*;

/// Rows that a file of this test has when nothing is wrong with it.
const ROWS: usize = 40;

fn rows() -> RecordBatch {
    let ids: Vec<String> = (0..ROWS).map(|row| format!("p{row}")).collect();
    let rows: Vec<Row> =
        ids.iter().enumerate().map(|(i, id)| (id.as_str(), hour(0, i as i64 % 24), Some(i as i64 % 3))).collect();
    let rows = pays(&rows);
    let schema = rows.schema();
    // With levels that say which are null, though none is.
    let columns = schema.fields().iter().zip(rows.columns()).map(|(f, column)| (f.name(), column.clone(), true));
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

fn plain(batch: &RecordBatch) -> Vec<u8> {
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(25)).build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    bytes
}

fn skipping() -> World {
    World::of(&SOURCES.replacen("    key: [id]\n", "    key: [id]\n    unreadable: skip\n", 1))
}

/// The file alone fails its source, by its name; beside a good one, where files may be skipped, it costs nothing else.
async fn refused(bytes: &[u8], says: &str) {
    refused_as("", bytes, says).await;
}

/// `what` is for whoever sees it fail.
async fn refused_as(what: &str, bytes: &[u8], says: &str) {
    let world = World::new();
    std::fs::write(world.raw(&path(0, "bad")), bytes).unwrap();
    let error = match world.ingest("pay", 0).await {
        Err(error) => error,
        Ok(report) => panic!("{what}: {report:?}"),
    };
    assert_eq!(error.kind(), Kind::Data, "{error}");
    let text = error.to_string();
    assert!(text.contains(says) && text.contains("bad.parquet: ") && text.contains("help: "), "{says} in {text}");
    let world = skipping();
    std::fs::write(world.raw(&path(0, "bad")), bytes).unwrap();
    world.put(&path(0, "good"), &[("good", hour(0, 1), None)]);
    let report = world.ingest("pay", 0).await.unwrap();
    assert_eq!((report.unreadable, report.written), (1, 1), "{says}: {report:?}");
    let shown = world.query("manifest", "select error from t where status = 'unreadable'").await;
    assert!(shown.contains(says), "{says} in {shown}");
}

/// The footer with something changed in it.
fn footer(change: impl FnOnce(&mut Thrift)) -> Vec<u8> {
    let mut parts = Parts::of(&plain(&rows()));
    change(&mut parts.footer);
    parts.bytes()
}

/// Of a column of the first row group.
fn column(footer: &mut Thrift, index: usize) -> &mut Thrift {
    footer.elements(4)[0].elements(1)[index].field(3).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn footers_that_claim_what_they_have_no_bytes_for() {
    let claims = |id: i16| {
        footer(|footer| {
            let Some(Thrift::List(_, more, _)) = footer.field(id) else { panic!() };
            *more = (1 << 31) - 1;
        })
    };
    refused(&claims(2), "its footer is no footer").await;
    refused(&claims(4), "its footer is no footer").await;
    let many = footer(|footer| {
        *footer.number(3).unwrap() = 1 << 40;
        *footer.elements(4)[0].number(3).unwrap() = (1 << 40) - 15;
    });
    refused(&many, "rows; its bytes can hold").await;
    refused(&footer(|footer| *footer.number(3).unwrap() = -1), "-1 rows").await;
    refused(&footer(|footer| *footer.number(3).unwrap() = 41), "41 rows by its footer, 40 by its row groups").await;
    let more = footer(|footer| {
        *footer.number(3).unwrap() = 41;
        *footer.elements(4)[0].number(3).unwrap() = 26;
    });
    refused(&more, "not a readable Parquet file").await;
    let deep = footer(|footer| {
        let group = Thrift::Struct(vec![
            (3, Thrift::Number(5, 0)),
            (4, Thrift::Bytes(b"g".to_vec())),
            (5, Thrift::Number(5, 1)),
        ]);
        footer.elements(2).splice(1..1, vec![group; 40_000]);
    });
    refused(&deep, "columns nested deeper than 64").await;
    let wide = footer(|footer| {
        let leaf = footer.elements(2)[1].clone();
        footer.elements(2).extend(vec![leaf; 60_000]);
    });
    refused(&wide, "60004 columns; at most 50000").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_and_codecs_that_are_not_where_they_are_said_to_be() {
    let set = |index: usize, id: i16, to: i64| footer(|footer| *column(footer, index).number(id).unwrap() = to);
    // Where a dictionary comes first, nobody asks where the data begin.
    let world = World::new();
    std::fs::write(world.raw(&path(0, "odd")), set(0, 9, 1 << 50)).unwrap();
    assert_eq!(world.ingest("pay", 0).await.unwrap().written, ROWS as u64);
    refused(&set(0, 11, -5), "not a readable Parquet file").await;
    refused(&set(0, 11, i64::MAX), "not a readable Parquet file").await;
    refused(&set(1, 7, 1 << 40), "column `at`: it ends beyond the file").await;
    refused(&set(1, 7, -1), "not a readable Parquet file").await;
    refused(&set(2, 5, 7), "column `n`: 7 values by its footer, 25 inside").await;
    for codec in [99, 2, 4, 6] {
        refused_as(&format!("codec {codec}"), &set(0, 4, codec), "not a readable Parquet file").await;
    }
    let fewer = footer(|footer| drop(footer.elements(4)[0].elements(1).pop()));
    refused(&fewer, "not a readable Parquet file").await;
}

/// One page of a column, changed.
fn page(chunk: usize, nth: usize, change: impl FnOnce(&mut Thrift, &mut Vec<u8>)) -> Vec<u8> {
    let mut parts = Parts::of(&plain(&rows()));
    let page = &mut parts.chunks[chunk][nth];
    change(&mut page.header, &mut page.body);
    parts.place();
    parts.bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_claim_what_they_have_no_bytes_for() {
    let bomb = page(0, 1, |header, _| *header.number(2).unwrap() = i64::from(i32::MAX));
    refused(&bomb, "pages that expand to more than its bytes can hold").await;
    refused(&page(0, 0, |header, _| *header.number(2).unwrap() = -7), "a page of negative size").await;
    refused(&page(0, 1, |header, _| *header.number(3).unwrap() = 1 << 30), "a page ends beyond its column").await;
    let values = |to: i64| page(2, 1, move |header, _| *header.field(5).unwrap().number(1).unwrap() = to);
    refused(&values(i64::from(i32::MAX)), "more values than its bytes can hold").await;
    refused(&values(-1), "a negative number of values").await;
    refused(&values(24), "25 values by its footer, 24 inside").await;
    refused(&page(0, 1, |header, _| *header.number(1).unwrap() = 77), "not a readable Parquet file").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dictionaries_and_levels_that_lead_nowhere() {
    // Levels (a length of four bytes), the width of an index, then a run: 25 times the index 0x7fff.
    let nowhere = page(0, 1, |header, body| {
        let levels = 4 + u32::from_le_bytes(body[..4].try_into().unwrap()) as usize;
        body.truncate(levels);
        body.extend([16, 50, 0xff, 0x7f]);
        (2..=3).for_each(|id| *header.number(id).unwrap() = body.len() as i64);
    });
    refused_as("nowhere", &nowhere, "not a readable Parquet file").await;
    let no_levels = page(0, 1, |_, body| body[..4].copy_from_slice(&u32::MAX.to_le_bytes()));
    refused_as("no levels", &no_levels, "not a readable Parquet file").await;
    let no_dictionary = {
        let mut parts = Parts::of(&plain(&rows()));
        parts.chunks[0].remove(0);
        parts.place();
        parts.bytes()
    };
    refused(&no_dictionary, "not a readable Parquet file").await;
    let empty = page(0, 0, |header, body| {
        body.clear();
        (2..=3).for_each(|id| *header.number(id).unwrap() = 0);
    });
    refused_as("an empty dictionary", &empty, "not a readable Parquet file").await;
    let no_text = page(0, 0, |_, body| body[5] = 0xff);
    refused_as("no text", &no_text, "not a readable Parquet file").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn encrypted_files_are_told_to_be_so() {
    let plain_footer = footer(|footer| {
        let Thrift::Struct(fields) = footer else { panic!() };
        fields.push((8, Thrift::Struct(vec![(1, Thrift::Struct(Vec::new()))])));
    });
    refused(&plain_footer, "it is encrypted: deliver it in plain").await;
    let mut whole = plain(&rows());
    let end = whole.len();
    whole[..4].copy_from_slice(b"PARE");
    whole[end - 4..].copy_from_slice(b"PARE");
    refused(&whole, "it is encrypted: deliver it in plain").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_cut_off_anywhere_is_refused() {
    let (source, bytes) = (project(SOURCES).sources["pay"].clone(), plain(&rows()));
    for length in 0..bytes.len() {
        let cut = bytes::Bytes::copy_from_slice(&bytes[..length]);
        let error = inspect::inspect(&source, "cut.parquet", cut).unwrap_err();
        assert_eq!(error.kind(), Kind::Data, "{length}: {error}");
    }
}

/// Statistics, page indexes and bloom filters: whatever they say, every row is read.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_about_values_leaves_no_row_out() {
    let bytes = footer(|footer| {
        for group in 0..2 {
            for index in 0..3 {
                let meta = footer.elements(4)[group].elements(1)[index].field(3).unwrap();
                let far = Thrift::Bytes(vec![0xff; 8]);
                let Thrift::Struct(fields) = meta else { panic!() };
                fields.retain(|(id, _)| *id < 12);
                let statistics =
                    [(1, far.clone()), (2, far.clone()), (3, Thrift::Number(6, 25)), (5, far.clone()), (6, far)];
                fields.push((12, Thrift::Struct(statistics.to_vec())));
                // A bloom filter that is somewhere in the data.
                fields.push((14, Thrift::Number(6, 4)));
                fields.push((15, Thrift::Number(5, 16)));
            }
        }
    });
    let world = World::new();
    std::fs::write(world.raw(&path(0, "lies")), bytes).unwrap();
    let report = world.ingest("pay", 0).await.unwrap();
    assert_eq!((report.read, report.written), (ROWS as u64, ROWS as u64));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_file_cannot_stand_for_more_than_it_can_hold() {
    // One text of 64 KiB that every row names: 256 MiB of rows.
    let long = "a".repeat(64 << 10);
    let words = StringArray::from(vec![long.as_str()]);
    let ids = DictionaryArray::<Int32Type>::try_new(Int32Array::from(vec![0; 4_000]), Arc::new(words)).unwrap();
    let batch = |ids: ArrayRef| {
        let at: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![0; ids.len()]));
        let n: ArrayRef = Arc::new(Int64Array::from(vec![0; ids.len()]));
        RecordBatch::try_from_iter([("id", ids), ("at", at), ("n", n)]).unwrap()
    };
    refused(&parquet(&batch(Arc::new(ids))), "its texts expand to more than").await;
    // One row, whose list has a thousand million items by a run of a few bytes.
    let sources =
        SOURCES.replacen("      n: {type: int64", "      many: {type: json, nullable: true}\n      n: {type: int64", 1);
    let one = pays(&[("p1", hour(0, 1), None)]);
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1); 100])]);
    let columns: Vec<(String, ArrayRef)> =
        one.schema().fields().iter().map(|f| f.name().clone()).zip(one.columns().to_vec()).collect();
    let columns = columns.into_iter().chain([("many".to_string(), Arc::new(list) as ArrayRef)]);
    let mut parts = Parts::of(&parquet(&RecordBatch::try_from_iter(columns).unwrap()));
    *parts.chunks[3][1].header.field(5).unwrap().number(1).unwrap() = 1_000_000_000;
    parts.place();
    *column(&mut parts.footer, 3).number(5).unwrap() = 1_000_000_000;
    let world = World::of(&sources);
    std::fs::write(world.raw(&path(0, "bad")), parts.bytes()).unwrap();
    let error = world.ingest("pay", 0).await.unwrap_err().to_string();
    assert!(error.contains("column `many.list.item`: more values than its bytes can hold"), "{error}");
}

/// A file of ids and 96-bit instants, with a row group of no rows before the others.
fn old(instants: &[Int96]) -> Vec<u8> {
    let schema = "message old { required binary id (UTF8); required int96 at; optional int64 n; }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, Default::default()).unwrap();
    for rows in [&instants[..0], instants] {
        let ids: Vec<ByteArray> = (0..rows.len()).map(|row| format!("p{row}").as_str().into()).collect();
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(&ids, None, None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int96Type>().write_batch(rows, None, None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int64Type>().write_batch(&[], Some(&vec![0; rows.len()]), None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
    }
    writer.close().unwrap();
    bytes
}

/// As old writers wrote instants: the nanoseconds of a day, and its Julian number.
#[tokio::test(flavor = "multi_thread")]
async fn old_instants_are_read_beyond_the_years_of_nanoseconds() {
    let at = |year: i32, micros: i64| {
        let day = NaiveDate::from_ymd_opt(year, 12, 31).unwrap().to_epoch_days() + 2_440_588;
        let nanos = (micros * 1_000) as u64;
        Int96::from(vec![nanos as u32, (nanos >> 32) as u32, day as u32])
    };
    let world = World::new();
    let bytes = old(&[at(1600, 1), at(1969, 0), at(2262, 7), at(9999, DAY - 1)]);
    std::fs::write(world.raw(&path(0, "old")), bytes).unwrap();
    assert_eq!(world.ingest("pay", 0).await.unwrap().written, 4);
    let snapshot = world.lake().snapshot("tables/pay").await.unwrap().unwrap();
    world.session.register("t", snapshot.provider().unwrap()).unwrap();
    let batches = world.session.sql("select at from t order by id").await.unwrap().collect().await.unwrap();
    let found: Vec<i64> =
        batches.iter().flat_map(|b| b.column(0).as_primitive::<TimestampMicrosecondType>().values().to_vec()).collect();
    let micros = |year: i32, micros: i64| {
        i64::from(NaiveDate::from_ymd_opt(year, 12, 31).unwrap().to_epoch_days()) * DAY + micros
    };
    assert_eq!(found, [micros(1600, 1), micros(1969, 0), micros(2262, 7), micros(9999, DAY - 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn types_that_are_not_what_they_are_called() {
    // A text that is called a number of money, an instant that is called none, a file without columns.
    let retyped = |element: usize, id: i16, to: Thrift| {
        let mut parts = Parts::of(&plain(&rows()));
        let Thrift::Struct(fields) = &mut parts.footer.elements(2)[element] else { panic!() };
        fields.retain(|(field, _)| ![6, 10].contains(field));
        fields.push((id, to));
        // What Arrow's own schema would say of the columns.
        let Thrift::Struct(fields) = &mut parts.footer else { panic!() };
        fields.retain(|(id, _)| *id != 5);
        parts.bytes()
    };
    for (bytes, says) in [
        (retyped(1, 6, Thrift::Number(5, 5)), "not a readable Parquet file"),
        (retyped(2, 6, Thrift::Number(5, 14)), "column `at` has another type"),
        (retyped(3, 6, Thrift::Number(5, 0)), "not a readable Parquet file"),
        (retyped(1, 99, Thrift::Number(5, 5)), "column `id` has another type"),
    ] {
        refused(&bytes, says).await;
    }
    let none = footer(|footer| {
        footer.elements(2).truncate(1);
        *footer.elements(2)[0].number(5).unwrap() = 0;
        footer.elements(4).clear();
        *footer.number(3).unwrap() = 0;
        let Thrift::Struct(fields) = footer else { panic!() };
        fields.retain(|(id, _)| *id != 5 && *id != 7);
    });
    refused(&none, "column `id` is missing").await;
    // Bytes that are no text, in a column of texts.
    let binary: ArrayRef = Arc::new(arrow::array::BinaryArray::from_vec(vec![b"\xff\xfe\xfd".as_slice()]));
    let at: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![0]));
    let n: ArrayRef = Arc::new(Int64Array::from(vec![0]));
    let batch = RecordBatch::try_from_iter([("id", binary), ("at", at), ("n", n)]).unwrap();
    let mut parts = Parts::of(&parquet(&batch));
    let Thrift::Struct(fields) = &mut parts.footer.elements(2)[1] else { panic!() };
    fields.push((6, Thrift::Number(5, 0)));
    let Thrift::Struct(fields) = &mut parts.footer else { panic!() };
    fields.retain(|(id, _)| *id != 5);
    refused(&parts.bytes(), "not a readable Parquet file").await;
}
