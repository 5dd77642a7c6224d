//! Incremental decoding of `Content-Encoding` (RFC 9110 §8.4): gzip, deflate, br, zstd.

use std::ops::ControlFlow;

/// A `Content-Encoding` nobody here decodes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "Content-Encoding `{0}` is not one of gzip, deflate, br, zstd, identity, at most three of them"
)]
pub struct UnsupportedEncoding(pub Box<str>);

/// Why encoded bytes do not decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are not what the encoding allows.
    #[error("the body is not valid {0}")]
    Invalid(&'static str),
    /// The body ended inside the encoded stream.
    #[error("the {0} stream ends too early")]
    Truncated(&'static str),
}

/// Decodes a body fragment by fragment.
#[derive(Debug)]
pub struct Decoder {}

impl Decoder {
    /// A decoder for the value of `Content-Encoding`; `None` when it says identity only.
    pub fn new(content_encoding: &str) -> Result<Option<Self>, UnsupportedEncoding> {
        let _ = content_encoding;
        Ok(None)
    }

    /// Decodes the next fragment and hands the plain bytes to `sink` in pieces of at most 8 KiB,
    /// until it breaks. After a break or an error the decoder must not be used again.
    pub fn decode(
        &mut self,
        fragment: &[u8],
        sink: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, DecodeError> {
        let _ = self;
        Ok(sink(fragment))
    }

    /// The body ended: an error when the encoded stream did not.
    pub fn finish(&mut self) -> Result<(), DecodeError> {
        let _ = self;
        Ok(())
    }
}
