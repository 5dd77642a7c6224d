//! `tollgate prices reprice`.

use std::process::ExitCode;
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::amounts::{self, UNKNOWN, count, name_or_unknown, signed, usd};
use super::failure::Failure;
use super::output::Output;
use super::owner;
use super::patience::patiently;
use super::prices::in_use;
use super::question::{moment, wait, who};
use super::source::{NoSidecar, catch_up, sidecar};
use super::table::{Sheet, Tone};
use crate::admin::json::{RepriceReportJson, RepricedJson, Usd};
use crate::channel::sellers;
use crate::clock::UnixMicros;
use crate::config::Settings;
use crate::ledger::{self, OpenError, PriceBook, Reader, RepriceError, RepriceQuery};

/// What a person reads who waits.
const AT_WORK: &str = "pricing the ledger's requests anew";

/// `tollgate prices reprice`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Requests that started since: how long ago (`90m`, `7d`), a date, or RFC 3339.
    #[arg(long, value_name = "T")]
    since: String,
    /// Requests that started before; now when not given.
    #[arg(long, value_name = "T")]
    until: Option<String>,
    /// Answered by this model, or asked for it where the provider named none.
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// Only tell what would change.
    #[arg(long)]
    dry_run: bool,
    /// Print it as JSON, exactly; the table rounds money.
    #[arg(long)]
    json: bool,
}

/// Prices history anew and prints what changed.
pub(super) fn reprice(
    arguments: &Arguments,
    settings: &Settings,
    now: UnixMicros,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let time = |argument, text: &str| moment(argument, text, now, &settings.timezone);
    let query = RepriceQuery {
        since: time("since", &arguments.since)?,
        until: match &arguments.until {
            Some(until) => time("until", until)?,
            None => now,
        },
        model: arguments.model.clone(),
        who: who(),
    };
    if query.until <= query.since {
        return Err(Failure::Usage(
            "--until must be later than --since".to_owned(),
        ));
    }
    let report = wait(ask(&query, arguments.dry_run, settings, output))?;
    let text = if arguments.json {
        format!("{}\n", serde_json::to_string_pretty(&report)?)
    } else {
        render(&report, &settings.timezone, output)
    };
    output.text(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// By the sidecar that runs, which alone may write its ledger; else here, in its place.
async fn ask(
    query: &RepriceQuery,
    dry_run: bool,
    settings: &Settings,
    output: &Output,
) -> Result<RepriceReportJson, Failure> {
    let not_asked = match sidecar(settings).await {
        Ok(client) => {
            let asked = client.reprice(query, dry_run);
            return Ok(patiently(output, AT_WORK, asked).await?);
        }
        Err(NoSidecar::Absent) => None,
        Err(NoSidecar::Other(reason)) => Some(reason),
    };
    let prices = PriceBook {
        table: in_use(settings)?.table(),
        sellers: Arc::new(sellers(&settings.channels)),
    };
    let (data_dir, own) = (settings.data_dir.clone(), query.clone());
    let work = if dry_run {
        if let Some(reason) = &not_asked {
            output.note(&format!("{reason}; reading the ledger's files instead"));
        }
        catch_up(&data_dir, output).await;
        tokio::task::spawn_blocking(move || {
            Ok(Reader::open(&data_dir)?.preview_repricing(own, prices)?)
        })
    } else {
        owner::refuse_anothers(&data_dir)?;
        tokio::task::spawn_blocking(move || ledger::reprice(&data_dir, own, prices))
    };
    let done = patiently(output, AT_WORK, work).await;
    match done.unwrap_or(Err(RepriceError::Fault)) {
        Ok(report) => Ok(RepriceReportJson::new(query, dry_run, report)),
        // A sidecar does run. Why it could not be asked is what has to be mended.
        Err(RepriceError::Open(OpenError::InUse { .. })) if not_asked.is_some() => {
            Err(Failure::NotWritten(not_asked.unwrap_or_default()))
        }
        Err(RepriceError::Read(error)) => Err(error.into()),
        Err(error) => Err(error.into()),
    }
}

fn render(report: &RepriceReportJson, timezone: &TimeZone, output: &Output) -> String {
    let range = format!(
        "from {} until {} ({})",
        amounts::moment(report.since.0, timezone),
        amounts::moment(report.until.0, timezone),
        amounts::zone(timezone)
    );
    let mut text = if report.total.requests == 0 {
        format!("No requests {range}.\n")
    } else {
        let layers = report.layers.join(", ");
        let layers = amounts::shown(&layers);
        format!("Prices {range}\nby {layers}\n\n{}", table(report, output))
    };
    let changed = count(report.total.changed_requests);
    let mut say = |line: &str| {
        text.push('\n');
        text.push_str(line);
        text.push('\n');
    };
    match report.run {
        _ if report.dry_run && report.total.changed_requests > 0 => {
            say(&format!(
                "Nothing was changed: without --dry-run {changed} requests get their new cost."
            ));
        }
        Some(run) => say(&format!(
            "{changed} requests got a new cost (run {run}); `tollgate requests --id` shows their earlier ones."
        )),
        None if report.total.requests > 0 && report.total.changed_estimates == 0 => {
            say("Nothing changes: every request with a price costs what it says already.");
        }
        None => {}
    }
    if report.total.changed_estimates > 0 {
        say(&format!(
            "Estimates beside a usage that is missing: {} {} another cost.",
            count(report.total.changed_estimates),
            if report.dry_run { "would get" } else { "got" }
        ));
    }
    if report.expired_requests > 0 {
        say(&format!(
            "{} requests of this range are older than the ledger's retention: only their sums are \
             left, which keep the cost they had.",
            count(report.expired_requests)
        ));
    }
    text
}

fn table(report: &RepriceReportJson, output: &Output) -> String {
    let with_notes = !notes(&report.total).is_empty();
    let mut sheet = Sheet::new(output);
    sheet.column("model", false, 0);
    for title in ["requests", "changed", "old cost", "new cost", "difference"] {
        sheet.column(title, true, u8::from(title == "changed"));
    }
    if with_notes {
        sheet.column("as they were", false, 0);
    }
    let mut add = |name: String, row: &RepricedJson, tone: Tone| {
        let mut cells = vec![
            (name, tone),
            (count(row.requests), tone),
            (count(row.changed_requests), tone),
            (usd_or_unknown(row.old_cost_usd), tone),
            (usd_or_unknown(row.new_cost_usd), tone),
            (difference(row), tone),
        ];
        if with_notes {
            let doubtful = row.kept_requests > 0
                || row.unpriced_requests > 0
                || row.unknown_seller_requests > 0;
            let tone = if doubtful { Tone::Doubtful } else { tone };
            cells.push((notes(row), tone));
        }
        sheet.row(cells);
    };
    for row in &report.models {
        add(name_or_unknown(row.model.as_deref()), row, Tone::Plain);
    }
    add("total".to_owned(), &report.total, Tone::Strong);
    sheet.render()
}

fn usd_or_unknown(cost: Option<Usd>) -> String {
    cost.map_or_else(|| UNKNOWN.to_owned(), |cost| usd(cost.0))
}

fn difference(row: &RepricedJson) -> String {
    match row.new_cost_usd {
        Some(_) => signed(row.difference_usd.0),
        None => UNKNOWN.to_owned(),
    }
}

/// Which requests prices could not touch, and why.
fn notes(row: &RepricedJson) -> String {
    let notes = [
        (row.kept_requests, "no price now: kept"),
        (row.unpriced_requests, "unpriced"),
        (row.stated_requests, "stated by the provider"),
        (row.without_usage_requests, "without usage"),
        (row.unknown_seller_requests, "channel gone: kept"),
    ];
    let notes: Vec<String> = notes
        .into_iter()
        .filter(|&(requests, _)| requests > 0)
        .map(|(requests, why)| format!("{} {why}", count(requests)))
        .collect();
    notes.join(", ")
}
