//! The way of a backup into a folder of its own: only what a backup has, and all of it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::RestoreError;
use crate::cli::amounts;
use crate::cli::backup::contents::{
    DATABASE, MANIFEST, MOST_MANIFEST_BYTES, Manifest, PAYLOADS, Part, part,
};
use crate::cli::backup::sink::Folder;
use crate::cli::backup::{STANDARD, days_in, names_in};

/// Where a backup is read.
pub(super) enum Source {
    Folder { path: PathBuf, manifest: Manifest },
    Archive,
}

impl Source {
    /// Fails where it is none at first sight.
    pub(super) fn open(from: &Path) -> Result<Self, RestoreError> {
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
pub(super) fn named(from: &Path) -> String {
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
pub(super) fn receive(from: Source, received: &Path) -> Result<Manifest, RestoreError> {
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
