//! `tollgate rules`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use tollgate::clock::UnixMicros;
use tollgate::ledger::Closed;
use tollgate::money::NanoUsd;
use tollgate::record::{Cost, Outcome, RequestRecord};

use crate::traffic::{self, PATIENCE, plain, record};
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
fn the_documented_test_passes() {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/rules.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("rules/tests")).unwrap();
    for name in ["rules/mine.yaml", "rules/tests/mine.yaml"] {
        let begin = format!("```yaml\n# {name}\n");
        let (_, example) = text.split_once(&begin).unwrap();
        let (example, _) = example.split_once("```").unwrap();
        fs::write(folder.path().join(name), example).unwrap();
    }
    let arguments = ["rules", "test", "rules/tests/mine.yaml"];
    let answer = printed(tollgate(folder.path(), &arguments));
    assert!(answer.ends_with("1 test passed\n"), "{answer}");
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

/// 2025-07-08T10:00:00Z.
const BEGAN: UnixMicros = UnixMicros(1_751_968_800_000_000);

/// Two days in which a request that costs a dollar begins every ten minutes, every twelfth in vain; the
/// second day's are by way of `spare` from noon on.
fn two_days() -> Vec<RequestRecord> {
    let request = |n: u64| {
        let mut request = plain(n);
        let minutes = i64::try_from(n).unwrap() * 10;
        request.admission.started_at = UnixMicros(BEGAN.0 + minutes * 60_000_000);
        let channel: Arc<str> = if n < 156 { "openai" } else { "spare" }.into();
        request.admission.channel = Some(channel);
        request.cost = Some(Cost {
            amount: NanoUsd(1_000_000_000),
            price_version: "test/1".into(),
        });
        if n % 12 == 11 {
            request.outcome = Outcome::UpstreamError;
        }
        request
    };
    (0..288).map(request).collect()
}

const WATCHED: &str = "\
groups:
- name: watched
  rules:
  - alert: DailySpend
    metric: cost
    window: day
    warning: 50 USD
    critical: 100 USD
    actions: [block: {status: 429}]
  - alert: ChannelDailySpend
    metric: cost
    window: day
    by: [channel]
    critical: 60 USD
    actions: [disable_channel: {until: window_end}]
  - alert: SlowRequests
    metric: latency
    stat: p95
    window: 1h
    warning: 30s
  - alert: Pace
    metric: tokens_per_second
    stat: mean
    window: 1h
    warning: 20 tokens/s
";

const CHANNELS: &str = "\
channels:
- {name: openai, base_url: https://api.openai.com/v1, api_key: sk-canary}
- {name: spare, base_url: https://api.openai.com/v1, api_key: sk-canary}
";

/// A folder with the two days in its ledger and the rules in `rules.yaml`.
fn after_two_days(rules: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("rules.yaml"), rules).unwrap();
    fs::write(folder.path().join("tollgate.yaml"), CHANNELS).unwrap();
    let ledger = traffic::open(&folder.path().join("data"));
    record(&ledger, &two_days());
    assert_eq!(ledger.close(PATIENCE), Closed::Complete);
    folder
}

const BACKTEST: [&str; 7] = [
    "rules",
    "backtest",
    "rules.yaml",
    "--since",
    "2025-07-08T10:00:00Z",
    "--until",
    "2025-07-10T10:00:00Z",
];

#[test]
fn a_backtest_tells_when_rules_would_have_fired_and_what_they_would_have_refused() {
    let folder = after_two_days(WATCHED);
    insta::assert_snapshot!("backtest", printed(tollgate(folder.path(), &BACKTEST)));

    let arguments = [&BACKTEST[..], &["--format", "json"]].concat();
    let report: Value =
        serde_json::from_str(&printed(tollgate(folder.path(), &arguments))).unwrap();
    let tally = |requests: u64, succeeded: u64, cost: &str| json!({"requests": requests, "succeeded": succeeded, "cost": cost});
    assert_eq!(report["requests"], tally(288, 264, "288"));
    let rule = |name: &str| {
        let mut rules = report["rules"].as_array().unwrap().iter();
        rules.find(|rule| rule["rule"] == name).unwrap()
    };
    // The first day has 84 requests to the one channel, the second 72, 60 of which fit each.
    let closed = rule("ChannelDailySpend");
    assert_eq!(closed["diverted"], tally(36, 33, "36"));
    assert_eq!(closed["firings"].as_array().unwrap().len(), 3);
    // The second day has 60 of the one channel and 72 of the other, 100 of which fit.
    let spend = rule("DailySpend");
    assert_eq!(spend["blocked"], tally(32, 29, "32"));
    let second = json!({
        "labels": {},
        "severity": "critical",
        "fired_at": "2025-07-09T08:10:00.403000Z",
        "resolved_at": "2025-07-10T00:00:00.000000Z",
        "peak": "100",
    });
    assert_eq!(spend["firings"][1], second);
}

#[test]
fn a_backtest_knows_what_was_spent_before_it_begins() {
    let folder = after_two_days(WATCHED);
    // The second day at noon: 72 USD are spent, and nothing of it is asked about.
    let mut arguments = BACKTEST.to_vec();
    arguments[4] = "2025-07-09T12:00:00Z";
    arguments.extend(["--format", "json"]);
    let report: Value =
        serde_json::from_str(&printed(tollgate(folder.path(), &arguments))).unwrap();
    let spend = &report["rules"][0];
    assert_eq!(report["requests"]["requests"], 132);
    assert_eq!(
        spend["firings"][0]["fired_at"],
        "2025-07-09T12:00:00.000000Z"
    );
    assert_eq!(spend["blocked"]["requests"], 44);
}

#[test]
fn a_backtest_of_bad_rules_or_no_time_is_64() {
    let folder = after_two_days("groups: [{name: g, rules: [{alert: A}]}]");
    let (code, _, stderr) = told(tollgate(folder.path(), &BACKTEST));
    assert_eq!(code, 64, "{stderr}");
    assert!(stderr.contains("rules.yaml:1:"), "{stderr}");
    let arguments = ["rules", "backtest", "rules.yaml", "--since", "0s"];
    let (code, _, stderr) = told(tollgate(folder.path(), &arguments));
    assert_eq!(code, 64, "{stderr}");
    assert!(stderr.contains("--until must be later"), "{stderr}");
    let arguments = ["rules", "backtest", "rules.yaml", "--since", "5M"];
    let (code, _, stderr) = told(tollgate(folder.path(), &arguments));
    assert_eq!(code, 64, "{stderr}");
    let months = "--since: `5M` says `M`, which is months; write `m` for minutes";
    assert!(stderr.contains(months), "{stderr}");
}

#[test]
fn what_a_block_would_have_refused_without_an_alert_is_told_as_that() {
    // Each request costs a dollar: none ever fits, and nothing is spent.
    let folder = after_two_days(&WATCHED.replace(
        "    warning: 50 USD\n    critical: 100",
        "    critical: 0.5",
    ));
    let told = printed(tollgate(folder.path(), &BACKTEST));
    let refused =
        "  no alert; 288 requests ($288.0000) would have been refused; 264 of them had succeeded\n";
    assert!(told.contains(refused), "{told}");
}

#[test]
fn a_file_of_the_other_kind_is_told_as_that() {
    let folder = folder(ENFORCED, "rules: [rules.yaml]\ntests: []\n");
    let problems = |arguments: &[&str]| {
        let (code, _, stderr) = told(tollgate(folder.path(), arguments));
        assert_eq!(code, 64, "{arguments:?}: {stderr}");
        stderr
    };
    let of_rules = problems(&["rules", "test", "rules.yaml"]);
    assert!(
        of_rules.contains("rules.yaml:1:1: this is a file of rules, not of tests\n    hint: "),
        "{of_rules}"
    );
    assert!(!of_rules.contains("unknown key"), "{of_rules}");
    let of_tests = problems(&["rules", "backtest", "test.yaml"]);
    assert!(
        of_tests.contains("test.yaml:1:1: this is a file of tests, not of rules\n    hint: "),
        "{of_tests}"
    );
    fs::write(folder.path().join("list.yaml"), "- name: a\n").unwrap();
    let list = problems(&["rules", "test", "list.yaml"]);
    assert_eq!(list.matches("list.yaml").count(), 1, "{list}");
    assert!(!list.contains("default"), "{list}");
    let of_folder = problems(&["rules", "test", "."]);
    assert!(of_folder.contains("`./*.yaml`"), "{of_folder}");
}
