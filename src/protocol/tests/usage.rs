//! What each API's answers state.

use super::fixtures::*;
use super::*;
use crate::record::{TokenType, Usage, UsageSource};

fn counted(usage: Option<&Usage>) -> (Vec<(TokenType, u64)>, Option<u64>) {
    let usage = usage.unwrap();
    assert_eq!(usage.source, UsageSource::Reported);
    (usage.tokens.iter().collect(), usage.total)
}

fn chat_tokens() -> (Vec<(TokenType, u64)>, Option<u64>) {
    (
        vec![
            (TokenType::Input, 80),
            (TokenType::InputCached, 1920),
            (TokenType::Output, 108),
            (TokenType::Reasoning, 192),
            (TokenType::InputAudio, 6),
            (TokenType::OutputAudio, 0),
        ],
        Some(2306),
    )
}

#[test]
fn a_chat_answer() {
    let seen = observed(Api::Chat, JSON, chat_answer());
    assert_eq!(counted(seen.usage.as_ref()), chat_tokens());
    assert_eq!(seen.served_model.as_deref(), Some("gpt-5.1"));
    assert_eq!(seen.response_id.as_deref(), Some("chatcmpl-1"));
    assert_eq!(seen.service_tier.as_deref(), Some("default"));
    assert!(seen.terminal_seen && !seen.failed && !seen.first_content_seen);
    assert_eq!((seen.error, seen.missing_reason), (None, None));
}

#[test]
fn a_chat_stream_in_every_style() {
    for &style in STYLES {
        let seen = observed(Api::Chat, EVENTS, chat_stream(style, true));
        assert_eq!(counted(seen.usage.as_ref()), chat_tokens(), "{style:?}");
        assert_eq!(seen.served_model.as_deref(), Some("gpt-5.1-2025-11-13"));
        assert_eq!(seen.response_id.as_deref(), Some("chatcmpl-9"));
        assert_eq!(seen.service_tier.as_deref(), Some("default"));
        assert!(seen.terminal_seen && seen.first_content_seen && !seen.failed);

        let seen = observed(Api::Chat, EVENTS, chat_stream(style, false));
        assert_eq!(seen.usage, None);
        assert_eq!(seen.missing_reason, Some(MissingReason::NoUsageInBody));
        assert_eq!(seen.usage_or_absent().source, UsageSource::Missing);
    }
}

#[test]
fn a_completions_stream() {
    let seen = observed(Api::Completions, EVENTS, completions_stream());
    let tokens = vec![(TokenType::Input, 5), (TokenType::Output, 7)];
    assert_eq!(counted(seen.usage.as_ref()), (tokens, Some(12)));
    assert!(seen.first_content_seen && seen.terminal_seen);
}

#[test]
fn an_embeddings_answer() {
    for vectors in [0, 1, 500] {
        let seen = observed(Api::Embeddings, JSON, embeddings_answer(vectors));
        assert_eq!(
            counted(seen.usage.as_ref()),
            (vec![(TokenType::Input, 8)], Some(8))
        );
        assert_eq!(seen.served_model.as_deref(), Some("text-embedding-3-small"));
    }
    let base64 = format!(
        r#"{{"data":[{{"embedding":"{}"}}],"usage":{{"prompt_tokens":3,"total_tokens":3}}}}"#,
        "AAAA/+==".repeat(1000)
    );
    let seen = observed(Api::Embeddings, JSON, base64);
    assert_eq!(
        counted(seen.usage.as_ref()),
        (vec![(TokenType::Input, 3)], Some(3))
    );
}

fn responses_tokens() -> (Vec<(TokenType, u64)>, Option<u64>) {
    (
        vec![
            (TokenType::Input, 30),
            (TokenType::InputCached, 6),
            (TokenType::Output, 23),
            (TokenType::Reasoning, 64),
        ],
        Some(123),
    )
}

#[test]
fn a_responses_answer_and_stream() {
    let seen = observed(
        Api::Responses,
        JSON,
        response("completed", RESPONSES_USAGE, 100),
    );
    assert_eq!(counted(seen.usage.as_ref()), responses_tokens());
    assert_eq!(seen.response_id.as_deref(), Some("resp_67c"));
    for ending in ["completed", "incomplete"] {
        let stream = responses_stream(ending, RESPONSES_USAGE, 3_000_000);
        let seen = observed(Api::Responses, EVENTS, stream);
        assert_eq!(counted(seen.usage.as_ref()), responses_tokens());
        assert_eq!(seen.served_model.as_deref(), Some("gpt-5-codex"));
        // `auto` was announced first; what was billed comes last.
        assert_eq!(seen.service_tier.as_deref(), Some("priority"));
        assert!(seen.terminal_seen && seen.first_content_seen && !seen.failed);
    }
}

#[test]
fn zero_is_a_value_and_an_empty_usage_is_none() {
    let stated = r#"{"usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}}"#;
    let seen = observed(Api::Chat, JSON, stated);
    assert_eq!(
        counted(seen.usage.as_ref()),
        (vec![(TokenType::Input, 0), (TokenType::Output, 0)], Some(0))
    );
    for unstated in [
        r#"{"usage":{}}"#,
        r#"{"usage":null}"#,
        r#"{"usage":7}"#,
        "{}",
    ] {
        let seen = observed(Api::Chat, JSON, unstated);
        assert_eq!(seen.usage, None);
        assert_eq!(
            seen.missing_reason,
            Some(MissingReason::NoUsageInBody),
            "{unstated}"
        );
    }
}

#[test]
fn numbers_as_providers_write_them() {
    let body = r#"{"usage":{"prompt_tokens":"11","completion_tokens":4e0,"total_tokens":null,
        "prompt_tokens_details":null,"completion_tokens_details":{"reasoning_tokens":2.0}}}"#;
    let seen = observed(Api::Chat, JSON, body);
    let tokens = vec![
        (TokenType::Input, 11),
        (TokenType::Output, 2),
        (TokenType::Reasoning, 2),
    ];
    assert_eq!(counted(seen.usage.as_ref()), (tokens, Some(15)));
}

#[test]
fn a_number_that_is_none_leaves_no_usage() {
    for usage in [
        r#""prompt_tokens":11,"completion_tokens":-4"#,
        r#""prompt_tokens":1e400,"completion_tokens":4"#,
        r#""prompt_tokens":11,"completion_tokens":{}"#,
        r#""prompt_tokens":11,"completion_tokens":{"n":4}"#,
        r#""prompt_tokens":11,"completion_tokens":4,"total_tokens":[15]"#,
        r#""prompt_tokens":11,"completion_tokens":4,"total_tokens":true"#,
        r#""prompt_tokens":11,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":-9}"#,
    ] {
        let body = format!(r#"{{"choices":[],"usage":{{{usage}}}}}"#);
        let seen = observed(Api::Chat, JSON, &body);
        let malformed = (None, Some(MissingReason::Malformed));
        assert_eq!((seen.usage, seen.missing_reason), malformed, "{usage}");
        let stream = format!("data: {body}\n\ndata: [DONE]\n\n");
        let seen = observed(Api::Chat, EVENTS, stream);
        assert_eq!((seen.usage, seen.missing_reason), malformed, "{usage}");
    }
    // What a stream states once stays so until its end.
    let stream = "event: message_start\n\
        data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":-1,\"output_tokens\":1}}}\n\n\
        event: message_delta\n\
        data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":9}}\n\n\
        event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
    let seen = observed(Api::Messages, EVENTS, stream);
    assert_eq!(seen.missing_reason, Some(MissingReason::Malformed));
    let parts = r#"{"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":1,"promptTokensDetails":[{"modality":"AUDIO","tokenCount":"many"}]}}"#;
    let seen = observed(Api::Gemini, JSON, parts);
    assert_eq!(
        (seen.usage, seen.missing_reason),
        (None, Some(MissingReason::Malformed))
    );
}

#[test]
fn compatible_providers_state_the_cached_part_elsewhere() {
    for usage in [
        r#"{"prompt_tokens":10,"completion_tokens":1,"prompt_cache_hit_tokens":8,"prompt_cache_miss_tokens":2}"#,
        r#"{"prompt_tokens":10,"completion_tokens":1,"cached_tokens":8}"#,
        r#"{"prompt_tokens":10,"completion_tokens":1,"cached_tokens":1,"prompt_tokens_details":{"cached_tokens":8}}"#,
    ] {
        let seen = observed(Api::Chat, JSON, format!(r#"{{"usage":{usage}}}"#));
        let tokens = vec![
            (TokenType::Input, 2),
            (TokenType::InputCached, 8),
            (TokenType::Output, 1),
        ];
        assert_eq!(counted(seen.usage.as_ref()), (tokens, Some(11)));
    }
}

#[test]
fn usage_inside_a_choice_and_again_at_the_top_counts_once() {
    let stream = "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n\
        data: {\"choices\":[{\"delta\":{},\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}]}\n\n\
        data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\n\n\
        data: [DONE]\n\n";
    let seen = observed(Api::Chat, EVENTS, stream);
    let tokens = vec![(TokenType::Input, 3), (TokenType::Output, 4)];
    assert_eq!(counted(seen.usage.as_ref()), (tokens, Some(7)));
}

#[test]
fn usage_that_is_shown_again_is_not_counted_again() {
    let body = response("completed", RESPONSES_USAGE, 0);
    let mut meter = ResponseMeter::new(Api::Responses, Operation::Manage, JSON);
    meter.feed(body.as_bytes());
    meter.finish();
    assert_eq!(meter.observed().usage, None);
    assert_eq!(meter.observed().missing_reason, None);
    assert_eq!(meter.observed().response_id.as_deref(), Some("resp_67c"));
    assert_eq!(meter.observed().usage_or_absent().source, UsageSource::None);
}

#[test]
fn what_an_array_of_answers_says_before_a_fault_was_said() {
    let answer =
        r#"{"usageMetadata":{"promptTokenCount":7},"candidates":[{"finishReason":"STOP"}]}"#;
    for (body, terminal, source) in [
        (format!("[{answer}]"), true, UsageSource::Reported),
        (
            format!(" [ {answer} ,\n{answer}] "),
            true,
            UsageSource::Reported,
        ),
        (format!("[{answer}"), false, UsageSource::Reported),
        (format!("[{answer},{{\"a\":"), false, UsageSource::Reported),
        (format!("[{answer},{{]}}"), false, UsageSource::Reported),
        (
            format!("[{answer} 12 {answer}]"),
            false,
            UsageSource::Reported,
        ),
        (
            format!("[{answer}] [{{\"usageMetadata\":{{\"promptTokenCount\":9}}}}]"),
            true,
            UsageSource::Reported,
        ),
    ] {
        let seen = observed(Api::Gemini, JSON, &body);
        assert_eq!(seen.usage.unwrap().total, Some(7), "{body}");
        assert_eq!(seen.usage.unwrap().source, source, "{body}");
        assert_eq!(seen.terminal_seen, terminal, "{body}");
    }
    for (body, reason) in [
        ("[", MissingReason::Truncated),
        ("[]", MissingReason::NoUsageInBody),
        ("[{}", MissingReason::Truncated),
        ("[{]", MissingReason::Malformed),
        ("[[]]", MissingReason::Malformed),
        (
            "[{\"usageMetadata\":{\"promptTokenCount\":",
            MissingReason::Truncated,
        ),
    ] {
        let seen = observed(Api::Gemini, JSON, body);
        assert_eq!(
            (seen.usage, seen.missing_reason),
            (None, Some(reason)),
            "{body}"
        );
    }
}

#[test]
fn apis_without_usage_miss_none() {
    let seen = observed(Api::Moderations, JSON, r#"{"id":"m","results":[]}"#);
    assert_eq!(seen.missing_reason, None);
}

#[test]
fn the_first_content_may_be_of_any_kind() {
    let content = |api, payload: &str| {
        observed(api, EVENTS, format!("data: {payload}\n\n")).first_content_seen
    };
    for delta in [
        r#"{"content":"x"}"#,
        r#"{"reasoning_content":"x","content":null}"#,
        r#"{"reasoning":"x"}"#,
        r#"{"refusal":"no"}"#,
        r#"{"tool_calls":[{"index":0,"function":{"name":"f","arguments":""}}]}"#,
        r#"{"function_call":{"name":"f"}}"#,
        r#"{"audio":{"id":"a","data":"AAA"}}"#,
    ] {
        let payload = format!(r#"{{"choices":[{{"delta":{delta}}}]}}"#);
        assert!(content(Api::Chat, &payload), "{delta}");
    }
    for delta in [
        r#"{"role":"assistant","content":""}"#,
        r#"{"content":null,"tool_calls":[ ],"function_call":{ }}"#,
        r#"{"audio":{"id":"a"}}"#,
        "{}",
    ] {
        let payload = format!(r#"{{"choices":[{{"delta":{delta}}}]}}"#);
        assert!(!content(Api::Chat, &payload), "{delta}");
    }
    for delta in [
        r#"{"type":"text_delta","text":"x"}"#,
        r#"{"type":"thinking_delta","thinking":"x"}"#,
        r#"{"type":"input_json_delta","partial_json":"{"}"#,
    ] {
        let payload = format!(r#"{{"type":"content_block_delta","index":0,"delta":{delta}}}"#);
        assert!(content(Api::Messages, &payload), "{delta}");
    }
    for part in [
        r#"{"text":"x"}"#,
        r#"{"functionCall":{"name":"f"}}"#,
        r#"{"inlineData":{"data":"AA"}}"#,
    ] {
        let payload = format!(r#"{{"candidates":[{{"content":{{"parts":[{part}]}}}}]}}"#);
        assert!(content(Api::Gemini, &payload), "{part}");
        assert!(
            observed(Api::Gemini, JSON, format!("[{payload}")).first_content_seen,
            "{part}"
        );
    }
    for kind in [
        "reasoning_summary_text",
        "function_call_arguments",
        "refusal",
        "audio",
    ] {
        let payload = format!(r#"{{"type":"response.{kind}.delta","delta":"x"}}"#);
        assert!(content(Api::Responses, &payload), "{kind}");
    }
    let added = r#"{"type":"response.output_item.added","item":{"content":"x"}}"#;
    assert!(!content(Api::Responses, added));
}
