//! What a rule's alert would say: made of its definition, without anything having happened.

use std::sync::Arc;

use super::{AlertChange, AlertContent, Link, LinkKind, RuleContent, markup};
use crate::alert::{ActionTaken, AlertEvent, AlertId, AlertState, Labels, Mode, Severity};
use crate::clock::UnixMicros;
use crate::config::ModelPattern;
use crate::rules::{Action, Dimension, Occasion, Rule, Side, Span, Until, render, written};

/// An event as `rule` would make it at `now`, a little beyond its worst limit. `channel` is a channel
/// that there is.
#[must_use]
pub fn event_of(rule: &Rule, channel: &str, now: UnixMicros) -> AlertEvent {
    let limit = rule.critical.or(rule.warning);
    let severity = match rule.critical {
        Some(_) => Severity::Critical,
        None => Severity::Warning,
    };
    let beyond = |limit: i64| match rule.side {
        Side::Above => limit.saturating_add(limit / 20),
        Side::Below => limit.saturating_sub(limit / 20),
    };
    let labels = rule.by.iter().map(|dimension| {
        let value = label_value(rule, dimension, channel);
        (dimension.label(), value)
    });
    let labels = Labels::new(labels);
    let window_end = match &rule.span {
        Span::Calendar(calendar) => Some(calendar.period(now).end),
        Span::Rolling(_) => None,
    };
    let acts = severity == Severity::Critical;
    let actions = rule.actions.iter().filter(|action| acts || tells(action));
    let actions = actions.map(|action| taken(rule, action, &labels, window_end, now));
    AlertEvent {
        at: now,
        actions: actions.collect(),
        alert: AlertId {
            rule: Arc::clone(&rule.name),
            labels,
        },
        state: AlertState::Firing,
        severity: Some(severity),
        active_since: Some(now.minus(rule.hold)),
        fired_at: Some(now),
        cleared_since: None,
        critical_since: None,
        critical_cleared_since: None,
        value: limit.map(beyond).map(|value| rule.quantity(value)),
        limit: limit.map(|limit| rule.quantity(limit)),
        window_end,
        mode: rule.mode,
        told: true,
    }
}

/// What is told of an event of `rule`, with the rule's annotations filled in.
#[must_use]
pub fn alert_of(rule: &Rule, event: AlertEvent) -> AlertContent {
    let filled = render(rule, Occasion::from(&event));
    let annotations: std::collections::BTreeMap<Arc<str>, String> = filled
        .into_iter()
        .filter_map(|(name, text)| Some((name, text.ok()?)))
        .collect();
    let runbook = ["runbook", "runbook_url"]
        .into_iter()
        .find_map(|name| annotations.get(name))
        .filter(|url| markup::is_address(url));
    let links = runbook.map(|url| Link {
        kind: LinkKind::Runbook,
        url: url.clone(),
    });
    AlertContent {
        change: match event.state {
            AlertState::Inactive => AlertChange::Resolved,
            AlertState::Pending | AlertState::Firing => AlertChange::Fired,
        },
        fired_as: event
            .severity
            .filter(|_| event.state == AlertState::Inactive),
        rule: Some(RuleContent {
            group: Arc::clone(&rule.group),
            metric: rule.metric.as_str().into(),
            stat: rule.stat.as_str().into(),
            window: match &rule.span {
                Span::Rolling(length) => written(*length).into(),
                Span::Calendar(calendar) => calendar.unit.as_str().into(),
            },
            below: rule.side == Side::Below,
        }),
        annotations,
        window_start: None,
        forecast: None,
        exhausted_at: None,
        contributors: Vec::new(),
        links: links.into_iter().collect(),
        event,
    }
}

/// A value that the rule's `match` lets through.
fn label_value(rule: &Rule, dimension: &Dimension, channel: &str) -> Arc<str> {
    let exact = |pattern: Option<&ModelPattern>| {
        let pattern = pattern.filter(|pattern| pattern.is_exact());
        pattern.map(|pattern| Arc::from(pattern.as_str()))
    };
    let matcher = &rule.matcher;
    let known = match dimension {
        Dimension::Channel => exact(matcher.channel.as_ref()).or_else(|| Some(channel.into())),
        Dimension::Model => exact(matcher.model.as_ref()),
        Dimension::Key => exact(matcher.key.as_ref()),
        Dimension::Api => matcher.apis.first().map(|api| api.as_str().into()),
        Dimension::Tag(name) => exact(matcher.tags.get(name)),
        Dimension::QuotaWindow => None,
    };
    known.unwrap_or_else(|| "sample".into())
}

const fn tells(action: &Action) -> bool {
    matches!(action, Action::Notify(_))
}

/// An action as it would be told, in the words that the rules have for it.
fn taken(
    rule: &Rule,
    action: &Action,
    labels: &Labels,
    window_end: Option<UnixMicros>,
    now: UnixMicros,
) -> ActionTaken {
    let done = rule.mode == Mode::Enforce;
    let (name, until, detail) = match action {
        Action::Notify(receivers) => ("notify", None, receivers.join(", ")),
        Action::Block { status, .. } => (
            "block",
            window_end,
            format!("refuses requests with {status}"),
        ),
        Action::DisableChannel { channel, until, .. } => {
            let until = match until {
                Until::WindowEnd => window_end,
                Until::For(length) => Some(now.plus(*length)),
                Until::Resolved | Until::Manual => None,
            };
            let channel = channel.as_ref().or_else(|| labels.get("channel"));
            let channel = channel.map_or("sample", |name| name);
            (
                "disable_channel",
                until,
                format!("closed the channel `{channel}`"),
            )
        }
    };
    ActionTaken {
        action: name.into(),
        done,
        until,
        detail: detail.into(),
    }
}
