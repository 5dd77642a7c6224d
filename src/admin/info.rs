//! Which build this is, and which ledger it writes.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Tollgate's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The revision this was built from: what the build was told in `TOLLGATE_REVISION`.
pub const REVISION: &str = match option_env!("TOLLGATE_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};

/// What tells one machine's ledgers apart, for a client that has the settings and wants to know
/// whether the process that answers is the one they describe: the data folder's device and inode.
/// Equal for every path to the same folder, and, unlike a path, no secret. `None` when the folder
/// is not there.
#[must_use]
pub fn ledger_id(data_dir: &Path) -> Option<String> {
    let folder = std::fs::metadata(data_dir).ok()?;
    Some(format!("{:x}-{:x}", folder.dev(), folder.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_is_known_by_its_folder_not_by_the_path() {
        let here = tempfile::tempdir().unwrap();
        let link = here.path().join("link");
        let (data, other) = (here.path().join("data"), here.path().join("other"));
        std::fs::create_dir(&data).unwrap();
        std::fs::create_dir(&other).unwrap();
        std::os::unix::fs::symlink(&data, &link).unwrap();
        assert!(ledger_id(&data).is_some());
        assert_eq!(ledger_id(&data), ledger_id(&link));
        assert_ne!(ledger_id(&data), ledger_id(&other));
        assert_eq!(ledger_id(&here.path().join("gone")), None);
    }
}
