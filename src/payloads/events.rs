//! Redacts event streams (WHATWG HTML, server-sent events): the JSON of each event.

use crate::config::JsonPath;

use super::content::redacted_json;

/// The data that ends a stream of OpenAI's and is no JSON.
const DONE: &[u8] = b"[DONE]";

/// Whether `text` begins as an event stream does. JSON never does.
pub(super) fn is_stream(text: &[u8]) -> bool {
    let text = text.trim_ascii_start();
    ["data:", "event:", "id:", "retry:", ":"]
        .iter()
        .any(|field| text.starts_with(field.as_bytes()))
}

/// The stream with the values that `paths` name replaced in each event's JSON. Comments and
/// unknown fields, which nobody reads, are left out.
pub(super) fn redact(text: &[u8], paths: &[JsonPath]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut data: Option<Vec<u8>> = None;
    for line in lines(text) {
        if line.is_empty() {
            finish(data.take(), paths, &mut out);
            out.push(b'\n');
            continue;
        }
        let colon = line.iter().position(|&byte| byte == b':');
        let (field, value) = line.split_at(colon.unwrap_or(line.len()));
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => match &mut data {
                Some(data) => {
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
                None => data = Some(value.to_vec()),
            },
            b"event" | b"id" | b"retry" => {
                out.extend_from_slice(line);
                out.push(b'\n');
            }
            _ => {}
        }
    }
    finish(data, paths, &mut out);
    out
}

/// Writes an event's data.
fn finish(data: Option<Vec<u8>>, paths: &[JsonPath], out: &mut Vec<u8>) {
    let Some(data) = data else {
        return;
    };
    let redacted = if data == DONE {
        data
    } else {
        redacted_json(&data, paths)
    };
    // The data of an event may have several lines; each has its own field name.
    for line in redacted.split(|&byte| byte == b'\n') {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line);
        out.push(b'\n');
    }
}

/// The lines of a stream, which end with LF, CR or both.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        let (line, after) = rest.split_at(end);
        rest = after
            .strip_prefix(b"\r\n")
            .or_else(|| after.strip_prefix(b"\n"))
            .or_else(|| after.strip_prefix(b"\r"))
            .unwrap_or(after);
        Some(line)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redacted(text: &str) -> String {
        let paths = ["delta".parse().unwrap(), "..text".parse().unwrap()];
        String::from_utf8(redact(text.as_bytes(), &paths)).unwrap()
    }

    #[test]
    fn each_event_is_redacted_and_what_cannot_be_read_is_not_kept() {
        for (text, expected) in [
            (
                "event: a\ndata: {\"delta\":\"s\"}\n\ndata: [DONE]\n\n",
                "event: a\ndata: {\"delta\":\"[redacted]\"}\n\ndata: [DONE]\n\n",
            ),
            (
                "id:1\r\ndata:{\"a\":1}\r\n\r\n",
                "id:1\ndata: {\"a\":1}\n\n",
            ),
            (
                "data: {\"a\":\ndata: {\"text\":\"s\"}}\n\n",
                "data: {\"a\":\ndata: {\"text\":\"[redacted]\"}}\n\n",
            ),
            (": comment with s\nunknown: s\ndata: {}\n\n", "data: {}\n\n"),
            // Cut off in the middle of a value that is meant, and of one that is not.
            (
                "data: {\"b\":1,\"delta\":\"s",
                "data: {\"b\":1,\"delta\":\"[redacted]\"\n",
            ),
            ("data: {\"b\":\"kep", "data: {\"b\":\"kep\n"),
            (
                "data: s\n\n",
                "data: [unreadable: not stored because payloads.redact is set]\n\n",
            ),
            ("data\n\n", "data: \n\n"),
        ] {
            assert_eq!(redacted(text), expected, "{text:?}");
        }
    }

    #[test]
    fn streams_are_told_from_json() {
        for (text, stream) in [
            ("data: {}", true),
            ("\n\n: ping", true),
            ("event:x", true),
            ("{\"data:\":1}", false),
            ("\"data:\"", false),
            ("database", false),
            ("", false),
        ] {
            assert_eq!(is_stream(text.as_bytes()), stream, "{text}");
        }
    }
}
