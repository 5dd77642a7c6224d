//! Scalars as written in JSON, turned into text and counts. Tolerant: they were not validated.

use memchr::memchr;

use crate::money::NanoUsd;

/// The text of a JSON string token, or of a number or literal as written; `None` for `null`, an
/// empty text and one longer than `max` bytes.
pub(crate) fn whole(token: &[u8], max: usize) -> Option<Box<str>> {
    let text = lenient(token, max + 1);
    (!text.is_empty() && text.len() <= max).then(|| text.into_boxed_str())
}

/// As [`whole`], but a longer text is cut at a character's boundary, and unknown is empty.
pub(crate) fn lenient(token: &[u8], max: usize) -> String {
    let mut text = String::new();
    read_into(&mut text, token, max);
    text
}

/// As [`lenient`], into a buffer whose former text is dropped.
pub(crate) fn read_into(text: &mut String, token: &[u8], max: usize) {
    text.clear();
    match token {
        b"null" => {}
        // A token that was cut has no closing quote.
        [b'"', raw @ ..] => unescape_into(text, raw.strip_suffix(b"\"").unwrap_or(raw), max),
        other => unescape_into(text, other, max),
    }
}

/// The text of a JSON string without its quotes, at most `max` bytes of it. What is no UTF-8 or
/// no valid escape becomes U+FFFD.
pub(crate) fn unescape(raw: &[u8], max: usize) -> String {
    let mut text = String::new();
    unescape_into(&mut text, raw, max);
    text
}

fn unescape_into(text: &mut String, raw: &[u8], max: usize) {
    // Exactly what a text without escapes takes, so that boxing it copies nothing.
    text.reserve_exact(raw.len().min(max));
    let mut rest = raw;
    while !rest.is_empty() && text.len() < max {
        let plain = memchr(b'\\', rest).unwrap_or(rest.len());
        // No byte becomes less than a byte, so `max` of them suffice; three more let a character
        // at the bound be whole before it is cut.
        let piece = &rest[..plain.min(max + 3)];
        match std::str::from_utf8(piece) {
            Ok(piece) => text.push_str(piece),
            Err(_) => text.push_str(&String::from_utf8_lossy(piece)),
        }
        rest = &rest[plain..];
        if let [b'\\', escape @ ..] = rest {
            let (character, used) = escaped_character(escape);
            text.push(character);
            rest = &escape[used..];
        }
    }
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
}

/// The character behind a backslash and how many bytes name it.
fn escaped_character(escape: &[u8]) -> (char, usize) {
    const UNKNOWN: char = char::REPLACEMENT_CHARACTER;
    let Some(&kind) = escape.first() else {
        return (UNKNOWN, 0);
    };
    let character = match kind {
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'"' | b'\\' | b'/' => char::from(kind),
        b'u' => return unicode_escape(escape),
        _ => UNKNOWN,
    };
    (character, 1)
}

/// `uXXXX`, or a surrogate pair `uXXXX\uXXXX`.
fn unicode_escape(escape: &[u8]) -> (char, usize) {
    const UNKNOWN: char = char::REPLACEMENT_CHARACTER;
    let hex = |at: usize| -> Option<u32> {
        let digits = std::str::from_utf8(escape.get(at..at + 4)?).ok()?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        u32::from_str_radix(digits, 16).ok()
    };
    let Some(unit) = hex(1) else {
        return (UNKNOWN, 1);
    };
    if let Some(character) = char::from_u32(unit) {
        return (character, 5);
    }
    // What is no character by itself is half of a surrogate pair.
    let low = (escape.get(5..7) == Some(b"\\u")).then(|| hex(7)).flatten();
    match low {
        Some(low @ 0xDC00..=0xDFFF) if unit < 0xDC00 => {
            let scalar = 0x1_0000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
            (char::from_u32(scalar).unwrap_or(UNKNOWN), 11)
        }
        _ => (UNKNOWN, 5),
    }
}

/// A count: a whole number from 0 to 2⁶³ − 1 (what the ledger holds), written as a number, as a
/// number with a zero fraction, or as a string of either. `None` for anything else: a negative
/// or overflowing count is unknown, not zero.
pub(crate) fn count(token: &[u8]) -> Option<u64> {
    let token = match token {
        [b'"', digits @ .., b'"'] => digits,
        other => other,
    };
    if let Some(count) = short_count(token) {
        return Some(count);
    }
    let text = std::str::from_utf8(token).ok()?.trim();
    let storable = |count: &u64| i64::try_from(*count).is_ok();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().filter(storable);
    }
    if !text.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let number: f64 = text.parse().ok()?;
    // Up to 2⁵³ a float is the exact whole number that was written.
    let exact = number.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&number);
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole and within 0..=2^53, checked right above"
    )]
    exact.then_some(number as u64)
}

/// The Unicode scalar values of a JSON string token, each escape being what it stands for (a pair
/// of surrogates one, half of one one); `None` for anything else.
pub(crate) fn characters(token: &[u8]) -> Option<u64> {
    let [b'"', raw @ .., b'"'] = token else {
        return None;
    };
    let mut count = 0;
    let mut rest = raw;
    while let Some((&byte, behind)) = rest.split_first() {
        // All but the bytes that continue a character of UTF-8.
        count += u64::from(byte & 0xC0 != 0x80);
        rest = match byte {
            b'\\' => &behind[escaped_character(behind).1..],
            _ => behind,
        };
    }
    Some(count)
}

/// Digits and nothing else, few enough for any number of them to be a count: nearly all there are.
fn short_count(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    digits.iter().try_fold(0, |count, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit < 10).then(|| count * 10 + u64::from(digit))
    })
}

/// No request costs more, in USD: what is stated beyond is no cost.
const MOST_USD: u64 = 1_000_000;

/// Seconds as a decimal number, or a string of one, in milliseconds, rounded half up. `None` for
/// what is negative, absurd or no number.
pub(crate) fn milliseconds(token: &[u8]) -> Option<u64> {
    decimal(token, 3).filter(|millis| i64::try_from(*millis).is_ok())
}

/// An amount of USD as providers write it, a decimal number with or without an exponent, or a string
/// of one, rounded half up to a nano-dollar. `None` for what is negative, absurd or no number.
pub(crate) fn usd(token: &[u8]) -> Option<NanoUsd> {
    amount(decimal(token, 9)?)
}

/// An amount in units of 1e-10 USD, as [`usd`].
pub(crate) fn usd_ticks(token: &[u8]) -> Option<NanoUsd> {
    amount(decimal(token, -1)?)
}

fn amount(nanos: u64) -> Option<NanoUsd> {
    (nanos <= MOST_USD * 1_000_000_000)
        .then(|| i64::try_from(nanos).ok())
        .flatten()
        .map(NanoUsd)
}

/// The number times 10 to the power `scale`, rounded half up; exact, whatever its digits.
fn decimal(token: &[u8], scale: i32) -> Option<u64> {
    /// More digits before rounding than any amount has.
    const MOST_DIGITS: u32 = 30;
    let token = match token {
        [b'"', number @ .., b'"'] => number,
        other => other,
    };
    let text = std::str::from_utf8(token).ok()?.trim();
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() {
        return None;
    }
    let mut power = exponent.checked_add(scale)?;
    let (mut digits, mut count) = (0_u128, 0);
    for (at, byte) in whole.bytes().chain(fraction.bytes()).enumerate() {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        let after_point = at >= whole.len();
        if count < MOST_DIGITS {
            digits = digits * 10 + u128::from(digit);
            count += u32::from(digits > 0);
            power = power.checked_sub(i32::from(after_point))?;
        } else {
            power = power.checked_add(i32::from(!after_point))?;
        }
    }
    let scaled = if digits == 0 {
        0
    } else if let Ok(up) = u32::try_from(power) {
        digits.checked_mul(10_u128.checked_pow(up)?)?
    } else {
        match 10_u128.checked_pow(power.unsigned_abs()) {
            Some(divisor) => (digits + divisor / 2) / divisor,
            None => 0,
        }
    };
    u64::try_from(scaled).ok()
}

/// `true` or `false`; `None` for anything else.
pub(crate) fn boolean(token: &[u8]) -> Option<bool> {
    match token {
        b"true" => Some(true),
        b"false" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_in_every_spelling() {
        for (token, expected) in [
            ("0", Some(0)),
            ("17", Some(17)),
            ("\"17\"", Some(17)),
            ("\" 17 \"", Some(17)),
            ("17.0", Some(17)),
            ("\"17.0\"", Some(17)),
            ("1e3", Some(1000)),
            ("9223372036854775807", Some(9_223_372_036_854_775_807)),
            ("9223372036854775808", None),
            ("99999999999999999999999", None),
            ("1e400", None),
            ("1e18", None),
            ("17.5", None),
            ("-1", None),
            ("-0", None),
            ("\"-3\"", None),
            ("null", None),
            ("true", None),
            ("\"\"", None),
            ("\"abc\"", None),
            ("inf", None),
            ("\"1", None),
        ] {
            assert_eq!(count(token.as_bytes()), expected, "{token}");
        }
    }

    #[test]
    fn amounts_in_every_spelling() {
        for (token, nanos) in [
            ("0", Some(0)),
            ("0.0", Some(0)),
            ("0e999", Some(0)),
            ("1", Some(1_000_000_000)),
            ("0.00001425", Some(14_250)),
            ("1.425e-05", Some(14_250)),
            ("1.425E-5", Some(14_250)),
            ("12.5e+1", Some(125_000_000_000)),
            ("\"0.25\"", Some(250_000_000)),
            ("\" 0.25 \"", Some(250_000_000)),
            ("0.1", Some(100_000_000)),
            // What no binary float holds exactly, and what a nano-dollar is too coarse for.
            (
                "0.123456789012345678901234567890123456789",
                Some(123_456_789),
            ),
            ("0.0000000005", Some(1)),
            ("0.00000000049999", Some(0)),
            ("1e-400", Some(0)),
            ("1000000", Some(1_000_000_000_000_000)),
            ("1000000.000000001", None),
            ("1e400", None),
            ("1e99999999999", None),
            ("100000000000000000000000000000000000000000000", None),
            ("-0.01", None),
            ("-0", None),
            ("+1", None),
            (".5", None),
            ("", None),
            ("\"\"", None),
            ("1e", None),
            ("1.2.3", None),
            ("1,5", None),
            ("NaN", None),
            ("null", None),
            ("true", None),
        ] {
            assert_eq!(usd(token.as_bytes()), nanos.map(NanoUsd), "{token}");
        }
        for (token, nanos) in [
            ("232856000", Some(23_285_600)),
            ("5", Some(1)),
            ("4", Some(0)),
            ("-5", None),
        ] {
            assert_eq!(usd_ticks(token.as_bytes()), nanos.map(NanoUsd), "{token}");
        }
    }

    #[test]
    fn seconds_are_exact_milliseconds() {
        for (token, expected) in [
            ("9", Some(9000)),
            ("0", Some(0)),
            ("8.47", Some(8470)),
            ("8.470000267028809", Some(8470)),
            ("0.0005", Some(1)),
            ("0.0004999999", Some(0)),
            ("59.9999", Some(60_000)),
            ("\"3.5\"", Some(3500)),
            ("1.5e3", Some(1_500_000)),
            ("10000000000000000", None),
            (".5", None),
            ("-1", None),
            ("1e400", None),
            ("null", None),
            ("\"\"", None),
        ] {
            assert_eq!(milliseconds(token.as_bytes()), expected, "{token}");
        }
    }

    #[test]
    fn characters_are_counted_as_a_json_parser_would() {
        for token in [
            r#""plain""#,
            "\"\"",
            r#""a\"b\\c\/d\n\t""#,
            r#""\u00e9\ud83d\ude00é😀e\u0301""#,
        ] {
            let text: String = serde_json::from_str(token).unwrap();
            let expected = text.chars().count() as u64;
            assert_eq!(characters(token.as_bytes()), Some(expected), "{token}");
        }
        assert_eq!(characters(br#""\ud83d!""#), Some(2));
        for token in ["null", "7", "[\"a\"]", "\"", ""] {
            assert_eq!(characters(token.as_bytes()), None, "{token}");
        }
    }

    #[test]
    fn strings_are_unescaped_as_a_json_parser_would() {
        for token in [
            r#""plain""#,
            r#""a\"b\\c\/d\n\t\r\b\f""#,
            r#""\u00e9\ud83d\ude00é😀""#,
            r#""""#,
        ] {
            let expected: String = serde_json::from_str(token).unwrap();
            assert_eq!(lenient(token.as_bytes(), 100), expected);
        }
    }

    #[test]
    fn what_is_no_text_becomes_replacement_characters() {
        assert_eq!(unescape(br"\ud83d!", 100), "\u{FFFD}!");
        assert_eq!(unescape(br"\ude00\ud83d", 100), "\u{FFFD}\u{FFFD}");
        assert_eq!(unescape(br"\u12", 100), "\u{FFFD}12");
        assert_eq!(unescape(br"\q\", 100), "\u{FFFD}\u{FFFD}");
        assert_eq!(unescape(b"a\xFFb", 100), "a\u{FFFD}b");
    }

    #[test]
    fn texts_are_bounded_at_character_boundaries() {
        assert_eq!(unescape("ééé".as_bytes(), 3), "é");
        assert_eq!(whole(b"\"abcd\"", 3), None);
        assert_eq!(whole(b"\"abc\"", 3).as_deref(), Some("abc"));
        assert_eq!(whole(b"\"\"", 3), None);
        assert_eq!(whole(b"null", 9), None);
        assert_eq!(whole(b"429", 9).as_deref(), Some("429"));
    }
}
