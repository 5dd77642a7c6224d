//! The clients' keys in the database: what the table `keys` holds, and who changes it.
//!
//! The ledger's writer alone changes it, between its rounds, so that one writer stays one writer.
//! Where no sidecar runs, [`change_key`] does it in the writer's place. A file beside the database
//! (`marker`) says that a key is required, for whoever cannot read it.

mod marker;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, Row, TransactionBehavior, params};

use super::control::{Change, Control};
use super::query::{self, QueryError, ReadError};
use super::stats::LedgerStats;
use super::{OpenError, caught_up, database, journal_folder, make_private_folder};
use crate::clock::UnixMicros;
use crate::config::KeyGrant;

pub use marker::keys_required;

/// A key as it is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// The keyed hash of what the client shows.
    pub hash: [u8; 32],
    /// Its name; unique among keys that are not revoked.
    pub name: Arc<str>,
    /// When it was made.
    pub created_at: UnixMicros,
    /// Since when it is good for nothing any more.
    pub revoked_at: Option<UnixMicros>,
    /// What it is good for, and until when.
    pub grant: KeyGrant,
    /// Who made it, as they call themselves.
    pub made_by: Arc<str>,
}

/// Without the hash.
impl std::fmt::Debug for StoredKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredKey")
            .field("name", &self.name)
            .field("revoked_at", &self.revoked_at)
            .finish_non_exhaustive()
    }
}

impl StoredKey {
    /// Whether nobody revoked it. It may have expired.
    #[must_use]
    pub fn is_living(&self) -> bool {
        self.revoked_at.is_none()
    }
}

/// What is to become of a key, or of all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyChange {
    /// It is made.
    Create(StoredKey),
    /// It is good for nothing from this moment on.
    Revoke {
        /// The key's name.
        name: Arc<str>,
        /// When.
        at: UnixMicros,
    },
    /// No request needs one any more. Every key must have been revoked.
    Off,
}

/// Why a key was not made or revoked, or keys are required still. Nothing is half done.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// This process does not write the ledger: it is closing, or another one has the role.
    #[error("this process is not (or no longer) the ledger's writer; ask again in a moment")]
    NotWriter,
    /// The name is in use.
    #[error("there is a key named `{0}` already; revoke it first, or take another name")]
    Taken(Arc<str>),
    /// No key has the name, or no longer.
    #[error("there is no key named `{0}` that could be revoked; `tollgate keys list` names them")]
    NoSuchKey(Arc<str>),
    /// Keys that were made are not revoked.
    #[error(
        "every request needs a key as long as there is one: {} not revoked; revoke what is left \
         first (`tollgate keys revoke NAME`), expired ones too",
        are(.0)
    )]
    Living(Vec<Arc<str>>),
    /// What the data folder says of keys cannot be changed.
    #[error(
        "cannot {action} {path}, which says that every request needs a key: {source}; nothing was \
         changed, ask again"
    )]
    Marker {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The ledger cannot be opened for writing.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The transaction failed.
    #[error("cannot write the ledger at {path}: {source}; nothing was changed, ask again")]
    Write {
        /// The database.
        path: PathBuf,
        /// SQLite's error.
        source: rusqlite::Error,
    },
    /// A fault of this program's own.
    #[error("the ledger's writer met a fault of its own; nothing is half done, ask again")]
    Fault,
}

/// Names in a sentence, and what they are.
fn are(names: &[Arc<str>]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    let verb = if names.len() == 1 { "is" } else { "are" };
    format!("{} {verb}", quoted.join(", "))
}

impl KeyChange {
    /// Does it, in one transaction. A key is not in the database before the data folder says that
    /// one is required.
    pub(super) fn commit(
        &self,
        connection: &mut Connection,
        data_dir: &Path,
    ) -> Result<(), KeyError> {
        let failed = |source| KeyError::Write {
            path: database::path_in(data_dir),
            source,
        };
        let unmarked = |action| {
            move |source| KeyError::Marker {
                action,
                path: marker::path_in(data_dir),
                source,
            }
        };
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(failed)?;
        match self {
            Self::Create(key) => {
                if is_living(&transaction, &key.name).map_err(failed)? {
                    return Err(KeyError::Taken(Arc::clone(&key.name)));
                }
                insert(&transaction, key).map_err(failed)?;
            }
            Self::Revoke { name, at } => {
                let revoked = transaction
                    .execute(
                        "UPDATE keys SET revoked_at = ?2 WHERE name = ?1 AND revoked_at IS NULL",
                        params![name, at.0],
                    )
                    .map_err(failed)?;
                if revoked == 0 {
                    return Err(KeyError::NoSuchKey(Arc::clone(name)));
                }
            }
            Self::Off => {
                let living = living(&transaction).map_err(failed)?;
                if !living.is_empty() {
                    return Err(KeyError::Living(living));
                }
                return marker::remove(data_dir).map_err(unmarked("remove"));
            }
        }
        // With one that is revoked, too: it may be from before there were markers.
        let marked = marker::put(data_dir).map_err(unmarked("make"))?;
        transaction.commit().map_err(|error| {
            if marked && matches!(self, Self::Create(_)) {
                unmark(data_dir);
            }
            failed(error)
        })
    }
}

/// No key was made after all, and what says that one is required would refuse everybody.
fn unmark(data_dir: &Path) {
    if let Err(error) = marker::remove(data_dir) {
        let path = marker::path_in(data_dir);
        tracing::error!(%error, path = %path.display(), "no key was made, and yet one is required; remove this file");
    }
}

/// Has the data folder say that keys are required, where it has keys and does not.
pub fn require_keys(data_dir: &Path) -> Result<(), KeyError> {
    if keys_required(data_dir) {
        return Ok(());
    }
    marker::put(data_dir)
        .map(drop)
        .map_err(|source| KeyError::Marker {
            action: "make",
            path: marker::path_in(data_dir),
            source,
        })
}

/// The names of the keys that are not revoked.
fn living(connection: &Connection) -> rusqlite::Result<Vec<Arc<str>>> {
    connection
        .prepare("SELECT name FROM keys WHERE revoked_at IS NULL ORDER BY created_at, name")?
        .query_map([], |row| row.get(0))?
        .collect()
}

fn is_living(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    connection
        .query_row(
            "SELECT 1 FROM keys WHERE name = ?1 AND revoked_at IS NULL",
            [name],
            |_| Ok(()),
        )
        .optional()
        .map(|found| found.is_some())
}

fn insert(connection: &Connection, key: &StoredKey) -> rusqlite::Result<()> {
    // The column says when it expires, for whoever asks in SQL; said twice it could differ.
    let grant = KeyGrant {
        expires_at: None,
        ..key.grant.clone()
    };
    let grant = serde_json::to_string(&grant)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    connection.execute(
        "INSERT INTO keys (hash, name, created_at, expires_at, revoked_at, grant, made_by) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            key.hash,
            key.name,
            key.created_at.0,
            key.grant.expires_at.map(|at| at.0),
            key.revoked_at.map(|at| at.0),
            grant,
            key.made_by,
        ],
    )?;
    Ok(())
}

/// Every key, in the order of their making.
pub(super) fn all(connection: &Connection) -> Result<Vec<StoredKey>, ReadError> {
    let mut statement = connection.prepare(
        "SELECT hash, name, created_at, expires_at, revoked_at, grant, made_by FROM keys \
         ORDER BY created_at, name",
    )?;
    let mut rows = statement.query([])?;
    let mut keys = Vec::new();
    while let Some(row) = rows.next()? {
        keys.push(stored(row)?);
    }
    Ok(keys)
}

fn stored(row: &Row<'_>) -> Result<StoredKey, ReadError> {
    let micros = |at: Option<i64>| at.map(UnixMicros);
    let grant: String = row.get(5)?;
    let mut grant: KeyGrant = serde_json::from_str(&grant).map_err(|_| ReadError::Unreadable {
        column: "grant",
        value: grant.clone(),
    })?;
    grant.expires_at = micros(row.get(3)?);
    Ok(StoredKey {
        hash: row.get(0)?,
        name: row.get(1)?,
        created_at: UnixMicros(row.get(2)?),
        revoked_at: micros(row.get(4)?),
        grant,
        made_by: row.get(6)?,
    })
}

/// Every key of the ledger in `data_dir`, in the order of their making; none where there is no
/// ledger yet, or one from before there were keys. Other than a [`Reader`](super::Reader) it reads
/// what any version wrote that knew keys: during an upgrade the old one may not have brought the
/// database up to date.
pub fn stored_keys(data_dir: &Path) -> Result<Vec<StoredKey>, QueryError> {
    let path = database::path_in(data_dir);
    // Also tells an empty file, which a start that was cut off can leave.
    match fs::metadata(&path) {
        Ok(file) if file.len() > 0 => {}
        Ok(_) => return Ok(Vec::new()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        // SQLite says what is wrong with it.
        Err(_) => {}
    }
    let read = || {
        let (connection, _) = query::connect(&path)?;
        let known = connection
            .query_row(
                "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'keys'",
                [],
                |_| Ok(()),
            )
            .optional()?;
        match known {
            Some(()) => all(&connection),
            None => Ok(Vec::new()),
        }
    };
    read().map_err(|error: ReadError| error.at(&path))
}

/// The way to have a running ledger keep or revoke a key. Clones ask the same ledger.
#[derive(Clone, Debug)]
pub struct KeyWriter {
    control: Arc<Control>,
    stats: Arc<LedgerStats>,
}

impl KeyWriter {
    pub(super) fn new(control: Arc<Control>, stats: Arc<LedgerStats>) -> Self {
        Self { control, stats }
    }

    /// Whether this process is the writer and no other uses the ledger any more: nobody else
    /// changes keys.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.stats.is_alone()
    }

    /// Has the ledger's writer change a key, and waits for it: some milliseconds, or as long as
    /// its present batch takes. Blocks.
    pub fn change(&self, change: KeyChange) -> Result<(), KeyError> {
        self.control
            .change(change, Change::Key)
            .unwrap_or(Err(KeyError::NotWriter))
    }
}

/// Changes a key of a ledger whose sidecar is not running, as [`KeyWriter::change`] does with one
/// that is; a key that is made first makes the ledger. Fails with [`OpenError::InUse`] while a
/// sidecar runs. Blocks until done.
pub fn change_key(data_dir: &Path, change: &KeyChange) -> Result<(), KeyError> {
    let has_ledger = database::path_in(data_dir).exists();
    match change {
        KeyChange::Revoke { name, .. } if !has_ledger => {
            return Err(KeyError::NoSuchKey(Arc::clone(name)));
        }
        KeyChange::Off if !has_ledger && !keys_required(data_dir) => return Ok(()),
        KeyChange::Create(_) | KeyChange::Revoke { .. } | KeyChange::Off => {}
    }
    for folder in [data_dir, &journal_folder(data_dir)] {
        make_private_folder(folder)
            .map_err(|source| OpenError::io("make the folder", folder, source))?;
    }
    let mut writer = caught_up(data_dir, &Arc::new(LedgerStats::default()))?;
    writer.change_key(change)?;
    writer.finish();
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::ModelPattern;

    fn key(name: &str, seed: u8) -> StoredKey {
        StoredKey {
            hash: [seed; 32],
            name: name.into(),
            created_at: UnixMicros(i64::from(seed)),
            revoked_at: None,
            grant: KeyGrant {
                expires_at: Some(UnixMicros(7)),
                models: Some(vec![ModelPattern::new("gpt-5*")]),
                channels: Some(vec!["a".into()]),
                channel: Some("a".into()),
                tags: BTreeMap::from([("team".to_owned(), "x".to_owned())]),
            },
            made_by: "alice".into(),
        }
    }

    fn revoke(name: &str, at: i64) -> KeyChange {
        KeyChange::Revoke {
            name: name.into(),
            at: UnixMicros(at),
        }
    }

    #[test]
    fn a_name_is_used_once_at_a_time_and_every_row_stays() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = &folder.path().join("data");
        assert_eq!(stored_keys(data_dir).unwrap(), []);
        assert!(matches!(
            change_key(data_dir, &revoke("a", 5)),
            Err(KeyError::NoSuchKey(_))
        ));
        assert!(!data_dir.exists());
        let first = key("a", 1);
        change_key(data_dir, &KeyChange::Create(first.clone())).unwrap();
        assert!(matches!(
            change_key(data_dir, &KeyChange::Create(key("a", 2))),
            Err(KeyError::Taken(_))
        ));
        assert_eq!(stored_keys(data_dir).unwrap(), std::slice::from_ref(&first));

        change_key(data_dir, &revoke("a", 5)).unwrap();
        assert!(matches!(
            change_key(data_dir, &revoke("a", 6)),
            Err(KeyError::NoSuchKey(_))
        ));
        change_key(data_dir, &KeyChange::Create(key("a", 2))).unwrap();
        let revoked = StoredKey {
            revoked_at: Some(UnixMicros(5)),
            ..first
        };
        assert_eq!(stored_keys(data_dir).unwrap(), [revoked, key("a", 2)]);
    }

    #[test]
    fn a_marker_comes_with_the_first_key_and_goes_with_the_last() {
        use std::os::unix::fs::PermissionsExt as _;

        let folder = tempfile::tempdir().unwrap();
        let data_dir = &folder.path().join("data");
        change_key(data_dir, &KeyChange::Off).unwrap();
        assert!(!data_dir.exists());
        change_key(data_dir, &KeyChange::Create(key("a", 1))).unwrap();
        let file = data_dir.join("keys-required");
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let words = fs::read_to_string(&file).unwrap();
        assert!(words.contains("tollgate keys off"), "{words}");
        change_key(data_dir, &KeyChange::Create(key("b", 2))).unwrap();
        change_key(data_dir, &revoke("a", 5)).unwrap();
        let left = change_key(data_dir, &KeyChange::Off).unwrap_err();
        assert!(matches!(&left, KeyError::Living(names) if **names == ["b".into()]));
        assert!(left.to_string().contains(": `b` is not revoked;"), "{left}");
        assert!(file.exists());

        // With a key from before there were markers, its end leaves one.
        fs::remove_file(&file).unwrap();
        change_key(data_dir, &revoke("b", 5)).unwrap();
        assert!(keys_required(data_dir));
        for _ in 0..2 {
            change_key(data_dir, &KeyChange::Off).unwrap();
            assert!(!keys_required(data_dir));
        }
        assert_eq!(stored_keys(data_dir).unwrap().len(), 2);
    }

    #[test]
    fn a_key_that_is_not_made_leaves_no_marker_and_one_is_not_made_without() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path();
        make_private_folder(&journal_folder(data_dir)).unwrap();
        caught_up(data_dir, &Arc::default()).unwrap().finish();
        let file = data_dir.join("keys-required");
        let path = database::path_in(data_dir);
        let mut connection = Connection::open(&path).unwrap();
        // Its commit, and no earlier step, fails.
        connection
            .execute_batch(
                "PRAGMA foreign_keys = ON; CREATE TABLE of (name TEXT PRIMARY KEY); \
                 CREATE TABLE late (name TEXT REFERENCES of (name) DEFERRABLE INITIALLY DEFERRED); \
                 CREATE TRIGGER fails AFTER INSERT ON keys BEGIN INSERT INTO late VALUES ('x'); END",
            )
            .unwrap();
        let create = KeyChange::Create(key("a", 1));
        let failed = create.commit(&mut connection, data_dir).unwrap_err();
        assert!(matches!(failed, KeyError::Write { .. }), "{failed}");
        assert!(!file.exists());
        // One that was there stays.
        require_keys(data_dir).unwrap();
        create.commit(&mut connection, data_dir).unwrap_err();
        assert!(file.exists());

        connection.execute_batch("DROP TRIGGER fails").unwrap();
        let elsewhere = &data_dir.join("missing");
        let failed = create.commit(&mut connection, elsewhere).unwrap_err();
        assert!(matches!(failed, KeyError::Marker { .. }), "{failed}");
        assert_eq!(stored_keys(data_dir).unwrap(), []);
    }

    #[test]
    fn the_running_writer_does_it_and_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let settings = crate::ledger::Settings::new(folder.path());
        let ledger =
            crate::ledger::Ledger::open(&settings, crate::ledger::Takeover::Refuse).unwrap();
        let writer = ledger.key_writer();
        writer.change(KeyChange::Create(key("a", 1))).unwrap();
        assert_eq!(stored_keys(folder.path()).unwrap(), [key("a", 1)]);
        assert!(matches!(
            change_key(folder.path(), &revoke("a", 5)),
            Err(KeyError::Open(OpenError::InUse { .. }))
        ));
        let _ = ledger.close(std::time::Duration::from_secs(60));
        assert!(matches!(
            writer.change(revoke("a", 5)),
            Err(KeyError::NotWriter)
        ));
        change_key(folder.path(), &revoke("a", 5)).unwrap();
    }

    #[test]
    fn a_stored_key_does_not_print_its_hash() {
        let printed = format!("{:?}", key("a", 211));
        assert!(!printed.contains("211"), "{printed}");
    }
}
