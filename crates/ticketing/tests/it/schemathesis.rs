//! Schemathesis reads our OpenAPI document and asks the real service, over a real database, what the document allows
//! and what it forbids. Its checks are all on; `schemathesis.toml` says which answers to what are right.
//!
//! Needs the Python environment that `make test` makes (`e2e/.venv`).

use std::{path::PathBuf, process::Stdio, time::Duration};

use mysql_async::prelude::Queryable;
use serde_json::Value;
use tokio::process::Command;

use crate::{
    api::key,
    organiser::organiser,
    site::{Site, Visitor},
};

/// The same examples in every run.
const SEED: &str = "20261224";
/// A run takes some 20 seconds on two quiet cores; one that takes longer than this hangs.
const LIMIT: Duration = Duration::from_secs(180);

fn from_root(path: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join(path)
}

/// Where Python's programs for the tests are.
pub(crate) fn python(program: &str) -> PathBuf {
    let path = from_root("e2e/.venv/bin").join(program);
    assert!(path.exists(), "{} is missing: run `make e2e/.venv/.installed`", path.display());
    path
}

/// Runs it against a service, by a document; whether it found nothing, and what it said.
async fn run(at: std::net::SocketAddr, key: &str, document: &str, more: &[&str]) -> (bool, String) {
    let authorization = format!("Authorization: Bearer {key}");
    let url = format!("http://{at}/api/v1");
    let child = Command::new(python("schemathesis"))
        .arg("--no-color")
        .arg("--config-file")
        .arg(from_root("crates/ticketing/tests/schemathesis.toml"))
        .args(["run", document, "--url", &url, "--header", &authorization, "--seed", SEED])
        .args(more)
        // It keeps notes beside itself otherwise.
        .current_dir(std::env::temp_dir())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let done = tokio::time::timeout(LIMIT, child).await.expect("schemathesis took too long").unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    (done.status.success(), said)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_is_what_its_document_says_and_a_document_that_lies_is_found() {
    let site = Site::open().await;
    let at = site.postman().await;
    let organiser = organiser(&site, at).await;
    let key = key(&organiser, "schemathesis", &["read", "sell", "door"]).await;
    // How fast it may ask is another test's.
    site.admin().await.query_drop("UPDATE ticketing.api_keys SET per_second = 1000000").await.unwrap();

    let (fine, said) = run(at, &key, &format!("http://{at}/api/v1/openapi.json"), &[]).await;
    println!("{said}");
    assert!(fine, "{said}");
    // It sold something on the way: the links in the document lead from a performance to a booking.
    assert!(
        site.number("SELECT COUNT(*) FROM ticketing.bookings").await > 0,
        "nothing was ever booked: {said}"
    );

    // Two lies: a field of the wrong type, and an answer that is not told.
    let mut document: Value =
        serde_json::from_str(&Visitor::new(at).get("/api/v1/openapi.json").await.text).unwrap();
    document["components"]["schemas"]["Show"]["properties"]["slug"]["type"] = "integer".into();
    let responses = document["paths"]["/performances/{performance_id}"]["get"]["responses"].as_object_mut();
    responses.unwrap().remove("404");
    let lying = std::env::temp_dir().join(format!("ghostlight-openapi-{}.json", std::process::id()));
    std::fs::write(&lying, document.to_string()).unwrap();
    let only = ["--include-operation-id", "listShows", "--include-operation-id", "getPerformance"];
    let (fine, said) = run(at, &key, lying.to_str().unwrap(), &only).await;
    std::fs::remove_file(&lying).unwrap();
    assert!(!fine, "two lies were not found: {said}");
    assert!(said.contains("Response violates schema") && said.contains("Undocumented status code"), "{said}");
}
