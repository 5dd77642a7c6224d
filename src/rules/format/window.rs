//! Over what time a rule looks: `window`, and where the periods of a calendar begin.

use std::time::Duration;

use jiff::civil::Weekday;
use jiff::tz::TimeZone;

use super::measure::Measure;
use super::words::none_of;
use crate::config::{Given, Place, Reader, Refusal, Section, duration, months, time_zone, whole};
use crate::rules::{Calendar, CalendarUnit, Metric, Span, Stat};

/// The shortest rolling window.
const SHORTEST: Duration = Duration::from_secs(10);
/// The longest, also with the time it is compared with.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// Where periods begin, as far as it was said.
#[derive(Clone, Debug)]
pub(super) struct Borders {
    pub(super) zone: TimeZone,
    week_start: Weekday,
    month_start: u8,
    resets_at_s: u32,
}

impl Borders {
    /// Those of the calendar on the wall in `zone`.
    pub(super) const fn usual(zone: TimeZone) -> Self {
        Self {
            zone,
            week_start: Weekday::Monday,
            month_start: 1,
            resets_at_s: 0,
        }
    }

    /// As `self`, where `section` says nothing else.
    pub(super) fn read(&self, section: &mut Section<'_>, reader: &mut Reader<'_>) -> Self {
        let mut borders = self.clone();
        section.set(reader, "timezone", &mut borders.zone, time_zone);
        section.set(reader, "week_start", &mut borders.week_start, weekday);
        let month_start = whole(1, 31);
        section.set(reader, "month_start", &mut borders.month_start, month_start);
        section.set(reader, "resets_at", &mut borders.resets_at_s, time_of_day);
        borders
    }
}

/// Reads the window of a rule. `group` is what its group says of borders.
pub(super) fn read(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    group: &Borders,
    measure: Option<&Measure>,
) -> Option<Span> {
    let borders = group.read(section, reader);
    let key = section.key("window");
    let given = section.values(reader, "window").pop();
    if measure.is_some_and(|measure| measure.metric == Metric::QuotaUsed) {
        if let Some(given) = given {
            let refusal = Refusal::new(
                "is no window of a quota, which the provider states",
                "take it away; `by: [window]` tells a plan's windows apart",
            );
            reader.refuse(&given, &key, &refusal);
        }
        // The provider's last word holds now, and no request is looked at.
        let span = Span::Rolling(SHORTEST);
        idle_borders(section, reader, &span);
        return Some(span);
    }
    let Some(given) = given else {
        if !section.has("window") {
            let place = section.place.clone().unwrap_or(Place::Default);
            let hint =
                Some("write `5m` for the last five minutes, or `hour`, `day`, `week`, `month`");
            reader.problem(&place, &key, "is missing", hint);
        }
        return None;
    };
    let span = match span(&given.text, borders) {
        Ok(span) => span,
        Err(refusal) => {
            reader.refuse(&given, &key, &refusal);
            return None;
        }
    };
    if matches!(span, Span::Rolling(_))
        && let Some(doubt) = months(&given.text)
    {
        reader.doubt(&given, &key, &doubt);
    }
    idle_borders(section, reader, &span);
    let measure = measure?;
    fits(section, reader, &given, &span, measure).then_some(span)
}

fn span(text: &str, borders: Borders) -> Result<Span, Refusal> {
    let unit = CalendarUnit::ALL.iter().find(|unit| unit.as_str() == text);
    if let Some(&unit) = unit {
        return Ok(Span::Calendar(Calendar {
            unit,
            zone: borders.zone,
            week_start: borders.week_start,
            month_start: borders.month_start,
            resets_at_s: borders.resets_at_s,
        }));
    }
    if let Some(meant) = adjective(text) {
        let remedy = format!("write `{meant}`");
        return Err(Refusal::new("is no window", &remedy));
    }
    let length = duration(text).map_err(|refusal| {
        let near = CalendarUnit::ALL.iter().map(|unit| unit.as_str());
        let words: Vec<&str> = near.collect();
        if text.starts_with(|first: char| first.is_ascii_digit()) {
            return refusal;
        }
        let none = none_of(text, &words);
        let remedy = none.remedy.unwrap_or_default();
        Refusal::new(
            "is no window",
            &format!("{remedy}, or a duration, as `5m` or `30d`"),
        )
    })?;
    if length < SHORTEST || length > LONGEST {
        return Err(Refusal::new(
            "is not in range",
            "write a duration from `10s` to `366d`, or `hour`, `day`, `week`, `month`",
        ));
    }
    if length.subsec_nanos() != 0 {
        return Err(Refusal::new(
            "is not in whole seconds",
            "write it in whole seconds",
        ));
    }
    Ok(Span::Rolling(length))
}

/// The least that a window comes to.
const fn shortest(span: &Span) -> Duration {
    const HOUR: u64 = 60 * 60;
    let hours = match span {
        Span::Rolling(length) => return *length,
        Span::Calendar(calendar) => match calendar.unit {
            CalendarUnit::Hour => 1,
            CalendarUnit::Day => 24,
            CalendarUnit::Week => 7 * 24,
            CalendarUnit::Month => 28 * 24,
        },
    };
    Duration::from_secs(hours * HOUR)
}

const fn adjective(text: &str) -> Option<&'static str> {
    Some(match text.as_bytes() {
        b"hourly" => "hour",
        b"daily" => "day",
        b"weekly" => "week",
        b"monthly" => "month",
        _ => return None,
    })
}

/// Refuses what a rule says of borders that its window does not have. What its group says is for the
/// others.
fn idle_borders(section: &Section<'_>, reader: &mut Reader<'_>, span: &Span) {
    let unit = match span {
        Span::Rolling(_) => None,
        Span::Calendar(calendar) => Some(calendar.unit),
    };
    for (key, used, only) in [
        (
            "timezone",
            unit.is_some(),
            "`hour`, `day`, `week` and `month`",
        ),
        ("week_start", unit == Some(CalendarUnit::Week), "`week`"),
        ("month_start", unit == Some(CalendarUnit::Month), "`month`"),
        (
            "resets_at",
            unit.is_some_and(|unit| unit != CalendarUnit::Hour),
            "`day`, `week` and `month`",
        ),
    ] {
        if let Some(place) = section.place_of(reader, key).filter(|_| !used) {
            let message = "says nothing of such a window";
            let hint = format!("take it away, or write one of these windows: {only}");
            reader.problem(&place, &section.key(key), message, Some(&hint));
        }
    }
}

/// Whether such a measure can be taken over the window.
fn fits(
    section: &Section<'_>,
    reader: &mut Reader<'_>,
    given: &Given,
    span: &Span,
    measure: &Measure,
) -> bool {
    let refusal = match (span, measure.stat, measure.compare) {
        (Span::Rolling(_), stat @ (Stat::Forecast | Stat::TimeLeft), _) => Some(Refusal::new(
            format!("never ends, so it has no `{stat}`"),
            "write a calendar window: `hour`, `day`, `week` or `month`",
        )),
        (span, _, Some(compare)) if compare < shortest(span) => Some(Refusal::new(
            "is longer than `compare`, so it would be compared with itself in part",
            "write a shorter window or a longer `compare`",
        )),
        (Span::Calendar(_), _, Some(compare)) if compare > LONGEST => Some(Refusal::new(
            "reaches back more than 366 days with `compare`",
            "shorten `compare`",
        )),
        (Span::Rolling(length), _, Some(compare)) if compare.saturating_add(*length) > LONGEST => {
            Some(Refusal::new(
                "reaches back more than 366 days with `compare`",
                "shorten one of the two",
            ))
        }
        _ => None,
    };
    if let Some(refusal) = &refusal {
        reader.refuse(given, &section.key("window"), refusal);
    }
    refusal.is_none()
}

fn weekday(text: &str) -> Result<Weekday, Refusal> {
    const DAYS: [(&str, Weekday); 7] = [
        ("monday", Weekday::Monday),
        ("tuesday", Weekday::Tuesday),
        ("wednesday", Weekday::Wednesday),
        ("thursday", Weekday::Thursday),
        ("friday", Weekday::Friday),
        ("saturday", Weekday::Saturday),
        ("sunday", Weekday::Sunday),
    ];
    let found = DAYS.iter().find(|(name, _)| *name == text);
    found
        .map(|&(_, day)| day)
        .ok_or_else(|| none_of(text, &DAYS.map(|(name, _)| name)))
}

/// Seconds after midnight, of `09:00` or `09:00:30`.
fn time_of_day(text: &str) -> Result<u32, Refusal> {
    let part = |text: &str, beyond: u32| {
        let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|_| digits);
        number.filter(|&number| number < beyond)
    };
    let parts: Vec<&str> = text.split(':').collect();
    let seconds = match parts.as_slice() {
        [hours, minutes] => part(hours, 24).zip(part(minutes, 60)).zip(Some(0)),
        [hours, minutes, seconds] => part(hours, 24)
            .zip(part(minutes, 60))
            .zip(part(seconds, 60)),
        _ => None,
    };
    seconds
        .map(|((hours, minutes), seconds)| (hours * 60 + minutes) * 60 + seconds)
        .ok_or_else(|| Refusal::new("is no time of day", "write it as `09:00`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_day_are_hours_and_minutes() {
        for (text, seconds) in [("00:00", 0), ("09:30", 34_200), ("23:59:59", 86_399)] {
            assert_eq!(time_of_day(text), Ok(seconds), "{text}");
        }
        for text in [
            "", "9:00", "24:00", "9", "0900", "09:60", "09:00:60", "09:00Z",
        ] {
            assert!(time_of_day(text).is_err(), "{text}");
        }
    }

    #[test]
    fn windows_are_durations_or_periods() {
        let span = |text| span(text, Borders::usual(TimeZone::UTC));
        assert_eq!(span("5m"), Ok(Span::Rolling(Duration::from_secs(300))));
        assert_eq!(span("366d"), Ok(Span::Rolling(LONGEST)));
        assert!(matches!(span("day"), Ok(Span::Calendar(_))));
        for (text, remedy) in [
            ("daily", "write `day`"),
            ("mnth", "did you mean `month`?"),
            ("9s", "`10s`"),
            ("367d", "`366d`"),
            ("10500ms", "whole seconds"),
            ("5", "units"),
            ("", "or a duration"),
        ] {
            let refusal = span(text).unwrap_err();
            assert!(refusal.remedy.unwrap().contains(remedy), "{text}");
        }
    }
}
