//! `scorehouse query` with one question: where it comes from, where its rows go and as what, and that it only reads.

use std::io::{Read, Write};
use std::process::Stdio;

use arrow::array::RecordBatch;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;

use crate::small::{self, two_days};
use crate::support::{Said, World, said, scorehouse};

const ASK: &str = "select id, amount from pay where user_id = 'u1' order by id";

fn world() -> World {
    let world = small::world();
    two_days(&world);
    world.job("ingest", "2024-02-29").ok();
    world
}

/// Asks with this text on stdin.
fn piped(world: &World, arguments: &[&str], text: &str) -> Said {
    let mut command = scorehouse(arguments);
    command.arg("--raw").arg(world.raw()).arg("--lake").arg(world.lake());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    said(child.wait_with_output().unwrap())
}

fn rows(bytes: Vec<u8>) -> usize {
    let reader = ParquetRecordBatchReader::try_new(bytes::Bytes::from(bytes), 1024).unwrap();
    reader.map(Result::unwrap).map(|batch: RecordBatch| batch.num_rows()).sum()
}

#[test]
fn rows_come_as_a_table_as_csv_or_as_json_lines() {
    let world = world();
    let table = world.run(&["query", ASK]).ok().stdout;
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("+--") && lines[1].contains("| id ") && lines.len() > 4, "{table}");
    let csv = world.run(&["query", ASK, "--format", "csv"]).ok().stdout;
    assert!(csv.starts_with("id,amount\n"), "{csv}");
    let json = world.run(&["query", ASK, "--format", "json"]).ok().stdout;
    assert_eq!(json, world.run(&["query", ASK, "--json"]).ok().stdout);
    assert_eq!(json.lines().count(), csv.lines().count() - 1);
    assert_eq!(lines.len() - 4, json.lines().count());
    let none = "select id from pay where false";
    assert_eq!(world.run(&["query", none, "--format", "csv"]).ok().stdout, "id\n");
    assert_eq!(world.run(&["query", none, "--json"]).ok().stdout, "");
    let lists = ["query", "select make_array(1, 2) as pair", "--format", "csv"];
    world.run(&lists).refuses(2, &["column pair is a List", "--format json"]);
}

#[test]
fn sql_comes_from_stdin_where_there_is_none_else() {
    let world = world();
    let asked = world.run(&["query", ASK, "--json"]).ok().stdout;
    assert_eq!(piped(&world, &["query", "--json"], &format!("-- a file\n{ASK};\n")).ok().stdout, asked);
    assert_eq!(piped(&world, &["query", "-", "--json"], ASK).ok().stdout, asked);
    assert_eq!(piped(&world, &["query", ASK, "--json"], "select 1").ok().stdout, asked, "the argument comes first");
    piped(&world, &["query"], "\n").refuses(2, &["there is no query"]);
    piped(&world, &["query"], "select 1; select 2;").refuses(2, &["several statements"]);
}

#[test]
fn rows_go_to_a_file_that_is_complete_or_not_there() {
    let world = world();
    let out = world.dir.path().join("out");
    std::fs::create_dir(&out).unwrap();
    let file = |name: &str| out.join(name).display().to_string();
    assert_eq!(world.run(&["query", ASK, "--output", &file("a.csv")]).ok().stdout, "");
    let csv = world.run(&["query", ASK, "--format", "csv"]).ok().stdout;
    assert_eq!(std::fs::read_to_string(file("a.csv")).unwrap(), csv);
    world.run(&["query", ASK, "--output", &file("a.parquet")]).ok();
    assert_eq!(rows(std::fs::read(file("a.parquet")).unwrap()), csv.lines().count() - 1);
    world.run(&["query", ASK, "--output", &file("a.csv"), "--format", "json"]).ok();
    assert!(
        std::fs::read_to_string(file("a.csv")).unwrap().starts_with('{'),
        "--format wins, and the file is replaced"
    );
    // It fails when rows have come: the file is as it was.
    let fails = "select 1 / (2 - n) as x from (values (1), (2)) as t(n)";
    let said = world.run(&["query", fails, "--output", &file("a.csv")]);
    assert_ne!(said.code, 0, "{said:?}");
    assert!(std::fs::read_to_string(file("a.csv")).unwrap().starts_with('{'));
    assert_eq!(std::fs::read_dir(&out).unwrap().count(), 2, "nothing unfinished is left");
    world.run(&["query", ASK, "--output", &file("none/a.csv")]).refuses(2, &["none/a.csv cannot be written"]);
    world.run(&["query", ASK, "--output", "/dev/null", "--format", "csv"]).ok();
}

#[test]
fn parquet_goes_through_a_pipe() {
    let world = world();
    let mut command = scorehouse(&["query", ASK, "--format", "parquet"]);
    let output = command.arg("--raw").arg(world.raw()).arg("--lake").arg(world.lake()).output().unwrap();
    assert!(output.status.success());
    assert_eq!(rows(output.stdout), world.query(ASK).len());
}

#[test]
fn a_reader_that_goes_is_no_error() {
    let world = world();
    let many = "select a.id from pay a, pay b, pay c, pay d, pay e, pay f, pay g";
    for format in ["csv", "json", "table"] {
        let mut command = scorehouse(&["query", many, "--format", format]);
        command.arg("--raw").arg(world.raw()).arg("--lake").arg(world.lake());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut some = [0; 16];
        child.stdout.take().unwrap().read_exact(&mut some).unwrap();
        // Its end of the pipe is closed here.
        let said = said(child.wait_with_output().unwrap()).ok();
        assert_eq!(said.stderr, "", "{format}");
    }
}

#[test]
fn whatever_would_change_something_is_refused() {
    let world = world();
    let stolen = world.dir.path().join("stolen.csv");
    let before = world.versions();
    let copy = format!("copy pay to '{}' stored as csv", stolen.display());
    for (sql, names) in [
        ("drop table pay", "DROP TABLE"),
        ("delete from pay", "DELETE FROM"),
        ("update pay set amount = 0", "UPDATE"),
        ("insert into pay select * from pay", "INSERT INTO"),
        ("insert into nothing values (1)", "INSERT INTO"),
        ("create table mine as select 1", "CREATE TABLE"),
        ("create view mine as select 1", "CREATE VIEW"),
        ("select 1 as x into mine", "CreateMemoryTable"),
        ("create external table x stored as csv location '/etc/passwd'", "CREATE EXTERNAL"),
        ("explain analyze insert into pay select * from pay", "INSERT INTO"),
        ("set datafusion.execution.batch_size = 1", "SET"),
        (copy.as_str(), "COPY"),
    ] {
        world.run(&["query", sql]).refuses(2, &[names, "only reads", "expected: SELECT"]);
    }
    assert!(!stolen.exists());
    assert_eq!(world.versions(), before);
}

#[test]
fn it_lists_and_describes_tables() {
    let world = world();
    let names = world.query("show tables");
    assert!(names.iter().any(|row| row["table_name"] == "pay"), "{names:?}");
    assert!(names.iter().any(|row| row["table_name"] == "runs"), "{names:?}");
    let columns = world.query("describe pay");
    assert!(columns.iter().any(|row| row["column_name"] == "amount"), "{columns:?}");
}
