//! The writer's connection.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::journal::segment::make_private;
use super::migrations::{self, MigrationError};
use super::windows;

/// The database's place in a data folder.
pub(super) fn path_in(data_dir: &Path) -> PathBuf {
    data_dir.join("tollgate.db")
}

/// The write-ahead log of the database at `path`.
pub(super) fn log_of(path: &Path) -> PathBuf {
    let mut log = path.to_owned().into_os_string();
    log.push("-wal");
    log.into()
}

/// How long the writer waits for a lock that another program has on the database before it counts
/// an error and tries again later. Short, for it must also notice that it shall end.
const BUSY: Duration = Duration::from_millis(500);

/// The writer's connection to the database.
#[derive(Debug)]
pub(super) struct Database {
    pub(super) connection: Connection,
    path: PathBuf,
}

impl Database {
    /// Opens (or makes) the database at `path`, readable by the owner only, and migrates it.
    pub(super) fn open(path: &Path) -> Result<Self, MigrationError> {
        // SQLite gives its -wal and -shm files the mode of the database.
        make_private(path).map_err(|error| {
            rusqlite::Error::SqliteFailure(
                rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN),
                Some(error.to_string()),
            )
        })?;
        let mut connection = Connection::open_with_flags(
            path,
            // No mutex: one thread uses it.
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        connection.busy_timeout(BUSY)?;
        // First of all: a newer program's database stays as it is.
        migrations::refuse_newer(&connection)?;
        // Before the first table is made, or it has no effect: lets retention give pages back a few
        // at a time, which VACUUM (a copy of everything under an exclusive lock) cannot.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
        // Readers and the writer do not wait for each other.
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // A commit is not synced, a checkpoint is: a power cut can take the last commits back, and
        // never does harm to the file. The journal has them still (see `writer`).
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        // Four times the default between checkpoints: the pages every batch touches (the ends of
        // the indexes, the present minute's roll-ups) are copied back less often.
        connection.pragma_update(None, "wal_autocheckpoint", 4_000)?;
        // After a burst the -wal file is cut back to this many bytes.
        connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
        // 8 MiB of pages: the ends of both indexes and some hours of roll-ups.
        connection.pragma_update(None, "cache_size", -8_192)?;
        // What is little. The steps of a migration say otherwise for themselves.
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        // No views or triggers that someone slipped into the file run here.
        connection.pragma_update(None, "trusted_schema", false)?;
        connection.set_prepared_statement_cache_capacity(64);
        windows::register(&connection)?;
        migrations::migrate(&mut connection)?;
        Ok(Self {
            connection,
            path: path.to_owned(),
        })
    }

    /// Makes everything committed so far survive a power cut, so that journal files behind it may
    /// go. Commits that are no longer in the -wal file were synced with the checkpoint that moved
    /// them.
    pub(super) fn sync(&self) -> io::Result<()> {
        match File::open(log_of(&self.path)) {
            Ok(file) => file.sync_data(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Moves everything into the database file and empties the -wal file, as far as readers allow.
    pub(super) fn checkpoint(&self) -> rusqlite::Result<()> {
        self.connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
    }
}
