//! Alerts for the tests of this room.

use std::sync::Arc;

use jiff::tz::TimeZone;

use crate::alert::{ActionTaken, AlertEvent, AlertId, AlertState, Labels, Mode, Severity};
use crate::clock::UnixMicros;
use crate::config::{
    Language, ReceiverSettings, Secret, SlackSettings, TargetSettings, TemplateSettings,
};

/// An alert that fires at the warning limit since `at` (seconds).
pub(super) fn firing(rule: &str, labels: &[(&str, &str)], at: i64) -> AlertEvent {
    let labels = labels.iter();
    let at = UnixMicros(at * 1_000_000);
    AlertEvent {
        at,
        alert: AlertId {
            rule: rule.into(),
            labels: Labels::new(labels.map(|&(name, value)| (name.into(), value.into()))),
        },
        state: AlertState::Firing,
        severity: Some(Severity::Warning),
        active_since: Some(at),
        fired_at: Some(at),
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

/// The same, over since `at` (seconds).
pub(super) fn resolved(of: &AlertEvent, at: i64) -> AlertEvent {
    AlertEvent {
        at: UnixMicros(at * 1_000_000),
        state: AlertState::Inactive,
        active_since: None,
        ..of.clone()
    }
}

/// The same at another limit since `at` (seconds).
pub(super) fn at_limit(of: &AlertEvent, severity: Severity, at: i64) -> AlertEvent {
    AlertEvent {
        at: UnixMicros(at * 1_000_000),
        severity: Some(severity),
        ..of.clone()
    }
}

/// The same with a channel closed for it.
pub(super) fn closing(of: &AlertEvent) -> AlertEvent {
    AlertEvent {
        actions: vec![ActionTaken {
            action: "disable_channel".into(),
            done: true,
            until: None,
            detail: Arc::from("closed the channel `a`"),
        }],
        ..of.clone()
    }
}

/// A receiver that is told everything.
pub(super) fn receiver(name: &str) -> ReceiverSettings {
    ReceiverSettings {
        name: name.into(),
        target: TargetSettings::Slack(SlackSettings {
            url: Secret::new("http://127.0.0.1:9/"),
            mention: Vec::new(),
        }),
        language: Language::En,
        timezone: TimeZone::UTC,
        send_resolved: true,
        fallback: None,
        give_up_after: ReceiverSettings::USUALLY_TRIED_FOR,
        timeout: ReceiverSettings::USUAL_TIMEOUT,
        templates: TemplateSettings::default(),
    }
}
