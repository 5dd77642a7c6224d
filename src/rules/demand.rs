//! What a request asks of the rules before it goes up, and what it is told.

use std::fmt;
use std::sync::Arc;

use crate::alert::{AlertId, Quantity};
use crate::clock::UnixMicros;
use crate::record::{Dimensions, Worst};

/// A request that is about to go to a channel.
#[derive(Clone, Copy, Debug)]
pub struct Demand<'a> {
    /// When its header had arrived: the calendar's period that it counts in.
    pub started_at: UnixMicros,
    /// Whose it is; `channel` is the one it goes to.
    pub dimensions: Dimensions<'a>,
    /// The most it may use. Asked for only when a budget wants it (see
    /// [`Rules::wants`](super::Rules::wants)).
    pub worst: Worst,
}

/// A rule refuses a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// By which alert.
    pub alert: AlertId,
    /// The HTTP status to answer with.
    pub status: u16,
    /// When it is worth coming back: the end of the window, where it has one.
    pub until: Option<UnixMicros>,
    /// Whether another channel may do: the rule tells channels apart.
    pub of_channel: bool,
    /// Why.
    pub why: BlockedBy,
}

/// Why a rule refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockedBy {
    /// What is used, what is reserved and this request's worst case come to more than the limit.
    Budget {
        /// The limit.
        limit: Quantity,
        /// What is used.
        used: Quantity,
        /// What is reserved for requests on their way.
        reserved: Quantity,
        /// What this request may use.
        worst: Quantity,
    },
    /// Nobody knows what this request may use.
    Unbounded,
    /// Nobody knows what is used, and `ledger.on_failure` is `refuse`.
    Unknown,
    /// The alert fires.
    Firing {
        /// The limit that is passed.
        limit: Option<Quantity>,
    },
}

impl Blocked {
    /// Why and until when, for those whom its sums are none of: without limits and what others used.
    #[must_use]
    pub fn without_figures(&self) -> impl fmt::Display + '_ {
        WithoutFigures(self)
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, figures: bool) -> fmt::Result {
        let rule: &Arc<str> = &self.alert.rule;
        match &self.why {
            BlockedBy::Budget {
                limit, used, worst, ..
            } if figures && worst.value > limit.value => write!(
                f,
                "the budget `{rule}` has no room for this request: of {limit}, {used} are used, and this \
                 one may use {worst}, more than all of it; say how long its answer may be (max_tokens)"
            )?,
            BlockedBy::Budget {
                limit,
                used,
                reserved,
                worst,
            } if figures => write!(
                f,
                "the budget `{rule}` has no room for this request: of {limit}, {used} are used and \
                 {reserved} are held for requests on their way, and this one may use {worst}"
            )?,
            BlockedBy::Budget { limit, worst, .. } => {
                write!(f, "the budget `{rule}` has no room for this request")?;
                if worst.value > limit.value {
                    f.write_str(", whatever is used; say how long its answer may be (max_tokens)")?;
                }
            }
            BlockedBy::Unbounded => write!(
                f,
                "the budget `{rule}` refuses requests whose most cannot be known beforehand"
            )?,
            BlockedBy::Unknown => write!(
                f,
                "what the budget `{rule}` has left is not known while the ledger cannot be read, and \
                 ledger.on_failure is `refuse`"
            )?,
            BlockedBy::Firing { limit: Some(limit) } if figures => {
                write!(
                    f,
                    "the rule `{rule}` refuses requests: its limit of {limit} is passed"
                )?;
            }
            BlockedBy::Firing { .. } => {
                write!(f, "the rule `{rule}` refuses requests at the moment")?;
            }
        }
        match self.until {
            Some(until) => write!(f, "; the window ends at {until}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, true)
    }
}

struct WithoutFigures<'b>(&'b Blocked);

impl fmt::Display for WithoutFigures<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write(f, false)
    }
}
