//! `tollgate silences`.

use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tollgate::ledger::Closed;

use crate::sidecar::Sidecar;
use crate::traffic::PATIENCE;
use crate::{printed, told, tollgate, tollgate_at, traffic};

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_silence_is_made_and_ended_by_the_sidecar_and_listed_without_it() {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let ledger = traffic::open(&data_dir);
    let sidecar = Sidecar::start(&runtime, &ledger, &data_dir, "127.0.0.1:0", None);
    let ask = |arguments: &[&str]| {
        let mut command = tollgate_at(folder.path(), sidecar.address, arguments);
        command.env("LOGNAME", "alice");
        command
    };
    assert_eq!(printed(ask(&["silences"])), "There are no silences.\n");

    let made = printed(ask(&[
        "silences",
        "add",
        "rule=Spend*",
        "tag:team=a=b",
        "--for",
        "1h 30m",
        "--comment",
        "a planned\u{1b}[2J move",
    ]));
    assert!(
        made.starts_with("Nobody is told of rule=Spend* tag:team=a=b until 20"),
        "{made}"
    );
    let id = made.split('`').nth(1).unwrap();
    let id = id.strip_prefix("tollgate silences end ").unwrap();
    let second = printed(ask(&[
        "silences",
        "add",
        "channel=openai",
        "--for",
        "2h",
        "--who",
        "bob",
        "--format",
        "json",
    ]));
    let second = parsed(&second);
    assert_eq!(second["created_by"], "bob");
    assert_eq!(second["matchers"], json!({"channel": "openai"}));

    let list = parsed(&printed(ask(&["silences", "list", "--format", "json"])));
    assert_eq!(list[0]["id"], id);
    assert_eq!(list[0]["created_by"], "alice");
    assert_eq!(list[0]["comment"], "a planned\u{1b}[2J move");
    assert_eq!(
        list[0]["matchers"],
        json!({"rule": "Spend*", "tag:team": "a=b"})
    );
    assert_eq!(list[1], second);
    let moment = |name: &str| {
        let text = list[0][name].as_str().unwrap();
        text.parse::<jiff::Timestamp>().unwrap()
    };
    let lasts = moment("ends_at").duration_since(moment("starts_at"));
    assert_eq!(lasts, jiff::SignedDuration::from_mins(90));
    let table = printed(ask(&["silences"]));
    let row = table.lines().nth(1).unwrap();
    assert!(row.starts_with(&format!("{id}  active  rule=Spend* tag:team=a=b  20")));
    assert!(row.ends_with("alice  a planned\u{fffd}[2J move"), "{table}");

    let ended = printed(ask(&["silences", "end", id]));
    assert_eq!(ended, "rule=Spend* tag:team=a=b is silenced no longer.\n");
    let (code, _, said) = told(ask(&["silences", "end", id]));
    assert_eq!(code, 1);
    assert!(said.contains("already"), "{said}");
    let all = ["silences", "--all", "--format", "json"];
    let by_sidecar = printed(ask(&all));
    sidecar.stop(&runtime);
    assert_eq!(ledger.close(PATIENCE), Closed::Complete);

    // Nobody answers: the ledger knows.
    let list = ["silences", "list", "--format", "json"];
    assert_eq!(
        parsed(&printed(tollgate(folder.path(), &list))),
        json!([second])
    );
    assert_eq!(printed(tollgate(folder.path(), &all)), by_sidecar);
    let table = printed(tollgate(folder.path(), &["silences", "list", "--all"]));
    assert!(
        table
            .lines()
            .nth(1)
            .unwrap()
            .starts_with(&format!("{id}  over ")),
        "{table}"
    );
}

#[test]
fn nothing_is_silenced_without_a_sidecar() {
    let folder = tempfile::tempdir().unwrap();
    let id = "019aa0b0-0000-7000-8000-000000000001";
    for arguments in [
        &["silences", "add", "rule=*", "--for", "1h"][..],
        &["silences", "end", id],
    ] {
        let (code, stdout, stderr) = told(tollgate(folder.path(), arguments));
        assert_eq!((code, stdout.as_str()), (1, ""));
        assert!(stderr.contains("nothing was changed"), "{stderr}");
        assert!(stderr.contains("127.0.0.1:1"), "{stderr}");
    }
    for arguments in [&["silences"][..], &["silences", "list"]] {
        let none = printed(tollgate(folder.path(), arguments));
        assert_eq!(none, "There are no silences.\n");
    }
    let none = printed(tollgate(folder.path(), &["silences", "list", "--all"]));
    assert_eq!(none, "There were no silences.\n");
}

#[test]
fn what_is_no_silence_is_refused_before_anybody_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, remedy) in [
        (&["add", "rule", "--for", "1h"][..], "write NAME=VALUE"),
        (&["add", "=x", "--for", "1h"], "write NAME=VALUE"),
        (&["add", "--for", "1h"], "NAME=VALUE"),
        (&["add", "rule=a"], "--for"),
        (&["add", "rule=a", "--for", "soon"], "--for"),
        (&["add", "rule=a", "--for", "5M"], "months"),
        (
            &["add", "rule=a", "rule=b", "--for", "1h"],
            "`rule` is given twice",
        ),
        (&["end", "1"], "ID"),
    ] {
        let arguments = [&["silences"], arguments].concat();
        let (code, _, said) = told(tollgate(folder.path(), &arguments));
        assert_eq!(code, 64, "{arguments:?}: {said}");
        assert!(said.contains(remedy), "{arguments:?}: {said}");
    }
}
