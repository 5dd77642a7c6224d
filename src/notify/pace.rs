//! How fast a receiver may be told: token buckets, with the time as an argument.

use std::time::Duration;

/// So many messages in so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Messages.
    pub messages: u32,
    /// In this time, wherever it begins.
    pub per: Duration,
}

/// All the limits of a receiver, and what they are counted by: receivers with the same `shared` (one
/// bot in several chats) share the second list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// Of this receiver alone.
    pub own: Vec<Rate>,
    /// What the shared limits go by: a fingerprint, never the credential.
    pub shared: Option<u64>,
    /// Of all that share it.
    pub together: Vec<Rate>,
}
