//! What keeps an automatic closing from doing harm: the last open channel of a model stays open where
//! that is wished, and a channel comes back by one request before the others follow.

use std::sync::{Arc, PoisonError};

use super::gate::{Closing, Gate, GateStatus, Sight};
use super::{Channel, NoSuchChannel, Registry};
use crate::clock::UnixMicros;
use crate::config::{ChannelKind, ModelPattern};
use crate::record::{GateState, Owner};

/// What came of closing a channel that may be the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Guarded {
    /// It is closed, as after [`Registry::close`].
    Closed(GateStatus),
    /// Nothing changed: no other open channel serves all of what it serves. The first pattern or name
    /// of that; `*` for every model.
    LastOpen(Arc<str>),
}

impl Registry {
    /// As [`close`](Self::close), unless the channel is the last open one of a model that it serves.
    /// Of several such closings at once each sees what those before it left, so they never close the
    /// last ones together. An owner that has its hold already may change it.
    ///
    /// Open is what nobody holds: a channel that its breaker closed is no replacement. Nor is one of
    /// another provider's kind, which gets no request while there is a channel of the right one.
    pub fn close_unless_last(
        &self,
        name: &str,
        closing: Closing,
        now: UnixMicros,
    ) -> Result<Guarded, NoSuchChannel> {
        let channel = self.known(name)?;
        let _alone = self.closing.lock().unwrap_or_else(PoisonError::into_inner);
        if !channel.gate.is_held_by(&closing.owner, now)
            && let Some(last) = self.last_of(channel, now)
        {
            return Ok(Guarded::LastOpen(last));
        }
        channel.gate.close(closing, now);
        Ok(Guarded::Closed(channel.status(now)))
    }

    /// Has the gate go from `owner`'s hold, when that ends, to the breaker's: one request goes first,
    /// and the others follow when it succeeds. Does nothing where `owner` has no hold. An operator who
    /// opens the channel ends both.
    pub fn probe_after(
        &self,
        name: &str,
        owner: &Owner,
        now: UnixMicros,
    ) -> Result<(), NoSuchChannel> {
        self.known(name)?.gate.probe_after(owner, now);
        Ok(())
    }

    /// What the channel of that name serves and no open channel does: patterns and names of models, `*`
    /// for every model. Nothing while it is open itself.
    #[must_use]
    pub fn unserved_without(&self, name: &str, now: UnixMicros) -> Vec<Arc<str>> {
        let Some(channel) = self.channel(name) else {
            return Vec::new();
        };
        let is_open = |other: &&Arc<Channel>| {
            is_of_kind(other.kind, channel.kind) && other.gate.look(now) == Sight::Open
        };
        let open: Vec<_> = self.iter().filter(is_open).collect();
        let mut served = channel.served();
        served.dedup_by(|a, b| a.as_str() == b.as_str());
        served.retain(|models| !open.iter().any(|other| other.covers(models)));
        let names = served.iter().map(|models| models.as_str().into());
        names.collect()
    }

    /// The first of what `channel` serves that no other open channel does.
    fn last_of(&self, channel: &Arc<Channel>, now: UnixMicros) -> Option<Arc<str>> {
        let others: Vec<_> = self
            .iter()
            .filter(|other| {
                !Arc::ptr_eq(other, channel)
                    && is_of_kind(other.kind, channel.kind)
                    && other.gate.look(now) == Sight::Open
            })
            .collect();
        let mut served = channel.served().into_iter();
        let last = served.find(|models| !others.iter().any(|other| other.covers(models)));
        last.map(|models| models.as_str().into())
    }
}

/// Whether channels of both kinds are asked for the same provider's API.
const fn is_of_kind(one: ChannelKind, other: ChannelKind) -> bool {
    matches!(
        (one, other),
        (
            ChannelKind::Openai | ChannelKind::Azure,
            ChannelKind::Openai | ChannelKind::Azure
        ) | (ChannelKind::Anthropic, ChannelKind::Anthropic)
            | (ChannelKind::Gemini, ChannelKind::Gemini)
    )
}

impl Channel {
    /// Every model that it serves, as patterns.
    fn served(&self) -> Vec<ModelPattern> {
        let Some(models) = &self.models else {
            return vec![ModelPattern::new("*")];
        };
        let mapped = self.model_map.keys().map(|name| ModelPattern::new(name));
        let mut served: Vec<_> = models.iter().cloned().chain(mapped).collect();
        served.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        served
    }

    /// Whether it serves all of `models`.
    fn covers(&self, models: &ModelPattern) -> bool {
        match &self.models {
            None => true,
            Some(_) if models.is_exact() => self.serves(Some(models.as_str())),
            Some(own) => own.iter().any(|pattern| pattern.covers(models)),
        }
    }
}

impl Gate {
    fn is_held_by(&self, owner: &Owner, now: UnixMicros) -> bool {
        let (_, holds, _) = self.status(now);
        holds.iter().any(|hold| hold.closing.owner == *owner)
    }

    /// The breaker's hold is put beside `owner`'s at once, and not when that ends: so it is there also
    /// where that ends while no process runs.
    fn probe_after(&self, owner: &Owner, now: UnixMicros) {
        let mut holds = self.settled(now);
        let held = holds.list.iter().find(|hold| hold.closing.owner == *owner);
        let Some(reason) = held.map(|hold| hold.closing.reason) else {
            return;
        };
        let Some(own) = holds.breaker().map(|hold| hold.state) else {
            holds.pace.begin(0);
            let closing = Closing {
                owner: Owner::Breaker,
                reason,
                until: Some(now),
                who: None,
                note: Some(Arc::from(format!("a request goes first after {owner}"))),
            };
            return self.put(&mut holds, closing, now);
        };
        // What a request finds out that passed before this closing is no news after it.
        self.next_turn(&mut holds);
        if own == GateState::Probing {
            self.amend(&mut holds, GateState::Closed, now);
        }
    }
}
