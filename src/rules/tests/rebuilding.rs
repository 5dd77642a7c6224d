//! Rules that are replaced while requests go on.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::record::MinuteSample;
use crate::rules::{Reservation, Until};

fn sum_of(rules: &Rules, rule: &str, now: UnixMicros) -> i64 {
    let views = rules.view(now);
    let view = views.iter().find(|view| *view.rule.name == *rule).unwrap();
    view.alerts
        .iter()
        .filter_map(|alert| alert.value)
        .map(|value| value.value)
        .sum()
}

/// Four threads observe, each sample at a place of its own in a journal, while windows are read again
/// and again from a snapshot of that journal: each sample counts once.
#[test]
fn a_snapshot_and_what_ends_meanwhile_make_each_request_count_once() {
    let set = set([daily_block(i64::MAX)]);
    let (rules, _) = rules(&set);
    let journal = Mutex::new(Vec::<i64>::new());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (rules, journal, stop) = (&rules, &journal, &stop);
            scope.spawn(move || {
                let mut cost = thread;
                while !stop.load(Ordering::Relaxed) {
                    cost = (cost * 31 + 7) % 1_009;
                    let position = {
                        let mut journal = journal.lock().unwrap();
                        journal.push(cost);
                        journal.len() as u64 - 1
                    };
                    let sample = Sample {
                        position: Some(position),
                        ..sample("a", cost, NOON)
                    };
                    rules.observe(&sample, Reservation::default(), NOON);
                }
            });
        }
        for _ in 0..50 {
            let mut preparation = rules.prepare(&set, BudgetSettings::default(), true, NOON);
            let (sum, count) = {
                let journal = journal.lock().unwrap();
                (journal.iter().sum(), journal.len() as u64)
            };
            preparation.minute(&minute(sum, count), NOON);
            preparation.install(Some(count), NOON).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
    let all: i64 = journal.into_inner().unwrap().iter().sum();
    assert_eq!(sum_of(&rules, "DailySpend", NOON), all);
}

#[test]
fn an_edited_limit_keeps_what_was_counted_and_acts_at_once() {
    let (rules, _) = rules(&set([daily_block(100)]));
    rules.observe(&sample("a", 50, NOON), Reservation::default(), NOON);
    let set = set([daily_block(40)]);
    let preparation = rules.prepare(&set, BudgetSettings::default(), false, NOON);
    assert!(preparation.needs().is_nothing());
    preparation.install(None, NOON).unwrap();
    assert_eq!(sum_of(&rules, "DailySpend", NOON), 50);
    assert!(rules.admit(&demand("a", Some(1), NOON), NOON).is_err());
}

#[test]
fn what_is_held_goes_over_to_a_window_that_is_read_anew() {
    let (rules, _) = rules(&set([daily_block(100)]));
    let held = rules.admit(&demand("a", Some(90), NOON), NOON).unwrap();
    let hourly = Rule {
        span: Span::Rolling(std::time::Duration::from_secs(3_600)),
        ..daily_block(100)
    };
    let set = set([hourly]);
    let preparation = rules.prepare(&set, BudgetSettings::default(), false, NOON);
    assert!(preparation.needs().minutes_since.is_some());
    preparation.install(None, NOON).unwrap();
    assert!(rules.admit(&demand("a", Some(20), NOON), NOON).is_err());
    drop(held);
    assert!(rules.admit(&demand("a", Some(90), NOON), NOON).is_ok());
}

#[test]
fn nothing_fires_or_resolves_while_the_past_is_not_known() {
    let (rules, seen) = rules(&set([closing(Until::WindowEnd)]));
    rules.set_unknown("the ledger cannot be read");
    rules.observe(&sample("a", 50, NOON), Reservation::default(), NOON);
    assert!(seen.events.lock().unwrap().is_empty());
    assert!(rules.view(NOON)[0].unhealthy.is_some());
}

#[test]
fn combinations_beyond_the_most_fold_into_one_and_are_counted() {
    let rule = Rule {
        max_series: 2,
        ..closing(Until::WindowEnd)
    };
    let (rules, _) = rules(&set([rule]));
    for channel in ["a", "b", "c", "d"] {
        rules.observe(&sample(channel, 1, NOON), Reservation::default(), NOON);
    }
    let view = &rules.view(NOON)[0];
    let labels: Vec<_> = view
        .alerts
        .iter()
        .filter_map(|alert| alert.labels.get("channel"))
        .collect();
    assert_eq!(labels.len(), 3);
    assert!(labels.iter().any(|label| &***label == "other"));
    assert_eq!(view.folded, 2);
}

#[test]
fn of_two_preparations_the_later_one_counts() {
    let set = set([daily_block(100)]);
    let (rules, _) = rules(&set);
    let first = rules.prepare(&set, BudgetSettings::default(), true, NOON);
    let second = rules.prepare(&set, BudgetSettings::default(), true, NOON);
    assert!(first.install(None, NOON).is_err());
    rules.observe(&sample("a", 50, NOON), Reservation::default(), NOON);
    second.install(None, NOON).unwrap();
    assert_eq!(sum_of(&rules, "DailySpend", NOON), 50);
    drop(rules.prepare(&set, BudgetSettings::default(), true, NOON));
    rules.observe(&sample("a", 50, NOON), Reservation::default(), NOON);
    assert_eq!(sum_of(&rules, "DailySpend", NOON), 100);
}

#[test]
fn what_folds_stays_together_as_long_as_it_has_anything() {
    let rule = Rule {
        max_series: 2,
        span: Span::Rolling(std::time::Duration::from_secs(3_600)),
        ..by_channel(daily_block(10))
    };
    let (rules, _) = rules(&set([rule]));
    for (channel, cost, second) in [("a", 1, 0), ("c", 1, 0), ("b", 9, 1_800)] {
        rules.observe(
            &sample(channel, cost, at(second)),
            Reservation::default(),
            at(second),
        );
    }
    // Long enough for those that have nothing any more to be forgotten.
    for tick in 0..128 {
        rules.tick(at(3_800 + tick));
    }
    let now = at(4_000);
    assert!(rules.admit(&demand("b", Some(2), now), now).is_err());
}

#[test]
fn labels_of_long_ago_take_no_room_from_those_of_now() {
    let day = Rule {
        max_series: 2,
        ..by_channel(daily_block(10))
    };
    let month = Rule {
        name: "Month".into(),
        span: Span::Calendar(Calendar {
            unit: CalendarUnit::Month,
            zone: jiff::tz::TimeZone::UTC,
            week_start: jiff::civil::Weekday::Monday,
            month_start: 1,
            resets_at_s: 0,
        }),
        ..by_channel(daily_block(i64::MAX))
    };
    let set = set([day, month]);
    let (rules, _) = rules(&set);
    let mut preparation = rules.prepare(&set, BudgetSettings::default(), true, NOON);
    for (channel, days) in [("x", 10), ("y", 9), ("a", 0)] {
        let moment = UnixMicros(NOON.0 - days * 24 * 3_600 * SECOND).minute();
        let row = MinuteSample {
            started: moment,
            ended: moment,
            dimensions: of(channel),
            ..minute(9, 1)
        };
        preparation.minute(&row, NOON);
    }
    preparation.install(None, NOON).unwrap();
    let view = rules.view(NOON).remove(0);
    let labels: Vec<_> = view
        .alerts
        .iter()
        .map(|alert| alert.labels.get("channel").cloned())
        .collect();
    assert_eq!(labels, [Some(Arc::from("a"))]);
    assert!(rules.admit(&demand("a", Some(2), NOON), NOON).is_err());
}
