use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::alert::{NotificationKind, NotifyReason};
use crate::dispatch::pacing::Shared;
use crate::notify::{Pace, Rate};

fn at(seconds: i64) -> UnixMicros {
    UnixMicros(seconds * 1_000_000)
}

fn notification(number: u128, group: &str) -> Waiting {
    let notification = Notification {
        id: Uuid::from_u128(number),
        at: at(0),
        receiver: "ops".into(),
        kind: NotificationKind::Alert,
        reason: NotifyReason::First,
        group: group.into(),
        title: "".into(),
        deadline: at(600),
        content: "".into(),
        told: "".into(),
    };
    Waiting::new(Arc::new(notification), None)
}

fn queue(rates: &[(u32, u64)]) -> Queue {
    let own = rates.iter().map(|&(messages, seconds)| Rate {
        messages,
        per: Duration::from_secs(seconds),
    });
    let pace = Pace {
        own: own.collect(),
        ..Pace::default()
    };
    Queue::new(Pacer::new(&pace, &Shared::default(), long_ago()), true)
}

/// A start, whose caution is over.
fn long_ago() -> Instant {
    Instant::now()
        .checked_sub(Duration::from_secs(3600))
        .unwrap()
}

fn ids(waiting: &[Waiting]) -> Vec<u128> {
    let ids = waiting.iter();
    ids.map(|waiting| waiting.notification.id.as_u128())
        .collect()
}

fn step(queue: &mut Queue, now: i64, clock: Instant) -> Option<Vec<u128>> {
    let mut dead = Vec::new();
    let step = queue.step(at(now), clock, &mut dead);
    assert!(dead.is_empty());
    match step {
        Step::Send(batch) => Some(ids(&batch)),
        Step::Wait(_) => None,
    }
}

fn sent() -> Delivered {
    Delivered::Sent {
        reference: Some("1".into()),
    }
}

fn again(after: Option<u64>) -> Delivered {
    Delivered::Again {
        after: after.map(Duration::from_secs),
        reason: FailureReason::ServerError,
        detail: "down".to_owned(),
    }
}

fn refused() -> Delivered {
    Delivered::GiveUp {
        reason: FailureReason::Refused,
        detail: "no".to_owned(),
    }
}

fn fates(settled: &[Settled]) -> Vec<(u128, &'static str, u32)> {
    let fates = settled.iter().map(|settled| &settled.fate);
    fates
        .map(|fate| (fate.id.as_u128(), fate.result.as_str(), fate.attempts))
        .collect()
}

#[test]
fn one_at_a_time_and_in_order_while_there_is_room() {
    let mut queue = queue(&[(10, 60)]);
    let clock = Instant::now();
    for number in 1..=2 {
        queue.push(notification(number, &format!("g{number}")), at(0));
    }
    assert_eq!(step(&mut queue, 0, clock), Some(vec![1]));
    assert_eq!(step(&mut queue, 0, clock), None);
    let settled = queue.answered(&sent(), at(0), clock, 0.0);
    assert_eq!(fates(&settled), [(1, "sent", 1)]);
    assert_eq!(settled[0].fate.reference.as_deref(), Some("1"));
    assert_eq!(step(&mut queue, 0, clock), Some(vec![2]));
}

#[test]
fn what_may_not_be_told_one_by_one_is_merged_and_nothing_is_dropped() {
    let mut queue = queue(&[(1, 60)]);
    let clock = Instant::now();
    queue.push(notification(0, "g"), at(0));
    assert_eq!(step(&mut queue, 0, clock), Some(vec![0]));
    queue.answered(&sent(), at(0), clock, 0.0);
    for number in 1..=250 {
        queue.push(notification(number, &format!("g{number}")), at(0));
    }
    assert_eq!(step(&mut queue, 0, clock), None);
    let mut told = Vec::new();
    let mut clock = clock;
    while queue.len() > 0 {
        clock += Duration::from_secs(60);
        let batch = step(&mut queue, 0, clock).unwrap();
        assert!(batch.len() <= MOST_MERGED);
        let settled = queue.answered(&sent(), at(0), clock, 0.0);
        assert_eq!(settled[0].fate.result, NotificationResult::Sent);
        let merged = |settled: &Settled| settled.fate.by == Some(Uuid::from_u128(batch[0]));
        assert!(settled[1..].iter().all(merged));
        told.extend(batch);
    }
    assert_eq!(told, (1..=250).collect::<Vec<_>>());
}

#[test]
fn a_few_that_may_follow_soon_are_not_merged() {
    for (waiting, seconds, first) in [(5, 1, 1), (6, 1, 6), (2, 3, 1), (2, 4, 2)] {
        let mut queue = queue(&[(1, seconds)]);
        for number in 1..=waiting {
            queue.push(notification(number, &format!("g{number}")), at(0));
        }
        let batch = step(&mut queue, 0, Instant::now()).unwrap();
        assert_eq!(batch.len(), first, "{waiting} every {seconds} s");
    }
}

#[test]
fn a_newer_one_of_a_group_takes_the_place_of_one_that_waits() {
    let mut queue = queue(&[]);
    let clock = Instant::now();
    queue.push(notification(1, "g"), at(0));
    queue.push(notification(2, "h"), at(0));
    let replaced = queue.push(notification(3, "g"), at(0)).pop().unwrap();
    assert_eq!(fates(std::slice::from_ref(&replaced)), [(1, "replaced", 0)]);
    assert_eq!(replaced.fate.by, Some(Uuid::from_u128(3)));
    assert_eq!(step(&mut queue, 0, clock), Some(vec![3]));
    // What is being sent is not replaced, unless it comes back.
    assert!(queue.push(notification(4, "g"), at(0)).is_empty());
    let settled = queue.answered(&again(None), at(0), clock, 0.0);
    assert_eq!(fates(&settled), [(3, "replaced", 1)]);
    let clock = clock + Duration::from_secs(1);
    assert_eq!(step(&mut queue, 1, clock), Some(vec![2]));
}

#[test]
fn the_last_part_of_a_newer_telling_takes_the_place_of_all_parts_of_earlier_ones() {
    let part = |number: u128, group: &str, seconds: i64| {
        let mut waiting = notification(number, group);
        Arc::make_mut(&mut waiting.notification).at = at(seconds);
        waiting
    };
    let mut queue = queue(&[(1, 3600)]);
    queue.merges = false;
    for (number, group) in [(1, "g#2"), (2, "g#3"), (3, "h#2"), (4, "g")] {
        assert!(queue.push(part(number, group, 1), at(1)).is_empty());
    }
    let clock = Instant::now();
    assert_eq!(step(&mut queue, 1, clock), Some(vec![1]));
    let replaced = queue.push(part(11, "g#2", 2), at(2));
    assert!(replaced.is_empty(), "{replaced:?}");
    let replaced = queue.push(part(12, "g", 2), at(2));
    assert_eq!(fates(&replaced), [(2, "replaced", 0), (4, "replaced", 0)]);
    // What was being sent is of no use any more either; the parts of one telling leave each other be.
    let replaced = queue.answered(&again(None), at(2), clock, 1.0);
    assert_eq!(fates(&replaced), [(1, "replaced", 1)]);
    let mut waiting = ids(&queue.waiting.take_all());
    waiting.sort_unstable();
    assert_eq!(waiting, [3, 11, 12]);
}

#[test]
fn failures_are_tried_again_ever_more_slowly_and_as_the_receiver_says() {
    let mut queue = queue(&[]);
    let mut clock = Instant::now();
    queue.push(notification(1, "g"), at(0));
    for pause in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
        assert_eq!(step(&mut queue, 0, clock), Some(vec![1]));
        queue.answered(&again(None), at(0), clock, 1.0);
        let pause = Duration::from_secs(pause);
        let nearly = pause.saturating_sub(Duration::from_millis(1));
        assert_eq!(step(&mut queue, 0, clock + nearly), None);
        clock += pause;
    }
    assert_eq!(step(&mut queue, 0, clock), Some(vec![1]));
    queue.answered(&again(Some(30)), at(0), clock, 0.5);
    assert_eq!(step(&mut queue, 0, clock + Duration::from_secs(29)), None);
    assert_eq!(
        step(&mut queue, 0, clock + Duration::from_secs(30)),
        Some(vec![1])
    );
    assert_eq!(backoff(0, 0.0), Duration::from_millis(500));
}

#[test]
fn what_nobody_took_before_its_deadline_is_dead_and_says_why() {
    let mut queue = queue(&[]);
    let clock = Instant::now();
    queue.push(notification(1, "g"), at(0));
    step(&mut queue, 0, clock);
    queue.answered(&again(Some(3600)), at(0), clock, 0.0);
    let mut dead = Vec::new();
    let step = queue.step(at(599), clock, &mut dead);
    assert!(matches!(step, Step::Wait(Some(wait)) if wait == Duration::from_secs(1)));
    queue.step(at(600), clock, &mut dead);
    assert_eq!(fates(&dead), [(1, "dead", 1)]);
    assert_eq!(dead[0].fate.error.as_deref(), Some("down"));
    assert_eq!(queue.len(), 0);
}

#[test]
fn of_a_message_that_is_refused_each_part_is_tried_by_itself() {
    let mut queue = queue(&[(1, 4)]);
    let mut clock = Instant::now();
    for number in 1..=3 {
        queue.push(notification(number, &format!("g{number}")), at(0));
    }
    assert_eq!(step(&mut queue, 0, clock), Some(vec![1, 2, 3]));
    assert!(queue.answered(&refused(), at(0), clock, 0.0).is_empty());
    let answers = [sent(), refused(), sent()];
    let mut found = Vec::new();
    for (number, answer) in (1..=3).zip(&answers) {
        clock += Duration::from_secs(4);
        assert_eq!(step(&mut queue, 0, clock), Some(vec![number]));
        let settled = queue.answered(answer, at(0), clock, 0.0);
        found.push(settled[0].fate.result.as_str());
    }
    assert_eq!(found, ["sent", "dead", "sent"]);
}

fn given_up_for(reason: FailureReason) -> Delivered {
    Delivered::GiveUp {
        reason,
        detail: "no".to_owned(),
    }
}

#[test]
fn a_pause_that_is_asked_for_ends_within_an_hour() {
    let mut queue = queue(&[]);
    let clock = Instant::now();
    queue.push(notification(1, "g"), at(0));
    step(&mut queue, 0, clock);
    queue.answered(&again(Some(u64::MAX)), at(0), clock, 0.0);
    let clock = clock + Duration::from_secs(3599);
    assert_eq!(step(&mut queue, 0, clock), None);
    let clock = clock + Duration::from_secs(1);
    assert_eq!(step(&mut queue, 0, clock), Some(vec![1]));
}

/// Sends for so many seconds to a receiver that takes nothing with one of `bad` in it; returns what was
/// taken when, in seconds.
fn taken(queue: &mut Queue, bad: &[u128], seconds: u64) -> Vec<(u64, Vec<u128>)> {
    let begin = Instant::now();
    let mut taken = Vec::new();
    for second in 0..seconds {
        let clock = begin + Duration::from_secs(second);
        while let Some(batch) = step(queue, 0, clock) {
            let is_bad = batch.iter().any(|number| bad.contains(number));
            let answer = if is_bad { again(None) } else { sent() };
            queue.answered(&answer, at(0), clock, 1.0);
            if !is_bad {
                taken.push((second, batch));
            }
        }
    }
    taken
}

#[test]
fn one_that_is_never_taken_holds_nobody_up_for_long() {
    let mut one_by_one = queue(&[]);
    for number in 1..=3 {
        one_by_one.push(notification(number, &format!("g{number}")), at(0));
    }
    let told = taken(&mut one_by_one, &[1], 60);
    // It is tried once more as soon as another was taken, and then by itself.
    assert_eq!(told, [(7, vec![2]), (8, vec![3])]);
    assert_eq!(one_by_one.len(), 1);
    // Nor those that were merged with it.
    for bad in [&[1][..], &[30], &[1, 2]] {
        let mut merging = queue(&[(1, 4)]);
        for number in 1..=50 {
            merging.push(notification(number, &format!("g{number}")), at(0));
        }
        let told = taken(&mut merging, bad, 400);
        let count: usize = told.iter().map(|(_, batch)| batch.len()).sum();
        assert_eq!(count, 50 - bad.len(), "{bad:?}: {told:?}");
    }
}

#[test]
fn what_is_never_taken_is_tried_ever_more_slowly_while_others_are() {
    let mut queue = queue(&[]);
    let begin = Instant::now();
    queue.push(notification(1, "bad"), at(0));
    let mut tries = 0;
    for second in 0..500 {
        let clock = begin + Duration::from_secs(second);
        queue.push(notification(1000 + u128::from(second), "good"), at(0));
        while let Some(batch) = step(&mut queue, 0, clock) {
            let is_bad = batch == [1];
            tries += u32::from(is_bad);
            let answer = if is_bad { again(None) } else { sent() };
            queue.answered(&answer, at(0), clock, 1.0);
        }
    }
    assert!((5..=10).contains(&tries), "{tries}");
}

#[test]
fn after_an_outage_what_waited_is_merged_again() {
    let mut queue = queue(&[(1, 4)]);
    let mut clock = Instant::now();
    for number in 1..=50 {
        queue.push(notification(number, &format!("g{number}")), at(0));
    }
    for _ in 0..8 {
        assert!(step(&mut queue, 0, clock).is_some());
        queue.answered(&again(None), at(0), clock, 1.0);
        clock += LONGEST_PAUSE;
    }
    let mut messages = 0;
    while queue.len() > 0 {
        if step(&mut queue, 0, clock).is_some() {
            queue.answered(&sent(), at(0), clock, 1.0);
            messages += 1;
        }
        clock += Duration::from_secs(4);
    }
    assert!(messages <= 8, "{messages}");
}

#[test]
fn a_receiver_that_refuses_everything_is_asked_once_in_a_while() {
    for merges in [true, false] {
        let mut queue = queue(&[]);
        queue.merges = merges;
        let clock = Instant::now();
        for number in 1..=200 {
            queue.push(notification(number, &format!("g{number}")), at(0));
        }
        assert_eq!(step(&mut queue, 0, clock), Some(vec![1]));
        let refused = given_up_for(FailureReason::Credential);
        let settled = queue.answered(&refused, at(0), clock, 0.0);
        assert_eq!(fates(&settled), [(1, "dead", 1)]);
        assert_eq!(step(&mut queue, 0, clock + Duration::from_secs(299)), None);
        // Then all of them together: nobody is asked two hundred times.
        let clock = clock + SHUT_FOR;
        let batch = step(&mut queue, 300, clock).unwrap();
        assert_eq!(batch.len(), if merges { MOST_MERGED } else { 1 });
        let settled = queue.answered(&refused, at(300), clock, 0.0);
        assert_eq!(settled.len(), 199);
        assert_eq!(queue.len(), 0);
        // Once it takes one, it takes the others as ever.
        for number in 201..=203 {
            queue.push(notification(number, &format!("g{number}")), at(300));
        }
        let clock = clock + SHUT_FOR;
        assert!(step(&mut queue, 600 - 1, clock).is_some());
        queue.answered(&sent(), at(599), clock, 0.0);
        assert!(!queue.shut);
        assert_eq!(queue.len() > 0, !merges);
    }
}

#[test]
fn ten_thousand_that_wait_are_found_at_once() {
    let mut queue = queue(&[]);
    let clock = Instant::now();
    queue.push(notification(0, "g"), at(0));
    step(&mut queue, 0, clock);
    queue.answered(&again(Some(600)), at(0), clock, 0.0);
    for round in 0..2 {
        for number in 1..=10_000 {
            let new = notification(round * 10_000 + number, &format!("g{number}"));
            assert_eq!(queue.push(new, at(0)).len(), usize::from(round == 1));
            assert_eq!(step(&mut queue, 0, clock), None);
        }
    }
    assert_eq!(queue.len(), 10_001);
    let mut dead = Vec::new();
    queue.step(at(600), clock, &mut dead);
    assert_eq!(dead.len(), 10_001);
    assert_eq!(queue.len(), 0);
}

proptest! {
    /// Whatever comes and whatever the receiver answers, each notification has one fate, and one that was
    /// replaced or merged names another that has a better one or is yet to have one.
    #[test]
    fn each_has_one_fate(
        steps in prop::collection::vec((0_u8..4, 0_u8..6, 0_u32..4), 1..200),
    ) {
        let mut queue = queue(&[(2, 3)]);
        let begin = Instant::now();
        let mut pushed = BTreeSet::new();
        let mut settled: Vec<Settled> = Vec::new();
        for (second, (what, group, answer)) in steps.iter().enumerate() {
            let now = at(i64::try_from(second).unwrap() * 10);
            let clock = begin + Duration::from_secs(second as u64 * 10);
            if *what < 2 {
                let number = second as u128 + 1;
                pushed.insert(number);
                let mut new = notification(number, &format!("g{group}"));
                Arc::get_mut(&mut new.notification).unwrap().deadline = now.plus(Duration::from_secs(50));
                settled.extend(queue.push(new, now));
            }
            let mut dead = Vec::new();
            if let Step::Send(batch) = queue.step(now, clock, &mut dead) {
                prop_assert!(!batch.is_empty());
                let answer = match answer {
                    0 => sent(),
                    1 => again(None),
                    2 => given_up_for(FailureReason::Gone),
                    _ => refused(),
                };
                settled.extend(queue.answered(&answer, now, clock, 0.3));
            }
            settled.extend(dead);
        }
        let mut known = BTreeSet::new();
        for settled in &settled {
            prop_assert!(known.insert(settled.fate.id.as_u128()), "twice: {settled:?}");
        }
        prop_assert_eq!(known.len() + queue.len(), pushed.len());
        prop_assert!(known.is_subset(&pushed));
    }
}
