//! `tollgate restore`: a backup becomes a data folder again.
//!
//! It is received whole beside what is there, and only then put in place.

mod exchange;
mod receiving;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::amounts::{self, count};
use super::backup::contents::{DATABASE, FILES, JOURNAL, Manifest, PAYLOADS};
use super::backup::{BackupError, days_in, names_in};
use super::failure::Failure;
use super::output::Output;
use super::owner;
use super::patience::patiently;
use super::question::wait;
use crate::clock::UnixMicros;
use crate::config::Settings;
use crate::ledger::{Claim, CopyFault, OpenError, examine_copy};
use exchange::{Exchange, MoveError};
use receiving::{Source, named, receive};

/// Where a backup is received before it is put in place.
const UNFINISHED: &str = "restore.unfinished";

/// `tollgate restore`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The folder of the backup; `-` reads a tar archive from standard input.
    #[arg(value_name = "FOLDER|-")]
    from: PathBuf,
    /// Move a ledger that is there aside, into a folder beside it; without this it is left alone.
    #[arg(long)]
    replace: bool,
}

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub(super) enum RestoreError {
    /// It is no backup, or one that did not come to its end.
    #[error("nothing was restored: {from} is no whole backup of Tollgate's: {reason}")]
    NotWhole {
        /// Where it was read.
        from: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The data folder has something that would be lost.
    #[error(
        "nothing was restored: {} holds {found} already; name an empty `data_dir`, or move what is there \
         into a folder beside it with `--replace`",
        .data_dir.display()
    )]
    Held {
        /// The data folder.
        data_dir: PathBuf,
        /// What is there.
        found: String,
    },
    /// The data folder cannot be had.
    #[error("nothing was restored: {0}")]
    InUse(#[from] OpenError),
    /// Its database would be no ledger here.
    #[error(
        "nothing was restored: {DATABASE} of {from} is of no use here: {fault} (the backup was made by \
         tollgate {}{})",
        amounts::shown(.made_by),
        if matches!(.fault, CopyFault::Newer { .. }) {
            ": restore it with that version, or a newer one"
        } else {
            ": take another one"
        }
    )]
    Database {
        /// Where it was read.
        from: String,
        /// What is wrong with it.
        fault: CopyFault,
        /// The version that made the backup.
        made_by: String,
    },
    /// A file could not be moved, and the others are back.
    #[error("nothing was restored, and everything is where it was: {0}")]
    TakenBack(MoveError),
    /// A file could not be moved, and one not moved back either.
    #[error(
        "{data_dir} is neither what it was nor the backup, and no Tollgate starts with it: {moving}, \
         and to take that back failed: {back}; mend the cause and run `tollgate restore` with `--replace` \
         again{}",
        .aside.as_ref().map(|aside| format!("; what was there is in {}", aside.display())).unwrap_or_default()
    )]
    Stuck {
        /// The data folder.
        data_dir: PathBuf,
        /// Why it did not go on.
        moving: Box<MoveError>,
        /// Why it did not go back.
        back: Box<MoveError>,
        /// Where what was there is, as far as it was moved.
        aside: Option<PathBuf>,
    },
    /// The backup's folder cannot be read.
    #[error("nothing was restored: {0}")]
    Read(#[from] BackupError),
    /// A file cannot be written or moved.
    #[error("cannot {action} {}: {source}", .path.display())]
    Data {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl RestoreError {
    fn data(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Data {
            action,
            path: path.to_owned(),
            source,
        }
    }
}

/// Puts a backup into the data folder.
pub(super) fn restore(
    arguments: &Arguments,
    settings: &Settings,
    now: UnixMicros,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let data_dir = &settings.data_dir;
    owner::refuse_anothers(data_dir)?;
    let work = Restoring {
        from: arguments.from.clone(),
        replace: arguments.replace,
        data_dir: data_dir.clone(),
        now,
    };
    let work = async {
        let work = tokio::task::spawn_blocking(move || work.restore());
        let done = patiently(output, "restoring the data folder", work).await;
        done.unwrap_or_else(|fault| {
            let fault = io::Error::other(fault);
            Err(RestoreError::data("restore", data_dir, fault))
        })
        .map_err(Failure::from)
    };
    let restored = wait(work)?;
    if let Some(aside) = &restored.aside {
        output.note(&format!("what was there is in {}", aside.display()));
    }
    let Manifest {
        tollgate,
        made_at,
        files,
        payloads,
    } = &restored.manifest;
    let made_at = amounts::moment(made_at.0, &settings.timezone);
    let zone = amounts::zone(&settings.timezone);
    output.text(&format!(
        "Restored {} as tollgate {tollgate} copied it at {made_at} ({zone}): {} files, {} payloads, {}.\n",
        data_dir.display(),
        count(files.len() as u64),
        count(*payloads),
        amounts::bytes(files.values().sum())
    ))?;
    Ok(ExitCode::SUCCESS)
}

struct Restoring {
    from: PathBuf,
    replace: bool,
    data_dir: PathBuf,
    now: UnixMicros,
}

struct Restored {
    manifest: Manifest,
    /// Where what was there is now.
    aside: Option<PathBuf>,
}

impl Restoring {
    fn restore(&self) -> Result<Restored, RestoreError> {
        // First of all: what is no backup makes no data folder.
        let from = Source::open(&self.from)?;
        let claim = Claim::of(&self.data_dir)?;
        let held = self.held()?;
        if !held.is_empty() && !self.replace {
            return Err(RestoreError::Held {
                data_dir: self.data_dir.clone(),
                found: listed(&held),
            });
        }
        let received = self.data_dir.join(UNFINISHED);
        remove(&received)?;
        let put = receive(from, &received).and_then(|manifest| {
            self.examine(&received, &manifest)?;
            let days = days_in(&received.join(PAYLOADS))?;
            let exchange = Exchange {
                claim: &claim,
                data_dir: &self.data_dir,
                received: &received,
                held: &held,
                days: &days,
                now: self.now,
            };
            let aside = exchange.make(|from, to| fs::rename(from, to))?;
            Ok(Restored { manifest, aside })
        });
        if matches!(put, Err(RestoreError::Stuck { .. })) {
            // Some of what was received is in place, and what is not belongs to that.
            return put;
        }
        let removed = remove(&received);
        let put = put?;
        removed?;
        Ok(put)
    }

    /// Whether this program can go on with the database, before anything gives way to it.
    fn examine(&self, received: &Path, manifest: &Manifest) -> Result<(), RestoreError> {
        examine_copy(&received.join(DATABASE)).map_err(|fault| RestoreError::Database {
            from: named(&self.from),
            fault,
            made_by: manifest.tollgate.clone(),
        })
    }

    /// What is in the data folder of what a backup has, and of what belongs to it.
    fn held(&self) -> Result<Vec<String>, RestoreError> {
        let mut held = Vec::new();
        let beside = [DATABASE, "tollgate.db-wal", "tollgate.db-shm"];
        let files = FILES.iter().map(|(name, _)| *name);
        for name in beside.into_iter().chain(files) {
            if self.data_dir.join(name).symlink_metadata().is_ok() {
                held.push(name.to_owned());
            }
        }
        if !names_in(&self.data_dir.join(JOURNAL))?.is_empty() {
            held.push(JOURNAL.to_owned());
        }
        let days = days_in(&self.data_dir.join(PAYLOADS))?;
        held.extend(days.iter().map(|day| format!("{PAYLOADS}/{day}")));
        Ok(held)
    }
}

/// Names of a data folder for a person: the days of payloads are one.
fn listed(held: &[String]) -> String {
    let mut names: Vec<&str> = held
        .iter()
        .map(|name| match name.split_once('/') {
            Some((PAYLOADS, _)) => PAYLOADS,
            _ => name,
        })
        .collect();
    names.dedup();
    names.join(", ")
}

/// Removes a folder, and what an earlier restore left there.
fn remove(folder: &Path) -> Result<(), RestoreError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(RestoreError::data("remove", folder, error))
        }
        _ => Ok(()),
    }
}
