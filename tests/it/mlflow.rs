//! A server of MLflow that is down, slow, or answers with errors costs a warning and no night.

use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::{Said, answering, said};
use crate::torture::compare::{assert_same, dump};
use crate::torture::nights::NIGHTLY;

/// A night that trains, with a server at this address.
fn night(uri: &str, lake: &Path) -> Said {
    let mut command = NIGHTLY.command(0, lake);
    said(command.env("MLFLOW_TRACKING_URI", uri).output().unwrap())
}

fn costs_a_warning(uri: &str, what: &str, within: Duration) {
    let dir = NIGHTLY.lake(0);
    let lake = dir.path().join("lake");
    let began = Instant::now();
    let said = night(uri, &lake);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(began.elapsed() < within, "{:?}", began.elapsed());
    assert!(said.stderr.contains("MLflow") && said.stderr.contains(what), "{}", said.stderr);
    assert!(!said.stderr.contains("secret"), "{}", said.stderr);
    assert_same(&dump(&lake), &NIGHTLY.dumps[1], uri);
}

#[test]
fn a_server_that_is_down() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    costs_a_warning(&format!("http://me:secret@{address}"), "told", NIGHTLY.took[0] + Duration::from_secs(30));
}

#[test]
fn a_server_that_says_nothing() {
    costs_a_warning(&answering(b""), "told", NIGHTLY.took[0] + Duration::from_secs(90));
}

#[test]
fn a_server_that_fails() {
    let answer = b"HTTP/1.1 500 Oops\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno";
    costs_a_warning(&answering(answer), "it answered 500", NIGHTLY.took[0] + Duration::from_secs(30));
}

#[test]
fn an_address_that_is_none() {
    for uri in ["sqlite:///mlflow.db", "no address"] {
        costs_a_warning(uri, "MLFLOW_TRACKING_URI", NIGHTLY.took[0] + Duration::from_secs(30));
    }
}
