//! The ledger: every request that reached an upstream, exactly once, in SQLite.
//!
//! # The way of a record
//! A request appends to the [`Journal`] when it is admitted and when it ends: a checksummed entry,
//! one write to a file of this process's own. One writer thread reads the journal and commits
//! batches to the database: rows, attempts, roll-ups and the position in the journal, in one
//! transaction. So a crash anywhere repeats nothing and loses nothing, and whatever the database
//! does, requests do not wait and memory stays bounded: what is not committed lies on disk.
//!
//! A change of a channel's gate goes the same way, as one entry, into `channel_events`, and one of an
//! alert into `alert_events`. A notification is two entries, before it is sent and when it is known what
//! became of it, and one row of `notifications`; one without the second entry is still to be sent. An
//! answer from a chat is one entry and a row of `chat_answers`.
//!
//! # What survives what
//! - *A killed process*: everything it appended. The page cache keeps it, so no request waits for a
//!   disk. A request that was admitted and has no end becomes a row with the outcome `interrupted`.
//! - *A power cut*: everything but about the last second. The writer syncs the journal once a second.
//!   Commits are not synced one by one: a power cut may take the last ones back, and the position
//!   with them, so they are done again from the journal. For that, journal files are deleted only
//!   after the commits that replace them are synced. The other way round, a position beyond what is
//!   left of a journal, is harmless too: nobody appends to a dead process's stream.
//! - *A full disk*: entries are held in memory up to a bound ([`Settings::held_bytes`]) and written in
//!   their order when there is room. The journal reserves its next 64 MiB ahead where the file
//!   system can, so the disk is full for others first. Beyond the bound entries are dropped and
//!   counted.
//! - *A locked, full or broken database*: the writer tries again, with pauses of up to five seconds,
//!   for ever. The journal grows.
//! - *Entries that cannot become a row* (damaged bytes, an id that has a row): set aside in
//!   `journal/rejected`, counted, logged; the entries around them are kept.
//!
//! # Several processes
//! Two locks, both freed by the system when a process dies however that happens. `tollgate.lock` is
//! the writer's role: a second ordinary start is refused. And each process locks its own stream of the
//! journal for as long as it may append to it. So during an upgrade the new process appends to its
//! own stream from the start while the old one drains; the old one hands the role over
//! ([`Ledger::hand_over`]) or keeps it until it ends, and whoever has the role commits every stream it
//! finds, each from its own stored position. A stream whose lock is free will not grow: it is read to
//! its end, what is open in it is `interrupted`, and its files are deleted.
//!
//! # Files
//! In the data folder, readable by the owner only: `tollgate.db` (with `-wal` and `-shm` while it is
//! open), `tollgate.lock`, and `journal/` with `<stream>-<offset>.log`, `<stream>.lock` and
//! `rejected`. While a restore moves files, `restore.moving`: nothing opens the ledger then.

mod admissions;
mod alert_events;
mod backup;
mod chat_answers;
mod control;
mod database;
mod deferred;
mod events;
mod gate_events;
mod hours;
mod journal;
mod keys;
mod lock;
mod migrations;
mod notifications;
pub mod query;
mod recovery;
mod rejected;
mod reprice;
mod restoring;
mod retention;
mod rollup;
mod rows;
mod silences;
mod stats;
mod storage;
mod store;
mod sums;
#[cfg(test)]
pub(crate) mod tests;
mod windows;
mod wire;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use self::control::Control;
use self::migrations::MigrationError;
use self::store::StoreError;
use self::writer::Writer;
use crate::clock::UnixMicros;

pub use self::backup::{CopyError, JournalFile, Snapshot, is_journal_file};
pub use self::deferred::{Deferred, Opener};
pub use self::journal::Journal;
pub use self::journal::segment::make_private_folder;
pub use self::keys::{
    KeyChange, KeyError, KeyWriter, StoredKey, change_key, keys_required, require_keys, stored_keys,
};
pub use self::query::{QueryError, Reader};
pub use self::recovery::Recovery;
pub use self::reprice::{
    PriceBook, RepriceError, RepriceQuery, RepriceReport, Repriced, Repricer, Sellers,
};
pub use self::restoring::{Claim, CopyFault, Moving, examine_copy};
pub use self::silences::{SilenceError, SilenceWriter};
pub use self::stats::{COMMIT_BUCKETS_US, CommitDurations, LedgerStats};
pub use self::storage::{Room, Storage};

/// Where the ledger lies and how it behaves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The folder of `tollgate.db`, `journal/` and `tollgate.lock`; made when it is not there.
    pub data_dir: PathBuf,
    /// Rows that started longer ago are deleted; `None` keeps them forever. Roll-ups stay.
    pub retention: Option<Duration>,
    /// Size at which the journal begins a new file, in bytes.
    pub segment_bytes: u64,
    /// Bytes of entries held in memory while the disk refuses them.
    pub held_bytes: usize,
    /// How often the writer looks for new entries.
    pub tick: Duration,
}

impl Settings {
    /// The defaults for a folder: 90 days, 64 MiB a journal file, 32 MiB held, ten looks a second.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            retention: Some(Duration::from_secs(90 * 24 * 3600)),
            segment_bytes: 64 << 20,
            held_bytes: 32 << 20,
            tick: Duration::from_millis(100),
        }
    }
}

/// What to do when another process writes this ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takeover {
    /// Fail with [`OpenError::InUse`]: an ordinary start.
    Refuse,
    /// Append to a journal of one's own at once, and become the writer when the other process
    /// hands over or ends: the start of an upgrade.
    Wait,
}

/// Why the ledger cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process is the writer.
    #[error(
        "the data folder {path} is in use by another tollgate{}; stop it, or give this one its own `data_dir`",
        .pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
    )]
    InUse {
        /// The data folder.
        path: PathBuf,
        /// The other process, when it said so.
        pid: Option<u32>,
    },
    /// The database comes from a newer Tollgate.
    #[error(
        "{path} was written by a newer tollgate (schema version {found}, this one knows up to {known}): \
         start that version, or give this one its own `data_dir`"
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its `user_version`.
        found: i64,
        /// The newest version this program knows.
        known: i64,
    },
    /// A restore broke off: some files are the ledger's that was there, some the backup's.
    #[error(
        "{marker} says that a `tollgate restore` broke off while it moved files, and what is there is no \
         whole ledger: run `tollgate restore` with `--replace` again{}",
        if .aside.is_empty() {
            String::new()
        } else {
            format!(", or move back what is in {} and delete {}", .aside, .marker.display())
        }
    )]
    HalfRestored {
        /// The file that says so.
        marker: PathBuf,
        /// Where what was there before is; empty when nothing was.
        aside: String,
    },
    /// A file or folder cannot be made, opened or read.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// SQLite cannot open or migrate the database.
    #[error("cannot open the ledger {path}: {source}")]
    Database {
        /// The database.
        path: PathBuf,
        /// SQLite's error.
        source: rusqlite::Error,
    },
}

impl OpenError {
    fn io(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }

    fn in_use(data_dir: &Path) -> Self {
        Self::InUse {
            path: data_dir.to_owned(),
            pid: lock::holder(data_dir),
        }
    }

    fn store(data_dir: &Path, error: StoreError) -> Self {
        let path = database::path_in(data_dir);
        match error {
            StoreError::Open(MigrationError::Newer(found)) => Self::Newer {
                path,
                found,
                known: migrations::VERSION,
            },
            StoreError::Open(MigrationError::Database(source))
            | StoreError::Database(source)
            | StoreError::Entry { source, .. } => Self::Database { path, source },
            StoreError::Journal(source) => Self::io("read", &journal_folder(data_dir), source),
            StoreError::Fault => Self::io("write", &path, std::io::ErrorKind::Other.into()),
        }
    }
}

/// The journal's place in a data folder.
fn journal_folder(data_dir: &Path) -> PathBuf {
    data_dir.join("journal")
}

/// An open ledger: the journal that requests append to and the thread that commits it. Dropping it
/// without [`Ledger::close`] leaves what is not committed to the next start.
#[derive(Debug)]
pub struct Ledger {
    journal: Arc<Journal>,
    deferred: Arc<Deferred>,
    stats: Arc<LedgerStats>,
    control: Arc<Control>,
    data_dir: Arc<Path>,
    writer: Option<JoinHandle<Closed>>,
}

/// How a ledger ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Closed {
    /// Everything is in the database.
    Complete,
    /// Another process has the writer's role: it commits what this one left in the journal.
    HandedOver,
    /// The deadline passed; the next start commits what is left in the journal.
    Incomplete,
}

impl Ledger {
    /// Opens the ledger in `settings.data_dir`, creating what is not there (readable by the owner
    /// only), and starts its writer thread. Catching up with what an earlier process left happens
    /// on that thread: the journal takes entries as soon as this returns.
    ///
    /// A database that is locked or whose disk is full at present is no reason not to start. With
    /// [`Takeover::Wait`] also one that is not there yet or cannot be opened is no error here: the
    /// thread tries again and [`LedgerStats::database_errors`] counts.
    pub fn open(settings: &Settings, takeover: Takeover) -> Result<Self, OpenError> {
        let data_dir = &settings.data_dir;
        // First of all, also where the role is waited for: this process appends at once.
        restoring::refuse_half_restored(data_dir)?;
        let folder = journal_folder(data_dir);
        for folder in [data_dir, &folder] {
            journal::segment::make_private_folder(folder)
                .map_err(|source| OpenError::io("make the folder", folder, source))?;
        }
        let stats = Arc::new(LedgerStats::default());
        // The role before the journal: a start that is refused leaves nothing behind.
        let mut lock = None;
        if takeover == Takeover::Refuse {
            lock = Some(acquire(data_dir)?);
        }
        let journal = Journal::create(
            &folder,
            settings.segment_bytes,
            settings.held_bytes,
            Arc::clone(&stats),
        )
        .map_err(|source| OpenError::io("make a journal file in", &folder, source))?;
        let journal = Arc::new(journal);
        let deferred = Arc::new(Deferred::new(settings.retention));
        let mut writer = Writer::new(
            settings,
            lock,
            Some(Arc::clone(&journal)),
            Arc::clone(&deferred),
            Arc::clone(&stats),
        );
        if takeover == Takeover::Refuse {
            match writer.open_store() {
                // A locked database or a full disk: the journal waits, requests do not.
                Err(error) if error.is_transient() => {
                    tracing::warn!(%error, "starting without the database; the journal waits");
                }
                opened => opened.map_err(|error| OpenError::store(data_dir, error))?,
            }
        }
        let control = Arc::new(Control::default());
        let thread = thread::Builder::new().name("ledger-writer".to_owned());
        let for_thread = Arc::clone(&control);
        let tick = settings.tick;
        let writer = thread
            .spawn(move || writer.run(&for_thread, tick))
            .map_err(|source| OpenError::io("start the writer of", data_dir, source))?;
        Ok(Self {
            journal,
            deferred,
            stats,
            control,
            data_dir: data_dir.as_path().into(),
            writer: Some(writer),
        })
    }

    /// The journal, for whoever records requests.
    #[must_use]
    pub fn journal(&self) -> Arc<Journal> {
        Arc::clone(&self.journal)
    }

    /// The ids whose usage is told later, for whoever sees it told.
    #[must_use]
    pub fn deferred(&self) -> Arc<Deferred> {
        Arc::clone(&self.deferred)
    }

    /// What the ledger says about itself.
    #[must_use]
    pub fn stats(&self) -> Arc<LedgerStats> {
        Arc::clone(&self.stats)
    }

    /// What prices the ledger's history anew, for whoever may ask for that.
    #[must_use]
    pub fn repricer(&self) -> Repricer {
        Repricer::new(Arc::clone(&self.control))
    }

    /// What knows when the database has what the journal has.
    #[must_use]
    pub fn recovery(&self) -> Recovery {
        Recovery::new(self.journal(), Arc::clone(&self.control), self.stats())
    }

    /// What keeps the clients' keys, for whoever makes and revokes them.
    #[must_use]
    pub fn key_writer(&self) -> KeyWriter {
        KeyWriter::new(Arc::clone(&self.control), self.stats())
    }

    /// What keeps silences, for whoever makes and ends them.
    #[must_use]
    pub fn silence_writer(&self) -> SilenceWriter {
        SilenceWriter::new(Arc::clone(&self.control), Arc::clone(&self.data_dir))
    }

    /// Waits until everything appended before this call is in the database. `false` when it is
    /// not after `timeout`, e.g. because the database is locked or another process is the writer.
    #[must_use]
    pub fn flush(&self, timeout: Duration) -> bool {
        self.recovery().flush(timeout)
    }

    /// Gives the writer's role to the process that waits for it (the new one of an upgrade), which
    /// then also commits what this process still appends while its requests drain. Should nobody
    /// take the role for half a minute, this process takes it back.
    pub fn hand_over(&self) {
        // At once: the other process serves requests as soon as this one knows of it.
        self.deferred.set_complete(false);
        self.control.hand_over();
    }

    /// Ends the ledger: takes no more entries, commits what the journal holds (a request still open
    /// becomes `interrupted`), checkpoints the database and releases the folder. What it cannot do
    /// by the deadline stays in the journal.
    pub fn close(mut self, deadline: Duration) -> Closed {
        self.stop(deadline)
    }

    fn stop(&mut self, deadline: Duration) -> Closed {
        let Some(writer) = self.writer.take() else {
            return Closed::Complete;
        };
        self.journal.seal();
        self.control.close(Instant::now() + deadline);
        writer.join().unwrap_or(Closed::Incomplete)
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        let _the_next_start_commits_the_rest = self.stop(Duration::ZERO);
    }
}

/// Commits what a sidecar that is no longer running left in the journal, so that readers see it:
/// also the requests that were open when it was killed, which are `interrupted`. Fails with
/// [`OpenError::InUse`] while one runs (then there is nothing to do: it commits by itself). Returns
/// how many rows were added. Blocks until done; touches nothing where there is no ledger.
pub fn catch_up(data_dir: &Path) -> Result<u64, OpenError> {
    let folder = journal_folder(data_dir);
    match journal::segment::Stream::list(&folder) {
        Ok(streams) if streams.is_empty() => return Ok(0),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(source) => return Err(OpenError::io("read", &folder, source)),
    }
    let stats = Arc::new(LedgerStats::default());
    let writer = caught_up(data_dir, &stats)?;
    writer.finish();
    Ok(stats.written())
}

/// A writer that has the role of a sidecar that is not running, with all its journal committed.
fn caught_up(data_dir: &Path, stats: &Arc<LedgerStats>) -> Result<Writer, OpenError> {
    let lock = acquire(data_dir)?;
    let settings = Settings {
        retention: None,
        ..Settings::new(data_dir)
    };
    let mut writer = Writer::new(
        &settings,
        Some(lock),
        None,
        Arc::new(Deferred::new(None)),
        Arc::clone(stats),
    );
    loop {
        match writer.round(UnixMicros::now(), None) {
            Ok(_) => return Ok(writer),
            // It is noted; the same batch goes through without it.
            Err(StoreError::Entry { .. }) => {}
            Err(error) => return Err(OpenError::store(data_dir, error)),
        }
    }
}

/// Prices the history of a ledger anew whose sidecar is not running, as [`Repricer::reprice`] does
/// with one that is. Fails with [`OpenError::InUse`] while one runs, and with
/// [`QueryError::NoLedger`] where none was written yet. Blocks until done.
pub fn reprice(
    data_dir: &Path,
    query: RepriceQuery,
    prices: PriceBook,
) -> Result<RepriceReport, RepriceError> {
    let path = database::path_in(data_dir);
    if !path.exists() {
        return Err(QueryError::NoLedger { path }.into());
    }
    // A database that was put here by itself has none.
    let folder = journal_folder(data_dir);
    make_private_folder(&folder)
        .map_err(|source| OpenError::io("make the folder", &folder, source))?;
    let mut writer = caught_up(data_dir, &Arc::new(LedgerStats::default()))?;
    let mut pass = reprice::Pass::new(query, prices);
    while !writer.reprice_step(&mut pass, UnixMicros::now())? {}
    writer.finish();
    Ok(pass.report())
}

/// The writer's role in a folder that holds a ledger, or will.
fn acquire(data_dir: &Path) -> Result<lock::WriterLock, OpenError> {
    let lock = take_role(data_dir)?;
    restoring::refuse_half_restored(data_dir)?;
    Ok(lock)
}

/// The writer's role, whatever the folder holds. Fails with [`OpenError::InUse`] while another
/// process has it.
fn take_role(data_dir: &Path) -> Result<lock::WriterLock, OpenError> {
    lock::try_acquire(data_dir)
        .map_err(|source| OpenError::io("lock", data_dir, source))?
        .ok_or_else(|| OpenError::in_use(data_dir))
}
