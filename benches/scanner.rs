//! What reading an answer or a request costs. `cargo bench --bench scanner`.

use std::fmt::Write;
use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tollgate::protocol::{
    Operation, ResponseKind, ResponseMeter, UsageStripper, inject_include_usage, read_request,
};
use tollgate::record::Api;

const JSON: ResponseKind<'static> = ResponseKind {
    status: 200,
    content_type: Some("application/json"),
    content_encoding: None,
};
const EVENTS: ResponseKind<'static> = ResponseKind {
    status: 200,
    content_type: Some("text/event-stream"),
    content_encoding: None,
};

const USAGE: &str = r#"{"prompt_tokens":2006,"completion_tokens":300,"total_tokens":2306,"prompt_tokens_details":{"cached_tokens":1920,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":192,"audio_tokens":0}}"#;

/// A Chat stream of 200 chunks, `null` usage in each when it was asked for.
fn chat_stream(include_usage: bool) -> Vec<u8> {
    let null = if include_usage { ",\"usage\":null" } else { "" };
    let chunk = |choices: &str, usage: &str| {
        format!(
            "data: {{\"id\":\"chatcmpl-BPdHVbXWlHmvsfm2rGLpYXlvEAzjS\",\"object\":\"chat.completion.chunk\",\"created\":1745490189,\"model\":\"gpt-5.1-2025-11-13\",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_b376dfbbd5\",\"choices\":[{choices}]{usage},\"obfuscation\":\"kM3Lo\"}}\n\n"
        )
    };
    let mut stream = String::new();
    for _ in 0..200 {
        stream += &chunk(
            r#"{"index":0,"delta":{"content":" and\n"},"logprobs":null,"finish_reason":null}"#,
            null,
        );
    }
    if include_usage {
        stream += &chunk("", &format!(",\"usage\":{USAGE}"));
    }
    stream += "data: [DONE]\n\n";
    stream.into_bytes()
}

/// A Responses stream: named delta events, then one large final event.
fn responses_stream() -> Vec<u8> {
    let mut stream = String::new();
    for number in 0..200 {
        let _ = write!(
            stream,
            "event: response.output_text.delta\ndata: {{\"type\":\"response.output_text.delta\",\"sequence_number\":{number},\"item_id\":\"msg_68af4030baa48193b0b43b4c2a176a1a\",\"output_index\":0,\"content_index\":0,\"delta\":\" and\",\"logprobs\":[],\"obfuscation\":\"Aqpz9lZ4\"}}\n\n"
        );
    }
    let text = "All work and no play.\\n".repeat(300);
    let _ = write!(
        stream,
        "event: response.completed\ndata: {{\"type\":\"response.completed\",\"response\":{{\"id\":\"resp_1\",\"status\":\"completed\",\"model\":\"gpt-5\",\"output\":[{{\"content\":[{{\"text\":\"{text}\"}}]}}],\"usage\":{{\"input_tokens\":37,\"output_tokens\":11,\"total_tokens\":48}}}}}}\n\n"
    );
    stream.into_bytes()
}

fn small_answer() -> Vec<u8> {
    format!(
        r#"{{"id":"chatcmpl-1","object":"chat.completion","created":1741569952,"model":"gpt-5.1","choices":[{{"index":0,"message":{{"role":"assistant","content":"Hello! How can I assist you today?","refusal":null,"annotations":[]}},"logprobs":null,"finish_reason":"stop"}}],"usage":{USAGE},"service_tier":"default"}}"#
    )
    .into_bytes()
}

/// One message of prose, code and quotes; megabytes of it in an answer, or many in a request.
fn prose(bytes: usize) -> String {
    let sentence =
        "The quick brown fox jumps over the lazy dog, said \\\"he\\\".\\n    let x = 1;\\n";
    sentence.repeat(bytes / sentence.len())
}

fn floats(count: usize) -> String {
    let vector = vec!["-0.0069292834"; count].join(",");
    format!("{{\"data\":[{{\"embedding\":[{vector}]}}],\"usage\":{{\"prompt_tokens\":8}}}}")
}

fn agent_request(bytes: usize) -> Vec<u8> {
    let mut body = "{\"messages\":[".to_owned();
    while body.len() < bytes {
        let _ = write!(
            body,
            "{{\"role\":\"user\",\"content\":[{{\"type\":\"text\",\"text\":\"{}\"}}]}},",
            prose(2000)
        );
    }
    body += r#"{"role":"user","content":"go"}],"model":"gpt-5.1","stream":true}"#;
    body.into_bytes()
}

fn meter(api: Api, kind: ResponseKind<'_>, fragments: &[Bytes]) -> bool {
    let mut meter = ResponseMeter::new(api, Operation::Create, kind);
    for fragment in fragments {
        black_box(meter.feed(fragment));
    }
    meter.finish();
    meter.observed().usage.is_some()
}

/// A body in fragments as a socket delivers them.
fn fragments(body: Vec<u8>, size: usize) -> Vec<Bytes> {
    let body = Bytes::from(body);
    (0..body.len())
        .step_by(size)
        .map(|start| body.slice(start..body.len().min(start + size)))
        .collect()
}

/// Every event its own fragment.
fn events(body: &[u8]) -> Vec<Bytes> {
    String::from_utf8_lossy(body)
        .split_inclusive("\n\n")
        .map(|event| Bytes::copy_from_slice(event.as_bytes()))
        .collect()
}

fn scanner(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("scanner");
    let mut answer = |name: &str, api: Api, kind: ResponseKind<'static>, fragments: Vec<Bytes>| {
        let bytes: usize = fragments.iter().map(Bytes::len).sum();
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| meter(api, kind, black_box(&fragments)));
        });
    };
    let text = format!(
        "{{\"x\":\"{}\",\"usage\":{{\"prompt_tokens\":8}}}}",
        prose(4 << 20)
    );
    answer(
        "text that cannot matter",
        Api::Chat,
        JSON,
        fragments(text.into_bytes(), 16 << 10),
    );
    answer(
        "embedding floats",
        Api::Embeddings,
        JSON,
        fragments(floats(300_000).into_bytes(), 16 << 10),
    );
    answer(
        "small answer",
        Api::Chat,
        JSON,
        fragments(small_answer(), 16 << 10),
    );
    let (plain, asked) = (chat_stream(false), chat_stream(true));
    answer(
        "200 chunks, one fragment each",
        Api::Chat,
        EVENTS,
        events(&plain),
    );
    answer(
        "200 chunks with usage, one fragment each",
        Api::Chat,
        EVENTS,
        events(&asked),
    );
    answer(
        "200 chunks with usage, cut anywhere",
        Api::Chat,
        EVENTS,
        fragments(asked.clone(), 1000),
    );
    answer(
        "200 response events, one fragment each",
        Api::Responses,
        EVENTS,
        events(&responses_stream()),
    );

    let fragments = events(&asked);
    group.throughput(Throughput::Bytes(asked.len() as u64));
    group.bench_function("strip 200 chunks", |bencher| {
        bencher.iter(|| {
            let mut stripper = UsageStripper::new();
            for fragment in &fragments {
                black_box(stripper.feed(fragment.clone()));
            }
            stripper.finish()
        });
    });

    let request = agent_request(300_000);
    group.throughput(Throughput::Bytes(request.len() as u64));
    group.bench_function("request of 300 KB", |bencher| {
        bencher.iter(|| read_request(Api::Chat, black_box(&request)));
    });
    let facts = read_request(Api::Chat, &request);
    let small = br#"{"model":"gpt-5.1","messages":[{"role":"system","content":"You are a helpful assistant."},{"role":"user","content":"Hello! What is the capital of France, and how many people live there?"}],"temperature":0.7,"max_completion_tokens":256,"user":"user-1234","n":1}"#;
    group.throughput(Throughput::Bytes(small.len() as u64));
    group.bench_function("small request", |bencher| {
        bencher.iter(|| read_request(Api::Chat, black_box(small)));
    });
    group.throughput(Throughput::Bytes(request.len() as u64));
    group.bench_function("inject into a request of 300 KB", |bencher| {
        bencher.iter(|| inject_include_usage(black_box(&request), &facts));
    });
    group.finish();
}

criterion_group!(benches, scanner);
criterion_main!(benches);
