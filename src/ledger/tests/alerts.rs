//! What happened to the alerts: recorded in order, kept while it matters.

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use super::sample::{START, admission, record};
use super::{Manual, query_number, settings};
use crate::alert::{
    ActionTaken, AlertEvent, AlertId, AlertState, Labels, Mode, Quantity, Severity, Unit,
};
use crate::clock::UnixMicros;
use crate::ledger::query::{AlertEventFilter, Reader};
use crate::ledger::{QueryError, Settings};

/// The `n`th event: of two rules and two label sets each in turn, in each state.
pub(super) fn alert_event(n: usize) -> AlertEvent {
    let at = UnixMicros(START.0 + i64::try_from(n).unwrap());
    let labels = [
        Labels::default(),
        Labels::new([
            ("key".into(), "a\"b".into()),
            ("channel".into(), "x".into()),
        ]),
    ];
    let every = |of: usize| n.is_multiple_of(of);
    AlertEvent {
        at,
        alert: AlertId {
            rule: ["Spend", "Slow"][n % 2].into(),
            labels: labels[n / 2 % 2].clone(),
        },
        state: AlertState::ALL[n % AlertState::ALL.len()],
        severity: every(3).then_some(Severity::Critical),
        active_since: every(2).then_some(START),
        fired_at: every(5).then_some(START),
        cleared_since: every(7).then_some(START),
        critical_since: Some(UnixMicros(5)),
        critical_cleared_since: None,
        told: true,
        value: every(2).then_some(Quantity {
            unit: Unit::Usd,
            value: 3,
        }),
        limit: every(3).then_some(Quantity {
            unit: Unit::ALL[n % Unit::ALL.len()],
            value: -4,
        }),
        window_end: every(4).then_some(at),
        mode: Mode::ALL[n % Mode::ALL.len()],
        actions: (0..n % 3)
            .map(|taken| ActionTaken {
                action: "block".into(),
                done: taken == 0,
                until: None,
                detail: "until \"later\"".into(),
            })
            .collect(),
    }
}

/// Every event, in the order of recording.
pub(super) fn recorded_alert_events(data_dir: &Path) -> Vec<AlertEvent> {
    let reader = match Reader::open(data_dir) {
        Err(QueryError::NoLedger { .. }) => return Vec::new(),
        reader => reader.unwrap(),
    };
    let mut filter = AlertEventFilter {
        limit: 7,
        ..AlertEventFilter::default()
    };
    let mut events = Vec::new();
    loop {
        let page = reader.alert_events(&filter).unwrap();
        events.extend(page.events);
        filter.cursor = page.next.map(|next| next.to_string().parse().unwrap());
        if filter.cursor.is_none() {
            events.reverse();
            return events;
        }
    }
}

#[test]
fn the_last_event_of_each_alert_is_what_it_is() {
    let folder = TempDir::new().unwrap();
    let mut ledger = Manual::open(&settings(&folder));
    let events: Vec<_> = (0..20).map(alert_event).collect();
    for event in &events {
        assert!(ledger.journal.alert_changed(event));
    }
    ledger.round();
    let reader = Reader::open(folder.path()).unwrap();
    assert_eq!(recorded_alert_events(folder.path()), events);
    assert_eq!(reader.last_alert_events().unwrap(), events[16..]);
    // The same in SQL.
    let in_view = |condition: &str| {
        let sql = format!("SELECT count(*) FROM alert_states WHERE {condition}");
        query_number(folder.path(), &sql)
    };
    assert_eq!(in_view("1"), 4);
    let at = events[19].at.0;
    assert_eq!(
        in_view(&format!(
            "at = {at} AND rule = 'Slow' AND state = '{}' AND labels ->> 'channel' = 'x'",
            events[19].state
        )),
        1
    );
}

#[test]
fn events_are_found_by_rule_and_time() {
    let folder = TempDir::new().unwrap();
    let mut ledger = Manual::open(&settings(&folder));
    let events: Vec<_> = (0..20).map(alert_event).collect();
    for event in &events {
        ledger.journal.alert_changed(event);
    }
    ledger.round();
    let reader = Reader::open(folder.path()).unwrap();
    let filter = AlertEventFilter {
        rule: Some("Slow".into()),
        since: Some(events[15].at),
        until: Some(events[19].at),
        ..AlertEventFilter::default()
    };
    let found = reader.alert_events(&filter).unwrap();
    assert_eq!(found.events, [events[17].clone(), events[15].clone()]);
    assert_eq!(found.next, None);
}

#[test]
fn old_events_expire_but_never_an_alert_that_is_not_over() {
    let folder = TempDir::new().unwrap();
    let settings = Settings {
        retention: Some(Duration::from_secs(3600)),
        ..settings(&folder)
    };
    let mut ledger = Manual::open(&settings);
    for (rule, state) in [
        ("fires", AlertState::Pending),
        ("fires", AlertState::Firing),
        ("over", AlertState::Firing),
        ("over", AlertState::Inactive),
    ] {
        let event = AlertEvent {
            at: START,
            state,
            alert: AlertId {
                rule: rule.into(),
                labels: Labels::default(),
            },
            ..alert_event(0)
        };
        ledger.journal.alert_changed(&event);
    }
    ledger.round_at(START);
    assert_eq!(recorded_alert_events(folder.path()).len(), 4);
    for minutes in 0..4 {
        ledger.round_at(START.plus(Duration::from_secs(7200 + 60 * minutes)));
    }
    let kept = recorded_alert_events(folder.path());
    assert_eq!(kept.len(), 1, "{kept:#?}");
    assert_eq!(&*kept[0].alert.rule, "fires");
    assert_eq!(kept[0].state, AlertState::Firing);
}

#[test]
fn an_event_larger_than_an_entry_may_be_is_cut() {
    let folder = TempDir::new().unwrap();
    let mut ledger = Manual::open(&settings(&folder));
    let long = || "x".repeat(2 << 20).into();
    let event = AlertEvent {
        alert: AlertId {
            rule: "Spend".into(),
            labels: Labels::new([("key".into(), long())]),
        },
        actions: vec![ActionTaken {
            action: "block".into(),
            done: false,
            until: None,
            detail: long(),
        }],
        ..alert_event(0)
    };
    assert!(ledger.journal.alert_changed(&event));
    ledger.round();
    let [kept] = recorded_alert_events(folder.path()).try_into().unwrap();
    assert_eq!(kept.actions[0].detail.len(), 1024);
    assert_eq!(kept.alert.labels.get("key").unwrap().len(), 1024);
}

#[test]
fn an_entry_is_told_where_it_lies_even_before_the_disk_takes_it() {
    let folder = TempDir::new().unwrap();
    let settings = Settings {
        held_bytes: 2_000,
        segment_bytes: 1_000,
        ..settings(&folder)
    };
    let mut ledger = Manual::open(&settings);
    let mut told = Vec::new();
    let end = |ledger: &Manual, told: &mut Vec<Option<u64>>| {
        let record = record(admission(told.len() as u64));
        told.push(ledger.journal.end(&record));
    };
    for _ in 0..3 {
        let before = ledger.journal.appended();
        end(&ledger, &mut told);
        assert_eq!(told.last(), Some(&Some(before)));
    }
    let refuse: fn() -> _ = || std::io::ErrorKind::StorageFull.into();
    ledger
        .journal
        .write_through(Box::new(move |_, _, _| Err(refuse())));
    while told.last().is_some_and(Option::is_some) {
        ledger.journal.admit(&admission(1_000 + told.len() as u64));
        end(&ledger, &mut told);
    }
    ledger
        .journal
        .write_through(Box::new(std::os::unix::fs::FileExt::write_at));
    ledger.journal.retry_held();
    end(&ledger, &mut told);
    ledger.round();
    // Where the writer found them.
    let stream = ledger.journal.stream().clone();
    let mut tail = crate::ledger::journal::tail::Tail::new(stream, 0);
    let mut found = Vec::new();
    while tail
        .read(crate::ledger::journal::tail::End::Growing)
        .unwrap()
    {
        for (frame, payload) in tail.frames() {
            if let Ok(crate::ledger::wire::Brief::Ended(_)) =
                crate::ledger::wire::decode_brief(payload)
            {
                found.push(frame.offset);
            }
        }
    }
    assert!(found.len() > 5, "{told:?}");
    assert_eq!(told.into_iter().flatten().collect::<Vec<_>>(), found);
}
