//! Whatever an upstream sends: bounded memory, no panic, no wrong number.

use super::*;

const BOUND: usize = 64 * 1024;

/// Feeds `begin`, then `filler` up to `size` bytes, then `end`, in fragments of 16 KiB; asserts
/// that memory stays bounded all the way.
fn flood(
    api: Api,
    kind: ResponseKind<'_>,
    begin: &str,
    filler: &str,
    size: usize,
    end: &str,
) -> Observed {
    let mut meter = ResponseMeter::new(api, Operation::Create, kind);
    let fragment = filler.repeat(16 * 1024 / filler.len() + 1);
    meter.feed(begin.as_bytes());
    let mut fed = 0;
    while fed < size {
        meter.feed(fragment.as_bytes());
        fed += fragment.len();
        let held = meter.retained_bytes() + size_of::<ResponseMeter>();
        assert!(held <= BOUND, "{held} bytes after {fed}");
    }
    meter.feed(end.as_bytes());
    meter.finish();
    assert!(meter.retained_bytes() + size_of::<ResponseMeter>() <= BOUND);
    meter.observed().clone()
}

const MB: usize = 1 << 20;

#[test]
fn a_line_without_an_end() {
    let truncated = MissingReason::Truncated;
    let malformed = MissingReason::Malformed;
    for (begin, filler, reason) in [
        (
            "data: {\"choices\":[{\"delta\":{\"content\":\"",
            "aé\\n",
            truncated,
        ),
        ("data: {\"model\":\"", "m", truncated),
        ("data: {\"error\":{\"message\":\"", "\\u00e9", truncated),
        ("data: {\"usage\":{\"prompt_tokens\":", "1", truncated),
        ("data: {\"", "k", truncated),
        ("event: ", "x", truncated),
        ("", "x", truncated),
        ("data: ", "x", malformed),
        ("", "data: x ", malformed),
    ] {
        let seen = flood(Api::Chat, EVENTS, begin, filler, 4 * MB, "");
        assert_eq!(seen.usage, None);
        assert_eq!(seen.missing_reason, Some(reason), "{begin}");
    }
    let seen = flood(
        Api::Responses,
        EVENTS,
        "data: {\"response\":{\"output\":\"",
        "a",
        50 * MB,
        "\",\"usage\":{\"input_tokens\":5}},\"type\":\"response.completed\"}\n\n",
    );
    assert_eq!(seen.usage.unwrap().total, Some(5));
    assert!(seen.terminal_seen);
}

#[test]
fn huge_values_of_every_kind_before_the_usage() {
    let end = ",\"usage\":{\"prompt_tokens\":5}}";
    for (begin, filler, close) in [
        ("{\"x\":\"", "\\\"\\\\", "\""),
        ("{\"x\":\"", "\u{20ac}", "\""),
        ("{\"x\":[0", ",1.5e-3", "]"),
        ("{\"x\":[{}", ",{\"usage\":{\"prompt_tokens\":9}}", "]"),
        ("{\"model\":\"", "m", "\""),
        ("{\"model\":1", "1", ""),
        ("{\"a\":0", ",\"usage\":null", ""),
        ("{", " ", "\"x\":1"),
        ("{\"choices\":[{\"usage\":{}}", ",{\"delta\":{}}", "]"),
    ] {
        let seen = flood(
            Api::Chat,
            JSON,
            begin,
            filler,
            2 * MB,
            &format!("{close}{end}"),
        );
        assert_eq!(
            seen.usage.and_then(|usage| usage.total),
            Some(5),
            "{begin}{filler}"
        );
    }
}

#[test]
fn nesting_ten_thousand_deep() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("[{\"usage\":", "}]")] {
        let body = format!(
            "{{\"x\":{}1{},\"usage\":{{\"prompt_tokens\":5}}}}",
            open.repeat(10_000),
            close.repeat(10_000)
        );
        let seen = observed(Api::Chat, JSON, &body);
        assert_eq!(seen.usage.unwrap().total, Some(5), "{open}");
    }
    let seen = flood(Api::Chat, JSON, "", "[", MB, "");
    assert_eq!(seen.missing_reason, Some(MissingReason::Truncated));
    let seen = flood(Api::Chat, JSON, "", "{\"usage\":", MB, "");
    assert_eq!(seen.usage, None);
}

#[test]
fn many_events_leave_nothing_behind() {
    for filler in [
        "data: {\"choices\":[{\"delta\":{\"content\":\"\"}}],\"usage\":null}\n\n",
        "data: {\"id\":\"a\",\"model\":\"b\",\"error\":null}\r\n\r\n",
        ": comment\n",
        "event: x\n",
        "data: {\n",
        "\r",
        "data: not json\n\n",
    ] {
        let end = "\n\ndata: {\"usage\":{\"prompt_tokens\":5}}\n\ndata: [DONE]\n\n";
        let seen = flood(Api::Chat, EVENTS, "", filler, 2 * MB, end);
        if filler != "data: {\n" {
            assert_eq!(seen.usage.unwrap().total, Some(5), "{filler}");
        }
    }
}
