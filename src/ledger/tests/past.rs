//! What windows are rebuilt from: everything once, and the place where the journal goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;

use super::sample::{START, admission, any_record, record};
use super::windows::worst;
use super::{Manual, PATIENCE, open, rows, settings};
use crate::clock::UnixMicros;
use crate::ledger::query::{Past, PastQuery, Reader, Turn};
use crate::ledger::{Closed, catch_up};
use crate::money::NanoUsd;
use crate::record::{
    Api, Deferral, Phase, RequestId, RequestRecord, Sample, Sketch, Usage, UsageSource, Worst,
};

/// Requests by when they began, with their costs.
fn requests(reader: &Reader, query: &PastQuery) -> BTreeMap<UnixMicros, Option<i64>> {
    let mut seen = BTreeMap::new();
    reader
        .past(query, None, |past| {
            if let Past::Request(sample) = past {
                let before = seen.insert(sample.started_at, sample.cost_nanousd);
                assert_eq!(before, None, "each once");
            }
        })
        .unwrap();
    seen
}

#[test]
fn a_snapshot_and_what_lies_behind_it_are_everything_once() {
    const THREADS: u64 = 3;
    let folder = TempDir::new().unwrap();
    let ledger = open(&settings(&folder));
    assert!(ledger.flush(PATIENCE));
    let journal = ledger.journal();
    let positions = Mutex::new(BTreeMap::new());
    let stop = AtomicBool::new(false);
    let everything = PastQuery {
        minutes_since: Some(UnixMicros(0)),
        requests_since: Some(UnixMicros(0)),
        ..PastQuery::default()
    };
    let snapshots = std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (journal, positions, stop) = (&journal, &positions, &stop);
            scope.spawn(move || {
                for n in (thread..).step_by(3) {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let record = record(admission(n));
                    journal.admit(&record.admission);
                    let position = journal.end(&record).unwrap();
                    let started_at = record.admission.started_at;
                    positions.lock().unwrap().insert(started_at, position);
                }
            });
        }
        let reader = Reader::open(folder.path()).unwrap();
        let mut snapshots: Vec<(u64, i64, BTreeSet<UnixMicros>)> = Vec::new();
        while snapshots.len() < 8 {
            let mut summed = 0;
            let mut seen = BTreeSet::new();
            let position = reader
                .past(&everything, Some(&journal), |past| match past {
                    Past::Minute(minute) => summed += i64::try_from(minute.requests).unwrap(),
                    Past::Request(sample) => assert!(seen.insert(sample.started_at)),
                    Past::Held(held) => panic!("{held:?}"),
                })
                .unwrap()
                .unwrap();
            // Of different states, some of them with something in them.
            if snapshots
                .last()
                .is_none_or(|(before, ..)| *before != position)
            {
                snapshots.push((position, summed, seen));
            }
        }
        stop.store(true, Ordering::Relaxed);
        snapshots
    });
    let positions = positions.into_inner().unwrap();
    for (position, summed, seen) in &snapshots {
        assert_eq!(*summed, i64::try_from(seen.len()).unwrap());
        let before = positions.iter().filter(|(_, at)| *at < position);
        assert!(before.map(|(started_at, _)| started_at).eq(seen));
    }
    assert!(snapshots.last().is_some_and(|(.., seen)| !seen.is_empty()));
    assert_eq!(ledger.close(PATIENCE), Closed::Complete);
}

#[test]
fn a_journal_of_which_nothing_is_committed_begins_at_its_beginning() {
    let folder = TempDir::new().unwrap();
    let mut earlier = Manual::open(&settings(&folder));
    earlier.journal.end(&record(admission(0)));
    earlier.round();
    earlier.kill();
    let ledger = Manual::open(&settings(&folder));
    ledger.journal.end(&record(admission(1)));
    let reader = Reader::open(folder.path()).unwrap();
    let position = reader.past(&PastQuery::default(), Some(&ledger.journal), |_| ());
    assert_eq!(position.unwrap(), Some(0));
    let position = reader.past(&PastQuery::default(), None, |_| ());
    assert_eq!(position.unwrap(), None);
}

/// A request over days is in the range that it ended in.
#[test]
fn however_long_a_request_took_it_is_not_missed() {
    let folder = TempDir::new().unwrap();
    let mut ledger = Manual::open(&settings(&folder));
    let of = |n: u64, seconds: u64| {
        let mut record = record(admission(n));
        record.phases[Phase::Total] = Some(seconds * 1_000_000);
        record
    };
    let day = 24 * 3600;
    for record in [of(0, 3 * day), of(1, 1), of(2, day), of(3, 3 * day - 1)] {
        ledger.journal.end(&record);
    }
    ledger.round();
    let reader = Reader::open(folder.path()).unwrap();
    let ended_since = |seconds: u64| {
        let query = PastQuery {
            requests_since: Some(START.plus(Duration::from_secs(seconds))),
            ..PastQuery::default()
        };
        let seen = requests(&reader, &query);
        seen.into_keys()
            .map(|at| at.0 - START.0)
            .collect::<Vec<_>>()
    };
    assert_eq!(ended_since(3 * day), [0, 3_000][..1]);
    assert_eq!(ended_since(2 * day), [0, 3_000]);
    assert_eq!(ended_since(0), [0, 1_000, 2_000, 3_000]);
}

/// What is held, by id: whether it is deferred, what is counted, what it may have been.
fn held(reader: &Reader, query: &PastQuery) -> BTreeMap<RequestId, (bool, i64, Option<i64>)> {
    let mut seen = BTreeMap::new();
    reader
        .past(query, None, |past| {
            if let Past::Held(held) = past {
                assert_eq!(held.dimensions.channel, "openai");
                assert_eq!(held.dimensions.tags.unwrap()["team"], "x");
                let worst = held.worst.cost.map(|cost| cost.0);
                let what = (held.deferred, held.counted_nanousd, worst);
                seen.insert(held.id, what);
            }
        })
        .unwrap();
    seen
}

#[test]
fn what_may_still_turn_out_to_have_cost_something_is_held() {
    let folder = TempDir::new().unwrap();
    let mut ledger = Manual::open(&settings(&folder));
    let with = |n, cost, input_cost| {
        let mut admitted = admission(n);
        admitted.worst = Some(worst(cost, input_cost));
        admitted.interrupted_cost = Some(NanoUsd(input_cost));
        admitted.tags.insert("team".to_owned(), "x".to_owned());
        admitted
    };
    let opened = |n, id: &str| {
        let mut record = record(with(n, 900, 100));
        record.cost = None;
        record.usage = Usage::absent(UsageSource::Missing);
        record.response_id = Some(id.into());
        record.deferral = Some(Deferral::Opened);
        record
    };
    let [awaited, told] = [opened(1, "resp_1"), opened(2, "resp_2")];
    let handed_in = |n, id: &str| {
        let mut batch = opened(n, id);
        batch.admission.api = Api::Batches;
        batch.admission.worst = Some(Worst::default());
        batch.usage = Usage::absent(UsageSource::None);
        batch.deferral = None;
        batch
    };
    let [batch, done] = [handed_in(4, "batch_1"), handed_in(5, "batch_2")];
    ledger.journal.end(&batch);
    ledger.journal.end(&done);
    let mut tells = record(with(6, 0, 0));
    tells.admission.api = Api::Batches;
    tells.admission.billable = false;
    tells.response_id = Some("batch_2".into());
    tells.deferral = Some(Deferral::Settled);
    ledger.journal.end(&tells);
    ledger.journal.end(&awaited);
    ledger.journal.end(&told);
    let mut tells = record(with(3, 900, 100));
    tells.response_id = Some("resp_2".into());
    tells.deferral = Some(Deferral::Settled);
    ledger.journal.end(&tells);
    let [old, cut, free] = [with(0, 900, 100), with(10, 900, 100), with(11, 0, 0)];
    let mut endless = with(12, 0, 0);
    endless.worst = Some(Worst::default());
    endless.interrupted_cost = Some(NanoUsd(5_000));
    for admitted in [&old, &cut, &free, &endless] {
        ledger.journal.admit(admitted);
    }
    ledger.round();
    ledger.kill();
    catch_up(folder.path()).unwrap();

    let reader = Reader::open(folder.path()).unwrap();
    let interrupted = PastQuery {
        interrupted_since: Some(cut.started_at),
        ..PastQuery::default()
    };
    assert_eq!(
        held(&reader, &interrupted),
        [
            (cut.id, (false, 100, Some(900))),
            // Of money nothing, but perhaps tokens.
            (free.id, (false, 0, Some(0))),
            (endless.id, (false, 5_000, None)),
        ]
        .into()
    );
    let deferred = PastQuery {
        deferred_since: Some(START),
        ..PastQuery::default()
    };
    assert_eq!(
        held(&reader, &deferred),
        [
            (awaited.admission.id, (true, 0, Some(900))),
            (batch.admission.id, (true, 0, None)),
        ]
        .into()
    );
}

/// What can be compared of a sample.
fn facts(sample: &Sample<'_>) -> String {
    format!("{sample:?}")
}

fn merged(sum: &mut Sketch, sketch: Option<&Sketch>) {
    sum.merge(sketch.unwrap());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn the_past_is_what_was_seen_when_it_was_present(
        records in prop::collection::vec(any_record(), 0..50),
        since in 0..10_900_000_000_i64,
        length in 0..10_900_000_000_i64,
    ) {
        let folder = TempDir::new().unwrap();
        let mut ledger = Manual::open(&settings(&folder));
        // One each moment, so that it can be told by that.
        let records: BTreeMap<_, _> =
            records.into_iter().map(|record| (record.admission.started_at, record)).collect();
        for record in records.values() {
            ledger.journal.end(record);
        }
        ledger.round();
        let (since, until) = (UnixMicros(START.0 + since), UnixMicros(START.0 + since + length));
        let seen_then = |record: &'_ RequestRecord| {
            Sample::of(record, None, None, None).map(|sample| (sample.ended_at, facts(&sample)))
        };
        let mut expected: Vec<_> = records.values().filter_map(seen_then).collect();
        let reader = Reader::open(folder.path()).unwrap();

        let query = PastQuery {
            minutes_since: Some(since),
            sketches: true,
            requests_since: Some(since),
            tags: true,
            ..PastQuery::default()
        };
        let mut requests = Vec::new();
        let mut latencies = Sketch::default();
        let mut minutes = 0;
        reader.past(&query, None, |past| match past {
            Past::Request(sample) => requests.push((sample.ended_at, facts(sample))),
            Past::Minute(minute) => {
                assert!(minute.ended >= since.minute() && minute.started <= minute.ended);
                minutes += minute.requests;
                merged(&mut latencies, minute.latency_us.as_ref());
            }
            Past::Held(_) => {}
        }).unwrap();
        let minute = |at: UnixMicros| at >= since.minute();
        let in_minutes = expected.iter().filter(|(ended_at, _)| minute(*ended_at));
        prop_assert_eq!(minutes, in_minutes.count() as u64);
        let timed = records.values().filter(|record| {
            let total = record.phases[Phase::Total];
            record.disposition().is_sampled() && total.is_some_and(|us| {
                minute(record.admission.started_at.plus(Duration::from_micros(us)))
            })
        });
        prop_assert_eq!(latencies.count(), timed.count() as u64);

        requests.sort();
        expected.sort();
        let wanted = |until: UnixMicros| {
            let expected = expected.iter();
            expected.filter(move |(ended_at, _)| *ended_at >= since && *ended_at < until)
        };
        prop_assert!(requests.iter().eq(wanted(UnixMicros(i64::MAX))));

        // The same in the order of time, each as it begins and as it ends.
        let mut replayed = Vec::new();
        let mut moments = Vec::new();
        let mut begun = BTreeSet::new();
        let ids: BTreeMap<_, _> = rows(folder.path()).into_iter().map(|row| (row.id, row.started_at)).collect();
        reader.replay(since, until, |turn, request| {
            let sample = &request.sample;
            assert_eq!(ids[&request.id], sample.started_at);
            if turn == Turn::Begins {
                moments.push(sample.started_at);
                assert!(begun.insert(request.id));
            } else {
                moments.push(sample.ended_at);
                replayed.push((sample.ended_at, facts(sample)));
                assert!(begun.remove(&request.id));
            }
        }).unwrap();
        prop_assert!(moments.is_sorted());
        prop_assert_eq!(begun.len(), 0);
        replayed.sort();
        prop_assert!(replayed.iter().eq(wanted(until)));
    }
}
