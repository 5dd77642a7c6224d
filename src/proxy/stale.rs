//! Whether a connection of the pool turned out to be stale, closed by the upstream while it idled: then the request
//! is sent again, once for each channel, over a connection of its own.

use std::time::{Duration, Instant};

use http::Method;
use pingora::proxy::Session;
use pingora::{Error, ErrorSource, ErrorType, RetryType};

use super::deadline::Watchdog;
use super::exchange::Exchange;

/// Within which time a stale connection breaks after the request was sent.
const AT_ONCE: Duration = Duration::from_millis(100);

/// Whether `error` is a stale connection's and the request can be sent again. `reused` says whether the connection
/// was one of the pool.
pub(super) fn was(
    error: &Error,
    session: &mut Session,
    exchange: &mut Exchange,
    reused: bool,
) -> bool {
    let replayable = exchange.body.whole().is_some() || session.is_body_empty();
    let expired = exchange.watchdog.as_ref().and_then(Watchdog::expired);
    let untouched = exchange.passing.is_none() && exchange.failure.is_none() && expired.is_none();
    let first = !exchange.way.this_try.repeats;
    if !(first && replayable && untouched) {
        return false;
    }
    if broke_while_writing(error) {
        return reused;
    }
    let again = match error.retry {
        RetryType::ReusedOnly => reused,
        RetryType::Decided(again) => again,
    };
    again && broke_at_once(exchange, &session.req_header().method)
}

/// What the operating system said, where it is the cause.
pub(super) fn system_error(error: &Error) -> Option<&std::io::Error> {
    error.root_cause().downcast_ref()
}

/// The upstream's end was gone while the request was written to it. Pingora looks at the reuse only where a break is
/// found by reading. Whenever this one shows, the upstream has not got the request whole, so it does not work on it
/// (RFC 9112 §8).
fn broke_while_writing(error: &Error) -> bool {
    *error.esource() == ErrorSource::Upstream
        && *error.etype() == ErrorType::WriteError
        && system_error(error).is_some_and(|cause| cause.raw_os_error().is_some())
}

/// A stale connection breaks at once. One that breaks later may have carried the request to an upstream that worked
/// on it; only what may be repeated is then sent again (RFC 9110 §9.2.2).
fn broke_at_once(exchange: &mut Exchange, method: &Method) -> bool {
    let since_sent = exchange.recorder.timeline().since_sent(Instant::now());
    method.is_idempotent() || since_sent.is_none_or(|time| time < AT_ONCE)
}
