//! A data folder into which a backup goes: nobody else uses it meanwhile, and nobody takes what a
//! restore that broke off has left there for a ledger.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::journal::segment::open_private;
use super::migrations::{self, MigrationError};
use super::query::immutable_uri;
use super::{OpenError, lock, make_private_folder, take_role};

/// The file that is in a data folder for as long as files are moved into and out of it. Each line
/// names the folder with what was there before.
const MOVING: &str = "restore.moving";

/// A data folder that no sidecar uses, and none can while this lives.
#[derive(Debug)]
pub struct Claim {
    data_dir: PathBuf,
    _lock: lock::WriterLock,
}

impl Claim {
    /// Claims the folder, which is made when it is not there. Fails with [`OpenError::InUse`] while
    /// a sidecar runs.
    pub fn of(data_dir: &Path) -> Result<Self, OpenError> {
        make_private_folder(data_dir)
            .map_err(|source| OpenError::io("make the folder", data_dir, source))?;
        Ok(Self {
            data_dir: data_dir.to_owned(),
            _lock: take_role(data_dir)?,
        })
    }

    /// Notes that files are moved from here on: until [`Moving::done`], this is no ledger. What was
    /// there goes into the folder `aside`.
    pub fn begin_moving(&self, aside: Option<&Path>) -> Result<Moving, OpenError> {
        let marker = self.data_dir.join(MOVING);
        let before = match fs::read(&marker) {
            Ok(before) => Some(before),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(OpenError::io("read", &marker, source)),
        };
        let moving = Moving { marker, before };
        let mut text = moving.before.clone().unwrap_or_default();
        if let Some(aside) = aside {
            text.extend_from_slice(format!("{}\n", aside.display()).as_bytes());
        }
        match moving.write(&text) {
            Ok(()) => Ok(moving),
            Err(source) => {
                let error = OpenError::io("write", &moving.marker, source);
                moving.taken_back()?;
                Err(error)
            }
        }
    }
}

/// Files are being moved. Dropped without a word, as a kill does, nothing opens the ledger.
#[derive(Debug)]
#[must_use]
pub struct Moving {
    marker: PathBuf,
    /// What an earlier one has left that broke off.
    before: Option<Vec<u8>>,
}

impl Moving {
    /// What is there is a ledger.
    pub fn done(self) -> Result<(), OpenError> {
        self.remove()
            .map_err(|source| OpenError::io("remove", &self.marker, source))
    }

    /// Everything is as it was: a ledger, unless an earlier restore broke off.
    pub fn taken_back(self) -> Result<(), OpenError> {
        match &self.before {
            None => self.done(),
            Some(before) => self
                .write(before)
                .map_err(|source| OpenError::io("write", &self.marker, source)),
        }
    }

    fn write(&self, text: &[u8]) -> io::Result<()> {
        let mut file = open_private(&self.marker)?;
        file.set_len(0)?;
        file.write_all(text)?;
        file.sync_all()?;
        self.sync_folder()
    }

    fn remove(&self) -> io::Result<()> {
        // What was moved lasts before the word about it is gone.
        self.sync_folder()?;
        match fs::remove_file(&self.marker) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => self.sync_folder(),
        }
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.marker
            .parent()
            .map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    }
}

/// Why a copy of a database is not to become a ledger.
#[derive(Debug, thiserror::Error)]
pub enum CopyFault {
    /// It comes from a newer Tollgate.
    #[error("its schema version is {found}, and this tollgate knows up to {known}")]
    Newer {
        /// Its `user_version`.
        found: i64,
        /// The newest version this program knows.
        known: i64,
    },
    /// It is none of Tollgate's.
    #[error("it has no schema of Tollgate's")]
    NoLedger,
    /// SQLite finds something wrong with it.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// SQLite cannot read it.
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] rusqlite::Error),
}

/// Reads the whole of a database that nobody has open, and says whether this program can go on with
/// it. Writes nothing. Blocks until done.
pub fn examine_copy(path: &Path) -> Result<(), CopyFault> {
    let connection = Connection::open_with_flags(
        immutable_uri(path),
        OpenFlags::SQLITE_OPEN_READ_ONLY
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_URI,
    )?;
    connection.pragma_update(None, "trusted_schema", false)?;
    match migrations::refuse_newer(&connection) {
        Ok(()) => {}
        Err(MigrationError::Newer(found)) => {
            return Err(CopyFault::Newer {
                found,
                known: migrations::VERSION,
            });
        }
        Err(MigrationError::Database(error)) => return Err(error.into()),
    }
    if migrations::version_of(&connection)? == 0 {
        return Err(CopyFault::NoLedger);
    }
    let check = |row: &rusqlite::Row<'_>| row.get::<_, String>(0);
    match connection.query_row("PRAGMA quick_check(1)", [], check) {
        Ok(found) if found == "ok" => Ok(()),
        Ok(found) => Err(CopyFault::Damaged(found)),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) => {
            Err(CopyFault::Damaged(error.to_string()))
        }
        Err(error) => Err(error.into()),
    }
}

/// Fails with [`OpenError::HalfRestored`] where a restore has begun to move files and not ended.
pub(super) fn refuse_half_restored(data_dir: &Path) -> Result<(), OpenError> {
    let marker = data_dir.join(MOVING);
    let aside = match fs::read_to_string(&marker) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        // That it is there is enough.
        aside => aside.unwrap_or_default(),
    };
    let aside: Vec<&str> = aside.lines().collect();
    Err(OpenError::HalfRestored {
        marker,
        aside: aside.join(", "),
    })
}
