//! Values in any unit, exactly.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::text;
use crate::alert::{Quantity, Unit};

/// Digits after the point: those of the finest unit, nano-dollars.
const DIGITS: usize = 9;
/// So many of them make one.
const ONE: i128 = 1_000_000_000;

/// A number of a unit that is told beside it: a decimal string, exact, e.g. `"0.0123"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Decimal {
    billionths: i128,
}

impl Decimal {
    /// So many thousandths.
    #[must_use]
    pub fn of_thousandths(count: u32) -> Self {
        Self {
            billionths: i128::from(count) * (ONE / 1_000),
        }
    }

    /// The same in the finest of `unit`; what is finer than that is cut off.
    #[must_use]
    pub fn quantity(self, unit: Unit) -> Quantity {
        let value = self.billionths / in_finest(unit);
        let bound = if value < 0 { i64::MIN } else { i64::MAX };
        Quantity {
            unit,
            value: i64::try_from(value).unwrap_or(bound),
        }
    }
}

/// Billionths in the finest of a unit.
fn in_finest(unit: Unit) -> i128 {
    ONE / i128::from(unit.scale())
}

impl From<Quantity> for Decimal {
    fn from(quantity: Quantity) -> Self {
        Self {
            billionths: i128::from(quantity.value) * in_finest(quantity.unit),
        }
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.billionths.unsigned_abs();
        let (whole, fraction) = (
            magnitude / ONE.unsigned_abs(),
            magnitude % ONE.unsigned_abs(),
        );
        if self.billionths < 0 {
            f.write_str("-")?;
        }
        write!(f, "{whole}")?;
        if fraction > 0 {
            let digits = format!("{fraction:0DIGITS$}");
            write!(f, ".{}", digits.trim_end_matches('0'))?;
        }
        Ok(())
    }
}

/// A text that is no decimal number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no decimal number of at most {DIGITS} digits after the point")]
pub struct DecimalError(String);

impl FromStr for Decimal {
    type Err = DecimalError;

    fn from_str(text: &str) -> Result<Self, DecimalError> {
        let refused = || DecimalError(text.to_owned());
        let (sign, digits) = match text.strip_prefix('-') {
            Some(digits) => (-1, digits),
            None => (1, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let plain = |digits: &str| !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit());
        if !plain(whole) || !plain(fraction) || fraction.len() > DIGITS {
            return Err(refused());
        }
        let all = format!("{whole}{fraction:0<DIGITS$}");
        let magnitude: i128 = all.parse().map_err(|_| refused())?;
        Ok(Self {
            billionths: sign * magnitude,
        })
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

impl PartialSchema for Decimal {
    fn schema() -> RefOr<Schema> {
        text("An exact decimal number of the unit beside it.")
            .pattern(Some(r"^-?\d+(\.\d{1,9})?$"))
            .examples([serde_json::json!("0.0123")])
            .build()
            .into()
    }
}

impl ToSchema for Decimal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_survives_the_journey() {
        for &unit in Unit::ALL {
            for value in [0, 1, -1, 999, 1_500_000, i64::MAX, i64::MIN] {
                let quantity = Quantity { unit, value };
                let text = Decimal::from(quantity).to_string();
                assert_eq!(text, quantity.decimal());
                let read: Decimal = text.parse().unwrap();
                assert_eq!(read.quantity(unit), quantity, "{text}");
            }
        }
        assert_eq!(Decimal::of_thousandths(925).to_string(), "0.925");
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in [
            "",
            "-",
            ".",
            "1.",
            ".5",
            "+1",
            "1e3",
            "1.0000000001",
            "1,5",
            "--1",
            "٣",
            "999999999999999999999999999999999999999999",
        ] {
            assert!(text.parse::<Decimal>().is_err(), "{text}");
        }
    }
}
