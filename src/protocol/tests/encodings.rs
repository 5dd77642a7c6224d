//! Encoded answers are read on the side.

use std::io::Write;
use std::ops::ControlFlow;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use proptest::prelude::*;

use super::fixtures::*;
use super::*;

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn zlib(plain: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn raw_deflate(plain: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn brotli(plain: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = brotli::CompressorWriter::new(&mut bytes, 4096, 5, 18);
    encoder.write_all(plain).unwrap();
    drop(encoder);
    bytes
}

fn zstd(plain: &[u8]) -> Vec<u8> {
    zstd::encode_all(plain, 3).unwrap()
}

/// `Content-Encoding` and the encoded bytes.
pub(super) fn encoded(plain: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let half = plain.len() / 2;
    vec![
        ("gzip", gzip(plain)),
        ("X-GZIP", gzip(plain)),
        // Members and frames in a row.
        (
            "gzip",
            [gzip(&plain[..half]), gzip(&plain[half..])].concat(),
        ),
        (
            "zstd",
            [zstd(&plain[..half]), zstd(&plain[half..])].concat(),
        ),
        // Padding behind the end.
        ("gzip", [gzip(plain), vec![0; 20]].concat()),
        ("deflate", zlib(plain)),
        ("deflate", raw_deflate(plain)),
        ("br", brotli(plain)),
        ("zstd", zstd(plain)),
        ("gzip, br", brotli(&gzip(plain))),
        ("identity, zstd , deflate", zlib(&zstd(plain))),
        ("identity", plain.to_vec()),
        ("", plain.to_vec()),
    ]
}

fn decode(encoding: &str, fragments: &[&[u8]]) -> Result<Vec<u8>, DecodeError> {
    let mut plain = Vec::new();
    let Some(mut decoder) = Decoder::new(encoding).unwrap() else {
        return Ok(fragments.concat());
    };
    for fragment in fragments {
        let flow = decoder.decode(fragment, &mut |piece| {
            assert!(piece.len() <= 8192);
            plain.extend_from_slice(piece);
            ControlFlow::Continue(())
        })?;
        assert!(flow.is_continue());
    }
    decoder.finish()?;
    Ok(plain)
}

#[test]
fn every_encoding_gives_the_usage_of_the_plain_answer() {
    for (api, kind, body) in [
        (Api::Chat, JSON, chat_answer()),
        (Api::Chat, EVENTS, chat_stream(STYLES[1], true)),
        (
            Api::Responses,
            EVENTS,
            responses_stream("completed", RESPONSES_USAGE, 200_000),
        ),
    ] {
        let plain = observed(api, kind, &body);
        assert!(plain.usage.is_some());
        for (encoding, bytes) in encoded(body.as_bytes()) {
            let kind = ResponseKind {
                content_encoding: Some(encoding),
                ..kind
            };
            assert_eq!(observed(api, kind, &bytes), plain, "{encoding}");
            assert_eq!(observe(api, kind, bytes.chunks(1)).0, plain, "{encoding}");
        }
    }
}

#[test]
fn what_was_flushed_is_decoded_at_once() {
    let event = b"data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n";
    let mut streams: Vec<(&str, Vec<u8>)> = Vec::new();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(event).unwrap();
    encoder.flush().unwrap();
    streams.push(("gzip", encoder.get_ref().clone()));
    let mut bytes = Vec::new();
    let mut encoder = brotli::CompressorWriter::new(&mut bytes, 4096, 5, 18);
    encoder.write_all(event).unwrap();
    encoder.flush().unwrap();
    streams.push(("br", (*encoder.get_ref()).clone()));
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.write_all(event).unwrap();
    encoder.flush().unwrap();
    streams.push(("zstd", encoder.get_ref().clone()));
    for (encoding, flushed) in streams {
        let kind = ResponseKind {
            content_encoding: Some(encoding),
            ..EVENTS
        };
        let mut meter = ResponseMeter::new(Api::Chat, Operation::Create, kind);
        assert!(meter.feed(&flushed).first_content, "{encoding}");
        meter.finish();
        assert_eq!(
            meter.observed().missing_reason,
            Some(MissingReason::Truncated)
        );
    }
}

#[test]
fn unknown_or_broken_encodings_are_told() {
    for encoding in ["compress", "gzip, foo", "gzip,gzip,gzip,gzip", "br;q=1"] {
        assert!(Decoder::new(encoding).is_err(), "{encoding}");
        let kind = ResponseKind {
            content_encoding: Some(encoding),
            ..JSON
        };
        let seen = observed(Api::Chat, kind, chat_answer());
        assert_eq!(seen.missing_reason, Some(MissingReason::Undecodable));
    }
    for encoding in ["gzip", "deflate", "br", "zstd"] {
        let kind = ResponseKind {
            content_encoding: Some(encoding),
            ..JSON
        };
        let seen = observed(Api::Chat, kind, chat_answer());
        assert_eq!(
            seen.missing_reason,
            Some(MissingReason::Undecodable),
            "{encoding}"
        );
        assert_eq!(
            decode(encoding, &[]),
            Ok(Vec::new()),
            "an empty body is complete"
        );
    }
}

#[test]
fn a_cut_off_encoded_answer_is_truncated() {
    let body = chat_answer();
    for (encoding, bytes) in [
        ("gzip", gzip(body.as_bytes())),
        ("deflate", zlib(body.as_bytes())),
        ("br", brotli(body.as_bytes())),
        ("zstd", zstd(body.as_bytes())),
    ] {
        let half = &bytes[..bytes.len() / 2];
        assert_eq!(
            decode(encoding, &[half]),
            Err(DecodeError::Truncated(encoding))
        );
        let kind = ResponseKind {
            content_encoding: Some(encoding),
            ..JSON
        };
        let seen = observed(Api::Chat, kind, half);
        assert_eq!(
            seen.missing_reason,
            Some(MissingReason::Truncated),
            "{encoding}"
        );
    }
}

#[test]
fn a_bomb_is_given_up_within_bounds() {
    let bomb = |encoder: fn(&[u8]) -> Vec<u8>| encoder(&vec![b' '; 24 << 20]);
    for (encoding, bytes, memory) in [
        ("gzip", bomb(gzip), 64 << 10),
        ("br", bomb(brotli), 17 << 20),
        ("zstd", bomb(zstd), 9 << 20),
    ] {
        let kind = ResponseKind {
            content_encoding: Some(encoding),
            ..JSON
        };
        let mut meter = ResponseMeter::new(Api::Chat, Operation::Create, kind);
        for fragment in bytes.chunks(1000) {
            meter.feed(fragment);
            assert!(
                meter.retained_bytes() <= memory,
                "{encoding} {}",
                meter.retained_bytes()
            );
        }
        meter.finish();
        assert_eq!(
            meter.observed().missing_reason,
            Some(MissingReason::TooLarge),
            "{encoding}"
        );
    }
}

proptest! {
    // Each case runs through all encodings.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn decoding_does_not_depend_on_the_cuts(
        plain in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'a')], 0..400),
        repeat in prop_oneof![Just(1_usize), Just(40)],
        cuts in prop::collection::vec(any::<usize>(), 0..10),
    ) {
        let plain = plain.repeat(repeat);
        for (encoding, bytes) in encoded(&plain) {
            prop_assert_eq!(decode(encoding, &pieces(&bytes, &cuts)), Ok(plain.clone()));
        }
    }

    #[test]
    fn damaged_streams_never_panic(
        damage in prop::collection::vec((any::<usize>(), any::<u8>()), 1..6),
        cut in any::<usize>(),
    ) {
        for (encoding, mut bytes) in encoded(chat_answer().as_bytes()) {
            for &(at, byte) in &damage {
                let at = at % bytes.len();
                bytes[at] = byte;
            }
            // Whatever comes out of it, it comes out of any cut alike.
            let whole = decode(encoding, &[&bytes]).is_ok();
            prop_assert_eq!(decode(encoding, &pieces(&bytes, &[cut])).is_ok(), whole);
        }
    }

    #[test]
    fn noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for encoding in ["gzip", "deflate", "br", "zstd", "gzip, br, zstd"] {
            let whole = decode(encoding, &[&bytes]).is_ok();
            prop_assert_eq!(decode(encoding, &pieces(&bytes, &[1, 7])).is_ok(), whole);
        }
    }
}
