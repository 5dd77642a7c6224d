//! Usage summaries.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Moment, TokenCounts, UnitCounts, Usd};
use crate::clock::UnixMicros;
use crate::ledger::query::{UsageQuery, UsageRow, UsageSummary};

/// Sums over the requests of one group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UsageRowJson {
    /// What the group has in common, by grouping: `{"model": "gpt-5"}`. `null` where requests have
    /// none. Empty in the total.
    pub group: BTreeMap<String, Option<String>>,
    /// How many requests.
    pub requests: u64,
    /// How many of them failed: every outcome but `ok` and `client_closed`.
    pub errors: u64,
    /// How many of these bill nothing: `blocked`, `refused`, `no_channel`, `connect_error`,
    /// `rate_limited` and `quota_exhausted`. Of the others a provider may have made something.
    pub unbilled_requests: u64,
    /// Token counts; `null` where no request stated any of that type.
    #[serde(flatten)]
    pub tokens: TokenCounts,
    /// What the priced requests cost together; `null` when none was priced. Not the whole truth
    /// while `unpriced_requests` is not 0.
    pub cost_usd: Option<Usd>,
    /// Requests whose tokens are known but have no price.
    pub unpriced_requests: u64,
    /// Requests whose tokens should be known and are not.
    pub missing_usage_requests: u64,
    /// Requests whose tokens are partly the provider's count and partly Tollgate's.
    pub partial_requests: u64,
    /// Requests whose tokens Tollgate counted.
    pub estimated_requests: u64,
    /// What is billed besides tokens; `null` where no request stated any of that unit.
    #[serde(flatten)]
    pub units: UnitCounts,
    /// What Tollgate's own counts beside missing usage would cost; no part of `cost_usd`.
    pub estimated_cost_usd: Option<Usd>,
    /// Bytes of request bodies.
    pub request_bytes: u64,
    /// Bytes of answers' bodies, as far as they are known.
    pub response_bytes: u64,
    /// Mean total duration in microseconds over the requests that have one.
    pub mean_total_us: Option<u64>,
    /// Mean time to first token in microseconds over the streams that reached one.
    pub mean_first_token_us: Option<u64>,
}

impl UsageRowJson {
    fn new(row: UsageRow, by: &[String]) -> Self {
        Self {
            group: by.iter().cloned().zip(row.group).collect(),
            requests: row.requests,
            errors: row.errors,
            unbilled_requests: row.unbilled_requests,
            tokens: TokenCounts::new(&row.tokens, row.total_tokens),
            cost_usd: row.cost.map(Usd),
            unpriced_requests: row.unpriced_requests,
            missing_usage_requests: row.missing_usage_requests,
            partial_requests: row.partial_requests,
            estimated_requests: row.estimated_requests,
            units: row.units.into(),
            estimated_cost_usd: row.estimated_cost.map(Usd),
            request_bytes: row.request_bytes,
            response_bytes: row.response_bytes,
            mean_total_us: row.mean_total_us,
            mean_first_token_us: row.mean_first_token_us,
        }
    }
}

/// Usage over a range of time, grouped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UsageSummaryJson {
    /// The start of the range, which is on a whole minute; `null` for the beginning of the ledger.
    pub since: Option<Moment>,
    /// The end of the range, exclusive, on a whole minute; `null` for now.
    pub until: Option<Moment>,
    /// The time zone of `day`.
    pub timezone: String,
    /// The groupings, in the order asked for.
    pub by: Vec<String>,
    /// One row a group that had requests. Grouped by day: in the order of the groups' values;
    /// otherwise the costliest first.
    pub rows: Vec<UsageRowJson>,
    /// Everything in the range.
    pub total: UsageRowJson,
}

impl UsageSummaryJson {
    /// The answer to `query`.
    #[must_use]
    pub fn new(query: &UsageQuery, summary: UsageSummary) -> Self {
        let by: Vec<String> = query.by.iter().map(ToString::to_string).collect();
        Self {
            since: query.since.map(|since| Moment(since.minute())),
            until: query.until.map(|until| Moment(whole_minutes(until))),
            timezone: query.timezone.iana_name().unwrap_or("UTC").to_owned(),
            rows: summary
                .rows
                .into_iter()
                .map(|row| UsageRowJson::new(row, &by))
                .collect(),
            total: UsageRowJson::new(summary.total, &[]),
            by,
        }
    }
}

/// The end of the minute that `until` lies in: roll-ups are by the minute, and what the answer says
/// is the range that was added up, not the one that was asked for.
fn whole_minutes(until: UnixMicros) -> UnixMicros {
    UnixMicros(until.0.saturating_add(59_999_999)).minute()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_tells_the_range_that_was_added_up() {
        let range = |since, until| {
            let query = UsageQuery {
                since: Some(UnixMicros(since)),
                until: Some(UnixMicros(until)),
                ..UsageQuery::default()
            };
            let summary = UsageSummaryJson::new(&query, UsageSummary::default());
            (summary.since.unwrap().0.0, summary.until.unwrap().0.0)
        };
        assert_eq!(range(60_000_000, 120_000_000), (60_000_000, 120_000_000));
        assert_eq!(range(60_000_001, 120_000_001), (60_000_000, 180_000_000));
    }
}
