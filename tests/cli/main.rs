//! The command line, through the real binary.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

mod arguments;
mod backup;
mod channels;
mod keys;
mod notify;
mod notify_test;
mod prices;
mod reading;
mod repricing;
mod rule_list;
mod rules;
mod sidecar;
mod silences;
#[path = "../traffic/mod.rs"]
mod traffic;

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};

use tollgate::ledger::Closed;

use traffic::{PATIENCE, mixed, record};

/// A port on which nobody answers.
pub(crate) const NOBODY: &str = "127.0.0.1:1";

/// The binary in `folder`, with the ledger in `folder/data` and no settings but these.
pub(crate) fn tollgate(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("TOLLGATE_ADMIN_LISTEN", NOBODY);
    command
}

/// The same, asking a sidecar at `admin`.
pub(crate) fn tollgate_at(folder: &Path, admin: SocketAddr, arguments: &[&str]) -> Command {
    let mut command = tollgate(folder, arguments);
    command.env("TOLLGATE_ADMIN_LISTEN", admin.to_string());
    command
}

/// What a command that must succeed without a word on standard error prints.
pub(crate) fn printed(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    String::from_utf8(output.stdout).unwrap()
}

/// Exit code, standard output, standard error.
pub(crate) fn told(mut command: Command) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    (
        status.code().expect("it ended by itself"),
        String::from_utf8(stdout).unwrap(),
        String::from_utf8(stderr).unwrap(),
    )
}

/// A folder with a ledger of mixed traffic, closed.
pub(crate) fn with_traffic() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let ledger = traffic::open(&folder.path().join("data"));
    record(&ledger, &mixed());
    assert_eq!(ledger.close(PATIENCE), Closed::Complete);
    folder
}
