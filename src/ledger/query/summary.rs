//! Usage summaries: sums of the roll-ups, grouped.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt::Write;

use rusqlite::Connection;

use super::calendar::Days;
use super::reading::{self, Entry, Range, known_hours};
use super::total::{Offers, Total};
use super::usage::{GroupBy, PreviousUsage, UsageQuery, UsageRow, UsageSummary};
use super::{ReadError, UsageError, parse_tags};
use crate::clock::UnixMicros;
use crate::ledger::rollup::HOUR_US;

/// The sums over a range, grouped. Added up here and not in SQL: sums that reach the end of their
/// range stay there (SQL's fail), and days are those of a time zone.
pub(super) fn usage(
    connection: &Connection,
    query: &UsageQuery,
) -> Result<UsageSummary, UsageError> {
    let range = query.spanned();
    let grouped = groups(connection, query, range)?;
    let before = match range.before() {
        Some(before) if query.compare && !query.by.contains(&GroupBy::Day) => {
            Some((before, groups(connection, query, before)?))
        }
        _ => None,
    };
    let mut rows = grouped.rows(query);
    if query.by.contains(&GroupBy::Day) {
        rows.sort_by(|(_, a), (_, b)| a.group.cmp(&b.group));
    } else {
        rows.sort_by(|(_, a), (_, b)| by_cost(a, b));
    }
    let previous = before.map(|(before, groups)| PreviousUsage {
        since: UnixMicros(before.since),
        until: UnixMicros(before.until),
        total: groups.total.row(Vec::new(), &groups.offers, query),
        rows: rows
            .iter()
            .map(|(key, row)| {
                let total = groups.totals.get(*key)?;
                Some(total.row(row.group.clone(), &groups.offers, query))
            })
            .collect(),
    });
    Ok(UsageSummary {
        total: grouped.total.row(Vec::new(), &grouped.offers, query),
        previous,
        rows: rows.into_iter().map(|(_, row)| row).collect(),
    })
}

/// The costliest first, then by tokens, then by requests.
pub(super) fn by_cost(a: &UsageRow, b: &UsageRow) -> std::cmp::Ordering {
    let weight = |row: &UsageRow| Reverse((row.cost, row.total_tokens, row.requests));
    weight(a)
        .cmp(&weight(b))
        .then_with(|| a.group.cmp(&b.group))
}

/// Sums by group. A group's key is text in which each value is led by its length, so that no two
/// combinations look the same.
#[derive(Debug, Default)]
pub(super) struct Groups {
    pub(super) totals: HashMap<String, Total>,
    pub(super) total: Total,
    pub(super) offers: Offers,
}

/// The groups of a range.
pub(super) fn groups(
    connection: &Connection,
    query: &UsageQuery,
    range: Range,
) -> Result<Groups, UsageError> {
    let days = days_of(connection, query, range)?;
    let mut groups = Groups::default();
    let mut key = GroupKey::new(&query.by, &days);
    let wanted = query.wanted();
    reading::read(
        connection,
        range,
        &days.begins,
        &query.filter,
        wanted,
        &mut |entry| {
            let offer = groups.offers.number(entry, query.prices.is_some());
            groups.total.add(entry, offer);
            let key = key.of(entry)?;
            // Looked up by the borrowed key: an entry of a known group allocates nothing.
            if let Some(total) = groups.totals.get_mut(key) {
                total.add(entry, offer);
            } else {
                let mut total = Total::default();
                total.add(entry, offer);
                groups.totals.insert(key.to_owned(), total);
            }
            Ok(())
        },
    )?;
    Ok(groups)
}

/// The days that a query asks for; none where it does not.
fn days_of(connection: &Connection, query: &UsageQuery, range: Range) -> Result<Days, UsageError> {
    if !query.by.contains(&GroupBy::Day) {
        return Ok(Days::default());
    }
    let Some(known) = known_hours(connection)? else {
        return Ok(Days::default());
    };
    let days = Days::of(range.within(known), &query.timezone);
    let wanted = query.wanted();
    let on_the_hour = |begin: &i64| begin.rem_euclid(HOUR_US) == 0;
    if wanted.tier && !wanted.tags && !days.begins.iter().all(on_the_hour) {
        return Err(UsageError::TierWithinHour);
    }
    Ok(days)
}

impl Groups {
    /// The groups in no order, each with its key.
    pub(super) fn rows(&self, query: &UsageQuery) -> Vec<(&str, UsageRow)> {
        let rows = self.totals.iter().map(|(key, total)| {
            let row = total.row(GroupKey::values(key), &self.offers, query);
            (key.as_str(), row)
        });
        rows.collect()
    }
}

/// Builds the key of an entry's group.
pub(super) struct GroupKey<'q> {
    by: &'q [GroupBy],
    days: &'q Days,
    text: String,
}

impl<'q> GroupKey<'q> {
    pub(super) const fn new(by: &'q [GroupBy], days: &'q Days) -> Self {
        Self {
            by,
            days,
            text: String::new(),
        }
    }

    pub(super) fn of(&mut self, entry: &Entry<'_>) -> Result<&str, ReadError> {
        self.text.clear();
        for by in self.by {
            let value = match by {
                GroupBy::Day => {
                    let date = self.days.dates.get(self.days.at(entry.time));
                    let date = date.map(ToString::to_string);
                    push_value(&mut self.text, date.as_deref());
                    continue;
                }
                GroupBy::Tag(name) => {
                    let tags = entry.tags.map(parse_tags).transpose()?;
                    let value = tags.and_then(|mut tags| tags.remove(name));
                    push_value(&mut self.text, value.as_deref());
                    continue;
                }
                GroupBy::Channel => entry.channel,
                GroupBy::Model => entry.model,
                GroupBy::Api => entry.api,
                GroupBy::Key => entry.key,
                GroupBy::Tier => entry.tier,
            };
            push_value(
                &mut self.text,
                Some(value).filter(|value| !value.is_empty()),
            );
        }
        Ok(&self.text)
    }

    pub(super) fn values(key: &str) -> Vec<Option<String>> {
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
