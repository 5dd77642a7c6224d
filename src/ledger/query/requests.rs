//! Requests: listings by page, following what is recorded, one request in full.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::str::FromStr;
use std::sync::Arc;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};

use super::{ReadError, count, parse_tags, vocabulary};
use crate::clock::UnixMicros;
use crate::ledger::rollup::is_error;
use crate::money::NanoUsd;
use crate::record::{
    Api, Attempt, Cost, ErrorSource, Outcome, Phase, Phases, RequestId, Source, TokenType, Tokens,
    Usage,
};

/// Which requests, in which order, how many.
#[derive(Clone, Debug)]
pub struct RequestFilter {
    /// Started at this moment or later.
    pub since: Option<UnixMicros>,
    /// Started before this moment.
    pub until: Option<UnixMicros>,
    /// Sent to this channel.
    pub channel: Option<String>,
    /// Answered by this model; where the provider named none, asked for this model.
    pub model: Option<String>,
    /// Calling this API.
    pub api: Option<Api>,
    /// Of the client key of this name.
    pub key: Option<String>,
    /// That ended so.
    pub outcome: Option<Outcome>,
    /// Answered with this HTTP status.
    pub status: Option<u16>,
    /// Of this conversation.
    pub session: Option<String>,
    /// Only failures: every outcome but `ok` and `client_closed`.
    pub failed_only: bool,
    /// In which order.
    pub order: Order,
    /// Where the page before ended.
    pub cursor: Option<Cursor>,
    /// At most so many; 1 to 1,000, other values are brought into that range.
    pub limit: u32,
}

impl Default for RequestFilter {
    fn default() -> Self {
        Self {
            since: None,
            until: None,
            channel: None,
            model: None,
            api: None,
            key: None,
            outcome: None,
            status: None,
            session: None,
            failed_only: false,
            order: Order::Newest,
            cursor: None,
            limit: 100,
        }
    }
}

/// The order of a listing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Started last comes first.
    #[default]
    Newest,
    /// Longest total duration first; requests without one are left out. No index serves this: it
    /// looks at every row of the range, so give one.
    Slowest,
}

/// Where a page ended: opaque text for callers, stable while rows are added or expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The order the page was in.
    pub order: Order,
    /// `started_at` or `total_us` of the page's last row.
    pub(super) value: i64,
    /// Its sequence number, which breaks ties.
    pub(super) sequence: i64,
}

/// A text that is no cursor of this ledger.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a cursor; pass `next` of the page before, unchanged, with the same order")]
pub struct CursorError(String);

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = match self.order {
            Order::Newest => 'n',
            Order::Slowest => 's',
        };
        write!(f, "{order}{}_{}", self.value, self.sequence)
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let parse = || {
            let (order, rest) = match text.as_bytes().first()? {
                b'n' => (Order::Newest, &text[1..]),
                b's' => (Order::Slowest, &text[1..]),
                _ => return None,
            };
            let (value, sequence) = rest.split_once('_')?;
            Some(Self {
                order,
                value: value.parse().ok()?,
                sequence: sequence.parse().ok()?,
            })
        };
        parse().ok_or_else(|| CursorError(text.to_owned()))
    }
}

/// The number of a row in the order rows were recorded (which is the order requests ended in).
/// Never used twice, also not after rows expired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sequence(pub i64);

/// One page of a listing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RequestPage {
    /// The rows.
    pub requests: Vec<StoredRequest>,
    /// Where the next page starts; `None` when this was the last.
    pub next: Option<Cursor>,
}

/// What was recorded since a position.
#[derive(Clone, Debug, PartialEq)]
pub struct FollowPage {
    /// The rows, in the order they were recorded.
    pub requests: Vec<StoredRequest>,
    /// Where to go on; also moves past rows that the filter left out.
    pub position: Sequence,
}

/// One row of `requests`.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredRequest {
    /// Its number in the order of recording.
    pub sequence: Sequence,
    /// The request's id.
    pub id: RequestId,
    /// When its header had arrived.
    pub started_at: UnixMicros,
    /// The channel that answered, or was tried last.
    pub channel: Option<String>,
    /// The client key's name.
    pub key: Option<String>,
    /// Which API.
    pub api: Api,
    /// The HTTP method.
    pub method: String,
    /// The path, without its query.
    pub path: String,
    /// The model the client asked for.
    pub requested_model: Option<String>,
    /// The model that answered.
    pub served_model: Option<String>,
    /// The service tier that was billed.
    pub service_tier: Option<String>,
    /// Whether a stream was asked for.
    pub stream: Option<bool>,
    /// The HTTP status the client got.
    pub status: Option<u16>,
    /// How it ended.
    pub outcome: Outcome,
    /// Whose fault a failure was.
    pub error_source: Option<ErrorSource>,
    /// The provider's or Tollgate's error code.
    pub error_code: Option<String>,
    /// The error's text.
    pub error_message: Option<String>,
    /// How many tries at an upstream; `None` when it was interrupted, so that nobody knows.
    pub attempts: Option<u32>,
    /// Tokens.
    pub usage: Usage,
    /// What it cost.
    pub cost: Option<Cost>,
    /// Latencies.
    pub phases: Phases,
    /// Bytes of the request body.
    pub request_bytes: u64,
    /// Bytes of the answer's body; `None` when it was interrupted.
    pub response_bytes: Option<u64>,
    /// The provider's id of the request.
    pub upstream_request_id: Option<String>,
    /// The conversation it belongs to.
    pub session: Option<String>,
    /// The end user the client named.
    pub end_user: Option<String>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// Where the row comes from.
    pub source: Source,
}

/// One request with each try at an upstream.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestDetail {
    /// The row.
    pub request: StoredRequest,
    /// Its attempts, in order; empty when it was interrupted or never reached an upstream.
    pub attempts: Vec<Attempt>,
}

/// Most rows in a page.
const MOST: u32 = 1_000;

/// Conditions of a listing and the values they speak of.
#[derive(Default)]
struct Conditions {
    sql: String,
    values: Vec<Value>,
}

impl Conditions {
    fn add(&mut self, condition: &str, values: impl IntoIterator<Item = Value>) {
        self.sql.push_str(if self.sql.is_empty() {
            " WHERE "
        } else {
            " AND "
        });
        self.sql.push_str(condition);
        self.values.extend(values);
    }

    fn matching(filter: &RequestFilter) -> Self {
        let mut conditions = Self::default();
        let text = |text: &Option<String>| text.clone().map(Value::Text);
        let name = |name: Option<&'static str>| name.map(|name| Value::Text(name.to_owned()));
        let moment = |moment: Option<UnixMicros>| moment.map(|moment| Value::Integer(moment.0));
        for (condition, value) in [
            ("started_at >= ?", moment(filter.since)),
            ("started_at < ?", moment(filter.until)),
            ("channel = ?", text(&filter.channel)),
            (
                "coalesce(served_model, requested_model) = ?",
                text(&filter.model),
            ),
            ("api = ?", name(filter.api.map(Api::as_str))),
            ("key = ?", text(&filter.key)),
            ("outcome = ?", name(filter.outcome.map(Outcome::as_str))),
            (
                "status = ?",
                filter.status.map(|status| i64::from(status).into()),
            ),
            ("session = ?", text(&filter.session)),
        ] {
            if let Some(value) = value {
                conditions.add(condition, [value]);
            }
        }
        if filter.failed_only {
            let mut fine = String::new();
            for outcome in Outcome::ALL.iter().filter(|&&outcome| !is_error(outcome)) {
                let separator = if fine.is_empty() { "" } else { ", " };
                let _infallible = write!(fine, "{separator}'{outcome}'");
            }
            conditions.add(&format!("outcome NOT IN ({fine})"), []);
        }
        conditions
    }
}

/// A page of a listing.
pub(super) fn page(
    connection: &Connection,
    filter: &RequestFilter,
) -> Result<RequestPage, ReadError> {
    let limit = filter.limit.clamp(1, MOST);
    let column = match filter.order {
        Order::Newest => "started_at",
        Order::Slowest => "total_us",
    };
    let mut conditions = Conditions::matching(filter);
    if filter.order == Order::Slowest {
        conditions.add("total_us IS NOT NULL", []);
    }
    // A cursor of another order starts from the beginning rather than at a place without meaning.
    if let Some(cursor) = filter.cursor.filter(|cursor| cursor.order == filter.order) {
        conditions.add(
            &format!("({column}, sequence) < (?, ?)"),
            [cursor.value.into(), cursor.sequence.into()],
        );
    }
    // One more than asked for tells whether there is another page.
    let sql = format!(
        "SELECT {} FROM requests{} ORDER BY {column} DESC, sequence DESC LIMIT {}",
        columns(),
        conditions.sql,
        limit + 1
    );
    let mut requests = select(connection, &sql, conditions.values)?;
    let more = requests.len() > limit as usize;
    requests.truncate(limit as usize);
    let next = requests.last().filter(|_| more).map(|last| Cursor {
        order: filter.order,
        value: match filter.order {
            Order::Newest => last.started_at.0,
            Order::Slowest => last.phases[Phase::Total].map_or(0, crate::ledger::rows::stored),
        },
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
    Ok(Some(RequestDetail { request, attempts }))
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
    columns
}

/// Reads a row's columns from left to right.
struct Columns<'r, 's> {
    row: &'r Row<'s>,
    next: usize,
}

impl Columns<'_, '_> {
    fn get<T: rusqlite::types::FromSql>(&mut self) -> rusqlite::Result<T> {
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
        error_source: match c.get::<Option<String>>()? {
            Some(word) => Some(vocabulary("error_source", &word)?),
            None => None,
        },
        error_code: c.get()?,
        error_message: c.get()?,
        attempts: c.get()?,
        usage: Usage {
            tokens: Tokens::default(),
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
    };
    for &kind in TokenType::ALL {
        request.usage.tokens[kind] = c.count()?;
    }
    for &phase in Phase::ALL {
        request.phases[phase] = c.count()?;
    }
    Ok(request)
}
