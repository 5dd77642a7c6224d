//! The journal's folder: streams, their files and who is alive.
//!
//! Each process appends to a stream of its own, `<stream>-<offset>.log`, where the offset is that
//! of the file's first byte in the stream. It holds a lock on `<stream>.lock` for as long as it
//! may append. Nobody else ever appends to that stream, so a torn end is simply its end.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use uuid::Uuid;

/// The files of one stream.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::ledger) struct Stream {
    /// UUIDv7: streams sort by when they began.
    pub(in crate::ledger) id: Uuid,
    folder: Arc<Path>,
}

/// Makes a folder that only its owner may enter, and its parents; one that is there stays as it is.
pub fn make_private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes an empty file that only its owner may read, if there is none. One that is there is not
/// opened: closing it again would free the locks (POSIX ones) that SQLite has on a database.
pub(in crate::ledger) fn make_private(path: &Path) -> io::Result<()> {
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    match made {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Opens (or makes) a file that only its owner may read, without truncating it.
pub(in crate::ledger) fn open_private(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

impl Stream {
    /// A new stream in `folder`, with the lock that says its process is alive.
    pub(super) fn create(folder: &Path) -> io::Result<(Self, File)> {
        let stream = Self {
            id: Uuid::now_v7(),
            folder: folder.into(),
        };
        // Under the folder's lock nobody can meet the file before it is locked.
        let _folder = lock_folder(folder)?;
        let alive = open_private(&stream.lock_path())?;
        alive.lock()?;
        Ok((stream, alive))
    }

    /// Every stream in `folder` that has a file, in order of creation.
    pub(in crate::ledger) fn list(folder: &Path) -> io::Result<Vec<Self>> {
        let folder: Arc<Path> = folder.into();
        let mut streams = BTreeMap::new();
        for entry in fs::read_dir(&folder)? {
            let name = entry?.file_name();
            let id = name.to_str().and_then(|name| {
                let id = name.split_once('-').map(|(id, _)| id);
                id.or_else(|| name.strip_suffix(".lock"))
            });
            if let Some(id) = id.and_then(|id| Uuid::try_parse(id).ok()) {
                streams.entry(id).or_insert_with(|| Self {
                    id,
                    folder: Arc::clone(&folder),
                });
            }
        }
        Ok(streams.into_values().collect())
    }

    /// Whether its process may still append. To be asked before its files are read to their end.
    pub(in crate::ledger) fn is_alive(&self) -> io::Result<bool> {
        let _folder = lock_folder(&self.folder)?;
        let file = match File::open(self.lock_path()) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// The offsets its files start at, ascending.
    pub(in crate::ledger) fn starts(&self) -> io::Result<Vec<u64>> {
        let mut starts = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let name = entry?.file_name();
            let start: Option<u64> = name
                .to_str()
                .and_then(|name| name.strip_suffix(".log")?.split_once('-'))
                .filter(|(id, _)| Uuid::try_parse(id) == Ok(self.id))
                .and_then(|(_, start)| start.parse().ok());
            starts.extend(start);
        }
        starts.sort_unstable();
        Ok(starts)
    }

    /// Where the last file ends at present.
    pub(in crate::ledger) fn end(&self) -> io::Result<u64> {
        match self.starts()?.last() {
            None => Ok(0),
            Some(&start) => Ok(start + fs::metadata(self.path(start))?.len()),
        }
    }

    /// Makes the file that starts at `start` and asks the file system to keep `reserve` bytes for
    /// it, so that a disk which fills up hits others first. Where it cannot, that is as well.
    pub(super) fn create_segment(&self, start: u64, reserve: u64) -> io::Result<File> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.path(start))?;
        let _unsupported_or_full =
            rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::KEEP_SIZE, 0, reserve);
        Ok(file)
    }

    /// Opens the file that starts at `start` for reading.
    pub(super) fn open_segment(&self, start: u64) -> io::Result<File> {
        File::open(self.path(start))
    }

    /// Deletes the files that lie wholly before `offset`.
    pub(in crate::ledger) fn delete_before(&self, offset: u64) -> io::Result<()> {
        let starts = self.starts()?;
        for pair in starts.windows(2) {
            if pair[1] <= offset {
                fs::remove_file(self.path(pair[0]))?;
            }
        }
        Ok(())
    }

    /// Deletes all of a dead stream's files, and makes sure they stay deleted after a power cut.
    pub(in crate::ledger) fn delete(&self) -> io::Result<()> {
        for start in self.starts()? {
            fs::remove_file(self.path(start))?;
        }
        match fs::remove_file(self.lock_path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.sync_folder()
    }

    /// Makes the names of files made or deleted survive a power cut.
    pub(super) fn sync_folder(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }

    fn path(&self, start: u64) -> PathBuf {
        self.folder
            .join(format!("{}-{start:020}.log", self.id.simple()))
    }

    fn lock_path(&self) -> PathBuf {
        self.folder.join(format!("{}.lock", self.id.simple()))
    }
}

/// Held only while a lock file is made or looked at.
fn lock_folder(folder: &Path) -> io::Result<File> {
    let file = File::open(folder)?;
    file.lock()?;
    Ok(file)
}
