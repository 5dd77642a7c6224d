//! How fast a receiver may be told.

use std::time::Duration;

/// So many messages in so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Messages.
    pub messages: u32,
    /// In this time, wherever it begins.
    pub per: Duration,
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
