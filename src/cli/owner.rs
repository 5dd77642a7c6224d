//! Whose data folder it is. What root writes into another user's, that user's Tollgate could not
//! open any more: it would not start, or lose the lock of its own ledger.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::failure::Failure;

/// What Tollgate makes in a data folder.
const OWN: [&str; 9] = [
    "tollgate.db",
    "tollgate.lock",
    "journal",
    "key-secret",
    "keys-required",
    "answers.key",
    "new-api.json",
    "prices",
    "payloads",
];

/// Who keeps a data folder, where this process is root and they are not.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Keeper {
    user: u32,
    group: u32,
}

/// Refuses to write into a data folder as root when it is another user's. Every command asks that
/// writes there itself; what it asks of a running sidecar, the sidecar writes.
pub(super) fn refuse_anothers(data_dir: &Path) -> Result<(), Failure> {
    match keeper(data_dir) {
        None => Ok(()),
        Some(keeper) => Err(Failure::Owner {
            data_dir: data_dir.to_owned(),
            keeper: keeper.name(),
            remedy: keeper.remedy(),
        }),
    }
}

/// Who keeps a data folder, where this process is root and they are not.
pub(super) fn keeper(data_dir: &Path) -> Option<Keeper> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    // What is there of Tollgate's decides, the ledger first: a folder that a user mounts into a
    // container is theirs, what its root made of it is not. An empty one is for whoever comes. A
    // link's own owner counts, not what they pointed it at.
    let metadata = OWN
        .iter()
        .find_map(|name| fs::symlink_metadata(data_dir.join(name)).ok())?;
    (metadata.uid() != 0).then(|| Keeper {
        user: metadata.uid(),
        group: metadata.gid(),
    })
}

impl Keeper {
    /// The user's name where this machine knows it, else the number.
    fn name(&self) -> String {
        match self.known() {
            Some(name) => format!("`{name}`"),
            None => self.user.to_string(),
        }
    }

    /// How to call Tollgate as that user.
    pub(super) fn remedy(&self) -> String {
        if let Some(name) = self.known() {
            return format!("sudo -u {name} tollgate …");
        }
        let Self { user, group } = self;
        format!("setpriv --reuid {user} --regid {group} --clear-groups tollgate …")
    }

    fn known(&self) -> Option<String> {
        let users = fs::read_to_string("/etc/passwd").ok()?;
        user_named(&users, self.user).map(str::to_owned)
    }
}

/// The name of a user in a text as passwd(5) describes it.
fn user_named(users: &str, user: u32) -> Option<&str> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let number: u32 = fields.nth(1)?.parse().ok()?;
        (number == user && !name.is_empty()).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_the_name_of_passwd() {
        let users =
            "root:x:0:0:root:/root:/bin/sh\n# odd\ntollgate:x:107:112::/nonexistent:/bin/false\n";
        assert_eq!(user_named(users, 107), Some("tollgate"));
        assert_eq!(user_named(users, 65_532), None);
        let keeper = Keeper {
            user: 4_000_000_000,
            group: 7,
        };
        assert_eq!(keeper.name(), "4000000000");
        assert!(keeper.remedy().contains("--reuid 4000000000 --regid 7"));
    }
}
