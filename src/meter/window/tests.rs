//! Windows against a list of all requests, which is gone through anew each time.

mod borders;
mod reference;

use std::time::Duration;

use jiff::civil::Weekday;
use jiff::tz::TimeZone;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

fn at(text: &str) -> UnixMicros {
    text.parse::<jiff::Timestamp>().unwrap().into()
}

fn calendar(zone: &str, unit: CalendarUnit) -> Calendar {
    Calendar {
        unit,
        zone: TimeZone::get(zone).unwrap(),
        week_start: Weekday::Monday,
        month_start: 1,
        resets_at_s: 0,
    }
}

fn spent(sum: i64, at: UnixMicros) -> Entry {
    Entry {
        at,
        sum,
        count: 1,
        hits: 0,
        value: u64::try_from(sum).ok(),
    }
}

const ALL: Keeps = Keeps {
    sketch: true,
    max: true,
    rate: true,
};

#[test]
fn a_window_is_small() {
    assert!(size_of::<Window>() <= 400, "{}", size_of::<Window>());
}

#[test]
fn a_rolling_window_moves_in_steps_of_a_60th() {
    for (length, step) in [
        (0, 1),
        (10, 1),
        (119, 1),
        (120, 2),
        (300, 5),
        (3_599, 59),
        (3_600, 60),
        (5_400, 60),
        (7_200, 120),
        (86_400, 1_440),
        (30 * 86_400, 43_200),
    ] {
        let span = Span::Rolling(Duration::from_secs(length));
        assert_eq!(span.step(), Some(Duration::from_secs(step)), "{length} s");
    }
}

#[test]
fn a_rolling_window_forgets_what_is_longer_ago_than_it_is() {
    let mut window = Window::new(&Span::Rolling(5 * MINUTE), ALL, None);
    let start = at("2025-11-20T10:00:02Z");
    window.add(&spent(7, start), start);
    window.add(&spent(3, start.plus(MINUTE)), start.plus(MINUTE));
    // The step of 10:00:00 to 10:00:05 is in it until 10:05:05.
    let last = at("2025-11-20T10:05:04.999999Z");
    assert_eq!(window.bounds(last).since, at("2025-11-20T10:00:00Z"));
    assert_eq!(
        (window.totals(last).sum, window.totals(last).max),
        (10, Some(7))
    );
    let later = at("2025-11-20T10:05:05Z");
    assert_eq!(
        (window.totals(later).sum, window.totals(later).max),
        (3, Some(3))
    );
    assert_eq!(window.totals(later).sketch.count(), 1);
}

#[test]
fn a_late_request_goes_to_its_own_period_and_a_clock_set_back_finds_its_sums() {
    let span = Span::Calendar(calendar("Asia/Shanghai", CalendarUnit::Day));
    let mut window = Window::new(&span, ALL, None);
    let (evening, morning) = (at("2025-11-20T15:59:59Z"), at("2025-11-20T16:00:01Z"));
    window.add(&spent(7, evening), evening);
    window.add(&spent(5, morning), morning);
    window.add(&spent(2, evening), morning);
    assert_eq!(window.totals(morning).sum, 5);
    assert_eq!(
        (window.totals(evening).sum, window.is_stale(evening)),
        (9, false)
    );
    let long_ago = evening.minus(DAY);
    assert!(window.is_stale(long_ago));
    assert!(!window.is_stale(morning.plus(100 * DAY)));
    assert_eq!(window.totals(morning.plus(100 * DAY)).sum, 0);
}

#[test]
fn a_request_too_far_ahead_is_asked_for_when_its_time_comes() {
    let spans = [
        Span::Rolling(HOUR),
        Span::Calendar(calendar("UTC", CalendarUnit::Hour)),
    ];
    for span in spans {
        let mut window = Window::new(&span, ALL, None);
        let now = at("2025-11-20T10:00:00Z");
        window.add(&spent(7, now.plus(DAY)), now);
        assert_eq!((window.totals(now).sum, window.is_stale(now)), (0, false));
        assert!(!window.is_stale(now.plus(20 * HOUR)));
        assert!(window.is_stale(now.plus(DAY)));
        let later = now.plus(100 * HOUR);
        window.totals(later);
        assert!(window.is_stale(later), "until it is built anew");
    }
}

#[test]
fn sums_stay_at_the_ends_of_the_scale_and_come_back() {
    let mut window = Window::new(&Span::Rolling(MINUTE), ALL, None);
    let start = at("2025-11-20T10:00:00Z");
    window.add(&spent(i64::MAX, start), start);
    let next = start.plus(Duration::from_secs(30));
    window.add(&spent(i64::MAX, next), next);
    assert_eq!(window.totals(next).sum, i64::MAX);
    window.add(&spent(-5, next), next);
    let later = start.plus(Duration::from_secs(61));
    assert_eq!(window.totals(later).sum, i64::MAX - 5);

    let span = Span::Calendar(calendar("UTC", CalendarUnit::Day));
    let mut window = Window::new(&span, ALL, None);
    window.add(&spent(i64::MAX, start), start);
    window.add(&spent(1, start), start);
    assert_eq!(window.totals(start).sum, i64::MAX);
}

#[test]
fn no_time_and_no_length_upsets_it() {
    let moments = [i64::MIN, i64::MIN + 1, -1, 0, i64::MAX - 1, i64::MAX].map(UnixMicros);
    let mut spans = vec![
        Span::Rolling(Duration::ZERO),
        Span::Rolling(Duration::from_millis(1_500)),
        Span::Rolling(Duration::MAX),
    ];
    for &unit in CalendarUnit::ALL {
        spans.push(Span::Calendar(calendar("Pacific/Apia", unit)));
    }
    for span in spans {
        for now in moments {
            for entry in moments {
                let mut window = Window::new(&span, ALL, Some(Duration::MAX));
                window.add(&spent(1, entry), now);
                window.merge(entry, &Totals::default(), now);
                assert!(window.totals(now).count <= 1);
                assert!(window.earlier(now).is_some_and(|sums| sums.count <= 1));
                assert!(window.reach(now) <= now);
                assert!(window.bounds(now).since <= now);
                let _ = (window.forecast(now), window.is_stale(now));
                let _ = window.is_by_minute(now);
            }
        }
    }
}

#[test]
fn what_has_borders_at_whole_minutes_can_be_built_of_minutes() {
    let noon = at("2025-11-20T12:00:00Z");
    let by_minute = |span: &Span| Window::new(span, ALL, Some(7 * DAY)).is_by_minute(noon);
    assert!(by_minute(&Span::Rolling(HOUR)));
    assert!(by_minute(&Span::Rolling(90 * MINUTE)));
    assert!(!by_minute(&Span::Rolling(59 * MINUTE)));
    assert!(!by_minute(&Span::Rolling(HOUR + Duration::from_secs(30))));
    let mut day = calendar("Asia/Kathmandu", CalendarUnit::Day);
    day.resets_at_s = 9 * 3_600;
    assert!(by_minute(&Span::Calendar(day.clone())));
    day.resets_at_s += 30;
    assert!(!by_minute(&Span::Calendar(day)));

    // Of a short window only the present needs single requests, not the week before.
    let since = |length, compare| {
        let window = Window::new(&Span::Rolling(length), ALL, compare);
        window.needs_requests_since(noon)
    };
    let start = at("2025-11-20T11:55:00Z");
    assert_eq!(since(5 * MINUTE, Some(7 * DAY)), Some(start));
    assert_eq!(since(5 * MINUTE, None), Some(start));
    assert_eq!(
        since(5 * MINUTE, Some(5 * MINUTE)),
        Some(start.minus(5 * MINUTE))
    );
    assert_eq!(since(HOUR, Some(7 * DAY)), None);
}

#[test]
fn a_window_is_compared_with_the_same_part_of_an_earlier_one() {
    let span = Span::Calendar(calendar("Europe/Berlin", CalendarUnit::Day));
    let mut window = Window::new(&span, Keeps::default(), Some(7 * DAY));
    for (moment, sum) in [
        ("2025-11-12T22:59:59Z", 1), // the evening before
        ("2025-11-12T23:00:00Z", 10),
        ("2025-11-13T09:59:59Z", 100),
        ("2025-11-13T10:00:00Z", 1_000), // later that day
    ] {
        window.add(&spent(sum, at(moment)), at(moment));
    }
    let now = at("2025-11-20T10:14:00Z");
    assert_eq!(
        window.earlier(now).map(|sums| (sums.sum, sums.count)),
        Some((110, 2))
    );
    let bounds = window.earlier_bounds(now).unwrap();
    assert_eq!(bounds.since, at("2025-11-12T23:00:00Z"));
    assert_eq!(bounds.until, Some(at("2025-11-13T10:00:00Z")));
    window.add(&spent(5, at("2025-11-13T08:00:00Z")), now);
    assert_eq!(window.earlier(now).map(|sums| sums.sum), Some(115));
    assert_eq!(Window::new(&span, ALL, None).earlier(now), None);
}

#[test]
fn a_forecast_goes_by_the_last_eighth_of_the_period() {
    let span = Span::Calendar(calendar("UTC", CalendarUnit::Day));
    let mut window = Window::new(&span, ALL, None);
    let midnight = at("2025-11-20T00:00:00Z");
    // 1 a minute in the morning, 3 a minute from noon on.
    for minute in 0..18 * 60 {
        let sum = if minute < 12 * 60 { 1 } else { 3 };
        let moment = midnight.plus(MINUTE * minute);
        window.add(&spent(sum, moment), moment);
    }
    assert_eq!(window.rate(midnight.plus(29 * MINUTE)), None);
    let now = midnight.plus(18 * HOUR);
    let spent_so_far = 12 * 60 + 6 * 60 * 3;
    let expected = spent_so_far + 6 * 60 * 3;
    let told = window.forecast(now).unwrap();
    assert!((told - expected).abs() <= 20, "{told} for {expected}");
    let rate = window.rate(now).unwrap();
    let left = time_left(spent_so_far, spent_so_far + 300, &rate).unwrap();
    assert!(left.abs_diff(100 * MINUTE) <= 2 * MINUTE, "{left:?}");

    let mut rolling = Window::new(&Span::Rolling(HOUR), ALL, None);
    rolling.add(&spent(600, now), now);
    assert_eq!(rolling.forecast(now), None);
    let rate = rolling.rate(now).unwrap();
    assert_eq!(rate.over(6 * MINUTE), 60);
    assert_eq!(time_left(600, 700, &rate), Some(10 * MINUTE));
    assert_eq!(time_left(600, 600, &rate), Some(Duration::ZERO));
    let nothing = Rate::new(0, HOUR).unwrap();
    assert_eq!(time_left(600, 700, &nothing), None);
}

#[test]
fn there_is_no_forecast_in_the_first_minutes_of_an_hour() {
    let span = Span::Calendar(calendar("UTC", CalendarUnit::Hour));
    let mut window = Window::new(&span, ALL, None);
    let start = at("2025-11-20T10:00:00Z");
    window.add(&spent(5, start), start);
    assert_eq!(window.forecast(start.plus(4 * MINUTE)), None);
    assert_eq!(window.forecast(start.plus(5 * MINUTE)), Some(60));
}
