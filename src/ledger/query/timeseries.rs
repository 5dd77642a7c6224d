//! Usage over time: a range cut into steps, each group's sums in each of them.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use foldhash::fast::RandomState;
use jiff::ToSpan;
use jiff::tz::TimeZone;
use rusqlite::Connection;

use super::UsageError;
use super::calendar::{Days, begin_of, local_date, monday_of, place};
use super::ranking::{Weights, ranked, weights};
use super::reading::{self, Entry, Range, known_hours};
use super::summary::GroupKey;
use super::top::TopOrder;
use super::total::{Offers, Total};
use super::usage::{UsageQuery, UsageRow};
use crate::clock::UnixMicros;
use crate::ledger::rollup::HOUR_US;

/// The value of every grouping in the group of all that are not among the top ones.
pub const OTHER: &str = "(other)";

/// Most steps of a series: longer ones are taken where a range has more.
const MOST_STEPS: i64 = 2_000;

/// Most rows of a series: longer steps are taken where there could be more, and of the longest fewer
/// groups. Each is some kilobytes while it is answered. In tests so few that there are often more.
const MOST_ROWS: usize = if cfg!(test) { 24 } else { 25_000 };

const MINUTE_US: i64 = 60_000_000;
const DAY_US: i64 = 24 * HOUR_US;

/// A step of a series: minutes up to an hour begin with the hours of UTC, longer ones at local midnight
/// and go on from there, seven days on a Monday.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Step(i64);

impl Step {
    /// Those that there are, in microseconds.
    const LENGTHS: [i64; 13] = [
        MINUTE_US,
        2 * MINUTE_US,
        5 * MINUTE_US,
        10 * MINUTE_US,
        15 * MINUTE_US,
        30 * MINUTE_US,
        HOUR_US,
        2 * HOUR_US,
        3 * HOUR_US,
        6 * HOUR_US,
        12 * HOUR_US,
        DAY_US,
        7 * DAY_US,
    ];

    /// The shortest that is at least so long; the longest where none is.
    #[must_use]
    pub fn at_least(length: Duration) -> Self {
        let length = i64::try_from(length.as_micros()).unwrap_or(i64::MAX);
        let fitting = Self::LENGTHS.into_iter().find(|&step| step >= length);
        Self(fitting.unwrap_or(7 * DAY_US))
    }

    /// The one for a range of that many microseconds.
    fn fitting(self, length: i64, whole_hours: bool) -> Self {
        let fits = |&step: &i64| length / step <= MOST_STEPS;
        let shortest = Self::LENGTHS.into_iter().find(fits);
        let shortest = Self(shortest.unwrap_or(7 * DAY_US));
        let hours = Self(if whole_hours { HOUR_US } else { 0 });
        self.max(shortest).max(hours)
    }

    /// The next longer one; `None` of the longest.
    fn longer(self) -> Option<Self> {
        let longer = Self::LENGTHS.into_iter().find(|&step| step > self.0);
        longer.map(Self)
    }

    /// When a step ends that begins at `begin`: where the next begins.
    fn end(self, begin: i64, timezone: &TimeZone) -> i64 {
        // Days have 25 hours at most.
        let until = begin.saturating_add(2 * self.0);
        let two = Range {
            since: begin,
            until,
        };
        let next = self.begins(two, timezone).get(1).copied();
        next.unwrap_or(until)
    }

    /// When the steps of a range begin, ascending, from the one that it begins in.
    fn begins(self, range: Range, timezone: &TimeZone) -> Vec<i64> {
        if self.0 <= HOUR_US {
            let first = range.since - range.since.rem_euclid(self.0);
            let steps = (0..).map(|step| first + step * self.0);
            return steps.take_while(|begin| *begin < range.until).collect();
        }
        if self.0 > DAY_US {
            let first = monday_of(local_date(range.since, timezone));
            let weeks = (0..).map_while(|week: i64| {
                let monday = first.checked_add((week * 7).days()).ok()?;
                begin_of(monday, timezone)
            });
            return weeks.take_while(|begin| *begin < range.until).collect();
        }
        let days = Days::of(range, timezone).begins;
        let mut begins = Vec::new();
        for (day, begin) in days.iter().enumerate() {
            if self.0 == DAY_US {
                // A day is one step, however many hours it has.
                begins.push(*begin);
                continue;
            }
            // The last day of the range ends with it; a day of 23 or 25 hours has a step that is shorter
            // or one more.
            let end = days.get(day + 1).copied().unwrap_or(range.until);
            let steps = (0..).map(|step| begin + step * self.0);
            begins.extend(steps.take_while(|begin| *begin < end));
        }
        let first = place(&begins, range.since);
        begins.split_off(first.min(begins.len()))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            days if days % DAY_US == 0 => write!(f, "{}d", days / DAY_US),
            hours if hours % HOUR_US == 0 => write!(f, "{}h", hours / HOUR_US),
            minutes => write!(f, "{}m", minutes / MINUTE_US),
        }
    }
}

/// A question about usage over time.
#[derive(Clone, Debug)]
pub struct TimeseriesQuery {
    /// Whose usage, when, and how it is grouped (not by day). It has an end; `compare` is not looked at.
    pub usage: UsageQuery,
    /// The step that is wished for; `None`: such that there are some dozens.
    pub step: Option<Step>,
    /// So many groups, those that cost most; the others are one.
    pub top: usize,
}

/// Usage over time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeseries {
    /// The beginning of the range; `None` where it was open and nothing is known.
    pub since: Option<UnixMicros>,
    /// Its end, exclusive.
    pub until: Option<UnixMicros>,
    /// The step that was taken: longer than what was wished for where there would be too many rows.
    pub step: Step,
    /// So many groups at most have rows of their own: those asked for, or fewer where there would be too
    /// many rows.
    pub top: usize,
    /// By time, in each step the costliest group of the range first. What had no requests has no row.
    pub rows: Vec<TimeseriesRow>,
}

/// What a group came to in a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeseriesRow {
    /// When the step begins, which may be before the range.
    pub time: UnixMicros,
    /// When it ends, exclusive, which may be after the range.
    pub until: UnixMicros,
    /// Its sums.
    pub usage: UsageRow,
}

/// Dozens of steps are what a chart shows well.
const USUAL_STEPS: i64 = 100;

/// Reads usage over time; see [`super::Reader::timeseries`].
pub(super) fn timeseries(
    connection: &Connection,
    query: &TimeseriesQuery,
) -> Result<Timeseries, UsageError> {
    let asked = query.usage.spanned();
    let known = known_hours(connection)?;
    let range = match known {
        // An open beginning is that of the ledger.
        Some(known) if asked.since == i64::MIN => Range {
            since: known.since.min(asked.until),
            until: asked.until,
        },
        _ => asked,
    };
    let wanted = query.usage.wanted();
    let length = range.until.saturating_sub(range.since);
    let usual = || {
        Step::at_least(Duration::from_micros(
            u64::try_from(length / USUAL_STEPS).unwrap_or(0),
        ))
    };
    let step = query.step.unwrap_or_else(usual);
    let step = step.fitting(length, wanted.tier);
    let (since, until) = range.ends();
    let mut series = Timeseries {
        since,
        until,
        step,
        top: query.top,
        rows: Vec::new(),
    };
    if since.is_none() || until.is_none() {
        return Ok(series);
    }
    // Before and after what is known there is nothing to cut.
    let range = known.map_or(range, |known| range.within(known));
    let timezone = &query.usage.timezone;
    let mut begins = step.begins(range, timezone);
    // Days of hours, where hours are all that is known.
    let is_known = |begins: &[i64]| {
        let within_hour = |begin: &i64| begin.rem_euclid(HOUR_US) != 0;
        !wanted.tier || wanted.tags || !begins.iter().any(within_hour)
    };
    if !is_known(&begins) {
        return Err(UsageError::TierWithinHour);
    }
    let gathered = if let Some(all) = gather(connection, query, range, &begins, None)? {
        all.ranked(query.top)
    } else {
        let mut ranks = ranks(connection, query, range)?;
        // All others are one more.
        while begins.len() * (ranks.len() + 1) > MOST_ROWS
            && let Some(longer) = series.step.longer()
        {
            let fewer = longer.begins(range, timezone);
            if !is_known(&fewer) {
                break;
            }
            (series.step, begins) = (longer, fewer);
        }
        let most = (MOST_ROWS / begins.len().max(1)).saturating_sub(1);
        if most < ranks.len() {
            ranks.retain(|_, rank| *rank < most);
            series.top = most;
        }
        gather(connection, query, range, &begins, Some(ranks))?.unwrap_or_default()
    };
    let mut names = vec![Vec::new(); gathered.groups.len()];
    for (key, rank) in &gathered.groups {
        names[*rank] = GroupKey::values(key);
    }
    let other = vec![Some(OTHER.to_owned()); query.usage.by.len()];
    let end_of_last = begins.last().map(|&last| series.step.end(last, timezone));
    let rows = gathered.totals.into_iter().map(|((step, rank), total)| {
        let group = names.get(rank).unwrap_or(&other).clone();
        let time = begins.get(step).copied().unwrap_or(range.since);
        let until = begins.get(step + 1).copied().or(end_of_last);
        TimeseriesRow {
            time: UnixMicros(time),
            until: UnixMicros(until.unwrap_or(range.until)),
            usage: total.row(group, &gathered.offers),
        }
    });
    series.rows = rows.collect();
    Ok(series)
}

/// Numbers of groups, by their keys.
type Numbers = HashMap<String, usize, RandomState>;

/// Sums that are held at most before it is known which groups are the top ones: some 10 MB. In tests so
/// few that there are often more.
const MOST_SUMS: usize = if cfg!(test) { 8 } else { 10_000 };

/// The sums of each step and group.
#[derive(Debug, Default)]
struct Gathered {
    groups: Numbers,
    /// By step and the group's number. That of all that have no number is behind theirs.
    totals: BTreeMap<(usize, usize), Total>,
    offers: Offers,
}

/// Reads the sums of each step, and of each group or of those that are numbered. `None` where groups
/// should be told apart of which there are too many.
fn gather(
    connection: &Connection,
    query: &TimeseriesQuery,
    range: Range,
    begins: &[i64],
    numbered: Option<Numbers>,
) -> Result<Option<Gathered>, UsageError> {
    let no_days = Days::default();
    let mut key = GroupKey::new(&query.usage.by, &no_days);
    let mut gathered = Gathered {
        offers: Offers::of(&query.usage),
        ..Gathered::default()
    };
    let all = numbered.is_none();
    gathered.groups = numbered.unwrap_or_default();
    reading::read(
        connection,
        range,
        begins,
        &query.usage.filter,
        query.usage.wanted(),
        |entry: &Entry<'_>| {
            if all && gathered.totals.len() > MOST_SUMS {
                return Ok(());
            }
            let key = key.of(entry)?;
            let others = gathered.groups.len();
            let number = gathered.groups.get(key).copied();
            if all && number.is_none() {
                gathered.groups.insert(key.to_owned(), others);
            }
            let offer = gathered.offers.number(entry);
            let place = (place(begins, entry.time), number.unwrap_or(others));
            let total = gathered.totals.entry(place).or_default();
            total.add(entry, offer);
            Ok(())
        },
    )?;
    Ok((!all || gathered.totals.len() <= MOST_SUMS).then_some(gathered))
}

impl Gathered {
    /// The groups that cost most, numbered by their rank, and all others as one.
    fn ranked(self, top: usize) -> Self {
        let mut weights = vec![Weights::default(); self.groups.len()];
        for (&(_, number), total) in &self.totals {
            weights[number].merge(&Weights::of(&total.sums));
        }
        let groups = self.groups.iter();
        let groups = groups.map(|(key, &number)| (key.as_str(), weights[number]));
        let ranks = numbered(ranked(groups, TopOrder::Cost), top);
        let mut ranks_of = vec![ranks.len(); self.groups.len()];
        for (key, &number) in &self.groups {
            ranks_of[number] = ranks.get(key).copied().unwrap_or(ranks.len());
        }
        let mut totals: BTreeMap<(usize, usize), Total> = BTreeMap::new();
        for ((step, number), total) in self.totals {
            let sum = totals.entry((step, ranks_of[number]));
            sum.and_modify(|sum| sum.merge(&total)).or_insert(total);
        }
        Self {
            groups: ranks,
            totals,
            offers: self.offers,
        }
    }
}

/// The rank of each of the top groups, by its key.
fn ranks(
    connection: &Connection,
    query: &TimeseriesQuery,
    range: Range,
) -> Result<Numbers, UsageError> {
    let groups = weights(connection, &query.usage, range)?;
    let groups = groups.iter();
    let groups = groups.map(|(key, &weights)| (key.as_str(), weights));
    Ok(numbered(ranked(groups, TopOrder::Cost), query.top))
}

fn numbered(keys: Vec<&str>, top: usize) -> Numbers {
    let keys = keys.into_iter().take(top).map(str::to_owned);
    keys.zip(0..).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(text: &str) -> i64 {
        UnixMicros::from(text.parse::<jiff::Timestamp>().unwrap()).0
    }

    fn begins(step: i64, since: &str, until: &str, zone: &str) -> Vec<String> {
        let range = Range {
            since: moment(since),
            until: moment(until),
        };
        let zone = TimeZone::get(zone).unwrap();
        let begins = Step(step).begins(range, &zone);
        let text = |begin: i64| UnixMicros(begin).timestamp().to_string();
        begins.into_iter().map(text).collect()
    }

    #[test]
    fn steps_begin_where_people_expect_them() {
        assert_eq!(
            begins(
                15 * MINUTE_US,
                "2026-11-20T10:07:00Z",
                "2026-11-20T10:31:00Z",
                "UTC"
            ),
            [
                "2026-11-20T10:00:00Z",
                "2026-11-20T10:15:00Z",
                "2026-11-20T10:30:00Z"
            ]
        );
        assert_eq!(
            begins(
                12 * HOUR_US,
                "2026-11-20T10:00:00Z",
                "2026-11-21T01:00:00Z",
                "Asia/Kolkata"
            ),
            ["2026-11-20T06:30:00Z", "2026-11-20T18:30:00Z"]
        );
        // The night in which Berlin's clocks go back.
        assert_eq!(
            begins(
                12 * HOUR_US,
                "2026-10-24T22:00:00Z",
                "2026-10-26T00:00:00Z",
                "Europe/Berlin"
            ),
            [
                "2026-10-24T22:00:00Z",
                "2026-10-25T10:00:00Z",
                "2026-10-25T22:00:00Z",
                "2026-10-25T23:00:00Z"
            ]
        );
        assert_eq!(
            begins(
                DAY_US,
                "2026-10-24T22:00:00Z",
                "2026-10-26T00:00:00Z",
                "Europe/Berlin"
            ),
            ["2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"]
        );
        assert_eq!(
            begins(
                7 * DAY_US,
                "2026-11-20T10:00:00Z",
                "2026-11-24T00:00:00Z",
                "UTC"
            ),
            ["2026-11-16T00:00:00Z", "2026-11-23T00:00:00Z"]
        );
    }

    #[test]
    fn a_step_ends_where_the_next_begins() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        for (step, begin, end) in [
            (MINUTE_US, "2026-10-24T22:00:00Z", "2026-10-24T22:01:00Z"),
            (HOUR_US, "2026-10-24T22:00:00Z", "2026-10-24T23:00:00Z"),
            // A day of 25 hours: its last half day is an hour of its own.
            (12 * HOUR_US, "2026-10-25T10:00:00Z", "2026-10-25T22:00:00Z"),
            (12 * HOUR_US, "2026-10-25T22:00:00Z", "2026-10-25T23:00:00Z"),
            (DAY_US, "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"),
            // And one of 23.
            (DAY_US, "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
            (7 * DAY_US, "2026-10-18T22:00:00Z", "2026-10-25T23:00:00Z"),
        ] {
            let ends = Step(step).end(moment(begin), &berlin);
            assert_eq!(ends, moment(end), "{begin}");
        }
    }

    #[test]
    fn a_step_is_a_sensible_one() {
        for (wish, step) in [
            (1, "1m"),
            (61, "2m"),
            (3_600, "1h"),
            (86_400, "1d"),
            (86_401, "7d"),
            (9_000_000, "7d"),
        ] {
            assert_eq!(Step::at_least(Duration::from_secs(wish)).to_string(), step);
        }
        let longer: Vec<_> = std::iter::successors(Some(Step(6 * HOUR_US)), |step| step.longer())
            .map(|step| step.to_string())
            .collect();
        assert_eq!(longer, ["6h", "12h", "1d", "7d"]);
        let minute = Step(MINUTE_US);
        assert_eq!(minute.fitting(90 * DAY_US, false).to_string(), "2h");
        assert_eq!(minute.fitting(HOUR_US, true).to_string(), "1h");
    }
}
