//! Where periods begin and end.

use jiff::civil::{Date, Weekday};
use jiff::{Timestamp, ToSpan};
use proptest::prelude::*;

use super::*;

/// A moment, and the period it is in.
type Example = (&'static str, &'static str, &'static str);

fn assert_periods(calendar: &Calendar, examples: &[Example]) {
    for &(moment, start, end) in examples {
        let told = calendar.period(at(moment));
        let expected = Period {
            start: at(start),
            end: at(end),
        };
        assert_eq!(told, expected, "{moment}: {} to {}", told.start, told.end);
    }
}

const DAYS: &[(&str, [Example; 2])] = &[
    (
        "Europe/Berlin",
        [
            // 23 hours, 25 hours.
            (
                "2025-03-30T12:00Z",
                "2025-03-29T23:00Z",
                "2025-03-30T22:00Z",
            ),
            (
                "2025-10-26T00:30Z",
                "2025-10-25T22:00Z",
                "2025-10-26T23:00Z",
            ),
        ],
    ),
    (
        // Half an hour.
        "Australia/Lord_Howe",
        [
            (
                "2025-04-06T00:00Z",
                "2025-04-05T13:00Z",
                "2025-04-06T13:30Z",
            ),
            (
                "2025-10-05T00:00Z",
                "2025-10-04T13:30Z",
                "2025-10-05T13:00Z",
            ),
        ],
    ),
    (
        // Midnight is skipped; in autumn 23:00 to 24:00 comes twice.
        "America/Sao_Paulo",
        [
            (
                "2018-11-04T12:00Z",
                "2018-11-04T03:00Z",
                "2018-11-05T02:00Z",
            ),
            (
                "2019-02-17T02:30Z",
                "2019-02-16T02:00Z",
                "2019-02-17T03:00Z",
            ),
        ],
    ),
    (
        // Midnight comes twice: the first one counts.
        "America/Havana",
        [
            (
                "2025-11-02T05:30Z",
                "2025-11-02T04:00Z",
                "2025-11-03T05:00Z",
            ),
            (
                "2025-11-02T03:59Z",
                "2025-11-01T04:00Z",
                "2025-11-02T04:00Z",
            ),
        ],
    ),
    (
        // 30 December 2011 did not exist.
        "Pacific/Apia",
        [
            (
                "2011-12-30T09:59Z",
                "2011-12-29T10:00Z",
                "2011-12-30T10:00Z",
            ),
            (
                "2011-12-30T10:00Z",
                "2011-12-30T10:00Z",
                "2011-12-31T10:00Z",
            ),
        ],
    ),
    (
        // Clocks go back for Ramadan.
        "Africa/Casablanca",
        [
            (
                "2025-02-23T12:00Z",
                "2025-02-22T23:00Z",
                "2025-02-24T00:00Z",
            ),
            (
                "2025-04-06T12:00Z",
                "2025-04-06T00:00Z",
                "2025-04-06T23:00Z",
            ),
        ],
    ),
    (
        // No summer time; leap day.
        "Asia/Kathmandu",
        [
            (
                "2024-02-29T12:00Z",
                "2024-02-28T18:15Z",
                "2024-02-29T18:15Z",
            ),
            (
                "2024-02-29T18:15Z",
                "2024-02-29T18:15Z",
                "2024-03-01T18:15Z",
            ),
        ],
    ),
];

#[test]
fn days_are_as_long_as_the_clocks_make_them() {
    for (zone, examples) in DAYS {
        assert_periods(&calendar(zone, CalendarUnit::Day), examples);
    }
}

#[test]
fn a_time_of_reset_that_is_skipped_is_the_moment_of_the_change_and_of_two_the_first_counts() {
    let mut day = calendar("America/New_York", CalendarUnit::Day);
    day.resets_at_s = 2 * 3_600 + 1_800;
    assert_periods(
        &day,
        &[
            (
                "2025-03-09T06:59:59.999999Z",
                "2025-03-08T07:30Z",
                "2025-03-09T07:00Z",
            ),
            (
                "2025-03-09T07:00Z",
                "2025-03-09T07:00Z",
                "2025-03-10T06:30Z",
            ),
        ],
    );
    day.resets_at_s = 3_600 + 1_800;
    assert_periods(
        &day,
        &[
            (
                "2025-11-02T05:29Z",
                "2025-11-01T05:30Z",
                "2025-11-02T05:30Z",
            ),
            (
                "2025-11-02T06:10Z",
                "2025-11-02T05:30Z",
                "2025-11-03T06:30Z",
            ),
        ],
    );
}

#[test]
fn hours_are_never_longer_than_60_minutes() {
    assert_periods(
        &calendar("Australia/Lord_Howe", CalendarUnit::Hour),
        &[
            (
                "2025-04-05T14:30Z",
                "2025-04-05T14:00Z",
                "2025-04-05T15:00Z",
            ),
            (
                "2025-04-05T15:10Z",
                "2025-04-05T15:00Z",
                "2025-04-05T15:30Z",
            ),
            (
                "2025-10-04T15:29Z",
                "2025-10-04T14:30Z",
                "2025-10-04T15:30Z",
            ),
            (
                "2025-10-04T15:30Z",
                "2025-10-04T15:30Z",
                "2025-10-04T16:00Z",
            ),
        ],
    );
    assert_periods(
        &calendar("Europe/Berlin", CalendarUnit::Hour),
        &[
            (
                "2025-10-26T00:59Z",
                "2025-10-26T00:00Z",
                "2025-10-26T01:00Z",
            ),
            (
                "2025-10-26T01:00Z",
                "2025-10-26T01:00Z",
                "2025-10-26T02:00Z",
            ),
        ],
    );
    assert_periods(
        &calendar("Asia/Kathmandu", CalendarUnit::Hour),
        &[(
            "2025-01-01T00:20Z",
            "2025-01-01T00:15Z",
            "2025-01-01T01:15Z",
        )],
    );
}

#[test]
fn weeks_begin_on_their_day_and_months_on_theirs_or_the_last() {
    let mut week = calendar("Asia/Shanghai", CalendarUnit::Week);
    week.resets_at_s = 9 * 3_600;
    assert_periods(
        &week,
        &[
            (
                "2025-11-24T00:59Z",
                "2025-11-17T01:00Z",
                "2025-11-24T01:00Z",
            ),
            (
                "2025-11-24T01:00Z",
                "2025-11-24T01:00Z",
                "2025-12-01T01:00Z",
            ),
        ],
    );
    let mut week = calendar("Europe/London", CalendarUnit::Week);
    week.week_start = Weekday::Sunday;
    let london = (
        "2025-04-01T00:00Z",
        "2025-03-30T00:00Z",
        "2025-04-05T23:00Z",
    );
    assert_periods(&week, &[london]);

    let mut month = calendar("UTC", CalendarUnit::Month);
    let december = (
        "2025-12-31T23:59Z",
        "2025-12-01T00:00Z",
        "2026-01-01T00:00Z",
    );
    assert_periods(&month, &[december]);
    month.month_start = 31;
    assert_periods(
        &month,
        &[
            (
                "2024-02-28T12:00Z",
                "2024-01-31T00:00Z",
                "2024-02-29T00:00Z",
            ),
            (
                "2024-02-29T12:00Z",
                "2024-02-29T00:00Z",
                "2024-03-31T00:00Z",
            ),
            (
                "2025-03-30T12:00Z",
                "2025-02-28T00:00Z",
                "2025-03-31T00:00Z",
            ),
            (
                "2025-04-30T00:00Z",
                "2025-04-30T00:00Z",
                "2025-05-31T00:00Z",
            ),
        ],
    );
}

/// The period by its first day, found without borders: the latest that the clocks have shown until
/// `moment`. They show the latest at the end, or just before they are set back.
fn first_day(calendar: &Calendar, moment: Timestamp) -> Date {
    let latest = |moment: Timestamp| {
        let reset = i64::from(calendar.resets_at_s).seconds();
        let mut date = (calendar.zone.to_datetime(moment) - reset).date();
        let begins = |date: Date| match calendar.unit {
            CalendarUnit::Hour => panic!("hours have no days"),
            CalendarUnit::Day => true,
            CalendarUnit::Week => date.weekday() == calendar.week_start,
            CalendarUnit::Month => {
                let day = i8::try_from(calendar.month_start).unwrap();
                date.day() == day.min(date.days_in_month())
            }
        };
        while !begins(date) {
            date = date.yesterday().unwrap();
        }
        date
    };
    let changes = calendar.zone.preceding(moment + 1.microsecond());
    let before_changes = changes
        .take(4)
        .map(|change| change.timestamp() - 1.nanosecond());
    let shown = before_changes.chain([moment]).map(latest);
    shown.max().unwrap()
}

fn any_calendar() -> impl Strategy<Value = Calendar> {
    let zones: Vec<_> = jiff::tz::db()
        .available()
        .map(|name| name.to_string())
        .collect();
    assert!(zones.len() > 300, "no time zone database");
    let weekdays = vec![Weekday::Monday, Weekday::Saturday, Weekday::Sunday];
    (
        prop::sample::select(zones),
        prop::sample::select(CalendarUnit::ALL),
        prop::sample::select(weekdays),
        1_u8..=31,
        prop_oneof![Just(0_u32), 0_u32..86_400],
    )
        .prop_map(
            |(zone, unit, week_start, month_start, resets_at_s)| Calendar {
                unit,
                zone: TimeZone::get(&zone).unwrap(),
                week_start,
                month_start,
                resets_at_s,
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// From 1970 on, in every zone: periods follow each other without a gap, and begin with the
    /// first moment of their first day.
    #[test]
    fn periods_partition_time(
        calendar in any_calendar(),
        second in 0_i64..4_200_000_000,
        near_change in -200_000_i64..200_000,
        by_change in any::<bool>(),
    ) {
        let mut moment = Timestamp::from_second(second).unwrap();
        if by_change && let Some(change) = calendar.zone.following(moment).next() {
            moment = change.timestamp() + near_change.seconds();
        }
        let period = calendar.period(moment.into());
        prop_assert!(period.contains(moment.into()), "{moment} in {period:?}");
        prop_assert_eq!(calendar.period(period.start), period);
        let last = UnixMicros(period.end.0 - 1);
        prop_assert_eq!(calendar.period(last), period);
        prop_assert_eq!(calendar.period(period.end).start, period.end);
        prop_assert_eq!(calendar.period(UnixMicros(period.start.0 - 1)).end, period.start);
        if calendar.unit == CalendarUnit::Hour {
            prop_assert!(period.end.since(period.start) <= HOUR);
            let zone = &calendar.zone;
            prop_assert_eq!(zone.to_offset(period.start.timestamp()), zone.to_offset(last.timestamp()));
        } else {
            let first = first_day(&calendar, moment);
            prop_assert_eq!(first_day(&calendar, period.start.timestamp()), first);
            prop_assert_eq!(first_day(&calendar, last.timestamp()), first);
            prop_assert!(first_day(&calendar, period.end.timestamp()) > first);
        }
    }
}
