//! Silences in the database: the table `silences`, and who changes it. As with the clients' keys, that
//! is the ledger's writer alone, between its rounds.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, Row, TransactionBehavior, params};
use uuid::Uuid;

use super::control::{Change, Control};
use super::query::{QueryError, ReadError, Reader, json};
use super::{OpenError, database};
use crate::alert::{BadSilence, Silence};
use crate::clock::UnixMicros;

/// What is to become of a silence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SilenceChange {
    /// It is made.
    Create(Silence),
    /// It holds no longer.
    End {
        /// Which.
        id: Uuid,
        /// From when on.
        at: UnixMicros,
    },
}

/// Why a silence was not made or ended. Nothing is half done.
#[derive(Debug, thiserror::Error)]
pub enum SilenceError {
    /// It is none.
    #[error(transparent)]
    Bad(#[from] BadSilence),
    /// This process does not write the ledger: it is closing, or another one has the role.
    #[error("this process is not (or no longer) the ledger's writer; ask again in a moment")]
    NotWriter,
    /// There is one of this id already.
    #[error("there is a silence `{0}` already; leave the id to Tollgate")]
    Taken(Uuid),
    /// There is no such silence.
    #[error("there is no silence `{0}`")]
    NoSuchSilence(Uuid),
    /// It ended already.
    #[error("the silence `{id}` ended at {at} already")]
    Over {
        /// Which.
        id: Uuid,
        /// When.
        at: UnixMicros,
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
    /// What is stored cannot be read.
    #[error(transparent)]
    Read(#[from] QueryError),
    /// A fault of this program's own.
    #[error("the ledger's writer met a fault of its own; nothing is half done, ask again")]
    Fault,
}

impl SilenceChange {
    /// Does it, in one transaction.
    pub(super) fn commit(
        &self,
        connection: &mut Connection,
        data_dir: &Path,
    ) -> Result<(), SilenceError> {
        let path = || database::path_in(data_dir);
        let failed = |source| SilenceError::Write {
            path: path(),
            source,
        };
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(failed)?;
        let find = |id| find(&transaction, id).map_err(|error: ReadError| error.at(&path()));
        match self {
            Self::Create(silence) => {
                silence.check()?;
                if find(silence.id)?.is_some() {
                    return Err(SilenceError::Taken(silence.id));
                }
                insert(&transaction, silence).map_err(failed)?;
            }
            &Self::End { id, at } => {
                let silence = find(id)?.ok_or(SilenceError::NoSuchSilence(id))?;
                if silence.is_over(at) {
                    let at = silence.ended_at.unwrap_or(silence.ends_at);
                    return Err(SilenceError::Over { id, at });
                }
                transaction
                    .execute(
                        "UPDATE silences SET ended_at = ?2 WHERE id = ?1",
                        params![id.to_string(), at.0],
                    )
                    .map_err(failed)?;
            }
        }
        transaction.commit().map_err(failed)
    }
}

fn insert(connection: &Connection, silence: &Silence) -> rusqlite::Result<()> {
    let matchers = serde_json::to_string(&silence.matchers)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    connection.execute(
        "INSERT INTO silences (id, matchers, starts_at, ends_at, created_at, created_by, comment, \
         ended_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            silence.id.to_string(),
            matchers,
            silence.starts_at.0,
            silence.ends_at.0,
            silence.created_at.0,
            silence.created_by,
            silence.comment,
            silence.ended_at.map(|at| at.0),
        ],
    )?;
    Ok(())
}

const COLUMNS: &str = "id, matchers, starts_at, ends_at, created_at, created_by, comment, ended_at";

fn find(connection: &Connection, id: Uuid) -> Result<Option<Silence>, ReadError> {
    connection
        .query_row(
            &format!("SELECT {COLUMNS} FROM silences WHERE id = ?"),
            [id.to_string()],
            |row| Ok(stored(row)),
        )
        .optional()?
        .transpose()
}

/// Every silence there ever was, in the order of their making.
pub(super) fn all(connection: &Connection) -> Result<Vec<Silence>, ReadError> {
    // Before all time none was over.
    not_over(connection, UnixMicros(i64::MIN))
}

/// Those that hold at `now` or will, in the order of their making.
pub(super) fn not_over(
    connection: &Connection,
    now: UnixMicros,
) -> Result<Vec<Silence>, ReadError> {
    let mut statement = connection.prepare(&format!(
        "SELECT {COLUMNS} FROM silences WHERE min(ends_at, ifnull(ended_at, ends_at)) > ? \
         ORDER BY created_at, id"
    ))?;
    let mut rows = statement.query([now.0])?;
    let mut silences = Vec::new();
    while let Some(row) = rows.next()? {
        silences.push(stored(row)?);
    }
    Ok(silences)
}

fn stored(row: &Row<'_>) -> Result<Silence, ReadError> {
    let id: String = row.get(0)?;
    let matchers: String = row.get(1)?;
    Ok(Silence {
        id: Uuid::try_parse(&id).map_err(|_| ReadError::Unreadable {
            column: "id",
            value: id,
        })?,
        matchers: json("matchers", &matchers)?,
        starts_at: UnixMicros(row.get(2)?),
        ends_at: UnixMicros(row.get(3)?),
        created_at: UnixMicros(row.get(4)?),
        created_by: row.get(5)?,
        comment: row.get(6)?,
        ended_at: row.get::<_, Option<i64>>(7)?.map(UnixMicros),
    })
}

/// The way to have a running ledger keep or end silences. Clones ask the same ledger.
#[derive(Clone, Debug)]
pub struct SilenceWriter {
    control: Arc<Control>,
    data_dir: Arc<Path>,
}

impl SilenceWriter {
    pub(super) fn new(control: Arc<Control>, data_dir: Arc<Path>) -> Self {
        Self { control, data_dir }
    }

    /// Has the ledger's writer keep a silence, and waits for it: some milliseconds, or as long as its
    /// present batch takes. Blocks.
    pub fn create(&self, silence: Silence) -> Result<(), SilenceError> {
        self.change(SilenceChange::Create(silence))
    }

    /// Has the ledger's writer end a silence from `at` on, likewise. Blocks.
    pub fn end(&self, id: Uuid, at: UnixMicros) -> Result<(), SilenceError> {
        self.change(SilenceChange::End { id, at })
    }

    /// Every silence there ever was, in the order of their making. Blocks.
    pub fn list(&self) -> Result<Vec<Silence>, QueryError> {
        match Reader::open(&self.data_dir) {
            Err(QueryError::NoLedger { .. }) => Ok(Vec::new()),
            reader => reader?.silences(),
        }
    }

    fn change(&self, change: SilenceChange) -> Result<(), SilenceError> {
        self.control
            .change(change, Change::Silence)
            .unwrap_or(Err(SilenceError::NotWriter))
    }
}
