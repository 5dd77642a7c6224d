//! What the proxy relies on, over whole conversations.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::record::{TokenType, Unit, UsageSource};

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CONTINUATION: u8 = 0;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const FIN: u8 = 0x80;

/// A frame (RFC 6455 §5.2), its length written in as few bytes as may be.
fn frame(first: u8, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let mut bytes = head(first, mask, payload.len() as u64);
    let mask = mask.unwrap_or_default();
    bytes.extend(
        payload
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    bytes
}

fn head(first: u8, mask: Option<[u8; 4]>, length: u64) -> Vec<u8> {
    let masked = if mask.is_some() { 0x80_u8 } else { 0 };
    let mut bytes = vec![first];
    match u16::try_from(length) {
        Ok(short @ 0..=125) => bytes.push(masked | u8::try_from(short).unwrap()),
        Ok(short) => {
            bytes.push(masked | 0x7E);
            bytes.extend(short.to_be_bytes());
        }
        Err(_) => {
            bytes.push(masked | 0x7F);
            bytes.extend(length.to_be_bytes());
        }
    }
    bytes.extend(mask.unwrap_or_default().iter().take(4 * mask.iter().len()));
    bytes
}

fn event(value: &serde_json::Value) -> Vec<u8> {
    frame(FIN | TEXT, None, value.to_string().as_bytes())
}

fn asked(value: &serde_json::Value) -> Vec<u8> {
    frame(
        FIN | TEXT,
        Some([7, 0x80, 0, 255]),
        value.to_string().as_bytes(),
    )
}

/// Everything a dialogue tells of these bytes, and why it stopped.
fn told<'b>(
    api: Api,
    pieces: impl IntoIterator<Item = &'b [u8]>,
) -> (Vec<Told>, Option<MissingReason>, Option<Leave>) {
    let mut dialogue = Dialogue::new(api, false).unwrap();
    let mut all = Vec::new();
    for piece in pieces {
        dialogue.upstream_sent(piece, &mut |told| all.push(told));
        assert!(
            dialogue.retained_bytes() < 64 * 1024,
            "memory stays bounded"
        );
    }
    (all, dialogue.unread(), dialogue.upstream_leave())
}

fn created<'b>(
    api: Api,
    pieces: impl IntoIterator<Item = &'b [u8]>,
) -> (Vec<Create>, Option<Leave>) {
    let mut dialogue = Dialogue::new(api, false).unwrap();
    let mut all = Vec::new();
    for piece in pieces {
        dialogue.client_sent(piece, &mut |create| all.push(create));
        assert!(
            dialogue.retained_bytes() < 64 * 1024,
            "memory stays bounded"
        );
    }
    (all, dialogue.client_leave())
}

fn response_done() -> serde_json::Value {
    json!({"type": "response.done", "event_id": "event_1", "response": {
        "object": "realtime.response", "id": "resp_1", "status": "completed",
        "output": [{"id": "item_1", "content": [{"transcript": "Hi \"you\" \u{e4}"}]}],
        "usage": {"total_tokens": 253, "input_tokens": 132, "output_tokens": 121,
            "input_token_details": {"text_tokens": 82, "audio_tokens": 50, "image_tokens": 0,
                "cached_tokens": 64,
                "cached_tokens_details": {"text_tokens": 34, "audio_tokens": 30, "image_tokens": 0}},
            "output_token_details": {"text_tokens": 30, "audio_tokens": 91}}}})
}

/// One of everything, in fragments and with control frames in between.
fn conversation() -> Vec<u8> {
    let done = response_done().to_string();
    let (one, two) = done.as_bytes().split_at(100);
    [
        event(&json!({"type": "session.created", "session": {"id": "sess_1", "model": "gpt-realtime",
            "audio": {"input": {"transcription": {"model": "whisper-1"}}}}})),
        event(&json!({"type": "response.created", "response": {"id": "resp_1", "status": "in_progress"}})),
        event(&json!({"type": "rate_limits.updated", "rate_limits": [
            {"name": "requests", "limit": 10, "remaining": 9, "reset_seconds": 0.5},
            {"name": "tokens", "limit": 100, "remaining": -1},
            {"name": "of tomorrow", "remaining": 4}]})),
        event(&json!({"type": "response.output_audio.delta", "response_id": "resp_1", "delta": "AAAA"})),
        frame(FIN | PING, None, b"are you there?"),
        frame(TEXT, None, one),
        frame(FIN | PING, None, b""),
        frame(CONTINUATION, None, b""),
        frame(FIN | CONTINUATION, None, two),
        event(&json!({"type": "conversation.item.input_audio_transcription.completed",
            "item_id": "item_0", "transcript": "Hello", "usage": {"type": "duration", "seconds": 2.25}})),
        event(&json!({"type": "error", "error": {"type": "invalid_request_error", "code": "bad",
            "message": "no", "event_id": "mine"}})),
        frame(FIN | CLOSE, None, &[&1001_u16.to_be_bytes()[..], b"bye"].concat()),
    ]
    .concat()
}

fn requests() -> Vec<u8> {
    let create = json!({"type": "response.create", "event_id": "mine", "model": "gpt-5-mini",
        "input": "x".repeat(70_000), "user": "u", "safety_identifier": "s"});
    let create = create.to_string();
    let (one, two) = create.as_bytes().split_at(30_001);
    [
        asked(&json!({"type": "input_audio_buffer.append", "audio": "A".repeat(9000)})),
        frame(TEXT, Some([1, 2, 3, 4]), one),
        frame(FIN | PING, Some([9; 4]), b"x"),
        frame(FIN | CONTINUATION, Some([255, 0, 255, 1]), two),
        asked(&json!({"model": "later", "type": "response.create"})),
        frame(FIN | CLOSE, Some([1; 4]), &1000_u16.to_be_bytes()),
    ]
    .concat()
}

#[test]
fn a_conversation_is_understood() {
    let (told, unread, leave) = told(Api::Realtime, [&conversation()[..]]);
    assert_eq!((unread, leave), (None, Some(Leave { code: Some(1001) })));
    let [session, created, limits, delta, done, transcription, error] = &told[..] else {
        panic!("{told:#?}");
    };
    assert_eq!(
        *session,
        Told::Session {
            model: Some("gpt-realtime".into()),
            transcription_model: Some("whisper-1".into()),
        }
    );
    assert_eq!(
        *limits,
        Told::RateLimits(vec![
            (LimitKind::Requests, Some(9)),
            (LimitKind::Tokens, None)
        ])
    );
    for (event, expected_advance, expected_content) in [
        (created, Advance::Begun, false),
        (delta, Advance::UnderWay, true),
        (done, Advance::Ended, false),
    ] {
        let Told::Response {
            id: Some(id),
            lane: None,
            advance,
            content,
            observed,
            bytes,
        } = event
        else {
            panic!("{event:#?}");
        };
        // A mere piece of content states nothing.
        assert_eq!(observed.is_none(), *content);
        assert_eq!((*advance, *content), (expected_advance, expected_content));
        assert_eq!(&**id, "resp_1");
        let failed = observed.as_ref().is_some_and(|observed| observed.failed);
        assert!(!failed && *bytes > 0);
    }
    let Told::Response {
        observed: Some(observed),
        ..
    } = done
    else {
        panic!("{done:#?}");
    };
    let usage = observed.usage.unwrap();
    assert_eq!(
        usage.tokens.iter().collect::<Vec<_>>(),
        [
            (TokenType::Input, 48),
            (TokenType::InputCached, 64),
            (TokenType::Output, 30),
            (TokenType::InputAudio, 20),
            (TokenType::OutputAudio, 91),
            (TokenType::InputImage, 0),
        ]
    );
    assert_eq!((usage.total, usage.tokens.sum()), (Some(253), Some(253)));
    let Told::Transcription {
        item_id,
        observed: Some(observed),
        ..
    } = transcription
    else {
        panic!("{transcription:#?}");
    };
    assert_eq!(item_id.as_deref(), Some("item_0"));
    let usage = observed.usage.unwrap();
    assert_eq!(usage.units[Unit::AudioMs], Some(2250));
    assert_eq!((usage.total, usage.source), (None, UsageSource::Reported));
    let Told::Error {
        event_id, observed, ..
    } = error
    else {
        panic!("{error:#?}");
    };
    assert_eq!(event_id.as_deref(), Some("mine"));
    assert_eq!(
        observed.error.as_ref().unwrap().code.as_deref(),
        Some("bad")
    );
}

#[test]
fn pieces_of_content_share_the_names_they_repeat() {
    let delta = |id: &str| {
        event(
            &json!({"type": "response.output_text.delta", "response_id": id, "item_id": "i",
            "stream_id": "lane", "delta": "Hello"}),
        )
    };
    let longest = "x".repeat(256);
    let too_long = "x".repeat(257);
    let bytes = ["a", "a", "b", &longest, &too_long].map(delta).concat();
    let (told, ..) = told(Api::Responses, [&bytes[..]]);
    let names: Vec<_> = told
        .iter()
        .map(|told| match told {
            Told::Response {
                id,
                lane: Some(lane),
                observed: None,
                ..
            } => (id.clone(), lane),
            other => panic!("{other:#?}"),
        })
        .collect();
    let ids: Vec<_> = names.iter().map(|(id, _)| id.as_deref()).collect();
    assert_eq!(
        ids,
        [Some("a"), Some("a"), Some("b"), Some(&*longest), None]
    );
    let [Some(one), Some(same)] = [&names[0].0, &names[1].0] else {
        panic!("{names:#?}");
    };
    assert!(Arc::ptr_eq(one, same));
    assert!(names.iter().all(|(_, lane)| Arc::ptr_eq(lane, names[0].1)));
}

#[test]
fn requests_for_responses_are_understood() {
    let (created, leave) = created(Api::Responses, [&requests()[..]]);
    assert_eq!(leave, Some(Leave { code: Some(1000) }));
    let [first, second] = &created[..] else {
        panic!("{created:#?}");
    };
    assert_eq!(first.event_id.as_deref(), Some("mine"));
    assert_eq!(first.model.as_deref(), Some("gpt-5-mini"));
    assert_eq!(first.end_user.as_deref(), Some("s"));
    assert!(first.bytes > 70_000);
    assert_eq!(second.model.as_deref(), Some("later"));
}

#[test]
fn transcriptions_billed_by_tokens_have_tokens() {
    let event = event(
        &json!({"type": "conversation.item.input_audio_transcription.completed",
        "item_id": "i", "usage": {"type": "tokens", "total_tokens": 22, "input_tokens": 13,
            "input_token_details": {"text_tokens": 3, "audio_tokens": 10}, "output_tokens": 9}}),
    );
    let (told, ..) = told(Api::Realtime, [&event[..]]);
    let [
        Told::Transcription {
            observed: Some(observed),
            ..
        },
    ] = &told[..]
    else {
        panic!("{told:#?}");
    };
    let usage = observed.usage.unwrap();
    assert_eq!(usage.tokens[TokenType::Input], Some(3));
    assert_eq!(usage.tokens[TokenType::InputAudio], Some(10));
    assert_eq!(usage.tokens[TokenType::Output], Some(9));
    assert_eq!(usage.units[Unit::AudioMs], None);
}

#[test]
fn failures_are_told_from_responses_that_ended_early() {
    for (status, details, failed) in [
        ("completed", json!(null), false),
        (
            "cancelled",
            json!({"type": "cancelled", "reason": "turn_detected"}),
            false,
        ),
        (
            "incomplete",
            json!({"type": "incomplete", "reason": "max_output_tokens"}),
            false,
        ),
        (
            "failed",
            json!({"type": "failed", "error": {"type": "server_error", "code": "boom"}}),
            true,
        ),
        ("failed", json!(null), true),
    ] {
        let event = event(&json!({"type": "response.done",
            "response": {"id": "r", "status": status, "status_details": details, "usage": null}}));
        let (told, ..) = told(Api::Realtime, [&event[..]]);
        let [
            Told::Response {
                observed: Some(observed),
                advance,
                ..
            },
        ] = &told[..]
        else {
            panic!("{told:#?}");
        };
        assert_eq!(
            (observed.failed, *advance),
            (failed, Advance::Ended),
            "{status}"
        );
        assert_eq!(observed.usage, None);
    }
    let flat = event(&json!({"type": "error", "status": 429, "code": "slow_down", "message": "m"}));
    let (told, ..) = told(Api::Responses, [&flat[..]]);
    assert!(
        matches!(&told[..], [Told::Error { status: Some(429), observed, .. }]
            if observed.error.as_ref().unwrap().code.as_deref() == Some("slow_down")),
        "{told:#?}"
    );
}

#[test]
fn what_is_no_websocket_stops_the_reading() {
    let done = event(&response_done());
    let mask = Some([1, 2, 3, 4]);
    for (what, bytes) in [
        ("compressed", frame(FIN | 0x40 | TEXT, None, b"{}")),
        ("second reserved bit", frame(FIN | 0x20 | TEXT, None, b"{}")),
        ("third reserved bit", frame(FIN | 0x10 | TEXT, None, b"{}")),
        ("reserved data opcode", frame(FIN | 3, None, b"{}")),
        ("reserved control opcode", frame(FIN | 0xB, None, b"")),
        ("a mask from the server", frame(FIN | TEXT, mask, b"{}")),
        (
            "a continuation of nothing",
            frame(FIN | CONTINUATION, None, b"{}"),
        ),
        (
            "a message within a message",
            [frame(TEXT, None, b"{"), frame(FIN | TEXT, None, b"{}")].concat(),
        ),
        ("a fragmented ping", frame(PING, None, b"")),
        ("a long ping", frame(FIN | PING, None, &[0; 126])),
        ("a length of 2^63", head(FIN | TEXT, None, 1 << 63)),
        ("the longest length", head(FIN | TEXT, None, u64::MAX)),
        ("text", b"from the upstream\r\n\r\n".to_vec()),
    ] {
        let (told, unread, _) = told(Api::Realtime, [&bytes[..], &done[..]]);
        assert_eq!(unread, Some(MissingReason::Malformed), "{what}");
        assert_eq!(told, [], "{what}");
    }
    let unmasked = event(&json!({"type": "response.create"}));
    assert_eq!(created(Api::Responses, [&unmasked[..]]).0, []);
}

#[test]
fn an_agreed_extension_is_not_read() {
    let mut dialogue = Dialogue::new(Api::Realtime, true).unwrap();
    let mut count = 0;
    dialogue.upstream_sent(&conversation(), &mut |_| count += 1);
    dialogue.client_sent(&requests(), &mut |_| count += 1);
    assert_eq!(
        (count, dialogue.unread()),
        (0, Some(MissingReason::Undecodable))
    );
    assert!(Dialogue::new(Api::Chat, false).is_none());
}

#[test]
fn messages_that_are_no_events_change_nothing() {
    let junk: [&[u8]; 6] = [
        b"",
        b"not json",
        b"{\"type\":\"response.done\",\"response\":{\"id\":\"r\",\"usage\":{\"input_tokens\":1",
        b"[[[[[[",
        b"{\"type\":7,\"response\":[],\"usage\":\"x\",\"rate_limits\":{\"name\":1}}",
        b"\xFF\xFE{\"type\":\"response.done\"}",
    ];
    for junk in junk {
        for opcode in [TEXT, BINARY] {
            let bytes = [frame(FIN | opcode, None, junk), event(&response_done())].concat();
            let (told, unread, _) = told(Api::Realtime, [&bytes[..]]);
            assert_eq!((told.len(), unread), (1, None), "{told:#?}");
        }
    }
    let nested = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let deep =
        format!("{{\"type\":\"response.done\",\"x\":{nested},\"response\":{{\"id\":\"r\"}}}}");
    let bytes = frame(FIN | TEXT, None, deep.as_bytes());
    assert_eq!(told(Api::Realtime, [&bytes[..]]).0.len(), 1);
}

#[test]
fn a_message_of_any_size_takes_no_more_memory() {
    let mut dialogue = Dialogue::new(Api::Realtime, false).unwrap();
    let (begin, end) = (
        br#"{"type":"input_audio_buffer.append","audio":""#,
        br#""}"#,
    );
    let piece = vec![b'A'; 1 << 20];
    let length = begin.len() + 100 * piece.len() + end.len();
    let mut ignored = |_| {};
    dialogue.upstream_sent(&head(FIN | TEXT, None, length as u64), &mut ignored);
    dialogue.upstream_sent(begin, &mut ignored);
    for _ in 0..100 {
        dialogue.upstream_sent(&piece, &mut ignored);
        assert!(dialogue.retained_bytes() < 64 * 1024);
    }
    dialogue.upstream_sent(end, &mut ignored);
    let mut count = 0;
    dialogue.upstream_sent(&event(&response_done()), &mut |_| count += 1);
    assert_eq!(count, 1, "the next message is read");
}

#[test]
fn cut_anywhere_the_same_is_told() {
    let (down, up) = (conversation(), requests());
    let (all_told, all_created) = (
        told(Api::Realtime, [&down[..]]),
        created(Api::Responses, [&up[..]]),
    );
    for cut in 0..down.len() {
        let (one, two) = down.split_at(cut);
        assert_eq!(told(Api::Realtime, [one, two]), all_told, "{cut}");
    }
    for size in [1, 2, 3, 5, 7, 127, 4095, 4096, 4097] {
        assert_eq!(told(Api::Realtime, down.chunks(size)), all_told, "{size}");
        assert_eq!(
            created(Api::Responses, up.chunks(size)),
            all_created,
            "{size}"
        );
    }
}

#[test]
fn of_several_tiers_none_is_taken_for_the_cheaper() {
    for (stated, tier) in [
        (r#""service_tier": "flex""#, Some("flex")),
        (
            r#""service_tier": "priority", "service_tier": "auto""#,
            Some("priority"),
        ),
        (
            r#""service_tier": "priority", "service_tier": "flex""#,
            Some("several"),
        ),
        (r#""service_tier": "default""#, None),
    ] {
        let text = format!(r#"{{"type": "response.create", "model": "m", {stated}}}"#);
        let bytes = frame(FIN | TEXT, Some([7, 0x80, 0, 255]), text.as_bytes());
        let (created, _) = created(Api::Responses, [&*bytes]);
        let bounds = created[0].bounds(Api::Responses).unwrap();
        assert_eq!(bounds.service_tier.as_deref(), tier, "{text}");
    }
}

proptest! {
    #[test]
    fn any_cuts_tell_the_same(cuts in proptest::collection::vec(any::<usize>(), 0..30)) {
        let (down, up) = (conversation(), requests());
        let pieces = |bytes| crate::protocol::tests::pieces(bytes, &cuts);
        prop_assert_eq!(told(Api::Realtime, pieces(&down)), told(Api::Realtime, [&down[..]]));
        prop_assert_eq!(created(Api::Responses, pieces(&up)), created(Api::Responses, [&up[..]]));
    }

    #[test]
    fn any_fragments_of_messages_tell_the_same(
        length in 1_usize..400,
        mask in any::<[u8; 4]>(),
        pings in any::<bool>(),
    ) {
        let create = json!({"type": "response.create", "model": "gpt-5-mini", "input": "ä".repeat(300)});
        let create = create.to_string();
        let mut bytes = Vec::new();
        let count = create.len().div_ceil(length);
        for (at, piece) in create.as_bytes().chunks(length).enumerate() {
            let opcode = if at == 0 { TEXT } else { CONTINUATION };
            let fin = if at + 1 == count { FIN } else { 0 };
            bytes.extend(frame(fin | opcode, Some(mask), piece));
            if pings {
                bytes.extend(frame(FIN | PING, Some(mask), b"ping"));
            }
        }
        let (created, _) = created(Api::Responses, [&bytes[..]]);
        prop_assert_eq!(created.len(), 1);
        prop_assert_eq!(created[0].model.as_deref(), Some("gpt-5-mini"));
        prop_assert_eq!(created[0].bytes, create.len() as u64);
    }

    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..600), cut in 1_usize..50) {
        let whole = told(Api::Realtime, [&bytes[..]]);
        prop_assert_eq!(told(Api::Realtime, bytes.chunks(cut)), whole);
        let whole = created(Api::Responses, [&bytes[..]]);
        prop_assert_eq!(created(Api::Responses, bytes.chunks(cut)), whole);
    }
}
