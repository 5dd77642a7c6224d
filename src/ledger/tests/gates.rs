//! What happened to the channels' gates: recorded in order, kept while it holds.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use tempfile::TempDir;

use super::alerts::{alert_event, recorded_alert_events};
use super::sample::START;
use super::{Manual, PATIENCE, open, query_number, settings};
use crate::clock::UnixMicros;
use crate::ledger::query::{GateEventFilter, Reader};
use crate::ledger::{QueryError, Settings, database};
use crate::record::{ChannelEvent, GateReason, GateState, Owner};

/// The `n`th event: of two channels and three owners in turn, closing and opening.
pub(super) fn gate_event(n: usize) -> ChannelEvent {
    let owners = [
        Owner::Operator,
        Owner::Breaker,
        Owner::Alert("Spend".into()),
    ];
    let hold = GateState::ALL[n % GateState::ALL.len()];
    ChannelEvent {
        at: UnixMicros(START.0 + i64::try_from(n).unwrap()),
        channel: ["a", "b"][n % 2].into(),
        owner: owners[n / 2 % owners.len()].clone(),
        hold,
        state: hold,
        reason: GateReason::ALL[n % GateReason::ALL.len()],
        until: n.is_multiple_of(2).then_some(START),
        who: n.is_multiple_of(3).then(|| "alice".into()),
        note: n.is_multiple_of(5).then(|| "because".into()),
    }
}

/// An operator's hold, or its end.
fn operator(channel: &str, hold: GateState, at: UnixMicros) -> ChannelEvent {
    ChannelEvent {
        at,
        channel: channel.into(),
        owner: Owner::Operator,
        hold,
        state: hold,
        reason: GateReason::Operator,
        until: None,
        who: None,
        note: None,
    }
}

/// Every event, in the order of recording.
pub(super) fn recorded_events(data_dir: &Path) -> Vec<ChannelEvent> {
    let reader = match Reader::open(data_dir) {
        Err(QueryError::NoLedger { .. }) => return Vec::new(),
        reader => reader.unwrap(),
    };
    let mut filter = GateEventFilter {
        limit: 7,
        ..GateEventFilter::default()
    };
    let mut events = Vec::new();
    loop {
        let page = reader.gate_events(&filter).unwrap();
        events.extend(page.events);
        filter.cursor = page.next;
        if filter.cursor.is_none() {
            events.reverse();
            return events;
        }
    }
}

fn channels(events: &[ChannelEvent]) -> Vec<&str> {
    events.iter().map(|event| &*event.channel).collect()
}

#[test]
fn the_last_event_of_each_owner_of_each_channel_is_what_holds() {
    let folder = TempDir::new().unwrap();
    let mut ledger = Manual::open(&settings(&folder));
    let events: Vec<_> = (0..20).map(gate_event).collect();
    for event in &events {
        assert!(ledger.journal.gate_changed(event));
    }
    ledger.round();
    let reader = Reader::open(folder.path()).unwrap();
    assert_eq!(reader.last_gate_events().unwrap(), events[14..]);

    // Whatever the wall clock said: recorded last is what holds.
    let earlier = operator("a", GateState::Open, UnixMicros(0));
    ledger.journal.gate_changed(&earlier);
    ledger.round();
    let last = reader.last_gate_events().unwrap();
    assert!(last.contains(&earlier));
    assert_eq!(last.len(), 6);
}

#[test]
fn events_are_found_by_channel_and_time() {
    let folder = TempDir::new().unwrap();
    let mut ledger = Manual::open(&settings(&folder));
    let events: Vec<_> = (0..20).map(gate_event).collect();
    for event in &events {
        ledger.journal.gate_changed(event);
    }
    ledger.round();
    let reader = Reader::open(folder.path()).unwrap();
    let found = |filter: GateEventFilter| reader.gate_events(&filter).unwrap().events;
    let of_b = found(GateEventFilter {
        channel: Some("b".into()),
        since: Some(events[15].at),
        until: Some(events[19].at),
        ..GateEventFilter::default()
    });
    assert_eq!(of_b, [events[17].clone(), events[15].clone()]);
    assert_eq!(recorded_events(folder.path()), events);
}

#[test]
fn a_range_of_time_is_found_whole_when_the_clock_was_set_back() {
    let folder = TempDir::new().unwrap();
    let mut ledger = Manual::open(&settings(&folder));
    let times = [5, 9, 1, 3, 7, 2, 6];
    let at = |n: i64| UnixMicros(START.0 + n);
    for n in times {
        ledger
            .journal
            .gate_changed(&operator("a", GateState::Closed, at(n)));
    }
    ledger.round();
    let reader = Reader::open(folder.path()).unwrap();
    for channel in [None, Some("a".to_owned())] {
        for (since, until) in [
            (None, Some(4)),
            (Some(6), None),
            (Some(3), Some(7)),
            (Some(10), None),
        ] {
            let filter = GateEventFilter {
                channel: channel.clone(),
                since: since.map(at),
                until: until.map(at),
                ..GateEventFilter::default()
            };
            let found = reader.gate_events(&filter).unwrap().events;
            let found: Vec<_> = found.iter().map(|event| event.at.0 - START.0).collect();
            let within = |&n: &i64| since.is_none_or(|s| n >= s) && until.is_none_or(|u| n < u);
            let expected: Vec<_> = times.into_iter().rev().filter(within).collect();
            assert_eq!(found, expected, "{since:?} to {until:?}");
        }
    }
}

#[test]
fn old_events_expire_but_never_what_holds() {
    let folder = TempDir::new().unwrap();
    let settings = Settings {
        retention: Some(Duration::from_secs(3600)),
        ..settings(&folder)
    };
    let mut ledger = Manual::open(&settings);
    let later = START.plus(Duration::from_secs(7200));
    for (channel, hold, at) in [
        ("closed", GateState::Open, START),
        ("closed", GateState::Closed, START),
        ("opened", GateState::Closed, START),
        ("opened", GateState::Open, START),
        // The clock was set back by an hour in between.
        ("set-back", GateState::Closed, later),
        ("set-back", GateState::Open, START),
        ("young", GateState::Open, later),
    ] {
        ledger.journal.gate_changed(&operator(channel, hold, at));
    }
    ledger.round_at(START);
    assert_eq!(recorded_events(folder.path()).len(), 7);
    for minutes in 0..3 {
        ledger.round_at(later.plus(Duration::from_secs(60 * minutes)));
    }
    let kept = recorded_events(folder.path());
    assert_eq!(
        channels(&kept),
        ["closed", "set-back", "set-back", "young"],
        "{kept:#?}"
    );
    assert_eq!(kept[0].hold, GateState::Closed);
    assert_eq!(kept[2].hold, GateState::Open);
    // In the end nothing is left but what holds.
    let much_later = later.plus(Duration::from_secs(7200));
    for minutes in 0..3 {
        ledger.round_at(much_later.plus(Duration::from_secs(60 * minutes)));
    }
    assert_eq!(channels(&recorded_events(folder.path())), ["closed"]);
    let young = operator("closed", GateState::Open, much_later);
    ledger.journal.gate_changed(&young);
    ledger.round_at(much_later);
    let newest = query_number(folder.path(), "SELECT max(sequence) FROM channel_events");
    assert_eq!(newest, 8, "numbers are not used twice");
}

#[test]
fn a_disk_that_refuses_an_event_is_told_and_the_event_comes_later() {
    let folder = TempDir::new().unwrap();
    let mut ledger = Manual::open(&settings(&folder));
    ledger.journal.write_through(Box::new(|_, _, _| {
        Err(std::io::ErrorKind::StorageFull.into())
    }));
    assert!(!ledger.journal.gate_changed(&gate_event(0)));
    assert!(!ledger.journal.alert_changed(&alert_event(0)));
    ledger
        .journal
        .write_through(Box::new(std::os::unix::fs::FileExt::write_at));
    ledger.journal.retry_held();
    assert!(ledger.journal.gate_changed(&gate_event(1)));
    ledger.round();
    assert_eq!(
        recorded_events(folder.path()),
        [gate_event(0), gate_event(1)]
    );
    assert_eq!(recorded_alert_events(folder.path()), [alert_event(0)]);
}

#[test]
fn an_event_larger_than_an_entry_may_be_is_cut() {
    let folder = TempDir::new().unwrap();
    let mut ledger = Manual::open(&settings(&folder));
    let long = ChannelEvent {
        note: Some("x".repeat(2 << 20).into()),
        ..gate_event(0)
    };
    assert!(ledger.journal.gate_changed(&long));
    ledger.round();
    let [kept] = recorded_events(folder.path()).try_into().unwrap();
    assert_eq!(kept.note.unwrap().len(), 1024);
}

#[test]
fn what_an_earlier_run_left_is_waited_for() {
    let folder = TempDir::new().unwrap();
    let settings = settings(&folder);
    let mut killed = Manual::open(&settings);
    killed.round();
    killed.journal.gate_changed(&gate_event(0));
    killed.kill();
    let locking = Connection::open(database::path_in(folder.path())).unwrap();
    locking.execute_batch("BEGIN IMMEDIATE").unwrap();
    let ledger = open(&settings);
    let recovery = ledger.recovery();
    assert!(!recovery.wait(Duration::from_millis(20)));
    locking.execute_batch("ROLLBACK").unwrap();
    assert!(recovery.wait(PATIENCE));
    assert!(recovery.is_alone());
    assert_eq!(recorded_events(folder.path()), [gate_event(0)]);
}
