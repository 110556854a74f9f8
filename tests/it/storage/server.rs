//! One S3 server for all tests of a run, and worlds whose lake and raw events lie in it, each below a prefix of its own.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use scorehouse::lake::Lake;
use tempfile::TempDir;

use crate::agree::run::block_on;
use crate::support::{Said, root, said, scorehouse};

pub const KEY: &str = "AKIASCOREHOUSETESTS1";
pub const SECRET: &str = "wJalrXUtnFEMI-never-to-be-seen-bPxRfiCYEXAMPLE";

pub struct Server {
    pub endpoint: String,
    /// Its standard input ends with this process, and then it ends too.
    _process: Child,
    _dir: TempDir,
}

static SERVER: LazyLock<Option<Server>> = LazyLock::new(start);

fn tools() -> std::path::PathBuf {
    let cache =
        std::env::var("XDG_CACHE_HOME").unwrap_or_else(|_| format!("{}/.cache", std::env::var("HOME").unwrap()));
    std::env::var("SCOREHOUSE_TOOLS").map_or_else(|_| Path::new(&cache).join("scorehouse/tools"), Into::into)
}

/// `None` where it is not installed, which is said.
pub fn server() -> Option<&'static Server> {
    SERVER.as_ref()
}

fn start() -> Option<Server> {
    Server::start("s3", "servers", "make interop")
}

impl Server {
    /// A server of a kind that `orchestration/servers.sh` knows; `None`, and said, where nothing is in its directory of
    /// the tools.
    pub fn start(kind: &str, installed: &str, make: &str) -> Option<Server> {
        if !tools().join(installed).join("installed.txt").exists() {
            let how =
                format!("no server of {kind} is installed: `orchestration/servers.sh install {kind}`, or `{make}`");
            assert!(std::env::var("SCOREHOUSE_SERVERS").is_err(), "{how}");
            eprintln!("skipped: {how}");
            return None;
        }
        let dir = TempDir::new().unwrap();
        let mut command = Command::new(root().join("orchestration/servers.sh"));
        command.arg(kind).arg(dir.path()).env("AWS_ACCESS_KEY_ID", KEY).env("AWS_SECRET_ACCESS_KEY", SECRET);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let endpoint = line.trim().strip_prefix("endpoint=").unwrap_or_else(|| panic!("the server said {line:?}"));
        Some(Server { endpoint: endpoint.to_string(), _process: process, _dir: dir })
    }

    /// `127.0.0.1:…`
    pub fn address(&self) -> &str {
        self.endpoint.trim_start_matches("http://")
    }
}

/// A lake in the bucket, and where it is reached: at the server itself, or at a proxy.
#[derive(Clone)]
pub struct Bucket {
    pub prefix: String,
    pub endpoint: String,
}

impl Bucket {
    pub fn new(server: &Server) -> Bucket {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let prefix = format!("w{}", NEXT.fetch_add(1, Ordering::Relaxed));
        Bucket { prefix, endpoint: server.endpoint.clone() }
    }

    /// The same lake, reached otherwise.
    pub fn at(&self, endpoint: &str) -> Bucket {
        Bucket { endpoint: endpoint.to_string(), ..self.clone() }
    }

    pub fn url(&self, what: &str) -> String {
        format!("s3://scorehouse/{}/{what}", self.prefix)
    }

    /// Of a lake opened by the tests themselves.
    pub fn options(&self) -> HashMap<String, String> {
        let options = [
            ("endpoint", self.endpoint.as_str()),
            ("region", "us-east-1"),
            ("allow_http", "true"),
            ("access_key_id", KEY),
            ("secret_access_key", SECRET),
        ];
        options.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
    }

    pub fn lake(&self) -> Lake {
        Lake::open(&self.url("lake"), self.options()).unwrap()
    }

    /// The environment in which `orchestration/s3.yaml` finds its keys and this server; impatient, as tests are.
    pub fn reach(&self, command: &mut Command) {
        command.env("AWS_ENDPOINT_URL", &self.endpoint).env("AWS_ALLOW_HTTP", "true").env("AWS_REGION", "us-east-1");
        command.env("AWS_ACCESS_KEY_ID", KEY).env("AWS_SECRET_ACCESS_KEY", SECRET);
        command.env("AWS_TIMEOUT", "2 seconds").env("AWS_CONNECT_TIMEOUT", "1 second");
        command.env_remove("SCOREHOUSE_FAILPOINT");
    }

    /// `scorehouse <job> … --profile orchestration/s3.yaml` on this lake.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = scorehouse(arguments);
        command.args(["--profile", "orchestration/s3.yaml", "--lake", &self.url("lake"), "--raw", &self.url("raw")]);
        self.reach(&mut command);
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Said {
        said(self.command(arguments).output().unwrap())
    }

    /// Copies a local directory of raw files below `raw/`.
    pub fn upload(&self, raw: &Path) {
        let store = self.store();
        block_on(async {
            let mut waiting = vec![raw.to_path_buf()];
            while let Some(dir) = waiting.pop() {
                for entry in std::fs::read_dir(&dir).unwrap() {
                    let path = entry.unwrap().path();
                    if path.is_dir() {
                        waiting.push(path);
                        continue;
                    }
                    let name = path.strip_prefix(raw).unwrap().to_str().unwrap();
                    let to = format!("{}/raw/{name}", self.prefix).into();
                    use object_store::ObjectStoreExt;
                    store.put(&to, std::fs::read(&path).unwrap().into()).await.unwrap();
                }
            }
        });
    }

    /// The bucket itself, by the client library and nothing of ours.
    pub fn store(&self) -> object_store::aws::AmazonS3 {
        object_store::aws::AmazonS3Builder::new()
            .with_bucket_name("scorehouse")
            .with_endpoint(&self.endpoint)
            .with_region("us-east-1")
            .with_allow_http(true)
            .with_access_key_id(KEY)
            .with_secret_access_key(SECRET)
            .build()
            .unwrap()
    }
}
