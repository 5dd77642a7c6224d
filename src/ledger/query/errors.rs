//! What failed, and how: failures of a kind counted, with the last of each.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use rusqlite::{Connection, Row, params_from_iter};

use super::finding::FAILED;
use super::names::NameFilter;
use super::reading::conditions;
use super::summary::push_value;
use super::timeseries::OTHER;
use super::usage::UsageFilter;
use super::{ReadError, vocabulary};
use crate::clock::UnixMicros;
use crate::record::{Api, ErrorSource, Outcome, RequestId};

/// Kinds that are told apart, those that failed last: codes and models are the texts of providers and
/// clients, so there may be one a request. In tests few enough to reach.
const MOST_KINDS: usize = if cfg!(test) { 8 } else { 2_000 };

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

/// Failures of one kind. Of kinds that are too many to tell apart, those of an API and an outcome: channel,
/// model and code are [`OTHER`] then, status and source are `None`.
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
         ORDER BY started_at DESC, sequence DESC",
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
    // By what there is a known number of.
    let mut others: BTreeMap<(Api, Outcome), ErrorGroup> = BTreeMap::new();
    let mut key = String::new();
    while let Some(row) = rows.next()? {
        key.clear();
        for column in [0, 1, 2, 3, 5, 6] {
            push_value(&mut key, text(row, column)?);
        }
        let status: Option<u16> = row.get(4)?;
        let _infallible = write!(key, "{status:?}");
        if let Some(group) = groups.get_mut(&key) {
            group.count(UnixMicros(row.get(7)?));
            continue;
        }
        let group = last_of_its_kind(row)?;
        if groups.len() < MOST_KINDS {
            groups.insert(key.clone(), group);
        } else {
            let first_at = group.first_at;
            let other = others.entry((group.api, group.outcome));
            other
                .and_modify(|other| other.count(first_at))
                .or_insert_with(|| group.without_kind());
        }
    }
    let mut groups: Vec<ErrorGroup> = groups.into_values().chain(others.into_values()).collect();
    groups.sort_by_key(|group| Reverse((group.requests, group.last_at, group.last_id)));
    groups.truncate(query.limit);
    Ok(groups)
}

impl ErrorGroup {
    /// Counts one that was before all others.
    fn count(&mut self, started_at: UnixMicros) {
        self.requests += 1;
        self.first_at = started_at;
    }

    /// The same, of all kinds that are not told apart.
    fn without_kind(self) -> Self {
        let other = || Some(OTHER.to_owned());
        Self {
            channel: other(),
            model: other(),
            status: None,
            error_code: other(),
            error_source: None,
            ..self
        }
    }
}

/// A row's kind, of which nothing is known yet but this, its last one.
fn last_of_its_kind(row: &Row<'_>) -> Result<ErrorGroup, ReadError> {
    let at = UnixMicros(row.get(7)?);
    Ok(ErrorGroup {
        channel: row.get(0)?,
        model: row.get(1)?,
        api: vocabulary("api", text(row, 2)?.unwrap_or_default())?,
        outcome: vocabulary("outcome", text(row, 3)?.unwrap_or_default())?,
        status: row.get(4)?,
        error_code: row.get(5)?,
        error_source: text(row, 6)?
            .map(|source| vocabulary("error_source", source))
            .transpose()?,
        requests: 1,
        first_at: at,
        last_at: at,
        last_id: vocabulary("id", text(row, 8)?.unwrap_or_default())?,
        last_message: row.get(9)?,
    })
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
