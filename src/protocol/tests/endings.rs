//! How answers end, well and badly.

use super::fixtures::*;
use super::*;
use crate::record::UsageSource;

fn code(seen: &Observed) -> Option<&str> {
    seen.error.as_ref()?.code.as_deref()
}

fn message(seen: &Observed) -> Option<&str> {
    seen.error.as_ref()?.message.as_deref()
}

#[test]
fn a_failed_response_inside_a_200_is_a_failure() {
    let seen = observed(
        Api::Responses,
        EVENTS,
        responses_stream("failed", "null", 50),
    );
    assert!(seen.failed && seen.terminal_seen);
    assert_eq!(code(&seen), Some("server_error"));
    assert_eq!(message(&seen), Some("The model failed."));
    // It had begun to answer, so something may have been billed.
    assert_eq!(seen.missing_reason, Some(MissingReason::Failed));

    let seen = observed(Api::Responses, JSON, response("failed", "null", 0));
    assert!(seen.failed);
    assert_eq!(seen.missing_reason, None);
    assert_eq!(seen.usage_or_absent().source, UsageSource::None);
}

#[test]
fn error_events_come_in_several_shapes() {
    for (api, stream) in [
        (
            Api::Responses,
            r#"data: {"type":"error","code":"rate_limit_exceeded","message":"slow","param":null}"#,
        ),
        (
            Api::Responses,
            r#"data: {"type":"error","error":{"type":"x","code":"rate_limit_exceeded","message":"slow"}}"#,
        ),
        (
            Api::Responses,
            "event: error\ndata: {\"code\":\"rate_limit_exceeded\",\"message\":\"slow\"}",
        ),
        (
            Api::Responses,
            "data: {\"code\":\"rate_limit_exceeded\",\"message\":\"slow\"}\nevent: error",
        ),
        (
            Api::Chat,
            r#"data: {"error":{"message":"slow","type":"x","param":null,"code":"rate_limit_exceeded"}}"#,
        ),
        (
            Api::Chat,
            r#"data: {"error":{"message":"slow","type":"rate_limit_exceeded","code":429}}"#,
        ),
    ] {
        for prefix in [
            "",
            "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n",
        ] {
            let seen = observed(api, EVENTS, format!("{prefix}{stream}\n\n"));
            assert!(seen.failed, "{stream}");
            assert_eq!(code(&seen), Some("rate_limit_exceeded"), "{stream}");
            assert_eq!(message(&seen), Some("slow"), "{stream}");
        }
    }
}

#[test]
fn a_null_error_is_none() {
    for body in [r#"{"error":null}"#, r#"{"error":false}"#, r#"{"error":{}}"#] {
        let seen = observed(Api::Chat, JSON, body);
        assert_eq!((seen.failed, seen.error), (false, None), "{body}");
    }
}

#[test]
fn refusals_in_the_shapes_of_all_providers() {
    let refused = |body: &str| {
        let kind = ResponseKind {
            status: 429,
            ..JSON
        };
        observed(Api::Chat, kind, body)
    };
    for (body, expected_code, expected_message) in [
        (
            r#"{"error":{"message":"m","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#,
            Some("insufficient_quota"),
            Some("m"),
        ),
        (
            r#"{"error":{"message":"m","type":"requests","code":null}}"#,
            Some("requests"),
            Some("m"),
        ),
        (
            r#"{"type":"error","error":{"type":"rate_limit_error","message":"m"},"request_id":"r"}"#,
            Some("rate_limit_error"),
            Some("m"),
        ),
        (
            r#"[{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED"}}]"#,
            Some("RESOURCE_EXHAUSTED"),
            Some("m"),
        ),
        (
            r#"{"error":{"code":400,"message":"m","status":"INVALID_ARGUMENT","details":[{"@type":"t","reason":"API_KEY_INVALID"},{"@type":"u"}]}}"#,
            Some("API_KEY_INVALID"),
            Some("m"),
        ),
        (
            r#"{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED","details":[{"reason":"RATE_LIMIT_EXCEEDED"}]}}"#,
            Some("RESOURCE_EXHAUSTED"),
            Some("m"),
        ),
        (
            r#"{"error":{"code":429,"message":"m"}}"#,
            Some("429"),
            Some("m"),
        ),
        (r#"{"error":"m"}"#, None, Some("m")),
        (r#"{"detail":"m"}"#, None, Some("m")),
        (r#"{"message":"m","code":"c"}"#, Some("c"), Some("m")),
        ("{}", None, None),
    ] {
        let seen = refused(body);
        assert!(seen.failed, "{body}");
        assert_eq!(code(&seen), expected_code, "{body}");
        assert_eq!(message(&seen), expected_message, "{body}");
        assert_eq!(seen.missing_reason, None, "{body}");
        assert_eq!(seen.usage_or_absent().source, UsageSource::None);
    }
    let seen = refused("<html>busy</html>");
    assert_eq!((seen.error, seen.missing_reason), (None, None));
}

#[test]
fn error_messages_are_bounded_and_hold_no_key() {
    let long = "é".repeat(5000);
    let body = format!(
        r#"{{"error":{{"code":"c","message":"Incorrect API key provided: sk-proj-abcDEF123_x. {long}"}}}}"#
    );
    let kind = ResponseKind {
        status: 401,
        ..JSON
    };
    let seen = observed(Api::Chat, kind, body);
    let message = message(&seen).unwrap();
    assert!(
        message.starts_with("Incorrect API key provided: [masked] é"),
        "{message}"
    );
    assert!(message.len() <= 1024);
}

#[test]
fn answers_that_end_too_early() {
    let whole = chat_answer();
    let before_usage = whole.find("\"usage\":{\"prompt_tokens\":2006").unwrap();
    let seen = observed(Api::Chat, JSON, &whole[..before_usage]);
    assert_eq!(seen.missing_reason, Some(MissingReason::Truncated));
    let inside_usage = before_usage + 40;
    let seen = observed(Api::Chat, JSON, &whole[..inside_usage]);
    assert_eq!(
        (seen.usage, seen.missing_reason),
        (None, Some(MissingReason::Truncated))
    );
    // What was stated before the cut was stated.
    let seen = observed(Api::Chat, JSON, &whole[..whole.len() - 1]);
    assert!(seen.usage.is_some() && !seen.terminal_seen);
    let seen = observed(Api::Chat, JSON, "");
    assert_eq!(seen.missing_reason, Some(MissingReason::Truncated));

    let stream = chat_stream(STYLES[0], true);
    let cut = stream.find("finish_reason\":\"stop").unwrap();
    let seen = observed(Api::Chat, EVENTS, &stream[..cut]);
    assert_eq!(seen.missing_reason, Some(MissingReason::Truncated));
    assert_eq!(seen.served_model.as_deref(), Some("gpt-5.1-2025-11-13"));
    // Without the blank line at its very end a stream is whole all the same.
    let seen = observed(Api::Chat, EVENTS, stream.trim_end());
    assert!(seen.terminal_seen && seen.usage.is_some());
}

#[test]
fn a_200_that_is_not_what_it_says() {
    for (kind, body) in [
        (JSON, "<html>hello</html>"),
        (JSON, "{\"id\":1,}"),
        (EVENTS, "data: {\"id\":1,}\n\ndata: [DONE]\n\n"),
        (EVENTS, "data: {\"id\":\n\ndata: [DONE]\n\n"),
        (
            ResponseKind {
                content_type: None,
                ..JSON
            },
            "<html>hello</html>",
        ),
    ] {
        let seen = observed(Api::Chat, kind, body);
        assert_eq!(
            seen.missing_reason,
            Some(MissingReason::Malformed),
            "{body}"
        );
    }
}

#[test]
fn the_content_type_decides_and_the_first_byte_where_it_does_not() {
    for content_type in [
        "application/problem+json",
        "text/plain",
        "application/octet-stream",
    ] {
        let kind = ResponseKind {
            content_type: Some(content_type),
            ..JSON
        };
        assert!(
            observed(Api::Chat, kind, format!("\n {}", chat_answer()))
                .usage
                .is_some()
        );
    }
    for content_type in [None, Some("text/plain")] {
        let kind = ResponseKind {
            content_type,
            ..JSON
        };
        for &style in STYLES {
            assert!(
                observed(Api::Chat, kind, chat_stream(style, true))
                    .usage
                    .is_some()
            );
        }
    }
}

#[test]
fn a_background_response_is_pending() {
    let seen = observed(Api::Responses, JSON, response("queued", "null", 0));
    assert_eq!(seen.missing_reason, Some(MissingReason::Pending));
}

#[test]
fn signals_come_with_the_very_fragment() {
    let stream = chat_stream(STYLES[0], true);
    let mut meter = ResponseMeter::new(Api::Chat, Operation::Create, EVENTS);
    let content = stream.find("\"finish_reason\":null}],").unwrap();
    assert_eq!(
        meter.feed(&stream.as_bytes()[..content]),
        Signals::default()
    );
    let done = stream.find("[DONE]").unwrap();
    let signals = meter.feed(&stream.as_bytes()[content..done + 5]);
    assert!(signals.first_content && !signals.terminal);
    // The blank line is not waited for: clients do not wait for it either.
    assert!(meter.feed(b"]").terminal);
    assert_eq!(meter.feed(b"\n\n"), Signals::default());

    let mut meter = ResponseMeter::new(Api::Responses, Operation::Create, EVENTS);
    let stream = responses_stream("completed", RESPONSES_USAGE, 1000);
    let (all, last) = stream.trim_end().split_at(stream.trim_end().len() - 1);
    assert!(!meter.feed(all.as_bytes()).terminal);
    assert!(meter.feed(last.as_bytes()).terminal);

    let mut meter = ResponseMeter::new(Api::Chat, Operation::Create, JSON);
    let answer = chat_answer();
    assert!(!meter.feed(&answer.as_bytes()[..answer.len() - 1]).terminal);
    assert!(meter.feed(b"}").terminal);
}
