//! Budgets of channels: what one has no room for goes to another, and what may be billed twice is held
//! twice.

use super::{CHAT, assert_blocked, budget, chat, ok, ruled, spent};
use crate::support::client::Request;
use crate::support::tollgate::{Setup, Tollgate};
use crate::support::upstream::{Script, Step, Upstream};
use crate::support::{Gate, answers};

fn two(first: &Upstream, second: &Upstream, rules: &str) -> Tollgate {
    ruled(
        Setup::channels(&[
            ("first", &first.base_url(), ", priority: 2, api_key: sk-a"),
            ("second", &second.base_url(), ", priority: 1, api_key: sk-b"),
        ])
        .setting("limits: {first_byte: 300ms}"),
        rules,
    )
    .start()
}

fn channel_of(tollgate: &Tollgate) -> String {
    let response = tollgate.send(&chat("metered"));
    assert_eq!(response.status, 200, "{response:?}");
    response
        .headers
        .get("x-tollgate-channel")
        .unwrap()
        .to_owned()
}

#[test]
fn what_one_channel_has_no_room_for_goes_to_another() {
    let [first, second] = [(); 2].map(|()| Upstream::start(|_| ok()));
    let tollgate = two(&first, &second, &budget("0.15", ", by: [channel]"));
    assert_eq!(channel_of(&tollgate), "first");
    assert_eq!(channel_of(&tollgate), "second");
    assert_blocked(&tollgate.send(&chat("metered")));
    // A channel that is named is the only one.
    let named = Request::json("/c/second/v1/chat/completions", &super::body("metered"));
    assert_blocked(&tollgate.send(&named));
    assert_eq!((first.received().len(), second.received().len()), (1, 1));
}

#[test]
fn the_very_next_request_after_the_one_that_crosses_goes_elsewhere() {
    let [first, second] = [(); 2].map(|()| Upstream::start(|_| ok()));
    let rule = "- {alert: Spend, metric: cost, window: 30d, by: [channel], critical: 0.1 USD, \
                actions: [{disable_channel: {until: 1h}}]}";
    let tollgate = two(&first, &second, rule);
    let gone: Vec<String> = (0..4).map(|_| channel_of(&tollgate)).collect();
    assert_eq!(gone, ["first", "first", "second", "second"]);
}

#[test]
fn what_a_channel_refused_leaves_its_room_to_the_next() {
    let refuses =
        |_: &_| -> Script { answers::error("503 Service Unavailable", "server_error", "x") };
    let (first, second) = (Upstream::start(refuses), Upstream::start(|_| ok()));
    // Room for one worst case: it is given back before the next channel is asked.
    let tollgate = two(&first, &second, &budget("0.1", ""));
    assert_eq!(channel_of(&tollgate), "second");
    let rows = tollgate.ledger().exactly(1);
    assert_eq!(spent(&rows), super::COST);
}

#[test]
fn what_a_silent_channel_may_bill_stays_held() {
    let silent = |_: &_| -> Script { vec![Step::Hang] };
    let (first, second) = (Upstream::start(silent), Upstream::start(|_| ok()));
    // Room for one: nobody knows what the first makes of it.
    let tollgate = two(&first, &second, &budget("0.15", ""));
    let response = tollgate.send(&Request::json(CHAT, &super::body("metered")));
    assert_eq!(response.status, 504, "{response:?}");
    assert_eq!(second.received().len(), 0);
    let row = tollgate.ledger().only();
    assert_eq!(row.int("assumed_cost_nanousd"), Some(super::WORST));
    // Room for both: one is spent as it was used, the other may still be billed.
    let tollgate = two(&first, &second, &budget("0.2", ""));
    let bound = || {
        let name = "tollgate_budget_overshoot_bound";
        tollgate.metrics().sum(name, &[("rule", "Spend")])
    };
    assert!(bound().abs() < 1e-9, "{}", bound());
    assert_eq!(channel_of(&tollgate), "second");
    assert!((bound() - 0.1).abs() < 1e-9, "{}", bound());
}

#[test]
fn a_channel_without_room_is_passed_over_when_another_fails() {
    let refuses =
        |_: &_| -> Script { answers::error("503 Service Unavailable", "server_error", "x") };
    let (first, second) = (Upstream::start(refuses), Upstream::start(|_| ok()));
    let tollgate = two(
        &first,
        &second,
        &budget("0.05", ", match: {channel: second}, by: [channel]"),
    );
    // The failure of the first is the client's: the second must not be asked.
    let response = tollgate.send(&chat("metered"));
    assert_eq!(response.status, 503, "{response:?}");
    assert_eq!(second.received().len(), 0);
}

/// A request that waits for a place goes on to the next channel where a rule refuses the one that is
/// free first.
#[test]
fn a_channel_without_room_is_passed_over_by_who_waits_for_a_place() {
    let (free_second, free_third) = (Gate::default(), Gate::default());
    let gated = |gate: &Gate| {
        let gate = gate.clone();
        Upstream::start(move |_| {
            let mut script = vec![Step::Await(gate.clone())];
            script.extend(ok());
            script
        })
    };
    let first = Upstream::start(|_| -> Script { vec![Step::Reset] });
    let (second, third) = (gated(&free_second), gated(&free_third));
    let full = ", api_key: k, max_in_flight: 1, priority:";
    let tollgate = ruled(
        Setup::channels(&[
            ("first", &first.base_url(), ", api_key: k, priority: 3"),
            ("second", &second.base_url(), &format!("{full} 2")),
            ("third", &third.base_url(), &format!("{full} 1")),
        ])
        .setting("routing: {queue: 1h}"),
        &budget("0.15", ", match: {channel: second}"),
    )
    .start();
    let to = tollgate.address();
    let named = |channel: &str| {
        let request = Request::json(&format!("/c/{channel}{CHAT}"), &super::body("metered"));
        std::thread::spawn(move || request.send(to))
    };
    let running = [named("second"), named("third")];
    for upstream in [&second, &third] {
        upstream.until("it is full", |received| received.len() == 1);
    }
    let waiting = std::thread::spawn(move || chat("metered").send(to));
    first.until("it failed", |received| received.len() == 1);
    free_second.open();
    let [of_second, of_third] = running;
    assert_eq!(of_second.join().unwrap().status, 200);
    free_third.open();
    let response = waiting.join().unwrap();
    assert_eq!(response.status, 200, "{response:?}");
    let channel = response.headers.get("x-tollgate-channel");
    assert_eq!(channel, Some("third"));
    assert_eq!(of_third.join().unwrap().status, 200);
    assert_eq!(second.received().len(), 1);
}
