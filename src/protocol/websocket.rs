//! What passes over a WebSocket (RFC 6455): events of Realtime, and of Responses where it is spoken
//! that way.
//!
//! A [`Dialogue`] reads a copy of the bytes of both directions as they pass. `frames` finds the
//! messages in them, whatever their fragments; `events` reads what matters in a message and keeps
//! nothing else of it, so that one of any size needs no more memory than a small one. Bytes that
//! are no WebSocket end the reading of their direction, and nothing else.

mod events;
mod farewell;
mod frames;

use std::sync::Arc;

use super::api;
use super::bounds::Bounds;
use super::observed::{MissingReason, Observed};
use crate::record::{Api, LimitKind};

pub use farewell::{Refusal, farewell};

use events::{ClientReader, UpstreamReader};
use frames::{Frames, Reader};

/// Whether Tollgate reads WebSockets of this API.
#[must_use]
pub fn reads_socket(api: Api) -> bool {
    api::client_event(api).is_some()
}

/// Asks for a response to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Create {
    /// The client's id of its event, by which a refusal names it.
    pub event_id: Option<Box<str>>,
    /// The lane it is to be made on, where the connection has several.
    pub lane: Option<Box<str>>,
    /// The model asked for, where the event says.
    pub model: Option<Box<str>>,
    /// The end user it names.
    pub end_user: Option<Box<str>>,
    /// The service tier it asks for, where that is not the usual one.
    pub service_tier: Option<Box<str>>,
    /// The most output tokens it allows, where it says.
    pub max_output_tokens: Option<u64>,
    /// Nobody can say what it costs: it has tools that the provider runs, or what it asks for is kept
    /// there.
    pub endless: bool,
    /// Bytes of the message.
    pub bytes: u64,
}

impl Create {
    /// What the response may use at most, beside what bounds its model; `None` where nobody can say.
    #[must_use]
    pub fn bounds(&self, api: Api) -> Option<Bounds> {
        let tier = self.service_tier.clone();
        (!self.endless).then(|| Bounds::of_a_session(api, self.max_output_tokens, tier))
    }
}

/// How far the making of something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advance {
    /// It began.
    Begun,
    /// It goes on.
    UnderWay,
    /// It ended, well or not.
    Ended,
}

/// What the upstream said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// How the session is set: the model that answers, and the one that transcribes what it hears.
    Session {
        /// `session.model`.
        model: Option<Box<str>>,
        /// The model of the input's transcription.
        transcription_model: Option<Box<str>>,
    },
    /// Of a response.
    Response {
        /// Its id, where the event names it.
        id: Option<Arc<str>>,
        /// The lane it is made on.
        lane: Option<Arc<str>>,
        /// How far it is.
        advance: Advance,
        /// Whether the event brings generated content.
        content: bool,
        /// What the event states besides; `None` for a mere piece of content.
        observed: Option<Box<Observed>>,
        /// Bytes of the message.
        bytes: u64,
    },
    /// Of the transcription of what the client said, which is billed apart.
    Transcription {
        /// The conversation's item that is transcribed.
        item_id: Option<Arc<str>>,
        /// How far it is.
        advance: Advance,
        /// Whether the event brings generated content.
        content: bool,
        /// What the event states besides; `None` for a mere piece of content.
        observed: Option<Box<Observed>>,
        /// Bytes of the message.
        bytes: u64,
    },
    /// An `error` event; the session may go on.
    Error {
        /// The lane it came on.
        lane: Option<Arc<str>>,
        /// The client's event that caused it, where it is named.
        event_id: Option<Box<str>>,
        /// The HTTP status that the event states.
        status: Option<u16>,
        /// What the event states.
        observed: Box<Observed>,
        /// Bytes of the message.
        bytes: u64,
    },
    /// What is left of the rate limits. `None` where the number is not to be known.
    RateLimits(Vec<(LimitKind, Option<u64>)>),
}

/// How one side took leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leave {
    /// The close code; `None` where the frame states none.
    pub code: Option<u16>,
}

/// Reads one WebSocket as it passes, in bounded memory, without ever failing it.
#[derive(Debug)]
pub struct Dialogue {
    client: Direction<ClientReader>,
    upstream: Direction<UpstreamReader>,
}

#[derive(Debug)]
struct Direction<R> {
    frames: Frames,
    reader: R,
    stopped: Option<MissingReason>,
}

impl<R: Reader> Direction<R> {
    fn new(frames: Frames, reader: R, stopped: Option<MissingReason>) -> Self {
        Self {
            frames,
            reader,
            stopped,
        }
    }

    fn feed(&mut self, bytes: &[u8]) {
        if self.stopped.is_none() && self.frames.feed(bytes, &mut self.reader).is_err() {
            self.stopped = Some(MissingReason::Malformed);
        }
    }
}

impl Dialogue {
    /// A reader for a WebSocket of `api`; `None` where Tollgate does not read them. With
    /// `extended` the handshake agreed on an extension, which changes the frames: nothing is read.
    #[must_use]
    pub fn new(api: Api, extended: bool) -> Option<Self> {
        let client = api::client_event(api)?;
        let stopped = extended.then_some(MissingReason::Undecodable);
        // The model of a Realtime session is the connection's, and what its client says is mostly
        // sound. Elsewhere each event says its own.
        let reader = ClientReader::new(api, client, api == Api::Realtime);
        let upstream = UpstreamReader::new(api::conventions(api));
        Some(Self {
            client: Direction::new(Frames::masked(), reader, stopped),
            upstream: Direction::new(Frames::plain(), upstream, stopped),
        })
    }

    /// Reads what the client sent, cut anywhere; `create` is told of each request for a response.
    pub fn client_sent(&mut self, bytes: &[u8], create: &mut dyn FnMut(Create)) {
        self.client.feed(bytes);
        self.client.reader.take().for_each(create);
    }

    /// Reads what the upstream sent, cut anywhere; `told` hears each event that matters.
    pub fn upstream_sent(&mut self, bytes: &[u8], told: &mut dyn FnMut(Told)) {
        self.upstream.feed(bytes);
        self.upstream.reader.take().for_each(told);
    }

    /// Why what the upstream says is no longer read, where that is so.
    #[must_use]
    pub fn unread(&self) -> Option<MissingReason> {
        self.upstream.stopped
    }

    /// Whether all that the client said so far was read.
    #[must_use]
    pub fn hears_client(&self) -> bool {
        self.client.stopped.is_none()
    }

    /// Whether the upstream is between two messages: what is written to the client now comes as a message
    /// of its own.
    #[must_use]
    pub fn can_interpose(&self) -> bool {
        self.upstream.stopped.is_none() && self.upstream.frames.is_between_messages()
    }

    /// Whether and how the client took leave.
    #[must_use]
    pub fn client_leave(&self) -> Option<Leave> {
        self.client.frames.leave()
    }

    /// Whether and how the upstream took leave.
    #[must_use]
    pub fn upstream_leave(&self) -> Option<Leave> {
        self.upstream.frames.leave()
    }

    /// Bytes of heap that this reader holds.
    #[must_use]
    pub fn retained_bytes(&self) -> usize {
        self.client.reader.retained_bytes() + self.upstream.reader.retained_bytes()
    }
}

#[cfg(test)]
mod tests;
