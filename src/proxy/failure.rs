//! What can go wrong with a request on Tollgate's side of the wire, as one closed set, and what
//! each case means: status, outcome, code, text.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use pingora::{Error, ErrorSource as Fault, ErrorType};

use crate::channel::{Channel, Fault as ChannelFault};
use crate::keys::Denied;
use crate::protocol::MalformedPath;
use crate::record::{ErrorSource, Outcome};
use crate::rules::Blocked;

use super::deadline::Expired;
use super::recorder::Ending;

/// When to come back where nobody knows better.
const SOON: Duration = Duration::from_secs(1);

/// Pingora's name for broken chunked framing.
const INVALID_CHUNK: &str = "InvalidChunk";

/// Why a request gets no upstream's answer, or no whole one.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Failure {
    /// The path could mean one thing here and another upstream.
    MalformedPath(MalformedPath),
    /// The request's own framing or header is wrong.
    MalformedRequest,
    /// The request line and headers are larger than `limits.header`.
    HeaderTooLarge { limit_bytes: u64 },
    /// The body is larger than `limits.request_body`.
    BodyTooLarge { limit_bytes: u64 },
    /// The client took too long to send its body.
    SlowClient,
    /// More requests in flight than `limits.in_flight`.
    TooManyInFlight { limit: u64 },
    /// The journal cannot be written and `ledger.on_failure` is `refuse`.
    LedgerDown,
    /// The caller shows no key of this gateway, though one is required.
    Denied(Denied),
    /// The key of this name may not use the channel of that name, or none that could take the
    /// request.
    ChannelDenied(Arc<str>, Option<Arc<str>>),
    /// The key of this name may not ask for that model; or the request does not say in time for
    /// which, and the key is bound to some.
    ModelDenied(Arc<str>, Option<Arc<str>>),
    /// No channel of that name, which a request names, or the key of this name for its requests.
    NoSuchChannel { name: String, key: Option<Arc<str>> },
    /// No channel serves the model.
    NoModel { model: String },
    /// Every channel that could take the request is closed; the first opens after this time.
    AllClosed { opens: Option<Duration> },
    /// Every channel that could take the request has `max_in_flight` requests.
    AllFull,
    /// A rule refuses the request.
    Blocked(Box<Refusal>),
    /// So many responses are being made over the connection that no more can be followed, and a rule
    /// limits them.
    TooManyResponses { limit: usize },
    /// The upstream's name has no address.
    Unresolved { channel: Arc<str>, host: String },
    /// No connection to the upstream.
    Connect { channel: Arc<str>, host: String },
    /// No connection to the upstream in time.
    ConnectTimeout { channel: Arc<str>, host: String },
    /// The upstream took too long.
    Timeout { channel: Arc<str>, expired: Expired },
    /// The upstream broke off or sent what is no HTTP.
    UpstreamBroken { channel: Arc<str> },
    /// A stream's body ended as it should, without the end that its API announces.
    CutShort { channel: Arc<str> },
    /// The client left.
    ClientClosed,
    /// A fault of Tollgate's own.
    Internal,
}

/// A failure in the words of the API's error body.
pub(super) struct Wording {
    pub(super) status: u16,
    /// OpenAI's `error.type`.
    pub(super) kind: &'static str,
    /// `error.code`, and the reason in `x-tollgate-error`.
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) retry_after: Option<Duration>,
}

/// The refusal of a rule.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Refusal {
    pub(super) blocked: Blocked,
    /// For how long, where that is known.
    pub(super) wait: Option<Duration>,
    /// Whether what the rule counts is the caller's own, by its key.
    pub(super) is_own: bool,
}

impl Failure {
    /// The failure that an error of Pingora's stands for. `channel` is the one being tried,
    /// `connected` whether a connection to it came about.
    pub(super) fn of(
        error: &Error,
        channel: Option<&Channel>,
        connected: bool,
        expired: Option<Expired>,
    ) -> Self {
        let name = || channel.map_or_else(Arc::default, |channel| Arc::clone(&channel.name));
        let host = || channel.map_or_else(String::new, |channel| channel.base.authority.clone());
        if let Some(expired) = expired {
            let channel = name();
            return Self::Timeout { channel, expired };
        }
        match (error.esource(), error.etype()) {
            (Fault::Downstream, ErrorType::InvalidHTTPHeader) => Self::MalformedRequest,
            (Fault::Downstream, kind) if kind.as_str() == INVALID_CHUNK => Self::MalformedRequest,
            (Fault::Downstream, ErrorType::ReadTimedout) => Self::SlowClient,
            (Fault::Downstream, _) => Self::ClientClosed,
            (Fault::Upstream, ErrorType::ConnectTimedout | ErrorType::TLSHandshakeTimedout) => {
                Self::ConnectTimeout {
                    channel: name(),
                    host: host(),
                }
            }
            (Fault::Upstream, _) if !connected => Self::Connect {
                channel: name(),
                host: host(),
            },
            (Fault::Upstream, ErrorType::ReadTimedout | ErrorType::WriteTimedout) => {
                Self::Timeout {
                    channel: name(),
                    expired: Expired::Silence,
                }
            }
            (Fault::Upstream, _) => Self::UpstreamBroken { channel: name() },
            (Fault::Internal | Fault::Unset, _) => Self::Internal,
        }
    }

    /// What it says of the channel that was tried; `answering` when an answer had begun.
    pub(super) const fn fault(&self, answering: bool) -> ChannelFault {
        match self {
            Self::Unresolved { .. } | Self::Connect { .. } | Self::ConnectTimeout { .. } => {
                ChannelFault::Connect
            }
            Self::Timeout {
                expired: Expired::Total,
                ..
            } => ChannelFault::NotTheChannels,
            Self::Timeout { .. } | Self::UpstreamBroken { .. } if answering => {
                ChannelFault::CutShort
            }
            Self::Timeout { .. } => ChannelFault::Silent,
            Self::UpstreamBroken { .. } => ChannelFault::Broken,
            Self::CutShort { .. } => ChannelFault::CutShort,
            _ => ChannelFault::NotTheChannels,
        }
    }

    /// How the account is closed for it.
    pub(super) fn ending(&self) -> Ending {
        let (outcome, source) = match self {
            Self::MalformedPath(_)
            | Self::MalformedRequest
            | Self::HeaderTooLarge { .. }
            | Self::BodyTooLarge { .. }
            | Self::SlowClient
            | Self::Denied(Denied::Missing | Denied::Unknown | Denied::Expired)
            | Self::ChannelDenied(..)
            | Self::ModelDenied(..) => (Outcome::Refused, ErrorSource::Downstream),
            Self::TooManyInFlight { .. }
            | Self::TooManyResponses { .. }
            | Self::LedgerDown
            | Self::Denied(Denied::Unread)
            | Self::AllFull => (Outcome::Refused, ErrorSource::Internal),
            Self::NoSuchChannel { .. } | Self::NoModel { .. } => {
                (Outcome::NoChannel, ErrorSource::Downstream)
            }
            Self::AllClosed { .. } => (Outcome::NoChannel, ErrorSource::Internal),
            Self::Blocked(..) => (Outcome::Blocked, ErrorSource::Internal),
            Self::Unresolved { .. } | Self::Connect { .. } | Self::ConnectTimeout { .. } => {
                (Outcome::ConnectError, ErrorSource::Upstream)
            }
            Self::Timeout { .. } => (Outcome::Timeout, ErrorSource::Upstream),
            Self::UpstreamBroken { .. } | Self::CutShort { .. } => {
                (Outcome::UpstreamError, ErrorSource::Upstream)
            }
            Self::ClientClosed => (Outcome::ClientClosed, ErrorSource::Downstream),
            Self::Internal => (Outcome::Internal, ErrorSource::Internal),
        };
        Ending {
            outcome,
            source: Some(source),
            code: Some(Arc::from(self.wording().code)),
            message: Some(Arc::from(self.to_string())),
        }
    }

    /// What the client is told.
    pub(super) fn wording(&self) -> Wording {
        const INVALID: &str = "invalid_request_error";
        const SERVER: &str = "server_error";
        const PERMISSION: &str = "permission_error";
        const QUOTA: &str = "insufficient_quota";
        let (status, kind, code) = match self {
            Self::MalformedPath(_) => (400, INVALID, "malformed_path"),
            Self::MalformedRequest => (400, INVALID, "malformed_request"),
            Self::HeaderTooLarge { .. } => (431, INVALID, "header_too_large"),
            Self::BodyTooLarge { .. } => (413, INVALID, "body_too_large"),
            Self::SlowClient => (408, INVALID, "request_timeout"),
            Self::TooManyInFlight { .. } | Self::TooManyResponses { .. } => {
                (503, SERVER, "too_many_in_flight")
            }
            Self::LedgerDown => (503, SERVER, "ledger_unavailable"),
            Self::Denied(Denied::Unread) => (503, SERVER, "keys_unavailable"),
            // OpenAI's own words for a wrong key.
            Self::Denied(_) => (401, INVALID, "invalid_api_key"),
            Self::ChannelDenied(..) => (403, PERMISSION, "channel_not_allowed"),
            Self::ModelDenied(..) => (403, PERMISSION, "model_not_allowed"),
            Self::NoSuchChannel { .. } => (404, INVALID, "no_channel"),
            Self::NoModel { .. } => (404, INVALID, "model_not_found"),
            Self::AllClosed { .. } => (503, SERVER, "no_channel"),
            Self::AllFull => (503, SERVER, "channels_full"),
            // OpenAI's own words for an account without money.
            Self::Blocked(refusal) => (refusal.blocked.status, QUOTA, QUOTA),
            Self::Unresolved { .. } | Self::Connect { .. } => (502, SERVER, "connect_error"),
            Self::ConnectTimeout { .. } => (504, SERVER, "connect_timeout"),
            Self::Timeout { expired, .. } => (504, SERVER, expired.code()),
            Self::UpstreamBroken { .. } => (502, SERVER, "upstream_error"),
            // Nobody is told: the client got the bytes and their end as the upstream sent them.
            Self::CutShort { .. } => (502, SERVER, "truncated"),
            // Nobody is told: the status is nginx' word for it in logs.
            Self::ClientClosed => (499, INVALID, "client_closed"),
            Self::Internal => (500, SERVER, "internal"),
        };
        let retry_after = match self {
            Self::TooManyInFlight { .. }
            | Self::LedgerDown
            | Self::Denied(Denied::Unread)
            | Self::AllFull => Some(SOON),
            Self::AllClosed { opens } => opens.map(whole_seconds),
            Self::Blocked(refusal) => refusal.wait.map(whole_seconds),
            _ => None,
        };
        let message = match self {
            Self::Blocked(refusal) if !refusal.is_own => {
                refusal.blocked.without_figures().to_string()
            }
            _ => self.to_string(),
        };
        Wording {
            status,
            kind,
            code,
            message,
            retry_after,
        }
    }
}

/// Whole seconds are all that the header has.
fn whole_seconds(wait: Duration) -> Duration {
    let begun = u64::from(wait.subsec_nanos() > 0);
    Duration::from_secs(wait.as_secs().saturating_add(begun))
}

/// What to do about a caller that is not known, to follow the words for it.
const fn remedy(denied: Denied) -> &'static str {
    match denied {
        Denied::Missing | Denied::Unknown => {
            ": send one as the API key (whoever runs it makes them with `tollgate keys create`)"
        }
        Denied::Expired => ": ask whoever runs this gateway for another (`tollgate keys create`)",
        Denied::Unread => "; try again",
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MalformedPath(reason) => reason.fmt(f),
            Self::MalformedRequest => f.write_str("the request's headers or framing are malformed"),
            Self::HeaderTooLarge { limit_bytes } => write!(
                f,
                "the request line and headers exceed {limit_bytes} bytes (limits.header)"
            ),
            Self::BodyTooLarge { limit_bytes } => write!(
                f,
                "the request body exceeds {limit_bytes} bytes (limits.request_body)"
            ),
            Self::SlowClient => {
                f.write_str("the request body did not arrive in time (limits.idle, limits.total)")
            }
            Self::TooManyInFlight { limit } => write!(
                f,
                "{limit} requests are in flight already (limits.in_flight); try again"
            ),
            Self::LedgerDown => f.write_str(
                "the ledger's journal cannot be written and ledger.on_failure is `refuse`",
            ),
            Self::Denied(denied) => write!(f, "{denied}{}", remedy(*denied)),
            Self::ChannelDenied(key, Some(channel)) => {
                write!(f, "the key `{key}` may not use the channel `{channel}`")
            }
            Self::ChannelDenied(key, None) => write!(
                f,
                "the key `{key}` may not use any channel that could take this request"
            ),
            Self::ModelDenied(key, Some(model)) => {
                write!(f, "the key `{key}` may not ask for the model `{model}`")
            }
            Self::ModelDenied(key, None) => write!(
                f,
                "the key `{key}` may ask for some models only, and this request does not say, or \
                 not before it is sent on, which one it is for"
            ),
            Self::NoSuchChannel {
                name,
                key: Some(key),
            } => write!(
                f,
                "the key `{key}` goes to `{name}`, which is no channel; see `channels` in the settings"
            ),
            Self::NoSuchChannel { name, key: None } => write!(
                f,
                "no channel is named `{name}`; see `channels` in the settings"
            ),
            Self::NoModel { model } => write!(
                f,
                "no channel serves the model `{model}`; see `channels` in the settings"
            ),
            Self::AllClosed { .. } => f.write_str(
                "every channel that could take the request is closed; `tollgate channels` says why",
            ),
            Self::AllFull => f.write_str(
                "every channel that could take the request has as many as it takes \
                 (max_in_flight); try again",
            ),
            Self::Blocked(refusal) => refusal.blocked.fmt(f),
            Self::TooManyResponses { limit } => write!(
                f,
                "{limit} responses are being made over this connection already; wait for one to end"
            ),
            Self::Unresolved { channel, host } => write!(
                f,
                "the name of channel `{channel}`'s upstream, {host}, has no address"
            ),
            Self::Connect { channel, host } => write!(
                f,
                "no connection to {host}, the upstream of channel `{channel}`"
            ),
            Self::ConnectTimeout { channel, host } => write!(
                f,
                "no connection to {host}, the upstream of channel `{channel}`, in time \
                 (limits.connect)"
            ),
            Self::Timeout { channel, expired } => write!(
                f,
                "the upstream of channel `{channel}` took too long ({})",
                expired.limit()
            ),
            Self::UpstreamBroken { channel } => write!(
                f,
                "the upstream of channel `{channel}` broke off its answer"
            ),
            Self::CutShort { channel } => write!(
                f,
                "the upstream of channel `{channel}` ended its stream before the answer was complete"
            ),
            Self::ClientClosed => f.write_str("the client closed the connection before the end"),
            Self::Internal => f.write_str("tollgate failed; its log says why"),
        }
    }
}
