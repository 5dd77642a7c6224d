//! `tollgate rules list`, with a sidecar and without.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tollgate::alert::{AlertEvent, AlertId, AlertState, Labels, Mode, Quantity, Severity, Unit};
use tollgate::clock::UnixMicros;
use tollgate::ledger::Closed;
use tollgate::record::RequestRecord;

use crate::sidecar::Sidecar;
use crate::traffic::rules::{USD, ask, spend};
use crate::traffic::{PATIENCE, plain, record};
use crate::{printed, told, tollgate, tollgate_at, traffic};

const SETTINGS: &str = "\
channels:
  - {name: openai, base_url: 'https://api.openai.com/v1'}
  - {name: spare, base_url: 'https://api.openai.com/v1'}
rules: [rules.yaml]
";

const RULES: &str = "\
groups:
- name: g
  rules:
  - alert: Spend
    metric: cost
    window: 30d
    by: [channel]
    warning: 0.0005 USD
    critical: 5 USD
    mode: enforce
    actions:
    - block:
  - {alert: Lasting, metric: cost, window: 30d, for: 1h, warning: 0.0001 USD}
  - {alert: Busy, metric: requests, window: 30d, critical: 12k requests}
";

/// What is said beside the answer of files and ledger.
const NOTE: &str = "no sidecar was asked";

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tollgate.yaml"), SETTINGS).unwrap();
    fs::write(folder.path().join("rules.yaml"), RULES).unwrap();
    folder
}

/// The lines of a table, spaces made one.
fn rows(table: &str) -> Vec<String> {
    let lines = table.lines();
    lines
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

/// The rules as JSON, without a sidecar.
fn at_rest(folder: &Path) -> Value {
    let (code, stdout, stderr) = told(tollgate(folder, &["rules", "list", "--format", "json"]));
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains(NOTE), "{stderr}");
    serde_json::from_str(&stdout).unwrap()
}

/// Request `n`, some minutes ago.
fn recent(n: u64) -> RequestRecord {
    let mut request = plain(n);
    request.admission.started_at = UnixMicros::now().minus(Duration::from_secs(300 + n));
    request
}

#[test]
fn a_sidecar_says_what_its_rules_say() {
    let runtime = Runtime::new().unwrap();
    let folder = folder();
    let data_dir = folder.path().join("data");
    let ledger = traffic::open(&data_dir);
    let sidecar = Sidecar::with_rules(&runtime, &ledger, &data_dir, "127.0.0.1:0", None, RULES);
    spend(&sidecar.rules, "openai", None, 6 * USD);
    spend(&sidecar.rules, "spare", None, USD);
    let _held = ask(&sidecar.rules, "spare", None, Some(2 * USD)).expect("there is room");
    assert!(ask(&sidecar.rules, "openai", None, Some(1)).is_none());
    let list = |arguments: &[&str]| {
        let all: Vec<&str> = ["rules", "list"].iter().chain(arguments).copied().collect();
        printed(tollgate_at(folder.path(), sidecar.address, &all))
    };
    assert_eq!(
        rows(&list(&[])),
        [
            "rule labels state value limit of limit runs out reserved forecast window done",
            "Spend channel=openai firing critical $6.00 $0.000500 / $5.00 120% now $0.00 – 30d \
             refuses requests with 429; 1 refused",
            "Spend channel=spare firing warning $1.00 $0.000500 / $5.00 20% – $2.00 – 30d",
            "Lasting pending warning $7.00 $0.000100 7000000% now $0.00 – 30d",
            "Busy inactive 2 requests 12k requests 0% – 0 – 30d",
        ]
    );
    // What is usually asked of rules needs no further word.
    let bare = printed(tollgate_at(folder.path(), sidecar.address, &["rules"]));
    assert_eq!(rows(&bare), rows(&list(&[])));
    let all: Value = serde_json::from_str(&list(&["--format", "json"])).unwrap();
    assert_eq!(all[0]["name"], "Spend");
    assert_eq!(all[0]["alerts"][0]["value"], "6");
    assert_eq!(all[0]["blocked"], 1);
    assert_eq!(all.as_array().unwrap().len(), 3);
    sidecar.stop(&runtime);
}

#[test]
fn without_a_sidecar_files_and_ledger_say_it() {
    let folder = folder();
    let ledger = traffic::open(&folder.path().join("data"));
    record(&ledger, &[recent(0), recent(1)]);
    // Without what an earlier run knew, it would have to wait for an hour.
    let hours = |hours: u64| UnixMicros::now().minus(Duration::from_secs(hours * 3_600));
    let fired = AlertEvent {
        at: hours(2),
        alert: AlertId {
            rule: "Lasting".into(),
            labels: Labels::default(),
        },
        state: AlertState::Firing,
        severity: Some(Severity::Warning),
        active_since: Some(hours(3)),
        fired_at: Some(hours(2)),
        cleared_since: None,
        critical_since: None,
        critical_cleared_since: None,
        value: Some(Quantity {
            unit: Unit::Usd,
            value: USD,
        }),
        limit: None,
        window_end: None,
        mode: Mode::Notify,
        told: true,
        actions: Vec::new(),
    };
    assert!(ledger.journal().alert_changed(&fired));
    assert!(ledger.flush(PATIENCE));
    assert_eq!(ledger.close(PATIENCE), Closed::Complete);

    let rules = at_rest(folder.path());
    let spend = &rules[0]["alerts"][0];
    assert_eq!(spend["labels"], json!({"channel": "openai"}));
    assert_eq!(spend["value"], "0.0007");
    assert_eq!(spend["requests"], 2);
    assert_eq!(spend["state"], "firing");
    assert_eq!(spend["severity"], "warning");
    let lasting = &rules[1]["alerts"][0];
    assert_eq!(lasting["state"], "firing");
    assert_eq!(lasting["fired_at"], fired.fired_at.unwrap().to_string());

    let (code, table, stderr) = told(tollgate(folder.path(), &["rules", "list"]));
    assert_eq!(code, 0);
    assert!(stderr.contains(NOTE), "{stderr}");
    let rows = rows(&table);
    // What is furthest beyond its limit stands at the front.
    assert!(
        rows[1].starts_with("Lasting firing warning $0.000700"),
        "{table}"
    );
    assert!(
        rows[2].starts_with("Spend channel=openai firing warning"),
        "{table}"
    );
    // Asking changes nothing: what was decided here is nobody's decision.
    assert_eq!(at_rest(folder.path())[1], rules[1]);
}

#[test]
fn nothing_recorded_no_rules_and_wrong_ones_are_told() {
    let folder = folder();
    let rules = at_rest(folder.path());
    assert_eq!(rules[0]["alerts"], json!([]));
    assert_eq!(rules[2]["alerts"][0]["value"], "0");
    assert!(!folder.path().join("data").exists());

    fs::write(
        folder.path().join("rules.yaml"),
        "groups: [{name: g, rules: [{alert: A}]}]\n",
    )
    .unwrap();
    let (code, stdout, stderr) = told(tollgate(folder.path(), &["rules", "list"]));
    assert_eq!((code, stdout.as_str()), (64, ""));
    assert!(stderr.contains("rules.yaml:1:"), "{stderr}");

    let empty = tempfile::tempdir().unwrap();
    assert_eq!(
        printed(tollgate(empty.path(), &["rules", "list"])),
        "There are no rules; `rules` of the settings names files of them.\n"
    );
    let none = printed(tollgate(
        empty.path(),
        &["rules", "list", "--format", "json"],
    ));
    assert_eq!(none, "[]\n");
}
