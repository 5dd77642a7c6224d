//! `/api/v1/rules`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::AdminState;
use super::api::NoParameters;
use super::error::{AnyFailure, ApiError};
use super::json::{RuleJson, RuleList};
use super::parameters::Parameters;
use super::silences::stored;
use crate::clock::UnixMicros;

/// Every rule with its alerts, in the order of the files.
#[utoipa::path(
    get,
    path = "/api/v1/rules",
    responses((status = 200, body = RuleList), AnyFailure),
    security((), ("bearer" = [])),
)]
pub(super) async fn rules(
    State(state): State<Arc<AdminState>>,
    _: Parameters<NoParameters>,
) -> Result<Json<RuleList>, ApiError> {
    let silences = stored(&state).await.ok();
    let now = UnixMicros::now();
    let views = state.rules.view(now).into_iter();
    Ok(Json(RuleList {
        rules: views
            .map(|view| RuleJson::new(&view, silences.as_deref(), now))
            .collect(),
    }))
}
