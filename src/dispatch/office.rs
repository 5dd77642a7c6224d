//! What is known and what waits, behind one lock; and what is done with each notification on its way:
//! kept, queued, settled. Holding the lock never waits for anything.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use crate::alert::{Notification, NotificationFate, NotificationKind, NotificationResult};
use crate::clock::UnixMicros;
use crate::config::NotifySettings;
use crate::ledger::Journal;
use crate::notify::Delivered;

use super::board::Board;
use super::deduplicate::Told;
use super::destination::Destination;
use super::group::Earlier;
use super::kept::Kept;
use super::letters::{self, Letter};
use super::notices::Notices;
use super::pacing::{Pacer, Shared};
use super::queue::{Queue, Settled, Step, Waiting};
use super::stats::{DispatchResult, DispatchStats, ReceiverStats};

/// A receiver and what it shares with nobody.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) destination: Destination,
    pub(super) stats: Arc<ReceiverStats>,
    /// Told that something waits.
    pub(super) wake: Notify,
}

/// What is known and what waits.
#[derive(Debug)]
pub(super) struct State {
    pub(super) board: Board,
    pub(super) notices: Notices,
    queues: HashMap<Arc<str>, Queue>,
}

/// Where notifications are kept, queued and settled.
#[derive(Debug)]
pub(super) struct Office {
    state: Mutex<State>,
    desks: HashMap<Arc<str>, Arc<Desk>>,
    journal: Arc<Journal>,
}

impl Office {
    pub(super) fn new(
        settings: &NotifySettings,
        destinations: Vec<Destination>,
        stats: &DispatchStats,
        journal: Arc<Journal>,
    ) -> Self {
        let shared = Shared::default();
        let mut desks = HashMap::new();
        let mut queues = HashMap::new();
        for destination in destinations {
            let name = Arc::clone(&destination.settings.name);
            let pacer = Pacer::new(&destination.receiver.pace(), &shared, Instant::now());
            let queue = Queue::new(pacer, destination.receiver.merges());
            queues.insert(Arc::clone(&name), queue);
            let desk = Desk {
                stats: stats.receiver(&name),
                destination,
                wake: Notify::new(),
            };
            desks.insert(name, Arc::new(desk));
        }
        Self {
            state: Mutex::new(State {
                board: Board::new(settings),
                notices: Notices::new(&settings.notices),
                queues,
            }),
            desks,
            journal,
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn desks(&self) -> impl Iterator<Item = &Arc<Desk>> {
        self.desks.values()
    }

    pub(super) fn desk(&self, receiver: &str) -> Option<&Arc<Desk>> {
        self.desks.get(receiver)
    }

    /// Keeps a notification, then queues it.
    pub(super) fn post(&self, letter: Letter, now: UnixMicros) {
        // First: what waits shall survive.
        self.journal.notification_kept(&letter.notification);
        self.queue(Arc::new(letter.notification), letter.told, now);
    }

    /// Queues one that is kept already. One to a receiver that is no more is given up.
    pub(super) fn queue(
        &self,
        notification: Arc<Notification>,
        told: Option<Arc<Told>>,
        now: UnixMicros,
    ) {
        let receiver = Arc::clone(&notification.receiver);
        let waiting = Waiting::new(notification, told);
        let Some(desk) = self.desks.get(&receiver) else {
            let error = "the settings have no such receiver any more";
            self.settle(&waiting.dead(now, error), now);
            return;
        };
        let (replaced, count) = {
            let mut state = self.lock();
            let Some(queue) = state.queues.get_mut(&receiver) else {
                return;
            };
            (queue.push(waiting, now), queue.len())
        };
        desk.stats.set_queued(count);
        desk.wake.notify_one();
        for replaced in &replaced {
            self.settle(replaced, now);
        }
    }

    /// What a receiver is to be sent now. What passed its deadline is given up.
    pub(super) fn step(&self, desk: &Desk, now: UnixMicros, clock: Instant) -> Step {
        let mut dead = Vec::new();
        let (step, count) = {
            let mut state = self.lock();
            let Some(queue) = state.queues.get_mut(&desk.destination.settings.name) else {
                return Step::Wait(None);
            };
            (queue.step(now, clock, &mut dead), queue.len())
        };
        desk.stats.set_queued(count);
        for settled in &dead {
            self.settle(settled, now);
        }
        step
    }

    /// What came of sending.
    pub(super) fn answered(
        &self,
        desk: &Desk,
        delivered: &Delivered,
        now: UnixMicros,
        clock: Instant,
        jitter: f64,
    ) {
        let name = &desk.destination.settings.name;
        let (settled, count) = {
            let mut state = self.lock();
            let State { board, queues, .. } = &mut *state;
            let Some(queue) = queues.get_mut(name) else {
                return;
            };
            let settled = queue.answered(delivered, now, clock, jitter);
            for settled in &settled {
                let fate = &settled.fate;
                let taken = |_: &&Arc<Told>| was_taken(fate.result);
                if let Some(told) = settled.waiting.told.as_ref().filter(taken) {
                    let group = &settled.waiting.notification.group;
                    board.delivered(group, name, told, fate.reference.as_ref());
                }
            }
            (settled, queue.len())
        };
        desk.stats.set_queued(count);
        match delivered {
            Delivered::Sent { .. } => {}
            Delivered::Again { reason, .. } => {
                desk.stats.count(DispatchResult::Retried);
                desk.stats.count_failure(*reason);
            }
            Delivered::GiveUp { reason, .. } => desk.stats.count_failure(*reason),
        }
        for settled in &settled {
            self.settle(settled, now);
        }
    }

    /// Keeps a fate; tells somebody else of a dead one.
    fn settle(&self, settled: &Settled, now: UnixMicros) {
        let notification = &settled.waiting.notification;
        let desk = self.desks.get(&notification.receiver);
        if let Some(desk) = desk {
            desk.stats.count(match settled.fate.result {
                NotificationResult::Sent => DispatchResult::Sent,
                NotificationResult::Merged => DispatchResult::Merged,
                NotificationResult::Replaced => DispatchResult::Replaced,
                NotificationResult::Dead => DispatchResult::Dead,
            });
        }
        if settled.fate.result == NotificationResult::Dead {
            // First: what was given up is somebody's before it is nobody's.
            self.give_up(settled, now);
        }
        self.journal.notification_settled(&settled.fate);
    }

    /// Says that a notification was given up, to the log and to the receiver's fallback.
    fn give_up(&self, settled: &Settled, now: UnixMicros) {
        let notification = &settled.waiting.notification;
        let desk = self.desks.get(&notification.receiver);
        let fallback = desk.and_then(|desk| desk.destination.settings.fallback.as_ref());
        tracing::error!(
            receiver = &*notification.receiver,
            kind = %notification.kind,
            title = &*notification.title,
            attempts = settled.fate.attempts,
            error = settled.fate.error.as_deref(),
            fallback = fallback.map(|name| &**name),
            "a notification was given up"
        );
        if let Some(fallback) = fallback.and_then(|name| self.desks.get(name)) {
            self.fall_back(settled, fallback, now);
        }
    }

    fn fall_back(&self, dead: &Settled, to: &Desk, now: UnixMicros) {
        let notification = &dead.waiting.notification;
        let letter = |waiting: Option<&Notification>| {
            let to = &to.destination;
            letters::of_undelivered(notification, &dead.fate, waiting, to, now)
        };
        let first = letter(None);
        let waiting = {
            let state = self.lock();
            let queue = state.queues.get(&to.destination.settings.name);
            let waiting = queue.and_then(|queue| queue.replaceable(&first.notification));
            waiting.cloned()
        };
        let whole = waiting.map_or(first, |waiting| letter(Some(&waiting)));
        self.post(whole, now);
    }

    /// What a receiver calls the message that this one is told under.
    pub(super) fn reference(&self, waiting: &Waiting) -> Option<Arc<str>> {
        let told = waiting.told.as_ref()?;
        let notification = &waiting.notification;
        let state = self.lock();
        state
            .board
            .reference(&notification.group, &notification.receiver, told)
    }

    /// Takes over what an earlier run told, and what became of it.
    pub(super) fn was_told(&self, notification: &Notification, fate: Option<&NotificationFate>) {
        let Some(kept) = Kept::read(&notification.told) else {
            return;
        };
        let mut state = self.lock();
        match (notification.kind, kept) {
            (NotificationKind::Alert, Kept::Alerts(mut told)) => {
                if told.thread == notification.id {
                    told.reference = fate.and_then(|fate| fate.reference.clone());
                }
                let delivered = fate.is_some_and(|fate| was_taken(fate.result));
                let earlier = Earlier {
                    receiver: Arc::clone(&notification.receiver),
                    told: Arc::new(told),
                    delivered,
                    owed: if delivered {
                        Vec::new()
                    } else {
                        letters::over(notification)
                    },
                };
                state.board.was_told(&notification.group, earlier);
            }
            (NotificationKind::Channel, Kept::Channel(told)) => {
                if let Some(channel) = letters::channel_of(&notification.group) {
                    state.notices.was_told(channel, told);
                }
            }
            _ => {}
        }
    }
}

/// Whether the receiver has it.
const fn was_taken(result: NotificationResult) -> bool {
    matches!(
        result,
        NotificationResult::Sent | NotificationResult::Merged
    )
}
