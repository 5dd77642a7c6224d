//! The last good catalogue on disk: one file in `data_dir/prices`, a line about it and then its
//! text, put there as a whole by a rename.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::clock::UnixMicros;
use crate::ledger::make_private_folder;
use crate::pricing::MOST_CATALOGUE_BYTES;

/// The file's name.
const FILE: &str = "catalogue";

/// Room for the line about it.
const MOST_LINE_BYTES: u64 = 64 * 1024;

/// Where a catalogue came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Its address, or its file's path.
    pub address: String,
    /// What the server calls this version of it.
    pub etag: Option<String>,
    /// When the server says it changed.
    pub last_modified: Option<String>,
    /// When it was fetched.
    pub fetched_at: UnixMicros,
}

impl Origin {
    /// The moment whose prices it states: when the server says it changed, else when it was fetched.
    #[must_use]
    pub fn as_of(&self) -> UnixMicros {
        let stated = self.last_modified.as_deref();
        let stated = stated.and_then(|date| jiff::fmt::rfc2822::parse(date).ok());
        let stated = stated.map(|date| UnixMicros::from(date.timestamp()));
        stated.map_or(self.fetched_at, |at| at.min(self.fetched_at))
    }
}

/// A catalogue as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastGood {
    /// Where from.
    pub origin: Origin,
    /// Its text.
    pub text: String,
}

/// The line before the text.
#[derive(Serialize, Deserialize)]
struct Line {
    #[serde(flatten)]
    origin: Origin,
    bytes: u64,
    crc32: u32,
}

/// Why the last good catalogue cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system's own reason.
    #[error("cannot {verb} {path}: {source}")]
    Io {
        /// What was tried.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file is not what was written.
    #[error("{path} is damaged: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How that shows.
        reason: &'static str,
    },
}

/// The folder of the last good catalogue.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
    seen: Arc<Mutex<Option<Face>>>,
}

/// What tells one file of this name from the next without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Face {
    inode: u64,
    changed_at: (i64, i64),
}

impl Store {
    /// In a data folder, which need not exist yet.
    #[must_use]
    pub fn new(data_dir: &Path) -> Self {
        Self {
            folder: data_dir.join("prices"),
            seen: Arc::default(),
        }
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.folder.join(FILE)
    }

    /// Reads the file when it is another one than this store last read or wrote.
    pub fn load_if_changed(&self) -> Result<Option<LastGood>, StoreError> {
        let face = self.face();
        if face.is_none() || face == *self.seen() {
            return Ok(None);
        }
        self.load()
    }

    /// Reads the file; `None` when there is none.
    pub fn load(&self) -> Result<Option<LastGood>, StoreError> {
        let path = self.file();
        let failed = |source| StoreError::Io {
            verb: "read",
            path: path.clone(),
            source,
        };
        let damaged = |reason| StoreError::Damaged {
            path: path.clone(),
            reason,
        };
        *self.seen() = self.face();
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mut bytes = Vec::new();
        file.take(MOST_CATALOGUE_BYTES + MOST_LINE_BYTES)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        let end = memchr::memchr(b'\n', &bytes).ok_or_else(|| damaged("it has no first line"))?;
        let line: Line = serde_json::from_slice(&bytes[..end])
            .map_err(|_| damaged("its first line is not readable"))?;
        let body = &bytes[end + 1..];
        if body.len() as u64 != line.bytes || crc32fast::hash(body) != line.crc32 {
            return Err(damaged("its text is not the one that was written"));
        }
        let text = std::str::from_utf8(body)
            .map_err(|_| damaged("its text is not UTF-8"))?
            .to_owned();
        Ok(Some(LastGood {
            origin: line.origin,
            text,
        }))
    }

    /// The text of any catalogue file.
    pub fn read_text(path: &Path) -> Result<String, StoreError> {
        let failed = |source| StoreError::Io {
            verb: "read",
            path: path.to_owned(),
            source,
        };
        let mut text = String::new();
        File::open(path)
            .and_then(|file| {
                file.take(MOST_CATALOGUE_BYTES + 1)
                    .read_to_string(&mut text)
            })
            .map_err(failed)?;
        if text.len() as u64 > MOST_CATALOGUE_BYTES {
            return Err(failed(io::ErrorKind::FileTooLarge.into()));
        }
        Ok(text)
    }

    /// Puts a catalogue in the place of the last one, as a whole or not at all.
    pub fn save(&self, good: &LastGood) -> Result<(), StoreError> {
        let path = self.file();
        let failed = |source| StoreError::Io {
            verb: "write",
            path: path.clone(),
            source,
        };
        let line = Line {
            origin: good.origin.clone(),
            bytes: good.text.len() as u64,
            crc32: crc32fast::hash(good.text.as_bytes()),
        };
        let write = || {
            make_private_folder(&self.folder)?;
            // A name of this process's own: two that write at once must not mix their bytes.
            let new = self
                .folder
                .join(format!("{FILE}.{}.new", std::process::id()));
            let put = || {
                let mut file = File::create(&new)?;
                serde_json::to_writer(&mut file, &line)?;
                file.write_all(b"\n")?;
                file.write_all(good.text.as_bytes())?;
                file.sync_all()?;
                fs::rename(&new, &path)
            };
            put().inspect_err(|_| {
                // What is left of it would only take room that may be missing already.
                let _ = fs::remove_file(&new);
            })?;
            File::open(&self.folder)?.sync_all()
        };
        write().map_err(failed)?;
        *self.seen() = self.face();
        Ok(())
    }

    fn face(&self) -> Option<Face> {
        let metadata = fs::metadata(self.file()).ok()?;
        Some(Face {
            inode: metadata.ino(),
            changed_at: (metadata.mtime(), metadata.mtime_nsec()),
        })
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Option<Face>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
