//! Prometheus' own Alertmanager: it takes Tollgate's alerts, and its webhook says of them what
//! Tollgate's own says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use tollgate::alert::{
    ActionTaken, AlertEvent, AlertId, AlertState, Labels, Mode, Quantity, Severity, Unit,
};
use tollgate::clock::UnixMicros;
use tollgate::config::{
    AlertmanagerSettings, Language, ReceiverSettings, Secret, TargetSettings, TemplateSettings,
    WebhookSettings,
};
use tollgate::notify::content::{
    AlertChange, AlertContent, AlertsContent, Content, Link, LinkKind, RuleContent,
};
use tollgate::notify::{Block, Delivered, Delivery, Message, Receiver, Span, Tone, receiver};

use crate::support::PATIENCE;
use crate::support::receivers::real_alertmanager::RealAlertmanager;
use crate::support::upstream::{Answer, Received, Upstream};

const MINUTE: i64 = 60_000_000;

fn built(target: TargetSettings) -> Arc<dyn Receiver> {
    let settings = ReceiverSettings {
        name: "hook".into(),
        target,
        language: Language::En,
        timezone: TimeZone::UTC,
        send_resolved: true,
        fallback: None,
        give_up_after: ReceiverSettings::USUALLY_TRIED_FOR,
        timeout: PATIENCE,
        templates: TemplateSettings::default(),
    };
    receiver(&settings).unwrap()
}

fn alertmanager(urls: &[String], labels: &[(&str, &str)]) -> Arc<dyn Receiver> {
    built(TargetSettings::Alertmanager(AlertmanagerSettings {
        urls: urls.iter().map(|url| url.parse().unwrap()).collect(),
        bearer: None,
        labels: labels
            .iter()
            .map(|&(name, value)| (name.into(), value.into()))
            .collect(),
    }))
}

/// The present moment, as exactly as an Alertmanager tells of times.
fn present() -> UnixMicros {
    let now = UnixMicros::now().0;
    UnixMicros(now - now.rem_euclid(1000))
}

/// Two alerts of one rule that had fired for some minutes at `then`, as they are `now`.
fn content(then: UnixMicros, now: UnixMicros, state: AlertState) -> Content {
    let alert = |channel: &str, severity, minutes: i64| {
        let fired_at = UnixMicros(then.0 - minutes * MINUTE);
        let labels = Labels::new([
            ("channel".into(), channel.into()),
            ("tag:team".into(), "<b>\"a\\b\"\n*模型*".into()),
        ]);
        AlertContent {
            event: AlertEvent {
                at: now,
                alert: AlertId {
                    rule: "ChannelDailySpend".into(),
                    labels,
                },
                state,
                severity: Some(severity),
                active_since: Some(fired_at),
                fired_at: Some(fired_at),
                cleared_since: None,
                critical_since: None,
                critical_cleared_since: None,
                value: Some(Quantity {
                    unit: Unit::Usd,
                    value: 102_000_000_000,
                }),
                limit: None,
                window_end: None,
                mode: Mode::Enforce,
                told: true,
                actions: vec![ActionTaken {
                    action: "disable_channel".into(),
                    done: true,
                    until: None,
                    detail: format!("closed {channel}").into(),
                }],
            },
            change: match state {
                AlertState::Firing => AlertChange::Fired,
                _ => AlertChange::Resolved,
            },
            fired_as: (state != AlertState::Firing).then_some(severity),
            rule: Some(RuleContent {
                group: "budgets".into(),
                metric: "cost".into(),
                stat: "sum".into(),
                window: "day".into(),
                below: false,
            }),
            annotations: BTreeMap::from([("runbook".into(), "look & see".to_owned())]),
            window_start: None,
            forecast: None,
            exhausted_at: None,
            contributors: Vec::new(),
            links: vec![Link {
                kind: LinkKind::Dashboard,
                url: "https://grafana.example.com/d/tollgate-cost?var-channel=a&from=1".to_owned(),
            }],
        }
    };
    let fires = state == AlertState::Firing;
    Content::Alerts(AlertsContent {
        at: now,
        group: "{}:{rule=\"ChannelDailySpend\"}".into(),
        facts: vec![("rule".into(), "ChannelDailySpend".into())],
        alerts: vec![
            alert("azure-1", Severity::Critical, 7),
            alert("azure-2", Severity::Warning, 3),
        ],
        critical: usize::from(fires),
        warning: usize::from(fires),
        resolved: if fires { 0 } else { 2 },
        more: 0,
        repeated: false,
    })
}

async fn tell(receiver: &Arc<dyn Receiver>, content: &Content) {
    let message = Message {
        tone: Tone::Critical,
        language: Language::En,
        title: "Spend".to_owned(),
        body: vec![Block::Line(vec![Span::Text("102 USD".to_owned())])],
        buttons: Vec::new(),
        thread: None,
        image: None,
    };
    let delivery = Delivery {
        contents: std::slice::from_ref(content),
        message: &message,
    };
    let delivered = receiver.send(delivery).await;
    assert!(matches!(delivered, Delivered::Sent { .. }), "{delivered:?}");
}

fn moment(value: &Value) -> Timestamp {
    value.as_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alertmanager_lists_what_fires_until_it_is_over() {
    let real = [RealAlertmanager::silent(), RealAlertmanager::silent()];
    let urls = real.each_ref().map(RealAlertmanager::url);
    let receiver = alertmanager(&urls, &[("cluster", "eu"), ("channel", "not this")]);
    let now = present();
    tell(&receiver, &content(now, now, AlertState::Firing)).await;

    for alertmanager in &real {
        let mut alerts = alertmanager.alerts();
        alerts.sort_by_key(|alert| alert["labels"]["channel"].to_string());
        assert_eq!(alerts.len(), 2, "{alerts:?}");
        assert_eq!(
            alerts[0]["labels"],
            json!({
                "alertname": "ChannelDailySpend", "severity": "critical", "channel": "azure-1",
                "tag_team": "<b>\"a\\b\"\n*模型*", "cluster": "eu",
            })
        );
        assert_eq!(alerts[1]["labels"]["severity"], "warning");
        let annotations = &alerts[0]["annotations"];
        for (name, value) in [
            ("runbook", "look & see"),
            ("value", "102 USD"),
            ("actions", "closed azure-1"),
            ("mode", "enforce"),
        ] {
            assert_eq!(annotations[name], value, "{annotations}");
        }
        let began = UnixMicros(now.0 - 7 * MINUTE).timestamp();
        assert_eq!(moment(&alerts[0]["startsAt"]), began);
        assert!(moment(&alerts[0]["endsAt"]) > now.timestamp());
        assert_eq!(alerts[0]["status"]["state"], "active");
        assert_eq!(
            alerts[0]["generatorURL"],
            "https://grafana.example.com/d/tollgate-cost?var-channel=a&from=1"
        );
    }

    tell(&receiver, &content(now, present(), AlertState::Inactive)).await;
    for alertmanager in &real {
        assert_eq!(alertmanager.alerts(), [] as [Value; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_alertmanager_of_two_is_enough() {
    let real = RealAlertmanager::silent();
    let urls = ["http://127.0.0.1:1".to_owned(), real.url()];
    let receiver = alertmanager(&urls, &[]);
    tell(
        &receiver,
        &content(present(), present(), AlertState::Firing),
    )
    .await;
    assert_eq!(real.alerts().len(), 2);
}

/// What there is on every level, and of what type; whatever the values are.
fn shape(value: &Value) -> Value {
    match value {
        Value::Null => json!("null"),
        Value::Bool(_) => json!("bool"),
        Value::Number(_) => json!("number"),
        Value::String(_) => json!("string"),
        Value::Array(values) => Value::Array(values.iter().map(shape).collect()),
        Value::Object(members) => {
            let members = members.iter();
            Value::Object(
                members
                    .map(|(name, value)| (name.clone(), shape(value)))
                    .collect(),
            )
        }
    }
}

/// What Alertmanager tells alerts apart by.
fn fingerprints(body: &Value) -> BTreeSet<String> {
    let alerts = body["alerts"].as_array().into_iter().flatten();
    alerts
        .map(|alert| alert["fingerprint"].to_string())
        .collect()
}

/// A body with its alerts in the order of their fingerprints.
fn sorted(mut body: Value) -> Value {
    let alerts = body["alerts"].as_array_mut().unwrap();
    alerts.sort_by_key(|alert| alert["fingerprint"].to_string());
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn the_webhooks_of_both_say_the_same() {
    let taken = || Upstream::start(|_| Answer::new("200 OK").body(""));
    let (theirs, ours) = (taken(), taken());
    let real = RealAlertmanager::telling("hook", theirs.address());
    let to_alertmanager = alertmanager(&[real.url()], &[]);
    let webhook = built(TargetSettings::Webhook(WebhookSettings {
        url: Secret::new(format!("http://{}/", ours.address())),
        bearer: None,
        hmac_secret: None,
        max_alerts: 0,
    }));

    let begin = present();
    for (state, status) in [
        (AlertState::Firing, "firing"),
        (AlertState::Inactive, "resolved"),
    ] {
        let content = content(begin, present(), state);
        tell(&to_alertmanager, &content).await;
        tell(&webhook, &content).await;
        let ours = ours.received().last().unwrap().json();
        let told = fingerprints(&ours);
        assert_eq!(told.len(), 2);
        let is_told = |body: &Value| body["status"] == status && told == fingerprints(body);
        let complete = |received: &[Received]| -> Option<Value> {
            let received = received.iter().filter(|request| request.complete);
            received.map(Received::json).find(is_told)
        };
        theirs.until(status, |received| complete(received).is_some());
        let theirs = sorted(complete(&theirs.received()).unwrap());
        let ours = sorted(ours);

        assert_eq!(shape(&ours), shape(&theirs), "{ours:#}\n{theirs:#}");
        for name in [
            "version",
            "status",
            "receiver",
            "groupLabels",
            "commonLabels",
            "commonAnnotations",
            "truncatedAlerts",
        ] {
            assert_eq!(ours[name], theirs[name], "{name}");
        }
        let pairs = |body: &Value| body["alerts"].as_array().unwrap().clone();
        for (ours, theirs) in pairs(&ours).iter().zip(&pairs(&theirs)) {
            for name in [
                "fingerprint",
                "status",
                "labels",
                "annotations",
                "generatorURL",
            ] {
                assert_eq!(ours[name], theirs[name], "{name}");
            }
            for name in ["startsAt", "endsAt"] {
                assert_eq!(moment(&ours[name]), moment(&theirs[name]), "{name}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_behind_an_alertmanager_hears_of_what_never_fired() {
    let taken = Upstream::start(|_| Answer::new("200 OK").body(""));
    let real = RealAlertmanager::telling("hook", taken.address());
    let receiver = alertmanager(&[real.url()], &[]);
    let begin = present();
    // The second channel is a warning all along; the first becomes one, and is critical again.
    let told = [
        (AlertState::Firing, Severity::Critical, None),
        (
            AlertState::Firing,
            Severity::Warning,
            Some(Severity::Critical),
        ),
        (
            AlertState::Firing,
            Severity::Critical,
            Some(Severity::Warning),
        ),
        (
            AlertState::Inactive,
            Severity::Critical,
            Some(Severity::Critical),
        ),
    ];
    for (state, severity, fired_as) in told {
        let mut content = content(begin, present(), state);
        let Content::Alerts(group) = &mut content else {
            unreachable!()
        };
        group.alerts[0].event.severity = Some(severity);
        group.alerts[0].fired_as = fired_as;
        tell(&receiver, &content).await;
        let expected: BTreeSet<_> = match state {
            AlertState::Firing => [("azure-1", severity), ("azure-2", Severity::Warning)].into(),
            _ => BTreeSet::new(),
        };
        let listed = real.alerts();
        let named = |alert: &Value| {
            let labels = &alert["labels"];
            (
                labels["channel"].to_string(),
                labels["severity"].to_string(),
            )
        };
        let listed: BTreeSet<_> = listed.iter().map(named).collect();
        let wanted = expected.into_iter();
        let wanted = wanted.map(|(channel, severity)| (json!(channel), json!(severity.as_str())));
        let wanted = wanted.map(|(channel, severity)| (channel.to_string(), severity.to_string()));
        assert_eq!(listed, wanted.collect());
    }
    let bodies = |received: &[Received]| -> Vec<Value> {
        let whole = received.iter().filter(|request| request.complete);
        whole.map(Received::json).collect()
    };
    taken.until("all is over", |received| {
        let bodies = bodies(received);
        bodies.iter().any(|body| body["status"] == "resolved")
    });
    for body in bodies(&taken.received()) {
        for alert in body["alerts"].as_array().unwrap() {
            let labels = &alert["labels"];
            assert!(
                labels["channel"] == "azure-1" || labels["severity"] == "warning",
                "{alert}"
            );
        }
    }
}
