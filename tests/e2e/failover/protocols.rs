//! Failing over where other protocols are spoken.

use serde_json::json;

use super::{CHAT, DEAD, attempt, attempts, attempts_of, chat, two};
use crate::support::answers;
use crate::support::http2::{Certificate, TlsUpstream, post_cleartext};
use crate::support::upstream::{Answer, Upstream};
use crate::support::websocket::{Socket, SocketUpstream, Turn, close_from_server};

const REFUSAL: &str = r#"{"error":{"message":"m","type":"t","code":"slow_down"}}"#;

#[test]
fn an_upstream_of_http_2_is_left_for_another() {
    let certificate = Certificate::make();
    for (status, body, outcome, code) in [
        (503, REFUSAL, "upstream_error", None),
        (429, REFUSAL, "rate_limited", Some("slow_down")),
        (429, "", "rate_limited", None),
        (503, "", "upstream_error", None),
    ] {
        let first = TlsUpstream::refusing(&certificate, "h2", status, body.to_owned());
        let second = TlsUpstream::start(&certificate, "h2", answers::chat());
        let tollgate = two(&first.base_url(), &second.base_url())
            .environment("SSL_CERT_FILE", &certificate.cert_file)
            .start();
        let response = tollgate.send(&chat("m"));
        assert_eq!(response.text(), answers::chat(), "{status} {body}");
        let expected = [
            attempt("first", outcome, Some(i64::from(status)), code),
            attempt("second", "ok", Some(200), None),
        ];
        assert_eq!(attempts(&tollgate, &response), expected);
        assert_eq!(first.next().version, http::Version::HTTP_2);
        let arrived = second.next();
        assert_eq!(arrived.version, http::Version::HTTP_2);
        assert_eq!(arrived.headers["authorization"], "Bearer sk-second");
    }
}

/// The last answer of an HTTP/2 upstream goes out as it is.
#[test]
fn the_last_refusal_of_an_upstream_of_http_2_is_the_clients() {
    let certificate = Certificate::make();
    for body in [REFUSAL, ""] {
        let first = Upstream::always(answers::error("500 Broken", "server_error", "a"));
        let second = TlsUpstream::refusing(&certificate, "h2", 429, body.to_owned());
        let tollgate = two(&first.base_url(), &second.base_url())
            .environment("SSL_CERT_FILE", &certificate.cert_file)
            .start();
        let response = tollgate.send(&chat("m"));
        assert_eq!((response.status, response.text().as_str()), (429, body));
        assert_eq!(attempts(&tollgate, &response).len(), 2);
    }
}

#[test]
fn a_client_of_http_2_gets_the_other_channels_answer() {
    for (refusal, code) in [
        (
            answers::error("429 Slow", "requests", "slow_down"),
            Some("slow_down"),
        ),
        (answers::error("500 Broken", "server_error", "oops"), None),
    ] {
        let (first, second) = (
            Upstream::always(refusal),
            Upstream::start(answers::provider),
        );
        let tollgate = two(&first.base_url(), &second.base_url())
            .setting("breaker: {failures: 50, of: 50}")
            .start();
        for stream in [false, true] {
            let body = json!({"model": "m", "messages": [], "stream": stream}).to_string();
            let response = post_cleartext(tollgate.address(), CHAT, &body);
            assert_eq!(response.status(), 200);
            let expected = answers::chat_as_read(stream);
            assert_eq!(String::from_utf8_lossy(response.body()), expected);
            let id = response.headers()["x-tollgate-request-id"]
                .to_str()
                .unwrap();
            let tried = attempts_of(&tollgate, id);
            assert_eq!(tried.len(), 2, "{tried:?}");
            assert_eq!(tried[0].3.as_deref(), code);
            assert_eq!(tollgate.ledger().request(id).tokens(), answers::CHAT_TOKENS);
        }
    }
}

/// A handshake is a request until it is agreed to.
#[test]
fn a_handshake_that_is_refused_is_made_elsewhere() {
    let busy = Upstream::always(Answer::new("503 Busy").body("busy"));
    let limited = Upstream::always(answers::error("429 Slow", "requests", "slow_down"));
    for (first, status) in [
        (DEAD.to_owned(), None),
        (busy.base_url(), Some(503)),
        (limited.base_url(), Some(429)),
    ] {
        let goodbye = close_from_server(1000);
        let second = SocketUpstream::start(&[], vec![Turn::Send(goodbye.clone()), Turn::Hang]);
        let tollgate = two(&first, &second.base_url()).start();
        let socket = Socket::open(tollgate.address(), "/v1/realtime?model=gpt-5-mini", &[]);
        assert!(socket.head.start.contains(" 101 "), "{:?}", socket.head);
        let id = socket.request_id();
        let head = second.handshake();
        assert_eq!(head.headers.get("authorization"), Some("Bearer sk-second"));
        assert!(head.start.contains("/v1/realtime?model=gpt-5-mini"));
        let mut socket = socket;
        socket.read(goodbye.len());
        drop(socket);
        let tried = attempts_of(&tollgate, &id);
        assert_eq!(tried.len(), 2, "{tried:?}");
        assert_eq!(tried[0].2, status);
        assert_eq!(tried[1], attempt("second", "ok", Some(101), None));
    }
}
