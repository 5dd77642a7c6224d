//! Channels with `max_in_flight`, and requests that wait for a place.

use std::time::Instant;

use tokio::task::JoinHandle;
use tokio::time::timeout_at;

use super::*;
use crate::config::ModelPattern;

fn narrow(name: &str, max_in_flight: u32) -> ChannelSettings {
    ChannelSettings {
        max_in_flight: Some(max_in_flight),
        ..settings(name)
    }
}

/// Later than any test waits.
fn much_later() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// A request that waits in a task of its own; polled once, so that it stands in the queue.
async fn waiting(pool: &Pool, wanted: &Wanted<'_>) -> JoinHandle<Result<Place, NoPlace>> {
    let mut placing = pool.placing(wanted).unwrap();
    let task = tokio::spawn(async move { placing.take_or_wait(START, much_later()).await });
    tokio::task::yield_now().await;
    assert!(!task.is_finished());
    task
}

async fn name(task: JoinHandle<Result<Place, NoPlace>>) -> (String, Place) {
    let place = timeout_at(much_later().into(), task)
        .await
        .expect("it waits for ever")
        .unwrap()
        .unwrap();
    (place.channel().name.to_string(), place)
}

#[test]
fn a_full_channel_passes_requests_on_and_a_place_is_given_back() {
    let pool = pool(vec![narrow("a", 2), settings("b")], |_| {});
    let places: Vec<Place> = (0..3).map(|_| taken(&pool, &CHAT, START)).collect();
    let names = places.iter().map(|place| &*place.channel().name);
    assert_eq!(names.collect::<Vec<_>>(), ["a", "a", "b"]);
    assert_eq!(pool.gate_status("a", START).unwrap().in_flight, 2);
    drop(places);
    assert_eq!(pool.gate_status("a", START).unwrap().in_flight, 0);
    assert_eq!(tried(&pool, &CHAT, START), ["a", "b"]);
}

#[test]
fn a_full_channel_is_not_passed_over_for_one_that_cools_down() {
    let pool = pool(vec![narrow("a", 1), settings("b")], |_| {});
    let named_b = Wanted {
        named: Some("b"),
        ..CHAT
    };
    let limited = Sighted {
        pause: Some(Pause::Stated(Duration::from_secs(30))),
        ..answer(429, None, Outcome::RateLimited)
    };
    taken(&pool, &named_b, START).end(&limited, START);
    let place = taken(&pool, &CHAT, START);
    let mut next = pool.placing(&CHAT).unwrap();
    assert_eq!(next.take(START).unwrap_err(), NoPlace::Full);
    drop(place);
    assert_eq!(tried(&pool, &CHAT, START), ["a", "b"]);
}

#[tokio::test]
async fn who_waits_gets_the_first_place_of_any_in_the_order_of_arrival() {
    let pool = pool(vec![narrow("a", 1), narrow("b", 1)], |_| {});
    let a = taken(&pool, &CHAT, START);
    let b = taken(&pool, &CHAT, START);
    let first = waiting(&pool, &CHAT).await;
    let second = waiting(&pool, &CHAT).await;
    let third = waiting(&pool, &CHAT).await;
    drop(b);
    let (channel, first) = name(first).await;
    assert_eq!(channel, "b");
    // Who comes now does not overtake.
    drop(a);
    assert_eq!(
        pool.placing(&CHAT).unwrap().take(START).unwrap_err(),
        NoPlace::Full
    );
    let (channel, second) = name(second).await;
    assert_eq!(channel, "a");
    drop(first);
    assert_eq!(name(third).await.0, "b");
    drop(second);
}

#[tokio::test]
async fn where_no_channel_is_well_the_last_resort_is_waited_for() {
    let pool = pool(vec![narrow("a", 1)], |_| {});
    let limited = Sighted {
        pause: Some(Pause::Stated(Duration::from_secs(30))),
        ..answer(429, None, Outcome::RateLimited)
    };
    taken(&pool, &CHAT, START).end(&limited, START);
    let place = taken(&pool, &CHAT, START);
    let request = waiting(&pool, &CHAT).await;
    drop(place);
    assert_eq!(name(request).await.0, "a");
}

#[tokio::test]
async fn nobody_waits_longer_than_was_said() {
    let pool = pool(vec![narrow("a", 1)], |_| {});
    let place = taken(&pool, &CHAT, START);
    let mut placing = pool.placing(&CHAT).unwrap();
    let over = Instant::now() + Duration::from_millis(20);
    let refused = placing.take_or_wait(START, over).await;
    assert_eq!(refused.unwrap_err(), NoPlace::Full);
    assert!(Instant::now() >= over);
    // A request that goes away leaves no gap.
    let gone = waiting(&pool, &CHAT).await;
    let stays = waiting(&pool, &CHAT).await;
    gone.abort();
    drop(place);
    assert_eq!(name(stays).await.0, "a");
}

#[tokio::test]
async fn a_channel_that_closes_while_a_request_waits_does_not_take_it() {
    let pool = pool(vec![narrow("a", 1), narrow("b", 1)], |_| {});
    let a = taken(&pool, &CHAT, START);
    let b = taken(&pool, &CHAT, START);
    let request = waiting(&pool, &CHAT).await;
    pool.close("a", by_operator(None), START).unwrap();
    drop(a);
    tokio::task::yield_now().await;
    assert!(!request.is_finished());
    drop(b);
    assert_eq!(name(request).await.0, "b");
    let in_flight = |name| pool.gate_status(name, START).unwrap().in_flight;
    assert_eq!(["a", "b"].map(in_flight), [0, 0]);
}

#[tokio::test]
async fn a_channel_that_opens_while_a_request_waits_takes_it() {
    let other = ChannelSettings {
        models: Some(vec![ModelPattern::new("gpt-5")]),
        ..settings("b")
    };
    let pool = pool(vec![narrow("a", 1), other], |_| {});
    pool.close("b", by_operator(None), START).unwrap();
    let _a = taken(&pool, &CHAT, START);
    let request = waiting(&pool, &CHAT).await;
    pool.reopen("b", &Owner::Operator, None, None, START)
        .unwrap();
    assert_eq!(name(request).await.0, "b");
}

#[tokio::test]
async fn a_hold_that_ends_while_a_request_waits_is_seen() {
    let pool = pool(vec![narrow("a", 1), settings("b")], |_| {});
    let end = START.plus(Duration::from_millis(20));
    pool.close("b", by_operator(Some(end)), START).unwrap();
    let _a = taken(&pool, &CHAT, START);
    let request = waiting(&pool, &CHAT).await;
    assert_eq!(name(request).await.0, "b");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn under_load_every_request_gets_its_place_and_no_channel_more_than_its_bound() {
    let pool = Arc::new(pool(vec![narrow("a", 3), narrow("b", 2)], |_| {}));
    let requests = (0..200).map(|_| {
        let pool = Arc::clone(&pool);
        tokio::spawn(async move {
            let mut placing = pool.placing(&CHAT).unwrap();
            let place = placing.take_or_wait(START, much_later()).await.unwrap();
            let bound = if &*place.channel().name == "a" { 3 } else { 2 };
            assert!(place.channel().in_flight() <= bound);
            tokio::task::yield_now().await;
        })
    });
    for request in requests.collect::<Vec<_>>() {
        timeout_at(much_later().into(), request)
            .await
            .expect("one waits for ever")
            .unwrap();
    }
}
