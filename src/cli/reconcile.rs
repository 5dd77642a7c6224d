//! `tollgate reconcile`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;
use jiff::ToSpan;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::failure::Failure;
use super::output::Output;
use super::patience::patiently;
use super::prices::in_use;
use super::question::{moment, wait};
use super::reconcile_output::{self, ReconciliationJson};
use super::source::{Source, is_no_ledger};
use super::usage::Format;
use crate::admin::json::{UsageRowJson, UsageSummaryJson};
use crate::clock::UnixMicros;
use crate::config::{Secret, Settings};
use crate::ledger::query::{GroupBy, UsageQuery, UsageSummary};
use crate::record::{Api, TokenType, Tokens};
use crate::sources::billing::BillingClient;
use crate::sources::reconcile::{LedgerUsage, Terms, reconcile};

/// The variable in which the provider's own tools look for an admin key.
const KEY_VARIABLE: &str = "OPENAI_ADMIN_KEY";

/// What a person reads who waits.
const AT_WORK: &str = "reading the provider's usage and costs";

/// `tollgate reconcile`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// From when on: how long ago (`30d`), a date, or RFC 3339. Whole days in UTC, as bills have
    /// them.
    #[arg(long, value_name = "T", default_value = "7d")]
    since: String,
    /// Up to when; now when not given.
    #[arg(long, value_name = "T")]
    until: Option<String>,
    /// One line for each day, each model, or each of both.
    #[arg(
        long,
        value_name = "BY,…",
        value_delimiter = ',',
        default_value = "day,model"
    )]
    by: Vec<By>,
    /// Compare with this channel (repeatable); else with those whose host is the bill's.
    #[arg(long, value_name = "NAME")]
    channel: Vec<String>,
    /// A file that holds an admin key, in place of the settings'.
    #[arg(long, value_name = "FILE")]
    admin_key_file: Option<PathBuf>,
    /// How to print it. A table rounds money; json and csv are exact.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum By {
    Day,
    Model,
}

/// Prints ledger against bill.
pub(super) fn compare(
    arguments: &Arguments,
    settings: &Settings,
    now: UnixMicros,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let today = utc_day(now);
    let (since, until) = days(arguments, now)?;
    let named = channels(arguments, settings)?;
    let billing = &settings.sources.billing;
    let client = BillingClient::new(
        billing.base_url.clone(),
        admin_key(arguments, settings)?,
        billing.project.clone(),
    )?;
    let query = UsageQuery {
        since: Some(start_of(since)),
        until: Some(start_of(until)),
        by: vec![GroupBy::Day, GroupBy::Model, GroupBy::Api, GroupBy::Channel],
        timezone: TimeZone::UTC,
        ..UsageQuery::default()
    };
    let (usage, bill) = wait(async {
        let usage = ledger_usage(&query, settings, output).await?;
        refuse_unknown(&named, settings, &usage)?;
        let bill = patiently(output, AT_WORK, client.bill(since, until)).await?;
        Ok((usage, bill))
    })?;
    let ledger: Vec<LedgerUsage> = usage
        .rows
        .iter()
        .filter_map(|row| of_row(row, &named))
        .collect();
    let prices = in_use(settings)?.table();
    let terms = Terms {
        prices: &prices,
        today,
        one_project: billing.project.is_some(),
        by_day: arguments.by.contains(&By::Day),
        by_model: arguments.by.contains(&By::Model),
    };
    let result = reconcile(&ledger, &bill, &terms);
    let answer = ReconciliationJson::new(
        (start_of(since), start_of(until)),
        &billing.base_url.to_string(),
        billing.project.as_deref(),
        named,
        result,
    );
    let text = match arguments.format {
        Format::Json => format!("{}\n", serde_json::to_string_pretty(&answer)?),
        Format::Csv => reconcile_output::as_csv(&answer),
        Format::Table => reconcile_output::as_table(&answer, &terms, output),
    };
    output.text(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// The first day and the day after the last, UTC.
fn days(arguments: &Arguments, now: UnixMicros) -> Result<(Date, Date), Failure> {
    // A date is the bill's day, not the one it begins on where the reader lives.
    let time = |argument, text: &str| moment(argument, text, now, &TimeZone::UTC);
    let since = utc_day(time("since", &arguments.since)?);
    let until = match &arguments.until {
        // A moment within a day takes in that day.
        Some(until) => time("until", until)?.0.saturating_sub(1),
        None => now.0,
    };
    let last = utc_day(UnixMicros(until.min(now.0)));
    let until = last
        .checked_add(1.day())
        .map_err(|_| Failure::Usage("--until is beyond the calendar".to_owned()))?;
    if until <= since {
        return Err(Failure::Usage(
            "there is no day between --since and --until that has begun".to_owned(),
        ));
    }
    Ok((since, until))
}

fn utc_day(moment: UnixMicros) -> Date {
    moment.timestamp().to_zoned(TimeZone::UTC).date()
}

fn start_of(day: Date) -> UnixMicros {
    day.to_zoned(TimeZone::UTC)
        .map_or(UnixMicros(0), |start| start.timestamp().into())
}

/// The channels that the bill is about.
fn channels(arguments: &Arguments, settings: &Settings) -> Result<Vec<String>, Failure> {
    if !arguments.channel.is_empty() {
        return Ok(arguments.channel.clone());
    }
    let billing = &settings.sources.billing.base_url;
    let same_host: Vec<String> = settings
        .channels
        .iter()
        .filter(|channel| channel.base_url.host == billing.host)
        .map(|channel| channel.name.as_ref().to_owned())
        .collect();
    if same_host.is_empty() {
        return Err(Failure::Usage(format!(
            "no channel goes to {}, whose bill would be read; name the channels it is for with \
             --channel, or set `sources.billing.base_url`",
            billing.host
        )));
    }
    Ok(same_host)
}

/// Refuses a channel that neither the settings nor the ledger know: with a name that is misspelt
/// everything on the bill would look as if it had come another way.
fn refuse_unknown(
    named: &[String],
    settings: &Settings,
    usage: &UsageSummaryJson,
) -> Result<(), Failure> {
    let configured = settings.channels.iter().map(|channel| &*channel.name);
    let recorded = usage.rows.iter();
    let recorded = recorded.filter_map(|row| row.group.get("channel")?.as_deref());
    let known: BTreeSet<&str> = configured.chain(recorded).collect();
    match named.iter().find(|name| !known.contains(name.as_str())) {
        None => Ok(()),
        Some(unknown) => {
            let known: Vec<&str> = known.into_iter().collect();
            Err(Failure::Usage(format!(
                "--channel {unknown}: neither the settings nor the ledger have a channel of this \
                 name; they have: {}",
                known.join(", ")
            )))
        }
    }
}

/// The key: named here, else of the settings, else of the environment.
fn admin_key(arguments: &Arguments, settings: &Settings) -> Result<Secret, Failure> {
    if let Some(path) = &arguments.admin_key_file {
        return key_in(path);
    }
    if let Some(key) = &settings.sources.billing.admin_key {
        return Ok(key.clone());
    }
    match std::env::var(KEY_VARIABLE) {
        Ok(key) if is_key(&key) => Ok(Secret::new(key)),
        Ok(key) if !key.is_empty() => Err(Failure::Usage(format!(
            "{KEY_VARIABLE} holds a character that no key has"
        ))),
        _ => Err(Failure::Usage(format!(
            "the provider shows its bill to admin keys only: name a file that holds one in \
             `sources.billing.admin_key_file` or --admin-key-file, or set {KEY_VARIABLE}"
        ))),
    }
}

fn key_in(path: &Path) -> Result<Secret, Failure> {
    let refuse =
        |reason: &str| Failure::Usage(format!("--admin-key-file: {}: {reason}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| refuse(&error.to_string()))?;
    let key = text.trim_end_matches(['\n', '\r']);
    if is_key(key) {
        Ok(Secret::new(key))
    } else {
        Err(refuse(
            "this is no key: it is empty, or holds a character that no key has",
        ))
    }
}

fn is_key(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

async fn ledger_usage(
    query: &UsageQuery,
    settings: &Settings,
    output: &Output,
) -> Result<UsageSummaryJson, Failure> {
    let asked = async {
        let source = Source::open(settings, output).await?;
        source.usage(query).await
    };
    match asked.await {
        // Nothing was recorded: everything on the bill came another way.
        Err(failure) if is_no_ledger(&failure) => {
            Ok(UsageSummaryJson::new(query, UsageSummary::default()))
        }
        answer => answer,
    }
}

/// A row of the ledger's as the comparison takes it; `None` when it has no place on this bill.
fn of_row(row: &UsageRowJson, channels: &[String]) -> Option<LedgerUsage> {
    let group = |name: &str| row.group.get(name).cloned().flatten();
    let channel = group("channel")?;
    let api: Api = group("api")?.parse().ok()?;
    if !channels.contains(&channel) || !is_billed(api) {
        return None;
    }
    let tokens = row.sums.tokens.by_type();
    Some(LedgerUsage {
        day: group("day")?.parse().ok()?,
        model: group("model"),
        requests: row.sums.requests.saturating_sub(row.sums.errors),
        failed: row.sums.errors.saturating_sub(row.sums.unbilled_requests),
        input_tokens: sum(&tokens, is_input),
        output_tokens: sum(&tokens, |kind| !is_input(kind)),
        cost: row.sums.cost_usd.map(|cost| cost.0),
        unpriced: row.sums.unpriced_requests,
        missing_usage: row.sums.missing_usage_requests,
        partial: row.sums.partial_requests,
        estimated: row.sums.estimated_requests,
        batches: api == Api::Batches,
    })
}

/// Whether calls of an API are on the bill.
fn is_billed(api: Api) -> bool {
    match api {
        Api::Chat
        | Api::Responses
        | Api::Completions
        | Api::Embeddings
        | Api::Images
        | Api::Audio
        | Api::Realtime
        | Api::Moderations
        | Api::Batches => true,
        // Lists and uploads cost nothing by themselves; the others are other providers'.
        Api::Messages | Api::Gemini | Api::Models | Api::Files | Api::Other => false,
    }
}

fn is_input(kind: TokenType) -> bool {
    match kind {
        TokenType::Input
        | TokenType::InputCached
        | TokenType::InputCacheWrite
        | TokenType::InputAudio
        | TokenType::InputImage => true,
        TokenType::Output
        | TokenType::Reasoning
        | TokenType::OutputAudio
        | TokenType::OutputImage => false,
    }
}

fn sum(tokens: &Tokens, of: impl Fn(TokenType) -> bool) -> Option<u64> {
    tokens
        .iter()
        .filter(|&(kind, _)| of(kind))
        .map(|(_, count)| count)
        .reduce(u64::saturating_add)
}
