//! `/api/v1/notifications` and `/api/v1/answers`: what was told to whom and what became of it, and
//! what was answered from chats.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

use super::AdminState;
use super::api::{NoParameters, page_size};
use super::error::{AnyFailure, ApiError, ErrorBody, ErrorCode};
use super::json::{ChatAnswerList, NotificationDetailJson, NotificationList};
use super::parameters::{Parameters, invalid, parsed, range};
use crate::alert::NotificationKind;
use crate::clock::UnixMicros;
use crate::ledger::query::{AnswerFilter, NotificationFilter, NotificationState};

/// Which notifications.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct NotificationsParameters {
    /// To this receiver, which need not be there any more.
    receiver: Option<String>,
    /// About this.
    #[param(value_type = Option<NotificationKind>, inline)]
    kind: Option<String>,
    /// That came to this; `open` for those that are still to be sent.
    #[param(value_type = Option<NotificationState>, inline)]
    result: Option<String>,
    /// Made at this time or later: RFC 3339, a date, or how long ago (`90m`, `7d`).
    #[param(example = "7d")]
    since: Option<String>,
    /// Made before this time.
    until: Option<String>,
    /// `next` of the page before.
    cursor: Option<String>,
    /// At most so many, 1 to 1,000; 100 when not given.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
}

/// Which answers.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct AnswersParameters {
    /// By this receiver, which need not be there any more.
    receiver: Option<String>,
    /// At this time or later: RFC 3339, a date, or how long ago (`90m`, `7d`).
    #[param(example = "7d")]
    since: Option<String>,
    /// Before this time.
    until: Option<String>,
    /// `next` of the page before.
    cursor: Option<String>,
    /// At most so many, 1 to 1,000; 100 when not given.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
}

/// What was told to whom and what became of it, the newest first.
#[utoipa::path(
    get,
    path = "/api/v1/notifications",
    params(NotificationsParameters),
    responses((status = 200, body = NotificationList), AnyFailure),
    security((), ("bearer" = [])),
)]
pub(super) async fn list(
    State(state): State<Arc<AdminState>>,
    Parameters(given): Parameters<NotificationsParameters>,
) -> Result<Json<NotificationList>, ApiError> {
    let now = UnixMicros::now();
    let (since, until) = range([&given.since, &given.until], now, &state.timezone)?;
    let filter = NotificationFilter {
        kind: parsed("kind", given.kind.as_deref())?,
        state: parsed("result", given.result.as_deref())?,
        since,
        until,
        cursor: parsed("cursor", given.cursor.as_deref())?,
        receiver: given.receiver,
        limit: page_size(given.limit.as_deref(), NotificationFilter::default().limit)?,
    };
    let page = state
        .readers
        .ask(move |reader| reader.notifications(&filter));
    let page = page.await?;
    Ok(Json(NotificationList {
        notifications: page.events.iter().map(Into::into).collect(),
        next: page.next.map(|cursor| cursor.to_string()),
    }))
}

/// One notification with what it tells.
#[utoipa::path(
    get,
    path = "/api/v1/notifications/{id}",
    params(("id" = String, Path, format = "uuid", description = "The notification's id.")),
    responses(
        (status = 200, body = NotificationDetailJson),
        (status = 404, body = ErrorBody, description = "The ledger has no such notification."),
        AnyFailure,
    ),
    security((), ("bearer" = [])),
)]
pub(super) async fn one(
    State(state): State<Arc<AdminState>>,
    Path(id): Path<String>,
    _: Parameters<NoParameters>,
) -> Result<Json<NotificationDetailJson>, ApiError> {
    let id: Uuid = id.parse().map_err(|_| {
        let message = format!("`{id}` is not the id of a notification (a UUID)");
        invalid("id", message)
    })?;
    let found = state.readers.ask(move |reader| reader.notification(id));
    match found.await? {
        Some(found) => Ok(Json((&found).into())),
        None => Err(ApiError::parameter(
            ErrorCode::NotFound,
            "id",
            format!("the ledger has no notification {id}; it may have expired"),
        )),
    }
}

/// What was answered and commanded from chats, the newest first.
#[utoipa::path(
    get,
    path = "/api/v1/answers",
    params(AnswersParameters),
    responses((status = 200, body = ChatAnswerList), AnyFailure),
    security((), ("bearer" = [])),
)]
pub(super) async fn answers(
    State(state): State<Arc<AdminState>>,
    Parameters(given): Parameters<AnswersParameters>,
) -> Result<Json<ChatAnswerList>, ApiError> {
    let now = UnixMicros::now();
    let (since, until) = range([&given.since, &given.until], now, &state.timezone)?;
    let filter = AnswerFilter {
        since,
        until,
        cursor: parsed("cursor", given.cursor.as_deref())?,
        receiver: given.receiver,
        limit: page_size(given.limit.as_deref(), AnswerFilter::default().limit)?,
    };
    let page = state.readers.ask(move |reader| reader.answers(&filter));
    let page = page.await?;
    Ok(Json(ChatAnswerList {
        answers: page.events.iter().map(Into::into).collect(),
        next: page.next.map(|cursor| cursor.to_string()),
    }))
}
