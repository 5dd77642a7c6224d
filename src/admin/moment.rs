//! Moments as people and dashboards write them.

use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::clock::UnixMicros;

/// A text that names no moment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a time; write RFC 3339 (`2026-11-20T10:00:00Z`), a date (`2026-11-20`), \
     `now`, or how long ago (`90m`, `7d`)"
)]
pub struct MomentError(String);

/// The moment that `text` names: RFC 3339, a date (its first moment in `timezone`), `now`, or how
/// long before `now` (humantime: `90m`, `7d`, `1h 30m`).
pub fn parse_moment(
    text: &str,
    now: UnixMicros,
    timezone: &TimeZone,
) -> Result<UnixMicros, MomentError> {
    let text = text.trim();
    if text == "now" {
        return Ok(now);
    }
    if let Ok(ago) = humantime::parse_duration(text) {
        return Ok(now.minus(ago));
    }
    if let Ok(timestamp) = text.parse::<jiff::Timestamp>() {
        return Ok(timestamp.into());
    }
    // In a query string `+02:00` arrives as ` 02:00` unless the client escaped it.
    if let Some((head, offset)) = text.rsplit_once(' ')
        && let Ok(timestamp) = format!("{head}+{offset}").parse::<jiff::Timestamp>()
    {
        return Ok(timestamp.into());
    }
    text.parse::<Date>()
        .ok()
        .filter(|_| text.len() == "2026-11-20".len())
        .and_then(|date| date.to_zoned(timezone.clone()).ok())
        .map(|start| start.timestamp().into())
        .ok_or_else(|| MomentError(text.to_owned()))
}

/// A text that is no length of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a length of time above zero; write numbers with units, as `90s`, `1h 30m` or `7d`"
)]
pub struct SpanError(String);

/// Longer is surely a slip: leave it out for ever.
const LONGEST_SPAN: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// The length of time that `text` says (humantime: `90s`, `1h 30m`, `7d`), above zero.
pub fn parse_span(text: &str) -> Result<Duration, SpanError> {
    humantime::parse_duration(text.trim())
        .ok()
        .filter(|span| !span.is_zero() && *span <= LONGEST_SPAN)
        .ok_or_else(|| SpanError(text.to_owned()))
}

/// A text that names no moment to come.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a time to come; write how long from now (`90d`, `12h`), a date (`2026-11-20`) or \
     RFC 3339 (`2026-11-20T10:00:00Z`)"
)]
pub struct DeadlineError(String);

/// The moment at which something is to end: as [`parse_moment`], but that a duration counts from
/// `now` on.
pub fn parse_deadline(
    text: &str,
    now: UnixMicros,
    timezone: &TimeZone,
) -> Result<UnixMicros, DeadlineError> {
    match humantime::parse_duration(text.trim()) {
        Ok(ahead) => Ok(now.plus(ahead)),
        Err(_) => parse_moment(text, now, timezone).map_err(|_| DeadlineError(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMicros = UnixMicros(1_763_632_800_000_000); // 2025-11-20T10:00:00Z

    fn parse(text: &str) -> Result<String, MomentError> {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        parse_moment(text, NOW, &berlin).map(|moment| moment.to_string())
    }

    #[test]
    fn reads_what_people_and_dashboards_write() {
        for (text, moment) in [
            ("now", "2025-11-20T10:00:00.000000Z"),
            ("90m", "2025-11-20T08:30:00.000000Z"),
            ("1h 30m", "2025-11-20T08:30:00.000000Z"),
            ("7d", "2025-11-13T10:00:00.000000Z"),
            ("2025-11-19T00:00:00Z", "2025-11-19T00:00:00.000000Z"),
            ("2025-11-19T00:00:00.5+02:00", "2025-11-18T22:00:00.500000Z"),
            ("2025-11-19T00:00:00 02:00", "2025-11-18T22:00:00.000000Z"),
            ("2025-11-19", "2025-11-18T23:00:00.000000Z"),
        ] {
            assert_eq!(parse(text).unwrap(), moment, "{text}");
        }
    }

    #[test]
    fn a_span_is_above_zero_and_has_units() {
        assert_eq!(parse_span(" 1h 30m "), Ok(Duration::from_secs(5400)));
        for text in ["", "0s", "90", "soon", "-1h", "200years"] {
            let error = parse_span(text).unwrap_err().to_string();
            assert!(error.contains("write numbers with units"), "{error}");
        }
    }

    #[test]
    fn refuses_what_could_mean_anything() {
        for text in ["", "yesterday", "7", "2025-11-19T00:00:00", "19.11.2025"] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains("is not a time; write RFC 3339"), "{error}");
        }
    }
}
