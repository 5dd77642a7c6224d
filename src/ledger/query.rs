//! Reading the ledger: usage summaries, request listings, one request in full.
//!
//! A [`Reader`] is its own read-only connection. It never waits for the writer (WAL) and the writer
//! never waits for it. It works with the sidecar running or not; what a crashed sidecar left in the
//! journal is seen only after [`crate::ledger::catch_up`].

mod calendar;
mod conditions;
mod errors;
mod finding;
mod heatmap;
mod latency;
mod listing;
mod names;
mod past;
mod period;
mod ranking;
mod reading;
mod replay;
mod requests;
pub(super) mod sampled;
mod summary;
mod timeseries;
mod top;
mod total;
mod usage;

pub(super) use listing::rows_in_order;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt::Write;
use std::fs;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use serde::de::DeserializeOwned;
use uuid::Uuid;

pub use errors::{ErrorGroup, ErrorQuery};
pub use heatmap::{DayUsage, HourUsage, WEEKDAYS};
pub use latency::{Latencies, LatencyBy, LatencyQuery, LatencyRow, PERCENTILES};
pub use names::{NameFilter, NameFilterError};
pub use past::{HeldRequest, Past, PastQuery};
pub use period::{Durations, PeriodGroup, PeriodPart, PeriodQuery, PeriodSums, PeriodUsage};
pub use replay::{Replayed, Turn};
pub use requests::{
    Cursor, CursorError, FollowPage, Order, Repricing, RequestDetail, RequestFilter, RequestPage,
    Sequence, StoredRequest,
};
pub use timeseries::{OTHER, Step, Timeseries, TimeseriesQuery, TimeseriesRow};
pub use top::{TopOrder, TopQuery, TopRow};
pub use usage::{
    GroupBy, GroupByError, PreviousUsage, PricesAt, UsageFilter, UsageQuery, UsageRow, UsageSummary,
};

pub use super::alert_events::{AlertCursor, AlertEventFilter, AlertEventPage};
pub use super::chat_answers::{AnswerCursor, AnswerFilter, AnswerPage, UsedNonce};
pub use super::gate_events::{GateCursor, GateEventFilter, GateEventPage};
pub use super::notifications::{
    NotificationCursor, NotificationFilter, NotificationPage, NotificationState, StoredNotification,
};

use super::alert_events;
use super::chat_answers;
use super::database;
use super::gate_events;
use super::journal::Journal;
use super::keys::{self, StoredKey};
use super::migrations::{self, VERSION};
use super::notifications;
use super::reprice::{Pass, PriceBook, RepriceQuery, RepriceReport};
use super::silences;
use crate::alert::{AlertEvent, Notification, Silence};
use crate::clock::UnixMicros;
use crate::record::{ChannelEvent, RequestId};

/// Why a question to the ledger has no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// There is no ledger in the data folder.
    #[error(
        "there is no ledger at {path}: nothing was recorded yet, or `data_dir` names another folder"
    )]
    NoLedger {
        /// Where the database should be.
        path: PathBuf,
    },
    /// The database was written by another version of Tollgate.
    #[error(
        "the ledger at {path} has schema version {found}, this program reads version {known}: {remedy}"
    )]
    OtherVersion {
        /// The database.
        path: PathBuf,
        /// Its `user_version`.
        found: i64,
        /// The version this program reads.
        known: i64,
        /// What to do about it.
        remedy: &'static str,
    },
    /// A stored value is not what the schema promises.
    #[error("the ledger holds `{value}` in column `{column}`, which this program does not know")]
    Unreadable {
        /// The column.
        column: &'static str,
        /// What it holds.
        value: String,
    },
    /// Usage was asked for by service tier, and by days that begin within an hour of UTC.
    #[error(
        "usage by service tier is known by whole hours of UTC, and days of this time zone begin within \
         one; leave `tier` out, or name another time zone (UTC)"
    )]
    TierWithinHour,
    /// The database cannot be opened or read.
    #[error("cannot read the ledger at {path}: {source}")]
    Database {
        /// The database.
        path: PathBuf,
        /// SQLite's error.
        source: rusqlite::Error,
    },
}

/// How long a question waits where even WAL makes it wait (a database being recovered).
const BUSY: Duration = Duration::from_secs(2);

/// A read-only connection to the ledger. It may be sent to another thread but not shared: open one
/// for each thread that asks (opening takes well under a millisecond).
#[derive(Debug)]
pub struct Reader {
    connection: Connection,
    path: PathBuf,
}

impl Reader {
    /// Opens the ledger in `data_dir` for reading. Fails with [`QueryError::NoLedger`] where none
    /// was written yet. Works in a folder that cannot be written to, as long as the ledger was
    /// closed cleanly.
    pub fn open(data_dir: &Path) -> Result<Self, QueryError> {
        let path = database::path_in(data_dir);
        // Also tells an empty file, which a start that was cut off can leave.
        if !fs::metadata(&path).is_ok_and(|file| file.len() > 0) {
            return Err(QueryError::NoLedger { path });
        }
        let (connection, found) = connect(&path).map_err(|source| QueryError::Database {
            path: path.clone(),
            source,
        })?;
        if found == VERSION {
            return Ok(Self { connection, path });
        }
        Err(QueryError::OtherVersion {
            path,
            found,
            known: VERSION,
            remedy: if found > VERSION {
                "use the tollgate that wrote it"
            } else {
                "start this tollgate on it once, which brings it up to date"
            },
        })
    }

    /// Usage over a range of time, grouped; see [`UsageQuery`].
    pub fn usage(&self, query: &UsageQuery) -> Result<UsageSummary, QueryError> {
        summary::usage(&self.connection, query).map_err(|error| error.at(&self.path))
    }

    /// Usage over time; see [`TimeseriesQuery`].
    pub fn timeseries(&self, query: &TimeseriesQuery) -> Result<Timeseries, QueryError> {
        timeseries::timeseries(&self.connection, query).map_err(|error| error.at(&self.path))
    }

    /// Usage of each calendar day of a range that has an end, also of those without any. Grouping and
    /// comparing are not looked at.
    pub fn days(&self, query: &UsageQuery) -> Result<Vec<DayUsage>, QueryError> {
        heatmap::days(&self.connection, query).map_err(|error| self.explain(error))
    }

    /// Usage of each of the 168 hours of a week, likewise. In a time zone whose offset is no whole
    /// number of hours it is read by the minute, which takes longer.
    pub fn week_hours(&self, query: &UsageQuery) -> Result<Vec<HourUsage>, QueryError> {
        heatmap::week_hours(&self.connection, query).map_err(|error| self.explain(error))
    }

    /// Who used most; see [`TopQuery`].
    pub fn top(&self, query: &TopQuery) -> Result<Vec<TopRow>, QueryError> {
        top::top(&self.connection, query).map_err(|error| error.at(&self.path))
    }

    /// What failed, by its kind, the most frequent first. Its time grows with the failures of the range.
    pub fn errors(&self, query: &ErrorQuery) -> Result<Vec<ErrorGroup>, QueryError> {
        errors::errors(&self.connection, query).map_err(|error| self.explain(error))
    }

    /// One page of requests that match `filter`, in its order. Pass [`RequestPage::next`] back as
    /// [`RequestFilter::cursor`] for the page after it.
    pub fn requests(&self, filter: &RequestFilter) -> Result<RequestPage, QueryError> {
        listing::page(&self.connection, filter).map_err(|error| self.explain(error))
    }

    /// Where [`Reader::follow`] starts to see only what is recorded from now on.
    pub fn newest(&self) -> Result<Sequence, QueryError> {
        listing::newest(&self.connection).map_err(|error| self.explain(error.into()))
    }

    /// Requests that match `filter` and were recorded after `after`, oldest first; its order and
    /// cursor are not looked at. Ask again with [`FollowPage::position`].
    pub fn follow(
        &self,
        filter: &RequestFilter,
        after: Sequence,
    ) -> Result<FollowPage, QueryError> {
        listing::follow(&self.connection, filter, after).map_err(|error| self.explain(error))
    }

    /// One request with its attempts; `None` when the ledger has no such request.
    pub fn request(&self, id: RequestId) -> Result<Option<RequestDetail>, QueryError> {
        listing::detail(&self.connection, id).map_err(|error| self.explain(error))
    }

    /// The last event of each owner of each channel's gate, in the order of recording: all that
    /// is known of the gates.
    pub fn last_gate_events(&self) -> Result<Vec<ChannelEvent>, QueryError> {
        gate_events::last(&self.connection).map_err(|error| self.explain(error))
    }

    /// One page of what happened to the channels' gates, the newest first.
    pub fn gate_events(&self, filter: &GateEventFilter) -> Result<GateEventPage, QueryError> {
        gate_events::page(&self.connection, filter).map_err(|error| self.explain(error))
    }

    /// The last event of each alert, in the order of recording: all that is known of the alerts.
    pub fn last_alert_events(&self) -> Result<Vec<AlertEvent>, QueryError> {
        alert_events::last(&self.connection).map_err(|error| self.explain(error))
    }

    /// One page of what happened to the alerts, the newest first.
    pub fn alert_events(&self, filter: &AlertEventFilter) -> Result<AlertEventPage, QueryError> {
        alert_events::page(&self.connection, filter).map_err(|error| self.explain(error))
    }

    /// The notifications that are still to be sent, in the order of recording.
    pub fn open_notifications(&self) -> Result<Vec<Notification>, QueryError> {
        notifications::open(&self.connection).map_err(|error| self.explain(error))
    }

    /// The last notification of each receiver and group, of those made at `since` or later, with its
    /// fate where that is known; in the order of recording, without `content`.
    pub fn last_notifications(
        &self,
        since: UnixMicros,
    ) -> Result<Vec<StoredNotification>, QueryError> {
        notifications::last(&self.connection, since).map_err(|error| self.explain(error))
    }

    /// One page of notifications, the newest first, without `content` and `told`.
    pub fn notifications(
        &self,
        filter: &NotificationFilter,
    ) -> Result<NotificationPage, QueryError> {
        notifications::page(&self.connection, filter).map_err(|error| self.explain(error))
    }

    /// One notification, with everything; `None` when the ledger has none of this id.
    pub fn notification(&self, id: Uuid) -> Result<Option<StoredNotification>, QueryError> {
        notifications::find(&self.connection, id).map_err(|error| self.explain(error))
    }

    /// One page of what was answered or commanded from chats, the newest first.
    pub fn answers(&self, filter: &AnswerFilter) -> Result<AnswerPage, QueryError> {
        chat_answers::page(&self.connection, filter).map_err(|error| self.explain(error))
    }

    /// The numbers that were used by an answer and expire after `now`.
    pub fn used_answers(&self, now: UnixMicros) -> Result<Vec<UsedNonce>, QueryError> {
        chat_answers::used(&self.connection, now).map_err(|error| self.explain(error.into()))
    }

    /// Shows `visit` what is wanted of the past: minutes, then requests, then what is held, each in no
    /// order to rely on. All of it is one state of the database.
    ///
    /// With the process' own `journal`, returns the offset in its stream up to which that state goes:
    /// of the requests of this process, those whose [`Journal::end`] returned a smaller one are in it
    /// and those of this offset or a larger one are not. What other processes recorded is in it as far
    /// as it is committed.
    pub fn past(
        &self,
        query: &PastQuery,
        journal: Option<&Journal>,
        mut visit: impl FnMut(Past<'_>),
    ) -> Result<Option<u64>, QueryError> {
        past::past(&self.connection, query, journal, &mut visit)
            .map_err(|error| self.explain(error))
    }

    /// As [`past`](Self::past), minutes and requests only, until `visit` breaks off; whether it did.
    pub fn past_until(
        &self,
        query: &PastQuery,
        mut visit: impl FnMut(Past<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, QueryError> {
        past::read(&self.connection, query, &mut visit).map_err(|error| self.explain(error))
    }

    /// Has `read` ask of one state of the database, whatever is written meanwhile. Of [`past`](Self::past)
    /// and what prices anew it must not ask: they look for a state of their own.
    pub fn in_one_state<T>(
        &self,
        read: impl FnOnce(&Self) -> Result<T, QueryError>,
    ) -> Result<T, QueryError> {
        let begun = self.connection.unchecked_transaction();
        let transaction = begun.map_err(|error| self.explain(error.into()))?;
        let read = read(self)?;
        // Nothing was written: how it ends is all one.
        drop(transaction);
        Ok(read)
    }

    /// What was used in a time; see [`PeriodQuery`].
    pub fn period(&self, query: &PeriodQuery) -> Result<PeriodUsage, QueryError> {
        period::usage(&self.connection, query).map_err(|error| self.explain(error))
    }

    /// How long requests took that ended from `since` on and before `until`, both rounded down to the
    /// minute. Known of the last 400 days.
    pub fn durations(&self, since: UnixMicros, until: UnixMicros) -> Result<Durations, QueryError> {
        period::durations(&self.connection, since, until).map_err(|error| self.explain(error))
    }

    /// How long requests took, as percentiles of each phase; of a sample where there are many. See
    /// [`LatencyQuery`].
    pub fn latencies(&self, query: &LatencyQuery) -> Result<Latencies, QueryError> {
        latency::latencies(&self.connection, query).map_err(|error| self.explain(error))
    }

    /// The first minute of which any usage is known; `None` of an empty ledger.
    pub fn first_minute(&self) -> Result<Option<UnixMicros>, QueryError> {
        period::first_minute(&self.connection).map_err(|error| self.explain(error.into()))
    }

    /// Shows `visit` every request that ended from `since` on and before `until` twice: as it began and
    /// as it ended, all in the order of time. Those that Tollgate turned away are left out. Memory holds
    /// those that were on their way at one time.
    pub fn replay(
        &self,
        since: UnixMicros,
        until: UnixMicros,
        mut visit: impl FnMut(Turn, &Replayed<'_>),
    ) -> Result<(), QueryError> {
        replay::replay(&self.connection, since, until, &mut visit)
            .map_err(|error| self.explain(error))
    }

    /// Every key that was ever made, in the order of their making.
    pub fn keys(&self) -> Result<Vec<StoredKey>, QueryError> {
        keys::all(&self.connection).map_err(|error| self.explain(error))
    }

    /// Every silence there ever was, in the order of their making.
    pub fn silences(&self) -> Result<Vec<Silence>, QueryError> {
        silences::all(&self.connection).map_err(|error| self.explain(error))
    }

    /// The silences that hold or will, in the order of their making.
    pub fn silences_not_over(&self, now: UnixMicros) -> Result<Vec<Silence>, QueryError> {
        silences::not_over(&self.connection, now).map_err(|error| self.explain(error))
    }

    /// What pricing rows anew would do; changes nothing. Its time grows with the range.
    pub fn preview_repricing(
        &self,
        query: RepriceQuery,
        prices: PriceBook,
    ) -> Result<RepriceReport, QueryError> {
        let preview = || {
            // One state of the database throughout.
            let transaction = self.connection.unchecked_transaction()?;
            let mut pass = Pass::new(query, prices);
            while !pass.preview(&transaction)? {}
            Ok(pass.report())
        };
        preview().map_err(|error| self.explain(error))
    }

    fn explain(&self, error: ReadError) -> QueryError {
        error.at(&self.path)
    }
}

/// A [`QueryError`] before it knows which database it speaks of.
#[derive(Debug)]
pub(super) enum ReadError {
    Unreadable { column: &'static str, value: String },
    Database(rusqlite::Error),
}

impl ReadError {
    pub(super) fn at(self, path: &Path) -> QueryError {
        match self {
            Self::Unreadable { column, value } => QueryError::Unreadable { column, value },
            Self::Database(source) => QueryError::Database {
                path: path.to_owned(),
                source,
            },
        }
    }
}

impl From<rusqlite::Error> for ReadError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

/// Why a question about usage has no answer, likewise.
#[derive(Debug)]
enum UsageError {
    Read(ReadError),
    TierWithinHour,
}

impl UsageError {
    fn at(self, path: &Path) -> QueryError {
        match self {
            Self::Read(error) => error.at(path),
            Self::TierWithinHour => QueryError::TierWithinHour,
        }
    }
}

impl<E: Into<ReadError>> From<E> for UsageError {
    fn from(error: E) -> Self {
        Self::Read(error.into())
    }
}

/// A name of a closed vocabulary, as stored.
pub(super) fn vocabulary<T: FromStr>(column: &'static str, text: &str) -> Result<T, ReadError> {
    text.parse().map_err(|_| ReadError::Unreadable {
        column,
        value: text.to_owned(),
    })
}

/// A value that is stored as JSON.
pub(super) fn json<T: DeserializeOwned>(column: &'static str, text: &str) -> Result<T, ReadError> {
    serde_json::from_str(text).map_err(|_| ReadError::Unreadable {
        column,
        value: text.to_owned(),
    })
}

/// Tags, as stored.
pub(super) fn parse_tags(stored: &str) -> Result<BTreeMap<String, String>, ReadError> {
    json("tags", stored)
}

/// A count, as stored: never negative.
fn count(stored: i64) -> u64 {
    u64::try_from(stored).unwrap_or(0)
}

/// A connection and the schema version it found.
pub(super) fn connect(path: &Path) -> rusqlite::Result<(Connection, i64)> {
    let open = |name: &OsStr, flags: OpenFlags| {
        let flags = flags | OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(name, flags)?;
        connection.busy_timeout(BUSY)?;
        // The first look at the file: only now SQLite finds out whether it can read it.
        let version = migrations::version_of(&connection)?;
        Ok((connection, version))
    };
    let error = match open(path.as_os_str(), OpenFlags::empty()) {
        Ok(opened) => return Ok(opened),
        Err(error) => error,
    };
    // In WAL mode even a reader makes a -shm file. Where it may not, the database file by itself is
    // whole if nobody has it open and the last writer closed it, which is when no
    // -wal is left or nothing is in it.
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    if fs::metadata(&wal).is_ok_and(|wal| wal.len() > 0) {
        return Err(error);
    }
    open(&immutable_uri(path), OpenFlags::SQLITE_OPEN_URI)
}

/// The URI (RFC 3986) by which SQLite opens a file that cannot change.
pub(super) fn immutable_uri(path: &Path) -> OsString {
    let mut uri = String::from("file:");
    for &byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            let _infallible = write!(uri, "%{byte:02X}");
        }
    }
    uri.push_str("?immutable=1");
    uri.into()
}
