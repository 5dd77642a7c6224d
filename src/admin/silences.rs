//! `/api/v1/silences`: times in which nobody is told of some alerts. What alerts do goes on.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use jiff::tz::TimeZone;
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

use super::AdminState;
use super::api::NoParameters;
use super::channels::{LONGEST_NAME, LONGEST_REASON, bounded};
use super::error::{AnyFailure, ApiError, ErrorBody, ErrorCode};
use super::json::{SilenceJson, SilenceList, SilenceRequest};
use super::moment::{parse_deadline, parse_span};
use super::parameters::{Parameters, invalid, parsed};
use crate::alert::{BadSilence, Silence, SilenceMatcher};
use crate::clock::UnixMicros;
use crate::ledger::{Reader, SilenceError, SilenceWriter};

/// Who makes a silence that does not say.
const NOBODY: &str = "admin API";

/// Which silences.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct SilencesParameters {
    /// `true`: those that are over as well.
    #[param(value_type = Option<bool>)]
    all: Option<String>,
}

/// The silences that hold or will, in the order of their making.
#[utoipa::path(
    get,
    path = "/api/v1/silences",
    params(SilencesParameters),
    responses((status = 200, body = SilenceList), AnyFailure),
    security((), ("bearer" = [])),
)]
pub(super) async fn list(
    State(state): State<Arc<AdminState>>,
    Parameters(given): Parameters<SilencesParameters>,
) -> Result<Json<SilenceList>, ApiError> {
    let all = parsed("all", given.all.as_deref())?.unwrap_or(false);
    let now = UnixMicros::now();
    let silences = stored(&state).await?;
    let wanted = silences
        .iter()
        .filter(|silence| all || !silence.is_over(now));
    Ok(Json(SilenceList {
        silences: wanted
            .map(|silence| SilenceJson::new(silence, now))
            .collect(),
    }))
}

/// Makes a silence, which holds from its start on, at the earliest from the answer on.
#[utoipa::path(
    post,
    path = "/api/v1/silences",
    request_body = SilenceRequest,
    responses((status = 200, body = SilenceJson), AnyFailure),
    security((), ("bearer" = [])),
)]
pub(super) async fn create(
    State(state): State<Arc<AdminState>>,
    _: Parameters<NoParameters>,
    request: Result<Json<SilenceRequest>, JsonRejection>,
) -> Result<Json<SilenceJson>, ApiError> {
    let Json(request) = request
        .map_err(|rejected| ApiError::new(ErrorCode::InvalidParameter, rejected.body_text()))?;
    let now = UnixMicros::now();
    let silence = silence(request, now, &state.timezone)?;
    let kept = silence.clone();
    work(&state, move |silences| silences.create(kept)).await?;
    Ok(Json(SilenceJson::new(&silence, now)))
}

/// Ends a silence: it holds no longer from the answer on. It stays in the list of all.
#[utoipa::path(
    delete,
    path = "/api/v1/silences/{id}",
    params(("id" = String, Path, format = "uuid", description = "The silence's id.")),
    responses(
        (status = 200, body = SilenceJson),
        (status = 404, body = ErrorBody, description = "There is no such silence."),
        (status = 409, body = ErrorBody, description = "It is over already."),
        AnyFailure,
    ),
    security((), ("bearer" = [])),
)]
pub(super) async fn end(
    State(state): State<Arc<AdminState>>,
    Path(id): Path<String>,
    _: Parameters<NoParameters>,
) -> Result<Json<SilenceJson>, ApiError> {
    let id: Uuid = id
        .parse()
        .map_err(|_| invalid("id", format!("`{id}` is not the id of a silence (a UUID)")))?;
    let now = UnixMicros::now();
    work(&state, move |silences| silences.end(id, now)).await?;
    let silences = stored(&state).await?;
    let ended = silences.iter().find(|silence| silence.id == id);
    let ended = ended.ok_or_else(|| refused(SilenceError::NoSuchSilence(id)))?;
    Ok(Json(SilenceJson::new(ended, now)))
}

/// Every silence there ever was.
pub(super) async fn stored(state: &AdminState) -> Result<Vec<Silence>, ApiError> {
    match state.readers.ask(Reader::silences).await {
        // None was made.
        Err(none) if none.code() == ErrorCode::NoLedger => Ok(Vec::new()),
        silences => silences,
    }
}

/// The silence that is asked for.
fn silence(
    request: SilenceRequest,
    now: UnixMicros,
    timezone: &TimeZone,
) -> Result<Silence, ApiError> {
    let time = |name, text: &str| {
        parse_deadline(text, now, timezone)
            .map_err(|error| invalid(name, format!("{name}: {error}")))
    };
    let starts_at = match &request.starts_at {
        Some(text) => time("starts_at", text)?,
        None => now,
    };
    let ends_at = match (&request.ends_at, &request.span) {
        (Some(text), None) => time("ends_at", text)?,
        (None, Some(text)) => {
            let span = parse_span(text).map_err(|error| invalid("for", format!("for: {error}")))?;
            starts_at.plus(span)
        }
        (Some(_), Some(_)) => {
            let message = "`ends_at` and `for` both say when it ends; give one of them";
            return Err(invalid("for", message));
        }
        (None, None) => {
            let message = "nothing says when it ends; give `for` (as `2h`) or `ends_at`";
            return Err(invalid("ends_at", message));
        }
    };
    let by = bounded("created_by", request.created_by, LONGEST_NAME)?;
    let comment = bounded("comment", request.comment, LONGEST_REASON)?;
    let matchers = request.matchers.into_iter();
    Ok(Silence {
        id: Uuid::now_v7(),
        matchers: matchers
            .map(|(name, value)| SilenceMatcher::new(name.into(), value.into()))
            .collect(),
        starts_at,
        ends_at,
        created_at: now,
        created_by: by.unwrap_or_else(|| NOBODY.into()),
        comment: comment.unwrap_or_default(),
        ended_at: None,
    })
}

/// Has silences changed on a thread that may block. It goes on when the client leaves.
async fn work(
    state: &AdminState,
    work: impl FnOnce(&SilenceWriter) -> Result<(), SilenceError> + Send + 'static,
) -> Result<(), ApiError> {
    let silences = state.silences.clone();
    tokio::task::spawn_blocking(move || work(&silences))
        .await
        .unwrap_or(Err(SilenceError::Fault))
        .map_err(refused)
}

/// A reason that holds paths is logged and not told.
fn refused(error: SilenceError) -> ApiError {
    match error {
        SilenceError::Bad(bad) => {
            let parameter = match bad {
                BadSilence::NoMatchers => "matchers",
                BadSilence::EndsFirst { .. } => "ends_at",
            };
            invalid(parameter, bad.to_string())
        }
        none @ SilenceError::NoSuchSilence(_) => {
            ApiError::parameter(ErrorCode::NotFound, "id", none.to_string())
        }
        late @ (SilenceError::Over { .. } | SilenceError::Taken(_)) => {
            ApiError::parameter(ErrorCode::Conflict, "id", late.to_string())
        }
        busy @ SilenceError::NotWriter => ApiError::new(ErrorCode::Busy, busy.to_string()),
        SilenceError::Read(error) => ApiError::ledger(&error),
        SilenceError::Open(_) | SilenceError::Write { .. } | SilenceError::Fault => {
            tracing::error!(%error, "the silences cannot be changed");
            ApiError::new(
                ErrorCode::Internal,
                "the ledger cannot be written, so nothing was changed; the log says why",
            )
        }
    }
}
