//! Why an outside channel does not follow, and what to do.

use std::time::Duration;

use crate::sources::Cause;

/// Why an outside channel does not follow. No text holds the token.
#[derive(Debug, thiserror::Error)]
pub(super) enum FollowError {
    /// Nobody answers there, or not to the end.
    #[error("no answer from {url}: {cause}; is `sources.new_api.base_url` right?")]
    Unreachable { url: String, cause: Cause },
    /// The token, or the user.
    #[error(
        "{url} refuses the token ({status}{}); give an administrator's access token in \
         `sources.new_api.token` (no relay token) and, for new-api, that administrator's number \
         in `sources.new_api.user`",
        told(.message.as_ref())
    )]
    Denied {
        url: String,
        status: u16,
        message: Option<String>,
    },
    /// It is asked too often for its taste.
    #[error("{url} answered 429: it wants to be asked less often")]
    TooOften {
        url: String,
        retry_after: Option<Duration>,
    },
    /// Any other answer that says no; older gateways say so of a wrong token too.
    #[error("{url} says no ({status}{})", told(.message.as_ref()))]
    Refused {
        url: String,
        status: u16,
        message: Option<String>,
    },
    /// What it answers is no answer.
    #[error("{url} answered what makes no sense: {reason}; is `sources.new_api.base_url` right?")]
    Strange { url: String, reason: &'static str },
    /// It says that it did it, and did not.
    #[error("the channel {id} was to have the status {wanted} and has {found} all the same")]
    NotTaken { id: u64, wanted: i64, found: i64 },
}

impl FollowError {
    /// How long the gateway asks to be left alone.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooOften { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

fn told(message: Option<&String>) -> String {
    message.map_or_else(String::new, |message| format!(": {message}"))
}
