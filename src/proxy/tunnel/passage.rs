//! What passes through the tunnel that a request became, and what is told of it.

use std::time::{Duration, Instant};

use crate::channel::Fault;
use crate::proxy::exchange::Exchange;
use crate::proxy::failure::Failure;
use crate::proxy::recorder::Ending;
use crate::proxy::tunnel::Tunnel;

impl Exchange {
    /// A piece goes from the client to the upstream, or, with `None`, the client is done. A tunnel
    /// has no body and no bound on what it carries.
    pub(in crate::proxy) fn tunnel_up(&mut self, sent: Option<&[u8]>) -> pingora::Result<()> {
        let length = sent.map_or(0, <[u8]>::len) as u64;
        self.recorder.admission().request_bytes += length;
        let Some(tunnel) = self.socket.tunnel() else {
            return Ok(());
        };
        let Some(bytes) = sent else {
            tunnel.client_left();
            return Ok(());
        };
        let read = tunnel.client_sent(&self.caller, &mut self.recorder, bytes, Instant::now());
        let Err(refused) = read else {
            return Ok(());
        };
        self.farewell = tunnel.farewell(&self.recorder, &refused);
        self.refuse(refused.failure)
    }

    /// A piece goes from the upstream to the client; `last` where the upstream is done. Fails where the
    /// session began what a rule refuses.
    pub(in crate::proxy) fn tunnel_down(
        &mut self,
        bytes: &[u8],
        last: bool,
        now: Instant,
    ) -> pingora::Result<()> {
        self.recorder.forwarded(bytes.len(), Duration::ZERO);
        if let Some(tunnel) = self.socket.tunnel() {
            tunnel.upstream_sent(&mut self.recorder, bytes, now);
            if last {
                tunnel.upstream_left();
            }
        }
        self.hear_tunnel(now);
        self.recorder.timeline().in_filters(now.elapsed());
        let blocked = self.socket.tunnel().and_then(Tunnel::take_blocked);
        blocked.map_or(Ok(()), |failure| self.refuse(failure))
    }

    /// Closes the account of a tunnel in which `failure` was seen. It ends when either side leaves
    /// it, which is no failure by itself.
    pub(in crate::proxy) fn close_tunnel(&mut self, failure: &Failure, now: Instant) {
        if self.recorder.is_closed() {
            return;
        }
        self.tell_what_is_unknown();
        let (ending, fault) = self.end_tunnel(Some(failure), now);
        self.end_try(fault, &ending, self.recorder.clock(now));
        self.recorder.close(ending, now);
    }

    pub(in crate::proxy) fn end_tunnel(
        &mut self,
        failure: Option<&Failure>,
        now: Instant,
    ) -> (Ending, Option<Fault>) {
        let Some(tunnel) = self.socket.tunnel() else {
            return (Ending::OK, None);
        };
        let end = tunnel.end(failure, now);
        self.hear_tunnel(now);
        end
    }

    /// Tells the channel what the upstream said by now of what is made over a tunnel: each response is
    /// a request as any other.
    pub(in crate::proxy) fn hear_tunnel(&mut self, now: Instant) {
        let Some(tunnel) = self.socket.tunnel() else {
            return;
        };
        for ending in tunnel.take_said() {
            if let Some(place) = &self.way.place {
                let now = self.recorder.clock(now);
                place.heard(&self.sighted(None, &ending), now);
            }
        }
    }
}
