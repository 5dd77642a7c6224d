//! Money, exact: integer nano-dollars inside, decimal strings of USD outside, never a binary float.

use std::fmt;
use std::iter::Sum;
use std::ops::Add;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Nano-dollars in a dollar.
const NANOS_PER_USD: i64 = 1_000_000_000;

/// An amount in nano-dollars (1e-9 USD). Addition saturates: a ledger that overflows nine billion
/// dollars stays at the end of the scale instead of wrapping to a credit.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct NanoUsd(pub i64);

impl NanoUsd {
    /// Nothing spent, which is not the same as an unknown amount (`None`).
    pub const ZERO: Self = Self(0);
}

impl Add for NanoUsd {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sum for NanoUsd {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

/// A decimal string of USD without a sign for the currency, e.g. `0.0123` or `-4`; trailing zeros are dropped.
impl fmt::Display for NanoUsd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let magnitude = self.0.unsigned_abs();
        let whole = magnitude / NANOS_PER_USD.unsigned_abs();
        let fraction = magnitude % NANOS_PER_USD.unsigned_abs();
        if fraction == 0 {
            return write!(f, "{sign}{whole}");
        }
        let digits = format!("{fraction:09}");
        write!(f, "{sign}{whole}.{}", digits.trim_end_matches('0'))
    }
}

/// Why a text is not an amount of money.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Not a decimal number.
    #[error("`{0}` is not a decimal number of USD, as `12` or `0.25`")]
    NotDecimal(String),
    /// Finer than a nano-dollar.
    #[error("`{0}` has more than 9 digits after the point; a nano-dollar is the smallest unit")]
    TooFine(String),
    /// Beyond ± 9.2 billion USD.
    #[error("`{0}` is out of range (± 9.2 billion USD)")]
    OutOfRange(String),
}

impl FromStr for NanoUsd {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        let not_decimal = || MoneyError::NotDecimal(text.to_owned());
        let out_of_range = || MoneyError::OutOfRange(text.to_owned());
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if (whole.is_empty() && fraction.is_empty()) || !all_digits(whole) || !all_digits(fraction)
        {
            return Err(not_decimal());
        }
        if fraction.len() > 9 {
            return Err(MoneyError::TooFine(text.to_owned()));
        }
        let whole: i64 = match whole {
            "" => 0,
            digits => digits.parse().map_err(|_| out_of_range())?,
        };
        let nanos: i64 = format!("{fraction:0<9}")
            .parse()
            .map_err(|_| not_decimal())?;
        let magnitude = whole
            .checked_mul(NANOS_PER_USD)
            .and_then(|scaled| scaled.checked_add(nanos))
            .ok_or_else(out_of_range)?;
        Ok(Self(if negative { -magnitude } else { magnitude }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_prints_the_same_amount() {
        for text in ["0", "12", "0.25", "0.000000001", "-3.5", "9223372036"] {
            assert_eq!(text.parse::<NanoUsd>().unwrap().to_string(), text);
        }
        assert_eq!(".5".parse::<NanoUsd>().unwrap(), NanoUsd(500_000_000));
    }

    #[test]
    fn refuses_what_is_not_exact_money() {
        for text in ["", "-", ".", "1e3", "1,5", "0x1", "--1", "+1", " 1"] {
            assert!(matches!(
                text.parse::<NanoUsd>(),
                Err(MoneyError::NotDecimal(_))
            ));
        }
        assert!(matches!(
            "0.0000000001".parse::<NanoUsd>(),
            Err(MoneyError::TooFine(_))
        ));
        assert!(matches!(
            "9223372037".parse::<NanoUsd>(),
            Err(MoneyError::OutOfRange(_))
        ));
    }

    #[test]
    fn addition_saturates() {
        assert_eq!(NanoUsd(i64::MAX) + NanoUsd(1), NanoUsd(i64::MAX));
    }
}
