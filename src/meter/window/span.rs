//! How long a window is, and in which steps a rolling one moves.

use std::fmt;
use std::time::Duration;

use super::calendar::{Calendar, CalendarUnit};
use crate::clock::{UnixMicros, micros};

pub(super) const SECOND_US: i64 = 1_000_000;
pub(super) const MINUTE_US: i64 = 60 * SECOND_US;
const HOUR_US: i64 = 60 * MINUTE_US;
/// A rolling window's steps, at least.
const STEPS: i64 = 60;
/// 3,000 years: longer spans are taken for as long, so that nothing overflows.
const LONGEST_US: i64 = 3_000 * 366 * 24 * HOUR_US;

/// Over what time a rule looks.
#[derive(Clone, Debug, PartialEq)]
pub enum Span {
    /// The last so long, in steps of a 60th (see [`Span::step`]): from the step that began that long
    /// ago.
    Rolling(Duration),
    /// The present period.
    Calendar(Calendar),
}

impl Span {
    /// In which steps a rolling window moves: a 60th of its length in whole seconds, rounded down, but
    /// at least one; from an hour on in whole minutes, so that sums by minute make it up. `None` for a
    /// calendar, which does not move.
    #[must_use]
    pub fn step(&self) -> Option<Duration> {
        match self {
            Self::Rolling(length) => {
                let step = step_us(length_us(*length));
                Some(Duration::from_micros(step.unsigned_abs()))
            }
            Self::Calendar(_) => None,
        }
    }
}

/// As a file of rules has it: `1h 30m`, and whose clocks a calendar goes by: `day (Europe/Berlin)`,
/// `week (UTC, from Monday 09:00)`, `month (UTC, from day 15)`.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rolling(length) => f.write_str(&written(*length)),
            Self::Calendar(calendar) => {
                let zone = calendar.zone.iana_name().unwrap_or("UTC");
                write!(f, "{} ({zone}", calendar.unit)?;
                let borders = borders(calendar);
                if !borders.is_empty() {
                    write!(f, ", from {borders}")?;
                }
                f.write_str(")")
            }
        }
    }
}

/// Where the periods of a calendar begin; nothing where that goes without saying.
fn borders(calendar: &Calendar) -> String {
    if calendar.unit == CalendarUnit::Hour {
        return String::new();
    }
    let day = match calendar.unit {
        CalendarUnit::Week => Some(format!("{:?}", calendar.week_start)),
        CalendarUnit::Month if calendar.month_start != 1 => {
            Some(format!("day {}", calendar.month_start))
        }
        _ => None,
    };
    let (minutes, second) = (calendar.resets_at_s / 60, calendar.resets_at_s % 60);
    let (hour, minute) = (minutes / 60, minutes % 60);
    let time = match (calendar.resets_at_s, second) {
        (0, _) => None,
        (_, 0) => Some(format!("{hour:02}:{minute:02}")),
        _ => Some(format!("{hour:02}:{minute:02}:{second:02}")),
    };
    let parts: Vec<String> = day.into_iter().chain(time).collect();
    parts.join(" ")
}

/// A length of time as people write it, days being the longest unit: `30d`, `1h 30m`, `500ms`.
#[must_use]
pub fn written(length: Duration) -> String {
    let seconds = length.as_secs();
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3_600 % 24, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
        (u64::from(length.subsec_millis()), "ms"),
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|&(count, _)| count > 0)
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect();
    if parts.is_empty() {
        return "0s".to_owned();
    }
    parts.join(" ")
}

pub(super) fn length_us(length: Duration) -> i64 {
    i64::try_from(micros(length)).map_or(LONGEST_US, |us| us.min(LONGEST_US))
}

pub(super) const fn step_us(length_us: i64) -> i64 {
    let whole = if length_us < HOUR_US {
        SECOND_US
    } else {
        MINUTE_US
    };
    let step = length_us / STEPS / whole * whole;
    if step < whole { whole } else { step }
}

/// The last multiple of `step_us` up to `at`.
pub(super) const fn floor(at: UnixMicros, step_us: i64) -> i64 {
    at.0.saturating_sub(at.0.rem_euclid(step_us))
}

pub(super) const fn is_whole_minutes(us: i64) -> bool {
    us % MINUTE_US == 0
}

#[cfg(test)]
mod tests {
    use jiff::civil::Weekday;
    use jiff::tz::TimeZone;

    use super::*;

    #[test]
    fn windows_are_told_as_they_are_written() {
        for (millis, text) in [
            (0, "0s"),
            (500, "500ms"),
            (90_000, "1m 30s"),
            (5_400_000, "1h 30m"),
            (31 * 86_400_000, "31d"),
        ] {
            let length = Duration::from_millis(millis);
            assert_eq!(Span::Rolling(length).to_string(), text);
        }
        let calendar = |unit, month_start, resets_at_s| {
            Span::Calendar(Calendar {
                unit,
                zone: TimeZone::get("Europe/Berlin").unwrap(),
                week_start: Weekday::Sunday,
                month_start,
                resets_at_s,
            })
        };
        for (span, text) in [
            (calendar(CalendarUnit::Hour, 1, 60), "hour (Europe/Berlin)"),
            (calendar(CalendarUnit::Day, 1, 0), "day (Europe/Berlin)"),
            (
                calendar(CalendarUnit::Day, 2, 32_405),
                "day (Europe/Berlin, from 09:00:05)",
            ),
            (
                calendar(CalendarUnit::Week, 1, 32_400),
                "week (Europe/Berlin, from Sunday 09:00)",
            ),
            (calendar(CalendarUnit::Month, 1, 0), "month (Europe/Berlin)"),
            (
                calendar(CalendarUnit::Month, 15, 0),
                "month (Europe/Berlin, from day 15)",
            ),
        ] {
            assert_eq!(span.to_string(), text);
        }
    }
}
