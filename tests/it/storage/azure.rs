//! The small nights in a container of Azurite, Microsoft's emulator.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use super::server::Server;
use crate::support::{said, scorehouse};
use crate::torture::nights::{NIGHTLY, NIGHTS, date};

/// What anybody may ask a lake of these nights for.
const TABLES: [&str; 7] = ["pay", "people", "payments", "features.pays", "sequences.trail", "scores.again", "manifest"];

/// Rows without what differs from lake to lake: runs, versions of inputs, stamps of files.
fn rows(mut command: Command) -> BTreeSet<String> {
    let said = said(command.output().unwrap()).ok();
    let row = |line: &str| {
        let mut row: Value = serde_json::from_str(line).unwrap();
        ["run_id", "inputs", "stamp"].iter().for_each(|name| drop(row.as_object_mut().unwrap().remove(*name)));
        row.to_string()
    };
    said.stdout.lines().map(row).collect()
}

#[test]
fn nights_in_azure_leave_what_they_leave_on_disk() {
    let Some(server) = Server::start("azure", "azurite", "make interop") else { return };
    let dir = TempDir::new().unwrap();
    let profile = dir.path().join("azure.yaml");
    let options = "storage_options: {azure_storage_use_emulator: 'true'}\n";
    std::fs::write(&profile, format!("lake: az://scorehouse/lake\nraw: none\n{options}")).unwrap();
    let ask = |arguments: &[&str], lake: &Path, raw: &Path| {
        let mut command = scorehouse(arguments);
        command.arg("--profile").arg(&profile).arg("--lake").arg(lake).arg("--raw").arg(raw);
        command.env("AZURITE_BLOB_STORAGE_URL", &server.endpoint);
        command
    };
    let (there, here) = (Path::new("az://scorehouse/lake"), dir.path().join("lake"));
    for night in 0..NIGHTS {
        let project = NIGHTLY.project().display().to_string();
        for lake in [there, &here] {
            let arguments = ["nightly", "--json", "--date", &date(night), "--project", &project];
            said(ask(&arguments, lake, &NIGHTLY.raw(night)).output().unwrap()).ok();
        }
        for table in TABLES {
            let asked = format!("select * from {table}");
            let [there, here] = [there, &here].map(|lake| rows(ask(&["query", &asked, "--json"], lake, &here)));
            assert_eq!(there, here, "night {night}, {table}");
            assert!(!there.is_empty(), "{table}");
        }
    }
}
