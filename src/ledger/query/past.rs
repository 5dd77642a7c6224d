//! What windows, budgets and alerts are rebuilt from after a start: minutes, requests and what is
//! still held, all of one state of the database, with the place in the journal that it goes up to.
//!
//! Which rows ended in a range of time no index of `requests` says: it would cost every row. But
//! `window_minutely` says in which minutes those began that ended since, however long they took, and
//! those minutes are looked up by the index of starts. So none is missed and few are read in vain.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use rusqlite::{Connection, OptionalExtension as _, Row};

use super::sampled::{self, number, some_text, text};
use super::{ReadError, count, parse_tags, vocabulary};
use crate::clock::UnixMicros;
use crate::ledger::journal::Journal;
use crate::money::NanoUsd;
use crate::record::{Dimensions, MinuteSample, ModelNames, RequestId, Sample, Sketch, Worst};

/// What is wanted of the past. Nothing, by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PastQuery {
    /// The sums of requests that ended in the minute of this moment or later, so also of all that
    /// began then. There are such sums for 400 days.
    pub minutes_since: Option<UnixMicros>,
    /// With their distributions.
    pub sketches: bool,
    /// Each request that ended at this moment or later, so also each that began then.
    pub requests_since: Option<UnixMicros>,
    /// With their tags.
    pub tags: bool,
    /// Requests that began at this moment or later, whose end nobody saw, and of which a budget held
    /// something.
    pub interrupted_since: Option<UnixMicros>,
    /// Requests that began at this moment or later and whose usage is still to be told, likewise.
    pub deferred_since: Option<UnixMicros>,
}

/// Something of the past.
#[derive(Clone, Copy, Debug)]
pub enum Past<'a> {
    /// Requests that began in one minute and ended in another.
    Minute(&'a MinuteSample<'a>),
    /// One request. Of its model's names those are known that the ledger keeps: as it was asked for
    /// and as it was served.
    Request(&'a Sample<'a>),
    /// What one request may still turn out to have cost.
    Held(&'a HeldRequest<'a>),
}

/// A request whose cost is still to be seen.
#[derive(Clone, Copy, Debug)]
pub struct HeldRequest<'a> {
    /// Its id.
    pub id: RequestId,
    /// When it began.
    pub started_at: UnixMicros,
    /// Whose it is, with its tags.
    pub dimensions: Dimensions<'a>,
    /// Whether its usage is told later; otherwise nobody saw its end.
    pub deferred: bool,
    /// Nano-dollars that are counted for it.
    pub counted_nanousd: i64,
    /// What it may have come to at most, in all; unknown where nobody can say. Of the tokens none are
    /// counted for it.
    pub worst: Worst,
    /// What its usage will be told under, where that is told later.
    pub response_id: Option<&'a str>,
}

/// Reads what is wanted; see [`super::Reader::past`].
pub(super) fn past(
    connection: &Connection,
    query: &PastQuery,
    journal: Option<&Journal>,
    visit: &mut dyn FnMut(Past<'_>),
) -> Result<Option<u64>, ReadError> {
    let transaction = connection.unchecked_transaction()?;
    let _never_breaks_off = read(&transaction, query, &mut |past| {
        visit(past);
        ControlFlow::Continue(())
    })?;
    for (since, deferred) in [
        (query.interrupted_since, false),
        (query.deferred_since, true),
    ] {
        if let Some(since) = since {
            held_requests(&transaction, since, deferred, visit)?;
        }
    }
    journal
        .map(|journal| position(&transaction, journal))
        .transpose()
}

/// Reads minutes and requests until it is enough; see [`super::Reader::past_until`].
pub(super) fn read(
    connection: &Connection,
    query: &PastQuery,
    visit: &mut dyn FnMut(Past<'_>) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, ReadError> {
    if let Some(since) = query.minutes_since
        && minutes(connection, since, query.sketches, visit)?.is_break()
    {
        return Ok(ControlFlow::Break(()));
    }
    match query.requests_since {
        Some(since) => requests(connection, since, query.tags, visit),
        None => Ok(ControlFlow::Continue(())),
    }
}

/// Up to where the process' own stream is in the database.
fn position(connection: &Connection, journal: &Journal) -> Result<u64, ReadError> {
    let stored: Option<i64> = connection
        .query_row(
            "SELECT position FROM journal_streams WHERE stream = ?",
            [journal.stream().id.simple().to_string()],
            |row| row.get(0),
        )
        .optional()?;
    Ok(stored.map_or(0, count))
}

fn minutes(
    connection: &Connection,
    since: UnixMicros,
    sketches: bool,
    visit: &mut dyn FnMut(Past<'_>) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, ReadError> {
    let distributions = if sketches {
        ", latency_us, ttft_us, pace_milli"
    } else {
        ""
    };
    let mut statement = connection.prepare(&format!(
        "SELECT ended_minute, started_minute, channel, api, key, requested_model, served_model, \
         requests, settled, errors, cost_nanousd, total_tokens, input_tokens, \
         output_tokens{distributions} \
         FROM window_minutely WHERE ended_minute >= ?"
    ))?;
    let mut rows = statement.query([since.minute().0])?;
    while let Some(row) = rows.next()? {
        let mut sample = minute(row)?;
        if sketches {
            sample.latency_us = sketch(row, 14)?;
            sample.ttft_us = sketch(row, 15)?;
            sample.pace_milli = sketch(row, 16)?;
        }
        if visit(Past::Minute(&sample)).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Without distributions.
fn minute<'r>(row: &'r Row<'_>) -> Result<MinuteSample<'r>, ReadError> {
    Ok(MinuteSample {
        ended: UnixMicros(row.get(0)?),
        started: UnixMicros(row.get(1)?),
        dimensions: Dimensions {
            channel: text(row, 2)?,
            api: vocabulary("api", text(row, 3)?)?,
            key: stated(row, 4)?,
            model: ModelNames {
                asked: stated(row, 5)?,
                served: stated(row, 6)?,
                ..ModelNames::default()
            },
            tags: None,
        },
        requests: count(row.get(7)?),
        settled: count(row.get(8)?),
        errors: count(row.get(9)?),
        cost_nanousd: row.get(10)?,
        tokens: number(row, 11)?,
        input_tokens: number(row, 12)?,
        output_tokens: number(row, 13)?,
        latency_us: None,
        ttft_us: None,
        pace_milli: None,
    })
}

/// A column in which `''` stands for none.
fn stated<'r>(row: &'r Row<'_>, column: usize) -> Result<Option<&'r str>, ReadError> {
    Ok(Some(text(row, column)?).filter(|text| !text.is_empty()))
}

/// A distribution. One that is damaged is not known: the sums beside it are.
pub(super) fn sketch(row: &Row<'_>, column: usize) -> Result<Option<Sketch>, ReadError> {
    let value = row.get_ref(column)?;
    let bytes = value.as_blob().map_err(rusqlite::Error::from)?;
    Ok(Sketch::decode(bytes)
        .inspect_err(|error| tracing::warn!(%error, "a distribution in window_minutely is damaged"))
        .ok())
}

/// When those requests began that ended in the minute of `since` or later, and began before `until`:
/// ranges from one minute up to another, ascending and apart.
pub(super) fn starts_of_what_ended(
    connection: &Connection,
    since: UnixMicros,
    until: UnixMicros,
) -> rusqlite::Result<Vec<(i64, i64)>> {
    let mut statement = connection.prepare(
        "SELECT DISTINCT started_minute FROM window_minutely \
         WHERE ended_minute >= ? AND started_minute < ? ORDER BY started_minute",
    )?;
    let mut rows = statement.query((since.minute().0, until.0))?;
    let mut ranges: Vec<(i64, i64)> = Vec::new();
    while let Some(row) = rows.next()? {
        let start: i64 = row.get(0)?;
        let end = start.saturating_add(60_000_000);
        match ranges.last_mut() {
            Some((_, last)) if *last == start => *last = end,
            _ => ranges.push((start, end)),
        }
    }
    Ok(ranges)
}

/// What reads the requests of a range of starts, in their order.
pub(super) fn requests_of_range(tags: bool) -> String {
    let columns = sampled::columns(tags);
    format!(
        "SELECT {columns} FROM requests WHERE started_at >= ? AND started_at < ? \
         ORDER BY started_at, sequence"
    )
}

fn requests(
    connection: &Connection,
    since: UnixMicros,
    tags: bool,
    visit: &mut dyn FnMut(Past<'_>) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, ReadError> {
    let ranges = starts_of_what_ended(connection, since, UnixMicros(i64::MAX))?;
    let mut statement = connection.prepare(&requests_of_range(tags))?;
    let untagged = BTreeMap::new();
    for range in ranges {
        let mut rows = statement.query(range)?;
        while let Some(row) = rows.next()? {
            let Some(row) = sampled::read(row)?.filter(|row| row.figures.ended_at >= since) else {
                continue;
            };
            let stated = row.tags.map(parse_tags).transpose()?;
            let dimensions = Dimensions {
                tags: tags.then_some(stated.as_ref().unwrap_or(&untagged)),
                ..row.dimensions
            };
            let sample = Sample::new(row.started_at, dimensions, &row.figures, None);
            if visit(Past::Request(&sample)).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Nobody saw its end.
const INTERRUPTED: &str = "outcome = 'interrupted'";

/// Its usage is still to be told.
const AWAITED: &str = "EXISTS (SELECT 1 FROM deferred_usage AS awaited \
     WHERE awaited.response_id = requests.response_id AND awaited.opened_by = requests.id \
     AND awaited.settled_by IS NULL)";

fn held_question(deferred: bool) -> String {
    let condition = if deferred { AWAITED } else { INTERRUPTED };
    format!(
        "SELECT id, started_at, channel, api, key, requested_model, served_model, tags, \
         coalesce(cost_nanousd, assumed_cost_nanousd, 0), worst_cost_nanousd, \
         worst_input_tokens, worst_output_tokens, response_id FROM requests \
         WHERE worst_unbounded IS NOT NULL AND started_at >= ? AND {condition} \
         ORDER BY started_at, sequence"
    )
}

fn held_requests(
    connection: &Connection,
    since: UnixMicros,
    deferred: bool,
    visit: &mut dyn FnMut(Past<'_>),
) -> Result<(), ReadError> {
    let mut statement = connection.prepare(&held_question(deferred))?;
    let mut rows = statement.query([since.0])?;
    while let Some(row) = rows.next()? {
        let tags = some_text(row, 7)?.map(parse_tags).transpose()?;
        let held = HeldRequest {
            id: vocabulary("id", text(row, 0)?)?,
            started_at: UnixMicros(row.get(1)?),
            dimensions: Dimensions {
                channel: some_text(row, 2)?.unwrap_or_default(),
                api: vocabulary("api", text(row, 3)?)?,
                key: some_text(row, 4)?,
                model: ModelNames {
                    asked: some_text(row, 5)?,
                    served: some_text(row, 6)?,
                    ..ModelNames::default()
                },
                tags: Some(&tags.unwrap_or_default()),
            },
            deferred,
            counted_nanousd: row.get(8)?,
            worst: Worst {
                cost: row.get::<_, Option<i64>>(9)?.map(NanoUsd),
                input_cost: None,
                input_tokens: number(row, 10)?,
                output_tokens: number(row, 11)?,
            },
            response_id: some_text(row, 12)?,
        };
        visit(Past::Held(&held));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::migrations;

    fn plan(sql: &str) -> String {
        let mut connection = Connection::open_in_memory().unwrap();
        migrations::migrate(&mut connection).unwrap();
        let mut statement = connection
            .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
            .unwrap();
        let parameters = vec![0_i64; statement.parameter_count()];
        let steps = statement
            .query_map(rusqlite::params_from_iter(parameters), |row| {
                row.get::<_, String>(3)
            })
            .unwrap();
        steps.map(Result::unwrap).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn no_part_reads_what_it_does_not_want() {
        assert_eq!(
            plan(&requests_of_range(true)),
            "SEARCH requests USING INDEX requests_started_at (started_at>? AND started_at<?)"
        );
        for deferred in [false, true] {
            let plan = plan(&held_question(deferred));
            let first = "SEARCH requests USING INDEX requests_worst (started_at>?)";
            assert!(plan.starts_with(first), "{plan}");
            assert!(!plan.contains("TEMP B-TREE"), "{plan}");
            assert!(!plan.contains("SCAN"), "{plan}");
        }
        assert!(
            plan("SELECT requests FROM window_minutely WHERE ended_minute >= ?")
                .starts_with("SEARCH window_minutely USING PRIMARY KEY (ended_minute>?)")
        );
    }
}
