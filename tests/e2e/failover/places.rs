//! Places at channels, pauses, and closed gates.

use std::io::Write;
use std::time::{Duration, Instant};

use super::{DEAD, attempts, chat, ok, two};
use crate::support::client::{Connection, Response, socket};
use crate::support::tollgate::Setup;
use crate::support::upstream::{Answer, Step, Upstream};
use crate::support::{Gate, answers, eventually};

fn channel(response: &Response) -> &str {
    response
        .headers
        .get("x-tollgate-channel")
        .unwrap_or_default()
}

/// An upstream whose answers wait for the gate.
fn gated(gate: &Gate) -> Upstream {
    let mut script = vec![Step::Await(gate.clone())];
    script.extend(ok());
    Upstream::always(script)
}

#[test]
fn a_request_waits_for_a_place() {
    const WAIT: Duration = Duration::from_millis(400);
    let gate = Gate::default();
    let upstream = gated(&gate);
    let tollgate = Setup::channels(&[("only", &upstream.base_url(), ", max_in_flight: 1")])
        .setting("routing: {queue: 1h}")
        .start();
    let to = tollgate.address();
    let first = std::thread::spawn(move || chat("m").send(to));
    upstream.until("one is on its way", |received| received.len() == 1);
    let others: Vec<_> = (0..3)
        .map(|_| std::thread::spawn(move || chat("m").send(to)))
        .collect();
    let since = Instant::now();
    eventually("they wait", || (since.elapsed() >= 2 * WAIT).then_some(()));
    assert_eq!(upstream.received().len(), 1);
    gate.open();
    let responses = others
        .into_iter()
        .chain([first])
        .map(|thread| thread.join().unwrap());
    let mut waited = 0;
    for response in responses {
        assert_eq!(response.status, 200);
        let row = tollgate.ledger().request(&response.request_id());
        let phase = |name: &str| row.int(&format!("{name}_us")).unwrap();
        if u128::try_from(phase("admit")).unwrap() >= WAIT.as_micros() {
            waited += 1;
            // However long it waited, that was no time of Tollgate's.
            assert!(phase("overhead") * 2 < phase("admit"), "{row:#?}");
        }
    }
    assert_eq!(waited, 3);
    assert_eq!(upstream.received().len(), 4);
}

/// Who leaves while waiting is not asked for; who sends the next request ahead gets both answers.
#[test]
fn a_client_that_leaves_while_it_waits_sends_nothing() {
    for drains in ["cancel", "drain(1h)"] {
        let gate = Gate::default();
        let upstream = gated(&gate);
        let tollgate = Setup::channels(&[("only", &upstream.base_url(), ", max_in_flight: 1")])
            .setting("routing: {queue: 1h}")
            .setting(&format!("streaming: {{on_client_close: {drains}}}"))
            .start();
        let to = tollgate.address();
        let first = std::thread::spawn(move || chat("m").send(to));
        upstream.until("one is on its way", |received| received.len() == 1);
        let mut ahead = Connection::open(to);
        ahead
            .write(&[chat("ahead").bytes(), chat("ahead").bytes()].concat())
            .unwrap();
        for _ in 0..3 {
            let mut leaving = socket(to);
            leaving.write_all(&chat("left").bytes()).unwrap();
        }
        for row in tollgate.ledger().exactly(3) {
            assert_eq!(row.outcome(), "client_closed", "{row:#?}");
            assert_eq!(row.text("usage_source"), Some("none"), "{row:#?}");
            assert_eq!(row.int("attempts"), Some(0), "{row:#?}");
        }
        gate.open();
        assert_eq!(first.join().unwrap().status, 200);
        for _ in 0..2 {
            let (response, rest) = ahead.incoming("POST").finish_on();
            assert_eq!(response.status, 200);
            ahead = rest;
        }
        let left = upstream.received().into_iter();
        let left = left.filter(|request| request.json()["model"] == "left");
        assert_eq!(left.count(), 0);
    }
}

/// The same between two tries: a channel has failed, and the other is full.
#[test]
fn a_client_that_leaves_between_two_tries_is_not_asked_for_again() {
    for drains in ["cancel", "drain(1h)"] {
        let gate = Gate::default();
        let (first, second) = (Upstream::always(vec![Step::Reset]), gated(&gate));
        let tollgate = Setup::channels(&[
            ("first", &first.base_url(), ", api_key: k"),
            (
                "second",
                &second.base_url(),
                ", api_key: k, max_in_flight: 1",
            ),
        ])
        .setting("routing: {queue: 1h}")
        .setting(&format!("streaming: {{on_client_close: {drains}}}"))
        .start();
        let to = tollgate.address();
        let busy = chat("m").header("x-tollgate-channel", "second");
        let busy = std::thread::spawn(move || busy.send(to));
        second.until("one is on its way", |received| received.len() == 1);
        let mut leaving = socket(to);
        leaving.write_all(&chat("left").bytes()).unwrap();
        first.until("it was tried", |received| !received.is_empty());
        eventually("it waits", || {
            let log = tollgate.log();
            log.contains("another channel is tried").then_some(())
        });
        drop(leaving);
        let row = tollgate.ledger().only();
        assert_eq!(row.outcome(), "client_closed", "{row:#?}");
        gate.open();
        assert_eq!(busy.join().unwrap().status, 200);
        assert_eq!(second.received().len(), 1);
    }
}

#[test]
fn a_request_that_waits_in_vain_is_told_when_to_come_back() {
    let gate = Gate::default();
    let upstream = gated(&gate);
    let tollgate = Setup::channels(&[("only", &upstream.base_url(), ", max_in_flight: 1")])
        .setting("routing: {queue: 50ms}")
        .start();
    let to = tollgate.address();
    let first = std::thread::spawn(move || chat("m").send(to));
    upstream.until("one is on its way", |received| received.len() == 1);
    let refused = tollgate.send(&chat("m"));
    assert_eq!(refused.status, 503, "{refused:?}");
    assert_eq!(refused.json()["error"]["code"], "channels_full");
    assert_eq!(
        refused.headers.get("x-tollgate-error"),
        Some("channels_full")
    );
    assert_eq!(refused.headers.get("retry-after"), Some("1"));
    let row = tollgate.ledger().request(&refused.request_id());
    assert_eq!(row.outcome(), "refused");
    let phase = |name: &str| row.int(&format!("{name}_us")).unwrap();
    assert!(phase("total") >= 50_000, "{row:#?}");
    gate.open();
    assert_eq!(first.join().unwrap().status, 200);
}

/// A full channel is passed over while another has room.
#[test]
fn a_full_channel_is_passed_over() {
    let gate = Gate::default();
    let (first, second) = (gated(&gate), Upstream::always(ok()));
    let tollgate = Setup::channels(&[
        ("first", &first.base_url(), ", max_in_flight: 1"),
        ("second", &second.base_url(), ""),
    ])
    .start();
    let to = tollgate.address();
    let waiting = std::thread::spawn(move || chat("m").send(to));
    first.until("one is on its way", |received| received.len() == 1);
    let response = tollgate.send(&chat("m"));
    assert_eq!((response.status, channel(&response)), (200, "second"));
    gate.open();
    assert_eq!(channel(&waiting.join().unwrap()), "first");
}

/// A place is free again when the answer has ended, whatever the client does.
#[test]
fn places_are_given_back() {
    let upstream = Upstream::start(answers::provider);
    let tollgate = Setup::channels(&[("only", &upstream.base_url(), ", max_in_flight: 1")])
        .setting("routing: {queue: 1h}")
        .start();
    for _ in 0..20 {
        let body = serde_json::json!({"model": "m", "messages": [], "stream": true});
        let request = crate::support::client::Request::json(super::CHAT, &body);
        let mut incoming = request.start(tollgate.address());
        let mut seen = Vec::new();
        incoming.read_until(&mut seen, "Hello");
        // It leaves in the middle.
    }
    assert_eq!(tollgate.send(&chat("m")).status, 200);
}

/// A channel that asks for a pause is not asked again, and other models of its are.
#[test]
fn a_pause_is_kept() {
    let (first, second) = (
        Upstream::start(|request| {
            if request.json()["model"] == "limited" {
                return Answer::new("429 Slow")
                    .header("retry-after", "3600")
                    .body("{}");
            }
            ok()
        }),
        Upstream::always(ok()),
    );
    let tollgate = two(&first.base_url(), &second.base_url()).start();
    for round in 0..5 {
        let response = tollgate.send(&chat("limited"));
        assert_eq!(channel(&response), "second");
        let tries = if round == 0 { 2 } else { 1 };
        assert_eq!(attempts(&tollgate, &response).len(), tries);
        assert_eq!(channel(&tollgate.send(&chat("other"))), "first");
    }
}

/// What a failure says of limits is not why it failed: Azure states a remainder of 0 without meaning it.
#[test]
fn a_failure_is_no_pause() {
    let failing = Answer::new("500 Broken")
        .header("x-ratelimit-remaining-requests", "0")
        .header("x-ratelimit-reset-requests", "1h")
        .body("{}");
    let (first, second) = (Upstream::always(failing), Upstream::always(ok()));
    let tollgate = two(&first.base_url(), &second.base_url()).start();
    for _ in 0..3 {
        assert_eq!(channel(&tollgate.send(&chat("m"))), "second");
    }
    assert_eq!(first.received().len(), 3);
}

/// … and is asked again as soon as it is over: here at once.
#[test]
fn a_pause_ends() {
    let (first, second) = (
        Upstream::always(
            Answer::new("429 Slow")
                .header("x-ratelimit-remaining-requests", "0")
                .header("x-ratelimit-reset-requests", "50ms")
                .body("{}"),
        ),
        Upstream::always(ok()),
    );
    let tollgate = two(&first.base_url(), &second.base_url())
        .setting("breaker: {failures: 1000, of: 1000}")
        .start();
    assert_eq!(channel(&tollgate.send(&chat("m"))), "second");
    eventually("it is asked again", || {
        assert_eq!(channel(&tollgate.send(&chat("m"))), "second");
        (first.received().len() > 1).then_some(())
    });
}

/// A refused credential closes its channel for everybody, at once.
#[test]
fn a_refused_credential_closes_the_channel() {
    let (first, second) = (
        Upstream::always(answers::error("401 No", "auth", "invalid_api_key")),
        Upstream::always(ok()),
    );
    let tollgate = two(&first.base_url(), &second.base_url()).start();
    for _ in 0..5 {
        assert_eq!(channel(&tollgate.send(&chat("m"))), "second");
    }
    assert_eq!(first.received().len(), 1);
}

/// Of a caller with a key nothing goes on: what an upstream says of the credential is the channel's.
#[test]
fn a_channel_without_a_credential_is_judged_where_there_are_keys() {
    for (status, code, asked) in [
        ("401 No", "invalid_api_key", 1),
        ("429 Slow", "slow_down", 5),
    ] {
        let (first, second) = (
            Upstream::always(answers::error(status, "t", code)),
            Upstream::always(ok()),
        );
        let tollgate = Setup::channels(&[
            ("first", &first.base_url(), ""),
            ("second", &second.base_url(), ", api_key: sk-second"),
        ])
        .setting("keys: [{name: team, key: not-a-real-secret}]")
        .start();
        let request = chat("m").header("authorization", "Bearer not-a-real-secret");
        for _ in 0..8 {
            assert_eq!(channel(&tollgate.send(&request)), "second");
        }
        assert_eq!(first.received().len(), asked, "{code}");
    }
}

/// With one upstream of three dead, clients see nothing of it, and it is soon left alone.
#[test]
fn a_dead_channel_is_left_alone() {
    let (second, third) = (Upstream::always(ok()), Upstream::always(ok()));
    let tollgate = Setup::channels(&[
        ("dead", DEAD, ""),
        ("second", &second.base_url(), ""),
        ("third", &third.base_url(), ""),
    ])
    .setting("routing: {strategy: round_robin}\nbreaker: {probe_after: 1h, probe_at_most: 1h}")
    .start();
    for _ in 0..60 {
        assert_eq!(tollgate.send(&chat("m")).status, 200);
    }
    tollgate.ledger().exactly(60);
    let rows = tollgate
        .ledger()
        .query("SELECT * FROM attempts WHERE channel = 'dead'");
    assert_eq!(rows.len(), 5, "{rows:#?}");
}
