//! Where events go: a file, a line each, or a server. Chosen by the environment variables of OpenLineage's clients.

use std::io::Write;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::Client;
use serde_json::Value;
use url::Url;

use crate::clock;
use crate::error::chain;

/// How long a server may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who did not listen once is told nothing more by this process.
static DEAF: AtomicBool = AtomicBool::new(false);

pub enum Transport {
    File(PathBuf),
    Http { client: Client, url: Url, key: Option<String> },
}

/// What the environment asks for; `None` where it asks for nothing, or for what cannot be, which is said once.
pub fn of_environment() -> Option<&'static Transport> {
    static CHOSEN: LazyLock<Option<Transport>> =
        LazyLock::new(|| match chosen(&|name| clock::env(name).filter(|value| !value.is_empty())) {
            Ok(chosen) => chosen,
            Err(why) => {
                warn_once(&why);
                None
            }
        });
    CHOSEN.as_ref()
}

fn chosen(set: &dyn Fn(&str) -> Option<String>) -> Result<Option<Transport>, String> {
    if set("OPENLINEAGE_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Ok(None);
    }
    let option = |name: &str| set(&format!("OPENLINEAGE__TRANSPORT__{name}"));
    let url = set("OPENLINEAGE_URL").or_else(|| option("URL"));
    let kind = option("TYPE").or_else(|| url.is_some().then(|| "http".to_string()));
    match kind.as_deref() {
        None | Some("noop") => Ok(None),
        Some("file") => {
            let path = option("LOG_FILE_PATH").ok_or("OPENLINEAGE__TRANSPORT__LOG_FILE_PATH names no file")?;
            Ok(Some(Transport::File(path.into())))
        }
        Some("http") => {
            let url = url.ok_or("OPENLINEAGE_URL names no server")?;
            let endpoint = set("OPENLINEAGE_ENDPOINT").or_else(|| option("ENDPOINT"));
            let endpoint = endpoint.unwrap_or_else(|| "api/v1/lineage".into());
            let base = Url::parse(&format!("{}/", url.trim_end_matches('/')));
            let url = base.and_then(|base| base.join(endpoint.trim_start_matches('/')));
            let url = url.map_err(|e| format!("OPENLINEAGE_URL is no URL: {e}"))?;
            if !["http", "https"].contains(&url.scheme()) {
                return Err(format!("OPENLINEAGE_URL is a {}: URL; expected http: or https:", url.scheme()));
            }
            let key = set("OPENLINEAGE_API_KEY").or_else(|| option("AUTH__API_KEY"));
            let client = Client::builder().timeout(PATIENCE).build().map_err(|e| e.to_string())?;
            Ok(Some(Transport::Http { client, url, key }))
        }
        Some(other) => Err(format!("OPENLINEAGE__TRANSPORT__TYPE is `{other}`; expected file, http or noop")),
    }
}

impl Transport {
    /// Sends one event, or warns that it cannot.
    pub async fn send(&self, event: &Value) {
        if DEAF.load(Ordering::Relaxed) {
            return;
        }
        let sent = match self {
            Transport::File(path) => append(path, event).map_err(|e| format!("{}: {e}", path.display())),
            Transport::Http { client, url, key } => post(client, url, key.as_deref(), event).await,
        };
        if let Err(why) = sent {
            warn_once(&why);
        }
    }
}

fn warn_once(why: &str) {
    if !DEAF.swap(true, Ordering::Relaxed) {
        tracing::warn!("lineage is not told any more by this run: {why}");
    }
}

/// One line with one write, so that lines of several processes do not mix.
fn append(path: &PathBuf, event: &Value) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path)?;
    file.write_all(format!("{event}\n").as_bytes())
}

async fn post(client: &Client, url: &Url, key: Option<&str>, event: &Value) -> Result<(), String> {
    // Without the rest of the address, which may hold a password.
    let host = url.host_str().unwrap_or_default();
    let mut request = client.post(url.clone()).header("content-type", "application/json").body(event.to_string());
    if let Some(key) = key {
        request = request.bearer_auth(key);
    }
    let answer = request.send().await.map_err(|e| format!("{host}: {}", chain(&e.without_url())))?;
    match answer.status() {
        status if status.is_success() => Ok(()),
        status => Err(format!("{host} answered {}", status.as_u16())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(set: &[(&str, &str)]) -> Result<Option<Transport>, String> {
        chosen(&|name| set.iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_string()))
    }

    #[test]
    fn nothing_is_told_unless_it_is_asked_for() {
        assert!(of(&[]).unwrap().is_none());
        assert!(of(&[("OPENLINEAGE__TRANSPORT__TYPE", "noop")]).unwrap().is_none());
        assert!(of(&[("OPENLINEAGE_URL", "http://h"), ("OPENLINEAGE_DISABLED", "True")]).unwrap().is_none());
    }

    #[test]
    fn a_server_is_named_with_or_without_an_endpoint() {
        for (set, expected) in [
            (&[("OPENLINEAGE_URL", "http://h:5000")][..], "http://h:5000/api/v1/lineage"),
            (&[("OPENLINEAGE_URL", "http://h/a/"), ("OPENLINEAGE_ENDPOINT", "/in")], "http://h/a/in"),
            (
                &[("OPENLINEAGE__TRANSPORT__TYPE", "http"), ("OPENLINEAGE__TRANSPORT__URL", "https://h")],
                "https://h/api/v1/lineage",
            ),
        ] {
            match of(set).unwrap() {
                Some(Transport::Http { url, .. }) => assert_eq!(url.as_str(), expected),
                _ => panic!("{set:?}: no server"),
            }
        }
    }

    #[test]
    fn what_cannot_be_says_which_variable_is_wrong() {
        for (set, words) in [
            (&[("OPENLINEAGE__TRANSPORT__TYPE", "file")][..], "LOG_FILE_PATH"),
            (&[("OPENLINEAGE__TRANSPORT__TYPE", "http")], "OPENLINEAGE_URL"),
            (&[("OPENLINEAGE__TRANSPORT__TYPE", "kafka")], "kafka"),
            (&[("OPENLINEAGE_URL", "ftp://h")], "ftp"),
            (&[("OPENLINEAGE_URL", "h")], "OPENLINEAGE_URL"),
        ] {
            let why = of(set).err().unwrap_or_else(|| panic!("{set:?} is taken"));
            assert!(why.contains(words), "{why}");
        }
    }
}
