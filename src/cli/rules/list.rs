//! `tollgate rules list`.

use std::process::ExitCode;

use super::alert_table;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::question::wait;
use crate::cli::requests::Format;
use crate::cli::source::{Source, is_no_ledger, rules_at_rest};
use crate::clock::UnixMicros;
use crate::config::Settings;

/// `tollgate rules list`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ListArguments {
    /// Show every alert: those that are inactive too, of each rule, however many.
    #[arg(long)]
    all: bool,
    /// How to print them.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Shows what the rules say now.
pub(super) fn list(
    arguments: &ListArguments,
    settings: &Settings,
    now: UnixMicros,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let found = wait(async {
        let source = Source::open(settings, output).await?;
        let rules = source.rules(settings, now).await?;
        Ok((rules, source.is_at_rest()))
    });
    let (rules, at_rest) = match found {
        // Nothing was recorded yet: no rule has anything to say.
        Err(failure) if is_no_ledger(&failure) => (rules_at_rest(settings, None, now)?, true),
        found => found?,
    };
    if at_rest && !rules.is_empty() {
        output.note(
            "no sidecar was asked: this is what the rules' files make of the ledger; requests on \
             their way and refusals are not known",
        );
    }
    let text = match arguments.format {
        Format::Json => format!("{}\n", serde_json::to_string_pretty(&rules)?),
        Format::Table if rules.is_empty() => {
            "There are no rules; `rules` of the settings names files of them.\n".to_owned()
        }
        Format::Table => {
            alert_table::alerts(&rules, arguments.all, now, &settings.timezone, output)
        }
    };
    output.text(&text)?;
    Ok(ExitCode::SUCCESS)
}
