//! `tollgate rules backtest`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::ValueEnum;

use super::{backtest_json, backtest_table};
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::patience::patiently;
use crate::cli::question::{moment, wait};
use crate::cli::source::catch_up;
use crate::clock::UnixMicros;
use crate::config::Settings;
use crate::ledger::QueryError;
use crate::ledger::query::{Reader, Turn};
use crate::rules::backtest::{Backtest, BacktestReport};
use crate::rules::{KnownNames, RuleSet, load};

/// What a person reads who waits.
const AT_WORK: &str = "replaying the ledger's requests";

/// `tollgate rules backtest`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Files of rules. Every rule is taken as enforced, whatever its `mode`.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// From when on: how long ago (`90m`, `30d`), a date, or RFC 3339.
    #[arg(long, value_name = "T", default_value = "30d")]
    since: String,
    /// Up to when; now when not given.
    #[arg(long, value_name = "T")]
    until: Option<String>,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

/// Replays the ledger through the rules and prints what they would have done.
pub(super) fn backtest(
    arguments: &Arguments,
    settings: &Settings,
    now: UnixMicros,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let time = |argument, text: &str| moment(argument, text, now, &settings.timezone);
    let since = time("since", &arguments.since)?;
    let until = match &arguments.until {
        Some(until) => time("until", until)?.min(now),
        None => now,
    };
    if until <= since {
        return Err(Failure::Usage(
            "--until must be later than --since, and --since in the past".to_owned(),
        ));
    }
    let loaded = load(&arguments.files, &settings.timezone, &KnownNames::default());
    let loaded = loaded.map_err(Failure::Settings)?;
    // What is dubious about them is for `check` to say; most of it is about modes.
    let report = wait(replayed(loaded.set, settings, (since, until), output))?;
    let text = match arguments.format {
        Format::Json => backtest_json::render(&report)?,
        Format::Table => backtest_table::render(&report, &settings.timezone, output),
    };
    output.text(&text)?;
    Ok(ExitCode::SUCCESS)
}

async fn replayed(
    set: RuleSet,
    settings: &Settings,
    (since, until): (UnixMicros, UnixMicros),
    output: &Output,
) -> Result<BacktestReport, Failure> {
    catch_up(&settings.data_dir, output).await;
    let reader = Reader::open(&settings.data_dir)?;
    let channels: Vec<Arc<str>> = settings
        .channels
        .iter()
        .map(|channel| Arc::clone(&channel.name))
        .collect();
    let work = tokio::task::spawn_blocking(move || {
        let mut backtest = Backtest::new(&set, channels, since, until);
        let reach = backtest.reach();
        backtest.remember(|remember| {
            reader.replay(reach, since, |turn, request| {
                if turn == Turn::Ends {
                    remember(&request.sample);
                }
            })
        })?;
        reader.replay(since, until, |turn, request| match turn {
            Turn::Begins => backtest.begins(request.id, &request.sample),
            Turn::Ends => backtest.ends(request.id, &request.sample),
        })?;
        Ok::<_, QueryError>(backtest.report())
    });
    match patiently(output, AT_WORK, work).await {
        Ok(report) => Ok(report?),
        // A panic in there is a fault of the program, told by its own message.
        Err(fault) => Err(Failure::Runtime(std::io::Error::other(fault))),
    }
}
