//! Buttons under messages.

use std::collections::BTreeMap;

use super::*;
use crate::alert::{ActionTaken, AlertState, Mode, Severity};
use crate::notify::content::{AlertChange, AlertContent, AlertsContent, ChannelContent, Content};
use crate::notify::{Answering, Button, ButtonTarget};

fn told(id: AlertId, state: AlertState, closed: Option<&str>) -> AlertContent {
    let closed = closed.map(|detail| ActionTaken {
        action: "disable_channel".into(),
        done: true,
        until: None,
        detail: detail.into(),
    });
    AlertContent {
        event: AlertEvent {
            at: NOON,
            alert: id,
            state,
            severity: Some(Severity::Critical),
            active_since: Some(NOON),
            fired_at: Some(NOON),
            cleared_since: None,
            critical_since: Some(NOON),
            critical_cleared_since: None,
            value: None,
            limit: None,
            window_end: None,
            mode: Mode::Enforce,
            told: true,
            actions: closed.into_iter().collect(),
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

fn group(alerts: Vec<AlertContent>) -> AlertsContent {
    AlertsContent {
        at: NOON,
        group: "g".into(),
        facts: Vec::new(),
        critical: alerts.len(),
        alerts,
        warning: 0,
        resolved: 0,
        more: 0,
        repeated: false,
    }
}

fn signer() -> Signer {
    Signer::of(&[3; 32])
}

fn offered(content: &Content, answering: Answering, language: Language) -> Vec<Vec<Button>> {
    let url = "https://tollgate.example.com/".parse().unwrap();
    let offers = Offers {
        signer: &signer(),
        answering,
        public_url: Some(&url),
        receiver: "ops",
        language,
        expire_after: HOUR,
    };
    buttons(content, &offers, NOON)
}

fn labels(rows: &[Vec<Button>]) -> Vec<Vec<&str>> {
    rows.iter()
        .map(|row| row.iter().map(|button| button.label.as_str()).collect())
        .collect()
}

/// What a button does, and to what of these it does it.
fn opened(button: &Button, subjects: &[Subject]) -> (AnswerAction, usize) {
    let ButtonTarget::Callback(sealed) = &button.target else {
        panic!("{button:?}");
    };
    assert!(sealed.len() <= 64);
    let opened = signer().open(Way::Button, "ops", sealed, NOON).unwrap();
    assert_eq!(opened.expires_at, NOON.plus(HOUR));
    let is_it = |subject| signer().subject_hash(subject) == opened.subject_hash;
    (opened.action, subjects.iter().position(is_it).unwrap())
}

#[test]
fn a_group_is_silenced_by_what_it_has_in_common() {
    let firing = |key: &str, closed| {
        let id = alert("Spend", &[("channel", "east"), ("key", key)]);
        told(id, AlertState::Firing, closed)
    };
    let alerts_told = vec![
        firing(
            "a",
            Some("closed the channel `west` until 2026-11-21T00:00:00Z"),
        ),
        firing("b", Some("closed the channel `west`")),
        told(
            alert("Spend", &[("channel", "west"), ("key", "a")]),
            AlertState::Inactive,
            None,
        ),
    ];
    let content = Content::Alerts(group(alerts_told));
    let rows = offered(&content, Answering::Buttons, Language::En);
    assert_eq!(
        labels(&rows),
        [
            vec!["Re-enable west", "Keep west closed"],
            vec!["Silence Spend east 1 h"],
            vec!["Details"],
        ]
    );
    let subjects = [alerts("Spend", &[("channel", "east")]), channel("west")];
    let told: Vec<_> = rows
        .iter()
        .flatten()
        .map(|button| opened(button, &subjects))
        .collect();
    assert_eq!(
        told,
        [
            (AnswerAction::Reopen, 1),
            (AnswerAction::KeepClosed, 1),
            (AnswerAction::Silence, 0),
            (AnswerAction::Details, 0),
        ]
    );
    let chinese = offered(&content, Answering::Buttons, Language::Zh);
    assert_eq!(
        labels(&chinese),
        [
            vec!["重新启用 west", "保持关闭 west"],
            vec!["静默 Spend east 1 小时"],
            vec!["详情"],
        ]
    );
}

#[test]
fn alerts_beyond_the_list_are_meant_too() {
    let firing = told(
        alert("Spend", &[("channel", "east"), ("key", "a")]),
        AlertState::Firing,
        None,
    );
    let mut content = group(vec![firing]);
    content.more = 3;
    content.facts = vec![("rule".into(), "Spend".into())];
    let rows = offered(&Content::Alerts(content), Answering::Buttons, Language::En);
    assert_eq!(opened(&rows[0][0], &[alerts("Spend", &[])]).1, 0);
}

#[test]
fn a_mixed_group_is_silenced_rule_by_rule_whatever_its_labels() {
    let firing =
        |rule: &str, labels: &[(&str, &str)]| told(alert(rule, labels), AlertState::Firing, None);
    let content = group(vec![
        firing("Spend", &[("channel", "east"), ("key", "a")]),
        firing("Slow", &[("channel", "east")]),
        firing("Spend", &[("channel", "east"), ("key", "b")]),
        firing("A rule with a very long name indeed", &[]),
        firing("Fourth", &[]),
    ]);
    let rows = offered(&Content::Alerts(content), Answering::Buttons, Language::En);
    assert_eq!(
        labels(&rows),
        [
            vec!["Silence Spend east 1 h"],
            vec!["Silence Slow east 1 h"],
            vec!["Silence A rule with a very long… 1 h"],
            vec![
                "Details: Spend",
                "Details: Slow",
                "Details: A rule with a very long…"
            ],
        ]
    );
    let subjects = [
        alerts("Spend", &[("channel", "east")]),
        alerts("Slow", &[("channel", "east")]),
    ];
    for (row, subject) in [(0, 0), (1, 1)] {
        let silence = (AnswerAction::Silence, subject);
        assert_eq!(opened(&rows[row][0], &subjects), silence);
    }
}

#[test]
fn under_a_warning_only_warnings_are_silenced() {
    let warned = |rule: &str| {
        let id = alert(rule, &[("channel", "east")]);
        let mut told = told(id, AlertState::Firing, None);
        told.event.severity = Some(Severity::Warning);
        told
    };
    let mut critical = warned("Spend");
    critical.event.severity = Some(Severity::Critical);
    let content = Content::Alerts(group(vec![warned("Slow"), critical]));
    let rows = offered(&content, Answering::Buttons, Language::En);
    let read = labels(&rows);
    assert_eq!(read[0], ["Silence warnings of Slow east 1 h"]);
    assert_eq!(read[1], ["Silence Spend east 1 h"]);
    let slow = AlertSubject::from(&alert("Slow", &[("channel", "east")]));
    let subjects = [
        Subject::Alerts(slow.clone().of_warnings()),
        Subject::Alerts(slow),
    ];
    assert_eq!(opened(&rows[0][0], &subjects), (AnswerAction::Silence, 0));
    assert_eq!(opened(&rows[2][0], &subjects), (AnswerAction::Details, 1));
    let chinese = offered(&content, Answering::Buttons, Language::Zh);
    assert_eq!(labels(&chinese)[0], ["静默 Slow east 的警告 1 小时"]);
}

#[test]
fn what_was_told_goes_with_the_button() {
    let event = |minutes: u32, owner: Owner, hold| ChannelEvent {
        at: NOON.plus(MINUTE * minutes),
        channel: "east".into(),
        owner,
        hold,
        state: GateState::Closed,
        reason: GateReason::Failures,
        until: None,
        who: None,
        note: None,
    };
    let told_of = |events| {
        let content = Content::Channel(ChannelContent {
            channel: "east".into(),
            events,
            more: 0,
            closed_since: None,
            without_channel: Vec::new(),
            links: Vec::new(),
        });
        let rows = offered(&content, Answering::Buttons, Language::En);
        let ButtonTarget::Callback(sealed) = &rows[0][0].target else {
            panic!("{rows:?}");
        };
        let opened = signer().open(Way::Button, "ops", sealed, NOON).unwrap();
        (opened.told.until, opened.told.operator)
    };
    let closed = GateState::Closed;
    let breaker = event(2, Owner::Breaker, closed);
    assert_eq!(
        told_of(vec![event(1, Owner::Operator, closed), breaker.clone()]),
        (NOON.plus(MINUTE * 2), true)
    );
    let opened = event(1, Owner::Operator, GateState::Open);
    assert_eq!(
        told_of(vec![opened, breaker]),
        (NOON.plus(MINUTE * 2), false)
    );
}

#[test]
fn what_is_over_has_details_only() {
    let over = told(
        alert("Spend", &[("channel", "east")]),
        AlertState::Inactive,
        Some("closed the channel `east`"),
    );
    let content = Content::Alerts(group(vec![over]));
    let rows = offered(&content, Answering::Buttons, Language::En);
    assert_eq!(labels(&rows), [vec!["Details"]]);
}

#[test]
fn never_more_than_eight() {
    let firing = |n: usize| {
        let name = format!("channel-{n}-with-a-name-that-is-long");
        let id = alert("Spend", &[("channel", &name)]);
        let detail = format!("closed the channel `{name}`");
        told(id, AlertState::Firing, Some(&detail))
    };
    let content = Content::Alerts(group((0..10).map(firing).collect()));
    let rows = offered(&content, Answering::Buttons, Language::En);
    assert_eq!(rows.iter().map(Vec::len).sum::<usize>(), 8);
    assert!(
        rows.iter()
            .flatten()
            .all(|button| button.label.chars().count() <= 56)
    );
}

#[test]
fn a_channels_notice_offers_what_can_be_done_now() {
    let notice = |state, owner, until| {
        Content::Channel(ChannelContent {
            channel: "east".into(),
            events: vec![ChannelEvent {
                at: NOON,
                channel: "east".into(),
                owner,
                hold: state,
                state,
                reason: GateReason::Failures,
                until,
                who: None,
                note: None,
            }],
            more: 0,
            closed_since: None,
            without_channel: Vec::new(),
            links: Vec::new(),
        })
    };
    for (content, expected) in [
        (
            notice(GateState::Closed, Owner::Breaker, Some(NOON)),
            vec![vec!["Re-enable east", "Keep east closed"], vec!["Details"]],
        ),
        (
            notice(GateState::Closed, Owner::Operator, None),
            vec![vec!["Re-enable east"], vec!["Details"]],
        ),
        (
            notice(GateState::Open, Owner::Breaker, None),
            vec![vec!["Details"]],
        ),
    ] {
        let rows = offered(&content, Answering::Buttons, Language::En);
        assert_eq!(labels(&rows), expected);
        // Where nobody can answer, nothing is offered.
        assert!(offered(&content, Answering::Never, Language::En).is_empty());
    }
}

#[test]
fn links_need_an_address() {
    let firing = told(
        alert("Spend", &[("channel", "east")]),
        AlertState::Firing,
        None,
    );
    let content = Content::Alerts(group(vec![firing]));
    let rows = offered(&content, Answering::Links, Language::En);
    let ButtonTarget::Url(url) = &rows[0][0].target else {
        panic!("{rows:?}");
    };
    let sealed = url
        .strip_prefix("https://tollgate.example.com/answers/")
        .unwrap();
    assert!(signer().open(Way::Link, "ops", sealed, NOON).is_ok());
    let offers = Offers {
        signer: &signer(),
        answering: Answering::Links,
        public_url: None,
        receiver: "ops",
        language: Language::En,
        expire_after: LINKS_WORK_FOR,
    };
    assert!(buttons(&content, &offers, NOON).is_empty());
}
