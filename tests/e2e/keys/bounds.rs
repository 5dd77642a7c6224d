//! Keys that are good for some models or channels only.

use serde_json::json;

use super::{CHAT, assert_refused, created, post};
use crate::support::answers;
use crate::support::client::{Connection, Incoming, Request, Response};
use crate::support::message::chunks;
use crate::support::tollgate::{Setup, Tollgate};
use crate::support::upstream::{Answer, Upstream};
use crate::support::websocket::{Socket, SocketUpstream, Turn, from_client, from_server};

#[test]
fn a_key_uses_its_channels_only() {
    let upstream = Upstream::start(answers::provider);
    let tollgate = Setup::channels(&[
        ("a", &upstream.base_url(), ", api_key: sk-a"),
        ("b", &upstream.base_url(), ", api_key: sk-b"),
    ])
    .start();
    let key = created(&tollgate, &["ci", "--channel", "a"]);
    let request = |target: &str| post(target, &key, "gpt-5-mini");
    assert_eq!(tollgate.send(&request(&format!("/c/a{CHAT}"))).status, 200);
    let by_header = request(CHAT).header("x-tollgate-channel", "b");
    for (refused, channel) in [
        (request(&format!("/c/b{CHAT}")), "b"),
        (by_header, "b"),
        // Whether there is such a channel concerns nobody who may not use it.
        (request(&format!("/c/nowhere{CHAT}")), "nowhere"),
    ] {
        let response = tollgate.send(&refused);
        assert_refused(&response, 403, "channel_not_allowed");
        let said = response.json()["error"]["message"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(
            said.contains("`ci`") && said.contains(&format!("`{channel}`")),
            "{said}"
        );
        let row = tollgate.ledger().request(&response.request_id());
        assert_eq!(row.outcome(), "refused", "{row:#?}");
        assert_eq!(row.text("key"), Some("ci"), "{row:#?}");
    }
    assert_eq!(upstream.received().len(), 1);
}

#[test]
fn a_key_of_the_settings_goes_to_its_own_channel() {
    let upstream = Upstream::start(answers::provider);
    let tollgate = Setup::channels(&[
        ("a", &upstream.base_url(), ", api_key: sk-a"),
        ("b", &upstream.base_url(), ", api_key: sk-b"),
    ])
    .setting("models: {list: preset, preset: [gpt-5-mini, o4]}")
    .setting(
        "keys: [{name: team, key: not-a-real-secret, channel: b, models: ['gpt-5*'], tags: {x: y}}]",
    )
    .start();
    let key = "not-a-real-secret";
    let response = tollgate.send(&post(CHAT, key, "gpt-5-mini"));
    assert_eq!(response.status, 200, "{response:?}");
    let row = tollgate.ledger().request(&response.request_id());
    assert_eq!(row.text("key"), Some("team"), "{row:#?}");
    assert_eq!(row.text("channel"), Some("b"), "{row:#?}");
    assert_eq!(row.json("tags"), json!({"x": "y"}));
    let received = upstream.only();
    assert_eq!(received.headers.get("authorization"), Some("Bearer sk-b"));

    let models = Request::new("GET", "/v1/models");
    assert_refused(&tollgate.send(&models), 401, "invalid_api_key");
    let listed = tollgate.send(&models.header("authorization", &format!("Bearer {key}")));
    assert_eq!(listed.status, 200, "{listed:?}");
    let names = listed.json()["data"].to_string();
    assert!(
        names.contains("gpt-5-mini") && !names.contains("o4"),
        "{names}"
    );
    // One that is made is as good as one of the settings.
    let made = created(&tollgate, &["made", "--default-channel", "a"]);
    for (key, channel) in [(made.as_str(), "a"), (key, "b")] {
        let response = tollgate.send(&post(CHAT, key, "gpt-5-mini"));
        assert_eq!(response.headers.get("x-tollgate-channel"), Some(channel));
    }
}

#[test]
fn a_key_whose_channel_left_the_settings_says_so() {
    let upstream = Upstream::start(answers::provider);
    let mut tollgate = Setup::channels(&[
        ("a", &upstream.base_url(), ", api_key: sk-a"),
        ("west", &upstream.base_url(), ", api_key: sk-b"),
    ])
    .start();
    let own = created(&tollgate, &["d", "--default-channel", "west"]);
    let bound = created(&tollgate, &["e", "--channel", "west"]);
    assert_eq!(tollgate.send(&post(CHAT, &own, "m")).status, 200);
    tollgate.stop();
    let settings = std::fs::read_to_string(tollgate.config()).unwrap();
    let renamed = settings.replace("west", "east");
    assert_ne!(renamed, settings);
    std::fs::write(tollgate.config(), renamed).unwrap();
    tollgate.start_again();
    let log = tollgate.log();
    assert_eq!(
        log.matches("bound to a channel that there is not").count(),
        2,
        "{log}"
    );

    let response = tollgate.send(&post(CHAT, &own, "m"));
    assert_refused(&response, 404, "no_channel");
    let said = response.text();
    assert!(
        said.contains("the key `d` goes to `west`, which is no channel"),
        "{said}"
    );
    let elsewhere = tollgate.send(&post(&format!("/c/nowhere{CHAT}"), &own, "m"));
    assert_refused(&elsewhere, 404, "no_channel");
    assert!(!elsewhere.text().contains("`d`"), "{elsewhere:?}");
    let response = tollgate.send(&post(CHAT, &bound, "m"));
    assert_refused(&response, 403, "channel_not_allowed");
    assert!(response.text().contains("`e`"), "{response:?}");
}

#[test]
fn a_key_asks_for_its_models_only() {
    let upstream = Upstream::start(answers::provider);
    let tollgate = Tollgate::before(&upstream.base_url());
    let key = created(&tollgate, &["ci", "--model", "gpt-5*", "--model", "o4"]);
    let azure = |deployment: &str| format!("/openai/deployments/{deployment}/chat/completions");
    let gemini = |model: &str| format!("/v1beta/models/{model}:generateContent");
    for (target, model, allowed) in [
        (CHAT, "gpt-5-mini", true),
        (CHAT, "o4", true),
        (CHAT, "o4-mini", false),
        (CHAT, "GPT-5", false),
        (&azure("gpt-5"), "whatever", true),
        (&azure("o1"), "gpt-5", false),
        (&gemini("gpt-5"), "whatever", true),
        (&gemini("gemini-2.5-pro"), "gpt-5", false),
        ("/v1/messages/count_tokens", "gpt-5", true),
        ("/v1/messages/count_tokens", "claude", false),
        ("/v1/unknown", "gpt-5", true),
    ] {
        let before = upstream.received().len();
        let response = tollgate.send(&post(target, &key, model));
        assert_eq!(
            upstream.received().len() - before,
            usize::from(allowed),
            "{target} {model}"
        );
        if !allowed {
            assert_refused(&response, 403, "model_not_allowed");
            assert!(response.text().contains("`ci`"), "{response:?}");
        }
    }
    // The last of two counts, as it does for upstreams.
    let twice = r#"{"model":"gpt-5","messages":[],"mod\u0065l":"o1"}"#;
    let response = tollgate.send(&json(&key, CHAT).body(twice));
    assert_refused(&response, 403, "model_not_allowed");
    assert!(response.text().contains("`o1`"), "{response:?}");
}

fn json(key: &str, target: &str) -> Request {
    Request::new("POST", target)
        .header("x-api-key", key)
        .header("content-type", "application/json")
}

#[test]
fn what_does_not_say_its_model_in_time_is_refused() {
    let upstream = Upstream::start(answers::provider);
    let tollgate = Setup::upstream(&upstream.base_url())
        .setting("limits: {buffered_body: 100KiB}")
        .start();
    let key = created(&tollgate, &["ci", "--model", "gpt-5*"]);
    let long = json!({"input": "x".repeat(200 * 1024), "model": "gpt-5"}).to_string();
    let text = Request::new("POST", CHAT)
        .header("x-api-key", &key)
        .header("content-type", "text/plain");
    for request in [
        json(&key, CHAT).body(r#"{"messages":[]}"#),
        json(&key, "/v1/batches").body(r#"{"input_file_id":"f"}"#),
        json(&key, "/v1beta/models/imagen-4:predict").body("{}"),
        json(&key, "/v1/embeddings").body(&long),
        text.body(r#"{"model":"gpt-5"}"#),
        Request::new("POST", "/v1/unknown").header("x-api-key", &key),
    ] {
        let response = tollgate.send(&request);
        assert_refused(&response, 403, "model_not_allowed");
        assert!(response.text().contains("does not say"), "{response:?}");
    }
    assert_eq!(upstream.received().len(), 0);
    for free in [
        Request::new("GET", "/v1/models"),
        Request::new("DELETE", "/v1/files/file-1"),
        Request::new("POST", "/v1/responses/resp_1/cancel"),
        Request::new("POST", "/v1/files").body("x"),
    ] {
        let response = tollgate.send(&free.header("x-api-key", &key));
        assert_eq!(
            response.headers.get("x-tollgate-error"),
            None,
            "{response:?}"
        );
    }
    assert_eq!(upstream.received().len(), 4);
}

/// In chunks it is sent on before its end is known: but not as a whole.
#[test]
fn a_body_whose_model_comes_late_never_reaches_an_upstream_whole() {
    let upstream = Upstream::start(answers::provider);
    let tollgate = Setup::upstream(&upstream.base_url())
        .setting("limits: {buffered_body: 500KiB}")
        .start();
    let key = created(&tollgate, &["ci", "--model", "gpt-5*"]);
    for (length, model, allowed) in [
        (300 * 1024, "gpt-5-mini", true),
        (300 * 1024, "o1", false),
        (600 * 1024, "gpt-5-mini", false),
    ] {
        let before = upstream.received().len();
        let body = json!({"input": "x".repeat(length), "model": model}).to_string();
        let request = json(&key, "/v1/embeddings").chunked(body.as_bytes().chunks(10_000));
        let mut connection = Connection::open(tollgate.address());
        connection.write(&request.bytes()).ok();
        let response = connection.try_incoming("POST").map(Incoming::finish);
        let whole = upstream.received()[before..].iter().any(|one| one.complete);
        assert_eq!(whole, allowed, "{model} {length}");
        if let Some(response) = response {
            let expected = if allowed { 200 } else { 403 };
            assert_eq!(response.status, expected, "{response:?}");
        }
    }
    let rows = tollgate.ledger().exactly(3);
    let refused = rows.iter().filter(|row| row.outcome() == "refused");
    assert_eq!(refused.count(), 2, "{rows:#?}");
}

const FILE: &str =
    "--limit\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\nRIFF\r\n";

fn part(model: &str) -> String {
    format!("--limit\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\n{model}\r\n")
}

#[test]
fn a_form_is_sent_whole_only_with_a_model_of_the_keys() {
    const END: &str = "--limit--\r\n";
    let upstream = Upstream::always(Answer::new("200 OK").body("{}"));
    let tollgate = Tollgate::before(&upstream.base_url());
    let key = created(&tollgate, &["ci", "--model", "whisper-*"]);
    let good = part("whisper-1");
    let other = part("gpt-4o-transcribe");
    for (form, allowed) in [
        ([&good, FILE, END].concat(), true),
        ([FILE, &good, END].concat(), true),
        ([&other, FILE, END].concat(), false),
        ([FILE, &other, END].concat(), false),
        ([FILE, END].concat(), false),
        ([&good, FILE, &other, END].concat(), false),
        ([FILE, &good].concat(), false),
    ] {
        for pieces in [1, 7, 10_000] {
            for chunked in [false, true] {
                let before = upstream.received().len();
                let response = upload(&tollgate, &key, form.as_bytes(), pieces, chunked);
                let whole = upstream.received()[before..].iter().any(|one| one.complete);
                assert_eq!(whole, allowed, "{form} in {pieces}, chunked: {chunked}");
                if let Some(response) = response {
                    let expected = if allowed { 200 } else { 403 };
                    assert_eq!(response.status, expected, "{form}: {response:?}");
                }
            }
        }
    }
}

/// Uploads a form in pieces of so many bytes; no answer where the connection was closed.
fn upload(
    tollgate: &Tollgate,
    key: &str,
    form: &[u8],
    pieces: usize,
    chunked: bool,
) -> Option<Response> {
    let request = Request::new("POST", "/v1/audio/transcriptions")
        .header("x-api-key", key)
        .header("content-type", "multipart/form-data; boundary=limit");
    let head = if chunked {
        request.header("transfer-encoding", "chunked")
    } else {
        request.header("content-length", &form.len().to_string())
    };
    let mut connection = Connection::open(tollgate.address());
    connection.write(&head.head_bytes()).ok()?;
    for piece in form.chunks(pieces) {
        let written = if chunked {
            connection.write(&chunks([piece]))
        } else {
            connection.write(piece)
        };
        if written.is_err() {
            break;
        }
    }
    if chunked {
        connection.write(b"0\r\n\r\n").ok();
    }
    Some(connection.try_incoming("POST")?.finish())
}

#[test]
fn a_websocket_says_its_model_in_its_query() {
    let turns = vec![Turn::Close];
    let upstream = SocketUpstream::start(&[], turns);
    let tollgate = Tollgate::before(&upstream.base_url());
    let key = created(&tollgate, &["ci", "--model", "gpt-realtime*"]);
    let handshake = |target: &str| {
        Request::new("GET", target)
            .header("authorization", &format!("Bearer {key}"))
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
    };
    for target in [
        "/v1/realtime?model=gpt-4o-realtime",
        "/v1/realtime?intent=transcription",
        "/v1/realtime?model=gpt-realtime&model=gpt-4o-realtime",
        "/v1/realtime?model=gpt-realtime&mod%65l=gpt-4o-realtime",
        "/v1beta/live",
    ] {
        let response = tollgate.send(&handshake(target));
        assert_refused(&response, 403, "model_not_allowed");
    }
    let target = "/v1/realtime?model=gpt-realtime-mini";
    let fields = [("authorization", format!("Bearer {key}"))];
    let fields: Vec<_> = fields
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let socket = Socket::open(tollgate.address(), target, &fields);
    let id = socket.request_id();
    socket.finish();
    assert_eq!(tollgate.ledger().request(&id).text("key"), Some("ci"));
}

#[test]
fn each_message_of_a_websocket_asks_for_a_model_of_the_keys() {
    let create = |model: &str| from_client(&json!({"type": "response.create", "model": model}));
    let good = create("gpt-5-mini");
    let done = from_server(
        &json!({"type": "response.completed", "response": {"id": "resp_1",
        "status": "completed", "model": "gpt-5-mini"}}),
    );
    let twice = from_client_text(r#"{"type":"x","type":"response.create","model":"o1"}"#);
    let without = from_client(&json!({"type": "response.create"}));
    for bad in [create("o1"), twice, without] {
        let upstream = SocketUpstream::start(
            &[],
            vec![
                Turn::Expect(good.len()),
                Turn::Send(done.clone()),
                Turn::Hang,
            ],
        );
        let tollgate = Tollgate::before(&upstream.base_url());
        let key = created(&tollgate, &["ci", "--model", "gpt-5*"]);
        let bearer = format!("Bearer {key}");
        let fields = [("authorization", bearer.as_str())];
        let mut socket = Socket::open(tollgate.address(), "/v1/responses", &fields);
        let id = socket.request_id();
        socket.write(&good);
        socket.read(done.len());
        socket.write(&bad);
        let received = socket.finish();
        // It is told why, and that it is over.
        let told = String::from_utf8_lossy(received.strip_prefix(&*done).unwrap());
        assert!(told.contains(r#""code":"model_not_allowed""#), "{told}");
        assert_eq!(upstream.received(), good);
        let row = tollgate.ledger().request(&id);
        assert_eq!(row.outcome(), "refused", "{row:#?}");
        assert_eq!(
            row.text("error_code"),
            Some("model_not_allowed"),
            "{row:#?}"
        );
        let rows = tollgate.ledger().exactly(2);
        assert!(
            rows.iter().all(|row| row.text("key") == Some("ci")),
            "{rows:#?}"
        );
    }
}

/// A message of these very bytes.
fn from_client_text(text: &str) -> Vec<u8> {
    crate::support::websocket::frame(0x81, Some([1, 2, 3, 4]), text.as_bytes())
}
