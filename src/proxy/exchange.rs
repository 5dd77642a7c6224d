//! The state of one request between the phases.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;

use crate::channel::{Channel, Fault, Place, Sighted};
use crate::config::ChannelKind;
use crate::keys::Caller;
use crate::protocol::{
    FormReader, MissingReason, Operation, RequestFacts, Stage, outcome_of, reads_text, writes_text,
};
use crate::record::{Api, ErrorSource, Outcome, UsageSource};

use super::admission::Asking;
use super::body::Body;
use super::caller::Bound;
use super::capture::Capture;
use super::cork::Cork;
use super::counting::{Asked, Counting, Purpose};
use super::deadline::Watchdog;
use super::downstream::{Downstream, is_undecided};
use super::failure::Failure;
use super::head::is_credential;
use super::passing::Passing;
use super::placing::Way;
use super::recorder::{Ending, Recorder};
use super::tunnel::Socket;

/// Why usage is missing where the upstream had the request and no answer came.
pub(super) const UNANSWERED: &str = "unanswered";

/// Requests that were begun and have not ended, over all connections.
#[derive(Clone, Debug, Default)]
pub struct OpenRequests(Arc<AtomicU64>);

impl OpenRequests {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    pub(super) fn enter(&self) -> Entered {
        self.0.fetch_add(1, Ordering::AcqRel);
        Entered(self.clone())
    }
}

/// One of the counted requests, until dropped.
#[derive(Debug)]
pub(super) struct Entered(OpenRequests);

impl Entered {
    /// Once more, for what goes on after the request.
    pub(super) fn again(&self) -> Self {
        self.0.enter()
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// One request on its way through the phases. Pingora makes one for each request and drops it
/// after the answer was flushed.
#[derive(Debug)]
pub struct Exchange {
    pub(super) recorder: Recorder,
    /// Who calls.
    pub(super) caller: Caller,
    /// What the caller's key has to do with the model.
    pub(super) bound: Bound,
    pub(super) api: Api,
    pub(super) operation: Operation,
    /// What a tunnel's client is told before it ends.
    pub(super) farewell: Option<Bytes>,
    /// What the rules are asked.
    pub(super) asking: Asking,
    /// The one that is tried, or was last.
    pub(super) channel: Option<Arc<Channel>>,
    pub(super) way: Way,
    /// The path to ask the upstream for, where it differs from the client's.
    pub(super) upstream_path: Option<String>,
    pub(super) body: Body,
    /// Reads an upload as it passes, until its end.
    pub(super) form: Option<Box<FormReader>>,
    /// The response is to be made in the background.
    background: Option<bool>,
    /// Characters to be spoken.
    input_characters: Option<u64>,
    pub(super) capture: Capture,
    /// Tollgate asked for usage on the client's behalf.
    pub(super) injected: bool,
    pub(super) addresses: Option<Arc<[SocketAddr]>>,
    pub(super) tries: usize,
    pub(super) connected: bool,
    /// The connection became a tunnel (101).
    pub(super) upgraded: bool,
    pub(super) socket: Socket,
    /// Holds the request for a tunnel back.
    pub(super) cork: Option<Cork>,
    pub(super) watchdog: Option<Watchdog>,
    /// The answer's body on its way to the client; `None` until its header arrived.
    pub(super) passing: Option<Passing>,
    /// A failure found by a phase, which says more than the error it returned to Pingora.
    pub(super) failure: Option<Failure>,
    /// Counts against `limits.in_flight`; given back as soon as the request is refused.
    pub(super) running: Option<Entered>,
    /// The client's session, where it had to be wrapped.
    pub(super) downstream: Option<Downstream>,
    received: Option<Received>,
    entered: Entered,
}

/// What a client received that left before the end.
#[derive(Debug)]
struct Received {
    bytes: u64,
    /// Of the answer's content, with the JSON around it.
    content_bytes: u64,
}

impl Exchange {
    pub(super) fn new(recorder: Recorder, open: &OpenRequests) -> Self {
        Self {
            recorder,
            caller: Caller::default(),
            bound: Bound::default(),
            api: Api::Other,
            operation: Operation::Manage,
            farewell: None,
            asking: Asking::default(),
            channel: None,
            way: Way::default(),
            upstream_path: None,
            body: Body::default(),
            form: None,
            background: None,
            input_characters: None,
            capture: Capture::default(),
            injected: false,
            addresses: None,
            tries: 0,
            connected: false,
            upgraded: false,
            socket: Socket::None,
            cork: None,
            watchdog: None,
            passing: None,
            failure: None,
            running: None,
            downstream: None,
            received: None,
            entered: open.enter(),
        }
    }

    /// Takes over what the request's body said. What the path said (a deployment, a Gemini model)
    /// is what the upstream goes by.
    pub(super) fn understand(&mut self, facts: &RequestFacts) {
        let admission = self.recorder.admission();
        if admission.requested_model.is_none() {
            admission.requested_model = facts.model.as_deref().map(Arc::from);
        }
        admission.stream = admission.stream.or(facts.stream);
        admission.end_user = facts.end_user.as_deref().map(Arc::from);
        self.background = facts.background;
        self.input_characters = facts.input_characters;
    }

    /// A piece of the request's body passes.
    pub(super) fn read_form(&mut self, piece: &[u8]) {
        if let Some(form) = &mut self.form {
            form.feed(piece);
        }
    }

    /// The request's body ended, or nobody reads on: what the form said by then.
    pub(super) fn form_ended(&mut self) {
        if let Some(form) = self.form.take() {
            self.understand(&form.finish());
        }
    }

    /// What `error` of Pingora's means for this request.
    pub(super) fn failure(&mut self, error: &pingora::Error) -> Failure {
        if self.client_has_left() {
            // Whatever became of the upstream after it.
            return Failure::ClientClosed;
        }
        if let Some(failure) = self.failure.take() {
            return failure;
        }
        if is_undecided(error)
            && let Some(channel) = &self.channel
        {
            let channel = Arc::clone(&channel.name);
            return Failure::UpstreamBroken { channel };
        }
        let expired = self.watchdog.as_ref().and_then(Watchdog::expired);
        Failure::of(error, self.channel.as_deref(), self.connected, expired)
    }

    /// The try in progress, as far as it came; `ending` is how it ends.
    pub(super) fn sighted<'a>(&'a self, fault: Option<Fault>, ending: &'a Ending) -> Sighted<'a> {
        let observed = self.passing.as_ref().map(Passing::observed);
        let told = observed.and_then(|observed| observed.error.as_ref()?.code.as_deref());
        Sighted {
            fault,
            status: self.recorder.status_of_try(),
            // Of a failure of the wire the code is Tollgate's own word.
            code: told.or(ending.code.as_deref().filter(|_| fault.is_none())),
            outcome: ending.outcome,
            // Of a caller with a key nothing goes on that could be its own.
            own_credential: self.caller.grant.is_some()
                || self.channel.as_deref().is_some_and(has_own_credential),
            pause: self.way.pause,
            wait: self.recorder.wait(),
        }
    }

    /// The header of an answer that goes to the client has come: a channel that waits to hear of it
    /// need not wait for the end of a stream, or of a tunnel.
    pub(super) fn answer_begins(&mut self, status: u16, now: Instant) {
        let awaited = |place: &mut Place| place.is_awaited();
        if self.way.is_holding() {
            return;
        }
        if let Some(mut place) = self.way.place.take_if(awaited) {
            let source = Some(ErrorSource::Upstream);
            let ending = Ending::bare(outcome_of(status, None), source);
            place.answered(&self.sighted(None, &ending), self.recorder.clock(now));
            self.way.place = Some(place);
        }
    }

    /// Whether only the code can tell that the channel's key is refused: Gemini says so with a 400.
    pub(super) fn may_hide_a_refused_key(&self, status: u16) -> bool {
        let channel = self.channel.as_deref();
        status == 400 && channel.is_some_and(|channel| channel.kind == ChannelKind::Gemini)
    }

    /// Whether the client left and the upstream is heard to the end all the same.
    pub(super) fn client_has_left(&self) -> bool {
        self.downstream.as_ref().is_some_and(Downstream::has_left)
    }

    /// Notes how much of the answer a client received that is found to have left: told before the
    /// first piece that it does not receive.
    pub(super) fn note_departure(&mut self) {
        let bytes = self
            .downstream
            .as_ref()
            .and_then(Downstream::received_bytes);
        let (Some(bytes), None) = (bytes, &self.received) else {
            return;
        };
        let content = self.passing.as_ref().map_or(0, Passing::content_bytes);
        self.received = Some(Received {
            bytes,
            // A write that failed took pieces with it that had passed here before.
            content_bytes: match self.recorder.response_bytes() {
                passed if passed > bytes => share(content, bytes, passed),
                _ => content,
            },
        });
    }

    /// Closes the account of an answer that passed whole.
    pub(super) fn close_passed(&mut self, now: Instant) {
        if self.recorder.is_closed() {
            return;
        }
        self.form_ended();
        let (ending, fault) = match self.tell_what_was_seen(true) {
            Some(ending) => {
                let observed = self.passing.as_ref().map(Passing::observed);
                let cut_short = observed.is_some_and(|observed| observed.cut_short);
                (ending, cut_short.then_some(Fault::CutShort))
            }
            None => self.end_tunnel(None, now),
        };
        self.close(ending, fault, now);
    }

    /// Closes the account of a request that failed on the way.
    pub(super) fn close_failed(&mut self, failure: &Failure, now: Instant) {
        let fault = failure.fault(self.passing.is_some());
        self.close_broken(failure.ending(), fault, now);
    }

    fn close_broken(&mut self, ending: Ending, fault: Fault, now: Instant) {
        if self.recorder.is_closed() {
            return;
        }
        self.form_ended();
        self.tell_what_was_seen(false);
        if let Some(tunnel) = self.socket.tunnel() {
            tunnel.abandon(&ending, now);
        }
        self.close(ending, Some(fault), now);
    }

    fn close(&mut self, ending: Ending, fault: Option<Fault>, now: Instant) {
        let (mut ending, mut fault) = (ending, fault);
        let at_once = matches!(ending.outcome, Outcome::Interrupted | Outcome::Internal);
        if self.client_has_left() {
            self.note_departure();
            ending = Failure::ClientClosed.ending();
            fault = Some(Fault::NotTheChannels);
        }
        self.end_try(fault, &ending, self.recorder.clock(now));
        let taken_bytes = self.passing.as_ref().map_or(0, Passing::taken_bytes);
        if let Some(received) = &self.received {
            self.recorder.left_with(received.bytes, taken_bytes);
        }
        let content_bytes = self.passing.as_ref().map_or(0, Passing::content_bytes);
        match self.purpose_of_counting(&ending) {
            None => self.recorder.close(ending, now),
            Some(purpose) => {
                let counting = Counting {
                    purpose,
                    api: self.api,
                    unanswered: self.passing.is_none()
                        && ending.outcome == Outcome::ClientClosed
                        && writes_text(self.api),
                    at_once,
                    request: self.body.plain().map(Asked::Whole),
                    answer: self.passing.as_mut().and_then(Passing::take_text),
                    received: self
                        .received
                        .as_ref()
                        .map(|received| received.content_bytes)
                        .filter(|&bytes| bytes < content_bytes),
                };
                let entered = self.entered.again();
                self.recorder.close_counting(ending, now, counting, entered);
            }
        }
    }

    /// What Tollgate has to count itself, if anything. A provider that refused, or failed before it
    /// wrote anything, is never charged a count.
    fn purpose_of_counting(&self, ending: &Ending) -> Option<Purpose> {
        let readable = self.operation == Operation::Create && self.connected && !self.upgraded;
        if !readable || self.recorder.is_deferred() || !reads_text(self.api) {
            return None;
        }
        let client_left = ending.outcome == Outcome::ClientClosed;
        let Some(passing) = &self.passing else {
            return Some(if client_left {
                Purpose::Complete
            } else {
                Purpose::Beside
            });
        };
        let observed = passing.observed();
        let begun = passing.content_bytes() > 0;
        if passing.is_refusal() || (observed.failed && !begun) {
            return None;
        }
        if let Some(usage) = &observed.usage {
            let cut = usage.source == UsageSource::Partial && ending.outcome != Outcome::Ok;
            return if cut {
                Some(Purpose::Complete)
            } else {
                self.received.is_some().then_some(Purpose::Delivered)
            };
        }
        let whole = observed.terminal_seen && !observed.failed;
        match observed.missing_reason {
            // Usage is still to come.
            None | Some(MissingReason::Pending | MissingReason::NotRead) => None,
            // Whatever could not be read of it, the answer reached the client whole.
            Some(_) if whole || ending.outcome == Outcome::Ok => Some(Purpose::Beside),
            Some(_) if client_left || begun => Some(Purpose::Complete),
            Some(_) => Some(Purpose::Beside),
        }
    }

    /// Takes over what the answer said, as far as it came, and whose usage that is. How the answer
    /// ended by its own word; `None` when none came.
    fn tell_what_was_seen(&mut self, whole: bool) -> Option<Ending> {
        let Some(passing) = &mut self.passing else {
            self.tell_what_is_unknown();
            return None;
        };
        let mut ending = passing.finish();
        let observed = passing.observed();
        if observed.cut_short
            && let Some(channel) = &self.channel
        {
            let channel = Arc::clone(&channel.name);
            ending = Failure::CutShort { channel }.ending();
        }
        let good = !passing.is_refusal();
        self.recorder.observed(observed);
        match self.operation {
            Operation::Create => {
                // A deployment of Azure's is no model.
                if let Some(called) = self.way.called()
                    && good
                    && !observed.failed
                    && (self.channel.as_deref()).is_some_and(|at| at.kind != ChannelKind::Azure)
                {
                    self.recorder.served_by(called);
                }
                if let Some(count) = self.input_characters
                    && good
                    && !observed.failed
                    && observed.usage.is_none()
                {
                    self.recorder.characters(count);
                }
                let pending = observed.stage == Some(Stage::Pending)
                    && (self.background == Some(true)
                        || observed.missing_reason == Some(MissingReason::Pending));
                if pending && good && observed.usage.is_none() && !observed.failed {
                    self.recorder.usage_comes_later();
                }
            }
            // Of a part of the results nobody knows what share it is.
            Operation::Results if !whole => self.recorder.settles_nothing(),
            Operation::Retrieve | Operation::Results => {
                // A failure is told once, like the usage: asking for it again succeeds.
                if !self.recorder.settles(observed) && good {
                    return Some(Ending::OK);
                }
            }
            Operation::Manage => {}
        }
        Some(ending)
    }

    /// The upstream has the request and may bill it, and no answer was read that says what.
    pub(super) fn tell_what_is_unknown(&mut self) {
        if let Some(tunnel) = self.socket.tunnel() {
            // Each response has told its own.
            if let Some(reason) = tunnel.unread() {
                self.recorder.usage_unknown(reason.as_str());
            }
            return;
        }
        let reached = self.connected || self.way.unanswered;
        if reached && self.operation == Operation::Create {
            let reason = if self.upgraded {
                MissingReason::NotRead.as_str()
            } else {
                UNANSWERED
            };
            self.recorder.usage_unknown(reason);
        }
    }
}

/// Whether what the provider says of the credential concerns the channel.
pub(super) fn has_own_credential(channel: &Channel) -> bool {
    channel.credential.is_some() || channel.headers.iter().any(|(name, _)| is_credential(name))
}

/// As much of `content` as `some` is of `all`.
fn share(content: u64, some: u64, all: u64) -> u64 {
    let share = u128::from(content) * u128::from(some) / u128::from(all);
    u64::try_from(share).unwrap_or(u64::MAX)
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.recorder.is_closed() {
            let ending = Ending::abandoned();
            self.close_broken(ending, Fault::NotTheChannels, Instant::now());
        }
        // After the last byte left: nobody waits for it.
        let outcome = self.recorder.outcome();
        self.capture.end(outcome, &self.body, self.channel.as_ref());
    }
}
