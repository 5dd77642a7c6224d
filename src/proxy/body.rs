//! The request body: what is read whole before an upstream is chosen, and what streams.
//!
//! Pingora keeps at most 64 KiB of a body for another try, and drops all of it when there is more.
//! So the body is read here, into one buffer of ours, and Pingora's retry buffer is switched on
//! only when the part still to come fits into it. Pingora then hands that tail to
//! `request_body_filter` on every try, and the filter puts the whole buffer in its place.
//!
//! A body of unknown length (chunked, or HTTP/2 without a length) that turns out larger than the
//! retry buffer is read all the same; the wrapped session tells Pingora that it was kept
//! (`proxy/downstream.rs`). Bodies that are no JSON are read where there are several channels, or names of
//! models change: a form says which model it is for, and what was read can be sent again. What is larger than
//! `limits.buffered_body`, or finds no room in `limits.buffered_total`, streams, and there is one try.
//!
//! What goes to a channel is made of the client's own bytes for each try: usage is asked for where the
//! channel knows how, and the model gets the name it has there.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, UPGRADE};
use http::{HeaderValue, Method};
use pingora::proxy::Session;

use crate::config::Limits;
use crate::protocol::{
    Decoder, FormReader, ModelPlace, RequestFacts, Splice, StatedModel, read_request, spliced,
};
use crate::record::Api;

use super::failure::Failure;
use super::models::Listed;
use super::timeline::Timeline;

/// What Pingora keeps of a body for another try.
const RETRY_BUFFER_BYTES: u64 = 64 * 1024;

/// Room for all buffered bodies together (`limits.buffered_total`).
#[derive(Debug)]
pub(super) struct Room {
    limit_bytes: u64,
    used_bytes: AtomicU64,
}

impl Room {
    pub(super) fn new(limit_bytes: u64) -> Arc<Self> {
        Arc::new(Self {
            limit_bytes,
            used_bytes: AtomicU64::new(0),
        })
    }

    fn lease(self: &Arc<Self>) -> Lease {
        Lease {
            room: Arc::clone(self),
            bytes: 0,
        }
    }
}

/// Room taken for one body, given back when dropped.
#[derive(Debug)]
pub(super) struct Lease {
    room: Arc<Room>,
    bytes: u64,
}

impl Lease {
    /// Takes room so that this lease covers `bytes`; false when there is not enough.
    fn cover(&mut self, bytes: u64) -> bool {
        let Some(more) = bytes.checked_sub(self.bytes).filter(|&more| more > 0) else {
            return true;
        };
        let taken = self
            .room
            .used_bytes
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| {
                used.checked_add(more)
                    .filter(|&total| total <= self.room.limit_bytes)
            })
            .is_ok();
        if taken {
            self.bytes = bytes;
        }
        taken
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.room.used_bytes.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// A request body on its way.
#[derive(Debug, Default)]
pub(super) enum Body {
    /// There is none, or it streams through untouched.
    #[default]
    Passing,
    /// It streams, after what had been read of it.
    Begun(Bytes),
    /// Read whole: sent on every try in place of the tail Pingora kept.
    Whole(Whole),
}

/// A body that was read whole.
#[derive(Debug)]
pub(super) struct Whole {
    /// The client's.
    body: Bytes,
    /// As it goes to the upstream.
    forward: Bytes,
    /// JSON that the client did not compress.
    plain: bool,
    /// One that it did compress, unpacked: goes in place of it where it has to be changed.
    unpacked: Option<Bytes>,
    /// What goes is what was unpacked.
    goes_unpacked: bool,
    /// What asks for usage.
    usage: Option<Splice>,
    /// Where it says its model.
    model: Option<ModelPlace>,
    lease: Arc<Lease>,
}

impl Whole {
    /// As [`Body::prepare`].
    fn prepare(&mut self, model: Option<&str>, asks: bool, once: bool) -> bool {
        let usage = self.usage.as_ref().filter(|_| asks);
        let renamed = model.and_then(|model| self.model.as_ref()?.renamed(model));
        let written = self.unpacked.as_ref().unwrap_or(&self.body);
        let changed = match (usage, &renamed) {
            (None, None) => None,
            (Some(splice), None) | (None, Some(splice)) => spliced(written, [splice]),
            (Some(usage), Some(renamed)) => spliced(written, [usage, renamed]),
        };
        let asks = usage.is_some() && changed.is_some();
        self.goes_unpacked = self.unpacked.is_some() && changed.is_some();
        self.forward = changed.map_or_else(|| self.body.clone(), Bytes::from);
        if once {
            self.body = self.forward.clone();
            (self.usage, self.model, self.unpacked) = (None, None, None);
        }
        asks
    }
}

/// What reading the body before an upstream is chosen led to.
pub(super) struct Read {
    pub(super) body: Body,
    pub(super) facts: Option<RequestFacts>,
    /// Bytes received so far.
    pub(super) received_bytes: u64,
    /// Pingora kept nothing of a body that was read whole.
    pub(super) unkept: bool,
}

impl Read {
    const fn passing() -> Self {
        Self {
            body: Body::Passing,
            facts: None,
            received_bytes: 0,
            unkept: false,
        }
    }
}

/// Why a request goes no further: a failure of ours, an answer of ours, or the connection's own
/// error.
pub(super) enum Stopped {
    Refused(Failure),
    Answered(Listed),
    Broken(Box<pingora::Error>),
}

/// What is read of a body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    /// Also one that is no JSON.
    pub(super) of_any_kind: bool,
    /// How usage can be asked for in it.
    pub(super) usage: bool,
    /// What it is without its compression: its model is changed, or it is read once more.
    pub(super) unpacked: bool,
    /// When the request's whole time is up.
    pub(super) over: Option<Instant>,
}

/// Reads the request body as far as it is read before an upstream is chosen.
pub(super) async fn read(
    session: &mut Session,
    api: Api,
    limits: &Limits,
    room: &Arc<Room>,
    wish: Wish,
    timeline: &mut Timeline,
) -> Result<Read, Stopped> {
    let length = content_length(session);
    if length.is_some_and(|length| length > limits.request_body_bytes) {
        return Err(Stopped::Refused(Failure::BodyTooLarge {
            limit_bytes: limits.request_body_bytes,
        }));
    }
    let wanted = wish.of_any_kind || is_json(session);
    if session.is_body_empty() || !wanted || is_handshake(session) {
        return Ok(Read::passing());
    }
    let mut lease = room.lease();
    let expected = length.unwrap_or(RETRY_BUFFER_BYTES);
    if expected > limits.buffered_body_bytes || !lease.cover(expected) {
        return Ok(Read::passing());
    }
    timeline.reading(Instant::now());
    let reading = collect(session, length, limits, &mut lease);
    let collected = match wish.over {
        None => reading.await,
        Some(over) => match tokio::time::timeout_at(over.into(), reading).await {
            Ok(collected) => collected,
            Err(_) => return Err(Stopped::Refused(Failure::SlowClient)),
        },
    };
    timeline.arrived(Instant::now());
    let (body, whole) = collected.map_err(Stopped::Broken)?;
    let received_bytes = body.len() as u64;
    if !whole {
        return Ok(Read {
            body: Body::Begun(body),
            received_bytes,
            ..Read::passing()
        });
    }
    let Understood {
        mut facts,
        plain,
        unpacked,
    } = Understood::of(&body, api, session, limits);
    // Kept where it may be needed and there is room for both.
    let unpacked = unpacked
        .filter(|unpacked| wish.unpacked && lease.cover(received_bytes + unpacked.len() as u64));
    if !plain && unpacked.is_none() && is_json(session) {
        // It stands in other bytes than those that go on.
        facts.as_mut().map(|facts| facts.model_place.take());
    }
    let usage = facts
        .as_ref()
        .filter(|_| plain && wish.usage)
        .and_then(|facts| facts.usage_injection(&body));
    Ok(Read {
        body: Body::Whole(Whole {
            forward: body.clone(),
            body,
            plain,
            unpacked,
            goes_unpacked: false,
            usage,
            model: facts.as_ref().and_then(|facts| facts.model_place.clone()),
            lease: Arc::new(lease),
        }),
        facts,
        received_bytes,
        unkept: session.retry_buffer_truncated(),
    })
}

/// What was read of the body, and whether that is all of it.
async fn collect(
    session: &mut Session,
    length: Option<u64>,
    limits: &Limits,
    lease: &mut Lease,
) -> pingora::Result<(Bytes, bool)> {
    if session.req_header().headers.contains_key(EXPECT) {
        // The client waits for this before it sends the body that is read here.
        session.write_continue_response().await?;
    }
    let mut pieces = Pieces::default();
    loop {
        let to_come = length.map_or(0, |length| length.saturating_sub(pieces.bytes()));
        if to_come <= RETRY_BUFFER_BYTES {
            session.enable_retry_buffering();
        }
        match session.downstream_session.read_request_body().await? {
            Some(piece) => pieces.push(piece, length),
            None => return Ok((pieces.join(), true)),
        }
        if session.is_body_done() {
            return Ok((pieces.join(), true));
        }
        let bytes = pieces.bytes();
        if length.is_none() && (bytes > limits.buffered_body_bytes || !lease.cover(bytes)) {
            return Ok((pieces.join(), false));
        }
    }
}

/// Pieces of a body; the only one is not copied.
#[derive(Default)]
struct Pieces {
    first: Bytes,
    joined: BytesMut,
}

impl Pieces {
    fn bytes(&self) -> u64 {
        self.first.len().max(self.joined.len()) as u64
    }

    fn push(&mut self, piece: Bytes, length: Option<u64>) {
        if self.first.is_empty() && self.joined.is_empty() {
            self.first = piece;
            return;
        }
        if self.joined.is_empty() {
            let expected = length.and_then(|length| usize::try_from(length).ok());
            self.joined.reserve(expected.unwrap_or(0));
            self.joined.extend_from_slice(&self.first);
        }
        self.joined.extend_from_slice(&piece);
    }

    fn join(self) -> Bytes {
        if self.joined.is_empty() {
            self.first
        } else {
            self.joined.freeze()
        }
    }
}

/// What a whole body says.
struct Understood {
    facts: Option<RequestFacts>,
    /// It is JSON, and says it in plain.
    plain: bool,
    /// It is JSON that was compressed: all of it, unpacked.
    unpacked: Option<Bytes>,
}

impl Understood {
    /// Reads the facts of `body`. One that the client compressed is decoded for its facts: it goes on
    /// as it came, unless it has to be changed.
    fn of(body: &[u8], api: Api, session: &Session, limits: &Limits) -> Self {
        if !is_json(session) {
            return Self {
                facts: form(session, api).map(|form| read_form(*form, body)),
                plain: false,
                unpacked: None,
            };
        }
        match decoded(body, session, limits.buffered_body_bytes) {
            Some((unpacked, whole)) => Self {
                facts: Some(read_request(api, &unpacked)),
                plain: false,
                unpacked: whole.then(|| Bytes::from(unpacked)),
            },
            None => Self {
                facts: Some(read_request(api, body)),
                plain: true,
                unpacked: None,
            },
        }
    }
}

/// What a whole form says. One that states several models states none: servers differ in which of
/// them they take.
fn read_form(mut form: FormReader, body: &[u8]) -> RequestFacts {
    form.feed(body);
    let several = form.model() == StatedModel::Several;
    let mut facts = form.finish();
    if several {
        (facts.model, facts.model_place) = (None, None);
    }
    facts
}

/// The reader of a form; `None` for any other body.
pub(super) fn form(session: &Session, api: Api) -> Option<Box<FormReader>> {
    let content_type = session.get_header(CONTENT_TYPE)?.to_str().ok()?;
    if session.get_header(CONTENT_ENCODING).is_some() {
        return None;
    }
    FormReader::new(api, content_type).map(Box::new)
}

/// The decoded body, as far as it decodes within `limit_bytes`, and whether that is all of it; `None`
/// for a plain one.
fn decoded(body: &[u8], session: &Session, limit_bytes: u64) -> Option<(Vec<u8>, bool)> {
    let encoding = session.get_header(CONTENT_ENCODING)?.to_str().ok()?;
    // An encoding nobody knows leaves a body that is no JSON, which is all there is to say of it.
    let mut decoder = Decoder::new(encoding).ok().flatten()?;
    let limit = usize::try_from(limit_bytes).unwrap_or(usize::MAX);
    let mut plain = Vec::new();
    let end = decoder.decode(body, &mut |piece| {
        plain.extend_from_slice(piece);
        if plain.len() > limit {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    let whole = matches!(end, Ok(ControlFlow::Continue(()))) && decoder.finish().is_ok();
    Some((plain, whole))
}

/// A whole body in plain JSON, and its room.
#[derive(Debug)]
pub(super) struct Plain {
    pub(super) body: Bytes,
    _lease: Arc<Lease>,
}

impl Body {
    /// The body, where it was read whole and says in plain what it asks for.
    pub(super) fn plain(&self) -> Option<Plain> {
        match self {
            Self::Whole(whole) if whole.plain => Some(Plain {
                body: whole.forward.clone(),
                _lease: Arc::clone(&whole.lease),
            }),
            _ => None,
        }
    }

    /// The JSON it is, where it was read whole: unpacked, where the client compressed it.
    pub(super) fn json(&self) -> Option<&[u8]> {
        match self {
            Self::Whole(whole) if whole.plain => Some(&whole.body),
            Self::Whole(whole) => whole.unpacked.as_deref(),
            Self::Passing | Self::Begun(_) => None,
        }
    }

    /// As it goes to the upstream, where it was read whole.
    pub(super) fn whole(&self) -> Option<&Bytes> {
        match self {
            Self::Whole(whole) => Some(&whole.forward),
            Self::Passing | Self::Begun(_) => None,
        }
    }

    /// Whether the client compressed it, and it goes unpacked.
    pub(super) fn goes_unpacked(&self) -> bool {
        matches!(self, Self::Whole(whole) if whole.goes_unpacked)
    }

    /// Makes it what the next upstream gets: with that `model` in place of its own, and asking for
    /// usage where `asks` says so. Whether it does ask. With `once` there is no other upstream: what
    /// the client sent is kept no longer.
    pub(super) fn prepare(&mut self, model: Option<&str>, asks: bool, once: bool) -> bool {
        match self {
            Self::Whole(whole) => whole.prepare(model, asks, once),
            Self::Passing | Self::Begun(_) => false,
        }
    }

    /// Takes the piece in `slot`, puts what the upstream gets in its place.
    pub(super) fn pass(&mut self, slot: &mut Option<Bytes>, end_of_stream: bool) {
        match self {
            Self::Passing => {}
            Self::Begun(beginning) => {
                let mut joined = BytesMut::from(std::mem::take(beginning));
                joined.extend_from_slice(slot.as_deref().unwrap_or_default());
                *slot = Some(joined.freeze());
                *self = Self::Passing;
            }
            Self::Whole(whole) => {
                // An empty piece is not sent; the whole replaces the tail.
                *slot = Some(if end_of_stream {
                    whole.forward.clone()
                } else {
                    Bytes::new()
                });
            }
        }
    }
}

/// Reads on and throws away what a refused client is still sending, a little and not for long: a
/// connection closed over unread bytes is reset, and the client may never see the answer.
pub(super) async fn linger(session: &mut Session) {
    const MOST_BYTES: usize = 1024 * 1024;
    const LONGEST: Duration = Duration::from_secs(2);
    if session.req_header().headers.contains_key(EXPECT) {
        // It was not told to continue, so it sends nothing.
        return;
    }
    let drain = async {
        let mut drained = 0;
        while drained < MOST_BYTES {
            match session.downstream_session.read_request_body().await {
                Ok(Some(piece)) => drained += piece.len(),
                Ok(None) | Err(_) => break,
            }
        }
    };
    let _ = tokio::time::timeout(LONGEST, drain).await;
}

/// Whether the request asks for a WebSocket. An offer of anything else (`Upgrade: h2c`, which the
/// JDK's client makes with every request) goes no further than Tollgate and changes nothing.
pub(super) fn is_handshake(session: &Session) -> bool {
    let head = session.req_header();
    let asks = |to: &HeaderValue| to.as_bytes().eq_ignore_ascii_case(b"websocket");
    session.is_upgrade_req()
        && head.method == Method::GET
        && head.headers.get(UPGRADE).is_some_and(asks)
}

fn content_length(session: &Session) -> Option<u64> {
    let value = session.get_header(CONTENT_LENGTH)?;
    value.to_str().ok()?.trim().parse().ok()
}

/// JSON by its media type: `application/json`, `…+json`, or none stated at all.
fn is_json(session: &Session) -> bool {
    let Some(value) = session.get_header(CONTENT_TYPE) else {
        return true;
    };
    let value = value.as_bytes();
    let end = value.iter().position(|&byte| byte == b';');
    let essence = value[..end.unwrap_or(value.len())].trim_ascii();
    let ends = |suffix: &[u8]| {
        essence.len() >= suffix.len()
            && essence[essence.len() - suffix.len()..].eq_ignore_ascii_case(suffix)
    };
    ends(b"/json") || ends(b"+json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_bounded_in_total_and_given_back() {
        let room = Room::new(100);
        let mut first = room.lease();
        let mut second = room.lease();
        assert!(first.cover(60));
        assert!(first.cover(60), "covering the same again takes nothing");
        assert!(!second.cover(41));
        assert!(second.cover(40));
        drop(first);
        assert!(second.cover(100));
        drop(second);
        assert_eq!(room.used_bytes.load(Ordering::Acquire), 0);
    }

    #[test]
    fn a_body_that_was_begun_goes_on_behind_its_beginning() {
        let mut body = Body::Begun(Bytes::from("1234"));
        let mut slot = Some(Bytes::from("56"));
        body.pass(&mut slot, false);
        assert_eq!(slot.unwrap(), "123456");
        let mut slot = Some(Bytes::from("789"));
        body.pass(&mut slot, true);
        assert_eq!(slot.unwrap(), "789");
    }

    #[test]
    fn each_channel_gets_a_body_made_of_the_clients() {
        let client = r#"{"stream":true,"model":"a"}"#;
        let facts = read_request(Api::Chat, client.as_bytes());
        let mut body = Body::Whole(Whole {
            body: Bytes::from(client),
            forward: Bytes::new(),
            plain: true,
            unpacked: None,
            goes_unpacked: false,
            usage: facts.usage_injection(client.as_bytes()),
            model: facts.model_place,
            lease: Arc::new(Room::new(100).lease()),
        });
        let usage = r#""stream_options":{"include_usage":true},"#;
        for (model, asks, expected) in [
            (
                Some("b"),
                true,
                format!(r#"{{{usage}"stream":true,"model":"b"}}"#),
            ),
            (
                None,
                true,
                format!(r#"{{{usage}"stream":true,"model":"a"}}"#),
            ),
            (
                Some("c\""),
                false,
                r#"{"stream":true,"model":"c\""}"#.to_owned(),
            ),
            (None, false, client.to_owned()),
        ] {
            assert_eq!(body.prepare(model, asks, false), asks);
            assert_eq!(body.whole().unwrap(), &expected);
        }
    }

    #[test]
    fn the_only_piece_is_not_copied() {
        let piece = Bytes::from("whole");
        let mut pieces = Pieces::default();
        pieces.push(piece.clone(), Some(5));
        assert_eq!(pieces.join().as_ptr(), piece.as_ptr());
    }
}
