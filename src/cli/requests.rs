//! `tollgate requests`.

use std::process::ExitCode;

use clap::ValueEnum;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::failure::Failure;
use super::follow;
use super::output::Output;
use super::payload_detail;
use super::question::{moment, wait};
use super::request_detail;
use super::request_table;
use super::source::{Source, is_no_ledger};
use crate::admin::RANKING_LOOKS_BACK;
use crate::admin::json::{PayloadJson, RequestDetailJson};
use crate::clock::UnixMicros;
use crate::config::Settings;
use crate::ledger::query::{NameFilter, Order, RequestFilter};
use crate::record::{Api, Outcome, RequestId};

/// The heading of the filters in the help text.
const FILTERS: &str = "Filters";

/// `tollgate requests`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// How many.
    #[arg(long, value_name = "N", default_value_t = 20)]
    last: u32,
    #[command(flatten)]
    ranking: Ranking,
    /// Only failures: every outcome but `ok` and `client_closed`.
    #[arg(long, help_heading = FILTERS)]
    failed: bool,
    /// Go on printing each request as it ends, also over a restart of the sidecar.
    #[arg(long, short)]
    follow: bool,
    /// One request in full, with its bytes where they were kept.
    #[arg(long, value_name = "ID", conflicts_with_all = ["slowest", "dearest", "failed", "follow", "since", "until", "channel", "model", "api", "key", "outcome", "status", "session"])]
    id: Option<RequestId>,
    /// Started since: how long ago (`90m`, `7d`), a date, or RFC 3339.
    #[arg(long, value_name = "T", help_heading = FILTERS)]
    since: Option<String>,
    /// Started before.
    #[arg(long, value_name = "T", help_heading = FILTERS)]
    until: Option<String>,
    /// Sent to one of these channels: names or patterns (`*`, `?`), separated by commas.
    #[arg(long, value_name = "NAMES", help_heading = FILTERS)]
    channel: Option<NameFilter>,
    /// Answered by one of these models, likewise, or asked for it where the provider named none.
    #[arg(long, value_name = "MODELS", help_heading = FILTERS)]
    model: Option<NameFilter>,
    /// Calling this API: chat, responses, completions, embeddings, …
    #[arg(long, value_name = "API", help_heading = FILTERS)]
    api: Option<Api>,
    /// Of client keys of these names, likewise.
    #[arg(long, value_name = "NAMES", help_heading = FILTERS)]
    key: Option<NameFilter>,
    /// That ended so: `ok`, `upstream_error`, `rate_limited`, `timeout`, …
    #[arg(long, value_name = "OUTCOME", help_heading = FILTERS)]
    outcome: Option<Outcome>,
    /// Answered with this HTTP status.
    #[arg(long, value_name = "STATUS", help_heading = FILTERS)]
    status: Option<u16>,
    /// Of one of these conversations, likewise.
    #[arg(long, value_name = "IDS", help_heading = FILTERS)]
    session: Option<NameFilter>,
    /// How to print them; followed requests are one JSON object a line.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// By what the first are the first, where not by their start.
#[derive(Clone, Copy, Debug, clap::Args)]
#[group(multiple = false, conflicts_with = "follow")]
struct Ranking {
    /// The slowest first, of the last 7 days unless --since says otherwise.
    #[arg(long)]
    slowest: bool,
    /// The dearest first, likewise; requests without a cost are left out.
    #[arg(long)]
    dearest: bool,
}

impl Ranking {
    fn order(self) -> Order {
        match (self.slowest, self.dearest) {
            (true, _) => Order::Slowest,
            (_, true) => Order::Dearest,
            _ => Order::Newest,
        }
    }
}

/// How requests are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Table,
    Json,
}

/// Prints requests.
pub(super) fn requests(
    arguments: Arguments,
    settings: &Settings,
    now: UnixMicros,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let (format, last) = (arguments.format, arguments.last);
    if let Some(id) = arguments.id {
        return one(id, format, settings, output);
    }
    let follows = arguments.follow;
    let filter = arguments.filter(now, &settings.timezone)?;
    if follows {
        // Ends only with the process, or with nobody left to read.
        return wait(follow::follow(&filter, last, format, settings, output));
    }
    let found = wait(async {
        let source = Source::open(settings, output).await?;
        source.requests(&filter, last).await
    });
    let requests = match found {
        Err(failure) if is_no_ledger(&failure) => Vec::new(),
        found => found?,
    };
    let text = match format {
        Format::Json => format!("{}\n", serde_json::to_string_pretty(&requests)?),
        Format::Table if requests.is_empty() => format!(
            "No such requests in {}.\n",
            settings.data_dir.join("tollgate.db").display()
        ),
        Format::Table => request_table::render(&requests, &settings.timezone, output),
    };
    output.text(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// A request with its bytes, `null` where they were not kept.
#[derive(Serialize)]
struct Full {
    #[serde(flatten)]
    detail: RequestDetailJson,
    payload: Option<PayloadJson>,
}

fn one(
    id: RequestId,
    format: Format,
    settings: &Settings,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let (found, payload) = wait(async {
        let source = Source::open(settings, output).await?;
        let found = source.request(id).await?;
        // The row is worth showing whatever is wrong with the bytes.
        let payload = source.payload(id, settings).await;
        Ok((found, payload))
    })?;
    let detail = found.ok_or(Failure::NoRequest(id))?;
    let payload = payload.unwrap_or_else(|failure| {
        output.note(&failure.to_string());
        None
    });
    let text = match format {
        Format::Json => {
            let full = Full { detail, payload };
            format!("{}\n", serde_json::to_string_pretty(&full)?)
        }
        Format::Table => {
            let row = request_detail::render(&detail, &settings.timezone, output);
            let bytes = payload.map(|payload| payload_detail::render(&payload, output));
            row + &bytes.unwrap_or_default()
        }
    };
    output.text(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// A word of a closed vocabulary; everything where none is given.
fn word(given: Option<&str>) -> NameFilter {
    given.map(NameFilter::exactly).unwrap_or_default()
}

impl Arguments {
    fn filter(self, now: UnixMicros, timezone: &TimeZone) -> Result<RequestFilter, Failure> {
        let time = |argument, text: Option<String>| {
            text.map(|text| moment(argument, &text, now, timezone))
                .transpose()
        };
        let order = self.ranking.order();
        let since = match time("since", self.since)? {
            None if order.is_ranking() => Some(now.minus(RANKING_LOOKS_BACK)),
            since => since,
        };
        Ok(RequestFilter {
            since,
            until: time("until", self.until)?,
            channel: self.channel.unwrap_or_default(),
            model: self.model.unwrap_or_default(),
            api: word(self.api.map(Api::as_str)),
            key: self.key.unwrap_or_default(),
            outcome: word(self.outcome.map(Outcome::as_str)),
            status: self.status,
            session: self.session.unwrap_or_default(),
            failed_only: self.failed,
            order,
            ..RequestFilter::default()
        })
    }
}
