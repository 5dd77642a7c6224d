//! A body on its way to disk: decoded, redacted, cut.

use std::ops::ControlFlow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};

use crate::config::JsonPath;
use crate::protocol::{Decoder, MediaType};

use super::budget::Kept;
use super::events;
use super::json::{self, Stop};
use super::secrets::Secrets;
use super::stored::{Content, StoredBody};

/// What stands in place of what cannot be read, where something in it might be meant by
/// `payloads.redact`.
const UNREADABLE: &str = "[unreadable: not stored because payloads.redact is set]";

/// What stands in place of a body that cannot be decoded: credentials could not be found in it.
const UNDECODABLE: &str = "[not stored: the content coding cannot be decoded]";

/// What may be stored of a body.
pub(super) fn stored(
    body: &Kept,
    headers: &HeaderMap,
    paths: &[JsonPath],
    secrets: &Secrets,
) -> StoredBody {
    let kept = body.bytes();
    let cut = body.total_bytes() > kept.len() as u64;
    let (mut bytes, truncated) = match decoded(&kept, headers, body.max_bytes()) {
        Decoded::Plain => (kept.into_owned(), cut),
        Decoded::Bytes(plain, ended) => (plain, cut || !ended),
        Decoded::Unknown => {
            return StoredBody {
                bytes: body.total_bytes(),
                truncated: true,
                content: Content::Text(UNDECODABLE.to_owned()),
            };
        }
    };
    if truncated {
        secrets.cut_beginning(&mut bytes);
    }
    if !paths.is_empty() && !bytes.is_empty() {
        bytes = redacted(&bytes, headers, paths);
    }
    StoredBody {
        bytes: body.total_bytes(),
        truncated,
        content: content(secrets.masked(bytes), truncated),
    }
}

fn redacted(bytes: &[u8], headers: &HeaderMap, paths: &[JsonPath]) -> Vec<u8> {
    let kind = headers.get(CONTENT_TYPE);
    let kind = MediaType::of(kind.and_then(|kind| kind.to_str().ok()));
    // An error may be JSON where a stream was announced.
    if kind == MediaType::EventStream && events::is_stream(bytes) {
        return events::redact(bytes, paths);
    }
    redacted_json(bytes, paths)
}

/// JSON, redacted; where it is none, a note stands in place of the rest.
pub(super) fn redacted_json(bytes: &[u8], paths: &[JsonPath]) -> Vec<u8> {
    let (mut redacted, stop) = json::redact(bytes, paths);
    if stop == Some(Stop::Unreadable) {
        redacted.extend_from_slice(UNREADABLE.as_bytes());
    }
    redacted
}

/// As text where it is one, a character that was cut in two left out.
fn content(bytes: Vec<u8>, truncated: bool) -> Content {
    match String::from_utf8(bytes) {
        Ok(text) => Content::Text(text),
        Err(error) => {
            let (whole, cut) = (
                error.utf8_error().valid_up_to(),
                error.utf8_error().error_len(),
            );
            let mut bytes = error.into_bytes();
            if truncated && cut.is_none() {
                bytes.truncate(whole);
                // Valid up to here.
                return Content::Text(String::from_utf8_lossy(&bytes).into_owned());
            }
            Content::Base64(STANDARD.encode(bytes))
        }
    }
}

enum Decoded {
    /// There is no content coding.
    Plain,
    /// The plain bytes, and whether they are all of it.
    Bytes(Vec<u8>, bool),
    /// Nothing could be decoded.
    Unknown,
}

/// A body that does not decode: text was not encoded, whatever its header says.
fn as_it_is(bytes: &[u8]) -> Decoded {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_some() => Decoded::Unknown,
        _ => Decoded::Plain,
    }
}

fn decoded(bytes: &[u8], headers: &HeaderMap, most_bytes: usize) -> Decoded {
    let mut codings = Vec::new();
    for value in headers.get_all(CONTENT_ENCODING) {
        match value.to_str() {
            Ok(value) => codings.push(value),
            Err(_) => return as_it_is(bytes),
        }
    }
    let mut decoder = match Decoder::new(&codings.join(",")) {
        Ok(None) => return Decoded::Plain,
        Ok(Some(decoder)) => decoder,
        Err(_) => return as_it_is(bytes),
    };
    let mut plain = Vec::new();
    let flow = decoder.decode(bytes, &mut |piece| {
        let room = most_bytes - plain.len();
        plain.extend_from_slice(&piece[..piece.len().min(room)]);
        if piece.len() > room {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    match flow {
        Ok(ControlFlow::Continue(())) => {
            let ended = decoder.finish().is_ok();
            Decoded::Bytes(plain, ended)
        }
        Err(_) if plain.is_empty() => as_it_is(bytes),
        Ok(ControlFlow::Break(())) | Err(_) => Decoded::Bytes(plain, false),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use http::HeaderValue;

    use super::super::budget::{Budget, Lease};
    use super::*;

    const MAX_BYTES: usize = 2000;

    fn kept(bytes: &[u8]) -> Kept {
        let mut body = Kept::new(MAX_BYTES, Lease::of(&Budget::new(1 << 20)));
        body.push(bytes);
        body
    }

    fn shown(bytes: &[u8], coding: Option<&'static str>, paths: &[&str]) -> StoredBody {
        let mut headers = HeaderMap::new();
        if let Some(coding) = coding {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
        }
        let paths: Vec<JsonPath> = paths.iter().map(|path| path.parse().unwrap()).collect();
        stored(&kept(bytes), &headers, &paths, &Secrets::default())
    }

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn text(text: &str) -> Content {
        Content::Text(text.to_owned())
    }

    #[test]
    fn codings_are_decoded_within_the_bound_and_a_bomb_is_cut() {
        let plain = br#"{"a":1,"user":"SECRET"}"#;
        let packed = gzip(plain);
        let body = shown(&packed, Some("gzip"), &["user"]);
        assert_eq!(body.content, text(r#"{"a":1,"user":"[redacted]"}"#));
        assert_eq!((body.bytes, body.truncated), (packed.len() as u64, false));

        let body = shown(&packed[..packed.len() - 12], Some("gzip"), &["user"]);
        assert!(body.truncated);
        assert!(!format!("{body:?}").contains("SECRET"));

        let bomb = gzip(&vec![b'x'; 1 << 20]);
        assert!(bomb.len() < MAX_BYTES);
        let body = shown(&bomb, Some("gzip"), &[]);
        assert!(body.truncated);
        assert_eq!(body.content, text(&"x".repeat(MAX_BYTES)));
    }

    #[test]
    fn what_does_not_decode_is_kept_only_where_it_was_text_all_along() {
        for coding in ["gzip", "br", "zstd", "compress", "gzip, gzip, gzip, gzip"] {
            let body = shown(b"{\"user\":\"SECRET\"}", Some(coding), &["user"]);
            let content = format!("{:?}", body.content);
            assert!(!content.contains("SECRET"), "{coding}: {content}");
            let body = shown(b"\xfe\xff\x00", Some(coding), &[]);
            assert_eq!(body.content, text(UNDECODABLE), "{coding}");
            assert!(body.truncated);
        }
        let body = shown(b"upstream connect error", Some("gzip"), &[]);
        assert_eq!(body.content, text("upstream connect error"));
    }

    #[test]
    fn events_are_read_only_where_they_are_announced() {
        let stream = "event: SECRET\ndata: {\"user\":\"SECRET\"}\n\n";
        let paths = ["user".parse().unwrap()];
        let kind = |kind| HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
        for (kind, text, expected) in [
            ("text/plain", stream, UNREADABLE),
            (
                "text/event-stream; charset=utf-8",
                "data: {\"user\":\"SECRET\"}\n\n",
                "data: {\"user\":\"[redacted]\"}\n\n",
            ),
            (
                "text/event-stream",
                "{\"user\":\"SECRET\"}",
                "{\"user\":\"[redacted]\"}",
            ),
        ]
        .map(|(name, text, expected)| (kind(name), text, expected))
        {
            let body = stored(&kept(text.as_bytes()), &kind, &paths, &Secrets::default());
            assert_eq!(body.content, Content::Text(expected.to_owned()));
        }
    }

    #[test]
    fn a_character_that_was_cut_in_two_is_left_out() {
        let long = "é".repeat(MAX_BYTES);
        let body = shown(&long.as_bytes()[1..], None, &[]);
        assert!(matches!(body.content, Content::Base64(_)), "{body:?}");
        let body = shown(format!("x{long}").as_bytes(), None, &[]);
        assert!(body.truncated);
        assert_eq!(body.content, text(&format!("x{}", "é".repeat(999))));
        // Not cut by us: it is no text then.
        let body = shown(&"é".as_bytes()[..1], None, &[]);
        assert!(matches!(body.content, Content::Base64(_)), "{body:?}");
    }

    #[test]
    fn nothing_is_nothing() {
        for paths in [&[][..], &["user"]] {
            assert_eq!(shown(b"", Some("gzip"), paths).content, text(""));
            assert_eq!(shown(b"", None, paths).content, text(""));
        }
    }
}
