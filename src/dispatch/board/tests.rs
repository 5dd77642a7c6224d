use std::time::Duration;

use super::*;
use crate::alert::{NotifyReason, Severity, SilenceMatcher};
use crate::config::{FactMatcher, ModelPattern, ReceiverSettings, RouteSettings};
use crate::dispatch::tests::{at_limit, closing, firing, receiver, resolved};
use crate::notify::content::AlertChange;

const NOTHING: Around<'static> = Around {
    silences: &[],
    closed: &[],
};

fn at(seconds: i64) -> UnixMicros {
    UnixMicros(seconds * 1_000_000)
}

/// `ops` is told everything, `pager` what is critical.
fn settings() -> NotifySettings {
    let mut routes = RouteSettings::to(vec!["ops".into()]);
    routes.routes = vec![RouteSettings {
        matchers: vec![FactMatcher {
            name: "severity".into(),
            any: vec![ModelPattern::new("critical")],
            negated: false,
        }],
        ..RouteSettings::to(vec!["pager".into()])
    }];
    let quiet = ReceiverSettings {
        send_resolved: false,
        ..receiver("quiet")
    };
    NotifySettings {
        receivers: vec![receiver("ops"), receiver("pager"), quiet],
        routes: Some(routes),
        ..NotifySettings::default()
    }
}

struct Told {
    board: Board,
    now: UnixMicros,
}

impl Told {
    fn new() -> Self {
        Self::by(&settings())
    }

    fn by(settings: &NotifySettings) -> Self {
        Self {
            board: Board::new(settings),
            now: at(0),
        }
    }

    fn accept(&mut self, event: &AlertEvent) {
        self.accept_of(event, None);
    }

    fn accept_of(&mut self, event: &AlertEvent, rule: Option<&Rule>) {
        self.now = self.now.max(event.at);
        self.board.accept(&Arc::new(event.clone()), rule, false);
    }

    /// What is told up to a moment, looked at when it is due: receiver, second, reason, what is new.
    fn until(&mut self, end: i64, around: Around<'_>) -> Vec<String> {
        let mut told = Vec::new();
        while let Some(due) = self.board.next_due(self.now).filter(|due| *due <= at(end)) {
            self.now = self.now.max(due);
            for telling in self.board.flush(due, around).tellings {
                let changes = telling.alerts.iter().map(|news| news.change.as_str());
                let changes: Vec<_> = changes.collect();
                told.push(format!(
                    "{} {} {}: {}",
                    telling.receiver,
                    due.0 / 1_000_000,
                    telling.reason,
                    changes.join(" ")
                ));
                self.board
                    .delivered(&telling.group, &telling.receiver, &telling.told, None);
            }
        }
        told
    }
}

#[test]
fn a_group_waits_for_more_then_keeps_its_pace() {
    let mut told = Told::new();
    let a = firing("A", &[("channel", "a")], 0);
    told.accept(&a);
    told.accept(&firing("A", &[("channel", "b")], 10));
    assert_eq!(told.until(29, NOTHING), [""; 0]);
    assert_eq!(told.until(30, NOTHING), ["ops 30 first: fired fired"]);
    // Nothing before `group_interval` is over.
    told.accept(&firing("A", &[("channel", "c")], 31));
    told.accept(&resolved(&a, 40));
    assert_eq!(told.until(329, NOTHING), [""; 0]);
    assert_eq!(
        told.until(330, NOTHING),
        ["ops 330 firing: resolved same fired"]
    );
    let four_hours = 4 * 3600;
    assert_eq!(
        told.until(330 + four_hours, NOTHING),
        [format!("ops {} repeat: same same", 330 + four_hours)]
    );
}

#[test]
fn ten_thousand_alerts_at_once_are_one_message_at_the_groups_pace() {
    let mut told = Told::new();
    for number in 0..10_000 {
        told.accept(&firing("Flood", &[("key", &format!("k{number}"))], 0));
    }
    let first = told.until(299, NOTHING);
    assert_eq!(first.len(), 1);
    assert_eq!(first[0].matches("fired").count(), 10_000);
    for number in 0..10_000 {
        told.accept(&firing("Flood", &[("key", &format!("l{number}"))], 60));
    }
    assert_eq!(told.until(329, NOTHING), [""; 0]);
    assert_eq!(told.until(330, NOTHING).len(), 1);
}

#[test]
fn an_escalation_goes_on_where_it_was_told_and_to_who_wants_what_is_critical() {
    let mut told = Told::new();
    let a = firing("A", &[], 0);
    told.accept(&a);
    told.until(30, NOTHING);
    let critical = at_limit(&a, Severity::Critical, 60);
    told.accept(&critical);
    assert_eq!(
        told.until(600, NOTHING),
        ["pager 90 first: fired", "ops 330 severity: escalated"]
    );
    told.accept(&resolved(&critical, 601));
    assert_eq!(
        told.until(1200, NOTHING),
        ["ops 630 resolved: resolved", "pager 690 resolved: resolved"]
    );
    assert_eq!(told.board.groups.len(), 0);
    assert_eq!(told.board.belongs.len(), 0);
}

#[test]
fn what_changed_its_severity_before_anybody_was_told_is_told_where_it_belongs_now() {
    let mut told = Told::new();
    let a = firing("A", &[], 0);
    told.accept(&a);
    told.accept(&at_limit(&a, Severity::Critical, 5));
    assert_eq!(told.until(100, NOTHING), ["pager 35 first: fired"]);
}

#[test]
fn a_silence_keeps_back_and_its_end_tells() {
    let mut told = Told::new();
    let silence = Silence {
        id: uuid::Uuid::nil(),
        matchers: vec![SilenceMatcher::new("rule".into(), "A".into())],
        starts_at: at(0),
        ends_at: at(1000),
        created_at: at(0),
        created_by: "".into(),
        comment: "".into(),
        ended_at: None,
    };
    let silenced = Around {
        silences: &[silence],
        closed: &[],
    };
    told.accept(&firing("A", &[], 0));
    told.accept(&firing("B", &[], 0));
    assert_eq!(told.until(999, silenced), ["ops 30 first: fired"]);
    assert_eq!(told.until(2000, silenced), ["ops 1230 first: fired"]);
}

#[test]
fn what_is_kept_back_is_counted() {
    let mut board = Board::new(&settings());
    let mut slow = firing("Slow", &[("channel", "a")], 0);
    slow.mode = crate::alert::Mode::Notify;
    board.inhibit[0].target.clear();
    board.accept(&Arc::new(slow), None, false);
    let closed = [ClosedChannel {
        channel: "a".into(),
        alerts: Vec::new(),
        others: true,
    }];
    let around = Around {
        silences: &[],
        closed: &closed,
    };
    let flushed = board.flush(at(30), around);
    assert!(flushed.tellings.is_empty());
    assert_eq!(flushed.kept_back, [("ops".into(), KeptBack::Inhibited)]);
}

#[test]
fn a_mute_time_keeps_the_whole_group_until_it_is_over() {
    let mut settings = settings();
    let route = settings.routes.as_mut().unwrap();
    route.mute_times = vec!["first hour".into()];
    settings.mute_times = vec![crate::config::MuteTimes {
        name: "first hour".into(),
        any: vec![crate::config::TimeSpan {
            timezone: jiff::tz::TimeZone::UTC,
            weekdays: Vec::new(),
            days_of_month: Vec::new(),
            months: Vec::new(),
            times: vec![(jiff::civil::time(0, 0, 0, 0), jiff::civil::time(1, 0, 0, 0))],
        }],
    }];
    let mut told = Told::by(&settings);
    let a = firing("A", &[], 0);
    told.accept(&a);
    let gone = firing("A", &[("key", "x")], 0);
    told.accept(&closing(&gone));
    told.accept(&resolved(&closing(&gone), 100));
    let told = told.until(3700, NOTHING);
    // What came and went meanwhile, with a channel closed for it, is not lost.
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("first: fired came_and_went"), "{told:?}");
}

#[test]
fn a_rule_that_names_receivers_is_told_to_them_alone() {
    let text = "groups:\n- name: g\n  rules:\n  - {alert: A, metric: cost, window: 1h, \
                critical: 1 USD, actions: [{notify: [quiet]}]}\n";
    let zone = jiff::tz::TimeZone::UTC;
    let known = crate::rules::KnownNames::default();
    let rules = crate::rules::parse("r.yaml".as_ref(), text, &zone, &known).unwrap();
    let rule = &rules.set.rules[0];
    let mut told = Told::new();
    let a = firing("A", &[], 0);
    told.accept_of(&a, Some(rule));
    assert_eq!(told.until(30, NOTHING), ["quiet 30 first: fired"]);
    told.accept_of(&resolved(&a, 40), Some(rule));
    assert_eq!(told.until(1000, NOTHING), [""; 0]);
    told.accept_of(&firing("A", &[], 1001), Some(rule));
    assert_eq!(told.until(2000, NOTHING), ["quiet 1031 first: fired"]);
}

fn earlier(
    telling: &crate::dispatch::group::Telling,
    told: crate::dispatch::deduplicate::Told,
) -> Earlier {
    Earlier {
        receiver: Arc::clone(&telling.receiver),
        told: Arc::new(told),
        delivered: true,
        owed: Vec::new(),
    }
}

/// What a run told and then another one begins with.
#[test]
fn a_restart_repeats_nothing_and_tells_what_is_new() {
    let mut told = Told::new();
    let a = firing("A", &[("channel", "a")], 0);
    let b = closing(&firing("A", &[("channel", "b")], 0));
    told.accept(&a);
    told.accept(&b);
    let flushed = told.board.flush(at(30), NOTHING);
    let [telling] = &flushed.tellings[..] else {
        panic!("{flushed:?}")
    };

    let again = |events: &[AlertEvent]| {
        let mut told = Told::new();
        told.now = telling.now;
        let text = serde_json::to_string(&telling.told).unwrap();
        let read = serde_json::from_str(&text).unwrap();
        told.board.was_told(&telling.group, earlier(telling, read));
        for event in events {
            told.board.accept(&Arc::new(event.clone()), None, true);
        }
        told
    };
    let (none, four_hours) = ([""; 0], 30 + 4 * 3600 - 1);
    assert_eq!(
        again(&[a.clone(), b.clone()]).until(four_hours, NOTHING),
        none
    );
    let over = resolved(&b, 100);
    assert_eq!(
        again(&[a.clone(), b.clone(), over.clone()]).until(four_hours, NOTHING),
        ["ops 330 resolved: same resolved"]
    );
    // Read again, and by a clock that was set back: the last word counts.
    let mut earlier_by_its_clock = over.clone();
    earlier_by_its_clock.at = at(-500);
    assert_eq!(
        again(&[over.clone(), b.clone(), a.clone(), earlier_by_its_clock])
            .until(four_hours, NOTHING),
        ["ops 330 resolved: same resolved"]
    );
    let short = closing(&firing("A", &[("channel", "c")], 50));
    let gone = resolved(&short, 60);
    assert_eq!(
        again(&[a, b, short, gone]).until(four_hours, NOTHING),
        ["ops 330 came_and_went: same same came_and_went"]
    );
}

#[test]
fn who_missed_a_message_is_told_all_of_it_with_the_next() {
    let mut board = Board::new(&settings());
    let a = firing("A", &[("channel", "a")], 0);
    board.accept(&Arc::new(a.clone()), None, false);
    let first = board.flush(at(30), NOTHING).tellings.remove(0);
    // It was not delivered when more came.
    board.accept(&Arc::new(firing("A", &[("channel", "b")], 40)), None, false);
    let second = board.flush(at(330), NOTHING).tellings.remove(0);
    assert_eq!(second.reason, NotifyReason::Firing);
    let changes: Vec<_> = second.alerts.iter().map(|news| news.change).collect();
    assert_eq!(changes, [AlertChange::Fired, AlertChange::Fired]);
    // The first is delivered after all; the third is told what is new since.
    board.delivered(
        &first.group,
        &first.receiver,
        &first.told,
        Some(&"7".into()),
    );
    board.accept(&Arc::new(resolved(&a, 400)), None, false);
    let third = board.flush(at(630), NOTHING).tellings.remove(0);
    let changes: Vec<_> = third.alerts.iter().map(|news| news.change).collect();
    assert_eq!(changes, [AlertChange::Resolved, AlertChange::Fired]);
    assert_eq!(third.told.thread, first.id);
    let reference = board.reference(&third.group, &third.receiver, &third.told);
    assert_eq!(reference.as_deref(), Some("7"));
}

#[test]
fn a_flapping_alert_keeps_to_the_pace() {
    let mut told = Told::new();
    let mut count = 0;
    for minute in 0..600 {
        let event = firing("A", &[], minute * 60);
        told.accept(&event);
        count += told.until(minute * 60 + 44, NOTHING).len();
        told.accept(&resolved(&event, minute * 60 + 45));
        count += told.until(minute * 60 + 59, NOTHING).len();
    }
    let most = Duration::from_secs(600 * 60).as_secs() / 300 + 1;
    assert!(
        count > 0 && u64::try_from(count).unwrap() <= most,
        "{count}"
    );
}

#[test]
fn what_is_over_is_told_with_the_next_message_where_the_one_that_told_it_was_not_taken() {
    let mut board = Board::new(&settings());
    let a = firing("A", &[("channel", "a")], 0);
    board.accept(&Arc::new(a.clone()), None, false);
    let first = board.flush(at(30), NOTHING).tellings.remove(0);
    board.delivered(&first.group, &first.receiver, &first.told, None);
    board.accept(&Arc::new(resolved(&a, 40)), None, false);
    let untaken = board.flush(at(330), NOTHING).tellings.remove(0);
    assert_eq!(untaken.reason, NotifyReason::Resolved);
    board.accept(
        &Arc::new(firing("A", &[("channel", "b")], 340)),
        None,
        false,
    );
    let changes = |telling: &crate::dispatch::group::Telling| {
        let mut changes: Vec<_> = telling.alerts.iter().map(|news| news.change).collect();
        changes.sort();
        changes
    };
    let next = board.flush(at(630), NOTHING).tellings.remove(0);
    assert_eq!(changes(&next), [AlertChange::Fired, AlertChange::Resolved]);
    // Taken: it is owed no longer.
    board.delivered(&next.group, &next.receiver, &next.told, None);
    board.accept(
        &Arc::new(firing("A", &[("channel", "c")], 640)),
        None,
        false,
    );
    let last = board.flush(at(930), NOTHING).tellings.remove(0);
    assert_eq!(changes(&last), [AlertChange::Fired, AlertChange::Same]);
}

#[test]
fn who_was_told_a_warning_is_told_its_end_over_a_restart_though_it_belongs_elsewhere_now() {
    let mut told = Told::new();
    let a = firing("A", &[], 0);
    told.accept(&a);
    let warned = told.board.flush(at(30), NOTHING).tellings.remove(0);
    let critical = at_limit(&a, Severity::Critical, 60);
    let mut again = Told::new();
    again.now = critical.at;
    let text = serde_json::to_string(&*warned.told).unwrap();
    let read = serde_json::from_str(&text).unwrap();
    again.board.was_told(&warned.group, earlier(&warned, read));
    again.board.accept(&Arc::new(critical.clone()), None, true);
    assert_eq!(
        again.until(400, NOTHING),
        ["pager 90 first: fired", "ops 330 severity: escalated"]
    );
    again.accept(&resolved(&critical, 500));
    assert_eq!(
        again.until(1200, NOTHING),
        ["ops 630 resolved: resolved", "pager 690 resolved: resolved"]
    );
}

#[test]
fn a_clock_that_is_set_back_keeps_nobody_waiting() {
    let mut board = Board::new(&settings());
    board.accept(&Arc::new(firing("A", &[], 100_000)), None, false);
    assert_eq!(board.flush(at(100_030), NOTHING).tellings.len(), 1);
    // Three hours back, and something new.
    let new = firing("A", &[("channel", "a")], 90_000);
    board.accept(&Arc::new(new), None, false);
    assert_eq!(board.next_due(at(90_000)), Some(at(90_000)));
    assert_eq!(board.flush(at(90_000), NOTHING).tellings.len(), 1);
    assert_eq!(board.next_due(at(90_000)), Some(at(90_300)));
}
