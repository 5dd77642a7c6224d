//! The secret of the keyed hashes: a file beside the ledger, made at first need.
//!
//! Whoever has the database alone can neither find a key from its hash nor a caller's credential
//! from its fingerprint. Whoever loses this file loses the keys that were made with it.
//!
//! Where the file cannot be made, fingerprints are told by a secret in memory until it can.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};

/// Bytes of the secret: those of the hash (RFC 2104, 3).
const BYTES: usize = 32;

/// The file's name in the data folder.
const FILE: &str = "key-secret";

/// What hashes keys and credentials. Neither prints the secret.
#[derive(Debug)]
pub struct Pepper {
    keys: hmac::Key,
    fingerprints: hmac::Key,
    /// The secret, as long as no file has it.
    unkept: Option<Unkept>,
}

/// A secret that is in memory alone.
struct Unkept([u8; BYTES]);

/// Without the secret.
impl std::fmt::Debug for Unkept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unkept").finish_non_exhaustive()
    }
}

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
pub enum PepperError {
    /// There is no file, and none can be made.
    #[error("cannot {action} {path}, the secret of the clients' keys: {source}")]
    Make {
        /// What was tried.
        action: &'static str,
        /// The file or its folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file cannot be read.
    #[error("cannot read {path}, the secret of the clients' keys: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file is another user's, who alone may read it.
    #[error(
        "cannot read {path}, the secret of the clients' keys: it belongs to the user {owner}, and \
         this is the user {own}; give it to the user that Tollgate runs as (`chown {own} {path}`), \
         and run `tollgate keys` as that user"
    )]
    NotOurs {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who wants to read it.
        own: u32,
    },
    /// The file holds something else.
    #[error(
        "{path}, the secret of the clients' keys, has {found} bytes instead of {BYTES}: put the \
         right file back, or delete it and make every key anew"
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

impl Pepper {
    /// The secret of the data folder, made (readable by the owner only) when there is none, and
    /// whether it was made.
    pub fn open(data_dir: &Path) -> Result<(Self, bool), PepperError> {
        let path = data_dir.join(FILE);
        if let Some(secret) = read(&path)? {
            return Ok((Self::of(&secret), false));
        }
        let made = make(&path, &random()?)?;
        Ok((Self::in_file(&path)?, made))
    }

    /// A secret that ends with the process, unless [`keep`](Self::keep) makes it the data folder's.
    pub(super) fn in_memory() -> Result<Self, PepperError> {
        let secret = random()?;
        Ok(Self {
            unkept: Some(Unkept(secret)),
            ..Self::of(&secret)
        })
    }

    /// Makes a secret in memory the data folder's; `None` where that is done. The answer has
    /// another secret where another process was faster, or somebody put a file there.
    pub(super) fn keep(&self, data_dir: &Path) -> Result<Option<Self>, PepperError> {
        let Some(Unkept(secret)) = &self.unkept else {
            return Ok(None);
        };
        let path = data_dir.join(FILE);
        if read(&path)?.is_none() {
            make(&path, secret)?;
        }
        Self::in_file(&path).map(Some)
    }

    /// What is in the file holds: another process may have been faster to make it.
    fn in_file(path: &Path) -> Result<Self, PepperError> {
        let secret = read(path)?.ok_or_else(|| PepperError::Read {
            path: path.to_owned(),
            source: io::ErrorKind::NotFound.into(),
        })?;
        Ok(Self::of(&secret))
    }

    /// Two hashes that have nothing to do with each other: what is shown of one (fingerprints stand
    /// in the ledger) says nothing of the other.
    fn of(secret: &[u8; BYTES]) -> Self {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let derived = |purpose: &[u8]| {
            hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&secret, purpose).as_ref())
        };
        Self {
            keys: derived(b"tollgate keys"),
            fingerprints: derived(b"tollgate fingerprints"),
            unkept: None,
        }
    }

    /// The hash that a key is kept as and found by.
    #[must_use]
    pub fn hash(&self, key: &[u8]) -> [u8; 32] {
        digest(&self.keys, key)
    }

    /// The hash that a provider's credential is told apart by.
    pub(super) fn fingerprint(&self, credential: &[u8]) -> [u8; 32] {
        digest(&self.fingerprints, credential)
    }
}

fn digest(key: &hmac::Key, text: &[u8]) -> [u8; 32] {
    let tag = hmac::sign(key, text);
    let mut bytes = [0; 32];
    bytes.copy_from_slice(tag.as_ref());
    bytes
}

/// Random bytes from the system.
pub(super) fn random() -> Result<[u8; BYTES], PepperError> {
    let mut bytes = [0; BYTES];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| PepperError::NoRandom)?;
    Ok(bytes)
}

fn read(path: &Path) -> Result<Option<[u8; BYTES]>, PepperError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(path, error)),
    };
    let mut bytes = Vec::new();
    file.take(BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(path, error))?;
    let found = bytes.len();
    match bytes.try_into() {
        Ok(secret) => Ok(Some(secret)),
        Err(_) => Err(PepperError::Damaged {
            path: path.to_owned(),
            found,
        }),
    }
}

/// Makes the file whole or not at all; `false` when another process was faster.
fn make(path: &Path, secret: &[u8; BYTES]) -> Result<bool, PepperError> {
    let written = path.with_file_name(format!("{FILE}.{}", uuid::Uuid::now_v7()));
    let write = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&written)?;
        Ok((file.write_all(secret), file))
    };
    let linked = write().and_then(|(filled, file): (io::Result<()>, File)| {
        filled?;
        file.sync_all()?;
        // Unlike a rename it never replaces.
        fs::hard_link(&written, path)
    });
    // Under its other name it stays.
    let _ = fs::remove_file(&written);
    match linked {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(source) => Err(PepperError::Make {
            action: "make",
            path: path.to_owned(),
            source,
        }),
    }
}

/// Why it cannot be read. `tollgate keys` makes it as whoever runs it, who may be another user than
/// the sidecar's.
fn unreadable(path: &Path, source: io::Error) -> PepperError {
    let path = path.to_owned();
    let own = rustix::process::geteuid().as_raw();
    match fs::metadata(&path) {
        Ok(file) if source.kind() == io::ErrorKind::PermissionDenied && file.uid() != own => {
            PepperError::NotOurs {
                path,
                owner: file.uid(),
                own,
            }
        }
        _ => PepperError::Read { path, source },
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
        let made: usize = thread::scope(|scope| {
            let opened: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| Pepper::open(folder.path()).unwrap()))
                .collect();
            let opened: Vec<_> = opened
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect();
            let hashes: std::collections::BTreeSet<_> = opened
                .iter()
                .map(|(pepper, _)| pepper.hash(b"tg-a"))
                .collect();
            assert_eq!(hashes.len(), 1);
            opened.iter().filter(|(_, made)| *made).count()
        });
        assert!(made <= 1);
        let file = fs::metadata(folder.path().join(FILE)).unwrap();
        assert_eq!(file.permissions().mode() & 0o777, 0o600);
        let files = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(files, 1);

        let (again, made) = Pepper::open(folder.path()).unwrap();
        assert!(!made);
        let elsewhere = tempfile::tempdir().unwrap();
        let (other, made) = Pepper::open(elsewhere.path()).unwrap();
        assert!(made);
        assert_ne!(again.hash(b"tg-a"), other.hash(b"tg-a"));
        assert_ne!(again.fingerprint(b"sk-a"), other.fingerprint(b"sk-a"));
        assert_ne!(again.hash(b"sk-a"), again.fingerprint(b"sk-a"));
    }

    #[test]
    fn a_damaged_file_is_told_and_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        for bytes in [0, 31, 33] {
            fs::write(&path, vec![7; bytes]).unwrap();
            let error = Pepper::open(folder.path()).unwrap_err();
            assert!(matches!(error, PepperError::Damaged { found, .. } if found == bytes));
            assert_eq!(fs::read(&path).unwrap().len(), bytes);
        }
    }

    #[test]
    fn a_secret_in_memory_becomes_the_folders_once_it_can() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = &folder.path().join("data");
        let memory = Pepper::in_memory().unwrap();
        assert!(matches!(
            memory.keep(data_dir),
            Err(PepperError::Make { .. })
        ));
        fs::create_dir(data_dir).unwrap();
        let kept = memory.keep(data_dir).unwrap().unwrap();
        assert_eq!(kept.hash(b"tg-a"), memory.hash(b"tg-a"));
        assert!(kept.keep(data_dir).unwrap().is_none());
        let (opened, made) = Pepper::open(data_dir).unwrap();
        assert!(!made);
        assert_eq!(opened.hash(b"tg-a"), memory.hash(b"tg-a"));
        // What is there already holds.
        let late = Pepper::in_memory().unwrap().keep(data_dir).unwrap();
        assert_eq!(late.unwrap().hash(b"tg-a"), memory.hash(b"tg-a"));
    }

    #[test]
    fn a_secret_in_memory_does_not_print_itself() {
        let memory = Pepper::in_memory().unwrap();
        let secret = format!("{:?}", memory.unkept.as_ref().unwrap().0);
        let printed = format!("{memory:?}");
        assert!(!printed.contains(secret.trim_matches(['[', ']'])));
    }

    #[test]
    fn another_users_file_is_told_with_what_to_do() {
        use std::os::unix::fs::chown;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        fs::write(&path, "x").unwrap();
        let denied = || io::Error::from(io::ErrorKind::PermissionDenied);
        // One's own: its mode is wrong.
        assert!(matches!(
            unreadable(&path, denied()),
            PepperError::Read { .. }
        ));
        // Root alone can give a file away.
        if chown(&path, Some(65_534), None).is_ok() {
            let said = unreadable(&path, denied()).to_string();
            let own = rustix::process::geteuid().as_raw();
            assert!(said.contains("belongs to the user 65534"), "{said}");
            assert!(
                said.contains(&format!("chown {own} {}", path.display())),
                "{said}"
            );
        }
    }
}
