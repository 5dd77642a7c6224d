//! A client that did not ask for usage sees the stream it would have got without Tollgate.

use super::fixtures::*;
use super::*;

fn stripped(stream: &str) -> String {
    let whole = strip([stream.as_bytes()]);
    assert_eq!(whole, strip(stream.as_bytes().chunks(1)));
    String::from_utf8(whole).unwrap()
}

#[test]
fn nothing_of_an_injected_include_usage_is_left() {
    for &style in STYLES {
        assert_eq!(
            stripped(&chat_stream(style, true)),
            chat_stream(style, false),
            "{style:?}"
        );
    }
}

#[test]
fn a_member_goes_with_one_comma_and_its_whitespace() {
    for (with, without) in [
        (r#"{"a":1,"usage":null}"#, r#"{"a":1}"#),
        (r#"{"a": 1, "usage": null}"#, r#"{"a": 1}"#),
        (r#"{"a": 1, "usage": null, "b": 2}"#, r#"{"a": 1, "b": 2}"#),
        (
            r#"{"a": 1 , "usage": null , "b": 2}"#,
            r#"{"a": 1 , "b": 2}"#,
        ),
        (r#"{"usage":null,"b":2}"#, r#"{"b":2}"#),
        (r#"{ "usage" : null , "b": 2 }"#, r#"{ "b": 2 }"#),
        (r#"{"usage":null}"#, "{}"),
        (r#"{"a":"\\","usage":null}"#, r#"{"a":"\\"}"#),
    ] {
        for name in ["", "event: x\n", ": c\n"] {
            assert_eq!(
                stripped(&format!("{name}data: {with}\n\n")),
                format!("{name}data: {without}\n\n")
            );
        }
    }
    let lines = "data: {\"a\":1,\ndata:  \"usage\": null\ndata: }\n\n";
    assert_eq!(stripped(lines), "data: {\"a\":1\ndata: }\n\n");
}

#[test]
fn all_else_stays_as_it_is() {
    for payload in [
        // Usage beside content: a compatible provider's own way.
        r#"{"choices":[{"delta":{"content":"x"}}],"usage":{"prompt_tokens":1}}"#,
        r#"{"choices":[{"delta":{"usage":null}}]}"#,
        r#"{"choices":[],"x":{"usage":null}}"#,
        r#"{"choices":[],"x":"\"usage\":null"}"#,
        r#"{"choices":[],"prompt_filter_results":[]}"#,
        r#"{"usage":{"prompt_tokens":1}}"#,
        r#"{"choices":{},"usage":{"prompt_tokens":1}}"#,
        // Not JSON, or not all of it.
        r#"{"choices":[],"usage":{"prompt_tokens":1}"#,
        r#"{"choices":[],"usage":null"#,
        r#"{"choices":[],"usage":null} x"#,
        r#"["usage",null]"#,
        r#""usage":null"#,
        "[DONE]",
    ] {
        let stream = format!("data: {payload}\n\n");
        assert_eq!(stripped(&stream), stream);
    }
    for stream in [
        "",
        "\n",
        "\r\n\r\n",
        "data",
        "data: x\n",
        "\"usage\":null",
        "\u{feff}",
    ] {
        assert_eq!(stripped(stream), stream);
    }
}

#[test]
fn the_usage_event_goes_with_its_names_and_blank_line() {
    let kept = "data: {\"choices\":[{}]}\r\n\r\n";
    let usage =
        "event: x\r\nid: 1\r\ndata: {\"choices\":[ ],\"usage\":{\"prompt_tokens\":1}}\r\n\r\n";
    assert_eq!(
        stripped(&format!("{kept}{usage}{kept}")),
        format!("{kept}{kept}")
    );
    // The upstream may close right after it, without a blank line.
    assert_eq!(stripped(&format!("{kept}{}", usage.trim_end())), kept);
}

#[test]
fn only_the_beginning_of_an_event_waits() {
    let mut stripper = UsageStripper::new();
    let event = Bytes::from_static(b"data: {\"choices\":[{}]}\n\n");
    let sent = stripper.feed(event.clone());
    assert_eq!(sent, event);
    assert_eq!(
        sent.as_ptr(),
        event.as_ptr(),
        "an unchanged fragment is not copied"
    );
    assert_eq!(stripper.retained_bytes(), 0);
    let two = Bytes::from_static(b"data: {\"choices\":[{}]}\n\ndata: {\"cho");
    assert_eq!(stripper.feed(two), event);
    assert_eq!(
        stripper.feed(Bytes::from_static(b"ices\":[]}\n\n")),
        "data: {\"choices\":[]}\n\n"
    );
    // A blank line of CRLF that is cut in its middle must not leave its LF behind.
    assert_eq!(
        stripper.feed(Bytes::from_static(b"data: x\r\n\r")),
        "data: x\r\n\r"
    );
    assert_eq!(stripper.feed(Bytes::from_static(b"\n")), "\n");
}

#[test]
fn an_event_too_long_to_hold_passes_as_it_comes() {
    let long = format!(
        "data: {{\"choices\":[{{\"delta\":{{\"image\":\"{}\"}}}}],\"usage\":null}}\n\n",
        "A".repeat(100_000)
    );
    let short = "data: {\"choices\":[{}],\"usage\":null}\n\n";
    let stream = format!("{short}{long}{short}");
    let expected =
        format!("data: {{\"choices\":[{{}}]}}\n\n{long}data: {{\"choices\":[{{}}]}}\n\n");
    let mut stripper = UsageStripper::new();
    let mut forwarded = Vec::new();
    for fragment in stream.as_bytes().chunks(1000) {
        forwarded.extend_from_slice(&stripper.feed(Bytes::copy_from_slice(fragment)));
        assert!(stripper.retained_bytes() <= 64 * 1024);
    }
    assert_eq!(String::from_utf8(forwarded).unwrap(), expected);
    assert_eq!(stripped(&stream), expected);
}
