//! Usage summaries: sums over the roll-ups, grouped.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt::Write;

use jiff::tz::TimeZone;
use jiff::{ToSpan, Zoned};
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Row, params_from_iter};

use super::usage::{GroupBy, UsageFilter, UsageQuery, UsageRow, UsageSummary};
use super::{ReadError, count, parse_tags, vocabulary};
use crate::clock::UnixMicros;
use crate::ledger::rollup::{add, add_known, is_unbilled};
use crate::money::NanoUsd;
use crate::record::{Outcome, TokenType, Tokens, Unit, Units, UsageSource, is_unpriced};

/// Sums, of a roll-up, of one request or of a group of either. They stay at the end of their range.
#[derive(Clone, Debug, Default)]
struct Sums {
    requests: i64,
    errors: i64,
    unbilled: i64,
    unpriced: i64,
    missing_usage: i64,
    partial: i64,
    estimated: i64,
    units: [Option<i64>; Unit::ALL.len()],
    estimated_cost: Option<i64>,
    tokens: [Option<i64>; TokenType::ALL.len()],
    total_tokens: Option<i64>,
    cost: Option<i64>,
    total_us_sum: i64,
    total_us_count: i64,
    first_token_us_sum: i64,
    first_token_us_count: i64,
    request_bytes: i64,
    response_bytes: i64,
}

/// Columns before the sums: minute (or `started_at`), channel, model, api, key, tag.
const KEY_COLUMNS: usize = 6;

/// The sums over a range, grouped. Added up here and not in SQL: sums that reach the end of their
/// range stay there (SQL's fail), and days are those of a time zone.
pub(super) fn usage(
    connection: &Connection,
    query: &UsageQuery,
) -> Result<UsageSummary, ReadError> {
    let tag = query.by.iter().find_map(|by| match by {
        GroupBy::Tag(name) => Some(name.as_str()),
        _ => None,
    });
    let since = query.since.map_or(i64::MIN, |since| since.minute().0);
    // Rounded up: the minute in which the range ends counts whole.
    let until = query.until.map_or(i64::MAX, |until| {
        UnixMicros(until.0.saturating_add(59_999_999)).minute().0
    });

    let model = match tag {
        Some(_) => "coalesce(served_model, requested_model)",
        None => "model",
    };
    let (conditions, more) = conditions(&query.filter, model);
    let values = [since.into(), until.into()].into_iter().chain(more);

    let mut groups = Groups::default();
    let mut key = GroupKey::new(query);
    if tag.is_some() {
        let mut statement = connection.prepare(&format!(
            "SELECT started_at, channel, coalesce(served_model, requested_model), api, key, tags, \
             outcome, usage_source, cost_nanousd, total_tokens, total_us, first_token_us, \
             request_bytes, response_bytes, estimated_cost_nanousd{} \
             FROM requests WHERE started_at >= ? AND started_at < ?{conditions}",
            counted_columns()
        ))?;
        let mut rows = statement.query(params_from_iter(values))?;
        while let Some(row) = rows.next()? {
            groups.add(key.of(row)?, &of_request(row)?);
        }
    } else {
        let mut statement = connection.prepare(&format!(
            "SELECT minute, channel, model, api, key, NULL, requests, errors, unpriced_requests, \
             missing_usage_requests, cost_nanousd, total_tokens, total_us_sum, total_us_count, \
             first_token_us_sum, first_token_us_count, request_bytes, response_bytes, \
             estimated_cost_nanousd, partial_requests, estimated_requests, {}{} \
             FROM usage_minutely WHERE minute >= ? AND minute < ?{conditions}",
            unbilled_columns(),
            counted_columns()
        ))?;
        let mut rows = statement.query(params_from_iter(values))?;
        while let Some(row) = rows.next()? {
            groups.add(key.of(row)?, &of_rollup(row)?);
        }
    }
    Ok(groups.summary(query))
}

/// What `filter` wants, with an AND before each condition, and the values it speaks of.
fn conditions(filter: &UsageFilter, model: &str) -> (String, Vec<Value>) {
    let mut sql = String::new();
    let mut values = Vec::new();
    for (column, names) in [
        ("channel", &filter.channel),
        (model, &filter.model),
        ("api", &filter.api),
        ("key", &filter.key),
    ] {
        if let Some((condition, more)) = names.condition(column) {
            let _infallible = write!(sql, " AND {condition}");
            values.extend(more);
        }
    }
    (sql, values)
}

/// What bills nothing, added up.
fn unbilled_columns() -> String {
    let unbilled = Outcome::ALL.iter().filter(|&&outcome| is_unbilled(outcome));
    let columns: Vec<String> = unbilled
        .map(|outcome| format!("{outcome}_requests"))
        .collect();
    columns.join(" + ")
}

/// The columns of token types and then of units, with a comma before each.
fn counted_columns() -> String {
    let mut columns = String::new();
    for kind in TokenType::ALL {
        let _infallible = write!(columns, ", {kind}_tokens");
    }
    for unit in Unit::ALL {
        let _infallible = write!(columns, ", {}", unit.column());
    }
    columns
}

fn counts<const N: usize>(row: &Row<'_>, first: usize) -> rusqlite::Result<[Option<i64>; N]> {
    let mut counts = [None; N];
    for (slot, column) in counts.iter_mut().zip(first..) {
        *slot = row.get(column)?;
    }
    Ok(counts)
}

fn of_rollup(row: &Row<'_>) -> Result<Sums, ReadError> {
    Ok(Sums {
        requests: row.get(KEY_COLUMNS)?,
        errors: row.get(KEY_COLUMNS + 1)?,
        unpriced: row.get(KEY_COLUMNS + 2)?,
        missing_usage: row.get(KEY_COLUMNS + 3)?,
        cost: row.get(KEY_COLUMNS + 4)?,
        total_tokens: row.get(KEY_COLUMNS + 5)?,
        total_us_sum: row.get(KEY_COLUMNS + 6)?,
        total_us_count: row.get(KEY_COLUMNS + 7)?,
        first_token_us_sum: row.get(KEY_COLUMNS + 8)?,
        first_token_us_count: row.get(KEY_COLUMNS + 9)?,
        request_bytes: row.get(KEY_COLUMNS + 10)?,
        response_bytes: row.get(KEY_COLUMNS + 11)?,
        estimated_cost: row.get(KEY_COLUMNS + 12)?,
        partial: row.get(KEY_COLUMNS + 13)?,
        estimated: row.get(KEY_COLUMNS + 14)?,
        unbilled: row.get(KEY_COLUMNS + 15)?,
        tokens: counts(row, KEY_COLUMNS + 16)?,
        units: counts(row, KEY_COLUMNS + 16 + TokenType::ALL.len())?,
    })
}

/// What one row of `requests` adds; the same as the roll-ups count.
fn of_request(row: &Row<'_>) -> Result<Sums, ReadError> {
    let text = |column: usize| row.get_ref(column)?.as_str().map_err(rusqlite::Error::from);
    let outcome: Outcome = vocabulary("outcome", text(KEY_COLUMNS)?)?;
    let source: UsageSource = vocabulary("usage_source", text(KEY_COLUMNS + 1)?)?;
    let cost: Option<i64> = row.get(KEY_COLUMNS + 2)?;
    let total_us: Option<i64> = row.get(KEY_COLUMNS + 4)?;
    let first_token_us: Option<i64> = row.get(KEY_COLUMNS + 5)?;
    Ok(Sums {
        requests: 1,
        errors: i64::from(outcome.is_error()),
        unbilled: i64::from(is_unbilled(outcome)),
        unpriced: i64::from(is_unpriced(source, cost.is_some())),
        missing_usage: i64::from(source == UsageSource::Missing),
        cost,
        total_tokens: row.get(KEY_COLUMNS + 3)?,
        total_us_sum: total_us.unwrap_or(0),
        total_us_count: i64::from(total_us.is_some()),
        first_token_us_sum: first_token_us.unwrap_or(0),
        first_token_us_count: i64::from(first_token_us.is_some()),
        request_bytes: row.get(KEY_COLUMNS + 6)?,
        response_bytes: row.get::<_, Option<i64>>(KEY_COLUMNS + 7)?.unwrap_or(0),
        estimated_cost: row.get(KEY_COLUMNS + 8)?,
        partial: i64::from(source == UsageSource::Partial),
        estimated: i64::from(source == UsageSource::Estimated),
        tokens: counts(row, KEY_COLUMNS + 9)?,
        units: counts(row, KEY_COLUMNS + 9 + TokenType::ALL.len())?,
    })
}

impl Sums {
    fn merge(&mut self, other: &Self) {
        add(&mut self.requests, other.requests);
        add(&mut self.errors, other.errors);
        add(&mut self.unbilled, other.unbilled);
        add(&mut self.unpriced, other.unpriced);
        add(&mut self.missing_usage, other.missing_usage);
        add(&mut self.partial, other.partial);
        add(&mut self.estimated, other.estimated);
        for (sum, &value) in self.units.iter_mut().zip(&other.units) {
            add_known(sum, value);
        }
        add_known(&mut self.estimated_cost, other.estimated_cost);
        for (sum, &value) in self.tokens.iter_mut().zip(&other.tokens) {
            add_known(sum, value);
        }
        add_known(&mut self.total_tokens, other.total_tokens);
        add_known(&mut self.cost, other.cost);
        add(&mut self.total_us_sum, other.total_us_sum);
        add(&mut self.total_us_count, other.total_us_count);
        add(&mut self.first_token_us_sum, other.first_token_us_sum);
        add(&mut self.first_token_us_count, other.first_token_us_count);
        add(&mut self.request_bytes, other.request_bytes);
        add(&mut self.response_bytes, other.response_bytes);
    }

    fn into_row(self, group: Vec<Option<String>>) -> UsageRow {
        let mut tokens = Tokens::default();
        for (&kind, sum) in TokenType::ALL.iter().zip(self.tokens) {
            tokens[kind] = sum.map(count);
        }
        let mut units = Units::default();
        for (&unit, sum) in Unit::ALL.iter().zip(self.units) {
            units[unit] = sum.map(count);
        }
        let mean = |sum: i64, of: i64| (of > 0).then(|| count(sum) / count(of));
        UsageRow {
            group,
            requests: count(self.requests),
            errors: count(self.errors),
            unbilled_requests: count(self.unbilled),
            tokens,
            total_tokens: self.total_tokens.map(count),
            cost: self.cost.map(NanoUsd),
            unpriced_requests: count(self.unpriced),
            missing_usage_requests: count(self.missing_usage),
            partial_requests: count(self.partial),
            estimated_requests: count(self.estimated),
            units,
            estimated_cost: self.estimated_cost.map(NanoUsd),
            request_bytes: count(self.request_bytes),
            response_bytes: count(self.response_bytes),
            mean_total_us: mean(self.total_us_sum, self.total_us_count),
            mean_first_token_us: mean(self.first_token_us_sum, self.first_token_us_count),
        }
    }
}

/// Sums by group. A group's key is text in which each value is led by its length, so that no two
/// combinations look the same.
#[derive(Debug, Default)]
struct Groups {
    sums: HashMap<String, Sums>,
    total: Sums,
}

impl Groups {
    fn add(&mut self, key: &str, sums: &Sums) {
        self.total.merge(sums);
        // Looked up by the borrowed key: a row of a known group allocates nothing.
        if let Some(group) = self.sums.get_mut(key) {
            group.merge(sums);
        } else {
            self.sums.insert(key.to_owned(), sums.clone());
        }
    }

    fn summary(self, query: &UsageQuery) -> UsageSummary {
        let mut rows: Vec<UsageRow> = self
            .sums
            .into_iter()
            .map(|(key, sums)| sums.into_row(GroupKey::values(&key)))
            .collect();
        if query.by.contains(&GroupBy::Day) {
            rows.sort_by(|a, b| a.group.cmp(&b.group));
        } else {
            rows.sort_by(|a, b| {
                let weight = |row: &UsageRow| Reverse((row.cost, row.total_tokens, row.requests));
                weight(a)
                    .cmp(&weight(b))
                    .then_with(|| a.group.cmp(&b.group))
            });
        }
        UsageSummary {
            rows,
            total: self.total.into_row(Vec::new()),
        }
    }
}

/// Builds the key of a row's group.
struct GroupKey<'q> {
    query: &'q UsageQuery,
    text: String,
    /// The day of the row before, with its first and its last-but-one microsecond: rows come in
    /// order of time, so it is mostly the day of the next one too.
    day: Option<(i64, i64, String)>,
}

impl<'q> GroupKey<'q> {
    fn new(query: &'q UsageQuery) -> Self {
        Self {
            query,
            text: String::new(),
            day: None,
        }
    }

    fn of(&mut self, row: &Row<'_>) -> Result<&str, ReadError> {
        self.text.clear();
        for by in &self.query.by {
            let column = match by {
                GroupBy::Day => {
                    let moment = UnixMicros(row.get(0)?);
                    let known =
                        |(from, to, _): &&(i64, i64, String)| (*from..*to).contains(&moment.0);
                    let day = match self.day.take().filter(|day| known(&day)) {
                        Some(day) => day,
                        None => day_of(moment, &self.query.timezone),
                    };
                    push_value(&mut self.text, Some(&day.2));
                    self.day = Some(day);
                    continue;
                }
                GroupBy::Tag(name) => {
                    let value = tag_value(row.get_ref(5)?, name)?;
                    push_value(&mut self.text, value.as_deref());
                    continue;
                }
                GroupBy::Channel => 1,
                GroupBy::Model => 2,
                GroupBy::Api => 3,
                GroupBy::Key => 4,
            };
            let value = row
                .get_ref(column)?
                .as_str_or_null()
                .map_err(rusqlite::Error::from)?;
            push_value(&mut self.text, value.filter(|value| !value.is_empty()));
        }
        Ok(&self.text)
    }

    fn values(key: &str) -> Vec<Option<String>> {
        let mut values = Vec::new();
        let mut rest = key;
        while let Some((length, text)) = rest.split_once(':') {
            if length == "-" {
                values.push(None);
                rest = text;
            } else if let Some((value, after)) = length
                .parse()
                .ok()
                .and_then(|length| text.split_at_checked(length))
            {
                values.push(Some(value.to_owned()));
                rest = after;
            } else {
                break;
            }
        }
        values
    }
}

/// Adds a value to a key of values, led by its length.
pub(super) fn push_value(key: &mut String, value: Option<&str>) {
    let _infallible = match value {
        None => write!(key, "-:"),
        Some(value) => write!(key, "{}:{value}", value.len()),
    };
}

/// The calendar day of a moment: its first microsecond, the next day's, and its name.
fn day_of(moment: UnixMicros, timezone: &TimeZone) -> (i64, i64, String) {
    let zoned = moment.timestamp().to_zoned(timezone.clone());
    let name = zoned.date().to_string();
    let first = zoned.start_of_day();
    let next = first
        .as_ref()
        .ok()
        .and_then(|first: &Zoned| first.checked_add(1.day()).ok())
        .and_then(|next| next.start_of_day().ok());
    match (first, next) {
        (Ok(first), Some(next)) => (
            UnixMicros::from(first.timestamp()).0,
            UnixMicros::from(next.timestamp()).0,
            name,
        ),
        // At the ends of the calendar: a day of this one moment.
        _ => (moment.0, moment.0.saturating_add(1), name),
    }
}

fn tag_value(tags: ValueRef<'_>, name: &str) -> Result<Option<String>, ReadError> {
    let Some(tags) = tags.as_str_or_null().map_err(rusqlite::Error::from)? else {
        return Ok(None);
    };
    Ok(parse_tags(tags)?.remove(name))
}
