//! A channel's gate: open while nobody holds it closed.
//!
//! Policies (the breaker, alerts, operators) write it, each its own hold; the path of a request
//! only reads one word.

use std::sync::Arc;

use super::{NoSuchChannel, Registry};
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
    /// When it ends by itself; `None` for never.
    pub until: Option<UnixMicros>,
    /// Who does it.
    pub who: Option<Arc<str>>,
    /// In words.
    pub note: Option<Arc<str>>,
}

/// One owner's hold on a gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Since when.
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
}

impl Registry {
    /// Closes a channel: no request is admitted to it once this has returned, until `closing.until`,
    /// or until its owner or an operator reopens it. A hold that the owner has already is replaced.
    pub fn close(
        &self,
        name: &str,
        closing: Closing,
        now: UnixMicros,
    ) -> Result<GateStatus, NoSuchChannel> {
        let _ = closing;
        self.gate_status(name, now)
    }

    /// Ends `by`'s hold on a channel, or, where `by` is an operator, everybody's.
    pub fn reopen(
        &self,
        name: &str,
        by: &Owner,
        who: Option<&str>,
        note: Option<&str>,
        now: UnixMicros,
    ) -> Result<GateStatus, NoSuchChannel> {
        let _ = (by, who, note);
        self.gate_status(name, now)
    }

    /// What a gate is now.
    pub fn gate_status(&self, name: &str, now: UnixMicros) -> Result<GateStatus, NoSuchChannel> {
        let _ = now;
        self.channel(name)
            .ok_or_else(|| NoSuchChannel(name.to_owned()))?;
        Ok(GateStatus {
            state: GateState::Open,
            holds: Vec::new(),
            in_flight: 0,
        })
    }

    /// Takes over what an earlier run left: the last event of each owner of each channel, in any
    /// order. Channels that are no more are passed over. Nobody is told of it.
    pub fn restore(&self, last_events: &[ChannelEvent], now: UnixMicros) {
        let _ = (last_events, now);
    }

    /// Ends the holds whose time is over. Returns when the next one's is.
    pub fn expire(&self, now: UnixMicros) -> Option<UnixMicros> {
        let _ = now;
        None
    }
}
