//! Sample alerts.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{DAY, HOUR, cents, link, quantity};
use crate::alert::{
    ActionTaken, AlertEvent, AlertId, AlertState, Labels, Mode, Quantity, Severity, Unit,
};
use crate::clock::UnixMicros;
use crate::notify::content::{
    AlertChange, AlertContent, AlertsContent, Contributor, LinkKind, RuleContent,
};

/// A group of one alert.
#[must_use]
pub fn one_alert(alert: AlertContent, now: UnixMicros) -> AlertsContent {
    let rule = Arc::clone(&alert.event.alert.rule);
    let fires = alert.event.state == AlertState::Firing;
    let at = |severity| usize::from(fires && alert.event.severity == Some(severity));
    AlertsContent {
        at: now,
        group: format!("sample/{rule}").into(),
        facts: vec![("rule".into(), rule)],
        critical: at(Severity::Critical),
        warning: at(Severity::Warning),
        resolved: usize::from(!fires),
        alerts: vec![alert],
        more: 0,
        repeated: false,
    }
}

/// An alert of a budget that passed its limit.
pub(super) fn spending(now: UnixMicros) -> AlertContent {
    let end = now.plus(10 * HOUR);
    AlertContent {
        event: AlertEvent {
            at: now,
            alert: AlertId {
                rule: "ChannelDailySpend".into(),
                labels: Labels::new([("channel".into(), "azure-1".into())]),
            },
            state: AlertState::Firing,
            severity: Some(Severity::Critical),
            active_since: Some(now),
            fired_at: Some(now),
            cleared_since: None,
            critical_since: Some(now),
            critical_cleared_since: None,
            value: Some(cents(10_320)),
            limit: Some(cents(10_000)),
            window_end: Some(end),
            mode: Mode::Enforce,
            told: true,
            actions: vec![ActionTaken {
                action: "disable_channel".into(),
                done: true,
                until: Some(end),
                detail: format!("closed the channel `azure-1` until {end}").into(),
            }],
        },
        change: AlertChange::Fired,
        fired_as: None,
        rule: Some(rule("cost", "sum", "day")),
        annotations: annotations(&[
            ("summary", "azure-1 spent 103.2 USD of 100 USD today"),
            ("runbook", "https://wiki.example.com/spend"),
        ]),
        window_start: Some(end.minus(DAY)),
        forecast: Some(cents(17_690)),
        exhausted_at: None,
        contributors: vec![
            contributor("model", "gpt-5", cents(8_110), 785_800),
            contributor("model", "gpt-5-mini", cents(1_460), 141_400),
            contributor("key", "team-search", cents(6_000), 581_300),
        ],
        links: vec![
            link(
                LinkKind::Dashboard,
                "https://grafana.example.com/d/tollgate-cost?var-channel=azure-1",
            ),
            link(
                LinkKind::Requests,
                "https://grafana.example.com/d/tollgate-requests?var-channel=azure-1",
            ),
            link(LinkKind::Runbook, "https://wiki.example.com/spend"),
        ],
    }
}

/// The same after its window ended.
pub(super) fn resolved(now: UnixMicros) -> AlertContent {
    let fired = now.minus(2 * HOUR + 5 * HOUR / 60);
    let mut alert = spending(now);
    alert.event.state = AlertState::Inactive;
    alert.event.active_since = None;
    alert.event.fired_at = Some(fired);
    alert.event.value = Some(cents(1_200));
    alert.change = AlertChange::Resolved;
    alert.fired_as = alert.event.severity;
    alert.annotations.clear();
    alert.forecast = None;
    alert.window_start = None;
    alert.contributors.clear();
    alert
}

/// Alerts of all sorts.
pub(super) fn group(now: UnixMicros) -> AlertsContent {
    let mut escalated = spending(now);
    escalated.change = AlertChange::Escalated;
    escalated.fired_as = Some(Severity::Warning);

    let mut passed = resolved(now);
    passed.change = AlertChange::CameAndWent;
    passed.fired_as = None;
    let alerts = vec![
        escalated,
        failing(now),
        shadowed(now),
        slow(now),
        crawling(now),
        silent(now),
        resolved(now),
        passed,
    ];
    AlertsContent {
        at: now,
        group: "sample/all".into(),
        facts: Vec::new(),
        alerts,
        critical: 3,
        warning: 3,
        resolved: 2,
        more: 12,
        repeated: false,
    }
}

/// A share beyond its limit, about which nothing could be done.
fn failing(now: UnixMicros) -> AlertContent {
    let mut failing = AlertContent {
        rule: Some(rule("error_ratio", "ratio", "1h 30m")),
        change: AlertChange::Acted,
        fired_as: Some(Severity::Critical),
        annotations: annotations(&[
            (
                "description",
                "More than one in twenty failed.\nLook at the codes.",
            ),
            ("team", "search"),
        ]),
        ..other(
            now,
            "Failing",
            &[("channel", "azure-2")],
            Severity::Critical,
            Some(quantity(Unit::Ratio, 125_000)),
            quantity(Unit::Ratio, 50_000),
        )
    };
    failing.event.actions = vec![ActionTaken {
        action: "disable_channel".into(),
        done: false,
        until: None,
        detail: "`azure-2` stays open: it is the last open channel of `gpt-5` (allow_last: true closes it all the same)".into(),
    }];
    failing
}

/// What would be done, were the rule to act.
fn shadowed(now: UnixMicros) -> AlertContent {
    let end = now.plus(10 * HOUR);
    let mut shadowed = AlertContent {
        rule: Some(rule("tokens", "sum", "month")),
        change: AlertChange::Fired,
        ..other(
            now,
            "KeyTokens",
            &[("key", "team-search"), ("tag:team", "")],
            Severity::Critical,
            Some(quantity(Unit::Tokens, 1_200_000)),
            quantity(Unit::Tokens, 1_000_000),
        )
    };
    shadowed.event.mode = Mode::Shadow;
    shadowed.event.window_end = Some(now.plus(10 * DAY));
    shadowed.event.actions = vec![
        ActionTaken {
            action: "block".into(),
            done: false,
            until: Some(end),
            detail: format!("would refuse requests with 429 until {end}").into(),
        },
        ActionTaken {
            action: "disable_channel".into(),
            done: false,
            until: None,
            detail: format!("would close the channel `b` until {end}").into(),
        },
        ActionTaken {
            action: "notify".into(),
            done: false,
            until: None,
            detail: "ops".into(),
        },
        ActionTaken {
            action: "something_new".into(),
            done: false,
            until: None,
            detail: "something that there are no words for".into(),
        },
    ];
    shadowed
}

/// What should not be below its limit, a little better than before.
fn crawling(now: UnixMicros) -> AlertContent {
    let mut crawling = AlertContent {
        change: AlertChange::Eased,
        fired_as: Some(Severity::Critical),
        ..other(
            now,
            "Crawling",
            &[("model", "gpt-5")],
            Severity::Warning,
            Some(quantity(Unit::TokensPerSecond, 20_470)),
            quantity(Unit::TokensPerSecond, 30_000),
        )
    };
    crawling.rule = Some(RuleContent {
        below: true,
        ..rule("tokens_per_second", "p50", "5m")
    });
    crawling
}

/// No value, and no rule any more.
fn silent(now: UnixMicros) -> AlertContent {
    AlertContent {
        change: AlertChange::Same,
        fired_as: Some(Severity::Warning),
        rule: None,
        ..other(
            now,
            "Silence",
            &[],
            Severity::Warning,
            None,
            quantity(Unit::Requests, 1),
        )
    }
}

/// A quantile beyond its limit.
fn slow(now: UnixMicros) -> AlertContent {
    AlertContent {
        rule: Some(rule("latency", "p95", "5m")),
        change: AlertChange::Fired,
        links: vec![link(
            LinkKind::Slow,
            "https://grafana.example.com/d/tollgate-requests?var-order=slowest",
        )],
        ..other(
            now,
            "SlowAnswers",
            &[("channel", "azure-1"), ("model", "gpt-5")],
            Severity::Warning,
            Some(quantity(Unit::Seconds, 4_500_000)),
            quantity(Unit::Seconds, 2_000_000),
        )
    }
}

/// What would be, were the rule to act; and nothing else.
pub(super) fn in_shadow(now: UnixMicros) -> AlertsContent {
    one_alert(shadowed(now), now)
}

/// What was over before anybody was told.
pub(super) fn passed(now: UnixMicros) -> AlertsContent {
    let mut alert = resolved(now);
    alert.change = AlertChange::CameAndWent;
    alert.fired_as = None;
    alert.event.fired_at = Some(now.minus(HOUR / 90));
    one_alert(alert, now)
}

/// A warning as it was before, told again.
pub(super) fn repeated(now: UnixMicros) -> AlertsContent {
    let mut alert = spending(now);
    alert.change = AlertChange::Same;
    alert.event.severity = Some(Severity::Warning);
    alert.fired_as = alert.event.severity;
    alert.event.value = Some(cents(9_200));
    alert.event.fired_at = Some(now.minus(4 * HOUR));
    alert.event.actions.clear();
    alert.annotations.clear();
    alert.exhausted_at = Some(now.plus(HOUR));
    AlertsContent {
        repeated: true,
        ..one_alert(alert, now)
    }
}

fn other(
    now: UnixMicros,
    name: &str,
    labels: &[(&str, &str)],
    severity: Severity,
    value: Option<Quantity>,
    limit: Quantity,
) -> AlertContent {
    let since = now.minus(HOUR / 4);
    AlertContent {
        event: AlertEvent {
            at: now,
            alert: AlertId {
                rule: name.into(),
                labels: Labels::new(
                    labels
                        .iter()
                        .map(|(name, value)| ((*name).into(), (*value).into())),
                ),
            },
            state: AlertState::Firing,
            severity: Some(severity),
            active_since: Some(since),
            fired_at: Some(since),
            cleared_since: None,
            critical_since: None,
            critical_cleared_since: None,
            value,
            limit: Some(limit),
            window_end: None,
            mode: Mode::Enforce,
            told: true,
            actions: Vec::new(),
        },
        change: AlertChange::Fired,
        fired_as: None,
        rule: None,
        annotations: BTreeMap::new(),
        window_start: None,
        forecast: None,
        exhausted_at: None,
        contributors: Vec::new(),
        links: Vec::new(),
    }
}

fn rule(metric: &str, stat: &str, window: &str) -> RuleContent {
    RuleContent {
        group: "samples".into(),
        metric: metric.into(),
        stat: stat.into(),
        window: window.into(),
        below: false,
    }
}

fn annotations(pairs: &[(&str, &str)]) -> BTreeMap<Arc<str>, String> {
    let pairs = pairs.iter();
    pairs
        .map(|(name, text)| ((*name).into(), (*text).to_owned()))
        .collect()
}

fn contributor(dimension: &str, name: &str, value: Quantity, share_ppm: u32) -> Contributor {
    Contributor {
        dimension: dimension.into(),
        name: name.into(),
        value,
        share_ppm,
    }
}
