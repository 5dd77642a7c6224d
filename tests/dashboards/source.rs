//! What is in the repository is what the source makes, and what Grafana's schema knows.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::boards;
use crate::support::clients;

fn program(variable: &str) -> Command {
    let path = std::env::var_os(variable)
        .unwrap_or_else(|| panic!("{variable} is not set: `make test` installs it and sets it"));
    Command::new(path)
}

fn assert_success(command: &mut Command) {
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&said)
    );
}

#[test]
fn what_is_kept_is_what_the_source_makes() {
    if clients::left_out() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut made = program("TOLLGATE_TEST_PYTHON");
    made.args(["-B", "-m", "source"])
        .arg(folder.path())
        .current_dir(root.join("grafana"));
    assert_success(&mut made);
    let names = |folder: &std::path::Path| {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let kept = PathBuf::from(boards::FOLDER);
    assert_eq!(
        names(folder.path()),
        names(&kept),
        "`make dashboards` makes others"
    );
    for name in names(&kept) {
        let (made, kept) = (folder.path().join(&name), kept.join(&name));
        assert!(
            fs::read(made).unwrap() == fs::read(kept).unwrap(),
            "{}: `make dashboards` writes another one; the source is what is edited",
            name.display()
        );
    }
}

#[test]
fn grafanas_schema_knows_every_member() {
    if clients::left_out() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/dashboards/schema.mjs");
    let mut judged = program("TOLLGATE_TEST_NODE");
    judged.arg(script).arg(boards::FOLDER).arg(folder.path());
    assert_success(&mut judged);
}
