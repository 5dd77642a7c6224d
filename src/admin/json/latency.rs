//! How long requests took.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Moment, PhaseDurations};
use crate::ledger::query::{Latencies, LatencyQuery, LatencyRow};

/// How long requests took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LatencyJson {
    /// From this time on, by when requests started.
    pub since: Moment,
    /// Up to but without this time.
    pub until: Moment,
    /// What the rows are grouped by.
    pub by: Vec<String>,
    /// From when on the ledger has requests; `null` where it has none. What of the range is before that is in no row.
    pub known_since: Option<Moment>,
    /// Whether the rows are of a sample: there were more requests than are read for one answer. Then
    /// `minutes_read` of `minutes` were read whole, and of others a part, spread evenly over the range.
    pub sampled: bool,
    /// Minutes of the range in which there may be such requests.
    pub minutes: u64,
    /// How many of them were read whole.
    pub minutes_read: u64,
    /// One row a group; those of most requests first. None where there were no requests.
    pub rows: Vec<LatencyRowJson>,
}

/// How long the requests of one group took. A percentile is the duration that so many of a hundred
/// requests do not exceed, of those that reached the phase; `null` where none did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LatencyRowJson {
    /// What the group has in common, by grouping: `{"model": "gpt-5"}`. `null` where requests have none.
    pub group: BTreeMap<String, Option<String>>,
    /// How many were read.
    pub requests: u64,
    /// How many of them reached a first token: only streams do.
    pub first_tokens: u64,
    /// What half of them do not exceed.
    pub p50: PhaseDurations,
    /// What 90 of a hundred do not exceed.
    pub p90: PhaseDurations,
    /// What 95 of a hundred do not exceed.
    pub p95: PhaseDurations,
    /// What 99 of a hundred do not exceed.
    pub p99: PhaseDurations,
}

impl LatencyJson {
    /// The answer to `query`.
    #[must_use]
    pub fn new(query: &LatencyQuery, found: Latencies) -> Self {
        let by: Vec<String> = query.by.iter().map(ToString::to_string).collect();
        let rows = found.rows.into_iter();
        Self {
            since: Moment(query.since),
            until: Moment(query.until),
            known_since: found.known_since.map(Moment),
            sampled: found.minutes_read < found.minutes,
            minutes: found.minutes,
            minutes_read: found.minutes_read,
            rows: rows.map(|row| LatencyRowJson::new(&by, row)).collect(),
            by,
        }
    }
}

impl LatencyRowJson {
    fn new(by: &[String], row: LatencyRow) -> Self {
        let [p50, p90, p95, p99] = row.percentiles.map(PhaseDurations::from);
        Self {
            group: by.iter().cloned().zip(row.group).collect(),
            requests: row.requests,
            first_tokens: row.first_tokens,
            p50,
            p90,
            p95,
            p99,
        }
    }
}
