//! The writer's role: a lock on `tollgate.lock` in the data folder, so that one process at a time
//! writes the database. The system frees it when its holder dies, however that happens.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::Path;

use super::journal::segment::open_private;

/// The writer's role, for as long as it lives.
#[derive(Debug)]
pub(super) struct WriterLock {
    /// Held for its lock. The file stays when it is freed: deleting it would let two processes
    /// each lock a file of that name.
    _file: File,
}

/// Takes the role; `None` when another process has it.
pub(super) fn try_acquire(data_dir: &Path) -> io::Result<Option<WriterLock>> {
    let mut file = open_private(&data_dir.join("tollgate.lock"))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    // Who holds it is only for the message to others; a full disk must not refuse the role.
    let _for_the_message = file
        .set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(Some(WriterLock { _file: file }))
}

/// The process that has the role, as far as it said so.
pub(super) fn holder(data_dir: &Path) -> Option<u32> {
    fs::read_to_string(data_dir.join("tollgate.lock"))
        .ok()?
        .trim()
        .parse()
        .ok()
}
