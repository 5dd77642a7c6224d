//! The data folder's files are their owner's, and their group's where it was let in. Tollgate makes them so; a copy that was put back by
//! hand may have become everybody's.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// What has secrets in it, or says who asked what.
const PRIVATE: [&str; 9] = [
    "tollgate.db",
    "tollgate.db-wal",
    "tollgate.db-shm",
    "key-secret",
    "answers.key",
    "new-api.json",
    "journal",
    "payloads",
    "prices",
];

/// Bits of a mode (chmod(2)) that let users in who are neither the owner nor of the group.
const OTHERS: u32 = 0o007;
const WRITE_FOR_OTHERS: u32 = 0o002;

/// Takes away what every user of the machine may do with the files of the data folder, and says so. A
/// group that may read them was let in on purpose and stays. The folder itself may hold more than
/// Tollgate's files: who may write to it is only told.
pub(super) fn close_to_others(data_dir: &Path) {
    for name in PRIVATE {
        let path = data_dir.join(name);
        match close(&path) {
            Ok(None) => {}
            Ok(Some(mode)) => {
                let (path, mode) = (path.display(), format!("{mode:04o}"));
                tracing::warn!(%path, mode, "every user of this machine had a right to this; now only its owner and its group have");
            }
            Err(error) => {
                let path = path.display();
                tracing::warn!(%path, %error, "every user of this machine can read this, and that cannot be changed; take it away with chmod");
            }
        }
    }
    let writable = mode_of(data_dir).is_ok_and(|mode| mode & WRITE_FOR_OTHERS != 0);
    if writable {
        let path = data_dir.display();
        tracing::warn!(%path, "every user of this machine may put files into the data folder; take that away with chmod o-w");
    }
}

/// Takes the right that others have to a file or folder; the mode that it had. What a link leads to
/// is not Tollgate's to change.
fn close(path: &Path) -> io::Result<Option<u32>> {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        // Not there yet.
        return Ok(None);
    };
    let mode = metadata.permissions().mode() & 0o7777;
    if metadata.is_symlink() || mode & OTHERS == 0 {
        return Ok(None);
    }
    fs::set_permissions(path, Permissions::from_mode(mode & !OTHERS))?;
    Ok(Some(mode))
}

fn mode_of(path: &Path) -> io::Result<u32> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o7777)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_could_read_is_closed_and_a_group_stays() {
        let folder = tempfile::tempdir().unwrap();
        let set = |name: &str, mode| {
            let path = folder.path().join(name);
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        };
        for name in ["tollgate.db", "key-secret", "other"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        fs::create_dir(folder.path().join("journal")).unwrap();
        set("tollgate.db", 0o644);
        set("key-secret", 0o640);
        set("journal", 0o2755);
        set("other", 0o644);
        std::os::unix::fs::symlink("other", folder.path().join("answers.key")).unwrap();
        set(".", 0o755);
        close_to_others(folder.path());
        let mode = |name: &str| mode_of(&folder.path().join(name)).unwrap();
        assert_eq!(mode("tollgate.db"), 0o640);
        assert_eq!(mode("key-secret"), 0o640);
        assert_eq!(mode("journal"), 0o2750);
        assert_eq!(mode("other"), 0o644);
        assert_eq!(mode("."), 0o755);
    }
}
