//! What the writer thread and its owner tell each other.

use std::sync::mpsc::{self, Sender};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::keys::{KeyChange, KeyError};
use super::reprice::{Job, RepriceError};
use super::silences::{SilenceChange, SilenceError};

/// Something small that the writer changes between its rounds.
#[derive(Debug)]
pub(super) enum Change {
    Key(Wish<KeyChange, KeyError>),
    Silence(Wish<SilenceChange, SilenceError>),
}

/// A change that the writer makes, and who waits for it.
#[derive(Debug)]
pub(super) struct Wish<C, E> {
    pub(super) change: C,
    answer: Sender<Result<(), E>>,
}

impl<C, E> Wish<C, E> {
    /// Tells what became of it. Nobody listens any more: what was done is done.
    pub(super) fn tell(self, result: Result<(), E>) {
        let _ = self.answer.send(result);
    }
}

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
    reprice: Reprice,
    changes: Vec<Change>,
}

/// Where the wish to price history anew stands.
#[derive(Debug, Default)]
enum Reprice {
    #[default]
    Idle,
    Asked(Job),
    /// The writer is at it.
    Taken,
    /// There is no writer any more.
    Over,
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

    /// Asks the writer to price history anew.
    pub(super) fn ask_to_reprice(&self, job: Job) -> Result<(), RepriceError> {
        let mut state = self.lock();
        match state.reprice {
            Reprice::Idle => state.reprice = Reprice::Asked(job),
            Reprice::Asked(_) | Reprice::Taken => return Err(RepriceError::Busy),
            Reprice::Over => return Err(RepriceError::NotWriter),
        }
        drop(state);
        self.wake();
        Ok(())
    }

    /// What the writer was asked to price anew.
    pub(super) fn take_reprice(&self) -> Option<Job> {
        let mut state = self.lock();
        if !matches!(state.reprice, Reprice::Asked(_)) {
            return None;
        }
        match std::mem::replace(&mut state.reprice, Reprice::Taken) {
            Reprice::Asked(job) => Some(job),
            _ => None,
        }
    }

    /// The writer is done with it, and can be asked again.
    pub(super) fn repriced(&self) {
        let mut state = self.lock();
        if matches!(state.reprice, Reprice::Taken) {
            state.reprice = Reprice::Idle;
        }
    }

    /// Asks the writer for a change and waits for it; `None` when no writer makes it any more.
    pub(super) fn change<C, E>(
        &self,
        change: C,
        of: fn(Wish<C, E>) -> Change,
    ) -> Option<Result<(), E>> {
        let (answer, answered) = mpsc::channel();
        let mut state = self.lock();
        if matches!(state.reprice, Reprice::Over) {
            return None;
        }
        state.changes.push(of(Wish { change, answer }));
        drop(state);
        self.wake();
        // The writer may go away without a word.
        answered.recv().ok()
    }

    /// The changes that the writer was asked for, in order.
    pub(super) fn take_changes(&self) -> Vec<Change> {
        std::mem::take(&mut self.lock().changes)
    }

    /// The writer ends: nobody need wait for it.
    pub(super) fn writer_ends(&self) {
        let mut state = self.lock();
        state.reprice = Reprice::Over;
        // Who waits for one hears that nobody does it.
        state.changes.clear();
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
