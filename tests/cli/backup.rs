//! `tollgate backup` and `tollgate restore` where no sidecar runs, and whose folder it is.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{printed, told, tollgate, traffic, with_traffic};

/// The user of the image; on no machine a person.
const OTHER: u32 = 65_532;

fn requests(folder: &Path) -> String {
    printed(tollgate(folder, &["requests", "--format", "json"]))
}

#[test]
fn at_rest_it_says_what_it_copied_and_restore_brings_it_back() {
    let folder = with_traffic();
    let folder = folder.path();
    let before = requests(folder);
    let said = printed(tollgate(folder, &["backup", "kept/monday"]));
    assert!(said.starts_with("file  "), "{said}");
    assert!(said.contains("\ntollgate.db  "), "{said}");
    assert!(
        said.ends_with("\nNot in it: the settings, which are none.\n"),
        "{said}"
    );

    fs::remove_dir_all(folder.join("data")).unwrap();
    let said = printed(tollgate(folder, &["restore", "kept/monday"]));
    let line = format!(
        "Restored {} as tollgate {} copied it at ",
        folder.join("data").display(),
        env!("CARGO_PKG_VERSION")
    );
    assert!(said.starts_with(&line), "{said}");
    assert_eq!(requests(folder), before);
}

#[test]
fn the_archive_is_one_that_tar_knows() {
    let folder = with_traffic();
    let folder = folder.path();
    let mut command = tollgate(folder, &["backup", "-"]);
    command.stdout(File::create(folder.join("kept.tar")).unwrap());
    let (code, _, said) = told(command);
    assert_eq!(code, 0, "{said}");
    assert!(said.starts_with("note: file "), "{said}");
    let unpacked = folder.join("unpacked");
    fs::create_dir(&unpacked).unwrap();
    let mut tar = Command::new("tar");
    tar.arg("-xf").arg(folder.join("kept.tar"));
    assert!(tar.current_dir(&unpacked).status().unwrap().success());
    // It is the same as a folder.
    fs::remove_dir_all(folder.join("data")).unwrap();
    printed(tollgate(folder, &["restore", "unpacked"]));
    assert!(requests(folder).contains("gpt-5"));
}

#[test]
fn what_cannot_be_is_told_and_changes_nothing() {
    let folder = with_traffic();
    let folder = folder.path();
    fs::create_dir(folder.join("full")).unwrap();
    fs::write(folder.join("full/other"), "").unwrap();
    let refused = |arguments: &[&str], reason: &str| {
        let (code, stdout, said) = told(tollgate(folder, arguments));
        assert_eq!((code, stdout.as_str()), (1, ""), "{arguments:?}");
        assert!(said.contains(reason), "{said}");
    };
    refused(
        &["backup", "full"],
        "full is not empty: name a new folder, so that two backups do not mix",
    );
    refused(
        &["backup", "full/other"],
        "cannot make the folder full/other",
    );
    refused(
        &["restore", "full"],
        "full is no whole backup of Tollgate's: backup.json",
    );
    refused(&["restore", "nowhere"], "nowhere is no whole backup");

    printed(tollgate(folder, &["backup", "kept"]));
    refused(&["restore", "kept"], "data holds tollgate.db, ");
    let ledger = traffic::open(&folder.join("data"));
    refused(
        &["restore", "kept", "--replace"],
        "is in use by another tollgate",
    );
    drop(ledger);

    // A file that is shorter, a file that no backup has.
    fs::rename(folder.join("data"), folder.join("away")).unwrap();
    let database = fs::read(folder.join("kept/tollgate.db")).unwrap();
    fs::write(folder.join("kept/tollgate.db"), &database[..4_096]).unwrap();
    refused(
        &["restore", "kept"],
        "it does not hold what backup.json says",
    );
    fs::write(folder.join("kept/tollgate.db"), &database).unwrap();
    let manifest = fs::read_to_string(folder.join("kept/backup.json")).unwrap();
    let with = |name: &str| {
        manifest.replace(
            "\"tollgate.db\"",
            &format!("\"{name}\": 1, \"tollgate.db\""),
        )
    };
    fs::write(folder.join("kept/backup.json"), with("../full/other")).unwrap();
    refused(
        &["restore", "kept"],
        "`../full/other` belongs into no backup",
    );
    let left: Vec<_> = fs::read_dir(folder.join("data")).unwrap().collect();
    assert_eq!(left.len(), 1, "only the lock: {left:?}");

    // No ledger: no backup, and nothing is left of the try.
    refused(&["backup", "of-nothing"], "there is no ledger at");
    assert_eq!(fs::read_dir(folder.join("of-nothing")).unwrap().count(), 0);
}

/// Every file below a folder but the lock, with how large it is.
fn files(folder: &Path) -> BTreeMap<PathBuf, u64> {
    let mut found = BTreeMap::new();
    let mut left = vec![folder.to_owned()];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).unwrap();
            left.extend(entries.map(|entry| entry.unwrap().path()));
        } else if !path.ends_with("tollgate.lock") {
            found.insert(path.clone(), path.metadata().unwrap().len());
        }
    }
    found
}

#[test]
fn a_file_that_cannot_be_moved_leaves_everything_where_it_was() {
    let folder = with_traffic();
    let folder = folder.path();
    let prices = folder.join("data/prices");
    fs::create_dir(&prices).unwrap();
    fs::write(prices.join("catalogue"), "{}").unwrap();
    printed(tollgate(folder, &["backup", "kept"]));
    // Not to be had as a folder, for root neither.
    fs::remove_dir_all(&prices).unwrap();
    fs::write(&prices, "in the way").unwrap();
    let before = files(&folder.join("data"));
    let (code, _, said) = told(tollgate(folder, &["restore", "kept", "--replace"]));
    assert_eq!(code, 1, "{said}");
    let reason = "nothing was restored, and everything is where it was: cannot move ";
    assert!(said.contains(reason), "{said}");
    assert_eq!(files(&folder.join("data")), before);
    assert!(requests(folder).contains("gpt-5"));
}

#[test]
fn a_restore_that_broke_off_is_no_ledger_until_it_is_done_again() {
    let folder = with_traffic();
    let folder = folder.path();
    printed(tollgate(folder, &["backup", "kept"]));
    // As a kill leaves it: the database is aside, the rest is not.
    let aside = folder.join("data/replaced-20261121T000000Z");
    fs::create_dir(&aside).unwrap();
    fs::rename(folder.join("data/tollgate.db"), aside.join("tollgate.db")).unwrap();
    let marker = folder.join("data/restore.moving");
    fs::write(&marker, format!("{}\n", aside.display())).unwrap();
    for arguments in [&["run"][..], &["keys", "create", "ci"]] {
        let (code, stdout, said) = told(tollgate(folder, arguments));
        assert_eq!((code, stdout.as_str()), (1, ""), "{arguments:?} {said}");
        assert!(said.contains("a `tollgate restore` broke off"), "{said}");
        assert!(
            said.contains("/replaced-20261121T000000Z and delete"),
            "{said}"
        );
        assert!(!folder.join("data/tollgate.db").exists(), "{arguments:?}");
    }
    let (code, _, said) = told(tollgate(folder, &["restore", "kept", "--replace"]));
    assert_eq!(code, 0, "{said}");
    assert!(!marker.exists());
    assert!(requests(folder).contains("gpt-5"));
}

#[test]
fn what_is_not_tollgates_in_the_folder_of_payloads_is_in_nobodys_way() {
    let folder = with_traffic();
    let folder = folder.path();
    let payloads = folder.join("data/payloads");
    fs::create_dir_all(payloads.join("2026-11-20")).unwrap();
    fs::write(payloads.join("2026-11-20/a.json.zst"), "payload").unwrap();
    fs::create_dir(payloads.join("lost+found")).unwrap();
    fs::write(payloads.join("note.txt"), "mine").unwrap();
    printed(tollgate(folder, &["backup", "kept", "--payloads"]));
    let kept = files(&folder.join("kept/payloads"));
    assert_eq!(kept.len(), 1, "{kept:?}");
    fs::create_dir(folder.join("kept/payloads/lost+found")).unwrap();

    // As on a file system of its own that is new.
    fs::remove_dir_all(folder.join("data")).unwrap();
    fs::create_dir_all(payloads.join("lost+found")).unwrap();
    fs::write(payloads.join("note.txt"), "mine").unwrap();
    printed(tollgate(folder, &["restore", "kept"]));
    let (code, _, said) = told(tollgate(folder, &["restore", "kept"]));
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains(" holds tollgate.db, payloads already;"),
        "{said}"
    );
    let (code, _, said) = told(tollgate(folder, &["restore", "kept", "--replace"]));
    assert_eq!(code, 0, "{said}");
    assert_eq!(files(&payloads).len(), 2);
    assert!(payloads.join("lost+found").exists());
}

#[test]
fn a_database_that_would_be_no_ledger_here_is_refused_before_anything_moves() {
    let folder = with_traffic();
    let folder = folder.path();
    printed(tollgate(folder, &["backup", "kept"]));
    let database = folder.join("kept/tollgate.db");
    let good = fs::read(&database).unwrap();
    let before = files(&folder.join("data"));
    let refused = |reason: &str| {
        let (code, _, said) = told(tollgate(folder, &["restore", "kept", "--replace"]));
        assert_eq!(code, 1, "{said}");
        assert!(said.contains(reason), "{said}");
        assert_eq!(files(&folder.join("data")), before, "{reason}");
    };
    // Of the same size each, so that the manifest is no help. First `user_version` (at 60).
    let mut newer = good.clone();
    newer[60..64].copy_from_slice(&99_u32.to_be_bytes());
    fs::write(&database, &newer).unwrap();
    refused("its schema version is 99, and this tollgate knows up to ");
    let mut other = good.clone();
    other[60..64].copy_from_slice(&[0; 4]);
    fs::write(&database, &other).unwrap();
    refused("it has no schema of Tollgate's");
    let mut damaged = good.clone();
    let last = good.len() - 4_096;
    damaged[last..].fill(0xff);
    fs::write(&database, &damaged).unwrap();
    refused("it is damaged: ");
    fs::write(&database, vec![0xff; good.len()]).unwrap();
    refused("it cannot be read: ");
}

/// Files and folders below `folder` that root has.
fn of_root(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![folder.to_owned()];
    while let Some(path) = left.pop() {
        if path.symlink_metadata().unwrap().uid() == 0 {
            found.push(path.clone());
        }
        if path.is_dir() {
            left.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        }
    }
    found
}

fn give_away(folder: &Path) {
    let mut left = vec![folder.to_owned()];
    while let Some(path) = left.pop() {
        chown(&path, Some(OTHER), Some(OTHER)).unwrap();
        if path.is_dir() {
            left.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        }
    }
}

#[test]
fn root_writes_nothing_into_the_folder_of_another_user() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can give a folder to another user");
        return;
    }
    let folder = with_traffic();
    let folder = folder.path();
    printed(tollgate(folder, &["backup", "kept"]));
    let data = folder.join("data");
    give_away(&data);
    let remedy =
        "call it as that user: `setpriv --reuid 65532 --regid 65532 --clear-groups tollgate …`";
    for arguments in [
        &["keys", "create", "ci"][..],
        &["keys", "revoke", "ci"],
        &["keys", "off"],
        &["prices", "reprice", "--since", "1d"],
        &["prices", "update", "--from", "any.json"],
        &["backup", "by-root"],
        &["backup", "-"],
        &["restore", "kept", "--replace"],
        &["run"],
    ] {
        let (code, stdout, said) = told(tollgate(folder, arguments));
        assert_eq!((code, stdout.as_str()), (1, ""), "{arguments:?} {said}");
        assert!(said.contains("belongs to the user 65532"), "{said}");
        assert!(said.contains(remedy), "{said}");
        assert_eq!(of_root(&data), Vec::<PathBuf>::new(), "{arguments:?}");
    }
    // To ask is nothing bad.
    let (code, listed, said) = told(tollgate(folder, &["requests", "--format", "json"]));
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("root leaves another user's ledger as it is"),
        "{said}"
    );
    assert!(listed.contains("gpt-5"), "{listed}");

    // As that user it works, where that user may run the program at all.
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = tollgate(folder, &["keys", "create", "ci"]);
    command.uid(OTHER).gid(OTHER);
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => {
            eprintln!("skipped in part: user {OTHER} cannot run the program ({error})");
            return;
        }
    };
    assert!(output.status.success(), "{output:?}");
    assert_eq!(of_root(&data), Vec::<PathBuf>::new());
    // A cron job of root's calls it as that user too, and opens the archive itself.
    let mut archive = tollgate(folder, &["backup", "-"]);
    archive.uid(OTHER).gid(OTHER);
    archive.stdout(File::create(folder.join("by-root.tar")).unwrap());
    let (code, _, said) = told(archive);
    assert_eq!(code, 0, "{said}");
    fs::remove_dir_all(&data).unwrap();
    fs::create_dir(&data).unwrap();
    give_away(&data);
    let mut command = tollgate(folder, &["restore", "-"]);
    command.uid(OTHER).gid(OTHER);
    command.stdin(File::open(folder.join("by-root.tar")).unwrap());
    let (code, _, said) = told(command);
    assert_eq!((code, said.as_str()), (0, ""));
    assert_eq!(of_root(&data), Vec::<PathBuf>::new());
    assert!(requests_as(folder).contains("gpt-5"));
}

/// The requests, asked by the user whose folder it is.
fn requests_as(folder: &Path) -> String {
    let mut command = tollgate(folder, &["requests", "--format", "json"]);
    command.uid(OTHER).gid(OTHER);
    printed(command)
}

#[test]
fn root_may_begin_in_an_empty_folder_of_anybodys() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can give a folder to another user");
        return;
    }
    let folder = with_traffic();
    let folder = folder.path();
    printed(tollgate(folder, &["backup", "kept"]));
    let data = folder.join("data");
    fs::remove_dir_all(&data).unwrap();
    fs::create_dir(&data).unwrap();
    give_away(&data);
    // As a container's root finds a new volume that was made for the image's user.
    printed(tollgate(folder, &["restore", "kept"]));
    let (code, _, said) = told(tollgate(folder, &["keys", "create", "ci"]));
    assert_eq!(code, 0, "{said}");
    assert!(requests(folder).contains("gpt-5"));
}

#[test]
fn a_link_in_the_place_of_the_unfinished_copy_is_not_followed() {
    let folder = with_traffic();
    let folder = folder.path();
    fs::write(folder.join("other"), "kept").unwrap();
    symlink("../other", folder.join("data/backup.unfinished")).unwrap();
    let (code, _, said) = told(tollgate(folder, &["backup", "-"]));
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("backup.unfinished"), "{said}");
    assert_eq!(fs::read_to_string(folder.join("other")).unwrap(), "kept");
}
