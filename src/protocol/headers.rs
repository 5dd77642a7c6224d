//! Facts in headers: conversation, request ids, tags, when to retry, limits.

mod limits;

use std::collections::BTreeMap;
use std::time::Duration;

use http::HeaderMap;
use serde::Deserialize;

use crate::clock::UnixMicros;

pub use limits::{Credits, LimitsSeen, QuotaSeen, QuotaWindow, RateLimit, limits_seen};

/// Longest id that is kept; a longer one is none.
const ID_MAX: usize = 128;
/// Longest `x-codex-turn-metadata` that is parsed.
const METADATA_MAX: usize = 16 * 1024;

const TAGS_MAX: usize = 16;
const TAG_NAME_MAX: usize = 64;
const TAG_VALUE_MAX: usize = 256;

/// The first of the headers `names` that holds a printable text of at most [`ID_MAX`] bytes.
fn id(headers: &HeaderMap, names: &[&str]) -> Option<Box<str>> {
    names.iter().find_map(|name| {
        let text = headers.get(*name)?.to_str().ok()?.trim();
        acceptable_id(text).then(|| text.into())
    })
}

fn acceptable_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= ID_MAX
}

/// What a body is by its `Content-Type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaType {
    /// `text/event-stream`.
    EventStream,
    /// `application/json`, or any type with the suffix `+json` (RFC 6839).
    Json,
    /// Anything else, or none stated.
    Other,
}

impl MediaType {
    /// Reads the header's value; parameters such as `charset` do not matter.
    #[must_use]
    pub fn of(content_type: Option<&str>) -> Self {
        let value = content_type.unwrap_or_default();
        let essence = value.split(';').next().unwrap_or_default().trim();
        let json_suffix = || {
            essence
                .rsplit_once('+')
                .is_some_and(|(_, suffix)| suffix.eq_ignore_ascii_case("json"))
        };
        if essence.eq_ignore_ascii_case("text/event-stream") {
            Self::EventStream
        } else if essence.eq_ignore_ascii_case("application/json") || json_suffix() {
            Self::Json
        } else {
            Self::Other
        }
    }
}

/// The conversation a request belongs to, from Codex' headers: `session-id` (`session_id` in older
/// ones), else `thread-id`, else the same members of the JSON in `x-codex-turn-metadata`. At most
/// 128 bytes.
#[must_use]
pub fn session(request: &HeaderMap) -> Option<Box<str>> {
    #[derive(Deserialize)]
    struct TurnMetadata {
        session_id: Option<Box<str>>,
        thread_id: Option<Box<str>>,
    }

    id(request, &["session-id", "session_id", "thread-id"]).or_else(|| {
        let metadata = request.get("x-codex-turn-metadata")?.as_bytes();
        if metadata.len() > METADATA_MAX {
            return None;
        }
        let metadata: TurnMetadata = serde_json::from_slice(metadata).ok()?;
        [metadata.session_id, metadata.thread_id]
            .into_iter()
            .flatten()
            .find(|id| acceptable_id(id))
    })
}

/// The provider's id of a request: `x-request-id`, else `request-id` (Anthropic), else
/// `apim-request-id` (Azure). At most 128 bytes.
#[must_use]
pub fn upstream_request_id(response: &HeaderMap) -> Option<Box<str>> {
    id(response, &["x-request-id", "request-id", "apim-request-id"])
}

/// Digits, in groups or not, up to 2⁶³ − 1.
fn grouped_count(text: &[u8]) -> Option<u64> {
    let mut digits = text.trim_ascii().iter().filter(|&&byte| byte != b',');
    digits.clone().next()?;
    let count = digits.try_fold(0_u64, |count, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        count.checked_mul(10)?.checked_add(digit)
    })?;
    i64::try_from(count).is_ok().then_some(count)
}

/// How long the provider asks to wait: `retry-after-ms` before `retry-after` (seconds or an HTTP
/// date, RFC 9110 §10.2.3, measured from `now`). `None` when it does not say, or says nonsense.
#[must_use]
pub fn retry_after(response: &HeaderMap, now: UnixMicros) -> Option<Duration> {
    let text = |name: &str| Some(response.get(name)?.to_str().ok()?.trim());
    if let Some(millis) = text("retry-after-ms").and_then(non_negative) {
        return Duration::try_from_secs_f64(millis / 1000.0).ok();
    }
    let stated = text("retry-after")?;
    if let Some(seconds) = non_negative(stated) {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = jiff::fmt::rfc2822::parse(stated).ok()?;
    Some(UnixMicros::from(date.timestamp()).since(now))
}

/// For how long a provider asks not to be called again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// It says so outright ([`retry_after`]).
    Stated(Duration),
    /// Until the longest reset of a limit of which nothing is left; of a refusal for another reason
    /// that says nothing.
    Reset(Duration),
}

impl Pause {
    /// How long.
    #[must_use]
    pub const fn length(self) -> Duration {
        match self {
            Self::Stated(length) | Self::Reset(length) => length,
        }
    }
}

/// For how long a provider that refuses a request asks not to be called again.
#[must_use]
pub fn pause(response: &HeaderMap, now: UnixMicros) -> Option<Pause> {
    retry_after(response, now)
        .map(Pause::Stated)
        .or_else(|| reset_of_what_is_used_up(&limits_seen(response, now), now).map(Pause::Reset))
}

/// The longest reset of a rate limit with nothing remaining, and of a plan's own window that is used
/// up.
fn reset_of_what_is_used_up(seen: &LimitsSeen, now: UnixMicros) -> Option<Duration> {
    let rates = seen.rates.iter().flatten();
    let rates = rates.filter(|rate| rate.remaining == Some(0));
    let own = seen.quotas.iter().filter(|quota| quota.family.is_none());
    let windows = own.flat_map(|quota| quota.windows.iter().flatten());
    let windows = windows.filter(|window| window.used_ratio >= 1.0);
    rates
        .filter_map(|rate| rate.resets_at)
        .chain(windows.filter_map(|window| window.resets_at))
        .map(|at| at.since(now))
        .max()
}

fn non_negative(text: &str) -> Option<f64> {
    text.parse()
        .ok()
        .filter(|number: &f64| number.is_finite() && *number >= 0.0)
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
    let mut parsed = ParsedTags::default();
    let parts = header.split(',').map(str::trim);
    for part in parts.filter(|part| !part.is_empty()) {
        let tag = part
            .split_once('=')
            .map(|(name, value)| (name.trim(), value.trim()))
            .filter(|(name, value)| acceptable_tag(name, value));
        match tag {
            Some((name, value))
                if parsed.tags.len() < TAGS_MAX || parsed.tags.contains_key(name) =>
            {
                parsed.tags.insert(name.to_owned(), value.to_owned());
            }
            _ => parsed.skipped += 1,
        }
    }
    parsed
}

fn acceptable_tag(name: &str, value: &str) -> bool {
    !name.is_empty()
        && name.len() <= TAG_NAME_MAX
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
        && !value.is_empty()
        && value.len() <= TAG_VALUE_MAX
        && !value.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn a_pause_is_stated_outright_or_by_a_limit_that_is_used_up() {
        let second = Duration::from_secs(1);
        for (fields, expected) in [
            (&[][..], None),
            (&[("retry-after", "7")], Some(Pause::Stated(second * 7))),
            (
                &[
                    ("retry-after", "7"),
                    ("x-ratelimit-remaining-requests", "0"),
                    ("x-ratelimit-reset-requests", "1h"),
                ],
                Some(Pause::Stated(second * 7)),
            ),
            (
                &[
                    ("x-ratelimit-remaining-requests", "0"),
                    ("x-ratelimit-reset-requests", "6m0s"),
                    ("x-ratelimit-remaining-tokens", "1,200"),
                    ("x-ratelimit-reset-tokens", "2h"),
                ],
                Some(Pause::Reset(second * 360)),
            ),
            (
                &[
                    ("x-ratelimit-remaining-requests", "0"),
                    ("x-ratelimit-reset-requests", "12ms"),
                    ("x-ratelimit-remaining-tokens", "0"),
                    ("x-ratelimit-reset-tokens", "1m59.868s"),
                ],
                Some(Pause::Reset(Duration::from_millis(119_868))),
            ),
            (
                &[
                    ("x-ratelimit-remaining-requests", "0"),
                    ("x-ratelimit-reset-requests", "2.5"),
                ],
                Some(Pause::Reset(Duration::from_millis(2_500))),
            ),
            // Azure's negatives are unknown, and nobody knows what these mean.
            (
                &[
                    ("x-ratelimit-remaining-requests", "-1"),
                    ("x-ratelimit-reset-requests", "1s"),
                    ("x-ratelimit-remaining-tokens", "0"),
                    ("x-ratelimit-reset-tokens", "-5s"),
                ],
                None,
            ),
            (&[("x-ratelimit-remaining-tokens", "0")], None),
        ] {
            let mut headers = HeaderMap::new();
            for &(name, value) in fields {
                headers.insert(name, value.parse().unwrap());
            }
            assert_eq!(pause(&headers, UnixMicros(0)), expected, "{fields:?}");
        }
    }

    #[test]
    fn a_session_is_found_in_any_generation_of_headers() {
        let metadata = r#"{"turn_id":"t","session_id":"s3","thread_id":"h3"}"#;
        for (lines, expected) in [
            (&[("thread-id", "h"), ("session-id", "s")][..], Some("s")),
            (&[("session_id", "s2")], Some("s2")),
            (&[("thread-id", "h")], Some("h")),
            (&[("x-codex-turn-metadata", metadata)], Some("s3")),
            (
                &[("x-codex-turn-metadata", r#"{"thread_id":"h3"}"#)],
                Some("h3"),
            ),
            (&[("x-codex-turn-metadata", "{broken")], None),
            (&[("session-id", "")], None),
            (&[], None),
        ] {
            assert_eq!(session(&headers(lines)).as_deref(), expected);
        }
        let long = "x".repeat(129);
        assert_eq!(session(&headers(&[("session-id", &long)])), None);
    }

    #[test]
    fn a_retry_is_asked_for_in_milliseconds_seconds_or_by_date() {
        let now = UnixMicros(1_763_632_800_000_000); // 2025-11-20T10:00:00Z
        for (lines, expected) in [
            (
                &[("retry-after-ms", "1500"), ("retry-after", "9")][..],
                Some(Duration::from_millis(1500)),
            ),
            (&[("retry-after", "9")], Some(Duration::from_secs(9))),
            (&[("retry-after", "0.5")], Some(Duration::from_millis(500))),
            (
                &[("retry-after", "Thu, 20 Nov 2025 10:00:30 GMT")],
                Some(Duration::from_secs(30)),
            ),
            (
                &[("retry-after", "Thu, 20 Nov 2025 09:00:00 GMT")],
                Some(Duration::ZERO),
            ),
            (&[("retry-after", "-1")], None),
            (&[("retry-after", "1e300")], None),
            (&[("retry-after", "soon")], None),
            (&[], None),
        ] {
            assert_eq!(retry_after(&headers(lines), now), expected, "{lines:?}");
        }
    }

    #[test]
    fn tags_are_read_and_what_is_malformed_is_told() {
        let parsed = parse_tags(" project = a b, team=b,,bad, =x, y=, na me=1, team=c");
        assert_eq!(
            parsed.tags.into_iter().collect::<Vec<_>>(),
            [
                ("project".into(), "a b".into()),
                ("team".into(), "c".into())
            ]
        );
        assert_eq!(parsed.skipped, 4);
    }

    #[test]
    fn tags_are_bounded() {
        let many: Vec<String> = (0..20).map(|n| format!("t{n}=v")).collect();
        let parsed = parse_tags(&many.join(","));
        assert_eq!((parsed.tags.len(), parsed.skipped), (16, 4));
        let long = format!("{}=v,v={}", "n".repeat(65), "v".repeat(257));
        assert_eq!(parse_tags(&long).skipped, 2);
    }
}
