//! Usage summaries: sums of the roll-ups, grouped.

use std::cmp::Reverse;
use std::collections::HashMap;

use foldhash::fast::RandomState;
use rusqlite::Connection;

use super::calendar::Days;
use super::reading::{self, Amounts, Entry, Range, is_known_from_its_start, known_hours};
use super::total::{Offers, Total};
use super::usage::{GroupBy, PreviousSums, PreviousUsage, UsageQuery, UsageRow, UsageSummary};
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
            let groups = if is_known_from_its_start(connection, before)? {
                Some(groups(connection, query, before)?)
            } else {
                None
            };
            Some((before, groups))
        }
        _ => None,
    };
    let mut rows = grouped.rows();
    if query.by.contains(&GroupBy::Day) {
        rows.sort_by(|(_, a), (_, b)| a.group.cmp(&b.group));
    } else {
        rows.sort_by(|(_, a), (_, b)| by_cost(a, b));
    }
    let previous = before.map(|(before, groups)| PreviousUsage {
        since: UnixMicros(before.since),
        until: UnixMicros(before.until),
        sums: groups.map(|groups| PreviousSums {
            total: groups.total().row(Vec::new(), &groups.offers),
            rows: rows
                .iter()
                .map(|(key, row)| match groups.totals.get(*key) {
                    Some(total) => total.row(row.group.clone(), &groups.offers),
                    None => UsageRow {
                        group: row.group.clone(),
                        ..UsageRow::default()
                    },
                })
                .collect(),
        }),
    });
    Ok(UsageSummary {
        total: grouped.total().row(Vec::new(), &grouped.offers),
        previous,
        rows: rows.into_iter().map(|(_, row)| row).collect(),
    })
}

/// The costliest first, then by tokens, then by requests.
fn by_cost(a: &UsageRow, b: &UsageRow) -> std::cmp::Ordering {
    let weight = |row: &UsageRow| Reverse((row.cost, row.total_tokens, row.requests));
    weight(a)
        .cmp(&weight(b))
        .then_with(|| a.group.cmp(&b.group))
}

/// Sums by group. A group's key is text in which each value is led by its length, so that no two
/// combinations look the same.
#[derive(Debug)]
pub(super) struct Groups {
    pub(super) totals: HashMap<String, Total, RandomState>,
    pub(super) offers: Offers,
}

/// The groups of a range.
pub(super) fn groups(
    connection: &Connection,
    query: &UsageQuery,
    range: Range,
) -> Result<Groups, UsageError> {
    let mut offers = Offers::of(query);
    let totals = grouped(
        connection,
        query,
        range,
        |total: &mut Total, entry: &Entry<'_>| total.add(entry, offers.number(entry)),
    )?;
    Ok(Groups { totals, offers })
}

/// Whatever `add` makes of the entries of each group of a range, by the group's key.
pub(super) fn grouped<A: Amounts, T: Default>(
    connection: &Connection,
    query: &UsageQuery,
    range: Range,
    mut add: impl FnMut(&mut T, &Entry<'_, A>),
) -> Result<HashMap<String, T, RandomState>, UsageError> {
    let days = days_of(connection, query, range)?;
    let mut groups: HashMap<String, T, RandomState> = HashMap::default();
    let mut key = GroupKey::new(&query.by, &days);
    reading::read(
        connection,
        range,
        &days.begins,
        &query.filter,
        query.wanted(),
        |entry| {
            let key = key.of(entry)?;
            // Looked up by the borrowed key: an entry of a known group allocates nothing.
            if let Some(group) = groups.get_mut(key) {
                add(group, entry);
            } else {
                add(groups.entry(key.to_owned()).or_default(), entry);
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
    /// All of them together.
    pub(super) fn total(&self) -> Total {
        let mut all = Total::default();
        for total in self.totals.values() {
            all.merge(total);
        }
        all
    }

    /// The groups in no order, each with its key.
    fn rows(&self) -> Vec<(&str, UsageRow)> {
        let rows = self.totals.iter().map(|(key, total)| {
            let row = total.row(GroupKey::values(key), &self.offers);
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

    pub(super) fn of<A>(&mut self, entry: &Entry<'_, A>) -> Result<&str, ReadError> {
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
    match value {
        None => key.push('-'),
        Some(value) => push_number(key, value.len()),
    }
    key.push(':');
    key.push_str(value.unwrap_or_default());
}

/// As `write!` does it, which takes several times as long: this is done for each row that is read.
fn push_number(text: &mut String, number: usize) {
    if number >= 10 {
        push_number(text, number / 10);
    }
    text.extend(
        u32::try_from(number % 10)
            .ok()
            .and_then(|digit| char::from_digit(digit, 10)),
    );
}
