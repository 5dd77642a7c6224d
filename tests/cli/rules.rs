//! `tollgate rules`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{printed, told, tollgate};

/// The rules that ship.
const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/rules");

/// The YAML files of a folder, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "yaml"))
        .collect();
    files.sort();
    files
}

#[test]
fn the_tests_of_the_shipped_rules_pass() {
    let shipped = Path::new(SHIPPED);
    let tests = files(&shipped.join("tests"));
    let names: Vec<&str> = tests.iter().map(|path| path.to_str().unwrap()).collect();
    let arguments = [&["rules", "test"][..], &names].concat();
    let answer = printed(tollgate(shipped, &arguments));
    assert!(answer.ends_with(" tests passed\n"), "{answer}");
}

#[test]
fn every_shipped_rule_is_shown_to_fire_and_not_to_fire() {
    let shipped = Path::new(SHIPPED);
    for file in files(shipped) {
        let rules = fs::read_to_string(&file).unwrap();
        let tests = shipped.join("tests").join(file.file_name().unwrap());
        let tests = fs::read_to_string(tests).unwrap();
        let names: Vec<&str> = rules
            .lines()
            .filter_map(|line| line.trim().strip_prefix("- alert: "))
            .collect();
        assert!(!names.is_empty(), "{}", file.display());
        for name in names {
            for state in ["firing", "inactive"] {
                let of_state = |line: &str| {
                    line.contains(&format!("alert: {name},"))
                        && line.contains(&format!("state: {state}"))
                };
                assert!(tests.lines().any(of_state), "no test has {name} {state}");
            }
        }
    }
}

/// A folder with `rules.yaml` and `test.yaml`.
fn folder(rules: &str, tests: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("rules.yaml"), rules).unwrap();
    fs::write(folder.path().join("test.yaml"), tests).unwrap();
    folder
}

const ENFORCED: &str = "\
groups:
- name: enforced
  mode: enforce
  rules:
  - alert: Day
    metric: cost
    window: day
    by: [channel]
    critical: 10 USD
    actions: [disable_channel: {until: window_end}]
  - alert: KeyHour
    metric: tokens
    window: 1h
    match: {key: team}
    critical: 1000 tokens
    actions: [block: {status: 429}]
";

#[test]
fn what_rules_do_is_tested_with_what_they_see() {
    let folder = folder(
        ENFORCED,
        "\
rules: [rules.yaml]
tests:
- name: a channel is closed until the window ends, over a restart, and the last one stays open
  start: 2027-06-15T10:00:00Z
  channels: [main, spare]
  requests:
  - {at: 0m, every: 1m, times: 10, channel: main, cost: 1 USD, latency: 2s}
  - {at: 1h, every: 1m, times: 12, channel: spare, cost: 1 USD, latency: 2s}
  restarts: [30m, 2h]
  expect:
  - {at: 9m, closed: []}
  - at: 9m 2s
    closed: [main]
    alerts:
    - {alert: Day, labels: {channel: main}, state: firing, severity: critical, value: 10 USD, actions: [disable_channel]}
  - at: 3h
    closed: [main]
    alerts:
    - {alert: Day, labels: {channel: main}, state: firing, severity: critical}
    - {alert: Day, labels: {channel: spare}, state: firing, severity: critical, actions: [], withheld: [disable_channel]}
  - at: 14h
    closed: []
    alerts:
    - {alert: Day, state: inactive}
- name: a budget is held while a request is on its way
  start: 2027-06-15T10:00:00Z
  requests:
  - {at: 0m, key: team, input_tokens: 100, output_tokens: 300, latency: 1s}
  admit:
  - {at: 1m, key: team, worst: {input_tokens: 100, output_tokens: 200}, held: 5m, expect: admitted}
  - {at: 2m, key: team, worst: {input_tokens: 100, output_tokens: 201}, expect: blocked, by: KeyHour}
  - {at: 2m, key: other, worst: {input_tokens: 100, output_tokens: 201}, expect: admitted}
  - {at: 6m, key: team, worst: {input_tokens: 100, output_tokens: 201}, expect: admitted}
  - {at: 7m, key: team, worst: {input_tokens: 300, output_tokens: 301}, expect: blocked}
",
    );
    let answer = printed(tollgate(folder.path(), &["rules", "test", "test.yaml"]));
    assert!(answer.ends_with("2 tests passed\n"), "{answer}");
}

#[test]
fn a_test_that_fails_says_what_was_expected_and_what_was_found() {
    let folder = folder(
        ENFORCED,
        "\
rules: [rules.yaml]
tests:
- name: all of it is wrong
  start: 2027-06-15T10:00:00Z
  requests:
  - {at: 0m, every: 1m, times: 11, channel: main, cost: 1 USD}
  admit:
  - {at: 1h, channel: main, worst: {}, expect: blocked, by: Day}
  expect:
  - at: 5m
    alerts:
    - {alert: Day, labels: {channel: main}, state: firing, value: 7 USD}
    - {alert: Day, labels: {channel: spare}, state: pending}
  - at: 1h
    closed: []
    alerts:
    - {alert: Day, state: inactive}
- name: this is right
  start: 2027-06-15T10:00:00Z
  expect:
  - {at: 5m, closed: []}
",
    );
    let (code, stdout, stderr) = told(tollgate(folder.path(), &["rules", "test", "test.yaml"]));
    assert_eq!((code, stderr.as_str()), (1, ""));
    insta::assert_snapshot!("failed_test", stdout);
}

#[test]
fn every_problem_of_test_files_is_told_with_its_place() {
    let folder = folder(
        ENFORCED,
        "\
rules: [rules.yaml]
timezone: Europe/Berln
tests:
- name: all of it is wrong
  start: 2027-06-15
  requests:
  - {every: 1m, times: 0, cost: 1, outcome: blocked, ttft: 2s}
  - {at: 5M, tokens: many, chanel: main}
  quotas: [{at: 1m}]
  admit: [{at: 1m, expect: maybe, by: Dya}]
  restarts: [soon]
  expect:
  - at: 1m
    alerts:
    - {alert: Day, labels: {key: a}, state: firing, value: 7 tokens, actions: [close]}
    - {state: inactive, severity: warning}
  - {at: 2m}
- name: nothing is expected
  start: 2027-06-15T10:00:00Z
",
    );
    let (code, stdout, stderr) = told(tollgate(folder.path(), &["rules", "test", "test.yaml"]));
    assert_eq!((code, stdout.as_str()), (64, ""));
    insta::assert_snapshot!("bad_test", stderr);
}

#[test]
fn problems_of_the_rules_are_told_too() {
    let folder = folder(
        "groups: [{name: g, rules: [{alert: A}]}]",
        "rules: [rules.yaml]\ntests: []\n",
    );
    let (code, _, stderr) = told(tollgate(
        folder.path(),
        &["rules", "test", "test.yaml", "none.yaml"],
    ));
    assert_eq!(code, 64);
    for problem in ["rules.yaml:1:", "none.yaml: cannot read the tests of rules"] {
        assert!(stderr.contains(problem), "{problem}: {stderr}");
    }
}
