//! What operators, alerts and the ledger do with gates.

use std::sync::Arc;

use super::gate::{Closing, GateStatus};
use super::{Channel, NoSuchChannel, Registry};
use crate::clock::UnixMicros;
use crate::record::{ChannelEvent, Owner};

impl Registry {
    /// Closes a channel: no request is admitted to it once this has returned, until `closing.until`,
    /// or until its owner or an operator reopens it. A hold that the owner has already is replaced.
    /// Requests on their way end.
    pub fn close(
        &self,
        name: &str,
        closing: Closing,
        now: UnixMicros,
    ) -> Result<GateStatus, NoSuchChannel> {
        let channel = self.known(name)?;
        channel.gate.close(closing, now);
        Ok(channel.status(now))
    }

    /// Ends `by`'s hold on a channel, or, where `by` is an operator, everybody's. What the breaker
    /// has seen of the channel is forgotten with its hold.
    pub fn reopen(
        &self,
        name: &str,
        by: &Owner,
        who: Option<&str>,
        note: Option<&str>,
        now: UnixMicros,
    ) -> Result<GateStatus, NoSuchChannel> {
        let channel = self.known(name)?;
        if matches!(by, Owner::Operator | Owner::Breaker) {
            channel.breaker.forget();
        }
        let (who, note) = (who.map(Arc::from), note.map(Arc::from));
        channel.gate.reopen(by, who.as_ref(), note.as_ref(), now);
        Ok(channel.status(now))
    }

    /// What a gate is now.
    pub fn gate_status(&self, name: &str, now: UnixMicros) -> Result<GateStatus, NoSuchChannel> {
        Ok(self.known(name)?.status(now))
    }

    /// What every gate is now, in the order of the settings.
    #[must_use]
    pub fn status(&self, now: UnixMicros) -> Vec<(Arc<Channel>, GateStatus)> {
        self.iter()
            .map(|channel| (Arc::clone(channel), channel.status(now)))
            .collect()
    }

    /// Takes over what an earlier run left: the last event of each owner of each channel, in any
    /// order. Channels that are no more are passed over. Nobody is told of it, only of the end of
    /// holds whose time was over meanwhile.
    pub fn restore(&self, last_events: &[ChannelEvent], now: UnixMicros) {
        for event in last_events {
            if let Some(channel) = self.channel(&event.channel) {
                channel.gate.restore(event);
            }
        }
        self.expire(now);
    }

    /// Ends the holds whose time is over. Returns when the next one's is.
    pub fn expire(&self, now: UnixMicros) -> Option<UnixMicros> {
        self.iter()
            .filter_map(|channel| channel.gate.expire(now))
            .min()
    }

    pub(super) fn known(&self, name: &str) -> Result<&Arc<Channel>, NoSuchChannel> {
        self.channel(name)
            .ok_or_else(|| NoSuchChannel(name.to_owned()))
    }
}

impl Channel {
    pub(super) fn status(&self, now: UnixMicros) -> GateStatus {
        let (state, holds, next_probe) = self.gate.status(now);
        GateStatus {
            state,
            holds,
            in_flight: self.places.taken(),
            next_probe,
            cooling: self.cooldowns.all(now),
        }
    }
}
