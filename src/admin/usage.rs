//! The handlers of `/api/v1/usage/…` and `/api/v1/errors`.

mod parameters;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::AdminState;
use super::error::{AnyFailure, ApiError};
use super::json::{ErrorList, HeatmapJson, TimeseriesJson, TopJson, UsageSummaryJson};
use super::parameters::Parameters;
use crate::clock::UnixMicros;
use crate::ledger::PriceBook;
use crate::ledger::query::PricesAt;

use parameters::{
    ErrorsParameters, HeatmapParameters, TimeseriesParameters, TopParameters, UsageParameters,
};

/// The state as handlers get it.
type Shared = State<Arc<AdminState>>;

impl AdminState {
    /// The prices in force.
    fn prices_at(&self, now: UnixMicros) -> PricesAt {
        PricesAt {
            book: PriceBook {
                table: self.prices.table(),
                sellers: Arc::clone(&self.sellers),
            },
            at: now,
        }
    }
}

/// Usage over a range of time: sums of requests, tokens and cost, grouped.
#[utoipa::path(
    get,
    path = "/api/v1/usage/summary",
    params(UsageParameters),
    responses((status = 200, body = UsageSummaryJson), AnyFailure),
    security((), ("bearer" = [])),
)]
pub(super) async fn summary(
    State(state): Shared,
    Parameters(given): Parameters<UsageParameters>,
) -> Result<Json<UsageSummaryJson>, ApiError> {
    let now = UnixMicros::now();
    let mut query = given.query(now, &state.timezone)?;
    query.prices = Some(state.prices_at(now));
    let summary = state.readers.ask(move |reader| {
        let summary = reader.usage(&query)?;
        Ok(UsageSummaryJson::new(&query, summary))
    });
    Ok(Json(summary.await?))
}

/// Usage over time: sums for each step of a range, grouped. What had no requests in a step has no row
/// of it.
#[utoipa::path(
    get,
    path = "/api/v1/usage/timeseries",
    params(TimeseriesParameters),
    responses((status = 200, body = TimeseriesJson), AnyFailure),
    security((), ("bearer" = [])),
)]
pub(super) async fn timeseries(
    State(state): Shared,
    Parameters(given): Parameters<TimeseriesParameters>,
) -> Result<Json<TimeseriesJson>, ApiError> {
    let now = UnixMicros::now();
    let mut query = given.query(now, &state.timezone)?;
    query.usage.prices = Some(state.prices_at(now));
    let series = state.readers.ask(move |reader| {
        let series = reader.timeseries(&query)?;
        Ok(TimeseriesJson::new(&query, series))
    });
    Ok(Json(series.await?))
}

/// Usage by calendar: for each day of a range, or for each hour of the week. Those without requests
/// have a row too.
#[utoipa::path(
    get,
    path = "/api/v1/usage/heatmap",
    params(HeatmapParameters),
    responses((status = 200, body = HeatmapJson), AnyFailure),
    security((), ("bearer" = [])),
)]
pub(super) async fn heatmap(
    State(state): Shared,
    Parameters(given): Parameters<HeatmapParameters>,
) -> Result<Json<HeatmapJson>, ApiError> {
    let now = UnixMicros::now();
    let (of, mut query) = given.query(now, &state.timezone)?;
    query.prices = Some(state.prices_at(now));
    let heatmap = state
        .readers
        .ask(move |reader| HeatmapJson::read(of, &query, reader));
    Ok(Json(heatmap.await?))
}

/// Who used most: groups in the order of what they cost or used, with their share of all.
#[utoipa::path(
    get,
    path = "/api/v1/usage/top",
    params(TopParameters),
    responses((status = 200, body = TopJson), AnyFailure),
    security((), ("bearer" = [])),
)]
pub(super) async fn top(
    State(state): Shared,
    Parameters(given): Parameters<TopParameters>,
) -> Result<Json<TopJson>, ApiError> {
    let now = UnixMicros::now();
    let mut query = given.query(now, &state.timezone)?;
    query.usage.prices = Some(state.prices_at(now));
    let top = state.readers.ask(move |reader| {
        let rows = reader.top(&query)?;
        Ok(TopJson::new(&query, rows))
    });
    Ok(Json(top.await?))
}

/// What failed, by its kind, the most frequent first, with the last of each.
#[utoipa::path(
    get,
    path = "/api/v1/errors",
    params(ErrorsParameters),
    responses((status = 200, body = ErrorList), AnyFailure),
    security((), ("bearer" = [])),
)]
pub(super) async fn errors(
    State(state): Shared,
    Parameters(given): Parameters<ErrorsParameters>,
) -> Result<Json<ErrorList>, ApiError> {
    let query = given.query(UnixMicros::now(), &state.timezone)?;
    let list = state.readers.ask(move |reader| {
        let errors = reader.errors(&query)?;
        Ok(ErrorList::new(&query, errors))
    });
    Ok(Json(list.await?))
}
