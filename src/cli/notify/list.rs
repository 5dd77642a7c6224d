//! `tollgate notify list`.

use std::process::ExitCode;

use jiff::tz::TimeZone;

use crate::admin::json::NotificationJson;
use crate::alert::NotificationKind;
use crate::cli::amounts::{self, count, shown};
use crate::cli::csv::{self, Cell};
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::question::{moment, wait};
use crate::cli::source::{Source, is_no_ledger};
use crate::cli::table::{Sheet, Tone};
use crate::cli::usage::Format;
use crate::clock::UnixMicros;
use crate::config::Settings;
use crate::ledger::query::{NotificationFilter, NotificationState};

/// `tollgate notify list`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// To this receiver.
    #[arg(long, value_name = "NAME")]
    receiver: Option<String>,
    /// About this: alert, channel, digest, undelivered.
    #[arg(long, value_name = "KIND")]
    kind: Option<NotificationKind>,
    /// That came to this: open (still to be sent), sent, merged, replaced, dead.
    #[arg(long, value_name = "RESULT")]
    result: Option<NotificationState>,
    /// Made since: how long ago (`90m`, `7d`), a date, or RFC 3339.
    #[arg(long, value_name = "T")]
    since: Option<String>,
    /// How many.
    #[arg(long, value_name = "N", default_value_t = 20)]
    last: u32,
    /// How to print them. In csv a text that a spreadsheet would run as a formula gets an apostrophe
    /// in front.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Prints what was told to whom.
pub(super) fn list(
    arguments: Arguments,
    settings: &Settings,
    now: UnixMicros,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let since = arguments.since.as_deref();
    let since = since.map(|text| moment("since", text, now, &settings.timezone));
    let filter = NotificationFilter {
        receiver: arguments.receiver,
        kind: arguments.kind,
        state: arguments.result,
        since: since.transpose()?,
        ..NotificationFilter::default()
    };
    let found = wait(async {
        let source = Source::open(settings, output).await?;
        source.notifications(&filter, arguments.last).await
    });
    let told = match found {
        Err(failure) if is_no_ledger(&failure) => Vec::new(),
        found => found?,
    };
    let text = match arguments.format {
        Format::Json => format!("{}\n", serde_json::to_string_pretty(&told)?),
        Format::Csv => as_csv(told),
        Format::Table if told.is_empty() => "No such notifications.\n".to_owned(),
        Format::Table => render(&told, &settings.timezone, output),
    };
    output.text(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn render(told: &[NotificationJson], timezone: &TimeZone, output: &Output) -> String {
    let mut sheet = Sheet::new(output);
    sheet.column(format!("when ({})", amounts::zone(timezone)), false, 0);
    sheet.column("receiver", false, 0);
    sheet.column("kind", false, 3);
    sheet.column("reason", false, 2);
    sheet.column("title", false, 0);
    sheet.column("result", false, 0);
    sheet.column("attempts", true, 4);
    sheet.column("error", false, 1);
    for one in told {
        let tone = match one.result {
            NotificationState::Dead => Tone::Bad,
            NotificationState::Open => Tone::Doubtful,
            NotificationState::Sent | NotificationState::Merged | NotificationState::Replaced => {
                Tone::Plain
            }
        };
        let attempts = one.attempts.map(|attempts| count(u64::from(attempts)));
        let error = one.error.as_deref().unwrap_or_default();
        let cells = [
            (amounts::moment(one.at.0, timezone), Tone::Plain),
            (shown(&one.receiver).into_owned(), Tone::Plain),
            (one.kind.to_string(), Tone::Plain),
            (one.reason.to_string(), Tone::Plain),
            (shown(&one.title).into_owned(), Tone::Plain),
            (one.result.to_string(), tone),
            (attempts.unwrap_or_default(), Tone::Plain),
            (shown(error).into_owned(), Tone::Bad),
        ];
        sheet.row(cells);
    }
    sheet.render()
}

fn as_csv(told: Vec<NotificationJson>) -> String {
    const NAMES: [&str; 14] = [
        "id",
        "at",
        "receiver",
        "kind",
        "reason",
        "group",
        "title",
        "deadline",
        "result",
        "settled_at",
        "attempts",
        "reference",
        "by",
        "error",
    ];
    let text_or_empty = |text: Option<String>| text.map_or(Cell::Empty, Cell::Text);
    let mut text = String::new();
    csv::line(&mut text, NAMES.map(|name| Cell::Exact(name.to_owned())));
    for one in told {
        let cells = [
            Cell::Exact(one.id),
            Cell::Exact(one.at.to_string()),
            Cell::Text(one.receiver),
            Cell::Exact(one.kind.to_string()),
            Cell::Exact(one.reason.to_string()),
            Cell::Text(one.group),
            Cell::Text(one.title),
            Cell::Exact(one.deadline.to_string()),
            Cell::Exact(one.result.to_string()),
            Cell::number(one.settled_at),
            Cell::number(one.attempts),
            text_or_empty(one.reference),
            text_or_empty(one.by),
            text_or_empty(one.error),
        ];
        csv::line(&mut text, cells);
    }
    text
}
