//! What became of the wishes, for `/metrics`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::record::closed_set;

closed_set! {
    /// What came of making an outside channel follow.
    SyncResult ("result of following") {
        /// It was changed, and says so.
        Changed => "changed",
        /// It was as it should be.
        Unchanged => "unchanged",
        /// It could not be; it is tried again.
        Failed => "failed",
    }
}

/// How the outside channels follow.
#[derive(Debug, Default)]
pub struct FollowerStats {
    channels: Vec<FollowedChannel>,
}

/// How one outside channel follows.
#[derive(Debug)]
pub struct FollowedChannel {
    name: Arc<str>,
    synced: AtomicBool,
    results: [AtomicU64; SyncResult::ALL.len()],
}

impl FollowerStats {
    pub(super) fn new(channels: impl Iterator<Item = Arc<str>>) -> Self {
        let channel = |name| FollowedChannel {
            name,
            synced: AtomicBool::new(false),
            results: Default::default(),
        };
        Self {
            channels: channels.map(channel).collect(),
        }
    }

    /// Every channel that is followed.
    #[must_use]
    pub fn channels(&self) -> &[FollowedChannel] {
        &self.channels
    }
}

impl FollowedChannel {
    /// Its name here.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether it was seen to be what the gate wishes, and the gate wishes the same still.
    #[must_use]
    pub fn synced(&self) -> bool {
        self.synced.load(Ordering::Relaxed)
    }

    /// How often that came of it.
    #[must_use]
    pub fn count(&self, result: SyncResult) -> u64 {
        self.results[result as usize].load(Ordering::Relaxed)
    }

    pub(super) fn note(&self, result: SyncResult) {
        self.results[result as usize].fetch_add(1, Ordering::Relaxed);
        self.synced
            .store(result != SyncResult::Failed, Ordering::Relaxed);
    }

    pub(super) fn behind(&self) {
        self.synced.store(false, Ordering::Relaxed);
    }
}
