//! The admin port: metrics, health, and the API over the ledger. Apart from traffic, so that it can
//! be closed off, and so that neither can starve the other of connections.
//!
//! A GET asks, a POST changes something: by its query, or by a JSON body where it makes something; a
//! DELETE ends what was made.

mod access;
mod alerts;
mod answers;
mod api;
mod certificate;
mod channels;
mod error;
mod exposition;
mod health;
mod info;
pub mod json;
mod keys;
mod latency;
mod moment;
mod notifications;
mod openapi;
mod parameters;
mod payload;
mod prices;
mod quota;
mod readers;
mod readiness;
mod reloads;
mod repricing;
mod rules;
mod serve;
mod silences;
mod usage;

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{MethodRouter, delete, get, post};
use http::{Method, Uri};
use jiff::tz::TimeZone;
use prometheus::Registry;

use crate::channel::Registry as Pool;
use crate::clock::UnixMicros;
use crate::config::{ChannelSettings, Secret};
use crate::dispatch::DispatchStats;
use crate::dispatch::answering::Answerer;
use crate::keys::Keys;
use crate::ledger::{Journal, LedgerStats, Repricer, Sellers, SilenceWriter, Storage};
use crate::meter::Meter;
use crate::payloads::PayloadStats;
use crate::pricing::Prices;
use crate::rules::Rules;
use crate::sources::new_api::FollowerStats;

use access::{Access, guard, harden};
use answers::Answers;
use channels::Channels;
use readers::Readers;

pub use api::{MAX_LIMIT, RANKING_LOOKS_BACK};
pub use certificate::CertificateValidity;
pub use error::{ApiError, ErrorBody, ErrorCode, ErrorDetail};
pub use info::{REVISION, VERSION, ledger_id};
pub(crate) use keys::new_key;
pub use moment::{DeadlineError, MomentError, SpanError, parse_deadline, parse_moment, parse_span};
pub use openapi::document;
pub use readiness::{NotReady, Readiness};
pub use reloads::ReloadStats;
pub use serve::serve;

/// What the composition hands to the admin port.
#[derive(Debug)]
pub struct AdminParts {
    /// The traffic's cells.
    pub meter: Arc<Meter>,
    /// What requests cost.
    pub prices: Arc<Prices>,
    /// What the ledger says about itself.
    pub ledger: Arc<LedgerStats>,
    /// What became of payloads.
    pub payloads: Arc<PayloadStats>,
    /// The channels and their gates.
    pub channels: Arc<Pool>,
    /// What the settings say of each of them.
    pub channel_settings: Vec<ChannelSettings>,
    /// Where changes of gates are recorded.
    pub journal: Arc<Journal>,
    /// The rules and their alerts.
    pub rules: Arc<Rules>,
    /// What keeps silences.
    pub silences: SilenceWriter,
    /// What prices the ledger's history anew.
    pub repricer: Repricer,
    /// Whose prices hold at which channel.
    pub sellers: Arc<Sellers>,
    /// The clients' keys.
    pub keys: Arc<Keys>,
    /// The ledger's folder, for connections that read it.
    pub data_dir: PathBuf,
    /// The bearer token of `/api/v1/`.
    pub token: Option<Secret>,
    /// A bearer token of `/api/v1/` that changes nothing.
    pub read_token: Option<Secret>,
    /// The bearer token of `/metrics`, `/livez` and `/readyz`.
    pub metrics_token: Option<Secret>,
    /// The calendar of days where a question names none.
    pub timezone: TimeZone,
    /// Whether traffic is welcome.
    pub readiness: Arc<Readiness>,
    /// When the process started.
    pub started_at: UnixMicros,
}

/// Everything the admin port's handlers share.
#[derive(Debug)]
pub struct AdminState {
    registry: Registry,
    prices: Arc<Prices>,
    readers: Arc<Readers>,
    channels: Channels,
    rules: Arc<Rules>,
    silences: SilenceWriter,
    repricer: Repricer,
    sellers: Arc<Sellers>,
    keys: Arc<Keys>,
    data_dir: PathBuf,
    token: Option<Secret>,
    read_token: Option<Secret>,
    metrics_token: Option<Secret>,
    timezone: TimeZone,
    readiness: Arc<Readiness>,
    started_at: UnixMicros,
    answers: Option<Answers>,
}

impl AdminState {
    /// Fails only when two metric families have one name, which is a fault of the program.
    pub fn new(parts: AdminParts) -> prometheus::Result<Self> {
        Ok(Self {
            registry: exposition::registry(
                Arc::clone(&parts.meter),
                Arc::clone(&parts.channels),
                parts.ledger,
                Storage::new(&parts.data_dir),
                parts.payloads,
                Arc::clone(&parts.prices),
                Arc::clone(&parts.rules),
            )?,
            prices: parts.prices,
            readers: Arc::new(Readers::new(parts.data_dir.clone())),
            channels: Channels {
                registry: parts.channels,
                settings: parts.channel_settings,
                meter: parts.meter,
                journal: parts.journal,
            },
            rules: parts.rules,
            silences: parts.silences,
            repricer: parts.repricer,
            sellers: parts.sellers,
            keys: parts.keys,
            data_dir: parts.data_dir,
            token: parts.token,
            read_token: parts.read_token,
            metrics_token: parts.metrics_token,
            timezone: parts.timezone,
            readiness: parts.readiness,
            started_at: parts.started_at,
            answers: None,
        })
    }

    /// Takes, too, what people answer by the links in messages, which lead to `public_url`.
    #[must_use]
    pub fn with_answers(self, answerer: Arc<Answerer>, public_url: &Uri) -> Self {
        Self {
            answers: Some(Answers::new(answerer, public_url)),
            ..self
        }
    }

    /// Shows, too, how channels outside follow the gates.
    pub fn with_followed(self, stats: Arc<FollowerStats>) -> prometheus::Result<Self> {
        exposition::add_followed(&self.registry, stats)?;
        Ok(self)
    }

    /// Shows, too, until when the certificate in front is good.
    pub fn with_certificate(self, validity: CertificateValidity) -> prometheus::Result<Self> {
        exposition::add_certificate(&self.registry, validity)?;
        Ok(self)
    }

    /// Shows, too, what came of reading the settings again.
    pub fn with_reloads(self, stats: Arc<ReloadStats>) -> prometheus::Result<Self> {
        exposition::add_reloads(&self.registry, stats)?;
        Ok(self)
    }

    /// Shows, too, what became of notifications.
    pub fn with_dispatch(self, stats: Arc<DispatchStats>) -> prometheus::Result<Self> {
        exposition::add_dispatch(&self.registry, stats)?;
        Ok(self)
    }
}

/// A path and what answers there.
type Route = (&'static str, MethodRouter<Arc<AdminState>>);

/// What machines ask: behind `admin.metrics_token`.
fn probe_routes() -> [Route; 3] {
    [
        ("/metrics", get(health::metrics)),
        ("/livez", get(health::livez)),
        ("/readyz", get(health::readyz)),
    ]
}

/// The API: behind `admin.token`, or `admin.read_token` where nothing is changed.
fn api_routes() -> [Route; 30] {
    [
        ("/api/v1/info", get(api::info)),
        ("/api/v1/requests", get(api::requests)),
        ("/api/v1/requests/{id}", get(api::request)),
        ("/api/v1/requests/{id}/payload", get(payload::payload)),
        ("/api/v1/usage/summary", get(usage::summary)),
        ("/api/v1/usage/timeseries", get(usage::timeseries)),
        ("/api/v1/usage/heatmap", get(usage::heatmap)),
        ("/api/v1/usage/top", get(usage::top)),
        ("/api/v1/errors", get(usage::errors)),
        ("/api/v1/latency", get(latency::latency)),
        ("/api/v1/quota", get(quota::quota)),
        ("/api/v1/channels", get(channels::channels)),
        ("/api/v1/channels/{name}", get(channels::channel)),
        ("/api/v1/channels/{name}/disable", post(channels::disable)),
        ("/api/v1/channels/{name}/enable", post(channels::enable)),
        ("/api/v1/channel-events", get(channels::events)),
        ("/api/v1/rules", get(rules::rules)),
        ("/api/v1/alerts", get(alerts::alerts)),
        ("/api/v1/alert-events", get(alerts::events)),
        (
            "/api/v1/silences",
            get(silences::list).post(silences::create),
        ),
        ("/api/v1/silences/{id}", delete(silences::end)),
        ("/api/v1/notifications", get(notifications::list)),
        ("/api/v1/notifications/{id}", get(notifications::one)),
        ("/api/v1/answers", get(notifications::answers)),
        ("/api/v1/prices", get(prices::prices)),
        ("/api/v1/prices/reprice", post(repricing::reprice)),
        ("/api/v1/keys", get(keys::list).post(keys::create)),
        ("/api/v1/keys/off", post(keys::off)),
        ("/api/v1/keys/{name}/revoke", post(keys::revoke)),
        ("/api/v1/openapi.json", get(openapi::openapi_json)),
    ]
}

/// The admin port's routes. `loopback` says whether only this machine can reach the listener.
pub fn router(state: Arc<AdminState>, loopback: bool) -> Router {
    let part = |routes: Vec<Route>, token: &Option<Secret>, read_token: Option<Secret>| {
        let access = Access {
            token: token.clone(),
            read_token,
            loopback,
        };
        routes
            .into_iter()
            .fold(Router::new(), |router, (path, answer)| {
                router.route(path, answer)
            })
            .method_not_allowed_fallback(method_not_allowed)
            // Also around the refusal of a method, so that nothing answers before the guard.
            .layer(from_fn_with_state(Arc::new(access), guard))
    };
    // Outside of the tokens: who has a link may follow it.
    let links = state
        .answers
        .as_ref()
        .map(|answers| answers::routes(answers, loopback));
    Router::new()
        .merge(part(probe_routes().into(), &state.metrics_token, None))
        .merge(part(
            api_routes().into(),
            &state.token,
            state.read_token.clone(),
        ))
        .merge(links.unwrap_or_default())
        .fallback(not_found)
        .layer(from_fn(harden))
        .with_state(state)
}

async fn not_found(uri: Uri) -> ApiError {
    ApiError::new(
        ErrorCode::NotFound,
        format!(
            "there is nothing at {}; /api/v1/openapi.json lists every path",
            uri.path()
        ),
    )
}

async fn method_not_allowed(method: Method, uri: Uri) -> ApiError {
    ApiError::new(
        ErrorCode::MethodNotAllowed,
        format!(
            "{} does not answer {method}; /api/v1/openapi.json says what it does",
            uri.path()
        ),
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_document_lists_exactly_the_routes() {
        let routes: BTreeSet<String> = probe_routes()
            .into_iter()
            .chain(api_routes())
            .map(|(path, _)| path.to_owned())
            .collect();
        let documented: BTreeSet<String> = document().paths.paths.keys().cloned().collect();
        assert_eq!(documented, routes);
    }
}
