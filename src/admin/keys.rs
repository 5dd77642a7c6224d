//! `/api/v1/keys`.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use jiff::tz::TimeZone;
use serde::Deserialize;
use utoipa::IntoParams;

use super::AdminState;
use super::api::NoParameters;
use super::error::{AnyFailure, ApiError, ErrorBody, ErrorCode};
use super::json::{KeyJson, KeyList, KeyRequest, KeysOffJson, MadeKeyJson};
use super::moment::{DeadlineError, parse_deadline};
use super::parameters::{Parameters, invalid};
use crate::clock::UnixMicros;
use crate::config::{KeyGrant, ModelPattern};
use crate::keys::{BadKey, Keys, KeysError, NewKey};
use crate::ledger::{KeyError, Reader};

/// Who makes a key that does not say.
const NOBODY: &str = "admin API";

/// A path whose only parameter stands in it.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct NamedKey {
    /// The key's name.
    name: String,
}

/// Every key that there is or was, never what its client shows.
#[utoipa::path(
    get,
    path = "/api/v1/keys",
    responses((status = 200, body = KeyList), AnyFailure),
    security((), ("bearer" = [])),
)]
pub(super) async fn list(
    State(state): State<Arc<AdminState>>,
    _: Parameters<NoParameters>,
) -> Result<Json<KeyList>, ApiError> {
    let made = match state.readers.ask(Reader::keys).await {
        // None was made. The settings' are good all the same.
        Err(none) if none.code() == ErrorCode::NoLedger => Vec::new(),
        made => made?,
    };
    let required = state.keys.are_required();
    let of_settings = state.keys.of_settings();
    let list = KeyList::new(
        required,
        of_settings,
        &made,
        &state.channels.settings,
        UnixMicros::now(),
    );
    Ok(Json(list))
}

/// Makes a key, which is good from the answer on. From the first key on, every request needs one.
#[utoipa::path(
    post,
    path = "/api/v1/keys",
    request_body = KeyRequest,
    responses(
        (status = 200, body = MadeKeyJson, description = "The key, told this once."),
        (status = 409, body = ErrorBody, description = "There is a key of this name."),
        AnyFailure,
    ),
    security((), ("bearer" = [])),
)]
pub(super) async fn create(
    State(state): State<Arc<AdminState>>,
    _: Parameters<NoParameters>,
    request: Result<Json<KeyRequest>, JsonRejection>,
) -> Result<Json<MadeKeyJson>, ApiError> {
    let Json(request) = request
        .map_err(|rejected| ApiError::new(ErrorCode::InvalidParameter, rejected.body_text()))?;
    let now = UnixMicros::now();
    let key = new_key(request, now, &state.timezone)
        .map_err(|error| invalid("expires", format!("expires: {error}")))?;
    let made = work(&state, move |keys| keys.create(key, now)).await?;
    Ok(Json(MadeKeyJson::new(&made, &state.channels.settings, now)))
}

/// Revokes a key: it is good for nothing from before the answer on. Requests on their way go on.
#[utoipa::path(
    post,
    path = "/api/v1/keys/{name}/revoke",
    params(NamedKey),
    responses(
        (status = 200, body = KeyJson),
        (status = 404, body = ErrorBody, description = "No key of this name that could be revoked."),
        AnyFailure,
    ),
    security((), ("bearer" = [])),
)]
pub(super) async fn revoke(
    State(state): State<Arc<AdminState>>,
    Path(named): Path<NamedKey>,
    _: Parameters<NoParameters>,
) -> Result<Json<KeyJson>, ApiError> {
    let now = UnixMicros::now();
    let name = Arc::from(named.name);
    let revoked = work(&state, move |keys| keys.revoke(&name, now)).await?;
    Ok(Json(KeyJson::made(&revoked, &state.channels.settings, now)))
}

/// Stops requiring keys, from before the answer on. Refused while any is left: one of the settings,
/// or one that was made and not revoked, be it expired.
#[utoipa::path(
    post,
    path = "/api/v1/keys/off",
    responses(
        (status = 200, body = KeysOffJson),
        (status = 409, body = ErrorBody, description = "Keys are left, which the message names."),
        AnyFailure,
    ),
    security((), ("bearer" = [])),
)]
pub(super) async fn off(
    State(state): State<Arc<AdminState>>,
    _: Parameters<NoParameters>,
) -> Result<Json<KeysOffJson>, ApiError> {
    let changed = work(&state, Keys::off).await?;
    Ok(Json(KeysOffJson { changed }))
}

/// The key that is asked for.
pub(crate) fn new_key(
    request: KeyRequest,
    now: UnixMicros,
    timezone: &TimeZone,
) -> Result<NewKey, DeadlineError> {
    let names = |list: Vec<String>| list.into_iter().map(Arc::from).collect();
    let patterns = |list: Vec<String>| list.iter().map(|text| ModelPattern::new(text)).collect();
    let expires_at = request
        .expires
        .map(|text| parse_deadline(&text, now, timezone))
        .transpose()?;
    Ok(NewKey {
        name: request.name.into(),
        grant: KeyGrant {
            expires_at,
            models: request.models.map(patterns),
            channels: request.channels.map(names),
            channel: request.channel.map(Arc::from),
            tags: request.tags,
        },
        made_by: request.by.map_or_else(|| NOBODY.into(), Arc::from),
    })
}

/// Works on the keys on a thread that may block. It goes on when the client leaves.
async fn work<T: Send + 'static>(
    state: &AdminState,
    work: impl FnOnce(&Keys) -> Result<T, KeysError> + Send + 'static,
) -> Result<T, ApiError> {
    let keys = Arc::clone(&state.keys);
    tokio::task::spawn_blocking(move || work(&keys))
        .await
        .unwrap_or(Err(KeyError::Fault.into()))
        .map_err(refused)
}

/// A reason that holds paths is logged and not told.
fn refused(error: KeysError) -> ApiError {
    match error {
        KeysError::Bad(bad) => invalid(parameter(&bad), bad.to_string()),
        KeysError::Ledger(taken @ KeyError::Taken(_)) => {
            ApiError::parameter(ErrorCode::Conflict, "name", taken.to_string())
        }
        left @ (KeysError::InSettings(_) | KeysError::Ledger(KeyError::Living(_))) => {
            ApiError::new(ErrorCode::Conflict, left.to_string())
        }
        KeysError::Ledger(none @ KeyError::NoSuchKey(_)) => {
            ApiError::parameter(ErrorCode::NotFound, "name", none.to_string())
        }
        KeysError::Ledger(busy @ KeyError::NotWriter) => {
            ApiError::new(ErrorCode::Busy, busy.to_string())
        }
        KeysError::Read(error) => ApiError::ledger(&error),
        KeysError::Pepper(error) => {
            tracing::error!(%error, "no key can be made");
            ApiError::new(
                ErrorCode::Internal,
                "the secret of the keys (`key-secret` in `data_dir`) cannot be kept, so no key was \
                 made; the log says why",
            )
        }
        KeysError::Ledger(
            KeyError::Open(_) | KeyError::Write { .. } | KeyError::Marker { .. } | KeyError::Fault,
        ) => {
            tracing::error!(%error, "the clients' keys cannot be changed");
            ApiError::new(
                ErrorCode::Internal,
                "the ledger cannot be written, so nothing was changed; the log says why",
            )
        }
    }
}

/// The field that is at fault.
fn parameter(bad: &BadKey) -> &'static str {
    match bad {
        BadKey::Name(_) | BadKey::Fingerprint(_) | BadKey::OfSettings(_) => "name",
        BadKey::Expired(_) => "expires",
        BadKey::NoModel => "models",
        BadKey::NoChannel | BadKey::NoSuchChannel(_) => "channels",
        BadKey::Channel(_) => "channel",
        BadKey::Tag(_) => "tags",
        BadKey::Maker => "by",
    }
}
