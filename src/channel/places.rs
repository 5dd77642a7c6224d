//! How many requests are on their way through a channel, and how many may be.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places of one channel.
#[derive(Debug)]
pub(super) struct Places {
    taken: AtomicU32,
    /// Hands out the places in the order in which they were asked for; `None` without a bound.
    bound: Option<Arc<Semaphore>>,
}

/// One place: without a bound there is nothing to give back.
pub(super) type Seat = Option<OwnedSemaphorePermit>;

impl Places {
    pub(super) fn new(max_in_flight: Option<u32>) -> Self {
        let places = |max| usize::try_from(max).unwrap_or(usize::MAX);
        Self {
            taken: AtomicU32::new(0),
            bound: max_in_flight
                .map(|max| Arc::new(Semaphore::new(places(max).min(Semaphore::MAX_PERMITS)))),
        }
    }

    /// A place, where one is free and nobody waits for it.
    pub(super) fn seat(&self) -> Option<Seat> {
        match &self.bound {
            None => Some(None),
            Some(bound) => Arc::clone(bound).try_acquire_owned().ok().map(Some),
        }
    }

    /// Whether a place is free.
    pub(super) fn has_seat(&self) -> bool {
        self.bound
            .as_ref()
            .is_none_or(|bound| bound.available_permits() > 0)
    }

    /// What to wait at for a place; `None` without a bound.
    pub(super) fn queue(&self) -> Option<Arc<Semaphore>> {
        self.bound.as_ref().map(Arc::clone)
    }

    /// Requests on their way.
    pub(super) fn taken(&self) -> u32 {
        self.taken.load(Ordering::Relaxed)
    }

    /// A request goes on its way.
    pub(super) fn enter(&self) {
        self.taken.fetch_add(1, Ordering::Relaxed);
    }

    /// It has come to its end.
    pub(super) fn leave(&self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
    }
}
