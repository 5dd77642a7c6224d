//! What payload capture says about itself, for the metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// What became of the payloads that were to be kept, over the life of the process.
#[derive(Debug, Default)]
pub struct PayloadStats {
    written: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
}

impl PayloadStats {
    /// Written to a file.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Dropped because too much was waiting to be written.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Lost because the disk refused them.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    pub(super) fn count_written(&self) {
        self.written.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }
}
