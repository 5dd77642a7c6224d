//! Reads `mute_times`: recurring times by name.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;

use super::names::{each, none_of};
use super::{MuteTimes, TimeSpan};
use crate::config::channels::is_name;
use crate::config::problem::Place;
use crate::config::reader::Reader;
use crate::config::section::Section;
use crate::config::tree::shown;
use crate::config::units::{self, Refusal};

/// From Monday on.
const WEEKDAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

const WHOLE_WEEKDAYS: [&str; 7] = [
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
];

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];

const WHOLE_MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// Reads `mute_times`. `names` gets all names, also of times that are refused for something else.
pub(super) fn read(
    top: &mut Section<'_>,
    reader: &mut Reader<'_>,
    timezone: &TimeZone,
    names: &mut HashMap<Arc<str>, Place>,
) -> Vec<MuteTimes> {
    const KEY: &str = "mute_times";
    let mut times = Vec::new();
    for entry in top.names(reader, KEY) {
        let path = format!("{KEY}.{}", shown(&entry.key));
        let place = reader.at(entry.key_at);
        let name: Arc<str> = Arc::from(entry.key.as_str());
        names.insert(Arc::clone(&name), place.clone());
        if !is_name(&entry.key, 64) {
            let message = format!("`{}` is no name", shown(&entry.key));
            let hint = Some("write 1 to 64 of the characters A-Z a-z 0-9 . _ -");
            reader.problem(&place, &path, message, hint);
        }
        let mut members = 0;
        let mut any = Vec::new();
        let listed = top.named_list(reader, KEY, entry, |section, reader| {
            members += 1;
            any.push(span(section, reader, timezone));
        });
        let is_null = matches!(entry.node.value, crate::config::Value::Null);
        if is_null || (listed.is_some() && members == 0) {
            let hint = Some("write a list, as `[{times: [\"22:00-08:00\"]}]`");
            reader.problem(&place, &path, "names no time", hint);
        }
        times.push(MuteTimes { name, any });
    }
    times
}

fn span(section: &mut Section<'_>, reader: &mut Reader<'_>, timezone: &TimeZone) -> TimeSpan {
    let mut span = TimeSpan {
        timezone: timezone.clone(),
        weekdays: Vec::new(),
        days_of_month: Vec::new(),
        months: Vec::new(),
        times: Vec::new(),
    };
    section.set(reader, "timezone", &mut span.timezone, units::time_zone);
    let key = section.key("times");
    let given = section.texts(reader, "times");
    span.times = each(reader, &key, given, times);
    let days = flat(section, reader, "weekdays", weekdays);
    span.weekdays = days.into_iter().map(of_monday).collect();
    span.days_of_month = flat(section, reader, "days_of_month", days_of_month);
    span.months = flat(section, reader, "months", months);
    let conditions = ["times", "weekdays", "days_of_month", "months"];
    if let Some(place) = section.place.clone()
        && !conditions.iter().any(|key| section.has(key))
    {
        let message = "names no time, so it would be always";
        let hint = Some("give it `times`, `weekdays`, `days_of_month` or `months`");
        let key = section.key("");
        reader.problem(&place, key.trim_end_matches('.'), message, hint);
    }
    span
}

/// All that the members of a list mean, each once and in order.
fn flat(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    key: &'static str,
    parse: impl Fn(&str) -> Result<Vec<i8>, Refusal>,
) -> Vec<i8> {
    let path = section.key(key);
    let Some((place, given)) = section.listed(reader, key) else {
        return Vec::new();
    };
    if given.is_empty() {
        let hint = Some("take the key away for all");
        reader.problem(&place, &path, "the list is empty", hint);
    }
    let ranges = each(reader, &path, given, parse);
    let mut all: Vec<i8> = ranges.into_iter().flatten().collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// From and to in a day; `24:00` is an end.
fn times(text: &str) -> Result<(Time, Time), Refusal> {
    const FORM: &str =
        "write from and to, as \"22:00-08:00\"; past midnight where the end is earlier";
    let refusal = || Refusal::new("is no time of a day", FORM);
    let (from, to) = text.split_once('-').ok_or_else(refusal)?;
    let (from, to) = (from.trim(), to.trim());
    let begin = time_of_day(from).ok_or_else(refusal)?;
    let end = match to {
        "24:00" => Time::midnight(),
        to => time_of_day(to).ok_or_else(refusal)?,
    };
    if begin == end && to != "24:00" {
        return Err(Refusal::new(
            "ends where it begins",
            "write \"00:00-24:00\" for a whole day",
        ));
    }
    Ok((begin, end))
}

/// `HH:MM`.
pub(super) fn time_of_day(text: &str) -> Option<Time> {
    let (hours, minutes) = text.split_once(':')?;
    let two = |text: &str, least: usize| {
        let fits = (least..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        fits.then(|| text.parse::<i8>().ok()).flatten()
    };
    Time::new(two(hours, 1)?, two(minutes, 2)?, 0, 0).ok()
}

fn weekdays(text: &str) -> Result<Vec<i8>, Refusal> {
    around(text, &WEEKDAYS, &WHOLE_WEEKDAYS, 0).ok_or_else(|| {
        no_word(
            text,
            &WEEKDAYS,
            "no day of the week",
            "write `mon` or `mon-fri`",
        )
    })
}

/// The day of the week `text` names.
pub(super) fn weekday(text: &str) -> Result<Weekday, Refusal> {
    let days = weekdays(text)?;
    match days.as_slice() {
        [day] => Ok(of_monday(*day)),
        _ => Err(Refusal::new("is more than one day", "write one, as `mon`")),
    }
}

/// The day of the week so many days after a Monday.
fn of_monday(days: i8) -> Weekday {
    Weekday::from_monday_zero_offset(days).unwrap_or(Weekday::Monday)
}

fn months(text: &str) -> Result<Vec<i8>, Refusal> {
    around(text, &MONTHS, &WHOLE_MONTHS, 1)
        .ok_or_else(|| no_word(text, &MONTHS, "no month", "write `jan`, `1` or `nov-feb`"))
}

fn no_word(text: &str, words: &[&str], what: &str, form: &str) -> Refusal {
    let refusal = none_of(text, words, what);
    let remedy = refusal.remedy.unwrap_or_default();
    Refusal::new(refusal.reason, &format!("{form}; {remedy}"))
}

/// The numbers of a word, or from one word to another, also past the end of the list. The first word
/// has the number `first`; where that is not 0, a number stands for itself.
fn around(text: &str, short: &[&str], whole: &[&str], first: i8) -> Option<Vec<i8>> {
    let index = |word: &str| {
        let word = word.trim().to_lowercase();
        let named = short.iter().chain(whole).position(|name| *name == word);
        let named = named.map(|at| at % short.len());
        named.or_else(|| {
            let number: usize = word.parse().ok()?;
            let index = number.checked_sub(usize::from(first.unsigned_abs()))?;
            (first != 0 && index < short.len()).then_some(index)
        })
    };
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let (from, to) = (index(from)?, index(to)?);
    let count = (to + short.len() - from) % short.len() + 1;
    (from..from + count)
        .map(|at| i8::try_from(at % short.len()).ok().map(|at| at + first))
        .collect()
}

/// Days of the month: `1`, `-1` (the last), `1-5`, `-3--1`, `25--1`.
fn days_of_month(text: &str) -> Result<Vec<i8>, Refusal> {
    const FORM: &str =
        "write a day from 1 to 31, from -1 (the last) to -31, or a range, as `1-5` or \"-3--1\"";
    let refusal = |reason| Refusal::new(reason, FORM);
    let day = |text: &str| {
        let day = text.trim().parse::<i8>().ok()?;
        (day != 0 && (-31..=31).contains(&day)).then_some(day)
    };
    if let Some(day) = day(text) {
        return Ok(vec![day]);
    }
    // The first sign may be the number's own.
    let dash = text.char_indices().skip(1).find(|(_, c)| *c == '-');
    let range = dash.and_then(|(at, _)| Some((day(&text[..at])?, day(&text[at + 1..])?)));
    match range {
        Some((from, -1)) if from > 0 => Ok((from..=31).collect()),
        Some((from, to)) if (from > 0) != (to > 0) => Err(refusal(
            "begins at one end of the month and ends at the other",
        )),
        Some((from, to)) if from > to => Err(refusal("ends before it begins")),
        Some((from, to)) => Ok((from..=to).collect()),
        None => Err(refusal("is no day of the month")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_pass_midnight() {
        let time = |hour, minute| Time::new(hour, minute, 0, 0).unwrap();
        for (text, from, to) in [
            ("09:00-17:30", time(9, 0), time(17, 30)),
            ("22:00-08:00", time(22, 0), time(8, 0)),
            ("9:00 - 24:00", time(9, 0), time(0, 0)),
            ("00:00-24:00", time(0, 0), time(0, 0)),
        ] {
            assert_eq!(times(text), Ok((from, to)), "{text}");
        }
        for text in [
            "",
            "9",
            "9-17",
            "09:00",
            "24:00-08:00",
            "09:00-24:01",
            "08:00-08:00",
            "9:5-10:00",
        ] {
            assert!(times(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ranges_go_round_the_week_and_the_year() {
        for (text, days) in [
            ("mon", &[0][..]),
            ("Mon-Fri", &[0, 1, 2, 3, 4]),
            ("fri-mon", &[4, 5, 6, 0]),
            ("saturday-sun", &[5, 6]),
        ] {
            assert_eq!(weekdays(text).unwrap(), days, "{text}");
        }
        for text in ["", "mo", "1-5", "mon-", "mon-fri-sun"] {
            assert!(weekdays(text).is_err(), "{text}");
        }
        for (text, numbers) in [
            ("jan", &[1][..]),
            ("3", &[3]),
            ("nov-2", &[11, 12, 1, 2]),
            ("May-july", &[5, 6, 7]),
        ] {
            assert_eq!(months(text).unwrap(), numbers, "{text}");
        }
        for text in ["", "0", "13", "jän"] {
            assert!(months(text).is_err(), "{text}");
        }
    }

    #[test]
    fn days_count_from_either_end_of_the_month() {
        for (text, days) in [
            ("1", &[1][..]),
            ("-1", &[-1]),
            ("1-3", &[1, 2, 3]),
            ("-3--1", &[-3, -2, -1]),
            ("30--1", &[30, 31]),
        ] {
            assert_eq!(days_of_month(text).unwrap(), days, "{text}");
        }
        for text in [
            "", "0", "32", "-32", "5-1", "-1--3", "-1-5", "1--2", "1-2-3", "é", "é-1", "-",
        ] {
            assert!(days_of_month(text).is_err(), "{text}");
        }
    }
}
