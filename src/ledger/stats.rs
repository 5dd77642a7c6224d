//! What the ledger says about itself, for the metrics. Plain atomics: reading them waits for nobody.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::clock::micros;

/// Upper bounds of the commit duration's buckets, in microseconds.
pub const COMMIT_BUCKETS_US: [u64; 12] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    5_000_000,
];

/// Counters and gauges of one ledger, over the life of the process.
#[derive(Debug)]
pub struct LedgerStats {
    started: Instant,
    pub(super) written: AtomicU64,
    pub(super) interrupted: AtomicU64,
    pub(super) dropped: AtomicU64,
    pub(super) rejected: AtomicU64,
    pub(super) held: AtomicU64,
    pub(super) repricings: AtomicU64,
    pub(super) silence_changes: AtomicU64,
    pub(super) appended_bytes: AtomicU64,
    pub(super) committed_bytes: AtomicU64,
    pub(super) foreign_backlog_bytes: AtomicU64,
    pub(super) database_errors: AtomicU64,
    pub(super) journal_errors: AtomicU64,
    /// Microseconds after `started` at which the database last held all of the journal.
    caught_up_us: AtomicU64,
    /// Whether that was so at least once.
    has_caught_up: AtomicBool,
    /// Whether no other process appended to the journal when that was so last.
    alone: AtomicBool,
    commit_counts: [AtomicU64; COMMIT_BUCKETS_US.len() + 1],
    commit_sum_us: AtomicU64,
}

/// How long commits took, as a histogram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitDurations {
    /// For each bound of [`COMMIT_BUCKETS_US`]: commits that took at most so long (cumulative).
    pub cumulative: [u64; COMMIT_BUCKETS_US.len()],
    /// All commits.
    pub count: u64,
    /// Their durations added up, in microseconds.
    pub sum_us: u64,
}

impl Default for LedgerStats {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            written: AtomicU64::new(0),
            interrupted: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            held: AtomicU64::new(0),
            repricings: AtomicU64::new(0),
            silence_changes: AtomicU64::new(0),
            appended_bytes: AtomicU64::new(0),
            committed_bytes: AtomicU64::new(0),
            foreign_backlog_bytes: AtomicU64::new(0),
            database_errors: AtomicU64::new(0),
            journal_errors: AtomicU64::new(0),
            caught_up_us: AtomicU64::new(0),
            has_caught_up: AtomicBool::new(false),
            alone: AtomicBool::new(false),
            commit_counts: std::array::from_fn(|_| AtomicU64::new(0)),
            commit_sum_us: AtomicU64::new(0),
        }
    }
}

impl LedgerStats {
    /// Rows committed to `requests`, interrupted ones included.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Rows committed for requests that a process left without an end.
    #[must_use]
    pub fn interrupted(&self) -> u64 {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// Journal entries lost because the disk refused them and memory for holding them was full.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Journal entries set aside in `journal/rejected` because they cannot become rows.
    #[must_use]
    pub fn rejected(&self) -> u64 {
        self.rejected.load(Ordering::Relaxed)
    }

    /// Journal entries held in memory at present because the disk refuses them.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// How often history was priced anew, to the end or not: costs of the past may be others since.
    #[must_use]
    pub fn repricings(&self) -> u64 {
        self.repricings.load(Ordering::Acquire)
    }

    /// Failed writes to the journal's files.
    #[must_use]
    pub fn journal_errors(&self) -> u64 {
        self.journal_errors.load(Ordering::Relaxed)
    }

    /// Failed transactions and openings of the database. Each is tried again.
    #[must_use]
    pub fn database_errors(&self) -> u64 {
        self.database_errors.load(Ordering::Relaxed)
    }

    /// Bytes in the journal that are not in the database yet, as far as this process knows: while
    /// another one has the writer's role, all that this one appended.
    #[must_use]
    pub fn journal_bytes(&self) -> u64 {
        // Committed first: it can only grow, so the difference is never too small.
        let committed = self.committed_bytes.load(Ordering::Acquire);
        let own = self
            .appended_bytes
            .load(Ordering::Acquire)
            .saturating_sub(committed);
        own.saturating_add(self.foreign_backlog_bytes.load(Ordering::Relaxed))
    }

    /// An upper bound of the age of the oldest entry that is not in the database yet; zero when
    /// everything is.
    #[must_use]
    pub fn lag(&self) -> Duration {
        if self.journal_bytes() == 0 && self.held() == 0 {
            return Duration::ZERO;
        }
        let now = micros(self.started.elapsed());
        Duration::from_micros(now.saturating_sub(self.caught_up_us.load(Ordering::Relaxed)))
    }

    /// How long commits to the database took.
    #[must_use]
    pub fn commit_durations(&self) -> CommitDurations {
        let mut cumulative = [0; COMMIT_BUCKETS_US.len()];
        let mut count = 0;
        for (slot, bucket) in cumulative.iter_mut().zip(&self.commit_counts) {
            count += bucket.load(Ordering::Relaxed);
            *slot = count;
        }
        count += self.commit_counts[COMMIT_BUCKETS_US.len()].load(Ordering::Relaxed);
        CommitDurations {
            cumulative,
            count,
            sum_us: self.commit_sum_us.load(Ordering::Relaxed),
        }
    }

    /// Offset in the process's own stream up to which the database has it.
    pub(super) fn committed_bytes(&self) -> u64 {
        self.committed_bytes.load(Ordering::Acquire)
    }

    /// Notes one commit.
    pub(super) fn observe_commit(&self, duration: Duration) {
        let us = micros(duration);
        let bucket = COMMIT_BUCKETS_US.partition_point(|&bound| bound < us);
        self.commit_counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.commit_sum_us.fetch_add(us, Ordering::Relaxed);
    }

    /// Notes that everything appended before `moment` is in the database, and whether this process
    /// is the only one that appends.
    pub(super) fn caught_up(&self, moment: Instant, alone: bool) {
        let us = micros(moment.saturating_duration_since(self.started));
        self.caught_up_us.store(us, Ordering::Relaxed);
        self.alone.store(alone, Ordering::Relaxed);
        self.has_caught_up.store(true, Ordering::Release);
    }

    /// Whether the database once held all of the journal.
    pub(super) fn has_caught_up(&self) -> bool {
        self.has_caught_up.load(Ordering::Acquire)
    }

    /// Whether no other process appended when the database held all of the journal last.
    pub(super) fn is_alone(&self) -> bool {
        self.alone.load(Ordering::Relaxed)
    }
}
