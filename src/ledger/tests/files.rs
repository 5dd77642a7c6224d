//! The files: who may read them, how large they grow, whose version they are.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use tempfile::TempDir;

use super::sample::{START, admission, record};
use super::{Manual, PATIENCE, assert_sound, open, query_number, rows, settings};
use crate::clock::UnixMicros;
use crate::ledger::database::path_in;
use crate::ledger::{
    Closed, Ledger, OpenError, QueryError, Reader, Settings, Takeover, catch_up, journal_folder,
};

fn each_file(folder: &Path, visit: &mut impl FnMut(&Path, u32)) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let metadata = fs::metadata(&path).unwrap();
        visit(&path, metadata.permissions().mode() & 0o777);
        if metadata.is_dir() {
            each_file(&path, visit);
        }
    }
}

#[test]
fn only_the_owner_may_read_any_of_it() {
    let folder = TempDir::new().unwrap();
    let data_dir = folder.path().join("data");
    let ledger = open(&Settings::new(&data_dir));
    let twice = record(admission(0));
    ledger.journal().end(&twice);
    ledger.journal().end(&twice);
    assert!(ledger.flush(PATIENCE));
    let mut seen = Vec::new();
    each_file(folder.path(), &mut |path, mode| {
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", path.display());
        seen.push(path.file_name().unwrap().to_str().unwrap().to_owned());
    });
    for name in [
        "data",
        "journal",
        "rejected",
        "tollgate.db",
        "tollgate.db-wal",
        "tollgate.lock",
    ] {
        assert!(seen.iter().any(|seen| seen == name), "{name} is there");
    }
}

#[test]
fn closing_leaves_one_whole_database_file_and_an_empty_journal() {
    let folder = TempDir::new().unwrap();
    let ledger = open(&settings(&folder));
    for n in 0..100 {
        let admission = admission(n);
        ledger.journal().admit(&admission);
        ledger.journal().end(&record(admission));
    }
    assert_eq!(ledger.close(PATIENCE), Closed::Complete);
    let mut files = Vec::new();
    each_file(folder.path(), &mut |path, _| files.push(path.to_owned()));
    files.sort();
    let expected = ["journal", "tollgate.db", "tollgate.lock"].map(|name| folder.path().join(name));
    assert_eq!(files, expected);
    assert_eq!(rows(folder.path()).len(), 100);
}

#[test]
fn expired_rows_go_with_their_attempts_and_give_their_space_back() {
    let folder = TempDir::new().unwrap();
    let settings = Settings {
        retention: Some(Duration::from_secs(24 * 3600)),
        ..settings(&folder)
    };
    let mut ledger = Manual::open(&settings);
    for n in 0..3_000 {
        ledger.journal.end(&record(admission(n)));
    }
    ledger.round_at(START);
    assert_eq!(
        query_number(folder.path(), "SELECT count(*) FROM requests"),
        3_000
    );
    let pages = query_number(folder.path(), "PRAGMA page_count");

    let later = START.plus(Duration::from_secs(25 * 3600));
    let mut young = admission(0);
    young.started_at = later;
    ledger.journal.end(&record(young.clone()));
    for _ in 0..20 {
        ledger.round_at(later);
    }
    let [left] = rows(folder.path()).try_into().unwrap();
    assert_eq!(left.id, young.id);
    assert_eq!(left.sequence.0, 3_001, "numbers are not used twice");
    assert_eq!(
        query_number(folder.path(), "SELECT count(*) FROM attempts"),
        1
    );
    assert_eq!(
        query_number(folder.path(), "SELECT sum(requests) FROM usage_minutely"),
        3_001
    );
    assert!(query_number(folder.path(), "PRAGMA page_count") < pages / 4);
    assert_sound(folder.path());
}

#[test]
fn the_journal_deletes_what_the_database_has() {
    let folder = TempDir::new().unwrap();
    let settings = Settings {
        segment_bytes: 10_000,
        ..settings(&folder)
    };
    let mut ledger = Manual::open(&settings);
    for n in 0..1_000 {
        ledger.journal.end(&record(admission(n)));
        if n % 50 == 0 {
            ledger.round();
        }
    }
    ledger.round();
    let mut files = 0;
    each_file(&journal_folder(folder.path()), &mut |path, _| {
        files += usize::from(path.extension().is_some_and(|extension| extension == "log"));
    });
    assert!(files <= 3, "{files} files");
    assert_eq!(rows(folder.path()).len(), 1_000);
}

#[test]
fn a_database_of_a_newer_version_is_refused_and_left_alone() {
    let folder = TempDir::new().unwrap();
    assert_eq!(open(&settings(&folder)).close(PATIENCE), Closed::Complete);
    let newer = Connection::open(path_in(folder.path())).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    drop(newer);
    let before = fs::read(path_in(folder.path())).unwrap();

    let error = Ledger::open(&settings(&folder), Takeover::Refuse).unwrap_err();
    assert!(
        matches!(error, OpenError::Newer { found: 99, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("newer tollgate"));
    let error = Reader::open(folder.path()).unwrap_err();
    assert!(
        matches!(error, QueryError::OtherVersion { found: 99, .. }),
        "{error}"
    );
    let after = fs::read(path_in(folder.path())).unwrap();
    assert!(after == before, "the database was changed");
}

#[test]
fn without_a_ledger_a_reader_says_so_and_nothing_is_made() {
    let folder = TempDir::new().unwrap();
    let error = Reader::open(folder.path()).unwrap_err();
    assert!(matches!(error, QueryError::NoLedger { .. }));
    assert!(error.to_string().contains("data_dir"));
    assert_eq!(catch_up(folder.path()).unwrap(), 0);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Ledger::open(&Settings::new(file.join("data")), Takeover::Refuse).unwrap_err();
    assert!(error.to_string().contains("file/data"), "{error}");
}

#[test]
fn time_stands_still_for_rows_of_the_future() {
    let folder = TempDir::new().unwrap();
    let settings = Settings {
        retention: Some(Duration::from_secs(3600)),
        ..settings(&folder)
    };
    let mut ledger = Manual::open(&settings);
    ledger.journal.end(&record(admission(0)));
    // The wall clock was wrong: rows from after now do not expire.
    ledger.round_at(UnixMicros(0));
    ledger.round_at(UnixMicros(0));
    assert_eq!(rows(folder.path()).len(), 1);
}
