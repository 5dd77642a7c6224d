//! What a client sees is what the upstream sent: bytes, status and fields, in the same rhythm.

use crate::support::answers::{self, compress};
use crate::support::client::{Connection, Request};
use crate::support::tollgate::Tollgate;
use crate::support::upstream::{Answer, Script, Step, Upstream, chunk, last_chunk};
use crate::support::{Gate, eventually};

/// Sends the same request to the upstream itself and through Tollgate; both must see the same.
fn same(script: &Script, request: &Request) {
    let upstream = Upstream::always(script.clone());
    let tollgate = Tollgate::before(&upstream.base_url());
    let direct = request.send(upstream.address());
    let through = tollgate.send(request);
    assert_eq!(direct.seen(), through.seen());
    tollgate.ledger().only();
}

fn get() -> Request {
    Request::new("GET", "/v1/things?limit=2&after=a%20b")
}

#[test]
fn every_shape_of_answer_arrives_as_it_was_sent() {
    let json = answers::chat();
    let body = json.as_bytes();
    let typed = |status| Answer::new(status).header("content-type", "application/json");
    let odd = Answer::new("299 Rather Odd")
        .header("X-Custom-Case", "kept")
        .header("set-cookie", "a=1")
        .header("set-cookie", "b=2")
        .header("server", "upstream/1")
        .header("x-empty", "");
    let scripts: Vec<(&str, Script)> = vec![
        ("length", typed("200 OK").body(body)),
        ("chunked", typed("200 OK").chunked(body.chunks(13))),
        ("until close", typed("200 OK").until_close(body)),
        ("empty", typed("200 OK").body("")),
        ("no content", vec![Answer::new("204 No Content").head()]),
        (
            "not modified",
            vec![
                Answer::new("304 Not Modified")
                    .header("etag", "\"7\"")
                    .head(),
            ],
        ),
        (
            "redirect",
            typed("302 Found")
                .header("location", "/v1/elsewhere")
                .body(""),
        ),
        ("not found", typed("404 Not Found").body("{\"error\":{}}")),
        ("teapot", typed("418 I'm a teapot").body("short and stout")),
        (
            "server error",
            typed("503 Service Unavailable")
                .header("retry-after", "7")
                .body("x"),
        ),
        ("odd", odd.body("odd")),
        (
            "binary",
            Answer::new("200 OK").body((0..=255).collect::<Vec<u8>>()),
        ),
        (
            "invalid utf-8",
            typed("200 OK").body(b"{\"model\":\"\xff\xfe\",\"usage\":{\"prompt_"),
        ),
        (
            "garbage as json",
            typed("200 OK").body("}{ this is no JSON"),
        ),
        ("stream", answers::stream(&answers::chat_stream(false))),
        (
            "broken stream",
            answers::stream(&["data: {\"a\n".into(), "event: x\r\r\ndata".into()]),
        ),
    ];
    let (names, scripts): (Vec<_>, Vec<_>) = scripts.into_iter().unzip();
    let upstream = Upstream::start(move |request| {
        let number = request.target.rsplit('=').next().unwrap();
        scripts[number.parse::<usize>().unwrap()].clone()
    });
    let tollgate = Tollgate::before(&upstream.base_url());
    for (number, name) in names.iter().enumerate() {
        let request = Request::new("GET", &format!("/v1/things?after=a%20b&n={number}"));
        let direct = request.send(upstream.address());
        let through = tollgate.send(&request);
        assert_eq!(direct.seen(), through.seen(), "{name}");
        let targets: Vec<_> = upstream.received().into_iter().map(|r| r.target).collect();
        assert_eq!(targets[2 * number], targets[2 * number + 1]);
    }
    tollgate.ledger().exactly(names.len());
}

#[test]
fn compressed_answers_are_not_touched() {
    for coding in ["gzip", "deflate", "br", "zstd"] {
        let script = Answer::new("200 OK")
            .header("content-type", "application/json")
            .header("content-encoding", coding)
            .body(compress(coding, answers::chat().as_bytes()));
        same(&script, &get().header("accept-encoding", "gzip, br"));
    }
}

#[test]
fn a_head_request_gets_the_fields_and_no_body() {
    let script = vec![
        Answer::new("200 OK")
            .header("content-length", "12345")
            .head(),
    ];
    same(&script, &Request::new("HEAD", "/v1/models"));
}

#[test]
fn every_method_passes() {
    for method in ["OPTIONS", "PUT", "PATCH", "DELETE", "PROPFIND"] {
        let request = Request::new(method, "/v1/files/f-1").body("some body");
        let upstream = Upstream::always(Answer::new("200 OK").body("fine"));
        let tollgate = Tollgate::before(&upstream.base_url());
        assert_eq!(tollgate.send(&request).text(), "fine");
        let received = upstream.only();
        assert_eq!(
            (received.method.as_str(), received.body.as_slice()),
            (method, &b"some body"[..])
        );
    }
}

#[test]
fn events_pass_one_by_one_without_waiting_for_the_next() {
    let events = answers::chat_stream(false);
    let gates: Vec<Gate> = events.iter().map(|_| Gate::default()).collect();
    let mut script = answers::open_stream();
    for (event, gate) in events.iter().zip(&gates) {
        script.push(Step::Await(gate.clone()));
        script.push(chunk(event.as_bytes()));
    }
    script.push(last_chunk());
    let upstream = Upstream::always(script);
    let tollgate = Tollgate::before(&upstream.base_url());
    let ask = serde_json::json!({"model": "gpt-5-mini", "messages": [], "stream": true});
    // The head passes before there is any event.
    let mut incoming = Request::json("/v1/chat/completions", &ask).start(tollgate.address());
    assert_eq!(incoming.status(), 200);
    let mut seen = Vec::new();
    for (event, gate) in events.iter().zip(&gates) {
        // The upstream sends this event only now, after the one before was seen here.
        gate.open();
        incoming.read_until(&mut seen, event);
    }
    assert!(incoming.finish().whole);
    assert_eq!(String::from_utf8(seen).unwrap(), events.concat());
}

#[test]
fn a_piece_of_an_event_passes_too() {
    let gate = Gate::default();
    let mut script = answers::open_stream();
    script.extend([
        chunk(b": a comment, and half an event\n\ndata: {\"hal"),
        Step::Await(gate.clone()),
        chunk(b"f\":1}\n\n"),
        last_chunk(),
    ]);
    let upstream = Upstream::always(script);
    let tollgate = Tollgate::before(&upstream.base_url());
    let mut incoming = get().start(tollgate.address());
    let mut seen = Vec::new();
    incoming.read_until(&mut seen, "{\"hal");
    gate.open();
    assert_eq!(incoming.finish().text(), "f\":1}\n\n");
}

#[test]
fn an_interim_answer_lets_the_client_send_its_body() {
    let upstream = Upstream::always(Answer::new("200 OK").body("fine"));
    let tollgate = Tollgate::before(&upstream.base_url());
    let request = Request::new("POST", "/v1/files")
        .header("expect", "100-continue")
        .body("the body");
    let mut connection = Connection::open(tollgate.address());
    connection.write(&request.head_bytes()).unwrap();
    assert_eq!(connection.head().start.split(' ').nth(1), Some("100"));
    connection.write(b"the body").unwrap();
    let response = connection.incoming("POST").finish();
    assert_eq!((response.status, response.text().as_str()), (200, "fine"));
    assert_eq!(upstream.only().body, b"the body");
}

#[test]
fn requests_sent_ahead_are_answered_in_order_or_left_to_be_sent_again() {
    let upstream = Upstream::start(|request| Answer::new("200 OK").body(&request.target));
    let tollgate = Tollgate::before(&upstream.base_url());
    let mut connection = Connection::open(tollgate.address());
    let ahead = ["/v1/a", "/v1/b", "/v1/c"].map(|target| Request::new("GET", target).bytes());
    connection.write(&ahead.concat()).unwrap();
    for (answered, target) in ["/v1/a", "/v1/b", "/v1/c"].into_iter().enumerate() {
        // A client that sends ahead must be ready for the connection's end (RFC 9112, 9.3.2).
        let Some(incoming) = connection.try_incoming("GET") else {
            assert!(answered > 0);
            return;
        };
        let (response, again) = incoming.finish_on();
        assert_eq!(response.text(), target);
        connection = again;
    }
}

#[test]
fn trailers_do_not_break_an_answer() {
    let mut script = Answer::new("200 OK").chunked([&b"body"[..]]);
    script.pop();
    script.push(Step::Send(b"0\r\nx-checksum: 7\r\n\r\n".to_vec()));
    let upstream = Upstream::always(script);
    let tollgate = Tollgate::before(&upstream.base_url());
    let response = tollgate.send(&get());
    assert_eq!((response.text().as_str(), response.whole), ("body", true));
    assert_eq!(tollgate.ledger().only().outcome(), "ok");
}

#[test]
fn an_upgraded_connection_passes_both_ways() {
    let gate = Gate::default();
    let upstream = Upstream::always(vec![
        Answer::new("101 Switching Protocols")
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .head(),
        Step::Send(b"from the upstream\r\n\r\n".to_vec()),
        Step::Await(gate.clone()),
        Step::Hang,
    ]);
    let tollgate = Tollgate::before(&upstream.base_url());
    let mut connection = Connection::open(tollgate.address());
    let request = Request::new("GET", "/v1/realtime?model=gpt-realtime")
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    connection.write(&request.bytes()).unwrap();
    let head = connection.head();
    assert!(head.start.starts_with("HTTP/1.1 101"), "{head:?}");
    assert_eq!(connection.head().start, "from the upstream");
    gate.open();
    connection.write(b"from the client\r\n").unwrap();
    drop(connection);
    eventually("the upstream sees the end", || {
        (upstream.abandoned() == 1).then_some(())
    });
    let row = tollgate.ledger().only();
    assert_eq!(row.text("api"), Some("realtime"), "{row:#?}");
    assert_eq!(row.int("status"), Some(101), "{row:#?}");
    assert_eq!(row.outcome(), "ok", "{row:#?}");
}

#[test]
fn a_client_of_http_1_0_gets_an_answer_that_it_can_frame() {
    let upstream = Upstream::always(Answer::new("200 OK").chunked([&b"one "[..], b"two"]));
    let tollgate = Tollgate::before(&upstream.base_url());
    let mut connection = Connection::open(tollgate.address());
    connection
        .write(b"GET /v1/models HTTP/1.0\r\nhost: h\r\n\r\n")
        .unwrap();
    let response = connection.incoming("GET").finish();
    assert_eq!(response.headers.get("transfer-encoding"), None);
    assert_eq!(response.text(), "one two");
}

#[test]
fn a_connection_serves_request_after_request() {
    let upstream = Upstream::start(answers::provider);
    let tollgate = Tollgate::before(&upstream.base_url());
    let mut connection = Connection::open(tollgate.address());
    for _ in 0..5 {
        let ask = serde_json::json!({"model": "gpt-5-mini", "prompt": "plain"});
        let request = Request::json("/v1/completions", &ask);
        connection.write(&request.bytes()).unwrap();
        let (response, again) = connection.incoming("POST").finish_on();
        assert_eq!(response.text(), answers::completions());
        connection = again;
    }
    tollgate.ledger().exactly(5);
}
