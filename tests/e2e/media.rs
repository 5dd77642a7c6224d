//! Images, sound and uploads: they are large, and memory stays bounded.

use serde_json::json;

use crate::support::answers;
use crate::support::client::{Connection, Request};
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
