//! Knowing when the database has what earlier processes left in the journal.

use std::sync::Arc;
use std::time::Duration;

use super::control::Control;
use super::stats::LedgerStats;

/// Tells whether what earlier processes left in the journal is in the database, as far as this
/// process's writer knows.
#[derive(Clone, Debug)]
pub struct Recovery {
    control: Arc<Control>,
    stats: Arc<LedgerStats>,
}

impl Recovery {
    pub(super) fn new(control: Arc<Control>, stats: Arc<LedgerStats>) -> Self {
        Self { control, stats }
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
}
