//! The response meter: reads usage and endings from the passing bytes of an answer.

use crate::record::Api;

use super::observed::Observed;
use super::route::Operation;

/// What the response's header (and the request) say about its body.
#[derive(Clone, Copy, Debug)]
pub struct ResponseKind<'h> {
    /// The HTTP status.
    pub status: u16,
    /// `Content-Type`, as received.
    pub content_type: Option<&'h str>,
    /// `Content-Encoding`, as received (several lines joined by commas); `None` when the bytes
    /// handed to [`ResponseMeter::feed`] are plain.
    pub content_encoding: Option<&'h str>,
}

/// What one fragment brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signals {
    /// The first content-bearing delta of the stream is in this fragment.
    pub first_content: bool,
    /// The announced end is in this fragment: `[DONE]`, a terminal Responses event, or the last
    /// byte of a JSON answer.
    pub terminal: bool,
    /// The provider's error is in this fragment.
    pub failed: bool,
}

/// Reads one answer as it passes, in bounded memory, without ever failing it.
#[derive(Debug)]
pub struct ResponseMeter {
    observed: Observed,
}

impl ResponseMeter {
    /// A meter for the answer to a call of `api`.
    #[must_use]
    pub fn new(api: Api, operation: Operation, kind: ResponseKind<'_>) -> Self {
        let _ = (api, operation, kind);
        Self {
            observed: Observed::default(),
        }
    }

    /// Reads the next fragment of the body, cut anywhere.
    pub fn feed(&mut self, fragment: &[u8]) -> Signals {
        let _ = fragment;
        let _ = &mut self.observed;
        Signals::default()
    }

    /// The body ended (whole or cut off). Idempotent; later fragments are ignored.
    pub fn finish(&mut self) {
        self.observed.missing_reason = None;
    }

    /// What was seen so far; final after [`finish`](Self::finish).
    #[must_use]
    pub fn observed(&self) -> &Observed {
        &self.observed
    }

    /// Bytes of heap this meter holds, decoders' windows included.
    #[must_use]
    pub fn retained_bytes(&self) -> usize {
        let _ = self;
        0
    }
}
