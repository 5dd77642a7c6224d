//! `tollgate check`.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use super::amounts;
use super::failure::Failure;
use super::output::Output;
use crate::alert::Mode;
use crate::config::{Loaded, Problem, Problems, Settings, Unsound};
use crate::keys;
use crate::ledger::stored_keys;
use crate::pricing::load_files;
use crate::rules::{self, KnownNames, LoadedRules, RuleSet};

/// Says what is wrong with the settings and with the files of prices and rules that they name, or what
/// all that amounts to. The problems are this command's answer, so they go to standard output.
pub(super) fn check(
    examined: Result<Loaded, Unsound>,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let loaded = match examined {
        Ok(loaded) => loaded,
        Err(Unsound { problems, settings }) => {
            // Which channels and keys there are is not certain, so that nothing is said of them.
            let more = settings.map(|settings| named_files(&settings, &KnownNames::default()));
            let more = more.and_then(Result::err);
            return refuse(
                problems.0.into_iter().chain(more.into_iter().flatten()),
                output,
            );
        }
    };
    let rules = match named_files(&loaded.settings, &known_names(&loaded.settings)) {
        Ok(rules) => rules,
        Err(problems) => return refuse(problems, output),
    };
    let mut text = String::new();
    for warning in loaded.warnings.iter().chain(&rules.warnings) {
        // Writing to a String does not fail.
        let _ = writeln!(text, "warning: {warning}");
    }
    let _ = made_keys(&mut text, &loaded.settings);
    let from = match &loaded.file {
        Some(file) => file.display().to_string(),
        None => "no settings file, all defaults".to_owned(),
    };
    let _ = writeln!(text, "ok: {from}");
    let _ = summary(&mut text, &loaded.settings, &rules.set);
    output.text(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Tells the problems.
fn refuse(
    problems: impl IntoIterator<Item = Problem>,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let problems = Problems(problems.into_iter().collect());
    let count = problems.0.len();
    let plural = if count == 1 { "" } else { "s" };
    output.text(&format!("{problems}\n\n{count} problem{plural}\n"))?;
    Err(Failure::Told)
}

/// Reads the files of prices and rules. Every problem of all of them is told.
fn named_files(settings: &Settings, names: &KnownNames) -> Result<LoadedRules, Vec<Problem>> {
    let prices = load_files(&settings.prices.files);
    let rules = rules::load(&settings.rules, &settings.timezone, names);
    match (prices, rules) {
        (Ok(_), Ok(rules)) => Ok(rules),
        (prices, rules) => {
            let of_both = [prices.err(), rules.err()].into_iter().flatten();
            Err(of_both.flat_map(|problems| problems.0).collect())
        }
    }
}

/// The names that rules may speak of. Of a ledger that cannot be read, nobody knows the keys.
fn known_names(settings: &Settings) -> KnownNames {
    match stored_keys(&settings.data_dir) {
        Ok(stored) => {
            let living = stored.iter().filter(|key| key.is_living());
            KnownNames::of(settings, living.map(|key| Arc::clone(&key.name)))
        }
        Err(_) => KnownNames {
            keys: None,
            ..KnownNames::of(settings, [])
        },
    }
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

fn summary(text: &mut String, settings: &Settings, rules: &RuleSet) -> std::fmt::Result {
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
    for receiver in &settings.notify.receivers {
        let kind = receiver.target.kind();
        writeln!(text, "  receiver  {} ({kind})", receiver.name)?;
    }
    writeln!(
        text,
        "  rules     {}",
        rules_in_short(rules, settings.rules.len())
    )
}

/// How many rules there are, and which of them act.
fn rules_in_short(rules: &RuleSet, files: usize) -> String {
    let count = rules.rules.len();
    if count == 0 {
        return "none".to_owned();
    }
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    let enforced: Vec<&str> = rules
        .rules
        .iter()
        .filter(|rule| rule.mode == Mode::Enforce)
        .map(|rule| &*rule.name)
        .collect();
    let enforced = match enforced.as_slice() {
        [] => "none enforces".to_owned(),
        names => format!("enforcing: {}", names.join(", ")),
    };
    format!(
        "{count} rule{} of {files} file{} ({enforced})",
        plural(count),
        plural(files)
    )
}
