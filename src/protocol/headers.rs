//! Facts in headers: conversation, request ids, tags, when to retry.

use std::collections::BTreeMap;
use std::time::Duration;

use http::HeaderMap;

use crate::clock::UnixMicros;

/// The conversation a request belongs to, from Codex' headers: `session-id`, else `thread-id`,
/// else the same members of the JSON in `x-codex-turn-metadata`. At most 128 bytes.
#[must_use]
pub fn session(request: &HeaderMap) -> Option<Box<str>> {
    let _ = request;
    None
}

/// The provider's id of a request: `x-request-id`, else `request-id` (Anthropic), else
/// `apim-request-id` (Azure). At most 128 bytes.
#[must_use]
pub fn upstream_request_id(response: &HeaderMap) -> Option<Box<str>> {
    let _ = response;
    None
}

/// How long the provider asks to wait: `retry-after-ms` before `retry-after` (seconds or an HTTP
/// date, RFC 9110 §10.2.3, measured from `now`).
#[must_use]
pub fn retry_after(response: &HeaderMap, now: UnixMicros) -> Option<Duration> {
    let _ = (response, now);
    None
}

/// What an `x-tollgate-tags` header said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParsedTags {
    /// The tags: at most 16, names at most 64 bytes of `[A-Za-z0-9_.-]`, values at most 256 bytes.
    pub tags: BTreeMap<String, String>,
    /// How many parts were left out because they are malformed or beyond the bounds.
    pub skipped: usize,
}

/// Reads `project=a,team=b`. Where a name is written twice, the last one counts.
#[must_use]
pub fn parse_tags(header: &str) -> ParsedTags {
    let _ = header;
    ParsedTags::default()
}
