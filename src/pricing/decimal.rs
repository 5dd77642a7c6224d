//! Decimal numbers as files and catalogues write them (`2.50`, `1.25e-06`), taken exactly.

/// A number that is not negative: `digits` × 10^`exponent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decimal {
    digits: u128,
    exponent: i32,
}

/// Why a text is no usable number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum DecimalError {
    /// It is no number.
    #[error("is not a decimal number")]
    NotDecimal,
    /// It is below zero.
    #[error("is negative")]
    Negative,
    /// No price is that large.
    #[error("is too large")]
    TooLarge,
    /// It has digits below the smallest unit.
    #[error("has more digits than a price can have")]
    TooFine,
}

/// A number in whole units of 10^-`places`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scaled {
    pub(super) value: u64,
    /// Whether nothing was rounded away.
    pub(super) exact: bool,
}

impl Decimal {
    /// Reads digits with an optional point and an optional exponent, as JSON and YAML have them.
    pub(super) fn parse(text: &str) -> Result<Self, DecimalError> {
        /// Significant digits that fit; a binary float in full has 17.
        const MOST_DIGITS: u32 = 36;
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (number, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((number, exponent)) => (number, power_of_ten(exponent)?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() {
            return Err(DecimalError::NotDecimal);
        }
        let mut digits: u128 = 0;
        let mut count = 0;
        let mut dropped_whole: i32 = 0;
        let mut kept_fraction: i32 = 0;
        for (is_fraction, byte) in whole
            .bytes()
            .map(|byte| (false, byte))
            .chain(fraction.bytes().map(|byte| (true, byte)))
        {
            if !byte.is_ascii_digit() {
                return Err(DecimalError::NotDecimal);
            }
            if count < MOST_DIGITS {
                digits = digits * 10 + u128::from(byte - b'0');
                count += u32::from(digits > 0);
                kept_fraction = kept_fraction.saturating_add(i32::from(is_fraction));
            } else if !is_fraction {
                dropped_whole = dropped_whole.saturating_add(1);
            }
        }
        if negative && digits > 0 {
            return Err(DecimalError::Negative);
        }
        Ok(Self {
            digits,
            exponent: exponent
                .saturating_add(dropped_whole)
                .saturating_sub(kept_fraction),
        })
    }

    /// Whether it is nothing.
    pub(super) const fn is_zero(self) -> bool {
        self.digits == 0
    }

    /// In whole units of 10^-`places`, half a unit up.
    pub(super) fn scaled(self, places: i32) -> Result<Scaled, DecimalError> {
        if self.digits == 0 {
            return Ok(Scaled {
                value: 0,
                exact: true,
            });
        }
        let power = self.exponent.saturating_add(places);
        let (value, exact) = if power >= 0 {
            let factor = 10_u128.checked_pow(power.unsigned_abs());
            let value = factor.and_then(|factor| self.digits.checked_mul(factor));
            (value.ok_or(DecimalError::TooLarge)?, true)
        } else {
            match 10_u128.checked_pow(power.unsigned_abs()) {
                Some(divisor) => {
                    let rest = self.digits % divisor;
                    let up = u128::from(rest >= divisor - rest && rest > 0);
                    (self.digits / divisor + up, rest == 0)
                }
                // Smaller than any unit, whatever its digits.
                None => (0, false),
            }
        };
        Ok(Scaled {
            value: u64::try_from(value).map_err(|_| DecimalError::TooLarge)?,
            exact,
        })
    }

    /// As [`Decimal::scaled`], refusing what would have to be rounded.
    pub(super) fn exactly(self, places: i32) -> Result<u64, DecimalError> {
        match self.scaled(places)? {
            Scaled { value, exact: true } => Ok(value),
            Scaled { exact: false, .. } => Err(DecimalError::TooFine),
        }
    }
}

/// Exponents beyond four digits say only "nothing" or "too much".
fn power_of_ten(text: &str) -> Result<i32, DecimalError> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if unsigned.is_empty() || !unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(DecimalError::NotDecimal);
    }
    let magnitude: i32 = unsigned.parse().unwrap_or(i32::MAX).min(10_000);
    Ok(if text.starts_with('-') {
        -magnitude
    } else {
        magnitude
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scaled(text: &str, places: i32) -> Result<(u64, bool), DecimalError> {
        let scaled = Decimal::parse(text)?.scaled(places)?;
        Ok((scaled.value, scaled.exact))
    }

    #[test]
    fn numbers_are_taken_to_the_last_digit() {
        for (text, places, expected) in [
            ("2.50", 9, (2_500_000_000, true)),
            ("1.25e-06", 15, (1_250_000_000, true)),
            ("1.25E+2", 0, (125, true)),
            ("0", 9, (0, true)),
            ("-0.0", 9, (0, true)),
            (".5", 1, (5, true)),
            ("5.", 0, (5, true)),
            (
                "0.00000000000000000000000000000000000000000001",
                9,
                (0, false),
            ),
            // What a binary float makes of 0.4 per million.
            ("4.0000000000000003e-07", 15, (400_000_000, false)),
            ("0.15", 1, (2, false)),
            ("0.14", 1, (1, false)),
            ("1e-10000000000", 9, (0, false)),
            ("0e99999999999", 9, (0, true)),
            (
                "1000000000000000000000000000000000000000000e-42",
                0,
                (1, true),
            ),
        ] {
            assert_eq!(scaled(text, places), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_price_is_refused() {
        for text in [
            "", ".", "-", "e5", "1e", "1e+", "NaN", "inf", "1,5", "0x1", " 1", "1_000", "--1",
        ] {
            assert_eq!(scaled(text, 9), Err(DecimalError::NotDecimal), "{text}");
        }
        for text in [
            "1e400",
            "1e99999999999",
            "18446744074",
            "999999999999999999999999999999999999999999",
        ] {
            assert_eq!(scaled(text, 9), Err(DecimalError::TooLarge), "{text}");
        }
        assert_eq!(scaled("-1", 9), Err(DecimalError::Negative));
        let fine = Decimal::parse("0.0000000001").unwrap();
        assert_eq!(fine.exactly(9), Err(DecimalError::TooFine));
        assert_eq!(fine.exactly(10), Ok(1));
    }

    proptest! {
        #[test]
        fn any_text_is_a_number_or_an_error(text in "[-+0-9.eE]{0,60}", places in -5..20) {
            let _ = scaled(&text, places);
        }

        #[test]
        fn whole_numbers_come_back(value: u64) {
            prop_assert_eq!(scaled(&value.to_string(), 0), Ok((value, true)));
        }
    }
}
