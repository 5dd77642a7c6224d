//! What failed, and how: failures of a kind counted, with the last of each.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt::Write as _;

use rusqlite::{Connection, Row, params_from_iter};

use super::finding::FAILED;
use super::names::NameFilter;
use super::reading::conditions;
use super::summary::push_value;
use super::usage::UsageFilter;
use super::{ReadError, vocabulary};
use crate::clock::UnixMicros;
use crate::record::{Api, ErrorSource, Outcome, RequestId};

/// Which failures.
#[derive(Clone, Debug, Default)]
pub struct ErrorQuery {
    /// Of requests that started at this moment or later.
    pub since: Option<UnixMicros>,
    /// Of requests that started before this moment.
    pub until: Option<UnixMicros>,
    /// Whose.
    pub filter: UsageFilter,
    /// That ended so.
    pub outcome: NameFilter,
    /// At most so many kinds.
    pub limit: usize,
}

/// Failures of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorGroup {
    /// The channel that was tried last.
    pub channel: Option<String>,
    /// The model that answered, else the one that was asked for.
    pub model: Option<String>,
    /// The API.
    pub api: Api,
    /// How they ended.
    pub outcome: Outcome,
    /// The HTTP status that clients got.
    pub status: Option<u16>,
    /// The provider's or Tollgate's error code.
    pub error_code: Option<String>,
    /// Whose fault it was.
    pub error_source: Option<ErrorSource>,
    /// How many.
    pub requests: u64,
    /// When the first one started.
    pub first_at: UnixMicros,
    /// When the last one started.
    pub last_at: UnixMicros,
    /// The last one.
    pub last_id: RequestId,
    /// Its error's text.
    pub last_message: Option<String>,
}

/// Which outcomes are no failures, as a list in SQL.
fn fine_outcomes() -> String {
    let mut fine = String::new();
    for outcome in Outcome::ALL.iter().filter(|&&outcome| !outcome.is_error()) {
        let separator = if fine.is_empty() { "" } else { ", " };
        let _infallible = write!(fine, "{separator}'{outcome}'");
    }
    fine
}

/// Columns that make a kind, then what the last one is known by.
fn question(query: &ErrorQuery) -> (String, Vec<rusqlite::types::Value>) {
    let (mut conditions, mut values) =
        conditions(&query.filter, "coalesce(served_model, requested_model)");
    if let Some((condition, more)) = query.outcome.condition("outcome") {
        let _infallible = write!(conditions, " AND {condition}");
        values.extend(more);
    }
    let sql = format!(
        "SELECT channel, coalesce(served_model, requested_model), api, outcome, status, error_code, \
         error_source, started_at, id, error_message FROM requests \
         WHERE {FAILED} AND outcome NOT IN ({}) AND started_at >= ? AND started_at < ?{conditions} \
         ORDER BY started_at",
        fine_outcomes()
    );
    (sql, values)
}

/// Reads what failed; see [`super::Reader::errors`].
pub(super) fn errors(
    connection: &Connection,
    query: &ErrorQuery,
) -> Result<Vec<ErrorGroup>, ReadError> {
    let (sql, values) = question(query);
    let bounds = [
        query.since.map_or(i64::MIN, |since| since.0).into(),
        query.until.map_or(i64::MAX, |until| until.0).into(),
    ];
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query(params_from_iter(bounds.into_iter().chain(values)))?;
    let mut groups: HashMap<String, ErrorGroup> = HashMap::new();
    let mut key = String::new();
    while let Some(row) = rows.next()? {
        key.clear();
        for column in [0, 1, 2, 3, 5, 6] {
            push_value(&mut key, text(row, column)?);
        }
        let status: Option<u16> = row.get(4)?;
        let _infallible = write!(key, "{status:?}");
        let at = UnixMicros(row.get(7)?);
        if let Some(group) = groups.get_mut(&key) {
            group.requests += 1;
            group.last_at = at;
            group.last_id = vocabulary("id", text(row, 8)?.unwrap_or_default())?;
            group.last_message = row.get(9)?;
            continue;
        }
        let group = ErrorGroup {
            channel: row.get(0)?,
            model: row.get(1)?,
            api: vocabulary("api", text(row, 2)?.unwrap_or_default())?,
            outcome: vocabulary("outcome", text(row, 3)?.unwrap_or_default())?,
            status,
            error_code: row.get(5)?,
            error_source: text(row, 6)?
                .map(|source| vocabulary("error_source", source))
                .transpose()?,
            requests: 1,
            first_at: at,
            last_at: at,
            last_id: vocabulary("id", text(row, 8)?.unwrap_or_default())?,
            last_message: row.get(9)?,
        };
        groups.insert(key.clone(), group);
    }
    let mut groups: Vec<ErrorGroup> = groups.into_values().collect();
    groups.sort_by_key(|group| Reverse((group.requests, group.last_at, group.last_id)));
    groups.truncate(query.limit);
    Ok(groups)
}

fn text<'r>(row: &'r Row<'_>, column: usize) -> Result<Option<&'r str>, ReadError> {
    let value = row.get_ref(column)?.as_str_or_null();
    Ok(value.map_err(rusqlite::Error::from)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{migrations, windows};

    #[test]
    fn failures_are_found_without_looking_at_all_requests() {
        let mut connection = Connection::open_in_memory().unwrap();
        windows::register(&connection).unwrap();
        migrations::migrate(&mut connection).unwrap();
        let (sql, _) = question(&ErrorQuery::default());
        let plan: String = connection
            .query_row(&format!("EXPLAIN QUERY PLAN {sql}"), [0, 1], |row| {
                row.get(3)
            })
            .unwrap();
        assert!(plan.contains("USING INDEX requests_failed"), "{plan}");
    }
}
