//! The secret that answers are signed with: a file beside the ledger, made at the first start.
//!
//! Whoever loses it loses nothing but the buttons under messages that were sent already.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom as _, SystemRandom};
use uuid::Uuid;

/// Bytes of the secret: those of the hash (RFC 2104, 3).
pub(super) const BYTES: usize = 32;

/// The file's name in the data folder.
pub(super) const FILE: &str = "answers.key";

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It cannot be made.
    #[error("cannot make {path}, what answers from chats are signed with: {source}")]
    Make {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// It cannot be read.
    #[error(
        "cannot read {path}, what answers from chats are signed with: {source}; let the user that \
         Tollgate runs as read it, or delete it and a new one is made"
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// It holds something else.
    #[error(
        "{path}, what answers from chats are signed with, has {found} bytes instead of {BYTES}: \
         delete it, and a new one is made (buttons under earlier messages work no more)"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Its size, as far as it was read.
        found: usize,
    },
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    NoRandom,
}

/// The secret of the data folder, made (readable by the owner only) when there is none. Of two
/// processes at once the faster one's holds for both.
pub(super) fn open(data_dir: &Path) -> Result<[u8; BYTES], KeyFileError> {
    let path = data_dir.join(FILE);
    if let Some(secret) = read(&path)? {
        return Ok(secret);
    }
    let mut secret = [0; BYTES];
    let filled = SystemRandom::new().fill(&mut secret);
    filled.map_err(|_| KeyFileError::NoRandom)?;
    make(&path, &secret)?;
    read(&path)?.ok_or_else(|| KeyFileError::Read {
        path,
        source: io::ErrorKind::NotFound.into(),
    })
}

fn read(path: &Path) -> Result<Option<[u8; BYTES]>, KeyFileError> {
    let failed = |source| KeyFileError::Read {
        path: path.to_owned(),
        source,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    // One more than it should have shows that it is too long.
    file.take(BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    let found = bytes.len();
    let secret = bytes.try_into().map_err(|_| KeyFileError::Damaged {
        path: path.to_owned(),
        found,
    });
    secret.map(Some)
}

/// Makes the file whole or not at all, and never in place of another.
fn make(path: &Path, secret: &[u8; BYTES]) -> Result<(), KeyFileError> {
    let written = path.with_file_name(format!("{FILE}.{}", Uuid::now_v7()));
    let write = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&written)?;
        file.write_all(secret)?;
        file.sync_all()?;
        // Unlike a rename it never replaces.
        fs::hard_link(&written, path)
    };
    let linked = write();
    // Under its other name it stays.
    let _ = fs::remove_file(&written);
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(KeyFileError::Make {
            path: path.to_owned(),
            source: error,
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::thread;

    use super::*;

    #[test]
    fn one_secret_a_folder_whoever_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        let secrets: Vec<_> = thread::scope(|scope| {
            let opening: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| open(folder.path()).unwrap()))
                .collect();
            let opened = opening.into_iter().map(|thread| thread.join().unwrap());
            opened.collect()
        });
        assert!(secrets.windows(2).all(|pair| pair[0] == pair[1]));
        let file = fs::metadata(folder.path().join(FILE)).unwrap();
        assert_eq!(file.permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let elsewhere = tempfile::tempdir().unwrap();
        assert_ne!(open(elsewhere.path()).unwrap(), secrets[0]);
    }

    #[test]
    fn a_damaged_file_is_told_and_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        for bytes in [0, 31, 33] {
            fs::write(&path, vec![7; bytes]).unwrap();
            let error = open(folder.path()).unwrap_err();
            assert!(matches!(error, KeyFileError::Damaged { found, .. } if found == bytes));
            assert_eq!(fs::read(&path).unwrap().len(), bytes);
        }
        let missing = folder.path().join("no such folder");
        assert!(matches!(open(&missing), Err(KeyFileError::Make { .. })));
    }
}
