//! What dispatch says about itself: counters by receiver.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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

/// The counters.
#[derive(Debug)]
pub struct DispatchStats {
    receivers: Vec<ReceiverStats>,
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
        let of = |name: &Arc<str>| ReceiverStats {
            name: Arc::clone(name),
            results: Default::default(),
            failures: Default::default(),
            queued: AtomicU64::new(0),
        };
        Self {
            receivers: names.into_iter().map(of).collect(),
        }
    }

    /// Each receiver's, in the order of the settings.
    pub fn receivers(&self) -> impl Iterator<Item = &ReceiverStats> {
        self.receivers.iter()
    }

    /// One receiver's.
    #[must_use]
    pub fn receiver(&self, name: &str) -> Option<&ReceiverStats> {
        self.receivers.iter().find(|known| *known.name == *name)
    }

    /// Notifications that wait, over all receivers.
    #[must_use]
    pub fn queued(&self) -> u64 {
        self.receivers.iter().map(ReceiverStats::queued).sum()
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
