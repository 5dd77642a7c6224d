//! Bodies that are sent again, byte for byte.

use serde_json::json;

use super::{DEAD, attempts, ok, two};
use crate::support::client::{Connection, Request};
use crate::support::tollgate::Setup;
use crate::support::upstream::{Answer, Step, Upstream};
use crate::support::{answers, http2};

const MIB: usize = 1024 * 1024;

/// Bytes without a period that a buffer's size divides.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(length).collect()
}

fn form(length: usize) -> Vec<u8> {
    let head =
        "--limit\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n";
    let tail = "\r\n--limit\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--limit--\r\n";
    [head.as_bytes(), &noise(length), tail.as_bytes()].concat()
}

fn upload(body: &[u8], chunked: bool) -> Request {
    let request = Request::new("POST", "/v1/audio/transcriptions")
        .header("content-type", "multipart/form-data; boundary=limit");
    if chunked {
        request.chunked(body.chunks(50_000))
    } else {
        request.body(body)
    }
}

fn embeddings(length: usize, chunked: bool) -> (Vec<u8>, Request) {
    let body = json!({"input": "x".repeat(length), "model": "m"}).to_string();
    let request = Request::new("POST", "/v1/embeddings").header("content-type", "application/json");
    let request = if chunked {
        request.chunked(body.as_bytes().chunks(50_000))
    } else {
        request.body(&body)
    };
    (body.into_bytes(), request)
}

/// Refuses, or answers, when the body is there.
fn upstreams() -> (Upstream, Upstream) {
    let refusal = answers::error("429 Slow", "requests", "slow_down");
    (Upstream::always(refusal), Upstream::always(ok()))
}

#[test]
fn every_channel_gets_the_whole_body() {
    let (first, second) = upstreams();
    let tollgate = two(&first.base_url(), &second.base_url())
        .setting("breaker: {failures: 50, of: 50}")
        .start();
    let mut requests = Vec::new();
    for length in [10, 60 * 1024, 70 * 1024, 4 * MIB] {
        for chunked in [false, true] {
            requests.push((embeddings(length, chunked), "m"));
            let body = form(length);
            let request = upload(&body, chunked);
            requests.push(((body, request), "whisper-1"));
        }
    }
    for ((body, request), model) in requests {
        let response = tollgate.send(&request);
        assert_eq!(response.text(), answers::chat());
        for upstream in [&first, &second] {
            let received = upstream.received().pop().unwrap();
            assert!(received.body == body, "{} bytes", body.len());
            let length = received.headers.get("content-length").unwrap();
            assert_eq!(length, body.len().to_string());
            assert_eq!(received.headers.get("transfer-encoding"), None);
        }
        assert_eq!(attempts(&tollgate, &response).len(), 2);
        let row = tollgate.ledger().request(&response.request_id());
        assert_eq!(row.text("requested_model"), Some(model));
        let length = i64::try_from(body.len()).unwrap();
        assert_eq!(row.int("request_bytes"), Some(length));
    }
}

/// A client that was told to go on has no answer yet.
#[test]
fn a_client_that_waits_to_be_told_to_go_on_gets_its_answer() {
    let (first, second) = upstreams();
    let tollgate = two(&first.base_url(), &second.base_url())
        .setting("breaker: {failures: 50, of: 50}")
        .start();
    let (body, request) = embeddings(100 * 1024, false);
    let request = request.header("expect", "100-continue");
    let ask = |to| {
        let mut connection = Connection::open(to);
        connection.write(&request.head_bytes()).unwrap();
        assert!(connection.head().start.contains(" 100 "));
        connection.write(&body).unwrap();
        connection.incoming("POST").finish()
    };
    let response = ask(tollgate.address());
    assert_eq!(response.text(), answers::chat());
    assert_eq!(attempts(&tollgate, &response).len(), 2);
    let tollgate = two(DEAD, DEAD).start();
    let response = ask(tollgate.address());
    assert_eq!(response.status, 502, "{response:?}");
    assert_eq!(
        response.headers.get("x-tollgate-error"),
        Some("connect_error")
    );
}

/// Over HTTP/2 a body may have no length either.
#[test]
fn a_body_that_came_over_http_2_is_sent_again() {
    let (first, second) = upstreams();
    let tollgate = two(&first.base_url(), &second.base_url())
        .setting("breaker: {failures: 50, of: 50}")
        .start();
    for length in [10, 300 * 1024] {
        let body = json!({"input": "x".repeat(length), "model": "m"}).to_string();
        let response = http2::post_cleartext(tollgate.address(), "/v1/embeddings", &body);
        assert_eq!(response.status(), 200);
        assert_eq!(response.body(), answers::chat().as_bytes());
        for upstream in [&first, &second] {
            assert!(upstream.received().pop().unwrap().body == body.as_bytes());
        }
    }
}

/// A GET has nothing to send again.
#[test]
fn a_request_without_a_body_is_made_again() {
    let (first, second) = (
        Upstream::always(Answer::new("500 Broken").body("")),
        Upstream::always(Answer::new("200 OK").body("content")),
    );
    let tollgate = two(&first.base_url(), &second.base_url()).start();
    let response = tollgate.send(&Request::new("GET", "/v1/files/f/content"));
    assert_eq!(response.text(), "content");
}

/// What was too large to be kept cannot be sent again, but for a channel that nothing was sent to.
#[test]
fn a_body_too_large_to_be_kept_goes_on_only_where_nothing_was_sent() {
    let body = form(200 * 1024);
    for (first, tried, status) in [
        (Upstream::always(vec![Step::Reset]), 1, 502),
        (
            Upstream::always(Answer::new("503 Down").body("down")),
            1,
            503,
        ),
    ] {
        let second = Upstream::always(ok());
        let tollgate = two(&first.base_url(), &second.base_url())
            .setting("limits: {buffered_body: 100KiB}")
            .start();
        for chunked in [false, true] {
            let response = tollgate.send(&upload(&body, chunked));
            assert_eq!(response.status, status, "{response:?}");
            assert_eq!(attempts(&tollgate, &response).len(), tried);
            assert_eq!(second.received().len(), 0);
        }
    }
    let second = Upstream::always(ok());
    let tollgate = two(DEAD, &second.base_url())
        .setting("limits: {buffered_body: 100KiB}")
        .start();
    for chunked in [false, true] {
        let response = tollgate.send(&upload(&body, chunked));
        assert_eq!(response.status, 200, "{response:?}");
        assert!(second.received().pop().unwrap().body == body);
    }
}

/// With one channel an upload passes as it comes.
#[test]
fn an_upload_to_the_only_channel_streams() {
    let upstream = Upstream::always(ok());
    let tollgate = Setup::upstream(&upstream.base_url()).start();
    let body = form(200 * 1024);
    let request = upload(&body, false);
    let mut connection = Connection::open(tollgate.address());
    let (first, rest) = body.split_at(body.len() / 2);
    connection
        .write(&[&request.head_bytes(), first].concat())
        .unwrap();
    upstream.until("the first half arrived", |received| {
        received
            .first()
            .is_some_and(|request| !request.body.is_empty())
    });
    connection.write(rest).unwrap();
    assert_eq!(connection.incoming("POST").finish().status, 200);
    assert!(upstream.only().body == body);
}
