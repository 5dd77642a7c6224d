use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::{Time, Weekday};
use proptest::prelude::*;
use proptest::sample::select;
use tempfile::TempDir;

use super::*;
use crate::config::DigestSchedule;
use crate::dispatch::context::tests::{context, keep};
use crate::ledger::tests::sample::{admission, record};
use crate::money::NanoUsd;
use crate::notify::content::LinkKind;
use crate::pricing::{Layer, PriceRow, PriceTable, Rate, Rates};
use crate::record::{Api, RequestRecord, Sample};

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
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

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

fn request(moment: &str, model: &str, key: &str, cost: Option<i64>) -> RequestRecord {
    let mut admission = admission(0);
    admission.started_at = at(moment);
    admission.requested_model = Some(model.into());
    admission.key = Some(key.into());
    let mut record = record(admission);
    record.served_model = Some(model.into());
    match cost {
        Some(cost) => record.cost.as_mut().unwrap().amount = NanoUsd(cost),
        None => record.cost = None,
    }
    record
}

#[test]
fn a_digest_tells_what_was_used_by_whom_and_what_changed() {
    let folder = TempDir::new().unwrap();
    let budgets = [
        "alert: Month, metric: cost, window: month, critical: 100 USD",
        "alert: Keys, metric: cost, window: day, by: [key], critical: 1 USD",
        "alert: Tried, metric: cost, window: day, critical: 1 USD, mode: shadow",
        "alert: Slow, metric: latency, stat: p95, window: 5m, critical: 9s",
    ];
    let context = context(folder.path(), &budgets);
    let mut failed = request("2026-11-19T14:00:00Z", "b", "x", None);
    failed.outcome = Outcome::Timeout;
    let mut blocked = request("2026-11-19T15:00:00Z", "c", "y", None);
    blocked.outcome = Outcome::Blocked;
    blocked.usage = crate::record::Usage::absent(crate::record::UsageSource::None);
    let mut cached = request("2026-11-19T22:59:59Z", "a", "y", Some(3_000_000_000));
    cached.usage.tokens[TokenType::InputCached] = Some(50);
    let records = [
        request("2026-11-17T10:00:00Z", "a", "x", Some(1)),
        // The day before, which begins at 23:00 of the one before that.
        request("2026-11-17T23:00:00Z", "a", "x", Some(1_000_000_000)),
        // The day.
        request("2026-11-18T23:00:00Z", "a", "x", Some(2_000_000_000)),
        request("2026-11-18T23:30:00Z", "b", "x", Some(500_000_000)),
        failed,
        blocked,
        cached,
        // The day after.
        request("2026-11-20T01:00:00Z", "a", "x", Some(7_000_000_000)),
    ];
    keep(folder.path(), &records);
    let now = at("2026-11-20T08:00:05Z");
    for record in &records {
        if let Some(sample) = Sample::of(record, None, None, None) {
            context.rules.observe(&sample, Default::default(), now);
        }
    }
    let settings = settings(DigestSchedule::Daily(nine()), "Europe/Berlin");
    let schedule = Schedule::new(&settings).unwrap();
    let period = schedule.period_ending(at("2026-11-20T08:00:00Z")).unwrap();
    let told = digest_content(&context, &settings, &period, now).unwrap();

    assert_eq!((told.since, told.until), (period.since, period.until));
    let total = &told.total;
    assert_eq!((total.requests, total.errors, total.unpriced), (4, 1, 1));
    assert_eq!(total.cost_nanousd, Some(5_500_000_000));
    assert_eq!((total.input_tokens, total.cached_tokens), (450, 50));
    assert_eq!(total.output_tokens, 80);
    assert!(
        total
            .latency_p50_us
            .is_some_and(|us| (1_500_000..1_550_000).contains(&us))
    );
    assert!(total.ttft_p95_us.is_some());
    // There is a cache, and nobody states what the model costs.
    assert_eq!(total.saved_nanousd, None);
    let before = told.before.unwrap();
    assert_eq!(
        (before.requests, before.cost_nanousd),
        (1, Some(1_000_000_000))
    );
    assert_eq!(before.saved_nanousd, Some(0));

    let row = |name: &str, requests, cost, before| (name.to_owned(), requests, cost, before);
    let tops: Vec<_> = told
        .top
        .iter()
        .map(|(what, rows)| {
            let rows = rows.iter().map(|top| {
                row(
                    &top.name,
                    top.requests,
                    top.cost_nanousd,
                    top.before_nanousd,
                )
            });
            (&**what, rows.collect::<Vec<_>>())
        })
        .collect();
    let (usd, all) = (1_000_000_000, Some(5_500_000_000));
    assert_eq!(
        tops,
        [
            (
                "model",
                vec![
                    row("a", 2, Some(5 * usd), Some(usd)),
                    row("b", 2, Some(usd / 2), Some(0))
                ]
            ),
            ("channel", vec![row("openai", 4, all, Some(usd))]),
            (
                "key",
                vec![
                    row("y", 1, Some(3 * usd), Some(0)),
                    row("x", 3, Some(5 * usd / 2), Some(usd))
                ]
            ),
        ]
    );
    assert_eq!(told.errors, [("timeout".into(), 1), ("blocked".into(), 1)]);

    assert_eq!(told.series.len(), 48);
    let spent: Vec<_> = told
        .series
        .iter()
        .filter(|(_, cost, _)| *cost > 0)
        .collect();
    assert_eq!(
        spent.iter().map(|part| part.0).collect::<Vec<_>>(),
        [
            at("2026-11-17T23:00:00Z"),
            at("2026-11-18T23:00:00Z"),
            at("2026-11-19T22:00:00Z"),
        ]
    );
    assert_eq!(spent.iter().map(|part| part.1).sum::<i64>(), 6_500_000_000);

    // Of today and of the month, at the moment of telling.
    let budgets: Vec<_> = told
        .budgets
        .iter()
        .map(|budget| {
            (
                &*budget.alert,
                budget.used.to_string(),
                budget.limit.to_string(),
            )
        })
        .collect();
    assert_eq!(
        budgets[0],
        ("Keys{key=\"x\"}", "7 USD".to_owned(), "1 USD".to_owned())
    );
    assert!(
        budgets
            .iter()
            .any(|(alert, used, _)| *alert == "Month" && used == "13.500000001 USD")
    );
    assert!(
        !budgets
            .iter()
            .any(|(alert, ..)| *alert == "Tried" || *alert == "Slow")
    );
    assert_eq!(told.links[0].kind, LinkKind::Dashboard);

    // Of the first day there is nothing to compare with.
    let first = schedule.period_ending(at("2026-11-19T08:00:00Z")).unwrap();
    let told = digest_content(&context, &settings, &first, now).unwrap();
    assert_eq!((told.before, told.series.len()), (None, 24));
    assert_eq!(told.top[0].1[0].before_nanousd, None);
    let nowhere = TempDir::new().unwrap();
    let empty = self::context(nowhere.path(), &[]);
    assert!(digest_content(&empty, &settings, &first, now).is_err());
}

#[test]
fn parts_are_hours_days_or_more_and_never_many() {
    let zone = TimeZone::get("Europe/Berlin").unwrap();
    let begin = at("2026-03-27T23:00:00Z");
    for (until, count, second) in [
        // The day in between has 23 hours.
        ("2026-03-29T22:00:00Z", 47, "2026-03-28T00:00:00Z"),
        ("2026-03-30T22:00:00Z", 3, "2026-03-28T23:00:00Z"),
        ("2026-05-27T22:00:00Z", 61, "2026-03-28T23:00:00Z"),
        ("2027-03-27T23:00:00Z", 61, "2026-04-02T22:00:00Z"),
    ] {
        let parts = parts(begin, at(until), &zone);
        assert_eq!(
            (parts.len(), parts[0], parts[1]),
            (count, begin, at(second)),
            "{until}"
        );
    }
    assert_eq!(parts(begin, begin, &zone), []);
}

#[test]
fn caching_saves_what_other_input_would_have_cost() {
    let rates = Rates::text(
        Rate::milli_usd(3_000),
        Some(Rate::milli_usd(300)),
        Some(Rate::milli_usd(3_750)),
        Some(Rate::milli_usd(15_000)),
    )
    .with_cache_write_1h(Rate::milli_usd(6_000));
    let mut row = PriceRow::new("openai", "m", "test", rates);
    row.thresholds = vec![crate::pricing::Threshold {
        above_input_tokens: 1,
        price: crate::pricing::ThresholdPrice::Times {
            input: crate::pricing::Factor(9_000),
            output: crate::pricing::Factor(9_000),
        },
    }];
    let table = PriceTable::new([Arc::new(Layer::new("test", [row], []))]);
    let folder = TempDir::new().unwrap();
    let channels = context(folder.path(), &[]).channels;
    let group = |model: &str, cached: Option<u64>, written: Option<u64>, hour: Option<u64>| {
        let mut sums = PeriodSums::default();
        sums.tokens[TokenType::Input] = Some(1_000_000);
        sums.tokens[TokenType::InputCached] = cached;
        sums.tokens[TokenType::InputCacheWrite] = written;
        sums.cache_write_1h = hour;
        PeriodGroup {
            channel: "openai".to_owned(),
            model: model.to_owned(),
            api: Api::Chat,
            key: String::new(),
            sums,
        }
    };
    let saved = |groups: &[PeriodGroup]| {
        savings::saved(&channels, &table, groups, at("2026-11-20T00:00:00Z"))
    };
    let million = Some(1_000_000);
    for (groups, nanousd) in [
        (vec![], Some(0)),
        (vec![group("m", None, Some(0), None)], Some(0)),
        // 3 USD less 0.30.
        (vec![group("m", million, None, None)], Some(2_700_000_000)),
        // Writing costs 0.75 more than reading saves nothing of yet.
        (vec![group("m", None, million, None)], Some(-750_000_000)),
        // Half of it for an hour: 0.375 and 1.50.
        (
            vec![group("m", million, million, Some(500_000))],
            Some(825_000_000),
        ),
        (vec![group("unheard-of", million, None, None)], None),
        (
            vec![
                group("unheard-of", million, None, None),
                group("m", million, None, None),
            ],
            Some(2_700_000_000),
        ),
    ] {
        assert_eq!(saved(&groups), nanousd, "{groups:?}");
    }
}
