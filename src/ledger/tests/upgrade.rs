//! A ledger of an earlier version, brought to this one's schema.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension};
use tempfile::TempDir;

use super::{Manual, WITHOUT_HOURS, assert_sound, query_number, settings};
use crate::ledger::database::{Database, path_in};
use crate::ledger::migrations;

/// Failed requests with long names, so that sorting them takes more memory than there should be need of.
const MANY: &str = "WITH RECURSIVE numbers (n) AS \
     (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 100000) \
     INSERT INTO requests (sequence, id, started_at, api, method, path, served_model, outcome, \
     usage_source, request_bytes, source) \
     SELECT n, 'id-' || n, n * 1000000, 'chat', 'POST', '/', printf('%0500d', n % 7), 'timeout', \
     'none', 0, 'proxy' FROM numbers;";

/// What it may take: two times the writer's cache, and some more for sorting.
const MOST_MEMORY: i64 = 32 << 20;

/// A ledger as version 8 left it.
fn of_version_8(folder: &TempDir, more: &str) {
    let mut ledger = Manual::open(&settings(folder));
    ledger.round();
    ledger.kill();
    let connection = Connection::open(path_in(folder.path())).unwrap();
    let earlier = "DROP INDEX requests_started_at; \
         CREATE INDEX requests_started_at ON requests (started_at); PRAGMA user_version = 8;";
    connection
        .execute_batch(&format!("{WITHOUT_HOURS} {earlier} {more}"))
        .unwrap();
}

/// The most memory that SQLite had at once since this was asked before, in bytes.
fn most_memory() -> i64 {
    #[allow(
        unsafe_code,
        reason = "it reads and resets a counter of SQLite's, which may be done at any time"
    )]
    // SAFETY: see the reason.
    unsafe {
        rusqlite::ffi::sqlite3_memory_highwater(1)
    }
}

fn names_in(folder: &Path) -> Vec<String> {
    let files = fs::read_dir(folder).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

#[test]
fn memory_does_not_grow_with_the_ledger() {
    let folder = TempDir::new().unwrap();
    of_version_8(&folder, MANY);
    most_memory();
    let database = Database::open(&path_in(folder.path())).unwrap();
    let most = most_memory();
    assert!(most > 0 && most < MOST_MEMORY, "{most} bytes");
    // Later it is as always: in memory, and without a folder that all would use.
    let pragma = |name| {
        let connection = &database.connection;
        let value = connection.pragma_query_value(None, name, |row| row.get::<_, Value>(0));
        value.optional().unwrap()
    };
    assert_eq!(pragma("temp_store"), Some(Value::Integer(2)));
    assert_eq!(pragma("temp_store_directory"), None);
    drop(database);
    assert_eq!(
        names_in(folder.path()),
        ["journal", "tollgate.db", "tollgate.lock"]
    );
    assert_sound(folder.path());
    let version = query_number(folder.path(), "PRAGMA user_version");
    assert_eq!(version, migrations::VERSION);
    let hours = query_number(
        folder.path(),
        "SELECT count(DISTINCT hour) FROM requests_hourly",
    );
    assert_eq!(hours, 28);
}

#[test]
fn the_log_says_what_takes_long_before_and_after() {
    let folder = TempDir::new().unwrap();
    of_version_8(&folder, &MANY.replace("100000", "70"));
    let path = folder.path().join("log");
    let log = Arc::new(File::create(&path).unwrap());
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(log);
    tracing::subscriber::with_default(subscriber.finish(), || {
        Database::open(&path_in(folder.path())).unwrap();
        // Once.
        Database::open(&path_in(folder.path())).unwrap();
    });
    let log = fs::read_to_string(path).unwrap();
    let lines: Vec<&str> = log.lines().collect();
    let [before, after] = lines.as_slice() else {
        panic!("{log}");
    };
    assert!(
        before.contains("bringing the ledger to the schema"),
        "{before}"
    );
    assert!(before.contains("from=8 to=10 requests=70"), "{before}");
    assert!(
        after.contains("has the schema") && after.contains("took_s="),
        "{after}"
    );
}

#[test]
fn a_new_ledger_is_no_upgrade() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("log");
    let log = Arc::new(File::create(&path).unwrap());
    let subscriber = tracing_subscriber::fmt().with_writer(log);
    tracing::subscriber::with_default(subscriber.finish(), || {
        Database::open(&path_in(folder.path())).unwrap();
    });
    assert_eq!(fs::read_to_string(path).unwrap(), "");
}
