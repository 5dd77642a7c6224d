//! Noticing that files changed without reading them.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::SystemTime;

/// What tells one state of files from another: when each was written, its size, and which file it is
/// (an editor puts a new one in the place of the old). A folder's state changes with the names in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileStates(Vec<Option<State>>);

/// One file's; none when it cannot be asked.
type State = (Option<SystemTime>, u64, u64);

impl FileStates {
    /// As these are now. To be asked before they are read: what changes in between is then seen as a
    /// change.
    #[must_use]
    pub fn of(paths: &[PathBuf]) -> Self {
        let state = |path: &PathBuf| {
            let metadata = fs::metadata(path).ok()?;
            Some((metadata.modified().ok(), metadata.len(), metadata.ino()))
        };
        Self(paths.iter().map(state).collect())
    }
}
