//! What an answer, or its absence, says of the channel it came from: whether another channel is
//! tried, and what the breaker makes of it. `docs/channels.md` shows the same table.

#[cfg(test)]
mod table;

use std::time::Duration;

use crate::protocol::Pause;
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
    /// For how long the provider asks not to be called.
    pub pause: Option<Pause>,
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

/// Codes by which providers refuse the channel's credential, or the country it calls from: OpenAI
/// ("Error codes"), Anthropic ("Errors"), Google's `google.rpc.Code` and, of a key with a status 400,
/// `ErrorInfo.reason`. Azure repeats the status.
const CREDENTIAL_CODES: [&str; 7] = [
    "invalid_api_key",
    "account_deactivated",
    "authentication_error",
    "UNAUTHENTICATED",
    "API_KEY_INVALID",
    "unsupported_country_region_territory",
    "401",
];

/// Codes by which a provider says, inside an answer that began well, that it failed itself. Any
/// other word there may be the request's own fault.
const PROVIDER_CODES: [&str; 11] = [
    "server_error",
    "server_is_overloaded",
    "internal_error",
    "internal_server_error",
    "api_error",
    "overloaded_error",
    "timeout_error",
    "vector_store_timeout",
    "INTERNAL",
    "UNAVAILABLE",
    "DEADLINE_EXCEEDED",
];

impl Verdict {
    const NOTHING: Self = Self::here(Effect::None);

    /// The verdict on a try.
    #[must_use]
    pub fn of(sighted: &Sighted<'_>) -> Self {
        match (sighted.fault, sighted.status) {
            (Some(Fault::Connect | Fault::Silent | Fault::Broken), _) => {
                Self::elsewhere(Effect::Failure)
            }
            (Some(Fault::CutShort), _) => Self::here(Effect::Failure),
            (Some(Fault::NotTheChannels), _) | (None, None) => Self::NOTHING,
            (None, Some(status)) => Self::of_answer(sighted, status),
        }
    }

    fn of_answer(sighted: &Sighted<'_>, status: u16) -> Self {
        let Some((effect, of_the_account)) = effect(sighted, status) else {
            return Self::NOTHING;
        };
        if of_the_account && !sighted.own_credential {
            // The client's account is at its limit here; another channel may have room for it.
            return match sighted.outcome {
                Outcome::RateLimited if status >= 400 => Self::elsewhere(Effect::None),
                _ => Self::NOTHING,
            };
        }
        // What is told within an answer that began well reached the client already.
        match effect {
            Effect::Success | Effect::None => Self::here(effect),
            _ if status < 400 => Self::here(effect),
            _ => Self::elsewhere(effect),
        }
    }

    const fn here(effect: Effect) -> Self {
        Self {
            fails_over: false,
            effect,
        }
    }

    const fn elsewhere(effect: Effect) -> Self {
        Self {
            fails_over: true,
            effect,
        }
    }
}

/// For how long no request for the model goes to the channel: the pause that the provider states
/// with a refusal that is its own (RFC 9110, 10.2.3, for 429 and 503 alike). What a success says of
/// limits is no refusal, and what a failure says of them is not why it failed: Azure states a
/// remainder of 0 without meaning it. What is said to a client's own account concerns nobody else.
pub(super) fn pause(sighted: &Sighted<'_>, verdict: Verdict) -> Option<Duration> {
    let pause = sighted.pause?;
    let refused = match (verdict.effect, pause) {
        (Effect::Pause, _) => true,
        (Effect::Failure, Pause::Stated(_)) => {
            sighted.fault.is_none() && sighted.status >= Some(500)
        }
        _ => false,
    };
    let length = Some(pause.length()).filter(|length| !length.is_zero());
    length.filter(|_| refused && sighted.own_credential)
}

/// The effect of an answer that came whole, and whether it concerns the account whose credential
/// was shown; `None` for a request's own fault.
fn effect(sighted: &Sighted<'_>, status: u16) -> Option<(Effect, bool)> {
    let code = sighted.code;
    let is = |codes: &[&str]| code.is_some_and(|code| codes.contains(&code));
    let stated = sighted.pause.is_some_and(|pause| !pause.length().is_zero());
    match (sighted.outcome, status) {
        (Outcome::Ok, ..400) => Some((Effect::Success, false)),
        (Outcome::QuotaExhausted, _) => Some((Effect::OutOfMoney, true)),
        (Outcome::RateLimited, _) if stated => Some((Effect::Pause, true)),
        (Outcome::RateLimited, _) => Some((Effect::Failure, true)),
        (Outcome::Ok | Outcome::UpstreamError, _) => match status {
            ..500 if is(&CREDENTIAL_CODES) => Some((Effect::BadCredential, true)),
            401 | 403 => Some((Effect::Failure, true)),
            408 | 500.. => Some((Effect::Failure, false)),
            400.. => None,
            _ if told_by_provider(code) => Some((Effect::Failure, false)),
            _ => None,
        },
        _ => None,
    }
}

/// Whether a failure inside an answer that began well is the provider's: it says so, repeats a
/// status that does, or says nothing at all.
fn told_by_provider(code: Option<&str>) -> bool {
    code.is_none_or(|code| {
        PROVIDER_CODES.contains(&code)
            || code
                .parse::<u16>()
                .is_ok_and(|status| matches!(status, 408 | 500..=599))
    })
}
