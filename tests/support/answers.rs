//! Answers in the exact bytes of a provider, with token details that the mock does not send, and
//! what they mean. Shapes after the API reference of OpenAI, as summed up for each kind of usage.

use std::io::{Read, Write};

use serde_json::Value;

use super::upstream::{Answer, Received, Script, Step, chunk, last_chunk};

/// Known token counts by type: what a row must say, no more and no less.
pub(crate) type Truth = &'static [(&'static str, i64)];

/// The usage of [`chat`], streamed or not: every detail there is.
pub(crate) const CHAT_USAGE: &str = r#"{"prompt_tokens":100,"completion_tokens":50,"total_tokens":150,"prompt_tokens_details":{"cached_tokens":30,"cache_write_tokens":10,"audio_tokens":5,"image_tokens":6,"text_tokens":49},"completion_tokens_details":{"reasoning_tokens":20,"audio_tokens":4,"text_tokens":26,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}"#;
/// [`CHAT_USAGE`] in disjoint types: the details are parts of their totals.
pub(crate) const CHAT_TOKENS: Truth = &[
    ("input", 49),
    ("input_cached", 30),
    ("input_cache_write", 10),
    ("output", 26),
    ("reasoning", 20),
    ("input_audio", 5),
    ("output_audio", 4),
    ("input_image", 6),
];

const RESPONSES_USAGE: &str = r#"{"input_tokens":200,"input_tokens_details":{"cached_tokens":64,"cache_write_tokens":16},"output_tokens":80,"output_tokens_details":{"reasoning_tokens":32},"total_tokens":280}"#;
/// The usage of [`responses`] in disjoint types.
pub(crate) const RESPONSES_TOKENS: Truth = &[
    ("input", 120),
    ("input_cached", 64),
    ("input_cache_write", 16),
    ("output", 48),
    ("reasoning", 32),
];

const COMPLETIONS_USAGE: &str = r#"{"prompt_tokens":8,"completion_tokens":5,"total_tokens":13}"#;
/// The usage of [`completions`].
pub(crate) const COMPLETIONS_TOKENS: Truth = &[("input", 8), ("output", 5)];

/// The usage of [`embeddings`].
pub(crate) const EMBEDDINGS_TOKENS: Truth = &[("input", 6)];

/// The model that answers, whatever was asked for.
pub(crate) const SERVED_MODEL: &str = "gpt-5-mini-2025-08-07";
/// The tier that answers.
pub(crate) const SERVED_TIER: &str = "default";
/// The provider's id of every request.
pub(crate) const UPSTREAM_REQUEST_ID: &str = "req_0123456789abcdef";

/// What a client reads of [`provider`]'s answer to a Chat Completions request, streamed or not, that
/// did not ask for usage.
pub(crate) fn chat_as_read(stream: bool) -> String {
    if stream {
        chat_stream(false).concat()
    } else {
        chat()
    }
}

/// A Chat Completions answer.
pub(crate) fn chat() -> String {
    format!(
        r#"{{
  "id": "chatcmpl-S", "object": "chat.completion", "created": 1700000000, "model": "{SERVED_MODEL}",
  "choices": [{{"index": 0, "message": {{"role": "assistant", "content": "The \"usage\": {{\"prompt_tokens\": 999}} in this text is no usage.", "refusal": null}}, "logprobs": null, "finish_reason": "stop"}}],
  "usage": {CHAT_USAGE},
  "service_tier": "{SERVED_TIER}", "system_fingerprint": "fp_1"
}}
"#
    )
}

/// A Chat Completions stream, event by event; with `include_usage` as the provider sends it then.
pub(crate) fn chat_stream(include_usage: bool) -> Vec<String> {
    let null = if include_usage {
        r#","usage":null"#
    } else {
        ""
    };
    let event = |choices: &str, usage: &str| {
        format!(
            "data: {{\"id\":\"chatcmpl-S\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"{SERVED_MODEL}\",\"service_tier\":\"{SERVED_TIER}\",\"system_fingerprint\":\"fp_1\",\"choices\":{choices}{usage},\"obfuscation\":\"x7Yz\"}}\n\n"
        )
    };
    let delta = |delta: &str, finish: &str| {
        event(
            &format!(r#"[{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{finish}}}]"#),
            null,
        )
    };
    let mut events = vec![
        event("[]", null),
        delta(
            r#"{"role":"assistant","content":"","refusal":null}"#,
            "null",
        ),
        delta(r#"{"content":"Hello"}"#, "null"),
        delta(r#"{"content":", \"usage\":null wörld 🚦"}"#, "null"),
        delta("{}", r#""stop""#),
    ];
    if include_usage {
        events.push(event("[]", &format!(r#","usage":{CHAT_USAGE}"#)));
    }
    events.push("data: [DONE]\n\n".to_owned());
    events
}

/// A Completions answer.
pub(crate) fn completions() -> String {
    format!(
        r#"{{"id":"cmpl-S","object":"text_completion","created":1700000000,"model":"{SERVED_MODEL}","choices":[{{"text":"Once upon","index":0,"logprobs":null,"finish_reason":"stop"}}],"usage":{COMPLETIONS_USAGE}}}"#
    )
}

/// A Completions stream, event by event.
pub(crate) fn completions_stream(include_usage: bool) -> Vec<String> {
    let null = if include_usage {
        r#","usage":null"#
    } else {
        ""
    };
    let event = |choices: &str, usage: &str| {
        format!(
            "data: {{\"id\":\"cmpl-S\",\"object\":\"text_completion\",\"created\":1700000000,\"choices\":{choices},\"model\":\"{SERVED_MODEL}\"{usage}}}\n\n"
        )
    };
    let text = |text: &str, finish: &str| {
        event(
            &format!(r#"[{{"text":"{text}","index":0,"logprobs":null,"finish_reason":{finish}}}]"#),
            null,
        )
    };
    let mut events = vec![
        text("Once", "null"),
        text(" upon", "null"),
        text("", r#""stop""#),
    ];
    if include_usage {
        events.push(event("[]", &format!(r#","usage":{COMPLETIONS_USAGE}"#)));
    }
    events.push("data: [DONE]\n\n".to_owned());
    events
}

fn response(status: &str, tier: &str, output: &str, usage: &str) -> String {
    format!(
        r#"{{"id":"resp_S","object":"response","created_at":1700000000,"status":"{status}","error":null,"model":"{SERVED_MODEL}","output":{output},"service_tier":"{tier}","usage":{usage},"user":null,"metadata":{{}}}}"#
    )
}

const OUTPUT: &str = r#"[{"type":"message","id":"msg_S","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Hello, wörld","annotations":[],"logprobs":[]}]}]"#;

/// A Responses answer.
pub(crate) fn responses() -> String {
    response("completed", SERVED_TIER, OUTPUT, RESPONSES_USAGE)
}

/// A Responses stream, event by event. The early tier is not the one that is billed.
pub(crate) fn responses_stream() -> Vec<String> {
    let event = |kind: &str, members: &str| {
        format!("event: {kind}\ndata: {{\"type\":\"{kind}\",{members}}}\n\n")
    };
    let early = response("in_progress", "auto", "[]", "null");
    let delta = |number: u32, text: &str| {
        let members = format!(
            r#""sequence_number":{number},"item_id":"msg_S","output_index":0,"content_index":0,"delta":"{text}","logprobs":[]"#
        );
        event("response.output_text.delta", &members)
    };
    vec![
        event(
            "response.created",
            &format!(r#""sequence_number":0,"response":{early}"#),
        ),
        event(
            "response.in_progress",
            &format!(r#""sequence_number":1,"response":{early}"#),
        ),
        delta(2, "Hello"),
        delta(3, ", wörld"),
        event(
            "response.completed",
            &format!(r#""sequence_number":4,"response":{}"#, responses()),
        ),
    ]
}

/// A Responses stream that fails inside a 200.
pub(crate) fn responses_stream_failed() -> Vec<String> {
    let mut events = responses_stream();
    let failed = response("failed", SERVED_TIER, "[]", "null").replace(
        r#""error":null"#,
        r#""error":{"code":"server_error","message":"The model failed."}"#,
    );
    events.pop();
    events.push(format!(
        "event: response.failed\ndata: {{\"type\":\"response.failed\",\"sequence_number\":4,\"response\":{failed}}}\n\n"
    ));
    events
}

/// An Embeddings answer.
pub(crate) fn embeddings() -> String {
    format!(
        r#"{{"object":"list","data":[{{"object":"embedding","index":0,"embedding":[0.5,-0.25]}}],"model":"{SERVED_MODEL}","usage":{{"prompt_tokens":6,"total_tokens":6}}}}"#
    )
}

/// `bytes` in that content coding (RFC 9110, section 8.4.1, and its registry).
pub(crate) fn compress(coding: &str, bytes: &[u8]) -> Vec<u8> {
    match coding {
        "gzip" => {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        // The coding named `deflate` is the zlib format.
        "deflate" => {
            let mut encoder =
                flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        "br" => {
            let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 22);
            encoder.write_all(bytes).unwrap();
            encoder.into_inner()
        }
        "zstd" => zstd::encode_all(bytes, 3).unwrap(),
        other => panic!("no coding {other}"),
    }
}

/// What [`compress`] made, as text again.
pub(crate) fn decompress(coding: &str, bytes: &[u8]) -> String {
    let mut text = String::new();
    match coding {
        "gzip" => flate2::read::GzDecoder::new(bytes).read_to_string(&mut text),
        "br" => brotli::Decompressor::new(bytes, 4096).read_to_string(&mut text),
        "zstd" => zstd::Decoder::new(bytes).unwrap().read_to_string(&mut text),
        other => panic!("no coding {other}"),
    }
    .unwrap();
    text
}

fn head(status: &str, kind: &str) -> Answer {
    Answer::new(status)
        .header("content-type", kind)
        .header("x-request-id", UPSTREAM_REQUEST_ID)
        .header("openai-processing-ms", "12")
        .header("x-ratelimit-remaining-requests", "59")
}

/// A JSON answer.
pub(crate) fn json(status: &str, body: &str) -> Script {
    head(status, "application/json").body(body)
}

/// The head of an event stream; its [`chunk`]s follow.
pub(crate) fn open_stream() -> Script {
    head("200 OK", "text/event-stream; charset=utf-8").open_chunked()
}

/// An event stream, one chunk an event.
pub(crate) fn stream(events: &[String]) -> Script {
    let mut script = open_stream();
    script.extend(events.iter().map(|event| chunk(event.as_bytes())));
    script.push(last_chunk());
    script
}

/// An answer in a content coding, chunked, cut into pieces of seven bytes.
pub(crate) fn coded(coding: &str, kind: &str, body: &[u8]) -> Script {
    let bytes = compress(coding, body);
    head("200 OK", kind)
        .header("content-encoding", coding)
        .chunked(bytes.chunks(7))
}

/// An error in the shape of OpenAI's.
pub(crate) fn error(status: &str, kind: &str, code: &str) -> Script {
    let body = format!(
        r#"{{"error":{{"message":"Scripted failure.","type":"{kind}","param":null,"code":"{code}"}}}}"#
    );
    json(status, &body)
}

/// A small provider: answers by path and by what the body asks, as OpenAI would; the prompt names
/// special treatment: a content coding, `hold` (a stream that never ends), `cut` (one that breaks
/// off), `fail`.
pub(crate) fn provider(request: &Received) -> Script {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let asked = body["stream_options"]["include_usage"] == Value::Bool(true);
    let streaming = body["stream"] == Value::Bool(true);
    let path = request.target.split('?').next().unwrap_or_default();
    let (whole, events) = match path.trim_start_matches("/v1/") {
        "chat/completions" => (chat(), chat_stream(asked)),
        "responses" => (responses(), responses_stream()),
        "completions" => (completions(), completions_stream(asked)),
        "embeddings" => (embeddings(), Vec::new()),
        _ => return error("404 Not Found", "invalid_request_error", "unknown_url"),
    };
    let (kind, whole) = if streaming {
        ("text/event-stream; charset=utf-8", events.concat())
    } else {
        ("application/json", whole)
    };
    let prompt = prompt(&body);
    match (prompt.as_str(), streaming) {
        ("gzip" | "deflate" | "br" | "zstd", _) => coded(&prompt, kind, whole.as_bytes()),
        ("fail", _) => error(
            "500 Internal Server Error",
            "server_error",
            "internal_error",
        ),
        ("hold", true) => begin(&events, [Step::Hang]),
        ("cut", true) => begin(&events, [Step::Close]),
        (_, true) => stream(&events),
        (_, false) => json("200 OK", &whole),
    }
}

/// How many events [`begin`] takes: content is among them, usage is not.
pub(crate) const BEGINNING: usize = 3;

/// The first events of a stream and how it goes on.
pub(crate) fn begin(events: &[String], end: [Step; 1]) -> Script {
    let mut script = open_stream();
    let first = events.iter().take(BEGINNING);
    script.extend(first.map(|event| chunk(event.as_bytes())));
    script.extend(end);
    script
}

fn prompt(body: &Value) -> String {
    let places = [
        &body["messages"][0]["content"],
        &body["input"],
        &body["prompt"],
    ];
    let texts = places.into_iter().filter_map(Value::as_str);
    texts.collect()
}
