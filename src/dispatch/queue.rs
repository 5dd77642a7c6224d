//! What waits for one receiver: in order, one message at a time, tried again until its deadline, and
//! merged where there is more than may be told.

mod line;

use std::sync::Arc;
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::alert::{Notification, NotificationFate, NotificationResult};
use crate::clock::UnixMicros;
use crate::notify::{Delivered, FailureReason};

use super::deduplicate::Told;
use super::pacing::Pacer;

use line::{Line, TOGETHER};

/// The first pause after a failure, doubled with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(5 * 60);
/// The longest pause that a receiver may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(3600);
/// The pause after a receiver refused whatever is sent to it: its fallback hears of it once, and of what
/// came meanwhile in one go.
const SHUT_FOR: Duration = Duration::from_secs(5 * 60);
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
    refused: bool,
    /// How often it was not taken for what may be its own fault.
    failed: u32,
    /// Whether it was let in with others again after that.
    absolved: bool,
    /// Not before this moment, where others are taken and it is not.
    not_before: Option<Instant>,
    /// Where it stands in the line.
    place: u64,
}

impl Waiting {
    pub(super) const fn new(notification: Arc<Notification>, told: Option<Arc<Told>>) -> Self {
        Self {
            notification,
            told,
            attempts: 0,
            refused: false,
            failed: 0,
            absolved: false,
            not_before: None,
            place: 0,
        }
    }

    /// Given up without a try.
    pub(super) fn dead(self, now: UnixMicros, error: &str) -> Settled {
        given_up(self, now, Some(&error.into()))
    }

    /// Whether it is sent by itself.
    const fn is_alone(&self) -> bool {
        self.refused || self.failed >= TOGETHER
    }

    /// How much it is to blame for not being taken: nothing, until it was tried some times.
    const fn in_doubt(&self) -> u32 {
        if self.failed < TOGETHER {
            0
        } else {
            self.failed
        }
    }

    /// How long it pauses by itself.
    fn pause(&self, clock: Instant) -> Duration {
        let pause = self.not_before;
        pause.map_or(Duration::ZERO, |at| at.saturating_duration_since(clock))
    }
}

/// What waits for one receiver.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: Line,
    /// What is being sent: the first carries the message.
    sending: Vec<Waiting>,
    pacer: Pacer,
    merges: bool,
    failures: u32,
    retry_at: Option<Instant>,
    /// Whether it refused the last one whatever it says.
    shut: bool,
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
    pub(super) fn new(pacer: Pacer, merges: bool) -> Self {
        Self {
            waiting: Line::default(),
            sending: Vec::new(),
            pacer,
            merges,
            failures: 0,
            retry_at: None,
            shut: false,
            error: None,
        }
    }

    /// How many wait or are being sent.
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.sending.len()
    }

    /// What waits of a group, of a kind that a newer one replaces.
    pub(super) fn replaceable(&self, newer: &Notification) -> Option<&Arc<Notification>> {
        let found = self.waiting.replaceable(newer);
        found.map(|old| &old.notification)
    }

    /// One more waits, in place of older ones of its group: of the last part of what a group tells, in place
    /// of all parts of what it told before.
    pub(super) fn push(&mut self, mut new: Waiting, now: UnixMicros) -> Vec<Settled> {
        let by = new.notification.id;
        let mut old = self.waiting.take_parts(&new.notification);
        if let Some(same) = self.waiting.take_replaceable(&new.notification) {
            // It keeps the place and counts the tries, but is another message: it may be taken where the old
            // one was not.
            new.attempts = same.attempts;
            if self.waiting.has_parts_of(&new.notification) {
                // After its parts: what was told is known with it.
                self.waiting.push(new);
            } else {
                new.place = same.place;
                self.waiting.insert(new);
            }
            old.push(same);
        } else {
            self.waiting.push(new);
        }
        let replaced = |old| settled(old, now, NotificationResult::Replaced, Some(by));
        old.into_iter().map(replaced).collect()
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
        if self.waiting.len() == 0 {
            return Step::Wait(None);
        }
        if let Some(at) = self.retry_at.filter(|at| *at > clock) {
            return Step::Wait(Some(self.until_next(now, at.duration_since(clock))));
        }
        let Some(first) = self.waiting.first(clock) else {
            let pause = self.waiting.until_ready(clock).unwrap_or(LONGEST_PAUSE);
            return Step::Wait(Some(self.until_next(now, pause)));
        };
        let merged = self.is_merged(first, clock);
        if let Err(wait) = self.pacer.take(clock) {
            return Step::Wait(Some(self.until_next(now, wait)));
        }
        self.sending = if merged {
            self.waiting.take_together(MOST_MERGED)
        } else {
            self.waiting.take(first).into_iter().collect()
        };
        Step::Send(self.sending.clone())
    }

    /// Whether what is next is sent with others: there are some, and they could not follow soon.
    fn is_merged(&mut self, first: u64, clock: Instant) -> bool {
        if !self.merges || self.waiting.is_alone(first) {
            return false;
        }
        let next = self.pacer.wait_after_next(clock);
        let is_soon = next.is_zero() || next <= SOON && self.waiting.mergeable() <= FEW;
        self.shut || !is_soon
    }

    /// The next thing that happens by itself: the end of a pause, or of a deadline.
    fn until_next(&self, now: UnixMicros, pause: Duration) -> Duration {
        let deadline = self.waiting.first_deadline();
        deadline.map_or(pause, |deadline| deadline.since(now).min(pause))
    }

    fn bury(&mut self, now: UnixMicros, dead: &mut Vec<Settled>) {
        let overdue = self.waiting.take_overdue(now).into_iter();
        dead.extend(overdue.map(|waiting| given_up(waiting, now, self.error.as_ref())));
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
                if self.merges {
                    self.waiting.absolve();
                }
                self.failures = 0;
                self.retry_at = None;
                self.shut = false;
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
            Delivered::Again {
                after,
                reason,
                detail,
            } => {
                self.error = Some(detail.as_str().into());
                let asked = after.map(|asked| asked.min(LONGEST_ASKED));
                let pause = asked.unwrap_or_else(|| backoff(self.failures, jitter));
                self.failures = self.failures.saturating_add(1);
                self.retry_at = clock.checked_add(pause);
                if may_be_the_message(*reason) {
                    for waiting in &mut sent {
                        let pause = asked.unwrap_or_else(|| backoff(waiting.failed, jitter));
                        waiting.failed = waiting.failed.saturating_add(1);
                        let holds = waiting.failed >= TOGETHER;
                        waiting.not_before = clock.checked_add(pause).filter(|_| holds);
                    }
                }
                self.put_back(sent, now)
            }
            // Whichever of them it is that is not taken.
            Delivered::GiveUp { reason, .. } if sent.len() > 1 && depends_on_message(*reason) => {
                for waiting in &mut sent {
                    waiting.refused = true;
                }
                self.put_back(sent, now)
            }
            Delivered::GiveUp { reason, detail } => {
                let error: Arc<str> = detail.as_str().into();
                self.error = Some(Arc::clone(&error));
                if refuses_all(*reason) {
                    self.retry_at = clock.checked_add(SHUT_FOR);
                    // It was asked twice: what came in between would be refused one by one.
                    if std::mem::replace(&mut self.shut, true) {
                        sent.append(&mut self.waiting.take_all());
                    }
                }
                let sent = sent.into_iter();
                sent.map(|waiting| given_up(waiting, now, Some(&error)))
                    .collect()
            }
        }
    }

    /// Puts what was not taken where it was, but for what a newer one replaced meanwhile.
    fn put_back(&mut self, sent: Vec<Waiting>, now: UnixMicros) -> Vec<Settled> {
        let mut replaced = Vec::new();
        for old in sent {
            let newer = self.waiting.take_replaceable(&old.notification);
            let newer = newer.or_else(|| self.waiting.take_newer_whole(&old.notification));
            let Some(mut newer) = newer else {
                self.waiting.insert(old);
                continue;
            };
            newer.attempts = newer.attempts.max(old.attempts);
            let by = newer.notification.id;
            self.waiting.insert(newer);
            replaced.push(settled(old, now, NotificationResult::Replaced, Some(by)));
        }
        replaced
    }
}

/// Whether another message could be taken where this was not.
const fn depends_on_message(reason: FailureReason) -> bool {
    matches!(reason, FailureReason::TooLong | FailureReason::Refused)
}

/// The same of one that may be taken later: a proxy that fails over one body, a scan that takes too long.
const fn may_be_the_message(reason: FailureReason) -> bool {
    matches!(
        reason,
        FailureReason::Timeout | FailureReason::ServerError | FailureReason::Unreadable
    ) || depends_on_message(reason)
}

/// Whether no message will be taken until somebody does something about it.
const fn refuses_all(reason: FailureReason) -> bool {
    matches!(
        reason,
        FailureReason::Credential | FailureReason::Signature | FailureReason::Gone
    )
}

/// The pause after so many failures before: doubled with each, and between a half and the whole of it,
/// so that receivers that failed together are not tried together.
fn backoff(failures: u32, jitter: f64) -> Duration {
    let whole = FIRST_PAUSE.saturating_mul(1 << failures.min(16));
    whole
        .min(LONGEST_PAUSE)
        .mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
}

fn given_up(waiting: Waiting, now: UnixMicros, error: Option<&Arc<str>>) -> Settled {
    let mut dead = settled(waiting, now, NotificationResult::Dead, None);
    dead.fate.error = error.map(Arc::clone);
    dead
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
