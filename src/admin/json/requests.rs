//! Requests.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Moment, RepricingJson, TokenCounts, UnitCounts, Usd};
use crate::ledger::query::{RequestDetail, StoredRequest};
use crate::record::{
    Api, Attempt, Deferral, ErrorSource, Outcome, Phase, Phases, RequestId, Source, UsageSource,
};

/// Microseconds spent in each phase; `null` for a phase that was not reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PhaseDurations {
    /// The client's body, as far as it was read before an upstream was chosen.
    pub read_request_us: Option<u64>,
    /// Choosing a channel and checking rules.
    pub admit_us: Option<u64>,
    /// Until a connection to the upstream was there.
    pub connect_us: Option<u64>,
    /// From the request sent to the response headers.
    pub wait_us: Option<u64>,
    /// From the response headers to the first body byte.
    pub first_byte_us: Option<u64>,
    /// From the start to the first content-bearing delta; streams only.
    pub first_token_us: Option<u64>,
    /// From the first to the last body byte.
    pub stream_us: Option<u64>,
    /// From the request's header to the end of the answer.
    pub total_us: Option<u64>,
    /// Total less every wait for the client or the upstream.
    pub overhead_us: Option<u64>,
}

impl From<Phases> for PhaseDurations {
    fn from(phases: Phases) -> Self {
        Self {
            read_request_us: phases[Phase::ReadRequest],
            admit_us: phases[Phase::Admit],
            connect_us: phases[Phase::Connect],
            wait_us: phases[Phase::Wait],
            first_byte_us: phases[Phase::FirstByte],
            first_token_us: phases[Phase::FirstToken],
            stream_us: phases[Phase::Stream],
            total_us: phases[Phase::Total],
            overhead_us: phases[Phase::Overhead],
        }
    }
}

impl From<PhaseDurations> for Phases {
    fn from(durations: PhaseDurations) -> Self {
        let mut phases = Self::default();
        phases[Phase::ReadRequest] = durations.read_request_us;
        phases[Phase::Admit] = durations.admit_us;
        phases[Phase::Connect] = durations.connect_us;
        phases[Phase::Wait] = durations.wait_us;
        phases[Phase::FirstByte] = durations.first_byte_us;
        phases[Phase::FirstToken] = durations.first_token_us;
        phases[Phase::Stream] = durations.stream_us;
        phases[Phase::Total] = durations.total_us;
        phases[Phase::Overhead] = durations.overhead_us;
        phases
    }
}

/// One request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RequestJson {
    /// The request's id, a UUIDv7: what `x-tollgate-request-id` said.
    #[schema(value_type = String, format = "uuid")]
    pub id: RequestId,
    /// Its number in the order of recording, which is the order requests ended in.
    pub sequence: i64,
    /// When its header had arrived.
    pub started_at: Moment,
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
    /// Whether a stream was asked for; `null` where the request does not say.
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
    /// How many tries at an upstream; `null` when it was interrupted.
    pub attempts: Option<u32>,
    /// Token counts.
    #[serde(flatten)]
    pub tokens: TokenCounts,
    /// Where the token counts come from.
    pub usage_source: UsageSource,
    /// What it cost; `null` when the model has no price or there is nothing to price.
    pub cost_usd: Option<Usd>,
    /// Which prices: the table's version, the row and the rule that matched.
    pub price_version: Option<String>,
    /// Latencies.
    #[serde(flatten)]
    pub phases: PhaseDurations,
    /// Bytes of the request body.
    pub request_bytes: u64,
    /// Bytes of the answer's body; `null` when it was interrupted.
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
    /// What is billed besides tokens.
    #[serde(flatten)]
    pub units: UnitCounts,
    /// The provider's id of what was made.
    pub response_id: Option<String>,
    /// `opened`: the usage is still to come under `response_id`; `settled`: the row carries the
    /// usage of something made earlier; `null` otherwise.
    pub deferral: Option<Deferral>,
    /// Tollgate's own count of the request's tokens, beside a usage that is missing.
    pub estimated_input_tokens: Option<u64>,
    /// Tollgate's own count of the answer's tokens, beside a usage that is missing.
    pub estimated_output_tokens: Option<u64>,
    /// What Tollgate's own counts would cost; no part of `cost_usd` or of any sum of it.
    pub estimated_cost_usd: Option<Usd>,
    /// Output tokens the client received, estimated, where it received less than was billed.
    pub delivered_output_tokens: Option<u64>,
    /// Bytes of the answer's body taken from the upstream, where they differ from
    /// `response_bytes`.
    pub upstream_bytes: Option<u64>,
    /// When that was made whose usage the request was told, where it was made earlier (a batch, a
    /// background response): its cost is by the prices of then.
    pub priced_at: Option<Moment>,
}

impl From<StoredRequest> for RequestJson {
    fn from(stored: StoredRequest) -> Self {
        let (cost_usd, price_version) = match stored.cost {
            Some(cost) => (
                Some(Usd(cost.amount)),
                Some(cost.price_version.as_ref().to_owned()),
            ),
            None => (None, None),
        };
        let estimate = stored.estimate.unwrap_or_default();
        Self {
            id: stored.id,
            sequence: stored.sequence.0,
            started_at: Moment(stored.started_at),
            channel: stored.channel,
            key: stored.key,
            api: stored.api,
            method: stored.method,
            path: stored.path,
            requested_model: stored.requested_model,
            served_model: stored.served_model,
            service_tier: stored.service_tier,
            stream: stored.stream,
            status: stored.status,
            outcome: stored.outcome,
            error_source: stored.error_source,
            error_code: stored.error_code,
            error_message: stored.error_message,
            attempts: stored.attempts,
            tokens: TokenCounts::new(&stored.usage.tokens, stored.usage.total),
            usage_source: stored.usage.source,
            cost_usd,
            price_version,
            phases: stored.phases.into(),
            request_bytes: stored.request_bytes,
            response_bytes: stored.response_bytes,
            upstream_request_id: stored.upstream_request_id,
            session: stored.session,
            end_user: stored.end_user,
            tags: stored.tags,
            source: stored.source,
            units: stored.usage.units.into(),
            response_id: stored.response_id,
            deferral: stored.deferral,
            estimated_input_tokens: estimate.input_tokens,
            estimated_output_tokens: estimate.output_tokens,
            estimated_cost_usd: estimate.cost.map(Usd),
            delivered_output_tokens: stored.delivered_output_tokens,
            upstream_bytes: stored.upstream_bytes,
            priced_at: stored.priced_at.map(Moment),
        }
    }
}

/// One try at an upstream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AttemptJson {
    /// The channel tried.
    pub channel: String,
    /// When the try began.
    pub started_at: Moment,
    /// How the try ended.
    pub outcome: Outcome,
    /// The status the upstream answered with.
    pub status: Option<u16>,
    /// The provider's or Tollgate's error code.
    pub error_code: Option<String>,
    /// Microseconds until a connection was there; `null` when none was.
    pub connect_us: Option<u64>,
    /// Microseconds from the request sent to the response headers.
    pub wait_us: Option<u64>,
}

impl From<Attempt> for AttemptJson {
    fn from(attempt: Attempt) -> Self {
        Self {
            channel: attempt.channel.as_ref().to_owned(),
            started_at: Moment(attempt.started_at),
            outcome: attempt.outcome,
            status: attempt.status,
            error_code: attempt.error_code.map(|code| code.as_ref().to_owned()),
            connect_us: attempt.connect_us,
            wait_us: attempt.wait_us,
        }
    }
}

/// One request in full.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RequestDetailJson {
    /// The request, its fields at this level.
    #[serde(flatten)]
    pub request: RequestJson,
    /// Each try at an upstream, in order.
    pub attempt_details: Vec<AttemptJson>,
    /// What later prices changed of its cost, the earliest first.
    pub repricings: Vec<RepricingJson>,
}

impl From<RequestDetail> for RequestDetailJson {
    fn from(detail: RequestDetail) -> Self {
        Self {
            request: detail.request.into(),
            attempt_details: detail.attempts.into_iter().map(Into::into).collect(),
            repricings: detail.repricings.into_iter().map(Into::into).collect(),
        }
    }
}

/// Some requests, and how to go on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RequestList {
    /// The start of the range that was looked at; `null` for the beginning of the ledger.
    pub since: Option<Moment>,
    /// The requests.
    pub requests: Vec<RequestJson>,
    /// The `cursor` of the next page; `null` when this was the last, and in answers to `after`.
    pub next: Option<String>,
    /// The `after` to ask with next; `null` in answers without `after`.
    pub position: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phase_has_its_field() {
        let mut phases = Phases::default();
        for (us, &phase) in (1..).zip(Phase::ALL) {
            phases[phase] = Some(us);
        }
        let durations = PhaseDurations::from(phases);
        assert_eq!(Phases::from(durations), phases);
        let json = serde_json::to_value(durations).unwrap();
        for (phase, us) in phases.iter() {
            assert_eq!(json[format!("{phase}_us")], us);
        }
        assert_eq!(json.as_object().unwrap().len(), Phase::ALL.len());
    }
}
