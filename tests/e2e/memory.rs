//! Memory stays bounded whatever comes.

use serde_json::json;

use crate::support::answers;
use crate::support::client::{Connection, Request};
use crate::support::tollgate::Tollgate;
use crate::support::upstream::{Answer, Step, Upstream};

/// What the process may grow by over its size when it is warm, in KiB. A debug build and an
/// allocator that keeps what it once had are in it; what would break it is a whole answer of 100 MB
/// held in memory, or a good part of one.
const GROWTH_KIB: u64 = 40 * 1024;

const MB: usize = 1_000_000;

/// A Tollgate that has served a request, and its peak by then.
fn warm(upstream: &Upstream) -> (Tollgate, u64) {
    let tollgate = Tollgate::before(&upstream.base_url());
    tollgate.send(&Request::new("GET", "/warm"));
    let peak = tollgate.peak_resident_kib();
    (tollgate, peak)
}

fn assert_bounded(tollgate: &Tollgate, before: u64) {
    let growth = tollgate.peak_resident_kib() - before;
    assert!(
        growth < GROWTH_KIB,
        "grew by {growth} KiB from {before} KiB"
    );
}

#[test]
fn an_answer_of_100_mb_without_a_newline_passes_in_bounded_memory() {
    let starts = [
        (
            "application/json",
            "{\"choices\":[{\"message\":{\"content\":\"",
        ),
        (
            "text/event-stream",
            "data: {\"choices\":[{\"delta\":{\"content\":\"",
        ),
    ];
    for (kind, start) in starts {
        let upstream = Upstream::start(move |request| {
            if request.target == "/warm" {
                return Answer::new("200 OK").body("{}");
            }
            let length = start.len() + 100 * MB;
            vec![
                Answer::new("200 OK")
                    .header("content-type", kind)
                    .header("content-length", &length.to_string())
                    .head(),
                Step::Send(start.into()),
                Step::Repeat(vec![b'a'; MB], 100),
            ]
        });
        let (tollgate, before) = warm(&upstream);
        let body = json!({"model": "m", "messages": [], "stream": kind == "text/event-stream"});
        let response = tollgate.send(&Request::json("/v1/chat/completions", &body));
        assert!(response.whole);
        assert_eq!(response.body.len(), start.len() + 100 * MB);
        assert_bounded(&tollgate, before);
        let row = tollgate.ledger().request(&response.request_id());
        assert_eq!(
            row.text("usage_source"),
            Some("missing"),
            "{kind}: {row:#?}"
        );
    }
}

#[test]
fn a_small_answer_that_unpacks_to_much_is_metered_in_bounded_memory() {
    let bomb = answers::compress("gzip", &vec![b' '; 200 * MB]);
    let upstream = Upstream::start(move |request| {
        if request.target == "/warm" {
            return Answer::new("200 OK").body("{}");
        }
        let stream = request.json()["stream"] == true;
        let kind = if stream {
            "text/event-stream"
        } else {
            "application/json"
        };
        Answer::new("200 OK")
            .header("content-type", kind)
            .header("content-encoding", "gzip")
            .body(&bomb)
    });
    // Streamed, it also passes through the place where injected usage is taken out.
    for stream in [false, true] {
        let (tollgate, before) = warm(&upstream);
        let body = json!({"model": "m", "messages": [], "stream": stream});
        let response = tollgate.send(&Request::json("/v1/chat/completions", &body));
        // Where it would go on unpacked it is too much, and no model's events.
        let passed = response.status == 200 && response.whole;
        assert_eq!(passed, !stream, "{}", response.status);
        assert_bounded(&tollgate, before);
        tollgate.ledger().request(&response.request_id());
    }
}

#[test]
fn a_flood_of_header_fields_is_refused_in_bounded_memory() {
    let upstream = Upstream::always(Answer::new("200 OK").body("fine"));
    let (tollgate, before) = warm(&upstream);
    let line = format!("x-flood: {}\r\n", "z".repeat(1000));
    let mut connection = Connection::open(tollgate.address());
    connection
        .write(b"GET /v1/models HTTP/1.1\r\nhost: h\r\n")
        .unwrap();
    // Up to 50 MB, or until the door is shut.
    let batch = line.repeat(1000);
    let shut = (0..50).any(|_| connection.write(batch.as_bytes()).is_err());
    let refused = shut
        || connection
            .first()
            .is_none_or(|head| head.start.contains(" 400 ") || head.start.contains(" 431 "));
    assert!(refused);
    assert_bounded(&tollgate, before);
    assert_eq!(
        tollgate.send(&Request::new("GET", "/v1/models")).text(),
        "fine"
    );
    assert_eq!(upstream.received().len(), 2);
}

#[test]
fn an_upstreams_flood_of_header_fields_is_a_502_in_bounded_memory() {
    let line = format!("x-flood: {}\r\n", "z".repeat(1000));
    let upstream = Upstream::start(move |request| {
        if request.target == "/warm" {
            return Answer::new("200 OK").body("{}");
        }
        vec![
            Step::Send(b"HTTP/1.1 200 OK\r\n".to_vec()),
            Step::Repeat(line.repeat(1000).into_bytes(), 50),
            Step::Send(b"\r\n".to_vec()),
        ]
    });
    let (tollgate, before) = warm(&upstream);
    let response = tollgate.send(&Request::new("GET", "/v1/models"));
    assert_eq!(response.status, 502, "{response:?}");
    assert_bounded(&tollgate, before);
    let row = tollgate.ledger().request(&response.request_id());
    assert_eq!(row.outcome(), "upstream_error", "{row:#?}");
}
