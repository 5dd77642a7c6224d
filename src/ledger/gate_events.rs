//! What happened to the channels' gates, in the table `channel_events`: written by the writer as it
//! reads it in the journal, asked by the start and by operators.

use std::fmt;
use std::str::FromStr;

use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};

use super::query::{CursorError, ReadError, vocabulary};
use crate::clock::UnixMicros;
use crate::record::{ChannelEvent, Owner};

/// Most events in a page.
const MOST: u32 = 1_000;

const COLUMNS: &str = "sequence, at, channel, owner, hold, state, reason, until, who, note";

/// Which events, how many; the newest first.
#[derive(Clone, Debug)]
pub struct GateEventFilter {
    /// Of this channel.
    pub channel: Option<String>,
    /// At this moment or later.
    pub since: Option<UnixMicros>,
    /// Before this moment.
    pub until: Option<UnixMicros>,
    /// Where the page before ended.
    pub cursor: Option<GateCursor>,
    /// At most so many; 1 to 1,000, other values are brought into that range.
    pub limit: u32,
}

impl Default for GateEventFilter {
    fn default() -> Self {
        Self {
            channel: None,
            since: None,
            until: None,
            cursor: None,
            limit: 100,
        }
    }
}

/// Where a page ended: opaque text for callers, stable while events are added or expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateCursor(i64);

impl fmt::Display for GateCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "g{}", self.0)
    }
}

impl FromStr for GateCursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        text.strip_prefix('g')
            .and_then(|sequence| sequence.parse().ok())
            .map(Self)
            .ok_or_else(|| CursorError(text.to_owned()))
    }
}

/// One page of events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GateEventPage {
    /// The events, the newest first.
    pub events: Vec<ChannelEvent>,
    /// Where the next page starts; `None` when this was the last.
    pub next: Option<GateCursor>,
}

/// Adds an event.
pub(super) fn insert(connection: &Connection, event: &ChannelEvent) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO channel_events (at, channel, owner, hold, state, reason, until, who, note) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute((
            event.at.0,
            &*event.channel,
            event.owner.to_string(),
            event.hold.as_str(),
            event.state.as_str(),
            event.reason.as_str(),
            event.until.map(|until| until.0),
            event.who.as_deref(),
            event.note.as_deref(),
        ))?;
    Ok(())
}

/// Deletes up to `limit` of the oldest events before `cutoff`, and says how many. What a channel and
/// owner have last stays where it is a hold; an end of a hold goes only after all that it ended, so
/// that nothing comes back to life.
pub(super) fn expire(
    connection: &Connection,
    cutoff: UnixMicros,
    limit: u32,
) -> rusqlite::Result<usize> {
    connection
        .prepare_cached(
            "DELETE FROM channel_events WHERE sequence IN (\
             SELECT sequence FROM channel_events AS old WHERE at < ? AND (\
             EXISTS (SELECT 1 FROM channel_events AS other WHERE other.channel = old.channel \
             AND other.owner = old.owner AND other.sequence > old.sequence) \
             OR (old.hold = 'open' AND NOT EXISTS (SELECT 1 FROM channel_events AS other \
             WHERE other.channel = old.channel AND other.owner = old.owner \
             AND other.sequence < old.sequence))) \
             ORDER BY at, sequence LIMIT ?)",
        )?
        .execute((cutoff.0, limit))
}

/// The last event of each owner of each channel.
pub(super) fn last(connection: &Connection) -> Result<Vec<ChannelEvent>, ReadError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM channel_events WHERE sequence IN \
         (SELECT max(sequence) FROM channel_events GROUP BY channel, owner) ORDER BY sequence"
    );
    let events = select(connection, &sql, Vec::new())?;
    Ok(events.into_iter().map(|(_, event)| event).collect())
}

/// What asks for a page, and the values in it.
///
/// The order is that of recording, which a clock that was set back does not follow. So each event's
/// own time decides, and the index of times says only where in the order a range begins and ends. A
/// `+` hides a column from SQLite's planner, which otherwise sorts all of a range, or walks along the
/// whole order for its beginning.
fn question(filter: &GateEventFilter, limit: u32) -> (String, Vec<Value>) {
    let mut conditions = vec!["1"];
    let mut values = Vec::new();
    let since = filter.since.map(|since| since.0.into());
    let until = filter.until.map(|until| until.0.into());
    for (condition, value) in [
        (
            "channel = ?",
            filter.channel.as_ref().map(|name| name.clone().into()),
        ),
        (
            "sequence >= (SELECT min(+sequence) FROM channel_events WHERE at >= ?)",
            since.clone(),
        ),
        ("+at >= ?", since),
        (
            "sequence <= (SELECT max(+sequence) FROM channel_events WHERE at < ?)",
            until.clone(),
        ),
        ("+at < ?", until),
        ("sequence < ?", filter.cursor.map(|cursor| cursor.0.into())),
    ] {
        conditions.extend(value.is_some().then_some(condition));
        values.extend(value);
    }
    // One more than asked for tells whether there is another page.
    let sql = format!(
        "SELECT {COLUMNS} FROM channel_events WHERE {} ORDER BY sequence DESC LIMIT {}",
        conditions.join(" AND "),
        limit + 1
    );
    (sql, values)
}

/// A page of events.
pub(super) fn page(
    connection: &Connection,
    filter: &GateEventFilter,
) -> Result<GateEventPage, ReadError> {
    let limit = filter.limit.clamp(1, MOST);
    let (sql, values) = question(filter, limit);
    let mut events = select(connection, &sql, values)?;
    let more = events.len() > limit as usize;
    events.truncate(limit as usize);
    let next = events.last().filter(|_| more);
    let next = next.map(|(sequence, _)| GateCursor(*sequence));
    let events = events.into_iter().map(|(_, event)| event).collect();
    Ok(GateEventPage { events, next })
}

fn select(
    connection: &Connection,
    sql: &str,
    values: Vec<Value>,
) -> Result<Vec<(i64, ChannelEvent)>, ReadError> {
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut events = Vec::new();
    while let Some(row) = rows.next()? {
        events.push((row.get(0)?, event(row)?));
    }
    Ok(events)
}

fn event(row: &Row<'_>) -> Result<ChannelEvent, ReadError> {
    let text = |column: usize| row.get_ref(column)?.as_str().map_err(rusqlite::Error::from);
    let owner: Result<Owner, _> = text(3)?.parse();
    Ok(ChannelEvent {
        at: UnixMicros(row.get(1)?),
        channel: text(2)?.into(),
        owner: match owner {
            Ok(owner) => owner,
            Err(never) => match never {},
        },
        hold: vocabulary("hold", text(4)?)?,
        state: vocabulary("state", text(5)?)?,
        reason: vocabulary("reason", text(6)?)?,
        until: row.get::<_, Option<i64>>(7)?.map(UnixMicros),
        who: row.get::<_, Option<String>>(8)?.map(Into::into),
        note: row.get::<_, Option<String>>(9)?.map(Into::into),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::migrations;

    /// How SQLite goes about it, a line for each step.
    fn plan(filter: &GateEventFilter) -> Vec<String> {
        let mut connection = Connection::open_in_memory().unwrap();
        migrations::migrate(&mut connection).unwrap();
        let (sql, values) = question(filter, 100);
        let sql = format!("EXPLAIN QUERY PLAN {sql}");
        let mut statement = connection.prepare(&sql).unwrap();
        let steps = statement
            .query_map(params_from_iter(values), |row| row.get(3))
            .unwrap();
        steps.map(Result::unwrap).collect()
    }

    #[test]
    fn a_page_reads_what_it_shows_and_sorts_nothing() {
        for bits in 0..0b1_0000 {
            let [channel, since, until, cursor] =
                [0b1, 0b10, 0b100, 0b1000].map(|bit: u32| bits & bit != 0);
            let filter = GateEventFilter {
                channel: channel.then(|| "a".to_owned()),
                since: since.then_some(UnixMicros(10)),
                until: until.then_some(UnixMicros(20)),
                cursor: cursor.then_some(GateCursor(30)),
                limit: 100,
            };
            let plan = plan(&filter);
            let steps = plan.iter().filter(|step| step.contains("channel_events"));
            let (times, pages): (Vec<_>, Vec<_>) =
                steps.partition(|step| step.contains("channel_events_at"));
            let by = match (channel, since || until || cursor) {
                (true, _) => "SEARCH channel_events USING INDEX channel_events_channel (channel=?",
                (false, true) => "SEARCH channel_events USING INTEGER PRIMARY KEY (rowid",
                // The newest of all: it ends with the page.
                (false, false) => "SCAN channel_events",
            };
            assert!(pages.len() == 1 && pages[0].starts_with(by), "{plan:#?}");
            assert_eq!(times.len(), usize::from(since) + usize::from(until));
            let search = "SEARCH channel_events USING COVERING INDEX channel_events_at (at";
            let mut times = times.iter();
            assert!(times.all(|step| step.starts_with(search)), "{plan:#?}");
            assert!(!plan.concat().contains("TEMP B-TREE"), "{plan:#?}");
        }
    }
}
