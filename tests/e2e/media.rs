//! Images, sound and uploads: they are large, and memory stays bounded; and the official clients on
//! everything that is no text.

use serde_json::{Value, json};

use crate::exchange::exchanges;
use crate::golden;
use crate::support::answers;
use crate::support::client::{Connection, Request};
use crate::support::clients::{self, Call, Mock};
use crate::support::message::chunks;
use crate::support::tollgate::{Setup, Tollgate};
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

/// One call of an SDK: its method, the recorded answer it gets (or what the mock is told), how, and
/// what its row says.
#[derive(Clone, Copy)]
struct Kind {
    upstream: &'static str,
    method: &'static str,
    case: &'static str,
    model: &'static str,
    stream: bool,
    how: &'static str,
    source: &'static str,
    tokens: Option<i64>,
}

const fn recorded(
    method: &'static str,
    case: &'static str,
    source: &'static str,
    tokens: Option<i64>,
) -> Kind {
    Kind {
        upstream: "recorded",
        method,
        case,
        model: "gpt-x",
        stream: false,
        how: "parsed",
        source,
        tokens,
    }
}

const fn mocked(
    method: &'static str,
    model: &'static str,
    source: &'static str,
    tokens: Option<i64>,
) -> Kind {
    Kind {
        upstream: "mock",
        model,
        ..recorded(method, "a fox", source, tokens)
    }
}

const fn streamed(kind: Kind) -> Kind {
    Kind {
        stream: true,
        ..kind
    }
}

const fn formatted(how: &'static str, kind: Kind) -> Kind {
    Kind { how, ..kind }
}

const KINDS: &[Kind] = &[
    recorded("images.generate", "images-whole", "reported", Some(1106)),
    recorded("images.generate", "images-counted", "reported", None),
    recorded("images.generate", "images-refused", "none", None),
    streamed(recorded(
        "images.generate",
        "images-stream",
        "reported",
        Some(1106),
    )),
    streamed(recorded(
        "images.edit",
        "images-edit-stream",
        "reported",
        Some(1106),
    )),
    recorded(
        "transcriptions",
        "audio-transcription-tokens",
        "reported",
        Some(59),
    ),
    recorded(
        "transcriptions",
        "audio-transcription-seconds",
        "reported",
        None,
    ),
    formatted(
        "verbose_json",
        recorded(
            "transcriptions",
            "audio-transcription-verbose",
            "reported",
            None,
        ),
    ),
    formatted(
        "srt",
        recorded(
            "transcriptions",
            "audio-transcription-subtitles",
            "missing",
            None,
        ),
    ),
    streamed(recorded(
        "transcriptions",
        "audio-transcription-stream",
        "reported",
        Some(59),
    )),
    recorded("translations", "audio-translation", "missing", None),
    recorded("speech", "audio-speech", "estimated", None),
    recorded("moderations", "moderations-whole", "none", None),
    recorded("batches.create", "batches-1-made", "none", None),
    recorded("batches.list", "batches-3-listed", "none", None),
    recorded("batches.retrieve", "batches-2-pending", "none", None),
    recorded(
        "batches.retrieve",
        "batches-4-completed",
        "reported",
        Some(1400),
    ),
    recorded(
        "batches.retrieve",
        "batches-5-completed-again",
        "none",
        None,
    ),
    recorded(
        "responses.create",
        "responses-background-1-made",
        "missing",
        None,
    ),
    recorded(
        "responses.retrieve",
        "responses-background-2-pending",
        "none",
        None,
    ),
    streamed(recorded(
        "responses.retrieve",
        "responses-background-5-streamed-again",
        "reported",
        Some(1400),
    )),
    recorded(
        "responses.retrieve",
        "responses-background-3-fetched",
        "none",
        None,
    ),
    recorded(
        "responses.cancel",
        "responses-background-cancelled",
        "none",
        None,
    ),
    mocked("images.generate", "gpt-image-1", "reported", None),
    mocked("images.edit", "gpt-image-1", "reported", None),
    mocked("transcriptions", "gpt-4o-transcribe", "reported", Some(59)),
    streamed(mocked(
        "transcriptions",
        "gpt-4o-transcribe",
        "reported",
        Some(59),
    )),
    mocked("translations", "whisper-1", "missing", None),
    mocked("speech", "tts-1", "estimated", None),
    mocked("moderations", "omni-moderation-latest", "none", None),
    mocked("files", "", "none", None),
    mocked("batches.create", "", "none", None),
];

/// What a caller saw, without what is the clock's.
fn timeless(mut seen: Value) -> Value {
    match &mut seen {
        Value::Object(members) => {
            members.retain(|name, _| {
                name != "n" && !name.starts_with("created") && !name.ends_with("_at")
            });
            for value in members.values_mut() {
                *value = timeless(value.take());
            }
        }
        Value::Array(values) => {
            for value in values {
                *value = timeless(value.take());
            }
        }
        _ => {}
    }
    seen
}

#[test]
fn the_official_clients_see_what_a_direct_call_sees() {
    if clients::left_out() {
        return;
    }
    let cases = exchanges();
    let upstream = Upstream::start(move |request| {
        let name = request.headers.get(golden::CASE).unwrap();
        golden::script(cases.iter().find(|case| case.name == name).unwrap())
    });
    let mock = Mock::start();
    for client in [clients::python_media, clients::javascript_media] {
        let tollgate = Setup::channels(&[
            ("recorded", &upstream.base_url(), ""),
            ("mock", mock.base_url(), ""),
        ])
        .start();
        let through = |channel: &str| format!("http://{}/c/{channel}/v1", tollgate.address());
        let bases = [
            ("recorded", upstream.base_url()),
            ("mock", mock.base_url().to_owned()),
            ("recorded-through", through("recorded")),
            ("mock-through", through("mock")),
        ];
        let call = |n, kind: &Kind, channel| Call {
            n,
            channel,
            api: kind.method,
            model: kind.model,
            prompt: kind.case,
            stream: kind.stream,
            include_usage: None,
            how: kind.how,
        };
        let calls: Vec<Call> = KINDS
            .iter()
            .enumerate()
            .flat_map(|(n, kind)| {
                let through = if kind.upstream == "mock" {
                    "mock-through"
                } else {
                    "recorded-through"
                };
                [
                    call(2 * n, kind, kind.upstream),
                    call(2 * n + 1, kind, through),
                ]
            })
            .collect();
        let mut seen = client(&bases, &calls);
        let rows = tollgate.ledger().exactly(KINDS.len());
        // What brings a usage that was awaited has the tags of what made it.
        let (settling, rows): (Vec<_>, Vec<_>) = rows
            .into_iter()
            .partition(|row| row.text("deferral") == Some("settled"));
        let mut settling = settling.iter();
        for (n, kind) in KINDS.iter().enumerate() {
            let tag = (2 * n + 1).to_string();
            let row = rows
                .iter()
                .find(|row| row.json("tags")["n"] == tag.as_str());
            let row = row.or_else(|| settling.next()).unwrap();
            let context = format!("{} {}: {row:#?}", kind.method, kind.case);
            let direct = timeless(seen.remove(&(2 * n)).unwrap());
            let through = timeless(seen.remove(&(2 * n + 1)).unwrap());
            assert_eq!(direct, through, "{context}");
            let refused = kind.case == "images-refused";
            assert_eq!(through["error"].is_null(), !refused, "{through} {context}");
            assert_eq!(row.text("usage_source"), Some(kind.source), "{context}");
            assert_eq!(row.int("total_tokens"), kind.tokens, "{context}");
            let named = ["batches", "files", "responses.retrieve", "responses.cancel"];
            if !named.iter().any(|method| kind.method.starts_with(method)) {
                assert_eq!(row.text("requested_model"), Some(kind.model), "{context}");
            }
        }
    }
}
