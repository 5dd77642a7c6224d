//! What Tollgate knows of one request: the record that the proxy fills, the journal carries, the
//! ledger stores and the meter counts.
//!
//! Unknown is `None`, never 0. The closed vocabularies (labels, columns, API values) live in
//! a file of their own; each has one `as_str`.

mod channel_event;
mod sample;
mod sketch;
mod vocabulary;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Index, IndexMut};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::{NoContext, Timestamp, Uuid};

use crate::clock::UnixMicros;
use crate::money::NanoUsd;

pub use channel_event::{ChannelEvent, GateReason, GateState, Owner};
pub use sample::{
    Dimensions, Disposition, Figures, MinuteSample, ModelNames, Sample, input_tokens, is_sampled,
    output_tokens, pace_milli,
};
pub use sketch::{BadSketch, Sketch};
pub(crate) use vocabulary::closed_set;
pub use vocabulary::{
    Api, Deferral, ErrorSource, LimitKind, Outcome, Phase, Source, TokenType, Unit, UnknownName,
    UsageSource,
};

/// A request's id: UUIDv7 (RFC 9562), so ids sort by time of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(Uuid);

impl RequestId {
    /// A new id for a request that arrives now.
    #[must_use]
    pub fn generate() -> Self {
        Self::generate_at(UnixMicros::now())
    }

    /// A new id for a request that arrived at `moment`: its milliseconds, the rest random. No
    /// counter is shared between threads, so ids of one millisecond are in no order.
    #[must_use]
    pub fn generate_at(moment: UnixMicros) -> Self {
        let micros = u64::try_from(moment.0).unwrap_or(0);
        let nanos = u32::try_from(micros % 1_000_000 * 1_000).unwrap_or(0);
        let timestamp = Timestamp::from_unix(NoContext, micros / 1_000_000, nanos);
        Self(Uuid::new_v7(timestamp))
    }

    /// The request's arrival as the id has it, in whole milliseconds; `None` for an id that is no
    /// UUIDv7.
    #[must_use]
    pub fn moment(&self) -> Option<UnixMicros> {
        let (seconds, nanos) = self.0.get_timestamp()?.to_unix();
        let seconds = i64::try_from(seconds).ok()?;
        let micros = seconds.checked_mul(1_000_000)?;
        (self.0.get_version_num() == 7).then(|| UnixMicros(micros + i64::from(nanos / 1_000)))
    }

    /// A number that is evenly distributed over ids.
    #[must_use]
    pub fn random(&self) -> u32 {
        let bytes = self.0.as_bytes();
        u32::from_be_bytes([bytes[12], bytes[13], bytes[14], bytes[15]])
    }

    /// The hyphenated lower-case text, written into `buffer` without allocating.
    pub fn encode<'b>(&self, buffer: &'b mut [u8; 36]) -> &'b str {
        self.0.hyphenated().encode_lower(buffer)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.hyphenated(), f)
    }
}

impl FromStr for RequestId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        Uuid::parse_str(text).map(Self)
    }
}

/// Token counts by type. The types are disjoint: they add up to the total.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tokens([Option<u64>; TokenType::ALL.len()]);

impl Tokens {
    /// The types that were stated, with their counts, in the vocabulary's order.
    pub fn iter(&self) -> impl Iterator<Item = (TokenType, u64)> + '_ {
        TokenType::ALL
            .iter()
            .filter_map(|&kind| Some((kind, self[kind]?)))
    }

    /// The sum over the stated types; `None` when none was stated.
    #[must_use]
    pub fn sum(&self) -> Option<u64> {
        self.iter()
            .map(|(_, count)| count)
            .reduce(u64::saturating_add)
    }
}

impl Index<TokenType> for Tokens {
    type Output = Option<u64>;

    fn index(&self, kind: TokenType) -> &Option<u64> {
        &self.0[kind as usize]
    }
}

impl IndexMut<TokenType> for Tokens {
    fn index_mut(&mut self, kind: TokenType) -> &mut Option<u64> {
        &mut self.0[kind as usize]
    }
}

/// What is billed besides tokens, by unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Units([Option<u64>; Unit::ALL.len()]);

impl Units {
    /// No unit was stated.
    pub const NONE: Self = Self([None; Unit::ALL.len()]);

    /// The units that were stated, with their counts, in the vocabulary's order.
    pub fn iter(&self) -> impl Iterator<Item = (Unit, u64)> + '_ {
        Unit::ALL
            .iter()
            .filter_map(|&unit| Some((unit, self[unit]?)))
    }
}

impl Index<Unit> for Units {
    type Output = Option<u64>;

    fn index(&self, unit: Unit) -> &Option<u64> {
        &self.0[unit as usize]
    }
}

impl IndexMut<Unit> for Units {
    fn index_mut(&mut self, unit: Unit) -> &mut Option<u64> {
        &mut self.0[unit as usize]
    }
}

/// What a provider said (or, marked so, what was estimated) about a request's tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Disjoint counts.
    pub tokens: Tokens,
    /// What is billed besides.
    pub units: Units,
    /// The provider's own total where it states one, else the sum of the counts.
    pub total: Option<u64>,
    /// Where the numbers come from.
    pub source: UsageSource,
}

impl Usage {
    /// No numbers, for the stated reason.
    #[must_use]
    pub const fn absent(source: UsageSource) -> Self {
        Self {
            tokens: Tokens([None; TokenType::ALL.len()]),
            units: Units::NONE,
            total: None,
            source,
        }
    }
}

/// Microseconds spent in each phase; a phase that was not reached is `None`, never 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Phases([Option<u64>; Phase::ALL.len()]);

impl Phases {
    /// The phases that were reached, with their microseconds, in the vocabulary's order.
    pub fn iter(&self) -> impl Iterator<Item = (Phase, u64)> + '_ {
        Phase::ALL
            .iter()
            .filter_map(|&phase| Some((phase, self[phase]?)))
    }
}

impl Index<Phase> for Phases {
    type Output = Option<u64>;

    fn index(&self, phase: Phase) -> &Option<u64> {
        &self.0[phase as usize]
    }
}

impl IndexMut<Phase> for Phases {
    fn index_mut(&mut self, phase: Phase) -> &mut Option<u64> {
        &mut self.0[phase as usize]
    }
}

/// Whether a request has tokens but no cost: its model has no price. Where usage is missing or
/// there is none, a price would not help. Metrics and ledger both count by this.
#[must_use]
pub const fn is_unpriced(source: UsageSource, priced: bool) -> bool {
    !priced
        && matches!(
            source,
            UsageSource::Reported | UsageSource::Partial | UsageSource::Estimated
        )
}

/// A cost and the price row it was computed with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// The amount.
    pub amount: NanoUsd,
    /// Which prices: the table's version, the row and the rule that matched it.
    pub price_version: Arc<str>,
}

impl Cost {
    /// The price version of a cost that the provider stated itself.
    pub const STATED: &'static str = "stated";
}

/// Tollgate's own count where a provider should have stated usage and did not. It stands beside the
/// missing usage and is no part of any sum of tokens or cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Estimate {
    /// Tokens of the request; `None` when its text was not kept.
    pub input_tokens: Option<u64>,
    /// Tokens of the answer.
    pub output_tokens: Option<u64>,
    /// What they would cost; `None` when the model has no price.
    pub cost: Option<NanoUsd>,
}

impl Estimate {
    /// The usage that it would be.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let mut usage = Usage {
            units: Units::NONE,
            ..Usage::absent(UsageSource::Estimated)
        };
        usage.tokens[TokenType::Input] = self.input_tokens;
        usage.tokens[TokenType::Output] = self.output_tokens;
        usage.total = usage.tokens.sum();
        usage
    }
}

/// What is known of a request when it is admitted to an upstream. Alone in the journal (a crash,
/// kill -9) it becomes a row with the outcome `interrupted`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Admission {
    /// The request's id.
    pub id: RequestId,
    /// When its header had arrived.
    pub started_at: UnixMicros,
    /// The channel it was sent to first; `None` when no channel was found.
    pub channel: Option<Arc<str>>,
    /// The client key's name; `None` when the caller showed none.
    pub key: Option<Arc<str>>,
    /// Which API.
    pub api: Api,
    /// The HTTP method.
    pub method: Arc<str>,
    /// The path as the client sent it, without its query (which may hold credentials).
    pub path: Arc<str>,
    /// The model the client asked for.
    pub requested_model: Option<Arc<str>>,
    /// Whether a stream was asked for; `None` where the request does not say.
    pub stream: Option<bool>,
    /// Bytes of the request body received so far.
    pub request_bytes: u64,
    /// The conversation this request belongs to, from the client's headers.
    pub session: Option<Arc<str>>,
    /// The end user the client named in the body.
    pub end_user: Option<Arc<str>>,
    /// Tags from the client's header (and, later, its key).
    pub tags: BTreeMap<String, String>,
    /// Whether it can be billed. Listing, retrieving and managing cannot: rules are not asked for such
    /// requests and do not count them.
    pub billable: bool,
    /// What it may use at most, where a budget asked; unknown throughout where nobody can say.
    pub worst: Option<Worst>,
    /// What budgets count for it when nobody sees its end, where one asked.
    pub interrupted_cost: Option<NanoUsd>,
}

/// The most that a request may use. What is not known is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worst {
    /// Money; at the ceiling price where the model has none.
    pub cost: Option<NanoUsd>,
    /// The part of it that is the input's: spent as soon as the upstream has the request.
    pub input_cost: Option<NanoUsd>,
    /// Tokens of input.
    pub input_tokens: Option<u64>,
    /// Tokens of output.
    pub output_tokens: Option<u64>,
}

impl Worst {
    /// Nothing at all.
    pub const NOTHING: Self = Self {
        cost: Some(NanoUsd(0)),
        input_cost: Some(NanoUsd(0)),
        input_tokens: Some(0),
        output_tokens: Some(0),
    };

    /// Whether nobody can say what it comes to.
    #[must_use]
    pub const fn is_unbounded(&self) -> bool {
        self.cost.is_none() || self.input_tokens.is_none() || self.output_tokens.is_none()
    }

    /// Tokens of both.
    #[must_use]
    pub fn tokens(&self) -> Option<u64> {
        Some(self.input_tokens?.saturating_add(self.output_tokens?))
    }
}

/// Everything about one request that ended. One row of `requests`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RequestRecord {
    /// What was known at admission, brought up to date.
    pub admission: Admission,
    /// The model that answered, by the provider's word.
    pub served_model: Option<Arc<str>>,
    /// The service tier that was billed, by the provider's last word.
    pub service_tier: Option<Arc<str>>,
    /// The HTTP status the client got.
    pub status: Option<u16>,
    /// How it ended.
    pub outcome: Outcome,
    /// Whose fault a failure was.
    pub error_source: Option<ErrorSource>,
    /// The provider's or Tollgate's error code.
    pub error_code: Option<Arc<str>>,
    /// The error's text, cut to a bounded length, without secrets.
    pub error_message: Option<Arc<str>>,
    /// Each try at an upstream, in order.
    pub attempts: Vec<Attempt>,
    /// Tokens.
    pub usage: Usage,
    /// What it cost; `None` when the model has no price or there is nothing to price.
    pub cost: Option<Cost>,
    /// Latencies.
    pub phases: Phases,
    /// Bytes of the answer's body sent to the client.
    pub response_bytes: u64,
    /// The provider's id of the request (`x-request-id`).
    pub upstream_request_id: Option<Arc<str>>,
    /// Where the record comes from.
    pub source: Source,
    /// The provider's id of what was made (`chatcmpl-…`, `resp_…`, `batch_…`).
    pub response_id: Option<Arc<str>>,
    /// Whether making and usage are told apart.
    pub deferral: Option<Deferral>,
    /// Tollgate's own count beside a usage that is missing.
    pub estimate: Option<Estimate>,
    /// Output tokens the client received, estimated, where it received less than was billed.
    pub delivered_output_tokens: Option<u64>,
    /// Bytes of the answer's body taken from the upstream, where they differ from
    /// `response_bytes`.
    pub upstream_bytes: Option<u64>,
    /// When that was made whose usage the row carries, where that was before the row's start: its
    /// cost is by the prices of then.
    pub priced_at: Option<UnixMicros>,
    /// What budgets count for it where its cost is not known and may not be nothing: an estimate, the
    /// ceiling price, or the most that it may have cost.
    pub assumed_cost: Option<NanoUsd>,
}

impl RequestRecord {
    /// What says whether it is one for rules.
    #[must_use]
    pub const fn disposition(&self) -> Disposition {
        Disposition {
            outcome: self.outcome,
            billable: self.admission.billable,
            deferral: self.deferral,
        }
    }

    /// Whether the usage of what it made is still to be told, under its response id.
    #[must_use]
    pub fn awaits_usage(&self) -> bool {
        let is_named = self.response_id.is_some();
        self.disposition()
            .awaits_usage(self.admission.api, is_named)
    }
}

/// One try at an upstream. One row of `attempts`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// The channel tried.
    pub channel: Arc<str>,
    /// When the try began.
    pub started_at: UnixMicros,
    /// How the try ended.
    pub outcome: Outcome,
    /// The status the upstream answered with.
    pub status: Option<u16>,
    /// The provider's or Tollgate's error code.
    pub error_code: Option<Arc<str>>,
    /// Microseconds until a connection was there; `None` when none was.
    pub connect_us: Option<u64>,
    /// Microseconds from the request sent to the response headers.
    pub wait_us: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_not_stated_are_unknown_not_zero() {
        let mut tokens = Tokens::default();
        assert_eq!(tokens.sum(), None);
        tokens[TokenType::Output] = Some(0);
        assert_eq!(tokens.sum(), Some(0));
        tokens[TokenType::InputCached] = Some(7);
        assert_eq!(
            tokens.iter().collect::<Vec<_>>(),
            [(TokenType::InputCached, 7), (TokenType::Output, 0)]
        );
    }

    #[test]
    fn request_ids_are_uuid_v7_text() {
        let id = RequestId::generate();
        let text = id.to_string();
        assert_eq!(text.len(), 36);
        assert_eq!(text.as_bytes()[14], b'7');
        assert_eq!(text.parse::<RequestId>().unwrap(), id);
        assert_eq!(id.encode(&mut [0; 36]), text);
    }
}
