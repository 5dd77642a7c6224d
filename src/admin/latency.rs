//! The handler of `/api/v1/latency`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use jiff::tz::TimeZone;
use serde::Deserialize;
use utoipa::IntoParams;

use super::AdminState;
use super::api::{RANKING_LOOKS_BACK, outcomes, page_size};
use super::error::{AnyFailure, ApiError};
use super::json::LatencyJson;
use super::parameters::{Parameters, groupings, range, until_now, usage_filter};
use crate::clock::UnixMicros;
use crate::ledger::query::LatencyQuery;

/// Rows where no `limit` is given.
const USUAL_ROWS: u32 = 100;

/// How long which requests took.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct LatencyParameters {
    /// Started at this time or later: RFC 3339, a date, or how long ago (`90m`, `7d`); 7 days before `until` when
    /// not given.
    #[param(example = "7d")]
    since: Option<String>,
    /// Started before this time; now when not given.
    until: Option<String>,
    /// One row for each combination of these, separated by commas: `model`, `channel`, `key`, `api`, `tier`.
    #[param(example = "model")]
    by: Option<String>,
    /// Sent to one of these channels: names or patterns (`*`, `?`), separated by commas.
    channel: Option<String>,
    /// Answered by one of these models, likewise; where the provider named none, asked for it.
    #[param(example = "gpt-5*,o4-mini")]
    model: Option<String>,
    /// Calling one of these APIs, likewise.
    api: Option<String>,
    /// Of client keys of these names, likewise.
    key: Option<String>,
    /// That ended in one of these ways, likewise; `failed` stands for every outcome but `ok` and
    /// `client_closed`.
    #[param(example = "ok")]
    outcome: Option<String>,
    /// At most so many rows, those of most requests, 1 to 1,000; 100 when not given.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
}

/// How long requests took: percentiles of each phase. Read from the requests, so no further back than the
/// ledger's retention: `known_since`. At most 50,000 requests are read, of minutes in which there are some with
/// this channel, model, API and key; those that are not asked for count too. Where there are more, minutes are read
/// that are spread evenly over the range, of busy ones a part, and `sampled` says so.
#[utoipa::path(
    get,
    path = "/api/v1/latency",
    params(LatencyParameters),
    responses((status = 200, body = LatencyJson), AnyFailure),
    security((), ("bearer" = [])),
)]
pub(super) async fn latency(
    State(state): State<Arc<AdminState>>,
    Parameters(given): Parameters<LatencyParameters>,
) -> Result<Json<LatencyJson>, ApiError> {
    let query = given.query(UnixMicros::now(), &state.timezone)?;
    let latency = state.readers.ask(move |reader| {
        let found = reader.latencies(&query)?;
        Ok(LatencyJson::new(&query, found))
    });
    Ok(Json(latency.await?))
}

impl LatencyParameters {
    fn query(&self, now: UnixMicros, timezone: &TimeZone) -> Result<LatencyQuery, ApiError> {
        let range = range([&self.since, &self.until], now, timezone)?;
        let until = until_now(range, now);
        let since = range.0.unwrap_or_else(|| until.minus(RANKING_LOOKS_BACK));
        let limit = page_size(self.limit.as_deref(), USUAL_ROWS)?;
        Ok(LatencyQuery {
            since,
            until,
            filter: usage_filter([&self.channel, &self.model, &self.api, &self.key])?,
            outcome: outcomes(self.outcome.as_deref())?,
            by: groupings(self.by.as_deref())?,
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
        })
    }
}
