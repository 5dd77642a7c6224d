//! `alerts.yaml`: rules that Prometheus loads as they are, over metrics that there are.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::support::clients;
use crate::support::tollgate::{Setup, free_port};

const ALERTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/alerts.yaml");
const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/alerts");

#[test]
fn prometheus_loads_them_and_they_fire_when_they_should() {
    clients::promtool_rules(&["check", "rules", ALERTS]);
    let folder = tempfile::tempdir().unwrap();
    for case in fs::read_dir(CASES).unwrap() {
        let case = case.unwrap().path();
        let copy = folder.path().join(case.file_name().unwrap());
        let text = fs::read_to_string(&case).unwrap();
        fs::write(&copy, text.replace("[ALERTS]", &format!("['{ALERTS}']"))).unwrap();
        clients::promtool_rules(&["test", "rules", copy.to_str().unwrap()]);
    }
}

#[test]
fn each_says_what_it_means_and_how_bad_it_is() {
    let text = fs::read_to_string(ALERTS).unwrap();
    let rules: Vec<&str> = text.split("\n  - alert: ").skip(1).collect();
    assert!(rules.len() >= 3);
    for rule in rules {
        let name = rule.lines().next().unwrap();
        assert!(name.starts_with("Tollgate"), "{name}");
        let severities = ["severity: warning\n", "severity: critical\n"];
        assert!(severities.iter().any(|one| rule.contains(one)), "{name}");
        for member in [
            "    expr: ",
            "    for: ",
            "      summary: ",
            "      description: ",
        ] {
            assert_eq!(
                rule.matches(&format!("\n{member}")).count(),
                1,
                "{name}: {member}"
            );
        }
        let tested = fs::read_dir(CASES).unwrap().any(|case| {
            let case = fs::read_to_string(case.unwrap().path()).unwrap();
            case.contains(&format!("    alertname: {name}\n    exp_alerts:\n    - "))
        });
        assert!(tested, "nothing shows that {name} fires");
    }
}

#[test]
fn every_metric_in_them_is_one_of_tollgates() {
    let new_api = format!(
        "sources: {{new_api: {{base_url: 'http://{}', token: access-token-canary}}}}",
        free_port()
    );
    let channel = ("a", "http://127.0.0.1:9/v1", ", new_api: {id: 7}");
    let tollgate = Setup::channels(&[channel]).setting(&new_api).start();
    let exposition = tollgate.admin("/metrics").text();
    let types = exposition
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "));
    let families: BTreeSet<&str> = types.filter_map(|line| line.split(' ').next()).collect();
    let text = fs::read_to_string(Path::new(ALERTS)).unwrap();
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let metrics: BTreeSet<&str> = words.filter(|word| word.starts_with("tollgate_")).collect();
    assert!(metrics.len() >= 2, "{metrics:?}");
    for metric in metrics {
        assert!(
            families.contains(metric),
            "{metric} is not one of {families:?}"
        );
    }
}
