//! Events of runs for OpenLineage: a file, a server that listens, and servers that do not.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;

use crate::support::{Said, World, answering, said};
use crate::torture::compare::{assert_same, dump};
use crate::torture::nights::NIGHTLY;

fn night(lake: &Path, environment: &[(&str, &str)]) -> Said {
    let mut command = NIGHTLY.command(0, lake);
    said(command.envs(environment.iter().copied()).output().unwrap())
}

fn events(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn to_file(file: &Path) -> [(&'static str, String); 2] {
    let path = file.display().to_string();
    [("OPENLINEAGE__TRANSPORT__TYPE", "file".into()), ("OPENLINEAGE__TRANSPORT__LOG_FILE_PATH", path)]
}

fn of<'a>(events: &'a [Value], job: &str, phase: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["job"]["name"] == job && event["eventType"] == phase).collect()
}

#[test]
fn every_run_of_a_night_begins_and_ends_and_names_the_night() {
    let dir = NIGHTLY.lake(0);
    let (lake, file) = (dir.path().join("lake"), dir.path().join("events/night.jsonl"));
    let environment = to_file(&file);
    let environment: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    night(&lake, &environment).ok();
    assert_same(&dump(&lake), &NIGHTLY.dumps[1], "a night that is told of");
    let events = events(&file);
    let whole = of(&events, "nightly", "START")[0]["run"]["runId"].clone();
    for job in ["nightly", "ingest", "tables", "features", "train", "gate", "score", "monitor", "report"] {
        let (start, end) = (of(&events, job, "START"), of(&events, job, "COMPLETE"));
        assert_eq!((start.len(), end.len()), (1, 1), "{job}");
        assert_eq!(start[0]["run"]["runId"], end[0]["run"]["runId"], "{job}");
        let parent = &start[0]["run"]["facets"]["parent"]["run"]["runId"];
        assert_eq!(*parent, if job == "nightly" { Value::Null } else { whole.clone() }, "{job}");
    }
    assert_eq!(events.len(), 18);
    let ingested = &of(&events, "ingest", "COMPLETE")[0]["outputs"];
    let rows = |table: &str| {
        let named = |output: &&Value| output["name"].as_str().is_some_and(|name| name.ends_with(table));
        let output = ingested.as_array().unwrap().iter().find(named).unwrap();
        assert!(output["facets"]["version"]["datasetVersion"].is_string(), "{output}");
        output["outputFacets"]["outputStatistics"]["rowCount"].as_u64().unwrap()
    };
    assert!(rows("tables/pay") > 0);
}

#[test]
fn a_run_that_fails_says_why() {
    let world = World::new();
    let file = world.lake().with_file_name("events.jsonl");
    let mut command = crate::support::scorehouse(&["tables", "--date", "2025-06-30"]);
    command.arg("--raw").arg(world.raw()).arg("--lake").arg(world.lake());
    assert_eq!(said(command.envs(to_file(&file)).output().unwrap()).code, 3);
    let events = events(&file);
    let end = of(&events, "tables", "FAIL")[0];
    assert_eq!(end["run"]["facets"]["scorehouse_end"]["exitCode"], 3);
    let message = end["run"]["facets"]["errorMessage"]["message"].as_str().unwrap();
    assert!(message.contains("is not in the lake yet"), "{message}");
    assert_eq!(events.len(), 2);
}

#[test]
fn what_was_killed_is_aborted_by_the_next_run() {
    let dir = NIGHTLY.lake(0);
    let (lake, file) = (dir.path().join("lake"), dir.path().join("events.jsonl"));
    let environment = to_file(&file);
    let mut environment: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    environment.push(("SCOREHOUSE_FAILPOINT", "before-commit:features/pays=kill"));
    assert_eq!(night(&lake, &environment).code, -1);
    environment.pop();
    night(&lake, &environment).ok();
    let events = events(&file);
    for job in ["features", "nightly"] {
        let (started, aborted) = (of(&events, job, "START"), of(&events, job, "ABORT"));
        assert_eq!((started.len(), aborted.len()), (2, 1), "{job}");
        assert_eq!(started[0]["run"]["runId"], aborted[0]["run"]["runId"], "{job}");
        assert_eq!(aborted[0]["run"]["facets"]["scorehouse_end"]["exitCode"], 137);
    }
    let parent = &of(&events, "features", "ABORT")[0]["run"]["facets"]["parent"]["run"]["runId"];
    assert_eq!(*parent, of(&events, "nightly", "ABORT")[0]["run"]["runId"]);
}

/// Answers 201 to whoever posts, and hands on what they said.
fn listener() -> (String, Receiver<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, sender) = (stream.unwrap(), sender.clone());
            std::thread::spawn(move || {
                while let Some(request) = request(&mut stream) {
                    sender.send(request).unwrap();
                    stream.write_all(b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n").unwrap();
                }
            });
        }
    });
    (format!("http://{address}"), receiver)
}

/// Head and body of the next request.
fn request(stream: &mut TcpStream) -> Option<(String, String)> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let lower = head.to_lowercase();
    let length: usize = lower.split("content-length: ").nth(1)?.split("\r\n").next()?.parse().ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((head, String::from_utf8(body).ok()?))
}

#[test]
fn a_server_gets_each_event_with_the_key() {
    let dir = NIGHTLY.lake(0);
    let (url, requests) = listener();
    let environment = [("OPENLINEAGE_URL", url.as_str()), ("OPENLINEAGE_API_KEY", "a-key")];
    night(&dir.path().join("lake"), &environment).ok();
    let got: Vec<(String, String)> = requests.try_iter().collect();
    assert_eq!(got.len(), 18);
    for (head, body) in &got {
        assert!(head.starts_with("POST /api/v1/lineage ") && head.contains("Bearer a-key"), "{head}");
        assert!(serde_json::from_str::<Value>(body).unwrap()["run"]["runId"].is_string());
    }
}

fn costs_a_warning(url: &str, what: &str) {
    let dir = NIGHTLY.lake(0);
    let lake = dir.path().join("lake");
    let began = std::time::Instant::now();
    let said = night(&lake, &[("OPENLINEAGE_URL", url)]).ok();
    assert!(began.elapsed() < NIGHTLY.took[0] + Duration::from_secs(30), "{:?}", began.elapsed());
    assert_eq!(said.stderr.matches("lineage is not told").count(), 1, "{}", said.stderr);
    assert!(said.stderr.contains(what) && !said.stderr.contains("secret"), "{}", said.stderr);
    assert_same(&dump(&lake), &NIGHTLY.dumps[1], url);
}

#[test]
fn a_server_that_is_down_or_silent_or_refuses_costs_a_warning() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    costs_a_warning(&format!("http://me:secret@{nobody}"), "127.0.0.1");
    costs_a_warning(&answering(b""), "127.0.0.1");
    costs_a_warning(&answering(b"HTTP/1.1 422 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"), "answered 422");
    costs_a_warning("no address", "OPENLINEAGE_URL");
}
