//! What was in the data folder goes aside and the backup takes its place, or all of it stays where
//! it was.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::RestoreError;
use crate::cli::backup::contents::{DATABASE, FILES, JOURNAL, PAYLOADS};
use crate::clock::UnixMicros;
use crate::ledger::{Claim, make_private_folder};

/// Without it and without a database, requests pass without a key: it is there the longest.
const KEYS_REQUIRED: &str = "keys-required";

/// A file or folder stayed where it was.
#[derive(Debug, thiserror::Error)]
#[error("cannot move {} to {}: {source}", .from.display(), .to.display())]
pub(in crate::cli) struct MoveError {
    from: PathBuf,
    to: PathBuf,
    source: io::Error,
}

/// What changes places.
#[derive(Debug)]
pub(super) struct Exchange<'a> {
    /// Of the data folder.
    pub(super) claim: &'a Claim,
    pub(super) data_dir: &'a Path,
    /// The backup, whole, in a folder of the data folder.
    pub(super) received: &'a Path,
    /// What is in the data folder and goes aside.
    pub(super) held: &'a [String],
    /// Whose payloads the backup has.
    pub(super) days: &'a [String],
    pub(super) now: UnixMicros,
}

impl Exchange<'_> {
    /// Makes it by `rename`, and tells where what was there is now.
    pub(super) fn make(
        &self,
        rename: impl FnMut(&Path, &Path) -> io::Result<()>,
    ) -> Result<Option<PathBuf>, RestoreError> {
        let aside = (!self.held.is_empty()).then(|| self.aside());
        let moving = self.claim.begin_moving(aside.as_deref())?;
        let mut moves = Moves {
            rename,
            done: Vec::new(),
        };
        let ended = self
            .put_aside(aside.as_deref(), &mut moves)
            .and_then(|()| self.put_in_place(&mut moves));
        let Err(error) = ended else {
            moving.done()?;
            return Ok(aside);
        };
        match moves.take_back() {
            Ok(()) => {
                moving.taken_back()?;
                Err(RestoreError::TakenBack(error))
            }
            Err(back) => Err(RestoreError::Stuck {
                data_dir: self.data_dir.to_owned(),
                moving: Box::new(error),
                back: Box::new(back),
                aside,
            }),
        }
    }

    /// A folder that is not there yet.
    fn aside(&self) -> PathBuf {
        let stamp = self.now.timestamp().strftime("%Y%m%dT%H%M%SZ").to_string();
        let mut aside = self.data_dir.join(format!("replaced-{stamp}"));
        let mut number = 1;
        while aside.symlink_metadata().is_ok() {
            number += 1;
            aside = self.data_dir.join(format!("replaced-{stamp}-{number}"));
        }
        aside
    }

    /// `keys-required` last.
    fn put_aside<R>(&self, aside: Option<&Path>, moves: &mut Moves<R>) -> Result<(), MoveError>
    where
        R: FnMut(&Path, &Path) -> io::Result<()>,
    {
        let Some(aside) = aside else {
            return Ok(());
        };
        let (last, first): (Vec<_>, Vec<_>) =
            self.held.iter().partition(|name| *name == KEYS_REQUIRED);
        for name in first.into_iter().chain(last) {
            moves.take(&self.data_dir.join(name), &aside.join(name))?;
        }
        Ok(())
    }

    /// `keys-required` first, the database last: without it there is no ledger yet.
    fn put_in_place<R>(&self, moves: &mut Moves<R>) -> Result<(), MoveError>
    where
        R: FnMut(&Path, &Path) -> io::Result<()>,
    {
        let files = FILES.iter().map(|(name, _)| (*name).to_owned());
        let files = files.filter(|name| name != KEYS_REQUIRED);
        // Day by day: what else is in that folder is not Tollgate's, and stays.
        let days = self.days.iter().map(|day| format!("{PAYLOADS}/{day}"));
        let rest = files.chain([JOURNAL.to_owned()]).chain(days);
        let first = [KEYS_REQUIRED.to_owned()];
        for name in first.into_iter().chain(rest).chain([DATABASE.to_owned()]) {
            let from = self.received.join(&name);
            if from.symlink_metadata().is_ok() {
                moves.take(&from, &self.data_dir.join(name))?;
            }
        }
        Ok(())
    }
}

/// Moves that can be taken back.
#[derive(Debug)]
struct Moves<R> {
    rename: R,
    done: Vec<Step>,
}

#[derive(Debug)]
enum Step {
    Made(PathBuf),
    Moved { from: PathBuf, to: PathBuf },
}

impl<R: FnMut(&Path, &Path) -> io::Result<()>> Moves<R> {
    fn take(&mut self, from: &Path, to: &Path) -> Result<(), MoveError> {
        let folder = to.parent().map_or(Ok(()), |folder| self.folder(folder));
        let moved = folder.and_then(|()| (self.rename)(from, to));
        let (from, to) = (from.to_owned(), to.to_owned());
        match moved {
            Ok(()) => {
                self.done.push(Step::Moved { from, to });
                Ok(())
            }
            Err(source) => Err(MoveError { from, to, source }),
        }
    }

    fn folder(&mut self, path: &Path) -> io::Result<()> {
        if path.is_dir() {
            return Ok(());
        }
        path.parent().map_or(Ok(()), |parent| self.folder(parent))?;
        make_private_folder(path)?;
        self.done.push(Step::Made(path.to_owned()));
        Ok(())
    }

    /// In reverse, until one fails: what comes after it may want the place that is still taken.
    fn take_back(&mut self) -> Result<(), MoveError> {
        while let Some(step) = self.done.pop() {
            match step {
                Step::Moved { from, to } => {
                    if let Err(source) = (self.rename)(&to, &from) {
                        let (from, to) = (to, from);
                        return Err(MoveError { from, to, source });
                    }
                }
                Step::Made(path) => {
                    // An empty folder that stays is nothing.
                    let _ = fs::remove_dir(path);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::ledger::{Ledger, OpenError, Settings, Takeover};

    /// Every file below a folder, with what is in it.
    fn contents(folder: &Path) -> BTreeMap<PathBuf, String> {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                found.extend(contents(&path));
            } else if path.file_name().unwrap() != "tollgate.lock" {
                let text = fs::read_to_string(&path).unwrap();
                found.insert(path, text);
            }
        }
        found
    }

    fn fill(folder: &Path, names: &[&str], text: &str) {
        for name in names {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    const OLD: [&str; 4] = [
        "tollgate.db",
        "keys-required",
        "journal",
        "prices/catalogue",
    ];

    /// A data folder with a ledger, and a backup in it with more than that.
    fn data_dir() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let files = [
            "tollgate.db",
            "keys-required",
            "journal/a.log",
            "prices/catalogue",
        ];
        fill(folder.path(), &files, "old");
        let received = folder.path().join("received");
        fill(&received, &files, "new");
        fill(
            &received,
            &["key-secret", "payloads/2026-11-20/a.json.zst"],
            "new",
        );
        folder
    }

    fn exchange(
        data_dir: &Path,
        rename: impl FnMut(&Path, &Path) -> io::Result<()>,
    ) -> Result<Option<PathBuf>, RestoreError> {
        let claim = Claim::of(data_dir).unwrap();
        let exchange = Exchange {
            claim: &claim,
            data_dir,
            received: &data_dir.join("received"),
            held: &OLD.map(str::to_owned),
            days: &["2026-11-20".to_owned()],
            now: UnixMicros(0),
        };
        exchange.make(rename)
    }

    #[test]
    fn whichever_move_fails_everything_is_where_it_was() {
        let moves = OLD.len() + 6;
        for failing in 0..moves {
            let folder = data_dir();
            let before = contents(folder.path());
            let mut made = 0;
            let failed = exchange(folder.path(), |from, to| {
                made += 1;
                if made == failing + 1 {
                    return Err(io::ErrorKind::ResourceBusy.into());
                }
                fs::rename(from, to)
            });
            let error = failed.unwrap_err();
            assert!(
                matches!(error, RestoreError::TakenBack(_)),
                "{failing}: {error}"
            );
            assert_eq!(contents(folder.path()), before, "{failing}");
            let left = fs::read_dir(folder.path()).unwrap();
            assert_eq!(left.count(), 6, "{failing}: no folder of its own is left");
        }
        let folder = data_dir();
        let aside = exchange(folder.path(), |from, to| fs::rename(from, to));
        let aside = aside.unwrap().unwrap();
        assert_eq!(contents(&aside).len(), 4);
        assert!(contents(&aside).values().all(|text| text == "old"));
        fs::remove_dir_all(aside).unwrap();
        let restored = contents(folder.path());
        assert_eq!(restored.len(), 6);
        assert!(restored.values().all(|text| text == "new"));
    }

    #[test]
    fn keys_are_required_for_as_long_as_there_is_anything() {
        let folder = data_dir();
        let required = folder.path().join("keys-required");
        let mut without = 0;
        exchange(folder.path(), |from, to| {
            without += u32::from(!required.exists());
            fs::rename(from, to)
        })
        .unwrap();
        assert_eq!(without, 1, "the move that brings it back");
    }

    #[test]
    fn what_cannot_be_moved_back_is_no_ledger_until_a_restore_ends_well() {
        let folder = data_dir();
        let mut made = 0;
        let stuck = exchange(folder.path(), |from, to| {
            made += 1;
            // One into its place, and the first one back.
            if made > 8 {
                return Err(io::ErrorKind::ResourceBusy.into());
            }
            fs::rename(from, to)
        });
        let error = stuck.unwrap_err();
        assert!(matches!(error, RestoreError::Stuck { .. }), "{error}");
        assert!(
            error.to_string().contains("; what was there is in "),
            "{error}"
        );
        for takeover in [Takeover::Refuse, Takeover::Wait] {
            let error = Ledger::open(&Settings::new(folder.path()), takeover).unwrap_err();
            assert!(matches!(error, OpenError::HalfRestored { .. }), "{error}");
            assert!(
                error
                    .to_string()
                    .contains("/replaced-19700101T000000Z and delete "),
                "{error}"
            );
        }
        // One that fails and is taken back leaves it half restored.
        fs::remove_dir_all(folder.path().join("received")).unwrap();
        fill(&folder.path().join("received"), &["tollgate.db"], "newer");
        let again = |held: &[&str], fail: bool| {
            let claim = Claim::of(folder.path()).unwrap();
            let held: Vec<String> = held.iter().map(|&name| name.to_owned()).collect();
            let exchange = Exchange {
                claim: &claim,
                data_dir: folder.path(),
                received: &folder.path().join("received"),
                held: &held,
                days: &[],
                now: UnixMicros(0),
            };
            exchange.make(|from, to| {
                if fail {
                    return Err(io::ErrorKind::ResourceBusy.into());
                }
                fs::rename(from, to)
            })
        };
        let held = ["keys-required", "key-secret"];
        again(&held, true).unwrap_err();
        assert!(folder.path().join("restore.moving").exists());
        let aside = again(&held, false).unwrap().unwrap();
        assert!(aside.ends_with("replaced-19700101T000000Z-2"), "{aside:?}");
        assert!(!folder.path().join("restore.moving").exists());
    }
}
