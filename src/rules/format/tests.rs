//! Rule files as operators write them, good and bad, and what they are told.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::*;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The files of a folder whose names end so, in order.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let folder = Path::new(ROOT).join(folder);
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().ends_with(ending))
        .collect();
    files.sort();
    assert!(files.len() > 2, "{files:?}");
    files
}

fn known() -> KnownNames {
    let names = |names: &[&str]| Some(names.iter().map(|name| Arc::from(*name)).collect());
    KnownNames {
        channels: names(&["main", "spare"]),
        keys: names(&["team-a", "team-b"]),
    }
}

fn read(path: &Path, known: &KnownNames) -> Result<LoadedRules, Problems> {
    let text = fs::read_to_string(path).unwrap();
    let name = path.file_name().unwrap();
    let zone = TimeZone::get("Asia/Shanghai").unwrap();
    parse(Path::new(name), &text, &zone, known)
}

#[test]
fn good_files_become_rules() {
    for path in files("src/rules/format/fixtures", ".good.yaml") {
        let loaded = read(&path, &known()).unwrap_or_else(|problems| panic!("{problems}"));
        let rules = loaded.set.rules.iter().map(|rule| format!("{rule:?}"));
        let warnings = loaded.warnings.iter().map(ToString::to_string);
        let told = rules.chain(warnings).collect::<Vec<String>>().join("\n");
        insta::assert_snapshot!(path.file_name().unwrap().to_str().unwrap(), told);
    }
}

#[test]
fn bad_files_are_told_every_problem() {
    for path in files("src/rules/format/fixtures", ".bad.yaml") {
        let problems = read(&path, &known()).expect_err("a problem");
        insta::assert_snapshot!(
            path.file_name().unwrap().to_str().unwrap(),
            problems.to_string()
        );
    }
}

#[test]
fn the_shipped_rules_are_good_and_enforce_nothing() {
    let loaded = load(&files("rules", ".yaml"), &TimeZone::UTC, &known());
    let loaded = loaded.unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(loaded.warnings, []);
    assert!(loaded.set.rules.len() >= 10);
    for rule in &loaded.set.rules {
        assert_eq!(rule.mode, Mode::Notify, "{}", rule.name);
        assert!(rule.annotations.contains_key("summary"), "{}", rule.name);
    }
}
