//! What the tables of events have in common: something changed its state, the last event of it says
//! what it is, and the others are its history.
//!
//! The order is that of recording, which is the journal's, and a clock that was set back does not
//! follow it. So each event's own time decides what is in a range, and the index of times says only
//! where in the order a range begins and ends.

use std::fmt;
use std::str::FromStr;

use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};

use super::query::{CursorError, ReadError};
use crate::clock::UnixMicros;

/// Most events in a page.
const MOST: u32 = 1_000;

/// A table with the columns `sequence` and `at`, and what else is known of it.
#[derive(Debug)]
pub(super) struct EventTable {
    pub(super) name: &'static str,
    /// The columns that are read, the first of them `sequence`.
    pub(super) columns: &'static str,
    /// The columns that say whose event it is.
    pub(super) owner: &'static [&'static str],
    /// What is true of an event after which there is nothing to know of its owner.
    pub(super) over: &'static str,
}

/// Which events, the newest first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'f> {
    /// Those with this value in this column.
    pub(super) of: Option<(&'static str, &'f str)>,
    /// Of which these conditions hold, each with the value that it asks for, where it asks for one.
    /// Those that have an index of their own have to hide it (`+column = ?`).
    pub(super) also: &'f [(&'static str, Option<&'f str>)],
    pub(super) since: Option<UnixMicros>,
    pub(super) until: Option<UnixMicros>,
    /// Recorded before this one.
    pub(super) before: Option<i64>,
    /// 1 to 1,000, other values are brought into that range.
    pub(super) limit: u32,
}

/// Where a page of a table's events ended: opaque text for callers, stable while events are added or
/// expire. The letter tells one table's from another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventCursor<const LETTER: char>(pub(super) i64);

impl<const LETTER: char> fmt::Display for EventCursor<LETTER> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{LETTER}{}", self.0)
    }
}

impl<const LETTER: char> FromStr for EventCursor<LETTER> {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        text.strip_prefix(LETTER)
            .and_then(|sequence| sequence.parse().ok())
            .map(Self)
            .ok_or_else(|| CursorError(text.to_owned()))
    }
}

/// One page of a table's events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventPage<T, const LETTER: char> {
    /// The events, the newest first.
    pub events: Vec<T>,
    /// Where the next page starts; `None` when this was the last.
    pub next: Option<EventCursor<LETTER>>,
}

type Read<T> = fn(&Row<'_>) -> Result<T, ReadError>;

impl EventTable {
    /// Deletes up to `limit` of the oldest events before `cutoff`, and says how many. What an owner
    /// has last stays where it is not over; an end goes only after all that it ended, so that
    /// nothing comes back to life.
    pub(super) fn expire(
        &self,
        connection: &Connection,
        cutoff: UnixMicros,
        limit: u32,
    ) -> rusqlite::Result<usize> {
        let Self { name, over, .. } = self;
        let same: Vec<_> = self
            .owner
            .iter()
            .map(|column| format!("other.{column} = old.{column}"))
            .collect();
        let same = same.join(" AND ");
        connection
            .prepare_cached(&format!(
                "DELETE FROM {name} WHERE sequence IN (\
                 SELECT sequence FROM {name} AS old WHERE at < ? AND (\
                 EXISTS (SELECT 1 FROM {name} AS other WHERE {same} \
                 AND other.sequence > old.sequence) \
                 OR ({over} AND NOT EXISTS (SELECT 1 FROM {name} AS other WHERE {same} \
                 AND other.sequence < old.sequence))) \
                 ORDER BY at, sequence LIMIT ?)"
            ))?
            .execute((cutoff.0, limit))
    }

    /// The last event of each owner, in the order of recording.
    pub(super) fn last<T>(
        &self,
        connection: &Connection,
        read: Read<T>,
    ) -> Result<Vec<T>, ReadError> {
        let Self { name, columns, .. } = self;
        let owner = self.owner.join(", ");
        let sql = format!(
            "SELECT {columns} FROM {name} WHERE sequence IN \
             (SELECT max(sequence) FROM {name} GROUP BY {owner}) ORDER BY sequence"
        );
        let events = select(connection, &sql, Vec::new(), read)?;
        Ok(events.into_iter().map(|(_, event)| event).collect())
    }

    /// The last event of each owner, of those at `since` or later, in the order of recording.
    pub(super) fn last_since<T>(
        &self,
        connection: &Connection,
        since: UnixMicros,
        read: Read<T>,
    ) -> Result<Vec<T>, ReadError> {
        let events = select(
            connection,
            &self.last_since_question(),
            vec![since.0.into()],
            read,
        )?;
        Ok(events.into_iter().map(|(_, event)| event).collect())
    }

    /// The `+` has SQLite's planner go along the times, and not along all owners there ever were.
    fn last_since_question(&self) -> String {
        let Self { name, columns, .. } = self;
        let owner = self.owner.join(", +");
        format!(
            "SELECT {columns} FROM {name} WHERE sequence IN \
             (SELECT max(sequence) FROM {name} WHERE at >= ? GROUP BY +{owner}) ORDER BY sequence"
        )
    }

    /// A page of events.
    pub(super) fn page<T, const LETTER: char>(
        &self,
        connection: &Connection,
        wanted: &Wanted<'_>,
        read: Read<T>,
    ) -> Result<EventPage<T, LETTER>, ReadError> {
        let limit = wanted.limit.clamp(1, MOST);
        let (sql, values) = self.question(wanted, limit);
        let mut events = select(connection, &sql, values, read)?;
        let more = events.len() > limit as usize;
        events.truncate(limit as usize);
        let next = events
            .last()
            .filter(|_| more)
            .map(|(sequence, _)| EventCursor(*sequence));
        Ok(EventPage {
            events: events.into_iter().map(|(_, event)| event).collect(),
            next,
        })
    }

    /// What asks for a page, and the values in it. A `+` hides a column from SQLite's planner, which
    /// otherwise sorts all of a range, or walks along the whole order for its beginning.
    fn question(&self, wanted: &Wanted<'_>, limit: u32) -> (String, Vec<Value>) {
        let Self { name, columns, .. } = self;
        let mut conditions = vec!["1".to_owned()];
        let mut values: Vec<Value> = Vec::new();
        if let Some((column, value)) = wanted.of {
            conditions.push(format!("{column} = ?"));
            values.push(value.to_owned().into());
        }
        for &(condition, value) in wanted.also {
            conditions.push(condition.to_owned());
            values.extend(value.map(|value| value.to_owned().into()));
        }
        if let Some(since) = wanted.since {
            conditions.push(format!(
                "sequence >= (SELECT min(+sequence) FROM {name} WHERE at >= ?) AND +at >= ?"
            ));
            values.extend([since.0.into(), since.0.into()]);
        }
        if let Some(until) = wanted.until {
            conditions.push(format!(
                "sequence <= (SELECT max(+sequence) FROM {name} WHERE at < ?) AND +at < ?"
            ));
            values.extend([until.0.into(), until.0.into()]);
        }
        if let Some(before) = wanted.before {
            conditions.push("sequence < ?".to_owned());
            values.push(before.into());
        }
        // One more than asked for tells whether there is another page.
        let sql = format!(
            "SELECT {columns} FROM {name} WHERE {} ORDER BY sequence DESC LIMIT {}",
            conditions.join(" AND "),
            limit + 1
        );
        (sql, values)
    }
}

fn select<T>(
    connection: &Connection,
    sql: &str,
    values: Vec<Value>,
    read: Read<T>,
) -> Result<Vec<(i64, T)>, ReadError> {
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut events = Vec::new();
    while let Some(row) = rows.next()? {
        events.push((row.get(0)?, read(row)?));
    }
    Ok(events)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{alert_events, chat_answers, gate_events, migrations, notifications};

    /// How SQLite goes about it, a line for each step.
    fn plan(connection: &Connection, table: &EventTable, wanted: &Wanted<'_>) -> Vec<String> {
        let (sql, values) = table.question(wanted, 100);
        let sql = format!("EXPLAIN QUERY PLAN {sql}");
        let mut statement = connection.prepare(&sql).unwrap();
        let steps = statement
            .query_map(params_from_iter(values), |row| row.get(3))
            .unwrap();
        steps.map(Result::unwrap).collect()
    }

    #[test]
    fn the_last_since_then_reads_nothing_from_before() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrations::migrate(&mut connection).unwrap();
        let sql = notifications::TABLE.last_since_question();
        let mut statement = connection
            .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
            .unwrap();
        let steps = statement.query_map([0], |row| row.get::<_, String>(3));
        let steps: Vec<_> = steps.unwrap().map(Result::unwrap).collect();
        assert!(!steps.concat().contains("SCAN"), "{steps:#?}");
        assert!(
            steps.concat().contains("INDEX notifications_at (at>?)"),
            "{steps:#?}"
        );
    }

    #[test]
    fn a_page_reads_what_it_shows_and_sorts_nothing() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrations::migrate(&mut connection).unwrap();
        for (table, column) in [
            (&gate_events::TABLE, "channel"),
            (&alert_events::TABLE, "rule"),
            (&notifications::TABLE, "receiver"),
            (&chat_answers::TABLE, "receiver"),
        ] {
            let name = table.name;
            for bits in 0..0b1_0000 {
                let [of, since, until, before] =
                    [0b1, 0b10, 0b100, 0b1000].map(|bit: u32| bits & bit != 0);
                let wanted = Wanted {
                    of: of.then_some((column, "a")),
                    also: &[("+at > ?", Some("0"))],
                    since: since.then_some(UnixMicros(10)),
                    until: until.then_some(UnixMicros(20)),
                    before: before.then_some(30),
                    limit: 100,
                };
                let plan = plan(&connection, table, &wanted);
                let steps = plan.iter().filter(|step| step.contains(name));
                let (times, pages): (Vec<_>, Vec<_>) =
                    steps.partition(|step| step.contains(&format!("{name}_at")));
                let by = match (of, since || until || before) {
                    (true, _) => {
                        format!("SEARCH {name} USING INDEX {name}_{column} ({column}=?")
                    }
                    (false, true) => format!("SEARCH {name} USING INTEGER PRIMARY KEY (rowid"),
                    // The newest of all: it ends with the page.
                    (false, false) => format!("SCAN {name}"),
                };
                assert!(pages.len() == 1 && pages[0].starts_with(&by), "{plan:#?}");
                assert_eq!(times.len(), usize::from(since) + usize::from(until));
                let search = format!("SEARCH {name} USING COVERING INDEX {name}_at (at");
                let mut times = times.iter();
                assert!(times.all(|step| step.starts_with(&search)), "{plan:#?}");
                assert!(!plan.concat().contains("TEMP B-TREE"), "{plan:#?}");
            }
        }
    }
}
