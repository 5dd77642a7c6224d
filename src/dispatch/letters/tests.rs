use std::collections::HashSet;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::config::{AlertmanagerSettings, SlackSettings, WebhookSettings};
use crate::config::{Secret, TemplateSettings};
use crate::dispatch::context::tests::context;
use crate::dispatch::deduplicate::told_after;
use crate::dispatch::tests::{firing, receiver, resolved};
use crate::notify::content::Templates;

const NOW: UnixMicros = UnixMicros(1_763_632_800_000_000);

fn to(target: TargetSettings) -> Destination {
    let mut settings = receiver("ops");
    settings.target = target;
    Destination {
        receiver: crate::notify::receiver(&settings).unwrap(),
        templates: Arc::new(Templates::of(&settings, &TemplateSettings::default()).unwrap()),
        settings,
    }
}

fn alertmanager() -> Destination {
    to(TargetSettings::Alertmanager(AlertmanagerSettings {
        urls: vec!["http://127.0.0.1:9".parse().unwrap()],
        bearer: None,
        labels: std::collections::BTreeMap::new(),
    }))
}

fn webhook(max_alerts: usize) -> Destination {
    to(TargetSettings::Webhook(WebhookSettings {
        url: Secret::new("http://127.0.0.1:9/"),
        bearer: None,
        hmac_secret: None,
        max_alerts,
    }))
}

fn slack() -> Destination {
    to(TargetSettings::Slack(SlackSettings {
        url: Secret::new("http://127.0.0.1:9/"),
        mention: Vec::new(),
    }))
}

/// What is told of alerts with these values of a label; every other one is over.
fn telling(values: &[String]) -> Telling {
    let alerts = values.iter().enumerate().map(|(index, value)| {
        let fires = firing("Spend", &[("key", value)], 1);
        let is_over = index % 2 == 1;
        AlertNews {
            event: Arc::new(if is_over { resolved(&fires, 2) } else { fires }),
            change: if is_over {
                AlertChange::Resolved
            } else {
                AlertChange::Fired
            },
            fired_as: is_over.then_some(Severity::Warning),
        }
    });
    let id = Uuid::from_u128(7);
    Telling {
        receiver: "ops".into(),
        group: "default:{rule=\"Spend\"}".into(),
        facts: Vec::new(),
        reason: NotifyReason::First,
        alerts: alerts.collect(),
        told: Arc::new(told_after(None, &[], id, Duration::ZERO, NOW)),
        id,
        now: NOW,
    }
}

fn written(values: &[String], to: &Destination) -> Vec<(Letter, AlertsContent)> {
    let folder = TempDir::new().unwrap();
    let around = context(folder.path(), &[]);
    let letters = of_alerts(&telling(values), to, &around, None);
    let contents = letters.into_iter().map(|letter| {
        assert!(letter.notification.content.len() <= Notification::MOST_BYTES);
        match content_of(&letter.notification) {
            Some(Content::Alerts(content)) => (letter, content),
            other => panic!("{other:?}"),
        }
    });
    contents.collect()
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

/// How many alerts each lists, and how many more there are.
fn sizes(letters: &[(Letter, AlertsContent)]) -> Vec<(usize, usize)> {
    let contents = letters.iter();
    contents
        .map(|(_, content)| (content.alerts.len(), content.more))
        .collect()
}

#[test]
fn machines_are_handed_every_alert_and_people_the_first() {
    let values = numbers(1_000);
    for machine in [alertmanager(), webhook(0)] {
        let letters = written(&values, &machine);
        assert_eq!(sizes(&letters), [(400, 0), (400, 0), (200, 0)]);
        let alerts = letters.iter().flat_map(|(_, content)| &content.alerts);
        let alerts: HashSet<_> = alerts.map(|alert| &alert.event.alert).collect();
        assert_eq!(alerts.len(), 1_000);
        for (_, content) in &letters {
            assert_eq!((content.warning, content.resolved), (500, 500));
            for alert in &content.alerts {
                let is_over = alert.change == AlertChange::Resolved;
                assert_eq!(alert.fired_as.is_some(), is_over);
            }
        }
    }
    assert_eq!(
        sizes(&written(&values, &webhook(500))),
        [(400, 0), (100, 500)]
    );
    assert_eq!(sizes(&written(&values, &webhook(10))), [(10, 990)]);
    assert_eq!(sizes(&written(&values, &slack())), [(20, 980)]);
}

#[test]
fn the_last_part_is_the_groups_and_says_what_was_told() {
    let letters = written(&numbers(1_000), &alertmanager());
    let group = "default:{rule=\"Spend\"}";
    let keys: Vec<_> = letters
        .iter()
        .map(|(letter, _)| &*letter.notification.group)
        .collect();
    assert_eq!(keys, [&format!("{group}#2"), &format!("{group}#3"), group]);
    for key in keys {
        assert_eq!(whole_key(key), group);
    }
    assert_eq!(
        whole_key("default:{tag:a=\"b#2\"}"),
        "default:{tag:a=\"b#2\"}"
    );
    for (letter, content) in &letters {
        let is_last = &*letter.notification.group == group;
        assert_eq!(letter.told.is_some(), is_last);
        assert_eq!(letter.notification.told.is_empty(), !is_last);
        assert_eq!(letter.notification.id == Uuid::from_u128(7), is_last);
        // All are of one group to whoever reads them.
        assert_eq!(&*content.group, group);
    }
}

#[test]
fn what_is_too_large_for_one_is_several_to_machines() {
    let long = |length: usize, number: usize| format!("{number}{}", "x".repeat(length));
    let mut values: Vec<String> = (0..5).map(|number| long(200 << 10, number)).collect();
    values.push(long(600 << 10, 9));
    let sum = |letters: &[(Letter, AlertsContent)]| -> (usize, usize) {
        let sizes = sizes(letters);
        sizes.iter().fold((0, 0), |(all, left), (listed, more)| {
            (all + listed, left + more)
        })
    };
    // One that no notification takes is counted.
    assert_eq!(sum(&written(&values, &webhook(0))), (5, 1));
    let people = written(&values, &slack());
    assert_eq!(people.len(), 1);
    assert_eq!(sum(&people).0 + sum(&people).1, 6);
    assert_eq!(sizes(&written(&[], &alertmanager())), [(0, 0)]);
}
