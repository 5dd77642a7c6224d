//! What a session's end says of its channel: nobody closes it for the others by what he sends.

use serde_json::json;

use super::{REALTIME, create, rows};
use crate::support::tollgate::{Setup, Tollgate};
use crate::support::websocket::{
    Socket, SocketUpstream, Turn, close_from_server, from_client, from_server,
};

/// One channel, which one failure closes.
fn fragile(upstream: &SocketUpstream) -> Setup {
    Setup::channels(&[("only", &upstream.base_url(), ", api_key: sk-up")])
        .setting("breaker: {failures: 1, of: 1, probe_after: 1h, probe_at_most: 1h}")
}

/// The channel's state, and why it is held.
fn state(tollgate: &Tollgate) -> (String, Option<String>) {
    let told = tollgate.admin("/api/v1/channels/only").json();
    let reason = told["holds"][0]["reason"].as_str();
    let state = told["state"].as_str().unwrap();
    (state.to_owned(), reason.map(str::to_owned))
}

fn error(code: &str) -> Turn {
    Turn::Send(from_server(
        &json!({"type": "error", "event_id": "e", "error":
        {"type": "invalid_request_error", "code": code, "message": "no", "event_id": "another"}}),
    ))
}

fn leave(code: u16) -> Vec<Turn> {
    vec![Turn::Send(close_from_server(code)), Turn::Close]
}

/// What becomes of the channel when the upstream does this after the handshake.
fn after(turns: Vec<Turn>) -> (String, Option<String>) {
    let upstream = SocketUpstream::start(&[], turns);
    let tollgate = fragile(&upstream).start();
    let socket = Socket::open(tollgate.address(), REALTIME, &[]);
    let id = socket.request_id();
    socket.finish();
    rows(&tollgate, &id, 0);
    state(&tollgate)
}

#[test]
fn what_the_client_did_wrong_is_not_the_channels() {
    let mut cases = [1000, 1002, 1003, 1007, 1008, 1009, 3000, 4000, 4999].map(leave);
    for turns in &mut cases[7..] {
        turns.insert(0, error("invalid_model"));
    }
    for (number, turns) in cases.into_iter().enumerate() {
        assert_eq!(after(turns).0, "open", "case {number}");
    }
    let words = vec![error("invalid_model"), Turn::Close];
    assert_eq!(after(words).0, "open");
}

#[test]
fn what_the_provider_failed_in_is_the_channels() {
    let failed = ("closed".to_owned(), Some("failures".to_owned()));
    for turns in [
        leave(1011),
        leave(1013),
        vec![Turn::Close],
        vec![Turn::Reset],
        vec![error("server_error"), Turn::Close],
    ] {
        assert_eq!(after(turns), failed);
    }
}

/// What is said within a session is heard at once, not when it ends.
#[test]
fn what_is_said_of_a_response_is_the_channels() {
    let asked = from_client(&json!({"type": "response.create", "model": "gpt-5", "input": "x"}));
    for (code, reason) in [
        ("insufficient_quota", Some("out_of_money")),
        ("invalid_api_key", Some("bad_credential")),
        ("server_error", Some("failures")),
        ("invalid_prompt", None),
    ] {
        let told = from_server(&json!({"type": "error", "status": 400, "error":
            {"type": "t", "code": code, "message": "no"}}));
        let turns = vec![
            Turn::Expect(asked.len()),
            Turn::Send(told.clone()),
            Turn::Hang,
        ];
        let upstream = SocketUpstream::start(&[], turns);
        let tollgate = fragile(&upstream).start();
        let mut socket = Socket::open(tollgate.address(), "/v1/responses", &[]);
        socket.write(&asked);
        socket.read(told.len());
        let (state, why) = state(&tollgate);
        let expected = if reason.is_some() { "closed" } else { "open" };
        assert_eq!((&*state, why.as_deref()), (expected, reason), "{code}");
    }
}

#[test]
fn a_model_that_a_key_may_not_ask_for_is_not_the_channels_fault() {
    let upstream = SocketUpstream::start(&[], vec![Turn::Hang]);
    let tollgate = fragile(&upstream)
        .setting("keys: [{name: team, key: not-a-real-secret, models: ['gpt-5*']}]")
        .start();
    let fields = [("authorization", "Bearer not-a-real-secret")];
    let mut socket = Socket::open(tollgate.address(), "/v1/responses", &fields);
    let id = socket.request_id();
    socket.write(&from_client(
        &json!({"type": "response.create", "model": "o3", "input": "x"}),
    ));
    socket.finish();
    assert_eq!(rows(&tollgate, &id, 0).0.outcome(), "refused");
    assert_eq!(state(&tollgate).0, "open");
}

#[test]
fn a_client_that_leaves_in_the_middle_is_not_the_channels_fault() {
    let upstream = SocketUpstream::start(&[], vec![Turn::Hang]);
    let tollgate = fragile(&upstream).start();
    let mut socket = Socket::open(tollgate.address(), REALTIME, &[]);
    let id = socket.request_id();
    socket.write(&create());
    drop(socket);
    rows(&tollgate, &id, 1);
    assert_eq!(state(&tollgate).0, "open");
}
