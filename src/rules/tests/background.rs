//! What is held of budgets for things made in the background, over readings of the ledger.

use super::crashes::{Row, minute, unknown};
use super::*;
use crate::rules::HeldRequest;

/// A thing made in the background whose usage is still to be told.
fn awaited(id: &str, worst: i64, started_at: UnixMicros) -> HeldRequest<'_> {
    HeldRequest {
        awaited: true,
        ..unknown(
            id,
            worst,
            started_at,
            std::time::Duration::from_secs(24 * 60 * 60),
        )
    }
}

#[test]
fn what_is_made_in_the_background_is_held_until_its_usage_comes() {
    let (rules, _) = rules(&set([daily_block(1_000)]));
    let held = rules.admit(&demand("a", Some(900), NOON), NOON).unwrap();
    drop(rules.keep(held, "resp_1", NOON));
    assert!(rules.admit(&demand("a", Some(200), NOON), NOON).is_err());
    let kept = rules.take_kept("resp_1");
    rules.observe(&sample("a", 100, at(60)), kept, at(60));
    assert!(rules.admit(&demand("a", Some(200), at(60)), at(60)).is_ok());
}

#[test]
fn what_is_made_in_the_background_is_held_in_the_next_period_too() {
    let (rules, _) = rules(&set([daily_block(10)]));
    let midnight = 12 * 60 * 60;
    let late = at(midnight - 60);
    let held = rules.admit(&demand("a", Some(5), late), late).unwrap();
    drop(rules.keep(held, "resp_1", late));
    let next = at(midnight + 60);
    assert!(rules.admit(&demand("a", Some(6), next), next).is_err());
    let kept = rules.take_kept("resp_1");
    rules.observe(&sample("a", 5, next), kept, next);
    assert!(rules.admit(&demand("a", Some(6), next), next).is_err());
    assert!(rules.admit(&demand("a", Some(5), next), next).is_ok());
}

#[test]
fn what_is_settled_while_the_ledger_is_read_is_not_held_again() {
    let set = set([daily_block(100)]);
    let (rules, _) = rules(&set);
    let mut preparation = rules.prepare(&set, BudgetSettings::default(), true, NOON);
    preparation.held(&awaited("resp_1", 90, NOON));
    // The snapshot is older than this.
    let kept = rules.take_kept("resp_1");
    rules.observe(&sample("a", 10, NOON), kept, NOON);
    preparation.install(None, NOON).unwrap();
    assert!(rules.admit(&demand("a", Some(90), NOON), NOON).is_ok());
}

#[test]
fn what_the_ledger_tells_again_is_held_once_and_what_it_does_not_is_held_no_more() {
    let set = set([daily_block(100)]);
    let (rules, _) = rules(&set);
    let begin = || rules.prepare(&set, BudgetSettings::default(), true, NOON);
    let fits = |worst| rules.admit(&demand("a", Some(worst), NOON), NOON).is_ok();
    let held = rules.admit(&demand("a", Some(10), NOON), NOON).unwrap();
    drop(rules.keep(held, "resp_here", NOON));
    for _ in 0..2 {
        let mut preparation = begin();
        preparation.held(&awaited("resp_1", 50, NOON));
        preparation.held(&awaited("resp_here", 10, NOON));
        assert!(fits(40), "while it is read");
        preparation.install(None, NOON).unwrap();
        assert!(fits(40) && !fits(41), "once it is");
    }
    begin().install(None, NOON).unwrap();
    assert!(
        fits(90) && !fits(91),
        "another process was told of its usage"
    );
}

#[test]
fn a_request_whose_row_counts_is_not_held_besides() {
    let rule = Rule {
        metric: Metric::Requests,
        ..daily_block(2)
    };
    let set = set([rule]);
    let asked = |rules: &Rules| rules.admit(&demand("a", Some(0), NOON), NOON);
    let (crashed, _) = rules(&set);
    let mut preparation = crashed.prepare(&set, BudgetSettings::default(), true, NOON);
    let lease = crashed.budgets().lease;
    preparation.minute(
        &minute(&Row {
            started_at: NOON,
            counted: 0,
            worst: Some(9),
        }),
        NOON,
    );
    preparation.held(&unknown("r", 9, NOON, lease));
    preparation.install(None, NOON).unwrap();
    assert!(asked(&crashed).is_ok());

    let (background, _) = rules(&set);
    let rest = background.keep(asked(&background).unwrap(), "resp_1", NOON);
    let other = asked(&background).unwrap();
    // Until its row counts it is held.
    assert!(asked(&background).is_err());
    background.observe(&sample("a", 0, NOON), rest, NOON);
    drop(other);
    assert!(asked(&background).is_ok());
}
