//! `tollgate restore`: a backup becomes a data folder again.
//!
//! It is received whole beside what is there, and only then put in place.

mod exchange;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::amounts::{self, count};
use super::backup::contents::{
    DATABASE, FILES, JOURNAL, MANIFEST, MOST_MANIFEST_BYTES, Manifest, PAYLOADS, Part, part,
};
use super::backup::sink::Folder;
use super::backup::{BackupError, STANDARD, days_in, names_in};
use super::failure::Failure;
use super::output::Output;
use super::owner;
use super::patience::patiently;
use super::question::wait;
use crate::clock::UnixMicros;
use crate::config::Settings;
use crate::ledger::{Claim, CopyFault, OpenError, examine_copy};
use exchange::{Exchange, MoveError};

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

/// Where a backup is read.
enum Source {
    Folder { path: PathBuf, manifest: Manifest },
    Archive,
}

impl Source {
    fn open(from: &Path) -> Result<Self, RestoreError> {
        if from.as_os_str() == STANDARD {
            return Ok(Self::Archive);
        }
        let name = named(from);
        let file = File::open(from.join(MANIFEST)).map_err(|error| RestoreError::NotWhole {
            from: name.clone(),
            reason: format!("{MANIFEST}: {error}"),
        })?;
        Ok(Self::Folder {
            path: from.to_owned(),
            manifest: manifest(&name, file)?,
        })
    }
}

/// Where a backup is read, as a person says it.
fn named(from: &Path) -> String {
    if from.as_os_str() == STANDARD {
        return "standard input".to_owned();
    }
    from.display().to_string()
}

fn manifest(from: &str, content: impl Read) -> Result<Manifest, RestoreError> {
    let read = serde_json::from_reader(content.take(MOST_MANIFEST_BYTES));
    read.map_err(|error| RestoreError::NotWhole {
        from: from.to_owned(),
        reason: format!("{MANIFEST}: {error}"),
    })
}

/// Writes a backup's files below `received`, and checks that they are all there.
fn receive(from: Source, received: &Path) -> Result<Manifest, RestoreError> {
    let folder = Folder::at(received)
        .map_err(|source| RestoreError::data("make the folder", received, source))?;
    match from {
        Source::Folder { path, manifest } => of_folder(&path, manifest, &folder),
        Source::Archive => of_archive(io::stdin().lock(), &folder),
    }
}

fn of_folder(path: &Path, manifest: Manifest, to: &Folder) -> Result<Manifest, RestoreError> {
    let mut found = Found::new(named(path));
    let mut names: Vec<String> = manifest.files.keys().cloned().collect();
    let payloads = path.join(PAYLOADS);
    for day in days_in(&payloads)? {
        let files = names_in(&payloads.join(&day))?;
        names.extend(files.iter().map(|file| format!("{PAYLOADS}/{day}/{file}")));
    }
    for name in names {
        let place = path.join(&name);
        let opened = File::open(&place).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (bytes, mut file) =
            opened.map_err(|error| found.not_whole(format!("{name}: {error}")))?;
        found.take(&name, &mut file, bytes, to)?;
    }
    found.check(&manifest)?;
    Ok(manifest)
}

fn of_archive(content: impl Read, to: &Folder) -> Result<Manifest, RestoreError> {
    let mut found = Found::new(named(Path::new(STANDARD)));
    let mut archive = tar::Archive::new(content);
    let entries = archive.entries();
    let mut told = None;
    for entry in entries.map_err(|error| found.not_whole(error.to_string()))? {
        let mut entry = entry.map_err(|error| found.not_whole(error.to_string()))?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let bytes = entry.size();
        if !entry.header().entry_type().is_file() {
            return Err(found.not_whole(format!("`{}` is no file", amounts::shown(&name))));
        }
        if part(&name) == Some(Part::Manifest) {
            told = Some(manifest(&found.from, &mut entry)?);
        } else {
            found.take(&name, &mut entry, bytes, to)?;
        }
    }
    let manifest = told.ok_or_else(|| found.not_whole("it ends too early".to_owned()))?;
    found.check(&manifest)?;
    Ok(manifest)
}

/// What a backup was seen to hold.
struct Found {
    from: String,
    files: BTreeMap<String, u64>,
    payloads: u64,
}

impl Found {
    fn new(from: String) -> Self {
        Self {
            from,
            files: BTreeMap::new(),
            payloads: 0,
        }
    }

    fn take(
        &mut self,
        name: &str,
        content: &mut impl Read,
        bytes: u64,
        to: &Folder,
    ) -> Result<(), RestoreError> {
        match part(name) {
            Some(Part::Listed) => {
                self.files.insert(name.to_owned(), bytes);
            }
            Some(Part::Payload) => self.payloads += 1,
            Some(Part::Manifest) | None => {
                let name = amounts::shown(name);
                return Err(self.not_whole(format!("`{name}` belongs into no backup")));
            }
        }
        to.add(name, content, bytes).map_err(|error| {
            if error.kind() == io::ErrorKind::UnexpectedEof {
                self.not_whole(format!("{name}: {error}"))
            } else {
                RestoreError::data("write", &to.place(name), error)
            }
        })
    }

    fn check(&self, manifest: &Manifest) -> Result<(), RestoreError> {
        if self.files != manifest.files || self.payloads != manifest.payloads {
            let reason = format!("it does not hold what {MANIFEST} says");
            return Err(self.not_whole(reason));
        }
        if !self.files.contains_key(DATABASE) {
            return Err(self.not_whole(format!("it has no {DATABASE}")));
        }
        Ok(())
    }

    fn not_whole(&self, reason: String) -> RestoreError {
        RestoreError::NotWhole {
            from: self.from.clone(),
            reason,
        }
    }
}
