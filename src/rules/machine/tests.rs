//! States over a clock that only moves when told to.

mod histories;
mod time;

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::alert::AlertState::{Firing, Inactive, Pending};
use crate::alert::Severity::{Critical, Warning};
use crate::alert::{Labels, Mode};
use crate::config::Place;
use crate::rules::{Matcher, Metric, NoData, Side, Span, Stat};

const MINUTE: Duration = Duration::from_secs(60);

/// Warning from 50 on, critical from 100 on, at once, without hysteresis.
const PLAIN: Conditions = Conditions {
    side: Side::Above,
    warning: Some(50),
    critical: Some(100),
    clear_permille: 1_000,
    hold: Duration::ZERO,
    keep_firing: Duration::ZERO,
    no_data: NoData::Ok,
};

type Told = (AlertState, Option<Severity>);

fn at(minute: u32) -> UnixMicros {
    UnixMicros(1_700_000_000_000_000).plus(MINUTE * minute)
}

/// What is told after each of these observations, made a minute apart: state and severity.
fn run(conditions: &Conditions, seen: &[Observation]) -> Vec<Told> {
    let mut machine = Machine::default();
    let mut minute = 0;
    let steps = seen.iter().map(|&seen| {
        machine.step(at(minute), seen, conditions);
        minute += 1;
        (machine.state(), machine.severity())
    });
    steps.collect()
}

fn values(values: &[i64]) -> Vec<Observation> {
    values.iter().copied().map(Observation::Value).collect()
}

/// A rule with these conditions.
fn rule(conditions: &Conditions) -> Rule {
    Rule {
        name: "rule".into(),
        group: "group".into(),
        place: Place::Default,
        metric: Metric::Latency,
        stat: Stat::P95,
        over: None,
        budget: None,
        compare: None,
        span: Span::Rolling(MINUTE),
        matcher: Matcher::default(),
        by: Vec::new(),
        side: conditions.side,
        warning: conditions.warning,
        critical: conditions.critical,
        clear_permille: conditions.clear_permille,
        hold: conditions.hold,
        keep_firing: conditions.keep_firing,
        min_requests: 0,
        no_data: conditions.no_data,
        mode: Mode::Enforce,
        actions: Vec::new(),
        max_series: 1,
        annotations: BTreeMap::new(),
    }
}

fn event(change: &Change, now: UnixMicros, conditions: &Conditions) -> AlertEvent {
    let alert = AlertId {
        rule: "rule".into(),
        labels: Labels::default(),
    };
    change.event(now, alert, &rule(conditions), Some(7), None, Vec::new())
}

const NO: Told = (Inactive, None);
const WAITS: Told = (Pending, Some(Warning));
const WAITS_CRITICAL: Told = (Pending, Some(Critical));
const WARNS: Told = (Firing, Some(Warning));
const FIRES: Told = (Firing, Some(Critical));

#[test]
fn limits_are_passed_and_left() {
    let below = Conditions {
        side: Side::Below,
        warning: Some(50),
        critical: Some(20),
        ..PLAIN
    };
    let hysteresis = Conditions {
        clear_permille: 900,
        ..PLAIN
    };
    let hysteresis_below = Conditions {
        clear_permille: 1_100,
        ..below
    };
    let only_warning = Conditions {
        critical: None,
        ..PLAIN
    };
    let only_critical = Conditions {
        warning: None,
        ..PLAIN
    };
    for (name, conditions, seen, expected) in [
        (
            "the limit itself is wrong",
            PLAIN,
            &[49, 50, 99, 100, 99, 50, 49][..],
            &[NO, WARNS, WARNS, FIRES, WARNS, WARNS, NO][..],
        ),
        ("both at once", PLAIN, &[0, 100, 0], &[NO, FIRES, NO]),
        (
            "below, the limit itself is wrong",
            below,
            &[51, 50, 21, 20, 21, 51],
            &[NO, WARNS, WARNS, FIRES, WARNS, NO],
        ),
        (
            "hysteresis at both limits",
            hysteresis,
            &[50, 45, 44, 100, 90, 89, 45, 44],
            &[WARNS, WARNS, NO, FIRES, FIRES, WARNS, WARNS, NO],
        ),
        (
            "hysteresis below",
            hysteresis_below,
            &[50, 55, 56, 20, 22, 23, 55, 56],
            &[WARNS, WARNS, NO, FIRES, FIRES, WARNS, WARNS, NO],
        ),
        (
            "hysteresis does not make an alert begin",
            hysteresis,
            &[46, 49],
            &[NO, NO],
        ),
        (
            "one limit: warning",
            only_warning,
            &[49, 1_000, 49],
            &[NO, WARNS, NO],
        ),
        (
            "one limit: critical",
            only_critical,
            &[99, 100, 99],
            &[NO, FIRES, NO],
        ),
        (
            "values far beyond any limit",
            PLAIN,
            &[i64::MAX, i64::MIN],
            &[FIRES, NO],
        ),
    ] {
        assert_eq!(run(&conditions, &values(seen)), expected, "{name}");
    }
}

#[test]
fn a_value_must_stay_beyond_a_limit_for_as_long_as_is_asked() {
    let conditions = Conditions {
        hold: 2 * MINUTE,
        ..PLAIN
    };
    for (name, seen, expected) in [
        (
            "it fires when the time is over, not before",
            &[50, 50, 50, 0][..],
            &[WAITS, WAITS, WARNS, NO][..],
        ),
        (
            "what goes back begins anew",
            &[50, 50, 49, 50, 50, 50],
            &[WAITS, WAITS, NO, WAITS, WAITS, WARNS],
        ),
        (
            "both limits at once: the higher one",
            &[100, 100, 100],
            &[WAITS_CRITICAL, WAITS_CRITICAL, FIRES],
        ),
        (
            "the critical limit has a time of its own",
            &[50, 100, 100, 100],
            &[WAITS, WAITS_CRITICAL, WARNS, FIRES],
        ),
        (
            "a spike beyond the critical limit does not make a warning critical",
            &[50, 50, 50, 100, 50, 100, 100, 100],
            &[WAITS, WAITS, WARNS, WARNS, WARNS, WARNS, WARNS, FIRES],
        ),
        (
            "pending at the critical limit falls back to pending at the first",
            &[100, 50, 50],
            &[WAITS_CRITICAL, WAITS, WARNS],
        ),
    ] {
        assert_eq!(run(&conditions, &values(seen)), expected, "{name}");
    }
}

#[test]
fn firing_goes_on_for_as_long_as_is_asked_after_the_value_is_back() {
    let conditions = Conditions {
        keep_firing: 2 * MINUTE,
        clear_permille: 900,
        ..PLAIN
    };
    for (name, seen, expected) in [
        (
            "it ends when the time is over, not before",
            &[50, 0, 0, 0][..],
            &[WARNS, WARNS, WARNS, NO][..],
        ),
        (
            "a relapse is the same firing and begins the time anew",
            &[50, 0, 0, 50, 0, 0, 0],
            &[WARNS, WARNS, WARNS, WARNS, WARNS, WARNS, NO],
        ),
        (
            "between clear and limit is a relapse too",
            &[50, 0, 0, 46, 0, 0, 0],
            &[WARNS, WARNS, WARNS, WARNS, WARNS, WARNS, NO],
        ),
        (
            "the severity keeps for as long",
            &[100, 60, 60, 60, 0, 0, 0],
            &[FIRES, FIRES, FIRES, WARNS, WARNS, WARNS, NO],
        ),
        (
            "behind both limits at once it ends at once",
            &[100, 0, 0, 0],
            &[FIRES, FIRES, FIRES, NO],
        ),
        (
            "behind one and later behind the other",
            &[100, 60, 0, 0, 0],
            &[FIRES, FIRES, FIRES, WARNS, NO],
        ),
    ] {
        assert_eq!(run(&conditions, &values(seen)), expected, "{name}");
    }
}

#[test]
fn one_firing_has_one_beginning() {
    let conditions = Conditions {
        keep_firing: 5 * MINUTE,
        ..PLAIN
    };
    let mut machine = Machine::default();
    for (minute, value) in [(0, 50), (1, 0), (2, 100), (3, 0), (4, 70)] {
        machine.step(at(minute), Observation::Value(value), &conditions);
        assert_eq!(machine.fired_at(), Some(at(0)), "minute {minute}");
    }
    let eases = machine.step(at(8), Observation::Value(0), &conditions);
    assert!(eases.is_some_and(|change| change.is_told() && !change.resolves()));
    let fired_at = machine.fired_at();
    assert_eq!((machine.severity(), fired_at), (Some(Warning), Some(at(0))));
    let ends = machine.step(at(13), Observation::Value(0), &conditions);
    assert!(ends.is_some_and(|change| change.is_told() && change.resolves()));
    machine.step(at(16), Observation::Value(50), &conditions);
    assert_eq!(machine.fired_at(), Some(at(16)));
}

#[test]
fn an_event_tells_what_an_alert_is_or_was() {
    let conditions = Conditions {
        keep_firing: MINUTE,
        ..PLAIN
    };
    let mut machine = Machine::default();
    let mut events = Vec::new();
    for (minute, value) in [(0, 100), (1, 0), (2, 0)] {
        let change = machine.step(at(minute), Observation::Value(value), &conditions);
        events.extend(change.map(|change| event(&change, at(minute), &conditions)));
    }
    let told: Vec<_> = events
        .iter()
        .map(|event| {
            let limit = event.limit.map(|limit| limit.value);
            let back = event.cleared_since;
            (event.state, event.severity, event.fired_at, limit, back)
        })
        .collect();
    let (severity, fired_at, limit) = (Some(Critical), Some(at(0)), Some(100));
    assert_eq!(
        told,
        [
            (Firing, severity, fired_at, limit, None),
            (Firing, severity, fired_at, limit, Some(at(1))),
            (Inactive, severity, fired_at, limit, None),
        ]
    );
}

#[test]
fn the_end_of_a_window_ends_the_alert() {
    // The sum of a calendar window falls to nothing at its end.
    let sums = [40, 60, 110, 110, 0, 20];
    assert_eq!(
        run(&PLAIN, &values(&sums)),
        [NO, WARNS, FIRES, FIRES, NO, NO]
    );
}

#[test]
fn silence_means_what_the_rule_says() {
    use Observation::{NoData as Nothing, TooFew, Unknown, Value};
    let waiting = Conditions {
        hold: 2 * MINUTE,
        ..PLAIN
    };
    let of = |no_data| Conditions { no_data, ..PLAIN };
    let of_waiting = |no_data| Conditions { no_data, ..waiting };
    for (name, conditions, seen, expected) in [
        (
            "ok: back",
            of(NoData::Ok),
            &[Value(100), Nothing, Value(50), TooFew][..],
            &[FIRES, NO, WARNS, NO][..],
        ),
        (
            "ok: not pending any more",
            of_waiting(NoData::Ok),
            &[Value(50), Nothing, Value(50), TooFew],
            &[WAITS, NO, WAITS, NO],
        ),
        (
            "firing: beyond every limit, after the time that is asked for",
            of_waiting(NoData::Firing),
            &[Nothing, Nothing, Nothing, TooFew, Value(0)],
            &[WAITS_CRITICAL, WAITS_CRITICAL, FIRES, FIRES, NO],
        ),
        (
            "firing: too few are not none",
            of_waiting(NoData::Firing),
            &[TooFew, Nothing, TooFew, Nothing, Nothing],
            &[NO, WAITS_CRITICAL, NO, WAITS_CRITICAL, WAITS_CRITICAL],
        ),
        (
            "keep: as it was",
            of(NoData::Keep),
            &[Nothing, Value(50), Nothing, TooFew, Value(0), Nothing],
            &[NO, WARNS, WARNS, WARNS, NO, NO],
        ),
        (
            "keep: no time passes",
            of_waiting(NoData::Keep),
            &[Value(50), Nothing, Nothing, Nothing, Value(50)],
            &[WAITS, WAITS, WAITS, WAITS, WARNS],
        ),
        (
            "keep: too few end what is pending",
            of_waiting(NoData::Keep),
            &[
                Value(50),
                TooFew,
                Value(50),
                Value(50),
                Value(50),
                Value(100),
                TooFew,
                Value(100),
            ],
            &[WAITS, NO, WAITS, WAITS, WARNS, WARNS, WARNS, WARNS],
        ),
        (
            "unknown: neither fires nor resolves",
            of_waiting(NoData::Firing),
            &[
                Value(100),
                Unknown,
                Unknown,
                Unknown,
                Value(100),
                Unknown,
                Value(0),
                Unknown,
            ],
            &[
                WAITS_CRITICAL,
                WAITS_CRITICAL,
                WAITS_CRITICAL,
                WAITS_CRITICAL,
                FIRES,
                FIRES,
                NO,
                NO,
            ],
        ),
    ] {
        assert_eq!(run(&conditions, seen), expected, "{name}");
    }
    let only_warning = Conditions {
        critical: None,
        ..of(NoData::Firing)
    };
    assert_eq!(run(&only_warning, &[Nothing]), [WARNS]);
}

#[test]
fn what_is_back_stays_so_while_nobody_knows_more() {
    let conditions = Conditions {
        keep_firing: MINUTE,
        no_data: NoData::Keep,
        ..PLAIN
    };
    let mut machine = Machine::default();
    machine.step(at(0), Observation::Value(50), &conditions);
    machine.step(at(1), Observation::Value(0), &conditions);
    for (minute, seen) in [
        (3, Observation::TooFew),
        (4, Observation::NoData),
        (5, Observation::Unknown),
    ] {
        assert_eq!(machine.step(at(minute), seen, &conditions), None);
    }
    assert!(machine.is_firing());
    machine.step(at(6), Observation::Value(0), &conditions);
    assert_eq!(machine, Machine::default());
}
