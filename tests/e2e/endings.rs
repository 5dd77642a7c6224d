//! How requests end that do not end well.

use serde_json::{Value, json};

use crate::support::answers::{self, BEGINNING, begin};
use crate::support::client::{Request, Response};
use crate::support::eventually;
use crate::support::ledger::Row;
use crate::support::tollgate::{Setup, Tollgate, free_port};
use crate::support::upstream::{Answer, Script, Step, Upstream, chunk};

fn chat(stream: bool) -> Request {
    let body = json!({"model": "gpt-5-mini", "stream": stream,
        "messages": [{"role": "user", "content": "plain"}]});
    Request::json("/v1/chat/completions", &body)
}

/// One request through a Tollgate in front of that script: the answer and the row.
fn through(script: Script, request: &Request) -> (Response, Row) {
    let upstream = Upstream::always(script);
    let tollgate = Tollgate::before(&upstream.base_url());
    let response = tollgate.send(request);
    (response, tollgate.ledger().only())
}

/// An error that Tollgate itself made, in the shape of OpenAI's.
fn assert_own_error(response: &Response, status: u16, reason: &str) {
    assert_eq!(response.status, status, "{response:?}");
    assert_eq!(
        response.headers.get("x-tollgate-error"),
        Some(reason),
        "{response:?}"
    );
    assert_eq!(
        response.headers.get("content-type"),
        Some("application/json"),
        "{response:?}"
    );
    let body = response.json();
    let error = body["error"].as_object().unwrap();
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|text| !text.is_empty()),
        "{body}"
    );
    assert!(error["type"].is_string(), "{body}");
    assert_eq!(error["code"], reason, "{body}");
    assert!(error.contains_key("param"), "{body}");
}

#[test]
fn a_client_that_leaves_cancels_the_upstream_and_is_recorded() {
    let upstream = Upstream::always(begin(&answers::chat_stream(true), [Step::Hang]));
    let tollgate = Tollgate::before(&upstream.base_url());
    let mut incoming = chat(true).start(tollgate.address());
    let mut seen = Vec::new();
    incoming.read_until(&mut seen, "Hello");
    drop(incoming);
    eventually("the upstream sees the end", || {
        (upstream.abandoned() == 1).then_some(())
    });
    let row = tollgate.ledger().only();
    assert_eq!(row.outcome(), "client_closed", "{row:#?}");
    assert_eq!(row.text("error_source"), Some("downstream"), "{row:#?}");
    assert_eq!(row.int("status"), Some(200), "{row:#?}");
    // Nothing was stated: Tollgate's own count of the prompt and of "Hello".
    assert_eq!(row.tokens(), [("input", 5), ("output", 1)], "{row:#?}");
    assert!(row.int("cost_nanousd") > Some(0), "{row:#?}");
    assert_eq!(row.text("usage_source"), Some("partial"), "{row:#?}");
    assert!(row.int("first_token_us").is_some(), "{row:#?}");
}

#[test]
fn a_client_that_leaves_before_the_answer_is_recorded() {
    let upstream = Upstream::always(vec![Step::Hang]);
    let tollgate = Tollgate::before(&upstream.base_url());
    let request = chat(false);
    let mut connection = crate::support::client::Connection::open(tollgate.address());
    connection.write(&request.bytes()).unwrap();
    upstream.until("the request arrived", |received| {
        received.first().is_some_and(|request| request.complete)
    });
    drop(connection);
    let row = tollgate.ledger().only();
    assert_eq!(row.outcome(), "client_closed", "{row:#?}");
    assert_eq!(row.int("first_token_us"), None, "{row:#?}");
    assert_eq!(row.int("first_byte_us"), None, "{row:#?}");
}

#[test]
fn a_stream_that_breaks_off_breaks_off_for_the_client_too() {
    let events = answers::chat_stream(false);
    let endings = [("closed", Step::Close), ("reset", Step::Reset)];
    for (name, ending) in endings {
        let (response, row) = through(begin(&events, [ending]), &chat(true));
        assert_eq!((response.status, response.whole), (200, false), "{name}");
        // A reset may discard what was on its way; what arrives is a beginning of what was sent.
        assert!(
            events.concat().starts_with(&response.text()),
            "{name}: {}",
            response.text()
        );
        assert_eq!(row.outcome(), "upstream_error", "{name}: {row:#?}");
        assert_eq!(
            row.text("error_source"),
            Some("upstream"),
            "{name}: {row:#?}"
        );
        // A reset may discard the content with the rest.
        if name == "closed" {
            assert_eq!(
                row.tokens(),
                [("input", 5), ("output", 1)],
                "{name}: {row:#?}"
            );
            assert_eq!(
                row.text("usage_source"),
                Some("partial"),
                "{name}: {row:#?}"
            );
        }
    }
}

#[test]
fn a_stream_that_breaks_off_inside_an_event_loses_none_of_its_bytes() {
    let events = answers::chat_stream(false);
    let half = &events[BEGINNING][..events[BEGINNING].len() / 2];
    let mut script = answers::open_stream();
    script.extend(
        events[..BEGINNING]
            .iter()
            .map(|event| chunk(event.as_bytes())),
    );
    script.push(chunk(half.as_bytes()));
    script.push(Step::Close);
    // Usage is asked for on the client's behalf, so events are held until they are whole.
    let (response, row) = through(script, &chat(true));
    assert_eq!((response.status, response.whole), (200, false));
    let sent = events[..BEGINNING].concat() + half;
    assert_eq!(response.text(), sent);
    assert_eq!(row.outcome(), "upstream_error", "{row:#?}");
    assert_eq!(
        row.int("response_bytes"),
        Some(i64::try_from(sent.len()).unwrap()),
        "{row:#?}"
    );
}

#[test]
fn a_providers_error_text_shows_no_key_whatever_its_form() {
    let key = "0123456789abcdef0123456789abcdef";
    let body = format!(
        r#"{{"error":{{"message":"Incorrect API key provided: {key}.","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}}}"#
    );
    let upstream = Upstream::always(answers::json("401 Unauthorized", &body));
    let tollgate = Tollgate::before(&upstream.base_url());
    let response = tollgate.send(&chat(false).header("authorization", &format!("Bearer {key}")));
    assert_eq!((response.status, response.text()), (401, body));
    let row = tollgate.ledger().only();
    assert_eq!(
        row.text("error_message"),
        Some("Incorrect API key provided: [secret]."),
        "{row:#?}"
    );
}

#[test]
fn a_body_shorter_than_promised_is_cut_off_for_the_client_too() {
    let mut script = vec![
        Answer::new("200 OK")
            .header("content-length", "1000")
            .head(),
    ];
    script.extend([Step::Send(b"{\"usage\":{".to_vec()), Step::Close]);
    let (response, row) = through(script, &chat(false));
    assert_eq!((response.status, response.whole), (200, false));
    assert_eq!(response.text(), "{\"usage\":{");
    assert_eq!(row.outcome(), "upstream_error", "{row:#?}");
}

#[test]
fn an_upstream_that_is_down_is_a_502() {
    let tollgate = Tollgate::before(&format!("http://{}/v1", free_port()));
    let response = tollgate.send(&chat(false));
    assert_own_error(&response, 502, "connect_error");
    let row = tollgate.ledger().request(&response.request_id());
    assert_eq!(row.outcome(), "connect_error", "{row:#?}");
    assert_eq!(row.text("error_source"), Some("upstream"), "{row:#?}");
    assert_eq!(
        (row.int("connect_us"), row.int("wait_us")),
        (None, None),
        "{row:#?}"
    );
    assert_eq!(row.int("status"), Some(502), "{row:#?}");
    assert_eq!(row.tokens(), vec![], "{row:#?}");
}

#[test]
fn an_upstream_that_never_answers_is_a_504() {
    let upstream = Upstream::always(vec![Step::Hang]);
    let tollgate = Setup::upstream(&upstream.base_url())
        .setting("limits: {first_byte: 300ms}")
        .start();
    let response = tollgate.send(&chat(false));
    assert_own_error(&response, 504, "first_byte_timeout");
    let row = tollgate.ledger().request(&response.request_id());
    assert_eq!(row.outcome(), "timeout", "{row:#?}");
    assert_eq!(row.int("first_byte_us"), None, "{row:#?}");
}

#[test]
fn a_stream_that_stalls_is_cut_off_after_the_idle_time() {
    let events = answers::chat_stream(false);
    let upstream = Upstream::always(begin(&events, [Step::Hang]));
    let tollgate = Setup::upstream(&upstream.base_url())
        .setting("limits: {idle: 500ms}")
        .start();
    let response = tollgate.send(&chat(true));
    assert_eq!((response.status, response.whole), (200, false));
    assert_eq!(response.text(), events[..BEGINNING].concat());
    let row = tollgate.ledger().request(&response.request_id());
    assert_eq!(row.outcome(), "timeout", "{row:#?}");
    assert_eq!(row.tokens(), [("input", 5), ("output", 1)], "{row:#?}");
    assert_eq!(row.text("usage_source"), Some("partial"), "{row:#?}");
}

#[test]
fn an_upstream_that_closes_without_an_answer_is_a_502() {
    for ending in [Step::Close, Step::Reset] {
        let (response, row) = through(vec![ending], &chat(false));
        assert_eq!(response.status, 502, "{response:?}");
        assert!(
            response.headers.get("x-tollgate-error").is_some(),
            "{response:?}"
        );
        assert_eq!(row.outcome(), "upstream_error", "{row:#?}");
        assert_eq!(row.text("error_source"), Some("upstream"), "{row:#?}");
    }
}

#[test]
fn an_upstream_that_speaks_no_http_is_a_502() {
    let garbage = vec![
        Step::Send(b"\x00\x01 this is no HTTP\r\n\r\n".to_vec()),
        Step::Close,
    ];
    let (response, row) = through(garbage, &chat(false));
    assert_eq!(response.status, 502, "{response:?}");
    assert_eq!(row.outcome(), "upstream_error", "{row:#?}");
}

#[test]
fn broken_chunks_break_off() {
    let mut script = answers::open_stream();
    script.extend([
        chunk(b"data: {}\n\n"),
        Step::Send(b"zz\r\nno size".to_vec()),
        Step::Close,
    ]);
    let (response, row) = through(script, &chat(true));
    assert_eq!(
        (response.text().as_str(), response.whole),
        ("data: {}\n\n", false)
    );
    assert_eq!(row.outcome(), "upstream_error", "{row:#?}");
}

#[test]
fn the_upstreams_errors_pass_and_are_told_apart() {
    let cases = [
        (
            "429 Too Many Requests",
            "requests",
            "rate_limit_exceeded",
            "rate_limited",
        ),
        (
            "429 Too Many Requests",
            "insufficient_quota",
            "insufficient_quota",
            "quota_exhausted",
        ),
        (
            "401 Unauthorized",
            "invalid_request_error",
            "invalid_api_key",
            "upstream_error",
        ),
        (
            "400 Bad Request",
            "invalid_request_error",
            "invalid_value",
            "upstream_error",
        ),
        (
            "500 Internal Server Error",
            "server_error",
            "internal_error",
            "upstream_error",
        ),
    ];
    for (status, kind, code, outcome) in cases {
        let script = answers::error(status, kind, code);
        let upstream = Upstream::always(script);
        let tollgate = Tollgate::before(&upstream.base_url());
        for stream in [false, true] {
            let direct = chat(stream).send(upstream.address());
            let through = tollgate.send(&chat(stream));
            assert_eq!(direct.seen(), through.seen(), "{code}");
            assert_eq!(through.headers.get("x-tollgate-error"), None);
            let row = tollgate.ledger().request(&through.request_id());
            assert_eq!(row.outcome(), outcome, "{code}: {row:#?}");
            assert_eq!(row.text("error_code"), Some(code), "{row:#?}");
            assert_eq!(
                row.text("error_message"),
                Some("Scripted failure."),
                "{row:#?}"
            );
            assert_eq!(row.text("error_source"), Some("upstream"), "{row:#?}");
            // An error's text is not billed as output.
            assert_eq!(
                (row.tokens(), row.int("cost_nanousd")),
                (vec![], None),
                "{row:#?}"
            );
            assert_eq!(row.text("usage_source"), Some("none"), "{row:#?}");
            assert_eq!(row.int("first_token_us"), None, "{row:#?}");
        }
    }
}

#[test]
fn a_channel_that_does_not_exist_is_refused_in_the_apis_shape() {
    let upstream = Upstream::start(answers::provider);
    let tollgate = Tollgate::before(&upstream.base_url());
    let body = json!({"model": "gpt-5-mini", "input": "plain"});
    let response = tollgate.send(&Request::json("/c/nowhere/v1/embeddings", &body));
    assert_eq!(
        response.headers.get("x-tollgate-error"),
        Some("no_channel"),
        "{response:?}"
    );
    assert!(response.json()["error"]["message"] != Value::Null);
    assert_eq!(upstream.received().len(), 0);
    let row = tollgate.ledger().request(&response.request_id());
    assert_eq!(row.outcome(), "no_channel", "{row:#?}");
    assert_eq!(row.text("channel"), None, "{row:#?}");
}
