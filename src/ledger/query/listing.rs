//! Requests from the database: a page of a listing, what was recorded since, one in full.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::str::FromStr;
use std::sync::Arc;

use rusqlite::types::{FromSql, Value};
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};

use super::conditions::Conditions;
use super::finding;
use super::requests::{
    Cursor, FollowPage, Repricing, RequestDetail, RequestFilter, RequestPage, Sequence,
    StoredRequest,
};
use super::{ReadError, count, parse_tags, vocabulary};
use crate::clock::UnixMicros;
use crate::money::NanoUsd;
use crate::record::{
    Attempt, Cost, Estimate, Phase, Phases, RequestId, TokenType, Tokens, Unit, Units, Usage,
};

/// Most rows in a page.
const MOST: u32 = 1_000;

/// A page of a listing.
pub(super) fn page(
    connection: &Connection,
    filter: &RequestFilter,
) -> Result<RequestPage, ReadError> {
    let limit = filter.limit.clamp(1, MOST) as usize;
    // Several questions, one state of the database.
    let transaction = connection.unchecked_transaction()?;
    // One more than asked for tells whether there is another page.
    let found = finding::find(&transaction, filter, limit + 1)?;
    let sql = format!("SELECT {} FROM requests WHERE sequence = ?", columns());
    let mut statement = transaction.prepare_cached(&sql)?;
    let mut requests = Vec::new();
    for &sequence in found.iter().take(limit) {
        let mut rows = statement.query([sequence])?;
        if let Some(row) = rows.next()? {
            requests.push(stored_request(row)?);
        }
    }
    let more = found.len() > limit;
    let next = requests.last().filter(|_| more).map(|last| Cursor {
        order: filter.order,
        // Whatever has no value is in no such listing.
        value: filter.order.value(last).unwrap_or_default(),
        sequence: last.sequence.0,
    });
    Ok(RequestPage { requests, next })
}

/// The number of the row recorded last.
pub(super) fn newest(connection: &Connection) -> rusqlite::Result<Sequence> {
    connection.query_row(
        "SELECT value FROM meta WHERE name = 'last_sequence'",
        [],
        |row| row.get(0).map(Sequence),
    )
}

/// Rows recorded after a position.
pub(super) fn follow(
    connection: &Connection,
    filter: &RequestFilter,
    after: Sequence,
) -> Result<FollowPage, ReadError> {
    let limit = filter.limit.clamp(1, MOST);
    // Two questions, one state of the database.
    let transaction = connection.unchecked_transaction()?;
    let newest = newest(&transaction)?;
    let mut conditions = Conditions::matching(filter);
    conditions.add("sequence > ?", [after.0.into()]);
    let sql = format!(
        "SELECT {} FROM requests{} ORDER BY sequence LIMIT {limit}",
        columns(),
        conditions.sql
    );
    let requests = select(&transaction, &sql, conditions.values)?;
    // A full page may not be all there is; otherwise everything so far was looked at.
    let position = match requests.last() {
        Some(last) if requests.len() == limit as usize => last.sequence,
        _ => newest.max(after),
    };
    Ok(FollowPage { requests, position })
}

/// Up to `limit` rows that started before `until`, in the order of their start, after the row that
/// `after` names by its start and sequence number.
pub(in crate::ledger) fn rows_in_order(
    connection: &Connection,
    after: (i64, i64),
    until: UnixMicros,
    limit: u32,
) -> Result<Vec<StoredRequest>, ReadError> {
    let mut conditions = Conditions::default();
    conditions.add(
        "(started_at, sequence) > (?, ?)",
        [after.0.into(), after.1.into()],
    );
    conditions.add("started_at < ?", [until.0.into()]);
    let sql = format!(
        "SELECT {} FROM requests{} ORDER BY started_at, sequence LIMIT {limit}",
        columns(),
        conditions.sql
    );
    select(connection, &sql, conditions.values)
}

/// One request with its attempts.
pub(super) fn detail(
    connection: &Connection,
    id: RequestId,
) -> Result<Option<RequestDetail>, ReadError> {
    let transaction = connection.unchecked_transaction()?;
    let mut buffer = [0; 36];
    let id: &str = id.encode(&mut buffer);
    let request = transaction
        .prepare_cached(&format!("SELECT {} FROM requests WHERE id = ?", columns()))?
        .query_row([id], |row| Ok(stored_request(row)))
        .optional()?;
    let Some(request) = request.transpose()? else {
        return Ok(None);
    };
    let mut statement = transaction.prepare_cached(
        "SELECT channel, started_at, outcome, status, error_code, connect_us, wait_us \
         FROM attempts WHERE request_id = ? ORDER BY n",
    )?;
    let mut rows = statement.query([id])?;
    let mut attempts = Vec::new();
    while let Some(row) = rows.next()? {
        attempts.push(Attempt {
            channel: row.get(0)?,
            started_at: UnixMicros(row.get(1)?),
            outcome: vocabulary(
                "outcome",
                row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?,
            )?,
            status: row.get(3)?,
            error_code: row.get(4)?,
            connect_us: row.get::<_, Option<i64>>(5)?.map(count),
            wait_us: row.get::<_, Option<i64>>(6)?.map(count),
        });
    }
    drop(rows);
    let repricings = transaction
        .prepare_cached(
            "SELECT run, at, who, old_cost_nanousd, old_price_version, new_cost_nanousd, \
             new_price_version FROM repricings WHERE request_id = ? ORDER BY run",
        )?
        .query_map([id], repricing)?
        .collect::<Result<_, _>>()?;
    Ok(Some(RequestDetail {
        request,
        attempts,
        repricings,
    }))
}

fn repricing(row: &Row<'_>) -> rusqlite::Result<Repricing> {
    let old: Option<i64> = row.get(3)?;
    let version: Option<Arc<str>> = row.get(4)?;
    Ok(Repricing {
        run: row.get(0)?,
        at: UnixMicros(row.get(1)?),
        who: row.get(2)?,
        old: old.map(|amount| Cost {
            amount: NanoUsd(amount),
            price_version: version.unwrap_or_default(),
        }),
        new: Cost {
            amount: NanoUsd(row.get(5)?),
            price_version: row.get(6)?,
        },
    })
}

fn select(
    connection: &Connection,
    sql: &str,
    values: Vec<Value>,
) -> Result<Vec<StoredRequest>, ReadError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut requests = Vec::new();
    while let Some(row) = rows.next()? {
        requests.push(stored_request(row)?);
    }
    Ok(requests)
}

/// The columns of a row in the order [`stored_request`] reads them.
fn columns() -> String {
    let mut columns = String::from(
        "sequence, id, started_at, channel, key, api, method, path, requested_model, \
         served_model, service_tier, stream, status, outcome, error_source, error_code, \
         error_message, attempts, total_tokens, usage_source, cost_nanousd, price_version, \
         request_bytes, response_bytes, upstream_request_id, session, end_user, tags, source",
    );
    for kind in TokenType::ALL {
        let _infallible = write!(columns, ", {kind}_tokens");
    }
    for phase in Phase::ALL {
        let _infallible = write!(columns, ", {phase}_us");
    }
    for unit in Unit::ALL {
        let _infallible = write!(columns, ", {}", unit.column());
    }
    columns.push_str(
        ", response_id, deferral, estimated_input_tokens, estimated_output_tokens, \
         estimated_cost_nanousd, delivered_output_tokens, upstream_bytes, priced_at, \
         assumed_cost_nanousd, billable",
    );
    columns
}

/// Reads a row's columns from left to right.
struct Columns<'r, 's> {
    row: &'r Row<'s>,
    next: usize,
}

impl Columns<'_, '_> {
    fn get<T: FromSql>(&mut self) -> rusqlite::Result<T> {
        let index = self.next;
        self.next += 1;
        self.row.get(index)
    }

    fn count(&mut self) -> rusqlite::Result<Option<u64>> {
        Ok(self.get::<Option<i64>>()?.map(count))
    }

    fn word<T: FromStr>(&mut self, column: &'static str) -> Result<T, ReadError> {
        vocabulary(column, &self.get::<String>()?)
    }

    fn stated_word<T: FromStr>(&mut self, column: &'static str) -> Result<Option<T>, ReadError> {
        self.get::<Option<String>>()?
            .map(|word| vocabulary(column, &word))
            .transpose()
    }
}

fn stored_request(row: &Row<'_>) -> Result<StoredRequest, ReadError> {
    let mut columns = Columns { row, next: 0 };
    let c = &mut columns;
    // Fields are read in the order they are written here, which is that of `columns`.
    let mut request = StoredRequest {
        sequence: Sequence(c.get()?),
        id: c.word("id")?,
        started_at: UnixMicros(c.get()?),
        channel: c.get()?,
        key: c.get()?,
        api: c.word("api")?,
        method: c.get()?,
        path: c.get()?,
        requested_model: c.get()?,
        served_model: c.get()?,
        service_tier: c.get()?,
        stream: c.get()?,
        status: c.get()?,
        outcome: c.word("outcome")?,
        error_source: c.stated_word("error_source")?,
        error_code: c.get()?,
        error_message: c.get()?,
        attempts: c.get()?,
        usage: Usage {
            tokens: Tokens::default(),
            units: Units::NONE,
            total: c.count()?,
            source: c.word("usage_source")?,
        },
        cost: match (c.get::<Option<i64>>()?, c.get::<Option<Arc<str>>>()?) {
            (Some(amount), version) => Some(Cost {
                amount: NanoUsd(amount),
                price_version: version.unwrap_or_default(),
            }),
            (None, _) => None,
        },
        phases: Phases::default(),
        request_bytes: c.count()?.unwrap_or(0),
        response_bytes: c.count()?,
        upstream_request_id: c.get()?,
        session: c.get()?,
        end_user: c.get()?,
        tags: match c.get::<Option<String>>()? {
            Some(json) => parse_tags(&json)?,
            None => BTreeMap::new(),
        },
        source: c.word("source")?,
        response_id: None,
        deferral: None,
        estimate: None,
        delivered_output_tokens: None,
        upstream_bytes: None,
        priced_at: None,
        assumed_cost: None,
        billable: true,
    };
    for &kind in TokenType::ALL {
        request.usage.tokens[kind] = c.count()?;
    }
    for &phase in Phase::ALL {
        request.phases[phase] = c.count()?;
    }
    for &unit in Unit::ALL {
        request.usage.units[unit] = c.count()?;
    }
    request.response_id = c.get()?;
    request.deferral = c.stated_word("deferral")?;
    let estimate = Estimate {
        input_tokens: c.count()?,
        output_tokens: c.count()?,
        cost: c.get::<Option<i64>>()?.map(NanoUsd),
    };
    request.estimate = (estimate != Estimate::default()).then_some(estimate);
    request.delivered_output_tokens = c.count()?;
    request.upstream_bytes = c.count()?;
    request.priced_at = c.get::<Option<i64>>()?.map(UnixMicros);
    request.assumed_cost = c.get::<Option<i64>>()?.map(NanoUsd);
    request.billable = c.get()?;
    Ok(request)
}
