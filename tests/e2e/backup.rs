//! A backup that is made while requests pass, and the way back: the requests are there, keys work.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use serde_json::json;

use crate::support::answers;
use crate::support::client::{Request, Response};
use crate::support::ledger::Ledger;
use crate::support::tollgate::{Setup, Tollgate, command};
use crate::support::upstream::Upstream;

/// What is no part of a ledger: locks, and what SQLite needs while a database is open.
const PASSING: [&str; 3] = ["tollgate.lock", "tollgate.db-wal", "tollgate.db-shm"];

fn chat(key: &str, stream: bool) -> Request {
    let messages = json!([{"role": "user", "content": "plain"}]);
    let body = json!({"model": "gpt-5-mini", "messages": messages, "stream": stream});
    Request::new("POST", "/v1/chat/completions")
        .header("authorization", &format!("Bearer {key}"))
        .header("content-type", "application/json")
        .body(body.to_string())
}

fn ok(output: Output) -> Vec<u8> {
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

/// Paths of all files below a folder, from it.
fn files(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(inside) = folders.pop() {
        for entry in fs::read_dir(folder.join(&inside)).unwrap() {
            let entry = entry.unwrap();
            let path = inside.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else {
                found.insert(path.to_str().unwrap().to_owned());
            }
        }
    }
    found
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

/// `tollgate restore -` with this archive.
fn restore_archive(tollgate: &Tollgate, archive: &Path) -> Output {
    let mut command = command();
    command.args(["restore", "-", "--config"]);
    command.arg(tollgate.config());
    command.stdin(fs::File::open(archive).unwrap());
    command.stderr(Stdio::piped()).output().unwrap()
}

/// A Tollgate with all that a data folder can have, its key, and an answer from before the backup.
fn busy(upstream: &Upstream) -> (Tollgate, String, Response) {
    let tollgate = Setup::upstream(&upstream.base_url())
        .setting("payloads: {capture: all}")
        .start();
    let key = ok(tollgate.run(&["keys", "create", "ci"]));
    let key = String::from_utf8(key).unwrap().trim().to_owned();
    let catalogue = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/prices/litellm.json"
    );
    ok(tollgate.run(&["prices", "update", "--from", catalogue]));
    let answer = tollgate.send(&chat(&key, false));
    assert_eq!(answer.status, 200, "{answer:?}");
    (tollgate, key, answer)
}

/// The request from before the backup is there, the one after it is not; the key works and is needed.
fn assert_restored(tollgate: &Tollgate, key: &str, before: &Response, after: &Response) {
    let detail = |answer: &Response| {
        let id = answer.request_id();
        tollgate.admin(&format!("/api/v1/requests/{id}"))
    };
    assert_eq!(detail(before).json()["outcome"], "ok");
    assert_eq!(detail(before).json()["key"], "ci");
    assert_eq!(detail(after).status, 404);
    assert_eq!(tollgate.send(&chat(key, false)).status, 200);
    assert_eq!(tollgate.send(&chat("sk-own", false)).status, 401);
    let log = tollgate.log();
    assert!(!log.contains("set aside"), "{log}");
}

#[test]
fn a_folder_made_while_it_runs_becomes_the_same_tollgate_again() {
    let upstream = Upstream::start(answers::provider);
    let (mut tollgate, key, before) = busy(&upstream);
    // At once: what the database lacks yet is in the journal.
    let room = tempfile::tempdir().unwrap();
    let backup = room.path().join("monday");
    let target = backup.to_str().unwrap();
    let said = ok(tollgate.run(&["backup", target, "--payloads"]));
    let said = String::from_utf8(said).unwrap();
    for part in [
        "tollgate.db",
        "journal/",
        "key-secret",
        "keys-required",
        "prices/catalogue",
    ] {
        assert!(said.contains(part), "{said}");
    }
    assert!(
        said.contains("tollgate.yaml and the files that it names"),
        "{said}"
    );
    assert_eq!(mode(&backup), 0o700);
    for file in files(&backup) {
        assert_eq!(mode(&backup.join(&file)), 0o600, "{file}");
    }
    let after = tollgate.send(&chat(&key, true));
    let again = tollgate.run(&["backup", target]);
    assert_eq!(again.status.code(), Some(1));
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(said.contains("is not empty"), "{said}");

    // Everything that a data folder has is in it.
    let passing = |file: &&String| {
        PASSING.contains(&file.as_str())
            || Path::new(file).extension().is_some_and(|it| it == "lock")
    };
    let kept = files(&backup);
    for file in files(&tollgate.data_dir())
        .iter()
        .filter(|file| !passing(file))
    {
        let later = file.starts_with("payloads/");
        assert!(later || kept.contains(file), "{file} is not in {kept:?}");
    }

    let running = tollgate.run(&["restore", target, "--replace"]);
    let said = String::from_utf8_lossy(&running.stderr).into_owned();
    assert!(said.contains("is in use by another tollgate"), "{said}");
    tollgate.kill();
    let held = tollgate.run(&["restore", target]);
    let said = String::from_utf8_lossy(&held.stderr).into_owned();
    assert!(said.contains("holds tollgate.db, "), "{said}");
    assert!(said.contains("--replace"), "{said}");
    let replaced = tollgate.run(&["restore", target, "--replace"]);
    let said = String::from_utf8_lossy(&replaced.stderr).into_owned();
    assert!(said.contains("what was there is in"), "{said}");
    ok(replaced);
    let data_dir = tollgate.data_dir();
    assert_eq!(mode(&data_dir.join("tollgate.db")), 0o600);
    assert_eq!(mode(&data_dir.join("prices")), 0o700);
    tollgate.start_again();
    assert_restored(&tollgate, &key, &before, &after);
    let aside = fs::read_dir(&data_dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let aside: Vec<_> = aside
        .filter(|path| path.to_str().unwrap().contains("/replaced-"))
        .collect();
    assert_eq!(aside.len(), 1, "{aside:?}");
    assert!(!data_dir.join("restore.unfinished").exists());
    // What was replaced is whole.
    let old = Ledger::at(&aside[0].join("tollgate.db"));
    assert_eq!(old.integrity(), "ok");
}

#[test]
fn an_archive_becomes_a_new_data_folder() {
    let upstream = Upstream::start(answers::provider);
    let (mut tollgate, key, before) = busy(&upstream);
    let archive = ok(tollgate.run(&["backup", "-"]));
    let after = tollgate.send(&chat(&key, false));
    assert_eq!(after.status, 200);
    assert!(!tollgate.data_dir().join("backup.unfinished").exists());
    tollgate.kill();

    let room = tempfile::tempdir().unwrap();
    let whole = room.path().join("whole.tar");
    fs::write(&whole, &archive).unwrap();
    tollgate.edit(|settings| settings.replace("./data", "./elsewhere/data"));
    let data_dir = tollgate.config().parent().unwrap().join("elsewhere/data");
    // Cut off anywhere it is none, and nothing of it stays.
    let cut = room.path().join("cut.tar");
    for bytes in [0, 100, 5_000, archive.len() / 2, archive.len() - 2_048] {
        fs::write(&cut, &archive[..bytes]).unwrap();
        let refused = restore_archive(&tollgate, &cut);
        assert_eq!(refused.status.code(), Some(1), "{bytes}");
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(said.contains("no whole backup"), "{bytes}: {said}");
        let left = files(&data_dir);
        assert_eq!(
            left,
            BTreeSet::from(["tollgate.lock".to_owned()]),
            "{bytes}"
        );
    }
    ok(restore_archive(&tollgate, &whole));
    assert_eq!(mode(&data_dir), 0o700);
    tollgate.start_again();
    assert_restored(&tollgate, &key, &before, &after);
}
