//! What stands between a request and a WebSocket, or between a WebSocket and being read.

use serde_json::json;

use super::{assert_blocked, before, budget, ruled};
use crate::support::client::Request;
use crate::support::tollgate::{Setup, Tollgate};
use crate::support::upstream::Upstream;
use crate::support::websocket::{Socket, SocketUpstream, Turn, frame, from_client, from_server};

/// Responses of one connection that are followed at the same time.
const FOLLOWED: usize = 64;

#[test]
fn what_is_posted_is_asked_for_whatever_it_offers_to_become() {
    let upstream = Upstream::start(|_| super::ok());
    let tollgate = before(&upstream, &budget("0.02", ""));
    let body = json!({"model": "metered", "max_output_tokens": 100, "input": "hello"});
    let post = || Request::json("/v1/responses", &body);
    for request in [
        post(),
        post().header("upgrade", "websocket"),
        post()
            .header("upgrade", "websocket")
            .header("connection", "Upgrade"),
    ] {
        assert_blocked(&tollgate.send(&request));
    }
    assert_eq!(upstream.received().len(), 0);
}

/// A connection over which as many responses are asked for as are followed, and one more; what the
/// client was told after the first of them began, and what of its messages went up.
fn one_too_many(rules: &str) -> (Tollgate, Vec<u8>, usize) {
    let asked = from_client(&json!({"type": "response.create", "model": "metered",
        "max_output_tokens": 1, "input": "hello"}));
    let begins = from_server(&json!({"type": "response.created",
        "response": {"id": "resp_1", "status": "in_progress", "model": "metered"}}));
    let upstream = SocketUpstream::start(
        &[],
        vec![
            Turn::Expect(FOLLOWED * asked.len()),
            Turn::Send(begins.clone()),
            Turn::Expect((FOLLOWED + 1) * asked.len()),
            Turn::Close,
        ],
    );
    let tollgate = ruled(Setup::upstream(&upstream.base_url()), rules).start();
    let mut socket = Socket::open(tollgate.address(), "/v1/responses", &[]);
    socket.write(&asked.repeat(FOLLOWED));
    socket.read(begins.len());
    socket.write(&asked);
    let told = socket.finish()[begins.len()..].to_vec();
    let went_up = upstream.received().len() / asked.len();
    (tollgate, told, went_up)
}

#[test]
fn a_response_that_cannot_be_followed_is_refused_where_it_is_limited() {
    let (tollgate, told, went_up) = one_too_many(&budget("20", ""));
    let told = String::from_utf8_lossy(&told).into_owned();
    assert!(told.contains(r#""code":"too_many_in_flight""#), "{told}");
    assert_eq!(went_up, FOLLOWED);
    // Those that were followed, and the connection itself.
    let rows = tollgate.ledger().exactly(FOLLOWED + 1);
    let refused = rows.iter().filter(|row| row.outcome() == "refused");
    assert_eq!(refused.count(), 1);
    // No rule that is in force limits these.
    let shadow = budget("20", ", mode: shadow");
    for rules in [shadow, budget("20", ", match: {model: other}")] {
        let (_, told, went_up) = one_too_many(&rules);
        assert_eq!(told, b"");
        assert_eq!(went_up, FOLLOWED + 1);
    }
}

#[test]
fn a_socket_that_nobody_can_read_counts_what_is_taken_for_granted() {
    let compressed = frame(
        0xC1,
        None,
        b"\xAA\x56\x2A\xA9\x2C\x48\x55\xB2\x52\x50\x02\x00",
    );
    let upstream = SocketUpstream::start(
        &[("sec-websocket-extensions", "permessage-deflate")],
        vec![Turn::Send(compressed.clone()), Turn::Close],
    );
    let tollgate = ruled(
        Setup::upstream(&upstream.base_url()).setting("budgets: {unbounded_cost: 0.25 USD}"),
        &budget("20", ""),
    )
    .start();
    let socket = Socket::open(tollgate.address(), "/v1/realtime?model=metered", &[]);
    let connection = socket.request_id();
    assert_eq!(socket.finish(), compressed);
    let row = tollgate.ledger().request(&connection);
    assert_eq!(row.text("usage_source"), Some("missing"), "{row:#?}");
    assert_eq!(row.int("assumed_cost_nanousd"), Some(250_000_000));
}
