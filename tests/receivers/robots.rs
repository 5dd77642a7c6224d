//! What is one receiver's own: signatures and clocks, keywords, second tries, Alertmanager's bodies.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use tollgate::alert::{AlertState, Severity};
use tollgate::clock::UnixMicros;
use tollgate::config::{
    AlertmanagerSettings, ReceiverSettings, Secret, TargetSettings, WebhookSettings, WecomSettings,
    WecomStyle,
};
use tollgate::notify::content::{
    AlertChange, AlertContent, ChannelContent, DigestContent, DigestFigures, UndeliveredContent,
};
use tollgate::notify::{
    Content, Delivered, FailureReason, Receiver, Tone, receiver, receiver_on_trial,
};
use tollgate::record::{ChannelEvent, GateReason, GateState, Owner};

use crate::bench::{dingtalk_target, feishu_target, settings};
use crate::judges::{self, Fault, Judge};
use crate::told::{Told, alert, group, one};

const SECOND: Duration = Duration::from_secs(1);

fn made(target: TargetSettings) -> Arc<dyn Receiver> {
    receiver(&settings("ops", target, 10 * SECOND)).unwrap()
}

fn sent() -> Delivered {
    Delivered::Sent { reference: None }
}

fn given_up(delivered: Delivered) -> (FailureReason, String) {
    match delivered {
        Delivered::GiveUp { reason, detail } => (reason, detail),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_wrong_secret_is_told_from_a_wrong_clock() {
    use judges::{dingtalk, feishu};
    let told = alert("gpt-5", Tone::Warning);

    let judge = feishu::start().await;
    let wrong = made(feishu_target(
        judge.address,
        "another",
        Some(feishu::KEYWORD),
    ));
    let (reason, words) = given_up(wrong.send(told.delivery()).await);
    assert_eq!(reason, FailureReason::Signature);
    assert!(words.contains("`secret` is not the robot's"), "{words}");
    judge.skew(2 * 3600 * SECOND);
    let right = made(feishu_target(
        judge.address,
        feishu::SECRET,
        Some(feishu::KEYWORD),
    ));
    let (reason, words) = given_up(right.send(told.delivery()).await);
    assert_eq!(reason, FailureReason::Signature);
    assert!(
        words.contains("clock skew") && words.contains(" s apart; set the clock"),
        "{words}"
    );

    let judge = dingtalk::start().await;
    let wrong = made(dingtalk_target(
        judge.address,
        "another",
        Some(dingtalk::KEYWORD),
    ));
    let (reason, words) = given_up(wrong.send(told.delivery()).await);
    assert_eq!(reason, FailureReason::Signature);
    assert!(words.contains("`secret` is not the robot's"), "{words}");
    judge.skew(2 * 3600 * SECOND);
    let right = made(dingtalk_target(
        judge.address,
        dingtalk::SECRET,
        Some(dingtalk::KEYWORD),
    ));
    let (reason, words) = given_up(right.send(told.delivery()).await);
    assert_eq!(reason, FailureReason::Signature);
    assert!(
        words.contains("clock skew") && words.contains("DingTalk's at"),
        "{words}"
    );
}

#[tokio::test]
async fn without_the_keyword_a_robot_says_what_it_wants() {
    use judges::{dingtalk, feishu};
    let told = alert("gpt-5", Tone::Warning);
    let judge = feishu::start().await;
    let without = made(feishu_target(judge.address, feishu::SECRET, None));
    let (reason, words) = given_up(without.send(told.delivery()).await);
    assert_eq!(reason, FailureReason::Policy);
    assert!(words.contains("`keyword`"), "{words}");
    let judge = dingtalk::start().await;
    let without = made(dingtalk_target(judge.address, dingtalk::SECRET, None));
    let (reason, words) = given_up(without.send(told.delivery()).await);
    assert_eq!(reason, FailureReason::Policy);
    assert!(words.contains("`keyword`"), "{words}");
}

#[tokio::test]
async fn an_address_that_is_not_the_robots_is_a_bad_credential() {
    let judge = judges::feishu::start().await;
    let mut target = feishu_target(judge.address, judges::feishu::SECRET, None);
    if let TargetSettings::Feishu(feishu) = &mut target {
        feishu.url = Secret::new(format!("http://{}/open-apis/bot/v2/hook/no", judge.address));
    }
    let told = alert("gpt-5", Tone::Warning);
    let (reason, _) = given_up(made(target).send(told.delivery()).await);
    assert_eq!(reason, FailureReason::Credential);
}

#[tokio::test]
async fn what_wecom_finds_too_long_is_halved_once() {
    use judges::wecom::{KEY, error, start};
    let too_long = || Fault::Answer(error(40058, "markdown.content exceed max length 4096"));
    for style in [WecomStyle::Markdown, WecomStyle::Card] {
        let judge = start().await;
        let wecom = made(TargetSettings::Wecom(WecomSettings {
            url: Secret::new(format!(
                "http://{}/cgi-bin/webhook/send?key={KEY}",
                judge.address
            )),
            style,
            mention: Vec::new(),
        }));
        let told = alert(&"x".repeat(10_000), Tone::Warning);
        judge.fail([too_long()]);
        assert_eq!(wecom.send(told.delivery()).await, sent());
        let last: Value = serde_json::from_slice(&judge.requests()[1].body).unwrap();
        assert!(last["markdown"]["content"].as_str().unwrap().len() <= 2048);

        judge.fail([too_long(), too_long()]);
        let (reason, _) = given_up(wecom.send(told.delivery()).await);
        assert_eq!(reason, FailureReason::TooLong);
        assert_eq!(judge.requests().len(), 4);
    }
}

#[tokio::test]
async fn a_card_without_a_link_is_markdown() {
    use judges::wecom::{KEY, start};
    let judge = start().await;
    let wecom = made(TargetSettings::Wecom(WecomSettings {
        url: Secret::new(format!(
            "http://{}/cgi-bin/webhook/send?key={KEY}",
            judge.address
        )),
        style: WecomStyle::Card,
        mention: Vec::new(),
    }));
    let mut told = alert("gpt-5", Tone::Warning);
    assert_eq!(wecom.send(told.delivery()).await, sent());
    told.contents.clear();
    told.message.body.truncate(3);
    assert_eq!(wecom.send(told.delivery()).await, sent());
    let kinds = judge.requests().into_iter().map(|request| {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        body["msgtype"].as_str().unwrap().to_owned()
    });
    assert_eq!(kinds.collect::<Vec<_>>(), ["template_card", "markdown"]);
}

async fn webhook_settings(max_alerts: usize) -> (Judge, ReceiverSettings) {
    use judges::webhook::{BEARER, HMAC_SECRET, PATH, start};
    let judge = start().await;
    let target = TargetSettings::Webhook(WebhookSettings {
        url: Secret::new(format!("http://{}{PATH}", judge.address)),
        bearer: Some(Secret::new(BEARER)),
        hmac_secret: Some(Secret::new(HMAC_SECRET)),
        max_alerts,
    });
    (judge, settings("ops", target, 10 * SECOND))
}

async fn webhook(max_alerts: usize) -> (Judge, Arc<dyn Receiver>) {
    let (judge, settings) = webhook_settings(max_alerts).await;
    (judge, receiver(&settings).unwrap())
}

fn with(content: Content) -> Told {
    Told {
        contents: vec![content],
        ..alert("gpt-5", Tone::Warning)
    }
}

async fn body_of(content: Content, max_alerts: usize) -> judges::webhook::Body {
    let (judge, receiver) = webhook(max_alerts).await;
    assert_eq!(receiver.send(with(content).delivery()).await, sent());
    serde_json::from_slice(&judge.requests()[0].body).unwrap()
}

#[tokio::test]
async fn a_webhook_gets_alertmanagers_body_field_by_field() {
    let (judge, receiver) = webhook(0).await;
    let told = alert("gpt-5", Tone::Critical);
    assert_eq!(receiver.send(told.delivery()).await, sent());
    let text = String::from_utf8(judge.requests()[0].body.clone()).unwrap();
    // In Alertmanager's order.
    let fields = [
        "receiver",
        "status",
        "alerts",
        "labels",
        "annotations",
        "startsAt",
        "endsAt",
        "generatorURL",
        "fingerprint",
        "groupLabels",
        "commonLabels",
        "commonAnnotations",
        "externalURL",
        "version",
        "groupKey",
        "truncatedAlerts",
    ];
    let mut from = 0;
    for field in fields {
        let at = text[from..].find(&format!("\"{field}\":"));
        from += at.unwrap_or_else(|| panic!("{field} is missing or out of order: {text}"));
    }
    let body: judges::webhook::Body = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (body.receiver.as_str(), body.status.as_str()),
        ("ops", "firing")
    );
    assert_eq!(body.external_url, "https://grafana.example");
    let labels = [
        ("alertname", "ModelSpend"),
        ("model", "gpt-5"),
        ("severity", "critical"),
        ("tag_team", "blue"),
    ];
    let labels: BTreeMap<String, String> = labels
        .map(|(name, value)| (name.into(), value.into()))
        .into();
    assert_eq!(body.alerts[0].labels, labels);
    assert_eq!(body.common_labels, labels);
    assert_eq!(
        body.group_labels,
        BTreeMap::from([("alertname".into(), "ModelSpend".into())])
    );
    let annotations = &body.alerts[0].annotations;
    assert_eq!(
        (annotations["value"].as_str(), annotations["limit"].as_str()),
        ("101 USD", "100 USD")
    );
    assert_eq!(annotations["summary"], "ModelSpend: gpt-5");
    assert!(annotations["description"].contains("Spent: $101.50 of $100"));
}

#[tokio::test]
async fn an_alert_at_another_severity_ends_the_former() {
    let escalated = one("gpt-5", AlertState::Firing, AlertChange::Escalated);
    let body = body_of(Content::Alerts(group(vec![escalated])), 0).await;
    let told: Vec<_> = body
        .alerts
        .iter()
        .map(|alert| (alert.status.as_str(), alert.labels["severity"].as_str()))
        .collect();
    assert_eq!(told, [("firing", "critical"), ("resolved", "warning")]);
    assert_ne!(body.alerts[0].fingerprint, body.alerts[1].fingerprint);
}

#[tokio::test]
async fn alerts_beyond_the_bound_are_counted() {
    let alerts = (0..5).map(|number| {
        one(
            &format!("m{number}"),
            AlertState::Firing,
            AlertChange::Fired,
        )
    });
    let mut content = group(alerts.collect());
    content.more = 7;
    let body = body_of(Content::Alerts(content), 2).await;
    assert_eq!((body.alerts.len(), body.truncated_alerts), (2, 10));
}

#[tokio::test]
async fn a_group_of_which_something_fires_is_not_resolved() {
    let over = one("gpt-5", AlertState::Inactive, AlertChange::Resolved);
    let mut content = group(vec![over]);
    (content.critical, content.warning, content.resolved) = (0, 3, 1);
    let body = body_of(Content::Alerts(content.clone()), 0).await;
    assert_eq!(
        (&*body.status, &*body.alerts[0].status),
        ("firing", "resolved")
    );
    content.warning = 0;
    assert_eq!(
        body_of(Content::Alerts(content), 0).await.status,
        "resolved"
    );
}

#[tokio::test]
async fn a_test_is_another_alert_that_says_so_and_ends() {
    use judges::alertmanager::{BEARER, start};
    let mut told = alert("gpt-5", Tone::Critical);
    told.message.title = "Test: ModelSpend: gpt-5".to_owned();
    let mut tried = one("gpt-5", AlertState::Firing, AlertChange::Fired);
    tried
        .annotations
        .insert("summary".into(), "the rule's own".to_owned());
    told.contents = vec![Content::Alerts(group(vec![tried]))];

    let judge = start().await;
    let target = TargetSettings::Alertmanager(AlertmanagerSettings {
        urls: vec![format!("http://{}/am", judge.address).parse().unwrap()],
        bearer: Some(Secret::new(BEARER)),
        labels: BTreeMap::new(),
    });
    let settings = settings("ops", target, 10 * SECOND);
    let on_trial = receiver_on_trial(&settings).unwrap();
    assert_eq!(on_trial.send(told.delivery()).await, sent());
    let posted: Value = serde_json::from_slice(&judge.requests()[0].body).unwrap();
    assert_eq!(posted[0]["labels"]["test"], "true");
    assert_eq!(posted[0]["annotations"]["summary"], told.message.title);
    let ends: jiff::Timestamp = posted[0]["endsAt"].as_str().unwrap().parse().unwrap();
    let fires_for = ends.duration_since(jiff::Timestamp::now());
    assert!(fires_for.is_positive() && fires_for <= jiff::SignedDuration::from_mins(5));

    let real = body_of(told.contents[0].clone(), 0).await;
    let (judge, settings) = webhook_settings(0).await;
    let on_trial = receiver_on_trial(&settings).unwrap();
    assert_eq!(on_trial.send(told.delivery()).await, sent());
    let body: judges::webhook::Body = serde_json::from_slice(&judge.requests()[0].body).unwrap();
    assert_eq!(body.alerts[0].labels["test"], "true");
    assert_eq!(body.group_labels["test"], "true");
    assert_eq!(body.alerts[0].annotations["summary"], told.message.title);
    assert_ne!(body.group_key, real.group_key);
    assert_ne!(body.alerts[0].fingerprint, real.alerts[0].fingerprint);
}

fn channel(states: &[GateState]) -> Content {
    let events = states
        .iter()
        .enumerate()
        .map(|(minute, state)| ChannelEvent {
            at: UnixMicros(1_800_000_000_000_000 + 60_000_000 * i64::try_from(minute).unwrap()),
            channel: "azure".into(),
            owner: Owner::Breaker,
            hold: *state,
            state: *state,
            reason: GateReason::Failures,
            until: None,
            who: None,
            note: Some("5 of 5 failed".into()),
        });
    Content::Channel(ChannelContent {
        channel: "azure".into(),
        events: events.collect(),
        more: 0,
        closed_since: None,
        without_channel: vec!["gpt-5".into()],
        links: Vec::new(),
    })
}

#[tokio::test]
async fn a_closed_channel_is_an_alert_until_it_is_open() {
    use GateState::{Closed, Open, Probing};
    let closed = body_of(channel(&[Closed, Probing]), 0).await;
    assert_eq!(closed.status, "firing");
    let labels = &closed.alerts[0].labels;
    assert_eq!(
        (labels["alertname"].as_str(), labels["channel"].as_str()),
        ("TollgateChannelClosed", "azure")
    );
    assert_eq!(
        closed.alerts[0].annotations["models_without_channel"],
        "gpt-5"
    );
    let open = body_of(channel(&[Closed, Probing, Open]), 0).await;
    assert_eq!(open.status, "resolved");
    assert_eq!(open.alerts[0].fingerprint, closed.alerts[0].fingerprint);
    assert_eq!(open.alerts[0].starts_at, closed.alerts[0].starts_at);
    // The closing was told before.
    let Content::Channel(mut opened) = channel(&[Open]) else {
        unreachable!()
    };
    opened.closed_since = Some(UnixMicros(1_799_999_000_000_000));
    let opened = body_of(Content::Channel(opened), 0).await;
    assert_eq!(
        opened.alerts[0].starts_at.as_microsecond(),
        1_799_999_000_000_000
    );
    let again = body_of(channel(&[Closed, Open, Closed]), 0).await;
    assert_eq!(
        again.alerts[0].starts_at.as_microsecond(),
        1_800_000_120_000_000
    );
}

#[tokio::test]
async fn digests_are_over_and_failures_carry_what_was_not_told() {
    let digest = Content::Digest(Box::new(DigestContent {
        name: "daily".into(),
        since: UnixMicros(1_800_000_000_000_000),
        until: UnixMicros(1_800_086_400_000_000),
        total: DigestFigures::default(),
        before: None,
        top: Vec::new(),
        errors: Vec::new(),
        budgets: Vec::new(),
        series: Vec::new(),
        links: Vec::new(),
    }));
    let body = body_of(digest, 0).await;
    assert_eq!(
        (
            body.status.as_str(),
            body.alerts[0].labels["severity"].as_str()
        ),
        ("resolved", "info")
    );

    let inner = Content::Alerts(group(vec![one(
        "gpt-5",
        AlertState::Firing,
        AlertChange::Fired,
    )]));
    let undelivered = Content::Undelivered(UndeliveredContent {
        receiver: "chat".into(),
        titles: vec![(UnixMicros(1), "one".into())],
        more: 0,
        error: "it is gone".into(),
        content: Some(Box::new(inner)),
    });
    let body = body_of(undelivered, 0).await;
    let names = body
        .alerts
        .iter()
        .map(|alert| alert.labels["alertname"].as_str());
    assert_eq!(
        names.collect::<Vec<_>>(),
        ["TollgateUndelivered", "ModelSpend"]
    );
    assert_eq!(body.alerts[0].annotations["error"], "it is gone");
    // The message is about the receiver, not about the alert.
    let inner = &body.alerts[1].annotations;
    assert!(inner["summary"].starts_with("ModelSpend{"), "{inner:?}");
    assert!(!inner.contains_key("description"), "{inner:?}");
}

#[tokio::test]
async fn one_alertmanager_that_takes_the_alerts_is_enough() {
    use judges::alertmanager::{BEARER, start};
    let (one, other) = (start().await, start().await);
    let url = |judge: &Judge| format!("http://{}/am", judge.address).parse().unwrap();
    let alertmanager = made(TargetSettings::Alertmanager(AlertmanagerSettings {
        urls: vec![url(&one), url(&other)],
        bearer: Some(Secret::new(BEARER)),
        labels: BTreeMap::from([("cluster".into(), "a".into())]),
    }));
    let told = alert("gpt-5", Tone::Warning);
    one.fail([Fault::Reset]);
    assert_eq!(alertmanager.send(told.delivery()).await, sent());
    assert_eq!((one.requests().len(), other.requests().len()), (1, 1));
    one.fail([Fault::Reset]);
    other.fail([Fault::Echo(400)]);
    assert!(matches!(
        alertmanager.send(told.delivery()).await,
        Delivered::Again { .. }
    ));

    let sent: Value = serde_json::from_slice(&other.requests()[0].body).unwrap();
    assert_eq!(sent[0]["labels"]["cluster"], "a");
    let moment = |name: &str| {
        sent[0][name]
            .as_str()
            .unwrap()
            .parse::<jiff::Timestamp>()
            .unwrap()
    };
    let fires_for = moment("endsAt").duration_since(jiff::Timestamp::now());
    assert!(fires_for > jiff::SignedDuration::from_hours(71), "{sent}");
}

/// Severities and ends of what an Alertmanager is posted of an alert, and its status to a webhook.
async fn told_to_machines(alert: AlertContent) -> Vec<(String, bool, String)> {
    use judges::alertmanager::{BEARER, start};
    let judge = start().await;
    let alertmanager = made(TargetSettings::Alertmanager(AlertmanagerSettings {
        urls: vec![format!("http://{}/am", judge.address).parse().unwrap()],
        bearer: Some(Secret::new(BEARER)),
        labels: BTreeMap::new(),
    }));
    let at = alert.event.at.to_string();
    let told = with(Content::Alerts(group(vec![alert])));
    assert_eq!(alertmanager.send(told.delivery()).await, sent());
    let posted: Value = serde_json::from_slice(&judge.requests()[0].body).unwrap();
    let posted = posted.as_array().unwrap();
    let (judge, webhook) = webhook(0).await;
    assert_eq!(webhook.send(told.delivery()).await, sent());
    let body: judges::webhook::Body = serde_json::from_slice(&judge.requests()[0].body).unwrap();
    assert_eq!(body.alerts.len(), posted.len());
    let both = body.alerts.iter().zip(posted);
    both.map(|(body, posted)| {
        assert_eq!(
            posted["labels"]["severity"],
            body.labels["severity"].as_str()
        );
        let over = posted["endsAt"] == at.as_str();
        (body.labels["severity"].clone(), over, body.status.clone())
    })
    .collect()
}

#[tokio::test]
async fn machines_hear_the_end_of_what_they_were_told_and_of_nothing_else() {
    use AlertChange::{CameAndWent, Eased, Escalated, Fired, Resolved, Same};
    use Severity::{Critical, Warning};
    let fires = |severity: Severity| (severity.to_string(), false, "firing".to_owned());
    let over = |severity: Severity| (severity.to_string(), true, "resolved".to_owned());
    for (change, is, fired_as, told) in [
        (Fired, Warning, None, vec![fires(Warning)]),
        (Same, Warning, Some(Warning), vec![fires(Warning)]),
        (
            Escalated,
            Critical,
            Some(Warning),
            vec![fires(Critical), over(Warning)],
        ),
        (
            Eased,
            Warning,
            Some(Critical),
            vec![fires(Warning), over(Critical)],
        ),
        // It was told as a warning, was critical while nobody answered, and is over.
        (Resolved, Critical, Some(Warning), vec![over(Warning)]),
        (Resolved, Warning, Some(Warning), vec![over(Warning)]),
        // Another version's, which did not say.
        (Resolved, Critical, None, vec![over(Critical)]),
        (CameAndWent, Critical, None, vec![over(Critical)]),
    ] {
        let state = match change {
            Resolved | CameAndWent => AlertState::Inactive,
            _ => AlertState::Firing,
        };
        let mut alert = one("gpt-5", state, change);
        alert.event.severity = Some(is);
        alert.fired_as = fired_as;
        assert_eq!(
            told_to_machines(alert).await,
            told,
            "{change} {is} {fired_as:?}"
        );
    }
}
