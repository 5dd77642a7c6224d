//! The operator's price files of a running sidecar: read again when they change.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::load::load_files;
use super::running::{Prices, Refresh};
use crate::clock::UnixMicros;
use crate::config::{FileStates, Problems};

/// The files of `prices.files`, and the state of them that was read last.
#[derive(Debug, Default)]
pub(super) struct Files {
    paths: Vec<PathBuf>,
    /// Also held while they are read: who reads later has the newer table.
    seen: Mutex<FileStates>,
}

impl Files {
    /// To be asked before the files are read: what changes in between is then seen as a change.
    pub(super) fn new(paths: Vec<PathBuf>) -> Self {
        let seen = Mutex::new(FileStates::of(&paths));
        Self { paths, seen }
    }

    fn seen(&self) -> MutexGuard<'_, FileStates> {
        // A list that is replaced whole.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Prices {
    /// The operator's files, read now, before what Tollgate ships.
    pub fn of_files(paths: Vec<PathBuf>) -> Result<Self, Problems> {
        let files = Files::new(paths);
        let own = load_files(&files.paths)?;
        let mut prices = Self::new(own);
        prices.files = files;
        Ok(prices)
    }

    /// Reads the operator's files again where one of them changed since they were read last;
    /// `None` when none did. Blocks for the reading.
    pub fn reload_if_changed(&self, now: UnixMicros) -> Option<Result<Refresh, Problems>> {
        let mut seen = self.files.seen();
        let found = FileStates::of(&self.files.paths);
        if *seen == found {
            return None;
        }
        // Also of what is wrong: it is told once.
        *seen = found;
        let read = load_files(&self.files.paths).map(|own| self.set_own(own));
        let result = *read.as_ref().unwrap_or(&Refresh::Refused);
        self.reloads.note(result, now);
        Some(read)
    }

    /// Reads the operator's files again, whether or not they seem to have changed (a file system's
    /// clock is coarse), all or nothing: where one of them is wrong the table stays as it is.
    /// Blocks for the reading.
    pub fn reload(&self, now: UnixMicros) -> Result<Refresh, Problems> {
        let mut seen = self.files.seen();
        let found = FileStates::of(&self.files.paths);
        let result = self.set_own(load_files(&self.files.paths)?);
        *seen = found;
        if result == Refresh::Updated {
            self.reloads.note(result, now);
        }
        Ok(result)
    }
}
