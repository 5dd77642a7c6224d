//! `POST /api/v1/prices/reprice`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use super::AdminState;
use super::error::{AnyFailure, ApiError, ErrorCode};
use super::json::RepriceReportJson;
use super::parameters::{Parameters, invalid, parsed, range, until_now};
use crate::clock::UnixMicros;
use crate::ledger::{PriceBook, QueryError, RepriceError, RepriceQuery};
use crate::pricing::PriceTable;

/// Characters of a name in the audit.
const LONGEST_NAME: usize = 64;

/// What to price anew.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct RepriceParameters {
    /// Requests that started at this time or later: RFC 3339, a date, or how long ago (`90m`,
    /// `7d`). Needed.
    #[param(required, example = "7d")]
    since: Option<String>,
    /// Started before this time; now when not given.
    until: Option<String>,
    /// Answered by this model; where the provider named none, asked for this model.
    model: Option<String>,
    /// `true`: only tell what would change.
    #[param(value_type = Option<bool>)]
    dry_run: Option<String>,
    /// Who asks, for the audit; at most 64 characters.
    by: Option<String>,
}

/// Prices the requests of a range anew by the present prices (the price files are read again
/// first), sums and all, and keeps the old
/// figures. Answers when it is done, which may take minutes; it goes on when the client leaves, and
/// asking again changes nothing that is done.
#[utoipa::path(
    post,
    path = "/api/v1/prices/reprice",
    params(RepriceParameters),
    responses((status = 200, body = RepriceReportJson), AnyFailure),
    security((), ("bearer" = [])),
)]
pub(super) async fn reprice(
    State(state): State<Arc<AdminState>>,
    Parameters(given): Parameters<RepriceParameters>,
) -> Result<Json<RepriceReportJson>, ApiError> {
    let now = UnixMicros::now();
    let (since, until) = range([&given.since, &given.until], now, &state.timezone)?;
    let since = since.ok_or_else(|| invalid("since", "`since` says from when on; give a time"))?;
    let who = given.by.as_deref().unwrap_or("admin API");
    if who.chars().count() > LONGEST_NAME {
        let message = format!("`by` is a name of at most {LONGEST_NAME} characters");
        return Err(invalid("by", message));
    }
    let query = RepriceQuery {
        since,
        until: until_now((Some(since), until), now),
        model: given.model,
        who: who.to_owned(),
    };
    let dry_run = parsed("dry_run", given.dry_run.as_deref())?.unwrap_or(false);
    let prices = PriceBook {
        table: present_prices(&state).await?,
        sellers: Arc::clone(&state.sellers),
    };
    let asked = query.clone();
    let report = if dry_run {
        let preview = move |reader: &crate::ledger::Reader| reader.preview_repricing(asked, prices);
        state.readers.ask(preview).await?
    } else {
        let repricer = state.repricer.clone();
        tokio::task::spawn_blocking(move || repricer.reprice(asked, prices))
            .await
            .unwrap_or(Err(RepriceError::Fault))
            .map_err(refused)?
    };
    Ok(Json(RepriceReportJson::new(&query, dry_run, report)))
}

/// The prices as the operator's files are now: who corrects one wants this correction.
async fn present_prices(state: &AdminState) -> Result<Arc<PriceTable>, ApiError> {
    let prices = Arc::clone(&state.prices);
    let read = tokio::task::spawn_blocking(move || {
        let reloaded = prices.reload(UnixMicros::now());
        reloaded.map(|_| prices.table())
    });
    let fault = || ApiError::new(ErrorCode::Internal, "the price files cannot be read");
    let refused = |problems| {
        let message = format!("nothing was priced anew, for a price file is wrong: {problems}");
        ApiError::new(ErrorCode::InvalidPrices, message)
    };
    read.await.map_err(|_| fault())?.map_err(refused)
}

/// The reason is logged by the writer and not told where it holds paths.
fn refused(error: RepriceError) -> ApiError {
    match error {
        RepriceError::Busy | RepriceError::NotWriter => {
            ApiError::new(ErrorCode::Busy, error.to_string())
        }
        RepriceError::Read(error @ QueryError::NoLedger { .. }) => ApiError::ledger(&error),
        RepriceError::Open(_)
        | RepriceError::Read(_)
        | RepriceError::Write { .. }
        | RepriceError::NoRollup { .. }
        | RepriceError::Fault => ApiError::new(
            ErrorCode::Internal,
            "the ledger cannot be written to the end; the log says why. What was done stays done: \
             ask again for the rest",
        ),
    }
}
