//! Disks and databases that refuse: requests go on, and nothing is lost once there is room.

use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rusqlite::Connection;
use tempfile::TempDir;

use super::sample::{admission, record};
use super::{Manual, PATIENCE, eventually, open, rows, settings};
use crate::ledger::Closed;
use crate::ledger::database::path_in;
use crate::record::RequestId;

/// A disk that, while it is full, takes some bytes of a write and then no more.
fn fill_up(ledger: &Manual) -> Arc<AtomicBool> {
    let full = Arc::new(AtomicBool::new(true));
    let is_full = Arc::clone(&full);
    ledger
        .journal
        .write_through(Box::new(move |file, bytes, offset| {
            if !is_full.load(Ordering::Relaxed) {
                file.write_at(bytes, offset)
            } else if bytes.len() > 40 {
                file.write_at(&bytes[..40], offset)
            } else {
                Err(io::Error::from(io::ErrorKind::StorageFull))
            }
        }));
    full
}

#[test]
fn a_full_disk_holds_entries_until_there_is_room() {
    let folder = TempDir::new().unwrap();
    let mut ledger = Manual::open(&settings(&folder));
    let mut ids = Vec::new();
    let mut end = |ledger: &Manual, n| {
        let admission = admission(n);
        ids.push(admission.id);
        ledger.journal.admit(&admission);
        ledger.journal.end(&record(admission));
    };
    end(&ledger, 0);
    let full = fill_up(&ledger);
    for n in 1..50 {
        end(&ledger, n);
    }
    assert!(!ledger.journal.is_writable());
    assert_eq!(ledger.stats.held(), 98);
    ledger.round();
    assert_eq!(rows(folder.path()).len(), 1);

    full.store(false, Ordering::Relaxed);
    ledger.journal.retry_held();
    assert!(ledger.journal.is_writable());
    end(&ledger, 50);
    ledger.round();
    let found: Vec<RequestId> = rows(folder.path()).iter().map(|row| row.id).collect();
    assert_eq!(found, ids);
    assert_eq!((ledger.stats.dropped(), ledger.stats.held()), (0, 0));
}

#[test]
fn entries_beyond_the_bound_are_dropped_and_counted() {
    let folder = TempDir::new().unwrap();
    let settings = crate::ledger::Settings {
        held_bytes: 2_000,
        ..settings(&folder)
    };
    let mut ledger = Manual::open(&settings);
    let full = fill_up(&ledger);
    for n in 0..100 {
        ledger.journal.end(&record(admission(n)));
    }
    let held = ledger.stats.held();
    assert!(held > 0);
    assert_eq!(ledger.stats.dropped(), 100 - held);
    full.store(false, Ordering::Relaxed);
    ledger.journal.retry_held();
    ledger.round();
    assert_eq!(rows(folder.path()).len() as u64, held);
}

#[test]
fn a_crash_on_a_full_disk_leaves_a_readable_journal() {
    let folder = TempDir::new().unwrap();
    let ledger = Manual::open(&settings(&folder));
    ledger.journal.end(&record(admission(0)));
    let _full = fill_up(&ledger);
    ledger.journal.end(&record(admission(1)));
    ledger.kill();
    assert_eq!(crate::ledger::catch_up(folder.path()).unwrap(), 1);
}

#[test]
fn a_locked_database_makes_the_journal_wait_and_loses_nothing() {
    let folder = TempDir::new().unwrap();
    let ledger = open(&settings(&folder));
    let (journal, stats) = (ledger.journal(), ledger.stats());
    journal.end(&record(admission(0)));
    assert!(ledger.flush(PATIENCE));
    assert_eq!(stats.lag(), Duration::ZERO);

    let other = Connection::open(path_in(folder.path())).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    for n in 1..200 {
        journal.end(&record(admission(n)));
    }
    eventually("the writer meets the lock", || stats.database_errors() > 0);
    assert!(stats.journal_bytes() > 0);
    assert!(stats.lag() > Duration::ZERO);
    assert!(!ledger.flush(Duration::ZERO));
    assert!(journal.is_writable(), "requests go on");
    assert_eq!(stats.written(), 1);

    other.execute_batch("ROLLBACK").unwrap();
    drop(other);
    assert!(ledger.flush(PATIENCE));
    assert_eq!(rows(folder.path()).len(), 200);
    assert_eq!((stats.journal_bytes(), stats.written()), (0, 200));
}

#[test]
fn what_is_too_large_for_an_entry_is_cut_and_recorded() {
    let folder = TempDir::new().unwrap();
    let mut ledger = Manual::open(&settings(&folder));
    let mut admission = admission(0);
    admission.end_user = Some("ü".repeat(2 << 20).into());
    ledger.journal.admit(&admission);
    ledger.journal.end(&record(admission));
    ledger.round();
    let [row] = rows(folder.path()).try_into().unwrap();
    assert_eq!(row.end_user.unwrap(), "ü".repeat(512));
    assert_eq!(row.usage.total, Some(120));
}

#[test]
fn a_database_locked_at_the_start_is_no_reason_not_to_start() {
    let folder = TempDir::new().unwrap();
    assert_eq!(open(&settings(&folder)).close(PATIENCE), Closed::Complete);
    let other = Connection::open(path_in(folder.path())).unwrap();
    other
        .execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; SELECT * FROM meta")
        .unwrap();
    let ledger = open(&settings(&folder));
    ledger.journal().end(&record(admission(0)));
    drop(other);
    assert!(ledger.flush(PATIENCE));
    assert_eq!(rows(folder.path()).len(), 1);
}

#[test]
fn a_file_that_is_no_database_is_refused_by_name() {
    let folder = TempDir::new().unwrap();
    std::fs::write(path_in(folder.path()), "x".repeat(5_000)).unwrap();
    let error = crate::ledger::Ledger::open(&settings(&folder), crate::ledger::Takeover::Refuse)
        .unwrap_err()
        .to_string();
    assert!(error.contains("tollgate.db"), "{error}");
}
