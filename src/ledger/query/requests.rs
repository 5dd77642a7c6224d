//! What can be asked about requests, and what is answered.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::names::NameFilter;
use crate::clock::UnixMicros;
use crate::ledger::rows::stored;
use crate::money::NanoUsd;
use crate::record::{
    Api, Attempt, Cost, Deferral, ErrorSource, Estimate, Outcome, Phase, Phases, RequestId, Source,
    Usage, closed_set,
};

/// Which requests, in which order, how many.
#[derive(Clone, Debug)]
pub struct RequestFilter {
    /// Started at this moment or later.
    pub since: Option<UnixMicros>,
    /// Started before this moment.
    pub until: Option<UnixMicros>,
    /// Sent to one of these channels.
    pub channel: NameFilter,
    /// Answered by one of these models; where the provider named none, asked for it.
    pub model: NameFilter,
    /// Calling one of these APIs.
    pub api: NameFilter,
    /// Of client keys of these names.
    pub key: NameFilter,
    /// That ended so.
    pub outcome: NameFilter,
    /// Whose usage comes from there.
    pub usage_source: NameFilter,
    /// Answered with this HTTP status.
    pub status: Option<u16>,
    /// Of one of these conversations.
    pub session: NameFilter,
    /// Only failures: every outcome but `ok` and `client_closed`.
    pub failed_only: bool,
    /// Only those with tokens and without a cost: their model has no price.
    pub unpriced_only: bool,
    /// That took so many microseconds or longer.
    pub min_total_us: Option<u64>,
    /// In which order.
    pub order: Order,
    /// Where the page before ended.
    pub cursor: Option<Cursor>,
    /// At most so many; 1 to 1,000, other values are brought into that range.
    pub limit: u32,
}

impl Default for RequestFilter {
    fn default() -> Self {
        Self {
            since: None,
            until: None,
            channel: NameFilter::default(),
            model: NameFilter::default(),
            api: NameFilter::default(),
            key: NameFilter::default(),
            outcome: NameFilter::default(),
            usage_source: NameFilter::default(),
            status: None,
            session: NameFilter::default(),
            failed_only: false,
            unpriced_only: false,
            min_total_us: None,
            order: Order::Newest,
            cursor: None,
            limit: 100,
        }
    }
}

closed_set! {
    /// The order of a listing.
    #[derive(Default)]
    Order ("order") {
        /// Started last comes first.
        #[default]
        Newest => "newest",
        /// Longest total duration first; requests without one are left out.
        Slowest => "slowest",
        /// Highest cost first; requests without one are left out.
        Dearest => "dearest",
    }
}

impl Order {
    /// Whether the first may have started at any time: to find them, all of a range is looked at.
    #[must_use]
    pub const fn is_ranking(self) -> bool {
        self.greatest().is_some()
    }

    /// The column of `requests` that it goes by.
    pub(super) const fn column(self) -> &'static str {
        match self {
            Self::Newest => "started_at",
            Self::Slowest => "total_us",
            Self::Dearest => "cost_nanousd",
        }
    }

    /// The column of `requests_hourly` that no value of an hour exceeds; `None` where the hour says
    /// it by itself.
    pub(super) const fn greatest(self) -> Option<&'static str> {
        match self {
            Self::Newest => None,
            Self::Slowest => Some("longest_us"),
            Self::Dearest => Some("dearest_nanousd"),
        }
    }

    /// What a row has in [`Order::column`].
    pub(super) fn value(self, row: &StoredRequest) -> Option<i64> {
        match self {
            Self::Newest => Some(row.started_at.0),
            Self::Slowest => row.phases[Phase::Total].map(stored),
            Self::Dearest => row.cost.as_ref().map(|cost| cost.amount.0),
        }
    }

    /// What its cursors begin with.
    const fn letter(self) -> char {
        match self {
            Self::Newest => 'n',
            Self::Slowest => 's',
            Self::Dearest => 'd',
        }
    }
}

/// Where a page ended: opaque text for callers, stable while rows are added or expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The order the page was in.
    pub order: Order,
    /// What the page's last row has in the column of its order.
    pub(super) value: i64,
    /// Its sequence number, which breaks ties.
    pub(super) sequence: i64,
}

/// A text that is no cursor of this ledger.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a cursor; pass `next` of the page before, unchanged, with the same order")]
pub struct CursorError(pub(in crate::ledger) String);

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}_{}", self.order.letter(), self.value, self.sequence)
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let parse = || {
            let mut orders = Order::ALL.iter();
            let (order, rest) = orders.find_map(|&order| {
                let rest = text.strip_prefix(order.letter())?;
                Some((order, rest))
            })?;
            let (value, sequence) = rest.split_once('_')?;
            Some(Self {
                order,
                value: value.parse().ok()?,
                sequence: sequence.parse().ok()?,
            })
        };
        parse().ok_or_else(|| CursorError(text.to_owned()))
    }
}

/// The number of a row in the order rows were recorded (which is the order requests ended in).
/// Never used twice, also not after rows expired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sequence(pub i64);

/// One page of a listing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RequestPage {
    /// The rows.
    pub requests: Vec<StoredRequest>,
    /// Where the next page starts; `None` when this was the last.
    pub next: Option<Cursor>,
}

/// What was recorded since a position.
#[derive(Clone, Debug, PartialEq)]
pub struct FollowPage {
    /// The rows, in the order they were recorded.
    pub requests: Vec<StoredRequest>,
    /// Where to go on; also moves past rows that the filter left out.
    pub position: Sequence,
}

/// One row of `requests`.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredRequest {
    /// Its number in the order of recording.
    pub sequence: Sequence,
    /// The request's id.
    pub id: RequestId,
    /// When its header had arrived.
    pub started_at: UnixMicros,
    /// The channel that answered, or was tried last.
    pub channel: Option<String>,
    /// The client key's name.
    pub key: Option<String>,
    /// Which API.
    pub api: Api,
    /// The HTTP method.
    pub method: String,
    /// The path, without its query.
    pub path: String,
    /// The model the client asked for.
    pub requested_model: Option<String>,
    /// The model that answered.
    pub served_model: Option<String>,
    /// The service tier that was billed.
    pub service_tier: Option<String>,
    /// Whether a stream was asked for.
    pub stream: Option<bool>,
    /// The HTTP status the client got.
    pub status: Option<u16>,
    /// How it ended.
    pub outcome: Outcome,
    /// Whose fault a failure was.
    pub error_source: Option<ErrorSource>,
    /// The provider's or Tollgate's error code.
    pub error_code: Option<String>,
    /// The error's text.
    pub error_message: Option<String>,
    /// How many tries at an upstream; `None` when it was interrupted, so that nobody knows.
    pub attempts: Option<u32>,
    /// Tokens.
    pub usage: Usage,
    /// What it cost.
    pub cost: Option<Cost>,
    /// Latencies.
    pub phases: Phases,
    /// Bytes of the request body.
    pub request_bytes: u64,
    /// Bytes of the answer's body; `None` when it was interrupted.
    pub response_bytes: Option<u64>,
    /// The provider's id of the request.
    pub upstream_request_id: Option<String>,
    /// The conversation it belongs to.
    pub session: Option<String>,
    /// The end user the client named.
    pub end_user: Option<String>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// Where the row comes from.
    pub source: Source,
    /// The provider's id of what was made.
    pub response_id: Option<String>,
    /// Whether making and usage are told apart.
    pub deferral: Option<Deferral>,
    /// Tollgate's own count beside a usage that is missing.
    pub estimate: Option<Estimate>,
    /// Output tokens the client received, estimated, where it received less than was billed.
    pub delivered_output_tokens: Option<u64>,
    /// Bytes of the answer's body taken from the upstream, where they differ from
    /// `response_bytes`.
    pub upstream_bytes: Option<u64>,
    /// When that was made whose usage the row carries, where it was made before the row's start: its
    /// cost is by the prices of then.
    pub priced_at: Option<UnixMicros>,
    /// What budgets count for it where its cost is not known and may not be nothing.
    pub assumed_cost: Option<NanoUsd>,
    /// Whether it can be billed.
    pub billable: bool,
}

/// One request with each try at an upstream.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestDetail {
    /// The row.
    pub request: StoredRequest,
    /// Its attempts, in order; empty when it was interrupted or never reached an upstream.
    pub attempts: Vec<Attempt>,
    /// What later prices changed of its cost, the earliest first.
    pub repricings: Vec<Repricing>,
}

/// One change of a request's cost by a later price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repricing {
    /// The run that did it.
    pub run: i64,
    /// When.
    pub at: UnixMicros,
    /// Who asked for it.
    pub who: String,
    /// The cost before; `None` when it had none.
    pub old: Option<Cost>,
    /// The cost after.
    pub new: Cost,
}
