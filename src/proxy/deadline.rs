//! The limits that Pingora's single read timeout cannot express.
//!
//! Pingora bounds every read from an upstream by one time. `limits.first_byte` and `limits.idle`
//! are two, and `limits.total` is a third over all of them. So Pingora gets the longer of the two,
//! and only where that is not exact a [`Watchdog`] watches over the rest: it holds a duplicate of
//! the connection's descriptor and shuts the connection down when a limit is over. Pingora then
//! sees a broken upstream and takes its ordinary way to the error answer, which asks the watchdog
//! what had happened. With the default settings (two equal limits, no total) there is none.

use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::net::{Shutdown, shutdown};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::clock::micros;
use crate::config::Limits;

/// The limit that was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expired {
    /// `limits.first_byte`.
    FirstByte,
    /// `limits.idle`, between two pieces of the answer.
    Idle,
    /// `limits.total`.
    Total,
    /// Pingora's own timeout, which stands for whichever of the first two is longer.
    Silence,
}

impl Expired {
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::FirstByte => "first_byte_timeout",
            Self::Idle => "idle_timeout",
            Self::Total => "total_timeout",
            Self::Silence => "timeout",
        }
    }

    pub(super) const fn limit(self) -> &'static str {
        match self {
            Self::FirstByte => "limits.first_byte",
            Self::Idle => "limits.idle",
            Self::Total => "limits.total",
            Self::Silence => "limits.first_byte or limits.idle",
        }
    }
}

/// What Pingora is told: the longest silence of an upstream.
pub(super) fn read_timeout(limits: &Limits) -> Duration {
    limits.first_byte.max(limits.idle)
}

#[derive(Debug)]
struct Shared {
    /// 0, or one more than the index of the limit that was over.
    expired: AtomicU8,
    /// Microseconds from the watchdog's start to the last sign of life.
    last_sign_us: AtomicU64,
    /// Whether the answer's header has arrived.
    answering: AtomicBool,
    header_arrived: Notify,
}

const EXPIRED: [Expired; 3] = [Expired::FirstByte, Expired::Idle, Expired::Total];

/// Watches one try at an upstream, until dropped.
#[derive(Debug)]
pub(super) struct Watchdog {
    shared: Arc<Shared>,
    since: Instant,
    task: AbortHandle,
}

impl Watchdog {
    /// Whether Pingora's timeout alone is not exact.
    pub(super) fn needed(limits: &Limits) -> bool {
        limits.total.is_some() || limits.first_byte != limits.idle
    }

    /// Begins to watch the connection `socket`, which is open now, for a request that started at
    /// `started`. `None` when its descriptor cannot be duplicated; Pingora's timeout remains.
    pub(super) fn watch(socket: RawFd, started: Instant, limits: &Limits) -> Option<Self> {
        let connection = duplicate(socket)?;
        let since = Instant::now();
        let shared = Arc::new(Shared {
            expired: AtomicU8::new(0),
            last_sign_us: AtomicU64::new(0),
            answering: AtomicBool::new(false),
            header_arrived: Notify::new(),
        });
        let over = limits.total.map(|total| started + total);
        let (first_byte, idle) = (limits.first_byte, limits.idle);
        let state = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            let expired = loop {
                let answering = state.answering.load(Ordering::Acquire);
                let sign = Duration::from_micros(state.last_sign_us.load(Ordering::Acquire));
                let silence = if answering { idle } else { first_byte };
                let mut next = since + sign + silence;
                let mut which = u8::from(answering);
                if let Some(over) = over.filter(|&over| over <= next) {
                    (next, which) = (over, 2);
                }
                if next <= Instant::now() {
                    break which;
                }
                tokio::select! {
                    () = tokio::time::sleep_until(next.into()) => {}
                    // Another, perhaps shorter limit holds from here on.
                    () = state.header_arrived.notified() => {}
                }
            };
            state.expired.store(expired + 1, Ordering::Release);
            // The connection may be closed already; then there is nothing left to stop.
            let _ = shutdown(&connection, Shutdown::Both);
        })
        .abort_handle();
        Some(Self {
            shared,
            since,
            task,
        })
    }

    /// The request went out, or a piece of the answer came in.
    pub(super) fn sign_of_life(&self, now: Instant) {
        let us = micros(now.saturating_duration_since(self.since));
        self.shared.last_sign_us.store(us, Ordering::Release);
    }

    /// The answer's header arrived.
    pub(super) fn answering(&self, now: Instant) {
        self.sign_of_life(now);
        self.shared.answering.store(true, Ordering::Release);
        self.shared.header_arrived.notify_one();
    }

    /// The limit that was over, if one was.
    pub(super) fn expired(&self) -> Option<Expired> {
        let index = self.shared.expired.load(Ordering::Acquire).checked_sub(1)?;
        EXPIRED.get(usize::from(index)).copied()
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A descriptor of our own for the same connection: shutting it down can never hit another
/// connection that got the same number after this one was closed.
pub(super) fn duplicate(socket: RawFd) -> Option<OwnedFd> {
    #[allow(
        unsafe_code,
        reason = "Pingora hands the number of a socket it owns and keeps open for the whole call \
                  this happens in (connected_to_upstream), so the borrow is of an open descriptor \
                  and ends before Pingora can close it"
    )]
    // SAFETY: as the reason above says: `socket` is open for the duration of this borrow, which
    // ends with this statement; `try_clone_to_owned` makes an independent descriptor.
    let open = unsafe { BorrowedFd::borrow_raw(socket) }.try_clone_to_owned();
    open.ok()
}
