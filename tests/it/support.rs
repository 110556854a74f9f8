//! Runs the real binary on a real lake in a temporary directory.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use scorehouse::define::profile::Profile;
use scorehouse::pipeline::query::Reader;
use serde_json::Value;
use tempfile::TempDir;

use crate::agree::run::block_on;

/// The checkout.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A lake, raw events and a project of a test's own.
pub struct World {
    pub dir: TempDir,
    pub project: PathBuf,
}

/// What a job said.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Said {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {self:#?}"))
    }

    /// The job's line for a table.
    pub fn line(&self, table: &str) -> Value {
        let outputs = self.json()["outputs"].as_array().cloned().unwrap_or_default();
        let line = outputs.into_iter().find(|line| line["table"].as_str().is_some_and(|t| t.starts_with(table)));
        line.unwrap_or_else(|| panic!("no line {table}: {self:#?}"))
    }

    #[track_caller]
    pub fn ok(self) -> Said {
        assert_eq!(self.code, 0, "{}\n{}", self.stdout, self.stderr);
        self
    }

    /// Fails with this exit code, saying all of this.
    #[track_caller]
    pub fn refuses(self, code: i32, says: &[&str]) -> Said {
        assert_eq!(self.code, code, "{}\n{}", self.stdout, self.stderr);
        for text in says {
            assert!(self.stderr.contains(text), "expected {text:?} in\n{}", self.stderr);
        }
        self
    }
}

impl World {
    /// With the shipped project.
    pub fn new() -> World {
        World { dir: TempDir::new().unwrap(), project: root() }
    }

    /// With a project of (path, text) files.
    pub fn with(files: &[(&str, &str)]) -> World {
        let dir = TempDir::new().unwrap();
        let project = dir.path().join("project");
        std::fs::create_dir_all(&project).unwrap();
        let world = World { dir, project };
        for (path, text) in files {
            world.write(path, text);
        }
        world
    }

    pub fn raw(&self) -> PathBuf {
        self.dir.path().join("raw")
    }

    pub fn lake(&self) -> PathBuf {
        self.dir.path().join("lake")
    }

    /// Writes a file of the project.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.project.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// `scorehouse <job> … --json`, on this world's lake.
    pub fn job(&self, job: &str, date: &str) -> Said {
        let project = self.project.display().to_string();
        self.run(&[job, "--date", date, "--project", &project, "--json"])
    }

    /// `scorehouse` with these arguments, and this world's lake and raw events.
    pub fn run(&self, arguments: &[&str]) -> Said {
        let mut command = scorehouse(arguments);
        if !["check", "lineage"].contains(&arguments[0]) {
            command.arg("--raw").arg(self.raw()).arg("--lake").arg(self.lake());
        }
        said(command.output().unwrap())
    }

    /// Rows of a query, as JSON.
    #[track_caller]
    pub fn query(&self, sql: &str) -> Vec<Value> {
        let said = self.run(&["query", sql, "--json"]).ok();
        said.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Versions of the Delta tables below the lake, by path: what can be seen.
    pub fn versions(&self) -> std::collections::BTreeMap<String, usize> {
        let mut versions = std::collections::BTreeMap::new();
        visit(&self.lake(), &mut |path| {
            let parent = path.parent().unwrap();
            if path.extension().is_some_and(|e| e == "json") && parent.file_name().is_some_and(|n| n == "_delta_log") {
                let table = parent.parent().unwrap().strip_prefix(self.lake()).unwrap();
                *versions.entry(table.display().to_string()).or_default() += 1;
            }
        });
        versions.remove("runs");
        versions
    }
}

pub fn scorehouse(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scorehouse"));
    command.args(arguments).current_dir(root());
    command
}

/// A server that answers so to whoever asks, or not at all; its address, with a user and a password.
pub fn answering(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(answer);
            // Whoever gets no answer waits for one.
            open.extend(answer.is_empty().then_some(stream));
        }
    });
    format!("http://me:secret@{address}")
}

pub fn said(output: Output) -> Said {
    Said {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// What a query finds, as one batch.
pub fn asked(profile: &Profile, sql: &str) -> RecordBatch {
    block_on(async {
        let mut answer = Reader::open(profile).unwrap().ask(sql).await.unwrap();
        let mut batches = Vec::new();
        while let Some(batch) = answer.next().await {
            batches.push(batch.unwrap());
        }
        concat_batches(&answer.schema, &batches).unwrap()
    })
}

/// Every file below a directory.
pub fn visit(path: &Path, f: &mut impl FnMut(&Path)) {
    let Ok(entries) = std::fs::read_dir(path) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() { visit(&path, f) } else { f(&path) }
    }
}
