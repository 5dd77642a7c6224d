//! What happened to the channels' gates, in the table `channel_events`: written by the writer as it
//! reads it in the journal, asked by the start and by operators.

use rusqlite::{Connection, Row};

use super::events::{EventCursor, EventPage, EventTable, Wanted};
use super::query::{ReadError, vocabulary};
use crate::clock::UnixMicros;
use crate::record::{ChannelEvent, Owner};

pub(super) const TABLE: EventTable = EventTable {
    name: "channel_events",
    columns: "sequence, at, channel, owner, hold, state, reason, until, who, note",
    owner: &["channel", "owner"],
    over: "hold = 'open'",
};

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

/// Where a page of gates' events ended.
pub type GateCursor = EventCursor<'g'>;

/// One page of gates' events.
pub type GateEventPage = EventPage<ChannelEvent, 'g'>;

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
/// owner have last stays where it is a hold.
pub(super) fn expire(
    connection: &Connection,
    cutoff: UnixMicros,
    limit: u32,
) -> rusqlite::Result<usize> {
    TABLE.expire(connection, cutoff, limit)
}

/// The last event of each owner of each channel.
pub(super) fn last(connection: &Connection) -> Result<Vec<ChannelEvent>, ReadError> {
    TABLE.last(connection, event)
}

/// A page of events.
pub(super) fn page(
    connection: &Connection,
    filter: &GateEventFilter,
) -> Result<GateEventPage, ReadError> {
    let wanted = Wanted {
        of: filter.channel.as_deref().map(|name| ("channel", name)),
        also: &[],
        since: filter.since,
        until: filter.until,
        before: filter.cursor.map(|cursor| cursor.0),
        limit: filter.limit,
    };
    TABLE.page(connection, &wanted, event)
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
