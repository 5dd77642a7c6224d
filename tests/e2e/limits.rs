//! Limits on time and on requests in flight, and connections that went stale.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;
use serde_json::json;

use crate::support::answers::{self, BEGINNING, begin};
use crate::support::client::{Connection, Request};
use crate::support::message::{Framing, Wire, framing};
use crate::support::tollgate::{Setup, Tollgate};
use crate::support::upstream::{Step, Upstream};

fn embeddings() -> Request {
    let body = json!({"model": "gpt-5-mini", "input": "plain"});
    Request::json("/v1/embeddings", &body)
}

fn stream() -> Request {
    let body = json!({"model": "gpt-5-mini", "messages": [], "stream": true});
    Request::json("/v1/chat/completions", &body)
}

#[test]
fn a_request_beyond_those_in_flight_is_a_503() {
    let events = answers::chat_stream(true);
    let upstream = Upstream::always(begin(&events, [Step::Hang]));
    let tollgate = Setup::upstream(&upstream.base_url())
        .setting("limits: {in_flight: 1}")
        .start();
    let mut held = stream().start(tollgate.address());
    held.read_until(&mut Vec::new(), "Hello");
    let response = tollgate.send(&embeddings());
    assert_eq!(response.status, 503, "{response:?}");
    assert!(
        response.headers.get("retry-after").is_some(),
        "{response:?}"
    );
    assert!(response.json()["error"]["message"].is_string());
    let row = tollgate.ledger().request(&response.request_id());
    assert_eq!(row.outcome(), "refused", "{row:#?}");
    assert_eq!(upstream.received().len(), 1);
}

#[test]
fn a_request_that_takes_longer_than_its_whole_time_is_cut_off() {
    let events = answers::chat_stream(false);
    let upstream = Upstream::start(move |request| {
        if request.target.ends_with("embeddings") {
            return vec![Step::Hang];
        }
        begin(&events, [Step::Hang])
    });
    let tollgate = Setup::upstream(&upstream.base_url())
        .setting("limits: {total: 500ms}")
        .start();
    let response = tollgate.send(&embeddings());
    assert_eq!(response.status, 504, "{response:?}");
    let row = tollgate.ledger().request(&response.request_id());
    assert_eq!(row.outcome(), "timeout", "{row:#?}");
    let response = tollgate.send(&stream());
    assert_eq!((response.status, response.whole), (200, false));
    let sent = answers::chat_stream(false)[..BEGINNING].concat();
    assert_eq!(response.text(), sent);
    let row = tollgate.ledger().request(&response.request_id());
    assert_eq!(row.outcome(), "timeout", "{row:#?}");
}

#[test]
fn a_client_that_stalls_in_its_upload_is_let_go() {
    let upstream = Upstream::start(answers::provider);
    let tollgate = Setup::upstream(&upstream.base_url())
        .setting("limits: {idle: 500ms}")
        .start();
    let request = embeddings();
    let mut connection = Connection::open(tollgate.address());
    let bytes = request.bytes();
    connection.write(&bytes[..bytes.len() - 5]).unwrap();
    if let Some(incoming) = connection.try_incoming("POST") {
        assert_eq!(incoming.finish().status, 408);
    }
    let row = tollgate.ledger().only();
    assert_eq!(row.outcome(), "refused", "{row:#?}");
    assert_eq!(upstream.received().len(), 0);
}

#[test]
fn a_try_on_a_connection_that_breaks_is_in_the_account() {
    let count = AtomicUsize::new(0);
    let upstream = Upstream::start(move |request| {
        // The second request is the first to come over a connection that was used before.
        match count.fetch_add(1, Ordering::SeqCst) {
            1 => vec![Step::Close],
            _ => answers::provider(request),
        }
    });
    let tollgate = Tollgate::before(&upstream.base_url());
    assert_eq!(tollgate.send(&embeddings()).status, 200);
    let response = tollgate.send(&embeddings());
    let row = tollgate.ledger().request(&response.request_id());
    let tries = upstream.received().len() - 1;
    assert_eq!(
        row.int("attempts"),
        Some(i64::try_from(tries).unwrap()),
        "{row:#?}"
    );
    let outcome = if response.status == 200 {
        "ok"
    } else {
        "upstream_error"
    };
    assert_eq!(row.outcome(), outcome, "{row:#?}");
}

#[test]
fn a_connection_that_the_upstream_closed_meanwhile_is_no_failure() {
    let upstream = Upstream::start(|request| {
        let mut script = answers::provider(request);
        // It did not say that it would.
        script.push(Step::Close);
        script
    });
    let tollgate = Tollgate::before(&upstream.base_url());
    let responses: Vec<_> = (0..30).map(|_| tollgate.send(&embeddings())).collect();
    let mut answered = 0;
    for response in responses {
        let row = tollgate.ledger().request(&response.request_id());
        // On a machine that is busy for so long, the upstream might have been at work on it.
        if response.status == 502 && row.int("total_us") >= Some(100_000) {
            continue;
        }
        assert_eq!(response.status, 200, "{response:?} {row:#?}");
        assert_eq!(row.tokens(), answers::EMBEDDINGS_TOKENS, "{row:#?}");
        answered += 1;
    }
    assert_eq!(upstream.received().len(), answered);
}

/// The end of the connection shows where the body is written, not where the answer is awaited.
#[test]
fn a_connection_that_breaks_while_a_request_is_written_is_no_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let upstream = std::thread::spawn(move || {
        let mut used = Wire::new(listener.accept().unwrap().0);
        answer_ok(&mut used);
        // Of the second request only the head is taken; sockets do not hold its body.
        used.head().unwrap().unwrap();
        set_socket_linger(used.stream(), Some(Duration::ZERO)).unwrap();
        drop(used);
        answer_ok(&mut Wire::new(listener.accept().unwrap().0))
    });
    let tollgate = Tollgate::before(&format!("http://{address}/v1"));
    assert_eq!(tollgate.send(&embeddings()).status, 200);
    let body = json!({"padding": "x".repeat(8 << 20)}).to_string();
    let request = Request::new("POST", "/v1/embeddings")
        .header("content-type", "application/json")
        .body(body.clone());
    let response = tollgate.send(&request);
    assert_eq!(response.status, 200, "{response:?}");
    assert!(upstream.join().unwrap() == body.as_bytes());
    let row = tollgate.ledger().request(&response.request_id());
    assert_eq!(row.int("attempts"), Some(2), "{row:#?}");
}

/// Takes one request, whose body it returns, and answers it.
fn answer_ok(wire: &mut Wire<TcpStream>) -> Vec<u8> {
    let head = wire.head().unwrap().unwrap();
    let mut body = Vec::new();
    wire.body(framing(&head, Framing::Empty), |piece| {
        body.extend_from_slice(piece);
    })
    .unwrap();
    let answer =
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
    wire.stream().write_all(answer).unwrap();
    body
}

/// A limit that is over cuts the connection, which looks like one that went stale in the pool.
#[test]
fn a_request_whose_time_is_over_is_not_sent_again() {
    let count = AtomicUsize::new(0);
    let upstream = Upstream::start(move |request| {
        match count.fetch_add(1, Ordering::SeqCst) {
            // The first leaves a connection in the pool for the second.
            0 => answers::provider(request),
            _ => vec![Step::Hang],
        }
    });
    let tollgate = Setup::upstream(&upstream.base_url())
        .setting("limits: {first_byte: 300ms, idle: 60s}")
        .start();
    assert_eq!(tollgate.send(&embeddings()).status, 200);
    let response = tollgate.send(&embeddings());
    assert_eq!(response.status, 504, "{response:?}");
    assert_eq!(
        response.headers.get("x-tollgate-error"),
        Some("first_byte_timeout")
    );
    assert_eq!(upstream.received().len(), 2);
    let row = tollgate.ledger().request(&response.request_id());
    assert_eq!(row.outcome(), "timeout", "{row:#?}");
    assert_eq!(row.int("attempts"), Some(1), "{row:#?}");
    // The upstream has the request: what it bills is unknown, not nothing.
    assert_eq!(row.text("usage_source"), Some("missing"), "{row:#?}");
    // Waiting for the upstream is no overhead.
    assert!(row.int("overhead_us") < Some(250_000), "{row:#?}");
}

#[test]
fn refused_requests_do_not_take_the_places_of_those_in_flight() {
    let upstream = Upstream::start(answers::provider);
    let tollgate = Setup::upstream(&upstream.base_url())
        .setting("limits: {in_flight: 1, request_body: 1KiB, buffered_body: 1KiB}")
        .start();
    // Its client goes on sending for as long as it is listened to.
    let mut refused = Connection::open(tollgate.address());
    let head = "POST /v1/embeddings HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
                content-length: 100000\r\n\r\n";
    refused.write(head.as_bytes()).unwrap();
    let incoming = refused.try_incoming("POST").unwrap();
    assert_eq!(incoming.finish().status, 413);
    assert_eq!(tollgate.send(&embeddings()).status, 200);
}
