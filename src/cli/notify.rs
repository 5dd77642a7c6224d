//! `tollgate notify`.

mod list;
mod test;

use std::process::ExitCode;

use clap::Subcommand;

use super::failure::Failure;
use super::output::Output;
use crate::clock::UnixMicros;
use crate::config::Settings;

/// `tollgate notify`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List what was told to whom, and what became of it.
    List(list::Arguments),
    /// Send a sample to a receiver and show what was sent and what it answered; exit 1 if it was not taken.
    Test(test::Arguments),
}

/// Does what the arguments say.
pub(super) fn notify(
    arguments: Arguments,
    settings: &Settings,
    now: UnixMicros,
    output: &Output,
) -> Result<ExitCode, Failure> {
    match arguments.command {
        Command::List(own) => list::list(own, settings, now, output),
        Command::Test(own) => test::test(&own, settings, now, output),
    }
}
