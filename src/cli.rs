//! The command line. Commands that only ask put their question to the sidecar that runs, or read
//! the ledger themselves when none does.
//!
//! Exit codes: 0 all is well, 1 it failed, 64 (`EX_USAGE`) the settings or the arguments are wrong.

mod amounts;
mod backup;
mod banner;
mod channel_table;
mod channels;
mod check;
mod client;
mod csv;
mod failure;
mod follow;
mod healthcheck;
mod keys;
mod notify;
mod output;
mod owner;
mod patience;
mod payload_detail;
mod price_show;
mod price_update;
mod prices;
mod question;
mod reconcile;
mod reconcile_output;
mod reprice;
mod request_detail;
mod request_table;
mod requests;
mod restore;
mod rules;
mod silences;
mod source;
mod table;
mod usage;
mod usage_table;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

use crate::app::{Ready, RunError, RunOptions};
use crate::clock::UnixMicros;
use crate::config::{self, Loaded, LogFormat};

use failure::{EX_USAGE, Failure};
use output::Output;

pub use banner::banner;

/// What runs the sidecar: it blocks until the sidecar ends and calls back once it listens.
pub type Run = fn(&Loaded, RunOptions, &dyn Fn(Ready)) -> Result<(), RunError>;

/// A reverse proxy in front of OpenAI-shaped APIs that meters every request.
#[derive(Debug, Parser)]
#[command(
    name = "tollgate",
    version,
    about,
    long_about = "A reverse proxy in front of OpenAI-shaped APIs that meters every request: tokens, cost and \
                  latency go to a ledger and to Prometheus. Without a command it runs the sidecar; with no \
                  settings file at all it proxies https://api.openai.com/v1.",
    max_term_width = 100
)]
struct Arguments {
    /// The settings file; `tollgate.yaml` in the working folder when it is there.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    run: RunArguments,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Args)]
struct RunArguments {
    /// Take the listeners over from the sidecar that runs now, without refusing a connection.
    #[arg(long)]
    upgrade: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the sidecar (what `tollgate` alone does).
    Run(RunArguments),
    /// Check the settings; print every problem with its place and a hint.
    Check,
    /// Show what was used: requests, tokens, cost.
    Usage(usage::Arguments),
    /// List requests, follow them as they end, or show one in full.
    Requests(requests::Arguments),
    /// Channels: which are open, close one, open it again, what happened to them.
    Channels(channels::Arguments),
    /// Rules: what they say now; test them, and see what they would have done.
    Rules(rules::Arguments),
    /// Notifications: what was told to whom, and what became of it; try a receiver.
    Notify(notify::Arguments),
    /// Silences: times in which nobody is told of some alerts; make one, list them, end one.
    Silences(silences::Arguments),
    /// Prices: what a model costs and why, all of them, a newer catalogue, the past priced anew.
    Prices(prices::Arguments),
    /// Compare the ledger with the provider's own account of usage and cost (OpenAI).
    Reconcile(reconcile::Arguments),
    /// Keys for clients: make one, list them, revoke one, stop requiring them.
    Keys(keys::Arguments),
    /// Copy what has to be kept of the data folder, while the sidecar runs or not.
    Backup(backup::Arguments),
    /// Put a backup into the data folder of a sidecar that is not running.
    Restore(restore::Arguments),
    /// Ask the running sidecar whether it takes traffic; exit 0 if so.
    Healthcheck,
}

/// The program: does what `args` (the first is the program's name) say. `run` runs the sidecar.
pub fn main_with_args<A: Into<OsString> + Clone>(
    args: impl IntoIterator<Item = A>,
    run: Run,
) -> ExitCode {
    let arguments = match Arguments::try_parse_from(args) {
        Ok(arguments) => arguments,
        Err(error) => return refused(&error),
    };
    let output = Output::of_process();
    match dispatch(arguments, run, &output) {
        Ok(code) => code,
        Err(failure) => {
            if let Some(text) = failure.text() {
                output.error(&text);
            }
            failure.exit_code()
        }
    }
}

fn dispatch(arguments: Arguments, run: Run, output: &Output) -> Result<ExitCode, Failure> {
    let examine = || -> Result<_, Failure> {
        let working_dir = std::env::current_dir().map_err(Failure::WorkingDir)?;
        let environment = |name: &str| std::env::var(name).ok();
        let examined = config::examine(arguments.config.as_deref(), &environment, &working_dir);
        Ok(examined)
    };
    let load = || examine()?.map_err(|unsound| Failure::Settings(unsound.problems));
    let now = UnixMicros::now();
    match arguments.command {
        Some(Command::Run(own)) => start(&load()?, &own, run, output),
        None => start(&load()?, &arguments.run, run, output),
        // `--upgrade` before a command that runs nothing would do nothing.
        Some(_) if arguments.run.upgrade => {
            Err(Failure::Usage("`--upgrade` belongs to `run`".to_owned()))
        }
        Some(Command::Check) => check::check(examine()?, output),
        Some(Command::Usage(own)) => usage::usage(&own, &load()?.settings, now, output),
        Some(Command::Requests(own)) => requests::requests(own, &load()?.settings, now, output),
        Some(Command::Channels(own)) => channels::channels(own, &load()?.settings, now, output),
        Some(Command::Rules(own)) => rules::rules(&own, load, now, output),
        Some(Command::Notify(own)) => notify::notify(own, &load()?.settings, now, output),
        Some(Command::Silences(own)) => silences::silences(own, &load()?.settings, now, output),
        Some(Command::Prices(own)) => prices::prices(&own, &load()?.settings, now, output),
        Some(Command::Reconcile(own)) => reconcile::compare(&own, &load()?.settings, now, output),
        Some(Command::Keys(own)) => keys::keys(own, &load()?.settings, now, output),
        Some(Command::Backup(own)) => backup::backup(&own, &load()?, now, output),
        Some(Command::Restore(own)) => restore::restore(&own, &load()?.settings, now, output),
        Some(Command::Healthcheck) => healthcheck::healthcheck(&load()?.settings, output),
    }
}

fn start(
    loaded: &Loaded,
    arguments: &RunArguments,
    run: Run,
    output: &Output,
) -> Result<ExitCode, Failure> {
    owner::refuse_anothers(&loaded.settings.data_dir)?;
    let options = RunOptions {
        upgrade: arguments.upgrade,
    };
    run(loaded, options, &|ready| {
        // Where logs are JSON, a machine reads this process, and prose is in its way.
        if loaded.settings.log.format == LogFormat::Text {
            // Nobody reads it: no reason to stop.
            let _ = output.text(&banner(loaded, ready));
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Help and version are answers, everything else from the parser is a refusal.
fn refused(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
        _ => ExitCode::from(EX_USAGE),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_description_is_sound() {
        Arguments::command().debug_assert();
    }
}
