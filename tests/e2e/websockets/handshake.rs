//! What is asked for, of whom, and over what.

use std::io::Write;
use std::net::TcpListener;

use serde_json::json;

use super::{REALTIME, TOKENS, realtime, rows};
use crate::support::client::Request;
use crate::support::eventually;
use crate::support::http2::Certificate;
use crate::support::message::Wire;
use crate::support::tollgate::{Setup, Tollgate};
use crate::support::upstream::{Answer, Upstream};
use crate::support::websocket::{Socket, SocketUpstream, Turn, agreement};

#[test]
fn the_ways_of_azure_are_told_and_a_browsers_key_is_withheld() {
    let done = realtime("resp_1", "completed");
    for (target, deployment) in [
        (
            "/openai/realtime?api-version=2025-04-01-preview&deployment=my%2Dgpt",
            "my-gpt",
        ),
        ("/openai/v1/realtime?model=my-gpt", "my-gpt"),
        ("/c/azure/v1/realtime?model=my-gpt", "my-gpt"),
    ] {
        let script = vec![Turn::Send(done.clone()), Turn::Close];
        let upstream = SocketUpstream::start(&[], script);
        let tollgate = Setup::channels(&[(
            "azure",
            &upstream.base_url(),
            ", api_key: sk-channel-secret",
        )])
        .start();
        let protocols =
            "realtime, openai-insecure-api-key.sk-client-secret, openai-beta.realtime-v1";
        let fields = [("sec-websocket-protocol", protocols)];
        let socket = Socket::open(tollgate.address(), target, &fields);
        let id = socket.request_id();
        assert_eq!(socket.finish(), done, "{target}");
        let handshake = upstream.handshake();
        assert_eq!(
            handshake.headers.get("sec-websocket-protocol"),
            Some("realtime, openai-beta.realtime-v1")
        );
        assert_eq!(
            handshake.headers.get("authorization"),
            Some("Bearer sk-channel-secret")
        );
        let (connection, made) = rows(&tollgate, &id, 1);
        for row in [&connection, &made[0]] {
            assert_eq!(row.text("api"), Some("realtime"), "{row:#?}");
            assert_eq!(row.text("requested_model"), Some(deployment), "{row:#?}");
        }
    }
}

#[test]
fn a_browsers_key_is_in_no_capture() {
    for key in ["sk-client-secret", "ek_client_secret"] {
        let script = vec![Turn::Send(realtime("resp_1", "completed")), Turn::Close];
        let upstream = SocketUpstream::start(&[("sec-websocket-protocol", "realtime")], script);
        let tollgate = Setup::upstream(&upstream.base_url())
            .setting("payloads: {capture: all}")
            .start();
        let protocols = format!("realtime, openai-insecure-api-key.{key}");
        let fields = [("sec-websocket-protocol", protocols.as_str())];
        let socket = Socket::open(tollgate.address(), REALTIME, &fields);
        let id = socket.request_id();
        socket.finish();
        let handshake = upstream.handshake();
        assert_eq!(
            handshake.headers.get("sec-websocket-protocol"),
            Some(protocols.as_str())
        );
        let shown = eventually("the payload is written", || {
            let shown = tollgate.admin(&format!("/api/v1/requests/{id}/payload"));
            (shown.status == 200).then(|| shown.text())
        });
        assert!(
            shown.contains("realtime, openai-insecure-api-key.[redacted]"),
            "{shown}"
        );
        assert!(!shown.contains("client"), "{shown}");
    }
}

#[test]
fn a_handshake_that_is_refused_is_an_answer_like_any_other() {
    let refusal = json!({"error": {"message": "no", "type": "invalid_request_error",
        "code": "invalid_api_key"}});
    let answer = Answer::new("401 Unauthorized").header("content-type", "application/json");
    let upstream = Upstream::always(answer.body(refusal.to_string()));
    let tollgate = Tollgate::before(&upstream.base_url());
    let request = Request::new("GET", REALTIME)
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    let response = tollgate.send(&request);
    assert_eq!(response.status, 401);
    assert_eq!(response.text(), refusal.to_string());
    let row = tollgate.ledger().only();
    assert_eq!(row.text("error_code"), Some("invalid_api_key"), "{row:#?}");
}

#[test]
fn an_upgrade_goes_over_http_1_1_where_the_upstream_would_rather_speak_http_2() {
    let certificate = Certificate::make();
    let config = certificate.server(&["h2", "http/1.1"]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let done = realtime("resp_1", "completed");
    let answer = [agreement(&[]).into_bytes(), done.clone()].concat();
    let upstream = std::thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        let server = rustls::ServerConnection::new(config).unwrap();
        let mut wire = Wire::new(rustls::StreamOwned::new(server, socket));
        let head = wire.head().unwrap().expect("a handshake");
        wire.stream().write_all(&answer).unwrap();
        wire.stream().conn.send_close_notify();
        wire.stream().flush().unwrap();
        wire.until_close(|_| {}).ok();
        head
    });
    let tollgate = Setup::upstream(&format!("https://localhost:{port}/v1"))
        .environment("SSL_CERT_FILE", &certificate.cert_file)
        .start();
    let socket = Socket::open(tollgate.address(), REALTIME, &[]);
    let id = socket.request_id();
    assert_eq!(socket.finish(), done);
    assert!(upstream.join().unwrap().start.ends_with("HTTP/1.1"));
    assert_eq!(rows(&tollgate, &id, 1).1[0].tokens(), TOKENS);
}
