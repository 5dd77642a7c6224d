//! The way of a request, in the order Pingora calls the phases.
//!
//! | phase | what happens |
//! |---|---|
//! | `new_ctx` | a recorder opens the request's account |
//! | `request_filter` | the path is classified, the body read, a channel chosen, the rules asked, the journal told |
//! | `upstream_peer` | the channel's address is found; once for each try |
//! | `connected_to_upstream` | the watchdog begins, where one is needed |
//! | `upstream_request_filter` | the head is made the channel's |
//! | `request_body_filter` | the body that was read goes in place of what Pingora kept |
//! | `upstream_response_filter` | the answer's header is read; another channel is tried instead |
//! | `response_filter` | the answer is marked with the request's id |
//! | `response_body_filter` | the answer's bytes are read; the account is closed before the last leave |
//! | `fail_to_proxy` | a failure becomes an answer, in one place |
//! | `logging` | an account nobody closed is closed |

mod account;
mod admission;
mod answer;
mod body;
mod caller;
mod capture;
mod cork;
mod counting;
mod deadline;
mod downstream;
mod exchange;
mod failover;
mod failure;
mod gateway;
mod head;
mod mask;
mod models;
mod passing;
mod placing;
mod recorder;
mod stale;
mod timeline;
mod tunnel;

use std::borrow::Cow;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http::header::TRANSFER_ENCODING;
use http::{Method, StatusCode, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::protocols::{ALPN, Digest};
use pingora::proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource as Fault, ErrorType};

use crate::protocol::{limits_seen, upstream_request_id};

use admission::Destination;
use body::{Stopped, is_handshake};
use capture::Capture;
use cork::Cork;
use deadline::Watchdog;
pub use exchange::{Exchange, OpenRequests};
use failure::Failure;
pub use gateway::Gateway;
use gateway::{MOST_ADDRESSES, total_over};
use head::Framing;
pub use models::Models;
use passing::Passing;
use tunnel::Socket;

#[async_trait]
impl ProxyHttp for Gateway {
    // Boxed: Pingora moves it through the futures of every layer.
    type CTX = Box<Exchange>;

    fn new_ctx(&self) -> Box<Exchange> {
        Box::new(self.open_exchange())
    }

    // Pingora's default adds a compression module that would only ever pass answers on.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn request_filter(
        &self,
        session: &mut Session,
        exchange: &mut Box<Exchange>,
    ) -> pingora::Result<bool> {
        let (payloads, id) = (self.payloads.as_ref(), exchange.recorder.id());
        exchange.capture = Capture::begin(payloads, id, session.req_header());
        match self.admit(session, exchange).await {
            Ok(()) => Ok(false),
            Err(Stopped::Refused(failure)) => {
                answer::fail(session, exchange, &failure).await;
                exchange.running = None;
                body::linger(session).await;
                Ok(true)
            }
            Err(Stopped::Answered(listed)) => {
                exchange.running = None;
                models::send(session, exchange, &listed)
                    .await
                    .map_err(|mut error| {
                        error.as_down();
                        error
                    })?;
                body::linger(session).await;
                Ok(true)
            }
            Err(Stopped::Broken(mut error)) => {
                error.as_down();
                Err(error)
            }
        }
    }

    async fn upstream_peer(
        &self,
        session: &mut Session,
        exchange: &mut Box<Exchange>,
    ) -> pingora::Result<Box<HttpPeer>> {
        if let Err(failure) = self.wait_for_place(session, exchange).await {
            exchange.failure = Some(failure);
            return Err(Error::new_up(ErrorType::ConnectError));
        }
        loop {
            exchange.way.asked();
            let Some(channel) = exchange.channel.clone() else {
                return Error::e_explain(ErrorType::InternalError, "no channel was chosen");
            };
            let now = Instant::now();
            exchange.connected = false;
            exchange.recorder.attempt_begins(&channel.name, now);
            match self.address(exchange, &channel, now).await {
                Ok(address) => {
                    let mut peer = self.peer(&channel, address, exchange);
                    if is_handshake(session) {
                        // HTTP/2 knows no upgrade.
                        peer.options.alpn = ALPN::H1;
                    }
                    return Ok(Box::new(peer));
                }
                Err(failure) => {
                    let mut error = Error::new_up(ErrorType::ConnectError);
                    if !self.goes_on_without(session, exchange, &failure) {
                        exchange.failure = Some(failure);
                        return Err(error);
                    }
                    if exchange.way.is_waiting() {
                        error.set_retry(true);
                        return Err(error);
                    }
                }
            }
        }
    }

    fn fail_to_connect(
        &self,
        session: &mut Session,
        _peer: &HttpPeer,
        exchange: &mut Box<Exchange>,
        mut error: Box<Error>,
    ) -> Box<Error> {
        let channel = exchange.channel.as_deref();
        let in_vain = matches!(
            error.etype(),
            ErrorType::ConnectTimedout | ErrorType::TLSHandshakeTimedout
        );
        if let Some(channel) = channel.filter(|_| in_vain && exchange.way.this_try.hurries) {
            // The request had no more time; how much a connection needs is not known.
            exchange.failure = Some(total_over(channel));
            error.set_retry(false);
            return error;
        }
        let others = exchange.addresses.as_ref().map_or(0, |known| known.len());
        let again = exchange.tries < others.min(MOST_ADDRESSES);
        let failure = Failure::of(&error, channel, false, None);
        if again {
            exchange.recorder.attempt_ends(&failure.ending());
        }
        error.set_retry(again || self.goes_on_without(session, exchange, &failure));
        error
    }

    async fn connected_to_upstream(
        &self,
        session: &mut Session,
        _reused: bool,
        _peer: &HttpPeer,
        socket: std::os::unix::io::RawFd,
        _digest: Option<&Digest>,
        exchange: &mut Box<Exchange>,
    ) -> pingora::Result<()> {
        exchange.connected = true;
        if is_handshake(session) {
            exchange.cork = Cork::put(socket);
        }
        exchange.recorder.timeline().connected(Instant::now());
        if Watchdog::needed(&self.limits) {
            let started = exchange.recorder.started();
            exchange.watchdog = Watchdog::watch(socket, started, &self.limits);
        }
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        head: &mut RequestHeader,
        exchange: &mut Box<Exchange>,
    ) -> pingora::Result<()> {
        let Some(channel) = &exchange.channel else {
            return Error::e_explain(ErrorType::InternalError, "no channel was chosen");
        };
        let path = match &exchange.upstream_path {
            Some(path) => Some(Cow::Borrowed(path.as_str())),
            // Absolute form and HTTP/2 carry an authority, which is not the upstream's.
            None if head.uri.authority().is_some() => head
                .uri
                .path_and_query()
                .map(|path| Cow::Owned(path.as_str().to_owned())),
            None => None,
        };
        if let Some(path) = path {
            let uri = path.parse::<http::Uri>().map_err(|error| {
                Error::because(ErrorType::InvalidHTTPHeader, "the path fits no URI", error)
            })?;
            head.set_uri(uri);
        }
        let framing = Framing {
            whole_bytes: exchange.body.whole().map(Bytes::len),
            plain_answer: exchange.injected,
            unpacked: exchange.body.goes_unpacked(),
        };
        head::prepare(head, channel, &framing)?;
        if exchange.socket.is_asked_for() {
            tunnel::decline_extensions(head);
        }
        Ok(())
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        slot: &mut Option<Bytes>,
        end_of_stream: bool,
        exchange: &mut Box<Exchange>,
    ) -> pingora::Result<()> {
        if end_of_stream && let Some(cork) = exchange.cork.take() {
            cork.pull();
        }
        if exchange.upgraded {
            let passed = exchange.tunnel_up(slot.as_deref());
            if let Some(farewell) = exchange.farewell.take() {
                answer::interpose(session, exchange, farewell).await;
            }
            return passed;
        }
        if exchange.body.whole().is_none() {
            let received = slot.as_ref().map_or(0, Bytes::len) as u64;
            let admission = exchange.recorder.admission();
            admission.request_bytes += received;
            if admission.request_bytes > self.limits.request_body_bytes {
                let limit_bytes = self.limits.request_body_bytes;
                exchange.failure = Some(Failure::BodyTooLarge { limit_bytes });
                return Err(Error::new_down(ErrorType::HTTPStatus(413)));
            }
        }
        exchange.body.pass(slot, end_of_stream);
        if let Some(piece) = slot.as_deref() {
            exchange.read_form(piece);
        }
        // Before the piece that may be the last leaves: what is not whole is not worked on.
        exchange.check_form(end_of_stream)?;
        if end_of_stream {
            exchange.form_ended();
        }
        exchange.capture.sent(&exchange.body, slot.as_ref());
        let now = Instant::now();
        if let Some(watchdog) = &exchange.watchdog {
            watchdog.sign_of_life(now);
        }
        if end_of_stream {
            exchange.recorder.timeline().request_sent(now);
        }
        Ok(())
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        header: &mut ResponseHeader,
        exchange: &mut Box<Exchange>,
    ) -> pingora::Result<()> {
        if header.status.is_informational() && header.status != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(());
        }
        let now = Instant::now();
        if let Some(watchdog) = &exchange.watchdog {
            watchdog.answering(now);
        }
        let recorder = &mut exchange.recorder;
        let clock = recorder.clock(now);
        recorder.header_received(header.status.as_u16(), now);
        recorder.upstream_request_id(upstream_request_id(&header.headers));
        recorder.limits_seen(limits_seen(&header.headers, clock));
        if self.goes_on_instead(session, exchange, header) {
            return another_channel();
        }
        exchange.answer_begins(header.status.as_u16(), now);
        if header.status != StatusCode::SWITCHING_PROTOCOLS {
            let (api, operation) = (exchange.api, exchange.operation);
            let mut passing = Passing::begin(api, operation, exchange.injected, header)?;
            if passing.is_refusal() {
                let channel = exchange.channel.as_deref();
                passing.withhold(head::credentials(session.req_header(), channel));
                let own = channel.map(|channel| channel.secrets.as_slice());
                passing.conceal(own.unwrap_or_default(), header)?;
            }
            exchange.passing = Some(passing);
        }
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        header: &mut ResponseHeader,
        exchange: &mut Box<Exchange>,
    ) -> pingora::Result<()> {
        let upgraded = header.status == StatusCode::SWITCHING_PROTOCOLS;
        if header.status.is_informational() && !upgraded {
            return Ok(());
        }
        if !exchange.client_has_left() && !exchange.way.is_holding() {
            exchange.recorder.answered(header.status.as_u16());
        }
        answer::mark(header, exchange.recorder.id(), exchange.channel.as_deref())?;
        if upgraded {
            exchange.upgraded = true;
            open_tunnel(session, exchange, header);
            // The client of a tunnel may listen for as long as it likes.
            session.set_read_timeout(None);
        } else {
            head::withhold_from_client(header);
        }
        if session.req_header().version == Version::HTTP_10 {
            // It knows no chunks: its body ends where the connection does (RFC 9112, 6.1).
            header.remove_header(&TRANSFER_ENCODING);
            session.set_keepalive(None);
        }
        exchange.capture.answered(header);
        if !upgraded && has_no_body(&session.req_header().method, header) {
            exchange.close_passed(Instant::now());
        }
        Ok(())
    }

    fn response_body_filter(
        &self,
        session: &mut Session,
        slot: &mut Option<Bytes>,
        end_of_stream: bool,
        exchange: &mut Box<Exchange>,
    ) -> pingora::Result<Option<Duration>> {
        let now = Instant::now();
        if slot.as_ref().is_some_and(|piece| !piece.is_empty()) {
            exchange.recorder.timeline().body_byte(now);
            if let Some(watchdog) = &exchange.watchdog {
                watchdog.sign_of_life(now);
            }
        }
        if end_of_stream {
            // The connection may serve another request while a slow client takes the rest.
            exchange.watchdog = None;
        }
        exchange.note_departure();
        let Some(passing) = &mut exchange.passing else {
            let passed =
                exchange.tunnel_down(slot.as_deref().unwrap_or_default(), end_of_stream, now);
            return passed.map(|()| None);
        };
        let signals = passing.pass(slot, end_of_stream).map_err(|error| {
            Error::because(ErrorType::InvalidHTTPHeader, "an encoded answer", error).into_up()
        })?;
        if passing.has_failed_late() {
            let channel = exchange.channel.as_deref();
            passing.withhold(head::credentials(session.req_header(), channel));
        }
        let ends = passing.ends(signals, end_of_stream);
        if signals.first_content {
            exchange.recorder.timeline().first_token(now);
        }
        let bytes = slot.as_ref().map_or(0, Bytes::len);
        let done = Instant::now();
        exchange.recorder.forwarded(bytes, done - now);
        exchange.capture.received(slot.as_ref());
        if exchange.way.is_holding() {
            if self.goes_on_from_piece(session, exchange, bytes, ends) {
                return another_channel();
            }
            if exchange.way.is_holding() {
                return Ok(None);
            }
        }
        self.note_made(exchange);
        // Before these bytes leave: a client that saw the end finds it in the ledger.
        if ends {
            exchange.close_passed(done);
        }
        Ok(None)
    }

    async fn response_trailer_filter(
        &self,
        _session: &mut Session,
        _trailers: &mut http::HeaderMap,
        exchange: &mut Box<Exchange>,
    ) -> pingora::Result<Option<Bytes>> {
        if exchange.way.is_holding() {
            // What it comes to is decided where it is held.
            return Ok(None);
        }
        exchange.close_passed(Instant::now());
        Ok(None)
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        exchange: &mut Box<Exchange>,
        client_reused: bool,
    ) -> Box<Error> {
        if exchange.way.has_moved() {
            error.set_retry(true);
            return error;
        }
        if exchange.client_has_left() {
            error.set_retry(false);
            return error;
        }
        error.set_retry(stale::was(&error, session, exchange, client_reused));
        if error.retry() {
            let failure = Failure::of(&error, exchange.channel.as_deref(), true, None);
            exchange.recorder.attempt_ends(&failure.ending());
            // The same address again: the connection was stale, not the address.
            exchange.tries = exchange.tries.saturating_sub(1);
            exchange.way.this_try.repeats = true;
            exchange.watchdog = None;
        } else {
            error.set_retry(self.goes_on_after(session, exchange, &error));
        }
        error
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        exchange: &mut Box<Exchange>,
    ) -> FailToProxy {
        if exchange.recorder.is_closed() {
            // The answer had ended; what broke after it concerns nobody.
            return FailToProxy {
                error_code: 0,
                can_reuse_downstream: false,
            };
        }
        if exchange.upgraded {
            // A tunnel ends when either side leaves it.
            let failure = exchange.failure(error);
            exchange.close_tunnel(&failure, Instant::now());
            return FailToProxy {
                error_code: 0,
                can_reuse_downstream: false,
            };
        }
        if let Some(downstream) = &exchange.downstream {
            downstream.give_back(session);
        }
        let failure = exchange.failure(error);
        log(exchange, &failure, error);
        if failure != Failure::ClientClosed {
            answer::release(session, exchange).await;
        }
        let error_code = answer::fail(session, exchange, &failure).await;
        if error_code != 0 && !session.is_body_done() {
            body::linger(session).await;
        }
        FailToProxy {
            error_code,
            can_reuse_downstream: false,
        }
    }

    async fn logging(
        &self,
        session: &mut Session,
        error: Option<&Error>,
        exchange: &mut Box<Exchange>,
    ) {
        if let Some(downstream) = &exchange.downstream {
            // Only its own session can take the client's next request.
            downstream.give_back(session);
        }
        if exchange.recorder.is_closed() {
            return;
        }
        match error {
            Some(error) => {
                let failure = exchange.failure(error);
                exchange.close_failed(&failure, Instant::now());
            }
            None => exchange.close_passed(Instant::now()),
        }
    }

    // Failures are logged here, once, without what Pingora adds of raw headers.
    fn suppress_error_log(&self, _: &Session, _: &Box<Exchange>, _: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _: &Session,
        _: &Box<Exchange>,
        _: &Error,
        _: ProxyWarnLogContext,
    ) -> bool {
        true
    }

    fn request_summary(&self, _: &Session, exchange: &Box<Exchange>) -> String {
        exchange.recorder.id().to_string()
    }
}

/// From here on the connection is a tunnel; what passes is read where Tollgate knows how.
fn open_tunnel(session: &Session, exchange: &mut Exchange, header: &ResponseHeader) {
    if let Some(channel) = exchange.channel.as_deref()
        && exchange.socket.is_asked_for()
    {
        let credentials = head::credentials(session.req_header(), Some(channel));
        let destination = Destination::at(channel, exchange.way.meant());
        exchange.socket = Socket::open(exchange.api, destination, header, credentials);
    }
}

/// Makes Pingora ask for the next channel.
fn another_channel<T>() -> pingora::Result<T> {
    let mut error = Error::new_up(ErrorType::new("AnotherChannel"));
    error.set_retry(true);
    Err(error)
}

/// Whether the answer ends with its header (RFC 9110 §6.4.1).
fn has_no_body(method: &Method, header: &ResponseHeader) -> bool {
    *method == Method::HEAD
        || matches!(header.status.as_u16(), 204 | 304)
        || header
            .headers
            .get(http::header::CONTENT_LENGTH)
            .is_some_and(|length| length.as_bytes() == b"0")
}

/// One line for a failure, at the place where it becomes an answer.
fn log(exchange: &Exchange, failure: &Failure, error: &Error) {
    let request_id = exchange.recorder.id();
    let channel = exchange.channel.as_deref().map(|channel| &*channel.name);
    let code = failure.wording().code;
    // Pingora's contexts may quote raw headers; its kind and the system's own error never do.
    let kind = error.etype().as_str();
    let cause = stale::system_error(error).map(ToString::to_string);
    if *error.esource() == Fault::Downstream {
        tracing::debug!(%request_id, channel, code, kind, cause, "a request failed");
    } else {
        tracing::warn!(%request_id, channel, code, kind, cause, "a request failed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_without_a_body_end_with_their_header() {
        let mut header = ResponseHeader::build(200, None).unwrap();
        assert!(!has_no_body(&Method::GET, &header));
        assert!(has_no_body(&Method::HEAD, &header));
        header.insert_header("content-length", "0").unwrap();
        assert!(has_no_body(&Method::GET, &header));
    }
}
