//! What receivers are told in these tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use tollgate::alert::{
    ActionTaken, AlertEvent, AlertId, AlertState, Labels, Mode, Quantity, Severity, Unit,
};
use tollgate::clock::UnixMicros;
use tollgate::config::Language;
use tollgate::notify::content::{
    AlertChange, AlertContent, AlertsContent, Link, LinkKind, RuleContent,
};
use tollgate::notify::{Block, Button, ButtonTarget, Content, Delivery, Message, Span, Tone};

pub(crate) const DASHBOARD: &str = "https://grafana.example/d/tollgate-cost?from=1&to=2";
pub(crate) const ANSWER: &str = "https://tollgate.example/answers/abc_def-123";

/// A message, with what it is made of.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) contents: Vec<Content>,
    pub(crate) message: Message,
}

impl Told {
    pub(crate) fn delivery(&self) -> Delivery<'_> {
        Delivery {
            contents: &self.contents,
            message: &self.message,
        }
    }
}

/// An alert of a model called `name`, which stands wherever a name can.
pub(crate) fn alert(name: &str, tone: Tone) -> Told {
    let text = |text: &str| Span::Text(text.to_owned());
    let line = |spans: Vec<Span>| Block::Line(spans);
    let body = vec![
        line(vec![text("Model: "), Span::Code(name.to_owned())]),
        line(vec![text(name)]),
        line(vec![
            text("Spent: "),
            Span::Bold("$101.50".to_owned()),
            text(" of "),
            Span::Bold("$100".to_owned()),
        ]),
        Block::Divider,
        Block::Heading(vec![text("Top: "), Span::Bold(name.to_owned())]),
        Block::Item(vec![Span::Bold(name.to_owned()), text(": 75%")]),
        Block::Item(vec![Span::Link {
            text: name.to_owned(),
            url: DASHBOARD.to_owned(),
        }]),
        line(vec![text("the last line")]),
    ];
    let button = |label: &str, url: &str| Button {
        label: label.to_owned(),
        target: ButtonTarget::Url(url.to_owned()),
    };
    Told {
        contents: vec![Content::Alerts(group(vec![one(
            name,
            AlertState::Firing,
            AlertChange::Fired,
        )]))],
        message: Message {
            tone,
            language: Language::En,
            title: format!("ModelSpend: {name}"),
            body,
            buttons: vec![vec![button("Silence 1h", ANSWER)]],
            thread: None,
            image: None,
        },
    }
}

pub(crate) fn group(alerts: Vec<AlertContent>) -> AlertsContent {
    AlertsContent {
        at: UnixMicros::now(),
        group: "{}:{rule=\"ModelSpend\"}".into(),
        facts: vec![("rule".into(), "ModelSpend".into())],
        critical: alerts.len(),
        warning: 0,
        resolved: 0,
        more: 0,
        repeated: false,
        alerts,
    }
}

pub(crate) fn one(model: &str, state: AlertState, change: AlertChange) -> AlertContent {
    let at = UnixMicros::now();
    let usd = |value: i64| {
        Some(Quantity {
            unit: Unit::Usd,
            value: value * 1_000_000_000,
        })
    };
    AlertContent {
        event: AlertEvent {
            at,
            alert: AlertId {
                rule: "ModelSpend".into(),
                labels: Labels::new([
                    (Arc::from("model"), Arc::from(model)),
                    (Arc::from("tag:team"), Arc::from("blue")),
                    (Arc::from("key"), Arc::from("")),
                ]),
            },
            state,
            severity: Some(Severity::Critical),
            active_since: Some(at),
            fired_at: Some(UnixMicros(at.0 - 60_000_000)),
            cleared_since: None,
            critical_since: Some(at),
            critical_cleared_since: None,
            value: usd(101),
            limit: usd(100),
            window_end: None,
            mode: Mode::Enforce,
            told: true,
            actions: vec![ActionTaken {
                action: "disable_channel".into(),
                done: true,
                until: None,
                detail: format!("closed the channel of {model}").into(),
            }],
        },
        change,
        fired_as: match change {
            AlertChange::Fired | AlertChange::CameAndWent => None,
            AlertChange::Escalated => Some(Severity::Warning),
            _ => Some(Severity::Critical),
        },
        rule: Some(RuleContent {
            group: "budgets".into(),
            metric: "cost".into(),
            stat: "sum".into(),
            window: "day".into(),
            below: false,
        }),
        annotations: BTreeMap::from([(Arc::from("runbook"), format!("see {model}"))]),
        window_start: Some(at),
        forecast: None,
        exhausted_at: None,
        contributors: Vec::new(),
        links: vec![Link {
            kind: LinkKind::Dashboard,
            url: DASHBOARD.to_owned(),
        }],
    }
}
