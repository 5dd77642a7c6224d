//! Amounts on a bill. They are sums of sums by somebody else and have more digits than a
//! nano-dollar, so they are added up exactly and rounded once.

use std::ops::Add;

use crate::money::NanoUsd;

/// Digits after the point that are kept.
const PLACES: usize = 18;

/// One of [`Amount`]'s units in a nano-dollar.
const IN_A_NANO_USD: i128 = 1_000_000_000;

/// Beyond it nothing but zero is in range.
const LARGEST_EXPONENT: i32 = 64;

/// An amount of USD in units of 10^-18.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount(i128);

/// A text that is no amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a decimal amount")]
pub struct AmountError(String);

impl Amount {
    /// Reads a decimal number as JSON writes it, with an exponent or without. Digits beyond the
    /// eighteenth after the point, which only binary floats have, are rounded.
    pub fn parse(text: &str) -> Result<Self, AmountError> {
        parse(text).ok_or_else(|| AmountError(text.chars().take(64).collect()))
    }

    /// Rounded to the nearest nano-dollar, a half away from zero.
    #[must_use]
    pub fn rounded(self) -> NanoUsd {
        let half = self.0.signum() * (IN_A_NANO_USD / 2);
        let nanos = self.0.saturating_add(half) / IN_A_NANO_USD;
        NanoUsd(i64::try_from(nanos).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX }))
    }
}

impl Add for Amount {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

fn parse(text: &str) -> Option<Amount> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (number, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, exponent.parse::<i32>().ok()?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let digits = [whole, fraction].concat();
    if exponent > LARGEST_EXPONENT {
        return None;
    }
    // Where the point stands in `digits`, and from there the last place that is kept.
    let point = i64::try_from(whole.len()).ok()? + i64::from(exponent);
    let kept = point + i64::try_from(PLACES).ok()?;
    let digit = |at: i64| -> i128 {
        let byte = usize::try_from(at)
            .ok()
            .and_then(|at| digits.as_bytes().get(at));
        byte.map_or(0, |byte| i128::from(byte - b'0'))
    };
    let mut units: i128 = 0;
    // What stands before the first digit is zero, however far before.
    for at in 0..kept.max(0) {
        units = units.checked_mul(10)?.checked_add(digit(at))?;
    }
    if kept >= 0 && digit(kept) >= 5 {
        units = units.checked_add(1)?;
    }
    Some(Amount(if negative { -units } else { units }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_taken_exactly() {
        for (text, nanos) in [
            ("0", 0),
            ("0.06", 60_000_000),
            ("12", 12_000_000_000),
            ("-1.5", -1_500_000_000),
            ("1e-05", 10_000),
            ("1.25E2", 125_000_000_000),
            ("0.8958740000000000", 895_874_000),
            ("0.13080438000000002", 130_804_380),
            ("0.0000000005", 1),
            ("-0.0000000005", -1),
            ("0.0000000004999", 0),
            ("1e-40", 0),
        ] {
            let amount = Amount::parse(text);
            assert_eq!(amount.map(Amount::rounded), Ok(NanoUsd(nanos)), "{text}");
        }
        for text in [
            "",
            "-",
            ".5",
            "1,5",
            "0x1",
            "NaN",
            "1e400",
            "0e99999999",
            "1e",
            "--1",
            "+1",
            "\"1\"",
        ] {
            assert!(Amount::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn small_amounts_add_up_before_they_are_rounded() {
        let tenth_of_a_nano = Amount::parse("0.0000000001").unwrap();
        let sum = (0..10).fold(Amount::default(), |sum, _| sum + tenth_of_a_nano);
        assert_eq!(sum.rounded(), NanoUsd(1));
    }
}
