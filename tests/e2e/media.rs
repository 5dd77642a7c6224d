//! Images, sound and uploads: large, and billed in units of their own.

use serde_json::json;

use crate::support::answers;
use crate::support::client::{Connection, Request};
use crate::support::ledger::Row;
use crate::support::message::chunks;
use crate::support::tollgate::Tollgate;
use crate::support::upstream::{Answer, Script, Step, Upstream};

const MB: usize = 1_000_000;

/// What the process may grow by; see `memory`.
const GROWTH_KIB: u64 = 40 * 1024;

const IMAGE_USAGE: &str = r#"{"input_tokens":50,"input_tokens_details":{"image_tokens":40,"text_tokens":10},"output_tokens":1056,"total_tokens":1106}"#;
const IMAGE_TOKENS: answers::Truth = &[
    ("input", 10),
    ("output", 0),
    ("input_image", 40),
    ("output_image", 1056),
];

/// An image of 30 MB in base64 between `start` and `end`.
fn large(kind: &str, start: &str, end: &str) -> Script {
    let length = start.len() + 30 * MB + end.len();
    vec![
        Answer::new("200 OK")
            .header("content-type", kind)
            .header("content-length", &length.to_string())
            .head(),
        Step::Send(start.into()),
        Step::Repeat(b"iVBORw0K/+".repeat(MB / 10), 30),
        Step::Send(end.into()),
    ]
}

#[test]
fn an_image_of_30_mb_passes_in_bounded_memory_and_is_counted() {
    let upstream = Upstream::start(|request| {
        if request.target == "/warm" {
            return Answer::new("200 OK").body("{}");
        }
        if request.json()["stream"] == true {
            let kind = "image_generation.completed";
            let start = format!("event: {kind}\ndata: {{\"type\":\"{kind}\",\"b64_json\":\"");
            return large(
                "text/event-stream",
                &start,
                &format!("\",\"usage\":{IMAGE_USAGE}}}\n\n"),
            );
        }
        large(
            "application/json",
            "{\"created\":1,\"data\":[{\"b64_json\":\"",
            &format!("\"}}],\"usage\":{IMAGE_USAGE}}}"),
        )
    });
    let tollgate = Tollgate::before(&upstream.base_url());
    tollgate.send(&Request::new("GET", "/warm"));
    let before = tollgate.peak_resident_kib();
    for stream in [false, true] {
        let body = json!({"model": "gpt-image-1", "prompt": "x", "stream": stream});
        let response = tollgate.send(&Request::json("/v1/images/generations", &body));
        assert!(response.whole && response.body.len() > 30 * MB);
        let row = tollgate.ledger().request(&response.request_id());
        assert_eq!(row.tokens(), IMAGE_TOKENS, "{row:#?}");
        assert_eq!(row.int("images"), None, "billed by tokens");
        assert_eq!(row.int("first_token_us").is_some(), stream, "{row:#?}");
    }
    let growth = tollgate.peak_resident_kib() - before;
    assert!(growth < GROWTH_KIB, "grew by {growth} KiB");
}

#[test]
fn images_without_tokens_are_counted_and_cost_nothing_that_is_made_up() {
    let answer = r#"{"created":1,"data":[{"url":"https://a"},{"url":"https://b"}]}"#;
    let upstream = Upstream::always(answers::json("200 OK", answer));
    let tollgate = Tollgate::before(&upstream.base_url());
    let body = json!({"model": "dall-e-2", "prompt": "x", "n": 2, "size": "512x512"});
    let response = tollgate.send(&Request::json("/v1/images/generations", &body));
    let row = tollgate.ledger().request(&response.request_id());
    assert_eq!(row.int("images"), Some(2), "{row:#?}");
    assert_eq!(row.text("usage_source"), Some("reported"));
    assert_eq!((row.int("cost_nanousd"), row.tokens()), (None, vec![]));
}

/// A form as an SDK sends it; the file comes first.
fn form(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut body =
        b"--limit\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\
        Content-Type: audio/wav\r\n\r\nRIFF\r\n--limi\r\n"
            .to_vec();
    for (name, value) in fields {
        let part = format!(
            "--limit\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
        );
        body.extend_from_slice(part.as_bytes());
    }
    body.extend_from_slice(b"--limit--\r\n");
    body
}

fn upload(target: &str, fields: &[(&str, &str)]) -> Request {
    Request::new("POST", target)
        .header("content-type", "multipart/form-data; boundary=\"limit\"")
        .body(form(fields))
}

fn one(upstream: &Upstream, request: &Request) -> Row {
    let tollgate = Tollgate::before(&upstream.base_url());
    let response = tollgate.send(request);
    assert_eq!(response.status, 200, "{response:?}");
    tollgate.ledger().request(&response.request_id())
}

#[test]
fn a_transcription_is_counted_in_tokens_or_in_time() {
    let tokens = r#"{"text":"Say","usage":{"type":"tokens","input_tokens":14,"input_token_details":{"text_tokens":4,"audio_tokens":10},"output_tokens":45,"total_tokens":59}}"#;
    let upstream = Upstream::always(answers::json("200 OK", tokens));
    let fields = [("model", "gpt-4o-transcribe"), ("user", "u-1")];
    let row = one(&upstream, &upload("/v1/audio/transcriptions", &fields));
    assert_eq!(
        row.tokens(),
        [("input", 4), ("output", 45), ("input_audio", 10)],
        "{row:#?}"
    );
    assert_eq!(row.text("requested_model"), Some("gpt-4o-transcribe"));
    assert_eq!(row.text("end_user"), Some("u-1"));

    let seconds = r#"{"text":"Say","duration":8.47,"usage":{"type":"duration","seconds":8.5}}"#;
    let upstream = Upstream::always(answers::json("200 OK", seconds));
    let request = upload("/v1/audio/transcriptions", &[("model", "whisper-1")]);
    let row = one(&upstream, &request);
    assert_eq!(row.int("audio_ms"), Some(8500), "{row:#?}");
    assert_eq!(row.text("usage_source"), Some("reported"));

    let subtitles = Answer::new("200 OK").header("content-type", "text/plain; charset=utf-8");
    let upstream = Upstream::always(subtitles.body("data: usage\n\n"));
    let fields = [("model", "whisper-1"), ("response_format", "srt")];
    let row = one(&upstream, &upload("/v1/audio/transcriptions", &fields));
    assert_eq!(row.text("usage_source"), Some("missing"), "{row:#?}");
    assert_eq!(row.outcome(), "ok");
}

#[test]
fn speech_is_counted_in_the_requests_characters_where_no_tokens_are_stated() {
    let sound = Answer::new("200 OK").header("content-type", "audio/mpeg");
    let upstream = Upstream::always(sound.body([0xFF, 0xF3, b'{', b'\n']));
    let body = json!({"model": "tts-1", "voice": "alloy", "input": "Grüß dich! 🚦"});
    let row = one(&upstream, &Request::json("/v1/audio/speech", &body));
    assert_eq!(row.int("characters"), Some(12), "{row:#?}");
    assert_eq!(row.text("usage_source"), Some("estimated"));

    let events = [
        "data: {\"type\":\"speech.audio.delta\",\"audio\":\"UklGRg==\"}\n\n".to_owned(),
        "data: {\"type\":\"speech.audio.done\",\"usage\":{\"input_tokens\":14,\"output_tokens\":101,\"total_tokens\":115}}\n\n".to_owned(),
    ];
    let upstream = Upstream::always(answers::stream(&events));
    let body = json!({"model": "gpt-4o-mini-tts", "input": "x", "stream_format": "sse"});
    let row = one(&upstream, &Request::json("/v1/audio/speech", &body));
    assert_eq!(
        row.tokens(),
        [("input", 14), ("output", 0), ("output_audio", 101)],
        "{row:#?}"
    );
    assert_eq!((row.int("characters"), row.int("stream")), (None, Some(1)));

    let refused = answers::error("400 Bad Request", "invalid_request_error", "too_long");
    let upstream = Upstream::always(refused);
    let tollgate = Tollgate::before(&upstream.base_url());
    let response = tollgate.send(&Request::json("/v1/audio/speech", &body));
    let row = tollgate.ledger().request(&response.request_id());
    assert_eq!(row.text("usage_source"), Some("none"), "{row:#?}");
}

#[test]
fn moderations_are_free() {
    let answer = r#"{"id":"modr-1","model":"omni-moderation-latest","results":[]}"#;
    let upstream = Upstream::always(answers::json("200 OK", answer));
    let body = json!({"model": "omni-moderation-latest", "input": "x"});
    let row = one(&upstream, &Request::json("/v1/moderations", &body));
    assert_eq!(row.text("usage_source"), Some("none"), "{row:#?}");
}

#[test]
fn an_upload_of_50_mb_streams_in_bounded_memory_and_its_model_is_known() {
    let upstream = Upstream::always(answers::json("200 OK", "{\"text\":\"\"}"));
    let tollgate = Tollgate::before(&upstream.base_url());
    tollgate.send(&Request::new("GET", "/warm"));
    let before = tollgate.peak_resident_kib();
    let start = "--limit\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n";
    let end = "\r\n--limit\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--limit--";
    let sound: Vec<u8> = (0..=255).cycle().take(MB).collect();
    let mut connection = Connection::open(tollgate.address());
    let request = Request::new("POST", "/v1/audio/transcriptions")
        .header("content-type", "multipart/form-data; boundary=limit")
        .header("transfer-encoding", "chunked");
    connection.write(&request.head_bytes()).unwrap();
    connection.write(&chunks([start.as_bytes()])).unwrap();
    upstream.until("the beginning arrived", |received| {
        received
            .last()
            .is_some_and(|request| request.body == start.as_bytes())
    });
    for _ in 0..50 {
        connection.write(&chunks([&sound[..]])).unwrap();
    }
    connection.write(&chunks([end.as_bytes()])).unwrap();
    connection.write(b"0\r\n\r\n").unwrap();
    let response = connection.incoming("POST").finish();
    assert_eq!(response.status, 200, "{response:?}");
    let growth = tollgate.peak_resident_kib() - before;
    assert!(growth < GROWTH_KIB, "grew by {growth} KiB");
    let row = tollgate.ledger().request(&response.request_id());
    assert_eq!(row.text("requested_model"), Some("whisper-1"), "{row:#?}");
    let sent = start.len() + 50 * MB + end.len();
    assert_eq!(row.int("request_bytes"), Some(i64::try_from(sent).unwrap()));
    assert_eq!(upstream.received().pop().unwrap().body.len(), sent);
}

#[test]
fn an_upload_that_is_refused_says_what_it_asked_for() {
    let upstream = Upstream::always(answers::error(
        "400 Bad Request",
        "invalid_request_error",
        "bad_file",
    ));
    let request = upload("/v1/images/edits", &[("model", "gpt-image-1"), ("n", "2")]);
    let tollgate = Tollgate::before(&upstream.base_url());
    let response = tollgate.send(&request);
    assert_eq!(response.status, 400);
    let row = tollgate.ledger().request(&response.request_id());
    assert_eq!(row.text("requested_model"), Some("gpt-image-1"), "{row:#?}");
    assert_eq!(row.text("api"), Some("images"));
}
