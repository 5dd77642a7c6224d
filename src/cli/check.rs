//! `tollgate check`.

use std::fmt::Write as _;
use std::process::ExitCode;

use super::amounts;
use super::failure::Failure;
use super::output::Output;
use crate::config::{Loaded, Settings};
use crate::keys;
use crate::ledger::stored_keys;
use crate::pricing::load_files;

/// Loads the settings and says what is wrong with them, or what they amount to. The problems are
/// this command's answer, so they go to standard output.
pub(super) fn check(
    load: impl FnOnce() -> Result<Loaded, Failure>,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let checked = load().and_then(|loaded| {
        load_files(&loaded.settings.prices.files).map_err(Failure::Settings)?;
        Ok(loaded)
    });
    let loaded = match checked {
        Ok(loaded) => loaded,
        Err(Failure::Settings(problems)) => {
            let count = problems.0.len();
            let plural = if count == 1 { "" } else { "s" };
            output.text(&format!("{problems}\n\n{count} problem{plural}\n"))?;
            return Err(Failure::Told);
        }
        Err(failure) => return Err(failure),
    };
    let mut text = String::new();
    for warning in &loaded.warnings {
        // Writing to a String does not fail.
        let _ = writeln!(text, "warning: {warning}");
    }
    let _ = made_keys(&mut text, &loaded.settings);
    let from = match &loaded.file {
        Some(file) => file.display().to_string(),
        None => "no settings file, all defaults".to_owned(),
    };
    let _ = writeln!(text, "ok: {from}");
    let _ = summary(&mut text, &loaded.settings);
    output.text(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// What the keys that were made and channels mean for each other; the settings' own are checked with
/// them.
fn made_keys(text: &mut String, settings: &Settings) -> std::fmt::Result {
    // Whoever cannot read the ledger is told by the commands that are about it.
    let Ok(stored) = stored_keys(&settings.data_dir) else {
        return Ok(());
    };
    for key in stored.iter().filter(|key| key.is_living()) {
        for channel in keys::missing_channels(&key.grant, &settings.channels) {
            writeln!(
                text,
                "warning: the key `{}` is bound to `{channel}`, which is no channel: what would go \
                 there is refused; bring the channel back, or revoke the key and make another",
                key.name
            )?;
        }
    }
    if !keys::are_required(settings, &stored) || !settings.keys.is_empty() {
        return Ok(());
    }
    for channel in &settings.channels {
        if !channel.brings_credential() {
            writeln!(
                text,
                "warning: the channel `{}` has no `api_key`: there are clients' keys (`tollgate \
                 keys list`), which are not passed on, so its upstream sees no credential; give it \
                 an `api_key` or `api_key_file`, unless its upstream asks for none",
                channel.name
            )?;
        }
    }
    Ok(())
}

fn summary(text: &mut String, settings: &Settings) -> std::fmt::Result {
    let scheme = if settings.tls.is_some() {
        "https"
    } else {
        "http"
    };
    writeln!(text, "  listen    {scheme}://{}", settings.listen)?;
    let token = if settings.admin.token.is_some() {
        "with a token"
    } else {
        "without a token"
    };
    writeln!(
        text,
        "  admin     http://{} ({token})",
        settings.admin.listen
    )?;
    for channel in &settings.channels {
        let credential = if channel.api_key.is_some() {
            "its own key"
        } else {
            "the client's key"
        };
        writeln!(
            text,
            "  channel   {} → {} ({credential})",
            channel.name, channel.base_url
        )?;
    }
    let ledger = settings.data_dir.join("tollgate.db");
    let retention = match settings.ledger.retention {
        Some(retention) => format!("rows kept for {}", amounts::span(retention)),
        None => "rows kept for ever".to_owned(),
    };
    writeln!(text, "  ledger    {} ({retention})", ledger.display())?;
    for file in &settings.prices.files {
        writeln!(text, "  prices    {}", file.display())?;
    }
    Ok(())
}
