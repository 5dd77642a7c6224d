//! Usage by calendar: each day of a range, or each hour of the week.

use jiff::civil::Date;
use rusqlite::Connection;

use super::ReadError;
use super::calendar::{Days, WeekHours, monday_of, weekday_of};
use super::reading::{self, Entry, Range, known_hours};
use super::total::{Offers, Total};
use super::usage::{UsageQuery, UsageRow};

/// The days of the week, such that they are sorted as text.
pub const WEEKDAYS: [&str; 7] = [
    "1 Mon", "2 Tue", "3 Wed", "4 Thu", "5 Fri", "6 Sat", "7 Sun",
];

/// What was used on a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DayUsage {
    /// The day, in the query's time zone.
    pub day: Date,
    /// The Monday of its week.
    pub week: Date,
    /// Which of [`WEEKDAYS`] it is.
    pub weekday: usize,
    /// The sums of that part of it which is in the range.
    pub usage: UsageRow,
}

/// What was used in an hour of the week.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HourUsage {
    /// Which of [`WEEKDAYS`].
    pub weekday: usize,
    /// 0 to 23.
    pub hour: usize,
    /// The sums of all such hours of the range.
    pub usage: UsageRow,
}

/// An open beginning is that of the ledger; `None` of an empty one.
fn beginning(connection: &Connection, query: &UsageQuery) -> Result<Option<Range>, ReadError> {
    let asked = query.spanned();
    let known = known_hours(connection)?;
    Ok(match asked.since {
        i64::MIN => known.map(|known| Range {
            since: known.since.min(asked.until),
            until: asked.until,
        }),
        _ => Some(asked),
    })
}

/// Reads each day; see [`super::Reader::days`].
pub(super) fn days(
    connection: &Connection,
    query: &UsageQuery,
) -> Result<Vec<DayUsage>, ReadError> {
    let Some(range) = beginning(connection, query)?.filter(|range| range.since < range.until)
    else {
        return Ok(Vec::new());
    };
    let days = Days::of(range, &query.timezone);
    let (totals, offers) = placed(
        connection,
        query,
        range,
        &days.begins,
        days.begins.len(),
        &mut |moment| days.at(moment),
    )?;
    let rows = days
        .dates
        .iter()
        .zip(&totals)
        .map(|(&day, total)| DayUsage {
            day,
            week: monday_of(day),
            weekday: weekday_of(day),
            usage: total.row(Vec::new(), &offers),
        });
    Ok(rows.collect())
}

/// Reads each hour of the week; see [`super::Reader::week_hours`].
pub(super) fn week_hours(
    connection: &Connection,
    query: &UsageQuery,
) -> Result<Vec<HourUsage>, ReadError> {
    let asked = beginning(connection, query)?;
    let known = known_hours(connection)?;
    let range = asked
        .zip(known)
        .map_or(Range { since: 0, until: 0 }, |(asked, known)| {
            asked.within(known)
        });
    let cuts = WeekHours::cuts(range, &query.timezone);
    let mut hours = WeekHours::new(&query.timezone);
    let (totals, offers) = placed(connection, query, range, &cuts, 7 * 24, &mut |moment| {
        hours.at(moment)
    })?;
    let rows = totals.iter().enumerate().map(|(at, total)| HourUsage {
        weekday: at / 24,
        hour: at % 24,
        usage: total.row(Vec::new(), &offers),
    });
    Ok(rows.collect())
}

/// The sums of so many places, each entry in the one that `place` says.
fn placed(
    connection: &Connection,
    query: &UsageQuery,
    range: Range,
    cuts: &[i64],
    places: usize,
    place: &mut dyn FnMut(i64) -> usize,
) -> Result<(Vec<Total>, Offers), ReadError> {
    let mut totals = vec![Total::default(); places];
    let mut offers = Offers::of(query);
    reading::read(
        connection,
        range,
        cuts,
        &query.filter,
        query.wanted(),
        |entry: &Entry<'_>| {
            let offer = offers.number(entry);
            if let Some(total) = totals.get_mut(place(entry.time)) {
                total.add(entry, offer);
            }
            Ok(())
        },
    )?;
    Ok((totals, offers))
}
