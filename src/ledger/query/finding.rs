//! Which rows make a page of a listing: their sequence numbers, in its order.
//!
//! There are millions of rows, and a page has some hundred at most. So each filter goes the way that
//! looks at the fewest: a conversation by its index, failures by theirs, all else through the minutes
//! that `requests_hourly` names. Whatever the way, the same conditions decide on each row.

use std::fmt::Write;
use std::ops::{ControlFlow, Range};

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::ReadError;
use super::conditions::Conditions;
use super::requests::{Order, RequestFilter};
use crate::clock::UnixMicros;
use crate::ledger::hours::{HOUR_US, MINUTE_US, hour_of};
use crate::ledger::rows::stored;
use crate::record::{Outcome, UsageSource};

/// The condition of the index of failures: SQLite sees that the index serves a question that has it.
pub(super) const FAILED: &str = "(outcome <> 'ok' OR status <> 200)";

/// What a listing is ordered by, and the sequence number that breaks ties.
type Place = (i64, i64);

/// Before every place.
const BEGINNING: Place = (i64::MIN, i64::MIN);

/// The sequence numbers of the first `most` rows that match `filter`, in its order, behind its cursor.
pub(super) fn find(
    connection: &Connection,
    filter: &RequestFilter,
    most: usize,
) -> Result<Vec<i64>, ReadError> {
    if filter.unpriced_only && filter.order == Order::Dearest {
        // What has no price has no cost.
        return Ok(Vec::new());
    }
    let mut search = Search::new(connection, filter, most);
    if filter.session.exact_names().is_some() {
        search.by_conversation()?;
    } else if is_failed_only(filter) {
        search.by_index("requests_failed", FAILED)?;
    } else if filter.order == Order::Newest && !chooses_hours(filter) {
        search.by_index("requests_started_at", "true")?;
    } else {
        search.by_hours()?;
    }
    Ok(search
        .found
        .into_iter()
        .map(|(_, sequence)| sequence)
        .collect())
}

/// Whether every row that matches is in the index of failures.
fn is_failed_only(filter: &RequestFilter) -> bool {
    let outcome = &filter.outcome;
    filter.failed_only
        || !(outcome.is_everything() || outcome.matches(Some(Outcome::Ok.as_str())))
        || filter.status.is_some_and(|status| status != 200)
}

/// Whether `requests_hourly` tells anything about what matches.
fn chooses_hours(filter: &RequestFilter) -> bool {
    let names = [
        &filter.channel,
        &filter.model,
        &filter.api,
        &filter.key,
        &filter.usage_source,
    ];
    names.iter().any(|names| !names.is_everything())
        || filter.unpriced_only
        || filter.min_total_us.is_some()
}

/// An hour that may have rows that match.
#[derive(Clone, Copy, Debug)]
struct Hour {
    /// Its first moment.
    start: i64,
    /// In which of its minutes, a bit each.
    minutes: i64,
    /// What none of its rows exceeds in the order of the listing; 0 where that is the newest first.
    greatest: i64,
}

impl Hour {
    /// The moments of its minutes, runs of them together, the last first.
    fn runs(self) -> impl Iterator<Item = Range<i64>> {
        let is_set = move |minute: i64| self.minutes & (1 << minute) != 0;
        let moment = move |minute: i64| self.start + minute * MINUTE_US;
        let mut end = HOUR_US / MINUTE_US;
        std::iter::from_fn(move || {
            while end > 0 && !is_set(end - 1) {
                end -= 1;
            }
            let last = end;
            while end > 0 && is_set(end - 1) {
                end -= 1;
            }
            (end < last).then(|| moment(end)..moment(last))
        })
    }
}

/// A search for the rows of a page.
struct Search<'c, 'f> {
    connection: &'c Connection,
    filter: &'f RequestFilter,
    most: usize,
    /// Where rows may have started.
    range: Range<i64>,
    /// The first so far, in order; at most `most`.
    found: Vec<Place>,
}

impl<'c, 'f> Search<'c, 'f> {
    fn new(connection: &'c Connection, filter: &'f RequestFilter, most: usize) -> Self {
        let since = filter.since.map_or(i64::MIN, |since| since.0);
        let mut until = filter.until.map_or(i64::MAX, |until| until.0);
        if filter.order == Order::Newest
            && let Some(cursor) = filter.cursor
            && cursor.order == Order::Newest
        {
            until = until.min(cursor.value.saturating_add(1));
        }
        Self {
            connection,
            filter,
            most,
            range: since..until,
            found: Vec::new(),
        }
    }

    /// The question for rows between the moments ?1 and ?2 that come before all found ones or after
    /// them; in a ranking, ?3 and ?4 are the place that they have at least, and
    /// ?5 is what they have at most.
    fn question(&self, index: &str, condition: &str) -> Conditions {
        let mut conditions = Conditions::default();
        conditions.add("started_at >= ?1 AND started_at < ?2", []);
        let column = self.filter.order.column();
        if self.filter.order.is_ranking() {
            // The index tells both: of many that are equal, or that others have, the rows of few are
            // looked at.
            let bounds = format!("({column}, sequence) >= (?3, ?4) AND {column} <= ?5");
            conditions.add(&bounds, []);
        }
        conditions.add(condition, []);
        conditions.add_features(self.filter);
        // A cursor of another order starts from the beginning rather than at a place without meaning.
        let cursor = self.filter.cursor;
        if let Some(cursor) = cursor.filter(|cursor| cursor.order == self.filter.order) {
            conditions.add(
                &format!("({column}, sequence) < (?, ?)"),
                [cursor.value.into(), cursor.sequence.into()],
            );
        }
        conditions.sql = format!(
            "SELECT {column}, sequence FROM requests INDEXED BY {index}{} \
             ORDER BY {column} DESC, sequence DESC LIMIT {}",
            conditions.sql, self.most
        );
        conditions
    }

    /// Takes in the answer to a question about a part of the range, where nothing that matches exceeds
    /// `greatest`.
    fn ask(
        &mut self,
        question: &Conditions,
        part: Range<i64>,
        greatest: i64,
        more: Option<i64>,
    ) -> Result<(), ReadError> {
        let part = part.start.max(self.range.start)..part.end.min(self.range.end);
        if part.is_empty() {
            return Ok(());
        }
        let mut values: Vec<Value> = vec![part.start.into(), part.end.into()];
        if self.filter.order.is_ranking() {
            let (value, sequence) = self.least();
            values.extend([value.into(), sequence.into(), greatest.into()]);
        }
        values.extend(more.map(Value::from));
        values.extend(question.values.iter().cloned());
        let mut statement = self.connection.prepare_cached(&question.sql)?;
        let mut rows = statement.query(params_from_iter(values))?;
        while let Some(row) = rows.next()? {
            self.found.push((row.get(0)?, row.get(1)?));
        }
        self.found.sort_unstable_by(|left, right| right.cmp(left));
        self.found.truncate(self.most);
        Ok(())
    }

    /// The place that a row has at least to come among the first.
    fn least(&self) -> Place {
        let last = self.found.last().filter(|_| self.is_full());
        last.copied().unwrap_or(BEGINNING)
    }

    fn is_full(&self) -> bool {
        self.found.len() >= self.most
    }

    fn by_index(&mut self, index: &str, condition: &str) -> Result<(), ReadError> {
        let question = self.question(index, condition);
        self.ask(&question, self.range.clone(), i64::MAX, None)
    }

    fn by_conversation(&mut self) -> Result<(), ReadError> {
        let first = self.edge("min")?;
        let last = self.edge("max")?;
        let (Some(first), Some(last)) = (first, last) else {
            return Ok(());
        };
        let hour_place = if self.filter.order.is_ranking() { 6 } else { 3 };
        // As the index has it, which rounds towards 0.
        let condition = format!("session IS NOT NULL AND started_at / {HOUR_US} = ?{hour_place}");
        let question = self.question("requests_session", &condition);
        let first = first.max(self.range.start) / HOUR_US;
        let last = last.min(self.range.end) / HOUR_US;
        for hour in (first..=last).rev() {
            if self.filter.order == Order::Newest && self.is_full() {
                break;
            }
            self.ask(&question, self.range.clone(), i64::MAX, Some(hour))?;
        }
        Ok(())
    }

    /// When the first or the last row started.
    fn edge(&self, which: &str) -> Result<Option<i64>, ReadError> {
        let sql = format!("SELECT {which}(started_at) FROM requests");
        let mut statement = self.connection.prepare_cached(&sql)?;
        Ok(statement.query_row([], |row| row.get(0))?)
    }

    fn by_hours(&mut self) -> Result<(), ReadError> {
        let question = self.question("requests_started_at", "true");
        if !self.filter.order.is_ranking() {
            return self.hours(|search, hour| search.look_into(&question, hour));
        }
        let mut hours = Vec::new();
        self.hours(|_, hour| {
            hours.push(hour);
            Ok(ControlFlow::Continue(()))
        })?;
        // Of equal ones the last first: sequence numbers grow with time.
        hours.sort_unstable_by_key(|hour| std::cmp::Reverse((hour.greatest, hour.start)));
        for hour in hours {
            // All others have nothing greater either.
            if hour.greatest < self.least().0 {
                break;
            }
            let _all_the_same = self.look_into(&question, hour)?;
        }
        Ok(())
    }

    /// Finds the rows of an hour; breaks off once there is nothing more to find in those before it.
    fn look_into(
        &mut self,
        question: &Conditions,
        hour: Hour,
    ) -> Result<ControlFlow<()>, ReadError> {
        for run in hour.runs() {
            if self.filter.order == Order::Newest && self.is_full() {
                return Ok(ControlFlow::Break(()));
            }
            self.ask(question, run, hour.greatest, None)?;
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Shows `visit` each hour that may have rows that match, the last first, until it breaks off.
    fn hours(
        &mut self,
        mut visit: impl FnMut(&mut Self, Hour) -> Result<ControlFlow<()>, ReadError>,
    ) -> Result<(), ReadError> {
        let filter = self.filter;
        let mut conditions = Conditions::default();
        let first = hour_of(UnixMicros(self.range.start));
        conditions.add(
            "hour >= ? AND hour < ?",
            [first.into(), self.range.end.into()],
        );
        for (column, names) in [
            ("channel", &filter.channel),
            ("model", &filter.model),
            ("api", &filter.api),
            ("key", &filter.key),
        ] {
            conditions.add_names(column, names);
        }
        if let Some(total_us) = filter.min_total_us {
            conditions.add("longest_us >= ?", [stored(total_us).into()]);
        }
        let greatest = filter.order.greatest();
        if let Some(greatest) = greatest {
            conditions.add(&format!("{greatest} IS NOT NULL"), []);
        }
        let sql = format!(
            "SELECT hour, {}, {} FROM requests_hourly{} ORDER BY hour DESC",
            minutes_of(filter),
            greatest.unwrap_or("0"),
            conditions.sql
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params_from_iter(conditions.values))?;
        // Rows of an hour, one for each group, become one hour.
        let mut pending: Option<Hour> = None;
        while let Some(row) = rows.next()? {
            let group = Hour {
                start: row.get(0)?,
                minutes: row.get(1)?,
                greatest: row.get(2)?,
            };
            if group.minutes == 0 {
                continue;
            }
            match &mut pending {
                Some(hour) if hour.start == group.start => {
                    hour.minutes |= group.minutes;
                    hour.greatest = hour.greatest.max(group.greatest);
                }
                other => {
                    if let Some(hour) = other.replace(group)
                        && visit(self, hour)?.is_break()
                    {
                        return Ok(());
                    }
                }
            }
        }
        if let Some(hour) = pending {
            let _last = visit(self, hour)?;
        }
        Ok(())
    }
}

/// The SQL of the minutes of a group in which it may have rows that match.
fn minutes_of(filter: &RequestFilter) -> String {
    let mut minutes = String::new();
    for source in UsageSource::ALL {
        if filter.usage_source.matches(Some(source.as_str())) {
            let separator = if minutes.is_empty() { "(" } else { " | " };
            let _infallible = write!(minutes, "{separator}{source}_minutes");
        }
    }
    if minutes.is_empty() {
        return "0".to_owned();
    }
    minutes.push(')');
    if filter.unpriced_only {
        minutes.push_str(" & unpriced_minutes");
    }
    minutes
}
