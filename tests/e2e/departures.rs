//! Clients that leave: what the upstream notices, and what the ledger says it cost.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use rustix::process::Signal;
use serde_json::json;

use crate::support::answers::{self, BEGINNING, Truth};
use crate::support::client::{Connection, Request};
use crate::support::ledger::Row;
use crate::support::tollgate::{Setup, Tollgate};
use crate::support::upstream::{Answer, Script, Step, Upstream, chunk, last_chunk};
use crate::support::{Gate, PATIENCE, eventually, http2};

const DRAIN: &str = "streaming: {on_client_close: drain(1h)}";

/// One API's request, its answer, and what that answer says it used.
struct Surface {
    name: &'static str,
    path: &'static str,
    body: serde_json::Value,
    /// The answer up to where the client leaves, and the rest of it.
    first: Script,
    rest: Script,
    /// What the client waits for before it leaves; `None` when it leaves before the answer.
    seen: Option<&'static str>,
    reported: Truth,
    /// The estimate of what came before the client left.
    partial: Truth,
}

fn stream(events: &[String], beginning: usize) -> (Script, Script) {
    let mut first = answers::open_stream();
    first.extend(
        events[..beginning]
            .iter()
            .map(|event| chunk(event.as_bytes())),
    );
    let mut rest: Script = events[beginning..]
        .iter()
        .map(|event| chunk(event.as_bytes()))
        .collect();
    rest.push(last_chunk());
    (first, rest)
}

/// A chunked JSON answer up to a text in its body, that included, and the rest.
fn cut(body: &str, text: &str) -> (Script, Script) {
    let (begun, left) = body.split_at(body.find(text).unwrap() + text.len());
    let head = Answer::new("200 OK").header("content-type", "application/json");
    let mut first = head.open_chunked();
    first.push(chunk(begun.as_bytes()));
    (first, vec![chunk(left.as_bytes()), last_chunk()])
}

fn messages_stream() -> Vec<String> {
    [
        ("message_start", r#"{"type":"message_start","message":{"id":"msg_1","model":"claude-sonnet-4-5","usage":{"input_tokens":7,"cache_read_input_tokens":20,"output_tokens":1}}}"#),
        ("content_block_delta", r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello"}}"#),
        ("content_block_delta", r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":", world"}}"#),
        ("message_delta", r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":30}}"#),
        ("message_stop", r#"{"type":"message_stop"}"#),
    ]
    .map(|(name, data)| format!("event: {name}\ndata: {data}\n\n"))
    .to_vec()
}

fn gemini_stream() -> Vec<String> {
    [
        r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"Hello"}]}}],"usageMetadata":{"promptTokenCount":4,"totalTokenCount":4},"modelVersion":"gemini-2.5-flash"}"#,
        r#"{"candidates":[{"content":{"role":"model","parts":[{"text":", world"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":4,"candidatesTokenCount":30,"thoughtsTokenCount":9,"totalTokenCount":43},"modelVersion":"gemini-2.5-flash"}"#,
    ]
    .map(|data| format!("data: {data}\n\n"))
    .to_vec()
}

fn surfaces() -> Vec<Surface> {
    let messages = json!([{"role": "user", "content": "plain"}]);
    let (chat, chat_rest) = stream(&answers::chat_stream(true), BEGINNING);
    let (responses, responses_rest) = stream(&answers::responses_stream(), BEGINNING);
    let (completions, completions_rest) = stream(&answers::completions_stream(true), 1);
    let (claude, claude_rest) = stream(&messages_stream(), 2);
    let (gemini, gemini_rest) = stream(&gemini_stream(), 1);
    let json = answers::json("200 OK", &answers::chat());
    let (begun, left) = cut(&answers::chat(), "The \\\"usage\\\"");
    vec![
        Surface {
            name: "chat, streamed",
            path: "/v1/chat/completions",
            body: json!({"model": "gpt-5-mini", "stream": true, "messages": messages}),
            first: chat,
            rest: chat_rest,
            seen: Some("Hello"),
            reported: answers::CHAT_TOKENS,
            partial: &[("input", 5), ("output", 1)],
        },
        Surface {
            name: "responses, streamed",
            path: "/v1/responses",
            body: json!({"model": "gpt-5-mini", "stream": true, "input": "plain"}),
            first: responses,
            rest: responses_rest,
            seen: Some("Hello"),
            reported: answers::RESPONSES_TOKENS,
            partial: &[("input", 1), ("output", 1)],
        },
        Surface {
            name: "completions, streamed",
            path: "/v1/completions",
            body: json!({"model": "gpt-5-mini", "stream": true, "prompt": "plain"}),
            first: completions,
            rest: completions_rest,
            seen: Some("Once"),
            reported: answers::COMPLETIONS_TOKENS,
            partial: &[("input", 1), ("output", 1)],
        },
        Surface {
            name: "messages, streamed",
            path: "/v1/messages",
            body: json!({"model": "claude-sonnet-4-5", "stream": true, "max_tokens": 99, "messages": messages}),
            first: claude,
            rest: claude_rest,
            seen: Some("Hello"),
            reported: &[("input", 7), ("input_cached", 20), ("output", 30)],
            // The start states the input, and what had been written when it was sent.
            partial: &[("input", 7), ("input_cached", 20), ("output", 1)],
        },
        Surface {
            name: "gemini, streamed",
            path: "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
            body: json!({"contents": [{"role": "user", "parts": [{"text": "plain"}]}]}),
            first: gemini,
            rest: gemini_rest,
            seen: Some("Hello"),
            reported: &[("input", 4), ("output", 30), ("reasoning", 9)],
            partial: &[("input", 4), ("output", 1)],
        },
        Surface {
            name: "chat, before the answer",
            path: "/v1/chat/completions",
            body: json!({"model": "gpt-5-mini", "messages": messages}),
            first: vec![],
            rest: json,
            seen: None,
            reported: answers::CHAT_TOKENS,
            partial: &[("input", 5), ("output", 0)],
        },
        Surface {
            name: "chat, in the body",
            path: "/v1/chat/completions",
            body: json!({"model": "gpt-5-mini", "messages": messages}),
            first: begun,
            rest: left,
            seen: Some("The \\\"usage\\\""),
            reported: answers::CHAT_TOKENS,
            partial: &[("input", 5), ("output", 4)],
        },
    ]
}

impl Surface {
    fn upstream(&self, then: Step) -> Upstream {
        let mut script = self.first.clone();
        script.push(then);
        script.extend(self.rest.clone());
        Upstream::always(script)
    }

    /// Whether the small provider of all tests answers it.
    fn is_of_openai(&self) -> bool {
        self.body["model"] == "gpt-5-mini"
    }

    fn request(&self) -> Request {
        Request::json(self.path, &self.body)
    }

    /// Asks, waits for what is to be seen, leaves, and waits until Tollgate closes the connection
    /// too: then it knows. Returns how many bytes came.
    fn leave(&self, tollgate: &Tollgate, upstream: &Upstream) -> usize {
        let mut socket = TcpStream::connect(tollgate.address()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(&self.request().bytes()).unwrap();
        let mut seen = Vec::new();
        match self.seen {
            Some(text) => {
                while !String::from_utf8_lossy(&seen).contains(text) {
                    let mut piece = [0; 4096];
                    let length = socket.read(&mut piece).unwrap();
                    assert!(length > 0, "{}: ended early", self.name);
                    seen.extend_from_slice(&piece[..length]);
                }
            }
            None => upstream.until("the request arrived", |received| {
                received.iter().any(|request| request.complete)
            }),
        }
        socket.shutdown(Shutdown::Write).unwrap();
        // It may be reset: bytes may be on their way to a client that is gone.
        socket.read_to_end(&mut seen).ok();
        seen.len()
    }
}

fn before(upstream: &Upstream, settings: &str) -> Tollgate {
    Setup::upstream(&upstream.base_url())
        .setting(settings)
        .start()
}

fn assert_client_closed(row: &Row, name: &str) {
    assert_eq!(row.outcome(), "client_closed", "{name}: {row:#?}");
    assert_eq!(row.text("error_source"), Some("downstream"), "{name}");
    assert_eq!(row.text("error_code"), Some("client_closed"), "{name}");
}

#[test]
fn cancelled_upstreams_notice_at_once_and_what_was_seen_is_charged() {
    for surface in surfaces() {
        let name = surface.name;
        let upstream = surface.upstream(Step::Hang);
        let tollgate = before(&upstream, "streaming: {on_client_close: cancel}");
        surface.leave(&tollgate, &upstream);
        eventually("the upstream sees the end", || {
            (upstream.abandoned() == 1).then_some(())
        });
        let row = tollgate.ledger().only();
        assert_client_closed(&row, name);
        assert_eq!(row.tokens(), surface.partial, "{name}: {row:#?}");
        assert_eq!(row.text("usage_source"), Some("partial"), "{name}");
        assert!(row.int("cost_nanousd") > Some(0), "{name}: {row:#?}");
        assert_eq!(row.int("delivered_output_tokens"), None, "{name}");
    }
}

#[test]
fn an_upstream_that_is_sending_is_cancelled_too() {
    let events = answers::chat_stream(true);
    let mut script = answers::begin(&events, [Step::Repeat(Vec::new(), 0)]);
    let Step::Send(piece) = chunk(events[BEGINNING - 1].as_bytes()) else {
        unreachable!("a chunk is sent");
    };
    script.push(Step::Repeat(piece, usize::MAX));
    let upstream = Upstream::always(script);
    let tollgate = Tollgate::before(&upstream.base_url());
    let surface = &surfaces()[0];
    let mut incoming = surface.request().start(tollgate.address());
    incoming.read_until(&mut Vec::new(), "Hello");
    drop(incoming);
    let row = tollgate.ledger().only();
    assert_client_closed(&row, "sending");
    assert_eq!(row.text("usage_source"), Some("partial"), "{row:#?}");
    eventually("the upstream's connection is closed", || {
        (upstream.open() == 0).then_some(())
    });
}

#[test]
fn drained_answers_are_charged_as_the_provider_states() {
    for surface in surfaces() {
        let name = surface.name;
        let gate = Gate::default();
        let upstream = surface.upstream(Step::Await(gate.clone()));
        let tollgate = before(&upstream, DRAIN);
        surface.leave(&tollgate, &upstream);
        assert_eq!(tollgate.ledger().requests().len(), 0, "{name}");
        gate.open();
        let row = tollgate.ledger().only();
        assert_client_closed(&row, name);
        assert_eq!(row.tokens(), surface.reported, "{name}: {row:#?}");
        assert_eq!(row.text("usage_source"), Some("reported"), "{name}");
        // The chat answers have audio, for which their model has no price.
        let priced = !name.starts_with("chat");
        assert_eq!(
            row.int("cost_nanousd") > Some(0),
            priced,
            "{name}: {row:#?}"
        );
        // What the client received and what was billed stand apart.
        let delivered = surface.partial.last().map(|(_, tokens)| *tokens);
        assert_eq!(
            row.int("delivered_output_tokens"),
            delivered,
            "{name}: {row:#?}"
        );
        assert!(
            row.int("upstream_bytes") > row.int("response_bytes"),
            "{name}: {row:#?}"
        );
        let status = surface.seen.map(|_| 200);
        assert_eq!(row.int("status"), status, "{name}: {row:#?}");
        if surface.seen.is_none() {
            assert_eq!(row.int("response_bytes"), Some(0), "{name}: {row:#?}");
        }
        // The connection ended well: it serves the next request.
        let next = surface.request().start(tollgate.address());
        assert!(next.finish().whole, "{name}");
        assert_eq!(upstream.open(), 1, "{name}");
    }
}

#[test]
fn a_drain_ends_when_its_time_is_over() {
    for surface in surfaces() {
        let name = surface.name;
        let upstream = surface.upstream(Step::Hang);
        let tollgate = before(&upstream, "streaming: {on_client_close: drain(200ms)}");
        surface.leave(&tollgate, &upstream);
        eventually("the upstream sees the end", || {
            (upstream.abandoned() == 1).then_some(())
        });
        let row = tollgate.ledger().only();
        assert_client_closed(&row, name);
        assert_eq!(row.tokens(), surface.partial, "{name}: {row:#?}");
        assert_eq!(row.text("usage_source"), Some("partial"), "{name}");
    }
}

#[test]
fn what_a_drain_read_in_vain_is_charged_and_not_delivered() {
    let events = answers::chat_stream(true);
    let gate = Gate::default();
    let mut script = answers::begin(&events, [Step::Await(gate.clone())]);
    script.push(chunk(events[BEGINNING].as_bytes()));
    script.push(Step::Close);
    let upstream = Upstream::always(script);
    let tollgate = before(&upstream, DRAIN);
    surfaces()[0].leave(&tollgate, &upstream);
    gate.open();
    let row = tollgate.ledger().only();
    // The client had left before the upstream broke off.
    assert_client_closed(&row, "cut");
    assert_eq!(row.text("usage_source"), Some("partial"), "{row:#?}");
    let output = row.int("output_tokens").unwrap();
    assert!(output > 5, "{row:#?}");
    assert!(
        row.int("delivered_output_tokens") < Some(output),
        "{row:#?}"
    );
}

#[test]
fn a_refusal_that_comes_to_a_drain_costs_nothing() {
    let gate = Gate::default();
    let mut script = vec![Step::Await(gate.clone())];
    script.extend(answers::error(
        "429 Too Many Requests",
        "requests",
        "rate_limit_exceeded",
    ));
    let upstream = Upstream::always(script);
    let tollgate = before(&upstream, DRAIN);
    let surface = surfaces()
        .into_iter()
        .find(|surface| surface.seen.is_none())
        .unwrap();
    surface.leave(&tollgate, &upstream);
    gate.open();
    let row = tollgate.ledger().only();
    assert_client_closed(&row, "refused");
    assert_eq!(row.tokens(), [], "{row:#?}");
    assert_eq!(row.text("usage_source"), Some("none"), "{row:#?}");
    assert_eq!(row.int("estimated_input_tokens"), None, "{row:#?}");
}

#[test]
fn a_stop_waits_for_drains() {
    let surface = &surfaces()[0];
    let gate = Gate::default();
    let upstream = surface.upstream(Step::Await(gate.clone()));
    let mut tollgate = before(&upstream, DRAIN);
    surface.leave(&tollgate, &upstream);
    tollgate.signal(Signal::TERM);
    eventually("new connections are refused", || {
        TcpStream::connect(tollgate.address())
            .is_err()
            .then_some(())
    });
    gate.open();
    assert!(tollgate.ended().success());
    let row = tollgate.ledger().only();
    assert_client_closed(&row, "stopped");
    assert_eq!(row.tokens(), surface.reported, "{row:#?}");
}

#[test]
fn a_drain_that_outlasts_the_grace_period_is_recorded() {
    let surface = &surfaces()[0];
    let upstream = surface.upstream(Step::Hang);
    let mut tollgate = before(&upstream, &format!("{DRAIN}\nlimits: {{grace: 300ms}}"));
    surface.leave(&tollgate, &upstream);
    tollgate.stop();
    tollgate.start_again();
    let row = tollgate.ledger().only();
    assert_client_closed(&row, "stopped");
    // There was no time left to count well.
    assert_eq!(row.tokens(), [("input", 6), ("output", 2)], "{row:#?}");
    assert_eq!(row.text("usage_source"), Some("partial"), "{row:#?}");
}

#[test]
fn a_kill_during_a_drain_leaves_an_interrupted_row() {
    let surface = &surfaces()[0];
    let upstream = surface.upstream(Step::Hang);
    let mut tollgate = before(&upstream, DRAIN);
    surface.leave(&tollgate, &upstream);
    tollgate.kill();
    tollgate.start_again();
    let row = tollgate.ledger().only();
    assert_eq!(row.outcome(), "interrupted", "{row:#?}");
}

/// Where drains are configured, nothing changes for clients that stay.
#[test]
fn clients_that_stay_keep_their_connection_and_their_bytes() {
    let upstream = Upstream::start(answers::provider);
    let tollgate = before(&upstream, DRAIN);
    let mut connection = Connection::open(tollgate.address());
    for surface in surfaces().iter().filter(|surface| surface.is_of_openai()) {
        let request = surface.request();
        connection.write(&request.bytes()).unwrap();
        let (response, same) = connection.incoming("POST").finish_on();
        connection = same;
        assert!(response.whole, "{}", surface.name);
        assert_eq!(
            response.seen(),
            request.send(upstream.address()).seen(),
            "{}",
            surface.name
        );
        let row = tollgate.ledger().request(&response.request_id());
        assert_eq!(row.outcome(), "ok", "{row:#?}");
        assert_eq!(row.tokens(), surface.reported, "{row:#?}");
        assert_eq!(row.int("upstream_bytes"), None, "{row:#?}");
    }
}

#[test]
fn streams_of_http2_are_cancelled_and_drained() {
    let surface = &surfaces()[0];
    let body = surface.body.to_string();
    for (settings, tokens, source) in [
        (
            "streaming: {on_client_close: cancel}",
            surface.partial,
            "partial",
        ),
        (DRAIN, surface.reported, "reported"),
    ] {
        let gate = Gate::default();
        let mut script = surface.first.clone();
        script.push(Step::Await(gate.clone()));
        script.extend(surface.rest.clone());
        let upstream = Upstream::start(move |request| {
            if request.method == "GET" {
                answers::json("200 OK", "{}")
            } else {
                script.clone()
            }
        });
        let tollgate = before(&upstream, settings);
        http2::abandon_cleartext(tollgate.address(), surface.path, &body, "Hello");
        // Several times through the same threads and back: by then the end was noticed.
        for _ in 0..20 {
            assert_eq!(
                tollgate.send(&Request::new("GET", "/v1/models")).status,
                200
            );
        }
        gate.open();
        let row = eventually("the stream is in the ledger", || {
            let rows = tollgate.ledger().requests();
            rows.into_iter().find(|row| row.text("api") == Some("chat"))
        });
        assert_client_closed(&row, settings);
        assert_eq!(row.tokens(), tokens, "{row:#?}");
        assert_eq!(row.text("usage_source"), Some(source), "{row:#?}");
    }
}
