//! The request body: what is read whole before an upstream is chosen, and what streams.
//!
//! Pingora keeps at most 64 KiB of a body for another try, and drops all of it when there is more.
//! So the body is read here, into one buffer of ours, and Pingora's retry buffer is switched on
//! only when the part still to come fits into it. Pingora then hands that tail to
//! `request_body_filter` on every try, and the filter puts the whole buffer in its place.
//!
//! A body of unknown length (chunked, or HTTP/2 without a length) that turns out larger than the
//! retry buffer is collected while Pingora passes it on, and sent when it is complete: the upstream
//! is then chosen without its facts, and there is one try. Bodies that are no JSON, larger than
//! `limits.buffered_body`, or that find no room in `limits.buffered_total`, stream.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, UPGRADE};
use http::{HeaderValue, Method};
use pingora::proxy::Session;

use crate::config::Limits;
use crate::protocol::{Decoder, RequestFacts, inject_include_usage, read_request};
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
    /// Read whole: sent on every try in place of the tail Pingora kept.
    Whole {
        forward: Bytes,
        /// The client did not compress it.
        plain: bool,
        lease: Arc<Lease>,
    },
    /// Of unknown length and already too large to be retried: collected, sent when complete.
    Collecting { so_far: BytesMut, lease: Lease },
}

/// What reading the body before an upstream is chosen led to.
pub(super) struct Read {
    pub(super) body: Body,
    pub(super) facts: Option<RequestFacts>,
    /// Bytes received so far.
    pub(super) received_bytes: u64,
    /// Usage is asked for by Tollgate: its traces are taken out of the answer.
    pub(super) injected: bool,
}

impl Read {
    const fn passing() -> Self {
        Self {
            body: Body::Passing,
            facts: None,
            received_bytes: 0,
            injected: false,
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

/// Reads the request body as far as it is read before an upstream is chosen. `over` is the moment
/// at which the request's whole time is up.
pub(super) async fn read(
    session: &mut Session,
    api: Api,
    limits: &Limits,
    room: &Arc<Room>,
    inject: bool,
    over: Option<Instant>,
    timeline: &mut Timeline,
) -> Result<Read, Stopped> {
    let length = content_length(session);
    if length.is_some_and(|length| length > limits.request_body_bytes) {
        return Err(Stopped::Refused(Failure::BodyTooLarge {
            limit_bytes: limits.request_body_bytes,
        }));
    }
    if session.is_body_empty() || !is_json(session) || is_handshake(session) {
        return Ok(Read::passing());
    }
    let mut lease = room.lease();
    let expected = length.unwrap_or(RETRY_BUFFER_BYTES);
    if expected > limits.buffered_body_bytes || !lease.cover(expected) {
        return Ok(Read::passing());
    }
    timeline.reading(Instant::now());
    let reading = collect(session, length);
    let collected = match over {
        None => reading.await,
        Some(over) => match tokio::time::timeout_at(over.into(), reading).await {
            Ok(collected) => collected,
            Err(_) => return Err(Stopped::Refused(Failure::SlowClient)),
        },
    };
    timeline.arrived(Instant::now());
    match collected.map_err(Stopped::Broken)? {
        Collected::Whole(body) => {
            let received_bytes = body.len() as u64;
            let understood = Understood::of(body, api, session, limits, inject);
            Ok(Read {
                body: Body::Whole {
                    forward: understood.forward,
                    plain: understood.plain,
                    lease: Arc::new(lease),
                },
                facts: Some(understood.facts),
                received_bytes,
                injected: understood.injected,
            })
        }
        Collected::Beginning(so_far) => Ok(Read {
            received_bytes: so_far.len() as u64,
            body: Body::Collecting { so_far, lease },
            facts: None,
            injected: false,
        }),
    }
}

enum Collected {
    Whole(Bytes),
    Beginning(BytesMut),
}

async fn collect(session: &mut Session, length: Option<u64>) -> pingora::Result<Collected> {
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
            None => return Ok(Collected::Whole(pieces.join())),
        }
        if session.is_body_done() {
            return Ok(Collected::Whole(pieces.join()));
        }
        if length.is_none() && session.retry_buffer_truncated() {
            return Ok(Collected::Beginning(pieces.into_buffer()));
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

    fn into_buffer(self) -> BytesMut {
        if self.joined.is_empty() {
            BytesMut::from(self.first)
        } else {
            self.joined
        }
    }
}

/// A whole body, read.
pub(super) struct Understood {
    pub(super) facts: RequestFacts,
    pub(super) forward: Bytes,
    pub(super) plain: bool,
    pub(super) injected: bool,
}

impl Understood {
    /// Reads the facts of `body` and, when `inject` says so, asks for usage in it. A body that the
    /// client compressed is decoded for its facts only: it goes on as it came.
    pub(super) fn of(
        body: Bytes,
        api: Api,
        session: &Session,
        limits: &Limits,
        inject: bool,
    ) -> Self {
        if let Some(plain) = decoded(&body, session, limits.buffered_body_bytes) {
            return Self {
                facts: read_request(api, &plain),
                forward: body,
                plain: false,
                injected: false,
            };
        }
        let facts = read_request(api, &body);
        let injection = inject
            .then(|| inject_include_usage(&body, &facts))
            .flatten();
        Self {
            injected: injection.is_some(),
            forward: injection.map_or(body, Bytes::from),
            plain: true,
            facts,
        }
    }
}

/// The decoded body, as far as it decodes within `limit_bytes`; `None` for a plain one.
fn decoded(body: &[u8], session: &Session, limit_bytes: u64) -> Option<Vec<u8>> {
    let encoding = session.get_header(CONTENT_ENCODING)?.to_str().ok()?;
    // An encoding nobody knows leaves a body that is no JSON, which is all there is to say of it.
    let mut decoder = Decoder::new(encoding).ok().flatten()?;
    let limit = usize::try_from(limit_bytes).unwrap_or(usize::MAX);
    let mut plain = Vec::new();
    let _ = decoder.decode(body, &mut |piece| {
        plain.extend_from_slice(piece);
        if plain.len() > limit {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    Some(plain)
}

/// What one piece of a body means for the upstream, while Pingora passes it on.
pub(super) enum Passed {
    /// Send it as it stands in the slot.
    On,
    /// The body is complete: read and sent in one.
    Complete(Bytes),
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
            Self::Whole {
                forward,
                plain: true,
                lease,
            } => Some(Plain {
                body: forward.clone(),
                _lease: Arc::clone(lease),
            }),
            _ => None,
        }
    }

    /// Takes the piece in `slot`, puts what the upstream gets in its place.
    pub(super) fn pass(
        &mut self,
        slot: &mut Option<Bytes>,
        end_of_stream: bool,
        limits: &Limits,
    ) -> Passed {
        match self {
            Self::Passing => Passed::On,
            Self::Whole { forward, .. } => {
                // An empty piece is not sent; the whole replaces the tail.
                *slot = Some(if end_of_stream {
                    forward.clone()
                } else {
                    Bytes::new()
                });
                Passed::On
            }
            Self::Collecting { so_far, lease } => {
                so_far.extend_from_slice(slot.as_deref().unwrap_or_default());
                if end_of_stream {
                    let body = std::mem::take(so_far).freeze();
                    *self = Self::Passing;
                    return Passed::Complete(body);
                }
                let bytes = so_far.len() as u64;
                if bytes > limits.buffered_body_bytes || !lease.cover(bytes) {
                    *slot = Some(std::mem::take(so_far).freeze());
                    *self = Self::Passing;
                } else {
                    *slot = Some(Bytes::new());
                }
                Passed::On
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
    fn collecting_gives_up_at_the_limit_and_sends_everything() {
        let limits = Limits {
            buffered_body_bytes: 8,
            ..Limits::default()
        };
        let room = Room::new(1024);
        let mut body = Body::Collecting {
            so_far: BytesMut::from("1234"),
            lease: room.lease(),
        };
        let mut slot = Some(Bytes::from("56"));
        assert!(matches!(body.pass(&mut slot, false, &limits), Passed::On));
        assert_eq!(slot.unwrap(), "");
        let mut slot = Some(Bytes::from("789"));
        assert!(matches!(body.pass(&mut slot, false, &limits), Passed::On));
        assert_eq!(slot.unwrap(), "123456789");
        assert!(matches!(body, Body::Passing));
        assert_eq!(room.used_bytes.load(Ordering::Acquire), 0);
    }

    #[test]
    fn the_only_piece_is_not_copied() {
        let piece = Bytes::from("whole");
        let mut pieces = Pieces::default();
        pieces.push(piece.clone(), Some(5));
        assert_eq!(pieces.join().as_ptr(), piece.as_ptr());
    }
}
