//! `tollgate rules`.

mod alert_table;
mod backtest;
mod backtest_json;
mod backtest_table;
mod chart;
mod list;
mod test;

use std::process::ExitCode;

use clap::Subcommand;

use super::failure::Failure;
use super::output::Output;
use crate::clock::UnixMicros;
use crate::config::Loaded;

/// `tollgate rules`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Arguments {
    #[command(flatten)]
    list: list::ListArguments,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show what the rules say now: what fires, what is used of each budget, when it runs out.
    List(list::ListArguments),
    /// Run tests of rules: files of requests and the alerts they must lead to; exit 1 if one fails.
    Test(test::Arguments),
    /// Replay the ledger through rules: when they would have fired, and what they would have refused.
    Backtest(backtest::Arguments),
}

/// Does what the arguments say. Tests of rules need no settings.
pub(super) fn rules(
    arguments: &Arguments,
    load: impl FnOnce() -> Result<Loaded, Failure>,
    now: UnixMicros,
    output: &Output,
) -> Result<ExitCode, Failure> {
    match &arguments.action {
        None => list::list(&arguments.list, &load()?.settings, now, output),
        Some(Action::List(own)) => list::list(own, &load()?.settings, now, output),
        Some(Action::Test(own)) => test::test(own, output),
        Some(Action::Backtest(own)) => backtest::backtest(own, &load()?.settings, now, output),
    }
}
