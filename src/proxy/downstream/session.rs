//! The wrapper around a client's session.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
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
use pingora::{Error, Result};
use tokio::time::Instant;

use super::{Draining, Shared, undecided};

/// Longest time that closing a connection whose client is gone may take.
const CLOSING: Duration = Duration::from_millis(100);

/// Stands for a body that `request_body_filter` has whole.
const BODY: Bytes = Bytes::from_static(b"*");

/// A client's session that does not tell when the client leaves, and writes nothing it is to hold.
pub(super) struct Wrapper {
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

impl Drop for Wrapper {
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

impl Wrapper {
    pub(super) fn new(client: Box<ServerSession>, shared: Arc<Shared>) -> Self {
        Self {
            client,
            gone: None,
            shared,
        }
    }

    /// The client is gone, as `error` says. Fails with it where the answer is not drained, or
    /// there is no room for a drain.
    async fn depart(&mut self, error: Box<Error>) -> Result<()> {
        let Some((longest, drains)) = &self.shared.drain else {
            return Err(error);
        };
        let Some(draining) = drains.enter() else {
            return Err(error);
        };
        // Set before anything is waited for: this may be called off at any wait.
        self.gone = Some(Gone {
            error: Some(error),
            until: Instant::now() + *longest,
            _draining: draining,
        });
        let _ = self.shared.left.set(self.client.body_bytes_sent() as u64);
        let _ = tokio::time::timeout(CLOSING, self.client.shutdown()).await;
        Ok(())
    }

    /// Keeps `tasks` where the answer is held, and else gives out what is to be written.
    fn held_back(&mut self, tasks: Vec<HttpTask>) -> Result<Option<Vec<HttpTask>>> {
        let mut held = self.shared.held();
        if held.until.is_none() {
            if held.tasks.is_empty() {
                return Ok(Some(tasks));
            }
            let mut all = std::mem::take(&mut held.tasks);
            all.extend(tasks);
            return Ok(Some(all));
        }
        let ends = ends(&tasks);
        for task in tasks {
            match task {
                HttpTask::Failed(error) => return Err(error),
                task => held.tasks.push(task),
            }
        }
        // Its end was no part of the body, where it would have been decided.
        if ends { undecided() } else { Ok(None) }
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
impl CustomSession for Wrapper {
    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        let held_until = self.shared.held().until;
        if self.gone.is_none() {
            let reading = self.client.read_body_or_idle(no_body_expected);
            let read = match held_until {
                None => reading.await,
                Some(until) => match tokio::time::timeout_at(until, reading).await {
                    Ok(read) => read,
                    Err(_) => return undecided(),
                },
            };
            match read {
                Err(error) if self.shared.waits.load(Ordering::Acquire) => return Err(error),
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
        let Some(tasks) = self.held_back(tasks)? else {
            return Ok(false);
        };
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
        !self.shared.replay && self.client.retry_buffer_truncated()
    }

    fn get_retry_buffer(&self) -> Option<Bytes> {
        if self.shared.replay {
            return Some(BODY);
        }
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    use super::super::{Drains, Held, is_undecided};
    use super::*;

    /// A client that has sent its request, and the session of it.
    async fn wrapped(drain: Option<Duration>) -> (DuplexStream, Wrapper, Arc<Shared>) {
        let (mut client, server) = tokio::io::duplex(64 * 1024);
        let request = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
        client.write_all(request).await.unwrap();
        let mut session = ServerSession::new_http1(Box::new(server));
        assert!(session.read_request().await.unwrap());
        let shared = Arc::new(Shared {
            drain: drain.map(|longest| (longest, Drains::default())),
            replay: false,
            left: std::sync::OnceLock::new(),
            held: std::sync::Mutex::default(),
            waits: std::sync::atomic::AtomicBool::new(false),
            parked: std::sync::Mutex::new(None),
        });
        let wrapper = Wrapper::new(Box::new(session), Arc::clone(&shared));
        (client, wrapper, shared)
    }

    fn hold(shared: &Shared, longest: Duration) {
        *shared.held() = Held {
            until: Some(Instant::now() + longest),
            tasks: Vec::new(),
        };
    }

    fn header(status: u16) -> HttpTask {
        let mut header = ResponseHeader::build(status, None).unwrap();
        header.insert_header("content-length", "4").unwrap();
        HttpTask::Header(Box::new(header), false)
    }

    fn body(text: &'static str, end: bool) -> HttpTask {
        HttpTask::Body(Some(Bytes::from_static(text.as_bytes())), end)
    }

    #[tokio::test]
    async fn what_is_held_goes_out_whole_when_it_is_released() {
        let (mut client, mut wrapper, shared) = wrapped(None).await;
        hold(&shared, Duration::from_secs(3600));
        for tasks in [vec![header(429)], vec![body("ab", false)]] {
            assert!(!wrapper.response_duplex_vec(tasks).await.unwrap());
        }
        assert!(wrapper.response_written().is_none());
        shared.held().until = None;
        let last = vec![body("cd", true)];
        assert!(wrapper.response_duplex_vec(last).await.unwrap());
        drop(wrapper);
        shared.parked.lock().unwrap().take();
        let mut received = String::new();
        client.read_to_string(&mut received).await.unwrap();
        assert!(received.starts_with("HTTP/1.1 429 "), "{received}");
        assert!(received.ends_with("\r\n\r\nabcd"), "{received}");
    }

    #[tokio::test]
    async fn what_is_forgotten_was_never_there() {
        let (mut client, mut wrapper, shared) = wrapped(None).await;
        hold(&shared, Duration::from_secs(3600));
        let refusal = vec![header(429), body("ab", false)];
        assert!(!wrapper.response_duplex_vec(refusal).await.unwrap());
        *shared.held() = Held::default();
        let answer = vec![header(200), body("good", true)];
        assert!(wrapper.response_duplex_vec(answer).await.unwrap());
        drop(wrapper);
        shared.parked.lock().unwrap().take();
        let mut received = String::new();
        client.read_to_string(&mut received).await.unwrap();
        assert!(received.starts_with("HTTP/1.1 200 "), "{received}");
        assert!(received.ends_with("\r\n\r\ngood"), "{received}");
        assert!(!received.contains("429"), "{received}");
    }

    /// An end that no filter of the body sees, a time that is over, an upstream that fails.
    #[tokio::test]
    async fn what_is_held_undecided_fails() {
        for drain in [None, Some(Duration::from_secs(3600))] {
            let (_client, mut wrapper, shared) = wrapped(drain).await;
            hold(&shared, Duration::from_secs(3600));
            let ended = vec![header(429), HttpTask::Done];
            let error = wrapper.response_duplex_vec(ended).await.unwrap_err();
            assert!(is_undecided(&error));
            hold(&shared, Duration::ZERO);
            let error = wrapper.read_body_or_idle(true).await.unwrap_err();
            assert!(is_undecided(&error));
            hold(&shared, Duration::from_secs(3600));
            let failed = Error::new_up(pingora::ErrorType::ReadError);
            let tasks = vec![header(429), HttpTask::Failed(failed)];
            let error = wrapper.response_duplex_vec(tasks).await.unwrap_err();
            assert_eq!(error.etype(), &pingora::ErrorType::ReadError);
            assert!(wrapper.response_written().is_none());
        }
    }

    #[tokio::test]
    async fn a_client_that_leaves_while_its_answer_is_held_has_left() {
        let (client, mut wrapper, shared) = wrapped(None).await;
        hold(&shared, Duration::from_secs(3600));
        assert!(
            !wrapper
                .response_duplex_vec(vec![header(429)])
                .await
                .unwrap()
        );
        drop(client);
        let error = wrapper.read_body_or_idle(true).await.unwrap_err();
        assert!(!is_undecided(&error));
        let (client, mut wrapper, shared) = wrapped(Some(Duration::from_millis(1))).await;
        hold(&shared, Duration::from_secs(3600));
        drop(client);
        assert!(wrapper.read_body_or_idle(true).await.is_err());
        assert_eq!(shared.left.get(), Some(&0));
    }
}
