//! `tollgate silences`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Subcommand;
use jiff::tz::TimeZone;
use serde::Serialize;
use uuid::Uuid;

use super::amounts::{self, shown};
use super::channels::running;
use super::failure::Failure;
use super::output::Output;
use super::question::{length, wait, who};
use super::requests::Format;
use super::source::{Source, is_no_ledger};
use super::table::{Sheet, Tone};
use crate::admin::json::{SilenceJson, SilenceRequest};
use crate::clock::UnixMicros;
use crate::config::Settings;

/// `tollgate silences`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Arguments {
    #[command(flatten)]
    list: ListArguments,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the silences that hold or will.
    List(ListArguments),
    /// Tell nobody of the alerts that fit, for some time. What they do goes on.
    Add(AddArguments),
    /// End a silence before its time.
    End(EndArguments),
}

#[derive(Debug, clap::Args)]
struct ListArguments {
    /// Those that are over as well.
    #[arg(long)]
    all: bool,
    /// How to print them.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Debug, clap::Args)]
struct AddArguments {
    /// What alerts must fit, all of it: `rule`, `severity` or a label, and the value it must have; `*`
    /// and `?` stand for any characters and for one.
    #[arg(value_name = "NAME=VALUE", required = true, value_parser = matcher)]
    matchers: Vec<(String, String)>,
    /// For how long, as `90s`, `1h 30m` or `7d`.
    #[arg(long = "for", value_name = "TIME")]
    span: String,
    /// Why, for those who look.
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
    /// Who makes it; the login name when not given.
    #[arg(long, value_name = "NAME")]
    who: Option<String>,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Debug, clap::Args)]
struct EndArguments {
    /// The silence's id, as `list` shows it.
    #[arg(value_name = "ID")]
    id: Uuid,
    /// How to print what it was.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

fn matcher(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err("write NAME=VALUE, as `rule=Spend*` or `channel=openai`".to_owned()),
    }
}

/// Does what the arguments say.
pub(super) fn silences(
    arguments: Arguments,
    settings: &Settings,
    now: UnixMicros,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let text = match arguments.command {
        None => list(&arguments.list, settings, now, output),
        Some(Command::List(own)) => list(&own, settings, now, output),
        Some(Command::Add(own)) => add(own, settings),
        Some(Command::End(own)) => end(&own, settings),
    }?;
    output.text(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn list(
    arguments: &ListArguments,
    settings: &Settings,
    now: UnixMicros,
    output: &Output,
) -> Result<String, Failure> {
    let found = wait(async {
        let source = Source::open(settings, output).await?;
        source.silences(arguments.all, now).await
    });
    let silences = match found {
        // Nothing was recorded yet: nobody has silenced anything.
        Err(failure) if is_no_ledger(&failure) => Vec::new(),
        found => found?,
    };
    match arguments.format {
        Format::Json => json(&silences),
        Format::Table if silences.is_empty() && arguments.all => {
            Ok("There were no silences.\n".to_owned())
        }
        Format::Table if silences.is_empty() => Ok("There are no silences.\n".to_owned()),
        Format::Table => Ok(render(&silences, now, &settings.timezone, output)),
    }
}

fn add(arguments: AddArguments, settings: &Settings) -> Result<String, Failure> {
    // What the sidecar would refuse is refused before it is asked.
    length("for", &arguments.span)?;
    let mut matchers = BTreeMap::new();
    for (name, value) in arguments.matchers {
        if matchers.contains_key(&name) {
            let message = format!("`{}` is given twice; an alert has it once", shown(&name));
            return Err(Failure::Usage(message));
        }
        matchers.insert(name, value);
    }
    let request = SilenceRequest {
        matchers,
        span: Some(arguments.span),
        created_by: Some(arguments.who.unwrap_or_else(who)),
        comment: arguments.comment,
        ..SilenceRequest::default()
    };
    let made = wait(async {
        let client = running(settings).await?;
        Ok(client.create_silence(&request).await?)
    })?;
    match arguments.format {
        Format::Json => json(&made),
        Format::Table => Ok(format!(
            "Nobody is told of {} until {} {}; `tollgate silences end {}` ends that.\n",
            matched(&made),
            amounts::moment(made.ends_at.0, &settings.timezone),
            amounts::zone(&settings.timezone),
            shown(&made.id),
        )),
    }
}

fn end(arguments: &EndArguments, settings: &Settings) -> Result<String, Failure> {
    let ended = wait(async {
        let client = running(settings).await?;
        Ok(client.end_silence(arguments.id).await?)
    })?;
    match arguments.format {
        Format::Json => json(&ended),
        Format::Table => Ok(format!("{} is silenced no longer.\n", matched(&ended))),
    }
}

fn render(
    silences: &[SilenceJson],
    now: UnixMicros,
    timezone: &TimeZone,
    output: &Output,
) -> String {
    let zone = amounts::zone(timezone);
    let mut sheet = Sheet::new(output);
    sheet.column("id", false, 0);
    sheet.column("state", false, 0);
    sheet.column("alerts", false, 0);
    sheet.column(format!("from ({zone})"), false, 3);
    sheet.column(format!("until ({zone})"), false, 0);
    sheet.column("by", false, 2);
    sheet.column("comment", false, 1);
    for silence in silences {
        let (state, tone) = if silence.active {
            ("active", Tone::Strong)
        } else if silence.ended_at.is_none() && silence.starts_at.0 > now {
            ("to come", Tone::Plain)
        } else {
            ("over", Tone::Plain)
        };
        let until = silence.ended_at.unwrap_or(silence.ends_at);
        let cells = [
            (shown(&silence.id).into_owned(), Tone::Plain),
            (state.to_owned(), tone),
            (matched(silence), Tone::Plain),
            (amounts::moment(silence.starts_at.0, timezone), Tone::Plain),
            (amounts::moment(until.0, timezone), Tone::Plain),
            (shown(&silence.created_by).into_owned(), Tone::Plain),
            (shown(&silence.comment).into_owned(), Tone::Plain),
        ];
        sheet.row(cells);
    }
    sheet.render()
}

/// What alerts must fit, as it is written to make one.
fn matched(silence: &SilenceJson) -> String {
    let matchers = silence.matchers.iter();
    let matchers: Vec<String> = matchers
        .map(|(name, value)| shown(&format!("{name}={value}")).into_owned())
        .collect();
    matchers.join(" ")
}

fn json<T: Serialize>(value: &T) -> Result<String, Failure> {
    Ok(format!("{}\n", serde_json::to_string_pretty(value)?))
}
