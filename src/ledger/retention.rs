//! Forgetting rows that are older than the ledger's retention, and giving their space back.
//!
//! Both in small steps between batches, so that no batch waits long. Roll-ups of usage are kept: they
//! are what statistics read, and they are small. Those of windows are kept for as long as a window can
//! ask for them ([`windows::KEPT`]), however long rows are.

use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};

use super::alert_events;
use super::chat_answers;
use super::deferred;
use super::gate_events;
use super::hours;
use super::notifications;
use super::windows;
use crate::clock::UnixMicros;

/// Rows deleted in a step.
pub(super) const ROWS_A_STEP: u32 = 500;
/// Notifications deleted in a step: one may have a mebibyte.
const NOTIFICATIONS_A_STEP: u32 = 50;
/// As far back as a start asks what was told last in a conversation.
const TOLD_WITHIN: Duration = Duration::from_secs(31 * 24 * 3600);
/// Pages given back in a step: 1 MiB.
const PAGES_A_STEP: usize = 256;
/// Free pages are left for new rows while they are at most one in so many: in the steady state,
/// where as much expires as comes in, moving pages about would be work for nothing.
const FREE_ONE_IN: i64 = 20;

/// Deletes up to [`ROWS_A_STEP`] of the oldest requests that started longer ago than `retention`
/// (`None` keeps them), with their attempts and repricings, as many ids of deferred usage, as many
/// events of gates and of alerts, as many answers and a few notifications; and what no window needs any
/// more. Whether there may be more.
pub(super) fn expire(
    connection: &mut Connection,
    retention: Option<Duration>,
    now: UnixMicros,
) -> rusqlite::Result<bool> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut most = windows::expire(&transaction, now, ROWS_A_STEP)?;
    let mut more = false;
    if let Some(retention) = retention {
        let cutoff = now.minus(retention);
        most = most.max(expire_requests(&transaction, cutoff)?);
        more |= hours::expire(&transaction, cutoff)? > 0;
        for expire in [deferred::expire, gate_events::expire, alert_events::expire] {
            most = most.max(expire(&transaction, cutoff, ROWS_A_STEP)?);
        }
        most = most.max(chat_answers::expire(
            &transaction,
            cutoff,
            now,
            ROWS_A_STEP,
        )?);
        let told_since = now.minus(retention.max(TOLD_WITHIN));
        let told = notifications::expire(&transaction, cutoff, told_since, NOTIFICATIONS_A_STEP)?;
        more |= told >= NOTIFICATIONS_A_STEP as usize;
    }
    transaction.commit()?;
    Ok(more || most >= ROWS_A_STEP as usize)
}

/// The requests of a step, and how many they were.
fn expire_requests(connection: &Connection, cutoff: UnixMicros) -> rusqlite::Result<usize> {
    let limits = (cutoff.0, ROWS_A_STEP);
    for table in ["attempts", "repricings"] {
        connection
            .prepare_cached(&format!(
                "DELETE FROM {table} WHERE request_id IN (SELECT id FROM requests \
                 WHERE started_at < ? ORDER BY started_at, sequence LIMIT ?)"
            ))?
            .execute(limits)?;
    }
    connection
        .prepare_cached(
            "DELETE FROM requests WHERE sequence IN (SELECT sequence FROM requests \
             WHERE started_at < ? ORDER BY started_at, sequence LIMIT ?)",
        )?
        .execute(limits)
}

/// Gives some free pages back to the file system; `false` when few enough are left.
pub(super) fn give_back(connection: &Connection) -> rusqlite::Result<bool> {
    let pragma = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let free = pragma("PRAGMA freelist_count")?;
    if free <= pragma("PRAGMA page_count")? / FREE_ONE_IN {
        return Ok(false);
    }
    let mut statement =
        connection.prepare(&format!("PRAGMA incremental_vacuum({PAGES_A_STEP})"))?;
    // Every step frees one page.
    let mut pages = statement.query([])?;
    while pages.next()?.is_some() {}
    Ok(true)
}
