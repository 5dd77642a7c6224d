//! What questions about usage are answered from: of a range of time the whole hours of
//! `usage_hourly`, and the minutes at its edges of `usage_minutely`. So a long range costs hours, not
//! minutes and never requests. What neither holds (tags) is read from the rows.

use std::fmt::Write as _;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::functions::FunctionFlags;
use rusqlite::types::{Null, Value};
use rusqlite::{Connection, Row, params_from_iter};

use super::usage::UsageFilter;
use super::{ReadError, vocabulary};
use crate::clock::UnixMicros;
use crate::ledger::rollup::HOUR_US;
use crate::ledger::sums::{self, Added, Sums};
use crate::record::{TokenType, Unit};

/// From one moment up to another, in microseconds, on whole minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) since: i64,
    pub(super) until: i64,
}

/// The hour of UTC that a moment lies in.
pub(super) const fn hour_of(moment: i64) -> i64 {
    moment.saturating_sub(moment.rem_euclid(HOUR_US))
}

/// The first hour of UTC from a moment on.
pub(super) const fn hour_from(moment: i64) -> i64 {
    match moment.rem_euclid(HOUR_US) {
        0 => moment,
        past => moment.saturating_add(HOUR_US - past),
    }
}

/// What is wanted of each sum besides channel, model and API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Tags: rows are read.
    pub(super) tags: bool,
    /// The service tier: hours are read, and the range is of whole ones.
    pub(super) tier: bool,
    /// The client key.
    pub(super) key: bool,
}

/// What is read of the sums: all of them, or those that a question needs.
pub(super) trait Amounts: Default + Send + 'static {
    /// Their columns, with a comma between two.
    fn columns() -> String;

    /// Reads them; `next` gives the value of each column in turn.
    fn read(next: impl FnMut() -> rusqlite::Result<Option<i64>>) -> rusqlite::Result<Self>;

    /// What one request adds.
    fn of_request(sums: Sums) -> Self;
}

impl Amounts for Sums {
    fn columns() -> String {
        sums::read_columns()
    }

    fn read(next: impl FnMut() -> rusqlite::Result<Option<i64>>) -> rusqlite::Result<Self> {
        Self::read(next)
    }

    fn of_request(sums: Sums) -> Self {
        sums
    }
}

/// The SQL function that takes the sums of a row.
const TAKE: &str = "take_sums";

/// Makes [`TAKE`], which puts its arguments into what this returns. Of dozens of numbers in each of many
/// rows, handing them over one by one as columns takes about as long as everything else together; to a
/// function they are handed at once.
fn taking<A: Amounts>(connection: &Connection) -> rusqlite::Result<Arc<Mutex<A>>> {
    let taken = Arc::new(Mutex::new(A::default()));
    let slot = Arc::clone(&taken);
    connection.create_scalar_function(
        TAKE,
        -1,
        FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DIRECTONLY,
        move |context| {
            let mut arguments = 0..context.len();
            let amounts = A::read(|| match arguments.next() {
                Some(index) => Ok(context.get_raw(index).as_i64_or_null()?),
                None => Ok(None),
            })?;
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = amounts;
            Ok(Null)
        },
    )?;
    Ok(taken)
}

/// Sums that are in the range: those of a roll-up or of one request.
pub(super) struct Entry<'r, A = Sums> {
    /// When the hour or minute began, or the request.
    pub(super) time: i64,
    /// `""` for none, here and below.
    pub(super) channel: &'r str,
    pub(super) model: &'r str,
    pub(super) api: &'r str,
    /// Where it is wanted.
    pub(super) key: &'r str,
    /// Where it is wanted.
    pub(super) tier: &'r str,
    /// As stored, where they are wanted.
    pub(super) tags: Option<&'r str>,
    pub(super) sums: A,
}

/// Shows `visit` all sums of a range that `filter` lets through, in the order of time. An hour in which
/// one of the moments `cuts` lies (ascending) is read by the minute, so that each sum is on one side.
pub(super) fn read<A: Amounts>(
    connection: &Connection,
    range: Range,
    cuts: &[i64],
    filter: &UsageFilter,
    wanted: Wanted,
    mut visit: impl FnMut(&Entry<'_, A>) -> Result<(), ReadError>,
) -> Result<(), ReadError> {
    if wanted.tags {
        return read_rows(connection, range, filter, &mut visit);
    }
    let (conditions, values) = conditions(filter, "model");
    let taken = taking::<A>(connection)?;
    for part in parts(range, cuts, wanted.tier) {
        let (table, time, tier) = if part.hours {
            ("usage_hourly", "hour", "tier")
        } else {
            ("usage_minutely", "minute", "''")
        };
        let mut statement = connection.prepare_cached(&format!(
            "SELECT {time}, channel, model, api, key, {tier}, {TAKE}({}) FROM {table} \
             WHERE {time} >= ? AND {time} < ?{conditions}",
            A::columns(),
        ))?;
        let mut rows = statement.query(bounded(part.range, &values))?;
        while let Some(row) = rows.next()? {
            visit(&Entry {
                time: row.get(0)?,
                channel: text(row, 1)?,
                model: text(row, 2)?,
                api: text(row, 3)?,
                key: if wanted.key { text(row, 4)? } else { "" },
                tier: if wanted.tier { text(row, 5)? } else { "" },
                tags: None,
                sums: mem::take(&mut *taken.lock().unwrap_or_else(PoisonError::into_inner)),
            })?;
        }
    }
    Ok(())
}

/// As [`read`], of the requests themselves.
fn read_rows<A: Amounts>(
    connection: &Connection,
    range: Range,
    filter: &UsageFilter,
    visit: &mut impl FnMut(&Entry<'_, A>) -> Result<(), ReadError>,
) -> Result<(), ReadError> {
    let (conditions, values) = conditions(filter, "coalesce(served_model, requested_model)");
    let mut statement = connection.prepare_cached(&format!(
        "SELECT started_at, channel, coalesce(served_model, requested_model), api, key, \
         service_tier, tags, outcome, usage_source, cost_nanousd, total_tokens, total_us, \
         first_token_us, request_bytes, response_bytes, estimated_cost_nanousd{} \
         FROM requests WHERE started_at >= ? AND started_at < ?{conditions} ORDER BY started_at",
        sums::token_and_unit_columns()
    ))?;
    let mut rows = statement.query(bounded(range, &values))?;
    while let Some(row) = rows.next()? {
        let tags = row.get_ref(6)?.as_str_or_null();
        visit(&Entry {
            time: row.get(0)?,
            channel: text(row, 1)?,
            model: text(row, 2)?,
            api: text(row, 3)?,
            key: text(row, 4)?,
            tier: text(row, 5)?,
            tags: tags.map_err(rusqlite::Error::from)?,
            sums: A::of_request(of_request(row, 7)?),
        })?;
    }
    Ok(())
}

/// What one row of `requests` adds; the same as the roll-ups count.
fn of_request(row: &Row<'_>, first: usize) -> Result<Sums, ReadError> {
    let mut tokens = [None; TokenType::ALL.len()];
    let mut units = [None; Unit::ALL.len()];
    for (slot, column) in tokens.iter_mut().chain(&mut units).zip(first + 9..) {
        *slot = row.get(column)?;
    }
    let mut sums = Sums::default();
    sums.count(&Added {
        outcome: vocabulary("outcome", text(row, first)?)?,
        source: vocabulary("usage_source", text(row, first + 1)?)?,
        cost: row.get(first + 2)?,
        total_tokens: row.get(first + 3)?,
        total_us: row.get(first + 4)?,
        first_token_us: row.get(first + 5)?,
        request_bytes: row.get(first + 6)?,
        response_bytes: row.get::<_, Option<i64>>(first + 7)?.unwrap_or(0),
        estimated_cost: row.get(first + 8)?,
        tokens: &tokens,
        units: &units,
    });
    Ok(sums)
}

/// A text; `""` of NULL.
fn text<'r>(row: &'r Row<'_>, column: usize) -> Result<&'r str, ReadError> {
    let value = row.get_ref(column)?.as_str_or_null();
    Ok(value.map_err(rusqlite::Error::from)?.unwrap_or_default())
}

fn bounded(range: Range, values: &[Value]) -> impl rusqlite::Params {
    let bounds = [range.since, range.until].map(Value::Integer);
    params_from_iter(bounds.into_iter().chain(values.iter().cloned()))
}

/// What `filter` wants, with an AND before each condition, and the values it speaks of.
pub(super) fn conditions(filter: &UsageFilter, model: &str) -> (String, Vec<Value>) {
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

/// A part of a range that one table has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    hours: bool,
    range: Range,
}

/// Which table has which part of a range, in the order of time. `only_hours` where it is of whole ones
/// and minutes do not know what is wanted.
fn parts(range: Range, cuts: &[i64], only_hours: bool) -> Vec<Part> {
    let part = |hours, since, until| Part {
        hours,
        range: Range { since, until },
    };
    if only_hours {
        return vec![part(true, range.since, range.until)];
    }
    let (first, last) = (hour_from(range.since), hour_of(range.until));
    if first >= last {
        return vec![part(false, range.since, range.until)];
    }
    let mut parts = vec![part(false, range.since, first)];
    let mut at = first;
    for cut in cuts.iter().filter(|cut| cut.rem_euclid(HOUR_US) != 0) {
        let hour = hour_of(*cut);
        if hour < at || hour >= last {
            continue;
        }
        parts.push(part(true, at, hour));
        at = hour + HOUR_US;
        parts.push(part(false, hour, at));
    }
    parts.push(part(true, at, last));
    parts.push(part(false, last, range.until));
    parts.retain(|part| part.range.since < part.range.until);
    // Minutes follow minutes: one question for both.
    parts.dedup_by(|next, before| {
        let joins = !next.hours && !before.hours && before.range.until == next.range.since;
        if joins {
            before.range.until = next.range.until;
        }
        joins
    });
    parts
}

/// The hours of which anything is known: from the first up to the end of the last; `None` of an empty
/// ledger.
pub(super) fn known_hours(connection: &Connection) -> rusqlite::Result<Option<Range>> {
    let bound = |which: &str| {
        connection.query_row(
            &format!("SELECT {which}(hour) FROM usage_hourly"),
            [],
            |row| row.get::<_, Option<i64>>(0),
        )
    };
    Ok(bound("min")?.zip(bound("max")?).map(|(first, last)| Range {
        since: first,
        until: last.saturating_add(HOUR_US),
    }))
}

/// Whether the ledger reaches back to where the range begins: what was before its first request may have been
/// anything.
pub(super) fn is_known_from_its_start(
    connection: &Connection,
    range: Range,
) -> rusqlite::Result<bool> {
    let first = connection.query_row("SELECT min(minute) FROM usage_minutely", [], |row| {
        row.get::<_, Option<i64>>(0)
    })?;
    Ok(first.is_some_and(|first| first <= range.since))
}

impl Range {
    /// From `since` up to `until`: the minutes (or hours) that they lie in count whole. `None` leaves
    /// that end open.
    pub(super) fn around(
        since: Option<UnixMicros>,
        until: Option<UnixMicros>,
        whole_hours: bool,
    ) -> Self {
        let since = since.map_or(i64::MIN, |since| since.minute().0);
        let until = until.map_or(i64::MAX, |until| {
            UnixMicros(until.0.saturating_add(59_999_999)).minute().0
        });
        if whole_hours {
            Self {
                since: hour_of(since),
                until: hour_from(until),
            }
        } else {
            Self { since, until }
        }
    }

    /// Its ends, where they are not open.
    pub(super) fn ends(self) -> (Option<UnixMicros>, Option<UnixMicros>) {
        let end = |at: i64, open: i64| (at != open).then_some(UnixMicros(at));
        (end(self.since, i64::MIN), end(self.until, i64::MAX))
    }

    /// The range of the same length before; `None` where an end is open.
    pub(super) fn before(self) -> Option<Self> {
        let (Some(since), Some(until)) = self.ends() else {
            return None;
        };
        let length = until.0.checked_sub(since.0).filter(|&length| length > 0)?;
        Some(Self {
            since: since.0.checked_sub(length)?,
            until: since.0,
        })
    }

    /// What it has in common with another.
    pub(super) fn within(self, other: Self) -> Self {
        Self {
            since: self.since.max(other.since),
            until: self.until.min(other.until),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000_000;

    fn in_minutes(since: i64, until: i64, cuts: &[i64]) -> Vec<(bool, i64, i64)> {
        let cuts: Vec<i64> = cuts.iter().map(|cut| cut * MINUTE).collect();
        let range = Range {
            since: since * MINUTE,
            until: until * MINUTE,
        };
        parts(range, &cuts, false)
            .into_iter()
            .map(|part| {
                (
                    part.hours,
                    part.range.since / MINUTE,
                    part.range.until / MINUTE,
                )
            })
            .collect()
    }

    #[test]
    fn hours_are_read_whole_and_edges_by_the_minute() {
        for (since, until, cuts, parts) in [
            (0, 120, &[][..], &[(true, 0, 120)][..]),
            (1, 59, &[], &[(false, 1, 59)]),
            (
                30,
                150,
                &[],
                &[(false, 30, 60), (true, 60, 120), (false, 120, 150)],
            ),
            (30, 90, &[], &[(false, 30, 90)]),
            (0, 300, &[120], &[(true, 0, 300)]),
            (
                0,
                300,
                &[150],
                &[(true, 0, 120), (false, 120, 180), (true, 180, 300)],
            ),
            (0, 180, &[30, 90, 150], &[(false, 0, 180)]),
            (0, 60, &[], &[(true, 0, 60)]),
            (5, 5, &[], &[(false, 5, 5)]),
        ] {
            assert_eq!(
                in_minutes(since, until, cuts),
                parts,
                "{since}..{until} {cuts:?}"
            );
        }
    }

    #[test]
    fn open_ends_are_no_moments() {
        let open = Range::around(None, None, true);
        assert_eq!(open.before(), None);
        assert!(parts(open, &[], false).iter().any(|part| part.hours));
        let since = Range::around(Some(UnixMicros(90 * MINUTE + 1)), None, false);
        assert_eq!(since.ends(), (Some(UnixMicros(90 * MINUTE)), None));
        let range = Range::around(
            Some(UnixMicros(90 * MINUTE)),
            Some(UnixMicros(100 * MINUTE)),
            true,
        );
        assert_eq!((range.since / MINUTE, range.until / MINUTE), (60, 120));
        let before = range.before().unwrap();
        assert_eq!((before.since / MINUTE, before.until / MINUTE), (0, 60));
    }
}
