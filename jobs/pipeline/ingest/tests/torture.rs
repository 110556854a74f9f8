//! Structured fuzzing: mutated Parquet, Avro, CSV, NDJSON and YAML, beside a good file of whose rows none may be lost.
//!
//! As many mutants as `SCOREHOUSE_TORTURE` says (`make torture` says 10,000), else as many as a test run bears. Each
//! comes from its number, which a failure names: `SCOREHOUSE_TORTURE=848..856` tries those again.

use std::time::Duration;

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_yaml::Value as Yaml;

use super::structure::{self, Parts};
use super::*;
use crate::pipeline::runs::peak_memory;

const MUTANTS: u64 = 320;
/// In one ingest.
const AT_ONCE: u64 = 8;
/// Files that take longer take for ever; long, because machines that run tests may be busy.
const PATIENCE: Duration = Duration::from_secs(300);
/// What the process may hold at most, whatever files say of themselves.
const MEMORY: u64 = 4 << 30;

fn mutants() -> std::ops::Range<u64> {
    let text = clock::env("SCOREHOUSE_TORTURE").unwrap_or_default();
    let (start, end) = text.split_once("..").unwrap_or(("0", &text));
    let number = |text: &str, default| text.parse().unwrap_or(default);
    number(start, 0)..number(end, MUTANTS)
}

fn sources(form: &str) -> String {
    let nested = if form == "ndjson" { "      j: {type: json, nullable: true}\n" } else { "" };
    format!(
        "sources:\n  pay:\n    location: pay/day={{date}}/*\n    format: {form}\n    event_time: at\n    key: [id]\n    \
         max_bad_share: 1\n    unreadable: skip\n    columns:\n      id: string\n      at: timestamp\n      \
         n: {{type: int64, nullable: true}}\n      email: {{type: string, nullable: true, pii: pseudonymise}}\n{nested}"
    )
}

/// A mutant by its number. Every other Parquet file is changed in its structure.
fn mutant(form: &str, number: u64) -> Vec<u8> {
    let mut seed = ChaCha8Rng::seed_from_u64(number);
    let rows = seed.random_range(1..60);
    if form == "parquet" && number.is_multiple_of(2) {
        let mut parts = Parts::of(&structure::written(&typed("mutant", rows), &mut seed));
        let times = seed.random_range(1..4);
        parts.mutate(times, &mut seed);
        return parts.bytes();
    }
    let mut bytes = delivered(form, "mutant", rows);
    mutate(&mut bytes, &mut seed);
    bytes
}

/// Rows as typed columns.
fn typed(name: &str, rows: usize) -> RecordBatch {
    let ids: Vec<String> = (0..rows).map(|i| format!("{name} {i}")).collect();
    let rows: Vec<Row> =
        ids.iter().enumerate().map(|(i, id)| (id.as_str(), hour(0, i as i64 % 24), Some(i as i64))).collect();
    let batch = pays(&rows);
    let mut columns: Vec<(String, ArrayRef)> =
        batch.schema().fields().iter().map(|f| f.name().clone()).zip(batch.columns().to_vec()).collect();
    columns.push(("email".into(), batch.column(0).clone()));
    RecordBatch::try_from_iter(columns).unwrap()
}

/// A file of `rows` rows, of which most have a value.
fn delivered(form: &str, name: &str, rows: usize) -> Vec<u8> {
    let lines = |line: &dyn Fn(usize) -> String| (0..rows).map(line).collect::<String>();
    match form {
        "csv" => {
            let line = |i| format!("{name} {i},1970-01-01T0{}:00:00Z,{i},\"a \"\"b\"\", {i}@x\"\r\n", i % 10);
            format!("id,at,n,email\r\n{}", lines(&line)).into_bytes()
        }
        "ndjson" => {
            let line = |i| {
                let (id, at) = (format!("{name} {i}"), format!("1970-01-01T0{}:00:00Z", i % 10));
                json!({"id": id, "at": at, "n": i, "email": "ž@x", "j": {"k": [i, null, "}"]}}).to_string() + "\n"
            };
            lines(&line).into_bytes()
        }
        _ => {
            let batch = typed(name, rows);
            if form == "avro" { forms::avro(&batch) } else { parquet(&batch) }
        }
    }
}

/// Bytes that were good: flipped, cut, doubled, moved, and strewn with what matters to the form.
fn mutate(bytes: &mut Vec<u8>, seed: &mut ChaCha8Rng) {
    let words: [&[u8]; 14] = [
        b"\"",
        b"\r",
        b"\n",
        b",",
        b"{",
        b"]",
        b"\0",
        b"\xff\xfe",
        b"PAR1",
        b"null",
        b"1e999",
        b"-9223372036854775809",
        b"+262143-01-01T00:00:00Z",
        b"\xef\xbb\xbf",
    ];
    for _ in 0..seed.random_range(1..6) {
        let at = seed.random_range(0..=bytes.len());
        let end = (at + seed.random_range(1..40)).min(bytes.len());
        match seed.random_range(0..9) {
            0 | 1 if at < bytes.len() => bytes[at] ^= 1 << seed.random_range(0..8),
            2 if at < bytes.len() => bytes[at] = seed.random(),
            3 => bytes.truncate(at),
            4 => drop(bytes.drain(at..end)),
            5 => {
                let part = bytes[at..end].to_vec();
                let to = seed.random_range(0..=bytes.len());
                bytes.splice(to..to, part);
            }
            6 => bytes[at..end].fill(*[0, 0xff, 0x7f, 0x80].choose(seed).unwrap()),
            // The footer of a Parquet file is where the lies are.
            7 if bytes.len() > 200 => {
                let at = bytes.len() - seed.random_range(1..200);
                bytes[at] = seed.random();
            }
            _ => drop(bytes.splice(at..at, words.choose(seed).unwrap().iter().copied())),
        }
    }
}

/// Ends the process if it is not dropped in time: a thread that decodes for ever cannot be stopped, and a test that
/// waits for it would not end either.
fn watch(start: u64) -> std::sync::mpsc::Sender<()> {
    let (done, waiting) = std::sync::mpsc::channel::<()>();
    std::thread::spawn(move || {
        if waiting.recv_timeout(PATIENCE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            eprintln!("mutants from {start} take for ever");
            std::process::abort();
        }
    });
    done
}

#[tokio::test(flavor = "multi_thread")]
async fn mutated_files_cost_no_good_row() {
    let mut fates: BTreeMap<(&str, String), u64> = BTreeMap::new();
    for start in mutants().step_by(AT_ONCE as usize) {
        let form = ["parquet", "csv", "ndjson", "avro"][(start / AT_ONCE % 4) as usize];
        let world = World::of(&sources(form));
        let day = format!("pay/day={}", date(0));
        world.text(&format!("{day}/good"), delivered(form, "good", 50));
        for number in start..start + AT_ONCE {
            world.text(&format!("{day}/mutant {number}"), mutant(form, number));
        }
        let watch = watch(start);
        let report = world.ingest("pay", 0).await;
        drop(watch);
        let report = report.unwrap_or_else(|error| panic!("mutants from {start}: {error}"));
        assert_eq!(report.read, report.written + report.duplicate + report.quarantined, "mutants from {start}");
        let sql = "select count(*) as n from t where id like 'good %' and email is not null and _known_until is null";
        let shown = world.query("tables/pay", sql).await;
        assert!(shown.contains("| 50 |"), "mutants from {start}: {shown}");
        let shown = world.query("manifest", "select status, count(*) as n from t group by status").await;
        for line in shown.lines().filter(|line| line.contains(|c: char| c.is_ascii_digit())) {
            let words: Vec<&str> = line.split('|').map(str::trim).collect();
            *fates.entry((form, words[1].to_string())).or_default() += words[2].parse::<u64>().unwrap();
        }
        assert!(!world.query("tables/pay", "select email from t").await.contains('@'), "mutants from {start}");
    }
    let files: u64 = fates.values().sum();
    let count = mutants().end - mutants().start;
    assert_eq!(files, count.div_ceil(AT_ONCE) * (AT_ONCE + 1), "every file is in the manifest: {fates:?}");
    assert!(fates.keys().any(|(_, status)| status == "unreadable"), "nothing was broken: {fates:?}");
    let counts: Vec<String> = fates.iter().map(|((form, status), n)| format!("{form} {status} {n}")).collect();
    println!("{count} mutated files beside good ones: {}", counts.join(", "));
    assert!(peak_memory() < MEMORY, "{} bytes were held", peak_memory());
}

/// Lines that are broken, without a quote or an end of line: they are one row each, and cost one row each.
#[tokio::test(flavor = "multi_thread")]
async fn intact_rows_beside_broken_ones_are_kept() {
    let (mut intact, mut broken) = (0, 0);
    for start in mutants().step_by(AT_ONCE as usize) {
        let form = ["csv", "ndjson"][(start / AT_ONCE % 2) as usize];
        // Without a key, so that a broken row cannot take an intact one's place.
        let world = World::of(&sources(form).replace("    key: [id]\n", ""));
        let mut expected = BTreeSet::new();
        for number in start..start + AT_ONCE {
            let mut seed = ChaCha8Rng::seed_from_u64(number);
            let name = format!("mutant {number}");
            let text = delivered(form, &name, seed.random_range(2..60));
            let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
            let head = usize::from(form == "csv");
            let mut damaged = lines[..head].concat();
            for (row, line) in lines[head..].iter().enumerate() {
                let end = line.len() - if form == "csv" { 2 } else { 1 };
                if seed.random_range(0..5) > 0 {
                    damaged.extend(*line);
                    expected.insert((format!("{name} {row}"), row as i64));
                    continue;
                }
                let mut bytes = line[..end].to_vec();
                mutate(&mut bytes, &mut seed);
                let is_kept = |byte: &u8| !matches!(byte, b'\n' | b'\r') && (form == "ndjson" || *byte != b'"');
                damaged.extend(bytes.into_iter().filter(is_kept));
                damaged.extend(&line[end..]);
                broken += 1;
            }
            world.text(&format!("pay/day={}/{name}", date(0)), damaged);
        }
        let report = world.ingest("pay", 0).await.unwrap_or_else(|error| panic!("mutants from {start}: {error}"));
        assert_eq!((report.files, report.unreadable), (AT_ONCE, 0), "mutants from {start}");
        assert_eq!(report.read, report.written + report.duplicate + report.quarantined, "mutants from {start}");
        let found: BTreeSet<(String, i64)> =
            world.versions("pay").await.into_iter().map(|(id, n, _, _)| (id, n)).collect();
        let lost: Vec<_> = expected.difference(&found).collect();
        assert!(lost.is_empty(), "mutants from {start}: {lost:?}");
        intact += expected.len();
    }
    println!("{intact} intact rows beside {broken} broken ones: none is lost");
}

#[test]
fn mutated_definitions_are_diagnosed() {
    let shipped = shipped();
    let names: Vec<&TextFile> = shipped.iter().filter(|file| file.path.ends_with(".yaml")).collect();
    // A definition with its query and the sources: the rest only takes time.
    let beside = |path: &str| -> Vec<TextFile> {
        let query = path.replace(".yaml", ".sql");
        let is_beside = |file: &&TextFile| file.path == query || file.path == "sql/sources.yaml" && path != file.path;
        shipped.iter().filter(is_beside).cloned().collect()
    };
    let mut wrong = 0;
    for number in mutants() {
        let mut seed = ChaCha8Rng::seed_from_u64(number);
        let file = *names.choose(&mut seed).unwrap();
        // Some are changed in their structure, the others in their text.
        let mut bytes =
            if seed.random_range(0..3) == 0 { restructured(&file.text, &mut seed) } else { file.text.clone() }
                .into_bytes();
        let times = if bytes == file.text.as_bytes() { seed.random_range(1..4) } else { 0 };
        for _ in 0..times {
            let at = seed.random_range(0..=bytes.len());
            let words: [&[u8]; 12] = [
                b": ",
                b"- ",
                b"&a ",
                b"*a",
                b"{",
                b"[[[[[[[[",
                b"!!binary ",
                b"\t",
                b"99999999999999999999",
                b"'",
                b"|\n",
                b"<<: *a",
            ];
            bytes.splice(at..at, words.choose(&mut seed).unwrap().iter().copied());
        }
        if times > 0 && seed.random() {
            mutate(&mut bytes, &mut seed);
        }
        let mutant = TextFile { path: file.path.clone(), text: String::from_utf8_lossy(&bytes).into_owned() };
        let mut files = beside(&file.path);
        files.push(mutant);
        let (_, out) = std::panic::catch_unwind(|| crate::pipeline::load::compile(&files))
            .unwrap_or_else(|_| panic!("mutant {number} of {} panics", file.path))
            .unwrap_or_else(|error| panic!("mutant {number} of {}: {error}", file.path));
        wrong += u64::from(out.iter().any(|diagnostic| diagnostic.file == file.path));
        assert!(out.iter().all(|d| !d.message.is_empty() && !d.file.is_empty()), "mutant {number}: {out:?}");
    }
    let count = mutants().end - mutants().start;
    assert!(wrong > count / 2, "{wrong} of {count} were found wrong");
    println!("{count} mutated definitions: {wrong} were found wrong");
}

/// The document with a value of it, or two, in another's place, gone, doubled, or what nobody expects there.
fn restructured(text: &str, seed: &mut ChaCha8Rng) -> String {
    let mut document: Yaml = serde_yaml::from_str(text).unwrap();
    for _ in 0..seed.random_range(1..3) {
        let other =
            nth(&mut document, &mut seed.random_range(0..10_000)).map(|value| value.clone()).unwrap_or_default();
        let odd: [&str; 12] = [
            "null",
            "-1",
            "1e999",
            "18446744073709551615",
            "''",
            "[]",
            "{}",
            "[[[[[[]]]]]]",
            "{a: {a: {a: 1}}}",
            "\"\\0\"",
            "'ž\u{202e}; drop'",
            "true",
        ];
        let odd: Yaml = serde_yaml::from_str(odd.choose(seed).unwrap()).unwrap();
        let size = size(&document);
        let Some(value) = nth(&mut document, &mut seed.random_range(0..size)) else { continue };
        match (seed.random_range(0..5), value) {
            (0, value) => *value = other,
            (1, value) => *value = odd,
            (2, Yaml::Sequence(list)) if !list.is_empty() => list.push(list[0].clone()),
            (2, Yaml::Mapping(map)) => drop(map.insert(other, odd)),
            (3, Yaml::Sequence(list)) => drop(list.pop()),
            (3, Yaml::Mapping(map)) => drop(map.keys().next().cloned().and_then(|key| map.remove(key))),
            (_, value) => *value = Yaml::Sequence(vec![value.clone(), odd]),
        }
    }
    serde_yaml::to_string(&document).unwrap()
}

fn size(value: &Yaml) -> usize {
    1 + match value {
        Yaml::Sequence(list) => list.iter().map(size).sum(),
        Yaml::Mapping(map) => map.values().map(size).sum(),
        _ => 0,
    }
}

/// The value that comes after so many others.
fn nth<'a>(value: &'a mut Yaml, before: &mut usize) -> Option<&'a mut Yaml> {
    if *before == 0 {
        return Some(value);
    }
    *before -= 1;
    match value {
        Yaml::Sequence(list) => list.iter_mut().find_map(|value| nth(value, before)),
        Yaml::Mapping(map) => map.values_mut().find_map(|value| nth(value, before)),
        _ => None,
    }
}

/// The definitions of the project that comes with the code.
fn shipped() -> Vec<TextFile> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    crate::pipeline::load::read(root).unwrap()
}
