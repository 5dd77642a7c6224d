//! What was told and answered, to the API and to a scrape.

use std::collections::BTreeSet;

use reqwest::StatusCode;
use serde_json::{Value, json};
use tollgate::dispatch::DispatchResult;
use tollgate::notify::FailureReason;

use crate::Admin;
use crate::health::promtool_accepts;
use crate::traffic::told::{id, tell};

const PATH: &str = "/api/v1/notifications";

async fn told() -> Admin {
    let admin = Admin::start(None, None).await;
    tell(&admin.ledger);
    admin
}

/// The numbers of the notifications in a list.
fn numbers(list: &Value) -> Vec<u128> {
    let notifications = list["notifications"].as_array().unwrap();
    let ids = notifications
        .iter()
        .map(|told| told["id"].as_str().unwrap());
    ids.map(|told| (0..9).find(|&n| told == id(n).to_string()).unwrap())
        .collect()
}

#[tokio::test]
async fn what_was_told_is_listed_with_what_became_of_it() {
    let admin = told().await;
    let list = admin.json(PATH).await;
    assert_eq!(numbers(&list), [3, 2, 1, 0]);
    assert_eq!(list["next"], Value::Null);
    assert_eq!(
        list["notifications"][3],
        json!({
            "id": id(0).to_string(),
            "at": "2026-11-20T10:00:00.000000Z",
            "receiver": "ops",
            "kind": "alert",
            "reason": "first",
            "group": "Spend",
            "title": "Spend is too high, 0 times\u{1b}[2J",
            "deadline": "2026-11-20T14:00:00.000000Z",
            "result": "sent",
            "settled_at": "2026-11-20T10:00:01.500000Z",
            "attempts": 1,
            "reference": "4711",
            "by": null,
            "error": null,
        })
    );
    let dead = &list["notifications"][2];
    assert_eq!(dead["result"], "dead");
    assert_eq!(dead["error"], "=refused: 550 no such mailbox");
    let replaced = &list["notifications"][1];
    assert_eq!(replaced["result"], "replaced");
    assert_eq!(replaced["by"], id(3).to_string());
    let open = &list["notifications"][0];
    assert_eq!(open["result"], "open");
    for unknown in ["settled_at", "attempts", "reference", "by", "error"] {
        assert_eq!(open[unknown], Value::Null, "{unknown}");
    }
}

#[tokio::test]
async fn notifications_are_found_by_what_they_are_and_page_by_page() {
    let admin = told().await;
    for (question, expected) in [
        ("receiver=mail", &[3, 1][..]),
        ("receiver=nobody", &[]),
        ("kind=channel", &[3]),
        ("result=open", &[3]),
        ("result=sent", &[0]),
        ("result=dead&receiver=ops", &[]),
        (
            "since=2026-11-20T10:01:00Z&until=2026-11-20T10:03:00Z",
            &[2, 1],
        ),
    ] {
        let list = admin.json(&format!("{PATH}?{question}")).await;
        assert_eq!(numbers(&list), expected, "{question}");
    }
    let first = admin.json(&format!("{PATH}?kind=alert&limit=2")).await;
    assert_eq!(numbers(&first), [2, 1]);
    let next = first["next"].as_str().unwrap();
    let second = format!("{PATH}?kind=alert&limit=2&cursor={next}");
    let second = admin.json(&second).await;
    assert_eq!(numbers(&second), [0]);
    assert_eq!(second["next"], Value::Null);
}

#[tokio::test]
async fn one_notification_shows_what_it_tells() {
    let admin = told().await;
    let list = admin.json(PATH).await;
    for (n, content) in [(3, json!({"alerts": [3, null]})), (1, Value::Null)] {
        let mut one = admin.json(&format!("{PATH}/{}", id(n))).await;
        let fields = one.as_object_mut().unwrap();
        assert_eq!(fields.remove("content"), Some(content));
        let at = usize::try_from(3 - n).unwrap();
        assert_eq!(one, list["notifications"][at]);
    }
    let (status, failure) = admin.failure(&format!("{PATH}/{}", id(9))).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(failure["code"], "not_found");
}

#[tokio::test]
async fn what_was_answered_is_listed() {
    let admin = told().await;
    let list = admin.json("/api/v1/answers").await;
    assert_eq!(list["answers"].as_array().unwrap().len(), 2);
    assert_eq!(
        list["answers"][1],
        json!({
            "at": "2026-11-20T10:10:00.000000Z",
            "receiver": "ops",
            "who": "alice (7)",
            "asked": "silence",
            "subject": "Spend{channel=\"openai\"}",
            "done": true,
            "outcome": "silenced for 1 h",
        })
    );
    let first = admin.json("/api/v1/answers?limit=1").await;
    assert_eq!(first["answers"][0]["done"], false);
    let next = first["next"].as_str().unwrap();
    let second = admin.json(&format!("/api/v1/answers?cursor={next}")).await;
    assert_eq!(second["answers"], json!([list["answers"][1]]));
    let of_ops = admin.json("/api/v1/answers?receiver=ops").await;
    assert_eq!(of_ops["answers"], json!([list["answers"][1]]));
    let later = admin.json("/api/v1/answers?since=2026-11-20T10:10:01Z");
    assert_eq!(later.await["answers"], json!([list["answers"][0]]));
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_a_remedy() {
    let admin = Admin::start(None, None).await;
    for (path, parameter, remedy) in [
        (
            "notifications?result=gone",
            "result",
            "open, sent, merged, replaced, dead",
        ),
        ("notifications?kind=mail", "kind", "alert, channel, digest"),
        ("notifications?reciever=a", "reciever", "`receiver`"),
        ("notifications?cursor=a1", "cursor", "`a1`"),
        ("notifications?limit=0", "limit", "1 to 1000"),
        ("notifications/1", "id", "a UUID"),
        ("answers?since=soon", "since", "write RFC 3339"),
        ("answers?cursor=n1", "cursor", "`n1`"),
        ("answers?result=open", "result", "known: receiver"),
    ] {
        let (status, failure) = admin.failure(&format!("/api/v1/{path}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}: {failure}");
        assert_eq!(failure["param"], parameter, "{path}");
        let message = failure["message"].as_str().unwrap();
        assert!(message.contains(remedy), "{path}: {message}");
    }
}

async fn samples(admin: &Admin) -> BTreeSet<String> {
    let text = admin.get("/metrics").await.text().await.unwrap();
    promtool_accepts(&text);
    let lines = text.lines();
    lines
        .filter(|line| line.starts_with("tollgate_notification"))
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn a_scrape_tells_of_every_receiver_from_the_start() {
    let admin = Admin::start(None, None).await;
    let series = |value: &str| -> BTreeSet<String> {
        let results = DispatchResult::ALL.iter().flat_map(|result| {
            crate::RECEIVERS.map(|name| {
                format!("tollgate_notifications_total{{receiver=\"{name}\",result=\"{result}\"}} {value}")
            })
        });
        let failures = FailureReason::ALL.iter().flat_map(|reason| {
            crate::RECEIVERS.map(|name| {
                format!("tollgate_notification_failures_total{{receiver=\"{name}\",reason=\"{reason}\"}} {value}")
            })
        });
        results.chain(failures).collect()
    };
    let mut expected = series("0");
    expected.insert("tollgate_notification_queue 0".to_owned());
    assert_eq!(samples(&admin).await, expected);

    let mail = admin.dispatch.receiver("mail");
    mail.count(DispatchResult::Dead);
    mail.count(DispatchResult::Retried);
    mail.count(DispatchResult::Retried);
    mail.count_failure(FailureReason::RateLimited);
    mail.set_queued(2);
    admin.dispatch.receiver("ops").set_queued(3);
    let samples = samples(&admin).await;
    let changed: Vec<&String> = samples.difference(&expected).collect();
    assert_eq!(
        changed,
        [
            "tollgate_notification_failures_total{receiver=\"mail\",reason=\"rate_limited\"} 1",
            "tollgate_notification_queue 5",
            "tollgate_notifications_total{receiver=\"mail\",result=\"dead\"} 1",
            "tollgate_notifications_total{receiver=\"mail\",result=\"retried\"} 2",
        ]
    );
    assert_eq!(samples.len(), expected.len());
}
