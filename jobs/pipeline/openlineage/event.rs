//! An event as JSON, by version 2-0-2 of the schema.

use chrono::{DateTime, Days, NaiveDate, SecondsFormat, Utc};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::facet;
use crate::pipeline::about::COMMIT;

const SCHEMA: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent";

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Start,
    Complete,
    Fail,
    Abort,
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Phase::Start => "START",
            Phase::Complete => "COMPLETE",
            Phase::Fail => "FAIL",
            Phase::Abort => "ABORT",
        }
    }
}

/// The run that this one is a part of.
pub struct Parent {
    pub namespace: String,
    pub name: String,
    pub run: Uuid,
}

/// All that one event says.
pub struct Event<'a> {
    pub phase: Phase,
    pub at: DateTime<Utc>,
    pub run: Uuid,
    pub namespace: String,
    pub name: &'a str,
    pub date: NaiveDate,
    pub parent: Option<Parent>,
    /// How the run ended, in our terms.
    pub ended: Option<Value>,
    pub error: Option<&'a str>,
    pub inputs: Vec<Value>,
    pub outputs: Vec<Value>,
}

/// Who says it, down to the commit.
pub fn producer() -> String {
    format!("urn:scorehouse:{}:{COMMIT}", env!("CARGO_PKG_VERSION"))
}

impl Event<'_> {
    pub fn to_json(&self) -> Value {
        json!({
            "eventType": self.phase.name(),
            "eventTime": self.at.to_rfc3339_opts(SecondsFormat::Micros, true),
            "producer": producer(),
            "schemaURL": SCHEMA,
            "run": { "runId": self.run, "facets": self.run_facets() },
            "job": { "namespace": self.namespace, "name": self.name, "facets": job_facets() },
            "inputs": self.inputs,
            "outputs": self.outputs,
        })
    }

    fn run_facets(&self) -> Value {
        let mut facets = Map::new();
        let night = |date: NaiveDate| format!("{date}T00:00:00Z");
        let next = self.date.checked_add_days(Days::new(1)).unwrap_or(self.date);
        let nominal = json!({ "nominalStartTime": night(self.date), "nominalEndTime": night(next) });
        facets
            .insert("nominalTime".into(), facet("1-0-1/NominalTimeRunFacet.json#/$defs/NominalTimeRunFacet", nominal));
        let engine = json!({
            "name": "DataFusion",
            "version": datafusion::DATAFUSION_VERSION,
            "openlineageAdapterVersion": env!("CARGO_PKG_VERSION"),
        });
        let schema = "1-1-1/ProcessingEngineRunFacet.json#/$defs/ProcessingEngineRunFacet";
        facets.insert("processing_engine".into(), facet(schema, engine));
        if let Some(parent) = &self.parent {
            let said = json!({
                "run": { "runId": parent.run },
                "job": { "namespace": parent.namespace, "name": parent.name },
            });
            facets.insert("parent".into(), facet("1-2-0/ParentRunFacet.json#/$defs/ParentRunFacet", said));
        }
        if let Some(message) = self.error {
            let said = json!({ "message": message, "programmingLanguage": "Rust" });
            let schema = "1-0-1/ErrorMessageRunFacet.json#/$defs/ErrorMessageRunFacet";
            facets.insert("errorMessage".into(), facet(schema, said));
        }
        if let Some(ended) = &self.ended {
            // Ours: no schema is published of it but that of any facet.
            let mut ended = facet("", ended.clone());
            ended["_schemaURL"] = json!("https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunFacet");
            facets.insert("scorehouse_end".into(), ended);
        }
        Value::Object(facets)
    }
}

fn job_facets() -> Value {
    let said = json!({ "processingType": "BATCH", "integration": "SCOREHOUSE", "jobType": "JOB" });
    json!({ "jobType": facet("2-0-4/JobTypeJobFacet.json#/$defs/JobTypeJobFacet", said) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_says_run_job_night_and_parent() {
        let event = Event {
            phase: Phase::Fail,
            at: DateTime::from_timestamp(1_750_000_000, 0).unwrap(),
            run: Uuid::nil(),
            namespace: "file:///lake".into(),
            name: "tables",
            date: NaiveDate::from_ymd_opt(2024, 2, 29).unwrap(),
            parent: Some(Parent { namespace: "airflow".into(), name: "night.tables".into(), run: Uuid::max() }),
            ended: Some(json!({ "exitCode": 3 })),
            error: Some("table a: no"),
            inputs: vec![],
            outputs: vec![],
        };
        let said = event.to_json();
        assert_eq!(
            (said["eventType"].as_str(), said["eventTime"].as_str()),
            (Some("FAIL"), Some("2025-06-15T15:06:40.000000Z"))
        );
        assert_eq!(said["run"]["facets"]["nominalTime"]["nominalEndTime"], "2024-03-01T00:00:00Z");
        assert_eq!(said["run"]["facets"]["parent"]["job"]["name"], "night.tables");
        assert_eq!(said["run"]["facets"]["errorMessage"]["message"], "table a: no");
        assert_eq!(said["run"]["facets"]["scorehouse_end"]["exitCode"], 3);
        for (name, facet) in said["run"]["facets"].as_object().unwrap() {
            assert!(facet["_producer"].is_string() && facet["_schemaURL"].is_string(), "{name}");
        }
    }
}
