//! `tollgate channels`.

use std::process::ExitCode;

use clap::Subcommand;
use serde::Serialize;

use super::amounts::shown;
use super::channel_table;
use super::client::Client;
use super::failure::Failure;
use super::output::Output;
use super::question::{length, login_name, moment, wait};
use super::requests::Format;
use super::source::{NoSidecar, Source, channels_at_rest, is_no_ledger, sidecar};
use crate::admin::json::ChangedChannelJson;
use crate::clock::UnixMicros;
use crate::config::Settings;
use crate::ledger::query::GateEventFilter;
use crate::record::GateState;

/// `tollgate channels`.
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
    /// List the channels: which are open, who holds the others closed, why and until when.
    List(ListArguments),
    /// Close a channel: no further request goes to it, running ones end.
    Disable(DisableArguments),
    /// Open a channel, whoever holds it closed.
    Enable(EnableArguments),
    /// Show what happened to the channels: closed and opened by whom, why, until when.
    Events(EventsArguments),
}

#[derive(Debug, clap::Args)]
struct ListArguments {
    /// How to print them.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Debug, clap::Args)]
struct DisableArguments {
    /// The channel.
    #[arg(value_name = "NAME")]
    name: String,
    /// For how long, as `90s`, `1h 30m` or `7d`; until it is enabled when not given.
    #[arg(long = "for", value_name = "TIME")]
    span: Option<String>,
    /// Why, for those who look.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// How to print what it is then.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Debug, clap::Args)]
struct EnableArguments {
    /// The channel.
    #[arg(value_name = "NAME")]
    name: String,
    /// Why, for those who look.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// How to print what it is then.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Debug, clap::Args)]
struct EventsArguments {
    /// Of this channel only.
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// How many.
    #[arg(long, value_name = "N", default_value_t = 20)]
    last: u32,
    /// Since when: how long ago (`90m`, `7d`), a date, or RFC 3339.
    #[arg(long, value_name = "T")]
    since: Option<String>,
    /// How to print them.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Does what the arguments say.
pub(super) fn channels(
    arguments: Arguments,
    settings: &Settings,
    now: UnixMicros,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let text = match arguments.command {
        None => list(&arguments.list, settings, now, output),
        Some(Command::List(own)) => list(&own, settings, now, output),
        Some(Command::Disable(own)) => disable(&own, settings, now, output),
        Some(Command::Enable(own)) => enable(&own, settings, now, output),
        Some(Command::Events(own)) => events(own, settings, now, output),
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
        source.channels(settings, now).await
    });
    let channels = match found {
        // Nothing was recorded yet: nobody has closed anything.
        Err(failure) if is_no_ledger(&failure) => channels_at_rest(settings, &[], now)?,
        found => found?,
    };
    match arguments.format {
        Format::Json => json(&channels),
        Format::Table => Ok(channel_table::channels(
            &channels,
            now,
            &settings.timezone,
            output,
        )),
    }
}

fn events(
    arguments: EventsArguments,
    settings: &Settings,
    now: UnixMicros,
    output: &Output,
) -> Result<String, Failure> {
    let since = arguments.since.as_deref();
    let since = since.map(|text| moment("since", text, now, &settings.timezone));
    let filter = GateEventFilter {
        channel: arguments.name,
        since: since.transpose()?,
        ..GateEventFilter::default()
    };
    let found = wait(async {
        let source = Source::open(settings, output).await?;
        source.channel_events(&filter, arguments.last).await
    });
    let events = match found {
        Err(failure) if is_no_ledger(&failure) => Vec::new(),
        found => found?,
    };
    match arguments.format {
        Format::Json => json(&events),
        Format::Table if events.is_empty() => Ok("No such events.\n".to_owned()),
        Format::Table => Ok(channel_table::events(&events, &settings.timezone, output)),
    }
}

fn disable(
    arguments: &DisableArguments,
    settings: &Settings,
    now: UnixMicros,
    output: &Output,
) -> Result<String, Failure> {
    // What the sidecar would refuse is refused before it is asked.
    let span = arguments.span.as_deref();
    let span = span.map(|text| length("for", text)).transpose()?;
    let name = channel_name(&arguments.name)?;
    let reason = arguments.reason.as_deref();
    let changed = wait(async {
        let client = running(settings).await?;
        let who = login_name();
        Ok(client.disable(name, span, reason, who.as_deref()).await?)
    })?;
    told(&changed, arguments.format, settings, now, output)
}

fn enable(
    arguments: &EnableArguments,
    settings: &Settings,
    now: UnixMicros,
    output: &Output,
) -> Result<String, Failure> {
    let name = channel_name(&arguments.name)?;
    let reason = arguments.reason.as_deref();
    let changed = wait(async {
        let client = running(settings).await?;
        let who = login_name();
        Ok(client.enable(name, reason, who.as_deref()).await?)
    })?;
    told(&changed, arguments.format, settings, now, output)
}

/// What may be a channel's name; it goes into a path.
fn channel_name(text: &str) -> Result<&str, Failure> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if !text.is_empty() && text.bytes().all(fits) {
        Ok(text)
    } else {
        let message = format!("`{}` is no name of a channel", shown(text));
        Err(Failure::Usage(message))
    }
}

/// The sidecar, which alone changes gates and silences.
pub(super) async fn running(settings: &Settings) -> Result<Client, Failure> {
    sidecar(settings).await.map_err(|none| match none {
        NoSidecar::Absent => Failure::NoSidecar(settings.admin.listen),
        NoSidecar::Other(reason) => Failure::NotChanged(reason),
    })
}

/// What a channel is after its gate was changed.
fn told(
    changed: &ChangedChannelJson,
    format: Format,
    settings: &Settings,
    now: UnixMicros,
    output: &Output,
) -> Result<String, Failure> {
    if !changed.recorded {
        output.note(
            "the journal cannot be written (see the sidecar's log): this holds now, and would be \
             forgotten if the sidecar were killed",
        );
    }
    if format == Format::Json {
        return json(changed);
    }
    let channel = &changed.channel;
    let name = shown(&channel.name);
    if channel.state == GateState::Open {
        return Ok(format!("{name} is open.\n"));
    }
    let until = channel_table::longest(channel, now, &settings.timezone);
    let left = match channel.in_flight {
        Some(1) => " 1 request is on its way, and may end.".to_owned(),
        Some(running) if running > 1 => {
            format!(" {running} requests are on their way, and may end.")
        }
        _ => String::new(),
    };
    Ok(format!("{name} is closed {until}.{left}\n"))
}

fn json<T: Serialize>(value: &T) -> Result<String, Failure> {
    Ok(format!("{}\n", serde_json::to_string_pretty(value)?))
}
