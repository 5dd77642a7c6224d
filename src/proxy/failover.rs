//! What follows a try that failed: another channel, or the failure.
//!
//! A try ends in one of four ways, and each comes through here:
//!
//! | the upstream | seen by | then |
//! |---|---|---|
//! | cannot be reached | `upstream_peer`, `fail_to_connect` | another channel, once its addresses are through |
//! | is silent, or breaks before it answers | `error_while_proxy` | another channel |
//! | answers 5xx or 408 | `upstream_response_filter` | another channel, at the header |
//! | refuses (401, 402, 403, 429; Gemini's 400) | `response_body_filter` | the answer is held back until its code is read |
//!
//! A place at the next channel is taken before an answer is given up, so that the last answer is the
//! client's. Once a byte of an answer has reached the client, nothing is tried any more.

use std::time::{Duration, Instant};

use http::Version;
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use pingora::{Error, ErrorSource as Side};

use crate::channel::{Channel, Fault, NoPlace, Place, Verdict};
use crate::clock::UnixMicros;
use crate::config::ChannelKind;
use crate::protocol::{outcome_of, pause};
use crate::record::ErrorSource;

use super::answer;
use super::body::is_handshake;
use super::downstream::{Abilities, Downstream, is_undecided};
use super::exchange::{Exchange, has_own_credential};
use super::failure::Failure;
use super::gateway::Gateway;
use super::has_no_body;
use super::head;
use super::placing::Try;
use super::recorder::Ending;

/// Longest body of an answer that is held back, in bytes …
const MOST_HELD_BYTES: usize = 64 * 1024;
/// … and the longest time for it to come.
const LONGEST_HELD: Duration = Duration::from_secs(2);

impl Gateway {
    /// After a try that no answer came to: whether the request goes on at another channel.
    pub(super) fn goes_on_without(
        &self,
        session: &mut Session,
        exchange: &mut Exchange,
        failure: &Failure,
    ) -> bool {
        let fault = failure.fault(false);
        let ending = failure.ending();
        // Nothing of a body that streams was taken while there was no connection.
        let unsent = fault == Fault::Connect;
        if !self.may_go_on(session, exchange, unsent)
            || !Verdict::of(&exchange.sighted(Some(fault), &ending)).fails_over
        {
            return false;
        }
        let now = exchange.recorder.clock(Instant::now());
        exchange.give_back_unbilled(Some(fault));
        match self.another_admitted(session, exchange, now) {
            Ok(place) => {
                exchange.leave(Some(fault), &ending);
                self.go_on(session, exchange, place);
                true
            }
            Err(NoPlace::Full) => {
                exchange.leave(Some(fault), &ending);
                exchange.way.waits(failure.clone());
                true
            }
            Err(_) => false,
        }
    }

    /// After an error in the middle of a try: whether the request goes on at another channel.
    pub(super) fn goes_on_after(
        &self,
        session: &mut Session,
        exchange: &mut Exchange,
        error: &Error,
    ) -> bool {
        if exchange.way.is_holding() {
            let clients = *error.esource() == Side::Downstream && !is_undecided(error);
            // What is held cannot be released from here, and by its status another channel is tried.
            let goes_on = !clients
                && self.may_go_on(session, exchange, false)
                && self.goes_on_from_held(session, exchange);
            if !goes_on {
                exchange.drop_held();
            }
            return goes_on;
        }
        let failure = exchange.failure(error);
        let goes_on = self.goes_on_without(session, exchange, &failure);
        if !goes_on {
            exchange.failure = Some(failure);
        }
        goes_on
    }

    /// At the header of an answer: whether the request goes on at another channel without it. Where
    /// the body decides, the answer is held back from here on.
    pub(super) fn goes_on_instead(
        &self,
        session: &mut Session,
        exchange: &mut Exchange,
        header: &ResponseHeader,
    ) -> bool {
        let status = header.status.as_u16();
        if status < 400 {
            return false;
        }
        let now = exchange.recorder.clock(Instant::now());
        exchange.way.pause = pause(&header.headers, now);
        let ending = Ending::bare(outcome_of(status, None), Some(ErrorSource::Upstream));
        let can_be_held = can_be_held(session, header);
        let by_code = can_be_held && exchange.may_hide_a_refused_key(status);
        if !self.may_go_on(session, exchange, false)
            || !(by_code || Verdict::of(&exchange.sighted(None, &ending)).fails_over)
        {
            return false;
        }
        if by_code || can_be_held && matches!(status, 401 | 402 | 403 | 429) {
            let Ok(place) = self.another(session, exchange, now) else {
                return false;
            };
            exchange.way.next = Some(place);
            exchange.way.held_bytes = Some(0);
            exchange
                .downstream
                .get_or_insert_with(|| Downstream::wrap(session, Abilities::default()))
                .hold(LONGEST_HELD);
            return false;
        }
        exchange.give_back_unbilled(None);
        let Ok(place) = self.another_admitted(session, exchange, now) else {
            return false;
        };
        exchange.leave(None, &ending);
        self.go_on(session, exchange, place);
        true
    }

    /// A piece of `bytes` of an answer that is held back has come, with its end where `ends` says so:
    /// whether the request goes on at another channel. Else, once there is enough of it, the answer
    /// is released.
    pub(super) fn goes_on_from_piece(
        &self,
        session: &mut Session,
        exchange: &mut Exchange,
        bytes: usize,
        ends: bool,
    ) -> bool {
        let held_bytes = exchange.way.held_bytes.unwrap_or(0) + bytes;
        exchange.way.held_bytes = Some(held_bytes);
        if !ends && held_bytes <= MOST_HELD_BYTES {
            return false;
        }
        if self.held_fails_over(session, exchange, ends)
            && self.goes_on_from_held(session, exchange)
        {
            return true;
        }
        exchange.release_held();
        false
    }

    /// What the answer that is held back says, now that it is `whole` or no more of it is waited for.
    fn held_fails_over(&self, session: &mut Session, exchange: &mut Exchange, whole: bool) -> bool {
        let ending = match &mut exchange.passing {
            Some(passing) if whole => passing.finish(),
            Some(passing) => passing.ending(),
            None => return false,
        };
        self.may_go_on(session, exchange, false)
            && Verdict::of(&exchange.sighted(None, &ending)).fails_over
    }

    /// Leaves the answer that is held back for the channel that waits for it.
    fn goes_on_from_held(&self, session: &Session, exchange: &mut Exchange) -> bool {
        let now = exchange.recorder.clock(Instant::now());
        // It was taken a while ago: a gate that was closed meanwhile holds for it too.
        let held = exchange.way.next.take().filter(|place| place.is_open(now));
        exchange.give_back_unbilled(None);
        let asked = |exchange: &mut Exchange, place: Place| {
            exchange.ask(place.channel(), now).ok()?;
            if !place.is_open(now) {
                // A rule closed it in between.
                exchange.recorder.give_back();
                return None;
            }
            Some(place)
        };
        let Some(place) = held
            .and_then(|place| asked(exchange, place))
            .or_else(|| self.another_admitted(session, exchange, now).ok())
        else {
            return false;
        };
        // What it said by now is all it says.
        if let Some(passing) = &mut exchange.passing {
            let ending = passing.finish();
            exchange.leave(None, &ending);
        }
        self.go_on(session, exchange, place);
        true
    }

    /// Takes a place at another channel, at once or not at all. What the client shows as its credential
    /// is for the host that it was sent to first, and stays there; a model that only the path names
    /// stays with Azure.
    fn another(
        &self,
        session: &Session,
        exchange: &mut Exchange,
        now: UnixMicros,
    ) -> Result<Place, NoPlace> {
        if exchange.way.is_first(self.routing.retries)
            && let Some(first) = &exchange.channel
        {
            let shows = head::shown(session.req_header()).next().is_some();
            let unnamed = exchange.way.stated.no_model;
            exchange.way.leave_out(|channel| {
                (shows && takes_anothers(channel, first))
                    || (unnamed && channel.kind != ChannelKind::Azure)
            });
        }
        exchange.way.another(now)
    }

    /// As [`another`](Self::another), at a channel that no rule refuses.
    fn another_admitted(
        &self,
        session: &Session,
        exchange: &mut Exchange,
        now: UnixMicros,
    ) -> Result<Place, NoPlace> {
        loop {
            let place = self.another(session, exchange, now)?;
            match exchange.ask(place.channel(), now) {
                Ok(()) if place.is_open(now) => return Ok(place),
                // A rule closed it in between.
                Ok(()) => exchange.recorder.give_back(),
                Err(blocked) if blocked.of_channel => {}
                Err(_) => return Err(NoPlace::Exhausted),
            }
        }
    }

    /// Whether the request can be made again: nothing of an answer went out, there is time, and the
    /// body is at hand, or `unsent`.
    fn may_go_on(&self, session: &mut Session, exchange: &Exchange, unsent: bool) -> bool {
        // Of a connection that is a tunnel there is no way back.
        !answer::has_begun(session)
            && !exchange.upgraded
            && !exchange.client_has_left()
            && (unsent || exchange.body.whole().is_some() || session.is_body_empty())
            && self.over(exchange).is_none_or(|over| Instant::now() < over)
    }
}

/// Whether `channel` would be shown a client's credential that is for another host, `first`'s.
fn takes_anothers(channel: &Channel, first: &Channel) -> bool {
    let (one, other) = (&first.base, &channel.base);
    let elsewhere = one.tls != other.tls || one.host != other.host;
    elsewhere && !has_own_credential(channel)
}

/// Whether an answer can wait. What ends with its header has nothing to wait for; a handshake changes
/// the session, and the end of an HTTP/1.0 answer is the end of its connection.
fn can_be_held(session: &Session, header: &ResponseHeader) -> bool {
    let head = session.req_header();
    !is_handshake(session) && head.version != Version::HTTP_10 && !has_no_body(&head.method, header)
}

impl Exchange {
    /// Ends the try in progress at its channel, as `ending` says, and forgets all that was of it.
    fn leave(&mut self, fault: Option<Fault>, ending: &Ending) {
        let channel = self.channel.as_deref().map(|channel| &*channel.name);
        let (status, code) = (self.recorder.status_of_try(), ending.code.as_deref());
        let request_id = self.recorder.id();
        tracing::info!(%request_id, channel, status, code, "another channel is tried");
        self.end_try(fault, ending, self.recorder.clock(Instant::now()));
        self.recorder.attempt_ends(ending);
        self.recorder.forget_answer();
        // Whoever answered says by it that there is nothing to bill.
        self.way.unanswered |= matches!(fault, Some(Fault::Silent | Fault::Broken));
        self.way.pause = None;
        self.way.held_bytes = None;
        self.way.this_try = Try::default();
        self.connected = false;
        self.passing = None;
        self.watchdog = None;
        self.cork = None;
        self.addresses = None;
        self.tries = 0;
        self.capture.forget_answer();
        if let Some(downstream) = &self.downstream {
            downstream.forget();
        }
    }

    /// What was held back goes to the client after all.
    fn release_held(&mut self) {
        self.way.next = None;
        self.way.held_bytes = None;
        if let Some(downstream) = &self.downstream {
            downstream.release();
        }
        if let Some(status) = self.recorder.status_of_try()
            && !self.client_has_left()
        {
            self.recorder.answered(status);
        }
    }

    /// What was held back goes nowhere, and no other answer comes.
    fn drop_held(&mut self) {
        self.way.next = None;
        self.way.held_bytes = None;
        if let Some(downstream) = &self.downstream {
            downstream.forget();
        }
        self.recorder.forget_answer();
        self.capture.forget_answer();
    }

    /// Tells the channel how its try ended. Each try comes here once.
    pub(super) fn end_try(&mut self, fault: Option<Fault>, ending: &Ending, now: UnixMicros) {
        let Some(mut place) = self.way.place.take() else {
            return;
        };
        place.end(&self.sighted(fault, ending), now);
    }
}
