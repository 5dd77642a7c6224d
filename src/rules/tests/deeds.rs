//! What alerts do and undo, over edits and restarts.

use super::*;
use crate::rules::{Reservation, Until};

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
