//! What the data folder takes of its file system, and what is left there: asked when somebody wants to
//! know, never in the way of a record.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::statvfs;

use super::database;

/// The folder of a ledger's files, for whoever asks how large they are.
#[derive(Clone, Debug)]
pub struct Storage {
    data_dir: PathBuf,
}

/// A file system's room, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// What this process may still write: blocks that are kept for root do not count.
    pub free_bytes: u64,
    /// All of it.
    pub size_bytes: u64,
}

impl Storage {
    /// Of the ledger in `data_dir`.
    #[must_use]
    pub fn new(data_dir: &Path) -> Self {
        Self {
            data_dir: data_dir.to_owned(),
        }
    }

    /// Bytes of the database with its write-ahead log; `None` when they cannot be asked for.
    #[must_use]
    pub fn database_bytes(&self) -> Option<u64> {
        let database = database::path_in(&self.data_dir);
        let length = fs::metadata(&database).ok()?.len();
        let log = match fs::metadata(database::log_of(&database)) {
            Ok(log) => log.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(_) => return None,
        };
        Some(length.saturating_add(log))
    }

    /// The room of the file system that the folder is on; `None` when it does not say.
    #[must_use]
    pub fn room(&self) -> Option<Room> {
        let stated = statvfs(&self.data_dir).ok()?;
        let size_bytes = stated.f_blocks.saturating_mul(stated.f_frsize);
        // Some network file systems answer with zeros, which would read as a full disk.
        (size_bytes > 0).then(|| Room {
            free_bytes: stated.f_bavail.saturating_mul(stated.f_frsize),
            size_bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_counts_with_its_log_and_what_is_not_there_is_unknown() {
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::new(folder.path());
        assert_eq!(storage.database_bytes(), None);
        fs::write(folder.path().join("tollgate.db"), [0; 300]).unwrap();
        assert_eq!(storage.database_bytes(), Some(300));
        fs::write(folder.path().join("tollgate.db-wal"), [0; 20]).unwrap();
        assert_eq!(storage.database_bytes(), Some(320));

        let room = storage.room().unwrap();
        assert!(room.size_bytes >= room.free_bytes, "{room:?}");
        assert_eq!(Storage::new(&folder.path().join("gone")).room(), None);
    }
}
