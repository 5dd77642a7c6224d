//! Holds a handshake back until Pingora is ready for its answer.
//!
//! Pingora (0.9.1, `proxy_h1.rs`) sends a request's head and only then tells its upstream half, over
//! a queue, that the request has no body. An upstream that agrees to an upgrade before the message
//! is taken from the queue makes it mean that the client has left the tunnel, which ends it. Over a
//! network the message is always first; an upstream on the same machine can be faster.
//!
//! So the kernel is asked to hold the head back (tcp(7), `TCP_CORK`) until that message is sure to
//! have been taken.

use std::os::fd::{OwnedFd, RawFd};
use std::time::Duration;

use rustix::net::sockopt::set_tcp_cork;

use super::deadline::duplicate;

/// Between the message being queued and the head leaving. Pingora takes the message in the same
/// turn, microseconds later; nothing tells when it has.
const MOMENT: Duration = Duration::from_millis(1);

/// What is written to a connection waits in the kernel; for 200 ms at most.
#[derive(Debug)]
pub(super) struct Cork(OwnedFd);

impl Cork {
    /// Corks the connection `socket`, which is open now. `None` when that is not possible.
    pub(super) fn put(socket: RawFd) -> Option<Self> {
        let connection = duplicate(socket)?;
        set_tcp_cork(&connection, true).ok()?;
        Some(Self(connection))
    }

    /// Lets go, in a moment.
    pub(super) fn pull(self) {
        tokio::spawn(async move {
            tokio::time::sleep(MOMENT).await;
            // A connection that is closed already has nothing left to send.
            let _ = set_tcp_cork(&self.0, false);
        });
    }
}
