//! What happened to a channel's gate: who closed or reopened it, why, until when.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::vocabulary::closed_set;
use crate::clock::UnixMicros;

closed_set! {
    /// Whether requests may go through a channel.
    GateState ("gate state") {
        /// They may.
        Open => "open",
        /// One may, to find out whether the others may again.
        Probing => "probing",
        /// They may not.
        Closed => "closed",
    }
}

closed_set! {
    /// Why a gate changed.
    GateReason ("gate reason") {
        /// Too many of the last requests failed, or were too slow.
        Failures => "failures",
        /// The provider says the account is out of money.
        OutOfMoney => "out_of_money",
        /// The provider refuses the channel's credential.
        BadCredential => "bad_credential",
        /// An operator said so.
        Operator => "operator",
        /// An alert fired, or ended.
        Alert => "alert",
        /// Its time was over.
        Expired => "expired",
        /// A request succeeded.
        Recovered => "recovered",
    }
}

/// Who holds a channel closed. Only that owner or an operator reopens it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub enum Owner {
    /// Somebody at the command line, the API or a chat.
    Operator,
    /// The channel's own breaker.
    Breaker,
    /// An alert, by its name.
    Alert(Arc<str>),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operator => f.pad("operator"),
            Self::Breaker => f.pad("breaker"),
            Self::Alert(name) => write!(f, "alert:{name}"),
        }
    }
}

impl FromStr for Owner {
    type Err = Infallible;

    /// Anything but the two known words is an alert's name, with or without `alert:` before it.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "operator" => Self::Operator,
            "breaker" => Self::Breaker,
            other => Self::Alert(Arc::from(other.strip_prefix("alert:").unwrap_or(other))),
        })
    }
}

impl From<String> for Owner {
    fn from(text: String) -> Self {
        match text.parse() {
            Ok(owner) => owner,
            Err(never) => match never {},
        }
    }
}

impl From<Owner> for String {
    fn from(owner: Owner) -> Self {
        owner.to_string()
    }
}

/// One change of one owner's hold on a channel's gate. A gate is open when nobody holds it, so the
/// last event of each owner says all that is known of the gate.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ChannelEvent {
    /// When.
    pub at: UnixMicros,
    /// The channel.
    pub channel: Arc<str>,
    /// Whose hold changed.
    pub owner: Owner,
    /// What this owner's hold is now; `open` means that it holds no longer.
    pub hold: GateState,
    /// What the gate is now, over all owners.
    pub state: GateState,
    /// Why.
    pub reason: GateReason,
    /// When the hold ends by itself, or the next probe may go; `None` for a hold that waits for
    /// its owner or an operator, and for none.
    pub until: Option<UnixMicros>,
    /// Who did it, where a person did: as they call themselves.
    pub who: Option<Arc<str>>,
    /// In words: an operator's reason, the provider's error code.
    pub note: Option<Arc<str>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_read_as_it_is_written() {
        for owner in [
            Owner::Operator,
            Owner::Breaker,
            Owner::Alert(Arc::from("ChannelDailySpend")),
            Owner::Alert(Arc::from("operator")),
        ] {
            assert_eq!(owner.to_string().parse(), Ok(owner));
        }
    }
}
