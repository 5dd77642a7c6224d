//! The handlers of `/api/v1/`.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use jiff::tz::TimeZone;
use serde::Deserialize;
use utoipa::IntoParams;

use super::AdminState;
use super::error::{AnyFailure, ApiError, ErrorBody, ErrorCode};
use super::info::{REVISION, VERSION, ledger_id};
use super::json::{Info, Moment, RequestDetailJson, RequestList};
use super::moment::parse_span;
use super::parameters::{Parameters, invalid, known, names, parsed, range, words};
use crate::clock::{UnixMicros, micros};
use crate::ledger::query::{Cursor, NameFilter, Order, RequestFilter, Sequence};
use crate::record::{Api, Outcome, RequestId, UsageSource};

/// How far `order=slowest` and `order=dearest` look back when no `since` is given.
pub const RANKING_LOOKS_BACK: Duration = Duration::from_secs(7 * 24 * 3600);

/// Most requests in one answer.
pub const MAX_LIMIT: u32 = 1_000;

/// The state as handlers get it.
type Shared = State<Arc<AdminState>>;

/// A path without query parameters.
#[derive(Debug, Deserialize, IntoParams)]
pub(super) struct NoParameters {}

/// Which requests.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct RequestsParameters {
    /// Started at this time or later: RFC 3339, a date, or how long ago (`90m`, `7d`).
    #[param(example = "7d")]
    since: Option<String>,
    /// Started before this time.
    until: Option<String>,
    /// Sent to one of these channels: names or patterns (`*`, `?`), separated by commas.
    channel: Option<String>,
    /// Answered by one of these models, likewise; where the provider named none, asked for it.
    #[param(example = "gpt-5*,o4-mini")]
    model: Option<String>,
    /// Calling one of these APIs, likewise.
    api: Option<String>,
    /// Of client keys of these names, likewise.
    key: Option<String>,
    /// That ended in one of these ways, likewise; `failed` stands for every outcome but `ok` and
    /// `client_closed`.
    #[param(example = "timeout,rate_limited")]
    outcome: Option<String>,
    /// Whose token counts come from one of these: `reported`, `partial`, `estimated`, `missing`,
    /// `none`; likewise.
    #[param(example = "estimated,missing")]
    usage_source: Option<String>,
    /// Answered with this HTTP status.
    #[param(value_type = Option<u16>)]
    status: Option<String>,
    /// Of one of these conversations, likewise. Patterns are slow where there are many requests.
    session: Option<String>,
    /// Of this conversation: no list and no pattern, whatever its characters. `(none)`: of none.
    session_is: Option<String>,
    /// `true`: only failures, that is every outcome but `ok` and `client_closed`.
    #[param(value_type = Option<bool>)]
    failed: Option<String>,
    /// `true`: only those with tokens and without a cost, because their model has no price.
    #[param(value_type = Option<bool>)]
    unpriced: Option<String>,
    /// That took so long or longer, from the request's header to the end of the answer.
    #[param(example = "90s")]
    min_total: Option<String>,
    /// `newest` (by start, the default), `slowest` (by total duration) or `dearest` (by cost). The
    /// last two look back 7 days without `since` (from `until`, where it is earlier than now), and
    /// leave out what has no duration or no cost.
    #[param(pattern = "^(newest|slowest|dearest)$")]
    order: Option<String>,
    /// `next` of the page before.
    cursor: Option<String>,
    /// At most so many, 1 to 1,000; 100 when not given.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
    /// Instead of a listing: what was recorded after this `position`, oldest first. `now` gives
    /// only the present position. Not together with `order` and `cursor`.
    after: Option<String>,
}

/// Requests, newest first; or the slowest or dearest; or what was recorded since a position.
#[utoipa::path(
    get,
    path = "/api/v1/requests",
    params(RequestsParameters),
    responses((status = 200, body = RequestList), AnyFailure),
    security((), ("bearer" = [])),
)]
pub(super) async fn requests(
    State(state): Shared,
    Parameters(given): Parameters<RequestsParameters>,
) -> Result<Json<RequestList>, ApiError> {
    let filter = given.filter(UnixMicros::now(), &state.timezone)?;
    let since = filter.since.map(Moment);
    let list = if let Some(after) = given.after()? {
        let page = state.readers.ask(move |reader| match after {
            After::Now => Ok((Vec::new(), reader.newest()?)),
            After::Position(after) => {
                let page = reader.follow(&filter, after)?;
                Ok((page.requests, page.position))
            }
        });
        let (requests, position) = page.await?;
        RequestList {
            since,
            requests: requests.into_iter().map(Into::into).collect(),
            next: None,
            position: Some(position.0),
        }
    } else {
        let page = state.readers.ask(move |reader| reader.requests(&filter));
        let page = page.await?;
        RequestList {
            since,
            requests: page.requests.into_iter().map(Into::into).collect(),
            next: page.next.map(|cursor| cursor.to_string()),
            position: None,
        }
    };
    Ok(Json(list))
}

/// One request in full, with each try at an upstream.
#[utoipa::path(
    get,
    path = "/api/v1/requests/{id}",
    params(("id" = String, Path, format = "uuid", description = "The request's id.")),
    responses(
        (status = 200, body = RequestDetailJson),
        (status = 404, body = ErrorBody, description = "The ledger has no such request."),
        AnyFailure,
    ),
    security((), ("bearer" = [])),
)]
pub(super) async fn request(
    State(state): Shared,
    Path(id): Path<String>,
    _: Parameters<NoParameters>,
) -> Result<Json<RequestDetailJson>, ApiError> {
    let id = request_id(&id)?;
    let found = state.readers.ask(move |reader| reader.request(id)).await?;
    match found {
        Some(detail) => Ok(Json(detail.into())),
        None => Err(no_request(id)),
    }
}

/// What is said of an id that the ledger has no request of.
pub(super) fn no_request(id: RequestId) -> ApiError {
    ApiError::parameter(
        ErrorCode::NotFound,
        "id",
        format!("the ledger has no request {id}; it may have expired or not have ended yet"),
    )
}

/// The id in a path.
pub(super) fn request_id(text: &str) -> Result<RequestId, ApiError> {
    text.parse()
        .map_err(|_| invalid("id", format!("`{text}` is not a request id (a UUID)")))
}

/// Which build answers, since when, and for which ledger.
#[utoipa::path(
    get,
    path = "/api/v1/info",
    responses((status = 200, body = Info), AnyFailure),
    security((), ("bearer" = [])),
)]
pub(super) async fn info(State(state): Shared, _: Parameters<NoParameters>) -> Json<Info> {
    Json(Info {
        version: VERSION.to_owned(),
        revision: REVISION.to_owned(),
        started_at: Moment(state.started_at),
        ledger_id: ledger_id(&state.data_dir),
    })
}

/// Where to follow from.
enum After {
    Now,
    Position(Sequence),
}

impl RequestsParameters {
    fn filter(&self, now: UnixMicros, timezone: &TimeZone) -> Result<RequestFilter, ApiError> {
        let order: Order = parsed("order", self.order.as_deref())?.unwrap_or_default();
        let (since, until) = range([&self.since, &self.until], now, timezone)?;
        let looks_back = || {
            until
                .map_or(now, |until| until.min(now))
                .minus(RANKING_LOOKS_BACK)
        };
        let since = since.or_else(|| order.is_ranking().then(looks_back));
        let limit = page_size(self.limit.as_deref(), RequestFilter::default().limit)?;
        Ok(RequestFilter {
            since,
            until,
            channel: names("channel", self.channel.as_deref())?,
            model: names("model", self.model.as_deref())?,
            api: words(
                "api",
                self.api.as_deref(),
                Api::ALL.iter().map(|api| api.as_str()),
            )?,
            key: names("key", self.key.as_deref())?,
            outcome: outcomes(self.outcome.as_deref())?,
            usage_source: words(
                "usage_source",
                self.usage_source.as_deref(),
                UsageSource::ALL.iter().map(|source| source.as_str()),
            )?,
            status: parsed("status", self.status.as_deref())?,
            session: self.session()?,
            failed_only: parsed("failed", self.failed.as_deref())?.unwrap_or(false),
            unpriced_only: parsed("unpriced", self.unpriced.as_deref())?.unwrap_or(false),
            min_total_us: min_total(self.min_total.as_deref())?,
            order,
            cursor: self.cursor(order)?,
            limit,
        })
    }

    fn session(&self) -> Result<NameFilter, ApiError> {
        match (self.session.as_deref(), self.session_is.as_deref()) {
            (Some(_), Some(_)) => {
                let message = "session_is: `session` says of which too; give one of them";
                Err(invalid("session_is", message))
            }
            (None, Some(one)) => Ok(NameFilter::one(one)),
            (several, None) => names("session", several),
        }
    }

    fn cursor(&self, order: Order) -> Result<Option<Cursor>, ApiError> {
        let cursor: Option<Cursor> = parsed("cursor", self.cursor.as_deref())?;
        match cursor {
            Some(cursor) if cursor.order != order => Err(invalid(
                "cursor",
                "this cursor is of a listing in another order",
            )),
            cursor => Ok(cursor),
        }
    }

    fn after(&self) -> Result<Option<After>, ApiError> {
        let Some(after) = self.after.as_deref() else {
            return Ok(None);
        };
        if self.order.is_some() || self.cursor.is_some() {
            let message = "`after` gives what was recorded since, oldest first; leave `order` and \
                           `cursor` out";
            return Err(invalid("after", message));
        }
        match after {
            "now" => Ok(Some(After::Now)),
            text => Ok(parsed("after", Some(text))?
                .map(Sequence)
                .map(After::Position)),
        }
    }
}

/// The parameter `outcome`.
pub(super) fn outcomes(given: Option<&str>) -> Result<NameFilter, ApiError> {
    let failures = Outcome::ALL.iter().filter(|outcome| outcome.is_error());
    let failures: Vec<&str> = failures.map(|outcome| outcome.as_str()).collect();
    let given = names("outcome", given)?.with_word("failed", &failures);
    known(
        "outcome",
        given,
        Outcome::ALL.iter().map(|outcome| outcome.as_str()),
    )
}

/// The parameter `min_total`, in microseconds.
fn min_total(given: Option<&str>) -> Result<Option<u64>, ApiError> {
    given
        .map(|text| {
            parse_span(text)
                .map(micros)
                .map_err(|error| invalid("min_total", format!("min_total: {error}")))
        })
        .transpose()
}

/// The parameter `limit`, where it is given.
pub(super) fn page_size(given: Option<&str>, usual: u32) -> Result<u32, ApiError> {
    at_most("limit", given, usual)
}

/// The parameter `name`, which says how many are wanted, where it is given.
pub(super) fn at_most(name: &str, given: Option<&str>, usual: u32) -> Result<u32, ApiError> {
    match parsed(name, given)? {
        None => Ok(usual),
        Some(limit @ 1..=MAX_LIMIT) => Ok(limit),
        Some(_) => Err(invalid(name, format!("{name} is 1 to {MAX_LIMIT}"))),
    }
}
