//! HTTP/2 and TLS, in front and behind.

use rustls::{ClientConnection, StreamOwned};
use serde_json::json;

use crate::support::answers;
use crate::support::client::{Connection, Request, socket};
use crate::support::eventually;
use crate::support::http2::{
    Certificate, TlsUpstream, abandon_cleartext, localhost, post_cleartext, post_tls,
    try_post_cleartext,
};
use crate::support::tollgate::{Setup, Tollgate};
use crate::support::upstream::{Step, Upstream};

fn body(stream: bool) -> String {
    json!({"model": "gpt-5-mini", "messages": [], "stream": stream}).to_string()
}

const CHAT: &str = "/v1/chat/completions";

#[test]
fn a_client_speaks_http_2_in_clear_text() {
    let upstream = Upstream::start(answers::provider);
    let tollgate = Tollgate::before(&upstream.base_url());
    for stream in [false, true] {
        let response = post_cleartext(tollgate.address(), CHAT, &body(stream));
        assert_eq!(response.status(), 200);
        let expected = answers::chat_as_read(stream);
        assert_eq!(String::from_utf8_lossy(response.body()), expected);
        let id = response.headers()["x-tollgate-request-id"]
            .to_str()
            .unwrap();
        let row = tollgate.ledger().request(id);
        assert_eq!(row.tokens(), answers::CHAT_TOKENS, "{row:#?}");
        assert_eq!(row.outcome(), "ok", "{row:#?}");
        let received = upstream.received().pop().unwrap();
        assert_eq!(
            received.headers.get("host"),
            Some(upstream.address().to_string().as_str())
        );
        assert_eq!(
            received.headers.get("authorization"),
            Some("Bearer sk-client-secret")
        );
    }
}

#[test]
fn a_large_body_of_http_2_arrives_whole_and_is_understood() {
    let upstream = Upstream::start(answers::provider);
    let tollgate = Tollgate::before(&upstream.base_url());
    for length in [1000, 300 * 1024, 5 * 1024 * 1024] {
        let body = json!({"input": "x".repeat(length), "model": "gpt-5-mini"}).to_string();
        let response = post_cleartext(tollgate.address(), "/v1/embeddings", &body);
        assert_eq!(response.status(), 200, "{length}");
        let received = upstream.received().pop().unwrap();
        assert!(received.body == body.as_bytes(), "{length}");
        let id = response.headers()["x-tollgate-request-id"]
            .to_str()
            .unwrap();
        let row = tollgate.ledger().request(id);
        assert_eq!(row.text("requested_model"), Some("gpt-5-mini"), "{row:#?}");
        let sent = i64::try_from(body.len()).unwrap();
        assert_eq!(row.int("request_bytes"), Some(sent), "{row:#?}");
    }
}

#[test]
fn a_client_that_resets_its_stream_cancels_the_upstream_and_is_recorded() {
    let events = answers::chat_stream(true);
    let upstream = Upstream::always(answers::begin(&events, [Step::Hang]));
    let tollgate = Tollgate::before(&upstream.base_url());
    abandon_cleartext(tollgate.address(), CHAT, &body(true), "Hello");
    eventually("the upstream sees the end", || {
        (upstream.abandoned() == 1).then_some(())
    });
    let row = tollgate.ledger().only();
    assert_eq!(row.outcome(), "client_closed", "{row:#?}");
    assert_eq!(row.text("usage_source"), Some("partial"), "{row:#?}");
}

#[test]
fn a_stream_that_breaks_off_breaks_off_for_a_client_of_http_2_too() {
    let events = answers::chat_stream(true);
    let upstream = Upstream::always(answers::begin(&events, [Step::Close]));
    let tollgate = Tollgate::before(&upstream.base_url());
    let answer = try_post_cleartext(tollgate.address(), CHAT, &body(true));
    assert!(answer.is_err(), "the end looks whole: {answer:?}");
    assert_eq!(tollgate.ledger().only().outcome(), "upstream_error");
}

#[test]
fn errors_of_tollgates_own_reach_a_client_of_http_2() {
    let upstream = Upstream::start(answers::provider);
    let tollgate = Setup::upstream(&upstream.base_url())
        .setting("limits: {request_body: 1KiB, buffered_body: 1KiB}")
        .start();
    let long = json!({"model": "gpt-5-mini", "input": "x".repeat(5000)}).to_string();
    let response = post_cleartext(tollgate.address(), "/v1/embeddings", &long);
    assert_eq!(response.status(), 413);
    assert!(String::from_utf8_lossy(response.body()).contains("\"error\""));
}

#[test]
fn tls_in_front_serves_both_versions() {
    let upstream = Upstream::start(answers::provider);
    let certificate = Certificate::make();
    let tls = format!(
        "tls: {{cert: '{}', key: '{}'}}",
        certificate.cert_file.display(),
        certificate.key_file.display()
    );
    let tollgate = Setup::upstream(&upstream.base_url()).setting(&tls).start();
    let client = ClientConnection::new(certificate.client(&["http/1.1"]), localhost()).unwrap();
    let stream = StreamOwned::new(client, socket(tollgate.address()));
    let mut connection = Connection::over(Box::new(stream));
    let request = Request::new("POST", CHAT)
        .header("content-type", "application/json")
        .body(body(true));
    connection.write(&request.bytes()).unwrap();
    let (response, _connection) = connection.incoming("POST").finish_on();
    assert_eq!(response.text(), answers::chat_stream(false).concat());
    let response = post_tls(tollgate.address(), &certificate, CHAT, &body(false));
    assert_eq!(String::from_utf8_lossy(response.body()), answers::chat());
    for row in tollgate.ledger().exactly(2) {
        assert_eq!(row.tokens(), answers::CHAT_TOKENS, "{row:#?}");
    }
}

#[test]
fn tls_behind_speaks_what_the_upstream_offers() {
    let certificate = Certificate::make();
    for (protocol, version) in [
        ("h2", http::Version::HTTP_2),
        ("http/1.1", http::Version::HTTP_11),
    ] {
        let upstream = TlsUpstream::start(&certificate, protocol, answers::chat());
        let tollgate = Setup::upstream(&upstream.base_url())
            .environment("SSL_CERT_FILE", &certificate.cert_file)
            .start();
        let request = Request::json(CHAT, &serde_json::from_str(&body(false)).unwrap())
            .header("connection", "x-named-hop")
            .header("x-named-hop", "1")
            .header("via", "1.1 elsewhere");
        let response = tollgate.send(&request);
        assert_eq!(response.text(), answers::chat(), "{protocol}");
        let arrived = upstream.next();
        assert_eq!(arrived.version, version);
        let authority = upstream
            .base_url()
            .replace("https://", "")
            .replace("/v1", "");
        assert_eq!(arrived.authority, authority, "{protocol}");
        assert_eq!(
            arrived.server_name.as_deref(),
            Some("localhost"),
            "{protocol}"
        );
        for name in ["x-named-hop", "via", "connection"] {
            assert!(!arrived.headers.contains_key(name), "{name}");
        }
        let row = tollgate.ledger().request(&response.request_id());
        assert_eq!(row.tokens(), answers::CHAT_TOKENS, "{row:#?}");
    }
}

#[test]
fn an_upstream_with_an_untrusted_certificate_is_not_spoken_to() {
    let certificate = Certificate::make();
    let upstream = TlsUpstream::start(&certificate, "http/1.1", answers::chat());
    let tollgate = Tollgate::before(&upstream.base_url());
    let request = Request::json(CHAT, &serde_json::from_str(&body(false)).unwrap());
    let response = tollgate.send(&request);
    assert_eq!(response.status, 502, "{response:?}");
    assert_eq!(
        response.headers.get("x-tollgate-error"),
        Some("connect_error")
    );
    let row = tollgate.ledger().request(&response.request_id());
    assert_eq!(row.outcome(), "connect_error", "{row:#?}");
}
