//! What was told to whom, in the table `notifications`: written by the writer as it reads it in the
//! journal, asked by the start and by operators.
//!
//! The order is that of recording, as with events ([`super::events`]).

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use uuid::Uuid;

use super::events::{EventCursor, EventPage, EventTable, Wanted};
use super::query::{ReadError, vocabulary};
use crate::alert::{Notification, NotificationFate, NotificationKind, NotificationResult};
use crate::clock::UnixMicros;
use crate::record::closed_set;

/// The columns of a whole row.
const COLUMNS: &str = "sequence, id, at, receiver, kind, reason, group_key, title, deadline, \
                       settled_at, result, attempts, reference, settled_by, error, content, told";

/// What a list shows: nothing of what is large.
pub(super) const TABLE: EventTable = EventTable {
    name: "notifications",
    columns: "sequence, id, at, receiver, kind, reason, group_key, title, deadline, settled_at, \
              result, attempts, reference, settled_by, error, '', ''",
    owner: &["receiver", "group_key"],
    // The last of a conversation is not over: a restart asks what it told.
    over: "0",
};

/// What a start wants to know of a conversation.
const LAST: EventTable = EventTable {
    columns: "sequence, id, at, receiver, kind, reason, group_key, title, deadline, settled_at, \
              result, attempts, reference, settled_by, error, '', told",
    ..TABLE
};

closed_set! {
    /// How far a notification is.
    NotificationState ("state of a notification") {
        /// It is still to be sent.
        Open => "open",
        /// The receiver took it.
        Sent => "sent",
        /// The receiver took another one, with what this one says in it.
        Merged => "merged",
        /// A newer one of the same group took its place before it was sent.
        Replaced => "replaced",
        /// It was given up.
        Dead => "dead",
    }
}

impl NotificationState {
    /// The state of one with this result, if it has one.
    #[must_use]
    pub const fn of(result: Option<NotificationResult>) -> Self {
        match result {
            None => Self::Open,
            Some(NotificationResult::Sent) => Self::Sent,
            Some(NotificationResult::Merged) => Self::Merged,
            Some(NotificationResult::Replaced) => Self::Replaced,
            Some(NotificationResult::Dead) => Self::Dead,
        }
    }
}

/// A notification and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredNotification {
    /// What was to be told. Lists leave `content` and `told` empty, as each of them says.
    pub notification: Notification,
    /// What became of it; `None` while it is still to be sent.
    pub fate: Option<NotificationFate>,
}

impl StoredNotification {
    /// How far it is.
    #[must_use]
    pub fn state(&self) -> NotificationState {
        NotificationState::of(self.fate.as_ref().map(|fate| fate.result))
    }
}

/// Which notifications, how many; the newest first.
#[derive(Clone, Debug)]
pub struct NotificationFilter {
    /// To this receiver.
    pub receiver: Option<String>,
    /// About this.
    pub kind: Option<NotificationKind>,
    /// This far.
    pub state: Option<NotificationState>,
    /// Made at this moment or later.
    pub since: Option<UnixMicros>,
    /// Made before this moment.
    pub until: Option<UnixMicros>,
    /// Where the page before ended.
    pub cursor: Option<NotificationCursor>,
    /// At most so many; 1 to 1,000, other values are brought into that range.
    pub limit: u32,
}

impl Default for NotificationFilter {
    fn default() -> Self {
        Self {
            receiver: None,
            kind: None,
            state: None,
            since: None,
            until: None,
            cursor: None,
            limit: 100,
        }
    }
}

/// Where a page of notifications ended.
pub type NotificationCursor = EventCursor<'n'>;

/// One page of notifications.
pub type NotificationPage = EventPage<StoredNotification, 'n'>;

/// Adds a notification that is to be sent; one that is there stays as it is.
pub(super) fn insert(connection: &Connection, notification: &Notification) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO notifications (id, at, receiver, kind, reason, group_key, title, deadline, \
             content, told) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
        )?
        .execute((
            notification.id.to_string(),
            notification.at.0,
            &*notification.receiver,
            notification.kind.as_str(),
            notification.reason.as_str(),
            &*notification.group,
            &*notification.title,
            notification.deadline.0,
            &*notification.content,
            &*notification.told,
        ))?;
    Ok(())
}

/// Says what became of a notification, unless that is known. One that is not there has expired, or
/// its entry was damaged: nothing is left to say it of.
pub(super) fn settle(connection: &Connection, fate: &NotificationFate) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE notifications SET settled_at = ?, result = ?, attempts = ?, reference = ?, \
             settled_by = ?, error = ? WHERE id = ? AND result IS NULL",
        )?
        .execute((
            fate.at.0,
            fate.result.as_str(),
            fate.attempts,
            fate.reference.as_deref(),
            fate.by.map(|by| by.to_string()),
            fate.error.as_deref(),
            fate.id.to_string(),
        ))?;
    Ok(())
}

/// Deletes up to `limit` of the oldest notifications before `cutoff`, and says how many. Those that
/// are still to be sent stay, and those since `told_since` that are the last of their conversation,
/// without their content.
pub(super) fn expire(
    connection: &Connection,
    cutoff: UnixMicros,
    told_since: UnixMicros,
    limit: u32,
) -> rusqlite::Result<usize> {
    let deleted = connection
        .prepare_cached(
            "DELETE FROM notifications WHERE sequence IN (\
             SELECT sequence FROM notifications AS old WHERE at < ?1 AND result IS NOT NULL \
             AND (at < ?2 OR EXISTS (SELECT 1 FROM notifications AS newer \
             WHERE newer.receiver = old.receiver AND newer.group_key = old.group_key \
             AND newer.sequence > old.sequence)) ORDER BY at, sequence LIMIT ?3)",
        )?
        .execute((cutoff.0, told_since.0, limit))?;
    // Nothing is made of it any more.
    let emptied = connection
        .prepare_cached(
            "UPDATE notifications SET content = '' WHERE sequence IN (\
             SELECT sequence FROM notifications WHERE at < ? AND result IS NOT NULL \
             AND octet_length(content) > 0 ORDER BY at, sequence LIMIT ?)",
        )?
        .execute((cutoff.0, limit))?;
    Ok(deleted.max(emptied))
}

/// What is still to be sent, in the order of recording.
pub(super) fn open(connection: &Connection) -> Result<Vec<Notification>, ReadError> {
    let mut statement = connection.prepare(&format!(
        "SELECT {COLUMNS} FROM notifications WHERE result IS NULL ORDER BY sequence"
    ))?;
    let mut rows = statement.query([])?;
    let mut open = Vec::new();
    while let Some(row) = rows.next()? {
        open.push(stored(row)?.notification);
    }
    Ok(open)
}

/// The last of each conversation since then, in the order of recording, without content.
pub(super) fn last(
    connection: &Connection,
    since: UnixMicros,
) -> Result<Vec<StoredNotification>, ReadError> {
    LAST.last_since(connection, since, stored)
}

/// One with everything.
pub(super) fn find(
    connection: &Connection,
    id: Uuid,
) -> Result<Option<StoredNotification>, ReadError> {
    connection
        .query_row(
            &format!("SELECT {COLUMNS} FROM notifications WHERE id = ?"),
            params![id.to_string()],
            |row| Ok(stored(row)),
        )
        .optional()?
        .transpose()
}

/// A page of notifications.
pub(super) fn page(
    connection: &Connection,
    filter: &NotificationFilter,
) -> Result<NotificationPage, ReadError> {
    let mut also = Vec::new();
    if let Some(kind) = filter.kind {
        also.push(("kind = ?", Some(kind.as_str())));
    }
    match filter.state {
        None => {}
        Some(NotificationState::Open) => also.push(("result IS NULL", None)),
        Some(state) => also.push(("result = ?", Some(state.as_str()))),
    }
    let wanted = Wanted {
        of: filter.receiver.as_deref().map(|name| ("receiver", name)),
        also: &also,
        since: filter.since,
        until: filter.until,
        before: filter.cursor.map(|cursor| cursor.0),
        limit: filter.limit,
    };
    TABLE.page(connection, &wanted, stored)
}

fn stored(row: &Row<'_>) -> Result<StoredNotification, ReadError> {
    let text = |column: usize| row.get_ref(column)?.as_str().map_err(rusqlite::Error::from);
    let id = uuid("id", text(1)?)?;
    let result: Option<String> = row.get(10)?;
    let settled_by: Option<String> = row.get(13)?;
    let fate = match result {
        None => None,
        Some(result) => Some(NotificationFate {
            id,
            at: UnixMicros(row.get(9)?),
            result: vocabulary("result", &result)?,
            attempts: row.get(11)?,
            reference: row.get::<_, Option<String>>(12)?.map(Into::into),
            by: settled_by.map(|by| uuid("settled_by", &by)).transpose()?,
            error: row.get::<_, Option<String>>(14)?.map(Into::into),
        }),
    };
    Ok(StoredNotification {
        notification: Notification {
            id,
            at: UnixMicros(row.get(2)?),
            receiver: text(3)?.into(),
            kind: vocabulary("kind", text(4)?)?,
            reason: vocabulary("reason", text(5)?)?,
            group: text(6)?.into(),
            title: text(7)?.into(),
            deadline: UnixMicros(row.get(8)?),
            content: text(15)?.into(),
            told: text(16)?.into(),
        },
        fate,
    })
}

fn uuid(column: &'static str, text: &str) -> Result<Uuid, ReadError> {
    Uuid::try_parse(text).map_err(|_| ReadError::Unreadable {
        column,
        value: text.to_owned(),
    })
}
