//! A copy that was made while requests were recorded becomes a ledger with each of them once.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use tempfile::TempDir;

use super::sample::{admission, record};
use super::{Manual, assert_sound, rows, settings};
use crate::ledger::{Claim, CopyError, OpenError, QueryError, Snapshot, catch_up};
use crate::record::Outcome;

/// What a restored folder looks like: the database and the journal of the snapshot.
fn restore(snapshot: Snapshot, data_dir: &Path) {
    fs::create_dir_all(data_dir.join("journal")).unwrap();
    snapshot.copy_to(&data_dir.join("tollgate.db")).unwrap();
    for file in snapshot.journal {
        let mut copy = File::create(data_dir.join("journal").join(file.name)).unwrap();
        std::io::copy(&mut file.file.take(file.bytes), &mut copy).unwrap();
        copy.flush().unwrap();
    }
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
    assert!(
        snapshot.journal.iter().any(|file| !kept(&file.name)),
        "the sidecar deleted none"
    );
    let restored = TempDir::new().unwrap();
    restore(snapshot, restored.path());
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
