//! The listener of the admin port, with bounds on what a client can hold.
//!
//! hyper is driven directly because `axum::serve` has no timeouts: a client that never finishes
//! its header, or never reads its answer, would keep a connection for ever.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};

use super::{AdminState, router};

/// Connections at once; more wait in the listener's backlog.
const MAX_CONNECTIONS: u32 = 128;

/// Time for a whole request header, and the time an idle connection is kept.
const HEADER_TIMEOUT: Duration = Duration::from_secs(20);

/// After this a connection gets no further request. Ends what a client that does not read its
/// answer would otherwise hold.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(300);

/// What a request in progress has to end in when its connection or the process is to close.
const LAST_ANSWER: Duration = Duration::from_secs(5);

/// Bytes of a request's line and headers, and headers in number; beyond: 431.
const MAX_HEADER_BYTES: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;

/// What to wait after an accept that failed, as it does when file descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who is at the other end of a request's connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) IpAddr);

/// Serves the admin port on `listener` until `shutdown` ends, then lets requests in progress end
/// for at most five seconds. Fails when the listener has no address.
pub async fn serve(
    listener: TcpListener,
    state: Arc<AdminState>,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let address = listener.local_addr()?;
    let service = TowerToHyperService::new(router(state, address.ip().is_loopback()));
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS as usize));
    let (stop, stopped) = watch::channel(());
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = accept(&listener, &slots) => accepted,
        };
        match accepted {
            Ok((stream, peer, slot)) => {
                let mut stopped = stopped.clone();
                let service = service.clone();
                tokio::spawn(async move {
                    let closing = async move {
                        tokio::select! {
                            _ = stopped.changed() => {}
                            () = sleep(CONNECTION_LIFETIME) => {}
                        }
                    };
                    connection(stream, peer, service, closing).await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the admin port cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    drop(stop);
    // All slots free again means that every connection has ended.
    let _ = timeout(LAST_ANSWER, slots.acquire_many(MAX_CONNECTIONS)).await;
    Ok(())
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> io::Result<(TcpStream, IpAddr, OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots)
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer.ip(), slot))
}

async fn connection(
    stream: TcpStream,
    peer: IpAddr,
    service: TowerToHyperService<axum::Router>,
    closing: impl Future<Output = ()>,
) {
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        service.call(request)
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER_BYTES)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    let mut serving = pin!(serving);
    tokio::select! {
        // What ends a connection early (the client left, it was too slow) is the client's affair.
        _ = serving.as_mut() => return,
        () = closing => {}
    }
    serving.as_mut().graceful_shutdown();
    let _ = timeout(LAST_ANSWER, serving).await;
}
