//! How long requests took: percentiles of each phase, from the rows.
//!
//! Rows are many and wide, so at most [`MOST_ROWS`] are read. `requests_hourly` says in which minutes
//! there may be rows that are asked for; these are read, scattered over the range, until all are
//! read or it is enough. A minute gives no more than a share before every other gave its own. So an
//! answer is of everything, or of minutes from everywhere in the range, and says which.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};

use super::conditions::MODEL;
use super::names::NameFilter;
use super::reading::conditions;
use super::usage::UsageFilter;
use super::{ReadError, count};
use crate::clock::UnixMicros;
use crate::ledger::hours::{HOUR_US, MINUTE_US, hour_of};
use crate::record::{Phase, Phases, UsageSource, closed_set};

/// Most rows that are read for one answer.
const MOST_ROWS: u64 = 50_000;

/// Of so many minutes at least an answer is made, where there are so many.
const LEAST_MINUTES: u64 = 64;

/// The percentiles that are told.
pub const PERCENTILES: [usize; 4] = [50, 90, 95, 99];

closed_set! {
    /// What latencies are grouped by.
    LatencyBy ("grouping of latencies") {
        /// The model that answered, else the one that was asked for.
        Model => "model",
        /// The channel that answered, or was tried last.
        Channel => "channel",
        /// The client key's name.
        Key => "key",
        /// The API.
        Api => "api",
        /// The service tier that was billed.
        Tier => "tier",
    }
}

impl LatencyBy {
    const fn column(self) -> &'static str {
        match self {
            Self::Model => MODEL,
            Self::Channel => "channel",
            Self::Key => "key",
            Self::Api => "api",
            Self::Tier => "service_tier",
        }
    }
}

/// A question about latencies.
#[derive(Clone, Debug)]
pub struct LatencyQuery {
    /// Of requests that started at this moment or later.
    pub since: UnixMicros,
    /// Of requests that started before this moment.
    pub until: UnixMicros,
    /// Whose.
    pub filter: UsageFilter,
    /// That ended so.
    pub outcome: NameFilter,
    /// One row for each combination of these; empty gives one row of everything.
    pub by: Vec<LatencyBy>,
    /// At most so many rows.
    pub limit: usize,
}

/// The answer to a [`LatencyQuery`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latencies {
    /// Those of most requests first. None where there were no requests.
    pub rows: Vec<LatencyRow>,
    /// Minutes of the range in which there may be such requests.
    pub minutes: u64,
    /// How many of them were read whole; fewer than there are: the rows are a sample.
    pub minutes_read: u64,
    /// When the first request began that the ledger still has; `None` of an empty one.
    pub known_since: Option<UnixMicros>,
}

/// How long the requests of one group took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LatencyRow {
    /// The value of each [`LatencyQuery::by`], in its order; `None` where requests have none.
    pub group: Vec<Option<String>>,
    /// How many were read.
    pub requests: u64,
    /// How many of them reached a first token.
    pub first_tokens: u64,
    /// By [`PERCENTILES`], the microseconds that so many of a hundred requests that reached the phase do
    /// not exceed; `None` where none did.
    pub percentiles: [Phases; PERCENTILES.len()],
}

/// The durations of one group, by phase, in no order.
type Durations = [Vec<u64>; Phase::ALL.len()];

/// Reads how long requests took; see [`super::Reader::latencies`].
pub(super) fn latencies(
    connection: &Connection,
    query: &LatencyQuery,
) -> Result<Latencies, ReadError> {
    latencies_within(connection, query, MOST_ROWS)
}

fn latencies_within(
    connection: &Connection,
    query: &LatencyQuery,
    most: u64,
) -> Result<Latencies, ReadError> {
    // Several questions, one state of the database.
    let transaction = connection.unchecked_transaction()?;
    let mut minutes = minutes(&transaction, query)?;
    // Wherever it ends, what was read is spread evenly over time, and over the minutes of hours and days.
    minutes.sort_unstable_by_key(|&minute| scattered(minute));
    let (sql, values) = question(query);
    let mut statement = transaction.prepare(&sql)?;
    let mut groups: HashMap<Vec<Option<String>>, (u64, Durations)> = HashMap::new();
    let (mut left, mut minutes_read) = (most, 0);
    let among = u64::try_from(minutes.len()).unwrap_or(u64::MAX);
    let (mut share, mut skipped) = ((most / LEAST_MINUTES).max(1), 0);
    let mut unread = minutes;
    while left > 0 && !unread.is_empty() {
        let mut busy = Vec::new();
        for minute in unread {
            if left == 0 {
                break;
            }
            let since = minute.max(query.since.0);
            let until = minute.saturating_add(MINUTE_US).min(query.until.0);
            let mut share_left = share.min(left);
            // One more than may be read tells whether it is all of the minute.
            let bounds = [since, until, signed(share_left + 1), signed(skipped)];
            let parameters = values.iter().cloned().chain(bounds.map(Value::Integer));
            let mut rows = statement.query(params_from_iter(parameters))?;
            let is_whole = loop {
                let Some(row) = rows.next()? else {
                    break true;
                };
                if share_left == 0 {
                    break false;
                }
                share_left -= 1;
                left -= 1;
                if row.get(0)? {
                    add(&mut groups, row, query.by.len())?;
                }
            };
            if is_whole {
                minutes_read += 1;
            } else {
                busy.push(minute);
            }
        }
        unread = busy;
        skipped += share;
        share *= 2;
    }
    let mut rows: Vec<LatencyRow> = groups
        .into_iter()
        .map(|(group, (requests, durations))| row_of(group, requests, durations))
        .collect();
    rows.sort_unstable_by(|a, b| {
        (Reverse(a.requests), &a.group).cmp(&(Reverse(b.requests), &b.group))
    });
    rows.truncate(query.limit);
    Ok(Latencies {
        rows,
        minutes: among,
        minutes_read,
        known_since: known_since(&transaction)?,
    })
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn known_since(connection: &Connection) -> rusqlite::Result<Option<UnixMicros>> {
    let sql = "SELECT min(started_at) FROM requests";
    connection.query_row(sql, [], |row| {
        Ok(row.get::<_, Option<i64>>(0)?.map(UnixMicros))
    })
}

/// By these, the minutes of any time are evenly spread (multiples of the golden ratio, modulo 2^64).
fn scattered(minute: i64) -> u64 {
    (minute / MINUTE_US)
        .cast_unsigned()
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// The minutes of the range in which there may be requests that are asked for.
fn minutes(connection: &Connection, query: &LatencyQuery) -> Result<Vec<i64>, ReadError> {
    let mut bits = String::new();
    for source in UsageSource::ALL {
        let separator = if bits.is_empty() { "" } else { " | " };
        let _infallible = write!(bits, "{separator}{source}_minutes");
    }
    let (more, values) = conditions(&query.filter, "model");
    let mut statement = connection.prepare(&format!(
        "SELECT hour, {bits} FROM requests_hourly WHERE hour >= ? AND hour < ?{more}"
    ))?;
    let bounds = [hour_of(query.since), query.until.0].map(Value::Integer);
    let mut rows = statement.query(params_from_iter(bounds.into_iter().chain(values)))?;
    let mut hours: BTreeMap<i64, i64> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        *hours.entry(row.get(0)?).or_default() |= row.get::<_, i64>(1)?;
    }
    let of_hour = |(hour, bits): (i64, i64)| {
        let is_set = move |minute: &i64| bits & (1 << minute) != 0;
        (0..HOUR_US / MINUTE_US)
            .filter(is_set)
            .map(move |minute| hour + minute * MINUTE_US)
    };
    let is_asked = |minute: &i64| *minute < query.until.0 && minute + MINUTE_US > query.since.0;
    Ok(hours
        .into_iter()
        .flat_map(of_hour)
        .filter(is_asked)
        .collect())
}

/// Whether a row is asked for, its phases, its group. The range and how many rows come last.
fn question(query: &LatencyQuery) -> (String, Vec<Value>) {
    let (mut asked, mut values) = conditions(&query.filter, MODEL);
    if let Some((condition, more)) = query.outcome.condition("outcome") {
        let _infallible = write!(asked, " AND {condition}");
        values.extend(more);
    }
    let mut columns = String::new();
    for phase in Phase::ALL {
        let _infallible = write!(columns, ", {phase}_us");
    }
    for by in &query.by {
        let _infallible = write!(columns, ", {}", by.column());
    }
    let sql = format!(
        "SELECT coalesce(true{asked}, false){columns} FROM requests \
         WHERE started_at >= ? AND started_at < ? \
         ORDER BY started_at LIMIT ? OFFSET ?"
    );
    (sql, values)
}

fn add(
    groups: &mut HashMap<Vec<Option<String>>, (u64, Durations)>,
    row: &Row<'_>,
    by: usize,
) -> Result<(), ReadError> {
    let first = 1 + Phase::ALL.len();
    let group = (first..first + by).map(|column| row.get(column));
    let group = group.collect::<Result<Vec<_>, _>>()?;
    let (requests, durations) = groups.entry(group).or_default();
    *requests += 1;
    for (durations, column) in durations.iter_mut().zip(1..) {
        if let Some(duration) = row.get::<_, Option<i64>>(column)? {
            durations.push(count(duration));
        }
    }
    Ok(())
}

fn row_of(group: Vec<Option<String>>, requests: u64, mut durations: Durations) -> LatencyRow {
    let first_tokens = durations[Phase::FirstToken as usize].len();
    let mut percentiles = [Phases::default(); PERCENTILES.len()];
    for (&phase, durations) in Phase::ALL.iter().zip(&mut durations) {
        durations.sort_unstable();
        for (phases, percent) in percentiles.iter_mut().zip(PERCENTILES) {
            // The nearest rank: a duration that was measured, none between two of them.
            let rank = (durations.len() * percent).div_ceil(100);
            phases[phase] = rank
                .checked_sub(1)
                .and_then(|at| durations.get(at).copied());
        }
    }
    LatencyRow {
        group,
        requests,
        first_tokens: u64::try_from(first_tokens).unwrap_or(u64::MAX),
        percentiles,
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::params;

    use super::*;
    use crate::ledger::migrations;

    /// A ledger of `minutes`, with so many requests in each of them: the `n`th of all takes `n` µs.
    fn ledger(minutes: &[i64], each: i64) -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        migrations::migrate(&mut connection).unwrap();
        let columns = "id, started_at, api, method, path, stream, outcome, attempts, usage_source, \
                       request_bytes, source, total_us, key";
        let mut insert = connection
            .prepare(&format!(
                "INSERT INTO requests ({columns}) VALUES \
                 (?1, ?2, 'chat', 'POST', '/', 0, 'ok', 1, 'none', 0, 'proxy', ?3, ?4)"
            ))
            .unwrap();
        let mut n = 0;
        for minute in minutes {
            for second in 0..each {
                let at = minute * MINUTE_US + second;
                insert
                    .execute(params![format!("{n}"), at, n, n % 2])
                    .unwrap();
                n += 1;
            }
            connection
                .execute(
                    "INSERT INTO requests_hourly VALUES (?1, '', '', 'chat', '', NULL, NULL, 0, 0, 0, 0, ?2, 0) \
                     ON CONFLICT DO UPDATE SET none_minutes = none_minutes | excluded.none_minutes",
                    params![minute / 60 * HOUR_US, 1_i64 << (minute % 60)],
                )
                .unwrap();
        }
        drop(insert);
        connection
    }

    fn query(minutes: i64) -> LatencyQuery {
        LatencyQuery {
            since: UnixMicros(0),
            until: UnixMicros(minutes * MINUTE_US),
            filter: UsageFilter::default(),
            outcome: NameFilter::default(),
            by: Vec::new(),
            limit: 10,
        }
    }

    #[test]
    fn what_is_too_much_is_read_from_everywhere_in_the_range() {
        let minutes: Vec<i64> = (0..1_000).collect();
        let connection = ledger(&minutes, 10);
        let all = latencies_within(&connection, &query(1_000), 10_000).unwrap();
        assert_eq!((all.minutes, all.minutes_read), (1_000, 1_000));
        assert_eq!(all.rows[0].requests, 10_000);
        let some = latencies_within(&connection, &query(1_000), 1_000).unwrap();
        assert_eq!((some.minutes, some.minutes_read), (1_000, 100));
        assert_eq!(some.rows[0].requests, 1_000);
        // Durations grow with time: a sample of one end would be far off.
        for (all, some) in all.rows[0].percentiles.iter().zip(some.rows[0].percentiles) {
            let (all, some) = (all[Phase::Total].unwrap(), some[Phase::Total].unwrap());
            assert!(all.abs_diff(some) < 200, "{some} of {all}");
        }
    }

    #[test]
    fn a_minute_of_too_many_is_no_reason_to_read_more() {
        let connection = ledger(&[7], 100);
        let some = latencies_within(&connection, &query(60), 60).unwrap();
        assert_eq!((some.minutes, some.minutes_read), (1, 0));
        assert_eq!(some.rows[0].requests, 60);
    }

    #[test]
    fn no_minute_uses_up_what_the_others_need() {
        let minutes: Vec<i64> = (0..200).collect();
        let connection = ledger(&minutes, 100);
        let some = latencies_within(&connection, &query(200), 1_280).unwrap();
        // Twenty of each of the first 64: the median is near the middle of all.
        assert_eq!((some.minutes, some.minutes_read), (200, 0));
        assert_eq!(some.rows[0].requests, 1_280);
        let median = some.rows[0].percentiles[0][Phase::Total].unwrap();
        assert!(median.abs_diff(10_000) < 1_000, "{median}");
        // What some minutes leave is for the rest of the others.
        let connection = ledger(&[1, 2, 3], 100);
        let all = latencies_within(&connection, &query(60), 300).unwrap();
        assert_eq!((all.minutes, all.minutes_read), (3, 3));
        assert_eq!(all.rows[0].requests, 300);
    }

    #[test]
    fn rows_are_found_by_when_they_began() {
        let connection = ledger(&[], 0);
        let (sql, _) = question(&query(1));
        let plan: String = connection
            .query_row(&format!("EXPLAIN QUERY PLAN {sql}"), [0, 1, 1, 0], |row| {
                row.get(3)
            })
            .unwrap();
        assert!(
            plan.contains("USING INDEX requests_started_at (started_at>? AND started_at<?)"),
            "{plan}"
        );
    }
}
