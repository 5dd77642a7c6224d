//! Metrics and health.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use reqwest::StatusCode;
use tollgate::config::OnLedgerFailure;

use crate::Admin;
use crate::traffic::{mixed, record};

#[tokio::test]
async fn promtool_accepts_the_exposition_and_it_agrees_with_the_ledger() {
    let admin = Admin::start(None, None).await;
    for request in mixed() {
        admin.meter.observe(&request, None, None);
    }
    record(&admin.ledger, &mixed());
    let response = admin.get("/metrics").await;
    assert_eq!(
        response.headers()["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let text = response.text().await.unwrap();
    for line in [
        "tollgate_ledger_records_total{result=\"written\"} 5",
        "tollgate_ledger_records_total{result=\"dropped\"} 0",
        "tollgate_payloads_total{result=\"failed\"} 0",
        "tollgate_ledger_errors_total{store=\"database\"} 0",
        "tollgate_ledger_journal_bytes 0",
        "tollgate_requests_total{api=\"responses\",channel=\"openai\",model=\"mystery-1\",outcome=\"ok\"} 1",
        "tollgate_build_info{revision=",
        "process_resident_memory_bytes ",
    ] {
        let found = text.lines().any(|found| found.starts_with(line));
        // Label order is the encoder's; compare what is within the braces as a set.
        let same = |found: &str| labels(found) == labels(line);
        assert!(found || text.lines().any(same), "{line} is not in\n{text}");
    }
    promtool_accepts(&text);
}

/// Asks Prometheus itself whether it understands a scrape.
pub(crate) fn promtool_accepts(text: &str) {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool (Debian package `prometheus`) is not there; `make test` installs it");
    promtool
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let verdict = promtool.wait_with_output().unwrap();
    assert!(
        verdict.status.success() && verdict.stderr.is_empty() && verdict.stdout.is_empty(),
        "{verdict:?}"
    );
}

/// A sample's name, its labels as a set, its value.
fn labels(line: &str) -> Option<(&str, BTreeSet<&str>, &str)> {
    let (name, rest) = line.split_once('{')?;
    let (labels, value) = rest.split_once('}')?;
    Some((name, labels.split(',').collect(), value))
}

#[tokio::test]
async fn readiness_follows_the_life_of_the_process() {
    let admin = Admin::start(None, None).await;
    let ready = async || {
        let response = admin.get("/readyz").await;
        (response.status().as_u16(), response.text().await.unwrap())
    };
    assert_eq!(admin.get("/livez").await.status(), StatusCode::OK);
    let (status, reason) = ready().await;
    assert_eq!(status, 503);
    assert_eq!(reason, "starting: the ledger is not open yet\n");

    let journal = admin.ledger.journal();
    admin
        .readiness
        .ledger_opened(journal, OnLedgerFailure::Refuse);
    assert_eq!(
        ready().await.1,
        "starting: reading which channels are closed\n"
    );

    admin.readiness.gates_known();
    assert_eq!(
        ready().await.1,
        "starting: reading from the ledger what the rules are to know\n"
    );

    admin.readiness.rules_known();
    assert_eq!(
        ready().await.1,
        "starting: the data plane does not listen yet\n"
    );

    admin.readiness.listening();
    assert_eq!(ready().await, (200, "ok\n".to_owned()));

    admin.readiness.drain();
    let (status, reason) = ready().await;
    assert_eq!(status, 503);
    assert!(reason.starts_with("draining: "), "{reason}");
    assert_eq!(admin.get("/livez").await.status(), StatusCode::OK);
}
