//! The gateway's rooms and limits, and the steps of a request that take more than a line.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Version;
use pingora::http::RequestHeader;
use pingora::protocols::ALPN;
use pingora::proxy::Session;
use pingora::upstreams::peer::HttpPeer;

use crate::channel::{Channel, Registry};
use crate::clock::UnixMicros;
use crate::config::{Limits, OnClientClose, OnLedgerFailure, RoutingSettings, Settings};
use crate::keys::Keyring;
use crate::ledger::{Deferred, Journal};
use crate::meter::Meter;
use crate::payloads::Payloads;
use crate::pricing::Prices;
use crate::protocol::{
    MalformedPath, Operation, PathBase, classify, model_in_query, parse_tags,
    session as session_of, states_usage,
};
use crate::record::Api;
use crate::rules::Rules;

use super::account::Sinks;
use super::body::{self, Room, Stopped, Wish, is_handshake};
use super::deadline::{self, Expired};
use super::downstream::{Abilities, Downstream, Drains};
use super::exchange::{Exchange, OpenRequests};
use super::failure::Failure;
use super::models::{Listed, Models};
use super::recorder::Recorder;
use super::tunnel::Socket;

/// Addresses of one name that are tried before a connection is given up.
pub(super) const MOST_ADDRESSES: usize = 4;

/// How long a connection idles that was made because a pooled one was stale.
const UNPOOLED: Duration = Duration::from_millis(1);

/// The reverse proxy: what Pingora asks at each phase of a request.
#[derive(Debug)]
pub struct Gateway {
    pub(super) limits: Limits,
    pub(super) include_usage: bool,
    on_client_close: OnClientClose,
    drains: Drains,
    on_ledger_failure: OnLedgerFailure,
    /// Where bytes are kept, where they are.
    pub(super) payloads: Option<Arc<Payloads>>,
    /// Where callers are looked up, where they are.
    pub(super) keys: Option<Arc<Keyring>>,
    pub(super) channels: Arc<Registry>,
    /// The list of models, where it is not the upstream's.
    models: Option<Models>,
    /// There is more than one.
    pub(super) several: bool,
    /// A model may be called otherwise at a channel than by the client.
    renames: bool,
    pub(super) routing: RoutingSettings,
    sinks: Arc<Sinks>,
    room: Arc<Room>,
    open: OpenRequests,
    running: OpenRequests,
}

impl Gateway {
    /// A gateway over the given rooms.
    #[must_use]
    pub fn new(
        settings: &Settings,
        channels: Arc<Registry>,
        journal: Arc<Journal>,
        deferred: Arc<Deferred>,
        meter: Arc<Meter>,
        prices: Arc<Prices>,
        rules: Arc<Rules>,
    ) -> Self {
        let several = channels.iter().nth(1).is_some();
        Self {
            limits: settings.limits.clone(),
            include_usage: settings.streaming.include_usage,
            on_client_close: settings.streaming.on_client_close,
            drains: Drains::default(),
            on_ledger_failure: settings.ledger.on_failure,
            payloads: None,
            keys: None,
            several,
            renames: !settings.models.aliases.is_empty()
                || settings
                    .channels
                    .iter()
                    .any(|channel| !channel.model_map.is_empty()),
            channels: Arc::clone(&channels),
            models: None,
            routing: settings.routing.clone(),
            sinks: Arc::new(Sinks {
                journal,
                deferred,
                meter,
                prices,
                rules,
                channels,
            }),
            room: Room::new(settings.limits.buffered_total_bytes),
            open: OpenRequests::default(),
            running: OpenRequests::default(),
        }
    }

    /// The same, keeping the bytes of the requests that `payloads` chooses.
    #[must_use]
    pub fn with_payloads(self, payloads: Arc<Payloads>) -> Self {
        Self {
            payloads: Some(payloads),
            ..self
        }
    }

    /// The same, with a list of models of its own where there is one.
    #[must_use]
    pub fn with_models(self, models: Option<Models>) -> Self {
        Self { models, ..self }
    }

    /// The same, looking its callers up in `keys`.
    #[must_use]
    pub fn with_keys(self, keys: Arc<Keyring>) -> Self {
        Self {
            keys: Some(keys),
            ..self
        }
    }

    /// The requests that have not ended: what a shutdown waits for.
    #[must_use]
    pub fn open_requests(&self) -> OpenRequests {
        self.open.clone()
    }

    /// How often Pingora may ask for a connection: at each channel every address of a name once, and a
    /// stale pooled connection.
    #[must_use]
    pub fn most_tries(&self) -> usize {
        (self.routing.retries as usize).saturating_add(1) * (MOST_ADDRESSES + 1)
    }

    pub(super) async fn admit(
        &self,
        session: &mut Session,
        exchange: &mut Exchange,
    ) -> Result<(), Stopped> {
        let target = self.identify(session, exchange).map_err(Stopped::Refused)?;
        self.recognise(session, exchange, &target)
            .map_err(Stopped::Refused)?;
        self.check_capacity(exchange).map_err(Stopped::Refused)?;
        if let Some(listed) = self.listed(session, exchange, &target).await {
            return Err(Stopped::Answered(listed));
        }
        // A channel that is named is the only one.
        let several = self.several && target.channel.is_none();
        let unkept = self.read_body(session, exchange, several).await?;
        exchange.check_model().map_err(Stopped::Refused)?;
        exchange.recorder.timeline().body_read(Instant::now());
        self.place(session, exchange, &target).await?;
        let abilities = Abilities {
            drain: self.drain(session, exchange),
            replay: unkept,
        };
        if abilities.drain.is_some() || abilities.replay {
            exchange.downstream = Some(Downstream::wrap(session, abilities));
        }
        Ok(())
    }

    /// The list of models, where that is asked for and Tollgate's to answer.
    async fn listed(
        &self,
        session: &Session,
        exchange: &mut Exchange,
        target: &Target,
    ) -> Option<Listed> {
        let models = self.models.as_ref()?;
        if exchange.api != Api::Models {
            return None;
        }
        let timeline = exchange.recorder.timeline();
        let head = session.req_header();
        models
            .answer(head, target, &exchange.caller, timeline)
            .await
    }

    /// Where drains are configured, and there is a usage to learn from the answer's end, the
    /// client's leaving does not end the request.
    fn drain(&self, session: &Session, exchange: &Exchange) -> Option<(Duration, &Drains)> {
        let OnClientClose::Drain(longest) = self.on_client_close else {
            return None;
        };
        let learns = exchange.operation == Operation::Create && states_usage(exchange.api);
        // A tunnel's session changes with its protocol; the end of an HTTP/1.0 answer is the end
        // of its connection.
        let plain = !is_handshake(session) && session.req_header().version != Version::HTTP_10;
        (learns && plain).then_some((longest, &self.drains))
    }

    /// Notes who asks for what.
    fn identify(&self, session: &Session, exchange: &mut Exchange) -> Result<Target, Failure> {
        let head = session.req_header();
        let admission = exchange.recorder.admission();
        admission.method = Arc::from(head.method.as_str());
        let path = head.uri.path();
        admission.path = Arc::from(path);
        admission.session = session_of(&head.headers).map(Arc::from);
        if let Some(tags) = head.headers.get("x-tollgate-tags") {
            admission.tags = tags.to_str().map(parse_tags).unwrap_or_default().tags;
        }
        if header_bytes(head) > self.limits.header_bytes {
            return Err(Failure::HeaderTooLarge {
                limit_bytes: self.limits.header_bytes,
            });
        }
        // Pingora escapes what no URI may hold, but sends what is not UTF-8 upstream as it came: the
        // path read here would be another.
        if !head.raw_path_is_utf8() {
            return Err(Failure::MalformedPath(MalformedPath::ForbiddenCharacter));
        }
        let route = classify(&head.method, path).map_err(Failure::MalformedPath)?;
        if let Some(model) = route.model.as_deref() {
            admission.requested_model = Some(Arc::from(model));
        }
        admission.stream = route.stream;
        exchange.socket = Socket::asked_for(session, route.api);
        if exchange.socket.is_asked_for() {
            if admission.requested_model.is_none() {
                let named = head.uri.query().and_then(model_in_query);
                admission.requested_model = named.map(Arc::from);
            }
            // One session for all that is made over the connection.
            let id = admission.id;
            admission
                .session
                .get_or_insert_with(|| Arc::from(id.to_string()));
        }
        admission.api = route.api;
        admission.billable = route.may_cost || is_handshake(session);
        exchange.api = route.api;
        exchange.operation = route.operation;
        let results_of = route.results_of.as_deref().map(Arc::from);
        exchange.recorder.names_response(results_of);
        let channel = match route.channel {
            Some(name) => Some(name.into_owned()),
            None => head
                .headers
                .get("x-tollgate-channel")
                .map(|name| String::from_utf8_lossy(name.as_bytes()).into_owned()),
        };
        Ok(Target {
            channel,
            // The rest is the path's tail, whatever the rest is.
            rest_bytes: route.rest.len(),
            base: route.base,
        })
    }

    fn check_capacity(&self, exchange: &mut Exchange) -> Result<(), Failure> {
        // Entered before the check, so that two requests never take the last place both.
        let running = self.running.enter();
        if let Some(limit) = self.limits.in_flight
            && self.running.count() > limit
        {
            return Err(Failure::TooManyInFlight { limit });
        }
        exchange.running = Some(running);
        if self.on_ledger_failure == OnLedgerFailure::Refuse && !self.sinks.journal.is_writable() {
            return Err(Failure::LedgerDown);
        }
        Ok(())
    }

    /// Reads the body as far as it is read before a channel is chosen. Whether Pingora kept nothing
    /// of one that was read whole.
    async fn read_body(
        &self,
        session: &mut Session,
        exchange: &mut Exchange,
        several: bool,
    ) -> Result<bool, Stopped> {
        // A request sent ahead waits its turn; Pingora's default ends the one before it.
        session.set_pipelining_enabled(true);
        session.set_read_timeout(Some(self.limits.idle));
        session.set_write_timeout(Some(self.limits.idle));
        let wish = Wish {
            of_any_kind: several || self.renames,
            usage: self.include_usage,
            unpacked: self.renames || exchange.recorder.asks_rules(),
            over: self.over(exchange),
        };
        let read = body::read(
            session,
            exchange.api,
            &self.limits,
            &self.room,
            wish,
            exchange.recorder.timeline(),
        )
        .await?;
        exchange.recorder.admission().request_bytes = read.received_bytes;
        exchange.body = read.body;
        match read.facts {
            Some(facts) => {
                let named = exchange.recorder.admission().requested_model.is_some();
                // Gemini's own paths name it wherever they go.
                exchange.way.stated.no_model =
                    named && facts.model.is_none() && exchange.api != Api::Gemini;
                exchange.understand(&facts);
                exchange.way.stated.previous = facts.previous_response;
            }
            None if exchange.body.whole().is_none() => {
                exchange.form = body::form(session, exchange.api);
            }
            None => {}
        }
        Ok(read.unkept)
    }

    pub(super) async fn address(
        &self,
        exchange: &mut Exchange,
        channel: &Channel,
        now: Instant,
    ) -> Result<SocketAddr, Failure> {
        let known = exchange.addresses.take();
        let addresses = if let Some(addresses) = known.or_else(|| channel.resolver.fresh(now)) {
            addresses
        } else {
            let asking = channel.resolver.addresses(now);
            let longest = self.longest_connect(exchange);
            match tokio::time::timeout(longest, asking).await {
                Ok(Ok(addresses)) => addresses,
                Err(_) if exchange.way.this_try.hurries => return Err(total_over(channel)),
                resolved => {
                    let cause = resolved.ok().and_then(Result::err);
                    tracing::debug!(host = channel.base.host, ?cause, "a name did not resolve");
                    return Err(Failure::Unresolved {
                        channel: Arc::clone(&channel.name),
                        host: channel.base.host.clone(),
                    });
                }
            }
        };
        let index = exchange.tries % addresses.len();
        exchange.tries += 1;
        let address = addresses[index];
        exchange.addresses = Some(addresses);
        Ok(address)
    }

    pub(super) fn peer(
        &self,
        channel: &Channel,
        address: SocketAddr,
        exchange: &mut Exchange,
    ) -> HttpPeer {
        let mut peer = HttpPeer::new(address, channel.base.tls, channel.base.host.clone());
        let connect = self.longest_connect(exchange);
        let options = &mut peer.options;
        options.connection_timeout = Some(connect);
        options.total_connection_timeout = Some(connect);
        options.read_timeout = Some(deadline::read_timeout(&self.limits));
        options.write_timeout = Some(self.limits.idle);
        if channel.base.tls {
            options.alpn = ALPN::H2H1;
        }
        if exchange.way.this_try.repeats {
            // Where one pooled connection is stale the others often are: a new one, which no other
            // request gets, for the pool's own connections have the group 0.
            options.idle_timeout = Some(UNPOOLED);
            peer.group_key = 1 + u64::from(exchange.recorder.id().random());
        }
        peer
    }

    /// For how long a connection is waited for: no longer than the request's whole time lasts.
    fn longest_connect(&self, exchange: &mut Exchange) -> Duration {
        let left = self
            .over(exchange)
            .map(|over| over.saturating_duration_since(Instant::now()));
        let left = left.filter(|left| *left < self.limits.connect);
        exchange.way.this_try.hurries = left.is_some();
        left.map_or(self.limits.connect, |left| {
            left.max(Duration::from_millis(1))
        })
    }

    /// When the request's whole time is up.
    pub(super) fn over(&self, exchange: &Exchange) -> Option<Instant> {
        self.limits
            .total
            .map(|total| exchange.recorder.started() + total)
    }

    pub(super) fn open_exchange(&self) -> Exchange {
        let recorder = Recorder::open(Arc::clone(&self.sinks), UnixMicros::now(), Instant::now());
        Exchange::new(recorder, &self.open)
    }
}

/// The request's own time was over while `channel` was tried.
pub(super) fn total_over(channel: &Channel) -> Failure {
    Failure::Timeout {
        channel: Arc::clone(&channel.name),
        expired: Expired::Total,
    }
}

/// What the path and headers ask for.
pub(super) struct Target {
    pub(super) channel: Option<String>,
    /// Length of the path's tail that is put behind the base.
    pub(super) rest_bytes: usize,
    pub(super) base: PathBase,
}

/// Bytes of the request line and headers, as HTTP/1.1 writes them.
fn header_bytes(head: &RequestHeader) -> u64 {
    let fields: usize = head
        .headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    (head.raw_path().len() + fields) as u64
}
