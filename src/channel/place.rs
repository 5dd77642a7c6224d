//! A request's place at a channel, for one try.

use std::sync::Arc;
use std::time::Instant;

use super::Channel;
use super::breaker::{Finding, Pass, Tried};
use super::gate::Sight;
use super::places::Seat;
use super::selection::Gained;
use super::verdict::{self, Effect, Sighted, Verdict};
use crate::clock::UnixMicros;
use crate::protocol::Pause;
use crate::record::GateReason;

/// A place at a channel for one try, given back when dropped.
#[derive(Debug)]
pub struct Place {
    channel: Arc<Channel>,
    /// The model that is asked for, as the client means it.
    model: Option<Arc<str>>,
    /// How the request came past the gate; `None` once the channel's breaker knows how it ended.
    pass: Option<Pass>,
    turn: u32,
    /// When it was taken, by both clocks; of a probe only, which may end without a word.
    probing: Option<(UnixMicros, Instant)>,
    _seat: Seat,
}

impl Place {
    pub(super) fn new(gained: Gained, model: Option<&Arc<str>>, now: UnixMicros) -> Self {
        gained.channel.places.enter();
        let is_probe = matches!(gained.pass, Pass::Probe(_));
        Self {
            channel: gained.channel,
            model: model.map(Arc::clone),
            pass: Some(gained.pass),
            turn: gained.turn,
            probing: is_probe.then(|| (now, Instant::now())),
            _seat: gained.seat,
        }
    }

    /// The channel.
    #[must_use]
    pub fn channel(&self) -> &Arc<Channel> {
        &self.channel
    }

    /// Whether it finds out if a closed channel works again.
    #[must_use]
    pub fn is_probe(&self) -> bool {
        self.probing.is_some()
    }

    /// The try begins. A probe is known as one from here on; a place that is dropped before cost
    /// nothing, and the next request may probe.
    pub fn begin(&self, now: UnixMicros) {
        if let Some(Pass::Probe(ticket)) = self.pass {
            self.channel.gate.probe_begins(ticket, now);
        }
    }

    /// Whether the channel waits to hear of it: a probe, or a last resort.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        matches!(self.pass, Some(Pass::Probe(_) | Pass::LastResort))
    }

    /// Whether the gate still lets the request through: of a place that was taken some time before
    /// its try begins.
    #[must_use]
    pub fn is_open(&self, now: UnixMicros) -> bool {
        match self.channel.gate.look(now) {
            Sight::Open => true,
            Sight::ProbeDue | Sight::BreakerOnly => self.is_awaited(),
            Sight::Shut => false,
        }
    }

    /// How the try ended: told to the channel's breaker, once, at the end. A place that is dropped
    /// without this says nothing of its channel.
    pub fn end(&mut self, sighted: &Sighted<'_>, now: UnixMicros) -> Verdict {
        let verdict = Verdict::of(sighted);
        let Some(pass) = self.pass.take() else {
            return verdict;
        };
        let channel = &self.channel;
        if let Some(pause) = verdict::pause(sighted, verdict) {
            let model = channel.limited(self.model.as_deref());
            channel.cooldowns.set(model, pause, now);
        }
        let tried = Tried {
            pass,
            turn: self.turn,
            finding: self.finding(sighted, verdict),
            code: sighted.code,
        };
        channel.tried(&tried, now);
        verdict
    }

    /// An answer begins, of which `sighted` says what is known: a probe that has found out need not
    /// keep the channel closed until its stream is over. From here on it is a request as any other.
    /// [`end`](Self::end) is told all the same.
    pub fn answered(&mut self, sighted: &Sighted<'_>, now: UnixMicros) {
        let Some(pass @ (Pass::Probe(_) | Pass::LastResort)) = self.pass else {
            return;
        };
        let finding = self.finding(sighted, Verdict::of(sighted));
        if finding != Finding::Works {
            return;
        }
        let tried = Tried {
            pass,
            turn: self.turn,
            finding,
            code: None,
        };
        self.channel.tried(&tried, now);
        self.pass = Some(Pass::Open);
        self.turn = self.channel.gate.turn();
    }

    /// What was made over a connection that goes on ended so, as far as `sighted` says: a try of its
    /// own to the breaker.
    pub fn heard(&self, sighted: &Sighted<'_>, now: UnixMicros) {
        let sighted = Sighted {
            // The handshake's.
            wait: None,
            ..*sighted
        };
        let tried = Tried {
            pass: Pass::Open,
            turn: self.channel.gate.turn(),
            finding: self.finding(&sighted, Verdict::of(&sighted)),
            code: sighted.code,
        };
        self.channel.tried(&tried, now);
    }

    fn finding(&self, sighted: &Sighted<'_>, verdict: Verdict) -> Finding {
        let settings = self.channel.breaker.settings();
        let slow = |slow| sighted.wait.is_some_and(|wait| wait > slow);
        match verdict.effect {
            Effect::Success if settings.slow.is_some_and(slow) => Finding::Fails,
            Effect::Success => Finding::Works,
            Effect::None => Finding::Nothing,
            Effect::Failure => Finding::Fails,
            Effect::Pause => Finding::Pauses(sighted.pause.map(Pause::length).unwrap_or_default()),
            Effect::OutOfMoney => Finding::Refused(GateReason::OutOfMoney, settings.out_of_money),
            Effect::BadCredential => {
                Finding::Refused(GateReason::BadCredential, settings.bad_credential)
            }
        }
    }
}

impl Channel {
    fn tried(&self, tried: &Tried<'_>, now: UnixMicros) {
        self.breaker.note(&self.gate, tried, &self.chance, now);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.channel.places.leave();
        if let (Some(Pass::Probe(ticket)), Some((since, started))) = (self.pass, self.probing) {
            let now = since.plus(started.elapsed());
            self.channel.gate.abandon(ticket, now);
        }
    }
}
