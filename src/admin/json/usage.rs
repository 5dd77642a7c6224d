//! Usage summaries.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ComparedJson, Moment, TokenCounts, UnitCounts, Usd};
use crate::ledger::query::{UsageQuery, UsageRow, UsageSummary};
use crate::record::Outcome;

/// How many requests ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OutcomeCounts {
    /// Answered whole.
    pub ok_requests: u64,
    /// The upstream failed, or judged the request wrong.
    pub upstream_error_requests: u64,
    /// The upstream asked to slow down.
    pub rate_limited_requests: u64,
    /// The upstream's account was out of money.
    pub quota_exhausted_requests: u64,
    /// The upstream took longer than a limit.
    pub timeout_requests: u64,
    /// No connection to the upstream came about.
    pub connect_error_requests: u64,
    /// The client left before the end.
    pub client_closed_requests: u64,
    /// A rule refused them.
    pub blocked_requests: u64,
    /// Tollgate refused them: no valid key, too large, and the like.
    pub refused_requests: u64,
    /// No channel could take them.
    pub no_channel_requests: u64,
    /// Nobody saw their end.
    pub interrupted_requests: u64,
    /// A fault of Tollgate's own.
    pub internal_requests: u64,
}

impl From<[u64; Outcome::ALL.len()]> for OutcomeCounts {
    fn from(counts: [u64; Outcome::ALL.len()]) -> Self {
        let of = |outcome: Outcome| counts[outcome as usize];
        Self {
            ok_requests: of(Outcome::Ok),
            upstream_error_requests: of(Outcome::UpstreamError),
            rate_limited_requests: of(Outcome::RateLimited),
            quota_exhausted_requests: of(Outcome::QuotaExhausted),
            timeout_requests: of(Outcome::Timeout),
            connect_error_requests: of(Outcome::ConnectError),
            client_closed_requests: of(Outcome::ClientClosed),
            blocked_requests: of(Outcome::Blocked),
            refused_requests: of(Outcome::Refused),
            no_channel_requests: of(Outcome::NoChannel),
            interrupted_requests: of(Outcome::Interrupted),
            internal_requests: of(Outcome::Internal),
        }
    }
}

/// Sums over requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UsageSums {
    /// How many requests.
    pub requests: u64,
    /// How many of them failed: every outcome but `ok` and `client_closed`.
    pub errors: u64,
    /// `errors` over `requests`, 0 to 1; `null` where there were no requests.
    pub error_ratio: Option<f64>,
    /// How many ended how.
    #[serde(flatten)]
    pub outcomes: OutcomeCounts,
    /// How many of these bill nothing: `blocked`, `refused`, `no_channel`, `connect_error`,
    /// `rate_limited` and `quota_exhausted`. Of the others a provider may have made something.
    pub unbilled_requests: u64,
    /// Token counts; `null` where no request stated any of that type.
    #[serde(flatten)]
    pub tokens: TokenCounts,
    /// What the priced requests cost together; `null` when none was priced. Not the whole truth
    /// while `unpriced_requests` is not 0.
    pub cost_usd: Option<Usd>,
    /// What reading input from providers' caches saved against its full price, less what writing it
    /// there cost more, by the prices in force; `null` where no price of it is known.
    pub cached_saved_usd: Option<Usd>,
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

impl From<UsageRow> for UsageSums {
    fn from(row: UsageRow) -> Self {
        Self {
            requests: row.requests,
            errors: row.errors,
            error_ratio: ratio(row.errors, row.requests),
            outcomes: OutcomeCounts::from(row.outcomes),
            unbilled_requests: row.unbilled_requests,
            tokens: TokenCounts::new(&row.tokens, row.total_tokens),
            cost_usd: row.cost.map(Usd),
            cached_saved_usd: row.cached_saved.map(Usd),
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

/// A share; of nothing there is none.
fn ratio(part: u64, whole: u64) -> Option<f64> {
    #[expect(
        clippy::cast_precision_loss,
        reason = "exact up to 2^53 requests, and a share beyond"
    )]
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Sums over the requests of one group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UsageRowJson {
    /// What the group has in common, by grouping: `{"model": "gpt-5"}`. `null` where requests have
    /// none. Empty in the total.
    pub group: BTreeMap<String, Option<String>>,
    /// Its sums.
    #[serde(flatten)]
    pub sums: UsageSums,
    /// What the group came to in the range before; `null` where the ledger does not know of all of that
    /// range, or nothing was to be compared.
    pub previous: Option<UsageSums>,
}

/// What a group has in common.
pub(super) fn named(by: &[String], group: Vec<Option<String>>) -> BTreeMap<String, Option<String>> {
    by.iter().cloned().zip(group).collect()
}

/// The range of the same length before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PreviousJson {
    /// Its beginning.
    pub since: Moment,
    /// Its end, exclusive.
    pub until: Moment,
    /// Everything in it; `null` where the ledger began after that beginning.
    pub total: Option<UsageSums>,
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
    /// The range of the same length before; `null` where nothing was to be compared.
    pub previous: Option<PreviousJson>,
    /// The range before and then this one, where they were to be compared: two rows, as a table wants
    /// them; one where the range before is not known. Otherwise none.
    pub periods: Vec<PeriodJson>,
    /// The same two rows, as what shows a change in percent wants them. Otherwise none.
    pub compared: Vec<ComparedJson>,
}

/// A range of time and what was used in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PeriodJson {
    /// Its start.
    pub since: Option<Moment>,
    /// Its end, exclusive; `null` for now.
    pub until: Option<Moment>,
    /// Everything in it.
    #[serde(flatten)]
    pub total: UsageSums,
}

impl UsageSummaryJson {
    /// The answer to `query`.
    #[must_use]
    pub fn new(query: &UsageQuery, summary: UsageSummary) -> Self {
        let by: Vec<String> = query.by.iter().map(ToString::to_string).collect();
        let (since, until) = query.range();
        let (before, rows_before) = match summary.previous {
            None => (None, Vec::new()),
            Some(previous) => {
                let (total, rows) = match previous.sums {
                    Some(sums) => (Some(sums.total.into()), sums.rows),
                    None => (None, Vec::new()),
                };
                let range = PreviousJson {
                    since: Moment(previous.since),
                    until: Moment(previous.until),
                    total,
                };
                (Some(range), rows)
            }
        };
        let total: UsageSums = summary.total.into();
        let periods = before.iter().flat_map(|before| {
            let of = |since, until, total: &UsageSums| PeriodJson {
                since,
                until,
                total: total.clone(),
            };
            let earlier = before.total.as_ref();
            let earlier = earlier.map(|sums| of(Some(before.since), Some(before.until), sums));
            earlier
                .into_iter()
                .chain([of(since.map(Moment), until.map(Moment), &total)])
        });
        let periods = periods.collect();
        let compared = before.iter().flat_map(|before| {
            let range_before = (Some(before.since), before.total.as_ref());
            ComparedJson::both(range_before, (since.map(Moment), &total))
        });
        let compared = compared.collect();
        let rows_before = rows_before
            .into_iter()
            .map(Some)
            .chain(std::iter::repeat(None));
        let rows = summary.rows.into_iter().zip(rows_before);
        Self {
            since: since.map(Moment),
            until: until.map(Moment),
            timezone: name_of(&query.timezone),
            rows: rows
                .map(|(mut row, previous)| UsageRowJson {
                    group: named(&by, std::mem::take(&mut row.group)),
                    sums: row.into(),
                    previous: previous.map(Into::into),
                })
                .collect(),
            total: UsageRowJson {
                group: BTreeMap::new(),
                sums: total,
                previous: before.as_ref().and_then(|before| before.total.clone()),
            },
            previous: before,
            periods,
            compared,
            by,
        }
    }
}

/// The name of a time zone.
pub(super) fn name_of(timezone: &TimeZone) -> String {
    timezone.iana_name().unwrap_or("UTC").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::UnixMicros;

    #[test]
    fn every_outcome_has_its_field() {
        let mut counts = [0; Outcome::ALL.len()];
        for (count, slot) in (1..).zip(&mut counts) {
            *slot = count;
        }
        let json = serde_json::to_value(OutcomeCounts::from(counts)).unwrap();
        for outcome in Outcome::ALL {
            assert_eq!(
                json[format!("{outcome}_requests")],
                counts[*outcome as usize]
            );
        }
        assert_eq!(json.as_object().unwrap().len(), Outcome::ALL.len());
    }

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
