//! Realtime and Responses over a WebSocket: the bytes pass untouched, and each response is a row.

mod clients;
mod endings;
mod errors;
mod faults;
mod handshake;
mod passing;

use serde_json::{Value, json};

use crate::support::Gate;
use crate::support::ledger::Row;
use crate::support::tollgate::{Setup, Tollgate};
use crate::support::websocket::{
    Socket, SocketUpstream, Turn, close_from_client, close_from_server, from_client, from_server,
};

const REALTIME: &str = "/v1/realtime?model=gpt-5-mini";
const RESPONSES: &str = "/v1/responses";

fn create() -> Vec<u8> {
    from_client(&json!({"type": "response.create", "event_id": "mine"}))
}

fn realtime(id: &str, kind: &str) -> Vec<u8> {
    from_server(&match kind {
        "created" => json!({"type": "response.created", "response": {"id": id}}),
        "delta" => {
            json!({"type": "response.output_text.delta", "response_id": id, "delta": "Hello"})
        }
        _ => json!({"type": "response.done", "response": {
            "id": id, "status": kind, "usage": {
                "input_tokens": 132, "output_tokens": 121, "total_tokens": 253,
                "input_token_details": {"text_tokens": 82, "audio_tokens": 50, "cached_tokens": 64,
                    "cached_tokens_details": {"text_tokens": 34, "audio_tokens": 30}},
                "output_token_details": {"text_tokens": 30, "audio_tokens": 91}}}}),
    })
}

fn response(id: &str, kind: &str) -> Vec<u8> {
    from_server(&match kind {
        "created" => json!({"type": "response.created", "response":
            {"id": id, "model": "gpt-5-mini-2025-08-07", "service_tier": "auto", "usage": null}}),
        "delta" => json!({"type": "response.output_text.delta", "item_id": "i", "delta": "Hello"}),
        _ => json!({"type": format!("response.{kind}"), "response": {"id": id, "status": kind,
            "model": "gpt-5-mini-2025-08-07", "service_tier": "default",
            "usage": {"input_tokens": 11, "input_tokens_details": {"cached_tokens": 4},
                "output_tokens": 7, "output_tokens_details": {"reasoning_tokens": 2},
                "total_tokens": 18}}}),
    })
}

const TOKENS: [(&str, i64); 5] = [
    ("input", 48),
    ("input_cached", 64),
    ("output", 30),
    ("input_audio", 20),
    ("output_audio", 91),
];

/// Ids of one millisecond are in no order.
fn in_order(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort_by_key(|row| row.int("started_at"));
    rows
}

/// The connection's row and those of what was made over it, in order.
fn rows(tollgate: &Tollgate, connection: &str, count: usize) -> (Row, Vec<Row>) {
    let (mut own, made): (Vec<_>, Vec<_>) = in_order(tollgate.ledger().exactly(1 + count))
        .into_iter()
        .partition(|row| row.text("id") == Some(connection));
    for row in &made {
        assert_eq!(row.text("session"), Some(connection), "{row:#?}");
    }
    (own.remove(0), made)
}

#[test]
fn each_response_of_a_session_is_a_row() {
    let session = from_server(&json!({"type": "session.created",
        "session": {"model": "gpt-5-mini", "audio": {"input": {"transcription": {"model": "whisper-1"}}}}}));
    let heard = from_server(&json!({
        "type": "conversation.item.input_audio_transcription.completed", "item_id": "item_1",
        "transcript": "Hi", "usage": {"type": "duration", "seconds": 2.5}}));
    let one = [
        realtime("resp_1", "created"),
        realtime("resp_1", "delta"),
        heard,
        realtime("resp_1", "completed"),
    ]
    .concat();
    // The second begins by itself: the session heard that the client stopped speaking.
    let two = [
        realtime("resp_2", "created"),
        realtime("resp_2", "delta"),
        realtime("resp_2", "cancelled"),
        close_from_server(1000),
    ]
    .concat();
    let (asked, gate) = (create(), Gate::default());
    let upstream = SocketUpstream::start(
        &[],
        vec![
            Turn::Send(session.clone()),
            Turn::Expect(asked.len()),
            Turn::Send(one.clone()),
            Turn::Await(gate.clone()),
            Turn::Send(two.clone()),
            Turn::Hang,
        ],
    );
    let tollgate = Tollgate::before(&upstream.base_url());
    let mut socket = Socket::open(
        tollgate.address(),
        REALTIME,
        &[
            ("authorization", "Bearer sk-client-secret"),
            (
                "sec-websocket-extensions",
                "permessage-deflate; client_max_window_bits",
            ),
            ("x-tollgate-tags", "project=a"),
        ],
    );
    let id = socket.request_id();
    socket.read(session.len());
    socket.write(&asked);
    socket.read(session.len() + one.len());
    // The end of a response is in the ledger before its last byte is with the client.
    let first = tollgate.ledger().exactly(2);
    assert!(first.iter().all(|row| row.outcome() == "ok"), "{first:#?}");
    gate.open();
    let everything = [session, one, two].concat();
    socket.read(everything.len());
    let leave = close_from_client(1000);
    socket.write(&leave);
    assert_eq!(socket.received, everything);
    drop(socket);
    assert_eq!(upstream.received(), [asked.clone(), leave].concat());
    let handshake = upstream.handshake();
    assert_eq!(handshake.headers.get("sec-websocket-extensions"), None);
    assert_eq!(
        handshake.headers.get("authorization"),
        Some("Bearer sk-client-secret")
    );

    let (connection, made) = rows(&tollgate, &id, 3);
    assert_eq!(connection.int("status"), Some(101), "{connection:#?}");
    assert_eq!(connection.outcome(), "ok", "{connection:#?}");
    assert_eq!(connection.text("usage_source"), Some("none"));
    assert_eq!(connection.text("requested_model"), Some("gpt-5-mini"));
    let mut responses = made.iter().filter(|row| row.text("response_id").is_some());
    for (id, row) in ["resp_1", "resp_2"].into_iter().zip(responses.by_ref()) {
        assert_eq!(row.text("response_id"), Some(id), "{row:#?}");
        assert_eq!(row.outcome(), "ok", "{row:#?}");
        assert_eq!(row.text("api"), Some("realtime"), "{row:#?}");
        assert_eq!(row.text("usage_source"), Some("reported"), "{row:#?}");
        assert_eq!(row.tokens(), TOKENS, "{row:#?}");
        assert_eq!(row.text("served_model"), Some("gpt-5-mini"), "{row:#?}");
        assert_eq!(row.text("tags"), Some(r#"{"project":"a"}"#), "{row:#?}");
        for phase in ["wait_us", "first_token_us", "stream_us", "total_us"] {
            assert!(row.int(phase).is_some(), "{phase}: {row:#?}");
        }
        assert_eq!(row.int("connect_us"), None, "{row:#?}");
    }
    assert!(responses.next().is_none());
    let heard = made.iter().find(|row| row.text("response_id").is_none());
    let heard = heard.unwrap();
    assert_eq!(
        heard.text("requested_model"),
        Some("whisper-1"),
        "{heard:#?}"
    );
    assert_eq!(heard.int("audio_ms"), Some(2500), "{heard:#?}");
    assert_eq!(heard.text("usage_source"), Some("reported"), "{heard:#?}");
    assert_eq!(heard.tokens(), [], "{heard:#?}");
}

#[test]
fn responses_over_a_websocket_are_rows_of_their_own_models() {
    let asked = |model| {
        from_client(
            &json!({"type": "response.create", "model": model, "input": "Hello",
            "safety_identifier": "me", "store": false}),
        )
    };
    let (first, second) = (asked("gpt-5-mini"), asked("gpt-5"));
    let one = [
        response("resp_1", "created"),
        response("resp_1", "delta"),
        response("resp_1", "completed"),
    ]
    .concat();
    let two = [
        response("resp_2", "created"),
        response("resp_2", "incomplete"),
        // Told twice, counted once.
        response("resp_2", "incomplete"),
    ]
    .concat();
    let refusal = from_server(&json!({"type": "error", "status": 429, "error":
        {"code": "rate_limit_exceeded", "message": "slow down, sk-client-secret"}}));
    let upstream = SocketUpstream::start(
        &[],
        vec![
            Turn::Expect(first.len()),
            Turn::Send(one.clone()),
            Turn::Expect(first.len() + second.len()),
            Turn::Send(two.clone()),
            Turn::Expect(2 * first.len() + second.len()),
            Turn::Send(refusal.clone()),
            Turn::Hang,
        ],
    );
    let tollgate = Tollgate::before(&upstream.base_url());
    let fields = [
        ("authorization", "Bearer sk-client-secret"),
        ("session-id", "conversation-7"),
    ];
    let mut socket = Socket::open(tollgate.address(), RESPONSES, &fields);
    let id = socket.request_id();
    let mut all = Vec::new();
    for (asked, answer) in [(&first, &one), (&second, &two), (&first, &refusal)] {
        socket.write(asked);
        all.extend_from_slice(answer);
        socket.read(all.len());
    }
    assert_eq!(socket.received, all);
    drop(socket);
    let rows = in_order(tollgate.ledger().exactly(4));
    for row in &rows {
        assert_eq!(row.text("session"), Some("conversation-7"), "{row:#?}");
    }
    let made: Vec<_> = rows
        .iter()
        .filter(|row| row.text("id") != Some(&id))
        .collect();
    for (row, (model, response_id)) in made
        .iter()
        .zip([("gpt-5-mini", "resp_1"), ("gpt-5", "resp_2")])
    {
        assert_eq!(row.text("requested_model"), Some(model), "{row:#?}");
        assert_eq!(row.text("response_id"), Some(response_id), "{row:#?}");
        assert_eq!(row.text("served_model"), Some("gpt-5-mini-2025-08-07"));
        assert_eq!(row.text("service_tier"), Some("default"), "{row:#?}");
        assert_eq!(row.text("end_user"), Some("me"), "{row:#?}");
        assert!(row.int("cost_nanousd") > Some(0), "{row:#?}");
        assert_eq!(row.outcome(), "ok", "{row:#?}");
        assert_eq!(
            row.tokens(),
            [
                ("input", 7),
                ("input_cached", 4),
                ("output", 5),
                ("reasoning", 2)
            ],
            "{row:#?}"
        );
    }
    assert_eq!(made[2].outcome(), "rate_limited", "{:#?}", made[2]);
    assert_eq!(made[2].text("error_code"), Some("rate_limit_exceeded"));
    assert_eq!(made[2].text("usage_source"), Some("none"), "{:#?}", made[2]);
    assert!(!format!("{rows:?}").contains("sk-client-secret"));
}

#[test]
fn responses_on_several_lanes_are_told_apart() {
    let on = |lane: &str, mut event: Value| {
        event["stream_id"] = json!(lane);
        from_server(&event)
    };
    let asked: Vec<_> = ["a", "b", "a"]
        .iter()
        .map(|lane| {
            from_client(&json!({"type": "response.create", "stream_id": lane,
                "model": format!("model-{lane}"), "input": "Hello"}))
        })
        .collect();
    let asked = asked.concat();
    let created = |id| json!({"type": "response.created", "response": {"id": id}});
    let delta = json!({"type": "response.output_text.delta", "delta": "Hello"});
    let completed = |id, output| {
        json!({"type": "response.completed", "response": {"id": id, "status": "completed",
            "usage": {"input_tokens": 1, "output_tokens": output, "total_tokens": 1 + output}}})
    };
    let answer = [
        on("b", created("resp_b")),
        on("a", created("resp_a")),
        on("a", delta.clone()),
        on(
            "b",
            json!({"type": "response.steer.failed", "error": {"code": "too_late"}}),
        ),
        on("a", completed("resp_a", 10)),
        on(
            "a",
            json!({"type": "error", "status": 400, "error": {"code": "bad"}}),
        ),
        on("b", completed("resp_b", 20)),
        // What was steered goes on by itself.
        on("b", created("resp_c")),
        on("b", completed("resp_c", 30)),
        close_from_server(1000),
    ]
    .concat();
    let upstream = SocketUpstream::start(
        &[],
        vec![
            Turn::Expect(asked.len()),
            Turn::Send(answer.clone()),
            Turn::Hang,
        ],
    );
    let tollgate = Tollgate::before(&upstream.base_url());
    let mut socket = Socket::open(tollgate.address(), RESPONSES, &[]);
    let id = socket.request_id();
    socket.write(&asked);
    socket.read(answer.len());
    drop(socket);
    let (connection, made) = rows(&tollgate, &id, 4);
    assert_eq!(connection.outcome(), "ok", "{connection:#?}");
    let mut seen: Vec<_> = made
        .iter()
        .map(|row| {
            (
                row.text("response_id"),
                row.text("requested_model"),
                row.int("output_tokens"),
                row.outcome(),
                row.int("first_token_us").is_some(),
            )
        })
        .collect();
    seen.sort_unstable();
    assert_eq!(
        seen,
        [
            (None, Some("model-a"), None, "upstream_error", false),
            (Some("resp_a"), Some("model-a"), Some(10), "ok", true),
            (Some("resp_b"), Some("model-b"), Some(20), "ok", false),
            (Some("resp_c"), None, Some(30), "ok", false),
        ]
    );
}

#[test]
fn a_response_is_sold_by_the_connections_provider() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.yaml");
    std::fs::write(
        &file,
        "prices:
- {model: gpt-5-mini, provider: azure, per_million: {input: 1000, output: 1000}}
- {model: gpt-5-mini, provider: openai, per_million: {input: 1, output: 1}}
",
    )
    .unwrap();
    for (kind, dear) in [("azure", true), ("openai", false)] {
        let script = vec![Turn::Send(response("resp_1", "completed")), Turn::Close];
        let upstream = SocketUpstream::start(&[], script);
        let more = format!(", kind: {kind}");
        let tollgate = Setup::channels(&[("sold", &upstream.base_url(), &more)])
            .setting(&format!("prices: {{files: ['{}']}}", file.display()))
            .start();
        let socket = Socket::open(tollgate.address(), RESPONSES, &[]);
        let id = socket.request_id();
        socket.finish();
        let row = rows(&tollgate, &id, 1).1.remove(0);
        let nanousd = row.int("cost_nanousd");
        assert!(nanousd.is_some(), "{kind}: {row:#?}");
        assert_eq!(nanousd > Some(1_000_000), dear, "{row:#?}");
    }
}
