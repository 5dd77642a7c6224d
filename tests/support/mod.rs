//! Real parts for end-to-end tests: a scripted upstream of exact bytes, a raw HTTP client, the
//! Tollgate binary itself, its ledger and its metrics, a chaos proxy, a mock of the provider APIs
//! that others wrote, and the official clients.
//!
//! Nothing here sleeps for a fixed time to be right: [`eventually`] asks again until a condition
//! holds, and its patience is only how long a failure takes.

pub(crate) mod answers;
pub(crate) mod chaos;
pub(crate) mod client;
pub(crate) mod clients;
pub(crate) mod http2;
pub(crate) mod ledger;
pub(crate) mod message;
pub(crate) mod metrics;
pub(crate) mod new_api;
#[allow(dead_code, reason = "only the tests of dashboards ask for it")]
pub(crate) mod prometheus;
pub(crate) mod receivers;
pub(crate) mod served;
pub(crate) mod tollgate;
pub(crate) mod upstream;
pub(crate) mod websocket;

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// How long a condition may take before a test fails: a bound against hanging, never a measure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Asks until `condition` has an answer and returns it; fails the test, naming `what`, when
/// [`PATIENCE`] runs out.
pub(crate) fn eventually<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    eventually_within(PATIENCE, what, condition)
}

/// The same, for what may take longer by itself: `patience` is how long.
pub(crate) fn eventually_within<T>(
    patience: Duration,
    what: &str,
    mut condition: impl FnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(
            Instant::now() < deadline,
            "waited {patience:?} in vain: {what}"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A gate between a test and its upstream: closed until the test opens it.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// Lets everybody who waits, or will wait, pass.
    pub(crate) fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    /// Waits for [`open`](Self::open); false when [`PATIENCE`] ran out first.
    pub(crate) fn wait(&self) -> bool {
        let guard = self.0.0.lock().unwrap();
        let (guard, _) = self
            .0
            .1
            .wait_timeout_while(guard, PATIENCE, |open| !*open)
            .unwrap();
        *guard
    }
}
