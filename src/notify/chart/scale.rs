//! The picture's axes: where its lines are, and what is written beside them. Digits and signs only, which
//! every font has.

use jiff::Zoned;
use jiff::tz::TimeZone;

use crate::clock::UnixMicros;
use crate::config::Language;

/// Lines above the lowest, at most.
const MOST_LINES: u64 = 5;

/// Nano-dollars in a dollar.
const USD: u64 = 1_000_000_000;

/// What bars count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    /// Nano-dollars.
    Money,
    Tokens,
}

impl Measure {
    /// The lowest that the highest line is: numbers with more places have no room.
    pub(super) const fn least(self) -> u64 {
        match self {
            Self::Money => USD / 2_000,
            Self::Tokens => 1,
        }
    }

    /// A value beside a line; `step` is what the lines are apart.
    pub(super) fn tick(self, value: u64, step: u64) -> String {
        match self {
            Self::Money => format!("${}", shortest(value, step, USD)),
            Self::Tokens => shortest(value, step, 1),
        }
    }

    /// A sum in the legend, to three digits or to cents.
    pub(super) fn sum(self, value: u64) -> String {
        match self {
            Self::Money => {
                let cents = rounded(value, 10_000_000);
                if cents == 0 && value > 0 {
                    return "<$0.01".to_owned();
                }
                format!("${}.{:02}", grouped(cents / 100), cents % 100)
            }
            Self::Tokens => {
                let (unit, letter) = unit_of(value);
                let tenths = rounded(value, (unit / 10).max(1));
                match unit {
                    1 => format!("{value} tokens"),
                    _ if tenths >= 1_000 => format!("{}{letter} tokens", rounded(value, unit)),
                    _ => format!("{}.{}{letter} tokens", tenths / 10, tenths % 10),
                }
            }
        }
    }
}

/// What lines are apart so that they are few, their numbers short, and the highest is not below `most`.
pub(super) fn step(most: u64) -> u64 {
    let least = most.div_ceil(MOST_LINES).max(1);
    let mut power = 1_u64;
    loop {
        for leading in [1, 2, 5] {
            let step = power.saturating_mul(leading);
            if step >= least {
                return step;
            }
        }
        power = power.saturating_mul(10);
    }
}

/// `value` over `one`, with a letter for thousands and as many places as `step` has.
fn shortest(value: u64, step: u64, one: u64) -> String {
    if value == 0 {
        return "0".to_owned();
    }
    let (unit, letter) = unit_of(value.max(step) / one);
    let unit = unit.saturating_mul(one);
    let (whole, rest) = (value / unit, value % unit);
    let mut places = 0;
    let mut finest = unit;
    while finest > 1 && !step.is_multiple_of(finest) {
        finest /= 10;
        places += 1;
    }
    // Tenths of a dollar are written as cents.
    if places == 1 && unit == one && one > 1 {
        (places, finest) = (2, finest / 10);
    }
    if places == 0 {
        return format!("{whole}{letter}");
    }
    format!("{whole}.{:0places$}{letter}", rest / finest)
}

const fn unit_of(count: u64) -> (u64, &'static str) {
    match count {
        0..10_000 => (1, ""),
        10_000..1_000_000 => (1_000, "K"),
        1_000_000..1_000_000_000 => (1_000_000, "M"),
        _ => (1_000_000_000, "B"),
    }
}

const fn rounded(value: u64, by: u64) -> u64 {
    value.saturating_add(by / 2) / by
}

/// With a comma between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// What is written beneath bars that begin then: a text, or nothing where there would be too many.
pub(super) fn times(
    begins: &[UnixMicros],
    language: Language,
    zone: &TimeZone,
) -> Vec<Option<String>> {
    let local: Vec<Zoned> = begins
        .iter()
        .map(|begin| begin.timestamp().to_zoned(zone.clone()))
        .collect();
    let by_hour = is_by_hour(begins);
    let few: &[usize] = if by_hour {
        &[1, 2, 3, 6, 12]
    } else {
        &[1, 2, 5, 7, 10, 14]
    };
    let most = if by_hour { 12 } else { 10 };
    let apart = few
        .iter()
        .find(|&&apart| begins.len().div_ceil(apart) <= most);
    let apart = apart.copied().unwrap_or(begins.len().max(1));
    local
        .iter()
        .enumerate()
        .map(|(at, begin)| {
            let is_midnight = begin.time() == jiff::civil::Time::midnight();
            let by_clock = by_hour && !(is_midnight && at > 0);
            (at % apart == 0).then(|| {
                if by_clock {
                    begin.strftime("%H:%M").to_string()
                } else {
                    date(begin, language)
                }
            })
        })
        .collect()
}

fn is_by_hour(begins: &[UnixMicros]) -> bool {
    const HOUR_US: i64 = 3_600_000_000;
    match begins {
        [first, second, ..] => second.0 - first.0 <= HOUR_US,
        _ => true,
    }
}

/// The days from one moment up to another.
pub(super) fn days(
    since: UnixMicros,
    until: UnixMicros,
    language: Language,
    zone: &TimeZone,
) -> String {
    let day = |at: UnixMicros| date(&at.timestamp().to_zoned(zone.clone()), language);
    let (first, last) = (day(since), day(UnixMicros((until.0 - 1).max(since.0))));
    if first == last {
        return first;
    }
    format!("{first} - {last}")
}

fn date(at: &Zoned, language: Language) -> String {
    let format = match language {
        Language::En => "%b %-d",
        Language::Zh => "%m-%d",
    };
    at.strftime(format).to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_have_short_numbers() {
        for (most, told) in [
            (500_000, "$0.0005"),
            (4_100_000, "$0.004"),
            (USD / 2, "$0.50"),
            (3 * USD + USD / 10, "$3"),
            (37 * USD, "$30"),
            (9_000 * USD, "$8000"),
            (42_000 * USD, "$40K"),
            (61_000 * USD, "$60K"),
            (2_500_000 * USD, "$2.5M"),
        ] {
            let step = step(most);
            let highest = most / step * step;
            assert_eq!(Measure::Money.tick(highest, step), told, "{most}");
            assert_eq!(Measure::Money.tick(0, step), "$0");
        }
        assert_eq!(Measure::Tokens.tick(1_500_000, 500_000), "1.5M");
        assert_eq!(Measure::Tokens.tick(800, 200), "800");
    }

    fn begins(first: &str, count: i64, hours: i64) -> Vec<UnixMicros> {
        let first: jiff::Timestamp = first.parse().unwrap();
        let first = UnixMicros::from(first).0;
        let begins = (0..count).map(|at| UnixMicros(first + at * hours * 3_600_000_000));
        begins.collect()
    }

    #[test]
    fn times_are_few_and_those_of_the_zone() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let told = |begins: &[UnixMicros], language| {
            let times = times(begins, language, &zone);
            assert_eq!(times.len(), begins.len());
            times.into_iter().flatten().collect::<Vec<_>>().join(" ")
        };
        let day = begins("2026-11-18T23:00:00Z", 24, 1);
        assert_eq!(
            told(&day, Language::En),
            "00:00 02:00 04:00 06:00 08:00 10:00 12:00 14:00 16:00 18:00 20:00 22:00"
        );
        // At two the clocks show three.
        let spring = begins("2026-03-28T23:00:00Z", 6, 1);
        assert_eq!(
            told(&spring, Language::En),
            "00:00 01:00 03:00 04:00 05:00 06:00"
        );
        let two_days = begins("2026-11-18T23:00:00Z", 48, 1);
        assert_eq!(
            told(&two_days, Language::Zh),
            "00:00 06:00 12:00 18:00 11-20 06:00 12:00 18:00"
        );
        let month = begins("2026-11-18T23:00:00Z", 30, 24);
        assert_eq!(
            told(&month, Language::En),
            "Nov 19 Nov 24 Nov 29 Dec 4 Dec 9 Dec 14"
        );
        assert_eq!(told(&month[..2], Language::Zh), "11-19 11-20");
        assert_eq!(told(&[], Language::En), "");
        let span = days(month[0], month[7], Language::En, &zone);
        assert_eq!(span, "Nov 19 - Nov 25");
        assert_eq!(days(month[0], month[1], Language::Zh, &zone), "11-19");
    }

    #[test]
    fn sums_are_rounded() {
        for (value, told) in [
            (0, "$0.00"),
            (4_999_999, "<$0.01"),
            (5_000_000, "$0.01"),
            (1_234 * USD + 565_000_000, "$1,234.57"),
        ] {
            assert_eq!(Measure::Money.sum(value), told);
        }
        for (value, told) in [
            (950, "950 tokens"),
            (12_340, "12.3K tokens"),
            (999_900, "1000K tokens"),
            (12_000_000, "12.0M tokens"),
            (250_000_000, "250M tokens"),
        ] {
            assert_eq!(Measure::Tokens.sum(value), told);
        }
    }

    proptest! {
        #[test]
        fn no_value_lies_above_the_highest_line(most in 1_u64..=u64::MAX / 16) {
            let step = step(most);
            let lines = most.div_ceil(step);
            prop_assert!((1..=MOST_LINES).contains(&lines), "{lines} lines of {step}");
        }
    }
}
