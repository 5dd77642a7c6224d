//! Usage that is told later counts once, whatever is killed in between.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;

use super::sample::{START, admission, record};
use super::windows::assert_windows_are_the_rows;
use super::{Manual, query_number, rows, settings};
use crate::clock::UnixMicros;
use crate::ledger::{Opener, Settings};
use crate::record::{Api, Deferral, RequestRecord, Usage, UsageSource};

/// Tokens and nano-dollars of a sample record.
const TOTAL: i64 = 120;
const COST: i64 = 65_000;

fn made(n: u64, api: Api, id: &str, deferral: Deferral) -> RequestRecord {
    let mut record = record(admission(n));
    record.admission.api = api;
    record.response_id = Some(id.into());
    record.deferral = Some(deferral);
    if deferral == Deferral::Opened {
        record.usage = Usage::absent(UsageSource::Missing);
        record.cost = None;
    }
    record
}

/// What the rows and the roll-ups say was used and spent; both must say the same.
fn sums(folder: &TempDir) -> (i64, i64) {
    let sum = |column: &str, table: &str| {
        let sql = format!("SELECT coalesce(sum({column}), 0) FROM {table}");
        query_number(folder.path(), &sql)
    };
    let [rows, rollups] = ["requests", "usage_minutely"]
        .map(|table| (sum("total_tokens", table), sum("cost_nanousd", table)));
    assert_eq!(rows, rollups);
    assert_windows_are_the_rows(folder.path());
    rows
}

#[test]
fn a_response_is_settled_once_and_only_where_it_was_awaited() {
    let folder = TempDir::new().unwrap();
    let mut ledger = Manual::open(&settings(&folder));
    for record in [
        made(1, Api::Responses, "resp_elsewhere", Deferral::Settled),
        made(2, Api::Responses, "resp_1", Deferral::Opened),
        made(3, Api::Responses, "resp_1", Deferral::Settled),
        made(4, Api::Responses, "resp_1", Deferral::Settled),
        made(5, Api::Responses, "resp_1", Deferral::Opened),
        made(6, Api::Responses, "resp_1", Deferral::Settled),
    ] {
        ledger.journal.end(&record);
    }
    ledger.round();
    assert_eq!(sums(&folder), (TOTAL, COST));
    let seen: Vec<_> = rows(folder.path())
        .iter()
        .map(|row| (row.usage.source, row.deferral))
        .collect();
    let uncounted = (UsageSource::None, None);
    let opened = (UsageSource::Missing, Some(Deferral::Opened));
    let settled = (UsageSource::Reported, Some(Deferral::Settled));
    assert_eq!(
        seen,
        [uncounted, opened, settled, uncounted, opened, uncounted]
    );
}

#[test]
fn a_batch_is_settled_once_wherever_it_was_made() {
    let folder = TempDir::new().unwrap();
    let mut ledger = Manual::open(&settings(&folder));
    for n in 0..3 {
        ledger
            .journal
            .end(&made(n, Api::Batches, "batch_1", Deferral::Settled));
        ledger.round();
    }
    assert_eq!(sums(&folder), (TOTAL, COST));
}

#[test]
fn what_a_killed_process_awaited_is_known_to_the_next() {
    let folder = TempDir::new().unwrap();
    let now = START;
    let mut ledger = Manual::open(&settings(&folder));
    let [stored, unstored, settled] = ["resp_stored", "resp_unstored", "resp_settled"];
    ledger
        .journal
        .end(&made(1, Api::Responses, stored, Deferral::Opened));
    ledger.round();
    for record in [
        made(2, Api::Responses, unstored, Deferral::Opened),
        made(3, Api::Responses, settled, Deferral::Opened),
        made(4, Api::Responses, settled, Deferral::Settled),
        made(5, Api::Batches, "batch_1", Deferral::Settled),
    ] {
        ledger.journal.end(&record);
    }
    ledger.kill();

    let mut ledger = Manual::open(&settings(&folder));
    ledger.round();
    let settle = |api, id: &str| ledger.deferred.settle(api, &Arc::from(id), None, now);
    assert!(settle(Api::Responses, stored));
    assert!(settle(Api::Responses, unstored));
    assert!(!settle(Api::Responses, stored), "once");
    assert!(!settle(Api::Responses, settled));
    assert!(!settle(Api::Responses, "resp_unknown"));
    assert!(!settle(Api::Batches, "batch_1"));
}

#[test]
fn ids_are_forgotten_with_the_rows() {
    let folder = TempDir::new().unwrap();
    let settings = Settings {
        retention: Some(Duration::from_secs(3600)),
        ..settings(&folder)
    };
    let mut ledger = Manual::open(&settings);
    for n in 0..600 {
        let id = format!("resp_{n}");
        ledger
            .journal
            .end(&made(n, Api::Responses, &id, Deferral::Opened));
    }
    ledger.round_at(START);
    let count = || query_number(folder.path(), "SELECT count(*) FROM deferred_usage");
    assert_eq!(count(), 600);
    let later = UnixMicros(START.0 + 2 * 3600 * 1_000_000);
    for _ in 0..4 {
        ledger.round_at(later);
    }
    assert_eq!(count(), 0);
}

#[derive(Clone, Debug)]
enum Step {
    Open(u8),
    /// A look at what is made, decided as the proxy does.
    Look(u8),
    Round,
    Kill,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..4_u8).prop_map(Step::Open),
        4 => (0..4_u8).prop_map(Step::Look),
        2 => Just(Step::Round),
        1 => Just(Step::Kill),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn however_looks_commits_and_kills_interleave_each_id_counts_once(
        steps in prop::collection::vec(step(), 0..30),
    ) {
        let folder = TempDir::new().unwrap();
        let settings = settings(&folder);
        let mut ledger = Manual::open(&settings);
        let mut opened = [false; 4];
        let mut looked = [false; 4];
        for (n, step) in (0..).zip(&steps) {
            match *step {
                Step::Open(id) => {
                    let name = format!("resp_{id}");
                    // An id is given once.
                    if !std::mem::replace(&mut opened[usize::from(id)], true) {
                        ledger.journal.end(&made(n, Api::Responses, &name, Deferral::Opened));
                        ledger.deferred.open(&Arc::from(name), Opener::default());
                    }
                }
                Step::Look(id) => {
                    let name: Arc<str> = format!("resp_{id}").into();
                    if ledger.deferred.settle(Api::Responses, &name, None, START) {
                        ledger.journal.end(&made(n, Api::Responses, &name, Deferral::Settled));
                    }
                    looked[usize::from(id)] |= opened[usize::from(id)];
                }
                Step::Round => ledger.round(),
                Step::Kill => {
                    ledger.kill();
                    ledger = Manual::open(&settings);
                }
            }
        }
        ledger.round();
        let expected = i64::try_from(looked.iter().filter(|&&looked| looked).count()).unwrap();
        prop_assert_eq!(sums(&folder), (expected * TOTAL, expected * COST));
    }
}

#[test]
fn whose_a_response_was_is_known_to_the_next_process() {
    let folder = TempDir::new().unwrap();
    let by = |n, api, id: &str, deferral| {
        let mut record = made(n, api, id, Deferral::Opened);
        record.deferral = deferral;
        record.admission.requested_model = Some("fast".into());
        record.admission.key = Some("team-b".into());
        record.admission.tags.insert("team".into(), "b".into());
        record
    };
    let whose = Opener::of(&by(0, Api::Responses, "", None).admission);
    let mut ledger = Manual::open(&settings(&folder));
    let opened = Some(Deferral::Opened);
    ledger
        .journal
        .end(&by(1, Api::Responses, "resp_stored", opened));
    ledger.round();
    ledger
        .journal
        .end(&by(2, Api::Responses, "resp_in_the_journal", opened));
    let batch = by(3, Api::Batches, "batch_1", None);
    ledger.journal.end(&batch);
    ledger.kill();
    // What lies in the database, and what the journal of the one before brings.
    let mut ledger = Manual::open(&settings(&folder));
    ledger.round();
    for id in ["resp_stored", "resp_in_the_journal", "batch_1"] {
        let known = ledger.deferred.opener(id);
        assert_eq!(known.as_deref(), Some(&whose), "{id}");
    }
    let settled = &"batch_1".into();
    assert!(ledger.deferred.settle(Api::Batches, settled, None, START));
    assert!(ledger.deferred.opener("batch_1").is_some());
    assert_eq!(ledger.deferred.opener("resp_elsewhere"), None);
}
