//! Quantities with units, exact: the limits of rules, the prices of budgets.

use super::units::{Refusal, duration_or_zero};
use crate::alert::{Quantity, Unit};

/// Digits beyond any quantity; they bound the arithmetic.
const MOST_DIGITS: usize = 25;

/// A quantity of `unit` above zero, in its finest unit: `50 USD` or `$50`, `1.5M tokens`,
/// `200 requests`, `5%`, `5s`, `20 tokens/s`, `3x`. `k`, `M` and `B` behind a number are a thousand, a
/// million and a billion.
pub(crate) fn quantity(unit: Unit) -> impl Fn(&str) -> Result<i64, Refusal> {
    move |text| match parse(unit, text.trim())? {
        0 => Err(Refusal::new("must be more than zero", form(unit))),
        value => Ok(value),
    }
}

/// What a quantity of `unit` looks like.
const fn form(unit: Unit) -> &'static str {
    match unit {
        Unit::Usd => "write an amount of money, as `50 USD` or `$0.25`",
        Unit::Tokens => "write a number of tokens, as `1.5M tokens` or `200k tokens`",
        Unit::Requests => "write a whole number of requests, as `200 requests`",
        Unit::Ratio => "write a share, as `5%` or `0.5%`",
        Unit::Seconds => "write a length of time, as `500ms`, `5s` or `2h`",
        Unit::TokensPerSecond => "write a pace, as `20 tokens/s`",
        Unit::Times => "write how many times as much, as `3x` or `1.5x`",
    }
}

fn parse(unit: Unit, text: &str) -> Result<i64, Refusal> {
    let written = Written::of(text);
    if unit == Unit::Seconds {
        return match written {
            Some(Written {
                unit: Some(other), ..
            }) => Err(wrong_unit(other, unit)),
            Some(bare) if bare.magnitude == 0 => {
                Err(Refusal::new("has no unit", &with_unit(unit, text)))
            }
            _ => time(text),
        };
    }
    let Some(written) = written else {
        let reason = if humantime::parse_duration(text).is_ok() {
            format!("is a length of time, not {}", counted(unit))
        } else {
            "is not a number with a unit".to_owned()
        };
        return Err(Refusal::new(reason, form(unit)));
    };
    match written.unit {
        None => Err(Refusal::new("has no unit", &with_unit(unit, text))),
        Some(other) if other != unit => Err(wrong_unit(other, unit)),
        Some(_) => written.exactly(),
    }
}

fn time(text: &str) -> Result<i64, Refusal> {
    let time = duration_or_zero(text)?;
    if time.subsec_nanos() % 1_000 != 0 {
        return Err(Refusal::new(
            "is finer than a microsecond",
            form(Unit::Seconds),
        ));
    }
    i64::try_from(time.as_micros()).map_err(|_| out_of_range(Unit::Seconds))
}

fn wrong_unit(written: Unit, needed: Unit) -> Refusal {
    let reason = format!("is {}, not {}", counted(written), counted(needed));
    Refusal::new(reason, form(needed))
}

fn out_of_range(unit: Unit) -> Refusal {
    Refusal::new("is larger than Tollgate counts", form(unit))
}

const fn counted(unit: Unit) -> &'static str {
    match unit {
        Unit::Usd => "money",
        Unit::Tokens => "a number of tokens",
        Unit::Requests => "a number of requests",
        Unit::Ratio => "a share",
        Unit::Seconds => "a length of time",
        Unit::TokensPerSecond => "a pace",
        Unit::Times => "a multiple",
    }
}

/// The remedy for a number without a unit.
fn with_unit(unit: Unit, number: &str) -> String {
    match unit {
        Unit::Usd => format!("write `{number} USD` or `${number}`"),
        Unit::Tokens => format!("write `{number} tokens`"),
        Unit::Requests => format!("write `{number} requests`"),
        Unit::Ratio => match Written::of(&format!("{number}%")).map(|share| share.exactly()) {
            // Below one, it is a share of one that was meant.
            Some(Ok(hundredths)) if hundredths <= Unit::Ratio.scale() / 100 => {
                let value = hundredths.saturating_mul(100);
                format!("write `{}`", Quantity { unit, value })
            }
            _ => format!("write `{number}%`"),
        },
        Unit::Seconds => format!("write `{number}s`"),
        Unit::TokensPerSecond => format!("write `{number} tokens/s`"),
        Unit::Times => format!("write `{number}x`"),
    }
}

/// A number and what stands around it.
struct Written<'t> {
    whole: &'t str,
    fraction: &'t str,
    /// Ten to this power is what `k`, `M` or `B` multiply by.
    magnitude: u32,
    unit: Option<Unit>,
}

impl<'t> Written<'t> {
    /// `None` where `text` is no number with a known unit or without any.
    fn of(text: &'t str) -> Option<Self> {
        let (dollar, text) = match text.strip_prefix('$') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let end = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let (number, rest) = text.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() || fraction.contains('.') || number.ends_with('.') {
            return None;
        }
        let (magnitude, rest) = magnitude(rest.trim_start());
        let unit = match (dollar, rest.trim_start()) {
            (true, "") => Some(Unit::Usd),
            (true, _) => return None,
            (false, "") => None,
            (false, word) => Some(unit_of(word)?),
        };
        let multiple = matches!(unit, Some(Unit::Ratio | Unit::Times));
        (magnitude == 0 || !multiple).then_some(Self {
            whole,
            fraction,
            magnitude,
            unit,
        })
    }

    fn exactly(&self) -> Result<i64, Refusal> {
        let unit = self.unit.unwrap_or(Unit::Requests);
        // A share is written in hundredths.
        let scale = match unit {
            Unit::Ratio => unit.scale() / 100,
            _ => unit.scale(),
        };
        let fraction = self.fraction.trim_end_matches('0');
        if self.whole.len() + fraction.len() > MOST_DIGITS {
            return Err(out_of_range(unit));
        }
        let digits: i128 = format!("{}{fraction}", self.whole)
            .parse()
            .map_err(|_| out_of_range(unit))?;
        let value = 10_i128
            .checked_pow(self.magnitude)
            .and_then(|factor| factor.checked_mul(i128::from(scale)))
            .and_then(|factor| factor.checked_mul(digits))
            .ok_or_else(|| out_of_range(unit))?;
        let parts = u32::try_from(fraction.len())
            .ok()
            .and_then(|places| 10_i128.checked_pow(places))
            .ok_or_else(|| out_of_range(unit))?;
        if value % parts != 0 {
            return Err(Refusal::new("is finer than Tollgate counts", form(unit)));
        }
        i64::try_from(value / parts).map_err(|_| out_of_range(unit))
    }
}

/// The power of ten that a text begins with as a letter, and the rest.
fn magnitude(text: &str) -> (u32, &str) {
    const LETTERS: [(char, u32); 4] = [('k', 3), ('K', 3), ('M', 6), ('B', 9)];
    for (letter, power) in LETTERS {
        if let Some(rest) = text.strip_prefix(letter)
            && rest
                .chars()
                .next()
                .is_none_or(|next| next.is_ascii_whitespace())
        {
            return (power, rest);
        }
    }
    (0, text)
}

fn unit_of(word: &str) -> Option<Unit> {
    Some(match word {
        "USD" | "usd" => Unit::Usd,
        "token" | "tokens" => Unit::Tokens,
        "request" | "requests" | "error" | "errors" => Unit::Requests,
        "%" => Unit::Ratio,
        "token/s" | "tokens/s" => Unit::TokensPerSecond,
        "x" => Unit::Times,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantities_are_read_exactly() {
        for (unit, text, value) in [
            (Unit::Usd, "50 USD", 50_000_000_000),
            (Unit::Usd, "$50", 50_000_000_000),
            (Unit::Usd, "$0.000000001", 1),
            (Unit::Usd, "1.5k USD", 1_500_000_000_000),
            (Unit::Usd, "0.10 usd", 100_000_000),
            (Unit::Tokens, "1.5M tokens", 1_500_000),
            (Unit::Tokens, "200k tokens", 200_000),
            (Unit::Tokens, "2B tokens", 2_000_000_000),
            (Unit::Tokens, "1 token", 1),
            (Unit::Requests, "200 requests", 200),
            (Unit::Requests, "10 errors", 10),
            (Unit::Ratio, "5%", 50_000),
            (Unit::Ratio, "0.0001 %", 1),
            (Unit::Seconds, "5s", 5_000_000),
            (Unit::Seconds, "1h 30m", 5_400_000_000),
            (Unit::TokensPerSecond, "20 tokens/s", 20_000),
            (Unit::TokensPerSecond, "0.5 tokens/s", 500),
            (Unit::Times, "3x", 3_000),
            (Unit::Times, "1.25x", 1_250),
        ] {
            assert_eq!(quantity(unit)(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn a_quantity_without_its_unit_is_refused_with_a_remedy() {
        for (unit, text, reason) in [
            (Unit::Usd, "50", "has no unit"),
            (Unit::Usd, "5M", "has no unit"),
            (Unit::Usd, "50 EUR", "is not a number with a unit"),
            (Unit::Usd, "-5 USD", "is not a number with a unit"),
            (Unit::Usd, "1,5 USD", "is not a number with a unit"),
            (Unit::Usd, "$5 USD", "is not a number with a unit"),
            (Unit::Usd, "1.2.3 USD", "is not a number with a unit"),
            (Unit::Usd, "5. USD", "is not a number with a unit"),
            (Unit::Usd, "", "is not a number with a unit"),
            (Unit::Usd, "0 USD", "must be more than zero"),
            (Unit::Seconds, "0s", "must be more than zero"),
            (Unit::Usd, "50 tokens", "is a number of tokens, not money"),
            (Unit::Usd, "1h", "is a length of time, not money"),
            (Unit::Usd, "$0.0000000001", "is finer than Tollgate counts"),
            (
                Unit::Usd,
                "9223372037 USD",
                "is larger than Tollgate counts",
            ),
            (Unit::Tokens, "0.5 tokens", "is finer than Tollgate counts"),
            (Unit::Ratio, "0.05", "has no unit"),
            (Unit::Ratio, "5k%", "is not a number with a unit"),
            (Unit::Seconds, "5", "has no unit"),
            (Unit::Seconds, "5 USD", "is money, not a length of time"),
            (Unit::Seconds, "1ns", "is finer than a microsecond"),
            (Unit::Times, "300%", "is a share, not a multiple"),
        ] {
            let refusal = quantity(unit)(text).unwrap_err();
            assert_eq!(refusal.reason, reason, "{text}");
            assert!(refusal.remedy.is_some(), "{text}");
        }
        let remedy = quantity(Unit::Usd)("50").unwrap_err().remedy;
        assert_eq!(remedy.as_deref(), Some("write `50 USD` or `$50`"));
        for (text, meant) in [("0.05", "write `5%`"), ("5", "write `5%`")] {
            let remedy = quantity(Unit::Ratio)(text).unwrap_err().remedy;
            assert_eq!(remedy.as_deref(), Some(meant), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_a_quantity_is_told_as_is_read_as_the_same(
            unit in prop::sample::select(Unit::ALL),
            value in 1..=i64::MAX / 100,
        ) {
            // A time is told in seconds; Tollgate takes none beyond a hundred years.
            let value = if unit == Unit::Seconds { value % 1_000_000_000_000_000 } else { value };
            let told = Quantity { unit, value }.to_string();
            if unit != Unit::Seconds || !told.contains('.') {
                prop_assert_eq!(quantity(unit)(&told), Ok(value), "{}", told);
            }
        }
    }
}
