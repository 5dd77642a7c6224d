//! Where settings were read, to read them again.

use std::path::{Path, PathBuf};

use super::load::{DEFAULT_FILE, Loaded, load};
use super::problem::Problems;

/// What [`load`] was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    path: Option<PathBuf>,
    working_dir: PathBuf,
}

impl Origin {
    pub(super) fn new(path: Option<&Path>, working_dir: &Path) -> Self {
        Self {
            path: path.map(Path::to_owned),
            working_dir: working_dir.to_owned(),
        }
    }

    /// Reads the settings again, as [`load`] did. `env` looks up an environment variable.
    pub fn load(&self, env: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, Problems> {
        load(self.path.as_deref(), env, &self.working_dir)
    }

    /// The file that is read where it is there.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        let path = self.path.as_deref().unwrap_or(Path::new(DEFAULT_FILE));
        self.working_dir.join(path)
    }
}
