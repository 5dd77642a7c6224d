//! `tollgate prices reprice`.

use std::path::Path;

use serde_json::Value;
use tokio::runtime::Runtime;
use tollgate::ledger::Closed;
use tollgate::record::{Cost, RequestRecord};

use crate::sidecar::Sidecar;
use crate::traffic::{PATIENCE, id, mixed, plain, record};
use crate::{printed, told, tollgate, tollgate_at, traffic};

/// [`mixed`] and some that were priced wrongly, not at all, by the provider, or by a row that is
/// gone.
fn wrongly_priced() -> Vec<RequestRecord> {
    let mut requests = mixed();
    let mut add = |n, change: fn(&mut RequestRecord)| {
        let mut request = plain(n);
        change(&mut request);
        requests.push(request);
    };
    let wrong = |request: &mut RequestRecord| {
        if let Some(cost) = &mut request.cost {
            cost.amount.0 = 700_000;
        }
    };
    add(10, wrong);
    add(11, wrong);
    add(12, |request| request.cost = None);
    add(13, |request| {
        if let Some(cost) = &mut request.cost {
            cost.price_version = Cost::STATED.into();
            cost.amount.0 = 999_999;
        }
    });
    add(14, |request| {
        request.served_model = Some("retired-1".into());
    });
    requests
}

fn reprice(arguments: &[&'static str]) -> Vec<&'static str> {
    let fixed = [
        "prices",
        "reprice",
        "--since",
        "2026-11-20",
        "--until",
        "2026-11-21",
    ];
    [&fixed, arguments].concat()
}

fn total_cost(folder: &Path) -> String {
    let usage = ["usage", "--since", "2026-11-20", "--format", "json"];
    let usage: Value = serde_json::from_str(&printed(tollgate(folder, &usage))).unwrap();
    usage["total"]["cost_usd"].as_str().unwrap().to_owned()
}

/// Takes out what each run has of its own.
fn without_times(text: &str) -> String {
    let lines = text.lines().map(|line| match line.split_once(" until 20") {
        Some((before, after)) if line.contains("(run ") => {
            let run = after.find(" (run ").unwrap();
            format!("{before} until […]{}\n", &after[run..])
        }
        _ => format!("{line}\n"),
    });
    lines.collect()
}

#[test]
fn without_a_sidecar_the_files_are_priced_anew() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = traffic::open(&folder.path().join("data"));
    record(&ledger, &wrongly_priced());
    assert_eq!(ledger.close(PATIENCE), Closed::Complete);
    let folder = folder.path();
    let before = total_cost(folder);

    insta::assert_snapshot!(
        "reprice_dry_run",
        printed(tollgate(folder, &reprice(&["--dry-run"])))
    );
    assert_eq!(total_cost(folder), before);
    let mut command = tollgate(folder, &reprice(&[]));
    command.env("USER", "alice");
    insta::assert_snapshot!("reprice", printed(command));
    assert_ne!(total_cost(folder), before);
    let id = id(10).to_string();
    insta::assert_snapshot!(
        "request_repriced",
        without_times(&printed(tollgate(folder, &["requests", "--id", &id])))
    );
    insta::assert_snapshot!("reprice_again", printed(tollgate(folder, &reprice(&[]))));
    let json = printed(tollgate(
        folder,
        &reprice(&["--json", "--model", "gpt-5-mini"]),
    ));
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["total"]["requests"], 5, "{json:#}");
    assert_eq!(json["total"]["new_cost_usd"], "0.002049999");
}

#[test]
fn a_running_sidecar_does_it_itself() {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let ledger = traffic::open(&data_dir);
    record(&ledger, &wrongly_priced());
    let sidecar = Sidecar::start(&runtime, &ledger, &data_dir, "127.0.0.1:0", None);
    let ask = |arguments: &[&'static str]| {
        let answer = printed(tollgate_at(
            folder.path(),
            sidecar.address,
            &reprice(arguments),
        ));
        serde_json::from_str::<Value>(&answer).unwrap()
    };
    let foreseen = ask(&["--json", "--dry-run"]);
    let done = ask(&["--json"]);
    assert_eq!(done["run"], 1);
    assert_eq!(done["total"], foreseen["total"]);
    assert_eq!(done["total"]["changed_requests"], 3);
    assert_eq!(total_cost(folder.path()), done["total"]["new_cost_usd"]);
    assert_eq!(ask(&["--json"])["total"]["changed_requests"], 0);
    sidecar.stop(&runtime);

    // It writes still, but cannot be asked.
    let (code, stdout, stderr) = told(tollgate(folder.path(), &reprice(&[])));
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.contains("is in use by another tollgate"), "{stderr}");
}

#[test]
fn a_sidecar_that_wants_a_token_is_not_worked_around() {
    let runtime = Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let ledger = traffic::open(&data_dir);
    record(&ledger, &wrongly_priced());
    let sidecar = Sidecar::start(&runtime, &ledger, &data_dir, "127.0.0.1:0", Some("t"));
    let (code, stdout, stderr) = told(tollgate_at(folder.path(), sidecar.address, &reprice(&[])));
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.contains("nothing was changed"), "{stderr}");
    assert!(stderr.contains("answered 401"), "{stderr}");
    sidecar.stop(&runtime);
}

#[test]
fn arguments_that_make_no_sense_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, told_of) in [
        (&["prices", "reprice"][..], "--since"),
        (
            &["prices", "reprice", "--since", "soon"],
            "`soon` is not a time",
        ),
        (
            &["prices", "reprice", "--since", "1d", "--until", "2d"],
            "--until must be later than --since",
        ),
    ] {
        let (code, _, stderr) = told(tollgate(folder.path(), arguments));
        assert_eq!(code, 64, "{stderr}");
        assert!(stderr.contains(told_of), "{stderr}");
    }
    let (code, _, stderr) = told(tollgate(folder.path(), &reprice(&[])));
    assert_eq!(code, 1);
    assert!(stderr.contains("there is no ledger"), "{stderr}");
    assert!(!folder.path().join("data").exists());
}
