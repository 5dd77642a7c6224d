//! A channel's gate: open while nobody holds it closed.
//!
//! Policies (the breaker, alerts, operators) write it, each its own hold, behind a lock. The path of
//! a request reads one word, which says what the holds come to and until when that is so; only who
//! comes later takes the lock and settles what is over.
//!
//! The breaker's hold does not end by itself: its `until` is when the next request may go through to
//! find out whether the others may again (see `breaker.rs`). Every other hold ends at its `until`.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::breaker::Pace;
use super::cooldown::Cooling;
use crate::clock::UnixMicros;
use crate::record::{ChannelEvent, GateReason, GateState, Owner};

/// Who is told of every change of a gate, before the call that made the change returns. Called with
/// the gate's lock held: must not block and must not call back.
pub trait GateObserver: std::fmt::Debug + Send + Sync {
    /// A hold changed.
    fn changed(&self, event: &ChannelEvent);
}

/// Nobody is told.
#[derive(Clone, Copy, Debug)]
pub struct Unobserved;

impl GateObserver for Unobserved {
    fn changed(&self, _event: &ChannelEvent) {}
}

/// A wish to close a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closing {
    /// Whose hold it is.
    pub owner: Owner,
    /// Why.
    pub reason: GateReason,
    /// When it ends by itself, or, for the breaker's, when the next probe may go; `None` for a hold
    /// that waits for its owner or an operator.
    pub until: Option<UnixMicros>,
    /// Who does it.
    pub who: Option<Arc<str>>,
    /// In words.
    pub note: Option<Arc<str>>,
}

/// One owner's hold on a gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Since when; a probe that fails does not begin a new hold.
    pub since: UnixMicros,
    /// What it is.
    pub closing: Closing,
    /// Closed, or probing.
    pub state: GateState,
}

/// A gate as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateStatus {
    /// What it is now.
    pub state: GateState,
    /// Who holds it, the first that did at the front.
    pub holds: Vec<Hold>,
    /// Requests on their way through the channel.
    pub in_flight: u32,
    /// When the next request may go through to find out whether the others may again; `None` while
    /// one does, and while somebody else than the breaker holds the gate.
    pub next_probe: Option<UnixMicros>,
    /// Models that no request goes to the channel for, what ends first at the front.
    pub cooling: Vec<Cooling>,
}

/// What a request finds at a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// Open.
    Open,
    /// Closed by the breaker, and a probe is due.
    ProbeDue,
    /// Closed by the breaker and by nobody else.
    BreakerOnly,
    /// Closed.
    Shut,
}

/// The right of one request to pass a gate that the breaker holds. It ends with the hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket(u64);

/// What the path of a request reads: `OPEN`, or the moment (µs) at which the holds change by
/// themselves, with the highest bit set where only the breaker holds.
mod word {
    use super::UnixMicros;

    pub(super) const OPEN: u64 = 0;
    pub(super) const BREAKER_ONLY: u64 = 1 << 63;
    pub(super) const NEVER: u64 = BREAKER_ONLY - 1;

    /// A moment, which is never mistaken for `OPEN` or `NEVER`.
    pub(super) fn moment(at: UnixMicros) -> u64 {
        u64::try_from(at.0).unwrap_or(1).clamp(1, NEVER - 1)
    }
}

/// One channel's gate.
#[derive(Debug)]
pub(super) struct Gate {
    channel: Arc<str>,
    word: AtomicU64,
    /// Counts the times that the breaker closed it or let go.
    turn: AtomicU32,
    holds: Mutex<Holds>,
    observer: Arc<dyn GateObserver>,
    /// Wakes requests that wait for a place anywhere.
    changed: Arc<Notify>,
}

/// Every hold, and what belongs to the breaker's.
#[derive(Debug)]
pub(super) struct Holds {
    /// The first that closed it at the front; one for each owner.
    pub(super) list: Vec<Hold>,
    /// The probe that has the right to go; while it is on its way the hold is `Probing`.
    pub(super) probe: Option<Ticket>,
    last_ticket: u64,
    /// How long probes wait.
    pub(super) pace: Pace,
}

/// A change of a hold, to be told.
pub(super) struct Change {
    pub(super) owner: Owner,
    pub(super) hold: GateState,
    pub(super) reason: GateReason,
    pub(super) until: Option<UnixMicros>,
    pub(super) who: Option<Arc<str>>,
    pub(super) note: Option<Arc<str>>,
}

impl Gate {
    /// An open gate.
    pub(super) fn new(
        channel: Arc<str>,
        pace: Pace,
        observer: Arc<dyn GateObserver>,
        changed: Arc<Notify>,
    ) -> Self {
        Self {
            channel,
            word: AtomicU64::new(word::OPEN),
            turn: AtomicU32::new(0),
            holds: Mutex::new(Holds {
                list: Vec::new(),
                probe: None,
                last_ticket: 0,
                pace,
            }),
            observer,
            changed,
        }
    }

    /// What a request finds. In the usual case one load.
    pub(super) fn look(&self, now: UnixMicros) -> Sight {
        let sight = self.read(now);
        sight.unwrap_or_else(|| {
            let mut holds = self.lock();
            self.settle(&mut holds, now);
            drop(holds);
            self.read(now).unwrap_or(Sight::Shut)
        })
    }

    /// `None` where a hold is over that the word still tells of.
    fn read(&self, now: UnixMicros) -> Option<Sight> {
        let word = self.word.load(Ordering::Acquire);
        if word == word::OPEN {
            return Some(Sight::Open);
        }
        let is_over = word::moment(now) >= word & !word::BREAKER_ONLY;
        match (word & word::BREAKER_ONLY != 0, is_over) {
            (true, true) => Some(Sight::ProbeDue),
            (true, false) => Some(Sight::BreakerOnly),
            (false, true) => None,
            (false, false) => Some(Sight::Shut),
        }
    }

    /// When the holds change by themselves.
    pub(super) fn changes_at(&self) -> Option<UnixMicros> {
        match self.word.load(Ordering::Acquire) & !word::BREAKER_ONLY {
            word::OPEN | word::NEVER => None,
            moment => i64::try_from(moment).ok().map(UnixMicros),
        }
    }

    /// How often the breaker has closed the gate or let go of it: what was seen in one turn is no
    /// evidence in another.
    pub(super) fn turn(&self) -> u32 {
        self.turn.load(Ordering::Acquire)
    }

    /// Closes it. Whoever looks after this has returned sees it.
    pub(super) fn close(&self, closing: Closing, now: UnixMicros) {
        let mut holds = self.settled(now);
        self.put(&mut holds, closing, now);
    }

    /// Ends `by`'s hold, or, where `by` is an operator, every hold.
    pub(super) fn reopen(
        &self,
        by: &Owner,
        who: Option<&Arc<str>>,
        note: Option<&Arc<str>>,
        now: UnixMicros,
    ) {
        let mut holds = self.settled(now);
        let reason = match by {
            Owner::Operator => GateReason::Operator,
            Owner::Breaker => GateReason::Recovered,
            Owner::Alert(_) => GateReason::Alert,
        };
        let ended = |hold: &Hold| *by == Owner::Operator || hold.closing.owner == *by;
        while let Some(hold) = holds.list.iter().find(|hold| ended(hold)) {
            let change = Change {
                owner: hold.closing.owner.clone(),
                hold: GateState::Open,
                reason,
                until: None,
                who: who.map(Arc::clone),
                note: note.map(Arc::clone),
            };
            self.end(&mut holds, change, now);
        }
    }

    /// Ends the holds whose time is over. Returns when the next one's is.
    pub(super) fn expire(&self, now: UnixMicros) -> Option<UnixMicros> {
        if self.word.load(Ordering::Acquire) == word::OPEN {
            return None;
        }
        let holds = self.settled(now);
        holds.next_end()
    }

    /// What it is now, as far as it is the gate's to say.
    pub(super) fn status(&self, now: UnixMicros) -> (GateState, Vec<Hold>, Option<UnixMicros>) {
        let holds = self.settled(now);
        let waits = |hold: &&Hold| hold.state != GateState::Probing;
        let next_probe = holds.only_breaker().filter(waits);
        let next_probe = next_probe.and_then(|hold| hold.closing.until);
        (holds.state(), holds.list.clone(), next_probe)
    }

    /// When it opens, or lets a probe through: `None` where that is not known.
    pub(super) fn opens_at(&self) -> Option<UnixMicros> {
        let holds = self.lock();
        let ends = holds.list.iter().map(|hold| hold.closing.until);
        ends.reduce(|a, b| a.zip(b).map(|(a, b)| a.max(b)))
            .flatten()
    }

    /// Takes over the last event of an owner. Nobody is told. A hold whose time is over ends the
    /// usual way, later, so that its end is told.
    pub(super) fn restore(&self, event: &ChannelEvent) {
        let mut holds = self.lock();
        holds.list.retain(|hold| hold.closing.owner != event.owner);
        if event.hold != GateState::Open {
            if event.owner == Owner::Breaker
                && let Some(until) = event.until
            {
                holds.pace.resume(until.since(event.at));
            }
            let since = event.at;
            let at = holds.list.partition_point(|hold| hold.since <= since);
            holds.list.insert(
                at,
                Hold {
                    since,
                    closing: Closing {
                        owner: event.owner.clone(),
                        reason: event.reason,
                        until: event.until,
                        who: event.who.clone(),
                        note: event.note.clone(),
                    },
                    state: GateState::Closed,
                },
            );
        }
        self.show(&holds);
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Holds> {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets `closing` as its owner's hold.
    pub(super) fn put(&self, holds: &mut Holds, closing: Closing, now: UnixMicros) {
        let change = Change {
            owner: closing.owner.clone(),
            hold: GateState::Closed,
            reason: closing.reason,
            until: closing.until,
            who: closing.who.clone(),
            note: closing.note.clone(),
        };
        if closing.owner == Owner::Breaker {
            self.next_turn(holds);
        }
        holds
            .list
            .retain(|hold| hold.closing.owner != closing.owner);
        holds.list.push(Hold {
            since: now,
            closing,
            state: GateState::Closed,
        });
        self.tell(holds, change, now);
    }

    /// Takes the hold of the change's owner away.
    pub(super) fn end(&self, holds: &mut Holds, change: Change, now: UnixMicros) {
        if change.owner == Owner::Breaker {
            self.next_turn(holds);
        }
        holds.list.retain(|hold| hold.closing.owner != change.owner);
        self.tell(holds, change, now);
    }

    /// Shows readers what the holds come to, then tells the observer.
    pub(super) fn tell(&self, holds: &Holds, change: Change, now: UnixMicros) {
        // Not the lock but this store is what admissions obey; it is in force before anybody hears
        // of the change.
        self.show(holds);
        self.observer.changed(&ChannelEvent {
            at: now,
            channel: Arc::clone(&self.channel),
            owner: change.owner,
            hold: change.hold,
            state: holds.state(),
            reason: change.reason,
            until: change.until,
            who: change.who,
            note: change.note,
        });
        self.wake();
    }

    /// Wakes requests that wait for a place anywhere.
    pub(super) fn wake(&self) {
        self.changed.notify_waiters();
    }

    /// Shows readers what the holds come to where nobody need hear of it.
    pub(super) fn show(&self, holds: &Holds) {
        self.word.store(holds.word(), Ordering::SeqCst);
    }

    /// The holds without those whose time is over.
    pub(super) fn settled(&self, now: UnixMicros) -> MutexGuard<'_, Holds> {
        let mut holds = self.lock();
        self.settle(&mut holds, now);
        holds
    }

    /// What was seen before is no evidence from now on.
    pub(super) fn next_turn(&self, holds: &mut Holds) {
        holds.probe = None;
        self.turn.fetch_add(1, Ordering::AcqRel);
    }

    /// Ends the holds whose time is over.
    fn settle(&self, holds: &mut Holds, now: UnixMicros) {
        while let Some(hold) = holds.list.iter().find(|hold| hold.is_over(now)) {
            let change = Change {
                owner: hold.closing.owner.clone(),
                hold: GateState::Open,
                reason: GateReason::Expired,
                until: None,
                who: None,
                note: None,
            };
            self.end(holds, change, now);
        }
    }
}

impl Hold {
    fn is_over(&self, now: UnixMicros) -> bool {
        self.closing.owner != Owner::Breaker && self.closing.until.is_some_and(|end| end <= now)
    }
}

impl Holds {
    /// The breaker's hold.
    pub(super) fn breaker(&mut self) -> Option<&mut Hold> {
        self.list
            .iter_mut()
            .find(|hold| hold.closing.owner == Owner::Breaker)
    }

    /// The right to probe, where a probe is due.
    pub(super) fn issue(&mut self, now: UnixMicros) -> Option<Ticket> {
        let due = self.next_probe().is_some_and(|due| due <= now);
        if !due {
            return None;
        }
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        self.probe = Some(ticket);
        Some(ticket)
    }

    fn only_breaker(&self) -> Option<&Hold> {
        match self.list.as_slice() {
            [hold] if hold.closing.owner == Owner::Breaker => Some(hold),
            _ => None,
        }
    }

    fn next_probe(&self) -> Option<UnixMicros> {
        match self.probe {
            None => self.only_breaker()?.closing.until,
            Some(_) => None,
        }
    }

    fn next_end(&self) -> Option<UnixMicros> {
        let ending = self
            .list
            .iter()
            .filter(|hold| hold.closing.owner != Owner::Breaker);
        ending.filter_map(|hold| hold.closing.until).min()
    }

    fn state(&self) -> GateState {
        match (self.list.is_empty(), self.only_breaker()) {
            (true, _) => GateState::Open,
            (false, Some(hold)) => hold.state,
            (false, None) => GateState::Closed,
        }
    }

    fn word(&self) -> u64 {
        if self.list.is_empty() {
            word::OPEN
        } else if self.only_breaker().is_some() {
            word::BREAKER_ONLY | self.next_probe().map_or(word::NEVER, word::moment)
        } else {
            self.next_end().map_or(word::NEVER, word::moment)
        }
    }
}
