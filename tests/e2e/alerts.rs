//! `alerts.yaml`: rules that Prometheus loads as they are, over metrics that there are, each of them
//! shown to fire and to keep quiet, and explained in `docs/runbook.md`.

use std::collections::BTreeSet;
use std::fs;

use serde_json::json;

use crate::support::client::Request;
use crate::support::http2::Certificate;
use crate::support::tollgate::{Setup, Tollgate, free_port};
use crate::support::upstream::{Answer, Upstream};
use crate::support::{clients, eventually};

const ALERTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/alerts.yaml");
const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/alerts");
const RUNBOOK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/runbook.md");
/// Where the repository is read.
const RUNBOOK_URL: &str = "https://github.com/tollgate-dev/tollgate/blob/main/docs/runbook.md#";

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
fn each_says_what_it_means_how_bad_it_is_and_where_to_read_on() {
    let anchors = anchors(&fs::read_to_string(RUNBOOK).unwrap());
    let rules = rules();
    let mut explained = BTreeSet::new();
    for (name, rule) in alerts(&rules) {
        assert!(name.starts_with("Tollgate"), "{name}");
        let severities = ["severity: warning\n", "severity: critical\n"];
        assert!(severities.iter().any(|one| rule.contains(one)), "{name}");
        for member in [
            "    expr: ",
            "    for: ",
            "      summary: ",
            "      description: ",
            "      runbook_url: ",
        ] {
            assert_eq!(
                rule.matches(&format!("\n{member}")).count(),
                1,
                "{name}: {member}"
            );
        }
        let (_, anchor) = rule.split_once(RUNBOOK_URL).expect(name);
        let anchor = anchor.lines().next().unwrap();
        assert_eq!(anchor, name.to_lowercase());
        assert!(anchors.contains(anchor), "docs/runbook.md has no {anchor}");
        assert!(explained.insert(anchor.to_owned()), "{name} is there twice");
    }
    assert!(explained.len() >= 30, "{explained:?}");
    // The other way round: nothing is explained that is gone.
    let gone: Vec<_> = anchors
        .iter()
        .filter(|anchor| anchor.starts_with("tollgate") && !anchor.contains('-'))
        .filter(|anchor| !explained.contains(*anchor))
        .collect();
    assert!(gone.is_empty(), "docs/runbook.md explains {gone:?}");
}

#[test]
fn promtool_is_shown_each_firing_and_keeping_quiet() {
    let cases: String = fs::read_dir(CASES)
        .unwrap()
        .map(|case| fs::read_to_string(case.unwrap().path()).unwrap())
        .collect();
    for (name, _) in alerts(&rules()) {
        let fires = format!("    alertname: {name}\n    exp_alerts:\n    - exp_labels: ");
        assert!(cases.contains(&fires), "nothing shows that {name} fires");
        let quiet = format!(", alertname: {name}, exp_alerts: []}}\n");
        assert!(
            cases.contains(&quiet),
            "nothing shows when {name} keeps quiet"
        );
    }
}

#[test]
fn recording_rules_are_named_as_prometheus_advises_and_none_is_missing() {
    let rules = rules();
    let recorded: BTreeSet<&str> = rules
        .iter()
        .filter_map(|rule| named(rule, "record"))
        .collect();
    assert!(recorded.len() >= 5, "{recorded:?}");
    for name in &recorded {
        let parts: Vec<&str> = name.split(':').collect();
        assert!(
            parts.len() == 3 && parts[1].starts_with("tollgate_"),
            "{name} is not level:metric:operations"
        );
    }
    for rule in &rules {
        for word in words(rule).filter(|word| word.contains(':')) {
            assert!(recorded.contains(word), "nothing records {word}");
        }
    }
}

#[test]
fn every_metric_in_them_is_one_that_tollgate_exposes() {
    let families = every_family();
    let rules = rules();
    let words = rules.iter().flat_map(|rule| words(rule));
    let metrics: BTreeSet<&str> = words
        .filter(|word| word.starts_with("tollgate_") || word.starts_with("process_"))
        .collect();
    assert!(metrics.len() >= 30, "{metrics:?}");
    for metric in metrics {
        let parts = ["_bucket", "_sum", "_count"];
        let histogram = parts.iter().find_map(|part| metric.strip_suffix(part));
        assert!(
            families.contains(metric) || histogram.is_some_and(|name| families.contains(name)),
            "{metric} is not one of {families:?}"
        );
    }
}

#[test]
fn a_scrape_tells_the_disk_and_the_size_of_the_ledger() {
    let upstream = Upstream::always(Answer::new("200 OK").body("{}"));
    let tollgate = Tollgate::before(&upstream.base_url());
    let metrics = tollgate.metrics();
    let free = metrics.sum("tollgate_data_dir_free_bytes", &[]);
    let size = metrics.sum("tollgate_data_dir_size_bytes", &[]);
    assert!(free > 0.0 && free <= size, "{free} of {size}");
    // Nothing but this process writes there, and not while nothing is asked of it.
    let files = ["tollgate.db", "tollgate.db-wal"];
    eventually("the scrape tells what the files have", || {
        let told = tollgate
            .metrics()
            .sum("tollgate_ledger_database_bytes", &[]);
        let have: u64 = files
            .iter()
            .filter_map(|name| fs::metadata(tollgate.data_dir().join(name)).ok())
            .map(|file| file.len())
            .sum();
        let have: f64 = have.to_string().parse().unwrap();
        (have > 0.0 && (told - have).abs() < 0.5).then_some(())
    });
    // Without TLS there is no certificate to tell of.
    let text = tollgate.admin("/metrics").text();
    assert!(!text.contains("tollgate_tls_"), "{text}");
}

#[test]
fn a_scrape_tells_until_when_the_certificate_is_good() {
    let tollgate = encrypted(&Certificate::make());
    let metrics = tollgate.metrics();
    // What rcgen puts into a certificate that asks for nothing: 1975-01-01 to 4096-01-01.
    let expected = [("start", 157_766_400.0), ("expiry", 67_090_118_400.0)];
    for (which, moment) in expected {
        let name = format!("tollgate_tls_certificate_{which}_timestamp_seconds");
        let told = metrics.sum(&name, &[]);
        assert!((told - moment).abs() < 0.5, "{name} {told}");
    }
    clients::promtool(&tollgate.admin("/metrics").body);
}

/// One that has TLS in front.
fn encrypted(certificate: &Certificate) -> Tollgate {
    let tls = format!(
        "tls: {{cert: '{}', key: '{}'}}",
        certificate.cert_file.display(),
        certificate.key_file.display()
    );
    Setup::upstream("http://127.0.0.1:9/v1")
        .setting(&tls)
        .start()
}

/// The families of Tollgates to which everything happened that has one.
fn every_family() -> BTreeSet<String> {
    let upstream = Upstream::start(|request| {
        let usage = r#"{"prompt_tokens":5,"completion_tokens":5,"total_tokens":10}"#;
        let told = if request.target.ends_with("/chat/completions") {
            format!(r#"{{"object":"chat.completion","model":"unheard-of-1","usage":{usage}}}"#)
        } else {
            r#"{"object":"list","data":[],"model":"unheard-of-1"}"#.to_owned()
        };
        Answer::new("200 OK")
            .header("content-type", "application/json")
            .header("x-ratelimit-limit-tokens", "1000")
            .header("x-ratelimit-remaining-tokens", "400")
            .header("x-ratelimit-reset-tokens", "1h")
            .header("x-codex-primary-used-percent", "25")
            .header("x-codex-primary-window-minutes", "300")
            .body(told)
    });
    let nobody = free_port();
    let tollgate = Setup::channels(&[("a", &upstream.base_url(), ", new_api: {id: 7}")])
        .setting(&format!(
            "sources: {{new_api: {{base_url: 'http://{nobody}', token: access-token-canary}}}}\n\
             receivers: [{{name: ops, webhook: {{url: 'http://{nobody}/hook'}}}}]\n\
             prices: {{files: [prices.yaml], update: {{url: 'http://{nobody}/prices.json', every: 1s}}}}\n\
             rules: [rules.yaml]"
        ))
        .file("prices.yaml", "prices: []\n")
        .file(
            "rules.yaml",
            "groups: [{name: all, rules: [{alert: Many, metric: requests, window: 1h, warning: 99 requests}]}]\n",
        )
        .start();
    let body = json!({"model": "unheard-of-1", "messages": []});
    tollgate.send(&Request::json("/v1/chat/completions", &body));
    // Its answer has no usage, which is missing then.
    tollgate.send(&Request::json(
        "/v1/embeddings",
        &json!({"model": "unheard-of-1", "input": "x"}),
    ));
    tollgate.edit_file("prices.yaml", |text| text + "# seen\n");
    let seen = |tollgate: &Tollgate| -> BTreeSet<String> {
        let exposition = tollgate.admin("/metrics").text();
        let types = exposition.lines();
        let types = types.filter_map(|line| line.strip_prefix("# TYPE "));
        let families = types.filter_map(|line| line.split(' ').next());
        families.map(str::to_owned).collect()
    };
    let late = [
        "tollgate_prices_refresh_success",
        "tollgate_prices_file_reload_success",
        // Of requests that are counted a moment after their answer.
        "tollgate_unpriced_requests_total",
        "tollgate_usage_missing_total",
    ];
    let mut families = eventually("all of it happened", || {
        let families = seen(&tollgate);
        late.iter()
            .all(|name| families.contains(*name))
            .then_some(families)
    });
    families.extend(seen(&encrypted(&Certificate::make())));
    families
}

/// The rules of the file, each from its first word on.
fn rules() -> Vec<String> {
    let text = fs::read_to_string(ALERTS).unwrap();
    let rules = text.split("\n  - ").skip(1);
    // A group's name behind its last rule is no part of it.
    let rules = rules.map(|rule| rule.split("\n- name: ").next().unwrap());
    rules
        .map(|rule| rule.trim_end().to_owned() + "\n")
        .collect()
}

/// The alerting ones, each with its name.
fn alerts(rules: &[String]) -> impl Iterator<Item = (&str, &str)> {
    let alerts = rules.iter();
    alerts.filter_map(|rule| Some((named(rule, "alert")?, rule.as_str())))
}

/// A rule's name, where it is of that kind.
fn named<'r>(rule: &'r str, kind: &str) -> Option<&'r str> {
    let rest = rule.strip_prefix(kind)?.strip_prefix(": ")?;
    rest.lines().next()
}

/// The words of a rule's expression: names of metrics, functions and labels.
fn words(rule: &str) -> impl Iterator<Item = &str> {
    let (_, expression) = rule.split_once("\n    expr: ").unwrap();
    let ends = ["\n    for: ", "\n    labels: "];
    let end = ends.iter().filter_map(|end| expression.find(end)).min();
    let expression = &expression[..end.unwrap_or(expression.len())];
    expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':')
}

/// What the headings of a page can be linked to by, as GitHub makes it of them.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|heading| {
            let words = heading.trim_start_matches('#').trim().to_lowercase();
            let kept = words
                .chars()
                .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}
