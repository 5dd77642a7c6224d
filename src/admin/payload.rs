//! The handler of `/api/v1/requests/{id}/payload`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};

use super::AdminState;
use super::api::{NoParameters, no_request, request_id};
use super::error::{AnyFailure, ApiError, ErrorBody, ErrorCode};
use super::json::PayloadJson;
use super::parameters::Parameters;
use crate::payloads;

/// The bytes of one request and its answer, where they were kept: `captured` says whether.
#[utoipa::path(
    get,
    path = "/api/v1/requests/{id}/payload",
    params(("id" = String, Path, format = "uuid", description = "The request's id.")),
    responses(
        (status = 200, body = PayloadJson),
        (status = 404, body = ErrorBody, description = "The ledger has no such request."),
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
    let data_dir = state.data_dir.clone();
    let found = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        payloads::read(&data_dir, id)
    })
    .await;
    match found {
        Ok(Ok(Some(payload))) => Ok(Json(payload.into())),
        // Of most requests none is kept: that is an answer, and a dashboard's panel stays empty by it.
        Ok(Ok(None)) => match state.readers.ask(move |reader| reader.request(id)).await? {
            Some(known) => Ok(Json(PayloadJson::not_captured(id, known.request.outcome))),
            None => Err(no_request(id)),
        },
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
