//! How fast a receiver may be told.

use std::time::Duration;

use ring::digest::{SHA256, digest};

/// So many messages in so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Messages.
    pub messages: u32,
    /// In this time, wherever it begins.
    pub per: Duration,
}

impl Rate {
    /// So many messages in so many seconds.
    #[must_use]
    pub const fn new(messages: u32, seconds: u64) -> Self {
        Self {
            messages,
            per: Duration::from_secs(seconds),
        }
    }
}

/// Limits that several receivers share: one bot in several chats, one chat of several receivers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedRates {
    /// What they go by: a fingerprint, never the credential. Receivers with the same one share them.
    pub by: u64,
    /// Of all that share them.
    pub rates: Vec<Rate>,
}

/// All the limits of a receiver. Each of them holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// Of this receiver alone.
    pub own: Vec<Rate>,
    /// Of this receiver and others.
    pub shared: Vec<SharedRates>,
}

impl Pace {
    /// Of whoever shows the same credential, which this number stands for.
    #[must_use]
    pub fn of(by: u64, rates: Vec<Rate>) -> Self {
        let shared = SharedRates { by, rates };
        Self {
            own: Vec::new(),
            shared: vec![shared],
        }
    }
}

/// A number for a credential that does not give it away.
pub(super) fn fingerprint(credential: &str) -> u64 {
    let digest = digest(&SHA256, credential.as_bytes());
    let first = digest.as_ref().iter().take(8);
    first.fold(0, |number, byte| number << 8 | u64::from(*byte))
}
