//! `tollgate channels`.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tokio::runtime::Runtime;
use tollgate::ledger::Closed;

use crate::sidecar::Sidecar;
use crate::traffic::PATIENCE;
use crate::{printed, told, tollgate, tollgate_at, traffic};

/// The settings of the channels that [`traffic::channels`] makes.
const SETTINGS: &str = "\
channels:
  - {name: openai, base_url: 'https://api.openai.com/v1'}
  - {name: spare, base_url: 'https://api.openai.com/v1'}
";

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn list(folder: &Path) -> Vec<Value> {
    let text = printed(tollgate(folder, &["channels", "--format", "json"]));
    json(&text).as_array().unwrap().clone()
}

#[test]
fn a_channel_is_closed_and_opened_by_the_sidecar_and_remembered_without_it() {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    fs::write(folder.path().join("tollgate.yaml"), SETTINGS).unwrap();
    let ledger = traffic::open(&data_dir);
    let sidecar = Sidecar::start(&runtime, &ledger, &data_dir, "127.0.0.1:0", None);
    let ask = |arguments: &[&str]| {
        let mut command = tollgate_at(folder.path(), sidecar.address, arguments);
        command.env("LOGNAME", "alice");
        command
    };
    let closing = [
        "channels", "disable", "openai", "--for", "1h 30m", "--reason", "runaway",
    ];
    let closed = printed(ask(&closing));
    assert!(closed.starts_with("openai is closed until 20"), "{closed}");
    assert!(closed.ends_with(" UTC (in 1h 29m).\n") || closed.ends_with(" UTC (in 1h 30m).\n"));
    let table = printed(ask(&["channels"]));
    let lines: Vec<&str> = table.lines().collect();
    assert!(
        lines[1].starts_with("openai  closed  operator alice: runaway  20"),
        "{table}"
    );
    assert!(lines[2].starts_with("spare   open "), "{table}");
    let spare = ["channels", "disable", "spare", "--format", "json"];
    let spare = json(&printed(ask(&spare)));
    assert_eq!(spare["state"], "closed");
    assert_eq!(spare["recorded"], true);
    let opened = printed(ask(&["channels", "enable", "spare", "--reason", "sorry"]));
    assert_eq!(opened, "spare is open.\n");

    assert!(ledger.flush(PATIENCE));
    let events = ["channels", "events", "--format", "json", "--last", "2"];
    let by_sidecar = printed(ask(&events));
    assert_eq!(json(&by_sidecar).as_array().unwrap().len(), 2);
    sidecar.stop(&runtime);
    assert_eq!(ledger.close(PATIENCE), Closed::Complete);

    // Nobody answers: the ledger knows.
    let channels = list(folder.path());
    assert_eq!(channels[0]["state"], "closed");
    assert_eq!(channels[0]["holds"][0]["who"], "alice");
    assert_eq!(channels[0]["in_flight"], Value::Null);
    assert_eq!(channels[1]["state"], "open");
    assert_eq!(printed(tollgate(folder.path(), &events)), by_sidecar);
    let of_one = ["channels", "events", "openai"];
    let of_one = printed(tollgate(folder.path(), &of_one));
    let row: Vec<&str> = of_one.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(
        row[2..7],
        ["openai", "operator", "closed", "closed", "operator"]
    );
    assert!(of_one.ends_with("alice  runaway\n"), "{of_one}");
}

#[test]
fn what_a_killed_sidecar_left_in_the_journal_is_shown() {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    fs::write(folder.path().join("tollgate.yaml"), SETTINGS).unwrap();
    let ledger = traffic::open(&data_dir);
    let sidecar = Sidecar::start(&runtime, &ledger, &data_dir, "127.0.0.1:0", None);
    let closing = ["channels", "disable", "spare"];
    let closed = printed(tollgate_at(folder.path(), sidecar.address, &closing));
    assert_eq!(closed, "spare is closed until it is enabled.\n");
    sidecar.stop(&runtime);
    // As a drop leaves it: perhaps in the journal only.
    drop(ledger);
    assert_eq!(list(folder.path())[1]["state"], "closed");
}

#[test]
fn nothing_is_changed_without_a_sidecar() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [
        &["channels", "disable", "openai"][..],
        &["channels", "enable", "openai"],
    ] {
        let (code, stdout, stderr) = told(tollgate(folder.path(), arguments));
        assert_eq!((code, stdout.as_str()), (1, ""));
        assert!(stderr.contains("nothing was changed"), "{stderr}");
        assert!(stderr.contains("127.0.0.1:1"), "{stderr}");
    }
    // Where nothing was recorded yet every channel is open, and nothing happened.
    let channels = list(folder.path());
    assert_eq!(channels[0]["name"], "openai");
    assert_eq!(channels[0]["state"], "open");
    let events = printed(tollgate(folder.path(), &["channels", "events"]));
    assert_eq!(events, "No such events.\n");
    assert!(!folder.path().join("data").exists());
}

#[test]
fn slips_are_told() {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let ledger = traffic::open(&data_dir);
    let sidecar = Sidecar::start(&runtime, &ledger, &data_dir, "127.0.0.1:0", None);
    for (arguments, expected, told_of) in [
        (
            &["channels", "disable", "opnai"][..],
            1,
            "did you mean `openai`?",
        ),
        (
            &["channels", "disable", "openai", "--for", "soon"],
            64,
            "--for: `soon` is not a length of time",
        ),
        (
            &["channels", "enable", "a/b"],
            64,
            "is no name of a channel",
        ),
        (&["channels", "disable"], 64, "NAME"),
        (&["channels", "lst"], 64, "list"),
    ] {
        let (code, stdout, stderr) = told(tollgate_at(folder.path(), sidecar.address, arguments));
        assert_eq!((code, stdout.as_str()), (expected, ""), "{stderr}");
        assert!(stderr.contains(told_of), "{stderr}");
    }
    sidecar.stop(&runtime);
}
