//! Answers as providers send them.

use std::fmt::Write;

/// How a provider writes its stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    pub(super) eol: &'static str,
    /// Spaces after colons and commas.
    pub(super) spaced: bool,
    pub(super) comments: bool,
}

pub(super) const STYLES: &[Style] = &[
    Style {
        eol: "\n",
        spaced: false,
        comments: false,
    },
    Style {
        eol: "\r\n",
        spaced: true,
        comments: true,
    },
    Style {
        eol: "\r",
        spaced: true,
        comments: false,
    },
    Style {
        eol: "\n",
        spaced: true,
        comments: true,
    },
];

/// A Chat stream, as asked for with or without `include_usage`.
pub(super) fn chat_stream(style: Style, include_usage: bool) -> String {
    let comma = if style.spaced { ", " } else { "," };
    let colon = if style.spaced { ": " } else { ":" };
    let null = |place: usize| match (include_usage, place) {
        (false, _) => String::new(),
        (true, 0) => format!("\"usage\"{colon}null{comma}"),
        (true, _) => format!("{comma}\"usage\"{colon}null"),
    };
    let chunk = |choices: &str, place: usize, usage: Option<&str>| {
        let mut parts = vec![
            format!("\"id\"{colon}\"chatcmpl-9\""),
            format!("\"object\"{colon}\"chat.completion.chunk\""),
            format!("\"model\"{colon}\"gpt-5.1-2025-11-13\""),
            format!("\"service_tier\"{colon}\"default\""),
            format!("\"choices\"{colon}{choices}"),
        ];
        parts.extend(usage.map(|usage| format!("\"usage\"{colon}{usage}")));
        let nulled = usage.is_none();
        match place {
            0 if nulled => format!("{{{}{}}}", null(0), parts.join(comma)),
            middle if middle < parts.len() && nulled => format!(
                "{{{}{}{comma}{}}}",
                parts[..middle].join(comma),
                null(middle),
                parts[middle..].join(comma)
            ),
            last if nulled => format!("{{{}{}}}", parts.join(comma), null(last)),
            _ => format!("{{{}}}", parts.join(comma)),
        }
    };
    let mut payloads = vec![
        // Azure opens with a chunk without choices, which is not the usage chunk.
        format!(
            "{{\"choices\"{colon}[]{comma}\"id\"{colon}\"\"{comma}\"model\"{colon}\"\"{comma}\"prompt_filter_results\"{colon}[{{\"prompt_index\":0}}]{}}}",
            null(9)
        ),
        chunk(
            r#"[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"finish_reason":null}]"#,
            9,
            None,
        ),
        chunk(
            r#"[{"index":0,"delta":{"content":"Grüß \"usage\":null,"}}]"#,
            9,
            None,
        ),
        chunk(
            r#"[{"index":0,"delta":{"content":"\\\"usage\\\":{\"x\":1}\n\n"}}]"#,
            0,
            None,
        ),
        chunk(
            r#"[{"index":0,"delta":{"content":" 😀\ud83d\ude00"},"finish_reason":null}]"#,
            2,
            None,
        ),
        chunk(
            r#"[{"index":0,"delta":{},"finish_reason":"stop"}]"#,
            9,
            None,
        ),
    ];
    if include_usage {
        payloads.push(chunk("[]", 9, Some(CHAT_USAGE)));
    }
    payloads.push("[DONE]".to_owned());
    let eol = style.eol;
    let mut stream = String::new();
    if style.comments {
        let _ = write!(stream, "retry: 100{eol}: hello{eol}{eol}");
    }
    for payload in payloads {
        let _ = write!(stream, "data: {payload}{eol}{eol}");
        if style.comments && payload.contains("😀") {
            let _ = write!(stream, ": keep-alive{eol}{eol}");
        }
    }
    stream
}

pub(super) const CHAT_USAGE: &str = r#"{"prompt_tokens":2006,"completion_tokens":300,"total_tokens":2306,"prompt_tokens_details":{"cached_tokens":1920,"audio_tokens":6},"completion_tokens_details":{"reasoning_tokens":192,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":3}}"#;

pub(super) fn chat_answer() -> String {
    format!(
        r#"{{"id":"chatcmpl-1","object":"chat.completion","created":1741569952,"model":"gpt-5.1","choices":[{{"index":0,"message":{{"role":"assistant","content":"{{\"usage\":{{\"prompt_tokens\":1}}}} \\","annotations":[]}},"logprobs":null,"finish_reason":"stop"}}],"usage":{CHAT_USAGE},"service_tier":"default","system_fingerprint":null}}"#
    )
}

pub(super) fn completions_stream() -> String {
    let chunk = |text: &str, usage: &str| {
        format!(
            "data: {{\"id\":\"cmpl-1\",\"object\":\"text_completion\",\"model\":\"gpt-3.5-turbo-instruct\",\"choices\":[{text}],\"usage\":{usage}}}\n\n"
        )
    };
    [
        chunk(r#"{"text":"","index":0}"#, "null"),
        chunk(r#"{"text":"Hi","index":0}"#, "null"),
        chunk(
            "",
            r#"{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12}"#,
        ),
        "data: [DONE]\n\n".into(),
    ]
    .concat()
}

pub(super) fn embeddings_answer(vectors: usize) -> String {
    let vector = "[-0.0069292834,0.0023064255,-1.1e-3]";
    let data: Vec<String> = (0..vectors)
        .map(|index| format!(r#"{{"object":"embedding","index":{index},"embedding":{vector}}}"#))
        .collect();
    format!(
        r#"{{"object":"list","data":[{}],"model":"text-embedding-3-small","usage":{{"prompt_tokens":8,"total_tokens":8}}}}"#,
        data.join(",")
    )
}

pub(super) const RESPONSES_USAGE: &str = r#"{"input_tokens":36,"input_tokens_details":{"cached_tokens":6},"output_tokens":87,"output_tokens_details":{"reasoning_tokens":64},"total_tokens":123}"#;

/// A response object with `padding` bytes of output.
pub(super) fn response(status: &str, usage: &str, padding: usize) -> String {
    let error = if status == "failed" {
        r#"{"code":"server_error","message":"The model failed."}"#
    } else {
        "null"
    };
    format!(
        r#"{{"id":"resp_67c","object":"response","created_at":1741476777,"status":"{status}","error":{error},"model":"gpt-5-codex","output":[{{"type":"message","content":[{{"type":"output_text","text":"{}"}}]}}],"service_tier":"{}","usage":{usage}}}"#,
        "\\n\\\"x\\\" ".repeat(padding / 9),
        if status == "in_progress" {
            "auto"
        } else {
            "priority"
        },
    )
}

/// A Responses stream that ends with `response.<ending>`.
pub(super) fn responses_stream(ending: &str, usage: &str, padding: usize) -> String {
    let event = |kind: &str, members: &str| {
        format!("event: {kind}\ndata: {{\"type\":\"{kind}\",\"sequence_number\":1,{members}}}\n\n")
    };
    let whole = |kind: &str, status: &str, usage: &str, padding: usize| {
        event(
            kind,
            &format!("\"response\":{}", response(status, usage, padding)),
        )
    };
    [
        whole("response.created", "in_progress", "null", 0),
        whole("response.in_progress", "in_progress", "null", 0),
        event(
            "response.output_item.added",
            r#""output_index":0,"item":{"type":"message","status":"in_progress","content":[]}"#,
        ),
        event("response.output_text.delta", r#""item_id":"m","delta":"""#),
        event(
            "response.output_text.delta",
            r#""item_id":"m","delta":"say \"response\" or \"error\"","obfuscation":"xx""#,
        ),
        event(
            "response.output_text.done",
            r#""item_id":"m","text":"error""#,
        ),
        whole(&format!("response.{ending}"), ending, usage, padding),
    ]
    .concat()
}
