//! `/api/v1/prices`: the prices in use.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use super::AdminState;
use super::api::MAX_LIMIT;
use super::error::{AnyFailure, ApiError};
use super::json::{Moment, PriceFilter, PriceList};
use super::parameters::{Parameters, invalid, parsed};

/// Prices in one answer, where no other number is asked for.
const USUAL_LIMIT: usize = 100;

/// Which prices.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PricesParameters {
    /// Of models whose name holds this text.
    #[param(example = "gpt-5")]
    model: Option<String>,
    /// Charged by this provider.
    #[param(example = "openai")]
    provider: Option<String>,
    /// At most so many, 1 to 1,000; 100 when not given.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
}

/// The prices in use: the operator's files, the catalogue, what Tollgate ships.
#[utoipa::path(
    get,
    path = "/api/v1/prices",
    params(PricesParameters),
    responses((status = 200, body = PriceList), AnyFailure),
    security((), ("bearer" = [])),
)]
pub(super) async fn prices(
    State(state): State<Arc<AdminState>>,
    Parameters(given): Parameters<PricesParameters>,
) -> Result<Json<PriceList>, ApiError> {
    let limit = match parsed::<u32>("limit", given.limit.as_deref())? {
        None => USUAL_LIMIT,
        Some(limit @ 1..=MAX_LIMIT) => limit as usize,
        Some(_) => return Err(invalid("limit", format!("limit is 1 to {MAX_LIMIT}"))),
    };
    let filter = PriceFilter {
        model: given.model,
        provider: given.provider,
    };
    let confirmed = state.prices.refreshes.last_success().map(Moment);
    Ok(Json(PriceList::new(
        &state.prices.table(),
        confirmed,
        &filter,
        limit,
    )))
}
