mod content;

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::{Time, Weekday};
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::config::DigestSchedule;

const HOUR: Duration = Duration::from_secs(3_600);

fn settings(schedule: DigestSchedule, zone: &str) -> DigestSettings {
    DigestSettings {
        name: "daily".into(),
        schedule,
        timezone: TimeZone::get(zone).unwrap(),
        receivers: vec!["ops".into()],
        top: 5,
    }
}

fn schedule(schedule: DigestSchedule, zone: &str) -> Schedule {
    Schedule::new(&settings(schedule, zone)).unwrap()
}

fn at(text: &str) -> UnixMicros {
    text.parse::<Timestamp>().unwrap().into()
}

fn nine() -> Time {
    Time::constant(9, 0, 0, 0)
}

#[test]
fn a_day_is_told_after_it_by_the_clocks_of_its_zone() {
    let daily = schedule(DigestSchedule::Daily(nine()), "Europe/Berlin");
    // The clocks go back on the 25th.
    let told = daily.next_after(at("2026-10-25T23:00:00Z")).unwrap();
    assert_eq!(told, at("2026-10-26T08:00:00Z"));
    let period = daily.period_ending(told).unwrap();
    assert_eq!(
        period,
        Period {
            since: at("2026-10-24T22:00:00Z"),
            until: at("2026-10-25T23:00:00Z"),
            before: at("2026-10-23T22:00:00Z"),
        }
    );
    assert_eq!(&*daily.group(&period), "digest/daily/2026-10-25T23:00:00Z");

    let weekly = DigestSchedule::Weekly(Weekday::Monday, nine());
    let weekly = schedule(weekly, "Asia/Shanghai");
    let told = weekly.next_after(at("2026-11-20T00:00:00Z")).unwrap();
    assert_eq!(told, at("2026-11-23T01:00:00Z"));
    let period = weekly.period_ending(told).unwrap();
    assert_eq!(period.since, at("2026-11-15T16:00:00Z"));
    assert_eq!(period.until, at("2026-11-22T16:00:00Z"));

    let workdays = schedule(DigestSchedule::Cron("0 9 * * mon-fri".into()), "UTC");
    let period = workdays.period_ending(at("2026-11-23T09:00:00Z")).unwrap();
    assert_eq!(period.since, at("2026-11-20T09:00:00Z"));
    assert_eq!(period.until, at("2026-11-23T09:00:00Z"));
    assert_eq!(period.before, at("2026-11-17T09:00:00Z"));
}

#[test]
fn what_was_missed_is_told_late_and_not_too_late() {
    let daily = schedule(DigestSchedule::Daily(nine()), "UTC");
    let moment = at("2026-11-20T09:00:00Z");
    let told = daily.next_due(moment.minus(HOUR)).unwrap();
    let after = told.since(moment);
    assert!((1..=20).contains(&after.as_secs()), "{after:?}");
    let period = daily.period_ending(moment).unwrap();
    assert_eq!(daily.due(told), Some(period));
    assert_eq!(daily.due(moment.plus(12 * HOUR)), Some(period));
    // Neither before its time, nor half a day later; that of the day before is long over.
    assert_eq!(daily.due(told.minus(Duration::from_micros(1))), None);
    assert_eq!(daily.due(moment.plus(13 * HOUR)), None);
    assert_eq!(daily.next_due(told), Some(told.plus(24 * HOUR)));
}

#[test]
fn an_expression_that_means_no_moment_is_refused() {
    for expression in [
        "0 9 30 2 *",
        "0 9 * *",
        "every day",
        "0 0 9 * * *",
        "61 9 * * *",
        "",
    ] {
        let refused = Schedule::new(&settings(DigestSchedule::Cron(expression.into()), "UTC"));
        let told = refused.unwrap_err().to_string();
        assert!(
            told.contains("`daily`") && told.contains(expression),
            "{told}"
        );
    }
}

/// Zones with changes at, before and after midnight, of half an hour, and of a whole day.
const ZONES: &[&str] = &[
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/St_Johns",
    "America/Sao_Paulo",
    "America/Havana",
    "America/Scoresbysund",
    "America/Nuuk",
    "Asia/Shanghai",
    "Asia/Kathmandu",
    "Asia/Beirut",
    "Africa/Casablanca",
    "Atlantic/Azores",
    "Australia/Lord_Howe",
    "Pacific/Apia",
];

fn any_time() -> impl Strategy<Value = Time> {
    let minutes = prop_oneof![
        select(vec![
            0,
            1,
            30,
            60,
            120,
            150,
            180,
            23 * 60,
            23 * 60 + 30,
            23 * 60 + 59
        ]),
        0..1_440_i32,
    ];
    minutes.prop_map(|minutes| {
        let (hour, minute) = (minutes / 60, minutes % 60);
        let part = |part: i32| i8::try_from(part).unwrap();
        Time::new(part(hour), part(minute), 0, 0).unwrap()
    })
}

fn any_schedule() -> impl Strategy<Value = DigestSchedule> {
    let weekdays = vec![Weekday::Monday, Weekday::Saturday, Weekday::Sunday];
    let expressions = vec![
        "0 9 * * mon-fri",
        "30 2 * * *",
        "0 0 * * sun",
        "15 2,14 * * *",
        "0 */6 * * *",
        "0 0 1 * *",
        "30 1 L * *",
        "45 23 * * fri",
    ];
    prop_oneof![
        2 => any_time().prop_map(DigestSchedule::Daily),
        1 => (select(weekdays), any_time()).prop_map(|(day, at)| DigestSchedule::Weekly(day, at)),
        2 => select(expressions).prop_map(|text| DigestSchedule::Cron(text.into())),
    ]
}

/// A moment from 1990 to 2060, half of them near a change of some clocks: spring and autumn, and the day
/// that Samoa left out.
fn any_moment() -> impl Strategy<Value = UnixMicros> {
    prop_oneof![
        2 => 631_152_000..2_840_140_800_i64,
        2 => (1990..2060_i16, select(vec![3_i8, 4, 9, 10, 11]), 1..28_i8).prop_map(|(year, month, day)| {
            let day = jiff::civil::date(year, month, day);
            day.to_zoned(TimeZone::UTC).unwrap().timestamp().as_second()
        }),
        1 => Just(at("2011-12-27T00:00:00Z").0 / 1_000_000),
    ]
    .prop_map(|second| UnixMicros(second * 1_000_000))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 80, ..ProptestConfig::default() })]

    #[test]
    fn each_period_comes_once_and_none_is_left_out(
        schedule in any_schedule(),
        zone in select(ZONES),
        begin in any_moment(),
        between in 1..1_000_000_i64,
    ) {
        let is_daily = matches!(schedule, DigestSchedule::Daily(_));
        let schedule = self::schedule(schedule, zone);
        let mut moment = schedule.next_after(begin).unwrap();
        let mut period = schedule.period_ending(moment).unwrap();
        for _ in 0..20 {
            prop_assert!(period.before <= period.since && period.since < period.until);
            prop_assert!(period.until <= moment, "{period:?} at {moment}");
            let next = schedule.next_after(moment).unwrap();
            prop_assert!(next > moment);
            // Whoever asks in between, and whoever asks how it was.
            let some = UnixMicros(moment.0 + (next.0 - moment.0) / 1_000_000 * between);
            prop_assert_eq!(schedule.next_after(UnixMicros(some.0 - 1)), Some(next));
            prop_assert_eq!(schedule.last_at(some), Some(moment));
            prop_assert_eq!(schedule.last_at(UnixMicros(next.0 - 1)), Some(moment));
            prop_assert_eq!(schedule.period_ending(some), Some(period));
            let following = schedule.period_ending(next).unwrap();
            prop_assert_eq!(following.since, period.until, "after {}", moment);
            prop_assert!(schedule.group(&following) != schedule.group(&period));
            let told = schedule.next_due(UnixMicros(moment.0 + 30_000_000)).unwrap();
            prop_assert_eq!(schedule.due(told), Some(following));
            prop_assert!(told > next && told.since(next) <= Duration::from_secs(20));
            if is_daily {
                let zone = TimeZone::get(zone).unwrap();
                let first = following.since.timestamp().to_zoned(zone);
                prop_assert_eq!(first.start_of_day().unwrap().timestamp(), first.timestamp());
                let hours = following.until.since(following.since).as_secs() / 3_600;
                prop_assert!((22..=26).contains(&hours), "{hours} hours");
            }
            (moment, period) = (next, following);
        }
    }
}
