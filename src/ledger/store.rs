//! From the journal to the database: one transaction a batch, which holds the rows, their
//! attempts, the roll-ups, the events of gates and alerts, the notifications and the position in the
//! journal they came up to. So whatever happens, each entry is in the database once.
//!
//! After any error the memory of the streams is thrown away and read again from the database, which
//! alone knows what was committed.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::Path;

use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior};
use uuid::Uuid;

use super::admissions::{Before, KEPT_BEHIND, OpenAdmissions};
use super::alert_events;
use super::chat_answers;
use super::database::Database;
use super::deferred::{self, Noted};
use super::gate_events;
use super::hours::{Hours, KnownHours};
use super::journal::segment::Stream;
use super::journal::tail::{End, Tail};
use super::migrations::MigrationError;
use super::notifications;
use super::rejected::{self, Rejected};
use super::rollup::Rollups;
use super::rows::{self, Inserter, Row, stored};
use super::windows::Windows;
use super::wire::{self, Brief, Entry};
use crate::record::{RequestId, Usage, UsageSource};

/// Why a step did not succeed.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreError {
    /// The database cannot be opened or migrated.
    #[error("cannot open the database: {0}")]
    Open(#[from] MigrationError),
    /// A transaction failed: the database is locked, the disk is full.
    #[error("cannot write the database: {0}")]
    Database(#[from] rusqlite::Error),
    /// The journal's files cannot be read.
    #[error("cannot read the journal: {0}")]
    Journal(#[from] io::Error),
    /// A fault of this program's own; it is tried again.
    #[error("the writer met a fault of its own")]
    Fault,
    /// One entry cannot become a row; the batch has to be done again without it.
    #[error("the entry at {offset} cannot become a row: {source}")]
    Entry {
        /// The entry's stream.
        stream: Uuid,
        /// The entry's offset in its stream.
        offset: u64,
        /// What the database has against it.
        source: rusqlite::Error,
    },
}

impl StoreError {
    /// Whether it passes by itself, or once somebody makes room.
    pub(super) fn is_transient(&self) -> bool {
        let (Self::Open(MigrationError::Database(error)) | Self::Database(error)) = self else {
            return false;
        };
        matches!(
            error.sqlite_error_code(),
            Some(
                ErrorCode::DatabaseBusy
                    | ErrorCode::DatabaseLocked
                    | ErrorCode::DiskFull
                    // What a full disk is where SQLite sizes its -shm file.
                    | ErrorCode::SystemIoFailure
            )
        )
    }
}

/// Entries that the database refused, by stream and offset, with its reason.
pub(super) type Refused = BTreeMap<(Uuid, u64), String>;

/// What a transaction brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Committed {
    /// Rows inserted into `requests`.
    pub(super) rows: u64,
    /// Of them, of requests without an end.
    pub(super) interrupted: u64,
    /// Entries set aside.
    pub(super) rejected: u64,
}

/// A stream, as far as it is in the database.
#[derive(Debug)]
pub(super) struct StreamState {
    pub(super) tail: Tail,
    open: OpenAdmissions,
    /// Thrown away with the rest after an error, as what it knows may not be committed.
    hours: KnownHours,
    /// Offset before which files were deleted.
    trimmed: u64,
}

impl StreamState {
    /// A stream as the database knows it.
    pub(super) fn load(connection: &Connection, stream: Stream) -> Result<Self, StoreError> {
        let name = stream.id.simple().to_string();
        let (position, resume_from) = connection
            .query_row(
                "SELECT position, resume_from FROM journal_streams WHERE stream = ?",
                [&name],
                |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)),
            )
            .optional()?
            .unwrap_or_default();
        let offset = |stored: i64| u64::try_from(stored).unwrap_or(0);
        let kept = connection
            .prepare("SELECT id FROM admissions WHERE stream = ?")?
            .query_map([&name], |row| row.get::<_, String>(0))?
            .filter_map(|id| id.map(|id| id.parse().ok()).transpose())
            .collect::<Result<HashSet<RequestId>, _>>()?;
        let mut open = OpenAdmissions::new(kept);
        let mut again = Tail::new(stream.clone(), offset(resume_from));
        while again.read(End::At(offset(position)))? {
            for (frame, payload) in again.frames() {
                match wire::decode_brief(payload) {
                    // What of it has a row was read to its end, or the row were gone.
                    Ok(Brief::Admitted(id)) => {
                        open.admit(id, frame.offset);
                    }
                    Ok(Brief::Ended(record)) => {
                        open.end(record.admission.id);
                    }
                    // Nothing of it stays open; set aside when it was read first.
                    Ok(
                        Brief::Gate(_)
                        | Brief::Alert(_)
                        | Brief::Notification(_)
                        | Brief::Fate(_)
                        | Brief::Answer(_),
                    )
                    | Err(_) => {}
                }
            }
        }
        Ok(Self {
            tail: Tail::new(stream, offset(position)),
            open,
            hours: KnownHours::default(),
            trimmed: offset(resume_from),
        })
    }

    /// Commits the batch that [`Tail::read`] read last; `noted` gets what it says of deferred usage.
    pub(super) fn commit(
        &mut self,
        database: &mut Database,
        folder: &Path,
        refused: &Refused,
        noted: &mut Vec<Noted>,
    ) -> Result<Committed, StoreError> {
        let stream = self.tail.stream.id;
        let mut rejected: Vec<Rejected> = self
            .tail
            .damage()
            .iter()
            .map(|damage| Rejected {
                stream,
                offset: damage.offset,
                reason: format!("{} damaged bytes", damage.bytes),
                bytes: damage.sample.clone(),
            })
            .collect();

        // Takes the write lock at once: it must not be asked for in the middle.
        let transaction = begin(&mut database.connection)?;
        let mut sequence = last_sequence(&transaction)?;
        let first = sequence;
        let mut inserter = Inserter::new(&transaction)?;
        let mut rollups = Rollups::default();
        let mut hours = Hours::default();
        let mut windows = Windows::default();
        for (frame, payload) in self.tail.frames() {
            let mut reject = |reason: String| {
                rejected.push(Rejected {
                    stream,
                    offset: frame.offset,
                    reason,
                    bytes: payload.to_vec(),
                });
            };
            if let Some(reason) = refused.get(&(stream, frame.offset)) {
                reject(reason.clone());
                continue;
            }
            match wire::decode_brief(payload) {
                Err(error) => reject(error.to_string()),
                Ok(Brief::Admitted(id)) => {
                    if self.open.admit(id, frame.offset) == Before::Kept {
                        rows::forget_admission(&transaction, id)?;
                    }
                }
                Ok(Brief::Gate(event)) => gate_events::insert(&transaction, &event)
                    .map_err(|source| blame(stream, frame.offset, source))?,
                Ok(Brief::Alert(event)) => alert_events::insert(&transaction, &event)
                    .map_err(|source| blame(stream, frame.offset, source))?,
                Ok(Brief::Notification(kept)) => notifications::insert(&transaction, &kept)
                    .map_err(|source| blame(stream, frame.offset, source))?,
                Ok(Brief::Fate(fate)) => notifications::settle(&transaction, &fate)
                    .map_err(|source| blame(stream, frame.offset, source))?,
                Ok(Brief::Answer(answer)) => chat_answers::insert(&transaction, &answer)
                    .map_err(|source| blame(stream, frame.offset, source))?,
                Ok(Brief::Ended(mut record)) => {
                    if !deferred::note(&transaction, &record)? {
                        // It was counted in another row.
                        record.usage = Usage::absent(UsageSource::None);
                        record.cost = None;
                        record.assumed_cost = None;
                        record.deferral = None;
                    }
                    noted.extend(Noted::of(&record));
                    let row = Row::Ended(&record);
                    sequence += 1;
                    inserter
                        .insert(row, sequence)
                        .map_err(|source| blame(stream, frame.offset, source))?;
                    rollups.count(row);
                    hours.count(row);
                    windows.count_row(row);
                    if self.open.end(record.admission.id) == Before::Kept {
                        rows::forget_admission(&transaction, record.admission.id)?;
                    }
                }
            }
        }
        drop(inserter);
        rollups.write(&transaction)?;
        hours.write(&transaction, &mut self.hours)?;
        windows.write(&transaction)?;
        self.keep_old_admissions(&transaction)?;
        store_position(
            &transaction,
            stream,
            self.tail.position(),
            self.open.resume_from(self.tail.position()),
        )?;
        store_sequence(&transaction, first, sequence)?;
        // Before the commit: what is set aside twice after a crash can be told, what is lost not.
        rejected::set_aside(folder, &rejected);
        transaction.commit()?;
        Ok(Committed {
            rows: (sequence - first).unsigned_abs(),
            interrupted: 0,
            rejected: rejected.len() as u64,
        })
    }

    /// Moves requests that have been open for long into the table.
    fn keep_old_admissions(&mut self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        let name = self.tail.stream.id.simple().to_string();
        let horizon = self.tail.position().saturating_sub(KEPT_BEHIND);
        while let Some((id, offset)) = self.open.keep_older_than(horizon) {
            if let Some(payload) = self.tail.payload_at(offset)? {
                rows::keep_admission(transaction, &name, id, &payload)?;
            }
        }
        Ok(())
    }

    /// Gives every request that is still open its row `interrupted`: the stream's process is gone
    /// and its end is committed. Doing it again changes nothing.
    pub(super) fn interrupt(
        &mut self,
        database: &mut Database,
        folder: &Path,
    ) -> Result<Committed, StoreError> {
        let stream = self.tail.stream.id;
        let name = stream.simple().to_string();
        let mut rejected = Vec::new();
        let mut payloads = Vec::new();
        let transaction = begin(&mut database.connection)?;
        for payload in transaction
            .prepare("SELECT payload FROM admissions WHERE stream = ? ORDER BY id")?
            .query_map([&name], |row| row.get::<_, Vec<u8>>(0))?
        {
            payloads.push((0, payload?));
        }
        for offset in self.open.offsets() {
            match self.tail.payload_at(offset)? {
                Some(payload) => payloads.push((offset, payload)),
                None => rejected.push(Rejected {
                    stream,
                    offset,
                    reason: "the admission of an interrupted request is damaged".to_owned(),
                    bytes: Vec::new(),
                }),
            }
        }
        let mut sequence = last_sequence(&transaction)?;
        let first = sequence;
        let mut inserter = Inserter::new(&transaction)?;
        let mut rollups = Rollups::default();
        let mut hours = Hours::default();
        let mut windows = Windows::default();
        for (offset, payload) in &payloads {
            let reason = match wire::decode(payload) {
                Ok(Entry::Admitted(admission)) => {
                    let row = Row::Interrupted(&admission);
                    // Nothing follows this insert, so a refused one leaves nothing behind.
                    match inserter.insert(row, sequence + 1) {
                        Ok(()) => {
                            sequence += 1;
                            rollups.count(row);
                            hours.count(row);
                            windows.count_row(row);
                            continue;
                        }
                        Err(error) if is_refusal(&error) => error.to_string(),
                        Err(error) => return Err(error.into()),
                    }
                }
                Ok(_) => "not an admission".to_owned(),
                Err(error) => error.to_string(),
            };
            rejected.push(Rejected {
                stream,
                offset: *offset,
                reason,
                bytes: payload.clone(),
            });
        }
        drop(inserter);
        rollups.write(&transaction)?;
        hours.write(&transaction, &mut self.hours)?;
        windows.write(&transaction)?;
        transaction.execute("DELETE FROM admissions WHERE stream = ?", [&name])?;
        let position = self.tail.position();
        store_position(&transaction, stream, position, position)?;
        store_sequence(&transaction, first, sequence)?;
        rejected::set_aside(folder, &rejected);
        transaction.commit()?;
        self.open = OpenAdmissions::default();
        let rows = (sequence - first).unsigned_abs();
        Ok(Committed {
            rows,
            interrupted: rows,
            rejected: rejected.len() as u64,
        })
    }

    /// Deletes the files of a stream that is dead and wholly in the database, then forgets it.
    pub(super) fn remove(&self, database: &Database) -> Result<(), StoreError> {
        // In this order: without the row, files that are left would be read from their beginning;
        // without the sync, a power cut could take the commit back that the files are the only
        // other copy of.
        database.sync()?;
        self.tail.stream.delete()?;
        database.connection.execute(
            "DELETE FROM journal_streams WHERE stream = ?",
            [self.tail.stream.id.simple().to_string()],
        )?;
        Ok(())
    }

    /// Deletes files that are no longer needed, once `every` bytes have passed since the last time.
    pub(super) fn trim(&mut self, database: &Database, every: u64) -> io::Result<()> {
        let resume_from = self.open.resume_from(self.tail.position());
        if resume_from.saturating_sub(self.trimmed) < every {
            return Ok(());
        }
        self.trimmed = resume_from;
        database.sync()?;
        self.tail.stream.delete_before(resume_from)
    }
}

/// Forgets streams whose files are gone.
pub(super) fn forget_streams(connection: &Connection, present: &[Stream]) -> rusqlite::Result<()> {
    let known = connection
        .prepare_cached("SELECT stream FROM journal_streams")?
        .query_map([], |row| row.get::<_, String>(0))?
        .collect::<Result<Vec<_>, _>>()?;
    for name in known {
        if !present
            .iter()
            .any(|stream| stream.id.simple().to_string() == name)
        {
            connection.execute("DELETE FROM journal_streams WHERE stream = ?", [name])?;
        }
    }
    Ok(())
}

fn begin(connection: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate)
}

/// Whether the database has something against the values, not against writing at all.
fn is_refusal(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch)
    )
}

fn blame(stream: Uuid, offset: u64, source: rusqlite::Error) -> StoreError {
    if is_refusal(&source) {
        StoreError::Entry {
            stream,
            offset,
            source,
        }
    } else {
        source.into()
    }
}

fn last_sequence(transaction: &Transaction<'_>) -> rusqlite::Result<i64> {
    transaction
        .prepare_cached("SELECT value FROM meta WHERE name = 'last_sequence'")?
        .query_row([], |row| row.get(0))
}

fn store_sequence(transaction: &Transaction<'_>, first: i64, last: i64) -> rusqlite::Result<()> {
    if first != last {
        transaction
            .prepare_cached("UPDATE meta SET value = ? WHERE name = 'last_sequence'")?
            .execute([last])?;
    }
    Ok(())
}

fn store_position(
    transaction: &Transaction<'_>,
    stream: Uuid,
    position: u64,
    resume_from: u64,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO journal_streams (stream, position, resume_from) VALUES (?, ?, ?) \
             ON CONFLICT (stream) DO UPDATE SET position = excluded.position, \
             resume_from = excluded.resume_from",
        )?
        .execute((
            stream.simple().to_string(),
            stored(position),
            stored(resume_from),
        ))?;
    Ok(())
}
