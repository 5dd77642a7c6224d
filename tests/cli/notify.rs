//! `tollgate notify list`, with a sidecar and without.

use std::path::Path;

use serde_json::Value;
use tokio::runtime::Runtime;
use tollgate::ledger::Closed;

use crate::sidecar::Sidecar;
use crate::traffic::PATIENCE;
use crate::traffic::told::{id, tell};
use crate::{printed, told, tollgate, tollgate_at, traffic};

fn with_told() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let ledger = traffic::open(&folder.path().join("data"));
    tell(&ledger);
    assert_eq!(ledger.close(PATIENCE), Closed::Complete);
    folder
}

fn list(folder: &Path, arguments: &[&str]) -> String {
    printed(tollgate(folder, &[&["notify", "list"], arguments].concat()))
}

/// The ids of the notifications that are listed.
fn listed(folder: &Path, arguments: &[&str]) -> Vec<String> {
    let json = list(folder, &[arguments, &["--format", "json"]].concat());
    let json: Value = serde_json::from_str(&json).unwrap();
    let told = json.as_array().unwrap().iter();
    told.map(|told| told["id"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn what_was_told_reads_well_and_does_not_steer_the_terminal() {
    let folder = with_told();
    let table = list(folder.path(), &[]);
    insta::assert_snapshot!("notify_list", table);
    assert!(!table.contains('\u{1b}'), "an escape sequence came through");
    let csv = list(folder.path(), &["--format", "csv"]);
    insta::assert_snapshot!("notify_list_csv", csv.replace("\r\n", "\n"));
}

#[test]
fn notifications_are_found_by_what_they_are() {
    let folder = with_told();
    for (arguments, expected) in [
        (&[][..], &[3, 2, 1, 0][..]),
        (&["--last", "2"], &[3, 2]),
        (&["--receiver", "mail"], &[3, 1]),
        (&["--result", "open"], &[3]),
        (&["--result", "dead", "--receiver", "mail"], &[1]),
        (&["--kind", "channel"], &[3]),
        (&["--since", "2026-11-20T10:02:00Z"], &[3, 2]),
    ] {
        let expected: Vec<_> = expected.iter().map(|&n| id(n).to_string()).collect();
        assert_eq!(listed(folder.path(), arguments), expected, "{arguments:?}");
    }
    let none = list(folder.path(), &["--receiver", "nobody"]);
    assert_eq!(none, "No such notifications.\n");
    let (code, _, said) = told(tollgate(
        folder.path(),
        &["notify", "list", "--result", "lost"],
    ));
    assert_eq!(code, 64);
    assert!(
        said.contains("open, sent, merged, replaced, dead"),
        "{said}"
    );
}

#[test]
fn where_nothing_was_recorded_nothing_was_told() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(list(folder.path(), &[]), "No such notifications.\n");
    assert_eq!(list(folder.path(), &["--format", "json"]), "[]\n");
    assert!(!folder.path().join("data").exists());
}

#[test]
fn the_sidecar_and_the_files_give_one_answer() {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let ledger = traffic::open(&data_dir);
    tell(&ledger);
    let sidecar = Sidecar::start(&runtime, &ledger, &data_dir, "127.0.0.1:0", None);
    let questions = [
        &["notify", "list", "--format", "json"][..],
        &["notify", "list", "--kind", "alert", "--last", "2"],
        &["notify", "list", "--result", "open", "--format", "csv"],
        &["notify", "list", "--since", "2026-11-20T10:02:00Z"],
    ];
    let asked =
        questions.map(|question| printed(tollgate_at(folder.path(), sidecar.address, question)));
    sidecar.stop(&runtime);
    assert_eq!(ledger.close(PATIENCE), Closed::Complete);
    for (question, asked) in questions.into_iter().zip(asked) {
        let read = printed(tollgate(folder.path(), question));
        assert_eq!(read, asked, "{question:?}");
    }
}
