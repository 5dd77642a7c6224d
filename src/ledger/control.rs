//! What the writer thread and its owner tell each other.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Wishes in one direction, progress in the other.
#[derive(Debug, Default)]
pub(super) struct Control {
    state: Mutex<State>,
    wake: Condvar,
    progress: Condvar,
}

#[derive(Debug, Default)]
struct State {
    wake: bool,
    hand_over: bool,
    close_by: Option<Instant>,
}

impl Control {
    /// Asks the writer to look now.
    pub(super) fn wake(&self) {
        self.lock().wake = true;
        self.wake.notify_all();
    }

    /// Asks the writer to give its role away.
    pub(super) fn hand_over(&self) {
        self.lock().hand_over = true;
        self.wake();
    }

    /// Asks the writer to finish, and to leave what it cannot finish by this moment.
    pub(super) fn close(&self, by: Instant) {
        self.lock().close_by = Some(by);
        self.wake();
    }

    /// Waits until `done` says so, asking it after each of the writer's rounds. `false` after
    /// `timeout`.
    pub(super) fn wait_until(&self, timeout: Duration, done: impl Fn() -> bool) -> bool {
        let (_state, waited) = self
            .progress
            .wait_timeout_while(self.lock(), timeout, |_| !done())
            .unwrap_or_else(PoisonError::into_inner);
        !waited.timed_out()
    }

    /// By when the writer shall have finished, once it shall.
    pub(super) fn close_by(&self) -> Option<Instant> {
        self.lock().close_by
    }

    /// Whether the writer shall give its role away; asked once.
    pub(super) fn take_hand_over(&self) -> bool {
        std::mem::take(&mut self.lock().hand_over)
    }

    /// Says that a round is over, then sleeps until the next one is due or asked for.
    pub(super) fn sleep(&self, pause: Duration) {
        let state = self.lock();
        self.progress.notify_all();
        let (mut state, _) = self
            .wake
            .wait_timeout_while(state, pause, |state| !state.wake)
            .unwrap_or_else(PoisonError::into_inner);
        state.wake = false;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
