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

fn minute(cost: i64, requests: u64) -> MinuteSample<'static> {
    MinuteSample {
        started: NOON.minute(),
        ended: NOON.minute(),
        dimensions: of("a"),
        requests,
        errors: 0,
        cost_nanousd: Some(cost),
        tokens: None,
        input_tokens: None,
        output_tokens: None,
        latency_us: None,
        ttft_us: None,
        pace_milli: None,
    }
}

fn closing(until: Until) -> Rule {
    by_channel(Rule {
        actions: vec![Action::DisableChannel {
            channel: None,
            until,
            recovery: Recovery::Open,
            allow_last: true,
        }],
        ..daily_block(10)
    })
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
    drop(held);
    assert!(rules.admit(&demand("a", Some(90), NOON), NOON).is_ok());
}

#[test]
fn a_rule_that_is_taken_away_frees_what_it_closed_and_nothing_else() {
    let (rules, seen) = rules(&set([closing(Until::WindowEnd)]));
    rules.observe(&sample("a", 50, NOON), Reservation::default(), NOON);
    assert_eq!(seen.closed.lock().unwrap().len(), 1);
    let none = RuleSet::default();
    let preparation = rules.prepare(&none, BudgetSettings::default(), false, NOON);
    preparation.install(None, NOON).unwrap();
    assert_eq!(*seen.reopened.lock().unwrap(), [Arc::from("a")]);
    let events = seen.events.lock().unwrap();
    assert_eq!(
        events.last().unwrap().state,
        crate::alert::AlertState::Inactive
    );
}

#[test]
fn by_hand_means_that_no_end_of_the_alert_opens_the_channel() {
    let (rules, seen) = rules(&set([closing(Until::Manual)]));
    rules.observe(&sample("a", 50, NOON), Reservation::default(), NOON);
    assert_eq!(seen.closed.lock().unwrap()[0].until, None);
    rules.tick(at(13 * 60 * 60));
    let state = rules.view(at(13 * 60 * 60))[0].alerts[0].state;
    assert_eq!(state, crate::alert::AlertState::Inactive);
    assert!(seen.reopened.lock().unwrap().is_empty());
}

#[test]
fn the_last_channel_is_closed_as_soon_as_it_is_not_the_last() {
    let (rules, seen) = rules(&set([closing(Until::WindowEnd)]));
    *seen.last_of.lock().unwrap() = Some("gpt-5".into());
    rules.observe(&sample("a", 50, NOON), Reservation::default(), NOON);
    rules.tick(at(1));
    assert_eq!(
        seen.events.lock().unwrap().len(),
        1,
        "still withheld is no news"
    );
    *seen.last_of.lock().unwrap() = None;
    rules.tick(at(2));
    assert_eq!(seen.closed.lock().unwrap().len(), 1);
    let events = seen.events.lock().unwrap();
    assert!(
        events
            .last()
            .unwrap()
            .actions
            .iter()
            .all(|action| action.done)
    );
}

#[test]
fn an_alert_goes_on_after_a_restart_and_does_nothing_twice() {
    let set = set([closing(Until::WindowEnd)]);
    let (before, seen) = rules(&set);
    before.observe(&sample("a", 50, NOON), Reservation::default(), NOON);
    let last = seen.events.lock().unwrap().last().unwrap().clone();
    let (after, seen) = rules(&set);
    let mut preparation = after.prepare(&set, BudgetSettings::default(), true, at(60));
    preparation.minute(&minute(50, 1), at(60));
    preparation.alert(&last);
    preparation.install(None, at(60)).unwrap();
    assert!(
        seen.closed.lock().unwrap().is_empty(),
        "its gate was restored"
    );
    assert!(seen.events.lock().unwrap().is_empty());
    let alert = &after.view(at(60))[0].alerts[0];
    assert_eq!(
        (alert.state, alert.fired_at),
        (crate::alert::AlertState::Firing, Some(NOON))
    );
    // The day's end ends it and frees the channel.
    after.tick(at(12 * 60 * 60));
    assert_eq!(*seen.reopened.lock().unwrap(), [Arc::from("a")]);
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
fn a_rule_that_went_while_nothing_ran_leaves_no_channel_closed() {
    let (before, seen) = rules(&set([closing(Until::WindowEnd)]));
    before.observe(&sample("a", 50, NOON), Reservation::default(), NOON);
    let last = seen.events.lock().unwrap().last().unwrap().clone();
    let none = RuleSet::default();
    let (after, seen) = rules(&none);
    let mut preparation = after.prepare(&none, BudgetSettings::default(), true, at(60));
    preparation.alert(&last);
    preparation.install(None, at(60)).unwrap();
    assert_eq!(*seen.freed.lock().unwrap(), [last.alert]);
    let events = seen.events.lock().unwrap();
    assert_eq!(events[0].state, crate::alert::AlertState::Inactive);
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
fn an_edited_action_is_done_at_once() {
    for anew in [false, true] {
        let (rules, seen) = rules(&set([daily_block(10)]));
        rules.observe(&sample("a", 50, NOON), Reservation::default(), NOON);
        let edited = Rule {
            actions: vec![Action::DisableChannel {
                channel: Some("a".into()),
                until: Until::WindowEnd,
                recovery: Recovery::Open,
                allow_last: true,
            }],
            ..daily_block(10)
        };
        let set = set([edited]);
        let mut preparation = rules.prepare(&set, BudgetSettings::default(), anew, NOON);
        if anew {
            preparation.minute(&minute(50, 1), NOON);
        }
        preparation.install(None, NOON).unwrap();
        assert_eq!(seen.closed.lock().unwrap().len(), 1, "{anew}");
    }
}

#[test]
fn an_alert_whose_rule_was_edited_while_nothing_ran_leaves_no_channel_closed() {
    let (before, seen) = rules(&set([closing(Until::Resolved)]));
    before.observe(&sample("a", 50, NOON), Reservation::default(), NOON);
    let last = seen.events.lock().unwrap().last().unwrap().clone();
    let edited = Rule {
        mode: Mode::Notify,
        ..closing(Until::Resolved)
    };
    let set = set([edited]);
    let (after, seen) = rules(&set);
    let mut preparation = after.prepare(&set, BudgetSettings::default(), true, at(60));
    preparation.minute(&minute(50, 1), at(60));
    preparation.alert(&last);
    preparation.install(None, at(60)).unwrap();
    assert_eq!(*seen.freed.lock().unwrap(), [last.alert]);
}

#[test]
fn only_what_is_due_is_done_again() {
    let close = |channel: &str, until| Action::DisableChannel {
        channel: Some(channel.into()),
        until,
        recovery: Recovery::Open,
        allow_last: false,
    };
    let minute = std::time::Duration::from_secs(60);
    let rule = Rule {
        actions: vec![close("a", Until::For(minute)), close("b", Until::WindowEnd)],
        ..daily_block(10)
    };
    let (rules, seen) = rules(&set([rule]));
    *seen.last.lock().unwrap() = Some("b".into());
    rules.observe(&sample("a", 50, NOON), Reservation::default(), NOON);
    for second in 1..60 {
        rules.tick(at(second));
    }
    let closed = || -> Vec<Arc<str>> {
        let closed = seen.closed.lock().unwrap();
        closed
            .iter()
            .map(|closure| Arc::clone(&closure.channel))
            .collect()
    };
    assert_eq!(closed(), [Arc::from("a")]);
    assert_eq!(seen.events.lock().unwrap().len(), 1);
    rules.tick(at(60));
    assert_eq!(closed(), [Arc::from("a"), Arc::from("a")]);
}

#[test]
fn a_closing_for_a_time_is_done_again_when_that_is_over_also_after_a_restart() {
    let set = set([closing(Until::For(std::time::Duration::from_secs(3_600)))]);
    let (before, seen) = rules(&set);
    before.observe(&sample("a", 50, NOON), Reservation::default(), NOON);
    let mut last = seen.events.lock().unwrap().last().unwrap().clone();
    // Kept for the sake of a restart, long after.
    last.at = at(3_300);
    let (after, seen) = rules(&set);
    let mut preparation = after.prepare(&set, BudgetSettings::default(), true, at(3_400));
    preparation.minute(&minute(50, 1), at(3_400));
    preparation.alert(&last);
    preparation.install(None, at(3_400)).unwrap();
    after.tick(at(3_599));
    assert!(seen.closed.lock().unwrap().is_empty());
    after.tick(at(3_600));
    assert_eq!(seen.closed.lock().unwrap().len(), 1);
}

#[test]
fn whoever_is_told_changes_nothing_of_what_is_done() {
    let (rules, seen) = rules(&set([closing(Until::WindowEnd)]));
    rules.observe(&sample("a", 50, NOON), Reservation::default(), NOON);
    let mut edited = closing(Until::WindowEnd);
    edited.actions.push(Action::Notify(vec!["ops".into()]));
    let set = set([edited]);
    let preparation = rules.prepare(&set, BudgetSettings::default(), false, NOON);
    preparation.install(None, NOON).unwrap();
    assert!(seen.reopened.lock().unwrap().is_empty());
    assert_eq!(seen.events.lock().unwrap().len(), 1);
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

#[test]
fn an_alert_on_a_plan_goes_on_until_the_provider_speaks_again() {
    let rule = Rule {
        metric: Metric::QuotaUsed,
        stat: Stat::Max,
        critical: Some(900_000),
        ..closing(Until::Resolved)
    };
    let set = set([rule]);
    let (before, seen) = rules(&set);
    before.quota("a", "5h", 950_000, NOON);
    let last = seen.events.lock().unwrap().last().unwrap().clone();
    let state = |rules: &Rules, now| rules.view(now)[0].alerts[0].state;
    let (after, _) = rules(&set);
    let mut preparation = after.prepare(&set, BudgetSettings::default(), true, at(60));
    preparation.alert(&last);
    preparation.install(None, at(60)).unwrap();
    after.tick(at(61));
    assert_eq!(state(&after, at(61)), crate::alert::AlertState::Firing);
    // Read again while it runs: what the provider said is not forgotten.
    let again = before.prepare(&set, BudgetSettings::default(), true, at(60));
    again.install(None, at(60)).unwrap();
    assert_eq!(state(&before, at(60)), crate::alert::AlertState::Firing);
    // A closed channel gets no answers: it is not waited for for ever.
    after.tick(at(2 * 60 * 60));
    assert_eq!(
        state(&after, at(2 * 60 * 60)),
        crate::alert::AlertState::Inactive
    );
}

#[test]
fn a_warning_says_nothing_of_what_only_the_critical_limit_does() {
    let rule = Rule {
        warning: Some(5),
        critical: Some(20),
        span: Span::Rolling(std::time::Duration::from_secs(60)),
        ..closing(Until::Resolved)
    };
    let (rules, seen) = rules(&set([rule]));
    rules.observe(&sample("a", 14, at(0)), Reservation::default(), at(0));
    rules.observe(&sample("a", 6, at(30)), Reservation::default(), at(30));
    assert_eq!(seen.closed.lock().unwrap().len(), 1);
    rules.tick(at(70));
    let alert = &rules.view(at(70))[0].alerts[0];
    assert_eq!(alert.severity, Some(crate::alert::Severity::Warning));
    assert!(alert.actions.is_empty());
}
