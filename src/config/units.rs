//! Values with units, and the words that stand for them.

use std::fmt::Display;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::base_url::{BaseUrl, BaseUrlError};
use crate::clock::UnixMicros;

/// Why a value is not accepted. It continues the sentence "`value` …", and never repeats the value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) reason: String,
    pub(crate) remedy: Option<String>,
}

impl Refusal {
    pub(crate) fn new(reason: impl Into<String>, remedy: &str) -> Self {
        Self {
            reason: reason.into(),
            remedy: Some(remedy.to_owned()),
        }
    }
}

/// The word that switches an optional bound off.
const NO_BOUND: &str = "none";

/// Longer times are surely slips, and would overflow a deadline.
const MAX_DURATION: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// `none`, or what `parse` reads.
pub(crate) fn or_none<T>(
    parse: impl Fn(&str) -> Result<T, Refusal>,
) -> impl Fn(&str) -> Result<Option<T>, Refusal> {
    move |text| match text {
        NO_BOUND => Ok(None),
        text => parse(text).map(Some),
    }
}

/// A time above zero, in humantime's form.
pub(crate) fn duration(text: &str) -> Result<Duration, Refusal> {
    match duration_or_zero(text)? {
        Duration::ZERO => Err(Refusal::new("must be longer than zero", DURATION_FORM)),
        duration => Ok(duration),
    }
}

const DURATION_FORM: &str = "write numbers with units, as `500ms`, `90s`, `5m`, `1h 30m` or `90d`";

/// A time, zero included, in humantime's form.
pub(crate) fn duration_or_zero(text: &str) -> Result<Duration, Refusal> {
    let duration = humantime::parse_duration(text).map_err(|_| {
        let reason = if text.parse::<f64>().is_ok() {
            "has no unit"
        } else {
            "is not a duration"
        };
        Refusal::new(reason, DURATION_FORM)
    })?;
    if duration > MAX_DURATION {
        return Err(Refusal::new(
            "is longer than a hundred years",
            DURATION_FORM,
        ));
    }
    Ok(duration)
}

/// Whether a duration says `M`, which humantime reads as months where many mean minutes.
pub(crate) fn months(text: &str) -> Option<Refusal> {
    text.split(|c: char| !c.is_alphabetic())
        .any(|unit| unit == "M")
        .then(|| {
            Refusal::new(
                "says `M`, which is months",
                "write `m` for minutes, or `months` to be clear",
            )
        })
}

/// A size above zero in bytes: a whole number and a unit.
pub(crate) fn size(text: &str) -> Result<u64, Refusal> {
    const UNITS: &[(&str, u32, u32)] = &[
        ("B", 1, 0),
        ("KB", 10, 3),
        ("KIB", 2, 10),
        ("MB", 10, 6),
        ("MIB", 2, 20),
        ("GB", 10, 9),
        ("GIB", 2, 30),
        ("TB", 10, 12),
        ("TIB", 2, 40),
    ];
    const FORM: &str = "write a whole number with a unit: B, KiB, MiB, GiB (powers of 1024) or KB, MB, GB (powers of 1000), as `32MiB` or `1 GB`";
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start().to_ascii_uppercase();
    if number.is_empty() {
        return Err(Refusal::new("is not a size", FORM));
    }
    if unit.is_empty() {
        return Err(Refusal::new("has no unit", FORM));
    }
    let Some(&(_, base, exponent)) = UNITS.iter().find(|(name, ..)| *name == unit) else {
        return Err(Refusal::new(
            "is not a whole number with a known unit",
            FORM,
        ));
    };
    let bytes = number
        .parse::<u64>()
        .ok()
        .zip(u64::from(base).checked_pow(exponent))
        .and_then(|(number, factor)| number.checked_mul(factor))
        .filter(|&bytes| i64::try_from(bytes).is_ok())
        .ok_or_else(|| Refusal::new("is larger than any machine's memory", FORM))?;
    if bytes == 0 {
        return Err(Refusal::new("must be more than zero", FORM));
    }
    Ok(bytes)
}

/// A whole number from 1 to `max`.
pub(crate) fn count(max: u64) -> impl Fn(&str) -> Result<u64, Refusal> {
    whole(1, max)
}

/// A whole number from `least` to `most`.
pub(crate) fn whole<T>(least: T, most: T) -> impl Fn(&str) -> Result<T, Refusal>
where
    T: FromStr + PartialOrd + Copy + Display,
{
    move |text| match text.parse::<T>() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(Refusal::new(
            "is not in range",
            &format!("write a whole number from {least} to {most}"),
        )),
    }
}

/// `true` or `false`.
pub(crate) fn switch(text: &str) -> Result<bool, Refusal> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Refusal::new("is no switch", "write `true` or `false`")),
    }
}

/// An address to listen on.
pub(crate) fn socket_address(text: &str) -> Result<SocketAddr, Refusal> {
    text.parse().map_err(|_| {
        Refusal::new(
            "is not an IP address with a port",
            "write `127.0.0.1:8080` for this machine only, `0.0.0.0:8080` or `[::]:8080` for every interface",
        )
    })
}

/// One of the words of a closed set.
pub(crate) fn word<T: Copy>(
    all: &'static [T],
    as_str: fn(T) -> &'static str,
) -> impl Fn(&str) -> Result<T, Refusal> {
    move |text| {
        all.iter()
            .copied()
            .find(|&member| as_str(member) == text)
            .ok_or_else(|| {
                let words: Vec<String> = all
                    .iter()
                    .map(|&member| format!("`{}`", as_str(member)))
                    .collect();
                match words.as_slice() {
                    [only] => Refusal::new("is not supported", &format!("write {only}")),
                    _ => Refusal::new(
                        "is not one of the choices",
                        &format!("write {}", words.join(" or ")),
                    ),
                }
            })
    }
}

/// A zone of the IANA time zone database.
pub(crate) fn time_zone(text: &str) -> Result<TimeZone, Refusal> {
    TimeZone::get(text).map_err(|_| {
        Refusal::new(
            "is not in the IANA time zone database",
            "write a name as `UTC`, `Europe/Berlin` or `Asia/Shanghai`",
        )
    })
}

/// A moment: RFC 3339, or a date, which is its first moment in `timezone`.
pub(crate) fn moment(timezone: &TimeZone) -> impl Fn(&str) -> Result<UnixMicros, Refusal> {
    move |text| {
        let stated = text.parse::<jiff::Timestamp>().ok();
        // The library's own reading of a date forgives a time behind it.
        let date = || text.parse::<Date>().ok().filter(|_| text.len() == 10);
        let begins = |date: Date| date.to_zoned(timezone.clone()).ok();
        stated
            .or_else(|| Some(date().and_then(begins)?.timestamp()))
            .map(UnixMicros::from)
            .ok_or_else(|| {
                Refusal::new(
                    "is neither a date nor a moment",
                    "write `2027-01-31`, the first moment of that day in `timezone`, or `2027-01-31T18:00:00+01:00`",
                )
            })
    }
}

/// Log filter directives: levels, alone or as `target=level`, parted by commas.
pub(crate) fn log_level(text: &str) -> Result<String, Refusal> {
    const LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];
    let well_formed = text.split(',').all(|directive| {
        let (target, level) = match directive.split_once('=') {
            Some((target, level)) => (Some(target), level),
            None => (None, directive),
        };
        LEVELS.contains(&level)
            && target.is_none_or(|target| {
                !target.is_empty()
                    && target
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || b"_:-".contains(&byte))
            })
    });
    if well_formed {
        Ok(text.to_owned())
    } else {
        Err(Refusal::new(
            "is not a log level",
            "write `off`, `error`, `warn`, `info`, `debug` or `trace`; for one part of the program, as `info,tollgate::ledger=debug`",
        ))
    }
}

/// A channel's base URL.
pub(crate) fn base_url(text: &str) -> Result<BaseUrl, Refusal> {
    text.parse().map_err(|error: BaseUrlError| {
        let remedy = match error {
            BaseUrlError::UserInfo => "put the credential in `api_key` or `headers`",
            BaseUrlError::Query | BaseUrlError::Fragment => {
                "give the base alone; clients add the rest"
            }
            _ => "write what an SDK takes as base URL, as `https://api.openai.com/v1`",
        };
        Refusal::new(error.to_string(), remedy)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_say_their_unit() {
        for (text, bytes) in [
            ("1B", 1),
            ("64 KiB", 65_536),
            ("32MiB", 33_554_432),
            ("32mib", 33_554_432),
            ("1 GB", 1_000_000_000),
            ("2TiB", 2_199_023_255_552),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "MiB",
            "1024",
            "32M",
            "1.5GiB",
            "-1B",
            "0B",
            "9999999TiB",
            "1 G B",
        ] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_humantime_within_reason() {
        assert_eq!(duration("1h 30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration_or_zero("0s"), Ok(Duration::ZERO));
        for text in ["", "90", "5mo", "-5s", "0s", "200years", "99999999999999y"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert_eq!(duration("90").unwrap_err().reason, "has no unit");
        assert!(months("5M").is_some());
        assert!(months("1h 5M").is_some());
        assert!(months("5m").is_none());
        assert!(months("2 months").is_none());
    }

    #[test]
    fn zones_are_known_without_the_systems_database() {
        assert_eq!(
            time_zone("Asia/Shanghai").unwrap().iana_name(),
            Some("Asia/Shanghai")
        );
        assert_eq!(time_zone("UTC"), Ok(TimeZone::UTC));
        assert!(time_zone("Mars/Olympus").is_err());
    }

    #[test]
    fn a_date_begins_where_the_operator_is() {
        let shanghai = TimeZone::get("Asia/Shanghai").unwrap();
        let moment = moment(&shanghai);
        for (text, utc) in [
            ("2027-01-31", "2027-01-30T16:00:00.000000Z"),
            ("2027-01-31T00:00:00Z", "2027-01-31T00:00:00.000000Z"),
            ("2027-01-31T18:00:00+01:00", "2027-01-31T17:00:00.000000Z"),
        ] {
            assert_eq!(moment(text).unwrap().to_string(), utc, "{text}");
        }
        for text in [
            "",
            "never",
            "90d",
            "2027-02-30",
            "2027-01-31T18:00:00",
            "31.1.2027",
        ] {
            assert!(moment(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_misspelt_level_is_not_taken_for_a_target() {
        for text in [
            "info",
            "off",
            "info,tollgate::ledger=debug",
            "pingora-core=warn",
        ] {
            assert!(log_level(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "inof",
            "INFO,",
            "tollgate=verbose",
            "=info",
            "a b=info",
            "[x]=info",
        ] {
            assert!(log_level(text).is_err(), "{text}");
        }
    }
}
