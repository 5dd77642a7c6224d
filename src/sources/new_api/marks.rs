//! Which outside channels Tollgate itself disabled: one small file in the data folder.
//!
//! A channel that somebody disabled by hand in new-api must stay so when a gate opens, and one that
//! Tollgate disabled must be enabled again, also after a restart in between. Their status is the same
//! (2), so it is written down here before it is disabled there, and struck out when it is seen
//! enabled. A process that dies between the two leaves a mark too many, which does no harm: the
//! channel is looked at before anything is done about it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::ledger::make_private_folder;

/// The file's name.
const FILE: &str = "new-api.json";

/// The marks.
#[derive(Debug, Default)]
pub(super) struct Marks {
    file: PathBuf,
    kept: Kept,
}

/// As the file has them.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    /// Whose channels they are: the numbers mean nothing elsewhere.
    base_url: String,
    /// Number there, name here.
    disabled: BTreeMap<u64, String>,
}

impl Marks {
    /// Those that an earlier run left. A file that cannot be read, or is of another gateway, is told
    /// in the log and taken for none.
    pub(super) fn load(data_dir: &Path, base_url: &str) -> Self {
        let file = data_dir.join(FILE);
        let kept = match fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Kept::default()),
            Err(error) => Err(error),
        };
        let mut kept = kept.unwrap_or_else(|error| {
            let file = file.display();
            tracing::warn!(%file, %error, "cannot read which channels of new-api Tollgate disabled; those stay disabled until somebody enables them there");
            Kept::default()
        });
        if kept.base_url != base_url {
            told_left(&kept);
            kept.disabled.clear();
        }
        base_url.clone_into(&mut kept.base_url);
        Self { file, kept }
    }

    /// Forgets, with a word in the log, the channels that nobody follows any more.
    pub(super) fn keep_only(&mut self, followed: impl Fn(u64) -> bool) {
        let (disabled, left) = std::mem::take(&mut self.kept.disabled)
            .into_iter()
            .partition(|(id, _)| followed(*id));
        self.kept.disabled = disabled;
        told_left(&Kept {
            base_url: self.kept.base_url.clone(),
            disabled: left,
        });
    }

    /// Whether Tollgate disabled it.
    pub(super) fn has(&self, id: u64) -> bool {
        self.kept.disabled.contains_key(&id)
    }

    /// Writes down that Tollgate disables it.
    pub(super) fn set(&mut self, id: u64, name: &str) -> io::Result<()> {
        if self.kept.disabled.insert(id, name.to_owned()).is_some() {
            return Ok(());
        }
        self.save()
    }

    /// Strikes it out.
    pub(super) fn clear(&mut self, id: u64) -> io::Result<()> {
        if self.kept.disabled.remove(&id).is_none() {
            return Ok(());
        }
        self.save()
    }

    /// As a whole or not at all.
    fn save(&self) -> io::Result<()> {
        let text = serde_json::to_vec(&self.kept)?;
        let folder = self.file.parent().unwrap_or(Path::new("."));
        make_private_folder(folder)?;
        // A name of this process's own: two that write at once must not mix their bytes.
        let new = folder.join(format!("{FILE}.{}.new", std::process::id()));
        let put = || {
            let mut file = File::create(&new)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&new, &self.file)
        };
        put().inspect_err(|_| {
            // What is left of it would only take room that may be missing already.
            let _ = fs::remove_file(&new);
        })?;
        File::open(folder)?.sync_all()
    }
}

fn told_left(kept: &Kept) {
    for (id, name) in &kept.disabled {
        let base_url = &kept.base_url;
        tracing::warn!(%base_url, id, name, "an outside channel that Tollgate disabled is not followed any more; enable it there when it is to work again");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "http://127.0.0.1:3000";

    #[test]
    fn marks_outlive_the_process_and_mean_one_gateway_only() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let mut marks = Marks::load(&data, HERE);
        assert!(!marks.has(7));
        marks.set(7, "a").unwrap();
        marks.set(8, "b").unwrap();
        marks.set(9, "c").unwrap();
        marks.clear(8).unwrap();

        let mut marks = Marks::load(&data, HERE);
        assert!(marks.has(7) && !marks.has(8) && marks.has(9));
        marks.keep_only(|id| id != 9);
        assert!(marks.has(7) && !marks.has(9));

        assert!(!Marks::load(&data, "http://127.0.0.1:4000").has(7));
        fs::write(data.join(FILE), "{").unwrap();
        assert!(!Marks::load(&data, HERE).has(7));
    }
}
