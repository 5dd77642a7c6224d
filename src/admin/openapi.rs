//! `/api/v1/openapi.json`: the API's description, drawn from the handlers and their types.

use std::sync::LazyLock;

use axum::response::IntoResponse;
use http::header;
use utoipa::openapi::schema::Schema;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{OpenApi as Document, RefOr};
use utoipa::{Modify, OpenApi};

use super::alerts;
use super::api::{self, NoParameters};
use super::channels;
use super::error::{AnyFailure, ErrorBody};
use super::health;
use super::keys;
use super::latency;
use super::notifications;
use super::parameters::Parameters;
use super::payload;
use super::prices;
use super::quota;
use super::repricing;
use super::rules;
use super::silences;
use super::usage;

/// The document.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tollgate admin API",
        description = "Usage and requests as the ledger has them. A POST or DELETE changes something. Times are RFC 3339 in UTC, money \
                       is decimal strings of USD, unknown is null.",
    ),
    paths(
        health::metrics,
        health::livez,
        health::readyz,
        api::info,
        api::requests,
        api::request,
        payload::payload,
        usage::summary,
        usage::timeseries,
        usage::heatmap,
        usage::top,
        usage::errors,
        latency::latency,
        quota::quota,
        channels::channels,
        channels::channel,
        channels::disable,
        channels::enable,
        channels::events,
        rules::rules,
        alerts::alerts,
        alerts::events,
        silences::list,
        silences::create,
        silences::end,
        notifications::list,
        notifications::one,
        notifications::answers,
        prices::prices,
        repricing::reprice,
        keys::list,
        keys::create,
        keys::revoke,
        keys::off,
        openapi_json,
    ),
    components(schemas(ErrorBody)),
    modifiers(&Tokens, &AlwaysThere),
)]
struct Description;

/// The OpenAPI document of the admin port.
#[must_use]
pub fn document() -> Document {
    Description::openapi()
}

static JSON: LazyLock<serde_json::Result<String>> = LazyLock::new(|| document().to_json());

/// This document.
#[utoipa::path(
    get,
    path = "/api/v1/openapi.json",
    responses((status = 200, body = Object), AnyFailure),
    security((), ("bearer" = [])),
)]
pub(super) async fn openapi_json(_: Parameters<NoParameters>) -> impl IntoResponse {
    let json = JSON.as_ref().map_or("", String::as_str);
    ([(header::CONTENT_TYPE, "application/json")], json)
}

/// The two tokens.
struct Tokens;

impl Modify for Tokens {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_default();
        for (name, setting) in [
            (
                "bearer",
                "`admin.token_file` of the settings, where it is set; `admin.read_token_file` for GET.",
            ),
            (
                "metrics_bearer",
                "`admin.metrics_token_file` of the settings, where it is set.",
            ),
        ] {
            let scheme = HttpBuilder::new()
                .scheme(HttpAuthScheme::Bearer)
                .description(Some(setting))
                .build();
            components.add_security_scheme(name, SecurityScheme::Http(scheme));
        }
    }
}

/// Says that every field of every answer is there: unknown is null, never left out. The derive
/// takes an `Option` for one that may be missing. In what is asked it is right.
struct AlwaysThere;

/// Schemas of what is asked.
const ASKED: [&str; 2] = ["KeyRequest", "SilenceRequest"];

impl Modify for AlwaysThere {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_default();
        for (name, schema) in &mut components.schemas {
            if !ASKED.contains(&name.as_str()) {
                require_all(schema);
            }
        }
    }
}

fn require_all(schema: &mut RefOr<Schema>) {
    match schema {
        RefOr::T(Schema::Object(object)) => {
            object.required = object.properties.keys().cloned().collect();
        }
        RefOr::T(Schema::AllOf(parts)) => parts.items.iter_mut().for_each(require_all),
        _ => {}
    }
}
