//! Several processes on one folder: refused, or one after the other without losing a request.
//! Locks belong to open files, so two ledgers in one process meet as two processes do.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use super::sample::{admission, record};
use super::{PATIENCE, eventually, open, query_number, rows, settings};
use crate::ledger::{Closed, Ledger, OpenError, Opener, Reader, Takeover, catch_up};
use crate::record::{Api, Deferral, Outcome, RequestId, Usage, UsageSource};

fn end_one(ledger: &Ledger, n: u64) -> RequestId {
    let admission = admission(n);
    let id = admission.id;
    ledger.journal().admit(&admission);
    ledger.journal().end(&record(admission));
    id
}

fn ids(folder: &TempDir) -> BTreeSet<RequestId> {
    let rows = rows(folder.path());
    let ids: BTreeSet<_> = rows.iter().map(|row| row.id).collect();
    assert_eq!(ids.len(), rows.len(), "no request twice");
    assert!(rows.iter().all(|row| row.outcome == Outcome::Ok));
    ids
}

#[test]
fn a_second_process_is_refused_by_name() {
    let folder = TempDir::new().unwrap();
    let first = open(&settings(&folder));
    let error = Ledger::open(&settings(&folder), Takeover::Refuse).unwrap_err();
    assert!(matches!(error, OpenError::InUse { pid: Some(pid), .. } if pid == std::process::id()));
    let text = error.to_string();
    assert!(text.contains(folder.path().to_str().unwrap()), "{text}");
    assert!(matches!(
        catch_up(folder.path()),
        Err(OpenError::InUse { .. })
    ));
    end_one(&first, 0);
    assert_eq!(first.close(PATIENCE), Closed::Complete);
    assert_eq!(open(&settings(&folder)).close(PATIENCE), Closed::Complete);
    assert_eq!(ids(&folder).len(), 1);
}

#[test]
fn an_upgrade_hands_the_writing_over_while_both_append() {
    let folder = TempDir::new().unwrap();
    let old = open(&settings(&folder));
    let mut expected = BTreeSet::new();
    expected.insert(end_one(&old, 0));
    // Open across the hand-over: admitted by the old process before, ended after.
    let long = admission(1);
    old.journal().admit(&long);
    assert!(old.flush(PATIENCE));

    let new = Ledger::open(&settings(&folder), Takeover::Wait).unwrap();
    expected.insert(end_one(&new, 2));
    assert!(!new.flush(Duration::ZERO), "the old process still writes");
    old.hand_over();
    assert!(new.flush(PATIENCE), "the new process has taken over");

    for n in 3..100 {
        expected.insert(end_one(&old, n));
        expected.insert(end_one(&new, n));
    }
    expected.insert(long.id);
    old.journal().end(&record(long));
    eventually("the new process commits what the old one appends", || {
        Reader::open(folder.path()).unwrap();
        query_number(folder.path(), "SELECT count(*) FROM requests") == 197
    });
    // The old one has nothing to commit any more: its role is gone.
    assert_eq!(old.close(PATIENCE), Closed::HandedOver);
    expected.insert(end_one(&new, 100));
    assert_eq!(new.close(PATIENCE), Closed::Complete);
    assert_eq!(ids(&folder), expected);
    assert_eq!(
        query_number(folder.path(), "SELECT count(*) FROM journal_streams"),
        0
    );
}

#[test]
fn an_upgrade_takes_over_from_a_process_that_dies() {
    let folder = TempDir::new().unwrap();
    let old = super::Manual::open(&settings(&folder));
    let (done, open) = (admission(0), admission(1));
    old.journal.end(&record(done));
    old.journal.admit(&open);
    let new = Ledger::open(&settings(&folder), Takeover::Wait).unwrap();
    end_one(&new, 2);
    old.kill();
    assert_eq!(new.close(PATIENCE), Closed::Complete);
    let rows = rows(folder.path());
    assert_eq!(rows.len(), 3);
    let interrupted: Vec<_> = rows
        .iter()
        .filter(|row| row.outcome == Outcome::Interrupted)
        .collect();
    assert_eq!(interrupted.len(), 1);
    assert_eq!(interrupted[0].id, open.id);
}

#[test]
fn nobody_taking_over_changes_nothing() {
    let folder = TempDir::new().unwrap();
    let old = open(&settings(&folder));
    old.hand_over();
    end_one(&old, 0);
    assert_eq!(old.close(PATIENCE), Closed::Complete);
    assert_eq!(ids(&folder).len(), 1);
}

#[test]
fn many_threads_append_at_once() {
    let folder = TempDir::new().unwrap();
    let ledger = open(&settings(&folder));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let ledger = &ledger;
            scope.spawn(move || {
                for n in 0..250 {
                    end_one(ledger, thread * 1_000 + n);
                }
            });
        }
    });
    assert_eq!(ledger.close(PATIENCE), Closed::Complete);
    assert_eq!(ids(&folder).len(), 1_000);
}

#[test]
fn after_the_end_entries_are_counted_as_dropped() {
    let folder = TempDir::new().unwrap();
    let ledger = open(&settings(&folder));
    let (journal, stats) = (ledger.journal(), ledger.stats());
    let open = admission(0);
    journal.admit(&open);
    assert_eq!(ledger.close(PATIENCE), Closed::Complete);
    journal.end(&record(open));
    assert_eq!(stats.dropped(), 1);
    assert_eq!(stats.interrupted(), 1);
    assert_eq!(rows(folder.path())[0].outcome, Outcome::Interrupted);
}

#[test]
fn usage_that_another_process_awaits_is_left_to_the_ledger() {
    let folder = TempDir::new().unwrap();
    let old = open(&settings(&folder));
    let now = record(admission(0)).admission.started_at;
    let settles = |ledger: &Ledger, id: &str| {
        let id: Arc<str> = id.into();
        ledger.deferred().settle(Api::Responses, &id, None, now)
    };
    let unknown = AtomicUsize::new(0);
    // An id of its own for each look: one that was let through is known.
    let settles_unknown = |ledger: &Ledger| {
        let n = unknown.fetch_add(1, Ordering::Relaxed);
        settles(ledger, &format!("resp_unknown_{n}"))
    };
    eventually("alone, it knows all there is", || !settles_unknown(&old));

    // Already while the new one only waits for the role.
    let new = Ledger::open(&settings(&folder), Takeover::Wait).unwrap();
    eventually("the other one is seen", || settles_unknown(&old));
    old.hand_over();
    assert!(settles_unknown(&old));
    assert!(new.flush(PATIENCE), "the new process has taken over");
    let mut made = record(admission(1));
    made.admission.api = Api::Responses;
    made.response_id = Some("resp_of_the_new".into());
    made.deferral = Some(Deferral::Opened);
    made.usage = Usage::absent(UsageSource::Missing);
    made.cost = None;
    new.journal().end(&made);
    new.deferred()
        .open(&"resp_of_the_new".into(), Opener::default());
    assert!(new.flush(PATIENCE));
    // A kept connection still asks the old one.
    assert!(settles(&old, "resp_of_the_new"));
    let mut told = record(admission(2));
    told.admission.api = Api::Responses;
    told.response_id = Some("resp_of_the_new".into());
    told.deferral = Some(Deferral::Settled);
    old.journal().end(&told);
    assert!(settles_unknown(&new), "the old one may have begun it");
    assert_eq!(old.close(PATIENCE), Closed::HandedOver);
    eventually("the new one is alone", || !settles_unknown(&new));
    assert_eq!(new.close(PATIENCE), Closed::Complete);
    assert_eq!(
        query_number(folder.path(), "SELECT sum(total_tokens) FROM requests"),
        120
    );
}
