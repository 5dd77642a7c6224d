//! Numbers, money, durations and foreign text as people read them.

use std::borrow::Cow;
use std::time::Duration;

use jiff::tz::TimeZone;

use crate::alert::{Quantity, Unit};
use crate::clock::UnixMicros;
use crate::money::NanoUsd;
use crate::rules::written;

/// What stands for the unknown: neither 0 nor nothing.
pub(super) const UNKNOWN: &str = "–";

/// A count with separators: `1,234,567`.
pub(super) fn count(count: u64) -> String {
    grouped(&count.to_string())
}

/// A count at a glance: `9,999`, `12.3k`, `1.2M`, `3.4B`; what is less is cut off.
fn count_short(value: u64) -> String {
    let (step, unit) = match value {
        0..10_000 => return count(value),
        10_000..1_000_000 => (1_000, "k"),
        1_000_000..1_000_000_000 => (1_000_000, "M"),
        _ => (1_000_000_000, "B"),
    };
    match value % step / (step / 10) {
        0 => format!("{}{unit}", count(value / step)),
        tenth => format!("{}.{tenth}{unit}", count(value / step)),
    }
}

/// A size at a glance, by powers of 1000: `512 B`, `9.9 kB`, `1.2 GB`; what is less is cut off.
pub(super) fn bytes(bytes: u64) -> String {
    let (step, unit) = match bytes {
        0..1_000 => return format!("{bytes} B"),
        1_000..1_000_000 => (1_000, "kB"),
        1_000_000..1_000_000_000 => (1_000_000, "MB"),
        _ => (1_000_000_000, "GB"),
    };
    let tenth = bytes % step / (step / 10);
    format!("{}.{tenth} {unit}", count(bytes / step))
}

/// A value at a glance: `$3.40`, `1.2M tokens`, `12.5%`, `2.35 s`.
pub(super) fn quantity(quantity: Quantity) -> String {
    let text = quantity_bare(quantity);
    match quantity.unit {
        Unit::Tokens => format!("{text} tokens"),
        Unit::Requests if quantity.value == 1 => format!("{text} request"),
        Unit::Requests => format!("{text} requests"),
        Unit::TokensPerSecond => format!("{text} tokens/s"),
        Unit::Usd | Unit::Ratio | Unit::Seconds | Unit::Times => text,
    }
}

/// The same where the words of its unit stand elsewhere.
pub(super) fn quantity_bare(quantity: Quantity) -> String {
    const HOUR_US: u64 = 3_600_000_000;
    let (sign, magnitude) = match quantity.value {
        value if value < 0 => ("-", value.unsigned_abs()),
        value => ("", value.unsigned_abs()),
    };
    let text = match quantity.unit {
        Unit::Usd => return usd_short(NanoUsd(quantity.value)),
        Unit::Tokens | Unit::Requests => count_short(magnitude),
        Unit::Ratio => format!("{}.{}%", magnitude / 10_000, magnitude % 10_000 / 1_000),
        Unit::Seconds if magnitude >= HOUR_US => {
            let minutes = magnitude / 60_000_000;
            written(Duration::from_secs(minutes * 60))
        }
        Unit::Seconds => duration(magnitude),
        Unit::TokensPerSecond => tenths(magnitude),
        Unit::Times => format!("{}x", tenths(magnitude)),
    };
    format!("{sign}{text}")
}

/// Thousandths as tenths.
fn tenths(thousandths: u64) -> String {
    format!(
        "{}.{}",
        count(thousandths / 1_000),
        thousandths % 1_000 / 100
    )
}

/// A count, or the sign for the unknown.
pub(super) fn count_or_unknown(value: Option<u64>) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), count)
}

/// Money for a column: four digits after the point from a cent on (`$1,234.5678`), six below
/// (`$0.000350`), and all of them where even that would round to nothing.
pub(super) fn usd(amount: NanoUsd) -> String {
    const CENT: u64 = 10_000_000;
    const MICRO: u64 = 1_000;
    let magnitude = amount.0.unsigned_abs();
    let digits: u32 = match magnitude {
        1..MICRO => return usd_exact(amount),
        MICRO..CENT => 6,
        _ => 4,
    };
    usd_to(amount, digits)
}

/// Money at a glance: cents from a dollar on (`$1,234.57`), below as [`usd`] has it.
fn usd_short(amount: NanoUsd) -> String {
    const DOLLAR: u64 = 1_000_000_000;
    match amount.0.unsigned_abs() {
        1..DOLLAR => usd(amount),
        _ => usd_to(amount, 2),
    }
}

/// Rounded to so many digits after the point.
fn usd_to(amount: NanoUsd, digits: u32) -> String {
    let magnitude = amount.0.unsigned_abs();
    let sign = if amount.0 < 0 { "-" } else { "" };
    let step = 10_u64.pow(9 - digits);
    let steps = magnitude.saturating_add(step / 2) / step;
    let in_a_dollar = 10_u64.pow(digits);
    let (whole, fraction) = (steps / in_a_dollar, steps % in_a_dollar);
    let width = digits as usize;
    format!("{sign}${}.{fraction:0width$}", count(whole))
}

/// Money with its sign, which is what matters in a difference.
pub(super) fn signed(amount: NanoUsd) -> String {
    let sign = if amount.0 > 0 { "+" } else { "" };
    format!("{sign}{}", usd(amount))
}

/// Money to the last digit: `$0.000123`.
pub(super) fn usd_exact(amount: NanoUsd) -> String {
    let text = amount.to_string();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.as_str()),
    };
    match digits.split_once('.') {
        Some((whole, fraction)) => format!("{sign}${}.{fraction}", grouped(whole)),
        None => format!("{sign}${}", grouped(digits)),
    }
}

/// A duration in the unit that leaves three to four digits: `85 µs`, `1.25 ms`, `340 ms`,
/// `2.35 s`, `12m 05s`.
pub(super) fn duration(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} µs"),
        // Integers throughout: rounding a float up would print `1000 ms`.
        1_000..10_000 => format!("{}.{:02} ms", us / 1_000, us % 1_000 / 10),
        10_000..100_000 => format!("{}.{} ms", us / 1_000, us % 1_000 / 100),
        100_000..1_000_000 => format!("{} ms", us / 1_000),
        1_000_000..100_000_000 => {
            format!("{}.{:02} s", us / 1_000_000, us % 1_000_000 / 10_000)
        }
        _ => {
            let seconds = us / 1_000_000;
            format!("{}m {:02}s", count(seconds / 60), seconds % 60)
        }
    }
}

/// A duration, or the sign for the unknown.
pub(super) fn duration_or_unknown(us: Option<u64>) -> String {
    us.map_or_else(|| UNKNOWN.to_owned(), duration)
}

/// A span of an operator's choosing: whole days as such (humantime would make months of them that
/// are not whole), everything else as humantime has it.
pub(super) fn span(span: Duration) -> String {
    const DAY: u64 = 24 * 3600;
    match span.as_secs() {
        seconds if seconds >= DAY && seconds.is_multiple_of(DAY) => {
            format!("{} days", count(seconds / DAY))
        }
        _ => humantime::format_duration(span).to_string(),
    }
}

/// A moment in a zone, to the second: `2026-11-20 10:00:00`.
pub(super) fn moment(moment: UnixMicros, timezone: &TimeZone) -> String {
    let zoned = moment.timestamp().to_zoned(timezone.clone());
    zoned.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// The name of a zone.
pub(super) fn zone(timezone: &TimeZone) -> &str {
    timezone.iana_name().unwrap_or("UTC")
}

/// Text from outside (a model's name, an error's message), safe to print: what would steer a
/// terminal (control characters) or reorder the line (bidirectional marks) is replaced.
pub(super) fn shown(text: &str) -> Cow<'_, str> {
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if text.contains(steers) {
        Cow::Owned(text.replace(steers, "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// A name from outside for a table, safe to print and cut to a width that leaves room for the
/// other columns; or the sign for the unknown.
pub(super) fn name_or_unknown(text: Option<&str>) -> String {
    /// Characters; real models' names have half as many.
    const LONGEST: usize = 48;
    let name = text.map_or(Cow::Borrowed(UNKNOWN), shown);
    match name.char_indices().nth(LONGEST) {
        Some(_) => name.chars().take(LONGEST - 1).chain(['…']).collect(),
        None => name.into_owned(),
    }
}

/// Separators into a run of digits.
fn grouped(digits: &str) -> String {
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_separators() {
        for (value, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
            (u64::MAX, "18,446,744,073,709,551,615"),
        ] {
            assert_eq!(count(value), text);
        }
        assert_eq!(count_or_unknown(None), "–");
        assert_eq!(count_or_unknown(Some(0)), "0");
    }

    #[test]
    fn money_lines_up_and_never_rounds_to_nothing() {
        for (nanos, text) in [
            (0, "$0.0000"),
            (1, "$0.000000001"),
            (999, "$0.000000999"),
            (1_000, "$0.000001"),
            (350_499, "$0.000350"),
            (350_500, "$0.000351"),
            (9_999_999, "$0.010000"),
            (12_349_999, "$0.0123"),
            (12_350_000, "$0.0124"),
            (999_950_000, "$1.0000"),
            (1_234_567_800_000, "$1,234.5678"),
            (-12_300_000, "-$0.0123"),
        ] {
            assert_eq!(usd(NanoUsd(nanos)), text);
        }
        assert_eq!(usd_exact(NanoUsd(1_234_000_000_001)), "$1,234.000000001");
        assert_eq!(usd_exact(NanoUsd(-5_000_000_000)), "-$5");
    }

    #[test]
    fn durations_take_the_fitting_unit() {
        for (us, text) in [
            (0, "0 µs"),
            (999, "999 µs"),
            (1_250, "1.25 ms"),
            (9_999, "9.99 ms"),
            (12_345, "12.3 ms"),
            (340_999, "340 ms"),
            (999_999, "999 ms"),
            (2_350_000, "2.35 s"),
            (99_999_999, "99.99 s"),
            (725_000_000, "12m 05s"),
        ] {
            assert_eq!(duration(us), text);
        }
    }

    #[test]
    fn quantities_are_told_at_a_glance() {
        for (unit, value, text) in [
            (Unit::Usd, 3_400_000_000, "$3.40"),
            (Unit::Usd, 1_234_567_000_000, "$1,234.57"),
            (Unit::Usd, -1_500_000_000, "-$1.50"),
            (Unit::Usd, 999_999_999, "$1.0000"),
            (Unit::Usd, 350_000, "$0.000350"),
            (Unit::Usd, 0, "$0.00"),
            (Unit::Tokens, 9_999, "9,999 tokens"),
            (Unit::Tokens, 10_000, "10k tokens"),
            (Unit::Tokens, 999_999, "999.9k tokens"),
            (Unit::Tokens, 1_250_000, "1.2M tokens"),
            (Unit::Requests, 3_000_000_000, "3B requests"),
            (Unit::Ratio, 125_000, "12.5%"),
            (Unit::Seconds, 2_350_000, "2.35 s"),
            (Unit::Seconds, 93_650_000_000, "1d 2h"),
            (Unit::TokensPerSecond, 20_470, "20.4 tokens/s"),
            (Unit::Times, 3_000, "3.0x"),
        ] {
            assert_eq!(quantity(Quantity { unit, value }), text);
        }
    }

    #[test]
    fn spans_of_days_stay_days() {
        let day = Duration::from_secs(24 * 3600);
        assert_eq!(span(90 * day), "90 days");
        assert_eq!(span(day + Duration::from_secs(3600)), "1day 1h");
        assert_eq!(span(Duration::from_secs(90)), "1m 30s");
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        assert_eq!(name_or_unknown(None), "–");
        assert_eq!(name_or_unknown(Some(&"ü".repeat(48))), "ü".repeat(48));
        let cut = name_or_unknown(Some(&"ü".repeat(49)));
        assert_eq!(cut, format!("{}…", "ü".repeat(47)));
    }

    #[test]
    fn foreign_text_does_not_steer_the_terminal() {
        assert_eq!(shown("gpt-5 – ünïcode"), "gpt-5 – ünïcode");
        assert_eq!(
            shown("a\x1b[2Jb\nc\u{202e}d"),
            "a\u{fffd}[2Jb\u{fffd}c\u{fffd}d"
        );
    }
}
