//! What dispatch says about itself: counters by receiver.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::notify::FailureReason;
use crate::record::closed_set;

closed_set! {
    /// What became of a notification, or why there is none: the label `result`.
    DispatchResult ("result of a notification") {
        /// The receiver took it.
        Sent => "sent",
        /// The receiver took another one, with what this one says in it.
        Merged => "merged",
        /// A newer one of its group took its place before it was sent.
        Replaced => "replaced",
        /// It was given up.
        Dead => "dead",
        /// A try failed that is followed by another.
        Retried => "retried",
        /// A silence kept it back.
        Silenced => "silenced",
        /// Another alert or a closed channel kept it back.
        Inhibited => "inhibited",
        /// A mute time kept it back.
        Muted => "muted",
    }
}

/// The counters. A receiver that is taken out of the settings keeps its own until the process ends.
#[derive(Debug, Default)]
pub struct DispatchStats {
    receivers: RwLock<Vec<Arc<ReceiverStats>>>,
}

/// The counters of one receiver.
#[derive(Debug)]
pub struct ReceiverStats {
    /// Its name.
    pub name: Arc<str>,
    results: [AtomicU64; DispatchResult::ALL.len()],
    failures: [AtomicU64; FailureReason::ALL.len()],
    queued: AtomicU64,
}

impl DispatchStats {
    /// Of receivers of these names.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a Arc<str>>) -> Self {
        let stats = Self::default();
        for name in names {
            stats.receiver(name);
        }
        stats
    }

    /// Each receiver's, in the order in which they were first set.
    #[must_use]
    pub fn receivers(&self) -> Vec<Arc<ReceiverStats>> {
        let receivers = self.receivers.read();
        receivers.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// One receiver's, which begin with the first call.
    pub fn receiver(&self, name: &str) -> Arc<ReceiverStats> {
        let mut receivers = self
            .receivers
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = receivers.iter().find(|known| *known.name == *name) {
            return Arc::clone(known);
        }
        let new = Arc::new(ReceiverStats {
            name: name.into(),
            results: Default::default(),
            failures: Default::default(),
            queued: AtomicU64::new(0),
        });
        receivers.push(Arc::clone(&new));
        new
    }

    /// Notifications that wait, over all receivers.
    #[must_use]
    pub fn queued(&self) -> u64 {
        let receivers = self.receivers();
        receivers.iter().map(|receiver| receiver.queued()).sum()
    }
}

impl ReceiverStats {
    /// Counts one.
    pub fn count(&self, result: DispatchResult) {
        self.results[result as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a try that failed.
    pub fn count_failure(&self, reason: FailureReason) {
        self.failures[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many came to that.
    #[must_use]
    pub fn results(&self, result: DispatchResult) -> u64 {
        self.results[result as usize].load(Ordering::Relaxed)
    }

    /// How many tries failed for that.
    #[must_use]
    pub fn failures(&self, reason: FailureReason) -> u64 {
        self.failures[reason as usize].load(Ordering::Relaxed)
    }

    /// How many wait.
    #[must_use]
    pub fn queued(&self) -> u64 {
        self.queued.load(Ordering::Relaxed)
    }

    /// Says how many wait.
    pub fn set_queued(&self, count: usize) {
        self.queued.store(count as u64, Ordering::Relaxed);
    }
}
