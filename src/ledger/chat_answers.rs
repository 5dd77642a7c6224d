//! What was answered and commanded from chats, in the table `chat_answers`: written by the writer as
//! it reads it in the journal, asked by the start and by operators.

use rusqlite::{Connection, Row};

use super::events::{EventCursor, EventPage, EventTable, Wanted};
use super::query::ReadError;
use crate::alert::ChatAnswer;
use crate::clock::UnixMicros;

pub(super) const TABLE: EventTable = EventTable {
    name: "chat_answers",
    columns: "sequence, at, receiver, who, asked, subject, done, outcome, nonce, expires_at",
    // Each is all there is to know of it.
    owner: &["sequence"],
    over: "1",
};

/// Which answers, how many; the newest first.
#[derive(Clone, Debug)]
pub struct AnswerFilter {
    /// By this receiver.
    pub receiver: Option<String>,
    /// At this moment or later.
    pub since: Option<UnixMicros>,
    /// Before this moment.
    pub until: Option<UnixMicros>,
    /// Where the page before ended.
    pub cursor: Option<AnswerCursor>,
    /// At most so many; 1 to 1,000, other values are brought into that range.
    pub limit: u32,
}

impl Default for AnswerFilter {
    fn default() -> Self {
        Self {
            receiver: None,
            since: None,
            until: None,
            cursor: None,
            limit: 100,
        }
    }
}

/// Where a page of answers ended.
pub type AnswerCursor = EventCursor<'c'>;

/// One page of answers.
pub type AnswerPage = EventPage<ChatAnswer, 'c'>;

/// The number of a signed answer that was used, so that it works no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsedNonce {
    /// The number.
    pub nonce: u64,
    /// From then on the answer would not work anyway.
    pub expires_at: UnixMicros,
}

/// Adds an answer.
pub(super) fn insert(connection: &Connection, answer: &ChatAnswer) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO chat_answers (at, receiver, who, asked, subject, done, outcome, nonce, \
             expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute((
            answer.at.0,
            &*answer.receiver,
            &*answer.who,
            &*answer.asked,
            &*answer.subject,
            answer.done,
            &*answer.outcome,
            answer.nonce.map(u64::cast_signed),
            answer.expires_at.map(|at| at.0),
        ))?;
    Ok(())
}

/// Deletes up to `limit` of the oldest answers before `cutoff`, and says how many. Those whose number
/// is to be remembered at `now` stay.
pub(super) fn expire(
    connection: &Connection,
    cutoff: UnixMicros,
    now: UnixMicros,
    limit: u32,
) -> rusqlite::Result<usize> {
    connection
        .prepare_cached(
            "DELETE FROM chat_answers WHERE sequence IN (\
             SELECT sequence FROM chat_answers WHERE at < ? \
             AND (nonce IS NULL OR coalesce(+expires_at, 0) <= ?) ORDER BY at, sequence LIMIT ?)",
        )?
        .execute((cutoff.0, now.0, limit))
}

/// The numbers that are to be remembered at `now`.
pub(super) fn used(connection: &Connection, now: UnixMicros) -> rusqlite::Result<Vec<UsedNonce>> {
    connection
        .prepare(
            "SELECT nonce, max(expires_at) FROM chat_answers \
             WHERE nonce IS NOT NULL AND expires_at > ? GROUP BY nonce",
        )?
        .query_map([now.0], |row| {
            Ok(UsedNonce {
                nonce: row.get::<_, i64>(0)?.cast_unsigned(),
                expires_at: UnixMicros(row.get(1)?),
            })
        })?
        .collect()
}

/// A page of answers.
pub(super) fn page(
    connection: &Connection,
    filter: &AnswerFilter,
) -> Result<AnswerPage, ReadError> {
    let wanted = Wanted {
        of: filter.receiver.as_deref().map(|name| ("receiver", name)),
        also: &[],
        since: filter.since,
        until: filter.until,
        before: filter.cursor.map(|cursor| cursor.0),
        limit: filter.limit,
    };
    TABLE.page(connection, &wanted, answer)
}

fn answer(row: &Row<'_>) -> Result<ChatAnswer, ReadError> {
    let text = |column: usize| row.get_ref(column)?.as_str().map_err(rusqlite::Error::from);
    Ok(ChatAnswer {
        at: UnixMicros(row.get(1)?),
        receiver: text(2)?.into(),
        who: text(3)?.into(),
        asked: text(4)?.into(),
        subject: text(5)?.into(),
        done: row.get(6)?,
        outcome: text(7)?.into(),
        nonce: row.get::<_, Option<i64>>(8)?.map(i64::cast_unsigned),
        expires_at: row.get::<_, Option<i64>>(9)?.map(UnixMicros),
    })
}
