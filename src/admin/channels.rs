//! `/api/v1/channels`: how the channels are, closing and reopening them, and what happened to them.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use serde::Deserialize;
use tokio::time::{Instant, sleep};
use utoipa::IntoParams;

use super::AdminState;
use super::api::{NoParameters, page_size};
use super::error::{AnyFailure, ApiError, ErrorBody, ErrorCode};
use super::json::{ChangedChannelJson, ChannelEventList, ChannelJson, ChannelList};
use super::moment::parse_span;
use super::parameters::{Parameters, invalid, parsed, range};
use crate::channel::{Closing, GateStatus, Registry};
use crate::clock::UnixMicros;
use crate::config::{ChannelSettings, likeliest};
use crate::ledger::Journal;
use crate::ledger::query::GateEventFilter;
use crate::meter::Meter;
use crate::record::{GateReason, Owner};

/// Characters of a name in the audit.
pub(super) const LONGEST_NAME: usize = 64;
/// Characters of a reason in the audit.
pub(super) const LONGEST_REASON: usize = 500;
/// How long an answer waits for a journal that the disk refuses.
const RECORDED_WITHIN: Duration = Duration::from_secs(2);
/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What is asked about channels.
#[derive(Debug)]
pub(super) struct Channels {
    pub(super) registry: Arc<Registry>,
    pub(super) settings: Vec<ChannelSettings>,
    pub(super) meter: Arc<Meter>,
    pub(super) journal: Arc<Journal>,
}

impl Channels {
    fn one(&self, name: &str) -> Result<&ChannelSettings, ApiError> {
        let mut settings = self.settings.iter();
        settings
            .find(|channel| *channel.name == *name)
            .ok_or_else(|| self.none(name))
    }

    fn show(&self, settings: &ChannelSettings, now: UnixMicros) -> Result<ChannelJson, ApiError> {
        let gate = self.registry.gate_status(&settings.name, now);
        let gate = gate.map_err(|_| self.none(&settings.name))?;
        Ok(self.shown(settings, gate, now))
    }

    fn shown(&self, settings: &ChannelSettings, gate: GateStatus, now: UnixMicros) -> ChannelJson {
        ChannelJson::new(settings, gate, Some(self.meter.limits(&settings.name, now)))
    }

    fn none(&self, name: &str) -> ApiError {
        let names = self.settings.iter().map(|channel| &*channel.name);
        let hint = match likeliest(name, names) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "`/api/v1/channels` lists every one".to_owned(),
        };
        ApiError::parameter(
            ErrorCode::NotFound,
            "name",
            format!("no channel is named `{name}`; {hint}"),
        )
    }

    /// Waits a moment for a journal that the disk refuses; whether all of it is written.
    async fn recorded(&self) -> bool {
        let over = Instant::now() + RECORDED_WITHIN;
        while !self.journal.is_writable() {
            if Instant::now() >= over {
                return false;
            }
            sleep(LOOK_EVERY).await;
        }
        true
    }
}

/// For how long, why, and who.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct DisableParameters {
    /// For how long, as `90s`, `1h 30m` or `7d`; until somebody enables it when not given.
    #[serde(rename = "for")]
    #[param(example = "1h")]
    span: Option<String>,
    /// Why, in words; at most 500 characters.
    reason: Option<String>,
    /// Who asks, for the audit; at most 64 characters.
    who: Option<String>,
}

/// Why, and who.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct EnableParameters {
    /// Why, in words; at most 500 characters.
    reason: Option<String>,
    /// Who asks, for the audit; at most 64 characters.
    who: Option<String>,
}

/// Which events.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct EventsParameters {
    /// Of this channel, which need not be in the settings any more.
    channel: Option<String>,
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

/// Every channel, in the order of the settings.
#[utoipa::path(
    get,
    path = "/api/v1/channels",
    responses((status = 200, body = ChannelList), AnyFailure),
    security((), ("bearer" = [])),
)]
pub(super) async fn channels(
    State(state): State<Arc<AdminState>>,
    _: Parameters<NoParameters>,
) -> Result<Json<ChannelList>, ApiError> {
    let (all, now) = (&state.channels, UnixMicros::now());
    let channels = all.settings.iter().map(|settings| all.show(settings, now));
    Ok(Json(ChannelList {
        channels: channels.collect::<Result<_, _>>()?,
    }))
}

/// One channel.
#[utoipa::path(
    get,
    path = "/api/v1/channels/{name}",
    params(("name" = String, Path, description = "The channel's name.")),
    responses(
        (status = 200, body = ChannelJson),
        (status = 404, body = ErrorBody, description = "No channel has this name."),
        AnyFailure,
    ),
    security((), ("bearer" = [])),
)]
pub(super) async fn channel(
    State(state): State<Arc<AdminState>>,
    Path(name): Path<String>,
    _: Parameters<NoParameters>,
) -> Result<Json<ChannelJson>, ApiError> {
    let all = &state.channels;
    all.show(all.one(&name)?, UnixMicros::now()).map(Json)
}

/// Closes a channel: no request goes to it once this has answered, running ones end. An operator's
/// earlier hold on it is replaced.
#[utoipa::path(
    post,
    path = "/api/v1/channels/{name}/disable",
    params(("name" = String, Path, description = "The channel's name."), DisableParameters),
    responses(
        (status = 200, body = ChangedChannelJson),
        (status = 404, body = ErrorBody, description = "No channel has this name."),
        AnyFailure,
    ),
    security((), ("bearer" = [])),
)]
pub(super) async fn disable(
    State(state): State<Arc<AdminState>>,
    Path(name): Path<String>,
    Parameters(given): Parameters<DisableParameters>,
) -> Result<Json<ChangedChannelJson>, ApiError> {
    let (all, now) = (&state.channels, UnixMicros::now());
    let settings = all.one(&name)?;
    let span = given
        .span
        .as_deref()
        .map(|text| parse_span(text).map_err(|error| invalid("for", format!("for: {error}"))));
    let closing = Closing {
        owner: Owner::Operator,
        reason: GateReason::Operator,
        until: span.transpose()?.map(|span| now.plus(span)),
        who: bounded("who", given.who, LONGEST_NAME)?,
        note: bounded("reason", given.reason, LONGEST_REASON)?,
    };
    let closed = all.registry.close(&name, closing, now);
    let gate = closed.map_err(|_| all.none(&name))?;
    Ok(Json(ChangedChannelJson {
        channel: all.shown(settings, gate, now),
        recorded: all.recorded().await,
    }))
}

/// Opens a channel, whoever holds it closed.
#[utoipa::path(
    post,
    path = "/api/v1/channels/{name}/enable",
    params(("name" = String, Path, description = "The channel's name."), EnableParameters),
    responses(
        (status = 200, body = ChangedChannelJson),
        (status = 404, body = ErrorBody, description = "No channel has this name."),
        AnyFailure,
    ),
    security((), ("bearer" = [])),
)]
pub(super) async fn enable(
    State(state): State<Arc<AdminState>>,
    Path(name): Path<String>,
    Parameters(given): Parameters<EnableParameters>,
) -> Result<Json<ChangedChannelJson>, ApiError> {
    let (all, now) = (&state.channels, UnixMicros::now());
    let settings = all.one(&name)?;
    let who = bounded("who", given.who, LONGEST_NAME)?;
    let note = bounded("reason", given.reason, LONGEST_REASON)?;
    let by = Owner::Operator;
    let opened = all
        .registry
        .reopen(&name, &by, who.as_deref(), note.as_deref(), now);
    let gate = opened.map_err(|_| all.none(&name))?;
    Ok(Json(ChangedChannelJson {
        channel: all.shown(settings, gate, now),
        recorded: all.recorded().await,
    }))
}

/// What happened to the channels' gates, the newest first.
#[utoipa::path(
    get,
    path = "/api/v1/channel-events",
    params(EventsParameters),
    responses((status = 200, body = ChannelEventList), AnyFailure),
    security((), ("bearer" = [])),
)]
pub(super) async fn events(
    State(state): State<Arc<AdminState>>,
    Parameters(given): Parameters<EventsParameters>,
) -> Result<Json<ChannelEventList>, ApiError> {
    let now = UnixMicros::now();
    let (since, until) = range([&given.since, &given.until], now, &state.timezone)?;
    let filter = GateEventFilter {
        since,
        until,
        cursor: parsed("cursor", given.cursor.as_deref())?,
        channel: given.channel,
        limit: page_size(given.limit.as_deref(), GateEventFilter::default().limit)?,
    };
    let page = state.readers.ask(move |reader| reader.gate_events(&filter));
    let page = page.await?;
    Ok(Json(ChannelEventList {
        events: page.events.into_iter().map(Into::into).collect(),
        next: page.next.map(|cursor| cursor.to_string()),
    }))
}

/// A text for the audit, where it is not too long.
pub(super) fn bounded(
    name: &str,
    given: Option<String>,
    longest: usize,
) -> Result<Option<Arc<str>>, ApiError> {
    match given {
        Some(text) if text.chars().count() > longest => {
            let message = format!("`{name}` is a text of at most {longest} characters");
            Err(invalid(name, message))
        }
        given => Ok(given.map(Into::into)),
    }
}
