//! Sample contents of every kind: templates are tried on them, and `tollgate notify test` sends them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{
    AlertChange, AlertContent, AlertsContent, ChannelContent, Content, Contributor, DigestBudget,
    DigestContent, DigestFigures, DigestRow, Link, LinkKind, RuleContent, UndeliveredContent,
};
use crate::alert::{
    ActionTaken, AlertEvent, AlertId, AlertState, Labels, Mode, NotificationKind, Quantity,
    Severity, Unit,
};
use crate::clock::UnixMicros;
use crate::record::{ChannelEvent, GateReason, GateState, Owner};

/// The moment that templates are tried at: 2026-11-20T13:03:00Z.
pub(super) const NOW: UnixMicros = UnixMicros(1_795_179_780_000_000);

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Contents of a kind as they would be at `now`, the usual one first, then those that take other ways
/// through a template.
#[must_use]
pub fn contents(kind: NotificationKind, now: UnixMicros) -> Vec<Content> {
    match kind {
        NotificationKind::Alert => vec![
            Content::Alerts(one_alert(spending(now), now)),
            Content::Alerts(one_alert(resolved(now), now)),
            Content::Alerts(group(now)),
            Content::Alerts(repeated(now)),
        ],
        NotificationKind::Channel => channels(now).into_iter().map(Content::Channel).collect(),
        NotificationKind::Digest => vec![
            Content::Digest(Box::new(digest(now))),
            Content::Digest(Box::new(empty_digest(now))),
        ],
        NotificationKind::Undelivered => vec![
            Content::Undelivered(undelivered(now)),
            Content::Undelivered(UndeliveredContent {
                titles: Vec::new(),
                more: 2,
                content: None,
                ..undelivered(now)
            }),
        ],
    }
}

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

fn quantity(unit: Unit, value: i64) -> Quantity {
    Quantity { unit, value }
}

fn dollars(cents: i64) -> Quantity {
    quantity(Unit::Usd, cents * 10_000_000)
}

/// An alert of a budget that passed its limit.
fn spending(now: UnixMicros) -> AlertContent {
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
            value: Some(dollars(103_20)),
            limit: Some(dollars(100_00)),
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
        rule: Some(rule("cost", "sum", "day")),
        annotations: annotations(&[
            ("summary", "azure-1 spent 103.2 USD of 100 USD today"),
            ("runbook", "https://wiki.example.com/spend"),
        ]),
        window_start: Some(end.minus(DAY)),
        forecast: Some(dollars(176_90)),
        exhausted_at: None,
        contributors: vec![
            contributor("model", "gpt-5", dollars(81_10), 785_800),
            contributor("model", "gpt-5-mini", dollars(14_60), 141_400),
            contributor("key", "team-search", dollars(60_00), 581_300),
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
fn resolved(now: UnixMicros) -> AlertContent {
    let fired = now.minus(2 * HOUR + 5 * HOUR / 60);
    let mut alert = spending(now);
    alert.event.state = AlertState::Inactive;
    alert.event.active_since = None;
    alert.event.fired_at = Some(fired);
    alert.event.value = Some(dollars(12_00));
    alert.change = AlertChange::Resolved;
    alert.annotations.clear();
    alert.forecast = None;
    alert.window_start = None;
    alert.contributors.clear();
    alert
}

/// Alerts of all sorts.
fn group(now: UnixMicros) -> AlertsContent {
    let end = now.plus(10 * HOUR);
    let mut escalated = spending(now);
    escalated.change = AlertChange::Escalated;
    escalated.exhausted_at = Some(now.plus(HOUR));

    let slow = AlertContent {
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
    };
    let mut failing = AlertContent {
        rule: Some(rule("error_ratio", "ratio", "1h 30m")),
        change: AlertChange::Acted,
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
    let mut crawling = AlertContent {
        change: AlertChange::Eased,
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
    let silent = AlertContent {
        change: AlertChange::Same,
        rule: None,
        ..other(
            now,
            "Silence",
            &[],
            Severity::Warning,
            None,
            quantity(Unit::Requests, 1),
        )
    };
    let mut passed = resolved(now);
    passed.change = AlertChange::CameAndWent;
    let alerts = vec![
        escalated,
        failing,
        shadowed,
        slow,
        crawling,
        silent,
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

fn repeated(now: UnixMicros) -> AlertsContent {
    let mut alert = spending(now);
    alert.change = AlertChange::Same;
    alert.event.fired_at = Some(now.minus(4 * HOUR));
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

fn link(kind: LinkKind, url: &str) -> Link {
    Link {
        kind,
        url: url.to_owned(),
    }
}

fn gate_event(
    at: UnixMicros,
    owner: Owner,
    hold: GateState,
    state: GateState,
    reason: GateReason,
) -> ChannelEvent {
    ChannelEvent {
        at,
        channel: "azure-1".into(),
        owner,
        hold,
        state,
        reason,
        until: None,
        who: None,
        note: None,
    }
}

/// A channel that closed, and others that went other ways.
fn channels(now: UnixMicros) -> Vec<ChannelContent> {
    use GateState::{Closed, Open, Probing};

    let broke = ChannelEvent {
        until: Some(now.plus(HOUR / 60)),
        note: Some("insufficient_quota".into()),
        ..gate_event(now, Owner::Breaker, Closed, Closed, GateReason::OutOfMoney)
    };
    let by_hand = ChannelEvent {
        until: Some(now.plus(2 * HOUR)),
        who: Some("alice".into()),
        note: Some("maintenance".into()),
        ..gate_event(now, Owner::Operator, Closed, Closed, GateReason::Operator)
    };
    let alert = Owner::Alert("ChannelDailySpend{channel=\"azure-1\"}".into());
    let by_alert = gate_event(now, alert.clone(), Closed, Closed, GateReason::Alert);
    let left = gate_event(now, alert, Open, Closed, GateReason::Expired);
    let probing = gate_event(now, Owner::Breaker, Probing, Probing, GateReason::Expired);
    let opened = gate_event(now, Owner::Breaker, Open, Open, GateReason::Recovered);
    let content = |events: Vec<ChannelEvent>, without: &[&str]| ChannelContent {
        channel: "azure-1".into(),
        events,
        more: 0,
        without_channel: without.iter().map(|model| Arc::from(*model)).collect(),
        links: vec![link(
            LinkKind::Dashboard,
            "https://grafana.example.com/d/tollgate-channels?var-channel=azure-1",
        )],
    };
    vec![
        content(vec![broke.clone()], &["gpt-5"]),
        content(vec![by_hand.clone()], &[]),
        content(vec![by_alert, by_hand, left], &["gpt-5", "gpt-5-mini"]),
        ChannelContent {
            more: 7,
            ..content(vec![broke, probing.clone()], &[])
        },
        content(vec![probing, opened], &[]),
        content(Vec::new(), &[]),
    ]
}

fn figures(percent: u64) -> DigestFigures {
    let of = |value: u64| value * percent / 100;
    DigestFigures {
        requests: of(18_240),
        errors: of(210),
        cost_nanousd: i64::try_from(of(123_450_000_000)).ok(),
        unpriced: of(12),
        input_tokens: of(48_000_000),
        cached_tokens: of(21_000_000),
        output_tokens: of(6_300_000),
        saved_nanousd: i64::try_from(of(18_700_000_000)).ok(),
        latency_p50_us: Some(of(1_900_000)),
        latency_p95_us: Some(of(9_400_000)),
        ttft_p95_us: Some(of(1_200_000)),
    }
}

/// Yesterday, whole days by UTC.
fn digest(now: UnixMicros) -> DigestContent {
    let day = i64::try_from(DAY.as_micros()).unwrap_or(i64::MAX);
    let until = UnixMicros(now.0 - now.0.rem_euclid(day));
    let since = until.minus(DAY);
    let row = |name: &str, requests: u64, tokens: u64, cents: Option<i64>, before: Option<i64>| {
        DigestRow {
            name: name.into(),
            requests,
            tokens,
            cost_nanousd: cents.map(|cents| cents * 10_000_000),
            before_nanousd: before.map(|cents| cents * 10_000_000),
        }
    };
    let hours = (0..24).map(|hour| {
        let cents = 200 + i64::from(hour) * 25;
        (
            since.plus(HOUR * hour),
            cents * 10_000_000,
            1_000_000 + u64::from(hour) * 90_000,
        )
    });
    DigestContent {
        name: "daily".into(),
        since,
        until,
        total: figures(100),
        before: Some(figures(81)),
        top: vec![
            (
                "model".into(),
                vec![
                    row("gpt-5", 9_120, 31_000_000, Some(91_20), Some(70_00)),
                    row("gpt-5-mini", 7_020, 19_000_000, Some(24_10), Some(25_00)),
                    row(
                        "a-model-with-a-very-long-name-2026-11-20",
                        2_000,
                        4_000_000,
                        Some(8_15),
                        Some(0),
                    ),
                    row("local", 100, 300_000, None, None),
                ],
            ),
            (
                "channel".into(),
                vec![row(
                    "azure-1",
                    18_240,
                    54_300_000,
                    Some(123_45),
                    Some(99_99),
                )],
            ),
            (
                "key".into(),
                vec![
                    row("team-search", 12_000, 40_000_000, Some(80_00), Some(79_00)),
                    row("", 6_240, 14_300_000, Some(43_45), None),
                ],
            ),
        ],
        errors: vec![("rate_limited".into(), 180), ("timeout".into(), 30)],
        budgets: vec![
            DigestBudget {
                alert: "ChannelDailySpend{channel=\"azure-1\"}".into(),
                used: dollars(92_00),
                limit: dollars(100_00),
                forecast: Some(dollars(131_00)),
                window_end: Some(now.plus(10 * HOUR)),
            },
            DigestBudget {
                alert: "KeyTokens{key=\"team-search\"}".into(),
                used: quantity(Unit::Tokens, 1_200_000),
                limit: quantity(Unit::Tokens, 50_000_000),
                forecast: None,
                window_end: None,
            },
        ],
        series: hours.collect(),
        links: vec![link(
            LinkKind::Dashboard,
            "https://grafana.example.com/d/tollgate-overview",
        )],
    }
}

/// A time in which nothing happened.
fn empty_digest(now: UnixMicros) -> DigestContent {
    DigestContent {
        name: "hourly".into(),
        since: now.minus(HOUR),
        until: now,
        total: DigestFigures::default(),
        before: None,
        top: Vec::new(),
        errors: Vec::new(),
        budgets: Vec::new(),
        series: Vec::new(),
        links: Vec::new(),
    }
}

fn undelivered(now: UnixMicros) -> UndeliveredContent {
    let last = one_alert(spending(now), now);
    UndeliveredContent {
        receiver: "ops".into(),
        titles: vec![
            (
                now.minus(5 * HOUR),
                "Channel azure-1 closed by alice: maintenance".into(),
            ),
            (
                now.minus(4 * HOUR),
                "ChannelDailySpend critical: azure-1 $103.20 of $100.00".into(),
            ),
        ],
        more: 0,
        error: "the bot was thrown out of the chat; add it again".into(),
        content: Some(Box::new(Content::Alerts(last))),
    }
}
