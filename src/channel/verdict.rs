//! What an answer, or its absence, says of the channel it came from: whether another channel is
//! tried, and what the breaker makes of it. `docs/channels.md` shows the same table.

use std::time::Duration;

use crate::record::Outcome;

/// Why no whole answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// No address, no connection, or none in time.
    Connect,
    /// Connected, but no answer began in time (`limits.first_byte`).
    Silent,
    /// Broken off, or no HTTP, before an answer began.
    Broken,
    /// Broken off, or silent for too long, within an answer.
    CutShort,
    /// The client left, or the request's own time was over: says nothing of the channel.
    NotTheChannels,
}

/// One try at a channel, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sighted<'a> {
    /// What ended it, where no whole answer came.
    pub fault: Option<Fault>,
    /// The answer's status.
    pub status: Option<u16>,
    /// The provider's error code.
    pub code: Option<&'a str>,
    /// Outcome by status and code ([`crate::protocol::outcome_of`]).
    pub outcome: Outcome,
    /// The credential is the channel's own; with the client's own, what the provider says of
    /// credential, money and quota concerns the client only.
    pub own_credential: bool,
    /// For how long the provider asks not to be called: `retry-after`, or the reset of a limit of
    /// which nothing is left.
    pub pause: Option<Duration>,
    /// From the request sent to the answer's header.
    pub wait: Option<Duration>,
}

/// What a try means for its channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It works.
    Success,
    /// Nothing: the request's own fault, or nobody's.
    None,
    /// One of the failures that the breaker counts.
    Failure,
    /// No further request for this model for a while; counts as a failure where no time is stated.
    Pause,
    /// The account is out of money: closed at once.
    OutOfMoney,
    /// The credential is refused: closed at once.
    BadCredential,
}

/// What is to be done after a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether another channel may do better.
    pub fails_over: bool,
    /// What it means for this one.
    pub effect: Effect,
}

impl Verdict {
    /// The verdict on a try.
    #[must_use]
    pub fn of(sighted: &Sighted<'_>) -> Self {
        let fails_over = sighted
            .fault
            .is_some_and(|fault| matches!(fault, Fault::Connect | Fault::Silent | Fault::Broken));
        Self {
            fails_over,
            effect: if sighted.outcome == Outcome::Ok {
                Effect::Success
            } else {
                Effect::None
            },
        }
    }
}
