//! What waits for one receiver: in order, one message at a time, tried again until its deadline, and
//! merged where there is more than may be told.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::alert::{Notification, NotificationFate, NotificationKind, NotificationResult};
use crate::clock::UnixMicros;
use crate::notify::{Delivered, FailureReason};

use super::deduplicate::Told;
use super::pacing::Pacer;

/// The first pause after a failure, doubled with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(5 * 60);
/// Most notifications in one message.
const MOST_MERGED: usize = 100;
/// What may follow so soon is sent by itself, as long as no more than so many wait: each in its own
/// conversation, with its own buttons.
const SOON: Duration = Duration::from_secs(3);
/// See [`SOON`].
const FEW: usize = 5;

/// A notification that waits.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) notification: Arc<Notification>,
    /// What its group had told with it, of an alert's.
    pub(super) told: Option<Arc<Told>>,
    attempts: u32,
    /// Whether it is to be sent by itself, because a message with it and others was refused.
    alone: bool,
}

impl Waiting {
    pub(super) const fn new(notification: Arc<Notification>, told: Option<Arc<Told>>) -> Self {
        Self {
            notification,
            told,
            attempts: 0,
            alone: false,
        }
    }

    /// Given up without a try.
    pub(super) fn dead(self, now: UnixMicros, error: &str) -> Settled {
        let mut settled = settled(self, now, NotificationResult::Dead, None);
        settled.fate.error = Some(error.into());
        settled
    }

    /// Whether a newer one of its group says all that it does.
    fn is_replaced_by(&self, newer: &Notification) -> bool {
        let kind = self.notification.kind;
        matches!(
            kind,
            NotificationKind::Alert | NotificationKind::Undelivered
        ) && kind == newer.kind
            && self.notification.group == newer.group
    }
}

/// What waits for one receiver.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: VecDeque<Waiting>,
    /// What is being sent: the first carries the message.
    sending: Vec<Waiting>,
    pacer: Pacer,
    merges: bool,
    failures: u32,
    retry_at: Option<Instant>,
    /// What went wrong last.
    error: Option<Arc<str>>,
}

/// What to do now.
#[derive(Debug)]
pub(super) enum Step {
    /// Send these, in one message.
    Send(Vec<Waiting>),
    /// Nothing, for so long; `None` until something comes.
    Wait(Option<Duration>),
}

/// A notification whose fate is known.
#[derive(Clone, Debug)]
pub(super) struct Settled {
    pub(super) waiting: Waiting,
    pub(super) fate: NotificationFate,
}

impl Queue {
    pub(super) const fn new(pacer: Pacer, merges: bool) -> Self {
        Self {
            waiting: VecDeque::new(),
            sending: Vec::new(),
            pacer,
            merges,
            failures: 0,
            retry_at: None,
            error: None,
        }
    }

    /// How many wait or are being sent.
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.sending.len()
    }

    /// What waits of a group, of a kind that a newer one replaces.
    pub(super) fn replaceable(&self, newer: &Notification) -> Option<&Arc<Notification>> {
        let found = self.waiting.iter().find(|old| old.is_replaced_by(newer));
        found.map(|old| &old.notification)
    }

    /// One more waits, in place of an older one of its group.
    pub(super) fn push(&mut self, new: Waiting, now: UnixMicros) -> Option<Settled> {
        let old = self
            .waiting
            .iter()
            .position(|old| old.is_replaced_by(&new.notification));
        let Some(index) = old else {
            self.waiting.push_back(new);
            return None;
        };
        let by = new.notification.id;
        // It keeps the place, and what was learned of sending it.
        let old = std::mem::replace(&mut self.waiting[index], new);
        self.waiting[index].attempts = old.attempts;
        Some(settled(old, now, NotificationResult::Replaced, Some(by)))
    }

    /// What to do now. What passed its deadline is taken out into `dead`.
    pub(super) fn step(
        &mut self,
        now: UnixMicros,
        clock: Instant,
        dead: &mut Vec<Settled>,
    ) -> Step {
        if !self.sending.is_empty() {
            return Step::Wait(None);
        }
        self.bury(now, dead);
        let Some(first) = self.waiting.front() else {
            return Step::Wait(None);
        };
        if let Some(at) = self.retry_at.filter(|at| *at > clock) {
            return Step::Wait(Some(self.until_next(now, at.duration_since(clock))));
        }
        let alone = first.alone || !self.merges;
        let next = self.pacer.wait_after_next(clock);
        let is_soon = next.is_zero() || next <= SOON && self.waiting.len() <= FEW;
        let merged = !alone && !is_soon;
        if let Err(wait) = self.pacer.take(clock) {
            return Step::Wait(Some(self.until_next(now, wait)));
        }
        let count = if merged {
            let fit = self.waiting.iter().take_while(|waiting| !waiting.alone);
            fit.count().min(MOST_MERGED)
        } else {
            1
        };
        self.sending.extend(self.waiting.drain(..count));
        Step::Send(self.sending.clone())
    }

    /// The next thing that happens by itself: the end of a pause, or of a deadline.
    fn until_next(&self, now: UnixMicros, pause: Duration) -> Duration {
        let deadlines = self.waiting.iter();
        let deadlines = deadlines.map(|waiting| waiting.notification.deadline.since(now));
        deadlines.fold(pause, Duration::min)
    }

    fn bury(&mut self, now: UnixMicros, dead: &mut Vec<Settled>) {
        let (over, left) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition::<VecDeque<_>, _>(|waiting| waiting.notification.deadline <= now);
        self.waiting = left;
        dead.extend(over.into_iter().map(|waiting| {
            let mut settled = settled(waiting, now, NotificationResult::Dead, None);
            settled.fate.error = self.error.clone();
            settled
        }));
    }

    /// What came of sending. Returns those whose fate is known by it. `jitter` is between 0 and 1.
    pub(super) fn answered(
        &mut self,
        delivered: &Delivered,
        now: UnixMicros,
        clock: Instant,
        jitter: f64,
    ) -> Vec<Settled> {
        self.pacer.answered(clock);
        let mut sent = std::mem::take(&mut self.sending);
        for waiting in &mut sent {
            waiting.attempts = waiting.attempts.saturating_add(1);
        }
        match delivered {
            Delivered::Sent { reference } => {
                self.failures = 0;
                self.retry_at = None;
                self.error = None;
                let by = sent.first().map(|waiting| waiting.notification.id);
                let fates = sent.into_iter().enumerate().map(|(index, waiting)| {
                    if index == 0 {
                        let mut first = settled(waiting, now, NotificationResult::Sent, None);
                        first.fate.reference.clone_from(reference);
                        return first;
                    }
                    settled(waiting, now, NotificationResult::Merged, by)
                });
                fates.collect()
            }
            Delivered::Again { after, detail, .. } => {
                self.error = Some(detail.as_str().into());
                let pause = after.unwrap_or_else(|| backoff(self.failures, jitter));
                self.failures = self.failures.saturating_add(1);
                self.retry_at = Some(clock + pause);
                self.put_back(sent, now)
            }
            // Whichever of them it is that is not taken.
            Delivered::GiveUp { reason, .. } if sent.len() > 1 && depends_on_message(*reason) => {
                for waiting in &mut sent {
                    waiting.alone = true;
                }
                self.put_back(sent, now)
            }
            Delivered::GiveUp { detail, .. } => {
                let error: Arc<str> = detail.as_str().into();
                self.error = Some(Arc::clone(&error));
                let fates = sent.into_iter().map(|waiting| {
                    let mut dead = settled(waiting, now, NotificationResult::Dead, None);
                    dead.fate.error = Some(Arc::clone(&error));
                    dead
                });
                fates.collect()
            }
        }
    }

    /// Puts what was not taken in front again, but for what a newer one replaced meanwhile.
    fn put_back(&mut self, sent: Vec<Waiting>, now: UnixMicros) -> Vec<Settled> {
        let mut replaced = Vec::new();
        for old in sent.into_iter().rev() {
            let newer = self
                .waiting
                .iter_mut()
                .find(|newer| old.is_replaced_by(&newer.notification));
            if let Some(newer) = newer {
                newer.attempts = newer.attempts.max(old.attempts);
                let by = newer.notification.id;
                replaced.push(settled(old, now, NotificationResult::Replaced, Some(by)));
            } else {
                self.waiting.push_front(old);
            }
        }
        replaced
    }
}

/// Whether another message could be taken where this was not.
const fn depends_on_message(reason: FailureReason) -> bool {
    matches!(reason, FailureReason::TooLong | FailureReason::Refused)
}

/// The pause after so many failures before: doubled with each, and between a half and the whole of it,
/// so that receivers that failed together are not tried together.
fn backoff(failures: u32, jitter: f64) -> Duration {
    let whole = FIRST_PAUSE.saturating_mul(1 << failures.min(16));
    whole
        .min(LONGEST_PAUSE)
        .mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
}

fn settled(
    waiting: Waiting,
    now: UnixMicros,
    result: NotificationResult,
    by: Option<Uuid>,
) -> Settled {
    Settled {
        fate: NotificationFate {
            id: waiting.notification.id,
            at: now,
            result,
            attempts: waiting.attempts,
            reference: None,
            by,
            error: None,
        },
        waiting,
    }
}

#[cfg(test)]
mod tests;
