//! From a channel's host name to addresses.
//!
//! Pingora's own peer constructor resolves on the reactor's thread and panics when a name is not
//! found, so names are resolved here: off the reactor, one look-up at a time for each channel, kept
//! for half a minute, and kept longer while the name service fails.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use tokio::sync::Mutex;

/// How long an answer is used without asking again. The system's resolver does not tell the
/// record's own time to live.
const FRESH: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct Answer {
    addresses: Arc<[SocketAddr]>,
    resolved: Instant,
}

/// Finds the addresses of one host.
#[derive(Debug)]
pub struct Resolver {
    host: String,
    port: u16,
    /// Set from the start when the host is an address already.
    literal: bool,
    answer: ArcSwapOption<Answer>,
    looking: Mutex<()>,
}

impl Resolver {
    /// A resolver for `host` (a name, or an address without brackets).
    #[must_use]
    pub fn new(host: &str, port: u16) -> Self {
        let literal = host.parse::<IpAddr>().ok();
        let answer = literal.map(|address| {
            Arc::new(Answer {
                addresses: Arc::from([SocketAddr::new(address, port)]),
                resolved: Instant::now(),
            })
        });
        Self {
            host: host.to_owned(),
            port,
            literal: literal.is_some(),
            answer: ArcSwapOption::new(answer),
            looking: Mutex::new(()),
        }
    }

    /// The addresses in the resolver's order, at least one. An answer that is no longer fresh is
    /// still used when the name service fails; the error is the name service's.
    pub async fn addresses(&self, now: Instant) -> io::Result<Arc<[SocketAddr]>> {
        if let Some(addresses) = self.fresh(now) {
            return Ok(addresses);
        }
        let _looking = self.looking.lock().await;
        // Whoever held the lock before may have found it.
        if let Some(addresses) = self.fresh(now) {
            return Ok(addresses);
        }
        let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await;
        match found.map(Iterator::collect::<Arc<[SocketAddr]>>) {
            Ok(addresses) if !addresses.is_empty() => {
                self.answer.store(Some(Arc::new(Answer {
                    addresses: Arc::clone(&addresses),
                    resolved: Instant::now(),
                })));
                Ok(addresses)
            }
            Ok(_) => self.stale_or(io::Error::other("the name has no address")),
            Err(error) => self.stale_or(error),
        }
    }

    /// The addresses, where they are known and fresh: no look-up, no wait.
    pub fn fresh(&self, now: Instant) -> Option<Arc<[SocketAddr]>> {
        let answer = self.answer.load();
        let answer = answer.as_ref()?;
        let age = now.saturating_duration_since(answer.resolved);
        (self.literal || age < FRESH).then(|| Arc::clone(&answer.addresses))
    }

    /// The last answer, counted as fresh again: a failing name service is asked twice a minute,
    /// not by every request.
    fn stale_or(&self, error: io::Error) -> io::Result<Arc<[SocketAddr]>> {
        let Some(stale) = self.answer.load_full() else {
            return Err(error);
        };
        self.answer.store(Some(Arc::new(Answer {
            addresses: Arc::clone(&stale.addresses),
            resolved: Instant::now(),
        })));
        Ok(Arc::clone(&stale.addresses))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_is_never_looked_up_again() {
        let resolver = Resolver::new("::1", 80);
        let later = Instant::now() + FRESH * 10;
        assert_eq!(
            *resolver.addresses(later).await.unwrap(),
            ["[::1]:80".parse().unwrap()]
        );
    }

    #[tokio::test]
    async fn an_unknown_name_is_an_error_not_a_panic() {
        let resolver = Resolver::new("no-such-host.invalid", 443);
        assert!(resolver.addresses(Instant::now()).await.is_err());
    }

    #[tokio::test]
    async fn a_stale_answer_serves_while_the_name_service_fails() {
        let resolver = Resolver::new("no-such-host.invalid", 443);
        let address = "127.0.0.1:443".parse().unwrap();
        let past = Instant::now();
        resolver.answer.store(Some(Arc::new(Answer {
            addresses: Arc::from([address]),
            resolved: past,
        })));
        let later = past + FRESH * 2;
        assert_eq!(*resolver.addresses(later).await.unwrap(), [address]);
    }
}
