//! Reads `digests`.

use std::collections::HashMap;
use std::sync::Arc;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::{Time, Weekday, date};
use jiff::tz::TimeZone;

use super::names::ReceiverNames;
use super::times::{time_of_day, weekday};
use super::{DigestSchedule, DigestSettings};
use crate::config::channels::name_of_own;
use crate::config::reader::Reader;
use crate::config::section::Section;
use crate::config::units::{self, Refusal};

/// How many of each kind a digest names, where it is not said, and at most.
const TOP: usize = 5;
const MOST_TOP: usize = 50;

/// What somebody who asks for digests hardly wants them more often than, in seconds.
const SELDOM_ENOUGH: i64 = 3600;

/// Reads `digests`. `usual` are told where a digest does not say who.
pub(super) fn read(
    top: &mut Section<'_>,
    reader: &mut Reader<'_>,
    timezone: &TimeZone,
    names: &ReceiverNames,
    usual: &[Arc<str>],
) -> Vec<DigestSettings> {
    let mut taken = HashMap::new();
    let mut digests = Vec::new();
    top.list(reader, "digests", |section, reader| {
        let name = name_of_own(section, reader, &mut taken, "digest");
        let mut timezone = timezone.clone();
        section.set(reader, "timezone", &mut timezone, units::time_zone);
        let schedule = schedule(section, reader, &timezone);
        let receivers = receivers(section, reader, names, usual);
        let mut top = TOP;
        section.set(reader, "top", &mut top, units::whole(1, MOST_TOP));
        if let (Some(name), Some(schedule)) = (name, schedule) {
            digests.push(DigestSettings {
                name,
                schedule,
                timezone,
                receivers,
                top,
            });
        }
    });
    digests
}

fn receivers(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    names: &ReceiverNames,
    usual: &[Arc<str>],
) -> Vec<Arc<str>> {
    let key = section.key("receivers");
    let Some((place, receivers)) = names.listed(section, reader, "receivers") else {
        if let Some(place) = section.place.clone().filter(|_| names.0.is_empty()) {
            let message = "there are no receivers that it could go to";
            let hint = Some("name them under `receivers` at the top");
            reader.problem(&place, &key, message, hint);
        }
        return usual.to_vec();
    };
    if section.lists_nothing(reader, "receivers") {
        let hint = Some("name a receiver, or take the digest away");
        reader.problem(&place, &key, "names nobody", hint);
    }
    receivers
}

/// How often one comes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Every {
    Day,
    Week,
}

fn schedule(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    timezone: &TimeZone,
) -> Option<DigestSchedule> {
    let mut every = None;
    section.set(reader, "every", &mut every, |text| match text {
        "day" => Ok(Some(Every::Day)),
        "week" => Ok(Some(Every::Week)),
        _ => Err(Refusal::new(
            "is not one of the choices",
            "write `day` or `week`, or a `cron` expression instead",
        )),
    });
    let mut at = Time::constant(9, 0, 0, 0);
    section.set(reader, "at", &mut at, |text| {
        time_of_day(text).ok_or_else(|| {
            let remedy = "write hours and minutes from 00:00 to 23:59, as \"09:00\"";
            Refusal::new("is no time of a day", remedy)
        })
    });
    let mut on = Weekday::Monday;
    let on_place = section.set(reader, "on", &mut on, weekday);
    let cron = cron_of(section, reader, timezone);
    let place = section.place.clone()?;
    if section.has("cron") {
        if let Some(other) = ["every", "at", "on"].iter().find(|key| section.has(key)) {
            let place = section.place_of(reader, other).unwrap_or(place);
            let message = format!("both `cron` and `{other}` are given");
            let hint = Some("keep `cron`, or `every` with `at` and `on`");
            reader.problem(&place, &section.key(other), message, hint);
        }
        return cron;
    }
    if !section.has("every") {
        let message = "is missing; it says when the digest is told";
        let hint = Some("write `every: day` or `every: week`, or a `cron` expression");
        reader.problem(&place, &section.key("every"), message, hint);
    }
    if let Some(place) = on_place.filter(|_| every == Some(Every::Day)) {
        let message = "a digest of every day has no day of the week";
        let hint = Some("take it away, or write `every: week`");
        reader.problem(&place, &section.key("on"), message, hint);
    }
    Some(match every? {
        Every::Day => DigestSchedule::Daily(at),
        Every::Week => DigestSchedule::Weekly(on, at),
    })
}

fn cron_of(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    timezone: &TimeZone,
) -> Option<DigestSchedule> {
    let given = section.values(reader, "cron").pop()?;
    let key = section.key("cron");
    match cron(&given.text, timezone) {
        Ok(gap) => {
            if gap.is_some_and(|seconds| seconds < SELDOM_ENOUGH) {
                let doubt = Refusal::new(
                    "comes more often than every hour",
                    "`0 9 * * *` is nine o'clock; `* 9 * * *` is every minute from nine to ten",
                );
                reader.doubt(&given, &key, &doubt);
            }
            Some(DigestSchedule::Cron(Arc::from(given.text.trim())))
        }
        Err(refusal) => {
            reader.refuse(&given, &key, &refusal);
            None
        }
    }
}

/// How many seconds there are between the first two moments of a cron expression, where there are two.
fn cron(text: &str, timezone: &TimeZone) -> Result<Option<i64>, Refusal> {
    const FORM: &str =
        "write minute, hour, day of the month, month and day of the week, as `0 9 * * mon-fri`";
    let fields = text.split_whitespace().count();
    if fields != 5 {
        let reason = format!("has {fields} fields, not five");
        return Err(Refusal::new(reason, FORM));
    }
    let cron: Cron = CronParser::builder()
        .seconds(Seconds::Disallowed)
        .year(Year::Disallowed)
        .build()
        .parse(text)
        .map_err(|_| Refusal::new("is no cron expression", FORM))?;
    // From a fixed day on, so that the same settings are always told the same.
    let start = date(2024, 1, 1).to_zoned(timezone.clone());
    let start = start.map_err(|_| Refusal::new("has no moment in this zone", FORM))?;
    let first = cron
        .find_next_occurrence(&start, true)
        .map_err(|_| Refusal::new("never comes", FORM))?;
    let second = cron.find_next_occurrence(&first, false).ok();
    Ok(second.map(|second| second.timestamp().as_second() - first.timestamp().as_second()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cron_expressions_have_five_fields_and_a_moment() {
        for (text, gap) in [
            ("0 9 * * *", 24 * 3600),
            ("0 9 * * mon-fri", 24 * 3600),
            ("*/5 * * * *", 300),
            ("0 0 1 * *", 31 * 24 * 3600),
        ] {
            assert_eq!(cron(text, &TimeZone::UTC), Ok(Some(gap)), "{text}");
        }
        for text in [
            "",
            "@daily",
            "0 9 * *",
            "0 0 9 * * *",
            "61 * * * *",
            "0 9 * * funday",
            "0 0 31 2 *",
        ] {
            assert!(cron(text, &TimeZone::UTC).is_err(), "{text}");
        }
    }
}
