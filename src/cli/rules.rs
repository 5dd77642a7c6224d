//! `tollgate rules`.

mod test;

use std::process::ExitCode;

use clap::Subcommand;

use super::failure::Failure;
use super::output::Output;

/// `tollgate rules`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Run tests of rules: files of requests and the alerts they must lead to; exit 1 if one fails.
    Test(test::Arguments),
}

/// Does what the arguments say.
pub(super) fn rules(arguments: &Arguments, output: &Output) -> Result<ExitCode, Failure> {
    match &arguments.action {
        Action::Test(own) => test::test(own, output),
    }
}
