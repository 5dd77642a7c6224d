//! However a request ends, what was held for it is given back or counted.

use serde_json::json;

use super::{CHAT, COST, MOST, WORST, assert_blocked, before, budget, chat, events, ok, spent};
use crate::support::client::{Connection, Request};
use crate::support::upstream::{Answer, Step, Upstream, chunk, last_chunk};
use crate::support::{Gate, answers, eventually};

fn stream() -> Request {
    Request::json(
        CHAT,
        &json!({"model": "metered", "max_tokens": MOST, "stream": true,
            "messages": [{"role": "user", "content": "hello"}]}),
    )
}

#[test]
fn a_stream_is_counted_before_its_end_is_seen() {
    let upstream = Upstream::start(|_| answers::stream(&events()));
    let tollgate = before(&upstream, &budget("0.15", ""));
    assert_eq!(tollgate.send(&stream()).status, 200);
    assert_blocked(&tollgate.send(&stream()));
    assert_eq!(spent(&tollgate.ledger().exactly(2)), COST);
}

#[test]
fn while_a_stream_goes_on_its_worst_case_is_held() {
    let gate = Gate::default();
    let rest = gate.clone();
    let upstream = Upstream::start(move |_| {
        let mut script = answers::open_stream();
        let pieces: Vec<Step> = events()
            .iter()
            .map(|event| chunk(event.as_bytes()))
            .collect();
        script.push(pieces[0].clone());
        script.push(Step::Await(rest.clone()));
        script.extend_from_slice(&pieces[1..]);
        script.push(last_chunk());
        script
    });
    let tollgate = before(&upstream, &budget("0.15", ""));
    let mut first = stream().start(tollgate.address());
    let mut seen = Vec::new();
    first.read_until(&mut seen, "Hello");
    assert_blocked(&tollgate.send(&chat("metered")));
    gate.open();
    first.finish();
    // 0.06 of 0.15 is used now: no room for 0.1, but for less.
    assert_blocked(&tollgate.send(&chat("metered")));
    let small = json!({"model": "metered", "max_tokens": 80, "messages": []});
    assert_eq!(tollgate.send(&Request::json(CHAT, &small)).status, 200);
}

#[test]
fn a_client_that_leaves_gives_back_what_was_not_made() {
    let upstream = Upstream::start(|_| {
        let mut script = answers::open_stream();
        script.push(chunk(events()[0].as_bytes()));
        script.push(Step::Hang);
        script
    });
    let tollgate = before(&upstream, &budget("0.1", ""));
    let mut left = stream().start(tollgate.address());
    let mut seen = Vec::new();
    left.read_until(&mut seen, "Hello");
    assert_blocked(&tollgate.send(&chat("metered")));
    drop(left);
    let row = eventually("the row of the stream", || {
        let rows = tollgate.ledger().requests();
        rows.into_iter()
            .find(|row| row.outcome() == "client_closed")
    });
    // A token or two at the price of the model.
    let counted = spent(std::slice::from_ref(&row));
    assert!(counted > 0 && counted < COST, "{row:#?}");
    let small = json!({"model": "metered", "max_tokens": 90, "messages": []});
    let next = Request::json(CHAT, &small).start(tollgate.address());
    assert_eq!(next.status(), 200);
}

#[test]
fn a_failure_that_costs_nothing_counts_nothing() {
    let upstream = Upstream::start(|request| match request.json()["model"].as_str() {
        Some("metered-2") => answers::error("400 Bad Request", "invalid_request_error", "bad"),
        _ => ok(),
    });
    let tollgate = before(&upstream, &budget("0.1", ""));
    for _ in 0..3 {
        assert_eq!(tollgate.send(&chat("metered-2")).status, 400);
    }
    assert_eq!(tollgate.send(&chat("metered")).status, 200);
    assert_eq!(spent(&tollgate.ledger().exactly(4)), COST);
}

#[test]
fn an_answer_without_usage_counts_as_an_estimate() {
    let upstream = Upstream::start(|_| {
        let said = json!({"id": "a", "model": "metered", "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "one two three four"}}]});
        Answer::new("200 OK")
            .header("content-type", "application/json")
            .body(said.to_string())
    });
    let tollgate = before(&upstream, &budget("1", ""));
    assert_eq!(tollgate.send(&chat("metered")).status, 200);
    let row = tollgate.ledger().only();
    assert_eq!(row.text("usage_source"), Some("missing"), "{row:#?}");
    let assumed = row.int("assumed_cost_nanousd").unwrap();
    assert_eq!(row.int("estimated_cost_nanousd"), Some(assumed), "{row:#?}");
    assert!(assumed > 0 && assumed < WORST, "{row:#?}");
}

#[test]
fn what_was_on_its_way_when_the_process_was_killed_is_held_after_the_next_start() {
    let upstream = Upstream::start(|request| match request.json()["model"].as_str() {
        Some("metered-2") => vec![Step::Hang],
        _ => ok(),
    });
    let mut tollgate = before(&upstream, &budget("0.25", ""));
    assert_eq!(tollgate.send(&chat("metered")).status, 200);
    let mut lost = Connection::open(tollgate.address());
    lost.write(&chat("metered-2").bytes()).unwrap();
    upstream.until("the second request", |received| received.len() == 2);
    // 0.06 are used and 0.1 held.
    assert_blocked(&tollgate.send(&chat("metered")));
    tollgate.kill();
    drop(lost);
    tollgate.start_again();
    assert_blocked(&tollgate.send(&chat("metered")));
    let small = json!({"model": "metered", "max_tokens": 85, "messages": []});
    assert_eq!(tollgate.send(&Request::json(CHAT, &small)).status, 200);
    let rows = tollgate.ledger().requests();
    let interrupted = rows.iter().find(|row| row.outcome() == "interrupted");
    // Input is free; what the output may have cost is held and no cost.
    let assumed = interrupted.unwrap().int("assumed_cost_nanousd");
    assert_eq!(assumed, Some(0), "{interrupted:#?}");
}
