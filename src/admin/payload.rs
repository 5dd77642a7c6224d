//! The handler of `/api/v1/requests/{id}/payload`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};

use super::AdminState;
use super::api::{NoParameters, request_id};
use super::error::{AnyFailure, ApiError, ErrorBody, ErrorCode};
use super::json::PayloadJson;
use super::parameters::Parameters;
use crate::payloads;

/// The bytes of one request and its answer, where they were kept.
#[utoipa::path(
    get,
    path = "/api/v1/requests/{id}/payload",
    params(("id" = String, Path, format = "uuid", description = "The request's id.")),
    responses(
        (status = 200, body = PayloadJson),
        (status = 404, body = ErrorBody, description = "None was kept, or not any more."),
        AnyFailure,
    ),
    security((), ("bearer" = [])),
)]
pub(super) async fn payload(
    State(state): State<Arc<AdminState>>,
    Path(id): Path<String>,
    _: Parameters<NoParameters>,
) -> Result<Json<PayloadJson>, ApiError> {
    let id = request_id(&id)?;
    let turn = state.readers.turn().await?;
    let found = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        payloads::read(&state.data_dir, id)
    })
    .await;
    match found {
        Ok(Ok(Some(payload))) => Ok(Json(payload.into())),
        Ok(Ok(None)) => Err(ApiError::parameter(
            ErrorCode::NotFound,
            "id",
            format!(
                "no payload of the request {id} was kept, or it has expired; \
                 `payloads.capture` of the settings says which are"
            ),
        )),
        Ok(Err(error)) => {
            tracing::error!(%error, "a payload cannot be read for the admin API");
            Err(unreadable())
        }
        Err(error) => {
            tracing::error!(%error, "reading a payload failed");
            Err(unreadable())
        }
    }
}

fn unreadable() -> ApiError {
    ApiError::new(
        ErrorCode::Internal,
        "the payload cannot be read; the log says why",
    )
}
