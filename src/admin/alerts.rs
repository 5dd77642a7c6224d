//! `/api/v1/alerts` and `/api/v1/alert-events`: what fires, and what happened to alerts.

use std::cmp::Reverse;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use super::AdminState;
use super::api::page_size;
use super::error::{AnyFailure, ApiError};
use super::json::{AlertEventJson, AlertEventList, AlertJson, AlertList};
use super::parameters::{Parameters, invalid, parsed, range};
use super::silences::stored;
use crate::alert::{AlertEvent, AlertState, Severity};
use crate::clock::UnixMicros;
use crate::ledger::query::AlertEventFilter;

/// Which alerts.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct AlertsParameters {
    /// `pending` or `firing`; both when not given. Those that are inactive stand with their rules.
    #[param(pattern = "^(pending|firing)$")]
    state: Option<String>,
    /// Of this rule.
    rule: Option<String>,
    /// At this limit.
    #[param(value_type = Option<Severity>, inline)]
    severity: Option<String>,
}

/// Which events.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct EventsParameters {
    /// Of this rule, which need not be there any more.
    rule: Option<String>,
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

/// The alerts that are pending or fire, those that fire at the front.
#[utoipa::path(
    get,
    path = "/api/v1/alerts",
    params(AlertsParameters),
    responses((status = 200, body = AlertList), AnyFailure),
    security((), ("bearer" = [])),
)]
pub(super) async fn alerts(
    State(state): State<Arc<AdminState>>,
    Parameters(given): Parameters<AlertsParameters>,
) -> Result<Json<AlertList>, ApiError> {
    let wanted = given.state()?;
    let severity: Option<Severity> = parsed("severity", given.severity.as_deref())?;
    let silences = stored(&state).await.ok();
    let now = UnixMicros::now();
    let mut alerts = Vec::new();
    for view in state.rules.view(now) {
        let rule = &view.rule;
        if given
            .rule
            .as_deref()
            .is_some_and(|name| *name != *rule.name)
        {
            continue;
        }
        let found = view.alerts.iter().filter(|alert| {
            alert.state != AlertState::Inactive
                && wanted.is_none_or(|wanted| alert.state == wanted)
                && severity.is_none_or(|severity| alert.severity == Some(severity))
        });
        alerts.extend(found.map(|alert| AlertJson::new(rule, alert, silences.as_deref(), now)));
    }
    // Stable: those that are alike stay in the order of the files.
    alerts.sort_by_key(|alert| Reverse((alert.state, alert.severity)));
    Ok(Json(AlertList { alerts }))
}

/// What happened to alerts, the newest first.
#[utoipa::path(
    get,
    path = "/api/v1/alert-events",
    params(EventsParameters),
    responses((status = 200, body = AlertEventList), AnyFailure),
    security((), ("bearer" = [])),
)]
pub(super) async fn events(
    State(state): State<Arc<AdminState>>,
    Parameters(given): Parameters<EventsParameters>,
) -> Result<Json<AlertEventList>, ApiError> {
    let now = UnixMicros::now();
    let (since, until) = range([&given.since, &given.until], now, &state.timezone)?;
    let filter = AlertEventFilter {
        since,
        until,
        cursor: parsed("cursor", given.cursor.as_deref())?,
        rule: given.rule,
        limit: page_size(given.limit.as_deref(), AlertEventFilter::default().limit)?,
    };
    let page = state
        .readers
        .ask(move |reader| reader.alert_events(&filter));
    let page = page.await?;
    let told = |event: &AlertEvent| {
        let rule = state.rules.rule(&event.alert.rule);
        AlertEventJson::new(event, rule.as_deref())
    };
    Ok(Json(AlertEventList {
        events: page.events.iter().map(told).collect(),
        next: page.next.map(|cursor| cursor.to_string()),
    }))
}

impl AlertsParameters {
    fn state(&self) -> Result<Option<AlertState>, ApiError> {
        match parsed("state", self.state.as_deref())? {
            Some(AlertState::Inactive) => Err(invalid(
                "state",
                "state: inactive alerts are not listed here; `/api/v1/rules` has them with their rules",
            )),
            state => Ok(state),
        }
    }
}
