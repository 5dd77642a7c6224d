//! `tollgate prices update`.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use http::Uri;

use super::amounts::{count, shown};
use super::failure::Failure;
use super::output::Output;
use super::owner;
use super::question::wait;
use crate::clock::UnixMicros;
use crate::config::Settings;
use crate::pricing::{Change, Changes};
use crate::sources::prices::{
    Fetched, Fetcher, Good, LastGood, Origin, Store, UpdateError, last_good,
};

/// Models that are named of each kind of change.
const MOST_NAMED: usize = 10;

/// `tollgate prices update`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// A file or an address; `prices.update.url` of the settings when not given.
    #[arg(long, value_name = "FILE|URL")]
    from: Option<String>,
}

/// Fetches, judges and keeps a catalogue. A running sidecar takes it from the same file.
pub(super) fn update(
    arguments: &Arguments,
    settings: &Settings,
    now: UnixMicros,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let usual = settings.prices.update.as_ref();
    let from = match (&arguments.from, usual) {
        (Some(from), _) => from.clone(),
        (None, Some(update)) => update.url.to_string(),
        (None, None) => {
            return Err(Failure::Usage(
                "name a catalogue with --from FILE|URL, or set `prices.update.url`".to_owned(),
            ));
        }
    };
    owner::refuse_anothers(&settings.data_dir)?;
    let before = last_good(&settings.data_dir);
    let kept = wait(async { bring(&from, now).await.map_err(Failure::Update) })?;
    let good = Good::judge(kept, before.as_ref()).map_err(|error| Failure::Update(error.into()))?;
    let store = Store::new(&settings.data_dir);
    store
        .save(&good.kept)
        .map_err(|error| Failure::Update(error.into()))?;
    let layer = good.layer();
    let mut text = format!(
        "{}: {} prices",
        layer.version(),
        count(good.catalogue.rows.len() as u64)
    );
    let left_out = good.catalogue.skipped.len();
    if left_out > 0 {
        let _ = write!(text, ", {} models left out", count(left_out as u64));
    }
    text.push('\n');
    if let Some(before) = &before {
        let changes = Changes::between(&before.catalogue, &good.catalogue);
        text.push_str(&told(&changes));
    }
    let _ = writeln!(text, "kept as {}", store.file().display());
    output.text(&text)?;
    Ok(ExitCode::SUCCESS)
}

async fn bring(from: &str, now: UnixMicros) -> Result<LastGood, UpdateError> {
    let is_address = from.starts_with("http://") || from.starts_with("https://");
    let address = from.parse::<Uri>().ok().filter(|_| is_address);
    let Some(address) = address else {
        let text = Store::read_text(Path::new(from))?;
        return Ok(LastGood {
            origin: Origin {
                address: from.to_owned(),
                etag: None,
                last_modified: None,
                fetched_at: now,
            },
            text,
        });
    };
    match Fetcher::usual()?.fetch(&address, None, now).await? {
        Fetched::New(kept) => Ok(kept),
        Fetched::NotModified => Err(UpdateError::Fetch(
            crate::sources::prices::FetchError::Status(http::StatusCode::NOT_MODIFIED),
        )),
    }
}

fn told(changes: &Changes) -> String {
    let mut text = String::new();
    let mut list = |title: &str, of: usize, names: &mut dyn Iterator<Item = String>| {
        if of == 0 {
            return;
        }
        let _ = writeln!(text, "  {title:<10} {}", count(of as u64));
        for name in names.take(MOST_NAMED) {
            let _ = writeln!(text, "    {}", shown(&name));
        }
        if of > MOST_NAMED {
            let _ = writeln!(text, "    and {} more", count((of - MOST_NAMED) as u64));
        }
    };
    let moved = |change: &Change| {
        let Change {
            model,
            item,
            before,
            now,
        } = change;
        format!("{model}: {} {before} → {now}", item.as_str())
    };
    let Changes {
        new,
        gone,
        dearer,
        cheaper,
        otherwise,
        unchanged,
    } = changes;
    list("new", new.len(), &mut new.iter().cloned());
    list("gone", gone.len(), &mut gone.iter().cloned());
    list("dearer", dearer.len(), &mut dearer.iter().map(moved));
    list("cheaper", cheaper.len(), &mut cheaper.iter().map(moved));
    list("otherwise", otherwise.len(), &mut otherwise.iter().cloned());
    let _ = writeln!(text, "  {:<10} {}", "unchanged", count(*unchanged as u64));
    text
}
