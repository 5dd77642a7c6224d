//! Silences: made, listed, ended, and seen at the alerts they hold for.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::Admin;
use crate::rules::fed;

const PATH: &str = "/api/v1/silences";

async fn ask(
    admin: &Admin,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> (StatusCode, Value) {
    let mut request = admin.client.request(method, admin.url(path));
    if let Some(body) = &body {
        request = request.json(body);
    }
    let response = request.send().await.unwrap();
    (response.status(), response.json().await.unwrap())
}

async fn make(admin: &Admin, silence: Value) -> Value {
    let (status, made) = ask(admin, Method::POST, PATH, Some(silence)).await;
    assert_eq!(status, StatusCode::OK, "{made}");
    made
}

/// The alerts that are on, and by how many silences each is covered.
async fn silenced(admin: &Admin) -> Vec<(String, usize)> {
    let list = admin.json("/api/v1/alerts").await;
    let alerts = list["alerts"].as_array().unwrap();
    let told = alerts.iter().map(|alert| {
        let by = alert["silenced_by"].as_array().unwrap();
        (alert["labels"].to_string(), by.len())
    });
    told.collect()
}

#[tokio::test]
async fn a_silence_is_made_seen_at_its_alerts_and_ended() {
    let (admin, _held) = fed().await;
    let made = make(
        &admin,
        json!({
            "matchers": {"rule": "Sp*", "key": "team-a"},
            "for": "2h",
            "created_by": "alice",
            "comment": "known",
        }),
    )
    .await;
    assert_eq!(made["active"], true);
    assert_eq!(made["created_by"], "alice");
    assert_eq!(made["comment"], "known");
    assert_eq!(made["matchers"], json!({"rule": "Sp*", "key": "team-a"}));
    let moment = |name: &str| {
        made[name]
            .as_str()
            .unwrap()
            .parse::<jiff::Timestamp>()
            .unwrap()
    };
    let lasts = moment("ends_at").duration_since(moment("starts_at"));
    assert_eq!(lasts, jiff::SignedDuration::from_hours(2));
    assert_eq!(admin.json(PATH).await["silences"], json!([made]));

    let [team_a, team_b, slow] = [
        r#"{"channel":"openai","key":"team-a"}"#,
        r#"{"channel":"openai","key":"team-b"}"#,
        r#"{"tag:team":""}"#,
    ]
    .map(str::to_owned);
    assert_eq!(
        silenced(&admin).await,
        [(team_a.clone(), 1), (team_b.clone(), 0), (slow.clone(), 0)]
    );
    let alerts = &admin.json("/api/v1/rules").await["rules"][0]["alerts"];
    assert_eq!(alerts[0]["silenced_by"], json!([made["id"]]));
    // It goes on acting.
    let channel = admin.json("/api/v1/channels/openai").await;
    assert_eq!(channel["state"], "closed");

    let one = format!("{PATH}/{}", made["id"].as_str().unwrap());
    let (status, ended) = ask(&admin, Method::DELETE, &one, None).await;
    assert_eq!(status, StatusCode::OK, "{ended}");
    assert_eq!(ended["active"], false);
    assert!(ended["ended_at"].is_string(), "{ended}");
    assert_eq!(admin.json(PATH).await["silences"], json!([]));
    let all = admin.json(&format!("{PATH}?all=true")).await;
    assert_eq!(all["silences"], json!([ended]));
    assert_eq!(
        silenced(&admin).await,
        [(team_a, 0), (team_b, 0), (slow, 0)]
    );
    let (status, again) = ask(&admin, Method::DELETE, &one, None).await;
    assert_eq!(status, StatusCode::CONFLICT, "{again}");
}

#[tokio::test]
async fn a_silence_to_come_holds_for_nothing_yet() {
    let (admin, _held) = fed().await;
    let made = make(
        &admin,
        json!({"matchers": {"rule": "*"}, "starts_at": "1h", "ends_at": "3h"}),
    )
    .await;
    assert_eq!(made["active"], false);
    assert_eq!(made["created_by"], "admin API");
    assert!(silenced(&admin).await.iter().all(|(_, by)| *by == 0));
    assert_eq!(admin.json(PATH).await["silences"], json!([made]));
}

#[tokio::test]
async fn what_is_no_silence_is_refused_with_a_remedy() {
    let admin = Admin::start(None, None).await;
    let matchers = json!({"rule": "Spend"});
    let long = "x".repeat(501);
    for (body, parameter, remedy) in [
        (
            json!({"matchers": {}, "for": "1h"}),
            "matchers",
            "`rule=*` silences everything",
        ),
        (
            json!({"matchers": matchers}),
            "ends_at",
            "give `for` (as `2h`)",
        ),
        (
            json!({"matchers": matchers, "for": "soon"}),
            "for",
            "as `90s`",
        ),
        (
            json!({"matchers": matchers, "for": "1h", "ends_at": "1h"}),
            "for",
            "one of them",
        ),
        (
            json!({"matchers": matchers, "ends_at": "then"}),
            "ends_at",
            "RFC 3339",
        ),
        (
            json!({"matchers": matchers, "ends_at": "2020-01-01T00:00:00Z"}),
            "ends_at",
            "must end after it starts",
        ),
        (
            json!({"matchers": matchers, "for": "1h", "comment": long}),
            "comment",
            "at most 500",
        ),
    ] {
        let (status, failure) = ask(&admin, Method::POST, PATH, Some(body.clone())).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}: {failure}");
        assert_eq!(failure["error"]["param"], parameter, "{body}: {failure}");
        let message = failure["error"]["message"].as_str().unwrap();
        assert!(message.contains(remedy), "{body}: {message}");
    }
    let slip = json!({"matcher": matchers, "for": "1h"});
    let (status, failure) = ask(&admin, Method::POST, PATH, Some(slip)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(failure.to_string().contains("matchers"), "{failure}");

    let none = format!("{PATH}/019aa0b0-0000-7000-8000-000000000001");
    let (status, failure) = ask(&admin, Method::DELETE, &none, None).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{failure}");
    let (status, failure) = ask(&admin, Method::DELETE, &format!("{PATH}/x"), None).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{failure}");
    assert_eq!(
        admin.json(&format!("{PATH}?all=true")).await["silences"],
        json!([])
    );
}

#[tokio::test]
async fn a_web_page_makes_and_ends_no_silence() {
    let admin = Admin::start(None, None).await;
    let made = make(&admin, json!({"matchers": {"rule": "*"}, "for": "1h"})).await;
    let one = format!("{PATH}/{}", made["id"].as_str().unwrap());
    for (method, path) in [(Method::POST, PATH), (Method::DELETE, one.as_str())] {
        let page = admin.client.request(method, admin.url(path));
        let page = page.header("origin", "https://evil.example");
        let page = page.json(&json!({"matchers": {"rule": "*"}, "for": "1h"}));
        assert_eq!(page.send().await.unwrap().status(), StatusCode::FORBIDDEN);
    }
    assert_eq!(admin.json(PATH).await["silences"], json!([made]));
}
