//! A file that says that every request needs a key: to a start that cannot read the database, and
//! after the last key was revoked.
//!
//! That it is there counts, not what it says. The ledger's writer alone makes and removes it, with
//! the change of the keys that it belongs to.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// The file's name in the data folder.
const FILE: &str = "keys-required";

/// For whoever finds it.
const WORDS: &str = "\
While this file is here, every request to Tollgate needs a key, whatever the database says or when
it cannot be read. `tollgate keys off` removes it once every key is revoked.
";

/// Where it is in a data folder.
pub(super) fn path_in(data_dir: &Path) -> PathBuf {
    data_dir.join(FILE)
}

/// Whether the data folder says that every request needs a key. One that cannot be asked does: it
/// must not open the gateway.
#[must_use]
pub fn keys_required(data_dir: &Path) -> bool {
    match fs::symlink_metadata(path_in(data_dir)) {
        Ok(_) => true,
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

/// Has the data folder say so, also after a power cut; whether it did not before.
pub(super) fn put(data_dir: &Path) -> io::Result<bool> {
    let path = path_in(data_dir);
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path);
    let made = match made {
        Ok(mut file) => {
            let written = file.write_all(WORDS.as_bytes());
            written.and_then(|()| file.sync_all()).inspect_err(|_| {
                // It would count all the same.
                let _ = fs::remove_file(&path);
            })?;
            true
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
        Err(error) => return Err(error),
    };
    sync(data_dir).inspect_err(|_| {
        if made {
            let _ = fs::remove_file(&path);
        }
    })?;
    Ok(made)
}

/// Has it say so no more, also after a power cut.
pub(super) fn remove(data_dir: &Path) -> io::Result<()> {
    match fs::remove_file(path_in(data_dir)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => sync(data_dir),
    }
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
