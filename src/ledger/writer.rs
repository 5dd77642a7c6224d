//! The writer thread: wakes ten times a second, not once an entry, and brings the database up to
//! the journal's end.
//!
//! It alone touches the database. When the database is locked or its disk is full, it tries again
//! with growing pauses while the journal keeps growing on disk and memory stays as it is. It also
//! does what the journal needs from time to time: writes what the disk refused, and syncs.

mod changes;

use std::collections::BTreeMap;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::control::Control;
use super::database::{self, Database};
use super::deferred::Deferred;
use super::journal::Journal;
use super::journal::segment::Stream;
use super::journal::tail::End;
use super::lock::{self, WriterLock};
use super::reprice::Job;
use super::retention;
use super::stats::LedgerStats;
use super::store::{Committed, Refused, StoreError, StreamState, forget_streams};
use super::{Closed, Settings};
use crate::clock::UnixMicros;

/// How often other processes' streams are looked for.
const LOOK_AROUND: Duration = Duration::from_secs(1);
/// How often expired rows are looked for.
const EXPIRE_EVERY: Duration = Duration::from_secs(60);
/// What a power cut may cost at most. More often, requests would feel the disk; a killed process
/// loses nothing in any case.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// The longest pause after errors.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long the role is left to another process before it is taken back.
const HANDED_OVER: Duration = Duration::from_secs(30);

/// The database and the streams, as long as nothing went wrong with either.
#[derive(Debug)]
struct Store {
    database: Database,
    streams: BTreeMap<Uuid, StreamState>,
    looked_around: Option<Instant>,
}

/// The state of the writer.
#[derive(Debug)]
pub(super) struct Writer {
    data_dir: PathBuf,
    folder: PathBuf,
    retention: Option<Duration>,
    trim_every: u64,
    /// This process's journal; none for [`super::catch_up`].
    journal: Option<Arc<Journal>>,
    deferred: Arc<Deferred>,
    /// Whether what the database knows of deferred usage is in memory.
    loaded: bool,
    stats: Arc<LedgerStats>,
    lock: Option<WriterLock>,
    store: Option<Store>,
    refused: Refused,
    synced: Instant,
    expired_at: Option<UnixMicros>,
    expiring: bool,
    giving_back: bool,
    repricing: Option<Job>,
}

impl Writer {
    pub(super) fn new(
        settings: &Settings,
        lock: Option<WriterLock>,
        journal: Option<Arc<Journal>>,
        deferred: Arc<Deferred>,
        stats: Arc<LedgerStats>,
    ) -> Self {
        Self {
            data_dir: settings.data_dir.clone(),
            folder: super::journal_folder(&settings.data_dir),
            retention: settings.retention,
            trim_every: settings.segment_bytes / 2,
            journal,
            deferred,
            loaded: false,
            stats,
            lock,
            store: None,
            refused: Refused::new(),
            synced: Instant::now(),
            expired_at: None,
            expiring: false,
            giving_back: false,
            repricing: None,
        }
    }

    /// Asks for the writer's role; `false` while another process has it.
    fn take_role(&mut self) -> io::Result<bool> {
        self.lock = lock::try_acquire(&self.data_dir)?;
        Ok(self.lock.is_some())
    }

    /// Opens and migrates the database, if it is not open. Only whoever has the role may.
    pub(super) fn open_store(&mut self) -> Result<(), StoreError> {
        if self.store.is_none() {
            let database = Database::open(&database::path_in(&self.data_dir))?;
            // Once a role: later the memory is ahead of the database.
            if !self.loaded {
                self.deferred.load(&database.connection)?;
                self.loaded = true;
            }
            self.store = Some(Store {
                database,
                streams: BTreeMap::new(),
                looked_around: None,
            });
        }
        Ok(())
    }

    /// The writer's thread: until it is closed.
    pub(super) fn run(self, control: &Control, tick: Duration) -> Closed {
        let closed = self.run_to_the_end(control, tick);
        control.writer_ends();
        closed
    }

    fn run_to_the_end(mut self, control: &Control, tick: Duration) -> Closed {
        let mut failures = 0_u32;
        let mut next_round = Instant::now();
        let mut role_from = next_round;
        loop {
            self.serve_journal();
            let closing = control.close_by();
            if control.take_hand_over() && self.lock.is_some() {
                self.store = None;
                self.lock = None;
                // Once more: a round was perhaps under way when it was said first.
                self.deferred.set_complete(false);
                // What the other one commits is to be read, should the role come back.
                self.loaded = false;
                role_from = Instant::now() + HANDED_OVER;
                tracing::info!("handed the ledger over");
            }
            if self.lock.is_none() && (closing.is_some() || Instant::now() >= role_from) {
                match self.take_role() {
                    Ok(true) => tracing::info!("writing the ledger"),
                    Ok(false) => {}
                    Err(error) => tracing::warn!(%error, "cannot ask for the ledger's lock"),
                }
            }
            if let Some(by) = closing {
                if self.lock.is_none() {
                    return Closed::HandedOver;
                }
                if Instant::now() >= by {
                    return Closed::Incomplete;
                }
            }
            if self.lock.is_some() && (closing.is_some() || Instant::now() >= next_round) {
                match self.round(UnixMicros::now(), closing) {
                    Ok(done) => {
                        if failures > 0 {
                            tracing::info!(failures, "the ledger is written again");
                            failures = 0;
                        }
                        if done && closing.is_some() {
                            self.finish();
                            return Closed::Complete;
                        }
                    }
                    // It is noted; the same batch goes through without it.
                    Err(StoreError::Entry { .. }) => continue,
                    Err(error) => {
                        self.stats.database_errors.fetch_add(1, Ordering::Relaxed);
                        if failures == 0 {
                            tracing::error!(%error, "the ledger cannot be written; the journal waits");
                        }
                        failures = failures.saturating_add(1);
                        let pause = tick.saturating_mul(1 << failures.min(10));
                        next_round = Instant::now() + pause.min(LONGEST_PAUSE);
                    }
                }
            }
            self.serve_changes(control, closing.is_some());
            let at_work = self.serve_repricing(control, closing.is_some());
            control.sleep(if at_work { Duration::ZERO } else { tick });
        }
    }

    /// Brings the database up to the end of every stream. `true` when that is done and, if
    /// `closing` says by when, the process's own stream (sealed before) is finished too.
    pub(super) fn round(
        &mut self,
        now: UnixMicros,
        closing: Option<Instant>,
    ) -> Result<bool, StoreError> {
        // The thread outlives a fault: with it, everything behind the journal would stop.
        let result = panic::catch_unwind(AssertUnwindSafe(|| self.try_round(now, closing)))
            .unwrap_or(Err(StoreError::Fault));
        if let Err(error) = &result {
            if let StoreError::Entry {
                stream,
                offset,
                source,
            } = error
            {
                self.refused.insert((*stream, *offset), source.to_string());
            }
            // The database alone knows what was committed: ask it again.
            self.store = None;
        }
        result
    }

    /// After the last round: everything into the database file.
    pub(super) fn finish(self) {
        if let Some(store) = self.store
            && let Err(error) = store.database.checkpoint()
        {
            tracing::warn!(%error, "cannot checkpoint the ledger");
        }
    }

    fn try_round(&mut self, now: UnixMicros, closing: Option<Instant>) -> Result<bool, StoreError> {
        self.open_store()?;
        self.look_around()?;
        let own = self.journal.as_ref().map(|journal| journal.stream().id);
        let began = Instant::now();
        let mut rows = 0;
        let mut alone = true;
        for id in self.stream_ids() {
            // Asked before the end is read: whoever is gone now has written all it will.
            let (end, over) = match &self.journal {
                Some(journal) if own == Some(id) => {
                    (End::At(journal.appended()), closing.is_some())
                }
                _ if self.is_alive(id)? => {
                    alone = false;
                    (End::Growing, false)
                }
                _ => (End::Final, true),
            };
            while let Some(committed) = self.commit_batch(id, end)? {
                rows += committed.rows;
                self.serve_journal();
                self.retain(now, committed.rows)?;
                if closing.is_some_and(|by| Instant::now() >= by) {
                    return Ok(false);
                }
            }
            if over {
                self.end_stream(id)?;
            }
        }
        self.refused.clear();
        if rows == 0 {
            self.retain(now, 0)?;
        }
        self.deferred.set_complete(alone);
        self.stats.caught_up(began, alone);
        Ok(true)
    }

    /// Finds streams that are new, now and then.
    fn look_around(&mut self) -> Result<(), StoreError> {
        let Some(store) = &mut self.store else {
            return Ok(());
        };
        if store
            .looked_around
            .is_some_and(|at| at.elapsed() < LOOK_AROUND)
        {
            return Ok(());
        }
        let streams = Stream::list(&self.folder)?;
        forget_streams(&store.database.connection, &streams)?;
        for stream in streams {
            if !store.streams.contains_key(&stream.id) {
                let state = StreamState::load(&store.database.connection, stream)?;
                store.streams.insert(state.tail.stream.id, state);
            }
        }
        store.looked_around = Some(Instant::now());
        Ok(())
    }

    fn stream_ids(&self) -> Vec<Uuid> {
        self.store
            .iter()
            .flat_map(|store| store.streams.keys().copied())
            .collect()
    }

    fn is_alive(&self, id: Uuid) -> io::Result<bool> {
        self.store
            .as_ref()
            .and_then(|store| store.streams.get(&id))
            .map_or(Ok(false), |state| state.tail.stream.is_alive())
    }

    /// Reads and commits one batch of a stream; `None` when there was nothing to read.
    fn commit_batch(&mut self, id: Uuid, end: End) -> Result<Option<Committed>, StoreError> {
        let Some(store) = &mut self.store else {
            return Ok(None);
        };
        let Some(state) = store.streams.get_mut(&id) else {
            return Ok(None);
        };
        if !state.tail.read(end)? {
            return Ok(None);
        }
        let began = Instant::now();
        let mut noted = Vec::new();
        let committed =
            state.commit(&mut store.database, &self.folder, &self.refused, &mut noted)?;
        let is_own = matches!(end, End::At(_));
        if !is_own {
            // This process noted its own when they happened.
            self.deferred.learn(noted);
        }
        self.stats.observe_commit(began.elapsed());
        count(&self.stats, committed);
        let position = state.tail.position();
        if is_own {
            self.stats
                .committed_bytes
                .store(position, Ordering::Release);
        } else {
            let left = state.tail.stream.end()?.saturating_sub(position);
            self.stats
                .foreign_backlog_bytes
                .store(left, Ordering::Relaxed);
        }
        // Files that stay a while longer harm nobody.
        if let Err(error) = state.trim(&store.database, self.trim_every) {
            tracing::warn!(%error, "cannot delete journal files that are no longer needed");
        }
        Ok(Some(committed))
    }

    /// Gives the open requests of a stream that will not grow their rows, and deletes its files.
    fn end_stream(&mut self, id: Uuid) -> Result<(), StoreError> {
        let Some(store) = &mut self.store else {
            return Ok(());
        };
        let Some(state) = store.streams.get_mut(&id) else {
            return Ok(());
        };
        let committed = state.interrupt(&mut store.database, &self.folder)?;
        count(&self.stats, committed);
        state.remove(&store.database)?;
        store.streams.remove(&id);
        self.stats.foreign_backlog_bytes.store(0, Ordering::Relaxed);
        Ok(())
    }

    /// A step of retention: after a batch as many rows as it brought, so that expiring keeps up
    /// with any load.
    fn retain(&mut self, now: UnixMicros, rows: u64) -> Result<(), StoreError> {
        let Some(store) = &mut self.store else {
            return Ok(());
        };
        // Also when the wall clock was set back.
        let due = |last: UnixMicros| now < last || now.since(last) >= EXPIRE_EVERY;
        if self.expired_at.is_none_or(due) {
            self.expired_at = Some(now);
            self.expiring = true;
        }
        if self.expiring {
            for _ in 0..=rows / u64::from(retention::ROWS_A_STEP) {
                let connection = &mut store.database.connection;
                if !retention::expire(connection, self.retention, now)? {
                    self.expiring = false;
                    self.giving_back = true;
                    break;
                }
            }
        } else if self.giving_back {
            self.giving_back = retention::give_back(&store.database.connection)?;
        }
        Ok(())
    }

    /// What the journal needs from time to time.
    fn serve_journal(&mut self) {
        let Some(journal) = &self.journal else {
            return;
        };
        journal.retry_held();
        if self.synced.elapsed() >= SYNC_EVERY {
            self.synced = Instant::now();
            if let Err(error) = journal.sync() {
                self.stats.journal_errors.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(%error, "cannot sync the journal");
            }
        }
    }
}

fn count(stats: &LedgerStats, committed: Committed) {
    stats.written.fetch_add(committed.rows, Ordering::Relaxed);
    stats
        .interrupted
        .fetch_add(committed.interrupted, Ordering::Relaxed);
    stats
        .rejected
        .fetch_add(committed.rejected, Ordering::Relaxed);
}
