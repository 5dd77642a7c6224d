//! Knowing when the database has what the journal has: of this process, and of earlier ones.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::control::Control;
use super::journal::Journal;
use super::stats::LedgerStats;

/// Tells whether what this process appended to the journal, and what earlier ones left in it, is in
/// the database, as far as this process's writer knows.
#[derive(Clone, Debug)]
pub struct Recovery {
    journal: Arc<Journal>,
    control: Arc<Control>,
    stats: Arc<LedgerStats>,
}

impl Recovery {
    pub(super) fn new(
        journal: Arc<Journal>,
        control: Arc<Control>,
        stats: Arc<LedgerStats>,
    ) -> Self {
        Self {
            journal,
            control,
            stats,
        }
    }

    /// Waits until everything appended before this call is in the database. `false` when it is not
    /// after `timeout`, e.g. because the database is locked or another process is the writer. Blocks.
    #[must_use]
    pub fn flush(&self, timeout: Duration) -> bool {
        self.journal.retry_held();
        let target = self.journal.appended();
        self.control.wake();
        self.control.wait_until(timeout, || {
            self.stats.committed_bytes() >= target && self.stats.held() == 0
        })
    }

    /// Waits until the database has what ended processes left in the journal, and what one that
    /// still runs (during an upgrade) had written when this one became the writer. `false` when it
    /// has not after `timeout`: the database is locked, there is much, or the other process has the
    /// writer's role. Blocks.
    #[must_use]
    pub fn wait(&self, timeout: Duration) -> bool {
        self.control.wake();
        self.control
            .wait_until(timeout, || self.stats.has_caught_up())
    }

    /// Whether nobody else appends to this journal any more: what [`wait`](Self::wait) waited for
    /// was all there will ever be.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.stats.is_alone()
    }

    /// How often this process' writer was asked to keep or end a silence, done or not: while it is the
    /// same, the database's silences are too, but for those of another process.
    #[must_use]
    pub fn silence_changes(&self) -> u64 {
        self.stats.silence_changes.load(Ordering::Acquire)
    }
}
