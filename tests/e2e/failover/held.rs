//! Refusals whose body decides: held back until it is there.

use std::io::{Read, Write};
use std::net::Shutdown;

use super::{Attempt, attempt, attempts, attempts_of, chat, ok, two};
use crate::support::client::{Connection, Request};
use crate::support::tollgate::Setup;
use crate::support::upstream::{Answer, Step, Upstream, chunk, last_chunk};
use crate::support::{Gate, answers, eventually};

fn refused(code: &str) -> Attempt {
    attempt("first", "rate_limited", Some(429), Some(code))
}

const BODY: &str = r#"{"error":{"message":"m","type":"t","code":"slow_down"}}"#;

/// The code is read from a body in pieces, compressed or not, and whatever stands before it.
#[test]
fn a_code_is_found_wherever_it_stands() {
    let long = format!(
        r#"{{"error":{{"message":"{}","code":"slow_down"}}}}"#,
        "x".repeat(30_000)
    );
    let head = || Answer::new("429 Slow").header("content-type", "application/json");
    let gzipped = answers::compress("gzip", BODY.as_bytes());
    for script in [
        head().chunked(BODY.as_bytes().chunks(3)),
        head().body(&long),
        head()
            .header("content-encoding", "gzip")
            .chunked(gzipped.chunks(5)),
        head().until_close(BODY),
    ] {
        let (first, second) = (Upstream::always(script), Upstream::always(ok()));
        let tollgate = two(&first.base_url(), &second.base_url()).start();
        let response = tollgate.send(&chat("m"));
        assert_eq!(response.text(), answers::chat());
        assert_eq!(attempts(&tollgate, &response)[0], refused("slow_down"));
    }
}

/// With the client's own credential a rate limit may be another one elsewhere; its account is the same.
#[test]
fn what_a_code_says_is_the_clients_is_released_as_it_came() {
    let error = |code: &str| format!(r#"{{"error":{{"message":"m","type":"t","code":"{code}"}}}}"#);
    let poor = error("insufficient_quota");
    let long = format!("{poor}{}", " ".repeat(200 * 1024));
    let head = || {
        Answer::new("429 Slow")
            .header("content-type", "application/json")
            .header("retry-after", "5")
    };
    for (script, tries) in [
        (head().body(error("slow_down")), 2),
        (head().body(&poor), 1),
        (head().chunked(poor.as_bytes().chunks(3)), 1),
        (head().chunked(long.as_bytes().chunks(20_000)), 1),
        (head().until_close(&long), 1),
    ] {
        let (first, second) = (Upstream::always(script), Upstream::always(ok()));
        let tollgate = Setup::channels(&[
            ("first", &first.base_url(), ""),
            ("second", &second.base_url(), ""),
        ])
        .start();
        let mut connection = Connection::open(tollgate.address());
        for _ in 0..2 {
            connection.write(&chat("m").bytes()).unwrap();
            let (response, rest) = connection.incoming("POST").finish_on();
            connection = rest;
            assert_eq!(attempts(&tollgate, &response).len(), tries);
            if tries == 1 {
                assert_eq!(response.seen(), chat("m").send(first.address()).seen());
                let row = tollgate.ledger().request(&response.request_id());
                assert_eq!(row.int("status"), Some(429));
                assert_eq!(row.outcome(), "quota_exhausted");
                let length = i64::try_from(response.body.len()).unwrap();
                assert_eq!(row.int("response_bytes"), Some(length));
            }
        }
    }
}

/// Gemini calls a key that it refuses a bad request; any other bad request is the client's.
#[test]
fn a_key_that_gemini_refuses_is_known_by_its_reason() {
    let error = |details: &str| {
        format!(
            r#"{{"error":{{"code":400,"message":"m","status":"INVALID_ARGUMENT","details":[{details}]}}}}"#
        )
    };
    let reason =
        r#"{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID"}"#;
    for (body, answered, asked) in [(error(reason), 200, 1), (error(""), 400, 3)] {
        let (first, second) = (
            Upstream::always(answers::json("400 Bad Request", &body)),
            Upstream::always(ok()),
        );
        let base = |upstream: &Upstream| format!("http://{}", upstream.address());
        let tollgate = Setup::channels(&[
            ("first", &base(&first), ", kind: gemini, api_key: refused"),
            ("second", &base(&second), ", kind: gemini, api_key: good"),
        ])
        .start();
        let path = "/v1beta/models/gemini-2.5-pro:generateContent";
        for _ in 0..3 {
            let request = Request::json(path, &serde_json::json!({"contents": []}));
            let response = tollgate.send(&request);
            assert_eq!(response.status, answered, "{body}");
            if answered == 400 {
                assert_eq!(response.text(), body);
            }
        }
        assert_eq!(first.received().len(), asked, "{body}");
    }
}

/// A closed channel beside it is not bothered with what does not go there, nor is the ledger.
#[test]
fn what_is_released_probes_nobody() {
    let (poor, broken) = (
        Upstream::always(answers::error("429 No", "t", "insufficient_quota")),
        Upstream::always(answers::error("500 Broken", "server_error", "down")),
    );
    let tollgate = Setup::channels(&[
        ("poor", &poor.base_url(), ""),
        ("broken", &broken.base_url(), ", api_key: sk-broken"),
    ])
    .setting("breaker: {failures: 1, of: 1, probe_after: 1ms, probe_at_most: 1ms}")
    .start();
    tollgate.send(&chat("m").header("x-tollgate-channel", "broken"));
    for _ in 0..20 {
        assert_eq!(tollgate.send(&chat("m")).status, 429);
    }
    assert_eq!(broken.received().len(), 1);
    tollgate.ledger().exactly(21);
    let events = tollgate.ledger().query("SELECT * FROM channel_events");
    assert_eq!(events.len(), 1, "{events:#?}");
}

/// A refusal that does not end, or never did, is decided by what came of it.
#[test]
fn a_refusal_is_not_waited_for_in_vain() {
    let head = || Answer::new("429 Slow").header("content-type", "application/json");
    let begun = |end: Step| {
        let mut script = head().open_chunked();
        script.extend([chunk(&BODY.as_bytes()[..BODY.len() - 2]), end]);
        script
    };
    let endless = {
        let mut script = head().open_chunked();
        script.push(chunk(BODY.as_bytes()));
        script.push(Step::Repeat(
            b"1000\r\n"
                .iter()
                .copied()
                .chain([b' '; 0x1000])
                .chain(*b"\r\n")
                .collect(),
            1000,
        ));
        script.push(Step::Hang);
        script
    };
    let cases = [
        (begun(Step::Hang), Some("slow_down")),
        (begun(Step::Reset), Some("slow_down")),
        (endless, Some("slow_down")),
        (
            vec![head().header("content-length", "9").head(), Step::Hang],
            None,
        ),
    ];
    for (script, code) in cases {
        let (first, second) = (Upstream::always(script), Upstream::always(ok()));
        let tollgate = two(&first.base_url(), &second.base_url()).start();
        let response = tollgate.send(&chat("m"));
        assert_eq!(response.text(), answers::chat());
        let expected = attempt("first", "rate_limited", Some(429), code);
        assert_eq!(attempts(&tollgate, &response)[0], expected);
    }
}

/// Who leaves while an answer is held back has left, and nobody else is asked for him.
#[test]
fn a_client_that_leaves_meanwhile_ends_its_request() {
    for drains in [false, true] {
        let gate = Gate::default();
        let mut script = Answer::new("429 Slow")
            .header("content-type", "application/json")
            .open_chunked();
        script.push(chunk(&BODY.as_bytes()[..9]));
        script.extend(if drains {
            vec![
                Step::Await(gate.clone()),
                chunk(&BODY.as_bytes()[9..]),
                last_chunk(),
            ]
        } else {
            vec![Step::Hang]
        });
        let (first, second) = (Upstream::always(script), Upstream::always(ok()));
        let setting = if drains { "drain(1h)" } else { "cancel" };
        let tollgate = two(&first.base_url(), &second.base_url())
            .setting(&format!("streaming: {{on_client_close: {setting}}}"))
            .start();
        let mut socket = crate::support::client::socket(tollgate.address());
        socket.write_all(&chat("m").bytes()).unwrap();
        first.until("it arrived", |received| !received.is_empty());
        // Once Tollgate has closed its side, it knows.
        socket.shutdown(Shutdown::Write).unwrap();
        socket.read_to_end(&mut Vec::new()).ok();
        gate.open();
        if !drains {
            eventually("the upstream is let go", || {
                (first.abandoned() == 1).then_some(())
            });
        }
        let row = tollgate.ledger().only();
        assert_eq!(row.outcome(), "client_closed", "{row:#?}");
        assert_eq!(row.int("status"), None, "{row:#?}");
        assert_eq!(row.int("response_bytes"), Some(0), "{row:#?}");
        let tried = attempts_of(&tollgate, row.text("id").unwrap());
        assert_eq!(tried.len(), 1, "{tried:?}");
        assert_eq!(second.received().len(), 0);
    }
}

/// Where the client's leaving is drained, everything else goes the same way.
#[test]
fn drains_and_holding_go_together() {
    let (first, second) = (
        Upstream::always(answers::error("429 Slow", "requests", "slow_down")),
        Upstream::always(ok()),
    );
    let tollgate = two(&first.base_url(), &second.base_url())
        .setting("streaming: {on_client_close: drain(1h)}")
        .start();
    let mut connection = Connection::open(tollgate.address());
    for _ in 0..3 {
        connection.write(&chat("m").bytes()).unwrap();
        let (response, rest) = connection.incoming("POST").finish_on();
        connection = rest;
        assert_eq!(response.text(), answers::chat());
        assert_eq!(attempts(&tollgate, &response)[0], refused("slow_down"));
    }
}

/// HEAD has no body to wait for, and the end of an HTTP/1.0 answer is the end of its connection.
#[test]
fn what_cannot_wait_is_decided_by_the_header() {
    let good = Upstream::start(|request| {
        let answer = Answer::new("200 OK");
        if request.method == "HEAD" {
            vec![answer.header("content-length", "5").head()]
        } else {
            answer.body("hello")
        }
    });
    let bad = Upstream::start(|request| {
        let answer = Answer::new("401 No");
        if request.method == "HEAD" {
            vec![answer.header("content-length", "5").head()]
        } else {
            answer.body("nope!")
        }
    });
    let tollgate = two(&bad.base_url(), &good.base_url())
        .setting("breaker: {failures: 50, of: 50}")
        .start();
    let response = tollgate.send(&Request::new("HEAD", "/v1/files/f"));
    assert_eq!(response.status, 200, "{response:?}");
    let mut connection = Connection::open(tollgate.address());
    connection
        .write(b"GET /v1/files/f HTTP/1.0\r\nhost: a\r\n\r\n")
        .unwrap();
    let response = connection.incoming("GET").finish();
    assert_eq!((response.status, response.text().as_str()), (200, "hello"));
}
