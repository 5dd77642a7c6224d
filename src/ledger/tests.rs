//! The ledger as its users meet it: real folders, real files, real locks.

mod alerts;
mod backup;
mod crash;
mod deferred;
mod files;
mod gates;
mod handover;
mod listing;
mod notifications;
mod past;
mod period;
mod queries;
mod refusal;
mod reprice;
pub(crate) mod sample;
mod silences;
mod upgrade;
mod usage;
mod windows;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tempfile::TempDir;

use super::deferred::Deferred;
use super::journal::Journal;
use super::query::{Reader, RequestFilter, StoredRequest};
use super::stats::LedgerStats;
use super::writer::Writer;
use super::{Ledger, Settings, Takeover, journal_folder, lock};

/// Takes back what versions 9 and 10 brought, as [`Connection::execute_batch`] takes it.
const WITHOUT_HOURS: &str = "DROP TABLE usage_hourly; DROP TABLE requests_hourly; \
     DROP INDEX requests_failed; DROP INDEX requests_session; \
     DELETE FROM meta WHERE name = 'tiers_known_after';";

/// More than any machine needs.
const PATIENCE: Duration = Duration::from_secs(60);

fn settings(folder: &TempDir) -> Settings {
    Settings {
        retention: None,
        tick: Duration::from_millis(5),
        ..Settings::new(folder.path())
    }
}

fn open(settings: &Settings) -> Ledger {
    Ledger::open(settings, Takeover::Refuse).unwrap()
}

/// Waits until a condition holds.
fn eventually(what: &str, condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::yield_now();
    }
}

/// Every row, in the order of recording.
fn rows(data_dir: &Path) -> Vec<StoredRequest> {
    let reader = Reader::open(data_dir).unwrap();
    let filter = RequestFilter {
        limit: 1_000,
        ..RequestFilter::default()
    };
    let mut rows = Vec::new();
    let mut position = super::query::Sequence::default();
    loop {
        let page = reader.follow(&filter, position).unwrap();
        position = page.position;
        if page.requests.is_empty() {
            return rows;
        }
        rows.extend(page.requests);
    }
}

fn query_number(data_dir: &Path, sql: &str) -> i64 {
    Connection::open(super::database::path_in(data_dir))
        .unwrap()
        .query_row(sql, [], |row| row.get(0))
        .unwrap()
}

fn assert_sound(data_dir: &Path) {
    let connection = Connection::open(super::database::path_in(data_dir)).unwrap();
    let verdict: String = connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(verdict, "ok");
}

/// A journal and a writer without the thread between them: a test decides when a round is.
struct Manual {
    journal: Arc<Journal>,
    writer: Writer,
    deferred: Arc<Deferred>,
    stats: Arc<LedgerStats>,
}

impl Manual {
    fn open(settings: &Settings) -> Self {
        let folder = journal_folder(&settings.data_dir);
        super::journal::segment::make_private_folder(&folder).unwrap();
        let stats = Arc::new(LedgerStats::default());
        let lock = lock::try_acquire(&settings.data_dir).unwrap();
        assert!(lock.is_some(), "the writer's role is free");
        let journal = Arc::new(
            Journal::create(
                &folder,
                settings.segment_bytes,
                settings.held_bytes,
                Arc::clone(&stats),
            )
            .unwrap(),
        );
        let deferred = Arc::new(Deferred::new(settings.retention));
        let writer = Writer::new(
            settings,
            lock,
            Some(Arc::clone(&journal)),
            Arc::clone(&deferred),
            Arc::clone(&stats),
        );
        Self {
            journal,
            writer,
            deferred,
            stats,
        }
    }

    fn round(&mut self) {
        self.round_at(crate::clock::UnixMicros(0));
    }

    fn round_at(&mut self, now: crate::clock::UnixMicros) {
        // An entry that is refused ends a round; the next goes on without it.
        while let Err(error) = self.writer.round(now, None) {
            assert!(
                matches!(error, super::store::StoreError::Entry { .. }),
                "{error}"
            );
        }
    }

    /// What kill -9 does: nothing is sealed, nothing is finished, locks are gone.
    fn kill(self) {
        drop((self.writer, self.journal));
    }
}
