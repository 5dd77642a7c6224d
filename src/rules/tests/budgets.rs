//! What a budget that blocks promises.

use std::sync::atomic::{AtomicI64, Ordering};

use proptest::prelude::*;

use super::*;
use crate::alert::Quantity;
use crate::rules::{BlockedBy, Reservation, Until};

#[test]
fn what_is_held_counts_until_it_is_settled_or_given_back() {
    let (rules, _) = rules(&set([daily_block(10)]));
    let held = rules.admit(&demand("a", Some(6), at(0)), at(0)).unwrap();
    let refused = rules
        .admit(&demand("a", Some(6), at(0)), at(0))
        .unwrap_err();
    let quantity = |value| Quantity {
        unit: crate::alert::Unit::Usd,
        value,
    };
    assert_eq!(
        refused.why,
        BlockedBy::Budget {
            limit: quantity(10),
            used: quantity(0),
            reserved: quantity(6),
            worst: quantity(6),
        }
    );
    assert_eq!(refused.until, Some(at(12 * 60 * 60)));
    rules.observe(&sample("a", 4, at(0)), held, at(1));
    // 4 are spent, 6 are free.
    let held = rules.admit(&demand("a", Some(6), at(1)), at(1)).unwrap();
    drop(held);
    rules.admit(&demand("a", Some(6), at(1)), at(1)).unwrap();
}

#[test]
fn what_has_begun_by_itself_is_held_beyond_the_limit_and_in_the_bound() {
    let (rules, _) = rules(&set([daily_block(10)]));
    let bound = |rules: &Rules| rules.view(at(0))[0].overshoot_bound.flatten().unwrap();
    let first = rules.admit(&demand("a", Some(6), at(0)), at(0)).unwrap();
    assert_eq!(bound(&rules).value, 0);
    let begun = rules.hold(&demand("a", Some(7), at(0)));
    assert_eq!(bound(&rules).value, 3);
    drop(first);
    // 7 are held of 10.
    assert_eq!(bound(&rules).value, 0);
    assert!(rules.admit(&demand("a", Some(4), at(0)), at(0)).is_err());
    drop(begun);
    rules.admit(&demand("a", Some(10), at(0)), at(0)).unwrap();
}

#[test]
fn the_window_end_frees_the_budget_and_a_late_end_stays_in_its_day() {
    let (rules, _) = rules(&set([daily_block(10)]));
    let before = at(12 * 60 * 60 - 1);
    let after = at(12 * 60 * 60);
    let late = rules.admit(&demand("a", Some(10), before), before).unwrap();
    assert!(rules.admit(&demand("a", Some(1), before), before).is_err());
    // What yesterday's request holds is yesterday's.
    let held = rules.admit(&demand("a", Some(10), after), after).unwrap();
    rules.observe(&sample("a", 10, before), late, after);
    drop(held);
    rules.admit(&demand("a", Some(10), after), after).unwrap();
}

#[test]
fn an_unbounded_request_goes_while_anything_is_left() {
    let (rules, _) = rules(&set([daily_block(10 * USD)]));
    let held = rules.admit(&demand("a", None, at(0)), at(0)).unwrap();
    let bound = rules.view(at(0))[0].overshoot_bound;
    assert_eq!(bound, Some(None), "nobody can say");
    rules.observe(&sample("a", 12 * USD, at(0)), held, at(1));
    assert!(rules.admit(&demand("a", None, at(1)), at(1)).is_err());
    let bound = rules.view(at(1))[0].overshoot_bound.flatten().unwrap();
    assert_eq!(bound.value, 0);
}

#[test]
fn a_rule_that_only_closes_says_what_is_on_its_way() {
    let rule = by_channel(Rule {
        actions: vec![Action::DisableChannel {
            channel: None,
            until: Until::WindowEnd,
            recovery: Recovery::Open,
            allow_last: true,
        }],
        ..daily_block(10)
    });
    let (rules, seen) = rules(&set([rule]));
    let first = rules.admit(&demand("a", Some(9), at(0)), at(0)).unwrap();
    let second = rules.admit(&demand("a", Some(8), at(0)), at(0)).unwrap();
    let bound = rules.view(at(0))[0].overshoot_bound.flatten().unwrap();
    assert_eq!(bound.value, 17);
    rules.observe(&sample("a", 9, at(0)), first, at(1));
    assert!(seen.closed.lock().unwrap().is_empty());
    rules.observe(&sample("a", 8, at(0)), second, at(1));
    let closed = seen.closed.lock().unwrap();
    assert_eq!(closed.len(), 1, "before the call returned");
    assert_eq!(closed[0].until, Some(at(12 * 60 * 60)));
}

#[test]
fn shadow_says_what_it_would_refuse_and_refuses_nothing() {
    let rule = Rule {
        mode: Mode::Shadow,
        ..daily_block(10)
    };
    let (rules, _) = rules(&set([rule]));
    let _first = rules.admit(&demand("a", Some(9), at(0)), at(0)).unwrap();
    let _second = rules.admit(&demand("a", Some(9), at(0)), at(0)).unwrap();
    let view = &rules.view(at(0))[0];
    assert_eq!((view.blocked, view.would_block), (0, 1));
}

#[test]
fn a_budget_of_all_channels_is_no_reason_to_try_another() {
    let all = daily_block(10);
    let one = by_channel(Rule {
        name: "PerChannel".into(),
        ..daily_block(5)
    });
    let (rules, _) = rules(&set([one, all]));
    let _held = rules.admit(&demand("a", Some(5), at(0)), at(0)).unwrap();
    let refused = rules
        .admit(&demand("a", Some(3), at(0)), at(0))
        .unwrap_err();
    assert!(refused.of_channel, "another channel has room");
    let refused = rules
        .admit(&demand("a", Some(6), at(0)), at(0))
        .unwrap_err();
    assert!(!refused.of_channel, "nobody has");
    assert_eq!(&*refused.alert.rule, "DailySpend");
}

/// 200 clients at a time, each asking as long as it is not refused: what is spent is never more than
/// the limit, and whoever was refused was so because no worst case was free.
#[test]
fn two_hundred_clients_never_pass_the_limit_and_leave_no_worst_case_free() {
    const LIMIT: i64 = 1_000_000;
    const WORST: i64 = 997;
    let (rules, _) = rules(&set([daily_block(LIMIT)]));
    let spent = AtomicI64::new(0);
    std::thread::scope(|scope| {
        for client in 0..200_i64 {
            let (rules, spent) = (&rules, &spent);
            scope.spawn(move || {
                let mut turn = client;
                while let Ok(held) = rules.admit(&demand("a", Some(WORST), at(0)), at(0)) {
                    turn = (turn * 1_103_515_245 + 12_345).rem_euclid(1 << 31);
                    let cost = turn % (WORST + 1);
                    let before = spent.fetch_add(cost, Ordering::SeqCst);
                    assert!(before + cost <= LIMIT);
                    rules.observe(&sample("a", cost, at(0)), held, at(0));
                }
            });
        }
    });
    // The last one was refused while others still held something; now nobody does.
    let spent = spent.into_inner();
    let fits = rules.admit(&demand("a", Some(WORST), at(0)), at(0)).is_ok();
    assert_eq!(fits, spent + WORST <= LIMIT, "{spent}");
}

#[derive(Clone, Debug)]
enum Step {
    Ask { worst: i64 },
    End { which: usize, share: u8 },
    Leave { which: usize },
    Wait { seconds: i64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_i64..40).prop_map(|worst| Step::Ask { worst }),
        3 => (any::<usize>(), any::<u8>()).prop_map(|(which, share)| Step::End { which, share }),
        1 => any::<usize>().prop_map(|which| Step::Leave { which }),
        1 => (0_i64..20_000).prop_map(|seconds| Step::Wait { seconds }),
    ]
}

proptest! {
    /// Over any order of asking, ending and leaving, on any day: a request is refused if and only if
    /// what is spent, what is held and its worst case come to more than the limit.
    #[test]
    fn a_request_is_refused_exactly_where_its_worst_case_does_not_fit(
        steps in prop::collection::vec(step(), 1..120),
    ) {
        const LIMIT: i64 = 100;
        const DAY: i64 = 24 * 60 * 60 * SECOND;
        let (rules, _) = rules(&set([daily_block(LIMIT)]));
        let mut now = NOON;
        let mut open: Vec<(Reservation, i64, UnixMicros)> = Vec::new();
        let mut spent: Vec<(i64, UnixMicros)> = Vec::new();
        let day = |moment: UnixMicros| moment.0.div_euclid(DAY);
        for step in steps {
            match step {
                Step::Ask { worst } => {
                    let used: i64 = spent.iter().filter(|(_, at)| day(*at) == day(now)).map(|(cost, _)| cost).sum();
                    let held: i64 = open.iter().filter(|(_, _, at)| day(*at) == day(now)).map(|(_, worst, _)| worst).sum();
                    let fits = used + held + worst <= LIMIT;
                    let asked = rules.admit(&demand("a", Some(worst), now), now);
                    prop_assert_eq!(asked.is_ok(), fits, "{} + {} + {}", used, held, worst);
                    open.extend(asked.ok().map(|held| (held, worst, now)));
                }
                Step::End { which, share } if !open.is_empty() => {
                    let (held, worst, started) = open.swap_remove(which % open.len());
                    let cost = worst * i64::from(share) / 255;
                    rules.observe(&sample("a", cost, started), held, now);
                    spent.push((cost, started));
                }
                Step::Leave { which } if !open.is_empty() => {
                    drop(open.swap_remove(which % open.len()));
                }
                Step::Wait { seconds } => {
                    now = UnixMicros(now.0 + seconds * SECOND);
                    rules.tick(now);
                }
                Step::End { .. } | Step::Leave { .. } => {}
            }
            let today: i64 = spent.iter().filter(|(_, at)| day(*at) == day(now)).map(|(cost, _)| cost).sum();
            prop_assert!(today <= LIMIT);
        }
    }
}
