//! Questions answered from the ledger's own files, and how answers are printed.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tollgate::ledger::{Closed, Ledger, Settings, Takeover};
use tollgate::money::NanoUsd;
use tollgate::record::{Estimate, Outcome, Usage, UsageSource};

use crate::traffic::{PATIENCE, id, plain, record};
use crate::{printed, told, tollgate, traffic, with_traffic};

const ALL: [&str; 2] = ["--since", "2026-11-20"];

/// `tollgate usage` over everything.
fn usage(folder: &Path, arguments: &[&str]) -> String {
    printed(tollgate(
        folder,
        &[&["usage"], &ALL[..], arguments].concat(),
    ))
}

#[test]
fn a_usage_table_reads_well_and_says_what_it_leaves_out() {
    let folder = with_traffic();
    insta::assert_snapshot!("usage_by_model", usage(folder.path(), &[]));
    insta::assert_snapshot!(
        "usage_by_key_and_tag",
        usage(folder.path(), &["--by", "key,tag:project"])
    );
}

#[test]
fn usage_in_json_and_csv_is_exact() {
    let folder = with_traffic();
    let json = usage(folder.path(), &["--format", "json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["total"]["cost_usd"], "0.037470875");
    assert_eq!(json["total"]["input_cached_tokens"], 234_567);
    assert_eq!(json["total"]["input_audio_tokens"], Value::Null);
    assert_eq!(json["since"], "2026-11-20T00:00:00.000000Z");

    let csv = usage(
        folder.path(),
        &["--format", "csv", "--by", "model,tag:team"],
    );
    insta::assert_snapshot!(csv.replace("\r\n", "\n"));
    assert_eq!(
        csv.matches("\r\n").count(),
        6,
        "one line each, and the header"
    );
}

#[test]
fn requests_read_well_and_do_not_steer_the_terminal() {
    let folder = with_traffic();
    let table = printed(tollgate(folder.path(), &["requests"]));
    insta::assert_snapshot!(table);
    assert!(!table.contains('\u{1b}'), "an escape sequence came through");

    let some = printed(tollgate(
        folder.path(),
        &["requests", "--failed", "--format", "json"],
    ));
    let some: Value = serde_json::from_str(&some).unwrap();
    assert_eq!(some.as_array().unwrap().len(), 1);
    assert_eq!(some[0]["id"], id(2).to_string());
    assert_eq!(some[0]["error_message"], "slow down\u{1b}[2J");

    for order in ["--slowest", "--dearest"] {
        let first = [
            "requests",
            order,
            "--last",
            "1",
            "--since",
            "2026-11-20",
            "--format",
            "json",
        ];
        let first: Value = serde_json::from_str(&printed(tollgate(folder.path(), &first))).unwrap();
        assert_eq!(first[0]["id"], id(0).to_string(), "{order}");
    }
    let dearest = ["requests", "--dearest", "--since", "2026-11-20"];
    let dearest = printed(tollgate(folder.path(), &dearest));
    insta::assert_snapshot!("requests_dearest", dearest);
}

#[test]
fn one_request_in_full() {
    let folder = with_traffic();
    let show = |n| {
        let id = id(n).to_string();
        printed(tollgate(folder.path(), &["requests", "--id", &id]))
    };
    insta::assert_snapshot!("request_rich", show(0));
    let limited = show(2);
    insta::assert_snapshot!("request_rate_limited", limited);
    assert!(
        !limited.contains('\u{1b}'),
        "an escape sequence came through"
    );

    let gone = id(99).to_string();
    let (code, stdout, stderr) = told(tollgate(folder.path(), &["requests", "--id", &gone]));
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.contains("the ledger has no request"), "{stderr}");
}

#[test]
fn what_tollgate_counted_itself_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = traffic::open(&folder.path().join("data"));
    let mut left = plain(0);
    left.outcome = Outcome::ClientClosed;
    left.usage.source = UsageSource::Partial;
    left.delivered_output_tokens = Some(12);
    left.upstream_bytes = Some(12_345);
    let mut silent = plain(1);
    silent.usage = Usage::absent(UsageSource::Missing);
    silent.cost = None;
    silent.estimate = Some(Estimate {
        input_tokens: Some(1_234),
        output_tokens: Some(56),
        cost: Some(NanoUsd(420_500)),
    });
    record(&ledger, &[left, silent]);
    assert_eq!(ledger.close(PATIENCE), Closed::Complete);
    for (n, name) in ["request_left", "request_silent"].into_iter().enumerate() {
        let id = id(n.try_into().unwrap()).to_string();
        let shown = printed(tollgate(folder.path(), &["requests", "--id", &id]));
        insta::assert_snapshot!(name, shown);
    }
}

#[test]
fn more_requests_than_a_page_holds() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = traffic::open(&folder.path().join("data"));
    let requests: Vec<_> = (0..1_203).map(plain).collect();
    record(&ledger, &requests);
    assert_eq!(ledger.close(PATIENCE), Closed::Complete);
    let json = printed(tollgate(
        folder.path(),
        &["requests", "--last", "1201", "--format", "json"],
    ));
    let json: Value = serde_json::from_str(&json).unwrap();
    let listed = json.as_array().unwrap();
    assert_eq!(listed.len(), 1_201);
    assert_eq!(listed[1_200]["id"], id(2).to_string());
}

#[test]
fn a_fresh_installation_is_told_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let text = usage(folder.path(), &[]);
    assert!(
        text.starts_with("No requests from 2026-11-20 00:00:00 (UTC) in "),
        "{text}"
    );
    assert!(
        text.contains("Point an SDK at http://127.0.0.1:8080/v1"),
        "{text}"
    );
    let json: Value = serde_json::from_str(&usage(folder.path(), &["--format", "json"])).unwrap();
    assert_eq!(json["rows"], serde_json::json!([]));
    assert_eq!(json["total"]["cost_usd"], Value::Null);
    let list = printed(tollgate(folder.path(), &["requests", "--format", "json"]));
    assert_eq!(list, "[]\n");
    assert!(
        !folder.path().join("data").exists(),
        "asking must create nothing"
    );
}

#[test]
fn what_an_ended_sidecar_left_in_the_journal_is_included() {
    let (running, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let settings = Settings {
        retention: None,
        // Long enough that nothing is committed by itself.
        tick: Duration::from_secs(3_600),
        ..Settings::new(running.path())
    };
    let ledger = Ledger::open(&settings, Takeover::Refuse).unwrap();
    ledger.journal().end(&plain(0));
    // What is on the disk now is what a killed process leaves.
    copy(running.path(), &killed.path().join("data"));
    let json: Value = serde_json::from_str(&usage(killed.path(), &["--format", "json"])).unwrap();
    assert_eq!(json["total"]["requests"], 1);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let folder = with_traffic();
    let mut command = tollgate(folder.path(), &["requests", "--format", "json"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut child = command
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut stderr)
        .unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(stderr, "");
}

#[test]
fn colours_are_for_terminals_whose_owner_wants_them() {
    let folder = with_traffic();
    let on_a_terminal = |no_color: &str| {
        let binary = env!("CARGO_BIN_EXE_tollgate");
        // `script` (util-linux) gives the command a terminal.
        let output = std::process::Command::new("script")
            .args([
                "-qec",
                &format!("{binary} usage --since 2026-11-20"),
                "/dev/null",
            ])
            .current_dir(folder.path())
            .env("TOLLGATE_ADMIN_LISTEN", crate::NOBODY)
            .env("TERM", "xterm")
            .env("NO_COLOR", no_color)
            .stdin(Stdio::null())
            .output()
            .expect("`script` (Debian package `bsdutils`) is not there; `make test` installs it");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let coloured = on_a_terminal("");
    assert!(coloured.contains("\u{1b}["), "{coloured:?}");
    let plain = on_a_terminal("1");
    assert!(
        plain.contains("total") && !plain.contains("\u{1b}["),
        "{plain:?}"
    );
    assert!(!usage(folder.path(), &[]).contains('\u{1b}'));
}
