//! Closing and opening channels, and what is told of them.

use reqwest::StatusCode;
use serde_json::Value;

use tollgate::clock::UnixMicros;
use tollgate::record::{ChannelEvent, GateReason, GateState, Owner};

use crate::Admin;

const DISABLE: &str = "/api/v1/channels/openai/disable";
const ENABLE: &str = "/api/v1/channels/openai/enable";

async fn metrics(admin: &Admin) -> String {
    admin.get("/metrics").await.text().await.unwrap()
}

fn moment(value: &Value) -> jiff::Timestamp {
    value.as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn channels_are_listed_as_the_settings_have_them() {
    let admin = Admin::start(None, None).await;
    let list = admin.json("/api/v1/channels").await;
    let names: Vec<_> = list["channels"].as_array().unwrap().iter().collect();
    assert_eq!(names[0]["name"], "openai");
    assert_eq!(names[1]["name"], "spare");
    let one = admin.json("/api/v1/channels/openai").await;
    assert_eq!(&one, names[0]);
    assert_eq!(one["kind"], "openai");
    assert_eq!(one["base_url"], "https://api.openai.com/v1");
    assert_eq!(one["state"], "open");
    assert_eq!(one["in_flight"], 0);
    assert_eq!(one["models"], Value::Null);
    assert_eq!(one["holds"], Value::Array(Vec::new()));
    let text = metrics(&admin).await;
    for channel in ["openai", "spare"] {
        let line = format!("tollgate_channel_open{{channel=\"{channel}\"}} 1\n");
        assert!(text.contains(&line), "{text}");
    }
}

#[tokio::test]
async fn who_disables_a_channel_finds_it_closed_and_recorded() {
    let admin = Admin::start(None, None).await;
    let query = "?for=1h&reason=runaway%20key&who=alice";
    let (status, closed) = admin.post(&format!("{DISABLE}{query}")).await;
    assert_eq!(status, StatusCode::OK, "{closed}");
    assert_eq!(closed["state"], "closed");
    assert_eq!(closed["recorded"], true);
    let hold = &closed["holds"][0];
    assert_eq!(hold["owner"], "operator");
    assert_eq!(hold["reason"], "operator");
    assert_eq!(hold["who"], "alice");
    assert_eq!(hold["note"], "runaway key");
    let lasts = moment(&hold["until"]).duration_since(moment(&hold["since"]));
    assert_eq!(lasts, jiff::SignedDuration::from_hours(1));
    assert_eq!(
        admin.json("/api/v1/channels/openai").await["state"],
        "closed"
    );
    assert_eq!(admin.json("/api/v1/channels/spare").await["state"], "open");
    let text = metrics(&admin).await;
    assert!(
        text.contains("tollgate_channel_open{channel=\"openai\"} 0\n"),
        "{text}"
    );

    let (_, open) = admin.post(&format!("{ENABLE}?reason=rotated")).await;
    assert_eq!(open["state"], "open");
    assert_eq!(open["holds"], Value::Array(Vec::new()));
    admin.flush();
    let events = admin.json("/api/v1/channel-events?channel=openai").await;
    let [enabled, disabled] = events["events"].as_array().unwrap().as_slice() else {
        panic!("{events}");
    };
    assert_eq!(disabled["hold"], "closed");
    assert_eq!(disabled["who"], "alice");
    assert_eq!(disabled["until"], hold["until"]);
    assert_eq!(enabled["hold"], "open");
    assert_eq!(enabled["state"], "open");
    assert_eq!(enabled["who"], Value::Null);
    assert_eq!(enabled["note"], "rotated");
}

#[tokio::test]
async fn events_are_paged_and_filtered() {
    let admin = Admin::start(None, None).await;
    for n in 0..7 {
        admin.ledger.journal().gate_changed(&ChannelEvent {
            at: UnixMicros(crate::START.0 + n * 60_000_000),
            channel: ["openai", "gone"][usize::try_from(n % 2).unwrap()].into(),
            owner: Owner::Breaker,
            hold: GateState::Closed,
            state: GateState::Closed,
            reason: GateReason::Failures,
            until: None,
            who: None,
            note: Some(n.to_string().into()),
        });
    }
    admin.flush();
    let notes = |list: &Value| -> Vec<String> {
        let events = list["events"].as_array().unwrap();
        let notes = events.iter().map(|event| event["note"].as_str().unwrap());
        notes.map(str::to_owned).collect()
    };
    let mut path = "/api/v1/channel-events?limit=3".to_owned();
    let mut pages = Vec::new();
    loop {
        let page = admin.json(&path).await;
        pages.push(notes(&page));
        let Some(next) = page["next"].as_str() else {
            break;
        };
        path = format!("/api/v1/channel-events?limit=3&cursor={next}");
    }
    assert_eq!(pages, [vec!["6", "5", "4"], vec!["3", "2", "1"], vec!["0"]]);
    // Also of a channel that is no more.
    let gone = "channel=gone&since=2026-11-20T10:01:30Z&until=2026-11-20T10:05:00Z";
    let gone = admin.json(&format!("/api/v1/channel-events?{gone}")).await;
    assert_eq!(notes(&gone), ["3"]);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_and_changes_nothing() {
    let admin = Admin::start(None, None).await;
    let long = "x".repeat(501);
    for (path, parameter) in [
        (format!("{DISABLE}?for=soon"), "for"),
        (format!("{DISABLE}?for=0s"), "for"),
        (format!("{DISABLE}?for=90"), "for"),
        (format!("{DISABLE}?reason={long}"), "reason"),
        (format!("{DISABLE}?who={long}"), "who"),
        (format!("{DISABLE}?until=1h"), "until"),
        (format!("{ENABLE}?for=1h"), "for"),
    ] {
        let (status, body) = admin.post(&path).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}: {body}");
        assert_eq!(body["error"]["param"], parameter, "{path}: {body}");
    }
    for query in ["cursor=x", "limit=0", "limit=1001", "since=soon"] {
        let path = format!("/api/v1/channel-events?{query}");
        assert_eq!(
            admin.failure(&path).await.0,
            StatusCode::BAD_REQUEST,
            "{path}"
        );
    }
    for (path, told) in [
        ("/api/v1/channels/opnai/disable", "did you mean `openai`?"),
        ("/api/v1/channels/nothing/enable", "lists every one"),
    ] {
        let (status, body) = admin.post(path).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}: {body}");
        let message = body["error"]["message"].as_str().unwrap();
        assert!(message.contains(told), "{message}");
    }
    let (status, _) = admin.failure("/api/v1/channels/opnai").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(
        admin.get(DISABLE).await.status(),
        StatusCode::METHOD_NOT_ALLOWED
    );
    assert_eq!(admin.json("/api/v1/channels/openai").await["state"], "open");
}

#[tokio::test]
async fn a_web_page_closes_no_channel_and_a_token_is_asked_for() {
    let admin = Admin::start(None, None).await;
    let page = admin.client.post(admin.url(DISABLE));
    let page = page.header("origin", "https://evil.example");
    assert_eq!(page.send().await.unwrap().status(), StatusCode::FORBIDDEN);
    assert_eq!(admin.json("/api/v1/channels/openai").await["state"], "open");

    let guarded = Admin::start(Some("t"), None).await;
    let (status, _) = guarded.post(DISABLE).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let (status, _) = guarded.failure("/api/v1/channels").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let shown = guarded.client.post(guarded.url(DISABLE)).bearer_auth("t");
    assert_eq!(shown.send().await.unwrap().status(), StatusCode::OK);
}
