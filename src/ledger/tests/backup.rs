//! A copy that was made while requests were recorded becomes a ledger with each of them once.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use super::sample::{admission, record};
use super::{Manual, assert_sound, rows, settings};
use crate::ledger::{Claim, CopyError, OpenError, QueryError, Snapshot, catch_up};
use crate::record::Outcome;

/// Whether everything of the write-ahead log can go into the database, and the log begin anew.
fn can_begin_anew(data_dir: &Path) -> bool {
    let connection = rusqlite::Connection::open(data_dir.join("tollgate.db")).unwrap();
    connection.busy_timeout(Duration::ZERO).unwrap();
    let blocked: i64 = connection
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
        .unwrap();
    blocked == 0
}

/// What a restored folder looks like: the database and the journal of the snapshot, whose names are
/// returned.
fn restore(snapshot: Snapshot, data_dir: &Path) -> Vec<String> {
    fs::create_dir_all(data_dir.join("journal")).unwrap();
    let journal = snapshot.copy_to(&data_dir.join("tollgate.db")).unwrap();
    let copied = journal.into_iter().map(|file| {
        let mut copy = File::create(data_dir.join("journal").join(&file.name)).unwrap();
        std::io::copy(&mut file.file.take(file.bytes), &mut copy).unwrap();
        copy.flush().unwrap();
        file.name
    });
    copied.collect()
}

/// The outcome of each request.
fn outcomes(data_dir: &Path) -> BTreeMap<String, Outcome> {
    let rows = rows(data_dir).into_iter();
    rows.map(|row| (row.id.to_string(), row.outcome)).collect()
}

#[test]
fn a_copy_holds_what_had_ended_and_what_was_open_each_once() {
    let folder = TempDir::new().unwrap();
    let settings = crate::ledger::Settings {
        // So that the sidecar deletes files while the copy is made.
        segment_bytes: 300,
        ..settings(&folder)
    };
    let mut manual = Manual::open(&settings);
    let requests: Vec<_> = (0..40).map(admission).collect();
    let admit = |manual: &Manual, n: usize| manual.journal.admit(&requests[n]);
    let end = |manual: &Manual, n: usize| manual.journal.end(&record(requests[n].clone()));
    // Committed; ended and not committed; open and known to the database; open and not known.
    admit(&manual, 0);
    end(&manual, 0);
    admit(&manual, 1);
    manual.round();
    admit(&manual, 2);
    end(&manual, 2);
    admit(&manual, 3);

    let snapshot = Snapshot::take(folder.path()).unwrap();
    // It goes on while the copy is made.
    end(&manual, 1);
    end(&manual, 3);
    for n in 4..40 {
        admit(&manual, n);
        end(&manual, n);
        manual.round();
    }
    let kept = |name: &str| folder.path().join("journal").join(name).exists();
    let restored = TempDir::new().unwrap();
    let journal = restore(snapshot, restored.path());
    assert!(
        journal.iter().any(|name| !kept(name)),
        "the sidecar deleted none"
    );
    catch_up(restored.path()).unwrap();

    assert_sound(restored.path());
    let expected = [
        (0, Outcome::Ok),
        (1, Outcome::Interrupted),
        (2, Outcome::Ok),
        (3, Outcome::Interrupted),
    ];
    let expected = expected.map(|(n, outcome)| (requests[n].id.to_string(), outcome));
    assert_eq!(outcomes(restored.path()), BTreeMap::from(expected));
    assert!(!restored.path().join("journal/rejected").exists());
    let mode = |name| fs::metadata(restored.path().join(name)).unwrap().mode() & 0o777;
    assert_eq!(mode("tollgate.db"), 0o600);
    // And nothing happened to where it came from.
    assert_eq!(rows(folder.path()).len(), 40);
}

#[test]
fn a_copy_that_waits_for_its_reader_holds_nothing_up() {
    let folder = TempDir::new().unwrap();
    let mut manual = Manual::open(&settings(&folder));
    let request = admission(0);
    manual.journal.admit(&request);
    manual.round();
    let snapshot = Snapshot::take(folder.path()).unwrap();
    manual.journal.end(&record(request));
    manual.round();
    assert!(!can_begin_anew(folder.path()), "the snapshot reads it");
    let copy = TempDir::new().unwrap();
    let _journal = snapshot.copy_to(&copy.path().join("copy.db")).unwrap();
    assert!(can_begin_anew(folder.path()));
}

#[test]
fn a_folder_without_a_ledger_is_told_and_one_in_use_is_not_claimed() {
    let folder = TempDir::new().unwrap();
    let error = Snapshot::take(folder.path()).unwrap_err();
    assert!(
        matches!(error, CopyError::Read(QueryError::NoLedger { .. })),
        "{error}"
    );
    let manual = Manual::open(&settings(&folder));
    let error = Claim::of(folder.path()).unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    manual.kill();
    Claim::of(folder.path()).unwrap();
}
