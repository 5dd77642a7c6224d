//! Errors, and what they are about: a request that is refused, a response that fails, or neither.

use serde_json::json;

use super::{REALTIME, RESPONSES, TOKENS, create, realtime, response, rows};
use crate::support::tollgate::Tollgate;
use crate::support::websocket::{
    Socket, SocketUpstream, Turn, close_from_server, from_client, from_server,
};

#[test]
fn an_error_beside_a_response_is_not_its_end() {
    let asked = from_client(&json!({"type": "response.create", "model": "gpt-5-mini"}));
    let error = |code| {
        from_server(
            &json!({"type": "error", "status": 400, "error": {"code": code,
            "message": "no"}}),
        )
    };
    let answer = [
        response("resp_1", "created"),
        response("resp_1", "delta"),
        error("busy"),
        // Of the first, which runs on.
        error("odd"),
        response("resp_1", "completed"),
        // It broke off: what follows is another.
        response("resp_2", "created"),
        error("broken"),
        response("resp_3", "created"),
        response("resp_3", "completed"),
        response("resp_4", "created"),
        response("resp_4", "delta"),
        error("last"),
        close_from_server(1000),
    ]
    .concat();
    let turns = vec![
        Turn::Expect(2 * asked.len()),
        Turn::Send(answer.clone()),
        Turn::Hang,
    ];
    let upstream = SocketUpstream::start(&[], turns);
    let tollgate = Tollgate::before(&upstream.base_url());
    let mut socket = Socket::open(tollgate.address(), RESPONSES, &[]);
    let id = socket.request_id();
    socket.write(&asked.repeat(2));
    socket.read(answer.len());
    drop(socket);
    let (connection, made) = rows(&tollgate, &id, 5);
    assert_eq!(connection.outcome(), "ok", "{connection:#?}");
    let mut seen: Vec<_> = made
        .iter()
        .map(|row| {
            let code = row.text("error_code");
            (row.text("response_id"), code, row.text("usage_source"))
        })
        .collect();
    seen.sort_unstable();
    assert_eq!(
        seen,
        [
            (None, Some("busy"), Some("none")),
            (Some("resp_1"), None, Some("reported")),
            (Some("resp_2"), Some("broken"), Some("none")),
            (Some("resp_3"), None, Some("reported")),
            (Some("resp_4"), Some("last"), Some("missing")),
        ]
    );
    for row in &made {
        let known = row.text("response_id").map(|_| "gpt-5-mini-2025-08-07");
        assert_eq!(row.text("served_model"), known, "{row:#?}");
    }
}

#[test]
fn a_response_that_fails_keeps_what_is_known_of_it() {
    let failed = |id: &str| {
        json!({"id": id, "status": "failed", "usage": {"input_tokens": 11,
        "output_tokens": 7, "total_tokens": 18}})
    };
    let session = json!({"type": "session.created", "session": {"model": "gpt-5-mini"}});
    for (target, model, tier, events) in [
        (
            RESPONSES,
            "gpt-5-mini-2025-08-07",
            Some("auto"),
            vec![
                response("resp_1", "created"),
                from_server(&json!({"type": "response.failed", "response": failed("resp_1")})),
            ],
        ),
        (
            "/v1/realtime",
            "gpt-5-mini",
            None,
            vec![
                from_server(&session),
                realtime("resp_1", "created"),
                from_server(&json!({"type": "response.done", "response": failed("resp_1")})),
            ],
        ),
        (
            "/v1/realtime",
            "gpt-5-mini",
            None,
            vec![
                from_server(&session),
                from_server(&json!({"type": "response.done", "response": failed("resp_1")})),
            ],
        ),
    ] {
        let script = vec![Turn::Send(events.concat()), Turn::Close];
        let upstream = SocketUpstream::start(&[], script);
        let tollgate = Tollgate::before(&upstream.base_url());
        let socket = Socket::open(tollgate.address(), target, &[]);
        let id = socket.request_id();
        socket.finish();
        let row = rows(&tollgate, &id, 1).1.remove(0);
        assert_eq!(row.outcome(), "upstream_error", "{row:#?}");
        assert_eq!(row.text("served_model"), Some(model), "{row:#?}");
        assert_eq!(row.text("service_tier"), tier, "{row:#?}");
        assert_eq!(row.text("response_id"), Some("resp_1"), "{row:#?}");
        assert!(row.int("cost_nanousd") > Some(0), "{row:#?}");
    }
}

#[test]
fn an_error_about_something_else_refuses_no_request() {
    let asked = create();
    let error = |event_id| {
        from_server(&json!({"type": "error", "event_id": "event_1", "error": {
            "type": "invalid_request_error", "message": "no", "event_id": event_id}}))
    };
    let answer = [
        error(json!(null)),
        error(json!("another")),
        realtime("resp_1", "created"),
        realtime("resp_1", "completed"),
        close_from_server(1000),
    ]
    .concat();
    let turns = vec![
        Turn::Expect(asked.len()),
        Turn::Send(answer.clone()),
        Turn::Hang,
    ];
    let upstream = SocketUpstream::start(&[], turns);
    let tollgate = Tollgate::before(&upstream.base_url());
    let mut socket = Socket::open(tollgate.address(), REALTIME, &[]);
    let id = socket.request_id();
    socket.write(&asked);
    socket.read(answer.len());
    drop(socket);
    let row = rows(&tollgate, &id, 1).1.remove(0);
    assert_eq!(row.outcome(), "ok", "{row:#?}");
    assert_eq!(row.tokens(), TOKENS, "{row:#?}");
}

#[test]
fn a_request_without_a_name_is_refused_without_one() {
    let asked = from_client(&json!({"type": "response.create"}));
    let refusal = from_server(&json!({"type": "error", "event_id": "event_1", "error": {
        "type": "invalid_request_error", "code": "rate_limit_exceeded", "message": "later",
        "event_id": null}}));
    let script = vec![
        Turn::Expect(asked.len()),
        Turn::Send(refusal.clone()),
        Turn::Hang,
    ];
    let upstream = SocketUpstream::start(&[], script);
    let tollgate = Tollgate::before(&upstream.base_url());
    let mut socket = Socket::open(tollgate.address(), REALTIME, &[]);
    let id = socket.request_id();
    socket.write(&asked);
    socket.read(refusal.len());
    drop(socket);
    let (connection, made) = rows(&tollgate, &id, 1);
    assert_eq!(connection.outcome(), "ok", "{connection:#?}");
    assert_eq!(made[0].outcome(), "rate_limited", "{made:#?}");
    assert_eq!(made[0].text("usage_source"), Some("none"), "{made:#?}");
}

#[test]
fn a_refused_request_is_no_failure_of_the_session() {
    let (first, second) = (
        create(),
        from_client(&json!({"type": "response.create", "event_id": "other"})),
    );
    let refusal = from_server(&json!({"type": "error", "error": {
        "type": "invalid_request_error", "code": "conversation_already_has_active_response",
        "message": "busy", "event_id": "other"}}));
    let of_something_else = from_server(&json!({"type": "error", "error": {
        "type": "invalid_request_error", "message": "no such item", "event_id": "another"}}));
    let answer = [
        realtime("resp_1", "created"),
        refusal,
        of_something_else,
        realtime("resp_1", "completed"),
        close_from_server(1000),
    ]
    .concat();
    let upstream = SocketUpstream::start(
        &[],
        vec![
            Turn::Expect(first.len() + second.len()),
            Turn::Send(answer.clone()),
            Turn::Hang,
        ],
    );
    let tollgate = Tollgate::before(&upstream.base_url());
    let mut socket = Socket::open(tollgate.address(), REALTIME, &[]);
    let id = socket.request_id();
    socket.write(&[first, second].concat());
    socket.read(answer.len());
    drop(socket);
    let (connection, made) = rows(&tollgate, &id, 2);
    assert_eq!(connection.outcome(), "ok", "{connection:#?}");
    let outcomes: Vec<_> = made
        .iter()
        .map(|row| (row.outcome(), row.text("error_code")))
        .collect();
    assert!(outcomes.contains(&("ok", None)), "{outcomes:?}");
    assert!(
        outcomes.contains(&(
            "upstream_error",
            Some("conversation_already_has_active_response")
        )),
        "{outcomes:?}"
    );
}
