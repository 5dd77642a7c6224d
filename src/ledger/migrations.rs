//! The schema, as the list of steps that led to it.
//!
//! The list is append-only: a step that was released is never edited, so it spells its columns out
//! instead of taking them from the vocabularies. `user_version` counts the steps a database has
//! seen. All missing ones run in one exclusive transaction: a crash leaves the old schema whole.

use rusqlite::{Connection, TransactionBehavior};

use super::windows;

/// How many steps there are: the schema version this program reads and writes.
#[allow(clippy::cast_possible_wrap, reason = "a handful of steps")]
pub(super) const VERSION: i64 = MIGRATIONS.len() as i64;

const MIGRATIONS: &[&str] = &[V1, V2, V3, V4, V5, V6, V7, V8, V10];

/// The version that brought `window_minutely`.
const WITH_WINDOWS: usize = 7;

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
/// [`windows`](super::windows).
pub(super) fn migrate(connection: &mut Connection) -> Result<(), MigrationError> {
    if version_of(connection)? == VERSION {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    let found = version_of(&transaction)?;
    let seen = usize::try_from(found).unwrap_or(usize::MAX);
    let Some(missing) = MIGRATIONS.get(seen..) else {
        return Err(MigrationError::Newer(found));
    };
    for step in missing {
        transaction.execute_batch(step)?;
    }
    if seen < WITH_WINDOWS {
        // After all steps: what writes them knows the newest schema only.
        windows::backfill(&transaction)?;
    }
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()?;
    Ok(())
}

/// STRICT: a value of the wrong type is an error and not a surprise for a reader.
const V1: &str = "
CREATE TABLE requests (
    -- Counts rows in the order they were recorded; `meta` keeps the last one given, so that none
    -- comes twice (a follower's place stays valid after old rows expire).
    sequence INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    channel TEXT,
    key TEXT,
    api TEXT NOT NULL,
    method TEXT NOT NULL,
    path TEXT NOT NULL,
    requested_model TEXT,
    served_model TEXT,
    service_tier TEXT,
    stream INTEGER,
    status INTEGER,
    outcome TEXT NOT NULL,
    error_source TEXT,
    error_code TEXT,
    error_message TEXT,
    attempts INTEGER,
    input_tokens INTEGER,
    input_cached_tokens INTEGER,
    input_cache_write_tokens INTEGER,
    output_tokens INTEGER,
    reasoning_tokens INTEGER,
    input_audio_tokens INTEGER,
    output_audio_tokens INTEGER,
    input_image_tokens INTEGER,
    output_image_tokens INTEGER,
    total_tokens INTEGER,
    usage_source TEXT NOT NULL,
    cost_nanousd INTEGER,
    price_version TEXT,
    read_request_us INTEGER,
    admit_us INTEGER,
    connect_us INTEGER,
    wait_us INTEGER,
    first_byte_us INTEGER,
    first_token_us INTEGER,
    stream_us INTEGER,
    total_us INTEGER,
    overhead_us INTEGER,
    request_bytes INTEGER NOT NULL,
    response_bytes INTEGER,
    upstream_request_id TEXT,
    session TEXT,
    end_user TEXT,
    tags TEXT,
    source TEXT NOT NULL
) STRICT;

-- One request by its id; also what keeps a request from having two rows. Ids are UUIDv7, so new
-- ones go to the index's end.
CREATE UNIQUE INDEX requests_id ON requests (id);

-- Ranges of time, the newest first, and what has expired. New entries go near the end. Filters by
-- channel, model, key and the like walk this index: an index each would cost every request more
-- than it saves the rare listing.
CREATE INDEX requests_started_at ON requests (started_at);

-- Without a rowid the table is the index it is read by.
CREATE TABLE attempts (
    request_id TEXT NOT NULL,
    n INTEGER NOT NULL,
    channel TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    status INTEGER,
    error_code TEXT,
    connect_us INTEGER,
    wait_us INTEGER,
    PRIMARY KEY (request_id, n)
) STRICT, WITHOUT ROWID;

-- Sums over the requests that started in a minute. In the key, '' stands for none: NULLs are
-- distinct in a key. A sum is NULL while no request stated anything to add up. The key leads with
-- the minute: every question has a range of time.
CREATE TABLE usage_minutely (
    minute INTEGER NOT NULL,
    channel TEXT NOT NULL,
    model TEXT NOT NULL,
    api TEXT NOT NULL,
    key TEXT NOT NULL,
    requests INTEGER NOT NULL,
    errors INTEGER NOT NULL,
    ok_requests INTEGER NOT NULL,
    upstream_error_requests INTEGER NOT NULL,
    rate_limited_requests INTEGER NOT NULL,
    quota_exhausted_requests INTEGER NOT NULL,
    timeout_requests INTEGER NOT NULL,
    connect_error_requests INTEGER NOT NULL,
    client_closed_requests INTEGER NOT NULL,
    blocked_requests INTEGER NOT NULL,
    refused_requests INTEGER NOT NULL,
    no_channel_requests INTEGER NOT NULL,
    interrupted_requests INTEGER NOT NULL,
    internal_requests INTEGER NOT NULL,
    unpriced_requests INTEGER NOT NULL,
    missing_usage_requests INTEGER NOT NULL,
    input_tokens INTEGER,
    input_cached_tokens INTEGER,
    input_cache_write_tokens INTEGER,
    output_tokens INTEGER,
    reasoning_tokens INTEGER,
    input_audio_tokens INTEGER,
    output_audio_tokens INTEGER,
    input_image_tokens INTEGER,
    output_image_tokens INTEGER,
    total_tokens INTEGER,
    cost_nanousd INTEGER,
    total_us_sum INTEGER NOT NULL,
    total_us_count INTEGER NOT NULL,
    first_token_us_sum INTEGER NOT NULL,
    first_token_us_count INTEGER NOT NULL,
    request_bytes INTEGER NOT NULL,
    response_bytes INTEGER NOT NULL,
    PRIMARY KEY (minute, channel, model, api, key)
) STRICT, WITHOUT ROWID;

-- Up to where each journal stream is in the tables above, and from where it has to be read again
-- at a start to know the requests that were open there.
CREATE TABLE journal_streams (
    stream TEXT PRIMARY KEY,
    position INTEGER NOT NULL,
    resume_from INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Requests that have been open for so long that the journal before them shall not be kept.
CREATE TABLE admissions (
    id TEXT PRIMARY KEY,
    stream TEXT NOT NULL,
    payload BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO meta (name, value) VALUES ('last_sequence', 0);
";

/// What is billed besides tokens, the provider's id of what was made, Tollgate's own count where a
/// provider stated none, and what of a billed answer its client received.
const V2: &str = "
ALTER TABLE requests ADD COLUMN web_searches INTEGER;
ALTER TABLE requests ADD COLUMN file_searches INTEGER;
ALTER TABLE requests ADD COLUMN images INTEGER;
ALTER TABLE requests ADD COLUMN audio_ms INTEGER;
ALTER TABLE requests ADD COLUMN characters INTEGER;
ALTER TABLE requests ADD COLUMN cache_write_1h_tokens INTEGER;
ALTER TABLE requests ADD COLUMN other_tools INTEGER;
ALTER TABLE requests ADD COLUMN response_id TEXT;
ALTER TABLE requests ADD COLUMN deferral TEXT;
ALTER TABLE requests ADD COLUMN estimated_input_tokens INTEGER;
ALTER TABLE requests ADD COLUMN estimated_output_tokens INTEGER;
ALTER TABLE requests ADD COLUMN estimated_cost_nanousd INTEGER;
ALTER TABLE requests ADD COLUMN delivered_output_tokens INTEGER;
ALTER TABLE requests ADD COLUMN upstream_bytes INTEGER;

ALTER TABLE usage_minutely ADD COLUMN partial_requests INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage_minutely ADD COLUMN estimated_requests INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage_minutely ADD COLUMN web_searches INTEGER;
ALTER TABLE usage_minutely ADD COLUMN file_searches INTEGER;
ALTER TABLE usage_minutely ADD COLUMN images INTEGER;
ALTER TABLE usage_minutely ADD COLUMN audio_ms INTEGER;
ALTER TABLE usage_minutely ADD COLUMN characters INTEGER;
ALTER TABLE usage_minutely ADD COLUMN cache_write_1h_tokens INTEGER;
ALTER TABLE usage_minutely ADD COLUMN other_tools INTEGER;
ALTER TABLE usage_minutely ADD COLUMN estimated_cost_nanousd INTEGER;
";

const V3: &str = "
-- Usage that is told later than its making, by the provider's id: which request's row carries it.
-- `opened_by` is NULL for what was not seen being made.
CREATE TABLE deferred_usage (
    response_id TEXT PRIMARY KEY,
    api TEXT NOT NULL,
    opened_by TEXT,
    opened_at INTEGER NOT NULL,
    settled_by TEXT
) STRICT, WITHOUT ROWID;

-- What was opened last is what is asked for; what was opened first expires.
CREATE INDEX deferred_usage_opened_at ON deferred_usage (opened_at);

-- When it was made, microseconds since 1970, where that is known: what it costs is by the prices of
-- then. NULL: by those of started_at.
ALTER TABLE requests ADD COLUMN priced_at INTEGER;
";

const V4: &str = "
-- Costs that a later price changed, with what they were. A row goes with its request.
CREATE TABLE repricings (
    request_id TEXT NOT NULL,
    run INTEGER NOT NULL,
    at INTEGER NOT NULL,
    who TEXT NOT NULL,
    old_cost_nanousd INTEGER,
    new_cost_nanousd INTEGER NOT NULL,
    old_price_version TEXT,
    new_price_version TEXT NOT NULL,
    PRIMARY KEY (request_id, run)
) STRICT, WITHOUT ROWID;

-- Each time that history was priced anew and something changed. Kept for ever, as the roll-ups are
-- that it changed. Without finished_at it was cut off, or is at work.
CREATE TABLE repricing_runs (
    run INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    who TEXT NOT NULL,
    since INTEGER NOT NULL,
    until INTEGER NOT NULL,
    model TEXT,
    requests INTEGER NOT NULL,
    newly_priced INTEGER NOT NULL,
    difference_nanousd INTEGER NOT NULL,
    finished_at INTEGER
) STRICT;
";

const V5: &str = "
-- Each change of an owner's hold on a channel's gate. In the order of recording, which is the
-- journal's: the last one of a channel and owner is what holds. Numbers are never used twice.
CREATE TABLE channel_events (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    channel TEXT NOT NULL,
    owner TEXT NOT NULL,
    hold TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    until INTEGER,
    who TEXT,
    note TEXT
) STRICT;

-- The last one of each channel and owner.
CREATE INDEX channel_events_owner ON channel_events (channel, owner, sequence);

-- One channel's, the newest first.
CREATE INDEX channel_events_channel ON channel_events (channel, sequence);

-- Where a range of time begins and ends; what has expired.
CREATE INDEX channel_events_at ON channel_events (at);
";

const V6: &str = "
-- Clients' own keys. What a client shows is not here, only its keyed hash (HMAC-SHA-256), whose
-- secret lies beside the database. A key that was revoked keeps its row: that there ever was one is
-- what makes a key required. `grant` is JSON; NULL in expires_at never expires.
CREATE TABLE keys (
    hash BLOB PRIMARY KEY,
    name TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER,
    grant TEXT NOT NULL,
    made_by TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- A name may be used again once its key is revoked.
CREATE UNIQUE INDEX keys_name ON keys (name) WHERE revoked_at IS NULL;
";

const V7: &str = "
-- What budgets count for a request whose cost is not known and may not be nothing; NULL once it has
-- a cost.
ALTER TABLE requests ADD COLUMN assumed_cost_nanousd INTEGER;

-- 0 for what cannot be billed: listing, retrieving, managing. Rules are not asked for such requests and
-- do not count them. Of requests of earlier versions nobody knows; they count.
ALTER TABLE requests ADD COLUMN billable INTEGER NOT NULL DEFAULT 1;

-- The most that a request may have used of which a budget held something and whose usage may still come:
-- nobody saw its end, or it is told later. All NULL of others. Where nobody can say how much it may
-- have been, worst_unbounded is 1 and what is not known is NULL.
ALTER TABLE requests ADD COLUMN worst_unbounded INTEGER;
ALTER TABLE requests ADD COLUMN worst_cost_nanousd INTEGER;
ALTER TABLE requests ADD COLUMN worst_input_tokens INTEGER;
ALTER TABLE requests ADD COLUMN worst_output_tokens INTEGER;
CREATE INDEX requests_worst ON requests (started_at) WHERE worst_unbounded IS NOT NULL;

-- What rules see of requests, summed by the minutes they ended and started in. Not of those that
-- Tollgate turned away itself (blocked, refused, no_channel), nor of what cannot be billed. A request
-- that only brings the usage of an earlier one (deferral is settled) counts in `settled` and with its
-- cost and tokens, and in nothing else. In the key, '' stands for none. A cost that is not known is the assumed one. The distributions are bytes of Tollgate's own, merged by it.
CREATE TABLE window_minutely (
    ended_minute INTEGER NOT NULL,
    started_minute INTEGER NOT NULL,
    channel TEXT NOT NULL,
    requested_model TEXT NOT NULL,
    served_model TEXT NOT NULL,
    api TEXT NOT NULL,
    key TEXT NOT NULL,
    requests INTEGER NOT NULL,
    settled INTEGER NOT NULL,
    errors INTEGER NOT NULL,
    cost_nanousd INTEGER,
    total_tokens INTEGER,
    input_tokens INTEGER,
    output_tokens INTEGER,
    latency_us BLOB NOT NULL,
    ttft_us BLOB NOT NULL,
    pace_milli BLOB NOT NULL,
    PRIMARY KEY (ended_minute, started_minute, channel, requested_model, served_model, api, key)
) STRICT, WITHOUT ROWID;

-- Each change of an alert, in the order of recording: the last one of a rule and labels is what it
-- is. Numbers are never used twice. `labels` is a JSON object in the order of its names, `actions` a
-- JSON list. Values and limits are whole numbers of the finest part of their unit: nano-dollars,
-- millionths of a ratio, microseconds, thousandths of tokens a second.
CREATE TABLE alert_events (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    rule TEXT NOT NULL,
    labels TEXT NOT NULL,
    state TEXT NOT NULL,
    severity TEXT,
    mode TEXT NOT NULL,
    active_since INTEGER,
    fired_at INTEGER,
    cleared_since INTEGER,
    value INTEGER,
    value_unit TEXT,
    limit_value INTEGER,
    limit_unit TEXT,
    window_end INTEGER,
    actions TEXT NOT NULL,
    critical_since INTEGER,
    critical_cleared_since INTEGER,
    -- 0 where it is kept for the sake of a restart only.
    told INTEGER NOT NULL
) STRICT;

-- The last one of each alert.
CREATE INDEX alert_events_alert ON alert_events (rule, labels, sequence);

-- One rule's, the newest first.
CREATE INDEX alert_events_rule ON alert_events (rule, sequence);

-- Where a range of time begins and ends; what has expired.
CREATE INDEX alert_events_at ON alert_events (at);

-- What each alert is now.
CREATE VIEW alert_states AS SELECT rule, labels, state, severity, mode, at, active_since, fired_at,
    cleared_since, value, value_unit, limit_value, limit_unit, window_end, actions
FROM alert_events WHERE sequence IN (SELECT max(sequence) FROM alert_events GROUP BY rule, labels);

-- Times in which alerts tell nobody. `matchers` is a JSON list; ended_at is set when one is ended
-- before its time.
CREATE TABLE silences (
    id TEXT PRIMARY KEY,
    matchers TEXT NOT NULL,
    starts_at INTEGER NOT NULL,
    ends_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    comment TEXT NOT NULL,
    ended_at INTEGER
) STRICT, WITHOUT ROWID;
";

const V8: &str = "
-- What was told to whom, in the order of recording. While `result` is NULL it is still to be sent; from
-- then on settled_at and attempts are there too. settled_by is the notification that was sent in the
-- place of one that was merged or replaced. What is large comes last: lists do not read it. Numbers are
-- never used twice.
CREATE TABLE notifications (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    at INTEGER NOT NULL,
    receiver TEXT NOT NULL,
    kind TEXT NOT NULL,
    reason TEXT NOT NULL,
    group_key TEXT NOT NULL,
    title TEXT NOT NULL,
    deadline INTEGER NOT NULL,
    settled_at INTEGER,
    result TEXT,
    attempts INTEGER,
    reference TEXT,
    settled_by TEXT,
    error TEXT,
    content TEXT NOT NULL,
    told TEXT NOT NULL
) STRICT;

-- One by its id: whose fate it is, and that none is there twice.
CREATE UNIQUE INDEX notifications_id ON notifications (id);

-- What is still to be sent.
CREATE INDEX notifications_open ON notifications (sequence) WHERE result IS NULL;

-- The last one of each conversation.
CREATE INDEX notifications_group ON notifications (receiver, group_key, sequence);

-- One receiver's, the newest first.
CREATE INDEX notifications_receiver ON notifications (receiver, sequence);

-- Where a range of time begins and ends; what has expired.
CREATE INDEX notifications_at ON notifications (at);

-- What was answered or commanded from chats, in the order of recording. `nonce` makes a signed answer
-- work once and is to be remembered until expires_at; its 64 bits are stored as a signed number.
CREATE TABLE chat_answers (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    receiver TEXT NOT NULL,
    who TEXT NOT NULL,
    asked TEXT NOT NULL,
    subject TEXT NOT NULL,
    done INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    nonce INTEGER,
    expires_at INTEGER
) STRICT;

-- What is to be remembered.
CREATE INDEX chat_answers_nonce ON chat_answers (expires_at, nonce) WHERE nonce IS NOT NULL;

-- One receiver's, the newest first.
CREATE INDEX chat_answers_receiver ON chat_answers (receiver, sequence);

-- Where a range of time begins and ends; what has expired.
CREATE INDEX chat_answers_at ON chat_answers (at);
";

const V10: &str = "
-- In which minutes of an hour somebody had requests, a bit for each minute, by where their usage comes
-- from and of those without a price; and how long the longest took. Listings find rows by it. In the
-- key, '' stands for none. It may say more than there is (rows expire, prices come), never less.
CREATE TABLE requests_hourly (
    hour INTEGER NOT NULL,
    channel TEXT NOT NULL,
    model TEXT NOT NULL,
    api TEXT NOT NULL,
    key TEXT NOT NULL,
    longest_us INTEGER,
    reported_minutes INTEGER NOT NULL,
    partial_minutes INTEGER NOT NULL,
    estimated_minutes INTEGER NOT NULL,
    missing_minutes INTEGER NOT NULL,
    none_minutes INTEGER NOT NULL,
    unpriced_minutes INTEGER NOT NULL,
    PRIMARY KEY (hour, channel, model, api, key)
) STRICT, WITHOUT ROWID;
INSERT INTO requests_hourly SELECT hour, channel, model, api, key, max(longest_us),
    sum(reported << minute), sum(partial << minute), sum(estimated << minute), sum(missing << minute),
    sum(none << minute), sum(unpriced << minute)
FROM (
    SELECT started_at / 3600000000 * 3600000000 AS hour, coalesce(channel, '') AS channel,
        coalesce(served_model, requested_model, '') AS model, api, coalesce(key, '') AS key,
        started_at / 60000000 % 60 AS minute, max(total_us) AS longest_us,
        max(usage_source = 'reported') AS reported, max(usage_source = 'partial') AS partial,
        max(usage_source = 'estimated') AS estimated, max(usage_source = 'missing') AS missing,
        max(usage_source = 'none') AS none,
        max(cost_nanousd IS NULL AND usage_source IN ('reported', 'partial', 'estimated')) AS unpriced
    FROM requests GROUP BY 1, 2, 3, 4, 5, 6
) GROUP BY 1, 2, 3, 4, 5;

-- With how long they took, so that the slowest of an hour are found without their rows. The sequence
-- number, so that the order of the index is that of a listing.
DROP INDEX requests_started_at;
CREATE INDEX requests_started_at ON requests (started_at, sequence, total_us);

-- What did not end well, with all that a listing chooses by. Few enough to be walked.
CREATE INDEX requests_failed ON requests (started_at, sequence, total_us, outcome, status, channel,
    coalesce(served_model, requested_model), api, key)
WHERE outcome <> 'ok' OR status <> 200;

-- A conversation, hour by hour: new entries go near the end, as they would not by its name alone.
CREATE INDEX requests_session ON requests (started_at / 3600000000, session, started_at)
WHERE session IS NOT NULL;
";

/// The statement by which the tenth step sums up the requests that there are.
#[cfg(test)]
pub(super) fn hours_of_requests() -> &'static str {
    let mut statements = V10.split_inclusive(';');
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
        }
    }
}
