//! Which channel a request goes to, and what changes with the channel.

use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use http::HeaderName;
use pingora::http::RequestHeader;
use pingora::proxy::Session;

use crate::channel::{Asked, Bond, Channel, NoPlace, Place, Placing, Wanted};
use crate::clock::UnixMicros;
use crate::keys::Caller;
use crate::protocol::{Operation, PathBase, Pause, made_in_path, makes_to_keep};

use super::admission::Destination;
use super::body::{Stopped, is_handshake};
use super::caller;
use super::exchange::Exchange;
use super::failure::Failure;
use super::gateway::{Gateway, Target};
use super::passing::Passing;

/// The way of one request through the channels.
#[derive(Debug, Default)]
pub(super) struct Way {
    placing: Option<Placing>,
    /// Held for the try in progress.
    pub(super) place: Option<Place>,
    /// Held for the try that follows if the answer that is held back says so.
    pub(super) next: Option<Place>,
    /// Further channels that may be tried.
    left: u32,
    /// Where the request's tail begins, and what it is put behind.
    tail: Option<Tail>,
    /// The model that is asked for, aliases resolved.
    model: Option<Arc<str>>,
    /// What the present channel calls it, where that is not what the client wrote.
    called: Option<Arc<str>>,
    pub(super) stated: Stated,
    /// Another channel was chosen, and Pingora is still to ask for it.
    moved: bool,
    /// The failure after which no other channel had a place, until one has.
    waits_after: Option<Failure>,
    /// Bytes of the answer that is held back.
    pub(super) held_bytes: Option<usize>,
    /// For how long the provider asks not to be called.
    pub(super) pause: Option<Pause>,
    /// An earlier channel had the request and never answered.
    pub(super) unanswered: bool,
    pub(super) this_try: Try,
    /// What was made is known to be made here.
    noted: bool,
}

/// What the request's body says of where it can go.
#[derive(Debug, Default)]
pub(super) struct Stated {
    /// What it goes on from, which only the channel that made it knows.
    pub(super) previous: Option<Box<str>>,
    /// Not its model, which only the path names (classic Azure): elsewhere it would be missing.
    pub(super) no_model: bool,
}

/// The try in progress.
#[derive(Debug, Default)]
pub(super) struct Try {
    /// It repeats one that met a stale connection.
    pub(super) repeats: bool,
    /// The request's own time ends before a connection may take its full time.
    pub(super) hurries: bool,
}

/// The tail of a path.
#[derive(Clone, Copy, Debug)]
struct Tail {
    base: PathBase,
    bytes: usize,
}

impl Way {
    /// Takes a place at another channel, at once or not at all.
    pub(super) fn another(&mut self, now: UnixMicros) -> Result<Place, NoPlace> {
        let placing = self.placing.as_mut().filter(|_| self.left > 0);
        placing.ok_or(NoPlace::Exhausted)?.take(now)
    }

    /// Takes channels that are `unfit` out of those for further tries.
    pub(super) fn leave_out(&mut self, unfit: impl Fn(&Channel) -> bool) {
        if let Some(placing) = &mut self.placing {
            placing.leave_out(unfit);
        }
    }

    /// Whether the channel of the present try is the first, where there may be `retries`.
    pub(super) fn is_first(&self, retries: u32) -> bool {
        self.left == retries
    }

    /// Whether Pingora is to ask for the channel of the next try.
    pub(super) fn has_moved(&self) -> bool {
        self.moved
    }

    /// It has asked.
    pub(super) fn asked(&mut self) {
        self.moved = false;
    }

    /// The next try begins as soon as a channel has a place.
    pub(super) fn waits(&mut self, after: Failure) {
        self.moved = true;
        self.waits_after = Some(after);
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.waits_after.is_some()
    }

    pub(super) fn is_holding(&self) -> bool {
        self.held_bytes.is_some()
    }

    /// The model that is asked for, aliases resolved.
    pub(super) fn meant(&self) -> Option<&Arc<str>> {
        self.model.as_ref()
    }

    /// The name that the channel has for the model, where it is another than the client's.
    pub(super) fn called(&self) -> Option<&Arc<str>> {
        self.called.as_ref()
    }
}

impl Gateway {
    /// Finds the request's channels and takes a place at the first that has one.
    pub(super) async fn place(
        &self,
        session: &mut Session,
        exchange: &mut Exchange,
        target: &Target,
    ) -> Result<(), Stopped> {
        let asked = exchange.recorder.admission().requested_model.clone();
        let model = asked.map(|model| self.channels.meaning(model));
        let head = session.req_header();
        let stated = std::mem::take(&mut exchange.way.stated);
        let bond = if self.several {
            stated
                .previous
                .as_deref()
                .or_else(|| asked_for(head, exchange.operation))
                .map(Bond::Made)
                .or_else(|| self.session(head).map(Bond::Session))
        } else {
            None
        };
        let grant = exchange.caller.grant.as_deref();
        let wanted = Wanted {
            named: target.channel.as_deref(),
            preferred: grant.and_then(|grant| grant.channel.as_deref()),
            allowed: grant.and_then(|grant| grant.channels.as_deref()),
            api: exchange.api,
            model: model.as_deref(),
            caller: exchange.caller.number,
            bond,
        };
        let mut placing = self
            .channels
            .placing(&wanted)
            .map_err(|none| Stopped::Refused(refused(none, &exchange.caller)))?;
        exchange.way.model = model;
        let place = self.first_place(session, exchange, &mut placing).await?;
        exchange.way = Way {
            placing: Some(placing),
            left: self.routing.retries,
            tail: Some(Tail {
                base: target.base,
                bytes: target.rest_bytes,
            }),
            model: exchange.way.model.take(),
            stated,
            ..Way::default()
        };
        self.enter(session, exchange, place);
        Ok(())
    }

    /// Takes a place at the first channel that has one and that no rule refuses, waiting where all
    /// are full.
    async fn first_place(
        &self,
        session: &mut Session,
        exchange: &mut Exchange,
        placing: &mut Placing,
    ) -> Result<Place, Stopped> {
        let begun = Instant::now();
        let mut refusal = None;
        loop {
            let now = Instant::now();
            let clock = exchange.recorder.clock(now);
            let taken = match placing.take(clock) {
                Err(NoPlace::Full) => {
                    let waiting = placing.take_or_wait(clock, self.patience(exchange, begun));
                    let outcome = unless_left(session, waiting).await;
                    exchange.recorder.timeline().queued(begun.elapsed());
                    outcome.map_err(Stopped::Broken)?
                }
                taken => taken,
            };
            let place = taken.map_err(|none| {
                // Why the first was not taken says more than that there is no other.
                let other = || refused(none, &exchange.caller);
                Stopped::Refused(refusal.take().unwrap_or_else(other))
            })?;
            let clock = exchange.recorder.clock(Instant::now());
            match exchange.ask(place.channel(), clock) {
                Ok(()) if place.is_open(clock) => return Ok(place),
                // A rule closed it in between.
                Ok(()) => exchange.recorder.give_back(),
                Err(blocked) => {
                    let of_channel = blocked.of_channel;
                    let failure = exchange.recorder.refusal(blocked, clock);
                    if !of_channel {
                        return Err(Stopped::Refused(failure));
                    }
                    refusal.get_or_insert(failure);
                }
            }
        }
    }

    /// Until when a request waits for a place.
    fn patience(&self, exchange: &Exchange, now: Instant) -> Instant {
        let queue = now + self.routing.queue;
        self.over(exchange).map_or(queue, |over| over.min(queue))
    }

    /// The value of the first header that says to which session a request belongs.
    fn session<'h>(&self, head: &'h RequestHeader) -> Option<&'h str> {
        let value = |name: &HeaderName| head.headers.get(name)?.to_str().ok();
        self.routing.session_headers.iter().find_map(value)
    }

    /// Makes of the request what the channel of `place` gets.
    pub(super) fn enter(&self, session: &Session, exchange: &mut Exchange, place: Place) {
        let channel = Arc::clone(place.channel());
        if place.is_probe() {
            place.begin(exchange.recorder.clock(Instant::now()));
        }
        exchange.way.place = Some(place);
        let uri = &session.req_header().uri;
        exchange.way.called = called_at(&channel, exchange);
        let Destination { meant, called, .. } = Destination::at(&channel, exchange.way.meant());
        exchange.recorder.goes_as(meant, called);
        let Some(tail) = exchange.way.tail else {
            return;
        };
        let start = uri.path().len().saturating_sub(tail.bytes);
        let called = exchange.way.called.as_deref();
        let destination = channel.destination(&Asked {
            api: exchange.api,
            base: tail.base,
            rest: uri.path().get(start..).unwrap_or_default(),
            query: uri.query(),
            path: uri.path(),
            model: called.or(exchange.way.model.as_deref()),
        });
        exchange.upstream_path = destination.path;
        let asks = self.include_usage && destination.knows_stream_options;
        exchange.injected = exchange.body.prepare(called, asks, !self.several);
        exchange.recorder.admit(&channel.name);
        exchange.recorder.sold_by(channel.provider);
        exchange.channel = Some(channel);
    }

    /// Where a try that failed found every other channel full: waits for a place at one of them.
    /// The failure, when there is none.
    pub(super) async fn wait_for_place(
        &self,
        session: &mut Session,
        exchange: &mut Exchange,
    ) -> Result<(), Failure> {
        let Some(failure) = exchange.way.waits_after.take() else {
            return Ok(());
        };
        let over = self.patience(exchange, Instant::now());
        // Nothing of an answer is there that could be drained.
        if let Some(downstream) = &exchange.downstream {
            downstream.waits(true);
        }
        let waited = self.place_until(session, exchange, over).await;
        if let Some(downstream) = &exchange.downstream {
            downstream.waits(false);
        }
        match waited {
            Ok(Some(place)) => {
                self.go_on(session, exchange, place);
                Ok(())
            }
            Ok(None) => Err(failure),
            Err(_) => Err(Failure::ClientClosed),
        }
    }

    /// Waits for a place at a channel that no rule refuses; `None` where there is none until `over`.
    async fn place_until(
        &self,
        session: &mut Session,
        exchange: &mut Exchange,
        over: Instant,
    ) -> pingora::Result<Option<Place>> {
        loop {
            let clock = exchange.recorder.clock(Instant::now());
            let Some(placing) = &mut exchange.way.placing else {
                return Ok(None);
            };
            let waiting = placing.take_or_wait(clock, over);
            let Ok(place) = unless_left(session, waiting).await? else {
                return Ok(None);
            };
            let now = exchange.recorder.clock(Instant::now());
            match exchange.ask(place.channel(), now) {
                Ok(()) if place.is_open(now) => return Ok(Some(place)),
                // A rule closed it in between.
                Ok(()) => exchange.recorder.give_back(),
                Err(blocked) if blocked.of_channel => {}
                Err(_) => return Ok(None),
            }
        }
    }

    /// The request goes on to the channel of `place`.
    pub(super) fn go_on(&self, session: &Session, exchange: &mut Exchange, place: Place) {
        exchange.way.left = exchange.way.left.saturating_sub(1);
        exchange.way.moved = true;
        self.enter(session, exchange, place);
    }

    /// Notes which channel made the thing whose id the answer states, where that can be asked for
    /// again: it alone knows it.
    pub(super) fn note_made(&self, exchange: &mut Exchange) {
        if !self.several || exchange.way.noted || !makes_to_keep(exchange.api) {
            return;
        }
        let observed = exchange.passing.as_ref().map(Passing::observed);
        let id = observed.and_then(|observed| observed.response_id.as_deref());
        if let (Some(id), Some(channel)) = (id, &exchange.channel) {
            self.channels.note_made(id, channel);
            exchange.way.noted = true;
        }
    }
}

/// What comes of `waiting`, unless the client leaves before; it is heard once its request is there
/// whole. What it sends ahead of its turn stays where Pingora keeps that.
async fn unless_left<T>(
    session: &mut Session,
    waiting: impl Future<Output = T>,
) -> pingora::Result<T> {
    // A handshake's connection is not read before its protocol changes.
    if is_handshake(session) || !session.is_body_done() {
        return Ok(waiting.await);
    }
    let mut waiting = pin!(waiting);
    tokio::select! {
        biased;
        waited = &mut waiting => return Ok(waited),
        heard = session.downstream_session.read_body_or_idle(true) => heard?,
    };
    Ok(waiting.await)
}

/// What `channel` calls the model, where that is not what the client wrote.
fn called_at(channel: &Channel, exchange: &mut Exchange) -> Option<Arc<str>> {
    let model = exchange.way.model.as_ref()?;
    let called = channel.upstream_model(model).unwrap_or(model);
    let written = exchange.recorder.admission().requested_model.as_ref();
    (written != Some(called)).then(|| Arc::clone(called))
}

/// What was made earlier, where a request asks for it by its id.
fn asked_for(head: &RequestHeader, operation: Operation) -> Option<&str> {
    (operation != Operation::Create)
        .then(|| made_in_path(head.uri.path()))
        .flatten()
}

fn refused(none: NoPlace, caller: &Caller) -> Failure {
    match none {
        NoPlace::NotAllowed => Failure::ChannelDenied(caller::named(caller), None),
        NoPlace::NoSuchChannel(name) => {
            let own = caller
                .grant
                .as_ref()
                .and_then(|grant| grant.channel.as_deref());
            let key = (own == Some(name.as_str())).then(|| caller::named(caller));
            Failure::NoSuchChannel { name, key }
        }
        NoPlace::NoModel(model) => Failure::NoModel { model },
        NoPlace::Closed(opens) => Failure::AllClosed { opens },
        NoPlace::Full => Failure::AllFull,
        NoPlace::Exhausted => Failure::Internal,
    }
}
