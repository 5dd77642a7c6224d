//! What was used in a time, for people: sums by who used it, what became of the requests, how long they
//! took, and how it went on over the time. All of roll-ups: its time grows with minutes and names, not
//! with requests.

use std::collections::HashMap;
use std::fmt::Write as _;

use rusqlite::{Connection, Row};

use super::past::sketch;
use super::summary::push_value;
use super::{ReadError, count, vocabulary};
use crate::clock::UnixMicros;
use crate::ledger::sums::{add, add_known};
use crate::record::{Api, Outcome, Sketch, TokenType, Tokens, is_sampled};

/// A time, by when requests started; both ends rounded down to the minute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeriodQuery {
    /// From this moment on.
    pub since: UnixMicros,
    /// Up to but without this moment.
    pub until: UnixMicros,
    /// Where the parts of [`PeriodUsage::parts`] begin, ascending; what is before the first is in none.
    pub parts: Vec<UnixMicros>,
}

/// What was used in a time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeriodUsage {
    /// By who used what, each combination once, in no order to rely on.
    pub groups: Vec<PeriodGroup>,
    /// How many requests ended how; all of them, also those that Tollgate turned away.
    pub outcomes: [u64; Outcome::ALL.len()],
    /// One for each of [`PeriodQuery::parts`].
    pub parts: Vec<PeriodPart>,
}

/// Whose requests, and for what. `""` for none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeriodGroup {
    /// The channel.
    pub channel: String,
    /// The model that answered, else the one that was asked for.
    pub model: String,
    /// The API.
    pub api: Api,
    /// The client key's name.
    pub key: String,
    /// What they come to.
    pub sums: PeriodSums,
}

/// Sums over requests. They stay at the end of their range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeriodSums {
    /// Requests that Tollgate did not turn away.
    pub requests: u64,
    /// Of them, those that failed.
    pub errors: u64,
    /// Nano-dollars; `None` when nothing was priced.
    pub cost_nanousd: Option<i64>,
    /// Requests without a cost that may have one: no price is known, or no usage.
    pub unpriced: u64,
    /// All tokens; `None` where none were stated.
    pub total_tokens: Option<u64>,
    /// By type, likewise.
    pub tokens: Tokens,
    /// Of the tokens that were written into a cache, those that live there for an hour.
    pub cache_write_1h: Option<u64>,
}

impl PeriodSums {
    /// Adds what others come to.
    pub fn merge(&mut self, other: &Self) {
        let more = |sum: &mut u64, count: u64| *sum = sum.saturating_add(count);
        let more_known = |sum: &mut Option<u64>, count: Option<u64>| {
            if let Some(count) = count {
                *sum = Some(sum.unwrap_or(0).saturating_add(count));
            }
        };
        more(&mut self.requests, other.requests);
        more(&mut self.errors, other.errors);
        more(&mut self.unpriced, other.unpriced);
        add_known(&mut self.cost_nanousd, other.cost_nanousd);
        more_known(&mut self.total_tokens, other.total_tokens);
        for &kind in TokenType::ALL {
            more_known(&mut self.tokens[kind], other.tokens[kind]);
        }
        more_known(&mut self.cache_write_1h, other.cache_write_1h);
    }
}

/// A part of a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeriodPart {
    /// Nano-dollars that are known to have been spent.
    pub cost_nanousd: i64,
    /// Tokens that were stated.
    pub tokens: u64,
}

/// How long requests took that ended in a time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Durations {
    /// From their header to their end, in microseconds.
    pub latency_us: Sketch,
    /// From their header to the first content of a stream.
    pub ttft_us: Sketch,
}

/// Columns before the token types: the key, sums, and then outcomes.
const FIXED: usize = 9;

/// Reads what was used; see [`super::Reader::period`].
pub(super) fn usage(
    connection: &Connection,
    query: &PeriodQuery,
) -> Result<PeriodUsage, ReadError> {
    let mut statement = connection.prepare(&question())?;
    let mut rows = statement.query([query.since.minute().0, query.until.minute().0])?;
    let mut groups: HashMap<String, PeriodGroup> = HashMap::new();
    let mut outcomes = [0_i64; Outcome::ALL.len()];
    let mut parts = vec![(0_i64, 0_i64); query.parts.len()];
    let mut key = String::new();
    while let Some(row) = rows.next()? {
        key.clear();
        for column in 1..=4 {
            push_value(&mut key, Some(text(row, column)?));
        }
        let (sums, by_outcome) = sums_of(row)?;
        for (sum, count) in outcomes.iter_mut().zip(by_outcome) {
            add(sum, count);
        }
        let minute = UnixMicros(row.get(0)?);
        let begun = query.parts.partition_point(|&begin| begin <= minute);
        if let Some((cost, tokens)) = begun.checked_sub(1).and_then(|at| parts.get_mut(at)) {
            add(cost, sums.cost_nanousd.unwrap_or(0));
            let more = sums.total_tokens.unwrap_or(0);
            add(tokens, i64::try_from(more).unwrap_or(i64::MAX));
        }
        // Looked up by the borrowed key: a row of a known group allocates nothing.
        if let Some(group) = groups.get_mut(&key) {
            group.sums.merge(&sums);
        } else {
            let group = PeriodGroup {
                channel: text(row, 1)?.to_owned(),
                model: text(row, 2)?.to_owned(),
                api: vocabulary("api", text(row, 3)?)?,
                key: text(row, 4)?.to_owned(),
                sums,
            };
            groups.insert(key.clone(), group);
        }
    }
    Ok(PeriodUsage {
        groups: groups.into_values().collect(),
        outcomes: outcomes.map(count),
        parts: parts
            .into_iter()
            .map(|(cost_nanousd, tokens)| PeriodPart {
                cost_nanousd,
                tokens: count(tokens),
            })
            .collect(),
    })
}

fn question() -> String {
    let mut columns = String::from(
        "minute, channel, model, api, key, unpriced_requests + missing_usage_requests, cost_nanousd, \
         total_tokens, cache_write_1h_tokens",
    );
    for kind in TokenType::ALL {
        let _infallible = write!(columns, ", {kind}_tokens");
    }
    for outcome in Outcome::ALL {
        let _infallible = write!(columns, ", {outcome}_requests");
    }
    format!("SELECT {columns} FROM usage_minutely WHERE minute >= ? AND minute < ?")
}

/// What one roll-up adds, and by outcome.
fn sums_of(row: &Row<'_>) -> Result<(PeriodSums, [i64; Outcome::ALL.len()]), ReadError> {
    let known = |column: usize| -> rusqlite::Result<Option<u64>> {
        Ok(row.get::<_, Option<i64>>(column)?.map(count))
    };
    let mut tokens = Tokens::default();
    for (&kind, column) in TokenType::ALL.iter().zip(FIXED..) {
        tokens[kind] = known(column)?;
    }
    let mut outcomes = [0; Outcome::ALL.len()];
    for (slot, column) in outcomes.iter_mut().zip(FIXED + TokenType::ALL.len()..) {
        *slot = row.get(column)?;
    }
    let (mut requests, mut errors) = (0, 0);
    for (&outcome, &ended) in Outcome::ALL.iter().zip(&outcomes) {
        if is_sampled(outcome) {
            add(&mut requests, ended);
            add(&mut errors, if outcome.is_error() { ended } else { 0 });
        }
    }
    let sums = PeriodSums {
        requests: count(requests),
        errors: count(errors),
        unpriced: count(row.get(5)?),
        cost_nanousd: row.get(6)?,
        total_tokens: known(7)?,
        cache_write_1h: known(8)?,
        tokens,
    };
    Ok((sums, outcomes))
}

/// Reads how long requests took; see [`super::Reader::durations`].
pub(super) fn durations(
    connection: &Connection,
    since: UnixMicros,
    until: UnixMicros,
) -> Result<Durations, ReadError> {
    let mut statement = connection.prepare(
        "SELECT latency_us, ttft_us FROM window_minutely WHERE ended_minute >= ? AND ended_minute < ?",
    )?;
    let mut rows = statement.query([since.minute().0, until.minute().0])?;
    let mut durations = Durations::default();
    while let Some(row) = rows.next()? {
        let Durations {
            latency_us,
            ttft_us,
        } = &mut durations;
        for (column, sum) in [(0, latency_us), (1, ttft_us)] {
            if let Some(more) = sketch(row, column)? {
                sum.merge(&more);
            }
        }
    }
    Ok(durations)
}

/// The first minute of which anything is known.
pub(super) fn first_minute(connection: &Connection) -> rusqlite::Result<Option<UnixMicros>> {
    let first: Option<i64> =
        connection.query_row("SELECT min(minute) FROM usage_minutely", [], |row| {
            row.get(0)
        })?;
    Ok(first.map(UnixMicros))
}

fn text<'r>(row: &'r Row<'_>, column: usize) -> Result<&'r str, ReadError> {
    let value = row.get_ref(column)?;
    Ok(value.as_str().map_err(rusqlite::Error::from)?)
}
