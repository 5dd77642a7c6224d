use std::path::Path;
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::*;
use crate::alert::{AlertId, Mode, Severity};
use crate::rules::{KnownNames, parse};

/// 2026-11-20T12:00:00Z.
const NOON: UnixMicros = UnixMicros(1_795_176_000_000_000);
const HOUR: Duration = Duration::from_secs(3_600);

fn rule(text: &str) -> Arc<Rule> {
    let text = format!("groups: [{{name: g, rules: [{{alert: A, {text}}}]}}]");
    let known = KnownNames::default();
    let loaded = parse(Path::new("r.yaml"), &text, &TimeZone::UTC, &known);
    let rules = loaded.unwrap_or_else(|told| panic!("{told}")).set.rules;
    Arc::clone(&rules[0])
}

fn event(state: AlertState, labels: &[(&str, &str)]) -> AlertEvent {
    let labels = labels.iter();
    AlertEvent {
        at: NOON,
        alert: AlertId {
            rule: "A".into(),
            labels: Labels::new(labels.map(|&(name, value)| (name.into(), value.into()))),
        },
        state,
        severity: Some(Severity::Critical),
        active_since: None,
        fired_at: None,
        cleared_since: None,
        critical_since: None,
        critical_cleared_since: None,
        value: None,
        limit: None,
        window_end: None,
        mode: Mode::Notify,
        told: true,
        actions: Vec::new(),
    }
}

fn uri(text: &str) -> Uri {
    text.parse().unwrap()
}

fn to_grafana() -> Links {
    Links::new(Some(&uri("https://grafana.example.com/sub/")), None)
}

fn to_the_api() -> Links {
    Links::new(None, Some(&uri("http://gate.example.com:8081")))
}

fn urls(links: &[Link]) -> Vec<(LinkKind, &str)> {
    links.iter().map(|link| (link.kind, &*link.url)).collect()
}

#[test]
fn an_alert_leads_to_what_is_wrong_in_its_window_and_no_further() {
    let spend = rule("metric: cost, window: day, by: [channel], critical: 5 USD");
    let fires = event(AlertState::Firing, &[("channel", "main")]);
    let links = to_grafana().alert(&fires, Some(&spend), Some(NOON.minus(10 * HOUR)));
    // A tenth of ten hours before.
    let range = "from=1795136400000&to=now";
    assert_eq!(
        urls(&links),
        [
            (
                LinkKind::Dashboard,
                &*format!(
                    "https://grafana.example.com/sub/d/tollgate-budgets?{range}&var-channel=main"
                )
            ),
            (
                LinkKind::Requests,
                &*format!(
                    "https://grafana.example.com/sub/d/tollgate-requests?{range}\
                     &var-order=dearest&var-channel=main"
                )
            ),
        ]
    );
    let mut over = event(AlertState::Inactive, &[]);
    over.fired_at = Some(NOON.minus(HOUR));
    let links = to_grafana().alert(&over, Some(&spend), None);
    // Six minutes around an hour.
    assert!(
        links[0]
            .url
            .ends_with("?from=1795172040000&to=1795176360000")
    );
}

#[test]
fn each_metric_has_its_dashboard_and_requests() {
    let fires = event(AlertState::Firing, &[]);
    for (text, dashboard, kind, listing) in [
        (
            "metric: cost, window: 1h, compare: 1d, critical: 3x",
            "tollgate-cost",
            LinkKind::Requests,
            "var-order=dearest",
        ),
        (
            "metric: tokens, window: 1h, critical: 1M tokens",
            "tollgate-budgets",
            LinkKind::Requests,
            "var-order=newest",
        ),
        (
            "metric: ttft, stat: p95, window: 5m, critical: 9s",
            "tollgate-latency",
            LinkKind::Slow,
            "var-order=slowest",
        ),
        (
            "metric: error_ratio, window: 5m, critical: 9%",
            "tollgate-channels",
            LinkKind::Failed,
            "var-outcome=failed",
        ),
    ] {
        let links = to_grafana().alert(&fires, Some(&rule(text)), None);
        assert!(links[0].url.contains(&format!("/d/{dashboard}?")), "{text}");
        assert_eq!(links[1].kind, kind);
        assert!(links[1].url.contains(listing), "{text}");
    }
    let quota = rule("metric: quota_used, critical: 90%");
    assert_eq!(to_grafana().alert(&fires, Some(&quota), None).len(), 1);
    assert_eq!(to_grafana().alert(&fires, None, None), []);
    assert_eq!(Links::default().alert(&fires, Some(&quota), None), []);
}

#[test]
fn without_grafana_requests_are_listed_by_the_api() {
    let slow = rule("metric: latency, stat: p95, window: 5m, by: [model, key], critical: 9s");
    let labels = [("model", "gpt-5"), ("key", "team a")];
    let fires = event(AlertState::Firing, &labels);
    let links = to_the_api().alert(&fires, Some(&slow), Some(NOON.minus(HOUR)));
    assert_eq!(
        urls(&links),
        [(
            LinkKind::Slow,
            "http://gate.example.com:8081/api/v1/requests?since=2026-11-20T10%3A54%3A00.000000Z\
             &order=slowest&key=team%20a"
        )]
    );
    let links = to_the_api().channel("main", NOON);
    assert!(links[0].url.ends_with("&failed=true&channel=main"));
    let links = to_the_api().digest(NOON.minus(HOUR), NOON);
    assert!(
        links[0]
            .url
            .ends_with("&until=2026-11-20T12%3A00%3A00.000000Z&order=dearest")
    );
    let tokens = rule("metric: tokens, window: 1h, critical: 1M tokens");
    let fires = event(AlertState::Firing, &[]);
    let links = to_the_api().alert(&fires, Some(&tokens), Some(NOON.minus(HOUR)));
    assert!(!links[0].url.contains("order="), "{}", links[0].url);
}

#[test]
fn what_a_rule_names_outright_is_a_variable_too() {
    let spend = rule(
        "metric: tokens, window: 1h, match: {channel: main, model: 'gpt-*'}, critical: 1M tokens",
    );
    let links = to_grafana().alert(&event(AlertState::Firing, &[]), Some(&spend), None);
    assert!(links[0].url.ends_with("&to=now&var-channel=main"));
    let by_key = rule("metric: tokens, window: 1h, by: [key], critical: 1M tokens");
    let nobody = event(AlertState::Firing, &[("key", "")]);
    let links = to_grafana().alert(&nobody, Some(&by_key), None);
    assert!(links[0].url.ends_with("&to=now"), "{}", links[0].url);
}

#[test]
fn no_name_breaks_out_of_an_address() {
    let errors = rule("metric: errors, window: 5m, by: [channel, model], critical: 9 errors");
    for hostile in [
        "a&var-key=b#c",
        "\"><script>alert(1)</script>",
        "javascript:alert(1)",
        "x y\r\nHost: evil",
        "模型 \u{202e}\u{0}",
        "%2e%2e/..",
        "](https://evil.example.com)",
    ] {
        let labels = [("channel", hostile), ("model", hostile)];
        let fires = event(AlertState::Firing, &labels);
        for made in [to_grafana(), to_the_api()] {
            for link in made.alert(&fires, Some(&errors), None) {
                let uri: Uri = link.url.parse().unwrap();
                assert!(!link.url.contains('#') && !link.url.contains("%%"));
                let query = uri.query().unwrap();
                let read: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
                let values = read.iter().filter(|(name, value)| {
                    (name == "var-channel" || name == "channel") && value == hostile
                });
                assert_eq!(values.count(), 1, "{}", link.url);
                assert!(!read.iter().any(|(name, _)| name == "var-key"));
            }
        }
    }
    let long = "x".repeat(3_000);
    let fires = event(AlertState::Firing, &[("channel", &long)]);
    assert_eq!(to_grafana().alert(&fires, Some(&errors), None), []);
}

#[test]
fn runbooks_are_of_the_web() {
    let found = |text: &str| {
        let text = text.to_owned();
        runbook(|name| (name == "runbook").then_some(text.as_str())).map(|link| link.url)
    };
    for (text, url) in [
        (
            " https://wiki.example.com/a?b=c#d ",
            Some("https://wiki.example.com/a?b=c#d"),
        ),
        (
            "HTTP://wiki/手册 1",
            Some("HTTP://wiki/%E6%89%8B%E5%86%8C%201"),
        ),
        ("https://wiki/a%20b", Some("https://wiki/a%20b")),
        (
            "https://wiki/\"><b>`{x}",
            Some("https://wiki/%22%3E%3Cb%3E%60%7Bx%7D"),
        ),
        ("javascript:alert(1)", None),
        ("data:text/html,x", None),
        ("ftp://wiki/a", None),
        ("//wiki/a", None),
        ("/runbooks/a", None),
        ("call Bob", None),
        ("https://", None),
        ("https://wiki.example.com@evil.example.com/", None),
        ("", None),
    ] {
        assert_eq!(found(text).as_deref(), url, "{text}");
    }
    let both = |name: &str| match name {
        "runbook_url" => Some("https://wiki/url"),
        "runbook" => Some("restart it"),
        _ => None,
    };
    let link = runbook(both).unwrap();
    assert_eq!(
        (link.kind, &*link.url),
        (LinkKind::Runbook, "https://wiki/url")
    );
}

#[test]
fn what_is_no_address_of_the_web_leads_nowhere() {
    for text in [
        "ftp://grafana/",
        "https://user:password@grafana/",
        "/grafana",
    ] {
        let links = Links::new(Some(&uri(text)), Some(&uri(text)));
        assert_eq!(links, Links::default(), "{text}");
    }
}
