//! What is held after its request ended here: until its usage is told, or its time is over.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::{HashMap, HashSet};

use super::engine::{Reservation, Rules};
use crate::clock::UnixMicros;

/// How long what is held of a thing that is made in the background waits for its usage: OpenAI's batches
/// end within a day.
pub(super) const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// All of it, by the id that usage is told under.
#[derive(Debug, Default)]
pub(super) struct KeptHolds(Mutex<All>);

#[derive(Debug, Default)]
struct All {
    by_id: HashMap<Arc<str>, Kept>,
    /// While a preparation reads the ledger, its number and what was taken since it began: the
    /// snapshot that it reads may still say that it is awaited.
    taken: Option<(u64, HashSet<Arc<str>>)>,
}

/// What is held until its usage comes, or its time is over.
#[derive(Debug)]
struct Kept {
    reservation: Reservation,
    until: UnixMicros,
    /// Whether it was read from the ledger, and is whenever that is read.
    from_ledger: bool,
}

impl Rules {
    /// Keeps what is held for a thing whose usage is told later, under its id. Returns what is not
    /// kept, since the row of its request is all that counts: to be handed to
    /// [`observe`](Self::observe) with it.
    #[must_use]
    pub fn keep(&self, held: Reservation, id: &str, now: UnixMicros) -> Reservation {
        let mut rest = Reservation::default();
        let mut reservation = Reservation::default();
        for hold in held.holds {
            match hold.awaited() {
                Ok(awaited) => reservation.holds.push(awaited),
                Err(of_row) => rest.holds.push(of_row),
            }
        }
        if !reservation.is_empty() {
            let kept = Kept {
                reservation,
                until: now.plus(KEPT),
                from_ledger: false,
            };
            self.kept.all().by_id.insert(Arc::from(id), kept);
        }
        rest
    }

    /// What was kept under an id; nothing where nothing was. To be handed to
    /// [`observe`](Self::observe) with the usage, whose row the journal has by now.
    #[must_use]
    pub fn take_kept(&self, id: &str) -> Reservation {
        let mut all = self.kept.all();
        if let Some((_, taken)) = &mut all.taken {
            taken.insert(Arc::from(id));
        }
        let kept = all.by_id.remove(id);
        drop(all);
        kept.map(|kept| kept.reservation).unwrap_or_default()
    }

    /// Gives back what nobody told the usage of in time.
    pub(super) fn end_leases(&self, now: UnixMicros) {
        let mut over = Vec::new();
        self.kept.all().by_id.retain(|_, kept| {
            let ends = kept.until <= now;
            if ends {
                let holds = kept.reservation.holds.drain(..);
                over.extend(holds.map(|hold| (hold, kept.until)));
            }
            !ends
        });
        for (hold, at) in over {
            hold.slip(at, true);
        }
    }
}

impl KeptHolds {
    /// From here on it is noted what is taken, for the preparation of that number.
    pub(super) fn listen(&self, number: u64) {
        self.all().taken = Some((number, HashSet::default()));
    }

    /// The preparation of that number is over.
    pub(super) fn stop_listening(&self, number: u64) {
        let mut all = self.all();
        if all.taken.as_ref().is_some_and(|(of, _)| *of == number) {
            all.taken = None;
        }
    }

    /// Puts what the ledger tells in the place of what it told before. `held` holds what is to be kept
    /// until a moment, and is not called for what is known from elsewhere.
    pub(super) fn replace<T>(
        &self,
        told: impl IntoIterator<Item = (Arc<str>, UnixMicros, T)>,
        mut held: impl FnMut(T, UnixMicros) -> Option<Reservation>,
    ) {
        let mut all = self.all();
        let All { by_id, taken } = &mut *all;
        by_id.retain(|_, kept| !kept.from_ledger);
        for (id, until, what) in told {
            let is_taken = taken.as_ref().is_some_and(|(_, ids)| ids.contains(&id));
            if is_taken || by_id.get(&id).is_some_and(|kept| !kept.from_ledger) {
                continue;
            }
            if let Some(reservation) = held(what, until) {
                let kept = Kept {
                    reservation,
                    until,
                    from_ledger: true,
                };
                by_id.insert(id, kept);
            }
        }
    }

    fn all(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
