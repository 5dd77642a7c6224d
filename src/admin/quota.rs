//! The handler of `/api/v1/quota`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::AdminState;
use super::api::NoParameters;
use super::error::AnyFailure;
use super::json::{QuotaList, QuotaRowJson};
use super::parameters::Parameters;
use crate::clock::UnixMicros;

/// How much of each window of the channels' plans is used, by the providers' last word: what
/// `tollgate_quota_used_ratio` shows, with the moment at which the window begins anew.
#[utoipa::path(
    get,
    path = "/api/v1/quota",
    responses((status = 200, body = QuotaList), AnyFailure),
    security((), ("bearer" = [])),
)]
pub(super) async fn quota(
    State(state): State<Arc<AdminState>>,
    _: Parameters<NoParameters>,
) -> Json<QuotaList> {
    let now = UnixMicros::now();
    let channels = &state.channels;
    let of_channel = |name: &str| {
        let quotas = channels.meter.limits(name, now).quotas.into_iter();
        quotas
            .map(|quota| QuotaRowJson::new(name, quota))
            .collect::<Vec<_>>()
    };
    let names = channels.settings.iter().map(|channel| &channel.name);
    Json(QuotaList {
        rows: names.flat_map(|name| of_channel(name)).collect(),
    })
}
