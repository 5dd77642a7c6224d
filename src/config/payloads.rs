//! `payloads`: whether the bytes of requests and answers are kept, which, how many, for how long.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::json_path::JsonPath;
use super::reader::Reader;
use super::section::Section;
use super::units::{self, Refusal};

/// `payloads`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadSettings {
    /// Which requests are kept with their bodies.
    pub capture: PayloadCapture,
    /// Bytes kept of each body; 1 KiB to 64 MiB.
    pub max_bytes: usize,
    /// How long they are kept.
    pub retention: Duration,
    /// Values that are replaced before anything is written.
    pub redact: Vec<JsonPath>,
}

impl Default for PayloadSettings {
    fn default() -> Self {
        Self {
            capture: PayloadCapture::Off,
            max_bytes: 1024 * 1024,
            retention: Duration::from_secs(7 * 24 * 3600),
            redact: Vec::new(),
        }
    }
}

/// `payloads.capture`: which requests are kept with their bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadCapture {
    /// None.
    Off,
    /// Those that failed.
    Errors,
    /// This share of them, whatever their outcome.
    Sample(Share),
    /// All.
    All,
}

/// A share from none to all, in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    millionths: u32,
}

impl Share {
    /// All.
    const WHOLE: u32 = 1_000_000;

    /// Whether one of many things is in the share; `number` is evenly distributed over them.
    #[must_use]
    pub fn includes(self, number: u32) -> bool {
        (u64::from(number) * u64::from(Self::WHOLE)) >> 32 < u64::from(self.millionths)
    }
}

/// As a percentage: `1%`, `0.25%`.
impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.millionths / 10_000, self.millionths % 10_000);
        let decimals = format!("{rest:04}");
        match decimals.trim_end_matches('0') {
            "" => write!(f, "{whole}%"),
            decimals => write!(f, "{whole}.{decimals}%"),
        }
    }
}

/// A text that is no percentage from 0% to 100% with at most four decimals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoShare;

impl FromStr for Share {
    type Err = NoShare;

    fn from_str(text: &str) -> Result<Self, NoShare> {
        let number = text.strip_suffix('%').ok_or(NoShare)?.trim_end();
        let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |part: &str| {
            (1..=4).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
        };
        if !digits(whole) || !digits(decimals) {
            return Err(NoShare);
        }
        let number = |part: &str| part.parse::<u32>().map_err(|_| NoShare);
        let millionths = number(whole)? * 10_000 + number(&format!("{decimals:0<4}"))?;
        if millionths > Self::WHOLE {
            return Err(NoShare);
        }
        Ok(Self { millionths })
    }
}

pub(super) fn read(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    payloads: &mut PayloadSettings,
) {
    section.set(reader, "capture", &mut payloads.capture, capture);
    section.set(reader, "max_bytes", &mut payloads.max_bytes, max_bytes);
    let retention = &mut payloads.retention;
    section.set_duration(reader, "retention", retention, units::duration);
    for given in section.texts(reader, "redact") {
        match given.text.parse() {
            Ok(path) => payloads.redact.push(path),
            Err(error) => {
                let error: super::json_path::JsonPathError = error;
                let remedy = "write the members from the outside in, as `user`, \
                              `messages[*].content` or `..text`";
                let path = section.key("redact");
                reader.refuse(&given, &path, &Refusal::new(error.to_string(), remedy));
            }
        }
    }
}

fn capture(text: &str) -> Result<PayloadCapture, Refusal> {
    let sample = text
        .strip_prefix("sample(")
        .and_then(|rest| rest.strip_suffix(')'));
    match (text, sample) {
        ("off", _) => Ok(PayloadCapture::Off),
        ("errors", _) => Ok(PayloadCapture::Errors),
        ("all", _) => Ok(PayloadCapture::All),
        (_, Some(share)) => share.trim().parse().map(PayloadCapture::Sample).map_err(|NoShare| {
            Refusal::new(
                "is not a share of the requests",
                "write a percentage from 0% to 100% with at most four decimals, as `sample(1%)` or `sample(0.05%)`",
            )
        }),
        _ => Err(Refusal::new(
            "is not one of the choices",
            "write `off`, `errors`, `sample(1%)` or `all`",
        )),
    }
}

fn max_bytes(text: &str) -> Result<usize, Refusal> {
    let bytes = usize::try_from(units::size(text)?).unwrap_or(usize::MAX);
    if (1024..=64 * 1024 * 1024).contains(&bytes) {
        Ok(bytes)
    } else {
        Err(Refusal::new(
            "is not in range",
            "write a size from 1 KiB to 64 MiB",
        ))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn shares_are_percentages() {
        for (text, shown) in [
            ("1%", "1%"),
            ("0%", "0%"),
            ("100%", "100%"),
            ("0.25 %", "0.25%"),
            ("0.0001%", "0.0001%"),
            ("12.50%", "12.5%"),
        ] {
            assert_eq!(text.parse::<Share>().unwrap().to_string(), shown, "{text}");
        }
        for text in [
            "",
            "%",
            "1",
            "-1%",
            "101%",
            "100.0001%",
            "0.00001%",
            ".5%",
            "5.%",
            "1e1%",
            "+1%",
        ] {
            assert_eq!(text.parse::<Share>(), Err(NoShare), "{text}");
        }
    }

    #[test]
    fn every_choice_has_its_word() {
        for (text, expected) in [
            ("off", PayloadCapture::Off),
            ("errors", PayloadCapture::Errors),
            ("all", PayloadCapture::All),
            (
                "sample( 2.5% )",
                PayloadCapture::Sample(Share { millionths: 25_000 }),
            ),
        ] {
            assert_eq!(capture(text), Ok(expected), "{text}");
        }
        for text in ["", "on", "sample", "sample()", "sample(1)", "sample(1%"] {
            assert!(capture(text).is_err(), "{text}");
        }
        assert_eq!(max_bytes("1KiB"), Ok(1024));
        assert!(max_bytes("1023B").is_err() && max_bytes("65MiB").is_err());
    }

    proptest! {
        #[test]
        fn a_share_includes_what_is_below_it(number: u32) {
            let share = |text: &str| text.parse::<Share>().unwrap();
            prop_assert!(!share("0%").includes(number));
            prop_assert!(share("100%").includes(number));
            prop_assert_eq!(share("50%").includes(number), number < 1 << 31);
        }
    }
}
