//! Random requests at random times, by clocks that are set forward and back.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const ZONES: [&str; 10] = [
    "UTC",
    "Africa/Casablanca",
    "America/New_York",
    "America/Sao_Paulo",
    "Asia/Kathmandu",
    "Asia/Shanghai",
    "Australia/Lord_Howe",
    "Europe/Berlin",
    "Europe/Dublin",
    "Pacific/Apia",
];

/// What happens, in thousandths of the window's length.
#[derive(Clone, Debug)]
struct Event {
    /// By how much the clock goes on, or back.
    clock: i64,
    /// How long ago the request was.
    age: i64,
    sum: i64,
    hit: bool,
    value: Option<u64>,
}

fn event() -> impl Strategy<Value = Event> {
    let clock = prop_oneof![
        20 => 0_i64..30,
        4 => 30_i64..1_500,
        2 => -30_i64..0,
        1 => -4_000_i64..6_000,
    ];
    let age = prop_oneof![
        10 => 0_i64..20,
        4 => 0_i64..3_000,
        2 => -1_200_i64..0,
        1 => -6_000_i64..6_000,
    ];
    let value = prop::option::of(0_u64..100_000);
    (clock, age, -1_000_i64..1_000_000, any::<bool>(), value).prop_map(
        |(clock, age, sum, hit, value)| Event {
            clock,
            age,
            sum,
            hit,
            value,
        },
    )
}

/// A window and how long it is, about.
fn span() -> impl Strategy<Value = (Span, Duration)> {
    let lengths = [
        1,
        7,
        60,
        90,
        300,
        3_599,
        3_600,
        5_400,
        7_260,
        86_400,
        7 * 86_400,
    ];
    let rolling = prop::sample::select(lengths.to_vec()).prop_map(|seconds| {
        let length = Duration::from_secs(seconds);
        (Span::Rolling(length), length)
    });
    let calendars = (
        prop::sample::select(ZONES.to_vec()),
        prop::sample::select(CalendarUnit::ALL),
        1_u8..=31,
        prop::sample::select(vec![0, 5_400, 9 * 3_600, 32_430]),
    );
    let calendars = calendars.prop_map(|(zone, unit, month_start, resets_at_s)| {
        let mut calendar = calendar(zone, unit);
        calendar.month_start = month_start;
        calendar.resets_at_s = resets_at_s;
        let length = match unit {
            CalendarUnit::Hour => HOUR,
            CalendarUnit::Day => DAY,
            CalendarUnit::Week => 7 * DAY,
            CalendarUnit::Month => 30 * DAY,
        };
        (Span::Calendar(calendar), length)
    });
    prop_oneof![rolling, calendars]
}

/// A day or two before a change of the clocks, where there is one.
fn start_near_change(span: &Span, second: i64) -> UnixMicros {
    let moment = jiff::Timestamp::from_second(second).unwrap();
    let change = match span {
        Span::Calendar(calendar) => calendar.zone.following(moment).next(),
        Span::Rolling(_) => None,
    };
    change.map_or(UnixMicros::from(moment), |change| {
        let back = Duration::from_secs(second.rem_euclid(100_000).unsigned_abs());
        UnixMicros::from(change.timestamp()).minus(back)
    })
}

fn sum_up<'a>(entries: impl Iterator<Item = &'a Entry>) -> Totals {
    entries.fold(Totals::default(), |mut all, entry| {
        all.sum += entry.sum;
        all.count += entry.count;
        all.hits += entry.hits;
        if let Some(value) = entry.value {
            all.max = all.max.max(Some(value));
            all.sketch.add(value);
        }
        all
    })
}

/// The window says what the list says.
fn assert_agrees(
    window: &mut Window,
    all: &[Entry],
    now: UnixMicros,
    ahead: Duration,
) -> Result<(), TestCaseError> {
    let told = window.totals(now).clone();
    let bounds = window.bounds(now);
    let limit = bounds.until.unwrap_or_else(|| bounds.since.plus(ahead));
    let inside = |entry: &&Entry| bounds.contains(entry.at) && entry.at < limit;
    prop_assert_eq!(told, sum_up(all.iter().filter(inside)), "{:?}", bounds);
    let earlier = window.earlier_bounds(now);
    let expected = earlier.map(|bounds| {
        let inside = all.iter().filter(|entry| bounds.contains(entry.at));
        sum_up(inside).sums()
    });
    prop_assert_eq!(window.earlier(now), expected, "{:?}", earlier);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_window_says_what_the_list_of_all_requests_says(
        (span, length) in span(),
        second in 1_100_000_000_i64..1_900_000_000,
        compare in prop::option::of(0_u32..3_000),
        events in prop::collection::vec(event(), 1..120),
    ) {
        let part = |thousandths: i64| {
            i64::try_from(length.as_micros()).unwrap() / 1_000 * thousandths
        };
        let compare = compare.map(|part| length * part / 1_000);
        let step = span.step().unwrap_or_default();
        let mut now = start_near_change(&span, second);
        let mut window = Window::new(&span, ALL, compare);
        let mut all: Vec<Entry> = Vec::new();
        for event in events {
            now = UnixMicros(now.0 + part(event.clock));
            let entry = Entry {
                at: UnixMicros(now.0 - part(event.age)),
                sum: event.sum,
                count: 1,
                hits: u64::from(event.hit),
                value: event.value,
            };
            window.add(&entry, now);
            all.push(entry);
            if window.is_stale(now) {
                let reach = window.reach(now);
                window = Window::new(&span, ALL, compare);
                prop_assert_eq!(window.reach(now), reach);
                for entry in all.iter().filter(|entry| reach <= entry.at) {
                    window.add(entry, now);
                }
                prop_assert!(!window.is_stale(now), "a new window knows all that there is");
            }
            assert_agrees(&mut window, &all, now, 2 * length + step)?;
        }
    }

    #[test]
    fn a_window_made_of_minutes_is_one_made_of_requests(
        (span, length) in span(),
        second in 1_100_000_000_i64..1_900_000_000,
        compare in prop::option::of(0_u32..3_000),
        events in prop::collection::vec(event(), 1..80),
    ) {
        let now = start_near_change(&span, second);
        let compare = compare.map(|part| length * part / 1_000);
        let mut window = Window::new(&span, ALL, compare);
        let single_since = window.needs_requests_since(now);
        let mut by_minute = window.clone();
        let mut minutes: BTreeMap<UnixMicros, Vec<Entry>> = BTreeMap::new();
        for event in events {
            let age = i64::try_from(length.as_micros()).unwrap() / 1_000 * event.age;
            let entry = Entry {
                at: UnixMicros(now.0 - age),
                sum: event.sum,
                count: 1,
                hits: u64::from(event.hit),
                value: event.value,
            };
            window.add(&entry, now);
            if single_since.is_some_and(|since| since <= entry.at) {
                by_minute.add(&entry, now);
            } else {
                minutes.entry(entry.at.minute()).or_default().push(entry);
            }
        }
        for (minute, entries) in minutes {
            by_minute.merge(minute, &sum_up(entries.iter()), now);
        }
        prop_assert_eq!(window.totals(now), by_minute.totals(now));
        prop_assert_eq!(window.earlier(now), by_minute.earlier(now));
        prop_assert_eq!(window.rate(now).is_some(), by_minute.rate(now).is_some());
        let before = UnixMicros(window.reach(now).0.max(window.bounds(now).since.0 - 1));
        prop_assert_eq!(window.is_stale(before), by_minute.is_stale(before));
        prop_assert_eq!(window.totals(before), by_minute.totals(before));
    }
}
