//! The client leaves in the middle of an answer, and the upstream is heard to the end all the same
//! (`streaming.on_client_close: drain`).
//!
//! Pingora ends both sides as soon as one fails, and has no hook in between: a read of the idling
//! client that finds it gone, or a write to it that fails, is returned as the error of the whole
//! request, and the upstream's connection is dropped with it. But the client's side may be any
//! session (`HttpSession::Custom`). So, where drains are configured, a request that may be drained
//! gets its session wrapped into a [`Downstream`], which passes everything on and keeps those two
//! errors to itself: from there on the client seems to listen and to take everything at once,
//! until the upstream ends, or until the time is over and the error is handed out after all. Then
//! everything goes the way it goes without drains.
//!
//! The connection to the client is closed when it is found gone, whatever becomes of the answer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderMap;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Digest;
use pingora::protocols::http::custom::CustomMessageWrite;
use pingora::protocols::http::custom::server::Session as CustomSession;
use pingora::protocols::http::{HttpTask, ServerSession};
use pingora::protocols::l4::socket::SocketAddr;
use pingora::proxy::Session;
use pingora::{Error, Result};
use tokio::time::Instant;

/// Answers that are drained at the same time at most; the upstream of any further one is cut off.
const MOST_DRAINS: u64 = 1024;

/// Longest time that closing a connection whose client is gone may take.
const CLOSING: Duration = Duration::from_millis(100);

/// How many answers are being drained.
#[derive(Clone, Debug, Default)]
pub(super) struct Drains(Arc<AtomicU64>);

impl Drains {
    fn enter(&self) -> Option<Draining> {
        // Dropped again at once when it is one too many.
        let draining = Draining(self.clone());
        let before = self.0.fetch_add(1, Ordering::AcqRel);
        (before < MOST_DRAINS).then_some(draining)
    }
}

/// One of them, until dropped.
#[derive(Debug)]
struct Draining(Drains);

impl Drop for Draining {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What the phases of a request know of its client's departure.
#[derive(Debug)]
pub(super) struct Departure {
    shared: Arc<Shared>,
}

struct Shared {
    longest: Duration,
    drains: Drains,
    /// Bytes of the answer's body the client had been sent when it was found gone.
    left: OnceLock<u64>,
    /// Where the client's own session waits once the wrapper around it is dropped.
    parked: Mutex<Option<Box<ServerSession>>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("longest", &self.longest)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

impl Departure {
    /// Keeps from now on to itself that the client of `session` is gone, for `longest`.
    pub(super) fn expect(session: &mut Session, longest: Duration, drains: &Drains) -> Self {
        let shared = Arc::new(Shared {
            longest,
            drains: drains.clone(),
            left: OnceLock::new(),
            parked: Mutex::new(None),
        });
        let nobody = Box::new(ServerSession::new_custom(Box::new(())));
        let client = std::mem::replace(&mut session.downstream_session, nobody);
        *session.downstream_session = ServerSession::new_custom(Box::new(Downstream {
            client,
            gone: None,
            shared: Arc::clone(&shared),
        }));
        Self { shared }
    }

    /// Bytes of the answer's body the client was sent, once it is known to have left.
    pub(super) fn received_bytes(&self) -> Option<u64> {
        self.shared.left.get().copied()
    }

    /// Whether the client is known to have left.
    pub(super) fn has_left(&self) -> bool {
        self.received_bytes().is_some()
    }

    /// Gives a client that has not left its session back: it may send another request.
    pub(super) fn give_back(&self, session: &mut Session) {
        if self.has_left() || !session.downstream_session.is_custom() {
            return;
        }
        *session.downstream_session = ServerSession::new_custom(Box::new(()));
        let mut parked = self
            .shared
            .parked
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = parked.take() {
            session.downstream_session = client;
        }
    }
}

/// A client's session that does not tell when the client leaves.
struct Downstream {
    client: Box<ServerSession>,
    gone: Option<Gone>,
    shared: Arc<Shared>,
}

/// The client left.
struct Gone {
    /// Handed out when the time is over; `None` once it was.
    error: Option<Box<Error>>,
    until: Instant,
    _draining: Draining,
}

impl Drop for Downstream {
    fn drop(&mut self) {
        let nobody = Box::new(ServerSession::new_custom(Box::new(())));
        let client = std::mem::replace(&mut self.client, nobody);
        let mut parked = self
            .shared
            .parked
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *parked = Some(client);
    }
}

impl Downstream {
    /// The client is gone, as `error` says. Fails with it when there is no room for a drain.
    async fn depart(&mut self, error: Box<Error>) -> Result<()> {
        let Some(draining) = self.shared.drains.enter() else {
            return Err(error);
        };
        // Set before anything is waited for: this may be called off at any wait.
        self.gone = Some(Gone {
            error: Some(error),
            until: Instant::now() + self.shared.longest,
            _draining: draining,
        });
        let _ = self.shared.left.set(self.client.body_bytes_sent() as u64);
        let _ = tokio::time::timeout(CLOSING, self.client.shutdown()).await;
        Ok(())
    }
}

/// Whether the answer ends with one of these.
fn ends(tasks: &[HttpTask]) -> bool {
    tasks.iter().any(HttpTask::is_end)
}

fn failed(tasks: &[HttpTask]) -> bool {
    tasks.iter().any(|task| matches!(task, HttpTask::Failed(_)))
}

#[async_trait]
impl CustomSession for Downstream {
    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        if self.gone.is_none() {
            match self.client.read_body_or_idle(no_body_expected).await {
                // The upstream has the whole request.
                Err(error) if no_body_expected => self.depart(error).await?,
                other => return other,
            }
        }
        let Some(gone) = &mut self.gone else {
            return std::future::pending().await;
        };
        tokio::time::sleep_until(gone.until).await;
        match gone.error.take() {
            Some(error) => Err(error),
            None => Error::e_explain(pingora::ErrorType::ConnectionClosed, "the client left"),
        }
    }

    async fn response_duplex_vec(&mut self, tasks: Vec<HttpTask>) -> Result<bool> {
        let (ends, failed) = (ends(&tasks), failed(&tasks));
        if self.gone.is_none() {
            match self.client.response_duplex_vec(tasks).await {
                // The upstream's failure, which ends both.
                Err(error) if failed => return Err(error),
                Err(error) => self.depart(error).await?,
                written => return written,
            }
            return Ok(ends);
        }
        for task in tasks {
            if let HttpTask::Failed(error) = task {
                return Err(error);
            }
        }
        Ok(ends)
    }

    async fn write_response_header(
        &mut self,
        header: Box<ResponseHeader>,
        _end: bool,
    ) -> Result<()> {
        self.client.write_response_header(header).await
    }

    async fn write_response_header_ref(
        &mut self,
        header: &ResponseHeader,
        _end: bool,
    ) -> Result<()> {
        self.client.write_response_header_ref(header).await
    }

    async fn write_body(&mut self, data: Bytes, end: bool) -> Result<()> {
        self.client.write_response_body(data, end).await
    }

    async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        self.client.write_response_trailers(trailers).await
    }

    async fn finish(&mut self) -> Result<()> {
        if self.gone.is_some() {
            return Ok(());
        }
        self.client.finish_body().await
    }

    async fn finish_custom(&mut self) -> Result<()> {
        Ok(())
    }

    async fn shutdown(&mut self, _code: u32, _context: &str) {
        self.client.shutdown().await;
    }

    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        self.client.read_request_body().await
    }

    async fn drain_request_body(&mut self) -> Result<()> {
        self.client.drain_request_body().await
    }

    fn req_header(&self) -> &RequestHeader {
        self.client.req_header()
    }

    fn req_header_mut(&mut self) -> &mut RequestHeader {
        self.client.req_header_mut()
    }

    fn set_read_timeout(&mut self, timeout: Option<Duration>) {
        self.client.set_read_timeout(timeout);
    }

    fn get_read_timeout(&self) -> Option<Duration> {
        self.client.get_read_timeout()
    }

    fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.client.set_write_timeout(timeout);
    }

    fn get_write_timeout(&self) -> Option<Duration> {
        self.client.get_write_timeout()
    }

    fn set_total_drain_timeout(&mut self, timeout: Option<Duration>) {
        self.client.set_total_drain_timeout(timeout);
    }

    fn get_total_drain_timeout(&self) -> Option<Duration> {
        self.client.get_total_drain_timeout()
    }

    fn request_summary(&self) -> String {
        self.client.request_summary()
    }

    fn response_written(&self) -> Option<&ResponseHeader> {
        self.client.response_written()
    }

    fn is_body_done(&mut self) -> bool {
        self.client.is_body_done()
    }

    fn is_body_empty(&mut self) -> bool {
        self.client.is_body_empty()
    }

    fn body_bytes_sent(&self) -> usize {
        self.client.body_bytes_sent()
    }

    fn body_bytes_read(&self) -> usize {
        self.client.body_bytes_read()
    }

    fn digest(&self) -> Option<&Digest> {
        self.client.digest()
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        self.client.digest_mut()
    }

    fn client_addr(&self) -> Option<&SocketAddr> {
        self.client.client_addr()
    }

    fn server_addr(&self) -> Option<&SocketAddr> {
        self.client.server_addr()
    }

    fn pseudo_raw_h1_request_header(&self) -> Bytes {
        self.client.to_h1_raw()
    }

    fn enable_retry_buffering(&mut self) {
        self.client.enable_retry_buffering();
    }

    fn retry_buffer_truncated(&self) -> bool {
        self.client.retry_buffer_truncated()
    }

    fn get_retry_buffer(&self) -> Option<Bytes> {
        self.client.get_retry_buffer()
    }

    // Messages besides the answer are a matter of protocols that no client here speaks.

    fn take_custom_message_reader(
        &mut self,
    ) -> Option<Box<dyn futures_core::Stream<Item = Result<Bytes>> + Unpin + Send + Sync>> {
        None
    }

    fn restore_custom_message_reader(
        &mut self,
        _reader: Box<dyn futures_core::Stream<Item = Result<Bytes>> + Unpin + Send + Sync>,
    ) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_writer(&mut self) -> Option<Box<dyn CustomMessageWrite>> {
        None
    }

    fn restore_custom_message_writer(
        &mut self,
        _writer: Box<dyn CustomMessageWrite>,
    ) -> Result<()> {
        Ok(())
    }
}
