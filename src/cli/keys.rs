//! `tollgate keys`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Subcommand;
use jiff::tz::TimeZone;

use super::amounts::{self, shown};
use super::client::Client;
use super::failure::Failure;
use super::output::Output;
use super::owner;
use super::question::{wait, who};
use super::source::{NoSidecar, sidecar};
use super::table::{Sheet, Tone};
use crate::admin::json::{KeyJson, KeyList, KeyRequest, KeysOffJson, MadeKeyJson, Moment};
use crate::admin::new_key;
use crate::clock::UnixMicros;
use crate::config::Settings;
use crate::keys::{self, KeyOrigin, KeyState, KeysError, check_name};
use crate::ledger::{KeyError, OpenError, stored_keys};

/// `tollgate keys`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a key for a client and print it: this once, for only its hash is kept. From the first
    /// key on, every request needs one.
    Create(CreateArguments),
    /// List the keys there are and were; never what clients show.
    List(ListArguments),
    /// Revoke a key, at once and for good.
    Revoke(RevokeArguments),
    /// Stop requiring keys, at once: every request is let in again. Refused while a key is left that
    /// is not revoked, or that stands in the settings.
    Off(OffArguments),
}

#[derive(Debug, clap::Args)]
struct CreateArguments {
    /// Its name, which requests have in the ledger: 1 to 64 of A-Z a-z 0-9 . _ -
    name: String,
    /// From when on it is good for nothing: how long from now (`90d`), a date, or RFC 3339.
    #[arg(long, value_name = "T")]
    expires: Option<String>,
    /// Models it may ask for, as clients name them (`gpt-5*`); can be given several times.
    #[arg(long = "model", value_name = "GLOB")]
    models: Vec<String>,
    /// Channels it may use; can be given several times.
    #[arg(long = "channel", value_name = "NAME")]
    channels: Vec<String>,
    /// The channel its requests go to that name none.
    #[arg(long, value_name = "NAME")]
    default_channel: Option<String>,
    /// A tag of every request made with it; can be given several times.
    #[arg(long = "tag", value_name = "NAME=VALUE", value_parser = tag)]
    tags: Vec<(String, String)>,
    /// Print it as JSON, with what it is good for.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct ListArguments {
    /// As JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct RevokeArguments {
    /// Its name.
    name: String,
    /// Print what it was as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct OffArguments {
    /// Print whether it changed anything as JSON.
    #[arg(long)]
    json: bool,
}

fn tag(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
        .ok_or_else(|| "write NAME=VALUE".to_owned())
}

/// Does what the arguments say.
pub(super) fn keys(
    arguments: Arguments,
    settings: &Settings,
    now: UnixMicros,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let text = match arguments.command {
        Command::Create(own) => wait(create(own, settings, now, output))?,
        Command::List(own) => {
            let list = wait(list(settings, now, output))?;
            if own.json {
                json(&list)?
            } else {
                render(&list, &settings.timezone, output)
            }
        }
        Command::Revoke(own) => wait(revoke(&own, settings, now, output))?,
        Command::Off(own) => {
            let off = wait(off(settings))?;
            if own.json {
                json(&off)?
            } else if off.changed {
                "Keys are off: no request needs one any more.\n".to_owned()
            } else {
                "No request needed a key, and none does; nothing was changed.\n".to_owned()
            }
        }
    };
    output.text(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// What goes to standard output: the key alone, so that a script can take it from there.
async fn create(
    arguments: CreateArguments,
    settings: &Settings,
    now: UnixMicros,
    output: &Output,
) -> Result<String, Failure> {
    let some = |list: Vec<String>| (!list.is_empty()).then_some(list);
    let request = KeyRequest {
        name: arguments.name,
        expires: arguments.expires,
        models: some(arguments.models),
        channels: some(arguments.channels),
        channel: arguments.default_channel,
        tags: BTreeMap::from_iter(arguments.tags),
        by: Some(who()),
    };
    // Here too: what `90d` and a date mean depends on no sidecar.
    let key = new_key(request.clone(), now, &settings.timezone)
        .map_err(|error| Failure::Usage(format!("--expires: {error}")))?;
    let made = match reach(settings).await {
        Writer::Sidecar(client) => client.create_key(&request).await?,
        Writer::Here(reason) => {
            let own = settings.clone();
            let made = blocking(reason, settings, move || keys::make(&own, key, now)).await?;
            MadeKeyJson::new(&made, &settings.channels, now)
        }
    };
    output.note(&format!(
        "this is the only time the key `{}` is shown; from now on every request needs a key, until \
         all are revoked and `tollgate keys off` says that none does",
        shown(&made.about.name)
    ));
    if arguments.json {
        json(&made)
    } else {
        Ok(format!("{}\n", made.key))
    }
}

async fn list(settings: &Settings, now: UnixMicros, output: &Output) -> Result<KeyList, Failure> {
    match reach(settings).await {
        Writer::Sidecar(client) => return Ok(client.keys().await?),
        Writer::Here(Some(reason)) => {
            output.note(&format!("{reason}; reading the ledger's files instead"));
        }
        Writer::Here(None) => {}
    }
    list_here(settings, now)
}

/// What the ledger's files say.
fn list_here(settings: &Settings, now: UnixMicros) -> Result<KeyList, Failure> {
    let made = stored_keys(&settings.data_dir)?;
    let required = keys::are_required(settings, &made);
    Ok(KeyList::new(
        required,
        &settings.keys,
        &made,
        &settings.channels,
        now,
    ))
}

async fn revoke(
    arguments: &RevokeArguments,
    settings: &Settings,
    now: UnixMicros,
    output: &Output,
) -> Result<String, Failure> {
    // It becomes a part of a path.
    check_name(&arguments.name).map_err(KeysError::Bad)?;
    let (revoked, left) = match reach(settings).await {
        Writer::Sidecar(client) => {
            let revoked = client.revoke_key(&arguments.name).await?;
            (revoked, client.keys().await?)
        }
        Writer::Here(reason) => {
            let name = Arc::from(arguments.name.as_str());
            let own = settings.clone();
            let revoked =
                blocking(reason, settings, move || keys::revoke(&own, &name, now)).await?;
            let revoked = KeyJson::made(&revoked, &settings.channels, now);
            (revoked, list_here(settings, now)?)
        }
    };
    let stays = |key: &KeyJson| key.name == revoked.name && key.origin == KeyOrigin::Settings;
    if left.keys.iter().any(stays) {
        output.note(&format!(
            "a key of the settings is named `{}` too and stays; take it out of `keys` there",
            shown(&revoked.name)
        ));
    }
    if none_is_good(&left) {
        output.note(
            "no key is left: every request is refused until there is another, or until `tollgate \
             keys off` says that none is needed",
        );
    }
    if arguments.json {
        json(&revoked)
    } else {
        Ok(format!("The key `{}` is revoked.\n", shown(&revoked.name)))
    }
}

async fn off(settings: &Settings) -> Result<KeysOffJson, Failure> {
    match reach(settings).await {
        Writer::Sidecar(client) => Ok(client.keys_off().await?),
        Writer::Here(reason) => {
            let own = settings.clone();
            let changed = blocking(reason, settings, move || keys::off(&own)).await?;
            Ok(KeysOffJson { changed })
        }
    }
}

fn none_is_good(list: &KeyList) -> bool {
    list.keys.iter().all(|key| key.state != KeyState::Good)
}

/// Who changes keys.
enum Writer {
    /// The sidecar that runs, which alone may write its ledger.
    Sidecar(Client),
    /// This process, in its place; with why one that answers is not asked.
    Here(Option<String>),
}

async fn reach(settings: &Settings) -> Writer {
    match sidecar(settings).await {
        Ok(client) => Writer::Sidecar(client),
        Err(NoSidecar::Absent) => Writer::Here(None),
        Err(NoSidecar::Other(reason)) => Writer::Here(Some(reason)),
    }
}

/// Works on the ledger itself, in the place of a sidecar that was not asked for this `reason`.
async fn blocking<T: Send + 'static>(
    reason: Option<String>,
    settings: &Settings,
    work: impl FnOnce() -> Result<T, KeysError> + Send + 'static,
) -> Result<T, Failure> {
    owner::refuse_anothers(&settings.data_dir)?;
    let done = tokio::task::spawn_blocking(work).await;
    match done.unwrap_or(Err(KeyError::Fault.into())) {
        Ok(done) => Ok(done),
        // A sidecar does run. Why it could not be asked is what has to be mended.
        Err(KeysError::Ledger(KeyError::Open(OpenError::InUse { .. }))) if reason.is_some() => {
            Err(Failure::NotWritten(reason.unwrap_or_default()))
        }
        Err(error) => Err(error.into()),
    }
}

fn json(answer: &impl serde::Serialize) -> Result<String, Failure> {
    Ok(format!("{}\n", serde_json::to_string_pretty(answer)?))
}

fn render(list: &KeyList, timezone: &TimeZone, output: &Output) -> String {
    let refused = "every request is refused: `tollgate keys create` makes one, and with all revoked \
                   `tollgate keys off` lets requests in without";
    if list.keys.is_empty() {
        return if list.required {
            format!("There are no keys, and one is required, so {refused}.\n")
        } else {
            "There are no keys, so requests need none.\n".to_owned()
        };
    }
    let mut sheet = Sheet::new(output);
    sheet.column("name", false, 0);
    sheet.column("state", false, 0);
    sheet.column("expires", false, 1);
    sheet.column("models", false, 2);
    sheet.column("channels", false, 2);
    sheet.column("tags", false, 3);
    sheet.column("made", false, 4);
    sheet.column("by", false, 4);
    for key in &list.keys {
        let tone = match key.state {
            KeyState::Good => Tone::Plain,
            KeyState::Expired => Tone::Doubtful,
            KeyState::Revoked => Tone::Bad,
        };
        let bound = if key.missing_channels.is_empty() || key.state == KeyState::Revoked {
            Tone::Plain
        } else {
            Tone::Bad
        };
        let when = |moment: Option<Moment>| {
            moment
                .map(|moment| amounts::moment(moment.0, timezone))
                .unwrap_or_default()
        };
        let made = match key.origin {
            KeyOrigin::Settings => "in the settings".to_owned(),
            KeyOrigin::Made => when(key.created_at),
        };
        let by = key.made_by.as_deref().unwrap_or_default();
        let cells = [
            (key.name.clone(), Tone::Plain),
            (key.state.as_str().to_owned(), tone),
            (when(key.expires_at), Tone::Plain),
            (listed(key.models.as_deref()), Tone::Plain),
            (channels(key), bound),
            (tags(&key.tags), Tone::Plain),
            (made, Tone::Plain),
            (by.to_owned(), Tone::Plain),
        ];
        sheet.row(cells.map(|(cell, tone)| (shown(&cell).into_owned(), tone)));
    }
    let mut text = sheet.render();
    if !list.required {
        text.push_str("\nKeys are off: requests need none.\n");
    } else if none_is_good(list) {
        // Writing to a String does not fail.
        let _ = writeln!(text, "\nNone of them is good, so {refused}.");
    }
    text
}

fn listed(names: Option<&[String]>) -> String {
    names.map_or_else(|| "all".to_owned(), |names| names.join(" "))
}

fn channels(key: &KeyJson) -> String {
    let may = listed(key.channels.as_deref());
    let may = match &key.channel {
        Some(own) if Some(std::slice::from_ref(own)) == key.channels.as_deref() => may,
        Some(own) => format!("{may} ({own} where none is named)"),
        None => may,
    };
    if key.missing_channels.is_empty() {
        return may;
    }
    format!("{may}; no channel: {}", key.missing_channels.join(" "))
}

fn tags(tags: &BTreeMap<String, String>) -> String {
    let tags: Vec<String> = tags
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    tags.join(" ")
}
