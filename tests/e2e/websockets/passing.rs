//! Whatever passes, and however it is cut: bytes, memory, limits.

use serde_json::json;

use super::{REALTIME, TOKENS, create, realtime, rows};
use crate::support::client::Request;
use crate::support::ledger::Row;
use crate::support::tollgate::Tollgate;
use crate::support::upstream::{Answer, Upstream};
use crate::support::websocket::{
    Socket, SocketUpstream, Turn, close_from_server, frame, from_client, from_server,
};

#[test]
fn what_cannot_be_read_passes_all_the_same() {
    let compressed = frame(
        0xC1,
        None,
        b"\xAA\x56\x2A\xA9\x2C\x48\x55\xB2\x52\x50\x02\x00",
    );
    let malformed = frame(0x83, None, b"reserved");
    let agreed = [("sec-websocket-extensions", "permessage-deflate")];
    for (fields, bytes, reason) in [
        (&agreed[..], compressed, "undecodable"),
        (&[], malformed, "malformed"),
    ] {
        let asked = [create(), frame(0x81, None, b"unmasked"), vec![0xFF; 300]].concat();
        let upstream = SocketUpstream::start(
            fields,
            vec![
                Turn::Expect(asked.len()),
                Turn::Send(bytes.clone()),
                Turn::Close,
            ],
        );
        let tollgate = Tollgate::before(&upstream.base_url());
        let mut socket = Socket::open(tollgate.address(), REALTIME, &[]);
        let id = socket.request_id();
        socket.write(&asked);
        assert_eq!(socket.finish(), bytes);
        assert_eq!(upstream.received(), asked);
        let row = tollgate.ledger().request(&id);
        assert_eq!(row.outcome(), "ok", "{row:#?}");
        assert_eq!(row.text("usage_source"), Some("missing"), "{row:#?}");
        let labels = [("api", "realtime"), ("reason", reason)];
        assert!(
            tollgate
                .metrics()
                .sum("tollgate_usage_missing_total", &labels)
                > 0.0
        );
    }
}

#[test]
fn a_message_of_a_hundred_megabytes_is_not_kept() {
    let audio = json!({"type": "response.output_audio.delta", "response_id": "resp_1",
        "delta": "A".repeat(100 << 20)});
    let audio = from_server(&audio);
    let upstream = SocketUpstream::start(
        &[],
        vec![
            Turn::Send(realtime("resp_1", "created")),
            Turn::Send(audio.clone()),
            Turn::Send(realtime("resp_1", "completed")),
            Turn::Close,
        ],
    );
    let tollgate = Tollgate::before(&upstream.base_url());
    let before = tollgate.peak_resident_kib();
    let socket = Socket::open(tollgate.address(), REALTIME, &[]);
    let id = socket.request_id();
    let received = socket.finish();
    assert!(received.len() > audio.len());
    let (_, made) = rows(&tollgate, &id, 1);
    assert_eq!(made[0].tokens(), TOKENS, "{made:#?}");
    let growth = tollgate.peak_resident_kib() - before;
    assert!(growth < 32 * 1024, "{growth} KiB more");
}

#[test]
fn limits_that_a_session_tells_are_told() {
    let limits = from_server(&json!({"type": "rate_limits.updated", "rate_limits": [
        {"name": "requests", "remaining": 99}, {"name": "tokens", "remaining": -1}]}));
    let script = vec![Turn::Send(limits.clone()), Turn::Hang];
    let upstream = SocketUpstream::start(&[], script);
    let tollgate = Tollgate::before(&upstream.base_url());
    let mut socket = Socket::open(tollgate.address(), REALTIME, &[]);
    socket.read(limits.len());
    assert_remaining(&tollgate, "requests", 99.0);
}

/// One limit is known, and so much is left of it: what is negative is unknown.
fn assert_remaining(tollgate: &Tollgate, kind: &str, count: f64) {
    let metrics = tollgate.metrics();
    let name = "tollgate_channel_ratelimit_remaining";
    let limits: Vec<_> = metrics.matching(name, &[("channel", "openai")]).collect();
    assert_eq!(limits.len(), 1, "{limits:?}");
    assert_eq!(limits[0].labels["kind"], kind);
    assert!((limits[0].value - count).abs() < 1e-9, "{limits:?}");
}

#[test]
fn limits_in_the_headers_of_answers_are_told() {
    let answer = Answer::new("200 OK")
        .header("x-ratelimit-remaining-requests", "-1")
        .header("x-ratelimit-remaining-tokens", "1,234,567");
    let upstream = Upstream::always(answer.body("{}"));
    let tollgate = Tollgate::before(&upstream.base_url());
    tollgate.send(&Request::new("GET", "/v1/models"));
    assert_remaining(&tollgate, "tokens", 1_234_567.0);
}

#[test]
fn any_cuts_give_the_same_bytes_and_rows() {
    let one = [
        realtime("resp_1", "created"),
        realtime("resp_1", "delta"),
        frame(0x89, None, b"ping"),
        realtime("resp_1", "completed"),
        close_from_server(1000),
    ]
    .concat();
    let asked = create();
    for size in [1, 3, 50] {
        let mut turns: Vec<_> = vec![Turn::Expect(asked.len())];
        turns.extend(one.chunks(size).map(|piece| Turn::Send(piece.to_vec())));
        turns.push(Turn::Hang);
        let upstream = SocketUpstream::start(&[], turns);
        let tollgate = Tollgate::before(&upstream.base_url());
        let mut socket = Socket::open(tollgate.address(), REALTIME, &[]);
        let id = socket.request_id();
        for piece in asked.chunks(size) {
            socket.write(piece);
        }
        socket.read(one.len());
        assert_eq!(socket.received, one);
        drop(socket);
        assert_eq!(upstream.received(), asked);
        let (_, made) = rows(&tollgate, &id, 1);
        assert_eq!(made[0].tokens(), TOKENS, "{made:#?}");
        assert_eq!(made[0].text("response_id"), Some("resp_1"));
    }
}

#[test]
fn every_byte_is_counted_in_one_row() {
    let heard = from_server(&json!({
        "type": "conversation.item.input_audio_transcription.completed", "item_id": "item_1",
        "transcript": "Hi", "usage": {"type": "duration", "seconds": 2.5}}));
    let answer = [
        from_server(&json!({"type": "session.created", "session": {"model": "gpt-5-mini"}})),
        realtime("resp_1", "created"),
        realtime("resp_1", "delta"),
        heard,
        frame(0x89, None, b"ping"),
        realtime("resp_1", "completed"),
        // Too late, and of nobody.
        realtime("resp_1", "delta"),
        from_server(&json!({"type": "error", "error": {"message": "no"}})),
        realtime("resp_2", "created"),
        close_from_server(1000),
    ]
    .concat();
    let audio = json!({"type": "input_audio_buffer.append", "audio": "A".repeat(9000)});
    let asked = [from_client(&audio), create(), create()].concat();
    let upstream = SocketUpstream::start(
        &[],
        vec![
            Turn::Expect(asked.len()),
            Turn::Send(answer.clone()),
            Turn::Hang,
        ],
    );
    let tollgate = Tollgate::before(&upstream.base_url());
    let mut socket = Socket::open(tollgate.address(), REALTIME, &[]);
    let id = socket.request_id();
    socket.write(&asked);
    socket.read(answer.len());
    drop(socket);
    let (connection, made) = rows(&tollgate, &id, 3);
    for (name, passed) in [
        ("request_bytes", asked.len()),
        ("response_bytes", answer.len()),
    ] {
        let of = |row: &Row| usize::try_from(row.int(name).unwrap()).unwrap();
        let apart: usize = made.iter().map(of).sum();
        assert!(apart > 0 && apart < passed, "{name}: {made:#?}");
        assert_eq!(of(&connection) + apart, passed, "{name}: {connection:#?}");
    }
}

#[test]
fn more_responses_than_are_followed_are_counted_all_the_same() {
    const COUNT: usize = 70;
    let asked = create().repeat(COUNT);
    let done: Vec<_> = (0..COUNT)
        .map(|n| realtime(&format!("resp_{n}"), "completed"))
        .collect();
    let done = [done.concat(), close_from_server(1000)].concat();
    let upstream = SocketUpstream::start(
        &[],
        vec![
            Turn::Expect(asked.len()),
            Turn::Send(done.clone()),
            Turn::Hang,
        ],
    );
    let tollgate = Tollgate::before(&upstream.base_url());
    let mut socket = Socket::open(tollgate.address(), REALTIME, &[]);
    let id = socket.request_id();
    socket.write(&asked);
    socket.read(done.len());
    drop(socket);
    for row in rows(&tollgate, &id, COUNT).1 {
        assert_eq!(row.outcome(), "ok", "{row:#?}");
        assert_eq!(row.tokens(), TOKENS, "{row:#?}");
    }
}
