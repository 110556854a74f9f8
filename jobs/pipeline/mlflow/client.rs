//! MLflow's REST interface, as much of it as is needed (<https://mlflow.org/docs/latest/api_reference/rest-api.html>).

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use url::Url;

use super::describe::Described;
use super::{MODEL, VERSION};
use crate::clock;
use crate::error::{Error, chain};

const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(15);
/// How many the server takes at once: of metrics and of parameters.
const METRICS: usize = 1000;
const PARAMETERS: usize = 100;
/// The longest value of a parameter or tag that every server takes.
const LONGEST: usize = 500;
/// Versions to a page.
const PAGE: u32 = 200;

/// Why the server was not told.
#[derive(Debug)]
pub struct Trouble {
    /// MLflow's own code, where it answered.
    code: String,
    pub message: String,
}

impl Trouble {
    pub fn of(error: Error) -> Trouble {
        Trouble { code: String::new(), message: error.to_string() }
    }

    fn new(message: impl Into<String>) -> Trouble {
        Trouble { code: String::new(), message: message.into() }
    }
}

/// A server, and who asks.
pub struct Server {
    base: Url,
    client: Client,
    /// User and password, or a token.
    user: Option<(String, Option<String>)>,
    token: Option<String>,
    experiment: String,
}

/// A run of the server.
pub struct Run {
    pub id: String,
    /// Where its files are.
    artifacts: String,
}

/// A version of a registered model.
pub struct Registered {
    pub number: String,
    pub run: String,
}

impl Server {
    /// The server of `MLFLOW_TRACKING_URI`, if it is set; what is wrong with it, if anything is.
    pub fn of_environment() -> Result<Option<Server>, String> {
        let set = |name: &str| clock::env(name).filter(|value| !value.is_empty());
        let Some(uri) = set("MLFLOW_TRACKING_URI") else { return Ok(None) };
        let mut base = Url::parse(&uri).map_err(|e| format!("MLFLOW_TRACKING_URI is no URL: {e}"))?;
        if !["http", "https"].contains(&base.scheme()) {
            return Err(format!("MLFLOW_TRACKING_URI is a {}: URL; expected http: or https:", base.scheme()));
        }
        let in_url =
            (!base.username().is_empty()).then(|| (base.username().to_string(), base.password().map(String::from)));
        let _ = base.set_username("").and_then(|()| base.set_password(None));
        base.set_query(None);
        let user = set("MLFLOW_TRACKING_USERNAME").map(|user| (user, set("MLFLOW_TRACKING_PASSWORD")));
        let client = Client::builder().connect_timeout(CONNECT).timeout(ANSWER).build().map_err(|e| e.to_string())?;
        Ok(Some(Server {
            base,
            client,
            user: user.or(in_url),
            token: set("MLFLOW_TRACKING_TOKEN"),
            experiment: set("MLFLOW_EXPERIMENT_NAME").unwrap_or_else(|| "scorehouse".into()),
        }))
    }

    /// Where it is, without who asks.
    pub fn name(&self) -> &str {
        self.base.as_str()
    }

    /// Versions of a registered model that are ours, by our name of them.
    pub async fn versions(&self, model: &str) -> Result<BTreeMap<String, Registered>, Trouble> {
        let mut found = BTreeMap::new();
        let mut page = String::new();
        loop {
            let filter = format!("name = '{}'", model.replace('\'', "''"));
            let size = PAGE.to_string();
            let query = [("filter", filter.as_str()), ("max_results", &size), ("page_token", &page)];
            let said = self.get("model-versions/search", &query).await?;
            for version in said["model_versions"].as_array().into_iter().flatten() {
                let Some(ours) = tag(&version["tags"], VERSION) else { continue };
                let registered = Registered { number: text(&version["version"]), run: text(&version["run_id"]) };
                found.insert(ours, registered);
            }
            page = text(&said["next_page_token"]);
            if page.is_empty() {
                return Ok(found);
            }
        }
    }

    /// The numbers of versions by their aliases.
    pub async fn aliases(&self, model: &str) -> Result<BTreeMap<String, String>, Trouble> {
        let said = self.get("registered-models/get", &[("name", model)]).await?;
        let all = said["registered_model"]["aliases"].as_array().into_iter().flatten();
        Ok(all.map(|held| (text(&held["alias"]), text(&held["version"]))).collect())
    }

    pub async fn set_alias(&self, model: &str, alias: &str, number: &str) -> Result<(), Trouble> {
        let body = json!({"name": model, "alias": alias, "version": number});
        self.send(Method::POST, "registered-models/alias", body).await.map(drop)
    }

    pub async fn drop_alias(&self, model: &str, alias: &str) -> Result<(), Trouble> {
        self.send(Method::DELETE, "registered-models/alias", json!({"name": model, "alias": alias})).await.map(drop)
    }

    /// The run of a version: one that was begun and not ended, or a new one.
    pub async fn run(&self, described: &Described) -> Result<Run, Trouble> {
        let experiment = self.experiment().await?;
        let filter = format!("tags.`{MODEL}` = '{}' and tags.`{VERSION}` = '{}'", described.model, described.version);
        let body = json!({"experiment_ids": [experiment], "filter": filter, "max_results": 1});
        let said = self.send(Method::POST, "runs/search", body).await?;
        let begun = match said["runs"].get(0) {
            Some(run) => run.clone(),
            None => {
                let tags = [(MODEL, &described.model), (VERSION, &described.version)];
                let tags: Vec<Value> = tags.iter().map(|(key, value)| json!({"key": key, "value": value})).collect();
                let body = json!({
                    "experiment_id": experiment, "run_name": format!("{} {}", described.model, described.version),
                    "start_time": now(), "tags": tags,
                });
                self.send(Method::POST, "runs/create", body).await?["run"].clone()
            }
        };
        let (id, uri) = (text(&begun["info"]["run_id"]), text(&begun["info"]["artifact_uri"]));
        match uri.strip_prefix("mlflow-artifacts:/") {
            Some(below) => Ok(Run { id, artifacts: below.trim_start_matches('/').to_string() }),
            None => Err(Trouble::new(format!(
                "its files are at {uri}, which only its own clients reach; start it with --serve-artifacts"
            ))),
        }
    }

    async fn experiment(&self) -> Result<String, Trouble> {
        match self.send(Method::POST, "experiments/create", json!({"name": self.experiment})).await {
            Ok(said) => Ok(text(&said["experiment_id"])),
            Err(trouble) if trouble.code == "RESOURCE_ALREADY_EXISTS" => {
                let said = self.get("experiments/get-by-name", &[("experiment_name", &self.experiment)]).await?;
                Ok(text(&said["experiment"]["experiment_id"]))
            }
            Err(trouble) => Err(trouble),
        }
    }

    pub async fn log(
        &self,
        run: &str,
        parameters: &[(String, String)],
        metrics: &[(String, f64)],
    ) -> Result<(), Trouble> {
        let now = now();
        for some in parameters.chunks(PARAMETERS) {
            let some: Vec<Value> = some.iter().map(|(key, value)| json!({"key": key, "value": cut(value)})).collect();
            self.send(Method::POST, "runs/log-batch", json!({"run_id": run, "params": some})).await?;
        }
        for some in metrics.chunks(METRICS) {
            let metric =
                |(key, value): &(String, f64)| json!({"key": key, "value": value, "timestamp": now, "step": 0});
            let some: Vec<Value> = some.iter().map(metric).collect();
            self.send(Method::POST, "runs/log-batch", json!({"run_id": run, "metrics": some})).await?;
        }
        Ok(())
    }

    pub async fn upload(&self, run: &Run, name: &str, bytes: Vec<u8>) -> Result<(), Trouble> {
        let path = format!("api/2.0/mlflow-artifacts/artifacts/{}/{name}", run.artifacts);
        self.answer(self.request(Method::PUT, &path)?.body(bytes)).await.map(drop)
    }

    /// A version of a registered model whose files are those of a run.
    pub async fn register(
        &self,
        model: &str,
        description: &str,
        version: &str,
        run: &Run,
    ) -> Result<Registered, Trouble> {
        let body = json!({"name": model, "description": description});
        match self.send(Method::POST, "registered-models/create", body).await {
            Err(trouble) if trouble.code == "RESOURCE_ALREADY_EXISTS" => {}
            created => drop(created?),
        }
        let source = format!("mlflow-artifacts:/{}/model", run.artifacts);
        let tags = json!([{"key": VERSION, "value": version}]);
        let body = json!({"name": model, "source": source, "run_id": run.id, "tags": tags});
        let said = self.send(Method::POST, "model-versions/create", body).await?;
        Ok(Registered { number: text(&said["model_version"]["version"]), run: run.id.clone() })
    }

    pub async fn finish(&self, run: &str) -> Result<(), Trouble> {
        let body = json!({"run_id": run, "status": "FINISHED", "end_time": now()});
        self.send(Method::POST, "runs/update", body).await.map(drop)
    }

    pub async fn has_tag(&self, run: &str, key: &str) -> Result<bool, Trouble> {
        let said = self.get("runs/get", &[("run_id", run)]).await?;
        Ok(tag(&said["run"]["data"]["tags"], key).is_some())
    }

    pub async fn tag(&self, run: &str, key: &str, value: &str) -> Result<(), Trouble> {
        self.send(Method::POST, "runs/set-tag", json!({"run_id": run, "key": key, "value": value})).await.map(drop)
    }

    async fn get(&self, what: &str, query: &[(&str, &str)]) -> Result<Value, Trouble> {
        let mut url = self.url(&format!("api/2.0/mlflow/{what}"))?;
        url.query_pairs_mut().extend_pairs(query.iter().filter(|(_, value)| !value.is_empty()));
        self.answer(self.authorised(self.client.get(url))).await
    }

    async fn send(&self, method: Method, what: &str, body: Value) -> Result<Value, Trouble> {
        let request = self.request(method, &format!("api/2.0/mlflow/{what}"))?;
        self.answer(request.header("content-type", "application/json").body(body.to_string())).await
    }

    fn url(&self, path: &str) -> Result<Url, Trouble> {
        let root = format!("{}/", self.base.as_str().trim_end_matches('/'));
        Url::parse(&root).and_then(|root| root.join(path)).map_err(|e| Trouble::new(e.to_string()))
    }

    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, Trouble> {
        Ok(self.authorised(self.client.request(method, self.url(path)?)))
    }

    fn authorised(&self, request: RequestBuilder) -> RequestBuilder {
        match (&self.user, &self.token) {
            (Some((user, password)), _) => request.basic_auth(user, password.as_deref()),
            (None, Some(token)) => request.bearer_auth(token),
            (None, None) => request,
        }
    }

    async fn answer(&self, request: RequestBuilder) -> Result<Value, Trouble> {
        // Without its URL, which may be long.
        let failed = |e: reqwest::Error| Trouble::new(chain(&e.without_url()));
        let response = request.send().await.map_err(failed)?;
        let status = response.status();
        let body = response.text().await.map_err(failed)?;
        let said: Value = serde_json::from_str(&body).unwrap_or_default();
        if status.is_success() {
            return Ok(said);
        }
        let words = said["message"].as_str().unwrap_or(status_words(status));
        Err(Trouble {
            code: text(&said["error_code"]),
            message: format!("it answered {}: {}", status.as_u16(), cut(words)),
        })
    }
}

fn status_words(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or("no reason given")
}

fn now() -> i64 {
    clock::now().timestamp_millis()
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    }
}

fn tag(tags: &Value, key: &str) -> Option<String> {
    let mut all = tags.as_array()?.iter();
    all.find(|tag| tag["key"] == key).map(|tag| text(&tag["value"]))
}

fn cut(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}
