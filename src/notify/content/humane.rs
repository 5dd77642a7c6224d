//! Money, counts, shares and times as people read them in a message, in both languages.
//!
//! Amounts are whole numbers of the finest unit from beginning to end: nothing here is a float.

use std::time::Duration;

use jiff::tz::TimeZone;

use crate::alert::{Quantity, Unit};
use crate::clock::UnixMicros;
use crate::config::Language;
use crate::money::NanoUsd;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const SECOND_US: u64 = 1_000_000;

/// Money: cents from ten cents on (`$3.40`, `$1,234.56`), up to four digits below (`$0.0042`), and
/// `<$0.0001` for what would else read as nothing. Rounded half up.
#[must_use]
pub fn usd(amount: NanoUsd) -> String {
    money(amount, rounded)
}

fn money(amount: NanoUsd, rounded: Rounding) -> String {
    const LEAST: u64 = 100_000;
    const TEN_CENTS: u64 = 100_000_000;
    let sign = if amount.0 < 0 { "-" } else { "" };
    let magnitude = amount.0.unsigned_abs();
    match magnitude {
        0 => "$0.00".to_owned(),
        1..LEAST => format!("{sign}<$0.0001"),
        LEAST..TEN_CENTS => {
            let steps = rounded(magnitude, LEAST);
            let digits = format!("{}.{:04}", steps / 10_000, steps % 10_000);
            let shortest = digits.len() - 2;
            let trimmed = digits.trim_end_matches('0').len().max(shortest);
            format!("{sign}${}", &digits[..trimmed])
        }
        _ => {
            let cents = rounded(magnitude, 10_000_000);
            format!("{sign}${}.{:02}", count(cents / 100), cents % 100)
        }
    }
}

/// A count with separators: `1,234,567`.
#[must_use]
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count at a glance: `950`, `9,999`, `12.3k`, `1.2M`, `3.4B`; in Chinese `1.2 万`, `3.4 亿`. What is
/// less than a tenth is cut off, so that nothing reads as more than it is.
#[must_use]
pub fn short_count(value: u64, language: Language) -> String {
    let (step, unit) = match (language, value) {
        (_, 0..10_000) => return count(value),
        (Language::En, 10_000..1_000_000) => (1_000, "k"),
        (Language::En, 1_000_000..1_000_000_000) => (1_000_000, "M"),
        (Language::En, _) => (1_000_000_000, "B"),
        (Language::Zh, 10_000..100_000_000) => (10_000, " 万"),
        (Language::Zh, _) => (100_000_000, " 亿"),
    };
    match value % step / (step / 10) {
        0 => format!("{}{unit}", count(value / step)),
        tenth => format!("{}.{tenth}{unit}", count(value / step)),
    }
}

/// Tokens: `950 tokens`, `1.2M tokens`, `120 万 token`.
#[must_use]
pub fn tokens(value: u64, language: Language) -> String {
    let counted = short_count(value, language);
    match language {
        Language::En if value == 1 => format!("{counted} token"),
        Language::En => format!("{counted} tokens"),
        Language::Zh => format!("{counted} token"),
    }
}

/// Requests: `1 request`, `1,234 requests`, `1,234 次请求`.
#[must_use]
pub fn requests(value: u64, language: Language) -> String {
    let counted = short_count(value, language);
    match language {
        Language::En if value == 1 => format!("{counted} request"),
        Language::En => format!("{counted} requests"),
        Language::Zh if counted.ends_with(['万', '亿']) => format!("{counted}次请求"),
        Language::Zh => format!("{counted} 次请求"),
    }
}

/// A share of millionths: `12.5 %`, `0.4 %`, `100 %`; rounded half up to a tenth. Less than all never
/// reads as all.
#[must_use]
pub fn share(ppm: u64) -> String {
    // From here on a tenth more would be all.
    const NEARLY_ALL: u64 = 999_500;
    match ppm {
        NEARLY_ALL..1_000_000 => portion(ppm, cut_off),
        _ => portion(ppm, rounded),
    }
}

fn portion(ppm: u64, rounded: Rounding) -> String {
    let tenths = rounded(ppm, 1_000);
    match (tenths / 10, tenths % 10) {
        (0, 0) if ppm > 0 => "<0.1 %".to_owned(),
        (whole, 0) => format!("{} %", count(whole)),
        (whole, tenth) => format!("{}.{tenth} %", count(whole)),
    }
}

/// How much of `limit` a `value` is, in whole percent, cut off: what has not reached its limit never
/// reads as 100 %. `None` where that says nothing: another unit, no limit, less than nothing.
#[must_use]
pub fn percent_of(value: Quantity, limit: Quantity) -> Option<u64> {
    if value.unit != limit.unit || limit.value <= 0 {
        return None;
    }
    let value = u128::try_from(value.value).ok()?;
    let limit = u128::try_from(limit.value).ok()?;
    u64::try_from(value * 100 / limit).ok()
}

/// A latency of microseconds: `850 µs`, `450 ms`, `4.5 s`, from 100 s on as a [`duration`].
#[must_use]
pub fn latency(us: u64, language: Language) -> String {
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..SECOND_US => format!("{} ms", us / 1_000),
        SECOND_US..100_000_000 => {
            let hundredths = us / 10_000;
            let (whole, rest) = (hundredths / 100, hundredths % 100);
            let digits = match (whole, rest) {
                (_, 0) => whole.to_string(),
                (0..10, rest) if rest % 10 != 0 => format!("{whole}.{rest:02}"),
                (_, 0..10) => whole.to_string(),
                (_, rest) => format!("{whole}.{}", rest / 10),
            };
            format!("{digits} s")
        }
        _ => duration(Duration::from_micros(us), language),
    }
}

/// A length of time in its two largest units: `45 s`, `5 min`, `2 h 5 min`, `3 d 4 h`; `2 小时 5 分`.
#[must_use]
pub fn duration(length: Duration, language: Language) -> String {
    let seconds = length.as_secs();
    let names = match language {
        Language::En => ["d", "h", "min", "s"],
        Language::Zh => ["天", "小时", "分", "秒"],
    };
    let parts = [
        seconds / DAY,
        seconds % DAY / HOUR,
        seconds % HOUR / MINUTE,
        seconds % MINUTE,
    ];
    let Some(first) = parts.iter().position(|part| *part > 0) else {
        return format!("0 {}", names[3]);
    };
    // From a quarter of an hour on nobody reads seconds.
    let last = match first {
        2 if parts[2] >= 15 => 2,
        _ => (first + 1).min(3),
    };
    let told: Vec<String> = (first..=last)
        .filter(|at| parts[*at] > 0)
        .map(|at| format!("{} {}", parts[at], names[at]))
        .collect();
    match (told.as_slice(), language) {
        // Minutes alone are not to be taken for points.
        ([only], Language::Zh) if only.ends_with('分') => format!("{only}钟"),
        _ => told.join(" "),
    }
}

/// A moment by the clocks of a zone: `14:03` on the day that `now` is on, else `2026-11-20 14:03 +01:00`.
#[must_use]
pub fn moment(at: UnixMicros, now: UnixMicros, zone: &TimeZone) -> String {
    let local = at.timestamp().to_zoned(zone.clone());
    let today = now.timestamp().to_zoned(zone.clone());
    if local.date() == today.date() {
        local.strftime("%H:%M").to_string()
    } else {
        local.strftime("%Y-%m-%d %H:%M %:z").to_string()
    }
}

/// A day of a zone's calendar: `2026-11-20`.
#[must_use]
pub fn date(at: UnixMicros, zone: &TimeZone) -> String {
    let local = at.timestamp().to_zoned(zone.clone());
    local.strftime("%Y-%m-%d").to_string()
}

/// How far away a moment is: `in 3 h`, `2 h 5 min ago`, `now`; `3 小时后`, `2 小时 5 分前`, `刚刚`.
#[must_use]
pub fn relative(at: UnixMicros, now: UnixMicros, language: Language) -> String {
    let (ahead, behind) = (at.since(now), now.since(at));
    let shown = |length: Duration| duration(length, language);
    match (ahead.as_secs(), behind.as_secs(), language) {
        (0, 0, Language::En) => "now".to_owned(),
        (0, 0, Language::Zh) => "刚刚".to_owned(),
        (0, _, Language::En) => format!("{} ago", shown(behind)),
        (0, _, Language::Zh) => format!("{}前", shown(behind)),
        (_, _, Language::En) => format!("in {}", shown(ahead)),
        (_, _, Language::Zh) => format!("{}后", shown(ahead)),
    }
}

/// A value with the words of its unit: `$3.40`, `1.2M tokens`, `12.5 %`, `4.5 s`, `20.4 tokens/s`, `3×`.
#[must_use]
pub fn quantity(quantity: Quantity, language: Language) -> String {
    let magnitude = quantity.value.unsigned_abs();
    let text = match quantity.unit {
        Unit::Tokens => tokens(magnitude, language),
        Unit::Requests => requests(magnitude, language),
        _ => return bare(quantity, language),
    };
    signed(quantity, text)
}

/// The same where the words of its unit stand elsewhere: `1.2M`.
#[must_use]
pub fn bare(quantity: Quantity, language: Language) -> String {
    let magnitude = quantity.value.unsigned_abs();
    let text = match quantity.unit {
        Unit::Usd => return usd(NanoUsd(quantity.value)),
        Unit::Tokens | Unit::Requests => short_count(magnitude, language),
        Unit::Ratio => share(magnitude),
        Unit::Seconds => latency(magnitude, language),
        Unit::TokensPerSecond => match language {
            Language::En => format!("{} tokens/s", tenths(magnitude)),
            Language::Zh => format!("{} token/秒", tenths(magnitude)),
        },
        Unit::Times => format!("{}×", tenths(magnitude)),
    };
    signed(quantity, text)
}

/// A value that stands beside a limit: as [`quantity`], but cut off where it is below, so that it does
/// not read as if it had reached it.
#[must_use]
pub fn beside(value: Quantity, limit: Quantity, language: Language) -> String {
    cut_below(value, limit).unwrap_or_else(|| quantity(value, language))
}

/// A value whose text is rounded, cut off instead; `None` of others, and of what is not below the limit.
fn cut_below(value: Quantity, limit: Quantity) -> Option<String> {
    let is_below = value.unit == limit.unit && value.value < limit.value;
    let magnitude = u64::try_from(value.value).ok().filter(|_| is_below)?;
    match value.unit {
        Unit::Usd => Some(money(NanoUsd(value.value), cut_off)),
        Unit::Ratio => Some(portion(magnitude, cut_off)),
        _ => None,
    }
}

/// A value against its limit: `$103.20 of $100.00`, `1.2M of 1M tokens`; `$103.20 / $100.00`. What is
/// below its limit does not read as if it had reached it.
#[must_use]
pub fn against(value: Quantity, limit: Quantity, language: Language) -> String {
    let value = cut_below(value, limit).unwrap_or_else(|| bare(value, language));
    let limit = quantity(limit, language);
    match language {
        Language::En => format!("{value} of {limit}"),
        Language::Zh => format!("{value} / {limit}"),
    }
}

/// How a figure changed: `+23 %`, `−4 %`, `±0 %`, `×12` from ten times on; `new` where there was nothing
/// before. `None` where there is nothing to compare.
#[must_use]
pub fn change(now: i64, before: Option<i64>, language: Language) -> Option<String> {
    let before = before?;
    if before <= 0 {
        let new = match language {
            Language::En => "new",
            Language::Zh => "新增",
        };
        return (before == 0 && now > 0).then(|| new.to_owned());
    }
    let (now, before) = (i128::from(now), i128::from(before));
    if now >= before * 10 {
        return Some(format!("×{}", now / before));
    }
    let difference = (now - before) * 100;
    let percent = (difference.abs() + before / 2) / before;
    Some(match (percent, difference > 0) {
        (0, _) => "±0 %".to_owned(),
        (_, true) => format!("+{percent} %"),
        (_, false) => format!("−{percent} %"),
    })
}

fn signed(quantity: Quantity, text: String) -> String {
    if quantity.value < 0 {
        format!("-{text}")
    } else {
        text
    }
}

/// Thousandths with at most a tenth.
fn tenths(thousandths: u64) -> String {
    match thousandths % 1_000 / 100 {
        0 => count(thousandths / 1_000),
        tenth => format!("{}.{tenth}", count(thousandths / 1_000)),
    }
}

/// How many steps a value is told as.
type Rounding = fn(u64, u64) -> u64;

fn rounded(value: u64, step: u64) -> u64 {
    value.saturating_add(step / 2) / step
}

const fn cut_off(value: u64, step: u64) -> u64 {
    value / step
}

#[cfg(test)]
mod tests {
    use super::*;
    use Language::{En, Zh};

    #[test]
    fn money_is_told_at_a_glance_and_never_as_nothing() {
        for (nanos, told) in [
            (0, "$0.00"),
            (1, "<$0.0001"),
            (99_999, "<$0.0001"),
            (100_000, "$0.0001"),
            (4_200_000, "$0.0042"),
            (50_000_000, "$0.05"),
            (12_340_000, "$0.0123"),
            (99_999_999, "$0.10"),
            (3_400_000_000, "$3.40"),
            (999_999_999, "$1.00"),
            (1_234_560_000_000, "$1,234.56"),
            (-3_400_000_000, "-$3.40"),
            (-1, "-<$0.0001"),
            (i64::MAX, "$9,223,372,036.85"),
            (i64::MIN, "-$9,223,372,036.85"),
        ] {
            assert_eq!(usd(NanoUsd(nanos)), told, "{nanos}");
        }
    }

    #[test]
    fn counts_are_in_the_words_of_their_language() {
        for (value, en, zh) in [
            (1, "1 token", "1 token"),
            (950, "950 tokens", "950 token"),
            (9_999, "9,999 tokens", "9,999 token"),
            (12_345, "12.3k tokens", "1.2 万 token"),
            (999_999, "999.9k tokens", "99.9 万 token"),
            (1_200_000, "1.2M tokens", "120 万 token"),
            (3_400_000_000, "3.4B tokens", "34 亿 token"),
        ] {
            assert_eq!(tokens(value, En), en);
            assert_eq!(tokens(value, Zh), zh);
        }
        assert_eq!(requests(1, En), "1 request");
        assert_eq!(requests(20, Zh), "20 次请求");
        assert_eq!(requests(18_240, Zh), "1.8 万次请求");
        assert_eq!(count(u64::MAX), "18,446,744,073,709,551,615");
    }

    #[test]
    fn shares_and_percents() {
        for (ppm, told) in [
            (0, "0 %"),
            (1, "<0.1 %"),
            (125_000, "12.5 %"),
            (1_000_000, "100 %"),
            (999_999, "99.9 %"),
            (999_499, "99.9 %"),
            (12_500_000, "1,250 %"),
        ] {
            assert_eq!(share(ppm), told);
        }
        let usd = |value| Quantity {
            unit: Unit::Usd,
            value,
        };
        assert_eq!(percent_of(usd(999), usd(1000)), Some(99));
        assert_eq!(
            percent_of(usd(i64::MAX), usd(1)),
            None,
            "more than a number holds"
        );
        assert_eq!(percent_of(usd(1), usd(0)), None);
        assert_eq!(percent_of(usd(-1), usd(1)), None);
    }

    #[test]
    fn times_take_the_fitting_unit() {
        for (us, told) in [
            (850, "850 µs"),
            (450_000, "450 ms"),
            (4_500_000, "4.5 s"),
            (4_560_000, "4.56 s"),
            (4_000_000, "4 s"),
            (12_050_000, "12 s"),
            (12_550_000, "12.5 s"),
            (125_000_000, "2 min 5 s"),
        ] {
            assert_eq!(latency(us, En), told);
        }
        for (seconds, en, zh) in [
            (0, "0 s", "0 秒"),
            (45, "45 s", "45 秒"),
            (125, "2 min 5 s", "2 分 5 秒"),
            (1_000, "16 min", "16 分钟"),
            (7_500, "2 h 5 min", "2 小时 5 分"),
            (7_200, "2 h", "2 小时"),
            (273_600, "3 d 4 h", "3 天 4 小时"),
        ] {
            assert_eq!(duration(Duration::from_secs(seconds), En), en);
            assert_eq!(duration(Duration::from_secs(seconds), Zh), zh);
        }
    }

    #[test]
    fn moments_are_of_their_zone_and_today_is_short() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let at: jiff::Timestamp = "2026-11-20T13:03:00Z".parse().unwrap();
        let at = UnixMicros::from(at);
        let hours = |count: u64| Duration::from_secs(count * HOUR);
        assert_eq!(moment(at, at.plus(hours(9)), &zone), "14:03");
        assert_eq!(
            moment(at, at.plus(hours(10)), &zone),
            "2026-11-20 14:03 +01:00"
        );
        assert_eq!(relative(at, at.minus(hours(3)), En), "in 3 h");
        assert_eq!(relative(at, at.plus(hours(3)), Zh), "3 小时前");
        assert_eq!(relative(at, at, En), "now");
        assert_eq!(moment(UnixMicros(i64::MAX), at, &zone).len(), 23);
    }

    #[test]
    fn changes_say_which_way() {
        for (now, before, en) in [
            (123, Some(100), Some("+23 %")),
            (96, Some(100), Some("−4 %")),
            (100, Some(100), Some("±0 %")),
            (1_200, Some(100), Some("×12")),
            (5, Some(0), Some("new")),
            (0, Some(0), None),
            (5, None, None),
            (i64::MAX, Some(i64::MAX), Some("±0 %")),
            (i64::MIN, Some(i64::MAX), Some("−200 %")),
        ] {
            assert_eq!(change(now, before, En).as_deref(), en);
        }
        assert_eq!(change(5, Some(0), Zh).as_deref(), Some("新增"));
    }

    #[test]
    fn a_value_stands_against_its_limit() {
        let of = |unit, value, limit, language| {
            against(
                Quantity { unit, value },
                Quantity { unit, value: limit },
                language,
            )
        };
        assert_eq!(
            of(Unit::Usd, 103_200_000_000, 100_000_000_000, En),
            "$103.20 of $100.00"
        );
        assert_eq!(
            of(Unit::Tokens, 1_200_000, 1_000_000, En),
            "1.2M of 1M tokens"
        );
        assert_eq!(
            of(Unit::Tokens, 1_200_000, 1_000_000, Zh),
            "120 万 / 100 万 token"
        );
        assert_eq!(of(Unit::Ratio, 125_000, 50_000, En), "12.5 % of 5 %");
        // What is below its limit does not read as if it had reached it.
        assert_eq!(
            of(Unit::Usd, 99_996_000_000, 100_000_000_000, En),
            "$99.99 of $100.00"
        );
        assert_eq!(
            of(Unit::Usd, 100_000_000_000, 100_000_000_000, En),
            "$100.00 of $100.00"
        );
        assert_eq!(
            of(Unit::Usd, 49_990_000, 50_000_000, En),
            "$0.0499 of $0.05"
        );
        assert_eq!(of(Unit::Ratio, 49_960, 50_000, Zh), "4.9 % / 5 %");
        let ratio = |value| Quantity {
            unit: Unit::Ratio,
            value,
        };
        assert_eq!(beside(ratio(49_960), ratio(50_000), En), "4.9 %");
        assert_eq!(beside(ratio(50_040), ratio(50_000), En), "5 %");
        assert_eq!(of(Unit::Times, 3_200, 3_000, Zh), "3.2× / 3×");
        assert_eq!(
            of(Unit::TokensPerSecond, 20_470, 30_000, En),
            "20.4 tokens/s of 30 tokens/s"
        );
    }
}
