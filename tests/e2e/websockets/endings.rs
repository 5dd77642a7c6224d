//! Sessions that end with a response under way.

use serde_json::json;

use super::{REALTIME, create, realtime, rows};
use crate::support::ledger::Row;
use crate::support::tollgate::{Setup, Tollgate};
use crate::support::websocket::{
    Socket, SocketUpstream, Turn, close_from_client, close_from_server, from_server,
};

/// How a session with one response under way ends.
fn unfinished(turns: Vec<Turn>, leave: impl FnOnce(Socket)) -> (Row, Row) {
    let asked = create();
    let begun = [realtime("resp_1", "created"), realtime("resp_1", "delta")].concat();
    let mut script = vec![Turn::Expect(asked.len()), Turn::Send(begun.clone())];
    script.extend(turns);
    let upstream = SocketUpstream::start(&[], script);
    let tollgate = Tollgate::before(&upstream.base_url());
    let mut socket = Socket::open(tollgate.address(), REALTIME, &[]);
    let id = socket.request_id();
    socket.write(&asked);
    socket.read(begun.len());
    leave(socket);
    let (connection, mut made) = rows(&tollgate, &id, 1);
    let row = made.remove(0);
    assert_eq!(row.text("response_id"), Some("resp_1"), "{row:#?}");
    assert_eq!(row.text("usage_source"), Some("missing"), "{row:#?}");
    assert_eq!((row.tokens(), row.int("cost_nanousd")), (vec![], None));
    assert!(row.int("first_token_us").is_some(), "{row:#?}");
    (connection, row)
}

#[test]
fn a_client_that_leaves_closes_what_is_unfinished() {
    for politely in [true, false] {
        let (connection, row) = unfinished(vec![Turn::Hang], |mut socket| {
            if politely {
                socket.write(&close_from_client(1000));
            }
        });
        assert_eq!(row.outcome(), "client_closed", "{row:#?}");
        assert_eq!(connection.outcome(), "ok", "{connection:#?}");
    }
}

#[test]
fn an_upstream_that_leaves_fails_what_is_unfinished() {
    let expired = from_server(&json!({"type": "error", "error":
        {"type": "invalid_request_error", "code": "session_expired", "message": "60 minutes"}}));
    for (turns, code, of_connection) in [
        (vec![Turn::Close], "websocket_1006", "upstream_error"),
        (vec![Turn::Reset], "upstream_error", "upstream_error"),
        (
            vec![Turn::Send(close_from_server(1011)), Turn::Close],
            "websocket_1011",
            "upstream_error",
        ),
        (
            vec![Turn::Send(close_from_server(1001)), Turn::Close],
            "websocket_1001",
            "ok",
        ),
        (
            vec![
                Turn::Send([expired, close_from_server(1001)].concat()),
                Turn::Close,
            ],
            "session_expired",
            "ok",
        ),
    ] {
        let (connection, row) = unfinished(turns, |socket| {
            socket.finish();
        });
        assert_eq!(row.outcome(), "upstream_error", "{row:#?}");
        assert_eq!(row.text("error_code"), Some(code), "{row:#?}");
        assert_eq!(row.text("error_source"), Some("upstream"), "{row:#?}");
        assert_eq!(connection.outcome(), of_connection, "{connection:#?}");
    }
}

#[test]
fn kill_9_leaves_interrupted_rows() {
    let asked = create();
    let begun = realtime("resp_1", "created");
    let upstream = SocketUpstream::start(
        &[],
        vec![
            Turn::Expect(asked.len()),
            Turn::Send(begun.clone()),
            Turn::Hang,
        ],
    );
    let mut tollgate = Tollgate::before(&upstream.base_url());
    let mut socket = Socket::open(tollgate.address(), REALTIME, &[]);
    let id = socket.request_id();
    socket.write(&asked);
    socket.read(begun.len());
    tollgate.kill();
    tollgate.start_again();
    let (connection, made) = rows(&tollgate, &id, 1);
    for row in [&connection, &made[0]] {
        assert_eq!(row.outcome(), "interrupted", "{row:#?}");
        assert_eq!(row.text("requested_model"), Some("gpt-5-mini"), "{row:#?}");
    }
}

#[test]
fn told_to_stop_it_closes_what_is_unfinished() {
    let asked = create();
    let begun = realtime("resp_1", "created");
    let upstream = SocketUpstream::start(
        &[],
        vec![
            Turn::Expect(asked.len()),
            Turn::Send(begun.clone()),
            Turn::Hang,
        ],
    );
    let mut tollgate = Setup::upstream(&upstream.base_url())
        .setting("limits: {grace: 100ms}")
        .start();
    let mut socket = Socket::open(tollgate.address(), REALTIME, &[]);
    let id = socket.request_id();
    socket.write(&asked);
    socket.read(begun.len());
    assert!(tollgate.stop().success());
    let (connection, made) = rows(&tollgate, &id, 1);
    for row in [&connection, &made[0]] {
        assert_eq!(row.outcome(), "interrupted", "{row:#?}");
    }
    assert_eq!(made[0].text("usage_source"), Some("missing"), "{made:#?}");
}
