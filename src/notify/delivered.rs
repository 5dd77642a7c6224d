//! What came of telling a receiver.

use std::sync::Arc;
use std::time::Duration;

use crate::record::closed_set;

closed_set! {
    /// Why a receiver did not take a message.
    FailureReason ("reason of a failed delivery") {
        /// It did not answer in time.
        Timeout => "timeout",
        /// No connection came about, or it broke.
        Connect => "connect",
        /// Too much was told at once.
        RateLimited => "rate_limited",
        /// It failed itself (5xx).
        ServerError => "server_error",
        /// The token, key or password is not good (any more).
        Credential => "credential",
        /// The signature is wrong, or a clock.
        Signature => "signature",
        /// What it asks for is not met: a keyword, an address it knows.
        Policy => "policy",
        /// There is no such chat, robot or mailbox, or the bot was thrown out.
        Gone => "gone",
        /// The message is too long for it.
        TooLong => "too_long",
        /// The message is malformed to it.
        Refused => "refused",
        /// Its answer cannot be read.
        Unreadable => "unreadable",
    }
}

/// What came of one try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// It was taken.
    Sent {
        /// What the receiver calls its message, where it says.
        reference: Option<Arc<str>>,
    },
    /// It was not, and may be later.
    Again {
        /// Not before so long, where the receiver says.
        after: Option<Duration>,
        /// Why.
        reason: FailureReason,
        /// In words, with what to do; without secrets.
        detail: String,
    },
    /// It was not, and never will be as it is.
    GiveUp {
        /// Why.
        reason: FailureReason,
        /// In words, with what to do; without secrets.
        detail: String,
    },
}
