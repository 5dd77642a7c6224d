//! The schema, as the list of steps that led to it, each a file in `migrations/`.
//!
//! The list is append-only: a step that was released is never edited, so it spells its columns out
//! instead of taking them from the vocabularies. `user_version` counts the steps a database has
//! seen. All missing ones run in one exclusive transaction: a crash leaves the old schema whole.
//!
//! Steps sort all rows that there are. They do so in files beside the database, so that memory stays
//! as it is however large the ledger.

use std::path::Path;
use std::time::Instant;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::{rollup, windows};

/// How many steps there are: the schema version this program reads and writes.
#[allow(clippy::cast_possible_wrap, reason = "a handful of steps")]
pub(super) const VERSION: i64 = MIGRATIONS.len() as i64;

const MIGRATIONS: &[&str] = &[
    include_str!("migrations/v1.sql"),
    include_str!("migrations/v2.sql"),
    include_str!("migrations/v3.sql"),
    include_str!("migrations/v4.sql"),
    include_str!("migrations/v5.sql"),
    include_str!("migrations/v6.sql"),
    include_str!("migrations/v7.sql"),
    include_str!("migrations/v8.sql"),
    include_str!("migrations/v9.sql"),
    include_str!("migrations/v10.sql"),
];

/// The version that brought `window_minutely`.
const WITH_WINDOWS: usize = 7;

/// The version that brought `usage_hourly`.
const WITH_HOURS: usize = 9;

/// Why a database is not at [`VERSION`].
#[derive(Debug, thiserror::Error)]
pub(super) enum MigrationError {
    /// It is beyond it.
    #[error("schema version {0} is newer than {VERSION}")]
    Newer(i64),
    /// SQLite refused.
    #[error(transparent)]
    Database(#[from] rusqlite::Error),
}

/// The schema version of a database.
pub(super) fn version_of(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Fails on a database beyond [`VERSION`].
pub(super) fn refuse_newer(connection: &Connection) -> Result<(), MigrationError> {
    match version_of(connection)? {
        found if found > VERSION => Err(MigrationError::Newer(found)),
        _ => Ok(()),
    }
}

/// Brings a database to [`VERSION`]. The connection knows the functions of
/// [`windows`](super::windows), and keeps what it sorts later in memory.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), MigrationError> {
    if version_of(connection)? == VERSION {
        return Ok(());
    }
    sort_in_files(connection)?;
    let migrated = take_steps(connection);
    sort_in_memory(connection)?;
    migrated
}

/// Has SQLite sort in files in the database's own folder: there has to be room for what they become.
/// The system's folder for such files may be small or in memory, and a container may have none.
fn sort_in_files(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "temp_store", "FILE")?;
    let path = connection.path().map(Path::new);
    match path.and_then(Path::parent).and_then(Path::to_str) {
        Some(folder) => connection.pragma_update(None, "temp_store_directory", folder),
        // A database in memory has none.
        None => Ok(()),
    }
}

/// Has it sort in memory, as is best for the little that a writer sorts.
fn sort_in_memory(connection: &Connection) -> rusqlite::Result<()> {
    // It is one for all connections of the process: theirs is the system's again.
    connection.pragma_update(None, "temp_store_directory", "")?;
    connection.pragma_update(None, "temp_store", "MEMORY")
}

fn take_steps(connection: &mut Connection) -> Result<(), MigrationError> {
    let began = Instant::now();
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    let found = version_of(&transaction)?;
    let seen = usize::try_from(found).unwrap_or(usize::MAX);
    let Some(missing) = MIGRATIONS.get(seen..) else {
        return Err(MigrationError::Newer(found));
    };
    if seen > 0 {
        tracing::info!(
            from = found,
            to = VERSION,
            requests = requests_of(&transaction)?,
            "bringing the ledger to the schema of this version, once; with millions of requests it \
             takes minutes, and stopping it takes it back"
        );
    }
    for step in missing {
        transaction.execute_batch(step)?;
    }
    if seen < WITH_WINDOWS {
        // After all steps: what writes them knows the newest schema only.
        windows::backfill(&transaction)?;
    }
    if seen < WITH_HOURS {
        rollup::backfill_hours(&transaction)?;
    }
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()?;
    if seen > 0 {
        let took_s = began.elapsed().as_secs();
        tracing::info!(took_s, "the ledger has the schema of this version");
    }
    Ok(())
}

/// How many requests there are, by the numbers of the first and the last: counting would read them.
fn requests_of(transaction: &Transaction<'_>) -> rusqlite::Result<i64> {
    transaction.query_row(
        "SELECT coalesce((SELECT max(sequence) FROM requests) \
         - (SELECT min(sequence) FROM requests) + 1, 0)",
        [],
        |row| row.get(0),
    )
}

/// The statement by which the tenth step sums up the requests that there are.
#[cfg(test)]
pub(super) fn hours_of_requests() -> &'static str {
    let mut statements = include_str!("migrations/v10.sql").split_inclusive(';');
    statements
        .find(|statement| {
            statement
                .trim_start()
                .starts_with("INSERT INTO requests_hourly")
        })
        .unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schema_there_was_becomes_the_newest_with_its_rows() {
        for seen in 1..MIGRATIONS.len() {
            let mut connection = Connection::open_in_memory().unwrap();
            windows::register(&connection).unwrap();
            for step in &MIGRATIONS[..seen] {
                connection.execute_batch(step).unwrap();
            }
            connection
                .pragma_update(None, "user_version", i64::try_from(seen).unwrap())
                .unwrap();
            connection
                .execute(
                    "INSERT INTO requests (sequence, id, started_at, api, method, path, outcome, \
                     usage_source, request_bytes, source) \
                     VALUES (1, 'a', 0, 'chat', 'POST', '/', 'ok', 'none', 0, 'proxy')",
                    [],
                )
                .unwrap();
            insert_minutes(&connection);
            migrate(&mut connection).unwrap();
            assert_eq!(version_of(&connection).unwrap(), VERSION);
            let kept: (String, Option<i64>) = connection
                .query_row("SELECT id, images FROM requests", [], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })
                .unwrap();
            assert_eq!(kept, ("a".to_owned(), None));
            // What a version had no roll-up of is summed from its rows.
            let summed: i64 = connection
                .query_row(
                    "SELECT coalesce(sum(requests), 0) FROM window_minutely",
                    [],
                    |row| row.get(0),
                )
                .unwrap();
            assert_eq!(summed, i64::from(seen < WITH_WINDOWS));
            if seen >= WITH_HOURS {
                // The minutes above came after the sums by hours.
                continue;
            }
            let mut hours = connection
                .prepare(
                    "SELECT hour, tier, requests, ok_requests, cost_nanousd, input_tokens, \
                     total_us_sum FROM usage_hourly ORDER BY hour",
                )
                .unwrap();
            let hours = hours.query_map([], |row| {
                Ok((
                    (row.get(0)?, row.get::<_, String>(1)?),
                    (
                        row.get(2)?,
                        row.get(3)?,
                        row.get(4)?,
                        row.get(5)?,
                        row.get(6)?,
                    ),
                ))
            });
            let hours: Vec<((i64, String), Sums)> = hours.unwrap().map(Result::unwrap).collect();
            let expected = [
                ((-3_600_000_000, String::new()), (1, 1, None, Some(7), 5)),
                ((0, String::new()), (3, 3, Some(i64::MAX), Some(14), 10)),
            ];
            assert_eq!(hours, expected, "from version {seen}");
        }
    }

    /// Requests, those that went well, cost, input tokens, total durations.
    type Sums = (i64, i64, Option<i64>, Option<i64>, i64);

    /// A minute of the hour before 1970 and two of the first one, whose costs are at the end of their
    /// range.
    fn insert_minutes(connection: &Connection) {
        for (minute, requests, cost) in [
            (-60_000_000, 1, None),
            (0, 1, Some(i64::MAX)),
            (3_540_000_000_i64, 2, Some(5)),
        ] {
            let zeros = ", 0".repeat(19);
            connection
                .execute(
                    &format!(
                        "INSERT INTO usage_minutely (minute, channel, model, api, key, requests, \
                         ok_requests, cost_nanousd, input_tokens, total_us_sum, errors, \
                         upstream_error_requests, rate_limited_requests, quota_exhausted_requests, \
                         timeout_requests, connect_error_requests, client_closed_requests, \
                         blocked_requests, refused_requests, no_channel_requests, \
                         interrupted_requests, internal_requests, unpriced_requests, \
                         missing_usage_requests, total_us_count, first_token_us_sum, \
                         first_token_us_count, request_bytes, response_bytes) \
                         VALUES (?1, 'c', 'm', 'chat', '', ?2, ?2, ?3, 7, 5{zeros})"
                    ),
                    (minute, requests, cost),
                )
                .unwrap();
        }
    }
}
