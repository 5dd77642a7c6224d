//! Recurring times: when a route is mute.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::civil::Date;
use jiff::{Span, Zoned};

use crate::clock::UnixMicros;
use crate::config::{MuteTimes, TimeSpan};

use super::routes::Route;

/// The times by name.
#[derive(Debug, Default)]
pub(super) struct Times(HashMap<Arc<str>, Vec<TimeSpan>>);

impl Times {
    pub(super) fn new(settings: &[MuteTimes]) -> Self {
        let named = settings
            .iter()
            .map(|times| (Arc::clone(&times.name), times.any.clone()));
        Self(named.collect())
    }

    /// Whether nothing is to be sent now by a route.
    pub(super) fn mute(&self, route: &Route, now: UnixMicros) -> bool {
        let is = |name: &Arc<str>| {
            let spans = self.0.get(name);
            spans.is_some_and(|spans| spans.iter().any(|span| holds(span, now)))
        };
        let (mute, active) = (&route.mute_times, &route.active_times);
        mute.iter().any(is) || (!active.is_empty() && !active.iter().any(is))
    }
}

/// Whether it is that time. A time past midnight belongs to the day it begins on.
fn holds(span: &TimeSpan, now: UnixMicros) -> bool {
    let now = now.timestamp().to_zoned(span.timezone.clone());
    if span.times.is_empty() {
        return is_day(span, now.date());
    }
    let clock = now.time();
    span.times.iter().any(|&(from, to)| {
        if from < to {
            return from <= clock && clock < to && is_day(span, now.date());
        }
        (from <= clock && is_day(span, now.date()))
            || (clock < to && yesterday(&now).is_some_and(|day| is_day(span, day)))
    })
}

fn yesterday(now: &Zoned) -> Option<Date> {
    now.date().checked_sub(Span::new().days(1)).ok()
}

fn is_day(span: &TimeSpan, day: Date) -> bool {
    let last = day.days_in_month();
    let is = |&wanted: &i8| {
        // `-1` is the last day.
        let wanted = if wanted < 0 {
            last + 1 + wanted
        } else {
            wanted
        };
        wanted == day.day()
    };
    (span.weekdays.is_empty() || span.weekdays.contains(&day.weekday()))
        && (span.days_of_month.is_empty() || span.days_of_month.iter().any(is))
        && (span.months.is_empty() || span.months.contains(&day.month()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::{Weekday, time};
    use jiff::tz::TimeZone;

    fn at(text: &str) -> UnixMicros {
        text.parse::<jiff::Timestamp>().unwrap().into()
    }

    fn span(zone: &str) -> TimeSpan {
        TimeSpan {
            timezone: TimeZone::get(zone).unwrap(),
            weekdays: Vec::new(),
            days_of_month: Vec::new(),
            months: Vec::new(),
            times: Vec::new(),
        }
    }

    #[test]
    fn a_night_belongs_to_the_day_it_begins_on() {
        let friday_night = TimeSpan {
            weekdays: vec![Weekday::Friday],
            times: vec![(time(22, 0, 0, 0), time(8, 0, 0, 0))],
            ..span("Asia/Shanghai")
        };
        // 2026-11-20 is a Friday; Shanghai is eight hours ahead.
        for (moment, expected) in [
            ("2026-11-20T13:59:59Z", false),
            ("2026-11-20T14:00:00Z", true),
            ("2026-11-20T23:59:59Z", true),
            ("2026-11-21T00:00:00Z", false),
            ("2026-11-19T23:30:00Z", false),
            ("2026-11-21T14:30:00Z", false),
        ] {
            assert_eq!(holds(&friday_night, at(moment)), expected, "{moment}");
        }
    }

    #[test]
    fn days_are_counted_from_both_ends_of_a_month() {
        let last_of_winter = TimeSpan {
            days_of_month: vec![1, -1],
            months: vec![2],
            ..span("UTC")
        };
        for (moment, expected) in [
            ("2026-02-28T12:00:00Z", true),
            ("2028-02-28T12:00:00Z", false),
            ("2028-02-29T12:00:00Z", true),
            ("2026-02-01T00:00:00Z", true),
            ("2026-03-01T00:00:00Z", false),
        ] {
            assert_eq!(holds(&last_of_winter, at(moment)), expected, "{moment}");
        }
        let all = TimeSpan {
            times: vec![(jiff::civil::Time::midnight(), jiff::civil::Time::midnight())],
            ..span("UTC")
        };
        assert!(holds(&all, at("2026-02-01T00:00:00Z")) && holds(&all, at("2026-02-01T23:59:59Z")));
    }
}
