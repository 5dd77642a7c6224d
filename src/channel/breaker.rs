//! The breaker: closes a channel whose requests fail, and finds out when it is well again.
//!
//! It sits in no request's way. What a try came to is told afterwards; so many failures among the
//! last so many tries close the gate. From then on one request at a time may go through, at pauses
//! that grow, until one succeeds.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::chance::{Chance, scaled};
use super::gate::{Change, Closing, Gate, Holds, Ticket};
use crate::clock::UnixMicros;
use crate::config::{BreakerSettings, Recovery};
use crate::record::{GateReason, GateState, Owner};

/// How long probes wait: longer after each that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    first: Duration,
    longest: Duration,
    pause: Duration,
}

impl Pace {
    pub(super) const fn new(settings: &BreakerSettings) -> Self {
        Self {
            first: settings.probe_after,
            longest: settings.probe_at_most,
            pause: settings.probe_after,
        }
    }

    /// Begins anew; the pause before the first probe. `draw` is any number.
    pub(super) fn begin(&mut self, draw: u64) -> Duration {
        self.pause = self.first.min(self.longest);
        jittered(self.pause, draw)
    }

    /// The pause after a probe that failed.
    fn grow(&mut self, draw: u64) -> Duration {
        self.pause = self.pause.saturating_mul(2).min(self.longest);
        jittered(self.pause, draw)
    }

    /// The pause after a probe that found out nothing.
    fn again(&self, draw: u64) -> Duration {
        jittered(self.pause, draw)
    }

    /// The pause that the provider asks for in place of an answer, which is no failure.
    fn asked(&self, pause: Duration) -> Duration {
        pause.min(self.longest)
    }

    /// Goes on from a pause of an earlier run.
    pub(super) fn resume(&mut self, pause: Duration) {
        self.pause = pause.max(self.first).min(self.longest);
    }
}

/// `pause` or up to a fifth less, so that what failed together is not tried again together.
fn jittered(pause: Duration, draw: u64) -> Duration {
    let micros = u64::try_from(pause.as_micros()).unwrap_or(u64::MAX);
    pause.saturating_sub(Duration::from_micros(scaled(draw, micros / 5)))
}

/// What a try says of its channel, to the breaker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// It works.
    Works,
    /// It failed, or was slow.
    Fails,
    /// It asks not to be called for so long.
    Pauses(Duration),
    /// The provider refuses to serve it: no use in further tries.
    Refused(GateReason, Recovery),
    /// Nothing.
    Nothing,
}

/// How a request came past the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    /// It was open.
    Open,
    /// To find out whether the others may again.
    Probe(Ticket),
    /// The breaker held it closed, and no other channel was left.
    LastResort,
}

/// The last tries at a channel, and what they lead to.
#[derive(Debug)]
pub(super) struct Breaker {
    settings: BreakerSettings,
    /// How many failures `last` holds: while there is none, a success changes nothing.
    failures: AtomicU32,
    /// From the oldest failure that still counts on: when each ended, and whether it failed.
    last: Mutex<VecDeque<(UnixMicros, bool)>>,
}

impl Breaker {
    pub(super) const fn new(settings: BreakerSettings) -> Self {
        Self {
            settings,
            failures: AtomicU32::new(0),
            last: Mutex::new(VecDeque::new()),
        }
    }

    pub(super) const fn settings(&self) -> &BreakerSettings {
        &self.settings
    }

    /// A try ended. Returns what closes the channel: how many of how many tries failed.
    fn count(&self, failed: bool, now: UnixMicros) -> Option<(u32, usize)> {
        if !failed && self.failures.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.push_back((now, failed));
        let oldest = now.minus(self.settings.window);
        let most = usize::try_from(self.settings.of).unwrap_or(usize::MAX);
        // What stands before the first failure that counts says nothing.
        while last
            .front()
            .is_some_and(|(at, failed)| !failed || *at < oldest)
            || last.len() > most
        {
            last.pop_front();
        }
        let failures = last.iter().filter(|(_, failed)| *failed).count();
        let failures = u32::try_from(failures).unwrap_or(u32::MAX);
        let enough = failures >= self.settings.failures;
        let seen = last.len();
        if enough {
            last.clear();
        }
        let kept = if enough { 0 } else { failures };
        self.failures.store(kept, Ordering::Release);
        enough.then_some((failures, seen))
    }

    /// Forgets every failure.
    pub(super) fn forget(&self) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.clear();
        self.failures.store(0, Ordering::Release);
    }

    /// Takes note of a try that ended. `turn` is the gate's when the request came past it; `code` is
    /// the provider's word for a failure.
    pub(super) fn note(&self, gate: &Gate, tried: &Tried<'_>, chance: &Chance, now: UnixMicros) {
        if (tried.pass, &tried.finding) == (Pass::Open, &Finding::Works) {
            self.count(false, now);
        } else {
            self.note_news(gate, tried, chance.draw(), now);
        }
    }

    fn note_news(&self, gate: &Gate, tried: &Tried<'_>, draw: u64, now: UnixMicros) {
        match (tried.pass, &tried.finding) {
            // What was on its way when the gate closed or opened again is no news.
            (Pass::Open, _) if gate.turn() != tried.turn => {}
            (Pass::Open, Finding::Fails) => {
                if let Some((failures, seen)) = self.count(true, now) {
                    let note = tried.counted(failures, seen);
                    gate.trip(GateReason::Failures, Recovery::Probe, Some(note), draw, now);
                }
            }
            (Pass::Open, Finding::Refused(reason, recovery)) => {
                self.forget();
                gate.trip(*reason, *recovery, tried.code.map(Arc::from), draw, now);
            }
            (Pass::Open, Finding::Works | Finding::Pauses(_) | Finding::Nothing) => {}
            // What was counted while it closed is forgotten.
            (Pass::Probe(ticket), finding) => {
                if gate.probed(ticket, finding, tried.code, draw, now) {
                    self.forget();
                }
            }
            (Pass::LastResort, finding) => {
                if gate.passed_through(tried.turn, finding, tried.code, draw, now) {
                    self.forget();
                }
            }
        }
    }
}

/// A try that ended, as the breaker sees it.
#[derive(Debug)]
pub(super) struct Tried<'a> {
    pub(super) pass: Pass,
    /// The gate's when the request came past it.
    pub(super) turn: u32,
    pub(super) finding: Finding,
    /// The provider's error code.
    pub(super) code: Option<&'a str>,
}

impl Tried<'_> {
    fn counted(&self, failures: u32, seen: usize) -> Arc<str> {
        let last = self
            .code
            .map(|code| format!("; the last said {code}"))
            .unwrap_or_default();
        Arc::from(format!(
            "{failures} of the last {seen} requests failed{last}"
        ))
    }
}

impl Gate {
    /// Closes it for the breaker, unless it holds it already.
    fn trip(
        &self,
        reason: GateReason,
        recovery: Recovery,
        note: Option<Arc<str>>,
        draw: u64,
        now: UnixMicros,
    ) {
        let mut holds = self.lock();
        if holds.breaker().is_none() {
            let pause = holds.pace.begin(draw);
            let closing = closing(reason, recovery, pause, note, now);
            self.put(&mut holds, closing, now);
        }
    }

    /// Lets one request through, where a probe is due and nobody else came first. Until
    /// [`probe_begins`](Self::probe_begins) nobody hears of it: it may not be needed.
    pub(super) fn probe(&self, now: UnixMicros) -> Option<Ticket> {
        let mut holds = self.lock();
        let ticket = holds.issue(now)?;
        self.show(&holds);
        Some(ticket)
    }

    /// The request that holds `ticket` goes on its way.
    pub(super) fn probe_begins(&self, ticket: Ticket, now: UnixMicros) {
        let mut holds = self.lock();
        if holds.probe == Some(ticket) {
            self.amend(&mut holds, GateState::Probing, now);
        }
    }

    /// A probe ended. One whose hold has ended meanwhile says nothing any more. Returns whether the
    /// breaker lets go.
    fn probed(
        &self,
        ticket: Ticket,
        finding: &Finding,
        code: Option<&str>,
        draw: u64,
        now: UnixMicros,
    ) -> bool {
        let mut holds = self.lock();
        if holds.probe != Some(ticket) {
            return false;
        }
        holds.probe = None;
        match finding {
            Finding::Works => self.recover(&mut holds, now),
            Finding::Fails => {
                let next = now.plus(holds.pace.grow(draw));
                self.postpone(&mut holds, next, now);
            }
            Finding::Pauses(pause) => {
                let next = now.plus(holds.pace.asked(*pause));
                self.postpone(&mut holds, next, now);
            }
            Finding::Refused(reason, recovery) => {
                let pause = holds.pace.grow(draw);
                let note = code.map(Arc::from);
                self.replace(&mut holds, (*reason, *recovery), pause, note, now);
            }
            Finding::Nothing => {
                let next = now.plus(holds.pace.again(draw));
                self.postpone(&mut holds, next, now);
            }
        }
        *finding == Finding::Works
    }

    /// A request ended that went through as a last resort. Its success is as good as a probe's; its
    /// failure is no news. Returns whether the breaker lets go.
    fn passed_through(
        &self,
        turn: u32,
        finding: &Finding,
        code: Option<&str>,
        draw: u64,
        now: UnixMicros,
    ) -> bool {
        let mut holds = self.lock();
        if self.turn() != turn {
            return false;
        }
        let Some(hold) = holds.breaker() else {
            return false;
        };
        let (probes, reason) = (hold.closing.until.is_some(), hold.closing.reason);
        match finding {
            Finding::Works if probes => {
                self.recover(&mut holds, now);
                return true;
            }
            Finding::Refused(refusal, recovery) if *refusal != reason => {
                let pause = holds.pace.begin(draw);
                let note = code.map(Arc::from);
                self.replace(&mut holds, (*refusal, *recovery), pause, note, now);
            }
            _ => {}
        }
        false
    }

    /// The request that held `ticket` is gone without a word of its channel: the next may probe, at
    /// once where this one had not begun.
    pub(super) fn abandon(&self, ticket: Ticket, now: UnixMicros) {
        let mut holds = self.lock();
        if holds.probe != Some(ticket) {
            return;
        }
        holds.probe = None;
        if holds
            .breaker()
            .is_some_and(|hold| hold.state == GateState::Probing)
        {
            let next = now.plus(holds.pace.again(0));
            self.postpone(&mut holds, next, now);
        } else {
            self.show(&holds);
            self.wake();
        }
    }

    fn recover(&self, holds: &mut Holds, now: UnixMicros) {
        let change = Change {
            owner: Owner::Breaker,
            hold: GateState::Open,
            reason: GateReason::Recovered,
            until: None,
            who: None,
            note: None,
        };
        self.end(holds, change, now);
    }

    fn postpone(&self, holds: &mut Holds, next: UnixMicros, now: UnixMicros) {
        if let Some(hold) = holds.breaker() {
            hold.closing.until = Some(next);
        }
        self.amend(holds, GateState::Closed, now);
    }

    fn replace(
        &self,
        holds: &mut Holds,
        (reason, recovery): (GateReason, Recovery),
        pause: Duration,
        note: Option<Arc<str>>,
        now: UnixMicros,
    ) {
        if let Some(hold) = holds.breaker() {
            hold.closing = closing(reason, recovery, pause, note, now);
        }
        self.amend(holds, GateState::Closed, now);
    }

    /// Tells of the breaker's hold as it is now, with its own reason: an earlier run's last event has
    /// to say why it closed.
    pub(super) fn amend(&self, holds: &mut Holds, state: GateState, now: UnixMicros) {
        let Some(hold) = holds.breaker() else {
            return;
        };
        hold.state = state;
        let change = Change {
            owner: Owner::Breaker,
            hold: state,
            reason: hold.closing.reason,
            until: hold.closing.until,
            who: None,
            note: hold.closing.note.clone(),
        };
        self.tell(holds, change, now);
    }
}

fn closing(
    reason: GateReason,
    recovery: Recovery,
    pause: Duration,
    note: Option<Arc<str>>,
    now: UnixMicros,
) -> Closing {
    Closing {
        owner: Owner::Breaker,
        reason,
        until: match recovery {
            Recovery::Probe => Some(now.plus(pause)),
            Recovery::Operator => None,
        },
        who: None,
        note,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;

    proptest! {
        /// Against the definition: so many failures among so many of the last tries in the window.
        #[test]
        fn it_closes_at_so_many_failures_of_so_many_within_the_window(
            failures in 1_u32..5,
            more in 0_u32..5,
            tries in proptest::collection::vec((0_u64..4, any::<bool>()), 1..80),
        ) {
            let settings = BreakerSettings {
                failures,
                of: failures + more,
                window: Duration::from_secs(10),
                ..BreakerSettings::default()
            };
            let breaker = Breaker::new(settings);
            let mut history: Vec<(UnixMicros, bool)> = Vec::new();
            let mut now = UnixMicros(1_000_000_000);
            for (pause, failed) in tries {
                now = now.plus(Duration::from_secs(pause));
                history.push((now, failed));
                let last = history.iter().rev().take((failures + more) as usize);
                let recent = last.filter(|(at, _)| now.since(*at) <= Duration::from_secs(10));
                let failed_lately = recent.filter(|(_, failed)| *failed).count();
                let closes = failed_lately >= failures as usize;
                prop_assert_eq!(breaker.count(failed, now).is_some(), closes);
                if closes {
                    history.clear();
                }
            }
        }
    }

    #[test]
    fn jitter_shortens_a_pause_by_a_fifth_at_most() {
        let pause = Duration::from_secs(10);
        assert_eq!(jittered(pause, 0), pause);
        assert_eq!(jittered(pause, u64::MAX).as_secs(), 8);
        assert_eq!(jittered(Duration::ZERO, u64::MAX), Duration::ZERO);
        assert_eq!(jittered(Duration::MAX, 0), Duration::MAX);
    }
}
