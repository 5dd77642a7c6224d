//! Metrics and health: what machines ask, often.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};

use super::AdminState;
use super::error::{ApiError, ErrorCode};
use super::exposition::{CONTENT_TYPE, encode};

/// Everything that is counted, in Prometheus' text format.
#[utoipa::path(
    get,
    path = "/metrics",
    responses(
        (status = 200, body = String, content_type = "text/plain; version=0.0.4; charset=utf-8"),
        (status = 401, description = "`admin.metrics_token` is set and was not shown."),
        (status = 403, description = "The `Host` header names another machine."),
    ),
    security((), ("metrics_bearer" = [])),
)]
pub(super) async fn metrics(
    State(state): State<Arc<AdminState>>,
) -> Result<impl IntoResponse, ApiError> {
    // Off the reactor: with hundreds of models this formats for milliseconds.
    let text = tokio::task::spawn_blocking(move || encode(&state.registry)).await;
    match text {
        Ok(Ok(text)) => Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text)),
        failed => {
            tracing::error!(?failed, "the metrics cannot be encoded");
            Err(ApiError::new(
                ErrorCode::Internal,
                "the metrics cannot be encoded; the log says why",
            ))
        }
    }
}

/// 200 as long as the process lives.
#[utoipa::path(
    get,
    path = "/livez",
    responses((status = 200, body = String, content_type = "text/plain")),
    security((), ("metrics_bearer" = [])),
)]
pub(super) async fn livez() -> &'static str {
    "ok\n"
}

/// 200 when traffic is welcome, else 503 with the reason as text.
#[utoipa::path(
    get,
    path = "/readyz",
    responses(
        (status = 200, body = String, content_type = "text/plain"),
        (status = 503, body = String, content_type = "text/plain", description = "Why not."),
    ),
    security((), ("metrics_bearer" = [])),
)]
pub(super) async fn readyz(State(state): State<Arc<AdminState>>) -> Response {
    match state.readiness.check(&state.keys) {
        Ok(()) => "ok\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}
