//! Digests: who is told which, and when the ledger is asked.

use jiff::Timestamp;
use jiff::civil::Time;

use super::*;
use crate::config::DigestSchedule;
use crate::dispatch::context::tests::keep;
use crate::ledger::tests::sample::{admission, record};
use crate::money::NanoUsd;

const HOUR: u64 = 3600;

fn at(text: &str) -> UnixMicros {
    text.parse::<Timestamp>().unwrap().into()
}

fn daily(receivers: &[&str]) -> DigestSettings {
    DigestSettings {
        name: "daily".into(),
        schedule: DigestSchedule::Daily(Time::constant(9, 0, 0, 0)),
        timezone: TimeZone::UTC,
        receivers: receivers.iter().map(|&name| name.into()).collect(),
        top: 5,
    }
}

/// A folder whose ledger knows a request that cost a dollar.
fn used(moment: &str) -> Arc<TempDir> {
    let folder = Arc::new(TempDir::new().unwrap());
    let mut admission = admission(0);
    admission.started_at = at(moment);
    let mut record = record(admission);
    record.cost.as_mut().unwrap().amount = NanoUsd(1_000_000_000);
    keep(folder.path(), &[record]);
    folder
}

/// Before nine on the 20th.
const EIGHT: &str = "2026-11-20T08:00:00Z";
/// After it.
const NINE: &str = "2026-11-20T09:00:30Z";

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_is_told_once_and_of_nothing_used_it_says_so() {
    let folder = used("2026-11-19T12:00:00Z");
    let mut run = Run::begin(Begin {
        digests: vec![daily(&["ops", "new"])],
        ..Begin::at(at(EIGHT), &folder)
    });
    assert_eq!(run.titles(at("2026-11-20T08:59:59Z")).await, [""; 0]);
    let told = run.titles(at(NINE)).await;
    let told: Vec<_> = told
        .iter()
        .map(|title| title.split(',').next().unwrap())
        .collect();
    assert_eq!(told, ["new: daily: $1.00", "ops: daily: $1.00"]);
    assert_eq!(run.titles(after(at(NINE), HOUR)).await, [""; 0]);
    let next = run.titles(at("2026-11-21T09:00:30Z")).await;
    assert!(next[0].starts_with("new: daily: $0.00"), "{next:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_new_is_told_of_what_comes_and_of_nothing_before_the_ledger() {
    let folder = used("2026-11-19T12:00:00Z");
    let begin = || Begin {
        digests: vec![daily(&["ops", "new"])],
        // It was told of the day before.
        told: HashSet::from([("ops".into(), "digest/daily/2026-11-19T00:00:00Z".into())]),
        ..Begin::at(at("2026-11-20T14:00:00Z"), &folder)
    };
    let mut run = Run::begin(begin());
    // Nobody was there at nine to tell it: who was told before is told late.
    let late = run.titles(at("2026-11-20T14:00:01Z")).await;
    assert!(
        matches!(&*late, [one] if one.starts_with("ops: daily: $1.00")),
        "{late:?}"
    );
    assert_eq!(run.titles(at("2026-11-21T09:00:30Z")).await.len(), 2);
    drop(run);

    // Another digest's groups are nobody's word for this one.
    let mut other = begin();
    other.told = HashSet::from([("ops".into(), "digest/dailys/2026-11-19T00:00:00Z".into())]);
    let mut run = Run::begin(other);
    assert_eq!(run.titles(at("2026-11-20T14:00:01Z")).await, [""; 0]);
    drop(run);

    let folder = used("2026-11-20T00:00:00Z");
    let mut run = Run::begin(Begin {
        digests: vec![daily(&["ops"])],
        ..Begin::at(at(EIGHT), &folder)
    });
    assert_eq!(run.titles(at(NINE)).await, [""; 0]);
    let due = run.keeper.digests.next_due(at(NINE)).unwrap();
    assert!(
        due > at("2026-11-21T09:00:00Z"),
        "it is asked again at {due}"
    );
    assert_eq!(run.titles(at("2026-11-21T09:00:30Z")).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_is_behind_is_waited_for_and_not_for_ever() {
    let folder = used("2026-11-19T12:00:00Z");
    // Another process writes the ledger: nobody knows what it has still to write.
    let old = Ledger::open(&files(folder.path()), Takeover::Refuse).unwrap();
    let begin = || Begin {
        takeover: Takeover::Wait,
        digests: vec![daily(&["ops"])],
        ..Begin::at(at(EIGHT), &folder)
    };
    let mut run = Run::begin(begin());
    assert_eq!(run.titles(at(NINE)).await, [""; 0]);
    assert_eq!(
        run.keeper.digests.next_due(at(NINE)),
        Some(after(at(NINE), 10))
    );
    // What is asked for in vain is not asked for with each look.
    assert_eq!(run.titles(after(at(NINE), 9)).await, [""; 0]);
    assert_eq!(
        run.keeper.digests.next_due(at(NINE)),
        Some(after(at(NINE), 10))
    );
    // After an hour it is told what is known.
    assert_eq!(run.titles(after(at(NINE), HOUR)).await.len(), 1);
    drop(run);

    let mut run = Run::begin(begin());
    assert_eq!(run.titles(at(NINE)).await, [""; 0]);
    let mut late = record(admission(1));
    late.admission.started_at = at("2026-11-19T13:00:00Z");
    late.cost.as_mut().unwrap().amount = NanoUsd(1_000_000_000);
    old.journal().admit(&late.admission);
    old.journal().end(&late);
    drop(old);
    assert!(run.ledger.recovery().wait(WITHIN));
    let told = run.titles(after(at(NINE), 10)).await;
    assert!(
        matches!(&*told, [one] if one.starts_with("ops: daily: $2.00")),
        "{told:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_for_an_hour_is_told_by_its_title() {
    let folder = used("2026-11-19T12:00:00Z");
    let nowhere = TempDir::new().unwrap();
    let mut run = Run::begin(Begin {
        digests: vec![daily(&["ops"])],
        ..Begin::at(at(EIGHT), &folder)
    });
    run.keeper.context.data_dir = nowhere.path().to_owned();
    assert_eq!(run.titles(at(NINE)).await, [""; 0]);
    assert_eq!(
        run.keeper.digests.next_due(at(NINE)),
        Some(after(at(NINE), 60))
    );
    assert_eq!(run.titles(after(at(NINE), 60)).await, [""; 0]);
    assert_eq!(
        run.titles(after(at(NINE), HOUR)).await,
        ["ops: 🟠 daily: 2026-11-19 00:00 – 2026-11-20 00:00"]
    );
    assert_eq!(run.titles(after(at(NINE), HOUR + 60)).await, [""; 0]);
}
