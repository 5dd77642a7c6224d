//! A copy of a ledger, made while its sidecar runs or not.
//!
//! A copy is the database as it is at one moment, and the journal that was there at that moment or
//! later: a start goes on from the position that the database knows, so what it has is not read
//! twice, and what it lacks is in the journal. The other way round, with a database that is newer
//! than the journal beside it, requests whose ends are missing there would look interrupted.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use super::journal::segment::make_private;
use super::query::{QueryError, connect};
use super::{database, journal_folder};

/// Why a ledger cannot be copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// There is none, or it cannot be read.
    #[error(transparent)]
    Read(#[from] QueryError),
    /// A file of the journal cannot be opened.
    #[error("cannot read the journal {path}: {source}")]
    Journal {
        /// The file or the folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The copy cannot be written, or the database cannot be read to its end.
    #[error("cannot copy the ledger {from} to {to}: {source}")]
    Copy {
        /// The database.
        from: PathBuf,
        /// Its copy.
        to: PathBuf,
        /// SQLite's error.
        source: rusqlite::Error,
    },
}

/// A file of the journal as it was when the snapshot was taken. It is open, so that it can be read
/// after the sidecar has deleted it.
#[derive(Debug)]
pub struct JournalFile {
    /// Its name in the folder `journal`.
    pub name: String,
    /// At its beginning.
    pub file: File,
    /// How many bytes of it belong to the snapshot.
    pub bytes: u64,
}

/// A ledger as it is at one moment. While it lives the sidecar goes on writing, and cannot begin its
/// write-ahead log anew.
#[derive(Debug)]
pub struct Snapshot {
    connection: Connection,
    path: PathBuf,
    journal: Vec<JournalFile>,
}

impl Snapshot {
    /// Takes the snapshot of the ledger in `data_dir`, of whatever version. Writes nothing there.
    pub fn take(data_dir: &Path) -> Result<Self, CopyError> {
        let path = database::path_in(data_dir);
        if !fs::metadata(&path).is_ok_and(|file| file.len() > 0) {
            return Err(QueryError::NoLedger { path }.into());
        }
        let unreadable = |source| QueryError::Database {
            path: path.clone(),
            source,
        };
        let (connection, _) = connect(&path).map_err(unreadable)?;
        // Before the moment too: the sidecar deletes files that its database has caught up with.
        let mut journal = BTreeMap::new();
        open_journal(data_dir, &mut journal)?;
        // The first look at the database fixes the moment, until the transaction ends.
        connection
            .execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema")
            .map_err(unreadable)?;
        open_journal(data_dir, &mut journal)?;
        let journal = journal.into_iter().map(|(name, file)| {
            let bytes = file.metadata().map_err(|source| CopyError::Journal {
                path: journal_folder(data_dir).join(&name),
                source,
            })?;
            let bytes = bytes.len();
            Ok(JournalFile { name, file, bytes })
        });
        let journal = journal.collect::<Result<_, CopyError>>()?;
        Ok(Self {
            connection,
            path,
            journal,
        })
    }

    /// Writes the database to the file `to`, which its owner alone can read, and syncs it. In one
    /// step, as another process's write in between would make SQLite begin again; memory is
    /// a page cache's. Ends the snapshot, so that nobody waits for whoever takes the copy, and
    /// returns what the journal holds that the database may lack.
    pub fn copy_to(self, to: &Path) -> Result<Vec<JournalFile>, CopyError> {
        let failed = |source| CopyError::Copy {
            from: self.path.clone(),
            to: to.to_owned(),
            source,
        };
        make_private(to).map_err(|error| {
            let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN);
            failed(rusqlite::Error::SqliteFailure(
                code,
                Some(error.to_string()),
            ))
        })?;
        let mut copy = Connection::open(to).map_err(failed)?;
        let done = Backup::new(&self.connection, &mut copy)
            .and_then(|backup| backup.step(-1))
            .map_err(failed)?;
        if done == StepResult::Done {
            return Ok(self.journal);
        }
        let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
        Err(failed(rusqlite::Error::SqliteFailure(busy, None)))
    }
}

/// Opens the journal's files that are not open yet. One that is gone in between is in the database.
fn open_journal(data_dir: &Path, open: &mut BTreeMap<String, File>) -> Result<(), CopyError> {
    let folder = journal_folder(data_dir);
    let failed = |path: &Path, source| CopyError::Journal {
        path: path.to_owned(),
        source,
    };
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(failed(&folder, source)),
    };
    for entry in entries {
        let entry = entry.map_err(|source| failed(&folder, source))?;
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
            continue;
        };
        if !is_journal_file(&name) || open.contains_key(&name) {
            continue;
        }
        match File::open(entry.path()) {
            Ok(file) => {
                open.insert(name, file);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(failed(&entry.path(), source)),
        }
    }
    Ok(())
}

/// Whether a file of the folder `journal` holds entries: locks do not.
#[must_use]
pub fn is_journal_file(name: &str) -> bool {
    let is_log = Path::new(name).extension().is_some_and(|it| it == "log");
    !name.contains('/') && (is_log || name == "rejected")
}
