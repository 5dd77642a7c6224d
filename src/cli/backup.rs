//! `tollgate backup`.
//!
//! It asks no sidecar and writes nothing that one uses, so that it works beside one that runs, in
//! another container, and where none runs.

pub(super) mod contents;
pub(super) mod sink;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal as _, Read};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rustix::fs::OFlags;

use super::amounts::{self, count, shown};
use super::failure::Failure;
use super::output::Output;
use super::owner;
use super::patience::patiently;
use super::question::wait;
use super::table::{Sheet, Tone};
use crate::admin::json::Moment;
use crate::clock::UnixMicros;
use crate::config::Loaded;
use crate::ledger::{CopyError, JournalFile, Snapshot};
use crate::payloads::is_day;
use contents::{DATABASE, FILES, JOURNAL, MANIFEST, Manifest, PAYLOADS, Part};
use sink::{Archive, Folder};

/// The name that means standard output, and standard input when a backup is read.
pub(super) const STANDARD: &str = "-";

/// Where the database is copied to before it goes into an archive, whose beginning says its size.
const UNFINISHED: &str = "backup.unfinished";

/// `tollgate backup`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The folder to make, or an empty one; `-` writes a tar archive to standard output.
    #[arg(value_name = "FOLDER|-")]
    to: PathBuf,
    /// Copy kept requests and answers too.
    #[arg(long)]
    payloads: bool,
}

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub(super) enum BackupError {
    /// The archive would go to a screen.
    #[error("an archive is nothing to read: write it to a file, as `tollgate backup - > FILE`")]
    Terminal,
    /// Another backup, or something else, is there.
    #[error("{} is not empty: name a new folder, so that two backups do not mix", .0.display())]
    NotEmpty(PathBuf),
    /// Another archive is being made of this folder.
    #[error("another `tollgate backup -` is at work with {}: wait for it", .0.display())]
    AtWork(PathBuf),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] CopyError),
    /// A file or folder of the data folder.
    #[error("cannot {action} {}: {source}", .path.display())]
    Data {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The backup.
    #[error("cannot write {name} of the backup to {to}: {source}")]
    Write {
        /// Which file.
        name: String,
        /// Where.
        to: String,
        /// The system's error.
        source: io::Error,
    },
}

impl BackupError {
    fn data(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Data {
            action,
            path: path.to_owned(),
            source,
        }
    }
}

/// Copies what has to be kept of the data folder.
pub(super) fn backup(
    arguments: &Arguments,
    loaded: &Loaded,
    now: UnixMicros,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let data_dir = &loaded.settings.data_dir;
    // It reads what that user put there, and an archive's copy of the database is made there.
    owner::refuse_anothers(data_dir)?;
    let to = if arguments.to.as_os_str() == STANDARD {
        if io::stdout().is_terminal() {
            return Err(BackupError::Terminal.into());
        }
        Sink::Archive(Box::new(Archive::new(now)))
    } else {
        Sink::Folder(empty(&arguments.to)?)
    };
    let is_archive = matches!(to, Sink::Archive(_));
    let copy = Copy {
        data_dir: data_dir.clone(),
        to,
        payloads: arguments.payloads,
        manifest: Manifest {
            tollgate: env!("CARGO_PKG_VERSION").to_owned(),
            made_at: Moment(now),
            files: BTreeMap::new(),
            payloads: 0,
        },
        payload_bytes: 0,
    };
    let work = async {
        let work = tokio::task::spawn_blocking(move || copy.make());
        let done = patiently(output, "copying the data folder", work).await;
        done.unwrap_or_else(|fault| {
            let fault = io::Error::other(fault);
            Err(BackupError::data("copy", data_dir, fault))
        })
        .map_err(Failure::from)
    };
    let (manifest, payload_bytes) = wait(work)?;
    let text = told(&manifest, payload_bytes, output) + &left_out(arguments, loaded);
    if is_archive {
        output.note(&text);
    } else {
        output.text(&text)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A folder with nothing in it.
fn empty(path: &Path) -> Result<Folder, BackupError> {
    let folder =
        Folder::at(path).map_err(|source| BackupError::data("make the folder", path, source))?;
    let mut entries =
        fs::read_dir(path).map_err(|source| BackupError::data("read", path, source))?;
    match entries.next() {
        None => Ok(folder),
        Some(_) => Err(BackupError::NotEmpty(path.to_owned())),
    }
}

enum Sink {
    Folder(Folder),
    Archive(Box<Archive>),
}

/// A backup that is being made.
struct Copy {
    data_dir: PathBuf,
    to: Sink,
    payloads: bool,
    manifest: Manifest,
    payload_bytes: u64,
}

impl Copy {
    fn make(mut self) -> Result<(Manifest, u64), BackupError> {
        let done = self.all();
        match (done, self.to) {
            (Ok(()), _) => Ok((self.manifest, self.payload_bytes)),
            (Err(error), Sink::Folder(folder)) => {
                folder.clear();
                Err(error)
            }
            (Err(error), Sink::Archive(_)) => Err(error),
        }
    }

    fn all(&mut self) -> Result<(), BackupError> {
        let snapshot = Snapshot::take(&self.data_dir)?;
        for mut file in self.database(snapshot)? {
            let name = format!("{JOURNAL}/{}", file.name);
            self.add(&name, &mut file.file, file.bytes)?;
            self.manifest.files.insert(name, file.bytes);
        }
        // After the database: whatever key is in it, its secret is there by then.
        for (name, _) in FILES {
            if let Some((mut file, bytes)) = opened(&self.data_dir.join(name))? {
                self.add(name, &mut file, bytes)?;
                self.manifest.files.insert(name.to_owned(), bytes);
            }
        }
        if self.payloads {
            self.all_payloads()?;
        }
        let manifest = serde_json::to_vec_pretty(&self.manifest)
            .map_err(|error| BackupError::data("describe", &self.data_dir, error.into()))?;
        self.add(MANIFEST, &mut manifest.as_slice(), manifest.len() as u64)?;
        let finished = match &mut self.to {
            Sink::Folder(folder) => folder.finish(),
            Sink::Archive(archive) => archive.finish(),
        };
        finished.map_err(|source| self.not_written("the end", source))
    }

    /// Adds the database, and returns the journal that belongs to it.
    fn database(&mut self, snapshot: Snapshot) -> Result<Vec<JournalFile>, BackupError> {
        let (bytes, journal) = match &self.to {
            Sink::Folder(folder) => {
                let place = folder.place(DATABASE);
                let journal = snapshot.copy_to(&place)?;
                let copied = fs::metadata(&place);
                let copied = copied.map_err(|source| BackupError::data("read", &place, source))?;
                (copied.len(), journal)
            }
            Sink::Archive(_) => {
                let unfinished = Unfinished::begin(&self.data_dir)?;
                let journal = snapshot.copy_to(&unfinished.path)?;
                let read = |source| BackupError::data("read", &unfinished.path, source);
                let mut file = File::open(&unfinished.path).map_err(read)?;
                let bytes = file.metadata().map_err(read)?.len();
                self.add(DATABASE, &mut file, bytes)?;
                (bytes, journal)
            }
        };
        self.manifest.files.insert(DATABASE.to_owned(), bytes);
        Ok(journal)
    }

    /// Those that are finished. One that retention deletes in between is not missed.
    fn all_payloads(&mut self) -> Result<(), BackupError> {
        let folder = self.data_dir.join(PAYLOADS);
        for day in days_in(&folder)? {
            for name in names_in(&folder.join(&day))? {
                let name = format!("{PAYLOADS}/{day}/{name}");
                if contents::part(&name) != Some(Part::Payload) {
                    continue;
                }
                if let Some((mut file, bytes)) = opened(&self.data_dir.join(&name))? {
                    self.add(&name, &mut file, bytes)?;
                    self.manifest.payloads += 1;
                    self.payload_bytes += bytes;
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, name: &str, content: &mut impl Read, bytes: u64) -> Result<(), BackupError> {
        let added = match &mut self.to {
            Sink::Folder(folder) => folder.add(name, content, bytes),
            Sink::Archive(archive) => archive.add(name, content, bytes),
        };
        added.map_err(|source| self.not_written(name, source))
    }

    fn not_written(&self, name: &str, source: io::Error) -> BackupError {
        let to = match &self.to {
            Sink::Folder(folder) => folder.place("").display().to_string(),
            Sink::Archive(_) => "standard output".to_owned(),
        };
        BackupError::Write {
            name: name.to_owned(),
            to,
            source,
        }
    }
}

/// A file and its size; `None` when it is not there.
fn opened(path: &Path) -> Result<Option<(File, u64)>, BackupError> {
    let read = |source| BackupError::data("read", path, source);
    match File::open(path) {
        Ok(file) => {
            let bytes = file.metadata().map_err(read)?.len();
            Ok(Some((file, bytes)))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(read(source)),
    }
}

/// What a folder holds, in order; nothing when it is not there.
pub(super) fn names_in(folder: &Path) -> Result<Vec<String>, BackupError> {
    let read = |source| BackupError::data("read", folder, source);
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(read(source)),
    };
    let names = entries.map(|entry| Ok(entry.map_err(read)?.file_name().into_string().ok()));
    let names = names.collect::<Result<Vec<_>, BackupError>>()?;
    let mut names: Vec<String> = names.into_iter().flatten().collect();
    names.sort_unstable();
    Ok(names)
}

/// The days of which a folder holds payloads, in order. What else is there is not Tollgate's.
pub(super) fn days_in(payloads: &Path) -> Result<Vec<String>, BackupError> {
    let mut names = names_in(payloads)?;
    names.retain(|name| is_day(name));
    Ok(names)
}

/// The database's copy on its way into an archive, deleted in the end. What a kill leaves the next
/// one takes over.
struct Unfinished {
    path: PathBuf,
    /// Held for its lock.
    _file: File,
}

impl Unfinished {
    fn begin(data_dir: &Path) -> Result<Self, BackupError> {
        let path = data_dir.join(UNFINISHED);
        let failed = |source| BackupError::data("make", &path, source);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        // Never what a link of that name leads to.
        options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
        let file = options.open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => file.set_len(0).map_err(failed)?,
            Err(fs::TryLockError::WouldBlock) => {
                return Err(BackupError::AtWork(data_dir.to_owned()));
            }
            Err(fs::TryLockError::Error(source)) => return Err(failed(source)),
        }
        Ok(Self { path, _file: file })
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let _the_next_takes_it_over = fs::remove_file(&self.path);
    }
}

/// What was copied, a line each, with sizes.
fn told(manifest: &Manifest, payload_bytes: u64, output: &Output) -> String {
    let mut sheet = Sheet::new(output);
    sheet.column("file", false, 0);
    sheet.column("size", true, 0);
    sheet.column("what", false, 0);
    let mut row = |name: &str, bytes: u64, what: &str| {
        let cells = [name.to_owned(), amounts::bytes(bytes), what.to_owned()];
        sheet.row(cells.map(|cell| (cell, Tone::Plain)));
    };
    let size = |name: &str| manifest.files.get(name).copied();
    if let Some(bytes) = size(DATABASE) {
        row(DATABASE, bytes, "the ledger");
    }
    let journal = manifest
        .files
        .iter()
        .filter(|(name, _)| name.starts_with("journal/"));
    let journal = journal.map(|(_, bytes)| bytes).sum();
    if journal > 0 {
        row(
            "journal/",
            journal,
            "the latest of it, which the database may lack",
        );
    }
    for (name, what) in FILES {
        if let Some(bytes) = size(name) {
            row(name, bytes, what);
        }
    }
    if manifest.payloads > 0 {
        let what = format!("{} kept requests and answers", count(manifest.payloads));
        row("payloads/", payload_bytes, &what);
    }
    sheet.render()
}

/// What a new machine needs beside it.
fn left_out(arguments: &Arguments, loaded: &Loaded) -> String {
    let mut text = String::from("\nNot in it:");
    match &loaded.file {
        Some(file) => {
            let file = file.display().to_string();
            let _ = write!(text, " {} and the files that it names", shown(&file));
        }
        None => text.push_str(" the settings, which are none"),
    }
    let payloads = loaded.settings.data_dir.join(PAYLOADS);
    if !arguments.payloads && payloads.is_dir() {
        text.push_str("; kept requests and answers (`--payloads` takes them)");
    }
    text.push_str(".\n");
    text
}
