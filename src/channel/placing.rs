//! The way of one request through the channels: which it may go to, which it has tried.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::verdict::{Sighted, Verdict};
use super::{Channel, Registry};
use crate::clock::UnixMicros;
use crate::record::Api;

/// What a request asks for, as far as it matters for the choice of a channel.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The channel that the path or a header names: that one or none.
    pub named: Option<&'a str>,
    /// The channel of the caller's key, for requests that name none: that one or none.
    pub preferred: Option<&'a str>,
    /// The channels that the caller's key may use; `None` for all.
    pub allowed: Option<&'a [Arc<str>]>,
    /// The API that is called.
    pub api: Api,
    /// The model that is asked for, aliases resolved.
    pub model: Option<&'a str>,
    /// Who asks: what `round_robin` rotates by.
    pub caller: u64,
    /// What binds the request to the channel of an earlier one.
    pub bond: Option<Bond<'a>>,
}

/// What requests that belong together have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bond<'a> {
    /// A thing that only the channel that made it knows: a response, a batch.
    Made(&'a str),
    /// A conversation, which may go on elsewhere.
    Session(&'a str),
}

/// Why no channel takes a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPlace {
    /// None has the name that was asked for.
    #[error("no channel is named `{0}`")]
    NoSuchChannel(String),
    /// The caller's key may not use the one it names, or none that serves the model.
    #[error("this key may not use any channel that could take the request")]
    NotAllowed,
    /// None serves the model.
    #[error("no channel serves the model `{0}`")]
    NoModel(String),
    /// All that could are closed; the first opens after this time, where that is known.
    #[error("every channel that could take the request is closed")]
    Closed(Option<Duration>),
    /// All that could have as many requests as they take.
    #[error("every channel that could take the request has max_in_flight requests already")]
    Full,
    /// All that could were tried.
    #[error("every channel that could take the request was tried")]
    Exhausted,
}

/// One request on its way through the channels.
#[derive(Debug)]
pub struct Placing {
    candidates: Vec<Arc<Channel>>,
    tried: usize,
}

impl Registry {
    /// Finds the channels that could take a request, in the order in which they are to be tried.
    pub fn placing(&self, wanted: &Wanted<'_>) -> Result<Placing, NoPlace> {
        let candidates = match wanted.named {
            None => vec![Arc::clone(&self.first)],
            Some(name) => vec![Arc::clone(
                self.channel(name)
                    .ok_or_else(|| NoPlace::NoSuchChannel(name.to_owned()))?,
            )],
        };
        Ok(Placing {
            candidates,
            tried: 0,
        })
    }
}

impl Placing {
    /// Takes a place at the first channel that has one and was not tried yet.
    pub fn take(&mut self, _now: UnixMicros) -> Result<Place, NoPlace> {
        let channel = self.candidates.get(self.tried).ok_or(NoPlace::Exhausted)?;
        self.tried += 1;
        Ok(Place {
            channel: Arc::clone(channel),
        })
    }

    /// As [`take`](Self::take), but where every channel is full waits until one is not, or until
    /// `over`.
    pub async fn take_or_wait(&mut self, now: UnixMicros, over: Instant) -> Result<Place, NoPlace> {
        let _ = over;
        self.take(now)
    }

    /// Whether [`take`](Self::take) would find a further channel.
    #[must_use]
    pub fn has_another(&self, _now: UnixMicros) -> bool {
        self.tried < self.candidates.len()
    }
}

/// A place at a channel for one try, given back when dropped.
#[derive(Debug)]
pub struct Place {
    channel: Arc<Channel>,
}

impl Place {
    /// The channel.
    #[must_use]
    pub fn channel(&self) -> &Arc<Channel> {
        &self.channel
    }

    /// How the try ended: told to the channel's breaker, once, at the end. A place that is dropped
    /// without this says nothing of its channel.
    pub fn end(&mut self, sighted: &Sighted<'_>, _now: UnixMicros) -> Verdict {
        Verdict::of(sighted)
    }
}
