//! `tollgate usage`.

use std::process::ExitCode;

use clap::ValueEnum;
use jiff::tz::TimeZone;

use super::amounts;
use super::csv::{self, Cell};
use super::failure::Failure;
use super::output::Output;
use super::question::{moment, wait};
use super::source::{Source, is_no_ledger};
use super::usage_table;
use crate::admin::json::{Moment, UsageRowJson, UsageSummaryJson};
use crate::clock::UnixMicros;
use crate::config::Settings;
use crate::ledger::query::{GroupBy, UsageQuery, UsageSummary};
use crate::record::{TokenType, Unit};

/// `tollgate usage`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// From when on: how long ago (`90m`, `7d`), a date, or RFC 3339.
    #[arg(long, value_name = "T", default_value = "7d")]
    since: String,
    /// Up to when, exclusive; now when not given.
    #[arg(long, value_name = "T")]
    until: Option<String>,
    /// One row for each combination of model, channel, key, api, tier, day, tag:NAME.
    #[arg(
        long,
        value_name = "BY,…",
        value_delimiter = ',',
        default_value = "model"
    )]
    by: Vec<GroupBy>,
    /// How to print it. A table rounds money; json and csv are exact. In csv a text that a
    /// spreadsheet would run as a formula gets an apostrophe in front.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// How sums are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Table,
    Json,
    Csv,
}

/// Prints usage.
pub(super) fn usage(
    arguments: &Arguments,
    settings: &Settings,
    now: UnixMicros,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let time = |argument, text: &str| moment(argument, text, now, &settings.timezone);
    let mut by: Vec<GroupBy> = Vec::new();
    for group in &arguments.by {
        if by.contains(group) {
            return Err(Failure::Usage(format!("--by names `{group}` twice")));
        }
        by.push(group.clone());
    }
    let query = UsageQuery {
        since: Some(time("since", &arguments.since)?),
        until: match &arguments.until {
            Some(until) => Some(time("until", until)?),
            None => None,
        },
        by,
        timezone: settings.timezone.clone(),
        ..UsageQuery::default()
    };
    let asked = wait(async {
        let source = Source::open(settings, output).await?;
        source.usage(&query).await
    });
    let summary = match asked {
        Ok(summary) => summary,
        // A fresh installation has used nothing: an empty answer, not a failure.
        Err(failure) if is_no_ledger(&failure) => {
            UsageSummaryJson::new(&query, UsageSummary::default())
        }
        Err(failure) => return Err(failure),
    };
    let text = match arguments.format {
        Format::Json => format!("{}\n", serde_json::to_string_pretty(&summary)?),
        Format::Csv => as_csv(&summary),
        Format::Table if summary.total.sums.requests == 0 => nothing(settings, &summary),
        Format::Table => format!(
            "Usage{}\n\n{}",
            range(&summary, &settings.timezone),
            usage_table::render(&summary, output)
        ),
    };
    output.text(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn nothing(settings: &Settings, summary: &UsageSummaryJson) -> String {
    format!(
        "No requests{} in {}.\nPoint an SDK at http://{}/v1 and make a call, or look further back \
         with --since.\n",
        range(summary, &settings.timezone),
        settings.data_dir.join("tollgate.db").display(),
        super::banner::reachable(settings.listen),
    )
}

/// The range in words: ` from … until … UTC`.
fn range(summary: &UsageSummaryJson, timezone: &TimeZone) -> String {
    let edge = |word: &str, at: Option<Moment>| {
        at.map_or_else(String::new, |at| {
            format!(" {word} {}", amounts::moment(at.0, timezone))
        })
    };
    format!(
        "{}{} ({})",
        edge("from", summary.since),
        edge("until", summary.until),
        amounts::zone(timezone)
    )
}

/// The rows, exactly; without a total, which would be counted twice by whoever adds them up.
fn as_csv(summary: &UsageSummaryJson) -> String {
    let mut text = String::new();
    let mut header: Vec<Cell> = summary.by.iter().cloned().map(Cell::Text).collect();
    let mut exact = |name: &str| header.push(Cell::Exact(name.to_owned()));
    exact("requests");
    exact("errors");
    for kind in TokenType::ALL {
        exact(&format!("{kind}_tokens"));
    }
    for name in [
        "total_tokens",
        "cost_usd",
        "unpriced_requests",
        "missing_usage_requests",
        "request_bytes",
        "response_bytes",
        "mean_total_us",
        "mean_first_token_us",
        "partial_requests",
        "estimated_requests",
        "estimated_cost_usd",
    ] {
        exact(name);
    }
    for unit in Unit::ALL {
        exact(unit.column());
    }
    csv::line(&mut text, header);
    for row in &summary.rows {
        csv::line(&mut text, csv_cells(row, &summary.by));
    }
    text
}

fn csv_cells(row: &UsageRowJson, by: &[String]) -> Vec<Cell> {
    let mut cells: Vec<Cell> = by
        .iter()
        .map(|name| match row.group.get(name) {
            Some(Some(value)) => Cell::Text(value.clone()),
            _ => Cell::Empty,
        })
        .collect();
    let tokens = row.sums.tokens.by_type();
    cells.push(Cell::number(Some(row.sums.requests)));
    cells.push(Cell::number(Some(row.sums.errors)));
    cells.extend(
        TokenType::ALL
            .iter()
            .map(|&kind| Cell::number(tokens[kind])),
    );
    cells.push(Cell::number(row.sums.tokens.total_tokens));
    cells.push(Cell::number(row.sums.cost_usd.map(|cost| cost.0)));
    for count in [
        row.sums.unpriced_requests,
        row.sums.missing_usage_requests,
        row.sums.request_bytes,
        row.sums.response_bytes,
    ] {
        cells.push(Cell::number(Some(count)));
    }
    cells.push(Cell::number(row.sums.mean_total_us));
    cells.push(Cell::number(row.sums.mean_first_token_us));
    cells.push(Cell::number(Some(row.sums.partial_requests)));
    cells.push(Cell::number(Some(row.sums.estimated_requests)));
    cells.push(Cell::number(row.sums.estimated_cost_usd.map(|cost| cost.0)));
    let units = row.sums.units.by_unit();
    cells.extend(Unit::ALL.iter().map(|&unit| Cell::number(units[unit])));
    cells
}
